//! One association of a server.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::handshake::{Message, handshake_type};
use crate::hello::Reader;
use crate::link::{Due, Flight, Handshake, Item, Opened, Records};
use crate::output::key_log;
use crate::protection::{Keys, Negotiated, master_secret, verify_data};
use crate::record::{Record, content_type};
use crate::{Alert, ConnectionIds, Established, Failure, Output, ServerConfig, Suite, UnknownIdentities};

/// Protected records that wait for the keys at most: a Finished and what came around it.
const EARLY: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for the ClientKeyExchange.
    KeyExchange,
    /// Waits for the client's Finished.
    Finished,
    Established,
    /// The handshake failed; whoever goes on with it is told so again.
    Failed(Alert),
    /// Nothing more comes of it.
    Gone,
}

/// A protected record that came before its keys.
#[derive(Debug)]
struct Early {
    content_type: u8,
    version: [u8; 2],
    number: [u8; 8],
    cid: Vec<u8>,
    fragment: Vec<u8>,
}

/// What came of a protected record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// It does not open with the keys of this association.
    Foreign,
}

/// One association of a server.
#[derive(Debug)]
pub(super) struct Association {
    pub(super) address: SocketAddr,
    pub(super) state: State,
    pub(super) client_random: [u8; 32],
    pub(super) hello_sequence: u16,
    pub(super) records: Records,
    pub(super) identity: Vec<u8>,
    pub(super) established: Option<Established>,
    pub(super) out: Vec<Output>,
    /// The deadline that the server knows of.
    pub(super) listed: Option<Duration>,
    /// Until when a failed one answers.
    failed_until: Option<Duration>,
    flight: Flight,
    handshake: Handshake,
    suite: Suite,
    negotiated: Negotiated,
    connection_ids: Option<ConnectionIds>,
    master: [u8; 48],
    change_cipher_spec: bool,
    early: Vec<Early>,
}

/// What a ClientHello led to.
pub(super) struct Hello<'a> {
    pub(super) message: &'a Message,
    /// The number of its record, with which the server's begin (RFC 6347 section 4.2.1).
    pub(super) record: u64,
    pub(super) suite: Suite,
    pub(super) negotiated: Negotiated,
    pub(super) connection_ids: Option<ConnectionIds>,
    /// The body of the ServerHello.
    pub(super) answer: Vec<u8>,
}

impl Association {
    /// Answers a ClientHello with the server's flight.
    pub(super) fn begin(
        now: Duration,
        address: SocketAddr,
        hello: Hello<'_>,
        config: &ServerConfig,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let mut records = Records::new(false, hello.record);
        if let Some(ids) = &hello.connection_ids {
            records.own_cid.clone_from(&ids.own);
            records.peer_cid.clone_from(&ids.peer);
        }
        let mut handshake = Handshake {
            next_in: Some(hello.message.sequence.saturating_add(1)),
            next_out: hello.message.sequence,
            ..Handshake::default()
        };
        hello.message.transcript(&mut handshake.transcript);
        let mut items = vec![Item::Clear(
            handshake.message(handshake_type::SERVER_HELLO, hello.answer),
        )];
        if let Some(hint) = &config.identity_hint {
            let hint = crate::hello::vector16(hint);
            items.push(Item::Clear(
                handshake.message(handshake_type::SERVER_KEY_EXCHANGE, hint),
            ));
        }
        items.push(Item::Clear(
            handshake.message(handshake_type::SERVER_HELLO_DONE, Vec::new()),
        ));
        let mut association = Self {
            address,
            state: State::KeyExchange,
            client_random: hello.negotiated.client_random,
            hello_sequence: hello.message.sequence,
            records,
            identity: Vec::new(),
            established: None,
            out: Vec::new(),
            listed: None,
            failed_until: None,
            flight: Flight::new(config.timings, config.mtu),
            handshake,
            suite: hello.suite,
            negotiated: hello.negotiated,
            connection_ids: hello.connection_ids,
            master: [0; 48],
            change_cipher_spec: false,
            early: Vec::new(),
        };
        association.flight.begin(now, items, true);
        association.send_flight(rng);
        association
    }

    /// When [`timeout`](Self::timeout) is wanted.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.failed_until.or(self.flight.deadline)
    }

    /// Sends the flight again, or gives up, which is no failure for a handshake that began with a `late` hello.
    pub(super) fn timeout(&mut self, now: Duration, rng: &mut fastrand::Rng, late: bool) {
        if self.failed_until.is_some_and(|until| until <= now) {
            self.state = State::Gone;
            self.failed_until = None;
        }
        match self.flight.timeout(now) {
            Due::Not => {}
            Due::SendAgain => self.send_flight(rng),
            Due::GiveUp(sent) => {
                let waiting_for = self.waiting_for();
                if !late {
                    self.out.push(Output::Failed(Failure::TimedOut { sent, waiting_for }));
                }
                self.state = State::Gone;
            }
        }
    }

    const fn waiting_for(&self) -> &'static str {
        match self.state {
            State::KeyExchange => "ClientKeyExchange",
            _ => "ChangeCipherSpec and Finished",
        }
    }

    pub(super) const fn is_handshake(&self) -> bool {
        matches!(self.state, State::KeyExchange | State::Finished)
    }

    /// The client sends its hello again.
    pub(super) fn hello_again(&mut self, rng: &mut fastrand::Rng) {
        match self.state {
            State::KeyExchange => self.send_flight(rng),
            State::Failed(alert) => self.alert(rng, alert),
            _ => {}
        }
    }

    /// A record in clear.
    pub(super) fn clear_record(
        &mut self,
        now: Duration,
        record: &Record<'_>,
        config: &ServerConfig,
        rng: &mut fastrand::Rng,
    ) {
        match (self.state, record.content_type) {
            (State::Failed(alert), content_type::HANDSHAKE) => self.alert(rng, alert),
            // after the key exchange nothing in clear counts: it is late, or not the client's
            (State::KeyExchange, content_type::HANDSHAKE) => {
                self.handshake
                    .receive(record.fragment, |kind| kind != handshake_type::FINISHED);
                self.advance(now, config, rng);
            }
            (State::KeyExchange | State::Finished, content_type::CHANGE_CIPHER_SPEC) if record.fragment == [1] => {
                self.change_cipher_spec = true;
                self.advance(now, config, rng);
            }
            (State::KeyExchange | State::Finished, content_type::ALERT) => self.take_alert(record.fragment, rng),
            _ => {}
        }
    }

    /// A protected record from an address.
    pub(super) fn protected_record(
        &mut self,
        now: Duration,
        from: SocketAddr,
        record: &Record<'_>,
        config: &ServerConfig,
        rng: &mut fastrand::Rng,
    ) -> Verdict {
        match self.state {
            State::Gone => return Verdict::Foreign,
            State::Failed(alert) => {
                if record.content_type != content_type::APPLICATION_DATA {
                    self.alert(rng, alert);
                }
                return Verdict::Taken;
            }
            State::KeyExchange => {
                // it overtook the ClientKeyExchange
                if self.early.len() < EARLY {
                    self.early.push(Early {
                        content_type: record.content_type,
                        version: record.version,
                        number: record.number,
                        cid: record.cid.to_vec(),
                        fragment: record.fragment.to_vec(),
                    });
                }
                return Verdict::Taken;
            }
            State::Finished | State::Established => {}
        }
        match self.records.open(record) {
            Opened::Foreign => Verdict::Foreign,
            Opened::Replayed => Verdict::Taken,
            Opened::Clear {
                content_type,
                content,
                newest,
            } => {
                if from != self.address {
                    // RFC 9146 section 6: authentic by now, and it must be newer than anything else; a handshake does not move
                    if self.state != State::Established || record.cid.is_empty() {
                        return Verdict::Taken;
                    }
                    if newest {
                        self.out.push(Output::Moved { from: self.address });
                        self.address = from;
                    }
                }
                self.content(now, content_type, &content, config, rng);
                Verdict::Taken
            }
        }
    }

    fn content(&mut self, now: Duration, kind: u8, content: &[u8], config: &ServerConfig, rng: &mut fastrand::Rng) {
        match (kind, self.state) {
            (content_type::HANDSHAKE, State::Finished) => {
                self.handshake.receive(content, |kind| kind == handshake_type::FINISHED);
                self.advance(now, config, rng);
            }
            (content_type::HANDSHAKE, State::Established) => {
                if content.first() == Some(&handshake_type::CLIENT_HELLO) {
                    self.alert(rng, Alert::warning(Alert::NO_RENEGOTIATION));
                    return;
                }
                let again = self.handshake.receive(content, |kind| kind == handshake_type::FINISHED);
                if again.contains(&handshake_type::FINISHED) {
                    // RFC 6347 section 4.2.4: the client has not got the last flight
                    self.send_flight(rng);
                }
            }
            (content_type::APPLICATION_DATA, State::Established) => {
                self.out.push(Output::Data(Bytes::copy_from_slice(content)));
            }
            (content_type::ALERT, _) => self.take_alert(content, rng),
            _ => {}
        }
    }

    fn take_alert(&mut self, content: &[u8], rng: &mut fastrand::Rng) {
        let [level, description] = *content else { return };
        let alert = Alert { level, description };
        if alert.description == Alert::CLOSE_NOTIFY {
            self.close(rng);
        } else if alert.is_fatal() {
            self.out.push(Output::Failed(Failure::Alert(alert)));
            self.state = State::Gone;
        }
    }

    /// Ends with `close_notify`, or answers one.
    pub(super) fn close(&mut self, rng: &mut fastrand::Rng) {
        self.alert(rng, Alert::warning(Alert::CLOSE_NOTIFY));
        self.out.push(Output::Closed);
        self.state = State::Gone;
    }

    /// Takes the messages whose turn it is.
    fn advance(&mut self, now: Duration, config: &ServerConfig, rng: &mut fastrand::Rng) {
        while self.is_handshake() {
            let Some(message) = self.handshake.next(self.change_cipher_spec) else {
                return;
            };
            let step = match (self.state, message.kind) {
                (State::KeyExchange, handshake_type::CLIENT_KEY_EXCHANGE) => self.key_exchange(&message, config, rng),
                (State::Finished, handshake_type::FINISHED) => self.finished(now, &message, rng),
                (_, kind) => Err(Failure::Unexpected {
                    kind,
                    waiting_for: self.waiting_for(),
                }),
            };
            if let Err(failure) = step {
                return self.fail(now, failure, config, rng);
            }
            if message.kind == handshake_type::CLIENT_KEY_EXCHANGE {
                for early in core::mem::take(&mut self.early) {
                    let record = Record {
                        content_type: early.content_type,
                        version: early.version,
                        number: early.number,
                        cid: &early.cid,
                        fragment: &early.fragment,
                    };
                    // what overtook the key exchange may also be late from the association before: no reason to give up
                    let _ = self.protected_record(now, self.address, &record, config, rng);
                }
            }
        }
    }

    fn key_exchange(
        &mut self,
        message: &Message,
        config: &ServerConfig,
        rng: &mut fastrand::Rng,
    ) -> Result<(), Failure> {
        let mut reader = Reader::new("ClientKeyExchange", &message.body);
        let identity = reader.sized(2)?.to_vec();
        reader.end()?;
        message.transcript(&mut self.handshake.transcript);
        let first = config.keys.values().next();
        let key = match (config.keys.get(&identity), config.unknown_identities) {
            (Some(key), _) => key.clone(),
            (None, UnknownIdentities::FirstKey) => first.cloned().unwrap_or_default(),
            (None, UnknownIdentities::Alert) => return Err(Failure::UnknownIdentity { identity }),
            (None, UnknownIdentities::Hide) => {
                let mut key = vec![0; 16];
                rng.fill(&mut key);
                key
            }
        };
        let master = master_secret(&self.negotiated, &key, Some(&self.handshake.transcript));
        self.master = master.ok_or(Failure::IllegalParameter {
            what: "the pre-shared key is longer than 65535 bytes",
        })?;
        self.identity = identity;
        self.out.push(key_log(&self.client_random, &self.master));
        self.records.keys = Some(Keys::derive(&self.negotiated, &self.master));
        // what else came in clear is of another attempt
        self.handshake.inbox.clear();
        self.state = State::Finished;
        Ok(())
    }

    fn finished(&mut self, now: Duration, message: &Message, rng: &mut fastrand::Rng) -> Result<(), Failure> {
        let suite = self.negotiated.suite;
        if message.body != verify_data(suite, &self.master, true, &self.handshake.transcript) {
            return Err(Failure::BadFinished);
        }
        message.transcript(&mut self.handshake.transcript);
        let verify = verify_data(suite, &self.master, false, &self.handshake.transcript);
        let finished = self.handshake.message(handshake_type::FINISHED, verify.to_vec());
        self.records.protects = true;
        self.flight
            .begin(now, vec![Item::ChangeCipherSpec, Item::Protected(finished)], false);
        self.send_flight(rng);
        let established = Established {
            suite: self.suite,
            identity: self.identity.clone(),
            connection_ids: self.connection_ids.clone(),
            extended_master_secret: self.negotiated.extended_master_secret,
            encrypt_then_mac: self.negotiated.encrypt_then_mac,
        };
        self.handshake.transcript = Vec::new();
        self.state = State::Established;
        self.established = Some(established.clone());
        self.out.push(Output::Established(established));
        Ok(())
    }

    /// The handshake ends; the client is told, and again as long as it goes on.
    pub(super) fn fail(&mut self, now: Duration, failure: Failure, config: &ServerConfig, rng: &mut fastrand::Rng) {
        self.flight.deadline = None;
        match failure.alert() {
            Some(alert) => {
                self.alert(rng, alert);
                self.state = State::Failed(alert);
                self.failed_until = Some(now.saturating_add(config.timings.max));
            }
            None => self.state = State::Gone,
        }
        self.out.push(Output::Failed(failure));
    }

    pub(super) fn write(&mut self, rng: &mut fastrand::Rng, kind: u8, content: &[u8]) {
        let record = self.records.write(rng, kind, content);
        self.out.push(Output::Datagram(record.into()));
    }

    fn alert(&mut self, rng: &mut fastrand::Rng, alert: Alert) {
        self.write(rng, content_type::ALERT, &[alert.level, alert.description]);
    }

    fn send_flight(&mut self, rng: &mut fastrand::Rng) {
        let datagrams = self.flight.datagrams(&mut self.records, rng);
        self.out.extend(datagrams.into_iter().map(Output::Datagram));
    }
}
