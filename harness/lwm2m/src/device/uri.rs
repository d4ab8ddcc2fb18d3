//! Package URIs: `coap://host:port/path?query` taken apart into the parts that become options (RFC 7252, 6.1 and 6.4; RFC 3986).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Port of CoAP when a URI names none (RFC 7252, 6.1).
pub(super) const COAP_PORT: u16 = 5683;

/// A CoAP URI, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoapUri {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// One Uri-Path each.
    pub path: Vec<Vec<u8>>,
    /// One Uri-Query each.
    pub query: Vec<Vec<u8>>,
}

/// The host of a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address literal; no Uri-Host is sent.
    Address(IpAddr),
    /// A name in lower case, to be resolved and sent as Uri-Host.
    Name(String),
}

/// Why a URI is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not have the form of an absolute URI with a host.
    #[error("not a URI with a scheme and a host, at byte {0}")]
    Form(usize),
    /// The scheme is one that the device has no client for.
    #[error("scheme `{0}` is not supported")]
    Scheme(String),
}

/// Takes a URI apart. `schemes` are those that are fetched over CoAP.
pub fn parse(text: &str, schemes: &[&str]) -> Result<CoapUri, UriError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(UriError::Form(0));
    };
    let scheme = scheme.to_ascii_lowercase();
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !well_formed {
        return Err(UriError::Form(0));
    }
    let start = scheme.len() + 3;
    if let Some(at) = text
        .bytes()
        .position(|byte| byte <= b' ' || byte == 0x7f || b"<>\"\\^`{|}#".contains(&byte))
    {
        return Err(UriError::Form(at));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, port) = authority(&rest[..end]).ok_or(UriError::Form(start))?;
    if !schemes.contains(&scheme.as_str()) {
        return Err(UriError::Scheme(scheme));
    }
    let (path, query) = match rest[end..].split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&rest[end..], None),
    };
    let decode_all = |text: &str, separator: char| {
        text.split(separator)
            .map(decode)
            .collect::<Option<Vec<_>>>()
            .ok_or(UriError::Form(start + end))
    };
    Ok(CoapUri {
        host,
        port,
        path: if path.len() > 1 {
            decode_all(&path[1..], '/')?
        } else {
            Vec::new()
        },
        query: query.map_or(Ok(Vec::new()), |query| decode_all(query, '&'))?,
    })
}

fn authority(text: &str) -> Option<(Host, u16)> {
    if text.contains('@') {
        return None;
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (literal, rest) = rest.split_once(']')?;
        (
            Host::Address(IpAddr::V6(literal.parse::<Ipv6Addr>().ok()?)),
            if rest.is_empty() { "" } else { rest.strip_prefix(':')? },
        )
    } else {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        let name = String::from_utf8(decode(name)?).ok()?.to_ascii_lowercase();
        if name.is_empty() {
            return None;
        }
        (
            name.parse::<Ipv4Addr>()
                .map_or(Host::Name(name), |address| Host::Address(IpAddr::V4(address))),
            port,
        )
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port = if port.is_empty() {
        COAP_PORT
    } else {
        port.parse().ok().filter(|port| *port != 0)?
    };
    Some((host, port))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let digits = rest
                .get(..2)
                .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            bytes.push(u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coap(text: &str) -> Result<CoapUri, UriError> {
        parse(text, &["coap"])
    }

    fn texts(parts: &[Vec<u8>]) -> Vec<String> {
        parts
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect()
    }

    #[test]
    fn parts_are_decoded_one_option_each() {
        let uri = coap("coap://10.0.0.1:5783/a%20b/c%2Fd/e.bin?v=2&k=a%26b").unwrap();
        assert_eq!((uri.host, uri.port), (Host::Address("10.0.0.1".parse().unwrap()), 5783));
        assert_eq!(texts(&uri.path), ["a b", "c/d", "e.bin"]);
        assert_eq!(texts(&uri.query), ["v=2", "k=a&b"]);
    }

    #[test]
    fn literals_names_and_defaults() {
        assert_eq!(
            coap("coap://[fd00::2]:5683/fw").unwrap().host,
            Host::Address("fd00::2".parse().unwrap())
        );
        assert_eq!(coap("coap://[fd00::2]/fw").unwrap().port, COAP_PORT);
        assert_eq!(coap("COAP://Host/").unwrap().host, Host::Name("host".to_owned()));
        assert_eq!(coap("coap://h").unwrap().path, Vec::<Vec<u8>>::new());
        assert_eq!(texts(&coap("coap://h/a/").unwrap().path), ["a", ""]);
        assert_eq!(texts(&coap("coap://h?q").unwrap().query), ["q"]);
    }

    #[test]
    fn form_is_judged_before_the_scheme() {
        for wrong in [
            "",
            "nonsense",
            "http://",
            "coap://:99999/x",
            "coap://h:99999/x",
            "coap://h:0/",
            "coap://h/%2",
            "coap://[::1/x",
            "coap://a b/",
            "://h/",
            "coap://u@h/",
        ] {
            assert!(matches!(coap(wrong), Err(UriError::Form(_))), "{wrong}");
        }
        assert_eq!(coap("gopher://h/fw"), Err(UriError::Scheme("gopher".to_owned())));
        assert_eq!(coap("http://h/fw"), Err(UriError::Scheme("http".to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text: String) {
            let _ = coap(&text);
            let _ = coap(&format!("coap://{text}"));
        }
    }
}
