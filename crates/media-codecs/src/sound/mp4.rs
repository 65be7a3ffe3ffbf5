//! MP4 (ISO 14496-12). The reader of symphonia finds the packets; what it leaves out is read here, in one walk over the
//! boxes: edit lists, which say where the sound begins, and how many tracks and fragments there are, because it takes
//! time in their product.

mod boxes;

use std::borrow::Cow;
use std::ops::Range;

use jtav_schemas::AbsentReason;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_MP3, CODEC_ID_OPUS};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader as _, Track};
use symphonia::core::io::{MediaSourceStream, ReadBytes as _};
use symphonia::default::formats::IsoMp4Reader;

use self::boxes::{Layout, MAX_TRACKS, layout};
use super::codecs::{Codecs, reason};
use super::mpeg::header::Header;
use super::spliced::Spliced;
use super::steps::{Begin, Demux, Ending, Packet, Step, Ticks, Trim};
use super::{opus, sbr};
use crate::clock::Clock;

/// Packets of any track that are read to find those of one.
const MAX_PACKETS_TO_LOOK: usize = 400;
/// QuickTime's files may go without, the reader may not.
const FILE_TYPE: &[u8] = b"\0\0\0\x10ftypisom\0\0\0\0";
/// Packets of other tracks between two looks at the clock.
const PACKETS_PER_LOOK: u32 = 8;
/// Reads MP4.
pub(super) struct Mp4<'a> {
    reader: IsoMp4Reader<'a>,
    track_id: u32,
    scale: u32,
    begin: Option<Box<Begin>>,
    has_ended: bool,
    ending: Ending,
    clock: Clock,
    /// Packets of other tracks.
    passed: u32,
    /// Of the samples' table, what edits keep of it and what was read of it, in seconds.
    stated: f64,
    kept: f64,
    read: f64,
}

impl<'a> Mp4<'a> {
    /// `unsupported` for codecs that are not decoded, `type_mismatch` where nothing is sound.
    pub(super) fn new(bytes: &'a [u8], clock: Clock, codecs: &Codecs) -> Result<Self, AbsentReason> {
        let layout = layout(bytes);
        if layout.traks.len() > MAX_TRACKS {
            return Err(AbsentReason::Unsupported);
        }
        let reader = open(bytes, &layout, clock)?;
        let (track, params) = choose(&reader, &layout, codecs)?;
        let (track_id, stated) = (track.id, seconds(track, &params));
        let scale = track.time_base.map_or(1, |base| base.denom.get());
        if is_another_codec(bytes, &layout, clock, track_id, &params)? {
            return Err(AbsentReason::Unsupported);
        }
        let trak = layout.traks.iter().find(|trak| trak.id == u64::from(track_id));
        let mut keep = trak.map_or_else(Vec::new, |trak| trak.keep.clone());
        // An edit behind the end is the mistake of a writer. How long fragments are together nobody says.
        keep.retain(|keep| stated == 0.0 || keep.start.seconds() < stated);
        let begin = begin(params, keep);
        let kept = kept_seconds(&begin.keep, stated);
        let begin = Some(begin);
        Ok(Self {
            reader,
            track_id,
            scale,
            begin,
            has_ended: false,
            ending: Ending::Whole,
            clock,
            passed: 0,
            stated,
            kept,
            read: 0.0,
        })
    }
}

fn open<'a>(bytes: &'a [u8], layout: &Layout, clock: Clock) -> Result<IsoMp4Reader<'a>, AbsentReason> {
    let file = || {
        // At the end it moves nothing that the index counts from the start.
        let tail = if layout.has_file_type || layout.ends_within_a_box { b"".as_slice() } else { FILE_TYPE };
        Spliced::new(Vec::new(), [&bytes[..layout.end], tail], clock)
    };
    // The reader takes a last box that is not all there for none at all, unless it cannot look ahead. Then again it may be
    // junk behind the last box.
    if layout.ends_within_a_box {
        let reader = open_stream(file().once().into_stream()).or_else(|_| open_stream(file().into_stream()));
        return reader.map_err(|error| match reason(&error) {
            AbsentReason::Unsupported if layout.has_index => AbsentReason::Unsupported,
            _ => AbsentReason::DecodeError,
        });
    }
    open_stream(file().into_stream()).map_err(|error| reason(&error))
}

fn open_stream(mut stream: MediaSourceStream<'_>) -> Result<IsoMp4Reader<'_>, Error> {
    // This reader expects to stand at the type of the first box and steps back over its length.
    stream.ignore_bytes(4)?;
    IsoMp4Reader::try_new(stream, FormatOptions::default())
}

/// The first track of sound that can be decoded.
fn choose<'r>(
    reader: &'r IsoMp4Reader<'_>,
    layout: &Layout,
    codecs: &Codecs,
) -> Result<(&'r Track, AudioCodecParameters), AbsentReason> {
    // A codec that even the reader does not know.
    let has_sound = layout.traks.iter().any(|trak| trak.is_sound);
    let mut refused = if has_sound { AbsentReason::Unsupported } else { AbsentReason::TypeMismatch };
    for track in reader.tracks() {
        let Some(params) = track.codec_params.as_ref().and_then(|params| params.audio()) else { continue };
        match codecs.decoder(params) {
            Ok(_) => return Ok((track, params.clone())),
            Err(reason) => refused = reason,
        }
    }
    Err(refused)
}

fn seconds(track: &Track, params: &AudioCodecParameters) -> f64 {
    let by_time = track.time_base.zip(track.duration).and_then(|(base, length)| base.calc_duration(length));
    let by_frames =
        track.num_frames.zip(params.sample_rate).map(|(frames, rate)| frames as f64 / f64::from(rate.max(1)));
    by_time.map_or(0.0, |time| time.as_secs_f64()).max(by_frames.unwrap_or(0.0))
}

fn kept_seconds(keep: &[Range<Ticks>], stated: f64) -> f64 {
    match keep {
        [] => stated,
        _ => keep.iter().map(|keep| (keep.end.seconds().min(stated) - keep.start.seconds()).max(0.0)).sum(),
    }
}

/// HE-AAC that calls itself AAC-LC, and Layer II, which has the same name as Layer III. A reader of its own looks into the
/// first packets.
fn is_another_codec(
    bytes: &[u8],
    layout: &Layout,
    clock: Clock,
    track_id: u32,
    params: &AudioCodecParameters,
) -> Result<bool, AbsentReason> {
    if params.codec == CODEC_ID_AAC && params.extra_data.as_deref().is_some_and(sbr::is_announced) {
        return Ok(true);
    }
    if !matches!(params.codec, CODEC_ID_AAC | CODEC_ID_MP3) {
        return Ok(false);
    }
    let mut reader = open(bytes, layout, clock)?;
    let packets = std::iter::from_fn(|| reader.next_packet().ok().flatten()).take(MAX_PACKETS_TO_LOOK);
    let mut packets = packets.filter(|packet| packet.track_id == track_id).map(|packet| packet.data);
    Ok(match params.codec {
        CODEC_ID_AAC => sbr::is_in_packets(packets),
        _ => packets.next().and_then(|packet| Header::read(&packet)).is_some_and(|header| header.layer != 3),
    })
}

/// Where an edit list says when the sound of Opus begins, its own header does not count: it means the same delay.
fn begin(mut params: AudioCodecParameters, keep: Vec<Range<Ticks>>) -> Box<Begin> {
    let header = params.extra_data.as_deref().and_then(opus::in_ogg_order).filter(|_| params.codec == CODEC_ID_OPUS);
    let Some(header) = header else { return Box::new(Begin { params, gain: 1.0, keep }) };
    // Without a header the decoder cuts nothing off itself.
    params.extra_data = None;
    let mut begin = Begin::delayed(params, opus::pre_skip(&header).into());
    if !keep.is_empty() {
        begin.keep = keep;
    }
    Box::new(Begin { gain: opus::output_gain(&header), ..*begin })
}

impl<'a> Demux<'a> for Mp4<'a> {
    fn step(&mut self) -> Step<'a> {
        if let Some(begin) = self.begin.take() {
            return Step::Begin(begin);
        }
        while !self.has_ended {
            let Ok(Some(packet)) = self.reader.next_packet() else { break };
            if packet.track_id == self.track_id {
                self.read += packet.dur.get() as f64 / f64::from(self.scale);
                let lasts = Some(Ticks::new(packet.dur.get(), self.scale));
                return Step::Packet(Packet { data: Cow::Owned(packet.data.into_vec()), lasts, counted: None });
            }
            self.passed += 1;
            if self.passed.is_multiple_of(PACKETS_PER_LOOK) && self.clock.is_over() {
                break;
            }
        }
        if !self.has_ended {
            self.has_ended = true;
            // The reader may break off at junk behind the last box, and end without a word where packets are missing.
            let is_short = self.read < 0.95 * self.stated - 0.1;
            self.ending = if is_short { Ending::Cut } else { Ending::Whole };
            return Step::End(Trim::Samples(0));
        }
        Step::Over(self.ending)
    }

    fn seconds(&self) -> Option<f64> {
        Some(self.kept).filter(|seconds| *seconds > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_more_tracks_than_are_served_is_unsupported() {
        let atom =
            |kind: &[u8; 4], body: &[u8]| [(body.len() as u32 + 8).to_be_bytes().as_slice(), kind, body].concat();
        let file = [atom(b"ftyp", b"isom\0\0\0\0"), atom(b"moov", &atom(b"trak", &[]).repeat(500))].concat();
        let clock = Clock::start(std::time::Duration::from_secs(9));
        assert_eq!(Mp4::new(&file, clock, &Codecs::served()).err(), Some(AbsentReason::Unsupported));
    }
}
