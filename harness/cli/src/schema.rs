//! `schema`.

use fotaproof_reports::model::exit_code;

use crate::args::{SchemaArgs, SchemaOf};
use crate::{Done, print};

pub(crate) fn schema(args: &SchemaArgs) -> Done {
    let adapter = |name: &str| {
        let of = fotaproof_adapter::schemas();
        let text = of.into_iter().find(|(file, _)| *file == name);
        print(&text.map(|(_, text)| text).unwrap_or_default());
        Ok(exit_code::PASSED)
    };
    let name = match args.of {
        SchemaOf::Case => "case.schema.json",
        SchemaOf::Manifest => "manifest.schema.json",
        SchemaOf::Network => "network.schema.json",
        SchemaOf::Clauses => "clauses.schema.json",
        SchemaOf::ExpectedFailures => "expected-failures.schema.json",
        SchemaOf::Results => {
            print(&fotaproof_reports::json::schema());
            return Ok(exit_code::PASSED);
        }
        SchemaOf::Matrix => {
            print(&fotaproof_reports::matrix::json::schema());
            return Ok(exit_code::PASSED);
        }
        SchemaOf::Analysis => {
            print(&fotaproof_analyze::report::schema());
            return Ok(exit_code::PASSED);
        }
        SchemaOf::Diff => {
            print(&fotaproof_analyze::diff::schema());
            return Ok(exit_code::PASSED);
        }
        SchemaOf::Sweep => {
            print(&fotaproof_runner::sweep::schema());
            return Ok(exit_code::PASSED);
        }
        SchemaOf::AdapterRequest => return adapter("adapter-request.schema.json"),
        SchemaOf::AdapterMessage => return adapter("adapter-message.schema.json"),
    };
    for (file, text) in fotaproof_cases::schema::schemas() {
        if file == name {
            print(&text);
        }
    }
    Ok(exit_code::PASSED)
}
