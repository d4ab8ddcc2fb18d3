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

#[cfg(test)]
mod tests {
    use super::*;
    use fotaproof_dtls::{Psk, Server, ServerConfig, ServerOutput};

    const MESSAGE: &[u8] = &[0x40, 1, 0, 7];
    const ANSWER: &[u8] = &[0x60, 69, 0, 7];
    /// An Acknowledgement, which waits for nothing.
    const OTHER: &[u8] = &[0x60, 0, 0, 8];

    struct Rig {
        device: Secured,
        server: Server,
        now: Duration,
        boots: u32,
        port: u16,
        /// What the server was told, and from which port.
        heard: Vec<(u16, Bytes)>,
        told: Vec<DtlsEvent>,
        opened: Vec<Inner>,
    }

    impl Rig {
        fn new(key: &[u8], connection_id: bool) -> Self {
            let mut config = ClientConfig::new(Psk::new("dev", key));
            config.connection_id = connection_id.then(Vec::new);
            config.timings.retransmissions = 1;
            let mut of_server = ServerConfig::new([Psk::new("dev", b"0123456789abcdef".as_slice())]);
            of_server.connection_id = Some(4);
            Self {
                device: Secured::new("main".to_owned(), "192.0.2.2:5684".parse().unwrap(), config, 7),
                server: Server::new(of_server, 8),
                now: Duration::from_secs(1),
                boots: 1,
                port: 50_000,
                heard: Vec::new(),
                told: Vec::new(),
                opened: Vec::new(),
            }
        }

        fn send(&mut self, message: &'static [u8]) {
            self.device
                .send(self.now, self.boots, self.port, Bytes::from_static(message));
            self.settle();
        }

        /// Lets both sides talk until nobody has anything to say.
        fn settle(&mut self) {
            loop {
                let mut busy = false;
                while let Some(secret) = self.device.poll() {
                    busy = true;
                    match secret {
                        Secret::Event(event) => self.told.push(event),
                        Secret::Datagram(bytes, inner) => {
                            self.opened.push(inner);
                            let from = SocketAddr::from(([192, 0, 2, 10], self.device.port()));
                            self.server.handle_datagram(self.now, from, &bytes);
                        }
                    }
                }
                while let Some(ServerOutput { peer, output }) = self.server.poll_output() {
                    busy = true;
                    match output {
                        Output::Datagram(bytes) => {
                            self.opened.push(self.device.open(false, &bytes));
                            if peer.port() == self.port {
                                for message in self.device.datagram(self.now, &bytes) {
                                    assert_eq!(message, ANSWER);
                                }
                            }
                        }
                        Output::Data(bytes) => {
                            self.heard.push((peer.port(), bytes));
                            assert!(self.server.send(self.now, peer, ANSWER));
                        }
                        _ => {}
                    }
                }
                if !busy {
                    return;
                }
            }
        }

        fn heard_from(&self, port: u16) -> usize {
            self.heard.iter().filter(|(from, _)| *from == port).count()
        }
    }

    #[test]
    fn a_message_waits_for_the_handshake_and_both_ways_can_be_read() {
        let mut rig = Rig::new(b"0123456789abcdef", false);
        rig.send(MESSAGE);
        assert_eq!(rig.heard, [(50_000, Bytes::from_static(MESSAGE))]);
        assert_eq!(rig.device.truth.handshakes, 1);
        let messages: Vec<&Inner> = rig
            .opened
            .iter()
            .filter(|inner| matches!(inner, Inner::Message(_)))
            .collect();
        assert_eq!(
            messages,
            [
                &Inner::Message(Bytes::from_static(MESSAGE)),
                &Inner::Message(Bytes::from_static(ANSWER))
            ]
        );
        assert_eq!(rig.opened[0], Inner::Records("ClientHello".to_owned()));
        assert!(matches!(rig.told[0], DtlsEvent::Secrets { .. }));
        assert!(matches!(&rig.told[1], DtlsEvent::Established { identity, .. } if identity == "dev"));
        // a second message needs no second handshake
        rig.send(OTHER);
        assert_eq!((rig.heard.len(), rig.device.truth.handshakes), (2, 1));
    }

    #[test]
    fn a_reboot_forgets_the_association_and_a_new_port_does_without_a_connection_id() {
        let mut rig = Rig::new(b"0123456789abcdef", false);
        rig.send(MESSAGE);
        rig.boots = 2;
        rig.send(MESSAGE);
        assert_eq!(rig.device.truth.handshakes, 2);
        rig.port = 50_001;
        rig.send(MESSAGE);
        assert_eq!((rig.device.truth.handshakes, rig.heard_from(50_001)), (3, 1));
    }

    #[test]
    fn with_a_connection_id_the_association_goes_on_at_another_port() {
        let mut rig = Rig::new(b"0123456789abcdef", true);
        rig.send(MESSAGE);
        assert!(rig.device.truth.connection_id);
        rig.port = 50_001;
        rig.send(MESSAGE);
        assert_eq!((rig.device.truth.handshakes, rig.heard_from(50_001)), (1, 1));
    }

    #[test]
    fn a_wrong_key_is_refused_and_nothing_gets_through() {
        let mut rig = Rig::new(b"another key here", false);
        rig.send(MESSAGE);
        assert_eq!((rig.device.truth.handshakes, rig.device.truth.refused), (0, 1));
        assert_eq!(rig.heard, []);
        assert!(matches!(rig.told.last(), Some(DtlsEvent::Failed { .. })));
        // the next message tries again
        rig.send(MESSAGE);
        assert_eq!(rig.device.truth.refused, 2);
    }

    #[test]
    fn an_association_without_answers_is_given_up_after_93_s() {
        for (later, handshakes) in [(92, 1), (93, 2)] {
            let mut rig = Rig::new(b"0123456789abcdef", false);
            rig.send(OTHER);
            // the server is gone; nobody hears this
            rig.device
                .send(rig.now, rig.boots, rig.port, Bytes::from_static(MESSAGE));
            while rig.device.poll().is_some() {}
            rig.now += Duration::from_secs(later);
            rig.send(MESSAGE);
            assert_eq!(rig.device.truth.handshakes, handshakes, "{later} s later");
        }
    }
}
