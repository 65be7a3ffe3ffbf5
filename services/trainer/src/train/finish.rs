//! After the fusion: the checkpoint, its evaluation, its model card.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use jtav_model::{Checkpoint, DeviceChoice, FusionInput, FusionNetwork, FusionOutput, Manifest};
use jtav_training::assemble_checkpoint;

use super::encoders::Encoders;
use super::fusing::Fused;
use super::outcome::Outcome;
use super::run::Run;
use crate::card::model_card;
use crate::dataset::{DataPack, MOODS, Split};
use crate::evaluation::{EncodedPost, Evaluation, Scored, Setting, evaluate};
use crate::features::Features;
use crate::files::{write_json, write_text};
use crate::items::PostItems;
use crate::progress::Progress;
use crate::report::{SplitSize, TrainReport};

/// Writes checkpoint, card and logs.
pub(super) fn finish(run: &Run, encoders: [Outcome; 3], fused: Fused) -> anyhow::Result<TrainReport> {
    let Run { options, pack, features, progress, .. } = run;
    let mut tensors = fused.tensors;
    let mut stages = Vec::new();
    for outcome in encoders {
        tensors.add(&outcome.tensors);
        stages.push(outcome.record);
    }
    stages.push(fused.record);
    let mut manifest = fused.manifest;
    manifest.data = data_hashes(run);
    let assemble = |manifest: Manifest, folder: &Path| {
        assemble_checkpoint(&tensors, manifest, &run.bases, folder)
            .with_context(|| format!("writing the checkpoint to {}", folder.display()))
    };
    // Figures are those of the files, in f16 and through the serving networks, so they need a checkpoint to be there.
    let draft = assemble(manifest.clone(), &run.work.file("checkpoint"))?;
    let score = |split| score_checkpoint(&draft, pack, features, split, options.device, options.seed, *progress);
    let validation = score(Split::Validation)?;
    let test = options.score_test.then(|| score(Split::Test)).transpose()?;
    manifest.metrics =
        serde_json::json!({ "validation": validation, "test": test, "stages": stages, "certain": fused.certain });
    let checkpoint = assemble(manifest, &options.out)?;

    let report = TrainReport {
        model_version: checkpoint.model_version(),
        checkpoint: options.out.clone(),
        weights_bytes: checkpoint.weights_bytes() as u64,
        data: pack.name.clone(),
        quick: options.quick || stages.iter().any(|record| record.quick),
        seed: options.seed,
        command: options.command.clone(),
        notes: options.notes.clone(),
        seconds: run.started.elapsed().as_secs_f64(),
        posts: SplitSize::of(pack),
        unreadable: features.unreadable.len(),
        stages,
        certain: fused.certain,
        validation,
        test,
    };
    write_text(&options.out.join("MODEL_CARD.md"), &model_card(&report, pack, checkpoint.manifest()))?;
    write_json(&run.work.file("report.json"), &report)?;
    run.work.write_curves(&report.stages)?;
    Ok(report)
}

fn data_hashes(run: &Run) -> BTreeMap<String, String> {
    let pack = &run.pack;
    let mut hashes = BTreeMap::from([(pack.source_name(), pack.posts_sha256.clone())]);
    match &run.rated {
        Some(rated) => drop(hashes.insert(crate::options::RATED_TEXTS.to_owned(), rated.sha256.clone())),
        None => {
            if let Some(digest) = &pack.extra_texts_sha256 {
                hashes.insert(format!("{}/extra-texts.jsonl", pack.name), digest.clone());
            }
        }
    }
    hashes
}

/// Scores a checkpoint on one split of a pack, all seven subsets, through the networks that serve, as for a feed with the
/// share of positive posts that the pack's training split has (ADR 43): that is also the score of a post of which nothing is
/// left. `seed` draws the bootstrap.
///
/// # Errors
/// A device that is not there, a split without a post, base weights that are missing.
pub fn score_checkpoint(
    checkpoint: &Checkpoint,
    pack: &DataPack,
    features: &Features,
    split: Split,
    device: DeviceChoice,
    seed: u64,
    progress: &dyn Progress,
) -> anyhow::Result<Evaluation> {
    let rate = pack.base_rate().clamp(1e-3, 1.0 - 1e-3);
    let fusion = FusionNetwork::from_checkpoint(checkpoint, device)?.with_prior((rate / (1.0 - rate)).ln() as f32)?;
    let posts = encode_with_checkpoint(checkpoint, pack, features, split, device, progress)?;
    let items = PostItems::of_posts(&pack.split(split).collect::<Vec<_>>());
    let middle = &checkpoint.manifest().middle;
    let setting = Setting { split, base_rate: pack.base_rate(), middle, items: &items, seed };
    evaluate(&setting, &posts, |inputs: &[FusionInput]| Ok(fusion.fuse(inputs)?.iter().map(scored).collect()))
}

/// The vectors that a checkpoint's encoders give to the posts of one split, in file order.
///
/// # Errors
/// A device that is not there, a device fault, base weights that are missing.
pub fn encode_with_checkpoint(
    checkpoint: &Checkpoint,
    pack: &DataPack,
    features: &Features,
    split: Split,
    device: DeviceChoice,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<EncodedPost>> {
    Encoders::of_checkpoint(checkpoint, device)?.encode_split(pack, split, features, progress)
}

fn scored(output: &FusionOutput) -> Scored {
    let mood = output.moods.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    Scored {
        probability: f64::from(output.probability),
        positive: output.is_positive(),
        mood: mood.and_then(|(name, _)| MOODS.iter().position(|mood| mood == name)),
        judgement: Some(output.judgement),
    }
}
