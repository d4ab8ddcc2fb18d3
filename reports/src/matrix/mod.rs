//! The results of a matrix: every client against every server, each way, over each network.
//!
//! One model ([`MatrixResults`]), a renderer a file: [`terminal`], [`json`], [`markdown`], [`html`]. The format is versioned like
//! that of a run: fields are only added within a version.

pub mod html;
pub mod json;
pub mod markdown;
pub mod terminal;
mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ExpectedFailure, Finding, Totals, Verdict};

/// Version of the format of `matrix.json`.
pub const FORMAT: u32 = 1;

/// A whole matrix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixResults {
    /// Version of this format.
    pub format: u32,
    /// Version of the harness.
    pub harness: String,
    /// Name of the run: its folder.
    pub run: String,
    /// When it began, RFC 3339, UTC.
    pub started: String,
    /// How long it took by the clock on the wall, in seconds.
    pub seconds: f64,
    /// How many times faster than the wall the clock of cells in real time ran; all times are the peers'.
    #[serde(default = "plain_speed")]
    pub speed: f64,
    /// Seed of the run.
    pub seed: u64,
    /// Length of a firmware package in bytes, where it can be chosen.
    pub size: u64,
    /// The clients, in order.
    pub clients: Vec<Party>,
    /// The servers, in order.
    pub servers: Vec<Party>,
    /// The networks, in order.
    pub networks: Vec<String>,
    /// What each network is like, in the same order.
    #[serde(default)]
    pub network_notes: Vec<String>,
    /// The ways, in order.
    pub ways: Vec<Way>,
    /// Counts over all cells.
    pub totals: Totals,
    /// Network by network, way by way, client by client, server by server.
    pub cells: Vec<Cell>,
    /// Expected failures that no cell met although it had to, and entries past their day, with their place; they fail the run.
    #[serde(default)]
    pub stale_expectations: Vec<String>,
    /// What was noted of the whole run.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Why the run ended before all cells were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<String>,
    /// The exit code of the program.
    pub exit_code: i32,
}

/// The speed of a run that says none.
const fn plain_speed() -> f64 {
    1.0
}

/// The way a package goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The server writes the package to the device.
    #[default]
    Push,
    /// The device fetches the package from a URI that the server writes.
    Pull,
}

impl Way {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }
}

/// A client or a server of the matrix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Party {
    /// Its name, not used twice on its side.
    pub name: String,
    /// Its version, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it is, as its manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its manifest; none for the embedded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What it claims.
    #[serde(default)]
    pub claims: Vec<String>,
}

/// How far an update came. Each station includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Station {
    /// Neither side was heard.
    #[default]
    Nothing,
    /// The client was registered.
    Registered,
    /// The transfer began: the first block, or the accepted URI.
    Offered,
    /// The package was transferred whole.
    Transferred,
    /// The client showed State 2, Downloaded.
    Downloaded,
    /// The client accepted the Execute of Update.
    Executed,
    /// The client registered again.
    Rebooted,
    /// The client showed the new version or Update Result 1, Success.
    Updated,
}

impl Station {
    /// All, in order.
    pub const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Registered,
        Self::Offered,
        Self::Transferred,
        Self::Downloaded,
        Self::Executed,
        Self::Rebooted,
        Self::Updated,
    ];

    /// In words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Registered => "registered",
            Self::Offered => "offered",
            Self::Transferred => "transferred",
            Self::Downloaded => "downloaded",
            Self::Executed => "executed",
            Self::Rebooted => "rebooted",
            Self::Updated => "updated",
        }
    }
}

/// One client against one server, one way, over one network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// `ethernet/push/wakatiwai/leshan`.
    pub id: String,
    /// Name of the client.
    pub client: String,
    /// Name of the server.
    pub server: String,
    /// The way.
    pub way: Way,
    /// Name of the network.
    pub network: String,
    /// Seed of the cell.
    pub seed: u64,
    /// The worst of interop and both sides.
    pub verdict: Verdict,
    /// It does not pass only for what is expected of one of the sides.
    #[serde(default)]
    pub expected: bool,
    /// Why, in one line; empty for a plain pass.
    #[serde(default)]
    pub reason: String,
    /// Whose fault it is, of a cell that fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
    /// Whether the update ended well, and how far it came.
    pub interop: Interop,
    /// What the checks say of the client.
    pub client_side: Side,
    /// What the checks say of the server.
    pub server_side: Side,
    /// What was measured; none where nothing was transferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// What was noted.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Files of evidence, relative to the run's folder.
    #[serde(default)]
    pub evidence: CellEvidence,
    /// How long it took by the clock on the wall, in milliseconds.
    pub wall_ms: f64,
    /// The command that repeats the cell alone.
    #[serde(default)]
    pub repeat: String,
}

/// Whose fault a failed cell is, by what the link shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blame {
    /// The side.
    pub side: Blamed,
    /// What it did, in one line; of `unknown` the candidates.
    pub why: String,
    /// Numbers of the packets in the capture that show it, from 1; of `unknown` where to look first.
    #[serde(default)]
    pub packets: Vec<u64>,
    /// What to do next.
    #[serde(default)]
    pub next: String,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Blamed {
    /// The client alone.
    Client,
    /// The server alone.
    Server,
    /// Each did something that it must not.
    Both,
    /// The link does not show it.
    #[default]
    Unknown,
}

impl Blamed {
    /// The client, or else the server.
    #[must_use]
    pub const fn of(client: bool) -> Self {
        if client { Self::Client } else { Self::Server }
    }

    /// In words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Both => "both sides",
            Self::Unknown => "not known which side",
        }
    }
}

/// What became of the update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interop {
    /// The device runs the new firmware, and the server knows it.
    pub ended_well: bool,
    /// How far the update came, as seen on the link.
    pub station: Station,
    /// Where the update stood at last, as who led it tells: `succeeded`, `failed`, `transferring`, ...
    #[serde(default)]
    pub status: String,
    /// Who led the update: `server` by an engine of its own, or `harness` by the operations of a library.
    #[serde(default)]
    pub led_by: String,
    /// Who hosted the package of a pull: `server` or `harness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosted_by: Option<String>,
    /// State of the firmware object, as the server knew it at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u8>,
    /// Update Result, as the server knew it at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u8>,
    /// Firmware version, as the server knew it at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What the checks say of one side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// `pass`, or `fail` when a must did not hold that was not expected; `not-run` when nothing was seen.
    pub verdict: Verdict,
    /// What did not hold, without what was expected.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Expected failures that were met.
    #[serde(default)]
    pub expected: Vec<ExpectedFailure>,
}

/// What was measured on the link, both ways, in the session's time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// Bytes of the package.
    pub image: u64,
    /// From the registration to the end of the update, in seconds.
    pub update_s: f64,
    /// From the first message of the transfer to its last, in seconds.
    pub transfer_s: f64,
    /// Bytes of the package a second, while it was transferred.
    pub goodput: f64,
    /// Datagrams that were sent for the whole update, those of the registration included.
    pub datagrams: u64,
    /// IP packets in which they were sent.
    #[serde(default)]
    pub packets: u64,
    /// Packets of these that are fragments of a datagram above the link's MTU.
    #[serde(default)]
    pub fragments: u64,
    /// Bytes of IP packets that were sent for the whole update, those included that the link lost.
    pub air_bytes: u64,
    /// `air_bytes` for each byte of the package.
    pub air_per_byte: f64,
    /// Confirmable and non-confirmable messages that were sent again.
    pub retransmissions: u64,
    /// Packets that the link lost.
    pub lost: u64,
    /// Blocks of the package, without repetitions.
    pub blocks: u64,
    /// Block sizes in the order in which they came up.
    pub block_sizes: Vec<u32>,
}

/// Files of evidence of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CellEvidence {
    /// Packets at both ends of the link, pcapng.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<String>,
    /// Events, JSON Lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// What the client printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_output: Option<String>,
    /// What was said to the server's adapter and by it, JSON Lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
}

/// The counts over some cells.
#[must_use]
pub fn totals<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Totals {
    let mut totals = Totals::default();
    for cell in cells {
        totals.count(cell.verdict, cell.expected && cell.verdict == Verdict::Fail);
    }
    totals
}

impl MatrixResults {
    /// The exit code that the results ask for.
    #[must_use]
    pub fn verdict_code(&self) -> i32 {
        totals(&self.cells).exit_code(!self.stale_expectations.is_empty(), self.aborted.is_some())
    }

    /// The cell of a client and a server.
    #[must_use]
    pub fn cell(&self, network: &str, way: Way, client: &str, server: &str) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| cell.network == network && cell.way == way && cell.client == client && cell.server == server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(verdicts: &[(Verdict, bool)]) -> MatrixResults {
        MatrixResults {
            cells: verdicts
                .iter()
                .map(|(verdict, expected)| Cell {
                    verdict: *verdict,
                    expected: *expected,
                    ..Cell::default()
                })
                .collect(),
            ..MatrixResults::default()
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_cell_that_counts() {
        use Verdict::{Error, Fail, Inconclusive, NotApplicable, NotRun, Pass};
        for (verdicts, code) in [
            (&[(Pass, false), (NotApplicable, false)][..], 0),
            (&[(Pass, false), (Fail, true)], 0),
            (&[(Fail, true)], 0),
            (&[(Error, false), (Fail, false)], 1),
            (&[(Pass, false), (Error, false)], 5),
            (&[(Inconclusive, false)], 5),
            (&[(NotApplicable, false)], 4),
            (&[(NotRun, false)], 4),
            (&[], 4),
        ] {
            assert_eq!(of(verdicts).verdict_code(), code, "{verdicts:?}");
        }
        let aborted = MatrixResults {
            aborted: Some("interrupted".to_owned()),
            ..of(&[(Pass, false)])
        };
        assert_eq!(aborted.verdict_code(), 5);
    }

    #[test]
    fn stations_are_in_the_order_of_an_update() {
        assert!(Station::ALL.is_sorted());
        assert_eq!(Station::ALL.len(), Station::Updated as usize + 1);
    }
}
