//! What the server below tells.

use core::net::SocketAddr;
use core::time::Duration;

use coap_lite::Packet;
use fotaproof_adapter as adapter;
use fotaproof_wire::coap::{Code, build, content_format};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::device::{Watcher, Work};
use super::host::UpdateServer;
use crate::campaign::{Happening, TaskOutcome, value_to_adapter};
use crate::registration::Registration;
use crate::server::{OpFailure, OpId, PushOutcome, ServerEvent};
use crate::server_defects::ServerDefect;

impl UpdateServer {
    pub(super) fn take(&mut self, now: Duration, event: ServerEvent) {
        match event {
            ServerEvent::Registered(registration) => self.registered(now, &registration),
            ServerEvent::Updated(registration) => self.updated(now, &registration),
            ServerEvent::Deregistered(registration) => self.ended(now, &registration, false),
            ServerEvent::Expired(registration) => self.ended(now, &registration, true),
            ServerEvent::Response {
                op,
                path,
                code,
                packet,
                values,
                ..
            } => self.answered(now, op, &path, code, &packet, values),
            ServerEvent::Failed { op, reason, .. } => self.unanswered(now, op, reason),
            ServerEvent::PushBlock { op, .. } => self.block_taken(now, op),
            ServerEvent::PushEnded { op, outcome } => self.push_ended(now, op, outcome),
            ServerEvent::Notification {
                op,
                path,
                from,
                code,
                packet,
                fresh,
                values,
                ..
            } => self.notified(now, op, from, &path, code, &packet, fresh, values),
            ServerEvent::Sent {
                endpoint: Some(endpoint),
                values,
                ..
            } => self.sent(now, &endpoint, values),
            ServerEvent::ObservationEnded { op } => {
                self.watchers.remove(&op);
            }
            ServerEvent::DuplicateResponse { op, .. } => {
                if let Some(Work::Task { endpoint, .. }) = self.work.get(&op).cloned() {
                    self.happened(now, &endpoint, Happening::LateAnswer);
                }
            }
            ServerEvent::Unmatched { from, packet } => self.unmatched(now, from, &packet),
            _ => {}
        }
    }

    fn registered(&mut self, now: Duration, registration: &Registration) {
        let endpoint = registration.endpoint.clone();
        let keep_old = self.has(ServerDefect::OldAddress);
        let device = self.devices.entry(endpoint.clone()).or_default();
        if keep_old && let Some(old) = device.address {
            device.pinned.get_or_insert(old);
        }
        device.address = Some(registration.address);
        device.queue_mode = registration.queue;
        let observed = core::mem::take(&mut device.observations);
        observed.values().for_each(|op| {
            self.watchers.remove(op);
        });
        self.tell_registered(registration);
        let answered: Vec<u64> = self
            .awaited
            .extract_if(.., |awaited| awaited.endpoint == endpoint)
            .map(|awaited| awaited.id)
            .collect();
        for id in answered {
            self.reply_registration(id, registration);
        }
        let happening = Happening::Registered {
            object5: registration.has_object(5).then(|| registration.versions().object(5)),
            lwm2m: registration.lwm2m,
            binding: registration.binding.clone(),
            address: registration.address.to_string(),
        };
        // What waited for the old registration is void; the campaign plans anew.
        self.forget_held(&endpoint);
        self.heard(now, &endpoint);
        self.happened(now, &endpoint, happening);
    }

    fn forget_held(&mut self, endpoint: &str) {
        if let Some(device) = self.devices.get_mut(endpoint) {
            device.held.clear();
        }
    }

    fn updated(&mut self, now: Duration, registration: &Registration) {
        let endpoint = registration.endpoint.clone();
        let keep_old = self.has(ServerDefect::OldMapping);
        let device = self.devices.entry(endpoint.clone()).or_default();
        let before = device.address.replace(registration.address);
        device.queue_mode = registration.queue;
        let mut address = registration.address;
        if before.is_some_and(|before| before != address) {
            if keep_old {
                device.pinned = device.pinned.or(before);
                address = device.pinned.unwrap_or(address);
            } else {
                let paths: Vec<LwPath> = device.observations.keys().copied().collect();
                for path in paths {
                    self.drop_observation(now, &endpoint, &path);
                }
            }
        }
        let event = adapter::Event::Updated {
            instance: self.instance_name(),
            endpoint: endpoint.clone(),
            registration: describe(registration),
        };
        self.tell(event);
        self.heard(now, &endpoint);
        let address = address.to_string();
        self.happened(now, &endpoint, Happening::Updated { address });
    }

    fn ended(&mut self, now: Duration, registration: &Registration, expired: bool) {
        let event = adapter::Event::Deregistered {
            instance: self.instance_name(),
            endpoint: registration.endpoint.clone(),
            expired,
        };
        self.tell(event);
        let held = self
            .devices
            .get_mut(&registration.endpoint)
            .map(|device| core::mem::take(&mut device.held_requests));
        for (request, _) in held.into_iter().flatten() {
            let message = format!("{} is not registered any more", registration.endpoint);
            self.refuse(request.id, adapter::ErrorKind::NotRegistered, message);
        }
        let happening = if expired {
            Happening::Expired
        } else {
            Happening::Deregistered
        };
        self.happened(now, &registration.endpoint, happening);
    }

    fn answered(
        &mut self,
        now: Duration,
        op: OpId,
        path: &LwPath,
        code: Code,
        packet: &Packet,
        values: Vec<(LwPath, Value)>,
    ) {
        match self.work.remove(&op) {
            Some(Work::Task {
                endpoint,
                task,
                observes,
                ..
            }) => {
                self.heard(now, &endpoint);
                if let Some(path) = observes.filter(|_| code.is_success()) {
                    self.watch(op, &endpoint, path, None);
                }
                let outcome = TaskOutcome::Code { code, values };
                self.happened(now, &endpoint, Happening::Done { task, outcome });
            }
            Some(Work::Request { id, endpoint, observes }) => {
                self.heard(now, &endpoint);
                let mut answer = adapter::Answer {
                    response: Some(response(path, code, packet, values)),
                    ..adapter::Answer::default()
                };
                if observes && code.is_success() {
                    let name = format!("o{}", op.0);
                    answer.observation = Some(name.clone());
                    self.watch(op, &endpoint, *path, Some(name));
                }
                self.answer(id, answer);
            }
            None => {}
        }
    }

    fn watch(&mut self, op: OpId, endpoint: &str, path: LwPath, name: Option<String>) {
        if name.is_none()
            && let Some(device) = self.devices.get_mut(endpoint)
        {
            device.observations.insert(path, op);
        }
        self.watchers.insert(
            op,
            Watcher {
                endpoint: endpoint.to_owned(),
                path,
                name,
            },
        );
    }

    fn unanswered(&mut self, now: Duration, op: OpId, reason: OpFailure) {
        match self.work.remove(&op) {
            Some(Work::Task { endpoint, task, .. }) => {
                let outcome = outcome(reason);
                self.happened(now, &endpoint, Happening::Done { task, outcome });
            }
            Some(Work::Request { id, .. }) => self.refuse_for(id, reason),
            None => {}
        }
    }

    pub(super) fn refuse_for(&mut self, id: u64, reason: OpFailure) {
        let kind = match reason {
            OpFailure::TimedOut | OpFailure::Superseded => adapter::ErrorKind::Timeout,
            OpFailure::NotRegistered => adapter::ErrorKind::NotRegistered,
            OpFailure::Reset | OpFailure::Unencodable | OpFailure::Cancelled => adapter::ErrorKind::Failed,
        };
        self.refuse(id, kind, reason.to_string());
    }

    fn block_taken(&mut self, now: Duration, op: OpId) {
        let Some(Work::Task { endpoint, .. } | Work::Request { endpoint, .. }) = self.work.get(&op) else {
            return;
        };
        let endpoint = endpoint.clone();
        self.heard(now, &endpoint);
        if self.has(ServerDefect::NstartIgnored) {
            // nobody waits for the answer
            self.aim(&endpoint);
            self.server.read(now, &LwPath::resource(5, 0, 3), None);
        }
        let Some((sent, total)) = self.server.push_progress(op) else {
            return;
        };
        let percent = u8::try_from(sent * 100 / total.max(1)).unwrap_or(100);
        let Some(device) = self.devices.get_mut(&endpoint) else {
            return;
        };
        if percent != device.percent && percent < 100 {
            device.percent = percent;
            self.happened(now, &endpoint, Happening::PushProgress { percent });
        }
    }

    fn push_ended(&mut self, now: Duration, op: OpId, ended: PushOutcome) {
        let complete = matches!(ended, PushOutcome::Complete { .. });
        match self.work.remove(&op) {
            Some(Work::Task { endpoint, task, .. }) => {
                self.push_over(&endpoint, op, complete);
                let outcome = match ended {
                    PushOutcome::Complete { code }
                    | PushOutcome::Scripted { code }
                    | PushOutcome::Refused { code, .. } => TaskOutcome::code(code),
                    PushOutcome::Failed { reason, .. } => outcome(reason),
                    PushOutcome::Paused { .. } => TaskOutcome::Failed("the push pauses".to_owned()),
                    PushOutcome::TooManyBlocks => TaskOutcome::Failed("the package has too many blocks".to_owned()),
                };
                self.happened(now, &endpoint, Happening::Done { task, outcome });
            }
            Some(Work::Request { id, endpoint, .. }) => {
                self.push_over(&endpoint, op, complete);
                match ended {
                    PushOutcome::Complete { code }
                    | PushOutcome::Scripted { code }
                    | PushOutcome::Refused { code, .. } => {
                        let response = adapter::Response {
                            code: code.to_string(),
                            ..adapter::Response::default()
                        };
                        let answer = adapter::Answer {
                            response: Some(response),
                            ..adapter::Answer::default()
                        };
                        self.answer(id, answer);
                    }
                    PushOutcome::Failed { reason, .. } => self.refuse_for(id, reason),
                    PushOutcome::Paused { .. } | PushOutcome::TooManyBlocks => {
                        let message = "the package has too many blocks of this size".to_owned();
                        self.refuse(id, adapter::ErrorKind::Failed, message);
                    }
                }
            }
            None => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a notification")]
    fn notified(
        &mut self,
        now: Duration,
        op: OpId,
        from: SocketAddr,
        path: &LwPath,
        code: Code,
        packet: &Packet,
        fresh: bool,
        values: Vec<(LwPath, Value)>,
    ) {
        let Some(watcher) = self.watchers.get(&op).cloned() else {
            return;
        };
        self.heard(now, &watcher.endpoint);
        if !fresh {
            return;
        }
        match watcher.name {
            Some(observation) => {
                let event = adapter::Event::Notification {
                    instance: self.instance_name(),
                    endpoint: watcher.endpoint,
                    observation,
                    path: watcher.path.to_string(),
                    response: response(path, code, packet, values),
                };
                if self.has(ServerDefect::NotificationTwice) {
                    self.last_notified = Some((from, packet.header.message_id, event.clone()));
                }
                self.tell(event);
            }
            None => {
                for (path, value) in values {
                    self.happened(now, &watcher.endpoint, Happening::Value { path, value });
                }
            }
        }
    }

    fn sent(&mut self, now: Duration, endpoint: &str, values: Vec<(LwPath, Value)>) {
        self.heard(now, endpoint);
        let event = adapter::Event::Send {
            instance: self.instance_name(),
            endpoint: endpoint.to_owned(),
            values: values
                .iter()
                .map(|(path, value)| (path.to_string(), value_to_adapter(value)))
                .collect(),
        };
        self.tell(event);
        for (path, value) in values {
            self.happened(now, endpoint, Happening::Value { path, value });
        }
    }

    /// A message that belongs to nothing. A rejected notification is of no consequence, unless a defect says so (RFC 7641, 4.2).
    fn unmatched(&mut self, now: Duration, from: SocketAddr, packet: &Packet) {
        if build::observe(packet).is_none() || !self.has(ServerDefect::NatNotifyFatal) {
            return;
        }
        let by_token = self.server.observations().find_map(|(op, _, observer)| {
            (observer.token.as_slice() == packet.get_token()).then(|| self.watchers.get(&op))?
        });
        let endpoint = by_token.map(|watcher| watcher.endpoint.clone()).or_else(|| {
            let registration = self.server.registrations().at(from);
            registration.map(|registration| registration.endpoint.clone())
        });
        if let Some(endpoint) = endpoint {
            self.happened(now, &endpoint, Happening::NotificationRejected);
        }
    }

    fn tell_registered(&mut self, registration: &Registration) {
        let event = adapter::Event::Registered {
            instance: self.instance_name(),
            endpoint: registration.endpoint.clone(),
            registration: describe(registration),
        };
        self.tell(event);
    }
}

fn outcome(reason: OpFailure) -> TaskOutcome {
    match reason {
        OpFailure::TimedOut => TaskOutcome::Timeout,
        OpFailure::Reset => TaskOutcome::Reset,
        OpFailure::NotRegistered | OpFailure::Superseded | OpFailure::Cancelled => TaskOutcome::Superseded,
        OpFailure::Unencodable => TaskOutcome::Failed(reason.to_string()),
    }
}

/// A registration in the words of the protocol.
pub(super) fn describe(registration: &Registration) -> adapter::Registration {
    adapter::Registration {
        address: registration.address.to_string(),
        lifetime: u64::from(registration.lifetime),
        lwm2m: registration.lwm2m.to_string(),
        binding: registration.binding.clone(),
        links: fotaproof_wire::link_format::encode(&registration.objects),
    }
}

/// An answer in the words of the protocol.
fn response(path: &LwPath, code: Code, packet: &Packet, values: Vec<(LwPath, Value)>) -> adapter::Response {
    let text = match build::content_format(packet) {
        Some(content_format::TEXT | content_format::LINK_FORMAT) | None if !packet.payload.is_empty() => {
            Some(String::from_utf8_lossy(&packet.payload).into_owned())
        }
        _ => None,
    };
    let mut values = values;
    let value = match values.as_slice() {
        [(at, value)] if at == path => {
            let value = value_to_adapter(value);
            values.clear();
            Some(value)
        }
        _ => None,
    };
    adapter::Response {
        code: code.to_string(),
        value,
        values: values
            .iter()
            .map(|(path, value)| (path.to_string(), value_to_adapter(value)))
            .collect(),
        text,
    }
}
