//! `relay`: the emulated link alone, between any two programs.

use std::io::{IsTerminal as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;
use fotaproof_cases::Library;
use fotaproof_reports::model::exit_code;
use fotaproof_runner::real::relay::{RelayOptions, Told, run};

use crate::failure::Failure;
use crate::{Done, inputs, interrupt, print};

/// `relay`.
#[derive(Debug, Args)]
pub(crate) struct RelayArgs {
    /// Where clients send to; the IUT's end of the link. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", required_unless_present = "tun")]
    listen: Option<SocketAddr>,
    /// Where their datagrams go; the server's end of the link.
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// A network file or the name of a profile.
    #[arg(long, value_name = "FILE|NAME", default_value = "default")]
    network: String,
    /// The seed of all that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes every packet at both ends of the link to this file.
    #[arg(long, value_name = "FILE.pcapng")]
    capture: Option<PathBuf>,
    /// Tells neither where it listens nor its counters; the summary is printed all the same.
    #[arg(long, short)]
    quiet: bool,
    /// Instead of listening, runs COMMAND in a network namespace of its own behind a TUN device: its own IP stack fragments
    /// and reassembles. Root only, Linux only, IPv4 only.
    #[arg(long, conflicts_with = "listen", requires = "command")]
    tun: bool,
    /// For `--tun`: the program and its arguments. `{server.host}`, `{server.port}` and `{server.uri}` are the server as it sees it.
    #[arg(last = true, value_name = "COMMAND", requires = "tun")]
    command: Vec<String>,
}

pub(crate) fn relay(args: &RelayArgs) -> Done {
    #[cfg(not(feature = "tun"))]
    if args.tun {
        return Err(Failure::Usage(
            "this program was built without `--tun`; build it with `--features tun`, or use `--listen`".to_owned(),
        ));
    }
    let listen = args.listen.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    let to = resolved(&args.to, listen)?;
    let network = inputs::network(Some(&args.network), &Library::embedded())?;
    let options = RelayOptions {
        listen,
        to,
        network: network.name,
        spec: network.spec,
        seed: args.seed,
        capture: args.capture.clone(),
        #[cfg(feature = "tun")]
        tun: args.tun.then(|| args.command.clone()),
    };
    let stop = interrupt::flag();
    let live = !args.quiet && std::io::stderr().is_terminal();
    let mut tell = |told: Told<'_>| {
        // a terminal that went away stops nothing
        let mut out = std::io::stderr().lock();
        let _ = match told {
            Told::Listening(_) if args.quiet => Ok(()),
            Told::Listening(address) => {
                let what = if args.tun {
                    "behind a TUN device, server shown as"
                } else {
                    "listening on"
                };
                writeln!(
                    out,
                    "{what} udp://{address}, to udp://{to}, network {}, seed {}",
                    options.network, options.seed
                )
            }
            Told::Counters(summary) if live => write!(out, "\r{}\x1b[K", summary.line()),
            Told::Counters(_) => Ok(()),
        };
    };
    let summary = run(&options, &stop, &mut tell).map_err(|error| Failure::Environment(error.to_string()))?;
    if live {
        eprintln!("\r{}\x1b[K", summary.line());
    }
    let json = serde_json::to_string_pretty(&summary).map_err(|error| Failure::Environment(error.to_string()))?;
    print(&format!("{json}\n"));
    Ok(match summary.program {
        // the program's own end is what a caller asks for
        Some(program) if program.code != Some(0) => exit_code::FAILED,
        _ => exit_code::PASSED,
    })
}

/// The address of a name, of the family of the listening side where the name has both.
fn resolved(name: &str, listen: SocketAddr) -> Result<SocketAddr, Failure> {
    let all: Vec<SocketAddr> = name.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    let same = all.iter().find(|address| address.is_ipv4() == listen.is_ipv4());
    same.or_else(|| all.first())
        .copied()
        .ok_or_else(|| Failure::Usage(format!("`{name}` is no HOST:PORT that can be resolved")))
}
