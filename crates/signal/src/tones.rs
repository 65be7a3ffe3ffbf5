//! The inner products of a constant-Q transform as they stand: what [`crate::constant_q`] does where kernels are short.

use std::f64::consts::TAU;
use std::ops::Range;

use jtav_simd::{forms, multiply_add};

use crate::cqt_params::CqtParams;
use crate::frames::FrameOperator;
use crate::pcm::copy_zero_padded;

/// Kernels as they stand, of neighbouring bins: windowed tones with their middles in the same place.
pub(crate) struct Tones {
    /// The first bin that has one.
    first_bin: usize,
    /// Samples before the frame's own sample, and all that one frame takes.
    before: usize,
    reach: usize,
    tones: Vec<Tone>,
}

/// A windowed tone, scaled. Both parts have a multiple of [`LANES`] samples, the last ones zero.
struct Tone {
    /// Its first sample among those of the frame.
    start: usize,
    re: Vec<f32>,
    im: Vec<f32>,
}

/// The constant-Q transform, one operator an octave, the lowest first: the kernels of an octave differ in length by less
/// than two, and little of a matrix is zero. A row holds the real parts of the octave's bins, then the imaginary ones. The
/// parameters must be valid.
pub(crate) fn constant_q_operators(params: &CqtParams) -> Vec<FrameOperator> {
    let octaves = (0..params.n_bins).step_by(params.bins_per_octave);
    let bins = octaves.map(|first| first..(first + params.bins_per_octave).min(params.n_bins));
    bins.map(|bins| Tones::new(params, bins).operator(params.hop_length)).collect()
}

/// Samples that are multiplied at once.
const LANES: usize = 32;

impl Tones {
    pub(crate) fn new(params: &CqtParams, bins: Range<usize>) -> Self {
        let first_bin = bins.start;
        let before = if bins.is_empty() { 0 } else { params.half_length(first_bin) - 1 };
        let tones: Vec<Tone> = bins.map(|bin| Tone::new(params, bin, before)).collect();
        let reach = tones.iter().map(|tone| tone.start + tone.re.len()).max().unwrap_or(0);
        Self { first_bin, before, reach, tones }
    }

    /// The same as one matrix: the real parts of all bins, then the imaginary ones.
    fn operator(&self, hop_length: usize) -> FrameOperator {
        let outputs = 2 * self.tones.len();
        let mut matrix = vec![0.0; self.reach * outputs];
        for (bin, tone) in self.tones.iter().enumerate() {
            let rows = matrix.chunks_mut(outputs).skip(tone.start);
            for (row, (re, im)) in rows.zip(tone.re.iter().zip(&tone.im)) {
                (row[bin], row[self.tones.len() + bin]) = (*re, *im);
            }
        }
        FrameOperator { before: self.before, stride: hop_length, width: self.reach, outputs, matrix }
    }

    /// Writes the bins that are kept here into rows of `bins` values.
    pub(crate) fn magnitude(&self, samples: &[f32], hop_length: usize, bins: usize, values: &mut [f32]) {
        let mut edge = vec![0.0; self.reach];
        for (frame, row) in values.chunks_mut(bins).enumerate() {
            let start = (frame * hop_length) as isize - self.before as isize;
            let inside = usize::try_from(start).ok().and_then(|start| samples.get(start..start + self.reach));
            let window = match inside {
                Some(window) => window,
                None => {
                    copy_zero_padded(samples, start, &mut edge);
                    &edge
                }
            };
            for (value, tone) in row[self.first_bin..].iter_mut().zip(&self.tones) {
                *value = tone.magnitude(&window[tone.start..]);
            }
        }
    }
}

impl Tone {
    /// Sample `d` from the frame's own, of 2h from 1 − h to h (h is half the length, rounded down). The window's middle
    /// lies at ½, as in the closed form of `CqtParams::kernel`.
    fn new(params: &CqtParams, bin: usize, before: usize) -> Self {
        let half = params.half_length(bin);
        let step = TAU * params.centre_hz(bin) / f64::from(params.sample_rate_hz);
        let taps = (2 * half + 1) as f64;
        let scale = params.length(bin).sqrt() / (taps / 2.0);
        let offsets = (0..2 * half).map(|i| i as f64 + 1.0 - half as f64);
        let tone = offsets.map(|d| {
            let window = 0.5 + 0.5 * (TAU * (d - 0.5) / taps).cos();
            (scale * window * (step * d).cos(), scale * window * (step * d).sin())
        });
        let (mut re, mut im): (Vec<f32>, Vec<f32>) = tone.map(|(re, im)| (re as f32, im as f32)).unzip();
        let padded = re.len().next_multiple_of(LANES);
        re.resize(padded, 0.0);
        im.resize(padded, 0.0);
        Self { start: before + 1 - half, re, im }
    }

    fn magnitude(&self, window: &[f32]) -> f32 {
        length_beside(window, &self.re, &self.im)
    }
}

#[inline(always)]
fn length_beside_body<const FUSED: bool>(window: &[f32], cosines: &[f32], sines: &[f32]) -> f32 {
    let (mut re, mut im) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let parts = cosines.as_chunks::<LANES>().0.iter().zip(sines.as_chunks::<LANES>().0);
    for (x, (cosines, sines)) in window.as_chunks::<LANES>().0.iter().zip(parts) {
        for lane in 0..LANES {
            re[lane] = multiply_add::<FUSED>(x[lane], cosines[lane], re[lane]);
            im[lane] = multiply_add::<FUSED>(x[lane], sines[lane], im[lane]);
        }
    }
    let (re, im) = (re.iter().sum::<f32>(), im.iter().sum::<f32>());
    (re * re + im * im).sqrt()
}

forms! {
    /// Length of the complex sum of a window's samples times a tone.
    fn length_beside(window: &[f32], cosines: &[f32], sines: &[f32]) -> f32 = length_beside_body
}
