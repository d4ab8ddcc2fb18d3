//! The update of one device: a machine that knows what a correct server does next, without sockets, clocks or messages.
//!
//! A [`Campaign`] takes [`Happening`]s and gives [`Task`]s; whoever drives it turns tasks into requests, by the embedded
//! [`UpdateServer`](crate::update_server::UpdateServer) or by the operations of a server under test that has no engine of its own.

mod answers;
mod choose;
mod known;
mod link;
mod machine;
mod plan;
mod types;

pub use fotaproof_adapter::{Method, Progress, UpdateStatus};
pub use link::{happening_of_registration, operation_of, outcome_of, value_from_adapter, value_to_adapter};
pub use machine::Campaign;
pub use types::{CampaignSpec, Happening, Task, TaskId, TaskOutcome};
