//! Fetching a response body in blocks (RFC 7959, section 2.4).

use fotaproof_wire::coap::{BlockValue, Code, Szx};

/// How a fetcher asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchConfig {
    /// Size to ask for in the first request (early negotiation); without it the first request has no Block2.
    pub early: Option<Szx>,
    /// Largest block size to use after the first response (late negotiation).
    pub max_szx: Szx,
    /// Asks for the total size with Size2 = 0 in the first request (RFC 7959, section 4).
    pub ask_size: bool,
    /// How many answers in a row may fail to bring the block that is due.
    pub max_same: u32,
    /// How many times a changed body makes it begin again.
    pub max_restarts: u32,
    /// Largest body in bytes.
    pub max_body: Option<u64>,
    /// Planned misbehaviour.
    pub quirks: FetchQuirks,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            early: None,
            max_szx: Szx::S1024,
            ask_size: false,
            max_same: 3,
            max_restarts: 2,
            max_body: None,
            quirks: FetchQuirks::default(),
        }
    }
}

/// What a fetcher does wrong on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchQuirks {
    /// After a smaller size it asks for the next number, not for the next offset (against RFC 7959, section 2.4).
    pub number_not_rescaled: bool,
    /// A smaller size in a response is not followed in the requests (against RFC 7959, section 2.4).
    pub smaller_ignored: bool,
    /// Whatever block comes is appended.
    pub number_unchecked: bool,
    /// A changed `ETag` goes unnoticed (against RFC 7959, section 2.4).
    pub etag_ignored: bool,
    /// Asks for the same block for ever when another one comes.
    pub endless_same: bool,
    /// A last block that fills its size does not end the body.
    pub exact_multiple_waits: bool,
    /// 2.03 counts as a received block.
    pub valid_is_block: bool,
    /// The payload of an error response counts as a block.
    pub error_is_block: bool,
    /// A response without Block2 to the first request is a failure.
    pub needs_block2: bool,
    /// A block from before the one due ends the transfer.
    pub stale_aborts: bool,
    /// From the second block on this size is asked for, whatever was agreed (against RFC 7959, section 2.4).
    pub grows_to: Option<Szx>,
    /// Every block is asked for twice.
    pub twice: bool,
    /// [`Block2Fetch::resume`] begins one block too far.
    pub resume_too_far: bool,
    /// After [`Block2Fetch::reduce`] half a block is skipped.
    pub reduce_skips: bool,
    /// Block numbers in requests have only this many bits.
    pub number_bits: Option<u32>,
}

/// What to put into the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchRequest {
    /// The Block2 option, if any.
    pub block2: Option<BlockValue>,
    /// Whether to add Size2 = 0.
    pub ask_size: bool,
}

/// The parts of a response that matter here.
#[derive(Debug, Clone, Copy)]
pub struct FetchResponse<'a> {
    /// The code.
    pub code: Code,
    /// The Block2 option, read with [`block_option`](super::block_option).
    pub block2: Option<BlockValue>,
    /// The `ETag` option.
    pub etag: Option<&'a [u8]>,
    /// Length of the payload.
    pub payload_len: usize,
    /// The Size2 option.
    pub size2: Option<u64>,
}

/// What a response means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchStep {
    /// Store the payload; then ask on, unless the body is complete.
    Store {
        /// Where the payload goes.
        offset: u64,
        /// Its length.
        len: u64,
        /// Whether this was the last block.
        done: bool,
    },
    /// Nothing to store; ask for the same block again.
    Again,
    /// The body changed on the way (`ETag`): drop what is stored; the next request begins at number 0.
    Restart,
    /// The transfer is over already.
    Ignore,
    /// It ends here.
    Failed(FetchFailure),
}

/// Why a body could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// An error response.
    #[error("answered {0}")]
    Code(Code),
    /// The block that is due does not come.
    #[error("asked for byte {expected} and got byte {got} too many times")]
    WrongBlock {
        /// The offset asked for.
        expected: u64,
        /// The offset that came last.
        got: u64,
    },
    /// Size exponent 7, or a payload that does not fit its block (RFC 7959, section 2.2).
    #[error("a block of {size} bytes at byte {offset} has {len}")]
    BadBlock {
        /// Where the block belongs.
        offset: u64,
        /// The block size; 0 for the reserved exponent.
        size: usize,
        /// The payload.
        len: usize,
    },
    /// A response without Block2 where one is needed.
    #[error("the response has no Block2")]
    NoBlock2,
    /// The body changes again and again.
    #[error("the body changed too many times")]
    KeepsChanging,
    /// The body exceeds the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The next block has no number (RFC 7959, section 2.2).
    #[error("the body has too many blocks")]
    TooManyBlocks,
}

/// Fetches a body in blocks.
#[derive(Debug, Clone, Default)]
pub struct Block2Fetch {
    config: FetchConfig,
    szx: Option<Szx>,
    offset: u64,
    /// Number for the next request where a quirk has it apart from the offset.
    number: Option<u32>,
    etag: Option<Vec<u8>>,
    size: Option<u64>,
    same: u32,
    restarts: u32,
    asked_once: bool,
    finished: bool,
}

impl Block2Fetch {
    /// A fetcher at the beginning of the body.
    #[must_use]
    pub fn new(config: FetchConfig) -> Self {
        Self {
            szx: config.early,
            config,
            ..Self::default()
        }
    }

    /// A fetcher that goes on from `offset`, rounded down to a whole block, of the body with this `ETag`.
    #[must_use]
    pub fn resume(config: FetchConfig, offset: u64, szx: Szx, etag: Option<&[u8]>) -> Self {
        let size = szx.size() as u64;
        let mut offset = offset / size * size;
        if config.quirks.resume_too_far {
            offset += size;
        }
        let szx = (offset > 0).then_some(szx).or(config.early);
        Self {
            config,
            szx,
            offset,
            etag: etag.map(<[u8]>::to_vec),
            ..Self::default()
        }
    }

    /// What to ask now; nothing once it is over. It stays the same until a response moves it on.
    #[must_use]
    pub fn next_request(&self) -> Option<FetchRequest> {
        if self.finished {
            return None;
        }
        let ask_size = self.config.ask_size && self.offset == 0;
        let Some(szx) = self.szx else {
            return Some(FetchRequest { block2: None, ask_size });
        };
        let quirks = &self.config.quirks;
        let szx = quirks.grows_to.filter(|_| self.offset > 0).unwrap_or(szx);
        let num = self
            .number
            .or_else(|| u32::try_from(self.offset / szx.size() as u64).ok())?;
        let num = quirks
            .number_bits
            .and_then(|bits| 1_u32.checked_shl(bits))
            .map_or(num, |limit| num & (limit - 1));
        Some(FetchRequest {
            block2: Some(BlockValue::new(num, false, szx)?),
            ask_size,
        })
    }

    /// Asks in blocks of this size from here on, if it is smaller, as when large responses do not get through.
    pub fn reduce(&mut self, szx: Szx) {
        let present = self.szx.unwrap_or(Szx::S1024);
        if szx < present {
            if self.config.quirks.reduce_skips && self.offset > 0 {
                self.offset += szx.size() as u64;
            }
            self.config.max_szx = self.config.max_szx.min(szx);
            self.szx = Some(szx);
        }
    }

    /// Takes the response to the request of [`Self::next_request`].
    pub fn on_response(&mut self, response: &FetchResponse<'_>) -> FetchStep {
        if self.finished {
            return FetchStep::Ignore;
        }
        let step = self.judge(response);
        match step {
            FetchStep::Store { done: true, .. } | FetchStep::Failed(_) => self.finished = true,
            FetchStep::Store { .. } if self.next_request().is_none() => {
                self.finished = true;
                return FetchStep::Failed(FetchFailure::TooManyBlocks);
            }
            _ => {}
        }
        step
    }

    fn judge(&mut self, response: &FetchResponse<'_>) -> FetchStep {
        let quirks = &self.config.quirks;
        let counts = match response.code {
            Code::CONTENT => true,
            Code::VALID => quirks.valid_is_block,
            code => code.is_error() && quirks.error_is_block,
        };
        if !counts {
            return if response.code == Code::VALID {
                self.again(self.offset)
            } else {
                FetchStep::Failed(FetchFailure::Code(response.code))
            };
        }
        if response.code == Code::CONTENT && self.changed(response.etag) {
            return self.start_over();
        }
        if response.code != Code::CONTENT {
            let size = self.szx.unwrap_or(Szx::S1024);
            let len = response.payload_len as u64;
            let offset = self.offset;
            self.offset += size.size() as u64;
            self.szx = Some(size);
            return FetchStep::Store {
                offset,
                len,
                done: false,
            };
        }
        if let Some(size) = response.size2 {
            self.size = Some(size);
        }
        if let Some(limit) = self.config.max_body
            && self.size.unwrap_or(0).max(self.offset + response.payload_len as u64) > limit
        {
            return FetchStep::Failed(FetchFailure::TooLarge { limit });
        }
        match response.block2 {
            Some(block) => self.block(block, response),
            None if quirks.needs_block2 => FetchStep::Failed(FetchFailure::NoBlock2),
            None if self.offset == 0 || quirks.number_unchecked => {
                self.note(response.etag);
                let (offset, len) = (self.offset, response.payload_len as u64);
                self.offset += len;
                FetchStep::Store {
                    offset,
                    len,
                    done: true,
                }
            }
            None => self.again(0),
        }
    }

    fn block(&mut self, block: BlockValue, response: &FetchResponse<'_>) -> FetchStep {
        let quirks = &self.config.quirks;
        let len = response.payload_len;
        let size = block.size();
        if block.szx == Szx::BERT {
            return FetchStep::Failed(FetchFailure::BadBlock {
                offset: block.offset(),
                size: 0,
                len,
            });
        }
        if len > size || (block.more && len < size) {
            return FetchStep::Failed(FetchFailure::BadBlock {
                offset: block.offset(),
                size,
                len,
            });
        }
        if block.offset() != self.offset
            && !quirks.number_unchecked
            && !(quirks.number_not_rescaled && self.number.is_some())
        {
            if quirks.stale_aborts && block.offset() < self.offset {
                let failure = FetchFailure::WrongBlock {
                    expected: self.offset,
                    got: block.offset(),
                };
                return FetchStep::Failed(failure);
            }
            return self.again(block.offset());
        }
        if quirks.twice && !self.asked_once {
            self.asked_once = true;
            return FetchStep::Again;
        }
        self.asked_once = false;
        self.note(response.etag);
        self.same = 0;
        let offset = self.offset;
        self.offset += len as u64;
        let quirks = &self.config.quirks;
        let asked = self.szx.unwrap_or(self.config.max_szx);
        let reduced = block.szx < asked;
        self.szx = Some(if quirks.smaller_ignored {
            asked
        } else {
            block.szx.min(asked).min(self.config.max_szx)
        });
        self.number = match self.number {
            _ if quirks.smaller_ignored && reduced => Some(block.num + 1),
            // The response renumbered the block; this goes on from the number that was asked for.
            None if quirks.number_not_rescaled && reduced => u32::try_from(offset / asked.size() as u64 + 1).ok(),
            Some(num) if quirks.number_not_rescaled => Some(num + 1),
            other => other,
        };
        let waits = quirks.exact_multiple_waits && len == size;
        let done = !(block.more || waits);
        FetchStep::Store {
            offset,
            len: len as u64,
            done,
        }
    }

    fn again(&mut self, got: u64) -> FetchStep {
        self.same += 1;
        if self.same > self.config.max_same && !self.config.quirks.endless_same {
            return FetchStep::Failed(FetchFailure::WrongBlock {
                expected: self.offset,
                got,
            });
        }
        FetchStep::Again
    }

    /// A response without `ETag` says nothing; one with another `ETag` is another body.
    fn changed(&self, etag: Option<&[u8]>) -> bool {
        match (&self.etag, etag) {
            (Some(known), Some(etag)) => self.offset > 0 && known != etag && !self.config.quirks.etag_ignored,
            _ => false,
        }
    }

    fn note(&mut self, etag: Option<&[u8]>) {
        if let Some(etag) = etag {
            self.etag = Some(etag.to_vec());
        }
    }

    fn start_over(&mut self) -> FetchStep {
        self.restarts += 1;
        if self.restarts > self.config.max_restarts {
            return FetchStep::Failed(FetchFailure::KeepsChanging);
        }
        self.offset = 0;
        self.number = None;
        self.same = 0;
        self.etag = None;
        self.size = None;
        FetchStep::Restart
    }

    /// Bytes received so far.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.offset
    }

    /// The total size, if a response told it (Size2).
    #[must_use]
    pub const fn total(&self) -> Option<u64> {
        self.size
    }

    /// The `ETag` of the body.
    #[must_use]
    pub fn etag(&self) -> Option<&[u8]> {
        self.etag.as_deref()
    }

    /// The block size in use, once agreed.
    #[must_use]
    pub const fn szx(&self) -> Option<Szx> {
        self.szx
    }

    /// Whether it is over, done or failed.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }
}
