//! How many labels a second the store takes, and what one costs this process.
//!
//! `cargo run --release -p jtav-store --example apply_rate -- redis+unix:///tmp/redis.sock [posts] [at once]`

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use jtav_schemas::{Label, PerModality, Probabilities};
use jtav_store::{LabelWrite, RedisOptions, RedisStore, Source, Store};
use rustix::time::{ClockId, clock_gettime};

/// The size that the bundled model writes: 100 components each, and a JSON of about 1 KB.
fn write(post: usize) -> LabelWrite {
    let vector = || Bytes::from(vec![0x3c; 200]);
    LabelWrite {
        post_id: format!("post-{post}"),
        revision: 0,
        source: Source { partition: 0, offset: post as i64 },
        model_version: "measure@1".to_owned(),
        event_id: "0123456789abcdef0123456789abcdef".to_owned(),
        label: Label::Positive,
        certain: true,
        probabilities: Probabilities { negative: 0.2, neutral: 0.2, positive: 0.6 },
        valence: 0.4,
        probability: 0.75,
        lang: Some("en".to_owned()),
        sentiment_json: Bytes::from(vec![b' '; 1_000]),
        u: vector(),
        modalities: PerModality { text: Some(vector()), audio: Some(vector()), image: Some(vector()) },
        semantic: None,
        labelled_at_ms: 0,
        ttl: Duration::from_secs(60),
    }
}

/// Processor time of this process in milliseconds.
fn cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = arguments.first().ok_or("the URL of a Redis that may be written to")?;
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>());
    let (posts, at_once) = (number(1, 100_000)?, number(2, 256)?);
    let store = RedisStore::new(RedisOptions::new(url))?;
    store.ping().await?;
    let (started, cpu) = (Instant::now(), cpu_ms());
    let mut writes = futures::stream::iter((0..posts).map(|post| store.apply(&write(post)))).buffer_unordered(at_once);
    while let Some(applied) = writes.next().await {
        applied?;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{posts} labels, {at_once} at once: {:.0} a second", posts as f64 / seconds);
    println!("{:.4} CPU-ms each in this process", (cpu_ms() - cpu) / posts as f64);
    Ok(())
}
