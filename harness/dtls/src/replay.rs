//! What the fuzz target runs, callable from tests too: every seed of its corpus goes through the same function.

use core::time::Duration;
use std::net::SocketAddr;

use crate::{Client, ClientConfig, Output, Psk, Server, ServerConfig, Suite, describe};

/// Datagrams that one input makes at most.
const STEPS: usize = 400;

/// Datagrams from anywhere, at any time of a handshake and after it: nothing panics, nobody without the key gets data through,
/// and what stands goes on.
///
/// The first byte chooses the configuration. After it stand steps: a byte that says what happens and a length in two bytes, with
/// as many bytes of a datagram.
///
/// # Panics
/// When a property is broken.
pub fn dtls(bytes: &[u8]) {
    let Some((choice, mut rest)) = bytes.split_first() else {
        return;
    };
    let on = |bit: u8| choice >> bit & 1 == 1;
    let psk = Psk::new("fuzzed", [7; 16]);
    let client = ClientConfig {
        suites: vec![Suite::ALL[usize::from(on(0))]],
        connection_id: on(1).then(|| b"cid".to_vec()),
        extended_master_secret: on(2),
        encrypt_then_mac: on(3),
        mtu: if on(4) { 0 } else { 1200 },
        ..ClientConfig::new(psk.clone())
    };
    let server = ServerConfig {
        connection_id: on(1).then_some(4),
        cookies: on(5),
        ..ServerConfig::new([psk])
    };
    let mut ends = Ends {
        client: Client::new(client, 1),
        server: Server::new(server, 2),
        now: Duration::ZERO,
        last: [Vec::new(), Vec::new()],
        said: [Vec::new(), Vec::new()],
    };
    if on(6) {
        ends.client.connect(ends.now);
    }
    for _ in 0..STEPS {
        let Some((header, after)) = rest.split_at_checked(3) else {
            break;
        };
        let length = usize::from(u16::from_be_bytes([header[1], header[2]])).min(after.len());
        let (datagram, after) = after.split_at(length);
        rest = after;
        ends.step(header[0], datagram);
    }
    let _ = describe(bytes);
}

struct Ends {
    client: Client,
    server: Server,
    now: Duration,
    /// The last datagram to the server and to the client.
    last: [Vec<u8>; 2],
    /// What the client and the server were given to send.
    said: [Vec<Vec<u8>>; 2],
}

const ADDRESSES: [([u8; 4], u16); 2] = [([10, 0, 0, 1], 1), ([10, 0, 0, 2], 2)];

impl Ends {
    fn step(&mut self, kind: u8, datagram: &[u8]) {
        let from = SocketAddr::from(ADDRESSES[usize::from(kind >> 4 & 1)]);
        self.now += Duration::from_millis(50);
        match kind & 15 {
            0 => self.server.handle_datagram(self.now, from, datagram),
            1 => self.client.handle_datagram(self.now, datagram),
            // what the peer sent last, changed
            2 | 3 => {
                let to_client = usize::from(kind & 1);
                let mut changed = self.last[to_client].clone();
                for (byte, mask) in changed.iter_mut().zip(datagram) {
                    *byte ^= mask;
                }
                if to_client == 1 {
                    self.client.handle_datagram(self.now, &changed);
                } else {
                    self.server.handle_datagram(self.now, from, &changed);
                }
            }
            4 => {
                self.now += Duration::from_secs(5);
                self.client.handle_timeout(self.now);
                self.server.handle_timeout(self.now);
            }
            5 => self.client.connect(self.now),
            6 => {
                self.said[0].push(datagram.to_vec());
                let _ = self.client.send(self.now, datagram);
            }
            7 => {
                self.said[1].push(datagram.to_vec());
                let _ = self.server.send(self.now, from, datagram);
            }
            8 => self.client.close(self.now),
            9 => self.server.close(self.now, from),
            // everything arrives for a while
            _ => {
                for _ in 0..8 {
                    self.exchange(from, true);
                }
            }
        }
        self.exchange(from, false);
    }

    /// Takes what the two say, and delivers it.
    fn exchange(&mut self, from: SocketAddr, deliver: bool) {
        for _ in 0..32 {
            let mut quiet = true;
            if let Some(output) = self.client.poll_output() {
                quiet = false;
                match output {
                    Output::Datagram(datagram) => {
                        if deliver {
                            self.server.handle_datagram(self.now, from, &datagram);
                        }
                        self.last[0] = datagram.to_vec();
                    }
                    Output::Data(data) => assert!(self.said[1].iter().any(|said| *said == data), "nobody said that"),
                    _ => {}
                }
            }
            if let Some(said) = self.server.poll_output() {
                quiet = false;
                match said.output {
                    Output::Datagram(datagram) => {
                        if deliver {
                            self.client.handle_datagram(self.now, &datagram);
                        }
                        self.last[1] = datagram.to_vec();
                    }
                    Output::Established(established) => assert_eq!(established.identity, b"fuzzed"),
                    Output::Data(data) => assert!(self.said[0].iter().any(|said| *said == data), "nobody said that"),
                    _ => {}
                }
            }
            if quiet {
                return;
            }
        }
    }
}
