//! From a case and an IUT to the configuration of a session.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use fotaproof_cases::LoadedCase;
use fotaproof_cases::ast::{RepositoryPlace, Role};
use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_lwm2m::update_server::UpdateServerConfig;
use fotaproof_net::LinkSpec;
use sha2::{Digest, Sha256};

use crate::embedded::EmbeddedIut;
use crate::embedded_server::EmbeddedServer;
use crate::iut::{Iut, IutKind};
use crate::packages::{self, MakeError};
use crate::session::network::{NetworkError, for_role, link_spec_for, trouble};
use crate::session::{Addresses, SessionConfig, TesterConfig};
use crate::virtual_iut::VirtualIut;

/// The network of a run: cases build on it.
#[derive(Clone, Debug)]
pub struct RunNetwork {
    /// Its name.
    pub name: String,
    /// The link.
    pub spec: LinkSpec,
}

impl Default for RunNetwork {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            spec: LinkSpec::default(),
        }
    }
}

/// What a run asks of every case.
#[derive(Clone, Debug)]
pub struct CaseOptions {
    /// Seed of the run; that of a case follows from it and the case's id.
    pub seed: u64,
    /// The network.
    pub network: RunNetwork,
    /// Findings of grade should and advice fail too.
    pub strict: bool,
    /// Whether a capture is written.
    pub capture: bool,
    /// Factor of the IUT's clock.
    pub speed: f64,
    /// Whether the fate of every packet of a real run is kept.
    pub record: bool,
    /// The fates of an earlier run, for its replay.
    pub replay: Option<Arc<Vec<fotaproof_net::RecordedFate>>>,
    /// This link instead of the one that follows from the network and the case.
    pub link: Option<Arc<LinkSpec>>,
}

impl Default for CaseOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            network: RunNetwork::default(),
            strict: false,
            capture: false,
            speed: 1.0,
            record: false,
            replay: None,
            link: None,
        }
    }
}

/// Why a case is not run.
#[derive(Debug, thiserror::Error)]
pub enum Unprepared {
    /// The claims of the IUT do not cover it.
    #[error("not applicable: the IUT does not claim {0}")]
    NotApplicable(String),
    /// A package cannot be made.
    #[error("{0}")]
    Package(#[from] MakeError),
    /// The network cannot be made.
    #[error("{0}")]
    Network(#[from] NetworkError),
    /// The case sets what the manifest has no placeholder for.
    #[error("nothing sets {0}")]
    Setting(&'static str),
}

/// The seed of a case in a run.
#[must_use]
pub fn case_seed(run: u64, id: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(run.to_be_bytes())
        .chain_update(id.as_bytes())
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// Why the case does not apply to the IUT, if it does not.
#[must_use]
pub fn not_applicable(case: &LoadedCase, iut: &Iut) -> Option<String> {
    let iut = iut.for_role(case.case.role.value);
    if case.case.role.value != iut.role {
        return Some(match case.case.role.value {
            Role::Client => "the client role".to_owned(),
            Role::Server => "the server role".to_owned(),
        });
    }
    let needs = case.case.needs.iter().map(|need| need.value.as_str());
    match fotaproof_cases::claims::unmet(needs, &iut.claims) {
        Ok(unmet) if unmet.is_empty() => None,
        Ok(unmet) => Some(unmet.join(", ")),
        Err(error) => Some(error.to_string()),
    }
}

/// The addresses of the harness's side in virtual time: documentation addresses (RFC 5737, RFC
/// 3849).
#[must_use]
pub fn virtual_addresses(case: &LoadedCase) -> (Addresses, IpAddr) {
    let ipv6 = case
        .case
        .network
        .as_ref()
        .and_then(|network| network.ipv6)
        .unwrap_or(false);
    let host = |net: u8, last: u8| -> IpAddr {
        if ipv6 {
            [0x2001, 0xdb8, u16::from(net), 0, 0, 0, 0, u16::from(last)].into()
        } else {
            match net {
                1 => [192, 0, 2, last].into(),
                2 => [198, 51, 100, last].into(),
                _ => [203, 0, 113, last].into(),
            }
        }
    };
    let mut repositories = BTreeMap::new();
    for (i, (name, repository)) in crate::session::setup::repositories(&case.case).into_iter().enumerate() {
        if repository.at == RepositoryPlace::Separate {
            repositories.insert(
                name,
                SocketAddr::new(host(2, i as u8 + 1), repository.port.unwrap_or(5683)),
            );
        }
    }
    let mut devices = BTreeMap::new();
    if case.case.role.value == Role::Server {
        for (i, name) in fotaproof_cases::devices::devices(&case.case).into_keys().enumerate() {
            devices.insert(name, host(1, 10_u8.saturating_add(i as u8)));
        }
    }
    let addresses = Addresses {
        server: SocketAddr::new(host(1, 1), 5683),
        other_port: SocketAddr::new(host(1, 1), 61_616),
        stranger: SocketAddr::new(host(3, 9), 5683),
        repositories,
        devices,
    };
    (addresses, host(1, 2))
}

/// The configuration of a session. The addresses are those of virtual time; a real driver
/// replaces them by those of its sockets.
///
/// # Errors
/// When the case does not apply, or its packages or network cannot be made.
pub fn session_config(case: &LoadedCase, iut: &Iut, options: &CaseOptions) -> Result<SessionConfig, Unprepared> {
    let iut = iut.for_role(case.case.role.value);
    if let Some(why) = not_applicable(case, iut) {
        return Err(Unprepared::NotApplicable(why));
    }
    if case.case.iut.as_ref().is_some_and(|iut| iut.lifetime.is_some()) && !takes_lifetime(iut) {
        return Err(Unprepared::Setting(
            "its registration lifetime: `command` has no {lifetime}",
        ));
    }
    let id = case.full_id();
    let seed = case_seed(options.seed, &id);
    let manifest = iut
        .manifest
        .as_ref()
        .map(|(manifest, folder)| (manifest.as_ref(), folder.as_path()));
    let packages = packages::make_all(&case.case, manifest, seed)?;
    let role = case.case.role.value;
    let (link, network) = match &case.case.network {
        Some(own) => (
            link_spec_for(own, &for_role(&options.network.spec, role), role)?,
            own.profile.clone().unwrap_or_else(|| options.network.name.clone()),
        ),
        None => (for_role(&options.network.spec, role), options.network.name.clone()),
    };
    let link = options.link.as_deref().cloned().unwrap_or(link);
    let controls = match &iut.manifest {
        Some((manifest, _)) => manifest
            .board
            .as_ref()
            // an adapter is a hand; what it cannot do, the manifest does not claim
            .is_none_or(|board| !board.value.actions.is_empty() || manifest.adapter.is_some()),
        None => true,
    };
    let real = !iut.is_embedded();
    Ok(SessionConfig {
        case: Arc::new(case.case.clone()),
        id,
        file: case.path.clone(),
        seed,
        iut: iut.name.clone(),
        claims: iut.claims.clone(),
        object: iut.highest("object"),
        lwm2m: iut.highest("lwm2m"),
        addresses: virtual_addresses(case).0,
        packages,
        link,
        network,
        trouble: trouble(&options.network.spec),
        parameters: iut
            .parameters
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        strict: options.strict,
        tolerance: if real {
            // scheduling on a busy machine, scaled with the clock
            Duration::from_millis(150).mul_f64(options.speed.max(1.0))
        } else {
            Duration::ZERO
        },
        packets: options.capture,
        controls_iut: controls,
        record_fates: real && options.record,
        replay: options.replay.clone(),
        tester: TesterConfig {
            instance: instance_name(&case.full_id()),
            ..TesterConfig::default()
        },
    })
}

/// The name of a case as one of an instance: of `[a-z0-9-]`.
#[must_use]
pub fn instance_name(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    for letter in id.chars() {
        let letter = letter.to_ascii_lowercase();
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            name.push(letter);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_matches('-').to_owned()
}

/// Whether the registration lifetime of an IUT can be set.
fn takes_lifetime(iut: &Iut) -> bool {
    match &iut.manifest {
        Some((manifest, _)) if !iut.is_embedded() => {
            let words = manifest
                .command
                .iter()
                .flat_map(|command| &command.value)
                .map(|word| &word.value);
            words
                .chain(manifest.environment.values())
                .any(|word| word.contains("{lifetime}"))
        }
        _ => true,
    }
}

/// The embedded IUT of a case.
#[must_use]
pub fn embedded_iut(case: &LoadedCase, iut: &Iut, config: &SessionConfig) -> Option<VirtualIut> {
    let (_, address) = virtual_addresses(case);
    let base = match &iut.for_role(case.case.role.value).kind {
        IutKind::Embedded(base) => base,
        IutKind::EmbeddedServer(defects) => {
            let server = UpdateServerConfig {
                secure: Some(SocketAddr::new(address, 5684)),
                seed: config.seed ^ 0x7570_6461,
                defects: defects.clone(),
                ..UpdateServerConfig::new(SocketAddr::new(address, 5683))
            };
            return Some(VirtualIut::Server(Box::new(EmbeddedServer::new(
                server,
                &config.packages,
            ))));
        }
        IutKind::Real => return None,
    };
    let mut device: DeviceConfig = base.as_ref().clone();
    device.endpoint = format!("fotaproof-{}", case.id.replace('.', "-"));
    device.server = config.addresses.server;
    device.seed = config.seed ^ 0x6465_7669;
    if let Some(lifetime) = case.case.iut.as_ref().and_then(|iut| iut.lifetime) {
        device.lifetime = u32::try_from(lifetime.0.as_secs()).unwrap_or(u32::MAX);
    }
    Some(VirtualIut::Device(Box::new(EmbeddedIut::new(device, address))))
}
