//! The reference server: registrations, device management and the push of a package, driven by its caller step by step.
//!
//! SKELETON: signatures are final, bodies follow.
mod event;
mod types;

pub use event::{OpFailure, PushOutcome, ServerEvent};
pub use types::{
    Answer, BlockStep, Cancel, Interface, Method, OnIncomplete, OpId, Policy, PushSpec, PushToken, RequestSpec, ServerConfig, Token,
};

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_coap::Transmit;
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use crate::registration::{Registration, Registry};
use crate::repository::FileServer;

pub struct Server { }

#[allow(unused_variables)]
impl Server {
    pub fn new(config: ServerConfig) -> Self { todo!() }
    // driving
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) { todo!() }
    pub fn handle_timeout(&mut self, now: Duration) { todo!() }
    pub fn poll_transmit(&mut self) -> Option<Transmit> { todo!() }
    pub fn poll_event(&mut self) -> Option<ServerEvent> { todo!() }
    pub fn poll_deadline(&self) -> Option<Duration> { todo!() }
    // registrations
    pub fn registrations(&self) -> &Registry { todo!() }
    pub fn registration(&self) -> Option<&Registration> { todo!() } // of the device that requests go to
    /// Requests without an address go to this endpoint name; before the first call: the one that registered last.
    pub fn set_device(&mut self, endpoint: &str) { todo!() }
    /// Requests without an address go here while nothing is registered (or always, None switches back).
    pub fn set_device_address(&mut self, address: Option<SocketAddr>) { todo!() }
    pub fn forget(&mut self, endpoint: &str) { todo!() }
    pub fn set_policy(&mut self, interface: Interface, policy: Policy) { todo!() }
    // requests: OpId at once, the outcome as ServerEvent::Response / Failed
    pub fn request(&mut self, now: Duration, spec: RequestSpec) -> OpId { todo!() }
    pub fn read(&mut self, now: Duration, path: &LwPath, accept: Option<u16>) -> OpId { todo!() }
    pub fn discover(&mut self, now: Duration, path: &LwPath) -> OpId { todo!() }
    pub fn write(&mut self, now: Duration, path: &LwPath, format: Option<u16>, payload: &[u8], method: Method) -> OpId { todo!() }
    pub fn write_value(&mut self, now: Duration, path: &LwPath, value: &Value) -> OpId { todo!() } // PUT text/plain or opaque
    pub fn execute(&mut self, now: Duration, path: &LwPath, arguments: &str) -> OpId { todo!() }
    pub fn write_attributes(&mut self, now: Duration, path: &LwPath, attributes: &str) -> OpId { todo!() } // "pmin=2&pmax=10"
    pub fn create(&mut self, now: Duration, path: &LwPath, format: u16, payload: &[u8]) -> OpId { todo!() }
    pub fn delete(&mut self, now: Duration, path: &LwPath) -> OpId { todo!() }
    pub fn read_composite(&mut self, now: Duration, paths: &[LwPath], format: u16) -> OpId { todo!() }
    pub fn write_composite(&mut self, now: Duration, values: &[(LwPath, Value)], format: u16) -> OpId { todo!() }
    pub fn observe(&mut self, now: Duration, path: &LwPath, accept: Option<u16>) -> OpId { todo!() }
    pub fn observe_composite(&mut self, now: Duration, paths: &[LwPath], format: u16) -> OpId { todo!() }
    pub fn cancel_observation(&mut self, now: Duration, observation: OpId, by: Cancel) -> Option<OpId> { todo!() } // Get gives the op of the GET
    pub fn ping(&mut self, now: Duration) -> OpId { todo!() }
    pub fn send_raw(&mut self, to: SocketAddr, bytes: Bytes) { todo!() }
    /// The datagram of a request once more, byte for byte, also after it ended; a push: its latest block. False when nothing was sent yet.
    pub fn resend(&mut self, op: OpId) -> bool { todo!() }
    /// Block `num` of a push once more (the first block and the latest 64 are kept).
    pub fn resend_block(&mut self, op: OpId, num: u32) -> bool { todo!() }
    /// Stops retransmission of a request and forgets it; a push ends as Cancelled.
    pub fn cancel(&mut self, now: Duration, op: OpId) { todo!() }
    // push
    pub fn push(&mut self, now: Duration, spec: PushSpec) -> OpId { todo!() }
    pub fn resume_push(&mut self, now: Duration, op: OpId, from_block: Option<u32>, stop_after: Option<u32>) -> bool { todo!() }
    // built-in repository
    pub fn serve_files(&mut self, files: FileServer) { todo!() }
    pub fn files_mut(&mut self) -> Option<&mut FileServer> { todo!() }
    pub fn release(&mut self, now: Duration) -> usize { todo!() }
}
