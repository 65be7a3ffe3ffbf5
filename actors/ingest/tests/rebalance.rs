//! Partitions that change hands, on the in-process cluster.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::*;
use jtav_ingest::{Drain, IngestExit, IngestSettings};
use jtav_kafka::ConsumerSettings;

const DRAIN: Drain = Drain { timeout: Duration::from_secs(5) };

#[actix::test]
async fn two_members_share_the_partitions_and_lose_nothing() {
    let cluster = cluster(4);
    produce(&cluster, ids("a", 60)).await;
    let mut first = start(&cluster, 8);
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let post = first.next().await;
        seen.insert(position(&post));
        publish(post);
    }
    let mut second = start(&cluster, 8);
    let mut by_second = 0;
    let mut produced = false;
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < 120 {
        assert!(Instant::now() < deadline, "{} of 120 seen", seen.len());
        let (post, is_second) = tokio::select! {
            Some(post) = first.posts.recv() => (post, false),
            Some(post) = second.posts.recv() => (post, true),
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                if !produced && second.ingest.status.snapshot().partitions.len() == 2 {
                    produced = true;
                    produce(&cluster, ids("b", 60)).await;
                }
                continue;
            }
        };
        seen.insert(position(&post));
        by_second += usize::from(is_second);
        publish(post);
    }
    assert!(by_second > 0, "the second member took part");
    assert_eq!(first.ingest.status.snapshot().partitions.len(), 2, "cooperative-sticky, half each");
    let (one, two) = tokio::join!(first.ingest.addr.send(DRAIN), second.ingest.addr.send(DRAIN));
    assert_eq!((one.unwrap(), two.unwrap()), (IngestExit::Drained, IngestExit::Drained));
    first.assert_conserved().await;
    second.assert_conserved().await;
    // Commits of the last moment may be refused while the group changes; the next member then repeats them.
    let mut third = start(&cluster, 64);
    third.until("all partitions", |now| now.partitions.len() == 4).await;
    publish_until_committed(&mut third, &cluster, 120).await;
    assert_eq!(third.ingest.addr.send(DRAIN).await.unwrap(), IngestExit::Drained);
    assert_eq!(committed(&cluster).values().sum::<i64>(), 120);
}

/// What the drained partition's last commit does is proved on a real broker (`real_broker.rs`): the in-process cluster
/// refuses commits for as long as a member has not rejoined, where Apache Kafka takes them.
#[actix::test]
async fn a_revoked_partition_is_drained_before_it_is_given_up() {
    let cluster = cluster(2);
    produce(&cluster, ids("p", 12)).await;
    // Time enough to settle while the revocation waits, and no commit but the one at the revocation.
    let patient = IngestSettings { drain_timeout_ms: 2_900, commit_interval_ms: 60_000, ..settings() };
    let slow_session = ConsumerSettings { session_timeout_ms: 6_000, ..consumer_settings() };
    let mut first = start_with(cluster.client("ingest"), 64, patient.clone(), slow_session.clone());
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(first.next().await);
    }
    let mut second = start_with(cluster.client("ingest"), 64, patient, slow_session);
    first.until("a revocation", |now| now.partitions.iter().any(|p| p.revoking)).await;
    let revoking: Vec<i32> =
        first.ingest.status.snapshot().partitions.iter().filter(|p| p.revoking).map(|p| p.partition).collect();
    assert!(second.posts.try_recv().is_err(), "still owned by the first");
    held.into_iter().for_each(publish);
    second.until("the partition", |now| now.partitions.len() == 1).await;
    let moved = second.ingest.status.snapshot().partitions[0].clone();
    assert_eq!(vec![moved.partition], revoking);
    let stands = committed(&cluster).get(&moved.partition).copied();
    assert_eq!(moved.committed, stands, "the next owner starts from the commit");
    if stands.is_some_and(|position| position > 0) {
        assert!(second.next_within(Duration::from_millis(500)).await.is_none(), "everything was committed: {moved:?}");
    } else {
        assert_eq!(position(&second.next().await), (moved.partition, 0), "what was not committed comes again");
    }
}

#[actix::test]
async fn a_member_that_cannot_drain_in_time_gives_up_and_the_next_one_repeats() {
    let cluster = cluster(2);
    produce(&cluster, ids("p", 12)).await;
    let hasty = IngestSettings { drain_timeout_ms: 200, ..settings() };
    let mut first = start_with(cluster.client("ingest"), 64, hasty.clone(), consumer_settings());
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(first.next().await);
    }
    let mut second = start_with(cluster.client("ingest"), 64, hasty, consumer_settings());
    let repeated = second.next().await;
    let (number, offset) = position(&repeated);
    assert_eq!(offset, 0, "nothing of partition {number} was settled, so it starts at the beginning");
    // The late settlements of the first member move nothing: the partition is not its own any more.
    held.into_iter().for_each(publish);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(committed(&cluster).get(&number).is_none_or(|position| *position == 0));
    publish(repeated);
    let mut left: i64 = 12;
    while left > 0 {
        let Some(post) = second.next_within(Duration::from_millis(700)).await else { break };
        publish(post);
        left -= 1;
    }
    first.assert_conserved().await;
    second.assert_conserved().await;
    let (one, two) = tokio::join!(first.ingest.addr.send(DRAIN), second.ingest.addr.send(DRAIN));
    assert_eq!((one.unwrap(), two.unwrap()), (IngestExit::Drained, IngestExit::Drained));
}
