//! What a command works on: the library, the IUT, the network, the selected cases.

use std::path::Path;

use fotaproof_cases::ast::Role;
use fotaproof_cases::clauses::ClauseCatalogue;
use fotaproof_cases::problem::Problem;
use fotaproof_cases::validate::{Known, validate};
use fotaproof_cases::{
    Library, LoadedCase, Parameters, SelectError, load_expected_failures, load_manifest, load_network, select,
};
use fotaproof_lwm2m::defects::Defect;
use fotaproof_lwm2m::server_defects::ServerDefect;
use fotaproof_net::LinkSpec;
use fotaproof_runner::iut::{Iut, Planted};
use fotaproof_runner::prepare::RunNetwork;
use fotaproof_runner::session::network::link_spec;

use crate::args::Selection;
use crate::failure::Failure;

/// Words that cases may use and that are known outside the case crate.
pub(crate) struct Words {
    defects: Vec<&'static str>,
    server_defects: Vec<&'static str>,
    checks: Vec<&'static str>,
    profiles: Vec<&'static str>,
}

impl Words {
    pub(crate) fn new() -> Self {
        Self {
            defects: Defect::all().map(Defect::name).collect(),
            server_defects: ServerDefect::all().map(ServerDefect::name).collect(),
            checks: fotaproof_checks::all().iter().map(|check| check.id).collect(),
            profiles: fotaproof_net::profiles().iter().map(|profile| profile.name).collect(),
        }
    }

    pub(crate) fn known<'a>(&'a self, clauses: &'a ClauseCatalogue) -> Known<'a> {
        Known {
            clauses: Some(clauses),
            defects: &self.defects,
            server_defects: &self.server_defects,
            checks: &self.checks,
            profiles: &self.profiles,
        }
    }
}

/// Reads a file of ours; its size is looked at first.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fotaproof_cases::problem::read_text(path).map_err(|error| Failure::Invalid(vec![error.problem()]))
}

fn invalid(file: &str, why: impl Into<String>) -> Failure {
    Failure::Invalid(vec![Problem::whole_file(file, "invalid", why)])
}

/// The library of cases.
pub(crate) fn library(folder: Option<&Path>) -> Result<Library, Failure> {
    match folder {
        None => Ok(Library::embedded()),
        Some(folder) if !folder.is_dir() => Err(invalid(
            &folder.display().to_string(),
            "there is no such folder of cases",
        )),
        Some(folder) => Ok(Library::from_dir(folder)?),
    }
}

/// The clauses: those of the library, or those in the program where it has none.
pub(crate) fn clauses(library: &Library) -> Result<ClauseCatalogue, Failure> {
    if library.files_in("clauses").next().is_some() {
        return Ok(ClauseCatalogue::load(library)?);
    }
    Ok(ClauseCatalogue::load(&Library::embedded())?)
}

/// All cases of a library; any mistake in any file is an error.
pub(crate) fn cases(library: &Library, parameters: &Parameters) -> Result<Vec<LoadedCase>, Failure> {
    let (cases, mut problems) = library.load(parameters);
    let clauses = clauses(library)?;
    let words = Words::new();
    let known = words.known(&clauses);
    for case in &cases {
        problems.extend(validate(case, &known));
    }
    problems.dedup_by(|a, b| a.message == b.message && a.pos == b.pos && a.file == b.file);
    if problems.is_empty() {
        Ok(cases)
    } else {
        Err(Failure::Invalid(problems))
    }
}

/// The cases that are selected.
pub(crate) fn selected(cases: Vec<LoadedCase>, selectors: &[String]) -> Result<Vec<LoadedCase>, Failure> {
    let subjects: Vec<_> = cases.iter().map(LoadedCase::subject).collect();
    let chosen = select(selectors, &subjects).map_err(|error| match error {
        SelectError::Invalid { .. } => Failure::Usage(error.to_string()),
        nothing => Failure::NothingSelected(nothing.to_string()),
    })?;
    let mut chosen: Vec<bool> = {
        let mut marks = vec![false; cases.len()];
        for i in chosen {
            marks[i] = true;
        }
        marks
    };
    let mut marks = chosen.drain(..);
    let cases: Vec<LoadedCase> = cases.into_iter().filter(|_| marks.next().unwrap_or(false)).collect();
    if cases.is_empty() {
        return Err(Failure::NothingSelected("there is no case to run".to_owned()));
    }
    Ok(cases)
}

/// The IUT that is asked for.
pub(crate) fn iut(manifest: Option<&Path>, defects: &[String]) -> Result<Iut, Failure> {
    let Some(path) = manifest else {
        let mut iut = Iut::embedded();
        for name in defects {
            let found = [Role::Client, Role::Server]
                .into_iter()
                .find_map(|role| Planted::find(name, role));
            let defect = found.ok_or_else(|| {
                let all = Defect::all().map(Defect::name);
                let all = all.chain(ServerDefect::all().map(ServerDefect::name));
                Failure::Usage(match fotaproof_cases::words::nearest(name, all) {
                    Some(near) => format!("there is no defect `{name}`; did you mean `{near}`?"),
                    None => format!("there is no defect `{name}`"),
                })
            })?;
            iut = iut.with_defect(defect);
        }
        return Ok(iut);
    };
    let name = path.display().to_string();
    let text = read(path)?;
    let loaded = load_manifest(&name, &text)?;
    let expected = match &loaded.manifest.expected_failures {
        None => Vec::new(),
        Some(file) => {
            let path = path.parent().unwrap_or_else(|| Path::new(".")).join(&file.value);
            load_expected_failures(&path.display().to_string(), &read(&path)?)?
        }
    };
    Iut::of_manifest(&name, loaded.manifest, loaded.claims, loaded.parameters, expected)
        .map_err(|error| invalid(&name, error.to_string()))
}

/// The network that is asked for: a file, a network of the library, or a profile.
pub(crate) fn network(wanted: Option<&str>, library: &Library) -> Result<RunNetwork, Failure> {
    let Some(wanted) = wanted else {
        return Ok(RunNetwork::default());
    };
    let in_library = format!("networks/{wanted}.yaml");
    let (name, text) = if let Some(text) = library.get(&in_library) {
        (in_library.clone(), text.to_owned())
    } else if let Some(profile) = fotaproof_net::profile(wanted) {
        return Ok(RunNetwork {
            name: wanted.to_owned(),
            spec: profile.spec,
        });
    } else if Path::new(wanted).exists() || wanted.ends_with(".yaml") || wanted.contains('/') {
        (wanted.to_owned(), read(Path::new(wanted))?)
    } else {
        let names: Vec<&str> = fotaproof_net::profiles().iter().map(|profile| profile.name).collect();
        let near = fotaproof_cases::words::nearest(wanted, names.iter().copied());
        let hint = near.map_or_else(
            || format!("one of {}", names.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Failure::Usage(format!("there is no network `{wanted}`; {hint}")));
    };
    let profiles: Vec<&str> = fotaproof_net::profiles().iter().map(|profile| profile.name).collect();
    let network = load_network(&name, &text, &Parameters::default(), &profiles)?;
    let spec = link_spec(&network, &LinkSpec::default()).map_err(|error| invalid(&name, error.to_string()))?;
    Ok(RunNetwork {
        name: wanted.to_owned(),
        spec,
    })
}

/// The cases that the IUT is of the right role for, and that are of the role that is asked for.
fn of_role(cases: Vec<LoadedCase>, iut: &Iut, wanted: Option<crate::args::Role>) -> Result<Vec<LoadedCase>, Failure> {
    let role = |case: &LoadedCase| case.case.role.value;
    let left: Vec<LoadedCase> = cases
        .into_iter()
        .filter(|case| iut.has_role(role(case)) && wanted.is_none_or(|wanted| wanted.of_cases() == role(case)))
        .collect();
    if !left.is_empty() {
        return Ok(left);
    }
    Err(Failure::NothingSelected(match wanted {
        Some(wanted) if !iut.has_role(wanted.of_cases()) => format!(
            "nothing is selected: {} is a {}, and `--role {}` asks for cases of the other role",
            iut.name,
            iut.role.word(),
            wanted.word()
        ),
        Some(wanted) => format!("nothing is selected: none of the cases has the role {}", wanted.word()),
        None => format!(
            "nothing is selected: {} is a {}, and all of the cases are for the other role",
            iut.name,
            iut.role.word()
        ),
    }))
}

/// Library, IUT and selected cases of a selection.
pub(crate) fn of_selection(
    selection: &Selection,
    defects: &[String],
) -> Result<(Library, Iut, Vec<LoadedCase>), Failure> {
    let library = library(selection.library.as_deref())?;
    let iut = iut(selection.iut.as_deref(), defects)?;
    let cases = cases(&library, &iut.parameters)?;
    let cases = selected(cases, &selection.selectors)?;
    let cases = of_role(cases, &iut, selection.role)?;
    Ok((library, iut, cases))
}
