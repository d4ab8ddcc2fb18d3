//! What says nothing of the IUT: findings of a time at which the harness itself was late, and of a server that its adapter
//! says is where nobody listens.
//!
//! Lateness is measured by the driver, which has the clock; what follows from it is decided here. A session in virtual time is
//! never late.

use core::time::Duration;
use std::net::SocketAddr;

use fotaproof_trace::{Blame, EventKind, Finding, FindingSource, Grade, Late, Verdict};

use super::Session;

/// How late the harness may be, in the session's time, and still hold a failure against the IUT: ACK_TIMEOUT (RFC 7252 section 4.8), the
/// shortest time after which the other side acts on what it did not hear.
pub const LATE_LIMIT: Duration = Duration::from_secs(2);

/// What is told of a harness that was late.
pub(crate) const LOWER: &str = "repeat it with a lower --speed or fewer --jobs: the machine does not keep up";
/// What is told of an address where nobody listens.
const LOOK: &str = "the adapter's reply to `start` has to name the address at which the server hears devices, when it hears them; \
                    `fotaproof adapter check` tries it alone";

/// Whether a failure says nothing of the IUT, because the harness was so late before it.
#[must_use]
pub fn is_too_late(by: Duration) -> bool {
    by > LATE_LIMIT
}

/// How late, in words.
pub(crate) fn told_late(late: &Late) -> String {
    format!(
        "the harness was late by {:.1} s of session time ({:.0} ms by the clock on the wall) at {:.3} s",
        late.by.as_secs_f64(),
        late.wall.as_secs_f64() * 1e3,
        late.due.as_secs_f64()
    )
}

/// What the session knows of that.
#[derive(Debug, Default)]
pub(super) struct Spoilt {
    /// The most that the harness was late, and in which step.
    late: Option<(Late, String)>,
    /// Addresses of the server that the adapter named.
    named: Vec<SocketAddr>,
    /// Those of them at which nobody listens.
    nobody_at: Vec<SocketAddr>,
    /// Something came from the server, whatever it was.
    pub(super) heard: bool,
}

impl Spoilt {
    /// How late the harness was, for the last event of the journal.
    pub(super) fn late(&self) -> Option<Late> {
        self.late.as_ref().map(|(late, _)| *late)
    }

    fn lateness(&self) -> Option<String> {
        let (late, step) = self.late.as_ref().filter(|(late, _)| is_too_late(late.by))?;
        Some(format!("{}, in: {step}", told_late(late)))
    }

    /// Nothing ever came from the server, and nobody listens where its adapter says it is.
    fn deserted(&self) -> Option<SocketAddr> {
        self.nobody_at.first().copied().filter(|_| !self.heard)
    }
}

impl Session {
    /// The driver did so much later what was due then; to be told before what it did.
    pub fn was_late(&mut self, late: Late) {
        if self.spoilt.late.as_ref().is_some_and(|(most, _)| most.by >= late.by) {
            return;
        }
        let before = self.spoilt.late.as_ref().is_some_and(|(most, _)| is_too_late(most.by));
        let step = self.position();
        self.spoilt.late = Some((late, step));
        if !before
            && !self.ended
            && let Some(text) = self.spoilt.lateness()
        {
            self.emit(EventKind::Note { text });
        }
    }

    /// The adapter named these addresses of the server.
    pub(super) fn server_named(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        self.spoilt.named.extend(addresses);
    }

    /// The network told that nobody listens at an address to which a device sent something.
    pub(super) fn nobody_listens(&mut self, address: SocketAddr) {
        let spoilt = &mut self.spoilt;
        let expected = !self.facts.iut_running || !spoilt.named.contains(&address);
        if expected || spoilt.nobody_at.contains(&address) {
            return;
        }
        spoilt.nobody_at.push(address);
        self.note(format!("nobody listens at {address} (port unreachable)"));
    }

    /// The finding as it counts: nothing is held against the IUT that is the harness's or the adapter's.
    pub(super) fn weighed(&self, finding: Finding) -> Finding {
        if finding.blame != Blame::Iut || Verdict::of_finding(&finding, self.config.strict) != Verdict::Fail {
            return finding;
        }
        if let Some(address) = self.spoilt.deserted() {
            return deserted(address, Some(finding));
        }
        let Some(lateness) = self.spoilt.lateness() else {
            return finding;
        };
        Finding {
            blame: Blame::Harness,
            title: format!("{lateness}; this may be why: {}", finding.title),
            hint: Some(LOWER.to_owned()),
            ..finding
        }
    }

    /// A case that could not be judged because nobody listens has an adapter to blame.
    pub(super) fn tell_deserted(&mut self) {
        if self.script.verdict == Verdict::Inconclusive
            && let Some(address) = self.spoilt.deserted()
        {
            self.find(deserted(address, None));
        }
    }
}

fn deserted(address: SocketAddr, instead_of: Option<Finding>) -> Finding {
    let (source, seen, datagrams) = match instead_of {
        Some(finding) => (finding.source, finding.title, finding.datagrams),
        None => (FindingSource::Harness, String::new(), Vec::new()),
    };
    let so = if seen.is_empty() {
        String::new()
    } else {
        format!("; so: {seen}")
    };
    Finding {
        source,
        grade: Grade::Must,
        blame: Blame::Adapter,
        clauses: Vec::new(),
        title: format!("nobody listens at {address}, where the adapter says that the server is (port unreachable)"),
        expected: "a server that can be reached once its adapter has said so".to_owned(),
        seen: format!("nothing ever came from the server{so}"),
        datagrams,
        events: Vec::new(),
        hint: Some(LOOK.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_in_time_is_not_late_and_a_moment_more_is() {
        assert!(!is_too_late(Duration::ZERO));
        assert!(!is_too_late(LATE_LIMIT));
        assert!(is_too_late(LATE_LIMIT + Duration::from_nanos(1)));
    }

    #[test]
    fn it_is_said_when_and_by_how_much() {
        let mut spoilt = Spoilt::default();
        assert_eq!((spoilt.lateness(), spoilt.late()), (None, None));
        let late = |millis| Late {
            by: Duration::from_millis(millis),
            wall: Duration::from_millis(millis / 100),
            due: Duration::from_millis(12_500),
        };
        spoilt.late = Some((late(2_000), "wait".to_owned()));
        assert_eq!((spoilt.lateness(), spoilt.late()), (None, Some(late(2_000))));
        spoilt.late = Some((late(3_100), "wait".to_owned()));
        assert_eq!(
            spoilt.lateness().unwrap(),
            "the harness was late by 3.1 s of session time (31 ms by the clock on the wall) at 12.500 s, in: wait"
        );
    }

    #[test]
    fn a_server_that_was_heard_is_not_deserted() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut spoilt = Spoilt::default();
        assert_eq!(spoilt.deserted(), None);
        spoilt.nobody_at.push(address);
        assert_eq!(spoilt.deserted(), Some(address));
        spoilt.heard = true;
        assert_eq!(spoilt.deserted(), None);
    }
}
