//! Pull: a package fetched from a Package URI, from the server or from a file server of its own (RFC 7959, 2.4; OMA registry object 5, resource 1).

use core::net::SocketAddr;
use core::time::Duration;

use coap_lite::Packet;
use fotaproof_coap::blockwise::{
    Block2Fetch, FetchConfig, FetchFailure, FetchQuirks, FetchResponse, FetchStep, block_option,
};
use fotaproof_coap::{Endpoint, Event, ExchangeId, Request};
use fotaproof_wire::coap::{Code, Szx, build, option};

use super::register::request;
use super::uri::{CoapUri, Host};
use super::{Device, DeviceOutput, PullRecord, SocketId};
use crate::Defect;
use crate::firmware::{State, UpdateResult};
use crate::package;

/// A block of more than 512 bytes that is not answered within this time is asked for in a smaller size: the path may not carry it (RFC 7252, 4.6).
const ADAPT_AFTER: Duration = Duration::from_secs(10);
/// How often a repository may say that it is busy.
const BUSY_LIMIT: u32 = 5;
/// Max-Age of a 5.03 that has none (RFC 7252, 5.10.5) would be 60 s; a device does not wait longer than that.
const BUSY_PAUSE: u64 = 60;

/// A pull that is to begin.
#[derive(Clone, Debug)]
pub(super) struct PullStart {
    pub(super) uri: CoapUri,
    pub(super) target: SocketAddr,
    /// A second one beside the first: what only a defect starts.
    pub(super) shadow: bool,
}

/// A pull.
#[derive(Debug)]
pub(super) struct Pull {
    id: u32,
    start: PullStart,
    /// Its own socket, when the file is not on the server.
    own: Option<Box<(SocketId, Endpoint)>>,
    fetch: Block2Fetch,
    exchange: Option<ExchangeId>,
    retry_at: Option<Duration>,
    adapt_at: Option<Duration>,
    busy: u32,
}

impl Pull {
    pub(super) fn own_socket(&self) -> Option<SocketId> {
        self.own.as_ref().map(|own| own.0)
    }

    pub(super) fn own_endpoint(&mut self, socket: SocketId) -> Option<&mut Endpoint> {
        self.own
            .as_deref_mut()
            .filter(|own| own.0 == socket)
            .map(|own| &mut own.1)
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if let Some(own) = &mut self.own {
            own.1.handle_timeout(now);
        }
    }

    pub(super) fn poll_deadline(&self) -> Option<Duration> {
        let own = self.own.as_ref().and_then(|own| own.1.poll_deadline());
        [own, self.retry_at, self.adapt_at].into_iter().flatten().min()
    }

    pub(super) fn poll_event(&mut self) -> Option<(u32, Event)> {
        Some((self.id, self.own.as_mut()?.1.poll_event()?))
    }

    pub(super) fn poll_transmit(&mut self) -> Option<DeviceOutput> {
        let (socket, endpoint) = self.own.as_deref_mut()?;
        let transmit = endpoint.poll_transmit()?;
        Some(DeviceOutput::Transmit {
            socket: *socket,
            to: transmit.to,
            bytes: transmit.bytes,
        })
    }
}

impl Device {
    pub(super) fn start_pull(&mut self, now: Duration, start: PullStart) {
        let fetch = Block2Fetch::new(self.fetch_config());
        self.tally.pulls_started += 1;
        if self.flash.firmware.state == State::Downloading && !start.shadow {
            self.flash.pull = Some(PullRecord {
                uri: self.flash.uri.clone(),
                etag: String::new(),
                szx: self.config.pull_block.exponent(),
            });
            self.flash.touch();
        }
        let separate = start.target != self.config.server;
        self.begin_pull(now, start, fetch);
        if separate && self.has(Defect::PullMovesRegistration) {
            self.move_registration(now);
        }
    }

    fn begin_pull(&mut self, now: Duration, start: PullStart, fetch: Block2Fetch) {
        self.log(format!("pull from {}", start.target));
        let own = (start.target != self.config.server).then(|| {
            let socket = self.open_socket();
            Box::new((socket, super::endpoint(&self.config, self.flash.boots, socket)))
        });
        self.ram.update.by_pull |= !start.shadow;
        let id = self.next_socket.wrapping_add(self.ram.pulls.len() as u32);
        self.ram.pulls.push(Pull {
            id,
            start,
            own,
            fetch,
            exchange: None,
            retry_at: None,
            adapt_at: None,
            busy: 0,
        });
        let last = self.ram.pulls.len() - 1;
        self.ask(now, last);
    }

    fn fetch_config(&self) -> FetchConfig {
        let has = |defect| self.has(defect);
        let number_bits = [(Defect::Num12Bit, 12), (Defect::Num16Bit, 16)]
            .into_iter()
            .find(|(defect, _)| has(*defect))
            .map(|(_, bits)| bits);
        let early = if has(Defect::SmallestBlockAlways) {
            Szx::S16
        } else if has(Defect::ShrinkMakesHole) || has(Defect::SameSizeForEver) {
            Szx::S1024
        } else {
            self.config.pull_block
        };
        FetchConfig {
            early: self.config.early_block.then_some(early),
            max_szx: if self.config.early_block {
                Szx::S1024
            } else {
                self.config.pull_block
            },
            max_body: Some(self.config.flash_size),
            quirks: FetchQuirks {
                number_not_rescaled: has(Defect::NumNotRescaled),
                smaller_ignored: has(Defect::SmallSzxIgnored),
                number_unchecked: has(Defect::NumUnchecked),
                etag_ignored: has(Defect::EtagChangeIgnored) || !self.config.etag_check,
                endless_same: has(Defect::EndlessSameBlock),
                exact_multiple_waits: has(Defect::ExactMultipleWaits),
                valid_is_block: has(Defect::ValidIsBlock),
                error_is_block: has(Defect::ErrorPayloadAppended),
                needs_block2: has(Defect::NeedsBlock2),
                stale_aborts: has(Defect::StaleBlockAborts),
                grows_to: has(Defect::GetGrows).then_some(Szx::S512),
                twice: has(Defect::DoubleGet),
                resume_too_far: has(Defect::ResumeWrongOffset),
                reduce_skips: has(Defect::ShrinkMakesHole),
                number_bits,
            },
            ..FetchConfig::default()
        }
    }

    pub(super) fn can_resume_pull(&self) -> bool {
        self.config.resume
            && self
                .flash
                .pull
                .as_ref()
                .is_some_and(|record| self.judge_uri(&record.uri).is_ok())
    }

    /// After a power cut: from where the image ends if the file has an ETag to know it by, else from the beginning.
    pub(super) fn resume_pull(&mut self, now: Duration) {
        let Some(record) = self.flash.pull.clone() else { return };
        let Ok(start) = self.judge_uri(&record.uri) else { return };
        let etag = (0..record.etag.len() / 2)
            .map(|at| u8::from_str_radix(&record.etag[at * 2..at * 2 + 2], 16))
            .collect::<Result<Vec<u8>, _>>()
            .unwrap_or_default();
        let szx = Szx::new(record.szx).unwrap_or(self.config.pull_block);
        let mut config = self.fetch_config();
        let known = !etag.is_empty();
        config.quirks.etag_ignored |= self.has(Defect::ResumeWithoutEtag);
        let stored = self.flash.image().len() / szx.size() * szx.size();
        let fetch = if known || self.has(Defect::ResumeWithoutEtag) {
            self.flash.truncate(stored);
            Block2Fetch::resume(config, stored as u64, szx, known.then_some(etag.as_slice()))
        } else {
            self.restart_download(now);
            Block2Fetch::new(config)
        };
        self.log(format!("pull resumed at byte {}", fetch.received()));
        self.begin_pull(now, start, fetch);
    }

    pub(super) fn end_pulls(&mut self) {
        self.flush();
        for pull in core::mem::take(&mut self.ram.pulls) {
            self.end_pull(pull);
        }
    }

    fn end_pull(&mut self, pull: Pull) {
        match (pull.own_socket(), pull.exchange) {
            (Some(socket), _) => self.close_socket(socket),
            (None, Some(exchange)) => self.ram.endpoint.cancel(exchange),
            (None, None) => {}
        }
    }

    fn remove_pull(&mut self, index: usize) {
        self.flush();
        let pull = self.ram.pulls.remove(index);
        self.end_pull(pull);
    }

    /// Sends the GET of the block that is due.
    fn ask(&mut self, now: Duration, index: usize) {
        let query_dropped = self.has(Defect::QueryDropped);
        let pull = &mut self.ram.pulls[index];
        let Some(wanted) = pull.fetch.next_request() else {
            return;
        };
        let mut packet = request(Code::GET, &pull.start.uri.path);
        if let Host::Name(name) = &pull.start.uri.host {
            build::set_option(&mut packet, option::URI_HOST, name.clone().into_bytes());
        }
        for part in pull.start.uri.query.iter().filter(|_| !query_dropped) {
            build::add_option(&mut packet, option::URI_QUERY, part.clone());
        }
        if let Some(block) = wanted.block2 {
            build::set_block2(&mut packet, block);
            pull.adapt_at = (block.szx > Szx::S512).then_some(now + ADAPT_AFTER);
        }
        pull.retry_at = None;
        let endpoint = pull.own.as_mut().map_or(&mut self.ram.endpoint, |own| &mut own.1);
        pull.exchange = Some(endpoint.request(now, pull.start.target, Request::confirmable(packet)));
    }

    pub(super) fn pull_timeout(&mut self, now: Duration) {
        for index in (0..self.ram.pulls.len()).rev() {
            let pull = &mut self.ram.pulls[index];
            if pull.retry_at.is_some_and(|at| at <= now) {
                self.ask(now, index);
            } else if pull.adapt_at.is_some_and(|at| at <= now) {
                pull.adapt_at = None;
                if self.defects.has(Defect::SameSizeForEver) {
                    continue;
                }
                let endpoint = pull.own.as_mut().map_or(&mut self.ram.endpoint, |own| &mut own.1);
                if let Some(exchange) = pull.exchange {
                    endpoint.cancel(exchange);
                }
                pull.fetch.reduce(Szx::S512);
                self.ask(now, index);
            }
        }
    }

    pub(super) fn on_pull_event(&mut self, now: Duration, id: u32, event: Event) {
        match event {
            Event::Response { exchange, packet, .. } => {
                if let Some(index) = self
                    .ram
                    .pulls
                    .iter()
                    .position(|pull| pull.id == id && pull.exchange == Some(exchange))
                {
                    self.on_block(now, index, &packet);
                }
            }
            Event::Failed { exchange, .. } => {
                if let Some(index) = self
                    .ram
                    .pulls
                    .iter()
                    .position(|pull| pull.id == id && pull.exchange == Some(exchange))
                {
                    self.on_lost(now, index);
                }
            }
            Event::DuplicateResponse { packet, .. } | Event::Unmatched { packet, .. } => {
                self.on_stale_response(now, &packet);
            }
            // Nobody has anything to ask at this socket.
            Event::Request { id: request, .. } => {
                if let Some(own) = self
                    .ram
                    .pulls
                    .iter_mut()
                    .find(|pull| pull.id == id)
                    .and_then(|pull| pull.own.as_mut())
                {
                    let mut packet = Packet::new();
                    packet.header.code = Code::UNAUTHORIZED.into();
                    own.1.respond(now, request, packet);
                }
            }
            _ => {}
        }
    }

    /// A response at the main socket.
    pub(super) fn on_pull_response(&mut self, now: Duration, exchange: ExchangeId, packet: &Packet) {
        if let Some(index) = self
            .ram
            .pulls
            .iter()
            .position(|pull| pull.own.is_none() && pull.exchange == Some(exchange))
        {
            self.on_block(now, index, packet);
        }
    }

    /// An exchange of the main socket that came to nothing.
    pub(super) fn on_pull_failed(&mut self, now: Duration, exchange: ExchangeId) {
        if let Some(index) = self
            .ram
            .pulls
            .iter()
            .position(|pull| pull.own.is_none() && pull.exchange == Some(exchange))
        {
            self.on_lost(now, index);
        }
    }

    /// A response that came late or twice; only defects make anything of it.
    pub(super) fn on_stale_response(&mut self, now: Duration, packet: &Packet) {
        if self.ram.pulls.is_empty() || Code::from(packet.header.code) != Code::CONTENT {
            return;
        }
        if self.has(Defect::StaleBlockAborts) {
            self.fail_download(now, UpdateResult::ConnectionLost);
        } else if self.has(Defect::LateAnswerAppended) {
            self.flash.append(&packet.payload);
        }
    }

    fn on_block(&mut self, now: Duration, index: usize, packet: &Packet) {
        let defects = self.defects;
        let pull = &mut self.ram.pulls[index];
        (pull.exchange, pull.adapt_at) = (None, None);
        let code = Code::from(packet.header.code);
        if code == Code::SERVICE_UNAVAILABLE && pull.busy < BUSY_LIMIT && !defects.has(Defect::ErrorPayloadAppended) {
            pull.busy += 1;
            let pause = build::get_uint(packet, option::MAX_AGE)
                .unwrap_or(BUSY_PAUSE)
                .clamp(1, BUSY_PAUSE);
            pull.retry_at = Some(now + Duration::from_secs(pause));
            return;
        }
        let response = FetchResponse {
            code,
            block2: block_option(packet, option::BLOCK2),
            etag: build::get_option(packet, option::ETAG),
            payload_len: packet.payload.len(),
            size2: build::get_uint(packet, option::SIZE2),
        };
        let step = pull.fetch.on_response(&response);
        if pull.start.shadow {
            // The bytes of a second download go nowhere.
            return match step {
                FetchStep::Store { done: false, .. } | FetchStep::Again | FetchStep::Restart => self.ask(now, index),
                _ => self.remove_pull(index),
            };
        }
        match step {
            FetchStep::Store { offset, done, .. } => self.on_stored(now, index, offset, done, packet),
            FetchStep::Again => self.ask(now, index),
            FetchStep::Restart => {
                self.log("the file changed, pull begins anew");
                self.restart_download(now);
                self.remember(index);
                self.ask(now, index);
            }
            FetchStep::Ignore => {}
            FetchStep::Failed(failure) => {
                self.log(format!("pull failed: {failure}"));
                self.fail_download(now, result_of(failure));
                self.end_pulls();
            }
        }
    }

    fn on_stored(&mut self, now: Duration, index: usize, offset: u64, done: bool, packet: &Packet) {
        if self.flash.firmware.state == State::Idle && self.has(Defect::ResetThenDownloaded) {
            self.set_firmware(
                now,
                crate::firmware::Firmware::new(State::Downloading, UpdateResult::Initial),
            );
        }
        let mut payload = packet.payload.as_slice();
        if done && payload.len() == 1 && self.has(Defect::OneByteTailLost) {
            payload = &[];
        }
        if self.flash.firmware.state == State::Downloading {
            // A body put together wrong by a defect is appended, as a device that does not count would.
            let end = self.flash.image().len() as u64;
            let appends = [
                Defect::NumUnchecked,
                Defect::ErrorPayloadAppended,
                Defect::LateAnswerAppended,
            ];
            let at = if appends.into_iter().any(|defect| self.has(defect)) {
                end
            } else {
                offset
            };
            self.store(now, at, payload);
        }
        // The header may have ended it.
        let Some(pull) = self.ram.pulls.get(index) else { return };
        if pull.fetch.is_finished() {
            self.remove_pull(index);
            if done {
                self.complete_download(now);
            }
            return;
        }
        self.remember(index);
        self.ask(now, index);
    }

    /// What a power cut must not take: the ETag and the block size.
    fn remember(&mut self, index: usize) {
        let fetch = &self.ram.pulls[index].fetch;
        let (etag, szx) = (
            package::hex(fetch.etag().unwrap_or_default()),
            fetch.szx().unwrap_or(self.config.pull_block).exponent(),
        );
        if let Some(record) = self
            .flash
            .pull
            .as_mut()
            .filter(|record| record.etag != etag || record.szx != szx)
        {
            (record.etag, record.szx) = (etag, szx);
            self.flash.touch();
        }
    }

    fn on_lost(&mut self, now: Duration, index: usize) {
        self.ram.pulls[index].exchange = None;
        if self.ram.pulls[index].start.shadow {
            return self.remove_pull(index);
        }
        if self.has(Defect::SilentStall) {
            return;
        }
        if self.has(Defect::SameSizeForEver) {
            return self.ask(now, index);
        }
        self.log("pull failed: no answer");
        self.fail_download(now, UpdateResult::ConnectionLost);
        if self.has(Defect::BlackoutLocksUp) {
            self.die("its download timed out");
        }
    }
}

fn result_of(failure: FetchFailure) -> UpdateResult {
    match failure {
        FetchFailure::Code(code) if code.class() == 4 && code != Code::REQUEST_ENTITY_INCOMPLETE => {
            UpdateResult::InvalidUri
        }
        FetchFailure::TooLarge { .. } => UpdateResult::NoFlash,
        FetchFailure::KeepsChanging => UpdateResult::Integrity,
        _ => UpdateResult::ConnectionLost,
    }
}
