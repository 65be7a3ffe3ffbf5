//! What the in-process cluster cannot show, on Apache Kafka.

mod common;

use std::time::Duration;

use common::*;
use jtav_ingest::{Drain, IngestExit, IngestSettings};
use jtav_kafka::{ConsumerSettings, group_positions};
use jtav_testkit::{RealKafka, require_real};

#[actix::test]
async fn a_partition_that_changes_hands_is_committed_to_the_last_post_and_nothing_is_repeated() {
    if !require_real("a_partition_that_changes_hands_is_committed_to_the_last_post_and_nothing_is_repeated") {
        return;
    }
    let kafka = RealKafka::start().unwrap();
    let client = kafka.client();
    kafka.create_topics(&[(TOPIC, 2)]).await.unwrap();
    produce_to(&client, ids("p", 12)).await;
    // Longer than this test, so that the one commit there can be is the one at the revocation.
    let patient = IngestSettings { drain_timeout_ms: 4_000, commit_interval_ms: 3_600_000, ..settings() };
    // 6 s is the least that a broker takes.
    let session = ConsumerSettings { session_timeout_ms: 9_000, heartbeat_interval_ms: 500, ..consumer_settings() };
    let mut first = start_with(client.clone(), 64, patient.clone(), session.clone());
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(first.next().await);
    }
    let mut second = start_with(client.clone(), 64, patient, session);
    first.until("a revocation", |now| now.partitions.iter().any(|p| p.revoking)).await;
    assert!(second.posts.try_recv().is_err(), "still owned by the first");
    let mut settled = [0, 0];
    for post in held {
        settled[usize::try_from(position(&post).0).unwrap()] += 1;
        publish(post);
    }
    second.until("the partition", |now| now.partitions.len() == 1).await;
    let moved = second.ingest.status.snapshot().partitions[0].clone();
    let number = usize::try_from(moved.partition).unwrap();
    assert!(settled.iter().all(|count| *count > 0), "both partitions hold posts: {settled:?}");
    assert_eq!(moved.committed, Some(settled[number]), "all of it was committed");
    assert!(second.next_within(Duration::from_secs(1)).await.is_none(), "nothing is repeated: {moved:?}");
    let drain = || Drain { timeout: Duration::from_secs(5) };
    let (one, two) = tokio::join!(first.ingest.addr.send(drain()), second.ingest.addr.send(drain()));
    assert_eq!((one.unwrap(), two.unwrap()), (IngestExit::Drained, IngestExit::Drained));
    let positions = group_positions(&client, GROUP, TOPIC, PATIENCE).unwrap();
    assert_eq!(positions.values().sum::<i64>(), 12);
}
