//! Settings of an [`Endpoint`](crate::Endpoint): the transmission parameters of RFC 7252, section 4.8, and a few of ours.

use core::time::Duration;

use fotaproof_wire::coap::option;

use crate::quirks::Quirks;

/// Settings of an endpoint. The default is RFC 7252, section 4.8, to the letter.
#[derive(Debug, Clone)]
pub struct Config {
    /// ACK_TIMEOUT (RFC 7252, section 4.8): least time before the first retransmission.
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR (RFC 7252, section 4.8): the first time-out is drawn between `ack_timeout` and this multiple of it.
    pub ack_random_factor: f64,
    /// MAX_RETRANSMIT (RFC 7252, section 4.8).
    pub max_retransmit: u32,
    /// NSTART (RFC 7252, section 4.7): confirmable messages in flight to one peer. `usize::MAX` switches the limit off.
    pub nstart: usize,
    /// EXCHANGE_LIFETIME (RFC 7252, section 4.8.2): how long the message ID of a CON is remembered and not used again.
    pub exchange_lifetime: Duration,
    /// NON_LIFETIME (RFC 7252, section 4.8.2): how long the message ID of a NON is remembered.
    pub non_lifetime: Duration,
    /// How long a request waits for its separate response once the empty ACK came. The RFC names no limit.
    pub separate_timeout: Duration,
    /// Length of the tokens this endpoint draws, 0 to 8 (RFC 7252, section 5.3.1).
    pub token_length: usize,
    /// Whether a critical option of this number is understood (RFC 7252, section 5.4.1). Others are refused with 4.02.
    pub known_critical: fn(u16) -> bool,
    /// Upper bound for the replies kept to answer duplicates. Replies under 64 bytes are always kept; above the bound the
    /// oldest larger ones are dropped, and a duplicate of such a request is handed to the owner anew.
    pub reply_cache_bytes: usize,
    /// How many finished exchanges keep their datagram for [`Endpoint::resend`](crate::Endpoint::resend).
    pub finished_kept: usize,
    /// Planned misbehaviour.
    pub quirks: Quirks,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_factor: 1.5,
            max_retransmit: 4,
            nstart: 1,
            exchange_lifetime: Duration::from_secs(247),
            non_lifetime: Duration::from_secs(145),
            separate_timeout: Duration::from_secs(247),
            token_length: 4,
            known_critical: is_known_critical,
            reply_cache_bytes: 1 << 20,
            finished_kept: 64,
            quirks: Quirks::default(),
        }
    }
}

impl Config {
    /// Longest time from the first send of a CON to giving up, MAX_TRANSMIT_WAIT (RFC 7252, section 4.8.2); 93 s by default.
    #[must_use]
    pub fn max_transmit_wait(&self) -> Duration {
        let rounds = 2_f64.powi(i32::try_from(self.max_retransmit).unwrap_or(30).min(30) + 1) - 1.0;
        self.ack_timeout.mul_f64(rounds * self.ack_random_factor.max(1.0))
    }

    /// Longest time from the first to the last send of a CON, MAX_TRANSMIT_SPAN (RFC 7252, section 4.8.2); 45 s by default.
    #[must_use]
    pub fn max_transmit_span(&self) -> Duration {
        let rounds = 2_f64.powi(i32::try_from(self.max_retransmit).unwrap_or(30).min(30)) - 1.0;
        self.ack_timeout.mul_f64(rounds * self.ack_random_factor.max(1.0))
    }
}

/// The critical options the owners of an endpoint handle: those of RFC 7252 without proxying, and block-wise transfer.
#[must_use]
pub fn is_known_critical(number: u16) -> bool {
    matches!(
        number,
        option::IF_MATCH
            | option::URI_HOST
            | option::IF_NONE_MATCH
            | option::URI_PORT
            | option::URI_PATH
            | option::URI_QUERY
            | option::ACCEPT
            | option::BLOCK2
            | option::BLOCK1
    )
}
