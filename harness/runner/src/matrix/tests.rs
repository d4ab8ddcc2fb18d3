//! Whole matrices of the embedded peers, in virtual time.

use core::sync::atomic::AtomicBool;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fotaproof_cases::Claims;
use fotaproof_lwm2m::defects::Defect;
use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_lwm2m::server_defects::{ServerDefect, ServerDefectSet};
use fotaproof_reports::matrix::{Blamed, Cell, Station, Way};

use super::*;
use crate::iut::Iut;
use crate::prepare::RunNetwork;

fn network(name: &str) -> RunNetwork {
    RunNetwork {
        name: name.to_owned(),
        spec: fotaproof_net::profile(name).unwrap().spec,
    }
}

fn plan() -> Plan {
    Plan {
        clients: vec![Party::embedded_client()],
        servers: vec![Party::embedded_server()],
        networks: vec![network("ethernet"), network("lte-m")],
        ways: vec![Way::Push, Way::Pull],
        seed: 7,
        size: 8192,
    }
}

fn run_in(folder: &Path, plan: &Plan) -> Vec<Cell> {
    let options = Options {
        jobs: 2,
        folder: folder.to_path_buf(),
        speed: 1.0,
        today: "2026-06-01".to_owned(),
        limit: None,
        earlier: Vec::new(),
    };
    let finished = run(plan, &options, &AtomicBool::new(false), &|_| {});
    assert_eq!((finished.aborted, finished.notes.len()), (None, 0));
    finished.cells
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder.join("cells"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn the_embedded_peers_update_each_way_and_leave_their_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let cells = run_in(folder.path(), &plan());
    assert_eq!(cells.len(), 4);
    for cell in &cells {
        assert_eq!(cell.verdict, Verdict::Pass, "{}: {}", cell.id, cell.reason);
        assert_eq!(
            (cell.interop.ended_well, cell.interop.station),
            (true, Station::Updated)
        );
        let measured = cell.measured.as_ref().unwrap();
        assert_eq!((measured.image, measured.lost), (8192, 0), "{}", cell.id);
        assert!(measured.blocks >= 8 && measured.air_per_byte > 1.0 && measured.goodput > 0.0);
        let evidence = &cell.evidence;
        for file in [&evidence.capture, &evidence.journal, &evidence.adapter] {
            let path = folder.path().join(file.as_ref().unwrap());
            assert!(fs::metadata(&path).unwrap().len() > 0, "{}", path.display());
        }
    }
    let slower = |way: usize| {
        let time = |cell: &Cell| cell.measured.as_ref().unwrap().transfer_s;
        time(&cells[2 + way]) > time(&cells[way])
    };
    assert!(slower(0) && slower(1), "the slower network takes longer");
}

#[test]
fn the_same_seed_leaves_the_same_bytes() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut lossy = network("ethernet");
    lossy.spec.toward_iut.loss = fotaproof_net::Loss::Bernoulli(0.05);
    lossy.spec.toward_server.loss = fotaproof_net::Loss::Bernoulli(0.05);
    let plan = Plan {
        networks: vec![lossy],
        ..plan()
    };
    let cells = run_in(one.path(), &plan);
    run_in(other.path(), &plan);
    assert_eq!(files(one.path()), files(other.path()));
    let again: u64 = cells
        .iter()
        .map(|cell| cell.measured.as_ref().unwrap().retransmissions)
        .sum();
    assert!(again > 0, "something was lost and sent again");
}

#[test]
fn a_device_that_misbehaves_is_the_one_that_is_blamed() {
    let folder = tempfile::tempdir().unwrap();
    let defect: Defect = "continue-without-token".parse().unwrap();
    let client = Party::of_iut(Iut::embedded().with_defect(defect), Role::Client).unwrap();
    let plan = Plan {
        clients: vec![client],
        networks: vec![network("ethernet")],
        ways: vec![Way::Push],
        ..plan()
    };
    let cells = run_in(folder.path(), &plan);
    let sides = [&cells[0].client_side, &cells[0].server_side];
    assert_eq!(cells[0].verdict, Verdict::Fail, "{}", cells[0].reason);
    assert_eq!(
        sides.map(|side| side.verdict),
        [Verdict::Fail, Verdict::Pass],
        "{sides:?}"
    );
    let first = &sides[0].findings[0];
    assert_eq!((first.source.as_str(), first.packets.is_empty()), ("token-echo", false));
}

/// The embedded device with this defect, which gives the party its name.
fn with_defect(defect: Defect) -> Party {
    let device = Iut::embedded().with_defect(defect);
    Party {
        name: defect.name().to_owned(),
        ..Party::of_iut(device, Role::Client).unwrap()
    }
}

/// The embedded server with this defect.
fn server_with(defect: ServerDefect) -> Party {
    let server = Iut::of_server(defect.name(), ServerDefectSet::from([defect]));
    Party::of_iut(server, Role::Server).unwrap()
}

/// The embedded device that takes one way alone.
fn one_way(name: &str, delivery: u8) -> Party {
    let base = Party::embedded_client().device.unwrap();
    let config = DeviceConfig { delivery, ..*base };
    Party::of_iut(Iut::of_device(name, config), Role::Client).unwrap()
}

/// What became of the cells that do not pass, a line each. Nobody but the side with the defect may be named.
fn blamed(cells: &[Cell], faulty: Role) -> String {
    let mut out = String::new();
    for cell in cells {
        if matches!(cell.verdict, Verdict::Pass | Verdict::NotApplicable) {
            continue;
        }
        let side = cell.blame.as_ref().map(|blame| blame.side);
        let wrong = match faulty {
            Role::Client => Blamed::Server,
            Role::Server => Blamed::Client,
        };
        assert!(
            !matches!(side, Some(Blamed::Both)) && side != Some(wrong),
            "{}: {:?}",
            cell.id,
            cell.blame
        );
        assert_eq!(side.is_some(), cell.verdict == Verdict::Fail, "{}", cell.id);
        let why = cell.blame.as_ref().map_or(&cell.reason, |blame| &blame.why);
        out += &format!(
            "{} | {:?} at {} | {} | {why}\n",
            cell.id,
            cell.verdict,
            cell.interop.station.word(),
            side.map_or("nobody", Blamed::word)
        );
        if let Some(blame) = &cell.blame {
            assert!(
                !blame.next.is_empty() && !blame.packets.is_empty(),
                "{}: {blame:?}",
                cell.id
            );
        }
    }
    out
}

/// Every planted defect that a full update meets, over a link without trouble and over one that loses a tenth.
fn everything(clients: Vec<Party>, servers: Vec<Party>) -> Plan {
    Plan {
        clients,
        servers,
        networks: vec![network("ethernet"), network("lossy-10")],
        // more than 16 blocks, and whole ones
        size: 10_240,
        ..plan()
    }
}

#[test]
fn whatever_the_device_does_wrong_the_server_is_not_blamed() {
    let folder = tempfile::tempdir().unwrap();
    let clients = Defect::all().map(with_defect).collect();
    let cells = run_in(folder.path(), &everything(clients, vec![Party::embedded_server()]));
    insta::assert_snapshot!("blamed-devices", blamed(&cells, Role::Client));
}

#[test]
fn whatever_the_server_does_wrong_the_device_is_not_blamed() {
    let folder = tempfile::tempdir().unwrap();
    let servers = ServerDefect::all().map(server_with).collect();
    let all = everything(vec![Party::embedded_client()], servers);
    let mut cells = run_in(folder.path(), &all);
    let narrow = Plan {
        clients: vec![one_way("takes pushes only", 1), one_way("pulls only", 0)],
        networks: vec![network("ethernet")],
        ..all
    };
    cells.extend(run_in(folder.path(), &narrow));
    // message ids come round in a package of more than 512 blocks alone
    let long = Plan {
        servers: vec![server_with(ServerDefect::MidReused)],
        networks: vec![network("ethernet")],
        ways: vec![Way::Push],
        size: 400 << 10,
        ..plan()
    };
    cells.extend(run_in(folder.path(), &long));
    insta::assert_snapshot!("blamed-servers", blamed(&cells, Role::Server));
}

#[test]
fn what_the_link_does_not_show_is_compared_with_the_rest_of_the_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        clients: vec![with_defect(Defect::VersionAbsent), Party::embedded_client()],
        networks: vec![network("ethernet")],
        ways: vec![Way::Push],
        ..plan()
    };
    let cells = run_in(folder.path(), &plan);
    let blame = cells[0].blame.as_ref().unwrap();
    assert_eq!(blame.side, Blamed::Unknown);
    insta::assert_snapshot!(
        "blamed-unknown",
        format!("{}\n{}\n{}", cells[0].reason, blame.why, blame.next)
    );
}

#[test]
fn what_is_not_claimed_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        clients: vec![Party {
            claims: Claims::new(["pull:coap"]).unwrap(),
            ..Party::embedded_client()
        }],
        networks: vec![network("ethernet")],
        ..plan()
    };
    let cells = run_in(folder.path(), &plan);
    let verdicts: Vec<Verdict> = cells.iter().map(|cell| cell.verdict).collect();
    assert_eq!(verdicts, [Verdict::NotApplicable, Verdict::Pass]);
    assert_eq!(cells[0].reason, "embedded does not claim push");
    assert_eq!(cells[0].evidence, fotaproof_reports::matrix::CellEvidence::default());
}

#[test]
fn an_interrupted_run_says_so_and_runs_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        jobs: 1,
        folder: folder.path().to_path_buf(),
        speed: 1.0,
        today: "2026-06-01".to_owned(),
        limit: None,
        earlier: Vec::new(),
    };
    let finished = run(&plan(), &options, &AtomicBool::new(true), &|_| {});
    assert_eq!(finished.aborted.as_deref(), Some("interrupted"));
    assert!(finished.cells.iter().all(|cell| cell.verdict == Verdict::NotRun));
}
