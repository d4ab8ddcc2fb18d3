//! Named links as data, each figure with its source. A figure without a document behind it says that it was chosen here, and why.

use core::time::Duration;

use crate::spec::{DirectionSpec, LinkSpec, Loss};

/// A named link.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its name, as in `--network nb-iot`.
    pub name: &'static str,
    /// What it stands for, one line.
    pub summary: &'static str,
    /// Where each figure comes from: figure, source.
    pub sources: &'static [(&'static str, &'static str)],
    /// The link.
    pub spec: LinkSpec,
}

/// The profile of this name.
pub fn profile(name: &str) -> Option<Profile> {
    profiles().into_iter().find(|profile| profile.name == name)
}

const CELLULAR_MTU: (&str, &str) = (
    "mtu 1358",
    "3GPP TS 23.060 Annex C: link MTU that keeps user packets unfragmented in the operator's tunnels",
);
const ORDERED: (&str, &str) = (
    "keep-order",
    "3GPP TS 36.322: acknowledged-mode RLC delivers in sequence",
);

/// All profiles.
pub fn profiles() -> Vec<Profile> {
    vec![
        Profile {
            name: "default",
            summary: "a plain IP path: 20 ms each way, nothing lost",
            sources: &[
                ("mtu 1280", "RFC 8200 section 5: the least every IPv6 link carries"),
                ("delay 20 ms", "chosen here: a wide-area path without trouble"),
            ],
            spec: LinkSpec::default(),
        },
        Profile {
            name: "ethernet",
            summary: "a lab bench: 100 Mbit/s, a millisecond or less",
            sources: &[
                ("mtu 1500", "RFC 894: IP over Ethernet"),
                ("rate 100 Mbit/s", "IEEE 802.3u 100BASE-TX"),
                ("delay 0.5 ms", "chosen here: one switch and a host's stack"),
            ],
            spec: both(
                1500,
                &DirectionSpec {
                    delay: Duration::from_micros(500),
                    rate_bps: Some(100_000_000),
                    ..DirectionSpec::default()
                },
            ),
        },
        Profile {
            name: "lte-m",
            summary: "LTE-M (category M1), half duplex, good coverage",
            sources: &[
                CELLULAR_MTU,
                (
                    "rate 300 kbit/s down, 375 kbit/s up",
                    "3GPP Release 13 category M1, peak of half-duplex operation (TS 36.306, TS 36.213 timing)",
                ),
                (
                    "delay 75 ms, jitter 50 ms",
                    "chosen here: a connected device with scheduling requests and a core network behind it",
                ),
                ORDERED,
            ],
            spec: updown(1358, &radio(75, 50), 300_000, 375_000),
        },
        Profile {
            name: "nb-iot",
            summary: "NB-IoT (category NB1), single tone, normal coverage",
            sources: &[
                CELLULAR_MTU,
                (
                    "rate 26 kbit/s down, 16 kbit/s up",
                    "3GPP Release 13 category NB1: one HARQ process gives about 26 kbit/s down, about 16.9 kbit/s up on one 15 kHz tone",
                ),
                (
                    "delay 800 ms, jitter 400 ms",
                    "catalogue case net.rate.nb-iot; chosen so that a round trip passes the least ACK_TIMEOUT of 2 s now and then (RFC 7252 section 4.8)",
                ),
                ORDERED,
            ],
            spec: updown(1358, &radio(800, 400), 26_000, 16_000),
        },
        Profile {
            name: "nb-iot-deep",
            summary: "NB-IoT at the edge (coverage enhancement level 2)",
            sources: &[
                CELLULAR_MTU,
                (
                    "rate 1 kbit/s",
                    "3GPP TR 45.820: at least 160 bit/s at 164 dB coupling loss; 1 kbit/s is what is left after some repetitions",
                ),
                (
                    "delay 4 s",
                    "3GPP TR 45.820: an exception report within 10 s at 164 dB coupling loss",
                ),
                ("loss 2 %", "chosen here: what is left when repetitions run out"),
                ORDERED,
            ],
            spec: updown(
                1358,
                &DirectionSpec {
                    loss: Loss::Bernoulli(0.02),
                    ..radio(4000, 0)
                },
                1_000,
                1_000,
            ),
        },
        Profile {
            name: "6lowpan",
            summary: "IEEE 802.15.4 with 127-byte frames, each frame's loss its own",
            sources: &[
                (
                    "mtu 127",
                    "IEEE 802.15.4 aMaxPhyPacketSize; the fragments of RFC 4944 section 5.3 are shown as IP fragments",
                ),
                ("rate 250 kbit/s", "IEEE 802.15.4 O-QPSK at 2.4 GHz"),
                ("delay 10 ms, jitter 8 ms", "chosen here: two hops of CSMA-CA backoff"),
                ("loss 1 %", "chosen here: what link-layer retries leave"),
            ],
            spec: both(
                127,
                &DirectionSpec {
                    loss: Loss::Bernoulli(0.01),
                    keep_order: true,
                    rate_bps: Some(250_000),
                    ..radio(10, 8)
                },
            ),
        },
        Profile {
            name: "nidd",
            summary: "CoAP without IP through the exposure function: small PDUs only",
            sources: &[
                (
                    "pdu 160",
                    "catalogue case net.nidd.pdu-limit; above the 128 octets of the smallest non-IP link MTU (3GPP TS 24.008)",
                ),
                ("rate and delay", "as nb-iot"),
                (
                    "binding N",
                    "LwM2M Transport 1.1 and later: non-IP binding over 3GPP CIoT",
                ),
            ],
            spec: LinkSpec {
                pdu_limit: Some(160),
                ..updown(1358, &radio(800, 400), 26_000, 16_000)
            },
        },
        Profile {
            name: "satellite",
            summary: "a geostationary hop",
            sources: &[
                (
                    "delay 270 ms",
                    "ITU-T G.114: about 260 ms one way over a geostationary satellite; 10 ms for the ground",
                ),
                (
                    "rate 128 kbit/s down, 64 kbit/s up",
                    "chosen here: a small terminal's share",
                ),
                ("loss 0.5 %, jitter 10 ms", "chosen here: fading after error correction"),
                ("mtu 1280", "RFC 8200 section 5"),
            ],
            spec: updown(
                1280,
                &DirectionSpec {
                    loss: Loss::Bernoulli(0.005),
                    ..radio(270, 10)
                },
                128_000,
                64_000,
            ),
        },
        Profile {
            name: "congested",
            summary: "a full bottleneck: long queue, drop-tail, losses in bursts",
            sources: &[
                (
                    "loss in bursts, mean 6 %",
                    "catalogue case net.loss.burst: to bad 0.02, to good 0.25, 0.8 in bad (Gilbert 1960, Elliott 1963)",
                ),
                (
                    "rate 256 kbit/s, queue 64 KiB",
                    "chosen here: a queue of two seconds, as seen with oversized buffers (RFC 7567 section 1)",
                ),
                ("delay 60 ms, jitter 40 ms", "chosen here"),
                ("mtu 1280", "RFC 8200 section 5"),
            ],
            spec: both(
                1280,
                &DirectionSpec {
                    loss: Loss::GilbertElliott {
                        to_bad: 0.02,
                        to_good: 0.25,
                        loss_bad: 0.8,
                        loss_good: 0.0,
                    },
                    rate_bps: Some(256_000),
                    queue_bytes: Some(65_536),
                    ..radio(60, 40)
                },
            ),
        },
        lossy("lossy-10", "the default link, each packet lost with 10 %", 0.10),
        lossy("lossy-30", "the default link, each packet lost with 30 %", 0.30),
    ]
}

fn lossy(name: &'static str, summary: &'static str, p: f64) -> Profile {
    let direction = DirectionSpec {
        loss: Loss::Bernoulli(p),
        ..LinkSpec::default().toward_iut
    };
    Profile {
        name,
        summary,
        sources: &[
            (
                "loss",
                "chosen here: at 10 % a message of RFC 7252 section 4.2 (5 sends) fails once in about 4000 exchanges, at 30 % once in 29",
            ),
            ("rest", "as default"),
        ],
        spec: both(1280, &direction),
    }
}

/// A radio bearer: in order, times in milliseconds.
fn radio(delay: u64, jitter: u64) -> DirectionSpec {
    DirectionSpec {
        delay: Duration::from_millis(delay),
        jitter: Duration::from_millis(jitter),
        keep_order: true,
        ..DirectionSpec::default()
    }
}

fn both(mtu: u16, direction: &DirectionSpec) -> LinkSpec {
    LinkSpec {
        mtu,
        toward_iut: direction.clone(),
        toward_server: direction.clone(),
        ..LinkSpec::default()
    }
}

fn updown(mtu: u16, direction: &DirectionSpec, down: u64, up: u64) -> LinkSpec {
    let at = |rate| DirectionSpec {
        rate_bps: Some(rate),
        ..direction.clone()
    };
    LinkSpec {
        toward_iut: at(down),
        toward_server: at(up),
        ..both(mtu, direction)
    }
}
