//! What somebody sees who got a file wrong: a snapshot for each kind of mistake.

use std::fs;

use fotaproof_cases::files::{check_case_text, load_expected_failures, load_manifest, load_network};
use fotaproof_cases::problem::{FILE_LIMIT, read_text};
use fotaproof_cases::{
    ClauseCatalogue, Known, Library, Parameters, Problem, Style, default_parameters, load_case_file, render_all,
};

const GOOD: &str = "\
title: A retransmitted last block is answered again
purpose: The acknowledgement of the last block is lost.
needs: [push]
clauses: [rfc7252/4.5, rfc7959/2.5]
defects: [last-resend-408]
network:
  rules:
    - drop: {toward: server, coap: {type: ack, block1: {last: true}}, times: 1}
firmware: {package: valid, size: 8 KiB}
for: {block: [64, 512]}
steps:
  - await: registration
  - push: {to: /5/0/0, block: \"{block}\"}
    as: image
    expect: {code: 2.04}
  - expect: {path: [idle, downloading?, downloaded], result: initial, within: 10s}
  - resend: {of: image, block: 7}
    expect: {code: 2.04}
  - execute: /5/0/2
    expect: {code: 2.04}
  - expect: {path: [updating?, idle], result: success, within: \"{reboot}\"}
";

fn catalogue() -> ClauseCatalogue {
    ClauseCatalogue::load(&Library::embedded())
        .unwrap_or_else(|problems| panic!("{}", render_all(&problems, Style::Plain)))
}

fn show(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::line).collect();
    format!("{}\n{}", lines.join("\n"), render_all(problems, Style::Plain))
}

fn check(text: &str) -> Result<(), Vec<Problem>> {
    let catalogue = catalogue();
    let known = Known {
        clauses: Some(&catalogue),
        defects: &["last-resend-408", "nul-is-package"],
        server_defects: &["srv-413-loop"],
        checks: &["message-format", "token-echo"],
        profiles: &["nb-iot", "lte-m"],
    };
    check_case_text("push/sample.yaml", text, &known)
}

fn wrong(text: &str) -> String {
    show(&check(text).expect_err("the text has a mistake"))
}

/// The good case with one text replaced by another.
fn instead(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    wrong(&GOOD.replacen(from, to, 1))
}

#[test]
fn the_sample_itself_is_right() {
    if let Err(problems) = check(GOOD) {
        panic!("{}", show(&problems));
    }
}

#[test]
fn unknown_key() {
    insta::assert_snapshot!(
        "unknown_key",
        instead(
            "    expect: {code: 2.04}\n  - expect",
            "    exepct: {code: 2.04}\n  - expect"
        )
    );
}

#[test]
fn several_unknown_keys_are_told_at_once() {
    let text = GOOD
        .replacen("purpose:", "purpos:", 1)
        .replacen("needs:", "need:", 1)
        .replacen("- await:", "- wait-for:", 1);
    insta::assert_snapshot!("several_unknown_keys", wrong(&text));
}

#[test]
fn missing_key() {
    insta::assert_snapshot!(
        "missing_key",
        instead("title: A retransmitted last block is answered again\n", "")
    );
}

#[test]
fn wrong_type() {
    insta::assert_snapshot!("wrong_type", instead("within: 10s", "within: [10s]"));
}

#[test]
fn wrong_number() {
    insta::assert_snapshot!("wrong_number", instead("times: 1", "times: once"));
}

#[test]
fn unquoted_placeholder() {
    insta::assert_snapshot!("unquoted_placeholder", instead("block: \"{block}\"", "block: {block}"));
}

#[test]
fn unknown_placeholder() {
    insta::assert_snapshot!("unknown_placeholder", instead("\"{reboot}\"", "\"{rebot}\""));
}

#[test]
fn unknown_state() {
    insta::assert_snapshot!(
        "unknown_state",
        instead("downloading?, downloaded", "downloadin?, downloaded")
    );
}

#[test]
fn unknown_word_of_a_list() {
    insta::assert_snapshot!("unknown_word", instead("await: registration", "await: registraton"));
}

#[test]
fn unknown_clause() {
    insta::assert_snapshot!("unknown_clause", instead("rfc7959/2.5", "rfc7595/2.5"));
}

#[test]
fn unknown_defect() {
    insta::assert_snapshot!("unknown_defect", instead("[last-resend-408]", "[last-resend-404]"));
}

#[test]
fn no_defect() {
    insta::assert_snapshot!("no_defect", instead("defects: [last-resend-408]\n", ""));
}

#[test]
fn unknown_claim() {
    insta::assert_snapshot!(
        "unknown_claim",
        instead("needs: [push]", "needs: [push, \"pull:coap | pul:http\"]")
    );
}

#[test]
fn unknown_label() {
    insta::assert_snapshot!("unknown_label", instead("of: image", "of: imag"));
}

#[test]
fn two_actions_in_a_step() {
    insta::assert_snapshot!(
        "two_actions",
        instead("  - execute: /5/0/2\n", "  - execute: /5/0/2\n    read: /5/0/3\n")
    );
}

#[test]
fn a_code_without_a_question() {
    insta::assert_snapshot!(
        "code_without_question",
        instead("- expect: {path: [idle,", "- expect: {code: 2.05, path: [idle,")
    );
}

#[test]
fn within_alone() {
    insta::assert_snapshot!(
        "within_alone",
        instead(
            "result: success, within: \"{reboot}\"",
            "result: success}\n  - expect: {within: 10s"
        )
    );
}

#[test]
fn unknown_check_package_and_repository() {
    let text = GOOD
        .replacen(
            "firmware: {package: valid,",
            "checks: {skip: [{check: token-ehco, because: why not}]}\nfirmware: {package: vaild,",
            1,
        )
        .replacen(
            "  - execute: /5/0/2",
            "  - pull: {repository: mirror}\n  - execute: /5/0/2",
            1,
        );
    insta::assert_snapshot!("unknown_names", wrong(&text));
}

#[test]
fn duplicate_key() {
    insta::assert_snapshot!(
        "duplicate_key",
        instead("needs: [push]\n", "needs: [push]\nneeds: [send]\n")
    );
}

#[test]
fn an_empty_file() {
    insta::assert_snapshot!("empty_file", wrong(""));
    insta::assert_snapshot!("only_comments", wrong("# nothing\n\n"));
}

#[test]
fn not_a_mapping() {
    insta::assert_snapshot!("not_a_mapping", wrong("- await: registration\n"));
}

#[test]
fn tabs() {
    insta::assert_snapshot!("tabs", wrong("title: x\nfirmware:\n\tpackage: valid\n"));
}

#[test]
fn broken_yaml() {
    insta::assert_snapshot!("broken_yaml", wrong("title: x\nsteps: [a, b\npurpose: y\n"));
}

#[test]
fn deep_nesting() {
    let text = format!("title: {}x{}\n", "[".repeat(5_000), "]".repeat(5_000));
    insta::assert_snapshot!("deep_nesting", wrong(&text));
    let block: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    insta::assert_snapshot!("deep_nesting_block", wrong(&block));
}

#[test]
fn an_alias_bomb() {
    let mut text = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for pair in "abcdefgh".as_bytes().windows(2) {
        let (from, to) = (char::from(pair[0]), char::from(pair[1]));
        text.push_str(&format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 9].join(",")));
    }
    insta::assert_snapshot!("alias_bomb", wrong(&text));
}

#[test]
fn a_second_document() {
    insta::assert_snapshot!("second_document", wrong(&format!("{GOOD}---\n{GOOD}")));
}

#[test]
fn tags() {
    insta::assert_snapshot!("tag", instead("title: A", "title: !secret A"));
}

#[test]
fn an_empty_for() {
    insta::assert_snapshot!("empty_for", instead("block: [64, 512]", "block: []"));
}

#[test]
fn a_for_that_explodes() {
    let list: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    insta::assert_snapshot!(
        "exploding_for",
        instead("block: [64, 512]", &format!("block: [{}]", list.join(",")))
    );
}

#[test]
fn hostile_text_cannot_repaint_the_terminal() {
    let shown = wrong("title: \"\\e[2Jx\"\nstpes: []\n");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let shown = wrong("\u{1b}[2J: x\n");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn an_overlong_line_is_cut() {
    let text = format!("title: x\npurpose: \"{}\"\nstpes: []\n", "ü".repeat(50_000));
    assert!(wrong(&text).len() < 4_000);
    let text = format!("{}: 1\n", "k".repeat(1_000));
    assert!(wrong(&text).len() < 4_000);
}

#[test]
fn duplicate_id() {
    let library = Library::from_files([("push/happy.yaml", GOOD), ("push.happy.yaml", GOOD)]);
    let (cases, problems) = library.load(&default_parameters());
    assert_eq!(cases.len(), 2, "the first of them is read, with its two variants");
    insta::assert_snapshot!("duplicate_id", show(&problems));
}

#[test]
fn a_file_name_that_is_no_id() {
    let library = Library::from_files([("push/Happy Case.yaml", GOOD)]);
    insta::assert_snapshot!("bad_id", show(&library.load(&default_parameters()).1));
}

#[test]
fn cyclic_include() {
    let library = Library::from_files([
        ("push/a.yaml", "include: ../common/b.yaml\ntitle: a\n"),
        ("common/b.yaml", "include: [c.yaml]\n"),
        ("common/c.yaml", "firmware: {package: valid}\ninclude: [b.yaml]\n"),
    ]);
    insta::assert_snapshot!("cyclic_include", show(&library.load(&default_parameters()).1));
}

#[test]
fn missing_include() {
    let library = Library::from_files([
        ("push/a.yaml", "title: a\ninclude: [../common/none.yaml]\n"),
        ("push/b.yaml", "title: a\ninclude: [../../etc/passwd]\n"),
    ]);
    insta::assert_snapshot!("missing_include", show(&library.load(&default_parameters()).1));
}

#[test]
fn a_mistake_in_an_included_file_is_shown_there() {
    let library = Library::from_files([
        (
            "push/a.yaml",
            "title: a\npurpose: b\ninclude: [../common/net.yaml]\nsteps: [{await: update}]\n",
        ),
        ("common/net.yaml", "# shared\nnetwork:\n  mut: 1280\n"),
    ]);
    insta::assert_snapshot!("mistake_in_include", show(&library.load(&default_parameters()).1));
}

#[test]
fn binary_garbage_and_large_files_are_refused_before_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.yaml");
    fs::write(&file, [0x00, 0xff, 0xfe, b'a', 0x80]).unwrap();
    let shown = |file: &std::path::Path| {
        let problems = load_case_file(file, &default_parameters()).unwrap_err();
        show(&problems).replace(&folder.path().display().to_string(), "FOLDER")
    };
    insta::assert_snapshot!("binary_garbage", shown(&file));
    fs::write(&file, "title: \u{0}\u{1}\n").unwrap();
    insta::assert_snapshot!("control_characters", shown(&file));
    // Sparse: 100 MB that nobody has to read.
    fs::File::create(&file).unwrap().set_len(100_000_000).unwrap();
    insta::assert_snapshot!("hundred_megabytes", shown(&file));
    insta::assert_snapshot!("no_such_file", shown(&folder.path().join("none.yaml")));
}

#[test]
fn the_size_limit_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.yaml");
    fs::write(&file, vec![b'a'; usize::try_from(FILE_LIMIT).unwrap()]).unwrap();
    assert!(read_text(&file).is_ok());
    fs::write(&file, vec![b'a'; usize::try_from(FILE_LIMIT).unwrap() + 1]).unwrap();
    assert!(read_text(&file).is_err());
}

#[test]
fn manifests() {
    let wrong = |text: &str| show(&load_manifest("iut.yaml", text).unwrap_err());
    insta::assert_snapshot!("manifest_empty_handed", wrong("name: x\n"));
    insta::assert_snapshot!(
        "manifest_names",
        wrong(
            "name: x\ncommand: [./client]\nboard: {endpoint: e, listen: \"0.0.0.0:5683\"}\nclaims: [push, pul:coap]\npackages: {vaild: {file: a}, corrupt: {}}\nparameters: {rebot: 5s}\n"
        )
    );
    let good = load_manifest(
        "iut.yaml",
        "name: x\ncommand: [./client, \"{endpoint}\"]\nclaims: [push, object=1.1]\nparameters: {reboot: 5s, own: 7}\n",
    );
    let good = good.unwrap();
    assert_eq!(good.parameters.get("reboot"), Some("5s"));
    assert_eq!(good.parameters.get("own"), Some("7"));
    assert!(good.claims.has("push"));
}

#[test]
fn networks() {
    let load = |text: &str| load_network("net.yaml", text, &Parameters::default(), &["nb-iot"]);
    assert!(load("mtu: 68\nboth: {delay: 20ms, loss: 10 %}\n").is_ok());
    insta::assert_snapshot!("network_mtu", show(&load("mtu: 67\n").unwrap_err()));
    insta::assert_snapshot!(
        "network_loss",
        show(&load("mtu: 1280\nboth: {loss: 110 %}\n").unwrap_err())
    );
    insta::assert_snapshot!("network_profile", show(&load("profile: nbiot\n").unwrap_err()));
}

#[test]
fn expected_failures() {
    let load = |text: &str| load_expected_failures("expected.yaml", text);
    assert!(load("- {case: push.happy, clause: oma-fw/T5, reason: known, expires: 2028-02-29}\n").is_ok());
    let shown = show(&load("- {case: push.happy, clause: oma-fw/T5, reason: known, expires: 2027-02-29}\n- {case: \"x:y\", clause: c, reason: ''}\n").unwrap_err());
    insta::assert_snapshot!("expected_failures", shown);
}

#[test]
fn questions_that_say_nothing_are_told() {
    let with = |step: &str| wrong(&format!("{GOOD}{step}"));
    for (step, told) in [
        (
            "  - read: /5/0/3\n    expect: {compare: {value: /5/0/3, to: bfore}}\n",
            "nothing is remembered as `bfore`",
        ),
        (
            "  - read: /5/0/3\n    remember: {name: x}\n",
            "`remember` names one thing",
        ),
        (
            "  - read: /5/0/3\n    remember: {name: x, value: /5/0/3}\n    expect: {compare: {value: /5/0/3, is: near, to: x}}\n",
            "`near` and `by` go together",
        ),
        (
            "  - expect: {messages: {match: {method: get}, spaced: {}}}\n",
            "`spaced` has `least`, `most` or both",
        ),
        (
            "  - expect: {silence: {match: {method: get}, before: {method: put}}}\n",
            "distances and order are for `messages`",
        ),
        (
            "  - push: {}\n    expect: {figures: {transmissons: 3}}\n",
            "did you mean `transmissions`?",
        ),
        (
            "  - read: /5/0/3\n    expect: {attributes: {/5: {ver: 1.0}}}\n",
            "`attributes` is about the links of a discover",
        ),
        ("  - replay: {match: {from: iut}}\n", "only what the IUT received"),
        ("  - burst: {datagram: {}, count: 3, rate: 0}\n", "comes to no end"),
        ("  - abort: imag\n", "did you mean `image`?"),
        (
            "  - push: {package: firmware, payload: {text: a}}\n",
            "a `package` or a `payload`, not both",
        ),
        (
            "  - await-message: {options: {number: 60, there: false, uint: 3}}\n",
            "option 60 cannot be absent and have a value",
        ),
    ] {
        let seen = with(step);
        assert!(seen.contains(told), "`{told}` is not in\n{seen}");
    }
}

/// A case with a server under test.
const OF_SERVER: &str = "\
title: An update ends well
purpose: The server pushes a package.
role: server
clauses: [rfc7252/4.5]
defects: [srv-413-loop]
devices: {a: {}, b: {}}
steps:
  - update: {device: a, method: push}
    expect: {ends-well: true, device: a}
";

#[test]
fn keys_of_the_other_role() {
    assert!(check(OF_SERVER).is_ok());
    let text = OF_SERVER.replace(
        "    expect: {ends-well: true, device: a}\n",
        "    expect: {ends-well: true, device: c}\n  - push: {block: 64}\n  - server-op: {}\n    expect: {alive: true}\n",
    );
    insta::assert_snapshot!("role_of_server", wrong(&text));
    let text = OF_SERVER
        .replace("role: server\n", "")
        .replace("[srv-413-loop]", "[last-resend-408]");
    insta::assert_snapshot!("role_of_client", wrong(&text));
}

#[test]
fn a_defect_is_looked_up_by_the_role() {
    let text = OF_SERVER.replace("srv-413-loop", "last-resend-408");
    insta::assert_snapshot!("defect_of_the_other_role", wrong(&text));
}

#[test]
fn behaviours_and_acts_need_what_they_are_about() {
    let text = OF_SERVER.replace(
        "devices: {a: {}, b: {}}\n",
        "devices: {a: {block: 500, behaviours: [{on: {block: 1, last: true}, do: code}]}}\n",
    );
    let text =
        format!("{text}  - device: {{name: a, do: set, path: /4/0/2}}\n  - device: {{name: a, do: pair, pair: 0/*}}\n");
    insta::assert_snapshot!("behaviours", wrong(&text));
}

#[test]
fn security_names_devices_that_are_there_and_have_it() {
    let good = OF_SERVER.replace(
        "devices: {a: {}, b: {}}\n",
        "devices:\n  a: {security: {key: 00ff, suites: [TLS_PSK_WITH_AES_128_CCM_8]}}\n  b: {security: {identity-of: a}, endpoint-of: a}\n",
    );
    assert!(check(&good).is_ok());
    let text = good
        .replace(
            "identity-of: a}",
            "identity-of: aa, identity: x, key-of: c, known: true}",
        )
        .replace("endpoint-of: a", "endpoint-of: nobody")
        .replace("  a: {", "  c: {}\n  a: {");
    insta::assert_snapshot!("security", wrong(&text));
    let text = good.replace("[TLS_PSK_WITH_AES_128_CCM_8]", "[TLS_PSK_WITH_AES_128_CCM]");
    insta::assert_snapshot!("security_suite", wrong(&text));
    let text = good.replace("key: 00ff", "kye: 00ff");
    insta::assert_snapshot!("security_key", wrong(&text));
}
