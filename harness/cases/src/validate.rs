//! What types cannot say: names that must exist, and keys that belong together.

use std::collections::BTreeSet;

use crate::ast::{At, Expect, Fault, FaultAction, Party, Payload, Pos, Role, Rule, Step};
use crate::claims::{ClaimExpr, PACKAGE_KINDS};
use crate::clauses::ClauseCatalogue;
use crate::devices;
use crate::library::LoadedCase;
use crate::problem::{Mistake, Place, Problem, narrow};
use crate::steps::{actions, messages_of, walk_expects};
use crate::words::suggest;

/// The names that exist. An empty list is not checked against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Clauses.
    pub clauses: Option<&'a ClauseCatalogue>,
    /// Planted defects of the embedded device.
    pub defects: &'a [&'a str],
    /// Planted defects of the embedded server.
    pub server_defects: &'a [&'a str],
    /// Ids of the passive checks.
    pub checks: &'a [&'a str],
    /// Named network profiles.
    pub profiles: &'a [&'a str],
}

/// Looks at a case for what its types could not say.
#[must_use]
pub fn validate(case: &LoadedCase, known: &Known<'_>) -> Vec<Problem> {
    let mut work = Work {
        known,
        mistakes: Vec::new(),
        packages: BTreeSet::new(),
        repositories: BTreeSet::new(),
        devices: BTreeSet::new(),
        role: case.case.role.value,
    };
    work.case(case);
    let mut problems: Vec<Problem> = work
        .mistakes
        .into_iter()
        .map(|mistake| case.sources.problem(mistake))
        .collect();
    problems.sort_by(|a, b| (a.pos, &a.message).cmp(&(b.pos, &b.message)));
    problems.dedup_by(|a, b| a.pos == b.pos && a.message == b.message);
    problems
}

/// Looks at all cases; what is wrong in several variants of a file is said once.
#[must_use]
pub fn validate_all(cases: &[LoadedCase], known: &Known<'_>) -> Vec<Problem> {
    let mut all: Vec<Problem> = Vec::new();
    for case in cases {
        for problem in validate(case, known) {
            if !all
                .iter()
                .any(|other| other.file == problem.file && other.pos == problem.pos && other.message == problem.message)
            {
                all.push(problem);
            }
        }
    }
    all
}

struct Work<'a> {
    known: &'a Known<'a>,
    mistakes: Vec<Mistake>,
    packages: BTreeSet<String>,
    repositories: BTreeSet<String>,
    devices: BTreeSet<String>,
    role: Role,
}

impl Work<'_> {
    fn say(&mut self, code: &'static str, pos: impl Into<Place>, message: impl Into<String>) -> &mut Mistake {
        let index = self.mistakes.len();
        self.mistakes.push(Mistake::new(code, pos.into(), message));
        &mut self.mistakes[index]
    }

    /// A mistake about the file as a whole points at its first character.
    fn say_top(&mut self, code: &'static str, message: &str, help: &str) {
        self.say(code, Place::START, message).help = Some(help.to_owned());
    }

    fn case(&mut self, loaded: &LoadedCase) {
        let case = &loaded.case;
        if case.title.trim().is_empty() {
            self.say_top("title", "`title` is empty", "say in one sentence what must hold");
        } else if case.title.trim_end().ends_with('.') {
            self.say_top(
                "title",
                "`title` ends with a full stop",
                "take the full stop away: titles stand in tables",
            );
        }
        if case.purpose.trim().is_empty() {
            self.say_top("purpose", "`purpose` is empty", "say why it is asked and what is done");
        }
        if case.steps.is_empty() {
            self.say_top(
                "steps",
                "the case has no `steps`",
                "a case without steps judges nothing",
            );
        }
        if case.clauses.is_empty() {
            self.say_top(
                "clauses",
                "the case names no clause",
                "write `clauses: [rfc7252/4.5]`: what the case judges by",
            );
        }
        if case.defects.is_empty() {
            self.say_top(
                "defects",
                "the case names no planted defect",
                "write `defects: [NAME]`: a case that no defect can fail proves nothing",
            );
        }
        for clause in &case.clauses {
            self.clause(clause);
        }
        for defect in &case.defects {
            let (what, known) = match self.role {
                Role::Client => ("planted defect", self.known.defects),
                Role::Server => ("planted defect of a server", self.known.server_defects),
            };
            self.name("defect", what, defect, known);
        }
        for need in &case.needs {
            self.claim(need);
        }
        for id in &case.ets {
            if !is_ets(id) {
                self.say(
                    "ets",
                    id.pos,
                    format!("`{}` is no id of the enabler test specification", id.value),
                )
                .help = Some("write it as LightweightM2M-1.0-int-770".to_owned());
            }
        }
        for skip in case.checks.iter().flat_map(|checks| &checks.skip) {
            self.name("check", "check", &skip.check, self.known.checks);
            if skip.because.trim().is_empty() {
                self.say("because", skip.check.pos, "a check is skipped without a reason")
                    .help = Some("say why in `because`".to_owned());
            }
        }
        self.packages = case.packages.keys().cloned().collect();
        self.packages.insert("firmware".to_owned());
        self.repositories = case.repositories.keys().cloned().collect();
        self.repositories.insert("main".to_owned());
        if self.role == Role::Server {
            self.devices = devices::devices(case).into_keys().collect();
        }
        self.mistakes.extend(devices::case_mistakes(case));
        for firmware in case.firmware.iter().chain(case.packages.values()) {
            if let Some(kind) = &firmware.package {
                self.kind(kind);
            }
        }
        for repository in case.repositories.values() {
            if let Some(package) = &repository.package {
                self.package(package);
            }
            self.faults(&repository.faults);
        }
        if let Some(network) = &case.network {
            if let Some(profile) = &network.profile
                && !self.known.profiles.is_empty()
                && !self.known.profiles.contains(&profile.as_str())
            {
                let help = suggest(profile, self.known.profiles);
                self.say_top(
                    "profile",
                    &format!("there is no network profile `{profile}`"),
                    &help.unwrap_or_default(),
                );
            }
            self.rules(network.rules.as_deref().unwrap_or_default(), Place::START);
        }
        self.mistakes.extend(crate::more::remembered_mistakes(case));
        let mut labels = vec!["start".to_owned()];
        for (_, step) in case.all_steps() {
            self.step(step, &labels);
            if let Some(label) = &step.label {
                if labels.contains(&label.value) {
                    self.say("label", label.pos, format!("the label `{}` is taken", label.value));
                }
                labels.push(label.value.clone());
            }
        }
    }

    fn clause(&mut self, clause: &At<String>) {
        let Some(catalogue) = self.known.clauses else {
            return;
        };
        if catalogue.contains(clause) {
            return;
        }
        let near = catalogue.near(clause);
        let help = match near.as_slice() {
            [] => "the catalogue is in the folder clauses of the library".to_owned(),
            [one] => format!("did you mean `{one}`?"),
            many => format!(
                "near: {}",
                many.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        let mistake = self.say(
            "unknown-clause",
            clause.pos,
            format!("unknown clause `{}`", clause.value),
        );
        mistake.label = "not in the clause catalogue".to_owned();
        mistake.help = Some(help);
    }

    fn name(&mut self, code: &'static str, what: &str, word: &At<String>, known: &[&str]) {
        if !known.is_empty() && !known.contains(&word.value.as_str()) {
            let help = suggest(word, known);
            let mistake = self.say(code, word.pos, format!("there is no {what} `{}`", word.value));
            mistake.label = "unknown".to_owned();
            mistake.help = help;
        }
    }

    fn claim(&mut self, expression: &At<String>) {
        if let Err(error) = ClaimExpr::parse(expression) {
            let place = inside(expression.pos, expression, error.offset());
            let mistake = self.say("claim", place, error.to_string());
            mistake.label = "in this expression over claims".to_owned();
            mistake.help = error.help();
        }
    }

    fn kind(&mut self, kind: &At<String>) {
        let word = kind.split(':').next().unwrap_or_default();
        if word != "raw" && !PACKAGE_KINDS.contains(&word) {
            let mut known = PACKAGE_KINDS.to_vec();
            known.push("raw");
            let mistake = self.say(
                "package",
                kind.pos,
                format!("there is no kind of package `{}`", kind.value),
            );
            mistake.label = "unknown".to_owned();
            mistake.help = suggest(word, &known);
        }
    }

    fn package(&mut self, name: &At<String>) {
        if !self.packages.contains(&name.value) {
            let known: Vec<&str> = self.packages.iter().map(String::as_str).collect();
            let help = suggest(name, &known);
            let mistake = self.say("package", name.pos, format!("the case has no package `{}`", name.value));
            mistake.label = "neither `firmware` nor a name of `packages`".to_owned();
            mistake.help = help;
        }
    }

    fn repository(&mut self, name: &str, pos: Pos) {
        if !self.repositories.contains(name) {
            let known: Vec<&str> = self.repositories.iter().map(String::as_str).collect();
            let help = suggest(name, &known);
            let mistake = self.say("repository", pos, format!("the case has no repository `{name}`"));
            mistake.label = "not a name of `repositories`".to_owned();
            mistake.help = help;
        }
    }

    fn device(&mut self, name: &str, pos: Pos) {
        if !self.devices.contains(name) {
            let known: Vec<&str> = self.devices.iter().map(String::as_str).collect();
            let help = match self.role {
                Role::Client => Some("a case with `role: client` has no devices: the IUT is the device".to_owned()),
                Role::Server => suggest(name, &known),
            };
            let mistake = self.say("device", pos, format!("the case has no device `{name}`"));
            mistake.label = "neither `device` nor a name of `devices`".to_owned();
            mistake.help = help;
        }
    }

    fn party(&mut self, party: Option<&Party>, pos: Pos) {
        match party {
            Some(Party::Repository(name)) => self.repository(name, pos),
            Some(Party::Device(name)) => self.device(name, pos),
            _ => {}
        }
    }

    fn label(&mut self, label: &At<String>, labels: &[String]) {
        if !labels.contains(&label.value) {
            let known: Vec<&str> = labels
                .iter()
                .map(String::as_str)
                .filter(|known| *known != "start")
                .collect();
            let help = suggest(label, &known).unwrap_or_else(|| "give the step a name by `as: NAME`".to_owned());
            let mistake = self.say(
                "label",
                label.pos,
                format!("no step before this one is called `{}`", label.value),
            );
            mistake.label = "unknown label".to_owned();
            mistake.help = Some(help);
        }
    }

    fn faults(&mut self, faults: &[Fault]) {
        for fault in faults {
            if let Some(package) = &fault.package {
                self.package(package);
            }
            let needs = match fault.action.value {
                FaultAction::Code if fault.code.is_none() => "code",
                FaultAction::WrongBlock if fault.number.is_none() => "number",
                FaultAction::SmallerBlock if fault.size.is_none() => "size",
                FaultAction::ChangeFile if fault.package.is_none() => "package",
                _ => continue,
            };
            self.say(
                "fault",
                fault.action.pos,
                format!("this fault needs `{needs}` beside it"),
            );
        }
    }

    fn rules(&mut self, rules: &[Rule], place: Place) {
        for rule in rules {
            let given: Vec<&str> = [
                ("pass", rule.pass.is_some()),
                ("drop", rule.drop.is_some()),
                ("delay", rule.delay.is_some()),
                ("duplicate", rule.duplicate.is_some()),
                ("corrupt", rule.corrupt.is_some()),
                ("truncate", rule.truncate.is_some()),
                ("swap", rule.swap.is_some()),
            ]
            .into_iter()
            .filter_map(|(name, given)| given.then_some(name))
            .collect();
            match given.as_slice() {
                [] => {
                    self.say("rule", place, "a rule of the network does nothing").help =
                        Some("one of pass, drop, delay, duplicate, corrupt, truncate, swap".to_owned());
                }
                [_] => {}
                many => {
                    self.say(
                        "rule",
                        place,
                        format!("a rule of the network does {} things: {}", many.len(), many.join(", ")),
                    )
                    .help = Some("make a rule of each; the first that matches decides".to_owned());
                }
            }
            if rule.delay.is_some() && rule.by.is_none() {
                self.say("rule", place, "a `delay` rule needs `by`, a duration");
            }
            if rule.truncate.is_some() && rule.length.is_none() {
                self.say("rule", place, "a `truncate` rule needs `length`, a number of bytes");
            }
        }
    }

    fn payload(&mut self, payload: Option<&Payload>, pos: Pos) {
        let Some(payload) = payload else {
            return;
        };
        let given = [
            payload.text.is_some(),
            payload.integer.is_some(),
            payload.boolean.is_some(),
            payload.hex.is_some(),
            payload.random.is_some(),
            payload.package.is_some(),
            payload.text_of_length.is_some(),
            payload.parts.is_some(),
        ];
        if given.iter().filter(|given| **given).count() > 1 {
            self.say(
                "payload",
                pos,
                "a payload is one thing: text, integer, boolean, hex, random, package, text-of-length or parts",
            );
        }
        if payload.resource.is_some() && payload.encode.is_none() {
            self.say("payload", pos, "`resource` says nothing without `encode`");
        }
        for part in payload.parts.iter().flatten() {
            self.payload(Some(part), pos);
        }
        if let Some(name) = &payload.package {
            self.package(&At {
                value: name.clone(),
                pos,
            });
        }
    }

    fn step(&mut self, step: &At<Step>, labels: &[String]) {
        let actions = actions(step);
        let mut ordered: Vec<_> = actions.iter().collect();
        ordered.sort_by_key(|action| action.pos);
        if let [first, second, ..] = ordered.as_slice() {
            let mistake = self.say(
                "actions",
                second.pos,
                format!(
                    "a step does one thing; this one has `{}` and `{}`",
                    first.name, second.name
                ),
            );
            mistake.label = "make a step of its own for this".to_owned();
        }
        if actions.is_empty() && step.expect.is_none() && step.remember.is_none() {
            self.say("actions", step.pos, "the step does nothing").help =
                Some("give it an action such as `push:`, or `expect:`".to_owned());
        }
        let name = actions.first().map_or("expect", |action| action.name);
        let mut only = |given: bool, key: &str, with: &[&str]| {
            if given && !with.contains(&name) {
                let with = with
                    .iter()
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ");
                self.say("modifier", step.pos, format!("`{key}` says nothing beside `{name}`"))
                    .help = Some(format!("it goes with {with}"));
            }
        };
        only(
            step.accept.is_some(),
            "accept",
            &["read", "observe", "discover", "read-composite", "observe-composite"],
        );
        only(step.argument.is_some(), "argument", &["execute"]);
        only(step.by.is_some(), "by", &["cancel-observation"]);
        only(step.within.is_some(), "within", &["await", "await-message"]);
        only(step.new.is_some(), "new", &["await", "await-message"]);
        only(
            step.background.is_some(),
            "background",
            &[
                "read",
                "discover",
                "observe",
                "write",
                "reset",
                "execute",
                "push",
                "pull",
                "request",
                "datagram",
                "read-composite",
                "write-composite",
            ],
        );
        if let Some(when) = &step.when {
            self.claim(when);
        }
        self.mistakes.extend(devices::step_mistakes(self.role, step));
        let names = devices::names(step);
        for device in &names.devices {
            self.device(device, device.pos);
        }
        for package in &names.packages {
            self.package(package);
        }
        for repository in &names.repositories {
            self.repository(repository, repository.pos);
        }
        if let Some(write) = &step.write {
            let given = [
                write.text.is_some(),
                write.integer.is_some(),
                write.boolean.is_some(),
                write.hex.is_some(),
                write.values.is_some(),
            ];
            if given.iter().filter(|given| **given).count() != 1 {
                self.say(
                    "write",
                    write.pos,
                    "a write has one value: text, integer, boolean or hex, or the `values` of an instance",
                );
            }
        }
        if let Some(push) = &step.push {
            if let Some(package) = &push.package {
                self.package(package);
            }
            if let Some(of) = &push.of {
                self.label(of, labels);
            }
            if push.from.is_some() != push.of.is_some() {
                self.say(
                    "push",
                    push.pos,
                    "`from` and `of` go together: the block to go on from, and the push that began the body",
                );
            }
            if let Some(block) = push.block
                && ![16, 32, 64, 128, 256, 512, 1024].contains(&block)
            {
                self.say("push", push.pos, format!("there is no block size {block}"))
                    .help = Some("16, 32, 64, 128, 256, 512 or 1024".to_owned());
            }
            if push.token_length.is_some_and(|length| length > 8) {
                self.say("push", push.pos, "a token has at most 8 bytes").help =
                    Some("use `datagram` to send what is malformed".to_owned());
            }
            self.party(push.sender.as_ref(), push.pos);
        }
        if let Some(pull) = &step.pull {
            if let Some(name) = &pull.repository {
                self.repository(name, name.pos);
            }
            if pull.repository.is_some() && pull.uri.is_some() {
                self.say("pull", pull.pos, "a pull has a `repository` or a `uri`, not both");
            }
        }
        if let Some(request) = &step.request {
            self.payload(request.payload.as_ref(), request.pos);
            self.party(request.sender.as_ref(), request.pos);
        }
        if let Some(datagram) = &step.datagram {
            self.payload(datagram.payload.as_ref(), datagram.pos);
            self.party(datagram.sender.as_ref(), datagram.pos);
        }
        if let Some(resend) = &step.resend {
            self.label(&resend.of, labels);
        }
        if let Some(change) = &step.network {
            self.rules(change.rules.as_deref().unwrap_or_default(), change.pos.into());
        }
        if let Some(change) = &step.repository {
            if let Some(name) = &change.name {
                self.repository(name, name.pos);
            }
            if let Some(package) = &change.package {
                self.package(package);
            }
            self.faults(change.faults.as_deref().unwrap_or_default());
        }
        if let Some(push) = &step.push {
            self.payload(push.payload.as_ref(), push.pos);
            if push.payload.is_some() && push.package.is_some() {
                self.say("push", push.pos, "a push has a `package` or a `payload`, not both");
            }
        }
        if let Some(label) = &step.abort {
            self.label(label, labels);
        }
        if let Some(label) = step.update_control.as_ref().and_then(|control| control.update.as_ref()) {
            self.label(label, labels);
        }
        if let Some(burst) = &step.burst {
            self.payload(burst.datagram.payload.as_ref(), burst.pos);
            self.party(burst.datagram.sender.as_ref(), burst.pos);
        }
        self.mistakes.extend(crate::more::step_mistakes(step));
        for select in messages_of(step) {
            self.party(select.from.as_ref(), step.pos);
            self.party(select.to.as_ref(), step.pos);
        }
        if let Some(expect) = &step.expect {
            let answered = actions
                .first()
                .is_some_and(|action| action.answered || action.name == "await");
            let mut own = labels.to_vec();
            own.extend(step.label.iter().map(|label| label.value.clone()));
            walk_expects(expect, &mut |expect| self.expect(expect, answered, name, &own));
        }
    }

    fn expect(&mut self, expect: &At<Expect>, answered: bool, action: &str, labels: &[String]) {
        let mut rest = expect.value.clone();
        (
            rest.within,
            rest.not_before,
            rest.when,
            rest.clauses,
            rest.because,
            rest.stable,
            rest.object,
            rest.device,
        ) = (None, None, None, None, None, None, None, None);
        if rest == Expect::default() {
            let message = if expect.within.is_some() {
                "`within` without anything to come within it"
            } else {
                "the expectation is empty"
            };
            self.say("expect", expect.pos, message);
        }
        if let Some(when) = &expect.when {
            self.claim(when);
        }
        self.mistakes.extend(devices::expect_mistakes(self.role, expect));
        if let Some(device) = &expect.device
            && self.role == Role::Server
        {
            self.device(device, device.pos);
        }
        for clause in expect.clauses.iter().flatten() {
            self.clause(clause);
        }
        if let Some(code) = &expect.code
            && !answered
        {
            self.say(
                "expect",
                code.pos,
                format!("`code` has no answer to look at: `{action}` asks the IUT nothing"),
            )
            .help = Some("put the expectation into the step that sends the request".to_owned());
        }
        if let Some(answers) = &expect.answers
            && !matches!(action, "push" | "await")
        {
            self.say(
                "expect",
                answers.pos,
                format!("`answers` is about the blocks of a push; this step is `{action}`"),
            );
        }
        if let Some(path) = &expect.path {
            if path.value.is_empty() {
                self.say("expect", path.pos, "`path` has no station");
            } else if path.value.last().is_some_and(|station| station.optional) {
                self.say(
                    "expect",
                    path.pos,
                    "the last station of `path` must be seen; it cannot have a `?`",
                );
            }
        }
        if let Some(image) = expect.image.as_ref().filter(|image| image.value != "none") {
            self.package(image);
        }
        if let Some(any) = &expect.any_of
            && any.value.len() < 2
        {
            self.say("expect", any.pos, "`any-of` has fewer than two outcomes");
        }
        self.mistakes.extend(crate::more::expect_mistakes(expect, action));
        for list in [&expect.messages, &expect.silence].into_iter().flatten() {
            for since in list.value.iter().filter_map(|message| message.since.as_ref()) {
                self.label(since, labels);
            }
        }
    }
}

/// The place of an offset in a scalar, where the scalar stands in the file as it is read.
fn inside(pos: Pos, text: &str, offset: usize) -> Place {
    let place = Place::from(pos);
    let quote = match pos.len {
        len if len == text.len() => 0,
        len if len == text.len() + 2 => 1,
        _ => return place,
    };
    let Some(before) = text.get(..offset) else {
        return place;
    };
    let shift = narrow(offset) + quote;
    let len = text[offset..]
        .find([' ', '|', '&', ')', '>', '<', '='])
        .unwrap_or(text.len() - offset)
        .max(1);
    Place {
        column: place.column + narrow(before.chars().count()) + quote,
        offset: place.offset + shift,
        len: narrow(len),
        ..place
    }
}

fn is_ets(id: &str) -> bool {
    id.strip_prefix("LightweightM2M-")
        .and_then(|rest| rest.split_once("-int-"))
        .is_some_and(|(version, number)| {
            version
                .split_once('.')
                .is_some_and(|(a, b)| a.parse::<u8>().is_ok() && b.parse::<u8>().is_ok())
                && !number.is_empty()
                && number.chars().all(|c| c.is_ascii_digit())
        })
}
