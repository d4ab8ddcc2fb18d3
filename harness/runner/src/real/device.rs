//! The reference device alone: over UDP, on the wall's clock, with its flash in a folder.

use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use fotaproof_lwm2m::device::{Device, DeviceConfig, DeviceInput, DeviceOutput, SocketId};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::clock::Clock;
use super::{FlashStore, Interrupt, StoreError};

/// A device that stands alone.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// The device. Its Unix time is set from the clock.
    pub config: DeviceConfig,
    /// Where its flash is kept; in memory if absent, and lost with the process.
    pub folder: Option<PathBuf>,
    /// Whether changes of its state reach the disk before it goes on.
    pub sync: bool,
    /// The address that its sockets are bound to; that of every interface if absent.
    pub address: Option<IpAddr>,
    /// The port of its first socket; a free one if absent. Each reboot takes another.
    pub port: Option<u16>,
    /// The process ends with a reboot instead of going on as the rebooted device; whoever started it starts it again.
    pub exit_on_reboot: bool,
}

impl DeviceOptions {
    /// The device with nothing kept.
    #[must_use]
    pub const fn new(config: DeviceConfig) -> Self {
        Self {
            config,
            folder: None,
            sync: true,
            address: None,
            port: None,
            exit_on_reboot: false,
        }
    }
}

/// Why a device that stood alone ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceEnd {
    /// It was asked to and has de-registered, or tried to.
    Stopped,
    /// It rebooted, and was asked to end the process then.
    Rebooted,
}

/// Why a device cannot stand alone.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Its flash.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Its port.
    #[error("the port {address} cannot be opened: {source}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Runs the device until `stop` is given. What it says goes to `log`, a line at a time.
///
/// # Errors
/// When its flash cannot be kept or a port cannot be opened.
pub async fn run(
    options: DeviceOptions,
    stop: Interrupt,
    log: &mut (dyn FnMut(&str) + Send),
) -> Result<DeviceEnd, DeviceError> {
    run_watched(options, stop, log, &mut |_| {}).await
}

/// As [`run`]; `watch` sees the device whenever something happened to it.
///
/// # Errors
/// As [`run`].
pub async fn run_watched(
    options: DeviceOptions,
    mut stop: Interrupt,
    log: &mut (dyn FnMut(&str) + Send),
    watch: &mut (dyn FnMut(&Device) + Send),
) -> Result<DeviceEnd, DeviceError> {
    let mut config = options.config.clone();
    config.unix_time = unix_time().unwrap_or(config.unix_time);
    let mut store = options
        .folder
        .as_deref()
        .map(|folder| FlashStore::open(folder, options.sync))
        .transpose()?;
    let flash = match &mut store {
        Some(store) => store.load(&config.version)?,
        None => fotaproof_lwm2m::device::Flash::new(config.version.clone()),
    };
    let mut sockets = DeviceSockets::new(&options);
    let mut device = Device::new(config, flash);
    let clock = Clock::starting(1.0);
    let mut stopping = false;
    device.handle(Duration::ZERO, DeviceInput::PowerOn);
    loop {
        let mut end = None;
        while let Some(output) = device.poll_output() {
            // what the device says must be true after the next power cut too
            if let (DeviceOutput::Transmit { .. }, Some(store)) = (&output, &mut store) {
                store.save(device.flash())?;
            }
            match output {
                DeviceOutput::OpenSocket(socket) => sockets.open(socket).await?,
                DeviceOutput::CloseSocket(socket) => sockets.close(socket),
                DeviceOutput::Transmit { socket, to, bytes } => sockets.send(socket, to, &bytes).await,
                DeviceOutput::Log(line) => log(&line),
                DeviceOutput::Off => end = Some(DeviceEnd::Stopped),
                DeviceOutput::Rebooted { .. } => {
                    log("reboot");
                    if options.exit_on_reboot {
                        end = Some(DeviceEnd::Rebooted);
                    }
                }
            }
        }
        if let Some(store) = &mut store {
            store.save(device.flash())?;
        }
        watch(&device);
        if let Some(end) = end {
            return Ok(end);
        }
        let timer = device.poll_deadline().and_then(|at| clock.instant(at));
        tokio::select! {
            biased;
            () = stop.wait(), if !stopping => {
                stopping = true;
                device.handle(clock.now(), DeviceInput::Stop);
            }
            (socket, from, bytes) = sockets.receive() => {
                device.handle(clock.now(), DeviceInput::Datagram { socket, from, bytes });
            }
            () = until(timer) => device.handle_timeout(clock.now()),
        }
    }
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => core::future::pending().await,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a device that stands alone has the wall's clock"
)]
fn unix_time() -> Option<u64> {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .ok()
        .map(|time| time.as_secs())
}

/// The open sockets of the device.
struct DeviceSockets {
    address: IpAddr,
    first: Option<u16>,
    open: Vec<(SocketId, UdpSocket)>,
    used: BTreeSet<u16>,
    buffer: Vec<u8>,
}

impl DeviceSockets {
    /// Attempts at a port that was not used before.
    const ATTEMPTS: usize = 16;

    fn new(options: &DeviceOptions) -> Self {
        let any = if options.config.server.is_ipv6() {
            IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED)
        };
        Self {
            address: options.address.unwrap_or(any),
            first: options.port,
            open: Vec::new(),
            used: BTreeSet::new(),
            buffer: vec![0; 65_536],
        }
    }

    async fn open(&mut self, id: SocketId) -> Result<(), DeviceError> {
        let mut address = SocketAddr::new(self.address, self.first.take().unwrap_or(0));
        let mut attempts = 0;
        loop {
            let error = |source| DeviceError::Socket { address, source };
            let socket = UdpSocket::bind(address).await.map_err(error)?;
            let port = socket.local_addr().map_err(error)?.port();
            attempts += 1;
            if self.used.insert(port) || attempts >= Self::ATTEMPTS {
                self.open.push((id, socket));
                return Ok(());
            }
            address.set_port(0);
        }
    }

    fn close(&mut self, id: SocketId) {
        self.open.retain(|(known, _)| *known != id);
    }

    async fn send(&self, id: SocketId, to: SocketAddr, bytes: &[u8]) {
        if let Some((_, socket)) = self.open.iter().find(|(known, _)| *known == id) {
            // a datagram that the system does not take is lost, as on any network
            let _ = socket.send_to(bytes, to).await;
        }
    }

    async fn receive(&mut self) -> (SocketId, SocketAddr, Bytes) {
        core::future::poll_fn(|cx| self.poll_receive(cx)).await
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<(SocketId, SocketAddr, Bytes)> {
        for (id, socket) in &self.open {
            loop {
                let mut buffer = ReadBuf::new(&mut self.buffer);
                match socket.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => {
                        return Poll::Ready((*id, from, Bytes::copy_from_slice(buffer.filled())));
                    }
                    // an ICMP error of an earlier datagram
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }
}
