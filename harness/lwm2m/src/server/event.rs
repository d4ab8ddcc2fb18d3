//! What the server tells its caller.

use core::time::Duration;
use std::net::SocketAddr;

use coap_lite::Packet;
use fotaproof_coap as coap;
use fotaproof_wire::coap::{BlockValue, Code, FormatError};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::types::{Interface, OpId};
use crate::registration::Registration;

/// Why a request got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpFailure {
    /// Nothing came back (RFC 7252, 4.2).
    #[error("nothing came back")]
    TimedOut,
    /// The device answered RST.
    #[error("the device answered with RST")]
    Reset,
    /// No device is registered and the request named no address.
    #[error("no device is registered")]
    NotRegistered,
    /// The request could not be written as a CoAP message.
    #[error("the request cannot be written as a CoAP message")]
    Unencodable,
    /// The device registered anew from another address.
    #[error("the device registered anew from another address")]
    Superseded,
    /// Stopped by the caller.
    #[error("cancelled")]
    Cancelled,
}

/// How a push ended, or why it pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushOutcome {
    /// The last block was answered with a success code.
    Complete {
        /// The answer to the last block.
        code: Code,
    },
    /// All blocks of a scripted order were sent and answered.
    Scripted {
        /// The answer to the last of them.
        code: Code,
    },
    /// The device refused a block and the push may not or cannot start again.
    Refused {
        /// Its answer.
        code: Code,
        /// The block.
        block: BlockValue,
    },
    /// Paused after `stop_after` blocks; it can be resumed.
    Paused {
        /// The next NUM, in the size in use.
        next: u32,
    },
    /// A block got no response.
    Failed {
        /// Why.
        reason: OpFailure,
        /// The block.
        block: BlockValue,
    },
    /// The body has more blocks of this size than can be numbered (RFC 7959, 2.2).
    TooManyBlocks,
}

/// One thing that happened at the server.
#[derive(Debug, Clone)]
pub enum ServerEvent {
    /// A device registered (2.01 is on its way).
    Registered(Registration),
    /// A device updated its registration (2.04 is on its way).
    Updated(Registration),
    /// A device ended its registration (2.02 is on its way).
    Deregistered(Registration),
    /// The lifetime of a registration passed without an Update.
    Expired(Registration),
    /// A call of an interface got an error or no answer.
    Refused {
        /// Which interface.
        interface: Interface,
        /// The caller.
        from: SocketAddr,
        /// The answer; `None` for silence.
        code: Option<Code>,
        /// Why, in words.
        reason: String,
    },
    /// The response to a request, whole if it came in blocks and the request follows them.
    Response {
        /// The request.
        op: OpId,
        /// Who answered.
        from: SocketAddr,
        /// The path that was asked; root for a request without one.
        path: LwPath,
        /// Its code.
        code: Code,
        /// The response.
        packet: Packet,
        /// In the ACK, or in a message of its own.
        piggybacked: bool,
        /// From the first send to the response.
        rtt: Duration,
        /// How often the request was sent.
        transmissions: u32,
        /// What a 2.05 or a Send says, by path; empty where the payload cannot be read.
        values: Vec<(LwPath, Value)>,
        /// Why the payload cannot be read.
        decode_error: Option<String>,
    },
    /// An empty ACK: the response will come separately.
    Acknowledged {
        /// The request.
        op: OpId,
    },
    /// A request ended without a response.
    Failed {
        /// The request.
        op: OpId,
        /// Why.
        reason: OpFailure,
        /// How often the request was sent.
        transmissions: u32,
    },
    /// A response came once more, to a resend or on its own.
    DuplicateResponse {
        /// The request or push.
        op: OpId,
        /// The response.
        packet: Packet,
    },
    /// A notification (RFC 7641, 4.2).
    Notification {
        /// The observation.
        op: OpId,
        /// The observed path; root for Observe-Composite.
        path: LwPath,
        /// The sender.
        from: SocketAddr,
        /// Its code; an error code ends the observation.
        code: Code,
        /// The notification, whole if it came in blocks.
        packet: Packet,
        /// CON or NON.
        confirmable: bool,
        /// Newer than the one before by the rule of RFC 7641, 3.4.
        fresh: bool,
        /// What it says, by path.
        values: Vec<(LwPath, Value)>,
        /// Why the payload cannot be read.
        decode_error: Option<String>,
    },
    /// An observation is over: cancelled, refused, or void by a new registration.
    ObservationEnded {
        /// The observation.
        op: OpId,
    },
    /// A block of a push was answered.
    PushBlock {
        /// The push.
        op: OpId,
        /// The block that was sent.
        block: BlockValue,
        /// The answer.
        code: Code,
        /// Block1 of the answer.
        answer: Option<BlockValue>,
        /// Size1 of the answer (RFC 7959, 4).
        size1: Option<u32>,
        /// In the ACK, or in a message of its own.
        piggybacked: bool,
        /// How often the block was sent.
        transmissions: u32,
    },
    /// A push ended or pauses.
    PushEnded {
        /// The push.
        op: OpId,
        /// How.
        outcome: PushOutcome,
    },
    /// A device sent values on its own (Core, Send).
    Sent {
        /// The device.
        from: SocketAddr,
        /// Its endpoint name, when the address is a registered one.
        endpoint: Option<String>,
        /// The values.
        values: Vec<(LwPath, Value)>,
    },
    /// A request that is none of the LwM2M interfaces; it was answered as `code` says, perhaps by the CoAP layer.
    Request {
        /// The sender.
        from: SocketAddr,
        /// The method.
        method: Code,
        /// The path as written.
        path: String,
        /// What the server answered; `None` when the repository has it in hand.
        code: Option<Code>,
    },
    /// A request came a second time and got the same answer (RFC 7252, 4.5).
    Duplicate {
        /// The sender.
        from: SocketAddr,
        /// How often it has come so far.
        count: u32,
    },
    /// A response, ACK or RST that belongs to nothing.
    Unmatched {
        /// The sender.
        from: SocketAddr,
        /// The message.
        packet: Packet,
    },
    /// A datagram that is not CoAP.
    Malformed {
        /// The sender.
        from: SocketAddr,
        /// What is wrong with it.
        error: FormatError,
    },
    /// A ping of ours was answered by RST (RFC 7252, 4.3).
    Pong {
        /// The ping.
        op: OpId,
        /// Who answered.
        from: SocketAddr,
    },
    /// Something that the built-in repository did.
    Repository(crate::repository::RepositoryEvent),
}

impl From<coap::Failure> for OpFailure {
    fn from(reason: coap::Failure) -> Self {
        match reason {
            coap::Failure::TimedOut => Self::TimedOut,
            coap::Failure::Reset => Self::Reset,
            coap::Failure::Unencodable => Self::Unencodable,
        }
    }
}
