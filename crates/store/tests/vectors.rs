//! Neighbours in vector sets of a real Redis 8, with the exact scan as the judge.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jtav_neighbours::{IndexSettings, NeighbourIndex, Query, VectorKind};
use jtav_schemas::embedding::f16_le_bytes;
use jtav_schemas::redis_key::{vectors_key, vectors_of_key};
use jtav_schemas::{EmbeddingV1, Label, PerModality, Probabilities, Vector, event_id};
use jtav_store::{
    Applied, Indexed, IndexedStore, LabelWrite, RedisStore, RedisVectorIndex, Source, Store, StoreError, VectorIndex,
    VectorIndexSettings,
};
use jtav_testkit::{RealRedis, require_real, require_redis8};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const MODEL: &str = "jtav-modern@1";
const HOUR: Duration = Duration::from_secs(3_600);

fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64)
}

fn label(post_id: &str, revision: u64, offset: i64, u: &[f32]) -> Result<LabelWrite> {
    Ok(LabelWrite {
        post_id: post_id.to_owned(),
        revision,
        source: Source { partition: 0, offset },
        model_version: MODEL.to_owned(),
        event_id: event_id(post_id, revision, MODEL),
        label: Label::Positive,
        certain: true,
        probabilities: Probabilities { negative: 0.1, neutral: 0.1, positive: 0.8 },
        valence: 0.7,
        probability: 0.9,
        lang: Some("en".to_owned()),
        sentiment_json: Bytes::from_static(b"{}"),
        u: f16_le_bytes(u)?.into(),
        modalities: PerModality::default(),
        semantic: None,
        labelled_at_ms: now_ms(),
        ttl: HOUR,
    })
}

/// Store and index of one server.
struct Both {
    store: RedisStore,
    index: RedisVectorIndex,
}

impl Both {
    async fn of(redis: &RealRedis) -> Result<Self> {
        let store = redis.store(0)?;
        let index = RedisVectorIndex::new(store.clone(), VectorIndexSettings::default())?;
        index.check().await?;
        Ok(Self { store, index })
    }

    /// As the publisher does: the label first.
    async fn publish(&self, write: &LabelWrite, event_time_ms: Option<i64>) -> Result<(Applied, Indexed)> {
        Ok((self.store.apply(write).await?, self.index.add(write, event_time_ms).await?))
    }

    async fn ids(&self, query: &Query<'_>) -> Result<Vec<String>> {
        Ok(self.index.search(query).await?.hits.into_iter().map(|hit| hit.post_id).collect())
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Points around centres, as posts are about subjects.
fn clustered(posts: usize, dimensions: usize) -> Vec<Vec<f32>> {
    let mut random = StdRng::seed_from_u64(7);
    let mut vector = |scale: f32| -> Vec<f32> {
        (0..dimensions).map(|_| (0..4).map(|_| random.random_range(-0.5f32..0.5)).sum::<f32>() * scale).collect()
    };
    let centres: Vec<Vec<f32>> = (0..200).map(|_| vector(1.0)).collect();
    let around = |post: usize, noise: Vec<f32>| centres[post % 200].iter().zip(noise).map(|(a, b)| a + b).collect();
    (0..posts).map(|post| around(post, vector(0.4))).collect()
}

#[test]
fn nearly_all_of_the_nearest_ten_are_those_of_the_exact_scan() -> Result<()> {
    const POSTS: usize = 20_000;
    let Some(program) = require_redis8("nearly_all_of_the_nearest_ten_are_those_of_the_exact_scan") else {
        return Ok(());
    };
    let redis = RealRedis::start_program(&program, &[])?;
    let vectors = clustered(POSTS + 200, 100);
    let exact = NeighbourIndex::new(IndexSettings { window_ms: 7 * 24 * 3_600_000, max_bytes: 1 << 30 });
    runtime()?.block_on(async {
        let both = Both::of(&redis).await?;
        let started = std::time::Instant::now();
        let added = futures::stream::iter(vectors[..POSTS].iter().enumerate()).map(|(post, u)| {
            let (both, exact) = (&both, &exact);
            async move {
                let write = label(&format!("post {post}"), 1, post as i64, u)?;
                let event_time_ms = Some(write.labelled_at_ms - (post as i64 % 3) * 24 * 3_600_000);
                assert_eq!(both.publish(&write, event_time_ms).await?, (Applied::Written, Indexed::Written));
                exact.apply(&embedding(&write, event_time_ms, u)?, now_ms())?;
                anyhow::Ok(())
            }
        });
        added.buffer_unordered(64).try_collect::<()>().await?;
        println!("{POSTS} labels and vectors written in {:?}", started.elapsed());
        let (mut shared, mut asked) = (0, 0);
        let started = std::time::Instant::now();
        for vector in &vectors[POSTS..] {
            let query = Query::new(MODEL, VectorKind::U, vector, 10);
            let found = both.index.search(&query).await?;
            assert_eq!((found.searched, found.hits.len()), (POSTS as u64, 10));
            let ids: BTreeSet<String> = found.hits.iter().map(|hit| hit.post_id.clone()).collect();
            let judge = exact.search(&query)?;
            for (is, should) in found.hits.iter().zip(&judge.hits).take(1) {
                assert!((is.similarity - should.similarity).abs() < 0.02, "{is:?} is not {should:?}");
            }
            shared += judge.hits.iter().filter(|hit| ids.contains(&hit.post_id)).count();
            asked += 10;
        }
        let recall = f64::from(shared as u32) / f64::from(asked);
        println!("recall@10 {recall:.4}, {:?} a search", started.elapsed() / 200);
        assert!(recall >= 0.98, "recall@10 is {recall}");
        Ok(())
    })
}

fn embedding(write: &LabelWrite, event_time_ms: Option<i64>, u: &[f32]) -> Result<EmbeddingV1> {
    Ok(EmbeddingV1 {
        event_id: write.event_id.clone(),
        post_id: write.post_id.clone(),
        revision: write.revision,
        fused: Vector::pack(u)?,
        modalities: PerModality::default(),
        semantic: None,
        label: write.label,
        certain: write.certain,
        lang: write.lang.clone(),
        model_version: MODEL.to_owned(),
        event_time_ms,
        labelled_at_ms: write.labelled_at_ms,
    })
}

#[test]
fn an_erased_post_is_in_no_answer_and_comes_back_in_none() -> Result<()> {
    let Some(program) = require_redis8("an_erased_post_is_in_no_answer_and_comes_back_in_none") else { return Ok(()) };
    let redis = RealRedis::start_program(&program, &[])?;
    runtime()?.block_on(async {
        let both = Both::of(&redis).await?;
        for post in 0..100 {
            let write = label(&format!("post {post}"), 1, post, &[1.0, post as f32 / 1_000.0])?;
            both.publish(&write, None).await?;
        }
        let all = Query::new(MODEL, VectorKind::U, &[1.0, 0.0], 1_000);
        assert_eq!(both.ids(&all).await?.len(), 100);
        for post in (0..100).filter(|post| post % 2 == 0) {
            let id = format!("post {post}");
            both.store.erase(&id, 9, HOUR).await?;
            assert_eq!(both.index.erase(&id).await?, 1);
            assert_eq!(both.index.erase(&id).await?, 0);
            // A late writer that had its label accepted before the erasure.
            let late = label(&id, 1, post, &[1.0, 0.0])?;
            assert_eq!(both.index.add(&late, None).await?, Indexed::Erased);
        }
        let left = both.ids(&all).await?;
        assert_eq!(left.len(), 50);
        assert!(left.iter().all(|id| !id.ends_with(['0', '2', '4', '6', '8'])), "{left:?}");
        // Nothing in the server names an erased post but its marker.
        let keys = redis.command(&["KEYS", "*{post 42}*"])?;
        assert_eq!(keys, "jtav:{post 42}:erased");
        Ok(())
    })
}

#[test]
fn vectors_of_an_older_record_are_ignored_and_those_of_a_newer_one_take_their_place() -> Result<()> {
    let name = "vectors_of_an_older_record_are_ignored_and_those_of_a_newer_one_take_their_place";
    let Some(program) = require_redis8(name) else { return Ok(()) };
    let redis = RealRedis::start_program(&program, &[])?;
    runtime()?.block_on(async {
        let both = Both::of(&redis).await?;
        let revision = |revision, offset, u: &[f32]| label("a", revision, offset, u);
        let day_before = Some(now_ms() - 24 * 3_600_000);
        let first =
            LabelWrite { semantic: Some(f16_le_bytes(&[1.0, 0.0, 0.0])?.into()), ..revision(5, 1, &[1.0, 0.0])? };
        assert_eq!(both.publish(&first, day_before).await?, (Applied::Written, Indexed::Written));
        assert_eq!(both.publish(&first, day_before).await?, (Applied::Same, Indexed::Same));
        let older = revision(4, 2, &[0.0, 1.0])?;
        assert_eq!(both.publish(&older, None).await?, (Applied::Stale, Indexed::Stale));
        let of_u = Query::new(MODEL, VectorKind::U, &[1.0, 0.0], 10);
        let of_semantic = Query::new(MODEL, VectorKind::Semantic, &[1.0, 0.0, 0.0], 10);
        let found = both.index.search(&of_u).await?;
        assert_eq!((found.hits.len(), found.hits[0].revision), (1, 5));
        assert!(found.hits[0].similarity > 0.99);
        assert_eq!((found.hits[0].event_time_ms, found.hits[0].lang.as_deref()), (day_before, Some("en")));
        // The newer record has no semantic vector, and another hour.
        let newer = revision(6, 3, &[0.0, 1.0])?;
        assert_eq!(both.publish(&newer, None).await?, (Applied::Written, Indexed::Written));
        let found = both.index.search(&of_u).await?;
        assert_eq!((found.hits.len(), found.hits[0].revision), (1, 6));
        assert!(found.hits[0].similarity.abs() < 0.05);
        assert_eq!(both.ids(&of_semantic).await?, Vec::<String>::new());
        // The writer of the first one comes late.
        assert_eq!(both.index.add(&first, day_before).await?, Indexed::Stale);
        let too_old = Some(now_ms() - 9 * 24 * 3_600_000);
        assert_eq!(both.publish(&label("b", 1, 4, &[1.0, 0.0])?, too_old).await?.1, Indexed::TooOld);
        let longer = both.index.search(&Query::new(MODEL, VectorKind::U, &[1.0, 0.0, 0.0], 10)).await;
        assert!(matches!(longer, Err(StoreError::Invalid(_))), "{longer:?}");
        Ok(())
    })
}

#[test]
fn a_redelivery_that_brings_another_kind_leaves_the_vectors_that_were_there() -> Result<()> {
    let Some(program) = require_redis8("a_redelivery_that_brings_another_kind_leaves_the_vectors_that_were_there")
    else {
        return Ok(());
    };
    let redis = RealRedis::start_program(&program, &[])?;
    runtime()?.block_on(async {
        let both = Both::of(&redis).await?;
        let first = label("a", 1, 1, &[1.0, 0.0])?;
        assert_eq!(both.publish(&first, None).await?, (Applied::Written, Indexed::Written));
        let mut again = first.clone();
        again.modalities.text = Some(again.u.clone());
        assert_eq!(both.publish(&again, None).await?, (Applied::Same, Indexed::Written));
        for kind in [VectorKind::U, VectorKind::Text] {
            assert_eq!(both.ids(&Query::new(MODEL, kind, &[1.0, 0.0], 5)).await?, ["a"], "{kind:?}");
        }
        // Left out, and brought once more.
        let of_text = Query::new(MODEL, VectorKind::Text, &[1.0, 0.0], 5);
        both.publish(&LabelWrite { semantic: Some(first.u.clone()), ..first.clone() }, None).await?;
        assert_eq!(both.ids(&of_text).await?, Vec::<String>::new());
        both.publish(&again, None).await?;
        assert_eq!(both.ids(&of_text).await?, ["a"]);
        // An erasure finds what the server had lost the list of.
        redis.command(&["DEL", &vectors_of_key("a")])?;
        both.publish(&again, None).await?;
        assert_eq!(both.index.erase("a").await?, 2);
        assert_eq!(both.ids(&of_text).await?, Vec::<String>::new());
        Ok(())
    })
}

#[test]
fn a_store_with_an_index_writes_and_erases_both() -> Result<()> {
    let Some(program) = require_redis8("a_store_with_an_index_writes_and_erases_both") else { return Ok(()) };
    let redis = RealRedis::start_program(&program, &[])?;
    runtime()?.block_on(async {
        let Both { store, index } = Both::of(&redis).await?;
        let index = Arc::new(index);
        let indexed = IndexedStore::new(store, Arc::clone(&index));
        let query = Query::new(MODEL, VectorKind::U, &[1.0, 0.0], 5);
        assert_eq!(indexed.apply(&label("a", 1, 1, &[1.0, 0.0])?).await?, Applied::Written);
        assert_eq!(index.search(&query).await?.hits.len(), 1);
        indexed.erase("a", 2, Duration::from_secs(60)).await?;
        assert!(index.search(&query).await?.hits.is_empty());
        assert_eq!(indexed.apply(&label("a", 3, 3, &[1.0, 0.0])?).await?, Applied::Erased);
        assert!(index.search(&query).await?.hits.is_empty());
        let keeper = indexed.erasure_keeper().expect("a keeper");
        keeper.restore_erasure("a", 2, Duration::from_secs(60)).await?;
        assert!(index.search(&query).await?.hits.is_empty());
        Ok(())
    })
}

#[test]
fn filters_leave_out_what_they_say_and_every_vector_set_lapses() -> Result<()> {
    let name = "filters_leave_out_what_they_say_and_every_vector_set_lapses";
    let Some(program) = require_redis8(name) else { return Ok(()) };
    let redis = RealRedis::start_program(&program, &[])?;
    runtime()?.block_on(async {
        let both = Both::of(&redis).await?;
        let odd = "\"} and .live == 1 \\ \0 {x}";
        for (offset, (post, label_is, certain, lang)) in [
            (odd, Label::Positive, true, Some("en")),
            ("b", Label::Negative, true, Some("de")),
            ("c", Label::Positive, false, None),
        ]
        .into_iter()
        .enumerate()
        {
            let write = LabelWrite {
                label: label_is,
                certain,
                lang: lang.map(str::to_owned),
                ..label(post, 1, offset as i64, &[1.0, offset as f32 / 10.0])?
            };
            let event_time_ms = now_ms() - offset as i64 * 24 * 3_600_000;
            assert_eq!(both.publish(&write, Some(event_time_ms)).await?.1, Indexed::Written);
        }
        let all = Query::new(MODEL, VectorKind::U, &[1.0, 0.0], 9);
        assert_eq!(both.ids(&all).await?, [odd, "b", "c"]);
        assert_eq!(both.ids(&Query { label: Some(Label::Positive), ..all }).await?, [odd, "c"]);
        assert_eq!(both.ids(&Query { certain: Some(false), ..all }).await?, ["c"]);
        assert_eq!(both.ids(&Query { lang: Some("de"), ..all }).await?, ["b"]);
        assert_eq!(both.ids(&Query { lang: Some("de\" or .live == \"1"), ..all }).await?, Vec::<String>::new());
        let since_ms = Some(now_ms() - 30 * 3_600_000);
        assert_eq!(both.ids(&Query { since_ms, ..all }).await?, [odd, "b"]);
        assert_eq!(both.ids(&Query { exclude_post: Some(odd), k: 1, ..all }).await?, ["b"]);
        assert_eq!(both.ids(&Query { model: "other@1", ..all }).await?, Vec::<String>::new());
        let keys = redis.command(&["KEYS", "jtav-vectors*"])?;
        assert_eq!(keys.lines().filter(|key| key.starts_with("jtav-vectors:")).count(), 3, "{keys}");
        let six_hours_ms = 6 * 3_600_000;
        let bucket = now_ms().div_euclid(six_hours_ms) * six_hours_ms;
        for key in [vectors_key(MODEL, "u", bucket), vectors_of_key("b")] {
            let left: i64 = redis.command(&["PTTL", &key])?.parse()?;
            assert!((5 * 24 * 3_600_000..=8 * 24 * 3_600_000).contains(&left), "{key}: {left} ms");
        }
        Ok(())
    })
}

#[test]
fn a_post_that_is_edited_without_end_does_not_fill_the_graph() -> Result<()> {
    let Some(program) = require_redis8("a_post_that_is_edited_without_end_does_not_fill_the_graph") else {
        return Ok(());
    };
    let redis = RealRedis::start_program(&program, &[])?;
    runtime()?.block_on(async {
        let both = Both::of(&redis).await?;
        let mut outcomes = Vec::new();
        for edit in 0..100i64 {
            let write = label("a", edit as u64, edit, &[1.0, edit as f32 + 1.0])?;
            outcomes.push(both.publish(&write, None).await?.1);
        }
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Indexed::Written).count(), 64);
        assert_eq!(outcomes.last(), Some(&Indexed::TooManyEdits));
        let found = both.index.search(&Query::new(MODEL, VectorKind::U, &[1.0, 1.0], 9)).await?;
        assert_eq!((found.hits.len(), found.searched), (0, 64));
        Ok(())
    })
}

#[test]
fn a_server_that_cannot_do_it_is_refused_by_name() -> Result<()> {
    let name = "a_server_that_cannot_do_it_is_refused_by_name";
    let (Some(program), true) = (require_redis8(name), require_real(name)) else { return Ok(()) };
    let cluster = RealRedis::start_program(&program, &["--cluster-enabled", "yes"])?;
    let older = RealRedis::start()?;
    runtime()?.block_on(async {
        for (redis, code) in [(&cluster, "cluster"), (&older, "no_vector_sets")] {
            let index = RedisVectorIndex::new(redis.store(0)?, VectorIndexSettings::default())?;
            let error = index.check().await.expect_err("refused");
            assert_eq!((error.code(), error.is_systemic()), (code, true), "{error}");
        }
        Ok(())
    })
}
