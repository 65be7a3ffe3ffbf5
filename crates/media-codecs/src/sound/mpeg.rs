//! MPEG audio, Layer III: frames one after the other, without a container (ISO 11172-3 2.4; MPEG 2.5 as in the field).
//!
//! The reader of symphonia believes the count of frames in the tag of the first one, takes the last but one file for the
//! last where files were joined, and searches without a second look. Here frames are counted, a tag only says how many
//! samples the encoder added, and a place is a frame where others follow from it.

pub(crate) mod header;

use std::collections::VecDeque;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_MP3;

use self::header::{Header, Kind, follows};
use super::steps::{Begin, Demux, Ending, Packet, Step, Ticks, Trim};
use crate::tags::id3v2_len;

/// Samples by which the synthesis of every decoder is late.
const DECODER_DELAY: u64 = 529;
/// `Xing`, flags, frames, bytes, table, quality: where the encoder's name stands, if all of them are there.
const XING_BYTES: usize = 8;
/// From the encoder's name to its delay and padding, twelve bits each.
const LAME_DELAY: usize = 21;

/// What the first frame of a file may be instead of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct InfoFrame {
    /// Samples that the encoder put before and behind.
    delay: u64,
    padding: u64,
}

impl InfoFrame {
    /// Of a whole frame of Layer III. Side information is all zeros in it, which no frame of sound has.
    fn read(frame: &[u8], header: &Header) -> Option<Self> {
        let crc = if frame[1] & 1 == 0 { 2 } else { 0 };
        if frame.get(36..40) == Some(b"VBRI") && frame[4 + crc..36].iter().all(|byte| *byte == 0) {
            return Some(Self::default());
        }
        // Writers of a checksum forget that it moves the tag, and so do readers.
        let tag_at = 4 + header.side_info_bytes();
        let tag = frame.get(tag_at..)?;
        if !(tag.starts_with(b"Xing") || tag.starts_with(b"Info"))
            || frame[4 + crc..tag_at].iter().any(|byte| *byte != 0)
        {
            return None;
        }
        let flags = *tag.get(7)?;
        let fields = [4, 4, 100, 4].iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0);
        let encoder = tag.get(XING_BYTES + fields.map(|(_, bytes)| bytes).sum::<usize>()..).unwrap_or_default();
        let known = [b"LAME".as_slice(), b"Lavf", b"Lavc"].iter().any(|name| encoder.starts_with(name));
        let Some([a, b, c]) = encoder.get(LAME_DELAY..LAME_DELAY + 3).filter(|_| known) else {
            return Some(Self::default());
        };
        let delay = (u64::from(*a) << 4) | u64::from(b >> 4);
        let padding = (u64::from(b & 15) << 8) | u64::from(*c);
        Some(Self { delay: delay + DECODER_DELAY, padding: padding.saturating_sub(DECODER_DELAY) })
    }
}

/// Walks over frames.
#[derive(Debug, Clone)]
struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of the last frame, which ended at `in_step_at`.
    kind: Option<Kind>,
    in_step_at: usize,
    /// Places that were looked at: what the walk costs.
    looked_at: usize,
    is_cut: bool,
}

impl<'a> Frames<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, kind: None, in_step_at: 0, looked_at: 0, is_cut: false }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (&'a [u8], Header);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.looked_at += 1;
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            if let Some(tag) = id3v2_len(rest) {
                self.at += tag;
                continue;
            }
            let Some(header) = Header::read(rest).filter(|header| header.layer == 3) else {
                self.at += 1 + rest[1..].iter().position(|byte| matches!(byte, 0xff | b'I')).unwrap_or(rest.len() - 1);
                continue;
            };
            let in_step = self.kind == Some(header.kind) && self.at == self.in_step_at;
            match header.bytes {
                Some(len) if in_step && len > rest.len() => {
                    self.is_cut = true;
                    self.at = self.bytes.len();
                    return None;
                }
                Some(len) if len <= rest.len() && (in_step || follows(rest, &header, 2)) => {
                    self.at += len;
                    self.in_step_at = self.at;
                    self.kind = Some(header.kind);
                    return Some((&rest[..len], header));
                }
                _ => self.at += 1,
            }
        }
    }
}

/// Reads MPEG audio.
pub(super) struct Mpeg<'a> {
    frames: Frames<'a>,
    kind: Option<Kind>,
    /// What the encoder of this stream added.
    info: InfoFrame,
    ready: VecDeque<Step<'a>>,
    seconds: f64,
}

impl<'a> Mpeg<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        // A look at every header costs a thousandth of decoding, and gives what the header of a file only claims.
        let lasts = |(frame, header): (&[u8], Header)| match InfoFrame::read(frame, &header) {
            Some(info) => -((info.delay + info.padding) as f64) / f64::from(header.kind.rate_hz),
            None => header.samples as f64 / f64::from(header.kind.rate_hz),
        };
        let seconds = Frames::new(bytes).map(lasts).sum();
        Self { frames: Frames::new(bytes), kind: None, info: InfoFrame::default(), ready: VecDeque::new(), seconds }
    }

    fn begin(&mut self, kind: Kind, info: InfoFrame) {
        if self.kind.is_some() {
            self.ready.push_back(Step::End(Trim::Samples(self.info.padding)));
        }
        self.kind = Some(kind);
        self.info = info;
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_MP3).with_sample_rate(kind.rate_hz);
        self.ready.push_back(Step::Begin(Begin::delayed(params, info.delay)));
    }

    fn read_on(&mut self) {
        match self.frames.next() {
            Some((frame, header)) => match InfoFrame::read(frame, &header) {
                Some(info) => self.begin(header.kind, info),
                None => {
                    if self.kind != Some(header.kind) {
                        self.begin(header.kind, InfoFrame::default());
                    }
                    let lasts = Some(Ticks::new(header.samples, header.kind.rate_hz));
                    self.ready.push_back(Step::Packet(Packet { lasts, ..Packet::of(frame) }));
                }
            },
            None => {
                // The padding of a file that was cut off went with its end.
                if self.kind.take().is_some() && !self.frames.is_cut {
                    self.ready.push_back(Step::End(Trim::Samples(self.info.padding)));
                }
                self.ready.push_back(Step::Over(if self.frames.is_cut { Ending::Cut } else { Ending::Whole }));
            }
        }
    }
}

impl<'a> Demux<'a> for Mpeg<'a> {
    fn step(&mut self) -> Step<'a> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return step;
            }
            self.read_on();
        }
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.seconds.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// MPEG-1, Layer III, 128 kbit/s, 44.1 kHz, stereo: 417 bytes.
    fn frame() -> Vec<u8> {
        let mut frame = vec![0x55; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        frame
    }

    fn info_frame(frames: u32, delay: u32, padding: u32) -> Vec<u8> {
        let mut frame = frame();
        frame[4..].fill(0);
        frame[36..44].copy_from_slice(b"Info\0\0\0\x01");
        frame[44..48].copy_from_slice(&frames.to_be_bytes());
        frame[48..52].copy_from_slice(b"LAME");
        frame[69..72].copy_from_slice(&((delay << 12) | padding).to_be_bytes()[1..]);
        frame
    }

    /// B for a stream with its delay, a count of packets, E with its padding.
    fn told(bytes: &[u8]) -> (String, Ending) {
        let mut mpeg = Mpeg::new(bytes);
        let (mut told, mut packets) = (String::new(), 0);
        loop {
            match mpeg.step() {
                Step::Begin(begin) => {
                    let delay = begin.keep.first().map_or(0, |keep| keep.start.sample(44_100));
                    told += &format!("B{delay} ");
                }
                Step::Packet(_) => packets += 1,
                Step::Missing => {}
                Step::End(trim) => {
                    let Trim::Samples(padding) = trim else { panic!("{trim:?}") };
                    told += &format!("{packets} E{padding} ");
                    packets = 0;
                }
                Step::Over(ending) => return (format!("{told}{packets}"), ending),
            }
        }
    }

    #[test]
    fn frames_are_counted_whatever_the_tag_says() {
        for said in [0, 1, 3, 60_000] {
            let file = [info_frame(said, 576, 1000), frame().repeat(3)].concat();
            assert_eq!(told(&file), ("B1105 3 E471 0".to_owned(), Ending::Whole), "{said} said");
        }
    }

    #[test]
    fn joined_files_are_streams_of_their_own() {
        let one = [info_frame(3, 576, 1000), frame().repeat(3)].concat();
        let tag = b"ID3\x03\0\0\0\0\0\x08\xff\xfb\x90\0\xff\xfb\x90\0";
        for between in [b"".as_slice(), tag, &[0; 500], b"TAG and what belongs to it"] {
            let file = [&one, between, &one].concat();
            assert_eq!(told(&file), ("B1105 3 E471 B1105 3 E471 0".to_owned(), Ending::Whole));
        }
        let mut other = frame();
        other[2] = 0x94;
        other.truncate(384);
        let file = [frame().repeat(3), other.repeat(3)].concat();
        assert_eq!(told(&file), ("B0 3 E0 B0 3 E0 0".to_owned(), Ending::Whole), "of another rate");
    }

    #[test]
    fn what_lies_around_the_frames_is_passed_over() {
        let frames = frame().repeat(3);
        for junk in [[0; 5000].as_slice(), b"APETAGEX\xd0\x07\0\0", &[0xff; 300], b"a\xff\xfb\x90\0 is no frame"] {
            for (packets, file) in
                [(3, vec![junk, &frames]), (3, vec![&frames, junk]), (6, vec![&frames, junk, &frames])]
            {
                assert_eq!(told(&file.concat()), (format!("B0 {packets} E0 0"), Ending::Whole));
            }
        }
    }

    #[test]
    fn a_frame_that_is_not_all_there_is_a_file_cut_short() {
        let file = frame().repeat(3);
        assert_eq!(told(&file[..file.len() - 1]), ("B0 2".to_owned(), Ending::Cut));
        assert_eq!(told(&file[1..]), ("B0 2 E0 0".to_owned(), Ending::Whole), "the first frame cut");
    }

    proptest! {
        #[test]
        fn the_walk_over_any_bytes_is_linear_and_stays_within_them(
            parts in prop::collection::vec(prop_oneof![
                Just(frame()), Just(info_frame(7, 576, 1000)), Just(vec![0xff; 50]), Just(b"ID3\x03\0\0\0\0\0\x08".to_vec()),
                Just(vec![0xff, 0xfb, 0x90, 0x00]), prop::collection::vec(any::<u8>(), 0..40)], 0..40)
        ) {
            let bytes = parts.concat();
            let mut frames = Frames::new(&bytes);
            let given: usize = frames.by_ref().map(|(frame, _)| frame.len()).sum();
            prop_assert!(given <= bytes.len());
            prop_assert!(frames.looked_at <= bytes.len() + 1, "{} of {}", frames.looked_at, bytes.len());
            let (_, ending) = told(&bytes);
            prop_assert_eq!(ending == Ending::Cut, frames.is_cut);
        }
    }
}
