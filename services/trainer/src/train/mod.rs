//! A training run: features, three encoders, fusion on their frozen vectors, evaluation, checkpoint, card.
//!
//! Every encoder leaves weights and what networks that had not seen them said of training items; the fusion is calibrated on
//! that. The validation split decides how long DCRNN and CMF-AP are trained. The test split is read once, after the
//! checkpoint has been written, by loading that very checkpoint.

mod audio;
mod calibrating;
mod certain;
mod encoders;
mod examples;
mod finish;
mod fitting;
mod fusing;
mod image;
mod network;
mod outcome;
mod reading;
mod run;
mod state;
mod text;

use std::path::PathBuf;

use anyhow::Context;
use jtav_model::Bases;

use crate::dataset::DataPack;
use crate::features::Features;
use crate::options::{Stage, TrainOptions};
use crate::progress::Progress;
use crate::report::{StageRecord, TrainReport};
use crate::texts::RatedTexts;

use run::Run;
use state::WorkDir;

pub use encoders::Encoders;
pub use examples::{parts, picture_input};
pub use finish::{encode_with_checkpoint, score_checkpoint};

/// Trains as `options` say and writes the checkpoint with its model card to `options.out`.
///
/// Blocking, a quarter of an hour on two cores; may be killed at any time: finished stages and DCRNN's finished epochs are
/// kept in `options.work_dir`. A run that leaves a stage out takes it over, one with `options.resume` goes on where the killed
/// one stood and ends with the same weights. Files in `options.out` are only replaced at the very end.
///
/// # Errors
/// The pack (with file and line), a stage that was left out and is not in the work folder, a loss that diverges, a
/// device fault, base weights that are missing, a folder that cannot be written.
pub fn train(options: &TrainOptions, progress: &dyn Progress) -> anyhow::Result<TrainReport> {
    let run = Run::prepare(options, progress)?;
    let encoders = [run.text()?, run.audio()?, run.image()?];
    let fused = run.fusion(&encoders)?;
    finish::finish(&run, encoders, fused)
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
            Stage::Text => run.text()?.record,
            Stage::Audio => run.audio()?.record,
            Stage::Image => run.image()?.record,
            Stage::Fusion => {
                anyhow::bail!("the stage `{stage}` needs all encoders; use `train` with the stage `fusion`")
            }
        });
    }
    run.work.write_curves(&records)?;
    Ok(records)
}

impl<'a> Run<'a> {
    fn prepare(options: &'a TrainOptions, progress: &'a dyn Progress) -> anyhow::Result<Self> {
        let started = std::time::Instant::now();
        let folder: PathBuf = options.resolve_data()?;
        let pack = DataPack::read(&folder)?;
        let rated = options.resolve_rated_texts(&folder)?;
        let rated = rated.map(|path| RatedTexts::read(&path)).transpose()?;
        if rated.is_none() {
            tracing::warn!(
                pack = %pack.name,
                "no rated texts beside the pack: the text network learns from its labels alone and never calls a text neutral \
                 (docs/data-packs.md)"
            );
        }
        let reads_media = options.stages.iter().any(|&stage| stage != Stage::Text);
        let features = match reads_media {
            true => Features::load(
                &pack.posts,
                options.max_audio_seconds,
                &options.cache_dir,
                options.decode_threads,
                progress,
            )?,
            false => Features::default(),
        };
        for file in &features.unreadable {
            tracing::warn!(path = %file.path.display(), reason = %file.reason, "media file is left out");
        }
        let work = WorkDir::create(&options.work_dir, &pack).context("the work folder")?;
        let bases = Bases::new(None, options.weights.as_deref());
        Ok(Self { options, progress, pack, rated, features, bases, work, started })
    }
}
