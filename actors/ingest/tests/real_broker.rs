//! What the in-process cluster cannot show, on Apache Kafka.

mod common;

use std::time::Duration;

use common::*;
use jtav_ingest::{Drain, IngestExit, IngestSettings};
use jtav_kafka::{ConsumerSettings, delete_records_before, group_positions};
use jtav_telemetry::Metric;
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

/// Records that expired unread so far.
fn expired(partition: i32) -> f64 {
    Metric::expired_records(partition).value()
}

#[actix::test]
async fn records_that_the_topic_dropped_before_they_were_read_are_counted_at_the_start_and_while_reading() {
    if !require_real("records_that_the_topic_dropped_before_they_were_read_are_counted") {
        return;
    }
    let kafka = RealKafka::start().unwrap();
    let client = kafka.client();
    kafka.create_topics(&[(TOPIC, 1)]).await.unwrap();
    produce_to(&client, ids("a", 10)).await;
    let session = ConsumerSettings { session_timeout_ms: 9_000, heartbeat_interval_ms: 500, ..consumer_settings() };
    let settings = || IngestSettings { drain_timeout_ms: 4_000, ..settings() };
    let drain = || Drain { timeout: Duration::from_secs(5) };
    let mut worker = start_with(client.clone(), 64, settings(), session.clone());
    for _ in 0..10 {
        publish(worker.next().await);
    }
    assert_eq!(worker.ingest.addr.send(drain()).await.unwrap(), IngestExit::Drained);
    assert_eq!(expired(0), 0.0);

    // Nobody reads 10 to 16.
    produce_to(&client, ids("b", 10)).await;
    delete_records_before(&client, TOPIC, 0, 17, PATIENCE).await.unwrap();
    // Few bytes are fetched ahead, so that the end of the log is not among them.
    let session = ConsumerSettings { queued_max_messages_kbytes: 1, ..session };
    let mut worker = start_with(client.clone(), 1, settings(), session);
    for offset in 17..20 {
        let post = worker.next().await;
        assert_eq!(position(&post), (0, offset));
        publish(post);
    }
    assert_eq!(expired(0), 7.0, "found when the partition was taken over");

    // It holds one post while the log goes on behind it and loses its middle.
    produce_to(&client, ids("held", 1)).await;
    let held = worker.next().await;
    produce_to(&client, (0..800).map(|number| format!("c{number}-{}", "x".repeat(2_000)))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    delete_records_before(&client, TOPIC, 0, 801, PATIENCE).await.unwrap();
    publish(held);
    let mut last = 20;
    let mut missing = 0;
    while last < 820 {
        let post = worker.next().await;
        missing += position(&post).1 - last - 1;
        last = position(&post).1;
        publish(post);
    }
    assert!(missing > 0, "all had been fetched ahead");
    assert_eq!(expired(0), 7.0 + missing as f64, "found by the gap");
    assert_eq!(worker.ingest.addr.send(drain()).await.unwrap(), IngestExit::Drained);
}
