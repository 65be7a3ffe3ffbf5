//! What goes over a worker's socket: a header of JSON behind its length, then the bytes that it announces.
//!
//! The reader trusts nobody: a worker that a medium has taken over can send anything.

use std::io::{self, Read, Write};
use std::sync::Arc;

use jtav_media_codecs::{DecodeLimits, Guarded, MediaFacts, Panicked, PictureFacts, SAMPLE_RATE_HZ, SoundFacts};
use jtav_pipeline::{Decoded, Pcm, RgbImage};
use jtav_schemas::{AbsentReason, Modality};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A header is a few hundred bytes.
const MAX_HEADER_BYTES: u32 = 64 << 10;

/// A medium to decode; its bytes follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) modality: Modality,
    pub(super) media_type: Option<String>,
    pub(super) size_bytes: u32,
}

/// What a worker says of a medium; samples or pixels follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(super) enum Reply {
    Sound { samples: u32, rate_hz: u32, facts: SoundFacts },
    Picture { width: u32, height: u32, facts: PictureFacts },
    Absent { reason: AbsentReason },
    Panicked,
}

/// What a reply may announce.
#[derive(Debug, Clone)]
pub(super) struct ReplyLimits {
    seconds: u64,
    rates_hz: Vec<u32>,
    side_px: u32,
}

impl ReplyLimits {
    pub(super) fn of(limits: &DecodeLimits) -> Self {
        // One second more than is analysed: resampling rounds up.
        let seconds = limits.analysed_audio.as_secs().saturating_add(2);
        let rates_hz = std::iter::once(SAMPLE_RATE_HZ).chain(limits.left_rates_hz.iter().copied()).collect();
        // A picture whose shorter side is less than the crop comes as it is, at most eight times as long.
        Self { seconds, rates_hz, side_px: limits.shorter_side_px.max(limits.crop_px).saturating_mul(8) }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

pub(super) fn write_header(to: &mut impl Write, header: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(header)?;
    let mut frame = (text.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(&text);
    to.write_all(&frame)
}

/// `None` where the stream has ended between two frames.
pub(super) fn read_header<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    if from.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        return Err(invalid("the header is too long"));
    }
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text)?;
    // Not serde's own kind: a header that stops in the middle is nonsense, and no end of the stream.
    serde_json::from_slice(&text).map(Some).map_err(|_| invalid("the header makes no sense"))
}

pub(super) fn write_reply(to: &mut impl Write, reply: WorkerResult) -> io::Result<()> {
    match reply {
        Ok(Ok((Decoded::Audio(pcm), MediaFacts::Sound(facts)))) => {
            write_header(to, &Reply::Sound { samples: pcm.samples.len() as u32, rate_hz: pcm.sample_rate_hz, facts })?;
            to.write_all(bytemuck::cast_slice(&pcm.samples))
        }
        Ok(Ok((Decoded::Image(image), MediaFacts::Picture(facts)))) => {
            write_header(to, &Reply::Picture { width: image.width, height: image.height, facts })?;
            to.write_all(&image.pixels)
        }
        Ok(Ok(_)) => write_header(to, &Reply::Absent { reason: AbsentReason::DecodeError }),
        Ok(Err(reason)) => write_header(to, &Reply::Absent { reason }),
        Err(Panicked) => write_header(to, &Reply::Panicked),
    }
}

/// To be read into where it will stay: from a `Vec` it would be copied once more.
fn zeros<T: Default + Clone>(len: usize) -> Arc<[T]> {
    std::iter::repeat_n(T::default(), len).collect()
}

/// What a worker made of a medium.
pub(super) type WorkerResult = Guarded<(Decoded, MediaFacts)>;

/// # Errors
/// Of the socket; `InvalidData` for what no honest worker sends.
pub(super) fn read_reply(from: &mut impl Read, limits: &ReplyLimits) -> io::Result<WorkerResult> {
    let header = read_header(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(match header {
        Reply::Panicked => Err(Panicked),
        Reply::Absent { reason } => Ok(Err(reason)),
        Reply::Sound { samples, rate_hz, facts } => {
            if !limits.rates_hz.contains(&rate_hz) {
                return Err(invalid("sound of a rate that was not asked for"));
            }
            if samples == 0 || u64::from(samples) > limits.seconds.saturating_mul(u64::from(rate_hz)) {
                return Err(invalid("more samples than may be analysed"));
            }
            let mut values = zeros::<f32>(samples as usize);
            from.read_exact(bytemuck::cast_slice_mut(Arc::make_mut(&mut values)))?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(invalid("a sample that is no number"));
            }
            let pcm = Pcm { samples: values, sample_rate_hz: rate_hz };
            Ok(Ok((Decoded::Audio(pcm), MediaFacts::Sound(facts))))
        }
        Reply::Picture { width, height, facts } => {
            if width == 0 || height == 0 || width > limits.side_px || height > limits.side_px {
                return Err(invalid("a picture of a size that was not asked for"));
            }
            let mut pixels = zeros::<u8>(width as usize * height as usize * 3);
            from.read_exact(Arc::make_mut(&mut pixels))?;
            Ok(Ok((Decoded::Image(RgbImage { width, height, pixels }), MediaFacts::Picture(facts))))
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> ReplyLimits {
        ReplyLimits::of(&DecodeLimits::for_tests())
    }

    fn picture(width: u32, height: u32) -> WorkerResult {
        let facts = PictureFacts {
            format: "png".into(),
            width: 9,
            height: 8,
            orientation: 1,
            resized_width: width,
            resized_height: height,
            crop_left: 0,
            crop_top: 0,
            crop_px: width,
        };
        let pixels: Vec<u8> = (0..width * height * 3).map(|at| at as u8).collect();
        Ok(Ok((Decoded::Image(RgbImage { width, height, pixels: pixels.into() }), MediaFacts::Picture(facts))))
    }

    fn sound(samples: usize, rate_hz: u32) -> WorkerResult {
        let facts = SoundFacts {
            container: "wav".into(),
            codec: "pcm_s16le".into(),
            sample_rate_hz: rate_hz,
            channels: 1,
            stated_seconds: None,
            decoded_seconds: 1.0,
            skipped_packets: 0,
            end: jtav_media_codecs::SoundEnd::Whole,
        };
        let samples: Vec<f32> = (0..samples).map(|at| (at as f32).sin()).collect();
        Ok(Ok((Decoded::Audio(Pcm { samples: samples.into(), sample_rate_hz: rate_hz }), MediaFacts::Sound(facts))))
    }

    #[test]
    fn sound_of_a_rate_that_is_left_comes_back_with_it_and_no_longer_than_is_analysed() {
        let limits = DecodeLimits { left_rates_hz: vec![48_000], ..DecodeLimits::for_tests() };
        let seconds = limits.analysed_audio.as_secs() as usize;
        let returned = |sent: &WorkerResult, limits: &DecodeLimits| {
            let mut frame = Vec::new();
            write_reply(&mut frame, sent.clone()).unwrap();
            read_reply(&mut frame.as_slice(), &ReplyLimits::of(limits))
        };
        let sent = sound(seconds * 48_000, 48_000);
        let received = returned(&sent, &limits).unwrap();
        assert!(matches!(&received, Ok(Ok((Decoded::Audio(pcm), _))) if pcm.sample_rate_hz == 48_000));
        assert!(returned(&sent, &DecodeLimits::for_tests()).is_err(), "nobody asked for so many samples");
        assert!(returned(&sound((seconds + 2) * 48_000 + 1, 48_000), &limits).is_err(), "more than is analysed");
        for rate_hz in [0, 44_100, 192_000] {
            assert!(returned(&sound(100, rate_hz), &limits).is_err(), "nobody asked for {rate_hz} Hz");
        }
    }

    #[test]
    fn a_picture_and_a_refusal_come_back_as_they_were_sent() {
        for sent in [picture(4, 5), Ok(Err(AbsentReason::TooLarge)), Err(Panicked)] {
            let mut frame = Vec::new();
            write_reply(&mut frame, sent.clone()).unwrap();
            let received = read_reply(&mut frame.as_slice(), &limits()).unwrap();
            assert_eq!(format!("{received:?}"), format!("{sent:?}"));
        }
    }

    #[test]
    fn a_reply_that_announces_more_than_was_asked_for_is_refused_before_memory_is_taken() {
        let mut frame = Vec::new();
        let facts = match picture(1, 1) {
            Ok(Ok((_, MediaFacts::Picture(facts)))) => facts,
            _ => unreachable!("made above"),
        };
        write_header(&mut frame, &Reply::Picture { width: 1 << 20, height: 1 << 20, facts }).unwrap();
        assert_eq!(read_reply(&mut frame.as_slice(), &limits()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let long = (MAX_HEADER_BYTES + 1).to_le_bytes();
        assert_eq!(read_reply(&mut long.as_slice(), &limits()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_stream_that_ends_between_two_frames_has_ended_and_one_inside_is_broken() {
        let mut frame = Vec::new();
        write_header(&mut frame, &Reply::Panicked).unwrap();
        assert!(read_header::<Reply>(&mut [].as_slice()).unwrap().is_none());
        for cut in 1..frame.len() {
            assert!(read_header::<Reply>(&mut &frame[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_worker_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_reply(&mut bytes.as_slice(), &limits());
        }
    }
}
