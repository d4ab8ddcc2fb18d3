//! What a capture tells over address changes, and in bodies of several blocks.

use core::time::Duration;
use fotaproof_analyze::{CaptureReport, Options, analyze, synth};
use std::net::{Ipv4Addr, SocketAddrV4};

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5683);
const CON: u8 = 0;
const NON: u8 = 1;
const ACK: u8 = 2;
const GET: u8 = 1;
const POST: u8 = 2;
const CREATED: u8 = 0x41;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const CONTINUE: u8 = 0x5f;
/// 5.3.1 of the TLV format: application/vnd.oma.lwm2m+tlv, 11542.
const TLV: (u16, &[u8]) = (12, &[0x2d, 0x16]);

fn device(host: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, host), port)
}

/// A capture, a message a second.
struct Capture {
    bytes: Vec<u8>,
    seconds: u64,
}

impl Capture {
    fn new() -> Self {
        Self {
            bytes: synth::pcap_head(101),
            seconds: 0,
        }
    }

    fn send(&mut self, from: SocketAddrV4, to: SocketAddrV4, message: &[u8]) {
        let at = Duration::from_secs(self.seconds);
        synth::pcap_record(&mut self.bytes, at, &synth::udp(from, to, message));
        self.seconds += 1;
    }

    fn register(&mut self, from: SocketAddrV4) {
        let options: [(u16, &[u8]); 5] = [
            (11, b"rd"),
            (12, &[40]),
            (15, b"ep=meter"),
            (15, b"lt=300"),
            (15, b"lwm2m=1.1"),
        ];
        let register = synth::coap(CON, POST, 1, &[1], &options, b"</1/0>,</3/0>,</5/0>");
        self.send(from, SERVER, &register);
        let created = synth::coap(ACK, CREATED, 1, &[1], &[(8, b"rd"), (8, b"7")], b"");
        self.send(SERVER, from, &created);
    }

    fn judged(&self) -> CaptureReport {
        analyze("test", &self.bytes[..], Options::default())
    }
}

const STATE: [(u16, &[u8]); 3] = [(11, b"5"), (11, b"0"), (11, b"3")];

#[test]
fn a_device_behind_a_nat_that_changes_its_port_is_one_device() {
    let mut capture = Capture::new();
    let (first, second, third) = (device(1, 40_000), device(1, 40_001), device(2, 61_000));
    capture.register(first);
    // It is observed at the first port.
    let mut observe = vec![(6, &b""[..])];
    observe.extend(STATE);
    capture.send(SERVER, first, &synth::coap(CON, GET, 2, &[2], &observe, b""));
    capture.send(first, SERVER, &synth::coap(ACK, CONTENT, 2, &[2], &[(6, &[1])], b"0"));
    // The location tells who updates from the second port.
    let update = synth::coap(CON, POST, 3, &[3], &[(11, b"rd"), (11, b"7")], b"");
    capture.send(second, SERVER, &update);
    capture.send(SERVER, second, &synth::coap(ACK, CHANGED, 3, &[3], &[], b""));
    capture.send(SERVER, second, &synth::coap(CON, GET, 4, &[4], &STATE, b""));
    capture.send(second, SERVER, &synth::coap(ACK, CONTENT, 4, &[4], &[], b"1"));
    // The token tells who notifies from another address.
    capture.send(third, SERVER, &synth::coap(NON, CONTENT, 5, &[2], &[(6, &[2])], b"2"));
    let report = capture.judged();
    assert_eq!(report.devices.len(), 1, "{report:#?}");
    let one = &report.devices[0];
    assert_eq!((one.endpoint.as_str(), one.registrations.updates), ("meter", 1));
    let addresses: Vec<&str> = one.addresses.iter().map(|seen| seen.address.as_str()).collect();
    assert_eq!(
        addresses,
        ["198.51.100.1:40000", "198.51.100.1:40001", "198.51.100.2:61000"]
    );
    let states: Vec<_> = one.firmware.samples.iter().map(|sample| sample.state).collect();
    assert_eq!(states, [Some(0), Some(1), Some(2)]);
}

#[test]
fn another_device_on_the_old_address_is_another_device() {
    let mut capture = Capture::new();
    let shared = device(1, 40_000);
    capture.register(shared);
    let options: [(u16, &[u8]); 4] = [(11, b"rd"), (12, &[40]), (15, b"ep=other"), (15, b"lwm2m=1.1")];
    capture.send(shared, SERVER, &synth::coap(CON, POST, 9, &[9], &options, b"</5/0>"));
    let report = capture.judged();
    let names: Vec<&str> = report.devices.iter().map(|device| device.endpoint.as_str()).collect();
    assert_eq!(names, ["meter", "other"]);
}

/// State 2, Result 0 and a name that makes it longer than a block: the resources 3, 5 and 6 of `/5/0`.
fn object() -> Vec<u8> {
    let mut content = vec![0xc1, 3, 2, 0xc1, 5, 0, 0xc8, 6, 20];
    content.extend(b"a-firmware-of-a-kind");
    content
}

#[test]
fn a_read_in_several_blocks_is_decoded() {
    let mut capture = Capture::new();
    let at = device(1, 40_000);
    capture.register(at);
    let body = object();
    let path: [(u16, &[u8]); 2] = [(11, b"5"), (11, b"0")];
    capture.send(SERVER, at, &synth::coap(CON, GET, 2, &[2], &path, b""));
    let first = synth::coap(ACK, CONTENT, 2, &[2], &[TLV, (23, &[0x08])], &body[..16]);
    capture.send(at, SERVER, &first);
    // The answer to a copy adds nothing.
    capture.send(at, SERVER, &first);
    let mut more = path.to_vec();
    more.push((23, &[0x10]));
    capture.send(SERVER, at, &synth::coap(CON, GET, 3, &[3], &more, b""));
    let last = synth::coap(ACK, CONTENT, 3, &[3], &[TLV, (23, &[0x10])], &body[16..]);
    capture.send(at, SERVER, &last);
    let report = capture.judged();
    let samples = &report.devices[0].firmware.samples;
    assert_eq!(samples.len(), 1, "{samples:?}");
    assert_eq!((samples[0].state, samples[0].result), (Some(2), Some(0)));
    assert_eq!((samples[0].by.as_str(), samples[0].packet), ("read", 7));
}

#[test]
fn a_notification_whose_rest_is_fetched_is_decoded_and_one_with_another_etag_is_not() {
    for (etag, samples) in [(1, 1), (9, 0)] {
        let mut capture = Capture::new();
        let at = device(1, 40_000);
        capture.register(at);
        let body = object();
        let observe: [(u16, &[u8]); 3] = [(6, b""), (11, b"5"), (11, b"0")];
        capture.send(SERVER, at, &synth::coap(CON, GET, 2, &[2], &observe, b""));
        let none = synth::coap(ACK, CONTENT, 2, &[2], &[(6, &[1]), TLV], b"");
        capture.send(at, SERVER, &none);
        let notification = synth::coap(
            NON,
            CONTENT,
            77,
            &[2],
            &[(4, &[1]), (6, &[2]), TLV, (23, &[0x08])],
            &body[..16],
        );
        capture.send(at, SERVER, &notification);
        let rest: [(u16, &[u8]); 3] = [(11, b"5"), (11, b"0"), (23, &[0x10])];
        capture.send(SERVER, at, &synth::coap(CON, GET, 3, &[3], &rest, b""));
        let last = synth::coap(ACK, CONTENT, 3, &[3], &[(4, &[etag]), TLV, (23, &[0x10])], &body[16..]);
        capture.send(at, SERVER, &last);
        let report = capture.judged();
        let told = &report.devices[0].firmware.samples;
        assert_eq!(told.len(), samples, "{told:?}");
        if let Some(sample) = told.first() {
            assert_eq!((sample.by.as_str(), sample.state), ("notification", Some(2)));
        }
    }
}

#[test]
fn a_send_in_several_blocks_is_decoded() {
    let mut capture = Capture::new();
    let at = device(1, 40_000);
    capture.register(at);
    let senml = br#"[{"bn":"/5/0/","n":"3","v":3},{"n":"5","v":0}]"#;
    let blocks = senml.chunks(16);
    let last = blocks.len() as u8 - 1;
    for (number, piece) in (0u8..).zip(blocks) {
        let value = [number << 4 | u8::from(number < last) << 3];
        // application/senml+json
        let options: [(u16, &[u8]); 3] = [(11, b"dp"), (12, &[110]), (27, &value)];
        let id = 10 + u16::from(number);
        capture.send(at, SERVER, &synth::coap(CON, POST, id, &[4], &options, piece));
        let code = if number < last { CONTINUE } else { CHANGED };
        capture.send(SERVER, at, &synth::coap(ACK, code, id, &[4], &[(27, &value)], b""));
    }
    let report = capture.judged();
    let samples = &report.devices[0].firmware.samples;
    assert_eq!(samples.len(), 1, "{samples:?}");
    assert_eq!((samples[0].by.as_str(), samples[0].state), ("send", Some(3)));
}
