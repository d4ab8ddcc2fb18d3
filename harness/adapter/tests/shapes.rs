//! Each message of the protocol as it stands on the wire. A snapshot that changes is a new version of the protocol.

use std::collections::BTreeMap;
use std::path::Path;

use fotaproof_adapter::{
    Addresses, Answer, Conditions, Credential, DeviceAction, ErrorKind, Event, Hello, Listen, Message, Method,
    Operation, Package, Progress, Registration, Reply, ReplyError, Request, Response, Security, Timings, UpdateStatus,
    Value, parse, schemas, to_line,
};
use proptest::prelude::*;

fn text(word: &str) -> String {
    word.to_owned()
}

/// One of each operation, with all that it can carry.
fn operations() -> Vec<Operation> {
    let (instance, endpoint, path) = (|| text("a"), || text("dev"), || text("/5/0/3"));
    let update = || text("u1");
    vec![
        Operation::Start {
            instance: instance(),
            listen: Listen {
                host: text("127.0.0.1"),
                port: 0,
                secure_port: Some(0),
            },
            security: Some(Security::Psk {
                identity: text("id"),
                key: text("00ff"),
                endpoint: Some(endpoint()),
                others: vec![Credential {
                    identity: text("id2"),
                    key: text("0123"),
                    endpoint: None,
                }],
            }),
            timings: Some(Timings {
                ack_timeout_ms: Some(2000),
                max_retransmit: Some(4),
                response_timeout_ms: Some(93_000),
            }),
            folder: Some(text("/tmp/a")),
        },
        Operation::Stop { instance: instance() },
        Operation::Quit,
        Operation::AwaitRegistered {
            instance: instance(),
            endpoint: endpoint(),
            timeout_ms: 5000,
        },
        Operation::Read {
            instance: instance(),
            endpoint: endpoint(),
            path: path(),
        },
        Operation::Write {
            instance: instance(),
            endpoint: endpoint(),
            path: text("/5/0/1"),
            value: Value::String(text("coap://h/f")),
        },
        Operation::WriteBlocks {
            instance: instance(),
            endpoint: endpoint(),
            path: text("/5/0/0"),
            file: text("/tmp/v2.bin"),
            block: Some(512),
        },
        Operation::Execute {
            instance: instance(),
            endpoint: endpoint(),
            path: text("/5/0/2"),
            arguments: Some(text("0='1'")),
        },
        Operation::Observe {
            instance: instance(),
            endpoint: endpoint(),
            path: path(),
        },
        Operation::Cancel {
            instance: instance(),
            observation: text("o1"),
        },
        Operation::Discover {
            instance: instance(),
            endpoint: endpoint(),
            path: text("/5"),
        },
        Operation::WriteAttributes {
            instance: instance(),
            endpoint: endpoint(),
            path: path(),
            attributes: BTreeMap::from([(text("pmin"), 1.0), (text("pmax"), 60.0)]),
        },
        Operation::ServeFile {
            instance: instance(),
            file: text("/tmp/v2.bin"),
            path: text("/fw/v2.bin"),
        },
        Operation::UpdateStart {
            instance: instance(),
            update: update(),
            endpoint: endpoint(),
            package: Package {
                file: text("/tmp/v2.bin"),
                version: text("2.0.0"),
                uris: BTreeMap::from([(text("coap"), text("coap://h/f"))]),
            },
            method: Method::Pull,
            conditions: Conditions {
                execute_windows_ms: vec![(0, 60_000)],
                least_signal_dbm: Some(-100),
                keep_clear_ms: vec![(1000, 2000)],
            },
        },
        Operation::UpdatePause {
            instance: instance(),
            update: update(),
        },
        Operation::UpdateResume {
            instance: instance(),
            update: update(),
        },
        Operation::UpdateCancel {
            instance: instance(),
            update: update(),
        },
        Operation::UpdateProgress {
            instance: instance(),
            update: update(),
        },
        Operation::Device {
            instance: instance(),
            action: DeviceAction::Press,
            argument: Some(text("reset")),
        },
        Operation::ImageDigest { instance: instance() },
        Operation::NoSuchOperation {},
    ]
}

fn registration() -> Registration {
    Registration {
        address: text("127.0.0.1:50000"),
        lifetime: 300,
        lwm2m: text("1.2"),
        binding: text("U"),
        links: text("</5/0>"),
    }
}

fn progress() -> Progress {
    Progress {
        status: UpdateStatus::Transferring,
        state: Some(1),
        result: Some(0),
        percent: Some(40),
        method: Some(text("push")),
        version: Some(text("1.0.0")),
        reason: Some(text("because")),
    }
}

fn response() -> Response {
    Response {
        code: text("2.05"),
        value: Some(Value::Integer(0)),
        values: BTreeMap::from([(text("/5/0/8/0"), Value::Integer(0))]),
        text: None,
    }
}

/// One of each message, with all that it can carry.
fn messages() -> Vec<Message> {
    let (instance, endpoint) = (|| text("a"), || text("dev"));
    let ok = |answer| {
        Message::Reply(Reply {
            id: 1,
            ok: Some(answer),
            error: None,
        })
    };
    let error = |kind| {
        Message::Reply(Reply {
            id: 1,
            ok: None,
            error: Some(ReplyError {
                kind,
                message: text("why"),
            }),
        })
    };
    let mut all = vec![
        ok(Answer::default()),
        ok(Answer {
            addresses: Some(Addresses {
                coap: text("127.0.0.1:5683"),
                coaps: Some(text("127.0.0.1:5684")),
            }),
            ..Answer::default()
        }),
        ok(Answer {
            registration: Some(registration()),
            ..Answer::default()
        }),
        ok(Answer {
            response: Some(response()),
            observation: Some(text("o1")),
            ..Answer::default()
        }),
        ok(Answer {
            uri: Some(text("coap://127.0.0.1:5683/fw/v2.bin")),
            ..Answer::default()
        }),
        ok(Answer {
            progress: Some(progress()),
            ..Answer::default()
        }),
        ok(Answer {
            sha256: Some(text("00ff")),
            ..Answer::default()
        }),
    ];
    all.extend(
        [
            ErrorKind::UnknownOperation,
            ErrorKind::Unsupported,
            ErrorKind::BadRequest,
            ErrorKind::Unknown,
            ErrorKind::NotRegistered,
            ErrorKind::Timeout,
            ErrorKind::Failed,
        ]
        .map(error),
    );
    all.extend(
        [
            Event::Hello(Hello {
                protocol: text("1.0"),
                name: text("hello"),
                version: text("0.1"),
                role: text("server"),
                capabilities: vec![text("start"), text("stop")],
                instances: Some(4),
            }),
            Event::Registered {
                instance: instance(),
                endpoint: endpoint(),
                registration: registration(),
            },
            Event::Updated {
                instance: instance(),
                endpoint: endpoint(),
                registration: registration(),
            },
            Event::Deregistered {
                instance: instance(),
                endpoint: endpoint(),
                expired: true,
            },
            Event::Notification {
                instance: instance(),
                endpoint: endpoint(),
                observation: text("o1"),
                path: text("/5/0/3"),
                response: response(),
            },
            Event::Send {
                instance: instance(),
                endpoint: endpoint(),
                values: BTreeMap::from([
                    (text("/3/0/3"), Value::String(text("2.0.0"))),
                    (text("/3303/0/5700"), Value::Float(21.5)),
                    (text("/5/0/0"), Value::Opaque(text("00ff"))),
                    (text("/6/0/0"), Value::Boolean(true)),
                ]),
            },
            Event::Response {
                instance: instance(),
                endpoint: endpoint(),
                operation: text("read"),
                path: text("/5/0/3"),
                response: response(),
            },
            Event::UpdateStatus {
                instance: instance(),
                update: text("u1"),
                progress: progress(),
            },
            Event::DeviceEnded {
                instance: instance(),
                reason: text("exit code 0"),
            },
            Event::Log { text: text("hi") },
        ]
        .map(Message::Event),
    );
    all
}

#[test]
fn requests_on_the_wire() {
    let lines: String = operations()
        .into_iter()
        .zip(1..)
        .map(|(operation, id)| to_line(&Request { id, operation }))
        .collect();
    insta::assert_snapshot!("requests", lines);
}

#[test]
fn messages_on_the_wire() {
    let lines: String = messages().iter().map(to_line).collect();
    insta::assert_snapshot!("messages", lines);
}

#[test]
fn what_is_written_is_read_again() {
    for message in messages() {
        assert_eq!(parse(to_line(&message).as_bytes()), Ok(message));
    }
    for operation in operations() {
        let request = Request { id: 7, operation };
        assert_eq!(serde_json::from_str::<Request>(&to_line(&request)).unwrap(), request);
    }
}

#[test]
fn a_name_is_the_word_on_the_wire() {
    for operation in operations() {
        let json = serde_json::to_value(&operation).unwrap();
        assert_eq!(json["op"], operation.name());
    }
}

#[test]
fn lines_that_are_no_messages_say_why() {
    let lines = [
        "Picked up JAVA_TOOL_OPTIONS",
        "{",
        "[]",
        "{}",
        r#"{"id":1}"#,
        r#"{"id":-1,"ok":{}}"#,
        r#"{"id":1,"ok":{},"error":{"kind":"failed","message":""}}"#,
        r#"{"id":1,"error":{"kind":"sad","message":""}}"#,
        r#"{"id":1,"ok":true}"#,
        r#"{"event":"registered","instance":"a"}"#,
        r#"{"event":7}"#,
        r#"{"event":"hello","protocol":"1.0"}"#,
        "\u{1b}[31mred",
    ];
    let told: String = lines
        .iter()
        .map(|line| format!("{line}\n    {}\n", parse(line.as_bytes()).unwrap_err()))
        .collect();
    insta::assert_snapshot!("no-messages", told);
}

/// A later version may have more events and fields.
#[test]
fn what_a_later_version_adds_is_no_mistake() {
    assert_eq!(
        parse(br#"{"event":"telepathy","instance":"a"}"#),
        Ok(Message::Event(Event::Unknown))
    );
    assert!(parse(br#"{"id":1,"ok":{"mood":"good"},"took_ms":3}"#).is_ok());
}

/// `UPDATE_SCHEMA=1 cargo test -p fotaproof-adapter` writes the files anew.
#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testcases/schema");
    #[expect(clippy::disallowed_methods, reason = "a switch of the test, not of the engine")]
    let update = std::env::var("UPDATE_SCHEMA").is_ok();
    for (name, text) in schemas() {
        let file = folder.join(name);
        if update {
            std::fs::write(&file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text,
            "{name} is stale: run `UPDATE_SCHEMA=1 cargo test -p fotaproof-adapter`"
        );
    }
}

fn validator(name: &str) -> jsonschema::Validator {
    let (_, text) = schemas().into_iter().find(|(known, _)| *known == name).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[test]
fn every_shape_fits_its_schema() {
    let request = validator("adapter-request.schema.json");
    for operation in operations() {
        let json = serde_json::to_value(Request { id: 1, operation }).unwrap();
        assert!(request.is_valid(&json), "{json}");
    }
    let message = validator("adapter-message.schema.json");
    for one in messages() {
        let json = serde_json::to_value(&one).unwrap();
        let wrong: Vec<String> = message.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{json}: {wrong:?}");
    }
    for wrong in [
        serde_json::json!({"id": 1}),
        serde_json::json!({"id": 1, "ok": {}, "error": {"kind": "failed", "message": ""}}),
        serde_json::json!({"event": "registered"}),
        serde_json::json!("hello"),
    ] {
        assert!(!message.is_valid(&wrong), "{wrong}");
    }
}

fn words() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}

proptest! {
    /// Whatever text a message carries: it stays one line.
    #[test]
    fn a_message_is_one_line(said in words(), endpoint in ".{0,10}") {
        let message = Message::Event(Event::Deregistered { instance: said, endpoint, expired: false });
        let line = to_line(&message);
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(parse(line.as_bytes()), Ok(message));
    }

    /// JSON of any shape under the protocol's words is a message or a reason.
    #[test]
    fn json_of_any_shape_does_no_harm(
        key in "(id|ok|error|event|op|instance)",
        word in "(hello|registered|start|log|quit|notification)",
        number in any::<i64>(),
        deep in 0_usize..40,
    ) {
        let mut value = serde_json::json!({"event": word, "id": number, "text": word});
        value[key] = serde_json::json!(number);
        for _ in 0..deep {
            value = serde_json::json!({"ok": value, "id": 1});
        }
        let _ = parse(value.to_string().as_bytes());
    }
}
