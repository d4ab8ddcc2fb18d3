//! What holds of a hand: an adapter for devices, tried on one device that nothing depends on.

use core::time::Duration;

use fotaproof_adapter::{Answer, DeviceAction, ErrorKind, Event, Operation};

use super::super::{Adapter, AdapterError};
use super::protocol::{NOBODY, answered, raw};
use super::{Probe, Watch, refused};

/// What an action may take beyond an answer: a board boots.
const ACTION: Duration = Duration::from_secs(60);
/// How long is listened for a device that is said to have ended by itself.
const QUIET: Duration = Duration::from_millis(300);

/// The actions, in an order that leaves the device switched on.
const ACTIONS: [(&str, DeviceAction, Option<&str>); 6] = [
    ("stop", DeviceAction::Stop, None),
    ("start", DeviceAction::Start, None),
    ("press", DeviceAction::Press, Some("user")),
    ("power-cut", DeviceAction::PowerCut, None),
    ("wipe", DeviceAction::Wipe, None),
    ("start-again", DeviceAction::Start, None),
];

pub(super) async fn check(probe: &mut Probe, adapter: &Adapter, device: &str) {
    let mut watch = Watch::new(adapter, device);
    if adapter.can("device") {
        actions(probe, adapter, device).await;
        on_its_own(probe, &mut watch).await;
        unknown_action(probe, adapter, device).await;
        let device = Operation::Device {
            instance: NOBODY.to_owned(),
            action: DeviceAction::Press,
            argument: Some("user".to_owned()),
        };
        unknown_device(probe, adapter, device).await;
    } else {
        const EXPECTED: &str = "each action on a device is carried out, or refused with `unsupported`";
        for (name, ..) in ACTIONS {
            probe.skip(name, EXPECTED, "`device` is not claimed");
        }
        let digest = Operation::ImageDigest {
            instance: NOBODY.to_owned(),
        };
        unknown_device(probe, adapter, digest).await;
    }
    image_digest(probe, adapter, device).await;
    unclaimed(probe, adapter, device).await;
}

fn act(device: &str, action: DeviceAction, argument: Option<&str>) -> Operation {
    Operation::Device {
        instance: device.to_owned(),
        action,
        argument: argument.map(str::to_owned),
    }
}

async fn actions(probe: &mut Probe, adapter: &Adapter, device: &str) {
    const EXPECTED: &str = "each action on a device is carried out, or refused with `unsupported`";
    for (name, action, argument) in ACTIONS {
        let within = probe.within + ACTION;
        let answer = probe.ask_within(adapter, act(device, action, argument), within).await;
        let seen = match answer {
            Ok(_) => Ok("done".to_owned()),
            Err(AdapterError::Refused { error, .. }) if error.kind == ErrorKind::Unsupported => {
                probe.skip(name, EXPECTED, "it says `unsupported`");
                continue;
            }
            Err(other) => Err(other.to_string()),
        };
        probe.tell(name, EXPECTED, seen);
        probe.look(adapter);
    }
}

/// What was asked for is not told as something that happened.
async fn on_its_own(probe: &mut Probe, watch: &mut Watch) {
    const EXPECTED: &str = "`device-ended` is said of a device that ended on its own, not of one that was told to";
    let ended = watch.event(QUIET, |event| match event {
        Event::DeviceEnded { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let seen = match ended.await {
        None => Ok("no `device-ended`".to_owned()),
        Some(reason) => Err(format!("`device-ended`, {reason:?}")),
    };
    probe.tell("device-ended", EXPECTED, seen);
}

async fn unknown_action(probe: &mut Probe, adapter: &Adapter, device: &str) {
    let line = serde_json::json!({"op": "device", "instance": device, "action": "juggle"}).to_string();
    let line = line.replacen('{', r#"{"id":{id},"#, 1);
    let reply = raw(probe, adapter, &line).await;
    probe.tell(
        "unknown-action",
        "an action that it does not know is refused with `bad-request` or `unsupported`",
        answered(reply, &[ErrorKind::BadRequest, ErrorKind::Unsupported]),
    );
    probe.look(adapter);
}

async fn unknown_device(probe: &mut Probe, adapter: &Adapter, operation: Operation) {
    let answer = probe.ask(adapter, operation).await;
    probe.tell(
        "unknown-device",
        "an operation on a device that it has not is refused with `unknown`",
        refused(answer, &[ErrorKind::Unknown]),
    );
    probe.look(adapter);
}

async fn image_digest(probe: &mut Probe, adapter: &Adapter, device: &str) {
    const DIGEST: &str = "`image-digest` gives a SHA-256 in hexadecimal, or an empty text where there is no image";
    if !adapter.can("image-digest") {
        return probe.skip("image-digest", DIGEST, "`image-digest` is not claimed");
    }
    let operation = Operation::ImageDigest {
        instance: device.to_owned(),
    };
    let within = probe.within + ACTION;
    let seen = match probe.ask_within(adapter, operation, within).await {
        Ok(Answer { sha256: Some(text), .. }) => {
            let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if hex || text.is_empty() {
                Ok(format!("{text:?}"))
            } else {
                Err(format!("{text:?}"))
            }
        }
        Ok(_) => Err("a reply without `sha256`".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    probe.tell("image-digest", DIGEST, seen);
    probe.look(adapter);
}

/// A hand is no server, and says so.
async fn unclaimed(probe: &mut Probe, adapter: &Adapter, device: &str) {
    const EXPECTED: &str = "operations that are not claimed are refused with `unknown-operation` or `unsupported`";
    let instance = || device.to_owned();
    let all = [
        act(device, DeviceAction::Press, None),
        Operation::ImageDigest { instance: instance() },
        Operation::Stop { instance: instance() },
        Operation::Read {
            instance: instance(),
            endpoint: instance(),
            path: "/5/0/3".to_owned(),
        },
        Operation::UpdateProgress {
            instance: instance(),
            update: "check-none".to_owned(),
        },
    ];
    let mut tried = Vec::new();
    for operation in all {
        let name = operation.name();
        if adapter.can(name) || probe.gone {
            continue;
        }
        let kinds = [ErrorKind::UnknownOperation, ErrorKind::Unsupported];
        if let Err(seen) = refused(probe.ask(adapter, operation).await, &kinds) {
            return probe.tell("unclaimed", EXPECTED, Err(format!("`{name}`: {seen}")));
        }
        tried.push(name);
    }
    probe.tell("unclaimed", EXPECTED, Ok(tried.join(", ")));
    probe.look(adapter);
}
