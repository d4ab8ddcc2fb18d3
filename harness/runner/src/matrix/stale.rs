//! Expected failures that did not happen: an entry of a file that stays although its failure is gone would hide the next one.
//!
//! An entry is *asked* by each cell of its IUT that ran to an end and that it is for. Which cells there are is the choice of who
//! runs the matrix, so an entry is held against cells alone that had to show its failure:
//!
//! - it says nothing of the way: cells of both ways asked it;
//! - it says nothing of the other side: it is one for [`INTEROP`], which is about every peer. What a check finds may need a
//!   peer that is not there.
//!
//! The network does not matter. Entries for cases (`*` without `matrix`) are for runs and never stale here.

use std::collections::BTreeSet;
use std::path::Path;

use fotaproof_reports::matrix::Way;
use fotaproof_reports::model::Verdict;

use super::judge::INTEROP;
use super::plan::{Party, Plan, Planned, Role, case_id};
use crate::expected::Expectations;

/// Entries that were met in a cell, by their place in the file: the client's, the server's.
pub(super) type Met = [BTreeSet<usize>; 2];

/// A name that no pattern has.
const NOBODY: &str = "\u{1}nobody\u{1}";

/// What the cells say of the entries of all parties, one line for each that is stale, with its place.
pub(super) fn stale(plan: &Plan, cells: &[(Planned<'_>, Verdict, Met)], today: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (role, parties) in [(Role::Client, &plan.clients), (Role::Server, &plan.servers)] {
        for (index, party) in parties.iter().enumerate() {
            let own: Vec<&(Planned<'_>, Verdict, Met)> = cells
                .iter()
                .filter(|(cell, verdict, _)| {
                    let at = match role {
                        Role::Client => cell.client_index,
                        Role::Server => cell.server_index,
                    };
                    at == index && matches!(verdict, Verdict::Pass | Verdict::Fail)
                })
                .collect();
            for line in of_party(party, role, &own, today) {
                if !all.contains(&line) {
                    all.push(line);
                }
            }
        }
    }
    all
}

fn of_party(party: &Party, role: Role, cells: &[&(Planned<'_>, Verdict, Met)], today: &str) -> Vec<String> {
    let entries = Expectations::new(&party.expected);
    let mut stale = Vec::new();
    for (index, entry) in party.expected.iter().enumerate() {
        let asked: Vec<&Planned<'_>> = cells
            .iter()
            .map(|(cell, ..)| cell)
            .filter(|cell| entries.is_for(index, &cell.case_id()))
            .collect();
        let Some(first) = asked.first() else { continue };
        let place = place(party, entry.case.pos.line);
        let (case, clause) = (&entry.case.value, &entry.clause.value);
        if let Some(expires) = &entry.expires
            && expires.value.as_str() < today
        {
            stale.push(format!(
                "{place}: {case} ({clause}): the entry expired on {}",
                expires.value
            ));
            continue;
        }
        let met = cells.iter().any(|(.., met)| met[role as usize].contains(&index));
        if met || entry.sometimes == Some(true) || !case.starts_with("matrix") {
            continue;
        }
        let ways: BTreeSet<Way> = asked.iter().map(|cell| cell.way).collect();
        let says_no_way = [Way::Push, Way::Pull]
            .into_iter()
            .all(|way| entries.is_for(index, &Planned { way, ..**first }.case_id()));
        let (client, server) = match role {
            Role::Client => (first.client.name.as_str(), NOBODY),
            Role::Server => (NOBODY, first.server.name.as_str()),
        };
        let says_no_peer = entries.is_for(index, &case_id(first.way, client, server, &first.network.name));
        if (says_no_way && ways.len() < 2) || (says_no_peer && clause != INTEROP) {
            continue;
        }
        let cells = match asked.len() {
            1 => "cell".to_owned(),
            many => format!("{many} cells"),
        };
        stale.push(format!(
            "{place}: {case} ({clause}): not met by the {cells} that it is for"
        ));
    }
    stale
}

/// The entry's file and line, as far as they are known.
fn place(party: &Party, line: u32) -> String {
    let manifest = party.manifest.as_ref().map(|(manifest, _)| manifest);
    let named = manifest.and_then(|manifest| manifest.expected_failures.as_ref());
    match (&party.manifest_file, named) {
        (Some(file), Some(own)) => {
            let beside = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
            format!("{}:{line}", beside.join(&own.value).display())
        }
        _ => format!("{}, line {line}", party.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::RunNetwork;
    use fotaproof_cases::files::load_expected_failures;

    const TODAY: &str = "2026-06-01";

    /// One client `a` with the entries against the servers `x` and `y`.
    fn plan(entries: &str, ways: &[Way]) -> Plan {
        let named = |party: Party, name: &str| Party {
            name: name.to_owned(),
            ..party
        };
        Plan {
            clients: vec![Party {
                expected: load_expected_failures("a.expected.yaml", entries).unwrap(),
                ..named(Party::embedded_client(), "a")
            }],
            servers: ["x", "y"].map(|name| named(Party::embedded_server(), name)).to_vec(),
            networks: vec![RunNetwork::default()],
            ways: ways.to_vec(),
            seed: 1,
            size: 1,
        }
    }

    /// The stale entries when every cell ends with this verdict and meets these entries.
    fn found(entries: &str, ways: &[Way], verdict: Verdict, met: &[usize]) -> Vec<String> {
        let plan = plan(entries, ways);
        let met: Met = [met.iter().copied().collect(), BTreeSet::new()];
        let cells: Vec<_> = plan
            .cells()
            .into_iter()
            .map(|cell| (cell, verdict, met.clone()))
            .collect();
        stale(&plan, &cells, TODAY)
    }

    fn entry(case: &str, clause: &str) -> String {
        format!("- case: \"{case}\"\n  clause: {clause}\n  reason: it is so\n")
    }

    #[test]
    fn an_entry_that_no_cell_meets_is_stale_with_its_place() {
        let named = entry("matrix.push[client=a,server=x,*", INTEROP);
        assert_eq!(
            found(&named, &[Way::Push], Verdict::Pass, &[]),
            ["a, line 1: matrix.push[client=a,server=x,* (interop): not met by the cell that it is for"]
        );
        assert!(found(&named, &[Way::Push], Verdict::Fail, &[0]).is_empty(), "it is met");
        let sometimes = format!("{named}  sometimes: true\n");
        assert!(found(&sometimes, &[Way::Push], Verdict::Pass, &[]).is_empty());
    }

    #[test]
    fn cells_that_are_not_in_the_matrix_or_did_not_end_ask_nothing() {
        let named = entry("matrix.push[client=a,server=x,*", INTEROP);
        assert!(found(&named, &[Way::Pull], Verdict::Pass, &[]).is_empty());
        for verdict in [
            Verdict::Inconclusive,
            Verdict::Error,
            Verdict::NotRun,
            Verdict::NotApplicable,
        ] {
            assert!(found(&named, &[Way::Push], verdict, &[]).is_empty(), "{verdict:?}");
        }
        let of_another = entry("matrix.push[client=a,server=z,*", INTEROP);
        assert!(found(&of_another, &[Way::Push], Verdict::Pass, &[]).is_empty());
    }

    #[test]
    fn an_entry_for_both_ways_is_held_against_both() {
        let both = entry("matrix.*", INTEROP);
        assert!(found(&both, &[Way::Push], Verdict::Pass, &[]).is_empty());
        assert_eq!(found(&both, &[Way::Push, Way::Pull], Verdict::Pass, &[]).len(), 1);
    }

    #[test]
    fn what_a_check_finds_may_need_a_peer_that_is_not_there() {
        assert!(found(&entry("matrix.push", "token-echo"), &[Way::Push], Verdict::Pass, &[]).is_empty());
        let pinned = entry("matrix.push[client=a,server=y,*", "token-echo");
        assert_eq!(found(&pinned, &[Way::Push], Verdict::Pass, &[]).len(), 1);
    }

    #[test]
    fn entries_for_cases_are_never_stale_and_expired_ones_always() {
        let of_cases = entry("*", "token-echo");
        assert!(found(&of_cases, &[Way::Push, Way::Pull], Verdict::Pass, &[]).is_empty());
        let expired = format!("{of_cases}  expires: 2026-05-31\n");
        assert_eq!(
            found(&expired, &[Way::Push], Verdict::Pass, &[0]),
            ["a, line 1: * (token-echo): the entry expired on 2026-05-31"]
        );
        let not_yet = format!("{of_cases}  expires: 2026-06-01\n");
        assert!(found(&not_yet, &[Way::Push], Verdict::Pass, &[0]).is_empty());
    }
}
