//! FLAC (RFC 9639). The reader of symphonia finds frames by their checksums; this gives it, of each file that was joined,
//! a head without metadata and a tail without what taggers left there, which would cost it the last frame.

use std::borrow::Cow;
use std::ops::Range;

use jtav_schemas::AbsentReason;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader as _};
use symphonia::default::formats::FlacReader;

use super::spliced::Spliced;
use super::steps::{Begin, Demux, Ending, Packet, Step, Ticks, Trim};
use crate::clock::Clock;

const SIGNATURE: &[u8; 4] = b"fLaC";
const STREAMINFO_BYTES: usize = 34;
/// Places that look like the last frame, from the end on, whose checksum is tried.
const LAST_FRAME_TRIES: usize = 4;
/// No frame is longer (eight channels of 65,535 samples in 32 bits), so nothing before can be the last one.
const MAX_FRAME_BYTES: usize = 2 << 20;

/// One file of those that were joined, mostly the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    streaminfo: [u8; STREAMINFO_BYTES],
    audio: Range<usize>,
    end: End,
}

/// What is known of the end of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The last frame ends it, or a tag behind.
    Whole,
    /// Something lies behind what may be the last frame: only the number of samples can say more.
    Junk,
    /// The last frame is not all there.
    Cut,
}

impl Part {
    fn rate_hz(&self) -> u32 {
        let [.., a, b, c] = self.streaminfo[..13] else { return 0 };
        (u32::from(a) << 12) | (u32::from(b) << 4) | u32::from(c >> 4)
    }

    /// 0 where the writer did not know.
    fn samples(&self) -> u64 {
        let [high, rest @ ..] = &self.streaminfo[13..18] else { return 0 };
        rest.iter().fold(u64::from(high & 15), |sum, byte| (sum << 8) | u64::from(*byte))
    }

    /// Signature and the only block, without sizes of frames, a number of samples and a checksum: the reader believes them.
    fn head(&self) -> Vec<u8> {
        let mut info = self.streaminfo;
        info[4..10].fill(0);
        info[13] &= 0xf0;
        info[14..].fill(0);
        [SIGNATURE.as_slice(), &[0x80, 0, 0, STREAMINFO_BYTES as u8], &info].concat()
    }
}

/// The files that were joined.
pub(super) fn parts(bytes: &[u8]) -> Vec<Part> {
    let mut starts = starts(bytes).peekable();
    let mut parts = Vec::new();
    while let Some(start) = starts.next() {
        let end = starts.peek().copied().unwrap_or(bytes.len());
        let file = &bytes[start..end];
        let Some(streaminfo) = file.get(8..).and_then(|rest| rest.first_chunk()).copied() else { continue };
        let audio = start + audio_start(file)..end;
        let (frames_end, end) = match end_of_last_frame(&bytes[audio.clone()]) {
            Some(len) if is_tag(&bytes[audio.start + len..end]) => (audio.start + len, End::Whole),
            Some(len) => (audio.start + len, End::Junk),
            None => (end, End::Cut),
        };
        parts.push(Part { streaminfo, audio: audio.start..frames_end, end });
    }
    parts
}

/// Where a signature with the block that has to follow it stands.
fn starts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let is_start = |at: &usize| {
        let head = bytes[*at..].first_chunk::<8>();
        head.is_some_and(|head| head.starts_with(SIGNATURE) && matches!(head[4..], [0 | 0x80, 0, 0, 34]))
    };
    (0..bytes.len()).filter(|at| bytes[*at] == b'f').filter(is_start)
}

/// Behind the last block of metadata; behind the first where a length leads out of the file.
fn audio_start(file: &[u8]) -> usize {
    let mut at = 4;
    while let Some([kind, a, b, c]) = file.get(at..).and_then(|rest| rest.first_chunk().copied()) {
        let len = (usize::from(a) << 16) | (usize::from(b) << 8) | usize::from(c);
        at += 4 + len;
        if kind & 0x80 != 0 && at <= file.len() {
            return at;
        }
    }
    8 + STREAMINFO_BYTES
}

/// Bytes up to the end of the last frame; `None` if that is not there. From its start on, the checksum over a frame with
/// its own two bytes is zero; the last place where it is so is the end, or behind it by chance, which no decoder minds.
fn end_of_last_frame(audio: &[u8]) -> Option<usize> {
    let earliest = audio.len().saturating_sub(MAX_FRAME_BYTES);
    let candidates = (earliest..audio.len()).rev().filter(|at| audio[*at] == 0xff && is_frame_header(&audio[*at..]));
    let mut last_start = None;
    candidates.take(LAST_FRAME_TRIES).find_map(|start| {
        // The frames before one that is not all there end where that begins.
        let last_start = *last_start.get_or_insert(start);
        end_of_frame(audio, start).filter(|end| *end > last_start)
    })
}

fn end_of_frame(audio: &[u8], start: usize) -> Option<usize> {
    let (mut crc, mut end) = (0_u16, None);
    for (at, byte) in audio.iter().enumerate().skip(start) {
        crc = (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)];
        if crc == 0 && at > start + 4 {
            end = Some(at + 1);
        }
    }
    end
}

/// Nothing, padding, or what taggers leave behind a file.
fn is_tag(bytes: &[u8]) -> bool {
    [b"TAG".as_slice(), b"APETAGEX", b"LYRICSBEGIN", b"ID3"].iter().any(|tag| bytes.starts_with(tag))
        || bytes.iter().all(|byte| *byte == 0)
}

/// With its checksum (RFC 9639 9.1).
fn is_frame_header(bytes: &[u8]) -> bool {
    let [0xff, 0xf8 | 0xf9, sizes, channels, number, ..] = *bytes else { return false };
    let number_bytes = match number.leading_ones() {
        0 => 1,
        ones @ 2..=7 => ones as usize,
        _ => return false,
    };
    let size_bytes = [6, 7].iter().position(|code| *code == sizes >> 4).map_or(0, |bytes| bytes + 1);
    let rate_bytes = match sizes & 15 {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    let len = 4 + number_bytes + size_bytes + rate_bytes;
    sizes >> 4 != 0
        && sizes & 15 != 15
        && channels >> 4 < 11
        && channels & 1 == 0
        && bytes.get(len).is_some_and(|crc| *crc == crc8(&bytes[..len]))
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x07 })
    })
}

/// Polynomial 0x8005.
static CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x8005 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Reads FLAC.
pub(super) struct Flac<'a> {
    bytes: &'a [u8],
    parts: std::vec::IntoIter<Part>,
    part: Option<(Part, FlacReader<'a>)>,
    /// Of this part.
    read_seconds: f64,
    ending: Ending,
    clock: Clock,
    seconds: Option<f64>,
}

impl<'a> Flac<'a> {
    /// A reason where the first file has no head.
    pub(super) fn new(bytes: &'a [u8], clock: Clock) -> Result<Self, AbsentReason> {
        let parts = parts(bytes);
        if parts.is_empty() {
            return Err(AbsentReason::DecodeError);
        }
        let seconds = |part: &Part| part.samples() as f64 / f64::from(part.rate_hz().max(1));
        let seconds = Some(parts.iter().map(seconds).sum()).filter(|sum| *sum > 0.0);
        Ok(Self {
            bytes,
            parts: parts.into_iter(),
            part: None,
            read_seconds: 0.0,
            ending: Ending::Whole,
            clock,
            seconds,
        })
    }

    fn open(&mut self, part: Part) -> Result<Step<'a>, Error> {
        let audio = &self.bytes[part.audio.clone()];
        let stream = Spliced::new(part.head(), [audio, b""], self.clock).into_stream();
        let reader = FlacReader::try_new(stream, FormatOptions::default())?;
        let params = reader.tracks().first().and_then(|track| track.codec_params.as_ref()?.audio()).cloned();
        self.part = Some((part, reader));
        Ok(Step::Begin(Begin::whole(params.unwrap_or_else(AudioCodecParameters::new))))
    }
}

impl<'a> Demux<'a> for Flac<'a> {
    fn step(&mut self) -> Step<'a> {
        if let Some((part, reader)) = &mut self.part {
            // A checksum that is wrong ends nothing here; the reader goes on with the next frame.
            if let Ok(Some(packet)) = reader.next_packet() {
                let lasts = Ticks::new(packet.dur.get(), part.rate_hz());
                self.read_seconds += lasts.seconds();
                let lasts = Some(lasts);
                return Step::Packet(Packet { data: Cow::Owned(packet.data.into_vec()), lasts, counted: None });
            }
            let stated = part.samples() as f64 / f64::from(part.rate_hz().max(1));
            let is_short = self.read_seconds < 0.95 * stated - 0.1;
            if part.end == End::Cut || part.end == End::Junk && is_short {
                self.ending = Ending::Cut;
            }
            self.part = None;
            self.read_seconds = 0.0;
            return Step::End(Trim::Samples(0));
        }
        let Some(part) = self.parts.next() else { return Step::Over(self.ending) };
        self.open(part).unwrap_or_else(|_| {
            self.parts = Vec::new().into_iter();
            self.ending = Ending::Cut;
            Step::Over(self.ending)
        })
    }

    fn seconds(&self) -> Option<f64> {
        self.seconds
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: &[u8] = include_bytes!("../../tests/fixtures/long.flac");

    #[test]
    fn frames_end_before_what_taggers_leave() {
        let whole = parts(LONG);
        assert_eq!(whole.len(), 1);
        assert!(whole[0].end == End::Whole && whole[0].audio.end == LONG.len() && whole[0].rate_hz() == 8000);
        assert_eq!(whole[0].samples(), 20_000);
        for (junk, end) in [
            (b"TAG".as_slice(), End::Whole),
            (&[0; 128], End::Whole),
            (&[0xff; 4000], End::Junk),
            (b"\xff\xf8 is no frame", End::Junk),
        ] {
            let tagged = parts(&[LONG, junk].concat());
            assert!(tagged[0].end == end && tagged[0].audio.end >= LONG.len(), "{tagged:?}");
        }
        let cut = parts(&LONG[..LONG.len() - 1]);
        assert_eq!(cut[0].end, End::Cut, "{cut:?}");
    }

    #[test]
    fn files_that_were_joined_are_parts_of_their_own() {
        let joined = [LONG, b"ID3 or whatever", LONG].concat();
        let joined_len = joined.len();
        let joined = parts(&joined);
        let [first, second] = joined.as_slice() else { panic!("{joined:?}") };
        assert_eq!((first.audio.len(), second.audio.end), (second.audio.len(), joined_len));
        assert_eq!((first.end, second.end), (End::Whole, End::Whole));
    }

    proptest! {
        #[test]
        fn parts_of_any_bytes_lie_within_them(
            pieces in prop::collection::vec(prop_oneof![
                Just(b"fLaC\x80\0\0\x22".to_vec()), Just(b"fLaC\0\0\0\x22".to_vec()), Just(vec![0xff, 0xf8, 0x69, 0x08, 0]),
                Just(LONG[..600].to_vec()), prop::collection::vec(any::<u8>(), 0..40)], 0..16)
        ) {
            let bytes = pieces.concat();
            for part in parts(&bytes) {
                prop_assert!(part.audio.start <= part.audio.end && part.audio.end <= bytes.len(), "{part:?}");
            }
        }
    }
}
