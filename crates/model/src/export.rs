//! The networks of a checkpoint as ONNX files, for engines of other people.

use std::str::FromStr;

use jtav_engine::onnx::{Attribute, Dim, Element, Graph};
use tch::Device;

use crate::checkpoint::{Checkpoint, StoredWeights};
use crate::device::DeviceChoice;
use crate::error::ModelError;
use crate::inference::write_normalisation;
use crate::manifest::{ImageBackbone, roles};
use crate::networks::{AudioModel, Backbone, Dcrnn, ImageModel, MiniLm, STEPS};
use crate::parameters::Builder;
use crate::trunk::{Trunk, TrunkPrecision};
use crate::vectors::{IMAGE_CELLS, IMAGE_SIDE, Normalisation, SEGMENT_BINS, SEGMENT_FRAMES};
use crate::word_vectors::LAYERS;

/// A network that can be written. Text form: `picture`, `sound`, `trunk`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exported {
    /// `pixels` `[batch, 224, 224, 3]` u8 RGB to `vector` `[batch, 100]` and `evidence` `[batch, 1, 7, 7]`, what each cell adds to the logit
    /// (without its constant), which is the vector's first value.
    Picture,
    /// `levels` `[batch, 1, 215, 96]` f32, standardised decibels, to `sequence` `[batch, 27, 256]`: DCRNN up to its recurrent part.
    Sound,
    /// `ids` `[batch, longest]` int64 word pieces and `mask` `[batch, 1, 1, longest]` f32, 0 at a piece and -1e9 beyond the text, to `layer4`
    /// and `layer6` `[batch, longest, 384]`.
    Trunk,
}

impl Exported {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Picture, Self::Sound, Self::Trunk];

    /// `picture`, `sound` or `trunk`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::Sound => "sound",
            Self::Trunk => "trunk",
        }
    }

    /// Whether a checkpoint has it in a form that can be written.
    pub fn is_in(self, checkpoint: &Checkpoint) -> bool {
        let manifest = checkpoint.manifest();
        match self {
            Self::Picture => {
                manifest.image_backbone == ImageBackbone::EfficientNetLite0
                    && manifest.dimensions.image_resolution == IMAGE_SIDE as i64
            }
            Self::Sound => true,
            Self::Trunk => manifest.reads_with_trunk(),
        }
    }

    /// The bytes of an ONNX file (IR version 9, operator set 20), all in f32.
    ///
    /// # Errors
    /// Base weights that are missing or damaged, and [`ModelError::Configuration`] for a network that the checkpoint does not have or
    /// that is not written: another backbone than EfficientNet-Lite0, a profile without a sentence encoder.
    pub fn write(self, checkpoint: &Checkpoint) -> Result<Vec<u8>, ModelError> {
        let _guard = tch::no_grad_guard();
        match self {
            Self::Picture => picture(checkpoint),
            Self::Sound => sound(checkpoint),
            Self::Trunk => trunk(checkpoint),
        }
    }
}

impl FromStr for Exported {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|network| network.as_str() == text);
        known.ok_or_else(|| ModelError::Configuration(format!("network `{text}`: use picture, sound or trunk")))
    }
}

const BATCH: Dim = Dim::Any("batch");

fn picture(checkpoint: &Checkpoint) -> Result<Vec<u8>, ModelError> {
    let (manifest, stored) = (checkpoint.manifest(), checkpoint.stored()?);
    let dimensions = &manifest.dimensions;
    if !Exported::Picture.is_in(checkpoint) {
        let reason = format!("only EfficientNet-Lite0 at {IMAGE_SIDE} px is written");
        return Err(ModelError::Configuration(reason));
    }
    let base = manifest.base(roles::IMAGE)?;
    let bytes = checkpoint.bases().read(base)?;
    let builder = Builder::stored(&stored, Device::Cpu);
    let model = ImageModel::on_base(&builder.scope("image"), &StoredWeights::of_base(base, &bytes)?, dimensions)?;
    let Backbone::Lite(backbone) = model.backbone() else {
        return Err(ModelError::Configuration("only EfficientNet-Lite0 is written".to_owned()));
    };
    let mut graph = Graph::new("picture");
    let side = Dim::Of(IMAGE_SIDE);
    let pixels = graph.input("pixels", Element::U8, &[BATCH, side, side, Dim::Of(3)]);
    let x = write_normalisation(&mut graph, &pixels, &Normalisation::LITE);
    let features = backbone.write(&mut graph, &x)?;
    let head = model.image_head();
    let [pooled, said] = head.write(&mut graph, &features)?;
    // A picture of nothing has a mean of length 0; its direction is 0 too.
    let axes = graph.places(&[1]);
    let length = graph.node("ReduceL2", &[&pooled, &axes], vec![Attribute::Int("keepdims", 1)]);
    let least = graph.number(1e-12);
    let length = graph.node("Max", &[&length, &least], Vec::new());
    let direction = graph.node("Div", &[&pooled, &length], Vec::new());
    let direction = graph.node("Flatten", &[&direction], vec![Attribute::Int("axis", 1)]);
    let vector = head.write_vector(&mut graph, &direction)?;
    let cells = graph.number(IMAGE_CELLS as f32);
    let scale = graph.node("Mul", &[&length, &cells], Vec::new());
    let evidence = graph.node("Div", &[&said, &scale], Vec::new());
    let cells_a_side = Dim::Of(IMAGE_SIDE / 32);
    graph.output(&vector, "vector", Element::F32, &[BATCH, Dim::Of(dimensions.vector as usize)]);
    graph.output(&evidence, "evidence", Element::F32, &[BATCH, Dim::Of(1), cells_a_side, cells_a_side]);
    Ok(graph.encode())
}

fn sound(checkpoint: &Checkpoint) -> Result<Vec<u8>, ModelError> {
    let stored = checkpoint.stored()?;
    let builder = Builder::stored(&stored, Device::Cpu);
    let model = AudioModel::new(&builder.scope("audio"), &checkpoint.manifest().dimensions)?;
    sound_graph(&model.dcrnn, BATCH)
}

/// DCRNN's convolutions, of as many segments as `batch` says.
pub(crate) fn sound_graph(network: &Dcrnn, batch: Dim) -> Result<Vec<u8>, ModelError> {
    let mut graph = Graph::new("sound");
    let sides = [batch, Dim::Of(1), Dim::Of(SEGMENT_FRAMES), Dim::Of(SEGMENT_BINS)];
    let x = graph.input("levels", Element::F32, &sides);
    let sequence = network.write(&mut graph, &x)?;
    let width = Dim::Of(network.sequence_width());
    graph.output(&sequence, "sequence", Element::F32, &[batch, Dim::Of(STEPS), width]);
    Ok(graph.encode())
}

fn trunk(checkpoint: &Checkpoint) -> Result<Vec<u8>, ModelError> {
    let manifest = checkpoint.manifest();
    if !manifest.reads_with_trunk() {
        let reason = format!("the profile `{}` has no sentence encoder", manifest.profile);
        return Err(ModelError::Configuration(reason));
    }
    let base = manifest.base(roles::TRUNK)?;
    let trunk = Trunk::of_base(checkpoint.bases(), base, DeviceChoice::Cpu, TrunkPrecision::Float)?;
    let mut graph = Graph::new("trunk");
    let longest = Dim::Any("longest");
    let ids = graph.input("ids", Element::I64, &[BATCH, longest]);
    let mask = graph.input("mask", Element::F32, &[BATCH, Dim::Of(1), Dim::Of(1), longest]);
    let x = trunk.network().write_embeddings(&mut graph, &ids)?;
    let layers = trunk.network().write_layers(&mut graph, &x, &mask, &LAYERS)?;
    for (value, layer) in layers.iter().zip(LAYERS) {
        let width = Dim::Of(MiniLm::WIDTH as usize);
        graph.output(value, &format!("layer{layer}"), Element::F32, &[BATCH, longest, width]);
    }
    Ok(graph.encode())
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
