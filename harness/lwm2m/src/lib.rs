//! LwM2M objects, the reference device and the reference server.
//!
//! Sans-IO: nothing here owns a socket or reads a clock. `now` is the time since the start of the session and comes with every call, seeds come with the configuration.
//!
//! | module | what |
//! |---|---|
//! | [`definitions`] | objects 0 to 6 and 9 in their versions |
//! | [`firmware`] | the state machine of object 5 |
//! | [`package`] | the firmware package of the reference device |
//! | [`registration`] | what a Register says, and the table of registrations |
//! | [`server`] | the reference server |
//! | [`repository`] | a file server with planned faults, for pulls |
//! | [`device`] | the reference device |
//! | [`defects`] | what it can be made to do wrong |
//! | [`campaign`] | the update of one device, step by step |
//! | [`update_server`] | the embedded server of updates: many devices, a campaign each |
//! | [`server_defects`] | what that server can be made to do wrong |

pub mod campaign;
pub mod defects;
pub mod definitions;
pub mod device;
pub mod firmware;
pub mod package;
pub mod registration;
pub mod repository;
pub mod server;
pub mod server_defects;
pub mod update_server;

pub use defects::Defect;
pub use definitions::{Version, Versions};
pub use device::{
    Act, ActAnswer, Behaviour, Device, DeviceAct, DeviceConfig, DeviceInput, DeviceOutput, DeviceTruth, Flash,
    NumSelect, OnRequest, Resend, SocketId,
};
pub use firmware::{Firmware, State, UpdateResult};
pub use package::PackageKind;
pub use server_defects::{ServerDefect, ServerDefectSet};
pub use update_server::{UpdateServer, UpdateServerConfig};
