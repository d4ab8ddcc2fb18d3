//! Deduplication (RFC 7252, section 4.5): which message IDs of which peers were seen, and what they were answered.

use core::{net::SocketAddr, time::Duration};
use std::collections::VecDeque;

use bytes::Bytes;
use fotaproof_wire::hash::{Address, Map};

use crate::{ExchangeId, RequestId};

type Key = (SocketAddr, u16);

/// Replies below this length are kept as long as their message ID.
const SMALL_REPLY: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Request(RequestId),
    Response(ExchangeId),
    Other,
}

#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Nothing was sent, or not yet.
    None,
    Sent(Bytes),
    /// Something was sent, but it was too large to keep.
    Dropped,
}

#[derive(Debug)]
pub(super) struct Entry {
    key: u64,
    expires: Duration,
    pub(super) subject: Subject,
    pub(super) reply: Reply,
    pub(super) count: u32,
}

/// Which queue an entry stands in, and its number there, counted from the first entry ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u64);

impl Place {
    const fn new(confirmable: bool, number: u64) -> Self {
        Self(number << 1 | confirmable as u64)
    }

    const fn is_confirmable(self) -> bool {
        self.0 & 1 == 1
    }

    const fn number(self) -> u64 {
        self.0 >> 1
    }
}

/// Entries of one lifetime, which is also the order in which they expire.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Entries that left.
    gone: u64,
}

impl Queue {
    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let index = usize::try_from(number.checked_sub(self.gone)?).ok()?;
        self.entries.get_mut(index)
    }
}

/// The entries stand in the queues, in their order, and the table has only their places: a flood of message IDs moves little
/// when it grows. An entry whose message ID came again is not found any more, and leaves with its time.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By the number of the peer and the message ID.
    places: Map<u64, Place>,
    /// A number for each peer, and the last one that was asked for.
    peers: Map<Address, u64>,
    last: Option<(SocketAddr, u64)>,
    confirmable: Queue,
    non_confirmable: Queue,
    large: VecDeque<(Place, usize)>,
    large_bytes: usize,
}

impl Seen {
    const fn queue(&mut self, confirmable: bool) -> &mut Queue {
        if confirmable {
            &mut self.confirmable
        } else {
            &mut self.non_confirmable
        }
    }

    fn at(&mut self, place: Place) -> Option<&mut Entry> {
        self.queue(place.is_confirmable()).get_mut(place.number())
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        let place = *self.places.get(&self.number_of(key)?)?;
        self.at(place)
    }

    /// The number of a message ID of a peer that is known.
    fn number_of(&self, key: &Key) -> Option<u64> {
        let peer = match self.last {
            Some((last, number)) if last == key.0 => number,
            _ => *self.peers.get(&Address(key.0))?,
        };
        Some(peer << 16 | u64::from(key.1))
    }

    pub(super) fn insert(&mut self, key: Key, confirmable: bool, expires: Duration, subject: Subject) {
        let next = self.peers.len() as u64;
        let peer = *self.peers.entry(Address(key.0)).or_insert(next);
        self.last = Some((key.0, peer));
        let key = peer << 16 | u64::from(key.1);
        let queue = self.queue(confirmable);
        let place = Place::new(confirmable, queue.gone + queue.entries.len() as u64);
        queue.entries.push_back(Entry {
            key,
            expires,
            subject,
            reply: Reply::None,
            count: 1,
        });
        if let Some(old) = self.places.insert(key, place)
            && let Some(entry) = self.at(old)
        {
            entry.reply = Reply::None;
        }
    }

    pub(super) fn set_reply(&mut self, key: Key, bytes: &Bytes, limit: usize) {
        let place = self.number_of(&key).and_then(|key| self.places.get(&key).copied());
        let Some(place) = place else { return };
        let Some(entry) = self.at(place) else { return };
        entry.reply = Reply::Sent(bytes.clone());
        if bytes.len() < SMALL_REPLY {
            return;
        }
        self.large.push_back((place, bytes.len()));
        self.large_bytes += bytes.len();
        while self.large_bytes > limit
            && let Some((place, length)) = self.large.pop_front()
        {
            self.large_bytes -= length;
            if self.is_found(place)
                && let Some(entry) = self.at(place)
            {
                entry.reply = Reply::Dropped;
            }
        }
    }

    /// The entry is there, and no other has its message ID.
    fn is_found(&mut self, place: Place) -> bool {
        let Some(key) = self.at(place).map(|entry| entry.key) else {
            return false;
        };
        self.places.get(&key) == Some(&place)
    }

    /// Forgets what is over; calls back for requests, which nobody can answer any more.
    pub(super) fn expire(&mut self, now: Duration, mut over: impl FnMut(RequestId)) {
        let (places, queues) = (
            &mut self.places,
            [(&mut self.confirmable, true), (&mut self.non_confirmable, false)],
        );
        for (queue, confirmable) in queues {
            while queue.entries.front().is_some_and(|entry| entry.expires <= now)
                && let Some(entry) = queue.entries.pop_front()
            {
                let place = Place::new(confirmable, queue.gone);
                queue.gone += 1;
                if places.get(&entry.key) == Some(&place) {
                    places.remove(&entry.key);
                    if let Subject::Request(id) = entry.subject {
                        over(id);
                    }
                }
            }
        }
        while let Some((place, length)) = self.large.front().copied()
            && !self.is_found(place)
        {
            self.large_bytes -= length;
            self.large.pop_front();
        }
    }

    pub(super) fn forget(&mut self, peer: SocketAddr) {
        let Some(peer) = self.peers.get(&Address(peer)).copied() else {
            return;
        };
        for queue in [&mut self.confirmable, &mut self.non_confirmable] {
            for entry in queue.entries.iter_mut().filter(|entry| entry.key >> 16 == peer) {
                self.places.remove(&entry.key);
                entry.reply = Reply::None;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(mid: u16) -> Key {
        (SocketAddr::from(([127, 0, 0, 1], 5683)), mid)
    }

    #[test]
    fn entries_go_when_their_time_is_over() {
        let mut seen = Seen::default();
        seen.insert(key(1), true, Duration::from_secs(247), Subject::Request(RequestId(9)));
        seen.insert(key(2), false, Duration::from_secs(145), Subject::Other);
        let mut over = Vec::new();
        seen.expire(Duration::from_secs(145), |id| over.push(id));
        assert!(seen.get_mut(&key(2)).is_none());
        seen.expire(Duration::from_secs(246), |id| over.push(id));
        assert!(seen.get_mut(&key(1)).is_some() && over.is_empty());
        seen.expire(Duration::from_secs(247), |id| over.push(id));
        assert_eq!((seen.len(), over), (0, vec![RequestId(9)]));
    }

    #[test]
    fn large_replies_are_dropped_oldest_first_and_small_ones_stay() {
        let mut seen = Seen::default();
        for mid in 0..3 {
            seen.insert(key(mid), true, Duration::from_secs(247), Subject::Other);
        }
        seen.set_reply(key(0), &Bytes::from(vec![0; 63]), 100);
        seen.set_reply(key(1), &Bytes::from(vec![0; 64]), 100);
        seen.set_reply(key(2), &Bytes::from(vec![0; 64]), 100);
        assert!(matches!(seen.get_mut(&key(0)).unwrap().reply, Reply::Sent(_)));
        assert!(matches!(seen.get_mut(&key(1)).unwrap().reply, Reply::Dropped));
        assert!(matches!(seen.get_mut(&key(2)).unwrap().reply, Reply::Sent(_)));
    }

    #[test]
    fn a_message_id_that_comes_again_is_another_and_a_peer_forgotten_is_not_found() {
        let mut seen = Seen::default();
        let second = Duration::from_secs(1);
        seen.insert(key(1), true, second, Subject::Request(RequestId(1)));
        seen.set_reply(key(1), &Bytes::from_static(b"first"), 100);
        seen.insert(key(1), true, second * 2, Subject::Request(RequestId(2)));
        assert!(matches!(seen.get_mut(&key(1)).unwrap().reply, Reply::None));
        let mut over = Vec::new();
        seen.expire(second, |id| over.push(id));
        assert!(over.is_empty(), "the first was replaced");
        assert_eq!(seen.get_mut(&key(1)).unwrap().subject, Subject::Request(RequestId(2)));
        seen.forget(key(1).0);
        assert!(seen.get_mut(&key(1)).is_none());
        seen.insert(key(1), false, second * 3, Subject::Other);
        seen.expire(second * 2, |id| over.push(id));
        assert_eq!((seen.len(), over.len()), (1, 0));
    }
}
