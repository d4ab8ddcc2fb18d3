//! A case explained: what it asks and why, generated from the file that also runs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::ast::{Role, Step};
use crate::clauses::{Clause, ClauseCatalogue};
use crate::expand::PARAMETERS;
use crate::library::LoadedCase;
use crate::steps::{Course, actions, expect_lines};

/// A line of the expected ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rung {
    /// Line in the file.
    pub line: u32,
    /// What goes over the link.
    pub course: Course,
    /// Whether it belongs to the preconditions.
    pub given: bool,
    /// In words.
    pub text: String,
}

/// A parameter that a case uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParameterUse {
    /// Its name.
    pub name: String,
    /// Its value in this run.
    pub value: String,
    /// What it means.
    pub meaning: String,
}

/// A planted defect that a case must catch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DefectUse {
    /// Its name.
    pub name: String,
    /// What it does.
    pub summary: Option<String>,
}

/// Everything there is to say of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The id, without a variant.
    pub id: String,
    /// The file.
    pub path: String,
    /// What must hold.
    pub title: String,
    /// Why.
    pub purpose: String,
    /// `client` or `server`.
    pub role: &'static str,
    /// Claims that it needs.
    pub needs: Vec<String>,
    /// Clauses that it judges.
    pub clauses: Vec<Clause>,
    /// Ids of the enabler test specification.
    pub ets: Vec<String>,
    /// Its variants, by their full ids.
    pub variants: Vec<String>,
    /// Parameters that it uses.
    pub parameters: Vec<ParameterUse>,
    /// Defects that it must catch.
    pub defects: Vec<DefectUse>,
    /// Tags.
    pub tags: Vec<String>,
    /// What happens, of the first variant.
    pub ladder: Vec<Rung>,
    /// What is open in the specifications.
    pub notes: Option<String>,
}

/// Explains a case, given all its variants (at least one; the ladder is that of the first).
#[must_use]
pub fn explain(
    variants: &[LoadedCase],
    catalogue: &ClauseCatalogue,
    parameters: &crate::Parameters,
    defect_summary: &dyn Fn(&str) -> Option<String>,
) -> Option<Explanation> {
    let loaded = variants.first()?;
    let case = &loaded.case;
    let words = |all: &[crate::ast::At<String>]| all.iter().map(|word| word.value.clone()).collect::<Vec<_>>();
    let mut used: std::collections::BTreeSet<&str> = std::collections::BTreeSet::new();
    let mut defects: Vec<String> = Vec::new();
    for variant in variants {
        used.extend(variant.parameters.iter().map(String::as_str));
        for defect in &variant.case.defects {
            if !defects.contains(&defect.value) {
                defects.push(defect.value.clone());
            }
        }
    }
    Some(Explanation {
        id: loaded.id.clone(),
        path: loaded.path.clone(),
        title: case.title.trim().to_owned(),
        purpose: case.purpose.split_whitespace().collect::<Vec<_>>().join(" "),
        role: case.role.value.word(),
        needs: words(&case.needs),
        clauses: case
            .clauses
            .iter()
            .filter_map(|id| catalogue.get(id))
            .cloned()
            .collect(),
        ets: words(&case.ets),
        variants: variants
            .iter()
            .filter(|variant| variant.variant.is_some())
            .map(LoadedCase::full_id)
            .collect(),
        parameters: used
            .into_iter()
            .map(|name| ParameterUse {
                name: name.to_owned(),
                value: parameters.get(name).unwrap_or_default().to_owned(),
                meaning: PARAMETERS
                    .iter()
                    .find(|known| known.name == name)
                    .map_or("of this IUT", |known| known.meaning)
                    .to_owned(),
            })
            .collect(),
        defects: defects
            .into_iter()
            .map(|name| DefectUse {
                summary: defect_summary(&name),
                name,
            })
            .collect(),
        tags: words(&case.tags),
        ladder: case
            .all_steps()
            .flat_map(|(given, step)| rungs(given, step, step.pos.line))
            .collect(),
        notes: case
            .notes
            .as_ref()
            .map(|notes| notes.split_whitespace().collect::<Vec<_>>().join(" ")),
    })
}

fn rungs(given: bool, step: &Step, line: u32) -> Vec<Rung> {
    let when = step
        .when
        .as_ref()
        .map_or_else(String::new, |when| format!(" (when {})", when.value));
    let mut rungs: Vec<Rung> = actions(step)
        .into_iter()
        .map(|action| {
            let label = step
                .label
                .as_ref()
                .map_or_else(String::new, |label| format!(" [{}]", label.value));
            Rung {
                line,
                course: action.course,
                given,
                text: format!("{}{label}{when}", action.text),
            }
        })
        .collect();
    if let Some(expect) = &step.expect {
        let line = expect.pos.line.max(line);
        rungs.extend(expect_lines(expect).into_iter().map(|text| Rung {
            line,
            course: Course::Judged,
            given,
            text,
        }));
    }
    rungs
}

impl Explanation {
    /// As text for a terminal, at most `width` columns where words allow.
    #[must_use]
    pub fn text(&self, width: usize) -> String {
        let width = width.clamp(40, 160);
        let mut out = String::new();
        let _ = writeln!(out, "{}\n{}\n", self.id, self.title);
        out.push_str(&wrap(&self.purpose, width, "", ""));
        out.push('\n');
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                let first = format!("{name:<11}");
                out.push_str(&wrap(&value, width, &first, &" ".repeat(11)));
            }
        };
        line("file", self.path.clone());
        line("role", self.role.to_owned());
        line(
            "needs",
            if self.needs.is_empty() {
                "nothing beyond the firmware object".to_owned()
            } else {
                self.needs.join(", ")
            },
        );
        line("ets", self.ets.join(", "));
        line("tags", self.tags.join(", "));
        line("variants", self.variants.join(", "));
        if !self.clauses.is_empty() {
            out.push_str("\nJudged by\n");
            for clause in &self.clauses {
                let head = format!("  {:<16} {:<6} ", clause.id, clause.level.to_string());
                out.push_str(&wrap(&clause.text, width, &head, &" ".repeat(26)));
            }
        }
        out.push_str("\nWhat happens\n");
        out.push_str(if self.role == Role::Server.word() {
            "        device                IUT\n"
        } else {
            "        server                IUT\n"
        });
        let mut given = true;
        for rung in &self.ladder {
            if given && !rung.given && self.ladder.first().is_some_and(|first| first.given) {
                out.push_str("        --- the question ---\n");
            }
            given = rung.given;
            let arrow = match rung.course {
                Course::ToIut => "─────────►",
                Course::FromIut => "◄─────────",
                Course::Aside => "    ·     ",
                Course::Judged => "    ?     ",
            };
            let head = format!("{:>5}   {arrow}   ", rung.line);
            out.push_str(&wrap(&rung.text, width, &head, &" ".repeat(21)));
        }
        if !self.parameters.is_empty() {
            out.push_str("\nParameters\n");
            for parameter in &self.parameters {
                let head = format!("  {:<16} {:<8} ", parameter.name, parameter.value);
                out.push_str(&wrap(&parameter.meaning, width, &head, &" ".repeat(28)));
            }
        }
        if !self.defects.is_empty() {
            out.push_str("\nMust fail on\n");
            for defect in &self.defects {
                let head = format!("  {}", defect.name);
                match &defect.summary {
                    Some(summary) => out.push_str(&wrap(summary, width, &format!("{head}: "), "      ")),
                    None => {
                        let _ = writeln!(out, "{head}");
                    }
                }
            }
        }
        if let Some(notes) = &self.notes {
            out.push_str("\nNotes\n");
            out.push_str(&wrap(notes, width, "  ", "  "));
        }
        out
    }
}

/// Words in lines of at most `width` columns, with a head on the first and an indent on the others.
fn wrap(text: &str, width: usize, head: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut line = head.to_owned();
    let mut fresh = true;
    for word in text.split_whitespace() {
        let room = line.chars().count() + 1 + word.chars().count() <= width;
        if !fresh && !room {
            out.push_str(line.trim_end());
            out.push('\n');
            line = indent.to_owned();
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}
