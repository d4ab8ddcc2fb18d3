//! The reference server against a scripted device.

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;

use crate::world::{Side, World, answer, device_address, server_address, text};
use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::{Endpoint, Observer, Request, RequestId, Token};
use fotaproof_lwm2m::repository::{File, FileServer, RepositoryConfig, RepositoryEvent};
use fotaproof_lwm2m::server::{
    Answer, Cancel, Interface, Method, OpFailure, OpId, Policy, RequestSpec, Server, ServerConfig, ServerEvent,
    TokenChoice,
};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, content_format};
use fotaproof_wire::{LwPath, Value};

const SECOND: Duration = Duration::from_secs(1);
const STATE: LwPath = LwPath::resource(5, 0, 3);

fn world() -> World {
    World::new(Side::Server(Server::new(ServerConfig {
        location: Some(vec!["rd".into(), "a7".into()]),
        ..ServerConfig::default()
    })))
}

fn registered() -> World {
    let mut world = world();
    assert_eq!(world.register("ep=dev&lt=300&lwm2m=1.1"), Code::CREATED);
    world.events.clear();
    world.ladder.clear();
    world
}

fn request(code: Code, path: &str) -> Packet {
    let mut packet = answer(code);
    build::set_path(&mut packet, path);
    packet
}

fn scripted(world: &mut World, script: impl FnMut(&mut Endpoint, Duration, RequestId, &Packet) + 'static) {
    world.script = Box::new(script);
}

/// The response to an operation: its code and values.
fn response(world: &mut World, wanted: OpId) -> (Code, Vec<(LwPath, Value)>, Option<String>) {
    world.event(|event| match event {
        ServerEvent::Response {
            op,
            code,
            values,
            decode_error,
            ..
        } if *op == wanted => Some((*code, values.clone(), decode_error.clone())),
        _ => None,
    })
}

fn failure(world: &mut World, wanted: OpId) -> OpFailure {
    world.event(|event| match event {
        ServerEvent::Failed { op, reason, .. } if *op == wanted => Some(*reason),
        _ => None,
    })
}

#[test]
fn a_registration_from_start_to_end() {
    let mut world = world();
    assert_eq!(world.register("ep=dev&lt=300&lwm2m=1.1"), Code::CREATED);
    assert_eq!(build::location(&world.answers[0]).as_deref(), Some("/rd/a7"));
    world.event(|event| {
        matches!(event, ServerEvent::Registered(registration) if registration.endpoint == "dev").then_some(())
    });
    world.ask(request(Code::POST, "/rd/a7"));
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::CHANGED);
    world.event(|event| matches!(event, ServerEvent::Updated(registration) if registration.updates == 1).then_some(()));
    world.ask(request(Code::DELETE, "/rd/a7"));
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::DELETED);
    assert!(world.server().registration().is_none());
    world.ask(request(Code::POST, "/rd/a7"));
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::NOT_FOUND, "an Update after the De-register");
    insta::assert_snapshot!("registration_ladder", world.ladder.join("\n"));
}

#[test]
fn a_version_that_is_not_known_gets_4_12_and_a_bad_request_4_00() {
    for (query, code) in [
        ("ep=dev&lwm2m=1.2", Code::CREATED),
        ("ep=dev&lwm2m=9.9", Code::PRECONDITION_FAILED),
        ("lwm2m=1.1", Code::BAD_REQUEST),
    ] {
        assert_eq!(world().register(query), code, "{query}");
    }
}

#[test]
fn an_answer_can_be_planned_for_a_number_of_requests() {
    let mut world = registered();
    let policy = Policy {
        answer: Answer::Code(Code::NOT_FOUND),
        times: Some(1),
    };
    world.server().set_policy(Interface::Update, policy);
    for code in [Code::NOT_FOUND, Code::CHANGED] {
        world.ask(request(Code::POST, "/rd/a7"));
        world.run(SECOND);
        assert_eq!(world.last_code(), code);
    }
}

#[test]
fn silence_covers_resends_and_ends() {
    let mut world = world();
    world.server().set_policy(
        Interface::Register,
        Policy {
            answer: Answer::Silent,
            times: Some(1),
        },
    );
    assert_eq!(world.register("ep=dev&lwm2m=1.1"), Code::EMPTY);
    world.run(Duration::from_secs(100));
    assert_eq!(
        world.ladder.len(),
        5,
        "five sends, no answer:\n{}",
        world.ladder.join("\n")
    );
    assert_eq!(world.register("ep=dev&lwm2m=1.1"), Code::CREATED);
}

#[test]
fn a_lifetime_ends_to_the_second() {
    let mut world = world();
    world.register("ep=dev&lt=60&lwm2m=1.1");
    world.run(Duration::from_secs(58));
    assert!(world.server().registration().is_some());
    world.run(Duration::from_secs(2));
    world.event(|event| matches!(event, ServerEvent::Expired(_)).then_some(()));
    world.ask(request(Code::POST, "/rd/a7"));
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::NOT_FOUND);
}

#[test]
fn a_register_may_come_in_blocks() {
    let mut world = world();
    for (num, part) in crate::world::LINKS.as_bytes().chunks(16).enumerate() {
        let mut packet = request(Code::POST, "/rd");
        build::set_query(&mut packet, ["ep=dev", "lwm2m=1.1"]);
        build::set_content_format(&mut packet, content_format::LINK_FORMAT);
        let more = (num + 1) * 16 < crate::world::LINKS.len();
        build::set_block1(&mut packet, BlockValue::new(num as u32, more, Szx::S16).unwrap());
        packet.payload = part.to_vec();
        world.ask(packet);
        world.run(SECOND);
        assert_eq!(world.last_code(), if more { Code::CONTINUE } else { Code::CREATED });
    }
    assert!(
        world
            .server()
            .registration()
            .is_some_and(|registration| registration.has_instance(5, 0))
    );
    let mut packet = request(Code::POST, "/rd");
    build::set_block1(&mut packet, BlockValue::new(3, true, Szx::S16).unwrap());
    packet.payload = vec![0; 16];
    world.ask(packet);
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn the_operations_as_messages() {
    let mut world = registered();
    scripted(&mut world, |endpoint, now, id, _| {
        endpoint.respond(now, id, answer(Code::CHANGED));
    });
    let now = world.now;
    let server = world.server();
    server.read(now, &STATE, None);
    server.read(now, &LwPath::instance(5, 0), Some(content_format::TLV));
    server.discover(now, &LwPath::object(5));
    server.write(
        now,
        &LwPath::resource(5, 0, 0),
        Some(content_format::OPAQUE),
        &[0],
        Method::Put,
    );
    server
        .write_value(
            now,
            &LwPath::resource(5, 0, 1),
            &Value::String("coap://192.0.2.9/fw".into()),
        )
        .unwrap();
    server
        .write_value(now, &LwPath::resource(5, 0, 13), &Value::Integer(60))
        .unwrap();
    server.execute(now, &LwPath::resource(5, 0, 2), "");
    server.execute(now, &LwPath::resource(5, 0, 2), "0='now'");
    server.write_attributes(now, &LwPath::instance(5, 0), "pmin=2&pmax=10");
    server.create(now, &LwPath::object(5), content_format::TLV, &[]);
    server.delete(now, &LwPath::instance(5, 0));
    server.observe(now, &STATE, None);
    server
        .read_composite(now, &[STATE, LwPath::resource(3, 0, 3)], content_format::SENML_JSON)
        .unwrap();
    server
        .write_composite(
            now,
            &[(LwPath::resource(5, 0, 11), Value::Integer(0))],
            content_format::SENML_JSON,
        )
        .unwrap();
    server.ping(now, None);
    world.run(Duration::from_secs(5));
    let sent: Vec<_> = world
        .ladder
        .iter()
        .filter(|line| line.contains("->"))
        .cloned()
        .collect();
    insta::assert_snapshot!("operations", sent.join("\n"));
    world.event(|event| matches!(event, ServerEvent::Pong { .. }).then_some(()));
}

#[test]
fn values_are_read_by_their_types() {
    let mut world = registered();
    scripted(&mut world, |endpoint, now, id, request| {
        let reply = match build::path(request).as_str() {
            "/5/0/3" => text("2"),
            "/3/0/3" => text("1.0.0"),
            "/5/0/5" => text("many"),
            _ => {
                let mut reply = answer(Code::CONTENT);
                build::set_content_format(&mut reply, content_format::TLV);
                reply.payload = vec![0xc1, 3, 0, 0xc1, 5, 7];
                reply
            }
        };
        endpoint.respond(now, id, reply);
    });
    let now = world.now;
    let paths = [
        STATE,
        LwPath::resource(3, 0, 3),
        LwPath::resource(5, 0, 5),
        LwPath::instance(5, 0),
    ];
    let ops = paths.map(|path| world.server().read(now, &path, None));
    world.run(SECOND);
    let read = ops.map(|op| response(&mut world, op));
    assert_eq!(read[0].1, [(STATE, Value::Integer(2))]);
    assert_eq!(read[1].1, [(LwPath::resource(3, 0, 3), Value::String("1.0.0".into()))]);
    assert!(
        read[2].1.is_empty() && read[2].2.is_some(),
        "a text that is no integer: {:?}",
        read[2]
    );
    assert_eq!(
        read[3].1,
        [
            (STATE, Value::Integer(0)),
            (LwPath::resource(5, 0, 5), Value::Integer(7))
        ]
    );
}

/// Serves a link list in blocks of 16 bytes, changed between the blocks when `fickle`.
fn blocks_of_16(world: &mut World, body: &'static [u8], breaks_at: Option<u32>) {
    scripted(world, move |endpoint, now, id, request| {
        let num = build::block2(request).map_or(0, |block| block.num);
        if breaks_at == Some(num) {
            return endpoint.ignore(id);
        }
        let start = num as usize * 16;
        let end = (start + 16).min(body.len());
        let mut reply = answer(Code::CONTENT);
        build::set_content_format(&mut reply, content_format::TEXT);
        build::set_block2(&mut reply, BlockValue::new(num, end < body.len(), Szx::S16).unwrap());
        if build::observe(request) == Some(0) {
            build::set_observe(&mut reply, 5);
        }
        reply.payload = body[start..end].to_vec();
        endpoint.respond(now, id, reply);
    });
}

#[test]
fn a_long_read_comes_whole() {
    const BODY: &[u8] = b"a firmware name of some length, in blocks";
    let mut world = registered();
    blocks_of_16(&mut world, BODY, None);
    let now = world.now;
    let op = world.server().read(now, &LwPath::resource(5, 0, 6), None);
    world.run(SECOND);
    let (code, values, error) = response(&mut world, op);
    assert_eq!((code, error), (Code::CONTENT, None));
    assert_eq!(
        values,
        [(
            LwPath::resource(5, 0, 6),
            Value::String(String::from_utf8(BODY.to_vec()).unwrap())
        )]
    );
}

#[test]
fn a_long_read_that_breaks_off_fails() {
    let mut world = registered();
    blocks_of_16(&mut world, b"a firmware name of some length, in blocks", Some(2));
    let now = world.now;
    let op = world.server().read(now, &LwPath::resource(5, 0, 6), None);
    world.run(Duration::from_secs(100));
    assert_eq!(failure(&mut world, op), OpFailure::TimedOut);
    assert!(!world.server().is_running(op));
}

/// A device that can be observed: its observer, and a counter for the Observe option.
fn observable(world: &mut World) -> Rc<RefCell<Option<Observer>>> {
    let observer = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&observer);
    scripted(world, move |endpoint, now, id, request| {
        let mut reply = text("0");
        if build::observe(request) == Some(0) {
            build::set_observe(&mut reply, 1);
            *kept.borrow_mut() = Token::new(request.get_token()).map(|token| Observer {
                peer: server_address(),
                token,
            });
        }
        endpoint.respond(now, id, reply);
    });
    observer
}

fn notify(world: &mut World, observer: &Observer, sequence: u32, value: &str, confirmable: bool) {
    let mut packet = text(value);
    build::set_observe(&mut packet, sequence);
    let now = world.now;
    world.peer.notify(now, observer, packet, confirmable);
    world.run(SECOND);
}

fn notified(world: &mut World) -> Option<(bool, Vec<(LwPath, Value)>)> {
    let found = world.events.iter().find_map(|event| match event {
        ServerEvent::Notification { fresh, values, .. } => Some((*fresh, values.clone())),
        _ => None,
    });
    world.events.clear();
    found
}

#[test]
fn notifications_are_told_until_the_observation_is_cancelled() {
    for by in [Cancel::Get, Cancel::Reset] {
        let mut world = registered();
        let observer = observable(&mut world);
        let now = world.now;
        let op = world.server().observe(now, &STATE, None);
        world.run(SECOND);
        assert_eq!(response(&mut world, op).1, [(STATE, Value::Integer(0))]);
        let observer = observer.borrow().expect("the device was observed");
        notify(&mut world, &observer, 7, "2", true);
        assert_eq!(notified(&mut world), Some((true, vec![(STATE, Value::Integer(2))])));
        notify(&mut world, &observer, 6, "1", false);
        assert_eq!(
            notified(&mut world).map(|(fresh, _)| fresh),
            Some(false),
            "an older one that was overtaken"
        );
        let now = world.now;
        let request = world.server().cancel_observation(now, op, by);
        assert_eq!(request.is_some(), by == Cancel::Get);
        world.run(SECOND);
        if by == Cancel::Reset {
            notify(&mut world, &observer, 8, "3", true);
        }
        world.event(|event| matches!(event, ServerEvent::ObservationEnded { op: ended } if *ended == op).then_some(()));
        assert_eq!(world.server().observations().count(), 0);
        world.ladder.clear();
        notify(&mut world, &observer, 9, "0", true);
        assert!(
            world.ladder.iter().any(|line| line.contains("RST")),
            "{by:?}:\n{}",
            world.ladder.join("\n")
        );
        assert_eq!(notified(&mut world), None, "{by:?}");
    }
}

#[test]
fn a_device_that_does_not_observe_ends_the_observation_at_once() {
    let mut world = registered();
    scripted(&mut world, |endpoint, now, id, _| endpoint.respond(now, id, text("0")));
    let now = world.now;
    let op = world.server().observe(now, &STATE, None);
    world.run(SECOND);
    response(&mut world, op);
    world.event(|event| matches!(event, ServerEvent::ObservationEnded { op: ended } if *ended == op).then_some(()));
}

#[test]
fn a_new_registration_voids_observations_and_what_was_asked_at_the_old_port() {
    let mut world = registered();
    let observer = observable(&mut world);
    let now = world.now;
    let observation = world.server().observe(now, &STATE, None);
    world.run(SECOND);
    let observer = observer.borrow().expect("the device was observed");
    scripted(&mut world, |endpoint, _, id, _| endpoint.ignore(id));
    let now = world.now;
    let execute = world.server().execute(now, &LwPath::resource(5, 0, 2), "");
    world.run(SECOND);
    world.restart_peer(2000);
    assert_eq!(world.register("ep=dev&lt=300&lwm2m=1.1"), Code::CREATED);
    world.event(|event| matches!(event, ServerEvent::ObservationEnded { op } if *op == observation).then_some(()));
    assert_eq!(failure(&mut world, execute), OpFailure::Superseded);
    world.events.clear();
    notify(&mut world, &observer, 9, "2", true);
    assert_eq!(notified(&mut world), None);
    assert_eq!(
        world.server().registration().map(|registration| registration.address),
        Some(device_address(2000))
    );
}

#[test]
fn the_same_datagram_goes_out_again_after_the_end() {
    let mut world = registered();
    scripted(&mut world, |endpoint, now, id, _| {
        endpoint.respond(now, id, answer(Code::CHANGED));
    });
    let now = world.now;
    let op = world.server().execute(now, &LwPath::resource(5, 0, 2), "");
    world.run(SECOND);
    response(&mut world, op);
    let sent = world.server().datagram(op).cloned().expect("the request is kept");
    world.ladder.clear();
    let now = world.now;
    assert!(world.server().resend(now, op));
    world.run(SECOND);
    assert_eq!(world.server().datagram(op), Some(&sent));
    assert_eq!(
        world.ladder.len(),
        2,
        "the request again and the same answer:\n{}",
        world.ladder.join("\n")
    );
    world
        .event(|event| matches!(event, ServerEvent::DuplicateResponse { op: again, .. } if *again == op).then_some(()));
}

#[test]
fn requests_of_any_kind() {
    let mut world = registered();
    scripted(&mut world, |endpoint, now, id, _| {
        endpoint.respond(now, id, answer(Code::BAD_OPTION));
    });
    let now = world.now;
    let mut packet = world.server().message(Code::GET, &STATE);
    build::add_option(&mut packet, 65001, vec![1]);
    let token = Token::new(&[0xa1, 0xb2]).unwrap();
    let spec = RequestSpec {
        to: Some(device_address(1000)),
        token: TokenChoice::Fixed(token),
        message_id: Some(0x4711),
        confirmable: false,
        ..RequestSpec::new(packet)
    };
    world.server().request(now, spec);
    world
        .server()
        .send_raw(device_address(1000), Bytes::from_static(&[0x40, 0x01, 0, 1, 0xff]));
    world.run(SECOND);
    insta::assert_snapshot!("any_request", world.ladder.join("\n"));
}

#[test]
fn without_a_device_nothing_is_sent() {
    let mut world = world();
    let op = world.server().read(Duration::ZERO, &STATE, None);
    world.run(SECOND);
    assert_eq!(failure(&mut world, op), OpFailure::NotRegistered);
    assert!(world.ladder.is_empty());
}

#[test]
fn an_alternate_root_is_put_before_each_path() {
    let mut world = world();
    let mut packet = request(Code::POST, "/rd");
    build::set_query(&mut packet, ["ep=dev", "lwm2m=1.0"]);
    packet.payload = b"</lwm2m>;rt=\"oma.lwm2m\",</lwm2m/3/0>,</lwm2m/5/0>".to_vec();
    world.ask(packet);
    world.run(SECOND);
    scripted(&mut world, |endpoint, now, id, request| {
        assert_eq!(build::path(request), "/lwm2m/5/0/3");
        endpoint.respond(now, id, text("0"));
    });
    let now = world.now;
    let op = world.server().read(now, &STATE, None);
    world.run(SECOND);
    assert_eq!(response(&mut world, op).1, [(STATE, Value::Integer(0))]);
}

#[test]
fn a_send_is_read_and_answered() {
    let mut world = registered();
    let mut packet = request(Code::POST, "/dp");
    build::set_content_format(&mut packet, content_format::SENML_JSON);
    packet.payload = br#"[{"n":"/5/0/3","v":2},{"n":"/5/0/5","v":0}]"#.to_vec();
    world.ask(packet.clone());
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::CHANGED);
    let values = world.event(|event| match event {
        ServerEvent::Sent {
            endpoint: Some(endpoint),
            values,
            ..
        } if endpoint == "dev" => Some(values.clone()),
        _ => None,
    });
    assert_eq!(
        values,
        [
            (STATE, Value::Integer(2)),
            (LwPath::resource(5, 0, 5), Value::Integer(0))
        ]
    );
    packet.payload.truncate(20);
    world.ask(packet.clone());
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::BAD_REQUEST);
    build::set_content_format(&mut packet, content_format::TEXT);
    world.ask(packet);
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::UNSUPPORTED_CONTENT_FORMAT);
}

#[test]
fn files_are_served_from_the_servers_own_address() {
    let mut world = registered();
    let mut files = FileServer::new(RepositoryConfig {
        szx: Szx::S64,
        ..RepositoryConfig::default()
    });
    files.set_file("/fw", File::new(Bytes::from(vec![7; 100])));
    world.server().serve_files(files);
    world.ask(request(Code::GET, "/fw"));
    world.run(SECOND);
    assert_eq!(
        build::block2(world.answers.last().unwrap()),
        BlockValue::new(0, true, Szx::S64)
    );
    world.event(|event| {
        matches!(
            event,
            ServerEvent::Repository(RepositoryEvent::Served {
                length: 64,
                last: false,
                ..
            })
        )
        .then_some(())
    });
    world.ask(request(Code::GET, "/rd"));
    world.run(SECOND);
    assert_eq!(world.last_code(), Code::METHOD_NOT_ALLOWED);
}

#[test]
fn a_duplicate_register_is_one_registration() {
    let mut world = world();
    let mut packet = request(Code::POST, "/rd");
    build::set_query(&mut packet, ["ep=dev", "lwm2m=1.1"]);
    packet.payload = b"</5/0>".to_vec();
    let exchange = world
        .peer
        .request(Duration::ZERO, server_address(), Request::confirmable(packet));
    world.run(SECOND);
    let now = world.now;
    assert!(world.peer.resend(now, exchange));
    world.run(SECOND);
    world.event(|event| matches!(event, ServerEvent::Duplicate { count: 2, .. }).then_some(()));
    assert_eq!(
        world
            .server()
            .registration()
            .map(|registration| registration.generation),
        Some(1)
    );
}

#[test]
fn garbage_is_told_and_harmless() {
    let mut world = registered();
    world.inject(vec![0x49, 0x01, 0x00, 0x01]);
    world.inject(vec![0xff]);
    world.run(SECOND);
    let malformed = world
        .events
        .iter()
        .filter(|event| matches!(event, ServerEvent::Malformed { .. }))
        .count();
    assert_eq!(malformed, 2);
}
