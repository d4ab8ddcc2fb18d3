//! The rules of blame at their boundaries: a story that just fits, and one that just does not.

use core::time::Duration;

use fotaproof_analyze::report::{DeviceReport, FirmwareReport, SampleReport, TransferReport};
use fotaproof_cases::Claims;
use fotaproof_checks::facts::{Facts, Target, Token};
use fotaproof_reports::matrix::Way;
use fotaproof_wire::coap::{BlockValue, Code, Szx};

use super::asked::{Asked, Log, Reply};
use super::blame::{Story, fault};
use super::cell::End;
use super::leader::{Level, Unable};
use super::plan::Role;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A request that was answered with this code at once.
fn asked(by: Role, at: Duration, code: Code, target: Target, answer: Option<Code>) -> Asked {
    let (client, server) = (([192, 0, 2, 2], 5683).into(), ([192, 0, 2, 1], 5683).into());
    Asked {
        by,
        of_harness: false,
        from: if by == Role::Client { client } else { server },
        to: if by == Role::Client { server } else { client },
        confirmable: true,
        code,
        facts: Facts {
            target,
            ..Facts::default()
        },
        length: 0,
        text: None,
        queue: false,
        at,
        datagram: at.as_secs(),
        copies: 1,
        delivered: vec![at],
        token: Token::default(),
        answers: usize::from(answer.is_some()),
        acknowledged: false,
        reset: false,
        rejected: None,
        reply: answer.map(|code| Reply {
            code,
            facts: Facts::default(),
            at,
            datagram: at.as_secs() + 1000,
            delivered: true,
        }),
    }
}

fn firmware(at: Duration, code: Code, resource: u16, answer: Option<Code>) -> Asked {
    let path = format!("/5/0/{resource}").parse().unwrap();
    asked(Role::Server, at, code, Target::Lw(path), answer)
}

fn register(at: Duration) -> Asked {
    Asked {
        text: Some("dev".to_owned()),
        ..asked(Role::Client, at, Code::POST, Target::Register, Some(Code::CREATED))
    }
}

/// A block of 512 bytes of the package.
fn block(at: Duration, num: u32, more: bool, answer: Code) -> Asked {
    let mut push = firmware(at, Code::PUT, 0, Some(answer));
    push.facts.block1 = BlockValue::new(num, more, Szx::S512);
    push.length = 512;
    push
}

fn uri(at: Duration) -> Asked {
    let text = "coap://192.0.2.1/fw".to_owned();
    Asked {
        length: text.len() as u64,
        text: Some(text),
        ..firmware(at, Code::PUT, 1, Some(Code::CHANGED))
    }
}

fn fetch(at: Duration) -> Asked {
    asked(Role::Client, at, Code::GET, Target::Other, Some(Code::CONTENT))
}

fn shows(state: u8, result: u8) -> DeviceReport {
    DeviceReport {
        firmware: FirmwareReport {
            samples: vec![SampleReport {
                state: Some(state),
                result: Some(result),
                ..SampleReport::default()
            }],
            ..FirmwareReport::default()
        },
        ..DeviceReport::default()
    }
}

/// Whom these requests put at fault, when the cell is over at that time.
fn guilty_with(all: Vec<Asked>, at: Duration, device: Option<&DeviceReport>, hosted_by_harness: bool) -> Option<Role> {
    let story = Story {
        log: &Log::of_all(all),
        way: if hosted_by_harness { Way::Pull } else { Way::Push },
        level: Level::Library,
        end: &End::Over,
        unable: None,
        at,
        image: 2048,
        version: "2.0.0",
        client: &Claims::new(["push", "pull:coap"]).unwrap(),
        hosted_by_harness,
        is_intact: true,
        device,
    };
    fault(&story).map(|fault| fault.side)
}

fn guilty(all: Vec<Asked>, at: Duration) -> Option<Role> {
    guilty_with(all, at, None, false)
}

#[test]
fn a_message_that_is_too_large_without_blocks_is_the_servers() {
    let whole = |length| Asked {
        length,
        ..firmware(s(1), Code::PUT, 0, Some(Code::BAD_REQUEST))
    };
    assert_eq!(guilty(vec![whole(1152)], s(9)), None);
    assert_eq!(guilty(vec![whole(1153)], s(9)), Some(Role::Server));
}

#[test]
fn the_last_block_has_no_more() {
    let last = |num, more| vec![block(s(1), num, more, Code::CONTINUE)];
    assert_eq!(guilty(last(3, true), s(9)), Some(Role::Server));
    assert_eq!(guilty(last(3, false), s(9)), None);
    assert_eq!(guilty(last(2, true), s(9)), None);
}

#[test]
fn a_block_is_refused_rightly_when_one_is_missing() {
    let blocks = |num| {
        vec![
            block(s(1), 0, true, Code::CONTINUE),
            block(s(2), num, true, Code::REQUEST_ENTITY_INCOMPLETE),
        ]
    };
    assert_eq!(guilty(blocks(1), s(9)), Some(Role::Client));
    assert_eq!(guilty(blocks(2), s(9)), None);
}

#[test]
fn a_hint_that_nobody_takes_is_the_servers() {
    let mut refused = block(s(1), 0, true, Code::REQUEST_ENTITY_TOO_LARGE);
    let hint = |refused: &mut Asked, szx| refused.reply.as_mut().unwrap().facts.block1 = BlockValue::new(0, false, szx);
    hint(&mut refused, Szx::S256);
    assert_eq!(guilty(vec![refused.clone()], s(9)), Some(Role::Server));
    let taken = vec![refused.clone(), block(s(2), 0, true, Code::CONTINUE)];
    assert_eq!(guilty(taken, s(9)), None);
    hint(&mut refused, Szx::S512);
    assert_eq!(guilty(vec![refused], s(9)), None, "it asks for no smaller block");
}

#[test]
fn an_awake_client_answers_a_request_that_comes_twice() {
    let read = |apart: Duration| Asked {
        delivered: vec![s(5), s(5) + apart],
        ..firmware(s(5), Code::GET, 3, None)
    };
    assert_eq!(guilty(vec![register(s(1)), read(s(1))], s(90)), Some(Role::Client));
    let sooner = read(Duration::from_millis(999));
    assert_eq!(guilty(vec![register(s(1)), sooner], s(90)), None);
    let asleep = Asked {
        queue: true,
        ..register(s(1))
    };
    assert_eq!(guilty(vec![asleep, read(s(1))], s(90)), None, "it may sleep");
    let elsewhere = Asked {
        to: ([192, 0, 2, 2], 9).into(),
        ..read(s(1))
    };
    assert_eq!(guilty(vec![register(s(1)), elsewhere], s(90)), None, "it is not there");
    let execute = firmware(s(4), Code::POST, 2, Some(Code::CHANGED));
    assert_eq!(
        guilty(vec![register(s(1)), execute, read(s(1))], s(90)),
        None,
        "it may be away"
    );
}

#[test]
fn a_uri_that_is_taken_is_fetched_within_a_minute() {
    assert_eq!(guilty(vec![uri(s(1))], s(60)), None);
    assert_eq!(guilty(vec![uri(s(1))], s(61)), Some(Role::Client));
    assert_eq!(guilty(vec![uri(s(1)), fetch(s(2))], s(61)), None);
}

#[test]
fn a_get_is_sent_five_times_before_it_is_given_up() {
    let last = |copies| Asked {
        copies,
        delivered: Vec::new(),
        reply: None,
        answers: 0,
        ..fetch(s(2))
    };
    let failed = shows(0, 4);
    let told = |copies| guilty_with(vec![uri(s(1)), last(copies)], s(99), Some(&failed), true);
    assert_eq!(told(4), Some(Role::Client));
    assert_eq!(told(5), None);
}

#[test]
fn who_took_the_execute_comes_back_within_two_minutes() {
    let execute = || firmware(s(1), Code::POST, 2, Some(Code::CHANGED));
    assert_eq!(guilty(vec![execute()], s(120)), None);
    assert_eq!(guilty(vec![execute()], s(121)), Some(Role::Client));
    assert_eq!(guilty(vec![execute(), register(s(9))], s(121)), None);
    let failed = shows(2, 8);
    assert_eq!(
        guilty_with(vec![execute()], s(121), Some(&failed), false),
        None,
        "it said why not"
    );
}

#[test]
fn a_package_that_came_whole_and_is_refused_is_the_clients() {
    let device = |bytes| DeviceReport {
        transfers: vec![TransferReport {
            way: "push".to_owned(),
            bytes,
            outcome: "complete".to_owned(),
            ..TransferReport::default()
        }],
        ..shows(0, 5)
    };
    let told = |bytes| {
        guilty_with(
            vec![block(s(1), 3, false, Code::CHANGED)],
            s(9),
            Some(&device(bytes)),
            false,
        )
    };
    assert_eq!(told(2048), Some(Role::Client));
    assert_eq!(told(2047), None);
}

#[test]
fn a_library_that_fails_without_a_message_did_not_ask_the_client() {
    let told = |asked, spoke| {
        let mut log = Log::of_all(vec![register(s(1))]);
        log.spoke = [Some(s(1)), Some(spoke)];
        let failed = Unable {
            asked,
            what: "read /5/0/3: it ended".to_owned(),
        };
        let story = Story {
            log: &log,
            way: Way::Push,
            level: Level::Library,
            end: &End::Over,
            unable: Some(&failed),
            at: s(9),
            image: 2048,
            version: "",
            client: &Claims::default(),
            hosted_by_harness: false,
            is_intact: true,
            device: None,
        };
        fault(&story).map(|fault| fault.side)
    };
    assert_eq!(told(s(3), s(2)), Some(Role::Server));
    assert_eq!(
        told(s(3), s(3)),
        None,
        "it sent something: the client may have been asked"
    );
}

#[test]
fn half_a_story_names_nobody() {
    let big = Asked {
        length: 4000,
        ..firmware(s(1), Code::PUT, 0, Some(Code::BAD_REQUEST))
    };
    let mut log = Log::of_all(vec![big]);
    log.is_cut = true;
    let story = Story {
        log: &log,
        way: Way::Push,
        level: Level::Campaign,
        end: &End::Over,
        unable: None,
        at: s(9),
        image: 4000,
        version: "",
        client: &Claims::default(),
        hosted_by_harness: false,
        is_intact: true,
        device: None,
    };
    assert_eq!(fault(&story), None);
}
