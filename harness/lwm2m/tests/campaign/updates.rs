//! From the Register to the success, as devices do it in their different ways.

use fotaproof_lwm2m::campaign::{TaskOutcome, UpdateStatus};
use fotaproof_lwm2m::{ServerDefect, Version};
use fotaproof_wire::coap::Code;

use crate::talk::{SECOND, Shown, Talk, spec};

#[test]
fn a_push_task_by_task() {
    let mut talk = Talk::executed(spec());
    talk.shown.version = Some("2.0.0".to_owned());
    talk.changes(0, 1);
    talk.register();
    assert_eq!(talk.status(), UpdateStatus::Succeeded);
    insta::assert_snapshot!(talk.tasks.join("\n"), @r"
    observe /5/0/3
    observe /5/0/5
    read /5/0/9
    read /5/0/8
    read /3/0/3
    push
    read /5/0/3
    read /5/0/5
    execute /5/0/2
    observe /5/0/3
    observe /5/0/5
    read /3/0/3
    ");
}

#[test]
fn what_is_asked_of_the_driver_before_the_device_registers_is_nothing() {
    let mut campaign = fotaproof_lwm2m::campaign::Campaign::new(SECOND, spec());
    assert_eq!(campaign.poll_task(), None);
    assert_eq!(campaign.poll_deadline(), None);
    assert_eq!(campaign.progress().status, UpdateStatus::Waiting);
}

#[test]
fn execute_waits_for_state_2_however_late_it_comes() {
    let mut talk = Talk::pushed(spec());
    talk.notify(1, 0);
    talk.pass(SECOND * 90);
    assert_eq!(talk.asked(), "nothing");
    talk.notify(2, 0);
    assert_eq!(talk.asked(), "execute /5/0/2");

    let early = Talk::wrong(ServerDefect::ExecuteEarly, Shown::default());
    let mut early = early;
    early.answered(Code::CHANGED);
    assert_eq!(early.asked(), "execute /5/0/2");
}

#[test]
fn states_that_are_never_shown_are_not_waited_for() {
    // 0/0 > 2/0 > 0/1, as a device is free to show it (RFC 7641: the latest state only).
    let mut talk = Talk::pushed(spec());
    talk.notify(2, 0);
    talk.answered(Code::CHANGED);
    talk.shown.version = Some("2.0.0".to_owned());
    talk.notify(0, 1);
    assert_eq!(talk.status(), UpdateStatus::Succeeded);
}

#[test]
fn a_device_that_cannot_be_observed_is_read() {
    let mut talk = Talk::pushed(spec());
    talk.changes(2, 0);
    // Notifications may be lost too: an observed device is read now and then.
    talk.pass(SECOND * 19);
    assert_eq!(talk.asked(), "nothing");
    talk.pass(SECOND);
    assert_eq!(talk.asked(), "execute /5/0/2");
}

#[test]
fn state_arrives_before_result_and_is_not_the_whole_story() {
    let mut talk = Talk::executed(spec());
    // First State 0 alone, as two notifications have it; the Result comes a second later.
    talk.notify(0, 0);
    talk.pass(SECOND);
    assert_eq!(talk.status(), UpdateStatus::Updating);
    talk.notify(0, 5);
    assert_eq!(
        (talk.status(), talk.reason().as_str()),
        (UpdateStatus::Failed, "the device reports Result 5")
    );
}

#[test]
fn success_is_verified_by_the_version() {
    let mut talk = Talk::executed(spec());
    talk.notify(0, 1);
    // It may have told before its restart: one more look.
    assert_eq!(talk.status(), UpdateStatus::Updating);
    talk.shown.version = Some("2.0.0".to_owned());
    talk.register();
    assert_eq!(talk.status(), UpdateStatus::Succeeded);

    let mut old = Talk::executed(spec());
    old.notify(0, 1);
    old.pass(SECOND * 60);
    assert_eq!(
        (old.status(), old.reason().as_str()),
        (
            UpdateStatus::Failed,
            "the device reports Result 1 and runs version \"1.0.0\""
        )
    );
}

#[test]
fn a_device_without_a_version_is_believed() {
    let mut talk = Talk::executed(spec());
    talk.shown.version = None;
    talk.changes(0, 1);
    talk.register();
    assert_eq!(talk.status(), UpdateStatus::Succeeded);
    assert_eq!(talk.tasks.last().map(String::as_str), Some("read /5/0/7"));
}

#[test]
fn a_device_that_forgets_its_result_is_judged_by_its_version() {
    let mut talk = Talk::executed(spec());
    talk.changes(0, 0);
    talk.shown.version = Some("2.0.0".to_owned());
    talk.register();
    assert_eq!(talk.status(), UpdateStatus::Updating);
    talk.pass(SECOND * 60);
    assert_eq!(talk.status(), UpdateStatus::Succeeded);
}

#[test]
fn a_deferred_installation_is_waited_for() {
    let mut talk = Talk::executed(spec());
    talk.notify(2, 11);
    assert_eq!(talk.status(), UpdateStatus::Deferred);
    talk.pass(SECOND * 7200);
    assert_eq!(talk.status(), UpdateStatus::Deferred);
    talk.notify(3, 0);
    assert_eq!(talk.status(), UpdateStatus::Updating);
    talk.shown.version = Some("2.0.0".to_owned());
    talk.notify(0, 1);
    assert_eq!(talk.status(), UpdateStatus::Succeeded);
    assert_eq!(talk.tasks.iter().filter(|task| task.starts_with("execute")).count(), 1);
}

#[test]
fn automatic_upgrade_needs_no_execute() {
    let mut talk = Talk::pushed(spec());
    talk.notify(3, 0);
    talk.shown.version = Some("2.0.0".to_owned());
    talk.notify(0, 1);
    assert_eq!(talk.status(), UpdateStatus::Succeeded);
    assert!(!talk.tasks.iter().any(|task| task.starts_with("execute")));
}

#[test]
fn what_lies_on_the_device_is_removed_first() {
    for (state, result) in [(2, 0), (0, 8), (0, 1), (1, 0)] {
        let shown = Shown {
            state,
            result,
            ..Shown::default()
        };
        let mut talk = Talk::new(spec(), shown);
        assert_eq!(talk.asked(), "write /5/0/0 Opaque([0])", "{state}/{result}");
        talk.changes(0, 0);
        talk.answered(Code::CHANGED);
        assert_eq!(talk.asked(), "push", "{state}/{result}");
    }
}

#[test]
fn a_device_that_only_pulls_is_reset_by_an_empty_uri() {
    let shown = Shown {
        state: 2,
        delivery: Some(0),
        ..Shown::default()
    };
    // What is to be reset is known before the way is.
    let talk = Talk::new(spec(), shown);
    assert_eq!(talk.asked(), "write /5/0/1 \"\"");
}

#[test]
fn a_result_that_cannot_be_cleared_is_not_that_of_this_update() {
    let shown = Shown {
        result: 8,
        ..Shown::default()
    };
    let mut talk = Talk::new(spec(), shown);
    talk.answered(Code::METHOD_NOT_ALLOWED);
    talk.pass(SECOND * 5);
    talk.answered(Code::METHOD_NOT_ALLOWED);
    talk.pass(SECOND * 5);
    assert_eq!(talk.asked(), "push");
    talk.answered(Code::CHANGED);
    // Still the old one: State 2 counts, Result 8 does not.
    talk.notify(2, 8);
    assert_eq!(talk.asked(), "execute /5/0/2");
}

#[test]
fn a_package_that_cannot_be_removed_is_not_installed() {
    let shown = Shown {
        state: 2,
        ..Shown::default()
    };
    let mut talk = Talk::new(spec(), shown);
    for _ in 0..2 {
        talk.answered(Code::METHOD_NOT_ALLOWED);
        talk.pass(SECOND * 5);
    }
    assert_eq!(talk.status(), UpdateStatus::Failed);
    assert!(!talk.tasks.iter().any(|task| task.starts_with("execute")));
}

#[test]
fn a_register_after_the_execute_ends_in_new_observations() {
    let mut talk = Talk::executed(spec());
    let before = talk.tasks.len();
    talk.changes(3, 0);
    talk.register();
    assert_eq!(talk.tasks[before..], ["observe /5/0/3", "observe /5/0/5"]);
}

#[test]
fn cancel_is_there_from_version_1_1_on() {
    for (object5, asked) in [
        (Version::V1_0, "write /5/0/0 Opaque([0])"),
        (Version::V1_1, "execute /5/0/10"),
    ] {
        let shown = Shown {
            object5,
            ..Shown::default()
        };
        let mut talk = Talk::new(spec(), shown);
        talk.changes(1, 0);
        talk.campaign.cancel(talk.now);
        talk.go_on();
        assert_eq!(talk.asked(), asked);
        talk.changes(0, 10);
        talk.answered(Code::CHANGED);
        assert_eq!(talk.status(), UpdateStatus::Cancelled);
    }
}

#[test]
fn a_pause_lets_the_transfer_end_and_begins_nothing_more() {
    let mut talk = Talk::new(spec(), Shown::default());
    talk.campaign.pause(talk.now);
    assert_eq!(talk.asked(), "push");
    talk.outcome(TaskOutcome::code(Code::CHANGED));
    talk.notify(2, 0);
    talk.pass(SECOND * 3600);
    assert_eq!(
        (talk.status(), talk.asked().as_str()),
        (UpdateStatus::Paused, "nothing")
    );
    talk.campaign.resume(talk.now);
    talk.go_on();
    assert_eq!(talk.asked(), "execute /5/0/2");
}
