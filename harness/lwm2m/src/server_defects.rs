//! Planted defects of the server: named misbehaviours of the embedded [`UpdateServer`](crate::update_server::UpdateServer) and of its
//! [`Campaign`](crate::campaign::Campaign).
//!
//! A defect is a parameter of the one server there is, never a fork of it. Those of the message layer become [`Quirks`] of the endpoint, those of a
//! transfer become quirks of the block-wise sender, the others are asked for where the campaign or the server decides. The names are those of the
//! catalogue of cases; most were seen in the field.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeSet;

use fotaproof_coap::blockwise::SendQuirks;
use fotaproof_coap::{DuplicateFilter, Duplicates, Quirks};

macro_rules! server_defects {
    ($($variant:ident = $name:literal: $summary:literal,)*) => {
        /// A named misbehaviour of the reference server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ServerDefect {
            $(#[doc = $summary] $variant,)*
        }

        impl ServerDefect {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in kebab case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What the server does wrong, in one sentence.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self {
                    $(Self::$variant => $summary,)*
                }
            }
        }
    };
}

server_defects! {
    // Registration.
    VersionUnchecked = "srv-version-unchecked": "A Register with an LwM2M version that nobody knows gets 2.01.",
    OldAddress = "srv-old-address": "After a new Register requests still go to the address of the first one.",
    OldMapping = "srv-old-mapping": "After an Update from a new address requests still go to the old one.",
    RegisterTwice = "srv-register-twice": "A duplicate Register makes a second location.",
    // Choice of the way.
    CancelOn10 = "srv-cancel-on-1-0": "A campaign begins with an Execute of Cancel, also on object 5 version 1.0, which has none.",
    UriToPushDevice = "srv-uri-to-push-device": "A URI is written although the device takes pushes only.",
    PushToPullDevice = "srv-push-to-pull-device": "The package is pushed although the device only pulls.",
    BothAtOnce = "srv-both-at-once": "A URI is written and the package is pushed at the same time.",
    HttpToCoapDevice = "srv-http-to-coap-device": "An http URI is written whatever protocols the device lists.",
    // Push.
    LastMBit = "srv-last-m-bit": "The last block of a package of whole blocks has M set.",
    NumNotRescaled = "srv-num-not-rescaled": "After a smaller block size the next block has the next number, not the next offset.",
    FinalAt413 = "srv-413-is-final": "A 4.13 with a smaller block size ends the campaign.",
    SameSizeForEver = "srv-same-size-for-ever": "Blocks of 1024 bytes are pushed again and again, whatever gets lost.",
    Loop413 = "srv-413-loop": "A push that was refused with 4.13 is begun again for ever.",
    Ignored408 = "srv-408-ignored": "After a 4.08 the push goes on with the next block.",
    Hammer503 = "srv-503-hammer": "A block that was answered 5.03 is sent again every 50 ms.",
    ExecutesLeftover = "srv-executes-leftover": "A package that lay on the device before the campaign is installed.",
    ResendNewMid = "srv-resend-new-mid": "Each retransmission carries a new message ID.",
    LateAckKills = "srv-late-ack-kills": "An ACK of an earlier block ends the campaign.",
    SeparateNotAcked = "srv-separate-not-acked": "A confirmable separate response gets no ACK.",
    MidReused = "srv-mid-reused": "Message IDs come round after 512 messages.",
    CannotRestart = "srv-cannot-restart": "A push that ended early blocks every later one to the same device.",
    ImageTimeout = "srv-image-timeout": "A push that takes longer than two minutes is a failure.",
    TwoMinuteLimit = "srv-two-minute-limit": "A push stops without a word two minutes after its first block.",
    BodiesSwapped = "srv-bodies-swapped": "While two pushes run, a block of one carries bytes of the other.",
    // Following the device.
    WaitsFor1 = "srv-waits-for-1": "State 2 does not count before State 1 was seen.",
    NeverReobserves = "srv-never-reobserves": "After a Register the server neither observes nor reads again.",
    NatNotifyFatal = "srv-nat-notify-fatal": "A notification from an unknown address ends the campaign as failed.",
    SuccessUnverified = "srv-success-unverified": "Result 1 is a success whatever version the device runs.",
    Result8IdleUnknown = "srv-result-8-idle-unknown": "Result 8 in Idle is not understood: the campaign goes on waiting.",
    DeferIsFailure = "srv-defer-is-failure": "Result 11 ends the campaign as failed.",
    StaleResult = "srv-stale-result": "The Result of an earlier update is taken for that of this one.",
    ExecuteEarly = "srv-execute-early": "Execute follows the last 2.04 at once, in whatever State the device is.",
    NoRetryAfterLoss = "srv-no-retry-after-loss": "After a device was lost in mid-transfer the campaign neither goes on nor ends.",
    UpdateLoop = "srv-update-loop": "Each Register of an updated device begins the update anew.",
    // Conditions.
    SendsToSleeper = "srv-sends-to-sleeper": "Queue mode is ignored: requests are sent while the device sleeps.",
    WindowIgnored = "srv-window-ignored": "Execute is sent outside its windows.",
    RadioIgnored = "srv-radio-ignored": "The transfer starts at any signal strength.",
    // Repository.
    RepoBlock0 = "srv-repo-block-0": "Every GET of a file is answered with block 0.",
    // DTLS.
    IdentityUnbound = "srv-identity-unbound": "An endpoint name is accepted from any PSK identity.",
    AnyIdentity = "srv-any-identity": "A PSK identity that nobody knows is taken for the first that is known.",
    FailureEndsAll = "srv-failure-ends-all": "A DTLS handshake that fails ends the associations of all devices.",
    CidIgnored = "srv-cid-ignored": "Records with a connection id are dropped when they come from a new address.",
    // Beyond the catalogue.
    ExecuteTwice = "srv-execute-twice": "Execute is sent a second time right after it was answered.",
    KeepClearIgnored = "srv-keep-clear-ignored": "Execute and transfers go into periods that are to be kept clear.",
    PauseIgnored = "srv-pause-ignored": "A paused update goes on.",
    FailedIsSuccess = "srv-failed-is-success": "Any Result above 1 is reported as a success.",
    Deregister404 = "srv-deregister-404": "A De-register is answered 4.04 and the registration stays.",
    LocationMissing = "srv-location-missing": "The 2.01 of a Register has no Location-Path.",
    UnknownUpdateAccepted = "srv-unknown-update-accepted": "An Update of a registration that the server does not have is answered 2.04.",
    PauseHoldsAll = "srv-pause-holds-all": "A pause of one update holds those of all devices.",
    SendRefused = "srv-send-refused": "A Send is answered 4.05.",
    RepoEtagChanges = "srv-repo-etag-changes": "From block 8 on the repository gives another ETag for the same file.",
    UnknownDeliveryWaits = "srv-unknown-delivery-waits": "A Delivery Method that nobody knows makes an update wait for ever.",
    SeparateCopyIgnored = "srv-separate-copy-ignored": "The copy of a separate response gets no ACK.",
    OwnRepositoryOnly = "srv-own-repository-only": "The URI of the server's own repository is written, whatever URI the operator gave.",
    RepoEtagStays = "srv-repo-etag-stays": "A new file under the path of an old one keeps its ETag.",
    UriTooLong = "srv-uri-too-long": "A Package URI of more than 255 octets is written.",
    NotificationTwice = "srv-notification-twice": "The copy of a confirmable notification is told as another one.",
    NstartIgnored = "srv-nstart-ignored": "During a push State is read while a block waits for its acknowledgement.",
}

/// Defects that a server has.
pub type ServerDefectSet = BTreeSet<ServerDefect>;

/// A name that no defect of the server has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no defect of the server is called {0:?}")]
pub struct UnknownServerDefect(pub String);

impl ServerDefect {
    /// Every defect, in the order of this page.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }
}

impl fmt::Display for ServerDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ServerDefect {
    type Err = UnknownServerDefect;

    fn from_str(name: &str) -> Result<Self, UnknownServerDefect> {
        Self::all()
            .find(|defect| defect.name() == name)
            .ok_or_else(|| UnknownServerDefect(name.to_owned()))
    }
}

/// What the defects ask of the message layer.
pub(crate) fn apply(defects: &ServerDefectSet, quirks: &mut Quirks) {
    for defect in defects {
        match defect {
            ServerDefect::RegisterTwice => {
                quirks.duplicates = Duplicates::Process;
                quirks.duplicate_filter = DuplicateFilter::PlainPost;
            }
            ServerDefect::ResendNewMid => quirks.retransmit_new_mid = true,
            ServerDefect::SeparateNotAcked => quirks.separate_not_acked = true,
            ServerDefect::SeparateCopyIgnored => quirks.copied_response_ignored = true,
            ServerDefect::MidReused => quirks.mid_modulo = Some(512),
            _ => {}
        }
    }
}

/// What the defects ask of a push.
pub(crate) fn send_quirks(defects: &ServerDefectSet) -> SendQuirks {
    SendQuirks {
        number_not_rescaled: defects.contains(&ServerDefect::NumNotRescaled),
        more_at_exact_multiple: defects.contains(&ServerDefect::LastMBit),
        errors_ignored: defects.contains(&ServerDefect::Ignored408),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_read_back() {
        let names: BTreeSet<&str> = ServerDefect::all().map(ServerDefect::name).collect();
        assert_eq!(names.len(), ServerDefect::all().count());
        for defect in ServerDefect::all() {
            assert_eq!(defect.to_string().parse(), Ok(defect));
            assert!(defect.name().starts_with("srv-"), "{defect}");
            let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(defect.name().bytes().all(kebab), "{defect}");
            assert!(
                defect.summary().ends_with('.') && defect.summary().len() > 20,
                "{defect}"
            );
        }
        assert_eq!(
            "valid".parse::<ServerDefect>(),
            Err(UnknownServerDefect("valid".to_owned()))
        );
    }
}
