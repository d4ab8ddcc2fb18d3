//! Steps and expectations in words: the one source of step texts in reports, ladders and
//! `explain`.

use crate::ast::{Await, Cancellation, Expect, IutAction, Outcome, Push, Reset, Step};

fn list<T: ToString>(all: &[T], glue: &str) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(glue)
}

/// A step in one line.
#[must_use]
pub fn step(step: &Step) -> String {
    let text = action(step);
    match (&step.label, text.is_empty()) {
        (Some(label), false) => format!("{text} (as {})", label.value),
        (_, true) => "look at what happened".to_owned(),
        _ => text,
    }
}

fn action(step: &Step) -> String {
    if let Some(what) = &step.await_ {
        let what = match what.value {
            Await::Registration => "a registration",
            Await::Update => "a registration Update",
            Await::Deregistration => "a De-register",
            Await::Get => "a GET at a repository",
            Await::Hold => "a request that the repository holds",
            Await::Notification => "a notification",
            Await::Send => "a Send",
            Await::Answer => "the answer of the background step",
        };
        let new = if step.new == Some(true) { " anew" } else { "" };
        return format!("wait for {what}{new}");
    }
    if step.await_message.is_some() {
        return "wait for a message".to_owned();
    }
    let accept = step.accept.map_or_else(String::new, |format| format!(" as {format}"));
    if let Some(path) = &step.read {
        return format!("read {}{accept}", path.value);
    }
    if let Some(path) = &step.discover {
        return format!("discover {}", path.value);
    }
    if let Some(paths) = &step.observe {
        return format!("observe {}{accept}", list(&paths.value, ", "));
    }
    if let Some(paths) = &step.cancel_observation {
        let how = match step.by.unwrap_or_default() {
            Cancellation::Get => "by GET with Observe 1",
            Cancellation::Rst => "by RST to the next notification",
        };
        return format!("end the observation of {} {how}", list(&paths.value, ", "));
    }
    if let Some(write) = &step.write {
        let how = if write.value.partial == Some(true) { "POST" } else { "PUT" };
        let what = match (&write.value.text, write.value.integer, &write.value.hex, write.value.boolean) {
            (Some(text), ..) => format!("\"{text}\""),
            (_, Some(number), ..) => number.to_string(),
            (_, _, Some(hex), _) => format!("{} bytes", hex.0.len()),
            (.., Some(boolean)) => boolean.to_string(),
            _ => "nothing".to_owned(),
        };
        return format!("write {what} to {} ({how})", write.value.to);
    }
    if let Some(reset) = &step.reset {
        return match reset.value {
            Reset::Nul => "reset by one NUL byte to /5/0/0".to_owned(),
            Reset::EmptyUri => "reset by the empty string to /5/0/1".to_owned(),
        };
    }
    if let Some(path) = &step.execute {
        return format!("execute {}", path.value);
    }
    if let Some(attributes) = &step.attributes {
        return format!("set notification attributes of {}", attributes.value.to);
    }
    if let Some(push) = &step.push {
        return push_text(&push.value);
    }
    if let Some(pull) = &step.pull {
        let what = match (&pull.value.uri, &pull.value.repository) {
            (Some(uri), _) => uri.clone(),
            (None, Some(name)) => format!("of repository {}", name.value),
            (None, None) => "of the repository".to_owned(),
        };
        return format!("write the Package URI {what}");
    }
    if let Some(request) = &step.request {
        let r = &request.value;
        let method = r.method.map_or_else(|| "GET".to_owned(), |method| method.to_string());
        let path = r.path.as_ref().map_or("", |path| path.0.as_str());
        let block = r.block1.map_or_else(String::new, |block| format!(" with Block1 {block}"));
        let sender = r.sender.as_ref().map_or_else(String::new, |sender| format!(" from {sender}"));
        return format!("send {method} {path}{block}{sender}");
    }
    if step.datagram.is_some() {
        return "send a datagram made by hand".to_owned();
    }
    if let Some(resend) = &step.resend {
        let block = resend.value.block.map_or_else(String::new, |block| format!(" block {block} of"));
        return format!("send{block} {} again, byte for byte", resend.value.of.value);
    }
    if step.network.is_some() {
        return "change the network".to_owned();
    }
    if let Some(change) = &step.repository {
        let name = change.value.name.as_ref().map_or("main", |name| name.value.as_str());
        let what = if change.value.release == Some(true) { "release" } else { "change" };
        return format!("{what} repository {name}");
    }
    if step.server.is_some() {
        return "change how the server answers".to_owned();
    }
    if let Some(action) = &step.iut {
        return match action.value {
            IutAction::Start => "start the IUT on the state it left",
            IutAction::Stop => "stop the IUT gracefully",
            IutAction::PowerCut => "cut the power of the IUT",
            IutAction::Fresh => "start the IUT with empty storage",
        }
        .to_owned();
    }
    if let Some(wait) = &step.wait {
        return format!("wait {:?}", wait.value.0);
    }
    if let Some(poll) = &step.poll {
        if poll.value.paths.is_empty() {
            return "stop reading in the background".to_owned();
        }
        return format!("read {} again and again", list(&poll.value.paths, ", "));
    }
    String::new()
}

fn push_text(push: &Push) -> String {
    let to = push.to.as_ref().map_or("/5/0/0", |path| path.0.as_str());
    let package = push.package.as_ref().map_or_else(String::new, |name| format!(" {}", name.value));
    if push.single == Some(true) {
        return format!("push the package{package} to {to} in one message");
    }
    let mut text = format!("push the package{package} to {to} in blocks of {}", push.block.unwrap_or(512));
    if let Some(of) = &push.of {
        text = format!("go on with the push {}", of.value);
        if let Some(from) = push.from {
            text.push_str(&format!(" from block {from}"));
        }
    }
    if let Some(blocks) = &push.blocks {
        text.push_str(&format!(", only blocks {}", blocks.join(", ")));
    }
    if let Some(last) = push.stop_after {
        text.push_str(&format!(", pausing after block {last}"));
    }
    if let Some(sender) = &push.sender {
        text.push_str(&format!(", from {sender}"));
    }
    text
}

/// The expectations of a step, a line each, with their grades.
#[must_use]
pub fn expectations(expect: &Expect) -> Vec<String> {
    let mut lines = Vec::new();
    collect(expect, "must", &mut lines);
    lines
}

fn collect(e: &Expect, grade: &str, lines: &mut Vec<String>) {
    let when = e.when.as_ref().map_or_else(String::new, |when| format!(" (when {})", when.value));
    let within = e.within.as_ref().map_or_else(String::new, |w| format!(" within {:?}", w.value.0));
    let mut add = |text: String| lines.push(format!("{grade}{when}: {text}"));
    if let Some(code) = &e.code {
        add(format!("the answer is {}", list(&code.value, " or ")));
    }
    if let Some(format) = &e.format {
        add(format!("the answer is in {}", format.value));
    }
    if let Some(answers) = &e.answers {
        if let Some(code) = &answers.value.code {
            add(format!("each block but the last is answered {}", list(code, " or ")));
        }
        if answers.value.block == Some(true) {
            add("each answer carries NUM and M of its block and no larger size".to_owned());
        }
        if answers.value.last_block == Some(true) {
            add("the last answer carries Block1".to_owned());
        }
    }
    for (path, value) in e.values.iter().flatten() {
        add(format!("{path} is {value}"));
    }
    if let Some(has) = &e.has {
        add(format!("the answer has {}", list(has, ", ")));
    }
    if let Some(lacks) = &e.lacks {
        add(format!("the answer lacks {}", list(lacks, ", ")));
    }
    if let Some(registration) = &e.registration {
        let new = if registration.value.new == Some(true) { "a new registration" } else { "a registration" };
        let mut text = format!("{new} comes{within}");
        if let Some(has) = &registration.value.has {
            text.push_str(&format!(", with {}", list(has, ", ")));
        }
        if let Some(lacks) = &registration.value.lacks {
            text.push_str(&format!(", without {}", list(lacks, ", ")));
        }
        add(text);
    }
    if let Some(path) = &e.path {
        let result = e.result.as_ref().map_or_else(String::new, |r| format!(", result {}", list(&r.value, " or ")));
        add(format!("the states are {}{result}{within}", list(&path.value, " > ")));
    }
    if let Some(ends) = &e.ends {
        add(format!("the end is {}{within}", list(&ends.value, " or ")));
    }
    if let Some(never) = &e.never {
        add(format!("state {} is never seen", list(&never.value, " or ")));
    }
    if let Some(pair) = &e.pair {
        add(format!("state and result are {}", list(&pair.value, " or ")));
    }
    if e.unchanged.is_some() {
        add("state and result stay as they are".to_owned());
    }
    if let Some(notification) = &e.notification {
        let value = notification.value.value.as_ref().map_or_else(String::new, |value| format!(" with {value}"));
        add(format!("{} is notified{value}{within}", notification.value.path));
    }
    for ask in e.messages.iter().flat_map(|all| all.value.iter()) {
        add(ask.what.clone().unwrap_or_else(|| "messages are as described".to_owned()));
    }
    for ask in e.silence.iter().flat_map(|all| all.value.iter()) {
        let what = ask.what.clone().unwrap_or_else(|| "message of the kind".to_owned());
        let listen = ask.listen.map_or_else(String::new, |span| format!(" for {:?}", span.0));
        add(format!("no {what}{listen}"));
    }
    if let Some(count) = &e.registrations {
        add(format!("{} registrations in all", count.value));
    }
    if let Some(version) = &e.firmware_version {
        add(format!("/3/0/3 is {}", match &version.value {
            crate::ast::FirmwareVersion::New => "the new version",
            crate::ast::FirmwareVersion::Old => "the old version",
            crate::ast::FirmwareVersion::Is(version) => version,
        }));
    }
    if e.image.is_some() {
        add("the image that the IUT holds is the one sent".to_owned());
    }
    if e.alive.is_some() {
        add("the IUT answers a read".to_owned());
    }
    if let Some(record) = &e.record {
        lines.push(format!("recorded: {}", list(record, ", ")));
    }
    for outcome in e.any_of.iter().flat_map(|all| &all.value) {
        one_outcome(&outcome.value, lines);
    }
    for nested in e.all_of.iter().flatten() {
        collect(&nested.value, grade, lines);
    }
    for (nested, grade) in [(&e.requires, "requires"), (&e.should, "should"), (&e.advice, "advice")] {
        if let Some(nested) = nested {
            collect(&nested.value, grade, lines);
        }
    }
}

fn one_outcome(outcome: &Outcome, lines: &mut Vec<String>) {
    let mut inner = Vec::new();
    collect(&outcome.expect.value, "", &mut inner);
    let grade = format!("{:?}", outcome.grade).to_lowercase();
    let note = outcome.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
    let inner: Vec<String> = inner.iter().map(|line| line.trim_start_matches(": ").to_owned()).collect();
    lines.push(format!("or [{grade}]{note}: {}", inner.join("; ")));
}
