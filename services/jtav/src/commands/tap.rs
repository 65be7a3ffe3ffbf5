//! `jtav tap`: the labels as they are published, a line each.

use clap::Args;
use clap::builder::PossibleValuesParser;
use jtav_console::{TapEnd, TapOptions, Tapped, is_position, tap};
use jtav_feed_processor::exit;

use crate::console::{ServerArgs, failed, ink, terminal_columns};
use crate::output::{self, Stdout, errln};
use crate::setup::{self, LogFormatArg};

/// Labels before now that may be asked for.
const MAX_RECENT: i64 = 1_000;

/// `jtav tap`.
#[derive(Debug, Args)]
#[command(
    after_help = "A line: time (UTC), label with its probability (? where it is not certain), post, the words that weighed most,\n\
                  mood of the sound, parts that failed. Erasures (×) pass every filter. When the connection breaks it\n\
                  is made anew, and the stream goes on without loss or repeat; stderr says so.\n\n\
                  Examples:\n  jtav tap --label negative --certain\n  jtav tap --recent 100 --limit 100 --json | jq .sentiment.label\n  \
                  jtav tap --from 0:13,1:40                go on where another one ended\n\n\
                  Exit status: 0 after --limit labels or Ctrl-C, 65 refused, 69 server out of reach, 78 key."
)]
pub struct TapArgs {
    /// Only these labels.
    #[arg(long, value_name = "LABEL", value_delimiter = ',', value_parser = PossibleValuesParser::new(["negative", "neutral", "positive"]))]
    label: Vec<String>,
    /// Only labels that are certain; `--certain false`: only those that are not.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    certain: Option<bool>,
    /// Only posts whose most probable mood is one of these.
    #[arg(long, value_name = "MOOD", value_delimiter = ',', value_parser = PossibleValuesParser::new(["Q1", "Q2", "Q3", "Q4"]))]
    mood: Vec<String>,
    /// Only posts of which one of these parts was read.
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = PossibleValuesParser::new(["text", "audio", "image"]))]
    modality: Vec<String>,
    /// Only texts in one of these languages (ISO 639).
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    lang: Vec<String>,
    /// Begin with so many wanted events from before, at most 1000.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=MAX_RECENT), conflicts_with = "from")]
    recent: i64,
    /// Begin at a position, as Ctrl-C prints it.
    #[arg(long, value_name = "POSITION", value_parser = position)]
    from: Option<String>,
    /// End after so many labels.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The data of each event as it came, one JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

fn position(text: &str) -> Result<String, String> {
    if is_position(text) {
        Ok(text.to_owned())
    } else {
        Err("a position looks like 0:13,1:40 (partition:offset)".to_owned())
    }
}

impl TapArgs {
    fn filters(&self) -> Vec<(&'static str, String)> {
        let lists = [("label", &self.label), ("mood", &self.mood), ("modality", &self.modality), ("lang", &self.lang)];
        let lists = lists.into_iter().filter(|(_, values)| !values.is_empty());
        let mut filters: Vec<_> = lists.map(|(name, values)| (name, values.join(","))).collect();
        filters.extend(self.certain.map(|certain| ("certain", certain.to_string())));
        filters
    }
}

pub fn run(arguments: &TapArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    let server = arguments.server.open()?;
    let options = TapOptions {
        filters: arguments.filters(),
        recent: usize::try_from(arguments.recent).unwrap_or_default(),
        from: arguments.from.clone(),
        limit: arguments.limit,
        json: arguments.json,
        ink: ink(),
        width: terminal_columns(),
    };
    let mut note = |text: &str| errln!("jtav tap: {text}");
    let mut code = exit::OK;
    let stop = async {
        tokio::select! {
            () = setup::end_signal() => {}
            // Else it would be noticed with the next label, which may be long in coming.
            () = output::reader_gone() => code = output::READER_GONE,
        }
    };
    let tapping = async { Ok(tap(&server, &options, &mut Stdout, &mut note, stop).await) };
    let Tapped { end, position } = setup::in_system(tapping)?.map_err(failed)?;
    if let (TapEnd::Stopped, exit::OK, Some(position)) = (end, code, position) {
        errln!("jtav tap: to go on where this ends: --from {position}");
    }
    Ok(code)
}
