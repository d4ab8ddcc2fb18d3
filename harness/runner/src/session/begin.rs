//! The beginning of a step: its action is sent, or the harness's side is changed.

use core::time::Duration;

use bytes::Bytes;
use fotaproof_cases::ast::{Cancellation, IutAction, Reset, Step};
use fotaproof_lwm2m::server::{Cancel, Method, OpId, RequestSpec};
use fotaproof_trace::{EventKind, TransferFacts, TransferPhase, TransferWay};
use fotaproof_wire::coap::Code;
use fotaproof_wire::path::LwPath;

use super::answer::sha256;
use super::goals::{Act, Running};
use super::stimuli::Unable;
use super::{IutCommand, Listening, Output, Polling, Session, network, setup};

impl Session {
    /// Begins the action of a step.
    pub(super) fn begin(&mut self, running: &mut Running) -> Result<Act, Unable> {
        let step = running.step.clone();
        let now = self.now;
        if self.is_tester()
            && let Some(act) = self.begin_tester(&step)?
        {
            return Ok(act);
        }
        if let Some(what) = &step.await_ {
            let within = step
                .within
                .as_ref()
                .map_or_else(|| self.span("start", Duration::from_secs(60)), |w| w.value.0);
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
                let op = self
                    .world
                    .server
                    .observe(now, &path, step.accept.map(|format| format.0));
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
            let method = if write.value.partial == Some(true) {
                Method::Post
            } else {
                Method::Put
            };
            return Ok(Act::op(self.world.server.write(
                now,
                &path,
                Some(format),
                &bytes,
                method,
            )));
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
            for (name, value) in [
                ("pmin", a.pmin.map(f64::from)),
                ("pmax", a.pmax.map(f64::from)),
                ("gt", a.gt),
                ("lt", a.lt),
                ("st", a.st),
            ] {
                if let Some(value) = value {
                    words.push(format!("{name}={value}"));
                }
            }
            return Ok(Act::op(self.world.server.write_attributes(
                now,
                &path,
                &words.join("&"),
            )));
        }
        if let Some(act) = self.begin_composite(&step)? {
            return Ok(act);
        }
        if let Some(replay) = &step.replay {
            return self.begin_replay(&replay.value);
        }
        if let Some(burst) = &step.burst {
            return Ok(Act::Burst(Box::new(self.begin_burst(&burst.value)?)));
        }
        if let Some(label) = &step.abort {
            let op = self
                .script
                .labels
                .get(&label.value)
                .and_then(|label| label.op)
                .or(self.script.background)
                .ok_or_else(|| format!("step `{}` has nothing that can be ended", label.value))?;
            self.world.server.cancel(now, op);
            self.facts.answers.remove(&op);
            self.script.background.take_if(|background| *background == op);
            return Ok(Act::Nothing);
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
            return Ok(Act::op(self.world.server.write(
                now,
                &path,
                Some(format),
                &bytes,
                Method::Put,
            )));
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
            return Ok(Act::Wait {
                until: now + wait.value.0,
            });
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
            let role = self.config.case.role.value;
            let rules =
                network::rules(change.rules.as_deref().unwrap_or_default(), now, role).map_err(|e| e.to_string())?;
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
            let paths = poll
                .value
                .paths
                .iter()
                .map(|path| Self::lwm2m_path(&path.0))
                .collect::<Result<Vec<_>, _>>()?;
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

    fn begin_cancel(&mut self, paths: &[fotaproof_cases::ast::Path], by: Cancellation) -> Result<Act, Unable> {
        let mut ops = Vec::new();
        for path in paths {
            let path = Self::lwm2m_path(&path.0)?;
            let op = self
                .facts
                .observations
                .get(&path)
                .copied()
                .ok_or_else(|| format!("{path} is not observed"))?;
            let how = match by {
                Cancellation::Get => Cancel::Get,
                Cancellation::Rst => Cancel::Reset,
            };
            ops.extend(self.world.server.cancel_observation(self.now, op, how));
        }
        Ok(if ops.is_empty() {
            Act::Nothing
        } else {
            Act::Ops { ops, other: false }
        })
    }

    fn begin_request(&mut self, sender: std::net::SocketAddr, mut spec: RequestSpec) -> Result<Act, Unable> {
        if sender == self.config.addresses.server && !self.is_tester() {
            return Ok(Act::op(self.world.server.request(self.now, spec)));
        }
        let to = self
            .facts
            .iut_address
            .ok_or_else(|| "the address of the IUT is not known yet".to_owned())?;
        spec.to = Some(to);
        let other = self
            .world
            .bystanders
            .others
            .get_mut(&sender)
            .ok_or_else(|| "this party cannot send requests".to_owned())?;
        Ok(Act::Ops {
            ops: vec![other.request(self.now, spec)],
            other: true,
        })
    }

    #[expect(clippy::too_many_arguments, reason = "each is a plain fact of the datagram")]
    pub(super) fn begin_datagram(
        &mut self,
        from: std::net::SocketAddr,
        to: Option<std::net::SocketAddr>,
        bytes: Bytes,
        message_id: Option<u16>,
        token: Vec<u8>,
        listen: Duration,
        planned: bool,
    ) -> Result<Act, Unable> {
        let known = self.facts.asked_from.get(&from).copied().or(self.facts.iut_address);
        let Some(to) = to.or(known) else {
            return Err("the address of the IUT is not known yet".to_owned());
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
        Ok(Act::Listen {
            until: self.now + listen,
        })
    }

    fn begin_resend(&mut self, resend: &fotaproof_cases::ast::Resend) -> Result<Act, Unable> {
        let name = &resend.of.value;
        let label = self
            .script
            .labels
            .get(name)
            .ok_or_else(|| format!("no step before is called `{name}`"))?;
        let sent = match resend.block {
            Some(block) => label.sent.iter().find(|sent| sent.block1 == Some(block)),
            None => label.sent.last(),
        };
        let sent = sent
            .cloned()
            .ok_or_else(|| format!("step `{name}` sent no such datagram"))?;
        let view = fotaproof_wire::coap::MessageView::parse(&sent.bytes).map_err(|e| e.to_string())?;
        let (id, token) = (view.message_id(), view.token().to_vec());
        let listen = resend.listen.map_or(Duration::from_secs(5), |span| span.0);
        self.begin_datagram(
            sent.from,
            Some(sent.to),
            sent.bytes.clone(),
            Some(id),
            token,
            listen,
            false,
        )
    }

    fn begin_push(&mut self, running: &mut Running, push: &fotaproof_cases::ast::Push) -> Result<Act, Unable> {
        let now = self.now;
        let background = running.step.background.unwrap_or(false);
        if let Some(of) = push.of.as_ref().filter(|_| push.block.is_none()) {
            let label = self
                .script
                .labels
                .get(&of.value)
                .ok_or_else(|| format!("no step before is called `{}`", of.value))?;
            let op = label.op.ok_or_else(|| format!("step `{}` is no push", of.value))?;
            let stop_after = push
                .stop_after
                .map(|block| block + 1 - push.from.unwrap_or(0).min(block));
            if !self.world.server.resume_push(now, op, push.from, stop_after) {
                return Err(format!("the push `{}` cannot go on", of.value));
            }
            running.op = Some(op);
            return Ok(self.push_act(op, background));
        }
        let mut image = self.package(push.package.as_ref().map(|name| name.value.as_str()))?;
        if let Some(payload) = &push.payload {
            image.bytes = self.payload(payload)?.into();
        }
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
            spec.to = Some(
                self.facts
                    .iut_address
                    .ok_or_else(|| "the address of the IUT is not known yet".to_owned())?,
            );
            let other = self
                .world
                .bystanders
                .others
                .get_mut(&sender)
                .ok_or_else(|| "this party cannot push".to_owned())?;
            other.push(now, spec)
        };
        running.op = Some(op);
        if sender != self.config.addresses.server {
            return Ok(Act::Ops {
                ops: vec![op],
                other: true,
            });
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
        let name = change
            .name
            .as_ref()
            .map_or("main", |name| name.value.as_str())
            .to_owned();
        let faults = change.faults.as_ref().map(|faults| {
            faults
                .iter()
                .filter_map(|fault| setup::fault_of(fault, &self.config))
                .collect::<Vec<_>>()
        });
        let image = match &change.package {
            Some(package) => Some(self.package(Some(&package.value))?),
            None => None,
        };
        let all = setup::repositories(&self.config.case);
        let path = all.get(&name).map(|r| setup::file_key(&setup::file_of(r).0));
        let release = change.release == Some(true);
        let now = self.now;
        let files = match self.world.bystanders.repositories.get_mut(&name) {
            Some(repository) => repository.files(),
            None => self
                .world
                .server
                .files_mut()
                .ok_or_else(|| format!("there is no repository `{name}`"))?,
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
            match self.world.bystanders.repositories.get_mut(&name) {
                Some(repository) => repository.release(now),
                None => self.world.server.release(now),
            };
        }
        Ok(Act::Nothing)
    }
}
