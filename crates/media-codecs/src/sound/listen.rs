//! From packets to mono samples, up to the length that is listened to.

use std::ops::Range;

use jtav_schemas::AbsentReason;
use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::errors::Error;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration as PacketDuration, Timestamp};

use super::codecs::{Codecs, reason};
use super::steps::{Begin, Demux, Ending, Packet, Step, Ticks, Trim};
use crate::clock::Clock;
use crate::limits::{BeforeLarge, DecodeLimits};

/// Packets between two looks at the clock.
const PACKETS_PER_LOOK: u64 = 8;
/// Streams of one file that are heard, one after the other.
const MAX_STREAMS: usize = 64;
/// Sound of a higher rate is large: of the usual ones a minute takes less.
const LARGE_RATE_HZ: u32 = 48_000;

/// What holds for one file.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) limits: &'a DecodeLimits,
    pub(super) codecs: &'a Codecs,
    pub(super) clock: Clock,
    pub(super) before_large: BeforeLarge<'a>,
}

/// What was heard of a file.
pub(super) struct Heard {
    /// At least one, and none is empty. Streams of one rate that follow each other are one stretch.
    pub(super) stretches: Vec<Stretch>,
    /// The decoder of the first stream, and its channels.
    pub(super) codec: String,
    pub(super) channels: usize,
    pub(super) skipped_packets: usize,
    /// `None`: there is more than is listened to.
    pub(super) ending: Option<Ending>,
}

/// Mono samples.
pub(super) struct Stretch {
    pub(super) mono: Vec<f32>,
    pub(super) rate_hz: u32,
}

impl Stretch {
    pub(super) fn seconds(&self) -> f64 {
        self.mono.len() as f64 / f64::from(self.rate_hz)
    }
}

/// Listens to streams one after the other. Packets that cannot be decoded are skipped, as every player does; a clip of
/// nothing else is damaged.
///
/// # Errors
/// The reason of the first stream that cannot be decoded, if nothing before it could; `too_large` when time is up.
pub(super) fn listen(
    container: &mut dyn Demux<'_>,
    expected_seconds: f64,
    terms: Terms<'_>,
) -> Result<Heard, AbsentReason> {
    let clock = terms.clock;
    let mut ear = Ear::new(terms, expected_seconds);
    let (mut packets, mut streams) = (0_u64, 0);
    let ending = loop {
        match container.step() {
            Step::Begin(begin) => {
                streams += 1;
                if streams > MAX_STREAMS || !ear.begin(*begin)? {
                    break Some(Ending::Other);
                }
                if clock.is_over() {
                    return Err(AbsentReason::TooLarge);
                }
            }
            Step::Packet(packet) => {
                packets += 1;
                if packets.is_multiple_of(PACKETS_PER_LOOK) && clock.is_over() {
                    return Err(AbsentReason::TooLarge);
                }
                ear.hear(&packet)?;
                if ear.has_enough() {
                    ear.end_of_enough();
                    break None;
                }
            }
            Step::Missing => ear.miss(),
            Step::End(trim) => ear.end(trim),
            Step::Over(ending) => break Some(ending),
        }
    };
    // A reader that was stopped for its time looks like one at its end.
    if ending.is_some() && clock.is_over() {
        return Err(AbsentReason::TooLarge);
    }
    ear.heard(ending)
}

/// A stream that is heard.
struct Stream {
    decoder: Box<dyn AudioDecoder>,
    gain: f32,
    keep: Vec<Range<Ticks>>,
    /// Samples that were decoded, kept or not.
    position: u64,
    /// The same at the end of the packets before the last one and the one before that.
    earlier: [u64; 2],
    /// The container's first count with the position there, and its last one.
    first_count: Option<(u64, u64)>,
    last_count: Option<u64>,
    /// Length of the stretch when the stream began.
    from: usize,
}

struct Ear<'a> {
    terms: Terms<'a>,
    wanted_seconds: f64,
    expected_seconds: f64,
    stream: Option<Stream>,
    stretches: Vec<Stretch>,
    /// Seconds of all stretches but the last.
    before_seconds: f64,
    planes: Vec<Vec<f32>>,
    block: Vec<f32>,
    codec: String,
    channels: usize,
    skipped_packets: usize,
    failure: AbsentReason,
}

impl<'a> Ear<'a> {
    fn new(terms: Terms<'a>, expected_seconds: f64) -> Self {
        let limits = terms.limits;
        let wanted_seconds = limits.analysed_audio.min(limits.max_audio).as_secs_f64();
        Self {
            terms,
            wanted_seconds,
            expected_seconds: expected_seconds.clamp(0.0, wanted_seconds),
            stream: None,
            stretches: Vec::new(),
            before_seconds: 0.0,
            planes: Vec::new(),
            block: Vec::new(),
            codec: String::new(),
            channels: 0,
            skipped_packets: 0,
            failure: AbsentReason::DecodeError,
        }
    }

    fn has_sound(&self) -> bool {
        self.stretches.iter().any(|stretch| !stretch.mono.is_empty())
    }

    /// Whether the stream can be heard; an error if it cannot and it is the first.
    fn begin(&mut self, begin: Begin) -> Result<bool, AbsentReason> {
        let Begin { params, gain, keep } = begin;
        let channels = params.channels.as_ref().map(|channels| channels.count());
        let rate_is_fine = params.sample_rate.is_none_or(|rate_hz| self.check_rate(rate_hz).is_ok());
        let made = if !rate_is_fine || channels.is_some_and(|channels| channels > self.terms.limits.max_channels) {
            Err(AbsentReason::Unsupported)
        } else {
            self.terms.codecs.decoder(&params)
        };
        match made {
            Ok(decoder) => {
                if self.codec.is_empty() {
                    self.codec = decoder.codec_info().short_name.to_owned();
                }
                let from = self.stretches.last().map_or(0, |stretch| stretch.mono.len());
                let (first_count, last_count) = (None, None);
                self.stream =
                    Some(Stream { decoder, gain, keep, position: 0, earlier: [0; 2], first_count, last_count, from });
                Ok(true)
            }
            Err(_) if self.has_sound() => Ok(false),
            Err(reason) => Err(reason),
        }
    }

    fn check_rate(&self, rate_hz: u32) -> Result<(), AbsentReason> {
        let range = self.terms.limits.min_sample_rate_hz..=self.terms.limits.max_sample_rate_hz;
        if range.contains(&rate_hz) { Ok(()) } else { Err(AbsentReason::Unsupported) }
    }

    fn hear(&mut self, packet: &Packet<'_>) -> Result<(), AbsentReason> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let coded = PacketRef::new(0, Timestamp::ZERO, PacketDuration::ZERO, &packet.data);
        let buffer = match stream.decoder.decode_ref(&coded) {
            Ok(buffer) => buffer,
            Err(error) => {
                if !matches!(error, Error::DecodeError(_) | Error::IoError(_)) {
                    self.failure = reason(&error);
                }
                self.skipped_packets += 1;
                stream.forget_counts();
                let rate_hz = self.stretches.last().map_or(0, |stretch| stretch.rate_hz);
                let lasts = packet.lasts.map_or(0, |lasts| lasts.sample(rate_hz));
                stream.position = stream.position.saturating_add(lasts);
                return Ok(());
            }
        };
        let (rate_hz, channels) = (buffer.spec().rate(), buffer.spec().channels().count());
        buffer.copy_to_vecs_planar(&mut self.planes);
        self.check_rate(rate_hz)?;
        if channels == 0 || channels > self.terms.limits.max_channels {
            return Err(AbsentReason::Unsupported);
        }
        if self.channels == 0 {
            self.channels = channels;
        }
        self.block.clear();
        jtav_signal::downmix(&self.planes, &mut self.block).map_err(|_| AbsentReason::DecodeError)?;
        self.make_room(rate_hz);
        self.take_block(rate_hz, packet.counted);
        Ok(())
    }

    fn miss(&mut self) {
        self.skipped_packets += 1;
        if let Some(stream) = &mut self.stream {
            stream.forget_counts();
        }
    }

    /// A stretch of this rate at the end.
    fn make_room(&mut self, rate_hz: u32) {
        if self.stretches.last().is_some_and(|stretch| stretch.rate_hz == rate_hz) {
            return;
        }
        if rate_hz > LARGE_RATE_HZ {
            (self.terms.before_large)();
        }
        self.stretches.retain(|stretch| !stretch.mono.is_empty());
        self.before_seconds = self.stretches.iter().map(Stretch::seconds).sum();
        let mut mono = Vec::new();
        if self.stretches.is_empty() {
            // And for the packet with which the clip is longer than is listened to: growing would copy all of it.
            mono.reserve_exact(((self.expected_seconds + 1.0) * f64::from(rate_hz)).ceil() as usize);
        }
        self.stretches.push(Stretch { mono, rate_hz });
        if let Some(stream) = &mut self.stream {
            stream.from = 0;
        }
    }

    fn take_block(&mut self, rate_hz: u32, counted: Option<u64>) {
        let (Some(stream), Some(stretch)) = (&mut self.stream, self.stretches.last_mut()) else { return };
        let begin = stream.position;
        let end = begin.saturating_add(self.block.len() as u64);
        if stream.gain != 1.0 {
            self.block.iter_mut().for_each(|sample| *sample *= stream.gain);
        }
        if stream.keep.is_empty() {
            stretch.mono.extend_from_slice(&self.block);
        }
        for keep in &stream.keep {
            let kept = keep.start.sample(rate_hz).clamp(begin, end)..keep.end.sample(rate_hz).clamp(begin, end);
            if kept.start < kept.end {
                stretch.mono.extend_from_slice(&self.block[(kept.start - begin) as usize..(kept.end - begin) as usize]);
            }
        }
        stream.earlier = [stream.position, stream.earlier[0]];
        stream.position = end;
        let Some(counted) = counted else { return };
        if stream.first_count.is_none() {
            stream.first_count = Some((counted, end));
        } else if stream.last_count.is_none() {
            let lead = usize::try_from(stream.surplus_in_front()).unwrap_or(usize::MAX);
            stretch.mono.drain(stream.from..stretch.mono.len().min(stream.from.saturating_add(lead)));
        }
        if stream.first_count.is_some_and(|(_, position)| position < end) {
            stream.last_count = Some(counted);
        }
    }

    /// One sample too many proves that something was left out.
    fn has_enough(&self) -> bool {
        self.stretches.last().is_some_and(|stretch| stretch.mono.len() > self.enough(stretch.rate_hz))
    }

    /// Samples that the last stretch may have.
    fn enough(&self, rate_hz: u32) -> usize {
        ((self.wanted_seconds - self.before_seconds) * f64::from(rate_hz)) as usize
    }

    fn end_of_enough(&mut self) {
        let enough = self.stretches.last().map_or(0, |stretch| self.enough(stretch.rate_hz));
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.mono.truncate(enough);
        }
        self.stream = None;
    }

    fn end(&mut self, trim: Trim) {
        let (Some(stream), Some(stretch)) = (self.stream.take(), self.stretches.last_mut()) else { return };
        let surplus = match trim {
            Trim::Samples(samples) => samples,
            Trim::AsCounted => stream.surplus_behind(),
        };
        let left = stretch.mono.len().saturating_sub(usize::try_from(surplus).unwrap_or(usize::MAX));
        stretch.mono.truncate(left.max(stream.from));
    }

    fn heard(mut self, ending: Option<Ending>) -> Result<Heard, AbsentReason> {
        self.stretches.retain(|stretch| !stretch.mono.is_empty());
        if self.stretches.is_empty() {
            return Err(self.failure);
        }
        let Self { stretches, codec, channels, skipped_packets, .. } = self;
        Ok(Heard { stretches, codec, channels, skipped_packets, ending })
    }
}

impl Stream {
    /// What was missed is in them and not in the position.
    fn forget_counts(&mut self) {
        (self.first_count, self.last_count) = (None, None);
    }

    /// What two packets hold: no encoder adds more, and a count that says so is wrong.
    fn believable(&self, samples: u64) -> u64 {
        if samples <= self.position - self.earlier[1] { samples } else { 0 }
    }

    /// Samples before the count of several pages begins. Opus says so in its header.
    fn surplus_in_front(&self) -> u64 {
        let (counted, position) = self.first_count.unwrap_or_default();
        if self.keep.is_empty() { self.believable(position.saturating_sub(counted)) } else { 0 }
    }

    /// Samples behind the last count. Of a single page it is that of the whole stream.
    fn surplus_behind(&self) -> u64 {
        let Some((first, first_position)) = self.first_count else { return 0 };
        let counted = match self.last_count {
            Some(last) => last.saturating_sub(first).saturating_add(first_position),
            None => first,
        };
        self.believable(self.position.saturating_sub(counted))
    }
}
