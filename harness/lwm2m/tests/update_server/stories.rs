//! Whole updates by a correct server, and what it tells of them.

use fotaproof_adapter::{Conditions, ErrorKind, Event, Method, Operation, UpdateStatus, Value};
use fotaproof_lwm2m::DeviceConfig;
use fotaproof_lwm2m::device::{Act, Behaviour, DeviceAct, NumSelect, OnRequest};
use fotaproof_lwm2m::package::PackageKind;

use fotaproof_wire::coap::Szx;

use crate::rig::{INSTANCE, Rig, SECOND, device, image, package_of};

fn read(path: &str) -> Operation {
    Operation::Read {
        instance: INSTANCE.to_owned(),
        endpoint: "dev".to_owned(),
        path: path.to_owned(),
    }
}

#[test]
fn a_push_from_the_register_to_the_success() {
    let mut rig = Rig::with(None, device());
    let progress = rig.whole_update(Method::Auto);
    insta::assert_snapshot!("push_story", rig.story());
    assert_eq!(progress.status, UpdateStatus::Succeeded, "{progress:?}");
    assert_eq!(progress.method.as_deref(), Some("push"));
    assert_eq!(progress.version.as_deref(), Some("2.0.0"));
    assert_eq!(
        rig.statuses("u"),
        [
            UpdateStatus::Waiting,
            UpdateStatus::Transferring,
            UpdateStatus::Downloaded,
            UpdateStatus::Updating,
            UpdateStatus::Succeeded
        ]
    );
    let truth = rig.truth();
    assert_eq!((truth.executes, truth.pushes_started, truth.pulls_started), (1, 1, 0));
}

#[test]
fn a_pull_from_the_own_repository() {
    let mut rig = Rig::with(None, device());
    let progress = rig.whole_update(Method::Pull);
    assert_eq!(progress.status, UpdateStatus::Succeeded, "{progress:?}");
    assert_eq!(progress.method.as_deref(), Some("pull"));
    let truth = rig.truth();
    assert_eq!((truth.executes, truth.pushes_started, truth.pulls_started), (1, 0, 1));
}

#[test]
fn an_update_may_be_started_before_the_device_is_there() {
    let mut rig = Rig::new(None, Vec::new());
    rig.start("u", "dev", Method::Auto, Conditions::default());
    assert_eq!(rig.status(), UpdateStatus::Waiting);
    rig.add(device());
    assert_eq!(rig.finish(SECOND * 60).status, UpdateStatus::Succeeded);
}

#[test]
fn a_device_that_runs_the_version_gets_nothing() {
    let config = DeviceConfig {
        version: "2.0.0".to_owned(),
        ..device()
    };
    let mut rig = Rig::with(None, config);
    let progress = rig.whole_update(Method::Auto);
    assert_eq!(progress.status, UpdateStatus::Succeeded);
    let truth = rig.truth();
    assert_eq!((truth.executes, truth.pushes_started, truth.resets), (0, 0, 0));
}

#[test]
fn the_result_of_a_refused_package_is_in_the_report() {
    for (kind, result) in [
        (PackageKind::Corrupt, 5),
        (PackageKind::WrongType, 6),
        (PackageKind::FailInstall, 8),
    ] {
        for method in [Method::Push, Method::Pull] {
            let mut rig = Rig::with(None, device());
            rig.files.insert("v2.bin".to_owned(), package_of(kind, "2.0.0", 4096));
            let progress = rig.whole_update(method);
            assert_eq!(
                (progress.status, progress.result),
                (UpdateStatus::Failed, Some(result)),
                "{kind:?} {progress:?}"
            );
        }
    }
}

#[test]
fn every_reported_result_is_final_within_a_minute() {
    let ends = [
        ((0, 2), UpdateStatus::Failed),
        ((0, 3), UpdateStatus::Failed),
        ((0, 4), UpdateStatus::Failed),
        ((0, 5), UpdateStatus::Failed),
        ((0, 6), UpdateStatus::Failed),
        ((0, 7), UpdateStatus::Failed),
        ((0, 9), UpdateStatus::Failed),
    ];
    for (pair, status) in ends {
        let config = DeviceConfig {
            download_ends: Some(pair),
            ..device()
        };
        let mut rig = Rig::with(None, config);
        rig.update(Method::Auto);
        let progress = rig.finish(SECOND * 60);
        assert_eq!((progress.status, progress.result), (status, Some(pair.1)), "{pair:?}");
        assert_eq!(rig.truth().executes, 0);
    }
    for (pair, status) in [
        ((2, 8), UpdateStatus::Failed),
        ((0, 8), UpdateStatus::Failed),
        ((0, 5), UpdateStatus::Failed),
        ((0, 10), UpdateStatus::Cancelled),
    ] {
        let config = DeviceConfig {
            install_ends: Some(pair),
            ..device()
        };
        let mut rig = Rig::with(None, config);
        rig.update(Method::Auto);
        let progress = rig.finish(SECOND * 90);
        assert_eq!((progress.status, progress.result), (status, Some(pair.1)), "{pair:?}");
        assert_eq!(rig.truth().executes, 1);
    }
}

#[test]
fn a_device_that_goes_on_without_a_restart_is_followed_too() {
    let config = DeviceConfig {
        install_in_place: true,
        ..device()
    };
    let mut rig = Rig::with(None, config);
    assert_eq!(rig.whole_update(Method::Auto).status, UpdateStatus::Succeeded);
    assert_eq!(rig.truth().registrations, 1);
}

#[test]
fn a_device_that_tells_by_send_is_followed_too() {
    let config = DeviceConfig {
        send_changes: true,
        lwm2m: fotaproof_lwm2m::Version::V1_1,
        ..device()
    };
    let mut rig = Rig::with(None, config);
    assert_eq!(rig.whole_update(Method::Auto).status, UpdateStatus::Succeeded);
}

#[test]
fn a_signal_that_is_too_weak_is_waited_for() {
    let config = DeviceConfig {
        radio: vec![(core::time::Duration::ZERO, -120), (SECOND * 600, -80)],
        ..device()
    };
    let mut rig = Rig::with(None, config);
    let conditions = Conditions {
        least_signal_dbm: Some(-100),
        ..Conditions::default()
    };
    rig.start("u", "dev", Method::Auto, conditions);
    let progress = rig.finish(SECOND * 900);
    assert_eq!(progress.status, UpdateStatus::Succeeded, "{progress:?}");
    assert!(rig.sent(true, &["B1 0/"])[0].0 >= SECOND * 600);
}

#[test]
fn a_paused_update_takes_no_further_step_until_it_is_resumed() {
    let mut rig = Rig::with(None, device());
    let instance = || INSTANCE.to_owned();
    let conditions = Conditions {
        execute_windows_ms: vec![(60_000, 600_000)],
        ..Conditions::default()
    };
    rig.start("u", "dev", Method::Auto, conditions);
    rig.run(SECOND * 30);
    assert_eq!(rig.status(), UpdateStatus::Downloaded);
    let update = || "u".to_owned();
    rig.ask(Operation::UpdatePause {
        instance: instance(),
        update: update(),
    });
    rig.run(SECOND * 120);
    assert_eq!((rig.status(), rig.truth().executes), (UpdateStatus::Paused, 0));
    rig.ask(Operation::UpdateResume {
        instance: instance(),
        update: update(),
    });
    assert_eq!(rig.finish(SECOND * 60).status, UpdateStatus::Succeeded);
}

#[test]
fn a_cancelled_update_leaves_nothing_on_the_device() {
    for object5 in [fotaproof_lwm2m::Version::V1_0, fotaproof_lwm2m::Version::V1_1] {
        let config = DeviceConfig {
            object5,
            object_list: Some(format!("</3/0>,</5>;ver={object5},</5/0>")),
            ..device()
        };
        let mut rig = Rig::with(None, config);
        let conditions = Conditions {
            execute_windows_ms: vec![(60_000, 600_000)],
            ..Conditions::default()
        };
        rig.start("u", "dev", Method::Auto, conditions);
        rig.run(SECOND * 30);
        rig.ask(Operation::UpdateCancel {
            instance: INSTANCE.to_owned(),
            update: "u".to_owned(),
        });
        assert_eq!(rig.finish(SECOND * 60).status, UpdateStatus::Cancelled);
        let truth = rig.truth();
        assert_eq!((truth.state, truth.executes), (0, 0));
        // Cancel is there from version 1.1 of object 5 on.
        let by_cancel = u32::from(object5 == fotaproof_lwm2m::Version::V1_1);
        assert_eq!((truth.cancels, truth.resets), (by_cancel, 1 - by_cancel));
    }
}

#[test]
fn a_second_update_takes_the_place_of_an_unfinished_one() {
    let config = DeviceConfig {
        flash_delay: SECOND,
        ..device()
    };
    let mut rig = Rig::with(None, config);
    rig.update(Method::Auto);
    rig.run(SECOND * 4);
    assert_eq!(rig.status(), UpdateStatus::Transferring);
    rig.start("again", "dev", Method::Auto, Conditions::default());
    assert_eq!(rig.status(), UpdateStatus::Cancelled);
    rig.run(SECOND * 120);
    assert_eq!(rig.progress("again").status, UpdateStatus::Succeeded);
}

#[test]
fn a_fleet_is_updated_at_once_each_device_by_its_own_campaign() {
    let devices = (0..30).map(|number| DeviceConfig {
        endpoint: format!("dev-{number:02}"),
        seed: number,
        ..device()
    });
    let mut rig = Rig::new(None, devices.collect());
    for number in 0..30 {
        let endpoint = format!("dev-{number:02}");
        rig.start(&endpoint, &endpoint, Method::Auto, Conditions::default());
    }
    rig.run(SECOND * 60);
    assert_eq!(rig.server.updates().count(), 30);
    for (name, progress) in rig.server.updates() {
        assert_eq!(progress.status, UpdateStatus::Succeeded, "{name}");
    }
    assert!(rig.nodes.iter().all(|node| node.device.truth().executes == 1));
}

#[test]
fn a_device_that_is_silent_for_95_seconds_is_not_given_up() {
    let block = OnRequest::block(NumSelect::Is(5));
    for act in [Act::Sleep { for_: SECOND * 95 }, Act::Pause(SECOND * 95)] {
        let config = DeviceConfig {
            behaviours: vec![Behaviour::once(block.clone(), act)],
            ..device()
        };
        let mut rig = Rig::with(None, config);
        let progress = rig.whole_update(Method::Push);
        assert_eq!(progress.status, UpdateStatus::Succeeded, "{act:?} {progress:?}");
        assert_eq!(rig.truth().executes, 1);
    }
}

#[test]
fn updates_of_the_registration_are_answered_while_a_long_push_runs() {
    let config = DeviceConfig {
        lifetime: 20,
        largest_block: Szx::S64,
        flash_delay: SECOND / 10,
        ..device()
    };
    let mut rig = Rig::with(None, config);
    rig.files.insert("v2.bin".to_owned(), image(40_000));
    let progress = rig.whole_update(Method::Push);
    assert_eq!(progress.status, UpdateStatus::Succeeded, "{progress:?}");
    let truth = rig.truth();
    assert_eq!((truth.registrations, truth.pushes_started), (2, 1));
    assert!(rig.count_updates() >= 4, "{}", rig.count_updates());
}

#[test]
fn the_percentage_grows_with_the_blocks_that_were_taken() {
    let config = DeviceConfig {
        flash_delay: SECOND,
        ..device()
    };
    let mut rig = Rig::with(None, config);
    rig.update(Method::Push);
    rig.finish(SECOND * 60);
    let mut percents: Vec<u8> = rig
        .events
        .iter()
        .filter_map(|event| match event {
            Event::UpdateStatus { progress, .. } => progress.percent,
            _ => None,
        })
        .collect();
    percents.dedup();
    // Eight blocks of 512 bytes.
    assert_eq!(percents, [0, 12, 25, 37, 50, 62, 75, 87, 100]);
}

#[test]
fn a_registration_that_expires_makes_an_update_wait() {
    let config = DeviceConfig {
        lifetime: 30,
        keep_alive: false,
        ..device()
    };
    let mut rig = Rig::with(None, config);
    rig.run(SECOND * 60);
    rig.update(Method::Auto);
    rig.run(SECOND * 600);
    assert_eq!(rig.status(), UpdateStatus::Waiting);
    assert!(rig.sent(true, &["GET"]).is_empty());
    rig.act(DeviceAct::Register);
    assert_eq!(rig.finish(SECOND * 60).status, UpdateStatus::Succeeded);
}

#[test]
fn it_says_what_it_can_do() {
    let rig = Rig::new(None, Vec::new());
    let Some(Event::Hello(hello)) = rig.events.first() else {
        panic!("the hello is first");
    };
    assert_eq!((hello.protocol.as_str(), hello.role.as_str()), ("1.0", "server"));
    assert_eq!(
        rig.server.claims(),
        [
            "srv:push",
            "srv:pull",
            "srv:repo",
            "srv:report",
            "srv:campaign",
            "srv:queue",
            "srv:window",
            "srv:radio",
            "srv:send",
            "srv:dtls",
            "srv:dtls-cid",
        ]
    );
    assert_eq!(hello.capabilities.len(), 18);
}

#[test]
fn single_operations_are_carried_out_as_asked() {
    let mut rig = Rig::with(None, device());
    let single = rig.answer(read("/3/0/3")).unwrap().response.unwrap();
    assert_eq!(
        (single.code.as_str(), single.value),
        ("2.05", Some(Value::String("1.0.0".to_owned())))
    );
    let multiple = rig.answer(read("/5/0/8")).unwrap().response.unwrap();
    assert_eq!(multiple.values["/5/0/8/0"], Value::Integer(0));
    let refused = rig.answer(read("/5/0/0")).unwrap().response.unwrap();
    assert_eq!(refused.code, "4.05");
    assert_eq!(rig.answer(read("no path")), Err(ErrorKind::BadRequest));

    let pushed = rig.answer(Operation::WriteBlocks {
        instance: INSTANCE.to_owned(),
        endpoint: "dev".to_owned(),
        path: "/5/0/0".to_owned(),
        file: "v2.bin".to_owned(),
        block: Some(256),
    });
    assert_eq!(pushed.unwrap().response.unwrap().code, "2.04");
    assert_eq!(rig.truth().state, 2);

    let observed = rig.answer(Operation::Observe {
        instance: INSTANCE.to_owned(),
        endpoint: "dev".to_owned(),
        path: "/5/0/3".to_owned(),
    });
    let observed = observed.unwrap();
    let name = observed.observation.unwrap();
    rig.act(DeviceAct::SetPair(0, 0));
    rig.run(SECOND);
    let notified = rig.events.iter().any(|event| {
        matches!(event, Event::Notification { observation, response, .. }
            if *observation == name && response.value == Some(Value::Integer(0)))
    });
    assert!(notified);
    let cancelled = rig.answer(Operation::Cancel {
        instance: INSTANCE.to_owned(),
        observation: name,
    });
    assert!(cancelled.is_ok());
    assert!(rig.truth().observed.is_empty());
}

#[test]
fn what_is_not_there_is_refused_by_kind() {
    let mut rig = Rig::with(None, device());
    let other = Operation::Stop {
        instance: "other".to_owned(),
    };
    assert_eq!(rig.answer(other), Err(ErrorKind::Unknown));
    let nobody = Operation::Read {
        instance: INSTANCE.to_owned(),
        endpoint: "nobody".to_owned(),
        path: "/3/0/3".to_owned(),
    };
    assert_eq!(rig.answer(nobody), Err(ErrorKind::NotRegistered));
    let never = Operation::AwaitRegistered {
        instance: INSTANCE.to_owned(),
        endpoint: "nobody".to_owned(),
        timeout_ms: 2_000,
    };
    assert_eq!(rig.answer(never), Err(ErrorKind::Timeout));
    assert_eq!(
        rig.answer(Operation::NoSuchOperation {}),
        Err(ErrorKind::UnknownOperation)
    );
    let stop = Operation::Stop {
        instance: INSTANCE.to_owned(),
    };
    assert!(rig.answer(stop).is_ok());
    assert_eq!(rig.answer(read("/3/0/3")), Err(ErrorKind::Unknown));
}

#[test]
fn single_operations_wait_for_a_device_that_sleeps() {
    let config = DeviceConfig {
        binding: "UQ".to_owned(),
        wake_for: Some(SECOND * 93),
        lifetime: 3600,
        keep_alive: false,
        ..device()
    };
    let mut rig = Rig::with(None, config);
    rig.run(SECOND * 120);
    let asked = rig.ask(read("/3/0/3"));
    let pushed = rig.ask(Operation::WriteBlocks {
        instance: INSTANCE.to_owned(),
        endpoint: "dev".to_owned(),
        path: "/5/0/0".to_owned(),
        file: "v2.bin".to_owned(),
        block: None,
    });
    rig.run(SECOND * 300);
    assert!(rig.sent(true, &["GET"]).is_empty());
    rig.act(DeviceAct::Update);
    rig.run(SECOND * 5);
    for id in [asked, pushed] {
        assert!(rig.reply(id).is_some_and(|reply| reply.ok.is_some()));
    }
    assert_eq!(rig.truth().state, 2);

    // A registration that ends takes with it what waits.
    rig.run(SECOND * 120);
    let late = rig.ask(read("/3/0/3"));
    rig.run(SECOND * 3600);
    let error = rig.reply(late).and_then(|reply| reply.error.clone());
    assert_eq!(error.map(|error| error.kind), Some(ErrorKind::NotRegistered));
}

#[test]
fn the_power_may_go_at_any_block_of_a_push() {
    for num in 0..8 {
        let cut = Act::PowerCut { off_for: SECOND * 30 };
        let config = DeviceConfig {
            behaviours: vec![Behaviour::once(OnRequest::block(NumSelect::Is(num)), cut)],
            ..device()
        };
        let mut rig = Rig::with(None, config);
        let progress = rig.whole_update(Method::Push);
        let truth = rig.truth();
        assert_eq!(progress.status, UpdateStatus::Succeeded, "block {num}: {progress:?}");
        assert_eq!((truth.executes, truth.boots), (1, 3), "block {num}");
    }
}

#[test]
fn the_power_may_go_at_any_block_of_a_pull() {
    for (num, resume) in (0..8).flat_map(|num| [(num, true), (num, false)]) {
        let config = DeviceConfig {
            delivery: 0,
            power_cut_at: Some((num * 512 + 1, SECOND * 30)),
            resume,
            ..device()
        };
        let mut rig = Rig::with(None, config);
        let progress = rig.whole_update(Method::Pull);
        let truth = rig.truth();
        assert_eq!(
            progress.status,
            UpdateStatus::Succeeded,
            "block {num}, {resume}: {progress:?}"
        );
        assert_eq!((truth.executes, truth.boots), (1, 3), "block {num}, {resume}");
    }
}

#[test]
fn a_device_that_shares_no_way_with_the_server_gets_nothing_and_the_reason_is_told() {
    let pull_only = DeviceConfig {
        delivery: 0,
        protocols: vec![2, 3],
        ..device()
    };
    let push_only = DeviceConfig {
        delivery: 1,
        ..device()
    };
    for (config, method, reason) in [
        (
            pull_only.clone(),
            Method::Auto,
            "no URI has a scheme that the device lists (/5/0/8: [2, 3])",
        ),
        (pull_only, Method::Push, "the device only pulls (/5/0/9 is 0)"),
        (push_only, Method::Pull, "the device takes pushes only (/5/0/9 is 1)"),
    ] {
        let mut rig = Rig::with(None, config);
        let progress = rig.whole_update(method);
        assert_eq!(progress.status, UpdateStatus::Failed, "{progress:?}");
        assert_eq!(progress.reason.as_deref(), Some(reason));
        assert!(rig.sent(true, &["PUT"]).is_empty() && rig.sent(true, &["POST"]).is_empty());
    }
}
