//! The answer to a request, in the form that expectations ask about.

use core::time::Duration;

use coap_lite::Packet;
use fotaproof_lwm2m::server::OpFailure;
use fotaproof_wire::coap::{Code, MessageView, Type, build};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;
use sha2::{Digest, Sha256};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// A response with this code.
    Code(Code),
    /// A Reset.
    Rst,
    /// An empty ACK and nothing after it.
    EmptyAck,
    /// Nothing.
    Nothing,
    /// The request could not be sent, for this reason.
    NotSent(String),
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) at: Duration,
    pub(crate) back: Back,
    pub(crate) format: Option<u16>,
    pub(crate) payload: Vec<u8>,
    pub(crate) values: Vec<(LwPath, Value)>,
    pub(crate) decode_error: Option<String>,
    /// How a push ended, in words.
    pub(crate) ended: Option<String>,
    /// How many answers there were.
    pub(crate) count: usize,
}

impl Answer {
    fn new(at: Duration, back: Back) -> Self {
        Self {
            at,
            back,
            format: None,
            payload: Vec::new(),
            values: Vec::new(),
            decode_error: None,
            ended: None,
            count: 1,
        }
    }

    pub(crate) fn response(
        at: Duration,
        code: Code,
        packet: Packet,
        values: Vec<(LwPath, Value)>,
        decode_error: Option<String>,
    ) -> Self {
        Self {
            format: build::content_format(&packet),
            payload: packet.payload,
            values,
            decode_error,
            ..Self::new(at, Back::Code(code))
        }
    }

    pub(crate) fn failed(at: Duration, reason: OpFailure) -> Self {
        Self::new(
            at,
            match reason {
                OpFailure::TimedOut => Back::Nothing,
                OpFailure::Reset => Back::Rst,
                other => Back::NotSent(other.to_string()),
            },
        )
    }

    pub(crate) fn heard(at: Duration, view: &MessageView<'_>) -> Self {
        let back = match (view.kind(), view.code()) {
            (Type::Rst, _) => Back::Rst,
            (_, Code::EMPTY) => Back::EmptyAck,
            (_, code) => Back::Code(code),
        };
        Self {
            format: view.content_format(),
            payload: view.payload().to_vec(),
            ..Self::new(at, back)
        }
    }

    pub(crate) fn silence(at: Duration) -> Self {
        Self {
            count: 0,
            ..Self::new(at, Back::Nothing)
        }
    }

    pub(crate) fn pushed(at: Duration, back: Back, ended: String) -> Self {
        Self {
            ended: Some(ended),
            ..Self::new(at, back)
        }
    }

    /// What someone else tells of an answer: the adapter of a server, or a device.
    pub(crate) fn told_by(at: Duration, back: Back, values: Vec<(LwPath, Value)>, text: Option<&str>) -> Self {
        Self {
            values,
            payload: text.map(|text| text.as_bytes().to_vec()).unwrap_or_default(),
            ..Self::new(at, back)
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        matches!(self.back, Back::Code(code) if code.0 >> 5 == 2)
    }

    /// The answer in words.
    pub(crate) fn told(&self) -> String {
        let told = match &self.back {
            Back::Code(code) => format!("{code} {}", code.name()),
            Back::Rst => "RST".to_owned(),
            Back::EmptyAck => "an empty ACK and no response".to_owned(),
            Back::Nothing => "no answer".to_owned(),
            Back::NotSent(why) => format!("nothing was sent: {why}"),
        };
        match &self.ended {
            Some(ended) => format!("{} ({ended})", told.trim_end()),
            None => told.trim_end().to_owned(),
        }
    }
}

/// A value as a case writes it.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) | Value::CoreLink(text) => text.clone(),
        Value::Opaque(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Value::Integer(n) | Value::Time(n) => n.to_string(),
        Value::Unsigned(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Boolean(b) => b.to_string(),
        Value::ObjectLink(object, instance) => format!("{object}:{instance}"),
    }
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
