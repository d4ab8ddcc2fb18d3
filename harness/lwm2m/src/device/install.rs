//! The installation: deferred, run, and what comes of it.

use core::time::Duration;

use super::{Device, Verdict};
use crate::Defect;
use crate::firmware::{Firmware, State, Trigger, UpdateResult};
use crate::package;

impl Device {
    pub(super) fn arm_deferral(&mut self, now: Duration) {
        if !self.has(Defect::DeferNeverEnds) {
            self.ram.update.defer_until = Some(now + Duration::from_secs(self.flash.defer_period.max(1)));
        }
    }

    pub(super) fn install_time(&self) -> Duration {
        let own = package::parse(self.flash.image())
            .ok()
            .flatten()
            .and_then(|parsed| parsed.header.effects().install_time);
        own.unwrap_or(self.config.install_time)
    }

    pub(super) fn start_install(&mut self, now: Duration) {
        self.ram.update.result_before = self.flash.firmware.result.value();
        self.force(now, Trigger::Execute, State::Updating, UpdateResult::Initial);
        self.ram.update.defer_until = None;
        self.ram.update.installs_itself_at = None;
        self.flash.installs += 1;
        self.flash.touch();
        self.ram.update.install_until = Some(now + self.install_time());
    }

    /// The installation is through: what comes of it is written to the flash in one step, then the device reboots into it or stays.
    pub(super) fn finish_install(&mut self, now: Duration) {
        match self.config.install_ends {
            Some((0, 1)) => return self.install_now(now),
            Some((state, result)) => return self.end_by_order(now, state, result),
            None => {}
        }
        let Some(parsed) = package::parse(self.flash.image()).ok().flatten() else {
            let _ = self.transition(now, Trigger::PackageRejected(UpdateResult::Failed));
            return self.flash.erase();
        };
        let directives = parsed.header.effects();
        if directives.bad_at_install {
            let result = if self.has(Defect::InstallIntegrityIs1) {
                UpdateResult::Success
            } else {
                UpdateResult::Integrity
            };
            let _ = self.transition(now, Trigger::PackageRejected(result));
            return self.flash.erase();
        }
        if directives.fail_install {
            let trigger = if self.has(Defect::FailedInstallSilent) {
                Trigger::PackageRejected(UpdateResult::Initial)
            } else if self.has(Defect::FailedInstallIs1) {
                Trigger::PackageRejected(UpdateResult::Success)
            } else {
                Trigger::InstallFailed
            };
            let _ = self.transition(now, trigger);
            return;
        }
        if directives.fail_boot {
            self.flash.verdict = Some(Verdict::BootFailed);
        } else {
            self.flash.verdict = Some(Verdict::Installed);
            if !self.has(Defect::SuccessWithoutInstall) {
                self.flash.version = self.config.version_after.clone().unwrap_or(parsed.header.version);
                self.flash.running_digest = package::hex(&package::digest(self.flash.image()));
                self.flash.dropped_objects = directives.dropped_objects;
            }
        }
        self.flash.touch();
        if self.config.install_in_place && !directives.fail_boot {
            return self.show_installed(now);
        }
        self.reboot(now);
    }

    /// Goes on in the new firmware without a reboot.
    fn show_installed(&mut self, now: Duration) {
        self.flash.verdict = None;
        self.ram.update.just_updated = true;
        self.set_firmware(now, Firmware::new(State::Idle, UpdateResult::Success));
        self.flash.erase();
    }

    /// Installs what is stored, whatever it is.
    pub(super) fn install_now(&mut self, now: Duration) {
        let stored = package::parse(self.flash.image()).ok().flatten();
        let version = stored.map(|parsed| parsed.header.version);
        if let Some(version) = self.config.version_after.clone().or(version) {
            self.flash.version = version;
        }
        self.flash.running_digest = package::hex(&package::digest(self.flash.image()));
        self.set_firmware(now, Firmware::new(State::Updating, UpdateResult::Initial));
        if self.config.install_in_place {
            return self.show_installed(now);
        }
        self.flash.verdict = Some(Verdict::Installed);
        self.flash.touch();
        self.reboot(now);
    }

    /// An update ends with a pair that a tester wants.
    pub(super) fn end_by_order(&mut self, now: Duration, state: u8, result: u8) {
        let Some(pair) = super::orders::pair_of(state, result) else {
            return self.log(format!("object 5 has no pair {state}/{result}"));
        };
        self.halt_update();
        self.set_firmware(now, pair);
        if pair.state == State::Idle {
            self.flash.erase();
        }
    }

    /// Nothing of an update goes on.
    pub(super) fn halt_update(&mut self) {
        self.end_pulls();
        self.ram.push.drain();
        let update = &mut self.ram.update;
        (update.install_until, update.defer_until, update.complete_at) = (None, None, None);
        update.installs_itself_at = None;
        self.flash.pull = None;
        self.flash.verdict = None;
        self.flash.touch();
    }
}
