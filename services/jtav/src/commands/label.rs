//! `jtav label`: a JSONL of posts to a JSONL of labels, through the very router and boxes of the worker.

pub mod bench;
pub mod io;

use std::collections::{BTreeMap, VecDeque};
use std::io::{IsTerminal as _, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use jtav_delivery::Outcome;
use jtav_feed_processor::exit;
use jtav_feed_processor::networks::fit_to_model;
use jtav_pipeline::PostReport;
use jtav_settings::Settings;
use serde_json::{Value, json};

use self::bench::Bench;
use self::io::{KeepEmbeddings, lines, read_line};
use crate::failure::coded;
use crate::output::{Stdout, errln, own};
use crate::setup::{self, LogFormatArg, SettingsArgs};

/// Lines that wait for an earlier one at most: one slow post must not let the labels of a whole file pile up.
const MAX_WAITING_LINES: usize = 1_024;

/// `jtav label`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each line is a post.v1 (media by URL) or a dataset-post.v1 (media by path, relative to the file, or to the\n\
                        working folder for standard input). Each line of the output is a sentiment.v1 in input order;\n\
                        a path is read from this machine, so label posts of strangers without one;\n\
                        a post without anything to label gives {\"line\", \"post_id\", \"skipped\"}, an erasure {\"line\", \"post_id\", \"deleted\"};\n\
                        a post that cannot be labelled gives {\"line\", \"post_id\", \"error\", \"reason\"} and exit code 65 at the end.\n\n\
                        Example:\n  echo '{\"id\":\"1\",\"texts\":[{\"role\":\"body\",\"text\":\"what a lovely day\"}]}' | jtav label -"
)]
pub struct LabelArgs {
    /// JSONL file, or `-` for standard input.
    input: PathBuf,
    /// Write here in place of stdout; not the input itself.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Add the embeddings: each output line gets a field `embedding` (embedding.v1).
    #[arg(long)]
    embeddings: bool,
    /// Checkpoint in place of the bundled one.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Exact addresses that media may be fetched from though they are not public: `127.0.0.1:8080`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    allow: Vec<SocketAddr>,
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(arguments: &LabelArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::with_model(&mut settings, arguments.model.as_deref());
    settings.media.allow.extend(&arguments.allow);
    setup::logs(log_format, Some(&settings), "error");
    fit_to_model(&mut settings);
    let input = open(&arguments.input)?;
    if let Some(output) = &arguments.output {
        refuse_own_input(&arguments.input, output)?;
    }
    let mut output = sink(arguments.output.as_deref())?;
    if std::io::stderr().is_terminal() {
        errln!("loading and warming the networks …");
    }
    let failed = setup::in_system(label_lines(Arc::new(settings), input, &mut output, arguments.embeddings))?;
    output.flush().map_err(own)?;
    if failed == 0 {
        return Ok(exit::OK);
    }
    errln!("{failed} posts could not be labelled; their lines say why");
    Ok(exit::DATA)
}

/// A JSONL of posts.
pub struct Input {
    /// For messages.
    pub name: String,
    /// Its bytes.
    pub bytes: Box<dyn Read + Send>,
    /// What paths of media are relative to.
    pub folder: PathBuf,
}

/// Opens a file, or standard input for `-`.
///
/// # Errors
/// There is no such file.
pub fn open(path: &Path) -> anyhow::Result<Input> {
    if path == Path::new("-") {
        if std::io::stdin().is_terminal() {
            errln!("reading posts from the terminal, one JSON object a line; Ctrl-D ends");
        }
        let (name, folder) = ("standard input".to_owned(), std::env::current_dir()?);
        return Ok(Input { name, bytes: Box::new(std::io::stdin()), folder });
    }
    let file = std::fs::File::open(path).with_context(|| format!("{}", path.display())).map_err(coded(exit::DATA))?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(Input { name: path.display().to_string(), bytes: Box::new(file), folder })
}

/// The output is emptied before the first line is read: of a file that is both, nothing would be left.
fn refuse_own_input(input: &Path, output: &Path) -> anyhow::Result<()> {
    let input = if input == Path::new("-") { Path::new("/dev/stdin") } else { input };
    let file = |path: &Path| {
        let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some((metadata.dev(), metadata.ino()))
    };
    match (file(input), file(output)) {
        (Some(read), Some(written)) if read == written => {
            let name = output.display();
            let error =
                anyhow::anyhow!("--output {name} is the input itself, which would be emptied; name another file");
            Err(coded(exit::USAGE)(error))
        }
        _ => Ok(()),
    }
}

fn sink(path: Option<&Path>) -> anyhow::Result<Box<dyn Write>> {
    Ok(match path {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("--output {}", path.display()))?;
            Box::new(std::io::BufWriter::new(file))
        }
        None => Box::new(Stdout),
    })
}

/// Labels every line; gives the number of posts that got no label.
async fn label_lines(
    settings: Arc<Settings>,
    Input { name, bytes, folder }: Input,
    output: &mut dyn Write,
    with_embeddings: bool,
) -> anyhow::Result<u64> {
    let embeddings = KeepEmbeddings::default();
    let mut bench = Bench::start(&settings, Arc::new(embeddings.clone()))?;
    let mut writer = InOrder::new(output, embeddings, with_embeddings);
    let bar = progress();
    let mut lines = lines(bytes);
    let mut is_open = true;
    while is_open || !writer.waiting.is_empty() {
        tokio::select! {
            biased;
            Some(report) = bench.reports.recv(), if !writer.waiting.is_empty() => {
                writer.take(report)?;
                bar.inc(1);
            }
            line = lines.recv(), if is_open && writer.waiting.len() < MAX_WAITING_LINES => match line {
                None => is_open = false,
                Some(line) => {
                    let line = line.with_context(|| format!("reading {name}")).map_err(coded(exit::DATA))?;
                    let event = read_line(&line, &folder, settings.ingest.max_record_bytes);
                    writer.waiting.push_back(line.number);
                    bench.admit(line.number, event).await;
                }
            },
        }
    }
    bar.finish_and_clear();
    bench.stop();
    Ok(writer.failed)
}

fn progress() -> ProgressBar {
    if std::io::stderr().is_terminal() && !std::io::stdout().is_terminal() {
        ProgressBar::new_spinner().with_message("posts labelled")
    } else {
        ProgressBar::hidden()
    }
}

/// Writes outcomes in the order of the input lines.
struct InOrder<'a> {
    output: &'a mut dyn Write,
    embeddings: KeepEmbeddings,
    with_embeddings: bool,
    /// Numbers of the lines that are not written yet, in order.
    waiting: VecDeque<i64>,
    ready: BTreeMap<i64, Value>,
    failed: u64,
}

impl<'a> InOrder<'a> {
    fn new(output: &'a mut dyn Write, embeddings: KeepEmbeddings, with_embeddings: bool) -> Self {
        let (waiting, ready) = (VecDeque::new(), BTreeMap::new());
        Self { output, embeddings, with_embeddings, waiting, ready, failed: 0 }
    }

    fn take(&mut self, report: PostReport) -> anyhow::Result<()> {
        let number = report.record.source.offset;
        let line = self.line(number, report)?;
        self.ready.insert(number, line);
        while let Some(line) = self.waiting.front().and_then(|next| self.ready.remove(next)) {
            // Of a file the failure is the output's as well, so that it says so.
            writeln!(self.output, "{line}").map_err(own)?;
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn line(&mut self, number: i64, report: PostReport) -> anyhow::Result<Value> {
        // Taken whether it is wanted or not, or they would pile up.
        let embedding = self.embeddings.take(number).filter(|_| self.with_embeddings);
        match (report.outcome, &report.sentiment) {
            (Outcome::Published, Some(sentiment)) => {
                let mut line = serde_json::to_value(&**sentiment)?;
                if let (Some(fields), Some(embedding)) = (line.as_object_mut(), embedding) {
                    fields.insert("embedding".to_owned(), serde_json::to_value(&*embedding)?);
                }
                Ok(line)
            }
            (Outcome::Erased, _) => Ok(json!({ "line": number, "post_id": report.post_id, "deleted": true })),
            (Outcome::Skipped(reason), _) => {
                Ok(json!({ "line": number, "post_id": report.post_id, "skipped": reason.as_str() }))
            }
            (outcome, _) => {
                self.failed += 1;
                Ok(json!({
                    "line": number,
                    "post_id": report.post_id,
                    "error": report.message,
                    "reason": match outcome.reason() { "" => outcome.as_str(), reason => reason },
                    "modalities": report.modalities,
                }))
            }
        }
    }
}
