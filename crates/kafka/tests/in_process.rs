//! The client against the in-process cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jtav_kafka::{
    CommitMode, CommitResult, Consumer, ConsumerEvent, ConsumerSettings, Fault, InProcessCluster, InjectedError,
    KafkaError, OutboundRecord, PositionToCommit, Producer, ProducerSettings, Request, StartOffset, describe_topics,
    group_positions, read_all, watermarks,
};
use jtav_schemas::Whole;

const SECONDS_10: Duration = Duration::from_secs(10);

fn consumer_settings(group: &str) -> ConsumerSettings {
    ConsumerSettings {
        group_id: group.to_owned(),
        session_timeout_ms: 2_000,
        heartbeat_interval_ms: 200,
        ..ConsumerSettings::for_tests()
    }
}

fn consumer(cluster: &InProcessCluster, name: &str, group: &str) -> Consumer {
    Consumer::new(&cluster.client(name), &consumer_settings(group), Arc::new(|| {})).unwrap()
}

/// Polls until `wanted` gives something, answering assignments from the committed position.
fn poll_until<T>(consumer: &mut Consumer, mut wanted: impl FnMut(&Consumer, Option<&ConsumerEvent>) -> Option<T>) -> T {
    let deadline = Instant::now() + SECONDS_10;
    while Instant::now() < deadline {
        let event = consumer.poll(Duration::from_millis(10));
        let found = wanted(consumer, event.as_ref());
        if let Some(ConsumerEvent::Assigned(partitions)) = &event {
            let starts: Vec<_> = consumer
                .committed(partitions, SECONDS_10)
                .unwrap()
                .into_iter()
                .map(|position| (position.partition, position.offset.map_or(StartOffset::Beginning, StartOffset::At)))
                .collect();
            consumer.accept(&starts).unwrap();
        }
        if let Some(ConsumerEvent::Revoked { partitions, .. }) = &event {
            consumer.release(partitions).unwrap();
        }
        if let Some(found) = found {
            return found;
        }
    }
    panic!("nothing came within 10 s");
}

/// Offset of the next record of partition 0.
fn next_offset(consumer: &mut Consumer) -> i64 {
    poll_until(consumer, |consumer, _| consumer.next_record(0).map(|record| record.unwrap().offset))
}

fn commit_answer(consumer: &mut Consumer) -> CommitResult {
    poll_until(consumer, |_, event| match event {
        Some(ConsumerEvent::Committed(commit)) => Some(commit.clone()),
        _ => None,
    })
}

#[tokio::test]
async fn what_is_produced_is_read_back_byte_for_byte() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 1).unwrap();
    let producer = Producer::new(&cluster.client("t"), &ProducerSettings::default()).unwrap();
    let mut record = OutboundRecord::keyed("posts", "k", vec![0u8, 159, 146, 150]).header("name", "first");
    record.headers.push(("name".into(), None));
    record.timestamp_ms = Some(1_700_000_000_123);
    producer.send(record).await.unwrap();
    producer.send(OutboundRecord::tombstone("posts", "k")).await.unwrap();
    producer.flush(SECONDS_10).unwrap();

    let read = read_all(&cluster.client("t"), "posts", SECONDS_10).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(read[0].value.as_deref(), Some(&[0u8, 159, 146, 150][..]));
    assert_eq!(read[0].timestamp_ms, Some(1_700_000_000_123));
    assert_eq!(read[0].headers[0], ("name".to_owned(), Some("first".into())));
    assert_eq!(read[0].headers[1], ("name".to_owned(), None));
    assert_eq!(read[1].value, None);
}

#[tokio::test]
async fn of_a_record_larger_than_is_kept_the_consumer_gives_the_first_bytes_and_says_what_is_missing() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 1).unwrap();
    let producer = Producer::new(&cluster.client("t"), &ProducerSettings::default()).unwrap();
    let value: Vec<u8> = (0..50_000u32).map(|at| (at % 251) as u8).collect();
    producer.send(OutboundRecord::keyed("posts", "k", value.clone()).header("trace", "t1")).await.unwrap();
    let many = (0..50).fold(OutboundRecord::keyed("posts", "", ""), |record, at| record.header(format!("h{at}"), "v"));
    producer.send(many.clone()).await.unwrap();

    let settings = ConsumerSettings { max_kept_bytes: 10_000, max_kept_headers: 20, ..consumer_settings("g") };
    let mut consumer = Consumer::new(&cluster.client("c"), &settings, Arc::new(|| {})).unwrap();
    let mut next = || poll_until(&mut consumer, |consumer, _| consumer.next_record(0).map(Result::unwrap));
    let (large, decorated) = (next(), next());
    let kept = large.value.as_deref().unwrap();
    assert!((9_900..=10_000).contains(&kept.len()) && *kept == value[..kept.len()], "{}", kept.len());
    let cut = large.cut.unwrap();
    assert_eq!((cut.value, cut.key, cut.headers_left_out), (Some(Whole::of(&value)), None, 0));
    assert_eq!((large.key.as_deref(), large.headers.len()), (Some(&b"k"[..]), 1), "the small parts are whole");

    assert_eq!(decorated.headers, many.headers[30..], "the last ones");
    let cut = decorated.cut.unwrap();
    assert_eq!((cut.headers_left_out, cut.header_bytes_left_out), (30, 30 + 10 * 2 + 20 * 3));
    assert_eq!(
        (decorated.key.as_deref(), decorated.value.as_deref()),
        (Some(&b""[..]), Some(&b""[..])),
        "empty is not null"
    );
}

#[tokio::test]
async fn equal_keys_share_a_partition_as_with_the_java_client() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 6).unwrap();
    let producer = Producer::new(&cluster.client("t"), &ProducerSettings::default()).unwrap();
    // Partition = (murmur2(key) & 0x7fffffff) % 6; murmur2 of "21" is -973932308 by the Java client's own unit test.
    let expected = (-973_932_308_i32 & 0x7fff_ffff) % 6;
    for _ in 0..3 {
        let delivered = producer.send(OutboundRecord::keyed("posts", "21", "x")).await.unwrap();
        assert_eq!(delivered.partition, expected);
    }
}

#[tokio::test]
async fn a_member_commits_and_the_next_one_goes_on_from_there() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 1).unwrap();
    let producer = Producer::new(&cluster.client("t"), &ProducerSettings::default()).unwrap();
    for number in 0..5 {
        producer.send(OutboundRecord::keyed("posts", format!("k{number}"), "x")).await.unwrap();
    }
    {
        let mut first = consumer(&cluster, "a", "g");
        assert_eq!(next_offset(&mut first), 0);
        first.commit(&[PositionToCommit::new(0, 3, "note")], CommitMode::Async).unwrap();
        let commit = commit_answer(&mut first);
        assert!(commit.result.is_ok());
        assert_eq!(commit.partitions[0].position.offset, 3);
        let position = first.committed(&[0], SECONDS_10).unwrap().remove(0);
        assert_eq!((position.offset, position.metadata.as_str()), (Some(3), "note"));
        assert_eq!(first.watermarks(0, SECONDS_10).unwrap(), (0, 5));
        assert_eq!(first.cached_watermarks(0).map(|(_, high)| high), Some(5));
    }
    let mut second = consumer(&cluster, "b", "g");
    assert_eq!(next_offset(&mut second), 3);
    second.seek(0, 1).unwrap();
    assert_eq!(next_offset(&mut second), 1, "a seek drops what was fetched ahead");
    second.commit(&[PositionToCommit::new(0, 5, "")], CommitMode::Sync).unwrap();
    assert_eq!(second.committed(&[0], SECONDS_10).unwrap()[0].offset, Some(5));
}

#[tokio::test]
async fn a_partition_that_is_not_asked_keeps_its_records_and_holds_no_other_up() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 2).unwrap();
    let producer = Producer::new(&cluster.client("t"), &ProducerSettings::default()).unwrap();
    for number in 0..40 {
        let mut record = OutboundRecord::keyed("posts", format!("k{number}"), "x");
        record.partition = Some(number % 2);
        producer.send(record).await.unwrap();
    }
    let woken = Arc::new(AtomicUsize::new(0));
    let wake = {
        let woken = Arc::clone(&woken);
        Arc::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        })
    };
    let mut reader = Consumer::new(&cluster.client("a"), &consumer_settings("g"), wake).unwrap();
    let mut read = |partition: i32, count: usize| -> Vec<i64> {
        let next = |consumer: &Consumer| consumer.next_record(partition).map(|record| record.unwrap().offset);
        (0..count).map(|_| poll_until(&mut reader, |consumer, _| next(consumer))).collect()
    };
    let all: Vec<i64> = (0..20).collect();
    assert_eq!(read(1, 20), all);
    assert_eq!(read(0, 5), &all[..5]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(read(0, 15), &all[5..]);
    assert!(woken.load(Ordering::Relaxed) >= 2, "each partition's first records wake the reader");
}

#[tokio::test]
async fn an_injected_commit_error_is_reported_for_the_partition() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 1).unwrap();
    let producer = Producer::new(&cluster.client("t"), &ProducerSettings::default()).unwrap();
    producer.send(OutboundRecord::keyed("posts", "k", "x")).await.unwrap();
    let mut consumer = consumer(&cluster, "a", "g");
    next_offset(&mut consumer);
    cluster.inject(Request::OffsetCommit, &[InjectedError::IllegalGeneration]).unwrap();
    consumer.commit(&[PositionToCommit::new(0, 1, "")], CommitMode::Async).unwrap();
    let commit = commit_answer(&mut consumer);
    let error = commit.partitions[0].result.clone().unwrap_err();
    assert!(error.is_not_owner(), "{error}");
}

#[tokio::test]
async fn delivery_survives_replicas_that_are_behind_and_reports_a_refused_record() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 1).unwrap();
    let producer = Producer::new(&cluster.client("t"), &ProducerSettings::default()).unwrap();
    cluster.inject(Request::Produce, &[InjectedError::NotEnoughReplicas, InjectedError::Disconnect]).unwrap();
    producer.send(OutboundRecord::keyed("posts", "k", "x")).await.unwrap();
    assert_eq!(watermarks(&cluster.client("t"), "posts", SECONDS_10).unwrap()[&0], (0, 1), "delivered once");

    cluster.inject(Request::Produce, &[InjectedError::MessageTooLarge]).unwrap();
    let error = producer.send(OutboundRecord::keyed("posts", "k", "x")).await.unwrap_err();
    assert_eq!((error.fault(), error.is_too_large()), (Fault::RecordRefused, true), "{error}");
    assert!(error.to_string().contains("topic `posts`"), "{error}");
}

#[tokio::test]
async fn a_dead_cluster_fails_the_delivery_at_its_deadline() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 1).unwrap();
    let settings = ProducerSettings { delivery_timeout_ms: 5_000, ..ProducerSettings::default() };
    let producer = Producer::new(&cluster.client("t"), &settings).unwrap();
    producer.send(OutboundRecord::keyed("posts", "k", "x")).await.unwrap();
    cluster.broker_down(None).unwrap();
    let sent = producer.send(OutboundRecord::keyed("posts", "k", "x"));
    // Without the deadline it would wait for the broker for ever.
    let answer = tokio::time::timeout(Duration::from_secs(60), sent).await.expect("the deadline holds");
    let error = answer.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn the_producer_refuses_to_overfill_the_in_process_cluster() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 1).unwrap();
    let producer = Producer::new(&cluster.client("t"), &ProducerSettings::default()).unwrap();
    let block = vec![7u8; 1_000_000];
    for _ in 0..4 {
        producer.send(OutboundRecord::keyed("posts", "k", block.clone())).await.unwrap();
    }
    assert!(cluster.fullest_partition_bytes("posts") > 4_000_000);
    let error = producer.send(OutboundRecord::keyed("posts", "k", block)).await.unwrap_err();
    assert!(matches!(error, KafkaError::InProcessFull { .. }), "{error}");
    assert_eq!(read_all(&cluster.client("t"), "posts", SECONDS_10).unwrap().len(), 4, "nothing was dropped");
}

#[test]
fn looking_for_a_topic_does_not_create_it() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 3).unwrap();
    for _ in 0..2 {
        let found = describe_topics(&cluster.client("t"), &["posts", "absent"], SECONDS_10).unwrap();
        assert_eq!(found[0].partitions, Some(3));
        assert_eq!(found[1].partitions, None);
    }
}

#[test]
fn a_coordinator_that_is_loading_or_has_moved_is_asked_again_for_the_positions_of_a_group() {
    let cluster = InProcessCluster::create(1).unwrap();
    cluster.create_topic("posts", 1).unwrap();
    let mut first = consumer(&cluster, "first", "labels");
    poll_until(&mut first, |_, event| matches!(event, Some(ConsumerEvent::Assigned(_))).then_some(()));
    let position = PositionToCommit { partition: 0, offset: 7, metadata: String::new() };
    first.commit(&[position], CommitMode::Sync).unwrap();
    // More of them than librdkafka itself asks again after.
    let moved = [InjectedError::NotCoordinator, InjectedError::CoordinatorLoading].repeat(4);
    cluster.inject(Request::OffsetFetch, &moved).unwrap();
    let positions = group_positions(&cluster.client("look"), "labels", "posts", SECONDS_10).unwrap();
    assert_eq!(positions, BTreeMap::from([(0, 7)]));
    cluster.inject(Request::OffsetFetch, &[InjectedError::TopicAuthorizationFailed]).unwrap();
    let error = group_positions(&cluster.client("look"), "labels", "posts", SECONDS_10).unwrap_err();
    assert_eq!(error.fault(), Fault::NeedsOperator, "{error}");
}
