//! The UDP ports of the harness's side of the link.

use core::task::{Context, Poll};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::session::Addresses;

/// A datagram as the harness's side receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The sender.
    pub from: SocketAddr,
    /// The address of the harness's side that it came to.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Bytes,
}

/// Why the ports of a case could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the port {address} for the {what} cannot be opened: {source}")]
pub struct SocketError {
    /// What it was for.
    pub what: String,
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// The sockets of one case.
#[derive(Debug)]
pub struct HarnessSockets {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    addresses: Addresses,
    /// Where the next look begins, so that no socket is heard more than the others.
    turn: usize,
    buffer: Vec<u8>,
}

/// The largest UDP payload, and more.
const BUFFER: usize = 65_536;

impl HarnessSockets {
    /// Opens the sockets: the server at `listen` or at a free port of the loopback address, another port of the same
    /// host, a stranger, and each repository. Dropping them frees the ports.
    ///
    /// # Errors
    /// When a port is taken or the address is not one of this machine.
    pub async fn bind(
        listen: Option<SocketAddr>,
        repositories: impl IntoIterator<Item = String>,
    ) -> Result<Self, SocketError> {
        let listen = listen.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        let any_port = SocketAddr::new(listen.ip(), 0);
        let shown = shown_ip(listen.ip()).await;
        let mut sockets = Vec::new();
        let server = open(&mut sockets, "server", listen, shown).await?;
        let other_port = open(&mut sockets, "server's other port", any_port, shown).await?;
        let stranger = match another_loopback(listen.ip()) {
            // not every system has the whole of 127/8
            Some(ip) => match open(&mut sockets, "stranger", SocketAddr::new(ip, 0), ip).await {
                Ok(address) => address,
                Err(_) => open(&mut sockets, "stranger", any_port, shown).await?,
            },
            None => open(&mut sockets, "stranger", any_port, shown).await?,
        };
        let mut named = BTreeMap::new();
        for name in repositories {
            let what = format!("repository `{name}`");
            let address = open(&mut sockets, &what, any_port, shown).await?;
            named.insert(name, address);
        }
        Ok(Self {
            sockets,
            addresses: Addresses {
                server,
                other_port,
                stranger,
                repositories: named,
                devices: BTreeMap::new(),
            },
            turn: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// The addresses.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The next datagram, of whichever socket. Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Received {
        core::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let count = self.sockets.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let (to, socket) = &self.sockets[index];
            loop {
                let mut buffer = ReadBuf::new(&mut self.buffer);
                match socket.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => {
                        let bytes = Bytes::copy_from_slice(buffer.filled());
                        let to = *to;
                        self.turn = index;
                        return Poll::Ready(Received { from, to, bytes });
                    }
                    // an ICMP error of an earlier datagram: the port is closed, which is the IUT's affair
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }

    /// Sends a datagram from one of the addresses.
    ///
    /// # Errors
    /// When the system does not take it, because it is too large or there is no way to that address.
    pub async fn send(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let Some((_, socket)) = self.sockets.iter().find(|(address, _)| *address == from) else {
            return Err(io::Error::new(
                ErrorKind::AddrNotAvailable,
                format!("{from} is no address of the harness"),
            ));
        };
        match socket.send_to(bytes, to).await {
            // the error of an earlier datagram, told now
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => socket.send_to(bytes, to).await,
            sent => sent,
        }?;
        Ok(())
    }
}

async fn open(
    sockets: &mut Vec<(SocketAddr, UdpSocket)>,
    what: &str,
    address: SocketAddr,
    shown: IpAddr,
) -> Result<SocketAddr, SocketError> {
    let error = |source| SocketError {
        what: what.to_owned(),
        address,
        source,
    };
    let socket = UdpSocket::bind(address).await.map_err(error)?;
    let port = socket.local_addr().map_err(error)?.port();
    let shown = SocketAddr::new(shown, port);
    sockets.push((shown, socket));
    Ok(shown)
}

/// The address that a device is told for one that means every interface: that of the way out. No packet is sent to learn it.
pub(crate) async fn shown_ip(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    let (any, far, near) = match ip {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9", "127.0.0.1"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9", "::1"),
    };
    let way_out = async {
        let socket = UdpSocket::bind(any).await.ok()?;
        socket.connect(far).await.ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    way_out.await.or_else(|| near.parse().ok()).unwrap_or(ip)
}

/// Another host of the same machine, where the address allows it.
fn another_loopback(ip: IpAddr) -> Option<IpAddr> {
    (ip == IpAddr::V4(Ipv4Addr::LOCALHOST)).then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_party_has_a_port_and_datagrams_say_which() {
        let mut sockets = HarnessSockets::bind(None, ["main".to_owned(), "second".to_owned()])
            .await
            .unwrap();
        let addresses = sockets.addresses().clone();
        let mut all = vec![addresses.server, addresses.other_port, addresses.stranger];
        all.extend(addresses.repositories.values());
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), 5);
        assert!(
            all.iter()
                .all(|address| address.ip().is_loopback() && address.port() != 0)
        );

        let iut = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for to in &all {
            iut.send_to(b"hello", to).await.unwrap();
            let received = sockets.receive().await;
            assert_eq!(
                (received.to, received.from, &received.bytes[..]),
                (*to, iut.local_addr().unwrap(), &b"hello"[..])
            );
            sockets.send(*to, received.from, b"back").await.unwrap();
            let mut buffer = [0; 16];
            let (length, from) = iut.recv_from(&mut buffer).await.unwrap();
            assert_eq!((&buffer[..length], from), (&b"back"[..], *to));
        }
    }

    #[tokio::test]
    async fn a_closed_port_of_the_iut_disturbs_nothing() {
        let mut sockets = HarnessSockets::bind(None, []).await.unwrap();
        let server = sockets.addresses().server;
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for _ in 0..3 {
            sockets.send(server, gone, b"into the void").await.unwrap();
        }
        let iut = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        iut.send_to(b"still here", server).await.unwrap();
        assert_eq!(&sockets.receive().await.bytes[..], b"still here");
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = HarnessSockets::bind(Some(address), []).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("the port {address} for the server cannot be opened"))
        );
        drop(taken);
        HarnessSockets::bind(Some(address), []).await.unwrap();
    }
}
