//! One message, whatever carried it, as the report looks at it.

use fotaproof_checks::facts::Dissection;
use fotaproof_wire::coap::tcp::FrameView;
use fotaproof_wire::coap::{Code, MessageView, OptionIter, Type, option};

pub(crate) use fotaproof_checks::facts::{Facts, Target, Token, uri_hash};

/// The bytes: looked at where the facts do not say it all.
#[derive(Clone, Copy, Debug)]
enum Raw<'a> {
    Udp(MessageView<'a>),
    Tcp(FrameView<'a>),
}

/// A message, whatever carried it.
#[derive(Clone, Debug)]
pub(crate) struct Message<'a> {
    /// None over TCP.
    pub(crate) kind: Option<Type>,
    pub(crate) message_id: u16,
    pub(crate) code: Code,
    pub(crate) token: Token,
    raw: Raw<'a>,
    pub(crate) payload: &'a [u8],
    pub(crate) facts: &'a Facts,
}

impl<'a> Message<'a> {
    pub(crate) fn of_udp(view: &MessageView<'a>, read: &'a Dissection) -> Self {
        Self {
            kind: Some(read.kind),
            message_id: read.message_id,
            code: read.code,
            token: read.token,
            raw: Raw::Udp(*view),
            payload: view.payload(),
            facts: &read.facts,
        }
    }

    pub(crate) fn of_tcp(view: &FrameView<'a>, facts: &'a Facts) -> Self {
        Self {
            kind: None,
            message_id: 0,
            code: view.code(),
            token: Token::new(view.token()),
            raw: Raw::Tcp(*view),
            payload: view.payload(),
            facts,
        }
    }

    pub(crate) fn options(&self) -> OptionIter<'a> {
        match &self.raw {
            Raw::Udp(view) => view.options(),
            Raw::Tcp(view) => view.options(),
        }
    }

    /// The Uri-Path as text, cut to what a report shows.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for option in self.options().filter(|option| option.number == option::URI_PATH) {
            path.push('/');
            path.push_str(&option.text());
            if path.len() > 200 {
                break;
            }
        }
        clean(&path, 200)
    }

    /// The Location-Path as text.
    pub(crate) fn location(&self) -> Option<String> {
        let mut path = String::new();
        for option in self.options().filter(|option| option.number == option::LOCATION_PATH) {
            path.push('/');
            path.push_str(&option.text());
        }
        (!path.is_empty()).then(|| clean(&path, 200))
    }
}

/// A text of the other side, fit for a report: printable and no longer than `limit`.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let printable = text
        .chars()
        .take(limit)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut cleaned: String = printable.collect();
    if text.chars().nth(limit).is_some() {
        cleaned.push('…');
    }
    cleaned
}
