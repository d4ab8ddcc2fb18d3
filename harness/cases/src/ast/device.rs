//! The devices that the harness plays where the IUT is a server: how they are, what they do
//! otherwise than a correct device, and what happens to them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{At, CodeMatch, Hex, Many, MessageType, Method, Pair, Path, Size, Span, StateName, ValueMatch};
use super::security::{DeviceSecurity, SuiteName};

/// The ways by which a device takes a package (object 5 resource 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Only by a URI: 0.
    Pull,
    /// Only written to resource 0: 1.
    Push,
    /// Either way: 2.
    #[default]
    Both,
}

/// A device of the harness. What is absent is as in a correct device with object 5 in version 1.0 over LwM2M 1.0,
/// which takes packages either way, offers CoAP alone and blocks of 512 bytes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeviceSetup {
    /// Version of the enabler as the Register says it: `1.0`, `1.1`, `1.2`, or any text such as `9.9`.
    pub lwm2m: Option<At<String>>,
    /// Version of object 5: `1.0`, `1.1` or `1.2`.
    pub object: Option<At<String>>,
    /// Binding of the Register: `U`, `UQ`, `Q`; `U` if absent.
    pub binding: Option<String>,
    /// Registration lifetime; the parameter `lifetime` if absent.
    pub lifetime: Option<Span>,
    /// What `/5/0/9` says and the device takes; `both` if absent.
    pub delivery: Option<Delivery>,
    /// What `/5/0/8` lists; `0` (CoAP) if absent.
    pub protocols: Option<Many<u8>>,
    /// Resources that the device lacks, such as `/5/0/8`.
    pub lacks: Option<Many<Path>>,
    /// State and Result that it starts with, left by an earlier update; `0/0` if absent.
    pub pair: Option<At<Pair>>,
    /// The firmware version that it runs at first, `/3/0/3`; `1.0.0` if absent.
    pub version: Option<String>,
    /// The object list of the Register, verbatim.
    pub links: Option<String>,
    /// Largest block that it takes and gives; 512 if absent.
    pub block: Option<At<u16>>,
    /// Block size that it asks for when it pulls; 512 if absent.
    pub pull_block: Option<At<u16>>,
    /// Whether the first GET of a pull names a block size; true if absent. Else the size of the first answer decides.
    pub early_block: Option<bool>,
    /// Whether a pull begins anew when the ETag changes; true if absent.
    pub etag_check: Option<bool>,
    /// Whether a pull goes on after a power cut where it was; true if absent.
    pub resume: Option<bool>,
    /// Its power is cut once in the middle of a transfer, pushed or pulled.
    pub power_cut: Option<PowerCutAt>,
    /// Values that it shows whatever it does, such as `/5/0/9: 7`: integers, and text otherwise. Those of `/5/0/8/0` stand for
    /// all instances of their resource.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ValueMatch>")]
    pub values: BTreeMap<String, String>,
    /// Type of its notifications, `con` or `non`; `non` if absent.
    pub notifications: Option<At<MessageType>>,
    /// From power on or a reboot to its Register; 2 s if absent.
    pub boot: Option<Span>,
    /// How long an installation takes; 4 s if absent.
    pub install: Option<Span>,
    /// States that it passes without showing them: `downloading`, `updating`.
    pub skip_states: Option<Many<StateName>>,
    /// It shows Downloading this long after the last block, and Downloaded then.
    pub downloaded_after: Option<Span>,
    /// State and Result in which an installation ends, whatever the package; that of the package if absent.
    pub ends: Option<At<Pair>>,
    /// State and Result in which a download ends, whatever the package, such as `0/5`.
    pub download_ends: Option<At<Pair>>,
    /// Every Execute is put off by this time: 2/11 until then.
    pub defer_for: Option<Span>,
    /// After an installation it goes on without a reboot, in the same registration.
    pub in_place: Option<bool>,
    /// The firmware version that it shows after an installation, whatever the package installs.
    pub version_after: Option<String>,
    /// Its flash is busy with each block for this long: an empty ACK at once, the answer after that.
    pub flash_delay: Option<Span>,
    /// Whether it updates its registration before the lifetime ends; true if absent.
    pub keep_alive: Option<bool>,
    /// It tells State and Result by Send and notifies nothing.
    pub send_changes: Option<bool>,
    /// Most bytes that a package may have.
    pub flash: Option<Size>,
    /// In queue mode: how long it listens after its last message; 93 s if absent.
    pub awake: Option<Span>,
    /// Radio signal strength, `/4/0/2`, from these times on.
    #[serde(default)]
    pub radio: Vec<RadioSample>,
    /// DTLS with a pre-shared key; CoAP in clear if absent.
    pub security: Option<DeviceSecurity>,
    /// It registers under the endpoint name of this device.
    pub endpoint_of: Option<At<String>>,
    /// Whether it is switched on at the start of the case; true if absent. Else by a step `device: {do: start}`.
    pub start: Option<bool>,
    /// What it does otherwise than a correct device.
    #[serde(default)]
    pub behaviours: Vec<At<Behaviour>>,
}

/// A power cut once so many bytes of a package are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PowerCutAt {
    /// Bytes of the package that are stored before.
    pub at: Size,
    /// How long it is off.
    #[serde(rename = "for")]
    pub lasting: Span,
}

/// A signal strength from a time on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RadioSample {
    /// Since the start of the case.
    pub at: Span,
    /// In dBm.
    pub rssi: i64,
    /// Link quality, `/4/0/3`, from that time on; as before if absent.
    pub quality: Option<i64>,
}

/// What a device does with the requests that match, instead of what it should.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Behaviour {
    /// Which requests of the server; every one if absent.
    pub on: Option<OnRequest>,
    /// At most this many requests.
    pub times: Option<u32>,
    /// What it does.
    #[serde(rename = "do")]
    pub action: At<BehaviourAction>,
    /// For `code`: the response code.
    pub code: Option<At<CodeMatch>>,
    /// For `code`: Max-Age in seconds.
    pub max_age: Option<u32>,
    /// For `code` and `smaller-block`: the block size that the answer names; with `code` it stands in a Block1 option.
    pub size: Option<At<u16>>,
    /// For `code`: Size1.
    pub size1: Option<u32>,
    /// For `separate`, `separate-without-ack`, `delay` and `late-copy`: how much later.
    pub delay: Option<Span>,
    /// For `power-cut`, `sleep` and `pause`: how long; for `rebind`: how long until it tells the server by an Update.
    #[serde(rename = "for")]
    pub lasting: Option<Span>,
}

/// Which requests of the server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OnRequest {
    /// With this method.
    pub method: Option<Method>,
    /// For this path.
    pub path: Option<Path>,
    /// With this number of Block1.
    pub block: Option<u32>,
    /// With this number of Block1 or a higher one.
    pub from_block: Option<u32>,
    /// Every k-th block: numbers k-1, 2k-1, and so on.
    pub every: Option<u32>,
    /// The last block.
    pub last: Option<bool>,
    /// With blocks larger than this.
    pub larger_than: Option<u16>,
    /// With a block that reaches beyond this byte of the body, whatever its size.
    pub from_byte: Option<Size>,
    /// So many of the requests that match are let through first.
    pub skip: Option<u32>,
}

/// The misbehaviours of a device, and what else may befall a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BehaviourAction {
    /// It does not see the request.
    #[default]
    Silence,
    /// It does what is asked, and its answer is lost; to a retransmission it gives the answer again.
    AnswerLost,
    /// It answers with `code` and does nothing else.
    Code,
    /// It takes the block and asks for blocks of `size` from here on.
    SmallerBlock,
    /// An empty ACK at once, the response as a CON after `delay`.
    Separate,
    /// The response as a CON after `delay`, without an ACK before it.
    SeparateWithoutAck,
    /// The answer twice.
    Twice,
    /// The answer, and the same again after `delay`.
    LateCopy,
    /// The answer in the ACK, after `delay`.
    Delay,
    /// A Reset.
    Reset,
    /// It loses power before it answers, and is back after `for`.
    PowerCut,
    /// It gets another address and says so by an Update after `for`.
    Rebind,
    /// It hears nothing for the time of `for`, and sends an Update then.
    Sleep,
    /// It is busy for the time of `for`: an empty ACK at once, the answers to all that is asked meanwhile after that.
    Pause,
}

/// Something that happens to a device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeviceStep {
    /// Which; `main` if absent.
    pub name: Option<At<String>>,
    /// What.
    #[serde(rename = "do")]
    pub action: At<DeviceAction>,
    /// For `notify`, `set` and `send`: the resource.
    pub path: Option<Many<Path>>,
    /// For `set`: the value.
    pub value: Option<String>,
    /// For `pair`: State and Result from now on; for `finish`: those in which the installation under way ends.
    pub pair: Option<At<Pair>>,
    /// For `power-cut` and `sleep`: how long; for good if absent.
    #[serde(rename = "for")]
    pub lasting: Option<Span>,
    /// For `resend`: what is sent again, byte for byte.
    pub of: Option<Resent>,
    /// For `notify`: with this token, in hexadecimal, whatever is observed.
    pub token: Option<Hex>,
    /// For `notify` with a token: `con` or `non`.
    #[serde(rename = "type")]
    pub kind: Option<MessageType>,
    /// For `behave`: these instead of all that it had.
    pub behaviours: Option<Vec<At<Behaviour>>>,
}

/// What can happen to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceAction {
    /// It is switched on.
    #[default]
    Start,
    /// It de-registers and switches itself off.
    Stop,
    /// Its power is cut.
    PowerCut,
    /// It starts anew, without a De-register.
    Reboot,
    /// It registers again from where it is.
    Register,
    /// It updates its registration.
    Update,
    /// It de-registers and stays on.
    Deregister,
    /// It gets another address and says nothing of it.
    Rebind,
    /// It hears nothing.
    Sleep,
    /// It hears again and sends an Update.
    Wake,
    /// It sends a notification of each observed path.
    Notify,
    /// A value changes.
    Set,
    /// State and Result change.
    Pair,
    /// The installation under way ends.
    Finish,
    /// It sends an earlier message again.
    Resend,
    /// It sends values of its own accord (Send).
    Send,
    /// It behaves otherwise from now on.
    Behave,
}

/// A message of a device that it can send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resent {
    /// Its last Register.
    Register,
    /// Its last Update.
    Update,
    /// Its last notification.
    Notification,
}

/// What a device knows of itself and of what was done to it, since it was first switched on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeviceFacts {
    /// Whether it holds a registration.
    pub registered: Option<bool>,
    /// Pushes that were begun.
    pub pushes: Option<ValueMatch>,
    /// Pulls that it began.
    pub pulls: Option<ValueMatch>,
    /// Writes of the Package URI, empty ones not counted.
    pub uri_writes: Option<ValueMatch>,
    /// Blocks of pushes that it took.
    pub blocks: Option<ValueMatch>,
    /// Executes of Update that it refused.
    pub executes_refused: Option<ValueMatch>,
    /// Registers that the server accepted.
    pub registrations: Option<ValueMatch>,
    /// Updates of the registration that the server accepted.
    pub updates: Option<ValueMatch>,
    /// The last answer of the server to a Register, Update or De-register.
    pub last_answer: Option<CodeMatch>,
    /// Resets of the firmware object: a NUL package or an empty URI.
    pub resets: Option<ValueMatch>,
    /// Executes of Cancel (object 5 resource 10).
    pub cancels: Option<ValueMatch>,
    /// Paths that were read or observed, each at least once.
    pub read: Option<Many<Path>>,
    /// Paths that are observed now.
    pub observed: Option<Many<Path>>,
    /// DTLS handshakes that ended well.
    pub handshakes: Option<ValueMatch>,
    /// DTLS handshakes that the server refused by an alert, or never finished.
    pub refused_handshakes: Option<ValueMatch>,
    /// The cipher suite of the last DTLS handshake that ended well.
    pub suite: Option<SuiteName>,
    /// Whether the server gave a connection id in that handshake (RFC 9146).
    pub connection_id: Option<bool>,
}

impl DeviceAction {
    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::PowerCut => "power-cut",
            Self::Reboot => "reboot",
            Self::Register => "register",
            Self::Update => "update",
            Self::Deregister => "deregister",
            Self::Rebind => "rebind",
            Self::Sleep => "sleep",
            Self::Wake => "wake",
            Self::Notify => "notify",
            Self::Set => "set",
            Self::Pair => "pair",
            Self::Finish => "finish",
            Self::Resend => "resend",
            Self::Send => "send",
            Self::Behave => "behave",
        }
    }
}

impl BehaviourAction {
    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::AnswerLost => "answer-lost",
            Self::Code => "code",
            Self::SmallerBlock => "smaller-block",
            Self::Separate => "separate",
            Self::SeparateWithoutAck => "separate-without-ack",
            Self::Twice => "twice",
            Self::LateCopy => "late-copy",
            Self::Delay => "delay",
            Self::Reset => "reset",
            Self::PowerCut => "power-cut",
            Self::Rebind => "rebind",
            Self::Sleep => "sleep",
            Self::Pause => "pause",
        }
    }
}

impl DeviceFacts {
    /// The facts that are asked for, in words.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        match self.registered {
            Some(true) => words.push("registered".to_owned()),
            Some(false) => words.push("not registered".to_owned()),
            None => {}
        }
        for (name, value) in [
            ("pushes", &self.pushes),
            ("pulls", &self.pulls),
            ("writes of a URI", &self.uri_writes),
            ("blocks", &self.blocks),
            ("refused Executes", &self.executes_refused),
            ("registrations", &self.registrations),
            ("updates of the registration", &self.updates),
            ("resets", &self.resets),
            ("Executes of Cancel", &self.cancels),
            ("DTLS handshakes", &self.handshakes),
            ("refused DTLS handshakes", &self.refused_handshakes),
        ] {
            words.extend(value.as_ref().map(|value| format!("{name}: {value}")));
        }
        words.extend(
            self.last_answer
                .map(|code| format!("the last answer of the server: {code}")),
        );
        if let Some(paths) = &self.read {
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            words.push(format!("read or observed: {}", paths.join(", ")));
        }
        if let Some(paths) = &self.observed {
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            words.push(format!("observed: {}", paths.join(", ")));
        }
        words.extend(self.suite.map(|suite| format!("cipher suite {suite}")));
        words.extend(self.connection_id.map(|given| {
            if given {
                "a connection id of the server".to_owned()
            } else {
                "no connection id of the server".to_owned()
            }
        }));
        words
    }
}

impl OnRequest {
    /// The requests in words.
    #[must_use]
    pub fn text(&self) -> String {
        let mut words = Vec::new();
        words.push(
            self.method
                .map_or_else(|| "a request".to_owned(), |method| method.to_string()),
        );
        words.extend(self.path.iter().map(ToString::to_string));
        words.extend(self.block.map(|number| format!("block {number}")));
        words.extend(self.from_block.map(|number| format!("from block {number}")));
        words.extend(self.every.map(|number| format!("every {number}. block")));
        words.extend(self.larger_than.map(|size| format!("larger than {size}")));
        words.extend(self.from_byte.map(|byte| format!("beyond byte {}", byte.0)));
        words.extend(self.skip.map(|count| format!("after {count} others")));
        if self.last == Some(true) {
            words.push("the last block".to_owned());
        }
        words.join(" ")
    }
}

/// Block sizes of CoAP (RFC 7959 section 2.2).
pub const BLOCK_SIZES: [u16; 7] = [16, 32, 64, 128, 256, 512, 1024];

/// Whether there are blocks of that size.
#[must_use]
pub const fn is_block_size(size: u16) -> bool {
    let mut i = 0;
    while i < BLOCK_SIZES.len() {
        if BLOCK_SIZES[i] == size {
            return true;
        }
        i += 1;
    }
    false
}
