//! Sample rate conversion for whole clips, in the frequency domain.
//!
//! The clip is cut into overlapping blocks. A block is transformed, multiplied by the spectrum of
//! a linear-phase low-pass, truncated or extended with zeros to the output rate, and transformed
//! back; the ends of the block, spoilt by wrap-around, are dropped (overlap-save). The
//! pass band is that of the SoX resampler's "HQ" recipe, soxr's default: flat up to 91.4 % of the
//! lower Nyquist frequency, stopped from that frequency on. The filter is symmetric, so the output
//! is not delayed.
//!
//! Our own and not `rubato` 5.1 (both above 100 dB on tones; that one takes 1.7 to 3.4 times as long for a clip of 30 s): a
//! GPU resamples with the coefficients of this very filter, and there the length of a transform, so memory, follows from
//! the rate in a file's header.

use std::f64::consts::PI;
use std::sync::{Arc, Mutex, PoisonError};

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::SignalError;
use crate::pcm::{check_samples, copy_zero_padded};

/// Lowest sample rate that is accepted, in Hz.
pub const MIN_RATE_HZ: u32 = 1_000;

/// Highest sample rate that is accepted, in Hz.
pub const MAX_RATE_HZ: u32 = 768_000;

/// Edge of the pass band, as a share of the lower Nyquist frequency (soxr HQ: 0.9137).
const PASS_BAND: f64 = 0.9137;

/// Attenuation of the Kaiser window, in dB: 20 bits, as soxr HQ.
const STOP_BAND_DB: f64 = 120.0;

/// Largest term of the ratio that is used exactly. 44100/22050 is 2/1, 48000/22050 is 320/147; a
/// pair of rates up to 65536 Hz is always exact. Above, for rates that hardly share a divisor, the
/// ratio is rounded to a neighbour less than 1/65536 away (under half a millisecond in
/// 30 seconds). FFT lengths are multiples of the terms: without a bound, the sample rate
/// in a file's header would decide how much memory is taken.
const MAX_TERM: u64 = 65_536;

/// Shortest block, in samples at the lower of the two rates.
const MIN_BLOCK_LEN: usize = 2_048;

/// Converts mono samples from one rate to another; `⌈n · to / from⌉` samples come out, the first
/// at the instant of the first sample that went in. Outside the clip the signal counts as zero.
///
/// Equal rates return a copy, an empty clip an empty clip.
///
/// # Errors
/// [`SignalError::UnsupportedRate`] outside [`MIN_RATE_HZ`]`..=`[`MAX_RATE_HZ`],
/// [`SignalError::BadSample`].
pub fn resample(samples: &[f32], from_hz: u32, to_hz: u32) -> Result<Vec<f32>, SignalError> {
    for rate_hz in [from_hz, to_hz] {
        if !(MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate_hz) {
            return Err(SignalError::UnsupportedRate { rate_hz });
        }
    }
    check_samples(samples)?;
    if from_hz == to_hz || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    plan(from_hz, to_hz)?.run(samples, resampled_len(samples.len(), from_hz, to_hz))
}

/// Samples that [`resample`] makes of `len`; 0 for a rate of 0.
pub fn resampled_len(len: usize, from_hz: u32, to_hz: u32) -> usize {
    if from_hz == 0 { 0 } else { (len as u128 * u128::from(to_hz)).div_ceil(u128::from(from_hz)) as usize }
}

/// Plans that are kept, of the pairs of rates that came first; a feed has a handful.
const MAX_PLANS: usize = 16;

/// Longest block, in samples, whose plan is kept: files choose their rate, and they shall not fill the memory.
const MAX_KEPT_LEN: usize = 1 << 15;

/// Plans by their two rates.
type Plans = Vec<((u32, u32), Arc<Blocks>)>;

/// The plan for a pair of rates: filter and transforms, which take as long to prepare as some seconds of sound to convert.
fn plan(from_hz: u32, to_hz: u32) -> Result<Arc<Blocks>, SignalError> {
    static PLANS: Mutex<Plans> = Mutex::new(Vec::new());
    // A thread that panicked with the lock held left the list as it was before or after a push.
    let plans = || PLANS.lock().unwrap_or_else(PoisonError::into_inner);
    let rates = (from_hz, to_hz);
    if let Some((_, plan)) = plans().iter().find(|(kept, _)| *kept == rates) {
        return Ok(Arc::clone(plan));
    }
    let plan = Arc::new(Blocks::plan(from_hz, to_hz)?);
    let mut plans = plans();
    let longest = plan.steps * plan.step_in.max(plan.step_out);
    if plans.len() < MAX_PLANS && longest <= MAX_KEPT_LEN && !plans.iter().any(|(kept, _)| *kept == rates) {
        plans.push((rates, Arc::clone(&plan)));
    }
    Ok(plan)
}

/// The block layout for one pair of rates. A *step* is the shortest time that is a whole number of
/// samples at both rates.
struct Blocks {
    /// Samples per step, before and after.
    step_in: usize,
    step_out: usize,
    /// Steps per block, and how many of them are dropped at either end.
    steps: usize,
    margin: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// Frequency response of the low-pass below the lower Nyquist frequency.
    gains: Vec<f32>,
}

impl Blocks {
    fn plan(from_hz: u32, to_hz: u32) -> Result<Self, SignalError> {
        let (step_in, step_out) = ratio(u64::from(from_hz), u64::from(to_hz));
        let lower_nyquist = lower_nyquist(step_in, step_out);
        let half_filter = LowPass::new(lower_nyquist).half();
        let margin = half_filter.len().div_ceil(step_in);
        let steps = MIN_BLOCK_LEN.div_ceil(step_in.min(step_out)).max(8 * margin).next_power_of_two();
        let mut planner = RealFftPlanner::<f32>::new();
        let forward = planner.plan_fft_forward(steps * step_in);
        let inverse = planner.plan_fft_inverse(steps * step_out);
        let gains = gains(&half_filter, forward.as_ref(), (steps * step_in.min(step_out)) / 2)?;
        Ok(Self { step_in, step_out, steps, margin, forward, inverse, gains })
    }

    fn run(&self, samples: &[f32], output_len: usize) -> Result<Vec<f32>, SignalError> {
        let (forward, inverse) = (&self.forward, &self.inverse);
        let (mut block_in, mut block_out) = (forward.make_input_vec(), inverse.make_output_vec());
        let (mut spectrum, mut cut) = (forward.make_output_vec(), inverse.make_input_vec());
        let mut scratch_in = forward.make_scratch_vec();
        let mut scratch_out = inverse.make_scratch_vec();

        let kept_steps = self.steps - 2 * self.margin;
        let kept = self.margin * self.step_out..(self.steps - self.margin) * self.step_out;
        let mut output = Vec::with_capacity(output_len + kept.len());
        while output.len() < output_len {
            let first_step = (output.len() / kept.len() * kept_steps) as isize - self.margin as isize;
            copy_zero_padded(samples, first_step * self.step_in as isize, &mut block_in);
            forward.process_with_scratch(&mut block_in, &mut spectrum, &mut scratch_in)?;
            let products = cut.iter_mut().zip(spectrum.iter().zip(&self.gains));
            products.for_each(|(y, (x, gain))| *y = x * gain);
            // Beyond `gains` the low-pass is zero, and so is what the longer side has there.
            cut[self.gains.len()..].fill(Complex::new(0.0, 0.0));
            inverse.process_with_scratch(&mut cut, &mut block_out, &mut scratch_out)?;
            output.extend_from_slice(&block_out[kept.clone()]);
        }
        output.truncate(output_len);
        Ok(output)
    }
}

/// The lower of the two Nyquist frequencies, as a share of the input's.
pub(crate) fn lower_nyquist(step_in: usize, step_out: usize) -> f64 {
    (step_out as f64 / step_in as f64).min(1.0)
}

/// Frequency response of a symmetric low-pass, given by one half with the middle first, divided by the length of the
/// transform: `bins` of it. The Nyquist bin is left out: the inverse FFT wants it real.
fn gains(half_filter: &[f64], forward: &dyn RealToComplex<f32>, bins: usize) -> Result<Vec<f32>, SignalError> {
    let mut response = forward.make_input_vec();
    let len_in = response.len();
    for (i, &tap) in half_filter.iter().enumerate() {
        response[i] = tap as f32;
        response[(len_in - i) % len_in] = tap as f32;
    }
    let mut spectrum = forward.make_output_vec();
    forward.process(&mut response, &mut spectrum)?;
    Ok(spectrum[..bins].iter().map(|h| h.re / len_in as f32).collect())
}

/// Kaiser-windowed sinc with unit gain at 0 Hz. Window length after Kaiser (1974), as in Oppenheim and Schafer,
/// section 7.6.
pub(crate) struct LowPass {
    /// In units of the input's Nyquist frequency.
    cutoff: f64,
    /// In input samples, a whole number.
    half_len: f64,
    beta: f64,
    scale: f64,
}

impl LowPass {
    /// For the lower of two Nyquist frequencies, in units of the input's.
    pub(crate) fn new(lower_nyquist: f64) -> Self {
        let transition = PI * lower_nyquist * (1.0 - PASS_BAND);
        let half_len = ((STOP_BAND_DB - 8.0) / (2.285 * transition) / 2.0).ceil();
        let beta = 0.1102 * (STOP_BAND_DB - 8.7);
        let cutoff = lower_nyquist * (1.0 + PASS_BAND) / 2.0;
        let unscaled = Self { cutoff, half_len, beta, scale: 1.0 };
        let half = unscaled.half();
        Self { scale: 1.0 / (half[0] + 2.0 * half[1..].iter().sum::<f64>()), ..unscaled }
    }

    /// Input samples from the middle to either end.
    pub(crate) fn half_len(&self) -> usize {
        self.half_len as usize
    }

    /// The response this many input samples from its middle; fractions are fine.
    pub(crate) fn at(&self, distance: f64) -> f64 {
        let position = distance / self.half_len;
        if position.abs() > 1.0 {
            return 0.0;
        }
        let x = PI * self.cutoff * distance;
        let sinc = if x == 0.0 { 1.0 } else { x.sin() / x };
        self.scale * sinc * bessel_i0(self.beta * (1.0 - position * position).sqrt())
    }

    /// One half at whole samples, the middle first.
    fn half(&self) -> Vec<f64> {
        (0..=self.half_len()).map(|i| self.at(i as f64)).collect()
    }
}

/// Modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter_square = x * x / 4.0;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter_square / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// `from / to` in lowest terms, or, if a term is above [`MAX_TERM`], the last convergent of its
/// continued fraction whose terms are not.
pub(crate) fn ratio(from: u64, to: u64) -> (usize, usize) {
    let (mut a, mut b) = (from, to);
    let (mut previous, mut current) = ((0, 1), (1, 0));
    while b != 0 {
        let quotient = a / b;
        let next = (quotient * current.0 + previous.0, quotient * current.1 + previous.1);
        if next.0.max(next.1) > MAX_TERM {
            break;
        }
        (previous, current) = (current, next);
        (a, b) = (b, a % b);
    }
    (current.0 as usize, current.1 as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn tone(rate_hz: u32, hz: f64, len: usize) -> Vec<f32> {
        (0..len).map(|i| (0.5 * (TAU * hz * i as f64 / f64::from(rate_hz)).sin()) as f32).collect()
    }

    /// Signal-to-noise ratio against the ideal, in dB, away from the ends of the clip.
    fn snr_db(got: &[f32], ideal: &[f32]) -> f64 {
        let inner = 600..got.len() - 600;
        let energy = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>();
        let signal = energy(&mut ideal[inner.clone()].iter().map(|&x| f64::from(x)));
        let noise = energy(&mut inner.map(|i| f64::from(got[i]) - f64::from(ideal[i])));
        10.0 * (signal / noise).log10()
    }

    #[test]
    fn a_tone_in_the_pass_band_survives_with_100_db() {
        for from_hz in [8_000, 11_025, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000] {
            let nyquist_hz = f64::from(from_hz.min(22_050)) / 2.0;
            for share in [0.01, 0.3, 0.7, 0.9] {
                let hz = share * nyquist_hz;
                let got = resample(&tone(from_hz, hz, from_hz as usize), from_hz, 22_050).unwrap();
                let snr = snr_db(&got, &tone(22_050, hz, got.len()));
                assert!(snr > 100.0, "{from_hz} Hz, tone {hz} Hz: {snr:.1} dB");
            }
        }
    }

    #[test]
    fn a_tone_above_the_new_nyquist_frequency_is_removed_by_100_db() {
        for hz in [11_300.0, 15_000.0, 21_000.0] {
            let got = resample(&tone(44_100, hz, 44_100), 44_100, 22_050).unwrap();
            let loudest = got[600..got.len() - 600].iter().fold(0f32, |m, x| m.max(x.abs()));
            assert!(loudest < 0.5e-5, "{hz} Hz leaves {loudest}");
        }
    }

    #[test]
    fn the_length_is_rounded_up() {
        for (n, from_hz, to_hz, expected) in [
            (320, 48_000, 22_050, 147),
            (321, 48_000, 22_050, 148),
            (1, 44_100, 22_050, 1),
            (1, 8_000, 22_050, 3),
            (0, 8_000, 22_050, 0),
        ] {
            assert_eq!(resample(&vec![0.1; n], from_hz, to_hz).unwrap().len(), expected);
        }
    }

    #[test]
    fn equal_rates_return_the_clip_untouched() {
        assert_eq!(resample(&[0.1, -0.2, 0.3], 44_100, 44_100).unwrap(), [0.1, -0.2, 0.3]);
    }

    #[test]
    fn rates_outside_the_supported_range_and_bad_samples_are_refused() {
        for rate_hz in [0, 999, 768_001, u32::MAX] {
            assert_eq!(resample(&[0.0], rate_hz, 22_050), Err(SignalError::UnsupportedRate { rate_hz }));
            assert_eq!(resample(&[0.0], 22_050, rate_hz), Err(SignalError::UnsupportedRate { rate_hz }));
        }
        assert!(matches!(resample(&[0.0, f32::NAN], 44_100, 22_050), Err(SignalError::BadSample { index: 1, .. })));
    }

    #[test]
    fn a_ratio_with_large_terms_is_rounded_and_the_others_are_exact() {
        assert_eq!(ratio(44_100, 22_050), (2, 1));
        assert_eq!(ratio(48_000, 22_050), (320, 147));
        assert_eq!(ratio(8_000, 22_050), (160, 441));
        assert_eq!(ratio(44_101, 22_050), (44_101, 22_050));
        for from in [66_149u64, 88_201, 191_999, 767_957] {
            let (a, b) = ratio(from, 22_050);
            assert!(a.max(b) as u64 <= MAX_TERM);
            let drift = (a as f64 / b as f64) / (from as f64 / 22_050.0) - 1.0;
            assert!(drift != 0.0 && drift.abs() < 1.0 / 65_536.0, "{from}: {drift:e}");
        }
    }

    #[test]
    fn a_rate_that_shares_no_divisor_keeps_its_tone() {
        let got = resample(&tone(44_101, 1_000.0, 44_101), 44_101, 22_050).unwrap();
        let snr = snr_db(&got, &tone(22_050, 1_000.0, got.len()));
        assert!(snr > 100.0, "{snr:.1} dB");
    }
}
