//! Handshakes in virtual time: what is agreed on, what is refused, and how a bad link is got over.

mod common;

use core::time::Duration;

use fotaproof_dtls::{
    Alert, ClientConfig, Failure, Output, Psk, ServerConfig, Suite, Timings, UnknownIdentities, describe,
};

use self::common::{CLIENT, Weather, World, client_config, psk, server_config};

const LONG: Duration = Duration::from_secs(3600);

/// What the two sent, in words.
fn story(world: &World) -> Vec<String> {
    let arrow = |by_client: bool| if by_client { "->" } else { "<-" };
    world
        .sent
        .iter()
        .map(|(by_client, datagram)| format!("{} {}", arrow(*by_client), describe(datagram)))
        .collect()
}

#[test]
fn a_handshake_with_a_cookie_takes_three_round_trips() {
    let world = World::connected(client_config(), server_config(), 1);
    assert_eq!(
        story(&world),
        [
            "-> ClientHello",
            "<- HelloVerifyRequest",
            "-> ClientHello",
            "<- ServerHello, ServerHelloDone",
            "-> ClientKeyExchange, ChangeCipherSpec, Finished",
            "<- ChangeCipherSpec, Finished",
        ]
    );
    assert_eq!(world.server.identity(CLIENT.into()), Some(&b"device"[..]));
    assert_eq!(world.client.poll_deadline(), None);
    assert_eq!(world.server.poll_deadline(), None);
}

#[test]
fn without_cookies_and_with_a_hint_it_is_two() {
    let server = ServerConfig {
        cookies: false,
        identity_hint: Some(b"hint".to_vec()),
        ..server_config()
    };
    let world = World::connected(client_config(), server, 1);
    assert_eq!(
        story(&world)[..2],
        ["-> ClientHello", "<- ServerHello, ServerKeyExchange, ServerHelloDone"]
    );
    assert_eq!(world.sent.len(), 4);
}

#[test]
fn both_suites_with_and_without_each_extension() {
    for suite in Suite::ALL {
        for bits in 0..32_u32 {
            let on = |bit: u32| bits >> bit & 1 == 1;
            let client = ClientConfig {
                suites: vec![suite],
                extended_master_secret: on(0),
                encrypt_then_mac: on(1),
                connection_id: on(4).then(|| b"client".to_vec()),
                ..client_config()
            };
            let server = ServerConfig {
                extended_master_secret: on(2),
                encrypt_then_mac: on(3),
                connection_id: on(4).then_some(6),
                ..server_config()
            };
            let mut world = World::connected(client, server, u64::from(bits));
            let agreed = world.client.established().unwrap().clone();
            assert_eq!(agreed.suite, suite);
            assert_eq!(agreed.extended_master_secret, on(0) && on(2));
            let cbc = suite == Suite::PskAes128CbcSha256;
            assert_eq!(agreed.encrypt_then_mac, cbc && on(1) && on(3));
            assert_eq!(agreed.connection_ids.is_some(), on(4));
            let at_server = world.server.established(CLIENT.into()).unwrap();
            assert_eq!(at_server.suite, suite);
            assert_eq!(at_server.extended_master_secret, agreed.extended_master_secret);
            world.client.send(world.now, b"up");
            world.server.send(world.now, CLIENT.into(), b"down");
            world.run(world.now + Duration::from_secs(1));
            assert_eq!(world.data_at_server(), [b"up"]);
            assert_eq!(world.data_at_client(), [b"down"]);
        }
    }
}

#[test]
fn the_server_prefers_its_first_suite() {
    let server = ServerConfig {
        suites: vec![Suite::PskAes128CbcSha256, Suite::PskAes128Ccm8],
        ..server_config()
    };
    let world = World::connected(client_config(), server, 1);
    assert_eq!(world.client.established().unwrap().suite, Suite::PskAes128CbcSha256);
}

#[test]
fn no_common_suite_is_told() {
    let client = ClientConfig {
        suites: vec![Suite::PskAes128Ccm8],
        ..client_config()
    };
    let server = ServerConfig {
        suites: vec![Suite::PskAes128CbcSha256],
        ..server_config()
    };
    let mut world = World::new(client, server, 1);
    world.client.connect(world.now);
    world.run(LONG);
    let alert = Alert::fatal(Alert::HANDSHAKE_FAILURE);
    assert_eq!(world.client_failures(), [&Failure::Alert(alert)]);
    assert_eq!(
        world.server_failures(),
        [&Failure::NoCommonSuite {
            offered: vec![0xc0a8, 0x00ff]
        }]
    );
}

fn with_psk(psk: Psk, server: ServerConfig) -> World {
    let mut world = World::new(ClientConfig::new(psk), server, 1);
    world.client.connect(world.now);
    world.client.send(world.now, b"secret");
    world.run(LONG);
    assert_eq!(world.data_at_server(), [b""; 0]);
    assert_eq!(world.established_at_server(), []);
    world
}

#[test]
fn an_unknown_identity_is_told_so() {
    let world = with_psk(Psk::new("nobody", [7; 16]), server_config());
    let alert = Alert::fatal(Alert::UNKNOWN_PSK_IDENTITY);
    assert_eq!(world.client_failures(), [&Failure::Alert(alert)]);
    let identity = b"nobody".to_vec();
    assert_eq!(world.server_failures(), [&Failure::UnknownIdentity { identity }]);
}

#[test]
fn a_wrong_key_and_a_hidden_unknown_identity_look_the_same() {
    let hiding = ServerConfig {
        unknown_identities: UnknownIdentities::Hide,
        ..server_config()
    };
    for (psk, server) in [
        (Psk::new("device", [0; 16]), server_config()),
        (Psk::new("nobody", [7; 16]), hiding),
    ] {
        for suite in Suite::ALL {
            let server = ServerConfig {
                suites: vec![suite],
                ..server.clone()
            };
            let world = with_psk(psk.clone(), server);
            let alert = Alert::fatal(Alert::DECRYPT_ERROR);
            assert_eq!(world.client_failures(), [&Failure::Alert(alert)]);
            assert_eq!(world.server_failures(), [&Failure::DecryptError]);
        }
    }
}

#[test]
fn a_wrong_key_is_told_on_a_bad_link_too() {
    for seed in 0..200 {
        let mut world = World::new(ClientConfig::new(Psk::new("device", [0; 16])), server_config(), seed);
        world.weather = Weather {
            loss: 20,
            duplication: 10,
            reordering: 20,
        };
        world.client.connect(world.now);
        world.run(LONG);
        let told = [&Failure::Alert(Alert::fatal(Alert::DECRYPT_ERROR))];
        assert_eq!(world.client_failures(), told, "seed {seed}");
        assert!(world.server_failures().contains(&&Failure::DecryptError));
        assert_eq!(world.established_at_server(), []);
    }
}

#[test]
fn a_server_with_the_planted_defect_takes_any_identity() {
    let server = ServerConfig {
        unknown_identities: UnknownIdentities::FirstKey,
        ..ServerConfig::new([psk()])
    };
    let world = World::connected(ClientConfig::new(Psk::new("nobody", [7; 16])), server, 1);
    assert_eq!(world.server.identity(CLIENT.into()), Some(&b"nobody"[..]));
}

#[test]
fn a_bad_link_is_got_over() {
    let timings = Timings {
        retransmissions: 16,
        ..Timings::default()
    };
    for seed in 0..1000 {
        let suite = Suite::ALL[usize::from(seed % 2 == 0)];
        // every fourth in fragments, and every fifth with connection ids
        let mtu = if seed % 4 == 0 { 160 } else { 1200 };
        let client = ClientConfig {
            psk: Psk::new("device".repeat(40), [7; 16]),
            suites: vec![suite],
            timings,
            mtu,
            connection_id: (seed % 5 == 0).then(|| b"me".to_vec()),
            extended_master_secret: seed % 3 != 0,
            ..client_config()
        };
        let server = ServerConfig {
            keys: [("device".repeat(40).into(), vec![7; 16])].into(),
            timings,
            mtu,
            connection_id: Some(4),
            identity_hint: (seed % 7 == 0).then(|| vec![b'h'; 300]),
            ..server_config()
        };
        let mut world = World::new(client, server, seed);
        world.weather = Weather {
            loss: 30,
            duplication: 20,
            reordering: 30,
        };
        world.client.connect(world.now);
        world.run(LONG);
        assert!(world.client.is_established(), "seed {seed}: {:?}", world.at_client);
        assert_eq!(world.client_failures(), [] as [&Failure; 0], "seed {seed}");
        assert_eq!(world.server_failures(), [] as [&Failure; 0], "seed {seed}");
        assert_eq!(world.established_at_server().len(), 1, "seed {seed}");
        // data arrive at most once, and some do
        for _ in 0..20 {
            world.client.send(world.now, b"up");
            world.server.send(world.now, CLIENT.into(), b"down");
        }
        world.run(world.now + LONG);
        assert!((5..=20).contains(&world.data_at_server().len()), "seed {seed}");
        assert!((5..=20).contains(&world.data_at_client().len()), "seed {seed}");
    }
}

#[test]
fn a_client_can_begin_anew_again_and_again_on_a_bad_link() {
    let timings = Timings {
        retransmissions: 16,
        ..Timings::default()
    };
    let mut spoiled = 0;
    for seed in 0..300 {
        let client = ClientConfig {
            timings,
            connection_id: (seed % 2 == 0).then(|| b"me".to_vec()),
            ..client_config()
        };
        let server = ServerConfig {
            timings,
            connection_id: Some(4),
            ..server_config()
        };
        let mut world = World::new(client, server, seed);
        world.weather = Weather {
            loss: 20,
            duplication: 30,
            reordering: 30,
        };
        for round in 1..=5_u64 {
            // in the midst of what the association before still has under way
            world.client.connect(world.now);
            world.client.send(world.now, b"up");
            let until = world.now + Duration::from_secs(if round == 5 { 3600 } else { seed % 9 });
            world.run(until);
            world.now = until;
        }
        // a ServerHello does not say which ClientHello it answers: a late one may spoil an attempt, and the next one succeeds
        if !world.client.is_established() {
            spoiled += 1;
            world.client.connect(world.now);
            world.run(world.now + LONG);
        }
        assert!(world.client.is_established(), "seed {seed}: {:?}", world.at_client);
        let before = world.data_at_server().len();
        for _ in 0..20 {
            world.client.send(world.now, b"up");
        }
        world.run(world.now + LONG);
        assert!(world.data_at_server().len() >= before + 5, "seed {seed}");
        assert_eq!(world.server.peers().count(), 1);
    }
    assert!(spoiled <= 25, "{spoiled} of 300");
}

#[test]
fn messages_longer_than_a_datagram_are_fragmented() {
    let identity = "i".repeat(400);
    let client = ClientConfig {
        psk: Psk::new(identity.clone(), [7; 16]),
        mtu: 200,
        ..client_config()
    };
    let server = ServerConfig {
        mtu: 200,
        identity_hint: Some(vec![b'h'; 500]),
        ..ServerConfig::new([Psk::new(identity, [7; 16])])
    };
    let world = World::connected(client, server, 3);
    assert!(world.sent.iter().all(|(_, datagram)| datagram.len() <= 200));
    let story = story(&world).join("; ");
    assert!(story.contains("ClientKeyExchange (bytes 0-175 of 402)"), "{story}");
}

#[test]
fn nobody_there_times_out_after_all_retransmissions() {
    let timings = Timings {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(4),
        retransmissions: 4,
    };
    let client = ClientConfig {
        timings,
        ..client_config()
    };
    let mut world = World::new(client, server_config(), 1);
    world.weather.loss = 100;
    world.client.connect(world.now);
    // 1 + 2 + 4 + 4 + 4
    world.run(Duration::from_millis(14_999));
    assert_eq!((world.sent.len(), world.at_client.len()), (5, 0));
    world.run(Duration::from_secs(15));
    assert_eq!(
        world.client_failures(),
        [&Failure::TimedOut {
            sent: 5,
            waiting_for: "HelloVerifyRequest or ServerHello"
        }]
    );
    assert_eq!(world.client.poll_deadline(), None);
    // the same bytes each time, but for the number of the record
    let (first, last) = (&world.sent[0].1, &world.sent[4].1);
    assert_eq!((&first[..10], &first[11..]), (&last[..10], &last[11..]));
    assert_eq!((first[10], last[10]), (0, 4));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = |seed| {
        let mut world = World::connected(client_config(), server_config(), seed);
        world.client.send(world.now, b"data");
        world.run(LONG);
        world.sent
    };
    assert_eq!(bytes(5), bytes(5));
    assert_ne!(bytes(5), bytes(6));
}

#[test]
fn both_write_the_same_line_into_a_key_log() {
    let world = World::connected(client_config(), server_config(), 1);
    let line = |outputs: Vec<&Output>| {
        outputs.into_iter().find_map(|output| match output {
            Output::KeyLog(line) => Some(line.clone()),
            _ => None,
        })
    };
    let at_client = line(world.at_client.iter().collect()).unwrap();
    assert_eq!(
        Some(&at_client),
        line(world.at_server.iter().map(|(_, output)| output).collect()).as_ref()
    );
    let words: Vec<_> = at_client.split(' ').map(|word| word.len()).collect();
    assert_eq!(words, ["CLIENT_RANDOM".len(), 64, 96]);
}
