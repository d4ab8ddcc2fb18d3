//! The reference server of updates as an adapter: the protocol on standard input and output, CoAP over UDP.
//!
//! It is what an adapter should be, to compare with, and a server under test that is always at hand.

use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_adapter::{
    Answer, ErrorKind, Event, Hello, Listen, Message, Operation, Reply, ReplyError, Request, Timings, to_line,
};
use fotaproof_lwm2m::server_defects::ServerDefectSet;
use fotaproof_lwm2m::update_server::{UpdateServer, UpdateServerConfig};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::check::KNOWN;
use crate::real::Interrupt;
use crate::real::clock::Clock;

/// The largest UDP payload, and more.
const BUFFER: usize = 65_536;
/// Instances that this process has started.
static STARTS: AtomicU64 = AtomicU64::new(0);

/// Instances by name.
struct Instances {
    all: BTreeMap<String, Instance>,
    buffer: Vec<u8>,
}

struct Instance {
    server: UpdateServer,
    socket: UdpSocket,
    /// For DTLS.
    secure: Option<UdpSocket>,
}

/// Serves until `quit`, the end of `lines`, or the interrupt. What it writes goes to `tell`, a line with its end at a time. Its clock
/// runs `speed` times faster than the wall's.
pub async fn serve(
    defects: &ServerDefectSet,
    speed: f64,
    mut lines: mpsc::Receiver<String>,
    mut stop: Interrupt,
    tell: &mut (dyn FnMut(&str) + Send),
) {
    let clock = Clock::starting(speed);
    let mut instances = Instances {
        all: BTreeMap::new(),
        buffer: vec![0; BUFFER],
    };
    tell(&to_line(&Message::Event(Event::Hello(hello()))));
    loop {
        instances.flush(tell).await;
        let deadline = instances
            .all
            .values()
            .filter_map(|one| one.server.poll_deadline())
            .min();
        let timer = deadline.and_then(|at| clock.instant(at));
        tokio::select! {
            biased;
            () = stop.wait() => return,
            (name, secure, from, bytes) = instances.receive() => {
                match instances.all.get_mut(&name) {
                    Some(instance) if secure => instance.server.handle_secure_datagram(clock.now(), from, &bytes),
                    Some(instance) => instance.server.handle_datagram(clock.now(), from, &bytes),
                    None => {}
                }
            }
            line = lines.recv() => {
                let Some(line) = line else { return };
                match instances.line(defects, clock.now(), &line).await {
                    Done::Told => {}
                    Done::Reply(reply) => tell(&to_line(&reply)),
                    Done::Quit(reply) => return tell(&to_line(&reply)),
                }
            }
            () = until(timer) => {
                let now = clock.now();
                for instance in instances.all.values_mut() {
                    if instance.server.poll_deadline().is_some_and(|at| at <= now) {
                        instance.server.handle_timeout(now);
                    }
                }
            }
        }
    }
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => core::future::pending().await,
    }
}

/// What it says of itself: what the server in it says, but that it has several.
fn hello() -> Hello {
    let mut server = UpdateServer::new(UpdateServerConfig::new(SocketAddr::from(([127, 0, 0, 1], 5683))));
    let said = core::iter::from_fn(|| server.poll_message()).find_map(|message| match message {
        Message::Event(Event::Hello(hello)) => Some(hello),
        _ => None,
    });
    Hello {
        instances: None,
        ..said.unwrap_or_default()
    }
}

/// What became of a line.
enum Done {
    /// The server of the instance replies.
    Told,
    Reply(Reply),
    Quit(Reply),
}

fn refusal(id: u64, kind: ErrorKind, message: impl Into<String>) -> Reply {
    Reply {
        id,
        ok: None,
        error: Some(ReplyError {
            kind,
            message: message.into(),
        }),
    }
}

fn error(id: u64, kind: ErrorKind, message: impl Into<String>) -> Done {
    Done::Reply(refusal(id, kind, message))
}

fn ok(id: u64) -> Reply {
    Reply {
        id,
        ok: Some(Answer::default()),
        error: None,
    }
}

/// A request, or how it is refused.
fn request_of(line: &str) -> Result<Request, Box<Reply>> {
    let json: serde_json::Value =
        serde_json::from_str(line).map_err(|wrong| Box::new(refusal(0, ErrorKind::BadRequest, wrong.to_string())))?;
    let id = json.get("id").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let operation = json.get("op").and_then(serde_json::Value::as_str).map(str::to_owned);
    match operation {
        Some(name) if !KNOWN.contains(&name.as_str()) => {
            let message = format!("there is no operation `{name}`");
            Err(Box::new(refusal(id, ErrorKind::UnknownOperation, message)))
        }
        _ => serde_json::from_value(json)
            .map_err(|wrong| Box::new(refusal(id, ErrorKind::BadRequest, wrong.to_string()))),
    }
}

impl Instances {
    async fn line(&mut self, defects: &ServerDefectSet, now: Duration, line: &str) -> Done {
        let request = match request_of(line) {
            Ok(request) => request,
            Err(refused) => return Done::Reply(*refused),
        };
        let id = request.id;
        match &request.operation {
            Operation::Quit => return Done::Quit(ok(id)),
            Operation::Start {
                instance,
                listen,
                timings,
                security,
                ..
            } => {
                let secured = security
                    .as_ref()
                    .is_some_and(|security| !security.credentials().is_empty());
                if self.all.contains_key(instance) {
                    return error(
                        id,
                        ErrorKind::Failed,
                        format!("the instance `{instance}` is there already"),
                    );
                }
                match open(defects, listen, timings.as_ref(), secured).await {
                    Ok(opened) => drop(self.all.insert(instance.clone(), opened)),
                    Err(why) => return error(id, ErrorKind::Failed, why),
                }
            }
            Operation::Stop { instance } => {
                return match self.all.remove(instance) {
                    Some(_) => Done::Reply(ok(id)),
                    None => error(id, ErrorKind::Unknown, format!("there is no instance `{instance}`")),
                };
            }
            Operation::Device { .. } | Operation::ImageDigest { .. } => {
                return error(id, ErrorKind::Unsupported, "this adapter is one for servers");
            }
            _ => {}
        }
        let json = serde_json::to_value(&request).unwrap_or_default();
        let name = json
            .get("instance")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        match self.all.get_mut(name) {
            None => error(id, ErrorKind::Unknown, format!("there is no instance `{name}`")),
            Some(instance) => {
                instance
                    .server
                    .request(now, request, &mut |file| std::fs::read(file).ok().map(Bytes::from));
                Done::Told
            }
        }
    }

    /// Sends what the servers send and tells what they say.
    async fn flush(&mut self, tell: &mut (dyn FnMut(&str) + Send)) {
        for instance in self.all.values_mut() {
            while let Some(transmit) = instance.server.poll_transmit() {
                // a datagram that the system does not take is lost, as on any network
                let _ = instance.socket.send_to(&transmit.bytes, transmit.to).await;
            }
            while let Some(transmit) = instance.server.poll_secure_transmit() {
                if let Some(secure) = &instance.secure {
                    let _ = secure.send_to(&transmit.bytes, transmit.to).await;
                }
            }
            while let Some(message) = instance.server.poll_message() {
                if !matches!(message, Message::Event(Event::Hello(_))) {
                    tell(&to_line(&message));
                }
            }
        }
    }

    /// The next datagram: whose, whether at the secure address, from where, and what it is.
    async fn receive(&mut self) -> (String, bool, SocketAddr, Bytes) {
        core::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<(String, bool, SocketAddr, Bytes)> {
        for (name, instance) in &self.all {
            let sockets = [
                Some((false, &instance.socket)),
                instance.secure.as_ref().map(|at| (true, at)),
            ];
            for (secure, socket) in sockets.into_iter().flatten() {
                loop {
                    let mut buffer = ReadBuf::new(&mut self.buffer);
                    match socket.poll_recv_from(cx, &mut buffer) {
                        Poll::Ready(Ok(from)) => {
                            let bytes = Bytes::copy_from_slice(buffer.filled());
                            return Poll::Ready((name.clone(), secure, from, bytes));
                        }
                        // an ICMP error of an earlier datagram
                        Poll::Ready(Err(_)) => {}
                        Poll::Pending => break,
                    }
                }
            }
        }
        Poll::Pending
    }
}

async fn open(
    defects: &ServerDefectSet,
    listen: &Listen,
    timings: Option<&Timings>,
    secured: bool,
) -> Result<Instance, String> {
    let bind = async |port: u16| {
        let told = |error: std::io::Error| format!("{}:{port} cannot be opened: {error}", listen.host);
        let socket = UdpSocket::bind((listen.host.as_str(), port)).await.map_err(told)?;
        let address = socket.local_addr().map_err(told)?;
        Ok::<_, String>((socket, address))
    };
    let (socket, address) = bind(listen.port).await?;
    let secure = match listen.secure_port.filter(|_| secured) {
        Some(port) => Some(bind(port).await?),
        None => None,
    };
    let mut config = UpdateServerConfig::new(address);
    config.secure = secure.as_ref().map(|(_, address)| *address);
    config.defects.clone_from(defects);
    // a server that is started again at the same port must not use its message ids again (RFC 7252 section 4.4)
    let start = STARTS.fetch_add(1, Ordering::Relaxed);
    config.seed = u64::from(address.port()) << 48 ^ start << 32 ^ u64::from(std::process::id());
    if let Some(timings) = timings {
        if let Some(time) = timings.ack_timeout_ms {
            config.coap.ack_timeout = Duration::from_millis(time);
        }
        if let Some(count) = timings.max_retransmit {
            config.coap.max_retransmit = count;
        }
    }
    Ok(Instance {
        server: UpdateServer::new(config),
        socket,
        secure: secure.map(|(socket, _)| socket),
    })
}
