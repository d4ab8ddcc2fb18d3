//! Cases with a server under test: their steps in words, and what their types cannot say.

use crate::ast::{
    At, Behaviour, BehaviourAction, Case, CodeMatch, ControlStep, DeviceAction, DeviceSetup, DeviceStep, Expect,
    IutAction, Method, Pos, Role, ServerOp, Step, UpdateControl, UpdateSpec, is_block_size,
};
use crate::problem::{Mistake, Place};
use crate::steps::{list, span};

/// The device of a case when none is named.
pub const MAIN: &str = "main";

/// The devices of a case by name: `main` always, unless the case has only others.
#[must_use]
pub fn devices(case: &Case) -> std::collections::BTreeMap<String, DeviceSetup> {
    let mut all = case.devices.clone();
    if let Some(main) = &case.device {
        all.insert(MAIN.to_owned(), main.clone());
    } else if all.is_empty() {
        all.insert(MAIN.to_owned(), DeviceSetup::default());
    }
    all
}

fn name(name: Option<&At<String>>) -> String {
    match name.map(|name| name.value.as_str()) {
        None | Some(MAIN) => "the device".to_owned(),
        Some(name) => format!("device {name}"),
    }
}

/// What happens to a device, in words.
#[must_use]
pub fn device_text(step: &DeviceStep) -> String {
    let who = name(step.name.as_ref());
    let paths = step.path.as_ref().map_or_else(String::new, |paths| list(paths));
    let lasting = step
        .lasting
        .map_or_else(|| " for good".to_owned(), |time| format!(" for {}", span(time)));
    let pair = step.pair.as_ref().map_or_else(String::new, |pair| pair.to_string());
    match step.action.value {
        DeviceAction::Start => format!("{who} is switched on"),
        DeviceAction::Stop => format!("{who} de-registers and goes off"),
        DeviceAction::PowerCut => format!("{who} loses power{lasting}"),
        DeviceAction::Reboot => format!("{who} starts anew"),
        DeviceAction::Register => format!("{who} registers again"),
        DeviceAction::Update => format!("{who} updates its registration"),
        DeviceAction::Deregister => format!("{who} de-registers"),
        DeviceAction::Rebind => format!("{who} gets another address"),
        DeviceAction::Sleep => format!("{who} sleeps{lasting}"),
        DeviceAction::Wake => format!("{who} wakes up"),
        DeviceAction::Notify if paths.is_empty() => format!("{who} notifies what is observed"),
        DeviceAction::Notify => format!("{who} notifies {paths}"),
        DeviceAction::Set => format!("{paths} of {who} becomes {}", step.value.as_deref().unwrap_or_default()),
        DeviceAction::Pair => format!("{who} shows {pair}"),
        DeviceAction::Finish if pair.is_empty() => format!("the installation of {who} ends"),
        DeviceAction::Finish => format!("the installation of {who} ends in {pair}"),
        DeviceAction::Resend => {
            let what = step.of.map_or("message", |what| match what {
                crate::ast::Resent::Register => "Register",
                crate::ast::Resent::Update => "Update",
                crate::ast::Resent::Notification => "notification",
            });
            format!("{who} sends its last {what} again, byte for byte")
        }
        DeviceAction::Send => format!("{who} sends {paths} of its own accord (Send)"),
        DeviceAction::Behave => match step.behaviours.as_deref().unwrap_or_default() {
            [] => format!("{who} behaves as it should"),
            all => format!(
                "{who} from now on: {}",
                all.iter().map(|one| behaviour_text(one)).collect::<Vec<_>>().join("; ")
            ),
        },
    }
}

/// A behaviour in words.
#[must_use]
pub fn behaviour_text(behaviour: &Behaviour) -> String {
    let on = behaviour
        .on
        .as_ref()
        .map_or_else(|| "every request".to_owned(), crate::ast::OnRequest::text);
    let mut text = format!("{on}: {}", behaviour.action.word());
    if let Some(code) = &behaviour.code {
        text.push_str(&format!(" {}", code.value));
    }
    if let Some(size) = &behaviour.size {
        text.push_str(&format!(" of {} bytes", size.value));
    }
    if let Some(time) = behaviour.delay {
        text.push_str(&format!(" after {}", span(time)));
    }
    if let Some(time) = behaviour.lasting {
        text.push_str(&format!(" for {}", span(time)));
    }
    if let Some(times) = behaviour.times {
        text.push_str(&format!(", {times} times at most"));
    }
    text
}

/// An update in words.
#[must_use]
pub fn update_text(update: &UpdateSpec) -> String {
    let mut text = format!(
        "the server updates {} by {} to {}",
        name(update.device.as_ref()),
        update.method.unwrap_or_default().word(),
        update
            .package
            .as_ref()
            .map_or("the package", |package| package.value.as_str())
    );
    for window in &update.windows {
        text.push_str(&format!(", Execute from {} to {}", span(window.from), span(window.to)));
    }
    for window in &update.keep_clear {
        text.push_str(&format!(", nothing from {} to {}", span(window.from), span(window.to)));
    }
    if let Some(signal) = update.least_signal {
        text.push_str(&format!(", above {signal} dBm"));
    }
    text
}

/// What is done with an update, in words.
#[must_use]
pub fn control_text(control: &ControlStep) -> String {
    let which = match (&control.update, &control.device) {
        (Some(label), _) => format!("the update `{}`", label.value),
        (None, Some(device)) => format!("the update of device {}", device.value),
        (None, None) => "the update".to_owned(),
    };
    let does = match control.action {
        UpdateControl::Pause => "is held",
        UpdateControl::Resume => "goes on",
        UpdateControl::Cancel => "is given up",
    };
    format!("{which} {does}")
}

/// Whether the power of a server under test is cut, which ends its adapter's process.
#[must_use]
pub fn cuts_server(case: &Case) -> bool {
    case.role.value == Role::Server
        && case.given.iter().chain(&case.steps).any(|step| {
            step.iut
                .as_ref()
                .is_some_and(|action| action.value == IutAction::PowerCut)
        })
}

/// The operations that a `server-op` names, in words; a correct one has exactly one.
#[must_use]
pub fn operations(op: &ServerOp) -> Vec<String> {
    let who = name(op.device.as_ref());
    let mut all = Vec::new();
    if let Some(path) = &op.read {
        all.push(format!("the server reads {path} of {who}"));
    }
    if let Some(write) = &op.write {
        let value = write
            .text
            .clone()
            .or_else(|| write.integer.map(|number| number.to_string()))
            .or_else(|| write.boolean.map(|flag| flag.to_string()))
            .or_else(|| write.hex.as_ref().map(|hex| format!("{} bytes", hex.0.len())))
            .unwrap_or_default();
        all.push(format!("the server writes {value} to {} of {who}", write.to));
    }
    if let Some(write) = &op.write_blocks {
        let to = write.to.as_ref().map_or("/5/0/0", |path| path.0.as_str());
        let what = write.package.as_ref().map_or("the package", |name| name.value.as_str());
        let size = write
            .block
            .as_ref()
            .map_or_else(String::new, |block| format!(" of {}", block.value));
        all.push(format!("the server writes {what} in blocks{size} to {to} of {who}"));
    }
    if let Some(path) = &op.execute {
        all.push(format!("the server executes {path} of {who}"));
    }
    if let Some(path) = &op.observe {
        all.push(format!("the server observes {path} of {who}"));
    }
    if let Some(path) = &op.cancel {
        all.push(format!("the server ends the observation of {path} of {who}"));
    }
    if let Some(path) = &op.discover {
        all.push(format!("the server discovers {path} of {who}"));
    }
    if let Some(attributes) = &op.write_attributes {
        all.push(format!("the server writes attributes of {} of {who}", attributes.to));
    }
    if let Some(serve) = &op.serve {
        let what = serve.package.as_ref().map_or("the package", |name| name.value.as_str());
        all.push(format!("the server offers {what} in its own repository"));
    }
    all
}

fn mistake(code: &'static str, pos: Pos, message: impl Into<String>, help: Option<&str>) -> Mistake {
    let mut mistake = Mistake::new(code, Place::from(pos), message);
    mistake.help = help.map(str::to_owned);
    mistake
}

/// Keys of steps that make sense for one side of the IUT only, with their places.
fn step_keys(step: &Step) -> Vec<(&'static str, Role, Pos)> {
    use Role::{Client, Server};
    let at = |pos: Pos| pos;
    [
        ("read", Client, step.read.as_ref().map(|v| at(v.pos))),
        ("discover", Client, step.discover.as_ref().map(|v| at(v.pos))),
        ("observe", Client, step.observe.as_ref().map(|v| at(v.pos))),
        (
            "cancel-observation",
            Client,
            step.cancel_observation.as_ref().map(|v| at(v.pos)),
        ),
        ("write", Client, step.write.as_ref().map(|v| at(v.pos))),
        (
            "read-composite",
            Client,
            step.read_composite.as_ref().map(|v| at(v.pos)),
        ),
        (
            "observe-composite",
            Client,
            step.observe_composite.as_ref().map(|v| at(v.pos)),
        ),
        (
            "write-composite",
            Client,
            step.write_composite.as_ref().map(|v| at(v.pos)),
        ),
        ("burst", Client, step.burst.as_ref().map(|v| at(v.pos))),
        ("abort", Client, step.abort.as_ref().map(|v| at(v.pos))),
        ("reset", Client, step.reset.as_ref().map(|v| at(v.pos))),
        ("execute", Client, step.execute.as_ref().map(|v| at(v.pos))),
        ("attributes", Client, step.attributes.as_ref().map(|v| at(v.pos))),
        ("push", Client, step.push.as_ref().map(|v| at(v.pos))),
        ("pull", Client, step.pull.as_ref().map(|v| at(v.pos))),
        ("server", Client, step.server.as_ref().map(|v| at(v.pos))),
        ("poll", Client, step.poll.as_ref().map(|v| at(v.pos))),
        ("device", Server, step.device.as_ref().map(|v| at(v.pos))),
        ("update", Server, step.update.as_ref().map(|v| at(v.pos))),
        (
            "update-control",
            Server,
            step.update_control.as_ref().map(|v| at(v.pos)),
        ),
        ("server-op", Server, step.server_op.as_ref().map(|v| at(v.pos))),
    ]
    .into_iter()
    .filter_map(|(key, role, pos)| Some((key, role, pos?)))
    .collect()
}

fn expect_keys(expect: &Expect) -> Vec<(&'static str, Role, Pos)> {
    use Role::{Client, Server};
    [
        ("answers", Client, expect.answers.as_ref().map(|v| v.pos)),
        ("registration", Client, expect.registration.as_ref().map(|v| v.pos)),
        ("notification", Client, expect.notification.as_ref().map(|v| v.pos)),
        ("alive", Client, expect.alive.as_ref().map(|v| v.pos)),
        ("device", Server, expect.device.as_ref().map(|v| v.pos)),
        ("ends-well", Server, expect.ends_well.as_ref().map(|v| v.pos)),
        ("status", Server, expect.status.as_ref().map(|v| v.pos)),
        ("not-status", Server, expect.not_status.as_ref().map(|v| v.pos)),
        ("progress", Server, expect.progress.as_ref().map(|v| v.pos)),
        ("tells", Server, expect.tells.as_ref().map(|v| v.pos)),
        ("executes", Server, expect.executes.as_ref().map(|v| v.pos)),
        ("facts", Server, expect.facts.as_ref().map(|v| v.pos)),
    ]
    .into_iter()
    .filter_map(|(key, role, pos)| Some((key, role, pos?)))
    .collect()
}

/// What to write instead of a key of the other role.
fn instead(key: &str) -> &'static str {
    match key {
        "push" | "pull" => "tell the server by `update:`, or by `server-op: {write-blocks: {}}`",
        "read" | "discover" | "observe" | "write" | "execute" | "attributes" | "cancel-observation" | "reset"
        | "read-composite" | "observe-composite" | "write-composite" => {
            "tell the server by `server-op:`, such as `server-op: {read: /5/0/3}`"
        }
        "iut" => "the server is started before the case; steps `iut: stop` and `iut: start` restart it",
        "server" | "answers" => "what a device answers is said by `behaviours:`",
        "poll" | "alive" => "the truth of a device is known without asking",
        "registration" => "ask for `facts: {registered: true}`, or for messages with `path: /rd`",
        "notification" => "ask for messages with `from: device` and `observe: true`",
        "device" | "ends-well" | "executes" | "facts" | "status" | "not-status" | "progress" | "tells" | "update"
        | "update-control" | "server-op" | "devices" | "timings" => "it goes with `role: server`",
        _ => "it belongs to the other role",
    }
}

/// A key that the role of the case gives no meaning.
fn wrong_role(key: &str, case_role: Role, pos: Pos) -> Mistake {
    let role = match case_role {
        Role::Client => "client",
        Role::Server => "server",
    };
    mistake(
        "role",
        pos,
        format!("`{key}` says nothing in a case with `role: {role}`"),
        Some(instead(key)),
    )
}

/// What is wrong with a case as one of its role, beside its steps.
pub(crate) fn case_mistakes(case: &Case) -> Vec<Mistake> {
    let mut all = Vec::new();
    let top = |key: &str, all: &mut Vec<Mistake>| {
        let mut wrong = wrong_role(key, case.role.value, Pos::default());
        wrong.pos = Place::START;
        all.push(wrong);
    };
    match case.role.value {
        Role::Client => {
            if case.device.is_some() {
                top("device", &mut all);
            }
            if !case.devices.is_empty() {
                top("devices", &mut all);
            }
            if case.timings.is_some() {
                top("timings", &mut all);
            }
        }
        Role::Server => {
            if case.server.is_some() {
                top("server", &mut all);
            }
            if case.iut.is_some() {
                top("iut", &mut all);
            }
        }
    }
    if case.device.is_some() && case.devices.contains_key(MAIN) {
        let mut twice = mistake("device", Pos::default(), "the device `main` is there twice", None);
        twice.pos = Place::START;
        twice.help = Some("`device:` is the device `main`".to_owned());
        all.push(twice);
    }
    let named = devices(case);
    for setup in case.device.iter().chain(case.devices.values()) {
        setup_mistakes(setup, &mut all);
        crate::security::mistakes(setup, &named, &mut all);
    }
    all
}

fn size_mistake(size: Option<&At<u16>>, all: &mut Vec<Mistake>) {
    if let Some(size) = size
        && !is_block_size(size.value)
    {
        all.push(mistake(
            "block",
            size.pos,
            format!("there is no block size {}", size.value),
            Some("16, 32, 64, 128, 256, 512 or 1024"),
        ));
    }
}

fn setup_mistakes(setup: &DeviceSetup, all: &mut Vec<Mistake>) {
    size_mistake(setup.block.as_ref(), all);
    size_mistake(setup.pull_block.as_ref(), all);
    if let Some(object) = &setup.object
        && !["1.0", "1.1", "1.2"].contains(&object.value.as_str())
    {
        all.push(mistake(
            "device",
            object.pos,
            format!(
                "there is no version {} of object 5 that a device can have",
                object.value
            ),
            Some("1.0, 1.1 or 1.2"),
        ));
    }
    if let Some(pair) = setup.pair.as_ref().filter(|pair| pair.result.is_none()) {
        all.push(mistake(
            "device",
            pair.pos,
            "a device starts in one pair, such as 2/0",
            None,
        ));
    }
    if let Some(pair) = setup.ends.as_ref().filter(|pair| pair.result.is_none()) {
        all.push(mistake(
            "device",
            pair.pos,
            "an installation ends in one pair, such as 0/8",
            None,
        ));
    }
    if let Some(pair) = setup.download_ends.as_ref().filter(|pair| pair.result.is_none()) {
        all.push(mistake(
            "device",
            pair.pos,
            "a download ends in one pair, such as 0/5",
            None,
        ));
    }
    for behaviour in &setup.behaviours {
        behaviour_mistakes(behaviour, all);
    }
}

fn behaviour_mistakes(behaviour: &At<Behaviour>, all: &mut Vec<Mistake>) {
    size_mistake(behaviour.size.as_ref(), all);
    let needs = match behaviour.action.value {
        BehaviourAction::Code if behaviour.code.is_none() => Some("code"),
        BehaviourAction::SmallerBlock if behaviour.size.is_none() => Some("size"),
        BehaviourAction::Delay | BehaviourAction::Separate | BehaviourAction::LateCopy if behaviour.delay.is_none() => {
            Some("delay")
        }
        BehaviourAction::Sleep | BehaviourAction::Pause if behaviour.lasting.is_none() => Some("for"),
        _ => None,
    };
    if let Some(needs) = needs {
        all.push(mistake(
            "behaviour",
            behaviour.action.pos,
            format!("`{}` needs `{needs}` beside it", behaviour.action.word()),
            None,
        ));
    }
    if let Some(code) = &behaviour.code
        && !matches!(code.value, CodeMatch::Exact(_))
    {
        all.push(mistake(
            "behaviour",
            code.pos,
            "a device answers with one code, such as 4.08",
            None,
        ));
    }
    if let Some(on) = &behaviour.on {
        let given = [
            on.block.is_some(),
            on.from_block.is_some(),
            on.every.is_some(),
            on.last == Some(true),
        ];
        if given.iter().filter(|given| **given).count() > 1 {
            all.push(mistake(
                "behaviour",
                behaviour.pos,
                "`on` has one of `block`, `from-block`, `every` and `last`",
                None,
            ));
        }
        if on.method == Some(Method(0)) {
            all.push(mistake(
                "behaviour",
                behaviour.pos,
                "an Empty message is no request",
                None,
            ));
        }
    }
}

/// The names that a step of a case with a server under test speaks of.
pub(crate) struct Names {
    /// Devices, with where they are named.
    pub(crate) devices: Vec<At<String>>,
    /// Packages.
    pub(crate) packages: Vec<At<String>>,
    /// Repositories.
    pub(crate) repositories: Vec<At<String>>,
}

/// The device that is named, or the one that is meant where none is.
fn named(name: Option<&At<String>>, pos: Pos) -> At<String> {
    name.cloned().unwrap_or_else(|| At {
        value: MAIN.to_owned(),
        pos,
    })
}

/// Devices, packages and repositories that a step names.
pub(crate) fn names(step: &Step) -> Names {
    let mut names = Names {
        devices: Vec::new(),
        packages: Vec::new(),
        repositories: Vec::new(),
    };
    if let Some(device) = &step.device {
        names.devices.push(named(device.name.as_ref(), device.pos));
    }
    if let Some(update) = &step.update {
        names.devices.push(named(update.device.as_ref(), update.pos));
        names.packages.extend(update.package.clone());
        names.repositories.extend(update.repository.clone());
    }
    if let Some(device) = step.update_control.as_ref().and_then(|control| control.device.clone()) {
        names.devices.push(device);
    }
    if let Some(op) = &step.server_op {
        if op.serve.is_none() {
            names.devices.push(named(op.device.as_ref(), op.pos));
        }
        names
            .packages
            .extend(op.write_blocks.iter().filter_map(|write| write.package.clone()));
        names
            .packages
            .extend(op.serve.iter().filter_map(|serve| serve.package.clone()));
    }
    names
}

/// What is wrong with a step as one of its role.
pub(crate) fn step_mistakes(role: Role, step: &At<Step>) -> Vec<Mistake> {
    let mut all = Vec::new();
    for (key, of, pos) in step_keys(step) {
        if of != role {
            all.push(wrong_role(key, role, pos));
        }
    }
    if let Some(device) = &step.device {
        device_mistakes(device, &mut all);
    }
    if let Some(action) = step
        .iut
        .as_ref()
        .filter(|action| role == Role::Server && action.value == IutAction::Fresh)
    {
        all.push(mistake(
            "role",
            action.pos,
            "nobody can wipe what a server keeps",
            Some("`iut: stop` and `iut: start`: it begins with what it keeps itself"),
        ));
    }
    if let Some(control) = step.update_control.as_ref()
        && let (Some(_), Some(device)) = (&control.update, &control.device)
    {
        all.push(mistake(
            "update-control",
            device.pos,
            "an update is named by `update` or by `device`",
            None,
        ));
    }
    if let Some(update) = &step.update {
        let places = [
            update.repository.is_some(),
            update.uris.is_some(),
            update.hosted == Some(true),
        ];
        if places.iter().filter(|given| **given).count() > 1 {
            all.push(mistake(
                "update",
                update.pos,
                "an update has one of `repository`, `uris` and `hosted`",
                Some("they say where the package is for a pull"),
            ));
        }
    }
    if let Some(op) = &step.server_op {
        match operations(op).len() {
            1 => {}
            0 => all.push(mistake(
                "server-op",
                op.pos,
                "the server is told to do nothing",
                Some("one of read, write, write-blocks, execute, observe, cancel, discover, write-attributes, serve"),
            )),
            _ => all.push(mistake(
                "server-op",
                op.pos,
                "the server is told to do one thing at a time",
                Some("make a step of each"),
            )),
        }
        if op.argument.is_some() && op.execute.is_none() {
            all.push(mistake("server-op", op.pos, "`argument` goes with `execute`", None));
        }
        size_mistake(
            op.write_blocks.as_ref().and_then(|write| write.block.as_ref()),
            &mut all,
        );
    }
    all
}

fn device_mistakes(device: &At<DeviceStep>, all: &mut Vec<Mistake>) {
    let needs = match device.action.value {
        DeviceAction::Set if device.path.is_none() => Some("path"),
        DeviceAction::Set if device.value.value.is_none() => Some("value"),
        DeviceAction::Pair if device.pair.is_none() => Some("pair"),
        DeviceAction::Resend if device.of.is_none() => Some("of"),
        DeviceAction::Send if device.path.is_none() => Some("path"),
        DeviceAction::Behave if device.behaviours.is_none() => Some("behaviours"),
        _ => None,
    };
    if let Some(needs) = needs {
        all.push(mistake(
            "device",
            device.action.pos,
            format!("`{}` needs `{needs}` beside it", device.action.word()),
            None,
        ));
    }
    if let Some(pair) = device.pair.as_ref().filter(|pair| pair.result.is_none()) {
        all.push(mistake(
            "device",
            pair.pos,
            "a device shows one pair, such as 2/0",
            None,
        ));
    }
    for behaviour in device.behaviours.iter().flatten() {
        behaviour_mistakes(behaviour, all);
    }
}

/// What is wrong with an expectation as one of its role.
pub(crate) fn expect_mistakes(role: Role, expect: &At<Expect>) -> Vec<Mistake> {
    expect_keys(expect)
        .into_iter()
        .filter(|(_, of, _)| *of != role)
        .map(|(key, _, pos)| wrong_role(key, role, pos))
        .collect()
}
