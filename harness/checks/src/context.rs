//! What every rule needs to know of a message: whether it is new, a copy, or a message id used again; and for an
//! answer, which request it answers.

use crate::config::Timing;
use crate::facts::{Dissection, Facts, Target, Token};
use crate::hash::{Address, Map, Set};
use crate::memory::Memory;
use crate::report::Ref;
use core::time::Duration;
use fotaproof_trace::{Datagram, Toward};
use fotaproof_wire::coap::{Code, MessageView, Type, peek_header};
use std::collections::hash_map::Entry;
use std::net::SocketAddr;

/// Tokens remembered for a whole case; beyond, an unknown token is not judged any more.
const TOKENS_EVER: usize = 1 << 18;

/// So many tokens are kept before any is looked at again.
const TOKENS_LEAST: usize = 64;

/// Conversations whose message ids are remembered for good: a flood from ever new ports must not fill the memory.
const HEARD: usize = 512;

/// What a message with a message id of its own (CON, NON) is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repeat {
    /// Seen for the first time; also every ACK and RST, which have no message id of their own.
    First,
    /// The same bytes again.
    Copy {
        /// 1 for the first copy.
        number: u32,
        /// Time since the copy before.
        since_previous: Duration,
        /// The interval before that one.
        interval_before: Option<Duration>,
        /// Where the first stands.
        first: Ref,
    },
    /// Other bytes under a message id that still lives.
    Reuse {
        previous: Request,
        /// The message of before was acknowledged, answered or reset.
        was_answered: bool,
        since_first: Duration,
        /// Other messages sent in between.
        between: u64,
    },
    /// Perhaps a copy from an earlier life: nothing to judge by.
    Ambiguous,
}

/// A request (or any CON or NON) as others refer to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) kind: Type,
    pub(crate) code: Code,
    pub(crate) message_id: u16,
    pub(crate) token: Token,
    pub(crate) facts: Facts,
    pub(crate) payload_length: usize,
    /// When its first copy passed.
    pub(crate) at: Duration,
    pub(crate) here: Ref,
    pub(crate) copies: u32,
    /// Its message id lived already: a receiver may take it for the older one.
    pub(crate) ambiguous: bool,
    /// The harness misbehaves on purpose, or the network changed bytes.
    pub(crate) odd: bool,
    pub(crate) life: u32,
}

/// The first answer to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) bytes: u64,
    pub(crate) at: Duration,
    pub(crate) here: Ref,
}

/// One message and what it means in its conversation.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) view: MessageView<'a>,
    pub(crate) kind: Type,
    pub(crate) code: Code,
    pub(crate) message_id: u16,
    pub(crate) token: Token,
    pub(crate) facts: Facts,
    pub(crate) at: Duration,
    pub(crate) here: Ref,
    /// The IUT sent it; otherwise it reached the IUT.
    pub(crate) outgoing: bool,
    /// The harness misbehaves on purpose, or the network changed bytes.
    pub(crate) odd: bool,
    pub(crate) conversation: u32,
    /// Address of the other side.
    pub(crate) peer: SocketAddr,
    pub(crate) life: u32,
    pub(crate) repeat: Repeat,
    /// For ACK, RST and responses: the message that it answers, as far as it is known.
    pub(crate) request: Option<Request>,
    /// The first piggybacked response to that message, when this is not the first.
    pub(crate) earlier_answer: Option<Answer>,
    /// Any message id that reached the IUT matches this ACK or RST.
    pub(crate) id_known: bool,
    /// The token of this response stood in some request.
    pub(crate) token_known: bool,
    /// For a response: requests received with its token (every copy) and responses sent with it, this one included.
    /// None when responses are not counted: observations, lost track.
    pub(crate) tally: Option<(u32, u32)>,
}

impl Message<'_> {
    /// Not seen before, as far as can be told.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self.repeat, Repeat::First | Repeat::Reuse { .. })
    }

    pub(crate) fn is_response(&self) -> bool {
        self.code.is_response()
    }

    /// A response whose request was not odd and stands in the same life; not another answer to a duplicate.
    pub(crate) fn plain_answer(&self) -> Option<&Request> {
        if !self.is_first() || self.earlier_answer.is_some() || !self.code.is_response() {
            return None;
        }
        self.request
            .as_ref()
            .filter(|request| !request.odd && !request.ambiguous && request.life == self.life)
    }

    /// The piece of a body in a block, as a half-open range.
    pub(crate) fn range_of(&self, block: fotaproof_wire::coap::BlockValue) -> (u64, u64) {
        (block.offset(), block.offset() + self.view.payload().len() as u64)
    }
}

#[derive(Debug)]
struct Exchange {
    request: Request,
    bytes: u64,
    last_at: Duration,
    last_interval: Option<Duration>,
    serial: u64,
    answered: bool,
    answer: Option<Answer>,
}

#[derive(Debug)]
struct TokenUse {
    message_id: u16,
    requests: u32,
    responses: u32,
    observe: bool,
    last_at: Duration,
    /// Requests with any token up to the last with this one.
    asked: u64,
}

/// How long anything is remembered.
#[derive(Clone, Copy, Debug)]
struct Keep {
    now: Duration,
    time: Duration,
    asked: u64,
    remember: usize,
}

impl Keep {
    /// Neither too old, nor are there too many requests after it.
    fn holds(&self, token: &TokenUse) -> bool {
        token.last_at + self.time > self.now && self.asked - token.asked < self.remember as u64
    }
}

#[derive(Debug)]
struct Conversation {
    /// One bit for each message id that ever reached the IUT; none for conversations beyond a bound.
    heard: Option<Box<[u64; 1024]>>,
    serial: u64,
    last_out: Option<Duration>,
}

/// A message id in a conversation, one way.
fn key_of(conversation: u32, outgoing: bool, message_id: u16) -> u64 {
    u64::from(conversation) << 17 | u64::from(outgoing) << 16 | u64::from(message_id)
}

/// Tokens of conversations, each way on its own.
type Tokens = Map<(u64, Token), TokenUse>;

/// Memory of all conversations of the IUT; what is older than any lifetime is forgotten.
#[derive(Debug)]
pub(crate) struct Context {
    /// Exchanges and tokens remembered at the most.
    remember: usize,
    ids: Map<(Address, Address), u32>,
    last_pair: Option<((SocketAddr, SocketAddr), u32)>,
    conversations: Vec<Conversation>,
    exchanges: Memory<Exchange>,
    tokens: Tokens,
    /// Requests with a token so far.
    asked: u64,
    /// Tokens that do not hold any more are taken out when there are so many.
    tokens_full: usize,
    tokens_ever: Set<Token>,
    life: u32,
}

impl Context {
    /// With a bound on the exchanges that are remembered. A bounded memory is one of a capture, where an unknown message
    /// id or token proves nothing: they are not kept at all.
    pub(crate) fn new(remember: usize) -> Self {
        Self {
            remember,
            ids: Map::default(),
            last_pair: None,
            conversations: Vec::new(),
            exchanges: Memory::new(remember),
            tokens: Map::default(),
            asked: 0,
            tokens_full: TOKENS_LEAST,
            tokens_ever: Set::default(),
            life: 0,
        }
    }

    /// A new life of the IUT.
    pub(crate) fn begin_life(&mut self) {
        self.life += 1;
    }

    /// When the IUT last sent anything in a conversation.
    pub(crate) fn last_out(&self, conversation: u32) -> Option<Duration> {
        self.conversations
            .get(conversation as usize)
            .and_then(|conversation| conversation.last_out)
    }

    /// The conversation of a datagram at the IUT's end, and the address of the other side in it.
    fn place_of(&mut self, datagram: &Datagram) -> (u32, SocketAddr) {
        let pair = if datagram.toward == Toward::Peer {
            (datagram.src, datagram.dst)
        } else {
            (datagram.dst, datagram.src)
        };
        (self.conversation(pair), pair.1)
    }

    /// A datagram that is no message reached the IUT: it may be answered all the same, by its header.
    pub(crate) fn take_malformed(&mut self, datagram: &Datagram) {
        if let Some((_, _, _, _, id)) = peek_header(&datagram.payload) {
            let (conversation, _) = self.place_of(datagram);
            self.hear(conversation, id);
        }
    }

    /// Takes a dissected message at the IUT's end and finds its place.
    pub(crate) fn take<'a>(
        &mut self,
        event: u64,
        at: Duration,
        datagram: &Datagram,
        view: MessageView<'a>,
        read: &Dissection,
        timing: &Timing,
    ) -> Message<'a> {
        let keep = Keep {
            now: at,
            time: timing.exchange_lifetime.max(timing.non_lifetime) + timing.tolerance * 2,
            asked: self.asked,
            remember: self.remember,
        };
        self.expire(&keep);
        let outgoing = datagram.toward == Toward::Peer;
        let (conversation, peer) = self.place_of(datagram);
        let mut message = Message {
            view,
            kind: read.kind,
            code: read.code,
            message_id: read.message_id,
            token: read.token,
            facts: read.facts,
            at,
            here: Ref {
                event,
                datagram: datagram.datagram,
            },
            outgoing,
            odd: !outgoing && (datagram.planned || datagram.altered),
            conversation,
            peer,
            life: self.life,
            repeat: Repeat::First,
            request: None,
            earlier_answer: None,
            id_known: true,
            token_known: true,
            tally: None,
        };
        if matches!(message.kind, Type::Con | Type::Non) {
            if !outgoing {
                self.hear(conversation, message.message_id);
            }
            self.place(&mut message, read.bytes, timing);
        }
        let registers = outgoing && message.code == Code::POST && message.facts.target == Target::Register;
        if registers && message.is_first() {
            self.register(&mut message);
        }
        if message.code.is_request() {
            self.ask(&message, &keep);
        } else {
            self.answer(&mut message, read.bytes, &keep);
        }
        if outgoing && let Some(state) = self.conversations.get_mut(conversation as usize) {
            state.last_out = Some(at);
        }
        message
    }

    /// A Register may be the first sign of a reboot: what the IUT forgot with it, its message ids among that, is not
    /// held against it.
    fn register(&mut self, message: &mut Message<'_>) {
        self.begin_life();
        message.life = self.life;
        message.repeat = Repeat::First;
        let key = key_of(message.conversation, true, message.message_id);
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.request.life = self.life;
        }
    }

    fn conversation(&mut self, pair: (SocketAddr, SocketAddr)) -> u32 {
        if let Some((last, id)) = self.last_pair
            && last == pair
        {
            return id;
        }
        let next = self.conversations.len() as u32;
        let id = *self.ids.entry((Address(pair.0), Address(pair.1))).or_insert(next);
        if id == next {
            let heard = (self.conversations.len() < HEARD && self.remember == usize::MAX).then(|| Box::new([0; 1024]));
            self.conversations.push(Conversation {
                heard,
                serial: 0,
                last_out: None,
            });
        }
        self.last_pair = Some((pair, id));
        id
    }

    fn hear(&mut self, conversation: u32, id: u16) {
        let conversation = self.conversations.get_mut(conversation as usize);
        if let Some(heard) = conversation.and_then(|conversation| conversation.heard.as_mut()) {
            heard[usize::from(id >> 6)] |= 1 << (id & 63);
        }
    }

    /// The message id reached the IUT, or nobody can tell.
    fn heard(&self, conversation: u32, id: u16) -> bool {
        let conversation = self.conversations.get(conversation as usize);
        let heard = conversation.and_then(|conversation| conversation.heard.as_ref());
        heard.is_none_or(|heard| heard[usize::from(id >> 6)] & (1 << (id & 63)) != 0)
    }

    /// Sorts a CON or NON among those with its message id.
    fn place(&mut self, message: &mut Message<'_>, bytes: u64, timing: &Timing) {
        let key = key_of(message.conversation, message.outgoing, message.message_id);
        let serial = self
            .conversations
            .get_mut(message.conversation as usize)
            .map_or(0, |conversation| {
                conversation.serial += 1;
                conversation.serial
            });
        let mut ambiguous = false;
        if let Some(old) = self.exchanges.get_mut(key) {
            let lifetime = if old.request.kind == Type::Con {
                timing.exchange_lifetime
            } else {
                timing.non_lifetime
            };
            let since_first = message.at.saturating_sub(old.request.at);
            let alive = since_first + timing.tolerance < lifetime;
            // Between "surely alive" and "surely dead" nothing can be told.
            let unsure = !alive && since_first < lifetime + timing.tolerance;
            if alive || unsure {
                if old.bytes == bytes {
                    let since_previous = message.at.saturating_sub(old.last_at);
                    old.request.copies += 1;
                    let first_life = old.request.life == message.life;
                    message.repeat = if first_life && alive {
                        Repeat::Copy {
                            number: old.request.copies - 1,
                            since_previous,
                            interval_before: old.last_interval,
                            first: old.request.here,
                        }
                    } else {
                        Repeat::Ambiguous
                    };
                    old.last_at = message.at;
                    old.last_interval = Some(since_previous);
                    return;
                }
                if old.request.life == message.life && alive {
                    message.repeat = Repeat::Reuse {
                        previous: old.request,
                        was_answered: old.answered,
                        since_first,
                        between: serial - old.serial - 1,
                    };
                }
                ambiguous = true;
            }
        }
        let request = Request {
            kind: message.kind,
            code: message.code,
            message_id: message.message_id,
            token: message.token,
            facts: message.facts,
            payload_length: message.view.payload().len(),
            at: message.at,
            here: message.here,
            copies: 1,
            ambiguous,
            odd: message.odd,
            life: message.life,
        };
        let exchange = Exchange {
            request,
            bytes,
            last_at: message.at,
            last_interval: None,
            serial,
            answered: false,
            answer: None,
        };
        self.exchanges.push(key, exchange);
    }

    /// Remembers with which token is asked.
    fn ask(&mut self, message: &Message<'_>, keep: &Keep) {
        if self.tokens_ever.len() < TOKENS_EVER && self.remember == usize::MAX {
            self.tokens_ever.insert(message.token);
        }
        if self.tokens.len() >= self.tokens_full {
            self.tokens.retain(|_, token| keep.holds(token));
            self.tokens_full = (self.tokens.len() * 2).max(TOKENS_LEAST);
        }
        let fresh = TokenUse {
            message_id: message.message_id,
            requests: 0,
            responses: 0,
            observe: false,
            last_at: message.at,
            asked: 0,
        };
        self.asked += 1;
        match self
            .tokens
            .entry(token_key(message.conversation, message.outgoing, message.token))
        {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                if !keep.holds(known) {
                    *known = fresh;
                }
                known.asked_with(message, self.asked);
            }
            Entry::Vacant(place) => place.insert(fresh).asked_with(message, self.asked),
        }
    }

    /// Finds what a response, an ACK or a RST answers.
    fn answer(&mut self, message: &mut Message<'_>, bytes: u64, keep: &Keep) {
        let conversation = message.conversation;
        let by_id = matches!(message.kind, Type::Ack | Type::Rst);
        let asked = !message.outgoing;
        let key = token_key(conversation, asked, message.token);
        let message_id = if by_id {
            if message.outgoing {
                message.id_known = self.heard(conversation, message.message_id);
            }
            Some(message.message_id)
        } else {
            let known = self.tokens.get(&key).filter(|entry| keep.holds(entry));
            known.map(|entry| entry.message_id)
        };
        if message.code.is_response() {
            let forgetful = self.remember < usize::MAX || self.tokens_ever.len() >= TOKENS_EVER;
            message.token_known = forgetful || self.tokens_ever.contains(&message.token);
            let repeated = matches!(message.repeat, Repeat::Copy { .. } | Repeat::Ambiguous);
            if !repeated && let Some(entry) = self.tokens.get_mut(&key).filter(|entry| keep.holds(entry)) {
                entry.responses += 1;
                message.tally = (!entry.observe).then_some((entry.requests, entry.responses));
            }
        }
        let Some(message_id) = message_id else { return };
        let Some(exchange) = self.exchanges.get_mut(key_of(conversation, asked, message_id)) else {
            return;
        };
        if !by_id && !exchange.request.code.is_request() {
            return;
        }
        message.request = Some(exchange.request);
        exchange.answered = true;
        if by_id && message.code.is_response() {
            message.earlier_answer = exchange.answer;
            if exchange.answer.is_none() {
                exchange.answer = Some(Answer {
                    code: message.code,
                    bytes,
                    at: message.at,
                    here: message.here,
                });
            }
        }
    }

    fn expire(&mut self, keep: &Keep) {
        while let Some(oldest) = self.exchanges.oldest() {
            if oldest.request.at + keep.time > keep.now && self.exchanges.len() <= keep.remember {
                break;
            }
            self.exchanges.forget_oldest();
        }
    }
}

impl TokenUse {
    fn asked_with(&mut self, message: &Message<'_>, asked: u64) {
        self.message_id = message.message_id;
        self.requests += 1;
        self.observe |= message.facts.observe.is_some();
        self.last_at = message.at;
        self.asked = asked;
    }
}

fn token_key(conversation: u32, outgoing: bool, token: Token) -> (u64, Token) {
    (u64::from(conversation) << 1 | u64::from(outgoing), token)
}
