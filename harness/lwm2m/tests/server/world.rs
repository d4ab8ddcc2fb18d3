//! A server, a scripted peer and the time between them: each datagram takes 20 ms, nothing waits.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::{Config, Endpoint, Event, Request, RequestId, Transmit};
use fotaproof_lwm2m::repository::{Repository, RepositoryEvent};
use fotaproof_lwm2m::server::{Server, ServerEvent};
use fotaproof_wire::coap::{Code, build, content_format, summary};

/// One way.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);
/// The object list of the scripted device.
pub(crate) const LINKS: &str = "</>;rt=\"oma.lwm2m\",</1/0>,</3/0>,</5/0>";

/// What the peer talks to.
#[expect(clippy::large_enum_variant, reason = "one for each test")]
pub(crate) enum Side {
    Server(Server),
    Repository(Repository),
}

/// How the peer answers a request.
pub(crate) type Script = Box<dyn FnMut(&mut Endpoint, Duration, RequestId, &Packet)>;

/// Whether a datagram is lost; the number counts all datagrams from 0.
pub(crate) type Loss = Box<dyn FnMut(usize, &[u8]) -> bool>;

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) side: Side,
    pub(crate) peer: Endpoint,
    pub(crate) peer_address: SocketAddr,
    pub(crate) script: Script,
    pub(crate) loss: Loss,
    /// Every datagram, lost or not, as a line.
    pub(crate) ladder: Vec<String>,
    /// What the server told and nobody asked for yet.
    pub(crate) events: VecDeque<ServerEvent>,
    pub(crate) served: VecDeque<RepositoryEvent>,
    /// Responses and notifications that the peer got.
    pub(crate) answers: Vec<Packet>,
    flying: VecDeque<(Duration, bool, Transmit, SocketAddr)>,
    count: usize,
}

pub(crate) fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5683))
}

pub(crate) fn device_address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], port))
}

pub(crate) fn answer(code: Code) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = code.into();
    packet
}

pub(crate) fn text(payload: &str) -> Packet {
    let mut packet = answer(Code::CONTENT);
    build::set_content_format(&mut packet, content_format::TEXT);
    packet.payload = payload.as_bytes().to_vec();
    packet
}

impl World {
    pub(crate) fn new(side: Side) -> Self {
        Self {
            now: Duration::ZERO,
            side,
            peer: Endpoint::new(
                Config {
                    nstart: usize::MAX,
                    ..Config::default()
                },
                99,
            ),
            peer_address: device_address(1000),
            script: Box::new(|endpoint, now, id, _| endpoint.respond(now, id, answer(Code::NOT_FOUND))),
            loss: Box::new(|_, _| false),
            ladder: Vec::new(),
            events: VecDeque::new(),
            served: VecDeque::new(),
            answers: Vec::new(),
            flying: VecDeque::new(),
            count: 0,
        }
    }

    pub(crate) fn server(&mut self) -> &mut Server {
        match &mut self.side {
            Side::Server(server) => server,
            Side::Repository(_) => panic!("the test has no server"),
        }
    }

    pub(crate) fn repository(&mut self) -> &mut Repository {
        match &mut self.side {
            Side::Repository(repository) => repository,
            Side::Server(_) => panic!("the test has no repository"),
        }
    }

    /// The peer starts anew at another port.
    pub(crate) fn restart_peer(&mut self, port: u16) {
        self.peer = Endpoint::new(
            Config {
                nstart: usize::MAX,
                ..Config::default()
            },
            u64::from(port),
        );
        self.peer_address = device_address(port);
    }

    /// The peer sends a request.
    pub(crate) fn ask(&mut self, packet: Packet) {
        let now = self.now;
        self.peer.request(now, server_address(), Request::confirmable(packet));
    }

    /// The peer registers, and the answer arrives.
    pub(crate) fn register(&mut self, query: &str) -> Code {
        let mut packet = answer(Code::POST);
        build::set_path(&mut packet, "/rd");
        build::set_query(&mut packet, query.split('&'));
        build::set_content_format(&mut packet, content_format::LINK_FORMAT);
        packet.payload = LINKS.as_bytes().to_vec();
        self.ask(packet);
        self.run(Duration::from_secs(1));
        self.last_code()
    }

    pub(crate) fn last_code(&self) -> Code {
        self.answers
            .last()
            .map_or(Code::EMPTY, |packet| packet.header.code.into())
    }

    fn collect(&mut self) {
        let mut sent = Vec::new();
        match &mut self.side {
            Side::Server(server) => {
                sent.extend(core::iter::from_fn(|| server.poll_transmit()).map(|transmit| (false, transmit)));
                self.events.extend(core::iter::from_fn(|| server.poll_event()));
            }
            Side::Repository(repository) => {
                sent.extend(core::iter::from_fn(|| repository.poll_transmit()).map(|transmit| (false, transmit)));
                self.served.extend(core::iter::from_fn(|| repository.poll_event()));
            }
        }
        while let Some(event) = self.peer.poll_event() {
            match event {
                Event::Request { id, packet, .. } => (self.script)(&mut self.peer, self.now, id, &packet),
                Event::Response { packet, .. } | Event::Notification { packet, .. } => self.answers.push(packet),
                _ => {}
            }
        }
        sent.extend(core::iter::from_fn(|| self.peer.poll_transmit()).map(|transmit| (true, transmit)));
        for (to_server, transmit) in sent {
            let lost = (self.loss)(self.count, &transmit.bytes);
            self.count += 1;
            let arrow = if to_server { "<-" } else { "->" };
            let mark = if lost { "  lost" } else { "" };
            self.ladder.push(format!(
                "{:>7.3} {arrow} {}{mark}",
                self.now.as_secs_f64(),
                summary(&transmit.bytes)
            ));
            if !lost {
                let from = if to_server { self.peer_address } else { server_address() };
                self.flying.push_back((self.now + LATENCY, to_server, transmit, from));
            }
        }
    }

    /// Lets everything happen that happens within a time.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.collect();
            let deadline = match &self.side {
                Side::Server(server) => server.poll_deadline(),
                Side::Repository(repository) => repository.poll_deadline(),
            };
            let flying = self.flying.front().map(|(at, ..)| *at);
            let next = [deadline, self.peer.poll_deadline(), flying]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            if flying.is_some_and(|at| at <= now) {
                let (_, to_server, transmit, from) = self.flying.pop_front().expect("just seen");
                self.deliver(to_server, &transmit, from);
                continue;
            }
            self.peer.handle_timeout(now);
            match &mut self.side {
                Side::Server(server) => server.handle_timeout(now),
                Side::Repository(repository) => repository.handle_timeout(now),
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, to_server: bool, transmit: &Transmit, from: SocketAddr) {
        let now = self.now;
        if !to_server {
            // What goes to a port of before the restart finds nobody.
            if transmit.to == self.peer_address {
                self.peer.handle_datagram(now, from, &transmit.bytes);
            }
            return;
        }
        match &mut self.side {
            Side::Server(server) => server.handle_datagram(now, from, &transmit.bytes),
            Side::Repository(repository) => repository.handle_datagram(now, from, &transmit.bytes),
        }
    }

    /// Bytes that the peer sends outside its endpoint.
    pub(crate) fn inject(&mut self, bytes: impl Into<Bytes>) {
        self.peer.send_raw(server_address(), bytes);
    }

    /// The next event that a pattern takes; those before it are dropped.
    pub(crate) fn event<T>(&mut self, mut pattern: impl FnMut(&ServerEvent) -> Option<T>) -> T {
        while let Some(event) = self.events.pop_front() {
            if let Some(found) = pattern(&event) {
                return found;
            }
        }
        panic!("no such event; the ladder:\n{}", self.ladder.join("\n"));
    }
}
