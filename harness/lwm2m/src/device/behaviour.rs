//! What a device is told to do with requests of a certain kind: the reference device as a tester of servers.
//!
//! A [`Behaviour`] is a parameter, not a defect: a device may answer 5.03, be slow, lose power or move to another address, and a server has to live with it.

use core::time::Duration;

use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code, Szx};

/// A reaction to requests of the server.
///
/// Of several that fit a request the first in the list is taken. Those that the air takes ([`Act::of_the_air`]) are looked at for every datagram, retransmissions included, and before the
/// others, which are looked at once for each request. So one of either kind may fit the same request: [`Act::AnswerLost`] with [`Act::Separate`] is a separate response whose ACK is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Which requests it is for.
    pub on: OnRequest,
    /// What is done.
    pub act: Act,
    /// How many times; without it every time.
    pub times: Option<u32>,
}

impl Behaviour {
    /// Every time.
    pub fn always(on: OnRequest, act: Act) -> Self {
        Self { on, act, times: None }
    }

    /// The first time only.
    pub fn once(on: OnRequest, act: Act) -> Self {
        Self::times(on, act, 1)
    }

    /// The first `times` times.
    pub fn times(on: OnRequest, act: Act, times: u32) -> Self {
        Self {
            on,
            act,
            times: Some(times),
        }
    }
}

/// Which requests a [`Behaviour`] is for. What is `None` fits all; the default fits every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnRequest {
    /// The method: 0.01 to 0.07.
    pub method: Option<Code>,
    /// The path, or one above it.
    pub path: Option<LwPath>,
    /// The number of the block. A body in one message is block 0 and the last; a NUL package (one byte) is no body, and fits neither this nor what follows.
    pub block1: Option<NumSelect>,
    /// Blocks larger than this.
    pub larger_than: Option<Szx>,
    /// Requests whose block reaches beyond this byte of the body: the same place whatever the block size.
    pub from_byte: Option<u64>,
    /// So many requests that fit are let through first.
    pub skip: u32,
}

impl OnRequest {
    /// Any request on this path or below.
    pub fn path(path: LwPath) -> Self {
        Self {
            path: Some(path),
            ..Self::default()
        }
    }

    /// Requests on this path with this method.
    pub fn method(method: Code, path: LwPath) -> Self {
        Self {
            method: Some(method),
            ..Self::path(path)
        }
    }

    /// Blocks of the package, /5/0/0.
    pub fn block(num: NumSelect) -> Self {
        Self {
            block1: Some(num),
            ..Self::path(LwPath::resource(5, 0, 0))
        }
    }

    /// Whether a request is meant; [`Self::skip`] is the caller's.
    pub fn fits(&self, method: Code, path: Option<LwPath>, block1: Option<BlockValue>, payload: usize) -> bool {
        let block = block1.unwrap_or(BlockValue {
            num: 0,
            more: false,
            szx: Szx::S16,
        });
        let size = block1.map_or(payload, |block| block.size());
        let of_body = self.block1.is_some() || self.larger_than.is_some() || self.from_byte.is_some();
        if of_body && block1.is_none() && payload <= 1 {
            return false;
        }
        self.method.is_none_or(|wanted| wanted == method)
            && self
                .path
                .is_none_or(|wanted| path.is_some_and(|path| path.starts_with(&wanted)))
            && self.block1.is_none_or(|wanted| wanted.fits(block))
            && self.larger_than.is_none_or(|limit| size > limit.size())
            && self
                .from_byte
                .is_none_or(|byte| u64::from(block.num) * size as u64 + payload as u64 > byte)
    }
}

/// Numbers of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumSelect {
    /// This one.
    Is(u32),
    /// This one and all after it.
    From(u32),
    /// The k-th, 2k-th, 3k-th block and so on: numbers k-1, 2k-1, 3k-1. 1 is every block, 0 none.
    Every(u32),
    /// The one after which no more follow.
    Last,
}

impl NumSelect {
    /// Whether a block is one of them.
    pub const fn fits(self, block: BlockValue) -> bool {
        match self {
            Self::Is(num) => block.num == num,
            Self::From(num) => block.num >= num,
            Self::Every(0) => false,
            Self::Every(step) => (block.num + 1).is_multiple_of(step),
            Self::Last => !block.more,
        }
    }
}

/// What a [`Behaviour`] does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// This code and nothing done: 4.08 gives up the body that is open (RFC 7959, 2.9.2), all others leave it as it is.
    Code {
        /// The code.
        code: Code,
        /// Max-Age in seconds: with 5.03 when to try again (RFC 7252, 5.9.3.4).
        max_age: Option<u32>,
        /// Size in a Block1 option of the answer: with 4.13 the hint to use smaller blocks (RFC 7959, 2.9.3).
        block1: Option<Szx>,
        /// Size1: with 4.13 the most bytes that a body may have (RFC 7959, 4).
        size1: Option<u32>,
    },
    /// Done as usual; a 2.31 asks for blocks of this size from here on (RFC 7959, 2.3).
    SmallerBlock(Szx),
    /// The request never arrives; a retransmission is a new request.
    Silence,
    /// Done as usual, but what goes out at once in answer is lost; a retransmission is answered from memory. Only what goes out later arrives.
    AnswerLost,
    /// A confirmable response of its own (RFC 7252, 5.2.2).
    Separate {
        /// So much later.
        delay: Duration,
        /// With an empty ACK at once; else nothing goes before it.
        ack: bool,
    },
    /// The answer in its ACK goes out twice.
    Twice,
    /// The answer in its ACK comes once more.
    LateCopy {
        /// So much later.
        delay: Duration,
    },
    /// The answer in its ACK comes so much later, and nothing before it.
    Delay(Duration),
    /// An RST and nothing done (RFC 7252, 4.2).
    Reset,
    /// The power goes before the request is seen.
    PowerCut {
        /// So long; the boot time comes on top.
        off_for: Duration,
    },
    /// Done and answered as usual, then the device is at a new address, as behind a NAT that forgot it.
    Rebind {
        /// So much later it sends an Update.
        announce_after: Duration,
    },
    /// The device hears and says nothing, beginning with this request; then it sends an Update.
    Sleep {
        /// So long.
        for_: Duration,
    },
    /// Done as usual; an empty ACK at once, and the answer once the flash was busy for so long. Everything that is asked meanwhile gets its answer apart, too.
    Pause(Duration),
}

impl Act {
    /// A code with nothing else.
    pub const fn code(code: Code) -> Self {
        Self::Code {
            code,
            max_age: None,
            block1: None,
            size1: None,
        }
    }

    /// Whether it happens to the datagram, before the device knows whether it is a retransmission.
    pub const fn of_the_air(&self) -> bool {
        matches!(
            self,
            Self::Silence | Self::AnswerLost | Self::PowerCut { .. } | Self::Sleep { .. }
        )
    }
}
