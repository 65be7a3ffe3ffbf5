//! From a feed to what it needs. A post costs what each post costs and what its parts add, and twice the posts cost twice
//! as much; docs/capacity.md says how far that holds.

use serde::Serialize;

use super::costs::{Costs, Gpu, Shares};

/// Partitions that the manifests give the input topic; fewer are not planned.
const LEAST_PARTITIONS: u64 = 12;
/// Bytes of the unit of files and rates here.
const MB: f64 = 1e6;
/// Bytes of the unit of memory here.
pub const GB: f64 = 1e9;
const SECONDS_PER_DAY: f64 = 86_400.0;
/// Of one core.
const CPU_MS_PER_SECOND: f64 = 1e3;

/// A feed that somebody expects.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Feed {
    pub posts_per_second: f64,
    pub shares: Shares,
    /// Share of the media that a worker has encoded lately: they are neither fetched nor encoded.
    pub known_media_share: f64,
}

impl Feed {
    /// Of the media, those that have to be.
    fn fetched_share(&self) -> f64 {
        1.0 - self.known_media_share
    }
}

/// What it is to run on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deployment {
    /// Of a worker without a GPU.
    pub cores_per_worker: u32,
    /// Of each worker, if it has one.
    pub gpu: Option<Gpu>,
    /// What one worker takes at most.
    pub worker_memory_bytes: u64,
    /// Share of what workers, brokers and Redis can do that is planned with.
    pub utilisation: f64,
    pub label_ttl_days: f64,
    /// Copies of each record on the topics.
    pub replication: u32,
    /// What one Redis may hold.
    pub redis_memory_gb: f64,
}

#[cfg(test)]
impl Deployment {
    /// As the command's defaults are, with a round memory.
    pub fn of_defaults() -> Self {
        Self {
            cores_per_worker: 2,
            gpu: None,
            worker_memory_bytes: 2_000_000_000,
            utilisation: 0.7,
            label_ttl_days: 7.0,
            replication: 3,
            redis_memory_gb: 64.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workers {
    pub count: u64,
    pub cores_each: u32,
    pub cores: u64,
    pub gpus: u64,
    /// Of the average post, without a GPU.
    pub cpu_ms_per_post: f64,
    /// What one labels when it is saturated; the plan counts on `utilisation` of it.
    pub saturated_posts_per_second_each: f64,
    pub memory_bytes_each: u64,
    pub memory_bytes: u64,
}

/// Load of a topic, not compressed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Topic {
    pub name: &'static str,
    pub records_per_second: f64,
    pub in_mb_per_second: f64,
    /// From the broker that took a record to those that keep its other copies.
    pub replicas_mb_per_second: f64,
    /// To one reader: the workers, or one server.
    pub out_mb_per_second: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kafka {
    pub topics: Vec<Topic>,
    /// Of all brokers; a further copy is taken to cost what the first one costs.
    pub cpu_cores: f64,
    pub brokers: u64,
    pub cores_each: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Redis {
    /// Scripts that workers ask for.
    pub requests_per_second: f64,
    /// Those, and the commands inside them.
    pub commands_per_second: f64,
    /// Of the one thread that runs commands.
    pub cpu_cores: f64,
    /// Of the labels that it holds.
    pub memory_gb: f64,
    /// Servers that can do and hold that.
    pub servers: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Downloads {
    pub per_second: f64,
    pub mb_per_second: f64,
}

/// What a feed needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Needs {
    pub workers: Workers,
    /// Of the input topic.
    pub partitions: u64,
    pub kafka: Kafka,
    pub redis: Redis,
    pub downloads: Downloads,
}

/// CPU-ms of a worker for the average post.
pub fn worker_cpu_ms_per_post(costs: &Costs, shares: Shares, known_media_share: f64) -> f64 {
    let fetched = 1.0 - known_media_share;
    let encoded = Shares { text: shares.text, audio: shares.audio * fetched, image: shares.image * fetched };
    let known = costs.known_medium_cpu_ms * shares.media_per_post() * known_media_share;
    costs.worker_cpu_ms.per_post(encoded) + known
}

/// What a saturated worker labels on so many cores.
pub fn saturated_posts_per_second(costs: &Costs, cores: f64, cpu_ms_per_post: f64) -> f64 {
    cores * costs.efficiency * CPU_MS_PER_SECOND / cpu_ms_per_post
}

/// What a feed needs; whole workers, brokers and servers, and at least one of each.
pub fn needs(costs: &Costs, feed: &Feed, deployment: &Deployment) -> Needs {
    let workers = workers(costs, feed, deployment);
    Needs {
        // Two for each worker: the feed may double before a topic has to grow, which moves posts to other partitions.
        partitions: workers.count.saturating_mul(2).max(LEAST_PARTITIONS),
        kafka: kafka(costs, feed, deployment),
        redis: redis(costs, feed, deployment),
        downloads: downloads(costs, feed),
        workers,
    }
}

fn workers(costs: &Costs, feed: &Feed, deployment: &Deployment) -> Workers {
    let cpu_ms_per_post = worker_cpu_ms_per_post(costs, feed.shares, feed.known_media_share);
    let (cores_each, saturated) = match &deployment.gpu {
        None => {
            let cores = deployment.cores_per_worker;
            (cores, saturated_posts_per_second(costs, f64::from(cores), cpu_ms_per_post))
        }
        // Decoding on its cores is the limit. A feed with less of it than the one that was measured is not taken to be faster.
        Some(gpu) => {
            let measured = worker_cpu_ms_per_post(costs, gpu.shares, 0.0);
            (gpu.cores, gpu.posts_per_second * (measured / cpu_ms_per_post).min(1.0))
        }
    };
    let count = whole(feed.posts_per_second / (saturated * deployment.utilisation));
    Workers {
        count,
        cores_each,
        cores: count.saturating_mul(u64::from(cores_each)),
        gpus: if deployment.gpu.is_some() { count } else { 0 },
        cpu_ms_per_post,
        saturated_posts_per_second_each: saturated,
        memory_bytes_each: deployment.worker_memory_bytes,
        memory_bytes: count.saturating_mul(deployment.worker_memory_bytes),
    }
}

/// CPU-ms of all brokers together for the average post.
pub fn broker_cpu_ms_per_post(costs: &Costs, feed: &Feed, deployment: &Deployment) -> f64 {
    costs.broker_cpu_ms.per_post(feed.shares) * f64::from(deployment.replication)
}

fn kafka(costs: &Costs, feed: &Feed, deployment: &Deployment) -> Kafka {
    let further_copies = f64::from(deployment.replication.saturating_sub(1));
    let topic = |name, bytes: f64| {
        let mb_per_second = feed.posts_per_second * bytes / MB;
        Topic {
            name,
            records_per_second: feed.posts_per_second,
            in_mb_per_second: mb_per_second,
            replicas_mb_per_second: mb_per_second * further_copies,
            out_mb_per_second: mb_per_second,
        }
    };
    let cpu_cores = feed.posts_per_second * broker_cpu_ms_per_post(costs, feed, deployment) / CPU_MS_PER_SECOND;
    Kafka {
        topics: vec![
            topic("posts", costs.input_bytes.per_post(feed.shares)),
            topic("sentiment", costs.label_bytes.per_post(feed.shares)),
            topic("embeddings", costs.embedding_bytes.per_post(feed.shares)),
        ],
        cpu_cores,
        // A copy lies on a broker of its own.
        brokers: whole(cpu_cores / (f64::from(costs.cores) * deployment.utilisation))
            .max(u64::from(deployment.replication)),
        cores_each: costs.cores,
    }
}

/// What one Redis runs in its one thread.
pub fn redis_thread_posts_per_second(costs: &Costs, feed: &Feed) -> f64 {
    CPU_MS_PER_SECOND / costs.redis_cpu_ms.per_post(feed.shares)
}

/// Memory of Redis for the labels of one post a second.
pub fn redis_gb_per_post_a_second(costs: &Costs, feed: &Feed, deployment: &Deployment) -> f64 {
    costs.redis_bytes.per_post(feed.shares) * deployment.label_ttl_days * SECONDS_PER_DAY / GB
}

fn redis(costs: &Costs, feed: &Feed, deployment: &Deployment) -> Redis {
    let cpu_cores = feed.posts_per_second / redis_thread_posts_per_second(costs, feed);
    let memory_gb = feed.posts_per_second * redis_gb_per_post_a_second(costs, feed, deployment);
    Redis {
        requests_per_second: feed.posts_per_second * costs.redis_requests_per_post,
        commands_per_second: feed.posts_per_second * costs.redis_commands_per_post,
        cpu_cores,
        memory_gb,
        servers: whole(cpu_cores / deployment.utilisation).max(whole(memory_gb / deployment.redis_memory_gb)),
    }
}

fn downloads(costs: &Costs, feed: &Feed) -> Downloads {
    let Feed { posts_per_second, shares, .. } = *feed;
    let bytes_per_post = shares.audio * costs.media_bytes.audio + shares.image * costs.media_bytes.image;
    let fetched = posts_per_second * feed.fetched_share();
    Downloads { per_second: fetched * shares.media_per_post(), mb_per_second: fetched * bytes_per_post / MB }
}

/// The next whole number, and at least one.
fn whole(number: f64) -> u64 {
    number.ceil().max(1.0) as u64
}

#[cfg(test)]
#[path = "capacity_tests.rs"]
mod tests;
