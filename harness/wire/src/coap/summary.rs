//! A message in one line, for ladders and journals.

use super::{Code, FormatRule, MessageView, OptionView, option, peek_header};
use crate::hex;
use std::fmt::Write as _;

/// One line for a datagram, such as `CON 0.03 PUT mid=4711 tok=a1b2 /5/0/0 B1 7/1/512 ct=42 512 B`. Bytes that are no
/// message say why.
#[must_use]
pub fn summary(bytes: &[u8]) -> String {
    match MessageView::parse(bytes) {
        Ok(message) => summary_of(&message),
        Err(error) => match peek_header(bytes) {
            Some((1, kind, _, code, id)) if error.rule != FormatRule::TooShort => {
                format!("{kind} {code} mid={id} malformed: {error}")
            }
            _ => format!("{} B malformed: {error}", bytes.len()),
        },
    }
}

/// One line for a message.
#[must_use]
pub fn summary_of(message: &MessageView<'_>) -> String {
    let code = message.code();
    let mut line = format!("{} {}", message.kind(), code);
    if !code.is_empty() {
        let _ = write!(line, " {}", code.name());
    }
    let _ = write!(line, " mid={}", message.message_id());
    if !message.token().is_empty() {
        let _ = write!(line, " tok={}", hex::encode(message.token()));
    }
    put_target(&mut line, message, code);
    // Where a transfer stands is what a reader looks for first.
    let is_block = |view: &OptionView<'_>| matches!(view.number, option::BLOCK1 | option::BLOCK2);
    for view in message.options().filter(is_block) {
        put_block(&mut line, &view);
    }
    for view in message.options().filter(|view| !is_block(view)) {
        put_option(&mut line, &view);
    }
    if !message.payload().is_empty() {
        let _ = write!(line, " {} B", message.payload().len());
    }
    line
}

fn put_target(line: &mut String, message: &MessageView<'_>, code: Code) {
    if code.is_request() {
        line.push(' ');
        line.extend(printable(&message.uri_path()));
        for (index, part) in message.uri_query().iter().enumerate() {
            line.push(if index == 0 { '?' } else { '&' });
            line.extend(printable(part));
        }
    }
    if let Some(location) = message.location_path() {
        line.push_str(" loc=");
        line.extend(printable(&location));
    }
}

/// Text from outside must not move the cursor or break the line.
fn printable(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars()
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
}

fn put_block(line: &mut String, view: &OptionView<'_>) {
    let name = if view.number == option::BLOCK1 { "B1" } else { "B2" };
    let _ = match view.block() {
        Ok(block) => write!(line, " {name} {block}"),
        Err(_) => write!(line, " {name} 0x{}", hex::encode(view.value)),
    };
}

fn put_option(line: &mut String, view: &OptionView<'_>) {
    let label = match view.number {
        option::URI_PATH | option::URI_QUERY | option::LOCATION_PATH => return,
        option::OBSERVE => "obs",
        option::CONTENT_FORMAT => "ct",
        option::ACCEPT => "accept",
        option::SIZE1 => "size1",
        option::SIZE2 => "size2",
        option::MAX_AGE => "max-age",
        option::ETAG => "etag",
        number => {
            let _ = match option::name(number) {
                Some(name) => write!(line, " {name}"),
                None => write!(line, " opt{number}"),
            };
            if !view.value.is_empty() {
                let _ = write!(line, "={}", hex::encode(&view.value[..view.value.len().min(8)]));
            }
            return;
        }
    };
    let _ = match view.uint() {
        Some(number) if view.number != option::ETAG => write!(line, " {label}={number}"),
        _ => write!(line, " {label}={}", hex::encode(view.value)),
    };
}

#[cfg(test)]
mod tests {
    use super::summary;
    use crate::coap::{Code, RawMessage, Type, option};

    #[test]
    fn lines() {
        let block = RawMessage::new(Type::Con, Code::PUT, 4711, &[0xa1, 0xb2])
            .with_option(option::URI_PATH, *b"5")
            .with_option(option::URI_PATH, *b"0")
            .with_option(option::URI_PATH, *b"0")
            .with_option(option::CONTENT_FORMAT, [42])
            .with_option(option::BLOCK1, [0x7d]);
        let register = RawMessage::new(Type::Con, Code::POST, 1, &[7])
            .with_option(option::URI_PATH, *b"rd")
            .with_option(option::URI_QUERY, *b"ep=dev\x1b")
            .with_option(option::URI_QUERY, *b"lt=60");
        let created = RawMessage::new(Type::Ack, Code::CREATED, 1, &[7])
            .with_option(option::LOCATION_PATH, *b"rd")
            .with_option(option::LOCATION_PATH, *b"0");
        let notify = RawMessage::new(Type::Non, Code::CONTENT, 9, &[8])
            .with_option(option::ETAG, [0xca, 0xfe])
            .with_option(option::OBSERVE, [2])
            .with_option(option::BLOCK2, [0x0f])
            .with_option(option::ECHO, [1])
            .with_option(65001, []);
        let lines = [
            summary(
                &RawMessage {
                    payload: vec![0; 512],
                    ..block.clone()
                }
                .encode(),
            ),
            summary(&register.encode()),
            summary(&created.encode()),
            summary(&notify.encode()),
            summary(&RawMessage::new(Type::Ack, Code::EMPTY, 2, &[]).encode()),
            summary(
                &RawMessage {
                    marker: Some(true),
                    ..block
                }
                .encode(),
            ),
            summary(&[0x40]),
            summary(&[0x80, 1, 2, 3]),
        ];
        insta::assert_snapshot!("summary_lines", lines.join("\n"));
    }
}
