//! The state machine of object 5 in action: downloads, resets, Cancel, Update, deferral and the installation.

use core::time::Duration;

use fotaproof_coap::RequestId;
use fotaproof_wire::coap::Code;

use super::answer::Answer;
use super::pull::PullStart;
use super::uri::{self, Host, UriError};
use super::{Device, DeviceOutput};
use crate::Defect;
use crate::definitions::Version;
use crate::firmware::{Firmware, State, Trigger, UpdateResult};
use crate::package::{self, Directives, PackageError, Parsed};

/// What the firmware object remembers until the power goes.
#[derive(Debug, Default)]
pub(super) struct Update {
    pub(super) install_until: Option<Duration>,
    pub(super) defer_until: Option<Duration>,
    pub(super) installs_itself_at: Option<Duration>,
    /// The last byte is there; Downloaded is shown at that time.
    pub(super) complete_at: Option<Duration>,
    /// The header of the package on its way, once its last byte is there.
    parsed: Option<(Parsed, Directives)>,
    header_is_new: bool,
    blocks: u32,
    /// What to do once the answer is on its way.
    pending_pull: Option<PullStart>,
    pub(super) refresh: bool,
    pub(super) lifetime_changed: bool,
    pub(super) reboot_installs: bool,
    pub(super) just_updated: bool,
    /// Result before the last download or update, shown by defects.
    pub(super) result_before: i64,
    pub(super) half_reset: bool,
    pub(super) result_hidden_until: Option<Duration>,
    execute_queued: bool,
    /// The package comes by pull.
    pub(super) by_pull: bool,
}

impl Device {
    pub(super) fn update_deadline(&self) -> Option<Duration> {
        let update = &self.ram.update;
        [
            update.install_until,
            update.defer_until,
            update.installs_itself_at,
            update.complete_at,
            update.result_hidden_until,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn update_timeout(&mut self, now: Duration) {
        let due = |at: &mut Option<Duration>| at.take_if(|at| *at <= now).is_some();
        if due(&mut self.ram.update.result_hidden_until) {
            self.ram.observe.mark_dirty();
        }
        if due(&mut self.ram.update.complete_at) {
            self.finish_download(now);
        }
        if due(&mut self.ram.update.install_until) {
            self.finish_install(now);
        }
        let deferred = due(&mut self.ram.update.defer_until);
        let by_itself = due(&mut self.ram.update.installs_itself_at);
        let ready = self.flash.firmware.state == State::Downloaded;
        if (deferred && (ready || self.has(Defect::DeferredInstallSurvives))) || (by_itself && ready) {
            self.start_install(now);
        }
    }

    /// Shows another pair: Last State Change Time first, then State (OMA registry object 5, resource 12).
    pub(super) fn set_firmware(&mut self, now: Duration, pair: Firmware) {
        if pair == self.flash.firmware {
            return;
        }
        if pair.state != self.flash.firmware.state && !self.has(Defect::ChangeTimeFrozen) {
            self.flash.last_change = self.unix_time(now);
        }
        let before = core::mem::replace(&mut self.flash.firmware, pair);
        self.record_pair(now, pair);
        self.flash.touch();
        self.ram.observe.mark_dirty();
        self.log(format!("{before} > {pair}: {}, {}", pair.state, pair.result));
    }

    pub(super) fn transition(&mut self, now: Duration, trigger: Trigger) -> Result<(), Code> {
        let pair = self
            .flash
            .firmware
            .after(self.config.object5, trigger)
            .map_err(|_| Code::METHOD_NOT_ALLOWED)?;
        self.set_firmware(now, pair);
        Ok(())
    }

    /// A transition that a defect takes from anywhere.
    pub(super) fn force(&mut self, now: Duration, trigger: Trigger, state: State, result: UpdateResult) {
        if self.transition(now, trigger).is_err() {
            self.set_firmware(now, Firmware::new(state, result));
        }
    }

    pub(super) fn begin_download(&mut self, now: Duration) {
        self.ram.update.result_before = self.flash.firmware.result.value();
        self.ram.update.by_pull = false;
        self.force(now, Trigger::Start, State::Downloading, UpdateResult::Initial);
        self.restart_download(now);
    }

    /// What came so far is void; the state stays.
    pub(super) fn restart_download(&mut self, _now: Duration) {
        self.flash.erase();
        let update = &mut self.ram.update;
        (update.parsed, update.header_is_new, update.blocks) = (None, false, 0);
        update.complete_at = None;
    }

    /// Stores a part of the package, and looks at its header as soon as it is there.
    pub(super) fn store(&mut self, now: Duration, offset: u64, bytes: &[u8]) {
        self.flash.write_at(offset as usize, bytes);
        self.ram.update.blocks += 1;
        if self.has(Defect::BodyInMemory) && self.flash.image().len() > 1 << 20 {
            return self.die("it ran out of memory");
        }
        if self.ram.update.parsed.is_none() {
            self.look_at_header(now);
        }
    }

    fn look_at_header(&mut self, now: Duration) {
        match package::parse(self.flash.image()) {
            Ok(None) => {}
            Ok(Some(parsed)) => {
                let directives = parsed.header.effects();
                let verdict = self.judge_header(&parsed, &directives);
                self.ram.update.parsed = Some((parsed, directives));
                self.ram.update.header_is_new = true;
                if let Err(result) = verdict {
                    self.fail_download(now, result);
                }
            }
            Err(PackageError::Magic(_)) if self.has(Defect::WrongTypeAccepted) => {}
            Err(error) => self.fail_download(now, result_of(error)),
        }
    }

    fn judge_header(&self, parsed: &Parsed, directives: &Directives) -> Result<(), UpdateResult> {
        let header = &parsed.header;
        if header.model != self.config.model {
            return Err(UpdateResult::UnsupportedType);
        }
        if directives.no_flash || header.size > self.config.flash_size {
            return Err(UpdateResult::NoFlash);
        }
        if directives.no_ram {
            return Err(UpdateResult::NoRam);
        }
        if self.config.signed_only && header.signature.is_none() && !self.has(Defect::SignatureOptional) {
            return Err(UpdateResult::Integrity);
        }
        if self.config.anti_rollback
            && is_older(&header.version, &self.flash.version)
            && !self.has(Defect::RollbackAllowed)
        {
            return Err(UpdateResult::UnsupportedType);
        }
        Ok(())
    }

    /// How long the flash is busy with the block that was just stored.
    pub(super) fn flash_delay(&mut self, _offset: u64) -> Duration {
        let update = &mut self.ram.update;
        let own = self.config.flash_delay;
        let Some((_, directives)) = &update.parsed else {
            return own;
        };
        let tenth = directives.tenth.filter(|_| update.blocks.is_multiple_of(10));
        let erase = if core::mem::take(&mut update.header_is_new) {
            directives.erase
        } else {
            Duration::ZERO
        };
        own + erase + tenth.unwrap_or(directives.write)
    }

    /// The last byte is there: Downloaded, or why not.
    pub(super) fn complete_download(&mut self, now: Duration) {
        if self.flash.firmware.state != State::Downloading && !self.goes_on_after_cancel() {
            return;
        }
        if self.config.downloaded_after.is_zero() {
            self.finish_download(now);
        } else {
            self.ram.update.complete_at = Some(now + self.config.downloaded_after);
        }
    }

    fn finish_download(&mut self, now: Duration) {
        self.flash.pull = None;
        let length = self.flash.image().len();
        let wrapped = self.has(Defect::Length16Bit) && length > 65_535;
        if wrapped {
            self.flash.truncate(length % 65_536);
        }
        self.flash.record_received();
        self.tally.packages_received += 1;
        if let Some((state, result)) = self.config.download_ends.filter(|pair| *pair != (2, 0)) {
            return self.end_by_order(now, state, result);
        }
        if let Err(error) = self.verify_package()
            && !wrapped
        {
            self.log(format!("package refused: {error}"));
            return self.fail_download(now, result_of(error));
        }
        self.ram.update.half_reset = false;
        self.force(now, Trigger::Complete, State::Downloaded, UpdateResult::Initial);
        if self.has(Defect::InstallsByItself) {
            self.ram.update.installs_itself_at = Some(now + Duration::from_secs(60));
        }
        let automatic =
            self.config.object5 >= Version::V1_2 && self.flash.auto_upgrade && !self.has(Defect::AutoUpgradeIgnored);
        if automatic || core::mem::take(&mut self.ram.update.execute_queued) {
            self.start_install(now);
        }
    }

    fn verify_package(&self) -> Result<(), PackageError> {
        if self.has(Defect::ChecksumUnchecked) || (self.has(Defect::EmptyPackageIs2) && self.flash.image().is_empty()) {
            return Ok(());
        }
        match package::verify(self.flash.image()) {
            Err(PackageError::Signature) if self.has(Defect::SignatureCoversHeader) => Ok(()),
            Err(PackageError::Magic(_)) if self.has(Defect::WrongTypeAccepted) => Ok(()),
            verdict => verdict.map(|_| ()),
        }
    }

    /// A defect lets blocks go on after Cancel.
    pub(super) fn goes_on_after_cancel(&self) -> bool {
        self.ram.push.cancelled && self.has(Defect::CancelledPushContinues)
    }

    pub(super) fn fail_download(&mut self, now: Duration, result: UpdateResult) {
        let pulled = self.ram.update.by_pull;
        if result == UpdateResult::NoRam && self.has(Defect::NoRamStalls) {
            self.ram.push.drain();
            return self.end_pulls();
        }
        let result = match result {
            UpdateResult::NoFlash if self.has(Defect::FlashFullIs8) => UpdateResult::Failed,
            UpdateResult::NoRam if self.has(Defect::NoRamIs2) => UpdateResult::NoFlash,
            UpdateResult::ConnectionLost if self.has(Defect::LostLinkIs7) => UpdateResult::InvalidUri,
            UpdateResult::Integrity if pulled && self.has(Defect::CorruptPullIs4) => UpdateResult::ConnectionLost,
            UpdateResult::UnsupportedType if self.has(Defect::WrongTypeIs5) => UpdateResult::Integrity,
            result => result,
        };
        self.ram.push.drain();
        self.ram.update.complete_at = None;
        if !(result == UpdateResult::NoFlash && self.has(Defect::FlashFullGoesOn)) {
            self.end_pulls();
        }
        self.ram.update.half_reset = false;
        self.force(now, Trigger::DownloadFailed(result), State::Idle, result);
        self.flash.erase();
        self.flash.pull = None;
        if self.has(Defect::ObserveGoesBack) {
            self.set_sequences_back();
        }
    }

    /// A NUL package or an empty URI.
    pub(super) fn reset_firmware(&mut self, now: Duration) -> Code {
        let pair = self.flash.firmware;
        match pair.state {
            State::Updating if self.has(Defect::NulInUpdating) => self.abort_install(now),
            State::Updating => return Code::METHOD_NOT_ALLOWED,
            State::Idle if self.has(Defect::NulKeepsResult) => {}
            State::Idle | State::Downloaded
                if self.has(Defect::FailedIsFinal) && pair.result == UpdateResult::Failed =>
            {
                return Code::METHOD_NOT_ALLOWED;
            }
            State::Downloading if self.has(Defect::NulHalfReset) => {
                self.ram.update.half_reset = true;
                self.ram.observe.mark_dirty();
            }
            State::Downloading if self.has(Defect::ResetThenDownloaded) => {
                let _ = self.transition(now, Trigger::Reset);
            }
            _ => self.drop_package(now),
        }
        self.flash.uri.clear();
        self.flash.touch();
        self.tally.resets += 1;
        Code::CHANGED
    }

    /// Back to 0/0; whatever was on its way or stored is gone.
    pub(super) fn drop_package(&mut self, now: Duration) {
        self.end_pulls();
        self.ram.push.give_up();
        self.ram.push.cancelled = false;
        let deferred =
            self.flash.firmware.result == UpdateResult::Deferred && self.has(Defect::DeferredInstallSurvives);
        let _ = self.transition(now, Trigger::Reset);
        if !deferred {
            self.ram.update.defer_until = None;
        }
        self.ram.update.installs_itself_at = None;
        self.ram.update.complete_at = None;
        if !(self.has(Defect::NulKeepsImage) || deferred) {
            self.flash.erase();
        }
        self.flash.pull = None;
        self.flash.touch();
    }

    /// Ends a running installation with 0/0: what only a defect does.
    pub(super) fn abort_install(&mut self, now: Duration) {
        self.ram.update.install_until = None;
        self.set_firmware(now, Firmware::default());
        self.flash.erase();
    }

    /// Execute on Cancel (OMA registry object 5, resource 10).
    pub(super) fn cancel(&mut self, now: Duration) -> Answer {
        if self.config.object5 < Version::V1_1 {
            return if self.has(Defect::CancelAnswers204) {
                Code::CHANGED
            } else {
                Code::NOT_FOUND
            }
            .into();
        }
        match self.flash.firmware.state {
            State::Idle if self.has(Defect::CancelIdleCrashes) => {
                self.die("there was nothing to cancel");
                return Answer::silent();
            }
            State::Updating if self.has(Defect::CancelInUpdating) => return Code::CHANGED.into(),
            _ => {}
        }
        let deferred =
            self.flash.firmware.result == UpdateResult::Deferred && self.has(Defect::DeferredInstallSurvives);
        if let Err(code) = self.transition(now, Trigger::Cancel) {
            return code.into();
        }
        if self.has(Defect::CancelIsResult0) {
            self.set_firmware(now, Firmware::default());
        }
        if !self.has(Defect::CancelKeepsFetching) {
            self.end_pulls();
        }
        if !self.has(Defect::CancelledPushContinues) {
            self.ram.push.give_up();
            self.flash.erase();
        }
        if !deferred {
            self.ram.update.defer_until = None;
        }
        self.ram.update.installs_itself_at = None;
        self.ram.update.complete_at = None;
        self.ram.push.cancelled = true;
        self.flash.pull = None;
        self.flash.touch();
        Code::CHANGED.into()
    }

    /// Execute on Update (OMA registry object 5, resource 2): answered first, acted upon then.
    pub(super) fn execute_update(&mut self, now: Duration, _id: RequestId) -> Answer {
        let Firmware { state, result } = self.flash.firmware;
        match state {
            State::Downloaded if self.has(Defect::ExecuteNoReply) => {
                self.start_install(now);
                self.ram.update.install_until = Some(now);
                return Answer::silent();
            }
            State::Downloaded if result == UpdateResult::Deferred => {}
            State::Downloaded if self.config.defer_for.is_some() => {
                self.set_firmware(now, Firmware::new(State::Downloaded, UpdateResult::Deferred));
                self.ram.update.defer_until = self.config.defer_for.map(|defer| now + defer);
            }
            State::Downloaded => {
                let wanted = package::parse(self.flash.image())
                    .ok()
                    .flatten()
                    .is_some_and(|parsed| parsed.header.effects().defer);
                let allowed = self.flash.defer_period > 0 || self.has(Defect::DeferAlthoughZero);
                if wanted && allowed && self.transition(now, Trigger::Defer).is_ok() {
                    self.arm_deferral(now);
                } else {
                    self.start_install(now);
                }
            }
            State::Idle
                if self.has(Defect::ExecuteInIdle)
                    || (self.has(Defect::NulKeepsImage) && !self.flash.image().is_empty()) =>
            {
                self.start_install(now);
            }
            State::Idle if result == UpdateResult::Success && self.has(Defect::LateExecuteReboots) => {
                self.reboot_soon(now);
            }
            State::Downloading if self.has(Defect::ExecuteQueued) => {
                self.ram.update.execute_queued = true;
                return Code::METHOD_NOT_ALLOWED.into();
            }
            State::Updating if self.has(Defect::ExecuteInUpdating) => {
                self.ram.update.install_until = Some(now + self.install_time());
                self.flash.installs += 1;
            }
            State::Updating if self.has(Defect::ExecuteTwice) => self.flash.install_again = true,
            _ => return Code::METHOD_NOT_ALLOWED.into(),
        }
        Code::CHANGED.into()
    }

    /// What goes on after a boot: a pull, a deferral, or what a defect makes of it.
    pub(super) fn after_boot(&mut self, now: Duration) {
        let installs = core::mem::take(&mut self.flash.install_again) && self.ram.update.just_updated;
        if installs {
            self.flash.installs += 1;
            self.reboot_soon(now);
        }
        if self.ram.update.just_updated && self.has(Defect::ResultLateAfterBoot) {
            self.ram.update.result_hidden_until = Some(now + Duration::from_secs(5));
        }
        match self.flash.firmware {
            Firmware {
                state: State::Downloading,
                ..
            } => self.resume_pull(now),
            Firmware {
                state: State::Downloaded,
                result: UpdateResult::Deferred,
            } => self.arm_deferral(now),
            Firmware {
                state: State::Downloaded,
                ..
            } if core::mem::take(&mut self.flash.install_at_boot) => self.start_install(now),
            _ => {}
        }
    }

    /// What waited for the answer to be on its way.
    pub(super) fn after_answer(&mut self, now: Duration) {
        if core::mem::take(&mut self.ram.update.reboot_installs) {
            self.flash.install_at_boot = true;
        }
        if let Some(start) = self.ram.update.pending_pull.take() {
            self.start_pull(now, start);
        }
        if core::mem::take(&mut self.ram.update.refresh) {
            let lifetime = core::mem::take(&mut self.ram.update.lifetime_changed);
            self.refresh_registration(now, lifetime);
        }
    }

    /// Success is forgotten once it was read: what only a defect does.
    pub(super) fn forget_success(&mut self, now: Duration) {
        if self.flash.firmware == Firmware::new(State::Idle, UpdateResult::Success) {
            self.set_firmware(now, Firmware::default());
        }
    }

    /// A write of Package URI that was found allowed.
    pub(super) fn write_uri(&mut self, now: Duration, mut uri: String) {
        self.tally.uri_writes += u32::from(!uri.is_empty());
        let state = self.flash.firmware.state;
        if uri.is_empty() {
            match state {
                State::Idle if self.has(Defect::EmptyUriDownloads) => return self.begin_download(now),
                State::Downloaded if self.has(Defect::EmptyUriIgnored) => return,
                State::Updating => return self.abort_install(now),
                _ => {}
            }
            self.reset_firmware(now);
            return;
        }
        if self.has(Defect::UriCutAt128) {
            let end = (0..=uri.len().min(128))
                .rev()
                .find(|end| uri.is_char_boundary(*end))
                .unwrap_or(0);
            uri.truncate(end);
        }
        match state {
            State::Updating => return self.abort_install(now),
            State::Downloaded => self.drop_package(now),
            _ => {}
        }
        let judged = self.judge_uri(&uri);
        self.flash.uri.clone_from(&uri);
        self.flash.touch();
        match judged {
            _ if self.has(Defect::UriAcceptedNoGet) => {}
            Ok(start) => {
                if state != State::Downloading {
                    self.begin_download(now);
                }
                self.ram.update.pending_pull = Some(PullStart {
                    shadow: state == State::Downloading,
                    ..start
                });
            }
            Err(UpdateResult::InvalidUri) if self.has(Defect::BadUriHangs) && !uri.contains("://h") => {
                self.begin_download(now);
            }
            Err(result) => {
                self.fail_download(now, result);
                if self.has(Defect::ResultWiped) {
                    self.set_firmware(now, Firmware::default());
                }
            }
        }
    }

    /// Where a URI leads; Result 7 or 9 when nowhere (OMA registry object 5, resource 5).
    pub(super) fn judge_uri(&self, text: &str) -> Result<PullStart, UpdateResult> {
        let schemes: &[&str] = if self.has(Defect::UnlistedSchemeTried) {
            &["coap", "coaps", "http", "https", "coap+tcp", "coaps+tcp"]
        } else {
            &["coap"]
        };
        if self.has(Defect::BracketParse) && text.contains('[') {
            return Err(UpdateResult::InvalidUri);
        }
        let uri = uri::parse(text, schemes).map_err(|error| match error {
            UriError::Scheme(_) if !self.has(Defect::UnknownSchemeIs7) => UpdateResult::UnsupportedProtocol,
            _ => UpdateResult::InvalidUri,
        })?;
        if !self.config.protocols.contains(&0) {
            return Err(UpdateResult::UnsupportedProtocol);
        }
        let target = match &uri.host {
            Host::Address(address) => core::net::SocketAddr::new(*address, uri.port),
            Host::Name(name) => {
                let mut address = *self.config.hosts.get(name).ok_or(UpdateResult::InvalidUri)?;
                // The map gives an address; a port in the URI wins over the one of the map.
                if uri.port != uri::COAP_PORT {
                    address.set_port(uri.port);
                }
                address
            }
        };
        Ok(PullStart {
            uri,
            target,
            shadow: false,
        })
    }

    pub(super) fn close_socket(&mut self, socket: super::SocketId) {
        self.outputs.push_back(DeviceOutput::CloseSocket(socket));
    }
}

fn result_of(error: PackageError) -> UpdateResult {
    if matches!(error, PackageError::Magic(_)) {
        UpdateResult::UnsupportedType
    } else {
        UpdateResult::Integrity
    }
}

/// Whether a dotted version is below another; what is no number counts by its text.
fn is_older(version: &str, running: &str) -> bool {
    let numbers = |text: &str| {
        text.split('.')
            .map(|part| part.parse::<u64>().ok())
            .collect::<Option<Vec<_>>>()
    };
    match (numbers(version), numbers(running)) {
        (Some(version), Some(running)) => version < running,
        _ => version < running,
    }
}

#[cfg(test)]
mod tests {
    use super::is_older;

    #[test]
    fn versions_compare_by_number() {
        assert!(is_older("1.9.0", "1.10.0"));
        assert!(!is_older("1.10.0", "1.9.0"));
        assert!(!is_older("2.0.0", "2.0.0"));
        assert!(is_older("a", "b"));
    }
}
