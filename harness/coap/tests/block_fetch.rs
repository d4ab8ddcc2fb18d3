//! RFC 7959: the fetching machine, each quirk beside the right behaviour.

use fotaproof_coap::blockwise::*;
use fotaproof_wire::coap::{BlockValue, Code, Szx};

fn block(text: &str) -> BlockValue {
    text.parse().unwrap()
}

struct Fetcher(Block2Fetch);

impl Fetcher {
    fn new(config: FetchConfig) -> Self {
        Self(Block2Fetch::new(config))
    }

    fn with(quirks: FetchQuirks, early: Option<Szx>) -> Self {
        Self::new(FetchConfig {
            quirks,
            early,
            ..FetchConfig::default()
        })
    }

    fn asks(&self) -> String {
        match self.0.next_request() {
            Some(FetchRequest {
                block2: Some(block), ..
            }) => block.to_string(),
            Some(_) => "plain".into(),
            None => "over".into(),
        }
    }

    fn respond(&mut self, code: Code, block2: &str, etag: Option<&[u8]>, payload_len: usize) -> FetchStep {
        let block2 = block2.parse().ok();
        self.0.on_response(&FetchResponse {
            code,
            block2,
            etag,
            payload_len,
            size2: None,
        })
    }

    /// A good block, full unless it is the last with 10 bytes; then what is asked next.
    fn take(&mut self, text: &str) -> String {
        let len = if block(text).more { block(text).size() } else { 10 };
        let step = self.respond(Code::CONTENT, text, None, len);
        let step = match step {
            FetchStep::Store { offset, len, done } => format!("@{offset}+{len}{}", if done { " done" } else { "" }),
            FetchStep::Failed(_) => "failed".into(),
            FetchStep::Again => "again".into(),
            FetchStep::Restart => "restart".into(),
            FetchStep::Ignore => "ignore".into(),
        };
        format!("{step}, {}", self.asks())
    }
}

#[test]
fn early_and_late_negotiation() {
    let mut late = Fetcher::new(FetchConfig::default());
    assert_eq!(late.asks(), "plain");
    assert_eq!(late.take("0/1/512"), "@0+512, 1/0/512");
    assert_eq!(late.take("1/0/512"), "@512+10 done, over");
    assert_eq!(late.take("2/0/512"), "ignore, over");

    let mut early = Fetcher::with(FetchQuirks::default(), Some(Szx::S256));
    assert_eq!(early.asks(), "0/0/256");
    assert_eq!(early.take("0/1/64"), "@0+64, 1/0/64", "the server may choose smaller");

    let mut smaller = Fetcher::new(FetchConfig {
        max_szx: Szx::S256,
        ..FetchConfig::default()
    });
    assert_eq!(
        smaller.take("0/1/1024"),
        "@0+1024, 4/0/256",
        "the same offset in blocks of 256"
    );
}

#[test]
fn a_size_reduced_midway_renumbers() {
    let mut fetch = Fetcher::with(FetchQuirks::default(), Some(Szx::S512));
    for num in 0..4 {
        fetch.take(&format!("{num}/1/512"));
    }
    assert_eq!(fetch.asks(), "4/0/512");
    assert_eq!(fetch.take("16/1/128"), "@2048+128, 17/0/128");
    fetch.0.reduce(Szx::S64);
    assert_eq!(fetch.asks(), "34/0/64");
    fetch.0.reduce(Szx::S1024);
    assert_eq!(fetch.asks(), "34/0/64", "it never grows");
}

#[test]
fn a_plain_response_is_the_whole_body() {
    let mut fetch = Fetcher::new(FetchConfig::default());
    assert_eq!(
        fetch.respond(Code::CONTENT, "", None, 200),
        FetchStep::Store {
            offset: 0,
            len: 200,
            done: true
        }
    );
    let mut later = Fetcher::new(FetchConfig {
        max_same: 0,
        ..FetchConfig::default()
    });
    later.take("0/1/512");
    assert!(matches!(
        later.respond(Code::CONTENT, "", None, 200),
        FetchStep::Failed(FetchFailure::WrongBlock { .. })
    ));
}

#[test]
fn a_wrong_block_is_asked_for_again_a_few_times() {
    let mut fetch = Fetcher::new(FetchConfig::default());
    fetch.take("0/1/16");
    fetch.take("1/1/16");
    for _ in 0..3 {
        assert_eq!(fetch.take("1/1/16"), "again, 2/0/16");
    }
    assert_eq!(
        fetch.respond(Code::CONTENT, "1/1/16", None, 16),
        FetchStep::Failed(FetchFailure::WrongBlock { expected: 32, got: 16 })
    );
    let mut recovers = Fetcher::new(FetchConfig::default());
    recovers.take("0/1/16");
    recovers.take("0/1/16");
    assert_eq!(recovers.take("1/1/16"), "@16+16, 2/0/16");
}

#[test]
fn another_etag_begins_again_and_none_says_nothing() {
    let mut fetch = Fetcher::new(FetchConfig {
        max_restarts: 1,
        ..FetchConfig::default()
    });
    fetch.respond(Code::CONTENT, "0/1/16", Some(b"a1"), 16);
    assert_eq!(fetch.0.etag(), Some(&b"a1"[..]));
    assert!(matches!(
        fetch.respond(Code::CONTENT, "1/1/16", None, 16),
        FetchStep::Store { .. }
    ));
    assert_eq!(
        fetch.respond(Code::CONTENT, "2/1/16", Some(b"b2"), 16),
        FetchStep::Restart
    );
    assert_eq!((fetch.asks().as_str(), fetch.0.received()), ("0/0/16", 0));
    fetch.respond(Code::CONTENT, "0/1/16", Some(b"b2"), 16);
    assert_eq!(
        fetch.respond(Code::CONTENT, "1/1/16", Some(b"c3"), 16),
        FetchStep::Failed(FetchFailure::KeepsChanging)
    );
}

#[test]
fn resuming_goes_on_from_a_whole_block_of_the_same_body() {
    let resume = |offset, quirks| {
        let config = FetchConfig {
            quirks,
            ..FetchConfig::default()
        };
        Fetcher(Block2Fetch::resume(config, offset, Szx::S512, Some(b"a1")))
    };
    assert_eq!(resume(10240, FetchQuirks::default()).asks(), "20/0/512");
    assert_eq!(resume(10751, FetchQuirks::default()).asks(), "20/0/512");
    assert_eq!(resume(0, FetchQuirks::default()).asks(), "plain");
    assert_eq!(
        resume(
            10240,
            FetchQuirks {
                resume_too_far: true,
                ..FetchQuirks::default()
            }
        )
        .asks(),
        "21/0/512"
    );
    let mut changed = resume(10240, FetchQuirks::default());
    assert_eq!(
        changed.respond(Code::CONTENT, "20/1/512", Some(b"b2"), 512),
        FetchStep::Restart
    );
}

#[test]
fn errors_bad_blocks_and_limits_end_it() {
    let mut missing = Fetcher::new(FetchConfig::default());
    assert_eq!(
        missing.respond(Code::NOT_FOUND, "", None, 4),
        FetchStep::Failed(FetchFailure::Code(Code::NOT_FOUND))
    );
    for (text, len) in [("0/1/16", 15), ("0/1/16", 17), ("0/0/16", 17)] {
        let step = Fetcher::new(FetchConfig::default()).respond(Code::CONTENT, text, None, len);
        assert!(
            matches!(step, FetchStep::Failed(FetchFailure::BadBlock { .. })),
            "{text} {len}"
        );
    }
    for (len, fits) in [(16, true), (17, false)] {
        let mut limited = Fetcher::new(FetchConfig {
            max_body: Some(16),
            ..FetchConfig::default()
        });
        let step = limited.respond(Code::CONTENT, "", None, len);
        assert_eq!(matches!(step, FetchStep::Store { .. }), fits);
    }
    let mut told = Block2Fetch::new(FetchConfig {
        max_body: Some(1000),
        ask_size: true,
        ..FetchConfig::default()
    });
    assert!(told.next_request().unwrap().ask_size);
    let response = FetchResponse {
        code: Code::CONTENT,
        block2: Some(block("0/1/16")),
        etag: None,
        payload_len: 16,
        size2: Some(1001),
    };
    assert_eq!(
        told.on_response(&response),
        FetchStep::Failed(FetchFailure::TooLarge { limit: 1000 })
    );
    assert_eq!(told.total(), Some(1001));
}

#[test]
fn numbers_of_every_width_and_the_last_one() {
    for num in [4095_u32, 4096, 65535, 65536, (1 << 20) - 1] {
        let mut fetch = Fetcher(Block2Fetch::resume(
            FetchConfig::default(),
            u64::from(num) * 16,
            Szx::S16,
            None,
        ));
        assert_eq!(fetch.asks(), format!("{num}/0/16"));
        let last = num == (1 << 20) - 1;
        let step = fetch.respond(Code::CONTENT, &format!("{num}/1/16"), None, 16);
        assert_eq!(step == FetchStep::Failed(FetchFailure::TooManyBlocks), last);
    }
}

#[test]
fn quirks_of_the_fetcher() {
    let good = FetchQuirks::default;
    let run = |quirks: FetchQuirks, blocks: &[&str]| {
        let mut fetch = Fetcher::with(quirks, Some(Szx::S512));
        blocks.iter().fold(String::new(), |_, text| fetch.take(text))
    };
    type Row<'a> = (FetchQuirks, &'a [&'a str], &'a str, &'a str);
    let four = ["0/1/512", "1/1/512", "2/1/512", "3/1/512", "16/1/128"];
    let rows: &[Row<'_>] = &[
        (
            FetchQuirks {
                number_not_rescaled: true,
                ..good()
            },
            &four,
            "@2048+128, 17/0/128",
            "@2048+128, 5/0/128",
        ),
        (
            FetchQuirks {
                smaller_ignored: true,
                ..good()
            },
            &["0/1/64"],
            "@0+64, 1/0/64",
            "@0+64, 1/0/512",
        ),
        (
            FetchQuirks {
                number_unchecked: true,
                ..good()
            },
            &["0/1/512", "0/1/512"],
            "again, 1/0/512",
            "@512+512, 2/0/512",
        ),
        (
            FetchQuirks {
                stale_aborts: true,
                ..good()
            },
            &["0/1/512", "0/1/512"],
            "again, 1/0/512",
            "failed, over",
        ),
        (
            FetchQuirks {
                grows_to: Some(Szx::S512),
                ..good()
            },
            &["0/1/64"],
            "@0+64, 1/0/64",
            "@0+64, 0/0/512",
        ),
        (
            FetchQuirks { twice: true, ..good() },
            &["0/1/512"],
            "@0+512, 1/0/512",
            "again, 0/0/512",
        ),
        (
            FetchQuirks {
                number_bits: Some(1),
                ..good()
            },
            &["0/1/512", "1/1/512"],
            "@512+512, 2/0/512",
            "@512+512, 0/0/512",
        ),
    ];
    for (quirks, blocks, right, wrong) in rows {
        assert_eq!(&run(good(), blocks), right, "{quirks:?}");
        assert_eq!(&run(quirks.clone(), blocks), wrong, "{quirks:?}");
    }

    let endless = FetchConfig {
        quirks: FetchQuirks {
            endless_same: true,
            ..good()
        },
        ..FetchConfig::default()
    };
    let mut endless = Fetcher::new(endless);
    endless.take("0/1/16");
    assert!((0..100).all(|_| endless.take("0/1/16") == "again, 1/0/16"));

    let mut waits = Fetcher::with(
        FetchQuirks {
            exact_multiple_waits: true,
            ..good()
        },
        None,
    );
    assert_eq!(
        waits.respond(Code::CONTENT, "0/0/16", None, 16),
        FetchStep::Store {
            offset: 0,
            len: 16,
            done: false
        }
    );
    assert_eq!(waits.asks(), "1/0/16");

    let mut needs = Fetcher::with(
        FetchQuirks {
            needs_block2: true,
            ..good()
        },
        None,
    );
    assert_eq!(
        needs.respond(Code::CONTENT, "", None, 200),
        FetchStep::Failed(FetchFailure::NoBlock2)
    );

    let second = |quirks: FetchQuirks, code, block2: &str, etag: &[u8], len| {
        let mut fetch = Fetcher::with(quirks, Some(Szx::S16));
        fetch.respond(Code::CONTENT, "0/1/16", Some(b"a1"), 16);
        fetch.respond(code, block2, Some(etag), len)
    };
    let etag = FetchQuirks {
        etag_ignored: true,
        ..good()
    };
    assert_eq!(second(good(), Code::CONTENT, "1/1/16", b"b2", 16), FetchStep::Restart);
    assert!(matches!(
        second(etag, Code::CONTENT, "1/1/16", b"b2", 16),
        FetchStep::Store { offset: 16, .. }
    ));
    let valid = FetchQuirks {
        valid_is_block: true,
        ..good()
    };
    assert_eq!(second(good(), Code::VALID, "", b"a1", 0), FetchStep::Again);
    assert_eq!(
        second(valid, Code::VALID, "", b"a1", 0),
        FetchStep::Store {
            offset: 16,
            len: 0,
            done: false
        }
    );
    let error = FetchQuirks {
        error_is_block: true,
        ..good()
    };
    assert!(matches!(
        second(good(), Code::SERVICE_UNAVAILABLE, "", b"a1", 4),
        FetchStep::Failed(_)
    ));
    assert_eq!(
        second(error, Code::SERVICE_UNAVAILABLE, "", b"a1", 4),
        FetchStep::Store {
            offset: 16,
            len: 4,
            done: false
        }
    );

    let mut skips = Fetcher::with(
        FetchQuirks {
            reduce_skips: true,
            ..good()
        },
        Some(Szx::S512),
    );
    skips.take("0/1/512");
    skips.0.reduce(Szx::S256);
    assert_eq!(skips.asks(), "3/0/256");
}
