//! The emulated network: an IP link between an implementation under test and its peer.
//!
//! A [`Link`] carries UDP datagrams as IP packets, so that an MTU means what it means: a datagram that does not fit becomes fragments, each with a
//! fate of its own. It is sans-IO: time and seed come in as arguments, and all that happens comes out as [`LinkEvent`]s in time order. The same
//! spec, seed and sends give the same events.
//!
//! ```
//! use core::time::Duration;
//! use fotaproof_net::{Datagram, Facts, Link, LinkEvent, LinkSpec, Toward};
//!
//! let mut link = Link::new(LinkSpec::default(), 1);
//! let datagram = Datagram {
//!     toward: Toward::Peer,
//!     src: "192.0.2.1:5683".parse().unwrap(),
//!     dst: "192.0.2.2:5683".parse().unwrap(),
//!     payload: bytes::Bytes::from_static(&[0x40, 0x00, 0x00, 0x01]),
//!     facts: Facts::default(),
//! };
//! link.send(Duration::ZERO, datagram);
//! let mut arrived = None;
//! while let Some(at) = link.poll_deadline() {
//!     while let Some(event) = link.poll(at) {
//!         if let LinkEvent::Delivered { at, .. } = event {
//!             arrived = Some(at);
//!         }
//!     }
//! }
//! assert_eq!(arrived, Some(Duration::from_millis(20)));
//! ```
//!
//! What befalls a packet is decided at its entry, in this order: oversize (MTU or PDU limit), blackout, fragment filter, rules (first match wins), the
//! queue, and, for packets no rule has taken, the random models: loss, reordering, bit errors, duplication. Rate, delay and jitter hold for every
//! packet that goes on; one lost at random was transmitted all the same. A packet a rule has taken is out of the random models' hands, so `pass`
//! protects it from random loss. A NAT stands at the end behind it: it translates outward packets as they enter and inward ones as they leave.

mod arrival;
mod assembly;
mod event;
mod facts;
mod link;
mod model;
mod nat;
mod packet;
mod profile;
mod reassembly;
mod replay;
mod rule;
mod rulebook;
mod spec;

pub use event::{Counters, DropReason, Fate, Fragment, LinkEvent};
pub use facts::{BlockFacts, Datagram, DatagramId, Facts, GuardId, Kind, PacketId, Point, Toward};
pub use link::Link;
pub use packet::{IPV4_HEADER, IPV6_FRAGMENT_HEADER, IPV6_HEADER, UDP_HEADER, overhead};
pub use profile::{Profile, profile, profiles};
pub use reassembly::{Checksum, Limits, Reassembled, Reassembler, ReassemblyError, Udp};
pub use replay::{FateRecorder, RecordedFate};
pub use rule::{Action, BlockSel, CodeSel, Damage, FragmentSel, Rule, Select};
pub use spec::{Blackout, DirectionSpec, Flaps, LinkSpec, Loss, Nat, NatChange, Oversize, Reorder, SpecError};
