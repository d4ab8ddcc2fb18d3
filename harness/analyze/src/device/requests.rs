//! Requests of a device and to it, and the bodies that they move.

use fotaproof_lwm2m::registration::RegistrationRequest;
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code, option};

use super::{ACTIVE, Device, Learnt, OBSERVATIONS, Pending, Seen, TRANSFERS, word};
use crate::facts::{Message, Target, clean, uri_hash};
use crate::transfer::{Step, Transfer, Way};

impl Device {
    pub(super) fn on_request(&mut self, message: &Message<'_>, seen: &Seen, learnt: &mut Learnt) {
        let mut transfer = None;
        if seen.from_device {
            self.sends_request(message, seen);
        } else {
            self.receives_request(message, seen, learnt);
        }
        let body =
            message.facts.block1.is_some() || (is_package(message.facts.target) && matches!(message.code, Code::PUT));
        if body && matches!(message.code, Code::PUT | Code::POST | Code::FETCH | Code::IPATCH) {
            let way = if seen.from_device { Way::Upload } else { Way::Push };
            transfer = self.body(
                way,
                message.facts.uri,
                message.facts.block1,
                message.payload.len(),
                seen,
                || message.path(),
            );
            if let Some(transfer) = transfer.and_then(|index| self.transfers.get_mut(index)) {
                transfer.announce(message.facts.size.map(u64::from));
                transfer.on_air(u64::from(seen.air));
            }
        } else if message.code == Code::GET {
            let way = if seen.from_device { Way::Pull } else { Way::Read };
            transfer = self
                .active
                .iter()
                .find(|(of, uri, _)| *of == way && *uri == message.facts.uri)
                .map(|active| active.2);
            if let Some(transfer) = transfer.and_then(|index| self.transfers.get_mut(index)) {
                transfer.on_air(u64::from(seen.air));
            }
        }
        self.remember(message, seen, transfer);
    }

    pub(super) fn sends_request(&mut self, message: &Message<'_>, seen: &Seen) {
        self.judged.blocks += u64::from(message.facts.block1.or(message.facts.block2).is_some());
        self.judged.asks_blocks += u64::from(message.facts.block2.is_some_and(|block| block.num > 0));
        match message.facts.target {
            Target::Register | Target::Registration if message.code == Code::POST => {
                self.judged.registers += u64::from(message.facts.target == Target::Register);
                let queries: Vec<&[u8]> = message
                    .options()
                    .filter(|option| option.number == option::URI_QUERY)
                    .map(|option| option.value)
                    .collect();
                // A registration in blocks or with a broken list still says its name.
                let request = RegistrationRequest::parse(queries.iter().copied(), message.payload)
                    .or_else(|_| RegistrationRequest::parse(queries.iter().copied(), b""))
                    .unwrap_or_default();
                self.pending = Some(Box::new(Pending {
                    token: message.token,
                    request,
                    packet: seen.packet,
                }));
            }
            Target::Send if message.code == Code::POST => self.sent(message, seen),
            _ => {}
        }
    }

    pub(super) fn receives_request(&mut self, message: &Message<'_>, seen: &Seen, learnt: &mut Learnt) {
        self.judged.requests_received += 1;
        self.judged.blocks_received += u64::from(message.facts.block1.is_some());
        let observed = match (message.code, message.facts.target) {
            (Code::GET, Target::Lw(path)) => Some(path),
            (Code::FETCH, Target::Root) => Some(LwPath::ROOT),
            _ => None,
        };
        match (message.facts.observe, observed) {
            (Some(0), Some(path)) => {
                self.observations.retain(|(token, _)| *token != message.token);
                if self.observations.len() >= OBSERVATIONS {
                    self.observations.remove(0);
                }
                self.observations.push((message.token, path));
                learnt.observation = Some(message.token);
            }
            (Some(1), _) => {
                self.observations.retain(|(token, _)| *token != message.token);
                self.judged.observations_over += 1;
            }
            _ => {}
        }
        let Target::Lw(path) = message.facts.target else { return };
        match (message.code, path.object, path.resource) {
            (Code::POST, Some(5), Some(2)) | (Code::POST, Some(9), Some(4)) => {
                self.firmware.execute(seen.at, seen.packet, path);
                self.tell(seen.at, seen.packet, format!("Execute {path}"));
            }
            (Code::POST, Some(3), Some(4)) => self.tell(seen.at, seen.packet, "Execute /3/0/4 (Reboot)".to_owned()),
            (Code::PUT | Code::POST, Some(5), Some(1)) if message.facts.block1.is_none() => {
                let uri = String::from_utf8_lossy(message.payload);
                learnt.package_uri = uri_hash(&uri);
                self.tell(
                    seen.at,
                    seen.packet,
                    format!("Package URI {}", clean(uri.trim_matches(|c: char| c.is_control()), 120)),
                );
            }
            _ => {}
        }
    }

    /// Adds a piece of a body; gives the transfer.
    pub(super) fn body(
        &mut self,
        way: Way,
        uri: u64,
        block: Option<BlockValue>,
        length: usize,
        seen: &Seen,
        path: impl Fn() -> String,
    ) -> Option<usize> {
        let first = block.is_none_or(|block| block.num == 0);
        let found = self
            .active
            .iter()
            .position(|(of, known, _)| *of == way && *known == uri);
        let over = |index: usize| self.transfers.get(index).is_none_or(Transfer::is_over);
        let index = match found.map(|at| (at, self.active[at].2)) {
            Some((_, index)) if !(over(index) && first) => index,
            other => {
                if let Some((at, _)) = other {
                    self.active.remove(at);
                }
                if self.transfers.len() >= TRANSFERS {
                    // What a report does not show makes room.
                    self.transfers_dropped += 1;
                    return None;
                }
                self.transfers
                    .push(Transfer::new(way, path(), seen.at, seen.packet, self.generation));
                if self.active.len() >= ACTIVE {
                    self.active.remove(0);
                }
                self.active.push((way, uri, self.transfers.len() - 1));
                self.transfers.len() - 1
            }
        };
        let generation = self.generation;
        let transfer = self.transfers.get_mut(index)?;
        let was = transfer.bytes();
        let step = transfer.block(block, length, seen.at, seen.packet, generation);
        let path = transfer.path.clone();
        let at_block = block.map_or(0, |block| block.num);
        match step {
            Step::Plain if was == 0 && is_package_path(&path) => {
                self.tell(seen.at, seen.packet, format!("{} of {path} begins", word(way)));
            }
            Step::Plain => {}
            Step::Restarted => {
                self.tell(
                    seen.at,
                    seen.packet,
                    format!("{} of {path} begins again from the first block", word(way)),
                );
            }
            Step::Resumed => {
                self.tell(
                    seen.at,
                    seen.packet,
                    format!("{} of {path} goes on with block {at_block}", word(way)),
                );
            }
            Step::Gap => {
                self.judged.gaps += 1;
                let text = format!(
                    "{} of {path} jumps to block {at_block}: what is before it is not in the capture",
                    word(way)
                );
                self.tell(seen.at, seen.packet, text);
            }
        }
        Some(index)
    }
}

fn is_package(target: Target) -> bool {
    matches!(target, Target::Lw(path) if matches!((path.object, path.resource), (Some(5), Some(0)) | (Some(9), Some(2))))
}

/// A package that is pushed, or a file that is fetched.
fn is_package_path(path: &str) -> bool {
    let is_file = !path.trim_start_matches('/').starts_with(|c: char| c.is_ascii_digit());
    is_file || path.starts_with("/5/0/0") || path.starts_with("/9/0/2")
}
