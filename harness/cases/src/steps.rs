//! Steps in words: what a step does, for reports, logs and `explain`.

use crate::ast::{
    At, Await, Cancellation, Datagram, Expect, IutAction, Many, MessageExpect, MessageMatch, MessagePart,
    NetworkChange, Payload, Pos, Push, RepositoryChange, Request, Reset, Span, Step,
};
use crate::devices;
pub use crate::expects::{compare_text, expect_lines, message_text, tlv_kind_text};

/// What goes over the link in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// The harness sends something to the IUT.
    ToIut,
    /// The harness waits for something from the IUT.
    FromIut,
    /// Something changes at the harness, the network or the IUT's power.
    Aside,
    /// Something is judged.
    Judged,
}

/// The action of a step: the key in the file, its place, its course and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The key: `push`.
    pub name: &'static str,
    /// Where its value stands.
    pub pos: Pos,
    /// What goes over the link.
    pub course: Course,
    /// Whether the IUT answers it, so that a code can be expected.
    pub answered: bool,
    /// What it does, in words.
    pub text: String,
}

/// All actions that a step names; a correct step has at most one.
#[must_use]
pub fn actions(step: &Step) -> Vec<Action> {
    let mut all = Vec::new();
    let mut add = |name, pos: Pos, course, answered, text: String| {
        all.push(Action {
            name,
            pos,
            course,
            answered,
            text,
        });
    };
    use Course::{Aside, FromIut, ToIut};
    if let Some(what) = &step.await_ {
        add(
            "await",
            what.pos,
            FromIut,
            false,
            await_text(what.value, step.new == Some(true)),
        );
    }
    if let Some(what) = &step.await_message {
        add(
            "await-message",
            what.pos,
            FromIut,
            false,
            format!("wait for {}", message_text(what)),
        );
    }
    if let Some(path) = &step.read {
        let format = step.accept.map_or_else(String::new, |format| format!(" as {format}"));
        add("read", path.pos, ToIut, true, format!("GET {}{format}", path.value));
    }
    if let Some(path) = &step.discover {
        add(
            "discover",
            path.pos,
            ToIut,
            true,
            format!("GET {} as link-format (Discover)", path.value),
        );
    }
    if let Some(paths) = &step.observe {
        add(
            "observe",
            paths.pos,
            ToIut,
            true,
            format!("GET {} with Observe 0", list(paths)),
        );
    }
    if let Some(paths) = &step.cancel_observation {
        let how = match step.by.unwrap_or_default() {
            Cancellation::Get => "GET with Observe 1",
            Cancellation::Rst => "RST to the next notification",
        };
        add(
            "cancel-observation",
            paths.pos,
            ToIut,
            true,
            format!("end the observation of {}: {how}", list(paths)),
        );
    }
    if let Some(write) = &step.write {
        let method = if write.partial == Some(true) { "POST" } else { "PUT" };
        let value = write
            .text
            .as_ref()
            .map(|text| format!("\"{text}\""))
            .or_else(|| write.integer.map(|number| number.to_string()))
            .or_else(|| write.boolean.map(|flag| flag.to_string()))
            .or_else(|| write.hex.as_ref().map(|hex| format!("{} bytes", hex.0.len())))
            .or_else(|| write.values.as_ref().map(values_text))
            .unwrap_or_default();
        let format = write.format.map_or_else(String::new, |format| format!(" as {format}"));
        add(
            "write",
            write.pos,
            ToIut,
            true,
            format!("{method} {} {value}{format}", write.to),
        );
    }
    if let Some(reset) = &step.reset {
        let text = match reset.value {
            Reset::Nul => "PUT /5/0/0 one byte 00 (reset)",
            Reset::EmptyUri => "PUT /5/0/1 empty string (reset)",
        };
        add("reset", reset.pos, ToIut, true, text.to_owned());
    }
    if let Some(path) = &step.execute {
        let argument = step
            .argument
            .as_ref()
            .map_or_else(String::new, |argument| format!(" with {argument}"));
        add(
            "execute",
            path.pos,
            ToIut,
            true,
            format!("POST {}{argument} (Execute)", path.value),
        );
    }
    composite(step, &mut add);
    if let Some(attributes) = &step.attributes {
        let period = |name: &str, value: Option<u32>| value.map(|value| format!("{name}={value}"));
        let number = |name: &str, value: Option<f64>| value.map(|value| format!("{name}={value}"));
        let query: Vec<String> = [
            period("pmin", attributes.pmin),
            period("pmax", attributes.pmax),
            number("gt", attributes.gt),
            number("lt", attributes.lt),
            number("st", attributes.st),
        ]
        .into_iter()
        .flatten()
        .collect();
        add(
            "attributes",
            attributes.pos,
            ToIut,
            true,
            format!("PUT {}?{} (Write-Attributes)", attributes.to, query.join("&")),
        );
    }
    if let Some(push) = &step.push {
        add("push", push.pos, ToIut, true, push_text(push));
    }
    if let Some(pull) = &step.pull {
        let to = pull.to.as_ref().map_or("/5/0/1", |path| path.0.as_str());
        let uri = match (&pull.uri, &pull.repository) {
            (Some(uri), _) => format!("\"{uri}\""),
            (None, Some(name)) => format!("URI of repository {}", name.value),
            (None, None) => "URI of the repository".to_owned(),
        };
        add("pull", pull.pos, ToIut, true, format!("PUT {to} {uri}"));
    }
    if let Some(request) = &step.request {
        add("request", request.pos, ToIut, true, request_text(request));
    }
    if let Some(datagram) = &step.datagram {
        add("datagram", datagram.pos, ToIut, true, datagram_text(datagram));
    }
    if let Some(resend) = &step.resend {
        let block = resend
            .block
            .map_or_else(String::new, |block| format!(" block {block} of"));
        add(
            "resend",
            resend.pos,
            ToIut,
            true,
            format!("send{block} `{}` again, byte for byte", resend.of.value),
        );
    }
    if let Some(replay) = &step.replay {
        let which = if replay.first == Some(true) {
            "the first"
        } else {
            "the last"
        };
        let mut select = replay.select.clone();
        select.from.get_or_insert(crate::ast::Party::Server);
        add(
            "replay",
            replay.pos,
            ToIut,
            true,
            format!("deliver {which} {} once more, byte for byte", message_text(&select)),
        );
    }
    if let Some(burst) = &step.burst {
        let damaged = if burst.mutate.is_some() {
            ", damaged by seeded dice"
        } else {
            ""
        };
        let text = format!(
            "{} times, {} a second: {}{damaged}",
            burst.count,
            burst.rate.unwrap_or(100),
            datagram_text(&burst.datagram)
        );
        add("burst", burst.pos, ToIut, true, text);
    }
    if let Some(label) = &step.abort {
        add(
            "abort",
            label.pos,
            Aside,
            false,
            format!("go on with `{}` no more", label.value),
        );
    }
    if let Some(change) = &step.network {
        add("network", change.pos, Aside, false, network_text(change));
    }
    if let Some(change) = &step.repository {
        add("repository", change.pos, Aside, false, repository_text(change));
    }
    if let Some(change) = &step.server {
        let reset = if change.reset == Some(true) {
            "as usual"
        } else {
            "otherwise than usual"
        };
        add(
            "server",
            change.pos,
            Aside,
            false,
            format!("from now on the server answers {reset}"),
        );
    }
    if let Some(action) = &step.iut {
        let text = match action.value {
            IutAction::Start => "start the IUT on the state that it left",
            IutAction::Stop => "ask the IUT to end",
            IutAction::PowerCut => "cut the power of the IUT",
            IutAction::Fresh => "start the IUT with empty storage",
        };
        add("iut", action.pos, Aside, false, text.to_owned());
    }
    if let Some(time) = &step.wait {
        add("wait", time.pos, Aside, false, format!("let {} pass", span(time.value)));
    }
    if let Some(poll) = &step.poll {
        let text = if poll.paths.is_empty() {
            "stop polling".to_owned()
        } else {
            let every = poll
                .every
                .map_or_else(String::new, |every| format!(" every {}", span(every)));
            format!("GET {}{every}, in the background", list(&poll.paths))
        };
        add("poll", poll.pos, ToIut, false, text);
    }
    if let Some(device) = &step.device {
        add("device", device.pos, Aside, false, devices::device_text(device));
    }
    if let Some(update) = &step.update {
        add("update", update.pos, Aside, false, devices::update_text(update));
    }
    if let Some(control) = &step.update_control {
        let text = devices::control_text(control);
        add("update-control", control.pos, Aside, false, text);
    }
    if let Some(op) = &step.server_op {
        let text = devices::operations(op).join(", ");
        add("server-op", op.pos, Aside, true, text);
    }
    if let Some(action) = all.first_mut() {
        action.text.push_str(&remember_text(step));
    }
    all
}

/// What a step remembers, in words.
fn remember_text(step: &Step) -> String {
    let mut text = String::new();
    for one in step.remember.iter().flat_map(|all| all.iter()) {
        let what = match (&one.value, &one.message) {
            (Some(path), _) => path.to_string(),
            (None, Some(select)) => {
                let part = crate::expects::part_word(one.part.unwrap_or(MessagePart::Token));
                format!("{part} of {}", message_text(select))
            }
            (None, None) => continue,
        };
        text.push_str(&format!(", remember {what} as `{}`", one.name.value));
    }
    text
}

/// The composite operations.
fn composite(step: &Step, add: &mut dyn FnMut(&'static str, Pos, Course, bool, String)) {
    let format = step.accept.map_or_else(String::new, |format| format!(" as {format}"));
    if let Some(paths) = &step.read_composite {
        let text = format!("FETCH {}{format} (Read-Composite)", list(paths));
        add("read-composite", paths.pos, Course::ToIut, true, text);
    }
    if let Some(paths) = &step.observe_composite {
        let text = format!("FETCH {}{format} with Observe 0 (Observe-Composite)", list(paths));
        add("observe-composite", paths.pos, Course::ToIut, true, text);
    }
    if let Some(write) = &step.write_composite {
        let format = write.format.map_or_else(String::new, |format| format!(" as {format}"));
        let text = format!("iPATCH {}{format} (Write-Composite)", values_text(&write.values));
        add("write-composite", write.pos, Course::ToIut, true, text);
    }
}

fn values_text(values: &std::collections::BTreeMap<String, Payload>) -> String {
    let all: Vec<String> = values
        .iter()
        .map(|(path, payload)| format!("{path} ={}", payload_text(payload)))
        .collect();
    all.join(", ")
}

/// A step in one line, for journals and reports: its action, or what it expects.
#[must_use]
pub fn step_text(step: &Step) -> String {
    let text = match (actions(step).first(), &step.expect) {
        (Some(action), _) => action.text.clone(),
        (None, Some(expect)) => format!("expect {}", expect_lines(expect).join("; ")),
        (None, None) => String::new(),
    };
    match &step.when {
        Some(when) => format!("{text} (when {})", when.value),
        None => text,
    }
}

/// A length of time as the language writes it.
#[must_use]
pub fn span(span: Span) -> String {
    let time = span.0;
    let millis = time.as_millis();
    if !time.subsec_micros().is_multiple_of(1000) {
        format!("{}us", time.as_micros())
    } else if !millis.is_multiple_of(1000) {
        format!("{millis}ms")
    } else if time.as_secs() >= 3600 && time.as_secs().is_multiple_of(3600) {
        format!("{}h", time.as_secs() / 3600)
    } else if time.as_secs() >= 600 && time.as_secs().is_multiple_of(60) {
        format!("{}m", time.as_secs() / 60)
    } else {
        format!("{}s", time.as_secs())
    }
}

pub(crate) fn list<T: std::fmt::Display>(many: &[T]) -> String {
    many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(crate) fn either<T: std::fmt::Display>(many: &[T]) -> String {
    many.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

fn await_text(what: Await, new: bool) -> String {
    let what = match what {
        Await::Registration => "a registration",
        Await::Update => "a registration Update",
        Await::Deregistration => "a De-register",
        Await::Get => "a GET at the repository",
        Await::Hold => "a GET that the repository holds",
        Await::Notification => "a notification",
        Await::Send => "a Send",
        Await::Answer => "the answer in the background",
    };
    format!("wait for {what}{}", if new { " after this step began" } else { "" })
}

fn push_text(push: &Push) -> String {
    let to = push.to.as_ref().map_or("/5/0/0", |path| path.0.as_str());
    let method = match push.method.unwrap_or_default() {
        crate::ast::PushMethod::Put => "PUT",
        crate::ast::PushMethod::Post => "POST",
    };
    let what = match &push.payload {
        Some(payload) => payload_text(payload).trim_start().to_owned(),
        None => push
            .package
            .as_ref()
            .map_or_else(|| "the package".to_owned(), |name| name.value.clone()),
    };
    let mut text = format!("{method} {to} {what}");
    if push.single == Some(true) {
        text.push_str(" in one message");
    } else {
        text.push_str(&format!(" in blocks of {}", push.block.unwrap_or(512)));
    }
    if let Some(blocks) = &push.blocks {
        text.push_str(&format!(", blocks {}", blocks.join(", ")));
    }
    if let Some(from) = push.from {
        text.push_str(&format!(", from block {from} on"));
    }
    if let Some(stop) = push.stop_after {
        text.push_str(&format!(", up to block {stop}"));
    }
    if let Some(sender) = &push.sender {
        text.push_str(&format!(", sent by {sender}"));
    }
    text
}

fn payload_text(payload: &Payload) -> String {
    if let Some(format) = payload.encode {
        let plain = Payload {
            encode: None,
            ..payload.clone()
        };
        let to = payload.resource.as_ref().map_or("/5/0/0", |path| path.0.as_str());
        return format!("{} as {to} in {format}", payload_text(&plain));
    }
    if let Some(parts) = &payload.parts {
        return parts.iter().map(payload_text).collect::<Vec<_>>().join(" +");
    }
    if let Some(text) = &payload.text {
        format!(" \"{text}\"")
    } else if let Some(number) = payload.integer {
        format!(" {number}")
    } else if let Some(flag) = payload.boolean {
        format!(" {flag}")
    } else if let Some(hex) = &payload.hex {
        format!(" {} bytes", hex.0.len())
    } else if let Some(count) = payload.random {
        format!(" {count} bytes of noise")
    } else if let Some(name) = &payload.package {
        payload.block.map_or_else(
            || format!(" package {name}"),
            |block| format!(" package {name}, block {block}"),
        )
    } else if let Some(length) = payload.text_of_length {
        format!(" text of {length} bytes")
    } else {
        String::new()
    }
}

fn request_text(request: &Request) -> String {
    let mut text = request
        .method
        .map_or_else(|| "GET".to_owned(), |method| method.to_string());
    if let Some(path) = &request.path {
        text.push_str(&format!(" {path}"));
    }
    if let Some(query) = &request.query {
        text.push_str(&format!("?{}", query.join("&")));
    }
    if let Some(kind) = request.kind {
        text = format!("{kind} {text}");
    }
    if let Some(block) = request.block1 {
        text.push_str(&format!(" Block1 {block}"));
    }
    if let Some(block) = request.block2 {
        text.push_str(&format!(" Block2 {block}"));
    }
    if let Some(payload) = &request.payload {
        text.push_str(&payload_text(payload));
    }
    if let Some(sender) = &request.sender {
        text.push_str(&format!(", sent by {sender}"));
    }
    text
}

fn datagram_text(datagram: &Datagram) -> String {
    if let Some(hex) = &datagram.hex {
        return format!("{} bytes as given", hex.0.len());
    }
    let kind = datagram.kind.map_or_else(|| "CON".to_owned(), |kind| kind.to_string());
    let code = datagram.code.map_or_else(|| "GET".to_owned(), |code| code.to_string());
    let mut text = format!("{kind} {code}");
    if let Some(path) = &datagram.path {
        text.push_str(&format!(" {path}"));
    }
    if let Some(version) = datagram.version {
        text.push_str(&format!(", version {version}"));
    }
    if let Some(length) = datagram.token_length {
        text.push_str(&format!(", token length {length}"));
    }
    if let Some(block) = datagram.block1 {
        text.push_str(&format!(" Block1 {block}"));
    }
    if let Some(payload) = &datagram.payload {
        text.push_str(&payload_text(payload));
    }
    if let Some(length) = datagram.length {
        text.push_str(&format!(", cut to {length} bytes"));
    }
    text.push_str(", as given");
    text
}

fn network_text(change: &NetworkChange) -> String {
    let mut parts = Vec::new();
    if let Some(time) = change.dead_for {
        parts.push(format!("nothing passes for {}", span(time)));
    }
    match change.dead {
        Some(true) => parts.push("nothing passes from now on".to_owned()),
        Some(false) => parts.push("everything passes again".to_owned()),
        None => {}
    }
    if let Some(mtu) = change.mtu {
        parts.push(format!("MTU {mtu}"));
    }
    if change.rebind == Some(true) {
        parts.push("the IUT gets a new address".to_owned());
    }
    if change.both.is_some() {
        parts.push("other impairments".to_owned());
    }
    if let Some(rules) = &change.rules {
        parts.push(format!(
            "{} more rule{}",
            rules.len(),
            if rules.len() == 1 { "" } else { "s" }
        ));
    }
    if change.clear_rules == Some(true) {
        parts.push("the added rules are gone".to_owned());
    }
    format!("network: {}", parts.join(", "))
}

fn repository_text(change: &RepositoryChange) -> String {
    let name = change
        .name
        .as_ref()
        .map_or("the repository", |name| name.value.as_str());
    let mut parts = Vec::new();
    if change.release == Some(true) {
        parts.push("gives what it holds".to_owned());
    }
    if change.faults.is_some() {
        parts.push("changes its faults".to_owned());
    }
    if let Some(package) = &change.package {
        parts.push(format!("serves {} now", package.value));
    }
    format!("{name} {}", parts.join(", "))
}

/// The parts of an expectation and of those nested in it, with their grades.
pub fn walk_expects<'a>(expect: &'a At<Expect>, visit: &mut dyn FnMut(&'a At<Expect>)) {
    visit(expect);
    for inner in [&expect.should, &expect.advice, &expect.requires].into_iter().flatten() {
        walk_expects(inner, visit);
    }
    for inner in expect.all_of.iter().flatten() {
        walk_expects(inner, visit);
    }
    for outcome in expect.any_of.iter().flat_map(|any| any.value.iter()) {
        walk_expects(&outcome.expect, visit);
    }
}

/// All messages that a step speaks of.
#[must_use]
pub fn messages_of(step: &Step) -> Vec<&MessageMatch> {
    let mut all: Vec<&MessageMatch> = step.await_message.iter().map(|select| &select.value).collect();
    all.extend(step.replay.iter().map(|replay| &replay.value.select));
    all.extend(
        step.remember
            .iter()
            .flat_map(|all| all.iter())
            .filter_map(|one| one.message.as_ref()),
    );
    if let Some(expect) = &step.expect {
        walk_expects(expect, &mut |expect| {
            let lists: [Option<&Many<MessageExpect>>; 2] = [
                expect.messages.as_ref().map(|m| &m.value),
                expect.silence.as_ref().map(|m| &m.value),
            ];
            for message in lists.into_iter().flatten().flat_map(|list| list.iter()) {
                all.push(&message.select);
                all.extend(message.each.as_ref());
                all.extend(message.before.as_ref());
                all.extend(message.after.as_ref());
                all.extend(message.spaced.as_ref().and_then(|spaced| spaced.after.as_ref()));
                all.extend(message.share.as_ref().map(|share| &share.of));
                all.extend(message.turns.as_ref().map(|turns| &turns.with));
            }
            let compared = expect.compare.iter().flat_map(|all| all.value.iter());
            all.extend(compared.filter_map(|compare| compare.message.as_ref()));
        });
    }
    all
}
