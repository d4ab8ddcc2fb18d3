//! Campaigns over the adapter protocol: what a task asks of a server under test, and what its reply means.

use fotaproof_adapter::{Answer, ErrorKind, Operation, Registration, Reply, ReplyError, Response, Value as Said};
use fotaproof_lwm2m::Version;
use fotaproof_lwm2m::campaign::{
    Happening, Task, TaskId, TaskOutcome, happening_of_registration, operation_of, outcome_of, value_from_adapter,
    value_to_adapter,
};
use fotaproof_wire::coap::Code;
use fotaproof_wire::{LwPath, Value};
use proptest::prelude::*;

use crate::talk::STATE;

fn operation(task: &Task) -> Option<String> {
    let operation = operation_of(task, "case", "dev", "v2.bin")?;
    Some(serde_json::to_string(&operation).unwrap())
}

#[test]
fn tasks_as_operations() {
    let tasks = [
        Task::Read(STATE),
        Task::Observe(STATE),
        Task::Write {
            path: LwPath::resource(5, 0, 1),
            value: Value::String("coap://h/fw".to_owned()),
        },
        Task::Write {
            path: LwPath::resource(5, 0, 0),
            value: Value::Opaque(vec![0]),
        },
        Task::Push { block: Some(256) },
        Task::Push { block: None },
        Task::Execute(LwPath::resource(5, 0, 2)),
    ];
    let lines: Vec<String> = tasks.iter().filter_map(operation).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"op":"read","instance":"case","endpoint":"dev","path":"/5/0/3"}
    {"op":"observe","instance":"case","endpoint":"dev","path":"/5/0/3"}
    {"op":"write","instance":"case","endpoint":"dev","path":"/5/0/1","value":{"type":"string","value":"coap://h/fw"}}
    {"op":"write","instance":"case","endpoint":"dev","path":"/5/0/0","value":{"type":"opaque","value":"00"}}
    {"op":"write-blocks","instance":"case","endpoint":"dev","path":"/5/0/0","file":"v2.bin","block":256}
    {"op":"write-blocks","instance":"case","endpoint":"dev","path":"/5/0/0","file":"v2.bin"}
    {"op":"execute","instance":"case","endpoint":"dev","path":"/5/0/2"}
    "#);
    assert_eq!(operation(&Task::CancelTask(TaskId(1))), None);
    assert_eq!(operation(&Task::CancelObservation(STATE)), None);
}

fn reply(response: Response) -> Reply {
    Reply {
        id: 1,
        ok: Some(Answer {
            response: Some(response),
            ..Answer::default()
        }),
        error: None,
    }
}

fn error(kind: ErrorKind) -> Reply {
    Reply {
        id: 1,
        ok: None,
        error: Some(ReplyError {
            kind,
            message: "because".to_owned(),
        }),
    }
}

#[test]
fn replies_as_outcomes() {
    let read = Task::Read(STATE);
    let content = Response {
        code: "2.05".to_owned(),
        value: Some(Said::Integer(2)),
        ..Response::default()
    };
    assert_eq!(
        outcome_of(&reply(content), &read),
        TaskOutcome::content(STATE, Value::Integer(2))
    );
    let refused = Response {
        code: "4.05".to_owned(),
        ..Response::default()
    };
    assert_eq!(
        outcome_of(&reply(refused), &read),
        TaskOutcome::code(Code::METHOD_NOT_ALLOWED)
    );
    let nonsense = Response {
        code: "fine".to_owned(),
        ..Response::default()
    };
    assert_eq!(
        outcome_of(&reply(nonsense), &read),
        TaskOutcome::Failed("\"fine\" is no response code".to_owned())
    );
    assert_eq!(outcome_of(&error(ErrorKind::Timeout), &read), TaskOutcome::Timeout);
    assert_eq!(
        outcome_of(&error(ErrorKind::NotRegistered), &read),
        TaskOutcome::Superseded
    );
    assert_eq!(
        outcome_of(&error(ErrorKind::Unsupported), &read),
        TaskOutcome::Failed("because".to_owned())
    );
    assert_eq!(
        outcome_of(&Reply::default(), &read),
        TaskOutcome::Failed("the reply has no response".to_owned())
    );
}

#[test]
fn a_multiple_resource_is_read_by_the_paths_of_its_instances() {
    let response = Response {
        code: "2.05".to_owned(),
        values: [("/5/0/8/0", 0), ("/5/0/8/1", 2), ("no path", 3)]
            .map(|(path, number)| (path.to_owned(), Said::Integer(number)))
            .into(),
        ..Response::default()
    };
    let outcome = outcome_of(&reply(response), &Task::Read(LwPath::resource(5, 0, 8)));
    let value = |instance, number| (LwPath::resource_instance(5, 0, 8, instance), Value::Integer(number));
    assert_eq!(
        outcome,
        TaskOutcome::Code {
            code: Code::CONTENT,
            values: vec![value(0, 0), value(1, 2)]
        }
    );
}

#[test]
fn the_version_of_object_5_is_as_announced_or_by_the_enabler() {
    let object5 = |lwm2m: &str, links: &str| {
        let registration = Registration {
            lwm2m: lwm2m.to_owned(),
            links: links.to_owned(),
            ..Registration::default()
        };
        match happening_of_registration(&registration) {
            Happening::Registered { object5, .. } => object5,
            _ => None,
        }
    };
    assert_eq!(object5("1.0", "</3/0>,</5/0>"), Some(Version::V1_0));
    assert_eq!(object5("1.1", "</3/0>,</5>;ver=1.1,</5/0>"), Some(Version::V1_1));
    assert_eq!(object5("1.1", "</3/0>"), None);
    // A server that does not tell the list.
    assert_eq!(object5("1.0", ""), Some(Version::V1_0));
}

#[test]
fn operations_of_another_level_are_no_tasks() {
    let read = operation_of(&Task::Read(STATE), "case", "dev", "");
    assert!(matches!(read, Some(Operation::Read { .. })));
}

proptest! {
    #[test]
    fn bytes_go_through_hexadecimal_and_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let value = Value::Opaque(bytes);
        prop_assert_eq!(value_from_adapter(&value_to_adapter(&value)), Some(value));
    }

    #[test]
    fn any_text_is_hexadecimal_or_not(text in "\\PC{0,12}") {
        let value = value_from_adapter(&Said::Opaque(text.clone()));
        let hexadecimal = text.len() % 2 == 0 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        prop_assert_eq!(value.is_some(), hexadecimal);
    }
}
