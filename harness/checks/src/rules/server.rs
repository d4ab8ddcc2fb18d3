//! push-continues, execute-when-downloaded and registered-address: what only an IUT that is a server can do wrong.
//!
//! What the server may know of a device is what reached it: registrations that it accepted, and values that answers, notifications and
//! Sends told it.

use crate::catalogue::{EXECUTE_WHEN_DOWNLOADED, PUSH_CONTINUES, REGISTERED_ADDRESS};
use crate::context::{Message, Request};
use crate::facts::Target;
use crate::report::{Broken, Ref, Report};
use crate::rules::firmware::decode;
use core::time::Duration;
use fotaproof_trace::Grade;
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code, MessageView, option, summary_of};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const DOWNLOADED: u8 = 2;

/// Devices and pushes remembered at a time; beyond, nothing is judged of new ones.
const BOUND: usize = 1 << 16;

/// What the server was told of State since it last did something that changes it.
#[derive(Clone, Copy, Debug, Default)]
enum Told {
    /// Nothing.
    #[default]
    Nothing,
    /// This State, by this message.
    State(u8, Ref),
    /// Something that could not be read.
    Unsure,
}

/// A device by its endpoint name, or by its address where it gave none.
#[derive(Clone, Debug)]
struct Device {
    address: SocketAddr,
    location: Vec<u8>,
    /// The lifetime is over then, without an Update.
    until: Option<Duration>,
    lifetime: Option<Duration>,
    state: Told,
    /// The message that made the server forget it, or trigger it.
    since: Ref,
}

/// A request of a device that the server has not answered yet.
#[derive(Clone, Debug)]
struct Asked {
    name: Vec<u8>,
    lifetime: Option<Duration>,
    location: Vec<u8>,
}

/// An address that was a device's.
#[derive(Clone, Copy, Debug)]
struct Gone {
    at: Duration,
    here: Ref,
    why: &'static str,
}

/// A push under way.
#[derive(Clone, Copy, Debug)]
struct Push {
    last: BlockValue,
    last_ref: Ref,
    /// The end of the last block that was acknowledged by 2.31.
    acknowledged: Option<u64>,
    /// The device answered otherwise, or on purpose oddly.
    unsure: bool,
}

/// The memory of these rules.
#[derive(Debug, Default)]
pub(crate) struct Server {
    asked: BTreeMap<(u32, u16), Asked>,
    devices: BTreeMap<Vec<u8>, Device>,
    by_address: BTreeMap<SocketAddr, Vec<u8>>,
    gone: BTreeMap<SocketAddr, Gone>,
    pushes: BTreeMap<(u32, u64), Push>,
}

impl Server {
    pub(crate) fn on_message(&mut self, message: &Message<'_>, report: &mut Report) {
        if message.outgoing {
            if message.code.is_request() {
                if message.is_first() {
                    self.address(message, report);
                    self.execute(message, report);
                    self.push(message, report);
                }
            } else if message.is_response() {
                self.accepted(message);
            }
        } else if message.code.is_request() {
            if message.is_first() {
                self.asks(message);
            }
        } else if message.is_response() {
            self.told(message);
            self.push_answered(message);
        }
    }

    /// A Register, Update, De-register or Send reaches the server.
    fn asks(&mut self, message: &Message<'_>) {
        let registers = message.code == Code::POST && message.facts.target == Target::Register;
        let about = message.facts.target == Target::Registration && matches!(message.code, Code::POST | Code::DELETE);
        if message.code == Code::POST && message.facts.target == Target::Send {
            if message.facts.block1.is_some() {
                self.learn(message.peer, Told::Unsure);
            } else {
                self.learn_from(message, &LwPath::ROOT);
            }
            return;
        }
        if (!registers && !about) || self.asked.len() >= BOUND {
            return;
        }
        let mut asked = Asked {
            name: message.peer.to_string().into_bytes(),
            lifetime: None,
            location: path_of(&message.view, option::URI_PATH),
        };
        for query in message.view.options_of(option::URI_QUERY) {
            if let Some(name) = query.value.strip_prefix(b"ep=") {
                asked.name = name.to_vec();
            }
            if let Some(lifetime) = query.value.strip_prefix(b"lt=") {
                let seconds = core::str::from_utf8(lifetime).ok().and_then(|text| text.parse().ok());
                asked.lifetime = seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
            }
        }
        self.asked.insert((message.conversation, message.message_id), asked);
    }

    /// The server answers a Register, Update or De-register.
    fn accepted(&mut self, message: &Message<'_>) {
        let Some(request) = message.request else { return };
        let key = (message.conversation, request.message_id);
        let answers = matches!(request.facts.target, Target::Register | Target::Registration);
        if !answers || message.earlier_answer.is_some() || message.code == Code::CONTINUE {
            return;
        }
        let Some(asked) = self.asked.remove(&key) else { return };
        match (request.facts.target, request.code, message.code) {
            (Target::Register, Code::POST, Code::CREATED) => {
                let location = path_of(&message.view, option::LOCATION_PATH);
                self.registered(asked, location, message);
            }
            (Target::Registration, Code::POST, Code::CHANGED) => {
                let Some(name) = self.at_location(&asked.location) else {
                    return;
                };
                if let Some(device) = self.devices.get_mut(&name) {
                    device.lifetime = asked.lifetime.or(device.lifetime);
                    device.until = device.lifetime.map(|lifetime| message.at + lifetime);
                    let before = device.address;
                    device.address = message.peer;
                    self.moved(
                        &name,
                        before,
                        message,
                        "the device updated its registration from elsewhere",
                    );
                }
            }
            (Target::Registration, Code::DELETE, Code::DELETED) => {
                let Some(name) = self.at_location(&asked.location) else {
                    return;
                };
                if let Some(device) = self.devices.remove(&name) {
                    self.leave(device.address, message.at, message.here, "the device de-registered");
                }
            }
            _ => {}
        }
    }

    fn at_location(&self, location: &[u8]) -> Option<Vec<u8>> {
        let mut devices = self.devices.iter();
        devices
            .find(|(_, device)| device.location == location)
            .map(|(name, _)| name.clone())
    }

    fn registered(&mut self, asked: Asked, location: Vec<u8>, message: &Message<'_>) {
        if self.devices.len() >= BOUND {
            return;
        }
        let device = Device {
            address: message.peer,
            location,
            until: asked.lifetime.map(|lifetime| message.at + lifetime),
            lifetime: asked.lifetime,
            state: Told::Nothing,
            since: message.here,
        };
        let before = self.devices.insert(asked.name.clone(), device);
        let address = before.map_or(message.peer, |before| before.address);
        self.moved(&asked.name, address, message, "the device registered from elsewhere");
    }

    /// The device is where the message came from now.
    fn moved(&mut self, name: &[u8], before: SocketAddr, message: &Message<'_>, why: &'static str) {
        if before != message.peer {
            self.leave(before, message.at, message.here, why);
        }
        self.gone.remove(&message.peer);
        self.by_address.insert(message.peer, name.to_vec());
    }

    fn leave(&mut self, address: SocketAddr, at: Duration, here: Ref, why: &'static str) {
        self.by_address.remove(&address);
        if self.gone.len() < BOUND {
            self.gone.insert(address, Gone { at, here, why });
        }
    }

    /// A request goes to where the device is registered.
    fn address(&mut self, message: &Message<'_>, report: &mut Report) {
        let grace = report.config.timing.grace;
        let expired = self
            .by_address
            .get(&message.peer)
            .and_then(|name| self.devices.get(name))
            .filter(|device| device.until.is_some_and(|until| until < message.at));
        if let Some(device) = expired
            && let Some(until) = device.until
        {
            let here = device.since;
            self.leave(message.peer, until, here, "its lifetime passed without an Update");
        }
        let Some(gone) = self.gone.get(&message.peer) else {
            return;
        };
        if message.at <= gone.at + grace || !report.is_live() {
            return;
        }
        report.add(
            REGISTERED_ADDRESS,
            Broken {
                grade: Grade::Must,
                title: "a request goes to an address where no device is registered".to_owned(),
                expected: format!("no request to {}: {}", message.peer, gone.why),
                seen: format!(
                    "{:.3} s later: {}",
                    message.at.saturating_sub(gone.at).as_secs_f64(),
                    summary_of(&message.view)
                ),
                clause: "oma-core/6.2.1",
                rests_on: &[gone.here, message.here],
                hint: None,
            },
        );
    }

    fn device_at(&mut self, address: SocketAddr) -> Option<&mut Device> {
        let name = self.by_address.get(&address)?;
        self.devices.get_mut(name)
    }

    fn learn(&mut self, address: SocketAddr, told: Told) {
        if let Some(device) = self.device_at(address) {
            device.state = told;
        }
    }

    /// A value reaches the server: the State may be in it.
    fn learn_from(&mut self, message: &Message<'_>, base: &LwPath) {
        let sampled = decode(message, base);
        match sampled.state {
            Some(state) => self.learn(message.peer, Told::State(state, message.here)),
            // what cannot be read may be the State; a single other resource cannot
            None if base.resource == Some(3) || (base.resource.is_none() && sampled.result.is_none()) => {
                self.learn(message.peer, Told::Unsure);
            }
            None => {}
        }
    }

    /// An answer or a notification reaches the server.
    fn told(&mut self, message: &Message<'_>) {
        if message.code != Code::CONTENT || !message.is_first() || message.earlier_answer.is_some() {
            return;
        }
        let Some(request) = message.request else {
            // a notification whose observation is so old that its request is forgotten here may be of State
            if message.view.observe().is_some() {
                self.learn(message.peer, Told::Unsure);
            }
            return;
        };
        let base = match (request.code, request.facts.target) {
            (Code::GET, Target::Lw(path)) if path.object == Some(5) => path,
            (Code::FETCH, Target::Root) => LwPath::ROOT,
            _ => return,
        };
        let pieces = message.facts.block2.is_some_and(|block| block.num > 0 || block.more);
        if pieces || message.odd {
            self.learn(message.peer, Told::Unsure);
        } else if message.facts.content_format == Some(40) {
            // a Discover tells no value
        } else {
            self.learn_from(message, &base);
        }
    }

    /// An Execute of Update is sent in State 2, as the server was told it.
    fn execute(&mut self, message: &Message<'_>, report: &mut Report) {
        let target = &message.facts.target;
        let first_block = message.facts.block1.is_none_or(|block| block.num == 0);
        let writes = matches!(message.code, Code::PUT | Code::POST);
        let begins = writes && first_block && (target.is_resource(5, 0) || target.is_resource(5, 1));
        let executes = message.code == Code::POST && target.is_resource(5, 2);
        if !begins && !executes {
            return;
        }
        let live = report.is_live();
        let Some(device) = self.device_at(message.peer) else {
            return;
        };
        let told = core::mem::take(&mut device.state);
        let since = core::mem::replace(&mut device.since, message.here);
        if begins || !live {
            return;
        }
        let (seen, before) = match told {
            Told::State(DOWNLOADED, _) | Told::Unsure => return,
            Told::State(state, here) => (format!("the last State told was {state}"), here),
            Told::Nothing => ("no State was told since then".to_owned(), since),
        };
        report.add(
            EXECUTE_WHEN_DOWNLOADED,
            Broken {
                grade: Grade::Must,
                title: "Update is executed although the server does not know the device in Downloaded".to_owned(),
                expected: "State 2, read or notified, before POST /5/0/2".to_owned(),
                seen: format!("{seen}: {}", summary_of(&message.view)),
                clause: "obj5/2",
                rests_on: &[before, message.here],
                hint: Some("the answer to the last block does not say that the package was verified"),
            },
        );
    }

    /// Each block of a push starts where the acknowledged ones end.
    fn push(&mut self, message: &Message<'_>, report: &mut Report) {
        let Some(block) = message.facts.block1 else { return };
        if !message.facts.target.is_resource(5, 0) || !matches!(message.code, Code::PUT | Code::POST) {
            return;
        }
        let key = (message.conversation, message.facts.uri);
        let start = block.offset();
        if let Some(push) = self.pushes.get(&key)
            && let Some(acknowledged) = push.acknowledged
            && !push.unsure
            && start > 0
            && start < acknowledged
            && start != push.last.offset()
        {
            report.add(
                PUSH_CONTINUES,
                Broken {
                    grade: Grade::Must,
                    title: "a push goes back to bytes that were acknowledged".to_owned(),
                    expected: format!("a block that starts at byte {acknowledged}, or the body from its beginning"),
                    seen: format!("byte {start}: {}", summary_of(&message.view)),
                    clause: "rfc7959/2.3",
                    rests_on: &[push.last_ref, message.here],
                    hint: Some("after a change of the block size the number counts blocks of the new size"),
                },
            );
        }
        if self.pushes.len() >= BOUND && !self.pushes.contains_key(&key) {
            return;
        }
        let acknowledged = self
            .pushes
            .get(&key)
            .and_then(|push| push.acknowledged)
            .filter(|_| start > 0);
        self.pushes.insert(
            key,
            Push {
                last: block,
                last_ref: message.here,
                acknowledged,
                unsure: false,
            },
        );
    }

    fn push_answered(&mut self, message: &Message<'_>) {
        let Some(request) = message.request else { return };
        let Some(asked) = request.facts.block1 else { return };
        let key = (message.conversation, request.facts.uri);
        let Some(push) = self.pushes.get_mut(&key) else { return };
        if push.last != asked {
            return;
        }
        if message.code == Code::CONTINUE && !message.odd && message.facts.block1.is_none_or(|block| block.more) {
            push.acknowledged = Some(end_of(&request, asked));
        } else {
            // refused, done, or collected otherwise: what follows may be anything
            push.unsure = true;
            push.acknowledged = None;
        }
    }
}

fn end_of(request: &Request, block: BlockValue) -> u64 {
    block.offset() + request.payload_length as u64
}

/// Segments of a path in one piece.
fn path_of(view: &MessageView<'_>, number: u16) -> Vec<u8> {
    let mut path = Vec::new();
    for segment in view.options_of(number) {
        path.push(b'/');
        path.extend_from_slice(segment.value);
    }
    path
}
