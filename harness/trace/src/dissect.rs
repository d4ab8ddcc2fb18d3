//! From datagrams to messages, and a case as a ladder of text.

use crate::capture::fate_text;
use crate::dtls::DtlsEvent;
use crate::event::{Datagram, Event, EventKind, IutEvent, Point, Toward};
use core::fmt::Write as _;
use core::time::Duration;
use fotaproof_wire::coap::{FormatError, MessageView, summary};
use std::collections::{BTreeMap, BTreeSet};

/// A datagram read as a message, once, for whoever needs it.
#[derive(Clone, Copy, Debug)]
pub struct Dissected<'a> {
    /// Number of the event.
    pub event: u64,
    /// Time of the event.
    pub at: Duration,
    /// The datagram.
    pub datagram: &'a Datagram,
    /// The message, or the rule of the format that it breaks.
    pub message: Result<MessageView<'a>, FormatError>,
}

impl<'a> Dissected<'a> {
    /// Reads the datagram of an event; none for other events.
    #[must_use]
    pub fn of(event: &'a Event) -> Option<Self> {
        let EventKind::Datagram(datagram) = &event.kind else {
            return None;
        };
        Some(Self {
            event: event.no,
            at: event.at,
            datagram,
            message: MessageView::parse(&datagram.payload),
        })
    }

    /// It is at the end of its sender, before the network.
    #[must_use]
    pub const fn is_departure(&self) -> bool {
        is_departure(self.datagram)
    }

    /// The IUT sent it.
    #[must_use]
    pub const fn from_iut(&self) -> bool {
        matches!(self.datagram.toward, Toward::Peer) && !matches!(self.datagram.point, Point::Aside)
    }
}

const fn is_departure(datagram: &Datagram) -> bool {
    matches!(
        (datagram.point, datagram.toward),
        (Point::Iut, Toward::Peer) | (Point::Peer, Toward::Iut) | (Point::Aside, _)
    )
}

/// What became of datagrams, from their packets.
#[derive(Default)]
struct Fates {
    arrived: BTreeSet<u64>,
    text: BTreeMap<u64, String>,
}

impl Fates {
    fn of(events: &[Event]) -> Self {
        let mut fates = Self::default();
        for event in events {
            match &event.kind {
                EventKind::Datagram(datagram) if !is_departure(datagram) => {
                    fates.arrived.insert(datagram.datagram);
                }
                EventKind::Fate(fate) => {
                    if let Some(text) = fate_text(fate) {
                        fates.text.entry(fate.datagram).or_insert(text);
                    }
                }
                _ => {}
            }
        }
        fates
    }
}

/// A case as text: its steps, every datagram as it left its sender and what became of it, and the findings.
#[must_use]
pub fn ladder(events: &[Event]) -> String {
    let fates = Fates::of(events);
    let mut text = String::new();
    for event in events {
        let time = event.at.as_secs_f64();
        // Writing to a string cannot fail.
        let _ = match &event.kind {
            EventKind::StepStarted { index, text: step, .. } => writeln!(text, "{}. {step}", index + 1),
            EventKind::Datagram(datagram) if is_departure(datagram) => datagram_line(&mut text, time, datagram, &fates),
            EventKind::Dtls(what) if is_told(what) => writeln!(text, "{time:9.3}  {what}"),
            EventKind::Iut(what) => match iut_text(what) {
                Some(what) => writeln!(text, "{time:9.3}  the IUT {what}"),
                None => Ok(()),
            },
            EventKind::Expectation(expectation) if !expectation.held => writeln!(
                text,
                "{time:9.3}  NOT HELD  {}: expected {}, seen {}",
                expectation.text, expectation.expected, expectation.seen
            ),
            EventKind::Finding(finding) => {
                writeln!(text, "{time:9.3}  FINDING   {}: {}", finding.source, finding.title)
            }
            EventKind::CaseEnded { verdict, reason, .. } if reason.is_empty() => {
                writeln!(text, "{time:9.3}  verdict: {verdict}")
            }
            EventKind::CaseEnded { verdict, reason, .. } => writeln!(text, "{time:9.3}  verdict: {verdict}, {reason}"),
            _ => Ok(()),
        };
    }
    text
}

/// Whether something of DTLS is worth a line: a datagram without a message when it leaves, and what became of a handshake.
const fn is_told(what: &DtlsEvent) -> bool {
    match what {
        DtlsEvent::Records { point, toward, .. } => {
            matches!((point, toward), (Point::Iut, Toward::Peer) | (Point::Peer, Toward::Iut))
        }
        DtlsEvent::Established { .. } | DtlsEvent::Failed { .. } | DtlsEvent::Closed { .. } => true,
        DtlsEvent::Secrets { .. } => false,
    }
}

fn datagram_line(text: &mut String, time: f64, datagram: &Datagram, fates: &Fates) -> core::fmt::Result {
    if datagram.point == Point::Aside {
        let (src, dst, what) = (datagram.src, datagram.dst, summary(&datagram.payload));
        return writeln!(text, "{time:9.3}  {src} → {dst}, past the iut  {what}");
    }
    let way = match datagram.toward {
        Toward::Iut => "server → iut",
        Toward::Peer => "iut → server",
    };
    write!(text, "{time:9.3}  {way}  {}", summary(&datagram.payload))?;
    if datagram.packets > 1 {
        write!(text, " in {} fragments", datagram.packets)?;
    }
    if datagram.planned {
        text.push_str(" (planned)");
    }
    match (
        fates.text.get(&datagram.datagram),
        fates.arrived.contains(&datagram.datagram),
    ) {
        (Some(fate), true) => write!(text, "  [{fate}]")?,
        (Some(fate), false) => write!(text, "  [LOST: {fate}]")?,
        (None, true) => {}
        (None, false) => text.push_str("  [did not arrive]"),
    }
    text.push('\n');
    Ok(())
}

fn iut_text(what: &IutEvent) -> Option<String> {
    Some(match what {
        IutEvent::Started => "was started".to_owned(),
        IutEvent::Exited { status } => format!("ended by itself: {status}"),
        IutEvent::Stopped => "was stopped".to_owned(),
        IutEvent::PowerCut => "lost its power".to_owned(),
        IutEvent::Restarted => "was started again".to_owned(),
        IutEvent::Ready | IutEvent::Output { .. } | IutEvent::Hook { .. } => return None,
    })
}

#[cfg(test)]
mod tests;
