//! The smallest set of network events with which a case still fails.
//!
//! A failing run is read for what befell single packets: losses, delays, copies, by chance, by a rule of the case or in a
//! blackout. The link is then calmed (nothing random, no rules) and the events are brought about again by rules, each of
//! which names a packet by what it is. Sets of events are tried until none can be left out: with all that are left the
//! case fails with the same finding, without any one of them it does not.
//!
//! What is tried is what is written: the rules of the search are those of the case file that comes of it.

mod events;
mod file;
mod search;
mod words;

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use fotaproof_cases::LoadedCase;
use fotaproof_net::{self as net, LinkSpec};
use fotaproof_reports::model::{CaseResult, Finding as Shown, Verdict};
use fotaproof_trace::Event;

use crate::iut::Iut;
use crate::prepare::{CaseOptions, Unprepared, embedded_iut, session_config};
use crate::run::{RunOptions, run};
use crate::virtual_driver;

pub use events::{Label, NetworkEvent, Origin, Record, What};
pub use file::{FileError, case_file};
pub use search::{Found, smallest};

/// How a failure is known again: who found it, what it says apart from numbers, and the clauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symptom {
    source: String,
    title: String,
    clauses: Vec<String>,
    /// As it was told at first.
    pub shown: String,
}

fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

impl Symptom {
    /// The symptom of a result that failed: its gravest finding, or the reason where the script itself failed.
    #[must_use]
    pub fn of(result: &CaseResult) -> Option<Self> {
        if result.verdict != Verdict::Fail {
            return None;
        }
        let blamed = |grade: &'static str| {
            result
                .findings
                .iter()
                .find(move |f| f.blame == "iut" && f.grade == grade)
        };
        let finding = blamed("must").or_else(|| blamed("should")).or_else(|| blamed("advice"));
        Some(finding.map_or_else(
            || Self {
                source: String::new(),
                title: without_numbers(&result.reason),
                clauses: Vec::new(),
                shown: result.reason.clone(),
            },
            |finding| Self {
                source: finding.source.clone(),
                title: without_numbers(&finding.title),
                clauses: finding.clauses.clone(),
                shown: finding.title.clone(),
            },
        ))
    }

    /// Whether a result failed in this way.
    #[must_use]
    pub fn is_in(&self, result: &CaseResult) -> bool {
        let same = |finding: &Shown| {
            finding.source == self.source
                && without_numbers(&finding.title) == self.title
                && finding.clauses == self.clauses
        };
        result.verdict == Verdict::Fail
            && if self.source.is_empty() {
                without_numbers(&result.reason) == self.title
            } else {
                result.findings.iter().any(same)
            }
    }
}

/// What is shrunk and how.
#[derive(Debug)]
pub struct Task<'a> {
    /// The IUT of the run.
    pub iut: &'a Iut,
    /// The case.
    pub case: &'a LoadedCase,
    /// The options of the run.
    pub options: &'a RunOptions,
    /// How the run failed.
    pub symptom: Symptom,
    /// The journal of the run; an embedded IUT needs none.
    pub journal: Vec<Event>,
    /// Runs at most, where each takes real time.
    pub tries: usize,
}

/// How often something failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that failed with the same finding.
    pub failed: usize,
    /// Runs.
    pub of: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The network events that the run had.
    pub events: usize,
    /// The packets that the run had.
    pub packets: usize,
    /// Those that are needed.
    pub needed: Vec<NetworkEvent>,
    /// They in words, with what befell them.
    pub words: Vec<(String, What)>,
    /// The link that brings them about.
    pub link: LinkSpec,
    /// Whether each was left out by itself and the case did not fail.
    pub minimal: bool,
    /// Runs of the case.
    pub runs: usize,
    /// How often the smallest set failed in the end; an embedded IUT does so always.
    pub again: Tally,
    /// The delays of single packets had to be kept.
    pub jitter: bool,
}

impl Shrunk {
    /// Under what the case fails: `fails if and only if the ACK of block 3 is lost`.
    #[must_use]
    pub fn sentence(&self) -> String {
        match (self.words.is_empty(), self.minimal) {
            (true, _) if self.events == 0 => "fails on a network that loses, delays and repeats nothing".to_owned(),
            (true, _) => "fails whatever the network does: none of its events is needed".to_owned(),
            (false, true) => format!("fails if and only if {}", words::clause(&self.words)),
            (false, false) => format!(
                "fails if {}; perhaps not all of it is needed",
                words::clause(&self.words)
            ),
        }
    }
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// The case cannot be run any more.
    #[error("{0}")]
    Unprepared(#[from] Unprepared),
    /// The run itself.
    #[error("{0}")]
    Run(String),
    /// An embedded run gave something else.
    #[error("the run does not fail so any more ({now}): another build, case or platform than before")]
    NotAgain {
        /// What came instead.
        now: String,
    },
    /// The events alone do not bring the failure back.
    #[error("the failure did not come back in {runs} runs with all {events} network events of the run: {why}")]
    NotTheEvents {
        /// The events.
        events: usize,
        /// Runs that were tried.
        runs: usize,
        /// What may be the reason.
        why: &'static str,
    },
    /// The user had enough.
    #[error("interrupted")]
    Interrupted,
}

/// A link with nothing random and no events of its own: what it is (MTU, rate, delay, NAT) stays, and rules that change
/// what packets say.
#[must_use]
pub fn calm(spec: &LinkSpec) -> LinkSpec {
    let mut calm = spec.clone();
    for toward in net::Toward::BOTH {
        let own = spec.direction(toward);
        *calm.direction_mut(toward) = net::DirectionSpec {
            delay: own.delay,
            rate_bps: own.rate_bps,
            queue_bytes: own.queue_bytes,
            queue_packets: own.queue_packets,
            ..net::DirectionSpec::default()
        };
    }
    calm.blackouts.clear();
    calm.flaps = None;
    calm.rules.retain(|rule| {
        matches!(
            rule.action,
            net::Action::Corrupt { .. } | net::Action::Truncate(_) | net::Action::Swap
        )
    });
    calm
}

/// The same with the least delay that jitter allows, so that every packet can be as late as it was.
fn calm_and_early(spec: &LinkSpec) -> LinkSpec {
    let mut early = calm(spec);
    for toward in net::Toward::BOTH {
        let own = spec.direction(toward);
        early.direction_mut(toward).delay = own.delay.saturating_sub(own.jitter);
    }
    early
}

/// Runs the case over links.
struct Trials<'a> {
    task: &'a Task<'a>,
    interrupt: &'a AtomicBool,
    runs: usize,
    broken: Option<ShrinkError>,
}

/// Runs of one set in real time: a failure that needs luck has two chances.
const CHANCES: usize = 2;
/// Runs of the smallest set in the end, in real time.
const CONFIRMED: usize = 3;

impl Trials<'_> {
    fn once(&mut self, link: &LinkSpec) -> Option<bool> {
        if self.interrupt.load(Ordering::Relaxed) {
            self.broken = Some(ShrinkError::Interrupted);
            return None;
        }
        self.runs += 1;
        let options = RunOptions {
            case: CaseOptions {
                link: Some(Arc::new(link.clone())),
                capture: false,
                record: false,
                replay: None,
                ..self.task.options.case.clone()
            },
            jobs: 1,
            folder: None,
            ..self.task.options.clone()
        };
        let cases = core::slice::from_ref(self.task.case);
        // expected failures are looked at by the run that is shrunk, and do not change the finding
        let finished = run(self.task.iut, cases, &options, self.interrupt, &|_| {}, "");
        if let Some(error) = finished.error {
            self.broken = Some(ShrinkError::Run(error.to_string()));
            return None;
        }
        finished.cases.first().map(|result| self.task.symptom.is_in(result))
    }

    /// Whether a link makes the case fail in the same way; none when no more may be run.
    fn fails(&mut self, link: &LinkSpec) -> Option<bool> {
        if self.task.iut.is_embedded() {
            return self.once(link);
        }
        for _ in 0..CHANCES {
            if self.runs >= self.task.tries {
                return None;
            }
            if self.once(link)? {
                return Some(true);
            }
        }
        Some(false)
    }
}

/// Shrinks.
///
/// # Errors
/// When the failure does not come back.
pub fn shrink(task: &Task<'_>, interrupt: &AtomicBool) -> Result<Shrunk, ShrinkError> {
    let config = session_config(task.case, task.iut, &task.options.case)?;
    let spec = config.link.clone();
    let recorded: Vec<Arc<Event>>;
    let record =
        |calm: &LinkSpec, events: &mut dyn Iterator<Item = &Event>| Record::of(events, Origin { spec: &spec, calm });
    let calm = calm(&spec);
    let early = calm_and_early(&spec);
    let (mut plain, late) = if let Some(device) = embedded_iut(task.case, task.iut, &config) {
        let mut kept = Vec::new();
        virtual_driver::run(config, device, &mut |event| kept.push(event.clone()), &|| {
            interrupt.load(Ordering::Relaxed)
        });
        recorded = kept;
        let events = || recorded.iter().map(AsRef::as_ref);
        (record(&calm, &mut events()), record(&early, &mut events()))
    } else {
        (
            record(&calm, &mut task.journal.iter()),
            record(&early, &mut task.journal.iter()),
        )
    };
    let mut trials = Trials {
        task,
        interrupt,
        runs: 0,
        broken: None,
    };
    if task.iut.is_embedded() && trials.once(&spec) != Some(true) {
        return Err(trials.broken.unwrap_or_else(|| ShrinkError::NotAgain {
            now: "it passes, or fails otherwise".to_owned(),
        }));
    }
    let with = |record: &Record, base: &LinkSpec, events: &[NetworkEvent]| {
        let mut link = base.clone();
        let kept = core::mem::take(&mut link.rules);
        link.rules = record.rules(events);
        link.rules.extend(kept);
        link
    };
    let (mut base, mut jitter) = (&calm, false);
    let mut comes_back = trials.fails(&with(&plain, base, &plain.events));
    if comes_back == Some(false) && !late.jitter.is_empty() {
        (base, jitter) = (&early, true);
        plain = late;
        let jittered = core::mem::take(&mut plain.jitter);
        plain.events.extend(jittered);
        plain.events.sort_by_key(|event| event.packet);
        comes_back = trials.fails(&with(&plain, base, &plain.events));
    }
    if comes_back != Some(true) {
        return Err(trials.broken.unwrap_or_else(|| ShrinkError::NotTheEvents {
            events: plain.events.len(),
            runs: trials.runs,
            why: if task.iut.is_embedded() {
                "it rests on more than which packets were lost, late or repeated"
            } else {
                "it is flaky, or rests on more than which packets were lost, late or repeated"
            },
        }));
    }
    let chosen =
        |set: &[usize]| -> Vec<NetworkEvent> { set.iter().map(|index| plain.events[*index].clone()).collect() };
    let found = smallest(plain.events.len(), &mut |set| {
        trials.fails(&with(&plain, base, &chosen(set)))
    });
    if let Some(broken) = trials.broken.take() {
        return Err(broken);
    }
    let needed = chosen(&found.events);
    let link = with(&plain, base, &needed);
    let again = if task.iut.is_embedded() {
        Tally { failed: 1, of: 1 }
    } else {
        let failed = (0..CONFIRMED).filter(|_| trials.once(&link) == Some(true)).count();
        Tally { failed, of: CONFIRMED }
    };
    Ok(Shrunk {
        events: plain.events.len(),
        packets: plain.packets.len(),
        words: needed.iter().map(|event| (plain.words(event), event.what)).collect(),
        needed,
        link,
        minimal: found.minimal,
        runs: trials.runs,
        again,
        jitter,
    })
}
