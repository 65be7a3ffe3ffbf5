//! Constant-Q transform, J. C. Brown, "Calculation of a constant Q spectral transform", JASA 89
//! (1991), with the kernels and the scale of `librosa.cqt` 0.11.
//!
//! # How it is computed
//!
//! Bin `b` of frame `t` is the inner product of the clip with a Hann-windowed complex tone of
//! `lengthᵦ` samples, centred on sample `t · hop`. Over all frames that is a convolution, sampled
//! every `hop` samples. So the clip goes through one long FFT per block, a block being several
//! times as long as the longest kernel; for each bin the spectrum is multiplied by the kernel's,
//! and because only every hop-th sample of the result is wanted, the product is *folded* (summed
//! over indices that are equal modulo `block_len / hop`) before a tiny inverse FFT yields the bin
//! for all frames of the block. There is no decimation filter and hence no aliasing to tune, and a
//! ten-second clip costs two FFTs of 131072 samples plus 3 million multiply-adds.
//!
//! High tones have short kernels with wide spectra. Where the inner product itself is less work than the folding, the top
//! two octaves of the front end, it is computed as it stands.
//!
//! The kernel spectrum has a closed form and, measured from the middle of its window, is
//! real. Only the part within [`SIDE_LOBES`] bins of the centre is kept; what is cut off lies
//! below 7e-5 of the peak.

use std::f64::consts::{PI, TAU};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jtav_simd::{forms, multiply_add};
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner};

use crate::SignalError;
use crate::cqt_params::CqtParams;
use crate::pcm::{check_clip, copy_zero_padded};
use crate::spectrogram::Spectrogram;
use crate::tones::Tones;

/// Half-width of a stored kernel spectrum, in units of `sample_rate / length` (the first zero of
/// the Hann main lobe is at 2). With 12 bins per octave this reaches down to 0 Hz.
const SIDE_LOBES: f64 = 17.0;

/// A block is at least this many times as long as the longest kernel, so that no more than an
/// eighth of its frames is lost to wrap-around at the two ends.
const KERNELS_PER_BLOCK: usize = 8;

/// Kernels and FFT plans for one parameter set.
pub struct ConstantQ {
    params: CqtParams,
    block: Block,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// `exp(iπk / block_len)` for every `k` that some kernel reaches: moves the clip by half a sample,
    /// from the centre of the tones to the middle of the windows.
    half_sample: Vec<Complex<f32>>,
    /// Of the lower bins.
    kernels: Vec<Kernel>,
    /// Of the bins above them.
    tones: Tones,
}

/// How a clip is cut into blocks, in units of hops.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Frames per block; a power of two. `hops * hop_length` samples are transformed at once.
    hops: usize,
    /// Frames at either end that the wrap-around of the convolution spoils.
    margin: usize,
}

/// Spectrum of one kernel, scaled so that the folded product needs no further factor.
struct Kernel {
    /// Index of the first weight in the spectrum of a block.
    first_bin: usize,
    weights: Vec<f32>,
}

/// Buffers of one call.
struct Scratch {
    samples: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    forward: Vec<Complex<f32>>,
    inverse: Vec<Complex<f32>>,
    /// Real and imaginary parts apart: multiplying both by the same weights is then two plain
    /// loops over `f32`, which the compiler vectorises.
    re: Vec<f32>,
    im: Vec<f32>,
    folded_re: Vec<f32>,
    folded_im: Vec<f32>,
    folded: Vec<Complex<f32>>,
}

impl ConstantQ {
    /// Builds kernels and plans; with 96 bins at 22050 Hz about 3 MB.
    ///
    /// # Errors
    /// [`SignalError::InvalidParameter`].
    pub fn new(params: CqtParams) -> Result<Self, SignalError> {
        params.validate()?;
        Ok(Self::build(params))
    }

    /// [`Self::new`] for parameters that are known to be valid.
    pub(crate) fn build(params: CqtParams) -> Self {
        let folded = (0..params.n_bins).take_while(|&bin| !params.is_short(bin)).count();
        Self::build_with(params, folded)
    }

    /// The lowest `folded` bins by way of the spectrum, the others as they stand.
    fn build_with(params: CqtParams, folded: usize) -> Self {
        let block = params.block();
        let block_len = block.hops * params.hop_length;
        let kernels: Vec<Kernel> = (0..folded).map(|bin| params.kernel(bin, block_len)).collect();
        let reach = kernels.iter().map(|kernel| kernel.range().end).max().unwrap_or(0);
        let half_sample = (0..reach).map(|k| PI * k as f64 / block_len as f64);
        Self {
            params,
            block,
            forward: RealFftPlanner::new().plan_fft_forward(block_len),
            inverse: FftPlanner::new().plan_fft_inverse(block.hops),
            half_sample: half_sample.map(|a| Complex::new(a.cos() as f32, a.sin() as f32)).collect(),
            kernels,
            tones: Tones::new(&params, folded..params.n_bins),
        }
    }

    /// Magnitudes |C| of a whole clip, `[1 + samples / hop_length, n_bins]`, on the scale of
    /// `librosa.cqt(scale=True)`: a steady tone of amplitude `a` at the centre of a bin of
    /// `length` samples gives `a √length / 2`. Outside the clip the signal counts as zero.
    ///
    /// # Errors
    /// [`SignalError::EmptyClip`], [`SignalError::BadSample`].
    pub fn magnitude(&self, samples: &[f32]) -> Result<Spectrogram, SignalError> {
        check_clip(samples)?;
        let bins = self.params.n_bins;
        let frames = 1 + samples.len() / self.params.hop_length;
        let mut values = vec![0.0; frames * bins];
        self.tones.magnitude(samples, self.params.hop_length, bins, &mut values);
        if self.kernels.is_empty() {
            return Ok(Spectrogram { frames, bins, values });
        }
        let mut scratch = self.scratch();
        let frames_per_block = self.block.hops - 2 * self.block.margin;
        for (index, rows) in values.chunks_mut(frames_per_block * bins).enumerate() {
            let first_hop = (index * frames_per_block) as isize - self.block.margin as isize;
            copy_zero_padded(samples, first_hop * self.params.hop_length as isize, &mut scratch.samples);
            self.transform_block(&mut scratch)?;
            for (bin, kernel) in self.kernels.iter().enumerate() {
                self.apply(kernel, &mut scratch);
                let frames_of_block = &scratch.folded[self.block.margin..];
                // Samples are bounded, so a square cannot overflow: the careful `norm` would take longer than the rest.
                rows.chunks_mut(bins).zip(frames_of_block).for_each(|(row, c)| row[bin] = c.norm_sqr().sqrt());
            }
        }
        Ok(Spectrogram { frames, bins, values })
    }

    /// Spectrum of `scratch.samples`, half a sample later, into `scratch.re` and `scratch.im`.
    fn transform_block(&self, scratch: &mut Scratch) -> Result<(), SignalError> {
        self.forward.process_with_scratch(&mut scratch.samples, &mut scratch.spectrum, &mut scratch.forward)?;
        turned(&scratch.spectrum, &self.half_sample, &mut scratch.re, &mut scratch.im);
        Ok(())
    }

    /// One bin for all frames of the block, into `scratch.folded`.
    fn apply(&self, kernel: &Kernel, scratch: &mut Scratch) {
        let (re, im) = (&scratch.re[kernel.range()], &scratch.im[kernel.range()]);
        let (weights, first_bin) = (&kernel.weights, kernel.first_bin);
        fold(weights, first_bin, re, im, &mut scratch.folded_re, &mut scratch.folded_im);
        let parts = scratch.folded_re.iter().zip(&scratch.folded_im);
        scratch.folded.iter_mut().zip(parts).for_each(|(c, (&re, &im))| *c = Complex::new(re, im));
        self.inverse.process_with_scratch(&mut scratch.folded, &mut scratch.inverse);
    }

    fn scratch(&self) -> Scratch {
        let spectrum = self.forward.make_output_vec();
        let zero = Complex::new(0.0, 0.0);
        Scratch {
            samples: self.forward.make_input_vec(),
            forward: self.forward.make_scratch_vec(),
            inverse: vec![zero; self.inverse.get_inplace_scratch_len()],
            re: vec![0.0; self.half_sample.len()],
            im: vec![0.0; self.half_sample.len()],
            folded_re: vec![0.0; self.block.hops],
            folded_im: vec![0.0; self.block.hops],
            folded: vec![zero; self.block.hops],
            spectrum,
        }
    }
}

impl fmt::Debug for ConstantQ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConstantQ").field("params", &self.params).field("block", &self.block).finish_non_exhaustive()
    }
}

impl Kernel {
    fn range(&self) -> Range<usize> {
        self.first_bin..self.first_bin + self.weights.len()
    }
}

#[inline(always)]
fn turned_body<const FUSED: bool>(
    spectrum: &[Complex<f32>],
    turns: &[Complex<f32>],
    all_re: &mut [f32],
    all_im: &mut [f32],
) {
    for ((re, im), (x, turn)) in all_re.iter_mut().zip(all_im).zip(spectrum.iter().zip(turns)) {
        *re = multiply_add::<FUSED>(x.re, turn.re, -(x.im * turn.im));
        *im = multiply_add::<FUSED>(x.re, turn.im, x.im * turn.re);
    }
}

forms! {
    /// Each times its turn, real and imaginary parts apart.
    fn turned(spectrum: &[Complex<f32>], turns: &[Complex<f32>], all_re: &mut [f32], all_im: &mut [f32]) = turned_body
}

#[inline(always)]
fn fold_body<const FUSED: bool>(
    weights: &[f32],
    first_bin: usize,
    re: &[f32],
    im: &[f32],
    sums_re: &mut [f32],
    sums_im: &mut [f32],
) {
    let period = sums_re.len();
    sums_re.fill(0.0);
    sums_im.fill(0.0);
    let offset = first_bin % period;
    let head = (period - offset).min(weights.len());
    let (weights, rest) = weights.split_at(head);
    add_products::<FUSED>(weights, &re[..head], &im[..head], &mut sums_re[offset..], &mut sums_im[offset..]);
    let parts = re[head..].chunks(period).zip(im[head..].chunks(period));
    for (weights, (re, im)) in rest.chunks(period).zip(parts) {
        add_products::<FUSED>(weights, re, im, sums_re, sums_im);
    }
}

#[inline(always)]
fn add_products<const FUSED: bool>(weights: &[f32], re: &[f32], im: &[f32], sums_re: &mut [f32], sums_im: &mut [f32]) {
    let sums = sums_re.iter_mut().zip(sums_im);
    for ((sum_re, sum_im), (weight, (re, im))) in sums.zip(weights.iter().zip(re.iter().zip(im))) {
        *sum_re = multiply_add::<FUSED>(*weight, *re, *sum_re);
        *sum_im = multiply_add::<FUSED>(*weight, *im, *sum_im);
    }
}

forms! {
    /// `sums[k mod sums.len()] += weights · spectrum`, with `k` counted from the kernel's first bin; for both parts at once,
    /// so that the weights, which are most of the memory that is read, are read once.
    fn fold(
        weights: &[f32],
        first_bin: usize,
        re: &[f32],
        im: &[f32],
        sums_re: &mut [f32],
        sums_im: &mut [f32],
    ) = fold_body
}

impl CqtParams {
    /// Whether a frame's inner product with the kernel takes no more than its share of folding the spectrum: `length`
    /// products against `2 · SIDE_LOBES · hop / length`.
    fn is_short(&self, bin: usize) -> bool {
        self.length(bin).powi(2) <= 2.0 * SIDE_LOBES * self.hop_length as f64
    }

    fn block(&self) -> Block {
        let longest = self.length(0).ceil() as usize + 2;
        let margin = (longest / 2).div_ceil(self.hop_length);
        Block { hops: (KERNELS_PER_BLOCK * 2 * margin).next_power_of_two(), margin }
    }

    fn kernel(&self, bin: usize, block_len: usize) -> Kernel {
        let length = self.length(bin);
        // The sampled window is always odd: it runs from −⌈length/2⌉ up to, not including,
        // ⌊length/2⌋ + 1 around the centre of the tone, and a periodic Hann window starts with a
        // zero, so its middle lies half a sample beside the centre.
        let taps = 2.0 * (length / 2.0).floor() + 1.0;
        let centre = TAU * self.centre_hz(bin) / f64::from(self.sample_rate_hz);
        let reach = TAU * SIDE_LOBES / taps;
        let step = TAU / block_len as f64;
        let first_bin = ((centre - reach) / step).ceil().max(0.0) as usize;
        let last_bin = (((centre + reach) / step).floor() as usize).min(block_len / 2);
        // taps / 2 is the sum of the window (L1 norm), 1 / block_len belongs to the inverse FFT.
        let scale = length.sqrt() / (taps / 2.0) / block_len as f64;
        let weight = |k: usize| (scale * hann_spectrum(k as f64 * step - centre, taps)) as f32;
        Kernel { first_bin, weights: (first_bin..=last_bin).map(weight).collect() }
    }
}

/// Discrete-time Fourier transform at angle `theta` of a Hann window of `taps` samples, measured
/// from its middle, where it is real: Σ (½ + ½ cos(2πu/taps)) e^{−iθu}. The three Dirichlet kernels
/// of the sum, at θ and at θ ± 2π/taps, share their numerator and combine into one fraction.
fn hann_spectrum(theta: f64, taps: f64) -> f64 {
    let (half, bin) = (theta / 2.0, PI / taps);
    let pole = bin.sin().powi(2) - half.sin().powi(2);
    // The fraction is 0/0 in the centre and one bin beside it.
    if half.abs() < 1e-7 * bin {
        taps / 2.0
    } else if pole.abs() < 1e-7 * bin.sin().powi(2) {
        taps / 4.0
    } else {
        0.5 * (taps * half).sin() / half.tan() * bin.sin().powi(2) / pole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: CqtParams =
        CqtParams { sample_rate_hz: 22_050, hop_length: 1_024, f_min_hz: 32.703, bins_per_octave: 12, n_bins: 96 };

    #[test]
    fn the_closed_form_is_the_transform_of_the_sampled_window() {
        let taps = 49;
        let bin = TAU / 49.0;
        for theta in [0.0, 1e-13, 0.03, bin, -bin, bin * (1.0 + 1e-6), 0.5, -1.7, 3.0] {
            let direct: f64 = (0..taps)
                .map(|i| (0.5 - 0.5 * (TAU * f64::from(i) / 49.0).cos()) * (theta * (f64::from(i) - 24.5)).cos())
                .sum();
            assert!((hann_spectrum(theta, 49.0) - direct).abs() < 1e-6, "theta {theta}");
        }
    }

    #[test]
    fn folding_sums_what_is_equal_modulo_the_period() {
        let spectrum = [10.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let negated = spectrum.map(|x: f32| -x);
        let (mut re, mut im) = ([7.0; 4], [7.0; 4]);
        fold(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 7, &spectrum, &negated, &mut re, &mut im);
        assert_eq!(re, [2.0 + 6.0, 3.0, 4.0, 10.0 + 5.0]);
        assert_eq!(im, re.map(|x: f32| -x));
        fold(&[1.0, 2.0], 1, &spectrum[..2], &negated[..2], &mut re, &mut im);
        assert_eq!(re, [0.0, 10.0, 2.0, 0.0]);
    }

    #[test]
    fn the_default_geometry_is_the_one_the_documentation_names() {
        assert_eq!(PARAMS.validate(), Ok(()));
        assert!((PARAMS.quality() - 17.33).abs() < 0.01);
        assert_eq!(PARAMS.length(0).ceil(), 11_686.0);
        let Block { hops, margin } = PARAMS.block();
        assert_eq!((hops, margin), (128, 6));
    }

    #[test]
    fn a_bin_has_the_same_magnitude_by_either_way() {
        // Of noise, the hardest case: what the cut side lobes of a spectrum would have caught is everywhere.
        let sample = |i: u32| ((i.wrapping_mul(2_654_435_761) >> 16) as f32 / 32_768.0 - 1.0) * 0.3;
        let clip: Vec<f32> = (0..60 * 1_024 + 77).map(sample).collect();
        let built = ConstantQ::build(PARAMS);
        let folded = built.kernels.len();
        assert!((60..80).contains(&folded), "{folded} bins are folded");
        let all_folded = ConstantQ::build_with(PARAMS, 96);
        let (ours, other) = (built.magnitude(&clip).unwrap(), all_folded.magnitude(&clip).unwrap());
        let peak = other.values.iter().copied().fold(0.0, f32::max);
        for (at, (a, b)) in ours.values.iter().zip(&other.values).enumerate() {
            assert!((a - b).abs() < 1e-3 * peak, "frame {} bin {}: {a} and {b}", at / 96, at % 96);
        }
    }

    #[test]
    fn a_steady_tone_reads_half_its_amplitude_times_the_root_of_the_kernel_length() {
        let cqt = ConstantQ::new(PARAMS).unwrap();
        for bin in [30, 57, 90] {
            let step = TAU * PARAMS.centre_hz(bin) / 22_050.0;
            let tone: Vec<f32> = (0..40_000).map(|i| (0.5 * (step * f64::from(i)).cos()) as f32).collect();
            let magnitude = cqt.magnitude(&tone).unwrap();
            let expected = 0.25 * PARAMS.length(bin).sqrt() as f32;
            let got = magnitude.values[20 * 96 + bin];
            assert!((got / expected - 1.0).abs() < 1e-3, "bin {bin}: {got}, expected {expected}");
        }
    }

    #[test]
    fn a_clip_of_several_blocks_has_no_seams() {
        // Frames on both sides of a block border must equal those of a clip that starts later.
        let cqt = ConstantQ::new(PARAMS).unwrap();
        let sample = |i: u32| ((i.wrapping_mul(2_654_435_761) >> 16) as f32 / 32_768.0 - 1.0) * 0.3;
        let clip: Vec<f32> = (0..300 * 1_024).map(sample).collect();
        let whole = cqt.magnitude(&clip).unwrap();
        let later = cqt.magnitude(&clip[50 * 1_024..]).unwrap();
        let peak = whole.values.iter().copied().fold(0.0, f32::max);
        for frame in 100..240 {
            for bin in 0..96 {
                let (a, b) = (whole.values[frame * 96 + bin], later.values[(frame - 50) * 96 + bin]);
                assert!((a - b).abs() < 2e-5 * peak, "frame {frame} bin {bin}: {a} and {b}");
            }
        }
    }

    #[test]
    fn parameters_without_a_usable_kernel_are_refused() {
        let bad = [
            CqtParams { sample_rate_hz: 0, ..PARAMS },
            CqtParams { hop_length: 0, ..PARAMS },
            CqtParams { hop_length: 100_000, ..PARAMS },
            CqtParams { f_min_hz: f64::NAN, ..PARAMS },
            CqtParams { f_min_hz: -1.0, ..PARAMS },
            CqtParams { f_min_hz: 0.01, ..PARAMS },
            CqtParams { bins_per_octave: 0, ..PARAMS },
            CqtParams { n_bins: 0, ..PARAMS },
            CqtParams { n_bins: 108, ..PARAMS },
        ];
        for params in bad {
            assert!(matches!(ConstantQ::new(params), Err(SignalError::InvalidParameter { .. })), "{params:?}");
        }
    }
}
