//! Which device a message is of: by name, location, token, file or address, also after its address changed.

use fotaproof_checks::hash::Address;
use fotaproof_checks::{CheckConfig, Checks, Mode};
use fotaproof_wire::coap::{Code, option};
use std::net::SocketAddr;

use super::{Analyzer, Carried};
use crate::device::{Device, Learnt};
use crate::facts::{Message, Target, clean};
use crate::flow::{COAP, NOBODY, sender_is_device};

/// Tokens and locations remembered over address changes.
const TABLE: usize = 1 << 16;

impl Analyzer {
    pub(super) fn learn(&mut self, device: u32, peer: SocketAddr, learnt: Learnt) {
        if let Some(location) = learnt.location
            && self.by_location.len() < TABLE
        {
            self.by_location.insert((Address(peer), location), device);
        }
        if let Some(token) = learnt.observation
            && self.by_observation.len() < TABLE
        {
            self.by_observation.insert((Address(peer), token), device);
        }
        if let Some(uri) = learnt.package_uri
            && self.by_package_uri.len() < TABLE
        {
            self.by_package_uri
                .entry(uri)
                .and_modify(|known| *known = known.filter(|known| *known == device))
                .or_insert(Some(device));
        }
    }

    /// The device of a conversation, and whether it sent this message.
    pub(super) fn party(
        &mut self,
        index: u32,
        device: u32,
        from_device: Option<bool>,
        message: Option<&Message<'_>>,
        carried: &Carried,
        number: u64,
    ) -> (u32, Option<bool>) {
        let Some(message) = message else {
            return (device, from_device);
        };
        let registers = message.code == Code::POST && message.facts.target == Target::Register;
        if device != NOBODY && !(registers && from_device == Some(true)) {
            return (device, from_device);
        }
        // What the messages before told of names, locations and tokens is needed now.
        self.flush();
        let sends = self.sender_is_device(message, carried);
        let Some(sends) = sends else { return (NOBODY, None) };
        let (address, peer) = if sends {
            (carried.src, carried.dst)
        } else {
            (carried.dst, carried.src)
        };
        let found = self.find(device, address, peer, message, sends);
        let Some(found) = found else {
            self.counts.beyond_limit += 1;
            return (NOBODY, None);
        };
        let flow = &mut self.flow_list[index as usize];
        flow.device = found;
        flow.device_first = flow.ends.0 == address;
        // The same address may be that of several devices: then it tells nothing.
        if self.by_address.len() < TABLE {
            self.by_address
                .entry(address.ip())
                .and_modify(|known| *known = known.filter(|known| *known == found))
                .or_insert(Some(found));
        }
        let now = self.now;
        if let Some(state) = self.devices.get_mut(found as usize) {
            // A file is fetched from a port of its own: that is no move.
            if state.has_no_address() || peer.port() == COAP || message.facts.target != Target::Other {
                state.at_address(address, now, number);
            }
        }
        (found, Some(sends))
    }

    fn sender_is_device(&self, message: &Message<'_>, carried: &Carried) -> Option<bool> {
        if let Some(told) = sender_is_device(message) {
            return Some(told);
        }
        if !message.code.is_request() {
            // A notification from a new address; anything else waits for a request.
            let known = self.by_observation.contains_key(&(Address(carried.dst), message.token));
            return (message.code.is_response() && known).then_some(true);
        }
        Some(true)
    }

    /// The device that an address is, by name, location, token, or address; a new one otherwise.
    fn find(
        &mut self,
        current: u32,
        address: SocketAddr,
        peer: SocketAddr,
        message: &Message<'_>,
        sends: bool,
    ) -> Option<u32> {
        let name = (sends && message.facts.target == Target::Register)
            .then(|| endpoint(message))
            .flatten();
        if let Some(name) = name {
            if let Some(known) = self.by_name.get(&name) {
                return Some(*known);
            }
            // One that was followed by its address until now gets its name.
            let anonymous = |index: u32| {
                self.devices
                    .get(index as usize)
                    .is_some_and(|device| !device.registered)
            };
            let same = Some(current)
                .filter(|index| *index != NOBODY && anonymous(*index))
                .or_else(|| {
                    self.by_address
                        .get(&address.ip())
                        .copied()
                        .flatten()
                        .filter(|index| anonymous(*index))
                });
            let index = match same {
                Some(index) => index,
                None => self.create(name.clone())?,
            };
            let device = self.devices.get_mut(index as usize)?;
            device.name.clone_from(&name);
            device.registered = true;
            self.by_name.insert(name, index);
            return Some(index);
        }
        if current != NOBODY {
            return Some(current);
        }
        if sends && message.facts.target == Target::Registration {
            let path = message.path();
            if let Some(known) = self.by_location.get(&(Address(peer), path)) {
                return Some(*known);
            }
        }
        if sends && let Some(known) = self.by_observation.get(&(Address(peer), message.token)) {
            return Some(*known);
        }
        if sends
            && message.facts.target == Target::Other
            && let Some(known) = self.by_package_uri.get(&message.facts.uri).copied().flatten()
        {
            return Some(known);
        }
        if let Some(known) = self.by_address.get(&address.ip()).copied().flatten() {
            return Some(known);
        }
        self.create(address.to_string())
    }

    fn create(&mut self, name: String) -> Option<u32> {
        if self.devices.len() >= self.options.devices {
            return None;
        }
        let index = self.devices.len() as u32;
        // Many devices share what one may remember.
        let remember = match index {
            0..8 => 1024,
            8..64 => 512,
            // One more fills a queue of a power of two.
            64..256 => 63,
            _ => 31,
        };
        let checks = Checks::new(CheckConfig {
            mode: if self.complete { Mode::Live } else { Mode::Capture },
            mtu: self.options.mtu,
            disabled: self.options.disabled.clone(),
            remember: if self.complete { usize::MAX } else { remember },
            ..CheckConfig::default()
        });
        self.devices.push(Device::new(name, checks));
        Some(index)
    }
}

/// The endpoint name in a Register.
fn endpoint(message: &Message<'_>) -> Option<String> {
    let query = message
        .options()
        .filter(|option| option.number == option::URI_QUERY)
        .find_map(|option| option.value.strip_prefix(b"ep="))?;
    let name = String::from_utf8_lossy(query);
    (!name.is_empty()).then(|| clean(&name, 64))
}
