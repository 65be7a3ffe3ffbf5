//! EfficientNet-Lite0 with its weights against another implementation with the original ones (`fixtures/lite0.py`, where
//! the numbers come from).

use std::path::PathBuf;

use jtav_model::checkpoint::StoredWeights;
use jtav_model::networks::{EfficientNetLite0, ImageHead, Pixels};
use jtav_model::parameters::{Stored, to_rows};
use jtav_model::{IMAGE_CELLS, IMAGE_SIDE, Normalisation};
use tch::{Device, Kind, Tensor};

const PICTURES: usize = 9;
/// Of a crop of the sample feed.
const QUARTER: usize = 112;

/// The trunk, where set-up has put its weights; where not, says so as `make test` reads it, and the test should return.
fn trunk(test: &str, kind: Kind) -> Option<EfficientNetLite0> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../third_party/weights/efficientnet-lite0.safetensors");
    if path.exists() {
        return Some(EfficientNetLite0::from_file(&path, Device::Cpu).unwrap().for_serving(kind).unwrap());
    }
    let line = format!("SKIPPED {test}: no {}; `make setup` makes it", path.display());
    eprintln!("{line}");
    if let Some(log) = std::env::var_os("JTAV_SKIP_LOG") {
        use std::io::Write;
        let mut log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        writeln!(log, "{line}").unwrap();
    }
    assert!(!std::env::var("JTAV_REQUIRE_REAL").is_ok_and(|value| value == "1"), "JTAV_REQUIRE_REAL=1, but {line}");
    None
}

struct Reference {
    /// `[9][1280]`.
    pooled: Vec<Vec<f32>>,
    /// `[9][49]`.
    cells: Vec<Vec<f32>>,
    pictures: Vec<Vec<u8>>,
}

fn reference() -> Reference {
    let file = include_bytes!("fixtures/lite0.safetensors");
    let stored = StoredWeights::parse(file).unwrap();
    let rows = |name, width: usize| to_rows(&stored.tensor(name, &[PICTURES as i64, width as i64]).unwrap()).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(file).unwrap();
    let crops = parsed.tensor("crops").unwrap();
    let crops = crops.data().chunks_exact(QUARTER * QUARTER * 3).map(mirrored);
    Reference {
        pooled: rows("pooled", 1280),
        cells: rows("cells", IMAGE_CELLS),
        pictures: (0..6).map(drawn).chain(crops).collect(),
    }
}

fn picture(pixel: impl Fn(usize, usize, usize) -> u32) -> Vec<u8> {
    let places = (0..IMAGE_SIDE).flat_map(|y| (0..IMAGE_SIDE).flat_map(move |x| (0..3).map(move |c| (x, y, c))));
    places.map(|(x, y, c)| (pixel(x, y, c) % 256) as u8).collect()
}

fn mirrored(quarter: &[u8]) -> Vec<u8> {
    let near = |at: usize| at.min(IMAGE_SIDE - 1 - at);
    picture(|x, y, c| u32::from(quarter[(near(y) * QUARTER + near(x)) * 3 + c]))
}

/// `drawn` of `fixtures/lite0.py`.
fn drawn(kind: usize) -> Vec<u8> {
    let mix = |mut x: u32| {
        x ^= x >> 16;
        x = x.wrapping_mul(0x85EB_CA6B);
        x ^= x >> 13;
        x = x.wrapping_mul(0xC2B2_AE35);
        x ^ (x >> 16)
    };
    picture(|x, y, c| match kind {
        0 => ((x * (c + 1) + y * (3 - c)) / 4) as u32,
        1 if (x / 16 + y / 16) % 2 == 0 => (40 + 80 * c) as u32,
        1 => (200 - 60 * c) as u32,
        2 => ((x.abs_diff(112).pow(2) + y.abs_diff(112).pow(2)) / (24 + 8 * c)) as u32,
        3 => mix(((y * IMAGE_SIDE + x) * 3 + c) as u32),
        4 if (x + 2 * y) % 28 < 14 => (220 - 90 * c) as u32,
        4 => (y + 10 * c) as u32,
        _ => mix(((y / 20 * 12 + x / 20) * 3 + c) as u32),
    })
}

/// Feature maps `[pictures, 1280, 7, 7]`.
fn features(trunk: &EfficientNetLite0, pictures: &[Vec<u8>]) -> Tensor {
    let _guard = tch::no_grad_guard();
    let pictures: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
    let x = Pixels::upload(&pictures, IMAGE_SIDE, Device::Cpu).unwrap();
    trunk.forward(&Pixels::normalise_by(&x, &Normalisation::LITE).unwrap()).unwrap()
}

fn pooled(trunk: &EfficientNetLite0, pictures: &[Vec<u8>]) -> Vec<Vec<f32>> {
    to_rows(&ImageHead::pool(&features(trunk, pictures)).unwrap()).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn pooled_features_and_cells_are_those_of_another_implementation() {
    const TEST: &str = "pooled_features_and_cells_are_those_of_another_implementation";
    let Reference { pooled, cells, pictures } = reference();
    for (kind, least, most) in [(Kind::Float, 0.9999, 0.01), (Kind::BFloat16, 0.999, 0.05)] {
        let Some(trunk) = trunk(TEST, kind) else { return };
        let maps = features(&trunk, &pictures);
        assert_eq!(maps.size(), [PICTURES as i64, 1280, 7, 7]);
        let found = to_rows(&ImageHead::pool(&maps).unwrap()).unwrap();
        let means = maps.mean_dim([1_i64].as_slice(), false, Kind::Float).reshape([-1, IMAGE_CELLS as i64]);
        let means = to_rows(&means).unwrap();
        for at in 0..PICTURES {
            let cosine = cosine(&found[at], &pooled[at]);
            let apart = means[at].iter().zip(&cells[at]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{kind:?}, picture {at}: cosine {cosine:.7}, cells at most {apart:.4} apart");
            assert!(cosine >= least, "{kind:?}, picture {at}: cosine {cosine}");
            assert!(apart <= most, "{kind:?}, picture {at}: a cell is {apart} away");
        }
    }
}

#[test]
fn what_is_seen_in_a_picture_does_not_depend_on_its_batch_mates() {
    const TEST: &str = "what_is_seen_in_a_picture_does_not_depend_on_its_batch_mates";
    let pictures = reference().pictures;
    let mut turned = pictures.clone();
    turned.rotate_left(4);
    for (kind, least) in [(Kind::Float, 0.999_999_9), (Kind::BFloat16, 0.9999)] {
        let Some(trunk) = trunk(TEST, kind) else { return };
        let together = pooled(&trunk, &pictures);
        let otherwise = pooled(&trunk, &turned);
        for (at, picture) in pictures.iter().enumerate() {
            let alone = pooled(&trunk, std::slice::from_ref(picture));
            let beside_others = &otherwise[(at + PICTURES - 4) % PICTURES];
            for (found, what) in [(&alone[0], "alone"), (beside_others, "beside others")] {
                let cosine = cosine(&together[at], found);
                println!("{kind:?}, picture {at}, {what}: cosine {cosine:.9}");
                assert!(cosine >= least, "{kind:?}, picture {at}, {what}: {cosine}");
            }
        }
    }
}
