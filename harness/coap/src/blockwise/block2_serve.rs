//! Cutting a response body (RFC 7959, section 2.4).

use core::ops::Range;

use fotaproof_wire::coap::{BlockValue, Szx};

/// What to answer a request for a body, or for a block of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serve {
    /// The whole body in one response without Block2.
    Whole(Range<u64>),
    /// These bytes with this Block2.
    Block {
        /// The value of the Block2 option of the response.
        block: BlockValue,
        /// The bytes of the body.
        range: Range<u64>,
    },
    /// The block begins beyond the end of the body. The code is not fixed; 4.02 or 4.00 in practice.
    BeyondEnd,
    /// Size exponent 7 over UDP, or a body with more blocks than can be numbered: 4.00.
    Bad,
}

/// Answers a request for a body of `total` bytes. A requested size is never exceeded; `preferred` may make it smaller, and then
/// the number counts in the smaller size (RFC 7959, section 2.4).
#[must_use]
pub fn serve(total: u64, requested: Option<BlockValue>, preferred: Szx) -> Serve {
    let Some(requested) = requested else {
        let size = preferred.size() as u64;
        return if total <= size {
            Serve::Whole(0..total)
        } else {
            cut(total, 0, preferred)
        };
    };
    if requested.szx == Szx::BERT {
        return Serve::Bad;
    }
    let offset = requested.offset();
    if offset >= total && offset > 0 {
        return Serve::BeyondEnd;
    }
    cut(total, offset, requested.szx.min(preferred))
}

fn cut(total: u64, offset: u64, szx: Szx) -> Serve {
    let size = szx.size() as u64;
    let end = (offset + size).min(total);
    let block = u32::try_from(offset / size)
        .ok()
        .and_then(|num| BlockValue::new(num, end < total, szx));
    match block {
        Some(block) => Serve::Block {
            block,
            range: offset..end,
        },
        None => Serve::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(total: u64, requested: &str, preferred: Szx) -> String {
        match serve(total, requested.parse().ok(), preferred) {
            Serve::Whole(range) => format!("whole {}..{}", range.start, range.end),
            Serve::Block { block, range } => format!("{block} {}..{}", range.start, range.end),
            Serve::BeyondEnd => "beyond".into(),
            Serve::Bad => "bad".into(),
        }
    }

    #[test]
    fn without_block2_a_small_body_is_whole_and_a_large_one_begins() {
        assert_eq!(show(512, "", Szx::S512), "whole 0..512");
        assert_eq!(show(513, "", Szx::S512), "0/1/512 0..512");
        assert_eq!(show(0, "", Szx::S512), "whole 0..0");
    }

    #[test]
    fn the_last_block_has_no_more() {
        assert_eq!(show(1024, "1/0/512", Szx::S1024), "1/0/512 512..1024");
        assert_eq!(show(1025, "1/0/512", Szx::S1024), "1/1/512 512..1024");
        assert_eq!(show(1025, "2/0/512", Szx::S1024), "2/0/512 1024..1025");
        assert_eq!(show(1024, "2/0/512", Szx::S1024), "beyond");
        assert_eq!(show(0, "0/0/64", Szx::S1024), "0/0/64 0..0");
        assert_eq!(show(0, "1/0/64", Szx::S1024), "beyond");
    }

    #[test]
    fn a_smaller_size_renumbers_and_a_larger_one_is_never_used() {
        assert_eq!(show(20480, "4/0/512", Szx::S128), "16/1/128 2048..2176");
        assert_eq!(show(20480, "4/0/64", Szx::S1024), "4/1/64 256..320");
    }

    #[test]
    fn numbers_end_at_20_bits() {
        assert_eq!(
            show(16 << 20, "1048575/0/16", Szx::S16),
            "1048575/0/16 16777200..16777216"
        );
        assert_eq!(show(1 << 30, "1048575/0/1024", Szx::S512), "bad");
        let reserved = BlockValue::decode_bert(&[0x07]).ok();
        assert_eq!(serve(100, reserved, Szx::S1024), Serve::Bad);
    }
}
