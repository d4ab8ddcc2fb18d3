//! Many datagrams at a rate, some of them damaged by seeded dice.

use core::time::Duration;

use fotaproof_cases::ast::{Burst, Datagram, MessageType, Mutation};
use fotaproof_lwm2m::server::OpId;
use fotaproof_wire::coap::{BlockValue, MessageView, Szx, option};
use fotaproof_wire::path::LwPath;

use super::Session;
use super::answer::{Answer, Back};
use super::stimuli::Unable;

/// A burst under way.
#[derive(Debug)]
pub(super) struct Bursting {
    burst: Burst,
    sent: u32,
    began: Duration,
    rng: fastrand::Rng,
    alive: Option<OpId>,
    /// How many had been sent when `/3/0/3` was read last.
    asked_at: u32,
}

impl Bursting {
    fn due(&self, nth: u32) -> Duration {
        let rate = f64::from(self.burst.rate.unwrap_or(100).max(1));
        self.began + Duration::from_secs_f64(f64::from(nth) / rate)
    }

    /// When the next datagram is due; nothing while an answer is waited for.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.alive.is_none().then(|| self.due(self.sent))
    }
}

impl Session {
    pub(super) fn begin_burst(&self, burst: &Burst) -> Result<Bursting, Unable> {
        // a datagram that cannot be made is a mistake of the case, told before anything is sent
        self.raw_datagram(&burst.datagram)?;
        if self.facts.iut_address.is_none() {
            return Err("the address of the IUT is not known yet".to_owned());
        }
        Ok(Bursting {
            burst: burst.clone(),
            sent: 0,
            began: self.now,
            rng: fastrand::Rng::with_seed(self.config.seed ^ 0x6275_7273_7421),
            alive: None,
            asked_at: 0,
        })
    }

    /// Sends what is due; an answer when the burst is over.
    pub(super) fn follow_burst(&mut self, bursting: &mut Bursting) -> Option<Answer> {
        loop {
            if let Some(op) = bursting.alive {
                let answer = self.facts.answers.remove(&op)?;
                bursting.alive = None;
                if answer.back == Back::Nothing {
                    self.note(format!(
                        "after {} datagrams GET /3/0/3 is not answered any more",
                        bursting.sent
                    ));
                    return Some(answer);
                }
                // the pause is no part of the rate
                bursting.began = self.now.saturating_sub(bursting.due(bursting.sent) - bursting.began);
            }
            if bursting.sent >= bursting.burst.count {
                let mut answer = Answer::silence(self.now);
                answer.back = Back::Code(fotaproof_wire::coap::Code::VALID);
                answer.ended = Some(format!("{} datagrams sent", bursting.sent));
                return Some(answer);
            }
            let every = bursting.burst.alive_every.as_ref().map_or(0, |every| every.value);
            if every > 0 && bursting.sent > bursting.asked_at && bursting.sent.is_multiple_of(every) {
                bursting.asked_at = bursting.sent;
                bursting.alive = Some(self.world.server.read(self.now, &LwPath::resource(3, 0, 3), None));
                return None;
            }
            if self.now < bursting.due(bursting.sent) {
                return None;
            }
            self.send_of_burst(bursting);
            bursting.sent += 1;
        }
    }

    fn send_of_burst(&mut self, bursting: &mut Bursting) {
        let mut datagram: Datagram = bursting.burst.datagram.clone();
        if let Some(types) = bursting.burst.types.as_ref().filter(|types| !types.is_empty()) {
            datagram.kind = Some(MessageType(types[bursting.sent as usize % types.len()].0));
        }
        let damage = bursting
            .burst
            .mutate
            .as_ref()
            .filter(|all| !all.is_empty())
            .map(|all| all[bursting.rng.usize(..all.len())]);
        if let Some(damage) = damage {
            damage_content(&mut datagram, damage, &mut bursting.rng);
        }
        let Ok((mut bytes, ..)) = self.raw_datagram(&datagram) else {
            return;
        };
        if bytes.len() >= 4 && datagram.hex.is_none() {
            bytes[2..4].copy_from_slice(&bursting.rng.u16(..).to_be_bytes());
        }
        if let Some(damage) = damage {
            damage_bytes(&mut bytes, damage, &mut bursting.rng);
        }
        let from = self.party_address(datagram.sender.as_ref());
        let Some(to) = self.facts.asked_from.get(&from).copied().or(self.facts.iut_address) else {
            return;
        };
        self.world.send_past(self.now, from, to, bytes.into(), true);
    }
}

fn damage_content(datagram: &mut Datagram, damage: Mutation, rng: &mut fastrand::Rng) {
    const SIZES: [u16; 8] = [16, 32, 64, 128, 256, 512, 1024, 2048];
    match damage {
        Mutation::Bits | Mutation::Length => {}
        Mutation::Number => {
            if let Some(block) = &mut datagram.block1 {
                block.num = if rng.bool() { rng.u32(..16) } else { rng.u32(..1 << 20) };
            }
        }
        Mutation::Block => {
            if let Some(block) = &mut datagram.block1 {
                block.more = rng.bool();
                block.size = SIZES[rng.usize(..SIZES.len())];
            }
        }
        Mutation::Payload => {
            datagram.payload = rng.bool().then(|| fotaproof_cases::ast::Payload {
                random: Some(rng.u32(1..1100)),
                ..fotaproof_cases::ast::Payload::default()
            });
        }
    }
}

fn damage_bytes(bytes: &mut Vec<u8>, damage: Mutation, rng: &mut fastrand::Rng) {
    match damage {
        Mutation::Bits => {
            for _ in 0..rng.usize(1..=8) {
                if !bytes.is_empty() {
                    let at = rng.usize(..bytes.len());
                    bytes[at] ^= 1 << rng.u8(..8);
                }
            }
        }
        Mutation::Length => {
            if rng.bool() {
                bytes.truncate(rng.usize(..=bytes.len()));
            } else {
                bytes.extend((0..rng.usize(1..64)).map(|_| rng.u8(..)));
            }
        }
        Mutation::Number | Mutation::Block | Mutation::Payload => {}
    }
    // a whole package must not come together by chance
    if is_only_block(bytes) {
        bytes.truncate(4);
    }
}

/// Whether a datagram alone would be a whole body, or a Write without blocks.
fn is_only_block(bytes: &[u8]) -> bool {
    let Ok(view) = MessageView::parse(bytes) else {
        return false;
    };
    let writes = matches!(view.code().0, 2 | 3);
    let first_and_last = view
        .block1()
        .ok()
        .flatten()
        .is_none_or(|block: BlockValue| block.num == 0 && !block.more && block.szx <= Szx::S1024);
    writes && first_and_last && view.options_of(option::URI_PATH).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_never_makes_a_whole_write() {
        let mut rng = fastrand::Rng::with_seed(7);
        // PUT /5/0/0, Block1 3/1/512, one byte
        let whole = [
            0x41, 3, 0, 7, 0xaa, 0xb1, b'5', 0x01, b'0', 0x01, b'0', 0xd1, 3, 0x3d, 0xff, 1,
        ];
        for _ in 0..2000 {
            let mut bytes = whole.to_vec();
            damage_bytes(&mut bytes, Mutation::Bits, &mut rng);
            damage_bytes(&mut bytes, Mutation::Length, &mut rng);
            assert!(!is_only_block(&bytes), "{bytes:02x?}");
        }
    }
}
