//! Transfers that break off, devices that go away, and how often something is tried.

use fotaproof_lwm2m::campaign::{Happening, TaskOutcome, UpdateStatus};
use fotaproof_wire::coap::Code;

use crate::talk::{SECOND, Shown, Talk, spec};

fn pushes(talk: &Talk) -> usize {
    talk.tasks.iter().filter(|task| task.starts_with("push")).count()
}

#[test]
fn a_push_that_is_not_answered_is_tried_three_times_in_smaller_blocks() {
    let mut talk = Talk::new(spec(), Shown::default());
    for expected in ["push", "push in blocks of 256", "push in blocks of 64"] {
        assert_eq!(talk.asked(), expected);
        talk.pass(SECOND * 93);
        talk.outcome(TaskOutcome::Timeout);
        talk.pass(SECOND * 60);
    }
    assert_eq!(
        (talk.status(), talk.reason().as_str()),
        (UpdateStatus::Failed, "the push was not answered")
    );
}

#[test]
fn a_package_that_is_too_large_is_not_sent_again() {
    let mut talk = Talk::new(spec(), Shown::default());
    talk.answered(Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(pushes(&talk), 1);
    assert_eq!(
        (talk.status(), talk.reason().as_str()),
        (UpdateStatus::Failed, "the push was answered 4.13")
    );
}

#[test]
fn the_result_says_more_than_the_code_of_the_block() {
    let mut talk = Talk::new(spec(), Shown::default());
    talk.changes(0, 2);
    talk.answered(Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(talk.reason(), "the device reports Result 2");
}

#[test]
fn result_4_is_final_unless_the_link_was_the_cause() {
    let mut by_device = Talk::new(spec(), Shown::default());
    by_device.changes(0, 4);
    by_device.answered(Code::INTERNAL_SERVER_ERROR);
    assert_eq!(by_device.status(), UpdateStatus::Failed);

    let mut by_link = Talk::new(spec(), Shown::default());
    by_link.changes(0, 4);
    by_link.outcome(TaskOutcome::Timeout);
    by_link.pass(SECOND * 30);
    assert_eq!(by_link.asked(), "write /5/0/0 Opaque([0])");
}

#[test]
fn a_refusal_because_of_what_lies_there_is_followed_by_a_reset() {
    let mut talk = Talk::new(spec(), Shown::default());
    talk.changes(2, 0);
    talk.answered(Code::METHOD_NOT_ALLOWED);
    talk.pass(SECOND * 10);
    assert_eq!(talk.asked(), "write /5/0/0 Opaque([0])");
}

#[test]
fn half_a_package_is_replaced_after_a_loss_and_removed_after_a_refusal() {
    let half = |outcome| {
        let mut talk = Talk::new(spec(), Shown::default());
        talk.changes(1, 0);
        talk.outcome(outcome);
        talk.pass(SECOND * 30);
        talk.asked()
    };
    // Block 0 of a new body takes the place of an unfinished one (RFC 7959, 2.5).
    assert_eq!(half(TaskOutcome::Timeout), "push in blocks of 256");
    assert_eq!(half(TaskOutcome::code(Code::BAD_REQUEST)), "write /5/0/0 Opaque([0])");
}

#[test]
fn a_busy_device_is_left_alone_for_a_minute() {
    let mut talk = Talk::new(spec(), Shown::default());
    talk.answered(Code::SERVICE_UNAVAILABLE);
    talk.pass(SECOND * 60 - core::time::Duration::from_millis(1));
    assert_eq!(pushes(&talk), 1);
    talk.pass(SECOND * 10);
    assert_eq!(pushes(&talk), 2);
}

#[test]
fn a_device_that_comes_back_after_a_power_loss_gets_the_package_again() {
    let mut talk = Talk::new(spec(), Shown::default());
    talk.outcome(TaskOutcome::Timeout);
    talk.campaign.handle(talk.now, Happening::Expired);
    talk.go_on();
    talk.pass(SECOND * 120);
    assert_eq!(
        (talk.asked().as_str(), talk.status()),
        ("nothing", UpdateStatus::Transferring)
    );
    talk.register();
    talk.pass(SECOND * 10);
    assert_eq!(pushes(&talk), 2);
}

#[test]
fn a_device_that_never_comes_back_is_given_up() {
    let mut talk = Talk::new(spec(), Shown::default());
    talk.campaign.handle(talk.now, Happening::Deregistered);
    talk.go_on();
    talk.pass(SECOND * 899);
    assert_ne!(talk.status(), UpdateStatus::Failed);
    talk.pass(SECOND);
    assert_eq!(
        (talk.status(), talk.reason().as_str()),
        (UpdateStatus::Failed, "the device did not come back")
    );
}

#[test]
fn a_register_in_mid_push_stops_it_and_costs_no_try() {
    let mut talk = Talk::new(spec(), Shown::default());
    for _ in 0..5 {
        talk.register();
        talk.pass(SECOND * 5);
        assert_eq!(talk.asked(), "push");
    }
    assert!(talk.tasks.contains(&"stop what is under way".to_owned()));
}

#[test]
fn an_update_from_another_address_is_followed_and_one_from_the_same_is_not() {
    let updated = |address: &str| Happening::Updated {
        address: address.to_owned(),
    };
    let mut talk = Talk::new(spec(), Shown::default());
    let before = talk.tasks.len();
    talk.campaign.handle(talk.now, updated("192.0.2.10:40000"));
    talk.go_on();
    assert_eq!(talk.tasks.len(), before);
    talk.changes(1, 0);
    talk.campaign.handle(talk.now, updated("192.0.2.10:40001"));
    talk.go_on();
    talk.pass(SECOND * 5);
    assert_eq!(
        talk.tasks[before..],
        ["stop what is under way", "observe /5/0/3", "observe /5/0/5", "push"]
    );
}

#[test]
fn an_execute_without_an_answer_is_repeated_only_when_nothing_came_of_it() {
    let unanswered = || {
        let mut talk = Talk::pushed(spec());
        talk.notify(2, 0);
        talk.pass(SECOND);
        talk.outcome(TaskOutcome::Timeout);
        talk
    };
    let mut lost = unanswered();
    lost.pass(SECOND * 10);
    assert_eq!(lost.asked(), "execute /5/0/2");

    let mut arrived = unanswered();
    arrived.changes(3, 0);
    arrived.pass(SECOND * 10);
    assert_eq!(arrived.asked(), "nothing");
    assert_eq!(arrived.status(), UpdateStatus::Updating);
}

#[test]
fn a_refused_execute_is_tried_three_times_at_most() {
    let mut talk = Talk::pushed(spec());
    talk.notify(2, 0);
    for _ in 0..3 {
        assert_eq!(talk.asked(), "execute /5/0/2");
        talk.answered(Code::METHOD_NOT_ALLOWED);
        talk.pass(SECOND * 10);
    }
    assert_eq!(talk.reason(), "Execute was answered 4.05");
}

#[test]
fn an_installation_that_does_not_end_is_a_failure_after_half_an_hour() {
    let mut talk = Talk::executed(spec());
    talk.notify(3, 0);
    talk.pass(SECOND * 1799);
    assert_eq!(talk.status(), UpdateStatus::Updating);
    talk.pass(SECOND * 2);
    assert_eq!(talk.status(), UpdateStatus::Failed);
}

#[test]
fn nothing_is_asked_after_the_end() {
    let mut talk = Talk::executed(spec());
    talk.notify(2, 8);
    assert_eq!(talk.status(), UpdateStatus::Failed);
    let before = talk.tasks.len();
    talk.register();
    talk.pass(SECOND * 3600);
    talk.notify(0, 0);
    assert_eq!(talk.tasks.len(), before);
}
