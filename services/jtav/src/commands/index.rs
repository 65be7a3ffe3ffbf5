//! `jtav index`: catalogues for retrieval.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use jtav_feed_processor::networks::fit_to_model;
use jtav_feed_processor::{Networks, exit};
use jtav_model::retrieval::{BUNDLED_RETRIEVAL, RetrievalCheckpoint};
use jtav_query::songs::{SongReader, list};
use jtav_settings::{Settings, existing_or_bundled};

use crate::failure::coded;
use crate::output::{errln, outln};
use crate::setup::{self, LogFormatArg, SettingsArgs};

/// `jtav index`.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Read a folder of songs into a catalogue for image2song.
    Songs(IndexSongsArgs),
}

/// `jtav index songs`.
#[derive(Debug, Args)]
#[command(
    after_help = "The songs are the files that a songs.jsonl in the folder names, one a line as {\"path\", \"id\"?, \"title\"?, \"lyrics\"?},\n\
                  or else every file of sound below the folder. Each is decoded in the sandbox, encoded by the networks of the\n\
                  settings, and read by the song tower of --model. One that cannot be read is named and left out.\n\n\
                  Example:\n  jtav index songs ~/music --out music.songs\n  jtav serve --set serve.songs_file=music.songs"
)]
pub struct IndexSongsArgs {
    /// Folder of songs.
    folder: PathBuf,
    /// Where the catalogue goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Checkpoint of image2song, as `jtav train --task image2song` writes it [default: the bundled one].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Settings: which networks encode, and the limits of media.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(command: &IndexCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let IndexCommand::Songs(arguments) = command;
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::logs(log_format, Some(&settings), "error");
    fit_to_model(&mut settings);
    let songs = list(&arguments.folder).map_err(coded(exit::DATA))?;
    let folder = match &arguments.model {
        Some(folder) => folder.clone(),
        None => existing_or_bundled(BUNDLED_RETRIEVAL).map_err(|error| coded(exit::CONFIG)(error.into()))?,
    };
    let checkpoint = RetrievalCheckpoint::load(&folder)
        .with_context(|| format!("--model {}", folder.display()))
        .map_err(coded(exit::CONFIG))?;
    setup::in_system(catalogue(arguments, Arc::new(settings), checkpoint, songs))
}

async fn catalogue(
    arguments: &IndexSongsArgs,
    settings: Arc<Settings>,
    checkpoint: RetrievalCheckpoint,
    songs: Vec<jtav_query::songs::SongFile>,
) -> anyhow::Result<u8> {
    let decoders = setup::decoders(&settings);
    let networks = Networks::load(&settings, setup::exit_on_device_fault()).map_err(coded(exit::CONFIG))?;
    checkpoint.check_encoder(&networks.model_version).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    let reader = SongReader::new(&networks, decoders()?, settings.media.max_audio_bytes);
    let count = songs.len();
    let bar = ProgressBar::new(count as u64).with_message("songs");
    bar.set_style(ProgressStyle::with_template("{msg} {pos}/{len} {wide_bar} {eta}")?);
    let (catalogue, left_out) = reader.catalogue(&checkpoint, songs, || bar.inc(1)).await.map_err(coded(exit::DATA))?;
    bar.finish_and_clear();
    catalogue.save(&arguments.out)?;
    for song in &left_out {
        errln!("left out: {}: {}", song.id.escape_debug(), song.why);
    }
    outln!(
        "{} of {count} songs in {}, for {} on {}",
        catalogue.songs().len(),
        arguments.out.display(),
        checkpoint.version(),
        networks.model_version
    )?;
    Ok(if left_out.is_empty() { exit::OK } else { exit::DATA })
}
