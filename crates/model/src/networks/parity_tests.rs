//! Our networks against PyTorch and torchvision on the same weights, which both sides draw from a formula
//! (`tests/fixtures/reference.py`, where the numbers come from).

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::densenet::{DenseNet, DenseNetConfig};
use super::formula::{fnv1a, fraction, wave};
use super::{AttBiGru, Dcrnn, DcrnnConfig, TextBatch};
use crate::error::ModelError;
use crate::manifest::Dimensions;
use crate::parameters::{Builder, Stored, to_rows, to_vec};
use crate::text::TextInput;
use crate::text::{Ngrams, TokenisedText};

#[derive(Deserialize)]
struct Reference {
    att_bigru: NetworkReference,
    dcrnn: NetworkReference,
    densenet_features: Vec<f32>,
}

#[derive(Deserialize)]
struct NetworkReference {
    vector: Vec<Vec<f32>>,
    attention: Vec<Vec<f32>>,
    logit: Vec<f32>,
    #[serde(default)]
    moods: Vec<Vec<f32>>,
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
    let network = AttBiGru::new(&builder.scope("text"), &Dimensions::modern(50), 0.0).unwrap();
    let text = |rows: &[&[u32]]| TokenisedText {
        words: vec![String::new(); rows.len()],
        rows: rows.iter().map(|rows| rows.to_vec()).collect(),
    };
    let inputs = [
        TextInput {
            protagonist: text(&[&[0, 11, 12], &[3], &[4, 20], &[5, 21, 22, 23], &[49]]),
            supporting: Some(text(&[&[7, 30], &[8]])),
            ngrams: Ngrams::default(),
        },
        TextInput { protagonist: text(&[&[1, 2], &[9], &[10, 40, 41]]), supporting: None, ngrams: Ngrams::default() },
    ];
    let batch = TextBatch::new(&inputs, &[[0.8, -0.3], [-6.0, 2.0]], 50, Device::Cpu).unwrap();
    let forward = network.forward(&batch, false).unwrap();
    let expected = reference().att_bigru;
    let attention = to_rows(&forward.attention).unwrap();
    for (row, vector) in to_rows(&forward.vector).unwrap().iter().enumerate() {
        assert_near(vector, &expected.vector[row], "vector");
        assert_near(&attention[row][..batch.lengths[row] as usize], &expected.attention[row], "attention");
    }
    assert_near(&to_vec(&forward.logit).unwrap(), &expected.logit, "logit");
}

#[test]
fn dcrnn_equals_the_pytorch_reference() {
    let _guard = tch::no_grad_guard();
    let builder = Builder::stored(&Formula, Device::Cpu);
    let config = DcrnnConfig::modern(&Dimensions::modern(1));
    let network = Dcrnn::new(&builder.scope("audio"), &config, 0.0).unwrap();
    let forward = network.forward(&wave(&[2, 1, 215, 96], 0.013), &[27, 10], false).unwrap();
    let expected = reference().dcrnn;
    assert_near(&to_vec(&forward.vector).unwrap(), &expected.vector.concat(), "vector");
    assert_near(&to_vec(&forward.attention).unwrap(), &expected.attention.concat(), "attention");
    assert_near(&to_vec(&network.logit(&forward.vector).unwrap()).unwrap(), &expected.logit, "logit");
    assert_near(&to_vec(&network.moods(&forward.vector).unwrap()).unwrap(), &expected.moods.concat(), "moods");
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
