//! What an Opus header says beside the stream (RFC 7845 5.1), in the two byte orders that it is written in.

/// Opus is heard, and its samples are counted, at this rate.
pub(crate) const RATE_HZ: u32 = 48_000;

const SIGNATURE: &[u8; 8] = b"OpusHead";
/// Of the identification header: signature, version, channels.
const PRE_SKIP: usize = 10;
/// Pre-skip and rate behind those.
const OUTPUT_GAIN: usize = 16;

/// The header as Ogg has it. MP4 has the same fields with the other byte order (its `dOps` box, version 0). `None` for what
/// is no header.
pub(crate) fn in_ogg_order(header: &[u8]) -> Option<Vec<u8>> {
    if !header.starts_with(SIGNATURE) || header.len() < OUTPUT_GAIN + 2 {
        return None;
    }
    let mut header = header.to_vec();
    if header[8] == 0 {
        header[8] = 1;
        header[PRE_SKIP..PRE_SKIP + 2].reverse();
        header[PRE_SKIP + 2..OUTPUT_GAIN].reverse();
        header[OUTPUT_GAIN..OUTPUT_GAIN + 2].reverse();
    }
    Some(header)
}

/// Samples at [`RATE_HZ`] before the sound begins, of a header in Ogg's order.
pub(crate) fn pre_skip(header: &[u8]) -> u16 {
    field(header, PRE_SKIP).map_or(0, u16::from_le_bytes)
}

/// What samples are to be multiplied with; the decoder leaves it to its caller. Of a header in Ogg's order.
pub(crate) fn output_gain(header: &[u8]) -> f32 {
    // Decibels in steps of 1/256.
    field(header, OUTPUT_GAIN).map_or(1.0, |gain| 10_f32.powf(f32::from(i16::from_le_bytes(gain)) / (20.0 * 256.0)))
}

fn field(header: &[u8], at: usize) -> Option<[u8; 2]> {
    header.strip_prefix(SIGNATURE)?.get(at - SIGNATURE.len()..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_mp4_is_turned_into_that_of_ogg() {
        let ogg = in_ogg_order(b"OpusHead\0\x02\x01\x38\0\0\xbb\x80\xfa\0\0").unwrap();
        assert_eq!(ogg, b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\xfa\0");
        assert_eq!(pre_skip(&ogg), 312);
        // 0xfa00 are −6 dB.
        assert!((output_gain(&ogg) - 0.501).abs() < 1e-3, "{}", output_gain(&ogg));
        assert_eq!(in_ogg_order(&ogg), Some(ogg), "already in order");
    }

    #[test]
    fn a_header_that_is_none_changes_nothing() {
        for header in [b"".as_slice(), b"OpusHead\0", b"esds or whatever it is"] {
            assert_eq!((in_ogg_order(header), pre_skip(header), output_gain(header)), (None, 0, 1.0));
        }
    }
}
