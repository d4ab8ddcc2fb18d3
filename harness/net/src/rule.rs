//! Rules: which packets, what is done to them, how often.

use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    event::Fragment,
    facts::{BlockFacts, Facts, Kind, Toward},
    spec::SpecError,
};

/// Selects packets and says what befalls them. Of all rules the first that matches wins; one whose `times` are used up matches no more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Named by every decision this rule takes.
    pub name: String,
    /// Which packets.
    pub select: Select,
    /// What befalls them.
    pub action: Action,
    /// Acts this often, then no more.
    pub times: Option<u32>,
    /// Acts on a selected packet with this probability; when the draw says no, later rules are asked.
    pub probability: Option<f64>,
}

impl Rule {
    /// A rule that acts on every packet it selects.
    pub fn new(name: impl Into<String>, select: Select, action: Action) -> Self {
        Self {
            name: name.into(),
            select,
            action,
            times: None,
            probability: None,
        }
    }

    /// The same rule, acting only so often.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        let wrong = |why| {
            Err(SpecError::Rule {
                name: self.name.clone(),
                why,
            })
        };
        if self.times == Some(0) {
            return wrong("0 times never acts");
        }
        if self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return wrong("probability is not from 0 to 1");
        }
        let select = &self.select;
        if select.nth == Some(0) || select.every == Some(0) {
            return wrong("packets count from 1");
        }
        if let (Some(min), Some(max)) = (select.min_size, select.max_size)
            && min > max
        {
            return wrong("min-size is above max-size");
        }
        if select.between.is_some_and(|(from, to)| to <= from) {
            return wrong("the time window is empty");
        }
        if [select.block1, select.block2].contains(&Some(BlockSel::Every(0))) {
            return wrong("every 0th block is no block");
        }
        Ok(())
    }
}

/// Which packets a rule is for: all that is given must hold. CoAP facts are those of the datagram and hold for each of its fragments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Select {
    /// Direction of travel.
    pub toward: Option<Toward>,
    /// Only the n-th packet (from 1) that matches all else.
    pub nth: Option<u64>,
    /// Only each k-th packet that matches all else.
    pub every: Option<u64>,
    /// At least this many bytes of IP packet (without IP: of PDU).
    pub min_size: Option<u16>,
    /// At most this many bytes.
    pub max_size: Option<u16>,
    /// Fragments.
    pub fragment: Option<FragmentSel>,
    /// CoAP message type.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// CoAP code.
    pub code: Option<CodeSel>,
    /// CoAP message id.
    pub message_id: Option<u16>,
    /// CoAP token, whole.
    pub token: Option<Bytes>,
    /// Path as `/5/0/0`; a `*` at the end stands for any rest.
    pub path: Option<String>,
    /// Whether an Observe option is there.
    pub observe: Option<bool>,
    /// Block1 option.
    pub block1: Option<BlockSel>,
    /// Block2 option.
    pub block2: Option<BlockSel>,
    /// Entry time: the first moment is within, the second is not.
    pub between: Option<(Duration, Duration)>,
}

/// Selects by fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FragmentSel {
    /// The fragment with this index, from 0.
    Index(u16),
    /// The last fragment of a datagram.
    Last,
    /// Any fragment.
    Any,
    /// Only packets that are not fragments.
    Whole,
}

/// Selects by CoAP code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeSel {
    /// This code byte (0.03 is 3, 2.31 is 95).
    Is(u8),
    /// All codes of this class (0 to 7).
    Class(u8),
    /// Any request (0.01 to 0.31).
    Request,
    /// Any response (classes 2, 4, 5).
    Response,
}

/// Selects by the value of a block option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockSel {
    /// Any value: the option is there.
    Any,
    /// Block 0.
    First,
    /// No more blocks follow. A request's Block2 never says so (RFC 7959 section 2.4) and does not match.
    Last,
    /// This block number.
    Num(u32),
    /// Each k-th block: k-1, 2k-1, ...
    Every(u32),
    /// Block numbers from the first to the last, both within.
    Range(u32, u32),
}

/// What a rule does to a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It goes on, and random models leave it alone.
    #[default]
    Pass,
    /// It is lost.
    Drop,
    /// It takes this much longer than it would.
    Delay(Duration),
    /// `n` more copies arrive, each `gap` after the one before.
    Duplicate {
        /// Copies in addition to the packet itself.
        n: u32,
        /// Time between copies.
        gap: Duration,
    },
    /// Its data is damaged. The receiver's UDP checksum then drops the datagram, unless the checksum is made to fit.
    Corrupt {
        /// What is damaged.
        damage: Damage,
        /// The checksum is computed anew, so the damage reaches the application.
        fix_checksum: bool,
    },
    /// Only so many bytes of its UDP payload are left, lengths and checksum made to fit. A fragment cut short never completes its datagram.
    Truncate(u16),
    /// It changes places with the next packet this rule selects; after 10 s without one it goes on alone.
    Swap,
}

/// What is damaged in a packet. Offsets count from the first byte of the UDP payload it carries (in a fragment: the first byte of its part).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// So many bits at places drawn from the seed.
    Bits(u32),
    /// The byte at `offset` is replaced.
    Byte {
        /// Which byte; nothing happens beyond the end.
        offset: u16,
        /// Its new value.
        value: u8,
    },
    /// The byte at `offset` is XORed.
    Xor {
        /// Which byte; nothing happens beyond the end.
        offset: u16,
        /// Bits to flip.
        mask: u8,
    },
}

/// A packet as a rule sees it.
pub(crate) struct Seen<'a> {
    pub(crate) now: Duration,
    pub(crate) toward: Toward,
    pub(crate) size: u16,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) facts: &'a Facts,
}

impl Select {
    /// Whether all holds except `nth` and `every`, which need a count.
    pub(crate) fn matches(&self, seen: &Seen<'_>) -> bool {
        let facts = seen.facts;
        self.toward.is_none_or(|t| t == seen.toward)
            && self.min_size.is_none_or(|min| seen.size >= min)
            && self.max_size.is_none_or(|max| seen.size <= max)
            && self.fragment.is_none_or(|sel| sel.matches(seen.fragment))
            && self.kind.is_none_or(|kind| facts.kind == Some(kind))
            && self.code.is_none_or(|sel| sel.matches(facts))
            && self.message_id.is_none_or(|id| facts.message_id == Some(id))
            && self
                .token
                .as_ref()
                .is_none_or(|token| facts.kind.is_some() && facts.token == *token)
            && self
                .path
                .as_deref()
                .is_none_or(|path| facts.path.as_deref().is_some_and(|have| path_matches(path, have)))
            && self.observe.is_none_or(|want| facts.observe.is_some() == want)
            && self
                .block1
                .is_none_or(|sel| facts.block1.is_some_and(|block| sel.matches(block, true)))
            && self.block2.is_none_or(|sel| {
                facts
                    .block2
                    .is_some_and(|block| sel.matches(block, !facts.is_request()))
            })
            && self.between.is_none_or(|(from, to)| seen.now >= from && seen.now < to)
    }
}

impl FragmentSel {
    fn matches(self, fragment: Option<Fragment>) -> bool {
        match (self, fragment) {
            (Self::Whole, None) | (Self::Any, Some(_)) => true,
            (Self::Index(index), Some(fragment)) => fragment.index == index,
            (Self::Last, Some(fragment)) => !fragment.more,
            _ => false,
        }
    }
}

impl CodeSel {
    fn matches(self, facts: &Facts) -> bool {
        match self {
            Self::Is(code) => facts.code == Some(code),
            Self::Class(class) => facts.code.is_some_and(|code| code >> 5 == class),
            Self::Request => facts.is_request(),
            Self::Response => facts.is_response(),
        }
    }
}

impl BlockSel {
    fn matches(self, block: BlockFacts, more_means_something: bool) -> bool {
        match self {
            Self::Any => true,
            Self::First => block.num == 0,
            Self::Last => more_means_something && !block.more,
            Self::Num(num) => block.num == num,
            Self::Every(k) => k != 0 && (u64::from(block.num) + 1).is_multiple_of(u64::from(k)),
            Self::Range(first, last) => (first..=last).contains(&block.num),
        }
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or_else(|| pattern == path, |prefix| path.starts_with(prefix))
}
