//! DTLS of a device of the harness: its association with the server under test, and what is in the records of both sides.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_dtls::{self as dtls, Client, ClientConfig, Output, Suite};
use fotaproof_trace::DtlsEvent;

/// Messages that wait for a handshake at the most; the oldest goes first, and CoAP sends it again.
const WAITING: usize = 16;
/// How long a confirmable message may stay unanswered before the association is taken for lost: MAX_TRANSMIT_WAIT (RFC 7252
/// section 4.8.2).
const LOST_AFTER: Duration = Duration::from_secs(93);

/// What is in a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    /// Itself: there is no DTLS.
    Clear,
    /// This message of CoAP, in a record.
    Message(Bytes),
    /// No message that could be read; the records in words.
    Records(String),
}

impl Inner {
    /// The message of CoAP in a datagram, if it can be read.
    pub(crate) fn message<'a>(&'a self, datagram: &'a Bytes) -> Option<&'a Bytes> {
        match self {
            Self::Clear => Some(datagram),
            Self::Message(message) => Some(message),
            Self::Records(_) => None,
        }
    }
}

/// What a secured device gives.
#[derive(Debug)]
pub(crate) enum Secret {
    /// A datagram to the server.
    Datagram(Bytes, Inner),
    /// Something to tell.
    Event(DtlsEvent),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is no association.
    #[default]
    Idle,
    /// The handshake is under way.
    Handshake,
    /// It can be used.
    Up,
}

/// What is true of a device's DTLS since it was first switched on.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecureTruth {
    /// Handshakes that ended well.
    pub(crate) handshakes: u32,
    /// Handshakes that failed.
    pub(crate) refused: u32,
    /// The cipher suite of the last handshake.
    pub(crate) suite: Option<Suite>,
    /// The server gave a connection id in the last handshake.
    pub(crate) connection_id: bool,
    /// Why the last handshake failed.
    pub(crate) reason: Option<String>,
}

/// The association of a device with the server.
#[derive(Debug)]
pub(crate) struct Secured {
    device: String,
    server: SocketAddr,
    config: ClientConfig,
    seed: u64,
    /// Associations so far.
    life: u64,
    client: Option<Client>,
    /// The association before, whose records may still be on the way.
    former: Option<Client>,
    stage: Stage,
    /// Boots of the device when the association was made: it does not outlive them.
    boots: u32,
    /// The port that it speaks from.
    port: u16,
    waiting: VecDeque<Bytes>,
    /// Since when a confirmable message waits for any sign of the server.
    unanswered: Option<Duration>,
    out: VecDeque<Secret>,
    pub(crate) truth: SecureTruth,
}

impl Secured {
    /// Security of a device with the server at this address; nothing is sent yet.
    pub(crate) fn new(device: String, server: SocketAddr, config: ClientConfig, seed: u64) -> Self {
        Self {
            device,
            server,
            config,
            seed,
            life: 0,
            client: None,
            former: None,
            stage: Stage::Idle,
            boots: 0,
            port: 0,
            waiting: VecDeque::new(),
            unanswered: None,
            out: VecDeque::new(),
            truth: SecureTruth::default(),
        }
    }

    /// The secure address of the server.
    pub(crate) const fn server(&self) -> SocketAddr {
        self.server
    }

    /// The port that the association speaks from.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Sends a message from a port; a handshake goes before it where there is no association that reaches so far.
    pub(crate) fn send(&mut self, now: Duration, boots: u32, port: u16, message: Bytes) {
        let lost = self.unanswered.is_some_and(|since| now >= since + LOST_AFTER);
        let moved = port != self.port && !self.truth.connection_id;
        if self.client.is_none() || boots != self.boots || lost || (moved && self.stage != Stage::Idle) {
            self.begin_anew();
        }
        (self.boots, self.port) = (boots, port);
        let confirmable = message.first().is_some_and(|first| first >> 4 & 3 == 0);
        if confirmable && self.stage == Stage::Up {
            self.unanswered.get_or_insert(now);
        }
        let Some(client) = &mut self.client else { return };
        match self.stage {
            Stage::Up => {
                let _ = client.send(now, &message);
            }
            Stage::Handshake | Stage::Idle => {
                if self.stage == Stage::Idle {
                    client.connect(now);
                    self.stage = Stage::Handshake;
                }
                if !self.waiting.contains(&message) {
                    if self.waiting.len() >= WAITING {
                        self.waiting.pop_front();
                    }
                    self.waiting.push_back(message);
                }
            }
        }
        // what comes of sending is never a message
        let _ = self.pump(now);
    }

    /// Takes a datagram of the server and gives the messages in it.
    pub(crate) fn datagram(&mut self, now: Duration, bytes: &[u8]) -> Vec<Bytes> {
        if let Some(client) = &mut self.client {
            client.handle_datagram(now, bytes);
        }
        self.pump(now)
    }

    /// Does what is due and gives the messages that came of it.
    pub(crate) fn handle_timeout(&mut self, now: Duration) -> Vec<Bytes> {
        match &mut self.client {
            Some(client) if client.poll_deadline().is_some_and(|at| at <= now) => client.handle_timeout(now),
            _ => return Vec::new(),
        }
        self.pump(now)
    }

    pub(crate) fn poll_deadline(&self) -> Option<Duration> {
        self.client.as_ref().and_then(Client::poll_deadline)
    }

    /// The next thing that it gives.
    pub(crate) fn poll(&mut self) -> Option<Secret> {
        self.out.pop_front()
    }

    /// A socket of the device is closed: a handshake from there is over.
    pub(crate) fn closed(&mut self, port: u16) {
        if port == self.port && self.stage == Stage::Handshake {
            self.begin_anew();
            self.client = None;
        }
    }

    /// What is in a datagram of the device or of the server.
    pub(crate) fn open(&self, by_device: bool, datagram: &[u8]) -> Inner {
        let message = [&self.client, &self.former]
            .into_iter()
            .flatten()
            .find_map(|client| client.open(by_device, datagram));
        match message {
            Some(message) => Inner::Message(message),
            None => Inner::Records(dtls::describe(datagram)),
        }
    }

    fn begin_anew(&mut self) {
        self.life += 1;
        let seed = self.seed ^ self.life.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let client = Client::new(self.config.clone(), seed);
        if let Some(old) = self.client.replace(client)
            && self.stage == Stage::Up
        {
            self.former = Some(old);
        }
        self.stage = Stage::Idle;
        self.unanswered = None;
        self.waiting.clear();
    }

    /// Works through what the association says.
    fn pump(&mut self, now: Duration) -> Vec<Bytes> {
        let mut messages = Vec::new();
        while let Some(output) = self.client.as_mut().and_then(Client::poll_output) {
            match output {
                Output::Datagram(bytes) => {
                    let inner = self.open(true, &bytes);
                    self.out.push_back(Secret::Datagram(bytes, inner));
                }
                Output::Data(bytes) => {
                    self.unanswered = None;
                    messages.push(bytes);
                }
                Output::Established(established) => {
                    self.stage = Stage::Up;
                    let connection_id = established
                        .connection_ids
                        .as_ref()
                        .is_some_and(|ids| !ids.peer.is_empty());
                    self.truth.handshakes += 1;
                    self.truth.suite = Some(established.suite);
                    self.truth.connection_id = connection_id;
                    self.out.push_back(Secret::Event(DtlsEvent::Established {
                        device: self.device.clone(),
                        suite: established.suite.name().to_owned(),
                        identity: String::from_utf8_lossy(&established.identity).into_owned(),
                        connection_id,
                    }));
                    for message in core::mem::take(&mut self.waiting) {
                        if let Some(client) = &mut self.client {
                            let _ = client.send(now, &message);
                        }
                    }
                }
                Output::Failed(failure) => {
                    let reason = failure.to_string();
                    if self.stage == Stage::Handshake {
                        self.truth.refused += 1;
                        self.truth.reason = Some(reason.clone());
                    }
                    self.out.push_back(Secret::Event(DtlsEvent::Failed {
                        device: self.device.clone(),
                        reason,
                    }));
                    self.over();
                }
                Output::Closed => {
                    self.out.push_back(Secret::Event(DtlsEvent::Closed {
                        device: self.device.clone(),
                    }));
                    self.over();
                }
                Output::KeyLog(line) => self.out.push_back(Secret::Event(DtlsEvent::Secrets { line })),
                // a client's server does not move
                Output::Moved { .. } => {}
            }
        }
        messages
    }

    /// The association is over; the next message begins another.
    fn over(&mut self) {
        self.stage = Stage::Idle;
        self.unanswered = None;
        self.waiting.clear();
    }
}
