//! A case file with the network that was found.

use core::fmt::Write as _;
use core::time::Duration;

use fotaproof_cases::LoadedCase;
use fotaproof_cases::ast::{CodeMatch, Method};
use fotaproof_cases::problem::Place;
use fotaproof_net as net;

/// Why a case file cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The case is made of several files.
    #[error("the case includes other files, and a file that stands alone is not made of those")]
    Includes,
    /// The link is more than a case file can say.
    #[error("a case file cannot say what this link does: {0}")]
    Link(&'static str),
}

/// The case with this link, and `comment` at its head.
///
/// # Errors
/// When no case file can say it.
pub fn case_file(case: &LoadedCase, link: &net::LinkSpec, comment: &str) -> Result<String, FileError> {
    let text = case.sources.text(Place::at(0, "", 0, 0));
    if text
        .lines()
        .any(|line| line.trim_start().trim_start_matches("- ").starts_with("include:"))
    {
        return Err(FileError::Includes);
    }
    let mut network = network_text(link)?;
    if case.case.network.as_ref().and_then(|network| network.ipv6) == Some(true) {
        network.push_str("  ipv6: true\n");
    }
    let mut variant = String::new();
    if !case.values.is_empty() {
        let values: Vec<String> = case
            .values
            .iter()
            .map(|(name, value)| format!("{name}: [{}]", scalar(value)))
            .collect();
        let _ = writeln!(variant, "for: {{{}}}", values.join(", "));
    }
    let mut out = String::new();
    for line in comment.lines() {
        let _ = writeln!(out, "# {line}");
    }
    let (mut skipping, mut inserted) = (false, false);
    for line in text.lines() {
        let key = line
            .split_once(':')
            .map(|(key, _)| key)
            .filter(|_| line.starts_with(|c: char| c.is_ascii_alphabetic()));
        match key {
            Some("network" | "for") => {
                skipping = true;
                continue;
            }
            Some(key) => {
                skipping = false;
                if !inserted && matches!(key, "given" | "steps" | "firmware") {
                    inserted = true;
                    out.push_str(&network);
                    out.push_str(&variant);
                }
            }
            // the place of a schema is that of the old file
            None if line.starts_with("# yaml-language-server:") => continue,
            None => {}
        }
        if !skipping {
            out.push_str(line);
            out.push('\n');
        }
    }
    if !inserted {
        out.push_str(&network);
        out.push_str(&variant);
    }
    Ok(out)
}

fn scalar(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c)) && !text.is_empty();
    // what is a number or a word in YAML stays one
    if plain { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn span(time: Duration) -> String {
    let nanos = time.as_nanos();
    if nanos.is_multiple_of(1_000_000_000) {
        format!("{}s", nanos / 1_000_000_000)
    } else if nanos.is_multiple_of(1_000_000) {
        format!("{}ms", nanos / 1_000_000)
    } else {
        format!("{}us", nanos.div_ceil(1000))
    }
}

fn network_text(link: &net::LinkSpec) -> Result<String, FileError> {
    if link.mtu_toward_iut.is_some() || link.mtu_toward_server.is_some() {
        return Err(FileError::Link("an MTU for each direction"));
    }
    let mut out = format!("network:\n  mtu: {}\n", link.mtu);
    let oversize = match link.oversize {
        net::Oversize::Fragment => "fragment",
        net::Oversize::Drop => "drop",
        net::Oversize::Filter => "filter",
        net::Oversize::Refuse => "refuse",
    };
    let _ = writeln!(out, "  oversize: {oversize}");
    if let Some(limit) = link.pdu_limit {
        let _ = writeln!(out, "  pdu-limit: {limit}");
    }
    for (name, direction) in [("toward-iut", &link.toward_iut), ("toward-server", &link.toward_server)] {
        let _ = write!(out, "  {name}: {{delay: {}", span(direction.delay));
        if let Some(rate) = direction.rate_bps {
            let _ = write!(out, ", rate: {rate}");
        }
        if let Some(queue) = direction.queue_bytes {
            let _ = write!(out, ", queue: {queue}");
        }
        out.push_str("}\n");
    }
    if let Some(nat) = &link.nat {
        match nat.idle {
            Some(idle) => {
                let _ = writeln!(out, "  nat: {{idle: {}}}", span(idle));
            }
            None => out.push_str("  nat: {}\n"),
        }
    }
    if !link.rules.is_empty() {
        out.push_str("  rules:\n");
    }
    for rule in &link.rules {
        let _ = writeln!(out, "    # {}", rule.name.replace('\n', " "));
        let (action, more) = match rule.action {
            net::Action::Pass => ("pass", String::new()),
            net::Action::Drop => ("drop", String::new()),
            net::Action::Delay(by) => ("delay", format!("      by: {}\n", span(by))),
            net::Action::Duplicate { n, gap } => {
                ("duplicate", format!("      copies: {n}\n      gap: {}\n", span(gap)))
            }
            net::Action::Corrupt {
                damage: net::Damage::Bits(bits),
                fix_checksum: true,
            } => ("corrupt", format!("      bits: {bits}\n")),
            net::Action::Corrupt { .. } => return Err(FileError::Link("damage to a certain byte")),
            net::Action::Truncate(length) => ("truncate", format!("      length: {length}\n")),
            net::Action::Swap => ("swap", String::new()),
        };
        let _ = writeln!(out, "    - {action}: {}", select_text(rule)?);
        out.push_str(&more);
    }
    Ok(out)
}

fn select_text(rule: &net::Rule) -> Result<String, FileError> {
    let select = &rule.select;
    let mut all: Vec<String> = Vec::new();
    let mut coap: Vec<String> = Vec::new();
    if let Some(toward) = select.toward {
        all.push(format!(
            "toward: {}",
            if toward == net::Toward::Iut { "iut" } else { "server" }
        ));
    }
    if let Some(kind) = select.kind {
        let kind = match kind {
            net::Kind::Con => "con",
            net::Kind::Non => "non",
            net::Kind::Ack => "ack",
            net::Kind::Rst => "rst",
        };
        coap.push(format!("type: {kind}"));
    }
    match select.code {
        None => {}
        Some(net::CodeSel::Is(code @ 1..=31)) => {
            coap.push(format!("method: {}", Method(code).to_string().to_lowercase()));
        }
        Some(net::CodeSel::Is(code)) => coap.push(format!("code: {}", CodeMatch::Exact(code))),
        Some(net::CodeSel::Class(class)) => coap.push(format!("code: {class}.xx")),
        Some(net::CodeSel::Response) => coap.push("code: any".to_owned()),
        Some(net::CodeSel::Request) => return Err(FileError::Link("a rule for any request")),
    }
    if let Some(path) = &select.path {
        coap.push(format!(
            "path: {}",
            if path.is_empty() { "/".to_owned() } else { scalar(path) }
        ));
    }
    for (name, block) in [("block1", select.block1), ("block2", select.block2)] {
        let text = match block {
            None => continue,
            Some(net::BlockSel::Any) => "{}".to_owned(),
            Some(net::BlockSel::First) => "{first: true}".to_owned(),
            Some(net::BlockSel::Last) => "{last: true}".to_owned(),
            Some(net::BlockSel::Num(num)) => format!("{{num: {num}}}"),
            Some(net::BlockSel::Every(every)) => format!("{{every: {every}}}"),
            Some(net::BlockSel::Range(from, to)) => format!("{{from: {from}, to: {to}}}"),
        };
        coap.push(format!("{name}: {text}"));
    }
    if let Some(observe) = select.observe {
        coap.push(format!("observe: {observe}"));
    }
    if !coap.is_empty() {
        all.push(format!("coap: {{{}}}", coap.join(", ")));
    }
    match select.fragment {
        None => {}
        Some(net::FragmentSel::Index(index)) => all.push(format!("fragment: {index}")),
        Some(_) => return Err(FileError::Link("a rule for the last or any fragment")),
    }
    if select.message_id.is_some() || select.token.is_some() {
        return Err(FileError::Link("a rule for a message id or a token"));
    }
    for (name, number) in [
        ("nth", select.nth),
        ("every", select.every),
        ("min-size", select.min_size.map(u64::from)),
        ("max-size", select.max_size.map(u64::from)),
        ("times", rule.times.map(u64::from)),
    ] {
        if let Some(number) = number {
            all.push(format!("{name}: {number}"));
        }
    }
    if let Some((from, to)) = select.between {
        all.push(format!("between: {{from: {}, to: {}}}", span(from), span(to)));
    }
    if let Some(probability) = rule.probability {
        all.push(format!("probability: {probability}"));
    }
    Ok(format!("{{{}}}", all.join(", ")))
}
