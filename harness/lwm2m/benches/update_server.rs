//! Two thousand devices registered at once and updated by push, in virtual time: what the update server costs, the devices included.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use fotaproof_adapter::{Conditions, Listen, Method, Operation, Package, Request, UpdateStatus};
use fotaproof_lwm2m::package::{self, PackageKind};
use fotaproof_lwm2m::{
    Device, DeviceConfig, DeviceInput, DeviceOutput, Flash, SocketId, UpdateServer, UpdateServerConfig,
};

const LATENCY: Duration = Duration::from_millis(20);

fn main() {
    divan::main();
}

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5683))
}

/// Each device has an address of its own, each of its sockets a port.
fn address(device: usize, socket: SocketId) -> SocketAddr {
    let [.., high, low] = device.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 40_000 + socket.0 as u16))
}

struct Fleet {
    now: Duration,
    server: UpdateServer,
    devices: Vec<Device>,
    /// Deadlines of the devices; one that has changed since is looked up again.
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    flying: VecDeque<(Duration, Option<usize>, SocketAddr, SocketAddr, Bytes)>,
    owners: BTreeMap<SocketAddr, (usize, SocketId)>,
    datagrams: u64,
}

impl Fleet {
    fn new(count: usize, image: &Bytes) -> Self {
        let mut fleet = Self {
            now: Duration::ZERO,
            server: UpdateServer::new(UpdateServerConfig::new(server_address())),
            devices: Vec::new(),
            due: BinaryHeap::new(),
            flying: VecDeque::new(),
            owners: BTreeMap::new(),
            datagrams: 0,
        };
        let mut id = 0;
        let mut ask = |server: &mut UpdateServer, operation| {
            id += 1;
            server.request(Duration::ZERO, Request { id, operation }, &mut |_| Some(image.clone()));
        };
        let instance = || "bench".to_owned();
        ask(
            &mut fleet.server,
            Operation::Start {
                instance: instance(),
                listen: Listen {
                    host: "192.0.2.1".to_owned(),
                    port: 5683,
                    secure_port: None,
                },
                security: None,
                timings: None,
                folder: None,
            },
        );
        for number in 0..count {
            let endpoint = format!("dev-{number:05}");
            let config = DeviceConfig {
                lifetime: 86_400,
                seed: number as u64,
                ..DeviceConfig::tester(&endpoint, server_address())
            };
            fleet.devices.push(Device::new(config, Flash::new("1.0.0")));
            ask(
                &mut fleet.server,
                Operation::UpdateStart {
                    instance: instance(),
                    update: endpoint.clone(),
                    endpoint,
                    package: Package {
                        file: "v2.bin".to_owned(),
                        version: "2.0.0".to_owned(),
                        uris: BTreeMap::from([("coap".to_owned(), "coap://192.0.2.1/fw".to_owned())]),
                    },
                    method: Method::Push,
                    conditions: Conditions::default(),
                },
            );
        }
        for number in 0..count {
            fleet.devices[number].handle(Duration::ZERO, DeviceInput::PowerOn);
            fleet.collect(number);
        }
        fleet
    }

    /// Takes what a device wants, and when it wants to be called.
    fn collect(&mut self, number: usize) {
        let device = &mut self.devices[number];
        while let Some(output) = device.poll_output() {
            match output {
                DeviceOutput::OpenSocket(socket) => {
                    self.owners.insert(address(number, socket), (number, socket));
                }
                DeviceOutput::CloseSocket(socket) => {
                    self.owners.remove(&address(number, socket));
                }
                DeviceOutput::Transmit { socket, to, bytes } => {
                    let from = address(number, socket);
                    self.flying.push_back((self.now + LATENCY, None, from, to, bytes));
                }
                _ => {}
            }
        }
        if let Some(at) = device.poll_deadline() {
            self.due.push(Reverse((at, number)));
        }
    }

    fn collect_server(&mut self) {
        while let Some(transmit) = self.server.poll_transmit() {
            let owner = self.owners.get(&transmit.to).map(|(number, _)| *number);
            let from = server_address();
            self.flying
                .push_back((self.now + LATENCY, owner, from, transmit.to, transmit.bytes));
        }
        while self.server.poll_message().is_some() {}
    }

    fn run(&mut self, limit: Duration) {
        loop {
            let flying = self.flying.front().map(|(at, ..)| *at);
            let device = self.due.peek().map(|Reverse((at, _))| *at);
            let server = self.server.poll_deadline();
            let Some(at) = [flying, device, server]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= limit)
            else {
                return;
            };
            self.now = self.now.max(at);
            if flying == Some(at) {
                let Some((_, owner, from, to, bytes)) = self.flying.pop_front() else {
                    return;
                };
                self.datagrams += 1;
                match owner {
                    Some(number) => {
                        if let Some((_, socket)) = self.owners.get(&to).copied() {
                            self.devices[number].handle(self.now, DeviceInput::Datagram { socket, from, bytes });
                            self.collect(number);
                        }
                    }
                    None => {
                        self.server.handle_datagram(self.now, from, &bytes);
                        self.collect_server();
                    }
                }
            } else if device == Some(at) {
                let Some(Reverse((_, number))) = self.due.pop() else {
                    return;
                };
                if self.devices[number].poll_deadline().is_some_and(|due| due <= self.now) {
                    self.devices[number].handle_timeout(self.now);
                    self.collect(number);
                }
            } else {
                self.server.handle_timeout(self.now);
                self.collect_server();
            }
        }
    }

    fn succeeded(&self) -> usize {
        self.server
            .updates()
            .filter(|(_, progress)| progress.status == UpdateStatus::Succeeded)
            .count()
    }
}

#[divan::bench(args = [200, 2_000], sample_count = 5, sample_size = 1)]
fn devices_updated_at_once(bencher: Bencher<'_, '_>, count: usize) {
    let model = DeviceConfig::tester("dev", server_address()).model;
    let image = package::build(PackageKind::Valid, "2.0.0", &model, 4096, 7).expect("large enough");
    let image = Bytes::from(image);
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| Fleet::new(count, &image))
        .bench_local_values(|mut fleet| {
            fleet.run(Duration::from_secs(120));
            assert_eq!(fleet.succeeded(), count, "after {} datagrams", fleet.datagrams);
            fleet
        });
}
