//! What the parts of the program say of each other is true: cases, clauses, defects, checks, files.

use core::sync::atomic::AtomicBool;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fotaproof_cases::clauses::ClauseCatalogue;
use fotaproof_cases::{Known, Library, Parameters, Style, check_file, render_all, validate};
use fotaproof_lwm2m::defects::Defect;
use fotaproof_lwm2m::server_defects::ServerDefect;
use fotaproof_runner::audit::audit;
use fotaproof_runner::iut::{Iut, Planted};
use fotaproof_runner::prepare::CaseOptions;
use fotaproof_tests::play::{cases, short_cases, testcases};

fn catalogue() -> ClauseCatalogue {
    ClauseCatalogue::load(&Library::embedded())
        .unwrap_or_else(|problems| panic!("{}", render_all(&problems, Style::Plain)))
}

struct Words {
    defects: Vec<&'static str>,
    server_defects: Vec<&'static str>,
    checks: Vec<&'static str>,
    profiles: Vec<&'static str>,
}

impl Words {
    fn new() -> Self {
        Self {
            defects: Defect::all().map(Defect::name).collect(),
            server_defects: ServerDefect::all().map(ServerDefect::name).collect(),
            checks: fotaproof_checks::all().iter().map(|check| check.id).collect(),
            profiles: fotaproof_net::profiles().iter().map(|profile| profile.name).collect(),
        }
    }

    fn known<'a>(&'a self, clauses: &'a ClauseCatalogue) -> Known<'a> {
        Known {
            clauses: Some(clauses),
            defects: &self.defects,
            server_defects: &self.server_defects,
            checks: &self.checks,
            profiles: &self.profiles,
        }
    }
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn each_check_names_clauses_of_the_catalogue() {
    let clauses = catalogue();
    let mut seen = BTreeSet::new();
    for check in fotaproof_checks::all() {
        assert!(seen.insert(check.id), "{} is there twice", check.id);
        assert!(!check.clauses.is_empty(), "{} names no clause", check.id);
        for clause in check.clauses {
            assert!(
                clauses.get(clause).is_some(),
                "{} names `{clause}`, which is no clause",
                check.id
            );
        }
    }
}

#[test]
fn each_case_names_clauses_and_defects_that_exist() {
    let clauses = catalogue();
    let words = Words::new();
    let known = words.known(&clauses);
    for case in cases() {
        let problems = validate(&case, &known);
        assert!(problems.is_empty(), "{}", render_all(&problems, Style::Plain));
        let id = case.full_id();
        assert!(!case.case.clauses.is_empty(), "{id} names no clause");
        assert!(
            !case.case.defects.is_empty(),
            "{id} names no defect, so it proves nothing"
        );
        for defect in &case.case.defects {
            assert!(
                Planted::find(&defect.value, case.case.role.value).is_some(),
                "{id}: there is no defect `{}`",
                defect.value
            );
        }
    }
}

#[test]
fn every_file_of_the_library_is_valid() {
    let clauses = catalogue();
    let words = Words::new();
    let known = words.known(&clauses);
    let mut files = Vec::new();
    files_below(testcases(), &mut files);
    files_below(&testcases().join("../fixtures/iut"), &mut files);
    let mut checked = 0;
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|ext| ext == "yaml"))
    {
        // what is included by cases is no case by itself
        if file
            .strip_prefix(testcases())
            .is_ok_and(|path| path.starts_with("common"))
        {
            continue;
        }
        if file
            .strip_prefix(testcases())
            .is_ok_and(|path| path.starts_with("sweeps"))
        {
            let text = std::fs::read_to_string(file).expect("a plan");
            if let Err(problems) = fotaproof_runner::sweep::load(&file.display().to_string(), &text) {
                panic!("{}", render_all(&problems, Style::Plain));
            }
            continue;
        }
        if let Err(problems) = check_file(file, &Parameters::default(), &known) {
            panic!("{}", render_all(&problems, Style::Plain));
        }
        checked += 1;
    }
    assert!(checked > 30, "only {checked} files were found");
}

#[test]
fn the_library_in_the_program_is_the_one_in_the_folder() {
    let embedded = Library::embedded();
    let folder =
        Library::from_dir(testcases()).unwrap_or_else(|problems| panic!("{}", render_all(&problems, Style::Plain)));
    let ids = |library: &Library| -> Vec<String> { library.sources().into_iter().map(|source| source.id).collect() };
    assert_eq!(ids(&embedded), ids(&folder));
    for source in folder.sources() {
        let path = source
            .path
            .strip_prefix(&format!("{}/", testcases().display()))
            .unwrap_or(&source.path)
            .to_owned();
        assert_eq!(embedded.get(&path), Some(source.text.as_ref()), "{path}");
    }
}

#[test]
fn defect_names_are_words_and_tell_what_they_do() {
    let mut seen = BTreeSet::new();
    for defect in Defect::all() {
        let name = defect.name();
        assert!(seen.insert(name), "{name} is there twice");
        assert!(
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{name}"
        );
        assert!(defect.summary().len() > 20, "{name}: {}", defect.summary());
        assert_eq!(name.parse::<Defect>().ok(), Some(defect));
    }
    assert!(seen.len() >= 50, "there are only {} defects", seen.len());
}

/// Each case passes on the clean device, and each defect that it names is caught for a clause of the
/// case.
#[test]
fn the_audit_finds_no_problem() {
    // the long ones are among the tests of the library
    let cases = short_cases();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let done = audit(
        &Iut::embedded(),
        &cases,
        &CaseOptions::default(),
        false,
        jobs,
        &AtomicBool::new(false),
        &|_, _| {},
    );
    assert_eq!(done.rows.len(), cases.len());
    let problems = done.problems();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
