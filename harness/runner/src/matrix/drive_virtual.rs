//! Embedded device against embedded server: one loop, time jumps to the next deadline, the same seed gives the same bytes.

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_adapter::{Listen, Message, Operation, Request};
use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_lwm2m::server_defects::ServerDefectSet;
use fotaproof_lwm2m::{UpdateServer, UpdateServerConfig};
use fotaproof_trace::Event;

use super::cell::{CellConfig, CellSession, Ended, Input, Output};
use crate::embedded::{EmbeddedIut, EmbeddedOutput};

/// Turns at one instant before the harness stops believing that time will go on.
const LIVELOCK: u32 = 300_000;
/// Addresses for documentation (RFC 5737).
const CLIENT: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 2));

/// The server's address in virtual time.
pub(super) fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5683))
}

/// The address of the harness's repository in virtual time.
pub(super) fn repository_address() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 5683))
}

/// The embedded server of a cell, with its instance started.
pub(super) fn embedded_server(at: SocketAddr, defects: &ServerDefectSet, config: &CellConfig) -> UpdateServer {
    let (seed, instance) = (config.seed, &config.errand.instance);
    let mut server = UpdateServer::new(UpdateServerConfig {
        seed: seed ^ 0x7365_7276,
        defects: defects.clone(),
        ..UpdateServerConfig::new(at)
    });
    let start = Request {
        id: 1,
        operation: Operation::Start {
            instance: instance.clone(),
            listen: Listen {
                host: at.ip().to_string(),
                port: at.port(),
                secure_port: None,
            },
            security: None,
            timings: None,
            folder: None,
        },
    };
    server.request(Duration::ZERO, start, &mut |_| None);
    server
}

/// The first free number for requests after those of [`embedded_server`].
pub(super) const FIRST_REQUEST: u64 = 2;

/// The embedded device of a cell.
pub(super) fn embedded_device(base: &DeviceConfig, config: &CellConfig, server: SocketAddr) -> EmbeddedIut {
    let device = DeviceConfig {
        endpoint: config.errand.endpoint.clone(),
        server,
        seed: config.seed ^ 0x6465_7669,
        ..base.clone()
    };
    EmbeddedIut::new(device, CLIENT)
}

/// What was said between the cell and its server, for the evidence.
#[derive(Debug, Default)]
pub(super) struct Talk(pub(super) String);

impl Talk {
    pub(super) fn asked(&mut self, request: &Request) {
        self.0 += &fotaproof_adapter::to_line(request);
    }

    pub(super) fn said(&mut self, message: &Message) {
        self.0 += &fotaproof_adapter::to_line(message);
    }
}

/// Runs a cell to its end. Every event goes to `sink` in order; `interrupted` is asked now and then.
pub(super) fn run(
    config: CellConfig,
    (base, defects): (&DeviceConfig, &ServerDefectSet),
    sink: &mut dyn FnMut(&Arc<Event>),
    interrupted: &dyn Fn() -> bool,
    talk: &mut Talk,
) -> Ended {
    let mut client = embedded_device(base, &config, server_address());
    let mut server = embedded_server(server_address(), defects, &config);
    let (file, package): (String, Bytes) = (config.errand.file.clone(), config.errand.spec.package.clone());
    let mut files = move |name: &str| (name == file).then(|| package.clone());
    let mut cell = CellSession::new(config, FIRST_REQUEST);
    let mut now = Duration::ZERO;
    let (mut turns, mut rounds) = (0_u32, 0_u32);
    loop {
        loop {
            let mut busy = false;
            while let Some(output) = cell.poll_output() {
                busy = true;
                match output {
                    Output::Event(event) => sink(&event),
                    Output::ToClient { from, to, bytes } => client.datagram(now, from, to, bytes),
                    Output::ToServer { from, bytes } => server.handle_datagram(now, from, &bytes),
                    Output::Ask(request) => {
                        talk.asked(&request);
                        server.request(now, *request, &mut files);
                    }
                    Output::Client(command) => {
                        if let Some(report) = client.command(now, command) {
                            cell.handle(now, Input::Client(report));
                        }
                    }
                    Output::Done(ended) => return *ended,
                }
            }
            while let Some(output) = client.poll_output() {
                busy = true;
                cell.handle(
                    now,
                    match output {
                        EmbeddedOutput::Transmit { from, to, bytes } => Input::FromClient { from, to, bytes },
                        EmbeddedOutput::Report(report) => Input::Client(report),
                    },
                );
            }
            while let Some(transmit) = server.poll_transmit() {
                busy = true;
                let (from, to, bytes) = (server_address(), transmit.to, transmit.bytes);
                cell.handle(now, Input::FromServer { from, to, bytes });
            }
            while let Some(message) = server.poll_message() {
                busy = true;
                talk.said(&message);
                cell.handle(now, Input::Adapter(Box::new(message)));
            }
            if !busy {
                break;
            }
            turns += 1;
            if turns > LIVELOCK {
                cell.handle(now, Input::Trouble("the harness does not go on: a livelock".to_owned()));
                cell.handle(now, Input::Interrupt);
            }
        }
        let next = [cell.poll_deadline(), client.poll_deadline(), server.poll_deadline()]
            .into_iter()
            .flatten()
            .min();
        match next {
            Some(at) if at > now => {
                now = at;
                turns = 0;
            }
            Some(_) => turns += 1,
            None => cell.handle(now, Input::Interrupt),
        }
        if turns > LIVELOCK {
            cell.handle(now, Input::Trouble("the harness does not go on: a livelock".to_owned()));
            cell.handle(now, Input::Interrupt);
            continue;
        }
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(1024) && interrupted() {
            cell.handle(now, Input::Interrupt);
            continue;
        }
        client.handle_timeout(now);
        if server.poll_deadline().is_some_and(|at| at <= now) {
            server.handle_timeout(now);
        }
        cell.handle_timeout(now);
    }
}
