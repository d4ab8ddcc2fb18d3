//! `device` and `server`: the reference peers alone over UDP.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;
use fotaproof_cases::ast::Span;
use fotaproof_lwm2m::defects::Defect;
use fotaproof_lwm2m::definitions::Version;
use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_reports::model::exit_code;
use fotaproof_runner::real::device::{DeviceEnd, DeviceOptions};
use fotaproof_runner::real::server::{ServerEnd, ServerOptions};
use fotaproof_runner::real::{device as real_device, interrupt, server as real_server, terminal};
use fotaproof_wire::coap::Szx;

use crate::Done;
use crate::failure::Failure;

/// `device`.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// The server to register with.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5683")]
    server: String,
    /// Endpoint name.
    #[arg(long, default_value = "fotaproof-device")]
    endpoint: String,
    /// The folder in which its flash is kept over reboots and power cuts; in memory without one.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The UDP port of its first socket; a free one if absent. Each reboot takes another.
    #[arg(long)]
    port: Option<u16>,
    /// Registration lifetime in seconds.
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
    /// Version of object 5: 1.0, 1.1 or 1.2.
    #[arg(long, default_value = "1.2")]
    object: String,
    /// Version of LwM2M: 1.0, 1.1 or 1.2.
    #[arg(long, default_value = "1.2")]
    lwm2m: String,
    /// The firmware version that it runs when its flash is empty.
    #[arg(long, default_value = "1.0.0")]
    firmware: String,
    /// Plants a defect; can be given several times.
    #[arg(long, value_name = "NAME")]
    defect: Vec<String>,
    /// How long a boot takes.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    boot: Span,
    /// How long an installation takes.
    #[arg(long, value_name = "TIME", default_value = "4s")]
    install: Span,
    /// Delivery method, resource 9: 0 pull, 1 push, 2 both.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=2))]
    delivery: u8,
    /// Ends the process at a reboot instead of going on as the rebooted device.
    #[arg(long)]
    exit_on_reboot: bool,
    /// Stops when standard input ends.
    #[arg(long)]
    stop_at_eof: bool,
    /// Does not wait for the disk when its state changes.
    #[arg(long)]
    no_sync: bool,
    /// Prints nothing.
    #[arg(long, short)]
    quiet: bool,
}

/// `server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5683")]
    listen: SocketAddr,
    /// The endpoint name that it talks to; the first that registers if absent.
    #[arg(long)]
    endpoint: Option<String>,
    /// Writes this package to /5/0/0 once the device is registered.
    #[arg(long, value_name = "FILE", conflicts_with = "pull")]
    push: Option<PathBuf>,
    /// Serves this package and writes its URI to /5/0/1 once the device is registered.
    #[arg(long, value_name = "FILE")]
    pull: Option<PathBuf>,
    /// Block size of the push.
    #[arg(long, default_value_t = 512)]
    block: usize,
    /// Executes /5/0/2 once State is Downloaded.
    #[arg(long)]
    execute: bool,
    /// Ends once the package is installed or refused.
    #[arg(long)]
    once: bool,
    /// Does not observe State and Update Result.
    #[arg(long)]
    no_observe: bool,
}

fn version(text: &str) -> Result<Version, Failure> {
    match text {
        "1.0" => Ok(Version::V1_0),
        "1.1" => Ok(Version::V1_1),
        "1.2" => Ok(Version::V1_2),
        other => Err(Failure::Usage(format!("`{other}` is no version: 1.0, 1.1 or 1.2"))),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

pub(crate) fn device(args: &DeviceArgs) -> Done {
    let server = args
        .server
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next())
        .ok_or_else(|| Failure::Usage(format!("`{}` is no HOST:PORT that can be resolved", args.server)))?;
    let mut config = DeviceConfig {
        lifetime: args.lifetime,
        object5: version(&args.object)?,
        lwm2m: version(&args.lwm2m)?,
        version: args.firmware.clone(),
        boot_time: args.boot.0,
        install_time: args.install.0,
        delivery: args.delivery,
        server_name: args.server.clone(),
        ..DeviceConfig::new(args.endpoint.clone(), server)
    };
    config.seed = u64::from(std::process::id()) << 32 | u64::from(server.port());
    for name in &args.defect {
        let defect: Defect = name
            .parse()
            .map_err(|_| Failure::Usage(format!("there is no defect `{name}`")))?;
        config.defects.insert(defect);
    }
    let options = DeviceOptions {
        folder: args.state.clone(),
        sync: !args.no_sync,
        port: args.port,
        exit_on_reboot: args.exit_on_reboot,
        ..DeviceOptions::new(config)
    };
    let quiet = args.quiet;
    let end = runtime()?.block_on(async {
        let (handle, stop) = interrupt();
        terminal::stop_at_signals(handle.clone())?;
        if args.stop_at_eof {
            // its lines mean nothing, its end does
            drop(terminal::stdin_lines(Some(handle)));
        }
        let mut log = |line: &str| {
            if !quiet {
                crate::print(&format!("{line}\n"));
            }
        };
        real_device::run(options, stop, &mut log)
            .await
            .map_err(|error| Failure::Environment(error.to_string()))
    })?;
    Ok(match end {
        DeviceEnd::Stopped | DeviceEnd::Rebooted => exit_code::PASSED,
    })
}

pub(crate) fn server(args: &ServerArgs) -> Done {
    let block = Szx::from_size(args.block).ok_or_else(|| {
        Failure::Usage(format!(
            "{} is no block size: 16, 32, 64, 128, 256, 512 or 1024",
            args.block
        ))
    })?;
    let options = ServerOptions {
        endpoint: args.endpoint.clone(),
        push: args.push.clone(),
        pull: args.pull.clone(),
        block,
        execute: args.execute,
        observe: !args.no_observe,
        once: args.once,
        ..ServerOptions::new(args.listen)
    };
    let end = runtime()?.block_on(async {
        let (handle, stop) = interrupt();
        terminal::stop_at_signals(handle)?;
        let commands = terminal::stdin_lines(None);
        let mut tell = |line: &str| crate::print(&format!("{line}\n"));
        real_server::run(options, commands, stop, &mut tell)
            .await
            .map_err(|error| Failure::Environment(error.to_string()))
    })?;
    Ok(match end {
        ServerEnd::Stopped | ServerEnd::Done { success: true } => exit_code::PASSED,
        ServerEnd::Done { success: false } => exit_code::FAILED,
    })
}
