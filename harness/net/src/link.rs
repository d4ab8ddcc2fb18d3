//! The link itself.

use core::time::Duration;
use std::net::SocketAddr;

use crate::{
    event::{Counters, LinkEvent},
    facts::{Datagram, DatagramId, GuardId, Toward},
    replay::RecordedFate,
    rule::Rule,
    spec::{DirectionSpec, LinkSpec},
};

/// An emulated IP link.
#[derive(Debug)]
pub struct Link {
    spec: LinkSpec,
    counters: [Counters; 2],
}

#[expect(unused_variables, clippy::needless_pass_by_ref_mut, clippy::missing_const_for_fn, reason = "skeleton")]
impl Link {
    /// A link with this seed.
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        Self { spec, counters: Default::default() }
    }
    /// A link that does what was recorded.
    pub fn replay(spec: LinkSpec, recorded: Vec<RecordedFate>) -> Self {
        Self { spec, counters: Default::default() }
    }
    /// Whether packet events carry bytes.
    pub fn set_packet_bytes(&mut self, wanted: bool) {}
    /// Sends a datagram.
    pub fn send(&mut self, now: Duration, datagram: Datagram) -> DatagramId {
        DatagramId(0)
    }
    /// The next event.
    pub fn poll(&mut self, now: Duration) -> Option<LinkEvent> {
        None
    }
    /// When to poll next.
    pub fn poll_deadline(&self) -> Option<Duration> {
        None
    }
    /// Adds a rule ahead of the spec's.
    pub fn add_rule(&mut self, rule: Rule) -> GuardId {
        GuardId(0)
    }
    /// Removes it.
    pub fn remove_rule(&mut self, guard: GuardId) -> bool {
        false
    }
    /// How often a rule acted.
    pub fn rule_count(&self, guard: GuardId) -> Option<u64> {
        None
    }
    /// How often each rule acted, in order of precedence.
    pub fn rule_counts(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
    /// Sets the MTU of one direction, or of both.
    pub fn set_mtu(&mut self, toward: Option<Toward>, mtu: u16) {}
    /// Replaces a direction.
    pub fn set_direction(&mut self, toward: Toward, direction: DirectionSpec) {}
    /// Replaces the spec.
    pub fn set_spec(&mut self, spec: LinkSpec) {}
    /// Nothing passes until then.
    pub fn set_blackout(&mut self, toward: Option<Toward>, until: Duration) {}
    /// Kills or revives a direction, or both.
    pub fn set_dead(&mut self, toward: Option<Toward>, dead: bool) {}
    /// Gives the NAT new mappings.
    pub fn rebind_nat(&mut self, now: Duration) -> Option<SocketAddr> {
        None
    }
    /// The spec as it is now.
    pub fn spec(&self) -> &LinkSpec {
        &self.spec
    }
    /// Counts of a direction.
    pub fn counters(&self, toward: Toward) -> &Counters {
        &self.counters[toward.index()]
    }
    /// Packets under way.
    pub fn in_flight(&self) -> usize {
        0
    }
}
