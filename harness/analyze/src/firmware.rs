//! What a device reports about its firmware: State, Result, version, in whatever content format.

use core::time::Duration;
use fotaproof_lwm2m::definitions::{Versions, resource_type};
use fotaproof_wire::coap::Code;
use fotaproof_wire::{LwPath, content};

use crate::facts::clean;
use crate::report::{ExecuteReport, FirmwareReport, Moment, SampleReport};

/// Samples kept.
const SAMPLES: usize = 256;
/// Executes and reboots kept.
const FEW: usize = 64;
/// The longest content that is decoded.
const CONTENT: usize = 8192;
/// Names of files kept.
const FILES: usize = 8;

/// What one message told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) state: Option<u8>,
    pub(crate) result: Option<u8>,
    pub(crate) version: Option<String>,
    /// Something of it is new.
    pub(crate) changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    text: String,
    at: Duration,
}

/// What is known of a device's firmware.
#[derive(Debug, Default)]
pub(crate) struct Firmware {
    samples: Vec<SampleReport>,
    more: u64,
    executes: Vec<ExecuteReport>,
    first_execute: Option<Duration>,
    reboots: Vec<Moment>,
    versions: Vec<Version>,
    files: Vec<(u64, String)>,
}

impl Firmware {
    pub(crate) fn execute(&mut self, at: Duration, packet: u64, path: LwPath) {
        self.first_execute = self.first_execute.or(Some(at));
        if self.executes.len() < FEW {
            self.executes.push(ExecuteReport {
                at: at.as_secs_f64(),
                packet,
                path: path.to_string(),
                answer: None,
            });
        }
    }

    pub(crate) fn execute_answered(&mut self, packet: u64, code: Code) {
        if let Some(execute) = self.executes.iter_mut().rev().find(|execute| execute.packet == packet) {
            execute.answer = Some(code.to_string());
        }
    }

    pub(crate) fn reboot(&mut self, at: Duration, packet: u64) {
        if self.reboots.len() < FEW {
            self.reboots.push(Moment {
                at: at.as_secs_f64(),
                packet,
            });
        }
    }

    pub(crate) fn name_file(&mut self, uri: u64, path: impl FnOnce() -> String) {
        if self.files.last().is_some_and(|(known, _)| *known == uri)
            || self.files.iter().any(|(known, _)| *known == uri)
        {
            return;
        }
        if self.files.len() >= FILES {
            self.files.remove(0);
        }
        self.files.push((uri, path()));
    }

    pub(crate) fn path_of(&self, uri: u64) -> Option<String> {
        self.files
            .iter()
            .find(|(known, _)| *known == uri)
            .map(|(_, path)| path.clone())
    }

    /// Values that the device sent, of `base` and below.
    #[expect(clippy::too_many_arguments, reason = "each is a plain fact of one message")]
    pub(crate) fn values(
        &mut self,
        base: &LwPath,
        format: u16,
        payload: &[u8],
        versions: &Versions,
        by: &str,
        at: Duration,
        packet: u64,
    ) -> Told {
        let mut told = Told::default();
        if payload.len() > CONTENT {
            return told;
        }
        let types = |path: &LwPath| resource_type(path, versions);
        let Ok(values) = content::decode(format, base, payload, &types) else {
            return told;
        };
        let mut software = Told::default();
        for (path, value) in &values {
            let number = || value.as_u64().and_then(|number| u8::try_from(number).ok());
            match (path.object, path.resource) {
                (Some(5), Some(3)) => told.state = number(),
                (Some(5), Some(5)) => told.result = number(),
                (Some(9), Some(7)) => software.state = number(),
                (Some(9), Some(9)) => software.result = number(),
                (Some(3), Some(3)) => told.version = value.as_str().map(|text| clean(text, 80)),
                _ => {}
            }
        }
        told.changed = self.sample(5, &told, by, format, at, packet);
        if self.sample(9, &software, by, format, at, packet) && told.state.is_none() && told.result.is_none() {
            // The states of software have other names: they stand in the samples only.
            told.changed |= told.version.is_some();
        }
        if let Some(version) = &told.version {
            let fresh = self.versions.last().is_none_or(|last| last.text != *version);
            told.changed |= fresh;
            if !fresh && let Some(last) = self.versions.last_mut() {
                // Told again: what counts for the version after an update is the last time.
                if self.first_execute.is_some_and(|execute| last.at < execute) {
                    self.versions.push(Version {
                        text: version.clone(),
                        at,
                    });
                }
            } else if self.versions.len() < FEW {
                self.versions.push(Version {
                    text: version.clone(),
                    at,
                });
            }
        }
        told
    }

    fn sample(&mut self, object: u16, told: &Told, by: &str, format: u16, at: Duration, packet: u64) -> bool {
        if told.state.is_none() && told.result.is_none() {
            return false;
        }
        let last = |value: &dyn Fn(&SampleReport) -> Option<u8>| {
            self.samples
                .iter()
                .rev()
                .filter(|sample| sample.object == object)
                .find_map(value)
        };
        let known = (told.state.is_none() || last(&|sample| sample.state) == told.state)
            && (told.result.is_none() || last(&|sample| sample.result) == told.result);
        if known || self.samples.len() >= SAMPLES {
            self.more += 1;
            return false;
        }
        self.samples.push(SampleReport {
            at: at.as_secs_f64(),
            packet,
            object,
            state: told.state,
            result: told.result,
            by: by.to_owned(),
            content_format: format,
        });
        true
    }

    pub(crate) fn report(&self) -> FirmwareReport {
        let execute = self.first_execute.unwrap_or(Duration::MAX);
        let before = self
            .versions
            .iter()
            .rev()
            .find(|version| version.at < execute)
            .or_else(|| {
                // Without an Execute the first differs from the last, if anything does.
                self.versions.first().filter(|_| self.first_execute.is_none())
            });
        let after = match self.first_execute {
            Some(execute) => self.versions.iter().rev().find(|version| version.at >= execute),
            None => self
                .versions
                .last()
                .filter(|last| self.versions.first().is_some_and(|first| first.text != last.text)),
        };
        let before = if self.first_execute.is_none() {
            self.versions.first()
        } else {
            before
        };
        FirmwareReport {
            samples: self.samples.clone(),
            samples_more: self.more,
            executes: self.executes.clone(),
            reboots: self.reboots.clone(),
            version_before: before.map(|version| version.text.clone()),
            version_after: after.map(|version| version.text.clone()),
        }
    }
}
