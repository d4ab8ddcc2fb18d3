//! Cases, manifests and a look at what is left, for the tests of the real driver.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fotaproof_cases::{CaseSource, Parameters, load_case, load_manifest};
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::{CaseOptions, RunNetwork, session_config};
use fotaproof_runner::real::{Interrupt, RealCase, run_case};
use fotaproof_runner::session::Outcome;
use fotaproof_trace::{Event, EventKind, IutEvent};

/// A whole update by push.
pub(crate) const PUSH: &str = "
title: A package is pushed and installed
purpose: The way of an update.
clauses: [oma-fw/T2]
defects: [success-without-install]
firmware: {package: valid, size: 20480}
given:
  - await: registration
    within: 10s
steps:
  - push: {block: 1024}
    expect: {code: 2.04, ends: 2/0, within: 20s}
  - execute: /5/0/2
    expect: {code: 2.04}
  - expect:
      registration: {new: true}
      ends: 0/1
      firmware-version: new
      within: 20s
";

/// The device registers, nothing more.
pub(crate) const REGISTER: &str = "
title: The device registers
purpose: The way to every question.
clauses: [oma-fw/T2]
defects: [success-without-install]
given:
  - await: registration
    within: 3s
steps:
  - read: /3/0/3
    expect: {code: 2.05}
";

/// What a case left.
pub(crate) struct Ran {
    /// Its outcome.
    pub(crate) outcome: Outcome,
    /// Its events.
    pub(crate) events: Vec<Arc<Event>>,
    /// The folder of the run.
    pub(crate) folder: tempfile::TempDir,
}

impl Ran {
    /// What happened to the IUT, output left out.
    pub(crate) fn iut_events(&self) -> Vec<String> {
        let events = self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Iut(IutEvent::Output { .. }) => None,
            EventKind::Iut(IutEvent::Exited { status }) => Some(format!("exited: {status}")),
            EventKind::Iut(event) => Some(format!("{event:?}").to_lowercase()),
            _ => None,
        });
        events.collect()
    }

    /// The lines that the IUT printed.
    pub(crate) fn lines(&self) -> Vec<String> {
        let events = self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Iut(IutEvent::Output { line, .. }) => Some(line.clone()),
            _ => None,
        });
        events.collect()
    }
}

/// The case ready to run against the manifest, in this folder.
pub(crate) fn real_case(case: &str, manifest: &str, folder: &Path) -> RealCase {
    let none = |_: &str, path: &str| Err(format!("there is no file `{path}`"));
    let text = manifest
        .replace("{device}", env!("CARGO_BIN_EXE_test-reference-device"))
        .replace("{odd}", env!("CARGO_BIN_EXE_test-odd-client"));
    let loaded = load_manifest("iut.yaml", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let cases = load_case(&CaseSource::new("test/case.yaml", case), &Parameters::default(), &none)
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    let manifest_file = folder.join("iut.yaml").display().to_string();
    let iut = Iut::of_manifest(
        &manifest_file,
        loaded.manifest,
        loaded.claims,
        loaded.parameters,
        Vec::new(),
    )
    .unwrap();
    let network = RunNetwork {
        name: "perfect".to_owned(),
        spec: fotaproof_net::LinkSpec::perfect(),
    };
    let options = CaseOptions {
        network,
        ..CaseOptions::default()
    };
    let config = session_config(&cases[0], &iut, &options).unwrap();
    let (manifest, manifest_folder) = iut.manifest.unwrap();
    RealCase {
        config,
        manifest,
        manifest_folder,
        root: folder.to_path_buf(),
        folder: folder.join("state"),
        output: folder.join("output.log"),
        instance: 1,
        speed: 1.0,
        lifetime: 300,
        endpoint: "test-1".to_owned(),
        hand: None,
        skew: None,
    }
}

/// Runs it to its end.
pub(crate) async fn run(case: RealCase, folder: tempfile::TempDir, interrupt: Interrupt) -> Ran {
    let mut events: Vec<Arc<Event>> = Vec::new();
    let outcome = run_case(case, &mut |event| events.push(event.clone()), interrupt).await;
    if std::env::var_os("SHOW_EVENTS").is_some() {
        for event in &events {
            let kind: String = format!("{:?}", event.kind).chars().take(260).collect();
            eprintln!("{:?} {kind}", event.at);
        }
    }
    assert!(matches!(events.first().unwrap().kind, EventKind::CaseStarted { .. }));
    assert!(matches!(events.last().unwrap().kind, EventKind::CaseEnded { .. }));
    let ran = Ran {
        outcome,
        events,
        folder,
    };
    let left = processes_with(&ran.folder.path().display().to_string());
    assert!(left.is_empty(), "left behind: {left:?}");
    ran
}

/// Loads and runs it.
pub(crate) async fn run_text(case: &str, manifest: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let case = real_case(case, manifest, folder.path());
    run(case, folder, Interrupt::never()).await
}

/// Living processes whose command line or environment names this.
pub(crate) fn processes_with(text: &str) -> Vec<PathBuf> {
    let contains = |path: PathBuf| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    let own = format!("/proc/{}", std::process::id());
    let entries = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    entries
        .filter(|path| *path != Path::new(&own) && path.file_name().unwrap().to_str().unwrap().parse::<u32>().is_ok())
        .filter(|path| contains(path.join("cmdline")) || contains(path.join("environ")))
        .collect()
}
