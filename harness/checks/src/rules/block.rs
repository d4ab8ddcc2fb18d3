//! block1-answer, block-size, block-sequence, szx-never-grows.

use crate::catalogue::{BLOCK_SEQUENCE, BLOCK_SIZE, BLOCK1_ANSWER, SZX_NEVER_GROWS};
use crate::context::{Message, Request};
use crate::hash::Map;
use crate::report::{Broken, Ref, Report};
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{BlockValue, Code, Szx, summary_of};
use std::collections::VecDeque;

/// Transfers remembered at a time.
const BOUND: usize = 4096;
/// Requests of one transfer that wait for an answer; more are not told apart.
const OUTSTANDING: usize = 64;

/// Which option numbers the blocks of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// The IUT sends the body in its requests.
    Block1,
    /// The IUT fetches the body.
    Block2,
}

/// A body that the IUT moves with its own requests.
#[derive(Debug, Default)]
struct Transfer {
    life: u32,
    /// End of what is known: received (Block2) or sent (Block1).
    known_end: u64,
    /// Blocks asked for and not answered yet: message id and end.
    outstanding: Vec<(u16, u64)>,
    last_offset: u64,
    last: Ref,
    answered_szx: Option<(Szx, Ref)>,
    /// The other side misbehaved on purpose: what follows proves nothing.
    unsure: bool,
}

impl Transfer {
    fn frontier(&self) -> u64 {
        self.outstanding
            .iter()
            .map(|(_, end)| *end)
            .fold(self.known_end, u64::max)
    }
}

type Key = (u32, u64, Way);

/// The transfers that the IUT drives.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    transfers: Map<Key, Transfer>,
    order: VecDeque<Key>,
}

impl Blocks {
    pub(crate) fn on_message(&mut self, message: &Message<'_>, report: &mut Report) {
        if message.outgoing {
            if message.code.is_request() {
                if message.is_first() {
                    block_size(message, message.facts.block1, report);
                    self.on_request(message, report);
                }
            } else if message.is_response() {
                if message.code.is_success() && message.is_first() {
                    block_size(message, message.facts.block2, report);
                }
                block1_answer(message, report);
                answered_size(message, report);
            }
        } else if message.is_response() {
            self.on_response(message);
        }
    }

    fn on_request(&mut self, message: &Message<'_>, report: &mut Report) {
        let (way, block) = match (message.facts.block1, message.facts.block2) {
            (Some(block), _) => (Way::Block1, Some(block)),
            (None, block) => (Way::Block2, block),
        };
        if let (Way::Block2, Some(asked)) = (way, block)
            && asked.more
        {
            report.add(
                BLOCK_SEQUENCE,
                Broken {
                    grade: Grade::Must,
                    title: "the M bit is set in a Block2 request".to_owned(),
                    expected: "M clear: it has no meaning in a request".to_owned(),
                    seen: summary_of(&message.view),
                    clause: "rfc7959/2.2",
                    rests_on: &[message.here],
                    hint: None,
                },
            );
        }
        // The first block of a push may need several Block2 pieces of its answer; those are not the transfer.
        if way == Way::Block2 && !matches!(message.code, Code::GET | Code::FETCH) {
            return;
        }
        if message.facts.observe.is_some()
            || (way == Way::Block1 && message.facts.block2.is_some_and(|block| block.num > 0))
        {
            return;
        }
        let key = (message.conversation, message.facts.uri, way);
        let block = block.unwrap_or(BlockValue {
            num: 0,
            more: false,
            szx: Szx::S1024,
        });
        let (start, end) = match way {
            Way::Block1 => message.range_of(block),
            Way::Block2 => (block.offset(), block.offset() + block.size() as u64),
        };
        let transfer = self.entry(key);
        let continues = start > 0 && transfer.life == message.life && transfer.last != Ref::default();
        if continues {
            if !transfer.unsure {
                continued(message, way, block, start, transfer, report);
            }
        } else {
            // A fetch begun again may leave out what it holds; a body sent again may not.
            let held = if way == Way::Block2 && transfer.life == message.life {
                transfer.known_end
            } else {
                0
            };
            *transfer = Transfer {
                life: message.life,
                known_end: start.max(held),
                ..Transfer::default()
            };
        }
        transfer.last_offset = start;
        transfer.last = message.here;
        match way {
            Way::Block1 => transfer.known_end = transfer.known_end.max(end),
            Way::Block2 if transfer.outstanding.len() < OUTSTANDING => {
                transfer.outstanding.push((message.message_id, end));
            }
            Way::Block2 => transfer.unsure = true,
        }
    }

    fn on_response(&mut self, message: &Message<'_>) {
        let Some(request) = &message.request else { return };
        let way = if request.facts.block1.is_some() {
            Way::Block1
        } else {
            Way::Block2
        };
        let key = (message.conversation, request.facts.uri, way);
        let Some(transfer) = self.transfers.get_mut(&key) else {
            return;
        };
        transfer.unsure |= message.odd;
        transfer.outstanding.retain(|(id, _)| *id != request.message_id);
        match way {
            Way::Block1 => {
                if let Some(block) = message.facts.block1 {
                    transfer.answered_szx = Some((block.szx, message.here));
                }
            }
            Way::Block2 if message.code.is_success() => match message.facts.block2 {
                Some(block) => {
                    transfer.known_end = transfer.known_end.max(message.range_of(block).1);
                    transfer.answered_szx = Some((block.szx, message.here));
                }
                None => transfer.known_end = transfer.known_end.max(message.view.payload().len() as u64),
            },
            Way::Block2 => {}
        }
    }

    fn entry(&mut self, key: Key) -> &mut Transfer {
        if !self.transfers.contains_key(&key) {
            if self.order.len() >= BOUND
                && let Some(oldest) = self.order.pop_front()
            {
                self.transfers.remove(&oldest);
            }
            self.order.push_back(key);
        }
        self.transfers.entry(key).or_default()
    }
}

/// A further block of a transfer under way.
fn continued(message: &Message<'_>, way: Way, block: BlockValue, start: u64, transfer: &Transfer, report: &mut Report) {
    let frontier = transfer.frontier();
    if start > frontier && report.is_live() {
        report.add(
            BLOCK_SEQUENCE,
            Broken {
                grade: Grade::Must,
                title: "a block is skipped".to_owned(),
                expected: format!("a block that starts at byte {frontier} or before"),
                seen: format!("byte {start}: {}", summary_of(&message.view)),
                clause: if way == Way::Block1 {
                    "rfc7959/2.3"
                } else {
                    "rfc7959/2.4"
                },
                rests_on: &[transfer.last, message.here],
                hint: Some("after a change of the block size the number counts blocks of the new size"),
            },
        );
    }
    // A retry of the same bytes may have been built before the answer came.
    let moved_on = start != transfer.last_offset && transfer.outstanding.is_empty();
    if let Some((szx, answer)) = transfer.answered_szx
        && moved_on
        && block.szx > szx
    {
        report.add(
            SZX_NEVER_GROWS,
            Broken {
                grade: Grade::Must,
                title: "the block size grows within a transfer".to_owned(),
                expected: format!("blocks of at most {} bytes, as the answer before used", szx.size()),
                seen: summary_of(&message.view),
                clause: if way == Way::Block1 {
                    "rfc7959/2.3"
                } else {
                    "rfc7959/2.4"
                },
                rests_on: &[answer, message.here],
                hint: None,
            },
        );
    }
}

/// The payload that a block option describes has the length that it says.
fn block_size(message: &Message<'_>, block: Option<BlockValue>, report: &mut Report) {
    let Some(block) = block else { return };
    let (length, size) = (message.view.payload().len(), block.size());
    if length > size || (block.more && length < size) {
        report.add(
            BLOCK_SIZE,
            Broken {
                grade: Grade::Must,
                title: "a block is not as long as it says".to_owned(),
                expected: if block.more {
                    format!("{size} bytes")
                } else {
                    format!("at most {size} bytes")
                },
                seen: format!("{length} bytes: {}", summary_of(&message.view)),
                clause: "rfc7959/2.2",
                rests_on: &[message.here],
                hint: None,
            },
        );
    }
}

/// The answer to a Block1 request names that block.
fn block1_answer(message: &Message<'_>, report: &mut Report) {
    let Some(request) = message.plain_answer() else { return };
    if !message.code.is_success() {
        return;
    }
    let Some(asked) = request.facts.block1 else {
        if message.code == Code::CONTINUE {
            answer_broken(
                message,
                request,
                "no 2.31 to a request without Block1".to_owned(),
                Grade::Must,
                report,
            );
        }
        return;
    };
    let continues = message.code == Code::CONTINUE;
    if continues && !asked.more {
        answer_broken(
            message,
            request,
            "a final response to the last block".to_owned(),
            Grade::Must,
            report,
        );
        return;
    }
    let Some(answered) = message.facts.block1 else {
        let grade = if continues { Grade::Must } else { Grade::Should };
        answer_broken(
            message,
            request,
            format!("Block1 with number {}", asked.num),
            grade,
            report,
        );
        return;
    };
    // With a smaller size the number may be echoed or counted anew.
    let echoed = answered.num == asked.num || answered.offset() == asked.offset();
    if !echoed {
        answer_broken(
            message,
            request,
            format!("Block1 with number {}", asked.num),
            Grade::Must,
            report,
        );
    } else if continues && !answered.more {
        answer_broken(
            message,
            request,
            "2.31 with the M bit: the body is being collected".to_owned(),
            Grade::Must,
            report,
        );
    } else if !asked.more && answered.more {
        answer_broken(
            message,
            request,
            "the last block answered without the M bit".to_owned(),
            Grade::Must,
            report,
        );
    }
}

fn answer_broken(message: &Message<'_>, request: &Request, expected: String, grade: Grade, report: &mut Report) {
    let asked = request
        .facts
        .block1
        .map_or_else(|| "no Block1".to_owned(), |block| format!("Block1 {block}"));
    report.add(
        BLOCK1_ANSWER,
        Broken {
            grade,
            title: "the answer to a block does not fit the block".to_owned(),
            expected,
            seen: format!("{asked} answered by {}", summary_of(&message.view)),
            clause: "rfc7959/2.3",
            rests_on: &[request.here, message.here],
            hint: None,
        },
    );
}

/// An answer uses the size of the request or a smaller one.
fn answered_size(message: &Message<'_>, report: &mut Report) {
    let Some(request) = message.plain_answer() else { return };
    if !message.code.is_success() {
        return;
    }
    let pairs = [
        (request.facts.block1, message.facts.block1, "rfc7959/2.3"),
        (request.facts.block2, message.facts.block2, "rfc7959/2.4"),
    ];
    for (asked, answered, clause) in pairs {
        if let (Some(asked), Some(answered)) = (asked, answered)
            && answered.szx > asked.szx
        {
            report.add(
                SZX_NEVER_GROWS,
                Broken {
                    grade: Grade::Must,
                    title: "an answer uses larger blocks than the request".to_owned(),
                    expected: format!("blocks of at most {} bytes", asked.size()),
                    seen: summary_of(&message.view),
                    clause,
                    rests_on: &[request.here, message.here],
                    hint: None,
                },
            );
        }
    }
}
