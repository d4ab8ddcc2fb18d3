//! Pull over CoAP: from a file server of its own and from the server, with everything that may go wrong on the way.

use fotaproof_lwm2m::DeviceConfig;
use fotaproof_lwm2m::package::PackageKind;
use fotaproof_wire::coap::{BlockValue, Szx, build, option};

use crate::rig::{FILES, Rig, SERVER, code, config, package};

const URI: &str = "coap://192.0.2.20/fw/v2.bin";

fn pulled(rig: &mut Rig) -> String {
    assert_eq!(rig.uri(URI), "2.04");
    rig.seconds(30);
    rig.pair()
}

#[test]
fn a_whole_update() {
    let mut rig = Rig::new(config());
    rig.serve_body(FILES, package(PackageKind::Valid));
    assert_eq!((rig.uri(""), rig.pair()), ("2.04".to_owned(), "0/0".to_owned()));
    assert_eq!(pulled(&mut rig), "2/0");
    assert_eq!((rig.gets(FILES), rig.get("/5/0/1")), (8, URI.to_owned()));
    assert_eq!(rig.execute("/5/0/2"), "2.04");
    rig.seconds(10);
    assert_eq!((rig.pair(), rig.get("/3/0/3")), ("0/1".to_owned(), "2.0.0".to_owned()));
}

#[test]
fn from_the_server_itself() {
    let mut rig = Rig::new(config());
    rig.serve_body(SERVER, package(PackageKind::Valid));
    assert_eq!(rig.uri("coap://192.0.2.10:5683/fw"), "2.04");
    rig.seconds(5);
    assert_eq!((rig.pair(), rig.gets(SERVER)), ("2/0".to_owned(), 8));
}

#[test]
fn the_uri_becomes_options() {
    let mut rig = Rig::new(DeviceConfig {
        hosts: [("files.example".to_owned(), FILES.parse().unwrap())].into(),
        ..config()
    });
    let body = package(PackageKind::Valid);
    rig.serve(FILES, move |serving| {
        assert_eq!(build::query(serving.packet), ["v=2", "k=a&b"]);
        let path: Vec<_> = serving
            .packet
            .get_option(coap_lite::CoapOption::UriPath)
            .unwrap()
            .iter()
            .cloned()
            .collect();
        assert_eq!(path, [b"a b".to_vec(), b"c/d".to_vec()]);
        assert_eq!(
            build::get_option(serving.packet, option::URI_HOST),
            Some(b"files.example".as_slice())
        );
        Some(serving.answer(&body, Szx::S1024, None))
    });
    assert_eq!(rig.uri("coap://files.example/a%20b/c%2Fd?v=2&k=a%26b"), "2.04");
    rig.seconds(5);
    assert_eq!(rig.pair(), "2/0");
}

#[test]
fn uris_that_lead_nowhere() {
    for (uri, ends) in [
        ("http://", "0/7"),
        ("coap://:99999/x", "0/7"),
        ("nonsense", "0/7"),
        ("coap://unknown.example/fw", "0/7"),
        ("gopher://192.0.2.20/fw", "0/9"),
        ("http://192.0.2.20/fw", "0/9"),
        ("coaps://192.0.2.20/fw", "0/9"),
    ] {
        let mut rig = Rig::new(config());
        assert_eq!((rig.uri(uri).as_str(), rig.pair().as_str()), ("2.04", ends), "{uri}");
        rig.seconds(10);
        assert_eq!((rig.gets(FILES), rig.pair().as_str()), (0, ends), "{uri}");
    }
    let mut rig = Rig::new(config());
    let long = format!("{URI}?{}", "q".repeat(255 - URI.len() - 1));
    assert_eq!(
        (rig.uri(&format!("{long}q")), rig.pair()),
        ("4.00".to_owned(), "0/0".to_owned())
    );
    rig.serve_body(FILES, package(PackageKind::Valid));
    assert_eq!(rig.uri(&long), "2.04");
    rig.seconds(5);
    assert_eq!(rig.pair(), "2/0");
}

#[test]
fn a_smaller_size_early_and_late() {
    for from in [0, 4] {
        let mut rig = Rig::new(config());
        let body = package(PackageKind::Valid);
        rig.serve(FILES, move |serving| {
            let largest = if serving.count >= from { Szx::S64 } else { Szx::S512 };
            Some(serving.answer(&body, largest, None))
        });
        assert_eq!(pulled(&mut rig), "2/0", "from {from}");
        assert_eq!(rig.gets(FILES), from + (4096 - from * 512) / 64);
    }
}

#[test]
fn errors_of_the_file_server() {
    for (answer, ends) in [("4.04", "0/7"), ("5.00", "0/4"), ("2.03", "0/4")] {
        let mut rig = Rig::new(config());
        rig.serve(FILES, move |_| Some(code(answer)));
        assert_eq!(pulled(&mut rig), ends, "{answer}");
    }
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    rig.serve(FILES, move |serving| {
        let mut busy = code("5.03");
        build::set_uint(&mut busy, option::MAX_AGE, 5);
        Some(if serving.count == 3 {
            busy
        } else {
            serving.answer(&body, Szx::S1024, None)
        })
    });
    assert_eq!(rig.uri(URI), "2.04");
    rig.seconds(4);
    assert_eq!(rig.pair(), "1/0");
    rig.seconds(4);
    assert_eq!((rig.pair(), rig.gets(FILES)), ("2/0".to_owned(), 9));
}

#[test]
fn silence_is_connection_lost_after_five_sends() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    rig.serve(FILES, move |serving| {
        (serving.num() < 4).then(|| serving.answer(&body, Szx::S1024, None))
    });
    assert_eq!(rig.uri(URI), "2.04");
    rig.seconds(60);
    assert_eq!(rig.pair(), "1/0");
    rig.seconds(40);
    assert_eq!(rig.pair(), "0/4");
    let sends = rig
        .log
        .iter()
        .filter(|line| line.contains("GET") && line.contains("B2 4/0/512"))
        .count();
    assert_eq!(sends, 5);
}

#[test]
fn another_file_under_the_same_name() {
    let mut rig = Rig::new(config());
    let (first, second) = (
        package(PackageKind::Valid),
        crate::rig::build(PackageKind::Valid, "2.1.0", 4096),
    );
    rig.serve(FILES, move |serving| {
        let changed = serving.count >= 5;
        Some(serving.answer(
            if changed { &second } else { &first },
            Szx::S1024,
            Some(if changed { b"b2" } else { b"a1" }),
        ))
    });
    assert_eq!(
        (pulled(&mut rig), rig.get("/5/0/7")),
        ("2/0".to_owned(), "2.1.0".to_owned())
    );
}

#[test]
fn a_wrong_block_is_not_taken() {
    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    rig.serve(FILES, move |serving| {
        if serving.count == 5 {
            serving.block = BlockValue::new(3, false, Szx::S512);
        }
        Some(serving.answer(&body, Szx::S1024, None))
    });
    assert_eq!((pulled(&mut rig), rig.gets(FILES)), ("2/0".to_owned(), 9));

    let mut rig = Rig::new(config());
    let body = package(PackageKind::Valid);
    rig.serve(FILES, move |serving| {
        serving.block = BlockValue::new(0, false, Szx::S512);
        Some(serving.answer(&body, Szx::S1024, None))
    });
    assert_eq!(pulled(&mut rig), "0/4");
    assert!(rig.gets(FILES) <= 10, "{}", rig.gets(FILES));
}

#[test]
fn separate_responses_in_either_order() {
    for ack_first in [true, false] {
        let mut rig = Rig::new(config());
        rig.separate = Some(ack_first);
        rig.serve_body(FILES, package(PackageKind::Valid));
        assert_eq!((pulled(&mut rig), rig.gets(FILES)), ("2/0".to_owned(), 8));
        assert!(rig.log.iter().filter(|line| line.contains("CON 2.05")).count() >= 8);
    }
}

#[test]
fn a_small_file_without_block2() {
    let mut rig = Rig::new(config());
    let body = crate::rig::build(PackageKind::Valid, "2.0.0", 500);
    rig.serve(FILES, move |serving| {
        serving.block = None;
        Some(serving.answer(&body, Szx::S1024, None))
    });
    assert_eq!((pulled(&mut rig), rig.gets(FILES)), ("2/0".to_owned(), 1));
}

#[test]
fn each_result_of_a_package() {
    for (kind, ends) in [
        (PackageKind::TooBig, "0/2"),
        (PackageKind::NoRam, "0/3"),
        (PackageKind::Corrupt, "0/5"),
        (PackageKind::WrongType, "0/6"),
        (PackageKind::Unsigned, "0/5"),
    ] {
        let mut rig = Rig::new(config());
        rig.serve_body(FILES, package(kind));
        assert_eq!(pulled(&mut rig), ends, "{kind}");
        if kind != PackageKind::Corrupt {
            assert!(rig.gets(FILES) <= 2, "{kind}: the header says enough");
        }
        rig.serve_body(FILES, package(PackageKind::Valid));
        assert_eq!(pulled(&mut rig), "2/0");
    }
}

#[test]
fn reads_and_updates_go_on_meanwhile() {
    let mut rig = Rig::new(DeviceConfig {
        lifetime: 60,
        ..config()
    });
    rig.serve_body(SERVER, package(PackageKind::Valid));
    rig.hold_from = Some(3);
    assert_eq!(rig.uri("coap://192.0.2.10/fw"), "2.04");
    for _ in 0..10 {
        rig.seconds(5);
        assert_eq!(rig.pair(), "1/0");
    }
    rig.release();
    rig.seconds(2);
    assert_eq!(rig.pair(), "2/0");
    assert_eq!((rig.registrations.len(), rig.updates), (1, 1));
}

#[test]
fn a_large_block_that_does_not_get_through_is_asked_for_smaller() {
    let mut rig = Rig::new(DeviceConfig {
        pull_block: Szx::S1024,
        ..config()
    });
    rig.serve_body(FILES, package(PackageKind::Valid));
    rig.lose = Box::new(|toward_device, text| toward_device && text.contains("/1024"));
    assert_eq!(pulled(&mut rig), "2/0");
}

#[test]
fn loss_of_every_third_packet() {
    let mut rig = Rig::new(config());
    rig.serve_body(FILES, package(PackageKind::Valid));
    let mut count = 0;
    rig.lose = Box::new(move |_, _| {
        count += 1;
        count % 3 == 0
    });
    assert_eq!(rig.uri(URI), "2.04");
    rig.seconds(300);
    assert_eq!(rig.device.flash().firmware.to_string(), "2/0");
}
