//! A TUN device in a network namespace of its own, in which one program runs: its own IP stack fragments what it sends
//! and reassembles what it gets.
//!
//! The namespace holds that device and nothing else. The program's host is [`INSIDE`]; the server's host, as the program sees
//! it, is [`SERVER`]: a datagram to any port of it goes to the same port of the real server's host. Making both needs
//! CAP_NET_ADMIN and CAP_SYS_ADMIN, which root has.

use core::time::Duration;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};

use bytes::Bytes;
use fotaproof_net::{Limits, LinkSpec, Oversize, Reassembler};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::real::keeper::Kept;

/// The program's address.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
/// The server's host as the program sees it.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 2);
/// Name of the device in its namespace.
const NAME: &str = "fotaproof0";
/// MTU of the device where the link's own is found out on the way (`drop`, `refuse`), not by the sender.
const WIDE: u16 = 1500;
/// The least MTU of IPv4 (RFC 791 section 3.2).
const LEAST: u16 = 68;
/// Packets that are taken before others have their turn.
const BATCH: usize = 64;
/// How long a program may take to end before it is killed.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why there is no TUN device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The network cannot be put before an IPv4 stack.
    #[error("a TUN device carries IPv4 with an MTU of at least {LEAST}; the network {name} is {what}")]
    Network {
        /// Its name.
        name: String,
        /// What it is instead.
        what: String,
    },
    /// The namespace.
    #[error("a network namespace cannot be made: {0}; it takes root (CAP_SYS_ADMIN), `--listen` does not")]
    Namespace(io::Error),
    /// The device.
    #[error("a TUN device cannot be made: {0}; it takes root (CAP_NET_ADMIN) and /dev/net/tun, `--listen` does not")]
    Device(io::Error),
    /// The program.
    #[error("`{program}` cannot be started: {source}")]
    Program {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// The device and the program behind it.
pub(super) struct Tun {
    device: SyncDevice,
    child: Child,
    /// Dropped after the program is ended.
    _kept: Kept,
    reassembler: Reassembler,
    /// Where the server's port really is.
    to: SocketAddr,
    buffer: Vec<u8>,
    /// Packets that are no UDP to the server's host: other protocols, other hosts.
    pub(super) strange: u64,
    /// Packets that the device did not take.
    pub(super) unsent: u64,
}

impl Tun {
    /// Makes namespace and device and starts the program in it.
    pub(super) fn open(network: &str, spec: &LinkSpec, to: SocketAddr, command: &[String]) -> Result<Self, TunError> {
        let refuse = |what: &str| TunError::Network {
            name: network.to_owned(),
            what: what.to_owned(),
        };
        if spec.pdu_limit.is_some() {
            return Err(refuse("without IP"));
        }
        if spec.mtu < LEAST {
            return Err(refuse(&format!("of MTU {}", spec.mtu)));
        }
        let mtu = match spec.oversize {
            Oversize::Fragment | Oversize::Filter => spec.mtu,
            Oversize::Drop | Oversize::Refuse => spec.mtu.max(WIDE),
        };
        let kept = Kept::new(None);
        let (device, child) = in_namespace(mtu, &filled(command, to))?;
        if let Ok(pid) = i32::try_from(child.id()) {
            kept.group(Pid::from_raw(pid));
        }
        device.set_nonblocking(true).map_err(TunError::Device)?;
        Ok(Self {
            device,
            child,
            _kept: kept,
            reassembler: Reassembler::new(Limits::default()),
            to,
            buffer: vec![0; usize::from(u16::MAX)],
            strange: 0,
            unsent: 0,
        })
    }

    pub(super) fn fd(&self) -> impl AsFd + '_ {
        self.device.as_fd()
    }

    /// The server's address as the program sees it.
    pub(super) fn shown(to: SocketAddr) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(SERVER, to.port()))
    }

    /// The real address of one of the server's host.
    pub(super) fn real(&self, shown: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.to.ip(), shown.port())
    }

    /// Takes packets of the program; each datagram that is whole goes to `each` with its sender and receiver, and whether it
    /// came in fragments.
    pub(super) fn receive(
        &mut self,
        now: Duration,
        each: &mut dyn FnMut(SocketAddr, SocketAddr, Bytes, bool),
    ) -> usize {
        for count in 0..BATCH {
            let Ok(length) = self.device.recv(&mut self.buffer) else {
                return count;
            };
            let packet = Bytes::copy_from_slice(&self.buffer[..length]);
            let whole = self.reassembler.push(now, &packet);
            match whole.map(|whole| whole.map(|whole| (whole.packets > 1, whole.udp()))) {
                Ok(None) => {}
                Ok(Some((cut, Ok(Some(udp))))) if udp.dst.ip() == IpAddr::V4(SERVER) => {
                    each(udp.src, udp.dst, udp.payload, cut);
                }
                // neighbour discovery of IPv6, multicast and the like
                _ => self.strange += 1,
            }
        }
        BATCH
    }

    /// Gives the program an IP packet.
    pub(super) fn send(&mut self, packet: &[u8]) {
        if !packet.is_empty() && self.device.send(packet).is_err() {
            self.unsent += 1;
        }
    }

    /// Tells the program's IP stack that its datagram was too large: ICMP "fragmentation needed and DF set" with the MTU of
    /// the next hop (RFC 792, RFC 1191 section 4).
    pub(super) fn too_large(&mut self, src: SocketAddr, dst: SocketAddr, length: usize, mtu: u16) {
        if let (SocketAddr::V4(src), SocketAddr::V4(dst)) = (src, dst) {
            self.send(&fragmentation_needed(src, dst, length, mtu));
        }
    }

    /// How the program ended, once it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends the program and what it started; the namespace goes with the last of them.
    #[expect(clippy::disallowed_methods, reason = "the wait for a process is on the wall's clock")]
    pub(super) fn end(&mut self) {
        let group = i32::try_from(self.child.id()).map(Pid::from_raw);
        let Ok(group) = group else { return };
        if self.ended().is_none() {
            let _ = killpg(group, Signal::SIGTERM);
            let until = std::time::Instant::now() + FAREWELL;
            while self.ended().is_none() && std::time::Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        self.end();
    }
}

/// The program's words with its placeholders filled in.
fn filled(command: &[String], to: SocketAddr) -> Vec<String> {
    let shown = Tun::shown(to);
    command
        .iter()
        .map(|word| {
            word.replace("{server.host}", &shown.ip().to_string())
                .replace("{server.port}", &shown.port().to_string())
                .replace("{server.uri}", &format!("coap://{shown}"))
        })
        .collect()
}

/// A namespace belongs to a thread: this one makes it, and the program inherits it.
fn in_namespace(mtu: u16, command: &[String]) -> Result<(SyncDevice, Child), TunError> {
    let make = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(|error| TunError::Namespace(error.into()))?;
        let device = DeviceBuilder::new()
            .name(NAME)
            .ipv4(INSIDE, 24, None)
            .mtu(mtu)
            .build_sync()
            .map_err(TunError::Device)?;
        let (program, arguments) = command.split_first().ok_or_else(|| TunError::Program {
            program: String::new(),
            source: ErrorKind::InvalidInput.into(),
        })?;
        let child = Command::new(program)
            .args(arguments)
            .process_group(0)
            .spawn()
            .map_err(|source| TunError::Program {
                program: program.clone(),
                source,
            })?;
        Ok((device, child))
    };
    std::thread::scope(|scope| {
        scope
            .spawn(make)
            .join()
            .unwrap_or_else(|_| Err(TunError::Namespace(io::Error::other("its thread ended"))))
    })
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn ipv4_header(protocol: u8, src: Ipv4Addr, dst: Ipv4Addr, total: u16, dont_fragment: bool) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[6] = if dont_fragment { 0x40 } else { 0 };
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&src.octets());
    header[16..20].copy_from_slice(&dst.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// ICMP type 3 code 4 from the router before the server: its MTU, then the header of the packet and the first 8 bytes of
/// its data. `length` is that of the UDP payload.
fn fragmentation_needed(src: SocketAddrV4, dst: SocketAddrV4, length: usize, mtu: u16) -> Vec<u8> {
    let udp = u16::try_from(length + 8).unwrap_or(u16::MAX);
    let mut message = vec![3, 4, 0, 0, 0, 0];
    message.extend_from_slice(&mtu.to_be_bytes());
    message.extend_from_slice(&ipv4_header(17, *src.ip(), *dst.ip(), udp.saturating_add(20), true));
    message.extend_from_slice(&src.port().to_be_bytes());
    message.extend_from_slice(&dst.port().to_be_bytes());
    message.extend_from_slice(&udp.to_be_bytes());
    message.extend_from_slice(&[0, 0]);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let total = u16::try_from(message.len() + 20).unwrap_or(u16::MAX);
    let mut packet = ipv4_header(1, SERVER, *src.ip(), total, false).to_vec();
    packet.extend_from_slice(&message);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icmp_tells_the_mtu_and_names_the_packet() {
        let src = SocketAddrV4::new(INSIDE, 50_000);
        let dst = SocketAddrV4::new(SERVER, 5683);
        let packet = fragmentation_needed(src, dst, 1100, 576);
        assert_eq!((packet.len(), packet[9], &packet[20..22]), (56, 1, &[3, 4][..]));
        assert_eq!(u16::from_be_bytes([packet[26], packet[27]]), 576);
        assert_eq!((checksum(&packet[..20]), checksum(&packet[20..])), (0, 0));
        // the header that it quotes: DF, UDP, 1100 + 8 + 20 bytes, and the ports
        let quoted = &packet[28..];
        assert_eq!(
            (quoted[6], quoted[9], u16::from_be_bytes([quoted[2], quoted[3]])),
            (0x40, 17, 1128)
        );
        assert_eq!(u16::from_be_bytes([quoted[20], quoted[21]]), 50_000);
        assert_eq!(u16::from_be_bytes([quoted[22], quoted[23]]), 5683);
    }

    #[test]
    fn placeholders_name_the_server_as_the_program_sees_it() {
        let words = ["a", "--to={server.host}:{server.port}", "{server.uri}/rd"].map(str::to_owned);
        let to = SocketAddr::from(([127, 0, 0, 1], 5683));
        assert_eq!(
            filled(&words, to),
            ["a", "--to=10.255.0.2:5683", "coap://10.255.0.2:5683/rd"]
        );
    }
}
