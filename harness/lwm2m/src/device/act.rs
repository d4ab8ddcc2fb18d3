//! What a device is told to do at once, in the middle of a test of a server.

use core::time::Duration;

use bytes::Bytes;
use fotaproof_coap::{Failure, Request};
use fotaproof_wire::coap_lite::Packet;
use fotaproof_wire::{LwPath, Value};

use super::behaviour::Behaviour;

/// An order to a device, with [`DeviceInput::Act`](super::DeviceInput::Act). One that has no meaning just then (an Update without a registration) is noted in the log and left.
#[derive(Clone, Debug)]
pub enum DeviceAct {
    /// Registers anew, whether or not there is a registration.
    Register,
    /// Sends an Update to the location of the registration.
    Update,
    /// De-registers and stays on.
    Deregister,
    /// A new socket in place of the main one, as behind a NAT that forgot it; nobody is told. Observations, tokens and message IDs go on.
    Rebind,
    /// Hears and says nothing for so long, then sends an Update.
    Sleep(Duration),
    /// Ends the sleep.
    Wake,
    /// Boots again: what was in memory is lost, the socket is a new one.
    Reboot,
    /// The power goes for so long; the boot time comes on top.
    PowerCut {
        /// So long.
        off_for: Duration,
    },
    /// Notifies what is observed at this path, above or below, changed or not.
    Notify(LwPath),
    /// Notifies with a token that no observation has.
    NotifyWith {
        /// Whose value.
        path: LwPath,
        /// The token, at most 8 bytes.
        token: Vec<u8>,
        /// CON or NON.
        confirmable: bool,
    },
    /// Shows this value from now on, whatever the device really does. It survives reboots.
    SetValue(LwPath, Value),
    /// Shows the true value again.
    UnsetValue(LwPath),
    /// State and Update Result become these at once. Values that object 5 does not have are shown only.
    SetPair(u8, u8),
    /// One more behaviour, before those that are there.
    AddBehaviour(Behaviour),
    /// No more behaviours.
    ClearBehaviours,
    /// Sends the last message of this kind again, byte for byte, with its message ID.
    ResendLast(Resend),
    /// The update under way ends with this Update Result: download and installation stop, 8 leaves the package as object 5 in its version wants, 1 installs it.
    Finish {
        /// Update Result.
        result: u8,
    },
    /// A Send of these paths (LwM2M Core 1.1, 6.4.4).
    Send(Vec<LwPath>),
    /// A request of any kind to the server, from the device's main socket; [`Device::poll_answer`](super::Device::poll_answer) tells what comes of it.
    Request {
        /// To know the answer by.
        tag: u32,
        /// The request.
        request: Box<Request>,
    },
    /// A datagram to the server as it is, from the device's main socket.
    Raw(Bytes),
}

/// Messages that can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resend {
    /// The last Register.
    Register,
    /// The last Update.
    Update,
    /// The last notification.
    Notification,
    /// The last request of [`DeviceAct::Request`].
    Request,
}

/// What came of a [`DeviceAct::Request`].
#[derive(Clone, Debug)]
pub struct ActAnswer {
    /// The one of the request.
    pub tag: u32,
    /// When it came.
    pub at: Duration,
    /// The answer.
    pub answer: Result<Packet, Failure>,
}
