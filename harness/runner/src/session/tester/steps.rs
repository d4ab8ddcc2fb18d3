//! Steps of cases with a server under test.

use fotaproof_adapter::Operation;
use fotaproof_cases::ast::{DeviceAction, DeviceStep, MessageType, Party, Request, Resent, ServerOp, Step};
use fotaproof_coap as coap;
use fotaproof_lwm2m::device::{ActAnswer, DeviceAct, DeviceInput, Resend};
use fotaproof_lwm2m::server::{RequestSpec, TokenChoice};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::super::Session;
use super::super::answer::{Answer, Back};
use super::super::goals::Act;
use super::super::stimuli::Unable;
use super::adapter::protocol_value;
use super::setup;

impl Session {
    /// Begins a step that only a case with a server under test has; `None` when it is none of these.
    pub(in crate::session) fn begin_tester(&mut self, step: &Step) -> Result<Option<Act>, Unable> {
        if let Some(device) = &step.device {
            self.device_step(&device.value)?;
            // what is true of it now is judged now
            self.device_turn(&Self::device_name(device.name.as_ref()));
            return Ok(Some(Act::Nothing));
        }
        if let Some(update) = &step.update {
            let label = step.label.as_ref().map(|label| label.value.clone());
            return self.begin_update(&update.value, label).map(Some);
        }
        if let Some(control) = &step.update_control {
            return self.control_update(&control.value).map(Some);
        }
        if let Some(action) = &step.iut {
            return self.server_life(action.value).map(Some);
        }
        if let Some(op) = &step.server_op {
            return self.begin_server_op(&op.value).map(Some);
        }
        if let Some(request) = &step.request
            && matches!(request.value.sender, None | Some(Party::Device(_)))
        {
            return self.begin_device_request(&request.value).map(Some);
        }
        if step
            .network
            .as_ref()
            .is_some_and(|change| change.value.rebind == Some(true))
        {
            let now = self.now;
            for device in self.world.devices.values_mut() {
                device.act(now, DeviceAct::Rebind);
            }
        }
        Ok(None)
    }

    fn device_step(&mut self, step: &DeviceStep) -> Result<(), Unable> {
        let name = Self::device_name(step.name.as_ref());
        let now = self.now;
        let mut paths = Vec::new();
        for path in step.path.iter().flat_map(|paths| paths.iter()) {
            paths.push(Self::lwm2m_path(&path.0)?);
        }
        let pair = step.pair.as_ref().and_then(|pair| Some((pair.state, pair.result?)));
        let value = step.value.as_deref().map(|text| self.filled(text)).transpose()?;
        let device = self
            .world
            .devices
            .get_mut(&name)
            .ok_or_else(|| format!("there is no device `{name}`"))?;
        let act = match step.action.value {
            DeviceAction::Start => {
                device.handle(now, DeviceInput::PowerOn);
                return Ok(());
            }
            DeviceAction::Stop => {
                device.handle(now, DeviceInput::Stop);
                return Ok(());
            }
            DeviceAction::PowerCut => match step.lasting {
                Some(time) => DeviceAct::PowerCut { off_for: time.0 },
                None => {
                    device.handle(now, DeviceInput::PowerCut);
                    return Ok(());
                }
            },
            DeviceAction::Reboot => DeviceAct::Reboot,
            DeviceAction::Register => DeviceAct::Register,
            DeviceAction::Update => DeviceAct::Update,
            DeviceAction::Deregister => DeviceAct::Deregister,
            DeviceAction::Rebind => DeviceAct::Rebind,
            DeviceAction::Sleep => DeviceAct::Sleep(
                step.lasting
                    .map_or(core::time::Duration::from_secs(7 * 86_400), |time| time.0),
            ),
            DeviceAction::Wake => DeviceAct::Wake,
            DeviceAction::Notify => {
                if paths.is_empty() {
                    paths.clone_from(&device.truth.observed);
                }
                for path in paths {
                    device.act(
                        now,
                        match &step.token {
                            Some(token) => DeviceAct::NotifyWith {
                                path,
                                token: token.0.clone(),
                                confirmable: step.kind.is_none_or(|kind| kind == MessageType(0)),
                            },
                            None => DeviceAct::Notify(path),
                        },
                    );
                }
                return Ok(());
            }
            DeviceAction::Set => {
                let (Some(path), Some(value)) = (paths.first(), value) else {
                    return Err("`set` needs `path` and `value`".to_owned());
                };
                let value = match value.parse::<i64>() {
                    Ok(number) => Value::Integer(number),
                    Err(_) => Value::String(value),
                };
                DeviceAct::SetValue(*path, value)
            }
            DeviceAction::Pair => {
                let (state, result) = pair.ok_or_else(|| "`pair` needs a pair such as 2/0".to_owned())?;
                DeviceAct::SetPair(state, result)
            }
            DeviceAction::Finish => DeviceAct::Finish {
                result: pair.map_or(1, |(_, result)| result),
            },
            DeviceAction::Resend => DeviceAct::ResendLast(match step.of {
                Some(Resent::Register) => Resend::Register,
                Some(Resent::Update) => Resend::Update,
                Some(Resent::Notification) => Resend::Notification,
                None => return Err("`resend` needs `of`".to_owned()),
            }),
            DeviceAction::Send => DeviceAct::Send(paths),
            DeviceAction::Behave => {
                let all = step.behaviours.iter().flatten().map(|at| &at.value);
                let made = setup::behaviours(all)?;
                device.act(now, DeviceAct::ClearBehaviours);
                // each is put before those that are there
                for behaviour in made.into_iter().rev() {
                    device.act(now, DeviceAct::AddBehaviour(behaviour));
                }
                return Ok(());
            }
        };
        device.act(now, act);
        Ok(())
    }

    fn begin_server_op(&mut self, op: &ServerOp) -> Result<Act, Unable> {
        let instance = self.instance();
        let name = Self::device_name(op.device.as_ref());
        let endpoint = match self.world.devices.get(&name) {
            Some(device) => device.config().endpoint.clone(),
            // a file is offered to no device
            None if op.serve.is_some() => String::new(),
            None => return Err(format!("there is no device `{name}`")),
        };
        let mut about = None;
        let mut observes = None;
        let operation = if let Some(path) = &op.read {
            about = Some(Self::lwm2m_path(&path.0)?);
            Operation::Read {
                instance,
                endpoint,
                path: path.0.clone(),
            }
        } else if let Some(write) = &op.write {
            Operation::Write {
                instance,
                endpoint,
                path: write.to.0.clone(),
                value: protocol_value(&write.value),
            }
        } else if let Some(write) = &op.write_blocks {
            let package = write
                .package
                .as_ref()
                .map_or(super::super::setup::FIRMWARE, |name| name.value.as_str());
            self.package(Some(package))?;
            Operation::WriteBlocks {
                instance,
                endpoint,
                path: write
                    .to
                    .as_ref()
                    .map_or_else(|| "/5/0/0".to_owned(), |path| path.0.clone()),
                file: self.file_of_package(package),
                block: write.block.as_ref().map(|block| block.value),
            }
        } else if let Some(path) = &op.execute {
            Operation::Execute {
                instance,
                endpoint,
                path: path.0.clone(),
                arguments: op.argument.clone(),
            }
        } else if let Some(path) = &op.observe {
            about = Some(Self::lwm2m_path(&path.0)?);
            observes = Some((endpoint.clone(), path.0.clone()));
            Operation::Observe {
                instance,
                endpoint,
                path: path.0.clone(),
            }
        } else if let Some(path) = &op.cancel {
            let observation = self
                .tester
                .observations
                .remove(&(endpoint, path.0.clone()))
                .ok_or_else(|| format!("{path} is not observed"))?;
            Operation::Cancel { instance, observation }
        } else if let Some(path) = &op.discover {
            Operation::Discover {
                instance,
                endpoint,
                path: path.0.clone(),
            }
        } else if let Some(write) = &op.write_attributes {
            let attributes = [
                ("pmin", write.pmin.map(f64::from)),
                ("pmax", write.pmax.map(f64::from)),
                ("gt", write.gt),
                ("lt", write.lt),
                ("st", write.st),
            ];
            Operation::WriteAttributes {
                instance,
                endpoint,
                path: write.to.0.clone(),
                attributes: attributes
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                    .collect(),
            }
        } else if let Some(serve) = &op.serve {
            let package = serve
                .package
                .as_ref()
                .map_or(super::super::setup::FIRMWARE, |name| name.value.as_str());
            self.package(Some(package))?;
            Operation::ServeFile {
                instance,
                file: self.file_of_package(package),
                path: serve.path.clone().unwrap_or_else(|| "/fw/v2.bin".to_owned()),
            }
        } else {
            return Err("the server is told to do nothing".to_owned());
        };
        Ok(self.ask_for_step(operation, about, observes))
    }

    /// A request that a device sends, from the socket of its registration.
    fn begin_device_request(&mut self, request: &Request) -> Result<Act, Unable> {
        let name = match &request.sender {
            Some(Party::Device(name)) => name.clone(),
            _ => fotaproof_cases::devices::MAIN.to_owned(),
        };
        let spec = self.request_spec(request)?;
        let now = self.now;
        self.tester.next_tag += 1;
        let tag = self.tester.next_tag;
        let device = self
            .world
            .devices
            .get_mut(&name)
            .ok_or_else(|| format!("there is no device `{name}`"))?;
        if !device.truth.powered {
            return Err(format!("device {name} is off and cannot send a request"));
        }
        let request = Box::new(coap_request(spec));
        device.act(now, DeviceAct::Request { tag, request });
        Ok(Act::DeviceRequest { tag })
    }

    /// What came of a request of a device.
    pub(super) fn device_answer(&mut self, answer: ActAnswer) {
        let made = match answer.answer {
            Ok(packet) => {
                let code = fotaproof_wire::coap::Code::from(packet.header.code);
                Answer::response(answer.at, code, packet, Vec::<(LwPath, Value)>::new(), None)
            }
            Err(coap::Failure::TimedOut) => Answer::told_by(answer.at, Back::Nothing, Vec::new(), None),
            Err(coap::Failure::Reset) => Answer::told_by(answer.at, Back::Rst, Vec::new(), None),
            Err(other) => Answer::told_by(answer.at, Back::NotSent(other.to_string()), Vec::new(), None),
        };
        self.tester.answers.insert(answer.tag, made);
    }
}

fn coap_request(spec: RequestSpec) -> coap::Request {
    let mut request = coap::Request::confirmable(spec.packet);
    request.confirmable = spec.confirmable;
    request.retransmit = spec.retransmit;
    request.immediate = spec.immediate;
    request.message_id = spec.message_id;
    match spec.token {
        TokenChoice::Fresh => {}
        TokenChoice::Length(length) => request.token_length = Some(length),
        TokenChoice::Fixed(token) => request.token = Some(token),
    }
    request
}
