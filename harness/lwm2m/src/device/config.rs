//! Settings of the reference device.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use fotaproof_wire::coap::Szx;
use fotaproof_wire::{LwPath, Value};

use super::behaviour::Behaviour;
use crate::defects::Defect;
use crate::definitions::Version;

/// Settings of a [`Device`](super::Device). [`DeviceConfig::new`] gives a correct device with everything it can do.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Endpoint name, `ep` of the Register.
    pub endpoint: String,
    /// Address of the LwM2M server. Nobody else is obeyed.
    pub server: SocketAddr,
    /// What logs call the server.
    pub server_name: String,
    /// Lifetime of the registration in seconds, 0 for ever.
    pub lifetime: u32,
    /// Version of the enabler.
    pub lwm2m: Version,
    /// Version of object 5: 1.0, 1.1 or 1.2.
    pub object5: Version,
    /// Binding, `b` of the Register.
    pub binding: String,
    /// What the device does wrong on purpose.
    pub defects: BTreeSet<Defect>,
    /// Seed of everything random.
    pub seed: u64,
    /// Model, /3/0/1; packages for another one are refused.
    pub model: String,
    /// Firmware version of an empty flash.
    pub version: String,
    /// Most bytes that a package may have.
    pub flash_size: u64,
    /// Most bytes that a body may have which has to be put together in memory (TLV, SenML, Base64).
    pub ram_size: usize,
    /// From power on, or from a reboot, to the first message.
    pub boot_time: Duration,
    /// How long an installation takes; a package of kind `slow-install` has its own time.
    pub install_time: Duration,
    /// Whether notifications are CON.
    pub confirmable_notifications: bool,
    /// /5/0/8: 0 CoAP, and what a device of ours may claim beside it.
    pub protocols: Vec<u8>,
    /// /5/0/9: 0 pull, 1 push, 2 both.
    pub delivery: u8,
    /// Transmission parameters of its endpoints.
    pub coap: fotaproof_coap::Config,
    /// Host names that resolve; any other name ends in Result 7.
    pub hosts: BTreeMap<String, SocketAddr>,
    /// Block size that a pull asks for.
    pub pull_block: Szx,
    /// Largest block that answers and the Register may have.
    pub largest_block: Szx,
    /// Register in blocks when the object list is longer than this.
    pub register_block: Option<Szx>,
    /// Whether a pull goes on after a power cut.
    pub resume: bool,
    /// Whether State, Result and package are kept over a restart.
    pub persist: bool,
    /// Only signed packages are accepted.
    pub signed_only: bool,
    /// Older packages are refused.
    pub anti_rollback: bool,
    /// Object 4, Connectivity Monitoring.
    pub connectivity: bool,
    /// Radio Signal Strength in dBm from these times on.
    pub radio: Vec<(Duration, i64)>,
    /// Unix time at the start of the session.
    pub unix_time: u64,
    /// An unfinished push is given up after this silence.
    pub push_timeout: Duration,
    /// First pause after a failed registration; it doubles up to [`Self::retry_limit`].
    pub retry: Duration,
    /// Longest pause after a failed registration.
    pub retry_limit: Duration,

    // What follows makes a tester of servers of it: nothing here is wrong by the specifications, or it is wrong so that a server has to refuse it.
    /// What it does with requests of some kinds.
    pub behaviours: Vec<Behaviour>,
    /// State and Update Result at the first boot: left from an earlier update.
    pub initial_pair: Option<(u8, u8)>,
    /// A package in the flash at the first boot: left from an earlier update.
    pub leftover: Option<Vec<u8>>,
    /// The payload of the Register as it is, instead of the true object list.
    pub object_list: Option<String>,
    /// What the Register says in `lwm2m=`, instead of [`Self::lwm2m`].
    pub lwm2m_text: Option<String>,
    /// Registers with the query parameter `Q` (LwM2M Core 1.1, 6.2.1.2). In LwM2M 1.0 queue mode is in [`Self::binding`]: `UQ`.
    pub queue: bool,
    /// In queue mode: after its last message it hears for so long (93 s is usual: RFC 7252, MAX_TRANSMIT_WAIT), then not until its next one. `None` hears always.
    pub wake_for: Option<Duration>,
    /// Sends Updates by itself before the lifetime ends, and registers anew when one is refused; else a registration is only what orders make of it.
    pub keep_alive: bool,
    /// Values of State that are never shown: 1 and 3 are those that a device may be too quick for.
    pub skip_states: Vec<u8>,
    /// It stays in Downloading for so long after the last byte came.
    pub downloaded_after: Duration,
    /// State and Update Result after the last byte came, whatever the package is: 0/2 to 0/7 and the like.
    pub download_ends: Option<(u8, u8)>,
    /// State and Update Result after the installation, whatever the package is: 0/2 to 0/10, 2/8. 0/1 installs it.
    pub install_ends: Option<(u8, u8)>,
    /// After an installation it goes on without a reboot: same registration, same observations.
    pub install_in_place: bool,
    /// The firmware version after an installation, instead of the one of the package.
    pub version_after: Option<String>,
    /// An Execute of Update is put off by so much: 2/11 until then (object version 1.1).
    pub defer_for: Option<Duration>,
    /// The flash is busy with each block for so long: an empty ACK at once, the answer after it.
    pub flash_delay: Duration,
    /// Link Quality, /4/0/3, from these times on.
    pub link_quality: Vec<(Duration, i64)>,
    /// Values that are shown whatever the device really does. Those of resource instances (/5/0/8/0) stand for all instances of their resource.
    pub values: BTreeMap<LwPath, Value>,
    /// Resources that it does not have.
    pub absent: Vec<LwPath>,
    /// Tells State and Update Result with Send (LwM2M Core 1.1, 6.4.4) and sends no notifications.
    pub send_changes: bool,
    /// The first GET of a pull has a Block2 with [`Self::pull_block`]; else the first answer decides (RFC 7959, 2.4).
    pub early_block: bool,
    /// Whether a pull begins anew when the ETag changes.
    pub etag_check: bool,
    /// Once so many bytes of a package are stored, pushed or pulled, the power goes for that long, before anything more is said. Only the first time.
    pub power_cut_at: Option<(u64, Duration)>,
}

impl DeviceConfig {
    /// A correct device: LwM2M 1.1 with object 5 in version 1.2, push and pull.
    pub fn new(endpoint: impl Into<String>, server: SocketAddr) -> Self {
        Self {
            endpoint: endpoint.into(),
            server,
            server_name: "server".to_owned(),
            lifetime: 300,
            lwm2m: Version::V1_1,
            object5: Version::V1_2,
            binding: "U".to_owned(),
            defects: BTreeSet::new(),
            seed: 1,
            model: "fotaproof-device".to_owned(),
            version: "1.0.0".to_owned(),
            flash_size: 1 << 30,
            ram_size: 1 << 20,
            boot_time: Duration::from_secs(2),
            install_time: Duration::from_secs(4),
            confirmable_notifications: false,
            protocols: vec![0],
            delivery: 2,
            coap: fotaproof_coap::Config::default(),
            hosts: BTreeMap::new(),
            pull_block: Szx::S512,
            largest_block: Szx::S1024,
            register_block: None,
            resume: true,
            persist: true,
            signed_only: true,
            anti_rollback: true,
            connectivity: true,
            radio: vec![(Duration::ZERO, -85)],
            unix_time: 1_767_225_600,
            push_timeout: Duration::from_secs(200),
            retry: Duration::from_secs(10),
            retry_limit: Duration::from_secs(120),
            behaviours: Vec::new(),
            initial_pair: None,
            leftover: None,
            object_list: None,
            lwm2m_text: None,
            queue: false,
            wake_for: None,
            keep_alive: true,
            skip_states: Vec::new(),
            downloaded_after: Duration::ZERO,
            download_ends: None,
            install_ends: None,
            install_in_place: false,
            version_after: None,
            defer_for: None,
            flash_delay: Duration::ZERO,
            link_quality: vec![(Duration::ZERO, 100)],
            values: BTreeMap::new(),
            absent: Vec::new(),
            send_changes: false,
            early_block: true,
            etag_check: true,
            power_cut_at: None,
        }
    }

    /// The device that the server-role cases begin with: LwM2M 1.0, object 5 in version 1.0, push and pull over CoAP, blocks of 512 bytes.
    pub fn tester(endpoint: impl Into<String>, server: SocketAddr) -> Self {
        Self {
            lwm2m: Version::V1_0,
            object5: Version::V1_0,
            largest_block: Szx::S512,
            ..Self::new(endpoint, server)
        }
    }

    /// What the device claims, in the words of the case library.
    pub fn claims(&self) -> Vec<String> {
        let mut claims = vec![format!("object={}", self.object5), format!("lwm2m={}", self.lwm2m)];
        let mut claim = |holds: bool, name: &str| {
            if holds {
                claims.push(name.to_owned());
            }
        };
        claim(self.delivery != 0, "push");
        claim(self.delivery != 1, "pull:coap");
        claim(self.lwm2m >= Version::V1_1, "composite");
        claim(self.object5 >= Version::V1_1, "defer");
        claim(self.connectivity, "obj:4");
        claim(self.signed_only, "signed");
        claim(self.anti_rollback, "anti-rollback");
        claim(self.resume, "resume");
        claim(self.persist, "persist");
        for name in ["restart", "kill", "stop", "hook:digest"] {
            claim(true, name);
        }
        for kind in crate::package::PackageKind::ALL {
            claim(true, &format!("pkg:{}", kind.name()));
        }
        claims
    }

    /// The version of object 1, 3 and 4 that goes with the enabler, and of object 5 as configured.
    pub fn versions(&self) -> crate::definitions::Versions {
        crate::definitions::Versions::of(self.lwm2m).with(5, self.object5)
    }
}
