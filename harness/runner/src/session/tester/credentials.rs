//! The credentials of the devices of a case: what each of them presents, and what the server is given.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fotaproof_adapter::{Credential, Security};
use fotaproof_cases::ast::{At, DeviceSecurity, DeviceSetup, SuiteName};
use fotaproof_dtls::{ClientConfig, Psk, Suite};

use super::super::config::SessionConfig;
use super::super::stimuli::Unable;
use super::secure::Secured;

/// Length of a key that is drawn, that of the suites' AES-128.
const KEY: usize = 16;

/// Retransmissions of a flight, after which the handshake has failed: 31 s.
const RETRANSMISSIONS: u32 = 4;

type Devices = BTreeMap<String, DeviceSetup>;

/// The endpoint name of a device.
pub(super) fn endpoint(session: &SessionConfig, name: &str, setup: &DeviceSetup) -> String {
    let name = setup.endpoint_of.as_ref().map_or(name, |of| of.value.as_str());
    format!("{}-{name}", session.tester.instance)
}

fn of<'a>(devices: &'a Devices, name: &At<String>) -> Result<&'a DeviceSecurity, Unable> {
    devices
        .get(&name.value)
        .and_then(|setup| setup.security.as_ref())
        .ok_or_else(|| format!("device {} has no security", name.value))
}

fn identity(session: &SessionConfig, devices: &Devices, name: &str, own: &DeviceSecurity) -> Result<String, Unable> {
    let (name, security) = match &own.identity_of {
        Some(other) => (other.value.as_str(), of(devices, other)?),
        None => (name, own),
    };
    Ok(match &security.identity {
        Some(identity) => identity.value.clone(),
        None => format!("{}-{name}", session.tester.instance),
    })
}

fn key(session: &SessionConfig, devices: &Devices, name: &str, own: &DeviceSecurity) -> Result<Vec<u8>, Unable> {
    let (name, security) = match &own.key_of {
        Some(other) => (other.value.as_str(), of(devices, other)?),
        None => (name, own),
    };
    if let Some(key) = &security.key {
        return Ok(key.value.0.clone());
    }
    let number = devices.keys().take_while(|other| *other != name).count() as u64;
    let mut rng = fastrand::Rng::with_seed(session.seed ^ 0x6b65_7973 ^ ((number + 1) << 40));
    Ok((0..KEY).map(|_| rng.u8(..)).collect())
}

/// What the server is given, if any device has security.
pub(super) fn of_server(session: &SessionConfig) -> Result<Option<Security>, Unable> {
    let devices = fotaproof_cases::devices::devices(&session.case);
    let mut credentials = Vec::new();
    for (name, setup) in &devices {
        let Some(security) = setup.security.as_ref().filter(|security| security.is_known()) else {
            continue;
        };
        let key = key(session, &devices, name, security)?;
        credentials.push(Credential {
            identity: identity(session, &devices, name, security)?,
            key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
            // its own name, whatever it claims to be
            endpoint: Some(format!("{}-{name}", session.tester.instance)),
        });
    }
    Ok(Security::of(credentials))
}

/// DTLS of a device with the server at its secure address.
pub(super) fn of_device(
    session: &SessionConfig,
    name: &str,
    security: &DeviceSecurity,
    server: SocketAddr,
    number: u64,
) -> Result<Secured, Unable> {
    let devices = fotaproof_cases::devices::devices(&session.case);
    let psk = Psk::new(
        identity(session, &devices, name, security)?,
        key(session, &devices, name, security)?,
    );
    let mut config = ClientConfig::new(psk);
    if let Some(suites) = &security.suites {
        config.suites = suites.iter().map(|suite| suite_of(*suite)).collect();
    }
    // a device that was refused without a word says so before its CoAP layer gives up (MAX_TRANSMIT_SPAN, RFC 7252 section 4.8.2)
    config.timings.retransmissions = RETRANSMISSIONS;
    if security.connection_id == Some(true) {
        config.connection_id = Some(Vec::new());
    }
    let seed = session.seed ^ 0x6474_6c73 ^ ((number + 1) << 40);
    Ok(Secured::new(name.to_owned(), server, config, seed))
}

/// The suite of a name.
pub(super) const fn suite_of(name: SuiteName) -> Suite {
    match name {
        SuiteName::PskAes128Ccm8 => Suite::PskAes128Ccm8,
        SuiteName::PskAes128CbcSha256 => Suite::PskAes128CbcSha256,
    }
}
