//! What one item costs on this machine, network by network:
//! `cargo run --release -p jtav-training --example speed -- models/jtav-modern`.
//!
//! Prints wall and CPU
//! milliseconds per item on one intra-op thread, the median of the repetitions; CPU time is the one to compare on a
//! machine that does other things.

use std::path::Path;
use std::time::Instant;

use jtav_model::{
    AudioInput, AudioNetwork, Checkpoint, DeviceChoice, FusionInput, FusionNetwork, ImageNetwork, ModelError, Rgb224,
    STATISTICS, TextFrontEnd, TextNetwork, device,
};

fn main() -> Result<(), ModelError> {
    device::open_cuda_library();
    device::single_threaded();
    let usage = || ModelError::Input("usage: speed CHECKPOINT".to_owned());
    let folder = std::env::args().nth(1).ok_or_else(usage)?;
    let started = Instant::now();
    let checkpoint = Checkpoint::load(Path::new(&folder))?;
    println!(
        "{} weights {:.1} MB, loaded in {:.2} s",
        checkpoint.model_version(),
        checkpoint.weights_bytes() as f64 / 1e6,
        started.elapsed().as_secs_f64()
    );
    let device = DeviceChoice::Auto;
    let started = Instant::now();
    let text = TextNetwork::from_checkpoint(&checkpoint, device)?;
    let audio = AudioNetwork::from_checkpoint(&checkpoint, device)?;
    let image = ImageNetwork::from_checkpoint(&checkpoint, device)?;
    let exact = ImageNetwork::from_checkpoint_f32(&checkpoint, device)?;
    let fusion = FusionNetwork::from_checkpoint(&checkpoint, device)?;
    println!("networks built in {:.2} s", started.elapsed().as_secs_f64());

    let words = "we went to the sea and nobody wanted to leave because the evening was warm ".repeat(2);
    let parts = [("body", words.as_str()), ("caption", "best day ever :)")];
    let front_end = TextFrontEnd::of_checkpoint(&checkpoint)?;
    let input = front_end.input(&parts)?.ok_or_else(|| ModelError::Input("no words".to_owned()))?;
    let levels = (0..215 * 96).map(|i| -((i % 80) as f32)).collect::<Vec<_>>();
    let clip = AudioInput::from_spectrogram(&levels)?.with_statistics(vec![0.0; STATISTICS]);
    let picture = Rgb224::new((0..Rgb224::BYTES).map(|i| (i % 251) as u8).collect::<Vec<_>>())?;
    let vector = Some(vec![0.3; checkpoint.manifest().dimensions.vector as usize]);
    let post = FusionInput { text: vector.clone(), audio: vector.clone(), image: vector };

    for batch in [1, 8, 32] {
        measure("text, 30 + 4 words", batch, 20, |n| text.encode(&vec![input.clone(); n]).map(drop))?;
    }
    for batch in [1, 8] {
        measure("audio, 10 s", batch, 8, |n| audio.encode(&vec![clip.clone(); n]).map(drop))?;
    }
    for batch in [1, 8] {
        let name = format!("image, {} at {} px", image.precision(), checkpoint.manifest().dimensions.image_resolution);
        measure(&name, batch, 6, |n| image.encode(&vec![picture.clone(); n]).map(drop))?;
        measure("image, f32", batch, 4, |n| exact.encode(&vec![picture.clone(); n]).map(drop))?;
    }
    for batch in [1, 32] {
        measure("fusion, three parts", batch, 20, |n| fusion.fuse(&vec![post.clone(); n]).map(drop))?;
    }
    let read = |n| (0..n).try_for_each(|_| front_end.input(&parts).map(drop));
    measure("read, 34 words", 32, 50, read)
}

fn measure(
    name: &str,
    batch: usize,
    repetitions: usize,
    run: impl Fn(usize) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    run(batch)?;
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let (clock, before) = (Instant::now(), cpu_seconds());
        run(batch)?;
        wall.push(clock.elapsed().as_secs_f64() * 1e3 / batch as f64);
        cpu.push((cpu_seconds() - before) * 1e3 / batch as f64);
    }
    println!("{name:<28} batch {batch:>2}: wall {:8.3} ms, CPU {:8.3} ms per item", median(wall), median(cpu));
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
