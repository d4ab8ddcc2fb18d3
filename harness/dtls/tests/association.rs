//! Associations that stand: replays, connection ids, a client that begins anew, alerts, and whoever only guesses.

mod common;

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_dtls::{Alert, ClientConfig, Failure, Output, ServerConfig, Suite};

use self::common::{CLIENT, World, client_config, server_config};

const ELSEWHERE: ([u8; 4], u16) = ([10, 0, 0, 9], 50_009);
const SECOND: Duration = Duration::from_secs(1);

/// What the client would send for some data.
fn sealed(world: &mut World, data: &[u8]) -> Bytes {
    assert!(world.client.send(world.now, data));
    match world.client.poll_output() {
        Some(Output::Datagram(datagram)) => datagram,
        other => panic!("{other:?}"),
    }
}

fn to_server(world: &mut World, from: ([u8; 4], u16), datagram: &[u8]) {
    world.server.handle_datagram(world.now, from.into(), datagram);
    world.collect();
}

#[test]
fn a_record_is_taken_once_late_ones_too_but_not_older_than_the_window() {
    let mut world = World::connected(client_config(), server_config(), 1);
    // the first is number 1: Finished was 0
    let records: Vec<Bytes> = (1..=65_u8).map(|number| sealed(&mut world, &[number])).collect();
    for (number, expected) in [(65, 1), (65, 1), (2, 2), (2, 2), (1, 2), (64, 3), (64, 3)] {
        to_server(&mut world, CLIENT, &records[number - 1]);
        assert_eq!(world.data_at_server().len(), expected, "record {number}");
    }
    assert_eq!(world.data_at_server(), [[65], [2], [64]]);
    assert_eq!(world.server_failures(), [] as [&Failure; 0]);
}

#[test]
fn any_changed_byte_is_left_out_without_a_word() {
    for suite in Suite::ALL {
        for encrypt_then_mac in [false, true] {
            let client = ClientConfig {
                suites: vec![suite],
                encrypt_then_mac,
                ..client_config()
            };
            let mut world = World::connected(client, server_config(), 1);
            let good = sealed(&mut world, b"data");
            let before = (world.sent.len(), world.at_server.len());
            // the last byte of the MAC or tag among them
            for at in 0..good.len() {
                let mut changed = good.to_vec();
                changed[at] ^= 1;
                to_server(&mut world, CLIENT, &changed);
            }
            assert_eq!((world.sent.len(), world.at_server.len()), before, "{suite}");
            to_server(&mut world, CLIENT, &good);
            assert_eq!(world.data_at_server(), [b"data"]);
        }
    }
}

fn with_ids() -> (ClientConfig, ServerConfig) {
    let client = ClientConfig {
        connection_id: Some(b"c".to_vec()),
        ..client_config()
    };
    let server = ServerConfig {
        connection_id: Some(4),
        ..server_config()
    };
    (client, server)
}

#[test]
fn with_a_connection_id_the_association_follows_the_client() {
    for suite in Suite::ALL {
        let (client, server) = with_ids();
        let client = ClientConfig {
            suites: vec![suite],
            ..client
        };
        let mut world = World::connected(client, server, 1);
        let ids = world.client.established().unwrap().connection_ids.clone().unwrap();
        assert_eq!((ids.own.as_slice(), ids.peer.len()), (&b"c"[..], 4));
        let old = sealed(&mut world, b"old");
        world.address = ELSEWHERE.into();
        world.client.send(world.now, b"new");
        world.run(world.now + SECOND);
        let (from, to): (SocketAddr, SocketAddr) = (CLIENT.into(), ELSEWHERE.into());
        let end = &world.at_server[world.at_server.len() - 2..];
        let data = Output::Data(Bytes::from_static(b"new"));
        assert_eq!(end, [(to, Output::Moved { from }), (to, data)]);
        assert_eq!(
            (world.server.identity(from), world.server.identity(to)),
            (None, Some(&b"device"[..]))
        );
        assert!(!world.server.send(world.now, from, b"lost"));
        assert!(world.server.send(world.now, to, b"answer"));
        world.run(world.now + SECOND);
        assert_eq!(world.data_at_client(), [b"answer"]);

        // a record from before that comes late from the old address is data, and no reason to go back (RFC 9146 section 6)
        to_server(&mut world, CLIENT, &old);
        assert_eq!(
            world.at_server.last().unwrap(),
            &(to, Output::Data(Bytes::from_static(b"old")))
        );
        assert_eq!(world.server.identity(to), Some(&b"device"[..]));
        // nor is one that was seen already
        to_server(&mut world, CLIENT, &old);
        assert_eq!(world.data_at_server().len(), 2);
    }
}

#[test]
fn a_record_that_was_changed_moves_nothing() {
    let (client, server) = with_ids();
    let mut world = World::connected(client, server, 1);
    let mut record = sealed(&mut world, b"data").to_vec();
    *record.last_mut().unwrap() ^= 1;
    to_server(&mut world, ELSEWHERE, &record);
    assert_eq!(world.server.identity(CLIENT.into()), Some(&b"device"[..]));
    assert_eq!(world.data_at_server(), [b""; 0]);
}

#[test]
fn without_a_connection_id_a_new_address_is_unknown() {
    let (client, server) = with_ids();
    let by_address = ServerConfig {
        connection_ids_by_address: true,
        ..server.clone()
    };
    let no_ids = ServerConfig {
        connection_id: None,
        ..server
    };
    for server in [by_address, no_ids] {
        let mut world = World::connected(client.clone(), server, 1);
        let record = sealed(&mut world, b"data");
        to_server(&mut world, ELSEWHERE, &record);
        assert_eq!(world.data_at_server(), [b""; 0]);
        to_server(&mut world, CLIENT, &record);
        assert_eq!(world.data_at_server(), [b"data"]);
    }
}

#[test]
fn a_client_may_use_the_servers_id_and_want_none_itself() {
    let (client, server) = with_ids();
    let client = ClientConfig {
        connection_id: Some(Vec::new()),
        ..client
    };
    let mut world = World::connected(client, server, 1);
    world.address = ELSEWHERE.into();
    world.client.send(world.now, b"up");
    world.run(world.now + SECOND);
    world.server.send(world.now, ELSEWHERE.into(), b"down");
    world.run(world.now + SECOND);
    assert_eq!(
        (world.data_at_server(), world.data_at_client()),
        (vec![&b"up"[..]], vec![&b"down"[..]])
    );
    // 25 is a record with an id, 23 one without
    let kinds: Vec<u8> = world.sent[world.sent.len() - 2..]
        .iter()
        .map(|(_, datagram)| datagram[0])
        .collect();
    assert_eq!(kinds, [25, 23]);
}

#[test]
fn a_client_that_begins_anew_replaces_its_association_when_it_is_through() {
    let mut world = World::connected(client_config(), server_config(), 1);
    let old = sealed(&mut world, b"old");
    world.client.connect(world.now);
    // ClientHello, HelloVerifyRequest, ClientHello, ServerHello: not through yet
    world.run(world.now + Duration::from_millis(70));
    assert_eq!(world.established_at_server().len(), 1);
    to_server(&mut world, CLIENT, &old);
    assert_eq!(world.data_at_server(), [b"old"], "the old association stands");
    world.run(world.now + SECOND);
    assert_eq!(world.established_at_server().len(), 2);
    world.client.send(world.now, b"new");
    world.run(world.now + SECOND);
    assert_eq!(world.data_at_server(), [&b"old"[..], b"new"]);
    // now the keys are gone
    let count = world.at_server.len();
    to_server(&mut world, CLIENT, &old);
    assert_eq!(world.at_server.len(), count);
}

#[test]
fn a_hello_from_somebody_with_the_clients_address_ends_nothing() {
    let mut world = World::connected(client_config(), server_config(), 1);
    let mut stranger = fotaproof_dtls::Client::new(client_config(), 99);
    stranger.connect(world.now);
    let Some(Output::Datagram(hello)) = stranger.poll_output() else {
        panic!()
    };
    to_server(&mut world, CLIENT, &hello);
    world.client.send(world.now, b"still here");
    world.run(world.now + 1000 * SECOND);
    assert_eq!(world.data_at_server(), [b"still here"]);
    assert!(world.client.is_established());
    assert_eq!(world.server_failures(), [] as [&Failure; 0]);
}

#[test]
fn a_device_whose_random_never_changes_can_begin_anew() {
    let mut world = World::connected(client_config(), server_config(), 1);
    // the same seed: the same ClientHello, byte by byte
    world.client = fotaproof_dtls::Client::new(client_config(), 1);
    world.client.connect(world.now);
    world.run(world.now + SECOND);
    assert!(world.client.is_established());
    assert_eq!(world.established_at_server().len(), 2);
}

#[test]
fn a_cookie_holds_for_its_address_and_its_bytes_alone() {
    let mut world = World::new(client_config(), server_config(), 1);
    world.client.connect(world.now);
    world.run(Duration::from_millis(50));
    world.collect();
    let hello = world.sent[2].1.clone();
    assert!(hello.len() > world.sent[0].1.len(), "with its cookie");
    let answer = |hello: &[u8], from: ([u8; 4], u16)| {
        let mut other = World::new(client_config(), server_config(), 1);
        to_server(&mut other, from, hello);
        fotaproof_dtls::describe(&other.sent[0].1)
    };
    assert_eq!(answer(&hello, CLIENT), "ServerHello, ServerHelloDone");
    assert_eq!(answer(&hello, ELSEWHERE), "HelloVerifyRequest");
    // record and message header, version, random, no session id, the length of the cookie
    let cookie = 13 + 12 + 2 + 32 + 1 + 1;
    for at in [cookie, cookie + 15] {
        let mut changed = hello.to_vec();
        changed[at] ^= 1;
        assert_eq!(answer(&changed, CLIENT), "HelloVerifyRequest", "byte {at}");
    }
    let mut changed = hello.to_vec();
    changed[13 + 12 + 2] ^= 1;
    assert_eq!(answer(&changed, CLIENT), "HelloVerifyRequest", "the random");
}

#[test]
fn closing_is_told_and_answered() {
    let mut world = World::connected(client_config(), server_config(), 1);
    world.client.close(world.now);
    world.run(world.now + SECOND);
    assert_eq!(world.at_client.last(), Some(&Output::Closed));
    assert_eq!(world.at_server.last(), Some(&(CLIENT.into(), Output::Closed)));
    assert!(!world.server.send(world.now, CLIENT.into(), b"late"));

    let mut world = World::connected(client_config(), server_config(), 1);
    world.server.close(world.now, CLIENT.into());
    world.run(world.now + SECOND);
    assert_eq!(world.at_client.last(), Some(&Output::Closed));
    assert_eq!(world.server.peers().count(), 0);
}

#[test]
fn an_alert_in_clear_ends_a_handshake_but_no_association() {
    // fatal handshake_failure
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    let mut world = World::connected(client_config(), server_config(), 1);
    world.client.handle_datagram(world.now, &alert);
    to_server(&mut world, CLIENT, &alert);
    assert!(world.client.is_established());
    assert_eq!(world.server.identity(CLIENT.into()), Some(&b"device"[..]));

    let mut world = World::new(client_config(), server_config(), 1);
    world.client.connect(world.now);
    world.client.handle_datagram(world.now, &alert);
    world.collect();
    let alert = Alert::fatal(Alert::HANDSHAKE_FAILURE);
    assert_eq!(world.client_failures(), [&Failure::Alert(alert)]);
}

#[test]
fn what_a_client_sent_or_got_can_be_opened_afterwards() {
    let (client, server) = with_ids();
    let mut world = World::connected(client, server, 1);
    let record = sealed(&mut world, b"up");
    assert_eq!(world.client.open(true, &record).as_deref(), Some(&b"up"[..]));
    assert_eq!(world.client.open(false, &record), None);
    assert_eq!(world.client.open(true, &world.sent[0].1), None, "nothing but a hello");
    world.server.send(world.now, CLIENT.into(), b"down");
    world.collect();
    let (_, record) = world.sent.last().unwrap();
    assert_eq!(world.client.open(false, record).as_deref(), Some(&b"down"[..]));
}

#[test]
fn data_wait_for_the_end_of_the_handshake() {
    let mut world = World::new(client_config(), server_config(), 1);
    assert!(world.client.send(world.now, b"first"));
    assert!(world.client.send(world.now, &[0; 1 << 14]));
    assert!(
        !world.client.send(world.now, &[0; (1 << 14) + 1]),
        "longer than a record"
    );
    world.client.connect(world.now);
    world.run(SECOND);
    let lengths: Vec<usize> = world.data_at_server().iter().map(|data| data.len()).collect();
    assert_eq!(lengths, [5, 1 << 14]);
}

#[test]
fn renegotiation_is_refused_and_the_association_goes_on() {
    // HelloRequest from the server, and from the client a ClientHello, each inside of the association: only a peer's own keys can
    // make such a record, so the two ends of one association are taken apart with the crate's parts
    use fotaproof_dtls::protection::{CipherSuite, Envelope, Keys, Negotiated};
    let mut world = World::connected(client_config(), server_config(), 1);
    let Some(Output::KeyLog(line)) = world
        .at_client
        .iter()
        .find(|output| matches!(output, Output::KeyLog(_)))
    else {
        panic!()
    };
    let hex = |word: &str| -> Vec<u8> {
        let digits = |at: usize| u8::from_str_radix(&word[at..at + 2], 16).unwrap();
        (0..word.len()).step_by(2).map(digits).collect()
    };
    let words: Vec<&str> = line.split(' ').collect();
    // the ServerHello stands at the start of the fourth datagram: header, message header, version, random
    let server_random = world.sent[3].1[13 + 12 + 2..][..32].try_into().unwrap();
    let negotiated = Negotiated {
        client_random: hex(words[1]).try_into().unwrap(),
        server_random,
        suite: CipherSuite::of(0xc0a8).unwrap(),
        extended_master_secret: true,
        encrypt_then_mac: false,
    };
    let keys = Keys::derive(&negotiated, &hex(words[2]).try_into().unwrap());
    let record = |from_client: bool, content: &[u8]| {
        let number = [0, 1, 0, 0, 0, 0, 0, 40];
        let envelope = Envelope {
            content_type: 22,
            version: [0xfe, 0xfd],
            number,
            cid: None,
            fragment: content,
        };
        let sealed = keys.seal(from_client, &envelope, [0; 16]).unwrap();
        let length = u16::try_from(sealed.len()).unwrap().to_be_bytes();
        [&[22, 0xfe, 0xfd][..], &number, &length, &sealed].concat()
    };
    let before = world.sent.len();
    let hello_request = [0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0];
    world.client.handle_datagram(world.now, &record(false, &hello_request));
    let client_hello = [1, 0, 0, 1, 0, 5, 0, 0, 0, 0, 0, 1, 0];
    to_server(&mut world, CLIENT, &record(true, &client_hello));
    let answers: Vec<_> = world.sent[before..]
        .iter()
        .map(|(by_client, datagram)| (*by_client, datagram[0]))
        .collect();
    assert_eq!(answers, [(true, 21), (false, 21)], "an alert each");
    world.client.send(world.now, b"goes on");
    world.run(world.now + SECOND);
    assert_eq!(world.data_at_server(), [b"goes on"]);
    assert!(world.client.is_established());
}
