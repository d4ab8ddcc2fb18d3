//! Push: bodies in blocks, each Result, and the edges of the block-wise transfer.

use fotaproof_coap::{Request, Token};
use fotaproof_lwm2m::package::{self, PackageKind};
use fotaproof_lwm2m::{DeviceConfig, Version};
use fotaproof_wire::coap::{Code, Szx, build, content_format, option};

use crate::rig::{OTHER, Rig, block_request, build as build_package, code, config, package, request};

fn digest(rig: &Rig) -> String {
    rig.device
        .flash()
        .received
        .as_ref()
        .map(|record| record.sha256.clone())
        .unwrap_or_default()
}

#[test]
fn a_whole_update() {
    let mut rig = Rig::new(config());
    assert_eq!((rig.nul(), rig.pair()), ("2.04".to_owned(), "0/0".to_owned()));
    let body = package(PackageKind::Valid);
    assert_eq!(rig.push(&body, Szx::S512), "2.04");
    assert_eq!((rig.pair(), rig.get("/5/0/7")), ("2/0".to_owned(), "2.0.0".to_owned()));
    assert_eq!(digest(&rig), package::hex(&package::digest(&body)));
    let before = rig.address;
    assert_eq!(rig.execute("/5/0/2"), "2.04");
    assert_eq!(rig.pair(), "3/0");
    rig.seconds(10);
    assert_eq!((rig.pair(), rig.get("/3/0/3")), ("0/1".to_owned(), "2.0.0".to_owned()));
    assert_eq!(rig.registrations.len(), 2);
    assert_ne!(rig.address, before, "a new port");
    assert!(rig.device.flash().image().is_empty());

    let third = build_package(PackageKind::Valid, "3.0.0", 2000);
    assert_eq!(rig.push(&third, Szx::S256), "2.04");
    assert_eq!(rig.pair(), "2/0");
    assert_eq!(rig.execute("/5/0/2"), "2.04");
    rig.seconds(10);
    assert_eq!(rig.get("/3/0/3"), "3.0.0");
}

#[test]
fn every_block_size_and_the_single_datagram() {
    for szx in [
        Szx::S16,
        Szx::S32,
        Szx::S64,
        Szx::S128,
        Szx::S256,
        Szx::S512,
        Szx::S1024,
    ] {
        let mut rig = Rig::new(config());
        let body = package(PackageKind::Valid);
        assert_eq!(
            (rig.push(&body, szx), rig.pair()),
            ("2.04".to_owned(), "2/0".to_owned()),
            "{szx}"
        );
        assert_eq!(digest(&rig), package::hex(&package::digest(&body)), "{szx}");
    }
    let mut rig = Rig::new(config());
    let body = build_package(PackageKind::Valid, "2.0.0", 500);
    assert_eq!(rig.put("/5/0/0", content_format::OPAQUE, &body), "2.04");
    assert_eq!(rig.pair(), "2/0");
}

#[test]
fn each_kind_of_package_has_its_result() {
    let ends = |kind| match kind {
        PackageKind::Corrupt | PackageKind::Unsigned | PackageKind::Tampered => "0/5",
        PackageKind::WrongType | PackageKind::OtherModel | PackageKind::Older => "0/6",
        PackageKind::TooBig => "0/2",
        PackageKind::NoRam => "0/3",
        _ => "2/0",
    };
    for kind in PackageKind::ALL {
        let mut rig = Rig::new(config());
        assert_eq!(rig.push(&package(kind), Szx::S1024), "2.04", "{kind}");
        assert_eq!(rig.pair(), ends(kind), "{kind}");
        assert_eq!(rig.get("/3/0/3"), "1.0.0");
        if ends(kind) != "2/0" {
            assert!(rig.device.flash().image().is_empty(), "{kind}");
            assert_eq!(rig.push(&package(PackageKind::Valid), Szx::S1024), "2.04");
            assert_eq!(rig.pair(), "2/0", "after {kind}");
        }
    }
}

#[test]
fn an_unlocked_device_takes_unsigned_and_older_packages() {
    for kind in [PackageKind::Unsigned, PackageKind::Older] {
        let mut rig = Rig::new(DeviceConfig {
            signed_only: false,
            anti_rollback: false,
            ..config()
        });
        rig.push(&package(kind), Szx::S1024);
        assert_eq!(rig.pair(), "2/0", "{kind}");
    }
}

#[test]
fn installations_that_fail() {
    for (kind, object5, ends) in [
        (PackageKind::FailInstall, Version::V1_0, "2/8"),
        (PackageKind::FailInstall, Version::V1_2, "2/8"),
        (PackageKind::FailBoot, Version::V1_0, "2/8"),
        (PackageKind::BadAtInstall, Version::V1_2, "0/5"),
    ] {
        let mut rig = Rig::new(DeviceConfig { object5, ..config() });
        rig.push(&package(kind), Szx::S1024);
        assert_eq!(rig.execute("/5/0/2"), "2.04");
        assert_eq!(rig.pair(), "3/0");
        rig.seconds(10);
        assert_eq!(
            (rig.pair().as_str(), rig.get("/3/0/3").as_str()),
            (ends, "1.0.0"),
            "{kind}"
        );
        assert_eq!(
            rig.registrations.len(),
            if kind == PackageKind::FailBoot { 2 } else { 1 }
        );
        if ends == "2/8" {
            assert_eq!(rig.execute("/5/0/2"), "2.04");
            assert_eq!(rig.pair(), "3/0");
            rig.seconds(10);
            assert_eq!(rig.pair(), "2/8");
            assert_eq!((rig.nul(), rig.pair()), ("2.04".to_owned(), "0/0".to_owned()));
        }
    }
}

#[test]
fn gaps_orphans_and_duplicates() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    assert_eq!(rig.block(&body, 7, Szx::S512), "4.08", "no body is open");
    assert_eq!(rig.block(&body, 3, Szx::S512), "4.08");
    for num in 0..=4 {
        assert_eq!(rig.block(&body, num, Szx::S512), "2.31");
    }
    assert_eq!(rig.block(&body, 6, Szx::S512), "4.08");
    assert_eq!(
        rig.block(&body, 4, Szx::S512),
        "2.31",
        "once more with a new message ID"
    );
    assert_eq!(rig.block(&body, 5, Szx::S512), "2.31");
    assert_eq!(rig.pair(), "1/0");
    assert_eq!(rig.block(&body, 6, Szx::S512), "2.31");
    assert_eq!(rig.block(&body, 7, Szx::S512), "2.04");
    assert_eq!(rig.pair(), "2/0");
}

#[test]
fn a_new_block_0_begins_anew() {
    let mut rig = Rig::new(config());
    let first = package(PackageKind::Valid);
    let second = build_package(PackageKind::Valid, "2.5.0", 5000);
    for num in 0..3 {
        rig.block(&first, num, Szx::S512);
    }
    assert_eq!(rig.push(&second, Szx::S512), "2.04");
    assert_eq!(
        (rig.pair(), digest(&rig)),
        ("2/0".to_owned(), package::hex(&package::digest(&second)))
    );
}

#[test]
fn a_smaller_size_in_mid_body_keeps_the_offset() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    for num in 0..4 {
        rig.block(&body, num, Szx::S512);
    }
    for num in 16..31 {
        assert_eq!(rig.block(&body, num, Szx::S128), "2.31");
    }
    assert_eq!(rig.block(&body, 31, Szx::S128), "2.04");
    assert_eq!(rig.pair(), "2/0");
}

#[test]
fn a_lost_last_acknowledgement_changes_nothing() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    let mut once = true;
    rig.lose =
        Box::new(move |toward_device, text| !toward_device && text.contains("B1 7/0/512") && std::mem::take(&mut once));
    assert_eq!(rig.push(&body, Szx::S512), "2.04");
    assert_eq!(rig.pair(), "2/0");
}

#[test]
fn silence_ends_a_push_with_connection_lost() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    for num in 0..3 {
        rig.block(&body, num, Szx::S512);
    }
    rig.seconds(190);
    assert_eq!(rig.pair(), "1/0");
    rig.seconds(20);
    assert_eq!(rig.pair(), "0/4");
    assert_eq!(rig.block(&body, 3, Szx::S512), "4.08");
    assert_eq!(
        (rig.push(&body, Szx::S512), rig.pair()),
        ("2.04".to_owned(), "2/0".to_owned())
    );
}

#[test]
fn nobody_but_the_server_is_obeyed() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    for num in 0..3 {
        rig.block(&body, num, Szx::S512);
    }
    let answer = rig
        .ask_from(OTHER, Request::confirmable(block_request(&body, 3, Szx::S512)))
        .unwrap();
    assert_eq!(Code::from(answer.header.code), Code::UNAUTHORIZED);
    for num in 3..8 {
        rig.block(&body, num, Szx::S512);
    }
    assert_eq!(rig.pair(), "2/0");
}

#[test]
fn size1_beyond_the_flash_is_too_large() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    let mut first = block_request(&body, 0, Szx::S512);
    build::set_size1(&mut first, u32::MAX);
    let answer = rig.ask(first).unwrap();
    assert_eq!(Code::from(answer.header.code), Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(build::get_uint(&answer, option::SIZE1), Some(1 << 30));
    assert_eq!(rig.pair(), "0/2");
    let mut first = block_request(&body, 0, Szx::S512);
    build::set_size1(&mut first, 4096);
    assert_eq!(rig.code_of(first), "2.31");
}

#[test]
fn bytes_are_not_mistaken_for_a_reset() {
    let mut rig = Rig::new(config());
    assert_eq!(
        (rig.push(&package(PackageKind::Binary), Szx::S512), rig.pair()),
        ("2.04".to_owned(), "2/0".to_owned())
    );
    let mut rig = Rig::new(config());
    assert_eq!(
        (rig.put("/5/0/0", content_format::OPAQUE, b"A"), rig.pair()),
        ("2.04".to_owned(), "0/6".to_owned())
    );
    assert_eq!(
        (rig.put("/5/0/0", content_format::OPAQUE, b""), rig.pair()),
        ("4.00".to_owned(), "0/6".to_owned())
    );
}

#[test]
fn malformed_blocks() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    rig.block(&body, 0, Szx::S512);
    let mut short = block_request(&body, 1, Szx::S512);
    short.payload.truncate(100);
    assert_eq!((rig.code_of(short), rig.pair()), ("4.00".to_owned(), "0/4".to_owned()));
    let mut reserved = block_request(&body, 0, Szx::S512);
    build::set_option(&mut reserved, option::BLOCK1, vec![0x0f]);
    assert!(rig.code_of(reserved).starts_with("4.0"));
    let mut long = block_request(&body, 0, Szx::S512);
    build::set_option(&mut long, option::BLOCK1, vec![0, 0, 0, 0x0d]);
    assert!(rig.code_of(long).starts_with("4.0"), "four bytes");
    let mut twice = block_request(&body, 0, Szx::S512);
    build::add_option(&mut twice, option::BLOCK1, vec![0x0d]);
    assert!(rig.code_of(twice).starts_with("4.0"), "two options");
    assert_eq!(rig.pair(), "0/4");
    assert_eq!(
        (rig.push(&body, Szx::S512), rig.pair()),
        ("2.04".to_owned(), "2/0".to_owned())
    );
}

#[test]
fn formats_of_a_package() {
    let body = build_package(PackageKind::Valid, "2.0.0", 700);
    let path = "/5/0/0".parse().unwrap();
    let values = [(path, fotaproof_wire::Value::Opaque(body.clone()))];
    for format in [
        content_format::TEXT,
        content_format::TLV,
        content_format::SENML_JSON,
        content_format::SENML_CBOR,
        content_format::CBOR,
    ] {
        let mut rig = Rig::new(config());
        let payload = fotaproof_wire::content::encode(format, &path, &values).unwrap();
        for num in 0..payload.len().div_ceil(512) as u32 {
            let mut packet = block_request(&payload, num, Szx::S512);
            build::set_content_format(&mut packet, format);
            rig.code_of(packet);
        }
        assert_eq!(rig.pair(), "2/0", "{format}");
    }
    let mut rig = Rig::new(config());
    assert_eq!(rig.put("/5/0/0", content_format::TEXT, b"not base64!"), "4.00");
    assert_eq!(rig.put("/5/0/0", 65000, &body), "4.15");
    assert_eq!(rig.pair(), "0/0");
    let mut packet = request("0.03", "/5/0/0");
    packet.payload.clone_from(&body);
    assert_eq!(
        (rig.code_of(packet), rig.pair()),
        ("2.04".to_owned(), "2/0".to_owned()),
        "no Content-Format"
    );
}

#[test]
fn post_writes_and_a_bare_post_does_not() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    for num in 0..8 {
        let mut packet = block_request(&body, num, Szx::S512);
        packet.header.code = Code::POST.into();
        rig.code_of(packet);
    }
    assert_eq!(rig.pair(), "2/0");
    assert_eq!(rig.execute("/5/0/0"), "4.05");
}

#[test]
fn a_slow_flash_answers_separately_and_once() {
    let mut rig = Rig::new(config());
    let body = build_package(
        PackageKind::SlowFlash {
            erase: 5000,
            write: 1800,
            tenth: 6000,
        },
        "2.0.0",
        8192,
    );
    assert_eq!(
        (rig.push(&body, Szx::S512), rig.pair()),
        ("2.04".to_owned(), "2/0".to_owned())
    );
    assert!(rig.now.as_secs() > 5 + 15 * 2 + 4, "{:?}", rig.now);
}

#[test]
fn the_token_of_each_block_comes_back() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    for (num, token) in (0..8).zip([&b""[..], b"12345678"].into_iter().cycle()) {
        let request = Request::confirmable(block_request(&body, num, Szx::S512)).with_token(Token::new(token).unwrap());
        let answer = rig.ask_from(crate::rig::SERVER, request).unwrap();
        assert_eq!(answer.get_token(), token);
    }
    assert_eq!(code("2.31").header.code, Code::CONTINUE.into());
}
