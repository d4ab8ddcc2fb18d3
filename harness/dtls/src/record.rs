//! Records of DTLS 1.2 (RFC 6347 section 4.1), with connection ids (RFC 9146 section 4), and the window against replays.

/// ContentType of RFC 5246 section 6.2.1.
pub mod content_type {
    /// ChangeCipherSpec.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake.
    pub const HANDSHAKE: u8 = 22;
    /// Application data.
    pub const APPLICATION_DATA: u8 = 23;
    /// A record with a connection id (RFC 9146 section 4); its real type is inside.
    pub const TLS12_CID: u8 = 25;
}

/// Length of a record's header without a connection id.
pub const HEADER: usize = 13;
/// DTLS 1.2.
pub const VERSION: [u8; 2] = [0xfe, 0xfd];
/// DTLS 1.0, which a HelloVerifyRequest says (RFC 6347 section 4.2.1).
pub const VERSION_1_0: [u8; 2] = [0xfe, 0xff];
/// The longest content of a record (RFC 5246 section 6.2.1).
pub const CONTENT_LIMIT: usize = 1 << 14;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// ContentType.
    pub content_type: u8,
    /// The version.
    pub version: [u8; 2],
    /// Epoch and sequence number.
    pub number: [u8; 8],
    /// The connection id; empty for records without one.
    pub cid: &'a [u8],
    /// Its content as it stands on the wire.
    pub fragment: &'a [u8],
}

impl Record<'_> {
    /// The epoch: 0 in clear, from 1 on protected.
    pub const fn epoch(&self) -> u16 {
        u16::from_be_bytes([self.number[0], self.number[1]])
    }

    /// The sequence number in its epoch.
    pub const fn sequence(&self) -> u64 {
        u64::from_be_bytes(self.number) & 0xffff_ffff_ffff
    }
}

/// Whether a datagram looks like DTLS 1.0 or 1.2.
pub fn is_dtls(payload: &[u8]) -> bool {
    matches!(payload, [20..=23 | 25, 0xfe, 0xff | 0xfd, ..]) && payload.len() >= HEADER
}

/// The next record of a datagram. `cid_length` is asked with the rest of the record after its number, for records that carry a
/// connection id.
pub fn next<'a>(rest: &mut &'a [u8], cid_length: &dyn Fn(&[u8]) -> Option<usize>) -> Option<Record<'a>> {
    let bytes = *rest;
    if !is_dtls(bytes) {
        return None;
    }
    let number = <[u8; 8]>::try_from(&bytes[3..11]).ok()?;
    let with_cid = bytes[0] == content_type::TLS12_CID;
    let cid_length = if with_cid { cid_length(&bytes[11..])? } else { 0 };
    let (cid, after) = bytes[11..].split_at_checked(cid_length)?;
    let length = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]));
    let (fragment, after) = after[2..].split_at_checked(length)?;
    *rest = after;
    Some(Record {
        content_type: bytes[0],
        version: [bytes[1], bytes[2]],
        number,
        cid,
        fragment,
    })
}

/// Writes a record.
pub(crate) fn encode(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + record.cid.len() + record.fragment.len());
    out.push(record.content_type);
    out.extend_from_slice(&record.version);
    out.extend_from_slice(&record.number);
    out.extend_from_slice(record.cid);
    out.extend_from_slice(&u16::try_from(record.fragment.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(record.fragment);
    out
}

/// Epoch and sequence number as they stand in a record.
pub(crate) const fn number(epoch: u16, sequence: u64) -> [u8; 8] {
    ((epoch as u64) << 48 | sequence & 0xffff_ffff_ffff).to_be_bytes()
}

/// Which sequence numbers of an epoch were seen (RFC 6347 section 4.1.2.6): the newest and the 63 before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    newest: Option<u64>,
    /// Bit `n`: the newest less `n` was seen.
    seen: u64,
}

impl Window {
    /// Whether a number is not too old and was not seen.
    pub(crate) fn is_new(&self, sequence: u64) -> bool {
        let Some(newest) = self.newest else { return true };
        match newest.checked_sub(sequence) {
            None => true,
            Some(age) => age < 64 && self.seen >> age & 1 == 0,
        }
    }

    /// Remembers a number whose record was authentic. Gives whether it is the newest.
    pub(crate) fn see(&mut self, sequence: u64) -> bool {
        let Some(newest) = self.newest else {
            *self = Self {
                newest: Some(sequence),
                seen: 1,
            };
            return true;
        };
        if let Some(age) = newest.checked_sub(sequence) {
            if age < 64 {
                self.seen |= 1 << age;
            }
            return false;
        }
        let shift = u32::try_from(sequence - newest).unwrap_or(u32::MAX);
        self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
        self.newest = Some(sequence);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_takes_each_of_the_last_sixty_four_once() {
        let mut window = Window::default();
        assert!(window.see(100));
        assert!(!window.is_new(100), "seen");
        assert!(window.is_new(37), "63 before the newest: just inside");
        assert!(!window.is_new(36), "64 before the newest: just outside");
        assert!(!window.see(37), "late, and not the newest");
        assert!(!window.is_new(37));
        assert!(window.is_new(101));
        assert!(window.see(101));
        assert!(!window.is_new(37), "now outside");
        assert!(window.is_new(38));
        assert!(!window.is_new(100), "still known");
    }

    #[test]
    fn a_jump_forgets_what_is_far_behind() {
        for jump in [63, 64, 65, 1 << 40] {
            let mut window = Window::default();
            window.see(5);
            assert!(window.see(5 + jump));
            assert!(!window.is_new(5), "{jump}: seen or too old");
            assert!(window.is_new(4 + jump), "{jump}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            content_type: content_type::TLS12_CID,
            version: VERSION,
            number: number(1, 0x0102_0304_0506),
            cid: b"id",
            fragment: b"content",
        };
        let bytes = encode(&record);
        let mut rest = &bytes[..];
        assert_eq!(next(&mut rest, &|_| Some(2)), Some(record));
        assert!(rest.is_empty());
        assert_eq!((record.epoch(), record.sequence()), (1, 0x0102_0304_0506));
        for cut in 0..bytes.len() {
            assert_eq!(next(&mut &bytes[..cut], &|_| Some(2)), None, "{cut}");
        }
    }
}
