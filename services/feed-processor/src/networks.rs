//! The networks of one checkpoint on their device threads. They outlive a restart of the pipeline: loading them takes
//! longer than everything else together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jtav_audio_encoder::AudioBackend;
use jtav_fusion::FusionBackend;
use jtav_image_encoder::ImageBackend;
use jtav_inference::{Backend, BackendError, BatchLimits, FatalHook, InferenceHandle, InferenceParams};
use jtav_model::{Checkpoint, Choice, Manifest, Placement, TextFrontEnd};
use jtav_pipeline::{CoveredLanguages, Stage};
use jtav_settings::{CpuEngine, CpuPrecision, Device, Media, Model, Settings, existing_or_bundled};
use jtav_telemetry::Metric;
use jtav_text_encoder::{TextBackend, TextPreparer};

/// Name that labels of the stand-in networks carry.
pub const STUB_VERSION: &str = "stub";

/// Components of what they answer.
const STUB_DIMENSIONS: usize = 100;

/// Handles to the device threads.
#[derive(Clone)]
pub struct Networks {
    /// Makes text ready for it.
    pub preparer: TextPreparer,
    /// attBiGRU.
    pub text: jtav_text_encoder::Handle,
    /// Constant-Q transform and DCRNN.
    pub audio: jtav_audio_encoder::Handle,
    /// The image network of the checkpoint.
    pub image: jtav_image_encoder::Handle,
    /// CMF-AP.
    pub fusion: jtav_fusion::Handle,
    /// Name and weights.
    pub model_version: Arc<str>,
    /// Languages that the checkpoint was measured on; none where it states none.
    pub languages: Option<Arc<CoveredLanguages>>,
    /// Ends the process where a device is gone or hangs.
    pub on_fatal: FatalHook,
    /// Components of each modality's vector.
    pub vector_dimensions: usize,
    /// What computes each of them, and why.
    pub engines: Arc<BTreeMap<&'static str, Choice>>,
}

impl Networks {
    /// Loads, verifies and warms the networks that `settings` ask for. Blocks for about a second.
    ///
    /// # Errors
    /// A checkpoint or base weights that are missing or damaged, a device that is not there, limits that cannot work.
    pub fn load(settings: &Settings, on_fatal: FatalHook) -> anyhow::Result<Self> {
        let mut settings = settings.clone();
        fit_to_model(&mut settings);
        let loader = Loader { settings: &settings, on_fatal };
        let networks = if settings.model.stub { loader.stubs()? } else { loader.checkpoint()? };
        let device = if settings.model.stub { "none".to_owned() } else { settings.model.device.to_string() };
        Metric::model_info(networks.model_version.to_string(), device).set(1.0);
        for (network, choice) in networks.engines.iter() {
            Metric::model_engine(network, choice.engine.as_str()).set(1.0);
            tracing::info!(network, engine = choice.engine.as_str(), because = %choice.because, "engine chosen");
        }
        Ok(networks)
    }

    /// Time that each network has been at the batch that it runs.
    pub fn progress_ages(&self) -> [(&'static str, Duration); 4] {
        [
            (Stage::TextEncoder.as_str(), self.text.progress_age()),
            (Stage::AudioEncoder.as_str(), self.audio.progress_age()),
            (Stage::ImageEncoder.as_str(), self.image.progress_age()),
            (Stage::Fusion.as_str(), self.fusion.progress_age()),
        ]
    }

    /// No network has anything to do.
    pub fn is_idle(&self) -> bool {
        self.text.is_idle() && self.audio.is_idle() && self.image.is_idle() && self.fusion.is_idle()
    }

    /// True while every device thread runs.
    pub fn is_healthy(&self) -> bool {
        self.text.is_healthy() && self.audio.is_healthy() && self.image.is_healthy() && self.fusion.is_healthy()
    }
}

/// The version that a worker with these settings puts on its labels. Reads the checkpoint, and neither base weights nor
/// networks.
///
/// # Errors
/// A checkpoint that is missing or damaged.
pub fn model_version(settings: &Settings) -> anyhow::Result<String> {
    if settings.model.stub {
        return Ok(STUB_VERSION.to_owned());
    }
    Ok(checkpoint(&settings.model)?.model_version())
}

/// The checkpoint that the settings name, verified, with the places in which its base weights are looked for.
///
/// # Errors
/// One that is missing or damaged.
pub fn checkpoint(model: &Model) -> anyhow::Result<Checkpoint> {
    let folder = existing_or_bundled(&model.path)
        .context("model.path: name a checkpoint folder, or train one with `jtav train`")?;
    Checkpoint::load_with(&folder, model.weights.as_deref())
        .with_context(|| format!("checkpoint {} cannot be used", folder.display()))
}

fn languages(manifest: &Manifest) -> Option<Arc<CoveredLanguages>> {
    let middle = &manifest.middle;
    let covered = CoveredLanguages { codes: middle.languages.clone(), least_probability: middle.language_confidence };
    Some(Arc::new(covered))
}

struct Loader<'a> {
    settings: &'a Settings,
    on_fatal: FatalHook,
}

impl Loader<'_> {
    fn checkpoint(&self) -> anyhow::Result<Networks> {
        let model = &self.settings.model;
        let checkpoint = checkpoint(model)?;
        let (heard, trained) = (self.settings.media.analysed_audio_seconds, checkpoint.manifest().max_audio_seconds);
        if heard < trained {
            tracing::warn!(
                "the networks were trained on {trained} s of a clip, media.analysed_audio_seconds gives them {heard}"
            );
        }
        let checkpoint = Arc::new(checkpoint);
        let placement = placement(model);
        let of = |handle: &Arc<Checkpoint>| Arc::clone(handle);
        let (text, audio, image, fusion) = (of(&checkpoint), of(&checkpoint), of(&checkpoint), of(&checkpoint));
        // Before the device threads: what is missing is said once and plainly, and not by the thread that comes first.
        for base in checkpoint.manifest().bases.values() {
            checkpoint.bases().find(base)?;
        }
        let front_end = TextFrontEnd::of_checkpoint(&checkpoint)?;
        let networks = Networks {
            preparer: TextPreparer::new(Arc::new(front_end)),
            // A GPU has one stream; a CPU one per core, each with one thread (foundations: N × 1 beats 1 × N).
            text: self.start(TEXT, model.text_stream_count(), move || TextBackend::load(&text, placement))?,
            audio: self.start(AUDIO, 1, move || AudioBackend::load(&audio, placement))?,
            image: self.start(IMAGE, model.image_stream_count(), move || ImageBackend::load(&image, placement))?,
            fusion: self.fusion(fusion, placement)?,
            model_version: checkpoint.model_version().into(),
            languages: languages(checkpoint.manifest()),
            on_fatal: Arc::clone(&self.on_fatal),
            vector_dimensions: usize::try_from(checkpoint.manifest().dimensions.vector).unwrap_or(0),
            engines: Arc::new(jtav_model::choices_of(&checkpoint.model_version(), placement)),
        };
        let parity = jtav_model::parity_probe(&checkpoint, placement).context("parity probe of the checkpoint")?;
        tracing::info!(model = %networks.model_version, device = %placement.device, ?parity, "networks are warm");
        Ok(networks)
    }

    fn stubs(&self) -> anyhow::Result<Networks> {
        tracing::warn!("model.stub is on: labels are a fixed function and mean nothing");
        Ok(Networks {
            preparer: TextPreparer::without_network(),
            text: self.start(TEXT, 1, || Ok(jtav_text_encoder::stub()))?,
            audio: self.start(AUDIO, 1, || Ok(jtav_audio_encoder::stub()))?,
            image: self.start(IMAGE, 1, || Ok(jtav_image_encoder::stub()))?,
            fusion: jtav_inference::at_once(self.params(FUSION, 1), jtav_fusion::stub()),
            model_version: STUB_VERSION.into(),
            languages: None,
            on_fatal: Arc::clone(&self.on_fatal),
            vector_dimensions: STUB_DIMENSIONS,
            engines: Arc::default(),
        })
    }

    fn fusion(&self, checkpoint: Arc<Checkpoint>, placement: Placement) -> anyhow::Result<jtav_fusion::Handle> {
        let backend = FusionBackend::load(&checkpoint, placement).map_err(|error| anyhow!("fusion: {error}"))?;
        if backend.answers_at_once() {
            return Ok(jtav_inference::at_once(self.params(FUSION, 1), Box::new(backend)));
        }
        // libtorch's tensors stay on the thread that made them.
        self.start(FUSION, 1, move || Ok(Box::new(FusionBackend::load(&checkpoint, placement)?) as _))
    }

    fn start<B: Backend>(
        &self,
        kind: ModelKind,
        streams: usize,
        build: impl Fn() -> Result<B, BackendError> + Send + Sync + 'static,
    ) -> anyhow::Result<InferenceHandle<B>> {
        Ok(jtav_inference::spawn(self.params(kind, streams), build)?)
    }

    fn params(&self, kind: ModelKind, streams: usize) -> InferenceParams {
        InferenceParams {
            model: kind.name,
            stage: kind.stage,
            streams,
            limits: BatchLimits {
                max_items: kind.max_items(self.settings),
                max_cost: kind.max_cost,
                max_wait: Duration::from_millis(self.settings.model.max_wait_ms),
            },
            // An item a post and attempt: permits bound it, the factor covers posts that were given up meanwhile.
            queue_capacity: self.settings.ingest.max_in_flight_posts * 2,
            on_fatal: Arc::clone(&self.on_fatal),
        }
    }
}

#[derive(Clone, Copy)]
struct ModelKind {
    name: &'static str,
    stage: Stage,
    /// In the unit of the backend: word pieces, segments of ten seconds, pictures, posts.
    max_cost: u64,
    max_items: fn(&Settings) -> usize,
}

impl ModelKind {
    fn max_items(&self, settings: &Settings) -> usize {
        (self.max_items)(settings)
    }
}

const TEXT: ModelKind = ModelKind {
    name: "text",
    stage: Stage::TextEncoder,
    // Eight of the longest texts, 0.2 s of a core: so long an ordinary one may wait behind them.
    max_cost: 2048,
    max_items: |settings| settings.model.text_max_batch_items,
};
const AUDIO: ModelKind = ModelKind {
    name: "audio",
    stage: Stage::AudioEncoder,
    max_cost: 24,
    max_items: |settings| settings.model.audio_max_batch_items,
};
const IMAGE: ModelKind = ModelKind {
    name: "image",
    stage: Stage::ImageEncoder,
    max_cost: 64,
    max_items: |settings| settings.model.image_max_batch_items,
};
const FUSION: ModelKind = ModelKind {
    name: "fusion",
    stage: Stage::Fusion,
    max_cost: 256,
    max_items: |settings| settings.model.fusion_max_batch_items,
};

/// Fits the settings to the networks that they name, so that memory, streams and decode workers are sized for what these
/// are given: `auto` becomes the device that is there, and no more of a clip is heard than was in training. A device or a
/// checkpoint that is missing is for [`Networks::load`] to refuse.
pub fn fit_to_model(settings: &mut Settings) {
    if settings.model.stub {
        return;
    }
    name_device(&mut settings.model);
    let folder = existing_or_bundled(&settings.model.path).ok();
    if let Some(manifest) = folder.and_then(|folder| Checkpoint::read_manifest(&folder).ok()) {
        hear_as_trained(&mut settings.media, &manifest);
    }
}

/// Cuts `media.analysed_audio_seconds` to what the networks were trained on.
pub fn hear_as_trained(media: &mut Media, manifest: &Manifest) {
    let (set, trained) = (media.analysed_audio_seconds, manifest.max_audio_seconds);
    if set > trained {
        tracing::warn!(
            "media.analysed_audio_seconds is {set}, the networks were trained on {trained} s of a clip and get no more"
        );
        media.analysed_audio_seconds = trained;
    }
}

/// Opens libtorch's CUDA half for a GPU, too.
fn name_device(model: &mut Model) {
    if model.device == Device::Cpu {
        return;
    }
    jtav_model::device::open_cuda_library();
    if model.device != Device::Auto {
        return;
    }
    model.device = if jtav_model::device::cuda_devices() > 0 { Device::Cuda(0) } else { Device::Cpu };
    let has_driver = std::path::Path::new("/dev/nvidiactl").exists();
    if let (Device::Cpu, true, Err(why)) = (model.device, has_driver, jtav_model::device::cuda_library()) {
        tracing::warn!(%why, "this machine has a GPU that is not used: see docs/gpu.md, or set model.device = \"cpu\"");
    }
}

/// Where the settings want the networks.
pub fn placement(model: &Model) -> Placement {
    let device = match model.device {
        Device::Auto => jtav_model::DeviceChoice::Auto,
        Device::Cpu => jtav_model::DeviceChoice::Cpu,
        Device::Cuda(index) => jtav_model::DeviceChoice::Cuda(index),
    };
    let cpu_engine = match model.cpu_engine {
        CpuEngine::Auto => jtav_model::CpuEngine::Auto,
        CpuEngine::Libtorch => jtav_model::CpuEngine::Libtorch,
        CpuEngine::Openvino => jtav_model::CpuEngine::OpenVino,
    };
    let cpu_precision = match model.cpu_precision {
        CpuPrecision::Auto => jtav_model::CpuPrecision::Auto,
        CpuPrecision::F32 => jtav_model::CpuPrecision::F32,
    };
    Placement { device, cpu_engine, cpu_precision }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_networks_are_given_as_much_of_a_clip_as_they_were_trained_on_and_no_more() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/jtav-modern"));
        let manifest = Checkpoint::read_manifest(folder).unwrap();
        let heard = |set| {
            let mut settings = Settings::default();
            settings.media.analysed_audio_seconds = set;
            settings.model = Model { path: folder.to_owned(), device: Device::Cpu, ..settings.model };
            fit_to_model(&mut settings);
            settings.media.analysed_audio_seconds
        };
        assert_eq!(Settings::default().media.analysed_audio_seconds, manifest.max_audio_seconds, "as shipped");
        assert_eq!(heard(manifest.max_audio_seconds), manifest.max_audio_seconds);
        assert_eq!(heard(600), manifest.max_audio_seconds);
        assert_eq!(heard(5), 5, "less is up to whoever pays for the CPU");
    }
}
