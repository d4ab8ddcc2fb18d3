//! Handshake messages of DTLS 1.2 and their fragments (RFC 6347 section 4.2).

use std::collections::BTreeMap;

/// HandshakeType of RFC 5246 section 7.4 and RFC 6347 section 4.3.2.
pub mod handshake_type {
    /// HelloRequest.
    pub const HELLO_REQUEST: u8 = 0;
    /// ClientHello.
    pub const CLIENT_HELLO: u8 = 1;
    /// ServerHello.
    pub const SERVER_HELLO: u8 = 2;
    /// HelloVerifyRequest.
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    /// ServerKeyExchange.
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    /// ServerHelloDone.
    pub const SERVER_HELLO_DONE: u8 = 14;
    /// ClientKeyExchange.
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    /// Finished.
    pub const FINISHED: u8 = 20;
}

/// Length of the header of a handshake message or fragment.
pub(crate) const HEADER: usize = 12;
/// The largest handshake message that is put together.
const MESSAGE_LIMIT: usize = 16 << 10;
/// Handshake messages under way at most, each direction.
const OPEN_LIMIT: usize = 32;

/// A whole handshake message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// HandshakeType.
    pub kind: u8,
    /// `message_seq`.
    pub sequence: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// As it goes into the transcript: as if it had not been fragmented (RFC 6347 section 4.2.6).
    pub fn transcript(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fragment(0, self.body.len()));
    }

    /// A fragment of it, or all of it.
    pub(crate) fn fragment(&self, offset: usize, length: usize) -> Vec<u8> {
        let u24 = |value: usize| u32::try_from(value).unwrap_or(0).to_be_bytes();
        let mut out = Vec::with_capacity(HEADER + length);
        out.push(self.kind);
        out.extend_from_slice(&u24(self.body.len())[1..]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&u24(offset)[1..]);
        out.extend_from_slice(&u24(length)[1..]);
        out.extend_from_slice(self.body.get(offset..offset + length).unwrap_or_default());
        out
    }
}

/// What a fragment led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It made a message whole.
    Whole(Message),
    /// It is of a message that was whole before: the sender sends its flight again.
    Again {
        /// HandshakeType.
        kind: u8,
        /// `message_seq`.
        sequence: u16,
    },
}

/// Puts the fragments of one sender's handshake messages together.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    open: BTreeMap<u16, Open>,
    /// Messages that were whole once; what comes again is left out.
    seen: Vec<u16>,
}

#[derive(Clone, Debug)]
struct Open {
    body: Vec<u8>,
    have: Vec<bool>,
}

impl Assembly {
    /// Takes the content of a handshake record; gives the messages that it made whole, in order of appearance.
    pub fn take(&mut self, content: &[u8]) -> Vec<Message> {
        let whole = |taken| match taken {
            Taken::Whole(message) => Some(message),
            Taken::Again { .. } => None,
        };
        self.take_some(content, |_, _| true)
            .into_iter()
            .filter_map(whole)
            .collect()
    }

    /// Takes a message with this number anew when it comes again.
    pub(crate) fn forget(&mut self, sequence: u16) {
        self.seen.retain(|seen| *seen != sequence);
    }

    /// Takes what is `wanted` by its type and sequence number, and tells also what was there before.
    pub fn take_some(&mut self, mut content: &[u8], wanted: impl Fn(u8, u16) -> bool) -> Vec<Taken> {
        let mut taken = Vec::new();
        while let Some((header, rest)) = content.split_at_checked(HEADER) {
            let u24 = |at: usize| {
                usize::from(header[at]) << 16 | usize::from(header[at + 1]) << 8 | usize::from(header[at + 2])
            };
            let (kind, length, offset, part) = (header[0], u24(1), u24(6), u24(9));
            let sequence = u16::from_be_bytes([header[4], header[5]]);
            let Some((fragment, rest)) = rest.split_at_checked(part) else {
                break;
            };
            content = rest;
            if length > MESSAGE_LIMIT || offset + part > length || !wanted(kind, sequence) {
                continue;
            }
            if self.seen.contains(&sequence) {
                taken.push(Taken::Again { kind, sequence });
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
                taken.push(Taken::Whole(Message { kind, sequence, body }));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            kind: handshake_type::CLIENT_HELLO,
            sequence: 3,
            body: (0..100).collect(),
        }
    }

    #[test]
    fn fragments_in_any_order_and_overlapping_make_the_message() {
        let mut assembly = Assembly::default();
        for (offset, length) in [(90, 10), (0, 40), (30, 20), (0, 40)] {
            assert_eq!(assembly.take(&message().fragment(offset, length)), [], "{offset}");
        }
        assert_eq!(assembly.take(&message().fragment(50, 39)), [], "one byte is missing");
        assert_eq!(assembly.take(&message().fragment(89, 1)), [message()]);
        let again = Taken::Again {
            kind: handshake_type::CLIENT_HELLO,
            sequence: 3,
        };
        assert_eq!(assembly.take_some(&message().fragment(0, 5), |_, _| true), [again]);
    }

    #[test]
    fn a_fragment_past_the_end_is_left_out() {
        let mut bytes = message().fragment(90, 10);
        // the offset one further
        bytes[8] += 1;
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(&bytes), []);
        assert_eq!(assembly.take(&message().fragment(0, 90)), [], "and has filled nothing");
    }

    #[test]
    fn a_message_without_a_body_is_whole_at_once() {
        let done = Message {
            kind: handshake_type::SERVER_HELLO_DONE,
            sequence: 2,
            body: Vec::new(),
        };
        assert_eq!(Assembly::default().take(&done.fragment(0, 0)), [done]);
    }
}
