//! What one item costs on this machine, network by network: `cargo run --release -p jtav-training --example speed`.
//!
//! Takes a checkpoint's folder or measures untrained networks of the profile `modern`. Prints wall and CPU
//! milliseconds per item on one intra-op thread, the median of the repetitions; CPU time is the one to compare on a
//! machine that does other things.

use std::path::Path;
use std::time::Instant;

use jtav_model::{
    AudioInput, AudioNetwork, Calibration, Checkpoint, DeviceChoice, Dimensions, FusionInput, FusionNetwork,
    ImageNetwork, Manifest, ModelError, Rgb224, Standardisation, TextInput, TextNetwork, Tokenizer, Vocabulary,
    VocabularyConfig, device,
};
use jtav_training::{
    AudioConfig, AudioTrainer, FusionConfig, FusionTrainer, ImageConfig, ImageTrainer, TextConfig, TextTrainer,
    UnimodalHeads, assemble_checkpoint,
};

fn main() -> Result<(), ModelError> {
    device::open_cuda_library();
    device::single_threaded();
    let folder = std::env::args().nth(1);
    let started = Instant::now();
    let checkpoint = match &folder {
        Some(folder) => Checkpoint::load(Path::new(folder))?,
        None => untrained()?,
    };
    println!(
        "{} weights {:.1} MB, loaded or made in {:.2} s",
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
    let input = TextInput::from_parts(&Tokenizer::new(), checkpoint.vocabulary(), &parts);
    let input = input.ok_or_else(|| ModelError::Input("no words".to_owned()))?;
    let clip = AudioInput::from_spectrogram(&(0..215 * 96).map(|i| -((i % 80) as f32)).collect::<Vec<_>>())?;
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
    let tokenise = |n| {
        for _ in 0..n {
            TextInput::from_parts(&Tokenizer::new(), checkpoint.vocabulary(), &parts);
        }
        Ok(())
    };
    measure("tokenise, 34 words", 32, 50, tokenise)
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

fn untrained() -> Result<Checkpoint, ModelError> {
    let words = (0..8000).map(|i| vec![format!("word{i}")]);
    let vocabulary = Vocabulary::build(words, VocabularyConfig { min_count: 1, ..VocabularyConfig::default() });
    let standardisation = Standardisation { mean: vec![-40.0; 96], std: vec![15.0; 96] };
    let text = TextTrainer::new(TextConfig::default(), vocabulary.rows_total(), 1)?;
    let audio = AudioTrainer::new(AudioConfig::default(), standardisation.clone(), 1)?;
    let image = ImageTrainer::new(ImageConfig { serve_resolution: 224, ..ImageConfig::default() }, 1)?;
    let heads = UnimodalHeads { text: text.head()?, audio: audio.head()?, image: image.head()? };
    let fusion = FusionTrainer::new(FusionConfig::default(), &heads, 1)?;
    for (name, count) in [
        ("text", text.parameter_count()),
        ("audio", audio.parameter_count()),
        ("image", image.parameter_count()),
        ("fusion", fusion.parameter_count()),
    ] {
        println!("{name}: {count} trained values");
    }
    let dimensions = Dimensions::modern(vocabulary.rows_total());
    let manifest = Manifest::modern(dimensions, standardisation, 30, Calibration::default(), 1);
    let folder = tempfile::tempdir().map_err(|e| ModelError::Input(e.to_string()))?;
    assemble_checkpoint(&text, &vocabulary, &audio, &image, &fusion, manifest, folder.path())
}
