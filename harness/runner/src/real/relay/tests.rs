//! The relay between real sockets on the loopback address.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use fotaproof_net::{Action, BlockSel, DirectionSpec, LinkSpec, Loss, Nat, Rule, Select, Toward};

use super::{RelayOptions, Summary, Told, run};

/// A relay on a thread of its own, between a client and a server of the test.
struct Bench {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Summary>,
    relay: SocketAddr,
    server: UdpSocket,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the relay is tested with real sockets and a thread"
)]
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // far longer than anything takes: a test that fails must end
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

impl Bench {
    fn new(spec: LinkSpec) -> Self {
        Self::with(spec, None)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the relay is tested with real sockets and a thread"
    )]
    fn with(spec: LinkSpec, capture: Option<std::path::PathBuf>) -> Self {
        let server = socket();
        let options = RelayOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            to: server.local_addr().unwrap(),
            network: "test".to_owned(),
            spec,
            seed: 7,
            capture,
            #[cfg(feature = "tun")]
            tun: None,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let mut tell = |told: Told<'_>| {
                    if let Told::Listening(address) = told {
                        let _ = sender.send(address);
                    }
                };
                run(&options, &stop, &mut tell).unwrap()
            }
        });
        Self {
            stop,
            thread,
            relay: receiver.recv().unwrap(),
            server,
        }
    }

    /// The next datagram at the server.
    fn at_server(&self) -> (Vec<u8>, SocketAddr) {
        receive(&self.server)
    }

    fn end(self) -> Summary {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(length);
    (buffer, from)
}

#[test]
fn each_client_has_a_port_of_its_own_and_answers_find_back() {
    let bench = Bench::new(LinkSpec::perfect());
    let clients: Vec<UdpSocket> = (0..5).map(|_| socket()).collect();
    let mut ports = std::collections::BTreeSet::new();
    for (i, client) in clients.iter().enumerate() {
        client.send_to(format!("hello {i}").as_bytes(), bench.relay).unwrap();
        let (bytes, from) = bench.at_server();
        assert_eq!(bytes, format!("hello {i}").as_bytes());
        ports.insert(from);
        bench.server.send_to(format!("back {i}").as_bytes(), from).unwrap();
    }
    assert_eq!(ports.len(), 5);
    for (i, client) in clients.iter().enumerate() {
        assert_eq!(receive(client), (format!("back {i}").into_bytes(), bench.relay));
    }
    let summary = bench.end();
    assert_eq!((summary.clients, summary.forgotten, summary.unsent), (5, 0, 0));
    assert_eq!((summary.toward_server.delivered, summary.toward_iut.delivered), (5, 5));
}

#[test]
fn bursts_arrive_whole_and_in_order_and_large_datagrams_are_fragments() {
    let bench = Bench::new(LinkSpec::perfect());
    let client = socket();
    for round in 0..10_u16 {
        for n in 0..100_u16 {
            client.send_to(&(round * 100 + n).to_be_bytes(), bench.relay).unwrap();
        }
        for n in 0..100_u16 {
            assert_eq!(bench.at_server().0, (round * 100 + n).to_be_bytes());
        }
    }
    let large = vec![7; 3000];
    client.send_to(&large, bench.relay).unwrap();
    assert_eq!(bench.at_server().0, large);
    let summary = bench.end();
    // 1000 packets of the small ones, three fragments of the large one at MTU 1280
    assert_eq!(
        (summary.toward_server.datagrams, summary.toward_server.packets),
        (1001, 1003)
    );
    assert_eq!(summary.toward_server.fragments, 3);
    assert!(
        summary
            .line()
            .contains("1001 + 0 datagrams  1003 packets  3 fragments  0 lost"),
        "{}",
        summary.line()
    );
}

#[test]
fn a_closed_server_stops_nothing() {
    let bench = Bench::new(LinkSpec::perfect());
    let Bench {
        stop,
        thread,
        relay,
        server,
    } = bench;
    let address = server.local_addr().unwrap();
    drop(server);
    let client = socket();
    for _ in 0..20 {
        client.send_to(b"nobody is there", relay).unwrap();
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the relay is tested with real sockets and a thread"
    )]
    let server = UdpSocket::bind(address).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = [0; 64];
    // the error of an earlier datagram may cost another one, never all
    let arrived = (0..100).any(|_| {
        client.send_to(b"now it is", relay).unwrap();
        server
            .recv_from(&mut buffer)
            .is_ok_and(|(length, _)| &buffer[..length] == b"now it is")
    });
    assert!(arrived);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

/// A CoAP POST with this block number: version 1, confirmable, no token, Block1 of 16 bytes with more to come.
fn block(num: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    // Block1 is option 27: delta 13 + 14, one byte of value
    vec![0x40, 0x02, high, low, 0xd1, 14, num << 4 | 0x08, 0xff, b'x']
}

#[test]
fn rules_see_coap_and_are_counted_by_name() {
    let select = Select {
        toward: Some(Toward::Peer),
        block1: Some(BlockSel::Num(3)),
        ..Select::default()
    };
    let spec = LinkSpec {
        rules: vec![Rule::new("block 3 is lost", select, Action::Drop).times(1)],
        ..LinkSpec::perfect()
    };
    let bench = Bench::new(spec);
    let client = socket();
    for num in 0..5 {
        client.send_to(&block(num, 100 + u16::from(num)), bench.relay).unwrap();
    }
    client.send_to(&block(3, 103), bench.relay).unwrap();
    let arrived: Vec<u8> = (0..5).map(|_| bench.at_server().0[6] >> 4).collect();
    assert_eq!(arrived, [0, 1, 2, 4, 3]);
    let summary = bench.end();
    assert_eq!(
        (summary.rules[0].name.as_str(), summary.rules[0].acted),
        ("block 3 is lost", 1)
    );
    assert!(
        summary.line().ends_with("1 lost (rule 1)  rules: block 3 is lost 1"),
        "{}",
        summary.line()
    );
}

#[test]
fn delay_is_never_shorter_than_the_network_says() {
    let delay = Duration::from_millis(30);
    let direction = DirectionSpec {
        delay,
        ..DirectionSpec::default()
    };
    let bench = Bench::new(LinkSpec {
        toward_iut: direction.clone(),
        toward_server: direction,
        ..LinkSpec::perfect()
    });
    let client = socket();
    #[expect(clippy::disallowed_methods, reason = "a delay in real time is measured")]
    let begun = Instant::now();
    client.send_to(b"there", bench.relay).unwrap();
    let (_, from) = bench.at_server();
    assert!(begun.elapsed() >= delay);
    bench.server.send_to(b"and back", from).unwrap();
    receive(&client);
    assert!(begun.elapsed() >= 2 * delay);
    bench.end();
}

#[test]
fn the_same_seed_loses_the_same_datagrams() {
    let lost = || {
        let direction = DirectionSpec {
            loss: Loss::Bernoulli(0.5),
            ..DirectionSpec::default()
        };
        let bench = Bench::new(LinkSpec {
            toward_server: direction,
            ..LinkSpec::perfect()
        });
        let client = socket();
        for n in 0..60_u8 {
            client.send_to(&[n], bench.relay).unwrap();
        }
        // the last word passes sooner or later, and all before it are decided by then
        bench.server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut arrived = Vec::new();
        let mut buffer = [0; 64];
        while arrived.last() != Some(&u8::MAX) {
            client.send_to(&[u8::MAX], bench.relay).unwrap();
            while let Ok((length, _)) = bench.server.recv_from(&mut buffer) {
                arrived.extend(&buffer[..length]);
            }
        }
        arrived.retain(|n| *n != u8::MAX);
        let summary = bench.end();
        assert!(summary.toward_server.lost() > 0);
        arrived
    };
    let first = lost();
    assert!((10..50).contains(&first.len()), "{first:?}");
    assert_eq!(first, lost());
}

#[test]
fn a_nat_that_rebinds_gives_the_client_another_port_and_the_old_one_is_dead() {
    let idle = Duration::from_millis(200);
    let bench = Bench::new(LinkSpec {
        nat: Some(Nat {
            idle: Some(idle),
            ..Nat::default()
        }),
        ..LinkSpec::perfect()
    });
    let client = socket();
    client.send_to(b"first", bench.relay).unwrap();
    let (_, old) = bench.at_server();
    // an answer may come too late for the mapping; then it is lost, and that is waited for here
    bench.server.set_read_timeout(Some(idle * 2)).unwrap();
    assert!(bench.server.recv_from(&mut [0; 16]).is_err());
    client.send_to(b"second", bench.relay).unwrap();
    bench.server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (_, new) = bench.at_server();
    assert_ne!(old, new);
    bench.server.send_to(b"to the old", old).unwrap();
    bench.server.send_to(b"to the new", new).unwrap();
    assert_eq!(receive(&client).0, b"to the new");
    let summary = bench.end();
    assert_eq!(summary.clients, 2);
    assert_eq!(
        summary.toward_iut.dropped.get(&fotaproof_net::DropReason::Nat),
        Some(&1)
    );
}

#[test]
fn the_capture_holds_both_ends_and_says_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.pcapng");
    let rule = Rule::new("the first is lost", Select::default(), Action::Drop).times(1);
    let bench = Bench::with(
        LinkSpec {
            rules: vec![rule],
            ..LinkSpec::perfect()
        },
        Some(path.clone()),
    );
    let client = socket();
    client.send_to(&block(0, 1), bench.relay).unwrap();
    client.send_to(&block(1, 2), bench.relay).unwrap();
    bench.at_server();
    let summary = bench.end();
    assert_eq!(summary.capture.map(|capture| capture.packets), Some(3));
    let bytes = std::fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("dropped by rule the first is lost"));
    let mut reader = pcap_file::pcapng::PcapNgReader::new(&bytes[..]).unwrap();
    let mut packets = 0;
    while let Some(block) = reader.next_block() {
        packets += usize::from(matches!(block.unwrap().0, pcap_file::pcapng::Block::EnhancedPacket(_)));
    }
    assert_eq!(packets, 3);
}

#[test]
fn a_taken_port_is_named() {
    let taken = socket();
    let options = RelayOptions {
        listen: taken.local_addr().unwrap(),
        to: taken.local_addr().unwrap(),
        network: "test".to_owned(),
        spec: LinkSpec::perfect(),
        seed: 1,
        capture: None,
        #[cfg(feature = "tun")]
        tun: None,
    };
    let error = run(&options, &AtomicBool::new(true), &mut |_| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("the port {} cannot be opened: ", options.listen))
    );
}
