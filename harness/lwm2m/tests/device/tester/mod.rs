//! The device as a tester of servers: everything that it can be told to do, as it shows on the wire. The server here is the scripted one of the rig.

mod behaviours;
mod orders;
mod rows;
mod settings;
mod truth;

use std::time::Duration;

use fotaproof_lwm2m::{Act, Behaviour, DeviceConfig, NumSelect, OnRequest};
use fotaproof_wire::coap::Szx;

use crate::rig::{Rig, SERVER, package};
use fotaproof_lwm2m::package::PackageKind;

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The device that server-role cases begin with.
pub(super) fn tester() -> DeviceConfig {
    DeviceConfig::tester("dev-1", SERVER.parse().unwrap())
}

pub(super) fn with(behaviours: Vec<Behaviour>) -> Rig {
    Rig::new(DeviceConfig { behaviours, ..tester() })
}

/// A device that does this once, to this block.
pub(super) fn at_block(num: u32, act: Act) -> Rig {
    with(vec![Behaviour::once(OnRequest::block(NumSelect::Is(num)), act)])
}

/// A package of eight blocks of 512 bytes.
pub(super) fn image() -> Vec<u8> {
    package(PackageKind::Valid)
}

/// Pushes these blocks and gives the code of each answer.
pub(super) fn blocks(rig: &mut Rig, nums: impl IntoIterator<Item = u32>, szx: Szx) -> String {
    let body = image();
    let codes: Vec<String> = nums.into_iter().map(|num| rig.block(&body, num, szx)).collect();
    codes.join(" ")
}
