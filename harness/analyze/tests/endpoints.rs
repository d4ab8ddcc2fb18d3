//! A capture with a million endpoints: counted, not kept. A test program of its own, as it looks at the memory of its process.

use core::time::Duration;
use fotaproof_analyze::{Options, analyze, synth};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5683);

/// A capture that is made while it is read: each endpoint registers once, from an address of its own.
struct Endpoints {
    next: u32,
    end: u32,
    made: Vec<u8>,
    taken: usize,
}

impl Read for Endpoints {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.made.len() && self.next < self.end {
            self.made.clear();
            self.taken = 0;
            for number in self.next..self.end.min(self.next + 1000) {
                let source = SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + number), 40_000);
                let name = format!("ep=device-{number}");
                let register = synth::coap(0, 2, 1, &[1], &[(11, b"rd"), (15, name.as_bytes())], b"");
                synth::pcap_record(&mut self.made, Duration::ZERO, &synth::udp(source, SERVER, &register));
                self.next = number + 1;
            }
        }
        let rest = self.made.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// Kilobytes that the process held at the most; none where the system does not say.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_million_endpoints_are_counted_and_not_kept() {
    let capture = Endpoints {
        next: 0,
        end: 1_000_000,
        made: synth::pcap_head(101),
        taken: 0,
    };
    let report = analyze("test", capture, Options::default());
    assert_eq!(report.frames, 1_000_000);
    assert_eq!(report.devices.len(), Options::default().devices);
    assert_eq!(
        report.counts.coap + report.counts.beyond_limit - report.counts.undecided,
        1_000_000
    );
    assert!(
        report.notes.iter().any(|note| note.contains("beyond")),
        "{:?}",
        report.notes
    );
    if let Some(peak) = peak() {
        println!("{} MB", peak / 1024);
        assert!(peak < 100 * 1024, "{peak} kB were held");
    }
}
