//! What goes into a device and what comes out of it.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::act::DeviceAct;

/// A UDP socket of the device. The driver gives each a port of its own; a number is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// What happens to a device.
#[derive(Clone, Debug)]
pub enum DeviceInput {
    /// Power comes on.
    PowerOn,
    /// A datagram arrived.
    Datagram {
        /// At this socket.
        socket: SocketId,
        /// From there.
        from: SocketAddr,
        /// Its payload.
        bytes: Bytes,
    },
    /// Someone asks it to de-register and to switch off.
    Stop,
    /// Power goes off.
    PowerCut,
    /// A tester gives it an order.
    Act(DeviceAct),
}

/// What a device wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceOutput {
    /// Open a socket with a port that was not used before.
    OpenSocket(SocketId),
    /// Close it; what arrives there later is lost.
    CloseSocket(SocketId),
    /// Send a datagram.
    Transmit {
        /// From this socket.
        socket: SocketId,
        /// To there.
        to: SocketAddr,
        /// Its payload.
        bytes: Bytes,
    },
    /// A line for people.
    Log(String),
    /// It is off, after [`DeviceInput::Stop`].
    Off,
    /// It went down by itself and comes up again after that time.
    Rebooted {
        /// Time until the first message.
        boot_time: Duration,
    },
}
