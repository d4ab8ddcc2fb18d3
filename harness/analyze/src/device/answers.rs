//! Answers: to which request, and what they mean for transfers and registrations.

use fotaproof_lwm2m::definitions::Versions;
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{Code, Type};

use super::{Device, Learnt, Pending, Recent, Seen, word};
use crate::facts::{Message, Target};
use crate::transfer::{Transfer, Way};

impl Device {
    pub(super) fn on_response(&mut self, message: &Message<'_>, seen: &Seen, learnt: &mut Learnt) {
        let piggybacked = message.kind == Some(Type::Ack);
        self.judged.answers_sent += u64::from(seen.from_device);
        let asked = if piggybacked {
            self.by_id(message, seen)
        } else {
            self.recent.iter().rposition(|recent| {
                recent.token == message.token && recent.seen.from_device != seen.from_device && recent.code.is_request()
            })
        };
        self.judged.blocks += u64::from(seen.from_device && message.facts.block1.or(message.facts.block2).is_some());
        if message.kind == Some(Type::Con) && !seen.from_device {
            self.judged.separate_received += 1;
        }
        let Some(index) = asked else {
            self.on_notification(message, seen);
            if matches!(message.kind, Some(Type::Con | Type::Non)) {
                self.remember(message, seen, None);
            }
            return;
        };
        let request = self.recent[index];
        let recent = &mut self.recent[index];
        recent.acknowledged = true;
        recent.responded = true;
        if request.responded && message.facts.observe.is_some() && !piggybacked {
            self.on_notification(message, seen);
            self.remember(message, seen, None);
            return;
        }
        let air = u64::from(seen.air);
        if request.responded {
            // The answer to a copy: nothing new.
            if request.copies > 1 && seen.from_device {
                self.traffic.sent_again += 1;
            } else if request.copies > 1 {
                self.traffic.received_again += 1;
            }
            if let Some(transfer) = request.transfer.and_then(|index| self.transfers.get_mut(index)) {
                transfer.on_air(air);
            }
            return;
        }
        if request.copies == 1 && !request.acknowledged {
            self.round_trips.add(seen.at.saturating_sub(request.seen.at));
        }
        if let Some(transfer) = request.transfer.and_then(|index| self.transfers.get_mut(index)) {
            transfer.on_air(air);
        }
        if matches!(message.kind, Some(Type::Con | Type::Non)) {
            self.remember(message, seen, request.transfer);
        }
        self.answered(&request, index, message, seen, learnt);
    }

    pub(super) fn answered(
        &mut self,
        request: &Recent,
        index: usize,
        message: &Message<'_>,
        seen: &Seen,
        learnt: &mut Learnt,
    ) {
        if !seen.from_device {
            self.registration_answered(request, message, seen, learnt);
        }
        // The body of the request came to its end, or was refused.
        let block1 = matches!(request.code, Code::PUT | Code::POST | Code::FETCH | Code::IPATCH);
        if block1 && let Some(at) = request.transfer {
            self.transfer_answered(at, message, seen);
        }
        if request.code == Code::GET || request.code == Code::FETCH {
            self.piece(request, index, message, seen);
        }
        if seen.from_device
            && request.code == Code::POST
            && let Target::Lw(path) = request.target
            && matches!((path.object, path.resource), (Some(5), Some(2)) | (Some(9), Some(4)))
        {
            self.firmware.execute_answered(request.seen.packet, message.code);
            if message.code.is_error() {
                self.tell(
                    seen.at,
                    seen.packet,
                    format!("Execute {path} refused: {}", message.code),
                );
            }
        }
        if seen.from_device && message.code == Code::CONTENT {
            match (request.code, request.target) {
                (Code::GET, Target::Lw(path)) => {
                    let by = if message.facts.observe.is_some() {
                        "notification"
                    } else {
                        "read"
                    };
                    self.content(path, message, by, seen);
                }
                (Code::FETCH, Target::Root) => self.content(LwPath::ROOT, message, "composite", seen),
                _ => {}
            }
        }
    }

    pub(super) fn transfer_answered(&mut self, at: usize, message: &Message<'_>, seen: &Seen) {
        let Some(transfer) = self.transfers.get_mut(at) else {
            return;
        };
        let was_over = transfer.is_over();
        transfer.answered(message.code, seen.at, seen.packet);
        if was_over || !transfer.is_over() || !transfer.is_shown() {
            return;
        }
        let text = if message.code.is_error() {
            format!(
                "{} of {} refused: {} {}",
                word(transfer.way),
                transfer.path,
                message.code,
                message.code.name()
            )
        } else {
            format!(
                "{} of {} ends after {} bytes",
                word(transfer.way),
                transfer.path,
                transfer.bytes()
            )
        };
        self.tell(seen.at, seen.packet, text);
    }

    /// A piece of what was asked for with GET.
    pub(super) fn piece(&mut self, request: &Recent, index: usize, message: &Message<'_>, seen: &Seen) {
        let way = if seen.from_device { Way::Read } else { Way::Pull };
        if message.code.is_error() {
            if let Some(at) = request.transfer {
                self.transfer_answered(at, message, seen);
            }
            return;
        }
        if message.facts.block2.is_none() || message.code == Code::VALID {
            return;
        }
        let path = self.path_of(request);
        let fresh = request.transfer.is_none();
        let Some(at) = self.body(
            way,
            request.uri,
            message.facts.block2,
            message.payload.len(),
            seen,
            || path.clone(),
        ) else {
            return;
        };
        let Some(transfer) = self.transfers.get_mut(at) else {
            return;
        };
        transfer.announce(message.facts.size.map(u64::from));
        if fresh {
            transfer.on_air(u64::from(request.seen.air) * u64::from(request.copies) + u64::from(seen.air));
        }
        if let Some(recent) = self.recent.get_mut(index)
            && recent.message_id == request.message_id
        {
            recent.transfer = Some(at);
        }
        if self.transfers.get(at).is_some_and(Transfer::saw_last) {
            self.transfer_answered(at, message, seen);
        }
    }

    /// The path of a request as far as it was kept.
    pub(super) fn path_of(&self, request: &Recent) -> String {
        match request.target {
            Target::Lw(path) => path.to_string(),
            Target::Root => "/".to_owned(),
            Target::Register => "/rd".to_owned(),
            _ => self
                .firmware
                .path_of(request.uri)
                .unwrap_or_else(|| "a file".to_owned()),
        }
    }

    /// Keeps the path of a file that is asked for, to name it later.
    pub(crate) fn name_file(&mut self, uri: u64, path: impl FnOnce() -> String) {
        self.firmware.name_file(uri, path);
    }

    pub(super) fn registration_answered(
        &mut self,
        request: &Recent,
        message: &Message<'_>,
        seen: &Seen,
        learnt: &mut Learnt,
    ) {
        let packet = request.seen.packet;
        match (request.code, request.target) {
            (Code::POST, Target::Register) if message.code == Code::CREATED => {
                learnt.location = message.location();
                self.registrations.registers += 1;
                self.generation += 1;
                self.judged.observations_over += u64::from(!self.observations.is_empty());
                self.observations.clear();
                if self.registrations.registers > 1 {
                    self.firmware.reboot(request.seen.at, packet);
                }
                let pending = self.pending.take().filter(|pending| pending.token == request.token);
                let text = pending.map_or_else(String::new, |pending| self.registered_with(&pending));
                let again = if self.registrations.registers > 1 { " again" } else { "" };
                self.tell(seen.at, packet, format!("registers{again}{text}"));
            }
            (Code::POST, Target::Registration) if message.code == Code::CHANGED => self.registrations.updates += 1,
            (Code::DELETE, Target::Registration) if message.code == Code::DELETED => {
                self.registrations.deregisters += 1;
                self.tell(seen.at, packet, "deregisters".to_owned());
            }
            (Code::POST, Target::Register) if message.code.is_error() => {
                self.tell(seen.at, packet, format!("Register refused: {}", message.code));
            }
            _ => {}
        }
    }

    pub(super) fn registered_with(&mut self, pending: &Pending) -> String {
        debug_assert!(pending.packet > 0);
        let request = &pending.request;
        if let Some(version) = request.lwm2m {
            self.lwm2m = Some(version.to_string());
            self.versions = Versions::of(version);
        }
        for link in request.objects.iter().flatten() {
            let version = link
                .attribute("ver")
                .and_then(|version| version.trim_matches('"').parse().ok());
            let object = link
                .target
                .trim_start_matches('/')
                .split('/')
                .next()
                .and_then(|id| id.parse().ok());
            if let (Some(object), Some(version)) = (object, version) {
                self.versions.announced.insert(object, version);
            }
        }
        let lifetime = request
            .lifetime
            .map_or_else(String::new, |lifetime| format!(", lifetime {lifetime} s"));
        let version = request
            .lwm2m
            .map_or_else(String::new, |version| format!(" with LwM2M {version}"));
        format!("{version}{lifetime}")
    }
}
