//! When a campaign may do what: windows of the Execute, periods to be kept clear, signal strength. Each limit just holds and just does not.

use core::time::Duration;

use fotaproof_lwm2m::campaign::{CampaignSpec, UpdateStatus};
use fotaproof_wire::coap::Code;

use crate::talk::{SECOND, Shown, Talk, spec};

const MS: Duration = Duration::from_millis(1);

fn windows(windows: &[(u64, u64)]) -> CampaignSpec {
    CampaignSpec {
        execute_windows: windows
            .iter()
            .map(|(from, to)| (SECOND * *from as u32, SECOND * *to as u32))
            .collect(),
        ..spec()
    }
}

fn clear(periods: &[(u64, u64)]) -> CampaignSpec {
    CampaignSpec {
        keep_clear: windows(periods).execute_windows,
        ..spec()
    }
}

/// When the Execute is asked for: the package is there at `at`.
fn executed_at(spec: CampaignSpec, at: Duration) -> Option<Duration> {
    let mut talk = Talk::pushed(spec);
    talk.notify(1, 0);
    talk.pass(at);
    talk.notify(2, 0);
    for _ in 0..100_000 {
        if talk.asked() == "execute /5/0/2" {
            return Some(talk.now);
        }
        let next = talk.campaign.poll_deadline()?;
        talk.pass(next - talk.now);
    }
    None
}

#[test]
fn execute_is_sent_within_a_window_only() {
    let window = || windows(&[(400, 1200)]);
    assert_eq!(executed_at(window(), SECOND * 60), Some(SECOND * 400));
    assert_eq!(executed_at(window(), SECOND * 400 - MS), Some(SECOND * 400));
    assert_eq!(executed_at(window(), SECOND * 400), Some(SECOND * 400));
    let window = || windows(&[(0, 500), (550, 551)]);
    assert_eq!(executed_at(window(), SECOND * 500 - MS), Some(SECOND * 500 - MS));
    // The end of a window is no longer part of it.
    assert_eq!(executed_at(window(), SECOND * 500), Some(SECOND * 550));
    assert_eq!(executed_at(window(), SECOND * 551), None);
}

#[test]
fn an_update_without_a_window_left_has_failed() {
    let mut talk = Talk::pushed(windows(&[(0, 10)]));
    talk.notify(1, 0);
    talk.pass(SECOND * 10);
    talk.notify(2, 0);
    assert_eq!(talk.status(), UpdateStatus::Failed);
}

#[test]
fn execute_keeps_a_minute_before_what_is_to_be_kept_clear() {
    let period = || clear(&[(300, 400)]);
    assert_eq!(executed_at(period(), SECOND * 240 - MS), Some(SECOND * 240 - MS));
    assert_eq!(executed_at(period(), SECOND * 240), Some(SECOND * 400));
    assert_eq!(executed_at(period(), SECOND * 400 - MS), Some(SECOND * 400));
}

#[test]
fn a_window_that_is_to_be_kept_clear_in_part_is_used_in_the_rest() {
    let mut spec = windows(&[(300, 500)]);
    spec.keep_clear = clear(&[(310, 420)]).keep_clear;
    assert_eq!(executed_at(spec, SECOND * 60), Some(SECOND * 420));
}

#[test]
fn a_transfer_does_not_begin_in_a_period_to_be_kept_clear() {
    let mut talk = Talk::new(clear(&[(0, 100)]), Shown::default());
    assert_eq!(talk.asked(), "nothing");
    talk.pass(SECOND * 100 - MS);
    assert_eq!(talk.asked(), "nothing");
    talk.pass(MS);
    assert_eq!(talk.asked(), "push");
}

#[test]
fn a_transfer_is_stopped_when_such_a_period_begins_and_begins_anew_after_it() {
    let mut talk = Talk::new(clear(&[(100, 200)]), Shown::default());
    talk.pass(SECOND * 100 - MS);
    assert_eq!(talk.asked(), "push");
    talk.pass(MS);
    assert_eq!(talk.tasks.last().map(String::as_str), Some("stop what is under way"));
    talk.changes(1, 0);
    talk.pass(SECOND * 100 - MS);
    assert_eq!(talk.asked(), "nothing");
    talk.pass(SECOND * 3);
    assert_eq!(talk.asked(), "push");
}

#[test]
fn the_signal_is_looked_at_before_the_transfer() {
    let gate = || CampaignSpec {
        least_signal: Some(-100),
        ..spec()
    };
    let shown = |signal| Shown {
        signal,
        ..Shown::default()
    };
    assert_eq!(Talk::new(gate(), shown(Some(-100))).asked(), "push");
    // A device that does not tell is not kept waiting for ever.
    assert_eq!(Talk::new(gate(), shown(None)).asked(), "push");
    let mut weak = Talk::new(gate(), shown(Some(-101)));
    weak.pass(SECOND * 600);
    assert_eq!(weak.asked(), "nothing");
    assert_eq!(weak.status(), UpdateStatus::Waiting);
    weak.shown.signal = Some(-80);
    weak.pass(SECOND * 30);
    assert_eq!(weak.asked(), "push");
}

#[test]
fn without_a_least_signal_object_4_is_left_alone() {
    let mut talk = Talk::new(spec(), Shown::default());
    talk.answered(Code::CHANGED);
    assert!(!talk.tasks.iter().any(|task| task.contains("/4/0/2")));
}
