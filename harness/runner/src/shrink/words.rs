//! Network events in words, as an engineer would say them.

use fotaproof_cases::ast::CodeMatch;

use super::events::{Label, What};

/// The ordinal of a number.
fn ordinal(n: u32) -> String {
    match n {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        4 => "fourth".to_owned(),
        5 => "fifth".to_owned(),
        n => {
            let end = match (n % 10, n % 100) {
                (1, tens) if tens != 11 => "st",
                (2, tens) if tens != 12 => "nd",
                (3, tens) if tens != 13 => "rd",
                _ => "th",
            };
            format!("{n}{end}")
        }
    }
}

fn code(code: u8) -> String {
    const METHODS: [&str; 8] = ["", "GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"];
    match METHODS.get(usize::from(code)) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        _ => CodeMatch::Exact(code).to_string(),
    }
}

/// A packet, without its article: `ACK of block 3`.
fn name(label: &Label) -> String {
    let (Some(kind), Some(number)) = (label.kind, label.code) else {
        return match label.toward {
            fotaproof_net::Toward::Iut => "packet to the IUT".to_owned(),
            fotaproof_net::Toward::Peer => "packet of the IUT".to_owned(),
        };
    };
    let request = (1..32).contains(&number);
    let path = label.path.as_ref().map(|path| format!(" {path}")).unwrap_or_default();
    match (number, kind, label.block1, label.block2) {
        (0, 2, ..) => "empty ACK".to_owned(),
        (0, 3, ..) => "Reset".to_owned(),
        (0, ..) => "ping".to_owned(),
        (_, _, Some(block), _) if request => format!("block {block}"),
        (_, 2, Some(block), _) => format!("ACK of block {block}"),
        (_, _, Some(block), _) => format!("response to block {block}"),
        (_, _, None, Some(block)) if request => format!("request for block {block}"),
        (_, _, None, Some(block)) => format!("block {block}"),
        _ if request => format!("{}{path}", code(number)),
        _ if label.observe => format!("notification of{path}"),
        (_, 2, ..) => format!("ACK with {} of{path}", code(number)),
        _ => format!("response {} of{path}", code(number)),
    }
}

/// A packet: `the ACK of block 3`, `the second retransmission of block 4`.
#[must_use]
pub(super) fn packet(label: &Label, transmission: u32, occurrence: u32) -> String {
    let name = name(label);
    let acknowledges = matches!(label.kind, Some(2 | 3));
    let whole = match (transmission, occurrence) {
        // a message is told by its block; a second one of the same block is another transfer
        (1, 1) if name.starts_with("block ") => name,
        (1, 1) => format!("the {name}"),
        (1, n) => format!("the {} {name}", ordinal(n)),
        (n, _) if acknowledges => format!("the {} copy of the {name}", ordinal(n)),
        (2, _) => format!("the retransmission of {}", plain(&name)),
        (n, _) => format!("the {} retransmission of {}", ordinal(n - 1), plain(&name)),
    };
    match label.fragment {
        None => whole,
        Some(index) => format!("fragment {} of {whole}", u32::from(index) + 1),
    }
}

/// `block 4` needs no article, `GET /5/0/3` does.
fn plain(name: &str) -> String {
    if name.starts_with("block ") {
        name.to_owned()
    } else {
        format!("the {name}")
    }
}

fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

/// What befell packets, as a clause: `the ACK of block 3 and the retransmission of block 4 are lost`.
#[must_use]
pub(super) fn clause(events: &[(String, What)]) -> String {
    let mut parts = Vec::new();
    let lost: Vec<String> = events
        .iter()
        .filter(|(_, what)| *what == What::Lost)
        .map(|(packet, _)| packet.clone())
        .collect();
    if !lost.is_empty() {
        parts.push(format!(
            "{} {} lost",
            list(&lost),
            if lost.len() == 1 { "is" } else { "are" }
        ));
    }
    for (packet, what) in events {
        match what {
            What::Lost => {}
            What::Late(by) => parts.push(format!("{packet} is {:.3} s late", by.as_secs_f64())),
            What::Copied { copies: 1, .. } => parts.push(format!("{packet} arrives twice")),
            What::Copied { copies, .. } => parts.push(format!("{packet} arrives {} times", copies + 1)),
        }
    }
    list(&parts)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use fotaproof_net::Toward;

    use super::*;

    fn label(kind: u8, code: u8) -> Label {
        Label {
            toward: Toward::Peer,
            kind: Some(kind),
            code: Some(code),
            path: Some("/5/0/0".to_owned()),
            block1: None,
            block2: None,
            observe: false,
            fragment: None,
        }
    }

    #[test]
    fn packets_have_the_names_that_people_give_them() {
        let block1 = |kind, code, num| Label {
            block1: Some(num),
            ..label(kind, code)
        };
        let block2 = |kind, code, num| Label {
            block2: Some(num),
            ..label(kind, code)
        };
        let said = [
            packet(&block1(2, 0x5f, 3), 1, 1),
            packet(&block1(0, 3, 4), 2, 1),
            packet(&block1(0, 3, 4), 4, 1),
            packet(&block1(0, 3, 4), 1, 2),
            packet(&block2(0, 1, 7), 1, 1),
            packet(&block2(2, 0x45, 7), 1, 1),
            packet(&label(2, 0), 1, 12),
            packet(&label(0, 2), 1, 1),
            packet(&label(0, 1), 2, 3),
            packet(
                &Label {
                    observe: true,
                    ..label(0, 0x45)
                },
                1,
                22,
            ),
            packet(
                &Label {
                    fragment: Some(1),
                    ..block1(0, 3, 4)
                },
                1,
                1,
            ),
            packet(
                &Label {
                    kind: None,
                    code: None,
                    ..label(0, 0)
                },
                1,
                111,
            ),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        the ACK of block 3
        the retransmission of block 4
        the third retransmission of block 4
        the second block 4
        the request for block 7
        block 7
        the 12th empty ACK
        the POST /5/0/0
        the retransmission of the GET /5/0/0
        the 22nd notification of /5/0/0
        fragment 2 of block 4
        the 111th packet of the IUT
        ");
    }

    #[test]
    fn events_make_a_clause() {
        let a = "the ACK of block 3".to_owned();
        let b = "the retransmission of block 4".to_owned();
        let c = "the GET /5/0/3".to_owned();
        assert_eq!(clause(&[(a.clone(), What::Lost)]), "the ACK of block 3 is lost");
        assert_eq!(
            clause(&[(a.clone(), What::Lost), (b.clone(), What::Lost)]),
            "the ACK of block 3 and the retransmission of block 4 are lost"
        );
        let late = What::Late(Duration::from_millis(2500));
        let twice = What::Copied {
            copies: 1,
            gap: Duration::ZERO,
        };
        assert_eq!(
            clause(&[(a, late), (b, What::Lost), (c, twice)]),
            "the retransmission of block 4 is lost, the ACK of block 3 is 2.500 s late and the GET /5/0/3 arrives twice"
        );
    }
}
