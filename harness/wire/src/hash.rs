//! A small, fast, seedless hash: runs must be repeatable, and the keys are ours. Tables keyed with it are bounded.

use core::hash::{BuildHasherDefault, Hash, Hasher};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Multiplies and folds eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick(u64);

impl Quick {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word).wrapping_mul(u128::from(FACTOR));
        self.0 = (wide as u64) ^ ((wide >> 64) as u64) ^ self.0.rotate_left(23);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length keeps trailing zero bytes apart; the highest byte of a rest is free.
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.mix(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

/// An address as a key: one step of the hash for IPv4, where the standard library takes five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let port = u64::from(self.0.port());
        match self.0 {
            SocketAddr::V4(address) => state.write_u64(u64::from(address.ip().to_bits()) << 16 | port),
            SocketAddr::V6(address) => {
                let bits = address.ip().to_bits();
                state.write_u64(bits as u64 ^ port << 48);
                state.write_u64((bits >> 64) as u64);
            }
        }
    }
}

/// The hash of some bytes.
#[must_use]
pub fn of(bytes: &[u8]) -> u64 {
    let mut hasher = Quick(FACTOR);
    let (chunks, rest) = bytes.as_chunks::<32>();
    if !chunks.is_empty() {
        // Four words at a time, each in a lane of its own: a block of an image is long, and one lane waits for itself.
        let mut lanes = [Quick(FACTOR), Quick(!FACTOR), Quick(FACTOR << 1), Quick(FACTOR >> 1)];
        for chunk in chunks {
            let (words, _) = chunk.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                lane.mix(u64::from_le_bytes(*word));
            }
        }
        lanes.iter().for_each(|lane| hasher.mix(lane.0));
    }
    hasher.write(rest);
    hasher.mix(bytes.len() as u64);
    hasher.finish()
}

/// A map that is looked up and never gone through.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// A set that is looked up and never gone through.
pub type Set<K> = HashSet<K, BuildHasherDefault<Quick>>;
