//! Files of a repository and the faults it is told to have.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap as coap;
use fotaproof_wire::coap::{BlockValue, Code, Szx};

/// What a [`Repository`](super::Repository) serves and how.
#[derive(Debug, Clone)]
pub struct RepositoryConfig {
    /// Transmission parameters of the CoAP layer below.
    pub coap: coap::Config,
    /// Seed of message ids.
    pub seed: u64,
    /// The files by path and query as in the URI after decoding, such as `/fw/v2.bin` or `/fw?v=2&k=a&b`. A file without a query answers any query.
    pub files: BTreeMap<String, File>,
    /// Largest block served; a GET may ask for less (RFC 7959, 2.4).
    pub szx: Szx,
    /// Size2 in answers: to a GET that asks for it (`false`), or in each answer with block 0 as well (`true`).
    pub size2: bool,
    /// What goes wrong: all faults that match a request act on it, in this order.
    pub faults: Vec<Fault>,
}

impl Default for RepositoryConfig {
    fn default() -> Self {
        Self {
            coap: coap::Config::default(),
            seed: 1,
            files: BTreeMap::new(),
            szx: Szx::S512,
            size2: false,
            faults: Vec::new(),
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The bytes.
    pub body: Bytes,
    /// ETag, 1 to 8 bytes; `None` leaves the option out (RFC 7252, 5.10.6).
    pub etag: Option<Vec<u8>>,
    /// Content-Format of the answers.
    pub content_format: Option<u16>,
}

impl File {
    /// A file without ETag, served as octet stream.
    #[must_use]
    pub fn new(body: Bytes) -> Self {
        Self {
            body,
            etag: None,
            content_format: Some(fotaproof_wire::coap::content_format::OPAQUE),
        }
    }
}

/// Which requests a fault is for, by the NUM of their Block2 (0 where there is none).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Each request.
    Every,
    /// This NUM, in the size the request asks.
    Block(u32),
    /// This NUM and all above.
    From(u32),
    /// Each NUM that can be divided by this, 0 too.
    Multiple(u32),
    /// Only the requests without a Block2 option.
    WithoutBlock2,
}

/// When an empty ACK goes out around a separate response (RFC 7252, 5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyAck {
    /// At once, the response follows: the usual order.
    First,
    /// After the response: as if the two overtook each other.
    After,
    /// Never: as if it got lost.
    Never,
}

/// What a fault does to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// No answer to the request nor to its resends.
    Silence,
    /// RST.
    Reset,
    /// An empty ACK; the response comes after [`Repository::release`](super::Repository::release).
    Hold,
    /// This code, with a diagnostic payload.
    Code {
        /// The code.
        code: Code,
        /// Max-Age in seconds.
        max_age: Option<u32>,
    },
    /// Block NUM (of the size asked) instead of the one asked, and labelled so.
    WrongBlock(u32),
    /// The right bytes under another NUM.
    Relabel(u32),
    /// A block of this size at the offset that was asked, NUM rescaled.
    SmallerSzx(Szx),
    /// From now on the path has this content.
    ChangeFile(File),
    /// A separate response after `delay`.
    Separate {
        /// How long after the request.
        delay: Duration,
        /// What becomes of the empty ACK.
        ack: EmptyAck,
    },
    /// The bytes of the block asked without a Block2 option.
    NoBlock2,
    /// The whole file in one message without a Block2 option, whatever its size.
    Whole,
    /// The request's Block2 is not looked at: block 0 each time.
    IgnoreBlock2,
    /// The answer goes out twice.
    Duplicate,
    /// The answer to block NUM of earlier goes out once more, byte for byte, before the right one.
    Replay(u32),
    /// This ETag on the answer.
    ETag(Vec<u8>),
    /// M the other way round.
    FlipMore,
    /// Bytes cut off the end of the payload, Block2 as it was.
    Shorten(usize),
    /// Size2 with this value.
    Size2(u32),
}

/// One planned misbehaviour of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Only for this path (query left out); `None` is all.
    pub path: Option<String>,
    /// Which requests.
    pub on: On,
    /// What happens to them.
    pub act: Act,
    /// How often; `None` is for ever.
    pub times: Option<u32>,
}

impl Fault {
    /// A fault for all paths, for ever.
    #[must_use]
    pub fn new(on: On, act: Act) -> Self {
        Self {
            path: None,
            on,
            act,
            times: None,
        }
    }

    /// The same fault so many times only.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// One thing that happened at a repository.
#[derive(Debug, Clone)]
pub enum RepositoryEvent {
    /// A new request came in.
    Get {
        /// The sender.
        from: SocketAddr,
        /// The method.
        method: Code,
        /// The Uri-Path options.
        path: Vec<String>,
        /// The Uri-Query options.
        query: Vec<String>,
        /// Uri-Host.
        host: Option<String>,
        /// Uri-Port.
        port: Option<u16>,
        /// Block2 as asked.
        block2: Option<BlockValue>,
        /// The ETag options.
        etags: Vec<Vec<u8>>,
        /// The whole request.
        packet: Packet,
        /// CON or NON.
        confirmable: bool,
        /// When.
        at: Duration,
    },
    /// A request came once more and got what it got before (RFC 7252, 4.5). In a server it is told as a server event.
    Repeated {
        /// The sender.
        from: SocketAddr,
        /// How often it has come so far.
        count: u32,
    },
    /// An answer was handed to the CoAP layer.
    Served {
        /// To whom.
        to: SocketAddr,
        /// Path and query of the file.
        file: String,
        /// The code.
        code: Code,
        /// Block2 of the answer.
        block: Option<BlockValue>,
        /// Payload bytes.
        length: usize,
        /// The answer ends the file.
        last: bool,
    },
    /// A request is held.
    Held {
        /// From whom.
        from: SocketAddr,
        /// Block2 as asked.
        block: Option<BlockValue>,
    },
    /// A fault acted on a request.
    Faulted {
        /// Position in [`RepositoryConfig::faults`].
        fault: usize,
        /// Block2 as asked.
        block: Option<BlockValue>,
    },
}
