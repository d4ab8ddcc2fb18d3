//! Reassembly at the receiver's end of the link. The link knows its fragments, so no bytes are looked at here; [`crate::Reassembler`] is the one for
//! captures.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    facts::{DatagramId, PacketId, Toward},
    link::Harm,
};

/// How long fragments wait for the rest: what Linux does (ip-sysctl `ipfrag_time`); RFC 791 section 3.2 and RFC 8200 section 4.5 leave 15 to 60 s and more.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of datagrams under way at most: what Linux does (ip-sysctl `ipfrag_high_thresh`).
const MAX_BYTES: usize = 4 << 20;
/// Datagrams remembered as delivered, to number their copies.
const REMEMBERED: usize = 4096;

/// A fragment that arrived.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) packet: PacketId,
    pub(crate) offset: u16,
    pub(crate) size: u16,
    pub(crate) harm: Option<Box<Harm>>,
}

#[derive(Debug)]
struct Context {
    toward: Toward,
    deadline: Duration,
    bytes: usize,
    parts: Vec<Option<Part>>,
    missing: usize,
}

/// Fragments given up.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) at: Duration,
    pub(crate) toward: Toward,
    pub(crate) datagram: DatagramId,
    pub(crate) packets: Vec<PacketId>,
}

/// Datagrams under way.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    contexts: BTreeMap<DatagramId, Context>,
    deadlines: BTreeSet<(Duration, DatagramId)>,
    delivered: BTreeMap<DatagramId, u32>,
    bytes: usize,
}

impl Assembly {
    /// Takes a fragment; gives all parts when it was the last one missing, and which copy of the datagram they make.
    pub(crate) fn insert(
        &mut self,
        now: Duration,
        datagram: DatagramId,
        toward: Toward,
        (index, count): (u16, u16),
        bytes: usize,
        part: Part,
    ) -> Option<(Vec<Part>, u32)> {
        let context = self.contexts.entry(datagram).or_insert_with(|| {
            self.bytes += bytes;
            let deadline = now.saturating_add(TIMEOUT);
            self.deadlines.insert((deadline, datagram));
            let parts = (0..count).map(|_| None).collect();
            Context {
                toward,
                deadline,
                bytes,
                parts,
                missing: count.into(),
            }
        });
        // A second copy of a fragment that is here already says nothing new.
        if let Some(slot) = context.parts.get_mut(usize::from(index))
            && slot.is_none()
        {
            *slot = Some(part);
            context.missing -= 1;
        }
        if context.missing > 0 {
            return None;
        }
        let context = self.remove(datagram)?;
        let copy = self.delivered.get(&datagram).copied().unwrap_or(0);
        self.delivered.insert(datagram, copy.saturating_add(1));
        if self.delivered.len() > REMEMBERED {
            self.delivered.pop_first();
        }
        Some((context.parts.into_iter().flatten().collect(), copy))
    }

    fn remove(&mut self, datagram: DatagramId) -> Option<Context> {
        let context = self.contexts.remove(&datagram)?;
        self.deadlines.remove(&(context.deadline, datagram));
        self.bytes -= context.bytes;
        Some(context)
    }

    /// When the next datagram is given up.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Gives up the oldest datagram if its time has come or too much memory is in use.
    pub(crate) fn give_up(&mut self, now: Duration) -> Option<GivenUp> {
        let &(deadline, datagram) = self.deadlines.first()?;
        if deadline > now && self.bytes <= MAX_BYTES {
            return None;
        }
        let context = self.remove(datagram)?;
        // What is left of copies of a datagram that did arrive is no loss.
        let packets = if self.delivered.contains_key(&datagram) {
            Vec::new()
        } else {
            context.parts.into_iter().flatten().map(|part| part.packet).collect()
        };
        Some(GivenUp {
            at: deadline.min(now),
            toward: context.toward,
            datagram,
            packets,
        })
    }
}
