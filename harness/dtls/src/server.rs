//! All associations of one listening address.

mod association;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use self::association::{Association, Hello, State, Verdict};
use crate::handshake::{Assembly, Message, handshake_type};
use crate::hello::{ClientHello, EMPTY_RENEGOTIATION_INFO_SCSV, Extensions, ServerHello, hello_verify_request};
use crate::protection::{CipherSuite, Negotiated, hmac_sha256};
use crate::record::{self, CONTENT_LIMIT, Record, VERSION, VERSION_1_0, content_type};
use crate::{ConnectionIds, Established, Failure, Output, Psk, ServerConfig, ServerOutput, Suite};

/// Length of a cookie.
const COOKIE: usize = 16;
/// The longest connection id that the server gives.
const LONGEST_CID: usize = 20;
/// Clients whose ClientHello comes in fragments, at a time: the only thing kept for addresses that showed nothing yet.
const PARTIAL_HELLOS: usize = 64;

/// What one address has.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    established: Option<u64>,
    /// A handshake under way, beside the association that it may replace (RFC 6347 section 4.2.8).
    handshaking: Option<u64>,
}

/// All associations of one listening address, told apart by address or connection id.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    rng: fastrand::Rng,
    cookie_secret: [u8; 32],
    associations: BTreeMap<u64, Association>,
    by_address: BTreeMap<SocketAddr, Slot>,
    by_cid: BTreeMap<Vec<u8>, u64>,
    deadlines: BTreeSet<(Duration, u64)>,
    partial: BTreeMap<SocketAddr, Assembly>,
    next_id: u64,
    out: VecDeque<ServerOutput>,
}

impl Server {
    /// Without associations.
    pub fn new(mut config: ServerConfig, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut cookie_secret = [0; 32];
        rng.fill(&mut cookie_secret);
        config.connection_id = config.connection_id.map(|length| length.min(LONGEST_CID));
        Self {
            config,
            rng,
            cookie_secret,
            associations: BTreeMap::new(),
            by_address: BTreeMap::new(),
            by_cid: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            partial: BTreeMap::new(),
            next_id: 0,
            out: VecDeque::new(),
        }
    }

    /// Knows this key from now on.
    pub fn add_key(&mut self, psk: Psk) {
        self.config.keys.insert(psk.identity, psk.key);
    }

    /// Forgets a key. Associations that were made with it stand.
    pub fn remove_key(&mut self, identity: &[u8]) {
        self.config.keys.remove(identity);
    }

    /// Takes a datagram. What belongs to nothing is left out, as RFC 6347 section 4.1.2.7 wants.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let length = self.config.connection_id.unwrap_or(0);
            let cids = &self.by_cid;
            let known = |rest: &[u8]| {
                let cid = rest.get(..length)?;
                cids.contains_key(cid).then_some(length)
            };
            let Some(record) = record::next(&mut rest, &known) else {
                break;
            };
            self.record(now, from, &record);
        }
    }

    /// Sends application data in one record and one datagram. False: there is no association with this address, or the data are
    /// too long for a record.
    pub fn send(&mut self, _now: Duration, to: SocketAddr, data: &[u8]) -> bool {
        let Some(id) = self.slot(to).established.filter(|_| data.len() <= CONTENT_LIMIT) else {
            return false;
        };
        let Self { associations, rng, .. } = self;
        if let Some(association) = associations.get_mut(&id) {
            association.write(rng, content_type::APPLICATION_DATA, data);
        }
        self.settle(id);
        true
    }

    /// Ends the association with this address with `close_notify`.
    pub fn close(&mut self, _now: Duration, peer: SocketAddr) {
        let Some(id) = self.slot(peer).established else { return };
        let Self { associations, rng, .. } = self;
        if let Some(association) = associations.get_mut(&id) {
            association.close(rng);
        }
        self.settle(id);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    pub fn poll_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Sends flights again that are due, or gives up.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            let Self {
                associations,
                by_address,
                rng,
                ..
            } = self;
            let random = |id: u64| associations.get(&id).map(|association| association.client_random);
            let address = associations.get(&id).map(|association| association.address);
            let established = address.and_then(|address| by_address.get(&address)?.established);
            // a hello that came late, after the association that it led to: nobody goes on with it
            let late = established.is_some_and(|established| established != id && random(established) == random(id));
            if let Some(association) = associations.get_mut(&id) {
                association.timeout(now, rng, late);
            }
            self.settle(id);
            // whatever became of it, it is not due at this time again
            if self
                .associations
                .get(&id)
                .is_none_or(|association| association.listed != Some(at))
            {
                self.deadlines.remove(&(at, id));
            }
        }
    }

    /// What there is to say next.
    pub fn poll_output(&mut self) -> Option<ServerOutput> {
        self.out.pop_front()
    }

    /// The PSK identity of the client at this address.
    pub fn identity(&self, peer: SocketAddr) -> Option<&[u8]> {
        self.established(peer).map(|established| &established.identity[..])
    }

    /// What was agreed on with this address.
    pub fn established(&self, peer: SocketAddr) -> Option<&Established> {
        let id = self.slot(peer).established?;
        self.associations.get(&id)?.established.as_ref()
    }

    /// The addresses that associations are with, in order.
    pub fn peers(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.by_address
            .iter()
            .filter(|(_, slot)| slot.established.is_some())
            .map(|(address, _)| *address)
    }

    fn slot(&self, address: SocketAddr) -> Slot {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    fn record(&mut self, now: Duration, from: SocketAddr, record: &Record<'_>) {
        if record.epoch() > 0 {
            self.protected_record(now, from, record);
        } else if record.content_type == content_type::HANDSHAKE
            && record.fragment.first() == Some(&handshake_type::CLIENT_HELLO)
        {
            self.client_hello(now, from, record);
        } else if let Some(id) = self.slot(from).handshaking {
            let Self {
                associations,
                rng,
                config,
                ..
            } = self;
            if let Some(association) = associations.get_mut(&id) {
                association.clear_record(now, record, config, rng);
            }
            self.settle(id);
        }
    }

    fn protected_record(&mut self, now: Duration, from: SocketAddr, record: &Record<'_>) {
        let slot = self.slot(from);
        let ids = match self.by_cid.get(record.cid) {
            Some(id) if !record.cid.is_empty() && !self.config.connection_ids_by_address => [Some(*id), None],
            _ => [slot.established, slot.handshaking],
        };
        let Self {
            associations,
            rng,
            config,
            ..
        } = self;
        for id in ids.into_iter().flatten() {
            let Some(association) = associations.get_mut(&id) else {
                continue;
            };
            let verdict = association.protected_record(now, from, record, config, rng);
            let is_handshake = matches!(record.content_type, content_type::HANDSHAKE | content_type::TLS12_CID);
            if verdict == Verdict::Foreign {
                if association.state != State::Finished || !is_handshake || association.address != from {
                    continue;
                }
                // the client's Finished, if not by these keys
                association.fail(now, Failure::DecryptError, config, rng);
            }
            return self.settle(id);
        }
    }

    /// Puts a ClientHello together if it has to be.
    fn client_hello(&mut self, now: Duration, from: SocketAddr, record: &Record<'_>) {
        let is_hello = |message: &Message| message.kind == handshake_type::CLIENT_HELLO;
        let mut whole = Assembly::default().take(record.fragment).into_iter().find(is_hello);
        if whole.is_none() {
            if self.partial.len() >= PARTIAL_HELLOS && !self.partial.contains_key(&from) {
                self.partial.pop_first();
            }
            let assembly = self.partial.entry(from).or_default();
            whole = assembly.take(record.fragment).into_iter().find(is_hello);
        }
        let Some(message) = whole else { return };
        self.partial.remove(&from);
        let slot = self.slot(from);
        match ClientHello::parse(&message.body) {
            Ok(hello) => {
                let Self { associations, rng, .. } = self;
                if let Some(id) = slot.handshaking
                    && let Some(association) = associations.get_mut(&id)
                    && association.client_random == hello.random
                    && (association.hello_sequence == message.sequence
                        || association.hello_sequence > message.sequence && !hello.cookie.is_empty())
                {
                    // an older one is late
                    if association.hello_sequence == message.sequence {
                        association.hello_again(rng);
                    }
                    return self.settle(id);
                }
                self.verify(now, from, record, &message, &hello);
            }
            Err(malformed) => self.refuse(from, record, malformed.into()),
        }
    }

    /// RFC 6347 section 4.2.1: nothing is kept for a client before it has shown a cookie.
    fn verify(&mut self, now: Duration, from: SocketAddr, record: &Record<'_>, message: &Message, hello: &ClientHello) {
        if self.config.cookies {
            let cookie = self.cookie(from, hello);
            if hello.cookie != cookie {
                let answer = Message {
                    kind: handshake_type::HELLO_VERIFY_REQUEST,
                    sequence: 0,
                    body: hello_verify_request(&cookie),
                };
                let content = answer.fragment(0, answer.body.len());
                return self.answer(from, record, VERSION_1_0, content_type::HANDSHAKE, &content);
            }
        }
        let (suite, cipher) = match self.choose(hello) {
            Ok(chosen) => chosen,
            Err(failure) => return self.refuse(from, record, failure),
        };
        let mut server_random = [0; 32];
        self.rng.fill(&mut server_random);
        let offers = &hello.extensions;
        let connection_ids = match (&offers.connection_id, self.config.connection_id) {
            (Some(peer), Some(length)) => Some(ConnectionIds {
                own: self.new_cid(length),
                peer: peer.clone(),
            }),
            _ => None,
        };
        let renegotiation =
            offers.renegotiation_info.is_some() || hello.suites.contains(&EMPTY_RENEGOTIATION_INFO_SCSV);
        let encrypt_then_mac =
            self.config.encrypt_then_mac && offers.encrypt_then_mac && suite == Suite::PskAes128CbcSha256;
        let answer = ServerHello {
            version: VERSION,
            random: server_random,
            session_id: Vec::new(),
            suite: suite.id(),
            compression_method: 0,
            extensions: Extensions {
                extended_master_secret: self.config.extended_master_secret && offers.extended_master_secret,
                encrypt_then_mac,
                connection_id: connection_ids.as_ref().map(|ids| ids.own.clone()),
                renegotiation_info: renegotiation.then(Vec::new),
                numbers: Vec::new(),
            },
        };
        let hello = Hello {
            message,
            record: record.sequence(),
            suite,
            negotiated: Negotiated {
                client_random: hello.random,
                server_random,
                suite: cipher,
                extended_master_secret: answer.extensions.extended_master_secret,
                encrypt_then_mac,
            },
            connection_ids,
            answer: answer.encode(),
        };
        if let Some(id) = self.slot(from).handshaking {
            self.remove(id);
        }
        let id = self.next_id;
        self.next_id += 1;
        if let Some(ids) = hello.connection_ids.as_ref().filter(|ids| !ids.own.is_empty()) {
            self.by_cid.insert(ids.own.clone(), id);
        }
        let association = Association::begin(now, from, hello, &self.config, &mut self.rng);
        self.associations.insert(id, association);
        self.by_address.entry(from).or_default().handshaking = Some(id);
        self.settle(id);
    }

    /// RFC 6347 section 4.2.1: of the address and the parameters that a client must not change.
    fn cookie(&self, from: SocketAddr, hello: &ClientHello) -> Vec<u8> {
        let suites: Vec<u8> = hello.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let address = from.to_string();
        let parts: [&[u8]; 6] = [
            address.as_bytes(),
            &hello.version,
            &hello.random,
            &hello.session_id,
            &suites,
            &hello.compression_methods,
        ];
        let mut cookie = hmac_sha256(&self.cookie_secret, &parts);
        cookie.truncate(COOKIE);
        cookie
    }

    /// A connection id that no association has.
    fn new_cid(&mut self, length: usize) -> Vec<u8> {
        let mut cid = vec![0; length];
        // ids of one byte may be all in use: then the last one goes over to the newest association
        for _ in 0..64 {
            self.rng.fill(&mut cid);
            if !self.by_cid.contains_key(&cid) {
                break;
            }
        }
        cid
    }

    fn choose(&self, hello: &ClientHello) -> Result<(Suite, CipherSuite), Failure> {
        // versions of DTLS count downwards
        if hello.version[0] != VERSION[0] || hello.version[1] > VERSION[1] {
            return Err(Failure::Version { version: hello.version });
        }
        if !hello.compression_methods.contains(&0) {
            return Err(Failure::IllegalParameter {
                what: "the client offers no null compression",
            });
        }
        if hello
            .extensions
            .renegotiation_info
            .as_ref()
            .is_some_and(|info| !info.is_empty())
        {
            return Err(Failure::IllegalParameter {
                what: "renegotiation_info is not empty in a first handshake",
            });
        }
        self.config
            .suites
            .iter()
            .find(|suite| hello.suites.contains(&suite.id()))
            .and_then(|suite| Some((*suite, CipherSuite::of(suite.id())?)))
            .ok_or_else(|| Failure::NoCommonSuite {
                offered: hello.suites.clone(),
            })
    }

    fn refuse(&mut self, from: SocketAddr, record: &Record<'_>, failure: Failure) {
        if let Some(alert) = failure.alert() {
            self.answer(
                from,
                record,
                VERSION,
                content_type::ALERT,
                &[alert.level, alert.description],
            );
        }
        self.out.push_back(ServerOutput {
            peer: from,
            output: Output::Failed(failure),
        });
    }

    /// Answers a record without an association: with the record's own number.
    fn answer(&mut self, to: SocketAddr, record: &Record<'_>, version: [u8; 2], kind: u8, content: &[u8]) {
        let answer = record::encode(&Record {
            content_type: kind,
            version,
            number: record.number,
            cid: &[],
            fragment: content,
        });
        self.out.push_back(ServerOutput {
            peer: to,
            output: Output::Datagram(answer.into()),
        });
    }

    /// Passes on what an association says, and brings the tables in line with it.
    fn settle(&mut self, id: u64) {
        let Some(association) = self.associations.get_mut(&id) else {
            return;
        };
        let moved = association.out.iter().find_map(|output| match output {
            Output::Moved { from } => Some(*from),
            _ => None,
        });
        let (state, address) = (association.state, association.address);
        let said = association.out.drain(..);
        self.out
            .extend(said.map(|output| ServerOutput { peer: address, output }));
        let deadline = association.deadline();
        let listed = core::mem::replace(&mut association.listed, deadline);
        if listed != deadline {
            self.deadlines.extend(deadline.map(|at| (at, id)));
            if let Some(at) = listed {
                self.deadlines.remove(&(at, id));
            }
        }
        if let Some(from) = moved {
            if let Some(slot) = self.by_address.get_mut(&from) {
                slot.established = slot.established.filter(|other| *other != id);
            }
            self.tidy(from);
        }
        match state {
            State::Gone => self.remove(id),
            State::Established => {
                let slot = self.by_address.entry(address).or_default();
                slot.handshaking = slot.handshaking.filter(|other| *other != id);
                // an address is one client's: who was there before is gone
                if let Some(before) = slot.established.replace(id).filter(|before| *before != id) {
                    self.remove(before);
                }
            }
            State::KeyExchange | State::Finished | State::Failed(_) => {}
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(association) = self.associations.remove(&id) else {
            return;
        };
        if self.by_cid.get(&association.records.own_cid) == Some(&id) {
            self.by_cid.remove(&association.records.own_cid);
        }
        if let Some(at) = association.listed {
            self.deadlines.remove(&(at, id));
        }
        if let Some(slot) = self.by_address.get_mut(&association.address) {
            slot.established = slot.established.filter(|other| *other != id);
            slot.handshaking = slot.handshaking.filter(|other| *other != id);
        }
        self.tidy(association.address);
    }

    /// Forgets an address that has nothing.
    fn tidy(&mut self, address: SocketAddr) {
        let slot = self.slot(address);
        if slot.established.is_none() && slot.handshaking.is_none() {
            self.by_address.remove(&address);
        }
    }
}
