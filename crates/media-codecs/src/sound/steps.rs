//! What every container is reduced to: streams, one after the other, of packets.

use std::borrow::Cow;
use std::ops::Range;

use symphonia::core::codecs::audio::AudioCodecParameters;

/// One thing that a container holds, in order.
pub(super) enum Step<'a> {
    /// A stream begins, with a decoder of its own. A file has several where files were joined.
    Begin(Box<Begin>),
    /// Coded sound of the stream.
    Packet(Packet<'a>),
    /// Coded sound of the stream was here and is broken.
    Missing,
    /// The stream is over.
    End(Trim),
    /// The file is.
    Over(Ending),
}

pub(super) struct Begin {
    pub(super) params: AudioCodecParameters,
    /// Factor of the samples.
    pub(super) gain: f32,
    /// What of the decoded sound counts; empty for all of it.
    pub(super) keep: Vec<Range<Ticks>>,
}

impl Begin {
    /// A stream of which all counts.
    pub(super) fn whole(params: AudioCodecParameters) -> Box<Self> {
        Box::new(Self { params, gain: 1.0, keep: Vec::new() })
    }

    /// A stream of which the first `samples` are the encoder's delay.
    pub(super) fn delayed(params: AudioCodecParameters, samples: u64) -> Box<Self> {
        let rate_hz = params.sample_rate.unwrap_or(1);
        let keep = if samples == 0 { Vec::new() } else { vec![Ticks::new(samples, rate_hz)..Ticks::END] };
        Box::new(Self { params, gain: 1.0, keep })
    }
}

/// A place in a stream: `count / per_second` seconds behind its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks {
    count: u64,
    per_second: u32,
}

impl Ticks {
    /// Behind everything.
    pub(super) const END: Self = Self { count: u64::MAX, per_second: 1 };

    pub(super) fn new(count: u64, per_second: u32) -> Self {
        Self { count, per_second }
    }

    pub(super) fn seconds(self) -> f64 {
        self.count as f64 / f64::from(self.per_second.max(1))
    }

    /// The nearest sample.
    pub(super) fn sample(self, rate_hz: u32) -> u64 {
        let per_second = u128::from(self.per_second.max(1));
        let samples = (u128::from(self.count) * u128::from(rate_hz) + per_second / 2) / per_second;
        u64::try_from(samples).unwrap_or(u64::MAX)
    }
}

/// Coded sound.
pub(super) struct Packet<'a> {
    pub(super) data: Cow<'a, [u8]>,
    /// What it decodes to, where the container says: a packet that cannot be decoded takes this time all the same.
    pub(super) lasts: Option<Ticks>,
    /// The container's count of samples of the stream behind this packet.
    pub(super) counted: Option<u64>,
}

impl<'a> Packet<'a> {
    pub(super) fn of(data: &'a [u8]) -> Self {
        Self { data: Cow::Borrowed(data), lasts: None, counted: None }
    }
}

/// What is to go from the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trim {
    /// So many samples, which the encoder added.
    Samples(u64),
    /// What the counts of the packets say, as far as they can be believed.
    AsCounted,
}

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All of it was there, whatever its header says.
    Whole,
    /// Something is missing.
    Cut,
    /// It goes on as something that is not read. What came before counts.
    Other,
}

/// A container that is read.
pub(super) trait Demux<'a> {
    /// The next step; [`Step::Over`] for ever once it came. Each call costs time in the bytes that it passes, so all of
    /// them together are linear in the file.
    fn step(&mut self) -> Step<'a>;

    /// Length of the whole file in seconds: counted where that is cheap, else what its header says.
    fn seconds(&self) -> Option<f64>;
}
