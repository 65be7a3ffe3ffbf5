use proptest::prelude::*;

use super::super::costs::Parts;
use super::*;

fn feed() -> Feed {
    Feed { posts_per_second: 1_000.0, shares: Shares { text: 1.0, audio: 0.1, image: 0.3 }, known_media_share: 0.0 }
}

/// Round numbers, so that the sums can be done by heart.
fn costs() -> Costs {
    let mut costs = Costs::measured();
    let parts = |post, text, audio, image| Parts { post, text, audio, image };
    costs.worker_cpu_ms = parts(0.5, 1.5, 10.0, 20.0);
    costs.known_medium_cpu_ms = 0.5;
    costs.broker_cpu_ms = parts(0.1, 0.0, 0.1, 0.2);
    costs.redis_cpu_ms = parts(0.05, 0.0, 0.0, 0.0);
    costs.input_bytes = parts(500.0, 500.0, 0.0, 0.0);
    costs.redis_bytes = parts(2_000.0, 0.0, 0.0, 0.0);
    (costs.media_bytes.audio, costs.media_bytes.image) = (50_000.0, 100_000.0);
    (costs.efficiency, costs.cores) = (0.8, 2);
    costs
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs()
}

#[test]
fn the_sums_are_those_of_a_pocket_calculator() {
    let (costs, feed, deployment) = (costs(), feed(), Deployment::of_defaults());
    let needs = needs(&costs, &feed, &deployment);
    // 0.5 + 1.5 + 0.1 x 10 + 0.3 x 20.
    assert!(near(needs.workers.cpu_ms_per_post, 9.0), "{needs:?}");
    // 2 cores x 0.8 / 9 ms = 177.8 posts a second, of which 0.7 are planned with: 1000 / 124.4 = 8.04.
    assert_eq!((needs.workers.count, needs.workers.cores, needs.partitions), (9, 18, 18));
    assert_eq!(needs.workers.memory_bytes, 18_000_000_000);
    // (0.1 + 0.01 + 0.06) ms x 3 copies.
    assert!(near(needs.kafka.cpu_cores, 0.51), "{needs:?}");
    assert_eq!(needs.kafka.brokers, 3);
    let posts = &needs.kafka.topics[0];
    assert!(near(posts.in_mb_per_second, 1.0) && near(posts.replicas_mb_per_second, 2.0), "{posts:?}");
    assert!(near(needs.redis.cpu_cores, 0.05), "{needs:?}");
    // 1000 x 604,800 s x 2 kB.
    assert!(near(needs.redis.memory_gb, 1_209.6), "{needs:?}");
    assert_eq!(needs.redis.servers, 19);
    assert!(near(needs.downloads.per_second, 400.0) && near(needs.downloads.mb_per_second, 35.0), "{needs:?}");
}

#[test]
fn media_that_are_known_are_not_fetched_and_cost_what_a_known_medium_costs() {
    let feed = Feed { known_media_share: 1.0, ..feed() };
    let needs = needs(&costs(), &feed, &Deployment::of_defaults());
    // 0.5 + 1.5 + 0.4 x 0.5.
    assert!(near(needs.workers.cpu_ms_per_post, 2.2), "{needs:?}");
    assert_eq!((needs.downloads.per_second, needs.downloads.mb_per_second), (0.0, 0.0));
}

#[test]
fn a_gpu_labels_what_was_measured_less_of_a_dearer_feed_and_not_more_of_a_cheaper_one() {
    let costs = costs();
    let mut gpu = costs.gpu.clone().unwrap();
    gpu.shares = Shares { text: 1.0, audio: 0.1, image: 0.3 };
    let deployment = Deployment { gpu: Some(gpu.clone()), ..Deployment::of_defaults() };
    let of = |image| {
        let shares = Shares { image, ..feed().shares };
        needs(&costs, &Feed { shares, ..feed() }, &deployment).workers
    };
    assert!(near(of(0.3).saturated_posts_per_second_each, gpu.posts_per_second));
    assert!(near(of(0.0).saturated_posts_per_second_each, gpu.posts_per_second));
    // 18 CPU-ms instead of 9.
    assert!(near(of(0.75).saturated_posts_per_second_each, gpu.posts_per_second / 2.0));
    assert_eq!((of(0.3).gpus, of(0.3).cores), (of(0.3).count, of(0.3).count * 16));
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64]
}

fn any_feed() -> impl Strategy<Value = Feed> {
    (1e-3..1e7f64, share(), share(), share(), share()).prop_map(|(posts_per_second, text, audio, image, known)| Feed {
        posts_per_second,
        shares: Shares { text, audio, image },
        known_media_share: known,
    })
}

fn any_deployment() -> impl Strategy<Value = Deployment> {
    let sizes = (1u32..64, any::<bool>(), 0.05..=1.0f64, 0.01..100.0f64, 1u32..6, 1.0..1e3f64);
    sizes.prop_map(|(cores_per_worker, has_gpu, utilisation, label_ttl_days, replication, redis_memory_gb)| {
        let gpu = costs().gpu.filter(|_| has_gpu);
        let rest = Deployment::of_defaults();
        Deployment { cores_per_worker, gpu, utilisation, label_ttl_days, replication, redis_memory_gb, ..rest }
    })
}

proptest! {
    #[test]
    fn workers_brokers_and_servers_are_whole_and_never_none(feed in any_feed(), deployment in any_deployment()) {
        let needs = needs(&costs(), &feed, &deployment);
        prop_assert!(needs.workers.count >= 1 && needs.redis.servers >= 1);
        prop_assert!(needs.kafka.brokers >= u64::from(deployment.replication));
        prop_assert!(needs.partitions >= needs.workers.count);
        prop_assert_eq!(needs.workers.cores, needs.workers.count * u64::from(needs.workers.cores_each));
    }

    #[test]
    fn the_workers_that_are_planned_can_label_the_feed_and_one_less_could_not(
        feed in any_feed(), deployment in any_deployment(),
    ) {
        let workers = needs(&costs(), &feed, &deployment).workers;
        let each = workers.saturated_posts_per_second_each * deployment.utilisation;
        prop_assert!(workers.count as f64 * each >= feed.posts_per_second * (1.0 - 1e-9));
        prop_assert!(workers.count == 1 || (workers.count - 1) as f64 * each <= feed.posts_per_second * (1.0 + 1e-9));
    }

    #[test]
    fn more_posts_never_need_fewer_cores_nor_less_of_anything(
        feed in any_feed(), deployment in any_deployment(), factor in 1.0..100.0f64,
    ) {
        let more = Feed { posts_per_second: feed.posts_per_second * factor, ..feed };
        let (less, more) = (needs(&costs(), &feed, &deployment), needs(&costs(), &more, &deployment));
        prop_assert!(more.workers.cores >= less.workers.cores && more.workers.memory_bytes >= less.workers.memory_bytes);
        prop_assert!(more.partitions >= less.partitions && more.kafka.brokers >= less.kafka.brokers);
        prop_assert!(more.kafka.cpu_cores >= less.kafka.cpu_cores && more.redis.cpu_cores >= less.redis.cpu_cores);
        prop_assert!(more.redis.memory_gb >= less.redis.memory_gb && more.redis.servers >= less.redis.servers);
        prop_assert!(more.downloads.mb_per_second >= less.downloads.mb_per_second);
    }

    #[test]
    fn a_part_that_no_post_has_costs_nothing_whatever_it_is_dear(
        feed in any_feed(), deployment in any_deployment(), dear in 0.0..1e6f64,
    ) {
        let deployment = Deployment { gpu: None, ..deployment };
        let (cheap, mut changed) = (costs(), costs());
        let feed = Feed { shares: Shares { image: 0.0, ..feed.shares }, ..feed };
        for parts in [
            &mut changed.worker_cpu_ms,
            &mut changed.broker_cpu_ms,
            &mut changed.redis_cpu_ms,
            &mut changed.input_bytes,
            &mut changed.label_bytes,
            &mut changed.embedding_bytes,
            &mut changed.redis_bytes,
        ] {
            parts.image = dear;
        }
        changed.media_bytes.image = dear;
        prop_assert_eq!(needs(&changed, &feed, &deployment), needs(&cheap, &feed, &deployment));
    }

    #[test]
    fn a_part_more_never_makes_a_feed_cheaper(feed in any_feed(), deployment in any_deployment(), more in share()) {
        let shares = Shares { image: feed.shares.image.max(more), ..feed.shares };
        let (less, more) = (needs(&costs(), &feed, &deployment), needs(&costs(), &Feed { shares, ..feed }, &deployment));
        prop_assert!(more.workers.cores >= less.workers.cores && more.redis.memory_gb >= less.redis.memory_gb);
    }
}
