//! What a campaign knows of its device.

use core::time::Duration;

use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use crate::definitions::Version;

/// Package (OMA registry, object 5).
pub(super) const PACKAGE: LwPath = LwPath::resource(5, 0, 0);
/// Package URI.
pub(super) const URI: LwPath = LwPath::resource(5, 0, 1);
/// Update.
pub(super) const UPDATE: LwPath = LwPath::resource(5, 0, 2);
/// State.
pub(super) const STATE: LwPath = LwPath::resource(5, 0, 3);
/// Update Result.
pub(super) const RESULT: LwPath = LwPath::resource(5, 0, 5);
/// PkgVersion.
pub(super) const PACKAGE_VERSION: LwPath = LwPath::resource(5, 0, 7);
/// Firmware Update Protocol Support.
pub(super) const PROTOCOLS: LwPath = LwPath::resource(5, 0, 8);
/// Firmware Update Delivery Method.
pub(super) const DELIVERY: LwPath = LwPath::resource(5, 0, 9);
/// Cancel, from version 1.1 on.
pub(super) const CANCEL: LwPath = LwPath::resource(5, 0, 10);
/// Firmware Version (OMA registry, object 3).
pub(super) const VERSION: LwPath = LwPath::resource(3, 0, 3);
/// Radio Signal Strength (OMA registry, object 4).
pub(super) const SIGNAL: LwPath = LwPath::resource(4, 0, 2);

/// What was asked of the device.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Asked<T> {
    /// Not yet.
    #[default]
    Not,
    /// It does not say.
    Absent,
    /// It says so.
    Got(T),
}

impl<T> Asked<T> {
    pub(super) const fn get(&self) -> Option<&T> {
        match self {
            Self::Got(value) => Some(value),
            Self::Not | Self::Absent => None,
        }
    }
}

/// How a resource is followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Watch {
    /// Nothing was tried.
    #[default]
    Not,
    /// By notifications.
    Observed,
    /// By reading: the device does not let itself be observed.
    Polled,
}

/// What is known; all of it is void after a Register.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) registered: bool,
    pub(super) address: String,
    pub(super) object5: Option<Version>,
    pub(super) delivery: Asked<u8>,
    pub(super) protocols: Asked<Vec<u8>>,
    pub(super) version: Asked<String>,
    pub(super) package_version: Asked<String>,
    pub(super) state: Option<u8>,
    pub(super) result: Option<u8>,
    pub(super) watch_state: Watch,
    pub(super) watch_result: Watch,
    /// When State or Result was last told.
    pub(super) pair_at: Duration,
    /// When the signal strength was asked for, and what it was.
    pub(super) signal: Option<(Duration, Option<i64>)>,
}

impl Known {
    /// Takes the values of an answer or a notification.
    pub(super) fn take(&mut self, now: Duration, values: &[(LwPath, Value)]) {
        for (path, value) in values {
            let small = value.as_i64().and_then(|number| u8::try_from(number).ok());
            let resource = path.truncated(3);
            if resource == STATE && small.is_some() {
                self.state = small;
                self.pair_at = now;
            } else if resource == RESULT && small.is_some() {
                self.result = small;
                self.pair_at = now;
            } else if resource == DELIVERY {
                self.delivery = small.map_or(Asked::Absent, Asked::Got);
            } else if resource == VERSION
                && let Some(version) = value.as_str()
            {
                self.version = Asked::Got(version.to_owned());
            } else if resource == PACKAGE_VERSION
                && let Some(version) = value.as_str()
            {
                self.package_version = Asked::Got(version.to_owned());
            } else if resource == SIGNAL {
                self.signal = Some((now, value.as_i64()));
            }
        }
    }

    /// The values of `/5/0/8` (OMA registry: a multiple resource; unknown values are for the server to ignore).
    pub(super) fn take_protocols(&mut self, values: &[(LwPath, Value)]) {
        let listed: Vec<u8> = values
            .iter()
            .filter(|(path, _)| path.truncated(3) == PROTOCOLS)
            .filter_map(|(_, value)| u8::try_from(value.as_i64()?).ok())
            .collect();
        self.protocols = if listed.is_empty() {
            Asked::Absent
        } else {
            Asked::Got(listed)
        };
    }

    /// State and Result have to be read again.
    pub(super) const fn forget_pair(&mut self) {
        self.state = None;
        self.result = None;
    }

    /// How often State and Result are read although nothing new was told: notifications are best effort (RFC 7641, 1.3).
    pub(super) fn poll_interval(&self) -> Duration {
        let both = self.watch_state == Watch::Observed && self.watch_result == Watch::Observed;
        Duration::from_secs(if both { 20 } else { 5 })
    }
}
