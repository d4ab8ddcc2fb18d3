//! Planted streams: what an IUT sends and receives, and which checks object.

use crate::{CheckConfig, Checks};
use bytes::Bytes;
use core::time::Duration;
use fotaproof_trace::{Datagram, Event, EventKind, Finding, FindingSource, Grade, Point, Toward};
use fotaproof_wire::coap::{BlockValue, Code, RawMessage, Type, option};

pub(crate) const IUT: &str = "10.0.0.1:40000";
pub(crate) const SERVER: &str = "10.0.0.2:5683";

/// A stream under construction.
pub(crate) struct Stream {
    checks: Checks,
    findings: Vec<Finding>,
    no: u64,
    at: Duration,
    iut: String,
    peer: String,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self::with(CheckConfig::default())
    }

    pub(crate) fn with(config: CheckConfig) -> Self {
        Self {
            checks: Checks::new(config),
            findings: Vec::new(),
            no: 0,
            at: Duration::ZERO,
            iut: IUT.to_owned(),
            peer: SERVER.to_owned(),
        }
    }

    /// The IUT comes back from another port.
    pub(crate) fn moves(&mut self, iut: &str) -> &mut Self {
        self.iut = iut.to_owned();
        self
    }

    /// The other side comes from another port.
    pub(crate) fn peer_moves(&mut self, peer: &str) -> &mut Self {
        self.peer = peer.to_owned();
        self
    }

    pub(crate) fn event(&mut self, ms: u64, kind: EventKind) -> &mut Self {
        self.no += 1;
        self.at = Duration::from_millis(ms);
        self.checks.on_event(
            &Event {
                no: self.no,
                at: self.at,
                kind,
            },
            &mut self.findings,
        );
        self
    }

    fn datagram(&mut self, ms: u64, toward: Toward, bytes: Vec<u8>, planned: bool, altered: bool) -> &mut Self {
        let (iut, server) = (self.iut.parse().unwrap(), self.peer.parse().unwrap());
        let (src, dst) = if toward == Toward::Peer {
            (iut, server)
        } else {
            (server, iut)
        };
        let datagram = self.no + 1;
        let payload = Bytes::from(bytes);
        let largest = payload.len() as u16 + 28;
        self.event(
            ms,
            EventKind::Datagram(Datagram {
                point: Point::Iut,
                toward,
                datagram,
                src,
                dst,
                payload,
                packets: 1,
                largest,
                altered,
                planned,
            }),
        )
    }

    /// The IUT sends.
    pub(crate) fn sends(&mut self, ms: u64, message: &RawMessage) -> &mut Self {
        self.datagram(ms, Toward::Peer, wire(message), false, false)
    }

    /// The IUT sends bytes.
    pub(crate) fn sends_bytes(&mut self, ms: u64, bytes: &[u8]) -> &mut Self {
        self.datagram(ms, Toward::Peer, bytes.to_vec(), false, false)
    }

    /// A message reaches the IUT.
    pub(crate) fn gets(&mut self, ms: u64, message: &RawMessage) -> &mut Self {
        self.datagram(ms, Toward::Iut, wire(message), false, false)
    }

    /// A stimulus of the harness reaches the IUT.
    pub(crate) fn gets_planned(&mut self, ms: u64, message: &RawMessage) -> &mut Self {
        self.datagram(ms, Toward::Iut, wire(message), true, false)
    }

    /// Bytes reach the IUT.
    pub(crate) fn gets_bytes(&mut self, ms: u64, bytes: &[u8]) -> &mut Self {
        self.datagram(ms, Toward::Iut, bytes.to_vec(), false, false)
    }

    /// A message reaches the IUT with changed bytes.
    pub(crate) fn gets_altered(&mut self, ms: u64, message: &RawMessage) -> &mut Self {
        self.datagram(ms, Toward::Iut, wire(message), false, true)
    }

    /// A request reaches the IUT and is answered 10 ms later.
    pub(crate) fn exchange(&mut self, ms: u64, request: &RawMessage, answer: &RawMessage) -> &mut Self {
        self.gets(ms, request).sends(ms + 10, answer)
    }

    /// A request of the IUT, answered 10 ms later.
    pub(crate) fn asks(&mut self, ms: u64, request: &RawMessage, answer: &RawMessage) -> &mut Self {
        self.sends(ms, request).gets(ms + 10, answer)
    }

    /// All findings.
    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        self.checks.finish(self.at, &mut self.findings);
        core::mem::take(&mut self.findings)
    }

    /// Which checks object, and how strongly.
    pub(crate) fn objections(&mut self) -> Vec<(String, Grade)> {
        let id = |finding: Finding| match finding.source {
            FindingSource::Check(id) => (id, finding.grade),
            other => (other.to_string(), finding.grade),
        };
        self.findings().into_iter().map(id).collect()
    }

    /// Nobody objects.
    #[track_caller]
    pub(crate) fn holds(&mut self) {
        let findings = self.findings();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    /// Exactly this one is found.
    #[track_caller]
    pub(crate) fn breaks(&mut self, check: &str, grade: Grade) {
        assert_eq!(self.objections(), [(check.to_owned(), grade)]);
    }
}

/// The bytes of a message, its options put in order.
fn wire(message: &RawMessage) -> Vec<u8> {
    let mut message = message.clone();
    message.options.sort_by_key(|option| option.number);
    message.encode()
}

/// A message.
pub(crate) fn message(kind: Type, code: Code, id: u16, token: &[u8]) -> RawMessage {
    RawMessage::new(kind, code, id, token)
}

/// A Confirmable request.
pub(crate) fn request(code: Code, id: u16, token: &[u8], path: &str) -> RawMessage {
    on_path(message(Type::Con, code, id, token), path)
}

/// With a path.
pub(crate) fn on_path(message: RawMessage, path: &str) -> RawMessage {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .fold(message, |message, segment| {
            message.with_option(option::URI_PATH, segment.as_bytes())
        })
}

/// A piggybacked response.
pub(crate) fn ack(code: Code, id: u16, token: &[u8]) -> RawMessage {
    message(Type::Ack, code, id, token)
}

/// An Empty message.
pub(crate) fn empty(kind: Type, id: u16) -> RawMessage {
    message(kind, Code::EMPTY, id, &[])
}

pub(crate) trait Also {
    fn block1(self, block: &str) -> RawMessage;
    fn block2(self, block: &str) -> RawMessage;
    fn observe(self, number: u32) -> RawMessage;
    fn format(self, number: u8) -> RawMessage;
    fn query(self, query: &str) -> RawMessage;
    fn payload(self, payload: impl Into<Vec<u8>>) -> RawMessage;
}

impl Also for RawMessage {
    fn block1(self, block: &str) -> RawMessage {
        let value = block.parse::<BlockValue>().unwrap().encode();
        self.with_option(option::BLOCK1, value)
    }

    fn block2(self, block: &str) -> RawMessage {
        let value = block.parse::<BlockValue>().unwrap().encode();
        self.with_option(option::BLOCK2, value)
    }

    fn observe(self, number: u32) -> RawMessage {
        self.with_option(option::OBSERVE, fotaproof_wire::coap::uint::encode(u64::from(number)))
    }

    fn format(self, number: u8) -> RawMessage {
        self.with_option(option::CONTENT_FORMAT, if number == 0 { vec![] } else { vec![number] })
    }

    fn query(self, query: &str) -> RawMessage {
        self.with_option(option::URI_QUERY, query.as_bytes())
    }

    fn payload(self, payload: impl Into<Vec<u8>>) -> RawMessage {
        Self {
            payload: payload.into(),
            ..self
        }
    }
}

/// A Register with all that it needs.
pub(crate) fn register(id: u16, token: &[u8]) -> RawMessage {
    request(Code::POST, id, token, "/rd")
        .format(40)
        .query("ep=dev")
        .query("lwm2m=1.1")
        .query("lt=300")
        .payload(&b"</1/0>,</3/0>,</5/0>"[..])
}

/// The answer to a Register.
pub(crate) fn created(id: u16, token: &[u8]) -> RawMessage {
    ack(Code::CREATED, id, token)
        .with_option(option::LOCATION_PATH, *b"rd")
        .with_option(option::LOCATION_PATH, *b"1")
}
