//! Help is complete: each command says what it does and what each argument means.

use crate::fotaproof;

#[test]
fn the_help_of_each_command() {
    let commands = [
        "run",
        "list",
        "explain",
        "check",
        "audit",
        "relay",
        "shrink",
        "replay",
        "matrix",
        "analyze",
        "diff",
        "device",
        "server",
        "schema",
        "completions",
    ];
    let whole = fotaproof("--help");
    assert_eq!((whole.code, whole.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("help", whole.out);
    for command in commands {
        assert!(
            whole.out.contains(&format!("  {command} ")),
            "{command} is not in the list"
        );
        let help = fotaproof(&format!("{command} --help"));
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
        insta::assert_snapshot!(format!("help-{command}"), help.out);
    }
}

#[test]
fn each_argument_has_a_text() {
    let whole = fotaproof("--help").out;
    let commands = whole
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split(' ').next());
    let mut looked_at = 0;
    for command in commands.filter(|word| word.chars().all(|c| c.is_ascii_lowercase()) && !word.is_empty()) {
        if command == "help" {
            continue;
        }
        let help = fotaproof(&format!("{command} -h")).out;
        let lines: Vec<&str> = help.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let option = line.trim_start();
            if !line.starts_with("  ")
                || !option.starts_with(['-', '<', '['])
                || option.starts_with("[possible")
                || option.starts_with("[default")
            {
                continue;
            }
            let beside = option.split_once("  ").is_some_and(|(_, text)| !text.trim().is_empty());
            let below = lines.get(i + 1).is_some_and(|next| next.starts_with("          "));
            assert!(beside || below, "`{option}` of {command} says nothing");
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "only {looked_at} arguments were found");
}

#[test]
fn the_exit_codes_are_in_the_help() {
    let help = fotaproof("--help").out;
    for code in ["0", "1", "2", "3", "4", "5", "130"] {
        let there = help
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{code}  ")));
        assert!(there, "exit code {code} is not explained");
    }
}

#[test]
fn the_version() {
    let version = fotaproof("--version");
    assert_eq!(version.code, Some(0));
    assert_eq!(version.out, format!("fotaproof {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = fotaproof(&format!("completions {shell}"));
        assert_eq!((script.code, script.err.as_str()), (Some(0), ""));
        for word in ["audit", "no-evidence", "fail-fast"] {
            assert!(script.out.contains(word), "{shell} does not complete {word}");
        }
    }
}

#[test]
fn schemas_are_those_of_the_repository() {
    for of in [
        "case",
        "manifest",
        "network",
        "clauses",
        "expected-failures",
        "results",
        "analysis",
        "diff",
        "sweep",
    ] {
        let schema = fotaproof(&format!("schema {of}"));
        assert_eq!(schema.code, Some(0));
        let file = fotaproof_tests::play::testcases().join(format!("schema/{of}.schema.json"));
        let committed = std::fs::read_to_string(&file).expect("a committed schema");
        assert!(schema.out == committed, "{} is stale", file.display());
    }
}
