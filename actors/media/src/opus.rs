//! What an Opus header says beside the stream (RFC 7845 5.1), in the two byte orders that it is written in.

use symphonia::core::codecs::audio::AudioCodecParameters;

/// Of the identification header: signature, version, channels.
const PRE_SKIP: usize = 10;
/// Pre-skip and rate behind those.
const OUTPUT_GAIN: usize = 16;

/// The header as Ogg has it. MP4 has the same fields with the other byte order (its `dOps` box, version 0), and the
/// decoder, which knows Ogg's only, would cut off up to a second and a half.
pub(crate) fn in_ogg_order(params: &AudioCodecParameters) -> Option<AudioCodecParameters> {
    let header = params.extra_data.as_deref()?;
    if !header.starts_with(b"OpusHead\0") || header.len() < OUTPUT_GAIN + 2 {
        return None;
    }
    let mut header = header.to_vec();
    header[8] = 1;
    header[PRE_SKIP..PRE_SKIP + 2].reverse();
    header[PRE_SKIP + 2..OUTPUT_GAIN].reverse();
    header[OUTPUT_GAIN..OUTPUT_GAIN + 2].reverse();
    let mut params = params.clone();
    params.with_extra_data(header.into_boxed_slice());
    Some(params)
}

/// What samples are to be multiplied with; the decoder leaves it to its caller. Of a header in Ogg's order.
pub(crate) fn output_gain(params: &AudioCodecParameters) -> f32 {
    let header = params.extra_data.as_deref().filter(|header| header.starts_with(b"OpusHead"));
    let gain = header.and_then(|header| header.get(OUTPUT_GAIN..OUTPUT_GAIN + 2));
    // Decibels in steps of 1/256.
    gain.map_or(1.0, |gain| 10_f32.powf(f32::from(i16::from_le_bytes([gain[0], gain[1]])) / (20.0 * 256.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(header: &[u8]) -> AudioCodecParameters {
        let mut params = AudioCodecParameters::new();
        params.with_extra_data(header.into());
        params
    }

    #[test]
    fn the_header_of_mp4_is_turned_into_that_of_ogg() {
        let mp4 = params(b"OpusHead\0\x02\x01\x38\0\0\xbb\x80\xfa\0\0");
        let ogg = in_ogg_order(&mp4).unwrap();
        assert_eq!(ogg.extra_data.as_deref(), Some(b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\xfa\0".as_slice()));
        // 0xfa00 are −6 dB.
        assert!((output_gain(&ogg) - 0.501).abs() < 1e-3, "{}", output_gain(&ogg));
        assert!(in_ogg_order(&ogg).is_none(), "already in order");
    }

    #[test]
    fn a_header_that_is_none_changes_nothing() {
        for header in [b"".as_slice(), b"OpusHead\0", b"esds or whatever it is"] {
            assert!(in_ogg_order(&params(header)).is_none());
            assert_eq!(output_gain(&params(header)), 1.0);
        }
    }
}
