//! `replay`: a case of an earlier run again, with the same seed and the same fate of packets.
//!
//! In virtual time the journal must come out the same byte for byte; in real time the link does
//! to each packet what it did before.

use std::path::Path;
use std::sync::Arc;

use fotaproof_net::RecordedFate;
use fotaproof_reports::json;
use fotaproof_reports::model::exit_code;
use fotaproof_runner::evidence::file_name;

use crate::args::{Color, Format, ReplayArgs, RunArgs, Selection};
use crate::failure::Failure;
use crate::{Done, print, run};

pub(crate) fn replay(args: &ReplayArgs) -> Done {
    let path = args.run.join(json::FILE);
    let before = json::read_file(&path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    let Some(case) = before.cases.iter().find(|case| case.id == args.case) else {
        let near = fotaproof_cases::words::nearest(&args.case, before.cases.iter().map(|case| case.id.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Failure::NothingSelected(format!(
            "the run holds no case `{}`{hint}",
            args.case
        )));
    };
    let again = RunArgs {
        selection: Selection {
            selectors: vec![args.case.clone()],
            library: args
                .library
                .clone()
                .or_else(|| (before.library != "embedded").then(|| before.library.clone().into())),
            iut: before.iut.manifest.clone().map(Into::into),
            role: None,
        },
        network: (before.network != "default").then(|| before.network.clone()),
        seed: before.seed,
        jobs: Some(1),
        speed: before.speed,
        strict: before.strict,
        out: args.out.clone(),
        no_evidence: false,
        format: Format::Human,
        fail_fast: false,
        defect: before.iut.defects.clone(),
        color: Color::Auto,
    };
    let name = file_name(&args.case);
    let fates = fates(&args.run.join("cases").join(format!("{name}.fates.json")))?;
    let repeated = fates.is_some();
    let done = run::run_with(&again, fates.map(Arc::new))?;
    let Some(folder) = done.folder else {
        return Ok(done.code);
    };
    let verdict = done.results.cases.iter().find(|c| c.id == args.case).map(|c| c.verdict);
    if verdict != Some(case.verdict) {
        let now = verdict.map_or("nothing", |verdict| verdict.word());
        print(&format!("the verdict was {} and is {now}\n", case.verdict.word()));
    }
    if repeated || before.iut.manifest.is_some() && case.evidence.output.is_some() {
        return Ok(done.code);
    }
    let journal = format!("cases/{name}.journal.jsonl");
    match same(&args.run.join(&journal), &folder.join(&journal))? {
        None => print("the journal is the same, byte for byte\n"),
        Some(line) => {
            print(&format!(
                "the journals part at line {line}: another build, case or platform than before\n"
            ));
            return Ok(if done.code == exit_code::PASSED {
                exit_code::INCONCLUSIVE
            } else {
                done.code
            });
        }
    }
    Ok(done.code)
}

fn fates(path: &Path) -> Result<Option<Vec<RecordedFate>>, Failure> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::Environment(format!("{}: {error}", path.display()))),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Failure::Environment(format!("{} is broken: {error}", path.display())))
}

/// The first line in which two files differ, from 1.
fn same(a: &Path, b: &Path) -> Result<Option<usize>, Failure> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|error| Failure::Environment(format!("{}: {error}", path.display())));
    let (a, b) = (read(a)?, read(b)?);
    if a == b {
        return Ok(None);
    }
    let common = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    Ok(Some(a[..common].iter().filter(|byte| **byte == b'\n').count() + 1))
}
