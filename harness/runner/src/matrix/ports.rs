//! The ports of a cell in real time: what a real client sends to, and what a real server hears from.

use core::task::{Context, Poll};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Ports toward the server at most; a client that takes ever new ones gets no more.
const MOST_PORTS: usize = 64;
/// The largest UDP payload, and more.
const ROOM: usize = 65_536;

/// A datagram as a port of ours received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    FromClient {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    FromServer {
        /// The client's address beyond the link.
        to: SocketAddr,
        bytes: Bytes,
    },
}

/// The ports of a cell. Dropping them frees them.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// What a real client sends to.
    fronts: Vec<(SocketAddr, UdpSocket)>,
    /// What a real server hears from, by the client's address beyond the link.
    backs: BTreeMap<SocketAddr, UdpSocket>,
    /// The server's port.
    pub(super) server: Option<SocketAddr>,
    /// Where the next look begins.
    turn: usize,
    room: Vec<u8>,
    /// Where fronts are opened and what clients are told, when it is not the loopback address.
    beyond: Option<(IpAddr, IpAddr)>,
}

impl Ports {
    /// Whose fronts are at this address, for clients to whom it is `shown`.
    pub(super) fn on(listen: SocketAddr, shown: IpAddr) -> Self {
        Self {
            beyond: Some((listen.ip(), shown)),
            ..Self::default()
        }
    }

    /// Opens a port toward the client, a free one if it is 0; gives the address at which the client meets it.
    pub(super) async fn open_front(&mut self, what: &str, port: u16) -> Result<SocketAddr, String> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (ip, shown) = self.beyond.unwrap_or((loopback, loopback));
        let any = SocketAddr::new(ip, port);
        let error = |error: io::Error| format!("the port {any} cannot be opened for {what}: {error}");
        let socket = UdpSocket::bind(any).await.map_err(error)?;
        let at = SocketAddr::new(shown, socket.local_addr().map_err(error)?.port());
        self.fronts.push((at, socket));
        Ok(at)
    }

    pub(super) async fn send_to_client(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let front = self.fronts.iter().find(|(at, _)| *at == from);
        let (_, socket) = front.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        twice(async || socket.send_to(bytes, to).await).await
    }

    pub(super) async fn send_to_server(&mut self, from: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        if !self.backs.contains_key(&from) {
            let server = self
                .server
                .filter(|_| self.backs.len() < MOST_PORTS)
                .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
            let socket = UdpSocket::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await?;
            socket.connect(server).await?;
            self.backs.insert(from, socket);
        }
        match self.backs.get(&from) {
            Some(socket) => twice(async || socket.send(bytes).await).await,
            None => Ok(()),
        }
    }

    /// The next datagram, of whichever port; never, when there is no port. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Heard {
        core::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        self.room.resize(ROOM, 0);
        let fronts = self.fronts.iter().map(|(at, socket)| (true, *at, socket));
        let backs = self.backs.iter().map(|(outer, socket)| (false, *outer, socket));
        let all: Vec<(bool, SocketAddr, &UdpSocket)> = fronts.chain(backs).collect();
        for step in 0..all.len() {
            let index = (self.turn + step) % all.len();
            let (is_front, to, socket) = all[index];
            loop {
                let mut buffer = ReadBuf::new(&mut self.room);
                match socket.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => {
                        let bytes = Bytes::copy_from_slice(buffer.filled());
                        self.turn = index;
                        return Poll::Ready(if is_front {
                            Heard::FromClient { from, to, bytes }
                        } else {
                            Heard::FromServer { to, bytes }
                        });
                    }
                    // an ICMP error of an earlier datagram: the port is closed, which is its owner's affair
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }
}

/// Sends; the error of an earlier datagram, told now, does not count.
async fn twice(send: impl AsyncFn() -> io::Result<usize>) -> io::Result<()> {
    match send().await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => send().await.map(drop),
        sent => sent.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_have_ports_that_tell_who_is_meant() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut ports = Ports {
            server: Some(server.local_addr().unwrap()),
            ..Ports::default()
        };
        let front = ports.open_front("the server", 0).await.unwrap();
        client.send_to(b"up", front).await.unwrap();
        let from = client.local_addr().unwrap();
        assert_eq!(
            ports.receive().await,
            Heard::FromClient {
                from,
                to: front,
                bytes: Bytes::from_static(b"up")
            }
        );
        let outer: SocketAddr = ([192, 0, 2, 9], 7).into();
        ports.send_to_server(outer, b"on").await.unwrap();
        let mut room = [0; 16];
        let (length, back) = server.recv_from(&mut room).await.unwrap();
        assert_eq!(&room[..length], b"on");
        server.send_to(b"down", back).await.unwrap();
        assert_eq!(
            ports.receive().await,
            Heard::FromServer {
                to: outer,
                bytes: Bytes::from_static(b"down")
            }
        );
        ports.send_to_client(front, from, b"end").await.unwrap();
        let (length, by) = client.recv_from(&mut room).await.unwrap();
        assert_eq!((&room[..length], by), (&b"end"[..], front));
    }
}
