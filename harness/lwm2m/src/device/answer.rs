//! The answer to a request, before it becomes a message.

use core::time::Duration;

use coap_lite::Packet;
use fotaproof_wire::coap::{BlockValue, Code, build, option};

/// What to answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) code: Code,
    pub(super) format: Option<u16>,
    pub(super) payload: Vec<u8>,
    pub(super) block1: Option<BlockValue>,
    pub(super) block2: Option<BlockValue>,
    pub(super) size1: Option<u32>,
    pub(super) max_age: Option<u32>,
    pub(super) etag: Option<[u8; 4]>,
    pub(super) observe: Option<u32>,
    /// How long the flash is busy before it can be sent.
    pub(super) delay: Duration,
    /// Not to be answered at all.
    pub(super) silent: bool,
}

impl From<Code> for Answer {
    fn from(code: Code) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }
}

impl Answer {
    pub(super) fn content(format: u16, payload: Vec<u8>) -> Self {
        Self {
            code: Code::CONTENT,
            format: Some(format),
            payload,
            ..Self::default()
        }
    }

    pub(super) fn silent() -> Self {
        Self {
            silent: true,
            ..Self::default()
        }
    }

    pub(super) fn with_block1(mut self, block: BlockValue) -> Self {
        self.block1 = Some(block);
        self
    }

    pub(super) fn packet(&self) -> Packet {
        let mut packet = Packet::new();
        packet.header.code = self.code.into();
        if let Some(etag) = self.etag {
            build::set_etag(&mut packet, &etag);
        }
        if let Some(observe) = self.observe {
            build::set_observe(&mut packet, observe);
        }
        if let Some(format) = self.format {
            build::set_content_format(&mut packet, format);
        }
        if let Some(seconds) = self.max_age {
            build::set_uint(&mut packet, option::MAX_AGE, seconds.into());
        }
        if let Some(block) = self.block2 {
            build::set_block2(&mut packet, block);
        }
        if let Some(block) = self.block1 {
            build::set_block1(&mut packet, block);
        }
        if let Some(size) = self.size1 {
            build::set_size1(&mut packet, size);
        }
        packet.payload.clone_from(&self.payload);
        packet
    }
}
