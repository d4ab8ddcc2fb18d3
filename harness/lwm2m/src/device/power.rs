//! Power: boot, reboot, graceful stop, power cut, and what each leaves of the state.

use core::time::Duration;

use super::register::Registration;
use super::{Device, DeviceOutput, Ram, Verdict};
use crate::Defect;
use crate::definitions::Version;
use crate::firmware::{Firmware, State, Trigger, UpdateResult};

/// How long a graceful stop waits for the answer to its De-register.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// From the answer to Reboot to the reboot.
const REBOOT_DELAY: Duration = Duration::from_millis(500);

/// Whether the device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// Off.
    Off,
    /// Comes up at that time.
    Booting(Duration),
    /// Runs; reboots at that time if there is one.
    On(Option<Duration>),
    /// Waits for the answer to its De-register until then.
    Stopping(Duration),
    /// Powered, and deaf for ever: what some defects end in.
    Dead,
}

impl Device {
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.power, Power::On(_) | Power::Stopping(_))
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self.power, Power::On(_) | Power::Stopping(_) | Power::Dead)
    }

    pub(super) fn power_deadline(&self) -> Option<Duration> {
        match self.power {
            Power::Booting(at) | Power::Stopping(at) => Some(at),
            Power::On(reboot) => reboot,
            Power::Off | Power::Dead => None,
        }
    }

    pub(super) fn power_on(&mut self, now: Duration) {
        if self.power == Power::Off {
            self.power = Power::Booting(now + self.config.boot_time);
        }
    }

    pub(super) fn power_cut(&mut self) {
        self.leave_the_air(false);
        self.power = Power::Off;
        if self.has(Defect::ImageNotSynced) {
            self.flash.erase();
        }
    }

    pub(super) fn stop(&mut self, now: Duration) {
        match self.power {
            Power::Off | Power::Stopping(_) => {}
            Power::On(_) => {
                if self.deregister(now) {
                    self.power = Power::Stopping(now + STOP_PATIENCE);
                } else {
                    self.switch_off();
                }
            }
            Power::Booting(_) | Power::Dead => self.switch_off(),
        }
    }

    /// The De-register is answered, or given up.
    pub(super) fn switch_off(&mut self) {
        self.flush();
        self.leave_the_air(true);
        self.power = Power::Off;
        self.outputs.push_back(DeviceOutput::Off);
    }

    pub(super) fn die(&mut self, why: &str) {
        self.log(format!("device stopped working: {why}"));
        self.power = Power::Dead;
    }

    pub(super) fn reboot_soon(&mut self, now: Duration) {
        if let Power::On(at) = &mut self.power {
            at.get_or_insert(now + REBOOT_DELAY);
        }
    }

    pub(super) fn reboot(&mut self, now: Duration) {
        self.flush();
        self.leave_the_air(false);
        self.outputs.push_back(DeviceOutput::Rebooted {
            boot_time: self.config.boot_time,
        });
        self.power = Power::Booting(now + self.config.boot_time);
    }

    pub(super) fn power_timeout(&mut self, now: Duration) {
        match self.power {
            Power::Booting(at) if at <= now => self.boot(now),
            Power::Stopping(at) if at <= now => self.switch_off(),
            Power::On(Some(at)) if at <= now => self.reboot(now),
            _ => {}
        }
    }

    /// Closes every socket; what was in memory is gone.
    fn leave_the_air(&mut self, orderly: bool) {
        if matches!(self.power, Power::On(_) | Power::Stopping(_) | Power::Dead) {
            for pull in &self.ram.pulls {
                self.outputs.extend(pull.own_socket().map(DeviceOutput::CloseSocket));
            }
            self.outputs.push_back(DeviceOutput::CloseSocket(self.ram.socket));
        }
        if orderly && self.has(Defect::DownloadedStateOnly) {
            self.flash.erase();
        }
        self.ram.pulls.clear();
    }

    fn boot(&mut self, now: Duration) {
        let first = self.flash.boots == 0;
        self.flash.boots += 1;
        self.flash.touch();
        let socket = self.open_socket();
        let before = core::mem::replace(
            &mut self.ram,
            Ram::new(&self.config, self.defects, self.flash.boots, socket),
        );
        if self.has(Defect::OldObserveSurvives) {
            self.ram.observe = before.observe;
        }
        self.power = Power::On(None);
        self.ram.script.boot(now);
        if first {
            if let Some(image) = &self.config.leftover {
                self.flash.append(image);
            }
            if let Some((state, result)) = self.config.initial_pair {
                self.flash.firmware = super::orders::pair_of(state, result).unwrap_or_default();
            }
            self.record_pair(now, self.flash.firmware);
        }
        let pair = self.pair_after_boot(now, first);
        if pair.state == State::Idle && !self.has(Defect::NulKeepsImage) {
            self.flash.erase();
        }
        if pair != self.flash.firmware {
            self.set_firmware(now, pair);
        }
        if first || self.has(Defect::ChangeTimeFrozen) {
            self.flash.last_change = self.unix_time(now);
        }
        if !self.config.persist || self.has(Defect::SeverityForgotten) {
            (self.flash.severity, self.flash.defer_period, self.flash.auto_upgrade) = (1, 0, false);
        }
        self.log(format!(
            "booted version {} with {}",
            self.flash.version, self.flash.firmware
        ));
        self.after_boot(now);
        let updated = pair == Firmware::new(State::Idle, UpdateResult::Success) && self.ram.update.just_updated;
        if !(updated && self.has(Defect::NoRegisterAfterUpdate)) {
            self.register(now);
        } else {
            self.ram.registration = Registration::off();
        }
    }

    /// State and Result that a boot finds: an installation ends, a push is lost, a pull may go on, the rest is as it was.
    fn pair_after_boot(&mut self, now: Duration, first: bool) -> Firmware {
        let pair = self.flash.firmware;
        if first && self.has(Defect::StartsInDownloaded) {
            return Firmware::new(State::Downloaded, UpdateResult::Initial);
        }
        let arrow = |trigger| pair.after(self.config.object5, trigger).unwrap_or(pair);
        match (pair.state, self.flash.verdict.take()) {
            (State::Updating, Some(Verdict::Installed)) => {
                self.ram.update.just_updated = true;
                arrow(Trigger::Installed)
            }
            (State::Updating, Some(Verdict::BootFailed)) if self.has(Defect::RollbackShows1) => {
                arrow(Trigger::Installed)
            }
            (State::Updating, Some(Verdict::BootFailed)) => arrow(Trigger::InstallFailed),
            (State::Updating, None) if self.has(Defect::StuckInUpdating) => pair,
            // Object version 1.0 knows only the way back to Downloaded; later ones may drop the package, and a half-written image is better dropped.
            (State::Updating, None) if self.config.object5 >= Version::V1_1 => {
                arrow(Trigger::PackageRejected(UpdateResult::Failed))
            }
            (State::Updating, None) => arrow(Trigger::InstallFailed),
            (State::Downloading, _) if self.can_resume_pull() => pair,
            (State::Downloading, _) if self.has(Defect::BootsInDownloading) && self.flash.pull.is_none() => pair,
            (State::Downloading, _) => Firmware::default(),
            (State::Downloaded, _) if !self.config.persist => Firmware::default(),
            (State::Idle, _) if !self.config.persist => Firmware::default(),
            (State::Idle | State::Downloaded, _) => {
                let failed = (UpdateResult::NoFlash.value()..=UpdateResult::UnsupportedProtocol.value())
                    .contains(&pair.result.value());
                if self.has(Defect::FailedBecomesSuccess) && failed {
                    self.log(format!("result {} forgotten at {now:?}", pair.result));
                    return Firmware::new(State::Idle, UpdateResult::Success);
                }
                pair
            }
        }
    }
}
