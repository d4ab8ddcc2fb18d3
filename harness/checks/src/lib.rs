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
pub mod facts;
mod memory;
mod report;
mod rules;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use catalogue::{CheckInfo, all, info};
pub use config::{CheckConfig, Mode, Role, Timing};

pub use fotaproof_wire::hash;

use context::Context;
use core::time::Duration;
use facts::Dissection;
use fotaproof_trace::{Datagram, Event, EventKind, Finding, IutEvent, Point, Toward};
use fotaproof_wire::coap::MessageView;
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

    /// The same for a datagram at the IUT's end that is dissected already: event `no`, at that time.
    pub fn on_dissected(
        &mut self,
        no: u64,
        at: Duration,
        datagram: &Datagram,
        read: &Dissection,
        findings: &mut Vec<Finding>,
    ) {
        if let Some(view) = MessageView::with_layout(&datagram.payload, read.layout) {
            self.on_message(no, at, datagram, view, read);
            self.report.drain(findings);
        }
    }

    fn on_datagram(&mut self, event: &Event, datagram: &Datagram) {
        match MessageView::parse(&datagram.payload) {
            Ok(view) => self.on_message(event.no, event.at, datagram, view, &Dissection::of(&view)),
            Err(error) if datagram.toward == Toward::Peer => {
                rules::format::mtu(event.no, datagram, &mut self.report);
                rules::format::malformed(event.no, datagram, error, &mut self.report);
            }
            Err(_) => self.context.take_malformed(datagram),
        }
    }

    fn on_message(&mut self, no: u64, at: Duration, datagram: &Datagram, view: MessageView<'_>, read: &Dissection) {
        if datagram.toward == Toward::Peer {
            rules::format::mtu(no, datagram, &mut self.report);
        }
        let timing = self.report.config.timing;
        let message = self.context.take(no, at, datagram, view, read, &timing);
        if message.outgoing && !read.flawless {
            rules::format::lints(&message, &mut self.report);
        }
        self.rules.on_message(&message, &self.context, &mut self.report);
    }
}
