//! Records and handshake messages of DTLS 1.2 (RFC 6347 sections 4.1 and 4.2), with connection ids (RFC 9146).

use std::collections::BTreeMap;

/// ContentType of RFC 5246 section 6.2.1.
pub(super) mod content_type {
    pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
    /// RFC 9146 section 4.
    pub(crate) const TLS12_CID: u8 = 25;
}

/// HandshakeType of RFC 5246 section 7.4.
pub(super) mod handshake_type {
    pub(crate) const CLIENT_HELLO: u8 = 1;
    pub(crate) const SERVER_HELLO: u8 = 2;
    pub(crate) const HELLO_VERIFY_REQUEST: u8 = 3;
    pub(crate) const CLIENT_KEY_EXCHANGE: u8 = 16;
}

/// Length of a record's header without a connection id.
const HEADER: usize = 13;
/// The largest handshake message that is put together.
const MESSAGE_LIMIT: usize = 16 << 10;
/// Handshake messages under way at most, each direction.
const OPEN_LIMIT: usize = 32;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) content_type: u8,
    pub(super) version: [u8; 2],
    pub(super) number: [u8; 8],
    pub(super) cid: &'a [u8],
    pub(super) fragment: &'a [u8],
}

impl Record<'_> {
    pub(super) const fn epoch(&self) -> u16 {
        u16::from_be_bytes([self.number[0], self.number[1]])
    }
}

/// Whether a datagram looks like DTLS 1.0 or 1.2.
pub(super) fn is_dtls(payload: &[u8]) -> bool {
    matches!(payload, [20..=23 | 25, 0xfe, 0xff | 0xfd, ..]) && payload.len() >= HEADER
}

/// The next record of a datagram. `cid_length` is asked with the rest of the record after its number, for records that carry a
/// connection id.
pub(super) fn next<'a>(rest: &mut &'a [u8], cid_length: &dyn Fn(&[u8]) -> Option<usize>) -> Option<Record<'a>> {
    let bytes = *rest;
    if !is_dtls(bytes) {
        return None;
    }
    let number = <[u8; 8]>::try_from(&bytes[3..11]).ok()?;
    let with_cid = bytes[0] == content_type::TLS12_CID;
    let cid_length = if with_cid { cid_length(&bytes[11..])? } else { 0 };
    let (cid, after) = bytes[11..].split_at_checked(cid_length)?;
    let length = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]));
    let (fragment, after) = after[2..].split_at_checked(length)?;
    *rest = after;
    Some(Record {
        content_type: bytes[0],
        version: [bytes[1], bytes[2]],
        number,
        cid,
        fragment,
    })
}

/// A whole handshake message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) sequence: u16,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// As it goes into the transcript: as if it had not been fragmented (RFC 6347 section 4.2.6).
    pub(super) fn transcript(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.body.len()).unwrap_or(0).to_be_bytes();
        out.push(self.kind);
        out.extend_from_slice(&length[1..]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&[0, 0, 0]);
        out.extend_from_slice(&length[1..]);
        out.extend_from_slice(&self.body);
    }
}

/// Puts the fragments of one sender's handshake messages together.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    open: BTreeMap<u16, Open>,
    /// Messages that were whole once; what comes again is left out.
    seen: Vec<u16>,
}

#[derive(Debug)]
struct Open {
    body: Vec<u8>,
    have: Vec<bool>,
}

impl Assembly {
    /// Takes the content of a handshake record; gives the messages that it made whole, in order of appearance.
    pub(super) fn take(&mut self, mut content: &[u8]) -> Vec<Message> {
        let mut whole = Vec::new();
        while let Some((header, rest)) = content.split_at_checked(12) {
            let u24 = |at: usize| {
                usize::from(header[at]) << 16 | usize::from(header[at + 1]) << 8 | usize::from(header[at + 2])
            };
            let (kind, length, offset, part) = (header[0], u24(1), u24(6), u24(9));
            let sequence = u16::from_be_bytes([header[4], header[5]]);
            let Some((fragment, rest)) = rest.split_at_checked(part) else {
                break;
            };
            content = rest;
            if length > MESSAGE_LIMIT || offset + part > length || self.seen.contains(&sequence) {
                continue;
            }
            if self.open.len() >= OPEN_LIMIT && !self.open.contains_key(&sequence) {
                self.open.pop_first();
            }
            let open = self.open.entry(sequence).or_insert_with(|| Open {
                body: vec![0; length],
                have: vec![false; length],
            });
            if open.body.len() != length {
                continue;
            }
            open.body[offset..offset + part].copy_from_slice(fragment);
            open.have[offset..offset + part].fill(true);
            if open.have.iter().all(|have| *have) {
                let body = self.open.remove(&sequence).map(|open| open.body).unwrap_or_default();
                self.seen.push(sequence);
                whole.push(Message { kind, sequence, body });
            }
        }
        whole
    }
}

/// What a hello says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HelloBody {
    pub(super) random: [u8; 32],
    /// The suite of a ServerHello.
    pub(super) suite: u16,
    pub(super) extended_master_secret: bool,
    pub(super) encrypt_then_mac: bool,
    /// The connection id that the sender wants to see.
    pub(super) cid: Option<Vec<u8>>,
}

/// Reads a ClientHello or a ServerHello.
pub(super) fn hello(message: &Message) -> Option<HelloBody> {
    let mut rest = message.body.get(2..)?;
    let mut hello = HelloBody {
        random: <[u8; 32]>::try_from(take(&mut rest, 32)?).ok()?,
        ..HelloBody::default()
    };
    sized(&mut rest, 1)?;
    if message.kind == handshake_type::CLIENT_HELLO {
        for width in [1, 2, 1] {
            // cookie, suites, compression methods
            sized(&mut rest, width)?;
        }
    } else {
        let suite = take(&mut rest, 2)?;
        hello.suite = u16::from_be_bytes([suite[0], suite[1]]);
        take(&mut rest, 1)?;
    }
    if rest.is_empty() {
        return Some(hello);
    }
    let mut extensions = sized(&mut rest, 2)?;
    while !extensions.is_empty() {
        let kind = take(&mut extensions, 2)?;
        let mut data = sized(&mut extensions, 2)?;
        match u16::from_be_bytes([kind[0], kind[1]]) {
            22 => hello.encrypt_then_mac = true,
            23 => hello.extended_master_secret = true,
            54 => hello.cid = Some(sized(&mut data, 1)?.to_vec()),
            _ => {}
        }
    }
    Some(hello)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

/// A vector with its length before it, in `width` bytes.
fn sized<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = take(rest, width)?
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    take(rest, length)
}
