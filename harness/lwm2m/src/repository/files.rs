//! Answering GET requests for files, block by block (RFC 7959, 2.4), with the faults worked in.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use coap_lite::{CoapOption, Packet};
use fotaproof_coap::blockwise::{Serve, serve};
use fotaproof_coap::{Endpoint, RequestId, ResponseMode};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, option};

use super::config::{Act, EmptyAck, Fault, File, On, RepositoryConfig, RepositoryEvent};

/// Answers kept for [`Act::Replay`].
const KEPT_ANSWERS: usize = 64;

/// The file serving itself, over any endpoint.
#[derive(Debug)]
pub struct FileServer {
    files: BTreeMap<String, File>,
    szx: Szx,
    size2: bool,
    faults: Vec<Armed>,
    pending: Vec<Pending>,
    kept: VecDeque<Kept>,
    events: VecDeque<RepositoryEvent>,
}

/// A fault and how often it acted.
#[derive(Debug)]
struct Armed {
    fault: Fault,
    acted: u32,
}

/// An answer that waits for its time or, when held, for the caller.
#[derive(Debug)]
struct Pending {
    at: Option<Duration>,
    id: RequestId,
    to: SocketAddr,
    num: u32,
    message_id: u16,
    confirmable: bool,
    ack: EmptyAck,
    answer: Answer,
}

#[derive(Debug)]
struct Kept {
    to: SocketAddr,
    num: u32,
    datagram: Bytes,
}

/// A finished answer and what is told about it.
#[derive(Debug, Clone)]
struct Answer {
    packet: Packet,
    file: String,
    block: Option<BlockValue>,
    last: bool,
    duplicate: bool,
}

/// What the faults make of one request.
#[derive(Debug, Default)]
struct Plan {
    delivery: Delivery,
    code: Option<(Code, Option<u32>)>,
    block: Option<u32>,
    label: Option<u32>,
    szx: Option<Szx>,
    without_block2: bool,
    whole: bool,
    ignore_block2: bool,
    duplicate: bool,
    replay: Option<u32>,
    etag: Option<Vec<u8>>,
    flip_more: bool,
    shorten: usize,
    size2: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    #[default]
    Piggybacked,
    Silence,
    Reset,
    Hold,
    Separate(Duration, EmptyAck),
}

impl FileServer {
    /// A server of the files and faults of the configuration; the transmission parameters in it are for the endpoint.
    #[must_use]
    pub fn new(config: RepositoryConfig) -> Self {
        let mut server = Self {
            files: config.files,
            szx: config.szx,
            size2: config.size2,
            faults: Vec::new(),
            pending: Vec::new(),
            kept: VecDeque::new(),
            events: VecDeque::new(),
        };
        config.faults.into_iter().for_each(|fault| server.add_fault(fault));
        server
    }

    /// Puts a file at a path, with or without a query; see [`RepositoryConfig::files`].
    pub fn set_file(&mut self, path: &str, file: File) {
        self.files.insert(path.to_owned(), file);
    }

    /// Takes a file away: 4.04 from now on.
    pub fn remove_file(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// The file at a path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Adds a fault after the others. All that match a request act on it, in their order.
    pub fn add_fault(&mut self, fault: Fault) {
        self.faults.push(Armed { fault, acted: 0 });
    }

    /// Ends all faults; held requests stay held.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// The largest block served from now on.
    pub const fn set_szx(&mut self, szx: Szx) {
        self.szx = szx;
    }

    /// How many requests are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pending.iter().filter(|pending| pending.at.is_none()).count()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<RepositoryEvent> {
        self.events.pop_front()
    }

    /// Notes that a request came again.
    pub(super) fn repeated(&mut self, from: SocketAddr, count: u32) {
        self.events.push_back(RepositoryEvent::Repeated { from, count });
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        self.pending.iter().filter_map(|pending| pending.at).min()
    }

    /// Gives the delayed answers whose time has come.
    pub fn handle_timeout(&mut self, now: Duration, endpoint: &mut Endpoint) {
        let mut index = 0;
        while index < self.pending.len() {
            if self.pending[index].at.is_some_and(|at| at <= now) {
                let pending = self.pending.remove(index);
                self.deliver(now, endpoint, pending);
            } else {
                index += 1;
            }
        }
    }

    /// Answers every held request; how many they were.
    pub fn release(&mut self, now: Duration, endpoint: &mut Endpoint) -> usize {
        let (held, rest) = core::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<_>, _>(|pending| pending.at.is_none());
        self.pending = rest;
        let count = held.len();
        held.into_iter()
            .for_each(|pending| self.deliver(now, endpoint, pending));
        count
    }

    /// Answers a new request, now, later or never.
    pub fn handle_request(
        &mut self,
        now: Duration,
        endpoint: &mut Endpoint,
        id: RequestId,
        from: SocketAddr,
        packet: &Packet,
        confirmable: bool,
    ) {
        let block2 = match build::get_option(packet, option::BLOCK2)
            .map(BlockValue::decode)
            .transpose()
        {
            Ok(block2) => block2,
            Err(error) => {
                self.events.push_back(seen(now, from, packet, None, confirmable));
                // A block option that cannot be read is a critical option that is not understood (RFC 7959, 2.2; RFC 7252, 5.4.1).
                endpoint.respond(now, id, diagnostic(Code::BAD_OPTION, &error.to_string()));
                return;
            }
        };
        self.events.push_back(seen(now, from, packet, block2, confirmable));
        let plan = self.plan(packet, block2);
        let answer = self.answer(packet, block2, &plan);
        if let Some(num) = plan.replay
            && let Some(kept) = self.kept.iter().rev().find(|kept| kept.to == from && kept.num == num)
        {
            endpoint.send_raw(from, kept.datagram.clone());
        }
        let num = block2.map_or(0, |block| block.num);
        let message_id = packet.header.message_id;
        let pending = Pending {
            at: None,
            id,
            to: from,
            num,
            message_id,
            confirmable,
            ack: EmptyAck::First,
            answer,
        };
        match plan.delivery {
            Delivery::Silence => endpoint.ignore(id),
            Delivery::Reset => endpoint.reset(now, id),
            Delivery::Hold => {
                endpoint.acknowledge(now, id);
                self.events.push_back(RepositoryEvent::Held { from, block: block2 });
                self.pending.push(pending);
            }
            Delivery::Separate(delay, ack) => {
                if ack == EmptyAck::First {
                    endpoint.acknowledge(now, id);
                }
                let pending = Pending {
                    at: Some(now + delay),
                    ack,
                    ..pending
                };
                if delay.is_zero() {
                    self.deliver(now, endpoint, pending);
                } else {
                    self.pending.push(pending);
                }
            }
            Delivery::Piggybacked => self.deliver(now, endpoint, pending),
        }
    }

    /// Hands an answer to the endpoint and remembers its datagram for [`Act::Replay`].
    fn deliver(&mut self, now: Duration, endpoint: &mut Endpoint, pending: Pending) {
        let Pending {
            id,
            to,
            num,
            message_id,
            confirmable,
            ack,
            answer,
            ..
        } = pending;
        self.events.push_back(RepositoryEvent::Served {
            to,
            file: answer.file,
            code: answer.packet.header.code.into(),
            block: answer.block,
            length: answer.packet.payload.len(),
            last: answer.last,
        });
        match ack {
            EmptyAck::First => endpoint.respond(now, id, answer.packet),
            EmptyAck::After | EmptyAck::Never if !confirmable => endpoint.respond(now, id, answer.packet),
            EmptyAck::After | EmptyAck::Never => {
                endpoint.respond_with(now, id, answer.packet, ResponseMode::SeparateCon);
            }
        }
        let replayed = self
            .faults
            .iter()
            .any(|armed| matches!(armed.fault.act, Act::Replay(_)));
        if answer.duplicate || replayed {
            let datagram = endpoint.last_message_to(to).cloned();
            if answer.duplicate {
                datagram
                    .iter()
                    .for_each(|datagram| endpoint.send_raw(to, datagram.clone()));
            }
            if self.kept.len() == KEPT_ANSWERS {
                self.kept.pop_front();
            }
            self.kept.extend(datagram.map(|datagram| Kept { to, num, datagram }));
        }
        if ack == EmptyAck::After && confirmable {
            // An empty ACK that was overtaken: version 1, type ACK, no token, code 0.00 (RFC 7252, 3).
            let [high, low] = message_id.to_be_bytes();
            endpoint.send_raw(to, vec![0x60, 0, high, low]);
        }
    }

    /// Lets the faults that match act.
    fn plan(&mut self, packet: &Packet, block2: Option<BlockValue>) -> Plan {
        let mut plan = Plan::default();
        if self.faults.is_empty() {
            return plan;
        }
        let path = build::path(packet);
        let query = build::query(packet);
        for (index, armed) in self.faults.iter_mut().enumerate() {
            let fault = &armed.fault;
            let num = block2.map_or(0, |block| block.num);
            let hit = match fault.on {
                On::Every => true,
                On::Block(wanted) => num == wanted,
                On::From(first) => num >= first,
                On::Multiple(step) => step > 0 && num.is_multiple_of(step),
                On::WithoutBlock2 => block2.is_none(),
            };
            if !hit
                || fault.path.as_ref().is_some_and(|wanted| *wanted != path)
                || fault.times.is_some_and(|times| armed.acted >= times)
            {
                continue;
            }
            armed.acted += 1;
            match &fault.act {
                Act::Silence => plan.delivery = Delivery::Silence,
                Act::Reset => plan.delivery = Delivery::Reset,
                Act::Hold => plan.delivery = Delivery::Hold,
                Act::Separate { delay, ack } => plan.delivery = Delivery::Separate(*delay, *ack),
                Act::Code { code, max_age } => plan.code = Some((*code, *max_age)),
                Act::WrongBlock(num) => plan.block = Some(*num),
                Act::Relabel(num) => plan.label = Some(*num),
                Act::SmallerSzx(szx) => plan.szx = Some(*szx),
                Act::ChangeFile(file) => {
                    let key = key_of(&self.files, &path, &query).unwrap_or_else(|| path.clone());
                    self.files.insert(key, file.clone());
                }
                Act::NoBlock2 => plan.without_block2 = true,
                Act::Whole => plan.whole = true,
                Act::IgnoreBlock2 => plan.ignore_block2 = true,
                Act::Duplicate => plan.duplicate = true,
                Act::Replay(num) => plan.replay = Some(*num),
                Act::ETag(etag) => plan.etag = Some(etag.clone()),
                Act::FlipMore => plan.flip_more = true,
                Act::Shorten(bytes) => plan.shorten = *bytes,
                Act::Size2(size) => plan.size2 = Some(*size),
            }
            self.events.push_back(RepositoryEvent::Faulted {
                fault: index,
                block: block2,
            });
        }
        plan
    }

    fn find(&self, path: &str, query: &[String]) -> Option<(String, &File)> {
        let key = key_of(&self.files, path, query)?;
        let file = self.files.get(&key)?;
        Some((key, file))
    }

    fn answer(&self, request: &Packet, block2: Option<BlockValue>, plan: &Plan) -> Answer {
        let path = build::path(request);
        let plain = |packet: Packet| Answer {
            packet,
            file: path.clone(),
            block: None,
            last: true,
            duplicate: plan.duplicate,
        };
        if let Some((code, max_age)) = plan.code {
            let mut packet = if code.is_error() {
                diagnostic(code, "planned by the case")
            } else {
                response(code)
            };
            if let Some(seconds) = max_age {
                build::set_uint(&mut packet, option::MAX_AGE, u64::from(seconds));
            }
            if code == Code::VALID
                && let Some((_, File { etag: Some(etag), .. })) = self.find(&path, &build::query(request))
            {
                build::set_etag(&mut packet, etag);
            }
            return plain(packet);
        }
        let Some((file_name, file)) = self.find(&path, &build::query(request)) else {
            return plain(diagnostic(Code::NOT_FOUND, "no such file"));
        };
        if Code::from(request.header.code) != Code::GET {
            return plain(diagnostic(Code::METHOD_NOT_ALLOWED, "files can only be read"));
        }
        if build::accept(request).is_some_and(|accept| file.content_format.is_some_and(|format| format != accept)) {
            return plain(diagnostic(Code::NOT_ACCEPTABLE, "the file has another content format"));
        }
        let first = block2.is_none_or(|block| block.num == 0);
        let known = |etag: &Vec<u8>| etags(request).any(|asked| asked == etag);
        // A later block is asked for its bytes: 2.03 there would leave a hole (RFC 7252, 5.10.6.2).
        if first && let Some(etag) = file.etag.as_ref().filter(|etag| known(etag)) {
            let mut packet = response(Code::VALID);
            build::set_etag(&mut packet, etag);
            return plain(packet);
        }
        self.block(request, block2, plan, file_name, file)
    }

    fn block(&self, request: &Packet, block2: Option<BlockValue>, plan: &Plan, name: String, file: &File) -> Answer {
        let asked = block2.filter(|_| !plan.ignore_block2);
        let asked = match plan.block {
            Some(num) => Some(BlockValue {
                num,
                more: false,
                szx: asked.map_or(self.szx, |block| block.szx),
            }),
            None => asked,
        };
        let total = file.body.len() as u64;
        let (block, range) = match serve(total, asked, plan.szx.unwrap_or(self.szx)) {
            Serve::Whole(range) => (None, range),
            Serve::Block { block, range } => (Some(block), range),
            refusal => {
                // The code for a block beyond the end is not fixed by RFC 7959; 4.02 says that the Block2 option asks for what is not there.
                let (code, text) = match refusal {
                    Serve::BeyondEnd => (Code::BAD_OPTION, "the block is beyond the end"),
                    _ => (Code::BAD_REQUEST, "the file cannot be numbered in blocks of this size"),
                };
                return Answer {
                    packet: diagnostic(code, text),
                    file: name,
                    block: None,
                    last: false,
                    duplicate: plan.duplicate,
                };
            }
        };
        let range = if plan.whole { 0..total } else { range };
        let block = block
            .filter(|_| !plan.without_block2 && !plan.whole)
            .map(|block| BlockValue {
                num: plan.label.unwrap_or(block.num),
                more: block.more ^ plan.flip_more,
                szx: block.szx,
            });
        let mut packet = response(Code::CONTENT);
        if let Some(etag) = plan.etag.as_ref().or(file.etag.as_ref()) {
            build::set_etag(&mut packet, etag);
        }
        if let Some(format) = file.content_format {
            build::set_content_format(&mut packet, format);
        }
        if let Some(block) = block {
            build::set_block2(&mut packet, block);
        }
        let size2_asked = build::get_option(request, option::SIZE2).is_some();
        let size2 = (size2_asked || (self.size2 && range.start == 0)).then(|| u32::try_from(total).unwrap_or(u32::MAX));
        if let Some(size) = plan.size2.or(size2) {
            build::set_size2(&mut packet, size);
        }
        let bytes = file
            .body
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default();
        packet.payload = bytes[..bytes.len().saturating_sub(plan.shorten)].to_vec();
        Answer {
            packet,
            file: name,
            block,
            last: range.end == total,
            duplicate: plan.duplicate,
        }
    }
}

/// The key of a file: with the query if there is such a one, else without.
fn key_of(files: &BTreeMap<String, File>, path: &str, query: &[String]) -> Option<String> {
    if !query.is_empty() {
        let key = format!("{path}?{}", query.join("&"));
        if files.contains_key(&key) {
            return Some(key);
        }
    }
    files.contains_key(path).then(|| path.to_owned())
}

fn response(code: Code) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = code.into();
    packet
}

fn diagnostic(code: Code, text: &str) -> Packet {
    let mut packet = response(code);
    packet.payload = text.as_bytes().to_vec();
    packet
}

fn values(packet: &Packet, number: u16) -> impl Iterator<Item = &Vec<u8>> {
    packet.get_option(CoapOption::from(number)).into_iter().flatten()
}

fn etags(packet: &Packet) -> impl Iterator<Item = &Vec<u8>> {
    values(packet, option::ETAG)
}

fn texts(packet: &Packet, number: u16) -> Vec<String> {
    values(packet, number)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

fn seen(
    at: Duration,
    from: SocketAddr,
    packet: &Packet,
    block2: Option<BlockValue>,
    confirmable: bool,
) -> RepositoryEvent {
    RepositoryEvent::Get {
        from,
        method: packet.header.code.into(),
        path: texts(packet, option::URI_PATH),
        query: texts(packet, option::URI_QUERY),
        host: texts(packet, option::URI_HOST).pop(),
        port: build::get_uint(packet, option::URI_PORT).and_then(|port| u16::try_from(port).ok()),
        block2,
        etags: etags(packet).cloned().collect(),
        packet: packet.clone(),
        confirmable,
        at,
    }
}
