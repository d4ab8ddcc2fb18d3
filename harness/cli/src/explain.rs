//! `explain`: a case or a passive check, from the one source that also runs it.

use fotaproof_cases::ast::Role;
use fotaproof_cases::{Parameters, explain as explain_case};
use fotaproof_reports::model::exit_code;
use fotaproof_runner::iut::Planted;

use crate::args::ExplainArgs;
use crate::failure::Failure;
use crate::{Done, inputs, print};

/// Columns of the text.
const WIDTH: usize = 100;

pub(crate) fn explain(args: &ExplainArgs) -> Done {
    if let Some(check) = fotaproof_checks::all().iter().find(|check| check.id == args.case) {
        print(&format!(
            "{}: {}\n\nRequires: {}\nWhy it matters: {}\nExample: {}\nClauses: {}\nGrade: {}\n",
            check.id,
            check.title,
            check.requires,
            check.why,
            check.example,
            check.clauses.join(", "),
            check.grade,
        ));
        return Ok(exit_code::PASSED);
    }
    let library = inputs::library(args.library.as_deref())?;
    let parameters = Parameters::default();
    let cases = inputs::cases(&library, &parameters)?;
    let clauses = inputs::clauses(&library)?;
    let base = args.case.split('[').next().unwrap_or(&args.case);
    let mut variants: Vec<_> = cases.iter().filter(|case| case.id == base).cloned().collect();
    if base != args.case {
        variants.retain(|case| case.full_id() == args.case);
    }
    let role = variants.first().map_or(Role::Client, |case| case.case.role.value);
    let summary = |name: &str| Planted::find(name, role).map(|defect| defect.summary().to_owned());
    let Some(explanation) = explain_case(&variants, &clauses, &parameters, &summary) else {
        let ids = cases.iter().map(|case| case.id.as_str());
        let checks = fotaproof_checks::all().iter().map(|check| check.id);
        let near = fotaproof_cases::words::nearest(&args.case, ids.chain(checks));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Failure::NothingSelected(format!(
            "there is no case or check `{}`{hint}",
            args.case
        )));
    };
    print(&explanation.text(WIDTH));
    Ok(exit_code::PASSED)
}
