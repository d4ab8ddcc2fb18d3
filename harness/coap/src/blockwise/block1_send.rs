//! Sending a request body in blocks (RFC 7959, section 2.5).

use core::ops::Range;

use fotaproof_wire::coap::{BlockValue, Code, Szx};

use super::MAX_BLOCKS;

/// How a sender follows the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendConfig {
    /// Goes on with the smaller size an answer asks for (RFC 7959, section 2.3).
    pub follow_smaller: bool,
    /// Begins again with the smaller size a 4.13 hints at (RFC 7959, section 2.9.3).
    pub follow_hint: bool,
    /// How many times a 4.08 makes it begin again (RFC 7959, section 2.9.2).
    pub restarts: u32,
    /// An answer with another block number is a failure. When off, the number of an answer is not looked at.
    pub check_number: bool,
    /// Planned misbehaviour.
    pub quirks: SendQuirks,
}

impl Default for SendConfig {
    fn default() -> Self {
        Self {
            follow_smaller: true,
            follow_hint: true,
            restarts: 1,
            check_number: true,
            quirks: SendQuirks::default(),
        }
    }
}

/// What a sender does wrong on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendQuirks {
    /// After a smaller size it goes on with the next number, not with the next offset (against RFC 7959, section 2.3).
    pub number_not_rescaled: bool,
    /// The last block of a body of whole blocks has the more flag set (against RFC 7959, section 2.2).
    pub more_at_exact_multiple: bool,
    /// Goes on with the next block after any answer, 4.08 included.
    pub errors_ignored: bool,
}

/// A block to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockStep {
    /// The value of the Block1 option.
    pub block: BlockValue,
    /// The bytes of the body that go with it.
    pub range: Range<u64>,
}

/// What an answer to a block means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendStep {
    /// Send the next block.
    Next,
    /// The body is delivered; this is the answer to it.
    Done(Code),
    /// Begin again at number 0 with this size.
    Restart {
        /// The size to use.
        szx: Szx,
    },
    /// It ends here.
    Failed(SendFailure),
}

/// Why a body was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// An error answer that is final.
    #[error("answered {0}")]
    Code(Code),
    /// 4.13 without a smaller size to go on with.
    #[error("answered 4.13: the body is too large{}", .limit.map_or_else(String::new, |limit| format!(", the limit is {limit} bytes")))]
    TooLarge {
        /// The Size1 of the answer (RFC 7959, section 4).
        limit: Option<u64>,
    },
    /// 4.08 once more than we begin again.
    #[error("answered 4.08 again after a restart")]
    KeepsLosing,
    /// The answer acknowledges another block.
    #[error("block {expected} was answered with number {got}")]
    WrongNumber {
        /// The block that was sent.
        expected: u32,
        /// The block of the answer.
        got: u32,
    },
    /// A success that is no 2.31 and has no Block1, before the last block.
    #[error("answered {0} without Block1 before the last block")]
    EndedEarly(Code),
    /// 2.31 for the last block.
    #[error("answered 2.31 to the last block")]
    ContinueAfterLast,
    /// The body has more than 2^20 blocks of the size asked for.
    #[error("the body has too many blocks of {0} bytes")]
    TooManyBlocks(Szx),
}

/// Sends a body in blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block1Send {
    config: SendConfig,
    total: u64,
    szx: Szx,
    offset: u64,
    restarts: u32,
    finished: bool,
}

impl Block1Send {
    /// A body of `total` bytes in blocks of `szx`. Over the number space ([`BlockValue::MAX_NUM`]) it gives nothing to send; see
    /// [`Self::fits`].
    #[must_use]
    pub fn new(total: u64, szx: Szx) -> Self {
        Self::with_config(total, szx, SendConfig::default())
    }

    /// The same with settings.
    #[must_use]
    pub fn with_config(total: u64, szx: Szx, config: SendConfig) -> Self {
        Self {
            config,
            total,
            szx,
            offset: 0,
            restarts: 0,
            finished: false,
        }
    }

    /// Whether a body of `total` bytes can be numbered in blocks of `szx` (RFC 7959, section 2.2).
    #[must_use]
    pub const fn fits(total: u64, szx: Szx) -> bool {
        total.div_ceil(szx.size() as u64) <= MAX_BLOCKS
    }

    /// Goes on from this byte, rounded down to a whole block, as after an interruption.
    pub const fn seek(&mut self, offset: u64) {
        let size = self.szx.size() as u64;
        self.offset = offset / size * size;
        self.finished = false;
    }

    /// Uses blocks of this size from here on, if it is smaller; numbers are rescaled.
    pub fn reduce(&mut self, szx: Szx) {
        self.szx = self.szx.min(szx);
    }

    /// Begins again at number 0 with this size.
    pub const fn restart(&mut self, szx: Szx) {
        self.szx = szx;
        self.offset = 0;
        self.finished = false;
    }

    /// The block to send now; nothing once the body is delivered. It stays the same until an answer moves it on.
    #[must_use]
    pub fn next_step(&self) -> Option<BlockStep> {
        if self.finished || (self.offset >= self.total && self.offset > 0) {
            return None;
        }
        let size = self.szx.size() as u64;
        let num = u32::try_from(self.offset / size).ok()?;
        self.step_of(num)
    }

    /// Any block of the body by its number at the present size, for orders of one's own.
    #[must_use]
    pub fn step_of(&self, num: u32) -> Option<BlockStep> {
        let size = self.szx.size() as u64;
        let start = (u64::from(num) * size).min(self.total);
        let end = (start + size).min(self.total);
        let more = end < self.total || (self.config.quirks.more_at_exact_multiple && end - start == size);
        Some(BlockStep {
            block: BlockValue::new(num, more, self.szx)?,
            range: start..end,
        })
    }

    /// Takes the answer to the block of [`Self::next_step`]: its code, Block1 and Size1.
    pub fn on_response(&mut self, code: Code, block1: Option<BlockValue>, size1: Option<u64>) -> SendStep {
        let Some(sent) = self.next_step() else {
            self.finished = true;
            return SendStep::Failed(if Self::fits(self.total, self.szx) {
                SendFailure::ContinueAfterLast
            } else {
                SendFailure::TooManyBlocks(self.szx)
            });
        };
        if self.config.quirks.errors_ignored && code.is_error() && sent.range.end < self.total {
            return self.advance(&sent, None);
        }
        let step = self.judge(&sent, code, block1, size1);
        if matches!(step, SendStep::Done(_) | SendStep::Failed(_)) {
            self.finished = true;
        }
        step
    }

    fn judge(&mut self, sent: &BlockStep, code: Code, block1: Option<BlockValue>, size1: Option<u64>) -> SendStep {
        let last = sent.range.end == self.total;
        match code {
            Code::REQUEST_ENTITY_INCOMPLETE if self.restarts < self.config.restarts => {
                self.restarts += 1;
                self.restart(self.szx);
                SendStep::Restart { szx: self.szx }
            }
            Code::REQUEST_ENTITY_INCOMPLETE if self.config.restarts > 0 => SendStep::Failed(SendFailure::KeepsLosing),
            Code::REQUEST_ENTITY_TOO_LARGE => {
                let smaller = block1.map(|block| block.szx).filter(|szx| *szx < self.szx);
                match smaller {
                    Some(szx) if self.config.follow_hint && Self::fits(self.total, szx) => {
                        self.restart(szx);
                        SendStep::Restart { szx }
                    }
                    _ => SendStep::Failed(SendFailure::TooLarge { limit: size1 }),
                }
            }
            code if !code.is_success() => SendStep::Failed(SendFailure::Code(code)),
            Code::CONTINUE if last && !sent.block.more => SendStep::Failed(SendFailure::ContinueAfterLast),
            code => {
                if let Some(block) = block1
                    && self.config.check_number
                    && block.num != sent.block.num
                {
                    return SendStep::Failed(SendFailure::WrongNumber {
                        expected: sent.block.num,
                        got: block.num,
                    });
                }
                if last {
                    return SendStep::Done(code);
                }
                // 2.04 with Block1 before the end: the server acts on each block by itself (RFC 7959, section 2.3).
                if code != Code::CONTINUE && block1.is_none() {
                    return SendStep::Failed(SendFailure::EndedEarly(code));
                }
                self.advance(sent, block1)
            }
        }
    }

    fn advance(&mut self, sent: &BlockStep, block1: Option<BlockValue>) -> SendStep {
        self.offset = sent.range.end;
        if let Some(szx) = block1.map(|block| block.szx).filter(|szx| *szx < self.szx)
            && self.config.follow_smaller
        {
            if !Self::fits(self.total, szx) {
                return SendStep::Failed(SendFailure::TooManyBlocks(szx));
            }
            self.szx = szx;
            if self.config.quirks.number_not_rescaled {
                self.offset = u64::from(sent.block.num + 1) * szx.size() as u64;
            }
        }
        SendStep::Next
    }

    /// Bytes the other side has acknowledged.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.offset
    }

    /// The length of the body.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The present block size.
    #[must_use]
    pub const fn szx(&self) -> Szx {
        self.szx
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> BlockValue {
        text.parse().unwrap()
    }

    fn answer(send: &mut Block1Send, code: Code, block1: &str) -> SendStep {
        send.on_response(code, Some(block(block1)), None)
    }

    fn next(send: &Block1Send) -> String {
        let step = send.next_step().unwrap();
        format!("{} {}..{}", step.block, step.range.start, step.range.end)
    }

    #[test]
    fn a_body_of_two_and_a_bit_blocks() {
        let mut send = Block1Send::new(40, Szx::S16);
        assert_eq!(next(&send), "0/1/16 0..16");
        assert_eq!(next(&send), "0/1/16 0..16", "the same until it is answered");
        assert_eq!(answer(&mut send, Code::CONTINUE, "0/1/16"), SendStep::Next);
        assert_eq!(answer(&mut send, Code::CONTINUE, "1/1/16"), SendStep::Next);
        assert_eq!(next(&send), "2/0/16 32..40");
        assert_eq!(
            answer(&mut send, Code::CHANGED, "2/0/16"),
            SendStep::Done(Code::CHANGED)
        );
        assert_eq!(send.next_step(), None);
    }

    #[test]
    fn exact_multiple_ends_with_a_full_block() {
        let mut send = Block1Send::new(32, Szx::S16);
        send.seek(16);
        assert_eq!(next(&send), "1/0/16 16..32");
        let quirks = SendQuirks {
            more_at_exact_multiple: true,
            ..SendQuirks::default()
        };
        let mut wrong = Block1Send::with_config(
            32,
            Szx::S16,
            SendConfig {
                quirks,
                ..SendConfig::default()
            },
        );
        wrong.seek(16);
        assert_eq!(next(&wrong), "1/1/16 16..32");
    }

    #[test]
    fn an_empty_body_is_one_empty_block() {
        let mut send = Block1Send::new(0, Szx::S64);
        assert_eq!(next(&send), "0/0/64 0..0");
        assert_eq!(
            send.on_response(Code::CHANGED, None, None),
            SendStep::Done(Code::CHANGED)
        );
        assert_eq!(send.next_step(), None);
    }

    #[test]
    fn block_0_of_1024_acknowledged_with_256_goes_on_at_number_4() {
        let mut send = Block1Send::new(20480, Szx::S1024);
        assert_eq!(answer(&mut send, Code::CONTINUE, "0/1/256"), SendStep::Next);
        assert_eq!(next(&send), "4/1/256 1024..1280");

        let mut fixed = Block1Send::with_config(
            20480,
            Szx::S1024,
            SendConfig {
                follow_smaller: false,
                ..SendConfig::default()
            },
        );
        assert_eq!(answer(&mut fixed, Code::CONTINUE, "0/1/256"), SendStep::Next);
        assert_eq!(next(&fixed), "1/1/1024 1024..2048");

        let quirks = SendQuirks {
            number_not_rescaled: true,
            ..SendQuirks::default()
        };
        let mut wrong = Block1Send::with_config(
            20480,
            Szx::S1024,
            SendConfig {
                quirks,
                ..SendConfig::default()
            },
        );
        assert_eq!(answer(&mut wrong, Code::CONTINUE, "0/1/256"), SendStep::Next);
        assert_eq!(next(&wrong), "1/1/256 256..512");
    }

    #[test]
    fn a_larger_size_in_an_answer_changes_nothing() {
        let mut send = Block1Send::new(200, Szx::S64);
        assert_eq!(answer(&mut send, Code::CONTINUE, "0/1/1024"), SendStep::Next);
        assert_eq!(next(&send), "1/1/64 64..128");
    }

    #[test]
    fn too_large_with_a_smaller_size_begins_again() {
        let mut send = Block1Send::new(4096, Szx::S1024);
        assert_eq!(
            answer(&mut send, Code::REQUEST_ENTITY_TOO_LARGE, "0/1/128"),
            SendStep::Restart { szx: Szx::S128 }
        );
        assert_eq!(next(&send), "0/1/128 0..128");
        assert_eq!(
            send.on_response(Code::REQUEST_ENTITY_TOO_LARGE, Some(block("0/1/128")), Some(1000)),
            SendStep::Failed(SendFailure::TooLarge { limit: Some(1000) })
        );
    }

    #[test]
    fn incomplete_begins_again_once() {
        let mut send = Block1Send::new(100, Szx::S16);
        assert_eq!(answer(&mut send, Code::CONTINUE, "0/1/16"), SendStep::Next);
        let incomplete = Code::REQUEST_ENTITY_INCOMPLETE;
        assert_eq!(
            send.on_response(incomplete, None, None),
            SendStep::Restart { szx: Szx::S16 }
        );
        assert_eq!(next(&send), "0/1/16 0..16");
        assert_eq!(
            send.on_response(incomplete, None, None),
            SendStep::Failed(SendFailure::KeepsLosing)
        );

        let mut strict = Block1Send::with_config(
            100,
            Szx::S16,
            SendConfig {
                restarts: 0,
                ..SendConfig::default()
            },
        );
        assert_eq!(
            strict.on_response(incomplete, None, None),
            SendStep::Failed(SendFailure::Code(incomplete))
        );

        let quirks = SendQuirks {
            errors_ignored: true,
            ..SendQuirks::default()
        };
        let mut wrong = Block1Send::with_config(
            100,
            Szx::S16,
            SendConfig {
                quirks,
                ..SendConfig::default()
            },
        );
        assert_eq!(wrong.on_response(incomplete, None, None), SendStep::Next);
        assert_eq!(next(&wrong), "1/1/16 16..32");
    }

    #[test]
    fn answers_out_of_place() {
        let mut send = Block1Send::new(40, Szx::S16);
        assert_eq!(
            answer(&mut send.clone(), Code::CONTINUE, "1/1/16"),
            SendStep::Failed(SendFailure::WrongNumber { expected: 0, got: 1 })
        );
        assert_eq!(
            send.clone().on_response(Code::CHANGED, None, None),
            SendStep::Failed(SendFailure::EndedEarly(Code::CHANGED))
        );
        assert_eq!(
            answer(&mut send.clone(), Code::CHANGED, "0/0/16"),
            SendStep::Next,
            "stateless server"
        );
        send.seek(32);
        assert_eq!(
            answer(&mut send, Code::CONTINUE, "2/1/16"),
            SendStep::Failed(SendFailure::ContinueAfterLast)
        );
    }

    #[test]
    fn block_numbers_at_every_width_and_at_the_end() {
        for num in [4095, 4096, 65535, 65536, (1 << 20) - 1] {
            let mut send = Block1Send::new(16 << 20, Szx::S16);
            send.seek(u64::from(num) * 16);
            let step = send.next_step().unwrap();
            assert_eq!((step.block.num, step.block.more), (num, num != (1 << 20) - 1));
            assert_eq!(step.range, u64::from(num) * 16..u64::from(num) * 16 + 16);
        }
        assert!(Block1Send::fits(16 << 20, Szx::S16));
        assert!(!Block1Send::fits((16 << 20) + 1, Szx::S16));
        let mut large = Block1Send::new(1 << 30, Szx::S1024);
        assert_eq!(
            answer(&mut large, Code::CONTINUE, "0/1/512"),
            SendStep::Failed(SendFailure::TooManyBlocks(Szx::S512))
        );
    }
}
