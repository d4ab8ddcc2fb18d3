//! UDP sockets, many datagrams a system call.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt, sockopt::RcvBuf, sockopt::SndBuf,
};

/// Datagrams that one system call moves at most.
pub(super) const BATCH: usize = 64;
/// Room for the largest UDP payload.
const ROOM: usize = 65_536;
/// What is asked of the system for waiting datagrams; it gives what it allows.
const WAITING: usize = 4 << 20;

/// A socket that never blocks, with as much room for waiting datagrams as the system gives.
#[expect(clippy::disallowed_methods, reason = "the relay stands outside the sans-IO engine")]
pub(super) fn open(address: SocketAddr, to: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // less room only means that a burst loses more
    let _ = setsockopt(&socket, RcvBuf, &WAITING);
    let _ = setsockopt(&socket, SndBuf, &WAITING);
    if let Some(to) = to {
        socket.connect(to)?;
    }
    Ok(socket)
}

/// What is received in one system call. One for each address family: the system writes lengths of addresses into it.
pub(super) struct Inbox {
    room: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            room: vec![0; BATCH * ROOM],
            headers: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Takes what waits, at most [`BATCH`] datagrams. None waits: 0.
    pub(super) fn receive(&mut self, socket: &UdpSocket, each: &mut dyn FnMut(SocketAddr, &[u8])) -> usize {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .room
            .chunks_exact_mut(ROOM)
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let fd = socket.as_raw_fd();
        // an error is that of an earlier datagram (ICMP: the port is closed), or means that nothing waits
        let Ok(received) = recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) else {
            return 0;
        };
        let mut count = 0;
        for message in received {
            count += 1;
            if let Some(from) = message.address.as_ref().and_then(address_of) {
                each(from, message.iovs().next().unwrap_or_default());
            }
        }
        count
    }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()))
    } else {
        let v6 = address.as_sockaddr_in6()?;
        Some(core::net::SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
    }
}

/// What is sent in one system call.
pub(super) struct Outbox {
    waiting: Vec<(Option<SocketAddr>, Bytes)>,
    headers: MultiHeaders<SockaddrStorage>,
    /// Datagrams that the system did not take.
    pub(super) unsent: u64,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            waiting: Vec::with_capacity(BATCH),
            headers: MultiHeaders::preallocate(BATCH, None),
            unsent: 0,
        }
    }

    /// Whether it must be flushed before more is put into it.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH
    }

    pub(super) fn put(&mut self, to: Option<SocketAddr>, bytes: Bytes) {
        self.waiting.push((to, bytes));
    }

    /// Sends all that waits.
    pub(super) fn flush(&mut self, socket: &UdpSocket) {
        let slices: Vec<[IoSlice<'_>; 1]> = self.waiting.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
        let addresses: Vec<Option<SockaddrStorage>> = self
            .waiting
            .iter()
            .map(|(to, _)| to.map(SockaddrStorage::from))
            .collect();
        let mut done = 0;
        let mut again = true;
        while done < slices.len() {
            let rest = &slices[done..];
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.headers,
                rest.iter(),
                &addresses[done..],
                [],
                MsgFlags::MSG_DONTWAIT,
            );
            match sent {
                Ok(results) => {
                    done += results.count().max(1);
                    again = true;
                }
                Err(Errno::EINTR) => {}
                // the error of an earlier datagram, told now
                Err(Errno::ECONNREFUSED) if again => again = false,
                // too large, no way there, no room: this one is lost, as on any network
                Err(_) => {
                    self.unsent += 1;
                    done += 1;
                    again = true;
                }
            }
        }
        drop(slices);
        self.waiting.clear();
    }
}
