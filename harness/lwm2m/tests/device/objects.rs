//! Reads, writes, Discover, attributes and notifications.

use std::path::Path;

use fotaproof_coap::{Request, Token};
use fotaproof_lwm2m::definitions::{self, Version, Versions};
use fotaproof_lwm2m::package::PackageKind;
use fotaproof_lwm2m::{DeviceConfig, DeviceInput};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, content_format};
use fotaproof_wire::{LwPath, Value, content};

use crate::rig::{OTHER, Rig, SERVER, config, package, request};

fn read(rig: &mut Rig, path: &str, accept: u16) -> (String, Vec<(LwPath, Value)>) {
    let mut packet = request("0.01", path);
    build::set_accept(&mut packet, accept);
    let answer = rig.ask(packet).unwrap();
    let code = Code::from(answer.header.code).to_string();
    let versions = Versions::of(Version::V1_1).with(5, rig.device.config().object5);
    let values = content::decode(
        build::content_format(&answer).unwrap_or(0),
        &path.parse().unwrap(),
        &answer.payload,
        &|path| definitions::resource_type(path, &versions),
    );
    (code, values.unwrap_or_default())
}

#[test]
fn the_firmware_instance_shows_what_can_be_read() {
    for (object5, ids) in [
        (Version::V1_0, vec![1, 3, 5, 6, 7, 8, 9]),
        (Version::V1_2, vec![1, 3, 5, 6, 7, 8, 9, 11, 12, 13, 14]),
    ] {
        for format in [
            content_format::TLV,
            content_format::SENML_JSON,
            content_format::SENML_CBOR,
        ] {
            let mut rig = Rig::new(DeviceConfig { object5, ..config() });
            let (code, values) = read(&mut rig, "/5/0", format);
            let mut seen: Vec<u16> = values.iter().filter_map(|(path, _)| path.resource).collect();
            seen.dedup();
            assert_eq!((code.as_str(), seen), ("2.05", ids.clone()), "{format}");
        }
    }
}

#[test]
fn formats_follow_accept_and_the_version() {
    let mut rig = Rig::new(config());
    for format in [0, 60, 110, 112, 11542] {
        let (code, values) = read(&mut rig, "/5/0/3", format);
        assert_eq!(
            (code.as_str(), values),
            ("2.05", vec![(LwPath::from([5, 0, 3]), Value::Integer(0))]),
            "{format}"
        );
    }
    for format in [65000, 11543, 42] {
        assert_eq!(read(&mut rig, "/5/0/3", format).0, "4.06", "{format}");
    }
    let mut old = Rig::new(DeviceConfig {
        lwm2m: Version::V1_0,
        object5: Version::V1_0,
        ..config()
    });
    assert_eq!(read(&mut old, "/5/0/3", 110).0, "4.06");
    let answer = old.ask(request("0.01", "/5/0")).unwrap();
    assert_eq!(build::content_format(&answer), Some(content_format::TLV));
}

#[test]
fn codes_of_what_cannot_be_done() {
    let mut rig = Rig::new(config());
    for (code, path, expected) in [
        ("0.01", "/5/0/0", "4.05"),
        ("0.01", "/5/0/2", "4.05"),
        ("0.01", "/5/0/10", "4.05"),
        ("0.01", "/5/0/4", "4.04"),
        ("0.01", "/5/0/99", "4.04"),
        ("0.01", "/5/1", "4.04"),
        ("0.01", "/65000/0", "4.04"),
        ("0.01", "/0", "4.01"),
        ("0.01", "/0/0/5", "4.01"),
        ("0.03", "/0/0/0", "4.01"),
        ("0.02", "/5/0/3", "4.05"),
        ("0.02", "/5/0/1", "4.05"),
        ("0.02", "/5", "4.05"),
        ("0.04", "/5/0", "4.05"),
        ("0.03", "/5/0/3", "4.05"),
        ("0.05", "/5/0/3", "4.05"),
        ("0.01", "/.well-known/core", "4.04"),
    ] {
        assert_eq!(rig.code_of(request(code, path)), expected, "{code} {path}");
    }
    for id in [3, 5, 6, 7, 8, 9, 12] {
        assert_eq!(rig.put(&format!("/5/0/{id}"), 0, b"3"), "4.05");
    }
    assert_eq!(rig.pair(), "0/0");
    let mut old = Rig::new(DeviceConfig {
        object5: Version::V1_0,
        ..config()
    });
    for id in 10..=14 {
        assert_eq!(old.get(&format!("/5/0/{id}")), "4.04");
    }
    assert_eq!(old.execute("/5/0/10"), "4.04");
}

#[test]
fn discover_names_everything() {
    let mut rig = Rig::new(config());
    let mut attributes = request("0.03", "/5/0");
    build::set_query(&mut attributes, ["pmin=2", "pmax=10"]);
    assert_eq!(rig.code_of(attributes), "2.04");
    let mut packet = request("0.01", "/5");
    build::set_accept(&mut packet, content_format::LINK_FORMAT);
    let answer = rig.ask(packet.clone()).unwrap();
    let whole = String::from_utf8(answer.payload).unwrap();
    insta::assert_snapshot!("discover", whole);

    let mut joined = Vec::new();
    for num in 0.. {
        build::set_block2(&mut packet, BlockValue::new(num, false, Szx::S16).unwrap());
        let answer = rig.ask(packet.clone()).unwrap();
        if Code::from(answer.header.code) != Code::CONTENT {
            assert_eq!(Code::from(answer.header.code), Code::BAD_OPTION);
            break;
        }
        assert_eq!(build::block2(&answer).unwrap().num, num);
        joined.extend(answer.payload);
    }
    assert_eq!(String::from_utf8(joined).unwrap(), whole);
}

#[test]
fn strangers_get_nothing() {
    let mut rig = Rig::new(config());
    for path in ["/5", "/3/0/3", "/.well-known/core"] {
        let answer = rig
            .ask_from(OTHER, Request::confirmable(request("0.01", path)))
            .unwrap();
        assert_eq!(
            (Code::from(answer.header.code), answer.payload.len()),
            (Code::UNAUTHORIZED, 0)
        );
    }
}

#[test]
fn state_2_is_notified_within_its_periods() {
    let mut rig = Rig::new(config());
    let mut attributes = request("0.03", "/5/0");
    build::set_query(&mut attributes, ["pmin=2", "pmax=10"]);
    rig.code_of(attributes);
    assert_eq!(rig.observe("/5/0/3", b"s"), "0");
    rig.push(&package(PackageKind::Valid), Szx::S64);
    let pushed = rig.now;
    rig.seconds(12);
    assert!(rig.notified(b"s").contains(&"2".to_owned()), "{:?}", rig.notified(b"s"));
    assert!(pushed.as_secs() < 20);
    let count = rig.notifications.len();
    rig.seconds(30);
    assert_eq!(rig.notifications.len(), count + 3, "pmax");
}

#[test]
fn an_observation_ends_by_get_and_by_rst() {
    for by_rst in [false, true] {
        let mut rig = Rig::new(config());
        rig.observe("/5/0/3", b"s");
        if by_rst {
            rig.reset_notifications(Token::new(b"s").unwrap());
        } else {
            let mut packet = request("0.01", "/5/0/3");
            build::set_observe(&mut packet, 1);
            let answer = rig
                .ask_from(
                    SERVER,
                    Request::confirmable(packet).with_token(Token::new(b"s").unwrap()),
                )
                .unwrap();
            assert_eq!(build::observe(&answer), None);
        }
        rig.push(&package(PackageKind::Valid), Szx::S512);
        rig.seconds(5);
        let sent = rig
            .log
            .iter()
            .filter(|line| line.contains(" < ") && line.contains("NON 2.05"))
            .count();
        assert_eq!(sent, usize::from(by_rst));
    }
}

#[test]
fn a_lost_confirmable_notification_comes_again() {
    let mut rig = Rig::new(DeviceConfig {
        confirmable_notifications: true,
        ..config()
    });
    rig.observe("/5/0/3", b"s");
    let mut lost = 0;
    rig.lose = Box::new(move |toward_device, text| {
        lost += usize::from(!toward_device && text.contains("CON 2.05"));
        !toward_device && text.contains("CON 2.05") && lost <= 3
    });
    rig.push(&package(PackageKind::Valid), Szx::S512);
    rig.seconds(60);
    assert_eq!(rig.notified(b"s").last().map(String::as_str), Some("2"));
}

#[test]
fn thresholds_and_steps_of_a_number() {
    let times = [(0, -80), (20, -85), (40, -110), (60, -80)].map(|(at, dbm)| (std::time::Duration::from_secs(at), dbm));
    let mut rig = Rig::new(DeviceConfig {
        radio: times.to_vec(),
        ..config()
    });
    let mut attributes = request("0.03", "/4/0/2");
    build::set_query(&mut attributes, ["lt=-100"]);
    assert_eq!(rig.code_of(attributes), "2.04");
    rig.observe("/4/0/2", b"r");
    rig.seconds(80);
    assert_eq!(rig.notified(b"r"), ["-110", "-80"]);
}

#[test]
fn attributes_must_agree() {
    let mut rig = Rig::new(config());
    for (query, expected) in [
        (["pmin=10", "pmax=5"], "4.00"),
        (["pmin=x", "pmax=5"], "4.00"),
        (["pmin=5", "pmax=5"], "2.04"),
        (["huh=1", "pmin=1"], "4.00"),
    ] {
        let mut packet = request("0.03", "/5/0/3");
        build::set_query(&mut packet, query);
        assert_eq!(rig.code_of(packet), expected, "{query:?}");
    }
}

#[test]
fn composite_operations_are_best_effort_for_reads_and_atomic_for_writes() {
    let mut rig = Rig::new(config());
    let paths: Vec<LwPath> = ["/5/0/3", "/5/0/5", "/3/0/3", "/5/0/0"]
        .iter()
        .map(|path| path.parse().unwrap())
        .collect();
    let mut fetch = request("0.05", "/");
    build::set_content_format(&mut fetch, content_format::SENML_CBOR);
    fetch.payload = content::encode_paths(content_format::SENML_CBOR, &paths).unwrap();
    let answer = rig.ask(fetch).unwrap();
    let values = content::decode(content_format::SENML_CBOR, &LwPath::ROOT, &answer.payload, &|_| None).unwrap();
    assert_eq!(
        values.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>(),
        ["/5/0/3", "/5/0/5", "/3/0/3"]
    );

    for (state, expected, severity) in [(true, "4.05", "1"), (false, "2.04", "0")] {
        let mut patch = request("0.07", "/");
        build::set_content_format(&mut patch, content_format::SENML_JSON);
        let mut values = vec![(LwPath::from([5, 0, 11]), Value::Integer(0))];
        if state {
            values.push((LwPath::from([5, 0, 3]), Value::Integer(2)));
        }
        patch.payload = content::encode(content_format::SENML_JSON, &LwPath::ROOT, &values).unwrap();
        assert_eq!(
            (rig.code_of(patch).as_str(), rig.get("/5/0/11").as_str()),
            (expected, severity)
        );
    }
}

#[test]
fn an_instance_is_written_whole_or_not_at_all() {
    let mut rig = Rig::new(config());
    let values = |severity| {
        vec![
            (
                LwPath::from([5, 0, 1]),
                Value::String("coap://192.0.2.20/fw".to_owned()),
            ),
            (LwPath::from([5, 0, 11]), Value::Integer(severity)),
        ]
    };
    for (severity, expected, pair) in [(3, "4.00", "0/0"), (2, "2.04", "1/0")] {
        let mut post = request("0.02", "/5/0");
        build::set_content_format(&mut post, content_format::TLV);
        post.payload = content::encode(content_format::TLV, &LwPath::from([5, 0]), &values(severity)).unwrap();
        rig.hold_from = Some(0);
        assert_eq!((rig.code_of(post).as_str(), rig.pair().as_str()), (expected, pair));
    }
}

#[test]
fn pings_malformed_messages_and_unknown_options() {
    let mut rig = Rig::new(config());
    rig.log.clear();
    rig.raw(&[0x40, 0, 0x12, 0x34]);
    assert!(
        rig.log
            .iter()
            .any(|line| line.contains("RST") && line.contains("mid=4660")),
        "{:#?}",
        rig.log
    );
    for bytes in [
        &[0x80, 1, 1, 1][..],
        &[0x49, 1, 1, 2],
        &[0x40, 1, 1, 3, 0xf1],
        &[0x40, 1, 1, 4, 0xbf],
        &[0x40, 1, 1, 5, 0xb5, b'5'],
    ] {
        rig.log.clear();
        rig.raw(bytes);
        assert!(
            rig.log.iter().all(|line| !line.contains(" < ") || line.contains("RST")),
            "{:#?}",
            rig.log
        );
    }
    let mut critical = request("0.01", "/5/0/3");
    build::set_option(&mut critical, 65001, vec![1]);
    assert_eq!(rig.code_of(critical), "4.02");
    let mut elective = request("0.01", "/5/0/3");
    build::set_option(&mut elective, 65000, vec![1]);
    assert_eq!(rig.code_of(elective), "2.05");
}

#[test]
fn arbitrary_datagrams_never_kill_it() {
    let mut rig = Rig::new(config());
    let mut rng = fastrand::Rng::with_seed(5);
    let template =
        fotaproof_wire::coap::encode(&crate::rig::block_request(&package(PackageKind::Valid), 1, Szx::S64)).unwrap();
    for _ in 0..3000 {
        let mut bytes = template.clone();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..bytes.len().min(24));
            bytes[at] = rng.u8(..);
        }
        bytes.truncate(rng.usize(1..=bytes.len()));
        let socket = fotaproof_lwm2m::SocketId(0);
        rig.input(DeviceInput::Datagram {
            socket,
            from: SERVER.parse().unwrap(),
            bytes: bytes.into(),
        });
    }
    rig.seconds(300);
    rig.log.clear();
    assert_eq!(rig.get("/3/0/3"), "1.0.0");
}

/// The tables against the registry's files, where a checkout has them beside it.
#[test]
fn definitions_agree_with_the_registry() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oma");
    if !folder.exists() {
        println!("skipped: no registry files at {}", folder.display());
        return;
    }
    let mut compared = 0;
    for object in definitions::objects() {
        let versioned = folder.join(format!(
            "version_history/{}-{}_{}.xml",
            object.id, object.version.0, object.version.1
        ));
        let Ok(text) = std::fs::read_to_string(&versioned) else {
            continue;
        };
        compared += 1;
        let mut reader = quick_xml::Reader::from_str(&text);
        let (mut element, mut id, mut seen, mut row) =
            (String::new(), 0_u16, Vec::new(), std::collections::BTreeMap::new());
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Start(start) => {
                    element = String::from_utf8(start.name().as_ref().to_vec()).unwrap();
                    if element == "Item" {
                        id = start
                            .try_get_attribute("ID")
                            .unwrap()
                            .unwrap()
                            .unescape_value()
                            .unwrap()
                            .parse()
                            .unwrap();
                        row.clear();
                    }
                }
                quick_xml::events::Event::Text(value) if !element.is_empty() => {
                    row.entry(element.clone())
                        .or_insert_with(|| value.decode().unwrap().trim().to_owned());
                }
                quick_xml::events::Event::End(end) => {
                    if end.name().as_ref() == b"Item" {
                        let field = |name: &str| row.get(name).map_or("", String::as_str).to_owned();
                        let resource = object
                            .resource(id)
                            .unwrap_or_else(|| panic!("/{} {} lacks {id}", object.id, object.version));
                        let at = format!("/{} {} {id}", object.id, object.version);
                        assert_eq!(resource.access.to_string(), field("Operations"), "{at}");
                        assert_eq!(resource.multiple, field("MultipleInstances") == "Multiple", "{at}");
                        assert_eq!(resource.mandatory, field("Mandatory") == "Mandatory", "{at}");
                        assert_eq!(
                            resource.value_type.map_or(String::new(), |kind| kind.name().to_owned()),
                            field("Type"),
                            "{at}"
                        );
                        assert_eq!(
                            resource.name.split_whitespace().collect::<String>().to_lowercase(),
                            field("Name").split_whitespace().collect::<String>().to_lowercase(),
                            "{at}"
                        );
                        seen.push(id);
                    }
                    element.clear();
                }
                quick_xml::events::Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(
            object.resources().map(|resource| resource.id).collect::<Vec<_>>(),
            seen,
            "/{} {}",
            object.id,
            object.version
        );
    }
    assert!(compared >= 15, "only {compared} files found");
}
