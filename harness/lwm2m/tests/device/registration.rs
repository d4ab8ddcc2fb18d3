//! Register, Update and De-register.

use fotaproof_lwm2m::{DeviceConfig, DeviceInput, Version};
use fotaproof_wire::coap::{Szx, content_format};

use crate::rig::{Rig, config, request};

#[test]
fn the_first_register() {
    let rig = Rig::new(config());
    assert_eq!(
        rig.registrations,
        [[
            "lwm2m=1.1",
            "ep=dev-1",
            "lt=300",
            "b=U",
            "</1/0>,</3/0>,</4/0>,</5>;ver=1.2,</5/0>"
        ]
        .map(str::to_owned)
        .to_vec()]
    );
    let rig = Rig::new(DeviceConfig {
        lwm2m: Version::V1_0,
        object5: Version::V1_0,
        ..config()
    });
    assert_eq!(rig.registrations[0][0], "lwm2m=1.0");
    assert_eq!(rig.registrations[0][4], "</1/0>,</3/0>,</4/0>,</5/0>");
}

#[test]
fn updates_come_in_time_and_not_too_often() {
    for (lifetime, updates) in [(60, 6), (120, 2), (0, 0)] {
        let mut rig = Rig::new(DeviceConfig { lifetime, ..config() });
        rig.seconds(200);
        assert_eq!((rig.registrations.len(), rig.updates), (1, updates), "lt={lifetime}");
    }
}

#[test]
fn a_trigger_and_a_new_lifetime_bring_an_update() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.execute("/1/0/8"), "2.04");
    rig.seconds(1);
    assert_eq!(rig.updates, 1);
    assert_eq!(rig.put("/1/0/1", content_format::TEXT, b"90"), "2.04");
    rig.seconds(1);
    assert_eq!(rig.updates, 2);
    assert!(
        rig.log.iter().any(|line| line.contains("/rd/a7?lt=90")),
        "{:#?}",
        rig.log
    );
    rig.seconds(70);
    assert_eq!(rig.updates, 3);
}

#[test]
fn a_refused_update_brings_a_register() {
    for code in ["4.04", "4.00"] {
        let mut rig = Rig::new(config());
        rig.interface = Box::new(move |name| Some(if name == "update" { code } else { "2.01" }));
        rig.execute("/1/0/8");
        rig.seconds(5);
        assert_eq!(rig.registrations.len(), 2, "{code}");
        assert_eq!(rig.pair(), "0/0");
    }
}

#[test]
fn a_silent_server_is_tried_again() {
    let mut rig = Rig::off(config(), fotaproof_lwm2m::Flash::new("1.0.0"));
    rig.interface = Box::new(|_| None);
    rig.power_on();
    rig.seconds(100);
    let sends = rig.log.iter().filter(|line| line.contains("POST")).count();
    assert!((5..=7).contains(&sends), "{sends}");
    rig.interface = Box::new(|_| Some("2.01"));
    rig.seconds(60);
    assert_eq!(rig.registrations.len(), 1);
}

#[test]
fn a_refused_version_steps_down_without_haste() {
    let mut rig = Rig::off(
        DeviceConfig {
            lwm2m: Version::V1_2,
            ..config()
        },
        fotaproof_lwm2m::Flash::new("1.0.0"),
    );
    let mut count = 0;
    rig.interface = Box::new(move |_| {
        count += 1;
        Some(if count < 3 { "4.12" } else { "2.01" })
    });
    rig.power_on();
    rig.seconds(60);
    let announced: Vec<_> = rig
        .log
        .iter()
        .filter(|line| line.contains("POST"))
        .filter_map(|line| line.split("lwm2m=").nth(1))
        .map(|rest| rest[..3].to_owned())
        .collect();
    assert_eq!(announced, ["1.2", "1.1", "1.0"]);
}

#[test]
fn a_stop_deregisters_and_then_is_silent() {
    let mut rig = Rig::new(config());
    rig.location = vec!["rd", "0123456789012345678901234567890123456789", "x"];
    rig.execute("/3/0/4");
    rig.seconds(5);
    rig.input(DeviceInput::Stop);
    rig.seconds(1);
    assert_eq!((rig.deregistrations, rig.off), (1, true));
    let lines = rig.log.len();
    assert!(
        rig.log[lines - 2].contains("DELETE")
            && rig.log[lines - 2].contains("/rd/0123456789012345678901234567890123456789/x"),
        "{:?}",
        rig.log[lines - 2]
    );
    rig.seconds(1000);
    assert_eq!(rig.log.len(), lines);
}

#[test]
fn a_long_list_is_registered_in_blocks() {
    let rig = Rig::new(DeviceConfig {
        register_block: Some(Szx::S16),
        ..config()
    });
    assert_eq!(rig.registrations.len(), 1);
    assert!(rig.log.iter().any(|line| line.contains("B1 1/1/16")), "{:#?}", rig.log);
}

#[test]
fn a_register_of_object_1_0_fits_a_path_of_127_bytes() {
    let mut rig = Rig::off(
        DeviceConfig {
            lwm2m: Version::V1_0,
            object5: Version::V1_0,
            ..config()
        },
        fotaproof_lwm2m::Flash::new("1.0.0"),
    );
    rig.power_on();
    assert!(rig.largest_sent + 28 <= 127, "{} bytes", rig.largest_sent);
}

#[test]
fn an_idle_device_is_small() {
    assert!(
        size_of::<fotaproof_lwm2m::Device>() < 4096,
        "{}",
        size_of::<fotaproof_lwm2m::Device>()
    );
    assert_eq!(request("0.01", "/3/0/3").header.message_id, 0);
}
