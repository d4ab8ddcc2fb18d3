//! One cell from its plan to its result: package, folders, evidence, the right driver, the judge.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fotaproof_cases::ast::{Firmware, Size};
use fotaproof_lwm2m::campaign::CampaignSpec;
use fotaproof_net::{LinkSpec, Loss};
use fotaproof_reports::matrix::{Cell, CellEvidence, Way};
use fotaproof_reports::model::Verdict;
use fotaproof_trace::Event;

use super::cell::{CellConfig, Ended};
use super::drive_real::{self, Aside, Client, RealCell, Server};
use super::drive_virtual::{self, Talk};
use super::judge::{self, Facts};
use super::leader::{Errand, Level, method_of};
use super::plan::{Plan, Planned, Role};
use super::stale::Met;
use super::{Adapted, Options, Ready};
use crate::evidence::{Evidence, EvidenceError, Wanted, file_name};
use crate::packages::{self, MakeError};
use crate::real::adapter::Hand;
use crate::real::{Instance, listen_address};
use crate::schedule::drive;
use crate::session::PackageImage;

/// The longest that an update may take in virtual time.
const VIRTUAL_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// What is still to be seen after the end of an update.
const SETTLE: Duration = Duration::from_millis(1200);
/// The least of it on the wall's clock.
const SETTLE_WALL: Duration = Duration::from_millis(100);
/// What processes take to do their work, which a scaled clock makes no shorter.
const WORK: Duration = Duration::from_secs(15);
/// What timings may be off where schedulers have their say.
const TOLERANCE: Duration = Duration::from_millis(250);
/// Lifetime of a registration in seconds when a manifest does not say one.
const LIFETIME: u32 = 86_400;

/// What all cells of a run share.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) options: &'a Options,
    pub(super) interrupt: &'a AtomicBool,
    pub(super) clients: &'a [Ready],
    pub(super) servers: &'a [Ready],
    /// Names of the cells in file names.
    pub(super) stems: &'a [String],
}

/// The parts of a result that are known before the cell runs.
pub(super) fn described(cell: &Planned<'_>, plan: &Plan) -> Cell {
    Cell {
        id: cell.id(),
        client: cell.client.name.clone(),
        server: cell.server.name.clone(),
        way: cell.way,
        network: cell.network.name.clone(),
        seed: cell.seed(plan.seed),
        ..Cell::default()
    }
}

/// The names of cells in file names, none twice, whatever the names of the parties are.
pub(super) fn stems(cells: &[Planned<'_>]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let unique = |(index, cell): (usize, &Planned<'_>)| {
        let mut stem = file_name(&cell.id().replace('/', "."));
        while !taken.insert(stem.clone()) {
            stem = format!("{stem}.{index}");
        }
        stem
    };
    cells.iter().enumerate().map(unique).collect()
}

/// How long an update may take: a round trip for each block and some more, each of which may have to be repeated, the bytes at
/// the rate of the link, and what devices need to install and boot.
fn limit_of(link: &LinkSpec, size: u64) -> Duration {
    let both = [&link.toward_iut, &link.toward_server];
    let round_trip: f64 = both.iter().map(|one| (one.delay + one.jitter).as_secs_f64()).sum();
    let exchanges = size as f64 / 256.0 + 60.0;
    let loss = both
        .iter()
        .map(|one| match &one.loss {
            Loss::None => 0.0,
            Loss::Bernoulli(share) => share.min(0.5),
            _ => 0.2,
        })
        .fold(0.0, f64::max);
    let rate = both
        .iter()
        .filter_map(|one| one.rate_bps)
        .map(|rate| size as f64 * 8.0 * 3.0 / (rate as f64).max(1.0))
        .fold(0.0, f64::max);
    Duration::from_secs_f64((120.0 + exchanges * round_trip * 2.0 + exchanges * loss * 20.0 + rate).min(86_400.0))
}

fn package(cell: &Planned<'_>, plan: &Plan) -> Result<PackageImage, MakeError> {
    let wanted = Firmware {
        size: Some(Size(plan.size)),
        ..Firmware::default()
    };
    let manifest = cell.client.manifest.as_ref();
    packages::make(
        &wanted,
        manifest.map(|(manifest, folder)| (manifest.as_ref(), folder.as_path())),
        cell.seed(plan.seed),
    )
}

/// The configuration of a cell; its addresses are those of virtual time.
fn config(run: &Run<'_>, cell: &Planned<'_>, level: Level, package: &PackageImage, index: usize) -> CellConfig {
    let plan = run.plan;
    let seed = cell.seed(plan.seed);
    let is_virtual = cell.is_virtual();
    // `ep=` and a name of at most 9 letters fit into an option without extended length, which not every server reads
    let short = || format!("fp{index}");
    let speed = if is_virtual { 1.0 } else { run.options.speed };
    let endpoint = match &cell.client.manifest {
        _ if cell.client.board().is_some() => cell
            .client
            .board()
            .map(|board| board.endpoint.clone())
            .unwrap_or_default(),
        Some((manifest, _)) if !is_virtual => match &manifest.endpoint {
            Some(name) => name
                .replace("{case}", &format!("matrix-{}", cell.way.word()))
                .replace("{instance}", &index.to_string()),
            None => short(),
        },
        _ if is_virtual => "fotaproof-matrix".to_owned(),
        _ => short(),
    };
    let highest = |name: &str| cell.client.claims.highest(name).unwrap_or((1, 0));
    CellConfig {
        id: cell.case_id(),
        seed,
        client: cell.client.name.clone(),
        server: cell.server.name.clone(),
        network: cell.network.name.clone(),
        link: cell.network.spec.clone(),
        errand: Errand {
            level,
            instance: format!("m{index}"),
            endpoint,
            way: cell.way,
            spec: CampaignSpec {
                package: package.bytes.clone(),
                version: package.version.clone(),
                method: method_of(cell.way),
                seed,
                ..CampaignSpec::default()
            },
            file: "package.bin".to_owned(),
            can_observe: run.servers[cell.server_index]
                .adapter
                .as_ref()
                .is_none_or(|adapted| adapted.can_observe),
        },
        repository: None,
        object: highest("object"),
        lwm2m: highest("lwm2m"),
        limit: if is_virtual {
            VIRTUAL_LIMIT
        } else {
            run.options
                .limit
                .unwrap_or_else(|| limit_of(&cell.network.spec, package.bytes.len() as u64) + WORK.mul_f64(speed - 1.0))
        },
        registration: if is_virtual {
            VIRTUAL_LIMIT
        } else {
            limit_of(&cell.network.spec, 0) / 2 + WORK.mul_f64(speed - 1.0)
        },
        settle: SETTLE.max(SETTLE_WALL.mul_f64(speed)),
        tolerance: if is_virtual {
            Duration::ZERO
        } else {
            TOLERANCE.mul_f64(speed)
        },
    }
}

/// Runs a cell that applies; gives the expected failures that were met too.
///
/// # Errors
/// When its evidence cannot be written.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a cell took by the clock on the wall is reported"
)]
pub(super) fn run(run: &Run<'_>, cell: &Planned<'_>, index: usize) -> Result<(Cell, Met), EvidenceError> {
    let begun = Instant::now();
    let mut result = described(cell, run.plan);
    let parties = [&run.clients[cell.client_index], &run.servers[cell.server_index]];
    if let Some(why) = parties.into_iter().find_map(|ready| ready.unfit.clone()) {
        return Ok((error(result, why), Met::default()));
    }
    let package = match package(cell, run.plan) {
        Ok(package) => package,
        Err(MakeError::NotSupplied(kind)) => {
            result.verdict = Verdict::Inconclusive;
            result.reason = format!(
                "the manifest of {} supplies no package of kind `{kind}`",
                cell.client.name
            );
            return Ok((result, Met::default()));
        }
        Err(why) => return Ok((error(result, why.to_string()), Met::default())),
    };
    let level = match &run.servers[cell.server_index].adapter {
        None => Level::Campaign,
        Some(Adapted { level: Some(level), .. }) => *level,
        Some(_) => {
            let why = format!(
                "the adapter of {} can neither `update-start` nor read, write and execute",
                cell.server.name
            );
            return Ok((error(result, why), Met::default()));
        }
    };
    let config = config(run, cell, level, &package, index);
    let name = run.stems[index].clone();
    // of a cell that was cut short in the run that is resumed
    for folder in [client_folder(run, &name), server_folder(run, &name)] {
        let _ = std::fs::remove_dir_all(folder);
    }
    let folder = run.options.folder.join("cells");
    let comment = format!("{} seed {}", config.id, config.seed);
    let wanted = Wanted {
        capture: true,
        at_once: !cell.is_virtual(),
    };
    let mut evidence = Evidence::create(&folder, &name, &comment, wanted)?;
    let mut sink = |event: &Arc<Event>| evidence.on_event(event);
    let mut talk = Talk::default();
    let mut aside = Aside::default();
    let endpoint = config.errand.endpoint.clone();
    let ended = match (&cell.client.device, &cell.server.server) {
        (Some(device), Some(defects)) => {
            let interrupted = || run.interrupt.load(Ordering::Relaxed);
            if cell.way == Way::Pull {
                aside.hosted_by = Some(Role::Server.word());
            }
            Ok(drive_virtual::run(
                config,
                (device, defects),
                &mut sink,
                &interrupted,
                &mut talk,
            ))
        }
        _ => in_real_time(run, cell, config, index, &name, &mut sink, &mut talk, &mut aside)?,
    };
    let files = CellEvidence {
        capture: Some(format!("cells/{name}.pcapng")),
        journal: Some(format!("cells/{name}.journal.jsonl")),
        client_output: folder
            .join(format!("{name}.output.log"))
            .exists()
            .then(|| format!("cells/{name}.output.log")),
        adapter: None,
    };
    result.evidence = files;
    if !talk.0.is_empty() {
        write(&folder.join(format!("{name}.adapter.jsonl")), talk.0.as_bytes())?;
        result.evidence.adapter = Some(format!("cells/{name}.adapter.jsonl"));
    }
    result.notes.append(&mut aside.notes);
    let mut met = Met::default();
    match ended {
        Ok(ended) => {
            evidence.settle();
            let packets = packets(&evidence, &ended);
            evidence.finish()?;
            let device = analyzed(&folder.join(format!("{name}.pcapng")), aside.ports, &endpoint)?;
            let facts = Facts {
                case_id: &cell.case_id(),
                way: cell.way,
                client: cell.client,
                server: cell.server,
                image: package.bytes.len() as u64,
                version: &package.version,
                hosted_by: aside.hosted_by,
            };
            met = judge::judge(&mut result, &ended, device.as_ref(), &facts, &|datagram| {
                packets.get(&datagram).copied()
            });
        }
        Err(why) => {
            evidence.finish()?;
            result = if run.interrupt.load(Ordering::Relaxed) {
                Cell {
                    reason: "interrupted".to_owned(),
                    ..result
                }
            } else {
                error(result, why)
            };
        }
    }
    if result.verdict == Verdict::Pass {
        // what peers that did well left behind says nothing more
        for folder in [client_folder(run, &name), server_folder(run, &name)] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    result.wall_ms = begun.elapsed().as_secs_f64() * 1e3;
    Ok((result, met))
}

fn error(cell: Cell, why: String) -> Cell {
    Cell {
        verdict: Verdict::Error,
        reason: why,
        ..cell
    }
}

fn client_folder(run: &Run<'_>, name: &str) -> PathBuf {
    super::peers(&run.options.folder).join(format!("{name}.client"))
}

fn server_folder(run: &Run<'_>, name: &str) -> PathBuf {
    super::peers(&run.options.folder).join(format!("{name}.server"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), EvidenceError> {
    std::fs::write(path, bytes).map_err(|source| EvidenceError {
        path: path.to_path_buf(),
        source,
    })
}

#[expect(clippy::too_many_arguments, reason = "each is a plain part of one cell")]
fn in_real_time(
    run: &Run<'_>,
    cell: &Planned<'_>,
    mut config: CellConfig,
    index: usize,
    name: &str,
    sink: &mut dyn FnMut(&Arc<Event>),
    talk: &mut Talk,
    aside: &mut Aside,
) -> Result<Result<Ended, String>, EvidenceError> {
    let (client_ready, server_ready) = (&run.clients[cell.client_index], &run.servers[cell.server_index]);
    let folder = server_folder(run, name);
    std::fs::create_dir_all(&folder).map_err(|source| EvidenceError {
        path: folder.clone(),
        source,
    })?;
    let file = folder.join("package.bin");
    write(&file, &config.errand.spec.package)?;
    config.errand.file = file.display().to_string();
    let client = match (&cell.client.device, &cell.client.manifest) {
        (Some(device), _) => Client::Embedded(device),
        (None, Some((manifest, manifest_folder))) => {
            let instance = Instance {
                manifest: manifest.clone(),
                manifest_folder: manifest_folder.clone(),
                root: super::root(),
                folder: client_folder(run, name),
                output: run.options.folder.join("cells").join(format!("{name}.output.log")),
                number: u32::try_from(index).unwrap_or(u32::MAX),
                speed: run.options.speed,
                lifetime: manifest.lifetime.unwrap_or(LIFETIME),
                endpoint: config.errand.endpoint.clone(),
            };
            Client::Process(Box::new(instance), None)
        }
        (None, None) => return Ok(Err(format!("nothing says how {} is run", cell.client.name))),
    };
    let listen = match cell.client.board().map(|board| listen_address(&board.listen.value)) {
        None => None,
        Some(Ok(at)) => Some(at),
        Some(Err(why)) => return Ok(Err(format!("{}: {why}", cell.client.name))),
    };
    let server_may_host = cell.server.claims.has("srv:repo");
    let done = drive(run.interrupt, async |mut interrupt| {
        let seats = async {
            let client = client_ready.seats.acquire().await;
            (client, server_ready.seats.acquire().await)
        };
        let _seats = tokio::select! {
            seats = seats => seats,
            () = interrupt.wait() => return Err("interrupted".to_owned()),
        };
        let server = match &server_ready.adapter {
            None => match &cell.server.server {
                Some(defects) => Server::Embedded(defects),
                None => return Err(format!("nothing says how {} is run", cell.server.name)),
            },
            Some(adapted) => Server::Adapter(adapted.host.get().await.map_err(|error| error.to_string())?),
        };
        let mut client = client;
        if let (Client::Process(instance, hand), Some(adapted)) = (&mut client, &client_ready.adapter) {
            let adapter = adapted.host.get().await.map_err(|error| error.to_string())?;
            *hand = Some(Hand::new(adapter, instance.endpoint.clone(), None));
        }
        let cell = RealCell {
            config,
            client,
            server,
            folder: folder.display().to_string(),
            speed: run.options.speed,
            listen,
            server_may_host,
        };
        drive_real::run(cell, sink, &mut interrupt, talk, aside).await
    });
    Ok(done.unwrap_or_else(|error| Err(format!("cannot run in real time: {error}"))))
}

/// The packets of the capture on which findings and blame may rest.
fn packets(evidence: &Evidence, ended: &Ended) -> BTreeMap<u64, u64> {
    let found = ended.findings.iter().flatten().flat_map(|finding| &finding.datagrams);
    found
        .copied()
        .chain(ended.log.datagrams())
        .filter_map(|datagram| Some((datagram, evidence.packet_of(datagram)?)))
        .collect()
}

/// What the capture of a cell shows of its device.
fn analyzed(
    path: &Path,
    ports: Vec<u16>,
    endpoint: &str,
) -> Result<Option<fotaproof_analyze::DeviceReport>, EvidenceError> {
    let file = File::open(path).map_err(|source| EvidenceError {
        path: path.to_path_buf(),
        source,
    })?;
    let options = fotaproof_analyze::Options {
        ports,
        ..fotaproof_analyze::Options::default()
    };
    let report = fotaproof_analyze::analyze(&path.display().to_string(), BufReader::new(file), options);
    Ok(report.devices.into_iter().find(|device| device.endpoint == endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Party;

    #[test]
    fn no_two_cells_share_a_file_whatever_their_names_are() {
        let named = |party: Party, name: &str| Party {
            name: name.to_owned(),
            ..party
        };
        let plan = Plan {
            clients: ["a", "a.b", "a b", "../a"]
                .map(|name| named(Party::embedded_client(), name))
                .to_vec(),
            servers: ["b.c", "c", "c/d"]
                .map(|name| named(Party::embedded_server(), name))
                .to_vec(),
            networks: vec![crate::prepare::RunNetwork::default()],
            ways: vec![Way::Push],
            seed: 1,
            size: 1000,
        };
        let stems = stems(&plan.cells());
        let distinct: BTreeSet<&String> = stems.iter().collect();
        assert_eq!(distinct.len(), 12, "{stems:?}");
        assert!(stems.iter().all(|stem| !stem.contains('/')), "{stems:?}");
    }

    #[test]
    fn a_slow_or_lossy_link_gives_an_update_more_time() {
        let plain = limit_of(&LinkSpec::default(), 20_000);
        assert!(plain < Duration::from_secs(150), "{plain:?}");
        let mut lossy = LinkSpec::default();
        lossy.toward_iut.loss = Loss::Bernoulli(0.1);
        assert!(limit_of(&lossy, 20_000) > plain * 2);
        let mut slow = LinkSpec::default();
        slow.toward_iut.delay = Duration::from_secs(5);
        assert!(limit_of(&slow, 20_000) > Duration::from_secs(1000));
        assert!(limit_of(&slow, u64::MAX) <= Duration::from_secs(86_400));
    }
}
