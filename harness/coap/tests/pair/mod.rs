//! Two endpoints and a wire between them, in virtual time.
#![expect(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use coap_lite::{MessageClass, Packet};
use fotaproof_coap::{Config, Endpoint, Event, Quirks, Request, RequestId, Token, Transmit};
use fotaproof_wire::coap::{Code, build, summary};

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn client() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 40000))
}

pub fn server() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 5683))
}

/// No randomness in the time-outs: 2, 4, 8, 16, 32 seconds.
pub fn fixed() -> Config {
    Config {
        ack_random_factor: 1.0,
        ..Config::default()
    }
}

/// The same with a planned misbehaviour.
pub fn quirks(quirks: Quirks) -> Config {
    Config { quirks, ..fixed() }
}

pub fn packet(code: Code, path: &str, payload: &[u8]) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = MessageClass::from(code);
    build::set_path(&mut packet, path);
    packet.payload = payload.to_vec();
    packet
}

pub fn get(path: &str) -> Request {
    Request::confirmable(packet(Code::GET, path, b""))
}

pub fn token(text: &str) -> Token {
    Token::new(text.as_bytes()).unwrap()
}

/// What to do with the datagram of this index on its way in this direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Pass,
    Drop,
    Twice,
    Late(Duration),
}

pub struct Pair {
    pub now: Duration,
    pub latency: Duration,
    pub client: Endpoint,
    pub server: Endpoint,
    pub fate: Box<dyn FnMut(bool, usize) -> Fate>,
    /// Time in milliseconds, direction and summary of everything sent.
    pub log: Vec<String>,
    pub client_events: Vec<Event>,
    pub server_events: Vec<Event>,
    flying: BTreeMap<(Duration, u64), (bool, Vec<u8>)>,
    sent: u64,
    counts: [usize; 2],
}

impl Pair {
    pub fn new(client: Config, server: Config) -> Self {
        Self {
            now: Duration::ZERO,
            latency: ms(10),
            client: Endpoint::new(client, 1),
            server: Endpoint::new(server, 2),
            fate: Box::new(|_, _| Fate::Pass),
            log: Vec::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
            flying: BTreeMap::new(),
            sent: 0,
            counts: [0; 2],
        }
    }

    /// Drops these datagrams of the client and these of the server, counted from 0.
    pub fn dropping(mut self, up: &'static [usize], down: &'static [usize]) -> Self {
        self.fate = Box::new(move |is_up, index| {
            if if is_up { up } else { down }.contains(&index) {
                Fate::Drop
            } else {
                Fate::Pass
            }
        });
        self
    }

    fn collect(&mut self) {
        for up in [true, false] {
            while let Some(Transmit { bytes, .. }) = if up {
                self.client.poll_transmit()
            } else {
                self.server.poll_transmit()
            } {
                let index = self.counts[usize::from(up)];
                self.counts[usize::from(up)] += 1;
                let fate = (self.fate)(up, index);
                let mark = match fate {
                    Fate::Drop => " lost",
                    Fate::Twice => " twice",
                    _ => "",
                };
                let arrow = if up { "->" } else { "<-" };
                self.log
                    .push(format!("{:>6} {arrow} {}{mark}", self.now.as_millis(), summary(&bytes)));
                let (copies, extra) = match fate {
                    Fate::Pass => (1, Duration::ZERO),
                    Fate::Drop => (0, Duration::ZERO),
                    Fate::Twice => (2, Duration::ZERO),
                    Fate::Late(extra) => (1, extra),
                };
                for _ in 0..copies {
                    self.sent += 1;
                    self.flying
                        .insert((self.now + self.latency + extra, self.sent), (up, bytes.to_vec()));
                }
            }
        }
    }

    /// Runs until `end` or until nothing is left to happen; `serve` is called for each new request.
    pub fn run(&mut self, end: Duration, mut serve: impl FnMut(&mut Endpoint, Duration, RequestId, Packet)) {
        loop {
            while let Some(event) = self.server.poll_event() {
                if let Event::Request { id, packet, .. } = &event {
                    serve(&mut self.server, self.now, *id, packet.clone());
                }
                self.server_events.push(event);
            }
            while let Some(event) = self.client.poll_event() {
                self.client_events.push(event);
            }
            self.collect();
            let times = [
                self.flying.keys().next().map(|key| key.0),
                self.client.poll_deadline(),
                self.server.poll_deadline(),
            ];
            let Some(next) = times.into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = self.now.max(end);
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                let (up, bytes) = entry.remove();
                if up {
                    self.server.handle_datagram(self.now, client(), &bytes);
                } else {
                    self.client.handle_datagram(self.now, server(), &bytes);
                }
            }
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
    }

    /// Runs with a server that answers every GET 2.05 with the path and all else 2.04.
    pub fn run_plain(&mut self, end: Duration) {
        self.run(end, |server, now, id, request| {
            let mut response = Packet::new();
            let is_get = Code::from(request.header.code) == Code::GET;
            response.header.code = MessageClass::from(if is_get { Code::CONTENT } else { Code::CHANGED });
            if is_get {
                response.payload = build::path(&request).into_bytes();
            }
            server.respond(now, id, response);
        });
    }

    pub fn run_mute(&mut self, end: Duration) {
        self.run(end, |_, _, _, _| {});
    }

    /// Sends a message of our own making to the server.
    pub fn inject(&mut self, bytes: &[u8]) {
        self.server.handle_datagram(self.now, client(), bytes);
    }

    pub fn answer(code: Code) -> Packet {
        let mut response = Packet::new();
        response.header.code = MessageClass::from(code);
        response
    }

    /// Number of client events of a kind.
    pub fn count(&self, kind: fn(&Event) -> bool) -> usize {
        self.client_events.iter().filter(|event| kind(event)).count()
    }

    pub fn ladder(&self) -> String {
        self.log.join("\n")
    }
}
