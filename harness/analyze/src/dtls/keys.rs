//! Secrets, key derivation and record protection of DTLS 1.2 (RFC 6347, RFC 5246), for reading what others sent.

use core::fmt;
use std::collections::BTreeMap;

use aes::{Aes128, Aes256};
use aes_gcm::aead::consts::{U8, U12, U16};
use aes_gcm::aead::{KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockDecryptMut as _, KeyIvInit as _};
use ccm::Ccm;
use chacha20poly1305::ChaCha20Poly1305;
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384};

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

    /// The master secrets that a session may have, most certain first.
    pub(super) fn masters(&self, hello: &Hello, session_hash: Option<&Transcript>) -> Vec<[u8; 48]> {
        if let Some(master) = self.masters.get(&hello.client_random) {
            return vec![*master];
        }
        if !hello.suite.psk {
            return Vec::new();
        }
        self.psks
            .iter()
            .filter_map(|psk| {
                // RFC 4279 section 2: the length, as many zero bytes, the length, the key
                let length = u16::try_from(psk.len()).ok()?.to_be_bytes();
                let premaster = [&length[..], &vec![0; psk.len()], &length, psk].concat();
                let mut master = [0; 48];
                if hello.extended_master_secret {
                    let hash = session_hash?.hash(hello.suite);
                    prf(hello.suite, &premaster, b"extended master secret", &hash, &mut master);
                } else {
                    let seed = [hello.client_random, hello.server_random].concat();
                    prf(hello.suite, &premaster, b"master secret", &seed, &mut master);
                }
                Some(master)
            })
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

/// A cipher suite that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suite {
    id: u16,
    key: usize,
    protection: Protection,
    /// The PRF uses SHA-384, not SHA-256.
    sha384: bool,
    /// The premaster secret is the pre-shared key alone.
    psk: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    Ccm,
    Ccm8,
    Gcm,
    /// RFC 7905.
    ChaCha,
    CbcSha256,
}

const fn suite(id: u16, key: usize, protection: Protection, sha384: bool, psk: bool) -> Suite {
    Suite {
        id,
        key,
        protection,
        sha384,
        psk,
    }
}

/// The suites that LwM2M names (Transport section 5.2.8) and those that common stacks choose instead.
const SUITES: &[Suite] = &[
    suite(0xc0a8, 16, Protection::Ccm8, false, true),
    suite(0xc0a4, 16, Protection::Ccm, false, true),
    suite(0xc0a9, 32, Protection::Ccm8, false, true),
    suite(0xc0a5, 32, Protection::Ccm, false, true),
    suite(0x00a8, 16, Protection::Gcm, false, true),
    suite(0x00a9, 32, Protection::Gcm, true, true),
    suite(0x00ae, 16, Protection::CbcSha256, false, true),
    suite(0xc037, 16, Protection::CbcSha256, false, false),
    suite(0xc0ae, 16, Protection::Ccm8, false, false),
    suite(0xc0ac, 16, Protection::Ccm, false, false),
    suite(0xccab, 32, Protection::ChaCha, false, true),
    suite(0xccac, 32, Protection::ChaCha, false, false),
    suite(0xcca8, 32, Protection::ChaCha, false, false),
    suite(0xcca9, 32, Protection::ChaCha, false, false),
    suite(0xc02b, 16, Protection::Gcm, false, false),
    suite(0xc02f, 16, Protection::Gcm, false, false),
    suite(0xc02c, 32, Protection::Gcm, true, false),
    suite(0xc030, 32, Protection::Gcm, true, false),
    suite(0xc023, 16, Protection::CbcSha256, false, false),
    suite(0xc027, 16, Protection::CbcSha256, false, false),
];

impl Suite {
    pub(super) fn of(id: u16) -> Option<Self> {
        SUITES.iter().find(|suite| suite.id == id).copied()
    }
}

/// What two hellos agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) client_random: [u8; 32],
    pub(super) server_random: [u8; 32],
    pub(super) suite: Suite,
    pub(super) extended_master_secret: bool,
    pub(super) encrypt_then_mac: bool,
}

/// Handshake messages as RFC 7627 section 4 hashes them.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript(pub(super) Vec<u8>);

impl Transcript {
    fn hash(&self, suite: Suite) -> Vec<u8> {
        use sha2::Digest as _;
        if suite.sha384 {
            Sha384::digest(&self.0).to_vec()
        } else {
            Sha256::digest(&self.0).to_vec()
        }
    }
}

/// P_hash of RFC 5246 section 5.
fn prf(suite: Suite, secret: &[u8], label: &[u8], seed: &[u8], out: &mut [u8]) {
    let hash = |parts: &[&[u8]]| -> Vec<u8> {
        if suite.sha384 {
            mac::<Hmac<Sha384>>(secret, parts)
        } else {
            mac::<Hmac<Sha256>>(secret, parts)
        }
    };
    let mut a = hash(&[label, seed]);
    for chunk in out.chunks_mut(a.len()) {
        let block = hash(&[&a, label, seed]);
        chunk.copy_from_slice(&block[..chunk.len()]);
        a = hash(&[&a]);
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length
    let Ok(mut mac) = <M as Mac>::new_from_slice(key) else {
        return Vec::new();
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// The keys of one session, both directions.
#[derive(Clone)]
pub(super) struct Keys {
    suite: Suite,
    encrypt_then_mac: bool,
    client: Direction,
    server: Direction,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:04x})", self.suite.id)
    }
}

#[derive(Clone)]
struct Direction {
    mac: Vec<u8>,
    key: Vec<u8>,
    /// The implicit part of the nonce.
    iv: Vec<u8>,
}

/// A protected record as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed<'a> {
    pub(super) content_type: u8,
    pub(super) version: [u8; 2],
    /// Epoch and sequence number.
    pub(super) number: [u8; 8],
    /// The connection id, for records that carry one (RFC 9146).
    pub(super) cid: Option<&'a [u8]>,
    pub(super) fragment: &'a [u8],
}

impl Keys {
    /// The key block of RFC 5246 section 6.3.
    pub(super) fn derive(hello: &Hello, master: &[u8; 48]) -> Self {
        let suite = hello.suite;
        let mac = if suite.protection == Protection::CbcSha256 {
            32
        } else {
            0
        };
        let iv = match suite.protection {
            Protection::CbcSha256 => 0,
            Protection::ChaCha => 12,
            _ => 4,
        };
        let mut block = vec![0; 2 * (mac + suite.key + iv)];
        let seed = [hello.server_random, hello.client_random].concat();
        prf(suite, master, b"key expansion", &seed, &mut block);
        let mut rest = &block[..];
        let mut take = |length: usize| {
            let (part, after) = rest.split_at(length);
            rest = after;
            part.to_vec()
        };
        let (client_mac, server_mac) = (take(mac), take(mac));
        let (client_key, server_key) = (take(suite.key), take(suite.key));
        let (client_iv, server_iv) = (take(iv), take(iv));
        Self {
            suite,
            encrypt_then_mac: hello.encrypt_then_mac,
            client: Direction {
                mac: client_mac,
                key: client_key,
                iv: client_iv,
            },
            server: Direction {
                mac: server_mac,
                key: server_key,
                iv: server_iv,
            },
        }
    }

    /// Opens a record. None when it was changed on the way or the keys are not its own.
    pub(super) fn open(&self, from_client: bool, record: &Sealed<'_>) -> Option<Vec<u8>> {
        let keys = if from_client { &self.client } else { &self.server };
        match self.suite.protection {
            Protection::CbcSha256 => self.open_cbc(keys, record),
            Protection::ChaCha => {
                let length = record.fragment.len().checked_sub(16)?;
                let additional = additional_data(record, u16::try_from(length).ok()?);
                let mut nonce = keys.iv.clone();
                for (byte, number) in nonce.iter_mut().skip(4).zip(record.number) {
                    *byte ^= number;
                }
                let payload = Payload {
                    msg: record.fragment,
                    aad: &additional,
                };
                open::<ChaCha20Poly1305>(&keys.key, &nonce, payload)
            }
            protection => {
                let tag = if protection == Protection::Ccm8 { 8 } else { 16 };
                let (explicit, sealed) = record.fragment.split_at_checked(8)?;
                let length = sealed.len().checked_sub(tag)?;
                let nonce = [&keys.iv[..], explicit].concat();
                let additional = additional_data(record, u16::try_from(length).ok()?);
                let payload = Payload {
                    msg: sealed,
                    aad: &additional,
                };
                let nonce = nonce.as_slice();
                match (protection, self.suite.key) {
                    (Protection::Ccm8, 16) => open::<Ccm<Aes128, U8, U12>>(&keys.key, nonce, payload),
                    (Protection::Ccm8, _) => open::<Ccm<Aes256, U8, U12>>(&keys.key, nonce, payload),
                    (Protection::Ccm, 16) => open::<Ccm<Aes128, U16, U12>>(&keys.key, nonce, payload),
                    (Protection::Ccm, _) => open::<Ccm<Aes256, U16, U12>>(&keys.key, nonce, payload),
                    (_, 16) => open::<Aes128Gcm>(&keys.key, nonce, payload),
                    _ => open::<Aes256Gcm>(&keys.key, nonce, payload),
                }
            }
        }
    }

    /// AES-CBC with HMAC-SHA256 (RFC 5246 section 6.2.3.2), in either order (RFC 7366).
    fn open_cbc(&self, keys: &Direction, record: &Sealed<'_>) -> Option<Vec<u8>> {
        const BLOCK: usize = 16;
        const MAC: usize = 32;
        let tag = |content: &[u8]| {
            let header = additional_data(record, u16::try_from(content.len()).unwrap_or(u16::MAX));
            mac::<Hmac<Sha256>>(&keys.mac, &[&header, content])
        };
        let mut sealed = record.fragment;
        if self.encrypt_then_mac {
            let (content, outer) = sealed.split_at_checked(sealed.len().checked_sub(MAC)?)?;
            if tag(content) != outer {
                return None;
            }
            sealed = content;
        }
        let (iv, ciphertext) = sealed.split_at_checked(BLOCK)?;
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(BLOCK) {
            return None;
        }
        let decryptor = cbc::Decryptor::<Aes128>::new_from_slices(&keys.key, iv).ok()?;
        let mut clear = decryptor.decrypt_padded_vec_mut::<NoPadding>(ciphertext).ok()?;
        let padding = usize::from(*clear.last()?);
        clear.truncate(clear.len().checked_sub(padding + 1)?);
        if !self.encrypt_then_mac {
            let inner = clear.split_off(clear.len().checked_sub(MAC)?);
            if tag(&clear) != inner {
                return None;
            }
        }
        Some(clear)
    }
}

fn open<C: KeyInit + aes_gcm::aead::Aead>(key: &[u8], nonce: &[u8], payload: Payload<'_, '_>) -> Option<Vec<u8>> {
    if nonce.len() != 12 {
        return None;
    }
    let cipher = C::new_from_slice(key).ok()?;
    cipher
        .decrypt(aes_gcm::aead::Nonce::<C>::from_slice(nonce), payload)
        .ok()
}

/// What a record's protection covers beside its content (RFC 6347 section 4.1.2.1, RFC 9146 section 5).
fn additional_data(record: &Sealed<'_>, length: u16) -> Vec<u8> {
    let mut data = Vec::with_capacity(32);
    match record.cid {
        None => {
            data.extend_from_slice(&record.number);
            data.push(record.content_type);
            data.extend_from_slice(&record.version);
        }
        Some(cid) => {
            data.extend_from_slice(&[0xff; 8]);
            data.push(record.content_type);
            data.push(u8::try_from(cid.len()).unwrap_or(u8::MAX));
            data.push(record.content_type);
            data.extend_from_slice(&record.version);
            data.extend_from_slice(&record.number);
            data.extend_from_slice(cid);
        }
    }
    data.extend_from_slice(&length.to_be_bytes());
    data
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

    #[test]
    fn the_prf_is_that_of_tls_1_2() {
        // the vector that the IETF's TLS working group published for P_SHA256
        let secret = [
            0x9b, 0xbe, 0x43, 0x6b, 0xa9, 0x40, 0xf0, 0x17, 0xb1, 0x76, 0x52, 0x84, 0x9a, 0x71, 0xdb, 0x35,
        ];
        let seed = [
            0xa0, 0xba, 0x9f, 0x93, 0x6c, 0xda, 0x31, 0x18, 0x27, 0xa6, 0xf7, 0x96, 0xff, 0xd5, 0x19, 0x8c,
        ];
        let mut out = [0; 16];
        prf(SUITES[0], &secret, b"test label", &seed, &mut out);
        assert_eq!(
            out,
            [
                0xe3, 0xf2, 0x29, 0xba, 0x72, 0x7b, 0xe1, 0x7b, 0x8d, 0x12, 0x26, 0x20, 0x55, 0x7c, 0xd4, 0x53
            ]
        );
    }
}
