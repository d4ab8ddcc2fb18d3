//! Recorded fates: what a link did to each packet, so that another can do it again.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    event::{DropReason, Fate, LinkEvent},
    facts::{PacketId, Toward},
};

/// What befell the n-th packet of a direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedFate {
    /// Direction of travel.
    pub toward: Toward,
    /// Which packet of this direction, from 0, in order of entry.
    pub index: u64,
    /// The rule that took the packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What was decided at entry. Empty means it passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fates: Vec<Fate>,
    /// How long after its entry the packet left, once for each copy. Empty: it never left.
    #[serde(default)]
    pub exits: Vec<Duration>,
}

/// Makes a recording from the events of a link.
#[derive(Clone, Debug, Default)]
pub struct FateRecorder {
    entered: [u64; 2],
    open: BTreeMap<PacketId, (Duration, RecordedFate)>,
}

impl FateRecorder {
    /// An empty recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of an event.
    pub fn record(&mut self, event: &LinkEvent) {
        match event {
            LinkEvent::Packet {
                at,
                point,
                toward,
                packet,
                ..
            } if *point == toward.entry() => {
                let index = self.entered[toward.index()];
                self.entered[toward.index()] += 1;
                let fate = RecordedFate {
                    toward: *toward,
                    index,
                    rule: None,
                    fates: Vec::new(),
                    exits: Vec::new(),
                };
                self.open.insert(*packet, (*at, fate));
            }
            LinkEvent::Packet { at, packet, .. } => {
                if let Some((entered, fate)) = self.open.get_mut(packet) {
                    fate.exits.push(at.saturating_sub(*entered));
                }
            }
            // What the receiver's end decides follows from the packets; only decisions at entry are kept.
            LinkEvent::Fate { packet, rule, fate, .. } => {
                let receiver = matches!(fate, Fate::Dropped(DropReason::Checksum | DropReason::Reassembly));
                if let Some((_, recorded)) = self.open.get_mut(packet)
                    && !receiver
                {
                    recorded.rule = recorded.rule.take().or_else(|| rule.clone());
                    if *fate != Fate::Pass {
                        recorded.fates.push(fate.clone());
                    }
                }
            }
            LinkEvent::Delivered { .. } | LinkEvent::Refused { .. } => {}
        }
    }

    /// The recording, in order of entry.
    pub fn finish(self) -> Vec<RecordedFate> {
        self.open.into_values().map(|(_, fate)| fate).collect()
    }
}

/// A recording being repeated.
#[derive(Debug)]
pub(crate) struct Recording {
    ahead: [VecDeque<RecordedFate>; 2],
}

impl Recording {
    pub(crate) fn new(recorded: Vec<RecordedFate>) -> Self {
        let mut ahead = [VecDeque::new(), VecDeque::new()];
        for fate in recorded {
            ahead[fate.toward.index()].push_back(fate);
        }
        for direction in &mut ahead {
            direction.make_contiguous().sort_by_key(|fate| fate.index);
        }
        Self { ahead }
    }

    /// The fate of this packet. Packets are asked for in order.
    pub(crate) fn take(&mut self, toward: Toward, index: u64) -> Option<RecordedFate> {
        let ahead = &mut self.ahead[toward.index()];
        while ahead.front().is_some_and(|fate| fate.index < index) {
            ahead.pop_front();
        }
        if ahead.front()?.index == index {
            ahead.pop_front()
        } else {
            None
        }
    }
}
