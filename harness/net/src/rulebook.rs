//! The rules of a running link and their counts.

use fastrand::Rng;

use crate::{
    facts::GuardId,
    model::{mix, unit},
    rule::{Action, Damage, Rule, Seen},
};

/// Tells a rule from all others of its link, also after it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RuleKey(u64);

/// A rule decided about a packet.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) key: RuleKey,
    pub(crate) name: String,
    pub(crate) action: Action,
    /// The draw of the rule's probability.
    pub(crate) draw: Option<f64>,
    /// For damage at random places.
    pub(crate) seed: u64,
}

#[derive(Debug)]
struct Entry {
    key: RuleKey,
    guard: Option<GuardId>,
    rule: Rule,
    matched: u64,
    acted: u64,
    rng: Rng,
    /// A packet waits for its partner.
    holds: bool,
}

/// Rules in order of precedence: those added while the link runs, in the order of adding, then the spec's.
#[derive(Debug)]
pub(crate) struct RuleBook {
    entries: Vec<Entry>,
    guards: usize,
    made: u64,
    seed: u64,
}

impl RuleBook {
    pub(crate) fn new(rules: &[Rule], seed: u64) -> Self {
        let mut book = Self {
            entries: Vec::new(),
            guards: 0,
            made: 0,
            seed: mix(seed, 0x7275_6c65),
        };
        book.set(rules);
        book
    }

    /// Replaces the spec's rules. Those equal to what was there keep their counts.
    pub(crate) fn set(&mut self, rules: &[Rule]) {
        if self.entries[self.guards..].iter().map(|entry| &entry.rule).eq(rules) {
            return;
        }
        self.entries.truncate(self.guards);
        for rule in rules {
            let entry = self.entry(rule.clone(), None);
            self.entries.push(entry);
        }
    }

    pub(crate) fn add(&mut self, rule: Rule) -> GuardId {
        let guard = GuardId(self.made);
        let entry = self.entry(rule, Some(guard));
        self.entries.insert(self.guards, entry);
        self.guards += 1;
        guard
    }

    pub(crate) fn remove(&mut self, guard: GuardId) -> Option<RuleKey> {
        let index = self.entries.iter().position(|entry| entry.guard == Some(guard))?;
        self.guards -= 1;
        Some(self.entries.remove(index).key)
    }

    fn entry(&mut self, rule: Rule, guard: Option<GuardId>) -> Entry {
        let key = RuleKey(self.made);
        self.made += 1;
        Entry {
            key,
            guard,
            rule,
            matched: 0,
            acted: 0,
            rng: Rng::with_seed(mix(self.seed, key.0)),
            holds: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn count(&self, guard: GuardId) -> Option<u64> {
        self.entries
            .iter()
            .find(|entry| entry.guard == Some(guard))
            .map(|entry| entry.acted)
    }

    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        self.entries
            .iter()
            .map(|entry| (entry.rule.name.clone(), entry.acted))
            .collect()
    }

    /// Whether a rule is still there.
    pub(crate) fn has(&self, key: RuleKey) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// A packet begins or ends to wait for its partner.
    pub(crate) fn set_holds(&mut self, key: RuleKey, holds: bool) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.holds = holds;
        }
    }

    /// The first rule that matches.
    pub(crate) fn decide(&mut self, seen: &Seen<'_>) -> Option<Hit> {
        self.entries.iter_mut().find_map(|entry| entry.decide(seen))
    }
}

impl Entry {
    fn decide(&mut self, seen: &Seen<'_>) -> Option<Hit> {
        let used_up = self.rule.times.is_some_and(|times| self.acted >= u64::from(times));
        if (used_up && !self.holds) || !self.rule.select.matches(seen) {
            return None;
        }
        self.matched += 1;
        let mut draw = None;
        // The partner of a packet that waits is simply the next one; the pair counts once.
        if !self.holds {
            let select = &self.rule.select;
            if select.nth.is_some_and(|nth| self.matched != nth)
                || select.every.is_some_and(|k| k == 0 || !self.matched.is_multiple_of(k))
            {
                return None;
            }
            if let Some(probability) = self.rule.probability {
                let drawn = unit(&mut self.rng);
                if drawn >= probability {
                    return None;
                }
                draw = Some(drawn);
            }
            self.acted += 1;
        }
        let random = matches!(
            self.rule.action,
            Action::Corrupt {
                damage: Damage::Bits(_),
                ..
            }
        );
        let seed = if random { self.rng.u64(..) } else { 0 };
        Some(Hit {
            key: self.key,
            name: self.rule.name.clone(),
            action: self.rule.action,
            draw,
            seed,
        })
    }
}
