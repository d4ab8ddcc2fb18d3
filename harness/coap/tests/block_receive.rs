//! RFC 7959: the receiving machine, each quirk beside the right behaviour.

mod pair;

use std::{net::SocketAddr, time::Duration};

use fotaproof_coap::blockwise::*;
use fotaproof_wire::coap::{BlockValue, Szx};
use pair::ms;

fn block(text: &str) -> BlockValue {
    text.parse().unwrap()
}

fn port(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

struct Receiver(Block1Receive, Duration);

impl Receiver {
    fn new(config: ReceiveConfig) -> Self {
        Self(Block1Receive::new(config), Duration::ZERO)
    }

    fn with(quirks: ReceiveQuirks) -> Self {
        Self::new(ReceiveConfig {
            quirks,
            ..ReceiveConfig::default()
        })
    }

    fn step(&mut self, from: u16, block: BlockValue, payload_len: usize) -> ReceiveStep {
        let arrival = BlockArrival {
            from: port(from),
            request_tag: None,
            block,
            payload_len,
            size1: None,
        };
        self.0.on_block(self.1, &arrival)
    }

    /// A block with the payload it should have; the last one of 10 bytes.
    fn take(&mut self, text: &str) -> String {
        let value = block(text);
        self.take_len(text, if value.more { value.size() } else { 10 })
    }

    fn take_len(&mut self, text: &str, len: usize) -> String {
        show(self.step(1, block(text), len))
    }
}

fn show(step: ReceiveStep) -> String {
    let code = step.code().map_or_else(String::new, |code| code.to_string());
    let answer = step.answer().map_or_else(String::new, |answer| format!(" {answer}"));
    match step {
        ReceiveStep::Continue { offset, len, .. } => format!("{code}{answer} @{offset}+{len}"),
        ReceiveStep::Complete { offset, len, total, .. } => format!("done{answer} @{offset}+{len}={total}"),
        ReceiveStep::Gap { expected, .. } => format!("{code} due {expected}"),
        ReceiveStep::Silent => "silent".into(),
        _ => format!("{code}{answer}"),
    }
}

#[test]
fn a_body_of_three_blocks() {
    let mut receiver = Receiver::new(ReceiveConfig::default());
    assert_eq!(receiver.take("0/1/16"), "2.31 0/1/16 @0+16");
    assert_eq!(receiver.take("1/1/16"), "2.31 1/1/16 @16+16");
    assert_eq!(receiver.take("2/0/16"), "done 2/0/16 @32+10=42");
    assert_eq!(receiver.0.open_bodies(), 0);
    assert_eq!(
        receiver.take("2/0/16"),
        "4.08",
        "with a new message ID it belongs to no body"
    );
}

#[test]
fn one_block_alone_and_an_empty_last_block() {
    let mut receiver = Receiver::new(ReceiveConfig::default());
    assert_eq!(receiver.take_len("0/0/64", 64), "done 0/0/64 @0+64=64");
    assert_eq!(receiver.take("0/1/16"), "2.31 0/1/16 @0+16");
    assert_eq!(receiver.take_len("1/0/16", 0), "done 1/0/16 @16+0=16");
}

#[test]
fn gap_orphan_and_duplicate() {
    let mut receiver = Receiver::new(ReceiveConfig::default());
    assert_eq!(receiver.take("3/1/16"), "4.08");
    assert_eq!(receiver.take("39/0/16"), "4.08");
    receiver.take("0/1/16");
    receiver.take("1/1/16");
    assert_eq!(receiver.take("3/1/16"), "4.08 due 32");
    assert_eq!(receiver.take("1/1/16"), "2.31 1/1/16", "the block before, once more");
    assert_eq!(
        receiver.take("2/1/16"),
        "2.31 2/1/16 @32+16",
        "the right block still goes on"
    );
    assert_eq!(receiver.take("1/1/16"), "4.08 due 48");
}

#[test]
fn a_new_block_0_replaces_the_body() {
    let mut receiver = Receiver::new(ReceiveConfig::default());
    let ReceiveStep::Continue {
        body,
        start: BodyStart::New,
        ..
    } = receiver.step(1, block("0/1/16"), 16)
    else {
        panic!()
    };
    receiver.take("1/1/16");
    let step = receiver.step(1, block("0/1/32"), 32);
    assert!(matches!(step, ReceiveStep::Continue { start: BodyStart::Replaces(old), offset: 0, .. } if old == body));
    assert_eq!(receiver.take("1/1/32"), "2.31 1/1/32 @32+32");
}

#[test]
fn endpoints_and_request_tags_do_not_mix() {
    let mut receiver = Receiver::new(ReceiveConfig::default());
    receiver.take("0/1/16");
    assert_eq!(show(receiver.step(2, block("1/1/16"), 16)), "4.08");
    assert_eq!(
        show(receiver.step(2, block("0/1/16"), 16)),
        "5.03",
        "one body at a time"
    );
    assert_eq!(
        show(receiver.step(2, block("0/0/16"), 16)),
        "done 0/0/16 @0+16=16",
        "needs no room"
    );
    assert_eq!(receiver.take("1/1/16"), "2.31 1/1/16 @16+16");

    let mut two = Receiver::new(ReceiveConfig {
        max_bodies: 2,
        ..ReceiveConfig::default()
    });
    let tagged = |tag, text: &str| BlockArrival {
        from: port(1),
        request_tag: tag,
        block: block(text),
        payload_len: 16,
        size1: None,
    };
    two.0.on_block(ms(0), &tagged(Some(b"a"), "0/1/16"));
    two.0.on_block(ms(0), &tagged(None, "0/1/16"));
    assert_eq!(two.0.open_bodies(), 2);
    assert_eq!(
        show(two.0.on_block(ms(0), &tagged(Some(b"a"), "1/1/16"))),
        "2.31 1/1/16 @16+16"
    );
    assert_eq!(show(two.0.on_block(ms(0), &tagged(Some(b"b"), "0/1/16"))), "5.03");
}

#[test]
fn blocks_that_cannot_be() {
    let reserved = BlockValue::decode_bert(&[0x0f]).unwrap();
    for (value, len) in [
        (block("1/1/16"), 15),
        (block("1/1/16"), 17),
        (block("1/0/16"), 17),
        (reserved, 1024),
    ] {
        let mut receiver = Receiver::new(ReceiveConfig::default());
        receiver.take("0/1/16");
        let step = receiver.step(1, value, len);
        assert!(matches!(step, ReceiveStep::Bad { dropped: Some(_), .. }), "{step:?}");
        assert_eq!(receiver.0.open_bodies(), 0);
    }
}

#[test]
fn a_smaller_size_is_asked_for_or_insisted_on() {
    let config = ReceiveConfig {
        max_szx: Szx::S256,
        ..ReceiveConfig::default()
    };
    let mut receiver = Receiver::new(config.clone());
    assert_eq!(receiver.take("0/1/1024"), "2.31 0/1/256 @0+1024");
    assert_eq!(receiver.take("4/1/256"), "2.31 4/1/256 @1024+256");
    assert_eq!(receiver.take("5/1/64"), "4.08 due 1280");
    assert_eq!(receiver.take("20/1/64"), "2.31 20/1/64 @1280+64");

    let mut strict = Receiver::new(ReceiveConfig {
        refuse_larger: true,
        ..config
    });
    assert_eq!(strict.take("0/1/1024"), "4.13 0/1/256");
    assert_eq!(strict.take("0/1/256"), "2.31 0/1/256 @0+256");
}

#[test]
fn the_largest_body_just_fits() {
    let config = ReceiveConfig {
        max_body: Some(32),
        ..ReceiveConfig::default()
    };
    let mut receiver = Receiver::new(config);
    receiver.take("0/1/16");
    assert_eq!(receiver.take_len("1/0/16", 16), "done 1/0/16 @16+16=32");
    receiver.take("0/1/16");
    receiver.take("1/1/16");
    assert!(matches!(
        receiver.step(1, block("2/0/16"), 1),
        ReceiveStep::TooLarge {
            limit: Some(32),
            dropped: Some(_),
            ..
        }
    ));
    for (size1, refused) in [(32, false), (33, true), (u64::from(u32::MAX), true)] {
        let arrival = BlockArrival {
            from: port(1),
            request_tag: None,
            block: block("0/1/16"),
            payload_len: 16,
            size1: Some(size1),
        };
        let step = receiver.0.on_block(ms(0), &arrival);
        assert_eq!(matches!(step, ReceiveStep::TooLarge { limit: Some(32), .. }), refused);
    }
}

#[test]
fn an_unfinished_body_expires() {
    let mut receiver = Receiver::new(ReceiveConfig {
        expiry: ms(1000),
        ..ReceiveConfig::default()
    });
    receiver.take("0/1/16");
    assert_eq!(receiver.0.next_expiry(), Some(ms(1000)));
    receiver.1 = ms(999);
    assert_eq!(receiver.take("1/1/16"), "2.31 1/1/16 @16+16");
    assert_eq!(receiver.0.expire(ms(1998)), []);
    assert_eq!(receiver.0.expire(ms(1999)).len(), 1);
    receiver.1 = ms(1999);
    assert_eq!(receiver.take("2/1/16"), "4.08");
}

#[test]
fn an_abandoned_body_is_gone() {
    let mut receiver = Receiver::new(ReceiveConfig::default());
    let ReceiveStep::Continue { body, .. } = receiver.step(1, block("0/1/16"), 16) else {
        panic!()
    };
    receiver.0.abandon(body);
    assert_eq!(receiver.take("1/1/16"), "4.08");
    receiver.take("0/1/16");
    receiver.0.clear();
    assert_eq!(receiver.take("1/1/16"), "4.08");
}

#[test]
fn block_numbers_of_every_width() {
    for num in [255, 256, 4095, 4096, 65535, 65536, (1 << 20) - 2] {
        let text = |num| format!("{num}/1/16");
        // Lands on the number without the millions before it.
        let mut receiver = Receiver::with(ReceiveQuirks {
            orphan_accepted: true,
            ..ReceiveQuirks::default()
        });
        receiver.take(&text(num));
        *receiver.0.config_mut() = ReceiveConfig::default();
        let last = format!("{}/0/16", num + 1);
        assert_eq!(receiver.take(&last), format!("done {last} @16+10=26"));
    }
}

/// Each quirk changes the answer to the last of these blocks, and only that.
#[test]
fn quirks_of_the_receiver() {
    let good = ReceiveQuirks::default;
    let run = |quirks: ReceiveQuirks, blocks: &[(&str, usize)]| {
        let mut receiver = Receiver::new(ReceiveConfig {
            quirks,
            max_szx: Szx::S512,
            ..ReceiveConfig::default()
        });
        blocks
            .iter()
            .fold(String::new(), |_, (text, len)| receiver.take_len(text, *len))
    };
    type Row<'a> = (ReceiveQuirks, &'a [(&'a str, usize)], &'a str, &'a str);
    let rows: &[Row<'_>] = &[
        (
            ReceiveQuirks {
                gap_acknowledged: true,
                ..good()
            },
            &[("0/1/16", 16), ("2/1/16", 16)],
            "4.08 due 16",
            "2.31 2/1/16 @16+16",
        ),
        (
            ReceiveQuirks {
                orphan_accepted: true,
                ..good()
            },
            &[("39/0/16", 16)],
            "4.08",
            "done 39/0/16 @0+16=16",
        ),
        (
            ReceiveQuirks {
                offset_by_own_maximum: true,
                ..good()
            },
            &[("0/1/128", 128), ("1/1/128", 128)],
            "2.31 1/1/128 @128+128",
            "2.31 1/1/128 @512+128",
        ),
        (
            ReceiveQuirks {
                echo: NumberEcho::MinusOne,
                ..good()
            },
            &[("0/1/16", 16), ("1/1/16", 16)],
            "2.31 1/1/16 @16+16",
            "2.31 0/1/16 @16+16",
        ),
        (
            ReceiveQuirks {
                hint_larger: true,
                ..good()
            },
            &[("0/1/64", 64)],
            "2.31 0/1/64 @0+64",
            "2.31 0/1/1024 @0+64",
        ),
        (
            ReceiveQuirks {
                block0_appended: true,
                ..good()
            },
            &[("0/1/16", 16), ("0/1/16", 16)],
            "2.31 0/1/16 @0+16",
            "2.31 0/1/16 @16+16",
        ),
        (
            ReceiveQuirks {
                restart_is_duplicate: true,
                ..good()
            },
            &[("0/1/16", 16), ("0/1/16", 16)],
            "2.31 0/1/16 @0+16",
            "2.31 0/1/16",
        ),
        (
            ReceiveQuirks {
                unfinished_blocks_all: true,
                ..good()
            },
            &[("0/1/16", 16), ("0/1/16", 16)],
            "2.31 0/1/16 @0+16",
            "5.03",
        ),
        (
            ReceiveQuirks {
                short_block_accepted: true,
                ..good()
            },
            &[("0/1/16", 10), ("1/1/16", 16)],
            "4.08",
            "2.31 1/1/16 @10+16",
        ),
        (
            ReceiveQuirks {
                exact_multiple_waits: true,
                ..good()
            },
            &[("0/1/16", 16), ("1/0/16", 16)],
            "done 1/0/16 @16+16=32",
            "2.31 1/0/16 @16+16",
        ),
        (
            ReceiveQuirks {
                one_byte_tail_lost: true,
                ..good()
            },
            &[("0/1/16", 16), ("1/0/16", 1)],
            "done 1/0/16 @16+1=17",
            "done 1/0/16 @16+0=16",
        ),
        (
            ReceiveQuirks {
                last_block_padded: true,
                ..good()
            },
            &[("0/1/16", 16), ("1/0/16", 1)],
            "done 1/0/16 @16+1=17",
            "done 1/0/16 @16+16=32",
        ),
        (
            ReceiveQuirks {
                first_size_fixed: true,
                ..good()
            },
            &[("0/0/64", 64), ("0/1/16", 16)],
            "2.31 0/1/16 @0+16",
            "4.00",
        ),
        (
            ReceiveQuirks {
                smaller_refused: Some(128),
                ..good()
            },
            &[("0/1/64", 64)],
            "2.31 0/1/64 @0+64",
            "4.00",
        ),
        (
            ReceiveQuirks {
                larger_ignored: Some(1024),
                ..good()
            },
            &[("0/1/1024", 1024)],
            "2.31 0/1/512 @0+1024",
            "silent",
        ),
        (
            ReceiveQuirks {
                first_byte_only: true,
                ..good()
            },
            &[("16/1/16", 16)],
            "4.08",
            "done 0/0/32 @0+16=16",
        ),
    ];
    for (quirks, blocks, right, wrong) in rows {
        assert_eq!(&run(good(), blocks), right, "{quirks:?}");
        assert_eq!(&run(quirks.clone(), blocks), wrong, "{quirks:?}");
    }
}

#[test]
fn quirks_of_number_width_and_reserved_size() {
    for (bits, modulus, num) in [(8, 256, 256), (12, 4096, 4096), (16, 65536, 65536)] {
        let text = format!("{num}/1/16");
        let mut narrow = Receiver::with(ReceiveQuirks {
            number_bits: Some(bits),
            ..ReceiveQuirks::default()
        });
        assert_eq!(
            narrow.take(&text),
            "2.31 0/1/16 @0+16",
            "{bits} bits take block {num} for block 0"
        );
        let below = format!("{}/1/16", num - 1);
        assert_eq!(narrow.take(&below), "4.08 due 16");

        let echo = ReceiveQuirks {
            echo: NumberEcho::Modulo(modulus),
            orphan_accepted: true,
            ..ReceiveQuirks::default()
        };
        assert_eq!(Receiver::with(echo).take(&text), "2.31 0/1/16 @0+16");
    }
    let reserved = BlockValue::decode_bert(&[0x0f]).unwrap();
    let mut wide = Receiver::with(ReceiveQuirks {
        szx7_is_2048: true,
        ..ReceiveQuirks::default()
    });
    assert!(matches!(
        wide.step(1, reserved, 2048),
        ReceiveStep::Continue { len: 2048, .. }
    ));
    let mut mixed = Receiver::with(ReceiveQuirks {
        endpoints_mixed: true,
        ..ReceiveQuirks::default()
    });
    mixed.take("0/1/16");
    assert_eq!(show(mixed.step(2, block("1/1/16"), 16)), "2.31 1/1/16 @16+16");
}
