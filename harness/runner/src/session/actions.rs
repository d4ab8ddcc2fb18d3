//! The script: one step after the other, each begun, followed and judged.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_cases::claims;
use fotaproof_cases::ast::{At, Await, Cancellation, IutAction, Reset, Span, Step};
use fotaproof_lwm2m::server::{Cancel, Method, OpId, PushOutcome, RequestSpec};
use fotaproof_trace::{
    Blame, EventKind, Finding, FindingSource, Grade, TransferFacts, TransferPhase, TransferWay, Verdict,
};
use fotaproof_wire::coap::{BlockValue, Code};
use fotaproof_wire::path::LwPath;

use super::answer::{Answer, Back, sha256};
use super::goals::{Act, Phase, Running};
use super::stimuli::Unable;
use super::{Closing, IutCommand, Label, Listening, Output, Polling, Session, network, setup};

impl Session {
    /// A parameter that is a duration.
    pub(super) fn span(&self, name: &str, otherwise: Duration) -> Duration {
        self.config
            .parameters
            .get(name)
            .and_then(|text| text.parse::<Span>().ok())
            .map_or(otherwise, |span| span.0)
    }

    /// Whether the claims of the IUT meet an expression; the loader has looked at its words.
    pub(super) fn claimed(&self, expression: &str) -> bool {
        claims::evaluate(expression, &self.config.claims).unwrap_or(false)
    }

    /// Goes on with the script; true when something changed.
    pub(super) fn advance(&mut self) -> bool {
        if !matches!(self.script.closing, Closing::No) {
            return self.close();
        }
        if self.lost_iut() {
            return true;
        }
        let Some(running) = self.script.running.take() else {
            return self.next_step();
        };
        self.follow(running)
    }

    /// The IUT ended on its own: no step can go on.
    fn lost_iut(&mut self) -> bool {
        let Some(status) = self.facts.iut_lost.take() else { return false };
        let at = self.position();
        let given = self.script.running.as_ref().is_some_and(|r| r.given);
        if self.facts.registrations.is_empty() {
            self.conclude(Verdict::Inconclusive, &format!("the IUT ended before it registered: {status}"));
        } else if given {
            self.conclude(Verdict::Inconclusive, &format!("the IUT ended ({status}) in: {at}"));
        } else {
            let (step, line) = self.script.running.as_ref().map_or((0, 0), |r| (r.index, r.line));
            self.find(Finding {
                source: FindingSource::Expectation { step, line },
                grade: Grade::Must,
                blame: Blame::Iut,
                clauses: self.clauses(None),
                title: format!("the IUT ended ({status}) in the middle of the case"),
                expected: "a running IUT".to_owned(),
                seen: format!("{status}, in: {at}"),
                datagrams: Vec::new(),
                events: vec![self.event_no],
                hint: Some("its last output is in the journal".to_owned()),
            });
        }
        self.finish();
        true
    }

    /// The clauses of an expectation, or those of the case.
    pub(super) fn clauses(&self, own: Option<&Vec<At<String>>>) -> Vec<String> {
        own.unwrap_or(&self.config.case.clauses).iter().map(|clause| clause.value.clone()).collect()
    }

    fn next_step(&mut self) -> bool {
        let case = self.config.case.clone();
        let index = self.script.next;
        let given_count = case.given.len();
        let (given, step) = match case.given.get(index) {
            Some(step) => (true, step),
            None => match case.steps.get(index - given_count) {
                Some(step) => (false, step),
                None => {
                    self.begin_closing();
                    return true;
                }
            },
        };
        self.script.next += 1;
        if let Some(when) = &step.when
            && !self.claimed(&when.value)
        {
            return true;
        }
        let text = fotaproof_cases::steps::step_text(step);
        self.emit(EventKind::StepStarted {
            index,
            line: step.pos.line,
            text: text.clone(),
        });
        let began = self.anchor_now();
        if has_action(step) {
            self.script.anchor = began;
        }
        let mut running = Running::new(index, given, Arc::new(step.value.clone()), step.pos.line, text, began);
        running.anchor = self.script.anchor;
        running.sent_before = self.world.sent.len();
        let reads_before = step.expect.as_ref().is_some_and(|e| super::judge::asks_unchanged(&e.value));
        let reads_version = self.facts.old_version.is_none()
            && !self.facts.registrations.is_empty()
            && setup::asks_for_old_version(&case);
        running.phase = Phase::prelude(reads_before, reads_version);
        self.follow(running)
    }

    /// Goes on with a step; puts it back when it is not over.
    fn follow(&mut self, mut running: Running) -> bool {
        let mut busy = false;
        loop {
            match running.phase {
                Phase::Prelude { .. } => {
                    if !self.prelude(&mut running) {
                        self.script.running = Some(running);
                        return busy;
                    }
                    busy = true;
                    match self.begin(&mut running) {
                        Ok(act) => running.phase = Phase::Act(act),
                        Err(unable) => {
                            self.unable(&running, &unable);
                            return true;
                        }
                    }
                }
                Phase::Act(_) => {
                    if !self.acted(&mut running) {
                        self.script.running = Some(running);
                        return busy;
                    }
                    busy = true;
                    self.label(&mut running);
                    if !self.means_held(&running) {
                        self.step_over(&running, "not held");
                        self.script.stopped = true;
                        self.begin_closing();
                        return true;
                    }
                    running.phase = Phase::Judge(self.judging(&running));
                }
                Phase::Judge(_) => match self.judge(&mut running) {
                    super::judge::Judgement::Pending => {
                        self.script.running = Some(running);
                        return busy;
                    }
                    super::judge::Judgement::Over => {
                        self.step_over(&running, "done");
                        return true;
                    }
                    super::judge::Judgement::Stop => {
                        self.step_over(&running, "not held");
                        self.script.stopped = true;
                        self.begin_closing();
                        return true;
                    }
                },
            }
        }
    }

    fn step_over(&mut self, running: &Running, outcome: &str) {
        self.emit(EventKind::StepEnded {
            index: running.index,
            outcome: outcome.to_owned(),
        });
    }

    /// The case asks for what cannot be done.
    fn unable(&mut self, running: &Running, unable: &Unable) {
        self.find(Finding {
            source: FindingSource::Expectation {
                step: running.index,
                line: running.line,
            },
            grade: Grade::Must,
            blame: Blame::Case,
            clauses: Vec::new(),
            title: format!("the step cannot be carried out: {unable}"),
            expected: running.text.clone(),
            seen: unable.clone(),
            datagrams: Vec::new(),
            events: Vec::new(),
            hint: Some(format!("{} line {}", self.config.file, running.line)),
        });
        self.finish();
    }

    fn label(&mut self, running: &mut Running) {
        let Some(label) = &running.step.label else { return };
        let sent = self.world.sent.iter().skip(running.sent_before.min(self.world.sent.len())).cloned().collect();
        self.script.labels.insert(
            label.value.clone(),
            Label {
                anchor: running.began,
                op: running.op,
                sent,
            },
        );
    }

    /// Begins the action of a step.
    fn begin(&mut self, running: &mut Running) -> Result<Act, Unable> {
        let step = running.step.clone();
        let now = self.now;
        if let Some(what) = &step.await_ {
            let within = step.within.as_ref().map_or_else(|| self.span("start", Duration::from_secs(60)), |w| w.value.0);
            return Ok(Act::Await {
                what: what.value,
                until: now + within,
            });
        }
        if step.await_message.is_some() {
            let within = step.within.as_ref().map_or(Duration::from_secs(60), |w| w.value.0);
            return Ok(Act::AwaitMessage { until: now + within });
        }
        if let Some(path) = &step.read {
            let path = Self::lwm2m_path(&path.value.0)?;
            let accept = step.accept.map(|format| format.0);
            return Ok(Act::op(self.world.server.read(now, &path, accept)));
        }
        if let Some(path) = &step.discover {
            let path = Self::lwm2m_path(&path.value.0)?;
            return Ok(Act::op(self.world.server.discover(now, &path)));
        }
        if let Some(paths) = &step.observe {
            let mut ops = Vec::new();
            for path in paths.value.iter() {
                let path = Self::lwm2m_path(&path.0)?;
                let op = self.world.server.observe(now, &path, step.accept.map(|format| format.0));
                self.facts.observations.insert(path, op);
                ops.push(op);
            }
            return Ok(Act::Ops { ops, other: false });
        }
        if let Some(paths) = &step.cancel_observation {
            return self.begin_cancel(&paths.value, step.by.unwrap_or_default());
        }
        if let Some(write) = &step.write {
            let path = Self::lwm2m_path(&write.value.to.0)?;
            let (format, bytes) = self.write_content(&write.value)?;
            let method = if write.value.partial == Some(true) { Method::Post } else { Method::Put };
            return Ok(Act::op(self.world.server.write(now, &path, Some(format), &bytes, method)));
        }
        if let Some(reset) = &step.reset {
            return Ok(Act::op(match reset.value {
                Reset::Nul => {
                    let path = LwPath::resource(5, 0, 0);
                    self.world.server.write(now, &path, Some(42), &[0], Method::Put)
                }
                Reset::EmptyUri => {
                    let path = LwPath::resource(5, 0, 1);
                    self.world.server.write(now, &path, Some(0), &[], Method::Put)
                }
            }));
        }
        if let Some(path) = &step.execute {
            let path = Self::lwm2m_path(&path.value.0)?;
            let arguments = step.argument.clone().unwrap_or_default();
            return Ok(Act::op(self.world.server.execute(now, &path, &arguments)));
        }
        if let Some(attributes) = &step.attributes {
            let a = &attributes.value;
            let path = Self::lwm2m_path(&a.to.0)?;
            let mut words = Vec::new();
            for (name, value) in [("pmin", a.pmin.map(f64::from)), ("pmax", a.pmax.map(f64::from)), ("gt", a.gt), ("lt", a.lt), ("st", a.st)] {
                if let Some(value) = value {
                    words.push(format!("{name}={value}"));
                }
            }
            return Ok(Act::op(self.world.server.write_attributes(now, &path, &words.join("&"))));
        }
        if let Some(push) = &step.push {
            return self.begin_push(running, &push.value);
        }
        if let Some(pull) = &step.pull {
            let path = match &pull.value.to {
                Some(path) => Self::lwm2m_path(&path.0)?,
                None => LwPath::resource(5, 0, 1),
            };
            let uri = self.pull_uri(&pull.value)?;
            let format = pull.value.format.map_or(0, |format| format.0);
            let value = fotaproof_wire::value::Value::String(uri);
            let bytes = fotaproof_wire::content::encode(format, &path, &[(path, value)])
                .map_err(|error| format!("the URI cannot be written: {error}"))?;
            return Ok(Act::op(self.world.server.write(now, &path, Some(format), &bytes, Method::Put)));
        }
        if let Some(request) = &step.request {
            let spec = self.request_spec(&request.value)?;
            let sender = self.party_address(request.value.sender.as_ref());
            return self.begin_request(sender, spec);
        }
        if let Some(datagram) = &step.datagram {
            let (bytes, message_id, token) = self.raw_datagram(&datagram.value)?;
            let from = self.party_address(datagram.value.sender.as_ref());
            let listen = datagram.value.listen.map_or(Duration::from_secs(5), |span| span.0);
            return self.begin_datagram(from, None, bytes.into(), message_id, token, listen, true);
        }
        if let Some(resend) = &step.resend {
            return self.begin_resend(&resend.value);
        }
        if let Some(wait) = &step.wait {
            return Ok(Act::Wait { until: now + wait.value.0 });
        }
        self.begin_change(&step)
    }

    /// Steps that change the harness's side or the IUT from outside.
    fn begin_change(&mut self, step: &Step) -> Result<Act, Unable> {
        let now = self.now;
        if let Some(change) = &step.network {
            let change = &change.value;
            if change.clear_rules == Some(true) {
                for guard in self.script.guards.drain(..) {
                    self.world.link.remove_rule(guard);
                }
            }
            if let Some(mtu) = change.mtu {
                self.world.link.set_mtu(None, mtu);
            }
            if let Some(oversize) = change.oversize {
                let mut spec = self.world.link.spec().clone();
                spec.oversize = network::oversize_of(oversize);
                self.world.link.set_spec(spec);
            }
            if let Some(span) = change.dead_for {
                self.world.link.set_blackout(None, now + span.0);
            }
            if let Some(dead) = change.dead {
                self.world.link.set_dead(None, dead);
            }
            if change.rebind == Some(true) {
                self.world.link.rebind_nat(now);
            }
            if let Some(both) = &change.both {
                for toward in fotaproof_net::Toward::BOTH {
                    let mut direction = self.world.link.spec().direction(toward).clone();
                    network::impair(&mut direction, both);
                    self.world.link.set_direction(toward, direction);
                }
            }
            let rules = network::rules(change.rules.as_deref().unwrap_or_default(), now).map_err(|e| e.to_string())?;
            for rule in rules {
                self.script.guards.push(self.world.link.add_rule(rule));
            }
            return Ok(Act::Nothing);
        }
        if let Some(change) = &step.repository {
            return self.change_repository(&change.value);
        }
        if let Some(behaviour) = &step.server {
            setup::apply_behaviour(&mut self.world.server, &behaviour.value);
            return Ok(Act::Nothing);
        }
        if let Some(poll) = &step.poll {
            let paths = poll.value.paths.iter().map(|path| Self::lwm2m_path(&path.0)).collect::<Result<Vec<_>, _>>()?;
            self.script.poll = (!paths.is_empty()).then(|| Polling {
                paths,
                every: poll.value.every.map_or(Duration::from_secs(1), |span| span.0),
                next: now,
                ops: Vec::new(),
            });
            return Ok(Act::Nothing);
        }
        if let Some(action) = &step.iut {
            let command = match action.value {
                IutAction::Start => IutCommand::Start,
                IutAction::Stop => IutCommand::Stop,
                IutAction::PowerCut => IutCommand::PowerCut,
                IutAction::Fresh => IutCommand::Fresh,
            };
            if !self.config.controls_iut {
                return Err("nothing is said of how to start and stop this IUT".to_owned());
            }
            self.out.push_back(Output::Iut(command));
            let up = matches!(command, IutCommand::Start | IutCommand::Fresh);
            let limit = self.span("stop", Duration::from_secs(30));
            return Ok(Act::IutState { up, until: now + limit });
        }
        Ok(Act::Nothing)
    }

    fn begin_cancel(
        &mut self,
        paths: &[fotaproof_cases::ast::Path],
        by: Cancellation,
    ) -> Result<Act, Unable> {
        let mut ops = Vec::new();
        for path in paths {
            let path = Self::lwm2m_path(&path.0)?;
            let op = self.facts.observations.get(&path).copied().ok_or_else(|| format!("{path} is not observed"))?;
            let how = match by {
                Cancellation::Get => Cancel::Get,
                Cancellation::Rst => Cancel::Reset,
            };
            ops.extend(self.world.server.cancel_observation(self.now, op, how));
        }
        Ok(if ops.is_empty() { Act::Nothing } else { Act::Ops { ops, other: false } })
    }

    fn begin_request(&mut self, sender: std::net::SocketAddr, mut spec: RequestSpec) -> Result<Act, Unable> {
        if sender == self.config.addresses.server {
            return Ok(Act::op(self.world.server.request(self.now, spec)));
        }
        let to = self.facts.iut_address.ok_or_else(|| "the address of the IUT is not known yet".to_owned())?;
        spec.to = Some(to);
        let other = self.world.others.get_mut(&sender).ok_or_else(|| "this party cannot send requests".to_owned())?;
        Ok(Act::Ops {
            ops: vec![other.request(self.now, spec)],
            other: true,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "each is a plain fact of the datagram")]
    fn begin_datagram(
        &mut self,
        from: std::net::SocketAddr,
        to: Option<std::net::SocketAddr>,
        bytes: Bytes,
        message_id: Option<u16>,
        token: Vec<u8>,
        listen: Duration,
        planned: bool,
    ) -> Result<Act, Unable> {
        let to = match to.or(self.facts.iut_address) {
            Some(to) => to,
            None => return Err("the address of the IUT is not known yet".to_owned()),
        };
        let asked = fotaproof_wire::coap::MessageView::parse(&bytes)
            .ok()
            .filter(|view| view.code() == Code::GET)
            .and_then(|view| Some((to, view.uri_path().parse().ok()?)));
        self.facts.listening = Some(Listening {
            at: from,
            asked,
            message_id,
            token,
            heard: Vec::new(),
        });
        self.world.send_past(self.now, from, to, bytes, planned);
        Ok(Act::Listen { until: self.now + listen })
    }

    fn begin_resend(&mut self, resend: &fotaproof_cases::ast::Resend) -> Result<Act, Unable> {
        let name = &resend.of.value;
        let label = self.script.labels.get(name).ok_or_else(|| format!("no step before is called `{name}`"))?;
        let sent = match resend.block {
            Some(block) => label.sent.iter().find(|sent| sent.block1 == Some(block)),
            None => label.sent.last(),
        };
        let sent = sent.cloned().ok_or_else(|| format!("step `{name}` sent no such datagram"))?;
        let view = fotaproof_wire::coap::MessageView::parse(&sent.bytes).map_err(|e| e.to_string())?;
        let (id, token) = (view.message_id(), view.token().to_vec());
        let listen = resend.listen.map_or(Duration::from_secs(5), |span| span.0);
        self.begin_datagram(sent.from, Some(sent.to), sent.bytes.clone(), Some(id), token, listen, false)
    }

    fn begin_push(&mut self, running: &mut Running, push: &fotaproof_cases::ast::Push) -> Result<Act, Unable> {
        let now = self.now;
        let background = running.step.background.unwrap_or(false);
        if let Some(of) = &push.of {
            let label = self.script.labels.get(&of.value).ok_or_else(|| format!("no step before is called `{}`", of.value))?;
            let op = label.op.ok_or_else(|| format!("step `{}` is no push", of.value))?;
            let stop_after = push.stop_after.map(|block| block + 1 - push.from.unwrap_or(0).min(block));
            if !self.world.server.resume_push(now, op, push.from, stop_after) {
                return Err(format!("the push `{}` cannot go on", of.value));
            }
            running.op = Some(op);
            return Ok(self.push_act(op, background));
        }
        let image = self.package(push.package.as_ref().map(|name| name.value.as_str()))?;
        let mut spec = self.push_spec(push, &image)?;
        self.emit(EventKind::Transfer(TransferFacts {
            phase: TransferPhase::Started,
            way: TransferWay::Push,
            bytes: image.bytes.len() as u64,
            sha256: String::new(),
            expected_sha256: Some(sha256(&image.bytes)),
        }));
        let sender = self.party_address(push.sender.as_ref());
        let op = if sender == self.config.addresses.server {
            self.world.server.push(now, spec)
        } else {
            spec.to = Some(self.facts.iut_address.ok_or_else(|| "the address of the IUT is not known yet".to_owned())?);
            let other = self.world.others.get_mut(&sender).ok_or_else(|| "this party cannot push".to_owned())?;
            other.push(now, spec)
        };
        running.op = Some(op);
        if sender != self.config.addresses.server {
            return Ok(Act::Ops { ops: vec![op], other: true });
        }
        Ok(self.push_act(op, background))
    }

    fn push_act(&mut self, op: OpId, background: bool) -> Act {
        if background {
            self.script.background = Some(op);
            return Act::Nothing;
        }
        Act::op(op)
    }

    fn change_repository(&mut self, change: &fotaproof_cases::ast::RepositoryChange) -> Result<Act, Unable> {
        let name = change.name.as_ref().map_or("main", |name| name.value.as_str()).to_owned();
        let faults = change
            .faults
            .as_ref()
            .map(|faults| faults.iter().filter_map(|fault| setup::fault_of(fault, &self.config)).collect::<Vec<_>>());
        let image = match &change.package {
            Some(package) => Some(self.package(Some(&package.value))?),
            None => None,
        };
        let all = setup::repositories(&self.config.case);
        let path = all.get(&name).map(|r| setup::file_key(&setup::file_of(r).0));
        let release = change.release == Some(true);
        let now = self.now;
        let files = match self.world.repositories.get_mut(&name) {
            Some(repository) => repository.files(),
            None => self.world.server.files_mut().ok_or_else(|| format!("there is no repository `{name}`"))?,
        };
        if release || faults.is_some() {
            files.clear_faults();
        }
        for fault in faults.into_iter().flatten() {
            files.add_fault(fault);
        }
        if let (Some(image), Some(path)) = (image, path) {
            files.set_file(&path, fotaproof_lwm2m::repository::File::new(image.bytes));
        }
        if release {
            match self.world.repositories.get_mut(&name) {
                Some(repository) => repository.release(now),
                None => self.world.server.release(now),
            };
        }
        Ok(Act::Nothing)
    }

    /// Whether the action of a step is over; its answer is then in place.
    fn acted(&mut self, running: &mut Running) -> bool {
        let now = self.now;
        let Phase::Act(act) = &mut running.phase else { return true };
        match act {
            Act::Nothing => true,
            Act::Wait { until } => now >= *until,
            Act::Ops { ops, other } => {
                let answers = if *other { &mut self.facts.other_answers } else { &mut self.facts.answers };
                if running.step.background == Some(true) {
                    self.script.background = ops.last().copied();
                    running.op = ops.last().copied();
                    return true;
                }
                if !ops.iter().all(|op| answers.contains_key(op)) {
                    return false;
                }
                let all: Vec<Answer> = ops.iter().filter_map(|op| answers.remove(op)).collect();
                running.op = running.op.or_else(|| ops.last().copied());
                // the worst of several answers stands for the step
                running.answer = all.iter().find(|answer| !answer.is_success()).or_else(|| all.last()).cloned();
                true
            }
            Act::Listen { until } => {
                let until = *until;
                let Some(listening) = &self.facts.listening else { return true };
                let response = listening.heard.iter().find(|answer| answer.back != Back::EmptyAck);
                let settled = response.is_some_and(|answer| now >= answer.at + Duration::from_millis(500));
                if !settled && now < until {
                    return false;
                }
                let mut answer = listening
                    .heard
                    .iter()
                    .find(|answer| answer.back != Back::EmptyAck)
                    .or_else(|| listening.heard.first())
                    .cloned()
                    .unwrap_or_else(|| Answer::silence(now));
                answer.count = listening.heard.len();
                self.facts.listening = None;
                running.answer = Some(answer);
                true
            }
            Act::Await { what, until } => {
                let (what, until) = (*what, *until);
                if self.has_happened(what, running) {
                    running.awaited = true;
                    return true;
                }
                now >= until
            }
            Act::AwaitMessage { until } => {
                let until = *until;
                let Some(select) = &running.step.await_message else { return true };
                if self.facts.log.matching(running.anchor.log, &select.value, &self.config.addresses).next().is_some() {
                    running.awaited = true;
                    return true;
                }
                now >= until
            }
            Act::IutState { up, until } => {
                if self.facts.iut_running == *up {
                    running.awaited = true;
                    if !*up {
                        // what is sent to a device that is off goes nowhere
                        self.requests_void();
                    }
                    return true;
                }
                now >= *until
            }
        }
    }

    fn has_happened(&mut self, what: Await, running: &mut Running) -> bool {
        let new = running.step.new.unwrap_or(false);
        let since = running.anchor;
        let more = |all: usize, before: usize| if new { all > before } else { all > 0 };
        match what {
            Await::Registration => more(self.facts.registrations.len(), since.registrations),
            Await::Update => more(self.facts.updates.len(), since.updates),
            Await::Deregistration => more(self.facts.deregistrations.len(), since.deregistrations),
            Await::Get => more(self.facts.gets.len(), since.gets),
            Await::Hold => more(self.facts.holds.len(), since.holds),
            Await::Notification => more(self.facts.notifications.len(), since.notifications),
            Await::Send => more(self.facts.sends.len(), since.sends),
            Await::Answer => {
                let Some(op) = self.script.background else { return true };
                match self.facts.answers.remove(&op).or_else(|| self.facts.other_answers.remove(&op)) {
                    Some(answer) => {
                        running.answer = Some(answer);
                        self.script.background = None;
                        true
                    }
                    None => false,
                }
            }
        }
    }

    /// A step without `expect` is a means: when it does not succeed, the case is inconclusive.
    fn means_held(&mut self, running: &Running) -> bool {
        let Phase::Act(act) = &running.phase else { return true };
        let waits = matches!(act, Act::Await { .. } | Act::AwaitMessage { .. } | Act::IutState { .. });
        if waits && !running.awaited {
            let why = match act {
                Act::IutState { up: true, .. } => "the IUT did not start".to_owned(),
                Act::IutState { up: false, .. } => "the IUT did not end".to_owned(),
                _ => format!("this did not happen: {}", running.text),
            };
            self.conclude(Verdict::Inconclusive, &why);
            return false;
        }
        if running.step.expect.is_some() || running.step.background == Some(true) {
            return true;
        }
        match &running.answer {
            Some(answer) if !answer.is_success() => {
                let why = format!("{}: {}", running.text, answer.told());
                let lost = matches!(answer.back, Back::NotSent(_));
                let told = if lost { why } else { format!("the IUT could not be brought to where the question is asked; {why}") };
                self.conclude(Verdict::Inconclusive, &told);
                false
            }
            _ => true,
        }
    }

    /// Requests under way are void: the IUT registered anew or is off.
    pub(super) fn requests_void(&mut self) {
        let mut ops: Vec<OpId> = Vec::new();
        if let Some(poll) = &mut self.script.poll {
            ops.append(&mut poll.ops);
        }
        if let Some(running) = &mut self.script.running {
            ops.extend(running.reads());
        }
        for op in ops {
            if !self.facts.answers.contains_key(&op) {
                self.world.server.cancel(self.now, op);
                let void = Answer::failed(self.now, fotaproof_lwm2m::server::OpFailure::NotRegistered);
                self.facts.answers.insert(op, void);
            }
        }
    }

    /// Reads in the background when they are due.
    pub(super) fn background_poll(&mut self) -> bool {
        let now = self.now;
        let Some(poll) = &mut self.script.poll else { return false };
        let answers = &mut self.facts.answers;
        poll.ops.retain(|op| answers.remove(op).is_none());
        if now < poll.next {
            return false;
        }
        poll.next = now + poll.every;
        if poll.ops.is_empty() && self.facts.iut_running {
            for path in &poll.paths {
                poll.ops.push(self.world.server.read(now, path, None));
            }
        }
        true
    }

    pub(super) fn push_block(&mut self, op: OpId, block: BlockValue, code: Code, answer: Option<BlockValue>) {
        let wanted = self.script.running.as_ref().is_some_and(|running| {
            running.op == Some(op)
                && running.step.expect.as_ref().is_some_and(|expect| super::judge::asks_answers(&expect.value))
        });
        if wanted && let Some(running) = &mut self.script.running {
            running.blocks.push((block, code, answer));
        }
    }

    pub(super) fn push_ended(&mut self, op: OpId, outcome: PushOutcome, other: bool) {
        let (back, told) = match outcome {
            PushOutcome::Complete { code } => (Back::Code(code), "the last block".to_owned()),
            PushOutcome::Scripted { code } => (Back::Code(code), "the last of the blocks sent".to_owned()),
            PushOutcome::Refused { code, block } => (Back::Code(code), format!("block {block}")),
            PushOutcome::Paused { next } => (Back::Code(Code::CONTINUE), format!("paused before block {next}")),
            PushOutcome::Failed { reason, block } => (Answer::failed(self.now, reason).back, format!("block {block}")),
            PushOutcome::TooManyBlocks => {
                let why = "the package has more blocks of this size than can be numbered";
                (Back::NotSent(why.to_owned()), "not begun".to_owned())
            }
        };
        let answer = Answer::pushed(self.now, back, told);
        if other {
            self.facts.other_answers.insert(op, answer);
        } else {
            self.facts.answers.insert(op, answer);
        }
    }

    /// After the last step: the IUT must still answer.
    pub(super) fn begin_closing(&mut self) {
        self.script.poll = None;
        self.script.running = None;
        let wanted = self.config.case.liveness.unwrap_or(true)
            && !self.script.stopped
            && self.facts.iut_running
            && !self.facts.registrations.is_empty();
        self.script.closing = if wanted {
            let op = self.world.server.read(self.now, &LwPath::resource(3, 0, 3), None);
            Closing::Liveness { op, tries: 1 }
        } else {
            Closing::Done
        };
    }

    fn close(&mut self) -> bool {
        match self.script.closing {
            Closing::No => false,
            Closing::Done => {
                self.finish();
                true
            }
            Closing::Liveness { op, tries } => {
                if let Some(status) = self.facts.iut_lost.take() {
                    self.facts.answers.insert(op, Answer::silence(self.now));
                    self.note(format!("the IUT ended: {status}"));
                }
                let Some(answer) = self.facts.answers.remove(&op) else { return false };
                let answered = matches!(answer.back, Back::Code(_));
                if !answered && tries < 3 && self.facts.iut_running {
                    let op = self.world.server.read(self.now, &LwPath::resource(3, 0, 3), None);
                    self.script.closing = Closing::Liveness { op, tries: tries + 1 };
                    return true;
                }
                if !answered && let Some(excuse) = self.excuse() {
                    self.conclude(Verdict::Inconclusive, &format!("no answer at the end of the case; {excuse}"));
                } else if !answered {
                    self.find(Finding {
                        source: FindingSource::Harness,
                        grade: Grade::Must,
                        blame: Blame::Iut,
                        clauses: vec!["oma-core/6.3.1".to_owned()],
                        title: "the IUT no longer answers at the end of the case".to_owned(),
                        expected: "an answer to GET /3/0/3".to_owned(),
                        seen: answer.told(),
                        datagrams: Vec::new(),
                        events: Vec::new(),
                        hint: None,
                    });
                }
                self.finish();
                true
            }
        }
    }
}

/// Whether a step does something.
fn has_action(step: &Step) -> bool {
    let expect_only = Step {
        expect: None,
        when: None,
        label: None,
        ..step.clone()
    };
    expect_only != Step::default()
}
