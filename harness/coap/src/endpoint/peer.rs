//! What is kept of a peer: the next message ID, the messages in flight and those that wait.

use core::{net::SocketAddr, time::Duration};
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{ExchangeId, Quirks};

/// Message IDs are followed in runs of this length, so that a whole round of 65536 costs 256 times of day.
const RUN: u64 = 256;
const RUNS: usize = 65536 / RUN as usize;

/// Message IDs for one peer: each the next, none again within its lifetime (RFC 7252, section 4.4).
#[derive(Debug)]
pub(super) struct MessageIds {
    next: u16,
    used: u64,
    /// When each of the last runs was used last.
    runs: VecDeque<Duration>,
}

impl MessageIds {
    pub(super) const fn new(first: u16) -> Self {
        Self {
            next: first,
            used: 0,
            runs: VecDeque::new(),
        }
    }

    /// The next message ID, or when there will be one.
    pub(super) fn draw(&mut self, now: Duration, lifetime: Duration, quirks: &Quirks) -> Result<u16, Duration> {
        if quirks.mid_reuse {
            return Ok(0x1234);
        }
        if let Some(modulus) = quirks.mid_modulo {
            let mid = self.next % modulus.max(1);
            self.next = mid.wrapping_add(1);
            return Ok(mid);
        }
        if self.used.is_multiple_of(RUN) {
            if self.runs.len() == RUNS {
                let free = self
                    .runs
                    .front()
                    .map_or(Duration::ZERO, |last| last.saturating_add(lifetime));
                if now < free {
                    return Err(free);
                }
                self.runs.pop_front();
            }
            self.runs.push_back(now);
        } else if let Some(run) = self.runs.back_mut() {
            *run = now;
        }
        self.used += 1;
        let mid = self.next;
        self.next = self.next.wrapping_add(1);
        Ok(mid)
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) message_ids: MessageIds,
    /// Confirmable messages without an ACK yet: the outstanding interactions of RFC 7252, section 4.7.
    pub(super) in_flight: usize,
    pub(super) queue: VecDeque<ExchangeId>,
    pub(super) last_sent: Option<Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    map: BTreeMap<SocketAddr, Peer>,
}

impl Peers {
    pub(super) fn get(&self, address: &SocketAddr) -> Option<&Peer> {
        self.map.get(address)
    }

    pub(super) fn get_mut(&mut self, address: &SocketAddr) -> Option<&mut Peer> {
        self.map.get_mut(address)
    }

    pub(super) fn entry(&mut self, address: SocketAddr, rng: &mut fastrand::Rng) -> &mut Peer {
        self.map.entry(address).or_insert_with(|| Peer {
            message_ids: MessageIds::new(rng.u16(..)),
            in_flight: 0,
            queue: VecDeque::new(),
            last_sent: None,
        })
    }

    pub(super) fn remove(&mut self, address: &SocketAddr) {
        self.map.remove(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_comes_again_only_after_its_lifetime() {
        let lifetime = Duration::from_secs(247);
        let quirks = Quirks::default();
        let mut ids = MessageIds::new(65000);
        for count in 0..65536_u32 {
            let now = Duration::from_millis(u64::from(count) / 256);
            let mid = ids.draw(now, lifetime, &quirks).unwrap();
            assert_eq!(mid, 65000_u16.wrapping_add(count as u16));
        }
        let early = lifetime - Duration::from_millis(1);
        assert_eq!(ids.draw(early, lifetime, &quirks), Err(lifetime));
        assert_eq!(ids.draw(lifetime, lifetime, &quirks), Ok(65000));
    }

    #[test]
    fn quirks_reuse_them() {
        let mut ids = MessageIds::new(7);
        let mut draw = |quirks: &Quirks| ids.draw(Duration::ZERO, Duration::from_secs(247), quirks).unwrap();
        let modulo = Quirks {
            mid_modulo: Some(3),
            ..Quirks::default()
        };
        assert_eq!(
            [draw(&modulo), draw(&modulo), draw(&modulo), draw(&modulo)],
            [1, 2, 0, 1]
        );
        let constant = Quirks {
            mid_reuse: true,
            ..Quirks::default()
        };
        assert_eq!([draw(&constant), draw(&constant)], [0x1234, 0x1234]);
    }
}
