//! The state machine of object 5, Firmware Update: states, results and the arrows between them (OMA registry object 5, resources 2, 3, 5, 10, 13; LwM2M Core E.6).
//!
//! The arrows T1 to T17 carry the names that the case files use (`oma-fw/T5`). [`Firmware`] only knows what the object shows; what a download or an installation does is the device's.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::definitions::Version;

/// Resource 3 of object 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// 0: nothing is stored.
    #[default]
    Idle,
    /// 1: a package is on its way.
    Downloading,
    /// 2: a package is stored and may be installed.
    Downloaded,
    /// 3: it is being installed.
    Updating,
}

impl State {
    /// The value of the resource.
    pub const fn value(self) -> i64 {
        self as i64
    }

    /// From the value of the resource.
    pub fn from_value(value: i64) -> Option<Self> {
        [Self::Idle, Self::Downloading, Self::Downloaded, Self::Updating]
            .into_iter()
            .find(|state| state.value() == value)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Downloading => "downloading",
            Self::Downloaded => "downloaded",
            Self::Updating => "updating",
        })
    }
}

/// Resource 5 of object 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateResult {
    /// 0: set when a download or an update starts.
    #[default]
    Initial,
    /// 1: updated.
    Success,
    /// 2: not enough flash.
    NoFlash,
    /// 3: not enough memory.
    NoRam,
    /// 4: connection lost while downloading.
    ConnectionLost,
    /// 5: integrity check failed.
    Integrity,
    /// 6: unsupported package type.
    UnsupportedType,
    /// 7: invalid URI.
    InvalidUri,
    /// 8: the installation failed.
    Failed,
    /// 9: unsupported protocol.
    UnsupportedProtocol,
    /// 10: cancelled (object version 1.1).
    Cancelled,
    /// 11: deferred (object version 1.1).
    Deferred,
}

impl UpdateResult {
    /// Every result in the order of its value.
    pub const ALL: [Self; 12] = [
        Self::Initial,
        Self::Success,
        Self::NoFlash,
        Self::NoRam,
        Self::ConnectionLost,
        Self::Integrity,
        Self::UnsupportedType,
        Self::InvalidUri,
        Self::Failed,
        Self::UnsupportedProtocol,
        Self::Cancelled,
        Self::Deferred,
    ];

    /// The value of the resource.
    pub const fn value(self) -> i64 {
        self as i64
    }

    /// From the value of the resource.
    pub fn from_value(value: i64) -> Option<Self> {
        usize::try_from(value)
            .ok()
            .and_then(|index| Self::ALL.get(index).copied())
    }
}

impl fmt::Display for UpdateResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initial => "initial",
            Self::Success => "success",
            Self::NoFlash => "no-flash",
            Self::NoRam => "no-ram",
            Self::ConnectionLost => "connection-lost",
            Self::Integrity => "integrity",
            Self::UnsupportedType => "unsupported-type",
            Self::InvalidUri => "invalid-uri",
            Self::Failed => "failed",
            Self::UnsupportedProtocol => "unsupported-protocol",
            Self::Cancelled => "cancelled",
            Self::Deferred => "deferred",
        })
    }
}

/// What may happen to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A package begins to arrive or a package URI was accepted (T2, T3).
    Start,
    /// A NUL package or an empty URI was written (T4, T11, T17).
    Reset,
    /// The package is complete and accepted (T5).
    Complete,
    /// The download failed (T6), or the URI is of no use (T7).
    DownloadFailed(UpdateResult),
    /// Update was executed and the installation starts (T8, T10, T16).
    Execute,
    /// Update was executed and the user defers (T9).
    Defer,
    /// Cancel was executed (T12).
    Cancel,
    /// The new firmware runs (T13).
    Installed,
    /// The installation failed and another Execute may help (T14).
    InstallFailed,
    /// The installation failed for good: the package is gone (T14b, T15).
    PackageRejected(UpdateResult),
}

/// The trigger has no arrow in this state: the operation behind it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no arrow for {trigger:?} in state {state}")]
pub struct NoArrow {
    /// The state.
    pub state: State,
    /// The trigger.
    pub trigger: Trigger,
}

/// What object 5 shows: State and Update Result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// Resource 3.
    pub state: State,
    /// Resource 5.
    pub result: UpdateResult,
}

impl Firmware {
    /// A pair.
    pub const fn new(state: State, result: UpdateResult) -> Self {
        Self { state, result }
    }

    /// Where an arrow leads in that version of the object.
    pub fn after(self, version: Version, trigger: Trigger) -> Result<Self, NoArrow> {
        use State::{Downloaded, Downloading, Idle, Updating};
        let to = |state, result| Ok(Self { state, result });
        match (self.state, trigger) {
            (Idle, Trigger::Start) => to(Downloading, UpdateResult::Initial),
            (Idle | Downloading | Downloaded, Trigger::Reset) => to(Idle, UpdateResult::Initial),
            (Downloading, Trigger::Complete) => to(Downloaded, UpdateResult::Initial),
            (Idle | Downloading, Trigger::DownloadFailed(result)) => to(Idle, result),
            (Downloaded, Trigger::Execute) => to(Updating, UpdateResult::Initial),
            (Downloaded, Trigger::Defer) if version >= Version::V1_1 => to(Downloaded, UpdateResult::Deferred),
            (Downloading | Downloaded, Trigger::Cancel) if version >= Version::V1_1 => {
                to(Idle, UpdateResult::Cancelled)
            }
            (Updating, Trigger::Installed) => to(Idle, UpdateResult::Success),
            (Updating, Trigger::InstallFailed) => to(Downloaded, UpdateResult::Failed),
            (Updating, Trigger::PackageRejected(result)) => to(Idle, result),
            (state, trigger) => Err(NoArrow { state, trigger }),
        }
    }

    /// Whether that version of the object may show this pair for longer than an instant.
    pub fn is_allowed(self, version: Version) -> bool {
        match self.state {
            State::Idle => {
                self.result != UpdateResult::Deferred
                    && (version >= Version::V1_1 || self.result.value() <= UpdateResult::UnsupportedProtocol.value())
            }
            State::Downloading | State::Updating => self.result == UpdateResult::Initial,
            State::Downloaded => match self.result {
                UpdateResult::Initial | UpdateResult::Failed => true,
                UpdateResult::Deferred => version >= Version::V1_1,
                _ => false,
            },
        }
    }
}

impl fmt::Display for Firmware {
    /// As the case files have it: `2/0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.state.value(), self.result.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 4] = [State::Idle, State::Downloading, State::Downloaded, State::Updating];
    const VERSIONS: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

    #[test]
    fn every_arrow() {
        let triggers = [
            Trigger::Start,
            Trigger::Reset,
            Trigger::Complete,
            Trigger::DownloadFailed(UpdateResult::Integrity),
            Trigger::Execute,
            Trigger::Defer,
            Trigger::Cancel,
            Trigger::Installed,
            Trigger::InstallFailed,
            Trigger::PackageRejected(UpdateResult::Integrity),
        ];
        let mut table = String::new();
        for version in [Version::V1_0, Version::V1_1] {
            for state in STATES {
                let from = Firmware::new(state, UpdateResult::Initial);
                for trigger in triggers {
                    if let Ok(to) = from.after(version, trigger) {
                        table += &format!("{version} {state} {trigger:?} > {to}\n");
                    }
                }
            }
        }
        insta::assert_snapshot!("firmware_arrows", table);
    }

    #[test]
    fn arrows_lead_to_allowed_pairs_only() {
        for version in VERSIONS {
            for state in STATES {
                for trigger in [
                    Trigger::Start,
                    Trigger::Reset,
                    Trigger::Complete,
                    Trigger::Execute,
                    Trigger::Defer,
                    Trigger::Cancel,
                    Trigger::Installed,
                    Trigger::InstallFailed,
                ] {
                    if let Ok(to) = Firmware::new(state, UpdateResult::Initial).after(version, trigger) {
                        assert!(to.is_allowed(version), "{version} {state} {trigger:?} > {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn pairs_of_the_versions_differ_in_10_and_11() {
        let pair = |state, result| Firmware::new(state, UpdateResult::from_value(result).unwrap());
        assert!(!pair(State::Idle, 10).is_allowed(Version::V1_0) && pair(State::Idle, 10).is_allowed(Version::V1_1));
        assert!(
            !pair(State::Downloaded, 11).is_allowed(Version::V1_0)
                && pair(State::Downloaded, 11).is_allowed(Version::V1_1)
        );
        assert!(VERSIONS.iter().all(
            |version| !pair(State::Idle, 11).is_allowed(*version) && !pair(State::Updating, 1).is_allowed(*version)
        ));
        assert_eq!(
            (
                UpdateResult::from_value(12),
                UpdateResult::from_value(-1),
                State::from_value(4)
            ),
            (None, None, None)
        );
    }
}
