//! Rules on what a well-formed message says: options out of bounds, codes out of place.

use super::{Code, MessageView, OptionView, Type, option, uint};

/// A rule beyond the message format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LintRule {
    /// An option that may occur once occurs again.
    RepeatedOption,
    /// The value is shorter or longer than the option may be.
    OptionLength,
    /// A `uint` value starts with a zero byte.
    LeadingZero,
    /// A string value is not UTF-8.
    NotUtf8,
    /// A critical option that is not known here.
    UnknownCriticalOption,
    /// The class is 1, 3, 6 or 7.
    ReservedClass,
    /// The code is not registered.
    UnassignedCode,
    /// An Empty Non-confirmable message.
    EmptyNonConfirmable,
    /// A request in an Acknowledgement.
    RequestInAck,
    /// A Reset that is not Empty.
    ResetNotEmpty,
    /// The size exponent of a block option is 7.
    BlockSzx,
    /// More than one ETag in a response.
    EtagRepeated,
    /// The payload of a block with more to come does not fill it.
    BlockNotFilled,
    /// The payload is longer than its block.
    BlockOverfull,
}

impl LintRule {
    /// The clause that states the rule.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        match self {
            Self::RepeatedOption => "rfc7252/5.4.5",
            Self::OptionLength => "rfc7252/5.4.3",
            Self::LeadingZero | Self::NotUtf8 => "rfc7252/3.2",
            Self::UnknownCriticalOption => "rfc7252/5.4.1",
            Self::ReservedClass | Self::ResetNotEmpty | Self::RequestInAck => "rfc7252/4.2",
            Self::EmptyNonConfirmable => "rfc7252/4.3",
            Self::UnassignedCode => "rfc7252/12.1",
            Self::EtagRepeated => "rfc7252/5.10.6.1",
            Self::BlockSzx => "rfc7959/2.2",
            Self::BlockNotFilled | Self::BlockOverfull => "rfc7959/2.3",
        }
    }
}

impl std::fmt::Display for LintRule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::RepeatedOption => "the option may occur only once",
            Self::OptionLength => "the length of the option is out of bounds",
            Self::LeadingZero => "a uint option has no leading zero bytes",
            Self::NotUtf8 => "a string option is UTF-8",
            Self::UnknownCriticalOption => "the critical option is not known",
            Self::ReservedClass => "the code class is reserved",
            Self::UnassignedCode => "the code is not registered",
            Self::EmptyNonConfirmable => "a Non-confirmable message is not Empty",
            Self::RequestInAck => "an Acknowledgement carries a response or nothing",
            Self::ResetNotEmpty => "a Reset is Empty",
            Self::BlockSzx => "block size exponent 7 is reserved",
            Self::EtagRepeated => "a response has at most one ETag",
            Self::BlockNotFilled => "a block with more to come is filled",
            Self::BlockOverfull => "the payload is longer than its block",
        })
    }
}

/// One rule that a message breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lint {
    /// The rule.
    pub rule: LintRule,
    /// The byte of the message.
    pub offset: usize,
    /// The option, where it is about one.
    pub option: Option<u16>,
}

impl std::fmt::Display for Lint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.rule)?;
        match self.option.map(|number| (number, option::name(number))) {
            Some((_, Some(name))) => write!(formatter, ": {name}")?,
            Some((number, None)) => write!(formatter, ": option {number}")?,
            None => {}
        }
        write!(formatter, " (byte {}, {})", self.offset, self.rule.clause())
    }
}

/// Checks a message over UDP against the rules beyond its format; what breaks them, in order of the offset.
#[must_use]
pub fn lint(message: &MessageView<'_>) -> Vec<Lint> {
    let mut found = Vec::new();
    lint_code(message, &mut found);
    let mut previous = None;
    for option in message.options() {
        lint_option(message, &option, previous, &mut found);
        previous = Some(option.number);
    }
    lint_block_payload(message, &mut found);
    found
}

fn lint_code(message: &MessageView<'_>, found: &mut Vec<Lint>) {
    let code = message.code();
    let mut add = |rule, offset| {
        found.push(Lint {
            rule,
            offset,
            option: None,
        });
    };
    match message.kind() {
        Type::Non if code.is_empty() => add(LintRule::EmptyNonConfirmable, 0),
        Type::Ack if code.is_request() => add(LintRule::RequestInAck, 1),
        Type::Rst if !code.is_empty() => add(LintRule::ResetNotEmpty, 1),
        _ => {}
    }
    if matches!(code.class(), 1 | 3 | 6 | 7) {
        add(LintRule::ReservedClass, 1);
    } else if code.name() == Code::new(1, 0).name() {
        add(LintRule::UnassignedCode, 1);
    }
}

fn lint_option(message: &MessageView<'_>, view: &OptionView<'_>, previous: Option<u16>, found: &mut Vec<Lint>) {
    let number = view.number;
    let mut add = |rule, offset| {
        found.push(Lint {
            rule,
            offset,
            option: Some(number),
        });
    };
    let again = previous == Some(number);
    let Some(definition) = option::definition(number) else {
        if option::is_critical(number) {
            add(LintRule::UnknownCriticalOption, view.offset);
        }
        return;
    };
    if again && !definition.repeatable {
        add(LintRule::RepeatedOption, view.offset);
    }
    if again && number == option::ETAG && message.code().is_response() {
        add(LintRule::EtagRepeated, view.offset);
    }
    if !(definition.min_length..=definition.max_length).contains(&view.value.len()) {
        add(LintRule::OptionLength, view.offset);
        return;
    }
    match definition.format {
        option::Format::Uint if number != option::HOP_LIMIT && !uint::is_minimal(view.value) => {
            add(LintRule::LeadingZero, view.value_offset);
        }
        option::Format::String if std::str::from_utf8(view.value).is_err() => add(LintRule::NotUtf8, view.value_offset),
        _ => {}
    }
    let is_block = matches!(
        number,
        option::BLOCK1 | option::BLOCK2 | option::Q_BLOCK1 | option::Q_BLOCK2
    );
    if is_block && view.value.last().is_some_and(|byte| byte & 7 == 7) {
        add(LintRule::BlockSzx, view.value_offset + view.value.len() - 1);
    }
}

/// Block1 describes the payload of a request, Block2 that of a response (RFC 7959, 2.3).
fn lint_block_payload(message: &MessageView<'_>, found: &mut Vec<Lint>) {
    let number = if message.code().is_request() {
        option::BLOCK1
    } else {
        option::BLOCK2
    };
    if message.code().is_error() {
        return;
    }
    let Some(Ok(block)) = message.option(number).map(|option| option.block()) else {
        return;
    };
    let mut add = |rule| {
        found.push(Lint {
            rule,
            offset: message.payload_offset(),
            option: Some(number),
        });
    };
    let length = message.payload().len();
    if length > block.size() {
        add(LintRule::BlockOverfull);
    } else if block.more && length < block.size() {
        add(LintRule::BlockNotFilled);
    }
}

#[cfg(test)]
mod tests {
    use super::{LintRule, lint};
    use crate::coap::{Code, MessageView, RawMessage, Type, option};

    fn rules(message: &RawMessage) -> Vec<(LintRule, usize)> {
        let bytes = message.encode();
        lint(&MessageView::parse(&bytes).unwrap())
            .into_iter()
            .map(|lint| (lint.rule, lint.offset))
            .collect()
    }

    fn get() -> RawMessage {
        RawMessage::new(Type::Con, Code::GET, 1, &[])
    }

    #[test]
    fn clean_messages() {
        assert_eq!(
            rules(
                &get()
                    .with_option(option::URI_PATH, *b"5")
                    .with_option(option::URI_PATH, *b"0")
            ),
            []
        );
        assert_eq!(rules(&RawMessage::new(Type::Con, Code::EMPTY, 1, &[])), []);
        assert_eq!(rules(&RawMessage::new(Type::Rst, Code::EMPTY, 1, &[])), []);
        assert_eq!(
            rules(&RawMessage::new(Type::Ack, Code::CONTINUE, 1, &[]).with_option(option::BLOCK1, [0x0e])),
            []
        );
    }

    #[test]
    fn options_out_of_bounds() {
        assert_eq!(
            rules(
                &get()
                    .with_option(option::ACCEPT, [40])
                    .with_option(option::ACCEPT, [42])
            ),
            [(LintRule::RepeatedOption, 7)]
        );
        assert_eq!(rules(&get().with_option(option::ETAG, [0; 8])), []);
        assert_eq!(
            rules(&get().with_option(option::ETAG, [0; 9])),
            [(LintRule::OptionLength, 4)]
        );
        assert_eq!(
            rules(&get().with_option(option::ETAG, [])),
            [(LintRule::OptionLength, 4)]
        );
        assert_eq!(
            rules(&get().with_option(option::OBSERVE, [0])),
            [(LintRule::LeadingZero, 5)]
        );
        assert_eq!(
            rules(&get().with_option(option::URI_PATH, [0xff])),
            [(LintRule::NotUtf8, 5)]
        );
        assert_eq!(
            rules(&get().with_option(65001, [])),
            [(LintRule::UnknownCriticalOption, 4)]
        );
        assert_eq!(rules(&get().with_option(65000, [])), []);
        assert_eq!(
            rules(&get().with_option(option::BLOCK2, [0x07])),
            [(LintRule::BlockSzx, 6)]
        );
        assert_eq!(
            rules(&get().with_option(option::BLOCK2, [0, 0, 0, 0])),
            [(LintRule::OptionLength, 4)]
        );
        let content = RawMessage::new(Type::Ack, Code::CONTENT, 1, &[]);
        assert_eq!(
            rules(&content.with_option(option::ETAG, [1]).with_option(option::ETAG, [2])),
            [(LintRule::EtagRepeated, 6)]
        );
    }

    #[test]
    fn codes_out_of_place() {
        assert_eq!(
            rules(&RawMessage::new(Type::Non, Code::EMPTY, 1, &[])),
            [(LintRule::EmptyNonConfirmable, 0)]
        );
        assert_eq!(
            rules(&RawMessage::new(Type::Ack, Code::GET, 1, &[])),
            [(LintRule::RequestInAck, 1)]
        );
        assert_eq!(
            rules(&RawMessage::new(Type::Rst, Code::CONTENT, 1, &[])),
            [(LintRule::ResetNotEmpty, 1)]
        );
        assert_eq!(
            rules(&RawMessage::new(Type::Con, Code::new(1, 1), 1, &[])),
            [(LintRule::ReservedClass, 1)]
        );
        assert_eq!(
            rules(&RawMessage::new(Type::Con, Code::CSM, 1, &[])),
            [(LintRule::ReservedClass, 1)]
        );
        assert_eq!(
            rules(&RawMessage::new(Type::Con, Code::new(0, 8), 1, &[])),
            [(LintRule::UnassignedCode, 1)]
        );
    }

    #[test]
    fn blocks_and_their_payload() {
        let block = |payload: usize, value: u64| {
            let message = RawMessage::new(Type::Con, Code::PUT, 1, &[])
                .with_option(option::BLOCK1, crate::coap::uint::encode(value));
            rules(&RawMessage {
                payload: vec![1; payload],
                ..message
            })
            .into_iter()
            .map(|(rule, _)| rule)
            .collect::<Vec<_>>()
        };
        assert_eq!(block(16, 0x08), []);
        assert_eq!(block(15, 0x08), [LintRule::BlockNotFilled]);
        assert_eq!(block(17, 0x08), [LintRule::BlockOverfull]);
        assert_eq!(block(15, 0x00), []);
        assert_eq!(block(17, 0x00), [LintRule::BlockOverfull]);
    }
}
