//! Expectations in words, for reports, logs and `explain`.

use std::collections::BTreeMap;

use crate::ast::{
    At, CodeMatch, Compare, Expect, FirmwareVersion, MessageExpect, MessageMatch, MessagePart, OptionMatch, Outcome,
    OutcomeGrade, Party, Relation, ShareBy, TlvEntryKind, ValueMatch,
};
use crate::steps::{either, list, span};

/// Which messages, in words.
#[must_use]
pub fn message_text(select: &MessageMatch) -> String {
    let mut words = Vec::new();
    match select.again {
        Some(true) => words.push("a repeated".to_owned()),
        Some(false) => words.push("a new".to_owned()),
        None => {}
    }
    if select.acknowledged == Some(true) {
        words.push("already acknowledged".to_owned());
    }
    if let Some(kind) = &select.kind {
        words.push(either(kind));
    }
    if let Some(method) = &select.method {
        words.push(either(method));
    }
    if let Some(code) = &select.code {
        words.push(either(code));
    }
    if select.empty == Some(true) {
        words.push("Empty".to_owned());
    }
    if let Some(path) = &select.path {
        words.push(either(path));
    }
    if words.is_empty() {
        words.push("a message".to_owned());
    }
    if let Some(block) = select.block1 {
        words.push(format!("with Block1 {block}"));
    }
    if let Some(number) = &select.block1_num {
        words.push(format!("with Block1 number {number}"));
    }
    if let Some(size) = &select.block1_size {
        words.push(format!("with Block1 size {size}"));
    }
    if let Some(block) = select.block2 {
        words.push(format!("with Block2 {block}"));
    }
    if let Some(number) = &select.block2_num {
        words.push(format!("with Block2 number {number}"));
    }
    if let Some(size) = &select.block2_size {
        words.push(format!("with Block2 size {size}"));
    }
    match select.observe {
        Some(true) => words.push("with Observe".to_owned()),
        Some(false) => words.push("without Observe".to_owned()),
        None => {}
    }
    match select.etag {
        Some(true) => words.push("with ETag".to_owned()),
        Some(false) => words.push("without ETag".to_owned()),
        None => {}
    }
    match select.location {
        Some(true) => words.push("with Location-Path".to_owned()),
        Some(false) => words.push("without Location-Path".to_owned()),
        None => {}
    }
    match select.old_address {
        Some(true) => words.push("to an address that was left".to_owned()),
        Some(false) => words.push("to the present address".to_owned()),
        None => {}
    }
    if let Some(length) = &select.payload_length {
        words.push(format!("with {length} bytes of payload"));
    }
    if let Some(length) = &select.token_length {
        words.push(format!("with a token of {length} bytes"));
    }
    if let Some(options) = &select.options {
        words.extend(options.iter().map(option_text));
    }
    if let Some(wanted) = &select.query_has {
        words.push(format!("with {} in the query", wanted.join(", ")));
    }
    if let Some(segments) = &select.segments {
        words.push(format!("with Uri-Path [{}]", segments.join(", ")));
    }
    if let Some(query) = &select.query {
        words.push(format!("with Uri-Query [{}]", query.join(", ")));
    }
    if let Some(size) = &select.packet_size {
        words.push(format!("of IP size {size}"));
    }
    if let Some(count) = &select.fragments {
        words.push(format!("in {count} fragments"));
    }
    words.push(format!("from {}", select.from.as_ref().unwrap_or(&Party::Iut)));
    if let Some(to) = &select.to {
        words.push(format!("to {to}"));
    }
    words.join(" ")
}

fn messages_text(expect: &MessageExpect, silence: bool) -> String {
    let what = expect.what.clone().unwrap_or_else(|| message_text(&expect.select));
    let mut text = match (&expect.count, silence) {
        (_, true) => format!("no {what}"),
        (Some(count), false) => format!("{count} of: {what}"),
        (None, false) => what,
    };
    if let Some(time) = expect.listen {
        text.push_str(&format!(" for {}", span(time)));
    }
    if let Some(since) = &expect.since {
        text.push_str(&format!(", since {}", since.value));
    }
    let flags = [
        (expect.identical, "all byte-identical"),
        (expect.same_message_id, "with one message id"),
        (expect.same_token, "with one token"),
        (expect.same_etag, "with one ETag"),
        (expect.different_tokens, "no token twice"),
        (expect.different_message_ids, "no message id twice"),
        (expect.observe_rises, "Observe rises"),
        (expect.of_first, "one message and its copies"),
        (expect.of_last, "the last message and its copies"),
        (expect.sizes_never_grow, "sizes never grow"),
        (expect.contiguous, "each starting where the last ended"),
    ];
    for (flag, words) in flags {
        if flag == Some(true) {
            text.push_str(&format!(", {words}"));
        }
    }
    if let Some(each) = &expect.each {
        text.push_str(&format!(", each {}", message_text(each)));
    }
    text.push_str(&distances_text(expect));
    if let Some(intervals) = &expect.intervals {
        text.push_str(&format!(
            ", the first {} to {} apart",
            span(intervals.least),
            span(intervals.most)
        ));
        if let Some(factor) = intervals.factor {
            text.push_str(&format!(", then {factor} times as long each"));
        }
    }
    text
}

/// What an expectation asks, a line each; the grade stands in front where it is not `must`.
#[must_use]
pub fn expect_lines(expect: &Expect) -> Vec<String> {
    let mut lines = Vec::new();
    own_lines(expect, &mut lines);
    if let Some(within) = &expect.within
        && let Some(last) = lines.last_mut()
    {
        last.push_str(&format!(", within {}", span(within.value)));
    }
    if let Some(not_before) = &expect.not_before
        && let Some(last) = lines.last_mut()
    {
        last.push_str(&format!(", not before {}", span(not_before.value)));
    }
    if let Some(because) = &expect.because
        && let Some(last) = lines.last_mut()
    {
        last.push_str(&format!(" ({because})"));
    }
    if let Some(all) = &expect.all_of {
        lines.extend(all.iter().flat_map(|one| expect_lines(one)));
    }
    if let Some(any) = &expect.any_of {
        for (index, outcome) in any.value.iter().enumerate() {
            lines.push(outcome_text(outcome, index == 0));
        }
    }
    for (word, inner) in [
        ("requires", &expect.requires),
        ("should", &expect.should),
        ("advice", &expect.advice),
    ] {
        if let Some(inner) = inner {
            lines.extend(expect_lines(inner).into_iter().map(|line| format!("{word}: {line}")));
        }
    }
    if let Some(figures) = &expect.figures {
        let all: Vec<String> = figures.iter().map(|(name, want)| format!("{name} {want}")).collect();
        lines.push(all.join(", "));
    }
    if let Some(figures) = &expect.record {
        lines.push(format!("recorded: {}", list(figures)));
    }
    match &expect.when {
        Some(when) => lines
            .into_iter()
            .map(|line| format!("when {}: {line}", when.value))
            .collect(),
        None => lines,
    }
}

fn outcome_text(outcome: &At<Outcome>, first: bool) -> String {
    let grade = match outcome.grade {
        OutcomeGrade::Pass => "",
        OutcomeGrade::Should => " (tolerated, reported)",
        OutcomeGrade::Advice => " (tolerated, noted)",
        OutcomeGrade::Inconclusive => " (inconclusive)",
    };
    let note = outcome
        .note
        .as_ref()
        .map_or_else(String::new, |note| format!(": {note}"));
    let either = if first { "either" } else { "or" };
    let ends = if outcome.ends_case == Some(true) {
        ", which ends the case"
    } else {
        ""
    };
    format!(
        "{either} {}{grade}{note}{ends}",
        expect_lines(&outcome.expect).join("; ")
    )
}

fn own_lines(expect: &Expect, lines: &mut Vec<String>) {
    if let Some(code) = &expect.code {
        lines.push(either::<CodeMatch>(code));
    }
    if let Some(format) = &expect.format {
        lines.push(format!("as {}", format.value));
    }
    if let Some(answers) = &expect.answers {
        let mut parts = Vec::new();
        if let Some(code) = &answers.code {
            parts.push(either(code));
        }
        if answers.block == Some(true) {
            parts.push("the block's NUM and M, size not larger".to_owned());
        }
        if answers.last_block == Some(true) {
            parts.push("Block1 in the last".to_owned());
        }
        lines.push(format!("every answer: {}", parts.join(", ")));
    }
    if let Some(values) = &expect.values {
        let all: Vec<String> = values
            .iter()
            .map(|(path, value): (&String, &ValueMatch)| format!("{path} is {value}"))
            .collect();
        lines.push(all.join(", "));
    }
    if let Some(paths) = &expect.has {
        lines.push(format!("has {}", list(paths)));
    }
    if let Some(paths) = &expect.lacks {
        lines.push(format!("lacks {}", list(paths)));
    }
    if let Some(length) = &expect.payload_length {
        lines.push(format!("payload length {length}"));
    }
    if let Some(body) = &expect.body {
        let block = body
            .value
            .block
            .map_or_else(String::new, |block| format!(" of block {block}"));
        let package = body.value.package.as_deref().unwrap_or("the payload");
        lines.push(format!("the bytes{block} of {package}"));
    }
    form_lines(expect, lines);
    if let Some(path) = &expect.path {
        let stations: Vec<String> = path.value.iter().map(ToString::to_string).collect();
        let result = expect
            .result
            .as_ref()
            .map_or_else(String::new, |result| format!(", result {}", either(result)));
        lines.push(format!("State {}{result}", stations.join(" > ")));
    } else if let Some(result) = &expect.result {
        lines.push(format!("Result {}", either(result)));
    }
    if let Some(ends) = &expect.ends {
        let stable = expect
            .stable
            .map_or_else(String::new, |time| format!(", stable for {}", span(time)));
        lines.push(format!("ends {}{stable}", either(ends)));
    }
    if let Some(pair) = &expect.pair {
        lines.push(format!("State/Result {}", either(pair)));
    }
    if expect.unchanged.as_ref().is_some_and(|flag| flag.value) {
        lines.push("State and Result unchanged".to_owned());
    }
    if let Some(never) = &expect.never {
        lines.push(format!("never {}", either(never)));
    }
    if let Some(version) = &expect.firmware_version {
        let version = match &version.value {
            FirmwareVersion::New => "the package's",
            FirmwareVersion::Old => "the old one",
            FirmwareVersion::Is(version) => version,
        };
        lines.push(format!("firmware version is {version}"));
    }
    if let Some(image) = &expect.image {
        lines.push(match image.value.as_str() {
            "none" => "no image is stored".to_owned(),
            name => format!("the stored image is {name}"),
        });
    }
    if let Some(registration) = &expect.registration {
        let mut parts = vec!["registration".to_owned()];
        for (flag, words) in [
            (registration.new, "new"),
            (registration.same_endpoint, "same endpoint name"),
            (registration.new_address, "new address"),
        ] {
            if flag == Some(true) {
                parts.push(words.to_owned());
            }
        }
        parts.extend(
            registration
                .query
                .iter()
                .map(|(name, value)| format!("{name} is {value}")),
        );
        parts.extend(registration.has.iter().map(|paths| format!("has {}", list(paths))));
        parts.extend(registration.lacks.iter().map(|paths| format!("lacks {}", list(paths))));
        parts.extend(attributes_text(&registration.attributes));
        lines.push(parts.join(", "));
    }
    if let Some(count) = &expect.registrations {
        lines.push(format!("registrations: {}", count.value));
    }
    if let Some(notification) = expect.notification.as_ref().map(|notification| &notification.value) {
        let value = notification
            .value
            .as_ref()
            .map_or_else(String::new, |value| format!(" with {value}"));
        let values: Vec<String> = notification
            .values
            .iter()
            .map(|(path, value)| format!("{path} is {value}"))
            .collect();
        let value = if values.is_empty() {
            value
        } else {
            format!("{value} with {}", values.join(", "))
        };
        let after = notification
            .after_previous
            .map_or_else(String::new, |time| format!(", {} after the last at least", span(time)));
        lines.push(format!("notification of {}{value}{after}", notification.path));
    }
    if let Some(send) = &expect.send {
        let mut parts: Vec<String> = send
            .values
            .iter()
            .map(|(path, value)| format!("{path} is {value}"))
            .collect();
        parts.extend(send.has.iter().map(|paths| format!("has {}", list(paths))));
        parts.extend(send.lacks.iter().map(|paths| format!("lacks {}", list(paths))));
        lines.push(format!("a Send {}", parts.join(", ")).trim_end().to_owned());
    }
    if let Some(messages) = &expect.messages {
        lines.extend(messages.iter().map(|message| messages_text(message, false)));
    }
    if let Some(silence) = &expect.silence {
        lines.extend(silence.iter().map(|message| messages_text(message, true)));
    }
    server_lines(expect, lines);
    if expect.alive.as_ref().is_some_and(|flag| flag.value) {
        lines.push("alive: GET /3/0/3 is answered".to_owned());
    }
}

/// One option that is asked for, in words.
#[must_use]
pub fn option_text(option: &OptionMatch) -> String {
    let mut text = match option.there {
        Some(false) => format!("without option {}", option.number),
        _ => format!("with option {}", option.number),
    };
    if let Some(count) = &option.count {
        text.push_str(&format!(" ({count} times)"));
    }
    if let Some(hex) = &option.hex {
        let bytes: String = hex.0.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!(" = {bytes}"));
    }
    if let Some(value) = &option.text {
        text.push_str(&format!(" = \"{value}\""));
    }
    if let Some(value) = &option.uint {
        text.push_str(&format!(" = {value}"));
    }
    if let Some(length) = &option.length {
        text.push_str(&format!(" of {length} bytes"));
    }
    text
}

fn attributes_text(all: &BTreeMap<String, BTreeMap<String, ValueMatch>>) -> Vec<String> {
    all.iter()
        .map(|(target, attributes)| {
            let parts: Vec<String> = attributes
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{target} with {}", parts.join(", "))
        })
        .collect()
}

/// What is asked of messages together, in words.
fn distances_text(expect: &MessageExpect) -> String {
    let mut text = String::new();
    if let Some(spaced) = &expect.spaced {
        let mut bounds = Vec::new();
        bounds.extend(spaced.least.map(|least| format!("at least {}", span(least))));
        bounds.extend(spaced.most.map(|most| format!("at most {}", span(most))));
        let from = spaced.after.as_ref().map_or_else(
            || "apart".to_owned(),
            |select| format!("after each {}", message_text(select)),
        );
        text.push_str(&format!(", {} {from}", bounds.join(" and ")));
        if spaced.to_the_end == Some(true) {
            text.push_str(" up to now");
        }
    }
    if let Some(select) = &expect.before {
        text.push_str(&format!(", all before the first {}", message_text(select)));
    }
    if let Some(select) = &expect.after {
        text.push_str(&format!(", all after the first {}", message_text(select)));
    }
    if let Some(total) = &expect.total_bytes {
        text.push_str(&format!(", {total} bytes in all"));
    }
    if let Some(share) = &expect.share {
        let mut bounds = Vec::new();
        bounds.extend(share.least.map(|least| format!("at least {least}")));
        bounds.extend(share.most.map(|most| format!("at most {most}")));
        let unit = match share.by.unwrap_or_default() {
            ShareBy::Count => "messages",
            ShareBy::Bytes => "bytes",
        };
        text.push_str(&format!(
            ", {} times as many {unit} as of {}",
            bounds.join(" and "),
            message_text(&share.of)
        ));
    }
    if let Some(turns) = &expect.turns {
        text.push_str(&format!(
            ", in turns with {}, at least {} changes",
            message_text(&turns.with),
            turns.least
        ));
    }
    if let Some(most) = &expect.outstanding {
        text.push_str(&format!(
            ", {most} of them to one receiver unacknowledged at the same time"
        ));
    }
    text
}

/// A comparison in words.
#[must_use]
pub fn compare_text(compare: &Compare) -> String {
    let what = match (&compare.value, &compare.message) {
        (Some(path), _) => path.to_string(),
        (None, Some(select)) => {
            let part = part_word(compare.part.unwrap_or(MessagePart::Token));
            format!("{part} of {}", message_text(select))
        }
        (None, None) => "nothing".to_owned(),
    };
    let relation = match compare.is.unwrap_or_default() {
        Relation::Same => "is the same as".to_owned(),
        Relation::Different => "differs from".to_owned(),
        Relation::Greater => "is greater than".to_owned(),
        Relation::Less => "is less than".to_owned(),
        Relation::AtLeast => "is at least".to_owned(),
        Relation::AtMost => "is at most".to_owned(),
        Relation::Near => format!("is at most {} away from", compare.by.unwrap_or_default()),
    };
    format!("{what} {relation} `{}`", compare.to.value)
}

/// A field of a message in words.
pub(crate) fn part_word(part: MessagePart) -> &'static str {
    match part {
        MessagePart::Token => "the token",
        MessagePart::MessageId => "the message id",
        MessagePart::Etag => "the ETag",
        MessagePart::Observe => "the value of Observe",
        MessagePart::Payload => "the payload",
        MessagePart::PayloadLength => "the length of the payload",
        MessagePart::Time => "the time",
        MessagePart::Sender => "the sender",
        MessagePart::Query => "the query",
    }
}

/// A kind of TLV entry in words.
#[must_use]
pub fn tlv_kind_text(kind: TlvEntryKind) -> &'static str {
    match kind {
        TlvEntryKind::ObjectInstance => "an object instance",
        TlvEntryKind::ResourceInstance => "a resource instance",
        TlvEntryKind::MultipleResource => "a multiple resource",
        TlvEntryKind::Resource => "a resource",
    }
}

/// What is asked about the form of an answer.
fn form_lines(expect: &Expect, lines: &mut Vec<String>) {
    if let Some(attributes) = &expect.attributes {
        lines.push(format!("links: {}", attributes_text(&attributes.value).join("; ")));
    }
    for (path, want) in expect.tlv.iter().flat_map(|at| &at.value) {
        let mut parts = Vec::new();
        parts.extend(want.kind.map(|kind| format!("as {}", tlv_kind_text(kind))));
        parts.extend(want.length.as_ref().map(|length| format!("in {length} bytes")));
        parts.extend(want.type_byte.as_ref().map(|byte| format!("with type byte {byte}")));
        lines.push(format!("the TLV entry of {path} {}", parts.join(", ")));
    }
    for compare in expect.compare.iter().flat_map(|at| at.value.iter()) {
        lines.push(compare_text(compare));
    }
}

/// What is asked of a server under test and of the devices that it manages.
fn server_lines(expect: &Expect, lines: &mut Vec<String>) {
    let first = lines.len();
    if let Some(well) = &expect.ends_well {
        lines.push(
            if well.value {
                "the update ends well: the right image, one Execute in 2/0, the new version, reported as success"
            } else {
                "the update does not end well"
            }
            .to_owned(),
        );
    }
    if let Some(status) = &expect.status {
        lines.push(format!("the server calls the update {}", either(status)));
    }
    if let Some(status) = &expect.not_status {
        lines.push(format!("the server never called the update {}", either(status)));
    }
    if let Some(progress) = expect.progress.as_ref().map(|progress| &progress.value) {
        let mut parts = Vec::new();
        parts.extend(progress.state.as_ref().map(|state| format!("State {}", either(state))));
        parts.extend(
            progress
                .result
                .as_ref()
                .map(|result| format!("Result {}", either(result))),
        );
        parts.extend(progress.method.map(|method| format!("method {}", method.word())));
        parts.extend(progress.version.as_ref().map(|version| format!("version {version}")));
        parts.extend(progress.percent.as_ref().map(|percent| format!("{percent} percent")));
        lines.push(format!("the server tells {}", parts.join(", ")));
    }
    if let Some(tells) = &expect.tells {
        lines.push(tells.words().join(", "));
    }
    if let Some(count) = &expect.executes {
        lines.push(format!("Executes obeyed: {}", count.value));
    }
    if let Some(facts) = &expect.facts {
        lines.push(facts.words().join(", "));
    }
    if let Some(device) = &expect.device
        && device.value != crate::devices::MAIN
    {
        let from = if lines.len() > first { first } else { 0 };
        for line in &mut lines[from..] {
            line.push_str(&format!(" (device {})", device.value));
        }
    }
}
