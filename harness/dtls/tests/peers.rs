//! Other stacks on loopback, as server and as client: OpenSSL, libcoap with OpenSSL and with GnuTLS, and Scandium, which knows
//! connection ids.
//!
//! Skipped, with the reason, where a program is missing; `FOTAPROOF_REQUIRE_PEERS=1` makes that a failure.

use std::cell::Cell;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fotaproof_dtls::{Client, ClientConfig, Failure, Output, Psk, Server, ServerConfig, Suite, Timings};

const KEY: &str = "secretkey1234567";
/// The same for OpenSSL.
const KEY_HEX: &str = "7365637265746b657931323334353637";
const LIMIT: Duration = Duration::from_secs(60);

fn psk() -> Psk {
    Psk::new("device", KEY)
}

fn is_there(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    required_or_skipped(program, there)
}

fn required_or_skipped(program: &str, there: bool) -> bool {
    let required = std::env::var_os("FOTAPROOF_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(there || !required, "{program} is missing and FOTAPROOF_REQUIRE_PEERS=1");
    if !there {
        println!("skipped: {program} is not installed");
    }
    there
}

/// Quick, so that a server that is still starting is not waited for.
const fn timings() -> Timings {
    Timings {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(1),
        retransmissions: 20,
    }
}

/// A process that ends with the test.
struct Peer {
    child: Child,
    output: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Peer {
    #[expect(clippy::disallowed_methods, reason = "a thread reads what a real process writes")]
    fn start(program: &str, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            output,
            seen: Vec::new(),
        }
    }

    fn say(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn has_said(&mut self, text: &str) -> bool {
        self.seen.extend(self.output.try_iter().flatten());
        self.seen.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A socket on loopback and the time.
struct Wire {
    socket: UdpSocket,
    began: Instant,
}

impl Wire {
    #[expect(
        clippy::disallowed_methods,
        reason = "a real peer has a real address and a real clock"
    )]
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        Self {
            socket,
            began: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    fn receive(&self) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 2048];
        match self.socket.recv_from(&mut buffer) {
            Ok((length, from)) => Some((buffer[..length].to_vec(), from)),
            // nobody listens yet
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => None,
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "{error}"
                );
                None
            }
        }
    }

    /// Runs a client until something is `done` with what it says.
    fn client(&self, client: &mut Client, port: u16, mut done: impl FnMut(&mut Client, Option<Output>) -> bool) {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        while self.now() < LIMIT {
            client.handle_timeout(self.now());
            if let Some((bytes, from)) = self.receive()
                && from == to
            {
                client.handle_datagram(self.now(), &bytes);
            }
            if done(client, None) {
                return;
            }
            while let Some(output) = client.poll_output() {
                if let Output::Datagram(datagram) = output {
                    let _ = self.socket.send_to(&datagram, to);
                } else if done(client, Some(output)) {
                    return;
                }
            }
        }
        panic!("nothing for {LIMIT:?}");
    }

    fn server(&self, server: &mut Server, done: impl FnMut(&mut Server, Option<(SocketAddr, Output)>) -> bool) {
        self.server_behind(server, &Cell::new(0), done);
    }

    /// Runs a server that sees other addresses than those on loopback: behind an address translation, which `shift` moves.
    fn server_behind(
        &self,
        server: &mut Server,
        shift: &Cell<u8>,
        mut done: impl FnMut(&mut Server, Option<(SocketAddr, Output)>) -> bool,
    ) {
        while self.now() < LIMIT {
            server.handle_timeout(self.now());
            if let Some((bytes, from)) = self.receive() {
                let seen = SocketAddr::from((Ipv4Addr::new(10, 0, 0, shift.get()), from.port()));
                server.handle_datagram(self.now(), seen, &bytes);
            }
            if done(server, None) {
                return;
            }
            while let Some(said) = server.poll_output() {
                if let Output::Datagram(datagram) = said.output {
                    let _ = self.socket.send_to(&datagram, (Ipv4Addr::LOCALHOST, said.peer.port()));
                } else if done(server, Some((said.peer, said.output))) {
                    return;
                }
            }
        }
        panic!("nothing for {LIMIT:?}");
    }
}

/// Two ports in a row that were free a moment ago.
fn free_ports() -> u16 {
    loop {
        let port = Wire::new().port();
        #[expect(clippy::disallowed_methods, reason = "a real peer has a real address")]
        let next = UdpSocket::bind(("127.0.0.1", port.saturating_add(1)));
        if port < u16::MAX && next.is_ok() {
            return port;
        }
    }
}

fn client_config(suite: Suite, bits: u32) -> ClientConfig {
    ClientConfig {
        suites: vec![suite],
        extended_master_secret: bits & 1 == 1,
        encrypt_then_mac: bits & 2 == 2,
        // no stack here knows it; each must leave it out
        connection_id: Some(b"cid".to_vec()),
        timings: timings(),
        ..ClientConfig::new(psk())
    }
}

fn server_config(suite: Suite, bits: u32) -> ServerConfig {
    ServerConfig {
        suites: vec![suite],
        extended_master_secret: bits & 1 == 1,
        encrypt_then_mac: bits & 2 == 2,
        cookies: bits & 4 == 0,
        identity_hint: (bits & 4 == 4).then(|| b"hint".to_vec()),
        connection_id: Some(8),
        timings: timings(),
        ..ServerConfig::new([psk()])
    }
}

const fn cipher(suite: Suite) -> &'static str {
    match suite {
        Suite::PskAes128Ccm8 => "PSK-AES128-CCM8:@SECLEVEL=0",
        Suite::PskAes128CbcSha256 => "PSK-AES128-CBC-SHA256:@SECLEVEL=0",
    }
}

/// Suites and what goes with them: extended master secret, encrypt-then-MAC, cookies.
fn variants() -> impl Iterator<Item = (Suite, u32)> {
    Suite::ALL
        .into_iter()
        .flat_map(|suite| (0..8).map(move |bits| (suite, bits)))
}

fn openssl_server(suite: Suite, port: u16, more: &[&str]) -> Peer {
    let port = port.to_string();
    let args = [
        "s_server",
        "-dtls1_2",
        "-psk",
        KEY_HEX,
        "-psk_identity",
        "device",
        "-nocert",
        "-quiet",
        "-cipher",
        cipher(suite),
        "-port",
        &port,
    ];
    Peer::start("openssl", &[&args[..], more].concat())
}

fn openssl_client(suite: Suite, port: u16, identity: &str, key: &str) -> Peer {
    let server = format!("127.0.0.1:{port}");
    let args = [
        "s_client",
        "-dtls1_2",
        "-psk",
        key,
        "-psk_identity",
        identity,
        "-quiet",
        "-cipher",
        cipher(suite),
        "-connect",
        &server,
    ];
    Peer::start("openssl", &args)
}

#[test]
fn a_client_with_the_server_of_openssl() {
    if !is_there("openssl") {
        return;
    }
    for (suite, bits) in variants() {
        let port = free_ports();
        // with `-listen` it asks for a cookie; a small MTU fragments what it can
        let more: &[&str] = if bits & 4 == 0 {
            &["-listen"]
        } else {
            &["-psk_hint", "hint", "-mtu", "256"]
        };
        let mut peer = openssl_server(suite, port, more);
        let wire = Wire::new();
        let mut client = Client::new(client_config(suite, bits), 1);
        client.connect(wire.now());
        client.send(wire.now(), b"to the server\n");
        let mut told = false;
        wire.client(&mut client, port, |client, output| {
            if let Some(Output::Established(agreed)) = &output {
                assert_eq!(agreed.extended_master_secret, bits & 1 == 1);
                assert_eq!(
                    agreed.encrypt_then_mac,
                    suite == Suite::PskAes128CbcSha256 && bits & 2 == 2
                );
                assert_eq!(agreed.connection_ids, None);
            }
            assert!(!matches!(output, Some(Output::Failed(_))), "{suite} {bits}: {output:?}");
            if client.is_established() && !told && peer.has_said("to the server") {
                told = true;
                peer.say("to the client\n");
            }
            matches!(output, Some(Output::Data(data)) if data == "to the client\n")
        });
    }
}

#[test]
fn the_client_of_openssl_with_a_server() {
    if !is_there("openssl") {
        return;
    }
    for (suite, bits) in variants() {
        let wire = Wire::new();
        let mut server = Server::new(server_config(suite, bits), 1);
        let mut peer = openssl_client(suite, wire.port(), "device", KEY_HEX);
        let mut told = false;
        wire.server(&mut server, |server, said| {
            match said {
                Some((from, Output::Established(agreed))) => {
                    assert_eq!(agreed.identity, b"device");
                    assert_eq!(agreed.extended_master_secret, bits & 1 == 1);
                    assert_eq!(
                        agreed.encrypt_then_mac,
                        suite == Suite::PskAes128CbcSha256 && bits & 2 == 2
                    );
                    assert!(server.send(wire.now(), from, b"to the client\n"));
                }
                Some((_, Output::Failed(failure))) => panic!("{suite} {bits}: {failure}"),
                Some((_, Output::Data(data))) => return data == "to the server\n",
                _ => {}
            }
            if !told && peer.has_said("to the client") {
                told = true;
                peer.say("to the server\n");
            }
            false
        });
    }
}

#[test]
fn a_wrong_key_and_an_unknown_identity_with_the_client_of_openssl() {
    if !is_there("openssl") {
        return;
    }
    for suite in Suite::ALL {
        let unknown = Failure::UnknownIdentity {
            identity: b"nobody".to_vec(),
        };
        for (identity, key, expected) in [
            ("nobody", KEY_HEX, unknown),
            ("device", "00112233", Failure::DecryptError),
        ] {
            let wire = Wire::new();
            let mut server = Server::new(server_config(suite, 3), 1);
            let _peer = openssl_client(suite, wire.port(), identity, key);
            wire.server(&mut server, |_, said| match said {
                Some((_, Output::Failed(failure))) => {
                    assert_eq!(failure, expected);
                    true
                }
                Some((_, Output::Established(agreed))) => panic!("{agreed:?}"),
                _ => false,
            });
        }
    }
}

#[test]
fn a_wrong_key_with_servers_gives_no_association() {
    let (one, two) = (free_ports(), free_ports());
    let port = two.to_string();
    let libcoap = ["-A", "127.0.0.1", "-p", &port, "-k", KEY, "-h", "hint"];
    let programs: [(&str, u16, &dyn Fn() -> Peer); 3] = [
        ("openssl", one, &|| openssl_server(Suite::PskAes128Ccm8, one, &[])),
        ("coap-server-openssl", two + 1, &|| {
            Peer::start("coap-server-openssl", &libcoap)
        }),
        ("coap-server-gnutls", two + 1, &|| {
            Peer::start("coap-server-gnutls", &libcoap)
        }),
    ];
    for (program, port, start) in programs {
        if !is_there(program) {
            continue;
        }
        let _peer = start();
        let wire = Wire::new();
        let config = ClientConfig {
            psk: Psk::new("device", "another key"),
            timings: Timings {
                retransmissions: 3,
                ..timings()
            },
            ..client_config(Suite::PskAes128Ccm8, 3)
        };
        let mut client = Client::new(config, 1);
        client.connect(wire.now());
        wire.client(&mut client, port, |client, output| match output {
            // it is still starting
            Some(Output::Failed(Failure::TimedOut { waiting_for, .. })) if waiting_for.starts_with("Hello") => {
                client.connect(wire.now());
                false
            }
            Some(Output::Failed(failure)) => {
                println!("{program}: {failure}");
                // an alert, or silence
                let waiting_for = "ChangeCipherSpec and Finished";
                assert!(
                    matches!(failure, Failure::Alert(_)) || failure == Failure::TimedOut { sent: 4, waiting_for },
                    "{program}: {failure}"
                );
                true
            }
            Some(Output::Established(agreed)) => panic!("{program}: {agreed:?}"),
            _ => false,
        });
    }
}

#[test]
fn a_client_with_the_servers_of_libcoap() {
    for program in ["coap-server-openssl", "coap-server-gnutls"] {
        if !is_there(program) {
            continue;
        }
        for bits in 0..4 {
            let port = free_ports();
            let text = port.to_string();
            let _peer = Peer::start(program, &["-A", "127.0.0.1", "-p", &text, "-k", KEY, "-h", "hint"]);
            let wire = Wire::new();
            let mut client = Client::new(
                ClientConfig {
                    suites: Suite::ALL.to_vec(),
                    ..client_config(Suite::PskAes128Ccm8, bits)
                },
                1,
            );
            client.connect(wire.now());
            // CON GET /, token 7
            client.send(wire.now(), &[0x41, 1, 0, 9, 7]);
            wire.client(&mut client, port + 1, |_, output| {
                assert!(
                    !matches!(output, Some(Output::Failed(_))),
                    "{program} {bits}: {output:?}"
                );
                // ACK 2.05 with the token
                matches!(output, Some(Output::Data(data)) if data.starts_with(&[0x61, 0x45, 0, 9, 7]))
            });
        }
    }
}

#[test]
fn the_clients_of_libcoap_with_a_server() {
    for program in ["coap-client-openssl", "coap-client-gnutls"] {
        if !is_there(program) {
            continue;
        }
        for bits in 0..8 {
            let wire = Wire::new();
            let config = ServerConfig {
                suites: Suite::ALL.to_vec(),
                ..server_config(Suite::PskAes128Ccm8, bits)
            };
            let mut server = Server::new(config, 1);
            let uri = format!("coaps://127.0.0.1:{}/hello", wire.port());
            let mut peer = Peer::start(program, &["-B", "8", "-k", KEY, "-u", "device", "-m", "get", &uri]);
            wire.server(&mut server, |server, said| {
                match said {
                    Some((from, Output::Data(data))) => {
                        // the ACK of a CON GET, with its message id and token
                        let tokens = usize::from(data[0] & 15);
                        let answer = [&[0x60 | data[0] & 15, 0x45], &data[2..4 + tokens], b"\xffhello there"].concat();
                        assert!(server.send(wire.now(), from, &answer));
                    }
                    Some((_, Output::Failed(failure))) => panic!("{program} {bits}: {failure}"),
                    _ => {}
                }
                peer.has_said("hello there")
            });
        }
    }
}

/// Scandium, from where `fixtures/peers/install.sh` puts Leshan.
fn scandium(role: &str, port: u16, suite: Suite, id: usize) -> Option<Peer> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../../target"), PathBuf::from);
    let lib = target.join("peers/leshan/lib");
    let there = std::fs::read_dir(&lib).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("scandium")))
    });
    if !is_there("java") || !required_or_skipped("Scandium (fixtures/peers/install.sh leshan)", there) {
        return None;
    }
    let classes = format!("{}/*", lib.display());
    let source = here.join("tests/scandium/Echo.java").display().to_string();
    let (port, id) = (port.to_string(), id.to_string());
    let args = [
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &classes,
        &source,
        role,
        &port,
        suite.name(),
        &id,
    ];
    Some(Peer::start("java", &args))
}

#[test]
fn a_client_moves_with_its_connection_id_at_the_server_of_scandium() {
    for suite in Suite::ALL {
        let port = free_ports();
        let Some(_peer) = scandium("server", port, suite, 6) else {
            return;
        };
        let mut wire = Wire::new();
        let mut client = Client::new(client_config(suite, 3), 1);
        let mut agreed = None;
        for round in 0..3 {
            let text = format!("round {round}");
            let expected = format!("echo {text}");
            client.send(wire.now(), text.as_bytes());
            if round == 0 {
                client.connect(wire.now());
            }
            wire.client(&mut client, port, |client, output| {
                match output {
                    // it is still starting
                    Some(Output::Failed(Failure::TimedOut { .. })) => {
                        client.send(wire.now(), text.as_bytes());
                        client.connect(wire.now());
                    }
                    Some(Output::Failed(failure)) => panic!("{suite} round {round}: {failure}"),
                    Some(Output::Established(established)) => agreed = Some(established),
                    Some(Output::Data(data)) => return data == expected.as_bytes(),
                    _ => {}
                }
                false
            });
            // another port, in the middle of it
            wire.socket = Wire::new().socket;
        }
        let ids = agreed.unwrap().connection_ids.unwrap();
        assert_eq!((ids.own.as_slice(), ids.peer.len()), (&b"cid"[..], 6));
    }
}

#[test]
fn the_client_of_scandium_moves_with_its_connection_id() {
    for suite in Suite::ALL {
        let wire = Wire::new();
        let Some(mut peer) = scandium("client", wire.port(), suite, 4) else {
            return;
        };
        let mut server = Server::new(server_config(suite, 3), 1);
        peer.say("first\n");
        let (mut moves, mut lines) = (0, Vec::new());
        let shift = Cell::new(0);
        wire.server_behind(&mut server, &shift, |server, said| {
            match said {
                Some((from, Output::Established(agreed))) => {
                    let ids = agreed.connection_ids.unwrap();
                    assert_eq!((ids.own.len(), ids.peer.len()), (8, 4));
                    assert!(server.send(wire.now(), from, b"welcome"));
                }
                Some((_, Output::Failed(failure))) => panic!("{suite}: {failure}"),
                Some((to, Output::Moved { from })) => {
                    assert_ne!(from, to);
                    moves += 1;
                }
                Some((from, Output::Data(data))) => {
                    lines.push(data);
                    assert!(server.send(wire.now(), from, b"answer"));
                    // from now on the server sees another address
                    shift.set(shift.get() + 1);
                    if lines.len() == 1 {
                        peer.say("second\n");
                    }
                }
                _ => {}
            }
            lines.len() == 2 && peer.has_said("answer\nanswer")
        });
        assert_eq!((lines, moves), (vec!["first".into(), "second".into()], 1), "{suite}");
    }
}
