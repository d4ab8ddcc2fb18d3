//! The harness is late: what the IUT seems to break then is nobody's failure. The clock of the case jumps; nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{REGISTER, real_case};
use fotaproof_runner::real::{Interrupt, run_case};
use fotaproof_runner::session::{LATE_LIMIT, Outcome};
use fotaproof_trace::{Blame, Event, EventKind, Late, Verdict};

const DEVICE: &str = r#"
name: reference device
command: ["{device}", "{endpoint}", "{server.host}:{server.port}", "{state}", "{lifetime}"]
claims: [object=1.2, lwm2m=1.1, push, restart, kill, stop]
packages: {valid: {builtin: true}}
"#;

/// Runs a case whose clock jumps by so much in its second step; gives the outcome and what the journal ends with.
async fn jumping(case: &str, by: Duration) -> (Outcome, Option<Late>, Vec<Arc<Event>>) {
    let folder = tempfile::tempdir().unwrap();
    let mut case = real_case(case, DEVICE, folder.path());
    let skew: &'static AtomicU64 = Box::leak(Box::default());
    case.skew = Some(skew);
    let mut events = Vec::new();
    let mut sink = |event: &Arc<Event>| {
        // the step after the registration
        if matches!(event.kind, EventKind::StepStarted { index: 1, .. }) {
            skew.store(u64::try_from(by.as_nanos()).unwrap(), Ordering::Relaxed);
        }
        events.push(event.clone());
    };
    let outcome = run_case(case, &mut sink, Interrupt::never()).await;
    let Some(EventKind::CaseEnded { verdict, late, .. }) = events.last().map(|event| &event.kind) else {
        panic!("the journal has no end");
    };
    assert_eq!(*verdict, outcome.verdict);
    let late = *late;
    (outcome, late, events)
}

fn wrong_code() -> String {
    REGISTER.replace("code: 2.05", "code: 4.04")
}

#[tokio::test]
async fn a_little_late_a_failure_is_the_iut_s() {
    let (outcome, late, _) = jumping(&wrong_code(), LATE_LIMIT * 3 / 4).await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.reason);
    assert_eq!(outcome.findings[0].blame, Blame::Iut);
    let by = late.map(|late| late.by).unwrap_or_default();
    assert!(by <= LATE_LIMIT, "{by:?}");
}

#[tokio::test]
async fn too_late_it_is_inconclusive_and_the_harness_s() {
    let (outcome, late, events) = jumping(&wrong_code(), LATE_LIMIT * 2).await;
    assert_eq!(outcome.verdict, Verdict::Inconclusive, "{}", outcome.reason);
    let finding = &outcome.findings[0];
    assert_eq!(finding.blame, Blame::Harness);
    assert!(finding.hint.as_ref().unwrap().contains("lower --speed or fewer --jobs"));
    assert!(
        outcome.reason.starts_with("the harness was late by ") && outcome.reason.contains("this may be why: GET"),
        "{}",
        outcome.reason
    );
    assert!(late.unwrap().by > LATE_LIMIT);
    // the journal never blamed the IUT
    let blamed = events
        .iter()
        .any(|event| matches!(&event.kind, EventKind::Finding(finding) if finding.blame == Blame::Iut));
    assert!(!blamed);
}

#[tokio::test]
async fn a_pass_stays_a_pass_however_late() {
    let (outcome, late, _) = jumping(REGISTER, LATE_LIMIT * 2).await;
    assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::Pass, ""));
    assert!(late.unwrap().by > LATE_LIMIT);
}

/// The time that the IUT had is over before it could do anything.
#[tokio::test]
async fn a_wait_that_the_jump_ended_is_not_held_against_the_iut() {
    let case = REGISTER.replace(
        "  - read: /3/0/3\n    expect: {code: 2.05}",
        "  - expect: {ends: 2/0, within: 10s}",
    );
    let (outcome, _, _) = jumping(&case, Duration::from_secs(60)).await;
    assert_eq!(outcome.verdict, Verdict::Inconclusive, "{}", outcome.reason);
    assert!(
        outcome.reason.starts_with("the harness was late by "),
        "{}",
        outcome.reason
    );
}
