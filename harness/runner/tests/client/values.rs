//! Several values at once, remembered values, packages in other formats, forms of answers, figures.

use super::{breaks, holds};

#[test]
fn what_was_read_is_compared_later() {
    let body = |is: &str| {
        format!(
            "steps:
  - write: {{to: /5/0/11, integer: 1}}
  - read: /5/0/11
    remember: {{name: severity, value: /5/0/11}}
  - write: {{to: /5/0/11, integer: 2}}
  - read: /5/0/11
    expect: {{compare: {{value: /5/0/11, is: {is}, to: severity}}}}
"
        )
    };
    holds(&body("greater"));
    holds(&body("different"));
    holds(&body("near, by: 1"));
    breaks(&body("same"), "is the same as `severity` (1), seen 2");
    breaks(&body("at-most"), "is at most");
}

#[test]
fn fields_of_messages_are_remembered_and_stand_in_texts() {
    holds(
        "steps:
  - read: /5/0/3
  - expect: {messages: {match: {from: server, method: get, path: /5/0/3}, since: start}}
    remember: {name: lost, message: {from: server, method: get, path: /5/0/3}, part: message-id}
  - read: /5/0/3
    remember: {name: token, message: {from: server, method: get, path: /5/0/3}}
    expect:
      compare:
        - {message: {code: 2.05, path: /5/0/3}, to: token}
        - {message: {code: 2.05, path: /5/0/3}, part: message-id, is: different, to: lost}
  - write: {to: /5/0/1, text: \"coap://nowhere.invalid/{remembered.token}\"}
    expect: {code: any}
",
    );
}

#[test]
fn what_is_not_there_cannot_be_remembered() {
    let outcome = super::play("steps:\n  - read: /5/0/3\n    remember: {name: x, value: /5/0/5}\n");
    assert_eq!(outcome.verdict, fotaproof_trace::Verdict::Inconclusive, "{outcome:#?}");
    assert!(outcome.reason.contains("cannot be remembered"), "{}", outcome.reason);
}

#[test]
fn packages_come_in_other_formats() {
    for format in ["tlv", "senml-cbor", "text"] {
        holds(&format!(
            "firmware: {{package: valid, size: 4 KiB}}
steps:
  - push: {{payload: {{package: firmware, encode: {format}}}}}
    expect: {{code: 2.04, ends: 2/0, image: firmware}}
"
        ));
    }
    // two halves are a whole, one is not
    holds(
        "firmware: {package: valid, size: 4 KiB}
steps:
  - push: {payload: {parts: [{package: firmware, block: 0/1/1024}, {package: firmware, block: 1/1/1024}, {package: firmware, block: 2/1/1024}, {package: firmware, block: 3/0/1024}]}}
    expect: {code: 2.04, ends: 2/0, image: firmware}
",
    );
    breaks(
        "firmware: {package: valid, size: 4 KiB}
steps:
  - push: {payload: {parts: [{package: firmware, block: 0/1/1024}, {text: end}]}}
    expect: {code: 2.04, ends: 2/0}
",
        "seen 0/",
    );
}

#[test]
fn a_body_goes_on_in_other_blocks() {
    let body = |from: u32| {
        format!(
            "firmware: {{package: valid, size: 4 KiB}}
steps:
  - push: {{stop-after: 3}}
    as: begun
  - push: {{from: {from}, of: begun, block: 128, no-restart: true}}
    expect: {{code: 2.04, ends: 2/0, image: firmware}}
"
        )
    };
    holds(&body(16));
    breaks(&body(17), "4.08");
}

#[test]
fn a_push_is_given_up() {
    holds(
        "firmware: {package: valid, size: 16 KiB}
steps:
  - push: {block: 16}
    as: image
    background: true
  - wait: 500ms
  - abort: image
  - wait: 1s
  - expect: {silence: {match: {from: server, method: put}, for: 60s}}
",
    );
}

#[test]
fn several_values_are_read_and_written_at_once() {
    holds(
        "steps:
  - read-composite: [/5/0/3, /5/0/5, /3/0/3]
    expect: {code: 2.05, values: {/5/0/3: 0, /5/0/5: 0}, has: /3/0/3, lacks: /5/0/9}
  - write-composite: {values: {/5/0/11: {integer: 2}, /5/0/13: {integer: 30}}}
    expect: {code: 2.04}
  - read: /5/0
    expect: {values: {/5/0/11: 2, /5/0/13: 30}}
  - write: {to: /5/0, partial: true, values: {/5/0/11: {integer: 0}, /5/0/13: {integer: 7}}}
    expect: {code: 2.04}
  - read: /5/0/13
    expect: {values: {/5/0/13: 7}}
",
    );
    breaks(
        "steps:\n  - read-composite: [/5/0/3]\n    expect: {has: /5/0/5}\n",
        "/5/0/5",
    );
}

#[test]
fn a_composite_notification_has_all_values() {
    let body = |value: u8| {
        format!(
            "steps:
  - observe-composite: [/5/0/3, /5/0/5]
  - push: {{}}
    expect: {{notification: {{path: /, values: {{/5/0/3: 2, /5/0/5: {value}}}}}, within: 20s}}
"
        )
    };
    holds(&body(0));
    breaks(&body(1), "/5/0/5 = 1");
}

#[test]
fn attributes_of_links_are_asked_for() {
    let registration =
        |want: &str| format!("steps:\n  - expect: {{registration: {{attributes: {{/5: {{ver: {want}}}}}}}}}\n");
    holds(&registration("\"1.1|1.2\""));
    breaks(&registration("\"1.0\""), "/5 with ver=1.0");
    holds("steps:\n  - discover: /5\n    expect: {attributes: {/5: {ver: any}, /5/0/4: {dim: none}}}\n");
    breaks(
        "steps:\n  - discover: /5\n    expect: {attributes: {/5: {ver: none}}}\n",
        "ver=none",
    );
}

#[test]
fn entries_of_a_tlv_answer_are_looked_at() {
    let body = |want: &str| format!("steps:\n  - read: /5/0\n    accept: tlv\n    expect: {{tlv: {{{want}}}}}\n");
    holds(&body("/5/0/3: {kind: resource, length: 1|2|4|8, type-byte: 193}"));
    breaks(&body("/5/0/3: {length: 2}"), "in 2 bytes");
    breaks(&body("/5/0/4: {length: 1}"), "an entry of /5/0/4");
}

#[test]
fn figures_have_bounds() {
    let body = |want: &str| {
        format!(
            "firmware: {{package: valid, size: 2 KiB}}\nsteps:\n  - push: {{}}\n    expect: {{code: 2.04, figures: {{{want}}}}}\n"
        )
    };
    holds(&body("transmissions: \"8..12\", fragments: 0, time: <=5"));
    breaks(&body("bytes: <=2048"), "bytes: at most 2048");
}
