//! Tasks of campaigns become operations of the server below.

use core::time::Duration;

use bytes::{Bytes, BytesMut};
use fotaproof_wire::coap::Szx;
use fotaproof_wire::path::LwPath;

use super::device::{AWAKE, Known, Work};
use super::host::UpdateServer;
use crate::campaign::{Happening, Task, TaskId, TaskOutcome};
use crate::server::{Cancel, OpId, PushSpec};
use crate::server_defects::{self, ServerDefect};

const PACKAGE: LwPath = LwPath::resource(5, 0, 0);

impl UpdateServer {
    /// Whether a request to the device has to wait for it to wake up (LwM2M Core, queue mode).
    pub(super) fn sleeps(&self, now: Duration, device: &Known) -> bool {
        device.queue_mode && now > device.heard + AWAKE && !self.has(ServerDefect::SendsToSleeper)
    }

    pub(super) fn start_task(&mut self, now: Duration, endpoint: &str, id: TaskId, task: Task) {
        if let Task::CancelTask(other) = task {
            self.stop_task(now, endpoint, other);
            return;
        }
        let Some(device) = self.devices.get(endpoint) else {
            return;
        };
        if self.sleeps(now, device) {
            if let Some(device) = self.devices.get_mut(endpoint) {
                device.held.push_back((id, task));
            }
            return;
        }
        self.aim(endpoint);
        let mut observes = None;
        let mut pushes = false;
        let op = match task {
            Task::Read(path) => self.server.read(now, &path, None),
            Task::Observe(path) => {
                observes = Some(path);
                self.drop_observation(now, endpoint, &path);
                self.server.observe(now, &path, None)
            }
            Task::CancelObservation(path) => {
                let op = self
                    .devices
                    .get(endpoint)
                    .and_then(|device| device.observations.get(&path));
                match op
                    .copied()
                    .and_then(|op| self.server.cancel_observation(now, op, Cancel::Get))
                {
                    Some(op) => op,
                    None => return self.task_failed(now, endpoint, id, "nothing is observed there"),
                }
            }
            Task::Write { path, value } => match self.server.write_value(now, &path, &value) {
                Ok(op) => op,
                Err(error) => return self.task_failed(now, endpoint, id, &error.to_string()),
            },
            Task::Push { block } => {
                pushes = true;
                match self.start_push(now, endpoint, block) {
                    Some(op) => op,
                    // A defect: nothing goes out and nothing comes back.
                    None => return,
                }
            }
            Task::Execute(path) => self.server.execute(now, &path, ""),
            Task::CancelTask(_) => return,
        };
        self.work.insert(
            op,
            Work::Task {
                endpoint: endpoint.to_owned(),
                task: id,
                observes,
                pushes,
            },
        );
    }

    /// Requests go to this device from now on.
    pub(super) fn aim(&mut self, endpoint: &str) {
        let pinned = self.devices.get(endpoint).and_then(|device| device.pinned);
        self.server.set_device(endpoint);
        self.server.set_device_address(pinned);
    }

    fn task_failed(&mut self, now: Duration, endpoint: &str, task: TaskId, reason: &str) {
        let outcome = TaskOutcome::Failed(reason.to_owned());
        self.happened(now, endpoint, Happening::Done { task, outcome });
    }

    fn start_push(&mut self, now: Duration, endpoint: &str, block: Option<u16>) -> Option<OpId> {
        let device = self.devices.get_mut(endpoint)?;
        if device.blocked {
            return None;
        }
        device.percent = 0;
        let body = device.update.as_ref()?.campaign.spec().package.clone();
        let szx = block
            .and_then(|block| Szx::from_size(usize::from(block)))
            .unwrap_or(self.config.szx);
        let spec = self.push_spec(endpoint, PACKAGE, body, szx);
        Some(self.server.push(now, spec))
    }

    /// The push of this server.
    pub(super) fn push_spec(&self, endpoint: &str, path: LwPath, body: Bytes, szx: Szx) -> PushSpec {
        let body = if self.has(ServerDefect::BodiesSwapped) {
            self.swapped(endpoint, &body, szx).unwrap_or(body)
        } else {
            body
        };
        PushSpec {
            szx,
            retry_busy: true,
            follow_hint: !self.has(ServerDefect::FinalAt413),
            busy_interval: self.has(ServerDefect::Hammer503).then_some(Duration::from_millis(50)),
            quirks: server_defects::send_quirks(&self.config.defects),
            ..PushSpec::new(path, body)
        }
    }

    /// A defect: the second block of this body comes from the body of another push that runs.
    fn swapped(&self, endpoint: &str, body: &Bytes, szx: Szx) -> Option<Bytes> {
        let other = self.work.iter().find_map(|(op, work)| match work {
            Work::Task {
                endpoint: other,
                pushes: true,
                ..
            } if other != endpoint && self.server.is_running(*op) => self.devices.get(other)?.update.as_ref(),
            _ => None,
        })?;
        let range = szx.size()..2 * szx.size();
        let theirs = other.campaign.spec().package.get(range.clone())?;
        let mut mixed = BytesMut::from(body.as_ref());
        mixed.get_mut(range)?.copy_from_slice(theirs);
        Some(mixed.freeze())
    }

    fn stop_task(&mut self, now: Duration, endpoint: &str, id: TaskId) {
        if let Some(device) = self.devices.get_mut(endpoint) {
            device.held.retain(|(held, _)| *held != id);
        }
        let op = self.work.iter().find_map(|(op, work)| match work {
            Work::Task {
                endpoint: owner, task, ..
            } if owner == endpoint && *task == id => Some(*op),
            _ => None,
        });
        if let Some(op) = op {
            let stopped = self.work.remove(&op);
            if matches!(stopped, Some(Work::Task { pushes: true, .. })) {
                self.push_over(endpoint, op, false);
            } else {
                self.server.cancel(now, op);
            }
        }
    }

    /// A push ended.
    pub(super) fn push_over(&mut self, endpoint: &str, op: OpId, complete: bool) {
        self.server.forget_push(op);
        let blocks = self.has(ServerDefect::CannotRestart) && !complete;
        if let Some(device) = self.devices.get_mut(endpoint) {
            device.blocked |= blocks;
        }
    }

    /// Forgets an observation of a campaign; a new one takes its place.
    pub(super) fn drop_observation(&mut self, now: Duration, endpoint: &str, path: &LwPath) {
        let old = self
            .devices
            .get_mut(endpoint)
            .and_then(|device| device.observations.remove(path));
        if let Some(old) = old {
            self.watchers.remove(&old);
            self.server.cancel(now, old);
        }
    }

    /// The device said something: what waited for it goes out.
    pub(super) fn heard(&mut self, now: Duration, endpoint: &str) {
        let Some(device) = self.devices.get_mut(endpoint) else {
            return;
        };
        device.heard = now;
        if device.held.is_empty() && device.held_requests.is_empty() {
            return;
        }
        let held = core::mem::take(&mut device.held);
        let requests = core::mem::take(&mut device.held_requests);
        for (id, task) in held {
            self.start_task(now, endpoint, id, task);
        }
        for (request, file) in requests {
            self.library_request(now, request, &mut |_| file.clone());
        }
    }
}
