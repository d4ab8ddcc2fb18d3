//! Named links as data.

use crate::spec::LinkSpec;

/// A named link.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name, as in `--network nb-iot`.
    pub name: &'static str,
    /// What it stands for, one line.
    pub summary: &'static str,
    /// Where each figure comes from: figure, source.
    pub sources: &'static [(&'static str, &'static str)],
    /// The link.
    pub spec: LinkSpec,
}

/// The profile of this name.
pub fn profile(name: &str) -> Option<Profile> {
    profiles().into_iter().find(|profile| profile.name == name)
}

/// All profiles.
pub fn profiles() -> Vec<Profile> {
    vec![Profile { name: "default", summary: "", sources: &[], spec: LinkSpec::default() }]
}
