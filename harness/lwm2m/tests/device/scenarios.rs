//! Short stories that a device is taken through, with and without a defect. What a defect does must show in the messages of at least one.

use std::time::Duration;

use fotaproof_coap::{Request, Token};
use fotaproof_lwm2m::package::PackageKind;
use fotaproof_lwm2m::{DeviceConfig, DeviceInput, Version};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, content_format, option};
use fotaproof_wire::{LwPath, Value, content};

use crate::rig::{FILES, OTHER, Rig, SERVER, block_request, build as build_package, code, config, package, request};

/// A story.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) config: fn() -> DeviceConfig,
    pub(crate) play: fn(&mut Rig),
}

/// Scenarios of many thousand messages, for the defects that need them.
pub(crate) const HEAVY: [&str; 4] = ["push-16-long", "push-65537", "push-large", "push-block-65536"];

const URI: &str = "coap://192.0.2.20/fw?v=2";

macro_rules! scenarios {
    ($($name:literal $config:expr, $play:expr;)*) => {
        pub(crate) const SCENARIOS: &[Scenario] = &[$(Scenario { name: $name, config: $config, play: $play }),*];
    };
}

fn short_lifetime() -> DeviceConfig {
    DeviceConfig { lifetime: 60, ..config() }
}

fn object_1_0() -> DeviceConfig {
    DeviceConfig { lwm2m: Version::V1_0, object5: Version::V1_0, ..config() }
}

fn confirmable() -> DeviceConfig {
    DeviceConfig { confirmable_notifications: true, ..config() }
}

fn radio() -> DeviceConfig {
    DeviceConfig { radio: vec![(Duration::ZERO, -80), (Duration::from_secs(10), -110)], ..config() }
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
    "two-updates" config, |rig| {
        rig.observe("/5/0/12", b"t");
        rig.get("/5/0/12");
        rig.push(&package(PackageKind::Valid), Szx::S512);
        rig.get("/5/0/12");
        rig.execute("/5/0/2");
        rig.pair();
        rig.seconds(6);
        rig.seconds(1);
        rig.pair();
        rig.get("/3/0/3");
        rig.seconds(3);
        rig.pair();
        rig.push(&build_package(PackageKind::Valid, "3.0.0", 4096), Szx::S512);
        rig.pair();
    };
    "nul-in-idle" config, |rig| {
        rig.nul();
        rig.pair();
        rig.push(&package(PackageKind::Corrupt), Szx::S1024);
        rig.nul();
        rig.pair();
    };
    "single-datagram" config, |rig| {
        rig.put("/5/0/0", content_format::OPAQUE, &build_package(PackageKind::Valid, "2.0.0", 500));
        rig.pair();
    };
    "push-16" config, |rig| {
        rig.push(&build_package(PackageKind::Valid, "2.0.0", 5000), Szx::S16);
        rig.pair();
    };
    "push-64" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S64);
        rig.pair();
    };
    "push-1024" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.pair();
    };
    "push-sizes-change" config, |rig| {
        rig.push(&package(PackageKind::Corrupt), Szx::S1024);
        rig.push(&package(PackageKind::Valid), Szx::S512);
        rig.pair();
    };
    "push-size-reduced" config, |rig| {
        let body = package(PackageKind::Valid);
        for num in 0..2 {
            rig.block(&body, num, Szx::S512);
        }
        for num in 8..32 {
            rig.block(&body, num, Szx::S128);
        }
        rig.pair();
    };
    "push-edges" config, |rig| {
        for size in [511, 512, 513, 1024] {
            rig.push(&build_package(PackageKind::Valid, "2.0.0", size), Szx::S512);
            rig.pair();
            rig.nul();
        }
        rig.put("/5/0/0", content_format::OPAQUE, b"");
        rig.pair();
        rig.put("/5/0/0", content_format::OPAQUE, b"A");
        rig.pair();
    };
    "lost-acks" config, |rig| {
        let body = package(PackageKind::Valid);
        let mut seen = std::collections::BTreeSet::new();
        rig.lose = Box::new(move |toward_device, text| {
            !toward_device && ["B1 0/", "B1 3/", "B1 7/"].into_iter().any(|block| text.contains(block) && seen.insert(block))
        });
        rig.push(&body, Szx::S512);
        rig.pair();
    };
    "duplicates-after-failure" config, |rig| {
        let body = package(PackageKind::Corrupt);
        let first = rig.send(block_request(&body, 0, Szx::S512));
        rig.seconds(1);
        for num in 1..8 {
            rig.block(&body, num, Szx::S512);
        }
        rig.pair();
        rig.resend(first);
        rig.seconds(1);
        rig.pair();
    };
    "gap" config, |rig| {
        let body = package(PackageKind::Valid);
        for num in [0, 1, 3, 4, 5, 6, 7] {
            rig.block(&body, num, Szx::S512);
        }
        rig.pair();
    };
    "orphan" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.block(&body, 7, Szx::S512);
        rig.pair();
    };
    "restart-at-0" config, |rig| {
        let body = package(PackageKind::Valid);
        for num in [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7] {
            rig.block(&body, num, Szx::S512);
        }
        rig.pair();
    };
    "abandoned" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.block(&body, 0, Szx::S512);
        rig.seconds(15);
        rig.block(&body, 1, Szx::S512);
        rig.seconds(250);
        rig.pair();
        rig.push(&body, Szx::S512);
    };
    "two-endpoints" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.block(&body, 0, Szx::S512);
        rig.ask_from(OTHER, Request::confirmable(block_request(&body, 1, Szx::S512)));
        rig.ask_from(OTHER, Request::confirmable(block_request(&body, 0, Szx::S512)));
        rig.block(&body, 0, Szx::S512);
        rig.ask_from(OTHER, Request::confirmable(request("0.01", "/5/0")));
    };
    "size1" config, |rig| {
        let mut packet = block_request(&package(PackageKind::Valid), 0, Szx::S512);
        build::set_size1(&mut packet, 4096);
        rig.ask(packet);
    };
    "binary" config, |rig| {
        rig.push(&package(PackageKind::Binary), Szx::S512);
        rig.pair();
    };
    "execute-duplicate" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        let execute = rig.send(request("0.02", "/5/0/2"));
        rig.seconds(2);
        rig.resend(execute);
        rig.seconds(30);
        rig.pair();
    };
    "late-execute" config, |rig| {
        rig.push(&package(PackageKind::Valid), Szx::S1024);
        rig.execute("/5/0/2");
        rig.seconds(10);
        rig.execute("/5/0/2");
        rig.seconds(10);
    };
    "bad-blocks" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.block(&body, 0, Szx::S512);
        let mut short = block_request(&body, 1, Szx::S512);
        short.payload.truncate(100);
        rig.ask(short);
        rig.pair();
        let mut reserved = block_request(&body, 0, Szx::S512);
        build::set_option(&mut reserved, option::BLOCK1, vec![0x0f]);
        rig.ask(reserved);
        let mut twice = block_request(&body, 0, Szx::S512);
        build::add_option(&mut twice, option::BLOCK1, vec![0x0d]);
        rig.ask(twice);
        let mut empty = block_request(&body, 0, Szx::S512);
        empty.payload.clear();
        rig.ask(empty);
    };
    "late-last-block" config, |rig| {
        let body = package(PackageKind::Valid);
        for num in 0..7 {
            rig.block(&body, num, Szx::S512);
        }
        rig.seconds(3);
        rig.block(&body, 7, Szx::S512);
        rig.pair();
    };
    "slow-flash" config, |rig| {
        let body = build_package(PackageKind::SlowFlash { erase: 5000, write: 3000, tenth: 0 }, "2.0.0", 2048);
        for num in 0..4 {
            let block = rig.send(block_request(&body, num, Szx::S512));
            rig.run(Duration::from_millis(2500));
            rig.resend(block);
            rig.seconds(10);
        }
        rig.pair();
    };
    "results-by-push" config, |rig| {
        for kind in [PackageKind::TooBig, PackageKind::NoRam, PackageKind::Corrupt, PackageKind::WrongType, PackageKind::Unsigned, PackageKind::Tampered, PackageKind::Older] {
            rig.push(&package(kind), Szx::S1024);
            rig.pair();
            rig.nul();
        }
    };
    "result-cleared" config, |rig| {
        rig.push(&package(PackageKind::Corrupt), Szx::S1024);
        rig.block(&package(PackageKind::Valid), 0, Szx::S512);
        rig.pair();
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
    "empty-uri" config, |rig| {
        rig.uri("");
        rig.pair();
    };
    "uris" config, |rig| {
        for uri in ["nonsense", "gopher://192.0.2.20/fw", "http://192.0.2.20/fw", "coap://unknown.example/fw"] {
            rig.uri(uri);
            rig.seconds(1);
            rig.pair();
        }
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.uri(&format!("{URI}&{}", "q".repeat(150)));
        rig.seconds(1);
    };
    "uri-ipv6" config, |rig| {
        rig.uri("coap://[2001:db8::1]/fw");
        rig.pair();
    };
    "uri-resent" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        let mut packet = request("0.03", "/5/0/1");
        build::set_content_format(&mut packet, 0);
        packet.payload = URI.into();
        rig.hold_from = Some(2);
        let write = rig.send(packet);
        rig.seconds(2);
        rig.resend(write);
        rig.seconds(5);
        rig.release();
        rig.seconds(5);
    };
    "uri-in-tlv" config, |rig| {
        let path = LwPath::from([5, 0, 1]);
        let payload = content::encode(content_format::TLV, &path, &[(path, Value::String(URI.to_owned()))]).unwrap();
        rig.put("/5/0/1", content_format::TLV, &payload);
        rig.get("/5/0/1");
    };
    "pull" short_lifetime, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.hold_from = Some(3);
        rig.uri(URI);
        rig.seconds(1);
        rig.get("/5/0/1");
        rig.pair();
        rig.seconds(60);
        rig.release();
        rig.seconds(5);
        rig.pair();
    };
    "pull-from-server" config, |rig| {
        rig.serve_body(SERVER, package(PackageKind::Valid));
        rig.hold_from = Some(3);
        rig.uri("coap://192.0.2.10/fw");
        rig.seconds(1);
        rig.pair();
        rig.release();
        rig.seconds(2);
    };
    "pull-small" config, |rig| {
        let body = build_package(PackageKind::Valid, "2.0.0", 500);
        rig.serve(FILES, move |serving| {
            serving.block = None;
            Some(serving.answer(&body, Szx::S1024, None))
        });
        rig.uri(URI);
        rig.seconds(2);
        rig.pair();
    };
    "pull-reduced-early" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.serve(FILES, move |serving| Some(serving.answer(&body, Szx::S64, None)));
        rig.uri(URI);
        rig.seconds(5);
        rig.pair();
    };
    "pull-reduced-late" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.serve(FILES, move |serving| Some(serving.answer(&body, if serving.count > 3 { Szx::S128 } else { Szx::S1024 }, None)));
        rig.uri(URI);
        rig.seconds(5);
        rig.pair();
    };
    "pull-same-block" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.serve(FILES, move |serving| {
            serving.block = BlockValue::new(0, false, Szx::S512);
            Some(serving.answer(&body, Szx::S1024, None))
        });
        rig.uri(URI);
        rig.seconds(5);
    };
    "pull-wrong-block" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.serve(FILES, move |serving| {
            if serving.count == 4 {
                serving.block = BlockValue::new(2, false, Szx::S512);
            }
            Some(serving.answer(&body, Szx::S1024, None))
        });
        rig.uri(URI);
        rig.seconds(5);
        rig.pair();
    };
    "pull-etag" config, |rig| {
        let (first, second) = (package(PackageKind::Valid), build_package(PackageKind::Valid, "2.1.0", 4096));
        rig.serve(FILES, move |serving| {
            let changed = serving.count >= 5;
            Some(serving.answer(if changed { &second } else { &first }, Szx::S1024, Some(if changed { b"b2" } else { b"a1" })))
        });
        rig.uri(URI);
        rig.seconds(5);
        rig.pair();
    };
    "pull-errors" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.serve(FILES, move |serving| {
            let mut odd = code(if serving.count == 3 { "2.03" } else { "5.03" });
            build::set_uint(&mut odd, option::MAX_AGE, 1);
            odd.payload = if serving.count == 5 { b"busy".to_vec() } else { Vec::new() };
            Some(if matches!(serving.count, 3 | 5) { odd } else { serving.answer(&body, Szx::S1024, None) })
        });
        rig.uri(URI);
        rig.seconds(10);
        rig.pair();
    };
    "pull-separate" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.separate = Some(true);
        rig.uri(URI);
        rig.seconds(10);
    };
    "pull-separate-first" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.separate = Some(false);
        rig.uri(URI);
        rig.seconds(10);
    };
    "pull-duplicates" config, |rig| {
        // The answers of a file server whose first ones are lost come twice: a resend and its late answer.
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.separate = Some(true);
        rig.hold_from = Some(6);
        let mut lost = 0;
        rig.lose = Box::new(move |toward_device, text| {
            let ack = !toward_device && text.contains("ACK 0.00");
            lost += usize::from(ack);
            ack && lost == 3
        });
        rig.uri(URI);
        rig.seconds(10);
        rig.release();
        rig.seconds(10);
        rig.pair();
    };
    "pull-silence" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.serve(FILES, move |serving| (serving.num() < 4).then(|| serving.answer(&body, Szx::S1024, None)));
        rig.uri(URI);
        rig.seconds(110);
        rig.pair();
        rig.pair();
    };
    "pull-two-losses" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        let mut lost = 0;
        rig.lose = Box::new(move |toward_device, text| {
            let hit = !toward_device && text.contains("B2 4/0/512");
            lost += usize::from(hit);
            hit && lost <= 2
        });
        rig.uri(URI);
        rig.seconds(30);
        rig.pair();
    };
    "pull-slow-link" config, |rig| {
        // The first answer to block 4 comes after the request was sent again.
        rig.serve_body(FILES, package(PackageKind::Valid));
        let mut lost = 0;
        rig.lose = Box::new(move |toward_device, text| {
            let hit = toward_device && text.contains("B2 4/1/512");
            lost += usize::from(hit);
            hit && lost == 1
        });
        rig.uri(URI);
        rig.seconds(30);
    };
    "pull-shrinks" || DeviceConfig { pull_block: Szx::S1024, ..config() }, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.lose = Box::new(|toward_device, text| toward_device && text.contains("/1024") && !text.contains("B2 0/"));
        rig.uri(URI);
        rig.seconds(200);
        rig.pair();
    };
    "results-by-pull" config, |rig| {
        for kind in [PackageKind::TooBig, PackageKind::NoRam, PackageKind::Corrupt, PackageKind::WrongType] {
            rig.serve_body(FILES, package(kind));
            rig.uri(URI);
            rig.seconds(5);
            rig.pair();
            rig.nul();
        }
    };
    "pull-held-operations" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.serve_body(OTHER, package(PackageKind::Valid));
        rig.hold_from = Some(2);
        rig.uri(URI);
        rig.seconds(1);
        rig.put("/5/0/0", content_format::OPAQUE, &build_package(PackageKind::Valid, "9.0.0", 500));
        rig.execute("/5/0/2");
        rig.uri("coap://192.0.2.30/fw");
        rig.seconds(1);
        rig.release();
        rig.seconds(5);
        rig.pair();
    };
    "pull-held-reset" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.hold_from = Some(2);
        rig.uri(URI);
        rig.seconds(1);
        rig.nul();
        rig.pair();
        rig.release();
        rig.seconds(5);
        rig.pair();
    };
    "pull-held-cancel" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.hold_from = Some(2);
        rig.uri(URI);
        rig.seconds(1);
        rig.execute("/5/0/10");
        rig.release();
        rig.seconds(5);
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
    "push-cancel" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.block(&body, 0, Szx::S512);
        rig.execute("/5/0/10");
        rig.block(&body, 1, Szx::S512);
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
    "automatic" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.put("/5/0/14", 0, b"1");
        rig.uri(URI);
        rig.seconds(20);
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
    "power-cut-pull" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.hold_from = Some(4);
        rig.uri(URI);
        rig.seconds(2);
        rig.hold_from = None;
        rig.power_cycle();
        rig.seconds(5);
        rig.pair();
    };
    "power-cut-pull-changed" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.hold_from = Some(4);
        rig.uri(URI);
        rig.seconds(2);
        rig.hold_from = None;
        let other = build_package(PackageKind::Valid, "2.2.0", 4096);
        rig.serve(FILES, move |serving| Some(serving.answer(&other, Szx::S1024, Some(b"zz"))));
        rig.power_cycle();
        rig.seconds(5);
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
    "formats" config, |rig| {
        let body = build_package(PackageKind::Valid, "2.0.0", 1400);
        let mut bare = request("0.03", "/5/0/0");
        bare.payload = body[..1000].to_vec();
        rig.ask(bare);
        rig.nul();
        let mut post = block_request(&body, 0, Szx::S512);
        post.header.code = Code::POST.into();
        rig.ask(post);
        rig.nul();
        let path = LwPath::from([5, 0, 0]);
        let small = build_package(PackageKind::Valid, "2.0.0", 600);
        let text = content::encode(content_format::TEXT, &path, &[(path, Value::Opaque(small))]).unwrap();
        rig.put("/5/0/0", content_format::TEXT, &text);
        rig.pair();
        rig.nul();
        rig.put("/5/0/0", 65000, b"bytes");
        rig.pair();
        let payload = content::encode(content_format::TLV, &path, &[(path, Value::Opaque(body))]).unwrap();
        for num in 0..payload.len().div_ceil(512) as u32 {
            let mut packet = block_request(&payload, num, Szx::S512);
            build::set_content_format(&mut packet, content_format::TLV);
            rig.ask(packet);
        }
        rig.pair();
    };
    "large-datagram" config, |rig| {
        rig.put("/5/0/0", content_format::OPAQUE, &build_package(PackageKind::Valid, "2.0.0", 1024));
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
    "stray-rst-in-pull" config, |rig| {
        rig.serve_body(SERVER, package(PackageKind::Valid));
        rig.hold_from = Some(2);
        rig.uri("coap://192.0.2.10/fw");
        rig.seconds(1);
        rig.raw(&[0x70, 0, 9, 9]);
        rig.release();
        rig.seconds(2);
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
    "push-16-long" config, |rig| {
        rig.push(&build_package(PackageKind::Valid, "2.0.0", 4097 * 16), Szx::S16);
        rig.pair();
    };
    "push-65537" config, |rig| {
        rig.push(&build_package(PackageKind::Valid, "2.0.0", 65_536 + 700), Szx::S1024);
        rig.pair();
    };
    "push-large" config, |rig| {
        rig.push(&build_package(PackageKind::Valid, "2.0.0", (1 << 20) + 100), Szx::S1024);
        rig.pair();
    };
    "push-block-65536" config, |rig| {
        rig.push(&build_package(PackageKind::Valid, "2.0.0", 65_537 * 16), Szx::S16);
        rig.pair();
    };
}
