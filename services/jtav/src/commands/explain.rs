//! `jtav explain`: why a post was labelled as it was, as its page tells it.

mod local;
mod pictures;

use std::path::{Path, PathBuf};

use clap::Args;
use jtav_console::{Asked, Shown, draw, lines, painted, shown};
use jtav_feed_processor::exit;
use jtav_text::terminal::visible_json;

use self::pictures::{Drawn, write_pictures};
use crate::console::{ServerArgs, columns, failed, ink};
use crate::output::{out, outln};
use crate::setup::{self, LogFormatArg, SettingsArgs};

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
    target: String,
    /// It is the id of a post.
    #[arg(long, conflicts_with = "file")]
    post: bool,
    /// It is a file.
    #[arg(long)]
    file: bool,
    /// The line of the file that is meant, from 1 [default: the first that is not blank].
    #[arg(long, value_name = "N", conflicts_with = "post", value_parser = clap::value_parser!(i64).range(1..))]
    line: Option<i64>,
    /// The explanation as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Draw the picture with its cells here, blurred and grey; beside it, as STEM-sound.png, the spectrogram with its seconds.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Draw the picture as it is.
    #[arg(long, requires = "png")]
    sharp: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Checkpoint in place of the bundled one, for a file of posts.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Settings, for a file of posts.
    #[command(flatten)]
    settings: SettingsArgs,
}

impl ExplainArgs {
    fn is_file(&self) -> bool {
        let is_path = || Path::new(&self.target).exists() && !Path::new(&self.target).is_dir();
        !self.post && (self.file || self.line.is_some() || self.target == "-" || is_path())
    }
}

pub fn run(arguments: &ExplainArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let (shown, drawn) = if arguments.is_file() {
        local::explain(arguments, log_format)?
    } else {
        setup::logs(log_format, None, "error");
        setup::in_system(of_server(arguments))?
    };
    if arguments.json {
        outln!("{}", visible_json(&serde_json::to_string(&shown.explanation)?))?;
    } else {
        let ink = ink();
        out!("{}", painted(&lines(&shown, columns(), ink), ink))?;
    }
    match (&arguments.png, drawn) {
        (Some(path), Some(drawn)) => write_pictures(path, drawn),
        _ => Ok(exit::OK),
    }
}

async fn of_server(arguments: &ExplainArgs) -> anyhow::Result<(Shown, Option<Drawn>)> {
    let server = arguments.server.open()?;
    let asked = if arguments.json { Asked::Reasons } else { Asked::WithNeighbours };
    let shown = shown(&server, &arguments.target, asked).await.map_err(failed)?;
    let drawn = match &arguments.png {
        Some(_) => Some(Drawn::from(draw(&server, &shown.explanation, arguments.sharp).await)),
        None => None,
    };
    Ok((shown, drawn))
}
