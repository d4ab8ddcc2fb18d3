//! Push: a package written to /5/0/0, whole or in blocks (RFC 7959, 2.5; OMA registry object 5, resource 0).

use core::time::Duration;

use fotaproof_coap::blockwise::{
    Block1Receive, BlockArrival, BodyId, BodyStart, NumberEcho, ReceiveConfig, ReceiveQuirks, ReceiveStep,
};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, content_format, option};
use fotaproof_wire::{Value, content};

use super::answer::Answer;
use super::dispatch::{Incoming, PACKAGE};
use super::write::SMALL_BODY;
use super::{Device, DeviceConfig};
use crate::Defect;
use crate::defects::DefectSet;
use crate::definitions::{self, Version};
use crate::firmware::{State, Trigger, UpdateResult};

/// The package that is being pushed, and the small bodies of other writes.
#[derive(Debug)]
pub(super) struct Push {
    receive: Block1Receive,
    open: Option<Open>,
    pub(super) small: Block1Receive,
    pub(super) small_body: Vec<u8>,
    last_block_at: Duration,
    slot_leaked: bool,
    /// The body was given up; a new one has until then to begin.
    voided_until: Option<Duration>,
    /// A push was refused after Cancel: kept by a defect.
    pub(super) cancelled: bool,
}

#[derive(Debug)]
struct Open {
    body: BodyId,
    sink: Sink,
}

/// Where the bytes of a body go.
#[derive(Debug)]
enum Sink {
    /// As they come into the flash.
    Flash,
    /// Into memory, to be decoded when all of it is there.
    Memory { format: u16, bytes: Vec<u8> },
    /// Nowhere: the update failed already, and the answers of the write do not tell.
    Drain,
}

impl Push {
    pub(super) fn new(config: &DeviceConfig, defects: DefectSet) -> Self {
        let has = |defect| defects.has(defect);
        let number_bits = [(Defect::Num12Bit, 12), (Defect::Num16Bit, 16)]
            .into_iter()
            .find(|(defect, _)| has(*defect))
            .map(|(_, bits)| bits);
        let echo = if has(Defect::AckWrongNum) {
            NumberEcho::MinusOne
        } else if has(Defect::NumWraps256) {
            NumberEcho::Modulo(256)
        } else {
            NumberEcho::Same
        };
        let quirks = ReceiveQuirks {
            gap_acknowledged: has(Defect::GapAcknowledged),
            orphan_accepted: has(Defect::OrphanLastAccepted),
            offset_by_own_maximum: has(Defect::OffsetByOwnMaximum),
            echo,
            number_bits,
            first_byte_only: has(Defect::Num8Bit),
            hint_larger: has(Defect::HintLarger),
            block0_appended: has(Defect::Block0WrittenTwice),
            restart_is_duplicate: has(Defect::RestartIsDuplicate),
            unfinished_blocks_all: has(Defect::OpenBodyForEver),
            // A block of 1024 bytes is a short one of 2048.
            short_block_accepted: has(Defect::ShortBlockAppended) || has(Defect::Szx7Is2048),
            szx7_is_2048: has(Defect::Szx7Is2048),
            endpoints_mixed: has(Defect::EndpointsMixed),
            exact_multiple_waits: has(Defect::ExactMultipleWaits),
            one_byte_tail_lost: has(Defect::OneByteTailLost),
            last_block_padded: has(Defect::LastBlockPadded),
            first_size_fixed: has(Defect::FirstSizeFixed),
            smaller_refused: has(Defect::Block64Rejected).then_some(128),
            larger_ignored: has(Defect::LargeBlockDropped).then_some(1024),
        };
        let expiry = if has(Defect::BlackoutDropsBody) {
            Duration::from_secs(10)
        } else {
            config.push_timeout
        };
        let max_szx = if has(Defect::OffsetByOwnMaximum) {
            Szx::S512
        } else {
            config.largest_block
        };
        let package = ReceiveConfig {
            max_szx,
            max_body: Some(config.flash_size),
            expiry,
            quirks,
            ..ReceiveConfig::default()
        };
        let small = ReceiveConfig {
            max_szx: config.largest_block,
            max_body: Some(SMALL_BODY),
            ..ReceiveConfig::default()
        };
        Self {
            receive: Block1Receive::new(package),
            open: None,
            small: Block1Receive::new(small),
            small_body: Vec::new(),
            last_block_at: Duration::ZERO,
            slot_leaked: false,
            voided_until: None,
            cancelled: false,
        }
    }

    /// Whether a body is on its way.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Gives up the body; later blocks of it find none.
    pub(super) fn give_up(&mut self) {
        self.open = None;
        self.voided_until = None;
        self.receive.clear();
    }

    /// What still comes of the body is acknowledged and dropped.
    pub(super) fn drain(&mut self) {
        if let Some(open) = &mut self.open {
            open.sink = Sink::Drain;
        }
    }

    fn is_storing(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !matches!(open.sink, Sink::Drain))
    }
}

impl Device {
    pub(super) fn push_deadline(&self) -> Option<Duration> {
        if self.is_deaf(self.clock) {
            return None;
        }
        let push = &self.ram.push;
        let expiry = push.receive.next_expiry().map(|at| at + self.ram.script.slept());
        expiry.into_iter().chain(push.voided_until).min()
    }

    pub(super) fn push_timeout(&mut self, now: Duration) {
        if self.is_deaf(now) {
            return;
        }
        if self.ram.push.voided_until.take_if(|at| *at <= now).is_some()
            && self.flash.firmware.state == State::Downloading
        {
            self.ram.push.open = None;
            self.fail_download(now, UpdateResult::ConnectionLost);
        }
        let expired = self.ram.push.receive.expire(self.awake_time(now));
        let Some(open) = self.ram.push.open.take_if(|open| expired.contains(&open.body)) else {
            return;
        };
        if matches!(open.sink, Sink::Drain) || self.flash.firmware.state != State::Downloading {
            return;
        }
        if self.has(Defect::PartialIsDownloaded) {
            let _ = self.transition(now, Trigger::Complete);
        } else {
            self.log("push abandoned by the server");
            self.fail_download(now, UpdateResult::ConnectionLost);
        }
    }

    /// The age of a body counts only while the server can be heard.
    fn awake_time(&self, now: Duration) -> Duration {
        now.saturating_sub(self.ram.script.slept())
    }

    /// The body on its way is void: it has to begin anew with block 0, and it has as long for that as for another block.
    pub(super) fn void_body(&mut self, now: Duration) {
        if self.ram.push.open.is_some() {
            self.ram.push.receive.clear();
            self.ram.push.voided_until = Some(now + self.config.push_timeout);
        }
    }

    /// A PUT or POST on /5/0/0.
    pub(super) fn package_request(&mut self, now: Duration, request: &Incoming, code: Code) -> Answer {
        if !self.exists(&PACKAGE) {
            return Code::NOT_FOUND.into();
        }
        let empty = request.packet.payload.is_empty();
        let attributes = empty
            && request.format.is_none()
            && request.block1.is_none()
            && build::get_option(&request.packet, option::URI_QUERY).is_some();
        if attributes && code == Code::PUT {
            return self.put(now, request);
        }
        if code == Code::POST
            && (self.has(Defect::PostIsExecute) || (empty && request.format.is_none() && request.block1.is_none()))
        {
            return Code::METHOD_NOT_ALLOWED.into();
        }
        if self.config.delivery == 0
            || self.has(Defect::DeliveryLies)
            || (self.has(Defect::CancelSticks) && self.ram.push.cancelled)
        {
            return Code::METHOD_NOT_ALLOWED.into();
        }
        let Some(format) = self.package_format(request.format) else {
            return Code::UNSUPPORTED_CONTENT_FORMAT.into();
        };
        if self.has(Defect::BodySlotLeak) {
            if request.from != self.config.server && request.block1.is_some_and(|block| block.more) {
                self.ram.push.slot_leaked = true;
                return Answer::from(Code::CONTINUE).with_block1(request.block1.unwrap_or(BlockValue {
                    num: 0,
                    more: true,
                    szx: Szx::S1024,
                }));
            }
            if self.ram.push.slot_leaked {
                return Code::SERVICE_UNAVAILABLE.into();
            }
        }
        match request.block1 {
            None => self.whole_package(now, request, format),
            Some(block) => self.package_block(now, request, format, block),
        }
    }

    /// How the body is to be read; `None` for a format that cannot carry a package.
    fn package_format(&self, format: Option<u16>) -> Option<u16> {
        let format = match format {
            None if self.has(Defect::NoFormatIsText) => content_format::TEXT,
            None => content_format::OPAQUE,
            Some(format) => content::canonical(format),
        };
        match format {
            content_format::TEXT if self.has(Defect::Base64StoredRaw) => Some(content_format::OPAQUE),
            content_format::OPAQUE => Some(format),
            format if self.is_writable_format(format) => Some(format),
            _ => self.has(Defect::FormatUnchecked).then_some(content_format::OPAQUE),
        }
    }

    /// Whether a new package may begin in this state; else the code of the refusal.
    fn may_begin(&mut self, now: Duration) -> Result<(), Code> {
        match self.flash.firmware.state {
            State::Idle => Ok(()),
            State::Downloading if self.has(Defect::PushDuringPull) => {
                // The running download writes on into the same flash.
                Ok(())
            }
            State::Downloading if self.ram.pulls.is_empty() && !self.ram.push.is_storing() => {
                // A push of before a power cut that a defect kept.
                self.fail_download(now, UpdateResult::ConnectionLost);
                Ok(())
            }
            State::Downloaded if self.has(Defect::DownloadedOverwritten) => {
                self.drop_package(now);
                Ok(())
            }
            State::Updating if self.has(Defect::PushInUpdating) => {
                self.abort_install(now);
                Ok(())
            }
            State::Downloading | State::Downloaded => Err(Code::BAD_REQUEST),
            State::Updating => Err(Code::METHOD_NOT_ALLOWED),
        }
    }

    /// One byte 00 resets the object (OMA registry object 5, resource 0).
    fn is_reset(&self, payload: &[u8]) -> bool {
        match payload {
            [0] => !(self.has(Defect::NulIsPackage) && self.flash.firmware.state == State::Idle),
            [_] => self.has(Defect::AnyByteResets),
            [0, ..] => self.has(Defect::NulLedImageResets),
            _ => false,
        }
    }

    fn whole_package(&mut self, now: Duration, request: &Incoming, format: u16) -> Answer {
        let payload = request.packet.payload.as_slice();
        if self.is_reset(payload) {
            return self.reset_firmware(now).into();
        }
        if payload.is_empty() && !self.has(Defect::EmptyPackageIs2) {
            return Code::BAD_REQUEST.into();
        }
        if let Err(code) = self.may_begin(now) {
            return code.into();
        }
        let cut = if self.has(Defect::PackageCutAt128) {
            payload.len().min(128)
        } else {
            payload.len()
        };
        let Ok(bytes) = self.decode_package(format, &payload[..cut]) else {
            return Code::BAD_REQUEST.into();
        };
        self.tally.pushes_started += 1;
        self.tally.blocks_received += 1;
        self.begin_download(now);
        self.store(now, 0, &bytes);
        self.complete_download(now);
        Code::CHANGED.into()
    }

    fn package_block(&mut self, now: Duration, request: &Incoming, format: u16, block: BlockValue) -> Answer {
        let payload = request.packet.payload.as_slice();
        if payload.is_empty() && block.more && self.has(Defect::LengthUnderflow) {
            self.die("a block had no payload");
            return Answer::silent();
        }
        if block.num == 0 {
            if !block.more && self.is_reset(payload) {
                return Answer::from(self.reset_firmware(now)).with_block1(block);
            }
            if block.more && payload.first() == Some(&0) && self.has(Defect::NulLedImageResets) {
                return Answer::from(self.reset_firmware(now)).with_block1(block);
            }
            if payload.is_empty() && !block.more && !self.has(Defect::EmptyPackageIs2) {
                return Answer::from(Code::BAD_REQUEST).with_block1(block);
            }
            if !self.ram.push.is_open()
                && let Err(code) = self.may_begin(now)
            {
                return code.into();
            }
        }
        let late = now.saturating_sub(self.ram.push.last_block_at) > Duration::from_secs(2);
        self.ram.push.last_block_at = now;
        if self.has(Defect::LastNeedsTimer) && late && block.num > 0 && !block.more {
            return Code::REQUEST_ENTITY_INCOMPLETE.into();
        }
        let size1 = build::get_uint(&request.packet, option::SIZE1);
        let arrival = BlockArrival {
            from: request.from,
            request_tag: build::get_option(&request.packet, option::REQUEST_TAG),
            block,
            payload_len: payload.len(),
            size1,
        };
        let step = self.ram.push.receive.on_block(self.awake_time(now), &arrival);
        match step {
            ReceiveStep::Continue {
                body,
                start,
                offset,
                len,
                answer,
            } => {
                let delay = self.take_block(now, body, start, format, offset, len, payload);
                Answer {
                    delay,
                    ..Answer::from(Code::CONTINUE).with_block1(answer)
                }
            }
            ReceiveStep::Complete {
                body,
                start,
                offset,
                len,
                answer,
                ..
            } => {
                let delay = self.take_block(now, body, start, format, offset, len, payload);
                let code = self.end_body(now);
                Answer {
                    delay,
                    ..Answer::from(code).with_block1(answer)
                }
            }
            ReceiveStep::Silent => Answer::silent(),
            step => {
                let code = step.code().unwrap_or(Code::BAD_REQUEST);
                if let ReceiveStep::TooLarge { limit, dropped, .. } = step {
                    self.refuse_too_large(now, dropped);
                    let size1 = limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
                    return Answer {
                        size1,
                        block1: step.answer(),
                        ..code.into()
                    };
                }
                if let ReceiveStep::Bad {
                    dropped: Some(body),
                    reason,
                } = step
                    && self
                        .ram
                        .push
                        .open
                        .take_if(|open| open.body == body)
                        .is_some_and(|open| !matches!(open.sink, Sink::Drain))
                {
                    self.log(format!("push given up: {reason}"));
                    self.fail_download(now, UpdateResult::ConnectionLost);
                }
                if matches!(step, ReceiveStep::Duplicate { .. })
                    && self.has(Defect::SlowBlockLost)
                    && !self.ram.pending.is_empty()
                {
                    self.flash
                        .truncate(self.flash.image().len().saturating_sub(block.size()));
                }
                Answer {
                    block1: step.answer(),
                    ..code.into()
                }
            }
        }
    }

    fn refuse_too_large(&mut self, now: Duration, dropped: Option<BodyId>) {
        let known = self.ram.push.open.take_if(|open| Some(open.body) == dropped);
        let drained = known.as_ref().is_some_and(|open| matches!(open.sink, Sink::Drain));
        if !drained
            && matches!(self.flash.firmware.state, State::Idle | State::Downloading)
            && self.ram.pulls.is_empty()
        {
            self.fail_download(now, UpdateResult::NoFlash);
        }
    }

    /// Stores a block; how long the flash is busy with it.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one step of the block-wise machine"
    )]
    fn take_block(
        &mut self,
        now: Duration,
        body: BodyId,
        start: BodyStart,
        format: u16,
        offset: u64,
        len: u64,
        payload: &[u8],
    ) -> Duration {
        self.tally.blocks_received += 1;
        if start != BodyStart::No {
            self.tally.pushes_started += 1;
            self.ram.push.voided_until = None;
            self.begin_body(now, body, format);
        }
        let mut bytes = payload.to_vec();
        bytes.resize(len as usize, 0);
        let limit = self.config.ram_size;
        let stores = self.flash.firmware.state == State::Downloading || self.goes_on_after_cancel();
        match self.ram.push.open.as_mut().map(|open| &mut open.sink) {
            Some(Sink::Flash) if stores => {
                self.store(now, offset, &bytes);
                return self.flash_delay(offset);
            }
            Some(Sink::Memory { bytes: memory, .. }) => {
                memory.extend_from_slice(&bytes);
                if memory.len() > limit {
                    self.fail_download(now, UpdateResult::NoRam);
                }
            }
            _ => {}
        }
        Duration::ZERO
    }

    fn begin_body(&mut self, now: Duration, body: BodyId, format: u16) {
        let raw = format == content_format::OPAQUE;
        let sink = if raw {
            Sink::Flash
        } else {
            Sink::Memory {
                format,
                bytes: Vec::new(),
            }
        };
        self.ram.push.open = Some(Open { body, sink });
        if self.flash.firmware.state == State::Downloading && self.ram.pulls.is_empty() {
            // The same endpoint begins anew: the unfinished body is void.
            self.restart_download(now);
        } else if self.flash.firmware.state != State::Downloading {
            self.begin_download(now);
        }
    }

    /// The body is complete: its outcome shows in Update Result only, unless it cannot be decoded at all.
    fn end_body(&mut self, now: Duration) -> Code {
        let Some(Open { sink, .. }) = self.ram.push.open.take() else {
            return Code::CHANGED;
        };
        match sink {
            Sink::Drain => return Code::CHANGED,
            Sink::Flash => {}
            Sink::Memory { format, bytes } => match self.decode_package(format, &bytes) {
                Ok(bytes) => self.store(now, 0, &bytes),
                Err(code) => {
                    self.fail_download(now, UpdateResult::Integrity);
                    return code;
                }
            },
        }
        if self.flash.firmware.state == State::Downloading || self.goes_on_after_cancel() {
            self.complete_download(now);
        }
        Code::CHANGED
    }

    /// The package out of a body of that format.
    fn decode_package(&self, format: u16, body: &[u8]) -> Result<Vec<u8>, Code> {
        if format == content_format::OPAQUE {
            return Ok(body.to_vec());
        }
        if self.has(Defect::TlvPerBlock) && format == content_format::TLV {
            // What is left of a TLV body when each block of 512 bytes is taken for one of its own.
            return Ok(body
                .chunks(512)
                .flat_map(|block| block.iter().skip(4))
                .copied()
                .collect());
        }
        let versions = definitions::Versions::of(self.config.lwm2m.max(Version::V1_0)).with(5, self.config.object5);
        let values = content::decode(format, &PACKAGE, body, &|path| {
            definitions::resource_type(path, &versions)
        })
        .map_err(|_| Code::BAD_REQUEST)?;
        match values.as_slice() {
            [(path, Value::Opaque(bytes))] if *path == PACKAGE => Ok(bytes.clone()),
            _ => Err(Code::BAD_REQUEST),
        }
    }
}
