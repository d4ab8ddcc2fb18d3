//! Writes a large capture: block-wise pushes of a firmware image to many devices, interleaved.
//!
//! `cargo run --release -p fotaproof-analyze --example generate -- OUT.pcap DATAGRAMS FLOWS`

use core::time::Duration;
use fotaproof_analyze::synth;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};

const BLOCK: usize = 512;
const SZX: u32 = 5;
const LINKS: &[u8] = b"</>;rt=\"oma.lwm2m\",</1/0>,</3/0>,</5/0>;ver=1.1";

/// A block option value in its shortest form.
fn block(number: u32, more: bool) -> Vec<u8> {
    let bits = number << 4 | u32::from(more) << 3 | SZX;
    let bytes = bits.to_be_bytes();
    let skip = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[skip..].to_vec()
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, datagrams, flows] = &arguments[..] else {
        eprintln!("usage: generate OUT.pcap DATAGRAMS FLOWS");
        std::process::exit(2);
    };
    let number = |text: &String| text.parse::<u64>().map_err(io::Error::other);
    let (datagrams, flows) = (number(datagrams)?, number(flows)?);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    out.write_all(&synth::pcap_head(1))?;
    let server = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5683);
    let body = [0x5a; BLOCK];
    let (mut record, mut frame) = (Vec::new(), Vec::new());
    let mut write = |at: Duration, packet: &[u8]| {
        frame.clear();
        frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        frame.extend_from_slice(packet);
        record.clear();
        synth::pcap_record(&mut record, at, &frame);
        out.write_all(&record)
    };
    let exchanges = datagrams / 2 / flows;
    // Each device gets a block every 50 ms.
    let step = Duration::from_millis(50) / u32::try_from(flows).unwrap_or(u32::MAX);
    let answer_after = Duration::from_micros(20);
    for exchange in 0..exchanges {
        for flow in 0..flows {
            let at =
                Duration::from_secs(1_700_000_000) + step * u32::try_from(exchange * flows + flow).unwrap_or(u32::MAX);
            let device = SocketAddrV4::new(
                Ipv4Addr::from(0x0a00_0002 + flow as u32),
                40_000 + (flow % 20_000) as u16,
            );
            let id = (exchange + flow) as u16;
            let token = (flow as u32).to_be_bytes();
            if exchange == 0 {
                let name = format!("ep=device-{flow}");
                let queries: [&[u8]; 3] = [name.as_bytes(), b"lt=300", b"lwm2m=1.1"];
                let options = [
                    (11, &b"rd"[..]),
                    (12, &[40]),
                    (15, queries[0]),
                    (15, queries[1]),
                    (15, queries[2]),
                ];
                let register = synth::coap(0, 2, id, &token, &options, LINKS);
                write(at, &synth::udp(device, server, &register))?;
                let location = flow.to_string();
                let created = synth::coap(2, 0x41, id, &token, &[(8, b"rd"), (8, location.as_bytes())], b"");
                write(at + answer_after, &synth::udp(server, device, &created))?;
                continue;
            }
            let more = exchange + 1 < exchanges;
            let value = block(exchange as u32 - 1, more);
            let options: [(u16, &[u8]); 5] = [(11, b"5"), (11, b"0"), (11, b"0"), (12, &[42]), (27, &value)];
            write(
                at,
                &synth::udp(server, device, &synth::coap(0, 3, id, &token, &options, &body)),
            )?;
            let code = if more { 0x5f } else { 0x44 };
            let answer = synth::coap(2, code, id, &token, &[(27, &value)], b"");
            write(at + answer_after, &synth::udp(device, server, &answer))?;
        }
    }
    out.flush()
}
