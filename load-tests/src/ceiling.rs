//! What a run is held against, measured in the same run on the same machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jtav_feed_simulator::{FeedRecord, Pack};
use jtav_kafka::{OutboundRecord, Producer};
use jtav_media_codecs::DecodeLimits;
use jtav_model::{
    AudioInput, AudioNetwork, Checkpoint, CpuEngine, FusionInput, FusionNetwork, ImageNetwork, Placement, Rgb224,
    TextFrontEnd, TextInput, TextNetwork,
};
use jtav_schemas::{DatasetMedia, DatasetPostV1, Decoded, Modality};
use jtav_signal::CqtFrontEnd;
use serde::Serialize;

use crate::process::{cores, cpu_seconds};
use crate::reader::plain_consumer;
use crate::scenario::Posts;

/// A ceiling. CPU times are of this process, and so of the work named alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ceiling {
    /// What was done.
    pub what: String,
    /// Posts that were done.
    pub posts: usize,
    /// Threads that did it.
    pub threads: usize,
    /// Posts a second, wall clock, all threads together.
    pub rate_per_second: f64,
    pub cpu_ms_per_post: f64,
    /// CPU a post of what comes before the networks (decoding, constant-Q transform); not in the above.
    pub preparation_cpu_ms_per_post: Option<f64>,
}

/// Produces the records as fast as the broker takes them and reads them back with a plain consumer at the same time:
/// no worker in between.
pub async fn broker(
    producer: &Producer,
    brokers: &str,
    topic: &str,
    partitions: i32,
    records: &[FeedRecord],
) -> Result<Ceiling> {
    let wanted = records.len();
    let consumer = plain_consumer(brokers, &[topic], partitions)?;
    let (start, cpu_before) = (Instant::now(), cpu_seconds(std::process::id())?);
    let reading = tokio::task::spawn_blocking(move || {
        let deadline = start + Duration::from_secs(120);
        let mut read = 0;
        while read < wanted {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(_)) => read += 1,
                Some(Err(error)) => return Err(anyhow!(error).context("the ceiling's consumer failed")),
                None if Instant::now() > deadline => bail!("read {read} of {wanted} records in 120 s"),
                None => {}
            }
        }
        Ok(start.elapsed())
    });
    let mut waiting = FuturesUnordered::new();
    for record in records {
        waiting.push(producer.send(outbound(topic, record)));
        // More than the client's queue holds would only wait in it.
        if waiting.len() >= 10_000
            && let Some(done) = waiting.next().await
        {
            done?;
        }
    }
    while let Some(done) = waiting.next().await {
        done?;
    }
    let wall = reading.await??;
    let cpu = cpu_seconds(std::process::id())? - cpu_before;
    Ok(Ceiling {
        what: "plain produce and consume of the same records through the same broker".to_owned(),
        posts: wanted,
        threads: 1,
        rate_per_second: wanted as f64 / wall.as_secs_f64(),
        cpu_ms_per_post: cpu * 1e3 / wanted as f64,
        preparation_cpu_ms_per_post: None,
    })
}

/// The record as the producer wants it.
pub fn outbound(topic: &str, record: &FeedRecord) -> OutboundRecord {
    OutboundRecord {
        topic: topic.to_owned(),
        partition: None,
        key: Some(record.key.clone()),
        value: Some(record.value.clone()),
        headers: record.headers.clone(),
        timestamp_ms: record.timestamp_ms,
    }
}

/// Inputs of the networks, one place per post.
#[derive(Clone, Default)]
struct Prepared {
    text: Option<TextInput>,
    audio: Option<AudioInput>,
    image: Option<Rgb224>,
}

/// Forward passes of the pack's posts, nothing else: one thread per core, each with its own networks, as the worker's
/// image streams have, and the worker's batch sizes. Goes round the pack for at least `at_least`.
pub fn forward(pack: &Pack, posts: Posts, model: &std::path::Path, at_least: Duration) -> Result<Ceiling> {
    jtav_model::device::single_threaded();
    let checkpoint = Arc::new(Checkpoint::load(model).with_context(|| format!("no model at {}", model.display()))?);
    let cpu_before = cpu_seconds(std::process::id())?;
    let prepared = prepare(pack, posts, &checkpoint)?;
    let preparation_cpu = cpu_seconds(std::process::id())? - cpu_before;
    let threads = cores();
    let networks =
        (0..threads).map(|_| Networks::load(&checkpoint, posts != Posts::Texts)).collect::<Result<Vec<_>>>()?;

    let (start, cpu_before) = (Instant::now(), cpu_seconds(std::process::id())?);
    let done: usize = std::thread::scope(|scope| {
        let prepared = &prepared;
        let running: Vec<_> = networks
            .into_iter()
            .map(|networks| {
                scope.spawn(move || -> Result<usize> {
                    // The worker's own networks are single-threaded, too; the setting is per thread in libtorch.
                    jtav_model::device::single_threaded();
                    let mut posts = 0;
                    while posts == 0 || start.elapsed() < at_least {
                        networks.pass(prepared)?;
                        posts += prepared.len();
                    }
                    Ok(posts)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a thread of the forward ceiling panicked"))?)
            .sum::<Result<usize>>()
    })?;
    let wall = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds(std::process::id())? - cpu_before;
    Ok(Ceiling {
        what: "forward passes alone (encoders and fusion), the worker's batch sizes, on this machine's CPU".to_owned(),
        posts: done,
        threads,
        rate_per_second: done as f64 / wall,
        cpu_ms_per_post: cpu * 1e3 / done as f64,
        preparation_cpu_ms_per_post: (posts != Posts::Texts).then(|| preparation_cpu * 1e3 / prepared.len() as f64),
    })
}

struct Networks {
    text: TextNetwork,
    audio: Option<AudioNetwork>,
    image: Option<ImageNetwork>,
    fusion: FusionNetwork,
}

impl Networks {
    fn load(checkpoint: &Checkpoint, with_media: bool) -> Result<Self> {
        // What the worker would choose.
        let placement = Placement::on_cpu(CpuEngine::Auto);
        let networks = Self {
            text: TextNetwork::from_checkpoint(checkpoint, placement)?,
            audio: with_media.then(|| AudioNetwork::from_checkpoint(checkpoint, placement)).transpose()?,
            image: with_media.then(|| ImageNetwork::from_checkpoint(checkpoint, placement)).transpose()?,
            fusion: FusionNetwork::from_checkpoint(checkpoint, placement)?,
        };
        networks.text.warm_up()?;
        networks.fusion.warm_up()?;
        networks.audio.as_ref().map(AudioNetwork::warm_up).transpose()?;
        networks.image.as_ref().map(ImageNetwork::warm_up).transpose()?;
        Ok(networks)
    }

    fn pass(&self, posts: &[Prepared]) -> Result<()> {
        let mut inputs = vec![FusionInput::default(); posts.len()];
        let texts = encode(
            posts,
            |post| post.text.clone(),
            32,
            |batch| Ok(self.text.encode(batch)?.into_iter().map(|text| text.encoded).collect()),
        )?;
        texts.into_iter().for_each(|(index, vector)| inputs[index].text = Some(vector));
        if let Some(network) = &self.audio {
            let clips = encode(posts, |post| post.audio.clone(), 8, |batch| Ok(network.encode(batch)?))?;
            clips.into_iter().for_each(|(index, vector)| inputs[index].audio = Some(vector));
        }
        if let Some(network) = &self.image {
            let images = encode(posts, |post| post.image.clone(), 16, |batch| Ok(network.encode(batch)?))?;
            images.into_iter().for_each(|(index, vector)| inputs[index].image = Some(vector));
        }
        for batch in inputs.chunks(64) {
            self.fusion.fuse(batch)?;
        }
        Ok(())
    }
}

/// Vectors of the posts that have the modality, with their places.
fn encode<T>(
    posts: &[Prepared],
    of: impl Fn(&Prepared) -> Option<T>,
    batch: usize,
    network: impl Fn(&[T]) -> Result<Vec<jtav_model::Encoded>>,
) -> Result<Vec<(usize, Vec<f32>)>> {
    let (places, inputs): (Vec<usize>, Vec<T>) =
        posts.iter().enumerate().filter_map(|(index, post)| Some((index, of(post)?))).unzip();
    let mut vectors = Vec::with_capacity(inputs.len());
    for batch in inputs.chunks(batch) {
        vectors.extend(network(batch)?.into_iter().map(|encoded| encoded.vector));
    }
    Ok(places.into_iter().zip(vectors).collect())
}

fn prepare(pack: &Pack, posts: Posts, checkpoint: &Checkpoint) -> Result<Vec<Prepared>> {
    let (reader, front_end) = (TextFrontEnd::of_checkpoint(checkpoint)?, CqtFrontEnd::new());
    let mut prepared = Vec::new();
    for post in pack.posts() {
        let parts: Vec<(&str, &str)> = post.texts.iter().map(|part| (part.role.as_str(), part.text.as_str())).collect();
        let text = if posts.keep(Modality::Text) { reader.input(&parts)? } else { None };
        let mut inputs = Prepared { text, ..Prepared::default() };
        add_media(&mut inputs, pack, post, posts, &front_end)?;
        if inputs.text.is_some() || inputs.audio.is_some() || inputs.image.is_some() {
            prepared.push(inputs);
        }
    }
    if prepared.is_empty() {
        bail!("no post of the sample feed can be encoded");
    }
    Ok(prepared)
}

fn add_media(
    inputs: &mut Prepared,
    pack: &Pack,
    post: &DatasetPostV1,
    posts: Posts,
    front_end: &CqtFrontEnd,
) -> Result<()> {
    // The worker's default for the length of sound it hears.
    let limits = DecodeLimits { analysed_audio: Duration::from_secs(30), ..DecodeLimits::for_tests() };
    let decoded = |file: &Option<DatasetMedia>, modality: Modality| -> Result<Option<Decoded>> {
        let Some(file) = file.as_ref().filter(|_| posts.keep(modality)) else { return Ok(None) };
        let bytes =
            std::fs::read(pack.folder().join(&file.path)).with_context(|| format!("cannot read {}", file.path))?;
        // What the worker leaves out, the ceiling leaves out.
        Ok(jtav_media_codecs::decode(&bytes, modality, file.media_type.as_deref(), &limits).ok())
    };
    if let Some(Decoded::Audio(pcm)) = decoded(&post.audio, Modality::Audio)? {
        inputs.audio = Some(AudioInput::from_sound(&pcm.samples, &front_end.decibels(&pcm.samples)?.values)?);
    }
    if let Some(Decoded::Image(image)) = decoded(&post.image, Modality::Image)? {
        inputs.image = Some(Rgb224::new(Arc::clone(&image.pixels))?);
    }
    Ok(())
}
