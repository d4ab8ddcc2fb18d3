//! The UDP ports of the devices that the harness plays against a server.
//!
//! Their addresses are virtual; each has a socket here, on a loopback host of its own where the system has one. That a port of the
//! server is closed is told to no unconnected socket that does not ask for it, so these ask (IP_RECVERR, ip(7)).

use core::task::{Context, Poll};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use bytes::Bytes;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Addresses that the devices of a case may have had; the oldest goes first.
const SOCKETS: usize = 256;
/// The largest UDP payload, and more.
const BUFFER: usize = 65_536;

/// What comes to the devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Datagram {
        from: SocketAddr,
        /// The virtual address of the device.
        to: SocketAddr,
        bytes: Bytes,
    },
    /// Nobody listens at this address, to which a device sent something.
    Unreachable(SocketAddr),
}

/// A socket for each address that a device of the session has or had.
pub(super) struct DeviceSockets {
    open: Vec<(SocketAddr, UdpSocket)>,
    /// The hosts of the session, in the order in which they came; each has a host of the loopback network.
    hosts: Vec<IpAddr>,
    turn: usize,
    buffer: Vec<u8>,
    /// Addresses at which nobody listens, that are to be told.
    closed: Vec<SocketAddr>,
}

impl DeviceSockets {
    pub(super) fn new() -> Self {
        Self {
            open: Vec::new(),
            hosts: Vec::new(),
            turn: 0,
            buffer: vec![0; BUFFER],
            closed: Vec::new(),
        }
    }

    /// What comes next. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Came {
        core::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        if let Some(address) = self.closed.pop() {
            return Poll::Ready(Came::Unreachable(address));
        }
        let count = self.open.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let (to, socket) = &self.open[index];
            loop {
                let mut buffer = ReadBuf::new(&mut self.buffer);
                match socket.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => {
                        let bytes = Bytes::copy_from_slice(buffer.filled());
                        let to = *to;
                        self.turn = (index + 1) % count;
                        return Poll::Ready(Came::Datagram { from, to, bytes });
                    }
                    // an ICMP error of an earlier datagram
                    Poll::Ready(Err(_)) => refused(socket, &mut self.closed),
                    Poll::Pending => break,
                }
            }
        }
        match self.closed.pop() {
            Some(address) => Poll::Ready(Came::Unreachable(address)),
            None => Poll::Pending,
        }
    }

    /// Sends from a virtual address to the server.
    pub(super) async fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let index = match self.open.iter().position(|(address, _)| *address == from) {
            Some(index) => index,
            None => self.open_for(from, to).await?,
        };
        let (_, socket) = &self.open[index];
        match socket.send_to(bytes, to).await {
            // the error of an earlier datagram, told now
            Err(error) if of_before(&error) => {
                refused(socket, &mut self.closed);
                socket.send_to(bytes, to).await
            }
            sent => sent,
        }?;
        Ok(())
    }

    async fn open_for(&mut self, from: SocketAddr, to: SocketAddr) -> io::Result<usize> {
        let host = match self.hosts.iter().position(|host| *host == from.ip()) {
            Some(host) => host,
            None => {
                self.hosts.push(from.ip());
                self.hosts.len() - 1
            }
        };
        let own = u8::try_from(host + 1).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        let socket = match (to.ip(), own) {
            (IpAddr::V6(_), _) => UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await?,
            // not every system has the whole of 127/8
            (IpAddr::V4(_), Ok(own)) => match UdpSocket::bind((own, 0)).await {
                Ok(socket) => socket,
                Err(_) => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            },
            (IpAddr::V4(_), Err(_)) => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        // without it nobody tells that a port is closed, which is no reason not to send
        let _ = match to {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true),
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true),
        };
        if self.open.len() == SOCKETS {
            self.open.remove(0);
        }
        self.open.push((from, socket));
        Ok(self.open.len() - 1)
    }
}

/// Whether a send fails for what became of an earlier datagram, which is told only once.
fn of_before(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}

/// Takes the errors that wait at a socket, and adds the addresses whose port is closed.
fn refused(socket: &UdpSocket, closed: &mut Vec<SocketAddr>) {
    // the system keeps only some, and nobody adds to them while they are taken
    for _ in 0..64 {
        let mut space = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        let mut head = [0_u8; 16];
        let mut pieces = [IoSliceMut::new(&mut head)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let Ok(message) = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(&mut space), flags) else {
            return;
        };
        let refused = message.cmsgs().is_ok_and(|mut all| {
            all.any(|one| match one {
                ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                    i32::try_from(error.ee_errno).is_ok_and(|number| Errno::from_raw(number) == Errno::ECONNREFUSED)
                }
                _ => false,
            })
        });
        let Some(to) = message.address.filter(|_| refused).and_then(|address| plain(&address)) else {
            continue;
        };
        if !closed.contains(&to) {
            closed.push(to);
        }
    }
}

fn plain(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_virtual_address_has_a_socket_and_hosts_differ() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = server.local_addr().unwrap();
        let mut sockets = DeviceSockets::new();
        let addresses = ["192.0.2.10:50000", "192.0.2.10:50001", "192.0.2.11:50000"];
        let mut seen = Vec::new();
        for address in addresses {
            let from: SocketAddr = address.parse().unwrap();
            for _ in 0..2 {
                sockets.send(from, to, address.as_bytes()).await.unwrap();
                let mut buffer = [0; 64];
                let (length, real) = server.recv_from(&mut buffer).await.unwrap();
                assert_eq!(&buffer[..length], address.as_bytes());
                seen.push(real);
                server.send_to(b"back", real).await.unwrap();
                let came = Came::Datagram {
                    from: to,
                    to: from,
                    bytes: Bytes::from_static(b"back"),
                };
                assert_eq!(sockets.receive().await, came);
            }
        }
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), 3);
        assert_eq!(seen[0].ip(), seen[2].ip());
        assert_ne!(seen[0].ip(), seen[4].ip());
    }

    #[tokio::test]
    async fn addresses_do_not_grow_without_bound() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let to = server.local_addr().unwrap();
        let mut sockets = DeviceSockets::new();
        for port in 0..(SOCKETS as u16 + 10) {
            let from = SocketAddr::from(([192, 0, 2, 10], 50_000 + port));
            sockets.send(from, to, b"x").await.unwrap();
        }
        assert_eq!(sockets.open.len(), SOCKETS);
    }

    /// The kernel tells it before the send returns, on the loopback network.
    #[tokio::test]
    async fn a_port_that_is_closed_is_told_and_disturbs_nobody() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let open = server.local_addr().unwrap();
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let closed = gone.local_addr().unwrap();
        drop(gone);
        let mut sockets = DeviceSockets::new();
        let from: SocketAddr = "192.0.2.10:50000".parse().unwrap();
        for _ in 0..3 {
            sockets.send(from, closed, b"into the void").await.unwrap();
        }
        assert_eq!(sockets.receive().await, Came::Unreachable(closed));
        sockets.send(from, open, b"heard").await.unwrap();
        let mut buffer = [0; 64];
        let (length, real) = server.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"heard");
        server.send_to(b"back", real).await.unwrap();
        loop {
            match sockets.receive().await {
                Came::Unreachable(address) => assert_eq!(address, closed),
                Came::Datagram { bytes, .. } => {
                    assert_eq!(&bytes[..], b"back");
                    break;
                }
            }
        }
    }
}
