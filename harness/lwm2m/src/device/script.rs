//! Carries out the behaviours of a tester: what becomes of a datagram, of a request, of an answer.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::blockwise::block_option;
use fotaproof_coap::{ExchangeId, RequestId, ResponseMode};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code, MessageView, Type, option};

use super::act::Resend;
use super::answer::Answer;
use super::behaviour::{Act, Behaviour};
use super::dispatch::parse_path;
use super::power::Power;
use super::{Device, DeviceOutput, SocketId};

/// A behaviour and how often it was met.
#[derive(Clone, Debug)]
pub(super) struct Met {
    behaviour: Behaviour,
    skipped: u32,
    acted: u32,
}

impl Met {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            skipped: 0,
            acted: 0,
        }
    }

    /// Whether it is this one's turn, counting the request.
    fn take(&mut self, facts: &Facts) -> bool {
        let Behaviour { on, times, .. } = &self.behaviour;
        if times.is_some_and(|times| self.acted >= times)
            || !on.fits(facts.method, facts.path, facts.block1, facts.payload)
        {
            return false;
        }
        if self.skipped < on.skip {
            self.skipped += 1;
            return false;
        }
        self.acted += 1;
        true
    }
}

/// What a behaviour looks at.
pub(super) struct Facts {
    pub(super) method: Code,
    pub(super) path: Option<LwPath>,
    block1: Option<BlockValue>,
    payload: usize,
}

impl Facts {
    pub(super) fn of(packet: &Packet) -> Self {
        Self {
            method: packet.header.code.into(),
            path: parse_path(packet),
            block1: block_option(packet, option::BLOCK1),
            payload: packet.payload.len(),
        }
    }
}

/// What of the script is lost with the power.
#[derive(Debug, Default)]
pub(super) struct Script {
    asleep: Option<Nap>,
    /// Time without hearing: a body that is on its way does not grow old in it.
    slept: Duration,
    /// The last message that went out, for queue mode.
    last_sent: Duration,
    /// In queue mode: nothing is heard until the next message.
    dozing: bool,
    announce_at: Option<Duration>,
    delayed: Vec<Delayed>,
    copies: VecDeque<Copy>,
    /// Requests of a tester.
    pub(super) requests: Vec<(u32, ExchangeId)>,
    /// What can be sent again.
    pub(super) last: BTreeMap<Resend, ExchangeId>,
}

#[derive(Clone, Copy, Debug)]
struct Nap {
    since: Duration,
    until: Duration,
}

/// An answer that goes out later.
#[derive(Debug)]
struct Delayed {
    at: Duration,
    id: RequestId,
    packet: Packet,
    mode: ResponseMode,
}

/// A datagram that goes out again.
#[derive(Debug)]
struct Copy {
    at: Duration,
    to: SocketAddr,
    bytes: Bytes,
}

impl Script {
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.is_some()
    }

    pub(super) fn slept(&self) -> Duration {
        self.slept
    }

    /// A message goes out: in queue mode the device hears again.
    pub(super) fn note_sent(&mut self, now: Duration, wake_for: Option<Duration>) {
        if let Some(wake_for) = wake_for {
            self.slept += now.saturating_sub(self.last_sent + wake_for);
        }
        (self.last_sent, self.dozing) = (now, false);
    }

    pub(super) fn boot(&mut self, now: Duration) {
        self.last_sent = now;
    }
}

impl Device {
    /// Takes a datagram that arrived at a socket.
    pub(super) fn datagram(&mut self, now: Duration, socket: SocketId, from: SocketAddr, bytes: &[u8]) {
        if !self.is_listening() || self.is_deaf(now) {
            return;
        }
        if socket != self.ram.socket {
            if let Some(endpoint) = self.ram.pulls.iter_mut().find_map(|pull| pull.own_endpoint(socket)) {
                endpoint.handle_datagram(now, from, bytes);
            }
            return;
        }
        match self.air_act(from, bytes) {
            Some(Act::Silence) => self.log("a request is not heard"),
            Some(Act::Sleep { for_ }) => self.sleep(now, for_),
            Some(Act::PowerCut { off_for }) => self.power_cut_for(now, off_for),
            Some(Act::AnswerLost) => {
                self.ram.endpoint.handle_datagram(now, from, bytes);
                self.carry_out(now);
                self.lose_answers(now, bytes);
            }
            _ => self.ram.endpoint.handle_datagram(now, from, bytes),
        }
    }

    /// What the air does with a datagram of the server.
    fn air_act(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<Act> {
        let scripted = self.behaviours.iter().any(|met| met.behaviour.act.of_the_air());
        if !scripted || from != self.config.server {
            return None;
        }
        let message = MessageView::parse(bytes).ok()?;
        if !message.code().is_request() || !matches!(message.kind(), Type::Con | Type::Non) {
            return None;
        }
        self.take_act(&Facts::of(&message.to_packet()), true)
    }

    /// What is done with a new request of the server.
    pub(super) fn request_act(&mut self, facts: &Facts) -> Option<Act> {
        self.take_act(facts, false)
    }

    fn take_act(&mut self, facts: &Facts, air: bool) -> Option<Act> {
        self.behaviours
            .iter_mut()
            .find_map(|met| (met.behaviour.act.of_the_air() == air && met.take(facts)).then_some(met.behaviour.act))
    }

    /// What goes out at once in answer to a datagram is lost; everything else goes out.
    fn lose_answers(&mut self, now: Duration, request: &[u8]) {
        let Ok(request) = MessageView::parse(request) else {
            return;
        };
        while let Some(transmit) = self.ram.endpoint.poll_transmit() {
            let answers = MessageView::parse(&transmit.bytes).is_ok_and(|message| {
                let reply = matches!(message.kind(), Type::Ack | Type::Rst);
                (reply && message.message_id() == request.message_id())
                    || (message.code().is_response() && message.token() == request.token())
            });
            if answers {
                self.log("an answer is lost");
            } else {
                self.transmit(now, transmit);
            }
        }
    }

    /// The answer to a request that is refused by its behaviour.
    pub(super) fn scripted_code(&mut self, now: Duration, act: Act, facts: &Facts) -> Option<Answer> {
        let Act::Code {
            code,
            max_age,
            block1,
            size1,
        } = act
        else {
            return None;
        };
        if code == Code::REQUEST_ENTITY_INCOMPLETE && facts.path == Some(super::dispatch::PACKAGE) {
            self.void_body(now);
        }
        let asked = facts.block1;
        let hint = block1.map(|szx| BlockValue {
            num: asked.map_or(0, |block| block.num),
            more: asked.is_some_and(|block| block.more),
            szx,
        });
        Some(Answer {
            max_age,
            size1,
            block1: hint,
            ..code.into()
        })
    }

    /// Sends the answer as its behaviour says.
    pub(super) fn send_scripted(
        &mut self,
        now: Duration,
        id: RequestId,
        confirmable: bool,
        mut answer: Answer,
        act: Option<Act>,
    ) {
        if answer.silent {
            return self.send_answer(now, id, confirmable, &answer);
        }
        match act {
            Some(Act::SmallerBlock(szx)) => {
                if answer.code == Code::CONTINUE
                    && let Some(block) = &mut answer.block1
                {
                    block.szx = block.szx.min(szx);
                }
                self.send_answer(now, id, confirmable, &answer);
            }
            Some(Act::Separate { delay, ack }) => {
                if ack && confirmable {
                    self.ram.endpoint.acknowledge(now, id);
                }
                self.answer_after(now, delay + answer.delay, id, &answer, ResponseMode::SeparateCon);
            }
            Some(Act::Delay(delay)) => self.answer_after(now, delay + answer.delay, id, &answer, ResponseMode::Auto),
            Some(Act::Pause(pause)) => {
                answer.delay += pause;
                self.send_answer(now, id, confirmable, &answer);
            }
            Some(Act::Twice) => self.answer_with_copy(now, id, confirmable, &answer, Duration::ZERO),
            Some(Act::LateCopy { delay }) => self.answer_with_copy(now, id, confirmable, &answer, delay),
            Some(Act::Rebind { announce_after }) => {
                self.send_answer(now, id, confirmable, &answer);
                self.rebind();
                self.ram.script.announce_at = Some(now + announce_after);
            }
            _ => self.send_answer(now, id, confirmable, &answer),
        }
    }

    fn answer_after(&mut self, now: Duration, delay: Duration, id: RequestId, answer: &Answer, mode: ResponseMode) {
        if delay.is_zero() {
            return self.ram.endpoint.respond_with(now, id, answer.packet(), mode);
        }
        self.ram.script.delayed.push(Delayed {
            at: now + delay,
            id,
            packet: answer.packet(),
            mode,
        });
    }

    fn answer_with_copy(&mut self, now: Duration, id: RequestId, confirmable: bool, answer: &Answer, after: Duration) {
        self.send_answer(now, id, confirmable, answer);
        let to = self.config.server;
        if let Some(bytes) = self.ram.endpoint.last_message_to(to).cloned() {
            if after.is_zero() {
                self.ram.endpoint.send_raw(to, bytes);
            } else {
                let at = now + after;
                self.ram.script.copies.push_back(Copy { at, to, bytes });
            }
        }
    }

    /// A new socket in place of the main one.
    pub(super) fn rebind(&mut self) {
        self.flush();
        self.close_socket(self.ram.socket);
        self.ram.socket = self.open_socket();
        self.log("at a new address");
    }

    pub(super) fn power_cut_for(&mut self, now: Duration, off_for: Duration) {
        self.log(format!("power cut for {} s", off_for.as_secs_f64()));
        self.power_cut();
        self.power = Power::Booting(now + off_for + self.config.boot_time);
    }

    /// The power goes when so much of a package is stored; what was not sent yet is never sent.
    pub(super) fn cut_power_as_set(&mut self, now: Duration) {
        let Some((bytes, off_for)) = self.config.power_cut_at.filter(|_| !self.cut_done) else {
            return;
        };
        if self.is_listening() && self.flash.image().len() as u64 >= bytes {
            self.cut_done = true;
            while self.ram.endpoint.poll_transmit().is_some() {}
            self.power_cut_for(now, off_for);
        }
    }

    pub(super) fn sleep(&mut self, now: Duration, for_: Duration) {
        self.log(format!("asleep for {} s", for_.as_secs_f64()));
        let since = self.ram.script.asleep.map_or(now, |nap| nap.since);
        let until = now + for_;
        self.ram.script.asleep = Some(Nap { since, until });
    }

    /// Ends the sleep and says so to the server.
    pub(super) fn wake(&mut self, now: Duration) {
        if let Some(nap) = self.ram.script.asleep.take() {
            self.ram.script.slept += now.saturating_sub(nap.since);
            self.ram.script.last_sent = now;
            self.log("awake");
            self.refresh_registration(now, false);
        }
    }

    /// Whether nothing reaches it: it sleeps, or waits in queue mode for something to say.
    pub(super) fn is_deaf(&self, now: Duration) -> bool {
        let script = &self.ram.script;
        script.is_asleep()
            || self
                .config
                .wake_for
                .is_some_and(|wake_for| now >= script.last_sent + wake_for)
    }

    /// When it hears no more in queue mode.
    fn doze_at(&self) -> Option<Duration> {
        let script = &self.ram.script;
        let wake_for = self.config.wake_for.filter(|_| !script.dozing)?;
        Some(script.last_sent + wake_for)
    }

    pub(super) fn script_deadline(&self) -> Option<Duration> {
        let script = &self.ram.script;
        if let Some(nap) = script.asleep {
            return Some(nap.until);
        }
        let delayed = script.delayed.iter().map(|delayed| delayed.at);
        let copies = script.copies.iter().map(|copy| copy.at);
        let others = script.announce_at.into_iter().chain(self.doze_at());
        delayed.chain(copies).chain(others).min()
    }

    pub(super) fn script_timeout(&mut self, now: Duration) {
        if !self.is_listening() {
            return;
        }
        if self.ram.script.asleep.is_some_and(|nap| nap.until <= now) {
            self.wake(now);
        }
        if self.ram.script.is_asleep() {
            return;
        }
        if self.doze_at().is_some_and(|at| at <= now) {
            self.ram.script.dozing = true;
            self.log("queue mode: hears nothing until its next message");
        }
        let (due, later) = core::mem::take(&mut self.ram.script.delayed)
            .into_iter()
            .partition(|delayed| delayed.at <= now);
        self.ram.script.delayed = later;
        for Delayed { id, packet, mode, .. } in due {
            self.ram.endpoint.respond_with(now, id, packet, mode);
        }
        let (due, later) = core::mem::take(&mut self.ram.script.copies)
            .into_iter()
            .partition(|copy: &Copy| copy.at <= now);
        self.ram.script.copies = later;
        for Copy { to, bytes, .. } in due {
            self.ram.endpoint.send_raw(to, bytes);
        }
        if self.ram.script.announce_at.take_if(|at| *at <= now).is_some() {
            self.refresh_registration(now, false);
        }
    }

    /// Passes a datagram of the main endpoint on.
    pub(super) fn transmit(&mut self, now: Duration, transmit: fotaproof_coap::Transmit) {
        self.ram.script.note_sent(now, self.config.wake_for);
        self.outputs.push_back(DeviceOutput::Transmit {
            socket: self.ram.socket,
            to: transmit.to,
            bytes: transmit.bytes,
        });
    }
}
