//! A correct IUT in bad luck: whatever a network does, nobody may object.

use crate::testing::*;
use fotaproof_trace::{EventKind, IutEvent};
use fotaproof_wire::coap::{Code, MessageView, RawMessage, Type};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What the network does to one transmission: lost, and the delays of its copies.
#[derive(Clone, Debug)]
struct Luck {
    copies: Vec<u64>,
    answer_lost: bool,
}

fn luck() -> impl Strategy<Value = Luck> {
    (proptest::collection::vec(0u64..4_000, 0..3), any::<bool>())
        .prop_map(|(copies, answer_lost)| Luck { copies, answer_lost })
}

/// A correct receiver of a push: deduplicates by message id, wants blocks in order.
#[derive(Default)]
struct Receiver {
    cache: BTreeMap<u16, RawMessage>,
    next: u32,
    separate: bool,
    own_id: u16,
}

impl Receiver {
    fn answer(&mut self, request: &RawMessage) -> Vec<RawMessage> {
        if let Some(answer) = self.cache.get(&request.message_id) {
            return vec![answer.clone()];
        }
        let bytes = request.encode();
        let view = MessageView::parse(&bytes).unwrap();
        let block = view.block1().unwrap().unwrap();
        let code = if block.num == self.next || block.num == 0 {
            self.next = block.num + 1;
            if block.more { Code::CONTINUE } else { Code::CHANGED }
        } else {
            Code::REQUEST_ENTITY_INCOMPLETE
        };
        if self.separate {
            let acknowledgement = empty(Type::Ack, request.message_id);
            self.cache.insert(request.message_id, acknowledgement.clone());
            self.own_id += 1;
            let response = message(Type::Con, code, self.own_id, &request.token).block1(&block.to_string());
            return vec![acknowledgement, response];
        }
        let answer = ack(code, request.message_id, &request.token).block1(&block.to_string());
        self.cache.insert(request.message_id, answer.clone());
        vec![answer]
    }
}

proptest! {
    #[test]
    fn a_push_over_a_bad_network(lucks in proptest::collection::vec(luck(), 1..40), one_token: bool, separate: bool, blocks in 1u32..8) {
        // The server repeats each block until its answer comes back; copies arrive late and in any order.
        let mut arrivals: Vec<(u64, u16, RawMessage)> = Vec::new();
        let mut time = 0;
        let mut id = 100u16;
        let mut lucks = lucks.into_iter().cycle();
        for num in 0..blocks {
            id += 1;
            let more = num + 1 < blocks;
            let token = if one_token { vec![1] } else { id.to_be_bytes().to_vec() };
            let request = request(Code::PUT, id, &token, "/5/0/0").block1(&format!("{num}/{}/64", u8::from(more))).payload(vec![7; 64]);
            for attempt in 0..4u64 {
                let luck = lucks.next().unwrap();
                arrivals.extend(luck.copies.iter().map(|delay| (time + delay, id, request.clone())));
                time += 2_000 << attempt;
                if !luck.copies.is_empty() && !luck.answer_lost {
                    break;
                }
            }
        }
        arrivals.sort_by_key(|(at, id, _)| (*at, *id));
        let mut receiver = Receiver { separate, own_id: 5_000, ..Receiver::default() };
        let mut stream = Stream::new();
        for (at, _, request) in &arrivals {
            stream.gets(*at, request);
            for answer in receiver.answer(request) {
                stream.sends(*at, &answer);
            }
        }
        stream.holds();
    }

    #[test]
    fn a_pull_over_a_bad_network(lucks in proptest::collection::vec(luck(), 1..40), one_token: bool, size in prop::sample::select(vec![16u64, 64, 256]), reboot_at in 0u32..12) {
        // The device retransmits by the rules; responses are doubled and delayed; once it reboots and resumes.
        let mut stream = Stream::new();
        let mut lucks = lucks.into_iter().cycle();
        let mut events: Vec<(u64, bool, RawMessage)> = Vec::new();
        let mut time = 0;
        let mut reboot = None;
        for num in 0..10u32 {
            if num == reboot_at {
                time += 100;
                reboot = Some(time);
                time += 5_000;
            }
            let id = 300 + num as u16;
            let token = if one_token { vec![9] } else { id.to_be_bytes().to_vec() };
            let get = request(Code::GET, id, &token, "/fw").block2(&format!("{num}/0/{size}"));
            let more = u8::from(num < 9);
            let content = ack(Code::CONTENT, id, &token).block2(&format!("{num}/{more}/{size}")).payload(vec![3; size as usize]);
            let mut sent = time;
            let mut interval = 2_500;
            let mut arrived = None;
            for _ in 0..5 {
                events.push((sent, true, get.clone()));
                let luck = lucks.next().unwrap();
                for delay in &luck.copies {
                    events.push((sent + delay, false, content.clone()));
                    arrived = Some(arrived.map_or(sent + delay, |at: u64| at.min(sent + delay)));
                }
                if arrived.is_some_and(|at| at <= sent + interval) {
                    break;
                }
                sent += interval;
                interval *= 2;
            }
            let Some(arrived) = arrived else { break };
            // What would have been sent after the answer is not.
            events.retain(|(at, out, message)| !(*out && message.message_id == id && *at > arrived));
            time = arrived + 1;
        }
        events.sort_by_key(|(at, ..)| *at);
        let mut rebooted = false;
        for (at, out, message) in &events {
            if let Some(reboot) = reboot && *at >= reboot && !rebooted {
                rebooted = true;
                stream.event(reboot, EventKind::Iut(IutEvent::PowerCut)).event(reboot, EventKind::Iut(IutEvent::Restarted));
                stream.moves("10.0.0.1:50001");
            }
            if *out {
                stream.sends(*at, message);
            } else {
                stream.gets(*at, message);
            }
        }
        stream.holds();
    }

    #[test]
    fn no_datagram_panics(datagrams in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..40)) {
        let mut stream = Stream::new();
        for (index, (out, bytes)) in datagrams.iter().enumerate() {
            let mut message = message(Type::Con, Code::EMPTY, 0, &[]);
            message.tail = bytes.clone();
            message.truncate = None;
            if *out {
                stream.sends_bytes(index as u64, bytes);
            } else {
                stream.gets(index as u64, &message);
                stream.gets_bytes(index as u64, bytes);
            }
        }
        let _ = stream.findings();
    }
}

#[test]
fn a_message_id_counter_may_wrap_when_much_is_sent() {
    let mut stream = Stream::new();
    for number in 0..70_000u32 {
        let get = request(Code::GET, number as u16, &[1], "/fw").block2(&format!("{number}/0/16"));
        let content = ack(Code::CONTENT, number as u16, &[1])
            .block2(&format!("{number}/1/16"))
            .payload(vec![3; 16]);
        stream.sends(u64::from(number), &get).gets(u64::from(number), &content);
    }
    stream.holds();
}

#[test]
fn a_stimulus_that_uses_a_message_id_again_may_get_either_answer() {
    let first = request(Code::PUT, 1, &[1], "/5/0/1").payload(&b"coap://a"[..]);
    let second = request(Code::PUT, 1, &[2], "/5/0/1").payload(&b"coap://b"[..]);
    let old = ack(Code::CHANGED, 1, &[1]);
    Stream::new()
        .exchange(0, &first, &old)
        .gets_planned(1_000, &second)
        .sends(1_010, &old)
        .holds();
    Stream::new()
        .exchange(0, &first, &old)
        .gets_planned(1_000, &second)
        .sends(1_010, &ack(Code::CHANGED, 1, &[2]))
        .holds();
}

#[test]
fn altered_bytes_prove_nothing() {
    let get = request(Code::GET, 1, &[1], "/5/0/3");
    Stream::new()
        .gets_altered(0, &get)
        .sends(1, &ack(Code::CONTENT, 1, &[3]).format(0).payload(&b"0"[..]))
        .holds();
}

#[test]
fn a_re_registration_without_reboot_keeps_what_was_sent() {
    // A notification is retransmitted across a new Register.
    let get = request(Code::GET, 1, &[5], "/5/0/3").observe(0);
    let notification = message(Type::Con, Code::CONTENT, 60, &[5])
        .observe(2)
        .format(0)
        .payload(&b"0"[..]);
    let mut stream = Stream::new();
    stream.exchange(
        0,
        &get,
        &ack(Code::CONTENT, 1, &[5]).observe(1).format(0).payload(&b"0"[..]),
    );
    stream
        .sends(1_000, &notification)
        .asks(2_000, &register(61, &[8]), &created(61, &[8]));
    stream.sends(3_500, &notification).sends(8_500, &notification).holds();
}
