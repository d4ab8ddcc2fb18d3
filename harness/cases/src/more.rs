//! What the types cannot say of bursts, several values at once, remembered values, distances and forms of answers.

use std::collections::BTreeSet;

use crate::ast::{At, Case, Expect, MessageMatch, MessagePart, Party, Path, Pos, Relation, Step};
use crate::problem::{Mistake, Place};
use crate::steps::{messages_of, walk_expects};
use crate::words::suggest;

/// Figures that are measured.
pub(crate) const FIGURES: &[&str] = &[
    "time",
    "bytes",
    "packets",
    "fragments",
    "transmissions",
    "largest-packet",
];

fn say(code: &'static str, pos: Pos, message: impl Into<String>, help: &str) -> Mistake {
    let mut mistake = Mistake::new(code, Place::from(pos), message);
    mistake.help = (!help.is_empty()).then(|| help.to_owned());
    mistake
}

/// One of `value` and `message`, and `part` only with the latter.
fn source(
    word: &str,
    pos: Pos,
    value: Option<&Path>,
    message: Option<&MessageMatch>,
    part: Option<MessagePart>,
) -> Option<Mistake> {
    match (value, message) {
        (Some(_), None) if part.is_some() => Some(say("part", pos, "`part` is about a message, not about a value", "")),
        (Some(_), None) | (None, Some(_)) => None,
        _ => Some(say(
            "source",
            pos,
            format!("`{word}` names one thing: `value`, a path in the answer, or `message`"),
            "",
        )),
    }
}

/// What is wrong with a step.
pub(crate) fn step_mistakes(step: &At<Step>) -> Vec<Mistake> {
    let mut all = Vec::new();
    if let Some(replay) = &step.replay
        && replay.select.from == Some(Party::Iut)
    {
        all.push(say(
            "replay",
            replay.pos,
            "only what the IUT received can be delivered to it once more",
            "`from` is another party: server, repository, ...",
        ));
    }
    if let Some(burst) = &step.burst {
        if burst.count == 0 {
            all.push(say("burst", burst.pos, "a burst of no datagrams", ""));
        }
        if burst.rate == Some(0) {
            all.push(say("burst", burst.pos, "a burst of none a second comes to no end", ""));
        }
        if let Some(every) = burst.alive_every.as_ref().filter(|every| every.value == 0) {
            all.push(say(
                "burst",
                every.pos,
                "`alive-every` counts datagrams: at least one",
                "",
            ));
        }
    }
    if let Some(write) = &step.write_composite
        && write.values.is_empty()
    {
        all.push(say("write", write.pos, "a composite write has `values`", ""));
    }
    for paths in [&step.read_composite, &step.observe_composite].into_iter().flatten() {
        if paths.value.is_empty() {
            all.push(say("composite", paths.pos, "no path is named", ""));
        }
    }
    for one in step.remember.iter().flat_map(|all| all.iter()) {
        all.extend(source(
            "remember",
            one.name.pos,
            one.value.as_ref(),
            one.message.as_ref(),
            one.part,
        ));
    }
    for option in messages_of(step)
        .into_iter()
        .filter_map(|select| select.options.as_ref())
        .flat_map(|options| options.iter())
    {
        let more = option.hex.is_some() || option.text.is_some() || option.uint.is_some() || option.length.is_some();
        if option.there == Some(false) && (more || option.count.is_some()) {
            all.push(say(
                "option",
                step.pos,
                format!("option {} cannot be absent and have a value", option.number),
                "",
            ));
        }
    }
    all
}

/// What is wrong with an expectation, in a step with this action.
pub(crate) fn expect_mistakes(expect: &At<Expect>, action: &str) -> Vec<Mistake> {
    let mut all = Vec::new();
    if let Some(attributes) = &expect.attributes
        && !matches!(action, "discover" | "request")
    {
        all.push(say(
            "expect",
            attributes.pos,
            format!("`attributes` is about the links of a discover; this step is `{action}`"),
            "those of a registration stand in `registration: {attributes: ...}`",
        ));
    }
    if let Some(tlv) = &expect.tlv
        && !matches!(action, "read" | "request")
    {
        all.push(say(
            "expect",
            tlv.pos,
            format!("`tlv` is about the answer to a read; this step is `{action}`"),
            "",
        ));
    }
    if let Some(figures) = &expect.figures {
        for name in figures.value.keys().filter(|name| !FIGURES.contains(&name.as_str())) {
            let help = suggest(name, FIGURES).unwrap_or_default();
            all.push(say(
                "figure",
                figures.pos,
                format!("nothing is measured as `{name}`"),
                &help,
            ));
        }
    }
    for compare in expect.compare.iter().flat_map(|all| all.value.iter()) {
        all.extend(source(
            "compare",
            compare.to.pos,
            compare.value.as_ref(),
            compare.message.as_ref(),
            compare.part,
        ));
        if (compare.is == Some(Relation::Near)) != compare.by.is_some() {
            all.push(say(
                "compare",
                compare.to.pos,
                "`near` and `by` go together: how far away at most",
                "",
            ));
        }
    }
    let lists = expect.messages.iter().map(|at| (true, at));
    for (counted, list) in lists.chain(expect.silence.iter().map(|at| (false, at))) {
        for message in list.value.iter() {
            if let Some(spaced) = &message.spaced
                && spaced.least.is_none()
                && spaced.most.is_none()
            {
                all.push(say("spaced", list.pos, "`spaced` has `least`, `most` or both", ""));
            }
            if let Some(share) = &message.share
                && share.least.is_none()
                && share.most.is_none()
            {
                all.push(say("share", list.pos, "`share` has `least`, `most` or both", ""));
            }
            let together = message.spaced.is_some()
                || message.share.is_some()
                || message.before.is_some()
                || message.after.is_some()
                || message.total_bytes.is_some()
                || message.turns.is_some()
                || message.outstanding.is_some();
            if together && !counted {
                all.push(say(
                    "silence",
                    list.pos,
                    "`silence` asks that nothing comes; distances and order are for `messages`",
                    "",
                ));
            }
        }
    }
    all
}

/// Comparisons with what no step before has remembered.
pub(crate) fn remembered_mistakes(case: &Case) -> Vec<Mistake> {
    let mut all = Vec::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for (_, step) in case.all_steps() {
        known.extend(
            step.remember
                .iter()
                .flat_map(|all| all.iter())
                .map(|one| one.name.value.as_str()),
        );
        let Some(expect) = &step.expect else { continue };
        walk_expects(expect, &mut |expect| {
            for compare in expect.compare.iter().flat_map(|all| all.value.iter()) {
                let name = compare.to.value.as_str();
                if !known.contains(name) {
                    let names: Vec<&str> = known.iter().copied().collect();
                    let help = suggest(name, &names)
                        .unwrap_or_else(|| "a step before says `remember: {name: ..., value: ...}`".to_owned());
                    all.push(say(
                        "remembered",
                        compare.to.pos,
                        format!("nothing is remembered as `{name}` before this"),
                        &help,
                    ));
                }
            }
        });
    }
    all
}
