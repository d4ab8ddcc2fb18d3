//! What must hold in any trace: passive rules over the event stream.
//!
//! A check never knows whether its events come from a live run or from a capture. It judges only what stands at
//! [`Point::Iut`](fotaproof_trace::Point::Iut), which is exactly what the IUT sent and received: what a network does between the
//! two ends can never be taken for a deed of the IUT. Only the IUT is blamed, and in doubt nothing is reported.
//!
//! Two ideas keep verdicts true:
//! - Each datagram is dissected once into a `Message` that already says what it is: a first
//!   transmission, a retransmission, an answer and to which request. The checks only state their rule.
//! - Lives: a start, a power cut or a new Register of the IUT begins a new life. What an IUT may forget in a reboot
//!   (message ids, deduplication, observations) is never held against its next life.

mod catalogue;
mod config;
mod context;
mod facts;
mod hash;
mod report;
mod rules;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use catalogue::{CheckInfo, all, info};
pub use config::{CheckConfig, Mode, Timing};

use context::Context;
use core::time::Duration;
use fotaproof_trace::{Datagram, Event, EventKind, Finding, IutEvent, Point, Toward};
use report::Report;
use rules::Rules;

/// All checks over one case.
#[derive(Debug)]
pub struct Checks {
    context: Context,
    rules: Rules,
    report: Report,
}

impl Checks {
    /// The checks of one case.
    #[must_use]
    pub fn new(config: CheckConfig) -> Self {
        Self {
            context: Context::new(config.remember),
            rules: Rules::default(),
            report: Report::new(config),
        }
    }

    /// Takes one event; what it proves wrong is appended to `findings`. Events must come in the order of their time.
    pub fn on_event(&mut self, event: &Event, findings: &mut Vec<Finding>) {
        match &event.kind {
            EventKind::Datagram(datagram) if datagram.point == Point::Iut => self.on_datagram(event, datagram),
            EventKind::Iut(
                IutEvent::Started
                | IutEvent::Exited { .. }
                | IutEvent::Stopped
                | IutEvent::PowerCut
                | IutEvent::Restarted,
            ) => self.context.begin_life(),
            EventKind::Iut(IutEvent::Hook { .. }) => self.rules.on_outside_influence(),
            EventKind::Transfer(transfer) => self.rules.on_transfer(event.no, transfer, &mut self.report),
            _ => return,
        }
        self.report.drain(findings);
    }

    /// Ends the case: what only an absence proves, and the findings held back to carry a count.
    pub fn finish(&mut self, now: Duration, findings: &mut Vec<Finding>) {
        self.rules.finish(now, &mut self.report);
        self.report.finish(findings);
    }

    fn on_datagram(&mut self, event: &Event, datagram: &Datagram) {
        let outgoing = datagram.toward == Toward::Peer;
        if outgoing {
            rules::format::mtu(event.no, datagram, &mut self.report);
        }
        let timing = self.report.config.timing;
        match self.context.take(event.no, event.at, datagram, &timing) {
            Ok(message) => self.rules.on_message(&message, &self.context, &mut self.report),
            Err(error) if outgoing => rules::format::malformed(event.no, datagram, error, &mut self.report),
            Err(_) => {}
        }
    }
}
