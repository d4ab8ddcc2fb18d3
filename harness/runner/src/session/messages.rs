//! The messages at the IUT's end of the link, and the questions that a case asks of them.

use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use fotaproof_cases::ast::{Intervals, MessageExpect, MessageMatch, Party, ValueMatch};
use fotaproof_wire::coap::{BlockValue, Code, MessageView, Type, option, summary};

use super::config::Addresses;
use super::distances;

/// A message as a case can ask for it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    /// Whether the IUT sent it.
    pub(crate) by_iut: bool,
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) datagram: u64,
    pub(crate) payload: Bytes,
    pub(crate) packets: u16,
    pub(crate) largest: u16,
    /// The path of the request, or of the request that it answers.
    pub(crate) path: Option<String>,
    /// The same sender, receiver, type and message id came before.
    pub(crate) again: bool,
    /// An acknowledgement or reset of its message id had reached the IUT, its sender.
    pub(crate) acknowledged: bool,
    /// The IUT has heard the receiver from another address since.
    pub(crate) old_address: bool,
    /// Between a device and a repository of the harness: the IUT has no part in it.
    pub(crate) aside: bool,
}

/// All messages of a case, when the case asks for any.
#[derive(Debug, Default)]
pub(crate) struct MessageLog {
    all: Vec<Seen>,
    keys: HashMap<(SocketAddr, SocketAddr, u8, u16), ()>,
    /// Message ids of the IUT that were acknowledged: by IUT address, other address, id.
    acknowledged: HashSet<(SocketAddr, SocketAddr, u16)>,
    /// Where each host last sent from, as the IUT heard it.
    heard: HashMap<IpAddr, SocketAddr>,
    /// The case asks, so that messages are kept.
    pub(crate) wanted: bool,
}

impl MessageLog {
    pub(crate) fn add(&mut self, mut seen: Seen) {
        if !self.wanted {
            return;
        }
        if let Ok(view) = MessageView::parse(&seen.payload) {
            let key = (seen.src, seen.dst, view.kind() as u8, view.message_id());
            seen.again = self.keys.insert(key, ()).is_some();
            if seen.aside {
                // the IUT has heard nothing of it
            } else if seen.by_iut {
                seen.old_address = self.heard.get(&seen.dst.ip()).is_some_and(|last| *last != seen.dst);
                seen.acknowledged = self.acknowledged.contains(&(seen.src, seen.dst, view.message_id()));
            } else {
                self.heard.insert(seen.src.ip(), seen.src);
            }
            if !seen.by_iut && !seen.aside && matches!(view.kind(), Type::Ack | Type::Rst) {
                self.acknowledged.insert((seen.dst, seen.src, view.message_id()));
            }
        }
        self.all.push(seen);
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The ETag of the last message that the IUT sent with one.
    pub(crate) fn last_etag(&self) -> Option<Vec<u8>> {
        self.all.iter().rev().filter(|seen| seen.by_iut).find_map(|seen| {
            let view = MessageView::parse(&seen.payload).ok()?;
            view.etag().map(<[u8]>::to_vec)
        })
    }

    /// The messages from `since` on.
    pub(crate) fn since(&self, since: usize) -> impl Iterator<Item = &Seen> {
        self.all.iter().skip(since)
    }

    /// The messages from `since` on that match, each with its place.
    pub(crate) fn matching_numbered<'a>(
        &'a self,
        since: usize,
        select: &'a MessageMatch,
        parties: &'a Addresses,
    ) -> impl Iterator<Item = (usize, &'a Seen)> + 'a {
        self.all
            .iter()
            .enumerate()
            .skip(since)
            .filter(move |(_, seen)| matches(seen, select, parties))
    }

    /// The place of a message of this log.
    pub(crate) fn place_of(&self, seen: &Seen) -> usize {
        // messages stand in the order of their time
        let first = self.all.partition_point(|other| other.at < seen.at);
        self.all[first..]
            .iter()
            .position(|other| core::ptr::eq(other, seen))
            .map_or(first, |at| first + at)
    }

    /// The messages from `since` on that match.
    pub(crate) fn matching<'a>(
        &'a self,
        since: usize,
        select: &'a MessageMatch,
        parties: &'a Addresses,
    ) -> impl Iterator<Item = &'a Seen> + 'a {
        self.all
            .get(since..)
            .unwrap_or(&[])
            .iter()
            .filter(move |seen| matches(seen, select, parties))
    }
}

/// The address of a party; the IUT has none of its own.
fn address_of(party: &Party, parties: &Addresses) -> Option<SocketAddr> {
    match party {
        Party::Iut => None,
        // the server is the IUT where the harness plays devices
        Party::Server if !parties.devices.is_empty() => None,
        Party::Server => Some(parties.server),
        Party::Stranger => Some(parties.stranger),
        Party::OtherPort => Some(parties.other_port),
        Party::Device(_) => None,
        Party::Repository(name) => Some(*parties.repositories.get(name).unwrap_or(&parties.server)),
    }
}

fn party_matches(party: &Party, by_iut: bool, address: SocketAddr, parties: &Addresses) -> bool {
    if let Party::Device(name) = party {
        // its port changes, its host does not
        return !by_iut && parties.devices.get(name).is_some_and(|host| *host == address.ip());
    }
    match address_of(party, parties) {
        None => by_iut,
        Some(want) => !by_iut && want == address,
    }
}

/// Whether a message is one of those asked for.
pub(crate) fn matches(seen: &Seen, select: &MessageMatch, parties: &Addresses) -> bool {
    let from = select.from.as_ref().unwrap_or(&Party::Iut);
    if !party_matches(from, seen.by_iut, seen.src, parties) {
        return false;
    }
    // what goes past the IUT is meant only where its repository is named
    let repository = |party: Option<&Party>| matches!(party, Some(Party::Repository(_)));
    if seen.aside && !repository(select.from.as_ref()) && !repository(select.to.as_ref()) {
        return false;
    }
    if let Some(to) = &select.to
        && !party_matches(to, !seen.by_iut && !seen.aside, seen.dst, parties)
    {
        return false;
    }
    if select.again.is_some_and(|again| again != seen.again)
        || select.acknowledged.is_some_and(|want| want != seen.acknowledged)
        || select.old_address.is_some_and(|want| want != seen.old_address)
        || !number(select.packet_size.as_ref(), Some(u64::from(seen.largest)))
        || !number(select.fragments.as_ref(), Some(u64::from(seen.packets)))
    {
        return false;
    }
    let Ok(view) = MessageView::parse(&seen.payload) else {
        // a datagram that is no CoAP matches only where nothing is asked of its content
        return *select
            == MessageMatch {
                from: select.from.clone(),
                to: select.to.clone(),
                packet_size: select.packet_size.clone(),
                fragments: select.fragments.clone(),
                ..MessageMatch::default()
            };
    };
    content_matches(seen, &view, select)
}

fn content_matches(seen: &Seen, view: &MessageView<'_>, select: &MessageMatch) -> bool {
    let code = view.code();
    if let Some(kinds) = &select.kind
        && !kinds.iter().any(|kind| kind.0 == view.kind() as u8)
    {
        return false;
    }
    if let Some(methods) = &select.method
        && !methods.iter().any(|method| method.0 == code.0)
    {
        return false;
    }
    if let Some(codes) = &select.code {
        let response = code.0 >> 5 != 0;
        if !response || !codes.iter().any(|want| want.matches(code.0)) {
            return false;
        }
    }
    if select.empty.is_some_and(|empty| empty != (code == Code::EMPTY)) {
        return false;
    }
    if let Some(paths) = &select.path {
        let Some(path) = &seen.path else { return false };
        let hit = paths.iter().any(|want| match want.0.strip_suffix("/*") {
            Some(prefix) => path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')),
            None => *path == want.0,
        });
        if !hit {
            return false;
        }
    }
    if let Some(query) = &select.query
        && !view
            .uri_query()
            .iter()
            .map(|q| q.as_ref())
            .eq(query.iter().map(String::as_str))
    {
        return false;
    }
    if let Some(wanted) = &select.query_has {
        let given = view.uri_query();
        let has = |want: &String| {
            given.iter().any(|query| {
                let query = query.as_ref();
                query == want
                    || query
                        .strip_prefix(want.as_str())
                        .is_some_and(|rest| rest.starts_with('='))
            })
        };
        if !wanted.iter().all(has) {
            return false;
        }
    }
    if let Some(segments) = &select.segments {
        let mut given = view.options_of(option::URI_PATH);
        let mut wanted = segments.iter();
        loop {
            match (given.next(), wanted.next()) {
                (None, None) => break,
                (Some(given), Some(wanted)) if given.value == wanted.as_bytes() => {}
                _ => return false,
            }
        }
    }
    let block1 = view.block1().ok().flatten();
    let block2 = view.block2().ok().flatten();
    if !block(select.block1, block1) || !block(select.block2, block2) {
        return false;
    }
    if !number(select.block1_num.as_ref(), block1.map(|b| u64::from(b.num)))
        || !number(select.block1_size.as_ref(), block1.map(|b| b.szx.size() as u64))
        || !number(select.payload_length.as_ref(), Some(view.payload().len() as u64))
    {
        return false;
    }
    let num2 = match block2 {
        Some(b) => Some(u64::from(b.num)),
        None if code.is_request() => Some(0),
        None => None,
    };
    if !number(select.block2_num.as_ref(), num2)
        || !number(select.block2_size.as_ref(), block2.map(|b| b.szx.size() as u64))
    {
        return false;
    }
    if select.observe.is_some_and(|want| want != view.observe().is_some())
        || select.etag.is_some_and(|want| want != view.etag().is_some())
        || select
            .location
            .is_some_and(|want| want != view.options_of(option::LOCATION_PATH).next().is_some())
        || select
            .format
            .as_ref()
            .is_some_and(|wanted| !wanted.iter().any(|want| view.content_format() == Some(want.0)))
        || select.token.as_ref().is_some_and(|want| want.0 != view.token())
    {
        return false;
    }
    if !number(select.token_length.as_ref(), Some(view.token().len() as u64))
        || !select
            .options
            .as_ref()
            .is_none_or(|wanted| distances::options_match(view, wanted))
    {
        return false;
    }
    if let Some(text) = &select.payload_has {
        let hay = view.payload();
        if text.is_empty() || !hay.windows(text.len()).any(|window| window == text.as_bytes()) {
            return false;
        }
    }
    true
}

fn block(want: Option<fotaproof_cases::ast::BlockText>, have: Option<BlockValue>) -> bool {
    want.is_none_or(|want| {
        have.is_some_and(|have| {
            have.num == want.num && have.more == want.more && have.szx.size() == usize::from(want.size)
        })
    })
}

fn number(want: Option<&ValueMatch>, have: Option<u64>) -> bool {
    want.is_none_or(|want| have.is_some_and(|have| want.matches(&have.to_string())))
}

/// What a question about messages found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) held: bool,
    pub(crate) expected: String,
    pub(crate) seen: String,
    pub(crate) datagrams: Vec<u64>,
    /// More messages of the kind could still make it hold.
    pub(crate) may_still: bool,
}

/// Judges the messages from `since` on.
pub(crate) fn judge(
    log: &MessageLog,
    since: usize,
    ask: &MessageExpect,
    parties: &Addresses,
    now: Duration,
    tolerance: Duration,
) -> Judged {
    let mut all: Vec<&Seen> = log.matching(since, &ask.select, parties).collect();
    if ask.of_first == Some(true) || ask.of_last == Some(true) {
        let id = |seen: &Seen| {
            MessageView::parse(&seen.payload)
                .ok()
                .map(|view| (seen.src, seen.dst, view.message_id()))
        };
        let one = if ask.of_last == Some(true) {
            all.last()
        } else {
            all.first()
        };
        let one = one.and_then(|seen| id(seen));
        all.retain(|seen| id(seen) == one);
    }
    let what = ask.what.clone().unwrap_or_else(|| words(&ask.select));
    let datagrams: Vec<u64> = all.iter().map(|seen| seen.datagram).take(16).collect();
    let broken = |expected: String, seen: String, may_still: bool| Judged {
        held: false,
        expected,
        seen,
        datagrams: datagrams.clone(),
        may_still,
    };
    let counted = if ask.distinct.unwrap_or(false) {
        all.iter().filter(|seen| !seen.again).count()
    } else {
        all.len()
    };
    let asks_more = ask.identical.is_some()
        || ask.same_message_id.is_some()
        || ask.same_token.is_some()
        || ask.same_etag.is_some()
        || ask.each.is_some()
        || ask.intervals.is_some()
        || ask.sizes_never_grow.is_some()
        || ask.contiguous.is_some()
        || distances::asks(ask);
    let count = ask
        .count
        .clone()
        .or_else(|| (!asks_more || all.is_empty()).then_some(ValueMatch::AtLeast(1)));
    if let Some(count) = count
        && !count.matches(&counted.to_string())
    {
        let may_still = match count {
            ValueMatch::AtLeast(_) => true,
            ValueMatch::AtMost(_) => false,
            ValueMatch::Within(_, most) => (counted as i64) < most,
            ValueMatch::Equal(ref n) => n.parse::<usize>().is_ok_and(|n| counted < n),
            _ => true,
        };
        let last = all
            .last()
            .map_or_else(String::new, |seen| format!("; the last: {}", told(seen)));
        return broken(format!("{count} × {what}"), format!("{counted}{last}"), may_still);
    }
    if ask.identical == Some(true)
        && let Some(odd) = all.iter().find(|seen| seen.payload != all[0].payload)
    {
        return broken(
            format!("{what}: all the same byte for byte"),
            format!("{} differs from {}", told(odd), told(all[0])),
            false,
        );
    }
    let view_of = |seen: &Seen| {
        MessageView::parse(&seen.payload)
            .ok()
            .map(|v| (v.message_id(), v.token().to_vec()))
    };
    if ask.same_message_id == Some(true)
        && let Some(odd) = all
            .iter()
            .find(|s| view_of(s).map(|v| v.0) != view_of(all[0]).map(|v| v.0))
    {
        return broken(format!("{what}: all with one message id"), told(odd), false);
    }
    if ask.same_token == Some(true)
        && let Some(odd) = all
            .iter()
            .find(|s| view_of(s).map(|v| v.1) != view_of(all[0]).map(|v| v.1))
    {
        return broken(format!("{what}: all with one token"), told(odd), false);
    }
    if ask.same_etag == Some(true) {
        let etag_of = |seen: &Seen| {
            MessageView::parse(&seen.payload)
                .ok()
                .and_then(|view| view.etag().map(<[u8]>::to_vec))
        };
        let first = all.first().and_then(|seen| etag_of(seen));
        if let Some(odd) = all.iter().find(|seen| first.is_none() || etag_of(seen) != first) {
            return broken(format!("{what}: all with one ETag"), told(odd), false);
        }
    }
    if let Some(each) = &ask.each {
        let mut each = each.clone();
        if each.from.is_none() {
            each.from.clone_from(&ask.select.from);
        }
        if let Some(odd) = all.iter().find(|seen| !matches(seen, &each, parties)) {
            return broken(format!("each {what} is {}", words(&each)), told(odd), false);
        }
    }
    if let Some(intervals) = &ask.intervals
        && let Some((expected, seen)) = uneven(&all, intervals, tolerance)
    {
        return broken(format!("{what}: {expected}"), seen, false);
    }
    if let Some(expected) = ask
        .sizes_never_grow
        .filter(|want| *want)
        .map(|_| "block sizes never grow")
        && let Some(pair) = all.windows(2).find(|pair| match (size_of(pair[0]), size_of(pair[1])) {
            (Some(a), Some(b)) => b.szx > a.szx,
            _ => false,
        })
    {
        return broken(
            format!("{what}: {expected}"),
            format!("{} after {}", told(pair[1]), told(pair[0])),
            false,
        );
    }
    if ask.contiguous == Some(true) {
        let blocks: Vec<(&Seen, BlockValue)> = all
            .iter()
            .filter(|s| !s.again)
            .filter_map(|s| size_of(s).map(|b| (*s, b)))
            .collect();
        if let Some(pair) = blocks.windows(2).find(|pair| {
            let (a, b) = (pair[0].1, pair[1].1);
            b.offset() != a.offset() + a.szx.size() as u64 && b.offset() != a.offset()
        }) {
            return broken(
                format!("{what}: each block starts where the one before ended"),
                format!("{} after {}", told(pair[1].0), told(pair[0].0)),
                false,
            );
        }
    }
    let frame = distances::Frame {
        log,
        since,
        parties,
        now,
        tolerance,
    };
    if let Some((expected, seen)) = distances::judge(&frame, &all, ask, &what) {
        return broken(expected, seen, false);
    }
    Judged {
        held: true,
        expected: String::new(),
        seen: format!("{counted} × {what}"),
        datagrams: Vec::new(),
        may_still: false,
    }
}

fn size_of(seen: &Seen) -> Option<BlockValue> {
    let view = MessageView::parse(&seen.payload).ok()?;
    view.block2().ok().flatten().or_else(|| view.block1().ok().flatten())
}

fn uneven(all: &[&Seen], want: &Intervals, tolerance: Duration) -> Option<(String, String)> {
    let tolerance = tolerance.max(want.tolerance.map_or(Duration::ZERO, |span| span.0));
    let gaps: Vec<Duration> = all
        .windows(2)
        .map(|pair| pair[1].at.saturating_sub(pair[0].at))
        .collect();
    let told = || {
        let words: Vec<String> = gaps.iter().map(|gap| format!("{:.3} s", gap.as_secs_f64())).collect();
        words.join(", ")
    };
    let first = *gaps.first()?;
    if first + tolerance < want.least.0 || first > want.most.0 + tolerance {
        return Some((
            format!(
                "the first interval is {:.3} to {:.3} s",
                want.least.0.as_secs_f64(),
                want.most.0.as_secs_f64()
            ),
            told(),
        ));
    }
    let factor = want.factor.unwrap_or(1.0);
    for pair in gaps.windows(2) {
        let wanted = pair[0].mul_f64(factor);
        let off = pair[1].abs_diff(wanted);
        // the interval before is itself off by the tolerance
        if off > tolerance.mul_f64(1.0 + factor) + Duration::from_millis(1) {
            return Some((format!("each interval is {factor} times the one before"), told()));
        }
    }
    None
}

/// One message in words.
pub(crate) fn told(seen: &Seen) -> String {
    format!("{} at {:.3} s", summary(&seen.payload), seen.at.as_secs_f64())
}

/// A question in words.
pub(crate) fn words(select: &MessageMatch) -> String {
    let mut words = Vec::new();
    if let Some(kinds) = &select.kind {
        words.push(kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join("/"));
    }
    if select.empty == Some(true) {
        words.push("Empty".to_owned());
    }
    if let Some(methods) = &select.method {
        words.push(methods.iter().map(ToString::to_string).collect::<Vec<_>>().join("/"));
    }
    if let Some(codes) = &select.code {
        words.push(codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "));
    }
    if let Some(paths) = &select.path {
        words.push(paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "));
    }
    if let Some(wanted) = &select.query_has {
        words.push(format!("with query {}", wanted.join(", ")));
    }
    if let Some(segments) = &select.segments {
        words.push(format!("path segments {segments:?}"));
    }
    if let Some(query) = &select.query {
        words.push(format!("query {query:?}"));
    }
    for (name, block) in [("Block1", select.block1), ("Block2", select.block2)] {
        if let Some(block) = block {
            words.push(format!("{name} {block}"));
        }
    }
    for (name, want) in [
        ("Block1 NUM", &select.block1_num),
        ("Block1 size", &select.block1_size),
        ("Block2 NUM", &select.block2_num),
        ("Block2 size", &select.block2_size),
        ("IP packet size", &select.packet_size),
        ("fragments", &select.fragments),
        ("token length", &select.token_length),
        ("payload length", &select.payload_length),
    ] {
        if let Some(want) = want {
            words.push(format!("{name} {want}"));
        }
    }
    for (name, want) in [("Observe", select.observe), ("ETag", select.etag)] {
        if let Some(want) = want {
            words.push(format!("{} {name}", if want { "with" } else { "without" }));
        }
    }
    if let Some(options) = &select.options {
        words.extend(options.iter().map(fotaproof_cases::expects::option_text));
    }
    if select.again == Some(true) {
        words.push("sent again".to_owned());
    }
    if words.is_empty() {
        words.push("message".to_owned());
    }
    let from = select.from.as_ref().unwrap_or(&Party::Iut);
    let to = select.to.as_ref().map_or_else(String::new, |to| format!(" to {to}"));
    format!("{} from {from}{to}", words.join(" "))
}

/// Whether a message is an acknowledgement or reset of this message id, or carries this token.
pub(crate) fn answers(view: &MessageView<'_>, message_id: Option<u16>, token: &[u8]) -> bool {
    let by_id = matches!(view.kind(), Type::Ack | Type::Rst) && message_id == Some(view.message_id());
    let by_token = view.code().0 >> 5 >= 2 && !token.is_empty() && view.token() == token;
    by_id || by_token
}
