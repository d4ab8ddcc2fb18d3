//! The adapter protocol, in process.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use fotaproof_adapter::{self as adapter, ErrorKind, Operation};
use fotaproof_wire::coap::Szx;
use fotaproof_wire::path::LwPath;

use super::device::{Update, Work};
use super::events::describe;
use super::host::{Awaited, UpdateServer};
use crate::campaign::{Campaign, CampaignSpec, Happening, value_from_adapter};
use crate::package;
use crate::registration::Registration;
use crate::repository::File;
use crate::server::{Cancel, OpId};
use crate::server_defects::ServerDefect;

/// The operations, by name.
const CAPABILITIES: [&str; 17] = [
    "start",
    "stop",
    "quit",
    "await-registered",
    "read",
    "write",
    "write-blocks",
    "execute",
    "observe",
    "cancel",
    "discover",
    "write-attributes",
    "serve-file",
    "update-start",
    "update-pause",
    "update-resume",
    "update-cancel",
];

/// The first message.
pub(super) fn hello() -> adapter::Hello {
    let capabilities = CAPABILITIES.into_iter().chain(["update-progress"]);
    adapter::Hello {
        protocol: adapter::PROTOCOL.to_owned(),
        name: "fotaproof update server".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: "server".to_owned(),
        capabilities: capabilities.map(str::to_owned).collect(),
        instances: Some(1),
    }
}

type Files<'a> = &'a mut dyn FnMut(&str) -> Option<Bytes>;

/// Why a request is refused.
type Refusal = (ErrorKind, String);

impl UpdateServer {
    /// Takes a request of the adapter protocol. `files` gives the bytes of a file by its name.
    pub fn request(&mut self, now: Duration, request: adapter::Request, files: Files<'_>) {
        let id = request.id;
        let instance = instance_of(&request.operation);
        if let Some(instance) = instance
            && !matches!(request.operation, Operation::Start { .. })
            && self.instance.as_deref() != Some(instance)
        {
            return self.refuse(id, ErrorKind::Unknown, format!("there is no instance {instance:?}"));
        }
        match request.operation {
            Operation::Start {
                instance,
                listen,
                security,
                ..
            } => {
                if self.instance.is_some() {
                    return self.refuse(id, ErrorKind::Failed, "there is one instance only".to_owned());
                }
                let credentials = security.map(|security| security.credentials()).unwrap_or_default();
                if let (Some(secure), Some(_)) = (self.config.secure, listen.secure_port)
                    && !credentials.is_empty()
                    && self.secure(secure, &credentials).is_none()
                {
                    return self.refuse(id, ErrorKind::BadRequest, "a key is not hexadecimal".to_owned());
                }
                self.instance = Some(instance);
                let addresses = adapter::Addresses {
                    coap: self.config.address.to_string(),
                    coaps: self.secure.as_ref().map(|secure| secure.address.to_string()),
                };
                let answer = adapter::Answer {
                    addresses: Some(addresses),
                    ..adapter::Answer::default()
                };
                self.answer(id, answer);
            }
            Operation::Stop { .. } | Operation::Quit => {
                self.stop();
                self.answer(id, adapter::Answer::default());
            }
            Operation::AwaitRegistered {
                endpoint, timeout_ms, ..
            } => match self.server.registrations().get(&endpoint).cloned() {
                Some(registration) => self.reply_registration(id, &registration),
                None => self.awaited.push(Awaited {
                    id,
                    endpoint,
                    until: now + Duration::from_millis(timeout_ms),
                }),
            },
            Operation::Cancel { observation, .. } => self.cancel_observation(now, id, &observation),
            Operation::ServeFile { file, path, .. } => match files(&file) {
                Some(body) => {
                    let uri = self.serve(&path, body);
                    let answer = adapter::Answer {
                        uri: Some(uri),
                        ..adapter::Answer::default()
                    };
                    self.answer(id, answer);
                }
                None => self.refuse(id, ErrorKind::BadRequest, format!("{file} cannot be read")),
            },
            operation @ Operation::UpdateStart { .. } => match self.start_update(now, operation, files) {
                Ok(endpoint) => {
                    self.answer(id, adapter::Answer::default());
                    self.after_campaign(now, &endpoint);
                }
                Err((kind, message)) => self.refuse(id, kind, message),
            },
            Operation::UpdatePause { update, .. } => {
                self.control(now, id, &update, Campaign::pause);
                if self.has(ServerDefect::PauseHoldsAll) {
                    self.pause_all(now);
                }
            }
            Operation::UpdateResume { update, .. } => self.control(now, id, &update, Campaign::resume),
            Operation::UpdateCancel { update, .. } => self.control(now, id, &update, Campaign::cancel),
            Operation::UpdateProgress { update, .. } => match self.progress_of(&update) {
                Some(progress) => {
                    let answer = adapter::Answer {
                        progress: Some(progress),
                        ..adapter::Answer::default()
                    };
                    self.answer(id, answer);
                }
                None => self.refuse(id, ErrorKind::Unknown, format!("there is no update {update:?}")),
            },
            Operation::Device { .. } | Operation::ImageDigest { .. } => {
                let message = "this is a server".to_owned();
                self.refuse(id, ErrorKind::Unsupported, message);
            }
            Operation::NoSuchOperation {} => {
                let message = "there is no such operation".to_owned();
                self.refuse(id, ErrorKind::UnknownOperation, message);
            }
            operation => self.library_request(now, adapter::Request { id, operation }, files),
        }
        self.pump(now);
    }

    pub(super) fn answer(&mut self, id: u64, answer: adapter::Answer) {
        self.messages.push_back(adapter::Message::Reply(adapter::Reply {
            id,
            ok: Some(answer),
            error: None,
        }));
    }

    pub(super) fn refuse(&mut self, id: u64, kind: ErrorKind, message: String) {
        self.messages.push_back(adapter::Message::Reply(adapter::Reply {
            id,
            ok: None,
            error: Some(adapter::ReplyError { kind, message }),
        }));
    }

    pub(super) fn reply_registration(&mut self, id: u64, registration: &Registration) {
        let answer = adapter::Answer {
            registration: Some(describe(registration)),
            ..adapter::Answer::default()
        };
        self.answer(id, answer);
    }

    /// Everything is forgotten. The next life has other tokens, locations and message IDs (RFC 7252, 4.4).
    pub(super) fn stop(&mut self) {
        let messages = core::mem::take(&mut self.messages);
        let mut config = self.config.clone();
        config.seed = config.seed.rotate_left(7) ^ 0x6c69_6665;
        *self = Self {
            messages,
            ..Self::new(config)
        };
    }

    /// Puts a file into the own repository; its URI.
    fn serve(&mut self, path: &str, body: Bytes) -> String {
        let path = format!("/{}", path.trim_start_matches('/'));
        let etag = if self.has(ServerDefect::RepoEtagStays) {
            package::digest(path.as_bytes())[..8].to_vec()
        } else {
            package::digest(&body)[..8].to_vec()
        };
        if let Some(files) = self.server.files_mut() {
            files.set_file(
                &path,
                File {
                    etag: Some(etag),
                    ..File::new(body)
                },
            );
        }
        format!("coap://{}{path}", self.config.address)
    }

    fn cancel_observation(&mut self, now: Duration, id: u64, name: &str) {
        let op = self
            .watchers
            .iter()
            .find(|(_, watcher)| watcher.name.as_deref() == Some(name))
            .map(|(op, watcher)| (*op, watcher.endpoint.clone()));
        let Some((op, endpoint)) = op else {
            return self.refuse(id, ErrorKind::Unknown, format!("there is no observation {name:?}"));
        };
        self.aim(&endpoint);
        match self.server.cancel_observation(now, op, Cancel::Get) {
            Some(cancel) => {
                let work = Work::Request {
                    id,
                    endpoint,
                    observes: false,
                };
                self.work.insert(cancel, work);
            }
            // It ended by itself.
            None => self.answer(id, adapter::Answer::default()),
        }
        self.watchers.remove(&op);
    }

    /// An operation of the library level: the server does what it is told.
    pub(super) fn library_request(&mut self, now: Duration, request: adapter::Request, files: Files<'_>) {
        let id = request.id;
        let Some(endpoint) = endpoint_of(&request.operation).map(str::to_owned) else {
            return self.refuse(id, ErrorKind::BadRequest, "no endpoint is named".to_owned());
        };
        if self.server.registrations().get(&endpoint).is_none() {
            return self.refuse(id, ErrorKind::NotRegistered, format!("{endpoint} is not registered"));
        }
        let sleeps = self
            .devices
            .get(&endpoint)
            .is_some_and(|device| self.sleeps(now, device));
        if sleeps {
            let file = match &request.operation {
                Operation::WriteBlocks { file, .. } => files(file),
                _ => None,
            };
            if let Some(device) = self.devices.get_mut(&endpoint) {
                device.held_requests.push_back((request, file));
            }
            return;
        }
        self.aim(&endpoint);
        match self.library_operation(now, &endpoint, request.operation, files) {
            Ok((op, observes)) => {
                let work = Work::Request { id, endpoint, observes };
                self.work.insert(op, work);
            }
            Err((kind, message)) => self.refuse(id, kind, message),
        }
    }

    fn library_operation(
        &mut self,
        now: Duration,
        endpoint: &str,
        operation: Operation,
        files: Files<'_>,
    ) -> Result<(OpId, bool), Refusal> {
        Ok(match operation {
            Operation::Read { path, .. } => (self.server.read(now, &parse(&path)?, None), false),
            Operation::Observe { path, .. } => (self.server.observe(now, &parse(&path)?, None), true),
            Operation::Discover { path, .. } => (self.server.discover(now, &parse(&path)?), false),
            Operation::Execute { path, arguments, .. } => {
                let arguments = arguments.unwrap_or_default();
                (self.server.execute(now, &parse(&path)?, &arguments), false)
            }
            Operation::Write { path, value, .. } => {
                let path = parse(&path)?;
                let value = value_from_adapter(&value)
                    .ok_or_else(|| (ErrorKind::BadRequest, "the value is not hexadecimal".to_owned()))?;
                let op = self.server.write_value(now, &path, &value);
                (op.map_err(|error| (ErrorKind::BadRequest, error.to_string()))?, false)
            }
            Operation::WriteBlocks { path, file, block, .. } => {
                let path = parse(&path)?;
                let body = files(&file).ok_or_else(|| (ErrorKind::BadRequest, format!("{file} cannot be read")))?;
                let szx = match block {
                    None => self.config.szx,
                    Some(size) => Szx::from_size(usize::from(size))
                        .ok_or_else(|| (ErrorKind::BadRequest, format!("{size} is no block size")))?,
                };
                let spec = self.push_spec(endpoint, path, body, szx);
                (self.server.push(now, spec), false)
            }
            Operation::WriteAttributes { path, attributes, .. } => {
                let query: Vec<String> = attributes
                    .iter()
                    .map(|(name, number)| format!("{name}={number}"))
                    .collect();
                let op = self.server.write_attributes(now, &parse(&path)?, &query.join("&"));
                (op, false)
            }
            _ => return Err((ErrorKind::Unsupported, "not an operation on a device".to_owned())),
        })
    }

    fn start_update(&mut self, now: Duration, operation: Operation, files: Files<'_>) -> Result<String, Refusal> {
        let Operation::UpdateStart {
            update,
            endpoint,
            package,
            method,
            conditions,
            ..
        } = operation
        else {
            return Err((ErrorKind::BadRequest, "not the start of an update".to_owned()));
        };
        if self.updates.contains_key(&update) {
            return Err((ErrorKind::BadRequest, format!("there is an update {update:?} already")));
        }
        let body =
            files(&package.file).ok_or_else(|| (ErrorKind::BadRequest, format!("{} cannot be read", package.file)))?;
        let mut uris = package.uris;
        if uris.is_empty() || self.has(ServerDefect::OwnRepositoryOnly) {
            let digest = package::hex(&package::digest(&body)[..8]);
            uris = BTreeMap::from([("coap".to_owned(), self.serve(&format!("/fw/{digest}"), body.clone()))]);
        }
        let time = |ms: u64| now + Duration::from_millis(ms);
        let periods = |list: &[(u64, u64)]| list.iter().map(|(from, to)| (time(*from), time(*to))).collect();
        let spec = CampaignSpec {
            package: body,
            version: package.version,
            uris,
            method,
            execute_windows: periods(&conditions.execute_windows_ms),
            keep_clear: periods(&conditions.keep_clear_ms),
            least_signal: conditions.least_signal_dbm,
            block: None,
            seed: self.config.seed ^ self.updates.len() as u64,
            defects: self.config.defects.clone(),
        };
        self.replace_update(now, &endpoint);
        let mut campaign = Campaign::new(now, spec);
        if let Some(registration) = self.server.registrations().get(&endpoint) {
            let happening = Happening::Registered {
                object5: registration.has_object(5).then(|| registration.versions().object(5)),
                lwm2m: registration.lwm2m,
                binding: registration.binding.clone(),
                address: registration.address.to_string(),
            };
            campaign.handle(now, happening);
        }
        self.updates.insert(update.clone(), endpoint.clone());
        let device = self.devices.entry(endpoint.clone()).or_default();
        device.percent = 0;
        device.update = Some(Update {
            name: update,
            campaign,
            told: adapter::Progress::default(),
        });
        Ok(endpoint)
    }

    /// A new update takes the place of the one before; what that one has under way is stopped.
    fn replace_update(&mut self, now: Duration, endpoint: &str) {
        let Some(device) = self.devices.get_mut(endpoint) else {
            return;
        };
        let Some(mut old) = device.update.take() else { return };
        device.held.clear();
        if let Some(wake) = device.wake.take() {
            self.wakes.remove(&(wake, endpoint.to_owned()));
        }
        let mut progress = old.campaign.progress();
        if !progress.status.is_final() {
            old.campaign.cancel(now);
            progress.status = adapter::UpdateStatus::Cancelled;
            progress.reason = Some("another update of the device was started".to_owned());
        }
        let ops: Vec<(OpId, bool)> = self
            .work
            .iter()
            .filter_map(|(op, work)| match work {
                Work::Task {
                    endpoint: owner,
                    pushes,
                    ..
                } if owner == endpoint => Some((*op, *pushes)),
                _ => None,
            })
            .collect();
        for (op, pushes) in ops {
            self.work.remove(&op);
            if pushes {
                self.push_over(endpoint, op, false);
            } else {
                self.server.cancel(now, op);
            }
        }
        self.past.insert(old.name, progress);
    }

    /// A defect: every update is held.
    fn pause_all(&mut self, now: Duration) {
        let all: Vec<String> = self.devices.keys().cloned().collect();
        for endpoint in all {
            if let Some(update) = self
                .devices
                .get_mut(&endpoint)
                .and_then(|device| device.update.as_mut())
            {
                update.campaign.pause(now);
                self.after_campaign(now, &endpoint);
            }
        }
    }

    fn control(&mut self, now: Duration, id: u64, update: &str, act: fn(&mut Campaign, Duration)) {
        let Some(endpoint) = self.updates.get(update).cloned() else {
            return self.refuse(id, ErrorKind::Unknown, format!("there is no update {update:?}"));
        };
        self.answer(id, adapter::Answer::default());
        let current = self
            .devices
            .get_mut(&endpoint)
            .and_then(|device| device.update.as_mut());
        if let Some(current) = current.filter(|current| current.name == update) {
            act(&mut current.campaign, now);
            self.after_campaign(now, &endpoint);
        }
    }
}

fn parse(path: &str) -> Result<LwPath, Refusal> {
    path.parse()
        .map_err(|error| (ErrorKind::BadRequest, format!("{path:?} is no path: {error}")))
}

fn instance_of(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::Start { instance, .. }
        | Operation::Stop { instance }
        | Operation::AwaitRegistered { instance, .. }
        | Operation::Read { instance, .. }
        | Operation::Write { instance, .. }
        | Operation::WriteBlocks { instance, .. }
        | Operation::Execute { instance, .. }
        | Operation::Observe { instance, .. }
        | Operation::Cancel { instance, .. }
        | Operation::Discover { instance, .. }
        | Operation::WriteAttributes { instance, .. }
        | Operation::ServeFile { instance, .. }
        | Operation::UpdateStart { instance, .. }
        | Operation::UpdatePause { instance, .. }
        | Operation::UpdateResume { instance, .. }
        | Operation::UpdateCancel { instance, .. }
        | Operation::UpdateProgress { instance, .. }
        | Operation::Device { instance, .. }
        | Operation::ImageDigest { instance, .. } => Some(instance),
        Operation::Quit | Operation::NoSuchOperation {} => None,
    }
}

fn endpoint_of(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::Read { endpoint, .. }
        | Operation::Write { endpoint, .. }
        | Operation::WriteBlocks { endpoint, .. }
        | Operation::Execute { endpoint, .. }
        | Operation::Observe { endpoint, .. }
        | Operation::Discover { endpoint, .. }
        | Operation::WriteAttributes { endpoint, .. } => Some(endpoint),
        _ => None,
    }
}
