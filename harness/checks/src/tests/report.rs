//! Grades, switched-off checks, counts, the table.

use crate::testing::*;
use crate::{CheckConfig, all, info};
use fotaproof_trace::Grade;
use fotaproof_wire::coap::Code;

fn wrong_tokens(config: CheckConfig, count: u16) -> Stream {
    let mut stream = Stream::with(config);
    for id in 0..count {
        let get = request(Code::GET, id, &[1], "/3/0/3");
        stream.exchange(
            u64::from(id) * 100,
            &get,
            &ack(Code::CONTENT, id, &[2]).format(0).payload(&b"1"[..]),
        );
    }
    stream
}

#[test]
fn three_findings_and_a_count() {
    let seen: Vec<_> = wrong_tokens(CheckConfig::default(), 10)
        .findings()
        .into_iter()
        .map(|finding| finding.seen)
        .collect();
    assert_eq!(seen.len(), 3);
    assert!(!seen[1].contains("more like it"));
    assert!(seen[2].ends_with("(and 7 more like it)"), "{}", seen[2]);
    assert_eq!(wrong_tokens(CheckConfig::default(), 3).findings().len(), 3);
}

#[test]
fn a_finding_names_what_it_rests_on() {
    let finding = wrong_tokens(CheckConfig::default(), 1).findings().remove(0);
    assert_eq!((finding.events, finding.datagrams), (vec![1, 2], vec![1, 2]));
    assert_eq!(finding.clauses, ["rfc7252/5.3.1"]);
}

#[test]
fn grades_and_disabled_checks() {
    let config = CheckConfig {
        disabled: vec!["token-echo".to_owned()],
        ..CheckConfig::default()
    };
    wrong_tokens(config, 1).holds();
    let config = CheckConfig {
        grades: vec![("token-echo".to_owned(), Grade::Advice)],
        ..CheckConfig::default()
    };
    wrong_tokens(config, 1).breaks("token-echo", Grade::Advice);
}

#[test]
fn the_table() {
    let ids: Vec<_> = all().iter().map(|check| check.id).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
    assert!(ids.iter().all(|id| info(id).is_some()));
    let text: String = all()
        .iter()
        .map(|check| {
            format!(
                "{} ({}) {}\n  {}\n  requires: {}\n  why: {}\n  example: {}\n",
                check.id,
                check.grade,
                check.title,
                check.clauses.join(" "),
                check.requires,
                check.why,
                check.example
            )
        })
        .collect();
    insta::assert_snapshot!("checks", text);
}
