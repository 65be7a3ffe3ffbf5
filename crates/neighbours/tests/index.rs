//! Revisions, erasures, bounds and what is refused.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jtav_neighbours::{
    Applied, IndexError, IndexSettings, MAX_DIMENSIONS, MAX_K, MAX_MODELS, NeighbourIndex, Query, VectorKind,
};
use jtav_schemas::{EmbeddingV1, Label, Vector, VectorError};
use support::{HOUR_MS, MODEL, NOW_MS, Noise, record, roomy};

fn ids(index: &NeighbourIndex, asked: &[f32]) -> Vec<String> {
    let found = index.search(&Query::new(MODEL, VectorKind::U, asked, 100)).unwrap();
    found.hits.into_iter().map(|hit| hit.post_id).collect()
}

fn apply(index: &NeighbourIndex, record: &EmbeddingV1) -> Applied {
    index.apply(record, NOW_MS).unwrap()
}

#[test]
fn a_newer_or_equal_revision_takes_the_place_of_the_one_that_is_there_and_an_older_one_changes_nothing() {
    let index = roomy();
    let revision = |revision, u: &[f32]| EmbeddingV1 { revision, ..record("a", u) };
    assert_eq!(apply(&index, &revision(5, &[1.0, 0.0])), Applied::Added);
    assert_eq!(apply(&index, &revision(4, &[0.0, 1.0])), Applied::Stale);
    assert_eq!(index.vector_of("a", MODEL, VectorKind::U).unwrap(), [1.0, 0.0]);
    assert_eq!(apply(&index, &revision(5, &[0.0, 2.0])), Applied::Replaced);
    assert_eq!(index.vector_of("a", MODEL, VectorKind::U).unwrap(), [0.0, 2.0]);
    let elsewhere = EmbeddingV1 { event_time_ms: Some(NOW_MS - 5 * HOUR_MS), ..revision(6, &[3.0, 0.0]) };
    assert_eq!(apply(&index, &elsewhere), Applied::Replaced);
    let found = index.search(&Query::new(MODEL, VectorKind::U, &[1.0, 0.0], 9)).unwrap();
    assert_eq!((found.hits.len(), found.searched), (1, 1));
    assert_eq!((found.hits[0].revision, found.hits[0].similarity), (6, 1.0));
    assert_eq!(found.reaches_back_to_ms, Some((NOW_MS - 5 * HOUR_MS).div_euclid(HOUR_MS) * HOUR_MS));
}

#[test]
fn an_erased_post_is_in_no_answer_of_any_model() {
    let index = roomy();
    for model in [MODEL, "other@1"] {
        apply(&index, &EmbeddingV1 { model_version: model.to_owned(), ..record("a", &[1.0, 0.0]) });
        apply(&index, &EmbeddingV1 { model_version: model.to_owned(), ..record("b", &[1.0, 0.1]) });
    }
    assert!(index.erase("a"));
    assert!(!index.erase("a"));
    assert_eq!(ids(&index, &[1.0, 0.0]), ["b"]);
    for model in [MODEL, "other@1"] {
        assert!(!index.contains("a", model));
        assert_eq!(index.vector_of("a", model, VectorKind::U), None);
    }
}

#[test]
fn vectors_of_two_models_are_never_compared() {
    let index = roomy();
    apply(&index, &record("a", &[1.0, 0.0]));
    apply(
        &index,
        &EmbeddingV1 { model_version: "other@1".into(), labelled_at_ms: NOW_MS - 1, ..record("b", &[1.0, 0.0, 0.0]) },
    );
    assert_eq!(ids(&index, &[1.0, 0.0]), ["a"]);
    let of_other = index.search(&Query::new("other@1", VectorKind::U, &[1.0, 0.0], 9));
    assert_eq!(of_other, Err(IndexError::Dimensions { kind: VectorKind::U, dimensions: 2, expected: 3 }));
    assert!(index.search(&Query::new("unknown@1", VectorKind::U, &[1.0], 9)).unwrap().hits.is_empty());
    assert_eq!(index.newest_model().as_deref(), Some(MODEL));
}

#[test]
fn a_post_leaves_with_its_hour() {
    let index = NeighbourIndex::new(IndexSettings { window_ms: 2 * HOUR_MS, max_bytes: 1 << 20 });
    let at = |post: &str, hours_ago: i64| EmbeddingV1 {
        event_time_ms: Some(NOW_MS - hours_ago * HOUR_MS),
        ..record(post, &[1.0])
    };
    assert_eq!(apply(&index, &at("too old", 3)), Applied::TooOld);
    assert_eq!(apply(&index, &at("old", 2)), Applied::Added);
    assert_eq!(apply(&index, &at("future", -100)), Applied::Added);
    assert_eq!(ids(&index, &[1.0]), ["future", "old"]);
    index.expire(NOW_MS + HOUR_MS);
    assert_eq!(ids(&index, &[1.0]), ["future"]);
    // A new revision that is too old itself takes the old one along.
    assert_eq!(apply(&index, &EmbeddingV1 { revision: 9, ..at("future", 50) }), Applied::TooOld);
    assert_eq!(ids(&index, &[1.0]), Vec::<String>::new());
    assert_eq!((index.bytes(), index.stats()), (0, vec![]));
}

#[test]
fn the_oldest_hour_gives_way_when_there_is_no_room_and_the_index_says_how_far_back_it_reaches() {
    let max_bytes = 400_000;
    let index = NeighbourIndex::new(IndexSettings { window_ms: 100 * HOUR_MS, max_bytes });
    let mut noise = Noise(1);
    for post in 0..4_000i64 {
        let time_ms = NOW_MS - (4_000 - post) * HOUR_MS / 100;
        index
            .apply(
                &EmbeddingV1 { event_time_ms: Some(time_ms), ..record(&format!("post {post}"), &noise.vector(50)) },
                NOW_MS,
            )
            .unwrap();
        assert!(index.bytes() <= max_bytes);
    }
    let found = index.search(&Query::new(MODEL, VectorKind::U, &noise.vector(50), 1_000)).unwrap();
    let reaches_back_to_ms = found.reaches_back_to_ms.unwrap();
    assert_eq!(reaches_back_to_ms % HOUR_MS, 0);
    assert!(found.searched > 800, "{}", found.searched);
    // Everything since then is there.
    let since = (0..4_000i64).filter(|post| NOW_MS - (4_000 - post) * HOUR_MS / 100 >= reaches_back_to_ms).count();
    assert_eq!(found.searched, since as u64);
    let late = EmbeddingV1 { event_time_ms: Some(reaches_back_to_ms - 1), ..record("late", &noise.vector(50)) };
    assert_eq!(apply(&index, &late), Applied::TooOld);
}

#[test]
fn one_hour_that_does_not_fit_loses_its_oldest_segments() {
    let max_bytes = 3_000_000;
    let index = NeighbourIndex::new(IndexSettings { window_ms: HOUR_MS, max_bytes });
    let mut noise = Noise(2);
    for post in 0..60_000i64 {
        let time_ms = NOW_MS - 60_000 + post;
        index
            .apply(
                &EmbeddingV1 { event_time_ms: Some(time_ms), ..record(&format!("{post}"), &noise.vector(20)) },
                NOW_MS,
            )
            .unwrap();
        assert!(index.bytes() <= max_bytes);
    }
    let found = index.search(&Query::new(MODEL, VectorKind::U, &noise.vector(20), 1)).unwrap();
    let whole_from = found.reaches_back_to_ms.unwrap() - NOW_MS + 60_000;
    assert!(whole_from > 0 && whole_from + found.searched as i64 == 60_000, "{whole_from}, {}", found.searched);
    assert!(index.contains("59999", MODEL) && !index.contains("0", MODEL));
}

#[test]
fn what_cannot_be_compared_is_an_error_and_changes_nothing() {
    let index = roomy();
    apply(&index, &record("a", &[1.0, 0.0]));
    let with = |vector| EmbeddingV1 { fused: vector, revision: 9, ..record("a", &[1.0]) };
    let raw = |dimensions, bytes: &[u8]| Vector { dimensions, l2_norm: 1.0, f16_le: bytes.to_vec().into() };
    let long = vec![0; MAX_DIMENSIONS * 6];
    for bad in [
        with(raw(2, &[0; 4])),
        with(raw(2, &[0, 0x3c, 0])),
        with(raw(3, &[0, 0x3c, 0, 0x3c])),
        with(raw(2, &[0, 0x7c, 0, 0x7c])),
        with(raw(0, &[])),
        with(raw(u32::MAX, &[0, 0x3c, 0, 0x3c])),
        with(raw(2, &long)),
        with(Vector::pack(&[1.0, 0.0, 0.0]).unwrap()),
        EmbeddingV1 { post_id: String::new(), ..record("a", &[1.0, 0.0]) },
        EmbeddingV1 { post_id: "é".repeat(513), ..record("a", &[1.0, 0.0]) },
        EmbeddingV1 { model_version: "m".repeat(257), ..record("a", &[1.0, 0.0]) },
    ] {
        let error = index.apply(&bad, NOW_MS).unwrap_err();
        assert!(!error.is_retryable() && !error.to_string().is_empty());
    }
    for (asked, source) in [
        (vec![0.0, 0.0], VectorError::ZeroNorm),
        (vec![], VectorError::ZeroNorm),
        (vec![1.0, f32::NAN], VectorError::NotFinite { index: 1 }),
    ] {
        let answer = index.search(&Query::new(MODEL, VectorKind::U, &asked, 1));
        assert_eq!(answer, Err(IndexError::Vector { kind: VectorKind::U, source }));
    }
    assert_eq!(index.vector_of("a", MODEL, VectorKind::U).unwrap(), [1.0, 0.0]);
    assert_eq!(ids(&index, &[f32::MAX, f32::MIN_POSITIVE]), ["a"]);
}

#[test]
fn ids_and_times_of_strangers_do_no_harm() {
    let index = roomy();
    let odd = ["\0", "{", "a\u{202e}b", "", &"\u{10ffff}".repeat(256), "a", "ab"];
    let mut taken = 0;
    for (id, time_ms) in odd.iter().zip([i64::MIN, i64::MAX, -1, 0, NOW_MS, NOW_MS, NOW_MS]) {
        let embedding = EmbeddingV1 {
            event_time_ms: Some(time_ms),
            labelled_at_ms: i64::MAX,
            lang: Some("x".repeat(9)),
            ..record(id, &[1.0])
        };
        taken += usize::from(index.apply(&embedding, NOW_MS) == Ok(Applied::Added));
    }
    assert_eq!((taken, ids(&index, &[1.0]).len()), (4, 4));
    assert_eq!(index.stats()[0].newest_ms, NOW_MS);
    index.expire(i64::MAX);
    index.expire(i64::MIN);
    assert_eq!(index.bytes(), 0);
    assert!(index.apply(&record("a", &[1.0]), i64::MIN).is_ok());
}

#[test]
fn models_and_neighbours_are_bounded() {
    let index = roomy();
    for model in 0..MAX_MODELS {
        apply(&index, &EmbeddingV1 { model_version: format!("m@{model}"), ..record("a", &[1.0]) });
    }
    let one_more = index.apply(&EmbeddingV1 { model_version: "more@1".into(), ..record("a", &[1.0]) }, NOW_MS);
    assert!(one_more.unwrap_err().is_retryable());
    for post in 0..2_000 {
        apply(&index, &EmbeddingV1 { model_version: "m@0".into(), ..record(&format!("{post}"), &[1.0]) });
    }
    let found = index.search(&Query::new("m@0", VectorKind::U, &[1.0], usize::MAX)).unwrap();
    assert_eq!((found.hits.len(), found.searched), (MAX_K, 2_001));
}

#[test]
fn the_statistics_are_those_of_the_vectors_at_hand() {
    let index = roomy();
    let old = |post: &str, u: &[f32]| EmbeddingV1 { event_time_ms: Some(NOW_MS - 30 * HOUR_MS), ..record(post, u) };
    apply(&index, &old("a", &[3.0, 4.0]));
    apply(&index, &old("gone", &[100.0, -7.0]));
    apply(&index, &old("b", &[0.0, 1.0]));
    let before = index.stats()[0].kinds[0];
    assert_eq!((before.kind, before.count, before.dimensions, before.drift), (VectorKind::U, 3, 2, None));
    apply(&index, &record("c", &[2.0, 0.0]));
    index.erase("gone");
    let stats = index.stats();
    assert_eq!((stats.len(), stats[0].model.as_str(), stats[0].posts), (1, MODEL, 3));
    let u = stats[0].kinds[0];
    let near = |is: f64, should: f64| assert!((is - should).abs() < 1e-3, "{is} is not {should}");
    assert_eq!((stats[0].kinds.len(), u.count, u.dimensions), (1, 3, 2));
    near(u.mean_norm, 8.0 / 3.0);
    near(u.std_norm, (26.0 / 9.0f64).sqrt());
    // (0.6, 0.8) + (0, 1) against (1, 0).
    near(u.drift.unwrap(), 1.0 - 0.6 / (0.36f64 + 3.24).sqrt());
}

#[test]
fn filters_leave_out_what_they_say() {
    let index = roomy();
    for (post, label, certain, lang) in [
        ("a", Label::Positive, true, Some("en")),
        ("b", Label::Negative, true, Some("de")),
        ("c", Label::Positive, false, None),
    ] {
        apply(&index, &EmbeddingV1 { label, certain, lang: lang.map(str::to_owned), ..record(post, &[1.0]) });
    }
    let all = Query::new(MODEL, VectorKind::U, &[1.0], 9);
    let of = |query: Query<'_>| -> Vec<String> {
        index.search(&query).unwrap().hits.into_iter().map(|hit| hit.post_id).collect()
    };
    assert_eq!(of(all), ["a", "b", "c"]);
    assert_eq!(of(Query { label: Some(Label::Positive), ..all }), ["a", "c"]);
    assert_eq!(of(Query { certain: Some(false), ..all }), ["c"]);
    assert_eq!(of(Query { lang: Some("de"), ..all }), ["b"]);
    assert_eq!(of(Query { lang: Some("D'); --"), ..all }), Vec::<String>::new());
    assert_eq!(of(Query { since_ms: Some(NOW_MS + 1), ..all }), Vec::<String>::new());
    assert_eq!(of(Query { exclude_post: Some("a"), k: 1, ..all }), ["b"]);
}

/// An erasure that has returned is in no answer of a search that begins later, whatever is written meanwhile.
#[test]
fn searches_beside_a_writer_never_show_what_was_erased_before_they_began() {
    const POSTS: usize = 12_000;
    let index = roomy();
    let mut noise = Noise(3);
    for post in 0..POSTS {
        apply(&index, &record(&format!("{post}"), &noise.vector(8)));
    }
    let (erased, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (index, erased, is_over) = (&index, &erased, &is_over);
            scope.spawn(move || {
                let mut noise = Noise(10 + reader);
                while !is_over.load(Ordering::Acquire) {
                    let before = erased.load(Ordering::Acquire);
                    let found = index.search(&Query::new(MODEL, VectorKind::U, &noise.vector(8), 100)).unwrap();
                    for hit in found.hits {
                        let post: usize = hit.post_id.parse().unwrap();
                        assert!(post >= before, "post {post} was erased before, as were {before}");
                        assert!(post.is_multiple_of(3) || hit.revision == 1);
                    }
                    if before < POSTS {
                        assert!(index.contains(&format!("{}", POSTS - 1), MODEL));
                    }
                }
            });
        }
        let mut noise = Noise(99);
        for post in 0..POSTS - 1 {
            index.erase(&format!("{post}"));
            erased.store(post + 1, Ordering::Release);
            if post % 3 == 0 {
                let moved = (post + POSTS) / 2 / 3 * 3;
                let time_ms = Some(NOW_MS - (post as i64 % 7) * HOUR_MS);
                if moved > post {
                    apply(
                        &index,
                        &EmbeddingV1 {
                            revision: 2 + post as u64,
                            event_time_ms: time_ms,
                            ..record(&format!("{moved}"), &noise.vector(8))
                        },
                    );
                }
            }
        }
        is_over.store(true, Ordering::Release);
    });
    assert_eq!(ids(&index, &noise.vector(8)).len(), 1);
}
