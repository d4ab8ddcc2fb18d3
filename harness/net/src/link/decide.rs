//! What becomes of a packet that entered: rules, random models, replay, and the way from the transmitter on.

use core::cmp::Reverse;
use core::time::Duration;

use super::{Harm, Held, Link, Transit};
use crate::{
    event::{DropReason, Fate},
    facts::{Facts, Toward},
    packet::UDP_HEADER,
    rule::{Action, Damage, Seen},
    rulebook::{Hit, RuleKey},
    spec::Oversize,
};

/// Packets under way at most; beyond, they are lost as by a full queue.
const MAX_IN_FLIGHT: usize = 65_536;
/// Copies one packet can have.
const MAX_COPIES: u32 = 1000;
/// How long a swapped packet waits for its partner.
const SWAP_PATIENCE: Duration = Duration::from_secs(10);

/// How a packet travels, other than plainly.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    extra: Duration,
    unordered: bool,
    copies: u32,
    gap: Duration,
    not_before: Duration,
}

impl Link {
    /// What becomes of a packet that entered.
    pub(super) fn decide(&mut self, now: Duration, transit: Transit, index: u64, facts: &Facts) {
        let toward = transit.toward;
        if self.recording.is_some() {
            self.repeat(now, transit, index);
        } else if self.is_dark(now, toward) {
            self.drop(now, &transit, None, DropReason::Blackout, None);
        } else if self.spec.oversize == Oversize::Filter
            && transit.fragment().is_some_and(|fragment| fragment.index > 0)
        {
            self.drop(now, &transit, None, DropReason::Filtered, None);
        } else {
            let hit = if self.rules.is_empty() {
                None
            } else {
                self.rules.decide(&Seen {
                    now,
                    toward,
                    size: transit.size,
                    fragment: transit.fragment(),
                    facts,
                })
            };
            match hit {
                Some(hit) => self.act(now, transit, hit),
                None => self.impair(now, transit),
            }
        }
    }

    fn is_dark(&self, now: Duration, toward: Toward) -> bool {
        self.dead[toward.index()]
            || now < self.dark_until[toward.index()]
            || self.spec.blackouts.iter().any(|blackout| blackout.covers(now, toward))
            || self.spec.flaps.is_some_and(|flaps| flaps.covers(now))
    }

    /// A rule has taken the packet.
    fn act(&mut self, now: Duration, mut transit: Transit, hit: Hit) {
        let Hit {
            key,
            name,
            action,
            draw,
            seed,
        } = hit;
        self.counters[transit.toward.index()].by_rule += 1;
        let rule = Some(name);
        if action == Action::Drop {
            return self.drop(now, &transit, rule, DropReason::Rule, draw);
        }
        if action == Action::Swap {
            return self.swap(now, transit, key, rule, draw);
        }
        let Some(departure) = self.transmit(now, &transit) else {
            return;
        };
        let (start, length) = transit.carried();
        let mut plan = Plan::default();
        let fate = match action {
            Action::Delay(extra) => {
                plan = Plan {
                    extra,
                    unordered: true,
                    ..plan
                };
                Fate::Delayed(extra)
            }
            Action::Duplicate { n, gap } => {
                let copies = n.min(MAX_COPIES);
                plan = Plan { copies, gap, ..plan };
                Fate::Duplicated { copies, gap }
            }
            Action::Corrupt {
                damage,
                fix_checksum: fixed,
            } => {
                let bits = damaged_bits(damage, start, &transit, seed);
                if bits.is_empty() {
                    Fate::Pass
                } else {
                    transit.harm = Some(Box::new(Harm::Bits {
                        bits: bits.clone(),
                        fixed,
                    }));
                    Fate::Corrupted { bits, fixed }
                }
            }
            Action::Truncate(left) if usize::from(left) < length => {
                transit.harm = Some(Box::new(Harm::Truncated(left)));
                Fate::Truncated(left)
            }
            Action::Pass | Action::Truncate(_) | Action::Drop | Action::Swap => Fate::Pass,
        };
        self.fate(now, &transit, rule, fate, draw);
        self.schedule(now, departure, transit, plan);
    }

    /// The first packet of a pair waits; the second goes, then the first.
    fn swap(&mut self, now: Duration, transit: Transit, key: RuleKey, rule: Option<String>, draw: Option<f64>) {
        let Some(place) = self.held.iter().position(|held| held.key == key) else {
            self.fate(now, &transit, rule, Fate::Swapped, draw);
            self.rules.set_holds(key, true);
            self.held.push(Held {
                key,
                until: now.saturating_add(SWAP_PATIENCE),
                transit,
            });
            return;
        };
        let first = self.held.remove(place).transit;
        self.rules.set_holds(key, false);
        let mut not_before = now;
        if let Some(departure) = self.transmit(now, &transit) {
            self.fate(now, &transit, rule, Fate::Swapped, draw);
            not_before = self.schedule(
                now,
                departure,
                transit,
                Plan {
                    unordered: true,
                    ..Plan::default()
                },
            );
        }
        if let Some(departure) = self.transmit(now, &first) {
            self.schedule(
                now,
                departure,
                first,
                Plan {
                    unordered: true,
                    not_before,
                    ..Plan::default()
                },
            );
        }
    }

    /// A swapped packet without a partner goes on alone.
    pub(super) fn release(&mut self, at: Duration, transit: Transit) {
        if let Some(departure) = self.transmit(at, &transit) {
            self.schedule(
                at,
                departure,
                transit,
                Plan {
                    unordered: true,
                    ..Plan::default()
                },
            );
        }
    }

    /// No rule has taken the packet: the random models.
    fn impair(&mut self, now: Duration, mut transit: Transit) {
        let Some(departure) = self.transmit(now, &transit) else {
            return;
        };
        let direction = &mut self.directions[transit.toward.index()];
        let spec = self.spec.direction(transit.toward);
        let (lost, loss_draw) = direction.draw_loss(spec);
        if lost {
            return self.drop(now, &transit, None, DropReason::Loss, loss_draw);
        }
        let (reordered, reorder_draw) = direction.draw_reorder(spec);
        let (bits, bit_draw) = direction.draw_bit_errors(spec, u32::from(transit.size) * 8);
        let (duplicated, duplicate_draw) = direction.draw_duplicate(spec);
        let mut plan = Plan::default();
        let mut fates = 0;
        let mut befell = |link: &mut Self, fate, draw| {
            fates += 1;
            link.fate(now, &transit, None, fate, draw);
        };
        if reordered {
            plan.extra = spec.reorder.map_or(Duration::ZERO, |reorder| reorder.delay);
            plan.unordered = true;
        }
        if duplicated {
            (plan.copies, plan.gap) = (1, spec.duplicate_gap);
        }
        if reordered {
            befell(self, Fate::Delayed(plan.extra), reorder_draw);
        }
        if duplicated {
            befell(
                self,
                Fate::Duplicated {
                    copies: plan.copies,
                    gap: plan.gap,
                },
                duplicate_draw,
            );
        }
        if !bits.is_empty() {
            befell(
                self,
                Fate::Corrupted {
                    bits: bits.clone(),
                    fixed: false,
                },
                bit_draw,
            );
        }
        if fates == 0 {
            self.fate(now, &transit, None, Fate::Pass, loss_draw);
        }
        if !bits.is_empty() {
            transit.harm = Some(Box::new(Harm::Bits { bits, fixed: false }));
        }
        self.schedule(now, departure, transit, plan);
    }

    /// What was done before is done again.
    fn repeat(&mut self, now: Duration, mut transit: Transit, index: u64) {
        let Some(recorded) = self
            .recording
            .as_mut()
            .and_then(|recording| recording.take(transit.toward, index))
        else {
            let Some(departure) = self.transmit(now, &transit) else {
                return;
            };
            let exit = departure.saturating_add(self.spec.direction(transit.toward).delay);
            self.fate(now, &transit, None, Fate::Pass, None);
            return self.put(now, exit, transit);
        };
        self.counters[transit.toward.index()].by_rule += u64::from(recorded.rule.is_some());
        if recorded.fates.is_empty() {
            self.fate(now, &transit, recorded.rule.clone(), Fate::Pass, None);
        }
        let mut dropped = false;
        for fate in recorded.fates {
            match &fate {
                Fate::Dropped(reason) => {
                    dropped = true;
                    self.counters[transit.toward.index()].count_drop(*reason);
                }
                Fate::Corrupted { bits, fixed } => {
                    transit.harm = Some(Box::new(Harm::Bits {
                        bits: bits.clone(),
                        fixed: *fixed,
                    }));
                }
                Fate::Truncated(left) => transit.harm = Some(Box::new(Harm::Truncated(*left))),
                _ => {}
            }
            // A packet a rule took can still be lost by the queue, say; that is not the rule's doing.
            let own = matches!(fate, Fate::Dropped(reason) if reason != DropReason::Rule);
            self.fate(now, &transit, recorded.rule.clone().filter(|_| !own), fate, None);
        }
        if dropped {
            return;
        }
        for (copy, after) in (0..MAX_COPIES).zip(recorded.exits) {
            self.put(
                now,
                now.saturating_add(after),
                Transit {
                    copy,
                    ..transit.clone()
                },
            );
        }
    }

    /// When the packet has left the transmitter. None: the queue is full, and that is said.
    fn transmit(&mut self, now: Duration, transit: &Transit) -> Option<Duration> {
        let toward = transit.toward;
        let departure = if self.heap.len() >= MAX_IN_FLIGHT {
            None
        } else {
            self.directions[toward.index()].transmit(now, transit.size, self.spec.direction(toward))
        };
        if departure.is_none() {
            self.drop(now, transit, None, DropReason::Queue, None);
        }
        departure
    }

    /// Sends a packet on from the transmitter; returns when it gets there.
    fn schedule(&mut self, now: Duration, departure: Duration, transit: Transit, plan: Plan) -> Duration {
        let spec = self.spec.direction(transit.toward);
        let exit = self.directions[transit.toward.index()]
            .exit(departure, spec, plan.extra, plan.unordered)
            .max(plan.not_before);
        if plan.copies == 0 {
            self.put(now, exit, transit);
            return exit;
        }
        let mut at = exit;
        for copy in 0..=plan.copies {
            self.put(
                now,
                at,
                Transit {
                    copy,
                    ..transit.clone()
                },
            );
            at = at.saturating_add(plan.gap);
        }
        exit
    }

    fn put(&mut self, now: Duration, exit: Duration, transit: Transit) {
        // A wire without delay, and nothing earlier is still to come: no need to queue.
        if exit <= now && self.arriving.is_empty() && self.next_timer().is_none_or(|at| at > now) {
            let mut out = core::mem::take(&mut self.ready);
            self.arrive(now, transit, &mut out);
            self.ready = out;
            return;
        }
        if self.heap.len() >= 2 * MAX_IN_FLIGHT {
            return;
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(transit);
                slot
            }
            None => {
                self.slots.push(Some(transit));
                (self.slots.len() - 1) as u32
            }
        };
        self.heap.push(Reverse((exit, self.scheduled, slot)));
        self.scheduled += 1;
    }
}

/// The bits of the IP packet that damage flips.
fn damaged_bits(damage: Damage, start: usize, transit: &Transit, seed: u64) -> Vec<u32> {
    let (_, length) = transit.carried();
    let flipped = |offset: u16, mask: u8| -> Vec<u32> {
        let first = (start + usize::from(offset)) as u32 * 8;
        (0..8)
            .filter(|bit| mask & (0x80 >> bit) != 0)
            .map(|bit| first + bit)
            .collect()
    };
    let before = |offset: u16| {
        let part = transit
            .fragment()
            .map_or(0, |fragment| usize::from(fragment.offset).saturating_sub(UDP_HEADER));
        transit
            .payload
            .get(part + usize::from(offset))
            .copied()
            .filter(|_| usize::from(offset) < length)
    };
    match damage {
        Damage::Bits(count) => {
            let total = length as u32 * 8;
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut bits = std::collections::BTreeSet::new();
            while bits.len() < count.min(total) as usize {
                bits.insert(start as u32 * 8 + rng.u32(..total));
            }
            bits.into_iter().collect()
        }
        Damage::Byte { offset, value } => before(offset)
            .map(|byte| flipped(offset, byte ^ value))
            .unwrap_or_default(),
        Damage::Xor { offset, mask } => before(offset).map(|_| flipped(offset, mask)).unwrap_or_default(),
    }
}
