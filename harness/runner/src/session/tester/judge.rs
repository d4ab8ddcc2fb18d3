//! Goals about devices of the harness and about what a server under test tells.

use core::time::Duration;

use fotaproof_adapter::UpdateStatus;
use fotaproof_cases::ast::{
    CodeMatch, DeviceFacts, Expect, FirmwareVersion, Many, ProgressExpect, ResultName, StateName, StatusName,
    UpdateMethod, ValueMatch,
};
use fotaproof_wire::path::LwPath;

use super::super::Session;
use super::super::answer::sha256;
use super::super::firmware::{Follow, pair_matches, pairs_told};
use super::super::goals::Running;
use super::super::judge::{Poll, broken};
use super::device::TestDevice;
use super::updates::UpdateRun;

const fn status(name: StatusName) -> UpdateStatus {
    match name {
        StatusName::Waiting => UpdateStatus::Waiting,
        StatusName::Transferring => UpdateStatus::Transferring,
        StatusName::Downloaded => UpdateStatus::Downloaded,
        StatusName::Updating => UpdateStatus::Updating,
        StatusName::Deferred => UpdateStatus::Deferred,
        StatusName::Paused => UpdateStatus::Paused,
        StatusName::Succeeded => UpdateStatus::Succeeded,
        StatusName::Failed => UpdateStatus::Failed,
        StatusName::Cancelled => UpdateStatus::Cancelled,
    }
}

fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value)
        .unwrap_or_default()
        .trim_matches('"')
        .to_owned()
}

fn words<T: core::fmt::Display>(all: &[T]) -> String {
    let words: Vec<String> = all.iter().map(ToString::to_string).collect();
    words.join(" or ")
}

/// The name of the device that an expectation is about.
fn judged_name(e: &Expect) -> &str {
    e.device
        .as_ref()
        .map_or(fotaproof_cases::devices::MAIN, |at| at.value.as_str())
}

impl Session {
    fn judged_device(&self, e: &Expect) -> Result<&TestDevice, Poll> {
        let name = judged_name(e);
        self.world
            .devices
            .get(name)
            .ok_or_else(|| Poll::Unknown(format!("there is no device `{name}`")))
    }

    /// The update that was last begun on the device.
    fn judged_update(&self, e: &Expect) -> Option<&UpdateRun> {
        let name = judged_name(e);
        self.tester.updates.iter().rev().find(|run| run.device == name)
    }

    fn settle_device(&mut self, e: &Expect) {
        if let Some(device) = self.world.devices.get_mut(judged_name(e)) {
            device.firmware.settle();
        }
    }

    /// The stations of State on the device itself.
    pub(in crate::session) fn device_path(&mut self, e: &Expect, until: Duration) -> Poll {
        let Some(stations) = e.path.as_ref().map(|path| &path.value) else {
            return Poll::Held(String::new());
        };
        let expected = {
            let stations: Vec<String> = stations.iter().map(ToString::to_string).collect();
            let result = e
                .result
                .as_ref()
                .map_or_else(String::new, |all| format!(" with result {}", words(&all.value)));
            format!("{}{result}", stations.join(" > "))
        };
        let now = self.now;
        let device = match self.judged_device(e) {
            Ok(device) => device,
            Err(poll) => return poll,
        };
        let firmware = &device.firmware;
        let right = match &e.result {
            Some(wanted) => firmware
                .result()
                .is_some_and(|result| wanted.value.iter().any(|want| want.0 == result)),
            None => true,
        };
        let seen = firmware.told();
        match firmware.follow(stations) {
            Follow::Astray { state } => broken(expected, format!("{seen} ({})", StateName(state))),
            Follow::Arrived if right => {
                self.settle_device(e);
                Poll::Held(seen)
            }
            _ if now >= until => broken(expected, format!("{seen} in {:.3} s", now.as_secs_f64())),
            _ => Poll::Pending,
        }
    }

    /// Where the device comes to rest.
    pub(in crate::session) fn device_ends(
        &mut self,
        e: &Expect,
        next: &mut Option<Duration>,
        until: Duration,
        began: Duration,
    ) -> Poll {
        let Some(wanted) = e.ends.as_ref().map(|ends| &ends.value) else {
            return Poll::Held(String::new());
        };
        let stable = e
            .stable
            .map_or_else(|| self.span("stable", Duration::from_secs(5)), |span| span.0);
        let now = self.now;
        let device = match self.judged_device(e) {
            Ok(device) => device,
            Err(poll) => return poll,
        };
        let pair = device.firmware.pair();
        let since = device.firmware.steady_since();
        let told = device.firmware.told();
        if let (Some(pair), Some(since)) = (pair, since)
            && pair_matches(pair, wanted)
        {
            let enough = since.max(began) + stable;
            if now >= enough {
                self.settle_device(e);
                return Poll::Held(format!("{}/{}", pair.0, pair.1));
            }
            *next = Some(enough);
            if enough <= until + stable * 4 {
                return Poll::Pending;
            }
        } else {
            *next = None;
        }
        if now >= until {
            let seen = pair.map_or_else(
                || "no pair".to_owned(),
                |pair| format!("{}/{} ({told})", pair.0, pair.1),
            );
            return broken(format!("ends {}", pairs_told(wanted)), seen);
        }
        Poll::Pending
    }

    /// The pair that the device has now, or had before the step.
    pub(in crate::session) fn device_pair(&mut self, e: &Expect, before: Option<(u8, u8)>) -> Poll {
        let device = match self.judged_device(e) {
            Ok(device) => device,
            Err(poll) => return poll,
        };
        let pair = (device.truth.state, device.truth.result);
        let told = format!("{}/{}", pair.0, pair.1);
        let (right, expected) = match (&e.pair, before) {
            (_, Some(before)) => (pair == before, format!("the pair stays {}/{}", before.0, before.1)),
            (Some(wanted), None) => (pair_matches(pair, &wanted.value), pairs_told(&wanted.value)),
            (None, None) => return Poll::Unknown("the pair before the step is not known".to_owned()),
        };
        if !right {
            return broken(expected, told);
        }
        self.settle_device(e);
        Poll::Held(told)
    }

    /// The firmware version that the device runs.
    pub(in crate::session) fn device_version(&self, e: &Expect, until: Duration) -> Poll {
        let Some(want) = e.firmware_version.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let device = match self.judged_device(e) {
            Ok(device) => device,
            Err(poll) => return poll,
        };
        let wanted = match want {
            FirmwareVersion::Is(version) => version.clone(),
            FirmwareVersion::New => match self
                .judged_update(e)
                .map(|run| run.image.clone())
                .map_or_else(|| self.package(None), Ok)
            {
                Ok(image) if !image.version.is_empty() => image.version,
                _ => return Poll::Unknown("the package names no version".to_owned()),
            },
            FirmwareVersion::Old => device.config().version.clone(),
        };
        if device.truth.version == wanted {
            return Poll::Held(wanted);
        }
        if e.within.is_some() && self.now < until {
            return Poll::Pending;
        }
        broken(format!("the device runs {wanted}"), device.truth.version.clone())
    }

    /// The package that the device received last.
    pub(in crate::session) fn device_image(&self, e: &Expect, until: Duration) -> Poll {
        let Some(name) = &e.image else {
            return Poll::Held(String::new());
        };
        let device = match self.judged_device(e) {
            Ok(device) => device,
            Err(poll) => return poll,
        };
        let received = device.truth.received.as_ref().map(|received| received.sha256.clone());
        if name.value == "none" {
            return match received {
                None => Poll::Held("no image".to_owned()),
                Some(digest) => broken("no image", format!("SHA-256 {digest}")),
            };
        }
        let Ok(image) = self.package(Some(&name.value)) else {
            return Poll::Unknown(format!("there is no package `{}`", name.value));
        };
        let wanted = sha256(&image.bytes);
        match received {
            Some(digest) if digest == wanted => Poll::Held(format!("SHA-256 {digest}")),
            _ if e.within.is_some() && self.now < until => Poll::Pending,
            Some(digest) => broken(format!("an image with SHA-256 {wanted}"), format!("SHA-256 {digest}")),
            None => broken(format!("an image with SHA-256 {wanted}"), "no image"),
        }
    }

    /// The update ends well.
    pub(in crate::session) fn judge_ends_well(&self, e: &Expect, until: Duration) -> Poll {
        let device = match self.judged_device(e) {
            Ok(device) => device,
            Err(poll) => return poll,
        };
        let wants = e.ends_well.as_ref().is_none_or(|at| at.value);
        let run = self.judged_update(e);
        // this is asked after each datagram: without an Execute the update goes on, until the server gives it up
        if let Some(run) = run
            && self.now < until
            && device.truth.executed.iter().all(|executed| executed.at < run.began)
            && run.progress().is_none_or(|progress| !progress.status.is_final())
        {
            return Poll::Pending;
        }
        let image = match run.map(|run| run.image.clone()).map_or_else(|| self.package(None), Ok) {
            Ok(image) => image,
            Err(why) => return Poll::Unknown(why),
        };
        let truth = &device.truth;
        let mut missing: Vec<String> = Vec::new();
        let mut hopeless = false;
        // the digest is taken only where it can be right
        match &truth.received {
            Some(received)
                if received.length == image.bytes.len() as u64
                    && run.map_or_else(
                        || received.sha256 == sha256(&image.bytes),
                        |run| received.sha256 == run.digest(),
                    ) => {}
            Some(received) => missing.push(format!(
                "the device received {} bytes with SHA-256 {}",
                received.length, received.sha256
            )),
            None => missing.push("no package reached the device whole".to_owned()),
        }
        let obeyed: Vec<_> = truth
            .executed
            .iter()
            .filter(|executed| run.is_none_or(|run| executed.at >= run.began))
            .collect();
        if let Some(early) = obeyed
            .iter()
            .find(|executed| executed.state != 2 || executed.answer.is_some_and(|code| code.0 >> 5 != 2))
        {
            missing.push(format!(
                "an Execute came at {:.3} s in {}/{}",
                early.at.as_secs_f64(),
                early.state,
                early.result
            ));
            hopeless = true;
        }
        match obeyed.len() {
            0 => missing.push("no Execute came".to_owned()),
            1 => {}
            many => {
                missing.push(format!("{many} Executes came"));
                hopeless = true;
            }
        }
        if !image.version.is_empty() && truth.version != image.version {
            missing.push(format!("the device runs {}", truth.version));
        }
        let told = run.and_then(UpdateRun::progress);
        // the harness's own campaign sends nothing any more once it has ended
        let ended = |run: &UpdateRun| run.campaign.is_some() && told.is_some_and(|told| told.status.is_final());
        hopeless |= obeyed.is_empty() && run.is_some_and(ended);
        if self.claimed("srv:report") && run.is_some_and(|run| run.campaign.is_none()) {
            match told.map(|progress| progress.status) {
                Some(UpdateStatus::Succeeded) => {}
                Some(status) => {
                    missing.push(format!("the server calls the update {}", word(&status)));
                    hopeless |= status.is_final();
                }
                None => missing.push("the server tells nothing of the update".to_owned()),
            }
        }
        let expected = "the right package received, one Execute in 2/0, the new version, and success reported";
        if !wants {
            return match missing.is_empty() {
                true => broken("an update that does not end well", "it ended well"),
                false if self.now >= until || hopeless => Poll::Held(missing.join("; ")),
                false => Poll::Pending,
            };
        }
        if missing.is_empty() {
            return Poll::Held(format!("{} runs, one Execute", truth.version));
        }
        if hopeless || self.now >= until {
            return broken(expected, missing.join("; "));
        }
        Poll::Pending
    }

    /// The status of the update as the server tells it.
    pub(in crate::session) fn judge_status(&self, e: &Expect, until: Duration) -> Poll {
        let Some(wanted) = e.status.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let Some(run) = self.judged_update(e) else {
            return Poll::Unknown("no update of the device was begun".to_owned());
        };
        if run.campaign.is_none() && !self.claimed("srv:report") {
            return Poll::Unknown("the server tells nothing of its updates".to_owned());
        }
        let last = run.progress();
        if let Some(progress) = last
            && wanted.iter().any(|name| status(*name) == progress.status)
        {
            return Poll::Held(told(progress));
        }
        let last_word = last.is_some_and(|progress| progress.status.is_final());
        if self.now < until && !last_word {
            return Poll::Pending;
        }
        broken(
            format!("the server calls the update {}", words(wanted)),
            last.map_or_else(|| "it tells nothing".to_owned(), told),
        )
    }

    /// Statuses that the server has not told.
    pub(in crate::session) fn judge_not_status(&self, e: &Expect) -> Poll {
        let Some(unwanted) = e.not_status.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let Some(run) = self.judged_update(e) else {
            return Poll::Unknown("no update of the device was begun".to_owned());
        };
        let odd = run
            .history
            .iter()
            .find(|(_, progress)| unwanted.iter().any(|name| status(*name) == progress.status));
        match odd {
            Some((at, progress)) => broken(
                format!("the update is never called {}", words(unwanted)),
                format!("{} at {:.3} s", told(progress), at.as_secs_f64()),
            ),
            None => Poll::Held("never".to_owned()),
        }
    }

    /// What else the server told of the update.
    pub(in crate::session) fn judge_progress(&self, e: &Expect, until: Duration) -> Poll {
        let Some(want) = e.progress.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let Some(run) = self.judged_update(e) else {
            return Poll::Unknown("no update of the device was begun".to_owned());
        };
        if run.campaign.is_none() && !self.claimed("srv:report") {
            return Poll::Unknown("the server tells nothing of its updates".to_owned());
        }
        let Some(progress) = run.progress() else {
            return if self.now < until {
                Poll::Pending
            } else {
                broken(progress_words(want), "the server tells nothing of the update")
            };
        };
        if progress_matches(want, progress) {
            return Poll::Held(told(progress));
        }
        if self.now < until && !progress.status.is_final() {
            return Poll::Pending;
        }
        broken(progress_words(want), told(progress))
    }

    /// Executes that the device obeyed.
    pub(in crate::session) fn judge_executes(&self, e: &Expect, until: Duration) -> Poll {
        let Some(want) = e.executes.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let device = match self.judged_device(e) {
            Ok(device) => device,
            Err(poll) => return poll,
        };
        let count = device.truth.executes.saturating_sub(device.truth.executes_refused);
        self.wait_for_all(e, until, &[("Executes obeyed", Some(want), u64::from(count))])
    }

    fn wait_for_all(&self, e: &Expect, until: Duration, all: &[(&str, Option<&ValueMatch>, u64)]) -> Poll {
        let odd = all
            .iter()
            .find(|(_, want, count)| want.is_some_and(|want| !want.matches(&count.to_string())));
        match odd {
            None => Poll::Held(
                all.iter()
                    .filter(|(_, want, _)| want.is_some())
                    .map(|(name, _, count)| format!("{name}: {count}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            Some(_) if e.within.is_some() && self.now < until => Poll::Pending,
            Some((name, want, count)) => broken(
                format!("{name}: {}", want.map(ToString::to_string).unwrap_or_default()),
                count.to_string(),
            ),
        }
    }

    /// What the device knows.
    pub(in crate::session) fn judge_facts(&self, e: &Expect, until: Duration) -> Poll {
        let Some(want) = e.facts.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let device = match self.judged_device(e) {
            Ok(device) => device,
            Err(poll) => return poll,
        };
        let truth = &device.truth;
        let secure = device
            .secured
            .as_ref()
            .map(|secured| secured.truth.clone())
            .unwrap_or_default();
        let waits = e.within.is_some() && self.now < until;
        if let Some((expected, seen)) = facts_differ(want, device) {
            return if waits { Poll::Pending } else { broken(expected, seen) };
        }
        let count = |number: u32| u64::from(number);
        self.wait_for_all(
            e,
            until,
            &[
                ("pushes", want.pushes.as_ref(), count(truth.pushes_started)),
                ("pulls", want.pulls.as_ref(), count(truth.pulls_started)),
                ("writes of a URI", want.uri_writes.as_ref(), count(truth.uri_writes)),
                ("blocks", want.blocks.as_ref(), count(truth.blocks_received)),
                (
                    "refused Executes",
                    want.executes_refused.as_ref(),
                    count(truth.executes_refused),
                ),
                ("registrations", want.registrations.as_ref(), count(truth.registrations)),
                (
                    "updates of the registration",
                    want.updates.as_ref(),
                    count(truth.updates),
                ),
                ("resets", want.resets.as_ref(), count(truth.resets)),
                ("Executes of Cancel", want.cancels.as_ref(), count(truth.cancels)),
                ("DTLS handshakes", want.handshakes.as_ref(), count(secure.handshakes)),
                (
                    "refused DTLS handshakes",
                    want.refused_handshakes.as_ref(),
                    count(secure.refused),
                ),
            ],
        )
    }

    /// What the server has told of the device.
    pub(in crate::session) fn judge_tells(&self, e: &Expect, until: Duration) -> Poll {
        let Some(want) = e.tells.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let endpoint = match self.judged_device(e) {
            Ok(device) => &device.config().endpoint,
            Err(poll) => return poll,
        };
        let told = self.tester.told.get(endpoint).copied().unwrap_or_default();
        self.wait_for_all(
            e,
            until,
            &[
                ("registrations told", want.registrations.as_ref(), told.registrations),
                ("updates told", want.updates.as_ref(), told.updates),
                ("notifications told", want.notifications.as_ref(), told.notifications),
            ],
        )
    }

    /// The pair of the device that a step compares with, before its action.
    pub(in crate::session) fn device_before(&self, running: &Running) -> Option<(u8, u8)> {
        let expect = running.step.expect.as_ref()?;
        let device = self.judged_device(&expect.value).ok()?;
        Some((device.truth.state, device.truth.result))
    }
}

fn facts_differ(want: &DeviceFacts, device: &TestDevice) -> Option<(String, String)> {
    let truth = &device.truth;
    if let Some(registered) = want.registered
        && registered != truth.registered
    {
        let told = |yes: bool| match yes {
            true => "registered".to_owned(),
            false => device.unregistered(),
        };
        let wanted = if registered { "registered" } else { "not registered" };
        return Some((wanted.to_owned(), told(truth.registered)));
    }
    if let Some(difference) = secure_differs(want, device) {
        return Some(difference);
    }
    if let Some(code) = want.last_answer {
        let right = match code {
            CodeMatch::None => truth.last_answer.is_none(),
            code => truth.last_answer.is_some_and(|last| code.matches(last.0)),
        };
        if !right {
            let seen = truth
                .last_answer
                .map_or_else(|| "none".to_owned(), |code| code.to_string());
            return Some((format!("{code} from the server"), seen));
        }
    }
    let lacks = |paths: &Many<fotaproof_cases::ast::Path>, has: &dyn Fn(&LwPath) -> bool| {
        paths
            .iter()
            .find(|path| path.0.parse::<LwPath>().is_ok_and(|path| !has(&path)))
            .cloned()
    };
    if let Some(paths) = &want.observed
        && let Some(path) = lacks(paths, &|path| truth.observed.iter().any(|own| path.starts_with(own)))
    {
        let all: Vec<String> = truth.observed.iter().map(ToString::to_string).collect();
        return Some((format!("{path} observed"), format!("observed: {}", all.join(", "))));
    }
    if let Some(paths) = &want.read
        && let Some(path) = lacks(paths, &|path| {
            truth
                .reads
                .keys()
                .chain(truth.observes.keys())
                .any(|own| path.starts_with(own))
        })
    {
        let all: Vec<String> = truth.reads.keys().map(ToString::to_string).collect();
        return Some((format!("{path} read or observed"), format!("read: {}", all.join(", "))));
    }
    None
}

fn secure_differs(want: &DeviceFacts, device: &TestDevice) -> Option<(String, String)> {
    let truth = device.secured.as_ref().map(|secured| &secured.truth);
    let suite = truth.and_then(|truth| truth.suite);
    if let Some(wanted) = want.suite
        && suite != Some(super::credentials::suite_of(wanted))
    {
        let reason = truth.and_then(|truth| truth.reason.clone());
        let seen = suite.map_or_else(
            || reason.unwrap_or_else(|| "no DTLS handshake that ended well".to_owned()),
            |suite| suite.to_string(),
        );
        return Some((format!("cipher suite {wanted}"), seen));
    }
    let given = truth.is_some_and(|truth| truth.connection_id);
    if want.connection_id.is_some_and(|wanted| wanted != given) {
        let told = |given: bool| if given { "a connection id" } else { "no connection id" };
        return Some((format!("{} of the server", told(!given)), told(given).to_owned()));
    }
    None
}

/// What was told of an update, in words.
fn told(progress: &fotaproof_adapter::Progress) -> String {
    let mut text = word(&progress.status);
    if let (Some(state), Some(result)) = (progress.state, progress.result) {
        text.push_str(&format!(", {state}/{result}"));
    }
    if let Some(method) = &progress.method {
        text.push_str(&format!(", by {method}"));
    }
    if let Some(version) = &progress.version {
        text.push_str(&format!(", version {version}"));
    }
    if let Some(reason) = &progress.reason {
        text.push_str(&format!(" ({reason})"));
    }
    text
}

fn progress_matches(want: &ProgressExpect, have: &fotaproof_adapter::Progress) -> bool {
    let state = |wanted: &Many<StateName>| {
        have.state
            .is_some_and(|state| wanted.iter().any(|want| want.0 == state))
    };
    let result = |wanted: &Many<ResultName>| {
        have.result
            .is_some_and(|result| wanted.iter().any(|want| want.0 == result))
    };
    let method = |wanted: UpdateMethod| have.method.as_deref() == Some(wanted.word());
    let version = |wanted: &ValueMatch| have.version.as_ref().is_some_and(|version| wanted.matches(version));
    let percent = |wanted: &ValueMatch| have.percent.is_some_and(|percent| wanted.matches(&percent.to_string()));
    want.state.as_ref().is_none_or(state)
        && want.result.as_ref().is_none_or(result)
        && want.method.is_none_or(method)
        && want.version.as_ref().is_none_or(version)
        && want.percent.as_ref().is_none_or(percent)
}

fn progress_words(want: &ProgressExpect) -> String {
    let mut all = Vec::new();
    all.extend(want.state.as_ref().map(|state| format!("state {}", words(state))));
    all.extend(want.result.as_ref().map(|result| format!("result {}", words(result))));
    all.extend(want.method.map(|method| format!("by {}", method.word())));
    all.extend(want.version.as_ref().map(|version| format!("version {version}")));
    all.extend(want.percent.as_ref().map(|percent| format!("{percent} percent")));
    format!("the server tells {}", all.join(", "))
}
