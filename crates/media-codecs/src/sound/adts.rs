//! AAC in ADTS frames (ISO 13818-7 6.2).

use symphonia::core::audio::layouts::{CHANNEL_LAYOUT_MONO, CHANNEL_LAYOUT_STEREO};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;

use jtav_schemas::AbsentReason;

use super::sbr;
use super::steps::{Begin, Demux, Ending, Packet, Step, Ticks, Trim};
use crate::tags::id3v2_len;

const SAMPLES_PER_FRAME: u64 = 1024;
const RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: Kind,
    /// Of the header itself, checksum included.
    header_bytes: usize,
    /// Of the whole frame.
    bytes: usize,
    /// Of AAC, in one frame.
    blocks: u8,
}

/// What stays the same through a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    profile: u8,
    rate_hz: u32,
    channels: u8,
}

/// AAC-LC.
const LOW_COMPLEXITY: u8 = 1;

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, b1, b2, b3, b4, b5, b6, ..] = *bytes else { return None };
        let len = (usize::from(b3 & 3) << 11) | (usize::from(b4) << 3) | usize::from(b5 >> 5);
        let header_bytes = if b1 & 1 == 0 { 9 } else { 7 };
        if b1 & 0xf6 != 0xf0 || len < header_bytes {
            return None;
        }
        let rate_hz = *RATES_HZ.get(usize::from((b2 >> 2) & 15))?;
        let kind = Kind { profile: b2 >> 6, rate_hz, channels: ((b2 & 1) << 2) | (b3 >> 6) };
        Some(Self { kind, header_bytes, bytes: len, blocks: (b6 & 3) + 1 })
    }
}

/// Does a stream begin here: do two more frames follow, or as many as there are up to the end?
pub(crate) fn is_stream(bytes: &[u8]) -> bool {
    Header::read(bytes).is_some_and(|first| follows(bytes, &first))
}

fn follows(bytes: &[u8], first: &Header) -> bool {
    let (mut at, mut header) = (0, *first);
    for found in 0..2 {
        at += header.bytes;
        match bytes.get(at..).map(|rest| (rest.len() < 7, Header::read(rest))) {
            Some((false, Some(next))) if next.kind == first.kind => header = next,
            Some((true, _)) => return true,
            // One frame alone before zeros could be anything.
            Some((false, _)) => return found > 0 && is_padding(&bytes[at..]),
            None => return false,
        }
    }
    true
}

fn is_padding(bytes: &[u8]) -> bool {
    bytes.starts_with(b"TAG") || bytes.iter().take(64).all(|byte| *byte == 0)
}

/// Is this the begin of a single frame, and no more?
pub(crate) fn is_cut_frame(bytes: &[u8]) -> bool {
    Header::read(bytes).is_some_and(|header| header.bytes > bytes.len())
}

/// Walks over frames.
#[derive(Debug, Clone)]
struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of the last frame, which ended at `in_step_at`.
    kind: Option<Kind>,
    in_step_at: usize,
    is_cut: bool,
}

impl<'a> Frames<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, kind: None, in_step_at: 0, is_cut: false }
    }
}

impl<'a> Iterator for Frames<'a> {
    /// A frame without its header.
    type Item = (&'a [u8], Header);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            if let Some(tag) = id3v2_len(rest) {
                self.at += tag;
                continue;
            }
            let Some(header) = Header::read(rest) else {
                self.at += 1 + rest[1..].iter().position(|byte| matches!(byte, 0xff | b'I')).unwrap_or(rest.len() - 1);
                continue;
            };
            let in_step = self.kind == Some(header.kind) && self.at == self.in_step_at;
            if in_step && header.bytes > rest.len() {
                self.is_cut = true;
                self.at = self.bytes.len();
            } else if header.bytes <= rest.len() && (in_step || follows(rest, &header)) {
                self.at += header.bytes;
                self.in_step_at = self.at;
                self.kind = Some(header.kind);
                return Some((&rest[header.header_bytes..header.bytes], header));
            } else {
                self.at += 1;
            }
        }
    }
}

/// Reads ADTS.
pub(super) struct Adts<'a> {
    frames: Frames<'a>,
    kind: Option<Kind>,
    /// Of a stream that has been begun.
    packet: Option<(&'a [u8], Header)>,
    seconds: f64,
}

impl<'a> Adts<'a> {
    /// `unsupported` for other AAC than plain AAC-LC with one block a frame, and for more than two channels.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, AbsentReason> {
        let first = Frames::new(bytes).next().ok_or(AbsentReason::DecodeError)?.1;
        if !is_served(&first) || sbr::is_in_packets(Frames::new(bytes).map(|(packet, _)| packet)) {
            return Err(AbsentReason::Unsupported);
        }
        let lasts = |(_, header): (_, Header)| SAMPLES_PER_FRAME as f64 / f64::from(header.kind.rate_hz);
        let seconds = Frames::new(bytes).map(lasts).sum();
        Ok(Self { frames: Frames::new(bytes), kind: None, packet: None, seconds })
    }
}

/// Several blocks in a frame have no lengths of their own, and the decoder does not say where one ended.
fn is_served(header: &Header) -> bool {
    header.blocks == 1 && header.kind.profile == LOW_COMPLEXITY && matches!(header.kind.channels, 1 | 2)
}

fn params(kind: Kind) -> AudioCodecParameters {
    let layout = if kind.channels == 1 { CHANNEL_LAYOUT_MONO } else { CHANNEL_LAYOUT_STEREO };
    let mut params = AudioCodecParameters::new();
    params.for_codec(CODEC_ID_AAC).with_sample_rate(kind.rate_hz).with_channels(layout);
    params
}

impl<'a> Demux<'a> for Adts<'a> {
    fn step(&mut self) -> Step<'a> {
        let Some((data, header)) = self.packet.take().or_else(|| self.frames.next()) else {
            return Step::Over(if self.frames.is_cut { Ending::Cut } else { Ending::Whole });
        };
        if self.kind == Some(header.kind) && is_served(&header) {
            let lasts = Some(Ticks::new(SAMPLES_PER_FRAME, header.kind.rate_hz));
            return Step::Packet(Packet { lasts, ..Packet::of(data) });
        }
        if !is_served(&header) {
            self.frames.at = self.frames.bytes.len();
            return Step::Over(Ending::Other);
        }
        self.packet = Some((data, header));
        if self.kind.take().is_some() {
            return Step::End(Trim::Samples(0));
        }
        self.kind = Some(header.kind);
        Step::Begin(Begin::whole(params(header.kind)))
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 44.1 kHz, stereo, AAC-LC, `len` bytes in all.
    fn frame(len: usize, blocks: u8) -> Vec<u8> {
        let mut frame = vec![0x21; len];
        let header = [
            0xff,
            0xf1,
            0x50,
            0x80 | (len >> 11) as u8,
            (len >> 3) as u8,
            ((len & 7) << 5) as u8 | 0x1f,
            0xfc | (blocks - 1),
        ];
        frame[..7].copy_from_slice(&header);
        frame
    }

    #[test]
    fn frames_are_found_behind_and_between_what_is_none() {
        let frames = frame(100, 1).repeat(4);
        for junk in [[0; 900].as_slice(), b"ID3\x04\0\0\0\0\0\x04\xff\xf1\x50\x80", &[0xff; 70]] {
            let file = [junk, &frames, junk, &frames].concat();
            assert_eq!(Frames::new(&file).count(), 8);
            let mut cut = Frames::new(&file[..file.len() - 1]);
            assert_eq!((cut.by_ref().count(), cut.is_cut), (7, true));
        }
    }

    #[test]
    fn frames_of_several_blocks_and_other_profiles_are_unsupported() {
        assert!(Adts::new(&frame(100, 1).repeat(4)).is_ok());
        assert_eq!(Adts::new(&frame(100, 3).repeat(4)).err(), Some(AbsentReason::Unsupported));
        let mut main = frame(100, 1);
        main[2] &= 0x3f;
        assert_eq!(Adts::new(&main.repeat(4)).err(), Some(AbsentReason::Unsupported));
        assert_eq!(Adts::new(b"no frame at all").err(), Some(AbsentReason::DecodeError));
    }

    proptest! {
        #[test]
        fn the_walk_over_any_bytes_ends_and_stays_within_them(
            parts in prop::collection::vec(prop_oneof![
                Just(frame(60, 1)), Just(frame(9, 2)), Just(vec![0xff; 50]), Just(b"ID3\x03\0\0\0\0\0\x08".to_vec()),
                prop::collection::vec(any::<u8>(), 0..40)], 0..40)
        ) {
            let bytes = parts.concat();
            let given: usize = Frames::new(&bytes).map(|(frame, _)| frame.len() + 7).sum();
            prop_assert!(given <= bytes.len());
            if let Ok(mut adts) = Adts::new(&bytes) {
                let steps = std::iter::from_fn(|| (!matches!(adts.step(), Step::Over(_))).then_some(())).count();
                prop_assert!(steps <= 3 * bytes.len());
            }
        }
    }
}
