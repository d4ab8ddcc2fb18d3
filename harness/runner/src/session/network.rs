//! From the network of a case file to a link.

use core::time::Duration;

use fotaproof_cases::ast::{
    BlockSelect, CodeMatch, Direction, Impairments, MessageType, Network, Oversize, Role, Rule, Select, Window,
};
use fotaproof_net as net;

use super::Trouble;

/// Why a network of a case cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No such profile.
    #[error("there is no network profile `{0}`")]
    UnknownProfile(String),
    /// A rule without an action, or with several.
    #[error("rule {0} must have exactly one of pass, drop, delay, duplicate, corrupt, truncate, swap")]
    RuleAction(usize),
    /// A rule lacks what its action needs.
    #[error("rule {rule} needs `{key}`")]
    RuleNeeds {
        /// Which rule, from 1.
        rule: usize,
        /// What is missing.
        key: &'static str,
    },
    /// The link refuses the whole.
    #[error("{0}")]
    Spec(String),
}

/// Applies the network of a file over a base.
pub fn link_spec(network: &Network, base: &net::LinkSpec) -> Result<net::LinkSpec, NetworkError> {
    link_spec_for(network, base, Role::Client)
}

/// A link for an IUT of a role: where the IUT is the server, what a profile or a network file says of the way toward the IUT holds for the
/// way toward the devices.
#[must_use]
pub fn for_role(spec: &net::LinkSpec, role: Role) -> net::LinkSpec {
    let mut spec = spec.clone();
    if role == Role::Server {
        core::mem::swap(&mut spec.toward_iut, &mut spec.toward_server);
        core::mem::swap(&mut spec.mtu_toward_iut, &mut spec.mtu_toward_server);
        spec.nat = None;
        for rule in &mut spec.rules {
            rule.select.toward = rule.select.toward.map(|toward| match toward {
                net::Toward::Iut => net::Toward::Peer,
                net::Toward::Peer => net::Toward::Iut,
            });
        }
    }
    spec
}

/// Applies the network of a case over a base, which is that of [`for_role`] already.
///
/// # Errors
/// When there is no such profile, or the link makes no sense.
pub fn link_spec_for(network: &Network, base: &net::LinkSpec, role: Role) -> Result<net::LinkSpec, NetworkError> {
    let mut spec = match &network.profile {
        Some(name) => {
            let profile = net::profile(name).ok_or_else(|| NetworkError::UnknownProfile(name.clone()))?;
            for_role(&profile.spec, role)
        }
        None => base.clone(),
    };
    if let Some(mtu) = network.mtu {
        spec.mtu = mtu;
        spec.mtu_toward_iut = None;
        spec.mtu_toward_server = None;
    }
    if let Some(oversize) = network.oversize {
        spec.oversize = oversize_of(oversize);
    }
    if let Some(limit) = network.pdu_limit {
        spec.pdu_limit = Some(limit);
    }
    if let Some(both) = &network.both {
        impair(&mut spec.toward_iut, both);
        impair(&mut spec.toward_server, both);
    }
    if let Some(one) = &network.toward_iut {
        impair(&mut spec.toward_iut, one);
    }
    if let Some(one) = &network.toward_server {
        match role {
            Role::Client => impair(&mut spec.toward_server, one),
            Role::Server => impair(&mut spec.toward_iut, one),
        }
    }
    if let Some(one) = &network.toward_device {
        match role {
            Role::Client => impair(&mut spec.toward_iut, one),
            Role::Server => impair(&mut spec.toward_server, one),
        }
    }
    for Window { from, to } in network.blackouts.iter().flatten() {
        spec.blackouts.push(net::Blackout::both(from.0, to.0));
    }
    if let Some(nat) = &network.nat {
        spec.nat = Some(net::Nat {
            idle: nat.idle.map(|span| span.0),
            ..net::Nat::default()
        });
    }
    spec.rules = rules(network.rules.as_deref().unwrap_or_default(), Duration::ZERO, role)?;
    spec.check().map_err(|error| NetworkError::Spec(error.to_string()))?;
    Ok(spec)
}

/// What the link does with large packets.
pub(crate) const fn oversize_of(oversize: Oversize) -> net::Oversize {
    match oversize {
        Oversize::Fragment => net::Oversize::Fragment,
        Oversize::Drop => net::Oversize::Drop,
        Oversize::Filter => net::Oversize::Filter,
        Oversize::Refuse => net::Oversize::Refuse,
    }
}

/// Time after which an unanswered Confirmable message is sent again at the earliest (RFC 7252
/// section 4.8).
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// What the network of a run does to cases that did not ask for it.
#[must_use]
pub fn trouble(spec: &net::LinkSpec) -> Trouble {
    let both = [&spec.toward_iut, &spec.toward_server];
    let round_trip: Duration = both.iter().map(|direction| direction.delay + direction.jitter).sum();
    if round_trip >= ACK_TIMEOUT {
        return Trouble::Slow;
    }
    let chance = both.iter().any(|direction| {
        direction.loss != net::Loss::None
            || direction.reorder.is_some()
            || direction.duplicate > 0.0
            || direction.bit_error > 0.0
            || direction.rate_bps.is_some()
    });
    if chance || !spec.blackouts.is_empty() {
        Trouble::Chance
    } else {
        Trouble::None
    }
}

/// Changes one direction by what is given.
pub(crate) fn impair(direction: &mut net::DirectionSpec, by: &Impairments) {
    if let Some(loss) = by.loss {
        direction.loss = if loss.0 > 0.0 {
            net::Loss::Bernoulli(loss.0)
        } else {
            net::Loss::None
        };
    }
    if let Some(burst) = by.burst_loss {
        direction.loss = net::Loss::GilbertElliott {
            to_bad: burst.to_bad.0,
            to_good: burst.to_good.0,
            loss_bad: burst.loss_in_bad.0,
            loss_good: burst.loss_in_good.map_or(0.0, |p| p.0),
        };
    }
    if let Some(delay) = by.delay {
        direction.delay = delay.0;
    }
    if let Some(jitter) = by.jitter {
        direction.jitter = jitter.0;
    }
    if let Some(reorder) = by.reorder {
        direction.reorder = Some(net::Reorder {
            probability: reorder.0,
            delay: by.reorder_by.map_or(Duration::from_millis(300), |span| span.0),
        });
    }
    if let Some(duplicate) = by.duplicate {
        direction.duplicate = duplicate.0;
    }
    if let Some(error) = by.bit_error {
        direction.bit_error = error.0;
    }
    if let Some(rate) = by.rate {
        direction.rate_bps = Some(rate);
    }
    if let Some(queue) = by.queue {
        direction.queue_bytes = Some(queue.0);
    }
}

/// The rules of a file; their time windows count from `start`.
pub(crate) fn rules(rules: &[Rule], start: Duration, role: Role) -> Result<Vec<net::Rule>, NetworkError> {
    rules
        .iter()
        .enumerate()
        .map(|(i, rule)| one_rule(i + 1, rule, start, role))
        .collect()
}

fn one_rule(number: usize, rule: &Rule, start: Duration, role: Role) -> Result<net::Rule, NetworkError> {
    let needs = |key| NetworkError::RuleNeeds { rule: number, key };
    let actions = [
        ("pass", &rule.pass),
        ("drop", &rule.drop),
        ("delay", &rule.delay),
        ("duplicate", &rule.duplicate),
        ("corrupt", &rule.corrupt),
        ("truncate", &rule.truncate),
        ("swap", &rule.swap),
    ];
    let mut given = actions
        .iter()
        .filter_map(|(name, select)| select.as_ref().map(|s| (*name, s)));
    let (Some((name, select)), None) = (given.next(), given.next()) else {
        return Err(NetworkError::RuleAction(number));
    };
    let action = match name {
        "pass" => net::Action::Pass,
        "drop" => net::Action::Drop,
        "delay" => net::Action::Delay(rule.by.ok_or_else(|| needs("by"))?.0),
        "duplicate" => net::Action::Duplicate {
            n: u32::from(rule.copies.unwrap_or(1)),
            gap: rule.gap.map_or(Duration::from_millis(5), |gap| gap.0),
        },
        "corrupt" => net::Action::Corrupt {
            damage: net::Damage::Bits(u32::from(rule.bits.unwrap_or(1))),
            fix_checksum: true,
        },
        "truncate" => net::Action::Truncate(rule.length.ok_or_else(|| needs("length"))?),
        _ => net::Action::Swap,
    };
    let title = rule.name.clone().unwrap_or_else(|| format!("{name} #{number}"));
    let mut made = net::Rule::new(title, select_of(select, start, role), action);
    made.times = select.times;
    made.probability = select.probability.map(|p| p.0);
    Ok(made)
}

fn select_of(select: &Select, start: Duration, role: Role) -> net::Select {
    let coap = select.coap.clone().unwrap_or_default();
    net::Select {
        toward: select.toward.map(|toward| match toward {
            Direction::Iut => net::Toward::Iut,
            Direction::Server => match role {
                Role::Client => net::Toward::Peer,
                Role::Server => net::Toward::Iut,
            },
            Direction::Device => match role {
                Role::Client => net::Toward::Iut,
                Role::Server => net::Toward::Peer,
            },
        }),
        nth: select.nth.map(u64::from),
        every: select.every.map(u64::from),
        min_size: select.min_size,
        max_size: select.max_size,
        fragment: select.fragment.map(net::FragmentSel::Index),
        kind: coap.kind.map(|MessageType(kind)| match kind {
            0 => net::Kind::Con,
            1 => net::Kind::Non,
            2 => net::Kind::Ack,
            _ => net::Kind::Rst,
        }),
        code: match (coap.method, coap.code) {
            (Some(method), _) => Some(net::CodeSel::Is(method.0)),
            (None, Some(CodeMatch::Exact(code))) => Some(net::CodeSel::Is(code)),
            (None, Some(CodeMatch::Class(class))) => Some(net::CodeSel::Class(class)),
            (None, Some(CodeMatch::Any)) => Some(net::CodeSel::Response),
            (None, _) => None,
        },
        path: coap
            .path
            .as_ref()
            .and_then(|paths| paths.first())
            .map(|path| path.0.clone()),
        observe: coap.observe,
        block1: coap.block1.map(block_of),
        block2: coap.block2.map(block_of),
        between: select
            .between
            .map(|window| (start + window.from.0, start + window.to.0)),
        ..net::Select::default()
    }
}

const fn block_of(block: BlockSelect) -> net::BlockSel {
    match block {
        BlockSelect { num: Some(num), .. } => net::BlockSel::Num(num),
        BlockSelect { first: Some(true), .. } => net::BlockSel::First,
        BlockSelect { last: Some(true), .. } => net::BlockSel::Last,
        BlockSelect { every: Some(every), .. } => net::BlockSel::Every(every),
        BlockSelect {
            from: Some(from),
            to: Some(to),
            ..
        } => net::BlockSel::Range(from, to),
        BlockSelect { from: Some(from), .. } => net::BlockSel::Range(from, u32::MAX),
        BlockSelect { to: Some(to), .. } => net::BlockSel::Range(0, to),
        _ => net::BlockSel::Any,
    }
}
