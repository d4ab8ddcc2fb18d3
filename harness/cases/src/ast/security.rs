//! How a device of the harness secures what it says to a server under test.

use core::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{At, Hex, Many};

/// DTLS 1.2 with a pre-shared key between a device and the server. The server is given identity, key and endpoint of the
/// device before it starts, unless `known` says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeviceSecurity {
    /// PSK identity; the endpoint name if absent.
    pub identity: Option<At<String>>,
    /// It presents the identity of this device. The server is given nothing for it.
    pub identity_of: Option<At<String>>,
    /// The key that the device has; drawn from the seed if absent.
    pub key: Option<At<Hex>>,
    /// It has the key of this device.
    pub key_of: Option<At<String>>,
    /// The cipher suites that it offers, preferred first; both if absent.
    pub suites: Option<Many<SuiteName>>,
    /// It offers connection ids (RFC 9146): it uses that of the server and wants none itself; false if absent.
    pub connection_id: Option<bool>,
    /// Whether the server is given identity and key; true if absent, false with `identity-of`.
    pub known: Option<bool>,
}

impl DeviceSecurity {
    /// Whether the server is given the credentials.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known.unwrap_or_else(|| self.identity_of.is_none())
    }
}

/// The cipher suites of LwM2M with pre-shared keys, by the names of the TLS registry (LwM2M Transport section 5.2.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
pub enum SuiteName {
    /// 0xC0A8.
    #[serde(rename = "TLS_PSK_WITH_AES_128_CCM_8")]
    PskAes128Ccm8,
    /// 0x00AE.
    #[serde(rename = "TLS_PSK_WITH_AES_128_CBC_SHA256")]
    PskAes128CbcSha256,
}

impl SuiteName {
    /// The name in the registry of TLS cipher suites.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PskAes128Ccm8 => "TLS_PSK_WITH_AES_128_CCM_8",
            Self::PskAes128CbcSha256 => "TLS_PSK_WITH_AES_128_CBC_SHA256",
        }
    }
}

impl fmt::Display for SuiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
