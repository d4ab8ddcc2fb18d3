//! Observations and notifications (RFC 7641; LwM2M Core, 6.4 and 7.3: attributes pmin, pmax, gt, lt, st).

use core::time::Duration;

use coap_lite::Packet;
use fotaproof_coap::observe::ObserveSequence;
use fotaproof_coap::{Ended, ExchangeId, Observer, Token};
use fotaproof_wire::coap::Code;
use fotaproof_wire::{LwPath, content};

use super::Device;
use super::act::Resend;
use super::answer::Answer;
use super::dispatch::Incoming;
use crate::Defect;

/// Observations that a device keeps at a time; further ones get a plain answer.
const LIMIT: usize = 32;
/// A confirmable notification at least this often (RFC 7641, 4.5).
const CONFIRM_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What Write-Attributes set on a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attributes {
    pub(super) pmin: Option<u32>,
    pub(super) pmax: Option<u32>,
    pub(super) greater: Option<f64>,
    pub(super) less: Option<f64>,
    pub(super) step: Option<f64>,
    pub(super) confirmable: Option<bool>,
}

impl Attributes {
    pub(super) fn is_consistent(&self) -> bool {
        let periods = !matches!((self.pmin, self.pmax), (Some(pmin), Some(pmax)) if pmax > 0 && pmin > pmax);
        let limits = !matches!((self.less, self.greater), (Some(less), Some(greater)) if less + 2.0 * self.step.unwrap_or(0.0) >= greater);
        periods && limits && self.step.is_none_or(|step| step > 0.0)
    }

    /// As Discover shows them.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let seconds = [("pmin", self.pmin), ("pmax", self.pmax)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.to_string())));
        let numbers = [("gt", self.greater), ("lt", self.less), ("st", self.step)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.to_string())));
        seconds.chain(numbers).collect()
    }

    /// What is not set here comes from further up.
    fn or(self, above: &Self) -> Self {
        Self {
            pmin: self.pmin.or(above.pmin),
            pmax: self.pmax.or(above.pmax),
            greater: self.greater.or(above.greater),
            less: self.less.or(above.less),
            step: self.step.or(above.step),
            confirmable: self.confirmable.or(above.confirmable),
        }
    }
}

/// The observations of a device.
#[derive(Debug, Default)]
pub(super) struct Observe {
    all: Vec<Observation>,
    dirty: bool,
    next_radio: Option<Duration>,
}

#[derive(Debug)]
struct Observation {
    observer: Observer,
    paths: Vec<LwPath>,
    composite: bool,
    format: u16,
    sequence: ObserveSequence,
    /// The payload that the server has, or is on its way.
    sent: Vec<u8>,
    /// The number in it, for gt, lt and st.
    number: Option<f64>,
    sent_at: Duration,
    confirmed_at: Duration,
    in_flight: Option<ExchangeId>,
    /// The value differs from what the server has.
    changed: bool,
    /// Silenced by a defect.
    stalled: bool,
}

impl Observe {
    pub(super) fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// A new registration begins: the server observes anew what it still wants (LwM2M Core 6.4.1).
    pub(super) fn forget(&mut self) {
        self.all.clear();
    }

    /// What is observed, a path for each observation; of a composite one all its paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = LwPath> + '_ {
        self.all
            .iter()
            .flat_map(|observation| observation.paths.iter().copied())
    }

    pub(super) fn take_dirty(&mut self) -> bool {
        core::mem::take(&mut self.dirty)
    }
}

impl Device {
    /// Begins an observation; the answer becomes its first notification.
    pub(super) fn observe(&mut self, now: Duration, request: &Incoming, paths: Vec<LwPath>, answer: &mut Answer) {
        let Some(token) = Token::new(request.packet.get_token()) else {
            return;
        };
        let observer = Observer {
            peer: request.from,
            token,
        };
        let observe = &mut self.ram.observe;
        observe.all.retain(|observation| observation.observer != observer);
        if observe.all.len() >= LIMIT {
            return;
        }
        let mut stalled = false;
        if self.defects.has(Defect::ReobserveStalls) {
            for observation in observe.all.iter_mut().filter(|observation| observation.paths == paths) {
                (observation.stalled, stalled) = (true, true);
            }
        }
        let mut sequence = ObserveSequence::default();
        answer.observe = Some(sequence.advance());
        let number = self.number_at(now, &paths);
        self.ram.observe.all.push(Observation {
            observer,
            composite: request.path.is_root(),
            paths,
            format: answer.format.unwrap_or_default(),
            sequence,
            sent: answer.payload.clone(),
            number,
            sent_at: now,
            confirmed_at: now,
            in_flight: None,
            changed: false,
            stalled,
        });
        self.ram.observe.next_radio = self.next_radio_change(now);
    }

    pub(super) fn stop_observing(&mut self, request: &Incoming) {
        if self.has(Defect::CancelGetIgnored) {
            return;
        }
        let Some(token) = Token::new(request.packet.get_token()) else {
            return;
        };
        let observer = Observer {
            peer: request.from,
            token,
        };
        self.ram
            .observe
            .all
            .retain(|observation| observation.observer != observer);
    }

    pub(super) fn observe_deadline(&self) -> Option<Duration> {
        let observe = &self.ram.observe;
        let due = observe.all.iter().filter_map(|observation| self.due(observation)).min();
        let radio = observe.next_radio.filter(|_| !observe.all.is_empty());
        due.into_iter().chain(radio).min()
    }

    pub(super) fn observe_timeout(&mut self, now: Duration) {
        if self.ram.observe.next_radio.is_some_and(|at| at <= now) {
            self.ram.observe.next_radio = self.next_radio_change(now);
            self.ram.observe.mark_dirty();
        }
        self.send_due(now);
    }

    /// When an observation is to be notified: pmin after the last one if the value changed, pmax after it in any case.
    fn due(&self, observation: &Observation) -> Option<Duration> {
        if self.config.send_changes
            || observation.in_flight.is_some()
            || observation.stalled
            || self.hides_downloaded(observation)
        {
            return None;
        }
        let attributes = self.attributes_of(observation);
        let pmin = Duration::from_secs(attributes.pmin.unwrap_or(self.ram.default_pmin).into());
        let pmax = attributes.pmax.unwrap_or(self.ram.default_pmax);
        let changed = observation.changed.then(|| observation.sent_at + pmin);
        // A pmax below pmin is ignored (LwM2M Core, 7.3.2).
        let steady = (pmax > 0 && !self.has(Defect::PmaxIgnored))
            .then(|| observation.sent_at + Duration::from_secs(pmax.into()).max(pmin));
        changed.into_iter().chain(steady).min()
    }

    /// A defect keeps State 2 to itself.
    fn hides_downloaded(&self, observation: &Observation) -> bool {
        let covers_state = || {
            observation
                .paths
                .iter()
                .any(|path| LwPath::resource(5, 0, 3).starts_with(path))
        };
        self.has(Defect::DownloadedNotNotified) && self.shown_pair().0 == 2 && covers_state()
    }

    fn attributes_of(&self, observation: &Observation) -> Attributes {
        // asked of each observation whenever the deadline is, and hardly ever set
        let Some(path) = observation.paths.first().filter(|_| !self.ram.attributes.is_empty()) else {
            return Attributes::default();
        };
        (1..=path.depth())
            .rev()
            .filter_map(|depth| self.ram.attributes.get(&path.truncated(depth)))
            .fold(Attributes::default(), Attributes::or)
    }

    fn number_at(&self, now: Duration, paths: &[LwPath]) -> Option<f64> {
        match (paths, paths.first().map(|path| self.values(now, path))) {
            ([path], Some(values)) if path.depth() >= 3 && values.len() == 1 => values[0].1.as_f64(),
            _ => None,
        }
    }

    fn encode(&self, now: Duration, observation: &Observation) -> Option<Vec<u8>> {
        if observation.composite {
            let answer = self.read_composite(now, &observation.paths, observation.format);
            return (answer.code == Code::CONTENT).then_some(answer.payload);
        }
        let path = observation.paths.first()?;
        content::encode(observation.format, path, &self.values(now, path)).ok()
    }

    /// Looks which observed values changed, and notifies what is due.
    pub(super) fn evaluate_observations(&mut self, now: Duration) {
        if self.config.send_changes {
            return self.send_change(now);
        }
        let mut all = core::mem::take(&mut self.ram.observe.all);
        for observation in &mut all {
            let Some(payload) = self.encode(now, observation) else {
                continue;
            };
            observation.changed = payload != observation.sent && self.is_worth_telling(now, observation);
        }
        self.ram.observe.all = all;
        self.send_due(now);
    }

    /// gt, lt and st apply to numbers only: told when a threshold is crossed or the step is reached (LwM2M Core, 7.3.2).
    fn is_worth_telling(&self, now: Duration, observation: &Observation) -> bool {
        let attributes = self.attributes_of(observation);
        let (Some(before), Some(after)) = (observation.number, self.number_at(now, &observation.paths)) else {
            return true;
        };
        if attributes.greater.is_none() && attributes.less.is_none() && attributes.step.is_none() {
            return true;
        }
        let crossed = |limit: Option<f64>| limit.is_some_and(|limit| (before > limit) != (after > limit));
        crossed(attributes.greater)
            || crossed(attributes.less)
            || attributes.step.is_some_and(|step| (after - before).abs() >= step)
    }

    /// Notifies whoever observes this path, or one above or below, changed or not.
    pub(super) fn notify_at(&mut self, now: Duration, path: &LwPath) {
        let observed = |observation: &Observation| {
            let mut paths = observation.paths.iter();
            paths.any(|observed| observed.starts_with(path) || path.starts_with(observed))
        };
        let wanted: Vec<usize> = (0..self.ram.observe.all.len())
            .filter(|index| observed(&self.ram.observe.all[*index]))
            .collect();
        if wanted.is_empty() {
            return self.log(format!("nobody observes {path}"));
        }
        for index in wanted {
            self.notify(now, index);
        }
    }

    fn send_due(&mut self, now: Duration) {
        if self.config.send_changes {
            return;
        }
        for index in 0..self.ram.observe.all.len() {
            if self.due(&self.ram.observe.all[index]).is_some_and(|at| at <= now) {
                self.notify(now, index);
            }
        }
    }

    fn notify(&mut self, now: Duration, index: usize) {
        let Some(payload) = self.encode(now, &self.ram.observe.all[index]) else {
            return;
        };
        let number = self.number_at(now, &self.ram.observe.all[index].paths);
        let wanted = self.attributes_of(&self.ram.observe.all[index]).confirmable;
        let mut to = self.ram.observe.all[index].observer;
        if self.has(Defect::TokensSwapped) && self.ram.observe.all.len() > 1 {
            to.token = self.ram.observe.all[(index + 1) % self.ram.observe.all.len()]
                .observer
                .token;
        }
        let observation = &mut self.ram.observe.all[index];
        let confirmable =
            wanted.unwrap_or(self.config.confirmable_notifications) || now >= observation.confirmed_at + CONFIRM_EVERY;
        let mut answer = Answer {
            observe: Some(observation.sequence.advance()),
            ..Answer::content(observation.format, payload)
        };
        observation.sent.clone_from(&answer.payload);
        (observation.number, observation.sent_at, observation.changed) = (number, now, false);
        if confirmable {
            observation.confirmed_at = now;
        }
        answer = self.in_blocks(answer, &Packet::new());
        let exchange = self.ram.endpoint.notify(now, &to, answer.packet(), confirmable);
        self.ram.script.last.insert(Resend::Notification, exchange);
        self.ram.observe.all[index].in_flight = confirmable.then_some(exchange);
    }

    pub(super) fn on_notify_ended(&mut self, now: Duration, exchange: ExchangeId, observer: &Observer, reason: Ended) {
        let observe = &mut self.ram.observe;
        if let Some(observation) = observe
            .all
            .iter_mut()
            .find(|observation| observation.in_flight == Some(exchange))
        {
            observation.in_flight = None;
        }
        if matches!(reason, Ended::Reset | Ended::TimedOut | Ended::Unencodable) {
            observe.all.retain(|observation| observation.observer != *observer);
        }
        observe.mark_dirty();
        self.log_end_of_observation(now, reason);
    }

    fn log_end_of_observation(&mut self, now: Duration, reason: Ended) {
        if matches!(reason, Ended::Reset | Ended::TimedOut) {
            self.log(format!("an observation ended at {} s: {reason:?}", now.as_secs()));
        }
    }

    /// Sets the sequence numbers back: what only a defect does.
    pub(super) fn set_sequences_back(&mut self) {
        for observation in &mut self.ram.observe.all {
            observation.sequence = ObserveSequence::default();
        }
    }
}
