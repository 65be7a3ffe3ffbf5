//! A training run: features, three encoders, fusion on their frozen vectors, on demand all four together, evaluation,
//! checkpoint, card.
//!
//! The validation split decides when to stop, the temperatures and the thresholds. The test split is read once, after
//! the checkpoint has been written, by loading that very checkpoint.

mod encoders;
mod examples;
mod finish;
mod fitting;
mod joint;
mod keep;
mod network;
mod run;
mod state;

use std::path::PathBuf;

use anyhow::Context;
use jtav_model::{Standardisation, Tokenizer, Vocabulary};
use jtav_training::{AudioConfig, AudioTrainer, ImageConfig, ImageTrainer, Kept, TextConfig, TextTrainer};

use crate::dataset::{DataPack, Split};
use crate::features::Features;
use crate::options::{Stage, TrainOptions};
use crate::progress::Progress;
use crate::report::{StageRecord, TrainReport};

use encoders::Encoders;
use network::Network;
use run::Run;
use state::WorkDir;

pub use examples::{picture_input, text_input};
pub use finish::{encode_with_checkpoint, score_checkpoint};

/// Trains as `options` say and writes the checkpoint with its model card to `options.out`.
///
/// Blocking, hours long at worst; may be killed at any time: finished stages and finished epochs are kept in
/// `options.work_dir`. A run that leaves a stage out takes it over, one with `options.resume` goes on where the killed
/// one stood and ends with the same weights. Files in `options.out` are only replaced at the very end.
///
/// # Errors
/// The pack (with file and line), a stage that was left out and is not in the work folder, a loss that diverges, a
/// device fault, a folder that cannot be written.
pub fn train(options: &TrainOptions, progress: &dyn Progress) -> anyhow::Result<TrainReport> {
    let run = Run::prepare(options, progress)?;
    let vocabulary = run.vocabulary()?;
    let (text, text_record) = run.text(&vocabulary)?;
    let (audio, audio_record) = run.audio()?;
    let (image, image_record) = run.image()?;
    let mut records = vec![text_record, audio_record, image_record];
    let encoders = Encoders { text, audio, image };
    let (fusion, calibration, record) = run.fusion(&encoders, &vocabulary)?;
    records.push(record);
    if options.stages.contains(&Stage::Joint) {
        let joined = run.joint(encoders, fusion, calibration, &vocabulary)?;
        records.push(joined.record);
        return finish::finish(&run, joined.encoders, joined.fusion, joined.calibration, &vocabulary, records);
    }
    finish::finish(&run, encoders, fusion, calibration, &vocabulary, records)
}

/// Trains the stages named in `options.stages` up to the encoders and keeps them in the work folder, without fusing.
/// This is how encoders are trained side by side, one process each.
///
/// # Errors
/// As [`train`].
pub fn train_encoders(options: &TrainOptions, progress: &dyn Progress) -> anyhow::Result<Vec<StageRecord>> {
    let run = Run::prepare(options, progress)?;
    let mut records = Vec::new();
    for stage in options.stages.iter().copied() {
        records.push(match stage {
            Stage::Text => run.text(&run.vocabulary()?)?.1,
            Stage::Audio => run.audio()?.1,
            Stage::Image => run.image()?.1,
            Stage::Fusion | Stage::Joint => {
                anyhow::bail!(
                    "the stage `{stage}` needs all encoders and a fusion; use `train` with the stage `fusion`"
                )
            }
        });
    }
    run.work.write_curves(&records)?;
    Ok(records)
}

impl<'a> Run<'a> {
    fn prepare(options: &'a TrainOptions, progress: &'a dyn Progress) -> anyhow::Result<Self> {
        let started = std::time::Instant::now();
        anyhow::ensure!(
            options.keep_media.is_none() || !options.stages.contains(&Stage::Joint),
            "--keep-media keeps the audio and image networks as they are, --joint moves them; leave one out"
        );
        let folder: PathBuf = options.resolve_data()?;
        let pack = DataPack::read(&folder)?;
        let kept = options.keep_media.as_deref().map(|folder| keep::read(folder, &pack)).transpose()?;
        let max_audio_seconds = kept.as_ref().map_or(options.max_audio_seconds, Kept::max_audio_seconds);
        let reads_media = options.stages.iter().any(|&stage| stage != Stage::Text);
        let features = match reads_media {
            true => {
                Features::load(&pack.posts, max_audio_seconds, &options.cache_dir, options.decode_threads, progress)?
            }
            false => Features::default(),
        };
        for file in &features.unreadable {
            tracing::warn!(path = %file.path.display(), reason = %file.reason, "media file is left out");
        }
        let work = WorkDir::create(&options.work_dir, &pack)?;
        Ok(Self {
            options,
            progress,
            pack,
            features,
            work,
            kept,
            tokenizer: Tokenizer::new(),
            max_audio_seconds,
            started,
        })
    }

    /// Built from the texts of the training side when the text network is trained, else the one it was trained with.
    fn vocabulary(&self) -> anyhow::Result<Vocabulary> {
        let path = self.work.vocabulary();
        if !self.options.stages.contains(&Stage::Text) {
            return Vocabulary::load(&path).context("the vocabulary of the text network; train the stage `text` first");
        }
        let vocabulary = examples::vocabulary(&self.pack, &self.tokenizer, self.options.vocabulary);
        vocabulary.save(&path)?;
        Ok(vocabulary)
    }

    fn text(&self, vocabulary: &Vocabulary) -> anyhow::Result<(TextTrainer, StageRecord)> {
        let config = TextConfig { device: self.options.device, ..self.options.text };
        let mut trainer = TextTrainer::new(config, vocabulary.rows_total(), self.options.seed)?;
        let settings = serde_json::to_value(config)?;
        let examples = || examples::texts(&self.pack, &self.tokenizer, vocabulary);
        let record = self.encoder(Stage::Text, &mut trainer, settings, examples)?;
        let (held, labels): (Vec<_>, Vec<_>) =
            examples::texts_of(&self.pack, Split::Validation, &self.tokenizer, vocabulary).unzip();
        trainer.weigh(&held, &labels).context("weighing BiGRU and bag on validation")?;
        Ok((trainer, record))
    }

    fn audio(&self) -> anyhow::Result<(AudioTrainer, StageRecord)> {
        let config = AudioConfig { device: self.options.device, ..self.options.audio };
        let examples = || examples::clips(&self.pack, &self.features);
        if let Some(kept) = &self.kept {
            let mut trainer = AudioTrainer::new(config, kept.standardisation().clone(), self.options.seed)?;
            trainer.keep_weights(kept)?;
            let record = self.kept_record(Stage::Audio, &trainer, kept, examples()?)?;
            return Ok((trainer, record));
        }
        let clips = examples::training_clips(&self.pack, &self.features);
        let standardisation = Standardisation::fit(clips.iter().map(|clip| &**clip))
            .context("the training split has no readable audio")?;
        let mut trainer = AudioTrainer::new(config, standardisation, self.options.seed)?;
        let settings = serde_json::to_value(config)?;
        let record = self.encoder(Stage::Audio, &mut trainer, settings, examples)?;
        Ok((trainer, record))
    }

    fn image(&self) -> anyhow::Result<(ImageTrainer, StageRecord)> {
        let config = ImageConfig { device: self.options.device, ..self.options.image };
        let examples = || examples::pictures(&self.pack, &self.features);
        if let Some(kept) = &self.kept {
            let config = ImageConfig { serve_resolution: kept.image_resolution(), ..config };
            let mut trainer = ImageTrainer::new(config, self.options.seed)?;
            trainer.keep_weights(kept)?;
            let record = self.kept_record(Stage::Image, &trainer, kept, examples()?)?;
            return Ok((trainer, record));
        }
        let mut trainer = ImageTrainer::new(config, self.options.seed)?;
        let settings = serde_json::to_value(config)?;
        let record = self.encoder(Stage::Image, &mut trainer, settings, examples)?;
        Ok((trainer, record))
    }

    /// Trains one encoder and keeps it, or takes it over from the work folder.
    fn encoder<N: Network>(
        &self,
        stage: Stage,
        trainer: &mut N,
        settings: serde_json::Value,
        examples: impl FnOnce() -> anyhow::Result<examples::Examples<N>>,
    ) -> anyhow::Result<StageRecord> {
        if !self.options.stages.contains(&stage) {
            return self.work.take_over(stage, trainer);
        }
        if self.options.resume && self.work.finished(stage, &self.origin(stage, &settings)).is_some() {
            self.progress.start(stage.name(), 0);
            self.progress.finish("was finished before the run was killed, with these settings");
            return self.work.take_over(stage, trainer);
        }
        let record = self.fit(stage, trainer, settings, examples()?)?;
        self.keep(&record, trainer)?;
        Ok(record)
    }
}
