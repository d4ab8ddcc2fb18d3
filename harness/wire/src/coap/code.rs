//! Codes and message types (RFC 7252, 3 and 12.1).

use coap_lite::{MessageClass, MessageType, RequestType, ResponseType};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// The code of a message: three bits of class, five of detail, shown as `2.04` (RFC 7252, 3). By default 0.00.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $class:literal . $detail:literal, $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($class << 5 | $detail);)*

            /// The registered name, such as `Changed`; `unassigned` for a code without one.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    _ => "unassigned",
                }
            }
        }
    };
}

codes! {
    /// 0.00, the empty message (RFC 7252, 4.1).
    EMPTY = 0 . 0, "Empty";
    /// 0.01 (RFC 7252, 5.8.1).
    GET = 0 . 1, "GET";
    /// 0.02 (RFC 7252, 5.8.2).
    POST = 0 . 2, "POST";
    /// 0.03 (RFC 7252, 5.8.3).
    PUT = 0 . 3, "PUT";
    /// 0.04 (RFC 7252, 5.8.4).
    DELETE = 0 . 4, "DELETE";
    /// 0.05 (RFC 8132, 2).
    FETCH = 0 . 5, "FETCH";
    /// 0.06 (RFC 8132, 3).
    PATCH = 0 . 6, "PATCH";
    /// 0.07 (RFC 8132, 3).
    IPATCH = 0 . 7, "iPATCH";
    /// 2.01 (RFC 7252, 5.9.1.1).
    CREATED = 2 . 1, "Created";
    /// 2.02 (RFC 7252, 5.9.1.2).
    DELETED = 2 . 2, "Deleted";
    /// 2.03 (RFC 7252, 5.9.1.3).
    VALID = 2 . 3, "Valid";
    /// 2.04 (RFC 7252, 5.9.1.4).
    CHANGED = 2 . 4, "Changed";
    /// 2.05 (RFC 7252, 5.9.1.5).
    CONTENT = 2 . 5, "Content";
    /// 2.31 (RFC 7959, 2.9.1).
    CONTINUE = 2 . 31, "Continue";
    /// 4.00 (RFC 7252, 5.9.2.1).
    BAD_REQUEST = 4 . 0, "Bad Request";
    /// 4.01 (RFC 7252, 5.9.2.2).
    UNAUTHORIZED = 4 . 1, "Unauthorized";
    /// 4.02 (RFC 7252, 5.9.2.3).
    BAD_OPTION = 4 . 2, "Bad Option";
    /// 4.03 (RFC 7252, 5.9.2.4).
    FORBIDDEN = 4 . 3, "Forbidden";
    /// 4.04 (RFC 7252, 5.9.2.5).
    NOT_FOUND = 4 . 4, "Not Found";
    /// 4.05 (RFC 7252, 5.9.2.6).
    METHOD_NOT_ALLOWED = 4 . 5, "Method Not Allowed";
    /// 4.06 (RFC 7252, 5.9.2.7).
    NOT_ACCEPTABLE = 4 . 6, "Not Acceptable";
    /// 4.08 (RFC 7959, 2.9.2).
    REQUEST_ENTITY_INCOMPLETE = 4 . 8, "Request Entity Incomplete";
    /// 4.09 (RFC 8132, 2.3.1).
    CONFLICT = 4 . 9, "Conflict";
    /// 4.12 (RFC 7252, 5.9.2.8).
    PRECONDITION_FAILED = 4 . 12, "Precondition Failed";
    /// 4.13 (RFC 7252, 5.9.2.9; RFC 7959, 2.9.3).
    REQUEST_ENTITY_TOO_LARGE = 4 . 13, "Request Entity Too Large";
    /// 4.15 (RFC 7252, 5.9.2.10).
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15, "Unsupported Content-Format";
    /// 4.22 (RFC 8132, 4).
    UNPROCESSABLE_ENTITY = 4 . 22, "Unprocessable Entity";
    /// 4.29 (RFC 8516).
    TOO_MANY_REQUESTS = 4 . 29, "Too Many Requests";
    /// 5.00 (RFC 7252, 5.9.3.1).
    INTERNAL_SERVER_ERROR = 5 . 0, "Internal Server Error";
    /// 5.01 (RFC 7252, 5.9.3.2).
    NOT_IMPLEMENTED = 5 . 1, "Not Implemented";
    /// 5.02 (RFC 7252, 5.9.3.3).
    BAD_GATEWAY = 5 . 2, "Bad Gateway";
    /// 5.03 (RFC 7252, 5.9.3.4).
    SERVICE_UNAVAILABLE = 5 . 3, "Service Unavailable";
    /// 5.04 (RFC 7252, 5.9.3.5).
    GATEWAY_TIMEOUT = 5 . 4, "Gateway Timeout";
    /// 5.05 (RFC 7252, 5.9.3.6).
    PROXYING_NOT_SUPPORTED = 5 . 5, "Proxying Not Supported";
    /// 5.08 (RFC 8768, 4).
    HOP_LIMIT_REACHED = 5 . 8, "Hop Limit Reached";
    /// 7.01, TCP only (RFC 8323, 5.3).
    CSM = 7 . 1, "CSM";
    /// 7.02, TCP only (RFC 8323, 5.4).
    PING = 7 . 2, "Ping";
    /// 7.03, TCP only (RFC 8323, 5.4).
    PONG = 7 . 3, "Pong";
    /// 7.04, TCP only (RFC 8323, 5.5).
    RELEASE = 7 . 4, "Release";
    /// 7.05, TCP only (RFC 8323, 5.6).
    ABORT = 7 . 5, "Abort";
}

impl Code {
    /// From class (0-7) and detail (0-31); higher bits are cut off.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Self {
        Self((class & 7) << 5 | (detail & 31))
    }

    /// The class: 0 request, 2 success, 4 client error, 5 server error, 7 signaling (TCP).
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The detail.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0 & 31
    }

    /// 0.00.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Class 0 except 0.00.
    #[must_use]
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Class 2, 4 or 5.
    #[must_use]
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// Class 2.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// Class 4 or 5.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self.class(), 4 | 5)
    }

    /// Class 7, which only CoAP over TCP defines (RFC 8323, 5.1).
    #[must_use]
    pub const fn is_signaling(self) -> bool {
        self.class() == 7
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:02}", self.class(), self.detail())
    }
}

/// A text that is no code such as `2.04`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no CoAP code: expected a class 0-7, a dot and two digits 00-31, such as 2.04")]
pub struct ParseCodeError(pub String);

impl FromStr for Code {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        let parsed = match text.as_bytes() {
            [class @ b'0'..=b'7', b'.', tens @ b'0'..=b'3', ones @ b'0'..=b'9'] => {
                let detail = (tens - b'0') * 10 + (ones - b'0');
                (detail < 32).then(|| Self::new(class - b'0', detail))
            }
            _ => None,
        };
        parsed.ok_or_else(|| ParseCodeError(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl From<MessageClass> for Code {
    fn from(class: MessageClass) -> Self {
        Self(class.into())
    }
}

impl From<Code> for MessageClass {
    fn from(code: Code) -> Self {
        code.0.into()
    }
}

impl From<RequestType> for Code {
    fn from(method: RequestType) -> Self {
        MessageClass::Request(method).into()
    }
}

impl From<ResponseType> for Code {
    fn from(response: ResponseType) -> Self {
        MessageClass::Response(response).into()
    }
}

/// The type of a message over UDP (RFC 7252, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Confirmable: wants an Acknowledgement or Reset.
    Con,
    /// Non-confirmable.
    Non,
    /// Acknowledgement.
    Ack,
    /// Reset.
    Rst,
}

impl Type {
    /// From the two bits of the header; higher bits are cut off.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Con,
            1 => Self::Non,
            2 => Self::Ack,
            _ => Self::Rst,
        }
    }

    /// The two bits of the header.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Con => "CON",
            Self::Non => "NON",
            Self::Ack => "ACK",
            Self::Rst => "RST",
        })
    }
}

impl From<Type> for MessageType {
    fn from(kind: Type) -> Self {
        match kind {
            Type::Con => Self::Confirmable,
            Type::Non => Self::NonConfirmable,
            Type::Ack => Self::Acknowledgement,
            Type::Rst => Self::Reset,
        }
    }
}

impl From<MessageType> for Type {
    fn from(kind: MessageType) -> Self {
        match kind {
            MessageType::Confirmable => Self::Con,
            MessageType::NonConfirmable => Self::Non,
            MessageType::Acknowledgement => Self::Ack,
            MessageType::Reset => Self::Rst,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Type};
    use coap_lite::{MessageClass, MessageType};

    #[test]
    fn every_code_has_one_text() {
        for byte in 0..=255 {
            let code = Code(byte);
            assert_eq!(code.to_string().parse(), Ok(code));
            assert_eq!(Code::from(MessageClass::from(code)), code);
        }
        assert_eq!(Code::CHANGED.to_string(), "2.04");
        assert_eq!(Code::CONTINUE.to_string(), "2.31");
        assert_eq!(Code::CHANGED.name(), "Changed");
        assert_eq!(Code::new(3, 0).name(), "unassigned");
    }

    #[test]
    fn text_just_outside() {
        for text in ["", "2.4", "2.32", "8.00", "2.040", "2,04", "+.04"] {
            assert!(text.parse::<Code>().is_err(), "{text}");
        }
    }

    #[test]
    fn classes() {
        assert!(Code::EMPTY.is_empty() && !Code::EMPTY.is_request());
        assert!(Code::IPATCH.is_request() && Code::new(0, 31).is_request());
        assert!(Code::CONTINUE.is_success() && !Code::CONTINUE.is_error());
        assert!(Code::INTERNAL_SERVER_ERROR.is_error());
        assert!(!Code::new(3, 0).is_response() && !Code::new(1, 0).is_response());
        assert!(Code::ABORT.is_signaling());
    }

    #[test]
    fn types_and_their_json() {
        for (bits, kind) in [Type::Con, Type::Non, Type::Ack, Type::Rst].into_iter().enumerate() {
            assert_eq!(usize::from(kind.bits()), bits);
            assert_eq!(Type::from_bits(kind.bits()), kind);
            assert_eq!(Type::from(MessageType::from(kind)), kind);
        }
        assert_eq!(serde_json::to_string(&Type::Con).unwrap(), r#""con""#);
        assert_eq!(serde_json::to_string(&Code::CHANGED).unwrap(), r#""2.04""#);
        assert_eq!(
            serde_json::from_str::<Code>(r#""4.13""#).unwrap(),
            Code::REQUEST_ENTITY_TOO_LARGE
        );
    }
}
