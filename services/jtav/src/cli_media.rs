//! `jtav media` on the command line.

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::SettingsArgs;

/// `jtav media …`.
#[derive(Debug, Subcommand)]
pub enum MediaCommand {
    /// Fetch and decode as the worker would, and say what came of each
    Check(MediaCheckArgs),
}

/// `jtav media check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Whether a file or URL counts as image or sound is told by its extension, else by --as, else by its content.\n\
                  Another format of the same kind decodes by its content (a PNG named .jpg); an image named .mp3 is a\n\
                  type_mismatch. Limits and the policy of addresses are those of the settings.\n\n\
                  Reasons: fetch_denied fetch_failed not_found timeout too_large type_mismatch unsupported decode_error\n\n\
                  Examples:\n  \
                  jtav media check photo.jpg song.mp3\n  \
                  jtav media check --json https://example.org/a.webp | jq .facts\n  \
                  jtav media check --set media.allow='[\"127.0.0.1:8000\"]' http://127.0.0.1:8000/a.jpg\n\n\
                  Exit status: 0 all are ok, 65 one or more were rejected."
)]
pub struct MediaCheckArgs {
    /// Files and http(s) URLs, checked in this order.
    #[arg(required = true, value_name = "PATH|URL")]
    pub items: Vec<String>,
    /// What an item without a telling extension is to be.
    #[arg(long = "as", value_enum, value_name = "KIND")]
    pub kind: Option<KindArg>,
    /// One JSON object a line: path, verdict, reason, facts, milliseconds, peak_memory_mb (of the process that decoded it).
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// What a medium is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// A picture.
    Image,
    /// A clip.
    Audio,
}
