//! What a case remembers: values of answers and fields of messages, and comparisons with them.

use fotaproof_cases::ast::{Compare, Expect, MessageMatch, MessagePart, Path, Relation, Remember};
use fotaproof_wire::coap::MessageView;

use super::Session;
use super::answer::value_text;
use super::goals::Running;
use super::judge::{Poll, broken};
use super::messages::{Seen, words};

/// A field of a message as text.
fn part_of(seen: &Seen, part: MessagePart) -> Option<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let view = MessageView::parse(&seen.payload).ok()?;
    Some(match part {
        MessagePart::Token => hex(view.token()),
        MessagePart::MessageId => view.message_id().to_string(),
        MessagePart::Etag => hex(view.etag()?),
        MessagePart::Observe => view.observe()?.to_string(),
        MessagePart::Payload => hex(view.payload()),
        MessagePart::PayloadLength => view.payload().len().to_string(),
        MessagePart::Time => format!("{:.6}", seen.at.as_secs_f64()),
        MessagePart::Sender => seen.src.to_string(),
        MessagePart::Query => {
            let parts = view.uri_query();
            parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>().join("&")
        }
    })
}

/// Whether a value relates to another as is asked.
pub(super) fn relates(value: &str, relation: Relation, other: &str, by: f64) -> bool {
    let numbers = || Some((value.trim().parse::<f64>().ok()?, other.trim().parse::<f64>().ok()?));
    let same = value == other || numbers().is_some_and(|(a, b)| a == b);
    match relation {
        Relation::Same => same,
        Relation::Different => !same,
        Relation::Greater => numbers().is_some_and(|(a, b)| a > b),
        Relation::Less => numbers().is_some_and(|(a, b)| a < b),
        Relation::AtLeast => numbers().is_some_and(|(a, b)| a >= b),
        Relation::AtMost => numbers().is_some_and(|(a, b)| a <= b),
        Relation::Near => numbers().is_some_and(|(a, b)| (a - b).abs() <= by),
    }
}

impl Session {
    /// The text of a value of the answer, or of a field of the last message of a kind.
    fn source(
        &self,
        running: &Running,
        value: Option<&Path>,
        message: Option<&MessageMatch>,
        part: Option<MessagePart>,
    ) -> Result<String, String> {
        if let Some(path) = value {
            let answer = running
                .answer
                .as_ref()
                .ok_or_else(|| "the step has no answer".to_owned())?;
            if let Some(error) = &answer.decode_error {
                return Err(error.clone());
            }
            return answer
                .values
                .iter()
                .find(|(at, _)| at.to_string() == path.0)
                .map(|(_, value)| value_text(value))
                .ok_or_else(|| format!("no value of {path}: {}", answer.told()));
        }
        let Some(select) = message else {
            return Err("nothing is named".to_owned());
        };
        let seen = self
            .facts
            .log
            .matching(running.anchor.log, select, &self.config.addresses)
            .last()
            .ok_or_else(|| format!("no {}", words(select)))?;
        part_of(seen, part.unwrap_or(MessagePart::Token)).ok_or_else(|| format!("no such field in {}", words(select)))
    }

    /// Keeps what a step is to remember; why not, when it is not there.
    pub(super) fn remember(&mut self, running: &Running) -> Result<(), String> {
        for one in running.step.remember.iter().flat_map(|all| all.iter()) {
            let Remember {
                name,
                value,
                message,
                part,
            } = one;
            let text = self
                .source(running, value.as_ref(), message.as_ref(), *part)
                .map_err(|why| format!("`{}` cannot be remembered: {why}", name.value))?;
            self.note(format!("remembered as {}: {text}", name.value));
            self.facts.remembered.insert(name.value.clone(), text);
        }
        Ok(())
    }

    pub(super) fn judge_compare(&self, e: &Expect, i: usize, running: &Running) -> Poll {
        let Some(compare) = e.compare.as_ref().and_then(|all| all.value.get(i)) else {
            return Poll::Held(String::new());
        };
        let Compare {
            value,
            message,
            part,
            is,
            to,
            by,
        } = compare;
        let relation = is.unwrap_or_default();
        let told = fotaproof_cases::steps::compare_text(compare);
        let Some(other) = self.facts.remembered.get(&to.value) else {
            return Poll::Unknown(format!("nothing was remembered as `{}`", to.value));
        };
        match self.source(running, value.as_ref(), message.as_ref(), *part) {
            Ok(text) if relates(&text, relation, other, by.unwrap_or(0.0)) => {
                Poll::Held(format!("{text} beside {other}"))
            }
            Ok(text) => broken(format!("{told} ({other})"), text),
            Err(why) => broken(format!("{told} ({other})"), why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_compare_numbers_as_numbers_and_the_rest_as_text() {
        let holds = |value: &str, relation, other: &str| relates(value, relation, other, 2.0);
        assert!(holds("10", Relation::Greater, "9") && !holds("9", Relation::Greater, "9"));
        assert!(holds("9", Relation::AtLeast, "9") && holds("9", Relation::Same, "9.0"));
        assert!(holds("ab", Relation::Different, "ac") && !holds("ab", Relation::Less, "ac"));
        assert!(holds("7", Relation::Near, "9") && !holds("6", Relation::Near, "9"));
    }
}
