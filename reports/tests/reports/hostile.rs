//! Hostile strings in every field: the files stay well-formed, the terminal stays ours.

use fotaproof_reports::model::{
    CaseResult, Evidence, ExpectedFailure, Finding, IutInfo, Measurement, RunResults, Verdict,
};
use fotaproof_reports::terminal::Options;
use fotaproof_reports::text::is_xml;
use fotaproof_reports::{github, html, json, junit, tap, terminal};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::fixture::rich;

/// An element: its name, its attributes, its text.
type Element = (String, Vec<(String, String)>, String);

/// What a strict reader makes of a document: elements in order with their attributes, and the
/// text of each. Panics on what is not well-formed.
fn parse(xml: &str) -> Vec<Element> {
    assert!(xml.chars().all(is_xml), "a character that XML does not allow");
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_comments = true;
    let mut seen: Vec<Element> = vec![];
    let mut open: Vec<usize> = vec![];
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                open.push(seen.len());
                seen.push(element(&tag));
            }
            Event::Empty(tag) => seen.push(element(&tag)),
            Event::End(_) => {
                open.pop();
            }
            Event::Text(text) => {
                let text = text.decode().unwrap();
                assert!(
                    text.trim().is_empty() && !text.contains("]]>"),
                    "text outside of a CDATA section: {text:?}"
                );
            }
            Event::CData(data) => {
                let data = data.decode().unwrap();
                assert!(!data.contains("]]>"));
                seen[*open.last().unwrap()].2 += &data;
            }
            Event::Decl(_) => {}
            Event::Eof => break,
            other => panic!("unexpected in a report: {other:?}"),
        }
    }
    assert!(open.is_empty());
    seen
}

fn element(tag: &quick_xml::events::BytesStart<'_>) -> Element {
    let mut attributes = tag.attributes();
    let attributes = attributes.with_checks(true).map(|attribute| {
        let attribute = attribute.unwrap();
        assert!(!attribute.value.contains(&b'<'));
        (
            String::from_utf8(attribute.key.as_ref().to_vec()).unwrap(),
            attribute.unescape_value().unwrap().into_owned(),
        )
    });
    (
        String::from_utf8(tag.name().as_ref().to_vec()).unwrap(),
        attributes.collect(),
        String::new(),
    )
}

fn junit_text(results: &RunResults) -> String {
    String::from_utf8(junit::render(results, "out").unwrap()).unwrap()
}

#[test]
fn junit_counts_and_nesting() {
    let elements = parse(&junit_text(&rich()));
    let number = |name: &str| elements.iter().filter(|(tag, ..)| tag == name).count();
    // One for each case, and one each for the stale expectation and the early end.
    assert_eq!(number("testcase"), rich().cases.len() + 2);
    // Two cases and the stale expectation; inconclusive, error and the early end; expected, not applicable, not run.
    assert_eq!((number("failure"), number("error"), number("skipped")), (3, 3, 3));
}

#[test]
fn junit_keeps_the_text_of_a_hostile_iut() {
    let elements = parse(&junit_text(&rich()));
    let at = elements.iter().position(|(_, attributes, _)| {
        attributes
            .iter()
            .any(|(_, value)| value == "message.hostile[payload=]]>]")
    });
    let (tag, _, text) = &elements[at.unwrap() + 1];
    assert_eq!(tag, "failure");
    assert!(
        text.contains("line one\nline two <script>alert('1')</script> & ]]> ::error::x"),
        "{text}"
    );
    assert!(!text.contains("owned"));
}

#[test]
fn a_page_runs_nothing_of_the_iut() {
    let page = html::render(&rich());
    assert!(!page.contains("<script") && !page.contains("<b>strings"));
    assert!(page.contains("&lt;script&gt;alert('1')&lt;/script&gt;"));
    assert!(!page.contains("http-equiv=\"refresh\"") && !page.contains("src="));
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        proptest::sample::select(vec![
            "]]>",
            "]]",
            "]",
            ">",
            "<",
            "&",
            "\"",
            "'",
            "<![CDATA[",
            "<!--",
            "-->",
            "<?",
            "&#0;",
            "\u{1b}[",
            "\u{1b}]",
            "\u{1b}",
            "\u{9b}",
            "\u{7}",
            "\r",
            "\n",
            "\r\n",
            "\0",
            "\u{fffe}",
            "\u{ffff}",
            "\u{202e}",
            "::error::",
            "%0A",
            "#",
            " # SKIP",
            "\nok 1",
            "Bail out!",
            "[[PROPERTY|",
            "0",
            "m",
            "...",
            "---",
            "/",
            "..",
            "漢",
            "\u{300}",
            "\u{1f600}",
            "\u{2028}",
            "\t",
            " ",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

prop_compose! {
    fn case()(
        texts in proptest::collection::vec(hostile(), 24),
        verdict in proptest::sample::select(vec![Verdict::Pass, Verdict::Fail, Verdict::Error, Verdict::Inconclusive, Verdict::NotApplicable, Verdict::NotRun]),
        expected in any::<bool>(),
        figures in any::<[f64; 3]>(),
        line in 0_u32..3,
    ) -> CaseResult {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().unwrap_or_default();
        CaseResult {
            id: text(), title: text(), suite: text(), file: text(), verdict, reason: text(),
            expected_failure: expected.then(|| ExpectedFailure { clause: text(), reason: text(), link: Some(text()) }),
            clauses: vec![text()], ets: vec![text()], tags: vec![text()], notes: vec![text()], repeat: text(),
            wall_ms: figures[0], iut_ms: figures[1],
            measurements: vec![Measurement { name: text(), value: figures[2], unit: text() }],
            findings: vec![Finding {
                source: text(), grade: text(), blame: text(), clauses: vec![text()], title: text(), expected: text(), seen: text(),
                line, packets: vec![1], hint: Some(text()),
            }],
            evidence: Evidence { journal: Some(text()), capture: Some(text()), output: None },
            ..CaseResult::default()
        }
    }
}

prop_compose! {
    fn run()(cases in proptest::collection::vec(case(), 0..4), texts in proptest::collection::vec(hostile(), 8), seconds in any::<f64>(), code in 0..6) -> RunResults {
        let [name, role, version, started, network, library, stale, aborted]: [String; 8] = texts.try_into().unwrap();
        RunResults {
            iut: IutInfo { name, role, version: Some(version), ..IutInfo::default() },
            started, network, library, cases, seconds, stale_expectations: vec![stale], aborted: Some(aborted), exit_code: code,
            ..RunResults::default()
        }
    }
}

/// A character that reorders text, and one that ends a line.
const UNSEEN: [char; 2] = ['\u{202e}', '\u{2028}'];

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn junit_is_always_well_formed(results in run()) {
        let elements = parse(&junit_text(&results));
        prop_assert_eq!(elements.iter().filter(|(tag, ..)| tag == "testcase").count(), results.cases.len() + 2);
    }

    #[test]
    fn nothing_on_the_terminal_is_the_iuts(results in run(), width in 0_usize..200) {
        for text in [
            terminal::render(&results, &Options { width, ..Options::default() }),
            tap::render(&results, "out"),
            github::render(&results, "out"),
            github::summary(&results),
        ] {
            prop_assert!(!text.chars().any(|c| c != '\n' && c.is_control()), "{:?}", text);
            prop_assert!(!text.contains(UNSEEN), "{:?}", text);
        }
    }

    #[test]
    fn tap_has_its_points_and_no_others(results in run()) {
        let text = tap::render(&results, "out");
        let points = text.lines().filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).count();
        prop_assert_eq!(points, results.cases.len() + 1);
        prop_assert_eq!(text.lines().filter(|line| line.starts_with("Bail out!")).count(), 1);
        let blocks = (text.lines().filter(|line| *line == "  ---").count(), text.lines().filter(|line| *line == "  ...").count());
        prop_assert_eq!(blocks.0, blocks.1);
    }

    #[test]
    fn github_reads_each_line_as_one_command(results in run()) {
        let text = github::render(&results, "out");
        for line in text.lines() {
            prop_assert!(["::error ", "::warning ", "::notice "].iter().any(|start| line.starts_with(start)), "{}", line);
        }
    }

    #[test]
    fn a_page_has_only_our_tags(results in run()) {
        let page = html::render(&results);
        let body = page.split_once("<body>").unwrap().1;
        for tag in body.split('<').skip(1) {
            let name: String = tag.trim_start_matches('/').chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
            let ours = ["h1", "h2", "p", "dl", "dt", "dd", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "ul", "li", "details", "summary", "span",
                "code", "a", "div", "strong", "body", "html"];
            prop_assert!(ours.contains(&name.as_str()), "<{}", tag);
        }
    }

    #[test]
    fn results_read_back(results in run()) {
        // Once through, figures that JSON cannot say are gone; the rest is exact to the last bit.
        let once = json::read(json::render(&results).unwrap().as_bytes()).unwrap();
        let twice = json::read(json::render(&once).unwrap().as_bytes()).unwrap();
        prop_assert_eq!(once, twice);
    }
}
