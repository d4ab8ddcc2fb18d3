//! The virtual driver: session and embedded IUT in one process, time jumps to the next deadline.

use core::time::Duration;
use std::sync::Arc;

use fotaproof_trace::Event;

use crate::session::{Input, Outcome, Output, Session, SessionConfig};
use crate::virtual_iut::VirtualIut;

/// Turns at one instant before the harness stops believing that time will go on.
const LIVELOCK: u32 = 300_000;

/// Runs a case against an embedded IUT and gives its outcome. Every event goes to `sink` in
/// order. `interrupted` is asked now and then.
pub fn run(
    config: SessionConfig,
    mut iut: VirtualIut,
    sink: &mut dyn FnMut(&Arc<Event>),
    interrupted: &dyn Fn() -> bool,
) -> Outcome {
    let mut now = Duration::ZERO;
    let mut session = Session::new(config);
    let mut turns = 0_u32;
    let mut rounds = 0_u32;
    loop {
        // everything that happens at this instant
        loop {
            let mut busy = false;
            while let Some(output) = session.poll_output() {
                busy = true;
                match output {
                    Output::Event(event) => sink(&event),
                    Output::Transmit { from, to, bytes } => iut.datagram(now, from, to, bytes),
                    Output::Iut(command) => {
                        if let Some(report) = iut.command(now, command) {
                            session.handle(now, Input::Iut(report));
                        }
                    }
                    Output::Adapter(request) => iut.request(now, *request),
                    Output::AskImageDigest => session.handle(now, Input::ImageDigest(iut.image_digest())),
                    Output::Done(outcome) => return *outcome,
                }
            }
            while let Some(input) = iut.poll_input() {
                busy = true;
                session.handle(now, input);
            }
            if !busy {
                break;
            }
            turns += 1;
            if turns > LIVELOCK {
                session.handle(now, Input::Interrupt);
            }
        }
        let next = [session.poll_deadline(), iut.poll_deadline()]
            .into_iter()
            .flatten()
            .min();
        match next {
            Some(at) if at > now => {
                now = at;
                turns = 0;
            }
            Some(_) => turns += 1,
            None => session.handle(now, Input::Interrupt),
        }
        if turns > LIVELOCK {
            session.handle(now, Input::Interrupt);
            continue;
        }
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(1024) && interrupted() {
            session.handle(now, Input::Interrupt);
            continue;
        }
        iut.handle_timeout(now);
        session.handle_timeout(now);
    }
}
