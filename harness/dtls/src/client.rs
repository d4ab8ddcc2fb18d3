//! One association as a client.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::handshake::{Message, handshake_type};
use crate::hello::{
    ClientHello, EMPTY_RENEGOTIATION_INFO_SCSV, Extensions, Malformed, Reader, ServerHello, parse_hello_verify_request,
    vector16,
};
use crate::link::{self, Due, Flight, Handshake, Item, Opened, Records};
use crate::output::key_log;
use crate::protection::{CipherSuite, Keys, Negotiated, master_secret, verify_data};
use crate::record::{self, CONTENT_LIMIT, Record, VERSION, content_type};
use crate::{Alert, ClientConfig, ConnectionIds, Established, Failure, Output, Suite};

/// Data that waits for the end of the handshake at most, each direction.
const QUEUE: usize = 64;
/// HelloVerifyRequests that are followed at most before the hello is due again: a server may take no cookie at all.
const MOST_COOKIES: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Waits for a HelloVerifyRequest or a ServerHello.
    Hello,
    /// Waits for the rest of the server's flight.
    ServerFlight {
        key_exchange: bool,
    },
    /// Waits for the server's Finished.
    Finished,
    Established,
    Ended,
}

impl State {
    const fn waiting_for(self) -> &'static str {
        match self {
            Self::Idle | Self::Ended => "nothing",
            Self::Hello => "HelloVerifyRequest or ServerHello",
            Self::ServerFlight { .. } => "ServerHelloDone",
            Self::Finished => "ChangeCipherSpec and Finished",
            Self::Established => "data",
        }
    }

    const fn is_handshake(self) -> bool {
        matches!(self, Self::Hello | Self::ServerFlight { .. } | Self::Finished)
    }
}

/// One association as a client.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: fastrand::Rng,
    state: State,
    records: Records,
    handshake: Handshake,
    flight: Flight,
    hello: ClientHello,
    cookies: u32,
    cookie_seen: bool,
    /// The number of the record with which the last hello was sent first.
    hello_record: u64,
    agreed: Option<(Suite, Negotiated)>,
    connection_ids: Option<ConnectionIds>,
    master: [u8; 48],
    change_cipher_spec: bool,
    /// Data of the server that came before its Finished.
    early: Vec<Bytes>,
    queue: Vec<Vec<u8>>,
    /// Of the association before, whose last records may still come.
    previous: Option<Keys>,
    established: Option<Established>,
    out: VecDeque<Output>,
}

impl Client {
    /// Idle until [`connect`](Self::connect).
    pub fn new(config: ClientConfig, seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            state: State::Idle,
            records: Records::new(true, 0),
            handshake: Handshake::default(),
            flight: Flight::new(config.timings, config.mtu),
            hello: ClientHello::default(),
            cookies: 0,
            cookie_seen: false,
            hello_record: 0,
            agreed: None,
            connection_ids: None,
            master: [0; 48],
            change_cipher_spec: false,
            early: Vec::new(),
            queue: Vec::new(),
            previous: None,
            established: None,
            out: VecDeque::new(),
            config,
        }
    }

    /// What it was told. What is changed holds from the next [`connect`](Self::connect) on.
    pub fn config_mut(&mut self) -> &mut ClientConfig {
        &mut self.config
    }

    /// Begins (again) with a ClientHello, always with a full handshake. What was there before is forgotten without a word.
    pub fn connect(&mut self, now: Duration) {
        self.previous = self.records.keys.take().or_else(|| self.previous.take());
        self.records = Records::new(true, 0);
        self.handshake = Handshake::default();
        self.flight = Flight::new(self.config.timings, self.config.mtu);
        self.cookies = 0;
        self.cookie_seen = false;
        self.agreed = None;
        self.connection_ids = None;
        self.change_cipher_spec = false;
        self.early.clear();
        self.established = None;
        let mut random = [0; 32];
        self.rng.fill(&mut random);
        let mut suites: Vec<u16> = self.config.suites.iter().map(|suite| suite.id()).collect();
        let encrypt_then_mac = self.config.encrypt_then_mac && self.config.suites.contains(&Suite::PskAes128CbcSha256);
        suites.push(EMPTY_RENEGOTIATION_INFO_SCSV);
        self.hello = ClientHello {
            version: VERSION,
            random,
            session_id: Vec::new(),
            cookie: Vec::new(),
            suites,
            compression_methods: vec![0],
            extensions: Extensions {
                extended_master_secret: self.config.extended_master_secret,
                encrypt_then_mac,
                connection_id: self.config.connection_id.clone(),
                ..Extensions::default()
            },
        };
        self.state = State::Hello;
        self.send_hello(now);
    }

    /// Takes a datagram from the server. What is not for this association is left out, as RFC 6347 section 4.1.2.7 wants.
    pub fn handle_datagram(&mut self, now: Duration, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let cid = &self.records.own_cid;
            let known = |rest: &[u8]| (!cid.is_empty() && rest.starts_with(cid)).then_some(cid.len());
            let Some(record) = record::next(&mut rest, &known) else {
                break;
            };
            self.record(now, &record);
        }
    }

    /// Sends application data in one record and one datagram; it is kept until the handshake is complete. False when it is too
    /// long for a record, or too much waits already.
    pub fn send(&mut self, _now: Duration, data: &[u8]) -> bool {
        if data.len() > CONTENT_LIMIT {
            return false;
        }
        if self.state == State::Established {
            self.write(content_type::APPLICATION_DATA, data);
        } else if self.queue.len() < QUEUE {
            self.queue.push(data.to_vec());
        } else {
            return false;
        }
        true
    }

    /// Ends with `close_notify`.
    pub fn close(&mut self, _now: Duration) {
        if self.state == State::Established || self.state.is_handshake() {
            self.alert(Alert::warning(Alert::CLOSE_NOTIFY));
            self.end(Output::Closed);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    pub const fn poll_deadline(&self) -> Option<Duration> {
        self.flight.deadline
    }

    /// Sends the flight again, or gives up.
    pub fn handle_timeout(&mut self, now: Duration) {
        match self.flight.timeout(now) {
            Due::Not => {}
            Due::SendAgain => {
                self.cookies = 0;
                self.send_flight();
            }
            Due::GiveUp(sent) => self.fail(Failure::TimedOut {
                sent,
                waiting_for: self.state.waiting_for(),
            }),
        }
    }

    /// What there is to say next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What was agreed on, while the association stands.
    pub const fn established(&self) -> Option<&Established> {
        self.established.as_ref()
    }

    /// Whether a handshake is under way.
    pub const fn is_connecting(&self) -> bool {
        self.state.is_handshake()
    }

    /// Whether the handshake is complete and the association stands.
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// The first application data of a datagram of this association, sent by this client or by its server. It changes nothing:
    /// neither the window against replays nor anything else knows of it.
    pub fn open(&self, by_client: bool, datagram: &[u8]) -> Option<Bytes> {
        let cid = if by_client {
            &self.records.peer_cid
        } else {
            &self.records.own_cid
        };
        let known = |rest: &[u8]| (!cid.is_empty() && rest.starts_with(cid)).then_some(cid.len());
        let keys = self.records.keys.as_ref().or(self.previous.as_ref())?;
        let mut rest = datagram;
        while let Some(record) = record::next(&mut rest, &known) {
            if record.epoch() == 0 {
                continue;
            }
            let Some(content) = link::open(keys, by_client, &record) else {
                continue;
            };
            if let Some((content_type::APPLICATION_DATA, data)) = link::inner(&record, content) {
                return Some(data.into());
            }
        }
        None
    }

    fn record(&mut self, now: Duration, record: &Record<'_>) {
        if record.epoch() == 0 {
            // nothing in clear counts when the handshake is over: anybody could have sent it
            if self.state.is_handshake() {
                self.clear_record(now, record);
            }
            return;
        }
        match self.records.open(record) {
            Opened::Clear {
                content_type, content, ..
            } => self.content(now, content_type, &content),
            Opened::Replayed => {}
            Opened::Foreign => {
                let is_handshake = matches!(record.content_type, content_type::HANDSHAKE | content_type::TLS12_CID);
                let late = self
                    .previous
                    .as_ref()
                    .is_some_and(|keys| link::open(keys, false, record).is_some());
                if self.state == State::Finished && is_handshake && !late {
                    self.fail(Failure::DecryptError);
                }
            }
        }
    }

    fn clear_record(&mut self, now: Duration, record: &Record<'_>) {
        match record.content_type {
            content_type::HANDSHAKE => {
                if record.fragment.first() == Some(&handshake_type::HELLO_VERIFY_REQUEST) && self.is_stale(record) {
                    return;
                }
                if self.state == State::Finished {
                    // RFC 6347 section 4.2.4.1: the server sends its flight again, so it has not this side's. What else is in clear
                    // now is late or not the server's.
                    let again = self.handshake.receive_again(record.fragment);
                    if again.contains(&handshake_type::SERVER_HELLO_DONE) {
                        self.send_flight();
                    }
                    return;
                }
                self.handshake.receive(record.fragment, |kind| {
                    kind != handshake_type::FINISHED && kind != handshake_type::HELLO_REQUEST
                });
                self.advance(now);
            }
            content_type::CHANGE_CIPHER_SPEC if record.fragment == [1] => {
                self.change_cipher_spec = true;
                self.advance(now);
            }
            content_type::ALERT => self.take_alert(record.fragment),
            _ => {}
        }
    }

    /// Whether a HelloVerifyRequest answers a hello before the last one, as far as its number tells: a server gives it the number of
    /// the hello's record (RFC 6347 section 4.2.1). One that does not is believed when the hello was sent again.
    const fn is_stale(&self, record: &Record<'_>) -> bool {
        self.cookie_seen && self.flight.sent == 1 && record.sequence() < self.hello_record
    }

    fn content(&mut self, now: Duration, kind: u8, content: &[u8]) {
        match kind {
            content_type::HANDSHAKE if self.state == State::Finished => {
                self.handshake.receive(content, |kind| kind == handshake_type::FINISHED);
                self.advance(now);
            }
            content_type::HANDSHAKE if content.first() == Some(&handshake_type::HELLO_REQUEST) => {
                self.alert(Alert::warning(Alert::NO_RENEGOTIATION));
            }
            content_type::APPLICATION_DATA if self.state == State::Established => {
                self.out.push_back(Output::Data(Bytes::copy_from_slice(content)));
            }
            content_type::APPLICATION_DATA if self.early.len() < QUEUE => {
                self.early.push(Bytes::copy_from_slice(content));
            }
            content_type::ALERT => self.take_alert(content),
            _ => {}
        }
    }

    fn take_alert(&mut self, content: &[u8]) {
        let [level, description] = *content else { return };
        let alert = Alert { level, description };
        if alert.description == Alert::CLOSE_NOTIFY {
            self.alert(Alert::warning(Alert::CLOSE_NOTIFY));
            self.end(Output::Closed);
        } else if alert.is_fatal() {
            self.fail(Failure::Alert(alert));
        }
    }

    /// Takes the messages whose turn it is.
    fn advance(&mut self, now: Duration) {
        while self.state.is_handshake() {
            let step = if self.state == State::Hello {
                self.take_hello(now)
            } else {
                let Some(message) = self.handshake.next(self.change_cipher_spec) else {
                    return;
                };
                self.message(now, &message).map(|()| true)
            };
            match step {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => return self.fail(failure),
            }
        }
    }

    /// Takes what answers a ClientHello, if it is there. A server that kept nothing of the first hello may count from 0 or 1.
    fn take_hello(&mut self, now: Duration) -> Result<bool, Failure> {
        if let Some(message) = self.handshake.find(handshake_type::HELLO_VERIFY_REQUEST) {
            let cookie = parse_hello_verify_request(&message.body)?;
            // a server that keeps nothing gives every one of them the same number: the next may hold another cookie
            self.handshake.assembly.forget(message.sequence);
            if cookie != self.hello.cookie && self.cookies < MOST_COOKIES {
                self.cookies += 1;
                self.hello.cookie = cookie;
                self.handshake.forget();
                // neither it nor the hello before it counts (RFC 6347 section 4.2.6)
                self.handshake.transcript.clear();
                let before = (self.flight.sent, self.flight.deadline);
                self.send_hello(now);
                if self.cookie_seen {
                    // the answer to a hello of an attempt before, or a server that changed its mind: no new budget
                    (self.flight.sent, self.flight.deadline) = before;
                }
                self.cookie_seen = true;
            }
            return Ok(true);
        }
        let Some(message) = self.handshake.find(handshake_type::SERVER_HELLO) else {
            return Ok(false);
        };
        // it has the number of the hello that it answers, or at least no higher one
        let last = self.handshake.next_out.saturating_sub(1);
        if message.sequence > last || (message.sequence > 1 && message.sequence < last) {
            self.handshake.assembly.forget(message.sequence);
            return Ok(true);
        }
        self.handshake.next_in = Some(message.sequence.saturating_add(1));
        self.server_hello(&message)?;
        Ok(true)
    }

    fn message(&mut self, now: Duration, message: &Message) -> Result<(), Failure> {
        match (self.state, message.kind) {
            (State::ServerFlight { key_exchange: false }, handshake_type::SERVER_KEY_EXCHANGE) => {
                // a hint, which changes nothing for a client with one identity (RFC 4279 section 5.2)
                let mut reader = Reader::new("ServerKeyExchange", &message.body);
                reader.sized(2)?;
                reader.end()?;
                message.transcript(&mut self.handshake.transcript);
                self.state = State::ServerFlight { key_exchange: true };
                Ok(())
            }
            (State::ServerFlight { .. }, handshake_type::SERVER_HELLO_DONE) => {
                Reader::new("ServerHelloDone", &message.body).end()?;
                message.transcript(&mut self.handshake.transcript);
                self.key_exchange(now)
            }
            (State::Finished, handshake_type::FINISHED) => self.finished(message),
            (state, kind) => Err(Failure::Unexpected {
                kind,
                waiting_for: state.waiting_for(),
            }),
        }
    }

    fn server_hello(&mut self, message: &Message) -> Result<(), Failure> {
        let hello = ServerHello::parse(&message.body)?;
        if hello.version != VERSION {
            return Err(Failure::Version { version: hello.version });
        }
        let offered = Suite::of(hello.suite).filter(|suite| self.config.suites.contains(suite));
        let (Some(suite), Some(cipher)) = (offered, CipherSuite::of(hello.suite)) else {
            return Err(Failure::IllegalParameter {
                what: "the server chose a cipher suite that was not offered",
            });
        };
        if hello.compression_method != 0 {
            return Err(Failure::IllegalParameter {
                what: "the server chose a compression method that was not offered",
            });
        }
        let (answers, offers) = (&hello.extensions, &self.hello.extensions);
        if let Some(extension) = answers.not_offered(offers) {
            return Err(Failure::UnsupportedExtension { extension });
        }
        if answers.renegotiation_info.as_ref().is_some_and(|info| !info.is_empty()) {
            return Err(Failure::IllegalParameter {
                what: "renegotiation_info is not empty in a first handshake",
            });
        }
        if let (Some(own), Some(peer)) = (&offers.connection_id, &answers.connection_id) {
            self.records.own_cid.clone_from(own);
            self.records.peer_cid.clone_from(peer);
            self.connection_ids = Some(ConnectionIds {
                own: own.clone(),
                peer: peer.clone(),
            });
        }
        let negotiated = Negotiated {
            client_random: self.hello.random,
            server_random: hello.random,
            suite: cipher,
            extended_master_secret: answers.extended_master_secret,
            encrypt_then_mac: answers.encrypt_then_mac && suite == Suite::PskAes128CbcSha256,
        };
        self.agreed = Some((suite, negotiated));
        message.transcript(&mut self.handshake.transcript);
        self.state = State::ServerFlight { key_exchange: false };
        Ok(())
    }

    /// ClientKeyExchange, ChangeCipherSpec and Finished.
    fn key_exchange(&mut self, now: Duration) -> Result<(), Failure> {
        let Some((_, negotiated)) = &self.agreed else {
            return Ok(());
        };
        let identity = vector16(&self.config.psk.identity);
        let exchange = self.handshake.message(handshake_type::CLIENT_KEY_EXCHANGE, identity);
        let master = master_secret(negotiated, &self.config.psk.key, Some(&self.handshake.transcript));
        self.master = master.ok_or(Failure::IllegalParameter {
            what: "the pre-shared key is longer than 65535 bytes",
        })?;
        self.out.push_back(key_log(&negotiated.client_random, &self.master));
        self.records.keys = Some(Keys::derive(negotiated, &self.master));
        let verify = verify_data(negotiated.suite, &self.master, true, &self.handshake.transcript);
        let finished = self.handshake.message(handshake_type::FINISHED, verify.to_vec());
        self.records.protects = true;
        // what else came in clear is of another attempt
        self.handshake.inbox.clear();
        self.state = State::Finished;
        let items = vec![Item::Clear(exchange), Item::ChangeCipherSpec, Item::Protected(finished)];
        self.flight.begin(now, items, true);
        self.send_flight();
        Ok(())
    }

    fn finished(&mut self, message: &Message) -> Result<(), Failure> {
        let Some((suite, negotiated)) = &self.agreed else {
            return Ok(());
        };
        let verify = verify_data(negotiated.suite, &self.master, false, &self.handshake.transcript);
        if message.body != verify {
            return Err(Failure::BadFinished);
        }
        let established = Established {
            suite: *suite,
            identity: self.config.psk.identity.clone(),
            connection_ids: self.connection_ids.clone(),
            extended_master_secret: negotiated.extended_master_secret,
            encrypt_then_mac: negotiated.encrypt_then_mac,
        };
        self.state = State::Established;
        self.flight.deadline = None;
        self.previous = None;
        self.established = Some(established.clone());
        self.out.push_back(Output::Established(established));
        self.out.extend(self.early.drain(..).map(Output::Data));
        for data in core::mem::take(&mut self.queue) {
            self.write(content_type::APPLICATION_DATA, &data);
        }
        Ok(())
    }

    fn send_hello(&mut self, now: Duration) {
        let body = self.hello.encode();
        self.hello_record = self.records.next_clear();
        let message = self.handshake.message(handshake_type::CLIENT_HELLO, body);
        self.flight.begin(now, vec![Item::Clear(message)], true);
        self.send_flight();
    }

    fn send_flight(&mut self) {
        let datagrams = self.flight.datagrams(&mut self.records, &mut self.rng);
        self.out.extend(datagrams.into_iter().map(Output::Datagram));
    }

    fn write(&mut self, kind: u8, content: &[u8]) {
        let record = self.records.write(&mut self.rng, kind, content);
        self.out.push_back(Output::Datagram(record.into()));
    }

    fn alert(&mut self, alert: Alert) {
        self.write(content_type::ALERT, &[alert.level, alert.description]);
    }

    fn fail(&mut self, failure: Failure) {
        if let Some(alert) = failure.alert() {
            self.alert(alert);
        }
        self.end(Output::Failed(failure));
    }

    fn end(&mut self, output: Output) {
        self.state = State::Ended;
        self.flight.deadline = None;
        self.previous = self.records.keys.take();
        self.queue.clear();
        self.early.clear();
        self.established = None;
        self.out.push_back(output);
    }
}

impl From<Malformed> for Failure {
    fn from(Malformed { what, offset }: Malformed) -> Self {
        Self::Malformed { what, offset }
    }
}
