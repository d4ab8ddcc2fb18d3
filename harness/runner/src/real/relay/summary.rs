//! What a relay did, as a line and as JSON.

use core::fmt::Write as _;
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use fotaproof_net::{Counters, DropReason};
use serde::Serialize;

/// What a relay did so far.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Version of this format.
    pub format: u32,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where datagrams of clients go.
    pub to: SocketAddr,
    /// Name of the network.
    pub network: String,
    /// Seed of all that is random.
    pub seed: u64,
    /// How long it ran.
    pub seconds: f64,
    /// Addresses that clients had, as the server saw them.
    pub clients: u64,
    /// Of these, how many were forgotten because there were too many.
    pub forgotten: u64,
    /// What clients sent.
    pub toward_server: Counters,
    /// What the server sent.
    pub toward_iut: Counters,
    /// How often each rule acted, in order of precedence.
    pub rules: Vec<RuleCount>,
    /// Datagrams above the MTU in mode `refuse`. Their senders are told only behind a TUN device.
    pub refused: u64,
    /// Datagrams that the system did not take.
    pub unsent: u64,
    /// Packets still under way.
    pub in_flight: u64,
    /// The program behind the TUN device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// The capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
}

/// How often a rule acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleCount {
    /// Its name.
    pub name: String,
    /// How often.
    pub acted: u64,
}

/// A program behind a TUN device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Packets of it that were no UDP to the server's host.
    pub strange: u64,
}

/// A capture that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capture {
    /// Its file.
    pub file: String,
    /// Packets in it, both ends of the link.
    pub packets: u64,
}

impl Summary {
    /// Version of the format.
    pub const FORMAT: u32 = 1;

    /// Packets lost, by reason, both ways.
    fn lost(&self) -> BTreeMap<DropReason, u64> {
        let mut all = self.toward_server.dropped.clone();
        for (reason, count) in &self.toward_iut.dropped {
            *all.entry(*reason).or_default() += count;
        }
        all
    }

    /// The counters in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let (up, down) = (&self.toward_server, &self.toward_iut);
        let mut line = format!(
            "{} s  {} clients  {} + {} datagrams  {} packets  {} fragments",
            Duration::from_secs_f64(self.seconds.max(0.0)).as_secs(),
            self.clients,
            up.datagrams,
            down.datagrams,
            up.packets + down.packets,
            up.fragments + down.fragments,
        );
        let lost = self.lost();
        let _ = write!(line, "  {} lost", lost.values().sum::<u64>());
        let reasons: Vec<String> = lost
            .iter()
            .map(|(reason, count)| format!("{} {count}", format!("{reason:?}").to_lowercase()))
            .collect();
        if !reasons.is_empty() {
            let _ = write!(line, " ({})", reasons.join(", "));
        }
        let rules: Vec<String> = self
            .rules
            .iter()
            .filter(|rule| rule.acted > 0)
            .map(|rule| format!("{} {}", rule.name, rule.acted))
            .collect();
        if !rules.is_empty() {
            let _ = write!(line, "  rules: {}", rules.join(", "));
        }
        for (count, what) in [(self.refused, "refused"), (self.unsent, "not taken by the system")] {
            if count > 0 {
                let _ = write!(line, "  {count} {what}");
            }
        }
        line
    }
}
