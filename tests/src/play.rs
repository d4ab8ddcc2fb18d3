//! Cases on the embedded device in virtual time.

use std::path::Path;
use std::sync::Arc;

use fotaproof_cases::{Library, LoadedCase, Parameters, load_network};
use fotaproof_net::LinkSpec;
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::{CaseOptions, RunNetwork, Unprepared, embedded_iut, session_config};
use fotaproof_runner::session::Outcome;
use fotaproof_runner::session::network::link_spec;
use fotaproof_runner::virtual_driver;
use fotaproof_trace::{Event, write_line};

/// The folder of the library in the source tree.
#[must_use]
pub fn testcases() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../testcases"))
}

/// The library in the program, or the folder that `FOTAPROOF_LIBRARY` names.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn library() -> Library {
    match std::env::var_os("FOTAPROOF_LIBRARY") {
        None => Library::embedded(),
        Some(folder) => Library::from_dir(Path::new(&folder)).unwrap_or_else(|problems| {
            panic!(
                "{}",
                fotaproof_cases::render_all(&problems, fotaproof_cases::Style::Plain)
            )
        }),
    }
}

/// The cases of the library.
///
/// # Panics
/// When one of them is invalid.
#[must_use]
pub fn cases() -> Vec<LoadedCase> {
    let (cases, problems) = library().load(&Parameters::default());
    assert!(
        problems.is_empty(),
        "the library is invalid:\n{}",
        fotaproof_cases::render_all(&problems, fotaproof_cases::Style::Plain)
    );
    cases
}

/// The cases of the library but those that take long (tag `long`), for tests that play each of them again and again.
///
/// # Panics
/// When one of them is invalid.
#[must_use]
pub fn short_cases() -> Vec<LoadedCase> {
    let mut all = cases();
    all.retain(|case| case.case.tags.iter().all(|tag| tag.value != "long"));
    all
}

/// A network of the library, or a profile, by its name.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn network(name: &str) -> RunNetwork {
    let library = library();
    let spec = match library.get(&format!("networks/{name}.yaml")) {
        Some(text) => {
            let profiles: Vec<&str> = fotaproof_net::profiles().iter().map(|profile| profile.name).collect();
            let network = load_network(name, text, &Parameters::default(), &profiles).unwrap_or_else(|problems| {
                panic!(
                    "{}",
                    fotaproof_cases::render_all(&problems, fotaproof_cases::Style::Plain)
                )
            });
            link_spec(&network, &LinkSpec::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
        }
        None => {
            fotaproof_net::profile(name)
                .unwrap_or_else(|| panic!("there is no network {name}"))
                .spec
        }
    };
    RunNetwork {
        name: name.to_owned(),
        spec,
    }
}

/// Plays a case on the embedded device; every event goes to `sink`.
///
/// # Errors
/// When the case does not apply or cannot be prepared.
pub fn play(
    case: &LoadedCase,
    iut: &Iut,
    options: &CaseOptions,
    sink: &mut dyn FnMut(&Arc<Event>),
) -> Result<Outcome, Unprepared> {
    let config = session_config(case, iut, options)?;
    let Some(device) = embedded_iut(case, iut, &config) else {
        return Err(Unprepared::NotApplicable("to be embedded".to_owned()));
    };
    Ok(virtual_driver::run(config, device, sink, &|| false))
}

/// Plays a case and keeps its journal, with every packet.
///
/// # Errors
/// When the case does not apply or cannot be prepared.
pub fn journal(case: &LoadedCase, iut: &Iut, options: &CaseOptions) -> Result<(Outcome, Vec<u8>), Unprepared> {
    let options = CaseOptions {
        capture: true,
        ..options.clone()
    };
    let mut journal = Vec::new();
    let outcome = play(case, iut, &options, &mut |event| write_line(event, &mut journal))?;
    Ok((outcome, journal))
}

/// What an outcome says, for a message of a test.
#[must_use]
pub fn told(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}\n", outcome.verdict, outcome.reason);
    for finding in &outcome.findings {
        text.push_str(&format!(
            "  {} [{}] ({}): expected {}, seen {}\n",
            finding.title,
            finding.clauses.join(", "),
            finding.grade,
            finding.expected,
            finding.seen
        ));
    }
    for note in &outcome.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    text
}
