//! `schema`.

use fotaproof_reports::model::exit_code;

use crate::args::{SchemaArgs, SchemaOf};
use crate::{Done, print};

pub(crate) fn schema(args: &SchemaArgs) -> Done {
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
        SchemaOf::Analysis => {
            print(&fotaproof_analyze::report::schema());
            return Ok(exit_code::PASSED);
        }
    };
    for (file, text) in fotaproof_cases::schema::schemas() {
        if file == name {
            print(&text);
        }
    }
    Ok(exit_code::PASSED)
}
