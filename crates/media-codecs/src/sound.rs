//! MP3, AAC-LC (M4A, ADTS), FLAC, Ogg Vorbis, Opus (Ogg, M4A) and WAV to mono, at 22,050 Hz unless it is to be left.
//!
//! The container is chosen by signature, so only one parser ever sees a file, and only the six wanted codecs are
//! registered. What was read counts, not what a header says: containers are walked here ([`steps`], ADR 23), and what they claim
//! of lengths is believed where it cuts off what an encoder added, as FFmpeg does it. A clip that is longer than what is
//! listened to is cut off.

pub(crate) mod adts;
mod codecs;
mod flac;
mod listen;
mod mp4;
pub(crate) mod mpeg;
mod ogg;
mod opus;
mod sbr;
mod spliced;
mod steps;
mod wav;

use jtav_schemas::{AbsentReason, Pcm};
use jtav_signal::{SignalError, check_clip, resample};

use crate::clock::Clock;
use crate::facts::{SoundEnd, SoundFacts};
use crate::format::SoundFormat;
use crate::limits::{BeforeLarge, DecodeLimits};
use codecs::Codecs;
use listen::{Heard, Stretch, Terms, listen};
use mpeg::header::layer_of_stream;
use steps::{Demux, Ending};

/// What the audio encoder listens at.
pub const SAMPLE_RATE_HZ: u32 = 22_050;

/// Of a clip that was cut short, less than this is no clip.
const LEAST_OF_A_CUT_CLIP_SECONDS: f64 = 1.0;

/// Decodes the first part of a clip.
pub(crate) fn decode(
    bytes: &[u8],
    format: SoundFormat,
    limits: &DecodeLimits,
    before_large: BeforeLarge<'_>,
) -> Result<(Pcm, SoundFacts), AbsentReason> {
    let codecs = Codecs::served();
    let clock = Clock::start(limits.max_audio_cpu);
    let in_time = |reason| if clock.is_over() { AbsentReason::TooLarge } else { reason };
    let mut container = open(bytes, format, clock, &codecs).map_err(in_time)?;
    let stated_seconds = container.seconds();
    let terms = Terms { limits, codecs: &codecs, clock, before_large };
    let heard = listen(container.as_mut(), stated_seconds.unwrap_or(0.0), terms).map_err(in_time)?;
    let facts = facts(&heard, format, stated_seconds);
    if heard.ending == Some(Ending::Cut) && facts.decoded_seconds < LEAST_OF_A_CUT_CLIP_SECONDS {
        return Err(AbsentReason::DecodeError);
    }
    // Samples that are no numbers come out of float files; they are damage like any other.
    let pcm = at_wanted_rate(heard.stretches, limits).map_err(|_| AbsentReason::DecodeError)?;
    Ok((pcm, facts))
}

fn open<'a>(
    bytes: &'a [u8],
    format: SoundFormat,
    clock: Clock,
    codecs: &Codecs,
) -> Result<Box<dyn Demux<'a> + 'a>, AbsentReason> {
    Ok(match format {
        SoundFormat::Mp3 => Box::new(mpeg::Mpeg::new(bytes)),
        SoundFormat::Adts => Box::new(adts::Adts::new(bytes)?),
        SoundFormat::Flac => Box::new(flac::Flac::new(bytes, clock)?),
        SoundFormat::Ogg => Box::new(ogg::Ogg::new(bytes)?),
        SoundFormat::Mp4 => Box::new(mp4::Mp4::new(bytes, clock, codecs)?),
        SoundFormat::Wav => {
            let layout = wav::layout(bytes)?;
            match layout.format.is_mpeg() {
                true => mpeg_in_wav(&bytes[layout.data])?,
                false => Box::new(wav::Wav::new(bytes, &layout)?),
            }
        }
    })
}

/// Layer II has the same format tag as the others.
fn mpeg_in_wav<'a>(data: &'a [u8]) -> Result<Box<dyn Demux<'a> + 'a>, AbsentReason> {
    match layer_of_stream(data) {
        None | Some(3) => Ok(Box::new(mpeg::Mpeg::new(data))),
        Some(_) => Err(AbsentReason::Unsupported),
    }
}

fn facts(heard: &Heard, format: SoundFormat, stated_seconds: Option<f64>) -> SoundFacts {
    let decoded_seconds: f64 = heard.stretches.iter().map(Stretch::seconds).sum();
    let end = match heard.ending {
        None => SoundEnd::AnalysedLength,
        Some(Ending::Whole) => SoundEnd::Whole,
        Some(Ending::Cut | Ending::Other) => SoundEnd::BrokeOff,
    };
    // Headers of variable bit rate err by a twentieth. What errs by more, of a file that is whole, is no length.
    let is_near = |stated: &f64| (stated - decoded_seconds).abs() <= 0.05 * decoded_seconds + 0.1;
    SoundFacts {
        container: format.name().into(),
        codec: heard.codec.clone().into(),
        sample_rate_hz: heard.stretches.first().map_or(0, |stretch| stretch.rate_hz),
        channels: heard.channels,
        stated_seconds: stated_seconds.filter(|stated| end != SoundEnd::Whole || is_near(stated)),
        decoded_seconds,
        skipped_packets: heard.skipped_packets,
        end,
    }
}

/// Stretches of several rates come at the wanted one, so that they can stand in one clip.
fn at_wanted_rate(mut stretches: Vec<Stretch>, limits: &DecodeLimits) -> Result<Pcm, SignalError> {
    let is_left = |rate_hz| rate_hz == SAMPLE_RATE_HZ || limits.left_rates_hz.contains(&rate_hz);
    if let [only] = stretches.as_mut_slice()
        && is_left(only.rate_hz)
    {
        check_clip(&only.mono)?;
        return Ok(Pcm { samples: std::mem::take(&mut only.mono).into(), sample_rate_hz: only.rate_hz });
    }
    let mut samples = Vec::new();
    for stretch in stretches {
        let resampled = resample(&stretch.mono, stretch.rate_hz, SAMPLE_RATE_HZ)?;
        if samples.is_empty() {
            samples = resampled;
        } else {
            samples.extend_from_slice(&resampled);
        }
    }
    Ok(Pcm { samples: samples.into(), sample_rate_hz: SAMPLE_RATE_HZ })
}
