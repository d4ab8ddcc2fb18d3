//! Reading what is not well formed, for quirks alone: a malformed datagram becomes the message a careless parser would see.

use coap_lite::{CoapOption, MessageClass, Packet};
use fotaproof_wire::coap::{MessageView, encode, option, peek_header};

use crate::{BareMarker, Config, Quirks};

/// The datagram as a well-formed one, if the quirks let it pass.
pub(super) fn repair(bytes: &[u8], quirks: &Quirks) -> Option<Vec<u8>> {
    let (version, kind, token_length, code, message_id) = peek_header(bytes)?;
    let token_end = 4 + usize::from(token_length);
    if (version != 1 && !quirks.version_unchecked)
        || ((token_length > 8 || token_end > bytes.len()) && !quirks.token_length_unchecked)
    {
        return None;
    }
    let token = &bytes[4..token_end.min(bytes.len())];
    let mut packet = Packet::new();
    packet.header.set_type(kind.into());
    packet.header.code = MessageClass::from(code);
    packet.header.message_id = message_id;
    packet.set_token(token[..token.len().min(8)].to_vec());
    let rest = bytes.get(token_end..).unwrap_or_default();
    packet.payload = read_options(rest, quirks, &mut packet)?;
    encode(&packet).ok()
}

/// Fills in the options and gives the payload.
fn read_options(mut rest: &[u8], quirks: &Quirks, packet: &mut Packet) -> Option<Vec<u8>> {
    let mut number = 0_usize;
    while let Some((&head, after)) = rest.split_first() {
        if head == 0xff {
            return match (after, quirks.bare_marker) {
                ([], BareMarker::Reject) => None,
                ([], BareMarker::Empty) => Some(Vec::new()),
                ([], BareMarker::Nul) => Some(vec![0]),
                (payload, _) => Some(payload.to_vec()),
            };
        }
        rest = after;
        let parts = extended(&mut rest, head >> 4).and_then(|delta| Some((delta, extended(&mut rest, head & 15)?)));
        let Some((delta, length)) = parts else {
            return quirks.option_overrun.then(Vec::new);
        };
        number += delta;
        if (length > rest.len() || number > usize::from(u16::MAX)) && !quirks.option_overrun {
            return None;
        }
        let (value, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        packet.add_option(CoapOption::from(number as u16), value.to_vec());
    }
    Some(Vec::new())
}

fn extended(rest: &mut &[u8], nibble: u8) -> Option<usize> {
    let extra = match nibble {
        0..=12 => return Some(usize::from(nibble)),
        13 => 1,
        14 => 2,
        _ => return None,
    };
    let (bytes, after) = rest.split_at_checked(extra)?;
    *rest = after;
    Some(match *bytes {
        [byte] => 13 + usize::from(byte),
        [high, low] => 269 + usize::from(u16::from_be_bytes([high, low])),
        _ => return None,
    })
}

/// Whether the message has an option that makes it unacceptable: critical and unknown, repeated against the rules, or of a wrong
/// length (RFC 7252, sections 5.4.1, 5.4.3 and 5.4.5).
pub(super) fn has_bad_option(message: &MessageView<'_>, config: &Config) -> bool {
    let quirks = &config.quirks;
    let mut previous = None;
    message.options().any(|view| {
        let number = view.number;
        let repeated = previous.replace(number) == Some(number);
        if quirks.option_refused == Some(number) {
            return true;
        }
        if !option::is_critical(number) {
            return false;
        }
        if !(config.known_critical)(number) {
            return !quirks.critical_ignored;
        }
        if repeated && !option::is_repeatable(number) {
            return !quirks.first_of_repeated;
        }
        option::length_bounds(number).is_some_and(|(min, max)| !(min..=max).contains(&view.value.len()))
    })
}
