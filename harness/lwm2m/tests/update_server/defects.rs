//! One story for each defect: a correct server brings it to a good end, the defect does not, and what shows it is in the snapshot.

use core::time::Duration;
use std::collections::BTreeSet;

use fotaproof_adapter::{Conditions, Method, Operation, UpdateStatus};
use fotaproof_lwm2m::device::{Act, Behaviour, DeviceAct, NumSelect, OnRequest, Resend};
use fotaproof_lwm2m::package::PackageKind;
use fotaproof_lwm2m::{DeviceConfig, ServerDefect, Version};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{Code, Szx};

use crate::operator::{
    bad_package, copied_notification, de_register, long_uris, one_of_two_updates_is_paused, one_request_at_a_time,
    paused_before_the_execute, pull_of_sixteen_blocks, register, told_by_send, two_files_under_one_path,
    unknown_delivery, update_of_an_expired_registration, uri_of_the_operator,
};
use crate::rig::{INSTANCE, Rig, SECOND, device, image, package_of};
use crate::told::{Story, Told, ends_well, text_of};

fn behaving(on: OnRequest, act: Act, times: u32) -> DeviceConfig {
    DeviceConfig {
        behaviours: vec![Behaviour::times(on, act, times)],
        ..device()
    }
}

fn block(num: u32) -> OnRequest {
    OnRequest::block(NumSelect::Is(num))
}

/// An update with everything default, by this way.
fn plain(defect: Option<ServerDefect>, config: DeviceConfig, method: Method) -> Told {
    let mut rig = Rig::with(defect, config);
    rig.whole_update(method);
    ends_well(&rig)
}

fn unknown_version(defect: Option<ServerDefect>) -> Told {
    let rig = Rig::with(
        defect,
        DeviceConfig {
            lwm2m_text: Some("9.9".to_owned()),
            ..device()
        },
    );
    let answer = rig.truth().last_answer;
    ensure!(
        answer == Some(Code::PRECONDITION_FAILED),
        "lwm2m=9.9 is answered {}",
        text_of(answer)
    );
    Ok(())
}

fn new_register_from_a_new_port(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.act(DeviceAct::Rebind);
    rig.act(DeviceAct::Register);
    rig.run(SECOND);
    rig.whole_update(Method::Auto);
    ends_well(&rig)
}

fn new_address_in_mid_push(defect: Option<ServerDefect>) -> Told {
    let rebind = Act::Rebind {
        announce_after: SECOND * 5,
    };
    let mut rig = Rig::with(defect, behaving(block(3), rebind, 1));
    rig.update(Method::Auto);
    let progress = rig.finish(SECOND * 120);
    ensure!(
        progress.status.is_final(),
        "still {:?} after two minutes",
        progress.status
    );
    ends_well(&rig)
}

fn duplicate_register(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.act(DeviceAct::ResendLast(Resend::Register));
    rig.run(SECOND);
    let location = |(_, line): &(Duration, String)| line.split("loc=").nth(1).map(str::to_owned);
    let locations: BTreeSet<_> = rig
        .sent(false, &["2.01"])
        .iter()
        .chain(&rig.sent(true, &["2.01"]))
        .filter_map(location)
        .collect();
    ensure!(locations.len() == 1, "{} locations", locations.len());
    Ok(())
}

fn object_of_version_1_0(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.whole_update(Method::Auto);
    let cancels = rig.sent(true, &["POST", " /5/0/10"]).len();
    ensure!(cancels == 0, "{cancels} Executes of /5/0/10");
    ends_well(&rig)
}

fn push_only(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(
        defect,
        DeviceConfig {
            delivery: 1,
            ..device()
        },
    );
    rig.whole_update(Method::Auto);
    let uris = rig.sent(true, &["PUT", " /5/0/1"]).len();
    ensure!(uris == 0, "{uris} writes of the Package URI");
    ends_well(&rig)
}

fn pull_only(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(
        defect,
        DeviceConfig {
            delivery: 0,
            ..device()
        },
    );
    rig.whole_update(Method::Auto);
    let pushed = rig.sent(true, &["PUT", " /5/0/0"]).len();
    ensure!(pushed == 0, "{pushed} writes of Package");
    ends_well(&rig)
}

fn push_or_pull_but_not_both(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.whole_update(Method::Auto);
    let written = |path| !rig.sent(true, &["PUT", path]).is_empty();
    ensure!(
        !(written(" /5/0/0") && written(" /5/0/1")),
        "Package and Package URI are written"
    );
    ends_well(&rig)
}

fn coap_only(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.whole_update(Method::Pull);
    let uris = rig.truth().uris;
    ensure!(
        uris.iter().all(|uri| uri.starts_with("coap://")),
        "a scheme that is not listed: {}",
        uris.join(", ").split(':').next().unwrap_or_default()
    );
    ends_well(&rig)
}

fn whole_blocks(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.whole_update(Method::Push);
    let last = rig.sent(true, &["B1 7/1/512"]).len();
    ensure!(last == 0, "the eighth of eight blocks has M set");
    ends_well(&rig)
}

fn smaller_blocks_from_the_second_on(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, behaving(block(0), Act::SmallerBlock(Szx::S256), 1));
    rig.whole_update(Method::Push);
    let blocks = rig.sent(true, &["PUT", "B1 "]);
    let second = blocks[1]
        .1
        .split("B1 ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap();
    ensure!(second == "2/1/256", "after 0/1/512 and 2.31 with 256 comes {second}");
    ends_well(&rig)
}

fn too_large_blocks(defect: Option<ServerDefect>) -> Told {
    let hint = Act::Code {
        code: Code::REQUEST_ENTITY_TOO_LARGE,
        max_age: None,
        block1: Some(Szx::S64),
        size1: None,
    };
    plain(defect, behaving(block(0), hint, 1), Method::Push)
}

fn large_datagrams_are_lost(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.lose = Box::new(|seen| seen.length > 400);
    rig.update(Method::Push);
    let progress = rig.finish(SECOND * 300);
    ensure!(
        progress.status.is_final(),
        "still {:?} after five minutes",
        progress.status
    );
    ends_well(&rig)
}

fn too_large_package(defect: Option<ServerDefect>) -> Told {
    let limit = Act::Code {
        code: Code::REQUEST_ENTITY_TOO_LARGE,
        max_age: None,
        block1: None,
        size1: Some(2048),
    };
    let config = DeviceConfig {
        behaviours: vec![Behaviour::always(block(0), limit)],
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    rig.update(Method::Push);
    let progress = rig.finish(SECOND * 300);
    let tries = rig.sent(true, &["B1 0/1"]).len();
    ensure!(
        tries <= 3,
        "{} tries",
        if tries > 100 {
            "hundreds of".to_owned()
        } else {
            tries.to_string()
        }
    );
    ensure!(
        progress.status == UpdateStatus::Failed,
        "the update is {:?}",
        progress.status
    );
    Ok(())
}

fn incomplete_in_mid_push(defect: Option<ServerDefect>) -> Told {
    let lost = Act::code(Code::REQUEST_ENTITY_INCOMPLETE);
    let mut rig = Rig::with(defect, behaving(block(4), lost, 1));
    rig.whole_update(Method::Push);
    let blocks = rig.sent(true, &["PUT", "B1 "]);
    let refused = blocks.iter().position(|(_, line)| line.contains("B1 4/")).unwrap();
    ensure!(
        blocks[refused + 1].1.contains("B1 0/"),
        "after 4.08 to block 4 comes block 5"
    );
    ends_well(&rig)
}

fn busy_in_mid_push(defect: Option<ServerDefect>) -> Told {
    let busy = Act::Code {
        code: Code::SERVICE_UNAVAILABLE,
        max_age: Some(10),
        block1: None,
        size1: None,
    };
    let mut rig = Rig::with(defect, behaving(block(4), busy, 2));
    rig.whole_update(Method::Push);
    let times: Vec<Duration> = rig.sent(true, &["B1 4/"]).into_iter().map(|(at, _)| at).collect();
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    ensure!(gap >= SECOND * 10, "5.03 with Max-Age 10 is followed after {gap:?}");
    ends_well(&rig)
}

fn package_of_earlier(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        initial_pair: Some((2, 0)),
        leftover: Some(package_of(PackageKind::Valid, "1.5.0", 2048).to_vec()),
        ..device()
    };
    plain(defect, config, Method::Push)
}

fn lost_acks(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, behaving(block(3), Act::Silence, 2));
    rig.whole_update(Method::Push);
    let sent: BTreeSet<String> = rig.sent(true, &["B1 3/"]).into_iter().map(|(_, line)| line).collect();
    ensure!(
        sent.len() == 1,
        "block 3 was sent in {} different datagrams",
        sent.len()
    );
    ends_well(&rig)
}

fn late_ack(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        behaviours: vec![
            Behaviour::once(
                block(3),
                Act::LateCopy {
                    delay: Duration::from_millis(60),
                },
            ),
            Behaviour::once(block(4), Act::Delay(SECOND)),
        ],
        ..device()
    };
    plain(defect, config, Method::Push)
}

fn separate_responses(defect: Option<ServerDefect>) -> Told {
    let separate = |ack| Act::Separate {
        delay: Duration::from_millis(1500),
        ack,
    };
    let config = DeviceConfig {
        behaviours: vec![
            Behaviour::once(block(3), separate(true)),
            Behaviour::once(block(5), separate(false)),
        ],
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    rig.whole_update(Method::Push);
    let responses = rig.sent(false, &["CON 2.31"]);
    for (_, response) in &responses {
        let mid = response
            .split("mid=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .unwrap();
        let acknowledged = !rig.sent(true, &["ACK", &format!("mid={mid}")]).is_empty();
        ensure!(acknowledged, "a separate response gets no ACK");
    }
    ensure!(responses.len() == 2, "{} separate responses", responses.len());
    ends_well(&rig)
}

fn separate_response_without_its_ack(defect: Option<ServerDefect>) -> Told {
    let separate = Act::Separate {
        delay: Duration::from_millis(1500),
        ack: true,
    };
    let mut rig = Rig::with(defect, behaving(block(3), separate, 1));
    // the first empty ACK to the device
    let mut left = 1;
    rig.lose = Box::new(move |seen| {
        let lost = seen.length == 4 && seen.to_device && left > 0;
        left -= u32::from(lost);
        lost
    });
    rig.whole_update(Method::Push);
    let responses = rig.sent(false, &["CON 2.31"]).len();
    let acknowledged = rig.sent(true, &["ACK 0.00"]).len();
    ensure!(
        (responses, acknowledged) == (2, 2),
        "{responses} times the separate response, {acknowledged} ACKs"
    );
    ends_well(&rig)
}

fn thousand_blocks(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(
        defect,
        DeviceConfig {
            largest_block: Szx::S64,
            ..device()
        },
    );
    rig.files.insert("v2.bin".to_owned(), image(64 * 1024));
    rig.whole_update(Method::Push);
    let sent = rig.sent(true, &["CON 0.03 PUT"]);
    let mid = |line: &str| {
        line.split("mid=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .map(str::to_owned)
    };
    let mids: BTreeSet<_> = sent.iter().filter_map(|(_, line)| mid(line)).collect();
    ensure!(mids.len() == sent.len(), "message IDs come twice");
    ends_well(&rig)
}

fn stopped_by_a_reset(defect: Option<ServerDefect>) -> Told {
    plain(defect, behaving(block(5), Act::Reset, 1), Method::Push)
}

fn slow_device(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        flash_delay: Duration::from_millis(1900),
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    rig.files.insert("v2.bin".to_owned(), image(48 * 1024));
    rig.whole_update(Method::Push);
    ends_well(&rig)
}

fn two_devices_at_once(defect: Option<ServerDefect>) -> Told {
    let other = DeviceConfig {
        endpoint: "other".to_owned(),
        ..device()
    };
    let mut rig = Rig::new(defect, vec![device(), other]);
    let model = device().model;
    let theirs = fotaproof_lwm2m::package::build(PackageKind::Valid, "3.0.0", &model, 4096, 8).unwrap();
    rig.files.insert("other.bin".to_owned(), theirs.into());
    rig.update(Method::Push);
    let theirs = rig.answer(Operation::UpdateStart {
        instance: INSTANCE.to_owned(),
        update: "other".to_owned(),
        endpoint: "other".to_owned(),
        package: fotaproof_adapter::Package {
            file: "other.bin".to_owned(),
            version: "3.0.0".to_owned(),
            ..fotaproof_adapter::Package::default()
        },
        method: Method::Push,
        conditions: Conditions::default(),
    });
    assert!(theirs.is_ok());
    rig.run(SECOND * 300);
    let progress = rig.progress("other");
    ensure!(
        progress.status == UpdateStatus::Succeeded,
        "the update of the other is {:?}: {}",
        progress.status,
        progress.reason.unwrap_or_default()
    );
    ends_well(&rig)
}

fn states_1_and_3_are_never_shown(defect: Option<ServerDefect>) -> Told {
    plain(
        defect,
        DeviceConfig {
            skip_states: vec![1, 3],
            ..device()
        },
        Method::Push,
    )
}

fn new_register_after_the_update(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.whole_update(Method::Push);
    let registered = rig.sent(false, &["/rd?"]).last().map(|(at, _)| *at).unwrap();
    let asked = rig
        .sent(true, &["GET", " /5/0/"])
        .iter()
        .any(|(at, _)| *at >= registered);
    ensure!(asked, "nothing is observed or read after the new Register");
    ends_well(&rig)
}

fn notification_from_a_new_port(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        confirmable_notifications: true,
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    let conditions = Conditions {
        execute_windows_ms: vec![(60_000, 600_000)],
        ..Conditions::default()
    };
    rig.start("u", "dev", Method::Push, conditions);
    rig.run(SECOND * 20);
    rig.act(DeviceAct::Rebind);
    rig.act(DeviceAct::Notify(LwPath::resource(5, 0, 3)));
    rig.run(SECOND * 5);
    rig.act(DeviceAct::Update);
    rig.finish(SECOND * 600);
    ends_well(&rig)
}

fn old_version_after_result_1(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        version_after: Some("1.0.0".to_owned()),
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    let progress = rig.whole_update(Method::Push);
    ensure!(
        progress.status == UpdateStatus::Failed,
        "Result 1 with the old version is {:?}",
        progress.status
    );
    Ok(())
}

fn failed_in_idle(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        install_ends: Some((0, 8)),
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    let progress = rig.whole_update(Method::Push);
    ensure!(progress.status == UpdateStatus::Failed, "0/8 is {:?}", progress.status);
    Ok(())
}

fn deferred(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        defer_for: Some(SECOND * 300),
        object5: Version::V1_1,
        lwm2m: Version::V1_1,
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    rig.whole_update(Method::Push);
    let statuses = rig.statuses("u");
    ensure!(statuses.contains(&UpdateStatus::Deferred), "2/11 is {:?}", rig.status());
    ends_well(&rig)
}

fn result_of_earlier(defect: Option<ServerDefect>) -> Told {
    plain(
        defect,
        DeviceConfig {
            initial_pair: Some((0, 8)),
            ..device()
        },
        Method::Push,
    )
}

fn downloaded_late(defect: Option<ServerDefect>) -> Told {
    plain(
        defect,
        DeviceConfig {
            downloaded_after: SECOND * 90,
            ..device()
        },
        Method::Push,
    )
}

fn power_loss_in_mid_push(defect: Option<ServerDefect>) -> Told {
    let cut = Act::PowerCut { off_for: SECOND * 120 };
    let mut rig = Rig::with(defect, behaving(block(4), cut, 1));
    rig.update(Method::Push);
    let progress = rig.finish(SECOND * 420);
    ensure!(
        progress.status.is_final(),
        "still {:?} after seven minutes",
        progress.status
    );
    ends_well(&rig)
}

fn restart_of_an_updated_device(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    rig.whole_update(Method::Push);
    rig.act(DeviceAct::Reboot);
    rig.run(SECOND * 120);
    let pushes = rig.truth().pushes_started;
    ensure!(pushes == 1, "{pushes} pushes");
    ends_well(&rig)
}

fn asleep_in_mid_push(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        binding: "UQ".to_owned(),
        wake_for: Some(SECOND * 93),
        behaviours: vec![Behaviour::once(block(4), Act::Sleep { for_: SECOND * 300 })],
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    rig.whole_update(Method::Push);
    let silent = rig.sent(true, &["B1 4/"])[0].0;
    let woke = rig.sent(false, &["POST", "/rd/"])[0].0;
    let disturbed = rig
        .log
        .iter()
        .filter(|(at, to_device, _)| *to_device && *at > silent + SECOND * 93 && *at < woke)
        .count();
    ensure!(disturbed == 0, "requests to a device that sleeps");
    ends_well(&rig)
}

fn window(defect: Option<ServerDefect>) -> Told {
    let mut rig = Rig::with(defect, device());
    let conditions = Conditions {
        execute_windows_ms: vec![(600_000, 1_200_000)],
        keep_clear_ms: vec![(500_000, 700_000)],
        ..Conditions::default()
    };
    let from = rig.now;
    rig.start("u", "dev", Method::Push, conditions);
    rig.finish(SECOND * 1800);
    let executed = rig.truth().executed[0].at - from;
    ensure!(
        executed >= SECOND * 600,
        "Execute {} s before the window",
        600 - executed.as_secs()
    );
    ensure!(executed >= SECOND * 700, "Execute in a period to be kept clear");
    ends_well(&rig)
}

fn measurement_due_during_the_transfer(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        flash_delay: SECOND,
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    let from = rig.now;
    let conditions = Conditions {
        keep_clear_ms: vec![(4_000, 30_000)],
        ..Conditions::default()
    };
    rig.start("u", "dev", Method::Push, conditions);
    rig.finish(SECOND * 600);
    let inside = rig
        .sent(true, &["PUT"])
        .iter()
        .filter(|(at, _)| *at > from + SECOND * 4 && *at < from + SECOND * 30)
        .count();
    ensure!(inside == 0, "blocks in a period to be kept clear");
    ends_well(&rig)
}

fn weak_signal(defect: Option<ServerDefect>) -> Told {
    let config = DeviceConfig {
        radio: vec![(Duration::ZERO, -120), (SECOND * 600, -80)],
        ..device()
    };
    let mut rig = Rig::with(defect, config);
    let conditions = Conditions {
        least_signal_dbm: Some(-100),
        ..Conditions::default()
    };
    rig.start("u", "dev", Method::Push, conditions);
    rig.finish(SECOND * 900);
    let first = rig.sent(true, &["B1 0/"])[0].0;
    ensure!(first >= SECOND * 600, "the transfer begins at -120 dBm");
    ends_well(&rig)
}

fn pull_from_the_server(defect: Option<ServerDefect>) -> Told {
    plain(defect, device(), Method::Pull)
}

fn push(defect: Option<ServerDefect>) -> Told {
    plain(defect, device(), Method::Push)
}

const STORIES: [(ServerDefect, Story); 55] = [
    (ServerDefect::VersionUnchecked, unknown_version),
    (ServerDefect::OldAddress, new_register_from_a_new_port),
    (ServerDefect::OldMapping, new_address_in_mid_push),
    (ServerDefect::RegisterTwice, duplicate_register),
    (ServerDefect::CancelOn10, object_of_version_1_0),
    (ServerDefect::UriToPushDevice, push_only),
    (ServerDefect::PushToPullDevice, pull_only),
    (ServerDefect::BothAtOnce, push_or_pull_but_not_both),
    (ServerDefect::HttpToCoapDevice, coap_only),
    (ServerDefect::LastMBit, whole_blocks),
    (ServerDefect::NumNotRescaled, smaller_blocks_from_the_second_on),
    (ServerDefect::FinalAt413, too_large_blocks),
    (ServerDefect::SameSizeForEver, large_datagrams_are_lost),
    (ServerDefect::Loop413, too_large_package),
    (ServerDefect::Ignored408, incomplete_in_mid_push),
    (ServerDefect::Hammer503, busy_in_mid_push),
    (ServerDefect::ExecutesLeftover, package_of_earlier),
    (ServerDefect::ResendNewMid, lost_acks),
    (ServerDefect::LateAckKills, late_ack),
    (ServerDefect::SeparateNotAcked, separate_responses),
    (ServerDefect::MidReused, thousand_blocks),
    (ServerDefect::CannotRestart, stopped_by_a_reset),
    (ServerDefect::ImageTimeout, slow_device),
    (ServerDefect::TwoMinuteLimit, slow_device),
    (ServerDefect::BodiesSwapped, two_devices_at_once),
    (ServerDefect::WaitsFor1, states_1_and_3_are_never_shown),
    (ServerDefect::NeverReobserves, new_register_after_the_update),
    (ServerDefect::NatNotifyFatal, notification_from_a_new_port),
    (ServerDefect::SuccessUnverified, old_version_after_result_1),
    (ServerDefect::Result8IdleUnknown, failed_in_idle),
    (ServerDefect::DeferIsFailure, deferred),
    (ServerDefect::StaleResult, result_of_earlier),
    (ServerDefect::ExecuteEarly, downloaded_late),
    (ServerDefect::NoRetryAfterLoss, power_loss_in_mid_push),
    (ServerDefect::UpdateLoop, restart_of_an_updated_device),
    (ServerDefect::SendsToSleeper, asleep_in_mid_push),
    (ServerDefect::WindowIgnored, window),
    (ServerDefect::RadioIgnored, weak_signal),
    (ServerDefect::RepoBlock0, pull_from_the_server),
    (ServerDefect::ExecuteTwice, push),
    (ServerDefect::KeepClearIgnored, measurement_due_during_the_transfer),
    (ServerDefect::PauseIgnored, paused_before_the_execute),
    (ServerDefect::FailedIsSuccess, bad_package),
    (ServerDefect::Deregister404, de_register),
    (ServerDefect::UnknownUpdateAccepted, update_of_an_expired_registration),
    (ServerDefect::PauseHoldsAll, one_of_two_updates_is_paused),
    (ServerDefect::SendRefused, told_by_send),
    (ServerDefect::RepoEtagChanges, pull_of_sixteen_blocks),
    (ServerDefect::UnknownDeliveryWaits, unknown_delivery),
    (ServerDefect::SeparateCopyIgnored, separate_response_without_its_ack),
    (ServerDefect::OwnRepositoryOnly, uri_of_the_operator),
    (ServerDefect::RepoEtagStays, two_files_under_one_path),
    (ServerDefect::UriTooLong, long_uris),
    (ServerDefect::NotificationTwice, copied_notification),
    (ServerDefect::NstartIgnored, one_request_at_a_time),
];

#[test]
fn a_correct_server_brings_every_story_to_a_good_end() {
    let complaints: Vec<String> = STORIES
        .iter()
        .filter_map(|(defect, story)| Some(format!("{defect}: {}", story(None).err()?)))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn each_defect_is_seen_in_its_story() {
    let stories = STORIES
        .iter()
        .copied()
        .chain([(ServerDefect::LocationMissing, register as Story)]);
    let told: Vec<String> = stories
        .map(|(defect, story)| match story(Some(defect)) {
            Ok(()) => format!("{defect}: NOT SEEN"),
            Err(complaint) => format!("{defect}: {complaint}"),
        })
        .collect();
    let told = told.join("\n");
    insta::assert_snapshot!("defects_seen", told);
    assert!(!told.contains("NOT SEEN"), "{told}");
}

#[test]
fn there_is_a_story_for_every_defect() {
    let told: BTreeSet<ServerDefect> = STORIES.iter().map(|(defect, _)| *defect).collect();
    let missing: Vec<_> = ServerDefect::all().filter(|defect| !told.contains(defect)).collect();
    assert_eq!(
        missing,
        [
            ServerDefect::IdentityUnbound,
            ServerDefect::AnyIdentity,
            ServerDefect::FailureEndsAll,
            ServerDefect::CidIgnored,
            ServerDefect::LocationMissing
        ],
        "the last has its story in the test above, those of DTLS in `secure`"
    );
}
