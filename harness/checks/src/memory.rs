//! What is remembered under a key until it is too old or too much came after it.

use crate::hash::Map;
use std::collections::VecDeque;

/// With so few entries their keys are gone through: they stand together, and a table would be fetched besides.
const FEW: usize = 64;

/// A queue whose entries are found by key too; the youngest counts where a key stands twice.
#[derive(Debug)]
pub(crate) struct Memory<V> {
    keys: VecDeque<u64>,
    entries: VecDeque<V>,
    /// Place of the youngest entry of each key, counted from the first entry ever; none when there are only few.
    places: Option<Map<u64, u64>>,
    /// Entries that left.
    gone: u64,
}

impl<V> Memory<V> {
    /// For about so many entries.
    pub(crate) fn new(entries: usize) -> Self {
        Self {
            keys: VecDeque::new(),
            entries: VecDeque::new(),
            places: (entries > FEW).then(Map::default),
            gone: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn oldest(&self) -> Option<&V> {
        self.entries.front()
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let index = match &self.places {
            Some(places) => (places.get(&key)? - self.gone) as usize,
            // What is asked for is young, as a rule.
            None => self.keys.iter().rposition(|known| *known == key)?,
        };
        self.entries.get_mut(index)
    }

    pub(crate) fn push(&mut self, key: u64, entry: V) {
        if let Some(places) = &mut self.places {
            places.insert(key, self.gone + self.entries.len() as u64);
        }
        self.keys.push_back(key);
        self.entries.push_back(entry);
    }

    pub(crate) fn forget_oldest(&mut self) {
        let Some(key) = self.keys.pop_front() else { return };
        if let Some(places) = &mut self.places
            && places.get(&key) == Some(&self.gone)
        {
            places.remove(&key);
        }
        self.entries.pop_front();
        self.gone += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn the_youngest_of_a_key_counts_in_few_and_in_many() {
        for entries in [4, 1000] {
            let mut memory = Memory::new(entries);
            for (key, value) in [(7, "a"), (8, "b"), (7, "c")] {
                memory.push(key, value);
            }
            assert_eq!(memory.get_mut(7), Some(&mut "c"));
            memory.forget_oldest();
            assert_eq!(memory.oldest(), Some(&"b"));
            assert_eq!(memory.get_mut(7), Some(&mut "c"));
            memory.forget_oldest();
            memory.forget_oldest();
            assert_eq!(memory.len(), 0);
            assert_eq!(memory.get_mut(7), None);
            memory.push(7, "d");
            assert_eq!(memory.get_mut(7), Some(&mut "d"));
        }
    }
}
