//! Block-wise transfer (RFC 7959) as pure machines.
//!
//! | machine | role |
//! |---|---|
//! | [`Block1Send`] | sends a request body in blocks: a push |
//! | [`Block1Receive`] | puts a request body together: being pushed to |
//! | [`Block2Fetch`] | fetches a response body in blocks: a pull |
//! | [`serve`] | cuts a response body: being pulled from |
//!
//! They hold offsets, never bytes, so a body of 1 GiB costs no more than one of 16 bytes. The owner moves the bytes and
//! composes the machines over an [`Endpoint`](crate::Endpoint).

mod block1_receive;
mod block1_send;
mod block2_fetch;
mod block2_serve;

pub use block1_receive::{
    BadBlock, Block1Receive, BlockArrival, BodyId, BodyStart, NumberEcho, ReceiveConfig, ReceiveQuirks, ReceiveStep,
};
pub use block1_send::{Block1Send, BlockStep, SendConfig, SendFailure, SendQuirks, SendStep};
pub use block2_fetch::{Block2Fetch, FetchConfig, FetchFailure, FetchQuirks, FetchRequest, FetchResponse, FetchStep};
pub use block2_serve::{Serve, serve};

use coap_lite::{CoapOption, Packet};
use fotaproof_wire::coap::BlockValue;

/// The most blocks a body can have: block numbers are 20 bits long (RFC 7959, section 2.2).
pub const MAX_BLOCKS: u64 = 1 << 20;

/// The value of a block option of a packet, size exponent 7 included, so that the machines can refuse it.
///
/// `number` is [`option::BLOCK1`](fotaproof_wire::coap::option::BLOCK1) or
/// [`option::BLOCK2`](fotaproof_wire::coap::option::BLOCK2). An option of more than three bytes counts as absent; the endpoint
/// refused it before.
#[must_use]
pub fn block_option(packet: &Packet, number: u16) -> Option<BlockValue> {
    let value = packet.get_option(CoapOption::from(number))?.front()?;
    BlockValue::decode_bert(value).ok()
}
