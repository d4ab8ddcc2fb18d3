//! What the case language can ask of a client, in virtual time against the embedded device: each question holds where it
//! should and breaks where it should.

mod traffic;
mod values;

use fotaproof_cases::library::CaseSource;
use fotaproof_cases::{Parameters, Style, load_case, render_all};
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::{CaseOptions, embedded_iut, session_config};
use fotaproof_runner::session::Outcome;
use fotaproof_runner::virtual_driver;
use fotaproof_trace::Verdict;

const HEAD: &str = "title: a case\npurpose: a test\nclauses: [obj5/2]\n";
const GIVEN: &str = "given:\n  - await: registration\n";

/// Plays the steps after the registration; keys of the case may stand before `steps:`.
pub(crate) fn play(body: &str) -> Outcome {
    let source = CaseSource {
        id: "test".to_owned(),
        path: "test.yaml".to_owned(),
        text: format!("{HEAD}{GIVEN}{body}").into(),
    };
    let case = match load_case(&source, &Parameters::default(), &|_, _| Err("no includes".to_owned())) {
        Ok(mut cases) => cases.remove(0),
        Err(problems) => panic!("{}", render_all(&problems, Style::Plain)),
    };
    let iut = Iut::embedded();
    let config = session_config(&case, &iut, &CaseOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let device = embedded_iut(&case, &iut, &config).expect("the embedded device");
    virtual_driver::run(config, device, &mut |_| {}, &|| false)
}

#[track_caller]
pub(crate) fn holds(body: &str) {
    let outcome = play(body);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert!(outcome.held > 0, "something was judged");
}

/// It breaks, and what was expected and seen holds this text.
#[track_caller]
pub(crate) fn breaks(body: &str, told: &str) {
    let outcome = play(body);
    assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:#?}");
    let all: Vec<String> = outcome
        .findings
        .iter()
        .map(|finding| format!("expected {}, seen {}", finding.expected, finding.seen))
        .collect();
    assert!(all.iter().any(|one| one.contains(told)), "`{told}` is not in {all:#?}");
}
