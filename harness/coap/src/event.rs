//! What goes into an endpoint and what comes out of it.

use core::{fmt, net::SocketAddr, time::Duration};

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_wire::coap::{Code, FormatError};

use crate::token::Token;

/// An exchange this endpoint started: a request, a notification, a confirmable separate response or a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub(crate) u64);

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exchange {}", self.0)
    }
}

/// A request a peer sent us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Bytes,
}

/// An observation (RFC 7641, section 1.2): who gets the notifications, or sends them, and the token they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Observer {
    /// The other side.
    pub peer: SocketAddr,
    /// The token of the request that began the observation.
    pub token: Token,
}

/// A request to send. Of the packet the code, the options and the payload count; type, message ID and token are filled in.
#[derive(Debug, Clone)]
pub struct Request {
    /// Code, options and payload.
    pub packet: Packet,
    /// The token; drawn when absent. May be the token of an earlier request.
    pub token: Option<Token>,
    /// Length of the drawn token; [`Config::token_length`](crate::Config::token_length) when absent.
    pub token_length: Option<usize>,
    /// The message ID; the next one when absent.
    pub message_id: Option<u16>,
    /// CON or NON.
    pub confirmable: bool,
    /// Whether a CON is sent again when no answer comes.
    pub retransmit: bool,
    /// Sent at once, past the queue of NSTART.
    pub immediate: bool,
}

impl Request {
    /// A confirmable request with everything else chosen by the endpoint.
    #[must_use]
    pub const fn confirmable(packet: Packet) -> Self {
        Self {
            packet,
            token: None,
            token_length: None,
            message_id: None,
            confirmable: true,
            retransmit: true,
            immediate: false,
        }
    }

    /// A non-confirmable request.
    #[must_use]
    pub const fn non_confirmable(packet: Packet) -> Self {
        let mut request = Self::confirmable(packet);
        request.confirmable = false;
        request
    }

    /// With this token.
    #[must_use]
    pub const fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// With this message ID.
    #[must_use]
    pub const fn with_message_id(mut self, message_id: u16) -> Self {
        self.message_id = Some(message_id);
        self
    }
}

/// How a response travels (RFC 7252, section 5.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the ACK if none was sent yet, else separate: CON to a CON, NON to a NON.
    #[default]
    Auto,
    /// A message of its own, CON, even if no empty ACK went before.
    SeparateCon,
    /// A message of its own, NON, even if no empty ACK went before.
    SeparateNon,
}

/// How to answer the notifications of an observation (RFC 7641, section 3.6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NotificationPolicy {
    /// A CON gets an ACK.
    #[default]
    Accept,
    /// The next one, CON or NON, gets an RST; that ends the observation.
    Reset,
    /// None gets an answer.
    Ignore,
}

/// Why an exchange came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No answer to the last retransmission, or no separate response in time (RFC 7252, section 4.2).
    #[error("timed out")]
    TimedOut,
    /// The peer rejected the message with an RST (RFC 7252, section 4.2).
    #[error("reset by the peer")]
    Reset,
    /// The packet cannot be written as a CoAP message; nothing was sent.
    #[error("the packet cannot be encoded")]
    Unencodable,
}

/// How the delivery of a notification or of a separate response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The peer acknowledged the CON.
    Acknowledged,
    /// The peer rejected it with an RST; an observation is over (RFC 7641, section 3.6).
    Reset,
    /// Nobody acknowledged the CON (RFC 7641, section 4.5: the observer is gone).
    TimedOut,
    /// A newer notification took its place in the queue before it was sent (RFC 7641, section 4.5).
    Superseded,
    /// The packet cannot be written as a CoAP message; nothing was sent.
    Unencodable,
}

/// What an endpoint reports.
#[derive(Debug, Clone)]
pub enum Event {
    /// A new request. Answer it with [`Endpoint::respond`](crate::Endpoint::respond) or its relatives.
    Request {
        /// To answer it by.
        id: RequestId,
        /// Who asks.
        from: SocketAddr,
        /// The request.
        packet: Packet,
        /// Whether it is a CON.
        confirmable: bool,
    },
    /// A request came again; the reply was repeated already. For information.
    DuplicateRequest {
        /// The request as first reported.
        id: RequestId,
        /// Who asks.
        from: SocketAddr,
        /// How many times it came, the first included.
        count: u32,
    },
    /// The endpoint itself answered a request with an error, or dropped a NON for the same reason. For information.
    Refused {
        /// Who asked.
        from: SocketAddr,
        /// 4.02 or 4.05.
        code: Code,
        /// The request.
        packet: Packet,
    },
    /// The response to a request of ours.
    Response {
        /// The request.
        exchange: ExchangeId,
        /// Who answers.
        from: SocketAddr,
        /// The response.
        packet: Packet,
        /// Whether it came in the ACK.
        piggybacked: bool,
        /// Time since the first send.
        rtt: Duration,
        /// How many times the request was sent.
        transmissions: u32,
    },
    /// A response came again. For information; a CON was acknowledged again.
    DuplicateResponse {
        /// The request.
        exchange: ExchangeId,
        /// Who answers.
        from: SocketAddr,
        /// The response.
        packet: Packet,
    },
    /// An empty ACK: the response will come separately (RFC 7252, section 5.2.2).
    Acknowledged {
        /// The request.
        exchange: ExchangeId,
        /// Time since the first send.
        rtt: Duration,
        /// How many times the request was sent.
        transmissions: u32,
    },
    /// A request came to nothing.
    Failed {
        /// The request.
        exchange: ExchangeId,
        /// Why.
        reason: Failure,
        /// How many times the request was sent.
        transmissions: u32,
    },
    /// A notification of an observation of ours (RFC 7641, section 3.2). The first response is an [`Event::Response`].
    Notification {
        /// The token of the observation.
        token: Token,
        /// Who notifies.
        from: SocketAddr,
        /// The notification.
        packet: Packet,
        /// Whether it is a CON.
        confirmable: bool,
        /// Newer than the last one by RFC 7641, section 3.4.
        fresh: bool,
        /// No more will be accepted: an error code, no Observe option, or answered by an RST of ours.
        ended: bool,
    },
    /// The delivery of a notification of ours ended. A NON reports only an RST.
    NotifyEnded {
        /// The notification.
        exchange: ExchangeId,
        /// The observer.
        observer: Observer,
        /// How.
        reason: Ended,
    },
    /// The delivery of a confirmable separate response ended.
    ResponseEnded {
        /// The request it answers.
        id: RequestId,
        /// How.
        reason: Ended,
    },
    /// A response, ACK or RST that belongs to nothing. A CON got an RST, and so did a NON notification.
    Unmatched {
        /// Who sent it.
        from: SocketAddr,
        /// The message.
        packet: Packet,
    },
    /// A datagram that is not CoAP. A CON whose header can be read got an RST (RFC 7252, section 4.2).
    Malformed {
        /// Who sent it.
        from: SocketAddr,
        /// What is wrong.
        error: FormatError,
        /// The datagram.
        bytes: Bytes,
    },
    /// A peer pinged us with an empty CON; it got an RST (RFC 7252, section 4.3). For information.
    Ping {
        /// Who pings.
        from: SocketAddr,
    },
    /// A ping of ours was answered by an RST.
    Pong {
        /// The ping.
        exchange: ExchangeId,
        /// Who answers.
        from: SocketAddr,
        /// Time since the first send.
        rtt: Duration,
    },
}
