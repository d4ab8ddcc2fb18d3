//! What a caller asks of the server: its configuration, its answers and its requests.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::blockwise::SendQuirks;
use fotaproof_coap::{self as coap, Token};
use fotaproof_wire::coap::{Code, Szx, content_format};
use fotaproof_wire::path::LwPath;

use crate::definitions::Version;

/// How a [`Server`](super::Server) behaves where nothing else is asked of it.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Transmission parameters of the CoAP layer below.
    pub coap: coap::Config,
    /// Seed of message ids, tokens and locations.
    pub seed: u64,
    /// Versions of LwM2M that a Register may name; others are answered 4.12 (Core, Register).
    pub versions: Vec<Version>,
    /// Location-Path segments of a 2.01; `None` gives `rd` and eight hexadecimal digits (Core, Register).
    pub location: Option<Vec<String>>,
    /// Largest block that the server takes in a Register or Send (RFC 7959, 2.5).
    pub szx: Szx,
    /// Largest Register or Send body.
    pub body_limit: u64,
    /// Drop a registration whose lifetime is over (Core, Register).
    pub expire: bool,
    /// Answer an Update of a registration that there is not by 2.04: a defect.
    pub accept_unknown_updates: bool,
    /// Give up running requests and pushes to the old address when their device registers from a new one.
    pub supersede: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            coap: coap::Config::default(),
            seed: 0,
            versions: vec![Version::V1_0, Version::V1_1, Version::V1_2],
            location: None,
            szx: Szx::S1024,
            body_limit: 64 * 1024,
            expire: true,
            accept_unknown_updates: false,
            supersede: true,
        }
    }
}

/// Names one request, observation or push of the server, from its call to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// The interfaces of the server that a device calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interface {
    /// POST /rd (Core, Register).
    Register,
    /// POST to the location (Core, Update).
    Update,
    /// DELETE of the location (Core, De-register).
    Deregister,
    /// POST /dp (Core, Send).
    Send,
}

/// What an interface answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// As the specification says.
    Normal,
    /// This code and nothing else happens, the registration stays as it is.
    Code(Code),
    /// Nothing, as if the datagram had been lost; resends go unanswered too.
    Silent,
}

/// An [`Answer`] for a number of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What is answered.
    pub answer: Answer,
    /// To how many requests, duplicates not counted; `None` is all that come.
    pub times: Option<u32>,
}

/// The method that a Write uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// PUT: replace (Core, Write).
    #[default]
    Put,
    /// POST: partial update (Core, Write).
    Post,
}

impl Method {
    /// The code of the request.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Put => Code::PUT,
            Self::Post => Code::POST,
        }
    }
}

/// How an observation is ended (RFC 7641, 3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// GET with Observe 1 and the token of the observation.
    Get,
    /// RST to the next notification.
    Reset,
}

/// Where a token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenChoice {
    /// A new random one of the length in [`coap::Config`].
    #[default]
    Fresh,
    /// A new random one of this length, 0 to 8.
    Length(usize),
    /// This one.
    Fixed(Token),
}

impl TokenChoice {
    /// The token and its length as [`fotaproof_coap::Request`] has them.
    pub(super) const fn wanted(self) -> (Option<Token>, Option<usize>) {
        match self {
            Self::Fresh => (None, None),
            Self::Length(length) => (None, Some(length)),
            Self::Fixed(token) => (Some(token), None),
        }
    }
}

/// A request of any content. Type, token and message id of `packet` are filled in from the other fields.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// Where to; `None` is the address that the device registered from.
    pub to: Option<SocketAddr>,
    /// Code, options and payload.
    pub packet: Packet,
    /// The token.
    pub token: TokenChoice,
    /// The message id; `None` takes the next one.
    pub message_id: Option<u16>,
    /// CON or NON.
    pub confirmable: bool,
    /// Whether a CON is sent again when nothing comes back (RFC 7252, 4.2).
    pub retransmit: bool,
    /// Sent at once, past the queue of NSTART (RFC 7252, 4.7).
    pub immediate: bool,
    /// Fetch the other blocks when the response has a Block2 with M=1 (RFC 7959, 2.4).
    pub follow_blocks: bool,
}

impl RequestSpec {
    /// A CON to the registered device with a new token, all as a correct server would send it.
    #[must_use]
    pub fn new(packet: Packet) -> Self {
        Self {
            to: None,
            packet,
            token: TokenChoice::Fresh,
            message_id: None,
            confirmable: true,
            retransmit: true,
            immediate: false,
            follow_blocks: false,
        }
    }
}

/// The tokens of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushToken {
    /// One for all blocks, of the configured length or as given.
    One(TokenChoice),
    /// A new one for each block.
    PerBlock(TokenChoice),
}

impl Default for PushToken {
    fn default() -> Self {
        Self::One(TokenChoice::Fresh)
    }
}

/// One block of a scripted order. What is `None` is as the block-wise rules want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockStep {
    /// NUM, counted in blocks of the size in use.
    pub num: u32,
    /// Another size for this block.
    pub szx: Option<Szx>,
    /// Another M bit.
    pub more: Option<bool>,
    /// Another number of payload bytes, from the offset of the block on.
    pub length: Option<usize>,
}

impl From<u32> for BlockStep {
    fn from(num: u32) -> Self {
        Self {
            num,
            szx: None,
            more: None,
            length: None,
        }
    }
}

/// What a push does about a 4.08 Request Entity Incomplete (RFC 7959, 2.9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnIncomplete {
    /// Starts again at NUM 0, at most [`PushSpec::max_restarts`] times.
    #[default]
    Restart,
    /// Ends as refused.
    Fail,
}

/// The Write of a body block by block (RFC 7959, 2.5). [`PushSpec::new`] gives the push of a correct server; the other fields make stimuli of it.
#[derive(Debug, Clone)]
pub struct PushSpec {
    /// Where to; `None` is the address that the device registered from.
    pub to: Option<SocketAddr>,
    /// The resource.
    pub path: LwPath,
    /// The body.
    pub body: Bytes,
    /// Block size.
    pub szx: Szx,
    /// PUT or POST.
    pub method: Method,
    /// Content-Format; `None` leaves the option out.
    pub content_format: Option<u16>,
    /// The tokens.
    pub token: PushToken,
    /// Size1 in the first block (RFC 7959, 4).
    pub size1: Option<u32>,
    /// Options put into each block as they are.
    pub extra_options: Vec<(u16, Vec<u8>)>,
    /// A body of one block goes without Block1.
    pub plain_if_single: bool,
    /// The blocks to send, in this order, instead of all from `from_block` on. Answers of any code let the list go on unless `stop_on_error`. An
    /// empty list is none.
    pub blocks: Option<Vec<BlockStep>>,
    /// With `blocks`: end at the first error answer.
    pub stop_on_error: bool,
    /// First NUM.
    pub from_block: u32,
    /// Pause after so many answered blocks; [`Server::resume_push`](super::Server::resume_push) goes on.
    pub stop_after: Option<u32>,
    /// Time between an answer and the next block.
    pub interval: Duration,
    /// What a 4.08 does.
    pub on_incomplete: OnIncomplete,
    /// Go on with the smaller size that an answer carries, NUM rescaled (RFC 7959, 2.5).
    pub follow_reduction: bool,
    /// Start again with the smaller size that a 4.13 carries (RFC 7959, 2.9.3).
    pub follow_hint: bool,
    /// Repeat a block that is answered 5.03 with Max-Age, after that time (RFC 7252, 5.9.3.4).
    pub retry_busy: bool,
    /// How many restarts and repeats before the push gives up.
    pub max_restarts: u32,
    /// Whether a block is sent again when nothing comes back.
    pub retransmit: bool,
    /// Start again with the next smaller size when a block of this push times out before any block was answered.
    pub step_down: bool,
    /// Planned misbehaviour: a block that is answered 5.03 is repeated after this time, for ever.
    pub busy_interval: Option<Duration>,
    /// Planned misbehaviour of the block-wise sender.
    pub quirks: SendQuirks,
}

impl PushSpec {
    /// The push of a correct server: CON PUT, Content-Format 42, one token, blocks of 512 bytes.
    #[must_use]
    pub fn new(path: LwPath, body: Bytes) -> Self {
        Self {
            to: None,
            path,
            body,
            szx: Szx::S512,
            method: Method::Put,
            content_format: Some(content_format::OPAQUE),
            token: PushToken::default(),
            size1: None,
            extra_options: Vec::new(),
            plain_if_single: false,
            blocks: None,
            stop_on_error: false,
            from_block: 0,
            stop_after: None,
            interval: Duration::ZERO,
            on_incomplete: OnIncomplete::Restart,
            follow_reduction: true,
            follow_hint: true,
            retry_busy: false,
            max_restarts: 3,
            retransmit: true,
            step_down: false,
            busy_interval: None,
            quirks: SendQuirks::default(),
        }
    }
}
