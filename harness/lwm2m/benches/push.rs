//! The push of a package from the reference server to the reference device, without a link between them.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use fotaproof_lwm2m::package::{self, PackageKind};
use fotaproof_lwm2m::server::{PushOutcome, PushSpec, Server, ServerConfig, ServerEvent};
use fotaproof_lwm2m::{Device, DeviceConfig, DeviceInput, DeviceOutput, Flash, SocketId};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::Szx;

/// A round trip, so that message ids live as long as on a link.
const STEP: Duration = Duration::from_millis(40);

fn main() {
    divan::main();
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

struct Pair {
    now: Duration,
    server: Server,
    device: Device,
    socket: SocketId,
}

impl Pair {
    fn new() -> Self {
        let config = DeviceConfig {
            flash_size: 1 << 30,
            ..DeviceConfig::new("dev", address(1, 5683))
        };
        let device = Device::new(config, Flash::new("1.0.0"));
        let mut pair = Self {
            now: Duration::ZERO,
            server: Server::new(ServerConfig::default()),
            device,
            socket: SocketId(0),
        };
        pair.device.handle(Duration::ZERO, DeviceInput::PowerOn);
        while pair.server.registration().is_none() {
            let deadline = [pair.device.poll_deadline(), pair.server.poll_deadline()]
                .into_iter()
                .flatten()
                .min();
            pair.now = pair.now.max(deadline.unwrap_or_default()) + STEP;
            pair.device.handle_timeout(pair.now);
            pair.exchange();
        }
        pair
    }

    /// Carries datagrams until both sides are silent; how the push ended, if it did.
    fn exchange(&mut self) -> Option<PushOutcome> {
        let mut ended = None;
        loop {
            let mut idle = true;
            while let Some(output) = self.device.poll_output() {
                idle = false;
                match output {
                    DeviceOutput::OpenSocket(socket) => self.socket = socket,
                    DeviceOutput::Transmit { socket, bytes, .. } => {
                        self.server
                            .handle_datagram(self.now, address(2, 40000 + socket.0 as u16), &bytes);
                    }
                    _ => {}
                }
            }
            while let Some(transmit) = self.server.poll_transmit() {
                idle = false;
                self.now += STEP;
                let from = address(1, 5683);
                self.device.handle(
                    self.now,
                    DeviceInput::Datagram {
                        socket: self.socket,
                        from,
                        bytes: transmit.bytes,
                    },
                );
            }
            while let Some(event) = self.server.poll_event() {
                if let ServerEvent::PushEnded { outcome, .. } = event {
                    ended = Some(outcome);
                }
            }
            if idle {
                return ended;
            }
        }
    }
}

#[divan::bench(args = [64, 256, 1024], sample_count = 10)]
fn push_1_mib(bencher: Bencher<'_, '_>, size: usize) {
    let model = DeviceConfig::new("dev", address(1, 5683)).model;
    let image = package::build(PackageKind::Valid, "2.0.0", &model, 1 << 20, 7).expect("large enough");
    let image = Bytes::from(image);
    let szx = Szx::from_size(size).expect("a block size");
    bencher
        .counter(BytesCount::new(image.len()))
        .with_inputs(Pair::new)
        .bench_values(|mut pair| {
            let spec = PushSpec {
                szx,
                ..PushSpec::new(LwPath::resource(5, 0, 0), image.clone())
            };
            pair.server.push(pair.now, spec);
            let outcome = pair.exchange();
            assert!(matches!(outcome, Some(PushOutcome::Complete { .. })), "{outcome:?}");
            pair
        });
}
