//! Planned misbehaviour of the message layer. A reference peer with a planted defect sets some of these; the default is a
//! correct endpoint. The block-wise machines have quirks of their own beside them.

use core::time::Duration;

use fotaproof_wire::coap::Code;

/// What an endpoint does wrong on purpose. The default does nothing wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quirks {
    /// How a duplicate of a request is treated instead of repeating the reply (against RFC 7252, section 4.5).
    pub duplicates: Duplicates,
    /// Which duplicates `duplicates` concerns.
    pub duplicate_filter: DuplicateFilter,

    /// The message ID of a confirmable message is remembered without end, so that a new request with an old one gets the old
    /// reply (against RFC 7252, section 4.8.2).
    pub remembers_for_ever: bool,

    /// Each retransmission gets a new message ID (against RFC 7252, section 4.2).
    pub retransmit_new_mid: bool,
    /// Each retransmission of a request gets a new token (against RFC 7252, section 4.2).
    pub retransmit_new_token: bool,
    /// Retransmissions differ from the first datagram in their last byte (against RFC 7252, section 4.2).
    pub retransmit_altered: bool,
    /// Every time-out is this long, without randomness or doubling (against RFC 7252, section 4.2).
    pub retransmit_early: Option<Duration>,
    /// A lost message is never sent again, yet given up at the usual time.
    pub no_retransmission: bool,
    /// Gives up at the time-out after this many retransmissions, without waiting for MAX_RETRANSMIT. With 1, two losses in a
    /// row end an exchange.
    pub gives_up_after: Option<u32>,
    /// Every message carries the message ID 0x1234 (against RFC 7252, section 4.4).
    pub mid_reuse: bool,
    /// Message IDs go up to this number only, so that they come round within EXCHANGE_LIFETIME.
    pub mid_modulo: Option<u16>,

    /// An empty CON is answered by an empty ACK (against RFC 7252, section 4.2).
    pub ping_gets_ack: bool,
    /// An empty CON is not answered.
    pub ping_ignored: bool,

    /// Error responses carry no token (against RFC 7252, section 5.3.1).
    pub error_without_token: bool,
    /// Responses of this code carry no token.
    pub reply_without_token: Option<Code>,
    /// Unknown critical options are skipped (against RFC 7252, section 5.4.1).
    pub critical_ignored: bool,
    /// Of a repeated critical option the first is taken (against RFC 7252, section 5.4.5).
    pub first_of_repeated: bool,
    /// This option is taken for an unknown critical one: 4.02, though it may be elective.
    pub option_refused: Option<u16>,
    /// Reserved method codes are served as GET (against RFC 7252, section 5.8).
    pub unknown_method_is_get: bool,
    /// A piggybacked response is followed by a second ACK 5.00.
    pub second_reply: bool,
    /// Requests whose datagram is longer than this are dropped unseen.
    pub receive_limit: Option<usize>,

    /// A CON response gets no ACK (against RFC 7252, section 5.2.2).
    pub separate_not_acked: bool,
    /// A copy of a response or of a notification that came before is dropped without an ACK (against RFC 7252, section 4.5).
    pub copied_response_ignored: bool,
    /// A separate response that comes before the empty ACK is dropped (against RFC 7252, section 5.2.2).
    pub needs_empty_ack: bool,
    /// An ACK that comes after a retransmission is rejected with RST.
    pub late_ack_rejected: bool,
    /// An RST of unknown message ID ends the oldest exchange with that peer (against RFC 7252, section 4.2).
    pub stray_rst_aborts: bool,
    /// An ACK of unknown message ID ends the oldest exchange with that peer.
    pub stray_ack_aborts: bool,
    /// An RST to a notification is taken for an ACK (against RFC 7641, section 3.6).
    pub rst_ignored: bool,
    /// The token of a response is not looked at, only the message ID.
    pub token_unchecked: bool,

    /// Messages of another version are handled as version 1 (against RFC 7252, section 3).
    pub version_unchecked: bool,
    /// Token lengths 9 to 15 are read, and a token may end beyond the datagram (against RFC 7252, section 3).
    pub token_length_unchecked: bool,
    /// Option deltas and lengths of 15, and options beyond the end, are read as far as there are bytes (against RFC 7252,
    /// section 3.1).
    pub option_overrun: bool,
    /// What a payload marker without payload means (RFC 7252, section 3: a format error).
    pub bare_marker: BareMarker,
}

/// Treatment of a duplicate request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// The reply is repeated and nothing happens twice.
    #[default]
    Repeat,
    /// Handed to the owner as a new request: there is no deduplication.
    Process,
    /// Dropped without a reply.
    Drop,
    /// Answered with this code, such as 5.03, 4.08 or 5.00.
    Answer(Code),
}

/// Which duplicates a quirk concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DuplicateFilter {
    /// All of them.
    #[default]
    Any,
    /// Requests with Block1 number 0 and more to come.
    FirstBlock,
    /// Requests with Block1 in mid-body: a number above 0 and more to come.
    MiddleBlock,
    /// Requests with Block1 and nothing more to come.
    LastBlock,
    /// POST without a Block1 option, as an Execute.
    PlainPost,
    /// PUT without a Block1 option, as a write of a Package URI.
    PlainPut,
}

/// Meaning of a payload marker that nothing follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BareMarker {
    /// A format error, as it should be.
    #[default]
    Reject,
    /// An empty payload.
    Empty,
    /// A payload of one NUL byte.
    Nul,
}
