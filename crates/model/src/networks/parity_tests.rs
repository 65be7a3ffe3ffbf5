//! Our networks against PyTorch and torchvision on the same weights, which both sides draw from a formula
//! (`tests/fixtures/reference.py`, where the numbers come from).

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::densenet::{DenseNet, DenseNetConfig};
use super::formula::{fnv1a, fraction, wave};
use super::{AttBiGru, Dcrnn, DcrnnConfig, DcrnnHeads, EfficientNetLite0, ImageHead, TextBatch, TextDropout};
use crate::checkpoint::weights::StoredWeights;
use crate::error::ModelError;
use crate::manifest::Dimensions;
use crate::parameters::{Builder, Stored, to_rows, to_vec};
use crate::word_vectors::WordFeatures;

#[derive(Deserialize)]
struct Reference {
    att_bigru: TextReference,
    dcrnn: NetworkReference,
    densenet_features: Vec<f32>,
}

#[derive(Deserialize)]
struct NetworkReference {
    vector: Vec<Vec<f32>>,
    attention: Vec<Vec<f32>>,
    logit: Vec<f32>,
    moods: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct TextReference {
    vector: Vec<Vec<f32>>,
    attention: Vec<Vec<f32>>,
    polarity: Vec<f32>,
    neutral: Vec<f32>,
    parts: Vec<Vec<f32>>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../tests/fixtures/reference.json")).unwrap()
}

/// Draws any tensor by its name.
struct Formula;

impl Stored for Formula {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let seed = fnv1a(name);
        let fan_in = shape[1..].iter().product::<i64>() as f64;
        let value = |index: u32| {
            let u = fraction(seed, index);
            let value = if name.ends_with("running_var") {
                0.5 + u
            } else if shape.len() == 1 && name.contains("norm") && name.ends_with("weight") {
                0.75 + 0.5 * u
            } else if shape.len() == 1 {
                0.2 * (u - 0.5)
            } else {
                (2.0 * u - 1.0) * (6.0 / fan_in).sqrt()
            };
            value as f32
        };
        let count = shape.iter().product::<i64>() as u32;
        Ok(Tensor::f_from_slice(&(0..count).map(value).collect::<Vec<f32>>())?.f_view(shape)?)
    }
}

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 2e-5 * size, "{what}[{at}] is {a}, PyTorch says {b}");
    }
}

#[test]
fn att_bigru_equals_the_pytorch_reference() {
    let _guard = tch::no_grad_guard();
    let builder = Builder::stored(&Formula, Device::Cpu);
    let dimensions = Dimensions::modern();
    let network = AttBiGru::new(&builder.scope("text"), &dimensions, TextDropout::default()).unwrap();
    let rows = wave(&[10, 768], 0.29);
    // A word without pieces.
    let _ = rows.get(8).zero_();
    let words = |first, count| rows.narrow(0, first, count);
    let posts = [
        WordFeatures { protagonist: words(0, 5), supporting: Some(words(5, 2)), sentence: None },
        WordFeatures { protagonist: words(7, 3), supporting: None, sentence: None },
    ];
    let batch = [(&posts[0], 1.3, 0.6), (&posts[1], -6.0, -0.4)];
    let batch = TextBatch::new(&batch, dimensions.word_width, Device::Cpu).unwrap();
    assert_eq!(batch.lengths, [7, 3]);
    let forward = network.forward(&batch, false).unwrap();
    let expected = reference().att_bigru;
    let attention = to_rows(&forward.attention).unwrap();
    for (row, vector) in to_rows(&forward.vector).unwrap().iter().enumerate() {
        assert_near(vector, &expected.vector[row], "vector");
        assert_near(&attention[row][..batch.lengths[row] as usize], &expected.attention[row], "attention");
    }
    assert_near(&to_vec(&forward.polarity).unwrap(), &expected.polarity, "polarity");
    assert_near(&to_vec(&forward.neutral).unwrap(), &expected.neutral, "neutral");
    assert_near(&to_vec(&forward.parts).unwrap(), &expected.parts.concat(), "parts");
}

#[test]
fn dcrnn_equals_the_pytorch_reference() {
    let _guard = tch::no_grad_guard();
    let builder = Builder::stored(&Formula, Device::Cpu);
    // The reference knows no statistics, which take five values of the vector.
    let config = DcrnnConfig { vector: 100, ..DcrnnConfig::modern(&Dimensions::modern()) };
    let network = Dcrnn::new(&builder.scope("audio"), &config, 0.0).unwrap();
    let heads = DcrnnHeads::new(&builder.scope("audio"), &config).unwrap();
    let forward = network.forward(&wave(&[2, 1, 215, 96], 0.013), &[27, 10], false).unwrap();
    let expected = reference().dcrnn;
    assert_near(&to_vec(&forward.vector).unwrap(), &expected.vector.concat(), "vector");
    assert_near(&to_vec(&forward.attention).unwrap(), &expected.attention.concat(), "attention");
    assert_near(&to_vec(&heads.logit(&forward.vector).unwrap()).unwrap(), &expected.logit, "logit");
    assert_near(&to_vec(&heads.moods(&forward.vector).unwrap()).unwrap(), &expected.moods.concat(), "moods");
}

#[test]
fn densenet_121_equals_torchvision_as_trained_and_as_served() {
    let _guard = tch::no_grad_guard();
    let builder = Builder::stored(&Formula, Device::Cpu);
    let network = DenseNet::new(&builder.scope("image"), DenseNetConfig::DENSENET_121).unwrap();
    let x = wave(&[1, 3, 96, 96], 0.037);
    let expected = reference().densenet_features;
    let pooled = |network: &DenseNet| {
        let features = network.forward(&x, false).unwrap();
        assert_eq!(features.size(), [1, 1024, 3, 3]);
        to_vec(&features.mean_dim([2_i64, 3].as_slice(), false, Kind::Float)).unwrap()
    };
    assert_near(&pooled(&network), &expected, "as trained");
    assert_near(&pooled(&network.for_serving(Kind::Float).unwrap()), &expected, "folded");

    let fast = pooled(&network.for_serving(Kind::BFloat16).unwrap());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let cosine = dot(&fast, &expected) / (dot(&fast, &fast) * dot(&expected, &expected)).sqrt();
    assert!(cosine > 0.999, "bf16 cosine {cosine}");
}

#[test]
fn efficientnet_lite0_equals_another_implementation_as_stored_and_as_served() {
    let _guard = tch::no_grad_guard();
    let reference = include_bytes!("../../tests/fixtures/lite0.safetensors");
    let expected = StoredWeights::parse(reference).unwrap().tensor("formula_pooled", &[1280]).unwrap();
    let expected = to_vec(&expected).unwrap();
    let builder = Builder::stored(&Formula, Device::Cpu);
    let network = EfficientNetLite0::new(&builder.scope("image.features")).unwrap();
    let x = wave(&[1, 3, 96, 96], 0.037);
    let pooled = |network: &EfficientNetLite0| {
        let features = network.forward(&x).unwrap();
        assert_eq!(features.size(), [1, 1280, 3, 3]);
        to_vec(&ImageHead::pool(&features).unwrap()).unwrap()
    };
    assert_near(&pooled(&network), &expected, "as stored");
    assert_near(&pooled(&network.for_serving(Kind::Float).unwrap()), &expected, "wider kernels");
}

#[test]
fn densenet_121_has_torchvisions_parameters() {
    let builder = Builder::fresh(1, Device::Cpu);
    DenseNet::new(&builder.scope("image"), DenseNetConfig::DENSENET_121).unwrap();
    let parameters = builder.finish();
    // torchvision.models.densenet121: 7,978,856 parameters, 1,025,000 of them in the classifier.
    assert_eq!(parameters.count(), 7_978_856 - 1_025_000);
    for name in [
        "image.features.conv0.weight",
        "image.features.denseblock3.denselayer24.norm2.running_var",
        "image.features.transition3.conv.weight",
        "image.features.norm5.bias",
    ] {
        assert!(parameters.tensors.contains_key(name), "{name}");
    }
}
