//! Short stories that a device is taken through, with and without a defect. What a defect does must show in the messages of at least one.

use fotaproof_lwm2m::DeviceConfig;

use crate::rig::Rig;

/// A story.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) config: fn() -> DeviceConfig,
    pub(crate) play: fn(&mut Rig),
}

pub(crate) const URI: &str = "coap://192.0.2.20/fw?v=2";

macro_rules! scenarios {
    ($($name:literal $config:expr, $play:expr;)*) => {
        pub(super) const SCENARIOS: &[$crate::scenarios::Scenario] = &[$($crate::scenarios::Scenario { name: $name, config: $config, play: $play }),*];
    };
}

mod life;
mod pull;
mod push;

/// Every scenario.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    push::SCENARIOS.iter().chain(pull::SCENARIOS).chain(life::SCENARIOS)
}
