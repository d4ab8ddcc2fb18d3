//! Definitions of the objects that a firmware update touches: 0 to 6 and 9, in each of their versions (OMA LwM2M registry).

mod tables;

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use fotaproof_wire::{LwPath, ValueType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version of an object or of the enabler: major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u8, pub u8);

impl Version {
    /// 1.0.
    pub const V1_0: Self = Self(1, 0);
    /// 1.1.
    pub const V1_1: Self = Self(1, 1);
    /// 1.2.
    pub const V1_2: Self = Self(1, 2);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version such as 1.1")]
pub struct ParseVersionError(pub String);

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let parts = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self(major.parse().ok()?, minor.parse().ok()?)));
        parts
            .filter(|version| version.to_string() == text)
            .ok_or_else(|| ParseVersionError(text.to_owned()))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The operations that a definition allows a server (LwM2M Core, object definitions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Read, Observe, Discover.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Execute.
    pub execute: bool,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (allowed, letter) in [(self.read, "R"), (self.write, "W"), (self.execute, "E")] {
            f.write_str(if allowed { letter } else { "" })?;
        }
        Ok(())
    }
}

/// The definition of a resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resource {
    /// Resource ID.
    pub id: u16,
    /// Name in the registry.
    pub name: &'static str,
    /// Allowed operations.
    pub access: Access,
    /// Whether it has instances.
    pub multiple: bool,
    /// Whether each object instance must have it.
    pub mandatory: bool,
    /// Data type; an executable resource has none.
    pub value_type: Option<ValueType>,
    /// Least and greatest number, or length of a text.
    pub range: Option<(i64, i64)>,
    /// The first object version with this definition.
    pub first: Version,
    /// The last object version with this definition.
    pub last: Version,
}

impl Resource {
    /// Whether this definition stands in that version of the object.
    pub fn is_in(&self, version: Version) -> bool {
        self.first <= version && version <= self.last
    }
}

struct Row {
    id: u16,
    name: &'static str,
    multiple: bool,
    mandatory: bool,
    newest: Version,
    resources: &'static [Resource],
}

/// One version of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Object ID.
    pub id: u16,
    /// Name in the registry.
    pub name: &'static str,
    /// Object version.
    pub version: Version,
    /// Whether it may have several instances.
    pub multiple: bool,
    /// Whether each client must have it.
    pub mandatory: bool,
    rows: &'static [Resource],
}

impl Object {
    /// Its resources in the order of their ids.
    pub fn resources(&self) -> impl Iterator<Item = &'static Resource> + use<> {
        let version = self.version;
        self.rows.iter().filter(move |resource| resource.is_in(version))
    }

    /// The resource with that id.
    pub fn resource(&self, id: u16) -> Option<&'static Resource> {
        self.resources().find(|resource| resource.id == id)
    }
}

/// The definition of an object in a version, if both are known.
pub fn object(id: u16, version: Version) -> Option<Object> {
    let row = tables::OBJECTS.iter().find(|row| row.id == id)?;
    (Version::V1_0 <= version && version <= row.newest).then_some(Object {
        id,
        name: row.name,
        version,
        multiple: row.multiple,
        mandatory: row.mandatory,
        rows: row.resources,
    })
}

/// Every version of every object that is defined here.
pub fn objects() -> impl Iterator<Item = Object> {
    tables::OBJECTS
        .iter()
        .flat_map(|row| (0..=row.newest.1).filter_map(|minor| object(row.id, Version(1, minor))))
}

/// Which version of each object a client has: the defaults of its enabler, with exceptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Version of the enabler.
    pub lwm2m: Version,
    /// Objects whose version differs from the default.
    pub announced: BTreeMap<u16, Version>,
}

impl Versions {
    /// The defaults of an enabler version.
    pub fn of(lwm2m: Version) -> Self {
        Self {
            lwm2m,
            announced: BTreeMap::new(),
        }
    }

    /// With another version of one object, as a `ver` attribute announces it.
    #[must_use]
    pub fn with(mut self, object: u16, version: Version) -> Self {
        self.announced.insert(object, version);
        self
    }

    /// The version of an object.
    pub fn object(&self, id: u16) -> Version {
        self.announced
            .get(&id)
            .copied()
            .unwrap_or_else(|| default_version(self.lwm2m, id))
    }
}

/// The version that an object has in an enabler when a Register does not say (LwM2M Core, table of object versions).
pub fn default_version(lwm2m: Version, object: u16) -> Version {
    match (lwm2m, object) {
        (Version::V1_1, 0 | 1 | 3) => Version::V1_1,
        (Version::V1_1, 4) => Version::V1_2,
        (Version::V1_2, 0 | 1 | 3) => Version::V1_2,
        (Version::V1_2, 2 | 5) => Version::V1_1,
        (Version::V1_2, 4) => Version(1, 3),
        _ => Version::V1_0,
    }
}

/// The definition of the resource that a path points at or into.
pub fn resource(path: &LwPath, versions: &Versions) -> Option<&'static Resource> {
    let id = path.object?;
    object(id, versions.object(id))?.resource(path.resource?)
}

/// The data type of a resource or resource instance; `None` for what is not known or has none.
pub fn resource_type(path: &LwPath, versions: &Versions) -> Option<ValueType> {
    resource(path, versions)?.value_type
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_object_grows_with_its_version() {
        let counts = [Version::V1_0, Version::V1_1, Version::V1_2]
            .map(|version| object(5, version).unwrap().resources().count());
        assert_eq!(counts, [9, 13, 14]);
        let result = |version| object(5, version).unwrap().resource(5).unwrap().range;
        assert_eq!(
            (result(Version::V1_0), result(Version::V1_1)),
            (Some((0, 9)), Some((0, 11)))
        );
        assert_eq!(object(5, Version::V1_2).unwrap().resource(4), None);
        assert_eq!(object(5, Version(1, 3)), None);
    }

    #[test]
    fn ids_are_unique_in_each_version() {
        for object in objects() {
            let ids: Vec<u16> = object.resources().map(|resource| resource.id).collect();
            assert!(
                ids.is_sorted_by(|a, b| a < b),
                "/{} {}: {ids:?}",
                object.id,
                object.version
            );
            assert!(
                object
                    .resources()
                    .all(|resource| resource.value_type.is_none() == resource.access.execute),
                "/{}",
                object.id
            );
        }
    }

    #[test]
    fn types_follow_the_announced_version() {
        let defer = LwPath::resource(5, 0, 13);
        let versions = Versions::of(Version::V1_1);
        assert_eq!(resource_type(&defer, &versions), None);
        assert_eq!(
            resource_type(&defer, &versions.with(5, Version::V1_1)),
            Some(ValueType::Unsigned)
        );
        assert_eq!(
            resource_type(&LwPath::from([5, 0, 8, 1]), &Versions::of(Version::V1_0)),
            Some(ValueType::Integer)
        );
        assert_eq!(resource_type(&LwPath::from([5, 0]), &Versions::of(Version::V1_2)), None);
    }

    #[test]
    fn versions_have_one_spelling() {
        assert_eq!("1.1".parse(), Ok(Version::V1_1));
        for wrong in ["1", "1.01", "+1.1", "1.1.1", ""] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        }
    }
}
