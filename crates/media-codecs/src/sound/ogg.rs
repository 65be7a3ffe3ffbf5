//! Ogg (RFC 3533) with Vorbis, Opus (RFC 7845) or FLAC: pages are put together to packets here, because the reader of
//! symphonia takes every position for true and cuts off what lies behind it. Positions go to the listener as claims.
//!
//! Chained files are streams one after the other. A page whose checksum is wrong is left out.

mod pages;

use std::borrow::Cow;
use std::collections::VecDeque;

use jtav_schemas::AbsentReason;
use symphonia::core::audio::layouts::{CHANNEL_LAYOUT_MONO, CHANNEL_LAYOUT_STEREO};
use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_FLAC, CODEC_ID_OPUS, CODEC_ID_VORBIS};

use self::pages::{CAPTURE, Page, Pages};
use super::opus;
use super::steps::{Begin, Demux, Ending, Packet, Step, Trim};

/// No codec here has longer packets; Vorbis' setup is the longest.
const MAX_PACKET_BYTES: usize = 4 << 20;
/// From the end back, the last position is looked for in so many bytes: two of the largest pages.
const LAST_PAGES_BYTES: usize = 128 << 10;

/// What the first packet of a logical stream announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Vorbis,
    Opus,
    Flac,
}

impl Codec {
    fn of(packet: &[u8]) -> Option<Self> {
        match packet {
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] if packet.len() >= 30 => Some(Self::Vorbis),
            _ if packet.starts_with(b"OpusHead") && packet.len() >= 19 => Some(Self::Opus),
            _ if packet.starts_with(b"\x7fFLAC\x01") && packet.get(9..13) == Some(b"fLaC") && packet.len() >= 51 => {
                Some(Self::Flac)
            }
            _ => None,
        }
    }

    /// Whether a packet behind the first is a header still.
    fn is_header(self, packet: &[u8]) -> bool {
        match self {
            Self::Vorbis => packet.first().is_some_and(|kind| kind & 1 == 1),
            Self::Opus => packet.starts_with(b"OpusTags"),
            Self::Flac => packet.first() != Some(&0xff),
        }
    }
}

/// A logical stream that is read.
struct Stream {
    serial: u32,
    codec: Codec,
    /// The first packet; of Vorbis with the setup behind it.
    head: Vec<u8>,
    has_begun: bool,
}

impl Stream {
    /// How the decoder is to be made, once all headers are there.
    fn begin(&self) -> Option<Box<Begin>> {
        let mut params = AudioCodecParameters::new();
        match self.codec {
            Codec::Vorbis => {
                let channels = self.head[11];
                let rate_hz = u32::from_le_bytes(*self.head[12..].first_chunk()?);
                let positions = Position::from_count(channels.into())?;
                params.for_codec(CODEC_ID_VORBIS).with_sample_rate(rate_hz);
                params.with_channels(Channels::Positioned(positions)).with_extra_data(self.head.clone().into());
                Some(Begin::whole(params))
            }
            Codec::Opus => {
                let channels = self.head[9];
                params.for_codec(CODEC_ID_OPUS).with_sample_rate(opus::RATE_HZ);
                let layout = if channels == 1 { CHANNEL_LAYOUT_MONO } else { CHANNEL_LAYOUT_STEREO };
                let positions = if channels > 2 { Channels::Discrete(channels.into()) } else { layout };
                params.with_channels(positions);
                let begin = Begin::delayed(params, u64::from(opus::pre_skip(&self.head)));
                Some(Box::new(Begin { gain: opus::output_gain(&self.head), ..*begin }))
            }
            Codec::Flac => {
                params.for_codec(CODEC_ID_FLAC).with_extra_data(self.head[17..51].into());
                let rate = self.head[27..30].iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)) >> 4;
                params.with_sample_rate(rate);
                Some(Begin::whole(params))
            }
        }
    }
}

/// Reads Ogg.
pub(super) struct Ogg<'a> {
    pages: Pages<'a>,
    /// The stream of this link of the chain that is heard.
    stream: Option<Stream>,
    /// The pages now are the first ones of a link.
    in_heads: bool,
    /// The begin of a packet that goes on.
    part: Option<Vec<u8>>,
    ready: VecDeque<Step<'a>>,
    /// There are streams of sound that nobody here decodes.
    only_others: bool,
}

impl<'a> Ogg<'a> {
    /// `unsupported` where no link has a codec that is decoded.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, AbsentReason> {
        let mut ogg = Self {
            pages: Pages::new(bytes),
            stream: None,
            in_heads: false,
            part: None,
            ready: Default::default(),
            only_others: false,
        };
        // Up to the first stream that begins.
        while ogg.ready.is_empty() {
            ogg.read_on();
        }
        match ogg.ready.front() {
            Some(Step::Over(_)) if ogg.only_others => Err(AbsentReason::Unsupported),
            Some(Step::Over(_)) => Err(AbsentReason::DecodeError),
            _ => Ok(ogg),
        }
    }

    fn read_on(&mut self) {
        let page = self.pages.next();
        let broken = self.pages.broken_serial.take();
        if broken.is_some() && broken == self.stream.as_ref().map(|stream| stream.serial) {
            self.ready.push_back(Step::Missing);
        }
        let Some(page) = page else {
            self.end_stream();
            let is_cut = self.pages.is_cut || self.part.is_some();
            self.ready.push_back(Step::Over(if is_cut { Ending::Cut } else { Ending::Whole }));
            return;
        };
        if page.begins {
            if !self.in_heads {
                self.end_stream();
            }
            self.in_heads = true;
            self.choose(&page);
        } else {
            self.in_heads = false;
            self.read_page(&page);
        }
    }

    /// The first stream of a link that can be decoded.
    fn choose(&mut self, page: &Page<'a>) {
        let first = page.parts().next().map_or(&[][..], |(packet, _)| packet);
        match Codec::of(first) {
            Some(codec) if self.stream.is_none() => {
                self.stream = Some(Stream { serial: page.serial, codec, head: first.to_vec(), has_begun: false });
            }
            Some(_) => {}
            None => self.only_others = true,
        }
    }

    fn end_stream(&mut self) {
        if self.stream.take().is_some_and(|stream| stream.has_begun) {
            self.ready.push_back(Step::End(Trim::AsCounted));
        }
    }

    fn read_page(&mut self, page: &Page<'a>) {
        if self.stream.as_ref().is_none_or(|stream| stream.serial != page.serial) {
            return;
        }
        if !page.continues {
            self.part = None;
        }
        let mut packets = Vec::new();
        for (index, (part, is_end)) in page.parts().enumerate() {
            // The rest of a packet whose begin was lost.
            let is_rest = index == 0 && page.continues;
            if is_rest && self.part.is_none() {
                continue;
            }
            let packet = match self.part.take().filter(|_| is_rest) {
                Some(mut begun) => {
                    begun.extend_from_slice(part);
                    Cow::Owned(begun)
                }
                None => Cow::Borrowed(part),
            };
            match is_end {
                // Some writers end a stream with nothing.
                true if packet.is_empty() => {}
                true => packets.push(packet),
                false if packet.len() <= MAX_PACKET_BYTES => self.part = Some(packet.into_owned()),
                false => {}
            }
        }
        let count = packets.len();
        for (index, packet) in packets.into_iter().enumerate() {
            self.take(packet, page.position.filter(|_| index + 1 == count));
        }
    }

    fn take(&mut self, packet: Cow<'a, [u8]>, counted: Option<u64>) {
        let Some(stream) = &mut self.stream else { return };
        if !stream.has_begun {
            if stream.codec.is_header(&packet) {
                if stream.codec == Codec::Vorbis && packet.first() == Some(&5) {
                    stream.head.extend_from_slice(&packet);
                }
                return;
            }
            stream.has_begun = true;
            match stream.begin() {
                Some(begin) => self.ready.push_back(Step::Begin(begin)),
                None => self.stream = None,
            }
        }
        if self.stream.is_some() {
            self.ready.push_back(Step::Packet(Packet { data: packet, lasts: None, counted }));
        }
    }
}

impl<'a> Demux<'a> for Ogg<'a> {
    fn step(&mut self) -> Step<'a> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return step;
            }
            self.read_on();
        }
    }

    /// By the last position of the stream that is heard first.
    fn seconds(&self) -> Option<f64> {
        let stream = self.stream.as_ref()?;
        let bytes = self.pages.bytes;
        let tail = &bytes[bytes.len().saturating_sub(LAST_PAGES_BYTES)..];
        let pages = (0..tail.len()).rev().filter(|at| tail[*at..].starts_with(CAPTURE));
        let positions = pages.filter_map(|at| Page::read(&tail[at..])).filter(|(page, _)| page.serial == stream.serial);
        let last = positions.filter_map(|(page, _)| page.position).next()?;
        let (rate_hz, skipped) = match stream.codec {
            Codec::Opus => (opus::RATE_HZ, opus::pre_skip(&stream.head).into()),
            _ => (stream.begin()?.params.sample_rate?, 0),
        };
        Some(last.saturating_sub(skipped) as f64 / f64::from(rate_hz.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::pages::{CHECKED_PER_BYTE, crc32};
    use super::*;

    /// A page of whole packets.
    fn page(flags: u8, position: u64, serial: u32, packets: &[&[u8]]) -> Vec<u8> {
        let table: Vec<u8> = packets
            .iter()
            .flat_map(|p| std::iter::repeat_n(255, p.len() / 255).chain([(p.len() % 255) as u8]))
            .collect();
        raw_page(flags, position, serial, &table, &packets.concat())
    }

    fn raw_page(flags: u8, position: u64, serial: u32, table: &[u8], body: &[u8]) -> Vec<u8> {
        let mut page =
            [CAPTURE.as_slice(), &[0, flags], &position.to_le_bytes(), &serial.to_le_bytes(), &[0; 8]].concat();
        page.push(table.len() as u8);
        page.extend_from_slice(table);
        page.extend_from_slice(body);
        let crc = crc32(&page);
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        page
    }

    fn opus_link(serial: u32, packets: &[&[u8]]) -> Vec<u8> {
        [
            page(2, 0, serial, &[b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0"]),
            page(0, 0, serial, &[b"OpusTags and so on"]),
            page(4, 960 * packets.len() as u64, serial, packets),
        ]
        .concat()
    }

    /// B for a stream with its delay, packets as they are (and their count behind an @), E.
    fn told(bytes: &[u8]) -> Result<(String, Ending), AbsentReason> {
        let mut ogg = Ogg::new(bytes)?;
        let mut told = String::new();
        loop {
            told += &match ogg.step() {
                Step::Begin(begin) => format!("B{} ", begin.keep[0].start.sample(opus::RATE_HZ)),
                Step::Packet(packet) => {
                    let counted = packet.counted.map_or_else(String::new, |counted| format!("@{counted}"));
                    format!("{}{counted} ", packet.data.escape_ascii())
                }
                Step::Missing => "? ".to_owned(),
                Step::End(_) => "E ".to_owned(),
                Step::Over(ending) => return Ok((told.trim_end().to_owned(), ending)),
            };
        }
    }

    #[test]
    fn a_chain_is_streams_one_after_the_other_whatever_lies_around() {
        let link = opus_link(1, &[b"aa", b"bb"]);
        let whole = || Ok(("B312 aa bb@1920 E B312 aa bb@1920 E".to_owned(), Ending::Whole));
        for junk in [b"".as_slice(), b"OggS is no page, nor is this", &[0; 300]] {
            assert_eq!(told(&[junk, &link, junk, &link].concat()), whole());
        }
        assert_eq!(told(&[link.as_slice(), &opus_link(2, &[b"aa", b"bb"])].concat()), whole());
        let cut = [link.as_slice(), &page(0, 2880, 1, &[b"cc"])[..20]].concat();
        assert_eq!(told(&cut), Ok(("B312 aa bb@1920 E".to_owned(), Ending::Cut)));
    }

    #[test]
    fn packets_go_on_over_pages_and_a_broken_page_costs_what_is_on_it() {
        let heads = &opus_link(1, &[])[..];
        let long = [7; 300];
        let first = raw_page(0, u64::MAX, 1, &[255], &long[..255]);
        let second = raw_page(1, 960, 1, &[45, 2], &[&long[255..], b"zz"].concat());
        let (told_long, _) = told(&[heads, &first, &second].concat()).unwrap();
        assert!(told_long.ends_with("zz@960 E") && told_long.contains(&"\\x07".repeat(300)), "{told_long}");
        let mut broken = first.clone();
        broken[40] ^= 1;
        let (told_broken, ending) = told(&[heads, &second, &broken, &second].concat()).unwrap();
        assert_eq!((told_broken.as_str(), ending), ("B312 zz@960 ? zz@960 E", Ending::Whole));
    }

    #[test]
    fn other_codecs_are_unsupported_and_a_film_is_heard() {
        let speex = page(2, 0, 1, &[b"Speex   1.2"]);
        assert_eq!(told(&speex), Err(AbsentReason::Unsupported));
        assert_eq!(told(b"OggS and nothing else"), Err(AbsentReason::DecodeError));
        let film = [page(2, 0, 9, &[b"\x80theora"]), opus_link(1, &[b"aa"]), page(0, 5, 9, &[b"picture"])].concat();
        assert_eq!(told(&film).unwrap().0, "B312 aa@960 E");
    }

    #[test]
    fn checksums_of_pages_within_pages_are_bounded() {
        let mut nest = Vec::new();
        while nest.len() < 300_000 {
            nest.extend_from_slice(&raw_page(0, 0, 1, &[255; 255], &[]));
        }
        let mut pages = Pages::new(&nest);
        assert_eq!(pages.by_ref().count(), 0);
        assert!(
            pages.checked_bytes <= (CHECKED_PER_BYTE + 1) * nest.len(),
            "{} of {}",
            pages.checked_bytes,
            nest.len()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_told_as_packets_within_them(
            parts in prop::collection::vec(prop_oneof![
                Just(opus_link(1, &[b"aa"])), Just(page(0, 960, 1, &[b"bb", b""])), Just(raw_page(1, 0, 1, &[255, 3], &[9; 258])),
                Just(b"OggS\0\0".to_vec()), prop::collection::vec(any::<u8>(), 0..40)], 0..20)
        ) {
            let bytes = parts.concat();
            if let Ok(mut ogg) = Ogg::new(&bytes) {
                let mut given = 0;
                loop {
                    match ogg.step() {
                        Step::Packet(packet) => given += packet.data.len(),
                        Step::Over(_) => break,
                        _ => {}
                    }
                }
                prop_assert!(given <= bytes.len());
            }
        }
    }
}
