//! What it costs to make sound ready for the network, on the CPU and on a GPU:
//! `cargo run --release -p jtav-model --example sound_front_end -- models/jtav-modern`.
//!
//! Clips of ten seconds, a chord under noise, each batch in two ways: resampled and transformed on one thread of the CPU,
//! and by [`AudioNetwork::encode_sound`] on the device. Prints milliseconds a clip, the median of the repetitions, and how
//! far the vectors of the two agree. Without a GPU both are the CPU.

use std::path::Path;
use std::time::Instant;

use jtav_model::{AudioInput, AudioNetwork, Checkpoint, DeviceChoice, ModelError, Waveform, device};
use jtav_signal::CqtFrontEnd;
use jtav_signal::constants::SAMPLE_RATE_HZ;

const SECONDS: f64 = 10.0;
const REPETITIONS: usize = 15;

fn main() -> Result<(), ModelError> {
    device::open_cuda_library();
    device::single_threaded();
    let folder = std::env::args().nth(1).unwrap_or_else(|| "models/jtav-modern".to_owned());
    let checkpoint = Checkpoint::load(Path::new(&folder))?;
    let network = AudioNetwork::from_checkpoint(&checkpoint, DeviceChoice::Auto)?;
    network.warm_up()?;
    let on_cpu = AudioNetwork::from_checkpoint(&checkpoint, DeviceChoice::Cpu)?;
    let front_end = CqtFrontEnd::new();
    let gpus = device::cuda_devices();
    println!("{gpus} GPUs; ms a clip of {SECONDS} s, median of {REPETITIONS}");
    println!("rate_hz  batch  CPU: ready  device: network alone  device: all of it  so ready there  least cosine");
    for rate_hz in [22_050, 44_100, 48_000] {
        for batch in [1, 8, 24] {
            let clips: Vec<Waveform> =
                (0..batch).map(|n| clip(rate_hz, 110.0 + 30.0 * n as f64)).collect::<Result<_, _>>()?;
            let input = |clip: &Waveform| -> Result<AudioInput, ModelError> {
                let samples = jtav_signal::resample(clip.samples(), rate_hz, SAMPLE_RATE_HZ)?;
                AudioInput::from_sound(&samples, &front_end.decibels(&samples)?.values)
            };
            let inputs = clips.iter().map(input).collect::<Result<Vec<_>, _>>()?;
            let ready_ms = median_ms(batch, || clips.iter().map(input).collect::<Result<Vec<_>, _>>().map(drop))?;
            let network_ms = median_ms(batch, || network.encode(&inputs).map(drop))?;
            let all_ms = median_ms(batch, || network.encode_sound(&clips).map(drop))?;
            let pairs = on_cpu.encode(&inputs)?.into_iter().zip(network.encode_sound(&clips)?);
            let least = pairs.map(|(a, b)| cosine(&a.vector, &b.vector)).fold(1.0, f32::min);
            println!(
                "{rate_hz:7}  {batch:5}  {ready_ms:10.3}  {network_ms:21.3}  {all_ms:17.3}  {:14.3}  {least:12.6}",
                all_ms - network_ms
            );
        }
    }
    Ok(())
}

fn clip(rate_hz: u32, pitch_hz: f64) -> Result<Waveform, ModelError> {
    let mut state = pitch_hz as u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / 16_777_216.0 - 0.5
    };
    let mut sample = |at: usize| {
        let seconds = at as f64 / f64::from(rate_hz);
        let tone = |n: u32| (std::f64::consts::TAU * pitch_hz * f64::from(n) * seconds).sin() / f64::from(n);
        (0.3 * (1..6).map(tone).sum::<f64>() + 0.02 * noise()) as f32
    };
    Waveform::new((0..(SECONDS * f64::from(rate_hz)) as usize).map(&mut sample).collect::<Vec<_>>(), rate_hz)
}

fn median_ms(items: usize, mut work: impl FnMut() -> Result<(), ModelError>) -> Result<f64, ModelError> {
    work()?;
    let mut times = Vec::with_capacity(REPETITIONS);
    for _ in 0..REPETITIONS {
        let started = Instant::now();
        work()?;
        times.push(started.elapsed().as_secs_f64() * 1e3 / items as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[REPETITIONS / 2])
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
