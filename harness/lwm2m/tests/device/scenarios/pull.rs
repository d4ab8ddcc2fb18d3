//! Pulls.

use fotaproof_lwm2m::DeviceConfig;
use fotaproof_lwm2m::package::PackageKind;
use fotaproof_wire::coap::{BlockValue, Szx, build, content_format, option};
use fotaproof_wire::{LwPath, Value, content};

use crate::rig::{FILES, OTHER, SERVER, build as build_package, code, config, package, request};

use super::URI;

scenarios! {
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
    "pull" || DeviceConfig { lifetime: 60, ..config() }, |rig| {
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
    "automatic" config, |rig| {
        rig.serve_body(FILES, package(PackageKind::Valid));
        rig.put("/5/0/14", 0, b"1");
        rig.uri(URI);
        rig.seconds(20);
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
    "stray-rst-in-pull" config, |rig| {
        rig.serve_body(SERVER, package(PackageKind::Valid));
        rig.hold_from = Some(2);
        rig.uri("coap://192.0.2.10/fw");
        rig.seconds(1);
        rig.raw(&[0x70, 0, 9, 9]);
        rig.release();
        rig.seconds(2);
    };
}
