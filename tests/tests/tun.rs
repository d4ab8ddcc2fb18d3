//! `relay --tun`: a program's own IP stack before the emulated link. It takes root; without, or without the tools, the tests say so
//! and pass.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output};

use fotaproof_tests::program::path as program;

/// A client that sends one datagram of 1100 bytes until it gets an answer, and prints what it was told.
const CLIENT: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect((sys.argv[1], int(sys.argv[2])))
for attempt in range(5):
    try:
        s.send(b"x" * 1100)
        print("got", len(s.recv(2000)), "of", attempt + 1)
        break
    except OSError as e:
        print("error", e.errno, flush=True)
"#;

/// Why the tests cannot run here; in CI they have to.
fn unable() -> bool {
    let root = nix::unistd::geteuid().is_root() && Path::new("/dev/net/tun").exists();
    let python = Command::new("python3").arg("--version").output().is_ok();
    if root && python {
        return false;
    }
    let why = "a TUN device takes root, /dev/net/tun and python3";
    assert!(
        std::env::var_os("FOTAPROOF_REQUIRE_TUN").is_none(),
        "{why}, and FOTAPROOF_REQUIRE_TUN is set"
    );
    println!("skipped: {why}");
    true
}

/// Runs the client behind a link of MTU 576 of this mode, against a server that answers with so many bytes.
fn through(oversize: &str, answer: usize) -> (Output, serde_json::Value) {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = server.local_addr().expect("its address");
    let folder = tempfile::tempdir().expect("a folder");
    let network = folder.path().join("network.yaml");
    let text = format!("summary: test\nsources: [chosen here]\nmtu: 576\noversize: {oversize}\n");
    std::fs::write(&network, text).expect("a network");
    let echo = std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        // one answer; a client that never gets through is waited for by nobody
        server
            .set_read_timeout(Some(core::time::Duration::from_secs(30)))
            .expect("a time-out");
        if let Ok((_, from)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..answer], from);
        }
    });
    let output = Command::new(program())
        .args(["relay", "--tun", "--quiet", "--to", &to.to_string(), "--network"])
        .arg(&network)
        .args(["--", "python3", "-c", CLIENT, "{server.host}", "{server.port}"])
        .output()
        .expect("the program");
    // ends the echo where nothing got through
    let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", to));
    echo.join().expect("the echo");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = text.find('{').and_then(|at| serde_json::from_str(&text[at..]).ok());
    let summary = summary.unwrap_or_else(|| panic!("no summary in {output:?}"));
    (output, summary)
}

fn said(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .take_while(|line| !line.starts_with('{'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_clients_own_stack_fragments_and_reassembles() {
    if unable() {
        return;
    }
    let (output, summary) = through("fragment", 1100);
    assert_eq!(said(&output), ["got 1100 of 1"]);
    assert_eq!(summary["toward_server"]["fragments"], 3);
    assert_eq!(summary["toward_iut"]["fragments"], 3);
    assert_eq!(summary["program"]["code"], 0);
}

#[test]
fn a_sender_that_is_refused_learns_the_mtu_and_fragments() {
    if unable() {
        return;
    }
    let (output, summary) = through("refuse", 10);
    // EMSGSIZE, by way of ICMP; then its stack cuts what it sends
    assert_eq!(said(&output), ["error 90", "got 10 of 2"]);
    assert_eq!(summary["refused"], 1, "{summary}");
}

#[test]
fn the_programs_failure_is_the_relays() {
    if unable() {
        return;
    }
    let run = |command: &[&str]| {
        Command::new(program())
            .args(["relay", "--tun", "--quiet", "--to", "127.0.0.1:9", "--"])
            .args(command)
            .output()
            .expect("the program")
    };
    assert_eq!(run(&["python3", "-c", "raise SystemExit(7)"]).status.code(), Some(1));
    let missing = run(&["/no/such/program"]);
    assert_eq!(missing.status.code(), Some(5));
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("`/no/such/program` cannot be started"), "{text}");
}

#[test]
fn without_root_it_is_refused_clearly() {
    let arguments = ["relay", "--tun", "--quiet", "--to", "127.0.0.1:9", "--", "true"];
    let output = if nix::unistd::geteuid().is_root() {
        // root without its capabilities is nobody here
        Command::new("setpriv")
            .args(["--bounding-set", "-all", "--inh-caps", "-all", "--"])
            .arg(program())
            .args(arguments)
            .output()
    } else {
        Command::new(program()).args(arguments).output()
    };
    let Ok(output) = output else {
        println!("skipped: root is here and `setpriv`, which could give it up, is not");
        return;
    };
    assert_eq!(output.status.code(), Some(5));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("it takes root"), "{text}");
}
