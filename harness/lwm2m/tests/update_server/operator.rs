//! Stories of defects in what a server does beside its pushes: registrations, pauses, Sends, its repository.

use std::collections::BTreeSet;

use fotaproof_adapter::{Conditions, Event, Method, Operation, Package, UpdateStatus};
use fotaproof_coap::Request;
use fotaproof_lwm2m::device::{DeviceAct, Resend};
use fotaproof_lwm2m::package::PackageKind;
use fotaproof_lwm2m::{DeviceConfig, ServerDefect, Version};
use fotaproof_wire::coap::{Code, build};
use fotaproof_wire::coap_lite::Packet;
use fotaproof_wire::{LwPath, Value};

use crate::rig::{INSTANCE, Rig, SECOND, device, image, package_of};
use crate::told::{Told, ends_well, text_of};

pub(crate) fn paused_before_the_execute(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    let conditions = Conditions {
        execute_windows_ms: vec![(60_000, 600_000)],
        ..Conditions::default()
    };
    rig.start("u", "dev", Method::Push, conditions);
    rig.run(SECOND * 30);
    rig.ask(Operation::UpdatePause {
        instance: INSTANCE.to_owned(),
        update: "u".to_owned(),
    });
    rig.run(SECOND * 120);
    let executes = rig.truth().executes;
    ensure!(executes == 0, "Execute during a pause");
    Ok(())
}

pub(crate) fn bad_package(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.files
        .insert("v2.bin".to_owned(), package_of(PackageKind::Corrupt, "2.0.0", 4096));
    let progress = rig.whole_update(Method::Push);
    ensure!(progress.status == UpdateStatus::Failed, "0/5 is {:?}", progress.status);
    Ok(())
}

pub(crate) fn de_register(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.act(DeviceAct::Deregister);
    rig.run(SECOND);
    let answer = rig.truth().last_answer;
    ensure!(
        answer == Some(Code::DELETED),
        "De-register is answered {}",
        text_of(answer)
    );
    Ok(())
}

pub(crate) fn register(defect: Option<ServerDefect>) -> Told {
    let rig = Rig::with(defect, device());
    let located = rig.sent(true, &["2.01", "loc="]).len();
    ensure!(located == 1, "2.01 without a location");
    Ok(())
}

pub(crate) fn update_of_an_expired_registration(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        lifetime: 30,
        keep_alive: false,
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    rig.run(SECOND * 60);
    rig.act(DeviceAct::Update);
    rig.run(SECOND);
    let answer = rig.truth().last_answer;
    ensure!(
        answer == Some(Code::NOT_FOUND),
        "an Update of a registration that is gone is answered {}",
        text_of(answer)
    );
    Ok(())
}

pub(crate) fn one_of_two_updates_is_paused(defect: Option<ServerDefect>) -> Told {
    let slow = |endpoint: &str| DeviceConfig {
        endpoint: endpoint.to_owned(),
        downloaded_after: SECOND * 60,
        ..device()
    };
    let mut rig = Rig::new(defect, vec![slow("dev"), slow("other")]);
    rig.update(Method::Push);
    rig.start("other", "other", Method::Push, Conditions::default());
    rig.run(SECOND * 20);
    rig.ask(Operation::UpdatePause {
        instance: INSTANCE.to_owned(),
        update: "u".to_owned(),
    });
    rig.run(SECOND * 300);
    let (held, other) = (rig.status(), rig.progress("other").status);
    ensure!(
        (held, rig.truth().executes) == (UpdateStatus::Paused, 0),
        "the update that is held is {held:?}"
    );
    ensure!(
        other == UpdateStatus::Succeeded,
        "the update of the other device is {other:?}"
    );
    rig.ask(Operation::UpdateResume {
        instance: INSTANCE.to_owned(),
        update: "u".to_owned(),
    });
    rig.finish(SECOND * 120);
    ends_well(&rig)
}

pub(crate) fn told_by_send(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        send_changes: true,
        lwm2m: Version::V1_1,
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    rig.whole_update(Method::Push);
    let told = rig.sent(false, &["POST", " /dp"]).len();
    ensure!(told > 0, "no Send");
    let refused = rig.sent(true, &["4.05"]).len();
    ensure!(refused == 0, "{refused} of {told} Sends are answered 4.05");
    ends_well(&rig)
}

pub(crate) fn pull_of_sixteen_blocks(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        delivery: 0,
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    rig.files.insert("v2.bin".to_owned(), image(8192));
    rig.whole_update(Method::Pull);
    let begun = rig.sent(false, &["GET", "B2 0/"]).len();
    ensure!(begun == 1, "the device begins its pull {begun} times");
    ends_well(&rig)
}

/// The mid of a line of the log.
fn mid_of(line: &str) -> Option<&str> {
    line.split("mid=").nth(1)?.split(' ').next()
}

pub(crate) fn one_request_at_a_time(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.whole_update(Method::Push);
    let mut waiting = BTreeSet::new();
    let mut most = 0;
    for (_, to_device, line) in &rig.log {
        let Some(mid) = mid_of(line) else { continue };
        if *to_device && line.starts_with("CON") {
            waiting.insert(mid);
        } else if !*to_device && line.starts_with("ACK") {
            waiting.remove(mid);
        }
        most = most.max(waiting.len());
    }
    ensure!(most == 1, "{most} requests wait for their ACK at once");
    ends_well(&rig)
}

/// A URI of the server's own repository that has so many octets.
fn uri_of(octets: usize) -> String {
    let start = "coap://192.0.2.1:5683/fw/";
    format!("{start}{}", "a".repeat(octets - start.len()))
}

/// The start of an update with this URI.
fn start_by(scheme: &str, uri: &str) -> Operation {
    Operation::UpdateStart {
        instance: INSTANCE.to_owned(),
        update: "u".to_owned(),
        endpoint: "dev".to_owned(),
        package: Package {
            file: "v2.bin".to_owned(),
            version: "2.0.0".to_owned(),
            uris: [(scheme.to_owned(), uri.to_owned())].into(),
        },
        method: Method::Auto,
        conditions: Conditions::default(),
    }
}

pub(crate) fn long_uris(defect: Option<ServerDefect>) -> Told {
    for (octets, fits) in [(255, true), (256, false)] {
        let config = DeviceConfig {
            delivery: 0,
            ..device()
        };
        let mut rig = Rig::with(defect, config);
        let started = rig.answer(start_by("coap", &uri_of(octets)));
        assert!(started.is_ok());
        rig.run(SECOND * 5);
        let written = rig.sent(true, &["PUT", " /5/0/1"]).len();
        ensure!(
            (written > 0) == fits,
            "a URI of {octets} octets is written {written} times"
        );
        let progress = rig.progress("u");
        if !fits {
            ensure!(
                progress.status == UpdateStatus::Failed,
                "the update is {:?}",
                progress.status
            );
            let reason = progress.reason.unwrap_or_default();
            assert_eq!(reason, "the URI has 256 octets, and a Package URI has at most 255");
        }
    }
    Ok(())
}

pub(crate) fn copied_notification(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        confirmable_notifications: true,
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    let observed = rig.answer(Operation::Observe {
        instance: INSTANCE.to_owned(),
        endpoint: "dev".to_owned(),
        path: "/5/0/3".to_owned(),
    });
    assert!(observed.is_ok());
    rig.act(DeviceAct::Notify(LwPath::resource(5, 0, 3)));
    rig.run(SECOND);
    rig.act(DeviceAct::ResendLast(Resend::Notification));
    rig.run(SECOND);
    let sent = rig.sent(false, &["CON 2.05"]).len();
    assert_eq!(sent, 2, "the notification and its copy");
    let told = rig
        .events
        .iter()
        .filter(|event| matches!(event, Event::Notification { .. }))
        .count();
    ensure!(told == 1, "one notification and its copy are told as {told}");
    Ok(())
}

pub(crate) fn unknown_delivery(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        values: [(LwPath::resource(5, 0, 9), Value::Integer(7))].into(),
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    let progress = rig.whole_update(Method::Auto);
    ensure!(
        progress.status.is_final(),
        "still {:?} where /5/0/9 is 7",
        progress.status
    );
    ends_well(&rig)
}

pub(crate) fn two_files_under_one_path(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.files
        .insert("v3.bin".to_owned(), package_of(PackageKind::Valid, "3.0.0", 4096));
    for file in ["v2.bin", "v3.bin"] {
        let served = rig.answer(Operation::ServeFile {
            instance: INSTANCE.to_owned(),
            file: file.to_owned(),
            path: "/fw/new.bin".to_owned(),
        });
        assert!(served.is_ok());
        let mut get = Packet::new();
        get.header.code = Code::GET.into();
        build::set_path(&mut get, "/fw/new.bin");
        let request = Box::new(Request::confirmable(get));
        rig.act(DeviceAct::Request { tag: 1, request });
        rig.run(SECOND);
    }
    let answers = rig.sent(true, &["2.05", "etag="]);
    let etag = |(_, line): &(_, String)| line.split("etag=").nth(1)?.split(' ').next().map(str::to_owned);
    let etags: BTreeSet<_> = answers.iter().filter_map(etag).collect();
    ensure!(
        etags.len() == 2,
        "{} answers of two files, {} ETag",
        answers.len(),
        etags.len()
    );
    Ok(())
}

pub(crate) fn uri_of_the_operator(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        delivery: 0,
        ..device()
    };
    let given = "coap://192.0.2.77/v2.bin";
    let mut rig = Rig::with(defect, config);
    let started = rig.answer(start_by("coap", given));
    assert!(started.is_ok());
    rig.run(SECOND * 5);
    let uris = rig.truth().uris;
    ensure!(uris == [given], "{given} was given, {} is written", uris.join(", "));
    Ok(())
}
