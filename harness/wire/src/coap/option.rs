//! Option numbers and what the registry says of each (RFC 7252, 5.10 and 12.2, and the documents that add to it).

macro_rules! options {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal, $format:ident, $min:literal ..= $max:literal, $repeatable:literal;)*) => {
        $($(#[$doc])* pub const $constant: u16 = $number;)*

        /// What the registry says of an option; `None` for a number that is not known here.
        #[must_use]
        pub const fn definition(number: u16) -> Option<Definition> {
            match number {
                $($constant => Some(Definition {
                    number: $number, name: $name, format: Format::$format, min_length: $min, max_length: $max, repeatable: $repeatable,
                }),)*
                _ => None,
            }
        }

        /// Every option known here, in order of its number.
        pub const ALL: &[u16] = &[$($number),*];
    };
}

options! {
    /// RFC 7252, 5.10.8.1.
    IF_MATCH = 1, "If-Match", Opaque, 0..=8, true;
    /// RFC 7252, 5.10.1.
    URI_HOST = 3, "Uri-Host", String, 1..=255, false;
    /// RFC 7252, 5.10.6. At most one in a response.
    ETAG = 4, "ETag", Opaque, 1..=8, true;
    /// RFC 7252, 5.10.8.2.
    IF_NONE_MATCH = 5, "If-None-Match", Empty, 0..=0, false;
    /// RFC 7641, 2.
    OBSERVE = 6, "Observe", Uint, 0..=3, false;
    /// RFC 7252, 5.10.1.
    URI_PORT = 7, "Uri-Port", Uint, 0..=2, false;
    /// RFC 7252, 5.10.7.
    LOCATION_PATH = 8, "Location-Path", String, 0..=255, true;
    /// RFC 8613, 2.
    OSCORE = 9, "OSCORE", Opaque, 0..=255, false;
    /// RFC 7252, 5.10.1.
    URI_PATH = 11, "Uri-Path", String, 0..=255, true;
    /// RFC 7252, 5.10.3.
    CONTENT_FORMAT = 12, "Content-Format", Uint, 0..=2, false;
    /// RFC 7252, 5.10.5.
    MAX_AGE = 14, "Max-Age", Uint, 0..=4, false;
    /// RFC 7252, 5.10.1.
    URI_QUERY = 15, "Uri-Query", String, 0..=255, true;
    /// RFC 8768, 3.
    HOP_LIMIT = 16, "Hop-Limit", Uint, 1..=1, false;
    /// RFC 7252, 5.10.4.
    ACCEPT = 17, "Accept", Uint, 0..=2, false;
    /// RFC 9177, 4.1.
    Q_BLOCK1 = 19, "Q-Block1", Uint, 0..=3, false;
    /// RFC 7252, 5.10.7.
    LOCATION_QUERY = 20, "Location-Query", String, 0..=255, true;
    /// RFC 7959, 2.1.
    BLOCK2 = 23, "Block2", Uint, 0..=3, false;
    /// RFC 7959, 2.1.
    BLOCK1 = 27, "Block1", Uint, 0..=3, false;
    /// RFC 7959, 4.
    SIZE2 = 28, "Size2", Uint, 0..=4, false;
    /// RFC 9177, 4.1.
    Q_BLOCK2 = 31, "Q-Block2", Uint, 0..=3, true;
    /// RFC 7252, 5.10.2.
    PROXY_URI = 35, "Proxy-Uri", String, 1..=1034, false;
    /// RFC 7252, 5.10.2.
    PROXY_SCHEME = 39, "Proxy-Scheme", String, 1..=255, false;
    /// RFC 7252, 5.10.9; RFC 7959, 4.
    SIZE1 = 60, "Size1", Uint, 0..=4, false;
    /// RFC 9175, 2.2.1.
    ECHO = 252, "Echo", Opaque, 1..=40, false;
    /// RFC 7967, 2.
    NO_RESPONSE = 258, "No-Response", Uint, 0..=1, false;
    /// RFC 9175, 3.2.1.
    REQUEST_TAG = 292, "Request-Tag", Opaque, 0..=8, true;
}

/// The format of an option's value (RFC 7252, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// No value.
    Empty,
    /// Bytes.
    Opaque,
    /// A number, big-endian, without leading zeros.
    Uint,
    /// UTF-8 text.
    String,
}

/// One row of the option table (RFC 7252, 5.10, Table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Option number.
    pub number: u16,
    /// Registered name.
    pub name: &'static str,
    /// Format of the value.
    pub format: Format,
    /// Least length of the value in bytes.
    pub min_length: usize,
    /// Greatest length of the value in bytes.
    pub max_length: usize,
    /// Whether the option may occur more than once.
    pub repeatable: bool,
}

/// The registered name; `None` for a number that is not known here.
#[must_use]
pub fn name(number: u16) -> Option<&'static str> {
    definition(number).map(|definition| definition.name)
}

/// Whether a receiver that does not know the option has to refuse the message: odd numbers (RFC 7252, 5.4.1).
#[must_use]
pub const fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

/// Whether a proxy that does not know the option may not forward it (RFC 7252, 5.4.2).
#[must_use]
pub const fn is_unsafe(number: u16) -> bool {
    number & 2 == 2
}

/// Whether the option may occur more than once; an unknown option may.
#[must_use]
pub fn is_repeatable(number: u16) -> bool {
    definition(number).is_none_or(|definition| definition.repeatable)
}

/// Least and greatest length of the value in bytes; `None` for an unknown option.
#[must_use]
pub fn length_bounds(number: u16) -> Option<(usize, usize)> {
    definition(number).map(|definition| (definition.min_length, definition.max_length))
}

/// The number for a registered name, in any case: `Block1`, `uri-path`.
#[must_use]
pub fn from_name(text: &str) -> Option<u16> {
    ALL.iter()
        .copied()
        .find(|number| name(*number).is_some_and(|known| known.eq_ignore_ascii_case(text)))
}

#[cfg(test)]
mod tests {
    use super::{ALL, BLOCK1, ETAG, SIZE1, URI_PATH, from_name, is_critical, is_repeatable, length_bounds, name};

    #[test]
    fn the_table() {
        assert!(ALL.is_sorted());
        assert!(
            ALL.iter()
                .all(|number| from_name(name(*number).unwrap()) == Some(*number))
        );
        assert!(is_critical(BLOCK1) && !is_critical(SIZE1));
        assert!(is_repeatable(URI_PATH) && !is_repeatable(BLOCK1) && is_repeatable(65000));
        assert_eq!(length_bounds(ETAG), Some((1, 8)));
        assert_eq!(name(2), None);
    }
}
