//! From a cell that ended, and its capture, to its result.

use core::time::Duration;

use fotaproof_adapter::UpdateStatus;
use fotaproof_analyze::report::{DeviceReport, TransferReport};
use fotaproof_cases::manifest::ExpectedFailure;
use fotaproof_reports::matrix::{self as report, Blamed, Cell, Interop, Measured, Side, Station, Way};
use fotaproof_reports::model;
use fotaproof_trace::{Blame, Finding, FindingSource, Grade, Verdict};

use super::blame::{self, Fault, Story};
use super::cell::{End, Ended};
use super::leader::status_word;
use super::plan::{Party, Role};
use super::stale::Met;
use crate::expected::Expectations;
use crate::run::shown_finding;
use crate::session::{LOWER, is_too_late, told_late};

/// The clause under which an expected-failures file names an update that does not end well.
pub(super) const INTEROP: &str = "interop";

/// What the judge must know of a cell besides what happened in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// Id that expected failures name.
    pub(super) case_id: &'a str,
    pub(super) way: Way,
    pub(super) client: &'a Party,
    pub(super) server: &'a Party,
    /// Bytes of the package.
    pub(super) image: u64,
    /// The version that it installs; empty when none is known.
    pub(super) version: &'a str,
    pub(super) hosted_by: Option<&'a str>,
}

/// How far an update came, from what the capture shows of the device.
pub(super) fn station(device: Option<&DeviceReport>, heard: bool, version: &str) -> Station {
    let Some(device) = device else {
        return Station::Nothing;
    };
    let firmware = &device.firmware;
    let shown = !version.is_empty() && firmware.version_after.as_deref() == Some(version);
    // one that was never answered was carried out all the same when the device came back with the version
    let carried_out = |answer: Option<&str>| answer.map_or(shown, |code| code.starts_with("2."));
    let executed = firmware
        .executes
        .iter()
        .find(|execute| carried_out(execute.answer.as_deref()));
    let of_image = || device.transfers.iter().filter(|transfer| is_of_image(transfer));
    let moved = |outcome: &str| outcome.starts_with("complete");
    let mut station = Station::Nothing;
    let mut reach = |reached: bool, at: Station| {
        if reached {
            station = station.max(at);
        }
    };
    reach(heard && device.registrations.registers > 0, Station::Registered);
    reach(
        of_image().next().is_some() || firmware.samples.iter().any(|sample| sample.state == Some(1)),
        Station::Offered,
    );
    reach(
        of_image().any(|transfer| moved(&transfer.outcome)),
        Station::Transferred,
    );
    reach(
        firmware.samples.iter().any(|sample| sample.state == Some(2)),
        Station::Downloaded,
    );
    if let Some(execute) = executed {
        reach(true, Station::Executed);
        reach(
            firmware.reboots.iter().any(|reboot| reboot.at > execute.at),
            Station::Rebooted,
        );
        let success = firmware
            .samples
            .iter()
            .any(|sample| sample.at > execute.at && sample.result == Some(1));
        reach(success || shown, Station::Updated);
    }
    station
}

/// Whether a transfer moved the package.
fn is_of_image(transfer: &TransferReport) -> bool {
    match transfer.way.as_str() {
        "push" => transfer.path.starts_with("/5/0/0"),
        "pull" => true,
        _ => false,
    }
}

/// What was measured; none when nothing of the package was moved.
pub(super) fn measured(device: Option<&DeviceReport>, ended: &Ended, image: u64) -> Option<Measured> {
    let transfers: Vec<&TransferReport> = device?.transfers.iter().filter(|one| is_of_image(one)).collect();
    let began = transfers.iter().map(|one| one.began.at).fold(f64::INFINITY, f64::min);
    let last = transfers.iter().map(|one| one.ended.at).fold(0.0_f64, f64::max);
    let moved: u64 = transfers.iter().map(|one| one.bytes).sum();
    if moved == 0 {
        return None;
    }
    let transfer_s = (last - began).max(0.0);
    let mut block_sizes: Vec<u32> = Vec::new();
    for size in transfers.iter().flat_map(|one| &one.block_sizes) {
        if !block_sizes.contains(size) {
            block_sizes.push(*size);
        }
    }
    let counted = ended.counted;
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    Some(Measured {
        image,
        update_s: ended
            .at
            .saturating_sub(ended.registered.unwrap_or(Duration::ZERO))
            .as_secs_f64(),
        transfer_s,
        goodput: ratio(moved as f64, transfer_s),
        datagrams: counted.datagrams,
        packets: counted.packets,
        fragments: counted.fragments,
        air_bytes: counted.bytes,
        air_per_byte: ratio(counted.bytes as f64, image as f64),
        retransmissions: counted.again,
        lost: counted.lost,
        blocks: transfers.iter().map(|one| one.blocks).sum(),
        block_sizes,
    })
}

/// What the checks say of a side: the expected findings taken out, the others as a report shows them.
fn side(
    findings: &[Finding],
    expects: &[ExpectedFailure],
    case_id: &str,
    heard: bool,
    shown: &dyn Fn(&Finding) -> model::Finding,
    met: &mut std::collections::BTreeSet<usize>,
) -> Side {
    let mut side = Side {
        verdict: if heard {
            model::Verdict::Pass
        } else {
            model::Verdict::NotRun
        },
        ..Side::default()
    };
    let entries = Expectations::new(expects);
    for finding in findings {
        if let Some((index, entry)) = entries.covering(case_id, finding) {
            met.insert(index);
            let told = told(entry);
            if !side.expected.contains(&told) {
                side.expected.push(told);
            }
            continue;
        }
        if Verdict::of_finding(finding, false) == Verdict::Fail {
            side.verdict = model::Verdict::Fail;
        }
        side.findings.push(shown(finding));
    }
    side
}

fn told(entry: &ExpectedFailure) -> model::ExpectedFailure {
    model::ExpectedFailure {
        clause: entry.clause.value.clone(),
        reason: entry.reason.clone(),
        link: entry.link.clone(),
    }
}

/// Why an update that did not end well did not.
fn why_not(ended: &Ended, station: Station, facts: &Facts<'_>) -> String {
    let reason = ended.progress.reason.as_deref().unwrap_or_default();
    let so_far = match station {
        Station::Nothing if !ended.heard_client => format!("{} was not heard", facts.client.name),
        Station::Nothing if !ended.heard_server => format!("{} was not heard", facts.server.name),
        Station::Nothing => {
            let text = format!("{} was not registered by {}", facts.client.name, facts.server.name);
            match &ended.refused {
                Some(answer) => format!("{text}: {answer}"),
                None => text,
            }
        }
        station => format!("the update came as far as: {}", station.word()),
    };
    let mut text = match &ended.end {
        End::Over if ended.progress.status == UpdateStatus::Succeeded => format!(
            "{} reports success, and nothing on the link shows it: {so_far}",
            facts.server.name
        ),
        End::Over => format!("{so_far}; reported as {}", status_word(ended.progress.status)),
        End::Limit(limit) => format!("{so_far}, and no further within {} s", limit.as_secs()),
        End::ClientEnded(status) => format!("{} ended ({status}); {so_far}", facts.client.name),
        End::Trouble(reason) => return reason.clone(),
        End::Interrupted => return "interrupted".to_owned(),
    };
    if !reason.is_empty() {
        text += &format!(": {reason}");
    }
    text
}

/// Fills in what became of a cell; gives the expected failures that were met.
pub(super) fn judge(
    cell: &mut Cell,
    ended: &Ended,
    device: Option<&DeviceReport>,
    facts: &Facts<'_>,
    packet_of: &dyn Fn(u64) -> Option<u64>,
) -> Met {
    let mut met = Met::default();
    let shown = |finding: &Finding| shown_finding(finding, packet_of);
    let station = station(device, ended.heard_client, facts.version);
    let succeeded = ended.progress.status == UpdateStatus::Succeeded;
    cell.interop = Interop {
        ended_well: succeeded && station == Station::Updated,
        station,
        status: status_word(ended.progress.status).to_owned(),
        led_by: ended.level.word().to_owned(),
        hosted_by: facts.hosted_by.map(str::to_owned),
        state: ended.progress.state,
        result: ended.progress.result,
        version: ended.progress.version.clone(),
    };
    cell.measured = measured(device, ended, facts.image);
    cell.client_side = side(
        &ended.findings[0],
        &facts.client.expected,
        facts.case_id,
        ended.heard_client,
        &shown,
        &mut met[0],
    );
    cell.server_side = side(
        &ended.findings[1],
        &facts.server.expected,
        facts.case_id,
        ended.heard_server,
        &shown,
        &mut met[1],
    );
    let fault = fault(cell, ended, device, facts);
    let guilty = guilty(cell, fault.as_ref(), packet_of);
    (cell.verdict, cell.reason) = verdict(cell, ended, station, facts, &guilty);
    if cell.verdict == model::Verdict::Fail {
        cell.blame = Some(blame(&guilty, ended, facts, packet_of));
        if !cell.interop.ended_well {
            expected(cell, facts, &mut met);
        }
        excuse(cell, ended);
    }
    met
}

/// What failed while the harness itself was late is held against nobody, unless it was expected.
fn excuse(cell: &mut Cell, ended: &Ended) {
    let Some(late) = ended.late.filter(|late| is_too_late(late.by) && !cell.expected) else {
        return;
    };
    cell.reason = format!("{}; this may be why: {}. {LOWER}", told_late(&late), cell.reason);
    cell.verdict = model::Verdict::Inconclusive;
    cell.blame = None;
    for side in [&mut cell.client_side, &mut cell.server_side] {
        if side.verdict == model::Verdict::Fail {
            side.verdict = model::Verdict::Inconclusive;
        }
    }
}

fn verdict(
    cell: &Cell,
    ended: &Ended,
    station: Station,
    facts: &Facts<'_>,
    guilty: &[Guilty],
) -> (model::Verdict, String) {
    let why = why_not(ended, station, facts);
    let named: Vec<String> = guilty.iter().map(|one| one.told(facts)).collect();
    let named = named.join("; ");
    match &ended.end {
        End::Trouble(_) => (model::Verdict::Error, why),
        End::Interrupted => (model::Verdict::NotRun, why),
        _ if cell.interop.ended_well && guilty.is_empty() => (model::Verdict::Pass, String::new()),
        _ if cell.interop.ended_well => (model::Verdict::Fail, named),
        // nothing tells a wrong manifest or adapter from a bad implementation
        End::Limit(_) | End::ClientEnded(_) if !ended.heard_client || !ended.heard_server => {
            (model::Verdict::Inconclusive, why)
        }
        // chance excuses what did not come, never what was said wrongly
        _ => match (&ended.chance, guilty) {
            (_, [_, ..]) => (model::Verdict::Fail, format!("{why}; {named}")),
            (Some(chance), []) => (model::Verdict::Inconclusive, format!("{why}; {chance}")),
            (None, []) => (
                model::Verdict::Fail,
                format!("{why}; the link does not show whose fault it is"),
            ),
        },
    }
}

/// A side that is to blame.
struct Guilty {
    role: Role,
    what: String,
    packets: Vec<u64>,
}

impl Guilty {
    fn told(&self, facts: &Facts<'_>) -> String {
        format!("{} ({}): {}", facts.party(self.role).name, self.role.word(), self.what)
    }
}

impl<'a> Facts<'a> {
    const fn party(&self, role: Role) -> &'a Party {
        match role {
            Role::Client => self.client,
            Role::Server => self.server,
        }
    }
}

/// What the link shows of the fault of a side, beyond what the checks say.
fn fault(cell: &Cell, ended: &Ended, device: Option<&DeviceReport>, facts: &Facts<'_>) -> Option<Fault> {
    if let End::ClientEnded(status) = &ended.end {
        return Some(Fault {
            side: Role::Client,
            what: format!("it ended by itself: {status}"),
            datagrams: Vec::new(),
            always: false,
        });
    }
    let fault = blame::fault(&Story {
        log: &ended.log,
        way: facts.way,
        level: ended.level,
        end: &ended.end,
        unable: ended.unable.as_ref(),
        at: ended.at,
        image: facts.image,
        version: facts.version,
        client: &facts.client.claims,
        hosted_by_harness: facts.hosted_by == Some("harness"),
        is_intact: !cell
            .server_side
            .findings
            .iter()
            .any(|finding| finding.source == "image-sum"),
        device,
    });
    // a broken must of the other side may have led to it
    let other = |fault: &Fault| match fault.side {
        Role::Client => &cell.server_side,
        Role::Server => &cell.client_side,
    };
    fault.filter(|fault| (fault.always || !cell.interop.ended_well) && other(fault).verdict != model::Verdict::Fail)
}

/// The sides that are to blame: who broke a must that was not expected, and whom the link shows at fault.
fn guilty(cell: &Cell, fault: Option<&Fault>, packet_of: &dyn Fn(u64) -> Option<u64>) -> Vec<Guilty> {
    let sides = [(Role::Client, &cell.client_side), (Role::Server, &cell.server_side)];
    let one = |(role, side): (Role, &Side)| {
        if side.verdict == model::Verdict::Fail {
            let first = side.findings.iter().find(|finding| finding.grade == "must");
            return Some(Guilty {
                role,
                what: first.map_or_else(|| "a check did not hold".to_owned(), |finding| finding.title.clone()),
                packets: first.map(|finding| finding.packets.clone()).unwrap_or_default(),
            });
        }
        let fault = fault.filter(|fault| fault.side == role)?;
        Some(Guilty {
            role,
            what: fault.what.clone(),
            packets: fault
                .datagrams
                .iter()
                .filter_map(|datagram| packet_of(*datagram))
                .collect(),
        })
    };
    sides.into_iter().filter_map(one).collect()
}

/// Whom to blame in the words of a report, and what to do next.
fn blame(guilty: &[Guilty], ended: &Ended, facts: &Facts<'_>, packet_of: &dyn Fn(u64) -> Option<u64>) -> report::Blame {
    let side = match guilty {
        [] => Blamed::Unknown,
        [one] => Blamed::of(one.role == Role::Client),
        _ => Blamed::Both,
    };
    let mut packets: Vec<u64> = guilty.iter().flat_map(|one| one.packets.iter().copied()).collect();
    if guilty.is_empty() {
        packets.extend(ended.log.stops_at().and_then(packet_of));
    }
    packets.sort_unstable();
    packets.dedup();
    let roles: Vec<Role> = match guilty {
        [] => vec![Role::Client, Role::Server],
        all => all.iter().map(|one| one.role).collect(),
    };
    let why: Vec<String> = guilty.iter().map(|one| one.told(facts)).collect();
    report::Blame {
        side,
        why: if why.is_empty() {
            let (client, server) = (&facts.client.name, &facts.server.name);
            match &ended.refused {
                Some(answer) if ended.registered.is_none() => format!(
                    "either {server} (server) refuses a good Register with {answer}, or {client} (client) sends a bad one in which \
                     no check sees anything wrong"
                ),
                _ => format!("either {client} (client) or {server} (server): no rule and no check tells which"),
            }
        } else {
            why.join("; ")
        },
        next: next(&roles, &packets, facts),
        packets,
    }
}

/// What somebody who reads of a failed cell does next.
fn next(roles: &[Role], packets: &[u64], facts: &Facts<'_>) -> String {
    let mut steps = Vec::new();
    if let Some(first) = packets.first() {
        steps.push(format!("look at packet {first} of the capture"));
    }
    for role in roles {
        let party = facts.party(*role);
        match (&party.manifest_file, role) {
            (Some(file), Role::Client) => {
                let way = facts.way.word();
                steps.push(format!(
                    "run {} alone against the reference server: fotaproof run --iut {file} suite:{way}",
                    party.name
                ));
            }
            (Some(file), Role::Server) => steps.push(format!(
                "run {} alone against the reference device: fotaproof run --iut {file} role:server",
                party.name
            )),
            (None, _) => steps.push(format!("{} is the reference {} of fotaproof", party.name, role.word())),
        }
    }
    steps.join("; ")
}

/// An update that does not end well can be expected of a side, by the clause `interop`.
fn expected(cell: &mut Cell, facts: &Facts<'_>, met: &mut Met) {
    let failure = Finding {
        source: FindingSource::Check(INTEROP.to_owned()),
        grade: Grade::Must,
        blame: Blame::Iut,
        clauses: vec![INTEROP.to_owned()],
        title: cell.reason.clone(),
        expected: "the update ends well".to_owned(),
        seen: cell.reason.clone(),
        datagrams: Vec::new(),
        events: Vec::new(),
        hint: None,
    };
    let sides_fail = [&cell.client_side, &cell.server_side]
        .iter()
        .any(|side| side.verdict == model::Verdict::Fail);
    for role in [Role::Client, Role::Server] {
        let party = facts.party(role);
        let entries = Expectations::new(&party.expected);
        let Some((index, entry)) = entries.covering(facts.case_id, &failure) else {
            continue;
        };
        met[role as usize].insert(index);
        cell.expected = !sides_fail;
        cell.notes.push(format!("what was seen: {}", cell.reason));
        cell.reason.clone_from(&entry.reason);
        if cell.expected {
            cell.blame = Some(report::Blame {
                side: Blamed::of(role == Role::Client),
                why: format!("{} ({}): expected of it, {}", party.name, role.word(), entry.reason),
                next: String::new(),
                packets: cell.blame.take().map(|blame| blame.packets).unwrap_or_default(),
            });
        }
        let side = match role {
            Role::Client => &mut cell.client_side,
            Role::Server => &mut cell.server_side,
        };
        side.expected.push(told(entry));
        return;
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
