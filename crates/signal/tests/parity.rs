//! The numbers against librosa 0.11 and soxr 1.1 (`fixtures/make_fixtures.py`).

use std::path::Path;

use jtav_signal::constants::{BINS, HOP_LENGTH, MFCC_COEFFICIENTS, N_FFT, SAMPLE_RATE_HZ};
use jtav_signal::{
    ConstantQ, CqtFrontEnd, DEVICE_RATES_HZ, FrameOperator, MelParams, MelSpectrogram, Mfcc, Spectrogram, power_to_db,
    resample,
};
use safetensors::SafeTensors;

fn fixture(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file)).unwrap()
}

fn floats(file: &[u8], name: &str) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let (values, rest) = tensors.tensor(name).unwrap().data().as_chunks();
    assert!(rest.is_empty(), "{name} is not f32");
    values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn pcm(file: &[u8], name: &str) -> Vec<f32> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let (values, rest) = tensors.tensor(name).unwrap().data().as_chunks();
    assert!(rest.is_empty(), "{name} is not i16");
    values.iter().map(|&bytes| f32::from(i16::from_le_bytes(bytes)) / 32_768.0).collect()
}

fn clip() -> Vec<f32> {
    pcm(&fixture("clip_22050.safetensors"), "pcm")
}

fn peak(values: &[f32]) -> f32 {
    values.iter().copied().fold(0.0, f32::max)
}

fn largest_difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |x: &[f32]| x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x) - mean_a, f64::from(y) - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    ab / (aa * bb).sqrt()
}

fn assert_shape(spectrogram: &Spectrogram, samples: usize) {
    assert_eq!((spectrogram.frames, spectrogram.bins), (1 + samples / HOP_LENGTH, BINS));
}

#[test]
fn constant_q_equals_librosas_wavelets_applied_directly() {
    let want = floats(&fixture("front_end.safetensors"), "cqt_direct");
    let got = ConstantQ::new(CqtFrontEnd::PARAMS).unwrap().magnitude(&clip()).unwrap();
    assert_shape(&got, clip().len());
    let error = largest_difference(&got.values, &want) / peak(&want);
    println!(
        "constant-Q, direct: largest difference {error:.2e} of the peak, correlation {:.8}",
        correlation(&got.values, &want)
    );
    assert!(error <= 1e-4, "{error:e}");
}

#[test]
fn constant_q_follows_librosa_cqt_as_closely_as_its_decimation_allows() {
    let want = floats(&fixture("front_end.safetensors"), "cqt");
    let got = ConstantQ::new(CqtFrontEnd::PARAMS).unwrap().magnitude(&clip()).unwrap().values;
    let floor = peak(&want) * 1e-3;
    let audible = got.iter().zip(&want).filter(|&(_, &w)| w > floor);
    let mut differences_db: Vec<f32> = audible.map(|(g, w)| 20.0 * (g / w).log10().abs()).collect();
    differences_db.sort_by(f32::total_cmp);
    let median_db = differences_db[differences_db.len() / 2];
    let r = correlation(&got, &want);
    println!(
        "constant-Q, librosa.cqt: correlation {r:.6}, median difference {median_db:.3} dB over {} values above -60 dB",
        differences_db.len()
    );
    assert!(r >= 0.9997, "{r}");
    assert!(median_db <= 0.3, "{median_db} dB");
}

/// What a device makes of a clip, in plain loops: `rows` rows, one after the other.
fn products(operator: &FrameOperator, samples: &[f32], rows: usize) -> Vec<f32> {
    let sample = |at: usize| at.checked_sub(operator.before).and_then(|at| samples.get(at)).copied().unwrap_or(0.0);
    let mut values = vec![0.0_f64; rows * operator.outputs];
    for (row, sums) in values.chunks_mut(operator.outputs).enumerate() {
        for (at, weights) in operator.matrix.chunks(operator.outputs).enumerate() {
            let x = sample(row * operator.stride + at);
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += f64::from(x * weight));
        }
    }
    values.into_iter().map(|value| value as f32).collect()
}

#[test]
fn the_matrices_of_the_octaves_equal_librosas_wavelets_applied_directly() {
    let (want, clip) = (floats(&fixture("front_end.safetensors"), "cqt_direct"), clip());
    let frames = 1 + clip.len() / HOP_LENGTH;
    let mut got = vec![0.0; want.len()];
    let mut first_bin = 0;
    for operator in CqtFrontEnd::operators() {
        let bins = operator.outputs / 2;
        for (frame, row) in products(&operator, &clip, frames).chunks(operator.outputs).enumerate() {
            let (re, im) = row.split_at(bins);
            let magnitudes = re.iter().zip(im).map(|(re, im)| re.hypot(*im));
            got[frame * BINS + first_bin..][..bins].iter_mut().zip(magnitudes).for_each(|(to, from)| *to = from);
        }
        first_bin += bins;
    }
    assert_eq!(first_bin, BINS);
    let error = largest_difference(&got, &want) / peak(&want);
    println!("constant-Q by matrices: largest difference {error:.2e} of the peak");
    assert!(error <= 1e-4, "{error:e}");
}

#[test]
fn resampling_by_matrix_agrees_with_resampling_by_spectrum_to_100_db() {
    let clip = clip();
    for from_hz in DEVICE_RATES_HZ {
        // The same samples, played faster or slower.
        let expected = resample(&clip, from_hz, SAMPLE_RATE_HZ).unwrap();
        let operator = FrameOperator::resampling(from_hz).unwrap();
        let got = products(&operator, &clip, operator.rows(clip.len()));
        let energy: f64 = expected.iter().map(|&x| f64::from(x).powi(2)).sum();
        let error: f64 = expected.iter().zip(&got).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum();
        let snr_db = 10.0 * (energy / error).log10();
        println!("resampling from {from_hz} Hz by matrix and by spectrum: {snr_db:.1} dB");
        assert!(snr_db > 100.0, "{from_hz} Hz: {snr_db:.1} dB");
    }
}

#[test]
fn front_end_decibels_equal_librosas() {
    let want = floats(&fixture("front_end.safetensors"), "cqt_direct_db");
    let got = CqtFrontEnd::new().decibels(&clip()).unwrap();
    assert_shape(&got, clip().len());
    let above = |limit: f32| {
        let pairs = got.values.iter().zip(&want).filter(move |&(_, &w)| w > limit);
        pairs.map(|(g, w)| (g - w).abs()).fold(0.0, f32::max)
    };
    println!(
        "front end: largest difference {:.3} dB above -40 dB, {:.3} dB above -60 dB, {:.2} dB anywhere",
        above(-40.0),
        above(-60.0),
        above(-81.0)
    );
    assert!(above(-40.0) < 0.1);
    assert!(above(-60.0) < 1.0);
}

#[test]
fn mel_power_and_its_decibels_equal_librosas() {
    let file = fixture("front_end.safetensors");
    let params = MelParams { sample_rate_hz: SAMPLE_RATE_HZ, n_fft: N_FFT, hop_length: HOP_LENGTH, n_mels: BINS };
    let got = MelSpectrogram::new(params).unwrap().power(&clip()).unwrap();
    assert_shape(&got, clip().len());
    let want = floats(&file, "mel_power");
    let error = largest_difference(&got.values, &want) / peak(&want);
    let error_db = largest_difference(&power_to_db(&got).values, &floats(&file, "mel_db"));
    println!("mel: largest difference {error:.2e} of the peak power, {error_db:.5} dB");
    assert!(error <= 1e-5, "{error:e}");
    assert!(error_db <= 0.01, "{error_db} dB");
}

#[test]
fn mfcc_equal_librosas() {
    let got = Mfcc::standard().unwrap().coefficients(&clip()).unwrap();
    assert_eq!((got.frames, got.bins), (1 + clip().len() / HOP_LENGTH, MFCC_COEFFICIENTS));
    let want = floats(&fixture("front_end.safetensors"), "mfcc");
    let largest = want.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let error = largest_difference(&got.values, &want) / largest;
    println!("MFCC: largest difference {error:.2e} of the largest coefficient");
    assert!(error <= 1e-4, "{error:e}");
}

#[test]
fn resampling_equals_soxr_hq_by_80_db_wherever_both_filters_are_flat() {
    let file = fixture("resample.safetensors");
    for from_hz in [8_000, 16_000, 44_100, 48_000] {
        let want = floats(&file, &format!("{from_hz}.soxr_hq"));
        let got = resample(&pcm(&file, &format!("{from_hz}.pcm")), from_hz, SAMPLE_RATE_HZ).unwrap();
        assert_eq!(got.len(), want.len());
        let square = |x: f32| f64::from(x) * f64::from(x);
        let signal: f64 = want.iter().map(|&x| square(x)).sum();
        let noise: f64 = got.iter().zip(&want).map(|(g, w)| square(g - w)).sum();
        let snr_db = 10.0 * (signal / noise).log10();
        println!("resample {from_hz} Hz: {snr_db:.1} dB against soxr_hq");
        assert!(snr_db >= 80.0, "{from_hz} Hz: {snr_db:.1} dB");
    }
}
