//! Sweeps: an update over many combinations of block size, MTU, loss and network, many times each, in virtual time.

mod meter;
mod plan;
mod render;
mod statistics;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fotaproof_cases::ast::Oversize;
use fotaproof_cases::{Library, LoadedCase, Parameters};
use fotaproof_net::{Loss, Toward};
use fotaproof_trace::{Event, Verdict};
use serde::Serialize;

use self::meter::Meter;
use crate::iut::Iut;
use crate::prepare::{CaseOptions, RunNetwork, case_seed, embedded_iut, session_config};
use crate::session::network::oversize_of;
use crate::virtual_driver;

pub use plan::{Plan, Way, is_plan, load, schema};
pub use render::{csv, json, svg, table};
pub use statistics::{Estimate, NORMAL, datagram_loss, mean, share, share_at};

/// One combination of settings.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Name of the network it starts from.
    pub network: String,
    /// Block size.
    pub block: u16,
    /// Largest IP packet toward the IUT.
    pub mtu: u16,
    /// What happens to larger ones.
    pub oversize: &'static str,
    /// Loss of each packet toward the IUT; none when it is not independent of the packet before.
    pub loss: Option<f64>,
    link: RunNetwork,
}

impl Setting {
    /// What tells it from all others.
    fn key(&self) -> String {
        let Self {
            network,
            block,
            mtu,
            oversize,
            loss,
            ..
        } = self;
        format!("{network} {block} {mtu} {oversize} {loss:?}")
    }
}

/// What a combination came to.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Network it starts from.
    pub network: String,
    /// Block size.
    pub block: u16,
    /// MTU.
    pub mtu: u16,
    /// What happens to larger packets.
    pub oversize: &'static str,
    /// Loss of each packet.
    pub loss: Option<f64>,
    /// IP packets that a block takes.
    pub fragments: u16,
    /// Runs.
    pub runs: u64,
    /// Updates that failed, as a share.
    pub failure: Estimate,
    /// Bits of image a second, of updates that did not fail; none when all failed.
    pub goodput_bps: Option<Estimate>,
    /// Bytes of IP that were sent again, both ways, in all runs.
    pub retransmitted: Estimate,
    /// Bytes of IP for each byte of image, of updates that did not fail.
    pub cost: Option<Estimate>,
    /// Lost datagrams with a whole block, as a share.
    pub datagram_loss: Option<Estimate>,
    /// The same by the closed form 1-(1-p)^n.
    pub datagram_loss_expected: Option<f64>,
    /// Datagrams with a whole block that were sent.
    pub datagrams: u64,
}

/// A finished sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Version of this format.
    pub format: u32,
    /// What it shows.
    pub title: String,
    /// Push or pull.
    pub way: &'static str,
    /// Size of the image.
    pub size: u64,
    /// Runs of each combination.
    pub seeds: u32,
    /// The combinations in the order of the plan.
    pub rows: Vec<Row>,
}

/// Why a sweep cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The network of a combination.
    #[error("{0}")]
    Network(String),
    /// The harness's own case.
    #[error("{0}")]
    Case(String),
    /// The user had enough.
    #[error("interrupted")]
    Interrupted,
}

const fn oversize_name(oversize: Oversize) -> &'static str {
    match oversize {
        Oversize::Fragment => "fragment",
        Oversize::Drop => "drop",
        Oversize::Filter => "filter",
        Oversize::Refuse => "refuse",
    }
}

/// The combinations of a plan. `network` gives the link of a name.
///
/// # Errors
/// What `network` says.
pub fn settings<E>(plan: &Plan, network: &dyn Fn(&str) -> Result<RunNetwork, E>) -> Result<Vec<Setting>, E> {
    let networks = match &plan.network {
        None => vec![RunNetwork::default()],
        Some(names) => names
            .0
            .iter()
            .map(|name| network(&name.value))
            .collect::<Result<_, _>>()?,
    };
    let mtus: Vec<Option<u16>> = plan
        .mtu
        .as_ref()
        .map_or_else(|| vec![None], |all| all.0.iter().map(|mtu| Some(mtu.value)).collect());
    let oversizes: Vec<Option<Oversize>> = plan
        .oversize
        .as_ref()
        .map_or_else(|| vec![None], |all| all.0.iter().map(|mode| Some(mode.value)).collect());
    let losses: Vec<Option<f64>> = plan.loss.as_ref().map_or_else(
        || vec![None],
        |all| all.0.iter().map(|loss| Some(loss.value.0)).collect(),
    );
    let mut all = Vec::new();
    for base in &networks {
        for block in &plan.block.0 {
            for mtu in &mtus {
                for oversize in &oversizes {
                    for loss in &losses {
                        all.push(setting(base, block.value, *mtu, *oversize, *loss));
                    }
                }
            }
        }
    }
    Ok(all)
}

fn setting(base: &RunNetwork, block: u16, mtu: Option<u16>, oversize: Option<Oversize>, loss: Option<f64>) -> Setting {
    let mut link = base.clone();
    if let Some(mtu) = mtu {
        (link.spec.mtu, link.spec.mtu_toward_iut, link.spec.mtu_toward_server) = (mtu, None, None);
    }
    if let Some(oversize) = oversize {
        link.spec.oversize = oversize_of(oversize);
    }
    if let Some(loss) = loss {
        for toward in Toward::BOTH {
            link.spec.direction_mut(toward).loss = if loss > 0.0 { Loss::Bernoulli(loss) } else { Loss::None };
        }
    }
    let mode = [Oversize::Fragment, Oversize::Drop, Oversize::Filter, Oversize::Refuse]
        .into_iter()
        .find(|mode| oversize_of(*mode) == link.spec.oversize)
        .map_or("fragment", oversize_name);
    Setting {
        network: base.name.clone(),
        block,
        mtu: link.spec.mtu(Toward::Iut),
        oversize: mode,
        loss: match link.spec.toward_iut.loss {
            Loss::None => Some(0.0),
            Loss::Bernoulli(p) => Some(p),
            Loss::GilbertElliott { .. } => None,
        },
        link,
    }
}

/// The case that moves an image and looks at nothing else.
fn case_of(way: Way, size: u64, block: u16) -> Result<LoadedCase, SweepError> {
    let (needs, before, poll, step) = match way {
        Way::Push => (
            "[push]",
            String::new(),
            "",
            format!("push: {{block: {block}}}\n    expect: {{code: 2.04, within: 48h}}"),
        ),
        Way::Pull => (
            "[\"pull:coap\"]",
            format!("repositories: {{main: {{block: {block}}}}}\n"),
            // a notification of the end can be lost for good
            "  - poll: {paths: /5/0/3, every: 60s}\n",
            "pull: {repository: main}\n    expect: {path: [idle, downloading, downloaded], within: 12h}".to_owned(),
        ),
    };
    let text = format!(
        "title: An image is moved\npurpose: What it takes.\nneeds: {needs}\nclauses: [rfc7959/2.5]\ndefects: [ack-wrong-num]\n\
         limit: 72h\nfirmware: {{package: valid, size: {size}}}\n{before}given:\n  - await: registration\n    within: 24h\n\
         {poll}steps:\n  - {step}\n"
    );
    let (mut cases, problems) = Library::from_files([("sweep/move.yaml", text.as_str())]).load(&Parameters::default());
    match cases.pop() {
        Some(case) if problems.is_empty() => Ok(case),
        _ => Err(SweepError::Case(fotaproof_cases::render_all(
            &problems,
            fotaproof_cases::Style::Plain,
        ))),
    }
}

/// One run.
#[derive(Clone, Debug)]
struct Ran {
    succeeded: bool,
    meter: Meter,
}

fn one(case: &LoadedCase, iut: &Iut, setting: &Setting, seed: u64, interrupt: &AtomicBool) -> Result<Ran, SweepError> {
    let options = CaseOptions {
        // luck of its own for each combination, the same whatever else is in the plan
        seed: case_seed(seed, &setting.key()),
        network: setting.link.clone(),
        ..CaseOptions::default()
    };
    let config = session_config(case, iut, &options).map_err(|error| SweepError::Network(error.to_string()))?;
    let device =
        embedded_iut(case, iut, &config).ok_or_else(|| SweepError::Case("the device is not embedded".to_owned()))?;
    let mut meter = Meter::default();
    let mut sink = |event: &Arc<Event>| meter.take(event);
    let outcome = virtual_driver::run(config, device, &mut sink, &|| interrupt.load(Ordering::Relaxed));
    Ok(Ran {
        succeeded: outcome.verdict == Verdict::Pass,
        meter,
    })
}

/// Runs a plan. `done` is told how many runs are over.
///
/// # Errors
/// When a combination cannot be run, or the user interrupts.
pub fn sweep(
    plan: &Plan,
    settings: &[Setting],
    jobs: usize,
    interrupt: &AtomicBool,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Sweep, SweepError> {
    let size = plan.size.value.0;
    let mut cases = BTreeMap::new();
    for setting in settings {
        if let std::collections::btree_map::Entry::Vacant(place) = cases.entry(setting.block) {
            place.insert(case_of(plan.way, size, setting.block)?);
        }
    }
    let iut = Iut::embedded();
    let seeds = plan.seeds.value as usize;
    let total = settings.len() * seeds;
    let next = AtomicUsize::new(0);
    let finished = AtomicUsize::new(0);
    let ran: Vec<Mutex<Option<Result<Ran, SweepError>>>> = (0..total).map(|_| Mutex::new(None)).collect();
    let worker = || {
        while !interrupt.load(Ordering::Relaxed) {
            let task = next.fetch_add(1, Ordering::Relaxed);
            let (Some(place), Some(setting)) = (ran.get(task), settings.get(task / seeds.max(1))) else {
                return;
            };
            let Some(case) = cases.get(&setting.block) else { return };
            let result = one(case, &iut, setting, (task % seeds) as u64 + 1, interrupt);
            *place.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(result);
            done(finished.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, total.max(1)) {
            scope.spawn(worker);
        }
    });
    if interrupt.load(Ordering::Relaxed) {
        return Err(SweepError::Interrupted);
    }
    let mut all = Vec::with_capacity(total);
    for place in ran {
        match place.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(result) => all.push(result?),
            None => return Err(SweepError::Interrupted),
        }
    }
    let rows = settings
        .iter()
        .zip(all.chunks(seeds.max(1)))
        .map(|(setting, runs)| row(setting, runs, size))
        .collect();
    Ok(Sweep {
        format: 1,
        title: plan.title.clone(),
        way: match plan.way {
            Way::Push => "push",
            Way::Pull => "pull",
        },
        size,
        seeds: plan.seeds.value,
        rows,
    })
}

fn row(setting: &Setting, runs: &[Ran], size: u64) -> Row {
    let failed = runs.iter().filter(|run| !run.succeeded).count() as u64;
    let good = || runs.iter().filter(|run| run.succeeded);
    let goodput: Vec<f64> = good()
        .filter_map(|run| run.meter.time())
        .filter(|time| !time.is_zero())
        .map(|time| size as f64 * 8.0 / time.as_secs_f64())
        .collect();
    let cost: Vec<f64> = good().map(|run| run.meter.all as f64 / size as f64).collect();
    let again: Vec<f64> = runs.iter().map(|run| run.meter.again as f64).collect();
    let fragments = runs.iter().map(|run| run.meter.fragments()).max().unwrap_or(0);
    let (sent, delivered) = runs
        .iter()
        .filter_map(|run| run.meter.fates.get(&fragments))
        .fold((0, 0), |(sent, delivered), (more, arrived)| {
            (sent + more, delivered + arrived)
        });
    let fragmented = setting.oversize == "fragment";
    Row {
        network: setting.network.clone(),
        block: setting.block,
        mtu: setting.mtu,
        oversize: setting.oversize,
        loss: setting.loss,
        fragments,
        runs: runs.len() as u64,
        failure: share(failed, runs.len() as u64).unwrap_or_default(),
        goodput_bps: mean(&goodput),
        retransmitted: mean(&again).unwrap_or_default(),
        cost: mean(&cost),
        datagram_loss: share(sent.saturating_sub(delivered), sent),
        datagram_loss_expected: setting
            .loss
            .filter(|_| fragmented)
            .map(|p| datagram_loss(p, fragments.into())),
        datagrams: sent,
    }
}
