//! What is full first when a feed grows and what was planned for it stays; pure.

use serde::Serialize;

use super::capacity::{
    Deployment, Feed, Needs, broker_cpu_ms_per_post, redis_gb_per_post_a_second, redis_thread_posts_per_second,
};
use super::costs::Costs;

/// Of one core.
const CPU_MS_PER_SECOND: f64 = 1e3;

const MORE_PARTITIONS: &str = "more partitions of the input topic, at a quiet hour: posts move, and edits of them must raise \
                               their revision (schemas/redis-keys.md); or larger workers";
const REDIS_SHARDS: &str = "shards by post id: the keys of a post share a hash tag, but a worker speaks to one primary, so a \
                            proxy for Redis Cluster has to stand between";
const REDIS_MEMORY: &str = "a shorter store.ttl_seconds, a larger Redis, or shards by post id behind a proxy; the policy must \
                            stay noeviction, with which intake waits while it is full";

/// What can be full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Those that were planned, at all of what they can do.
    Workers,
    /// One worker for each, at all of what it can do.
    Partitions,
    /// CPU of the brokers.
    Brokers,
    /// The one thread of one Redis.
    RedisThread,
    /// Memory of one Redis.
    RedisMemory,
}

impl Resource {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Partitions => "partitions",
            Self::Brokers => "brokers' CPU",
            Self::RedisThread => "Redis' thread",
            Self::RedisMemory => "Redis' memory",
        }
    }
}

/// A resource and the feed that fills it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    pub resource: Resource,
    pub full_at_posts_per_second: f64,
    /// Whether the limit itself was measured; else somebody said it.
    pub is_measured: bool,
    /// What to do then.
    pub advice: String,
}

/// All limits, the one that a growing feed meets first in front.
pub fn limits(costs: &Costs, feed: &Feed, deployment: &Deployment, needs: &Needs) -> Vec<Limit> {
    let saturated = needs.workers.saturated_posts_per_second_each;
    let brokers_cpu_ms = needs.kafka.brokers as f64 * f64::from(needs.kafka.cores_each) * CPU_MS_PER_SECOND;
    let limit = |resource: Resource, full_at_posts_per_second: f64| Limit {
        resource,
        full_at_posts_per_second,
        is_measured: resource != Resource::RedisMemory,
        advice: advice(resource, deployment, needs),
    };
    let mut limits = vec![
        limit(Resource::Workers, needs.workers.count as f64 * saturated),
        limit(Resource::Partitions, needs.partitions as f64 * saturated),
        limit(Resource::Brokers, brokers_cpu_ms / broker_cpu_ms_per_post(costs, feed, deployment)),
        limit(Resource::RedisThread, redis_thread_posts_per_second(costs, feed)),
        limit(Resource::RedisMemory, deployment.redis_memory_gb / redis_gb_per_post_a_second(costs, feed, deployment)),
    ];
    // Of equal ones the order above stays.
    limits.sort_by(|a, b| a.full_at_posts_per_second.total_cmp(&b.full_at_posts_per_second));
    limits
}

fn advice(resource: Resource, deployment: &Deployment, needs: &Needs) -> String {
    let workers_for = if deployment.gpu.is_some() {
        "each with a GPU"
    } else {
        "or, where media are most of the cost, --gpu; where texts are, model.path = \"models/jtav-light\""
    };
    match resource {
        Resource::Workers => {
            format!("more workers, up to one for each of the {} partitions, {workers_for}", needs.partitions)
        }
        Resource::Partitions => MORE_PARTITIONS.to_owned(),
        Resource::Brokers => "more brokers, and the topics' partitions spread over them".to_owned(),
        Resource::RedisThread => REDIS_SHARDS.to_owned(),
        Resource::RedisMemory => REDIS_MEMORY.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::capacity::needs;
    use super::super::costs::Shares;
    use super::*;

    fn found(posts_per_second: f64, label_ttl_days: f64) -> Vec<Limit> {
        let costs = Costs::measured();
        let shares = Shares { text: 1.0, audio: 0.05, image: 0.3 };
        let feed = Feed { posts_per_second, shares, known_media_share: 0.0 };
        let deployment = Deployment { label_ttl_days, ..Deployment::of_defaults() };
        let needs = needs(&costs, &feed, &deployment);
        limits(&costs, &feed, &deployment, &needs)
    }

    fn at(limits: &[Limit], resource: Resource) -> f64 {
        limits.iter().find(|limit| limit.resource == resource).unwrap().full_at_posts_per_second
    }

    #[test]
    fn the_limit_that_a_growing_feed_meets_first_stands_in_front() {
        for posts_per_second in [0.5, 100.0, 1e4, 1e6] {
            let limits = found(posts_per_second, 7.0);
            assert_eq!(limits.len(), 5);
            assert!(limits.is_sorted_by_key(|limit| limit.full_at_posts_per_second), "{limits:?}");
            assert!(limits.iter().all(|limit| limit.full_at_posts_per_second > 0.0 && !limit.advice.is_empty()));
        }
    }

    #[test]
    fn what_was_planned_holds_the_feed_with_room_and_one_redis_does_not_grow_with_it() {
        for posts_per_second in [100.0, 1e4, 1e6] {
            let limits = found(posts_per_second, 7.0);
            for resource in [Resource::Workers, Resource::Partitions, Resource::Brokers] {
                assert!(at(&limits, resource) >= posts_per_second / 0.7 * (1.0 - 1e-9), "{resource:?}: {limits:?}");
            }
            let of_one = found(1.0, 7.0);
            for resource in [Resource::RedisThread, Resource::RedisMemory] {
                assert_eq!(at(&limits, resource), at(&of_one, resource));
            }
        }
    }

    #[test]
    fn labels_that_are_kept_half_as_long_let_twice_the_feed_into_the_memory_of_redis() {
        let (week, half) =
            (at(&found(100.0, 7.0), Resource::RedisMemory), at(&found(100.0, 3.5), Resource::RedisMemory));
        assert!((half / week - 2.0).abs() < 1e-9, "{week} {half}");
    }
}
