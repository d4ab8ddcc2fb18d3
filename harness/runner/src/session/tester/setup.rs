//! From the devices of a case file to devices.

use core::time::Duration;
use std::net::SocketAddr;

use fotaproof_cases::ast::{
    Behaviour as BehaviourAst, BehaviourAction, CodeMatch, Delivery, DeviceSetup, MessageType, OnRequest as OnAst,
    Pair, Span,
};
use fotaproof_lwm2m::definitions::Version;
use fotaproof_lwm2m::device::{Act, Behaviour, DeviceConfig, NumSelect, OnRequest};
use fotaproof_wire::coap::{Code, Szx};
use fotaproof_wire::value::Value;

use super::super::config::SessionConfig;
use super::super::stimuli::Unable;

/// How long a device listens after its last message in queue mode: MAX_TRANSMIT_WAIT (RFC 7252 section 4.8.2).
const AWAKE: Duration = Duration::from_secs(93);

fn szx(size: u16) -> Result<Szx, Unable> {
    Szx::from_size(usize::from(size)).ok_or_else(|| format!("there is no block size {size}"))
}

const fn pair(pair: Pair) -> Option<(u8, u8)> {
    match pair.result {
        Some(result) => Some((pair.state, result)),
        None => None,
    }
}

fn span(span: Option<Span>, otherwise: Duration) -> Duration {
    span.map_or(otherwise, |span| span.0)
}

/// The settings of a device of a case.
pub(super) fn device_config(
    name: &str,
    setup: &DeviceSetup,
    session: &SessionConfig,
    server: SocketAddr,
    number: u64,
) -> Result<DeviceConfig, Unable> {
    let endpoint = super::credentials::endpoint(session, name, setup);
    let mut config = DeviceConfig::tester(endpoint, server);
    config.seed = session.seed ^ 0x6465_7669 ^ ((number + 1) << 40);
    crate::packages::MODEL.clone_into(&mut config.model);
    if let Some(text) = &setup.lwm2m {
        match text.value.parse::<Version>() {
            Ok(version) => config.lwm2m = version,
            Err(_) => config.lwm2m_text = Some(text.value.clone()),
        }
    }
    if let Some(text) = &setup.object {
        config.object5 = text
            .value
            .parse()
            .map_err(|_| format!("there is no version {} of object 5", text.value))?;
    }
    if let Some(binding) = &setup.binding {
        // Q is a query parameter of its own from LwM2M 1.1 on, and a letter of the binding before
        let queue = binding.contains('Q');
        if config.lwm2m == Version::V1_0 {
            config.binding = if binding == "Q" {
                "UQ".to_owned()
            } else {
                binding.clone()
            };
        } else {
            config.binding = binding.replace('Q', "");
            if config.binding.is_empty() {
                "U".clone_into(&mut config.binding);
            }
            config.queue = queue;
        }
        if queue {
            config.wake_for = Some(span(setup.awake, AWAKE));
        }
    }
    config.lifetime = match setup.lifetime {
        Some(lifetime) => u32::try_from(lifetime.0.as_secs()).unwrap_or(u32::MAX),
        None => session
            .parameters
            .get("lifetime")
            .and_then(|text| text.parse().ok())
            .unwrap_or(86_400),
    };
    config.delivery = match setup.delivery.unwrap_or_default() {
        Delivery::Pull => 0,
        Delivery::Push => 1,
        Delivery::Both => 2,
    };
    if let Some(protocols) = &setup.protocols {
        config.protocols.clone_from(&protocols.0);
    }
    for path in setup.lacks.iter().flat_map(|paths| paths.iter()) {
        let path = path
            .0
            .parse()
            .map_err(|error| format!("`{path}` is no LwM2M path: {error}"))?;
        config.absent.push(path);
    }
    config.initial_pair = setup.pair.as_ref().and_then(|at| pair(at.value));
    if config.initial_pair.is_some_and(|(state, _)| state == 2) {
        let left = session.packages.get("leftover").map(|image| image.bytes.to_vec());
        config.leftover = Some(left.unwrap_or_else(|| {
            let mut rng = fastrand::Rng::with_seed(session.seed ^ 0x6c65_6674);
            (0..600).map(|_| rng.u8(..)).collect()
        }));
    }
    if let Some(version) = &setup.version {
        config.version.clone_from(version);
    }
    config.object_list.clone_from(&setup.links);
    if let Some(block) = &setup.block {
        config.largest_block = szx(block.value)?;
    }
    if let Some(block) = &setup.pull_block {
        config.pull_block = szx(block.value)?;
    }
    config.early_block = setup.early_block.unwrap_or(true);
    config.etag_check = setup.etag_check.unwrap_or(true);
    config.resume = setup.resume.unwrap_or(true);
    config.power_cut_at = setup.power_cut.as_ref().map(|cut| (cut.at.0, cut.lasting.0));
    for (path, text) in &setup.values {
        let path = path
            .parse()
            .map_err(|error| format!("`{path}` is no LwM2M path: {error}"))?;
        let value = text
            .parse()
            .map_or_else(|_| Value::String(text.clone()), Value::Integer);
        config.values.insert(path, value);
    }
    config.confirmable_notifications = setup
        .notifications
        .as_ref()
        .is_some_and(|at| at.value == MessageType(0));
    config.boot_time = span(setup.boot, config.boot_time);
    config.install_time = span(setup.install, config.install_time);
    if let Some(states) = &setup.skip_states {
        config.skip_states = states.iter().map(|state| state.0).collect();
    }
    config.downloaded_after = span(setup.downloaded_after, Duration::ZERO);
    config.install_ends = setup.ends.as_ref().and_then(|at| pair(at.value));
    config.download_ends = setup.download_ends.as_ref().and_then(|at| pair(at.value));
    config.defer_for = setup.defer_for.map(|span| span.0);
    config.install_in_place = setup.in_place.unwrap_or(false);
    config.version_after.clone_from(&setup.version_after);
    config.flash_delay = span(setup.flash_delay, Duration::ZERO);
    config.keep_alive = setup.keep_alive.unwrap_or(true);
    config.send_changes = setup.send_changes.unwrap_or(false);
    if let Some(size) = setup.flash {
        config.flash_size = size.0;
    }
    if !setup.radio.is_empty() {
        config.radio = setup.radio.iter().map(|sample| (sample.at.0, sample.rssi)).collect();
        let qualities: Vec<_> = setup
            .radio
            .iter()
            .filter_map(|sample| Some((sample.at.0, sample.quality?)))
            .collect();
        if !qualities.is_empty() {
            config.link_quality = qualities;
        }
    }
    config.behaviours = behaviours(setup.behaviours.iter().map(|at| &at.value))?;
    // names resolve to the harness's repositories
    for (name, address) in &session.addresses.repositories {
        config.hosts.insert(format!("{name}.example"), *address);
    }
    Ok(config)
}

/// Behaviours of a case file as a device takes them.
pub(super) fn behaviours<'a>(all: impl Iterator<Item = &'a BehaviourAst>) -> Result<Vec<Behaviour>, Unable> {
    all.map(behaviour).collect()
}

fn behaviour(ast: &BehaviourAst) -> Result<Behaviour, Unable> {
    let delay = span(ast.delay, Duration::from_secs(1));
    let lasting = span(ast.lasting, Duration::from_secs(60));
    let size = match &ast.size {
        Some(size) => Some(szx(size.value)?),
        None => None,
    };
    let act = match ast.action.value {
        BehaviourAction::Silence => Act::Silence,
        BehaviourAction::AnswerLost => Act::AnswerLost,
        BehaviourAction::Code => Act::Code {
            code: match ast.code.as_ref().map(|code| code.value) {
                Some(CodeMatch::Exact(code)) => Code(code),
                _ => return Err("`code` needs one response code".to_owned()),
            },
            max_age: ast.max_age,
            block1: size,
            size1: ast.size1,
        },
        BehaviourAction::SmallerBlock => {
            Act::SmallerBlock(size.ok_or_else(|| "`smaller-block` needs `size`".to_owned())?)
        }
        BehaviourAction::Separate => Act::Separate { delay, ack: true },
        BehaviourAction::SeparateWithoutAck => Act::Separate {
            delay: span(ast.delay, Duration::ZERO),
            ack: false,
        },
        BehaviourAction::Twice => Act::Twice,
        BehaviourAction::LateCopy => Act::LateCopy { delay },
        BehaviourAction::Delay => Act::Delay(delay),
        BehaviourAction::Reset => Act::Reset,
        BehaviourAction::PowerCut => Act::PowerCut { off_for: lasting },
        BehaviourAction::Rebind => Act::Rebind {
            announce_after: span(ast.lasting, Duration::from_secs(5)),
        },
        BehaviourAction::Sleep => Act::Sleep { for_: lasting },
        BehaviourAction::Pause => Act::Pause(lasting),
    };
    Ok(Behaviour {
        on: on_request(ast.on.as_ref())?,
        act,
        times: ast.times,
    })
}

fn on_request(ast: Option<&OnAst>) -> Result<OnRequest, Unable> {
    let Some(ast) = ast else {
        return Ok(OnRequest::default());
    };
    let path = match &ast.path {
        Some(path) => Some(
            path.0
                .parse()
                .map_err(|error| format!("`{path}` is no LwM2M path: {error}"))?,
        ),
        None => None,
    };
    let block1 = match (ast.block, ast.from_block, ast.every, ast.last) {
        (Some(number), ..) => Some(NumSelect::Is(number)),
        (_, Some(number), ..) => Some(NumSelect::From(number)),
        (_, _, Some(step), _) => Some(NumSelect::Every(step)),
        (_, _, _, Some(true)) => Some(NumSelect::Last),
        _ => None,
    };
    Ok(OnRequest {
        method: ast.method.map(|method| Code(method.0)),
        path,
        block1,
        larger_than: match ast.larger_than {
            Some(size) => Some(szx(size)?),
            None => None,
        },
        from_byte: ast.from_byte.map(|size| size.0),
        skip: ast.skip.unwrap_or(0),
    })
}
