//! The embedded reference device as an IUT: the same process, the same clock as the session.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use fotaproof_lwm2m::device::{Device, DeviceConfig, DeviceInput, DeviceOutput, Flash, SocketId};

use crate::session::{IutCommand, IutReport};

/// The first port that the device uses; each socket that it opens takes the next.
const FIRST_PORT: u16 = 50_000;

/// The embedded device with its address.
#[derive(Debug)]
pub struct EmbeddedIut {
    config: DeviceConfig,
    device: Option<Device>,
    /// What survives while the device is off.
    kept: Option<Flash>,
    address: IpAddr,
    ports: BTreeMap<SocketId, u16>,
    next_port: u16,
    stopping: bool,
}

/// What the device gives its driver.
#[derive(Debug)]
pub enum EmbeddedOutput {
    /// A datagram.
    Transmit {
        /// From this address of the device.
        from: SocketAddr,
        /// To this address.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Something happened to it.
    Report(IutReport),
}

impl EmbeddedIut {
    /// A device that is off, at this address.
    #[must_use]
    pub const fn new(config: DeviceConfig, address: IpAddr) -> Self {
        Self {
            config,
            device: None,
            kept: None,
            address,
            ports: BTreeMap::new(),
            next_port: FIRST_PORT,
            stopping: false,
        }
    }

    /// Does what the session asks; what comes of it is told by [`poll_output`](Self::poll_output)
    /// or given back at once.
    pub fn command(&mut self, now: Duration, command: IutCommand) -> Option<IutReport> {
        match command {
            IutCommand::Start => {
                if self.device.is_some() {
                    return Some(IutReport::Started);
                }
                let flash = self
                    .kept
                    .take()
                    .unwrap_or_else(|| Flash::new(self.config.version.clone()));
                let mut device = Device::new(self.config.clone(), flash);
                device.handle(now, DeviceInput::PowerOn);
                self.device = Some(device);
                Some(IutReport::Started)
            }
            IutCommand::Stop => {
                let Some(device) = &mut self.device else {
                    return Some(IutReport::Stopped {
                        status: "it was off".to_owned(),
                    });
                };
                device.handle(now, DeviceInput::Stop);
                self.stopping = true;
                None
            }
            IutCommand::PowerCut => {
                if let Some(mut device) = self.device.take() {
                    device.handle(now, DeviceInput::PowerCut);
                    self.kept = Some(device.flash().clone());
                }
                self.ports.clear();
                Some(IutReport::PowerCut)
            }
            IutCommand::Fresh => {
                self.device = None;
                self.kept = None;
                self.ports.clear();
                self.command(now, IutCommand::Start)
            }
        }
    }

    /// Gives the device a datagram; one to a port that is closed is lost.
    pub fn datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let Some(socket) = self
            .ports
            .iter()
            .find(|(_, port)| **port == to.port())
            .map(|(socket, _)| *socket)
        else {
            return;
        };
        if let Some(device) = &mut self.device {
            device.handle(now, DeviceInput::Datagram { socket, from, bytes });
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        if let Some(device) = &mut self.device
            && device.poll_deadline().is_some_and(|at| at <= now)
        {
            device.handle_timeout(now);
        }
    }

    /// When something is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        self.device.as_ref().and_then(Device::poll_deadline)
    }

    /// The next thing for the driver.
    pub fn poll_output(&mut self) -> Option<EmbeddedOutput> {
        loop {
            let output = self.device.as_mut()?.poll_output()?;
            match output {
                DeviceOutput::OpenSocket(socket) => {
                    self.ports.insert(socket, self.next_port);
                    self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
                }
                DeviceOutput::CloseSocket(socket) => {
                    self.ports.remove(&socket);
                }
                DeviceOutput::Transmit { socket, to, bytes } => {
                    if let Some(port) = self.ports.get(&socket) {
                        return Some(EmbeddedOutput::Transmit {
                            from: SocketAddr::new(self.address, *port),
                            to,
                            bytes,
                        });
                    }
                }
                DeviceOutput::Log(line) => {
                    return Some(EmbeddedOutput::Report(IutReport::Output { stderr: false, line }));
                }
                DeviceOutput::Off => {
                    self.kept = self.device.take().map(|device| device.flash().clone());
                    self.ports.clear();
                    let asked = core::mem::take(&mut self.stopping);
                    let status = "off".to_owned();
                    return Some(EmbeddedOutput::Report(if asked {
                        IutReport::Stopped { status }
                    } else {
                        IutReport::Exited { status }
                    }));
                }
                DeviceOutput::Rebooted { .. } => {}
            }
        }
    }

    /// SHA-256 of the image that the device holds, in hexadecimal.
    #[must_use]
    pub fn image_digest(&self) -> Option<String> {
        let flash = self.device.as_ref().map(Device::flash).or(self.kept.as_ref())?;
        let image = flash.image();
        (!image.is_empty()).then(|| crate::session::sha256_hex(image))
    }
}
