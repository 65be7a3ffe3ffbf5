//! The zoo's networks against PyTorch and torchvision on the same weights, which both sides draw from a formula
//! (`tests/fixtures/zoo_reference.py`, where the numbers come from).

use jtav_model::ModelError;
use jtav_model::parameters::{Builder, Scope, Stored, to_rows, to_vec};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::backbone::BackboneNetwork;
use super::forward::Forward;
use super::{AudioEncoder, SegmentBatch, TextEncoder};
use crate::zoo::architecture::{Backbone, DcrnnForm};
use crate::zoo::input::WordVectors;
use crate::zoo::networks::formula::{fnv1a, fraction, wave};

#[derive(Deserialize)]
struct Reference {
    att_bigru_paper: NetworkReference,
    att_bigru_authors: NetworkReference,
    lyrics_han: NetworkReference,
    dcrnn_authors: NetworkReference,
    dcrnn_paper: NetworkReference,
    dcrnn_paper_pooled: NetworkReference,
    conv_net: NetworkReference,
    resnet_101: Vec<f32>,
    vgg_19: Vec<f32>,
}

#[derive(Deserialize)]
struct NetworkReference {
    vector: Vec<Vec<f32>>,
    logit: Vec<f32>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../../tests/fixtures/zoo_reference.json")).unwrap()
}

/// Draws any tensor by its name.
struct Formula;

impl Stored for Formula {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let (seed, flat) = (fnv1a(name), shape.len() == 1);
        let (scale, offset) = if name.ends_with("running_var") {
            (1.0, 0.5)
        } else if flat && name.ends_with("weight") {
            (0.5, 0.75)
        } else if flat {
            (0.2, -0.1)
        } else {
            let bound = (6.0 / shape[1..].iter().product::<i64>() as f64).sqrt();
            (2.0 * bound, -bound)
        };
        let count = shape.iter().product::<i64>() as u32;
        let values: Vec<f32> = (0..count).map(|index| (scale * fraction(seed, index) + offset) as f32).collect();
        Ok(Tensor::f_from_slice(&values)?.f_view(shape)?)
    }
}

fn built<T>(build: impl FnOnce(&Scope) -> Result<T, ModelError>) -> T {
    build(&Builder::stored(&Formula, Device::Cpu).scope("zoo")).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    assert_eq!(a.len(), b.len());
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 2e-5 * size, "{what}[{at}] is {a}, PyTorch says {b}");
    }
}

fn assert_forward(forward: &Forward, expected: &NetworkReference, what: &str) {
    for (row, vector) in to_rows(&forward.features).unwrap().iter().enumerate() {
        assert_near(vector, &expected.vector[row], &format!("vector {row} of {what}"));
        assert!(cosine(vector, &expected.vector[row]) >= 0.99999, "{what}");
    }
    assert_near(&to_vec(&forward.logits).unwrap(), &expected.logit, &format!("logits of {what}"));
}

/// As in the reference: seven words in three lines with two supporting words, and three words without any.
fn posts() -> [WordVectors; 2] {
    let words = to_vec(&wave(&[2, 7, 12], 0.31)).unwrap();
    let caption = to_vec(&wave(&[2, 12], 0.17)).unwrap();
    let first = WordVectors::new(12, &words[..7 * 12]).unwrap().with_supporting(caption).unwrap();
    [first.with_lines([3, 1, 3]).unwrap(), WordVectors::new(12, &words[7 * 12..10 * 12]).unwrap()]
}

#[test]
fn the_text_networks_equal_the_pytorch_reference() {
    let _guard = tch::no_grad_guard();
    let [first, second] = posts();
    let (posts, device, expected) = ([&first, &second], Device::Cpu, reference());
    let paper = built(|scope| TextEncoder::paper(scope, 12, true)).forward(&posts, device, false).unwrap();
    assert_forward(&paper, &expected.att_bigru_paper, "attBiGRU, paper");
    let authors = built(|scope| TextEncoder::authors(scope, 12, true, 0.2)).forward(&posts, device, false).unwrap();
    assert_forward(&authors, &expected.att_bigru_authors, "attBiGRU, authors' code");
    let han = built(|scope| TextEncoder::lyrics_han(scope, 12)).forward(&posts, device, false).unwrap();
    assert_forward(&han, &expected.lyrics_han, "lyricsHAN");
}

#[test]
fn the_audio_networks_equal_the_pytorch_reference() {
    let _guard = tch::no_grad_guard();
    let (batch, expected) = (SegmentBatch { x: wave(&[2, 1, 215, 96], 0.013), frames: vec![215, 90] }, reference());
    for (form, expected) in [
        (DcrnnForm::AuthorsCode, expected.dcrnn_authors),
        (DcrnnForm::Paper, expected.dcrnn_paper),
        (DcrnnForm::PaperPooled, expected.dcrnn_paper_pooled),
    ] {
        let network = built(|scope| AudioEncoder::dcrnn(scope, form, 100));
        assert_forward(&network.forward(&batch, false).unwrap(), &expected, form.name());
    }
    let conv_net = built(|scope| AudioEncoder::conv_net(scope, 32)).forward(&batch, false).unwrap();
    assert_forward(&conv_net, &expected.conv_net, "convnet");
}

fn torchvision_agrees(backbone: Backbone, expected: &[f32]) {
    let _guard = tch::no_grad_guard();
    let network = built(|scope| BackboneNetwork::new(scope, backbone));
    let found = to_vec(&network.forward(&wave(&[1, 3, 96, 96], 0.037), false).unwrap().to_kind(Kind::Float)).unwrap();
    let cosine = cosine(&found, expected);
    assert!(cosine >= 0.99999, "{}: cosine {cosine}", backbone.name());
    assert_near(&found, expected, backbone.name());
}

#[test]
fn resnet_101_equals_torchvision() {
    torchvision_agrees(Backbone::ResNet101, &reference().resnet_101);
}

#[test]
fn vgg_19_equals_torchvision() {
    torchvision_agrees(Backbone::Vgg19, &reference().vgg_19);
}
