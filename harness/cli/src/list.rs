//! `list` and `check`.

use fotaproof_cases::{Parameters, check_file};
use fotaproof_reports::model::exit_code;
use fotaproof_runner::sweep;
use serde::Serialize;

use crate::args::{CheckArgs, ListArgs};
use crate::failure::Failure;
use crate::{Done, inputs, print};

#[derive(Serialize)]
struct Listed<'a> {
    id: String,
    title: &'a str,
    suite: &'a str,
    role: &'a str,
    file: &'a str,
    needs: Vec<&'a str>,
    clauses: Vec<&'a str>,
    ets: Vec<&'a str>,
    defects: Vec<&'a str>,
    applies: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks: Option<String>,
}

pub(crate) fn list(args: &ListArgs) -> Done {
    let (_, iut, cases) = inputs::of_selection(&args.selection, &[])?;
    if args.json {
        let words = |all: &'_ [fotaproof_cases::ast::At<String>]| -> Vec<String> {
            all.iter().map(|word| word.value.clone()).collect()
        };
        let mut listed = Vec::new();
        for case in &cases {
            let lacks = fotaproof_runner::prepare::not_applicable(case, &iut);
            let (needs, clauses) = (words(&case.case.needs), words(&case.case.clauses));
            let (ets, defects) = (words(&case.case.ets), words(&case.case.defects));
            listed.push(serde_json::json!(Listed {
                id: case.full_id(),
                title: &case.case.title,
                suite: &case.suite,
                role: case.case.role.value.word(),
                file: &case.path,
                needs: needs.iter().map(String::as_str).collect(),
                clauses: clauses.iter().map(String::as_str).collect(),
                ets: ets.iter().map(String::as_str).collect(),
                defects: defects.iter().map(String::as_str).collect(),
                applies: lacks.is_none(),
                lacks,
            }));
        }
        print(&format!("{:#}\n", serde_json::Value::Array(listed)));
        return Ok(exit_code::PASSED);
    }
    let width = cases.iter().map(|case| case.full_id().len()).max().unwrap_or(0).min(60);
    let mut text = String::new();
    let both = cases
        .iter()
        .any(|case| case.case.role.value != cases[0].case.role.value);
    for case in &cases {
        let lacks = match fotaproof_runner::prepare::not_applicable(case, &iut) {
            Some(lacks) => format!("  (not applicable: {lacks})"),
            None => String::new(),
        };
        // of the role that is shown only where both stand in the list
        let role = if both {
            format!("{:6}  ", case.case.role.value.word())
        } else {
            String::new()
        };
        text.push_str(&format!(
            "{:width$}  {role}{}{lacks}\n",
            case.full_id(),
            case.case.title
        ));
    }
    print(&text);
    eprintln!("{} cases", cases.len());
    Ok(exit_code::PASSED)
}

pub(crate) fn check(args: &CheckArgs) -> Done {
    let library = inputs::library(None)?;
    let clauses = inputs::clauses(&library)?;
    if args.files.is_empty() {
        let cases = inputs::cases(&library, &Parameters::default())?;
        print(&format!(
            "the library in the program: {} cases, all valid\n",
            cases.len()
        ));
        return Ok(exit_code::PASSED);
    }
    let words = inputs::Words::new();
    let known = words.known(&clauses);
    let mut problems = Vec::new();
    for file in &args.files {
        // A plan belongs to the runner; what is no file of ours at all is told below.
        if let Ok(text) = inputs::read(file)
            && sweep::is_plan(&text)
        {
            match sweep::load(&file.display().to_string(), &text) {
                Ok(_) => print(&format!("{}: a valid sweep plan\n", file.display())),
                Err(found) => problems.extend(found),
            }
            continue;
        }
        match check_file(file, &Parameters::default(), &known) {
            Ok(kind) => print(&format!("{}: a valid {}\n", file.display(), kind.name())),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(exit_code::PASSED)
    } else {
        Err(Failure::Invalid(problems))
    }
}
