//! `fotaproof relay` against `socat` as a UDP relay, in the same run:
//! `cargo run --release -p fotaproof-tests --example relay -- [SECONDS]`.
//!
//! Throughput: datagrams of 200 bytes through the relay to a sink, never more than 128 under way, so that what counts is
//! how fast the relay is and not how much a queue holds. The sender hands many datagrams to the system at once, so that
//! it is not what limits. Added delay: at half the throughput that was measured, against the same path without a relay.
//! Timing: what the emulated delay and rate are off at 1000 packets a second.

use std::io::{BufRead as _, BufReader, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fotaproof_tests::program;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmsg, setsockopt, sockopt::RcvBuf,
};

/// Bytes of a datagram.
const SIZE: usize = 200;
/// Datagrams under way at most.
const WINDOW: u64 = 128;
/// Datagrams given to the system at once.
const BATCH: usize = 32;
/// Pairs of measurements, one after the other, so that a busy moment meets both.
const ROUNDS: usize = 5;

/// A relay as a process.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn ours(to: SocketAddr, network: &str) -> Running {
    let mut child = Command::new(program::path())
        .args([
            "relay",
            "--listen",
            "127.0.0.1:0",
            "--to",
            &to.to_string(),
            "--network",
            network,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("fotaproof starts");
    let mut line = String::new();
    let stderr = child.stderr.take().expect("standard error");
    BufReader::new(stderr).read_line(&mut line).expect("a line");
    let address = line
        .split("udp://")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .expect("where it listens");
    Running {
        address: address.parse().expect("an address"),
        child,
    }
}

fn socat(to: SocketAddr) -> Option<Running> {
    let free = UdpSocket::bind("127.0.0.1:0").ok()?.local_addr().ok()?;
    let child = Command::new("socat")
        .args([
            format!("UDP4-LISTEN:{},bind=127.0.0.1,reuseaddr", free.port()),
            format!("UDP4:{to}"),
        ])
        .stdin(Stdio::null())
        .spawn()
        .ok()?;
    std::thread::sleep(Duration::from_millis(300));
    Some(Running { child, address: free })
}

/// Takes what waits at a socket; gives how many, and tells each.
struct Sink {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrStorage>,
    room: Vec<u8>,
}

impl Sink {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_nonblocking(true).expect("not blocking");
        let _ = setsockopt(&socket, RcvBuf, &(4 << 20));
        Self {
            socket,
            headers: MultiHeaders::preallocate(64, None),
            room: vec![0; 64 * 256],
        }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    fn take(&mut self, mut each: impl FnMut(&[u8])) -> u64 {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .room
            .chunks_exact_mut(256)
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let fd = self.socket.as_raw_fd();
        let Ok(all) = recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) else {
            return 0;
        };
        let mut count = 0;
        for message in all {
            count += 1;
            each(message.iovs().next().unwrap_or_default());
        }
        count
    }
}

fn sender(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(to).expect("an address");
    socket
}

/// Datagrams a second through a relay, and the share that was lost.
fn throughput(relay: SocketAddr, sink: &mut Sink, time: Duration) -> (f64, f64) {
    let socket = sender(relay);
    let payload = vec![0x55; SIZE * BATCH];
    let (mut sent, mut lost, mut received) = (0_u64, 0_u64, 0_u64);
    // the first makes socat connect
    socket.send(&payload[..SIZE]).expect("sent");
    let begun = Instant::now();
    while sink.take(|_| ()) == 0 && begun.elapsed() < Duration::from_secs(2) {}
    let begun = Instant::now();
    let mut last = begun;
    while begun.elapsed() < time {
        if sent.saturating_sub(received + lost) + BATCH as u64 <= WINDOW {
            let segment = SIZE as u16;
            let message = [ControlMessage::UdpGsoSegments(&segment)];
            let slice = [IoSlice::new(&payload)];
            if sendmsg::<SockaddrStorage>(socket.as_raw_fd(), &slice, &message, MsgFlags::empty(), None).is_ok() {
                sent += BATCH as u64;
            }
        }
        let count = sink.take(|_| ());
        received += count;
        if count > 0 {
            last = Instant::now();
        } else if last.elapsed() > Duration::from_millis(20) {
            // nothing comes any more: what is under way is gone
            lost = sent.saturating_sub(received);
            last = Instant::now();
        }
    }
    (
        received as f64 / begun.elapsed().as_secs_f64(),
        lost as f64 / sent.max(1) as f64,
    )
}

/// The delays of datagrams sent in bursts of `burst` every `gap`, in seconds, in order of sending.
fn delays(to: SocketAddr, sink: &mut Sink, gap: Duration, burst: u32, time: Duration) -> Vec<(u32, f64)> {
    let socket = sender(to);
    let origin = Instant::now();
    let mut payload = vec![0; SIZE];
    let mut all = Vec::new();
    let mut next = origin;
    let take = |sink: &mut Sink, all: &mut Vec<(u32, f64)>| {
        let now = origin.elapsed();
        sink.take(|bytes| {
            if let (Some(at), Some(place)) = (bytes.get(..8), bytes.get(8..12)) {
                let at = Duration::from_nanos(u64::from_be_bytes(at.try_into().unwrap_or_default()));
                let place = u32::from_be_bytes(place.try_into().unwrap_or_default());
                all.push((place, now.saturating_sub(at).as_secs_f64()));
            }
        });
    };
    while origin.elapsed() < time {
        if Instant::now() >= next {
            for place in 0..burst {
                let at = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                payload[..8].copy_from_slice(&at.to_be_bytes());
                payload[8..12].copy_from_slice(&place.to_be_bytes());
                let _ = socket.send(&payload);
            }
            next += gap;
        }
        take(sink, &mut all);
    }
    let end = Instant::now();
    while end.elapsed() < Duration::from_millis(300) {
        take(sink, &mut all);
    }
    all
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = ((values.len() as f64 - 1.0) * share).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

fn told(what: &str, mut values: Vec<f64>, unit: f64, name: &str) {
    let count = values.len();
    let [half, most, all] = [0.5, 0.99, 1.0].map(|share| percentile(&mut values, share) * unit);
    println!("{what:<44} p50 {half:9.1}  p99 {most:9.1}  max {all:9.1} {name}  ({count} datagrams)");
}

fn main() {
    let seconds: f64 = std::env::args()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let wire = file("wire.yaml", "summary: no impairment\nmtu: 1500\nboth: {delay: 0ms}\n");
    let mut sink = Sink::new();

    let mut rates = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let relay = ours(sink.address(), &wire);
        rates.0.push(throughput(relay.address, &mut sink, time));
        drop(relay);
        match socat(sink.address()) {
            Some(relay) => rates.1.push(throughput(relay.address, &mut sink, time)),
            None => println!("socat is not here (Debian: apt-get install socat)"),
        }
    }
    let median = |all: &[(f64, f64)]| percentile(&mut all.iter().map(|(rate, _)| *rate).collect::<Vec<_>>(), 0.5);
    for (name, all) in [("fotaproof relay", &rates.0), ("socat", &rates.1)] {
        let each: Vec<String> = all
            .iter()
            .map(|(rate, lost)| format!("{:.0} k ({:.2} % lost)", rate / 1e3, lost * 100.0))
            .collect();
        println!(
            "{name:<16} {:>9.0} datagrams/s, median of {}",
            median(all),
            each.join(", ")
        );
    }
    let (best, other) = (median(&rates.0), median(&rates.1));
    println!("ratio {:.2}", best / other);

    let half = Duration::from_secs_f64(2.0 / best);
    let direct = delays(sink.address(), &mut sink, half, 1, time);
    let relay = ours(sink.address(), &wire);
    let through = delays(relay.address, &mut sink, half, 1, time);
    drop(relay);
    println!("half load: {:.0} datagrams/s", best / 2.0);
    told(
        "without a relay",
        direct.into_iter().map(|(_, delay)| delay).collect(),
        1e6,
        "us",
    );
    told(
        "through fotaproof relay",
        through.into_iter().map(|(_, delay)| delay).collect(),
        1e6,
        "us",
    );
    let quiet = Duration::from_millis(1);
    if let Some(relay) = socat(sink.address()) {
        let at = delays(relay.address, &mut sink, quiet, 1, time);
        told(
            "through socat at 1000 datagrams/s",
            at.into_iter().map(|(_, delay)| delay).collect(),
            1e6,
            "us",
        );
    }

    let delay = file("delay.yaml", "summary: delay alone\nmtu: 1500\nboth: {delay: 50ms}\n");
    let relay = ours(sink.address(), &delay);
    let late = delays(relay.address, &mut sink, quiet, 1, time);
    drop(relay);
    told(
        "delay of 50 ms, 1000/s: off by",
        late.into_iter().map(|(_, delay)| (delay - 0.05).abs()).collect(),
        1e6,
        "us",
    );
    // 228 bytes of IP at this rate take 500 us; ten come at once every 10 ms
    let rate = file(
        "rate.yaml",
        "summary: rate alone\nmtu: 1500\nboth: {delay: 0ms, rate: 3648000}\n",
    );
    let relay = ours(sink.address(), &rate);
    let late = delays(relay.address, &mut sink, Duration::from_millis(10), 10, time);
    drop(relay);
    let off = late
        .into_iter()
        .map(|(place, delay)| (delay - 0.0005 * f64::from(place + 1)).abs());
    told("rate of 3.648 Mbit/s, 1000/s: off by", off.collect(), 1e6, "us");
}
