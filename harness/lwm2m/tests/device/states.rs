//! The state machine of object 5: which operation does what in which state, Cancel, deferral, automatic upgrade.

use fotaproof_lwm2m::package::PackageKind;
use fotaproof_lwm2m::{DeviceConfig, Version};
use fotaproof_wire::coap::{Szx, content_format};

use crate::rig::{FILES, OTHER, Rig, build, config, package};

const URI: &str = "coap://192.0.2.20/fw";

/// A device in that state: `downloading` by a pull on hold, `updating` for ten seconds.
fn device_in(state: &str, object5: Version) -> Rig {
    let mut rig = Rig::new(DeviceConfig { object5, ..config() });
    rig.serve_body(FILES, package(PackageKind::Valid));
    rig.serve_body(OTHER, package(PackageKind::Valid));
    match state {
        "downloading" => {
            rig.hold_from = Some(2);
            rig.uri(URI);
            rig.seconds(1);
        }
        "downloaded" => {
            rig.push(&package(PackageKind::Valid), Szx::S1024);
        }
        "updating" => {
            rig.push(&package(PackageKind::SlowInstall(10)), Szx::S1024);
            rig.execute("/5/0/2");
        }
        _ => {}
    }
    rig
}

#[test]
fn the_matrix_of_operations_and_states() {
    let mut table = String::new();
    for object5 in [Version::V1_0, Version::V1_2] {
        for state in ["idle", "downloading", "downloaded", "updating"] {
            for operation in ["image", "nul", "uri", "empty-uri", "bad-uri", "execute", "cancel"] {
                let mut rig = device_in(state, object5);
                let code = match operation {
                    "image" => rig.put(
                        "/5/0/0",
                        content_format::OPAQUE,
                        &build(PackageKind::Valid, "9.0.0", 500),
                    ),
                    "nul" => rig.nul(),
                    "uri" => rig.uri("coap://192.0.2.30/fw"),
                    "empty-uri" => rig.uri(""),
                    "bad-uri" => rig.uri("nonsense"),
                    "execute" => rig.execute("/5/0/2"),
                    _ => rig.execute("/5/0/10"),
                };
                let pair = rig.device.flash().firmware;
                rig.release();
                rig.seconds(30);
                let flash = rig.device.flash();
                table += &format!(
                    "{object5} {state:<11} {operation:<9} {code} {pair} ends {} {}\n",
                    flash.firmware, flash.version
                );
            }
        }
    }
    insta::assert_snapshot!("matrix", table);
}

#[test]
fn an_idle_execute_changes_nothing() {
    let mut rig = Rig::new(config());
    assert_eq!(
        (rig.execute("/5/0/2"), rig.pair()),
        ("4.05".to_owned(), "0/0".to_owned())
    );
    rig.push(&package(PackageKind::Corrupt), Szx::S1024);
    assert_eq!(
        (rig.execute("/5/0/2"), rig.pair()),
        ("4.05".to_owned(), "0/5".to_owned())
    );
}

#[test]
fn a_second_uri_fetches_nothing() {
    let mut rig = device_in("downloading", Version::V1_2);
    assert_eq!(rig.uri("coap://192.0.2.30/fw"), "4.00");
    rig.release();
    rig.seconds(5);
    assert_eq!((rig.pair(), rig.gets(OTHER)), ("2/0".to_owned(), 0));
}

#[test]
fn a_reset_while_downloading_ends_the_pull() {
    let mut rig = device_in("downloading", Version::V1_2);
    let before = rig.gets(FILES);
    assert_eq!((rig.nul(), rig.pair()), ("2.04".to_owned(), "0/0".to_owned()));
    rig.release();
    rig.seconds(60);
    assert_eq!((rig.pair(), rig.gets(FILES)), ("0/0".to_owned(), before));
}

#[test]
fn cancel_during_a_push() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    for num in 0..3 {
        rig.block(&body, num, Szx::S512);
    }
    assert_eq!(
        (rig.execute("/5/0/10"), rig.pair()),
        ("2.04".to_owned(), "0/10".to_owned())
    );
    assert_eq!(rig.block(&body, 3, Szx::S512), "4.08");
    assert_eq!(
        (rig.push(&body, Szx::S512), rig.pair()),
        ("2.04".to_owned(), "2/0".to_owned())
    );
}

#[test]
fn deferral_ends_with_its_period() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.put("/5/0/13", content_format::TEXT, b"60"), "2.04");
    rig.push(&package(PackageKind::Defer), Szx::S1024);
    assert_eq!(
        (rig.execute("/5/0/2"), rig.pair()),
        ("2.04".to_owned(), "2/11".to_owned())
    );
    rig.seconds(58);
    assert_eq!(rig.pair(), "2/11");
    rig.seconds(3);
    assert_eq!(rig.pair(), "3/0");
    rig.seconds(10);
    assert_eq!((rig.pair(), rig.get("/3/0/3")), ("0/1".to_owned(), "2.0.0".to_owned()));
}

#[test]
fn no_deferral_without_a_period_and_none_after_a_reset() {
    let mut rig = Rig::new(config());
    rig.push(&package(PackageKind::Defer), Szx::S1024);
    assert_eq!(
        (rig.execute("/5/0/2"), rig.pair()),
        ("2.04".to_owned(), "3/0".to_owned())
    );

    for cancel in [false, true] {
        let mut rig = Rig::new(config());
        rig.put("/5/0/13", content_format::TEXT, b"30");
        rig.push(&package(PackageKind::Defer), Szx::S1024);
        rig.execute("/5/0/2");
        assert_eq!(if cancel { rig.execute("/5/0/10") } else { rig.nul() }, "2.04");
        assert_eq!(rig.pair(), if cancel { "0/10" } else { "0/0" });
        rig.seconds(60);
        assert_eq!(rig.get("/3/0/3"), "1.0.0");
    }
}

#[test]
fn automatic_upgrade_needs_no_execute() {
    for automatic in [false, true] {
        let mut rig = Rig::new(config());
        rig.serve_body(FILES, package(PackageKind::Valid));
        assert_eq!(
            rig.put("/5/0/14", content_format::TEXT, if automatic { b"1" } else { b"0" }),
            "2.04"
        );
        rig.uri(URI);
        rig.seconds(60);
        assert_eq!(rig.pair(), if automatic { "0/1" } else { "2/0" });
        assert_eq!(rig.get("/5/0/14"), if automatic { "1" } else { "0" });
    }
}

#[test]
fn severity_and_period_have_bounds() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.get("/5/0/11"), "1");
    for (path, value, code) in [
        ("/5/0/11", "0", "2.04"),
        ("/5/0/11", "2", "2.04"),
        ("/5/0/11", "3", "4.00"),
        ("/5/0/11", "-1", "4.00"),
        ("/5/0/13", "30", "2.04"),
        ("/5/0/13", "-5", "4.00"),
    ] {
        assert_eq!(
            rig.put(path, content_format::TEXT, value.as_bytes()),
            code,
            "{path} {value}"
        );
    }
    assert_eq!(
        (rig.get("/5/0/11"), rig.get("/5/0/13")),
        ("2".to_owned(), "30".to_owned())
    );
}

#[test]
fn the_time_of_the_last_change_moves_with_the_state() {
    let mut rig = Rig::new(config());
    let mut times = vec![rig.get("/5/0/12").parse::<i64>().unwrap()];
    rig.seconds(5);
    rig.push(&package(PackageKind::Valid), Szx::S512);
    times.push(rig.get("/5/0/12").parse().unwrap());
    rig.seconds(5);
    rig.execute("/5/0/2");
    times.push(rig.get("/5/0/12").parse().unwrap());
    rig.seconds(10);
    times.push(rig.get("/5/0/12").parse().unwrap());
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    let clock: i64 = rig.get("/3/0/13").parse().unwrap();
    assert!((0..=8).contains(&(clock - times[3])));
}
