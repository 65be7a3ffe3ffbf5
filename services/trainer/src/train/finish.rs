//! After the encoders: fusion, calibration, checkpoint, evaluation of that checkpoint, model card.

use std::collections::BTreeMap;

use anyhow::Context;
use jtav_model::{
    AudioNetwork, Calibration, Checkpoint, DeviceChoice, Dimensions, FusionInput, FusionNetwork, FusionOutput,
    ImageNetwork, Manifest, TextNetwork, Tokenizer, Vocabulary,
};
use jtav_training::{
    AudioTrainer, FusionConfig, FusionExample, FusionTrainer, ImageTrainer, TextTrainer, UnimodalHeads,
    assemble_checkpoint,
};

use super::encoders::Encoders;
use super::examples::Examples;
use super::run::Run;
use crate::card::model_card;
use crate::dataset::{DataPack, MOODS, Split};
use crate::evaluation::{EncodedPost, Evaluation, Scored, evaluate};
use crate::features::Features;
use crate::files::{write_json, write_text};
use crate::options::Stage;
use crate::progress::Progress;
use crate::report::{SplitSize, StageRecord, TrainReport};

/// The encoders in training.
pub(super) type Trained = Encoders<TextTrainer, AudioTrainer, ImageTrainer>;

impl Run<'_> {
    /// Trains the fusion on the encoders' vectors of the training posts and calibrates it on validation.
    pub(super) fn fusion(
        &self,
        encoders: &Trained,
        vocabulary: &Vocabulary,
    ) -> anyhow::Result<(FusionTrainer, Calibration, StageRecord)> {
        let config = FusionConfig { device: self.options.device, ..self.options.fusion };
        let heads =
            UnimodalHeads { text: encoders.text.head()?, audio: encoders.audio.head()?, image: encoders.image.head()? };
        let mut trainer = FusionTrainer::new(config, &heads, self.options.seed)?;
        if !self.options.stages.contains(&Stage::Fusion) {
            anyhow::bail!(
                "the stage `fusion` cannot be taken over: its calibration belongs to the encoders of this run"
            );
        }
        let text = (&self.tokenizer, vocabulary);
        let encode = |split| encoders.encode_split(&self.pack, split, &self.features, text, self.progress);
        let (train, validation) = (encode(Split::Train)?, encode(Split::Validation)?);
        let (train, validation) = (fusion_examples(train), fusion_examples(validation));
        let examples = Examples {
            train,
            labels: validation.iter().map(|example| example.positive).collect(),
            validation: validation.iter().map(|example| example.input.clone()).collect(),
        };
        let record = self.fit(Stage::Fusion, &mut trainer, serde_json::to_value(config)?, examples)?;
        let calibration = trainer.calibrate(&validation).context("calibrating on validation")?;
        self.keep(&record, &trainer)?;
        Ok((trainer, calibration, record))
    }
}

/// The posts that have at least one part.
pub(super) fn fusion_examples(posts: Vec<EncodedPost>) -> Vec<FusionExample> {
    let posts = posts.into_iter().filter(|post| !post.input.modalities().is_empty());
    posts.map(|post| FusionExample { input: post.input, positive: post.positive }).collect()
}

/// Writes checkpoint, card and logs.
pub(super) fn finish(
    run: &Run,
    encoders: Trained,
    fusion: FusionTrainer,
    calibration: Calibration,
    vocabulary: &Vocabulary,
    stages: Vec<StageRecord>,
) -> anyhow::Result<TrainReport> {
    let Run { options, pack, features, progress, .. } = run;
    let dimensions = Dimensions::modern(vocabulary.rows_total());
    let standardisation = encoders.audio.standardisation().clone();
    let mut manifest = Manifest::modern(dimensions, standardisation, run.max_audio_seconds, calibration, options.seed);
    manifest.data = data_hashes(pack);
    let assemble = |manifest: Manifest, folder: &std::path::Path| {
        let Encoders { text, audio, image } = &encoders;
        assemble_checkpoint(text, vocabulary, audio, image, &fusion, manifest, folder)
            .with_context(|| format!("writing the checkpoint to {}", folder.display()))
    };
    // Figures are those of the files, in f16 and through the serving networks, so they need a checkpoint to be there.
    let draft = assemble(manifest.clone(), &run.work.file("checkpoint"))?;
    let score = |split| score_checkpoint(&draft, pack, features, split, options.device, options.seed, *progress);
    let validation = score(Split::Validation)?;
    let test = options.score_test.then(|| score(Split::Test)).transpose()?;
    manifest.metrics = serde_json::json!({ "validation": validation, "test": test, "stages": stages });
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
        validation,
        test,
    };
    write_text(&options.out.join("MODEL_CARD.md"), &model_card(&report, pack))?;
    write_json(&run.work.file("report.json"), &report)?;
    run.work.write_curves(&report.stages)?;
    Ok(report)
}

fn data_hashes(pack: &DataPack) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::from([(pack.source_name(), pack.posts_sha256.clone())]);
    if let Some(digest) = &pack.extra_texts_sha256 {
        hashes.insert(format!("{}/extra-texts.jsonl", pack.name), digest.clone());
    }
    hashes
}

/// Scores a checkpoint on one split of a pack, all seven subsets, through the networks that serve.
///
/// The base rate is that of the pack's training split (ADR 43). `seed` draws the bootstrap.
///
/// # Errors
/// A device that is not there, a split without a post.
pub fn score_checkpoint(
    checkpoint: &Checkpoint,
    pack: &DataPack,
    features: &Features,
    split: Split,
    device: DeviceChoice,
    seed: u64,
    progress: &dyn Progress,
) -> anyhow::Result<Evaluation> {
    let fusion = FusionNetwork::from_checkpoint(checkpoint, device)?;
    let posts = encode_with_checkpoint(checkpoint, pack, features, split, device, progress)?;
    evaluate(split, &posts, pack.base_rate(), seed, |inputs: &[FusionInput]| {
        Ok(fusion.fuse(inputs)?.iter().map(scored).collect())
    })
}

/// The vectors that a checkpoint's encoders give to the posts of one split, in file order.
///
/// # Errors
/// A device that is not there, a device fault.
pub fn encode_with_checkpoint(
    checkpoint: &Checkpoint,
    pack: &DataPack,
    features: &Features,
    split: Split,
    device: DeviceChoice,
    progress: &dyn Progress,
) -> anyhow::Result<Vec<EncodedPost>> {
    let encoders = Encoders {
        text: TextNetwork::from_checkpoint(checkpoint, device)?,
        audio: AudioNetwork::from_checkpoint(checkpoint, device)?,
        image: ImageNetwork::from_checkpoint(checkpoint, device)?,
    };
    let tokenizer = Tokenizer::new();
    let text = (&tokenizer, &**checkpoint.vocabulary());
    encoders.encode_split(pack, split, features, text, progress)
}

fn scored(output: &FusionOutput) -> Scored {
    let mood = output.moods.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    Scored {
        probability: f64::from(output.probability),
        positive: output.is_positive(),
        mood: mood.and_then(|(name, _)| MOODS.iter().position(|mood| mood == name)),
    }
}
