//! Questions about several messages together: distances in time, order, what differs, sums and shares.

use core::time::Duration;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use fotaproof_cases::ast::{MessageExpect, MessageMatch, OptionMatch, Party, Share, ShareBy, Spacing};
use fotaproof_wire::coap::{MessageView, Type};

use super::config::Addresses;
use super::messages::{MessageLog, Seen, told, words};

/// What is wrong: what was expected, and what was seen.
type Wrong = (String, String);

/// Whether a message has the options that are asked for.
pub(super) fn options_match(view: &MessageView<'_>, wanted: &[OptionMatch]) -> bool {
    wanted.iter().all(|want| option_matches(view, want))
}

fn option_matches(view: &MessageView<'_>, want: &OptionMatch) -> bool {
    let values: Vec<&[u8]> = view.options_of(want.number).map(|option| option.value).collect();
    if want.there == Some(false) {
        return values.is_empty();
    }
    if let Some(count) = &want.count {
        if !count.matches(&values.len().to_string()) {
            return false;
        }
    } else if values.is_empty() {
        return false;
    }
    let one = |holds: &dyn Fn(&[u8]) -> bool| values.iter().any(|value| holds(value));
    want.hex.as_ref().is_none_or(|hex| one(&|value| value == hex.0))
        && want
            .text
            .as_ref()
            .is_none_or(|text| one(&|value| value == text.as_bytes()))
        && want
            .length
            .as_ref()
            .is_none_or(|length| one(&|value| length.matches(&value.len().to_string())))
        && want
            .uint
            .as_ref()
            .is_none_or(|uint| one(&|value| value.len() <= 8 && uint.matches(&number_of(value).to_string())))
}

/// An unsigned integer of at most eight bytes.
fn number_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Whether a question needs [`judge`] at all.
pub(super) fn asks(ask: &MessageExpect) -> bool {
    ask.different_tokens.is_some()
        || ask.different_message_ids.is_some()
        || ask.observe_rises.is_some()
        || ask.spaced.is_some()
        || ask.before.is_some()
        || ask.after.is_some()
        || ask.total_bytes.is_some()
        || ask.share.is_some()
        || ask.turns.is_some()
        || ask.outstanding.is_some()
}

/// Where messages are looked for, and until when.
pub(super) struct Frame<'a> {
    pub(super) log: &'a MessageLog,
    pub(super) since: usize,
    pub(super) parties: &'a Addresses,
    pub(super) now: Duration,
    pub(super) tolerance: Duration,
}

impl Frame<'_> {
    fn others<'a>(&'a self, select: &'a MessageMatch) -> Vec<&'a Seen> {
        self.log.matching(self.since, select, self.parties).collect()
    }
}

/// Judges what is asked of all messages together; what is wrong first.
pub(super) fn judge(frame: &Frame<'_>, all: &[&Seen], ask: &MessageExpect, what: &str) -> Option<Wrong> {
    different(all, ask, what)
        .or_else(|| rising(all, ask, what))
        .or_else(|| ask.spaced.as_ref().and_then(|spaced| apart(frame, all, spaced, what)))
        .or_else(|| ordered(frame, all, ask, what))
        .or_else(|| summed(frame, all, ask, what))
        .or_else(|| in_turns(frame, all, ask, what))
        .or_else(|| unacknowledged(frame, ask, what))
}

fn different(all: &[&Seen], ask: &MessageExpect, what: &str) -> Option<Wrong> {
    let mut tokens = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for seen in all.iter().filter(|seen| !seen.again) {
        let Ok(view) = MessageView::parse(&seen.payload) else {
            continue;
        };
        if ask.different_tokens == Some(true) && !tokens.insert((seen.src, seen.dst, view.token().to_vec())) {
            return Some((format!("{what}: no token twice"), told(seen)));
        }
        if ask.different_message_ids == Some(true) && !ids.insert((seen.src, seen.dst, view.message_id())) {
            return Some((format!("{what}: no message id twice"), told(seen)));
        }
    }
    None
}

fn rising(all: &[&Seen], ask: &MessageExpect, what: &str) -> Option<Wrong> {
    if ask.observe_rises != Some(true) {
        return None;
    }
    let mut last: Option<(u32, &Seen)> = None;
    for seen in all.iter().filter(|seen| !seen.again) {
        let observe = MessageView::parse(&seen.payload).ok().and_then(|view| view.observe());
        let Some(value) = observe else {
            return Some((format!("{what}: each with Observe"), told(seen)));
        };
        if let Some((before, earlier)) = last
            && !newer(before, value, seen.at.saturating_sub(earlier.at))
        {
            return Some((
                format!("{what}: the value of Observe rises"),
                format!("{value} after {before}: {}", told(seen)),
            ));
        }
        last = Some((value, seen));
    }
    None
}

/// RFC 7641 section 3.4: 24 bits, half of them ahead, or more than 128 seconds later.
fn newer(before: u32, value: u32, later: Duration) -> bool {
    const HALF: u32 = 1 << 23;
    (before < value && value - before < HALF)
        || (before > value && before - value > HALF)
        || later > Duration::from_secs(128)
}

fn apart(frame: &Frame<'_>, all: &[&Seen], want: &Spacing, what: &str) -> Option<Wrong> {
    let tolerance = frame
        .tolerance
        .max(want.tolerance.map_or(Duration::ZERO, |span| span.0));
    let mut intervals: Vec<(Duration, Option<&Seen>)> = Vec::new();
    match &want.after {
        None => {
            for pair in all.windows(2) {
                intervals.push((pair[1].at.saturating_sub(pair[0].at), Some(pair[1])));
            }
            if want.to_the_end == Some(true)
                && let Some(last) = all.last()
            {
                intervals.push((frame.now.saturating_sub(last.at), None));
            }
        }
        Some(select) => {
            let starts: Vec<(usize, &Seen)> = frame
                .log
                .matching_numbered(frame.since, select, frame.parties)
                .collect();
            if starts.is_empty() {
                return Some((
                    format!("{what} after {}", words(select)),
                    "none of the latter".to_owned(),
                ));
            }
            // both are in the order of the log, where messages of one instant have their order too
            let places: Vec<usize> = all.iter().map(|seen| frame.log.place_of(seen)).collect();
            for (i, (place, start)) in starts.iter().enumerate() {
                let end = starts.get(i + 1).map(|(_, next)| next.at);
                let next = all.get(places.partition_point(|other| other <= place));
                match next {
                    Some(next) if end.is_none_or(|end| next.at <= end) => {
                        intervals.push((next.at.saturating_sub(start.at), Some(*next)));
                    }
                    _ if want.to_the_end == Some(true) => {
                        intervals.push((end.unwrap_or(frame.now).saturating_sub(start.at), None));
                    }
                    _ => {}
                }
            }
        }
    }
    let between = want.after.as_ref().map_or_else(
        || "from one to the next".to_owned(),
        |select| format!("after {}", words(select)),
    );
    for (interval, seen) in intervals {
        let at = seen.map_or_else(|| "nothing more came".to_owned(), told);
        let told = format!("{:.3} s: {at}", interval.as_secs_f64());
        if let Some(least) = want.least
            && seen.is_some()
            && interval + tolerance < least.0
        {
            return Some((
                format!("{what}: at least {:.3} s {between}", least.0.as_secs_f64()),
                told,
            ));
        }
        if let Some(most) = want.most
            && interval > most.0 + tolerance
        {
            return Some((format!("{what}: at most {:.3} s {between}", most.0.as_secs_f64()), told));
        }
    }
    None
}

fn ordered(frame: &Frame<'_>, all: &[&Seen], ask: &MessageExpect, what: &str) -> Option<Wrong> {
    let first = |select: &MessageMatch| {
        frame
            .log
            .matching_numbered(frame.since, select, frame.parties)
            .next()
            .map(|(place, seen)| (place, told(seen)))
    };
    let place = |seen: &Seen| frame.log.place_of(seen);
    if let Some(select) = &ask.before
        && let Some((limit, _)) = first(select)
        && let Some(late) = all.iter().find(|seen| place(seen) > limit)
    {
        return Some((
            format!("{what} before {}", words(select)),
            format!("after it: {}", told(late)),
        ));
    }
    if let Some(select) = &ask.after {
        let Some((limit, _)) = first(select) else {
            return Some((
                format!("{what} after {}", words(select)),
                "none of the latter".to_owned(),
            ));
        };
        if let Some(early) = all.iter().find(|seen| place(seen) < limit) {
            return Some((
                format!("{what} after {}", words(select)),
                format!("before it: {}", told(early)),
            ));
        }
    }
    None
}

fn summed(frame: &Frame<'_>, all: &[&Seen], ask: &MessageExpect, what: &str) -> Option<Wrong> {
    let bytes = |all: &[&Seen]| all.iter().map(|seen| seen.payload.len()).sum::<usize>();
    if let Some(want) = &ask.total_bytes {
        let sum = bytes(all);
        if !want.matches(&sum.to_string()) {
            return Some((format!("{what}: {want} bytes in all"), format!("{sum} bytes")));
        }
    }
    let share: &Share = ask.share.as_ref()?;
    let others: Vec<&Seen> = frame
        .others(&share.of)
        .into_iter()
        .filter(|seen| share.distinct != Some(true) || !seen.again)
        .collect();
    let (have, of, unit) = match share.by.unwrap_or_default() {
        ShareBy::Count => (all.len(), others.len(), "messages"),
        ShareBy::Bytes => (bytes(all), bytes(&others), "bytes"),
    };
    if of == 0 {
        return (have > 0 && share.most.is_some()).then(|| {
            (
                format!("{what} for each {}", words(&share.of)),
                format!("{have} {unit} for none of the latter"),
            )
        });
    }
    let ratio = have as f64 / of as f64;
    let broken = share.least.is_some_and(|least| ratio < least) || share.most.is_some_and(|most| ratio > most);
    broken.then(|| {
        let bounds: Vec<String> = [("at least", share.least), ("at most", share.most)]
            .into_iter()
            .filter_map(|(word, bound)| bound.map(|bound| format!("{word} {bound}")))
            .collect();
        (
            format!(
                "{what}: {} times as many {unit} as {}",
                bounds.join(" and "),
                words(&share.of)
            ),
            format!("{ratio:.2} times ({have} of {of})"),
        )
    })
}

/// How often one kind of message follows the other.
fn in_turns(frame: &Frame<'_>, all: &[&Seen], ask: &MessageExpect, what: &str) -> Option<Wrong> {
    let turns = ask.turns.as_ref()?;
    let own = all.iter().map(|seen| (frame.log.place_of(seen), true, seen.again));
    let others = frame
        .log
        .matching_numbered(frame.since, &turns.with, frame.parties)
        .map(|(place, seen)| (place, false, seen.again));
    let mut both: Vec<(usize, bool)> = own
        .chain(others)
        .filter(|(_, _, again)| !again)
        .map(|(place, own, _)| (place, own))
        .collect();
    both.sort_unstable();
    let changes = both.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    (changes < turns.least as usize).then(|| {
        (
            format!("{what} in turns with {}, {} changes", words(&turns.with), turns.least),
            format!("{changes} changes in {} messages", both.len()),
        )
    })
}

/// A Confirmable message that waits for its acknowledgement.
struct Open {
    to: SocketAddr,
    id: u16,
    token: Vec<u8>,
    /// Until when its sender would have sent it once more.
    until: Duration,
    last: Duration,
}

/// RFC 7252 section 4.7: how many Confirmable messages to one receiver wait at the same time. A message counts until its
/// acknowledgement, reset or response reaches the sender, and no longer than until its next copy is due (section 4.2): a sender that
/// does not send it then has given it up.
fn unacknowledged(frame: &Frame<'_>, ask: &MessageExpect, what: &str) -> Option<Wrong> {
    /// ACK_TIMEOUT times ACK_RANDOM_FACTOR.
    const FIRST_COPY: Duration = Duration::from_secs(3);
    let want = ask.outstanding.as_ref()?;
    let slack = frame.tolerance.max(Duration::from_millis(50));
    let mut open: Vec<Open> = Vec::new();
    let mut most = 0;
    let mut at_most: Option<&Seen> = None;
    for seen in frame.log.since(frame.since).filter(|seen| !seen.aside) {
        let Ok(view) = MessageView::parse(&seen.payload) else {
            continue;
        };
        let (id, at) = (view.message_id(), seen.at);
        if !seen.by_iut {
            let over = matches!(view.kind(), Type::Ack | Type::Rst);
            let response = view.code().is_response();
            open.retain(|one| {
                one.to != seen.src || !((over && one.id == id) || (response && one.token == view.token()))
            });
            continue;
        }
        if view.kind() != Type::Con {
            continue;
        }
        open.retain(|one| one.until >= at);
        if let Some(known) = open.iter_mut().find(|one| one.to == seen.dst && one.id == id) {
            let interval = at.saturating_sub(known.last);
            known.last = at;
            known.until = at + interval * 2 + slack;
            continue;
        }
        if seen.again || !super::messages::matches(seen, &ask.select, frame.parties) {
            continue;
        }
        open.push(Open {
            to: seen.dst,
            id,
            token: view.token().to_vec(),
            until: at + FIRST_COPY + slack,
            last: at,
        });
        let count = open.iter().filter(|one| one.to == seen.dst).count();
        if count > most {
            most = count;
            at_most = Some(seen);
        }
    }
    (!want.matches(&most.to_string())).then(|| {
        (
            format!("{what}: {want} to one receiver unacknowledged at the same time"),
            at_most.map_or_else(|| "none".to_owned(), |seen| format!("{most} with {}", told(seen))),
        )
    })
}

/// Whether a sender is another party than the IUT.
pub(super) const fn is_other(party: Option<&Party>) -> bool {
    !matches!(party, None | Some(Party::Iut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observe_values_wrap_and_age() {
        let soon = Duration::from_secs(1);
        assert!(newer(1, 2, soon) && !newer(2, 2, soon) && !newer(3, 2, soon));
        assert!(newer((1 << 24) - 1, 0, soon) && !newer(0, (1 << 24) - 1, soon));
        assert!(!newer(3, 2, Duration::from_secs(128)) && newer(3, 2, Duration::from_secs(129)));
    }

    #[test]
    fn options_are_found_by_number_and_value() {
        // GET, token aa, Uri-Path "5", Uri-Path "0", Size1 1024 (option 60)
        let bytes = [0x41, 1, 0, 7, 0xaa, 0xb1, b'5', 0x01, b'0', 0xd2, 36, 4, 0];
        let view = MessageView::parse(&bytes).expect("a message");
        let yes = |want: OptionMatch| option_matches(&view, &want);
        let number = |number| OptionMatch {
            number,
            ..OptionMatch::default()
        };
        assert!(yes(number(11)) && yes(number(60)) && !yes(number(12)));
        assert!(yes(OptionMatch {
            there: Some(false),
            ..number(12)
        }));
        assert!(yes(OptionMatch {
            count: "2".parse().ok(),
            text: Some("0".to_owned()),
            ..number(11)
        }));
        assert!(yes(OptionMatch {
            uint: "1024".parse().ok(),
            length: "2".parse().ok(),
            ..number(60)
        }));
        assert!(!yes(OptionMatch {
            uint: "1025".parse().ok(),
            ..number(60)
        }));
    }
}
