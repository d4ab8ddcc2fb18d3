//! LwM2M paths: `/`, `/5`, `/5/0`, `/5/0/3`, `/5/0/3/1`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// The path of an object, object instance, resource or resource instance (LwM2M Core 1.1, 7). The root `/` has no
/// part at all.
///
/// A part is only ever set when all before it are; the constructors keep that so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LwPath {
    /// Object ID.
    pub object: Option<u16>,
    /// Object Instance ID.
    pub instance: Option<u16>,
    /// Resource ID.
    pub resource: Option<u16>,
    /// Resource Instance ID.
    pub resource_instance: Option<u16>,
}

/// Why a text is no LwM2M path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A path starts with a slash.
    #[error("a path starts with `/`")]
    NoSlash,
    /// A part is not a decimal number from 0 to 65535 in its shortest form.
    #[error("part at byte {offset} is not a number from 0 to 65535")]
    BadNumber {
        /// Where the part starts in the text.
        offset: usize,
    },
    /// A path has four parts at most.
    #[error("a path has at most 4 parts, the fifth starts at byte {offset}")]
    TooDeep {
        /// Where the fifth part starts in the text.
        offset: usize,
    },
}

impl LwPath {
    /// The root `/`, used by composite operations.
    pub const ROOT: Self = Self {
        object: None,
        instance: None,
        resource: None,
        resource_instance: None,
    };

    /// `/o`.
    #[must_use]
    pub const fn object(object: u16) -> Self {
        Self {
            object: Some(object),
            ..Self::ROOT
        }
    }

    /// `/o/i`.
    #[must_use]
    pub const fn instance(object: u16, instance: u16) -> Self {
        Self {
            instance: Some(instance),
            ..Self::object(object)
        }
    }

    /// `/o/i/r`.
    #[must_use]
    pub const fn resource(object: u16, instance: u16, resource: u16) -> Self {
        Self {
            resource: Some(resource),
            ..Self::instance(object, instance)
        }
    }

    /// `/o/i/r/ri`.
    #[must_use]
    pub const fn resource_instance(object: u16, instance: u16, resource: u16, resource_instance: u16) -> Self {
        Self {
            resource_instance: Some(resource_instance),
            ..Self::resource(object, instance, resource)
        }
    }

    /// From the numbers in order; `None` for more than four.
    #[must_use]
    pub fn from_ids(ids: &[u16]) -> Option<Self> {
        let part = |index: usize| ids.get(index).copied();
        (ids.len() <= 4).then(|| Self {
            object: part(0),
            instance: part(1),
            resource: part(2),
            resource_instance: part(3),
        })
    }

    /// The numbers in order.
    #[must_use]
    pub fn ids(&self) -> Vec<u16> {
        [self.object, self.instance, self.resource, self.resource_instance]
            .into_iter()
            .map_while(|part| part)
            .collect()
    }

    /// How many parts are set: 0 for the root to 4 for a resource instance.
    #[must_use]
    pub const fn depth(&self) -> usize {
        match self {
            Self { object: None, .. } => 0,
            Self { instance: None, .. } => 1,
            Self { resource: None, .. } => 2,
            Self {
                resource_instance: None,
                ..
            } => 3,
            _ => 4,
        }
    }

    /// Whether this is the root `/`.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.object.is_none()
    }

    /// The path with one more part; `None` when this already is a resource instance.
    #[must_use]
    pub const fn child(&self, id: u16) -> Option<Self> {
        let mut path = *self;
        match self.depth() {
            0 => path.object = Some(id),
            1 => path.instance = Some(id),
            2 => path.resource = Some(id),
            3 => path.resource_instance = Some(id),
            _ => return None,
        }
        Some(path)
    }

    /// The path without its last part; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let depth = self.depth().checked_sub(1)?;
        Some(self.truncated(depth))
    }

    /// The first `depth` parts.
    #[must_use]
    pub fn truncated(&self, depth: usize) -> Self {
        Self {
            object: self.object.filter(|_| depth > 0),
            instance: self.instance.filter(|_| depth > 1),
            resource: self.resource.filter(|_| depth > 2),
            resource_instance: self.resource_instance.filter(|_| depth > 3),
        }
    }

    /// The last number; `None` for the root.
    #[must_use]
    pub const fn last_id(&self) -> Option<u16> {
        match self.depth() {
            0 => None,
            1 => self.object,
            2 => self.instance,
            3 => self.resource,
            _ => self.resource_instance,
        }
    }

    /// Whether `prefix` is this path or one of its ancestors.
    #[must_use]
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.truncated(prefix.depth()) == *prefix
    }
}

impl<const N: usize> From<[u16; N]> for LwPath {
    /// The first four numbers make the path.
    fn from(ids: [u16; N]) -> Self {
        const { assert!(N <= 4, "an LwM2M path has at most four parts") };
        Self::from_ids(&ids).unwrap_or_default()
    }
}

impl fmt::Display for LwPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return formatter.write_str("/");
        }
        self.ids().iter().try_for_each(|id| write!(formatter, "/{id}"))
    }
}

/// A number from 0 to 65535 in its shortest decimal form.
pub(crate) fn parse_id(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

impl FromStr for LwPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(PathError::NoSlash);
        };
        let mut path = Self::ROOT;
        if rest.is_empty() {
            return Ok(path);
        }
        let mut offset = 1;
        for part in rest.split('/') {
            let id = parse_id(part).ok_or(PathError::BadNumber { offset })?;
            path = path.child(id).ok_or(PathError::TooDeep { offset })?;
            offset += part.len() + 1;
        }
        Ok(path)
    }
}

impl Serialize for LwPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LwPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{LwPath, PathError};
    use proptest::prelude::*;

    #[test]
    fn every_depth_has_its_text() {
        for (text, depth) in [("/", 0), ("/5", 1), ("/5/0", 2), ("/5/0/3", 3), ("/5/0/3/65535", 4)] {
            let path: LwPath = text.parse().unwrap();
            assert_eq!((path.to_string().as_str(), path.depth()), (text, depth));
        }
        assert_eq!(LwPath::from([5, 0, 3]), LwPath::resource(5, 0, 3));
    }

    #[test]
    fn mistakes_say_where() {
        assert_eq!("5/0".parse::<LwPath>(), Err(PathError::NoSlash));
        assert_eq!("".parse::<LwPath>(), Err(PathError::NoSlash));
        assert_eq!("/5/0/".parse::<LwPath>(), Err(PathError::BadNumber { offset: 5 }));
        assert_eq!("/5/+1".parse::<LwPath>(), Err(PathError::BadNumber { offset: 3 }));
        assert_eq!("/05".parse::<LwPath>(), Err(PathError::BadNumber { offset: 1 }));
        assert_eq!("/65536".parse::<LwPath>(), Err(PathError::BadNumber { offset: 1 }));
        assert_eq!("/1/2/3/4/5".parse::<LwPath>(), Err(PathError::TooDeep { offset: 9 }));
    }

    #[test]
    fn order_and_prefix() {
        let path = LwPath::from([5, 0, 3]);
        assert!(path.starts_with(&LwPath::ROOT));
        assert!(path.starts_with(&path));
        assert!(path.starts_with(&LwPath::from([5, 0])));
        assert!(!path.starts_with(&LwPath::from([5, 1])));
        assert!(!path.starts_with(&LwPath::from([5, 0, 3, 0])));
        assert!(LwPath::from([5]) < LwPath::from([5, 0]));
        assert_eq!(path.parent(), Some(LwPath::from([5, 0])));
        assert_eq!(LwPath::ROOT.parent(), None);
    }

    proptest! {
        #[test]
        fn text_round_trip(ids in proptest::collection::vec(any::<u16>(), 0..5)) {
            let path = LwPath::from_ids(&ids).unwrap();
            prop_assert_eq!(path.ids(), ids);
            prop_assert_eq!(path.to_string().parse::<LwPath>(), Ok(path));
        }
    }
}
