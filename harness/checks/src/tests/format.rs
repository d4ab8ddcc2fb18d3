//! message-format, mtu, register-sanity.

use crate::CheckConfig;
use crate::testing::*;
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Code, Type, option};

#[test]
fn a_marker_without_payload() {
    Stream::new()
        .sends_bytes(0, &[0x50, 0x45, 0, 1, 0xff, 1])
        .findings()
        .iter()
        .for_each(|finding| {
            // Only the unknown token is wrong with it.
            assert_eq!(finding.title, "a response has a token that nobody asked with");
        });
    Stream::new()
        .sends_bytes(0, &[0x50, 0x45, 0, 1, 0xff])
        .breaks("message-format", Grade::Must);
}

#[test]
fn an_etag_of_eight_bytes_and_of_nine() {
    let get = |length: usize| request(Code::GET, 1, &[1], "/fw").with_option(option::ETAG, vec![7; length]);
    Stream::new().sends(0, &get(8)).holds();
    Stream::new().sends(0, &get(9)).breaks("message-format", Grade::Must);
}

#[test]
fn an_unknown_critical_option_is_no_fault_of_the_sender() {
    Stream::new()
        .sends(0, &request(Code::GET, 1, &[1], "/fw").with_option(2049, []))
        .holds();
}

#[test]
fn malformed_stimuli_are_the_harness_s() {
    let mut stimulus = request(Code::GET, 7, &[1], "/5/0/3");
    stimulus.token_length = Some(9);
    Stream::new()
        .gets_planned(0, &stimulus)
        .sends(5, &empty(Type::Rst, 7))
        .holds();
}

#[test]
fn a_datagram_of_the_mtu_and_one_byte_more() {
    let config = || CheckConfig {
        mtu: Some(128),
        ..CheckConfig::default()
    };
    let get = |length: usize| {
        let message = request(Code::PUT, 1, &[1], "/dp");
        let rest = 128 - 28 - message.encode().len() - 1;
        message.payload(vec![0; rest + length])
    };
    Stream::with(config()).sends(0, &get(0)).holds();
    Stream::with(config()).sends(0, &get(1)).breaks("mtu", Grade::Should);
    Stream::new().sends(0, &get(1)).holds();
}

#[test]
fn registers() {
    Stream::new().sends(0, &register(1, &[1])).holds();
    let bare = |format: u8, version: &str, payload: &[u8]| {
        request(Code::POST, 1, &[1], "/rd")
            .format(format)
            .query(version)
            .payload(payload)
    };
    let list = b"</1/0>,</3/0>";
    // Without endpoint name: allowed since 1.1.
    Stream::new().sends(0, &bare(40, "lwm2m=1.1", list)).holds();
    Stream::new()
        .sends(0, &bare(40, "lwm2m=1.0", list))
        .breaks("register-sanity", Grade::Must);
    Stream::new()
        .sends(0, &bare(0, "lwm2m=1.1", list))
        .breaks("register-sanity", Grade::Must);
    Stream::new()
        .sends(0, &bare(40, "lt=60", list))
        .breaks("register-sanity", Grade::Must);
    Stream::new()
        .sends(0, &bare(40, "lwm2m=1.1", b"</0/0>,</1/0>"))
        .breaks("register-sanity", Grade::Must);
    Stream::new()
        .sends(0, &bare(40, "lwm2m=1.1", b"</01/0>,</1/0>"))
        .holds();
    Stream::new()
        .sends(0, &bare(40, "lwm2m=1.1", b"1/0"))
        .breaks("register-sanity", Grade::Must);
    // A first block of several is not the whole list.
    let first = bare(40, "lwm2m=1.1", b"</1/0>,</3/0>,</").block1("0/1/16");
    Stream::new().sends(0, &first).holds();
}
