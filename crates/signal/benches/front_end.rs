//! Single-threaded time per ten-second clip: `cargo bench -p jtav-signal`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jtav_signal::constants::{BINS, HOP_LENGTH, N_FFT, SAMPLE_RATE_HZ};
use jtav_signal::{ClipStatistics, CqtFrontEnd, MelParams, MelSpectrogram, resample};

const SECONDS: u32 = 10;

/// White noise: no bin is empty, no value denormal.
fn clip(rate_hz: u32) -> Vec<f32> {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    (0..SECONDS * rate_hz).map(|_| noise()).collect()
}

fn front_end(c: &mut Criterion) {
    let pcm = clip(SAMPLE_RATE_HZ);
    let constant_q = CqtFrontEnd::new();
    c.bench_function("constant_q_decibels_10s", |b| b.iter(|| constant_q.decibels(black_box(&pcm))));

    let params = MelParams { sample_rate_hz: SAMPLE_RATE_HZ, n_fft: N_FFT, hop_length: HOP_LENGTH, n_mels: BINS };
    match MelSpectrogram::new(params) {
        Ok(mel) => {
            c.bench_function("mel_power_10s", |b| b.iter(|| mel.power(black_box(&pcm))));
        }
        Err(error) => eprintln!("no mel bench: {error}"),
    }

    let statistics = ClipStatistics::new();
    c.bench_function("timbre_10s", |b| b.iter(|| statistics.timbre(black_box(&pcm))));
    if let Ok(decibels) = constant_q.decibels(&pcm) {
        c.bench_function("harmony_10s", |b| b.iter(|| statistics.harmony(black_box(&decibels.values))));
    }

    for from_hz in [44_100, 48_000] {
        let pcm = clip(from_hz);
        c.bench_function(&format!("resample_{from_hz}_to_22050_10s"), |b| {
            b.iter(|| resample(black_box(&pcm), from_hz, SAMPLE_RATE_HZ));
        });
    }
    c.bench_function("constant_q_construction", |b| b.iter(CqtFrontEnd::new));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_secs(1));
    targets = front_end
}
criterion_main!(benches);
