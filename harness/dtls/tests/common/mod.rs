//! A client and a server with a link between them, in virtual time.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_dtls::{Client, ClientConfig, Established, Failure, Output, Psk, Server, ServerConfig};

pub(crate) const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 50_000);

pub(crate) fn psk() -> Psk {
    Psk::new("device", [7; 16])
}

pub(crate) fn client_config() -> ClientConfig {
    ClientConfig::new(psk())
}

pub(crate) fn server_config() -> ServerConfig {
    ServerConfig::new([psk(), Psk::new("other", [8; 16])])
}

/// What a link does to datagrams, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) loss: u32,
    pub(crate) duplication: u32,
    /// Delayed by up to two seconds instead of 20 ms.
    pub(crate) reordering: u32,
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) now: Duration,
    /// The client's address as the server sees it.
    pub(crate) address: SocketAddr,
    pub(crate) weather: Weather,
    rng: fastrand::Rng,
    /// When, to the server, in order; address; datagram.
    flying: Vec<(Duration, u64, bool, SocketAddr, Bytes)>,
    order: u64,
    pub(crate) at_client: Vec<Output>,
    pub(crate) at_server: Vec<(SocketAddr, Output)>,
    /// All that was sent, by the client or not.
    pub(crate) sent: Vec<(bool, Bytes)>,
}

impl World {
    pub(crate) fn new(client: ClientConfig, server: ServerConfig, seed: u64) -> Self {
        Self {
            client: Client::new(client, seed),
            server: Server::new(server, seed ^ 0x5eed),
            now: Duration::ZERO,
            address: CLIENT.into(),
            weather: Weather::default(),
            rng: fastrand::Rng::with_seed(seed ^ 0x11),
            flying: Vec::new(),
            order: 0,
            at_client: Vec::new(),
            at_server: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Puts a datagram on its way.
    pub(crate) fn fly(&mut self, to_server: bool, address: SocketAddr, datagram: &Bytes) {
        self.sent.push((to_server, datagram.clone()));
        let copies = if self.rng.u32(..100) < self.weather.duplication {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let lost = self.rng.u32(..100) < self.weather.loss;
            let late = self.rng.u32(..100) < self.weather.reordering;
            let delay = Duration::from_millis(if late { self.rng.u64(..2000) } else { 20 });
            if !lost {
                self.order += 1;
                self.flying
                    .push((self.now + delay, self.order, to_server, address, datagram.clone()));
            }
        }
    }

    pub(crate) fn collect(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Datagram(datagram) => self.fly(true, self.address, &datagram),
                other => self.at_client.push(other),
            }
        }
        while let Some(said) = self.server.poll_output() {
            match said.output {
                Output::Datagram(datagram) => self.fly(false, said.peer, &datagram),
                other => self.at_server.push((said.peer, other)),
            }
        }
    }

    /// Until nothing flies and nothing is due, or until a time.
    pub(crate) fn run(&mut self, until: Duration) {
        loop {
            self.collect();
            self.flying.sort_by_key(|flying| (flying.0, flying.1));
            let next = self.flying.first().map(|flying| flying.0);
            let due = [next, self.client.poll_deadline(), self.server.poll_deadline()];
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= until) else {
                return;
            };
            self.now = self.now.max(at);
            while self.flying.first().is_some_and(|flying| flying.0 <= self.now) {
                let (_, _, to_server, address, datagram) = self.flying.remove(0);
                if to_server {
                    self.server.handle_datagram(self.now, address, &datagram);
                } else if address == self.address {
                    self.client.handle_datagram(self.now, &datagram);
                }
            }
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
    }

    /// A handshake on a link that does nothing to it.
    pub(crate) fn connected(client: ClientConfig, server: ServerConfig, seed: u64) -> Self {
        let mut world = Self::new(client, server, seed);
        world.client.connect(Duration::ZERO);
        world.run(Duration::from_secs(1));
        assert!(world.client.is_established(), "{:?}", world.at_client);
        world
    }

    pub(crate) fn data_at_server(&self) -> Vec<&[u8]> {
        self.at_server.iter().filter_map(|(_, output)| bytes(output)).collect()
    }

    pub(crate) fn data_at_client(&self) -> Vec<&[u8]> {
        self.at_client.iter().filter_map(bytes).collect()
    }

    pub(crate) fn client_failures(&self) -> Vec<&Failure> {
        self.at_client.iter().filter_map(failure).collect()
    }

    pub(crate) fn server_failures(&self) -> Vec<&Failure> {
        self.at_server
            .iter()
            .filter_map(|(_, output)| failure(output))
            .collect()
    }

    pub(crate) fn established_at_server(&self) -> Vec<(SocketAddr, &Established)> {
        self.at_server
            .iter()
            .filter_map(|(address, output)| match output {
                Output::Established(established) => Some((*address, established)),
                _ => None,
            })
            .collect()
    }
}

fn bytes(output: &Output) -> Option<&[u8]> {
    match output {
        Output::Data(data) => Some(data),
        _ => None,
    }
}

fn failure(output: &Output) -> Option<&Failure> {
    match output {
        Output::Failed(failure) => Some(failure),
        _ => None,
    }
}
