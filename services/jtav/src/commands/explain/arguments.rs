//! What `jtav explain` takes.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::console::ServerArgs;
use crate::setup::SettingsArgs;

/// `jtav explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "POST is asked of a running `jtav serve`. FILE is labelled here, as `jtav label` does it (a JSONL of posts: the\n\
                  first, or --line N), or read (a sentiment.v1 record, a line of `jtav label` or of `jtav tap --json`).\n\
                  An existing path is a file; --post and --file say it where both could be meant.\n\n\
                  Examples:\n  jtav explain pp-000431\n  jtav explain posts.jsonl --line 3 --png why.png\n  \
                  jtav tap --json --limit 1 | jtav explain -\n  jtav explain pp-000431 --json | jq -r .sentences[]\n\n\
                  Exit status: 0, 65 unknown or unreadable post, or a picture that was asked for and cannot be had, 69 server out of\n\
                  reach, 78 key or settings."
)]
pub struct ExplainArgs {
    /// Id of a post, or a file; `-` is standard input.
    #[arg(value_name = "POST|FILE")]
    pub(super) target: String,
    /// It is the id of a post.
    #[arg(long, conflicts_with = "file")]
    pub(super) post: bool,
    /// It is a file.
    #[arg(long)]
    pub(super) file: bool,
    /// The line of the file that is meant, from 1 [default: the first that is not blank].
    #[arg(long, value_name = "N", conflicts_with = "post", value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) line: Option<i64>,
    /// The explanation as one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Draw the picture with its cells here, blurred and grey; beside it, as STEM-sound.png, the spectrogram with its seconds.
    #[arg(long, value_name = "FILE")]
    pub(super) png: Option<PathBuf>,
    /// Draw the picture as it is.
    #[arg(long, requires = "png")]
    pub(super) sharp: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Checkpoint in place of the bundled one, for a file of posts.
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,
    /// Settings, for a file of posts.
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
}

impl ExplainArgs {
    /// Whether a file is meant, and not the id of a post.
    pub(super) fn is_file(&self) -> bool {
        let is_path = || Path::new(&self.target).exists() && !Path::new(&self.target).is_dir();
        !self.post && (self.file || self.line.is_some() || self.target == "-" || is_path())
    }
}
