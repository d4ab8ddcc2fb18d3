//! States, results and versions that a device tells, also in bodies of several blocks (RFC 7959, 2.4 and 3.4).

use fotaproof_trace::{result_name, state_name};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code};

use super::{Device, Seen};
use crate::facts::Message;

/// Bodies that are put together at a time.
const BODIES: usize = 4;
/// The longest body that is put together; what is decoded is no longer.
const LONGEST: usize = 8192;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The value of a path, asked for or notified: the blocks after the first are asked for either way.
    Value(LwPath),
    /// The content of a Send.
    Send,
}

/// A body of which the first blocks are there.
#[derive(Debug)]
struct Body {
    source: Source,
    format: u16,
    etag: Option<u64>,
    by: &'static str,
    bytes: Vec<u8>,
}

/// The bodies under way.
#[derive(Debug, Default)]
pub(super) struct Bodies(Vec<Body>);

impl Bodies {
    /// Adds a block; gives the body when this was its last one and none is missing.
    fn add(&mut self, source: Source, block: BlockValue, message: &Message<'_>, by: &'static str) -> Option<Body> {
        let known = self.0.iter().position(|body| body.source == source);
        let at = if block.num == 0 {
            if let Some(before) = known {
                self.0.remove(before);
            } else if self.0.len() >= BODIES {
                self.0.remove(0);
            }
            self.0.push(Body {
                source,
                format: message.facts.content_format.unwrap_or_default(),
                etag: message.facts.etag,
                by,
                bytes: Vec::new(),
            });
            self.0.len() - 1
        } else {
            known?
        };
        let body = self.0.get_mut(at)?;
        let held = body.bytes.len() as u64;
        if block.offset() < held {
            // A block once more.
            return None;
        }
        let fits = block.offset() == held
            && body.etag == message.facts.etag
            && body.bytes.len() + message.payload.len() <= LONGEST;
        if !fits {
            self.0.remove(at);
            return None;
        }
        body.bytes.extend_from_slice(message.payload);
        (!block.more).then(|| self.0.remove(at))
    }
}

impl Device {
    pub(super) fn on_notification(&mut self, message: &Message<'_>, seen: &Seen) {
        if !seen.from_device || message.code != Code::CONTENT {
            return;
        }
        let Some((_, path)) = self.observations.iter().find(|(token, _)| *token == message.token) else {
            return;
        };
        let path = *path;
        self.judged.notifications += 1;
        let by = if path == LwPath::ROOT {
            "composite"
        } else {
            "notification"
        };
        self.content(path, message, by, seen);
    }

    /// A content about a path, or a block of one.
    pub(super) fn content(&mut self, path: LwPath, message: &Message<'_>, by: &'static str, seen: &Seen) {
        self.part(Source::Value(path), path, message.facts.block2, message, by, seen);
    }

    /// The content of a Send, or a block of it.
    pub(super) fn sent(&mut self, message: &Message<'_>, seen: &Seen) {
        self.part(Source::Send, LwPath::ROOT, message.facts.block1, message, "send", seen);
    }

    fn part(
        &mut self,
        source: Source,
        base: LwPath,
        block: Option<BlockValue>,
        message: &Message<'_>,
        by: &'static str,
        seen: &Seen,
    ) {
        if !matches!(base.object, None | Some(3 | 5 | 9)) {
            return;
        }
        match block.filter(|block| block.num > 0 || block.more) {
            None => {
                let format = message.facts.content_format.unwrap_or_default();
                self.values(&base, format, message.payload, by, seen);
            }
            Some(block) => {
                if let Some(body) = self.bodies.add(source, block, message, by) {
                    self.values(&base, body.format, &body.bytes, body.by, seen);
                }
            }
        }
    }

    fn values(&mut self, base: &LwPath, format: u16, payload: &[u8], by: &str, seen: &Seen) {
        let told = self
            .firmware
            .values(base, format, payload, &self.versions, by, seen.at, seen.packet);
        self.judged.states += u64::from(told.state.is_some());
        self.judged.results += u64::from(told.result.is_some());
        if !told.changed {
            return;
        }
        let mut words = Vec::new();
        if let Some(state) = told.state {
            words.push(format!("State {state} ({})", state_name(state)));
        }
        if let Some(result) = told.result {
            words.push(format!("Result {result} ({})", result_name(result)));
        }
        if let Some(version) = told.version {
            words.push(format!("firmware version {version}"));
        }
        if !words.is_empty() {
            self.tell(seen.at, seen.packet, format!("{}, by {by}", words.join(", ")));
        }
    }
}
