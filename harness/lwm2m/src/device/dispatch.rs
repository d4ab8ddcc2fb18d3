//! From a request of the server to an operation of LwM2M, and back to an answer (LwM2M Core, 6.3; Transport, 6.4).

use core::net::SocketAddr;
use core::time::Duration;

use coap_lite::{CoapOption, Packet};
use fotaproof_coap::RequestId;
use fotaproof_coap::blockwise::{Serve, block_option, serve};
use fotaproof_wire::coap::{BlockValue, Code, build, content_format, option};
use fotaproof_wire::{LwPath, content};

use super::answer::Answer;
use super::behaviour::Act;
use super::power::Power;
use super::script::Facts;
use super::{Device, Pending};
use crate::Defect;
use crate::definitions::Version;

/// A request taken apart.
pub(super) struct Incoming {
    pub(super) id: RequestId,
    pub(super) from: SocketAddr,
    pub(super) packet: Packet,
    pub(super) path: LwPath,
    pub(super) format: Option<u16>,
    pub(super) block1: Option<BlockValue>,
}

/// Package, /5/0/0.
pub(super) const PACKAGE: LwPath = LwPath::resource(5, 0, 0);

impl Device {
    pub(super) fn on_request(
        &mut self,
        now: Duration,
        id: RequestId,
        from: SocketAddr,
        packet: Packet,
        confirmable: bool,
    ) {
        if matches!(self.power, Power::Stopping(_)) {
            self.ram.endpoint.ignore(id);
            return;
        }
        let code = Code::from(packet.header.code);
        if self.is_dropped_by_defect(now, code) {
            self.ram.endpoint.ignore(id);
            return;
        }
        let facts = (from == self.config.server).then(|| Facts::of(&packet));
        let act = facts.as_ref().and_then(|facts| self.request_act(facts));
        let before = self.flash.firmware;
        if act == Some(Act::Reset) {
            self.ram.endpoint.reset(now, id);
            if let Some(facts) = facts {
                self.count_request(now, &facts, before, false, None);
            }
            return;
        }
        let observes = build::observe(&packet) == Some(0);
        let scripted = act
            .zip(facts.as_ref())
            .and_then(|(act, facts)| self.scripted_code(now, act, facts));
        let answer = if let Some(answer) = scripted {
            answer
        } else if from == self.config.server || self.is_open_to(code, &packet) {
            match facts.as_ref().map_or_else(|| parse_path(&packet), |facts| facts.path) {
                Some(path) => {
                    let format = build::content_format(&packet);
                    let block1 = block_option(&packet, option::BLOCK1);
                    self.operate(
                        now,
                        &mut Incoming {
                            id,
                            from,
                            packet,
                            path,
                            format,
                            block1,
                        },
                    )
                }
                None => Code::NOT_FOUND.into(),
            }
        } else {
            Code::UNAUTHORIZED.into()
        };
        if let Some(facts) = facts {
            let code = (!answer.silent).then_some(answer.code);
            self.count_request(now, &facts, before, observes, code);
        }
        self.send_scripted(now, id, confirmable, answer, act);
        self.after_answer(now);
    }

    /// Whether a source other than the server is heard: only with a defect.
    fn is_open_to(&self, code: Code, packet: &Packet) -> bool {
        self.has(Defect::AnyoneMayPush)
            || (self.has(Defect::Amplifier) && code == Code::GET)
            || ((self.has(Defect::EndpointsMixed) || self.has(Defect::BodySlotLeak)) && build::block1(packet).is_some())
    }

    fn is_dropped_by_defect(&mut self, now: Duration, code: Code) -> bool {
        let second = now.as_secs();
        let flood = &mut self.ram.flood;
        *flood = if flood.0 == second {
            (second, flood.1 + 1)
        } else {
            (second, 1)
        };
        if flood.1 > 64 && self.has(Defect::QueueOverflowDies) {
            self.die("its queue of requests overflowed");
            return true;
        }
        let pulling_from_server = self.ram.pulls.iter().any(|pull| pull.own_socket().is_none());
        (self.has(Defect::ReadsUnanswered) && code == Code::GET)
            || (self.has(Defect::SamePeerConfused) && pulling_from_server)
            || (self.has(Defect::ReadBlockedInPull) && code == Code::GET && !self.ram.pulls.is_empty())
    }

    pub(super) fn send_answer(&mut self, now: Duration, id: RequestId, confirmable: bool, answer: &Answer) {
        if answer.silent {
            self.ram.endpoint.ignore(id);
            return;
        }
        let mut packet = answer.packet();
        if answer.code == Code::CONTINUE && self.has(Defect::AnswerTooBig) {
            packet.payload = vec![b'.'; 600];
        }
        if answer.delay.is_zero() && self.ram.pending.is_empty() {
            self.ram.endpoint.respond(now, id, packet);
            return;
        }
        // The flash is busy: one write after the other, and the server is told that the answer will take time.
        let free = self.ram.pending.iter().map(|pending| pending.at).max().unwrap_or(now);
        if confirmable {
            self.ram.endpoint.acknowledge(now, id);
        }
        let at = if answer.delay.is_zero() {
            now
        } else {
            free.max(now) + answer.delay
        };
        self.ram.pending.push(Pending { at, id, packet });
        self.answer_pending(now);
    }

    fn operate(&mut self, now: Duration, request: &mut Incoming) -> Answer {
        let code = Code::from(request.packet.header.code);
        match code {
            Code::GET => self.get(now, request),
            Code::PUT | Code::POST if request.path == PACKAGE => self.package_request(now, request, code),
            Code::PUT | Code::POST | Code::IPATCH | Code::FETCH => {
                let Some(block) = request.block1 else {
                    return self.operate_whole(now, request, code);
                };
                match self.collect(now, request, block) {
                    Ok(()) => {
                        let answer = self.operate_whole(now, request, code);
                        answer.with_block1(block)
                    }
                    Err(answer) => answer,
                }
            }
            Code::DELETE => self.delete(&request.path),
            _ => Code::METHOD_NOT_ALLOWED.into(),
        }
    }

    fn operate_whole(&mut self, now: Duration, request: &Incoming, code: Code) -> Answer {
        let composite = self.config.lwm2m >= Version::V1_1 && request.path.is_root();
        match code {
            Code::PUT => self.put(now, request),
            Code::POST => self.post(now, request),
            Code::FETCH if composite => self.fetch(now, request),
            Code::IPATCH if composite => self.write_composite(now, request),
            _ => Code::METHOD_NOT_ALLOWED.into(),
        }
    }

    fn get(&mut self, now: Duration, request: &Incoming) -> Answer {
        let path = request.path;
        let accept = build::accept(&request.packet);
        if accept == Some(content_format::LINK_FORMAT) {
            let answer = self.discover(&path);
            return self.in_blocks(answer, &request.packet);
        }
        let mut answer = self.read(now, &path, accept);
        if answer.code == Code::CONTENT {
            match build::observe(&request.packet) {
                Some(0) => self.observe(now, request, vec![path], &mut answer),
                Some(1) => self.stop_observing(request),
                _ => {}
            }
            if path == LwPath::resource(5, 0, 5) && self.has(Defect::Result1OneShot) {
                self.forget_success(now);
            }
        }
        self.in_blocks(answer, &request.packet)
    }

    fn fetch(&mut self, now: Duration, request: &Incoming) -> Answer {
        let Some(format) = request
            .format
            .filter(|format| matches!(*format, content_format::SENML_JSON | content_format::SENML_CBOR))
        else {
            return Code::UNSUPPORTED_CONTENT_FORMAT.into();
        };
        let accept = build::accept(&request.packet).unwrap_or(format);
        if !matches!(accept, content_format::SENML_JSON | content_format::SENML_CBOR) {
            return Code::NOT_ACCEPTABLE.into();
        }
        let Ok(paths) = content::decode_paths(format, &request.packet.payload) else {
            return Code::BAD_REQUEST.into();
        };
        let mut answer = self.read_composite(now, &paths, accept);
        match build::observe(&request.packet) {
            Some(0) => self.observe(now, request, paths, &mut answer),
            Some(1) => self.stop_observing(request),
            _ => {}
        }
        self.in_blocks(answer, &request.packet)
    }

    /// Cuts a large answer (RFC 7959, 2.4).
    pub(super) fn in_blocks(&self, mut answer: Answer, request: &Packet) -> Answer {
        if answer.code != Code::CONTENT {
            return answer;
        }
        let mut asked = block_option(request, option::BLOCK2);
        if self.has(Defect::ReadAlwaysBlock0)
            && let Some(block) = &mut asked
        {
            block.num = 0;
        }
        match serve(answer.payload.len() as u64, asked, self.config.largest_block) {
            Serve::Whole(_) => answer,
            Serve::Block { block, range } => {
                if block.more || block.num > 0 {
                    let digest = crate::package::digest(&answer.payload);
                    answer.etag = digest.first_chunk::<4>().copied();
                }
                answer.block2 = Some(block);
                answer.payload = answer.payload[range.start as usize..range.end as usize].to_vec();
                answer
            }
            Serve::BeyondEnd => Code::BAD_OPTION.into(),
            Serve::Bad => Code::BAD_REQUEST.into(),
        }
    }
}

/// The path of a request; `None` for one that names nothing of LwM2M.
pub(super) fn parse_path(packet: &Packet) -> Option<LwPath> {
    let mut path = LwPath::ROOT;
    for segment in packet.get_option(CoapOption::UriPath).into_iter().flatten() {
        let text = core::str::from_utf8(segment).ok()?;
        // One empty segment is how some stacks write the root.
        if text.is_empty() && path.is_root() {
            continue;
        }
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        path = path.child(text.parse().ok().filter(|_| plain)?)?;
    }
    Some(path)
}
