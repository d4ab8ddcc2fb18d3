//! The resources that can be read, and their form on the wire.

use core::time::Duration;

use fotaproof_wire::coap::{Code, content_format};
use fotaproof_wire::link_format::{self, Link};
use fotaproof_wire::{LwPath, Value, content};

use super::Device;
use super::answer::Answer;
use crate::Defect;
use crate::definitions::{self, Access, Version};
use crate::firmware::State;
use crate::package;

/// A made-up key, for defects that show one. It protects nothing.
pub(super) const SECRET_KEY: &str = "fotaproof-secret";
/// The private resource of a defect.
const VENDOR_RESOURCE: u16 = 77;

const SERVER: &[u16] = &[0, 1, 2, 3, 6, 7, 8];
const DEVICE: &[u16] = &[0, 1, 2, 3, 4, 9, 11, 13, 16, 17, 18];
const CONNECTIVITY: &[u16] = &[0, 1, 2, 3, 4];

/// The value of a resource: one, or one for each resource instance.
enum Held {
    One(Value),
    Many(Vec<Value>),
}

impl Device {
    /// The objects that a server may see.
    pub(super) fn objects(&self) -> Vec<u16> {
        self.object_ids().collect()
    }

    fn object_ids(&self) -> impl Iterator<Item = u16> + '_ {
        let dropped = &self.flash.dropped_objects;
        [1, 3, 4, 5]
            .into_iter()
            .filter(|object| !dropped.contains(object) && (*object != 4 || self.config.connectivity))
    }

    /// The resources of an instance, those that cannot be read included.
    pub(super) fn resources(&self, object: u16) -> Vec<u16> {
        self.resource_ids(object).collect()
    }

    fn resource_ids(&self, object: u16) -> impl Iterator<Item = u16> + '_ {
        let ids: &[u16] = match object {
            1 => SERVER,
            3 => DEVICE,
            4 => CONNECTIVITY,
            _ => &[],
        };
        let defined = (object == 5).then(|| definitions::object(5, self.config.object5));
        let of_firmware = defined
            .flatten()
            .into_iter()
            .flat_map(|object| object.resources())
            .map(|resource| resource.id);
        let vendor = (object == 5 && self.has(Defect::VendorResourceIn5)).then_some(VENDOR_RESOURCE);
        ids.iter()
            .copied()
            .chain(of_firmware)
            .chain(vendor)
            .filter(move |id| !self.is_absent(object, *id))
            .filter(move |id| !(object == 3 && *id == 3 && self.has(Defect::VersionAbsent)))
    }

    fn is_absent(&self, object: u16, resource: u16) -> bool {
        self.config.absent.contains(&LwPath::resource(object, 0, resource))
    }

    pub(super) fn exists(&self, path: &LwPath) -> bool {
        let Some(object) = path.object else { return true };
        if !self.object_ids().any(|known| known == object) {
            return false;
        }
        if path
            .instance
            .is_some_and(|instance| instance != 0 || (object == 5 && self.ram.firmware_deleted))
        {
            return false;
        }
        let Some(resource) = path.resource else { return true };
        if !self.resource_ids(object).any(|known| known == resource) {
            return false;
        }
        let Some(instance) = path.resource_instance else {
            return true;
        };
        matches!(self.held(Duration::ZERO, object, resource), Some(Held::Many(values)) if usize::from(instance) < values.len())
    }

    /// The operations that a resource allows.
    pub(super) fn access(&self, path: &LwPath) -> Access {
        if path.resource == Some(VENDOR_RESOURCE) {
            return Access {
                read: true,
                ..Access::default()
            };
        }
        definitions::resource(path, &self.versions).map_or_else(Access::default, |resource| resource.access)
    }

    /// State and Result as a server is shown them.
    pub(super) fn shown_pair(&self) -> (i64, i64) {
        let pair = self.flash.firmware;
        let update = &self.ram.update;
        let skipped = |state: State| self.config.skip_states.contains(&(state.value() as u8));
        let (mut state, mut result) = (pair.state.value(), pair.result.value());
        if skipped(pair.state) && matches!(pair.state, State::Downloading | State::Updating) {
            // What was shown before stays.
            (state, result) = (pair.state.value() - 1, update.result_before);
        }
        if pair.state == State::Updating {
            if self.has(Defect::UpdatingShows1) {
                state = 1;
            }
            if self.has(Defect::Result1InUpdating) {
                result = 1;
            }
            if self.has(Defect::Result8NotCleared) && update.result_before == 8 {
                result = 8;
            }
        }
        if pair.state == State::Downloading {
            if self.has(Defect::ResultClearedLate) {
                result = update.result_before;
            }
            if self.has(Defect::DownloadingShownLate) || update.half_reset {
                state = 0;
            }
        }
        if pair.state == State::Downloaded && self.has(Defect::ResultSticks) && update.result_before == 1 {
            result = 1;
        }
        if update.result_hidden_until.is_some() {
            result = 0;
        }
        (state, result)
    }

    /// A value that is shown in place of the true one.
    fn held_by_order(&self, object: u16, resource: u16) -> Option<Held> {
        let path = LwPath::resource(object, 0, resource);
        if let Some(value) = self.shown.get(&path) {
            return Some(Held::One(value.clone()));
        }
        let instances: Vec<Value> = self
            .shown
            .iter()
            .filter(|(at, _)| at.starts_with(&path))
            .map(|(_, value)| value.clone())
            .collect();
        (!instances.is_empty()).then_some(Held::Many(instances))
    }

    fn held(&self, now: Duration, object: u16, resource: u16) -> Option<Held> {
        if let Some(held) = self.held_by_order(object, resource) {
            return Some(held);
        }
        let integer = |value: i64| Some(Held::One(Value::Integer(value)));
        let text = |value: &str| Some(Held::One(Value::String(value.to_owned())));
        let truth = |value: bool| Some(Held::One(Value::Boolean(value)));
        match (object, resource) {
            (1, 0) => integer(1),
            (1, 1) => integer(self.lifetime().into()),
            (1, 2) => integer(self.ram.default_pmin.into()),
            (1, 3) => integer(self.ram.default_pmax.into()),
            (1, 6) => truth(false),
            (1, 7) => text(&self.config.binding),
            (3, 0) => text("fotaproof"),
            (3, 1) => text(&self.config.model),
            (3, 2) => text(&format!("{:08x}", self.config.seed)),
            (3, 3) => text(&self.flash.version),
            (3, 9) => integer(100),
            (3, 11) => Some(Held::Many(vec![Value::Integer(0)])),
            (3, 13) => Some(Held::One(Value::Time(self.unix_time(now)))),
            (3, 16) => text("U"),
            (3, 17) => text("reference device"),
            (3, 18) => text("1"),
            (4, 0) => integer(7),
            (4, 1) => Some(Held::Many(vec![Value::Integer(7)])),
            (4, 2) => integer(self.radio(now)),
            (4, 3) => integer(at(&self.config.link_quality, now, 100)),
            (4, 4) => Some(Held::Many(vec![Value::String("192.0.2.1".to_owned())])),
            (5, _) => self.held_of_firmware(resource),
            _ => None,
        }
    }

    fn held_of_firmware(&self, resource: u16) -> Option<Held> {
        let integer = |value: i64| Some(Held::One(Value::Integer(value)));
        let (state, result) = self.shown_pair();
        let stored = || {
            (self.flash.firmware.state == State::Downloaded)
                .then(|| package::parse(self.flash.image()).ok().flatten())
                .flatten()
        };
        match resource {
            1 if self.has(Defect::UriReadEmpty) && state == 1 => Some(Held::One(Value::String(String::new()))),
            1 => Some(Held::One(Value::String(self.flash.uri.clone()))),
            3 if self.has(Defect::StateAsString) => Some(Held::One(Value::String(state.to_string()))),
            3 => integer(state),
            5 => integer(result),
            6 => Some(Held::One(Value::String(
                stored().map(|parsed| parsed.header.model).unwrap_or_default(),
            ))),
            7 => Some(Held::One(Value::String(
                stored().map(|parsed| parsed.header.version).unwrap_or_default(),
            ))),
            8 => {
                let http = self.has(Defect::ProtocolOverstated).then_some(2);
                let protocols = self.config.protocols.iter().copied().chain(http);
                Some(Held::Many(
                    protocols.map(|protocol| Value::Integer(protocol.into())).collect(),
                ))
            }
            9 => integer(if self.has(Defect::DeliveryLies) {
                2
            } else {
                self.config.delivery.into()
            }),
            11 => integer(self.flash.severity),
            12 => Some(Held::One(Value::Time(self.flash.last_change))),
            13 => Some(Held::One(Value::Unsigned(self.flash.defer_period))),
            14 => Some(Held::One(Value::Boolean(self.flash.auto_upgrade))),
            VENDOR_RESOURCE => integer(1),
            _ => None,
        }
    }

    /// Radio Signal Strength at this time.
    fn radio(&self, now: Duration) -> i64 {
        let first = self.config.radio.first().map_or(-85, |(_, value)| *value);
        let last = self.config.radio.iter().rev().find(|(from, _)| *from <= now);
        if self.has(Defect::RadioValueFrozen) {
            first
        } else {
            last.map_or(first, |(_, value)| *value)
        }
    }

    /// The next change of Radio Signal Strength or Link Quality.
    pub(super) fn next_radio_change(&self, now: Duration) -> Option<Duration> {
        let changes = self.config.radio.iter().chain(&self.config.link_quality);
        changes.map(|(from, _)| *from).filter(|from| *from > now).min()
    }

    /// What can be read at a path and below, in the order of the ids.
    pub(super) fn values(&self, now: Duration, path: &LwPath) -> Vec<(LwPath, Value)> {
        let mut values = Vec::new();
        for object in self
            .objects()
            .into_iter()
            .filter(|object| path.object.is_none_or(|wanted| wanted == *object))
        {
            let instance = LwPath::instance(object, 0);
            if !self.exists(&instance) || path.instance.is_some_and(|wanted| wanted != 0) {
                continue;
            }
            for resource in self
                .resources(object)
                .into_iter()
                .filter(|resource| path.resource.is_none_or(|wanted| wanted == *resource))
            {
                let at = LwPath::resource(object, 0, resource);
                if object == 5 && resource == 0 && path.depth() < 3 && self.has(Defect::ReadListsPackage) {
                    values.push((at, Value::Opaque(self.flash.image().iter().take(16).copied().collect())));
                }
                if !self.access(&at).read {
                    continue;
                }
                match self.held(now, object, resource) {
                    Some(Held::One(value)) => values.push((at, value)),
                    Some(Held::Many(instances)) => {
                        let numbered = (0..)
                            .zip(instances)
                            .map(|(index, value)| (LwPath::resource_instance(object, 0, resource, index), value));
                        values.extend(numbered.filter(|(at, _)| at.starts_with(path)));
                    }
                    None => {}
                }
            }
        }
        values
    }

    /// Reads a path in the format asked for, or in the one of the enabler's version.
    pub(super) fn read(&self, now: Duration, path: &LwPath, accept: Option<u16>) -> Answer {
        if path.object == Some(0) {
            return if self.has(Defect::KeyReadable) {
                Answer::content(content_format::OPAQUE, SECRET_KEY.as_bytes().to_vec())
            } else {
                Code::UNAUTHORIZED.into()
            };
        }
        if path.is_root() {
            return Code::METHOD_NOT_ALLOWED.into();
        }
        if !self.exists(path) {
            return if self.has(Defect::AbsentIsEmpty) {
                Answer::content(content_format::TEXT, Vec::new())
            } else {
                Code::NOT_FOUND.into()
            };
        }
        if path.depth() >= 3 && !self.access(path).read {
            let package = *path == LwPath::resource(5, 0, 0) && self.has(Defect::PackageReadable);
            return if package {
                Answer::content(content_format::OPAQUE, self.flash.image().to_vec())
            } else {
                Code::METHOD_NOT_ALLOWED.into()
            };
        }
        let values = self.values(now, path);
        let single = path.depth() >= 3 && values.len() == 1 && values[0].0.depth() == path.depth();
        let accept = accept
            .filter(|_| !(self.has(Defect::AcceptIgnored) && single))
            .map(|format| {
                if self.has(Defect::AcceptIgnored) {
                    self.default_format(single)
                } else {
                    format
                }
            });
        let format = accept.unwrap_or_else(|| self.default_format(single));
        if !self.is_readable_format(format, single) {
            return Code::NOT_ACCEPTABLE.into();
        }
        content::encode(format, path, &values).map_or_else(
            |_| Code::NOT_ACCEPTABLE.into(),
            |payload| Answer::content(format, payload),
        )
    }

    pub(super) fn default_format(&self, single: bool) -> u16 {
        match (single, self.config.lwm2m >= Version::V1_1) {
            (true, _) => content_format::TEXT,
            (false, true) => content_format::SENML_CBOR,
            (false, false) => content_format::TLV,
        }
    }

    fn is_readable_format(&self, format: u16, single: bool) -> bool {
        match format {
            content_format::TEXT | content_format::OPAQUE => single,
            content_format::TLV => true,
            content_format::CBOR => single && self.config.lwm2m >= Version::V1_1,
            content_format::SENML_JSON | content_format::SENML_CBOR => self.config.lwm2m >= Version::V1_1,
            _ => false,
        }
    }

    /// The formats that a Write may have; that of a Package is judged apart.
    pub(super) fn is_writable_format(&self, format: u16) -> bool {
        match format {
            content_format::TEXT | content_format::OPAQUE | content_format::TLV => true,
            content_format::CBOR | content_format::SENML_JSON | content_format::SENML_CBOR => {
                self.config.lwm2m >= Version::V1_1
            }
            _ => false,
        }
    }

    /// Reads several paths at once (Read-Composite): what cannot be read is left out.
    pub(super) fn read_composite(&self, now: Duration, paths: &[LwPath], format: u16) -> Answer {
        let mut values = Vec::new();
        for path in paths {
            for (at, value) in self.values(now, path) {
                let hidden = self.has(Defect::CompositeOmitsResult) && at == LwPath::resource(5, 0, 5);
                if !hidden && values.iter().all(|(known, _)| *known != at) {
                    values.push((at, value));
                }
            }
        }
        content::encode(format, &LwPath::ROOT, &values).map_or_else(
            |_| Code::NOT_ACCEPTABLE.into(),
            |payload| Answer::content(format, payload),
        )
    }

    /// The links of a Discover (LwM2M Core, 6.3.2).
    pub(super) fn discover(&self, path: &LwPath) -> Answer {
        if path.object == Some(0) {
            return Code::UNAUTHORIZED.into();
        }
        if !self.exists(path) || path.is_root() || path.depth() > 3 {
            return Code::NOT_FOUND.into();
        }
        let mut links = Vec::new();
        let object = path.object.unwrap_or_default();
        if path.depth() == 1 {
            let link = self.with_attributes(Link::new(path.to_string()), path);
            links.push(match self.announced_version(object) {
                Some(version) => link.with("ver", version.to_string()),
                None => link,
            });
        }
        let instance = LwPath::instance(object, 0);
        if path.depth() <= 2 && self.exists(&instance) {
            links.push(self.with_attributes(Link::new(instance.to_string()), &instance));
        }
        for resource in self.resources(object) {
            let at = LwPath::resource(object, 0, resource);
            if !at.starts_with(path) || (self.has(Defect::DiscoverOmitsUpdate) && at == LwPath::resource(5, 0, 2)) {
                continue;
            }
            let link = Link::new(at.to_string());
            let link = match self.held(Duration::ZERO, object, resource) {
                Some(Held::Many(values)) => link.with("dim", values.len().to_string()),
                _ => link,
            };
            links.push(self.with_attributes(link, &at));
        }
        Answer::content(content_format::LINK_FORMAT, link_format::encode(&links).into_bytes())
    }

    fn with_attributes(&self, link: Link, path: &LwPath) -> Link {
        match self.ram.attributes.get(path) {
            Some(attributes) => attributes
                .pairs()
                .into_iter()
                .fold(link, |link, (name, value)| link.with(name, value)),
            None => link,
        }
    }
}

/// The value that holds at this time.
fn at(values: &[(Duration, i64)], now: Duration, default: i64) -> i64 {
    values
        .iter()
        .rev()
        .find(|(from, _)| *from <= now)
        .map_or(default, |(_, value)| *value)
}
