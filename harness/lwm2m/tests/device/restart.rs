//! What a reboot, a graceful stop and a power cut leave.

use fotaproof_lwm2m::package::PackageKind;
use fotaproof_lwm2m::{DeviceConfig, Flash, Version};
use fotaproof_wire::coap::{Szx, content_format};

use crate::rig::{FILES, Rig, build, config, package};

const URI: &str = "coap://192.0.2.20/fw";

#[test]
fn a_stored_package_survives_both_ways_down() {
    for cut in [false, true] {
        let mut rig = Rig::new(config());
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        if cut {
            rig.power_cycle();
        } else {
            rig.stop_and_start();
        }
        assert_eq!(
            (rig.pair(), rig.execute("/5/0/2")),
            ("2/0".to_owned(), "2.04".to_owned())
        );
        rig.seconds(10);
        assert_eq!(rig.get("/3/0/3"), "2.0.0");
    }
}

#[test]
fn a_flash_written_to_disk_is_the_same_flash() {
    let mut rig = Rig::new(config());
    rig.push(&package(PackageKind::Valid), Szx::S1024);
    let flash = rig.device.flash();
    let text = serde_json::to_string(flash).unwrap();
    let back = serde_json::from_str::<Flash>(&text)
        .unwrap()
        .with_image(flash.image().to_vec());
    let mut rig = Rig::off(config(), back);
    rig.power_on();
    assert_eq!(
        (rig.pair(), rig.execute("/5/0/2")),
        ("2/0".to_owned(), "2.04".to_owned())
    );
}

#[test]
fn a_push_is_lost_with_the_power() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    for num in 0..4 {
        rig.block(&body, num, Szx::S512);
    }
    rig.power_cycle();
    assert_eq!(
        (rig.pair(), rig.block(&body, 4, Szx::S512)),
        ("0/0".to_owned(), "4.08".to_owned())
    );
    assert_eq!(
        (rig.push(&body, Szx::S512), rig.pair()),
        ("2.04".to_owned(), "2/0".to_owned())
    );
}

#[test]
fn a_pull_goes_on_where_it_was() {
    for (resume, etag, second_start) in [(true, true, 4), (true, false, 0), (false, true, 0)] {
        let mut rig = Rig::new(DeviceConfig { resume, ..config() });
        let body = package(PackageKind::Valid);
        rig.serve(FILES, move |serving| {
            Some(serving.answer(&body, Szx::S1024, etag.then_some(b"a1")))
        });
        rig.hold_from = Some(4);
        rig.uri(URI);
        rig.seconds(2);
        rig.hold_from = None;
        rig.log.clear();
        rig.power_cycle();
        rig.seconds(5);
        let first = rig
            .log
            .iter()
            .find(|line| line.contains("GET") && line.contains("/fw"))
            .cloned();
        if resume {
            assert!(
                first.as_deref().unwrap().contains(&format!("B2 {second_start}/0/512")),
                "{first:?}"
            );
            assert_eq!(rig.pair(), "2/0");
        } else {
            assert_eq!((first, rig.pair().as_str()), (None, "0/0"));
        }
    }
}

#[test]
fn a_pull_of_a_file_that_changed_begins_anew() {
    let mut rig = Rig::new(config());
    rig.serve_body(FILES, package(PackageKind::Valid));
    rig.hold_from = Some(4);
    rig.uri(URI);
    rig.seconds(2);
    rig.hold_from = None;
    let other = build(PackageKind::Valid, "2.2.0", 4096);
    rig.serve(FILES, move |serving| {
        Some(serving.answer(&other, Szx::S1024, Some(b"zz")))
    });
    rig.power_cycle();
    rig.seconds(5);
    assert_eq!((rig.pair(), rig.get("/5/0/7")), ("2/0".to_owned(), "2.2.0".to_owned()));
}

#[test]
fn a_power_cut_while_updating_ends_with_the_old_firmware() {
    for (object5, ends) in [(Version::V1_0, "2/8"), (Version::V1_1, "0/8")] {
        let mut rig = Rig::new(DeviceConfig { object5, ..config() });
        rig.push(&package(PackageKind::SlowInstall(10)), Szx::S1024);
        rig.execute("/5/0/2");
        rig.seconds(3);
        rig.power_cycle();
        assert_eq!((rig.pair().as_str(), rig.get("/3/0/3").as_str()), (ends, "1.0.0"));
        assert_eq!(rig.nul(), "2.04");
        assert_eq!(
            (rig.push(&package(PackageKind::Valid), Szx::S1024), rig.pair()),
            ("2.04".to_owned(), "2/0".to_owned())
        );
    }
}

#[test]
fn a_power_cut_after_the_commit_ends_with_the_new_firmware() {
    let mut rig = Rig::new(config());
    rig.push(&package(PackageKind::Valid), Szx::S1024);
    rig.execute("/5/0/2");
    rig.run(std::time::Duration::from_millis(4500));
    rig.power_cycle();
    assert_eq!((rig.pair(), rig.get("/3/0/3")), ("0/1".to_owned(), "2.0.0".to_owned()));
}

#[test]
fn results_and_settings_persist() {
    let mut rig = Rig::new(config());
    rig.put("/5/0/11", content_format::TEXT, b"0");
    rig.put("/5/0/13", content_format::TEXT, b"30");
    rig.push(&package(PackageKind::Corrupt), Szx::S1024);
    rig.stop_and_start();
    assert_eq!(
        (rig.pair(), rig.get("/5/0/11"), rig.get("/5/0/13")),
        ("0/5".to_owned(), "0".to_owned(), "30".to_owned())
    );
    let mut rig = Rig::new(DeviceConfig {
        persist: false,
        ..config()
    });
    rig.push(&package(PackageKind::Valid), Szx::S1024);
    rig.stop_and_start();
    assert_eq!(rig.pair(), "0/0");
}

#[test]
fn a_plain_reboot_installs_nothing() {
    let mut rig = Rig::new(config());
    rig.push(&package(PackageKind::Valid), Szx::S1024);
    assert_eq!(rig.execute("/3/0/4"), "2.04");
    rig.seconds(10);
    assert_eq!(
        (rig.registrations.len(), rig.pair(), rig.get("/3/0/3")),
        (2, "2/0".to_owned(), "1.0.0".to_owned())
    );
}

#[test]
fn a_dropped_object_is_gone_after_the_update() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.get("/4/0/0"), "7");
    rig.push(&package(PackageKind::ObjectDropped), Szx::S1024);
    rig.execute("/5/0/2");
    rig.seconds(10);
    let list = rig.registrations.last().unwrap().last().unwrap().clone();
    assert!(!list.contains("</4"), "{list}");
    assert_eq!(rig.get("/4/0/0"), "4.04");
}

#[test]
fn observations_end_with_the_reboot() {
    let mut rig = Rig::new(config());
    rig.observe("/5/0/3", b"old");
    rig.push(&package(PackageKind::Valid), Szx::S1024);
    rig.execute("/5/0/2");
    rig.seconds(10);
    let before = rig.notified(b"old").len();
    assert_eq!(rig.notified(b"old"), ["1", "2", "3"]);
    rig.push(&build(PackageKind::Valid, "3.0.0", 4096), Szx::S1024);
    rig.seconds(10);
    assert_eq!(rig.notified(b"old").len(), before);
    assert_eq!(rig.observe("/5/0/3", b"new"), "2");
}
