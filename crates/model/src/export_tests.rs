use jtav_engine::Precision;
use jtav_engine::openvino::{Input, Library};

use super::*;
use crate::inference::{ImageNetwork, drawn};
use crate::manifest::{LIGHT, MODERN};
use crate::networks::formula::wave;
use crate::parameters::to_vec;
use crate::text::Pieces;
use crate::vectors::Rgb224;

/// As exact as f32 allows: other orders of the same sums.
const LEAST_COSINE: f64 = 0.9999;

fn checkpoint(profile: &str) -> Checkpoint {
    let mut manifest = drawn::manifest(profile);
    manifest.dimensions.image_resolution = IMAGE_SIDE as i64;
    drawn::checkpoint(manifest).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn run(network: Exported, profile: &str, inputs: &[(Input<'_>, &[usize])]) -> Vec<Vec<f32>> {
    let file = network.write(&checkpoint(profile)).unwrap();
    let outputs = Library::open().unwrap().compile(&file, Precision::F32).unwrap().run(inputs).unwrap();
    outputs.iter().map(|output| output.values().unwrap().to_vec()).collect()
}

#[test]
fn the_picture_network_that_is_written_says_what_libtorch_says() {
    let picture =
        |step: usize| Rgb224::new((0..Rgb224::BYTES).map(|at| (at / step % 251) as u8).collect::<Vec<_>>()).unwrap();
    let pictures = [picture(3), picture(700)];
    let bytes = pictures.each_ref().map(|picture| picture.as_bytes()).concat();
    let found = run(Exported::Picture, LIGHT, &[(Input::U8(&bytes), &[2, IMAGE_SIDE, IMAGE_SIDE, 3])]);
    let network = ImageNetwork::from_checkpoint_f32(&checkpoint(LIGHT), DeviceChoice::Cpu).unwrap();
    for (row, expected) in network.encode(&pictures).unwrap().iter().enumerate() {
        assert!(cosine(&found[0][row * 100..][..100], &expected.vector) >= LEAST_COSINE);
        // A cell's share of the evidence for the label that was found.
        let evidence = &found[1][row * IMAGE_CELLS..][..IMAGE_CELLS];
        let shares = [1.0_f32, -1.0].map(|sign| evidence.iter().map(|cell| (cell * sign).max(0.0)).collect::<Vec<_>>());
        assert!(shares.iter().any(|shares| cosine(shares, &expected.attention) >= LEAST_COSINE));
    }
}

#[test]
fn the_sound_network_that_is_written_says_what_libtorch_says() {
    let x = wave(&[2, 1, SEGMENT_FRAMES as i64, SEGMENT_BINS as i64], 0.37);
    let values = to_vec(&x).unwrap();
    let found = run(Exported::Sound, MODERN, &[(Input::F32(&values), &[2, 1, SEGMENT_FRAMES, SEGMENT_BINS])]);
    let checkpoint = checkpoint(MODERN);
    let stored = checkpoint.stored().unwrap();
    let builder = Builder::stored(&stored, Device::Cpu);
    let model = AudioModel::new(&builder.scope("audio"), &checkpoint.manifest().dimensions).unwrap();
    let _guard = tch::no_grad_guard();
    let expected = to_vec(&model.dcrnn.sequence(&x).unwrap()).unwrap();
    assert!(cosine(&found[0], &expected) >= LEAST_COSINE);
}

#[test]
fn the_trunk_that_is_written_says_what_libtorch_says_of_texts_of_any_length() {
    let checkpoint = checkpoint(MODERN);
    let base = checkpoint.manifest().base(roles::TRUNK).unwrap();
    let trunk = Trunk::of_base(checkpoint.bases(), base, DeviceChoice::Cpu, TrunkPrecision::Float).unwrap();
    let texts = [Pieces::of_unknown_words(9), Pieces::of_unknown_words(3)];
    let longest = texts[0].len();
    let (mut ids, mut mask) = (vec![0_i64; 2 * longest], vec![-1e9_f32; 2 * longest]);
    for (row, text) in texts.iter().enumerate() {
        for (at, &id) in text.ids().iter().enumerate() {
            ids[row * longest + at] = i64::from(id);
            mask[row * longest + at] = 0.0;
        }
    }
    let found =
        run(Exported::Trunk, MODERN, &[(Input::I64(&ids), &[2, longest]), (Input::F32(&mask), &[2, 1, 1, longest])]);
    for (row, expected) in trunk.encode(&[&texts[0], &texts[1]], &LAYERS).unwrap().iter().enumerate() {
        for (found, expected) in found.iter().zip(&expected.layers) {
            let values = texts[row].len() * MiniLm::WIDTH as usize;
            let found = &found[row * longest * MiniLm::WIDTH as usize..][..values];
            assert!(cosine(found, &to_vec(expected).unwrap()) >= LEAST_COSINE);
        }
    }
}

#[test]
fn what_a_checkpoint_does_not_have_is_refused_by_name() {
    let refused = Exported::Trunk.write(&checkpoint(LIGHT)).unwrap_err();
    assert!(refused.to_string().contains("light"), "{refused}");
    let small = drawn::checkpoint(drawn::manifest(LIGHT)).unwrap();
    assert!(matches!(Exported::Picture.write(&small), Err(ModelError::Configuration(_))));
    assert!("backbone".parse::<Exported>().is_err());
    for network in Exported::ALL {
        assert_eq!(network.as_str().parse::<Exported>().unwrap(), network);
    }
}
