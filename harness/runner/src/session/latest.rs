//! What is known of the latest datagrams, by their number.

use std::collections::VecDeque;

use fotaproof_net::DatagramId;

/// Datagrams that are remembered: far more than a link holds at once.
const KEPT: usize = 4096;

/// A note on each of the latest datagrams. Their numbers grow, so that no hashing is needed.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    notes: VecDeque<(DatagramId, T)>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { notes: VecDeque::new() }
    }
}

impl<T> Latest<T> {
    /// Notes something on a datagram that is newer than all before.
    pub(crate) fn insert(&mut self, datagram: DatagramId, note: T) {
        if self.notes.len() >= KEPT {
            self.notes.pop_front();
        }
        self.notes.push_back((datagram, note));
    }

    /// What was noted, unless it is too long ago.
    pub(crate) fn get(&self, datagram: DatagramId) -> Option<&T> {
        // nearly always one of the last
        let recent = self.notes.iter().rev().take(4).find(|(id, _)| *id == datagram);
        if let Some((_, note)) = recent {
            return Some(note);
        }
        let at = self.notes.binary_search_by_key(&datagram, |(id, _)| *id).ok()?;
        Some(&self.notes[at].1)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, datagram: DatagramId) -> Option<&mut T> {
        let at = self.notes.binary_search_by_key(&datagram, |(id, _)| *id).ok()?;
        self.notes.get_mut(at).map(|(_, note)| note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_known_and_the_others_forgotten() {
        let mut latest = Latest::default();
        let last = 2 * (KEPT as u64 + 10);
        for id in (0..=last).step_by(2) {
            latest.insert(DatagramId(id), id);
        }
        for id in [last, last - 2, last - 100, last - 2 * (KEPT as u64 - 1)] {
            assert_eq!(latest.get(DatagramId(id)), Some(&id));
        }
        for id in [0, last - 1, last + 1, last - 2 * KEPT as u64] {
            assert_eq!(latest.get(DatagramId(id)), None);
        }
    }
}
