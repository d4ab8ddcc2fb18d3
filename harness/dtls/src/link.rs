//! What both sides of an association have: records out and in, handshake messages in order, the flight and its timer.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::Timings;
use crate::handshake::{Assembly, HEADER as MESSAGE_HEADER, Message, Taken, handshake_type};
use crate::protection::{Envelope, Keys};
use crate::record::{self, CONTENT_LIMIT, HEADER, Record, VERSION, Window, content_type};

/// What protection adds to a record at most: the type, an IV, padding and a MAC.
const PROTECTION: usize = 1 + 16 + 16 + 32;
/// A datagram in which every record of a handshake has room for something.
const LEAST_MTU: usize = 160;
/// How far ahead of the next handshake message a message may be.
const AHEAD: u16 = 16;

/// The record layer of one side.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    /// Whether this side is the client.
    client: bool,
    /// The next number of each epoch.
    numbers: [u64; 2],
    /// Of epoch 1.
    pub(crate) keys: Option<Keys>,
    /// Whether this side has sent its ChangeCipherSpec: from then on all that is new is protected.
    pub(crate) protects: bool,
    window: Window,
    /// In the records that come.
    pub(crate) own_cid: Vec<u8>,
    /// For the records that go.
    pub(crate) peer_cid: Vec<u8>,
}

/// What became of a protected record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Clear {
        content_type: u8,
        content: Vec<u8>,
        /// No record before it had a higher number.
        newest: bool,
    },
    /// Seen before, too old to tell, or not a content: left out.
    Replayed,
    /// Not of these keys, or changed on the way.
    Foreign,
}

impl Records {
    /// `first` is the number of the first record.
    pub(crate) fn new(client: bool, first: u64) -> Self {
        Self {
            client,
            numbers: [first, 0],
            keys: None,
            protects: false,
            window: Window::default(),
            own_cid: Vec::new(),
            peer_cid: Vec::new(),
        }
    }

    /// The number of the next record in clear.
    pub(crate) const fn next_clear(&self) -> u64 {
        self.numbers[0]
    }

    /// Writes a record of what this side sends now.
    pub(crate) fn write(&mut self, rng: &mut fastrand::Rng, content_type: u8, content: &[u8]) -> Vec<u8> {
        self.write_in(self.protects, rng, content_type, content)
    }

    fn write_in(&mut self, protected: bool, rng: &mut fastrand::Rng, kind: u8, content: &[u8]) -> Vec<u8> {
        let epoch = u16::from(protected);
        let number = record::number(epoch, self.numbers[usize::from(epoch)]);
        self.numbers[usize::from(epoch)] += 1;
        let mut header = Record {
            content_type: kind,
            version: VERSION,
            number,
            cid: &[],
            fragment: content,
        };
        let (Some(keys), true) = (&self.keys, protected) else {
            return record::encode(&header);
        };
        let mut inner = content.to_vec();
        if !self.peer_cid.is_empty() {
            // RFC 9146 section 4: the real type goes inside
            inner.push(kind);
            header.content_type = content_type::TLS12_CID;
            header.cid = &self.peer_cid;
        }
        let envelope = Envelope {
            content_type: header.content_type,
            version: VERSION,
            number,
            cid: (!self.peer_cid.is_empty()).then_some(&self.peer_cid[..]),
            fragment: &inner,
        };
        let mut iv = [0; 16];
        rng.fill(&mut iv);
        let sealed = keys.seal(self.client, &envelope, iv).unwrap_or_default();
        record::encode(&Record {
            fragment: &sealed,
            ..header
        })
    }

    /// Opens a record of the peer.
    pub(crate) fn open(&mut self, record: &Record<'_>) -> Opened {
        let Some(keys) = &self.keys else {
            return Opened::Foreign;
        };
        let with_cid = record.content_type == content_type::TLS12_CID;
        // RFC 9146 section 3: an id that is wanted stands in every protected record
        if record.epoch() != 1 || record.version != VERSION || with_cid == self.own_cid.is_empty() {
            return Opened::Foreign;
        }
        if record.cid != self.own_cid {
            return Opened::Foreign;
        }
        let Some(content) = open(keys, !self.client, record) else {
            return Opened::Foreign;
        };
        if !self.window.is_new(record.sequence()) {
            return Opened::Replayed;
        }
        let newest = self.window.see(record.sequence());
        let Some((kind, content)) = inner(record, content).filter(|(_, content)| content.len() <= CONTENT_LIMIT) else {
            return Opened::Replayed;
        };
        Opened::Clear {
            content_type: kind,
            content,
            newest,
        }
    }
}

/// Opens a record with keys, whatever was seen before.
pub(crate) fn open(keys: &Keys, from_client: bool, record: &Record<'_>) -> Option<Vec<u8>> {
    let with_cid = record.content_type == content_type::TLS12_CID;
    let envelope = Envelope {
        content_type: record.content_type,
        version: record.version,
        number: record.number,
        cid: with_cid.then_some(record.cid),
        fragment: record.fragment,
    };
    keys.open(from_client, &envelope)
}

/// The real type and content of what was opened: with a connection id they stand inside, before zeros (RFC 9146 section 4).
pub(crate) fn inner(record: &Record<'_>, mut content: Vec<u8>) -> Option<(u8, Vec<u8>)> {
    if record.content_type != content_type::TLS12_CID {
        return Some((record.content_type, content));
    }
    let at = content.iter().rposition(|byte| *byte != 0)?;
    let kind = content[at];
    content.truncate(at);
    Some((kind, content))
}

/// The handshake messages of both sides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    pub(crate) assembly: Assembly,
    pub(crate) inbox: BTreeMap<u16, Message>,
    /// The `message_seq` of the peer's next message; none before it is known.
    pub(crate) next_in: Option<u16>,
    pub(crate) next_out: u16,
    /// All messages so far, as Finished hashes them.
    pub(crate) transcript: Vec<u8>,
}

impl Handshake {
    /// Takes the content of a record; whole messages wait for their turn. Gives the types of those that were whole before.
    pub(crate) fn receive(&mut self, content: &[u8], wanted: impl Fn(u8) -> bool) -> Vec<u8> {
        let limit = self.next_in.unwrap_or(0).saturating_add(AHEAD);
        self.receive_below(limit, content, wanted)
    }

    /// Takes nothing new from the content of a record: only the types of what was whole before.
    pub(crate) fn receive_again(&mut self, content: &[u8]) -> Vec<u8> {
        self.receive_below(self.next_in.unwrap_or(0), content, |_| true)
    }

    fn receive_below(&mut self, limit: u16, content: &[u8], wanted: impl Fn(u8) -> bool) -> Vec<u8> {
        let next = self.next_in;
        let taken = self
            .assembly
            .take_some(content, |kind, sequence| wanted(kind) && sequence < limit);
        let mut again = Vec::new();
        for taken in taken {
            match taken {
                Taken::Whole(message) if next.is_none_or(|next| message.sequence >= next) => {
                    self.inbox.insert(message.sequence, message);
                }
                Taken::Whole(message) => again.push(message.kind),
                Taken::Again { kind, .. } => again.push(kind),
            }
        }
        again
    }

    /// The message whose turn it is. A Finished has to wait for the ChangeCipherSpec before it.
    pub(crate) fn next(&mut self, change_cipher_spec: bool) -> Option<Message> {
        let next = self.next_in?;
        if self.inbox.get(&next)?.kind == handshake_type::FINISHED && !change_cipher_spec {
            return None;
        }
        self.next_in = Some(next.saturating_add(1));
        self.inbox.remove(&next)
    }

    /// The first waiting message of a type, while the numbers of the peer are not known.
    pub(crate) fn find(&mut self, kind: u8) -> Option<Message> {
        let sequence = self.inbox.values().find(|message| message.kind == kind)?.sequence;
        self.inbox.remove(&sequence)
    }

    /// Forgets what the peer sent, for a peer that counts anew.
    pub(crate) fn forget(&mut self) {
        self.assembly = Assembly::default();
        self.inbox.clear();
        self.next_in = None;
    }

    /// A message of this side; it goes into the transcript.
    pub(crate) fn message(&mut self, kind: u8, body: Vec<u8>) -> Message {
        let message = Message {
            kind,
            sequence: self.next_out,
            body,
        };
        self.next_out = self.next_out.saturating_add(1);
        message.transcript(&mut self.transcript);
        message
    }
}

/// A part of a flight.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A handshake message in clear.
    Clear(Message),
    ChangeCipherSpec,
    /// A handshake message behind the ChangeCipherSpec.
    Protected(Message),
}

/// The last flight of this side (RFC 6347 section 4.2.4).
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    timings: Timings,
    mtu: usize,
    items: Vec<Item>,
    /// How often it was sent.
    pub(crate) sent: u32,
    wait: Duration,
    /// When it is sent again; none when it is answered or needs no answer.
    pub(crate) deadline: Option<Duration>,
}

/// What a time-out leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Not,
    SendAgain,
    /// It was sent this often.
    GiveUp(u32),
}

impl Flight {
    pub(crate) fn new(timings: Timings, mtu: usize) -> Self {
        Self {
            timings,
            mtu: mtu.max(LEAST_MTU),
            items: Vec::new(),
            sent: 0,
            wait: timings.initial,
            deadline: None,
        }
    }

    /// A new flight; it is sent by [`datagrams`](Self::datagrams).
    pub(crate) fn begin(&mut self, now: Duration, items: Vec<Item>, answered: bool) {
        self.items = items;
        self.sent = 1;
        self.wait = self.timings.initial;
        self.deadline = answered.then_some(now.saturating_add(self.wait));
    }

    /// What the time asks for.
    pub(crate) fn timeout(&mut self, now: Duration) -> Due {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return Due::Not;
        }
        if self.sent > self.timings.retransmissions {
            self.deadline = None;
            return Due::GiveUp(self.sent);
        }
        self.sent += 1;
        self.wait = self.wait.saturating_mul(2).min(self.timings.max);
        self.deadline = Some(now.saturating_add(self.wait));
        Due::SendAgain
    }

    /// The flight in datagrams: as many records in each as have room, and messages in fragments where one does not fit.
    pub(crate) fn datagrams(&self, records: &mut Records, rng: &mut fastrand::Rng) -> Vec<Bytes> {
        let mut datagrams = Vec::new();
        let mut datagram = Vec::new();
        let mut add = |record: Vec<u8>| {
            if !datagram.is_empty() && datagram.len() + record.len() > self.mtu {
                datagrams.push(Bytes::from(core::mem::take(&mut datagram)));
            }
            datagram.extend_from_slice(&record);
            datagram.len()
        };
        let mut used = 0;
        for item in &self.items {
            let (message, protected) = match item {
                Item::ChangeCipherSpec => {
                    used = add(records.write_in(false, rng, content_type::CHANGE_CIPHER_SPEC, &[1]));
                    continue;
                }
                Item::Clear(message) => (message, false),
                Item::Protected(message) => (message, true),
            };
            let mut overhead = HEADER + MESSAGE_HEADER;
            if protected {
                overhead += PROTECTION + records.peer_cid.len();
            }
            let length = message.body.len();
            let fits = used + overhead + length <= self.mtu;
            let most = if fits {
                length
            } else {
                self.mtu.saturating_sub(overhead).max(1)
            };
            let mut offset = 0;
            loop {
                let part = most.min(length - offset);
                let content = message.fragment(offset, part);
                used = add(records.write_in(protected, rng, content_type::HANDSHAKE, &content));
                offset += part;
                if offset >= length {
                    break;
                }
            }
        }
        if !datagram.is_empty() {
            datagrams.push(Bytes::from(datagram));
        }
        datagrams
    }
}
