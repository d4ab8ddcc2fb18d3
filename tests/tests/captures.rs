//! A capture says what the run said: the same findings of the passive checks, and the same dissection as tshark's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use fotaproof_analyze::report::Verdict;
use fotaproof_analyze::{CaptureFile, CaptureReport, Options, analyze};
use fotaproof_cases::ast::Role;
use fotaproof_lwm2m::defects::Defect;
use fotaproof_net::Reassembler;
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::CaseOptions;
use fotaproof_tests::play::{cases, play};
use fotaproof_trace::{CaptureInfo, CaptureWriter, EventKind, Finding, FindingSource, IpUdp, ip_of, udp_of};
use fotaproof_wire::coap::{MessageView, option};

/// The capture of a case on the embedded device, and what the passive checks found while it ran; none where it does
/// not apply.
fn run(case: &fotaproof_cases::LoadedCase, iut: &Iut) -> Option<(Vec<u8>, Vec<Finding>)> {
    // `analyze` judges the devices of a capture; where a server is the IUT they misbehave because the case wants it
    if case.case.role.value != Role::Client {
        return None;
    }
    played(case, iut).map(|(capture, findings, _)| (capture, findings))
}

/// The capture of a case, what the passive checks found, and the messages of CoAP in the order of their events.
fn played(case: &fotaproof_cases::LoadedCase, iut: &Iut) -> Option<(Vec<u8>, Vec<Finding>, Vec<Bytes>)> {
    let options = CaseOptions {
        capture: true,
        ..CaseOptions::default()
    };
    let mut writer = CaptureWriter::new(Vec::new(), &CaptureInfo::default()).expect("memory");
    let mut findings = Vec::new();
    let mut messages = Vec::new();
    let outcome = play(case, iut, &options, &mut |event| {
        writer.on_event(event).expect("memory");
        if let EventKind::Datagram(datagram) = &event.kind {
            messages.push(datagram.payload.clone());
        }
        if let EventKind::Finding(finding) = &event.kind
            && matches!(finding.source, FindingSource::Check(_))
        {
            findings.push(finding.clone());
        }
    });
    outcome.ok()?;
    Some((writer.finish().expect("memory"), findings, messages))
}

fn same_findings(id: &str, capture: &[u8], live: &[Finding]) {
    let report = analyze(id, capture, Options::default());
    assert_eq!(report.broken, None, "{id}");
    let line = |check: &str, grade: &str, title: &str| format!("{check} ({grade}): {title}");
    let mut told: Vec<String> = live
        .iter()
        .map(|finding| {
            let FindingSource::Check(check) = &finding.source else {
                unreachable!()
            };
            line(check, &finding.grade.to_string(), &finding.title)
        })
        .collect();
    let of_report = |report: &CaptureReport| -> Vec<String> {
        let findings = report.devices.iter().flat_map(|device| &device.findings);
        findings
            .map(|finding| line(&finding.check, &finding.grade, &finding.title))
            .collect()
    };
    let mut read = of_report(&report);
    told.sort();
    read.sort();
    assert_eq!(read, told, "{id}: the capture says otherwise than the run");
}

#[test]
fn the_capture_of_a_case_has_the_verdict_of_its_run() {
    for case in cases() {
        let id = case.full_id();
        let Some((capture, live)) = run(&case, &Iut::embedded()) else {
            continue;
        };
        same_findings(&id, &capture, &live);
        let report = analyze(&id, &capture[..], Options::default());
        assert_ne!(report.verdict, Verdict::Fail, "{id}");
    }
}

#[test]
fn planted_defects_are_found_in_captures_as_in_runs() {
    let mut found = 0;
    let all = cases();
    for name in [
        "ack-wrong-num",
        "continue-without-token",
        "last-resend-408",
        "hint-larger",
        "reg-lists-security",
        "orphan-last-accepted",
        "retransmit-new-token",
    ] {
        let defect: Defect = name.parse().expect("a defect");
        let iut = Iut::embedded().with_defect(defect);
        for case in all
            .iter()
            .filter(|case| case.case.defects.iter().any(|named| named.value == name))
        {
            let Some((capture, live)) = run(case, &iut) else {
                continue;
            };
            found += live.len();
            same_findings(&format!("{} with {name}", case.full_id()), &capture, &live);
        }
    }
    assert!(found > 0, "no defect was found: nothing was compared");
}

/// What both dissectors say of a packet.
#[derive(Debug, PartialEq, Eq)]
struct Packet {
    kind: u8,
    code: u8,
    id: u16,
    token: String,
    blocks: Vec<u32>,
    payload: usize,
}

/// Our dissection, by frame.
fn ours(capture: &[u8]) -> BTreeMap<u64, Packet> {
    let mut packets = BTreeMap::new();
    let mut file = CaptureFile::new(capture);
    // Each end of the link sees the fragments for itself.
    let mut reassemblers: BTreeMap<u32, Reassembler> = BTreeMap::new();
    while let Ok(Some(frame)) = file.next_frame() {
        let Some(packet) = ip_of(frame.link, &frame.data) else {
            continue;
        };
        let payload = match udp_of(packet) {
            Some(IpUdp::Datagram { payload, .. }) => Bytes::copy_from_slice(payload),
            Some(IpUdp::Fragment) => {
                let reassembler = reassemblers.entry(frame.interface).or_default();
                let whole = reassembler.push(frame.at, &frame.data.slice_ref(packet));
                let Ok(Some(Ok(Some(udp)))) = whole.map(|whole| whole.map(|whole| whole.udp())) else {
                    continue;
                };
                udp.payload
            }
            None => continue,
        };
        let Ok(view) = MessageView::parse(&payload) else {
            continue;
        };
        let is_block = |number| matches!(number, option::BLOCK1 | option::BLOCK2);
        let blocks = view.options().filter(|option| is_block(option.number));
        packets.insert(
            frame.number,
            Packet {
                kind: view.kind() as u8,
                code: view.code().0,
                id: view.message_id(),
                token: fotaproof_wire::hex::encode(view.token()),
                blocks: blocks
                    .filter_map(|option| option.block().ok())
                    .map(|block| block.num)
                    .collect(),
                payload: view.payload().len(),
            },
        );
    }
    packets
}

/// What tshark says of a capture; frames that it takes for malformed are left out.
#[derive(Default)]
struct Theirs {
    packets: BTreeMap<u64, Packet>,
    /// Lengths of the bodies that it put together from blocks, by the frame of the last block.
    bodies: BTreeMap<u64, u64>,
}

fn theirs(path: &Path) -> Theirs {
    let fields = [
        "frame.number",
        "coap.type",
        "coap.code",
        "coap.mid",
        "coap.token",
        "coap.opt.block_number",
        "coap.payload_length",
        "coap.block_length",
        "coap.block.reassembled.length",
        "_ws.malformed",
    ];
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(path)
        .args(["-2", "-Y", "coap", "-T", "fields", "-E", "separator=|"]);
    for port in [20600, 20683, 20685, 20687, 20688, 20689] {
        command.arg("-d").arg(format!("udp.port=={port},coap"));
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut theirs = Theirs::default();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').collect();
        let [frame, kind, code, id, token, blocks, payload, block, body, malformed] = cells[..] else {
            panic!("{}: {line}", path.display())
        };
        let first = |text: &str| text.split(',').next().and_then(|text| text.parse::<u64>().ok());
        let frame = first(frame).expect("a frame number");
        // What it takes for malformed in a body is its content; the blocks are put together all the same.
        if let Some(body) = first(body) {
            theirs.bodies.insert(frame, body);
        }
        if !malformed.is_empty() || kind.is_empty() {
            continue;
        }
        // A block that ends a body shows the body's length as payload and its own beside it.
        let length = first(block).or_else(|| first(payload)).unwrap_or(0);
        theirs.packets.insert(
            frame,
            Packet {
                kind: first(kind).expect("a type") as u8,
                code: first(code).expect("a code") as u8,
                id: first(id).expect("a message id") as u16,
                token: token.replace(':', ""),
                blocks: blocks.split(',').filter_map(|text| text.parse().ok()).collect(),
                payload: length as usize,
            },
        );
    }
    theirs
}

fn compare(name: &str, capture: &[u8], theirs: &Theirs) -> usize {
    let ours = ours(capture);
    let mut compared = 0;
    for (frame, their) in &theirs.packets {
        // What tshark reads on after an error is no message for a strict reader.
        let Some(our) = ours.get(frame) else { continue };
        assert_eq!(our, their, "{name}, packet {frame}");
        compared += 1;
    }
    compared
}

/// Compares the bodies that came in blocks: each that tshark put together stands in our report, with as many bytes, and so
/// does the other way round each that we call complete.
fn compare_bodies(name: &str, capture: &[u8], theirs: &Theirs) -> usize {
    let report = analyze(name, capture, Options::default());
    let transfers: Vec<_> = report.devices.iter().flat_map(|device| &device.transfers).collect();
    for (frame, length) in &theirs.bodies {
        let same = transfers.iter().any(|transfer| {
            // Of two ends of a link, tshark takes the one that is first in the file.
            let during = transfer.began.packet.saturating_sub(2)..=transfer.ended.packet;
            during.contains(frame) && transfer.bytes == *length && transfer.size == Some(*length)
        });
        assert!(
            same,
            "{name}: a body of {length} bytes ends in packet {frame}: {transfers:#?}"
        );
    }
    for transfer in transfers {
        let whole = transfer.outcome == "complete" && transfer.blocks > 1;
        assert!(
            !whole || theirs.bodies.values().any(|length| *length == transfer.bytes),
            "{name}: tshark has no body of {} bytes, {} {}",
            transfer.bytes,
            transfer.way,
            transfer.path
        );
    }
    theirs.bodies.len()
}

/// Whether tshark is there; without it a comparison says so, and fails where peers are required.
fn tshark() -> bool {
    let there = Command::new("tshark")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        let required = std::env::var("FOTAPROOF_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        assert!(!required, "tshark is not installed: apt-get install tshark");
        eprintln!("skipped: tshark is not installed");
    }
    there
}

/// The capture holds ciphertext and its secrets: `analyze` sees the transfer in it, tshark every message of the run.
#[test]
fn a_capture_of_dtls_opens_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut opened = 0;
    for case in cases().iter().filter(|case| case.id.starts_with("srv.dtls.")) {
        let id = case.full_id();
        let (capture, _, messages) = played(case, &Iut::embedded()).expect("the case applies");
        let report = analyze(&id, &capture[..], Options::default());
        let complete = report
            .devices
            .iter()
            .flat_map(|device| &device.transfers)
            .any(|transfer| transfer.outcome == "complete" && transfer.way == "push");
        assert!(complete, "{id}: {:#?}", report.devices);
        // Block1 0 of the package stands in no packet as it is
        let body = messages
            .iter()
            .find(|message| message.len() > 200)
            .expect("a block of the package");
        let tail = &body[body.len() - 64..];
        assert!(!capture.windows(64).any(|window| window == tail), "{id} is in clear");
        opened += 1;
        if !tshark() {
            continue;
        }
        let path = folder.path().join(format!("{opened}.pcapng"));
        std::fs::write(&path, &capture).expect("a file");
        let mut told: Vec<(u8, u8, u16)> = theirs(&path)
            .packets
            .values()
            .map(|packet| (packet.kind, packet.code, packet.id))
            .collect();
        let mut ours: Vec<(u8, u8, u16)> = messages
            .iter()
            .map(|message| {
                let view = MessageView::parse(message).expect("a message");
                (view.kind() as u8, view.code().0, view.message_id())
            })
            .collect();
        told.sort_unstable();
        ours.sort_unstable();
        // a copy of a record, which we take for none, is a message to tshark
        told.dedup();
        ours.dedup();
        assert_eq!(ours, told, "{id}");
    }
    assert!(opened >= 8, "{opened}");
}

#[test]
fn tshark_reads_every_capture_of_the_library_as_we_do() {
    if !tshark() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut compared = 0;
    for (index, case) in cases().iter().enumerate() {
        let Some((capture, _)) = run(case, &Iut::embedded()) else {
            continue;
        };
        let path = folder.path().join(format!("{index}.pcapng"));
        std::fs::write(&path, &capture).expect("a file");
        compared += compare(&case.full_id(), &capture, &theirs(&path));
    }
    assert!(compared > 1000, "only {compared} packets were compared");
    println!("{compared} packets are the same");
}

#[test]
fn tshark_reads_the_captures_of_other_stacks_as_we_do() {
    if !tshark() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/captures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the captures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with("broken-") && (name.ends_with(".pcap") || name.ends_with(".pcapng"))
    });
    let one = |path: &PathBuf| {
        let name = path.display().to_string();
        let capture = std::fs::read(path).expect("a capture");
        let theirs = theirs(path);
        (
            compare(&name, &capture, &theirs),
            compare_bodies(&name, &capture, &theirs),
        )
    };
    // What takes time is that tshark starts: some at once.
    let (packets, bodies) = std::thread::scope(|scope| {
        let started: Vec<_> = files
            .chunks(files.len().div_ceil(4))
            .map(|some| scope.spawn(move || some.iter().map(one).collect::<Vec<_>>()))
            .collect();
        let done = started
            .into_iter()
            .flat_map(|thread| thread.join().expect("the same dissection"));
        done.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    assert!(packets > 1000, "only {packets} packets were compared");
    assert!(bodies >= 15, "only {bodies} bodies were compared");
}
