//! How fast captures are analyzed, and in how much memory.
//!
//! `cargo run --release -p fotaproof-analyze --example rate -- FILE...`

use fotaproof_analyze::{Options, analyze};
use std::fs::File;
use std::io;

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn main() -> io::Result<()> {
    for path in std::env::args().skip(1) {
        // The first pass warms the page cache; the best of the others counts.
        let mut best = f64::MAX;
        let mut datagrams = 0;
        for _ in 0..4 {
            let begun = std::time::Instant::now();
            let report = analyze(&path, File::open(&path)?, Options::default());
            best = best.min(begun.elapsed().as_secs_f64());
            datagrams = report.counts.coap;
            assert!(
                report.devices.iter().all(|device| device.findings.is_empty()),
                "{:?}",
                report.devices[0].findings
            );
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap_or_default();
        println!(
            "{path}: {datagrams} datagrams in {best:.3} s: {:.2} M/s; {peak}",
            datagrams as f64 / best / 1e6
        );
    }
    Ok(())
}
