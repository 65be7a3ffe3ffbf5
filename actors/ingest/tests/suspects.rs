//! How a partition is taken over from an owner that ended without a goodbye, on the in-process cluster.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use jtav_delivery::Outcome;
use jtav_ingest::{Describe, Drain, IngestExit};
use jtav_kafka::{
    CommitMode, CommittedPosition, Consumer, ConsumerEvent, InProcessCluster, PositionToCommit, StartOffset,
};
use jtav_schemas::DeadLetterReason;

const DRAIN: Drain = Drain { timeout: Duration::from_secs(5) };

/// A member of the group that reads nothing; it leaves the group at the end.
fn as_member<T>(cluster: &InProcessCluster, act: impl FnOnce(&Consumer) -> T) -> T {
    let mut consumer = Consumer::new(&cluster.client("other"), &consumer_settings(), Arc::new(|| {})).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no partition was offered");
        if let Some(ConsumerEvent::Assigned(numbers)) = consumer.poll(Duration::from_millis(50)) {
            let starts: Vec<_> = numbers.iter().map(|number| (*number, StartOffset::At(0))).collect();
            consumer.accept(&starts).unwrap();
            return act(&consumer);
        }
    }
}

/// What an owner leaves behind.
fn leave(cluster: &InProcessCluster, position: i64, note: &str) {
    as_member(cluster, |consumer| {
        consumer.commit(&[PositionToCommit::new(0, position, note)], CommitMode::Sync).unwrap();
    });
}

fn found(cluster: &InProcessCluster) -> CommittedPosition {
    as_member(cluster, |consumer| consumer.committed(&[0], PATIENCE).unwrap().remove(0))
}

#[actix::test]
async fn after_an_end_without_a_goodbye_records_go_in_one_by_one_up_to_the_end_that_was_there() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 12)).await;
    leave(&cluster, 4, "jtav1 open 00000000deadbeef 6");
    let mut worker = start(&cluster, 64);
    for offset in 4..12 {
        let post = worker.next().await;
        assert_eq!(position(&post), (0, offset));
        let described = worker.ingest.addr.send(Describe).await.unwrap();
        assert_eq!(described["partitions"][0]["careful_until"], 12, "{described:?}");
        if offset == 5 {
            assert!(worker.next_within(Duration::from_millis(300)).await.is_none(), "one by one");
        }
        publish(post);
    }
    produce(&cluster, ids("q", 10)).await;
    let mut together = Vec::new();
    for _ in 0..10 {
        together.push(worker.next().await);
    }
    worker.until("nothing is gone over", |now| now.partitions.iter().all(|p| p.careful_until.is_none())).await;
    together.into_iter().for_each(publish);
    assert_eq!(worker.ingest.addr.send(DRAIN).await.unwrap(), IngestExit::Drained);
    let found = found(&cluster);
    assert_eq!((found.offset, found.metadata.as_str()), (Some(22), "jtav1 clean"));
}

#[actix::test]
async fn a_record_that_was_inside_at_three_ends_is_set_aside_unread_and_passes() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 6)).await;
    leave(&cluster, 2, "jtav1 suspect 00000000deadbeef 4 3");
    let mut worker = start(&cluster, 64);
    let guilty = worker.next().await;
    assert_eq!(position(&guilty), (0, 2));
    let rejection = guilty.event.clone().unwrap_err();
    assert_eq!(rejection.reason, DeadLetterReason::CrashedWorker);
    assert!(rejection.message.contains("3 times"), "{}", rejection.message);
    guilty.guard.settle(Outcome::DeadLettered(rejection.reason));
    for offset in 3..6 {
        let post = worker.next().await;
        assert_eq!(position(&post), (0, offset));
        assert!(post.event.is_ok());
        publish(post);
    }
    until_committed(&cluster, 0, 6).await;
}

#[actix::test]
async fn a_worker_that_drains_with_nothing_committed_before_says_goodbye_all_the_same() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 3)).await;
    let mut worker = start(&cluster, 64);
    let held = [worker.next().await, worker.next().await, worker.next().await];
    // Nothing is settled, so the position does not move; the note does.
    let exit = worker.ingest.addr.send(Drain { timeout: Duration::from_millis(100) }).await.unwrap();
    assert_eq!(exit, IngestExit::DrainTimedOut { left: 3 });
    let found = found(&cluster);
    assert_eq!((found.offset, found.metadata.as_str()), (Some(0), "jtav1 clean"));
    drop(held);
}

#[actix::test]
async fn a_worker_under_way_leaves_a_note_that_says_so() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 3)).await;
    let mut worker = start(&cluster, 64);
    let held = [worker.next().await, worker.next().await, worker.next().await];
    tokio::time::sleep(Duration::from_millis(500)).await;
    let note = as_note_of(&cluster).await;
    assert!(note.starts_with("jtav1 open ") && note.ends_with(" 3"), "{note}");
    held.into_iter().for_each(publish);
}

/// Asks without joining: the worker keeps its partition.
async fn as_note_of(cluster: &InProcessCluster) -> String {
    let consumer = Consumer::new(&cluster.client("look"), &consumer_settings(), Arc::new(|| {})).unwrap();
    consumer.committed(&[0], PATIENCE).unwrap().remove(0).metadata
}
