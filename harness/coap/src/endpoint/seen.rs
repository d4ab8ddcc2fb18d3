//! Deduplication (RFC 7252, section 4.5): which message IDs of which peers were seen, and what they were answered.

use core::{hash::BuildHasherDefault, net::SocketAddr, time::Duration};
use std::{
    collections::{HashMap, VecDeque},
    hash::DefaultHasher,
};

use bytes::Bytes;

use crate::{ExchangeId, RequestId};

/// A map for look-ups alone: never iterated, so that its order cannot matter.
pub(super) type Lookup<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

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
    serial: u64,
    pub(super) subject: Subject,
    pub(super) reply: Reply,
    pub(super) count: u32,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    entries: Lookup<Key, Entry>,
    /// In order of expiry, one queue for each lifetime.
    confirmable: VecDeque<(Duration, Key, u64)>,
    non_confirmable: VecDeque<(Duration, Key, u64)>,
    large: VecDeque<(Key, u64, usize)>,
    large_bytes: usize,
    next_serial: u64,
}

impl Seen {
    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: Key, confirmable: bool, expires: Duration, subject: Subject) {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.entries.insert(
            key,
            Entry {
                serial,
                subject,
                reply: Reply::None,
                count: 1,
            },
        );
        let queue = if confirmable {
            &mut self.confirmable
        } else {
            &mut self.non_confirmable
        };
        queue.push_back((expires, key, serial));
    }

    pub(super) fn set_reply(&mut self, key: Key, bytes: &Bytes, limit: usize) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        entry.reply = Reply::Sent(bytes.clone());
        if bytes.len() < SMALL_REPLY {
            return;
        }
        self.large.push_back((key, entry.serial, bytes.len()));
        self.large_bytes += bytes.len();
        while self.large_bytes > limit
            && let Some((key, serial, length)) = self.large.pop_front()
        {
            self.large_bytes -= length;
            if let Some(entry) = self.entries.get_mut(&key)
                && entry.serial == serial
            {
                entry.reply = Reply::Dropped;
            }
        }
    }

    /// Forgets what is over; calls back for requests, which nobody can answer any more.
    pub(super) fn expire(&mut self, now: Duration, mut over: impl FnMut(RequestId)) {
        for queue in [&mut self.confirmable, &mut self.non_confirmable] {
            while let Some(&(expires, key, serial)) = queue.front()
                && expires <= now
            {
                queue.pop_front();
                if self.entries.get(&key).is_some_and(|entry| entry.serial == serial)
                    && let Some(Entry {
                        subject: Subject::Request(id),
                        ..
                    }) = self.entries.remove(&key)
                {
                    over(id);
                }
            }
        }
        while let Some((key, serial, length)) = self.large.front()
            && self.entries.get(key).is_none_or(|entry| entry.serial != *serial)
        {
            self.large_bytes -= length;
            self.large.pop_front();
        }
    }

    pub(super) fn forget(&mut self, peer: SocketAddr) {
        for queue in [&mut self.confirmable, &mut self.non_confirmable] {
            queue.retain(|(_, key, _)| {
                let keep = key.0 != peer;
                if !keep {
                    self.entries.remove(key);
                }
                keep
            });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
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
}
