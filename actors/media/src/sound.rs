//! MP3, AAC-LC (M4A, ADTS), FLAC, Ogg Vorbis, Opus (Ogg, M4A) and WAV to mono, at 22,050 Hz unless it is to be left.
//!
//! The container is chosen by signature, so only one parser ever sees a file, and only the six wanted codecs are
//! registered. MPEG encoder delay is trimmed where the file states it (LAME tag, Ogg positions); the priming of AAC,
//! 1024 or 2112 samples of near silence, stays.

use std::io::Cursor;
use std::sync::OnceLock;
use std::time::Duration;

use jtav_pipeline::Pcm;
use jtav_schemas::AbsentReason;
use jtav_signal::{SignalError, check_clip, resample};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, Track};
use symphonia::core::io::{MediaSourceStream, ReadBytes as _, ReadOnlySource};
use symphonia::default::{codecs, formats};

use crate::facts::{SoundEnd, SoundFacts};
use crate::params::DecodeLimits;
use crate::process::room;
use crate::sniff::SoundFormat;
use crate::{opus, sbr};

/// What the audio encoder listens at.
pub const SAMPLE_RATE_HZ: u32 = 22_050;

/// Packets between two looks at the clock.
const PACKETS_PER_LOOK: u64 = 8;

/// Of a clip that was cut short, less than this is no clip.
const LEAST_OF_A_CUT_CLIP_SECONDS: f64 = 1.0;

/// Decodes the first part of a clip.
pub(crate) fn decode(
    bytes: &[u8],
    format: SoundFormat,
    limits: &DecodeLimits,
) -> Result<(Pcm, SoundFacts), AbsentReason> {
    let mut reader = open(bytes, format).map_err(|error| reason(&error))?;
    let Chosen { track_id, mut decoder, stated_seconds, gain } = choose(reader.tracks(), limits)?;
    if decoder.codec_info().short_name == "aac" {
        let mut look = open(bytes, format).map_err(|error| reason(&error))?;
        if sbr::is_present(look.as_mut(), track_id) {
            return Err(AbsentReason::Unsupported);
        }
    }
    let expected_seconds = stated_seconds.unwrap_or(0.0).min(limits.analysed_audio.as_secs_f64());
    let mut stream = decode_packets(reader.as_mut(), track_id, decoder.as_mut(), expected_seconds, limits)?;
    if gain != 1.0 {
        stream.mono.iter_mut().for_each(|sample| *sample *= gain);
    }
    let facts = SoundFacts {
        container: format.name().into(),
        codec: decoder.codec_info().short_name.into(),
        sample_rate_hz: stream.rate_hz,
        channels: stream.channels,
        stated_seconds,
        decoded_seconds: stream.mono.len() as f64 / f64::from(stream.rate_hz),
        skipped_packets: stream.skipped_packets,
        end: stream.end,
    };
    if was_cut_short(&facts, format) && facts.decoded_seconds < LEAST_OF_A_CUT_CLIP_SECONDS {
        return Err(AbsentReason::DecodeError);
    }
    // Samples that are no numbers come out of float files; they are damage like any other.
    let pcm = at_wanted_rate(stream, limits).map_err(|_| AbsentReason::DecodeError)?;
    Ok((pcm, facts))
}

fn at_wanted_rate(stream: Stream, limits: &DecodeLimits) -> Result<Pcm, SignalError> {
    let Stream { mono, rate_hz, .. } = stream;
    if rate_hz == SAMPLE_RATE_HZ || limits.left_rates_hz.contains(&rate_hz) {
        check_clip(&mono)?;
        return Ok(Pcm { samples: mono.into(), sample_rate_hz: rate_hz });
    }
    let samples = resample(&mono, rate_hz, SAMPLE_RATE_HZ)?;
    Ok(Pcm { samples: samples.into(), sample_rate_hz: SAMPLE_RATE_HZ })
}

/// Whether the end of the clip is missing. A limit is not meant, nor is a damaged packet within, nor junk behind the last one,
/// at which some readers break off. The length of an ADTS stream is only guessed from its size.
fn was_cut_short(facts: &SoundFacts, format: SoundFormat) -> bool {
    let states_its_length = facts.stated_seconds.is_some() && format != SoundFormat::Adts;
    match facts.end {
        SoundEnd::AnalysedLength => false,
        SoundEnd::BrokeOff if states_its_length => facts.is_short(),
        SoundEnd::BrokeOff => true,
        SoundEnd::Whole => states_its_length && facts.is_short() && facts.skipped_packets == 0,
    }
}

fn open(bytes: &[u8], format: SoundFormat) -> Result<Box<dyn FormatReader + '_>, Error> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let options = FormatOptions::default();
    Ok(match format {
        SoundFormat::Mp3 => Box::new(formats::MpaReader::try_new(stream, options)?),
        SoundFormat::Adts => Box::new(formats::AdtsReader::try_new(stream, options)?),
        SoundFormat::Flac => Box::new(formats::FlacReader::try_new(stream, options)?),
        SoundFormat::Ogg => Box::new(formats::OggReader::try_new(stream, options)?),
        SoundFormat::Wav => Box::new(formats::WavReader::try_new(stream, options)?),
        // The reader takes a last box that is not all there for none at all, unless it cannot look ahead. Then again it may
        // be junk behind the last box.
        SoundFormat::Mp4 if ends_within_a_box(bytes) => {
            let cut = MediaSourceStream::new(Box::new(ReadOnlySource::new(bytes)), Default::default());
            let reader = open_mp4(cut).or_else(|_| open_mp4(stream));
            Box::new(reader.map_err(|_| Error::DecodeError("cut short before its index"))?)
        }
        SoundFormat::Mp4 => Box::new(open_mp4(stream)?),
    })
}

fn open_mp4(mut stream: MediaSourceStream<'_>) -> Result<formats::IsoMp4Reader<'_>, Error> {
    // This reader expects to stand at the type of the first box and steps back over its length.
    stream.ignore_bytes(4)?;
    formats::IsoMp4Reader::try_new(stream, FormatOptions::default())
}

/// Whether an MP4 is over before its last box is (ISO 14496-12 4.2).
fn ends_within_a_box(bytes: &[u8]) -> bool {
    let mut at = 0_usize;
    while let Some(&[a, b, c, d, _, _, _, _]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let size = match u32::from_be_bytes([a, b, c, d]) {
            // Up to the end of the file.
            0 => return false,
            1 => match bytes.get(at + 8..).and_then(|rest| rest.first_chunk()) {
                Some(size) => usize::try_from(u64::from_be_bytes(*size)).unwrap_or(usize::MAX),
                None => return true,
            },
            size => size as usize,
        };
        at = at.saturating_add(size.max(8));
    }
    at > bytes.len()
}

/// The codecs that are served. The library knows more; each is a parser that a stranger could reach.
fn registry() -> &'static CodecRegistry {
    static REGISTRY: OnceLock<CodecRegistry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = CodecRegistry::new();
        registry.register_audio_decoder::<codecs::MpaDecoder>();
        registry.register_audio_decoder::<codecs::AacDecoder>();
        registry.register_audio_decoder::<codecs::FlacDecoder>();
        registry.register_audio_decoder::<codecs::VorbisDecoder>();
        registry.register_audio_decoder::<codecs::PcmDecoder>();
        registry.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
        registry
    })
}

/// A track that can be decoded.
struct Chosen {
    track_id: u32,
    decoder: Box<dyn AudioDecoder>,
    stated_seconds: Option<f64>,
    /// Factor of the samples.
    gain: f32,
}

/// The first track of sound that can be decoded, after a look at what its header claims.
fn choose(tracks: &[Track], limits: &DecodeLimits) -> Result<Chosen, AbsentReason> {
    let mut refused = AbsentReason::TypeMismatch;
    for track in tracks {
        let Some(params) = track.codec_params.as_ref().and_then(|params| params.audio()) else { continue };
        let ordered = opus::in_ogg_order(params);
        let params = ordered.as_ref().unwrap_or(params);
        let decoder = match registry().make_audio_decoder(params, &AudioDecoderOptions::default()) {
            Ok(decoder) => decoder,
            Err(error) => {
                refused = reason(&error);
                continue;
            }
        };
        let channels = params.channels.as_ref().map(|channels| channels.count());
        let stated_seconds = check_claims(track, params.sample_rate, channels, limits)?;
        return Ok(Chosen { track_id: track.id, decoder, stated_seconds, gain: opus::output_gain(params) });
    }
    Err(refused)
}

/// A header that lies upwards costs the liar his label; one that lies downwards gains nothing, decoding counts itself.
/// Gives the length it states, in seconds.
fn check_claims(
    track: &Track,
    rate_hz: Option<u32>,
    channels: Option<usize>,
    limits: &DecodeLimits,
) -> Result<Option<f64>, AbsentReason> {
    if let Some(rate_hz) = rate_hz {
        check_rate(rate_hz, limits)?;
    }
    if channels.is_some_and(|channels| channels > limits.max_channels) {
        return Err(AbsentReason::Unsupported);
    }
    let by_time = track
        .time_base
        .zip(track.duration)
        .map(|(base, length)| base.calc_duration(length).map_or(f64::INFINITY, |time| time.as_secs_f64()));
    let by_frames = track.num_frames.zip(rate_hz).map(|(frames, rate)| frames as f64 / f64::from(rate.max(1)));
    let claimed_s = by_time.unwrap_or(0.0).max(by_frames.unwrap_or(0.0));
    if claimed_s > limits.max_audio.as_secs_f64() {
        return Err(AbsentReason::TooLarge);
    }
    Ok((claimed_s > 0.0).then_some(claimed_s))
}

fn check_rate(rate_hz: u32, limits: &DecodeLimits) -> Result<(), AbsentReason> {
    let range = limits.min_sample_rate_hz..=limits.max_sample_rate_hz;
    if range.contains(&rate_hz) { Ok(()) } else { Err(AbsentReason::Unsupported) }
}

/// What was read of a track.
struct Stream {
    mono: Vec<f32>,
    rate_hz: u32,
    channels: usize,
    skipped_packets: usize,
    end: SoundEnd,
}

/// Mono samples and their rate. Packets that cannot be decoded are skipped, as every player does; a clip of nothing
/// else is damaged.
fn decode_packets(
    reader: &mut dyn FormatReader,
    track_id: u32,
    decoder: &mut dyn AudioDecoder,
    expected_seconds: f64,
    limits: &DecodeLimits,
) -> Result<Stream, AbsentReason> {
    let started = thread_cpu_time();
    let mut mono: Vec<f32> = Vec::new();
    let mut planes: Vec<Vec<f32>> = Vec::new();
    let mut spec = None;
    let mut skipped_packets = 0;
    let mut packets = 0_u64;
    let mut failure = AbsentReason::DecodeError;
    // An error of the container ends the clip: what came before it counts. So does a change of stream (chained Ogg).
    let end = loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break SoundEnd::Whole,
            Err(_) => break SoundEnd::BrokeOff,
        };
        packets += 1;
        // The clock is a system call, as dear as a small packet.
        if packets.is_multiple_of(PACKETS_PER_LOOK) && thread_cpu_time().saturating_sub(started) > limits.max_audio_cpu
        {
            return Err(AbsentReason::TooLarge);
        }
        if packet.track_id != track_id {
            continue;
        }
        let buffer = match decoder.decode(&packet) {
            Ok(buffer) => buffer,
            Err(Error::DecodeError(_) | Error::IoError(_)) => {
                skipped_packets += 1;
                continue;
            }
            Err(error) => {
                failure = reason(&error);
                break SoundEnd::BrokeOff;
            }
        };
        let (rate_hz, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
        check_rate(rate_hz, limits)?;
        if channels == 0 || channels > limits.max_channels {
            return Err(AbsentReason::Unsupported);
        }
        if spec.is_none() {
            room::make_for_sound(rate_hz);
            // And for the packet with which the clip is longer than is analysed: growing would copy all of it.
            mono.reserve_exact(((expected_seconds + 1.0) * f64::from(rate_hz)).ceil() as usize);
        }
        if spec.get_or_insert((rate_hz, channels)).0 != rate_hz {
            break SoundEnd::BrokeOff;
        }
        buffer.copy_to_vecs_planar(&mut planes);
        jtav_signal::downmix(&planes, &mut mono).map_err(|_| AbsentReason::DecodeError)?;
        let enough = (limits.analysed_audio.as_secs_f64() * f64::from(rate_hz)) as usize;
        // One sample too many proves that something was left out.
        if mono.len() > enough {
            mono.truncate(enough);
            break SoundEnd::AnalysedLength;
        }
    };
    match spec {
        Some((rate_hz, channels)) if !mono.is_empty() => Ok(Stream { mono, rate_hz, channels, skipped_packets, end }),
        _ => Err(failure),
    }
}

fn reason(error: &Error) -> AbsentReason {
    match error {
        Error::Unsupported(_) => AbsentReason::Unsupported,
        Error::LimitError(_) => AbsentReason::TooLarge,
        _ => AbsentReason::DecodeError,
    }
}

/// CPU time of this thread. Wall time would blame a clip for a busy machine.
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec for the length of the call, and the clock id is a constant that
    // every supported Linux knows.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    if status != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_clock_of_a_thread_runs_with_its_work() {
        let before = thread_cpu_time();
        let mut x = 1_u64;
        while thread_cpu_time() < before + Duration::from_millis(2) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        std::thread::sleep(Duration::from_millis(30));
        assert!(thread_cpu_time() - before < Duration::from_millis(30), "sleeping is no CPU time ({x})");
    }
}
