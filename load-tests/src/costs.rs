//! What a post costs worker, broker and store, and each part of it: six workers, one after the other, each with a broker and a
//! store of its own, first idle, then saturated, then at a share of what it could do. `jtav plan` reckons with the result.

mod derive;
mod file;
mod records;
mod used;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jtav_feed_simulator::Pack;
use jtav_schemas::DatasetMedia;
use jtav_testkit::{Book, workspace_root};

use self::derive::{Sizes, bytes, check, efficiency, known_medium_ms, server_ms, worker_ms};
pub use self::file::CostsFile;
use self::file::{Gpu, MediaBytes, Shares, rounded};
use self::records::{OutputBytes, mean_bytes, shares_of};
use self::used::{Moment, Store, Used};
use crate::collector::Phase;
use crate::local;
use crate::pacing::Schedule;
use crate::process;
use crate::run::{self, Bench};
use crate::scenario::{Scenario, looped};

/// Where `jtav` takes its costs from when it is built.
pub const FILE: &str = "config/costs.json";

/// Posts a second of the run whose CPU time counts, as a share of what the worker can do: what `jtav plan` plans with.
const LOAD: f64 = 0.7;
/// Seconds in which nothing comes: what broker and store take then is not a post's.
const IDLE_SECONDS: f64 = 5.0;
/// The saturated worker's first part, by the one that counts: it lets more and more posts in (ADR 55).
const UNCOUNTED: f64 = 0.5;
/// Posts under way where they are texts: twice what a worker lets in.
const OPEN_TEXTS: usize = 1_024;
/// Posts under way where most have media: twice what a worker begins with.
const OPEN_MEDIA: usize = 128;
/// Of all posts, those whose media may be missing: a label without them is cheap.
const MISSING: f64 = 0.01;

/// What the command line decides.
#[derive(Debug)]
pub struct Options {
    /// Length of each of the phases that count.
    pub seconds: f64,
    /// The worker's program; none takes the one beside this program.
    pub worker: Option<PathBuf>,
}

/// One worker.
struct Kind {
    /// Of the scenario.
    name: &'static str,
    /// Whether it keeps its cache, which the scenario takes from it.
    has_cache: bool,
    open_posts: usize,
}

/// What was measured with one worker.
struct Measured {
    /// Of its posts.
    shares: Shares,
    idle: Used,
    full: Used,
    /// At a share of the capacity.
    even: Used,
    /// Means of the three records.
    input_bytes: f64,
    label_bytes: f64,
    embedding_bytes: f64,
    /// For each post.
    redis_bytes: f64,
    redis_requests: f64,
    redis_commands: f64,
}

/// Measures everything.
pub async fn run(options: &Options) -> Result<CostsFile> {
    // Before all else: what is missing is said at once.
    local::worker_program(options.worker.clone())?;
    let gpu = recorded_gpu(&workspace_root().join(FILE))?;
    let (date, commit, machine) = (process::utc_now(), process::commit(), process::machine());
    let texts = |name| Kind { name, has_cache: false, open_posts: OPEN_TEXTS };
    let media = |name| Kind { name, has_cache: false, open_posts: OPEN_MEDIA };
    let stub = measure(options, texts("stub"), None).await?;
    let text = measure(options, texts("text"), None).await?;
    let images = measure(options, media("images"), None).await?;
    let sounds = measure(options, media("sounds"), None).await?;
    let mixed = measure(options, media("mixed"), None).await?;
    // All media known: what broker and store take for them is seen at the rate of texts.
    let known = Kind { name: "mixed", has_cache: true, open_posts: OPEN_TEXTS };
    let known = measure(options, known, Some(text.even.posts_per_second())).await?;

    let sizes = |of: fn(&Measured) -> f64| {
        let (texts, sounds, images) = (of(&text), of(&sounds), of(&images));
        bytes(&Sizes { texts, sounds, images, mixed: of(&mixed), shares: mixed.shares })
    };
    let worker_cpu_ms = worker_ms(&stub.even, &text.even, &sounds.even, &images.even);
    // At the rate of the stub run batches are as full as at any that is worth planning for.
    let server = |ms: fn(&Used, &Used) -> f64| {
        let [post, text, known_media] = [&stub, &text, &known].map(|run| ms(&run.even, &run.idle));
        server_ms(post, text, known_media, known.shares)
    };
    let checks = vec![
        check("stub", &stub.full, machine.cores, Shares::default()),
        check("text", &text.full, machine.cores, text.shares),
        check("mixed", &mixed.full, machine.cores, mixed.shares),
    ];
    Ok(CostsFile {
        format: 1,
        date,
        commit,
        processor: machine.cpu,
        cores: machine.cores,
        worker_cpu_ms,
        known_medium_cpu_ms: known_medium_ms(&known.even, known.shares, &worker_cpu_ms),
        broker_cpu_ms: server(Used::broker_ms),
        redis_cpu_ms: server(Used::redis_ms),
        input_bytes: sizes(|measured| measured.input_bytes),
        label_bytes: sizes(|measured| measured.label_bytes),
        embedding_bytes: sizes(|measured| measured.embedding_bytes),
        redis_bytes: sizes(|measured| measured.redis_bytes),
        media_bytes: media_bytes()?,
        redis_requests_per_post: rounded(text.redis_requests),
        redis_commands_per_post: rounded(text.redis_commands),
        efficiency: efficiency(&checks)?,
        checks,
        gpu,
    })
}

/// One worker: idle, saturated, at a share of its capacity, or at `most` posts a second where that is less.
async fn measure(options: &Options, kind: Kind, most: Option<f64>) -> Result<Measured> {
    let mut scenario = Scenario::load(&workspace_root().join("load-tests/scenarios"), kind.name)?;
    if kind.has_cache {
        scenario.worker.remove("cache");
    }
    let cached = if kind.has_cache { ", media known" } else { "" };
    eprintln!("{}{cached}: {}", kind.name, scenario.description);
    let mut bench = Bench::start(&run::Options {
        name: kind.name.to_owned(),
        scenario: scenario.clone(),
        brokers: None,
        redis_url: None,
        worker: options.worker.clone(),
        with_ceiling: false,
        profile: None,
    })
    .await?;
    let output = OutputBytes::start(bench.brokers(), bench.topics())?;
    bench.warm_up(&scenario).await?;
    let store_before = store(&bench)?;
    let idle = idle(&bench).await?;
    let (full, kept) = saturated(&mut bench, kind.open_posts, options.seconds).await?;
    let rate = (LOAD * full.posts_per_second()).min(most.unwrap_or(f64::INFINITY));
    eprintln!(
        "{:.1} posts a second at most; {rate:.1} a second for {} s ...",
        full.posts_per_second(),
        options.seconds
    );
    let schedule = Schedule::new(rate)?;
    let records = looped(bench.round(), schedule.records_in(options.seconds), "~even");
    let before = Moment::now(&bench)?;
    let (_, _, phase) = bench.phase(schedule, &records).await?;
    let even = before.until(Moment::now(&bench)?, whole(&phase)?);
    // Buffers of connections are given back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let store_after = store(&bench)?;
    let stored = kept as f64 + even.posts;
    let [label_bytes, embedding_bytes] = output.means()?;
    Ok(Measured {
        shares: shares_of(bench.round())?,
        idle,
        full,
        input_bytes: mean_bytes(&records),
        label_bytes,
        embedding_bytes,
        redis_bytes: (store_after.used_bytes - store_before.used_bytes) / stored,
        redis_requests: (store_after.requests - store_before.requests) / stored,
        redis_commands: (store_after.commands - store_before.commands) / stored,
        even,
    })
}

async fn idle(bench: &Bench) -> Result<Used> {
    let before = Moment::now(bench)?;
    tokio::time::sleep(Duration::from_secs_f64(IDLE_SECONDS)).await;
    Ok(before.until(Moment::now(bench)?, 0))
}

/// Keeps posts under way; what counts is what the worker did after the first part. Gives all its posts, too.
async fn saturated(bench: &mut Bench, open_posts: usize, seconds: f64) -> Result<(Used, usize)> {
    eprintln!("{open_posts} posts under way for {:.0} s ...", seconds * (1.0 + UNCOUNTED));
    bench.collector().begin(Book::new()?, Instant::now());
    let made = Cell::new(0);
    bench.keep_under_way(open_posts, seconds * UNCOUNTED, &made).await?;
    let (before, settled_before) = (Moment::now(bench)?, bench.collector().settlements());
    bench.keep_under_way(open_posts, seconds, &made).await?;
    let (after, settled) = (Moment::now(bench)?, bench.collector().settlements());
    let phase = bench.rest().await?;
    let all = whole(&phase)?;
    ensure!(settled > settled_before, "nothing was labelled while {open_posts} posts were under way");
    Ok((before.until(after, usize::try_from(settled - settled_before)?), all))
}

/// The labels of a phase, in which none may be missing and next to none without a medium that its post has.
fn whole(phase: &Phase) -> Result<usize> {
    let counts = phase.book.counts();
    let others = counts.lost + counts.dead_lettered + counts.refused_by_broker;
    ensure!(others == 0, "{others} posts have no label, so that nothing was measured: {counts:?}");
    let missing: u64 = phase.modalities.iter().filter(|(status, _)| !is_whole(status)).map(|(_, count)| count).sum();
    ensure!(
        missing as f64 <= MISSING * counts.labelled as f64,
        "{missing} parts of {} posts were not used, and such labels are cheap: {:?}",
        counts.labelled,
        phase.modalities
    );
    Ok(counts.labelled)
}

/// Whether a label says so of a part that its post has not, or that was used.
fn is_whole(status: &str) -> bool {
    status.ends_with("=present") || status.ends_with("=absent")
}

fn store(bench: &Bench) -> Result<Store> {
    Store::now(bench.redis().context("Invariant: the store is of this run")?)
}

/// What was measured on a GPU, from the file as it is.
fn recorded_gpu(path: &Path) -> Result<Option<Gpu>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    serde_json::from_value(file["gpu"].clone()).with_context(|| format!("{}: `gpu`", path.display()))
}

/// Means of the files of the sample feed.
fn media_bytes() -> Result<MediaBytes> {
    let pack = Pack::open(workspace_root().join(jtav_feed_simulator::SAMPLE_FEED))?;
    let mean = |media: Vec<&DatasetMedia>| -> Result<f64> {
        ensure!(!media.is_empty(), "the sample feed has no such media");
        let mut bytes = 0;
        for file in &media {
            let path = pack.folder().join(&file.path);
            bytes += std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        }
        Ok(rounded(bytes as f64 / media.len() as f64))
    };
    Ok(MediaBytes {
        audio: mean(pack.posts().iter().filter_map(|post| post.audio.as_ref()).collect())?,
        image: mean(pack.posts().iter().filter_map(|post| post.image.as_ref()).collect())?,
    })
}

impl CostsFile {
    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_the_gpu_is_handed_on_and_a_file_without_one_has_none() {
        let gpu = recorded_gpu(&workspace_root().join(FILE)).unwrap().unwrap();
        assert!(gpu.posts_per_second > 0.0 && workspace_root().join(&gpu.source).is_file(), "{gpu:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("costs.json");
        std::fs::write(&path, r#"{"gpu": null}"#).unwrap();
        assert_eq!(recorded_gpu(&path).unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        assert!(recorded_gpu(&path).is_err());
    }

    #[test]
    fn media_of_the_sample_feed_have_some_ten_thousand_bytes() {
        let MediaBytes { audio, image } = media_bytes().unwrap();
        assert!((1e4..1e6).contains(&audio) && (1e4..1e6).contains(&image), "{audio} {image}");
    }
}
