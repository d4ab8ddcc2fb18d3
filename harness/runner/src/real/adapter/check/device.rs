//! The reference device beside an adapter that is tested.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use fotaproof_lwm2m::device::{DeviceConfig, DeviceTruth};
use fotaproof_lwm2m::package::{self, PackageKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::packages::MODEL;
use crate::real::device::{DeviceOptions, run_watched};
use crate::real::{InterruptHandle, interrupt};

/// Registration lifetime of the device, in seconds.
pub(super) const LIFETIME: u32 = 300;
/// Length of the packages.
const LENGTH: usize = 20_000;

/// A device that runs over UDP.
pub(super) struct TestDevice {
    pub(super) endpoint: String,
    truth: watch::Receiver<DeviceTruth>,
    stop: InterruptHandle,
    task: JoinHandle<()>,
}

impl TestDevice {
    /// Switches one on that registers with `server`.
    pub(super) fn start(endpoint: &str, server: SocketAddr) -> Self {
        let config = DeviceConfig {
            lifetime: LIFETIME,
            model: MODEL.to_owned(),
            boot_time: Duration::from_millis(200),
            install_time: Duration::from_millis(300),
            retry: Duration::from_secs(1),
            server_name: server.to_string(),
            seed: u64::from(server.port()) << 16 | u64::from(std::process::id() & 0xffff),
            ..DeviceConfig::tester(endpoint, server)
        };
        let options = DeviceOptions {
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ..DeviceOptions::new(config)
        };
        let (stop, stopped) = interrupt();
        let (tell, truth) = watch::channel(DeviceTruth::default());
        let task = tokio::spawn(async move {
            // a device whose port is refused never registers, which is seen
            let _ = run_watched(options, stopped, &mut |_| {}, &mut |device| {
                tell.send_replace(device.truth());
            })
            .await;
        });
        Self {
            endpoint: endpoint.to_owned(),
            truth,
            stop,
            task,
        }
    }

    /// What is true of it now.
    pub(super) fn truth(&self) -> DeviceTruth {
        self.truth.borrow().clone()
    }

    /// Waits until something is true of it; what is true at the end if it never is.
    pub(super) async fn until(
        &mut self,
        within: Duration,
        mut holds: impl FnMut(&DeviceTruth) -> bool,
    ) -> Result<DeviceTruth, DeviceTruth> {
        let waiting = self.truth.wait_for(|truth| holds(truth));
        let waited = match tokio::time::timeout(within, waiting).await {
            Ok(Ok(truth)) => Some(truth.clone()),
            _ => None,
        };
        waited.ok_or_else(|| self.truth())
    }

    /// Switches it off in order: it de-registers.
    pub(super) async fn stop(self) {
        self.stop.interrupt();
        let mut task = self.task;
        if tokio::time::timeout(Duration::from_secs(2), &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// A package that the device installs.
pub(super) fn package(version: &str) -> Result<Vec<u8>, String> {
    package::build(PackageKind::Valid, version, MODEL, LENGTH, 1).map_err(|error| error.to_string())
}
