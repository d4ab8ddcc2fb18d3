//! ClientHello, ServerHello and HelloVerifyRequest (RFC 5246 section 7.4.1, RFC 6347 section 4.2.1) and what they carry.

use crate::record::{VERSION, VERSION_1_0};

/// The extension encrypt_then_mac (RFC 7366).
const ENCRYPT_THEN_MAC: u16 = 22;
/// The extension extended_master_secret (RFC 7627).
const EXTENDED_MASTER_SECRET: u16 = 23;
/// The extension connection_id (RFC 9146).
const CONNECTION_ID: u16 = 54;
/// The extension renegotiation_info (RFC 5746).
const RENEGOTIATION_INFO: u16 = 0xff01;
/// The suite that says the same as an empty renegotiation_info (RFC 5746 section 3.3).
pub const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Which message.
    pub what: &'static str,
    /// Where in its body.
    pub offset: usize,
}

/// Reads a body from its start, and knows where it is.
pub(crate) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(what: &'static str, body: &'a [u8]) -> Self {
        Self {
            what,
            rest: body,
            offset: 0,
        }
    }

    const fn malformed(&self) -> Malformed {
        Malformed {
            what: self.what,
            offset: self.offset,
        }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let Some((part, after)) = self.rest.split_at_checked(length) else {
            return Err(self.malformed());
        };
        self.rest = after;
        self.offset += length;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let error = self.malformed();
        self.take(N)?.try_into().map_err(|_| error)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// A vector with its length before it, in `width` bytes.
    pub(crate) fn sized(&mut self, width: usize) -> Result<&'a [u8], Malformed> {
        let length = self
            .take(width)?
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.take(length)
    }

    /// The part with its length before it, as a reader.
    fn part(&mut self, width: usize) -> Result<Self, Malformed> {
        let rest = self.sized(width)?;
        Ok(Self {
            what: self.what,
            rest,
            offset: self.offset - rest.len(),
        })
    }

    /// Nothing may stand behind the end.
    pub(crate) const fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }
}

/// The extensions of a hello that are understood, and the numbers of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 7627.
    pub extended_master_secret: bool,
    /// RFC 7366.
    pub encrypt_then_mac: bool,
    /// The connection id that the sender wants to see (RFC 9146 section 3).
    pub connection_id: Option<Vec<u8>>,
    /// What renegotiation_info holds (RFC 5746); empty in a first handshake.
    pub renegotiation_info: Option<Vec<u8>>,
    /// The numbers of all, in order.
    pub numbers: Vec<u16>,
}

impl Extensions {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut extensions = Self::default();
        // a hello may end before them
        if reader.rest.is_empty() {
            return Ok(extensions);
        }
        let mut list = reader.part(2)?;
        reader.end()?;
        while !list.rest.is_empty() {
            let number = list.u16()?;
            let mut data = list.part(2)?;
            if extensions.numbers.contains(&number) {
                // RFC 5246 section 7.4.1.4
                return Err(data.malformed());
            }
            extensions.numbers.push(number);
            match number {
                ENCRYPT_THEN_MAC => extensions.encrypt_then_mac = true,
                EXTENDED_MASTER_SECRET => extensions.extended_master_secret = true,
                CONNECTION_ID => extensions.connection_id = Some(data.sized(1)?.to_vec()),
                RENEGOTIATION_INFO => extensions.renegotiation_info = Some(data.sized(1)?.to_vec()),
                _ => continue,
            }
            data.end()?;
        }
        Ok(extensions)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        let mut add = |number: u16, data: &[u8]| {
            list.extend_from_slice(&number.to_be_bytes());
            sized(&mut list, 2, data);
        };
        if let Some(info) = &self.renegotiation_info {
            add(RENEGOTIATION_INFO, &vector(info));
        }
        if self.encrypt_then_mac {
            add(ENCRYPT_THEN_MAC, &[]);
        }
        if self.extended_master_secret {
            add(EXTENDED_MASTER_SECRET, &[]);
        }
        if let Some(cid) = &self.connection_id {
            add(CONNECTION_ID, &vector(cid));
        }
        if !list.is_empty() {
            sized(out, 2, &list);
        }
    }

    /// The number of an answer to what the client did not offer.
    pub(crate) fn not_offered(&self, by_client: &Self) -> Option<u16> {
        let offered = |number: &u16| match *number {
            ENCRYPT_THEN_MAC => by_client.encrypt_then_mac,
            EXTENDED_MASTER_SECRET => by_client.extended_master_secret,
            CONNECTION_ID => by_client.connection_id.is_some(),
            // the client's suites hold the SCSV
            RENEGOTIATION_INFO => true,
            _ => false,
        };
        self.numbers.iter().copied().find(|number| !offered(number))
    }
}

fn sized(out: &mut Vec<u8>, width: usize, data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&length[4 - width..]);
    out.extend_from_slice(data);
}

fn vector(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sized(&mut out, 1, data);
    out
}

/// A vector with a length of two bytes, as a ClientKeyExchange and a ServerKeyExchange are (RFC 4279 section 2).
pub(crate) fn vector16(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sized(&mut out, 2, data);
    out
}

/// A ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The highest version that the client speaks.
    pub version: [u8; 2],
    /// Its random.
    pub random: [u8; 32],
    /// The session that it wants to resume.
    pub session_id: Vec<u8>,
    /// The cookie of a HelloVerifyRequest.
    pub cookie: Vec<u8>,
    /// The suites that it offers, preferred first.
    pub suites: Vec<u16>,
    /// The compression methods that it offers.
    pub compression_methods: Vec<u8>,
    /// Its extensions.
    pub extensions: Extensions,
}

impl ClientHello {
    /// Reads a body.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("ClientHello", body);
        let version = reader.array()?;
        let random = reader.array()?;
        let session_id = reader.sized(1)?.to_vec();
        let cookie = reader.sized(1)?.to_vec();
        let mut list = reader.part(2)?;
        let mut suites = Vec::new();
        while !list.rest.is_empty() {
            suites.push(list.u16()?);
        }
        Ok(Self {
            version,
            random,
            session_id,
            cookie,
            suites,
            compression_methods: reader.sized(1)?.to_vec(),
            extensions: Extensions::parse(&mut reader)?,
        })
    }

    /// Writes a body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = [&self.version[..], &self.random].concat();
        sized(&mut out, 1, &self.session_id);
        sized(&mut out, 1, &self.cookie);
        let suites: Vec<u8> = self.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        sized(&mut out, 2, &suites);
        sized(&mut out, 1, &self.compression_methods);
        self.extensions.encode(&mut out);
        out
    }
}

/// A ServerHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// The version that is spoken.
    pub version: [u8; 2],
    /// The server's random.
    pub random: [u8; 32],
    /// The session, if it can be resumed.
    pub session_id: Vec<u8>,
    /// The suite that it chose.
    pub suite: u16,
    /// The compression method that it chose.
    pub compression_method: u8,
    /// Its answers to extensions.
    pub extensions: Extensions,
}

impl ServerHello {
    /// Reads a body.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("ServerHello", body);
        Ok(Self {
            version: reader.array()?,
            random: reader.array()?,
            session_id: reader.sized(1)?.to_vec(),
            suite: reader.u16()?,
            compression_method: reader.array::<1>()?[0],
            extensions: Extensions::parse(&mut reader)?,
        })
    }

    /// Writes a body.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = [&self.version[..], &self.random].concat();
        sized(&mut out, 1, &self.session_id);
        out.extend_from_slice(&self.suite.to_be_bytes());
        out.push(self.compression_method);
        self.extensions.encode(&mut out);
        out
    }
}

/// The cookie of a HelloVerifyRequest.
///
/// # Errors
/// Where the body is none.
pub fn parse_hello_verify_request(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new("HelloVerifyRequest", body);
    // the version means nothing (RFC 6347 section 4.2.1)
    reader.take(VERSION.len())?;
    let cookie = reader.sized(1)?.to_vec();
    reader.end()?;
    Ok(cookie)
}

/// The body of a HelloVerifyRequest.
pub(crate) fn hello_verify_request(cookie: &[u8]) -> Vec<u8> {
    let mut out = VERSION_1_0.to_vec();
    sized(&mut out, 1, cookie);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_hello() -> ClientHello {
        ClientHello {
            version: VERSION,
            random: [7; 32],
            session_id: vec![1, 2],
            cookie: vec![3; 20],
            suites: vec![0xc0a8, 0x00ae, EMPTY_RENEGOTIATION_INFO_SCSV],
            compression_methods: vec![0],
            extensions: Extensions {
                extended_master_secret: true,
                encrypt_then_mac: true,
                connection_id: Some(vec![9, 8]),
                renegotiation_info: Some(Vec::new()),
                numbers: vec![0xff01, 22, 23, 54],
            },
        }
    }

    #[test]
    fn a_hello_is_read_as_it_was_written_and_every_cut_has_its_place() {
        let bytes = client_hello().encode();
        assert_eq!(ClientHello::parse(&bytes), Ok(client_hello()));
        // without extensions it is whole too
        let short = ClientHello {
            extensions: Extensions::default(),
            ..client_hello()
        }
        .encode()
        .len();
        for cut in (0..bytes.len()).filter(|cut| *cut != short) {
            let error = ClientHello::parse(&bytes[..cut]).unwrap_err();
            assert!(error.offset <= cut, "{cut}: {error:?}");
        }
    }

    #[test]
    fn an_extension_twice_is_malformed() {
        let mut bytes = ClientHello {
            extensions: Extensions::default(),
            ..client_hello()
        }
        .encode();
        let once = bytes.len();
        bytes.extend_from_slice(&[0, 4, 0, 23, 0, 0]);
        assert!(ClientHello::parse(&bytes).is_ok());
        bytes.truncate(once);
        bytes.extend_from_slice(&[0, 8, 0, 23, 0, 0, 0, 23, 0, 0]);
        assert!(ClientHello::parse(&bytes).is_err());
    }
}
