//! retransmission-timing.

use crate::testing::*;
use crate::{CheckConfig, Mode};
use fotaproof_trace::Grade;
use fotaproof_wire::coap::Code;

fn copies(times: &[u64]) -> Stream {
    copies_in(CheckConfig::default(), times)
}

fn copies_in(config: CheckConfig, times: &[u64]) -> Stream {
    let mut stream = Stream::with(config);
    for time in times {
        stream.sends(*time, &request(Code::POST, 1, &[1], "/dp"));
    }
    stream
}

#[test]
fn the_first_interval() {
    copies(&[0, 2_000]).holds();
    copies(&[0, 1_900]).holds();
    copies(&[0, 1_899]).breaks("retransmission-timing", Grade::Must);
    copies(&[0, 500]).breaks("retransmission-timing", Grade::Must);
    copies(&[0, 3_100]).holds();
    copies(&[0, 3_101]).breaks("retransmission-timing", Grade::Should);
}

#[test]
fn intervals_double() {
    copies(&[0, 2_000, 6_000, 14_000, 30_000]).holds();
    copies(&[0, 3_000, 9_000, 21_000, 45_000]).holds();
    copies(&[0, 2_500, 5_000]).breaks("retransmission-timing", Grade::Must);
    copies(&[0, 2_500, 7_801]).breaks("retransmission-timing", Grade::Should);
}

#[test]
fn four_retransmissions() {
    copies(&[0, 2_000, 6_000, 14_000, 30_000, 62_000]).breaks("retransmission-timing", Grade::Must);
}

#[test]
fn other_parameters() {
    let mut config = CheckConfig::default();
    config.timing.ack_timeout = core::time::Duration::from_secs(10);
    copies_in(config.clone(), &[0, 10_000, 30_000]).holds();
    copies_in(config, &[0, 2_500]).breaks("retransmission-timing", Grade::Must);
}

#[test]
fn a_capture_may_miss_packets_and_double_them() {
    let config = || CheckConfig {
        mode: Mode::Capture,
        ..CheckConfig::default()
    };
    copies_in(config(), &[0, 50, 9_000, 21_000]).holds();
    copies_in(config(), &[0, 500]).breaks("retransmission-timing", Grade::Advice);
}
