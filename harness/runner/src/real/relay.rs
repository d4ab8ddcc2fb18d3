//! The link alone, in user space, between any two programs.
//!
//! Clients send to the relay's port; each gets a port of its own toward the server, so that answers find back. The side
//! that listens is the IUT's end of the link. What a datagram meets on the way is decided by the same [`Link`] as in a
//! session. With a NAT in the network a client whose mapping changes gets another port toward the server, and what
//! comes to its old one is lost.
//!
//! One thread does it all: it takes many datagrams with a system call, gives them to the link, and sends what the link
//! delivers with another. It sleeps until a socket is ready or a packet is due, to the microsecond: tokio's timer is no
//! finer than a millisecond, which is the whole of what an emulated delay may be off.

mod front;
mod port;
mod summary;
mod tape;
#[cfg(feature = "tun")]
mod tun;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use fotaproof_net::{Datagram, Facts, Link, LinkEvent, LinkSpec, Toward};
#[cfg(feature = "tun")]
use fotaproof_net::{DatagramId, Point};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;

use self::front::Front;
use self::port::{BATCH, Inbox, Outbox};
use self::tape::Tape;
use crate::session::facts::Conversations;

pub use summary::{Capture, Program, RuleCount, Summary};
#[cfg(feature = "tun")]
pub use tun::{INSIDE, SERVER, TunError};

/// Ports toward the server at most; the one idle longest makes room.
const MAX_PORTS: usize = 1000;
/// Clients whose requests are remembered for rules.
const MAX_CONVERSATIONS: usize = 4096;
/// How long the relay sleeps at most before it looks at the sign to stop.
const LOOK: Duration = Duration::from_millis(50);
/// How often the counters are told.
const TELL: Duration = Duration::from_secs(1);
/// System calls for one socket before the others have their turn.
const TURNS: usize = 4;
/// The listening socket among those that are waited for.
const LISTENER: u64 = u64::MAX;

/// What a relay is asked to do.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where datagrams of clients go.
    pub to: SocketAddr,
    /// Name of the network.
    pub network: String,
    /// The link.
    pub spec: LinkSpec,
    /// Seed of all that is random.
    pub seed: u64,
    /// A capture to write.
    pub capture: Option<PathBuf>,
    /// Instead of listening: this program, in a network namespace with a TUN device. The relay ends with it.
    #[cfg(feature = "tun")]
    pub tun: Option<Vec<String>>,
}

/// What a relay tells while it runs.
#[derive(Debug)]
pub enum Told<'a> {
    /// It listens here.
    Listening(SocketAddr),
    /// The counters, once a second.
    Counters(&'a Summary),
}

/// Why a relay cannot run, or not on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Its port.
    #[error("the port {address} cannot be opened: {source}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The capture.
    #[error("cannot write {path}: {source}")]
    Capture {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The TUN device.
    #[cfg(feature = "tun")]
    #[error(transparent)]
    Tun(#[from] TunError),
    /// Waiting for sockets.
    #[error("cannot wait for sockets: {0}")]
    Wait(#[from] io::Error),
}

/// Runs a relay until `stop` is set; then the capture is complete.
///
/// # Errors
/// When a port cannot be opened or the capture cannot be written.
pub fn run(options: &RelayOptions, stop: &AtomicBool, tell: &mut dyn FnMut(Told<'_>)) -> Result<Summary, RelayError> {
    // a sleep may otherwise last 50 us longer than asked for; it then does, which is no reason not to run
    let _ = nix::sys::prctl::set_timerslack(1000);
    let mut relay = Relay::open(options)?;
    tell(Told::Listening(relay.address));
    let mut told = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) && !relay.program_ended() {
        relay.turn()?;
        let now = relay.now();
        if now.saturating_sub(told) >= TELL {
            told = now;
            tell(Told::Counters(&relay.summary()));
        }
    }
    relay.finish()
}

/// A port toward the server.
struct Port {
    socket: UdpSocket,
    /// The client as the server's side of the link knows it, and what it sends to.
    outer: (SocketAddr, SocketAddr),
    outbox: Outbox,
    used: Duration,
}

struct Relay<'a> {
    options: &'a RelayOptions,
    address: SocketAddr,
    begun: Instant,
    link: Link,
    epoll: Epoll,
    ready: Vec<EpollEvent>,
    front: Front,
    from_server: Inbox,
    /// Slots; a free one is none.
    ports: Vec<Option<Port>>,
    by_outer: HashMap<(SocketAddr, SocketAddr), usize>,
    /// Ports with something to send.
    dirty: Vec<usize>,
    /// What rules need to know, by client; none when there are no rules.
    conversations: Option<HashMap<SocketAddr, Conversations>>,
    tape: Option<Tape>,
    clients: u64,
    forgotten: u64,
    refused: u64,
    unsent: u64,
    /// The latest datagrams of the program, for what an ICMP message has to quote: sender, receiver, length.
    #[cfg(feature = "tun")]
    latest: std::collections::VecDeque<(DatagramId, SocketAddr, SocketAddr, usize)>,
    /// How the program ended.
    #[cfg(feature = "tun")]
    status: Option<std::process::ExitStatus>,
}

impl<'a> Relay<'a> {
    #[expect(clippy::disallowed_methods, reason = "the relay has the wall's clock")]
    fn open(options: &'a RelayOptions) -> Result<Self, RelayError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(io::Error::from)?;
        let (front, address) = Front::open(options, &epoll)?;
        let tape = match &options.capture {
            None => None,
            Some(path) => {
                let comment = format!(
                    "relay from {address} to {}, network {}, seed {}",
                    options.to, options.network, options.seed
                );
                let tape = Tape::create(path, comment, options.to);
                Some(tape.map_err(|source| RelayError::Capture {
                    path: path.clone(),
                    source,
                })?)
            }
        };
        let mut link = Link::new(options.spec.clone(), options.seed);
        link.set_packet_bytes(tape.is_some() || front.takes_packets());
        Ok(Self {
            options,
            address,
            begun: Instant::now(),
            link,
            epoll,
            ready: vec![EpollEvent::empty(); 256],
            front,
            from_server: Inbox::new(),
            ports: Vec::new(),
            by_outer: HashMap::new(),
            dirty: Vec::new(),
            conversations: (!options.spec.rules.is_empty()).then(HashMap::new),
            tape,
            clients: 0,
            forgotten: 0,
            refused: 0,
            unsent: 0,
            #[cfg(feature = "tun")]
            latest: std::collections::VecDeque::new(),
            #[cfg(feature = "tun")]
            status: None,
        })
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits until something is to do and does it.
    fn turn(&mut self) -> Result<(), RelayError> {
        self.deliver()?;
        let count = self.wait()?;
        for index in 0..count {
            let token = self.ready[index].data();
            for _ in 0..TURNS {
                let received = if token == LISTENER {
                    self.hear_clients()
                } else {
                    self.hear_server(token)
                };
                self.deliver()?;
                if received < BATCH {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sleeps until a socket is ready, a packet is due or it is time to look around. Gives how many are ready.
    fn wait(&mut self) -> Result<usize, RelayError> {
        // under load something is ready always
        let count = self.epoll.wait(&mut self.ready, EpollTimeout::ZERO);
        if let Ok(count) = count
            && count > 0
        {
            return Ok(count);
        }
        let sleep = match self.link.poll_deadline() {
            Some(at) => at.saturating_sub(self.now()).min(LOOK),
            None => LOOK,
        };
        if sleep.is_zero() {
            return Ok(0);
        }
        let mut fds = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(sleep)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(RelayError::Wait(error.into())),
        }
        match self.epoll.wait(&mut self.ready, EpollTimeout::ZERO) {
            Ok(count) => Ok(count),
            Err(nix::errno::Errno::EINTR) => Ok(0),
            Err(error) => Err(RelayError::Wait(error.into())),
        }
    }

    fn hear_clients(&mut self) -> usize {
        let now = self.now();
        let Self {
            front,
            link,
            conversations,
            options,
            #[cfg(feature = "tun")]
            latest,
            ..
        } = self;
        front.receive(now, options.to, &mut |src, dst, payload, cut| {
            let facts = facts(conversations, src, fotaproof_trace::Toward::Peer, &payload);
            #[cfg(feature = "tun")]
            let length = payload.len();
            let toward = Toward::Peer;
            let sent = Datagram {
                toward,
                src,
                dst,
                payload,
                facts,
            };
            #[cfg_attr(
                not(feature = "tun"),
                expect(unused_variables, reason = "only a TUN device can be told of it")
            )]
            let id = if cut {
                link.send_fragmented(now, sent)
            } else {
                link.send(now, sent)
            };
            #[cfg(feature = "tun")]
            {
                latest.truncate(BATCH * TURNS);
                latest.push_front((id, src, dst, length));
            }
        })
    }

    fn hear_server(&mut self, token: u64) -> usize {
        let now = self.now();
        let Self {
            from_server,
            ports,
            link,
            conversations,
            ..
        } = self;
        let slot = usize::try_from(token).unwrap_or(usize::MAX);
        // a port that was forgotten in this very turn
        let Some(Some(port)) = ports.get_mut(slot) else {
            return 0;
        };
        port.used = now;
        let (outer, inner) = port.outer;
        from_server.receive(&port.socket, &mut |_, bytes| {
            let payload = Bytes::copy_from_slice(bytes);
            let facts = facts(conversations, outer, fotaproof_trace::Toward::Iut, bytes);
            link.send(
                now,
                Datagram {
                    toward: Toward::Iut,
                    src: inner,
                    dst: outer,
                    payload,
                    facts,
                },
            );
        })
    }

    /// Takes from the link what has happened by now and sends what arrived.
    fn deliver(&mut self) -> Result<(), RelayError> {
        let now = self.now();
        while let Some(event) = self.link.poll(now) {
            if let Some(tape) = &mut self.tape
                && let Err(source) = tape.take(&event)
            {
                return Err(RelayError::Capture {
                    path: tape.path().to_path_buf(),
                    source,
                });
            }
            match event {
                LinkEvent::Delivered {
                    toward: Toward::Peer,
                    src,
                    dst,
                    payload,
                    ..
                } => {
                    let Some(slot) = self.port_of((src, dst), now) else {
                        self.unsent += 1;
                        continue;
                    };
                    let Some(Some(port)) = self.ports.get_mut(slot) else {
                        continue;
                    };
                    port.outbox.put(None, payload);
                    if port.outbox.is_full() {
                        port.outbox.flush(&port.socket);
                    } else if !self.dirty.contains(&slot) {
                        self.dirty.push(slot);
                    }
                }
                LinkEvent::Delivered { dst, payload, .. } => self.front.send(dst, payload),
                #[cfg(feature = "tun")]
                LinkEvent::Refused {
                    to_sender: Point::Iut,
                    datagram,
                    mtu,
                    ..
                } => {
                    self.refused += 1;
                    let sent = self.latest.iter().find(|(id, ..)| *id == datagram);
                    if let (Front::Tun(tun), Some((_, src, dst, length))) = (&mut self.front, sent) {
                        tun.too_large(*src, *dst, *length, mtu);
                    }
                }
                LinkEvent::Refused { .. } => self.refused += 1,
                #[cfg(feature = "tun")]
                LinkEvent::Packet {
                    point: Point::Iut,
                    toward: Toward::Iut,
                    bytes,
                    ..
                } => {
                    if let Front::Tun(tun) = &mut self.front {
                        tun.send(&bytes);
                    }
                }
                LinkEvent::Packet { .. } | LinkEvent::Fate { .. } => {}
            }
        }
        self.front.flush();
        for slot in self.dirty.drain(..) {
            if let Some(Some(port)) = self.ports.get_mut(slot) {
                port.outbox.flush(&port.socket);
            }
        }
        Ok(())
    }

    /// The port of a client, opened if it has none. None: the system has none to give.
    fn port_of(&mut self, outer: (SocketAddr, SocketAddr), now: Duration) -> Option<usize> {
        if let Some(slot) = self.by_outer.get(&outer).copied() {
            if let Some(Some(port)) = self.ports.get_mut(slot) {
                port.used = now;
            }
            return Some(slot);
        }
        if self.by_outer.len() >= MAX_PORTS {
            self.forget_oldest();
        }
        let any: IpAddr = match self.options.to.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let to = self.front.real(outer.1);
        let open = || port::open(SocketAddr::new(any, 0), Some(to));
        let socket = match open() {
            Ok(socket) => socket,
            Err(_) if !self.by_outer.is_empty() => {
                // out of descriptors, most likely
                self.forget_oldest();
                port::open(SocketAddr::new(any, 0), Some(to)).ok()?
            }
            Err(_) => return None,
        };
        let slot = self.ports.iter().position(Option::is_none).unwrap_or_else(|| {
            self.ports.push(None);
            self.ports.len() - 1
        });
        self.epoll
            .add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))
            .ok()?;
        self.ports[slot] = Some(Port {
            socket,
            outer,
            outbox: Outbox::new(),
            used: now,
        });
        self.by_outer.insert(outer, slot);
        self.clients += 1;
        Some(slot)
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .ports
            .iter()
            .enumerate()
            .filter_map(|(slot, port)| port.as_ref().map(|port| (port.used, slot)))
            .min();
        let Some((_, slot)) = oldest else { return };
        if let Some(mut port) = self.ports[slot].take() {
            port.outbox.flush(&port.socket);
            self.unsent += port.outbox.unsent;
            let _ = self.epoll.delete(&port.socket);
            self.by_outer.remove(&port.outer);
            self.forgotten += 1;
        }
    }

    /// Whether there is a program and it has ended.
    #[cfg(feature = "tun")]
    fn program_ended(&mut self) -> bool {
        if let Front::Tun(tun) = &mut self.front {
            self.status = self.status.or_else(|| tun.ended());
        }
        self.status.is_some()
    }

    #[cfg(not(feature = "tun"))]
    #[expect(clippy::needless_pass_by_ref_mut, reason = "with the feature it asks the program")]
    const fn program_ended(&mut self) -> bool {
        false
    }

    /// How the program ended, and what of its packets went nowhere.
    #[cfg(feature = "tun")]
    fn program(&self) -> Option<Program> {
        let Front::Tun(tun) = &self.front else { return None };
        Some(Program {
            code: self.status.and_then(|status| status.code()),
            strange: tun.strange,
        })
    }

    #[cfg(not(feature = "tun"))]
    const fn program(&self) -> Option<Program> {
        None
    }

    fn summary(&self) -> Summary {
        let ports: u64 = self.ports.iter().flatten().map(|port| port.outbox.unsent).sum();
        Summary {
            format: Summary::FORMAT,
            listen: self.address,
            to: self.options.to,
            network: self.options.network.clone(),
            seed: self.options.seed,
            seconds: self.now().as_secs_f64(),
            clients: self.clients,
            forgotten: self.forgotten,
            toward_server: self.link.counters(Toward::Peer).clone(),
            toward_iut: self.link.counters(Toward::Iut).clone(),
            rules: self
                .link
                .rule_counts()
                .into_iter()
                .map(|(name, acted)| RuleCount { name, acted })
                .collect(),
            refused: self.refused,
            unsent: self.unsent + self.front.unsent() + ports,
            in_flight: self.link.in_flight() as u64,
            program: self.program(),
            capture: self.tape.as_ref().map(|tape| Capture {
                file: tape.path().display().to_string(),
                packets: tape.packets,
            }),
        }
    }

    fn finish(mut self) -> Result<Summary, RelayError> {
        self.deliver()?;
        #[cfg(feature = "tun")]
        if let Front::Tun(tun) = &mut self.front {
            tun.end();
            self.program_ended();
        }
        let summary = self.summary();
        if let Some(tape) = self.tape.take() {
            let path = tape.path().to_path_buf();
            tape.finish().map_err(|source| RelayError::Capture { path, source })?;
        }
        Ok(summary)
    }
}

/// What rules may select by; nothing is looked at when there are none.
fn facts(
    conversations: &mut Option<HashMap<SocketAddr, Conversations>>,
    client: SocketAddr,
    toward: fotaproof_trace::Toward,
    payload: &[u8],
) -> Facts {
    let Some(all) = conversations else {
        return Facts::default();
    };
    if all.len() >= MAX_CONVERSATIONS && !all.contains_key(&client) {
        // only which request a response answers is lost, and only for those under way
        all.clear();
    }
    all.entry(client).or_default().facts(client, toward, payload)
}

#[cfg(test)]
mod tests;
