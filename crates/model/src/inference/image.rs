//! The image network as it serves.

use std::cell::RefCell;

use jtav_engine::Precision;
use jtav_engine::openvino::Library;
use tch::{Device, Kind};

use super::encoded;
use super::picture_on_openvino::PictureOnOpenVino;
use crate::checkpoint::{Checkpoint, StoredWeights};
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::manifest::{ImageBackbone, roles};
use crate::networks::{Backbone, ImageModel, Pixels};
use crate::parameters::Builder;
use crate::placement::{AS_PLACED, Contest, Engine, Placement};
use crate::vectors::{Encoded, IMAGE_CELLS, IMAGE_SIDE, Normalisation, Rgb224};

/// Most pictures of one pass on a CPU: activations of DenseNet-121, the larger backbone, take about 20 MB a picture in f32.
const MAX_BATCH: usize = 16;
/// The same on a GPU, which has the memory, and too little to do for a pass of a few. Nobody has measured it: a guess to begin with.
const MAX_BATCH_ON_GPU: usize = 128;
const CELLS_PER_SIDE: i64 = 7;

/// The profile's backbone and its head on one device. `Send`, not `Sync`: one owner thread.
pub struct ImageNetwork {
    network: Network,
    resolution: i64,
    normalisation: Normalisation,
    kind: Kind,
}

#[expect(clippy::large_enum_variant, reason = "one for each device thread, and it stays where it was made")]
enum Network {
    Tensors(OnTensors),
    OpenVino(Box<RefCell<PictureOnOpenVino>>),
}

/// All of it on libtorch.
struct OnTensors {
    model: ImageModel,
    resolution: i64,
    device: Device,
}

impl ImageNetwork {
    /// Builds the network from the checkpoint's weights. Convolutions run in bf16 where the hardware multiplies it
    /// natively (a GPU, or a CPU with AVX-512 BF16: half the time, cosine above 0.999), else in f32.
    /// On a CPU another engine may compute it.
    pub fn from_checkpoint(checkpoint: &Checkpoint, placement: impl Into<Placement>) -> Result<Self, ModelError> {
        let placement = placement.into();
        let device = placement.device.resolve()?;
        let libtorch =
            || Self::build(checkpoint, device, if placement.takes_bf16(device) { Kind::BFloat16 } else { Kind::Float });
        let version = checkpoint.model_version();
        let contest = Contest::new(&version, "image", placement);
        if device != Device::Cpu {
            contest.note(Engine::Libtorch, AS_PLACED);
            return libtorch();
        }
        contest.choose(
            libtorch,
            |library, precision| Self::on_openvino(checkpoint, library, precision),
            |network| {
                let picture =
                    |step: usize| Rgb224::new((0..Rgb224::BYTES).map(|at| (at / step % 251) as u8).collect::<Vec<_>>());
                let pictures = [picture(7)?, picture(1_000)?];
                Ok(network.encode(&pictures)?.into_iter().map(|encoded| encoded.vector).collect())
            },
        )
    }

    /// # Errors
    /// [`ModelError::Configuration`] for a checkpoint with another backbone, or that looks at smaller pictures.
    fn on_openvino(checkpoint: &Checkpoint, library: &Library, precision: Precision) -> Result<Self, ModelError> {
        let _guard = tch::no_grad_guard();
        let (model, resolution) =
            (Self::model(checkpoint, Device::Cpu)?, checkpoint.manifest().dimensions.image_resolution);
        let (Backbone::Lite(backbone), true) = (model.backbone(), resolution == IMAGE_SIDE as i64) else {
            let reason = format!("OpenVINO takes EfficientNet-Lite0 at {IMAGE_SIDE} px alone");
            return Err(ModelError::Configuration(reason));
        };
        let network = PictureOnOpenVino::new(library, precision, backbone, model.image_head())?;
        Ok(Self {
            network: Network::OpenVino(Box::new(RefCell::new(network))),
            resolution,
            normalisation: model.normalisation(),
            kind: match precision {
                Precision::F32 => Kind::Float,
                Precision::Bf16 => Kind::BFloat16,
            },
        })
    }

    /// The same with all arithmetic in f32, for references.
    pub fn from_checkpoint_f32(checkpoint: &Checkpoint, device: DeviceChoice) -> Result<Self, ModelError> {
        Self::build(checkpoint, device.resolve()?, Kind::Float)
    }

    fn build(checkpoint: &Checkpoint, device: Device, kind: Kind) -> Result<Self, ModelError> {
        let _guard = tch::no_grad_guard();
        let (model, resolution) = (Self::model(checkpoint, device)?, checkpoint.manifest().dimensions.image_resolution);
        let normalisation = model.normalisation();
        let network = Network::Tensors(OnTensors { model: model.for_serving(kind)?, resolution, device });
        Ok(Self { network, resolution, normalisation, kind })
    }

    /// Backbone and head as they are stored.
    fn model(checkpoint: &Checkpoint, device: Device) -> Result<ImageModel, ModelError> {
        let (manifest, dimensions) = (checkpoint.manifest(), &checkpoint.manifest().dimensions);
        let stored = checkpoint.stored()?;
        let builder = Builder::stored(&stored, device);
        let image = builder.scope("image");
        match manifest.image_backbone {
            ImageBackbone::DenseNet121 => ImageModel::with_backbone(&image, manifest.image_backbone, dimensions),
            ImageBackbone::EfficientNetLite0 => {
                let base = manifest.base(roles::IMAGE)?;
                let bytes = checkpoint.bases().read(base)?;
                ImageModel::on_base(&image, &StoredWeights::of_base(base, &bytes)?, dimensions)
            }
        }
    }

    /// Vectors (100 values) and attention over 7 x 7 cells (how much each argues for the label found), in order.
    pub fn encode(&self, inputs: &[Rgb224]) -> Result<Vec<Encoded>, ModelError> {
        match &self.network {
            Network::Tensors(network) => network.encode(inputs),
            Network::OpenVino(network) => network.borrow_mut().encode(inputs),
        }
    }

    /// Side in pixels to which the network scales a picture before it looks at it.
    pub fn resolution_px(&self) -> usize {
        self.resolution as usize
    }

    /// The scale of the pixels that the backbone takes.
    pub fn normalisation(&self) -> Normalisation {
        self.normalisation
    }

    /// `bf16` or `f32`.
    pub fn precision(&self) -> &'static str {
        if self.kind == Kind::BFloat16 { "bf16" } else { "f32" }
    }

    /// Runs one grey picture.
    pub fn warm_up(&self) -> Result<(), ModelError> {
        self.encode(&[Rgb224::new(vec![128_u8; Rgb224::BYTES])?]).map(drop)
    }
}

impl OnTensors {
    fn encode(&self, inputs: &[Rgb224]) -> Result<Vec<Encoded>, ModelError> {
        let _guard = tch::no_grad_guard();
        let mut results = Vec::with_capacity(inputs.len());
        let most = if self.device == Device::Cpu { MAX_BATCH } else { MAX_BATCH_ON_GPU };
        for chunk in inputs.chunks(most) {
            let pictures: Vec<&[u8]> = chunk.iter().map(Rgb224::as_bytes).collect();
            let pixels = Pixels::upload(&pictures, IMAGE_SIDE, self.device)?;
            let x = Pixels::normalise_by(&Pixels::resize(&pixels, self.resolution)?, &self.model.normalisation())?;
            let forward = self.model.forward(&x, false, None)?;
            let map = self.model.class_activation(&forward, CELLS_PER_SIDE)?.f_view([-1, IMAGE_CELLS as i64])?;
            results.extend(encoded(&forward.vector, &map, &vec![IMAGE_CELLS as i64; chunk.len()])?);
        }
        Ok(results)
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
