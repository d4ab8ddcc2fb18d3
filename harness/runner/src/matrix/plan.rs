//! Who takes part, and which cells there are.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use fotaproof_cases::Claims;
use fotaproof_cases::manifest::{ExpectedFailure, Manifest};
use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_lwm2m::server_defects::ServerDefectSet;
use fotaproof_reports::matrix::Way;

use crate::iut::{Iut, IutKind};
use crate::prepare::{RunNetwork, case_seed};
use crate::real::{Scaling, scaling};

/// The word of the command line for the peers in this program.
pub const EMBEDDED: &str = "embedded";

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The device.
    Client,
    /// The server.
    Server,
}

impl Role {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A client or a server.
#[derive(Clone, Debug)]
pub struct Party {
    /// Its name; the matrix makes it unique on its side.
    pub name: String,
    /// What it claims.
    pub claims: Claims,
    /// Its version, as far as it is known.
    pub version: Option<String>,
    /// Its manifest and the manifest's folder; none for what is in this program.
    pub manifest: Option<(Arc<Manifest>, PathBuf)>,
    /// The manifest's file, as it was given.
    pub manifest_file: Option<String>,
    /// Failures that are expected of it.
    pub expected: Vec<ExpectedFailure>,
    /// The settings of an embedded device.
    pub device: Option<Box<DeviceConfig>>,
    /// What an embedded server does wrong on purpose.
    pub server: Option<ServerDefectSet>,
}

/// Why an IUT cannot take part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartyError {
    /// A server has no adapter.
    #[error("{0} is to be a server of the matrix, and its manifest has no `adapter`")]
    NoAdapter(String),
    /// A client has no command.
    #[error("{0} is to be a client of the matrix, and its manifest has neither `command` nor `board`")]
    NoCommand(String),
    /// It is the other side.
    #[error("{name} is to be a {} of the matrix, and by the `role` of its manifest it is a {}", as_what.word(), as_what.other().word())]
    Role {
        /// Its name.
        name: String,
        /// What it was given as.
        as_what: Role,
    },
}

impl Party {
    /// The embedded device, as it is in a run.
    #[must_use]
    pub fn embedded_client() -> Self {
        let mut party = Self::of_parts(Iut::embedded());
        EMBEDDED.clone_into(&mut party.name);
        party
    }

    /// The embedded server of updates.
    #[must_use]
    pub fn embedded_server() -> Self {
        let mut party = Self::of_parts(Iut::embedded_server());
        EMBEDDED.clone_into(&mut party.name);
        party
    }

    fn of_parts(iut: Iut) -> Self {
        let (device, server) = match iut.kind {
            IutKind::Embedded(config) => (Some(config), None),
            IutKind::EmbeddedServer(defects) => (None, Some(defects)),
            IutKind::Real => (None, None),
        };
        Self {
            device,
            server,
            name: iut.name,
            claims: iut.claims,
            version: iut.version,
            manifest: iut.manifest,
            manifest_file: iut.manifest_file,
            expected: iut.expected,
        }
    }

    /// The IUT of a manifest in this role.
    ///
    /// # Errors
    /// When its manifest is one of the other role, or does not say how it is run.
    pub fn of_iut(iut: Iut, role: Role) -> Result<Self, PartyError> {
        let is = match iut.role {
            fotaproof_cases::ast::Role::Client => Role::Client,
            fotaproof_cases::ast::Role::Server => Role::Server,
        };
        let party = Self::of_parts(iut);
        let manifest = party.manifest.as_ref().map(|(manifest, _)| manifest);
        if is != role {
            return Err(PartyError::Role {
                name: party.name,
                as_what: role,
            });
        }
        let runs = party.is_embedded(role)
            || manifest.is_some_and(|manifest| match role {
                Role::Client => manifest.command.is_some() || manifest.board.is_some(),
                Role::Server => manifest.adapter.is_some(),
            });
        match role {
            _ if runs => Ok(party),
            Role::Client => Err(PartyError::NoCommand(party.name)),
            Role::Server => Err(PartyError::NoAdapter(party.name)),
        }
    }

    /// Whether a clock of this factor is possible for it; why not, if not.
    ///
    /// # Errors
    /// In words, with its name.
    pub fn at_speed(&self, role: Role, speed: f64) -> Result<Scaling, String> {
        match &self.manifest {
            Some((manifest, _)) if !self.is_embedded(role) => {
                scaling(manifest, speed).map_err(|error| format!("{}: {error}", self.name))
            }
            _ => Ok(Scaling::default()),
        }
    }

    /// As a report tells of it.
    #[must_use]
    pub fn described(&self) -> fotaproof_reports::matrix::Party {
        fotaproof_reports::matrix::Party {
            name: self.name.clone(),
            version: self.version.clone(),
            description: self
                .manifest
                .as_ref()
                .and_then(|(manifest, _)| manifest.description.clone()),
            manifest: self.manifest_file.clone(),
            claims: self.claims.list(),
        }
    }

    /// The endpoint name of a board, and where the harness waits for it.
    pub(super) fn board(&self) -> Option<&fotaproof_cases::manifest::Board> {
        let board = self.manifest.as_ref()?.0.board.as_ref()?;
        Some(&board.value)
    }

    /// Whether it is in this program.
    #[must_use]
    pub fn is_embedded(&self, role: Role) -> bool {
        match role {
            Role::Client => self.device.is_some(),
            Role::Server => self.server.is_some(),
        }
    }
}

/// What a matrix is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The clients.
    pub clients: Vec<Party>,
    /// The servers.
    pub servers: Vec<Party>,
    /// The networks.
    pub networks: Vec<RunNetwork>,
    /// The ways.
    pub ways: Vec<Way>,
    /// Seed of the run.
    pub seed: u64,
    /// Bytes of a package, where it can be chosen.
    pub size: u64,
}

/// One cell of a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned<'a> {
    pub(super) client: &'a Party,
    pub(super) client_index: usize,
    pub(super) server: &'a Party,
    pub(super) server_index: usize,
    pub(super) network: &'a RunNetwork,
    pub(super) way: Way,
}

impl Plan {
    /// Gives parties of one side different names.
    #[must_use]
    pub fn with_unique_names(mut self) -> Self {
        for side in [&mut self.clients, &mut self.servers] {
            let mut taken = BTreeSet::new();
            for party in side.iter_mut() {
                let base = party.name.clone();
                let mut number = 2;
                while !taken.insert(party.name.clone()) {
                    party.name = format!("{base} {number}");
                    number += 1;
                }
            }
        }
        self
    }

    /// All cells, in the order of the results.
    pub(super) fn cells(&self) -> Vec<Planned<'_>> {
        let mut cells = Vec::new();
        for network in &self.networks {
            for way in &self.ways {
                for (client_index, client) in self.clients.iter().enumerate() {
                    for (server_index, server) in self.servers.iter().enumerate() {
                        cells.push(Planned {
                            client,
                            client_index,
                            server,
                            server_index,
                            network,
                            way: *way,
                        });
                    }
                }
            }
        }
        cells
    }
}

/// Pulls that need another protocol than the link between the two carries.
const OTHER_PULLS: [&str; 5] = [
    "pull:coaps",
    "pull:coap+tcp",
    "pull:coaps+tcp",
    "pull:http",
    "pull:https",
];

/// `matrix.push[client=A,server=B,network=N]`.
pub(super) fn case_id(way: Way, client: &str, server: &str, network: &str) -> String {
    format!(
        "matrix.{}[client={client},server={server},network={network}]",
        way.word()
    )
}

impl Planned<'_> {
    /// The id, as people read it.
    pub(super) fn id(&self) -> String {
        format!(
            "{}/{}/{}/{}",
            self.network.name,
            self.way.word(),
            self.client.name,
            self.server.name
        )
    }

    /// The id that expected failures name: `matrix.push[client=A,server=B,network=N]`.
    pub(super) fn case_id(&self) -> String {
        case_id(self.way, &self.client.name, &self.server.name, &self.network.name)
    }

    /// The seed: it depends on the run's and on what the cell is, not on what else is in the matrix.
    pub(super) fn seed(&self, run: u64) -> u64 {
        case_seed(run, &self.case_id())
    }

    /// Why the claims of a side do not cover it.
    pub(super) fn not_applicable(&self) -> Option<String> {
        let (of_client, of_server) = match self.way {
            Way::Push => ("push", "srv:push"),
            Way::Pull => ("pull:coap", "srv:pull"),
        };
        [(self.client, of_client), (self.server, of_server)]
            .into_iter()
            .find(|(party, word)| !party.claims.has(word))
            .map(|(party, word)| {
                let others: Vec<&str> = OTHER_PULLS
                    .into_iter()
                    .filter(|other| party.claims.has(other))
                    .collect();
                if word == "pull:coap" && !others.is_empty() {
                    let others = others.join(", ");
                    return format!(
                        "{} claims {others} and not {word}; the matrix pulls by CoAP over UDP alone",
                        party.name
                    );
                }
                format!("{} does not claim {word}", party.name)
            })
    }

    /// Whether it runs in virtual time: both sides are in this program.
    pub(super) fn is_virtual(&self) -> bool {
        self.client.is_embedded(Role::Client) && self.server.is_embedded(Role::Server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let client = Party::embedded_client();
        let push_only = Party {
            claims: Claims::new(["push"]).unwrap(),
            ..client.clone()
        };
        let pull_only = Party {
            claims: Claims::new(["srv:pull"]).unwrap(),
            ..Party::embedded_server()
        };
        Plan {
            clients: vec![client, push_only],
            servers: vec![Party::embedded_server(), pull_only],
            networks: vec![RunNetwork::default()],
            ways: vec![Way::Push, Way::Pull],
            seed: 1,
            size: 1000,
        }
        .with_unique_names()
    }

    #[test]
    fn every_client_meets_every_server_each_way() {
        let plan = plan();
        let ids: Vec<String> = plan.cells().iter().map(Planned::id).collect();
        assert_eq!(
            ids,
            [
                "default/push/embedded/embedded",
                "default/push/embedded/embedded 2",
                "default/push/embedded 2/embedded",
                "default/push/embedded 2/embedded 2",
                "default/pull/embedded/embedded",
                "default/pull/embedded/embedded 2",
                "default/pull/embedded 2/embedded",
                "default/pull/embedded 2/embedded 2",
            ]
        );
    }

    #[test]
    fn what_a_side_does_not_claim_does_not_apply_and_says_why() {
        let plan = plan();
        let why: Vec<Option<String>> = plan.cells().iter().map(Planned::not_applicable).collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            why,
            [
                None,
                some("embedded 2 does not claim srv:push"),
                None,
                some("embedded 2 does not claim srv:push"),
                None,
                None,
                some("embedded 2 does not claim pull:coap"),
                some("embedded 2 does not claim pull:coap"),
            ]
        );
    }

    #[test]
    fn a_cell_draws_the_same_dice_in_every_matrix() {
        let plan = plan();
        let alone = Plan {
            clients: vec![plan.clients[0].clone()],
            ways: vec![Way::Pull],
            ..plan.clone()
        };
        assert_eq!(plan.cells()[4].seed(7), alone.cells()[0].seed(7));
        assert_ne!(plan.cells()[4].seed(7), plan.cells()[0].seed(7));
    }
}
