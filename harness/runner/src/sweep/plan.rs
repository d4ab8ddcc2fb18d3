//! The plan of a sweep: which settings are combined, and how often each is run.

use fotaproof_cases::ast::{At, Many, Oversize, Probability, Size};
use fotaproof_cases::de::from_node_thorough;
use fotaproof_cases::node::parse;
use fotaproof_cases::problem::{Mistake, Problem, Sources};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;

/// Who moves the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The server writes the Package.
    #[default]
    Push,
    /// The device fetches it.
    Pull,
}

/// A plan. Every list is combined with every other; a single value counts as a list of one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// What it shows.
    pub title: String,
    /// Why.
    #[serde(default)]
    pub purpose: String,
    /// Who moves the image; push if absent.
    #[serde(default)]
    pub way: Way,
    /// Size of the image in bytes.
    pub size: At<Size>,
    /// Networks to start from: profiles, networks of the library, files; the default link if absent.
    pub network: Option<Many<At<String>>>,
    /// Block sizes.
    pub block: Many<At<u16>>,
    /// Largest IP packets; that of the network if absent.
    pub mtu: Option<Many<At<u16>>>,
    /// What happens to larger packets; what the network does if absent.
    pub oversize: Option<Many<At<Oversize>>>,
    /// Loss of each packet or fragment, both ways; that of the network if absent.
    pub loss: Option<Many<At<Probability>>>,
    /// Runs of each combination.
    pub seeds: At<u32>,
}

/// Runs of a plan at most.
const MAX_RUNS: usize = 1_000_000;

/// The JSON Schema of a plan, for editors.
#[must_use]
pub fn schema() -> String {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<Plan>();
    schema.insert("title".to_owned(), "Sweep plan".into());
    format!("{:#}\n", schema.to_value())
}

/// Whether a file is a plan, by the keys that only a plan has.
#[must_use]
pub fn is_plan(text: &str) -> bool {
    parse(0, text).is_ok_and(|root| root.entry("seeds").is_some() && root.entry("steps").is_none())
}

/// Reads a plan.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(name: &str, text: &str) -> Result<Plan, Vec<Problem>> {
    let sources = Sources::one(name, text);
    let root = parse(0, text).map_err(|mistake| vec![sources.problem(mistake)])?;
    let told = |all: Vec<Mistake>| {
        all.into_iter()
            .map(|mistake| sources.problem(mistake))
            .collect::<Vec<_>>()
    };
    let plan: Plan = from_node_thorough(&root).map_err(told)?;
    let mut mistakes = Vec::new();
    for block in &plan.block.0 {
        if fotaproof_wire::coap::Szx::from_size(block.value.into()).is_none() {
            let message = format!("{} is no block size", block.value);
            mistakes.push(Mistake::new("block", block.pos.into(), message).help("16, 32, 64, 128, 256, 512 or 1024"));
        }
    }
    for mtu in plan.mtu.iter().flat_map(|all| &all.0) {
        if mtu.value < 68 {
            let message = format!("no IP link has an MTU of {}", mtu.value);
            mistakes.push(Mistake::new("mtu", mtu.pos.into(), message).help("68 at least (RFC 791 section 3.2)"));
        }
    }
    if plan.seeds.value == 0 {
        mistakes.push(Mistake::new(
            "seeds",
            plan.seeds.pos.into(),
            "a plan without runs shows nothing",
        ));
    }
    if plan.size.value.0 == 0 {
        mistakes.push(Mistake::new(
            "size",
            plan.size.pos.into(),
            "an image has one byte at least",
        ));
    }
    for (key, empty) in [
        ("block", plan.block.0.is_empty()),
        ("mtu", plan.mtu.as_ref().is_some_and(|all| all.0.is_empty())),
        ("network", plan.network.as_ref().is_some_and(|all| all.0.is_empty())),
        ("oversize", plan.oversize.as_ref().is_some_and(|all| all.0.is_empty())),
        ("loss", plan.loss.as_ref().is_some_and(|all| all.0.is_empty())),
    ] {
        if empty {
            mistakes.push(Mistake::new("empty", root.pos, format!("`{key}` is an empty list")));
        }
    }
    let runs = plan.combinations().saturating_mul(plan.seeds.value as usize);
    if runs > MAX_RUNS {
        let message = format!("the plan has {runs} runs, more than {MAX_RUNS}");
        mistakes.push(Mistake::new("runs", plan.seeds.pos.into(), message));
    }
    if mistakes.is_empty() {
        Ok(plan)
    } else {
        Err(told(mistakes))
    }
}

impl Plan {
    /// Combinations of settings.
    #[must_use]
    pub fn combinations(&self) -> usize {
        let count = |length: Option<usize>| length.unwrap_or(1);
        self.block
            .0
            .len()
            .saturating_mul(count(self.network.as_ref().map(|all| all.0.len())))
            .saturating_mul(count(self.mtu.as_ref().map(|all| all.0.len())))
            .saturating_mul(count(self.oversize.as_ref().map(|all| all.0.len())))
            .saturating_mul(count(self.loss.as_ref().map(|all| all.0.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::{is_plan, schema};
    use std::path::Path;

    #[test]
    fn the_schema_in_the_repository_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testcases/schema/sweep.schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            schema(),
            "stale: fotaproof schema sweep > {}",
            path.display()
        );
    }

    #[test]
    fn a_plan_is_told_from_other_files() {
        assert!(is_plan("title: x\nsize: 1 kB\nblock: 64\nseeds: 1\n"));
        assert!(is_plan("seeds: no number\n"));
        assert!(!is_plan("title: x\nsteps: []\n"));
        assert!(!is_plan("mtu: 1280\n"));
        assert!(!is_plan("- a list\n"));
        assert!(!is_plan("{"));
    }
}
