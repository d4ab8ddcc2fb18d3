//! The matrix: every client against every server, each way, over each network.
//!
//! | part | does |
//! |---|---|
//! | `plan` | who takes part, which cells there are, which apply |
//! | `watch` | the link of a cell, its events, the checks at both ends, counts |
//! | `leader` | the update: by the server's own engine, or by the harness's campaign over the operations of a library |
//! | `cell` | these as one machine without clock and sockets |
//! | `drive_virtual`, `drive_real` | time: jumping for the embedded peers, real for processes and adapters |
//! | `ports` | the sockets of a cell in real time |
//! | `asked` | what both sides asked, and what came of it |
//! | `blame` | whose fault it is that an update got stuck, where the link shows it |
//! | `judge` | from the end of a cell and its capture to its result |
//! | `stale` | expected failures that did not happen |
//!
//! A cell fails when the update does not end well or when a side breaks a must that is not among its expected failures. What an
//! adapter, a port or a file does wrong is an error and nobody's verdict.

mod asked;
mod blame;
#[cfg(test)]
mod blame_tests;
mod cell;
mod drive_real;
mod drive_virtual;
mod judge;
mod leader;
mod one;
mod plan;
mod ports;
mod stale;
#[cfg(test)]
mod tests;
mod watch;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fotaproof_reports::matrix as report;
use fotaproof_reports::model::Verdict;
use tokio::sync::Semaphore;

use self::leader::Level;
use self::plan::Planned;
use crate::evidence::EvidenceError;
use crate::real;
use crate::real::adapter::{AdapterHost, launch_of};
use crate::schedule::drive;

pub use plan::{EMBEDDED, Party, PartyError, Plan, Role};

/// How long an adapter may take to end in order.
const QUIT: Duration = Duration::from_secs(5);

/// How a matrix is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cells in real time at once; at least one.
    pub jobs: usize,
    /// The run's folder.
    pub folder: PathBuf,
    /// How many times faster than the wall the clock of cells in real time runs, and that of their peers; 1 at least. Whoever takes
    /// part has to allow it ([`Party::at_speed`]).
    pub speed: f64,
    /// The day, `YYYY-MM-DD`: expected failures may be past theirs.
    pub today: String,
    /// A cell in real time is given up after this time; what its network and package need if absent.
    pub limit: Option<Duration>,
    /// Cells of the run that is resumed in this folder. Those that ended are taken as they are.
    pub earlier: Vec<report::Cell>,
}

impl Options {
    /// What became of a cell in the run that is resumed, if it ended there.
    fn ended(&self, id: &str) -> Option<&report::Cell> {
        let same = self.earlier.iter().find(|cell| cell.id == id)?;
        (!matches!(same.verdict, Verdict::NotRun | Verdict::NotApplicable)).then_some(same)
    }
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A cell begins.
    Started {
        /// Its id.
        id: &'a str,
    },
    /// A cell ended.
    Ended {
        /// Its result.
        cell: &'a report::Cell,
    },
}

/// A finished run.
#[derive(Debug, Default)]
pub struct Finished {
    /// The cells, in the order of the plan.
    pub cells: Vec<report::Cell>,
    /// The clients with the versions that they were found to have.
    pub clients: Vec<report::Party>,
    /// The servers likewise.
    pub servers: Vec<report::Party>,
    /// Expected failures that were not met, or past their day.
    pub stale: Vec<String>,
    /// What was noted of the whole run.
    pub notes: Vec<String>,
    /// Why it ended before all cells were run.
    pub aborted: Option<String>,
    /// Evidence that could not be written.
    pub error: Option<EvidenceError>,
}

/// A party in a run.
struct Ready {
    /// Why nothing can be run with it.
    unfit: Option<String>,
    version: Option<String>,
    seats: Semaphore,
    /// Of a real server, and of a board that an adapter has a hand in.
    adapter: Option<Adapted>,
}

/// The adapter of a server.
struct Adapted {
    host: AdapterHost,
    level: Option<Level>,
    can_observe: bool,
}

impl Ready {
    fn new(unfit: Option<String>, instances: Option<u32>) -> Self {
        let seats = instances.map_or(Semaphore::MAX_PERMITS, |bound| bound.max(1) as usize);
        Self {
            unfit,
            version: None,
            seats: Semaphore::new(seats.min(Semaphore::MAX_PERMITS)),
            adapter: None,
        }
    }
}

/// Runs all cells of a plan.
///
/// `interrupt` ends the run; what ran so far is complete, and nothing is left running.
pub fn run(
    plan: &Plan,
    options: &Options,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Finished {
    let cells = plan.cells();
    let applies: Vec<Option<String>> = cells.iter().map(Planned::not_applicable).collect();
    let earlier: Vec<Option<&report::Cell>> = cells.iter().map(|cell| options.ended(&cell.id())).collect();
    let used = |role: Role, index: usize| {
        cells
            .iter()
            .zip(applies.iter().zip(&earlier))
            .any(|(cell, (why, earlier))| {
                let own = match role {
                    Role::Client => cell.client_index,
                    Role::Server => cell.server_index,
                };
                why.is_none() && earlier.is_none() && own == index
            })
    };
    let (clients, servers) = std::thread::scope(|scope| {
        let begin = |role: Role, parties: &'_ [Party]| -> Vec<_> {
            let used = &used;
            parties
                .iter()
                .enumerate()
                .map(|(index, party)| {
                    let (party, options) = (party.clone(), options.clone());
                    let wanted = used(role, index) && !party.is_embedded(role);
                    scope.spawn(move || {
                        if wanted {
                            ready(&party, index, role, &options, interrupt)
                        } else {
                            Ready::new(None, None)
                        }
                    })
                })
                .collect()
        };
        let (clients, servers) = (begin(Role::Client, &plan.clients), begin(Role::Server, &plan.servers));
        let join = |all: Vec<std::thread::ScopedJoinHandle<'_, Ready>>| -> Vec<Ready> {
            all.into_iter()
                .map(|one| {
                    one.join()
                        .unwrap_or_else(|_| Ready::new(Some("the harness failed to prepare it".to_owned()), None))
                })
                .collect()
        };
        (join(clients), join(servers))
    });
    let results: Vec<Mutex<Option<(report::Cell, stale::Met)>>> = cells.iter().map(|_| Mutex::new(None)).collect();
    let failed: Mutex<Option<EvidenceError>> = Mutex::new(None);
    let stems = one::stems(&cells);
    let run = one::Run {
        plan,
        options,
        interrupt,
        clients: &clients,
        servers: &servers,
        stems: &stems,
    };
    let work = |index: usize| {
        let cell = &cells[index];
        let (result, met) = match &applies[index] {
            None if earlier[index].is_some() => {
                let result = earlier[index].cloned().unwrap_or_default();
                (result, stale::Met::default())
            }
            Some(why) => {
                let result = report::Cell {
                    verdict: Verdict::NotApplicable,
                    reason: why.clone(),
                    ..one::described(cell, plan)
                };
                (result, stale::Met::default())
            }
            None => {
                progress(Progress::Started { id: &cell.id() });
                match one::run(&run, cell, index) {
                    Ok(result) => result,
                    Err(error) => {
                        let reason = error.to_string();
                        lock(&failed).get_or_insert(error);
                        let result = report::Cell {
                            verdict: Verdict::Error,
                            reason,
                            ..one::described(cell, plan)
                        };
                        (result, stale::Met::default())
                    }
                }
            }
        };
        progress(Progress::Ended { cell: &result });
        *lock(&results[index]) = Some((result, met));
    };
    let stop = || interrupt.load(Ordering::Relaxed) || lock(&failed).is_some();
    // those that take no time first, then those that wait, with the longest ways not all at the end
    let (quick, slow): (Vec<usize>, Vec<usize>) = (0..cells.len())
        .partition(|&index| applies[index].is_some() || earlier[index].is_some() || cells[index].is_virtual());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    in_threads(&quick, cores, &stop, &work);
    in_threads(&slow, options.jobs, &stop, &work);
    let mut notes = Vec::new();
    let prepared = plan.servers.iter().zip(&servers);
    for (party, ready) in prepared.chain(plan.clients.iter().zip(&clients)) {
        notes.extend(farewell(party, ready));
    }
    let aborted = if interrupt.load(Ordering::Relaxed) {
        Some("interrupted".to_owned())
    } else {
        lock(&failed).as_ref().map(ToString::to_string)
    };
    let (results, met): (Vec<report::Cell>, Vec<stale::Met>) = results
        .into_iter()
        .zip(&cells)
        .map(|(result, cell)| {
            let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
            result.unwrap_or_else(|| (one::described(cell, plan), stale::Met::default()))
        })
        .unzip();
    let results = compared(results);
    let resumed = earlier.iter().flatten().count();
    if resumed > 0 {
        notes.push(format!(
            "resumed: {resumed} of the {} cells are of the run before, and no entry for expected failures was held against them",
            cells.len()
        ));
    }
    let judged: Vec<_> = cells
        .into_iter()
        .zip(results.iter().zip(met))
        .zip(&earlier)
        .map(|((cell, (result, met)), earlier)| {
            // what it met is not known any more
            let verdict = earlier.map_or(result.verdict, |_| Verdict::NotRun);
            (cell, verdict, met)
        })
        .collect();
    // who was not asked everything cannot be said to have met nothing
    let stale = match aborted {
        Some(_) => Vec::new(),
        None => stale::stale(plan, &judged, &options.today),
    };
    Finished {
        cells: results,
        stale,
        clients: shown(&plan.clients, &clients),
        servers: shown(&plan.servers, &servers),
        notes,
        aborted,
        error: failed.into_inner().unwrap_or_else(PoisonError::into_inner),
    }
}

fn shown(parties: &[Party], ready: &[Ready]) -> Vec<report::Party> {
    parties
        .iter()
        .zip(ready)
        .map(|(party, ready)| {
            let described = party.described();
            report::Party {
                version: ready.version.clone().or_else(|| described.version.clone()),
                ..described
            }
        })
        .collect()
}

/// What the rest of the matrix says begins with this.
const COMPARED: &str = "; in this matrix ";

/// Where the link does not show whose fault it is, the rest of the matrix may: what else passes with either side.
fn compared(mut cells: Vec<report::Cell>) -> Vec<report::Cell> {
    let passed: Vec<(String, report::Way, String, String)> = cells
        .iter()
        .filter(|cell| cell.verdict == Verdict::Pass)
        .map(|cell| (cell.network.clone(), cell.way, cell.client.clone(), cell.server.clone()))
        .collect();
    for cell in &mut cells {
        let Some(blame) = cell
            .blame
            .as_mut()
            .filter(|blame| blame.side == report::Blamed::Unknown)
        else {
            continue;
        };
        let alike = passed
            .iter()
            .filter(|(network, way, ..)| *network == cell.network && *way == cell.way);
        let count =
            |is: &dyn Fn(&str, &str) -> bool| alike.clone().filter(|(.., client, server)| is(client, server)).count();
        let clients = count(&|_, server| server == cell.server);
        let servers = count(&|client, _| client == cell.client);
        let others = |number: usize, word: &str| match number {
            0 => format!("no other {word}"),
            1 => format!("1 other {word}"),
            many => format!("{many} other {word}s"),
        };
        // of a run that is resumed it was compared with less
        if let Some((before, _)) = blame.next.split_once(COMPARED) {
            blame.next = before.to_owned();
        }
        blame.next += &format!(
            "{COMPARED}{} updates {} this way, and {} is updated by {}",
            cell.server,
            others(clients, "client"),
            cell.client,
            others(servers, "server")
        );
    }
    cells
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives each index to one of some threads.
fn in_threads(indices: &[usize], jobs: usize, stop: &(dyn Fn() -> bool + Sync), work: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let worker = || {
        while !stop() {
            let Some(index) = indices.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            work(*index);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, indices.len().max(1)) {
            scope.spawn(worker);
        }
    });
}

/// Prepares a party, once a run; a server's adapter is started.
fn ready(party: &Party, index: usize, role: Role, options: &Options, interrupt: &AtomicBool) -> Ready {
    let Some((manifest, folder)) = &party.manifest else {
        return Ready::new(None, None);
    };
    let root = root();
    let prepared = drive(interrupt, async |interrupt| {
        real::prepare(manifest, folder, &root, interrupt).await
    });
    // there is one of a board
    let bound = manifest
        .board
        .as_ref()
        .map(|_| 1)
        .or_else(|| manifest.instances.map(u32::from));
    let unfit = |why: String| Ready::new(Some(format!("{}: {why}", party.name)), bound);
    let found = match prepared {
        Ok(Ok(found)) => found.version,
        Ok(Err(error)) => return unfit(error.to_string()),
        Err(error) => return unfit(format!("cannot run in real time: {error}")),
    };
    if role == Role::Client && (manifest.board.is_none() || manifest.adapter.is_none()) {
        return Ready {
            version: found,
            ..Ready::new(None, bound)
        };
    }
    let state = peers(&options.folder).join(format!("{}-{index}.adapter", role.word()));
    if let Err(error) = std::fs::create_dir_all(&state) {
        return unfit(format!("cannot make {}: {error}", state.display()));
    }
    let Some(mut launch) = launch_of(manifest, folder, &root, &state) else {
        return unfit("its manifest has no `adapter`".to_owned());
    };
    // the clock of an adapter that is only a hand is not that of the device
    if role == Role::Server {
        match party.at_speed(role, options.speed) {
            Ok(scaling) => launch = launch.scaled(&scaling),
            Err(why) => return Ready::new(Some(why), bound),
        }
    }
    launch.log = Some(state.join("adapter.log"));
    let host = AdapterHost::new(launch);
    let started = drive(interrupt, async |mut interrupt| {
        tokio::select! {
            started = host.get() => started.map_err(|error| error.to_string()),
            () = interrupt.wait() => Err("interrupted".to_owned()),
        }
    });
    let hello = match started {
        Ok(Ok(adapter)) => adapter.hello().clone(),
        Ok(Err(why)) => return unfit(why),
        Err(error) => return unfit(format!("cannot run in real time: {error}")),
    };
    let bound = [bound, hello.instances].into_iter().flatten().min();
    let unfit = (hello.role != role.word()).then(|| format!("{}: its adapter is one of a {}", party.name, hello.role));
    let version = match role {
        Role::Server => Some(hello.version).filter(|version| !version.is_empty()).or(found),
        Role::Client => found,
    };
    Ready {
        version,
        adapter: Some(Adapted {
            host,
            level: Level::of(&hello.capabilities),
            can_observe: hello.capabilities.iter().any(|known| known == "observe"),
        }),
        ..Ready::new(unfit, bound)
    }
}

/// Ends the adapter of a server; what was out of order is told.
fn farewell(party: &Party, ready: &Ready) -> Option<String> {
    let host = &ready.adapter.as_ref()?.host;
    // an interrupt must not keep it from ending in order
    let ended = drive(&AtomicBool::new(false), async |_| host.quit(QUIT).await).ok()??;
    if ended.in_order() {
        return None;
    }
    let left = ended.left.map_or_else(String::new, |left| format!(", and left {left}"));
    Some(format!(
        "the adapter of {} did not end in order: {}{left}",
        party.name, ended.status
    ))
}

/// The working folder of the run.
fn root() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}

/// Where the peers of a run have their folders.
fn peers(folder: &Path) -> PathBuf {
    std::path::absolute(folder.join("peers")).unwrap_or_else(|_| folder.join("peers"))
}
