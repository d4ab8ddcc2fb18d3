//! An update server, its devices and the time between them: each datagram takes 20 ms, nothing waits.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_adapter::{
    Conditions, ErrorKind, Event, Listen, Message, Method, Operation, Package, Progress, Reply, Request, UpdateStatus,
};
use fotaproof_lwm2m::device::{DeviceAct, DeviceTruth};
use fotaproof_lwm2m::package::{self, PackageKind};
use fotaproof_lwm2m::{
    Device, DeviceConfig, DeviceInput, DeviceOutput, Flash, ServerDefect, SocketId, UpdateServer, UpdateServerConfig,
};
use fotaproof_wire::coap::summary;

pub(crate) const LATENCY: Duration = Duration::from_millis(20);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const INSTANCE: &str = "case";

pub(crate) fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5683))
}

/// The device that server-role cases begin with: object 1.0, push and pull, blocks of 512 bytes.
pub(crate) fn device() -> DeviceConfig {
    DeviceConfig {
        lifetime: 86_400,
        ..DeviceConfig::tester("dev", server_address())
    }
}

pub(crate) fn image(size: usize) -> Bytes {
    package_of(PackageKind::Valid, "2.0.0", size)
}

pub(crate) fn package_of(kind: PackageKind, version: &str, size: usize) -> Bytes {
    let model = device().model;
    Bytes::from(package::build(kind, version, &model, size, 7).unwrap())
}

struct Flying {
    at: Duration,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
}

/// A datagram between server and device, for those that lose some.
pub(crate) struct Seen {
    pub length: usize,
    pub to_device: bool,
}

pub(crate) struct Node {
    pub device: Device,
    host: u8,
    ports: BTreeMap<SocketId, u16>,
}

/// See the top of the file.
pub(crate) struct Rig {
    pub now: Duration,
    pub server: UpdateServer,
    pub nodes: Vec<Node>,
    flying: Vec<Flying>,
    next_port: u16,
    pub lose: Box<dyn FnMut(&Seen) -> bool>,
    /// What went between server and devices: when, whether to a device, the summary.
    pub log: Vec<(Duration, bool, String)>,
    /// Ports of the devices, with each datagram of the log.
    pub ports: Vec<SocketAddr>,
    pub files: BTreeMap<String, Bytes>,
    pub events: Vec<Event>,
    pub replies: Vec<Reply>,
    next_id: u64,
}

impl Rig {
    pub(crate) fn new(defect: Option<ServerDefect>, devices: Vec<DeviceConfig>) -> Self {
        let config = UpdateServerConfig {
            defects: defect.into_iter().collect(),
            ..UpdateServerConfig::new(server_address())
        };
        let mut rig = Self {
            now: Duration::ZERO,
            server: UpdateServer::new(config),
            nodes: Vec::new(),
            flying: Vec::new(),
            next_port: 40_000,
            lose: Box::new(|_| false),
            log: Vec::new(),
            ports: Vec::new(),
            files: BTreeMap::new(),
            events: Vec::new(),
            replies: Vec::new(),
            next_id: 1,
        };
        rig.files.insert("v2.bin".to_owned(), image(4096));
        rig.ask(Operation::Start {
            instance: INSTANCE.to_owned(),
            listen: Listen {
                host: "192.0.2.1".to_owned(),
                port: 5683,
                secure_port: None,
            },
            security: None,
            timings: None,
            folder: None,
        });
        for config in devices {
            rig.add(config);
        }
        rig.run(SECOND * 3);
        rig
    }

    /// One more device, switched on.
    pub(crate) fn add(&mut self, config: DeviceConfig) {
        let flash = Flash::new(config.version.clone());
        self.nodes.push(Node {
            device: Device::new(config, flash),
            host: 10 + self.nodes.len() as u8,
            ports: BTreeMap::new(),
        });
        self.input(self.nodes.len() - 1, DeviceInput::PowerOn);
    }

    /// A registered device and its server.
    pub(crate) fn with(defect: impl Into<Option<ServerDefect>>, device: DeviceConfig) -> Self {
        Self::new(defect.into(), vec![device])
    }

    pub(crate) fn input(&mut self, node: usize, input: DeviceInput) {
        self.nodes[node].device.handle(self.now, input);
        self.collect();
    }

    /// A request of the adapter protocol; its id.
    pub(crate) fn ask(&mut self, operation: Operation) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let files = &self.files;
        let request = Request { id, operation };
        self.server
            .request(self.now, request, &mut |name| files.get(name).cloned());
        self.collect();
        id
    }

    /// The reply to a request, if it came.
    pub(crate) fn reply(&self, id: u64) -> Option<&Reply> {
        self.replies.iter().find(|reply| reply.id == id)
    }

    /// Asks and runs until the reply is there.
    pub(crate) fn answer(&mut self, operation: Operation) -> Result<fotaproof_adapter::Answer, ErrorKind> {
        let id = self.ask(operation);
        for _ in 0..2000 {
            if let Some(reply) = self.reply(id) {
                return match (&reply.ok, &reply.error) {
                    (Some(answer), _) => Ok(answer.clone()),
                    (_, Some(error)) => Err(error.kind),
                    _ => panic!("an empty reply"),
                };
            }
            self.run(SECOND / 10);
        }
        panic!("no reply");
    }

    pub(crate) fn start(&mut self, update: &str, endpoint: &str, method: Method, conditions: Conditions) {
        let operation = Operation::UpdateStart {
            instance: INSTANCE.to_owned(),
            update: update.to_owned(),
            endpoint: endpoint.to_owned(),
            package: Package {
                file: "v2.bin".to_owned(),
                version: "2.0.0".to_owned(),
                uris: BTreeMap::new(),
            },
            method,
            conditions,
        };
        let answer = self.answer(operation);
        assert!(answer.is_ok(), "{answer:?}");
    }

    /// Starts the update `u` of the device `dev` without conditions.
    pub(crate) fn update(&mut self, method: Method) {
        self.start("u", "dev", method, Conditions::default());
    }

    pub(crate) fn progress(&self, update: &str) -> Progress {
        self.server
            .updates()
            .find_map(|(name, progress)| (name == update).then_some(progress))
            .unwrap()
    }

    pub(crate) fn status(&self) -> UpdateStatus {
        self.progress("u").status
    }

    /// Runs until the update `u` is over, or so long.
    pub(crate) fn finish(&mut self, limit: Duration) -> Progress {
        let end = self.now + limit;
        while self.now < end && !self.status().is_final() {
            self.run(SECOND);
        }
        self.progress("u")
    }

    /// Updates the one device, with everything default.
    pub(crate) fn whole_update(&mut self, method: Method) -> Progress {
        self.update(method);
        self.finish(SECOND * 900)
    }

    /// Datagrams of one direction whose summary has all of this in it: when, and the summary.
    pub(crate) fn sent(&self, to_device: bool, with: &[&str]) -> Vec<(Duration, String)> {
        self.log
            .iter()
            .filter(|(_, to, line)| *to == to_device && with.iter().all(|part| line.contains(part)))
            .map(|(at, _, line)| (*at, line.clone()))
            .collect()
    }

    /// Updates of the registration that came while updates of the firmware ran.
    pub(crate) fn count_updates(&self) -> usize {
        let updated = |event: &&Event| matches!(event, Event::Updated { .. });
        self.events.iter().filter(updated).count()
    }

    pub(crate) fn act(&mut self, act: DeviceAct) {
        self.input(0, DeviceInput::Act(act));
    }

    pub(crate) fn truth(&self) -> DeviceTruth {
        self.nodes[0].device.truth()
    }

    /// Every status that an update had, each once, in their order.
    pub(crate) fn statuses(&self, of: &str) -> Vec<UpdateStatus> {
        let mut statuses: Vec<UpdateStatus> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::UpdateStatus { update, progress, .. } if update == of => Some(progress.status),
                _ => None,
            })
            .collect();
        statuses.dedup();
        statuses
    }

    pub(crate) fn story(&self) -> String {
        let line = |(at, to, text): &(Duration, bool, String)| {
            format!("{:>9.3} {} {text}\n", at.as_secs_f64(), if *to { '>' } else { '<' })
        };
        self.log.iter().map(line).collect()
    }

    fn next_event(&self) -> Option<Duration> {
        let devices = self.nodes.iter().filter_map(|node| node.device.poll_deadline()).min();
        [
            devices,
            self.server.poll_deadline(),
            self.flying.iter().map(|flying| flying.at).min(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next_event().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let now = self.now;
            let due = self.flying.iter().position(|flying| flying.at <= now);
            if let Some(due) = due {
                let flying = self.flying.remove(due);
                self.deliver(flying);
            } else {
                for node in &mut self.nodes {
                    if node.device.poll_deadline().is_some_and(|at| at <= now) {
                        node.device.handle_timeout(now);
                    }
                }
                self.server.handle_timeout(now);
            }
            self.collect();
        }
        self.now = end;
    }

    fn deliver(&mut self, flying: Flying) {
        let Flying { from, to, bytes, .. } = flying;
        if to == server_address() {
            self.server.handle_datagram(self.now, from, &bytes);
            return;
        }
        for node in &mut self.nodes {
            let socket = node
                .ports
                .iter()
                .find(|(_, port)| to == SocketAddr::from(([192, 0, 2, node.host], **port)));
            if let Some((socket, _)) = socket {
                let input = DeviceInput::Datagram {
                    socket: *socket,
                    from,
                    bytes,
                };
                node.device.handle(self.now, input);
                return;
            }
        }
    }

    fn collect(&mut self) {
        let mut sent = Vec::new();
        for node in &mut self.nodes {
            while let Some(output) = node.device.poll_output() {
                match output {
                    DeviceOutput::OpenSocket(socket) => {
                        node.ports.insert(socket, self.next_port);
                        self.next_port += 1;
                    }
                    DeviceOutput::CloseSocket(socket) => {
                        node.ports.remove(&socket);
                    }
                    DeviceOutput::Transmit { socket, to, bytes } => {
                        let from = SocketAddr::from(([192, 0, 2, node.host], node.ports[&socket]));
                        sent.push((from, to, bytes));
                    }
                    _ => {}
                }
            }
        }
        while let Some(transmit) = self.server.poll_transmit() {
            sent.push((server_address(), transmit.to, transmit.bytes));
        }
        while let Some(message) = self.server.poll_message() {
            match message {
                Message::Event(event) => self.events.push(event),
                Message::Reply(reply) => self.replies.push(reply),
            }
        }
        for (from, to, bytes) in sent {
            let to_device = from == server_address();
            let text = summary(&bytes);
            let seen = Seen {
                length: bytes.len(),
                to_device,
            };
            let lost = (self.lose)(&seen);
            self.ports.push(if to_device { to } else { from });
            let text = if lost { format!("{text} LOST") } else { text };
            self.log.push((self.now, to_device, text));
            if !lost {
                self.flying.push(Flying {
                    at: self.now + LATENCY,
                    from,
                    to,
                    bytes,
                });
            }
        }
    }
}
