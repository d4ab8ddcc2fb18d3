//! The case language as plain data: what a case file may say, and nothing else.
//!
//! Each struct is one mapping of the file; an unknown key is an error. Steps are structs with
//! one optional field an action (exactly one of them is given) and some modifiers, because that
//! keeps the position of every value, which serde's untagged and flattened forms lose.

mod campaign;
mod case;
mod device;
mod expect;
mod network;
mod scalar;
mod security;
mod step;
mod traffic;
mod values;

pub use campaign::{
    ControlStep, ProgressExpect, ServePackage, ServerOp, StatusName, TellsExpect, UpdateControl, UpdateMethod,
    UpdateSpec, WriteBlocks,
};
pub use case::{
    Case, CheckSkip, Checks, Fault, FaultAction, Firmware, IutSetup, Repository, RepositoryPlace, Role, ServerAnswer,
    ServerBehaviour, ServerInterface, Timings,
};
pub use device::{
    BLOCK_SIZES, Behaviour, BehaviourAction, Delivery, DeviceAction, DeviceFacts, DeviceSetup, DeviceStep, OnRequest,
    PowerCutAt, RadioSample, Resent, is_block_size,
};
pub use expect::{
    Answers, Expect, FirmwareVersion, Intervals, MessageExpect, MessageMatch, NotificationExpect, Outcome,
    OutcomeGrade, Party, RegistrationExpect, Station,
};
pub use network::{
    BlockSelect, CoapSelect, Direction, GilbertElliott, Impairments, Nat, Network, NetworkChange, Oversize, Rule,
    Select, Window,
};
pub use scalar::{
    At, BlockText, CodeMatch, DataFormat, Hex, Many, MessageType, Method, Pair, ParseProblem, Path, Pos, Probability,
    ResultName, Size, Span, StateName, ValueMatch,
};
pub use security::{DeviceSecurity, SuiteName};
pub use step::{
    Attributes, Await, Cancellation, Datagram, IutAction, Payload, Poll, Pull, Push, PushMethod, RawOption,
    RepositoryChange, Request, Resend, Reset, Step, TokenUse, Write,
};
pub use traffic::{Burst, Mutation, OptionMatch, Replay, Share, ShareBy, Spacing, Turns};
pub use values::{Compare, MessagePart, Relation, Remember, SendExpect, TlvEntryKind, TlvExpect, WriteComposite};
