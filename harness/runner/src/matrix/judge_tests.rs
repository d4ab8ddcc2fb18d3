//! The judge over cells that ended this way and that.

use super::*;
use crate::matrix::asked::Log;
use crate::matrix::leader::Level;
use crate::matrix::watch::Counted;
use crate::session::LATE_LIMIT;
use fotaproof_adapter::Progress;
use fotaproof_analyze::report::{ExecuteReport, FirmwareReport, Moment, Registrations, SampleReport};
use fotaproof_cases::files::load_expected_failures;
use fotaproof_trace::Late;

fn sample(at: f64, state: Option<u8>, result: Option<u8>) -> SampleReport {
    SampleReport {
        at,
        state,
        result,
        ..SampleReport::default()
    }
}

/// A device whose update ended well.
fn updated() -> DeviceReport {
    DeviceReport {
        registered: true,
        registrations: Registrations {
            registers: 2,
            ..Registrations::default()
        },
        transfers: vec![TransferReport {
            way: "push".to_owned(),
            path: "/5/0/0".to_owned(),
            bytes: 1000,
            blocks: 2,
            block_sizes: vec![512],
            outcome: "complete".to_owned(),
            began: Moment { at: 1.0, packet: 9 },
            ended: Moment { at: 3.0, packet: 12 },
            ..TransferReport::default()
        }],
        firmware: FirmwareReport {
            samples: vec![sample(4.0, Some(2), None), sample(9.0, Some(0), Some(1))],
            executes: vec![ExecuteReport {
                at: 5.0,
                answer: Some("2.04".to_owned()),
                ..ExecuteReport::default()
            }],
            reboots: vec![Moment { at: 8.0, packet: 30 }],
            version_after: Some("2.0.0".to_owned()),
            ..FirmwareReport::default()
        },
        ..DeviceReport::default()
    }
}

fn ended(end: End, status: UpdateStatus) -> Ended {
    Ended {
        end,
        progress: Progress {
            status,
            ..Progress::default()
        },
        level: Level::Library,
        findings: [Vec::new(), Vec::new()],
        counted: Counted {
            datagrams: 40,
            packets: 42,
            fragments: 4,
            bytes: 2500,
            lost: 1,
            again: 2,
        },
        heard_client: true,
        heard_server: true,
        refused: None,
        registered: Some(Duration::from_secs(1)),
        at: Duration::from_secs(10),
        chance: None,
        log: Log::default(),
        unable: None,
        late: None,
    }
}

fn judged(ended: &Ended, device: Option<&DeviceReport>, expects: &str) -> Cell {
    let entries = if expects.is_empty() {
        Vec::new()
    } else {
        load_expected_failures("test.yaml", expects).unwrap()
    };
    let facts = Facts {
        case_id: "matrix.push[client=a,server=b,network=n]",
        way: Way::Push,
        client: &Party {
            name: "a".to_owned(),
            expected: entries,
            ..Party::embedded_client()
        },
        server: &Party {
            name: "b".to_owned(),
            ..Party::embedded_server()
        },
        image: 1000,
        version: "2.0.0",
        hosted_by: None,
    };
    let mut cell = Cell::default();
    judge(&mut cell, ended, device, &facts, &|datagram| Some(datagram));
    cell
}

fn finding() -> Finding {
    Finding {
        source: FindingSource::Check("token-echo".to_owned()),
        grade: Grade::Must,
        blame: Blame::Iut,
        clauses: vec!["rfc7252/5.3.1".to_owned()],
        title: "the token is not echoed".to_owned(),
        expected: "aa".to_owned(),
        seen: "bb".to_owned(),
        datagrams: vec![3],
        events: Vec::new(),
        hint: None,
    }
}

#[test]
fn stations_follow_the_capture() {
    let mut device = updated();
    assert_eq!(station(Some(&device), true, "2.0.0"), Station::Updated);
    device.firmware.samples.pop();
    assert_eq!(
        station(Some(&device), true, "2.0.0"),
        Station::Updated,
        "the version says so too"
    );
    device.firmware.version_after = Some("1.0.0".to_owned());
    assert_eq!(station(Some(&device), true, "2.0.0"), Station::Rebooted);
    device.firmware.reboots.clear();
    assert_eq!(station(Some(&device), true, "2.0.0"), Station::Executed);
    device.firmware.executes[0].answer = Some("4.05".to_owned());
    assert_eq!(station(Some(&device), true, "2.0.0"), Station::Downloaded);
    device.firmware.samples.clear();
    assert_eq!(station(Some(&device), true, "2.0.0"), Station::Transferred);
    device.transfers[0].outcome = "refused 4.08".to_owned();
    assert_eq!(station(Some(&device), true, "2.0.0"), Station::Offered);
    device.transfers.clear();
    assert_eq!(station(Some(&device), true, "2.0.0"), Station::Registered);
    assert_eq!(station(None, false, ""), Station::Nothing);
}

#[test]
fn a_success_that_nothing_shows_is_none() {
    let mut device = updated();
    let over = ended(End::Over, UpdateStatus::Succeeded);
    assert_eq!(judged(&over, Some(&device), "").verdict, model::Verdict::Pass);
    device.firmware.executes.clear();
    let cell = judged(&over, Some(&device), "");
    assert_eq!(cell.verdict, model::Verdict::Fail);
    assert!(
        cell.reason
            .starts_with("b reports success, and nothing on the link shows it")
    );
}

#[test]
fn who_could_not_be_brought_to_it_does_not_fail() {
    let trouble = ended(End::Trouble("the adapter died".to_owned()), UpdateStatus::Transferring);
    assert_eq!(judged(&trouble, None, "").verdict, model::Verdict::Error);
    let silent = Ended {
        heard_client: false,
        ..ended(End::Limit(Duration::from_secs(60)), UpdateStatus::Waiting)
    };
    let cell = judged(&silent, None, "");
    assert_eq!(
        (cell.verdict, cell.client_side.verdict),
        (model::Verdict::Inconclusive, model::Verdict::NotRun)
    );
    assert_eq!(cell.reason, "a was not heard, and no further within 60 s");
    let deaf = Ended {
        heard_server: false,
        ..ended(End::Limit(Duration::from_secs(60)), UpdateStatus::Waiting)
    };
    let cell = judged(&deaf, None, "");
    assert_eq!(
        (cell.verdict, cell.reason.as_str()),
        (
            model::Verdict::Inconclusive,
            "b was not heard, and no further within 60 s"
        )
    );
    let unlucky = Ended {
        chance: Some("the link lost message 7".to_owned()),
        ..ended(End::Over, UpdateStatus::Failed)
    };
    assert_eq!(judged(&unlucky, None, "").verdict, model::Verdict::Inconclusive);
    let wrong = Ended {
        findings: [vec![finding()], Vec::new()],
        ..unlucky
    };
    let cell = judged(&wrong, None, "");
    assert_eq!(cell.verdict, model::Verdict::Fail, "chance did not make it say that");
    assert!(
        cell.reason.ends_with("; a (client): the token is not echoed"),
        "{}",
        cell.reason
    );
    let refused = ended(End::Limit(Duration::from_secs(60)), UpdateStatus::Waiting);
    assert_eq!(judged(&refused, None, "").verdict, model::Verdict::Fail);
}

#[test]
fn a_failure_while_the_harness_was_late_is_held_against_nobody() {
    let late_by = |by: Duration| {
        let mut over = ended(End::Over, UpdateStatus::Failed);
        over.findings[0].push(finding());
        over.late = Some(Late {
            by,
            wall: by / 10,
            due: Duration::from_secs(7),
        });
        over
    };
    let in_time = judged(&late_by(LATE_LIMIT), None, "");
    assert_eq!(
        (in_time.verdict, in_time.client_side.verdict, in_time.blame.is_some()),
        (model::Verdict::Fail, model::Verdict::Fail, true)
    );
    let late = judged(&late_by(LATE_LIMIT + Duration::from_millis(100)), None, "");
    assert_eq!(
        (late.verdict, late.client_side.verdict, late.blame.is_some()),
        (model::Verdict::Inconclusive, model::Verdict::Inconclusive, false)
    );
    assert!(
        late.reason
            .starts_with("the harness was late by 2.1 s of session time (210 ms by the clock on the wall) at 7.000 s"),
        "{}",
        late.reason
    );
    let mut well = late_by(LATE_LIMIT * 2);
    well.progress.status = UpdateStatus::Succeeded;
    well.findings[0].clear();
    assert_eq!(judged(&well, Some(&updated()), "").verdict, model::Verdict::Pass);
}

#[test]
fn a_finding_fails_its_side_unless_it_is_expected() {
    let device = updated();
    let mut over = ended(End::Over, UpdateStatus::Succeeded);
    over.findings[0].push(finding());
    let cell = judged(&over, Some(&device), "");
    assert_eq!(
        (cell.verdict, cell.client_side.verdict),
        (model::Verdict::Fail, model::Verdict::Fail)
    );
    assert_eq!(cell.client_side.findings[0].packets, [3]);
    let cell = judged(
        &over,
        Some(&device),
        "- case: \"*\"\n  clause: token-echo\n  reason: it never does\n",
    );
    assert_eq!(
        (cell.verdict, cell.client_side.expected.len()),
        (model::Verdict::Pass, 1)
    );
    assert!(!cell.expected && cell.client_side.findings.is_empty());
    let cell = judged(
        &over,
        Some(&device),
        "- case: push.happy\n  clause: token-echo\n  reason: it never does\n",
    );
    assert_eq!(cell.verdict, model::Verdict::Fail, "the entry is for another case");
}

#[test]
fn an_update_that_fails_can_be_expected_by_name() {
    let failed = ended(End::Over, UpdateStatus::Failed);
    let entry = "- case: matrix.push\n  clause: interop\n  reason: it has no Block1\n";
    let cell = judged(&failed, Some(&updated()), entry);
    assert_eq!((cell.verdict, cell.expected), (model::Verdict::Fail, true));
    assert_eq!(cell.reason, "it has no Block1");
    let mut worse = failed;
    worse.findings[0].push(finding());
    assert!(
        !judged(&worse, Some(&updated()), entry).expected,
        "a finding beside it counts"
    );
}

#[test]
fn measurements_are_those_of_the_package() {
    let over = ended(End::Over, UpdateStatus::Succeeded);
    let measured = measured(Some(&updated()), &over, 1000).unwrap();
    assert!((measured.transfer_s - 2.0).abs() < 1e-9 && (measured.goodput - 500.0).abs() < 1e-9);
    assert!((measured.update_s - 9.0).abs() < 1e-9 && (measured.air_per_byte - 2.5).abs() < 1e-9);
    assert_eq!(
        (measured.blocks, measured.block_sizes, measured.retransmissions),
        (2, vec![512], 2)
    );
    assert!(super::measured(Some(&DeviceReport::default()), &over, 1000).is_none());
}
