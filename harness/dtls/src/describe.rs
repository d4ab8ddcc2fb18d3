//! A datagram in words, for traces.

use crate::Alert;
use crate::handshake::{HEADER, handshake_type};
use crate::record::{self, Record, content_type};

/// The records of a datagram in words, as far as they can be read without keys: `ServerHello, ServerHelloDone`. Empty for what is no
/// DTLS. A record with a connection id hides its type and the length of its id (RFC 9146 section 4), and with it what follows.
pub fn describe(datagram: &[u8]) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut rest = datagram;
    let mut changed = false;
    loop {
        if rest.first() == Some(&content_type::TLS12_CID) && record::is_dtls(rest) {
            let name = if changed {
                "Finished with CID"
            } else {
                "record with CID"
            };
            words.push(name.to_owned());
            break;
        }
        let Some(record) = record::next(&mut rest, &|_| None) else {
            break;
        };
        changed |= record.content_type == content_type::CHANGE_CIPHER_SPEC;
        match record.content_type {
            content_type::CHANGE_CIPHER_SPEC => words.push("ChangeCipherSpec".to_owned()),
            content_type::HANDSHAKE if record.epoch() > 0 => {
                words.push(if changed { "Finished" } else { "encrypted handshake" }.to_owned());
            }
            content_type::HANDSHAKE => messages(&record, &mut words),
            content_type::ALERT => words.push(match *record.fragment {
                [level, description] if record.epoch() == 0 => Alert { level, description }.to_string(),
                _ => "encrypted alert".to_owned(),
            }),
            _ => words.push("ApplicationData".to_owned()),
        }
    }
    words.join(", ")
}

fn messages(record: &Record<'_>, words: &mut Vec<String>) {
    let mut content = record.fragment;
    while let Some((header, rest)) = content.split_at_checked(HEADER) {
        let u24 = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
        let name = match header[0] {
            handshake_type::HELLO_REQUEST => "HelloRequest",
            handshake_type::CLIENT_HELLO => "ClientHello",
            handshake_type::SERVER_HELLO => "ServerHello",
            handshake_type::HELLO_VERIFY_REQUEST => "HelloVerifyRequest",
            4 => "NewSessionTicket",
            11 => "Certificate",
            handshake_type::SERVER_KEY_EXCHANGE => "ServerKeyExchange",
            13 => "CertificateRequest",
            handshake_type::SERVER_HELLO_DONE => "ServerHelloDone",
            15 => "CertificateVerify",
            handshake_type::CLIENT_KEY_EXCHANGE => "ClientKeyExchange",
            handshake_type::FINISHED => "Finished",
            _ => "unknown handshake message",
        };
        let part = usize::try_from(u24(9)).unwrap_or(usize::MAX);
        if u24(9) == u24(1) {
            words.push(name.to_owned());
        } else {
            words.push(format!(
                "{name} (bytes {}-{} of {})",
                u24(6),
                u24(6).saturating_add(u24(9)),
                u24(1)
            ));
        }
        let Some((_, after)) = rest.split_at_checked(part) else {
            break;
        };
        content = after;
    }
}
