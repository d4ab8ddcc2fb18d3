//! What a device really did and has, for the judgement over a server.

use core::time::Duration;
use std::collections::BTreeMap;

use fotaproof_wire::LwPath;
use fotaproof_wire::coap::Code;

use super::script::Facts;
use super::{Device, ReceivedRecord};
use crate::firmware::Firmware;

/// What is true of a device, whatever it shows. It counts over reboots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceTruth {
    /// It runs, asleep or not.
    pub powered: bool,
    /// It hears nothing because it sleeps.
    pub asleep: bool,
    /// It believes to be registered.
    pub registered: bool,
    /// The location of the registration: `/rd/a7`.
    pub location: String,
    /// How many Registers were answered 2.01.
    pub registrations: u32,
    /// How many Updates were answered 2.04.
    pub updates: u32,
    /// The last answer to a Register, Update or De-register.
    pub last_answer: Option<Code>,
    /// State of object 5.
    pub state: u8,
    /// Update Result of object 5.
    pub result: u8,
    /// Every pair since the first boot, with the time from which it held.
    pub history: Vec<(Duration, u8, u8)>,
    /// The firmware version that runs.
    pub version: String,
    /// SHA-256 of the package that runs, hexadecimal; empty from the factory.
    pub running_sha256: String,
    /// The last package that was received whole, good or not.
    pub received: Option<ReceivedRecord>,
    /// How many packages were received whole.
    pub packages_received: u32,
    /// Bytes of a package in the flash, whole or in part.
    pub stored: u64,
    /// Executes of /5/0/2, in their order; a retransmission is no second one.
    pub executed: Vec<Executed>,
    /// How many of them there were.
    pub executes: u32,
    /// How many of them were refused.
    pub executes_refused: u32,
    /// Executes of /5/0/10.
    pub cancels: u32,
    /// Blocks of a package that were taken; a package in one datagram is one.
    pub blocks_received: u32,
    /// Packages that began to come by push.
    pub pushes_started: u32,
    /// Packages that began to come by pull.
    pub pulls_started: u32,
    /// Package URIs that were taken, the empty one left out.
    pub uri_writes: u32,
    /// All Package URIs that someone tried to write.
    pub uris: Vec<String>,
    /// NUL packages and empty URIs that were taken.
    pub resets: u32,
    /// Requests of the server; a retransmission is no second one.
    pub requests: u32,
    /// Those of them answered 4.xx or 5.xx, or with an RST.
    pub rejected: u32,
    /// When the last request came.
    pub last_request: Option<Duration>,
    /// How many times a path was read (GET), observations included.
    pub reads: BTreeMap<LwPath, u32>,
    /// What is observed just now.
    pub observed: Vec<LwPath>,
    /// How many times a path was observed.
    pub observes: BTreeMap<LwPath, u32>,
    /// How many times the device booted.
    pub boots: u32,
    /// How many installations were started.
    pub installs: u32,
}

/// An Execute of /5/0/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// When.
    pub at: Duration,
    /// State of object 5 just before.
    pub state: u8,
    /// Update Result just before.
    pub result: u8,
    /// What was answered; `None` for nothing, or an RST.
    pub answer: Option<Code>,
}

impl Device {
    /// What is true of it.
    pub fn truth(&self) -> DeviceTruth {
        let mut truth = DeviceTruth::default();
        self.refresh_truth(&mut truth);
        truth
    }

    /// Brings what was true of it up to date. With each block of a push a few counts change and nothing else: the rest
    /// keeps its memory.
    pub fn refresh_truth(&self, truth: &mut DeviceTruth) {
        fn renew<T: Clone + PartialEq>(old: &mut T, new: &T) {
            if old != new {
                old.clone_from(new);
            }
        }
        let DeviceTruth {
            powered,
            asleep,
            registered,
            location,
            registrations,
            updates,
            last_answer,
            state,
            result,
            history,
            version,
            running_sha256,
            received,
            packages_received,
            stored,
            executed,
            executes,
            executes_refused,
            cancels,
            blocks_received,
            pushes_started,
            pulls_started,
            uri_writes,
            uris,
            resets,
            requests,
            rejected,
            last_request,
            reads,
            observed,
            observes,
            boots,
            installs,
        } = truth;
        let (tally, flash, ram) = (&self.tally, &self.flash, &self.ram);
        *powered = self.is_on();
        *asleep = self.is_listening() && self.is_deaf(self.clock);
        *registered = self.is_on() && ram.registration.is_registered();
        if !ram.registration.is_at(location) {
            *location = ram.registration.location_text();
        }
        *registrations = tally.registrations;
        *updates = tally.updates;
        *last_answer = tally.last_answer;
        *state = flash.firmware.state.value() as u8;
        *result = flash.firmware.result.value() as u8;
        renew(history, &tally.history);
        renew(version, &flash.version);
        renew(running_sha256, &flash.running_digest);
        renew(received, &flash.received);
        *packages_received = tally.packages_received;
        *stored = flash.image().len() as u64;
        renew(executed, &tally.executed);
        *executes = tally.executes;
        *executes_refused = tally.executes_refused;
        *cancels = tally.cancels;
        *blocks_received = tally.blocks_received;
        *pushes_started = tally.pushes_started;
        *pulls_started = tally.pulls_started;
        *uri_writes = tally.uri_writes;
        renew(uris, &tally.uris);
        *resets = tally.resets;
        *requests = tally.requests;
        *rejected = tally.rejected;
        *last_request = tally.last_request;
        renew(reads, &tally.reads);
        if !ram.observe.paths().eq(observed.iter().copied()) {
            *observed = ram.observe.paths().collect();
        }
        renew(observes, &tally.observes);
        *boots = flash.boots;
        *installs = flash.installs;
    }

    /// Counts a request of the server and what it was answered.
    pub(super) fn count_request(
        &mut self,
        now: Duration,
        facts: &Facts,
        before: Firmware,
        observes: bool,
        answer: Option<Code>,
    ) {
        let tally = &mut self.tally;
        tally.requests += 1;
        tally.last_request = Some(now);
        if answer.is_none_or(|code| !code.is_success()) {
            tally.rejected += 1;
        }
        let Some(path) = facts.path else { return };
        match facts.method {
            Code::GET => {
                *tally.reads.entry(path).or_default() += 1;
                if observes && answer == Some(Code::CONTENT) {
                    *tally.observes.entry(path).or_default() += 1;
                }
            }
            Code::POST if path == LwPath::resource(5, 0, 2) => {
                tally.executed.push(Executed {
                    at: now,
                    state: before.state.value() as u8,
                    result: before.result.value() as u8,
                    answer,
                });
                tally.executes += 1;
                if answer != Some(Code::CHANGED) {
                    tally.executes_refused += 1;
                }
            }
            Code::POST if path == LwPath::resource(5, 0, 10) => tally.cancels += 1,
            _ => {}
        }
    }

    /// Notes a pair in the history.
    pub(super) fn record_pair(&mut self, now: Duration, pair: Firmware) {
        let entry = (now, pair.state.value() as u8, pair.result.value() as u8);
        self.tally.history.push(entry);
    }
}
