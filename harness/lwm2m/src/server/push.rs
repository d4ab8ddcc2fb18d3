//! Pushing a body block by block (RFC 7959, 2.5), as a correct server does it or in any order that a case asks for.

use core::ops::Range;
use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::blockwise::{Block1Send, SendConfig, SendFailure, SendStep, block_option};
use fotaproof_coap::{ExchangeId, Request};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, option};

use super::event::{OpFailure, PushOutcome, ServerEvent};
use super::reference::Server;
use super::types::{BlockStep, OnIncomplete, OpId, PushSpec, PushToken, TokenChoice};

/// Answered blocks of a push that can be sent again, besides the first one.
const RECENT_BLOCKS: usize = 64;

/// A push under way, paused or ended.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) to: SocketAddr,
    spec: PushSpec,
    sender: Block1Send,
    /// Size in use by a scripted order; the sender has its own.
    szx: Szx,
    /// The request without block and payload.
    template: Packet,
    /// The request of the block before, which the next one takes over: only block and payload differ.
    request: Option<Request>,
    token: TokenChoice,
    /// Position in the scripted order.
    index: usize,
    in_flight: Option<(ExchangeId, BlockValue)>,
    wait_until: Option<Duration>,
    /// Blocks answered since the push started or was resumed.
    answered: u32,
    any_answered: bool,
    /// Repeats of busy blocks.
    repeats: u32,
    first: Option<Sent>,
    recent: VecDeque<Sent>,
}

#[derive(Debug, Clone)]
struct Sent {
    num: u32,
    exchange: ExchangeId,
    datagram: Bytes,
}

impl Push {
    fn new(spec: PushSpec, to: SocketAddr, template: Packet, token: TokenChoice) -> Self {
        let config = SendConfig {
            follow_smaller: spec.follow_reduction,
            follow_hint: spec.follow_hint,
            restarts: if spec.on_incomplete == OnIncomplete::Restart {
                spec.max_restarts
            } else {
                0
            },
            // Whether the number is echoed right is for the checks to say.
            check_number: false,
            quirks: spec.quirks.clone(),
        };
        let mut sender = Block1Send::with_config(spec.body.len() as u64, spec.szx, config);
        if spec.from_block > 0 {
            sender.seek(u64::from(spec.from_block) * spec.szx.size() as u64);
        }
        Self {
            to,
            sender,
            szx: spec.szx,
            template,
            request: None,
            token,
            index: 0,
            in_flight: None,
            wait_until: None,
            answered: 0,
            any_answered: false,
            repeats: 0,
            first: None,
            recent: VecDeque::new(),
            spec,
        }
    }

    /// Whether a block is in flight or waits for its time.
    pub(super) const fn is_running(&self) -> bool {
        self.in_flight.is_some() || self.wait_until.is_some()
    }

    /// The block to send now and its bytes.
    fn step(&self) -> Option<(BlockValue, Range<usize>)> {
        let Some(blocks) = &self.spec.blocks else {
            let step = self.sender.next_step()?;
            return Some((step.block, step.range.start as usize..step.range.end as usize));
        };
        let BlockStep { num, szx, more, length } = *blocks.get(self.index)?;
        let szx = szx.unwrap_or(self.szx);
        let total = self.spec.body.len();
        let start = (num as usize).saturating_mul(szx.size());
        let more = more.unwrap_or_else(|| start.saturating_add(szx.size()) < total);
        let end = start.saturating_add(length.unwrap_or_else(|| szx.size())).min(total);
        Some((BlockValue::new(num, more, szx)?, start.min(total)..end))
    }

    /// The request of a block: that of the block before where only block and payload change, or a new one.
    fn request_of(&mut self, block: BlockValue, range: &Range<usize>) -> Request {
        let middle = block.num > 0 && self.spec.extra_options.is_empty();
        let mut request = match self.request.take().filter(|_| middle) {
            Some(mut request) => {
                build::set_block1(&mut request.packet, block);
                request.packet.payload.clear();
                request.packet.payload.extend_from_slice(&self.spec.body[range.clone()]);
                request
            }
            None => Request::confirmable(self.packet(block, range)),
        };
        (request.token, request.token_length) = self.token.wanted();
        request.retransmit = self.spec.retransmit;
        request
    }

    /// The packet of a block.
    fn packet(&self, block: BlockValue, range: &Range<usize>) -> Packet {
        let mut packet = self.template.clone();
        let plain = self.spec.plain_if_single && self.spec.blocks.is_none() && block.num == 0 && !block.more;
        if !plain {
            build::set_block1(&mut packet, block);
        }
        if block.num == 0
            && let Some(size1) = self.spec.size1
        {
            build::set_size1(&mut packet, size1);
        }
        packet.payload = self.spec.body[range.clone()].to_vec();
        packet
    }

    fn remember(&mut self, sent: Sent) {
        if self.first.is_none() {
            self.first = Some(sent.clone());
        }
        if self.recent.len() == RECENT_BLOCKS {
            self.recent.pop_front();
        }
        self.recent.push_back(sent);
    }

    /// What an answer leads to; `None` to go on.
    fn advance(&mut self, now: Duration, block: BlockValue, packet: &Packet) -> Option<PushOutcome> {
        let code = Code::from(packet.header.code);
        if let Some(blocks) = &self.spec.blocks {
            self.index += 1;
            return if self.spec.stop_on_error && code.is_error() {
                Some(PushOutcome::Refused { code, block })
            } else {
                (self.index == blocks.len()).then_some(PushOutcome::Scripted { code })
            };
        }
        if let Some(interval) = self.spec.busy_interval.filter(|_| code == Code::SERVICE_UNAVAILABLE) {
            self.wait_until = Some(now + interval);
            return None;
        }
        let max_age = build::get_uint(packet, option::MAX_AGE);
        if code == Code::SERVICE_UNAVAILABLE
            && self.spec.retry_busy
            && self.repeats < self.spec.max_restarts
            && let Some(seconds) = max_age
        {
            self.repeats += 1;
            self.wait_until = Some(now + Duration::from_secs(seconds));
            return None;
        }
        let size1 = build::get_uint(packet, option::SIZE1);
        match self
            .sender
            .on_response(code, block_option(packet, option::BLOCK1), size1)
        {
            SendStep::Next | SendStep::Restart { .. } => None,
            SendStep::Done(code) => Some(PushOutcome::Complete { code }),
            SendStep::Failed(SendFailure::ContinueAfterLast) => Some(PushOutcome::Complete { code }),
            SendStep::Failed(SendFailure::TooManyBlocks(_)) => Some(PushOutcome::TooManyBlocks),
            SendStep::Failed(_) => Some(PushOutcome::Refused { code, block }),
        }
    }
}

impl Server {
    /// Writes a body block by block; each answer is told as `PushBlock`, the end as `PushEnded`.
    pub fn push(&mut self, now: Duration, mut spec: PushSpec) -> OpId {
        let op = self.new_op();
        spec.blocks.take_if(|blocks| blocks.is_empty());
        let Some(to) = self.target(spec.to) else {
            self.tell(ServerEvent::PushEnded {
                op,
                outcome: not_started(spec.szx),
            });
            return op;
        };
        if spec.blocks.is_none() && !Block1Send::fits(spec.body.len() as u64, spec.szx) {
            self.tell(ServerEvent::PushEnded {
                op,
                outcome: PushOutcome::TooManyBlocks,
            });
            return op;
        }
        let mut template = self.message(spec.method.code(), &spec.path);
        if let Some(format) = spec.content_format {
            build::set_content_format(&mut template, format);
        }
        for (number, value) in &spec.extra_options {
            build::add_option(&mut template, *number, value.as_slice());
        }
        let token = match spec.token {
            PushToken::One(TokenChoice::Fresh) => {
                TokenChoice::Fixed(self.endpoint.draw_token(self.config.coap.token_length))
            }
            PushToken::One(TokenChoice::Length(length)) => TokenChoice::Fixed(self.endpoint.draw_token(length)),
            PushToken::One(choice) | PushToken::PerBlock(choice) => choice,
        };
        self.pushes.insert(op, Push::new(spec, to, template, token));
        self.send_block(now, op);
        self.pump(now);
        op
    }

    /// Goes on with a push that paused or ended, from `from_block` (in the size in use) or from where it stood. False when it is running or has
    /// nothing to send.
    pub fn resume_push(&mut self, now: Duration, op: OpId, from_block: Option<u32>, stop_after: Option<u32>) -> bool {
        let target = self.pushes.get(&op).and_then(|push| self.target(push.spec.to));
        let Some(push) = self.pushes.get_mut(&op).filter(|push| !push.is_running()) else {
            return false;
        };
        if let Some(to) = target {
            push.to = to;
        }
        if let Some(num) = from_block {
            let size = push
                .sender
                .step_of(0)
                .map_or_else(|| push.szx.size(), |step| step.block.size());
            push.sender.seek(u64::from(num) * size as u64);
        }
        push.answered = 0;
        push.spec.stop_after = stop_after;
        if push.step().is_none() {
            return false;
        }
        self.send_block(now, op);
        self.pump(now);
        true
    }

    /// Sends block `num` of a push once more, byte for byte: the one in flight, the first one or one of the latest 64. False when it is none of
    /// them.
    pub fn resend_block(&mut self, now: Duration, op: OpId, num: u32) -> bool {
        let Some(push) = self.pushes.get(&op) else { return false };
        if let Some((exchange, block)) = push.in_flight
            && block.num == num
        {
            return self.endpoint.resend(now, exchange);
        }
        let sent = push.recent.iter().rev().chain(&push.first).find(|sent| sent.num == num);
        let Some(Sent { exchange, datagram, .. }) = sent.cloned() else {
            return false;
        };
        if !self.endpoint.resend(now, exchange) {
            self.endpoint.send_raw(push.to, datagram);
        }
        true
    }

    /// Bytes of a push that the device has taken so far, and all of them.
    #[must_use]
    pub fn push_progress(&self, op: OpId) -> Option<(u64, u64)> {
        let push = self.pushes.get(&op)?;
        Some((push.sender.sent(), push.sender.total()))
    }

    /// Forgets a push that is over; it cannot be resumed any more. One that runs is stopped without an event.
    pub fn forget_push(&mut self, op: OpId) {
        self.waiting.remove(&op);
        if let Some(push) = self.pushes.remove(&op)
            && let Some((exchange, _)) = push.in_flight
        {
            self.drop_exchange(exchange);
        }
    }

    /// When the next block is due.
    pub(super) fn next_push(&self) -> Option<Duration> {
        self.waiting.values().min().copied()
    }

    /// Sends the blocks that are due.
    pub(super) fn due_pushes(&mut self, now: Duration) {
        let due = self.waiting.iter().filter(|(_, at)| **at <= now);
        let due: Vec<_> = due.map(|(op, _)| *op).collect();
        due.into_iter().for_each(|op| self.send_block(now, op));
    }

    /// Notes whether the next block of a push waits for its time.
    fn note_waiting(&mut self, op: OpId) {
        match self.pushes.get(&op).and_then(|push| push.wait_until) {
            Some(at) => self.waiting.insert(op, at),
            None => self.waiting.remove(&op),
        };
    }

    /// Ends a running push because of something other than an answer.
    pub(super) fn end_push(&mut self, op: OpId, reason: OpFailure) {
        let Some(push) = self.pushes.get_mut(&op).filter(|push| push.is_running()) else {
            return;
        };
        push.wait_until = None;
        self.waiting.remove(&op);
        let in_flight = push.in_flight.take();
        let block = in_flight
            .map(|(_, block)| block)
            .or_else(|| push.step().map(|(block, _)| block));
        let block = block.unwrap_or(BlockValue {
            num: 0,
            more: false,
            szx: push.szx,
        });
        if let Some((exchange, _)) = in_flight {
            self.drop_exchange(exchange);
        }
        self.tell(ServerEvent::PushEnded {
            op,
            outcome: PushOutcome::Failed { reason, block },
        });
    }

    fn send_block(&mut self, now: Duration, op: OpId) {
        let Some(push) = self.pushes.get_mut(&op) else { return };
        push.wait_until = None;
        self.waiting.remove(&op);
        let Some((block, range)) = push.step() else {
            self.tell(ServerEvent::PushEnded {
                op,
                outcome: PushOutcome::TooManyBlocks,
            });
            return;
        };
        let mut request = push.request_of(block, &range);
        let exchange = self.endpoint.request_of(now, push.to, &mut request);
        push.in_flight = Some((exchange, block));
        // one with Size1 has an option that the next one lacks
        push.request = Some(request).filter(|_| block.num > 0);
        self.note(op, exchange);
    }

    /// Takes the answer to a block.
    pub(super) fn push_answered(
        &mut self,
        now: Duration,
        op: OpId,
        exchange: ExchangeId,
        packet: &Packet,
        piggybacked: bool,
        transmissions: u32,
    ) {
        let Some(push) = self.pushes.get_mut(&op) else { return };
        // The answer to a block of a run that was cancelled or failed changes nothing.
        let Some((_, block)) = push.in_flight.take_if(|(in_flight, _)| *in_flight == exchange) else {
            return;
        };
        if let Some(datagram) = self.endpoint.datagram(exchange) {
            push.remember(Sent {
                num: block.num,
                exchange,
                datagram: datagram.clone(),
            });
        }
        push.answered += 1;
        push.any_answered = true;
        let mut outcome = push.advance(now, block, packet);
        if outcome.is_none() && push.spec.stop_after.is_some_and(|limit| push.answered >= limit) {
            push.wait_until = None;
            outcome = push.step().map(|(next, _)| PushOutcome::Paused { next: next.num });
        }
        if outcome.is_none() && push.wait_until.is_none() && !push.spec.interval.is_zero() {
            push.wait_until = Some(now + push.spec.interval);
        }
        let go_on = outcome.is_none() && push.wait_until.is_none();
        self.note_waiting(op);
        self.tell(ServerEvent::PushBlock {
            op,
            block,
            code: packet.header.code.into(),
            answer: build::block1(packet),
            size1: build::get_uint(packet, option::SIZE1).and_then(|size| u32::try_from(size).ok()),
            piggybacked,
            transmissions,
        });
        if let Some(outcome) = outcome {
            self.tell(ServerEvent::PushEnded { op, outcome });
        }
        if go_on {
            self.send_block(now, op);
        }
    }

    /// Takes the failure of a block.
    pub(super) fn push_failed(&mut self, now: Duration, op: OpId, exchange: ExchangeId, reason: OpFailure) {
        let Some(push) = self.pushes.get_mut(&op) else { return };
        let Some((_, block)) = push.in_flight.take_if(|(in_flight, _)| *in_flight == exchange) else {
            return;
        };
        if push.spec.step_down
            && push.spec.blocks.is_none()
            && !push.any_answered
            && reason == OpFailure::TimedOut
            && let Some(smaller) = block.szx.exponent().checked_sub(1).and_then(Szx::new)
        {
            push.sender.restart(smaller);
            self.send_block(now, op);
            return;
        }
        self.tell(ServerEvent::PushEnded {
            op,
            outcome: PushOutcome::Failed { reason, block },
        });
    }
}

/// The outcome of a push that had nowhere to go.
const fn not_started(szx: Szx) -> PushOutcome {
    PushOutcome::Failed {
        reason: OpFailure::NotRegistered,
        block: BlockValue {
            num: 0,
            more: false,
            szx,
        },
    }
}
