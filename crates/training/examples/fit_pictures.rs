//! How well the image head of a frozen backbone tells the pictures of a data pack apart, and what it costs:
//! `cargo run --release -p jtav-training --example fit_pictures -- data/polarity-posts [densenet121.safetensors]`.
//!
//! Every picture of the train and validation splits counts once, groups are its themes, and one theme in ten is left out
//! (SHA-256 of its name, first byte a multiple of 10), as nothing is chosen on those. Prints the AUC of the logits out of
//! fold for three seeds, then that of the validation split's posts by a head fitted on the train split, then CPU milliseconds.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jtav_media_codecs::{DecodeLimits, center_crop, image_view};
use jtav_model::{Bases, DeviceChoice, ModelError, Rgb224, device};
use jtav_training::{ImageBackboneSource, ImageExample, ImageFitter};
use sha2::{Digest, Sha256};

/// Side of a kept picture, out of whose middle serving cuts 224 pixels.
const SIDE: usize = 256;
const REPETITIONS: usize = 15;

/// A picture with its theme and the posts of the validation split that show it.
struct Picture {
    example: ImageExample,
    theme: String,
    validation_posts: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    device::open_cuda_library();
    device::single_threaded();
    let mut arguments = std::env::args().skip(1);
    let pack = arguments.next().ok_or("usage: fit_pictures PACK [DENSENET]")?;
    let backbone = match arguments.next() {
        Some(path) => ImageBackboneSource::DenseNet121(path.into()),
        None => ImageBackboneSource::EfficientNetLite0(Bases::new(None, None)),
    };
    let pictures = pictures(Path::new(&pack))?;
    let (examples, themes): (Vec<_>, Vec<_>) = pictures.iter().map(|p| (p.example.clone(), p.theme.clone())).unzip();
    let positive: Vec<bool> = examples.iter().map(|example| example.positive).collect();

    let mut fitter = ImageFitter::new(backbone, DeviceChoice::Auto)?;
    println!("{:?}, {} pictures", fitter.backbone(), examples.len());
    for seed in 0..3 {
        let started = Instant::now();
        let fit = fitter.fit(&examples, &themes, seed)?;
        let auc = auc(fit.out_of_fold.iter().copied().zip(positive.iter().copied()));
        println!("seed {seed}: AUC out of fold {auc:.4}, {:.0} s", started.elapsed().as_secs_f64());
        // Other folds, same looks.
        let folds = (1..4).map(|other| fitter.out_of_fold(&themes, 5, seed + 10 * other));
        let folds = folds.collect::<Result<Vec<_>, ModelError>>()?;
        let others = folds.iter().map(|logits| {
            let pairs = logits.iter().copied().zip(positive.iter().copied());
            format!("{:.4}", self::auc(pairs))
        });
        println!("  other folds: {}", others.collect::<Vec<_>>().join(", "));
    }
    validate(&mut fitter, &pictures)?;
    cost(&fitter, &examples)
}

/// A head that has not seen the validation split judges its posts.
fn validate(fitter: &mut ImageFitter, pictures: &[Picture]) -> Result<(), Box<dyn Error>> {
    let (held, train): (Vec<&Picture>, Vec<&Picture>) = pictures.iter().partition(|p| p.validation_posts > 0);
    let (examples, themes): (Vec<_>, Vec<_>) = train.iter().map(|p| (p.example.clone(), p.theme.clone())).unzip();
    let inputs = held.iter().map(|p| middle(&p.example)).collect::<Result<Vec<_>, ModelError>>()?;
    for seed in 0..3 {
        fitter.fit(&examples, &themes, seed)?;
        let logits = fitter.predict(&inputs)?;
        let of_posts = logits.iter().zip(&held).flat_map(|(&logit, picture)| {
            std::iter::repeat_n((logit, picture.example.positive), picture.validation_posts)
        });
        let posts: Vec<(f32, bool)> = of_posts.collect();
        println!("seed {seed}: AUC of {} validation posts {:.4}", posts.len(), auc(posts.into_iter()));
    }
    Ok(())
}

/// CPU milliseconds a picture from bytes of pixels to the vector, the least and the median of the repetitions.
fn cost(fitter: &ImageFitter, examples: &[ImageExample]) -> Result<(), Box<dyn Error>> {
    for batch in [1, 8] {
        let inputs = examples.iter().take(batch).map(middle).collect::<Result<Vec<_>, ModelError>>()?;
        fitter.encode(&inputs)?;
        let mut spent = Vec::with_capacity(REPETITIONS);
        for _ in 0..REPETITIONS {
            let before = cpu_ms();
            fitter.encode(&inputs)?;
            spent.push((cpu_ms() - before) / batch as f64);
        }
        spent.sort_by(f64::total_cmp);
        println!(
            "batch {batch}: {:.1} CPU ms a picture at the least, {:.1} the median",
            spent[0],
            spent[REPETITIONS / 2]
        );
    }
    Ok(())
}

/// The pictures of both splits, each once, in the order of their paths.
fn pictures(pack: &Path) -> Result<Vec<Picture>, Box<dyn Error>> {
    let mut found: BTreeMap<String, Picture> = BTreeMap::new();
    for line in std::fs::read_to_string(pack.join("posts.jsonl"))?.lines() {
        let post: serde_json::Value = serde_json::from_str(line)?;
        let split = post["split"].as_str().unwrap_or_default();
        let (Some(path), Some(theme)) = (post["image"]["path"].as_str(), post["groups"]["image_theme"].as_str()) else {
            continue;
        };
        let is_left_out = Sha256::digest(theme.as_bytes())[0] % 10 == 0;
        if is_left_out || !["train", "validation"].contains(&split) {
            continue;
        }
        if !found.contains_key(path) {
            let pixels = decoded(&std::fs::read(pack.join(path))?)?;
            let positive = post["labels"]["sentiment"] == 1;
            let example = ImageExample { pixels: Arc::from(pixels), side: SIDE, positive };
            found.insert(path.to_owned(), Picture { example, theme: theme.to_owned(), validation_posts: 0 });
        }
        if let Some(picture) = found.get_mut(path) {
            picture.validation_posts += usize::from(split == "validation");
        }
    }
    Ok(found.into_values().collect())
}

/// `[256, 256, 3]`: the picture as the trainer keeps it.
fn decoded(bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let limits = DecodeLimits::new(40_000_000, Duration::from_secs(1), Duration::from_secs(1));
    let view = image_view(bytes, &limits, SIDE as u32).map_err(|reason| reason.to_string())?;
    Ok(center_crop(&view, SIDE as u32).pixels.to_vec())
}

fn middle(example: &ImageExample) -> Result<Rgb224, ModelError> {
    let margin = (SIDE - 224) / 2;
    let rows = example.pixels.chunks_exact(SIDE * 3).skip(margin).take(224);
    Rgb224::new(rows.flat_map(|row| row[margin * 3..(margin + 224) * 3].to_vec()).collect::<Vec<_>>())
}

/// The share of pairs of a positive and a negative example that the logits put in order.
fn auc(pairs: impl Iterator<Item = (f32, bool)>) -> f64 {
    let (positive, negative): (Vec<_>, Vec<_>) = pairs.partition(|(_, positive)| *positive);
    let won = |(a, _): &(f32, bool), (b, _): &(f32, bool)| {
        f64::from(u8::from(a > b)) / 2.0 + f64::from(u8::from(a >= b)) / 2.0
    };
    let sum: f64 = positive.iter().map(|a| negative.iter().map(|b| won(a, b)).sum::<f64>()).sum();
    sum / (positive.len() * negative.len()) as f64
}

fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 * 1e-6
}
