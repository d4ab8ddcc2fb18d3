//! The link alone: `fotaproof relay` between two sockets.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use fotaproof_tests::program::fotaproof as program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{fotaproof, scratch};

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    socket
}

#[test]
fn a_relay_ends_at_a_signal_with_a_summary_and_a_whole_capture() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = scratch();
        let network = "mtu: 576\nrules:\n  - {name: the second is lost, drop: {nth: 2}}\n";
        std::fs::write(folder.path().join("net.yaml"), network).expect("a file");
        let server = socket();
        let to = server.local_addr().expect("an address").to_string();
        let arguments = [
            "relay",
            "--listen",
            "127.0.0.1:0",
            "--to",
            &to,
            "--network",
            "net.yaml",
            "--seed",
            "3",
            "--capture",
            "relay.pcapng",
        ];
        let mut child = program(folder.path(), &arguments).spawn().expect("the program starts");
        let mut errors = BufReader::new(child.stderr.take().expect("standard error"));
        let mut line = String::new();
        errors.read_line(&mut line).expect("a line");
        let listen = line
            .split("udp://")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .expect("where it listens");
        assert_eq!(
            line,
            format!("listening on udp://{listen}, to udp://{to}, network net.yaml, seed 3\n")
        );
        let listen: SocketAddr = listen.parse().expect("an address");

        let client = socket();
        for text in ["first", "second", "third"] {
            client.send_to(text.as_bytes(), listen).expect("sent");
        }
        // 1008 bytes of UDP at MTU 576: 552 + 456
        client.send_to(&[1; 1000], listen).expect("sent");
        let mut buffer = [0; 2000];
        let lengths: Vec<usize> = (0..3)
            .map(|_| server.recv_from(&mut buffer).expect("a datagram").0)
            .collect();
        assert_eq!(lengths, [5, 5, 1000]);

        kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), signal).expect("the process is there");
        let mut out = String::new();
        child
            .stdout
            .take()
            .expect("standard output")
            .read_to_string(&mut out)
            .expect("text");
        let mut rest = String::new();
        errors.read_to_string(&mut rest).expect("text");
        assert_eq!((child.wait().expect("it ends").code(), rest.as_str()), (Some(0), ""));
        let summary: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(summary["format"], 1);
        assert_eq!(summary["listen"], listen.to_string());
        assert_eq!(summary["toward_server"]["datagrams"], 4);
        assert_eq!(summary["toward_server"]["packets"], 5);
        assert_eq!(summary["toward_server"]["fragments"], 2);
        assert_eq!(summary["toward_server"]["dropped"], serde_json::json!({"rule": 1}));
        assert_eq!(
            summary["rules"],
            serde_json::json!([{"name": "the second is lost", "acted": 1}])
        );
        // five entered, four left
        assert_eq!(
            summary["capture"],
            serde_json::json!({"file": "relay.pcapng", "packets": 9})
        );
        let capture = std::fs::read(folder.path().join("relay.pcapng")).expect("the capture");
        assert!(String::from_utf8_lossy(&capture).contains("dropped by rule the second is lost"));
    }
}

#[test]
fn what_a_relay_cannot_do_is_said() {
    let taken = socket();
    let listen = taken.local_addr().expect("an address").to_string();
    let ended = fotaproof(&format!("relay --listen {listen} --to 127.0.0.1:9"));
    assert_eq!(ended.code, Some(5));
    assert!(
        ended
            .err
            .starts_with(&format!("error: the port {listen} cannot be opened: ")),
        "{}",
        ended.err
    );

    let ended = fotaproof("relay --listen 127.0.0.1:0 --to 127.0.0.1:9 --network nb-iod");
    assert_eq!(
        (ended.code, ended.err.contains("did you mean `nb-iot`?")),
        (Some(2), true),
        "{}",
        ended.err
    );

    let ended = fotaproof("relay --listen 127.0.0.1:0 --to nowhere");
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.err, "error: `nowhere` is no HOST:PORT that can be resolved\n");

    let ended = fotaproof("relay --listen 127.0.0.1:0 --to 127.0.0.1:9 --capture no/such/folder.pcapng");
    assert_eq!(ended.code, Some(5));
    assert!(
        ended.err.starts_with("error: cannot write no/such/folder.pcapng: "),
        "{}",
        ended.err
    );
}
