//! Secrets that open what others sent.

use core::fmt;
use std::collections::BTreeMap;

use fotaproof_dtls::protection::{Negotiated, master_secret};

/// Lines of a key log that are kept at most.
const MOST_LINES: usize = 100_000;
/// Pre-shared keys that are tried at most.
const MOST_PSKS: usize = 64;

/// What can open encrypted conversations.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Master secrets by the random of the ClientHello.
    masters: BTreeMap<[u8; 32], [u8; 48]>,
    psks: Vec<Vec<u8>>,
}

// secrets are for use, not for logs
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Secrets({} sessions, {} pre-shared keys)",
            self.masters.len(),
            self.psks.len()
        )
    }
}

impl Secrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.masters.is_empty() && self.psks.is_empty()
    }

    /// Adds the lines `CLIENT_RANDOM <random> <master secret>` of an NSS key log, as a pcapng Decryption Secrets Block of type
    /// `TLSK` holds it. Other lines are left out. Gives how many were added.
    pub fn add_key_log(&mut self, text: &[u8]) -> usize {
        let mut added = 0;
        for line in text.split(|byte| *byte == b'\n') {
            let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            if words.next() != Some(b"CLIENT_RANDOM") || self.masters.len() >= MOST_LINES {
                continue;
            }
            let (Some(random), Some(master)) = (words.next().and_then(hex), words.next().and_then(hex)) else {
                continue;
            };
            self.masters.insert(random, master);
            added += 1;
        }
        added
    }

    /// Adds a pre-shared key, which opens conversations with the plain PSK key exchange (RFC 4279 section 2).
    pub fn add_psk(&mut self, key: Vec<u8>) {
        if self.psks.len() < MOST_PSKS {
            self.psks.push(key);
        }
    }

    /// The master secrets that a session may have, most certain first. `handshake` are its messages up to the ClientKeyExchange,
    /// which an extended one depends on.
    pub(super) fn masters(&self, hello: &Negotiated, handshake: Option<&[u8]>) -> Vec<[u8; 48]> {
        if let Some(master) = self.masters.get(&hello.client_random) {
            return vec![*master];
        }
        if !hello.suite.is_plain_psk() {
            return Vec::new();
        }
        self.psks
            .iter()
            .filter_map(|psk| master_secret(hello, psk, handshake))
            .collect()
    }
}

fn hex<const N: usize>(word: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    if word.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(word.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_log_gives_master_secrets_by_client_random() {
        let mut secrets = Secrets::default();
        let line = format!(
            "# comment\nCLIENT_RANDOM {} {}\r\nCLIENT_RANDOM 00 11\n",
            "ab".repeat(32),
            "cd".repeat(48)
        );
        assert_eq!(secrets.add_key_log(line.as_bytes()), 1);
        assert_eq!(secrets.masters[&[0xab; 32]], [0xcd; 48]);
        assert_eq!(format!("{secrets:?}"), "Secrets(1 sessions, 0 pre-shared keys)");
    }
}
