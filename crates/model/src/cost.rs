//! What the networks cost on a CPU or a GPU: by network, engine and batch.

use tch::Device;

use crate::checkpoint::Checkpoint;
pub use crate::cpu_time::Clock;
use crate::cpu_time::cost_ms;
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::inference::{AudioNetwork, FusionNetwork, ImageNetwork, TextNetwork};
use crate::placement::{CpuEngine, Engine, Placement, choices_of};
use crate::text::{Pieces, ReadText, TextInput, Word};
use crate::vectors::{AudioInput, FusionInput, Rgb224, SEGMENT_BINS, SEGMENT_FRAMES, Waveform};

/// Words of a text: about the mean of what people post.
pub const WORDS: usize = 20;

/// What one item costs.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkCost {
    /// `text`, `audio_dcrnn`, `audio` (with what comes before DCRNN, for ten seconds), `image`, `fusion`; and of the text its parts, `text_trunk`
    /// and `text_attbigru`.
    pub network: &'static str,
    pub engine: Engine,
    /// Items of a pass.
    pub batch: usize,
    /// Milliseconds an item, by `clock`.
    pub ms: f64,
    pub clock: Clock,
}

/// Measures the networks of a checkpoint in CPU time on the calling thread, by libtorch and by what else is installed, at each of `batches`. Run it alone.
///
/// # Errors
/// Those of building and running the networks.
pub fn measure(checkpoint: &Checkpoint, batches: &[usize]) -> Result<Vec<NetworkCost>, ModelError> {
    crate::device::single_threaded();
    let mut costs = Vec::new();
    for cpu_engine in [CpuEngine::Libtorch, CpuEngine::OpenVino] {
        let placement = Placement::on_cpu(cpu_engine);
        match of_engine(checkpoint, placement, Clock::Cpu, batches) {
            Ok(found) => costs.extend(found),
            // Without it the table has one engine less.
            Err(ModelError::Engine(error)) if cpu_engine != CpuEngine::Libtorch => drop(error),
            Err(error) => return Err(error),
        }
    }
    Ok(costs)
}

/// Measures the networks of a checkpoint on a GPU by libtorch, at each of `batches`: wall time from the host's memory and back to it, whatever passes a
/// network cuts a batch into. [`open_cuda_library`](crate::device::open_cuda_library) comes before it. Run it alone.
///
/// # Errors
/// [`ModelError::Device`] for a GPU that is not there, or has too little memory; those of building and running the networks.
pub fn measure_on_gpu(
    checkpoint: &Checkpoint,
    device: DeviceChoice,
    batches: &[usize],
) -> Result<Vec<NetworkCost>, ModelError> {
    crate::device::single_threaded();
    of_engine(checkpoint, device.into(), Clock::Wall, batches)
}

fn of_engine(
    checkpoint: &Checkpoint,
    placement: Placement,
    clock: Clock,
    batches: &[usize],
) -> Result<Vec<NetworkCost>, ModelError> {
    let _guard = tch::no_grad_guard();
    let width = checkpoint.manifest().dimensions.vector as usize;
    let text_network = TextNetwork::from_checkpoint(checkpoint, placement)?;
    let audio_network = AudioNetwork::from_checkpoint(checkpoint, placement)?;
    let image_network = ImageNetwork::from_checkpoint(checkpoint, placement)?;
    let fusion_network = FusionNetwork::from_checkpoint(checkpoint, placement)?;
    let has_trunk = checkpoint.manifest().reads_with_trunk();
    let mut costs = Vec::new();
    for &batch in batches {
        let mut add = |network: &'static str, ms: f64| costs.push((network, batch, ms));
        let texts = vec![text(checkpoint); batch];
        add("text", cost_ms(clock, batch, || text_network.encode(&texts).map(drop))?);
        if has_trunk {
            add("text_trunk", cost_ms(clock, batch, || text_network.read_words(&texts))?);
        }
        add("text_attbigru", text_network.cost_of_head(clock, &texts, batch)?);
        let clips = vec![clip()?; batch];
        add("audio_dcrnn", cost_ms(clock, batch, || audio_network.of_dcrnn(&clips).map(drop))?);
        let sounds = vec![sound()?; batch];
        add("audio", cost_ms(clock, batch, || audio_network.encode_sound(&sounds).map(drop))?);
        let pictures = vec![picture()?; batch];
        add("image", cost_ms(clock, batch, || image_network.encode(&pictures).map(drop))?);
        let posts = vec![post(width); batch];
        add("fusion", cost_ms(clock, batch, || fusion_network.fuse(&posts).map(drop))?);
    }
    let choices = choices_of(&checkpoint.model_version(), placement);
    let engine_of = |network: &str| {
        let decisive = match network {
            "text" if has_trunk => "text_trunk",
            "text" => "text_attbigru",
            "audio" => "audio_dcrnn",
            other => other,
        };
        choices.get(decisive).map_or(Engine::Libtorch, |choice| choice.engine)
    };
    let cost = |(network, batch, ms)| NetworkCost { network, engine: engine_of(network), batch, ms, clock };
    Ok(costs.into_iter().map(cost).collect())
}

/// Of [`WORDS`] words of a piece each.
fn text(checkpoint: &Checkpoint) -> TextInput {
    let word = Word { text: "word".to_owned(), is_mark: false, is_shouted: false };
    let text = ReadText { words: vec![word; WORDS], pieces: Pieces::of_unknown_words(WORDS as u32) };
    TextInput::new(text, None, checkpoint.manifest().dimensions.ngram_buckets > 0)
}

/// One segment.
fn clip() -> Result<AudioInput, ModelError> {
    let levels: Vec<f32> = (0..SEGMENT_FRAMES * SEGMENT_BINS).map(|at| -((at * 7 % 61) as f32)).collect();
    AudioInput::from_spectrogram(&levels)
}

/// Ten seconds that need no resampling.
fn sound() -> Result<Waveform, ModelError> {
    let samples: Vec<f32> = (0..220_500).map(|at| ((at * 331 % 22_050) as f32 / 22_050.0 - 0.5) * 0.5).collect();
    Waveform::new(samples, 22_050)
}

fn picture() -> Result<Rgb224, ModelError> {
    Rgb224::new((0..Rgb224::BYTES).map(|at| (at * 7 % 251) as u8).collect::<Vec<_>>())
}

/// With all parts.
fn post(width: usize) -> FusionInput {
    let vector = |step: f32| Some((0..width).map(|at| (at as f32 * step).sin() * 0.3).collect());
    FusionInput { text: vector(0.7), audio: vector(0.3), image: vector(1.1) }
}

/// Whether libtorch multiplies in another precision than f32 here, so that its column is not that of f32.
pub fn libtorch_is_bf16() -> bool {
    crate::device::multiplies_bf16(Device::Cpu)
}
