//! The rules, a file for each layer. Each looks at a message whose place is known already.

mod block;
mod exchange;
mod firmware;
pub(crate) mod format;
mod image;
mod liveness;
mod observe;
mod registration;
mod server;
mod timing;

use crate::config::Role;
use crate::context::{Context, Message};
use crate::report::Report;
use core::time::Duration;
use fotaproof_trace::TransferFacts;

/// The memory of all rules.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    liveness: liveness::Liveness,
    block: block::Blocks,
    image: image::Images,
    firmware: firmware::Firmware,
    observe: observe::Observations,
    registration: registration::Registrations,
    server: server::Server,
}

impl Rules {
    /// A message that the IUT sent or received.
    pub(crate) fn on_message(&mut self, message: &Message<'_>, context: &Context, report: &mut Report) {
        if message.outgoing {
            exchange::on_sent(message, report);
            timing::on_sent(message, report);
        }
        self.liveness.on_message(message, context, report);
        self.block.on_message(message, report);
        if report.config.role == Role::Server {
            self.server.on_message(message, report);
            return;
        }
        self.observe.on_message(message, report);
        self.registration.on_message(message, report);
        let samples = self.firmware.on_message(message, report);
        self.image.on_message(message, samples, report);
    }

    /// Something happened to the IUT that no message tells: its state may have changed by other means.
    pub(crate) fn on_outside_influence(&mut self) {
        self.firmware.on_outside_influence();
    }

    /// A transfer began or ended.
    pub(crate) fn on_transfer(&self, event: u64, transfer: &TransferFacts, report: &mut Report) {
        self.image.on_transfer(event, transfer, report);
    }

    /// The case ends.
    pub(crate) fn finish(&mut self, _now: Duration, report: &mut Report) {
        self.liveness.finish(report);
    }
}
