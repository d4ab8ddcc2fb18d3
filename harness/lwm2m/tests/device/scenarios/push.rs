//! Pushes.

use std::time::Duration;

use fotaproof_coap::Request;
use fotaproof_lwm2m::package::PackageKind;
use fotaproof_wire::coap::{Code, Szx, build, content_format, option};
use fotaproof_wire::{LwPath, Value, content};

use crate::rig::{OTHER, block_request, build as build_package, config, package, request};

scenarios! {
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
    "push-cancel" config, |rig| {
        let body = package(PackageKind::Valid);
        rig.block(&body, 0, Szx::S512);
        rig.execute("/5/0/10");
        rig.block(&body, 1, Szx::S512);
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
    "push-16-long" config, |rig| {
        rig.quiet = true;
        rig.push(&build_package(PackageKind::Valid, "2.0.0", 4097 * 16), Szx::S16);
        rig.quiet = false;
        rig.pair();
    };
    "push-65537" config, |rig| {
        rig.push(&build_package(PackageKind::Valid, "2.0.0", 65_536 + 700), Szx::S1024);
        rig.pair();
    };
    "push-large" config, |rig| {
        rig.quiet = true;
        rig.push(&build_package(PackageKind::Valid, "2.0.0", (1 << 20) + 100), Szx::S1024);
        rig.quiet = false;
        rig.pair();
    };
    "push-block-65536" config, |rig| {
        rig.quiet = true;
        rig.push(&build_package(PackageKind::Valid, "2.0.0", 65_537 * 16), Szx::S16);
        rig.quiet = false;
        rig.pair();
    };
}
