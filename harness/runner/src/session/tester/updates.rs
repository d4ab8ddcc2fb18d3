//! Updates of devices: by the server's own engine, or by the harness over single operations.

use core::time::Duration;
use std::sync::OnceLock;

use fotaproof_adapter::{self as protocol, Operation, Progress, Reply};
use fotaproof_cases::ast::{ControlStep, UpdateControl, UpdateMethod, UpdateSpec, Window};
use fotaproof_lwm2m::campaign::{
    Campaign, CampaignSpec, Happening, Task, TaskId, happening_of_registration, operation_of, outcome_of,
};
use fotaproof_trace::EventKind;
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::super::Session;
use super::super::answer::{Answer, Back, sha256};
use super::super::config::PackageImage;
use super::super::goals::Act;
use super::super::setup::{file_of, repositories};
use super::super::stimuli::Unable;
use super::adapter::Asked;

/// An update of one device.
#[derive(Debug)]
pub(crate) struct UpdateRun {
    pub(crate) name: String,
    /// Label of the step that began it.
    pub(crate) label: Option<String>,
    pub(crate) device: String,
    pub(crate) endpoint: String,
    pub(crate) image: PackageImage,
    /// SHA-256 of it, once it was asked for.
    digest: OnceLock<String>,
    pub(crate) file: String,
    /// The harness's own campaign, where the server has no engine.
    pub(crate) campaign: Option<Box<Campaign>>,
    /// The harness's own campaign before the server has said where it hosts the package.
    pending: Option<Box<CampaignSpec>>,
    /// What was told of it, in order.
    pub(crate) history: Vec<(Duration, Progress)>,
    pub(crate) began: Duration,
    /// The harness's own campaign ended with the server that it asked.
    pub(crate) over: bool,
}

impl UpdateRun {
    pub(crate) fn poll_deadline(&self) -> Option<Duration> {
        if self.over {
            return None;
        }
        self.campaign.as_ref().and_then(|campaign| campaign.poll_deadline())
    }

    /// SHA-256 of its package.
    pub(crate) fn digest(&self) -> &str {
        self.digest.get_or_init(|| sha256(&self.image.bytes))
    }

    /// What was told last.
    pub(crate) fn progress(&self) -> Option<&Progress> {
        self.history.last().map(|(_, progress)| progress)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Session {
    /// Begins an update.
    pub(super) fn begin_update(&mut self, spec: &UpdateSpec, label: Option<String>) -> Result<Act, Unable> {
        let device = Self::device_name(spec.device.as_ref());
        let endpoint = self
            .world
            .devices
            .get(&device)
            .map(|device| device.config().endpoint.clone())
            .ok_or_else(|| format!("there is no device `{device}`"))?;
        let package = spec
            .package
            .as_ref()
            .map_or(super::super::setup::FIRMWARE, |name| name.value.as_str())
            .to_owned();
        let image = self.package(Some(&package))?;
        let file = self.file_of_package(&package);
        let uris = self.uris(spec)?;
        let method = match spec.method.unwrap_or_default() {
            UpdateMethod::Auto => protocol::Method::Auto,
            UpdateMethod::Push => protocol::Method::Push,
            UpdateMethod::Pull => protocol::Method::Pull,
        };
        let name = format!("u{}", self.tester.updates.len() + 1);
        let mut run = UpdateRun {
            name: name.clone(),
            label,
            device,
            endpoint: endpoint.clone(),
            image: image.clone(),
            digest: OnceLock::new(),
            file: file.clone(),
            campaign: None,
            pending: None,
            history: Vec::new(),
            began: self.now,
            over: false,
        };
        if self.can(&["update-start"]) {
            let windows = |all: &[Window]| all.iter().map(|w| (millis(w.from.0), millis(w.to.0))).collect();
            let operation = Operation::UpdateStart {
                instance: self.instance(),
                update: name,
                endpoint,
                package: protocol::Package {
                    file,
                    version: image.version,
                    uris,
                },
                method,
                conditions: protocol::Conditions {
                    execute_windows_ms: windows(&spec.windows),
                    least_signal_dbm: spec.least_signal,
                    keep_clear_ms: windows(&spec.keep_clear),
                },
            };
            self.tester.updates.push(run);
            return Ok(self.ask_for_step(operation, None, None));
        }
        // without `observe` State and Result are read, and a pull needs no more than a URI
        let pushes = method != protocol::Method::Pull;
        if !self.can(&["read", "write", "execute"]) || (pushes && !self.can(&["write-blocks"])) {
            return Ok(self.cannot("it offers neither `update-start` nor the operations that an update is made of"));
        }
        let now = self.now;
        let windows = |all: &[Window]| all.iter().map(|w| (now + w.from.0, now + w.to.0)).collect();
        let campaign = CampaignSpec {
            package: image.bytes.clone(),
            version: image.version,
            uris,
            method,
            execute_windows: windows(&spec.windows),
            keep_clear: windows(&spec.keep_clear),
            least_signal: spec.least_signal,
            seed: self.config.seed ^ 0x6361_6d70,
            ..CampaignSpec::default()
        };
        let update = self.tester.updates.len();
        if spec.hosted == Some(true) {
            if !self.can(&["serve-file"]) {
                return Ok(self.cannot("`serve-file` is not among its capabilities"));
            }
            let operation = Operation::ServeFile {
                instance: self.instance(),
                file,
                path: format!("/fw/{package}.bin"),
            };
            run.pending = Some(Box::new(campaign));
            self.tester.updates.push(run);
            let until = now + self.config.tester.patience;
            self.ask(operation, Asked::Hosted { update, until });
            return Ok(Act::Nothing);
        }
        self.tester.updates.push(run);
        self.begin_campaign(update, campaign);
        Ok(Act::Nothing)
    }

    fn begin_campaign(&mut self, update: usize, spec: CampaignSpec) {
        let now = self.now;
        let run = &mut self.tester.updates[update];
        let mut campaign = Campaign::new(now, spec);
        if let Some(registration) = self.tester.registrations.get(&run.endpoint) {
            campaign.handle(now, happening_of_registration(registration));
        }
        run.campaign = Some(Box::new(campaign));
    }

    /// The server said where it hosts the package of an update: the harness's own campaign can begin.
    pub(super) fn package_hosted(&mut self, update: usize, reply: &Reply) {
        let Some(mut spec) = self.tester.updates.get_mut(update).and_then(|run| run.pending.take()) else {
            return;
        };
        let uri = reply.ok.as_ref().and_then(|answer| answer.uri.clone());
        match uri.as_deref().and_then(|uri| uri.split_once("://")) {
            Some((scheme, _)) => {
                let scheme = scheme.to_owned();
                spec.uris.extend(uri.map(|uri| (scheme, uri)));
                self.begin_campaign(update, *spec);
            }
            None => {
                let why = reply
                    .error
                    .as_ref()
                    .map_or("no URI in the reply", |error| &error.message);
                let title = format!("the adapter cannot host the package: {why}");
                self.adapter_broke(&title, why);
            }
        }
    }

    /// Where the package is for a pull.
    fn uris(&self, spec: &UpdateSpec) -> Result<std::collections::BTreeMap<String, String>, Unable> {
        let mut uris = std::collections::BTreeMap::new();
        if spec.hosted == Some(true) {
            return Ok(uris);
        }
        if let Some(given) = &spec.uris {
            for (scheme, uri) in given {
                uris.insert(scheme.clone(), self.filled(uri)?);
            }
            return Ok(uris);
        }
        let name = spec.repository.as_ref().map_or("main", |name| name.value.as_str());
        let all = repositories(&self.config.case);
        let Some(repository) = all.get(name) else {
            return if spec.repository.is_some() {
                Err(format!("there is no repository `{name}`"))
            } else {
                Ok(uris)
            };
        };
        let Some(address) = self.config.addresses.repositories.get(name) else {
            return Ok(uris);
        };
        let (path, query) = file_of(repository);
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        uris.insert("coap".to_owned(), format!("coap://{address}{path}{query}"));
        Ok(uris)
    }

    /// A step that the adapter cannot do: the question cannot be asked of this server.
    pub(super) fn cannot(&mut self, why: &str) -> Act {
        self.tester.next_id += 1;
        let id = self.tester.next_id;
        let back = Back::NotSent(format!("the adapter cannot do it: {why}"));
        self.tester
            .replies
            .insert(id, Answer::told_by(self.now, back, Vec::new(), None));
        Act::Adapter { id }
    }

    /// Asks the adapter for what a step wants.
    pub(super) fn ask_for_step(
        &mut self,
        operation: Operation,
        path: Option<LwPath>,
        observes: Option<(String, String)>,
    ) -> Act {
        if !self.can(&[operation.name()]) {
            let why = format!("`{}` is not among its capabilities", operation.name());
            return self.cannot(&why);
        }
        let until = self.now + self.config.tester.patience.max(Duration::from_secs(3600));
        let id = self.ask(operation, Asked::Step { path, observes, until });
        Act::Adapter { id }
    }

    /// The update that a step names: by the label of its step, by its device, or the one that was begun last.
    fn controlled(&mut self, control: &ControlStep) -> Result<&mut UpdateRun, Unable> {
        let mut runs = self.tester.updates.iter_mut().rev();
        let (run, which) = match (&control.update, &control.device) {
            (Some(label), _) => (
                runs.find(|run| run.label.as_deref() == Some(&label.value)),
                format!(" by the step `{}`", label.value),
            ),
            (None, Some(device)) => (
                runs.find(|run| run.device == device.value),
                format!(" on device {}", device.value),
            ),
            (None, None) => (runs.next(), String::new()),
        };
        run.ok_or_else(|| format!("no update was begun{which}"))
    }

    /// Holds, goes on with or gives up an update.
    pub(super) fn control_update(&mut self, control: &ControlStep) -> Result<Act, Unable> {
        let now = self.now;
        let instance = self.instance();
        let run = self.controlled(control)?;
        if run.pending.is_some() {
            return Err(format!(
                "the server has not said yet where it hosts the package of {}",
                run.name
            ));
        }
        if let Some(campaign) = &mut run.campaign {
            match control.action {
                UpdateControl::Pause => campaign.pause(now),
                UpdateControl::Resume => campaign.resume(now),
                UpdateControl::Cancel => campaign.cancel(now),
            }
            return Ok(Act::Nothing);
        }
        let update = run.name.clone();
        let operation = match control.action {
            UpdateControl::Pause => Operation::UpdatePause { instance, update },
            UpdateControl::Resume => Operation::UpdateResume { instance, update },
            UpdateControl::Cancel => Operation::UpdateCancel { instance, update },
        };
        Ok(self.ask_for_step(operation, None, None))
    }

    fn happening(&mut self, endpoint: &str, happening: &Happening) {
        let now = self.now;
        for run in &mut self.tester.updates {
            if run.endpoint == endpoint
                && !run.over
                && let Some(campaign) = &mut run.campaign
            {
                campaign.handle(now, happening.clone());
            }
        }
    }

    pub(super) fn update_registered(&mut self, endpoint: &str, registration: &protocol::Registration) {
        self.happening(endpoint, &happening_of_registration(registration));
    }

    pub(super) fn update_updated(&mut self, endpoint: &str, address: &str) {
        let address = address.to_owned();
        self.happening(endpoint, &Happening::Updated { address });
    }

    pub(super) fn update_gone(&mut self, endpoint: &str, expired: bool) {
        let happening = if expired {
            Happening::Expired
        } else {
            Happening::Deregistered
        };
        self.happening(endpoint, &happening);
    }

    pub(super) fn update_value(&mut self, endpoint: &str, path: LwPath, value: Value) {
        self.happening(endpoint, &Happening::Value { path, value });
    }

    pub(super) fn update_task_done(&mut self, update: usize, id: TaskId, task: &Task, reply: &Reply) {
        let now = self.now;
        if let Some(campaign) = self
            .tester
            .updates
            .get_mut(update)
            .and_then(|run| run.campaign.as_mut())
        {
            let outcome = outcome_of(reply, task);
            campaign.handle(now, Happening::Done { task: id, outcome });
        }
    }

    /// The server tells where one of its updates is.
    pub(super) fn update_told(&mut self, name: &str, progress: Progress) {
        let now = self.now;
        if let Some(run) = self.tester.updates.iter_mut().find(|run| run.name == name) {
            run.history.push((now, progress));
        }
    }

    /// Goes on with the harness's own campaigns; true when something was done.
    pub(in crate::session) fn drive_updates(&mut self) -> bool {
        let mut busy = false;
        let now = self.now;
        for index in 0..self.tester.updates.len() {
            let mut tasks = Vec::new();
            let mut told = None;
            {
                let run = &mut self.tester.updates[index];
                if run.over {
                    continue;
                }
                let Some(campaign) = &mut run.campaign else { continue };
                if campaign.poll_deadline().is_some_and(|at| at <= now) {
                    campaign.handle_timeout(now);
                    busy = true;
                }
                while let Some(task) = campaign.poll_task() {
                    tasks.push(task);
                }
                let progress = campaign.progress();
                if run.history.last().is_none_or(|(_, last)| *last != progress) {
                    run.history.push((now, progress.clone()));
                    told = Some(progress);
                }
            }
            if let Some(progress) = told {
                self.emit(EventKind::Note {
                    text: format!(
                        "the harness's campaign: {}",
                        serde_json::to_string(&progress).unwrap_or_default()
                    ),
                });
            }
            for (id, task) in tasks {
                busy = true;
                self.carry_out_task(index, id, &task);
            }
        }
        busy
    }

    fn carry_out_task(&mut self, update: usize, id: TaskId, task: &Task) {
        let run = &self.tester.updates[update];
        let (endpoint, file) = (run.endpoint.clone(), run.file.clone());
        let instance = self.instance();
        if let Some(operation) = operation_of(task, &instance, &endpoint, &file) {
            if !self.can(&[operation.name()]) {
                let error = protocol::ReplyError {
                    kind: protocol::ErrorKind::Unsupported,
                    message: format!("`{}` is not among the adapter's capabilities", operation.name()),
                };
                let refused = Reply {
                    id: 0,
                    ok: None,
                    error: Some(error),
                };
                self.update_task_done(update, id, task, &refused);
                return;
            }
            let observes = match task {
                Task::Observe(path) => Some((endpoint, path.to_string())),
                _ => None,
            };
            let task = task.clone();
            let asked = Asked::Task {
                update,
                id,
                task,
                observes,
            };
            self.ask(operation, asked);
            return;
        }
        match task {
            Task::CancelTask(other) => {
                for asked in self.tester.waiting.values_mut() {
                    if matches!(asked, Asked::Task { update: u, id, .. } if *u == update && id == other) {
                        *asked = Asked::Nobody;
                    }
                }
            }
            Task::CancelObservation(path) => {
                let name = self.tester.observations.remove(&(endpoint, path.to_string()));
                let asked = Asked::Task {
                    update,
                    id,
                    task: task.clone(),
                    observes: None,
                };
                match name {
                    Some(observation) => {
                        self.ask(Operation::Cancel { instance, observation }, asked);
                    }
                    None => {
                        let done = Reply {
                            id: 0,
                            ok: Some(protocol::Answer {
                                response: Some(protocol::Response {
                                    code: "2.05".to_owned(),
                                    ..protocol::Response::default()
                                }),
                                ..protocol::Answer::default()
                            }),
                            error: None,
                        };
                        self.update_task_done(update, id, task, &done);
                    }
                }
            }
            _ => {}
        }
    }
}
