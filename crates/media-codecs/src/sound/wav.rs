//! WAV, RF64 and BW64 (RIFF of 1991; EBU Tech 3306; ITU-R BS.2088): one walk over the chunks finds the format and the
//! true span of the samples. Everything else, lists and broadcast extensions above all, is metadata and passed over.
//!
//! Sizes lie. A recorder that was killed leaves 0; one that writes into a pipe 2³² − 1 or something near it; taggers forget
//! the padding byte. What counts is where the chunks lie and where the file ends.

use std::ops::Range;

use jtav_schemas::AbsentReason;
use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_PCM_ALAW, CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64LE, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S16LE,
    CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32LE, CODEC_ID_PCM_U8,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::steps::{Begin, Demux, Ending, Packet, Step};

/// From here on a size means that the writer did not know it: sox writes 0x7ffff000 and the like, others 2³² − 1.
const UNKNOWN_SIZE: u32 = 0x7fff_0000;
/// Samples of each channel in a packet.
const FRAMES_PER_PACKET: usize = 1152;
/// Behind the last good chunk a `data` chunk is looked for in so many bytes.
const SEARCH_BYTES: usize = 64 << 10;

/// `wFormatTag`.
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const ALAW: u16 = 6;
const MULAW: u16 = 7;
const MPEG: u16 = 0x50;
const MP3: u16 = 0x55;
const EXTENSIBLE: u16 = 0xfffe;
/// Behind its first two bytes, which are a format tag (ksmedia.h).
const SUBFORMAT: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// What the walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) format: Format,
    /// The samples, never beyond the file.
    pub(super) data: Range<usize>,
    /// Samples are missing that the header announces.
    pub(super) is_cut: bool,
}

/// The `fmt ` chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) tag: u16,
    pub(super) channels: u16,
    pub(super) rate_hz: u32,
    pub(super) bits: u16,
}

impl Format {
    fn read(chunk: &[u8]) -> Option<Self> {
        let at = |offset: usize| Some(u16::from_le_bytes(*chunk.get(offset..)?.first_chunk()?));
        let rate_hz = u32::from_le_bytes(*chunk.get(4..)?.first_chunk()?);
        let mut tag = at(0)?;
        if tag == EXTENSIBLE && chunk.get(26..40) == Some(&SUBFORMAT) {
            tag = at(24)?;
        }
        Some(Self { tag, channels: at(2)?, rate_hz, bits: at(14).unwrap_or(0) })
    }

    /// Whether the data are a stream of MPEG frames.
    pub(super) fn is_mpeg(&self) -> bool {
        matches!(self.tag, MP3 | MPEG)
    }

    /// The codec and the bytes of one sample.
    fn codec(&self) -> Option<(AudioCodecId, usize)> {
        // Twelve bits lie in the upper part of two bytes, twenty in that of three.
        match (self.tag, self.bits.div_ceil(8)) {
            (PCM, 1) => Some((CODEC_ID_PCM_U8, 1)),
            (PCM, 2) => Some((CODEC_ID_PCM_S16LE, 2)),
            (PCM, 3) => Some((CODEC_ID_PCM_S24LE, 3)),
            (PCM, 4) => Some((CODEC_ID_PCM_S32LE, 4)),
            (FLOAT, 4) => Some((CODEC_ID_PCM_F32LE, 4)),
            (FLOAT, 8) => Some((CODEC_ID_PCM_F64LE, 8)),
            (ALAW, _) => Some((CODEC_ID_PCM_ALAW, 1)),
            (MULAW, _) => Some((CODEC_ID_PCM_MULAW, 1)),
            _ => None,
        }
    }
}

/// Walks over the chunks once.
pub(super) fn layout(bytes: &[u8]) -> Result<Layout, AbsentReason> {
    let mut format = None;
    let mut long_size = None;
    let mut data: Option<(Range<usize>, bool)> = None;
    let mut at = 12;
    while let Some((id, size)) = chunk_at(bytes, at) {
        let body = at + 8;
        let end = body.saturating_add(size as usize);
        match &id {
            b"fmt " if format.is_none() => format = Format::read(&bytes[body..end.min(bytes.len())]),
            // Of files beyond 4 GiB: their `data` says 2³² − 1.
            b"ds64" => {
                long_size = bytes.get(body + 8..).and_then(|rest| rest.first_chunk()).map(|n| u64::from_le_bytes(*n))
            }
            b"data" => {
                data = Some(span_of_data(bytes, body, size, long_size));
                // An empty one may stand before the one that counts.
                if data.as_ref().is_some_and(|(span, _)| !span.is_empty()) && format.is_some() {
                    break;
                }
            }
            _ => {}
        }
        at = match next_chunk(bytes, end) {
            Some(next) => next,
            None => match data {
                Some(_) => break,
                // The size of some list was wrong.
                None => find_data(bytes, body).ok_or(AbsentReason::DecodeError)?,
            },
        };
    }
    let (data, is_cut) = data.ok_or(AbsentReason::DecodeError)?;
    Ok(Layout { format: format.ok_or(AbsentReason::DecodeError)?, data, is_cut })
}

fn chunk_at(bytes: &[u8], at: usize) -> Option<([u8; 4], u32)> {
    let [a, b, c, d, size @ ..] = *bytes.get(at..)?.first_chunk::<8>()?;
    Some(([a, b, c, d], u32::from_le_bytes(size)))
}

/// Where the chunk behind `end` begins: on an even place, unless its writer forgot to pad.
fn next_chunk(bytes: &[u8], end: usize) -> Option<usize> {
    let padded = end.saturating_add(end & 1);
    let named = |at: usize| chunk_at(bytes, at).is_some_and(|(id, _)| id.iter().all(|c| (b' '..=b'~').contains(c)));
    [padded, end].into_iter().find(|at| named(*at))
}

fn fits(bytes: &[u8], at: usize) -> bool {
    chunk_at(bytes, at).is_some_and(|(_, size)| at.saturating_add(8).saturating_add(size as usize) <= bytes.len())
}

fn find_data(bytes: &[u8], from: usize) -> Option<usize> {
    let head = &bytes[..bytes.len().min(from.saturating_add(SEARCH_BYTES))];
    let found = head.get(from..)?.windows(4).position(|four| four == b"data" || four == b"fmt ")?;
    Some(from + found)
}

/// The samples from `body` on, and whether some are missing.
fn span_of_data(bytes: &[u8], body: usize, size: u32, long_size: Option<u64>) -> (Range<usize>, bool) {
    let there = bytes.len() - body;
    let claimed = match (size, long_size) {
        (u32::MAX, Some(long)) if long > 0 => usize::try_from(long).unwrap_or(usize::MAX),
        (UNKNOWN_SIZE.., _) => return (body..bytes.len(), false),
        // Zero is true only where another chunk follows, and nothing that looks like one by chance.
        (0, _) if !next_chunk(bytes, body).is_some_and(|at| fits(bytes, at)) => return (body..bytes.len(), false),
        _ => size as usize,
    };
    if claimed <= there {
        return (body..body + claimed, false);
    }
    // Where the size of all of it fits the file, that of the data is the one that lies.
    let riff = chunk_at(bytes, 0).map_or(0, |(_, size)| size as usize + 8);
    (body..bytes.len(), riff.abs_diff(bytes.len()) > 1)
}

/// Reads samples.
pub(super) struct Wav<'a> {
    begin: Option<Box<Begin>>,
    packets: std::slice::Chunks<'a, u8>,
    seconds: f64,
    ending: Ending,
}

impl<'a> Wav<'a> {
    /// `unsupported` for other codecs than PCM.
    pub(super) fn new(bytes: &'a [u8], layout: &Layout) -> Result<Self, AbsentReason> {
        let Format { channels, rate_hz, .. } = layout.format;
        let (codec, width) = layout.format.codec().ok_or(AbsentReason::Unsupported)?;
        let positions = Position::from_count(channels.into()).filter(|_| channels > 0);
        let mut params = AudioCodecParameters::new();
        params.for_codec(codec).with_sample_rate(rate_hz).with_max_frames_per_packet(FRAMES_PER_PACKET as u64);
        params.with_channels(Channels::Positioned(positions.ok_or(AbsentReason::Unsupported)?));
        let frame = width * usize::from(channels);
        let data = &bytes[layout.data.clone()];
        let data = &data[..data.len() - data.len() % frame];
        Ok(Self {
            begin: Some(Begin::whole(params)),
            packets: data.chunks(frame * FRAMES_PER_PACKET),
            seconds: (data.len() / frame) as f64 / f64::from(rate_hz.max(1)),
            ending: if layout.is_cut { Ending::Cut } else { Ending::Whole },
        })
    }
}

impl<'a> Demux<'a> for Wav<'a> {
    fn step(&mut self) -> Step<'a> {
        if let Some(begin) = self.begin.take() {
            return Step::Begin(begin);
        }
        self.packets.next().map_or(Step::Over(self.ending), |data| Step::Packet(Packet::of(data)))
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FMT: &[u8] = b"fmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0";

    fn riff(size: u32, chunks: &[&[u8]]) -> Vec<u8> {
        [b"RIFF", size.to_le_bytes().as_slice(), b"WAVE", &chunks.concat()].concat()
    }

    fn chunk(id: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
        [id, size.to_le_bytes().as_slice(), body].concat()
    }

    /// The samples that are found, and whether some are missed.
    fn found(file: &[u8]) -> Result<(&[u8], bool), AbsentReason> {
        layout(file).map(|layout| (&file[layout.data.clone()], layout.is_cut))
    }

    #[test]
    fn the_samples_are_found_whatever_the_sizes_say() {
        let samples = b"0123456789";
        for size in [0, 10, u32::MAX, 0xffff_f000, 0x7fff_f000] {
            for riff_size in [0, 46, u32::MAX] {
                let file = riff(riff_size, &[FMT, &chunk(b"data", size, samples)]);
                assert_eq!(found(&file), Ok((samples.as_slice(), false)), "{size:#x} in {riff_size:#x}");
            }
        }
        let true_riff = riff(46, &[FMT, &chunk(b"data", 5000, samples)]);
        assert_eq!(found(&true_riff), Ok((samples.as_slice(), false)), "the whole is as long as it should be");
        let cut = riff(5036, &[FMT, &chunk(b"data", 5000, samples)]);
        assert_eq!(found(&cut), Ok((samples.as_slice(), true)));
    }

    #[test]
    fn other_chunks_are_passed_over() {
        let data = chunk(b"data", 4, b"1234");
        let list = chunk(b"LIST", 16, b"INFOIART\xff\0\0\0abcd");
        let unpadded = chunk(b"bext", 3, b"abc");
        let padded = chunk(b"JUNK", 3, b"abc\0");
        let wrong = chunk(b"LIST", 70_000, b"INFOISFT\x04\0\0\0abcd");
        for before in [&list, &unpadded, &padded, &wrong, &chunk(b"fact", 0, b""), &chunk(b"data", 0, b"")] {
            let file = riff(0, &[FMT, before, &data, &list]);
            assert_eq!(found(&file), Ok((b"1234".as_slice(), false)), "behind {:?}", before.escape_ascii().to_string());
            let file = riff(0, &[before, FMT, &data]);
            assert_eq!(found(&file), Ok((b"1234".as_slice(), false)), "{:?} first", before.escape_ascii().to_string());
        }
        assert_eq!(found(&riff(0, &[&data])), Err(AbsentReason::DecodeError), "without a format");
        assert_eq!(found(&riff(0, &[FMT, &list])), Err(AbsentReason::DecodeError), "without samples");
    }

    #[test]
    fn a_file_of_64_bits_has_its_size_elsewhere() {
        let ds64 = chunk(b"ds64", 28, &[&[0; 8], 4_u64.to_le_bytes().as_slice(), &[0; 12]].concat());
        let file = riff(u32::MAX, &[&ds64, FMT, &chunk(b"data", u32::MAX, b"1234LIST\0\0\0\0")]);
        assert_eq!(found(&file), Ok((b"1234".as_slice(), false)));
    }

    proptest! {
        #[test]
        fn any_bytes_behind_a_header_have_a_layout_within_the_file_or_a_reason(
            tail in prop::collection::vec(prop_oneof![Just(b"data".to_vec()), Just(b"fmt ".to_vec()), Just(b"LIST".to_vec()),
                prop::collection::vec(any::<u8>(), 0..24)], 0..24)
        ) {
            let tail: Vec<&[u8]> = tail.iter().map(Vec::as_slice).collect();
            let file = riff(0, &tail);
            if let Ok(layout) = layout(&file) {
                prop_assert!(layout.data.start <= layout.data.end && layout.data.end <= file.len());
                if let Ok(mut wav) = Wav::new(&file, &layout) {
                    let mut bytes = 0;
                    loop {
                        match wav.step() {
                            Step::Packet(packet) => bytes += packet.data.len(),
                            Step::Over(_) => break,
                            _ => {}
                        }
                    }
                    prop_assert!(bytes <= layout.data.len());
                }
            }
        }
    }
}
