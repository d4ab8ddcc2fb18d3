//! The reference device as a process of its own, for the tests of the real driver: `reference_device ENDPOINT SERVER FOLDER LIFETIME [exit-on-reboot|die-on-reboot]`.

use std::process::ExitCode;
use std::time::Duration;

use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_runner::real::{device, interrupt, terminal};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, endpoint, server, folder, lifetime, rest @ ..] = arguments.as_slice() else {
        return ExitCode::from(2);
    };
    let (Ok(server), Ok(lifetime)) = (server.parse(), lifetime.parse()) else {
        return ExitCode::from(2);
    };
    let config = DeviceConfig {
        lifetime,
        boot_time: Duration::from_millis(2),
        install_time: Duration::from_millis(5),
        ..DeviceConfig::new(endpoint, server)
    };
    let options = device::DeviceOptions {
        folder: Some(folder.into()),
        sync: false,
        exit_on_reboot: rest.iter().any(|word| word.ends_with("-on-reboot")),
        ..device::DeviceOptions::new(config)
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let ended = runtime.block_on(async {
        let (handle, stop) = interrupt();
        terminal::stop_at_signals(handle).map_err(|error| error.to_string())?;
        device::run(options, stop, &mut |line| println!("{line}"))
            .await
            .map_err(|error| error.to_string())
    });
    match ended {
        Ok(device::DeviceEnd::Rebooted) if rest.iter().any(|word| word == "die-on-reboot") => ExitCode::from(9),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
