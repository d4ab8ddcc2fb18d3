//! Operations on several resources at once, and messages that are delivered once more.

use std::collections::BTreeMap;

use fotaproof_cases::ast::{Payload, Replay, Step};
use fotaproof_wire::coap::content_format as format;
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::distances::is_other;
use super::goals::Act;
use super::stimuli::Unable;
use super::{Session, messages};

impl Session {
    /// Values as a case writes them, by path.
    pub(super) fn typed_values(&self, values: &BTreeMap<String, Payload>) -> Result<Vec<(LwPath, Value)>, Unable> {
        values
            .iter()
            .map(|(path, payload)| {
                let value = match (payload.integer, payload.boolean, &payload.text) {
                    (Some(number), ..) => Value::Integer(number),
                    (None, Some(boolean), _) => Value::Boolean(boolean),
                    (None, None, Some(text)) => Value::String(self.filled(text)?),
                    (None, None, None) => Value::Opaque(self.payload(payload)?),
                };
                Ok((Self::lwm2m_path(path)?, value))
            })
            .collect()
    }

    /// Read-Composite, Observe-Composite, Write-Composite (Core).
    pub(super) fn begin_composite(&mut self, step: &Step) -> Result<Option<Act>, Unable> {
        let now = self.now;
        let number = step.accept.map_or(format::SENML_CBOR, |format| format.0);
        let paths = |all: &[fotaproof_cases::ast::Path]| {
            all.iter()
                .map(|path| Self::lwm2m_path(&path.0))
                .collect::<Result<Vec<_>, _>>()
        };
        let op = if let Some(all) = &step.read_composite {
            self.world.server.read_composite(now, &paths(&all.value)?, number)
        } else if let Some(all) = &step.observe_composite {
            let op = self.world.server.observe_composite(now, &paths(&all.value)?, number);
            if let Ok(op) = &op {
                self.facts.observations.insert(LwPath::ROOT, *op);
            }
            op
        } else if let Some(write) = &step.write_composite {
            let number = write.value.format.map_or(format::SENML_CBOR, |format| format.0);
            let values = self.typed_values(&write.value.values)?;
            self.world.server.write_composite(now, &values, number)
        } else {
            return Ok(None);
        };
        op.map(|op| Some(Act::op(op)))
            .map_err(|error| format!("this cannot be asked in that format: {error}"))
    }

    /// Delivers a message that the IUT received before once more.
    pub(super) fn begin_replay(&mut self, replay: &Replay) -> Result<Act, Unable> {
        let mut select = replay.select.clone();
        select.from.get_or_insert(fotaproof_cases::ast::Party::Server);
        if !is_other(select.from.as_ref()) {
            return Err("only what the IUT received can be delivered to it once more".to_owned());
        }
        let found = {
            let mut all = self.facts.log.matching(0, &select, &self.config.addresses);
            let one = if replay.first == Some(true) {
                all.next()
            } else {
                all.last()
            };
            one.map(|seen| (seen.src, seen.dst, seen.payload.clone()))
        };
        let (from, to, bytes) = found.ok_or_else(|| format!("the IUT received no {}", messages::words(&select)))?;
        let view = fotaproof_wire::coap::MessageView::parse(&bytes).map_err(|error| error.to_string())?;
        let (id, token) = (view.message_id(), view.token().to_vec());
        match replay.listen {
            Some(listen) => self.begin_datagram(from, Some(to), bytes, Some(id), token, listen.0, false),
            None => {
                self.world.send_past(self.now, from, to, bytes, false);
                Ok(Act::Nothing)
            }
        }
    }
}
