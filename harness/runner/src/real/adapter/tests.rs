//! The holder of an adapter against shell scripts that speak a line or two of the protocol.

use core::time::Duration;

use fotaproof_adapter::{Event, Operation};

use super::{Adapter, AdapterError, AdapterHost, AdapterLaunch, FromAdapter, Hand};
use crate::session::IutCommand;

const HELLO: &str =
    r#"echo '{"event":"hello","protocol":"1.0","name":"sh","version":"1","role":"server","capabilities":["start"]}'; "#;
/// Nothing here takes as long.
const LONG: Duration = Duration::from_secs(60);

fn launch(script: &str) -> AdapterLaunch {
    AdapterLaunch::new(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()])
}

async fn started(script: &str) -> Adapter {
    Adapter::start(&launch(&format!("{HELLO}{script}"))).await.unwrap()
}

fn stop(instance: &str) -> Operation {
    Operation::Stop {
        instance: instance.to_owned(),
    }
}

#[tokio::test]
async fn replies_find_their_requests_in_any_order() {
    let adapter =
        started(r#"read a; read b; echo '{"id":2,"ok":{"uri":"two"}}'; echo '{"id":1,"ok":{"uri":"one"}}'; read c"#)
            .await;
    let (one, two) = tokio::join!(adapter.request(stop("a"), LONG), adapter.request(stop("b"), LONG));
    assert_eq!(one.unwrap().uri.as_deref(), Some("one"));
    assert_eq!(two.unwrap().uri.as_deref(), Some("two"));
    assert!(adapter.faults().is_empty());
}

#[tokio::test]
async fn events_go_to_the_user_of_their_instance_in_order_with_its_replies() {
    let adapter = started(
        r#"read a
        echo '{"event":"deregistered","instance":"b","endpoint":"of-b"}'
        echo '{"event":"deregistered","instance":"a","endpoint":"of-a"}'
        echo '{"id":1,"ok":{}}'
        echo '{"event":"log","text":"for all"}'
        read b"#,
    )
    .await;
    let (mut a, mut b) = (adapter.attach("a"), adapter.attach("b"));
    a.send(77, stop("a"), LONG);
    let of = |endpoint: &str| {
        FromAdapter::Event(Event::Deregistered {
            instance: endpoint[3..].to_owned(),
            endpoint: endpoint.to_owned(),
            expired: false,
        })
    };
    assert_eq!(a.next().await, of("of-a"));
    assert!(matches!(a.next().await, FromAdapter::Reply { id: 77, result: Ok(_) }));
    assert_eq!(b.next().await, of("of-b"));
    let log = FromAdapter::Event(Event::Log {
        text: "for all".to_owned(),
    });
    assert_eq!((a.next().await, b.next().await), (log.clone(), log));
}

#[tokio::test]
async fn a_broken_line_is_told_to_all_who_wait() {
    let adapter = started(r#"read a; read b; echo 'DEBUG here I am'; read c"#).await;
    let mut user = adapter.attach("a");
    user.send(1, stop("a"), LONG);
    let answer = adapter.request(stop("b"), LONG).await;
    assert!(
        matches!(&answer, Err(AdapterError::Broken(reason)) if reason.contains("DEBUG here I am")),
        "{answer:?}"
    );
    assert!(matches!(
        user.next().await,
        FromAdapter::Broken(AdapterError::Broken(_))
    ));
    assert_eq!(adapter.faults().len(), 1);
}

#[tokio::test]
async fn replies_to_nothing_and_second_replies_are_faults() {
    let adapter = started(
        r#"read a; echo '{"id":1,"ok":{}}'; echo '{"id":1,"ok":{}}'; echo '{"id":9,"ok":{}}'; echo '{"id":0,"ok":{}}'
        echo '{"event":"hello","protocol":"1.0","name":"x","version":"1","role":"server","capabilities":[]}'
        echo '{"event":"log","text":"end"}'; read b"#,
    )
    .await;
    let mut user = adapter.attach("a");
    adapter.request(stop("a"), LONG).await.unwrap();
    while !matches!(user.next().await, FromAdapter::Event(Event::Log { .. })) {}
    assert_eq!(
        adapter.faults(),
        [
            "a second reply to request 1",
            "a reply to request 9, which nobody made",
            "a reply to request 0, which nobody made",
            "it says hello a second time",
        ]
    );
}

#[tokio::test]
async fn a_reply_after_its_time_is_no_fault() {
    let adapter = started(r#"read a; read b; echo '{"id":1,"ok":{}}'; echo '{"id":2,"ok":{}}'; read c"#).await;
    let late = adapter.request(stop("a"), Duration::from_millis(1)).await;
    assert!(matches!(late, Err(AdapterError::Silent { .. })), "{late:?}");
    adapter.request(stop("b"), LONG).await.unwrap();
    assert!(adapter.faults().is_empty());
}

#[tokio::test]
async fn an_adapter_that_ends_tells_its_last_words_to_all() {
    let adapter = started("read a; echo 'no memory left' >&2; exit 4").await;
    let mut user = adapter.attach("a");
    let answer = adapter.request(stop("a"), LONG).await;
    let told = "the adapter ended: exit code 4; its last words: no memory left";
    assert_eq!(answer.unwrap_err().to_string(), told);
    assert!(matches!(user.next().await, FromAdapter::Gone(error) if error.to_string() == told));
    assert_eq!(adapter.request(stop("a"), LONG).await.unwrap_err().to_string(), told);
    assert!(!adapter.quit(LONG).await.in_order());
}

#[tokio::test]
async fn quit_waits_for_the_end_and_ends_what_is_left() {
    let adapter = started(r#"read a; echo '{"id":1,"ok":{}}'"#).await;
    assert!(adapter.quit(LONG).await.in_order());

    let adapter = started(r#"setsid sleep 1000 >/dev/null 2>&1 </dev/null & read a; echo '{"id":1,"ok":{}}'"#).await;
    let farewell = adapter.quit(LONG).await;
    assert!(farewell.success && !farewell.in_order());
    // it may not be `sleep` yet
    assert!(farewell.left.unwrap().contains(" (pid "));
}

#[tokio::test]
async fn the_last_handle_takes_all_processes_with_it() {
    let adapter =
        started(r#"sleep 1000 >/dev/null 2>&1 & echo "{\"event\":\"log\",\"text\":\"$!\"}"; read a; echo '{"id":1,"ok":{}}'; read b"#)
            .await;
    let mut user = adapter.attach("a");
    user.send(1, stop("a"), LONG);
    let pid = loop {
        match user.next().await {
            FromAdapter::Event(Event::Log { text }) => break Some(text),
            // it was told before anybody listened
            FromAdapter::Reply { .. } => break None,
            _ => {}
        }
    };
    drop((user, adapter));
    if let Some(pid) = pid {
        // whoever inherits it may take a moment to bury it
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z"), "{stat}");
    }
}

#[tokio::test]
async fn a_hello_is_waited_for_and_looked_at() {
    let mut slow = launch("sleep 1000");
    slow.ready = Duration::from_millis(50);
    assert!(matches!(Adapter::start(&slow).await, Err(AdapterError::NoHello { .. })));
    let other = HELLO.replace("1.0", "7.3");
    assert_eq!(
        Adapter::start(&launch(&other)).await.unwrap_err(),
        AdapterError::Version("7.3".to_owned())
    );
    // a later version of the same first number has more, and less is lost
    let later = HELLO.replace("1.0", "1.9");
    let adapter = Adapter::start(&launch(&format!(
        r#"{later} echo '{{"event":"telepathy"}}'; read a; echo '{{"id":1,"ok":{{}}}}'; read b"#
    )))
    .await
    .unwrap();
    adapter.request(stop("a"), LONG).await.unwrap();
    assert!(adapter.faults().is_empty());
}

#[tokio::test]
async fn a_host_starts_an_adapter_again_only_after_it_died() {
    let host = AdapterHost::new(launch(&format!("{HELLO} read a; exit 1")));
    let first = host.get().await.unwrap();
    assert!(host.get().await.unwrap().gone().is_none());
    assert_eq!(host.starts().await, 1);
    first.request(stop("a"), LONG).await.unwrap_err();
    let second = host.get().await.unwrap();
    assert!(second.gone().is_none());
    assert_eq!(host.starts().await, 2);
}

#[tokio::test]
async fn a_host_gives_up_an_adapter_that_never_comes_up() {
    let host = AdapterHost::new(launch("echo 'port in use' >&2; exit 1"));
    for _ in 0..10 {
        let error = host.get().await.unwrap_err();
        assert!(error.to_string().contains("port in use"), "{error}");
    }
    assert_eq!(host.starts().await, 3);
}

#[tokio::test]
async fn an_adapter_that_floods_is_ended() {
    let adapter = started("while :; do echo nonsense; done").await;
    let mut user = adapter.attach("a");
    loop {
        if let FromAdapter::Gone(error) = user.next().await {
            assert!(
                error.to_string().contains("it broke the protocol more than 100 times"),
                "{error}"
            );
            break;
        }
    }
    assert!(adapter.faults().len() <= 20);
}

#[tokio::test]
async fn a_hand_does_what_a_session_asks_of_a_device() {
    let script = r#"
        hello='{"event":"hello","protocol":"1.0","name":"sh","version":"1","role":"client","capabilities":["device","image-digest"]}'
        echo "$hello"
        read a; case "$a" in *'"op":"device","instance":"dev","action":"power-cut"'*) echo '{"id":1,"ok":{}}';; esac
        read b; case "$b" in *'"action":"wipe"'*) echo '{"id":2,"ok":{}}';; esac
        read c; case "$c" in *'"action":"start"'*) echo '{"id":3,"ok":{}}';; esac
        read d; case "$d" in *image-digest*) echo '{"id":4,"ok":{"sha256":"00FF"}}';; esac
        read e; echo '{"id":5,"ok":{"sha256":""}}'
        read f; echo '{"id":6,"error":{"kind":"failed","message":"the relay is stuck"}}'
        read g"#;
    let adapter = Adapter::start(&launch(script)).await.unwrap();
    let hand = Hand::new(adapter, "dev".to_owned(), None);
    assert!(hand.acts());
    hand.act(IutCommand::Fresh, false).await.unwrap();
    assert_eq!(hand.image_digest().await.unwrap().as_deref(), Some("00ff"));
    assert_eq!(hand.image_digest().await.unwrap(), None);
    let stuck = hand.act(IutCommand::PowerCut, false).await.unwrap_err().to_string();
    assert!(stuck.contains("the relay is stuck"), "{stuck}");
}
