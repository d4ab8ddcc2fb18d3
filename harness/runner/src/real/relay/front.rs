//! Where the clients of a relay are: behind a UDP port, or behind a TUN device.

use core::time::Duration;
use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::port::{self, Inbox, Outbox};
#[cfg(feature = "tun")]
use super::tun::Tun;
use super::{LISTENER, RelayError, RelayOptions};

/// The clients' side of a relay.
pub(super) enum Front {
    /// They send to a port.
    Udp {
        /// The port.
        listener: UdpSocket,
        /// What comes.
        inbox: Inbox,
        /// What goes.
        back: Outbox,
    },
    /// One program, in a namespace of its own.
    #[cfg(feature = "tun")]
    Tun(Box<Tun>),
}

impl Front {
    /// Opens it; gives the address that clients send to, too.
    pub(super) fn open(options: &RelayOptions, epoll: &Epoll) -> Result<(Self, SocketAddr), RelayError> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
        #[cfg(feature = "tun")]
        if let Some(command) = &options.tun {
            let tun = Tun::open(&options.network, &options.spec, options.to, command)?;
            epoll.add(tun.fd(), event).map_err(std::io::Error::from)?;
            return Ok((Self::Tun(Box::new(tun)), Tun::shown(options.to)));
        }
        let address = options.listen;
        let listener = port::open(address, None).map_err(|source| RelayError::Socket { address, source })?;
        let address = listener.local_addr()?;
        epoll.add(&listener, event).map_err(std::io::Error::from)?;
        let front = Self::Udp {
            listener,
            inbox: Inbox::new(),
            back: Outbox::new(),
        };
        Ok((front, address))
    }

    /// Takes what waits: sender, receiver, payload, and whether the sender cut it into fragments. Gives how much it was.
    pub(super) fn receive(
        &mut self,
        #[cfg_attr(not(feature = "tun"), expect(unused_variables, reason = "fragments have an age"))] now: Duration,
        to: SocketAddr,
        each: &mut dyn FnMut(SocketAddr, SocketAddr, Bytes, bool),
    ) -> usize {
        match self {
            Self::Udp { listener, inbox, .. } => inbox.receive(listener, &mut |from, bytes| {
                each(from, to, Bytes::copy_from_slice(bytes), false);
            }),
            #[cfg(feature = "tun")]
            Self::Tun(tun) => tun.receive(now, each),
        }
    }

    /// Whether IP packets, not datagrams, are given to the clients.
    pub(super) const fn takes_packets(&self) -> bool {
        match self {
            Self::Udp { .. } => false,
            #[cfg(feature = "tun")]
            Self::Tun(_) => true,
        }
    }

    /// Sends a datagram to a client, now or at the next [`flush`](Self::flush).
    pub(super) fn send(&mut self, dst: SocketAddr, payload: Bytes) {
        match self {
            Self::Udp { listener, back, .. } => {
                back.put(Some(dst), payload);
                if back.is_full() {
                    back.flush(listener);
                }
            }
            // it had the packets
            #[cfg(feature = "tun")]
            Self::Tun(_) => {}
        }
    }

    pub(super) fn flush(&mut self) {
        match self {
            Self::Udp { listener, back, .. } => back.flush(listener),
            #[cfg(feature = "tun")]
            Self::Tun(_) => {}
        }
    }

    /// The real address of what a client sent to.
    pub(super) fn real(&self, dst: SocketAddr) -> SocketAddr {
        match self {
            Self::Udp { .. } => dst,
            #[cfg(feature = "tun")]
            Self::Tun(tun) => tun.real(dst),
        }
    }

    /// Datagrams or packets that the system did not take.
    pub(super) fn unsent(&self) -> u64 {
        match self {
            Self::Udp { back, .. } => back.unsent,
            #[cfg(feature = "tun")]
            Self::Tun(tun) => tun.unsent,
        }
    }
}
