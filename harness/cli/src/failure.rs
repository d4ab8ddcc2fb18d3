//! Why a command ends without doing what was asked, with its exit code.

use fotaproof_cases::problem::{Problem, Style, render_all};
use fotaproof_reports::model::exit_code;

/// A command that could not be carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Files with mistakes.
    Invalid(Vec<Problem>),
    /// Wrong usage.
    Usage(String),
    /// Nothing was selected.
    NothingSelected(String),
    /// The harness or its environment.
    Environment(String),
}

impl Failure {
    /// The public exit code.
    pub(crate) const fn code(&self) -> i32 {
        match self {
            Self::Invalid(_) => exit_code::INVALID,
            Self::Usage(_) => exit_code::USAGE,
            Self::NothingSelected(_) => exit_code::NOTHING_SELECTED,
            Self::Environment(_) => exit_code::INCONCLUSIVE,
        }
    }

    /// The text for standard error.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Invalid(problems) => {
                let style = if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
                    Style::Colour
                } else {
                    Style::Plain
                };
                render_all(problems, style)
            }
            Self::Usage(text) | Self::NothingSelected(text) | Self::Environment(text) => format!("error: {text}\n"),
        }
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Invalid(problems)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Environment(error.to_string())
    }
}
