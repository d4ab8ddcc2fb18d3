//! Planted defects: named misbehaviours of the reference device. Each turns at least one case of the library to fail.
//!
//! A defect is a parameter of the one device there is, never a fork of it. Those of the message layer become [`Quirks`] of the endpoint, the others are asked for where the device
//! decides. The names are those of the catalogue of cases; most were seen in the field.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::collections::BTreeSet;

use fotaproof_coap::{BareMarker, DuplicateFilter, Duplicates, Quirks};
use fotaproof_wire::coap::{Code, option};

macro_rules! defects {
    ($($variant:ident = $name:literal: $summary:literal,)*) => {
        /// A named misbehaviour of the reference device.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defect {
            $(#[doc = $summary] $variant,)*
        }

        impl Defect {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in kebab case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What the device does wrong, in one sentence.
            pub const fn summary(self) -> &'static str {
                match self {
                    $(Self::$variant => $summary,)*
                }
            }
        }
    };
}

defects! {
    // What a set-up that does not work looks like.
    NeverRegisters = "never-registers": "The device starts and never sends a Register.",
    ReadsUnanswered = "reads-unanswered": "No read is ever answered.",
    // Registration.
    RegListsSecurity = "reg-lists-security": "The Register payload also names the Security object.",
    VerOverstated = "ver-overstated": "Object 5 is registered one version above the one it has.",
    UpdateAfterExpiry = "update-after-expiry": "The registration Update is sent five seconds after the lifetime has ended.",
    TriggerResetsState = "trigger-resets-state": "The Registration Update Trigger drops the stored package.",
    DiesOnRefusedUpdate = "dies-on-refused-update": "The device falls silent for ever when its Update gets a 4.xx.",
    RetransmitNewMid = "retransmit-new-mid": "Each retransmission carries a new message ID.",
    RegisterStorm = "register-storm": "A refused Register is repeated at once, for ever.",
    DeregisterWrongPath = "deregister-wrong-path": "The De-register goes to /rd without the location.",
    EndpointNameRandom = "endpoint-name-random": "The endpoint name differs after each start.",
    LocationCut = "location-cut": "Only the first two segments of the Location-Path are kept.",
    // Discovery and types.
    ReadListsPackage = "read-lists-package": "A read of the firmware instance contains resource 0, Package.",
    VersionAbsent = "version-absent": "/3/0/3, Firmware Version, answers 4.04.",
    DiscoverOmitsUpdate = "discover-omits-update": "Discover leaves out /5/0/2.",
    PackageReadable = "package-readable": "A read of Package answers 2.05.",
    StateWritable = "state-writable": "A Write of State answers 2.04 and changes it.",
    ExecuteAnyResource = "execute-any-resource": "A POST without payload answers 2.04 on any resource.",
    AbsentIsEmpty = "absent-is-empty": "A read of what does not exist answers an empty 2.05.",
    InstanceDeletable = "instance-deletable": "DELETE /5/0 removes the firmware instance.",
    DeliveryLies = "delivery-lies": "Delivery Method says both, yet every push is refused.",
    ProtocolOverstated = "protocol-overstated": "Protocol Support lists HTTP, which the device does not have.",
    StateAsString = "state-as-string": "State is encoded as a text digit in TLV and SenML.",
    VendorResourceIn5 = "vendor-resource-in-5": "Object 5 holds a private resource 77.",
    // Push.
    SuccessWithoutInstall = "success-without-install": "The update reports success and the old firmware goes on running.",
    NulIsPackage = "nul-is-package": "A single NUL byte written to Package in Idle starts a download.",
    PackageCutAt128 = "package-cut-at-128": "Only the first 128 bytes of a package sent without Block1 are stored.",
    Num8Bit = "num-8-bit": "A Block1 value of two bytes is read as one, so the block number is taken modulo 16.",
    NumWraps256 = "num-wraps-256": "The block number is echoed modulo 256.",
    LargeBlockDropped = "large-block-dropped": "A block of 1024 bytes is never answered.",
    AckWrongNum = "ack-wrong-num": "2.31 echoes the block number minus one.",
    ContinueWithoutToken = "continue-without-token": "2.31 carries no token.",
    HintLarger = "hint-larger": "A 64-byte block is answered with SZX 6.",
    OffsetByOwnMaximum = "offset-by-own-maximum": "The offset of a block is its number times 512, whatever its size.",
    ResendIgnored = "resend-ignored": "A duplicate request is never answered.",
    Block0WrittenTwice = "block0-written-twice": "A duplicate first block is appended again.",
    LastResend408 = "last-resend-408": "A duplicate last block is answered 4.08.",
    FailureRestartsOnDup = "failure-restarts-on-dup": "A duplicate block is processed as if it were new.",
    GapAcknowledged = "gap-acknowledged": "A block after a gap still gets 2.31, and the last one 2.04.",
    OrphanLastAccepted = "orphan-last-accepted": "A lone final block gets 2.04, a lone middle block 2.31.",
    RestartIsDuplicate = "restart-is-duplicate": "A new block 0 in mid-body is dropped as a duplicate.",
    OpenBodyForEver = "open-body-for-ever": "An unfinished body blocks every later push.",
    EndpointsMixed = "endpoints-mixed": "Any source may continue a body, and any source may send one.",
    Size1Critical = "size1-critical": "A request with Size1 is answered 4.02.",
    NulLedImageResets = "nul-led-image-resets": "A package whose first byte is zero resets the object.",
    ExecuteTwice = "execute-twice": "A duplicate Execute installs a second time.",
    ResultSticks = "result-sticks": "The result of the last update is still shown with the next package.",
    // Pull.
    UriAcceptedNoGet = "uri-accepted-no-get": "A Package URI is accepted and never fetched.",
    QueryDropped = "query-dropped": "The query of the Package URI is missing in the GET.",
    BracketParse = "bracket-parse": "An IPv6 literal in a Package URI ends in Result 7.",
    PullMovesRegistration = "pull-moves-registration": "A pull from a separate repository takes the registration to a new port.",
    SamePeerConfused = "same-peer-confused": "During a pull from the server its requests are dropped as if they were blocks.",
    UriCutAt128 = "uri-cut-at-128": "Only 128 octets of a Package URI are kept.",
    UriReadEmpty = "uri-read-empty": "Package URI reads empty while downloading.",
    NeedsBlock2 = "needs-block2": "A 2.05 without Block2 is taken for a failure.",
    SmallSzxIgnored = "small-szx-ignored": "After a block smaller than asked for the old size is asked for again, with the next number.",
    NumNotRescaled = "num-not-rescaled": "After a late reduction the block number is not converted to the new size.",
    EndlessSameBlock = "endless-same-block": "A block that does not come is asked for, for ever.",
    NumUnchecked = "num-unchecked": "Whatever block arrives is appended.",
    EtagChangeIgnored = "etag-change-ignored": "A changed ETag in mid-transfer goes unnoticed.",
    ValidIsBlock = "valid-is-block": "2.03 counts as a received block.",
    StaleBlockAborts = "stale-block-aborts": "A late duplicate of a block ends the download.",
    SeparateNotAcked = "separate-not-acked": "A confirmable separate response gets no ACK.",
    NeedsEmptyAck = "needs-empty-ack": "A separate response that comes before the empty ACK is dropped.",
    RetransmitNewToken = "retransmit-new-token": "A GET sent again carries a new token.",
    SilentStall = "silent-stall": "When the last retransmission was in vain the download stays in State 1.",
    ErrorPayloadAppended = "error-payload-appended": "The diagnostic payload of an error response is stored as a block.",
    // State matrix.
    StartsInDownloaded = "starts-in-downloaded": "The first start shows State 2 without a package.",
    ExecuteInIdle = "execute-in-idle": "Execute in Idle answers 2.04 and State becomes 3.",
    NulKeepsResult = "nul-keeps-result": "The Result is not cleared by a NUL package or an empty URI.",
    EmptyUriDownloads = "empty-uri-downloads": "An empty Package URI in Idle starts a download.",
    BadUriHangs = "bad-uri-hangs": "A URI that cannot be parsed leaves State 1.",
    UnknownSchemeIs7 = "unknown-scheme-is-7": "An unknown scheme is reported as Result 7.",
    PushDuringPull = "push-during-pull": "A pushed package overwrites the running download.",
    NulHalfReset = "nul-half-reset": "A NUL package while downloading shows State 0, and the download goes on.",
    SecondDownloadStarted = "second-download-started": "A second URI while downloading is fetched in parallel.",
    ResetThenDownloaded = "reset-then-downloaded": "A reset while downloading is undone when the next block arrives.",
    ExecuteQueued = "execute-queued": "An Execute while downloading is refused and carried out after the download.",
    DownloadedOverwritten = "downloaded-overwritten": "A push in Downloaded replaces the stored package.",
    NulKeepsImage = "nul-keeps-image": "A reset in Downloaded leaves the package where Execute still finds it.",
    UriInDownloadedFetches = "uri-in-downloaded-fetches": "A Package URI in Downloaded starts a download.",
    EmptyUriIgnored = "empty-uri-ignored": "An empty URI in Downloaded answers 2.04 and changes nothing.",
    UpdatingShows1 = "updating-shows-1": "State reads 1 while installing.",
    PushInUpdating = "push-in-updating": "A push while installing ends the installation and resets the state.",
    NulInUpdating = "nul-in-updating": "A NUL package while installing gives 0/0.",
    UriInUpdating = "uri-in-updating": "A Package URI while installing ends the installation.",
    ExecuteInUpdating = "execute-in-updating": "An Execute while installing starts the installation anew.",
    Result8NotCleared = "result-8-not-cleared": "Result 8 is still shown while the package is installed again.",
    FailedIsFinal = "failed-is-final": "After Result 8 nothing can be reset.",
    Result1InUpdating = "result-1-in-updating": "Result 1 is shown while State is still 3.",
    DownloadingShownLate = "downloading-shown-late": "State 1 is shown only once the last block is there.",
    AutoUpgradeIgnored = "auto-upgrade-ignored": "The device waits for Execute although Automatic Upgrade is set.",
    // Results.
    ResultClearedLate = "result-cleared-late": "The old Result is shown until the package is complete.",
    Result1OneShot = "result-1-one-shot": "Reading Result 1 clears it.",
    FlashFullIs8 = "flash-full-is-8": "A package too big for the flash is reported as Result 8.",
    FlashFullGoesOn = "flash-full-goes-on": "A pull goes on after the flash is full.",
    NoRamIs2 = "no-ram-is-2": "A shortage of memory is reported as a shortage of flash.",
    NoRamStalls = "no-ram-stalls": "After a failed allocation State 1 stays.",
    PartialIsDownloaded = "partial-is-downloaded": "A push that stops in the middle becomes State 2.",
    LostLinkIs7 = "lost-link-is-7": "A lost connection is reported as Result 7.",
    ChecksumUnchecked = "checksum-unchecked": "A corrupt package becomes State 2 and installs.",
    CorruptPullIs4 = "corrupt-pull-is-4": "A corrupt package that was pulled is reported as Result 4.",
    InstallIntegrityIs1 = "install-integrity-is-1": "An integrity failure while installing is reported as success.",
    WrongTypeAccepted = "wrong-type-accepted": "A package of a foreign type ends in State 2.",
    WrongTypeIs5 = "wrong-type-is-5": "A package of a foreign type is reported as an integrity failure.",
    ResultWiped = "result-wiped": "A failure that comes at once is wiped to 0 by the entry into Downloading.",
    FailedInstallSilent = "failed-install-silent": "A failed installation ends 0/0.",
    FailedInstallIs1 = "failed-install-is-1": "A failed installation is reported as success.",
    UnlistedSchemeTried = "unlisted-scheme-tried": "A scheme that Protocol Support does not list is tried as CoAP.",
    // Cancel, defer, severity.
    CancelAnswers204 = "cancel-answers-204": "Cancel answers 2.04 on object version 1.0.",
    CancelIdleCrashes = "cancel-idle-crashes": "Cancel in Idle is never answered.",
    CancelKeepsFetching = "cancel-keeps-fetching": "The GETs of a pull go on after Cancel.",
    CancelledPushContinues = "cancelled-push-continues": "A block after Cancel is still accepted.",
    CancelIsResult0 = "cancel-is-result-0": "Cancel ends with Result 0.",
    CancelInUpdating = "cancel-in-updating": "Cancel while installing answers 2.04.",
    CancelSticks = "cancel-sticks": "A push after Cancel is refused.",
    DeferNeverEnds = "defer-never-ends": "A deferred update stays deferred after the period.",
    DeferAlthoughZero = "defer-although-zero": "The update is deferred although the period is 0.",
    DeferredInstallSurvives = "deferred-install-survives": "A deferred update is installed although it was reset.",
    SeverityUnbounded = "severity-unbounded": "Severity 3 is stored.",
    ChangeTimeFrozen = "change-time-frozen": "Last State Change Time is set at boot only.",
    // Reboot and persistence.
    NoRegisterAfterUpdate = "no-register-after-update": "After an update the device does not register.",
    RollbackShows1 = "rollback-shows-1": "The old image came back and the Result reads 1.",
    DownloadedStateOnly = "downloaded-state-only": "State 2 is kept over a restart, the package is not.",
    ImageNotSynced = "image-not-synced": "At a power cut State 2 is kept and the package is lost.",
    BootsInDownloading = "boots-in-downloading": "State 1 of a push is kept over a power cut, for ever.",
    ResumeWrongOffset = "resume-wrong-offset": "A resumed pull skips one block.",
    ResumeWithoutEtag = "resume-without-etag": "A resumed pull does not notice another ETag.",
    StuckInUpdating = "stuck-in-updating": "State 3 stays for ever after a power cut.",
    LateExecuteReboots = "late-execute-reboots": "An Execute in Idle after an update answers 2.04 and reboots.",
    FailedBecomesSuccess = "failed-becomes-success": "A failure reads as Result 1 after a restart.",
    RebootInstalls = "reboot-installs": "A plain reboot installs the stored package.",
    StaleObjectList = "stale-object-list": "The object list of the old firmware is registered after an update.",
    SeverityForgotten = "severity-forgotten": "Severity is back at its default after a restart.",
    ExecuteNoReply = "execute-no-reply": "The device reboots before it has answered Execute.",
    // Observe.
    DownloadedNotNotified = "downloaded-not-notified": "State 2 is never notified.",
    TokensSwapped = "tokens-swapped": "Notifications of two observations carry each other's token.",
    ObserveGoesBack = "observe-goes-back": "The sequence number falls after a failed update.",
    PmaxIgnored = "pmax-ignored": "A steady value is never notified.",
    CompositeOmitsResult = "composite-omits-result": "Composite reads and notifications lack /5/0/5.",
    CancelGetIgnored = "cancel-get-ignored": "Notifications go on after a GET with Observe 1.",
    RstIgnored = "rst-ignored": "Notifications go on after an RST.",
    ReobserveStalls = "reobserve-stalls": "A second observation of a resource silences both.",
    NotifyGivesUp = "notify-gives-up": "A lost notification is never repeated.",
    OldObserveSurvives = "old-observe-survives": "Observations from before the reboot are still served.",
    ReadBlockedInPull = "read-blocked-in-pull": "Reads are not answered while downloading by pull.",
    // Network.
    AnswerTooBig = "answer-too-big": "2.31 carries a diagnostic payload of 600 bytes.",
    Buffer1000 = "buffer-1000": "A datagram above 1000 bytes is ignored.",
    FirstSizeFixed = "first-size-fixed": "Only the block size of the very first push is accepted.",
    Block64Rejected = "block64-rejected": "Blocks below 128 bytes are answered 4.00.",
    GetGrows = "get-grows": "After block 0 the pull asks for 512 bytes whatever came.",
    ShrinkMakesHole = "shrink-makes-hole": "After a reduction in mid-pull half a block is left out.",
    BurstResets = "burst-resets": "Two losses in a row abort an exchange.",
    LastNeedsTimer = "last-needs-timer": "A last block that comes more than two seconds after the one before is answered 4.08.",
    MessageIdForEver = "message-id-for-ever": "A request is taken for a copy of one with the same message ID however long ago that was.",
    NoDedup = "no-dedup": "A duplicate request is answered 5.03.",
    Fixed500msTimer = "fixed-500ms-timer": "Every time-out is 500 ms, however slow the link.",
    RetransmitTooEarly = "retransmit-too-early": "A lost message is sent again after 500 ms.",
    NoRetransmission = "no-retransmission": "A lost message is never sent again.",
    UriResendRestarts = "uri-resend-restarts": "A duplicate of the URI write starts the download a second time.",
    BlackoutDropsBody = "blackout-drops-body": "A body is discarded after ten seconds of silence.",
    BlackoutLocksUp = "blackout-locks-up": "After a pull that timed out the device answers nothing any more.",
    StuckAfterExpiry = "stuck-after-expiry": "After a registration that was lost to silence the device does not register again.",
    DupAnswered500 = "dup-answered-500": "A duplicate request is answered 5.00.",
    LateAnswerAppended = "late-answer-appended": "An answer that was overtaken is stored a second time.",
    LateAckRejected = "late-ack-rejected": "An answer to an earlier send gets an RST.",
    UpdateFloodsSlowLink = "update-floods-slow-link": "A registration Update is sent every second while a push is running.",
    DoubleGet = "double-get": "Each block is asked for twice.",
    SmallestBlockAlways = "smallest-block-always": "A pull asks for 16-byte blocks.",
    SameSizeForEver = "same-size-for-ever": "A GET that timed out is repeated at the same size, without end.",
    // Timing.
    InstallsByItself = "installs-by-itself": "The installation starts 60 s after the download.",
    RadioValueFrozen = "radio-value-frozen": "Radio Signal Strength never changes.",
    NoUpdateInPull = "no-update-in-pull": "The registration is not updated while downloading by pull.",
    SlowStartRestarts = "slow-start-restarts": "While the flash is being erased each resend of block 0 restarts the download.",
    SlowBlockLost = "slow-block-lost": "A block that comes again while it is written is lost.",
    ResultLateAfterBoot = "result-late-after-boot": "0/0 is shown after the update, the result some seconds later.",
    // Security.
    AnyoneMayPush = "anyone-may-push": "Any source is obeyed like the server.",
    KeyReadable = "key-readable": "A read of /0/0/5 returns a key.",
    SignatureOptional = "signature-optional": "A package without a signature installs although only signed ones may.",
    SignatureCoversHeader = "signature-covers-header": "A change of the body is not noticed by the signature check.",
    RollbackAllowed = "rollback-allowed": "An older package installs although it may not.",
    PskInRegistration = "psk-in-registration": "The Register query carries the key.",
    Amplifier = "amplifier": "A source without any registration gets answers of full length.",
    // Formats.
    NoFormatIsText = "no-format-is-text": "A package without Content-Format is refused as bad Base64.",
    PostIsExecute = "post-is-execute": "A POST on Package is taken for an Execute.",
    TlvPerBlock = "tlv-per-block": "Each block of a TLV body is parsed as a new TLV.",
    Base64StoredRaw = "base64-stored-raw": "Base64 text is stored as the package.",
    FormatUnchecked = "format-unchecked": "An unknown Content-Format is taken as opaque.",
    UriWithTlvHeader = "uri-with-tlv-header": "The header of a TLV becomes part of the Package URI.",
    AcceptIgnored = "accept-ignored": "Every Accept is answered in text.",
    PartialWriteHalf = "partial-write-half": "A Write of an instance that fails leaves its first resource written.",
    CompositeNotAtomic = "composite-not-atomic": "A Write-Composite that fails leaves its first resource written.",
    // Robustness.
    VersionUnchecked = "version-unchecked": "A message of another CoAP version is answered.",
    Tkl15Overread = "tkl-15-overread": "Token lengths above 8 are read, beyond the datagram too.",
    OptionOverrunRead = "option-overrun-read": "Options beyond the end of the datagram are accepted.",
    MarkerIsNul = "marker-is-nul": "A payload marker without payload is taken for a NUL byte.",
    PingGetsAck = "ping-gets-ack": "An empty CON gets an empty ACK.",
    StrayRstAborts = "stray-rst-aborts": "An unrelated RST ends the oldest exchange.",
    CriticalIgnored = "critical-ignored": "Unknown critical options are skipped.",
    ErrorWithoutToken = "error-without-token": "Error responses carry no token.",
    Szx7Is2048 = "szx-7-is-2048": "SZX 7 is taken for 2048 bytes.",
    FirstBlock1Wins = "first-block1-wins": "Of two Block1 options the first is taken.",
    ShortBlockAppended = "short-block-appended": "A middle block shorter than its size is stored.",
    ReadAlwaysBlock0 = "read-always-block-0": "Every Block2 read returns block 0.",
    UnknownMethodIsGet = "unknown-method-is-get": "Reserved methods are served as GET.",
    BodySlotLeak = "body-slot-leak": "Unfinished bodies of any source fill the only slot for ever.",
    QueueOverflowDies = "queue-overflow-dies": "The device falls silent after 64 requests within a second.",
    LengthUnderflow = "length-underflow": "A block without payload that announces more silences the device.",
    // Sizes.
    EmptyPackageIs2 = "empty-package-is-2": "A package of no bytes ends in State 2.",
    AnyByteResets = "any-byte-resets": "Every package of one byte is a reset.",
    LastBlockPadded = "last-block-padded": "The last block is padded to the block size.",
    ExactMultipleWaits = "exact-multiple-waits": "A body that ends at a block boundary waits for one more block.",
    OneByteTailLost = "one-byte-tail-lost": "A last block of one byte is dropped.",
    Num12Bit = "num-12-bit": "Block numbers are taken modulo 4096.",
    Length16Bit = "length-16-bit": "The size stored is the size modulo 65536.",
    Num16Bit = "num-16-bit": "Block numbers are taken modulo 65536.",
    BodyInMemory = "body-in-memory": "The device dies when a package is larger than one MiB.",
    // From the field, without a case of their own.
    SecondReply = "second-reply": "Each request gets a second reply, ACK 5.00 without a token.",
    PingIgnored = "ping-ignored": "An empty CON is not answered.",
    MessageIdConstant = "message-id-constant": "Every message carries the same message ID.",
}

impl Defect {
    /// Every defect, in the order of the catalogue.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no defect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown defect `{0}`")]
pub struct UnknownDefect(pub String);

impl FromStr for Defect {
    type Err = UnknownDefect;

    fn from_str(text: &str) -> Result<Self, UnknownDefect> {
        Self::all()
            .find(|defect| defect.name() == text)
            .ok_or_else(|| UnknownDefect(text.to_owned()))
    }
}

impl serde::Serialize for Defect {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Defect {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The defects of one device, for asking often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DefectSet([u64; 4]);

impl DefectSet {
    pub(crate) const fn has(self, defect: Defect) -> bool {
        let at = defect as usize;
        self.0[at / 64] & (1 << (at % 64)) != 0
    }
}

impl FromIterator<Defect> for DefectSet {
    fn from_iter<I: IntoIterator<Item = Defect>>(defects: I) -> Self {
        defects.into_iter().fold(Self::default(), |mut set, defect| {
            set.0[defect as usize / 64] |= 1 << (defect as usize % 64);
            set
        })
    }
}

/// Sets what the defects ask of the message layer.
pub(crate) fn apply(defects: &BTreeSet<Defect>, quirks: &mut Quirks) {
    for defect in defects {
        match defect {
            Defect::RetransmitNewMid => quirks.retransmit_new_mid = true,
            Defect::RetransmitNewToken => quirks.retransmit_new_token = true,
            Defect::RetransmitTooEarly | Defect::Fixed500msTimer => {
                quirks.retransmit_early = Some(Duration::from_millis(500));
            }
            Defect::NoRetransmission | Defect::NotifyGivesUp => quirks.no_retransmission = true,
            Defect::BurstResets => quirks.gives_up_after = Some(1),
            Defect::ResendIgnored => quirks.duplicates = Duplicates::Drop,
            Defect::NoDedup => quirks.duplicates = Duplicates::Answer(Code::SERVICE_UNAVAILABLE),
            Defect::DupAnswered500 => quirks.duplicates = Duplicates::Answer(Code::INTERNAL_SERVER_ERROR),
            Defect::LastResend408 => {
                quirks.duplicates = Duplicates::Answer(Code::REQUEST_ENTITY_INCOMPLETE);
                quirks.duplicate_filter = DuplicateFilter::LastBlock;
            }
            Defect::Block0WrittenTwice | Defect::SlowStartRestarts => {
                quirks.duplicates = Duplicates::Process;
                quirks.duplicate_filter = DuplicateFilter::FirstBlock;
            }
            Defect::SlowBlockLost => {
                quirks.duplicates = Duplicates::Process;
                quirks.duplicate_filter = DuplicateFilter::MiddleBlock;
            }
            Defect::ExecuteTwice => {
                quirks.duplicates = Duplicates::Process;
                quirks.duplicate_filter = DuplicateFilter::PlainPost;
            }
            Defect::UriResendRestarts => {
                quirks.duplicates = Duplicates::Process;
                quirks.duplicate_filter = DuplicateFilter::PlainPut;
            }
            Defect::FailureRestartsOnDup => quirks.duplicates = Duplicates::Process,
            Defect::MessageIdForEver => quirks.remembers_for_ever = true,
            Defect::ContinueWithoutToken => quirks.reply_without_token = Some(Code::CONTINUE),
            Defect::ErrorWithoutToken => quirks.error_without_token = true,
            Defect::CriticalIgnored => quirks.critical_ignored = true,
            Defect::FirstBlock1Wins => quirks.first_of_repeated = true,
            Defect::Size1Critical => quirks.option_refused = Some(option::SIZE1),
            Defect::UnknownMethodIsGet => quirks.unknown_method_is_get = true,
            Defect::SecondReply => quirks.second_reply = true,
            Defect::Buffer1000 => quirks.receive_limit = Some(1000),
            Defect::SeparateNotAcked => quirks.separate_not_acked = true,
            Defect::NeedsEmptyAck => quirks.needs_empty_ack = true,
            Defect::LateAckRejected => quirks.late_ack_rejected = true,
            Defect::StrayRstAborts => quirks.stray_rst_aborts = true,
            Defect::RstIgnored => quirks.rst_ignored = true,
            Defect::PingGetsAck => quirks.ping_gets_ack = true,
            Defect::PingIgnored => quirks.ping_ignored = true,
            Defect::MessageIdConstant => quirks.mid_reuse = true,
            Defect::VersionUnchecked => quirks.version_unchecked = true,
            Defect::Tkl15Overread => quirks.token_length_unchecked = true,
            Defect::OptionOverrunRead => quirks.option_overrun = true,
            Defect::MarkerIsNul => quirks.bare_marker = BareMarker::Nul,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_kebab_case_and_read_back() {
        let names: BTreeSet<&str> = Defect::all().map(Defect::name).collect();
        assert_eq!(names.len(), Defect::all().count());
        for defect in Defect::all() {
            assert_eq!(defect.to_string().parse(), Ok(defect));
            assert!(
                defect
                    .name()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{defect}"
            );
            assert!(
                defect.summary().ends_with('.') && defect.summary().len() > 20,
                "{defect}"
            );
        }
        assert!("valid".parse::<Defect>().is_err());
    }

    #[test]
    fn the_set_holds_each_alone() {
        for defect in Defect::all() {
            let set: DefectSet = [defect].into_iter().collect();
            assert!(
                Defect::all().all(|other| set.has(other) == (other == defect)),
                "{defect}"
            );
        }
    }

    #[test]
    fn the_first_forty_cases_have_their_defects() {
        let first = [
            "reg-lists-security",
            "retransmit-new-mid",
            "read-lists-package",
            "state-writable",
            "success-without-install",
            "nul-is-package",
            "package-cut-at-128",
            "ack-wrong-num",
            "resend-ignored",
            "gap-acknowledged",
            "orphan-last-accepted",
            "restart-is-duplicate",
            "execute-twice",
            "uri-accepted-no-get",
            "query-dropped",
            "small-szx-ignored",
            "etag-change-ignored",
            "separate-not-acked",
            "silent-stall",
            "execute-in-idle",
            "empty-uri-downloads",
            "nul-half-reset",
            "second-download-started",
            "nul-keeps-image",
            "execute-in-updating",
            "result-1-in-updating",
            "flash-full-is-8",
            "result-wiped",
            "failed-install-silent",
            "cancel-is-result-0",
            "defer-never-ends",
            "stuck-in-updating",
            "downloaded-not-notified",
            "rst-ignored",
            "answer-too-big",
            "no-dedup",
            "burst-resets",
            "blackout-locks-up",
            "ping-gets-ack",
            "option-overrun-read",
        ];
        assert_eq!(first.len(), 40);
        assert!(first.iter().all(|name| name.parse::<Defect>().is_ok()));
    }
}
