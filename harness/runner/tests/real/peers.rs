//! The reference device and the reference server alone, against each other over UDP.

use std::path::Path;
use std::time::Duration;

use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_lwm2m::package::{PackageKind, build};
use fotaproof_runner::real::device::{self, DeviceEnd, DeviceOptions};
use fotaproof_runner::real::server::{self, ServerEnd, ServerOptions};
use fotaproof_runner::real::{Interrupt, InterruptHandle, interrupt};
use tokio::sync::mpsc;

/// A server at a free port, what it says, and its end.
struct Served {
    port: u16,
    lines: mpsc::UnboundedReceiver<String>,
    commands: mpsc::Sender<String>,
    task: tokio::task::JoinHandle<ServerEnd>,
}

async fn serve(options: impl FnOnce(&mut ServerOptions)) -> Served {
    let mut all = ServerOptions::new(([127, 0, 0, 1], 0).into());
    options(&mut all);
    let (commands, receiver) = mpsc::channel(8);
    let (tell, mut lines) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut say = move |line: &str| {
            let _ = tell.send(line.to_owned());
        };
        server::run(all, receiver, Interrupt::never(), &mut say).await.unwrap()
    });
    let first = lines.recv().await.unwrap();
    let port = first.rsplit(':').next().unwrap().parse().unwrap();
    Served {
        port,
        lines,
        commands,
        task,
    }
}

fn device(
    port: u16,
    folder: &Path,
    change: impl FnOnce(&mut DeviceOptions),
) -> (InterruptHandle, tokio::task::JoinHandle<DeviceEnd>) {
    let config = DeviceConfig {
        boot_time: Duration::from_millis(1),
        install_time: Duration::from_millis(1),
        ..DeviceConfig::new("alone", ([127, 0, 0, 1], port).into())
    };
    let mut options = DeviceOptions {
        folder: Some(folder.to_path_buf()),
        ..DeviceOptions::new(config)
    };
    change(&mut options);
    let (handle, stop) = interrupt();
    (
        handle,
        tokio::spawn(async move { device::run(options, stop, &mut |_| {}).await.unwrap() }),
    )
}

fn package(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("v2.bin");
    std::fs::write(
        &path,
        build(PackageKind::Valid, "2.0.0", "fotaproof-device", 20_000, 1).unwrap(),
    )
    .unwrap();
    path
}

async fn until(lines: &mut mpsc::UnboundedReceiver<String>, word: &str) -> String {
    let mut seen = Vec::new();
    let wait = async {
        while let Some(line) = lines.recv().await {
            if line.contains(word) {
                return line;
            }
            seen.push(line);
        }
        panic!("the server is gone")
    };
    let found = tokio::time::timeout(Duration::from_secs(20), wait).await;
    found.unwrap_or_else(|_| panic!("no `{word}` in {seen:#?}"))
}

#[tokio::test]
async fn a_package_is_pushed_and_installed_and_the_device_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let image = package(folder.path());
    let served = serve(|options| {
        options.push = Some(image);
        options.execute = true;
        options.once = true;
    })
    .await;
    let (stop, task) = device(served.port, &folder.path().join("state"), |_| {});
    assert_eq!(served.task.await.unwrap(), ServerEnd::Done { success: true });
    stop.interrupt();
    assert_eq!(task.await.unwrap(), DeviceEnd::Stopped);
    let flash = std::fs::read_to_string(folder.path().join("state/flash.json")).unwrap();
    assert!(
        flash.contains("\"version\": \"2.0.0\"") && flash.contains("\"boots\": 2"),
        "{flash}"
    );
}

#[tokio::test]
async fn a_package_is_pulled_from_the_server_itself() {
    let folder = tempfile::tempdir().unwrap();
    let image = package(folder.path());
    let served = serve(|options| {
        options.pull = Some(image);
        options.execute = true;
        options.once = true;
        options.observe = true;
    })
    .await;
    let (_stop, task) = device(served.port, &folder.path().join("state"), |_| {});
    assert_eq!(served.task.await.unwrap(), ServerEnd::Done { success: true });
    task.abort();
}

#[tokio::test]
async fn a_bad_package_ends_once_without_success() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("bad.bin");
    std::fs::write(
        &image,
        build(PackageKind::Corrupt, "2.0.0", "fotaproof-device", 2_000, 1).unwrap(),
    )
    .unwrap();
    let served = serve(|options| {
        options.push = Some(image);
        options.once = true;
    })
    .await;
    let (_stop, task) = device(served.port, &folder.path().join("state"), |_| {});
    assert_eq!(served.task.await.unwrap(), ServerEnd::Done { success: false });
    task.abort();
}

#[tokio::test]
async fn commands_are_carried_out_as_typed() {
    let folder = tempfile::tempdir().unwrap();
    let mut served = serve(|options| options.observe = false).await;
    let (stop, task) = device(served.port, folder.path(), |_| {});
    assert!(
        until(&mut served.lines, "registered")
            .await
            .contains("alone from 127.0.0.1:")
    );
    let dialogue = [
        ("read /3/0/3", "read /3/0/3: 2.05 /3/0/3=\"1.0.0\""),
        ("state", "read /3/0/3: 2.05 /3/0/3=\"1.0.0\""),
        ("discover /5", "discover /5: 2.05 </5"),
        ("execute /5/0/2", "execute /5/0/2: 4.05"),
        ("write /5/0/0 x", "write /5/0/0: "),
        ("nonsense", "there is no command `nonsense`"),
        ("push /no/such/file", "/no/such/file: No such file"),
        ("list", "alone from"),
        ("use other", "talking to other"),
        ("read /3/0/3", "read /3/0/3: no device is registered"),
    ];
    for (command, answer) in dialogue {
        served.commands.send(command.to_owned()).await.unwrap();
        until(&mut served.lines, answer).await;
    }
    stop.interrupt();
    assert_eq!(task.await.unwrap(), DeviceEnd::Stopped);
    until(&mut served.lines, "de-registered alone").await;
    served.commands.send("quit".to_owned()).await.unwrap();
    assert_eq!(served.task.await.unwrap(), ServerEnd::Stopped);
}

#[tokio::test]
async fn a_device_can_end_at_its_reboot_and_go_on_in_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut served = serve(|options| options.observe = false).await;
    let (_stop, task) = device(served.port, folder.path(), |options| options.exit_on_reboot = true);
    let first = until(&mut served.lines, "registered").await;
    served.commands.send("execute /3/0/4".to_owned()).await.unwrap();
    assert_eq!(task.await.unwrap(), DeviceEnd::Rebooted);
    let (_stop, task) = device(served.port, folder.path(), |_| {});
    let second = until(&mut served.lines, "registered").await;
    assert_ne!(first, second, "it registers from another port");
    let flash = std::fs::read_to_string(folder.path().join("flash.json")).unwrap();
    assert!(flash.contains("\"boots\": 2"), "{flash}");
    task.abort();
}
