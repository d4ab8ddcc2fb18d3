//! Registration, objects, states, restarts, observations, malformed messages.

use std::time::Duration;

use fotaproof_coap::{Request, Token};
use fotaproof_lwm2m::package::PackageKind;
use fotaproof_lwm2m::{DeviceConfig, DeviceInput, Version};
use fotaproof_wire::coap::{BlockValue, Szx, build, content_format};
use fotaproof_wire::{LwPath, Value, content};

use crate::rig::{SERVER, build as build_package, config, package, request};

use super::URI;

fn short_lifetime() -> DeviceConfig {
    DeviceConfig {
        lifetime: 60,
        ..config()
    }
}

fn object_1_0() -> DeviceConfig {
    DeviceConfig {
        lwm2m: Version::V1_0,
        object5: Version::V1_0,
        ..config()
    }
}

fn confirmable() -> DeviceConfig {
    DeviceConfig {
        confirmable_notifications: true,
        ..config()
    }
}

fn radio() -> DeviceConfig {
    DeviceConfig {
        radio: vec![(Duration::ZERO, -80), (Duration::from_secs(10), -110)],
        ..config()
    }
}

scenarios! {
    "register" short_lifetime, |rig| {
        rig.seconds(130);
        rig.input(DeviceInput::Stop);
        rig.seconds(2);
    };
    "register-object-1.0" object_1_0, |rig| {
        rig.execute("/5/0/10");
    };
    "update-refused" config, |rig| {
        rig.interface = Box::new(|name| Some(if name == "update" { "4.04" } else { "2.01" }));
        rig.execute("/1/0/8");
        rig.seconds(5);
        rig.pair();
    };
    "register-refused" config, |rig| {
        rig.interface = Box::new(|_| Some("4.03"));
        rig.power_cycle();
    };
    "register-silence" config, |rig| {
        rig.interface = Box::new(|_| None);
        rig.power_cycle();
        rig.seconds(120);
    };
    "blackout-300" short_lifetime, |rig| {
        rig.lose = Box::new(|_, _| true);
        rig.seconds(300);
        rig.lose = Box::new(|_, _| false);
        rig.seconds(150);
    };
    "location" config, |rig| {
        rig.location = vec!["rd", "a", "x"];
        rig.power_cycle();
        rig.execute("/1/0/8");
    };
    "trigger-in-downloaded" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.execute("/1/0/8");
        rig.pair();
    };
    "reads" config, |rig| {
        for path in ["/5/0", "/3/0", "/3/0/3", "/5/0/0", "/5/0/9", "/5/0/8", "/5/0/99", "/9", "/0/0/5", "/5/0/4"] {
            rig.get(path);
        }
        for (path, accept) in [("/5/0/3", 0), ("/5/0/3", 11542), ("/5/0/3", 110), ("/5/0", 40), ("/5", 40), ("/5/0/3", 65000)] {
            let mut packet = request("0.01", path);
            build::set_accept(&mut packet, accept);
            rig.ask(packet);
        }
        let mut packet = request("0.01", "/5");
        build::set_accept(&mut packet, 40);
        build::set_block2(&mut packet, BlockValue::new(2, false, Szx::S16).unwrap());
        rig.ask(packet);
    };
    "writes" config, |rig| {
        rig.put("/5/0/3", 0, b"2");
        rig.pair();
        rig.put("/5/0/11", 0, b"3");
        rig.get("/5/0/11");
        rig.execute("/5/0/3");
        rig.code_of(request("0.04", "/5/0"));
        rig.get("/5/0/3");
        rig.execute("/5/0/10");
        rig.get("/5/0/3");
    };
    "write-instance" config, |rig| {
        let values = [(LwPath::from([5, 0, 11]), Value::Integer(2)), (LwPath::from([5, 0, 13]), Value::Unsigned(1 << 40))];
        let mut post = request("0.02", "/5/0");
        build::set_content_format(&mut post, content_format::TLV);
        post.payload = content::encode(content_format::TLV, &LwPath::from([5, 0]), &values).unwrap();
        rig.ask(post);
        rig.get("/5/0/11");
    };
    "write-composite" config, |rig| {
        let values = [(LwPath::from([5, 0, 11]), Value::Integer(0)), (LwPath::from([5, 0, 3]), Value::Integer(2))];
        let mut patch = request("0.07", "/");
        build::set_content_format(&mut patch, content_format::SENML_JSON);
        patch.payload = content::encode(content_format::SENML_JSON, &LwPath::ROOT, &values).unwrap();
        rig.ask(patch);
        rig.get("/5/0/11");
        let mut fetch = request("0.05", "/");
        build::set_content_format(&mut fetch, content_format::SENML_JSON);
        fetch.payload = content::encode_paths(content_format::SENML_JSON, &[LwPath::from([5, 0, 5])]).unwrap();
        rig.ask(fetch);
    };
    "fail-install" config, |rig| {
        rig.push(&package(PackageKind::FailInstall), Szx::S1024);
        rig.execute("/5/0/2");
        rig.pair();
        rig.seconds(10);
        rig.pair();
        rig.execute("/5/0/2");
        rig.pair();
        rig.seconds(10);
        rig.nul();
        rig.pair();
    };
    "bad-at-install" config, |rig| {
        rig.push(&package(PackageKind::BadAtInstall), Szx::S1024);
        rig.execute("/5/0/2");
        rig.seconds(10);
        rig.pair();
    };
    "fail-boot" config, |rig| {
        rig.push(&package(PackageKind::FailBoot), Szx::S1024);
        rig.execute("/5/0/2");
        rig.seconds(10);
        rig.pair();
    };
    "idle-operations" config, |rig| {
        rig.execute("/5/0/2");
        rig.pair();
        rig.seconds(10);
        rig.pair();
    };
    "downloaded-operations" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.put("/5/0/0", content_format::OPAQUE, &build_package(PackageKind::Valid, "9.0.0", 500));
        rig.uri(URI);
        rig.pair();
        rig.uri("");
        rig.pair();
        rig.execute("/5/0/2");
        rig.pair();
    };
    "downloaded-cancel" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.execute("/5/0/10");
        rig.pair();
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.pair();
    };
    "downloaded-wait" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.seconds(90);
        rig.pair();
    };
    "updating-push" config, |rig| {
        rig.push(&package(PackageKind::SlowInstall(10)), Szx::S1024);
        rig.execute("/5/0/2");
        rig.pair();
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.pair();
    };
    "updating-nul" config, |rig| {
        rig.push(&package(PackageKind::SlowInstall(10)), Szx::S1024);
        rig.execute("/5/0/2");
        rig.nul();
        rig.execute("/5/0/10");
        rig.pair();
    };
    "updating-uri" config, |rig| {
        rig.push(&package(PackageKind::SlowInstall(10)), Szx::S1024);
        rig.execute("/5/0/2");
        rig.uri(URI);
        rig.pair();
    };
    "updating-execute" config, |rig| {
        rig.push(&package(PackageKind::SlowInstall(10)), Szx::S1024);
        rig.execute("/5/0/2");
        rig.execute("/5/0/2");
        rig.pair();
    };
    "defer" config, |rig| {
        rig.put("/5/0/13", 0, b"20");
        rig.push(&package(PackageKind::Defer), Szx::S1024);
        rig.execute("/5/0/2");
        rig.seconds(40);
        rig.pair();
    };
    "defer-zero" config, |rig| {
        rig.push(&package(PackageKind::Defer), Szx::S1024);
        rig.execute("/5/0/2");
        rig.pair();
    };
    "defer-reset" config, |rig| {
        rig.put("/5/0/13", 0, b"20");
        rig.push(&package(PackageKind::Defer), Szx::S1024);
        rig.execute("/5/0/2");
        rig.nul();
        rig.seconds(40);
        rig.pair();
    };
    "restart" config, |rig| {
        rig.put("/5/0/11", 0, b"0");
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.stop_and_start();
        rig.pair();
        rig.get("/5/0/11");
        rig.execute("/5/0/2");
        rig.seconds(10);
        rig.pair();
    };
    "restart-after-failure" config, |rig| {
        rig.push(&package(PackageKind::Corrupt), Szx::S1024);
        rig.stop_and_start();
        rig.pair();
    };
    "power-cut-downloaded" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.power_cycle();
        rig.execute("/5/0/2");
        rig.seconds(10);
        rig.pair();
    };
    "power-cut-push" config, |rig| {
        rig.block(&package(PackageKind::Valid), 0, Szx::S512);
        rig.power_cycle();
        rig.pair();
    };
    "power-cut-updating" config, |rig| {
        rig.push(&package(PackageKind::SlowInstall(10)), Szx::S1024);
        rig.execute("/5/0/2");
        rig.seconds(3);
        rig.power_cycle();
        rig.pair();
    };
    "plain-reboot" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.execute("/3/0/4");
        rig.seconds(20);
        rig.pair();
    };
    "object-dropped" config, |rig| {
        rig.push(&package(PackageKind::ObjectDropped), Szx::S1024);
        rig.execute("/5/0/2");
        rig.seconds(10);
    };
    "observe" config, |rig| {
        rig.observe("/5/0/3", b"s");
        rig.observe("/5/0/5", b"r");
        rig.push(&package(PackageKind::Corrupt), Szx::S1024);
        rig.seconds(5);
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.seconds(5);
        rig.execute("/5/0/2");
        rig.seconds(10);
        rig.push(&build_package(PackageKind::Valid, "3.0.0", 4096), Szx::S1024);
    };
    "observe-pmax" config, |rig| {
        let mut attributes = request("0.03", "/5/0/3");
        build::set_query(&mut attributes, ["pmin=1", "pmax=5"]);
        rig.ask(attributes);
        rig.observe("/5/0/3", b"s");
        rig.seconds(20);
    };
    "observe-ends" config, |rig| {
        rig.observe("/5/0/3", b"s");
        let mut packet = request("0.01", "/5/0/3");
        build::set_observe(&mut packet, 1);
        rig.ask_from(SERVER, Request::confirmable(packet).with_token(Token::new(b"s").unwrap()));
        rig.observe("/5/0/3", b"t");
        rig.reset_notifications(Token::new(b"t").unwrap());
        rig.push(&package(PackageKind::Valid), Szx::S512);
        rig.seconds(5);
    };
    "observe-again" config, |rig| {
        rig.observe("/5/0/3", b"a");
        rig.observe("/5/0/3", b"b");
        rig.push(&package(PackageKind::Valid), Szx::S512);
    };
    "observe-lost" confirmable, |rig| {
        rig.observe("/5/0/3", b"s");
        let mut lost = 0;
        rig.lose = Box::new(move |toward_device, text| {
            let hit = !toward_device && text.contains("CON 2.05");
            lost += usize::from(hit);
            hit && lost == 1
        });
        rig.push(&package(PackageKind::Valid), Szx::S512);
        rig.seconds(30);
    };
    "observe-radio" radio, |rig| {
        rig.observe("/4/0/2", b"q");
        rig.seconds(20);
    };
    "malformed" config, |rig| {
        for bytes in [
            &[0x40, 0, 0x12, 0x34][..],
            &[0x80, 1, 1, 1, 0xb1, b'3'],
            &[0x49, 1, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xb1, b'3'],
            &[0x40, 1, 1, 3, 0xb1, b'3', 0x01, b'0', 0x05, b'3'],
            &[0x40, 3, 1, 4, 0xb1, b'5', 0x01, b'0', 0x01, b'0', 0x11, 42, 0xff],
            &[0x40, 9, 1, 5, 0xb1, b'5', 0x01, b'0', 0x01, b'3'],
            &[0x70, 0, 9, 9],
        ] {
            rig.raw(bytes);
        }
        let mut critical = request("0.01", "/5/0/3");
        build::set_option(&mut critical, 65001, vec![1]);
        rig.ask(critical);
        rig.get("/5/0/99");
    };
    "flood" config, |rig| {
        for _ in 0..100 {
            rig.send(request("0.01", "/3/0/3"));
        }
        rig.seconds(1);
        rig.pair();
    };
    "duplicated-read" config, |rig| {
        let read = rig.send(request("0.01", "/3/0/3"));
        rig.seconds(1);
        rig.resend(read);
        rig.seconds(1);
    };
    "read-after-lifetime" config, |rig| {
        let read = rig.send(request("0.01", "/5/0/3"));
        rig.seconds(1);
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.seconds(248);
        rig.resend(read);
        rig.seconds(1);
    };
}
