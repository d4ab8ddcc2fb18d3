//! What the checks need to know of a run.

use core::time::Duration;
use fotaproof_trace::Grade;

/// Where the events come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A live run: every datagram of the IUT is in the stream, restarts of the IUT are events.
    #[default]
    Live,
    /// A capture of the field: datagrams may be missing or doubled, restarts are unseen. Rules that rest on an
    /// absence are not judged, and timing is advice.
    Capture,
}

/// The transmission parameters of the IUT and how exactly its clock can be seen (RFC 7252, 4.8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// ACK_TIMEOUT.
    pub ack_timeout: Duration,
    /// ACK_RANDOM_FACTOR.
    pub ack_random_factor: f64,
    /// MAX_RETRANSMIT.
    pub max_retransmit: u32,
    /// EXCHANGE_LIFETIME.
    pub exchange_lifetime: Duration,
    /// NON_LIFETIME.
    pub non_lifetime: Duration,
    /// How far an interval may be off before it is judged: the granularity of the IUT's timer and of the driver.
    /// Multiply by the speed when the IUT runs under a scaled clock.
    pub tolerance: Duration,
    /// How long a datagram may need from the wire into the IUT's mind, before the IUT must act on it.
    pub grace: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_factor: 1.5,
            max_retransmit: 4,
            exchange_lifetime: Duration::from_secs(247),
            non_lifetime: Duration::from_secs(145),
            tolerance: Duration::from_millis(100),
            grace: Duration::from_secs(1),
        }
    }
}

/// The side of LwM2M that the IUT is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A client: the checks on the firmware object, on notifications and on its registration are about it.
    #[default]
    Client,
    /// A server: the checks on the message layer and on blocks are about it, and those that only a server can break.
    Server,
}

/// What the checks need to know of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckConfig {
    /// The side that the IUT is.
    pub role: Role,
    /// Version of the Firmware Update object of the IUT. A higher one in its Register counts instead.
    pub object_version: (u8, u8),
    /// LwM2M version of the IUT. The one in its Register counts instead.
    pub lwm2m_version: (u8, u8),
    /// The link's MTU, in bytes of an IP packet; none: not judged.
    pub mtu: Option<u16>,
    /// Ids of checks to leave out.
    pub disabled: Vec<String>,
    /// Live run or capture.
    pub mode: Mode,
    /// Another grade for all findings of a check.
    pub grades: Vec<(String, Grade)>,
    /// Transmission parameters of the IUT.
    pub timing: Timing,
    /// Messages remembered at the most, each way of asking; older ones are forgotten before their lifetime is over, which
    /// leaves findings out but makes none. In a live run all that live are remembered.
    pub remember: usize,
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self {
            role: Role::Client,
            object_version: (1, 0),
            lwm2m_version: (1, 1),
            mtu: None,
            disabled: Vec::new(),
            mode: Mode::Live,
            grades: Vec::new(),
            timing: Timing::default(),
            remember: usize::MAX,
        }
    }
}
