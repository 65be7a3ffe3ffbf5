//! What every store must do, run against Redis and its embedded twin.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use jtav_schemas::{Label, Modality};
use jtav_store::{Applied, EmbeddedStore, Found, LabelWrite, ManualClock, Standing, Store, StoreError, StoredLabel};
use proptest::prelude::*;
use support::{HOUR, RealRedis, label, ready, runtime};

/// Lets time pass.
type Wait = Box<dyn Fn(Duration) -> BoxFuture<'static, ()>>;

/// A store under test: a way to let time pass, and ids that no other test uses.
struct Subject {
    store: Arc<dyn Store>,
    wait: Wait,
    next_id: AtomicU64,
}

impl Subject {
    fn post(&self) -> String {
        format!("post-{}", self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    async fn apply(&self, write: &LabelWrite) -> Applied {
        self.store.apply(write).await.unwrap()
    }

    async fn read(&self, post: &str, model: &str) -> Option<StoredLabel> {
        self.store.read(post, model).await.unwrap()
    }
}

fn embedded() -> Subject {
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(EmbeddedStore::with_clock(clock.clone()));
    let wait: Wait = Box::new(move |by| {
        clock.advance(by);
        std::future::ready(()).boxed()
    });
    Subject { store, wait, next_id: AtomicU64::new(0) }
}

async fn redis(server: &RealRedis) -> Subject {
    let connection = server.raw().await;
    // A clock of a server cannot be moved, so every key's remaining time is cut instead: no test sleeps, none depends
    // on how busy the machine is.
    let wait: Wait = Box::new(move |by| {
        let mut redis = connection.clone();
        async move {
            let by = by.as_millis() as i64;
            let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
            for key in keys {
                let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
                assert!(left > 0, "a key without an end");
                redis::cmd("PEXPIRE").arg(&key).arg(left - by).exec_async(&mut redis).await.unwrap();
            }
        }
        .boxed()
    });
    Subject { store: ready(server.store()).await, wait, next_id: AtomicU64::new(0) }
}

/// Each function becomes a test of the embedded store and one of Redis.
macro_rules! conformance {
    ($($name:ident)*) => {
        mod the_embedded_store {
            $(#[test] fn $name() { super::runtime().block_on(super::$name(super::embedded())); })*
        }
        mod redis_store {
            $(#[test] fn $name() {
                let Some(server) = super::RealRedis::start(&[]) else { return };
                super::runtime().block_on(async { super::$name(super::redis(&server).await).await });
            })*
        }
    };
}

conformance! {
    a_label_reads_back_as_it_was_written
    a_redelivery_changes_nothing_and_says_so
    an_older_revision_or_offset_never_overwrites
    numbers_above_two_to_the_53_are_told_apart
    a_new_revision_leaves_no_vector_of_the_old_one
    models_hold_labels_of_their_own
    erasure_deletes_every_model_and_refuses_every_later_write
    an_unknown_post_can_be_erased_before_it_arrives
    the_standing_of_a_post_is_told_without_its_content
    a_post_is_looked_up_by_the_model_that_labelled_it_last_or_by_one_that_is_named
    many_posts_are_looked_up_at_once_in_their_order
    erasure_lapses_with_its_ttl_and_not_before
    a_label_lapses_and_only_a_write_refreshes_it
    an_expired_models_set_never_hides_a_key_from_erasure
    any_post_id_has_keys_of_its_own
    what_cannot_be_a_key_is_refused
    many_writers_at_once_leave_the_newest
}

async fn a_label_reads_back_as_it_was_written(subject: Subject) {
    let post = subject.post();
    assert_eq!(subject.read(&post, "m").await, None);
    let write = label(&post, "m", 6, 4);
    assert_eq!(subject.apply(&write).await, Applied::Written);
    let stored = subject.read(&post, "m").await.unwrap();
    assert_eq!(stored, StoredLabel::from(&write));
    assert_eq!(stored.probability.to_bits(), write.probability.to_bits(), "every bit");
    assert_eq!(stored.label, Label::Neutral);
    assert_eq!((stored.certain, stored.lang.as_deref(), stored.semantic.is_some()), (true, Some("en"), true));
    assert_eq!(stored.embedding().unwrap()[1], -0.5);
    assert!(stored.modality(Modality::Audio).unwrap().is_some() && stored.modality(Modality::Image).unwrap().is_none());
}

async fn a_redelivery_changes_nothing_and_says_so(subject: Subject) {
    let post = subject.post();
    let first = label(&post, "m", 2, 10);
    let mut again = first.clone();
    again.labelled_at_ms = 99;
    assert_eq!(subject.apply(&first).await, Applied::Written);
    assert_eq!(subject.apply(&again).await, Applied::Same);
    assert_eq!(subject.read(&post, "m").await, Some((&first).into()));
}

async fn an_older_revision_or_offset_never_overwrites(subject: Subject) {
    let post = subject.post();
    assert_eq!(subject.apply(&label(&post, "m", 9, 9)).await, Applied::Written);
    // 10 after 9: numbers, not text.
    assert_eq!(subject.apply(&label(&post, "m", 10, 2)).await, Applied::Written);
    assert_eq!(subject.apply(&label(&post, "m", 9, 99)).await, Applied::Stale);
    assert_eq!(subject.apply(&label(&post, "m", 10, 1)).await, Applied::Stale);
    assert_eq!(subject.apply(&label(&post, "m", 10, 10)).await, Applied::Written);
    assert_eq!(subject.apply(&label(&post, "m", 10, 9)).await, Applied::Stale);
    let mut moved = label(&post, "m", 10, 0);
    moved.source.partition = 11;
    assert_eq!(subject.apply(&moved).await, Applied::Written, "partition 11 after 3");
    assert_eq!(subject.read(&post, "m").await, Some((&moved).into()));
}

async fn numbers_above_two_to_the_53_are_told_apart(subject: Subject) {
    const LIMIT: u64 = 1 << 53;
    let post = subject.post();
    for (revision, offset) in [
        (LIMIT, LIMIT as i64),
        (LIMIT, LIMIT as i64 + 1),
        (LIMIT + 1, 0),
        (LIMIT + 1, i64::MAX - 1),
        (LIMIT + 1, i64::MAX),
        (u64::MAX - 1, 5),
        (u64::MAX, 4),
    ] {
        let write = label(&post, "m", revision, offset);
        assert_eq!(subject.apply(&write).await, Applied::Written, "{revision} {offset}");
        assert_eq!(subject.apply(&write).await, Applied::Same, "{revision} {offset}");
    }
    assert_eq!(subject.apply(&label(&post, "m", u64::MAX - 1, i64::MAX)).await, Applied::Stale);
    assert_eq!(subject.apply(&label(&post, "m", u64::MAX, 3)).await, Applied::Stale);
    assert_eq!(subject.read(&post, "m").await.unwrap().revision, u64::MAX);
}

async fn a_new_revision_leaves_no_vector_of_the_old_one(subject: Subject) {
    let post = subject.post();
    subject.apply(&label(&post, "m", 3, 2)).await;
    let newer = label(&post, "m", 4, 3);
    assert!(newer.modalities.text.is_none() && newer.modalities.audio.is_none());
    subject.apply(&newer).await;
    assert_eq!(subject.read(&post, "m").await, Some((&newer).into()));
}

async fn models_hold_labels_of_their_own(subject: Subject) {
    let post = subject.post();
    assert_eq!(subject.apply(&label(&post, "new@2", 5, 5)).await, Applied::Written);
    assert_eq!(subject.apply(&label(&post, "old:1", 4, 4)).await, Applied::Written, "not stale: another model");
    assert_eq!(subject.read(&post, "new@2").await.unwrap().revision, 5);
    assert_eq!(subject.read(&post, "old:1").await.unwrap().revision, 4);
}

async fn erasure_deletes_every_model_and_refuses_every_later_write(subject: Subject) {
    let post = subject.post();
    subject.apply(&label(&post, "a", 5, 5)).await;
    subject.apply(&label(&post, "b", 5, 5)).await;
    assert!(!subject.store.is_erased(&post).await.unwrap());
    // A tombstone older than what is stored erases all the same: erasure is terminal whatever the order.
    assert_eq!(subject.store.erase(&post, 1, HOUR).await, Ok(2));
    assert!(subject.store.is_erased(&post).await.unwrap());
    for model in ["a", "b", "never-seen"] {
        assert_eq!(subject.read(&post, model).await, None);
        assert_eq!(subject.apply(&label(&post, model, u64::MAX, i64::MAX)).await, Applied::Erased);
        assert_eq!(subject.read(&post, model).await, None);
    }
    assert_eq!(subject.store.erase(&post, 1, HOUR).await, Ok(0), "once more: nothing left");
    assert!(subject.store.is_erased(&post).await.unwrap());
}

async fn an_unknown_post_can_be_erased_before_it_arrives(subject: Subject) {
    let post = subject.post();
    assert_eq!(subject.store.erase(&post, 0, HOUR).await, Ok(0));
    assert_eq!(subject.apply(&label(&post, "m", 7, 7)).await, Applied::Erased);
}

async fn a_post_is_looked_up_by_the_model_that_labelled_it_last_or_by_one_that_is_named(subject: Subject) {
    let post = subject.post();
    let look = async |model: Option<&str>| {
        let mut found = subject.store.look_up(std::slice::from_ref(&post), model).await.unwrap();
        found.pop().unwrap().unwrap()
    };
    assert_eq!(look(None).await, Found::Unknown { models: Vec::new() });
    let older = LabelWrite { labelled_at_ms: 10, ..label(&post, "a", 3, 0) };
    let newer = LabelWrite { labelled_at_ms: 11, ..label(&post, "b", 2, 1) };
    for write in [&newer, &older] {
        subject.apply(write).await;
    }
    let of =
        |write: &LabelWrite| (write.model_version.clone(), write.revision, write.source, write.sentiment_json.clone());
    for (asked, expected) in [(None, &newer), (Some("a"), &older), (Some("b"), &newer)] {
        let Found::Label(found) = look(asked).await else { panic!("{asked:?} is not found") };
        assert_eq!((found.model_version, found.revision, found.source, found.sentiment_json), of(expected));
        let mut models = found.models;
        models.sort_unstable();
        assert_eq!(models, ["a", "b"]);
    }
    for none in ["c", "erased", "models", "}", ""] {
        assert!(matches!(look(Some(none)).await, Found::Unknown { .. }), "{none}");
    }
    subject.store.erase(&post, 4, HOUR).await.unwrap();
    assert_eq!(look(None).await, Found::Erased);
    assert_eq!(look(Some("a")).await, Found::Erased);
}

async fn many_posts_are_looked_up_at_once_in_their_order(subject: Subject) {
    let posts: Vec<String> = (0..20).map(|_| subject.post()).collect();
    for post in posts.iter().step_by(2) {
        subject.apply(&label(post, "m", 1, 0)).await;
    }
    subject.store.erase(&posts[4], 2, HOUR).await.unwrap();
    let found = subject.store.look_up(&posts, None).await.unwrap();
    for (index, found) in found.into_iter().enumerate() {
        match found.unwrap() {
            Found::Erased => assert_eq!(index, 4),
            Found::Label(found) => {
                assert!(index % 2 == 0);
                assert_eq!(found.sentiment_json, label(&posts[index], "m", 1, 0).sentiment_json);
            }
            Found::Unknown { .. } => assert!(index % 2 == 1),
        }
    }
    assert_eq!(subject.store.look_up(&[], None).await.unwrap(), []);
}

async fn the_standing_of_a_post_is_told_without_its_content(subject: Subject) {
    let post = subject.post();
    let standing = async |model: &str| subject.store.standing(&post, model).await.unwrap();
    assert_eq!(standing("m").await, Standing::default());
    let newest = label(&post, "m", u64::MAX, i64::MAX);
    subject.apply(&newest).await;
    assert_eq!(standing("m").await, Standing { erased: false, newest: Some((newest.revision, newest.source)) });
    assert_eq!(standing("other").await, Standing::default());
    subject.store.erase(&post, 1, HOUR).await.unwrap();
    assert_eq!(standing("m").await, Standing { erased: true, newest: None });
}

async fn erasure_lapses_with_its_ttl_and_not_before(subject: Subject) {
    let post = subject.post();
    subject.store.erase(&post, 0, Duration::from_secs(600)).await.unwrap();
    (subject.wait)(Duration::from_secs(300)).await;
    assert_eq!(subject.store.erase(&post, 0, Duration::from_secs(600)).await, Ok(0));
    (subject.wait)(Duration::from_secs(400)).await;
    assert!(subject.store.is_erased(&post).await.unwrap(), "the second tombstone started the time anew");
    (subject.wait)(Duration::from_secs(300)).await;
    assert!(!subject.store.is_erased(&post).await.unwrap());
    assert_eq!(subject.apply(&label(&post, "m", 1, 1)).await, Applied::Written);
}

async fn a_label_lapses_and_only_a_write_refreshes_it(subject: Subject) {
    let short = |revision, offset, post: &str| {
        let mut write = label(post, "m", revision, offset);
        write.ttl = Duration::from_secs(600);
        write
    };
    let (refreshed, left) = (subject.post(), subject.post());
    subject.apply(&short(2, 2, &refreshed)).await;
    subject.apply(&short(2, 2, &left)).await;
    (subject.wait)(Duration::from_secs(400)).await;
    assert_eq!(subject.apply(&short(3, 3, &refreshed)).await, Applied::Written);
    assert_eq!(subject.apply(&short(2, 2, &left)).await, Applied::Same);
    assert_eq!(subject.apply(&short(1, 1, &left)).await, Applied::Stale);
    (subject.wait)(Duration::from_secs(300)).await;
    assert!(subject.read(&refreshed, "m").await.is_some());
    assert!(subject.read(&left, "m").await.is_none());
    assert_eq!(subject.apply(&short(1, 1, &left)).await, Applied::Written, "what lapsed decides nothing");
}

async fn an_expired_models_set_never_hides_a_key_from_erasure(subject: Subject) {
    let post = subject.post();
    subject.apply(&label(&post, "long", 1, 1)).await;
    let mut brief = label(&post, "brief", 1, 1);
    brief.ttl = Duration::from_secs(50);
    subject.apply(&brief).await;
    (subject.wait)(Duration::from_secs(150)).await;
    assert_eq!(subject.store.erase(&post, 1, HOUR).await, Ok(1));
    assert_eq!(subject.read(&post, "long").await, None);
}

async fn any_post_id_has_keys_of_its_own(subject: Subject) {
    let ids = ["a", "a}", "{a}", "a}:m", "a:m", " ", "ä\u{1F600}", "line\nbreak", "}", "*", "a\0b", &"x".repeat(256)];
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(subject.apply(&label(id, "m", at as u64, 1)).await, Applied::Written, "{id:?}");
    }
    assert_eq!(subject.store.erase("a", 0, HOUR).await, Ok(1));
    for (at, id) in ids.iter().enumerate().skip(1) {
        assert_eq!(subject.read(id, "m").await.map(|stored| stored.revision), Some(at as u64), "{id:?}");
    }
}

async fn what_cannot_be_a_key_is_refused(subject: Subject) {
    let post = subject.post();
    for model in ["", "erased", "models", "a}:b"] {
        let error = subject.store.apply(&label(&post, model, 1, 1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)) && !error.is_retryable(), "{model}");
    }
    assert!(subject.store.apply(&label(&post, "m", 1, -1)).await.is_err());
}

async fn many_writers_at_once_leave_the_newest(subject: Subject) {
    let post = subject.post();
    // 37 and 101 have no common factor: every revision once, in a shuffled order.
    let writes: Vec<_> = (0..101u64).map(|i| label(&post, "m", i * 37 % 101, i as i64)).collect();
    let applied = join_all(writes.iter().map(|write| subject.apply(write))).await;
    assert!(applied.iter().all(|applied| matches!(applied, Applied::Written | Applied::Stale)));
    let newest = writes.iter().max_by_key(|write| write.revision).unwrap();
    assert_eq!(subject.read(&post, "m").await, Some(newest.into()));
}

/// One thing that may happen to a post.
#[derive(Debug, Clone)]
enum Step {
    Write { post: u8, model: u8, revision: u64, offset: i64 },
    Erase { post: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    // Neighbours above 2^53 among small numbers: equal as doubles, distinct as they should be.
    let revision = prop_oneof![4 => 0..4u64, 1 => (1u64 << 53)..(1 << 53) + 3];
    let offset = prop_oneof![4 => 0..6i64, 1 => (1i64 << 53)..(1 << 53) + 3];
    prop_oneof![
        20 => (0..3u8, 0..2u8, revision, offset)
            .prop_map(|(post, model, revision, offset)| Step::Write { post, model, revision, offset }),
        1 => (0..3u8).prop_map(|post| Step::Erase { post }),
    ]
}

/// What the store must hold after `steps`, in whatever order they came: the greatest (revision, source) of each post
/// and model, nothing of an erased post.
fn expected(steps: &[Step]) -> HashMap<(u8, u8), (u64, i64)> {
    let mut held = HashMap::new();
    for step in steps {
        if let Step::Write { post, model, revision, offset } = *step {
            let best = held.entry((post, model)).or_insert((revision, offset));
            *best = (revision, offset).max(*best);
        }
    }
    for step in steps {
        if let Step::Erase { post: erased } = *step {
            held.retain(|(post, _), _| *post != erased);
        }
    }
    held
}

async fn run(subject: &Subject, steps: &[Step], at_once: usize) -> HashMap<(u8, u8), (u64, i64)> {
    let case = subject.post();
    let id = |post: u8| format!("{case}-{post}");
    for batch in steps.chunks(at_once) {
        join_all(batch.iter().map(|step| async {
            match *step {
                Step::Write { post, model, revision, offset } => {
                    subject.apply(&label(&id(post), &format!("m{model}"), revision, offset)).await;
                }
                Step::Erase { post } => {
                    subject.store.erase(&id(post), 0, HOUR).await.unwrap();
                }
            }
        }))
        .await;
    }
    let mut held = HashMap::new();
    for (post, model) in (0..3u8).flat_map(|post| (0..2u8).map(move |model| (post, model))) {
        if let Some(stored) = subject.read(&id(post), &format!("m{model}")).await {
            let write = label(&id(post), &format!("m{model}"), stored.revision, stored.source.offset);
            assert_eq!(stored, (&write).into(), "no mixture of two writes");
            held.insert((post, model), (stored.revision, stored.source.offset));
        }
    }
    held
}

fn any_interleaving_ends_in_the_same_state(runtime: &tokio::runtime::Runtime, subject: &Subject, cases: u32) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let strategy = (prop::collection::vec(step(), 0..60), 1..24usize, any::<prop::sample::Index>());
    runner
        .run(&strategy, |(steps, at_once, turn)| {
            let expected = expected(&steps);
            prop_assert_eq!(&runtime.block_on(run(subject, &steps, at_once)), &expected);
            // The same steps in another order, each twice: redelivery after a rebalance.
            let mut again = steps.clone();
            again.rotate_left(if steps.is_empty() { 0 } else { turn.index(steps.len()) });
            again.extend(steps.iter().rev().cloned());
            prop_assert_eq!(&runtime.block_on(run(subject, &again, at_once)), &expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_interleaving_ends_in_the_same_state_embedded() {
    any_interleaving_ends_in_the_same_state(&runtime(), &embedded(), 256);
}

#[test]
fn any_interleaving_ends_in_the_same_state_redis() {
    let Some(server) = RealRedis::start(&[]) else { return };
    let runtime = runtime();
    let subject = runtime.block_on(redis(&server));
    any_interleaving_ends_in_the_same_state(&runtime, &subject, 128);
}

#[test]
fn redis_and_its_twin_give_the_same_answers_one_by_one() {
    let Some(server) = RealRedis::start(&[]) else { return };
    let runtime = runtime();
    let (real, twin) = (runtime.block_on(redis(&server)), embedded());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 128, ..ProptestConfig::default() });
    runner
        .run(&prop::collection::vec(step(), 0..40), |steps| {
            let (case, other) = (real.post(), twin.post());
            prop_assert_eq!(&case, &other);
            for step in &steps {
                match *step {
                    Step::Write { post, model, revision, offset } => {
                        let write = label(&format!("{case}-{post}"), &format!("m{model}"), revision, offset);
                        let answers = runtime.block_on(async { (real.apply(&write).await, twin.apply(&write).await) });
                        prop_assert_eq!(answers.0, answers.1, "{:?}", step);
                    }
                    Step::Erase { post } => {
                        let id = format!("{case}-{post}");
                        let answers = runtime.block_on(async {
                            (real.store.erase(&id, 0, HOUR).await, twin.store.erase(&id, 0, HOUR).await)
                        });
                        prop_assert_eq!(answers.0, answers.1, "{:?}", step);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}
