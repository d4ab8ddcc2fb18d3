//! Requests of both sides of a cell and what came of them, as the link saw it.
//!
//! A check knows one side and its clauses. Whose fault it is that an update got stuck is a question about both, so the cell keeps a
//! short record of every exchange; [`super::blame`] reads it when the cell is over.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use fotaproof_checks::facts::{Facts, Target, Token};
use fotaproof_trace::{Datagram, Point, Toward};
use fotaproof_wire::coap::{Code, MessageView, Type, option};

use super::plan::Role;

/// Requests remembered; a package of 1 MiB in blocks of 16 bytes has half as many.
const MOST: usize = 1 << 17;
/// Datagrams under way whose delivery is awaited.
const UNDER_WAY: usize = 1 << 12;
/// Bytes of a short payload that is kept: a URI, a State.
const SHORT: usize = 255;

/// What came back for a request.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) code: Code,
    pub(super) facts: Facts,
    /// When it was sent.
    pub(super) at: Duration,
    pub(super) datagram: u64,
    /// A copy of it reached who asked.
    pub(super) delivered: bool,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) by: Role,
    /// The other end is the harness's repository.
    pub(super) of_harness: bool,
    /// Where it came from and went to.
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) confirmable: bool,
    pub(super) code: Code,
    pub(super) facts: Facts,
    pub(super) length: u64,
    /// Its payload, or the endpoint name of a Register, where it is short text.
    pub(super) text: Option<String>,
    /// A Register that asks for queue mode.
    pub(super) queue: bool,
    /// When it was sent first.
    pub(super) at: Duration,
    pub(super) datagram: u64,
    pub(super) copies: u32,
    /// When its copies reached the other side.
    pub(super) delivered: Vec<Duration>,
    pub(super) token: Token,
    /// How often the other side sent anything for it.
    pub(super) answers: usize,
    /// An empty Acknowledgement or a Reset was sent, or an answer under another token.
    pub(super) acknowledged: bool,
    pub(super) reset: bool,
    /// Who asked sent a Reset to the answer.
    pub(super) rejected: Option<u64>,
    pub(super) reply: Option<Reply>,
}

impl Asked {
    /// The other side sent something for it, whether it arrived or not.
    pub(super) const fn is_answered(&self) -> bool {
        self.acknowledged || self.reset || self.reply.is_some()
    }

    /// It is about this resource of the firmware object.
    pub(super) fn is_firmware(&self, resource: u16) -> bool {
        self.facts.target.is_resource(5, resource)
    }

    /// Its reply, if that arrived.
    pub(super) fn arrived(&self) -> Option<&Reply> {
        self.reply.as_ref().filter(|reply| reply.delivered)
    }
}

/// The requests of a cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    asked: Vec<Asked>,
    by_token: BTreeMap<(Role, Token), usize>,
    by_id: BTreeMap<(Role, u16), usize>,
    /// Which request a datagram is of, and whether it is a copy of it or its reply.
    under_way: BTreeMap<u64, (usize, bool)>,
    /// When each side sent something last.
    pub(super) spoke: [Option<Duration>; 2],
    /// When the server was told that State is 2, Downloaded, and by which datagram.
    pub(super) told_downloaded: Option<(Duration, u64)>,
    /// More was asked than is remembered: nothing can be said.
    pub(super) is_cut: bool,
}

impl Log {
    /// Of these requests.
    #[cfg(test)]
    pub(super) fn of_all(asked: Vec<Asked>) -> Self {
        Self {
            asked,
            ..Self::default()
        }
    }

    /// All requests in the order in which they were sent first.
    pub(super) fn all(&self) -> &[Asked] {
        &self.asked
    }

    /// The requests of one side.
    pub(super) fn of(&self, by: Role) -> impl DoubleEndedIterator<Item = &Asked> {
        self.asked.iter().filter(move |asked| asked.by == by)
    }

    /// The datagrams by which requests and replies are named.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = u64> {
        let replies = self
            .asked
            .iter()
            .filter_map(|asked| Some(asked.reply.as_ref()?.datagram));
        let told = self.told_downloaded.map(|(_, datagram)| datagram);
        let rejected = self.asked.iter().filter_map(|asked| asked.rejected);
        let asked = self.asked.iter().map(|asked| asked.datagram);
        asked.chain(replies).chain(told).chain(rejected)
    }

    /// Where to look first when nothing is known: the last error that was answered, else what was sent last.
    pub(super) fn stops_at(&self) -> Option<u64> {
        let replies = self.asked.iter().filter_map(|asked| asked.reply.as_ref());
        let errors = replies.filter(|reply| reply.code.is_error());
        errors
            .map(|reply| reply.datagram)
            .max()
            .or_else(|| self.datagrams().max())
    }

    /// Takes a datagram that enters or leaves the link. `aside` is the harness's repository.
    pub(super) fn on_datagram(&mut self, now: Duration, datagram: &Datagram, aside: Option<SocketAddr>) {
        let from_client = datagram.toward == Toward::Peer;
        let enters = (datagram.point == Point::Iut) == from_client;
        if !enters {
            return self.delivered(now, datagram);
        }
        let by = if from_client { Role::Client } else { Role::Server };
        let Ok(view) = MessageView::parse(&datagram.payload) else {
            return;
        };
        let of_harness = Some(datagram.src) == aside || Some(datagram.dst) == aside;
        if !of_harness {
            self.spoke[by as usize] = Some(now);
        }
        if view.code().is_request() {
            self.ask(now, datagram, &view, by, of_harness);
        } else {
            self.answer(now, datagram, &view, by);
        }
    }

    fn ask(&mut self, now: Duration, datagram: &Datagram, view: &MessageView<'_>, by: Role, of_harness: bool) {
        let (token, id) = (Token::new(view.token()), view.message_id());
        if let (Some(&same), Some(&known)) = (self.by_id.get(&(by, id)), self.by_token.get(&(by, token)))
            && same == known
            && self.asked[same].code == view.code()
        {
            self.asked[same].copies += 1;
            self.remember(datagram.datagram, same, true);
            return;
        }
        if self.asked.len() >= MOST {
            self.is_cut = true;
            return;
        }
        let facts = Facts::of(view);
        let queries = || view.options_of(option::URI_QUERY).map(|query| query.value);
        let text = if facts.target == Target::Register {
            queries().find_map(|query| query.strip_prefix(b"ep="))
        } else {
            Some(view.payload()).filter(|payload| payload.len() <= SHORT)
        };
        let index = self.asked.len();
        self.asked.push(Asked {
            by,
            of_harness,
            from: datagram.src,
            to: datagram.dst,
            confirmable: view.kind() == Type::Con,
            code: view.code(),
            facts,
            length: view.payload().len() as u64,
            text: text.map(|text| String::from_utf8_lossy(text).into_owned()),
            queue: queries().any(|query| query == b"Q" || query.strip_prefix(b"b=").is_some_and(|b| b.contains(&b'Q'))),
            at: now,
            datagram: datagram.datagram,
            copies: 1,
            delivered: Vec::new(),
            token,
            answers: 0,
            acknowledged: false,
            reset: false,
            rejected: None,
            reply: None,
        });
        self.by_token.insert((by, token), index);
        self.by_id.insert((by, id), index);
        self.remember(datagram.datagram, index, true);
    }

    fn answer(&mut self, now: Duration, datagram: &Datagram, view: &MessageView<'_>, by: Role) {
        let other = by.other();
        let of_id = self.by_id.get(&(other, view.message_id())).copied();
        if view.code().is_empty() {
            match (view.kind(), of_id) {
                (Type::Ack, Some(index)) => {
                    self.asked[index].acknowledged = true;
                    self.asked[index].answers += 1;
                }
                (Type::Rst, found) => {
                    if let Some(index) = found {
                        self.asked[index].reset = true;
                    }
                    // a Reset to an answer that came in an Acknowledgement has the message id of the request
                    let own = self.by_id.get(&(by, view.message_id())).copied();
                    if let Some(index) = own.filter(|index| self.asked[*index].arrived().is_some()) {
                        self.asked[index].rejected.get_or_insert(datagram.datagram);
                    }
                }
                _ => {}
            }
            return;
        }
        if !view.code().is_response() {
            return;
        }
        let found = match view.kind() {
            Type::Ack => of_id,
            _ => self.by_token.get(&(other, Token::new(view.token()))).copied(),
        };
        let Some(index) = found else { return };
        let asked = &mut self.asked[index];
        asked.answers += 1;
        if asked.token != Token::new(view.token()) {
            // who asked cannot take it for an answer
            asked.acknowledged = true;
            return;
        }
        self.remember(datagram.datagram, index, false);
        let asked = &mut self.asked[index];
        if asked.reply.is_none() {
            asked.reply = Some(Reply {
                code: view.code(),
                facts: Facts::of(view),
                at: now,
                datagram: datagram.datagram,
                delivered: false,
            });
        }
    }

    fn remember(&mut self, datagram: u64, index: usize, copy: bool) {
        self.under_way.insert(datagram, (index, copy));
        if self.under_way.len() > UNDER_WAY {
            self.under_way.pop_first();
        }
    }

    fn delivered(&mut self, now: Duration, datagram: &Datagram) {
        let Some((index, copy)) = self.under_way.remove(&datagram.datagram) else {
            return;
        };
        let asked = &mut self.asked[index];
        if copy {
            asked.delivered.push(now);
            return;
        }
        if let Some(reply) = &mut asked.reply {
            reply.delivered = true;
        }
        if asked.by == Role::Server && asked.is_firmware(3) && self.told_downloaded.is_none() {
            let payload = MessageView::parse(&datagram.payload).map(|view| view.payload().to_vec());
            if payload.is_ok_and(|payload| says_downloaded(&payload)) {
                self.told_downloaded = Some((now, datagram.datagram));
            }
        }
    }
}

/// State 2 as text, or as the TLV of the resource alone (LwM2M 1.0, section 6.4.3); other forms say nothing here.
fn says_downloaded(payload: &[u8]) -> bool {
    payload == b"2" || payload == [0xc1, 3, 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn datagram(number: u64, from_client: bool, enters: bool, payload: &[u8]) -> Datagram {
        let (client, server): (SocketAddr, SocketAddr) =
            (([192, 0, 2, 2], 50_000).into(), ([192, 0, 2, 1], 5683).into());
        let (src, dst) = if from_client {
            (client, server)
        } else {
            (server, client)
        };
        Datagram {
            point: if from_client == enters { Point::Iut } else { Point::Peer },
            toward: if from_client { Toward::Peer } else { Toward::Iut },
            datagram: number,
            src,
            dst,
            payload: Bytes::copy_from_slice(payload),
            packets: 1,
            largest: 64,
            altered: false,
            planned: false,
        }
    }

    /// GET /5/0/3, message 7, token aa.
    const READ: &[u8] = &[0x41, 1, 0, 7, 0xaa, 0xb1, b'5', 0x01, b'0', 0x01, b'3'];
    /// Its answer, 2.05 with State 2.
    const TWO: &[u8] = &[0x61, 69, 0, 7, 0xaa, 0xff, b'2'];

    #[test]
    fn a_request_knows_its_copies_and_its_answer() {
        let mut log = Log::default();
        let at = Duration::from_secs;
        log.on_datagram(at(1), &datagram(1, false, true, READ), None);
        log.on_datagram(at(3), &datagram(2, false, true, READ), None);
        log.on_datagram(at(4), &datagram(2, false, false, READ), None);
        assert_eq!(log.all().len(), 1);
        let asked = &log.all()[0];
        assert_eq!(
            (asked.by, asked.copies, asked.delivered.as_slice()),
            (Role::Server, 2, &[at(4)][..])
        );
        assert!(asked.is_firmware(3) && !asked.is_answered());
        log.on_datagram(at(5), &datagram(3, true, true, TWO), None);
        assert!(log.all()[0].is_answered() && log.all()[0].arrived().is_none());
        assert_eq!(log.told_downloaded, None, "it did not arrive yet");
        log.on_datagram(at(6), &datagram(3, true, false, TWO), None);
        assert_eq!(log.all()[0].arrived().map(|reply| reply.datagram), Some(3));
        assert_eq!(log.told_downloaded, Some((at(6), 3)));
    }

    #[test]
    fn a_reset_to_an_answer_is_no_answer() {
        let mut log = Log::default();
        let at = Duration::from_secs;
        log.on_datagram(at(1), &datagram(1, true, true, READ), None);
        for enters in [true, false] {
            log.on_datagram(at(2), &datagram(2, false, enters, TWO), None);
        }
        log.on_datagram(at(3), &datagram(3, true, true, &[0x70, 0, 0, 7]), None);
        assert_eq!(log.all()[0].rejected, Some(3));
        assert!(!log.all()[0].reset);
    }

    #[test]
    fn another_request_under_the_same_message_id_is_another() {
        let mut log = Log::default();
        let mut other = READ.to_vec();
        other[4] = 0xab;
        log.on_datagram(Duration::ZERO, &datagram(1, false, true, READ), None);
        log.on_datagram(Duration::ZERO, &datagram(2, false, true, &other), None);
        assert_eq!(log.all().len(), 2);
    }
}
