//! Goals about the answer of a step: code, format, values, links, blocks.

use fotaproof_cases::ast::{CodeMatch, Expect};

use super::super::Session;
use super::super::answer::{Answer, Back, value_text};
use super::super::goals::Running;
use super::{Poll, broken};

pub(super) fn judge_code(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(wanted) = &e.code else {
        return Poll::Held(String::new());
    };
    let words: Vec<String> = wanted.value.iter().map(ToString::to_string).collect();
    let expected = words.join(" or ");
    let Some(answer) = answer else {
        return broken(expected, "the step has no answer");
    };
    let held = wanted.value.iter().any(|want| match (&answer.back, want) {
        (Back::Code(code), want) => want.matches(code.0),
        (Back::Rst, CodeMatch::Rst | CodeMatch::Any) | (Back::Nothing, CodeMatch::None) => true,
        _ => false,
    });
    if held {
        Poll::Held(answer.told())
    } else {
        broken(expected, answer.told())
    }
}

pub(super) fn judge_format(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(wanted) = &e.format else {
        return Poll::Held(String::new());
    };
    match answer.and_then(|answer| answer.format) {
        Some(format) if format == wanted.value.0 => Poll::Held(wanted.value.to_string()),
        Some(format) => broken(
            wanted.value.to_string(),
            fotaproof_cases::ast::DataFormat(format).to_string(),
        ),
        None => broken(wanted.value.to_string(), "no Content-Format"),
    }
}

pub(super) fn judge_answers(e: &Expect, running: &Running) -> Poll {
    let Some(wanted) = e.answers.as_ref().map(|at| &at.value) else {
        return Poll::Held(String::new());
    };
    if running.blocks.is_empty() {
        return broken("answers to the blocks", "none");
    }
    for (sent, code, block) in &running.blocks {
        if sent.more {
            if let Some(codes) = &wanted.code
                && !codes.iter().any(|want| want.matches(code.0))
            {
                return broken(
                    format!(
                        "{} to block {sent}",
                        codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
                    ),
                    code.to_string(),
                );
            }
            if wanted.block == Some(true) {
                match block {
                    Some(block) if block.num == sent.num && block.more == sent.more && block.szx <= sent.szx => {}
                    Some(block) => {
                        return broken(
                            format!("Block1 {sent}, or a smaller size, in the answer"),
                            format!("Block1 {block}"),
                        );
                    }
                    None => return broken(format!("Block1 {sent} in the answer"), "no Block1"),
                }
            }
        } else if wanted.last_block == Some(true) && block.is_none_or(|block| block.num != sent.num || block.more) {
            let seen = block.map_or_else(|| "no Block1".to_owned(), |block| format!("Block1 {block}"));
            return broken(format!("Block1 {sent} in the last answer"), seen);
        }
    }
    Poll::Held(format!("{} answers", running.blocks.len()))
}

pub(super) fn judge_values(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(wanted) = &e.values else {
        return Poll::Held(String::new());
    };
    let Some(answer) = answer else {
        return broken("an answer with values", "none");
    };
    if let Some(error) = &answer.decode_error {
        return broken("a payload that can be read", error.clone());
    }
    let mut seen = Vec::new();
    for (path, want) in wanted {
        match answer.values.iter().find(|(p, _)| p.to_string() == *path) {
            Some((_, value)) if want.matches(&value_text(value)) => {
                seen.push(format!("{path} = {}", value_text(value)));
            }
            Some((_, value)) => return broken(format!("{path} = {want}"), value_text(value)),
            None => {
                let others: Vec<String> = answer.values.iter().map(|(p, _)| p.to_string()).collect();
                let of = if others.is_empty() {
                    String::new()
                } else {
                    format!("; values of {}", others.join(", "))
                };
                return broken(format!("{path} = {want}"), format!("{}{of}", answer.told()));
            }
        }
    }
    Poll::Held(seen.join(", "))
}

pub(super) fn judge_links(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(answer) = answer else {
        return broken("an answer", "none");
    };
    if let Some(error) = &answer.decode_error {
        return broken("a payload that can be read", error.clone());
    }
    let mut targets: Vec<String> = answer.values.iter().map(|(path, _)| path.to_string()).collect();
    if answer.format == Some(40)
        && let Ok(links) = fotaproof_wire::link_format::parse(&answer.payload)
    {
        targets = links.into_iter().map(|link| link.target).collect();
    }
    // a multiple resource is there when one of its instances is
    let there = |path: &str| {
        let below = format!("{path}/");
        targets
            .iter()
            .any(|target| target == path || target.starts_with(&below))
    };
    for path in e.has.iter().flat_map(|all| all.iter()) {
        if !there(&path.0) {
            return broken(format!("{path}"), format!("only {}", targets.join(", ")));
        }
    }
    for path in e.lacks.iter().flat_map(|all| all.iter()) {
        if there(&path.0) {
            return broken(format!("no {path}"), targets.join(", "));
        }
    }
    Poll::Held(targets.join(", "))
}

impl Session {
    pub(super) fn judge_body(&self, e: &Expect, answer: Option<&Answer>) -> Poll {
        let Some(wanted) = e.body.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let wanted = match self.payload(wanted) {
            Ok(bytes) => bytes,
            Err(why) => return Poll::Unknown(why),
        };
        let Some(answer) = answer else {
            return broken(format!("{} bytes", wanted.len()), "no answer");
        };
        let given = &answer.payload;
        // who gives smaller blocks than were asked for gives the first of these bytes
        if wanted.starts_with(given) && (!given.is_empty() || wanted.is_empty()) {
            return Poll::Held(format!("{} bytes", given.len()));
        }
        let same = wanted.iter().zip(given).take_while(|(a, b)| a == b).count();
        broken(
            format!("the {} bytes of the package", wanted.len()),
            format!("{} bytes, which differ from byte {same} on", given.len()),
        )
    }
}
