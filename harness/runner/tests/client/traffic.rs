//! Questions about messages together: options, tokens, distances in time, order, shares; bursts and replays.

use super::{breaks, holds, play};
use fotaproof_trace::Verdict;

/// A push of four blocks, and then this about its messages.
fn push(ask: &str) -> String {
    format!(
        "firmware: {{package: valid, size: 2 KiB}}
steps:
  - push: {{size1: exact, token-length: 3}}
    as: image
  - expect:
      messages: {{since: image, {ask}}}
"
    )
}

#[test]
fn options_are_asked_for_by_number() {
    let put = "match: {from: server, method: put, options:";
    holds(&push(&format!(
        "{put} {{number: 60, uint: 2048, length: 2}}}}, count: 1"
    )));
    holds(&push(&format!("{put} {{number: 60, there: false}}}}, count: 3")));
    holds(&push(&format!(
        "{put} [{{number: 11, count: 3}}, {{number: 12, hex: 2a}}]}}, count: 4"
    )));
    breaks(
        &push(&format!("{put} {{number: 60, uint: 2047}}}}, count: 1")),
        "seen 0",
    );
}

#[test]
fn token_lengths_and_ids_are_compared() {
    holds(&push(
        "match: {from: server, method: put}, each: {token-length: 3}, different-message-ids: true",
    ));
    breaks(
        &push("match: {from: server, method: put}, each: {token-length: 4}"),
        "token length 4",
    );
    breaks(
        &push("match: {from: server, method: put}, different-tokens: true"),
        "no token twice",
    );
    holds(&push(
        "match: {from: server, method: put, block1-num: 0}, different-tokens: true",
    ));
}

#[test]
fn every_interval_has_its_bounds() {
    // 40 ms there and back on the default link
    holds(&push(
        "match: {from: server, method: put}, spaced: {least: 40ms, most: 41ms}",
    ));
    breaks(
        &push("match: {from: server, method: put}, spaced: {least: 42ms}"),
        "at least 0.042 s",
    );
    breaks(
        &push("match: {from: server, method: put}, spaced: {most: 39ms}"),
        "at most 0.039 s",
    );
    holds(&push(
        "match: {from: server, method: put}, spaced: {after: {code: 2.31}, least: 40ms, most: 41ms}",
    ));
    breaks(
        &push("match: {from: server, method: put}, spaced: {after: {code: 2.31}, most: 10ms}"),
        "after 2.31",
    );
}

#[test]
fn what_stays_away_breaks_an_upper_bound_only_where_it_is_asked() {
    let body = |more: &str| {
        format!(
            "steps:
  - read: /5/0/3
  - read: /5/0/5
  - wait: 20s
  - expect:
      messages: {{match: {{from: server, method: get}}, since: start, spaced: {{most: 5s{more}}}}}
"
        )
    };
    holds(&body(""));
    breaks(&body(", to-the-end: true"), "nothing more came");
}

#[test]
fn one_kind_comes_before_or_after_another() {
    let ask = |key: &str| push(&format!("match: {{from: server, method: put, block1-num: 2}}, {key}"));
    let block = |num: u32| format!("{{from: server, method: put, block1-num: {num}}}");
    holds(&ask(&format!("before: {}", block(3))));
    breaks(&ask(&format!("before: {}", block(1))), "after it");
    holds(&ask(&format!("after: {}", block(1))));
    breaks(&ask(&format!("after: {}", block(3))), "before it");
    breaks(&ask("after: {from: stranger}"), "none of the latter");
}

#[test]
fn messages_and_bytes_are_summed_and_shared() {
    holds(&push("match: {code: 2.xx}, total-bytes: \"40..80\""));
    breaks(&push("match: {code: 2.xx}, total-bytes: 1"), "bytes in all");
    holds(&push(
        "match: {code: 2.xx}, share: {of: {from: server, method: put}, least: 1, most: 1}",
    ));
    breaks(
        &push("match: {from: server, method: put}, share: {of: {code: 2.xx}, by: bytes, most: 10}"),
        "times as many bytes",
    );
}

#[test]
fn numbers_of_notifications_rise() {
    let body = |ask: &str| {
        format!(
            "steps:
  - attributes: {{to: /5/0/3, pmin: 1, pmax: 2}}
  - observe: /5/0/3
    as: observed
  - wait: 10s
    expect: {{messages: {{match: {ask}, since: start, observe-rises: true}}}}
"
        )
    };
    holds(&body("{code: 2.05, path: /5/0/3, observe: true}, count: '>=3'"));
    breaks(&body("{from: server}"), "each with Observe");
}

#[test]
fn a_burst_keeps_its_rate_and_asks_for_life() {
    holds(
        "steps:
  - burst: {datagram: {code: get, path: /3/0/3}, count: 20, rate: 10, types: [con, non], alive-every: 10}
    as: burst
    expect: {alive: true}
  - expect:
      messages:
        - {match: {from: server, type: non, path: /3/0/3}, since: burst, count: 10}
        - {match: {from: server, type: [con, non], path: /3/0/3, token-length: 4}, since: burst, count: \">=20\", different-message-ids: true}
",
    );
    let dead = play(
        "network: {rules: [{drop: {toward: iut, between: {from: 4s, to: 900s}}}]}
steps:
  - wait: 10s
  - burst: {datagram: {code: get, path: /3/0/3}, count: 20, rate: 10, alive-every: 5}
",
    );
    assert_eq!(dead.verdict, Verdict::Inconclusive, "{dead:#?}");
}

#[test]
fn damage_is_the_same_with_the_same_seed() {
    let body = "steps:
  - burst:
      datagram: {code: put, path: /5/0/0, block1: 0/1/64, payload: {random: 64}}
      count: 60
      mutate: [bits, length, number, block, payload]
    expect: {alive: true, never: downloaded}
";
    let (one, other) = (play(body), play(body));
    assert_eq!(one.verdict, Verdict::Pass, "{one:#?}");
    assert_eq!(one.duration, other.duration);
}

#[test]
fn what_was_received_comes_once_more() {
    holds(
        "steps:
  - read: /5/0/3
    as: read
  - replay: {match: {method: get, path: /5/0/3}, listen: 2s}
    expect:
      code: 2.05
  - expect:
      messages: {match: {code: 2.05, path: /5/0/3}, since: read, count: 2, identical: true}
",
    );
    let nothing = play("steps:\n  - replay: {match: {from: stranger}}\n");
    assert_eq!(nothing.verdict, Verdict::Error, "{nothing:#?}");
}
