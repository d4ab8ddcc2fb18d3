//! What a link is: MTU, directions, models, blackouts, NAT, rules. Plain data; [`LinkSpec::check`] tells what makes no sense.

use core::time::Duration;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{facts::Point, facts::Toward, rule::Rule};

/// What happens to a datagram whose IP packet is larger than the MTU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Oversize {
    /// It is sent as IP fragments, each with a fate of its own.
    #[default]
    Fragment,
    /// It is lost silently: a path that eats large packets.
    Drop,
    /// It is fragmented, and a firewall passes the first fragment only.
    Filter,
    /// It has don't-fragment set, and the sender is told.
    Refuse,
}

/// Random loss, drawn for each packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// No random loss.
    #[default]
    None,
    /// Each packet is lost with this probability, independently.
    Bernoulli(f64),
    /// A chain of two states, good at the start. For each packet the state moves first, then the loss of the new state is drawn.
    GilbertElliott {
        /// Probability to move from good to bad.
        to_bad: f64,
        /// Probability to move from bad to good.
        to_good: f64,
        /// Loss in the bad state.
        loss_bad: f64,
        /// Loss in the good state.
        #[serde(default)]
        loss_good: f64,
    },
}

impl Loss {
    /// The long-run share of lost packets.
    pub fn mean(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Bernoulli(p) => p,
            Self::GilbertElliott {
                to_bad,
                to_good,
                loss_bad,
                loss_good,
            } => {
                let sum = to_bad + to_good;
                let bad = if sum > 0.0 { to_bad / sum } else { 0.0 };
                bad * loss_bad + (1.0 - bad) * loss_good
            }
        }
    }
}

/// Reordering that is asked for: some packets take longer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reorder {
    /// Probability that a packet is held back.
    pub probability: f64,
    /// How much longer it takes.
    pub delay: Duration,
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirectionSpec {
    /// Random loss.
    pub loss: Loss,
    /// One-way delay after transmission.
    pub delay: Duration,
    /// The delay is drawn evenly from `delay - jitter` to `delay + jitter`, never below zero.
    pub jitter: Duration,
    /// Packets leave in the order they entered although their delays differ (an acknowledged radio bearer). Reordering asked for is exempt.
    pub keep_order: bool,
    /// Reordering that is asked for.
    pub reorder: Option<Reorder>,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// How much later the second copy arrives.
    pub duplicate_gap: Duration,
    /// Probability that a bit of the IP packet is flipped, for each bit. The receiver's checksums are computed for real: nearly all damage ends there,
    /// but two flipped bits that cancel out in the sum (about 1 pair in 32) reach the application, as they do in the world.
    pub bit_error: f64,
    /// Transmission rate in bits of IP packet a second. None: no serialisation time and no queue.
    pub rate_bps: Option<u64>,
    /// Bytes that may wait for transmission; a packet that does not fit is lost (drop-tail).
    pub queue_bytes: Option<u64>,
    /// Packets that may wait for transmission.
    pub queue_packets: Option<u32>,
}

impl Default for DirectionSpec {
    /// Nothing but a perfect wire: no delay, no loss. The queue, which only counts when there is a rate, holds 1000 packets.
    fn default() -> Self {
        Self {
            loss: Loss::None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            keep_order: false,
            reorder: None,
            duplicate: 0.0,
            duplicate_gap: Duration::from_millis(5),
            bit_error: 0.0,
            rate_bps: None,
            queue_bytes: None,
            queue_packets: Some(1000),
        }
    }
}

/// A time in which packets that enter are lost. `from` is within, `to` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blackout {
    /// First moment of darkness.
    pub from: Duration,
    /// First moment the link carries again.
    pub to: Duration,
    /// Only this direction; none means both.
    #[serde(default)]
    pub toward: Option<Toward>,
}

impl Blackout {
    /// A blackout of both directions.
    pub const fn both(from: Duration, to: Duration) -> Self {
        Self { from, to, toward: None }
    }

    pub(crate) fn covers(&self, now: Duration, toward: Toward) -> bool {
        self.toward.is_none_or(|t| t == toward) && now >= self.from && now < self.to
    }
}

/// A link that goes down and up for ever: down at `first`, up after `down`, down again after `up`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flaps {
    /// When the link goes down for the first time.
    pub first: Duration,
    /// How long it stays down.
    pub down: Duration,
    /// How long it stays up in between.
    pub up: Duration,
}

impl Flaps {
    pub(crate) fn covers(&self, now: Duration) -> bool {
        let Some(since) = now.checked_sub(self.first) else {
            return false;
        };
        let period = (self.down + self.up).as_nanos();
        period != 0 && since.as_nanos() % period < self.down.as_nanos()
    }
}

/// What changes when a NAT gives a new mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatChange {
    /// The port; the address stays.
    #[default]
    Port,
    /// Address and port.
    Address,
}

/// A network address translator at one end of the link (behaviour as RFC 4787 describes it: mapping independent of the destination). The first
/// mapping of an address is the address itself, so a NAT shows only when it rebinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nat {
    /// A mapping that carried nothing outward for this long is gone (RFC 4787 section 4.3). None: mappings stay.
    pub idle: Option<Duration>,
    /// Packets from outside keep a mapping alive too.
    pub inbound_refresh: bool,
    /// What a new mapping changes.
    pub change: NatChange,
    /// The public address. None: the inner address until `change` asks for another.
    pub address: Option<IpAddr>,
    /// The end that is behind the NAT.
    pub behind: Point,
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            idle: None,
            inbound_refresh: false,
            change: NatChange::Port,
            address: None,
            behind: Point::Iut,
        }
    }
}

/// A link, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkSpec {
    /// Largest IP packet in bytes, both directions.
    pub mtu: u16,
    /// Largest IP packet toward the IUT, when it differs.
    pub mtu_toward_iut: Option<u16>,
    /// Largest IP packet toward the server, when it differs.
    pub mtu_toward_server: Option<u16>,
    /// What happens to larger ones.
    pub oversize: Oversize,
    /// The direction toward the IUT (down).
    pub toward_iut: DirectionSpec,
    /// The direction toward the server (up).
    pub toward_server: DirectionSpec,
    /// Times without a link.
    pub blackouts: Vec<Blackout>,
    /// A link that goes down and up.
    pub flaps: Option<Flaps>,
    /// Address translation.
    pub nat: Option<Nat>,
    /// Messages travel without IP (LwM2M non-IP binding, 3GPP NIDD): each is one PDU of at most this many bytes, a larger one is lost, and the MTU
    /// does not count. Captures still show UDP and IP around them.
    pub pdu_limit: Option<u16>,
    /// First match wins.
    pub rules: Vec<Rule>,
}

impl Default for LinkSpec {
    /// MTU 1280 (the least an IPv6 link has, RFC 8200 section 5), 20 ms each way, no loss.
    fn default() -> Self {
        let direction = DirectionSpec {
            delay: Duration::from_millis(20),
            ..DirectionSpec::default()
        };
        Self {
            toward_iut: direction.clone(),
            toward_server: direction,
            ..Self::perfect()
        }
    }
}

impl LinkSpec {
    /// A perfect wire: MTU 1280, no delay, nothing lost.
    pub fn perfect() -> Self {
        Self {
            mtu: 1280,
            mtu_toward_iut: None,
            mtu_toward_server: None,
            oversize: Oversize::Fragment,
            toward_iut: DirectionSpec::default(),
            toward_server: DirectionSpec::default(),
            blackouts: Vec::new(),
            flaps: None,
            nat: None,
            pdu_limit: None,
            rules: Vec::new(),
        }
    }

    /// The spec of one direction.
    pub const fn direction(&self, toward: Toward) -> &DirectionSpec {
        match toward {
            Toward::Iut => &self.toward_iut,
            Toward::Peer => &self.toward_server,
        }
    }

    /// The spec of one direction, to change.
    pub const fn direction_mut(&mut self, toward: Toward) -> &mut DirectionSpec {
        match toward {
            Toward::Iut => &mut self.toward_iut,
            Toward::Peer => &mut self.toward_server,
        }
    }

    /// The MTU of one direction.
    pub fn mtu(&self, toward: Toward) -> u16 {
        match toward {
            Toward::Iut => self.mtu_toward_iut,
            Toward::Peer => self.mtu_toward_server,
        }
        .unwrap_or(self.mtu)
    }

    /// Whether the figures make sense. A link built from a spec that does not is safe but means little.
    pub fn check(&self) -> Result<(), SpecError> {
        for toward in Toward::BOTH {
            let mtu = self.mtu(toward);
            if mtu < MIN_MTU {
                return Err(SpecError::Mtu { toward, mtu });
            }
            self.direction(toward).check(toward)?;
        }
        for (index, blackout) in self.blackouts.iter().enumerate() {
            if blackout.to <= blackout.from {
                return Err(SpecError::Blackout { index });
            }
        }
        if self
            .flaps
            .is_some_and(|flaps| flaps.down.is_zero() || flaps.up.is_zero())
        {
            return Err(SpecError::Flaps);
        }
        if self.pdu_limit == Some(0) {
            return Err(SpecError::PduLimit);
        }
        self.rules.iter().try_for_each(Rule::check)
    }
}

/// The smallest MTU a link may have: what every IPv4 module forwards without fragmentation (RFC 791 section 3.2).
pub(crate) const MIN_MTU: u16 = 68;

impl DirectionSpec {
    fn check(&self, toward: Toward) -> Result<(), SpecError> {
        let wrong = |what: &'static str, value: f64| -> Result<(), SpecError> {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(SpecError::Probability { toward, what, value })
            }
        };
        match self.loss {
            Loss::None => {}
            Loss::Bernoulli(p) => wrong("loss", p)?,
            Loss::GilbertElliott {
                to_bad,
                to_good,
                loss_bad,
                loss_good,
            } => {
                wrong("to-bad", to_bad)?;
                wrong("to-good", to_good)?;
                wrong("loss-bad", loss_bad)?;
                wrong("loss-good", loss_good)?;
            }
        }
        if let Some(reorder) = self.reorder {
            wrong("reorder", reorder.probability)?;
        }
        wrong("duplicate", self.duplicate)?;
        wrong("bit-error", self.bit_error)?;
        if self.rate_bps == Some(0) {
            return Err(SpecError::Rate { toward });
        }
        Ok(())
    }
}

/// A figure of a link that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// An MTU no IP link may have.
    #[error("mtu toward {toward} is {mtu}, below 68 (RFC 791 section 3.2)")]
    Mtu {
        /// Direction.
        toward: Toward,
        /// The MTU given.
        mtu: u16,
    },
    /// A probability outside 0 to 1.
    #[error("{what} toward {toward} is {value}, not a probability from 0 to 1")]
    Probability {
        /// Direction.
        toward: Toward,
        /// Which figure.
        what: &'static str,
        /// The value given.
        value: f64,
    },
    /// A rate of zero.
    #[error("rate toward {toward} is 0: a link that carries nothing is a blackout")]
    Rate {
        /// Direction.
        toward: Toward,
    },
    /// A blackout that ends before it begins.
    #[error("blackout {index} ends before it begins")]
    Blackout {
        /// Which one, from 0.
        index: usize,
    },
    /// Flaps without an up or a down time.
    #[error("flaps need a down time and an up time above zero")]
    Flaps,
    /// A PDU limit of zero.
    #[error("pdu limit is 0")]
    PduLimit,
    /// A rule that can never act.
    #[error("rule {name:?}: {why}")]
    Rule {
        /// Its name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}
