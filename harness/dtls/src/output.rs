//! What a client and a server say.

use core::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::Suite;

/// What an association has to say, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A datagram to send to the peer.
    Datagram(Bytes),
    /// Application data from the peer, opened and seen for the first time.
    Data(Bytes),
    /// The handshake is complete: data can be sent. At a server it takes the place of what this address had before.
    Established(Established),
    /// The handshake failed, or the association was ended by an alert. A server that had an association with this address before
    /// the handshake still has it, unless the alert was that association's.
    Failed(Failure),
    /// The association was closed by this side or by the peer (`close_notify`).
    Closed,
    /// The association goes on at another address (RFC 9146 section 6); the new one is in [`ServerOutput::peer`].
    Moved {
        /// Where the peer was before.
        from: SocketAddr,
    },
    /// A line of an NSS key log, `CLIENT_RANDOM <random> <master secret>`, which opens a capture of the association.
    KeyLog(String),
}

/// What one association of a server has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOutput {
    /// The address of the peer: where a datagram goes, where data came from.
    pub peer: SocketAddr,
    /// What it says.
    pub output: Output,
}

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// The cipher suite.
    pub suite: Suite,
    /// The client's PSK identity.
    pub identity: Vec<u8>,
    /// The connection ids, when both sides know the extension.
    pub connection_ids: Option<ConnectionIds>,
    /// Whether the master secret is the extended one (RFC 7627).
    pub extended_master_secret: bool,
    /// Whether CBC records are encrypted first (RFC 7366).
    pub encrypt_then_mac: bool,
}

/// The two connection ids of an association (RFC 9146); an empty one is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionIds {
    /// In the records that this side receives.
    pub own: Vec<u8>,
    /// In the records that this side sends.
    pub peer: Vec<u8>,
}

/// An alert (RFC 5246 section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// 1 is a warning, 2 is fatal.
    pub level: u8,
    /// What it is about.
    pub description: u8,
}

impl Alert {
    /// `close_notify`.
    pub const CLOSE_NOTIFY: u8 = 0;
    /// `unexpected_message`.
    pub const UNEXPECTED_MESSAGE: u8 = 10;
    /// `bad_record_mac`.
    pub const BAD_RECORD_MAC: u8 = 20;
    /// `handshake_failure`.
    pub const HANDSHAKE_FAILURE: u8 = 40;
    /// `illegal_parameter`.
    pub const ILLEGAL_PARAMETER: u8 = 47;
    /// `decode_error`.
    pub const DECODE_ERROR: u8 = 50;
    /// `decrypt_error`.
    pub const DECRYPT_ERROR: u8 = 51;
    /// `protocol_version`.
    pub const PROTOCOL_VERSION: u8 = 70;
    /// `no_renegotiation`.
    pub const NO_RENEGOTIATION: u8 = 100;
    /// `unsupported_extension`.
    pub const UNSUPPORTED_EXTENSION: u8 = 110;
    /// `unknown_psk_identity` (RFC 4279 section 6).
    pub const UNKNOWN_PSK_IDENTITY: u8 = 115;

    /// A fatal alert.
    pub const fn fatal(description: u8) -> Self {
        Self { level: 2, description }
    }

    /// A warning.
    pub const fn warning(description: u8) -> Self {
        Self { level: 1, description }
    }

    /// Whether the association ends with it.
    pub const fn is_fatal(self) -> bool {
        self.level == 2
    }

    /// The name of the description.
    pub const fn name(self) -> &'static str {
        match self.description {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            40 => "handshake_failure",
            47 => "illegal_parameter",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            90 => "user_canceled",
            100 => "no_renegotiation",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            115 => "unknown_psk_identity",
            _ => "unknown alert",
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.is_fatal() { "fatal" } else { "warning" };
        write!(f, "{level} alert {} ({})", self.name(), self.description)
    }
}

/// Why there is no association.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The peer said so.
    #[error("the peer sent a {0}")]
    Alert(Alert),
    /// The peer did not answer the last flight.
    #[error("no answer to {sent} transmissions of the last flight: waited for {waiting_for}")]
    TimedOut {
        /// How often the flight was sent.
        sent: u32,
        /// What was to come.
        waiting_for: &'static str,
    },
    /// The client offers no suite that the server takes.
    #[error("no common cipher suite: offered are {}", suites(.offered))]
    NoCommonSuite {
        /// What the client offers.
        offered: Vec<u16>,
    },
    /// The client names an identity that the server does not know.
    #[error("unknown PSK identity `{}`", String::from_utf8_lossy(.identity).escape_debug())]
    UnknownIdentity {
        /// What it names.
        identity: Vec<u8>,
    },
    /// The record with the peer's Finished does not open: the two have different keys.
    #[error("the peer's Finished does not decrypt: the two sides have different keys")]
    DecryptError,
    /// The peer's Finished holds another hash than this side's (RFC 5246 section 7.4.9).
    #[error("the peer's Finished does not verify: the two sides saw different handshakes or have different keys")]
    BadFinished,
    /// A handshake message that is none.
    #[error("malformed {what} at byte {offset}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// Where in its body.
        offset: usize,
    },
    /// A handshake message that must not come now.
    #[error("unexpected handshake message of type {kind}: waited for {waiting_for}")]
    Unexpected {
        /// The type of the message.
        kind: u8,
        /// What was to come.
        waiting_for: &'static str,
    },
    /// The peer wants another version than DTLS 1.2.
    #[error("the peer speaks version {:02x}{:02x}, not DTLS 1.2 (fefd)", .version[0], .version[1])]
    Version {
        /// The version.
        version: [u8; 2],
    },
    /// A field of a hello holds what it may not.
    #[error("illegal parameter: {what}")]
    IllegalParameter {
        /// Which and what.
        what: &'static str,
    },
    /// An answer to an extension that was not offered (RFC 5246 section 7.4.1.4).
    #[error("the server answers extension {extension}, which was not offered")]
    UnsupportedExtension {
        /// Its number.
        extension: u16,
    },
}

impl Failure {
    /// The alert that tells the peer, if it is to be told.
    pub(crate) const fn alert(&self) -> Option<Alert> {
        let description = match self {
            Self::Alert(_) | Self::TimedOut { .. } => return None,
            Self::NoCommonSuite { .. } => Alert::HANDSHAKE_FAILURE,
            Self::UnknownIdentity { .. } => Alert::UNKNOWN_PSK_IDENTITY,
            // RFC 4279 section 2 names it for a wrong key
            Self::DecryptError | Self::BadFinished => Alert::DECRYPT_ERROR,
            Self::Malformed { .. } => Alert::DECODE_ERROR,
            Self::Unexpected { .. } => Alert::UNEXPECTED_MESSAGE,
            Self::Version { .. } => Alert::PROTOCOL_VERSION,
            Self::IllegalParameter { .. } => Alert::ILLEGAL_PARAMETER,
            Self::UnsupportedExtension { .. } => Alert::UNSUPPORTED_EXTENSION,
        };
        Some(Alert::fatal(description))
    }
}

fn suites(offered: &[u16]) -> String {
    let names: Vec<String> = offered.iter().map(|id| format!("0x{id:04X}")).collect();
    names.join(", ")
}

/// The line of a key log.
pub(crate) fn key_log(client_random: &[u8; 32], master: &[u8; 48]) -> Output {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Output::KeyLog(format!("CLIENT_RANDOM {} {}", hex(client_random), hex(master)))
}
