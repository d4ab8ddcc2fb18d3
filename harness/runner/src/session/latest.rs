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

    /// Where the note on a datagram stands.
    fn place(&self, datagram: DatagramId) -> Option<usize> {
        // nearly always one of the last
        let recent = self.notes.iter().rev().take(4).position(|(id, _)| *id == datagram);
        if let Some(back) = recent {
            return Some(self.notes.len() - 1 - back);
        }
        self.notes.binary_search_by_key(&datagram, |(id, _)| *id).ok()
    }

    /// What was noted, unless it is too long ago.
    pub(crate) fn get(&self, datagram: DatagramId) -> Option<&T> {
        self.notes.get(self.place(datagram)?).map(|(_, note)| note)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, datagram: DatagramId) -> Option<&mut T> {
        let at = self.place(datagram)?;
        self.notes.get_mut(at).map(|(_, note)| note)
    }
}

/// The first so many of a row, and the latest so many.
#[derive(Debug)]
pub(crate) struct Ends<T, const FIRST: usize, const LATEST: usize> {
    first: Vec<T>,
    latest: VecDeque<T>,
}

impl<T, const FIRST: usize, const LATEST: usize> Default for Ends<T, FIRST, LATEST> {
    fn default() -> Self {
        Self {
            first: Vec::new(),
            latest: VecDeque::new(),
        }
    }
}

impl<T, const FIRST: usize, const LATEST: usize> Ends<T, FIRST, LATEST> {
    pub(crate) fn push(&mut self, one: T) {
        if self.first.len() < FIRST {
            self.first.push(one);
            return;
        }
        if self.latest.len() >= LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(one);
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.latest.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_row_are_kept() {
        let mut ends = Ends::<u32, 2, 3>::default();
        let kept = |ends: &Ends<u32, 2, 3>| ends.iter().copied().collect::<Vec<_>>();
        (0..5).for_each(|number| ends.push(number));
        assert_eq!(kept(&ends), [0, 1, 2, 3, 4]);
        (5..9).for_each(|number| ends.push(number));
        assert_eq!((kept(&ends), ends.len()), (vec![0, 1, 6, 7, 8], 5));
    }

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
