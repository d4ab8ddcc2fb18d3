//! What happens beneath CoAP where a device of the harness speaks DTLS.
//!
//! A datagram whose records the session can open is told as a [`Datagram`](crate::Datagram) with the message that was in them, so that
//! the same checks see it. What has no message of CoAP in it is told here.

use core::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::event::{Point, Toward};

/// Something of DTLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum DtlsEvent {
    /// A datagram without a message that could be opened: of a handshake, an alert, a copy of a record, or damaged.
    Records {
        /// Where it was seen.
        point: Point,
        /// Where it goes.
        toward: Toward,
        /// Id of the datagram.
        datagram: u64,
        /// Source.
        src: SocketAddr,
        /// Destination.
        dst: SocketAddr,
        /// Length of the UDP payload.
        length: usize,
        /// The records in words, such as `ClientHello`.
        records: String,
    },
    /// A handshake of a device ended well.
    Established {
        /// The device.
        device: String,
        /// Cipher suite, by its name in the registry.
        suite: String,
        /// The PSK identity.
        identity: String,
        /// The server gave a connection id (RFC 9146).
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        connection_id: bool,
    },
    /// A handshake of a device failed, or an alert ended its association.
    Failed {
        /// The device.
        device: String,
        /// Why.
        reason: String,
    },
    /// The server closed an association (`close_notify`).
    Closed {
        /// The device.
        device: String,
    },
    /// A line of a key log: with it the capture can be read.
    Secrets {
        /// `CLIENT_RANDOM`, the random, the master secret.
        line: String,
    },
}

impl fmt::Display for DtlsEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records { records, length, .. } => write!(f, "DTLS: {records} ({length} bytes)"),
            Self::Established {
                device,
                suite,
                identity,
                connection_id,
            } => {
                write!(f, "DTLS of device {device} is up: {suite}, identity {identity}")?;
                if *connection_id {
                    f.write_str(", with a connection id")?;
                }
                Ok(())
            }
            Self::Failed { device, reason } => write!(f, "DTLS of device {device} failed: {reason}"),
            Self::Closed { device } => write!(f, "DTLS of device {device} was closed by the server"),
            Self::Secrets { .. } => f.write_str("secrets of a DTLS association"),
        }
    }
}
