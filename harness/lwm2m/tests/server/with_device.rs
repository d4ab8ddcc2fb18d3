//! The reference server and the repository with the reference device: whole updates in virtual time.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_lwm2m::package::{self, PackageKind};
use fotaproof_lwm2m::repository::{Act, Fault, File, FileServer, On, Repository, RepositoryConfig, RepositoryEvent};
use fotaproof_lwm2m::server::{Method, OpId, PushOutcome, PushSpec, Server, ServerConfig, ServerEvent};
use fotaproof_lwm2m::{Device, DeviceConfig, DeviceInput, DeviceOutput, Flash, SocketId};
use fotaproof_wire::coap::{Code, Szx, content_format};
use fotaproof_wire::{LwPath, Value};

const LATENCY: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);
const PACKAGE: LwPath = LwPath::resource(5, 0, 0);
const URI: LwPath = LwPath::resource(5, 0, 1);
const UPDATE: LwPath = LwPath::resource(5, 0, 2);
const STATE: LwPath = LwPath::resource(5, 0, 3);
const RESULT: LwPath = LwPath::resource(5, 0, 5);
const VERSION: LwPath = LwPath::resource(3, 0, 3);

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5683))
}

fn repository_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 3], 5783))
}

fn port(socket: SocketId) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 2], 40000 + socket.0 as u16))
}

/// Server, repository and device, each datagram 20 ms under way.
struct Bench {
    now: Duration,
    server: Server,
    repository: Repository,
    device: Device,
    sockets: BTreeMap<SocketAddr, SocketId>,
    flying: Vec<(Duration, SocketAddr, SocketAddr, Bytes)>,
    events: Vec<ServerEvent>,
    gets: usize,
}

impl Bench {
    fn new(repository: RepositoryConfig) -> Self {
        let device = Device::new(DeviceConfig::new("dev", server_address()), Flash::new("1.0.0"));
        let mut bench = Self {
            now: Duration::ZERO,
            server: Server::new(ServerConfig::default()),
            repository: Repository::new(repository),
            device,
            sockets: BTreeMap::new(),
            flying: Vec::new(),
            events: Vec::new(),
            gets: 0,
        };
        bench.device.handle(Duration::ZERO, DeviceInput::PowerOn);
        bench.run(Duration::from_secs(30));
        assert!(
            bench
                .server
                .registration()
                .is_some_and(|registration| registration.has_instance(5, 0))
        );
        bench
    }

    fn collect(&mut self) {
        while let Some(output) = self.device.poll_output() {
            match output {
                DeviceOutput::OpenSocket(socket) => {
                    self.sockets.insert(port(socket), socket);
                }
                DeviceOutput::CloseSocket(socket) => {
                    self.sockets.remove(&port(socket));
                }
                DeviceOutput::Transmit { socket, to, bytes } => {
                    self.flying.push((self.now + LATENCY, port(socket), to, bytes));
                }
                DeviceOutput::Log(_) | DeviceOutput::Off | DeviceOutput::Rebooted { .. } => {}
            }
        }
        let at = self.now + LATENCY;
        while let Some(transmit) = self.server.poll_transmit() {
            self.flying.push((at, server_address(), transmit.to, transmit.bytes));
        }
        while let Some(transmit) = self.repository.poll_transmit() {
            self.flying
                .push((at, repository_address(), transmit.to, transmit.bytes));
        }
        self.events.extend(core::iter::from_fn(|| self.server.poll_event()));
        while let Some(event) = self.repository.poll_event() {
            self.gets += usize::from(matches!(event, RepositoryEvent::Get { .. }));
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.collect();
            let deadlines = [
                self.device.poll_deadline(),
                self.server.poll_deadline(),
                self.repository.poll_deadline(),
            ];
            let flying = self.flying.first().map(|(at, ..)| *at);
            let Some(next) = deadlines
                .into_iter()
                .flatten()
                .chain(flying)
                .min()
                .filter(|next| *next <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            if flying.is_some_and(|at| at <= now) {
                let (_, from, to, bytes) = self.flying.remove(0);
                if to == server_address() {
                    self.server.handle_datagram(now, from, &bytes);
                } else if to == repository_address() {
                    self.repository.handle_datagram(now, from, &bytes);
                } else if let Some(socket) = self.sockets.get(&to).copied() {
                    self.device.handle(now, DeviceInput::Datagram { socket, from, bytes });
                }
                continue;
            }
            self.device.handle_timeout(now);
            self.server.handle_timeout(now);
            self.repository.handle_timeout(now);
        }
        self.now = end;
    }

    fn response(&mut self, wanted: OpId) -> (Code, Vec<(LwPath, Value)>) {
        self.run(SECOND);
        let found = self.events.iter().find_map(|event| match event {
            ServerEvent::Response {
                op,
                code,
                values,
                decode_error: None,
                ..
            } if *op == wanted => Some((*code, values.clone())),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no readable response: {:?}", self.events.last()))
    }

    fn read(&mut self, path: &LwPath) -> Value {
        let op = self.server.read(self.now, path, None);
        let (code, mut values) = self.response(op);
        assert_eq!((code, values.len()), (Code::CONTENT, 1), "{path}");
        values.remove(0).1
    }

    /// State and Result.
    fn pair(&mut self) -> (i64, i64) {
        let mut number = |path| self.read(path).as_i64().expect("a number");
        (number(&STATE), number(&RESULT))
    }

    fn execute(&mut self) -> Code {
        let op = self.server.execute(self.now, &UPDATE, "");
        self.response(op).0
    }

    fn write_uri(&mut self, uri: &str) -> Code {
        let op = self
            .server
            .write(self.now, &URI, Some(content_format::TEXT), uri.as_bytes(), Method::Put);
        self.response(op).0
    }

    fn installs(&mut self) {
        assert_eq!(self.execute(), Code::CHANGED);
        self.run(Duration::from_secs(120));
        assert_eq!(
            self.server.registration().map(|registration| registration.generation),
            Some(2),
            "registered anew"
        );
        assert_eq!(self.pair(), (0, 1));
        assert_eq!(self.read(&VERSION), Value::String("2.0.0".into()));
    }
}

fn image(kind: PackageKind) -> Bytes {
    let model = DeviceConfig::new("dev", server_address()).model;
    package::build(kind, "2.0.0", &model, 20480, 7)
        .expect("20 kB are enough")
        .into()
}

fn pulled() -> RepositoryConfig {
    let file = File {
        etag: Some(vec![0xa1]),
        ..File::new(image(PackageKind::Valid))
    };
    RepositoryConfig {
        files: [("/fw/v2.bin".to_owned(), file)].into(),
        ..RepositoryConfig::default()
    }
}

#[test]
fn an_update_by_push() {
    for szx in [Szx::S64, Szx::S512, Szx::S1024] {
        let mut bench = Bench::new(RepositoryConfig::default());
        assert_eq!(bench.pair(), (0, 0));
        let op = bench.server.push(
            bench.now,
            PushSpec {
                szx,
                ..PushSpec::new(PACKAGE, image(PackageKind::Valid))
            },
        );
        bench.run(Duration::from_secs(60));
        let complete = |event: &ServerEvent| matches!(event, ServerEvent::PushEnded { op: ended, outcome: PushOutcome::Complete { code: Code::CHANGED } } if *ended == op);
        assert!(bench.events.iter().any(complete), "{szx}: {:?}", bench.events.last());
        assert_eq!(bench.pair(), (2, 0), "{szx}");
        bench.installs();
    }
}

#[test]
fn an_update_by_pull_from_a_separate_repository() {
    let mut bench = Bench::new(pulled());
    assert_eq!(bench.write_uri("coap://192.0.2.3:5783/fw/v2.bin"), Code::CHANGED);
    bench.run(Duration::from_secs(60));
    assert!(bench.gets >= 20, "{}", bench.gets);
    assert_eq!(bench.pair(), (2, 0));
    bench.installs();
}

#[test]
fn an_update_by_pull_from_the_server_itself() {
    let mut bench = Bench::new(RepositoryConfig::default());
    bench.server.serve_files(FileServer::new(pulled()));
    assert_eq!(bench.write_uri("coap://192.0.2.1:5683/fw/v2.bin"), Code::CHANGED);
    bench.run(Duration::from_secs(60));
    assert_eq!(bench.pair(), (2, 0));
    bench.installs();
}

#[test]
fn a_held_block_is_a_steady_downloading() {
    let mut bench = Bench::new(RepositoryConfig {
        faults: vec![Fault::new(On::Block(4), Act::Hold).times(1)],
        ..pulled()
    });
    bench.write_uri("coap://192.0.2.3:5783/fw/v2.bin");
    for _ in 0..5 {
        bench.run(Duration::from_secs(9));
        assert_eq!(bench.pair(), (1, 0));
    }
    assert_eq!(bench.repository.release(bench.now), 1);
    bench.run(Duration::from_secs(60));
    assert_eq!(bench.pair(), (2, 0));
}

#[test]
fn the_notification_of_downloaded_arrives() {
    let mut bench = Bench::new(RepositoryConfig::default());
    let attributes = bench
        .server
        .write_attributes(bench.now, &LwPath::instance(5, 0), "pmin=2&pmax=10");
    assert_eq!(bench.response(attributes).0, Code::CHANGED);
    let observation = bench.server.observe(bench.now, &STATE, None);
    assert_eq!(bench.response(observation).1, [(STATE, Value::Integer(0))]);
    bench
        .server
        .push(bench.now, PushSpec::new(PACKAGE, image(PackageKind::Valid)));
    bench.run(Duration::from_secs(15));
    let told = bench.events.iter().rev().find_map(|event| match event {
        ServerEvent::Notification {
            op,
            values,
            fresh: true,
            ..
        } if *op == observation => Some(values.clone()),
        _ => None,
    });
    assert_eq!(told, Some(vec![(STATE, Value::Integer(2))]));
}

#[test]
fn a_body_with_a_gap_is_not_taken() {
    let mut bench = Bench::new(RepositoryConfig::default());
    let order = (0..=4).chain(6..40).map(Into::into).collect();
    let spec = PushSpec {
        blocks: Some(order),
        ..PushSpec::new(PACKAGE, image(PackageKind::Valid))
    };
    bench.server.push(bench.now, spec);
    bench.run(Duration::from_secs(60));
    let refused = bench.events.iter().filter(
        |event| matches!(event, ServerEvent::PushBlock { code, .. } if *code == Code::REQUEST_ENTITY_INCOMPLETE),
    );
    assert!(refused.count() > 0);
    assert_ne!(bench.pair().0, 2);
}
