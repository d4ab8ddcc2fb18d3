//! Putting a request body together (RFC 7959, section 2.5): atomically, one body per endpoint and request tag.

use core::{net::SocketAddr, time::Duration};

use fotaproof_wire::coap::{BlockValue, Code, Szx};

/// How a receiver takes bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveConfig {
    /// Largest block size wanted; larger blocks are taken but answered with this size (RFC 7959, section 2.3).
    pub max_szx: Szx,
    /// Refuses a larger first block with 4.13 and the size as a hint, instead of taking it (RFC 7959, section 2.9.3).
    pub refuse_larger: bool,
    /// Largest body in bytes; above it 4.13 with Size1 (RFC 7959, section 4).
    pub max_body: Option<u64>,
    /// Bodies open at a time; above it 5.03.
    pub max_bodies: usize,
    /// A body without a new block for this long is forgotten.
    pub expiry: Duration,
    /// Planned misbehaviour.
    pub quirks: ReceiveQuirks,
}

impl Default for ReceiveConfig {
    fn default() -> Self {
        Self {
            max_szx: Szx::S1024,
            refuse_larger: false,
            max_body: None,
            max_bodies: 1,
            expiry: Duration::from_secs(247),
            quirks: ReceiveQuirks::default(),
        }
    }
}

/// What a receiver does wrong on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceiveQuirks {
    /// A skipped block is acknowledged and the hole closed (against RFC 7959, section 2.5).
    pub gap_acknowledged: bool,
    /// A block without a body is taken for the beginning of one (against RFC 7959, section 2.5).
    pub orphan_accepted: bool,
    /// A block of any size is stored at its number times `max_szx` (against RFC 7959, section 2.2).
    pub offset_by_own_maximum: bool,
    /// The number in the answer.
    pub echo: NumberEcho,
    /// Only this many bits of a block number are read.
    pub number_bits: Option<u32>,
    /// Of a Block1 value only the first byte is read.
    pub first_byte_only: bool,
    /// The answer has size exponent 6 whatever the block had (against RFC 7959, section 2.3).
    pub hint_larger: bool,
    /// A repeated block 0 is stored again behind the first.
    pub block0_appended: bool,
    /// A block 0 while a body is open counts as a duplicate, so a second body never begins (against RFC 7959, section 2.5).
    pub restart_is_duplicate: bool,
    /// An unfinished body blocks every other, from anyone, for ever.
    pub unfinished_blocks_all: bool,
    /// A block that does not fill its size though more follow is stored as it is (against RFC 7959, section 2.2).
    pub short_block_accepted: bool,
    /// Size exponent 7 means blocks of 2048 bytes (against RFC 7959, section 2.2).
    pub szx7_is_2048: bool,
    /// Any endpoint may go on with the body of another (against RFC 7959, section 2.5).
    pub endpoints_mixed: bool,
    /// A last block that fills its size does not end the body.
    pub exact_multiple_waits: bool,
    /// A last block of one byte is acknowledged and dropped.
    pub one_byte_tail_lost: bool,
    /// The last block counts with its full size; the owner stores zeros behind the payload.
    pub last_block_padded: bool,
    /// Only the block size of the first body is ever taken.
    pub first_size_fixed: bool,
    /// Blocks below this size are refused with 4.00.
    pub smaller_refused: Option<usize>,
    /// Blocks of this size and above are never answered.
    pub larger_ignored: Option<usize>,
}

/// The block number in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NumberEcho {
    /// That of the block answered.
    #[default]
    Same,
    /// One less.
    MinusOne,
    /// That of the block modulo this: 256, 4096 or 65536.
    Modulo(u32),
}

/// A block that came.
#[derive(Debug, Clone, Copy)]
pub struct BlockArrival<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// The Request-Tag option (RFC 9175, section 3).
    pub request_tag: Option<&'a [u8]>,
    /// The Block1 option, read with [`block_option`](super::block_option).
    pub block: BlockValue,
    /// Length of the payload.
    pub payload_len: usize,
    /// The Size1 option.
    pub size1: Option<u64>,
}

/// A body being put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyId(u64);

/// Whether a block begins a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyStart {
    /// It goes on with one.
    No,
    /// It begins one.
    New,
    /// It begins one in place of this unfinished one, whose bytes are void.
    Replaces(BodyId),
}

/// What to do with a block and how to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiveStep {
    /// Store the payload; answer 2.31 with this Block1.
    Continue {
        /// The body.
        body: BodyId,
        /// Whether it begins here.
        start: BodyStart,
        /// Where the payload goes.
        offset: u64,
        /// How many bytes to store; the length of the payload, except with a quirk.
        len: u64,
        /// The Block1 of the answer.
        answer: BlockValue,
    },
    /// Store the payload; the body is complete. Answer with the outcome and this Block1.
    Complete {
        /// The body.
        body: BodyId,
        /// Whether it begins here: a body of one block.
        start: BodyStart,
        /// Where the payload goes.
        offset: u64,
        /// How many bytes to store; more than the payload (zeros) or less with a quirk.
        len: u64,
        /// Length of the body.
        total: u64,
        /// The Block1 of the answer.
        answer: BlockValue,
    },
    /// The block before, sent once more with a new message ID: nothing to store; answer 2.31 with this Block1.
    Duplicate {
        /// The body.
        body: BodyId,
        /// The Block1 of the answer.
        answer: BlockValue,
    },
    /// Not the next block: 4.08 (RFC 7959, section 2.9.2). The body stays open for the right one.
    Gap {
        /// The body.
        body: BodyId,
        /// The offset that is due.
        expected: u64,
    },
    /// No body is open here: 4.08.
    Orphan,
    /// Too large a body or a first block: 4.13 (RFC 7959, section 2.9.3). An open body is given up.
    TooLarge {
        /// For the Size1 option.
        limit: Option<u64>,
        /// A Block1 with a smaller size to try.
        hint: Option<BlockValue>,
        /// The body given up.
        dropped: Option<BodyId>,
    },
    /// A block that cannot be: 4.00. An open body is given up.
    Bad {
        /// What is wrong.
        reason: BadBlock,
        /// The body given up.
        dropped: Option<BodyId>,
    },
    /// No room for another body: 5.03.
    Busy,
    /// Not to be answered; only with a quirk.
    Silent,
}

impl ReceiveStep {
    /// The code to answer with; nothing for [`Self::Complete`], where the outcome decides, and [`Self::Silent`].
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Continue { .. } | Self::Duplicate { .. } => Some(Code::CONTINUE),
            Self::Gap { .. } | Self::Orphan => Some(Code::REQUEST_ENTITY_INCOMPLETE),
            Self::TooLarge { .. } => Some(Code::REQUEST_ENTITY_TOO_LARGE),
            Self::Bad { .. } => Some(Code::BAD_REQUEST),
            Self::Busy => Some(Code::SERVICE_UNAVAILABLE),
            Self::Complete { .. } | Self::Silent => None,
        }
    }

    /// The Block1 to answer with.
    #[must_use]
    pub const fn answer(&self) -> Option<BlockValue> {
        match self {
            Self::Continue { answer, .. } | Self::Complete { answer, .. } | Self::Duplicate { answer, .. } => {
                Some(*answer)
            }
            Self::TooLarge { hint, .. } => *hint,
            _ => None,
        }
    }
}

/// Why a block cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// Size exponent 7 over UDP (RFC 7959, section 2.2).
    #[error("size exponent 7 is reserved")]
    ReservedSzx,
    /// More blocks follow but this one is not full (RFC 7959, section 2.2).
    #[error("a block of {size} bytes with more to come has {len}")]
    Short {
        /// The block size.
        size: usize,
        /// The payload.
        len: usize,
    },
    /// The payload exceeds the block size (RFC 7959, section 2.2).
    #[error("a block of {size} bytes has {len}")]
    Long {
        /// The block size.
        size: usize,
        /// The payload.
        len: usize,
    },
    /// A size refused by a quirk.
    #[error("blocks of {0} bytes are refused")]
    Refused(usize),
}

#[derive(Debug, Clone)]
struct Body {
    id: BodyId,
    from: SocketAddr,
    tag: Option<Vec<u8>>,
    /// Offset the next block has to have, and that of the last one.
    due: u64,
    last: u64,
    /// Where the next payload is stored; apart from `due` only with quirks.
    write_at: u64,
    touched: Duration,
}

/// Puts bodies together for one resource.
#[derive(Debug, Clone, Default)]
pub struct Block1Receive {
    config: ReceiveConfig,
    bodies: Vec<Body>,
    next_id: u64,
    first_szx: Option<Szx>,
}

impl Block1Receive {
    /// A receiver with no body open.
    #[must_use]
    pub fn new(config: ReceiveConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// The settings, to change from now on.
    pub const fn config_mut(&mut self) -> &mut ReceiveConfig {
        &mut self.config
    }

    /// Takes a block.
    pub fn on_block(&mut self, now: Duration, arrival: &BlockArrival<'_>) -> ReceiveStep {
        self.expire(now);
        let quirks = &self.config.quirks;
        let block = misread(arrival.block, quirks);
        let size = match block.szx {
            Szx::BERT if quirks.szx7_is_2048 => 2048,
            Szx::BERT => return self.bad(arrival, BadBlock::ReservedSzx),
            szx => szx.size(),
        };
        if quirks.larger_ignored.is_some_and(|limit| size >= limit) {
            return ReceiveStep::Silent;
        }
        let fixed = quirks.first_size_fixed && self.first_szx.is_some_and(|first| first != block.szx);
        if fixed || quirks.smaller_refused.is_some_and(|limit| size < limit) {
            return self.bad(arrival, BadBlock::Refused(size));
        }
        let len = arrival.payload_len;
        if len > size {
            return self.bad(arrival, BadBlock::Long { size, len });
        }
        if block.more && len < size && !quirks.short_block_accepted {
            return self.bad(arrival, BadBlock::Short { size, len });
        }
        self.first_szx.get_or_insert(block.szx);
        let open = self.find(arrival);
        if block.num == 0 {
            self.first(now, arrival, block, size, open)
        } else {
            self.further(now, arrival, block, size, open)
        }
    }

    fn first(
        &mut self,
        now: Duration,
        arrival: &BlockArrival<'_>,
        block: BlockValue,
        size: usize,
        open: Option<usize>,
    ) -> ReceiveStep {
        let quirks = &self.config.quirks;
        if quirks.unfinished_blocks_all && !self.bodies.is_empty() {
            return ReceiveStep::Busy;
        }
        if let Some(index) = open {
            if quirks.restart_is_duplicate {
                return ReceiveStep::Duplicate {
                    body: self.bodies[index].id,
                    answer: self.answer(block),
                };
            }
            if quirks.block0_appended && self.bodies[index].last == 0 {
                return self.store(now, index, BodyStart::No, block, size, arrival.payload_len);
            }
        }
        let hint = BlockValue {
            num: 0,
            more: block.more,
            szx: self.config.max_szx,
        };
        if self.config.refuse_larger && block.szx > self.config.max_szx {
            return ReceiveStep::TooLarge {
                limit: self.config.max_body,
                hint: Some(hint),
                dropped: self.remove(open),
            };
        }
        if let Some(limit) = self.config.max_body
            && arrival.size1.is_some_and(|size1| size1 > limit)
        {
            return ReceiveStep::TooLarge {
                limit: Some(limit),
                hint: None,
                dropped: self.remove(open),
            };
        }
        let start = self.remove(open).map_or(BodyStart::New, BodyStart::Replaces);
        if block.more && self.bodies.len() >= self.config.max_bodies.max(1) {
            return ReceiveStep::Busy;
        }
        let index = self.open(now, arrival, 0);
        self.store(now, index, start, block, size, arrival.payload_len)
    }

    fn further(
        &mut self,
        now: Duration,
        arrival: &BlockArrival<'_>,
        block: BlockValue,
        size: usize,
        open: Option<usize>,
    ) -> ReceiveStep {
        let offset = u64::from(block.num) * size as u64;
        let Some(index) = open else {
            if !self.config.quirks.orphan_accepted {
                return ReceiveStep::Orphan;
            }
            let index = self.open(now, arrival, offset);
            return self.store(now, index, BodyStart::New, block, size, arrival.payload_len);
        };
        let body = &mut self.bodies[index];
        if offset != body.due {
            if offset == body.last && block.more {
                body.touched = now;
                return ReceiveStep::Duplicate {
                    body: body.id,
                    answer: self.answer(block),
                };
            }
            if !self.config.quirks.gap_acknowledged {
                return ReceiveStep::Gap {
                    body: body.id,
                    expected: body.due,
                };
            }
            body.due = offset;
        }
        self.store(now, index, BodyStart::No, block, size, arrival.payload_len)
    }

    fn store(
        &mut self,
        now: Duration,
        index: usize,
        start: BodyStart,
        block: BlockValue,
        size: usize,
        payload: usize,
    ) -> ReceiveStep {
        let quirks = &self.config.quirks;
        let answer = self.answer(block);
        let body = &self.bodies[index];
        let id = body.id;
        let offset = if quirks.offset_by_own_maximum {
            u64::from(block.num) * self.config.max_szx.size() as u64
        } else {
            body.write_at
        };
        let mut len = payload as u64;
        if !block.more {
            if quirks.last_block_padded {
                len = size as u64;
            }
            if quirks.one_byte_tail_lost && payload == 1 && block.num > 0 {
                len = 0;
            }
        }
        let end = offset + len;
        if let Some(limit) = self.config.max_body
            && end > limit
        {
            return ReceiveStep::TooLarge {
                limit: Some(limit),
                hint: None,
                dropped: self.remove(Some(index)),
            };
        }
        if !(block.more || (quirks.exact_multiple_waits && payload == size)) {
            self.remove(Some(index));
            return ReceiveStep::Complete {
                body: id,
                start,
                offset,
                len,
                total: end,
                answer,
            };
        }
        let body = &mut self.bodies[index];
        body.touched = now;
        body.last = u64::from(block.num) * size as u64;
        body.due = body.last + size as u64;
        body.write_at = end;
        ReceiveStep::Continue {
            body: id,
            start,
            offset,
            len,
            answer,
        }
    }

    fn answer(&self, block: BlockValue) -> BlockValue {
        let quirks = &self.config.quirks;
        let num = match quirks.echo {
            NumberEcho::Same => block.num,
            NumberEcho::MinusOne => block.num.saturating_sub(1),
            NumberEcho::Modulo(modulus) => block.num % modulus.max(1),
        };
        let szx = if quirks.hint_larger {
            Szx::S1024
        } else {
            block.szx.min(self.config.max_szx)
        };
        BlockValue {
            num,
            more: block.more,
            szx,
        }
    }

    fn bad(&mut self, arrival: &BlockArrival<'_>, reason: BadBlock) -> ReceiveStep {
        let open = self.find(arrival);
        ReceiveStep::Bad {
            reason,
            dropped: self.remove(open),
        }
    }

    fn find(&self, arrival: &BlockArrival<'_>) -> Option<usize> {
        let mixed = self.config.quirks.endpoints_mixed;
        self.bodies
            .iter()
            .position(|body| mixed || (body.from == arrival.from && body.tag.as_deref() == arrival.request_tag))
    }

    fn open(&mut self, now: Duration, arrival: &BlockArrival<'_>, due: u64) -> usize {
        let id = BodyId(self.next_id);
        self.next_id += 1;
        let tag = arrival.request_tag.map(<[u8]>::to_vec);
        self.bodies.push(Body {
            id,
            from: arrival.from,
            tag,
            due,
            last: due,
            write_at: 0,
            touched: now,
        });
        self.bodies.len() - 1
    }

    fn remove(&mut self, index: Option<usize>) -> Option<BodyId> {
        index.map(|index| self.bodies.remove(index).id)
    }

    /// Forgets bodies that saw no block for too long, and tells which.
    pub fn expire(&mut self, now: Duration) -> Vec<BodyId> {
        if self.config.quirks.unfinished_blocks_all {
            return Vec::new();
        }
        let expiry = self.config.expiry;
        let over = |body: &Body| body.touched.saturating_add(expiry) <= now;
        let expired = self
            .bodies
            .iter()
            .filter(|body| over(body))
            .map(|body| body.id)
            .collect();
        self.bodies.retain(|body| !over(body));
        expired
    }

    /// When [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        let first = self.bodies.iter().map(|body| body.touched).min()?;
        (!self.config.quirks.unfinished_blocks_all).then(|| first.saturating_add(self.config.expiry))
    }

    /// Gives up a body, as when it cannot be stored; a later block of it gets 4.08.
    pub fn abandon(&mut self, body: BodyId) {
        self.bodies.retain(|open| open.id != body);
    }

    /// Gives up all bodies.
    pub fn clear(&mut self) {
        self.bodies.clear();
    }

    /// How many bodies are open.
    #[must_use]
    pub const fn open_bodies(&self) -> usize {
        self.bodies.len()
    }
}

fn misread(mut block: BlockValue, quirks: &ReceiveQuirks) -> BlockValue {
    if let Some(bits) = quirks.number_bits {
        block.num &= 1_u32.checked_shl(bits).map_or(u32::MAX, |limit| limit - 1);
    }
    if quirks.first_byte_only
        && let Some(first) = block.encode().first()
    {
        return BlockValue::decode_bert(&[*first]).unwrap_or(block);
    }
    block
}
