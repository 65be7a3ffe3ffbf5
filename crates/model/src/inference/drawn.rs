//! Checkpoints of drawn weights, for tests: every network that a manifest names, none of them trained.

use std::path::Path;

use tch::Device;

use crate::bases::Bases;
use crate::checkpoint::{Checkpoint, Precision, encode_weights};
use crate::error::ModelError;
use crate::manifest::{Calibration, Dimensions, ImageBackbone, Manifest, Standardisation};
use crate::networks::formula::wave;
use crate::networks::{AttBiGru, AudioModel, ImageHead, ImageModel, Joint, SemanticSpace, TextDropout};
use crate::parameters::Builder;

/// A manifest of a profile with small tables.
pub(crate) fn manifest(profile: &str) -> Manifest {
    let of_profile = Dimensions::of_profile(profile);
    let ngram_buckets = of_profile.ngram_buckets.min(64);
    let dimensions = Dimensions { ngram_buckets, image_resolution: 64, ..of_profile };
    let standardisation = Standardisation { mean: vec![-40.0; 96], std: vec![15.0; 96] };
    Manifest::new(profile, dimensions, standardisation, 30, Calibration::default(), 1)
}

/// Weights for it. What training fits is drawn too: tables of n-grams, weights of what is counted, principal components.
pub(crate) fn checkpoint(manifest: Manifest) -> Result<Checkpoint, ModelError> {
    let (dimensions, backbone) = (&manifest.dimensions, manifest.image_backbone);
    let builder = Builder::fresh(2, Device::Cpu);
    let mut text = AttBiGru::new(&builder.scope("text"), dimensions, TextDropout::default())?;
    text.weigh_counted(0.5, 0.25)?;
    if dimensions.ngram_buckets > 0 {
        let weight: Vec<f32> = (0..dimensions.ngram_buckets).map(|at| (at as f32 * 0.7).sin()).collect();
        text.set_bag(&weight, &vec![1.0; weight.len()], 0.1)?;
    }
    SemanticSpace::new(&builder.scope("text.semantic"), dimensions)?;
    AudioModel::new(&builder.scope("audio"), dimensions)?;
    let image = builder.scope("image");
    match backbone {
        ImageBackbone::EfficientNetLite0 => ImageHead::new(&image, backbone.channels(), dimensions.vector).map(drop)?,
        ImageBackbone::DenseNet121 => ImageModel::with_backbone(&image, backbone, dimensions).map(drop)?,
    }
    Joint::new(&builder.scope("fusion"), dimensions, 0.0)?;
    let mut tensors = builder.finish().tensors;
    for (name, step) in [("text.semantic.matrix", 0.61), ("text.semantic.mean", 0.37)] {
        if let Some(tensor) = tensors.get_mut(name) {
            *tensor = wave(&tensor.size(), step).f_mul_scalar(0.05)?;
        }
    }
    let weights = encode_weights(&tensors, Precision::Half, None)?;
    Checkpoint::from_parts(manifest, Bases::new(None, None), weights, Path::new("drawn"))
}
