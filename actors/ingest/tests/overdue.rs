//! What becomes of posts that run into their deadline by what they hold, on the in-process cluster.

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::*;
use jtav_delivery::{AbandonCause, Hang, Outcome};
use jtav_ingest::{Drain, IngestExit, IngestSettings};
use jtav_kafka::{Consumer, InProcessCluster};
use jtav_pipeline::{Admitted, Run};
use jtav_schemas::{DeadLetterReason, Stage};

const DRAIN: Drain = Drain { timeout: Duration::from_secs(5) };
const STAGE: Stage = Stage::ImageEncoder;

fn quick() -> IngestSettings {
    // One seek back without progress would already end the thread.
    IngestSettings { max_rewinds: 0, trial_deadline: Duration::from_millis(100), ..settings() }
}

fn hangs(post: &Admitted) -> bool {
    post.record.key.as_deref().is_some_and(|key| key.starts_with(b"bad"))
}

/// The post's work does not end; later ones overtake it there or not.
fn run_out_of_time(post: Admitted, was_overtaken: bool) {
    post.guard.abandon(AbandonCause::Hung(Hang { stage: STAGE, was_overtaken }));
}

/// Plays the stages until so many are committed: what hangs runs out of time, what was judged is set aside, the rest goes
/// through. Gives how often each record was let in and what was set aside.
async fn play(
    worker: &mut Worker,
    cluster: &InProcessCluster,
    total: i64,
    was_overtaken: bool,
) -> (BTreeMap<i64, u32>, Vec<(i64, Run)>) {
    let (mut times, mut set_aside) = (BTreeMap::new(), Vec::new());
    let started = Instant::now();
    while committed(cluster).values().sum::<i64>() < total {
        assert!(started.elapsed() < PATIENCE, "nothing goes on: {:?}", worker.ingest.status.snapshot());
        let mut posts = Vec::new();
        while let Some(post) = worker.next_within(Duration::from_millis(60)).await {
            posts.push(post);
        }
        for post in posts {
            let (_, offset) = position(&post);
            *times.entry(offset).or_default() += 1;
            match post.run {
                run @ Run::SetAside { .. } => {
                    let reason = post.event.as_ref().unwrap_err().reason;
                    assert_eq!(reason, DeadLetterReason::DeadlineExceeded);
                    set_aside.push((offset, run));
                    post.guard.settle(Outcome::DeadLettered(reason));
                }
                _ if hangs(&post) => run_out_of_time(post, was_overtaken),
                _ => {
                    worker.flow.tracker().enter(STAGE).passed();
                    publish(post);
                }
            }
        }
    }
    (times, set_aside)
}

fn with_two_that_hang() -> Vec<String> {
    let mut ids = ids("p", 20);
    ids.push("bad0".to_owned());
    ids.extend(crate::ids("q", 19));
    ids.insert(4, "bad1".to_owned());
    ids.push("last".to_owned());
    ids
}

#[actix::test]
async fn two_posts_that_are_overtaken_where_they_hang_are_set_aside_and_no_other_is_worked_on_twice() {
    let cluster = cluster(1);
    produce(&cluster, with_two_that_hang()).await;
    let mut worker = start_with(cluster.client("ingest"), 64, quick(), consumer_settings());
    let (times, set_aside) = play(&mut worker, &cluster, 42, true).await;
    let run = Run::SetAside { stage: STAGE, deadlines: 3 };
    let mut expected = set_aside.clone();
    expected.sort_by_key(|(offset, _)| *offset);
    assert_eq!(expected, [(4, run), (21, run)]);
    let again: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert_eq!(again, [(&4, &4), (&21, &4)], "two deadlines, a trial, the verdict; nobody else comes twice");
    assert_eq!(worker.ingest.exit(), None);
    assert!(worker.ingest.status.snapshot().paused_by.is_empty());
    assert_eq!(worker.ingest.addr.send(DRAIN).await.unwrap(), IngestExit::Drained);
    worker.assert_conserved().await;
}

#[actix::test]
async fn one_that_holds_everybody_up_is_tried_with_nothing_else_inside() {
    let cluster = cluster(1);
    produce(&cluster, with_two_that_hang()).await;
    let mut worker = start_with(cluster.client("ingest"), 64, quick(), consumer_settings());
    // Others that pass before the trials and after them.
    let producing = async {
        for round in 0..600 {
            produce(&cluster, [format!("traffic{round}")]).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let mut tried = 0;
    let playing = async {
        let mut set_aside = Vec::new();
        while set_aside.len() < 2 {
            let post = worker.next().await;
            if let Run::SetAside { .. } = post.run {
                set_aside.push(position(&post).1);
                post.guard.settle(Outcome::DeadLettered(DeadLetterReason::DeadlineExceeded));
            } else if hangs(&post) {
                if post.run == Run::Trial {
                    tried += 1;
                    assert_eq!(worker.permits.in_flight(), 1, "alone");
                    assert!(worker.next_within(Duration::from_millis(100)).await.is_none(), "and nobody comes");
                }
                run_out_of_time(post, false);
            } else {
                worker.flow.tracker().enter(STAGE).passed();
                publish(post);
            }
        }
        set_aside.sort_unstable();
        assert_eq!(set_aside, [4, 21]);
    };
    tokio::select! {
        () = playing => {}
        () = producing => panic!("two minutes were not enough"),
    }
    assert!(tried >= 2);
    assert_eq!(worker.ingest.exit(), None);
}

#[actix::test]
async fn two_that_are_alone_in_the_feed_are_judged_by_what_the_stage_is_tried_out_with() {
    let cluster = cluster(1);
    produce(&cluster, with_two_that_hang()).await;
    let settings = quick();
    let mut worker = start_trying_out(cluster.client("ingest"), 64, settings, consumer_settings(), |flow, stage| {
        assert_eq!(stage, STAGE);
        flow.tracker().enter(stage).passed();
    });
    let (times, set_aside) = play(&mut worker, &cluster, 42, false).await;
    assert_eq!(set_aside.len(), 2, "{set_aside:?}");
    assert!(times.iter().all(|(offset, times)| *times == 1 || [4, 21].contains(offset)), "{times:?}");
    assert_eq!(worker.ingest.exit(), None);
    assert!(worker.ingest.status.snapshot().paused_by.is_empty());
}

#[actix::test]
async fn a_stage_that_hangs_for_everybody_sets_nobody_aside_and_ends_no_pipeline() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 10)).await;
    // The breaker would hide what is shown here.
    let settings = IngestSettings { breaker_failed_percent: 0, ..quick() };
    let mut worker = start_with(cluster.client("ingest"), 64, settings, consumer_settings());
    for _ in 0..60 {
        let post = worker.next().await;
        assert!(!matches!(post.run, Run::SetAside { .. }), "{:?}", position(&post));
        run_out_of_time(post, false);
    }
    assert_eq!(committed(&cluster).get(&0).copied().unwrap_or(0), 0);
    // It is well again.
    let (_, set_aside) = play(&mut worker, &cluster, 10, false).await;
    assert_eq!(set_aside, []);
    assert_eq!(worker.ingest.exit(), None);
}

#[actix::test]
async fn one_that_waits_for_another_comes_again_by_itself_and_is_blamed_for_nothing() {
    let cluster = cluster(1);
    produce(&cluster, ids("p", 4)).await;
    let mut worker = start_with(cluster.client("ingest"), 64, quick(), consumer_settings());
    let mut waits = 0;
    while waits < 5 {
        let post = worker.next().await;
        assert_eq!(post.run, Run::Ordinary);
        if position(&post).1 == 0 {
            waits += 1;
            post.guard.abandon(AbandonCause::Waited);
        } else {
            publish(post);
        }
    }
    publish(worker.next().await);
    until_committed(&cluster, 0, 4).await;
    assert_eq!(worker.ingest.exit(), None);
}

#[actix::test]
async fn deadlines_are_counted_over_a_change_of_workers() {
    let cluster = cluster(1);
    produce(&cluster, ["bad0".to_owned(), "good".to_owned()]).await;
    let may_rewind = || IngestSettings { max_rewinds: 5, ..quick() };
    let mut first = start_with(cluster.client("ingest"), 64, may_rewind(), consumer_settings());
    let mut deadlines = 0;
    while deadlines < 2 {
        let post = first.next().await;
        if hangs(&post) {
            assert_eq!(post.run, Run::Ordinary);
            deadlines += 1;
            run_out_of_time(post, true);
        } else {
            publish(post);
        }
    }
    // It is about to be tried; the worker goes before that is over.
    let tried = first.next().await;
    assert_eq!(tried.run, Run::Trial);
    drop(tried);
    assert_eq!(first.ingest.addr.send(DRAIN).await.unwrap(), IngestExit::Drained);
    let note = note_of(&cluster);
    assert_eq!(note, "jtav1 clean late=0:2");

    let mut second = start_with(cluster.client("ingest"), 64, may_rewind(), consumer_settings());
    for run in [Run::Trial, Run::Ordinary] {
        let post = second.next().await;
        assert_eq!(post.run, run, "{:?}", position(&post));
        publish(post);
    }
    until_committed(&cluster, 0, 2).await;
    assert_eq!(second.ingest.addr.send(DRAIN).await.unwrap(), IngestExit::Drained);
    assert_eq!(note_of(&cluster), "jtav1 clean", "what is done with is not noted any more");
}

/// Asks without joining.
fn note_of(cluster: &InProcessCluster) -> String {
    let consumer = Consumer::new(&cluster.client("look"), &consumer_settings(), std::sync::Arc::new(|| {})).unwrap();
    consumer.committed(&[0], PATIENCE).unwrap().remove(0).metadata
}
