//! WAV, written.

/// Bytes of the header: of the file, of the format, of the samples.
const HEADER_BYTES: u32 = 44;

/// A file of PCM of 16 bits with one channel.
pub fn write_wav(samples: &[i16], sample_rate_hz: u32) -> Vec<u8> {
    let data_bytes = 2 * samples.len() as u32;
    let mut file = Vec::with_capacity((HEADER_BYTES + data_bytes) as usize);
    file.extend(b"RIFF");
    file.extend((HEADER_BYTES - 8 + data_bytes).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend([1, 0, 1, 0]);
    file.extend(sample_rate_hz.to_le_bytes());
    file.extend((2 * sample_rate_hz).to_le_bytes());
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(data_bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

#[cfg(test)]
mod tests {
    use jtav_schemas::{Decoded, Modality};

    use super::*;
    use crate::{DecodeLimits, SAMPLE_RATE_HZ, decode};

    #[test]
    fn what_is_written_is_heard() {
        let samples: Vec<i16> = (0..4410).map(|at| (at * 7 - 15_000) as i16).collect();
        let decoded =
            decode(&write_wav(&samples, SAMPLE_RATE_HZ), Modality::Audio, None, &DecodeLimits::for_tests()).unwrap();
        let Decoded::Audio(pcm) = decoded else { panic!("sound was written") };
        let heard: Vec<i16> = pcm.samples.iter().map(|sample| (sample * 32_768.0).round() as i16).collect();
        assert_eq!((heard, pcm.sample_rate_hz), (samples, SAMPLE_RATE_HZ));
    }
}
