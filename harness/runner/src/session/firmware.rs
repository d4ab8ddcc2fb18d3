//! What is known of the firmware object: the samples of State and Result in their order.

use core::time::Duration;

use fotaproof_cases::ast::{Pair, Station};
use fotaproof_trace::SampleSource;

/// One value that the server learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampled {
    pub(crate) at: Duration,
    pub(crate) state: Option<u8>,
    pub(crate) result: Option<u8>,
    pub(crate) by: SampleSource,
}

/// The samples of one update object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Firmware {
    history: Vec<Sampled>,
    state: Option<(Duration, u8)>,
    result: Option<(Duration, u8)>,
    /// Since when the pair has been what it is.
    steady_since: Option<Duration>,
    /// Index into the history from which the next path is judged.
    anchor: usize,
}

impl Firmware {
    pub(crate) fn add(&mut self, sample: Sampled) {
        let before = self.pair();
        if let Some(state) = sample.state {
            self.state = Some((sample.at, state));
        }
        if let Some(result) = sample.result {
            self.result = Some((sample.at, result));
        }
        if self.pair() != before {
            self.steady_since = Some(sample.at);
        }
        self.history.push(sample);
    }

    pub(crate) fn pair(&self) -> Option<(u8, u8)> {
        Some((self.state?.1, self.result?.1))
    }

    pub(crate) const fn result(&self) -> Option<u8> {
        match self.result {
            Some((_, result)) => Some(result),
            None => None,
        }
    }

    /// Since when the pair is what it is.
    pub(crate) const fn steady_since(&self) -> Option<Duration> {
        self.steady_since
    }

    /// When State and Result were both last learnt.
    pub(crate) fn last_complete(&self) -> Option<Duration> {
        Some(self.state?.0.min(self.result?.0))
    }

    /// The next path begins with the state that is known now.
    pub(crate) fn settle(&mut self) {
        self.anchor = self.history.iter().rposition(|s| s.state.is_some()).unwrap_or(0);
    }

    pub(crate) fn len(&self) -> usize {
        self.history.len()
    }

    /// The first sample that was taken at this time or later.
    pub(crate) fn index_at(&self, at: Duration) -> usize {
        self.history.partition_point(|sample| sample.at < at)
    }

    pub(crate) fn since(&self, index: usize) -> &[Sampled] {
        self.history.get(index..).unwrap_or(&[])
    }

    /// The samples from the anchor on, in words, for a report.
    pub(crate) fn told(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let (mut state, mut result) = (None, None);
        for sample in self.since(self.anchor) {
            state = sample.state.or(state);
            result = sample.result.or(result);
            let word = match (state, result) {
                (Some(state), Some(result)) => format!("{state}/{result}"),
                (Some(state), None) => format!("state {state}"),
                (None, Some(result)) => format!("result {result}"),
                (None, None) => continue,
            };
            if words.last() != Some(&word) {
                words.push(word);
            }
        }
        if words.is_empty() {
            "no state was seen".to_owned()
        } else {
            words.join(", ")
        }
    }

    /// Follows the stations through the samples since the anchor.
    pub(crate) fn follow(&self, stations: &[Station]) -> Follow {
        let samples = self.since(self.anchor);
        let mut states = samples
            .iter()
            .filter_map(|s| s.state.map(|state| (state, s.by)))
            .peekable();
        let before = states.peek().map(|(state, _)| *state);
        // -1 until the first station was seen
        let mut place: Option<usize> = None;
        for (state, by) in states {
            if place.is_some_and(|i| stations[i].state == state) {
                continue;
            }
            let from = place.map_or(0, |i| i + 1);
            let next = stations[from..].iter().position(|s| s.state == state).map(|i| from + i);
            match next {
                Some(next)
                    if stations[from..next].iter().all(|s| s.optional) || (place.is_none() && self.anchor == 0) =>
                {
                    place = Some(next);
                }
                _ if place.is_none() && before == Some(state) => {}
                // a notification that was sent before what is already known
                _ if by == SampleSource::Notification
                    && place.is_some_and(|i| stations[..i].iter().any(|s| s.state == state)) => {}
                _ if by == SampleSource::Notification && before == Some(state) => {}
                _ => {
                    return Follow::Astray { state };
                }
            }
        }
        match place {
            Some(place) if place + 1 == stations.len() => Follow::Arrived,
            // what is left may go unseen
            Some(place) if stations[place + 1..].iter().all(|s| s.optional) => Follow::Arrived,
            _ => Follow::OnTheWay,
        }
    }
}

/// Where a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// The last station was reached.
    Arrived,
    /// So far, so good.
    OnTheWay,
    /// A state that is no station, or in the wrong order.
    Astray {
        /// That state.
        state: u8,
    },
}

/// Whether a pair is one of those wanted.
pub(crate) fn pair_matches(pair: (u8, u8), wanted: &[Pair]) -> bool {
    wanted
        .iter()
        .any(|want| want.state == pair.0 && want.result.is_none_or(|result| result == pair.1))
}

/// The pairs in words.
pub(crate) fn pairs_told(wanted: &[Pair]) -> String {
    let words: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    words.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firmware(states: &[u8]) -> Firmware {
        let mut firmware = Firmware::default();
        for (i, state) in states.iter().enumerate() {
            firmware.add(Sampled {
                at: Duration::from_secs(i as u64),
                state: Some(*state),
                result: None,
                by: SampleSource::Read,
            });
        }
        firmware
    }

    fn stations(words: &[&str]) -> Vec<Station> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn an_optional_station_may_go_unseen() {
        let path = stations(&["idle", "downloading?", "downloaded"]);
        assert_eq!(firmware(&[0, 1, 2]).follow(&path), Follow::Arrived);
        assert_eq!(firmware(&[0, 2]).follow(&path), Follow::Arrived);
        assert_eq!(firmware(&[0, 1]).follow(&path), Follow::OnTheWay);
    }

    #[test]
    fn a_required_station_may_not() {
        let path = stations(&["idle", "downloading", "downloaded"]);
        assert_eq!(firmware(&[0, 1, 2]).follow(&path), Follow::Arrived);
        assert_eq!(firmware(&[0, 2]).follow(&path), Follow::Astray { state: 2 });
    }

    #[test]
    fn a_state_that_is_no_station_leads_astray() {
        let path = stations(&["idle", "downloading?", "downloaded"]);
        assert_eq!(firmware(&[0, 3]).follow(&path), Follow::Astray { state: 3 });
        assert_eq!(firmware(&[0, 2, 1]).follow(&path), Follow::Astray { state: 1 });
    }

    #[test]
    fn the_state_before_may_last_a_while() {
        let mut f = firmware(&[0, 2]);
        f.settle();
        let path = stations(&["updating?", "idle"]);
        assert_eq!(f.follow(&path), Follow::OnTheWay);
        f.add(Sampled {
            at: Duration::from_secs(9),
            state: Some(2),
            result: None,
            by: SampleSource::Read,
        });
        f.add(Sampled {
            at: Duration::from_secs(10),
            state: Some(0),
            result: None,
            by: SampleSource::Read,
        });
        assert_eq!(f.follow(&path), Follow::Arrived);
    }
}
