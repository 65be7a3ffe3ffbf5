//! What ingest promises about offsets, on the in-process cluster.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use futures::future::join_all;
use jtav_delivery::{Outcome, PostPermits};
use jtav_ingest::{Describe, Drain, IngestExit, IngestHandle, IngestParams, IngestSettings, Pause, Resume, StageWatch};
use jtav_kafka::{
    ConsumerSettings, InProcessCluster, InjectedError, OutboundRecord, Producer, ProducerSettings, Request,
};
use jtav_pipeline::{Admitted, PostEvent, RouterIntake};
use jtav_schemas::DeadLetterReason;
use jtav_telemetry::PauseCause;

const DRAIN: Drain = Drain { timeout: Duration::from_secs(5) };

#[actix::test]
async fn a_post_whose_guard_is_dropped_comes_again_and_nothing_is_lost() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 20)).await;
    let mut worker = start(&cluster, 64);
    let mut published = BTreeSet::new();
    let mut dropped = false;
    while published != all_of(20) {
        let post = worker.next().await;
        let (_, offset) = position(&post);
        if offset == 5 && !dropped {
            dropped = true;
            drop(post);
            continue;
        }
        published.insert(offset);
        publish(post);
    }
    assert!(dropped);
    publish_until_committed(&mut worker, &cluster, 20).await;
    assert_eq!(worker.ingest.addr.send(DRAIN).await.unwrap(), IngestExit::Drained);
    assert_eq!(committed(&cluster)[&0], 20);
    worker.assert_conserved().await;
    assert!(worker.conservation.received_count() >= 21, "the dropped one was received twice");
}

#[actix::test]
async fn the_commit_never_passes_an_unsettled_post() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 10)).await;
    let mut worker = start(&cluster, 64);
    let mut held = None;
    for _ in 0..10 {
        let post = worker.next().await;
        if position(&post).1 == 3 { held = Some(post) } else { publish(post) }
    }
    until_committed(&cluster, 0, 3).await;
    let until = Instant::now() + Duration::from_millis(600);
    while Instant::now() < until {
        assert_eq!(committed(&cluster)[&0], 3);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    publish(held.unwrap());
    until_committed(&cluster, 0, 10).await;
}

#[actix::test]
async fn a_late_settlement_of_an_earlier_period_moves_nothing() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 4)).await;
    let mut worker = start(&cluster, 64);
    let mut first = BTreeMap::new();
    while first.len() < 4 {
        let post = worker.next().await;
        first.insert(position(&post).1, post);
    }
    drop(first.remove(&0));
    let mut second = BTreeMap::new();
    while second.len() < 4 {
        let post = worker.next().await;
        assert!(post.guard.tag().epoch > first[&1].guard.tag().epoch);
        second.insert(position(&post).1, post);
    }
    // Everything of the first period settles now; the second one has settled its first record alone.
    first.into_values().for_each(publish);
    publish(second.remove(&0).unwrap());
    until_committed(&cluster, 0, 1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(committed(&cluster)[&0], 1);
    second.into_values().for_each(publish);
    until_committed(&cluster, 0, 4).await;
    worker.assert_conserved().await;
}

#[actix::test]
async fn paused_partitions_are_polled_so_the_group_keeps_its_member() {
    let cluster = cluster(2);
    produce(&cluster, ids("p", 40)).await;
    // Not polling for two seconds would get the member expelled.
    let consumer = ConsumerSettings { max_poll_interval_ms: 2_000, ..consumer_settings() };
    let mut worker = start_with(cluster.client("ingest"), 2, settings(), consumer);
    let held = [worker.next().await, worker.next().await];
    worker.until("both partitions paused", |now| now.starved && now.partitions.iter().all(|p| p.paused)).await;
    let until = Instant::now() + Duration::from_millis(4_500);
    while Instant::now() < until {
        assert!(worker.ingest.progress_age() < Duration::from_secs(1));
        assert_eq!(worker.permits.in_flight(), 2);
        assert!(worker.posts.try_recv().is_err(), "no permit, no post");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let epochs: BTreeMap<i32, u64> =
        worker.ingest.status.snapshot().partitions.iter().map(|p| (p.partition, p.epoch)).collect();
    let mut seen: Vec<(i32, i64)> = held.iter().map(position).collect();
    held.into_iter().for_each(publish);
    while seen.len() < 40 {
        let post = worker.next().await;
        assert_eq!(post.guard.tag().epoch.0, epochs[&position(&post).0], "still the same membership");
        seen.push(position(&post));
        publish(post);
    }
    let unique: BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), 40, "pausing and resuming repeats nothing");
    assert_eq!(worker.ingest.addr.send(DRAIN).await.unwrap(), IngestExit::Drained);
    assert_eq!(committed(&cluster).values().sum::<i64>(), 40);
}

#[actix::test]
async fn a_partition_with_too_many_unsettled_posts_is_paused_alone() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 30)).await;
    let bounded = IngestSettings { max_in_flight_per_partition: 4, ..settings() };
    let mut worker = start_with(cluster.client("ingest"), 64, bounded, consumer_settings());
    let mut held: Vec<_> = Vec::new();
    for _ in 0..4 {
        held.push(worker.next().await);
    }
    assert!(worker.next_within(Duration::from_millis(500)).await.is_none(), "the ledger is full");
    held.into_iter().for_each(publish);
    for _ in 4..30 {
        publish(worker.next().await);
    }
    until_committed(&cluster, 0, 30).await;
}

#[actix::test]
async fn one_permit_is_enough_to_get_through_everything() {
    let cluster = cluster(3);
    produce(&cluster, ids("p", 60)).await;
    let mut worker = start(&cluster, 1);
    let mut seen = BTreeSet::new();
    while seen.len() < 60 {
        let post = worker.next().await;
        assert_eq!(worker.permits.in_flight(), 1);
        assert!(seen.insert(position(&post)), "nothing twice");
        publish(post);
    }
    assert_eq!(worker.ingest.addr.send(DRAIN).await.unwrap(), IngestExit::Drained);
    assert_eq!(committed(&cluster).values().sum::<i64>(), 60);
}

#[actix::test]
async fn a_drain_waits_for_posts_in_flight_and_commits_everything() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 5)).await;
    // The interval alone would not commit within this test.
    let slow = IngestSettings { commit_interval_ms: 60_000, ..settings() };
    let mut worker = start_with(cluster.client("ingest"), 64, slow, consumer_settings());
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(worker.next().await);
    }
    let drain = worker.ingest.addr.send(DRAIN);
    let settle = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(worker.ingest.exit(), None, "it waits");
        held.into_iter().for_each(publish);
    };
    let (exit, ()) = tokio::join!(drain, settle);
    assert_eq!(exit.unwrap(), IngestExit::Drained);
    assert_eq!(committed(&cluster)[&0], 5);
    assert_eq!(worker.ingest.exited().await, IngestExit::Drained);
}

#[actix::test]
async fn a_drain_that_times_out_says_how_many_are_left_and_commits_what_is_settled() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 5)).await;
    let mut worker = start(&cluster, 64);
    let mut held = Vec::new();
    for _ in 0..5 {
        let post = worker.next().await;
        if position(&post).1 < 2 { publish(post) } else { held.push(post) }
    }
    let exit = worker.ingest.addr.send(Drain { timeout: Duration::from_millis(300) }).await.unwrap();
    assert_eq!(exit, IngestExit::DrainTimedOut { left: 3 });
    assert_eq!(committed(&cluster)[&0], 2);
    // The law of conservation holds for what settles after the end, too.
    held.into_iter().for_each(publish);
    worker.assert_conserved().await;
}

#[actix::test]
async fn dropping_the_last_address_leaves_the_group() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 1)).await;
    let mut worker = start(&cluster, 64);
    publish(worker.next().await);
    until_committed(&cluster, 0, 1).await;
    let handle = worker.ingest.clone();
    let status = Arc::clone(&handle.status);
    let exited = async move { handle.exited().await };
    drop(worker.ingest);
    // `exited` keeps an address; what ends the thread is the actor's stop.
    let waiting = actix::spawn(exited);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(status.progress_age() < Duration::from_secs(1), "an address is left");
    waiting.abort();
    let deadline = Instant::now() + PATIENCE;
    while status.progress_age() < Duration::from_millis(500) {
        assert!(Instant::now() < deadline, "the thread goes on without an address");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[actix::test]
async fn a_pause_lets_nothing_in_until_every_cause_is_lifted() {
    let cluster = cluster(1);
    let mut worker = start(&cluster, 64);
    worker.until("a partition", |now| now.partitions.len() == 1).await;
    worker.ingest.addr.send(Pause { cause: PauseCause::Breaker }).await.unwrap();
    worker.ingest.addr.send(Pause { cause: PauseCause::Operator }).await.unwrap();
    produce(&cluster, ids("p", 3)).await;
    assert!(worker.next_within(Duration::from_millis(500)).await.is_none());
    worker.until("lag shows what waits", |now| now.partitions[0].lag_records == 3).await;
    worker.until("event lag grows", |now| now.partitions[0].event_lag_seconds > 0.05).await;
    worker.ingest.addr.send(Resume { cause: PauseCause::Breaker }).await.unwrap();
    assert!(worker.next_within(Duration::from_millis(300)).await.is_none(), "one cause is left");
    worker.ingest.addr.send(Resume { cause: PauseCause::Operator }).await.unwrap();
    for _ in 0..3 {
        publish(worker.next().await);
    }
    until_committed(&cluster, 0, 3).await;
    let described = worker.ingest.addr.send(Describe).await.unwrap();
    assert_eq!(described["paused_by"], serde_json::json!([]));
}

#[actix::test]
async fn the_breaker_stops_intake_when_posts_fail_for_our_reasons_and_opens_it_again_by_itself() {
    let cluster = cluster(1);
    let of_ten = IngestSettings { breaker_records: 10, breaker_wait_ms: 300, ..settings() };
    let mut worker = start_with(cluster.client("ingest"), 64, of_ten, consumer_settings());
    produce(&cluster, ids("p", 30)).await;
    for _ in 0..10 {
        worker.next().await.guard.settle(Outcome::DeadLettered(DeadLetterReason::PoisonPill));
    }
    worker.until("the breaker is open", |now| now.paused_by == [PauseCause::Breaker]).await;
    let mut inside = Vec::new();
    while let Some(post) = worker.next_within(Duration::from_millis(50)).await {
        inside.push(post);
    }
    inside.into_iter().for_each(publish);
    produce(&cluster, ids("q", 20)).await;
    // Not twenty: some of the first thirty may have come after the wait above was over.
    publish_until_committed(&mut worker, &cluster, 50).await;
    worker.until("intake runs again", |now| now.paused_by.is_empty()).await;
}

#[actix::test]
async fn a_post_that_is_always_abandoned_ends_the_thread_after_bounded_attempts() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 3)).await;
    let few = IngestSettings { max_rewinds: 3, ..settings() };
    let mut worker = start_with(cluster.client("ingest"), 64, few, consumer_settings());
    let mut attempts = 0;
    let exit = loop {
        tokio::select! {
            exit = worker.ingest.exited() => break exit,
            Some(post) = worker.posts.recv() => match position(&post).1 {
                1 => { attempts += 1; drop(post) }
                _ => publish(post),
            },
        }
    };
    assert!(matches!(&exit, IngestExit::Failed(reason) if reason.contains("partition 0")), "{exit:?}");
    // The first period may have gone back to offset 0 once, before offset 1 was the oldest.
    assert!((4..=5).contains(&attempts), "{attempts} attempts");
    assert!(committed(&cluster).get(&0).is_none_or(|position| *position <= 1));
    worker.assert_conserved().await;
}

#[actix::test]
async fn poison_records_become_rejections_with_their_bytes_untouched() {
    let cluster = cluster(1);
    let producer = Producer::new(&cluster.client("p"), &ProducerSettings::default()).unwrap();
    let small = IngestSettings { max_record_bytes: 100, ..settings() };
    let long = format!(r#"{{"id":"a","lang":"{}"}}"#, "x".repeat(100));
    let records = [
        OutboundRecord::keyed(TOPIC, "a", "not json").header("origin", "test"),
        OutboundRecord::keyed(TOPIC, "a", vec![0xff, 0xfe]),
        OutboundRecord::keyed(TOPIC, "a", r#"{"revision":1}"#),
        OutboundRecord::keyed(TOPIC, "b", r#"{"id":"a"}"#),
        OutboundRecord { key: None, ..OutboundRecord::keyed(TOPIC, "", r#"{"id":"a"}"#) },
        OutboundRecord::keyed(TOPIC, "a", long.clone()),
        OutboundRecord::tombstone(TOPIC, "a"),
        OutboundRecord::keyed(TOPIC, "a", r#"{"id":"a","revision":7,"deleted":true}"#),
        OutboundRecord::keyed(TOPIC, "a", r#"{"id":"a"}"#),
    ];
    for mut record in records.clone() {
        record.partition = Some(0);
        producer.send(record).await.unwrap();
    }
    let mut worker = start_with(cluster.client("ingest"), 64, small, consumer_settings());
    let mut reasons = Vec::new();
    let mut events = Vec::new();
    for sent in &records {
        let post = worker.next().await;
        assert_eq!(post.record.value, sent.value);
        assert_eq!(post.record.headers, sent.headers);
        match post.event.clone() {
            Err(rejection) => {
                reasons.push(rejection.reason);
                post.guard.settle(Outcome::DeadLettered(rejection.reason));
            }
            Ok(event) => {
                events.push(event);
                publish(post);
            }
        }
    }
    use DeadLetterReason::{InvalidJson, InvalidPost, KeyMismatch, RecordTooLarge};
    assert_eq!(reasons, [InvalidJson, InvalidJson, InvalidPost, KeyMismatch, KeyMismatch, RecordTooLarge]);
    assert_eq!(events[0], PostEvent::Tombstone { post_id: "a".into(), revision: 0 });
    assert_eq!(events[1], PostEvent::Tombstone { post_id: "a".into(), revision: 7 });
    assert!(matches!(&events[2], PostEvent::Upsert(post) if post.id == "a"));
    until_committed(&cluster, 0, 9).await;
}

#[actix::test]
async fn refused_commits_are_tried_again_until_they_are_taken() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 3)).await;
    let mut worker = start(&cluster, 64);
    let first = worker.next().await;
    use InjectedError::{CoordinatorLoading, NotCoordinator, RequestTimedOut};
    cluster.inject(Request::OffsetCommit, &[NotCoordinator, CoordinatorLoading, RequestTimedOut]).unwrap();
    publish(first);
    publish(worker.next().await);
    publish(worker.next().await);
    until_committed(&cluster, 0, 3).await;
}

/// Publishes everything on the spot, on the poll thread itself.
struct PublishAtOnce;

impl RouterIntake for PublishAtOnce {
    fn admit(&self, post: Admitted) {
        publish(post);
    }
}

#[actix::test]
async fn a_bounded_prefetch_does_not_let_the_reader_run_dry() {
    let cluster = cluster(1);
    let producer = Producer::new(&cluster.client("p"), &ProducerSettings::default()).unwrap();
    let sends = (0..12_000).map(|number| {
        let value = format!(r#"{{"id":"p{number}"}}"#);
        producer.send(OutboundRecord::keyed(TOPIC, format!("p{number}"), value))
    });
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    let started = Instant::now();
    let _ingest = IngestHandle::start(IngestParams {
        client: cluster.client("ingest"),
        consumer: consumer_settings(),
        settings: settings(),
        intake: Arc::new(PublishAtOnce),
        permits: PostPermits::new(64),
        conservation: Arc::default(),
        stages: StageWatch::default(),
    })
    .unwrap();
    until_committed(&cluster, 0, 12_000).await;
    // One thousand records at a time, and a second of rest after each, would take twelve.
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[actix::test]
async fn a_lost_partition_is_dropped_without_a_commit_and_read_again() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 4)).await;
    let mut worker = start(&cluster, 64);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(worker.next().await);
    }
    let epoch = held[0].guard.tag().epoch;
    // The group has forgotten this member: whatever it held is lost.
    cluster.inject(Request::Heartbeat, &[InjectedError::UnknownMember]).unwrap();
    let again = worker.next().await;
    assert_eq!(position(&again), (0, 0));
    assert!(again.guard.tag().epoch > epoch);
    held.into_iter().for_each(publish);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(committed(&cluster)[&0], 0, "settlements of the lost period commit nothing");
    publish(again);
    for _ in 1..4 {
        publish(worker.next().await);
    }
    until_committed(&cluster, 0, 4).await;
    worker.assert_conserved().await;
}

#[actix::test]
async fn a_coordinator_that_moves_takes_no_partition_away() {
    let cluster = InProcessCluster::create(2).unwrap();
    cluster.create_topic(TOPIC, 1).unwrap();
    cluster.set_coordinator(GROUP, 1).unwrap();
    produce(&cluster, ids("p", 6)).await;
    let mut worker = start(&cluster, 64);
    let epoch = {
        let post = worker.next().await;
        let epoch = post.guard.tag().epoch;
        publish(post);
        epoch
    };
    until_committed(&cluster, 0, 1).await;
    cluster.set_coordinator(GROUP, 2).unwrap();
    for _ in 1..6 {
        publish(worker.next().await);
    }
    until_committed(&cluster, 0, 6).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let snapshot = worker.ingest.status.snapshot();
    assert_eq!(snapshot.partitions.len(), 1, "longer than the session and still a member");
    assert_eq!(snapshot.partitions[0].epoch, epoch.0);
}

#[actix::test]
async fn a_broker_that_goes_away_and_comes_back_loses_nothing() {
    let cluster = cluster(2);
    produce(&cluster, ids("a", 20)).await;
    let mut worker = start(&cluster, 8);
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        let post = worker.next().await;
        seen.insert(position(&post));
        publish(post);
    }
    cluster.broker_down(None).unwrap();
    while let Some(post) = worker.next_within(Duration::from_millis(1_500)).await {
        seen.insert(position(&post));
        publish(post);
        assert!(worker.ingest.progress_age() < Duration::from_secs(3));
    }
    cluster.broker_up(None).unwrap();
    produce(&cluster, ids("b", 20)).await;
    while seen.len() < 40 {
        let post = worker.next().await;
        seen.insert(position(&post));
        publish(post);
    }
    publish_until_committed(&mut worker, &cluster, 40).await;
    worker.assert_conserved().await;
}

#[test]
fn settings_that_would_get_a_member_expelled_are_refused() {
    let slow = IngestSettings { drain_timeout_ms: 1_000, ..settings() };
    let error = slow.check(&consumer_settings()).unwrap_err().to_string();
    assert!(error.contains("drain_timeout_ms = 1000") && error.contains("session_timeout_ms = 2000"), "{error}");
    assert!(settings().check(&consumer_settings()).is_ok());
    assert!(IngestSettings::for_tests().check(&ConsumerSettings::for_tests()).is_ok());
}
