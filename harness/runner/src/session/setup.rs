//! From a configuration to a session that has not begun.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use fotaproof_cases::ast::{
    At, Case, CodeMatch, Expect, Fault, FaultAction, Repository as RepositoryAst, RepositoryPlace, Role,
    ServerBehaviour, Step,
};
use fotaproof_checks::{CheckConfig, Checks};
use fotaproof_coap as coap;
use fotaproof_lwm2m::registration::Registration;
use fotaproof_lwm2m::repository::{
    Act, EmptyAck, Fault as RepositoryFault, File, FileServer, On, Repository, RepositoryConfig,
};
use fotaproof_lwm2m::server::{Answer, Interface, Policy, Server, ServerConfig};
use fotaproof_net as net;
use fotaproof_wire::coap::{Code, Szx};

use super::config::{PackageImage, SessionConfig};
use super::world::World;
use super::{Facts, Script, Session};

/// Name of the package that a case's `firmware` makes.
pub(crate) const FIRMWARE: &str = "firmware";

pub(super) fn session(config: SessionConfig) -> Session {
    let case = config.case.clone();
    let link = match &config.replay {
        Some(fates) => net::Link::replay(config.link.clone(), fates.as_ref().clone()),
        None => net::Link::new(config.link.clone(), config.seed ^ 0x6c69_6e6b),
    };
    let mut server_config = ServerConfig {
        seed: config.seed ^ 0x7365_7276,
        ..ServerConfig::default()
    };
    if let Some(location) = case.server.as_ref().and_then(|server| server.location.clone()) {
        server_config.location = Some(location);
    }
    let mut server = Server::new(server_config);
    if let Some(behaviour) = &case.server {
        apply_behaviour(&mut server, behaviour);
    }
    let mut world = World::new(config.addresses.clone(), server, link, config.packets);
    world.recorder = config.record_fates.then(net::FateRecorder::new);
    for (i, address) in [config.addresses.other_port, config.addresses.stranger]
        .into_iter()
        .enumerate()
    {
        let other = ServerConfig {
            seed: config.seed ^ 0x6f74_6865 ^ ((i as u64 + 1) << 40),
            ..ServerConfig::default()
        };
        world.bystanders.others.insert(address, Server::new(other));
    }
    for (i, (name, repository)) in repositories(&case).into_iter().enumerate() {
        let made = repository_config(&name, &repository, &config, i as u64);
        match repository.at {
            RepositoryPlace::Server => world.server.serve_files(FileServer::new(made)),
            RepositoryPlace::Separate => {
                world.bystanders.repositories.insert(name, Repository::new(made));
            }
        }
    }
    let mut facts = Facts::default();
    facts.log.wanted = asks_for_messages(&case);
    let checks = Checks::new(CheckConfig {
        role: match case.role.value {
            Role::Client => fotaproof_checks::Role::Client,
            Role::Server => fotaproof_checks::Role::Server,
        },
        object_version: config.object,
        lwm2m_version: config.lwm2m,
        mtu: Some(config.link.mtu),
        disabled: case
            .checks
            .iter()
            .flat_map(|checks| &checks.skip)
            .map(|skip| skip.check.value.clone())
            .chain(not_the_servers_choice(&config))
            .collect(),
        timing: fotaproof_checks::Timing {
            tolerance: Duration::from_millis(100).max(config.tolerance),
            grace: Duration::from_secs(1).max(config.tolerance),
            ..fotaproof_checks::Timing::default()
        },
        ..CheckConfig::default()
    });
    Session {
        config,
        now: Duration::ZERO,
        world,
        checks,
        facts,
        script: Script::default(),
        tester: super::tester::Tester::default(),
        spoilt: super::spoilt::Spoilt::default(),
        out: VecDeque::new(),
        event_no: 0,
        outcome: None,
        ended: false,
    }
}

/// The repositories of a case; a pull without any uses `main` as it is by default.
pub(crate) fn repositories(case: &Case) -> BTreeMap<String, RepositoryAst> {
    let mut all = case.repositories.clone();
    if all.is_empty() {
        all.insert("main".to_owned(), RepositoryAst::default());
    }
    all
}

/// Path and query of a repository's file, as in a URI.
pub(crate) fn file_of(repository: &RepositoryAst) -> (String, Option<String>) {
    (
        repository.path.clone().unwrap_or_else(|| "/fw/v2.bin".to_owned()),
        repository.query.clone(),
    )
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        if bytes[i] == b'%'
            && let (Some(a), Some(b)) = (
                bytes.get(i + 1).copied().and_then(digit),
                bytes.get(i + 2).copied().and_then(digit),
            )
        {
            out.push(a << 4 | b);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The path of a URI as a repository knows its files: decoded segment by segment, and what would be
/// taken for a slash between segments, or for an escape, kept apart.
pub(crate) fn file_key(path: &str) -> String {
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| percent_decoded(segment).replace('%', "%25").replace('/', "%2F"))
        .collect();
    segments.join("/")
}

fn repository_config(name: &str, repository: &RepositoryAst, config: &SessionConfig, number: u64) -> RepositoryConfig {
    let mut files = BTreeMap::new();
    let image = package_named(config, repository.package.as_ref());
    if let Some(image) = image {
        let path = repository.path.as_deref().unwrap_or("/fw/v2.bin");
        files.insert(
            file_key(path),
            File {
                etag: repository.etag.as_ref().map(|etag| etag.0.clone()),
                ..File::new(image.bytes.clone())
            },
        );
    }
    RepositoryConfig {
        coap: coap::Config::default(),
        seed: config.seed ^ 0x7265_706f ^ ((number + 1) << 40) ^ name.len() as u64,
        files,
        szx: repository
            .block
            .and_then(|block| Szx::from_size(usize::from(block)))
            .unwrap_or(Szx::S512),
        size2: repository.size2.unwrap_or(false),
        faults: repository
            .faults
            .iter()
            .filter_map(|fault| fault_of(fault, config))
            .collect(),
    }
}

fn package_named<'a>(config: &'a SessionConfig, name: Option<&At<String>>) -> Option<&'a PackageImage> {
    config.packages.get(name.map_or(FIRMWARE, |name| name.value.as_str()))
}

/// A fault of a case file as the repository takes it.
pub(super) fn fault_of(fault: &Fault, config: &SessionConfig) -> Option<RepositoryFault> {
    let on = match (fault.block, fault.from_block, fault.every) {
        (Some(block), _, _) => On::Block(block),
        (_, Some(from), _) => On::From(from),
        (_, _, Some(every)) => On::Multiple(every),
        _ => On::Every,
    };
    let delay = fault.delay.map_or(Duration::from_secs(1), |span| span.0);
    let act = match fault.action.value {
        FaultAction::Silence => Act::Silence,
        FaultAction::Hold => Act::Hold,
        FaultAction::Code => Act::Code {
            code: match fault.code {
                Some(CodeMatch::Exact(code)) => Code(code),
                _ => Code::NOT_FOUND,
            },
            max_age: fault.max_age,
        },
        FaultAction::WrongBlock => Act::WrongBlock(fault.number?),
        FaultAction::SmallerBlock => Act::SmallerSzx(Szx::from_size(usize::from(fault.size?))?),
        FaultAction::ChangeFile => Act::ChangeFile(File {
            etag: fault.etag.as_ref().map(|etag| etag.0.clone()),
            ..File::new(package_named(config, fault.package.as_ref())?.bytes.clone())
        }),
        FaultAction::Separate => Act::Separate {
            delay,
            ack: EmptyAck::First,
        },
        FaultAction::SeparateWithoutAck => Act::Separate {
            delay: fault.delay.map_or(Duration::ZERO, |span| span.0),
            ack: EmptyAck::Never,
        },
        FaultAction::AlwaysFirst => Act::IgnoreBlock2,
        FaultAction::NoBlock2 => Act::NoBlock2,
        FaultAction::Whole => Act::Whole,
        FaultAction::Twice => Act::Duplicate,
        FaultAction::Valid => Act::Code {
            code: Code::VALID,
            max_age: None,
        },
    };
    let mut made = RepositoryFault::new(on, act);
    made.times = fault.times;
    Some(made)
}

/// Sets how the server answers on its interfaces.
pub(super) fn apply_behaviour(server: &mut Server, behaviour: &ServerBehaviour) {
    let interfaces = [
        (Interface::Register, &behaviour.register),
        (Interface::Update, &behaviour.update),
        (Interface::Deregister, &behaviour.deregister),
        (Interface::Send, &behaviour.send),
    ];
    for (interface, answer) in interfaces {
        if behaviour.reset == Some(true) {
            server.set_policy(
                interface,
                Policy {
                    answer: Answer::Normal,
                    times: None,
                },
            );
        }
        let Some(answer) = answer else { continue };
        server.set_policy(
            interface,
            Policy {
                answer: match answer.code.value {
                    CodeMatch::None => Answer::Silent,
                    CodeMatch::Exact(code) => Answer::Code(Code(code)),
                    _ => Answer::Normal,
                },
                times: answer.times,
            },
        );
    }
}

/// Checks on what a server decides, where the harness decides it: a step tells it to execute, or it has no engine of its own.
fn not_the_servers_choice(config: &SessionConfig) -> Option<String> {
    let told = |step: &Step| step.server_op.as_ref().is_some_and(|op| op.execute.is_some());
    let executes = config.case.all_steps().any(|(_, step)| told(&step.value));
    let server = config.case.role.value == Role::Server;
    (server && (executes || !config.claims.has("srv:campaign"))).then(|| "execute-when-downloaded".to_owned())
}

/// Whether any step asks about messages, so that they are kept.
fn asks_for_messages(case: &Case) -> bool {
    const LARGEST: &str = "largest-packet";
    fn expect(e: &Expect) -> bool {
        e.messages.is_some()
            || e.silence.is_some()
            || e.compare.is_some()
            || e.record.iter().flat_map(|all| all.iter()).any(|name| name == LARGEST)
            || e.figures.iter().any(|all| all.value.contains_key(LARGEST))
            || [&e.should, &e.advice, &e.requires]
                .into_iter()
                .flatten()
                .any(|nested| expect(&nested.value))
            || e.any_of
                .iter()
                .flat_map(|all| &all.value)
                .any(|one| expect(&one.value.expect.value))
            || e.all_of.iter().flatten().any(|one| expect(&one.value))
    }
    case.all_steps().any(|(_, step)| {
        step.await_message.is_some()
            || step.replay.is_some()
            || step.remember.is_some()
            || step.expect.as_ref().is_some_and(|e| expect(&e.value))
    })
}

/// Whether any step asks for the version that was running before.
pub(super) fn asks_for_old_version(case: &Case) -> bool {
    use fotaproof_cases::ast::FirmwareVersion;
    fn expect(e: &Expect) -> bool {
        matches!(
            e.firmware_version.as_ref().map(|v| &v.value),
            Some(FirmwareVersion::Old)
        ) || [&e.should, &e.advice, &e.requires]
            .into_iter()
            .flatten()
            .any(|nested| expect(&nested.value))
            || e.any_of
                .iter()
                .flat_map(|all| &all.value)
                .any(|one| expect(&one.value.expect.value))
            || e.all_of.iter().flatten().any(|one| expect(&one.value))
    }
    case.all_steps()
        .any(|(_, step)| step.expect.as_ref().is_some_and(|e| expect(&e.value)))
}

/// A registration as the journal tells it.
pub(super) fn trace_registration(registration: &Registration, new: bool) -> fotaproof_trace::Registration {
    fotaproof_trace::Registration {
        endpoint: registration.endpoint.clone(),
        location: registration.location_path(),
        from: registration.address,
        version: registration.lwm2m.to_string(),
        lifetime: registration.lifetime,
        objects: registration
            .objects
            .iter()
            .map(|link| fotaproof_wire::link_format::encode(core::slice::from_ref(link)))
            .collect(),
        new,
    }
}
