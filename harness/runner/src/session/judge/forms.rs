//! Goals about the form of answers: attributes of links, TLV entries; about Sends; about figures.

use std::collections::BTreeMap;

use fotaproof_cases::ast::{Expect, TlvEntryKind, TlvExpect, ValueMatch};
use fotaproof_net as net;
use fotaproof_wire::link_format::Link;
use fotaproof_wire::path::LwPath;
use fotaproof_wire::tlv::{self, TlvEntry, TlvKind};

use super::super::Session;
use super::super::answer::{Answer, value_text};
use super::super::goals::Running;
use super::super::messages;
use super::{Poll, broken};

/// The word for an attribute that is not there.
const NONE: &str = "none";

/// The first attribute of links that is not as asked: what was expected, and what was seen.
pub(super) fn attributes_differ(
    links: &[Link],
    root: &str,
    wanted: &BTreeMap<String, BTreeMap<String, ValueMatch>>,
) -> Option<(String, String)> {
    for (target, attributes) in wanted {
        let plain = |link: &Link| link.target.strip_prefix(root).unwrap_or(&link.target).to_owned();
        let link = links.iter().find(|link| plain(link) == *target);
        for (name, want) in attributes {
            // a link that is not there has no attributes
            let there = link.is_some_and(|link| link.has(name));
            let value = link
                .and_then(|link| link.attribute(name))
                .unwrap_or(if there { "" } else { NONE });
            let held = want.matches(value) && (there || *want != ValueMatch::Any);
            if !held {
                return Some((format!("{target} with {name}={want}"), format!("{name}={value}")));
            }
        }
    }
    None
}

fn entry_of<'a>(entries: &'a [TlvEntry<'a>], base: &LwPath, wanted: &str) -> Option<&'a TlvEntry<'a>> {
    // the numbers below the path of the request; an instance read may leave out or name its instance
    let below: Vec<u16> = wanted
        .strip_prefix(&base.to_string())
        .unwrap_or(wanted)
        .split('/')
        .filter_map(|part| part.parse().ok())
        .collect();
    if below.is_empty() {
        return entries.first();
    }
    let mut level = entries;
    let mut found = None;
    for id in below {
        let entry = level.iter().find(|entry| entry.id == id)?;
        level = &entry.children;
        found = Some(entry);
    }
    found
}

fn kind_of(kind: TlvKind) -> TlvEntryKind {
    match kind {
        TlvKind::ObjectInstance => TlvEntryKind::ObjectInstance,
        TlvKind::ResourceInstance => TlvEntryKind::ResourceInstance,
        TlvKind::MultipleResource => TlvEntryKind::MultipleResource,
        TlvKind::Resource => TlvEntryKind::Resource,
    }
}

fn judge_entry(path: &str, want: &TlvExpect, entry: &TlvEntry<'_>, payload: &[u8]) -> Option<(String, String)> {
    if let Some(kind) = want.kind
        && kind != kind_of(entry.kind)
    {
        return Some((
            format!("{path} as {}", fotaproof_cases::steps::tlv_kind_text(kind)),
            format!("{:?}", entry.kind),
        ));
    }
    if let Some(length) = &want.length
        && !length.matches(&entry.value.len().to_string())
    {
        return Some((
            format!("{path} in {length} bytes"),
            format!("{} bytes", entry.value.len()),
        ));
    }
    let byte = payload.get(entry.offset).copied().unwrap_or_default();
    if let Some(type_byte) = &want.type_byte
        && !type_byte.matches(&byte.to_string())
    {
        return Some((format!("type byte {type_byte} of {path}"), byte.to_string()));
    }
    None
}

/// How the entries of an answer in TLV are written.
pub(super) fn judge_tlv(e: &Expect, asked: Option<&LwPath>, answer: Option<&Answer>) -> Poll {
    let Some(wanted) = e.tlv.as_ref().map(|at| &at.value) else {
        return Poll::Held(String::new());
    };
    let Some(answer) = answer else {
        return broken("an answer in TLV", "none");
    };
    if !matches!(answer.format, Some(11542 | 1542)) {
        return broken("an answer in TLV", answer.told());
    }
    let entries = match tlv::parse(&answer.payload) {
        Ok(entries) => entries,
        Err(error) => return broken("an answer in TLV", error.to_string()),
    };
    let base = asked.copied().unwrap_or(LwPath::ROOT);
    for (path, want) in wanted {
        let Some(entry) = entry_of(&entries, &base, path) else {
            return broken(format!("an entry of {path}"), "none");
        };
        if let Some((expected, seen)) = judge_entry(path, want, entry, &answer.payload) {
            return broken(expected, seen);
        }
    }
    Poll::Held(format!("{} entries", wanted.len()))
}

/// Attributes of links in the answer to a discover.
pub(super) fn judge_attributes(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(wanted) = e.attributes.as_ref().map(|at| &at.value) else {
        return Poll::Held(String::new());
    };
    let Some(answer) = answer else {
        return broken("links", "no answer");
    };
    let links = match fotaproof_wire::link_format::parse(&answer.payload) {
        Ok(links) if answer.format == Some(40) => links,
        Ok(_) => return broken("links", answer.told()),
        Err(error) => return broken("links", error.to_string()),
    };
    match attributes_differ(&links, "", wanted) {
        Some((expected, seen)) => broken(expected, seen),
        None => Poll::Held(format!("{} links", links.len())),
    }
}

impl Session {
    /// A Send since the last action began.
    pub(super) fn judge_send(&self, e: &Expect, running: &Running, until: core::time::Duration) -> Poll {
        let Some(want) = e.send.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let all = self.facts.sent_values.get(running.anchor.sends..).unwrap_or(&[]);
        let mut last = ("a Send".to_owned(), "none".to_owned());
        for values in all {
            let value = |path: &str| {
                values
                    .iter()
                    .find(|(at, _)| at.to_string() == path)
                    .map(|(_, value)| value_text(value))
            };
            let wrong = want
                .values
                .iter()
                .find_map(|(path, want)| {
                    let have = value(path);
                    let held = have.as_ref().is_some_and(|have| want.matches(have));
                    (!held).then(|| {
                        let have = have.unwrap_or_else(|| NONE.to_owned());
                        (format!("a Send with {path} = {want}"), format!("{path} = {have}"))
                    })
                })
                .or_else(|| {
                    let paths = want.has.iter().flat_map(|all| all.iter());
                    paths
                        .clone()
                        .find(|path| value(&path.0).is_none())
                        .map(|path| (format!("a Send with {path}"), "one without it".to_owned()))
                })
                .or_else(|| {
                    let mut paths = want.lacks.iter().flat_map(|all| all.iter());
                    paths
                        .find(|path| value(&path.0).is_some())
                        .map(|path| (format!("a Send without {path}"), "one with it".to_owned()))
                });
            match wrong {
                None => return Poll::Held(format!("a Send of {} values", values.len())),
                Some(wrong) => last = wrong,
            }
        }
        if e.within.is_some() && self.now < until {
            return Poll::Pending;
        }
        broken(last.0, last.1)
    }

    /// A figure since the last action began, with its unit.
    pub(super) fn figure(&self, name: &str, running: &Running) -> Option<(f64, &'static str)> {
        let since = running.anchor;
        let traffic = self.world.traffic;
        Some(match name {
            "time" => ((self.now - since.at).as_secs_f64(), "s"),
            "bytes" => ((traffic.bytes - since.traffic.bytes) as f64, "B"),
            "packets" => ((traffic.packets - since.traffic.packets) as f64, ""),
            "fragments" => ((traffic.fragments - since.traffic.fragments) as f64, ""),
            "largest-packet" => (f64::from(self.largest_packet(since.log)), "B"),
            "transmissions" => ((traffic.datagrams - since.traffic.datagrams) as f64, ""),
            _ => return None,
        })
    }

    /// The largest IP packet of the IUT from there on that the link takes in one piece.
    fn largest_packet(&self, since: usize) -> u16 {
        let mtu = self.world.link.spec().mtu(net::Toward::Peer);
        let whole = |seen: &&messages::Seen| seen.by_iut && seen.packets == 1 && seen.largest <= mtu;
        let all = self.facts.log.since(since).filter(whole);
        all.map(|seen| seen.largest).max().unwrap_or(0)
    }

    pub(super) fn judge_figures(&self, e: &Expect, running: &Running) -> Poll {
        let mut held = Vec::new();
        for (name, want) in e.figures.iter().flat_map(|at| &at.value) {
            let Some((value, unit)) = self.figure(name, running) else {
                return Poll::Unknown(format!("nothing is measured as `{name}`"));
            };
            if !want.matches(&value.to_string()) {
                return broken(format!("{name}: {want}{unit}"), format!("{value}{unit}"));
            }
            held.push(format!("{name}: {value}{unit}"));
        }
        Poll::Held(held.join(", "))
    }
}
