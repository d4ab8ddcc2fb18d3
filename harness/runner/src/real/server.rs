//! The reference server alone: over UDP, on the wall's clock, for trying by hand.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fotaproof_lwm2m::registration::Registration;
use fotaproof_lwm2m::repository::{File, FileServer, RepositoryConfig, RepositoryEvent};
use fotaproof_lwm2m::server::{Method, OpId, PushOutcome, PushSpec, Server, ServerConfig, ServerEvent};
use fotaproof_wire::coap::{Code, Szx, content_format};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::Interrupt;
use super::clock::Clock;
use super::console::{self, Command};

/// State of object 5.
const STATE: LwPath = LwPath::resource(5, 0, 3);
/// Update Result of object 5.
const RESULT: LwPath = LwPath::resource(5, 0, 5);
/// Update of object 5.
const UPDATE: LwPath = LwPath::resource(5, 0, 2);
/// Firmware version of object 3.
const VERSION: LwPath = LwPath::resource(3, 0, 3);

/// A server that stands alone.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The server.
    pub config: ServerConfig,
    /// The endpoint name that it talks to; the first that registers if absent.
    pub endpoint: Option<String>,
    /// A package that is written to /5/0/0 once the device is registered.
    pub push: Option<PathBuf>,
    /// A package that is served, and whose URI is written to /5/0/1 once the device is registered.
    pub pull: Option<PathBuf>,
    /// Block size of the push.
    pub block: Szx,
    /// Executes /5/0/2 once State is Downloaded.
    pub execute: bool,
    /// Observes State and Update Result of object 5.
    pub observe: bool,
    /// Ends once the package is installed or refused; with a push or pull alone, once State is Downloaded.
    pub once: bool,
}

impl ServerOptions {
    /// A server that listens, and waits for commands.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            config: ServerConfig::default(),
            endpoint: None,
            push: None,
            pull: None,
            block: Szx::S512,
            execute: false,
            observe: true,
            once: false,
        }
    }
}

/// How a server that stood alone ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEnd {
    /// It was asked to.
    Stopped,
    /// What `once` waits for happened.
    Done {
        /// The package was taken, and installed if that was asked.
        success: bool,
    },
}

/// Why a server cannot stand alone.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its port.
    #[error("the port {address} cannot be opened: {source}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A package.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Runs the server until `stop` is given or `once` is fulfilled. `commands` are lines as typed; their end does not end the server.
/// What happens goes to `tell`, a line each.
///
/// # Errors
/// When the port cannot be opened or a package of the options cannot be read.
pub async fn run(
    options: ServerOptions,
    mut commands: mpsc::Receiver<String>,
    mut stop: Interrupt,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<ServerEnd, ServerError> {
    let error = |source| ServerError::Socket {
        address: options.listen,
        source,
    };
    let socket = UdpSocket::bind(options.listen).await.map_err(error)?;
    let address = socket.local_addr().map_err(error)?;
    let mut stand = Stand::new(&options, address)?;
    stand.say(format!("listening on coap://{address}"));
    let clock = Clock::starting(1.0);
    let mut buffer = vec![0; 65_536];
    let mut open = true;
    loop {
        while let Some(transmit) = stand.server.poll_transmit() {
            // a datagram that the system does not take is lost, as on any network
            let _ = socket.send_to(&transmit.bytes, transmit.to).await;
        }
        while let Some(event) = stand.server.poll_event() {
            stand.event(clock.now(), event);
        }
        for line in stand.lines.drain(..) {
            tell(&line);
        }
        // what the events led to
        if stand.server.poll_deadline().is_some_and(|at| at <= clock.now()) {
            stand.server.handle_timeout(clock.now());
        }
        let mut sent = false;
        while let Some(transmit) = stand.server.poll_transmit() {
            sent = true;
            let _ = socket.send_to(&transmit.bytes, transmit.to).await;
        }
        if let Some(success) = stand.done {
            return Ok(ServerEnd::Done { success });
        }
        if stand.quit {
            return Ok(ServerEnd::Stopped);
        }
        if sent {
            continue;
        }
        let timer = stand.server.poll_deadline().and_then(|at| clock.instant(at));
        tokio::select! {
            biased;
            () = stop.wait() => return Ok(ServerEnd::Stopped),
            received = socket.recv_from(&mut buffer) => {
                // an ICMP error of an earlier datagram is the device's affair
                if let Ok((length, from)) = received {
                    stand.server.handle_datagram(clock.now(), from, &buffer[..length]);
                }
            }
            line = commands.recv(), if open => match line {
                Some(line) => stand.line(clock.now(), &line),
                None => open = false,
            },
            () = until(timer) => stand.server.handle_timeout(clock.now()),
        }
    }
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => core::future::pending().await,
    }
}

fn read(path: &Path) -> Result<Bytes, ServerError> {
    std::fs::read(path)
        .map(Bytes::from)
        .map_err(|source| ServerError::File {
            path: path.display().to_string(),
            source,
        })
}

/// The server with what it is to do.
struct Stand {
    server: Server,
    address: SocketAddr,
    block: Szx,
    observe: bool,
    execute: bool,
    once: bool,
    /// What is to be done once the device is registered.
    first: Option<First>,
    /// A package was delivered by the options: State and Result are waited for.
    delivered: bool,
    executed: bool,
    /// State and Result as the device told them last.
    state: Option<i64>,
    result: Option<i64>,
    known: BTreeMap<OpId, String>,
    served: u32,
    progress: (u64, u64),
    lines: VecDeque<String>,
    done: Option<bool>,
    quit: bool,
}

enum First {
    Push(Bytes),
    Pull(Bytes, String),
}

impl Stand {
    fn new(options: &ServerOptions, address: SocketAddr) -> Result<Self, ServerError> {
        let first = match (&options.push, &options.pull) {
            (Some(path), _) => Some(First::Push(read(path)?)),
            (None, Some(path)) => Some(First::Pull(read(path)?, file_name(path))),
            (None, None) => None,
        };
        let mut server = Server::new(options.config.clone());
        if let Some(endpoint) = &options.endpoint {
            server.set_device(endpoint);
        }
        Ok(Self {
            server,
            address,
            block: options.block,
            observe: options.observe,
            execute: options.execute,
            once: options.once,
            first,
            delivered: false,
            executed: false,
            state: None,
            result: None,
            known: BTreeMap::new(),
            served: 0,
            progress: (0, 0),
            lines: VecDeque::new(),
            done: None,
            quit: false,
        })
    }

    fn say(&mut self, line: impl Into<String>) {
        self.lines.push_back(line.into());
    }

    /// A command as typed.
    fn line(&mut self, now: Duration, line: &str) {
        match console::parse(line) {
            Ok(Some(command)) => self.command(now, command),
            Ok(None) => {}
            Err(error) => self.say(error.to_string()),
        }
    }

    fn command(&mut self, now: Duration, command: Command) {
        let op = match &command {
            Command::Read(path) => self.server.read(now, path, None),
            Command::Discover(path) => self.server.discover(now, path),
            Command::Write(path, text) => {
                self.server
                    .write(now, path, Some(content_format::TEXT), text.as_bytes(), Method::Put)
            }
            Command::Execute(path, arguments) => self.server.execute(now, path, arguments),
            Command::Observe(path) => self.server.observe(now, path, None),
            Command::Attributes(path, attributes) => self.server.write_attributes(now, path, attributes),
            Command::Update => self.server.execute(now, &UPDATE, ""),
            Command::Reset => {
                let uri = LwPath::resource(5, 0, 1);
                self.server
                    .write(now, &uri, Some(content_format::TEXT), b"", Method::Put)
            }
            Command::State => {
                for path in [STATE, RESULT] {
                    self.ask(now, &path);
                }
                return self.ask(now, &VERSION);
            }
            Command::Push(path) => {
                return match read(path) {
                    Ok(image) => self.push(now, image),
                    Err(error) => self.say(error.to_string()),
                };
            }
            Command::Pull(path) => {
                return match read(path) {
                    Ok(image) => self.pull(now, image, &file_name(path)),
                    Err(error) => self.say(error.to_string()),
                };
            }
            Command::List => {
                let all: Vec<String> = self.server.registrations().iter().map(registration_in_words).collect();
                if all.is_empty() {
                    self.say("no device is registered");
                }
                return self.lines.extend(all);
            }
            Command::Use(endpoint) => {
                self.server.set_device(endpoint);
                return self.say(format!("talking to {endpoint}"));
            }
            Command::Help => return self.lines.extend(console::help().lines().map(str::to_owned)),
            Command::Quit => {
                self.quit = true;
                return;
            }
        };
        self.known.insert(op, told(&command));
    }

    fn ask(&mut self, now: Duration, path: &LwPath) {
        let op = self.server.read(now, path, None);
        self.known.insert(op, format!("read {path}"));
    }

    fn push(&mut self, now: Duration, image: Bytes) {
        self.say(format!(
            "push of {} bytes in blocks of {}",
            image.len(),
            self.block.size()
        ));
        self.progress = (image.len() as u64, 0);
        let mut spec = PushSpec::new(LwPath::resource(5, 0, 0), image);
        spec.szx = self.block;
        spec.size1 = u32::try_from(self.progress.0).ok();
        let op = self.server.push(now, spec);
        self.known.insert(op, "push".to_owned());
    }

    fn pull(&mut self, now: Duration, image: Bytes, name: &str) {
        self.served += 1;
        let path = format!("/fw/{}/{name}", self.served);
        let host = self.shown_host();
        let uri = format!("coap://{}{path}", SocketAddr::new(host, self.address.port()));
        self.say(format!("serving {} bytes as {uri}", image.len()));
        let file = File::new(image);
        match self.server.files_mut() {
            Some(files) => files.set_file(&path, file),
            None => self.server.serve_files(FileServer::new(RepositoryConfig {
                files: BTreeMap::from([(path, file)]),
                ..RepositoryConfig::default()
            })),
        }
        let to = LwPath::resource(5, 0, 1);
        let op = self
            .server
            .write(now, &to, Some(content_format::TEXT), uri.as_bytes(), Method::Put);
        self.known.insert(op, format!("write {to}"));
    }

    /// The host of a URI that the device can reach: the address that it is listened on, or for every interface that of the same family
    /// on this machine, which is right for a device on this machine alone.
    fn shown_host(&self) -> IpAddr {
        match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(core::net::Ipv6Addr::LOCALHOST),
            ip => ip,
        }
    }

    fn event(&mut self, now: Duration, event: ServerEvent) {
        match event {
            ServerEvent::Registered(registration) => {
                self.say(format!("registered {}", registration_in_words(&registration)));
                self.begin(now, &registration);
            }
            ServerEvent::Updated(registration) => self.say(format!("updated {}", registration.endpoint)),
            ServerEvent::Deregistered(registration) => self.say(format!("de-registered {}", registration.endpoint)),
            ServerEvent::Expired(registration) => self.say(format!("expired {}", registration.endpoint)),
            ServerEvent::Refused { from, code, reason, .. } => {
                let code = code.map_or_else(|| "silence".to_owned(), |code| code.to_string());
                self.say(format!("refused {from} with {code}: {reason}"));
            }
            ServerEvent::Response {
                op,
                path,
                code,
                packet,
                values,
                decode_error,
                ..
            } => {
                let what = self.known.remove(&op).unwrap_or_else(|| format!("{path}"));
                let content = if let Some(error) = decode_error {
                    format!(" {} bytes that cannot be read: {error}", packet.payload.len())
                } else if values.is_empty() && !packet.payload.is_empty() {
                    format!(" {}", String::from_utf8_lossy(&packet.payload))
                } else {
                    values_in_words(&values)
                };
                self.say(format!("{what}: {code}{content}"));
                self.learn(now, &values);
                if !code.is_success() && (what.starts_with("write /5/0/1") || what == "update") {
                    self.finish(false);
                }
            }
            ServerEvent::Failed { op, reason, .. } => {
                let what = self.known.remove(&op).unwrap_or_else(|| "request".to_owned());
                self.say(format!("{what}: {reason}"));
            }
            ServerEvent::Notification {
                path, values, fresh, ..
            } => {
                let late = if fresh { "" } else { " (out of order)" };
                self.say(format!("notification {path}{late}{}", values_in_words(&values)));
                if fresh {
                    self.learn(now, &values);
                }
            }
            ServerEvent::Sent { from, values, .. } => {
                self.say(format!("send from {from}{}", values_in_words(&values)));
                self.learn(now, &values);
            }
            ServerEvent::PushBlock { block, code, .. } => self.pushed(u64::from(block.num), block.szx, code),
            ServerEvent::PushEnded { op, outcome } => self.push_ended(now, op, &outcome),
            ServerEvent::Malformed { from, error } => self.say(format!("malformed datagram from {from}: {error}")),
            ServerEvent::Repository(RepositoryEvent::Get { path, block2, .. }) => {
                let block = block2.map_or_else(String::new, |block| format!(" block {block}"));
                self.say(format!("GET /{}{block}", path.join("/")));
            }
            _ => {}
        }
    }

    /// The device is registered, for the first time or again after a reboot.
    fn begin(&mut self, now: Duration, registration: &Registration) {
        let ours = self
            .server
            .registration()
            .is_some_and(|known| known.endpoint == registration.endpoint);
        if !ours {
            return;
        }
        if self.observe {
            for path in [STATE, RESULT] {
                let op = self.server.observe(now, &path, None);
                self.known.insert(op, format!("observe {path}"));
            }
        }
        match self.first.take() {
            Some(First::Push(image)) => {
                self.delivered = true;
                self.push(now, image);
            }
            Some(First::Pull(image, name)) => {
                self.delivered = true;
                self.pull(now, image, &name);
            }
            None if !self.observe && self.executed => {
                for path in [STATE, RESULT, VERSION] {
                    self.ask(now, &path);
                }
            }
            None => {}
        }
    }

    /// Progress of a push: a line each tenth.
    fn pushed(&mut self, num: u64, szx: Szx, code: Code) {
        let (total, told) = self.progress;
        let bytes = (num + 1) * szx.size() as u64;
        let tenth = (bytes * 10).checked_div(total).unwrap_or(0).min(10);
        if tenth > told || !code.is_success() {
            self.progress.1 = tenth;
            self.say(format!("push: {} of {total} bytes, {code}", bytes.min(total)));
        }
    }

    fn push_ended(&mut self, now: Duration, op: OpId, outcome: &PushOutcome) {
        self.known.remove(&op);
        let success = matches!(outcome, PushOutcome::Complete { .. });
        self.say(match outcome {
            PushOutcome::Complete { code } => format!("push: complete, {code}"),
            PushOutcome::Refused { code, block } => format!("push: refused with {code} at block {block}"),
            PushOutcome::Failed { reason, block } => format!("push: {reason} at block {block}"),
            PushOutcome::Scripted { code } => format!("push: ended, {code}"),
            PushOutcome::Paused { next } => format!("push: paused before block {next}"),
            PushOutcome::TooManyBlocks => {
                "push: the package has more blocks of this size than can be numbered".to_owned()
            }
        });
        if !success {
            self.finish(false);
        } else if !self.observe {
            for path in [STATE, RESULT] {
                self.ask(now, &path);
            }
        }
    }

    /// State and Result as the device tells them; what they ask for is done.
    fn learn(&mut self, now: Duration, values: &[(LwPath, Value)]) {
        for (path, value) in values {
            let (Value::Integer(number) | Value::Time(number)) = value else {
                continue;
            };
            if *path == STATE {
                self.state = Some(*number);
            } else if *path == RESULT {
                self.result = Some(*number);
            }
        }
        if !self.delivered {
            return;
        }
        if self.state == Some(2) && self.execute && !self.executed {
            self.executed = true;
            self.result = None;
            let op = self.server.execute(now, &UPDATE, "");
            self.known.insert(op, "update".to_owned());
            return;
        }
        match (self.state, self.result) {
            (Some(2), _) if !self.execute => self.finish(true),
            (Some(0 | 2), Some(1)) if self.executed => self.finish(true),
            (Some(0 | 2), Some(2..)) => self.finish(false),
            _ => {}
        }
    }

    fn finish(&mut self, success: bool) {
        if self.once && self.delivered {
            self.done.get_or_insert(success);
        }
    }
}

fn told(command: &Command) -> String {
    match command {
        Command::Read(path) => format!("read {path}"),
        Command::Discover(path) => format!("discover {path}"),
        Command::Write(path, _) => format!("write {path}"),
        Command::Execute(path, _) => format!("execute {path}"),
        Command::Observe(path) => format!("observe {path}"),
        Command::Attributes(path, _) => format!("attributes {path}"),
        Command::Update => "update".to_owned(),
        Command::Reset => "reset".to_owned(),
        _ => "command".to_owned(),
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("package.bin");
    // what would need escaping in a URI is not worth it
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
                c
            } else {
                '_'
            }
        })
        .collect()
}

fn registration_in_words(registration: &Registration) -> String {
    let objects = fotaproof_wire::link_format::encode(&registration.objects);
    format!(
        "{} from {} as {}: lwm2m {}, lifetime {} s, {}",
        registration.endpoint,
        registration.address,
        registration.location_path(),
        registration.lwm2m,
        registration.lifetime,
        objects
    )
}

fn values_in_words(values: &[(LwPath, Value)]) -> String {
    values
        .iter()
        .map(|(path, value)| format!(" {path}={}", value_in_words(value)))
        .collect()
}

fn value_in_words(value: &Value) -> String {
    match value {
        Value::String(text) | Value::CoreLink(text) => format!("{text:?}"),
        Value::Opaque(bytes) => format!("{} bytes", bytes.len()),
        Value::Integer(number) | Value::Time(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::ObjectLink(object, instance) => format!("{object}:{instance}"),
    }
}
