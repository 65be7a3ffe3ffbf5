//! `jtav label`: a JSONL of posts to a JSONL of labels, through the very router and boxes of the worker.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use indicatif::ProgressBar;
use jtav_delivery::{AssignmentEpoch, DeliveryGuard, DeliveryTag, Outcome, PostPermits};
use jtav_feed_processor::networks::name_device;
use jtav_feed_processor::topology::fetcher;
use jtav_feed_processor::{Boxes, BoxesParams, Networks, exit};
use jtav_pipeline::{
    Admitted, InboundRecord, Observer, PostEvent, PostReport, Publisher, Rejection, RouterIntake as _, now_ms,
};
use jtav_router::EncodingCache;
use jtav_schemas::{DeliveredFrom, Modality};
use jtav_settings::Settings;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::label_io::{FilesOrNetwork, KeepEmbeddings, parse_line};
use crate::cli::{LabelArgs, LogFormatArg};
use crate::failure::coded;
use crate::setup;

pub fn label(arguments: &LabelArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::with_model(&mut settings, arguments.model.as_deref());
    settings.media.allow.extend(&arguments.allow);
    setup::logs(log_format, Some(&settings), "error");
    name_device(&mut settings);
    let (input, folder) = open(&arguments.input)?;
    let mut output = sink(arguments.output.as_deref())?;
    let failed = setup::in_system(label_lines(Arc::new(settings), input, folder, &mut output, arguments.embeddings))?;
    output.flush()?;
    if failed == 0 {
        return Ok(exit::OK);
    }
    eprintln!("{failed} posts could not be labelled; their lines say why");
    Ok(exit::DATA)
}

type Input = Box<dyn Read>;

fn open(path: &Path) -> anyhow::Result<(Input, PathBuf)> {
    if path == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), std::env::current_dir()?));
    }
    let file = std::fs::File::open(path).with_context(|| format!("{}", path.display())).map_err(coded(exit::DATA))?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok((Box::new(file), folder))
}

fn sink(path: Option<&Path>) -> anyhow::Result<Box<dyn Write>> {
    Ok(match path {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("--output {}", path.display()))?;
            Box::new(std::io::BufWriter::new(file))
        }
        None => Box::new(std::io::stdout()),
    })
}

/// Hands each outcome to the writer.
struct Reports(mpsc::UnboundedSender<PostReport>);

impl Observer for Reports {
    fn settled(&self, report: PostReport) {
        // Bounded by the permits: a report is taken before the next line is let in far ahead of it.
        let _ = self.0.send(report);
    }
}

/// Labels every line; gives the number of posts that got no label.
async fn label_lines(
    settings: Arc<Settings>,
    input: Input,
    folder: PathBuf,
    output: &mut dyn Write,
    with_embeddings: bool,
) -> anyhow::Result<u64> {
    let decoders = setup::decoders(&settings);
    let networks = Networks::load(&settings, setup::exit_on_device_fault()).map_err(coded(exit::CONFIG))?;
    let decoders = decoders()?;
    let (sender, mut reports) = mpsc::unbounded_channel();
    let cache = EncodingCache::new(settings.cache.max_bytes, &networks.model_version);
    let embeddings = KeepEmbeddings::default();
    let observer = Arc::new(Reports(sender));
    let params = BoxesParams { settings: Arc::clone(&settings), networks, decoders, cache, observer };
    let publisher: Arc<dyn Publisher> = Arc::new(embeddings.clone());
    let files = FilesOrNetwork { network: fetcher(&settings)?, max_bytes };
    let boxes = Boxes::start(&params, publisher, Some(Arc::new(files)))?;
    drop(params);

    let permits = PostPermits::new(settings.ingest.max_in_flight_posts);
    let mut writer = InOrder {
        output,
        embeddings: with_embeddings.then_some(embeddings),
        next: 0,
        ready: BTreeMap::new(),
        failed: 0,
    };
    let bar = progress();
    let mut admitted = 0i64;
    for line in BufReader::new(input).lines() {
        let line = line.context("reading the input").map_err(coded(exit::DATA))?;
        if line.trim().is_empty() {
            continue;
        }
        boxes.lanes.admit(admit(admitted, &line, &folder, permits.acquire().await));
        admitted += 1;
        while let Ok(report) = reports.try_recv() {
            writer.take(report)?;
            bar.inc(1);
        }
    }
    while writer.written_or_ready() < admitted {
        let report = reports.recv().await.context("the router ended early")?;
        writer.take(report)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    boxes.stop();
    Ok(writer.failed)
}

fn max_bytes(modality: Modality) -> u64 {
    match modality {
        Modality::Audio => 30_000_000,
        _ => 20_000_000,
    }
}

fn progress() -> ProgressBar {
    if std::io::stderr().is_terminal() && !std::io::stdout().is_terminal() {
        ProgressBar::new_spinner().with_message("posts labelled")
    } else {
        ProgressBar::hidden()
    }
}

/// A line as a record: its number is the offset. There is no broker to hold an offset, so settlements go nowhere.
fn admit(number: i64, line: &str, folder: &Path, permit: jtav_delivery::PostPermit) -> Admitted {
    let event = match parse_line(line, folder) {
        Ok(post) if post.deleted => Ok(PostEvent::Tombstone { post_id: post.id, revision: post.revision }),
        Ok(post) => Ok(PostEvent::Upsert(Arc::new(post))),
        Err(bad) => Err(Rejection { reason: bad.reason, message: bad.message }),
    };
    let source = DeliveredFrom { topic: "jsonl".to_owned(), partition: 0, offset: number, timestamp_ms: None };
    let record = InboundRecord { source, key: None, value: None, headers: Vec::new() };
    let (nowhere, _) = std::sync::mpsc::channel();
    let tag = DeliveryTag { partition: 0, offset: number, epoch: AssignmentEpoch(0) };
    Admitted {
        record: Arc::new(record),
        event,
        guard: DeliveryGuard::new(tag, Arc::new(nowhere)),
        permit,
        received_at: Instant::now(),
        received_at_ms: now_ms(),
    }
}

/// Writes outcomes in the order of the input lines.
struct InOrder<'a> {
    output: &'a mut dyn Write,
    embeddings: Option<KeepEmbeddings>,
    next: i64,
    ready: BTreeMap<i64, Value>,
    failed: u64,
}

impl InOrder<'_> {
    fn take(&mut self, report: PostReport) -> anyhow::Result<()> {
        let number = report.record.source.offset;
        let line = self.line(number, report)?;
        self.ready.insert(number, line);
        while let Some(line) = self.ready.remove(&self.next) {
            writeln!(self.output, "{line}").context("writing the output")?;
            self.next += 1;
        }
        Ok(())
    }

    fn line(&mut self, number: i64, report: PostReport) -> anyhow::Result<Value> {
        if let (Outcome::Published, Some(sentiment)) = (report.outcome, &report.sentiment) {
            let mut line = serde_json::to_value(&**sentiment)?;
            let embedding = self.embeddings.as_ref().and_then(|kept| kept.take(number));
            if let (Some(fields), Some(embedding)) = (line.as_object_mut(), embedding) {
                fields.insert("embedding".to_owned(), serde_json::to_value(&*embedding)?);
            }
            return Ok(line);
        }
        if report.outcome == Outcome::Erased {
            return Ok(json!({ "line": number + 1, "post_id": report.post_id, "deleted": true }));
        }
        self.failed += 1;
        Ok(json!({
            "line": number + 1,
            "post_id": report.post_id,
            "error": report.message,
            "reason": match report.outcome.reason() { "" => report.outcome.as_str(), reason => reason },
            "modalities": report.modalities,
        }))
    }

    fn written_or_ready(&self) -> i64 {
        self.next + self.ready.len() as i64
    }
}
