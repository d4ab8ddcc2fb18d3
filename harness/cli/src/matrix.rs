//! `matrix`: every client against every server.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use clap::{Args, ValueEnum};
use fotaproof_cases::Library;
use fotaproof_net::{DirectionSpec, Loss};
use fotaproof_reports::matrix::{Cell, FORMAT, MatrixResults, Way, html, json, markdown, terminal, totals};
use fotaproof_reports::model::exit_code;
use fotaproof_reports::terminal::Options as Layout;
use fotaproof_runner::matrix::{EMBEDDED, Finished, Options, Party, Plan, Progress, Role, run};
use fotaproof_runner::prepare::RunNetwork;
use fotaproof_runner::run::new_folder;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Color;
use crate::failure::Failure;
use crate::run::{quoted, run_name};
use crate::{Done, inputs, interrupt, print};

/// Columns of a report where no terminal tells.
const WIDTH: usize = 100;

/// `matrix`.
#[derive(Debug, Args)]
pub(crate) struct MatrixArgs {
    /// The clients: manifest files, and `embedded` for the reference device in this program.
    #[arg(long, value_name = "FILE,..", value_delimiter = ',', required = true)]
    clients: Vec<String>,
    /// The servers: manifest files with an `adapter`, and `embedded` for the update server in this program.
    #[arg(long, value_name = "FILE,..", value_delimiter = ',', required = true)]
    servers: Vec<String>,
    /// The networks between them: names of profiles or network files.
    #[arg(
        long,
        visible_alias = "network",
        value_name = "NAME,..",
        value_delimiter = ',',
        default_value = "ethernet"
    )]
    networks: Vec<String>,
    /// The ways that the package goes.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [WayArg::Push, WayArg::Pull])]
    ways: Vec<WayArg>,
    /// Length of a package in bytes, or with `k` in kibibytes, where the client's packages can be made to measure.
    #[arg(long, value_name = "SIZE", default_value = "20k")]
    size: String,
    /// The seed of all that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cells in real time at once.
    #[arg(long, short = 'j', value_name = "N", default_value_t = 4)]
    jobs: usize,
    /// How many times faster than the wall the clock of a cell in real time runs, for all its peers; their manifests have to allow it.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    speed: f64,
    /// A cell in real time is given up after so many seconds of its clock; what its network and package need if absent.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// The folder for the runs.
    #[arg(long, value_name = "DIR", default_value = "fotaproof-out")]
    out: PathBuf,
    /// The folder of a run that was interrupted or killed: what ended there stays, the rest is run. The other arguments are those of that run.
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = MatrixFormat::Human)]
    format: MatrixFormat,
    /// Colours: when a terminal reads, always, or never.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
}

/// A way as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WayArg {
    /// The server writes the package to the device.
    Push,
    /// The device fetches it from a URI.
    Pull,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MatrixFormat {
    /// Grids, measurements and what needs attention.
    Human,
    /// The results as JSON.
    Json,
    /// The same as Markdown.
    Markdown,
}

pub(crate) fn matrix(args: &MatrixArgs) -> Done {
    if args.speed < 1.0 || !args.speed.is_finite() {
        return Err(Failure::Usage("--speed takes a number of at least 1".to_owned()));
    }
    for (option, number) in [("--jobs", Some(args.jobs as u64)), ("--timeout", args.timeout)] {
        if number == Some(0) {
            return Err(Failure::Usage(format!("{option} takes a number of at least 1")));
        }
    }
    let plan = plan(args)?;
    for (role, parties) in [(Role::Client, &plan.clients), (Role::Server, &plan.servers)] {
        for party in parties {
            party.at_speed(role, args.speed).map_err(Failure::Usage)?;
        }
    }
    let earlier = match &args.resume {
        Some(folder) => Some(earlier(folder, &plan, args)?),
        None => None,
    };
    let flag = interrupt::flag();
    let started = SystemTime::now();
    let folder = match &args.resume {
        Some(folder) => folder.clone(),
        None => new_folder(&args.out, &run_name(started)).map_err(|error| Failure::Environment(error.to_string()))?,
    };
    let cells = plan.clients.len() * plan.servers.len() * plan.networks.len() * plan.ways.len();
    let options = Options {
        jobs: args.jobs,
        folder: folder.clone(),
        speed: args.speed,
        today: humantime::format_rfc3339_seconds(started).to_string()[..10].to_owned(),
        limit: args.timeout.map(Duration::from_secs),
        earlier: earlier
            .as_ref()
            .map(|earlier| earlier.cells.clone())
            .unwrap_or_default(),
    };
    let shown = Shown::new(cells, args.format == MatrixFormat::Human);
    let begun = Instant::now();
    let nothing_yet = Finished {
        cells: options.earlier.clone(),
        clients: plan.clients.iter().map(Party::described).collect(),
        servers: plan.servers.iter().map(Party::described).collect(),
        ..Finished::default()
    };
    let so_far = SoFar::new(results(args, &plan, nothing_yet, &folder, started, Duration::ZERO));
    let finished = run(&plan, &options, &flag, &|event| {
        shown.on(&event);
        so_far.on(&event, &folder, begun.elapsed());
    });
    shown.bar.finish_and_clear();
    let mut results = results(args, &plan, finished, &folder, started, begun.elapsed());
    if let Some(earlier) = earlier {
        results.seconds += earlier.seconds;
        results.started = earlier.started;
        for (party, before) in [
            (&mut results.clients, earlier.clients),
            (&mut results.servers, earlier.servers),
        ] {
            for party in party.iter_mut().filter(|party| party.version.is_none()) {
                // who had nothing more to do was not asked again
                let same = before.iter().find(|before| before.name == party.name);
                party.version = same.and_then(|before| before.version.clone());
            }
        }
    }
    if flag.load(Ordering::Relaxed) {
        results.exit_code = exit_code::INTERRUPTED;
    }
    let written = write_files(&folder, &results);
    let place = folder.display().to_string();
    print(&match args.format {
        MatrixFormat::Human => terminal::render(
            &results,
            &Layout {
                width: WIDTH,
                colour: match args.color {
                    Color::Always => true,
                    Color::Never => false,
                    Color::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
                },
                folder: place,
            },
        ),
        MatrixFormat::Json => json::render(&results).map_err(|error| Failure::Environment(error.to_string()))?,
        MatrixFormat::Markdown => markdown::render(&results),
    });
    // what was found is told first: a disk that is full does not take it away
    written?;
    Ok(results.exit_code)
}

/// The run that is resumed, if it was one of the same plan.
fn earlier(folder: &Path, plan: &Plan, args: &MatrixArgs) -> Result<MatrixResults, Failure> {
    let file = folder.join(json::FILE);
    let refused = |why: String| Failure::Usage(format!("{} cannot be resumed: {why}", folder.display()));
    let text = std::fs::read(&file).map_err(|error| refused(format!("{}: {error}", file.display())))?;
    let results = json::read(&text).map_err(|error| refused(format!("{}: {error}", file.display())))?;
    for (option, is_same, was) in [
        ("--seed", results.seed == plan.seed, results.seed.to_string()),
        ("--size", results.size == plan.size, results.size.to_string()),
        (
            "--speed",
            (results.speed - args.speed).abs() < 1e-9,
            results.speed.to_string(),
        ),
    ] {
        if !is_same {
            return Err(refused(format!("it was run with {option} {was}")));
        }
    }
    let same = |parties: &[Party], before: &[fotaproof_reports::matrix::Party]| {
        let now = parties.iter().map(|party| (&party.name, &party.manifest_file));
        now.eq(before.iter().map(|party| (&party.name, &party.manifest)))
    };
    if !(same(&plan.clients, &results.clients) && same(&plan.servers, &results.servers)) {
        return Err(refused("other clients or servers took part in it".to_owned()));
    }
    Ok(results)
}

fn plan(args: &MatrixArgs) -> Result<Plan, Failure> {
    let library = Library::embedded();
    let networks = words(&args.networks)
        .into_iter()
        .map(|name| inputs::network(Some(name), &library))
        .collect::<Result<Vec<_>, _>>()?;
    let ways = args.ways.iter().map(|way| match way {
        WayArg::Push => Way::Push,
        WayArg::Pull => Way::Pull,
    });
    let plan = Plan {
        clients: parties(&args.clients, Role::Client)?,
        servers: parties(&args.servers, Role::Server)?,
        networks,
        ways: distinct(&ways.collect::<Vec<_>>()).into_iter().copied().collect(),
        seed: args.seed,
        size: size(&args.size)?,
    };
    for (option, is_empty) in [
        ("--clients", plan.clients.is_empty()),
        ("--servers", plan.servers.is_empty()),
        ("--networks", plan.networks.is_empty()),
        ("--ways", plan.ways.is_empty()),
    ] {
        if is_empty {
            return Err(Failure::NothingSelected(format!(
                "there is no cell to run: {option} names nothing"
            )));
        }
    }
    Ok(plan.with_unique_names())
}

/// Each once, in the order given. A cell is named by its network and way, so none may come twice.
fn distinct<T: PartialEq>(all: &[T]) -> Vec<&T> {
    let mut each: Vec<&T> = Vec::new();
    for one in all {
        if !each.contains(&one) {
            each.push(one);
        }
    }
    each
}

fn parties(words: &[String], role: Role) -> Result<Vec<Party>, Failure> {
    let one = |word: &str| match (word, role) {
        (EMBEDDED, Role::Client) => Ok(Party::embedded_client()),
        (EMBEDDED, Role::Server) => Ok(Party::embedded_server()),
        (word, role) if !Path::new(word).exists() && !word.contains(['.', '/']) => Err(Failure::Usage(format!(
            "there is no {} `{word}`: name the file of a manifest, or `{EMBEDDED}`",
            role.word()
        ))),
        (file, role) => {
            let iut = inputs::iut(Some(Path::new(file)), &[])?;
            Party::of_iut(iut, role).map_err(|error| Failure::Usage(error.to_string()))
        }
    };
    self::words(words).into_iter().map(one).collect()
}

/// The words of a list, each once, without those of nothing.
fn words(list: &[String]) -> Vec<&str> {
    let words: Vec<&str> = list
        .iter()
        .map(|word| word.trim())
        .filter(|word| !word.is_empty())
        .collect();
    distinct(&words).into_iter().copied().collect()
}

/// A number of bytes, with `k` or `KiB` and `M` or `MiB` for the powers of 1024.
fn size(text: &str) -> Result<u64, Failure> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match lower[digits.len()..].trim() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        _ => None,
    };
    factor
        .and_then(|factor: u64| digits.parse::<u64>().ok()?.checked_mul(factor))
        .filter(|size| (1..=1 << 30).contains(size))
        .ok_or_else(|| {
            Failure::Usage(format!(
                "`{text}` is no size of a package; write one such as 20k or 8192"
            ))
        })
}

fn results(
    args: &MatrixArgs,
    plan: &Plan,
    finished: Finished,
    folder: &Path,
    started: SystemTime,
    took: Duration,
) -> MatrixResults {
    let mut cells = finished.cells;
    for cell in &mut cells {
        cell.repeat = repeat(args, plan, cell);
    }
    let mut results = MatrixResults {
        format: FORMAT,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        run: folder
            .file_name()
            .map_or_else(|| run_name(started), |name| name.to_string_lossy().into_owned()),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        seconds: took.as_secs_f64(),
        speed: args.speed,
        seed: plan.seed,
        size: plan.size,
        clients: finished.clients,
        servers: finished.servers,
        networks: plan.networks.iter().map(|network| network.name.clone()).collect(),
        network_notes: plan.networks.iter().map(like).collect(),
        ways: plan.ways.clone(),
        totals: totals(&cells),
        cells,
        stale_expectations: finished.stale,
        notes: finished.notes,
        aborted: finished.aborted,
        exit_code: exit_code::PASSED,
    };
    results.exit_code = if finished.error.is_some() {
        exit_code::INCONCLUSIVE
    } else {
        results.verdict_code()
    };
    results
}

/// What a network is like, in one line: what a profile stands for, and the figures that matter most to an update.
fn like(network: &RunNetwork) -> String {
    let spec = &network.spec;
    let (down, up) = (&spec.toward_iut, &spec.toward_server);
    let both = |down: String, up: String| match down == up {
        true => format!("{down} each way"),
        false => format!("{down} to the client, {up} to the server"),
    };
    let delay = |one: &DirectionSpec| {
        let jitter = match one.jitter.is_zero() {
            true => String::new(),
            false => format!(" ± {} ms", one.jitter.as_secs_f64() * 1e3),
        };
        format!("{} ms{jitter}", one.delay.as_secs_f64() * 1e3)
    };
    let rate = |one: &DirectionSpec| match one.rate_bps {
        None => "no limit of rate".to_owned(),
        Some(bits) if bits >= 1_000_000 => format!("{} Mbit/s", bits as f64 / 1e6),
        Some(bits) => format!("{} kbit/s", bits as f64 / 1e3),
    };
    let loss = |one: &DirectionSpec| match &one.loss {
        Loss::None => "nothing lost".to_owned(),
        Loss::Bernoulli(share) => format!("{} % lost", share * 100.0),
        _ => "lost in bursts".to_owned(),
    };
    let mut parts = vec![
        match spec.pdu_limit {
            Some(limit) => format!("messages of {limit} bytes at the most"),
            None => format!("MTU {}", spec.mtu),
        },
        both(delay(down), delay(up)),
        both(rate(down), rate(up)),
        match (&down.loss, &up.loss) {
            (Loss::None, Loss::None) => "nothing lost".to_owned(),
            _ => both(loss(down), loss(up)),
        },
    ];
    if !spec.rules.is_empty() {
        parts.push("rules of its own".to_owned());
    }
    let figures = parts.join("; ");
    // a file of the same name is not the profile
    match fotaproof_net::profile(&network.name).filter(|profile| profile.spec == *spec) {
        Some(profile) => format!("{}; {figures}", profile.summary),
        None => figures,
    }
}

/// The command that runs one cell alone.
fn repeat(args: &MatrixArgs, plan: &Plan, cell: &Cell) -> String {
    let word = |parties: &[Party], name: &str| {
        let party = parties.iter().find(|party| party.name == name);
        let file = party.and_then(|party| party.manifest_file.clone());
        quoted(&file.unwrap_or_else(|| EMBEDDED.to_owned()))
    };
    let mut text = format!(
        "fotaproof matrix --clients {} --servers {} --networks {} --ways {} --size {} --seed {}",
        word(&plan.clients, &cell.client),
        word(&plan.servers, &cell.server),
        quoted(&cell.network),
        cell.way.word(),
        plan.size,
        plan.seed
    );
    if args.speed > 1.0 {
        text += &format!(" --speed {}", args.speed);
    }
    if let Some(timeout) = args.timeout {
        text += &format!(" --timeout {timeout}");
    }
    text
}

fn write_files(folder: &Path, results: &MatrixResults) -> Result<(), Failure> {
    let told = |error: fotaproof_reports::WriteError| Failure::Environment(error.to_string());
    json::write_file(&folder.join(json::FILE), results).map_err(told)?;
    markdown::write_file(&folder.join(markdown::FILE), results).map_err(told)?;
    html::write_file(&folder.join(html::FILE), results).map_err(told)
}

/// What is on the disk while the run goes on, so that a run that is killed leaves what it had.
struct SoFar {
    results: Mutex<MatrixResults>,
    /// Cells on the disk.
    written: AtomicUsize,
}

impl SoFar {
    fn new(mut results: MatrixResults) -> Self {
        results.aborted = Some("this was written while the run went on; the cells that had ended are here".to_owned());
        results.exit_code = exit_code::INCONCLUSIVE;
        Self {
            results: Mutex::new(results),
            written: AtomicUsize::new(0),
        }
    }

    fn on(&self, event: &Progress<'_>, folder: &Path, took: Duration) {
        let (Progress::Ended { cell }, Ok(mut results)) = (event, self.results.lock()) else {
            return;
        };
        results.cells.retain(|known| known.id != cell.id);
        results.cells.push((*cell).clone());
        results.totals = totals(&results.cells);
        results.seconds = took.as_secs_f64();
        let (written, all) = (self.written.load(Ordering::Relaxed), results.cells.len());
        // not each of many cells that take no time: what is written grows with every one
        if cell.wall_ms >= 1000.0 || all > written + written / 8 {
            self.written.store(all, Ordering::Relaxed);
            // a disk that is full is told at the end
            let _ = json::write_file(&folder.join(json::FILE), &results);
        }
    }
}

/// Progress for a person.
struct Shown {
    bar: ProgressBar,
    running: Mutex<Vec<String>>,
    lines: bool,
    begun: Instant,
}

impl Shown {
    fn new(total: usize, human: bool) -> Self {
        let bar = ProgressBar::new(total as u64);
        let terminal = std::io::stderr().is_terminal();
        if terminal && human {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}") {
                bar.set_style(style);
            }
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self {
            bar,
            running: Mutex::new(Vec::new()),
            lines: human && !terminal,
            begun: Instant::now(),
        }
    }

    fn on(&self, event: &Progress<'_>) {
        let Ok(mut running) = self.running.lock() else { return };
        match event {
            Progress::Started { id } => running.push((*id).to_owned()),
            Progress::Ended { cell } => {
                running.retain(|id| *id != cell.id);
                // a run that is over within a second needs no progress
                let ran = cell.verdict != fotaproof_reports::model::Verdict::NotApplicable;
                if self.lines && ran && self.begun.elapsed().as_millis() > 1000 {
                    eprintln!("{}", terminal::ended(cell, WIDTH));
                }
                self.bar.inc(1);
            }
        }
        let line = fotaproof_reports::text::one_line(&running.join("  "));
        self.bar.set_message(fotaproof_reports::text::fit(&line, WIDTH - 36));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_in_bytes_or_in_powers_of_1024() {
        for (text, bytes) in [
            ("8192", 8192),
            ("20k", 20_480),
            ("20 KiB", 20_480),
            ("1M", 1 << 20),
            ("1", 1),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "k", "0", "-1", "1.5k", "20kb", "2000M", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_is_described_by_its_purpose_and_its_figures() {
        let of_profile = |name: &str| {
            like(&RunNetwork {
                name: name.to_owned(),
                spec: fotaproof_net::profile(name).unwrap().spec,
            })
        };
        assert_eq!(
            of_profile("ethernet"),
            "a lab bench: 100 Mbit/s, a millisecond or less; MTU 1500; 0.5 ms each way; 100 Mbit/s each way; nothing lost"
        );
        for profile in fotaproof_net::profiles() {
            assert!(of_profile(profile.name).starts_with(profile.summary));
        }
        let own = RunNetwork {
            name: "ethernet".to_owned(),
            spec: fotaproof_net::LinkSpec::default(),
        };
        assert!(
            like(&own).starts_with("MTU 1280; 20 ms each way"),
            "a file of that name"
        );
    }

    #[test]
    fn what_is_given_twice_counts_once() {
        assert_eq!(distinct(&["a", "b", "a"]), [&"a", &"b"]);
    }
}
