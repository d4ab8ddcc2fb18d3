//! Write, Execute, Create and Delete on everything but the Package.

use core::time::Duration;

use fotaproof_coap::blockwise::{BlockArrival, ReceiveStep};
use fotaproof_wire::coap::{BlockValue, Code, build, content_format, option};
use fotaproof_wire::{LwPath, Value, content};

use super::Device;
use super::answer::Answer;
use super::dispatch::Incoming;
use super::observe::Attributes;
use crate::Defect;
use crate::definitions;
use crate::firmware::State;

/// Most bytes that a body may have which is no package.
pub(super) const SMALL_BODY: u64 = 8192;
/// Most octets of a Package URI (OMA registry object 5, resource 1).
const URI_LIMIT: usize = 255;

impl Device {
    /// Puts a small body together; `Ok` when the request now holds all of it.
    pub(super) fn collect(&mut self, now: Duration, request: &mut Incoming, block: BlockValue) -> Result<(), Answer> {
        let arrival = BlockArrival {
            from: request.from,
            request_tag: build::get_option(&request.packet, option::REQUEST_TAG),
            block,
            payload_len: request.packet.payload.len(),
            size1: build::get_uint(&request.packet, option::SIZE1),
        };
        let push = &mut self.ram.push;
        let step = push.small.on_block(now, &arrival);
        if let ReceiveStep::Continue { offset, .. } | ReceiveStep::Complete { offset, .. } = step {
            push.small_body.truncate(offset as usize);
            push.small_body.extend_from_slice(&request.packet.payload);
        }
        if let ReceiveStep::Complete { .. } = step {
            request.packet.payload = core::mem::take(&mut push.small_body);
            return Ok(());
        }
        let Some(code) = step.code() else {
            return Err(Answer::silent());
        };
        let size1 = matches!(step, ReceiveStep::TooLarge { .. }).then_some(SMALL_BODY as u32);
        Err(Answer {
            block1: step.answer(),
            size1,
            ..code.into()
        })
    }

    pub(super) fn put(&mut self, now: Duration, request: &Incoming) -> Answer {
        let attributes = request.packet.payload.is_empty()
            && request.format.is_none()
            && build::get_option(&request.packet, option::URI_QUERY).is_some();
        if attributes {
            return self.write_attributes(request);
        }
        self.write(now, request)
    }

    pub(super) fn post(&mut self, now: Duration, request: &Incoming) -> Answer {
        let path = request.path;
        if path.depth() < 2 {
            // Create: the objects here have one instance each.
            return if self.exists(&path) {
                Code::METHOD_NOT_ALLOWED
            } else {
                Code::NOT_FOUND
            }
            .into();
        }
        if path.depth() == 2
            || (self.access(&path).write && (!request.packet.payload.is_empty() || request.format.is_some()))
        {
            return self.write(now, request);
        }
        if path.object == Some(0) {
            return Code::UNAUTHORIZED.into();
        }
        if path.object == Some(5) && path.resource == Some(10) && self.exists(&LwPath::instance(5, 0)) {
            return self.cancel(now);
        }
        if !self.exists(&path) {
            return Code::NOT_FOUND.into();
        }
        match (path.object, path.resource) {
            (Some(5), Some(2)) => self.execute_update(now, request.id),
            (Some(3), Some(4)) => {
                self.ram.update.reboot_installs =
                    self.has(Defect::RebootInstalls) && self.flash.firmware.state == State::Downloaded;
                self.reboot_soon(now);
                Code::CHANGED.into()
            }
            (Some(1), Some(8)) => {
                if self.has(Defect::TriggerResetsState) {
                    self.drop_package(now);
                }
                self.ram.update.refresh = true;
                Code::CHANGED.into()
            }
            _ if self.has(Defect::ExecuteAnyResource) => Code::CHANGED.into(),
            _ => Code::METHOD_NOT_ALLOWED.into(),
        }
    }

    pub(super) fn delete(&mut self, path: &LwPath) -> Answer {
        if path.object == Some(0) {
            return Code::UNAUTHORIZED.into();
        }
        if !self.exists(path) {
            return Code::NOT_FOUND.into();
        }
        if *path == LwPath::instance(5, 0) && self.has(Defect::InstanceDeletable) {
            self.ram.firmware_deleted = true;
            return Code::DELETED.into();
        }
        Code::METHOD_NOT_ALLOWED.into()
    }

    /// Write on a resource, a resource instance or an instance: all of it or nothing.
    fn write(&mut self, now: Duration, request: &Incoming) -> Answer {
        let path = request.path;
        if path.object == Some(0) {
            return Code::UNAUTHORIZED.into();
        }
        if path.depth() < 2 {
            return Code::METHOD_NOT_ALLOWED.into();
        }
        if !self.exists(&path) {
            return Code::NOT_FOUND.into();
        }
        if path.depth() >= 3 && !self.access(&path).write {
            let state = path == LwPath::resource(5, 0, 3) && self.has(Defect::StateWritable);
            return if state {
                self.overwrite_state(now, &request.packet.payload)
            } else {
                Code::METHOD_NOT_ALLOWED.into()
            };
        }
        let format = request.format.map_or(content_format::TEXT, content::canonical);
        if !self.is_writable_format(format) {
            return Code::UNSUPPORTED_CONTENT_FORMAT.into();
        }
        let versions = &self.versions;
        let decoded = content::decode(format, &path, &request.packet.payload, &|path| {
            definitions::resource_type(path, versions)
        });
        let Ok(mut values) = decoded else {
            return Code::BAD_REQUEST.into();
        };
        if self.has(Defect::UriWithTlvHeader) && path == LwPath::resource(5, 0, 1) && format == content_format::TLV {
            let raw: String = request.packet.payload.iter().map(|&byte| char::from(byte)).collect();
            values = vec![(path, Value::String(raw))];
        }
        self.write_all(now, &values)
    }

    pub(super) fn write_composite(&mut self, now: Duration, request: &Incoming) -> Answer {
        let Some(format) = request
            .format
            .filter(|format| matches!(*format, content_format::SENML_JSON | content_format::SENML_CBOR))
        else {
            return Code::UNSUPPORTED_CONTENT_FORMAT.into();
        };
        let versions = &self.versions;
        match content::decode(format, &LwPath::ROOT, &request.packet.payload, &|path| {
            definitions::resource_type(path, versions)
        }) {
            Ok(values) => self.write_all(now, &values),
            Err(_) => Code::BAD_REQUEST.into(),
        }
    }

    fn write_all(&mut self, now: Duration, values: &[(LwPath, Value)]) -> Answer {
        for (path, value) in values {
            if let (true, Some(uri)) = (*path == LwPath::resource(5, 0, 1), value.as_str()) {
                self.tally.uris.push(uri.to_owned());
            }
        }
        for (index, (path, value)) in values.iter().enumerate() {
            if let Err(code) = self.check_write(path, value) {
                if self.has(Defect::PartialWriteHalf) || self.has(Defect::CompositeNotAtomic) {
                    for (path, value) in &values[..index] {
                        self.apply_write(now, path, value);
                    }
                }
                return code.into();
            }
        }
        for (path, value) in values {
            self.apply_write(now, path, value);
        }
        Code::CHANGED.into()
    }

    /// Whether one value may be written now.
    fn check_write(&self, path: &LwPath, value: &Value) -> Result<(), Code> {
        if !self.exists(path) {
            return Err(Code::NOT_FOUND);
        }
        if !self.access(path).write || *path == super::dispatch::PACKAGE {
            return Err(Code::METHOD_NOT_ALLOWED);
        }
        let number = value.as_i64();
        let ok = match (path.object, path.resource) {
            (Some(5), Some(1)) => return self.check_uri(value.as_str().ok_or(Code::BAD_REQUEST)?),
            (Some(5), Some(11)) => number.is_some_and(|severity| {
                (0..=2).contains(&severity) || (severity == 3 && self.has(Defect::SeverityUnbounded))
            }),
            (Some(5), Some(13)) => value.as_u64().is_some_and(|period| period <= u64::from(u32::MAX)),
            (Some(5), Some(14)) | (Some(1), Some(6)) => value.as_bool().is_some(),
            (Some(1), Some(1..=3)) => number.is_some_and(|seconds| (0..=i64::from(u32::MAX)).contains(&seconds)),
            (Some(1), Some(7)) => value.as_str() == Some("U"),
            (Some(3), Some(13)) => number.is_some(),
            _ => false,
        };
        if ok { Ok(()) } else { Err(Code::BAD_REQUEST) }
    }

    /// A URI is refused by its length, and where the state machine has no arrow (OMA registry object 5, resource 1).
    fn check_uri(&self, uri: &str) -> Result<(), Code> {
        let cut = self.has(Defect::UriCutAt128);
        if uri.len() > URI_LIMIT && !cut {
            return Err(Code::BAD_REQUEST);
        }
        let state = self.flash.firmware.state;
        if uri.is_empty() {
            let ignored = self.has(Defect::UriInUpdating);
            return if state == State::Updating && !ignored {
                Err(Code::METHOD_NOT_ALLOWED)
            } else {
                Ok(())
            };
        }
        if self.config.delivery == 1 {
            return Err(Code::METHOD_NOT_ALLOWED);
        }
        match state {
            State::Idle => Ok(()),
            State::Downloading if self.has(Defect::SecondDownloadStarted) || self.has(Defect::UriResendRestarts) => {
                Ok(())
            }
            State::Downloaded if self.has(Defect::UriInDownloadedFetches) => Ok(()),
            State::Updating if self.has(Defect::UriInUpdating) => Ok(()),
            State::Downloading | State::Downloaded => Err(Code::BAD_REQUEST),
            State::Updating => Err(Code::METHOD_NOT_ALLOWED),
        }
    }

    /// Writes a value that was checked.
    fn apply_write(&mut self, now: Duration, path: &LwPath, value: &Value) {
        let number = value.as_i64().unwrap_or_default();
        match (path.object, path.resource) {
            (Some(5), Some(1)) => {
                let uri = value.as_str().unwrap_or_default().to_owned();
                self.write_uri(now, uri);
            }
            (Some(5), Some(11)) => self.flash.severity = number,
            (Some(5), Some(13)) => self.flash.defer_period = value.as_u64().unwrap_or_default(),
            (Some(5), Some(14)) => self.flash.auto_upgrade = value.as_bool().unwrap_or_default(),
            (Some(1), Some(1)) => {
                self.flash.lifetime = u32::try_from(number).ok();
                self.ram.update.refresh = true;
                self.ram.update.lifetime_changed = true;
            }
            (Some(1), Some(2)) => self.ram.default_pmin = u32::try_from(number).unwrap_or_default(),
            (Some(1), Some(3)) => self.ram.default_pmax = u32::try_from(number).unwrap_or_default(),
            (Some(3), Some(13)) => self.flash.clock_offset += number - self.unix_time(now),
            _ => {}
        }
        self.flash.touch();
        self.ram.observe.mark_dirty();
    }

    fn write_attributes(&mut self, request: &Incoming) -> Answer {
        let path = request.path;
        if path.object == Some(0) {
            return Code::UNAUTHORIZED.into();
        }
        if path.is_root() || !self.exists(&path) {
            return Code::NOT_FOUND.into();
        }
        let mut attributes = self.ram.attributes.get(&path).cloned().unwrap_or_default();
        for part in build::query(&request.packet) {
            if !attributes.set(&part) {
                return Code::BAD_REQUEST.into();
            }
        }
        if !attributes.is_consistent() {
            return Code::BAD_REQUEST.into();
        }
        self.ram.attributes.insert(path, attributes);
        self.ram.observe.mark_dirty();
        Code::CHANGED.into()
    }

    /// A Write of State: what only a defect lets happen.
    fn overwrite_state(&mut self, now: Duration, payload: &[u8]) -> Answer {
        let value = core::str::from_utf8(payload)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        if let Some(state) = value.and_then(State::from_value) {
            let pair = crate::firmware::Firmware {
                state,
                ..self.flash.firmware
            };
            self.set_firmware(now, pair);
        }
        Code::CHANGED.into()
    }
}

impl Attributes {
    /// Takes `pmin=2`; an empty value takes it back. `false` for what is no attribute.
    fn set(&mut self, part: &str) -> bool {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let seconds = || {
            if value.is_empty() {
                Some(None)
            } else {
                value.parse::<u32>().ok().map(Some)
            }
        };
        let number = || {
            if value.is_empty() {
                Some(None)
            } else {
                value.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some)
            }
        };
        let slot = match name {
            "pmin" => seconds().map(|value| self.pmin = value),
            "pmax" => seconds().map(|value| self.pmax = value),
            "epmin" | "epmax" => seconds().map(|_| ()),
            "gt" => number().map(|value| self.greater = value),
            "lt" => number().map(|value| self.less = value),
            "st" => number().map(|value| self.step = value),
            "con" => seconds().map(|value| self.confirmable = value.map(|value| value == 1)),
            _ => None,
        };
        slot.is_some()
    }
}
