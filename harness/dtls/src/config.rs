//! What a client and a server are told.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

/// A cipher suite of pre-shared keys (LwM2M Transport section 5.2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// `TLS_PSK_WITH_AES_128_CCM_8`, 0xC0A8 (RFC 6655 section 4).
    PskAes128Ccm8,
    /// `TLS_PSK_WITH_AES_128_CBC_SHA256`, 0x00AE (RFC 5487 section 3.2).
    PskAes128CbcSha256,
}

impl Suite {
    /// Both, the one that LwM2M wants first.
    pub const ALL: [Self; 2] = [Self::PskAes128Ccm8, Self::PskAes128CbcSha256];

    /// The number that stands in a hello.
    pub const fn id(self) -> u16 {
        match self {
            Self::PskAes128Ccm8 => 0xc0a8,
            Self::PskAes128CbcSha256 => 0x00ae,
        }
    }

    /// The suite of a number.
    pub fn of(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.id() == id)
    }

    /// The name in the registry of TLS cipher suites.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PskAes128Ccm8 => "TLS_PSK_WITH_AES_128_CCM_8",
            Self::PskAes128CbcSha256 => "TLS_PSK_WITH_AES_128_CBC_SHA256",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An identity and its pre-shared key (RFC 4279).
#[derive(Clone, PartialEq, Eq)]
pub struct Psk {
    /// The PSK identity, as the client names it.
    pub identity: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

impl Psk {
    /// Of an identity and a key.
    pub fn new(identity: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self {
            identity: identity.into(),
            key: key.into(),
        }
    }
}

// keys are for use, not for logs
impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Psk({:?})", String::from_utf8_lossy(&self.identity))
    }
}

/// When a flight is sent again (RFC 6347 section 4.2.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// The first wait; it doubles with each retransmission.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Retransmissions of one flight, after which the handshake has timed out.
    pub retransmissions: u32,
}

impl Default for Timings {
    /// One second, at most sixty, as RFC 6347 section 4.2.4.1 recommends; it names no number of retransmissions.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            retransmissions: 7,
        }
    }
}

/// The largest datagram that a side sends while it shakes hands, if nothing else is said.
pub(crate) const MTU: usize = 1200;

/// What a client is told.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Its identity and key.
    pub psk: Psk,
    /// The suites that it offers, preferred first.
    pub suites: Vec<Suite>,
    /// The connection id that the server shall put into its records (RFC 9146). Some of nothing: the client uses the server's id
    /// and wants none itself. None: the extension is not offered.
    pub connection_id: Option<Vec<u8>>,
    /// Whether the extended master secret is offered (RFC 7627).
    pub extended_master_secret: bool,
    /// Whether encrypt-then-MAC is offered (RFC 7366) when a CBC suite is.
    pub encrypt_then_mac: bool,
    /// When flights are sent again.
    pub timings: Timings,
    /// The largest datagram of a handshake, in bytes of UDP payload: longer flights take several, longer messages are fragmented.
    pub mtu: usize,
}

impl ClientConfig {
    /// Everything offered but connection ids.
    pub fn new(psk: Psk) -> Self {
        Self {
            psk,
            suites: Suite::ALL.to_vec(),
            connection_id: None,
            extended_master_secret: true,
            encrypt_then_mac: true,
            timings: Timings::default(),
            mtu: MTU,
        }
    }
}

/// What a server does about an identity that it does not know (RFC 4279 section 2 allows both).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownIdentities {
    /// It says so: the alert `unknown_psk_identity`.
    #[default]
    Alert,
    /// It goes on as if only the key were wrong, which ends in `decrypt_error`.
    Hide,
    /// A planted defect: it goes on with the first key that it has.
    FirstKey,
}

/// What a server is told.
#[derive(Clone)]
pub struct ServerConfig {
    /// The keys, by identity.
    pub keys: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The suites that it takes, preferred first.
    pub suites: Vec<Suite>,
    /// How long the connection ids are that it gives to clients which offer the extension (RFC 9146), at most 20 bytes. Zero: it
    /// uses the client's and wants none itself. None: it does not know the extension.
    pub connection_id: Option<usize>,
    /// Whether the extended master secret is taken when it is offered (RFC 7627).
    pub extended_master_secret: bool,
    /// Whether encrypt-then-MAC is taken when it is offered with a CBC suite (RFC 7366).
    pub encrypt_then_mac: bool,
    /// Whether a client must show that it receives at its address before anything is kept (RFC 6347 section 4.2.1).
    pub cookies: bool,
    /// What the ServerKeyExchange says, if there is to be one (RFC 4279 section 2).
    pub identity_hint: Option<Vec<u8>>,
    /// What is done about an unknown identity.
    pub unknown_identities: UnknownIdentities,
    /// When flights are sent again.
    pub timings: Timings,
    /// The largest datagram of a handshake, in bytes of UDP payload.
    pub mtu: usize,
    /// A planted defect: it gives connection ids, and tells associations apart by the address alone.
    pub connection_ids_by_address: bool,
}

impl ServerConfig {
    /// Everything taken, with cookies; connection ids are not known.
    pub fn new(keys: impl IntoIterator<Item = Psk>) -> Self {
        Self {
            keys: keys.into_iter().map(|psk| (psk.identity, psk.key)).collect(),
            suites: Suite::ALL.to_vec(),
            connection_id: None,
            extended_master_secret: true,
            encrypt_then_mac: true,
            cookies: true,
            identity_hint: None,
            unknown_identities: UnknownIdentities::default(),
            timings: Timings::default(),
            mtu: MTU,
            connection_ids_by_address: false,
        }
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerConfig({} keys, {:?})", self.keys.len(), self.suites)
    }
}
