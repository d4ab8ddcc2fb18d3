//! Key derivation and record protection of DTLS 1.2 (RFC 6347, RFC 5246).
//!
//! Opening knows more suites than [`Suite`](crate::Suite) has: captures hold what others agreed on. Sealing is for those two.

use core::fmt;

use aes::{Aes128, Aes256};
use aes_gcm::aead::consts::{U8, U12, U16};
use aes_gcm::aead::{Aead, KeyInit, Nonce, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _};
use ccm::Ccm;
use chacha20poly1305::ChaCha20Poly1305;
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256, Sha384};

/// Length of a block of AES.
const BLOCK: usize = 16;
/// Length of an HMAC-SHA256.
const MAC: usize = 32;

/// A cipher suite that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherSuite {
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

const fn suite(id: u16, key: usize, protection: Protection, sha384: bool, psk: bool) -> CipherSuite {
    CipherSuite {
        id,
        key,
        protection,
        sha384,
        psk,
    }
}

/// The suites that LwM2M names (Transport section 5.2.8) and those that common stacks choose instead.
const SUITES: &[CipherSuite] = &[
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

impl CipherSuite {
    /// The suite with this number.
    pub fn of(id: u16) -> Option<Self> {
        SUITES.iter().find(|suite| suite.id == id).copied()
    }

    /// Whether the premaster secret is the pre-shared key alone (RFC 4279 section 2).
    pub const fn is_plain_psk(self) -> bool {
        self.psk
    }

    /// The hash of the suite's PRF.
    pub fn hash(self, bytes: &[u8]) -> Vec<u8> {
        if self.sha384 {
            Sha384::digest(bytes).to_vec()
        } else {
            Sha256::digest(bytes).to_vec()
        }
    }
}

/// What two hellos agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The random of the ClientHello.
    pub client_random: [u8; 32],
    /// The random of the ServerHello.
    pub server_random: [u8; 32],
    /// The suite of the ServerHello.
    pub suite: CipherSuite,
    /// RFC 7627.
    pub extended_master_secret: bool,
    /// RFC 7366.
    pub encrypt_then_mac: bool,
}

/// The master secret of a handshake with a pre-shared key (RFC 4279 section 2, RFC 5246 section 8.1, RFC 7627 section 4).
/// `handshake` are the messages up to the ClientKeyExchange, which the extended one depends on. None without them when they are
/// needed, and for a key that is longer than its length field.
pub fn master_secret(negotiated: &Negotiated, psk: &[u8], handshake: Option<&[u8]>) -> Option<[u8; 48]> {
    let suite = negotiated.suite;
    // the length, as many zero bytes, the length, the key
    let length = u16::try_from(psk.len()).ok()?.to_be_bytes();
    let premaster = [&length[..], &vec![0; psk.len()], &length, psk].concat();
    let mut master = [0; 48];
    if negotiated.extended_master_secret {
        let hash = suite.hash(handshake?);
        prf(suite, &premaster, b"extended master secret", &hash, &mut master);
    } else {
        let seed = [negotiated.client_random, negotiated.server_random].concat();
        prf(suite, &premaster, b"master secret", &seed, &mut master);
    }
    Some(master)
}

/// The `verify_data` of a Finished (RFC 5246 section 7.4.9), of all handshake messages before it.
pub fn verify_data(suite: CipherSuite, master: &[u8; 48], from_client: bool, handshake: &[u8]) -> [u8; 12] {
    let label: &[u8] = if from_client {
        b"client finished"
    } else {
        b"server finished"
    };
    let mut out = [0; 12];
    prf(suite, master, label, &suite.hash(handshake), &mut out);
    out
}

/// P_hash of RFC 5246 section 5.
fn prf(suite: CipherSuite, secret: &[u8], label: &[u8], seed: &[u8], out: &mut [u8]) {
    let hash = |parts: &[&[u8]]| -> Vec<u8> {
        if suite.sha384 {
            mac::<Hmac<Sha384>>(secret, parts)
        } else {
            mac::<Hmac<Sha256>>(secret, parts)
        }
    };
    let mut a = hash(&[label, seed]);
    for chunk in out.chunks_mut(a.len().max(1)) {
        let block = hash(&[&a, label, seed]);
        chunk.copy_from_slice(&block[..chunk.len()]);
        a = hash(&[&a]);
    }
}

/// An HMAC-SHA256, for the cookies.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    mac::<Hmac<Sha256>>(key, parts)
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
pub struct Keys {
    suite: CipherSuite,
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

/// A protected record: its header and its content, sealed or in clear.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// ContentType; 25 for a record with a connection id.
    pub content_type: u8,
    /// The version on the wire.
    pub version: [u8; 2],
    /// Epoch and sequence number.
    pub number: [u8; 8],
    /// The connection id, for records that carry one (RFC 9146).
    pub cid: Option<&'a [u8]>,
    /// As it stands on the wire to open it; in clear to seal it.
    pub fragment: &'a [u8],
}

impl Keys {
    /// The key block of RFC 5246 section 6.3.
    pub fn derive(negotiated: &Negotiated, master: &[u8; 48]) -> Self {
        let suite = negotiated.suite;
        let mac = if suite.protection == Protection::CbcSha256 {
            MAC
        } else {
            0
        };
        let iv = match suite.protection {
            Protection::CbcSha256 => 0,
            Protection::ChaCha => 12,
            _ => 4,
        };
        let mut block = vec![0; 2 * (mac + suite.key + iv)];
        let seed = [negotiated.server_random, negotiated.client_random].concat();
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
            encrypt_then_mac: negotiated.encrypt_then_mac,
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

    const fn direction(&self, from_client: bool) -> &Direction {
        if from_client { &self.client } else { &self.server }
    }

    /// Opens a record. None when it was changed on the way or the keys are not its own.
    pub fn open(&self, from_client: bool, record: &Envelope<'_>) -> Option<Vec<u8>> {
        let keys = self.direction(from_client);
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
    fn open_cbc(&self, keys: &Direction, record: &Envelope<'_>) -> Option<Vec<u8>> {
        let mut sealed = record.fragment;
        if self.encrypt_then_mac {
            let (content, outer) = sealed.split_at_checked(sealed.len().checked_sub(MAC)?)?;
            if cbc_mac(keys, record, content)? != outer {
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
        let padding = *clear.last()?;
        let rest = clear.len().checked_sub(usize::from(padding) + 1)?;
        if clear[rest..].iter().any(|byte| *byte != padding) {
            return None;
        }
        clear.truncate(rest);
        if !self.encrypt_then_mac {
            let inner = clear.split_off(clear.len().checked_sub(MAC)?);
            if cbc_mac(keys, record, &clear)? != inner {
                return None;
            }
        }
        Some(clear)
    }

    /// Seals a record: what stands on the wire behind its length. `iv` is used by CBC alone, which wants a fresh one for each
    /// record. None for a suite that is only opened, and for a content that is too long for a record.
    pub fn seal(&self, from_client: bool, record: &Envelope<'_>, iv: [u8; BLOCK]) -> Option<Vec<u8>> {
        let keys = self.direction(from_client);
        match (self.suite.protection, self.suite.key) {
            (Protection::Ccm8, 16) => {
                // RFC 6655 section 3: epoch and number are the explicit part of the nonce
                let nonce = [&keys.iv[..], &record.number].concat();
                let additional = additional_data(record, u16::try_from(record.fragment.len()).ok()?);
                let cipher = Ccm::<Aes128, U8, U12>::new_from_slice(&keys.key).ok()?;
                let payload = Payload {
                    msg: record.fragment,
                    aad: &additional,
                };
                let sealed = cipher.encrypt(Nonce::<Ccm<Aes128, U8, U12>>::from_slice(&nonce), payload);
                Some([&record.number[..], &sealed.ok()?].concat())
            }
            (Protection::CbcSha256, _) => {
                let mut clear = record.fragment.to_vec();
                if !self.encrypt_then_mac {
                    clear.extend_from_slice(&cbc_mac(keys, record, record.fragment)?);
                }
                let padding = BLOCK - 1 - clear.len() % BLOCK;
                clear.resize(clear.len() + padding + 1, u8::try_from(padding).ok()?);
                let encryptor = cbc::Encryptor::<Aes128>::new_from_slices(&keys.key, &iv).ok()?;
                let mut sealed = iv.to_vec();
                sealed.extend_from_slice(&encryptor.encrypt_padded_vec_mut::<NoPadding>(&clear));
                if self.encrypt_then_mac {
                    let outer = cbc_mac(keys, record, &sealed)?;
                    sealed.extend_from_slice(&outer);
                }
                Some(sealed)
            }
            _ => None,
        }
    }
}

fn cbc_mac(keys: &Direction, record: &Envelope<'_>, content: &[u8]) -> Option<Vec<u8>> {
    let header = additional_data(record, u16::try_from(content.len()).ok()?);
    Some(mac::<Hmac<Sha256>>(&keys.mac, &[&header, content]))
}

fn open<C: KeyInit + Aead>(key: &[u8], nonce: &[u8], payload: Payload<'_, '_>) -> Option<Vec<u8>> {
    if nonce.len() != 12 {
        return None;
    }
    let cipher = C::new_from_slice(key).ok()?;
    cipher.decrypt(Nonce::<C>::from_slice(nonce), payload).ok()
}

/// What a record's protection covers beside its content (RFC 6347 section 4.1.2.1, RFC 9146 section 5).
fn additional_data(record: &Envelope<'_>, length: u16) -> Vec<u8> {
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

    fn keys(id: u16, encrypt_then_mac: bool) -> Keys {
        let negotiated = Negotiated {
            client_random: [1; 32],
            server_random: [2; 32],
            suite: CipherSuite::of(id).unwrap(),
            extended_master_secret: false,
            encrypt_then_mac,
        };
        Keys::derive(&negotiated, &[3; 48])
    }

    fn envelope<'a>(cid: Option<&'a [u8]>, fragment: &'a [u8]) -> Envelope<'a> {
        Envelope {
            content_type: if cid.is_some() { 25 } else { 23 },
            version: [0xfe, 0xfd],
            number: [0, 1, 0, 0, 0, 0, 0, 7],
            cid,
            fragment,
        }
    }

    #[test]
    fn what_is_sealed_opens_and_any_changed_byte_is_noticed() {
        for (id, encrypt_then_mac) in [(0xc0a8, false), (0x00ae, false), (0x00ae, true)] {
            for cid in [None, Some(&b"abc"[..])] {
                for length in [0, 1, 15, 16, 17, 300] {
                    let keys = keys(id, encrypt_then_mac);
                    let clear = vec![0x55; length];
                    let sealed = keys.seal(true, &envelope(cid, &clear), [9; 16]).unwrap();
                    assert_eq!(keys.open(true, &envelope(cid, &sealed)).as_deref(), Some(&clear[..]));
                    assert_eq!(keys.open(false, &envelope(cid, &sealed)), None, "the other direction");
                    for at in 0..sealed.len() {
                        let mut changed = sealed.clone();
                        changed[at] ^= 1;
                        assert_eq!(keys.open(true, &envelope(cid, &changed)), None, "{id:04x} byte {at}");
                    }
                    for cut in 0..sealed.len() {
                        assert_eq!(
                            keys.open(true, &envelope(cid, &sealed[..cut])),
                            None,
                            "{id:04x} cut {cut}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_header_is_protected_too() {
        let keys = keys(0xc0a8, false);
        let sealed = keys.seal(true, &envelope(Some(b"abc"), b"data"), [0; 16]).unwrap();
        let good = envelope(Some(b"abc"), &sealed);
        assert!(keys.open(true, &good).is_some());
        let others = [
            Envelope {
                cid: Some(b"abd"),
                ..good
            },
            Envelope { cid: None, ..good },
            Envelope {
                number: [0, 1, 0, 0, 0, 0, 0, 8],
                ..good
            },
            Envelope {
                version: [0xfe, 0xff],
                ..good
            },
            Envelope {
                content_type: 23,
                ..good
            },
        ];
        for other in others {
            assert_eq!(keys.open(true, &other), None, "{other:?}");
        }
    }
}
