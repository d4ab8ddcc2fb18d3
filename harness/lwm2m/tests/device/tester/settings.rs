//! Settings of the device as a tester: what it says of itself, what it shows, how its updates end.

use std::time::Duration;

use fotaproof_lwm2m::package::PackageKind;
use fotaproof_lwm2m::{DeviceAct, DeviceConfig, Version};
use fotaproof_wire::coap::Szx;
use fotaproof_wire::{LwPath, Value};

use super::{blocks, image, seconds, tester};
use crate::rig::{FILES, Rig, build, package};

fn registration(config: DeviceConfig) -> String {
    Rig::new(config).registrations.concat().join(" ")
}

#[test]
fn a_register_says_what_it_is_told_to() {
    assert_eq!(
        registration(tester()),
        "lwm2m=1.0 ep=dev-1 lt=300 b=U </1/0>,</3/0>,</4/0>,</5/0>"
    );
    let of_version = |lwm2m| DeviceConfig { lwm2m, ..tester() };
    assert!(registration(of_version(Version::V1_2)).starts_with("lwm2m=1.2 "));
    let strange = DeviceConfig {
        lwm2m_text: Some("9.9".to_owned()),
        object_list: Some("</5>;ver=1.1,</5/0>".to_owned()),
        binding: "UQ".to_owned(),
        lifetime: 60,
        ..tester()
    };
    assert_eq!(
        registration(strange),
        "lwm2m=9.9 ep=dev-1 lt=60 b=UQ </5>;ver=1.1,</5/0>"
    );
    let queue = DeviceConfig {
        queue: true,
        ..of_version(Version::V1_1)
    };
    assert!(registration(queue).starts_with("lwm2m=1.1 ep=dev-1 lt=300 b=U Q "));
}

#[test]
fn in_queue_mode_it_hears_for_a_while_after_its_last_message() {
    let mut rig = Rig::new(DeviceConfig {
        queue: true,
        lwm2m: Version::V1_1,
        wake_for: Some(seconds(93)),
        lifetime: 600,
        ..tester()
    });
    rig.seconds(91);
    assert_eq!(rig.get("/3/0/3"), "1.0.0");
    // Its answer to the Read keeps it awake.
    rig.seconds(92);
    assert_eq!(rig.get("/3/0/3"), "1.0.0");
    rig.seconds(94);
    assert!(rig.device.truth().asleep);
    assert_eq!(rig.get("/3/0/3"), "-");
    // The Update of its lifetime wakes it.
    let updates = rig.updates;
    rig.seconds(150);
    assert_eq!((rig.updates, rig.get("/3/0/3")), (updates + 1, "1.0.0".to_owned()));
}

#[test]
fn a_body_does_not_grow_old_while_nothing_is_heard() {
    let mut rig = Rig::new(DeviceConfig {
        wake_for: Some(seconds(20)),
        lifetime: 600,
        ..tester()
    });
    blocks(&mut rig, 0..4, Szx::S512);
    rig.seconds(400);
    rig.act(DeviceAct::Update);
    rig.seconds(1);
    assert_eq!(blocks(&mut rig, 4..8, Szx::S512), "2.31 2.31 2.31 2.04");
}

#[test]
fn without_updates_the_lifetime_passes() {
    let config = DeviceConfig {
        keep_alive: false,
        lifetime: 60,
        ..tester()
    };
    let mut rig = Rig::new(config);
    rig.seconds(300);
    assert_eq!((rig.updates, rig.registrations.len()), (0, 1));
    // An Update that is refused stays refused.
    rig.interface = Box::new(|name| (name == "update").then_some("4.04"));
    rig.act(DeviceAct::Update);
    rig.seconds(200);
    let truth = rig.device.truth();
    assert_eq!(
        (truth.registered, truth.last_answer.unwrap().to_string().as_str()),
        (false, "4.04")
    );
    assert_eq!(rig.registrations.len(), 1);
}

#[test]
fn a_register_that_is_refused_may_be_the_only_one() {
    let registers = |keep_alive| {
        let mut rig = Rig::off(
            DeviceConfig {
                lwm2m_text: Some("9.9".to_owned()),
                keep_alive,
                ..tester()
            },
            fotaproof_lwm2m::Flash::new("1.0.0"),
        );
        rig.interface = Box::new(|_| Some("4.12"));
        rig.power_on();
        rig.seconds(60);
        assert!(!rig.device.truth().registered);
        rig.log.iter().filter(|line| line.contains("lwm2m=9.9")).count()
    };
    assert_eq!((registers(false), registers(true)), (1, 3));
}

#[test]
fn object_5_shows_any_protocol_and_method() {
    let protocols = |values: &[i64]| DeviceConfig {
        values: (0..)
            .zip(values)
            .map(|(at, value)| (LwPath::resource_instance(5, 0, 8, at), Value::Integer(*value)))
            .collect(),
        ..tester()
    };
    let mut rig = Rig::new(protocols(&[0, 77]));
    assert_eq!(
        (rig.get("/5/0/8/0"), rig.get("/5/0/8/1"), rig.get("/5/0/8/2")),
        ("0".into(), "77".into(), "4.04".into())
    );
    let mut rig = Rig::new(DeviceConfig {
        absent: vec![LwPath::resource(5, 0, 8)],
        values: [(LwPath::resource(5, 0, 9), Value::Integer(3))].into(),
        ..tester()
    });
    assert_eq!((rig.get("/5/0/8"), rig.get("/5/0/9")), ("4.04".into(), "3".into()));
}

#[test]
fn an_earlier_update_left_its_traces() {
    let stale = |state, result| DeviceConfig {
        initial_pair: Some((state, result)),
        ..tester()
    };
    for (state, result) in [(0, 1), (0, 8), (2, 0), (2, 8)] {
        let mut rig = Rig::new(stale(state, result));
        assert_eq!(rig.pair(), format!("{state}/{result}"));
    }
    let old = build(PackageKind::Valid, "1.5.0", 2048);
    let mut rig = Rig::new(DeviceConfig {
        leftover: Some(old),
        ..stale(2, 0)
    });
    assert_eq!(
        (rig.get("/5/0/7"), blocks(&mut rig, [0], Szx::S512)),
        ("1.5.0".into(), "4.00".into())
    );
    // A reset makes room; without it an Execute installs the old one.
    rig.execute("/5/0/2");
    rig.seconds(10);
    assert_eq!((rig.pair(), rig.get("/3/0/3")), ("0/1".into(), "1.5.0".into()));
}

/// An update of a device, with everything that it notified of State and Result, and where it ends.
fn updated(config: DeviceConfig) -> String {
    let mut rig = Rig::new(config);
    rig.observe("/5/0/3", b"s");
    rig.observe("/5/0/5", b"r");
    blocks(&mut rig, 0..8, Szx::S512);
    rig.seconds(1);
    let execute = rig.execute("/5/0/2");
    rig.seconds(20);
    format!(
        "execute {execute} states {} results {} ends {} {}",
        rig.notified(b"s").join(","),
        rig.notified(b"r").join(","),
        rig.pair(),
        rig.get("/3/0/3")
    )
}

#[test]
fn an_update_ends_in_any_way() {
    let mut text = String::new();
    let mut add = |name: &str, config| text += &format!("{name}: {}\n", updated(config));
    add("good", tester());
    add(
        "skips 1 and 3, no reboot",
        DeviceConfig {
            skip_states: vec![1, 3],
            install_in_place: true,
            ..tester()
        },
    );
    add(
        "success, version unchanged",
        DeviceConfig {
            version_after: Some("1.0.0".to_owned()),
            ..tester()
        },
    );
    for result in [2, 3, 4, 5, 6, 7, 9] {
        add(
            &format!("download ends 0/{result}"),
            DeviceConfig {
                download_ends: Some((0, result)),
                ..tester()
            },
        );
    }
    for pair in [(0, 2), (0, 8), (2, 8), (0, 9), (0, 10), (0, 1)] {
        add(
            &format!("installation ends {}/{}", pair.0, pair.1),
            DeviceConfig {
                install_ends: Some(pair),
                ..tester()
            },
        );
    }
    add(
        "put off",
        DeviceConfig {
            object5: Version::V1_1,
            defer_for: Some(seconds(10)),
            ..tester()
        },
    );
    insta::assert_snapshot!("ends", text);
}

#[test]
fn downloading_can_last_after_the_last_block() {
    let mut rig = Rig::new(DeviceConfig {
        downloaded_after: seconds(90),
        ..tester()
    });
    blocks(&mut rig, 0..8, Szx::S512);
    rig.seconds(89);
    assert_eq!((rig.pair(), rig.execute("/5/0/2")), ("1/0".into(), "4.05".into()));
    rig.seconds(1);
    assert_eq!(rig.pair(), "2/0");
    let truth = rig.device.truth();
    assert_eq!((truth.executes, truth.executes_refused), (1, 1));
}

#[test]
fn a_slow_flash_answers_each_block_apart() {
    let mut rig = Rig::new(DeviceConfig {
        flash_delay: Duration::from_millis(1900),
        ..tester()
    });
    let line = rig.log.len();
    blocks(&mut rig, 0..8, Szx::S512);
    let story = rig.story(line);
    assert_eq!(story.matches("< ACK 0.00").count(), 8, "{story}");
    assert_eq!(story.matches("< CON 2.31").count(), 7, "{story}");
    assert!(rig.now > seconds(15), "{:?}", rig.now);
}

#[test]
fn radio_quality_changes_with_time() {
    let mut rig = Rig::new(DeviceConfig {
        radio: vec![(Duration::ZERO, -120), (seconds(600), -80)],
        link_quality: vec![(Duration::ZERO, 5), (seconds(600), 90)],
        ..tester()
    });
    rig.observe("/4/0/2", b"r");
    assert_eq!((rig.get("/4/0/2"), rig.get("/4/0/3")), ("-120".into(), "5".into()));
    rig.seconds(600);
    assert_eq!((rig.get("/4/0/2"), rig.get("/4/0/3")), ("-80".into(), "90".into()));
    assert_eq!(rig.notified(b"r"), ["-80"]);
}

#[test]
fn changes_are_told_by_send_instead_of_notifications() {
    let mut rig = Rig::new(DeviceConfig {
        send_changes: true,
        lwm2m: Version::V1_1,
        ..tester()
    });
    rig.observe("/5/0/3", b"s");
    blocks(&mut rig, 0..8, Szx::S512);
    rig.execute("/5/0/2");
    rig.seconds(10);
    assert_eq!(rig.notified(b"s"), Vec::<String>::new());
    insta::assert_snapshot!("sends", rig.sends.join("\n"));
}

#[test]
fn a_pull_with_and_without_an_early_block2() {
    let first_get = |early_block| {
        let mut rig = Rig::new(DeviceConfig {
            early_block,
            pull_block: Szx::S128,
            ..tester()
        });
        rig.serve_body(FILES, package(PackageKind::Valid));
        let line = rig.log.len();
        rig.uri("coap://192.0.2.20/fw");
        rig.seconds(5);
        assert_eq!(rig.pair(), "2/0");
        let story = rig.story(line);
        let gets = story
            .lines()
            .filter(|line| line.contains("GET") && line.contains("/fw"));
        let words = |line: &str| line.split(" /fw").nth(1).unwrap_or_default().trim().to_owned();
        gets.map(words).take(2).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(first_get(true), "B2 0/0/128, B2 1/0/128");
    // The file server began with 1024 bytes: from then on the device asks for its size.
    assert_eq!(first_get(false), ", B2 8/0/128");
}

#[test]
fn a_changed_file_is_noticed_or_not() {
    let pulled = |etag_check| {
        let mut rig = Rig::new(DeviceConfig { etag_check, ..tester() });
        let file = image();
        rig.serve(FILES, move |serving| {
            let etag: &[u8] = if serving.num() < 3 && serving.count < 4 {
                b"a1"
            } else {
                b"a2"
            };
            Some(serving.answer(&file, Szx::S1024, Some(etag)))
        });
        rig.uri("coap://192.0.2.20/fw");
        rig.seconds(5);
        (rig.gets(FILES), rig.pair())
    };
    assert_eq!(pulled(true), (12, "2/0".to_owned()));
    assert_eq!(pulled(false), (8, "2/0".to_owned()));
}
