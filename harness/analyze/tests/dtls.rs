//! DTLS opened with secrets: captures of OpenSSL in each cipher suite and of libcoap with GnuTLS (`dtls/make.sh`).

use std::path::{Path, PathBuf};

use fotaproof_analyze::dtls::Secrets;
use fotaproof_analyze::{CaptureReport, Options, Verdict, analyze};

const PSK: [u8; 16] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dtls")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn captures() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".pcap"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 10);
    names
}

fn judged(bytes: &[u8], secrets: Secrets) -> CaptureReport {
    let options = Options {
        secrets,
        ..Options::default()
    };
    analyze("test", bytes, options)
}

fn key_log(capture: &str) -> Secrets {
    let mut secrets = Secrets::default();
    assert_eq!(secrets.add_key_log(&read(&capture.replace(".pcap", ".keys"))), 1);
    secrets
}

fn psk(key: &[u8]) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add_psk(key.to_vec());
    secrets
}

/// GET and PUT of OpenSSL; five blocks and their answers of libcoap.
fn messages(capture: &str) -> u64 {
    if capture.starts_with("gnutls") { 10 } else { 2 }
}

#[test]
fn a_key_log_opens_every_suite() {
    for name in captures() {
        let report = judged(&read(&name), key_log(&name));
        assert_eq!(report.counts.decrypted, messages(&name), "{name}: {:?}", report.notes);
        assert_eq!(report.counts.coap, messages(&name), "{name}");
        assert_eq!((report.encrypted.len(), report.counts.broken_records), (0, 0), "{name}");
    }
}

#[test]
fn a_pre_shared_key_opens_what_has_no_other_secret() {
    for name in captures() {
        let report = judged(&read(&name), psk(&PSK));
        // ECDHE has a secret that nobody but the two ends ever had; the key of libcoap is another one
        let opens = name.starts_with("psk");
        assert_eq!(report.counts.decrypted > 0, opens, "{name}: {:?}", report.notes);
        assert_eq!(report.encrypted.is_empty(), opens, "{name}");
    }
}

#[test]
fn without_secrets_nothing_is_judged() {
    for name in captures() {
        let report = judged(&read(&name), Secrets::default());
        assert_eq!((report.counts.decrypted, report.counts.coap), (0, 0), "{name}");
        assert_eq!(
            (report.encrypted.len(), report.verdict),
            (1, Verdict::Inconclusive),
            "{name}"
        );
        assert!(
            report.notes.iter().any(|note| note.contains("holds no secrets")),
            "{:?}",
            report.notes
        );
    }
}

#[test]
fn a_wrong_key_is_no_broken_record() {
    let report = judged(&read("psk-aes128-ccm8.pcap"), psk(b"another key"));
    assert_eq!((report.counts.decrypted, report.counts.broken_records), (0, 0));
    assert_eq!(report.verdict, Verdict::Inconclusive);
}

#[test]
fn secrets_in_the_file_are_used() {
    let report = judged(&read("gnutls-with-secrets.pcapng"), Secrets::default());
    assert_eq!(
        (report.counts.decrypted, report.encrypted.len()),
        (10, 0),
        "{:?}",
        report.notes
    );
}

#[test]
fn a_record_that_was_changed_on_the_way_is_told_apart() {
    // one byte in each of the capture's later packets, one at a time: whatever it hits, nothing wrong is ever opened
    let good = read("psk-aes128-ccm8.pcap");
    let whole = judged(&good, psk(&PSK)).counts;
    let mut broken = 0;
    for at in (good.len() / 2..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        let counts = judged(&bytes, psk(&PSK)).counts;
        assert!(counts.decrypted <= whole.decrypted);
        broken += counts.broken_records;
    }
    assert!(broken > 0);
}
