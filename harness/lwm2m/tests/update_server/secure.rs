//! The secure address: who may register, and that nothing of a secured device goes out in clear.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_adapter::{Listen, Operation, Request, Security};
use fotaproof_dtls::{Client, ClientConfig, Output, Psk};
use fotaproof_lwm2m::{ServerDefect, UpdateServer, UpdateServerConfig};
use fotaproof_wire::coap::{Code, MessageView};

const NOW: Duration = Duration::from_secs(1);

/// A server that knows `a` and `b`, each under its own name.
fn server(defect: Option<ServerDefect>) -> UpdateServer {
    let mut server = UpdateServer::new(UpdateServerConfig {
        secure: Some("192.0.2.1:5684".parse().unwrap()),
        defects: defect.into_iter().collect(),
        ..UpdateServerConfig::new("192.0.2.1:5683".parse().unwrap())
    });
    let credential = |name: &str, key: &str| fotaproof_adapter::Credential {
        identity: name.to_owned(),
        key: key.to_owned(),
        endpoint: Some(name.to_owned()),
    };
    let operation = Operation::Start {
        instance: "i".to_owned(),
        listen: Listen {
            host: "192.0.2.1".to_owned(),
            port: 5683,
            secure_port: Some(5684),
        },
        security: Security::of(vec![credential("a", "00aa"), credential("b", "00bb")]),
        timings: None,
        folder: None,
    };
    server.request(NOW, Request { id: 1, operation }, &mut |_| None);
    server
}

/// A device that says one thing at a time.
struct Peer {
    client: Client,
    address: SocketAddr,
}

impl Peer {
    fn new(identity: &str, key: [u8; 2], port: u16) -> Self {
        Self {
            client: Client::new(ClientConfig::new(Psk::new(identity, key)), u64::from(port)),
            address: SocketAddr::from(([192, 0, 2, 10], port)),
        }
    }

    /// Shakes hands if need be, sends, and gives the answer.
    fn ask(&mut self, server: &mut UpdateServer, message: &[u8]) -> Option<Code> {
        if self.client.established().is_none() {
            self.client.connect(NOW);
        }
        let mut answer = None;
        let mut sent = false;
        loop {
            let mut busy = false;
            if self.client.established().is_some() && !sent {
                sent = self.client.send(NOW, message);
            }
            while let Some(output) = self.client.poll_output() {
                busy = true;
                match output {
                    Output::Datagram(bytes) => server.handle_secure_datagram(NOW, self.address, &bytes),
                    Output::Data(bytes) => {
                        let view = MessageView::parse(&bytes).unwrap();
                        if view.code().is_response() {
                            answer = Some(view.code());
                        }
                    }
                    _ => {}
                }
            }
            while let Some(transmit) = server.poll_secure_transmit() {
                busy = true;
                if transmit.to == self.address {
                    self.client.handle_datagram(NOW, &transmit.bytes);
                }
            }
            assert_eq!(server.poll_transmit(), None, "in clear to a device with a key");
            if !busy {
                return answer;
            }
        }
    }
}

/// A Register under a name with a message ID: CON POST /rd?ep=NAME&lwm2m=1.0 with one object.
fn register(name: u8, id: u8) -> Bytes {
    let mut bytes = vec![0x41, 2, 0, id, id, 0xb2, b'r', b'd', 0x44, b'e', b'p', b'=', name];
    bytes.extend_from_slice(b"\x09lwm2m=1.0\xff</5/0>");
    bytes.into()
}

#[test]
fn a_name_is_for_its_identity_and_no_other() {
    let mut server = server(None);
    let mut a = Peer::new("a", [0, 0xaa], 1000);
    let mut b = Peer::new("b", [0, 0xbb], 2000);
    assert_eq!(a.ask(&mut server, &register(b'a', 1)), Some(Code::CREATED));
    assert_eq!(b.ask(&mut server, &register(b'a', 1)), Some(Code::FORBIDDEN));
    assert_eq!(b.ask(&mut server, &register(b'c', 2)), Some(Code::FORBIDDEN));
    assert_eq!(b.ask(&mut server, &register(b'b', 3)), Some(Code::CREATED));
    // nor does it go without DTLS
    server.handle_datagram(NOW, SocketAddr::from(([192, 0, 2, 11], 3000)), &register(b'a', 4));
    let refusal = server.poll_transmit().unwrap();
    assert_eq!(MessageView::parse(&refusal.bytes).unwrap().code(), Code::FORBIDDEN);
    assert_eq!(server.server().registrations().get("a").unwrap().address, a.address);
}

#[test]
fn the_registration_of_another_is_not_there() {
    let mut server = server(None);
    let mut a = Peer::new("a", [0, 0xaa], 1000);
    let mut b = Peer::new("b", [0, 0xbb], 2000);
    assert_eq!(a.ask(&mut server, &register(b'a', 1)), Some(Code::CREATED));
    assert_eq!(b.ask(&mut server, &register(b'b', 1)), Some(Code::CREATED));
    let location = server.server().registrations().get("a").unwrap().location.clone();
    for (id, code) in [(5, 2), (6, 4)] {
        let mut bytes = vec![0x41, code, 0, id, id, 0xb2, b'r', b'd', 0x08];
        bytes.extend_from_slice(location[1].as_bytes());
        assert_eq!(b.ask(&mut server, &bytes), Some(Code::NOT_FOUND));
    }
    assert!(server.server().registrations().get("a").is_some());
}

#[test]
fn a_handshake_that_fails_ends_no_other_association() {
    for (defect, stands) in [(None, true), (Some(ServerDefect::FailureEndsAll), false)] {
        let mut server = server(defect);
        let mut a = Peer::new("a", [0, 0xaa], 1000);
        assert_eq!(a.ask(&mut server, &register(b'a', 1)), Some(Code::CREATED));
        let mut wrong = Peer::new("a", [0, 0], 2000);
        assert_eq!(wrong.ask(&mut server, &register(b'a', 1)), None);
        assert_eq!(server.server().registrations().get("a").unwrap().address, a.address);
        // the server closes by a datagram that `ask` of the other did not take
        let still = a.ask(&mut server, &register(b'a', 2)) == Some(Code::CREATED);
        assert_eq!(still, stands, "{defect:?}");
    }
}

#[test]
fn a_connection_id_finds_the_association_at_another_address() {
    for (defect, found) in [(None, true), (Some(ServerDefect::CidIgnored), false)] {
        let mut server = server(defect);
        let mut a = Peer::new("a", [0, 0xaa], 1000);
        a.client.config_mut().connection_id = Some(Vec::new());
        assert_eq!(a.ask(&mut server, &register(b'a', 1)), Some(Code::CREATED));
        a.address.set_port(1001);
        let answer = a.ask(&mut server, &register(b'a', 2));
        assert_eq!(answer == Some(Code::CREATED), found, "{defect:?}");
        let at = server.server().registrations().get("a").unwrap().address;
        assert_eq!(at.port(), if found { 1001 } else { 1000 });
    }
}

#[test]
fn the_defects_let_in_whom_they_should_not() {
    let mut unbound = server(Some(ServerDefect::IdentityUnbound));
    let mut b = Peer::new("b", [0, 0xbb], 2000);
    assert_eq!(b.ask(&mut unbound, &register(b'a', 1)), Some(Code::CREATED));
    let mut any = server(Some(ServerDefect::AnyIdentity));
    let mut nobody = Peer::new("nobody", [0, 0xaa], 2000);
    assert_eq!(nobody.ask(&mut any, &register(b'n', 1)), Some(Code::CREATED));
    let mut correct = server(None);
    let mut nobody = Peer::new("nobody", [0, 0xaa], 2000);
    assert_eq!(nobody.ask(&mut correct, &register(b'n', 1)), None);
}
