//! What users see, as snapshots.

use fotaproof_reports::terminal::{self, Options};
use fotaproof_reports::{github, html, json, junit, tap};

use crate::fixture::{passed, rich};

const FOLDER: &str = "fotaproof-out/2026-11-23T04-11-09-acme";

fn options(width: usize, colour: bool) -> Options {
    Options {
        width,
        colour,
        folder: FOLDER.into(),
    }
}

#[test]
fn terminal_of_100_columns() {
    insta::assert_snapshot!("terminal_100", terminal::render(&rich(), &options(100, false)));
}

#[test]
fn terminal_of_80_columns() {
    insta::assert_snapshot!("terminal_80", terminal::render(&rich(), &options(80, false)));
}

#[test]
fn terminal_in_colour() {
    let text = terminal::render(&rich(), &options(100, true)).replace('\u{1b}', "␛");
    insta::assert_snapshot!("terminal_colour", text);
}

#[test]
fn terminal_when_all_passed() {
    insta::assert_snapshot!("terminal_passed", terminal::render(&passed(), &options(80, false)));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let plain = terminal::render(&rich(), &options(80, false));
    let colour = terminal::render(&rich(), &options(80, true));
    assert_eq!(fotaproof_reports::text::strip_ansi(&colour), plain);
}

#[test]
fn nothing_but_paths_and_commands_is_wider_than_the_terminal() {
    for width in [80, 100, 120] {
        for line in terminal::render(&rich(), &options(width, false)).lines() {
            let whole = ["at ", "capture ", "output ", "repeat ", "INTERRUPTED:"]
                .iter()
                .any(|label| line.trim_start().starts_with(label));
            assert!(
                whole || fotaproof_reports::text::width(line) <= width,
                "{width}: {line}"
            );
        }
    }
}

#[test]
fn results_json() {
    insta::assert_snapshot!("results_json", json::render(&rich()).unwrap());
}

#[test]
fn junit_xml() {
    let text = String::from_utf8(junit::render(&rich(), FOLDER).unwrap()).unwrap();
    // One line a tag, to read.
    insta::assert_snapshot!("junit_xml", text.replace("><", ">\n<"));
}

#[test]
fn tap_14() {
    insta::assert_snapshot!("tap", tap::render(&rich(), FOLDER));
}

#[test]
fn github_annotations() {
    insta::assert_snapshot!("github", github::render(&rich(), FOLDER));
}

#[test]
fn github_summary() {
    insta::assert_snapshot!("github_summary", github::summary(&rich()));
}

#[test]
fn page() {
    let text = html::render(&rich());
    let body = text.split_once("<body>").unwrap().1;
    insta::assert_snapshot!("html", body.replace("><", ">\n<"));
}
