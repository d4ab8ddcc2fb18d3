//! What the fuzz targets above the codecs run: parsers of files and peers that take datagrams.
//!
//! The targets stand in `fuzz/fuzz_targets`, their seeds in `fuzz/corpus`; `tests/corpus.rs`
//! replays every seed in `cargo test`.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_cases::{CaseSource, Parameters, load_case, load_expected_failures, load_manifest, load_network};
use fotaproof_lwm2m::device::{Device, DeviceConfig, DeviceInput, DeviceOutput, Flash, SocketId};
use fotaproof_lwm2m::repository::{File, FileServer, RepositoryConfig};
use fotaproof_lwm2m::server::{Server, ServerConfig};
use fotaproof_trace::JournalReader;

/// A target: the name of its corpus and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: [Target; 7] = [
    ("adapter", adapter),
    ("case_file", case_file),
    ("files", files),
    ("journal", journal),
    ("package", package),
    ("device", device),
    ("server", server),
];

/// What an adapter writes, in pieces of any length: lines that are messages or have a reason why not. What is a message is
/// one when it is written again.
pub fn adapter(bytes: &[u8]) {
    let (cut, rest) = bytes
        .split_first()
        .map_or((1, bytes), |(cut, rest)| (usize::from(*cut) + 1, rest));
    let mut lines = fotaproof_adapter::Lines::default();
    for chunk in rest.chunks(cut) {
        for line in lines.take(chunk) {
            match line.and_then(|line| fotaproof_adapter::parse(&line)) {
                Ok(message) => {
                    // the last digit of a number may differ
                    let again = fotaproof_adapter::to_line(&message);
                    assert!(fotaproof_adapter::parse(again.trim_end().as_bytes()).is_ok());
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// A case file: an error with a place that can be shown, or cases.
pub fn case_file(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let none = |_: &str, path: &str| Err(format!("there is no file `{path}`"));
    if let Err(problems) = load_case(
        &CaseSource::new("push/fuzzed.yaml", text),
        &Parameters::default(),
        &none,
    ) {
        assert!(!problems.is_empty(), "an error without a problem");
        for problem in problems {
            assert!(!problem.render(fotaproof_cases::Style::Plain).is_empty());
        }
    }
}

/// The other files that people write.
pub fn files(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let _ = load_manifest("fuzzed.yaml", text);
    let _ = load_network("fuzzed.yaml", text, &Parameters::default(), &[]);
    let _ = load_expected_failures("fuzzed.yaml", text);
}

/// A journal that may be cut or broken anywhere.
pub fn journal(bytes: &[u8]) {
    for event in JournalReader::new(bytes) {
        if event.is_err() {
            break;
        }
    }
}

/// A package as a device gets it.
pub fn package(bytes: &[u8]) {
    let _ = fotaproof_lwm2m::package::parse(bytes);
    let _ = fotaproof_lwm2m::package::verify(bytes);
}

/// The input as datagrams: a length byte, then so many bytes.
fn datagrams(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (length, tail) = rest.split_first()?;
        let (datagram, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        Some(datagram)
    })
}

const SERVER: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 1)), 5683);
const DEVICE: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 2)), 50_000);

/// The reference device, to which its server sends anything.
pub fn device(bytes: &[u8]) {
    let mut device = Device::new(DeviceConfig::new("fuzzed", SERVER), Flash::new("1.0.0"));
    let mut now = Duration::ZERO;
    let mut socket = SocketId(0);
    device.handle(now, DeviceInput::PowerOn);
    for datagram in datagrams(bytes).take(256) {
        if let Some(at) = device.poll_deadline() {
            now = now.max(at.min(now + Duration::from_secs(60)));
            device.handle_timeout(now);
        }
        let input = DeviceInput::Datagram {
            socket,
            from: SERVER,
            bytes: Bytes::copy_from_slice(datagram),
        };
        device.handle(now, input);
        while let Some(output) = device.poll_output() {
            if let DeviceOutput::OpenSocket(open) = output {
                socket = open;
            }
        }
    }
}

/// The reference server with a repository, to which a device sends anything.
pub fn server(bytes: &[u8]) {
    let mut server = Server::new(ServerConfig::default());
    let mut files = RepositoryConfig::default();
    files
        .files
        .insert("/fw".to_owned(), File::new(Bytes::from_static(&[7; 2000])));
    server.serve_files(FileServer::new(files));
    let mut now = Duration::ZERO;
    for datagram in datagrams(bytes).take(256) {
        if let Some(at) = server.poll_deadline() {
            now = now.max(at.min(now + Duration::from_secs(60)));
            server.handle_timeout(now);
        }
        server.handle_datagram(now, DEVICE, datagram);
        while server.poll_transmit().is_some() {}
        while server.poll_event().is_some() {}
    }
}
