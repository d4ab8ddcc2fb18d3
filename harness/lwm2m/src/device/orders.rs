//! Carries out the orders of a tester.

use core::time::Duration;

use coap_lite::Packet;
use fotaproof_coap::{ExchangeId, Failure, Observer, Request, Token};
use fotaproof_wire::coap::{Code, build, content_format};
use fotaproof_wire::{LwPath, Value};

use super::act::{ActAnswer, DeviceAct, Resend};
use super::register::request;
use super::script::Met;
use super::{Answer, Device};
use crate::firmware::{Firmware, State, Trigger, UpdateResult};

const STATE: LwPath = LwPath::resource(5, 0, 3);
const RESULT: LwPath = LwPath::resource(5, 0, 5);

impl Device {
    pub(super) fn act(&mut self, now: Duration, act: DeviceAct) {
        match act {
            DeviceAct::SetValue(path, value) => {
                self.shown.insert(path, value);
                self.ram.observe.mark_dirty();
            }
            DeviceAct::UnsetValue(path) => {
                self.shown.remove(&path);
                self.ram.observe.mark_dirty();
            }
            DeviceAct::SetPair(state, result) => self.set_pair(now, state, result),
            DeviceAct::AddBehaviour(behaviour) => self.behaviours.insert(0, Met::new(behaviour)),
            DeviceAct::ClearBehaviours => self.behaviours.clear(),
            act if self.is_listening() => self.act_on_air(now, act),
            act => self.log(format!("the device is off: {act:?} is left")),
        }
    }

    /// Orders that need a device that runs.
    fn act_on_air(&mut self, now: Duration, act: DeviceAct) {
        match act {
            DeviceAct::Register => self.register(now),
            DeviceAct::Update if self.ram.registration.is_registered() => self.refresh_registration(now, false),
            DeviceAct::Update => self.log("not registered: no Update"),
            DeviceAct::Deregister if self.ram.registration.is_registered() => {
                self.deregister(now);
            }
            DeviceAct::Deregister => self.log("not registered: no De-register"),
            DeviceAct::Rebind => self.rebind(),
            DeviceAct::Sleep(for_) => self.sleep(now, for_),
            DeviceAct::Wake => self.wake(now),
            DeviceAct::Reboot => self.reboot(now),
            DeviceAct::PowerCut { off_for } => self.power_cut_for(now, off_for),
            DeviceAct::Notify(path) => self.notify_at(now, &path),
            DeviceAct::NotifyWith {
                path,
                token,
                confirmable,
            } => self.notify_with(now, &path, &token, confirmable),
            DeviceAct::ResendLast(what) => {
                let known = self.ram.script.last.get(&what).copied();
                if !known.is_some_and(|exchange| self.ram.endpoint.resend(now, exchange)) {
                    self.log(format!("no {what:?} to send again"));
                }
            }
            DeviceAct::Finish { result } => self.finish(now, result),
            DeviceAct::Send(paths) => self.send_values(now, &paths),
            DeviceAct::Request { tag, request } => {
                let exchange = self.ram.endpoint.request(now, self.config.server, *request);
                self.ram.script.requests.push((tag, exchange));
                self.ram.script.last.insert(Resend::Request, exchange);
            }
            DeviceAct::Raw(bytes) => self.ram.endpoint.send_raw(self.config.server, bytes),
            _ => {}
        }
    }

    /// Whether the exchange was a request of the tester.
    pub(super) fn on_tester_answer(
        &mut self,
        now: Duration,
        exchange: ExchangeId,
        answer: Result<&Packet, Failure>,
    ) -> bool {
        let requests = &mut self.ram.script.requests;
        let Some(index) = requests.iter().position(|(_, known)| *known == exchange) else {
            return false;
        };
        let (tag, _) = requests.remove(index);
        let answer = answer.cloned();
        self.answers.push_back(ActAnswer { tag, at: now, answer });
        true
    }

    fn set_pair(&mut self, now: Duration, state: u8, result: u8) {
        self.halt_update();
        match pair_of(state, result) {
            Some(pair) => {
                self.shown.remove(&STATE);
                self.shown.remove(&RESULT);
                self.set_firmware(now, pair);
                if pair.state == State::Idle {
                    self.flash.erase();
                }
            }
            None => {
                self.shown.insert(STATE, Value::Integer(state.into()));
                self.shown.insert(RESULT, Value::Integer(result.into()));
                self.ram.observe.mark_dirty();
            }
        }
    }

    fn finish(&mut self, now: Duration, result: u8) {
        let state = self.flash.firmware.state;
        match UpdateResult::from_value(result.into()) {
            Some(UpdateResult::Success) if matches!(state, State::Downloaded | State::Updating) => {
                self.halt_update();
                self.install_now(now);
            }
            Some(UpdateResult::Failed) if state == State::Updating => {
                self.halt_update();
                let _ = self.transition(now, Trigger::InstallFailed);
            }
            Some(UpdateResult::Deferred) => self.set_pair(now, 2, result),
            Some(ended) if state == State::Downloading => self.fail_download(now, ended),
            _ => self.set_pair(now, 0, result),
        }
    }

    /// A notification with a token that may be nobody's.
    fn notify_with(&mut self, now: Duration, path: &LwPath, token: &[u8], confirmable: bool) {
        let Some(token) = Token::new(token) else {
            return self.log(format!("a token has at most 8 bytes, not {}", token.len()));
        };
        let answer = Answer {
            observe: Some(1),
            ..self.read(now, path, None)
        };
        let observer = Observer {
            peer: self.config.server,
            token,
        };
        let exchange = self.ram.endpoint.notify(now, &observer, answer.packet(), confirmable);
        self.ram.script.last.insert(Resend::Notification, exchange);
    }

    /// A Send (LwM2M Core 1.1, 6.4.4): a POST to /dp in SenML CBOR.
    pub(super) fn send_values(&mut self, now: Duration, paths: &[LwPath]) {
        let answer = self.read_composite(now, paths, content_format::SENML_CBOR);
        if answer.code != Code::CONTENT || !self.ram.registration.is_registered() {
            return self.log("nothing to send, or nobody to send it to");
        }
        let mut packet = request(Code::POST, &[b"dp".to_vec()]);
        build::set_content_format(&mut packet, content_format::SENML_CBOR);
        packet.payload = answer.payload;
        self.ram
            .endpoint
            .request(now, self.config.server, Request::confirmable(packet));
    }

    /// Tells a changed pair with Send.
    pub(super) fn send_change(&mut self, now: Duration) {
        let pair = self.shown_pair();
        if self.ram.registration.is_registered() && self.sent_pair != Some(pair) {
            self.sent_pair = Some(pair);
            self.send_values(now, &[STATE, RESULT]);
        }
    }
}

/// A pair that object 5 knows.
pub(super) fn pair_of(state: u8, result: u8) -> Option<Firmware> {
    Some(Firmware::new(
        State::from_value(state.into())?,
        UpdateResult::from_value(result.into())?,
    ))
}
