//! DTLS 1.2 conversations opened with the secrets that a capture or its reader holds.
//!
//! Whoever has the secrets sees what the endpoints saw; whoever has not is told so, and judges nothing. What is supported:
//! the suites that LwM2M names (PSK and ECDHE-ECDSA with AES-CCM-8, PSK with AES-CBC-SHA256) and those that common stacks
//! choose instead, the extended master secret (RFC 7627), encrypt-then-MAC (RFC 7366) and connection ids (RFC 9146).

mod keys;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fotaproof_dtls::handshake::{Assembly, Message, handshake_type};
use fotaproof_dtls::hello::{ClientHello, ServerHello};
use fotaproof_dtls::protection::{CipherSuite, Envelope, Keys, Negotiated};
use fotaproof_dtls::record::{self, Record, content_type};

pub use self::keys::Secrets;

/// Conversations that are followed at most; beyond it the oldest is forgotten.
const CONVERSATIONS: usize = 20_000;
/// Handshake bytes kept for the extended master secret at most.
const TRANSCRIPT_LIMIT: usize = 64 << 10;

/// Whether a UDP payload looks like DTLS.
pub fn is_dtls(payload: &[u8]) -> bool {
    record::is_dtls(payload)
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Application data in clear.
    Data(Vec<u8>),
    /// A message of the handshake, a change of ciphers or an alert: nothing for the layers above.
    Control,
    /// There is no key for it: no secret, or the capture began after the handshake.
    Locked,
    /// There is a key and the record does not fit it: it was changed on the way.
    Broken,
}

/// Opens records, conversation by conversation.
#[derive(Debug, Default)]
pub struct Decryptor {
    secrets: Secrets,
    conversations: BTreeMap<(SocketAddr, SocketAddr), Conversation>,
    /// Which conversation a connection id belongs to, so that a change of address is followed.
    by_cid: BTreeMap<Vec<u8>, (SocketAddr, SocketAddr)>,
    /// Where conversations went on after a change of address: whose it is, and the client there. Records toward a side that wants no
    /// connection id carry none, and are known by this alone.
    moved: BTreeMap<(SocketAddr, SocketAddr), Moved>,
    /// In the order in which they began.
    order: std::collections::VecDeque<(SocketAddr, SocketAddr)>,
}

/// A conversation at other addresses than those of its handshake.
#[derive(Clone, Copy, Debug)]
struct Moved {
    conversation: (SocketAddr, SocketAddr),
    client: SocketAddr,
}

/// Two addresses that speak DTLS.
#[derive(Debug)]
struct Conversation {
    client: SocketAddr,
    client_hello: ClientHello,
    server_hello: Option<ServerHello>,
    from_client: Assembly,
    from_server: Assembly,
    /// The handshake messages, as an extended master secret hashes them (RFC 7627 section 4).
    transcript: Vec<u8>,
    /// The ClientKeyExchange is in the transcript: it is as long as it gets.
    complete: bool,
    /// Candidates until a record opens with one of them.
    keys: Vec<Keys>,
    proven: bool,
    /// Keys of the session before, for records that come late.
    previous: Option<Keys>,
}

fn pair(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    if a <= b { (a, b) } else { (b, a) }
}

impl Decryptor {
    /// With these secrets; more may come by [`secrets_mut`](Self::secrets_mut).
    pub fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            ..Self::default()
        }
    }

    /// The secrets. A capture may hold them at any place before they are needed.
    pub fn secrets_mut(&mut self) -> &mut Secrets {
        &mut self.secrets
    }

    /// Whether there are secrets at all.
    pub fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Opens the records of a datagram, in order.
    pub fn datagram(&mut self, src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<Opened> {
        let mut opened = Vec::new();
        let mut rest = payload;
        loop {
            let cids = &self.by_cid;
            let known =
                |rest: &[u8]| (1..=20).find(|length| rest.get(..*length).is_some_and(|cid| cids.contains_key(cid)));
            let Some(record) = record::next(&mut rest, &known) else {
                break;
            };
            opened.push(self.record(src, dst, &record));
        }
        if !rest.is_empty() {
            opened.push(Opened::Locked);
        }
        opened
    }

    fn record(&mut self, src: SocketAddr, dst: SocketAddr, record: &Record<'_>) -> Opened {
        if record.epoch() == 0 {
            if record.content_type == content_type::HANDSHAKE {
                self.handshake(src, dst, record.fragment);
            }
            return Opened::Control;
        }
        let here = pair(src, dst);
        let moved = self.moved.get(&here).copied();
        let key = match (self.by_cid.get(record.cid), moved) {
            (Some(key), _) if !record.cid.is_empty() => *key,
            (_, Some(moved)) => moved.conversation,
            _ => here,
        };
        let Some(conversation) = self.conversations.get_mut(&key) else {
            return Opened::Locked;
        };
        let from_client = match record.cid {
            [] => src == moved.map_or(conversation.client, |moved| moved.client),
            // the id is the receiver's
            cid => conversation.client_hello.extensions.connection_id.as_deref() != Some(cid),
        };
        conversation.derive(&self.secrets);
        let opened = conversation.open(from_client, record);
        // RFC 9146 section 6: a record that opens moves its sender
        if key != here
            && matches!(opened, Opened::Data(_) | Opened::Control)
            && (moved.is_some() || self.moved.len() < 2 * CONVERSATIONS)
        {
            let client = if from_client { src } else { dst };
            let conversation = key;
            self.moved.insert(here, Moved { conversation, client });
        }
        opened
    }

    fn handshake(&mut self, src: SocketAddr, dst: SocketAddr, content: &[u8]) {
        let key = pair(src, dst);
        // a new ClientHello begins a new conversation in the place of the old one, unless it is the same again
        if let Some(hello) = first_hello(content) {
            let known = self
                .conversations
                .get(&key)
                .is_some_and(|known| known.client == src && known.client_hello.random == hello.random);
            if !known {
                self.moved.remove(&key);
                let previous = self
                    .conversations
                    .remove(&key)
                    .filter(|known| known.proven)
                    .and_then(|known| known.keys.into_iter().next());
                if previous.is_none() {
                    self.order.push_back(key);
                }
                while self.order.len() > CONVERSATIONS {
                    let Some(oldest) = self.order.pop_front() else { break };
                    self.conversations.remove(&oldest);
                    self.by_cid.retain(|_, owner| *owner != oldest);
                    self.moved.retain(|_, moved| moved.conversation != oldest);
                }
                self.conversations.insert(key, Conversation::new(src, hello, previous));
            }
        }
        let Some(conversation) = self.conversations.get_mut(&key) else {
            return;
        };
        conversation.handshake(src, content);
        let cids = [
            conversation
                .server_hello
                .as_ref()
                .and_then(|hello| hello.extensions.connection_id.clone()),
            conversation
                .server_hello
                .as_ref()
                .and_then(|_| conversation.client_hello.extensions.connection_id.clone()),
        ];
        for cid in cids.into_iter().flatten().filter(|cid| !cid.is_empty()) {
            if self.by_cid.len() < 2 * CONVERSATIONS {
                self.by_cid.insert(cid, key);
            }
        }
    }
}

/// The ClientHello that a handshake record begins with, if it is whole in it.
fn first_hello(content: &[u8]) -> Option<ClientHello> {
    if *content.first()? != handshake_type::CLIENT_HELLO {
        return None;
    }
    let message = Assembly::default().take(content).into_iter().next()?;
    ClientHello::parse(&message.body).ok()
}

impl Conversation {
    fn new(client: SocketAddr, hello: ClientHello, previous: Option<Keys>) -> Self {
        Self {
            client,
            client_hello: hello,
            server_hello: None,
            from_client: Assembly::default(),
            from_server: Assembly::default(),
            transcript: Vec::new(),
            complete: false,
            keys: Vec::new(),
            proven: false,
            previous,
        }
    }

    fn handshake(&mut self, src: SocketAddr, content: &[u8]) {
        let by_client = src == self.client;
        let assembly = if by_client {
            &mut self.from_client
        } else {
            &mut self.from_server
        };
        for message in assembly.take(content) {
            self.message(by_client, &message);
        }
    }

    fn message(&mut self, by_client: bool, message: &Message) {
        match message.kind {
            handshake_type::HELLO_VERIFY_REQUEST => {
                // RFC 6347 section 4.2.6: neither it nor the hello before it counts
                self.transcript.clear();
                return;
            }
            handshake_type::CLIENT_HELLO if by_client => {
                if let Ok(hello) = ClientHello::parse(&message.body) {
                    self.client_hello = hello;
                }
                self.transcript.clear();
            }
            handshake_type::SERVER_HELLO if !by_client => {
                self.server_hello = ServerHello::parse(&message.body).ok();
            }
            _ => {}
        }
        if !self.complete && self.transcript.len() + message.body.len() < TRANSCRIPT_LIMIT {
            message.transcript(&mut self.transcript);
        }
        self.complete |= message.kind == handshake_type::CLIENT_KEY_EXCHANGE;
    }

    /// The keys, as soon as the hellos are there.
    fn derive(&mut self, secrets: &Secrets) {
        if !self.keys.is_empty() {
            return;
        }
        let Some(server) = &self.server_hello else { return };
        let Some(suite) = CipherSuite::of(server.suite) else {
            return;
        };
        let (client, answers) = (&self.client_hello.extensions, &server.extensions);
        let hello = Negotiated {
            client_random: self.client_hello.random,
            server_random: server.random,
            suite,
            extended_master_secret: answers.extended_master_secret && client.extended_master_secret,
            encrypt_then_mac: answers.encrypt_then_mac && client.encrypt_then_mac,
        };
        let transcript = self.complete.then_some(&self.transcript[..]);
        self.keys = secrets
            .masters(&hello, transcript)
            .iter()
            .map(|master| Keys::derive(&hello, master))
            .collect();
    }

    fn open(&mut self, from_client: bool, record: &Record<'_>) -> Opened {
        let with_cid = record.content_type == content_type::TLS12_CID;
        let sealed = Envelope {
            content_type: record.content_type,
            version: record.version,
            number: record.number,
            cid: with_cid.then_some(record.cid),
            fragment: record.fragment,
        };
        if self.keys.is_empty() && self.previous.is_none() {
            return Opened::Locked;
        }
        let found = self
            .keys
            .iter()
            .enumerate()
            .find_map(|(index, keys)| Some((index, keys.open(from_client, &sealed)?)));
        let clear = match found {
            Some((index, clear)) => {
                self.keys.swap(0, index);
                self.keys.truncate(1);
                self.proven = true;
                clear
            }
            None => match self.previous.as_ref().and_then(|keys| keys.open(from_client, &sealed)) {
                Some(clear) => clear,
                None if self.proven => return Opened::Broken,
                // none of the keys is its own
                None => return Opened::Locked,
            },
        };
        if with_cid {
            return inner(&clear);
        }
        content(record.content_type, clear)
    }
}

/// The content of a record with a connection id: its real type stands behind it, before zeros (RFC 9146 section 4).
fn inner(clear: &[u8]) -> Opened {
    match clear.iter().rposition(|byte| *byte != 0) {
        Some(at) => content(clear[at], clear[..at].to_vec()),
        None => Opened::Broken,
    }
}

fn content(kind: u8, clear: Vec<u8>) -> Opened {
    match kind {
        content_type::APPLICATION_DATA => Opened::Data(clear),
        content_type::CHANGE_CIPHER_SPEC | content_type::ALERT | content_type::HANDSHAKE => Opened::Control,
        _ => Opened::Broken,
    }
}
