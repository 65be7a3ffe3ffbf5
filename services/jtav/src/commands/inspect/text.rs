//! `jtav inspect text`.

use std::path::{Path, PathBuf};

use clap::Args;
use jtav_feed_processor::exit;
use jtav_model::{FusionNetwork, TextFrontEnd, TextNetwork};
use jtav_trainer::inspect::{TextReaders, inspect_text};

use super::common::{NetworkArgs, NetworkOf, failed, read, save, show};
use crate::failure::coded;

/// `jtav inspect text`.
#[derive(Debug, Args)]
#[command(
    after_help = "Several files are the parts of one post: the one with the most words is the protagonist, the others support it.\n\
                  The label is that of the text alone. `s` speaks for positive against negative, `n` for neutral against the\n\
                  mean of both; both are calibrated logits.\n\n\
                  Examples:\n  echo 'what a lovely day' | jtav inspect text -\n  jtav inspect text lyrics.txt caption.txt --json"
)]
pub struct InspectTextArgs {
    /// Text files, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the attention per word here, f32 [words].
    #[arg(long, value_name = "FILE.npy")]
    save: Option<PathBuf>,
    /// Network and form of the answer.
    #[command(flatten)]
    network: NetworkArgs,
}

pub fn run(arguments: &InspectTextArgs) -> anyhow::Result<u8> {
    let network = NetworkOf::new(&arguments.network)?;
    let parts = arguments.files.iter().map(|file| {
        let bytes = read(file)?;
        String::from_utf8(bytes)
            .map_err(|error| coded(exit::DATA)(anyhow::anyhow!("{}: no UTF-8 text: {error}", file.display())))
    });
    let parts = parts.collect::<anyhow::Result<Vec<String>>>()?;
    let readers = TextReaders {
        front_end: TextFrontEnd::of_checkpoint(&network.checkpoint)
            .map_err(|error| coded(exit::CONFIG)(error.into()))?,
        network: network.build(TextNetwork::from_checkpoint)?,
        fusion: network.build(FusionNetwork::from_checkpoint)?,
    };
    let found = inspect_text(&parts, &readers).map_err(|error| {
        let first = arguments.files.first().map_or(Path::new("-"), |file| file.as_path());
        failed(error, first)
    })?;
    save(arguments.save.as_deref(), found.npy())?;
    show(arguments.network.json, &[arguments.save.as_deref()], || found.json(), || found.text())
}
