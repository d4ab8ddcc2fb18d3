//! The operations that an adapter claims, done to our device; those that it does not claim, refused.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use fotaproof_adapter::{
    Answer, Conditions, ErrorKind, Event, Method, Operation, Package, Response, UpdateStatus, Value,
};

use super::super::{Adapter, AdapterError};
use super::device::{TestDevice, package};
use super::protocol::NOBODY;
use super::server::FIRST;
use super::{Probe, Watch, refused};
use crate::real::keeper::KeptFolder;
use crate::session::sha256_hex as digest_of;

/// What an update may take beyond an answer: hundreds of blocks and an installation.
const UPDATE: Duration = Duration::from_secs(60);
/// The state of the firmware update object.
const STATE: &str = "/5/0/3";

/// A run through the operations of a server.
struct Run<'a> {
    probe: &'a mut Probe,
    adapter: &'a Adapter,
    watch: &'a mut Watch,
    device: &'a mut TestDevice,
    folder: PathBuf,
}

pub(super) async fn of_a_server(probe: &mut Probe, adapter: &Adapter, watch: &mut Watch, device: &mut TestDevice) {
    let Ok(folder) = KeptFolder::new() else { return };
    let mut run = Run {
        folder: folder.path().to_path_buf(),
        probe,
        adapter,
        watch,
        device,
    };
    run.not_registered().await;
    run.reading().await;
    run.writing().await;
    run.update_by_hand().await;
    run.serve_file().await;
    run.campaign().await;
    run.unclaimed().await;
}

fn instance() -> String {
    FIRST.to_owned()
}

impl Run<'_> {
    /// Whether an operation is claimed; a line of the table says so if it is not.
    fn claimed(&mut self, operation: &str, name: &'static str, expected: &'static str) -> bool {
        let can = self.adapter.can(operation);
        if !can {
            self.probe
                .skip(name, expected, &format!("`{operation}` is not claimed"));
        }
        can
    }

    fn tell(&mut self, name: &'static str, expected: &'static str, seen: Result<String, String>) {
        self.probe.tell(name, expected, seen);
        self.probe.look(self.adapter);
    }

    async fn ask(&mut self, operation: Operation) -> Result<Answer, AdapterError> {
        self.probe.ask(self.adapter, operation).await
    }

    async fn ask_long(&mut self, operation: Operation) -> Result<Answer, AdapterError> {
        let within = self.probe.within + UPDATE;
        self.probe.ask_within(self.adapter, operation, within).await
    }

    fn endpoint(&self) -> String {
        self.device.endpoint.clone()
    }

    fn read(&self, path: &str) -> Operation {
        Operation::Read {
            instance: instance(),
            endpoint: self.endpoint(),
            path: path.to_owned(),
        }
    }

    fn write(&self, path: &str, value: Value) -> Operation {
        Operation::Write {
            instance: instance(),
            endpoint: self.endpoint(),
            path: path.to_owned(),
            value,
        }
    }

    /// A package in a file.
    fn file(&self, version: &str) -> Result<(String, Vec<u8>), String> {
        let bytes = package(version)?;
        let path = self.folder.join(format!("package-{version}.bin"));
        std::fs::write(&path, &bytes).map_err(|error| error.to_string())?;
        Ok((path.display().to_string(), bytes))
    }

    async fn not_registered(&mut self) {
        const EXPECTED: &str = "an operation on a device that is not registered is refused with `not-registered`";
        if !self.claimed("read", "not-registered", EXPECTED) {
            return;
        }
        let answer = self
            .ask(Operation::Read {
                instance: instance(),
                endpoint: "check-nobody".to_owned(),
                path: STATE.to_owned(),
            })
            .await;
        self.tell("not-registered", EXPECTED, refused(answer, &[ErrorKind::NotRegistered]));
    }

    async fn reading(&mut self) {
        const READ: &str = "`read` of /3/0/3 gives 2.05 and the text that the device has there";
        const ERROR: &str = "an error of the device is no error of the adapter: `read` of /5/0/99 gives its 4.04";
        const DISCOVER: &str = "`discover` of /5 gives 2.05 and the links in `text`";
        if self.claimed("read", "read", READ) {
            let seen = self.version_is("1.0.0").await;
            self.tell("read", READ, seen);
            let answer = self.ask(self.read("/5/0/99")).await;
            self.tell(
                "device-error",
                ERROR,
                response_of(answer).and_then(|response| code_is(&response, &["4.04"])),
            );
        }
        if self.claimed("discover", "discover", DISCOVER) {
            let answer = self
                .ask(Operation::Discover {
                    instance: instance(),
                    endpoint: self.endpoint(),
                    path: "/5".to_owned(),
                })
                .await;
            let seen = response_of(answer).and_then(|response| {
                let text = response.text.clone().unwrap_or_default();
                let links = text.contains("</5/0/3>") || text.contains("</5/0/3>;");
                if links {
                    code_is(&response, &["2.05"])
                } else {
                    Err(format!("{}, {text:?}", response.code))
                }
            });
            self.tell("discover", DISCOVER, seen);
        }
    }

    async fn version_is(&mut self, version: &str) -> Result<String, String> {
        let answer = self.ask(self.read("/3/0/3")).await;
        let response = response_of(answer)?;
        let seen = format!("{}, {}", response.code, told(response.value.as_ref()));
        if response.code == "2.05" && response.value == Some(Value::String(version.to_owned())) {
            Ok(seen)
        } else {
            Err(seen)
        }
    }

    async fn writing(&mut self) {
        const WRITE: &str =
            "`write` of a text to /5/0/1, an empty one if it can, reaches the device and gives its 2.04";
        const ATTRIBUTES: &str = "`write-attributes` of pmin and pmax to /5/0/3 gives the device's 2.04";
        if self.claimed("write", "write", WRITE) {
            let before = self.device.truth().requests;
            let mut answer = self.ask(self.write("/5/0/1", Value::String(String::new()))).await;
            if let Err(AdapterError::Refused { error, .. }) = &answer
                && error.kind == ErrorKind::Unsupported
            {
                // port 9 is nobody's: the pull ends at once, or with the case
                let nowhere = Value::String("coap://127.0.0.1:9/none".to_owned());
                answer = self.ask(self.write("/5/0/1", nowhere)).await;
            }
            let came = self.device.truth().requests > before;
            let seen = response_of(answer).and_then(|response| code_is(&response, &["2.04"]));
            let seen = if came {
                seen
            } else {
                Err("no request came to the device".to_owned())
            };
            self.tell("write", WRITE, seen);
        }
        if self.claimed("write-attributes", "write-attributes", ATTRIBUTES) {
            let answer = self
                .ask(Operation::WriteAttributes {
                    instance: instance(),
                    endpoint: self.endpoint(),
                    path: STATE.to_owned(),
                    attributes: BTreeMap::from([("pmin".to_owned(), 0.0), ("pmax".to_owned(), 300.0)]),
                })
                .await;
            let seen = response_of(answer).and_then(|response| code_is(&response, &["2.04"]));
            self.tell("write-attributes", ATTRIBUTES, seen);
        }
    }

    /// Observe, push, execute: an update as the harness drives it.
    async fn update_by_hand(&mut self) {
        const OBSERVE: &str = "`observe` of /5/0/3 gives 2.05 with the value, and a name for the observation";
        const NOTIFIED: &str =
            "the event `notification` with instance, endpoint, observation and value when the state changes";
        const CANCEL: &str = "`cancel` ends an observation; a second time it is refused with `unknown`";
        let observed = if self.claimed("observe", "observe", OBSERVE) {
            let answer = self
                .ask(Operation::Observe {
                    instance: instance(),
                    endpoint: self.endpoint(),
                    path: STATE.to_owned(),
                })
                .await;
            let seen = observation_of(answer);
            self.tell("observe", OBSERVE, seen.clone());
            seen.ok()
        } else {
            None
        };
        self.watch.forget();
        let pushed = self.push().await;
        if let Some(name) = observed {
            if pushed {
                let endpoint = self.endpoint();
                let within = self.probe.within;
                let event = self
                    .watch
                    .event(within, |event| notification(event, &endpoint, &name))
                    .await;
                let seen = event.map_or_else(
                    || Err("no notification of state 2 with this observation in time".to_owned()),
                    |value| Ok(format!("{STATE} = {value}")),
                );
                self.tell("notification", NOTIFIED, seen);
            } else {
                self.probe.not_tested("notification", NOTIFIED);
            }
            if self.claimed("cancel", "cancel", CANCEL) {
                let cancel = || Operation::Cancel {
                    instance: instance(),
                    observation: name.clone(),
                };
                let first = self.ask(cancel()).await;
                let seen = match first {
                    Ok(_) => refused(self.ask(cancel()).await, &[ErrorKind::Unknown]),
                    Err(error) => Err(error.to_string()),
                };
                self.tell("cancel", CANCEL, seen);
            }
        }
        self.execute(pushed).await;
    }

    async fn push(&mut self) -> bool {
        const EXPECTED: &str =
            "`write-blocks` brings a file of 20000 bytes to /5/0/0 with the right digest and gives 2.04";
        if !self.claimed("write-blocks", "write-blocks", EXPECTED) {
            return false;
        }
        let (file, bytes) = match self.file("2.0.0") {
            Ok(made) => made,
            Err(error) => {
                self.tell("write-blocks", EXPECTED, Err(error));
                return false;
            }
        };
        let answer = self
            .ask_long(Operation::WriteBlocks {
                instance: instance(),
                endpoint: self.endpoint(),
                path: "/5/0/0".to_owned(),
                file,
                block: Some(512),
            })
            .await;
        let seen = match response_of(answer).and_then(|response| code_is(&response, &["2.04"])) {
            Ok(code) => self.received(&bytes).await.map(|digest| format!("{code}, {digest}")),
            Err(seen) => Err(seen),
        };
        let ok = seen.is_ok();
        self.tell("write-blocks", EXPECTED, seen);
        ok
    }

    /// Whether the device has exactly these bytes.
    async fn received(&mut self, bytes: &[u8]) -> Result<String, String> {
        let digest = digest_of(bytes);
        let within = self.probe.within + UPDATE;
        let right = |truth: &fotaproof_lwm2m::device::DeviceTruth| {
            truth
                .received
                .as_ref()
                .is_some_and(|received| received.sha256 == digest)
        };
        match self.device.until(within, right).await {
            Ok(_) => Ok(format!("{} bytes as sent", bytes.len())),
            Err(truth) => Err(match truth.received {
                Some(received) => format!("{} other bytes came", received.length),
                None => format!("the device has no package, {} bytes of one", truth.stored),
            }),
        }
    }

    async fn execute(&mut self, pushed: bool) {
        const EXECUTE: &str = "`execute` of /5/0/2 gives 2.04, and the device is told once";
        const AGAIN: &str =
            "the device registers again after its reboot: an event, and `read` of /3/0/3 gives the new version";
        if !self.claimed("execute", "execute", EXECUTE) {
            return;
        }
        if !pushed {
            return self.probe.not_tested("execute", EXECUTE);
        }
        self.watch.forget();
        let answer = self
            .ask(Operation::Execute {
                instance: instance(),
                endpoint: self.endpoint(),
                path: "/5/0/2".to_owned(),
                arguments: None,
            })
            .await;
        let executes = self.device.truth().executes;
        let seen = response_of(answer).and_then(|response| code_is(&response, &["2.04"]));
        let seen = if executes == 1 {
            seen
        } else {
            Err(format!("{executes} Executes came"))
        };
        let ok = seen.is_ok();
        self.tell("execute", EXECUTE, seen);
        if !ok {
            return;
        }
        let endpoint = self.endpoint();
        let within = self.probe.within + Duration::from_secs(5);
        let event = self
            .watch
            .event(within, |event| {
                matches!(event, Event::Registered { endpoint: of, .. } if *of == endpoint).then_some(())
            })
            .await;
        let seen = match event {
            None => Err("no event `registered` after the reboot".to_owned()),
            Some(()) if self.adapter.can("read") => self.version_is("2.0.0").await,
            Some(()) => Ok("registered again".to_owned()),
        };
        self.tell("registered-again", AGAIN, seen);
    }

    async fn serve_file(&mut self) {
        const EXPECTED: &str = "`serve-file` gives a URI at which the device finds the file";
        if !self.claimed("serve-file", "serve-file", EXPECTED) {
            return;
        }
        let seen = self.served().await;
        self.tell("serve-file", EXPECTED, seen);
    }

    async fn served(&mut self) -> Result<String, String> {
        let (file, bytes) = self.file("3.0.0")?;
        let answer = self
            .ask(Operation::ServeFile {
                instance: instance(),
                file,
                path: "/check/package.bin".to_owned(),
            })
            .await
            .map_err(|error| error.to_string())?;
        let uri = answer.uri.ok_or("a reply without `uri`")?;
        if !uri.contains("://") {
            return Err(format!("{uri:?}, which is no URI"));
        }
        if !self.adapter.can("write") || !uri.starts_with("coap://") {
            return Ok(format!("{uri}, which was not tried"));
        }
        // whatever was there before
        let reset = self.ask(self.write("/5/0/1", Value::String(String::new()))).await;
        response_of(reset).and_then(|response| code_is(&response, &["2.04"]))?;
        let pull = self.ask(self.write("/5/0/1", Value::String(uri.clone()))).await;
        response_of(pull).and_then(|response| code_is(&response, &["2.04"]))?;
        let seen = self.received(&bytes).await.map(|bytes| format!("{uri}: {bytes}"));
        let reset = self.ask(self.write("/5/0/1", Value::String(String::new()))).await;
        response_of(reset).and_then(|response| code_is(&response, &["2.04"]))?;
        seen
    }

    async fn campaign(&mut self) {
        const UPDATE_ENDS: &str =
            "`update-start` is replied to at once; `update-status` events tell the way to `succeeded`, and it is true";
        const PROGRESS: &str =
            "`update-progress` gives where the update is; of one that is not there it is refused with `unknown`";
        if self.claimed("update-start", "update-start", UPDATE_ENDS) {
            let seen = self.update().await;
            self.tell("update-start", UPDATE_ENDS, seen);
        }
        if self.claimed("update-progress", "update-progress", PROGRESS) {
            let progress = |update: &str| Operation::UpdateProgress {
                instance: instance(),
                update: update.to_owned(),
            };
            let known = self.ask(progress("check-update")).await;
            let seen = match known {
                Ok(Answer {
                    progress: Some(progress),
                    ..
                }) => refused(
                    self.ask(Operation::UpdateProgress {
                        instance: instance(),
                        update: NOBODY.to_owned(),
                    })
                    .await,
                    &[ErrorKind::Unknown],
                )
                .map(|_| format!("{:?}", progress.status).to_lowercase()),
                Ok(_) => Err("a reply without `progress`".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            self.tell("update-progress", PROGRESS, seen);
        }
    }

    async fn update(&mut self) -> Result<String, String> {
        let (file, _) = self.file("4.0.0")?;
        self.watch.forget();
        self.ask(Operation::UpdateStart {
            instance: instance(),
            update: "check-update".to_owned(),
            endpoint: self.endpoint(),
            package: Package {
                file,
                version: "4.0.0".to_owned(),
                uris: BTreeMap::new(),
            },
            method: Method::Auto,
            conditions: Conditions::default(),
        })
        .await
        .map_err(|error| error.to_string())?;
        let mut way: Vec<String> = Vec::new();
        let within = self.probe.within + UPDATE;
        let end = self
            .watch
            .event(within, |event| {
                let Event::UpdateStatus { update, progress, .. } = event else {
                    return None;
                };
                if update != "check-update" {
                    return None;
                }
                let word = format!("{:?}", progress.status).to_lowercase();
                if way.last() != Some(&word) {
                    way.push(word);
                }
                progress.status.is_final().then(|| progress.clone())
            })
            .await;
        let way = way.join(", ");
        let version = self.device.truth().version;
        match end {
            None => Err(format!("no end in time; {way}")),
            Some(progress) if progress.status != UpdateStatus::Succeeded => {
                Err(format!("{way}: {}", progress.reason.unwrap_or_default()))
            }
            Some(_) if version != "4.0.0" => Err(format!("{way}, but the device runs {version}")),
            Some(_) => Ok(way),
        }
    }

    /// What it does not claim, it refuses.
    async fn unclaimed(&mut self) {
        const EXPECTED: &str = "operations that are not claimed are refused with `unknown-operation` or `unsupported`";
        let all = self.all();
        let mut tried = Vec::new();
        for operation in all {
            let name = operation.name();
            if self.adapter.can(name) || self.probe.gone {
                continue;
            }
            let answer = self.ask(operation).await;
            let kinds = [ErrorKind::UnknownOperation, ErrorKind::Unsupported];
            if let Err(seen) = refused(answer, &kinds) {
                return self.tell("unclaimed", EXPECTED, Err(format!("`{name}`: {seen}")));
            }
            tried.push(name);
        }
        let seen = if tried.is_empty() {
            "everything is claimed".to_owned()
        } else {
            tried.join(", ")
        };
        self.tell("unclaimed", EXPECTED, Ok(seen));
    }

    /// One of each operation that can be left unclaimed, as harmless as it can be.
    fn all(&self) -> Vec<Operation> {
        let (endpoint, update) = (|| self.endpoint(), || "check-none".to_owned());
        let path = || STATE.to_owned();
        let file = || self.folder.join("none.bin").display().to_string();
        vec![
            self.read(STATE),
            self.write("/5/0/1", Value::String(String::new())),
            Operation::WriteBlocks {
                instance: instance(),
                endpoint: endpoint(),
                path: "/5/0/0".to_owned(),
                file: file(),
                block: None,
            },
            Operation::Observe {
                instance: instance(),
                endpoint: endpoint(),
                path: path(),
            },
            Operation::Cancel {
                instance: instance(),
                observation: update(),
            },
            Operation::Discover {
                instance: instance(),
                endpoint: endpoint(),
                path: "/5".to_owned(),
            },
            Operation::WriteAttributes {
                instance: instance(),
                endpoint: endpoint(),
                path: path(),
                attributes: BTreeMap::new(),
            },
            Operation::ServeFile {
                instance: instance(),
                file: file(),
                path: "/check/none.bin".to_owned(),
            },
            Operation::UpdatePause {
                instance: instance(),
                update: update(),
            },
            Operation::UpdateResume {
                instance: instance(),
                update: update(),
            },
            Operation::UpdateCancel {
                instance: instance(),
                update: update(),
            },
            Operation::UpdateProgress {
                instance: instance(),
                update: update(),
            },
            Operation::ImageDigest { instance: instance() },
        ]
    }
}

fn response_of(answer: Result<Answer, AdapterError>) -> Result<Response, String> {
    let answer = answer.map_err(|error| error.to_string())?;
    answer.response.ok_or_else(|| "a reply without `response`".to_owned())
}

fn code_is(response: &Response, codes: &[&str]) -> Result<String, String> {
    if codes.contains(&response.code.as_str()) {
        Ok(response.code.clone())
    } else {
        let text = response.text.as_deref().unwrap_or_default();
        Err(format!("{} {text}", response.code).trim_end().to_owned())
    }
}

fn observation_of(answer: Result<Answer, AdapterError>) -> Result<String, String> {
    let answer = answer.map_err(|error| error.to_string())?;
    let name = answer.observation.clone().ok_or("a reply without `observation`")?;
    let response = response_of(Ok(answer))?;
    match (response.code.as_str(), &response.value) {
        ("2.05", Some(Value::Integer(_))) => Ok(name),
        (code, value) => Err(format!("{code}, {}", told(value.as_ref()))),
    }
}

/// The value of a notification that the package is there.
fn notification(event: &Event, endpoint: &str, name: &str) -> Option<i64> {
    match event {
        Event::Notification {
            endpoint: of,
            observation,
            path,
            response: Response {
                value: Some(Value::Integer(value)),
                ..
            },
            ..
        } if of == endpoint && observation == name && path == STATE && *value == 2 => Some(*value),
        _ => None,
    }
}

fn told(value: Option<&Value>) -> String {
    match value {
        None => "no value".to_owned(),
        Some(Value::String(text) | Value::Opaque(text)) => format!("{text:?}"),
        Some(Value::Integer(number)) => number.to_string(),
        Some(Value::Float(number)) => number.to_string(),
        Some(Value::Boolean(truth)) => truth.to_string(),
    }
}
