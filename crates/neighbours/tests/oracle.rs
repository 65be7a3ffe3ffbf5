//! The index against a list that is looked through in f64.

mod support;

use std::collections::BTreeMap;

use jtav_neighbours::{Applied, Found, NeighbourIndex, Query, VectorKind};
use jtav_schemas::{EmbeddingV1, Label, Modality, Vector};
use proptest::prelude::*;
use support::{HOUR_MS, NOW_MS, Noise, cosine, record, roomy};

const MODELS: [&str; 2] = ["old@1", "new@2"];
const LANGS: [Option<&str>; 3] = [None, Some("en"), Some("zxx")];
/// Of a unit vector in f16: 2⁻¹¹ of each component, that of the vector as it was sent likewise.
const ROUNDING: f64 = 1.5e-3;

/// What a step is made of.
#[derive(Debug, Clone)]
struct Step {
    what: u8,
    post: u8,
    revision: u64,
    model: usize,
    seed: u64,
    hours_ago: i64,
    bits: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..10, 0u8..40, 0u64..4, 0usize..2, 1u64..1_000, -2i64..200, any::<u8>());
    let made = step.prop_map(|(what, post, revision, model, seed, hours_ago, bits)| Step {
        what,
        post,
        revision,
        model,
        seed,
        hours_ago,
        bits,
    });
    prop::collection::vec(made, 1..160)
}

fn made(step: &Step) -> EmbeddingV1 {
    let mut noise = Noise(step.seed);
    let mut embedding = record(&format!("post {}", step.post), &noise.vector(19));
    let mut optional =
        |bit: u8, dimensions| (step.bits & bit != 0).then(|| Vector::pack(&noise.vector(dimensions)).unwrap());
    embedding.semantic = optional(1, 40);
    *embedding.modalities.get_mut(Modality::Text) = optional(2, 8);
    *embedding.modalities.get_mut(Modality::Image) = optional(4, 5);
    embedding.revision = step.revision;
    embedding.model_version = MODELS[step.model].to_owned();
    embedding.label = Label::ALL[usize::from(step.bits) % 3];
    embedding.certain = step.bits & 8 != 0;
    embedding.lang = LANGS[usize::from(step.bits) / 3 % 3].map(str::to_owned);
    let time_ms = NOW_MS - step.hours_ago * HOUR_MS;
    embedding.event_time_ms = (step.bits & 16 != 0).then_some(time_ms);
    embedding.labelled_at_ms = time_ms;
    embedding
}

fn time_ms(record: &EmbeddingV1) -> i64 {
    record.event_time_ms.unwrap_or(record.labelled_at_ms).min(NOW_MS)
}

fn vector(record: &EmbeddingV1, kind: VectorKind) -> Option<Vec<f32>> {
    let vector = match kind {
        VectorKind::Semantic => record.semantic.as_ref(),
        VectorKind::U => Some(&record.fused),
        VectorKind::Text => record.modalities.get(Modality::Text).as_ref(),
        VectorKind::Audio => record.modalities.get(Modality::Audio).as_ref(),
        VectorKind::Image => record.modalities.get(Modality::Image).as_ref(),
    };
    vector.map(|vector| vector.unpack().unwrap())
}

type Held = BTreeMap<(String, String), EmbeddingV1>;

fn apply_to_both(index: &NeighbourIndex, held: &mut Held, embedding: EmbeddingV1) {
    let key = (embedding.model_version.clone(), embedding.post_id.clone());
    let was = held.get(&key).map(|held| held.revision);
    let first_hour = (NOW_MS - 7 * 24 * HOUR_MS).div_euclid(HOUR_MS);
    let expected = match was {
        Some(revision) if revision > embedding.revision => Applied::Stale,
        _ if time_ms(&embedding).div_euclid(HOUR_MS) < first_hour => Applied::TooOld,
        Some(_) => Applied::Replaced,
        None => Applied::Added,
    };
    assert_eq!(index.apply(&embedding, NOW_MS), Ok(expected));
    match expected {
        Applied::Stale => {}
        Applied::TooOld => drop(held.remove(&key)),
        Applied::Added | Applied::Replaced => drop(held.insert(key, embedding)),
    }
}

fn compare(held: &Held, query: &Query<'_>, found: &Found) {
    let mut expected: Vec<(f64, &EmbeddingV1)> = Vec::new();
    let mut compared = 0;
    for ((model, post), record) in held {
        let Some(vector) = vector(record, query.kind) else { continue };
        let passes = model == query.model
            && query.label.is_none_or(|label| label == record.label)
            && query.certain.is_none_or(|certain| certain == record.certain)
            && query.since_ms.is_none_or(|since_ms| since_ms <= time_ms(record))
            && query.lang.is_none_or(|lang| Some(lang) == record.lang.as_deref());
        if passes {
            compared += 1;
            if query.exclude_post != Some(post) {
                expected.push((cosine(&vector, query.vector), record));
            }
        }
    }
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    assert_eq!(found.searched, compared, "{query:?}");
    assert_eq!(found.hits.len(), expected.len().min(query.k), "{query:?}");
    for (hit, (similarity, _)) in found.hits.iter().zip(&expected) {
        assert!((f64::from(hit.similarity) - similarity).abs() < ROUNDING, "{hit:?} at the place of {similarity}");
        let (exact, record) = expected.iter().find(|(_, record)| record.post_id == hit.post_id).expect("it is held");
        assert!((f64::from(hit.similarity) - exact).abs() < ROUNDING, "{hit:?} has {exact}");
        assert_eq!((hit.label, hit.certain, &hit.lang), (record.label, record.certain, &record.lang));
        assert_eq!((hit.revision, hit.labelled_at_ms), (record.revision, record.labelled_at_ms.min(NOW_MS)));
        assert_eq!(hit.event_time_ms, record.event_time_ms.map(|time_ms| time_ms.min(NOW_MS)));
    }
    assert!(found.hits.is_sorted_by(|a, b| a.similarity >= b.similarity));
}

/// Every filter by turns.
fn ask(index: &NeighbourIndex, held: &Held, step: &Step) {
    let kind = VectorKind::ALL[usize::from(step.bits) % 5];
    let dimensions = match kind {
        VectorKind::Semantic => 40,
        VectorKind::U => 19,
        VectorKind::Text | VectorKind::Audio => 8,
        VectorKind::Image => 5,
    };
    let asked = Noise(step.seed + 7).vector(dimensions);
    let post = format!("post {}", step.post);
    let query = Query {
        label: (step.bits & 1 != 0).then_some(Label::Positive),
        certain: (step.bits & 2 != 0).then_some(true),
        lang: (step.bits & 4 != 0).then_some("en"),
        since_ms: (step.bits & 8 != 0).then_some(NOW_MS - step.hours_ago * HOUR_MS),
        exclude_post: (step.bits & 16 != 0).then_some(&post),
        ..Query::new(MODELS[step.model], kind, &asked, step.revision as usize * 3)
    };
    let found = index.search(&query).unwrap();
    if query.k > 0 {
        compare(held, &query, &found);
    } else {
        assert!(found.hits.is_empty());
    }
}

proptest! {
    #[test]
    fn every_answer_is_that_of_a_list_looked_through_in_f64(steps in steps()) {
        let (index, mut held) = (roomy(), Held::new());
        for step in &steps {
            match step.what {
                0..=5 => apply_to_both(&index, &mut held, made(step)),
                6 => {
                    let post = format!("post {}", step.post);
                    let before = held.len();
                    held.retain(|(_, held), _| *held != post);
                    prop_assert_eq!(index.erase(&post), held.len() < before);
                }
                _ => ask(&index, &held, step),
            }
        }
        for model in MODELS {
            for ((_, post), record) in held.iter().filter(|((held, _), _)| held == model) {
                for kind in VectorKind::ALL {
                    let (is, was) = (index.vector_of(post, model, kind), vector(record, kind));
                    prop_assert_eq!(is.is_some(), was.is_some());
                    for (is, was) in is.iter().flatten().zip(was.iter().flatten()) {
                        prop_assert!((is - was).abs() < 2e-3, "{} is not {}", is, was);
                    }
                }
            }
            let posts = held.keys().filter(|(held, _)| held == model).count() as u64;
            let stats = index.stats();
            let stats = stats.iter().find(|stats| stats.model == model);
            prop_assert_eq!(stats.map_or(0, |stats| stats.posts), posts);
        }
        if held.is_empty() {
            prop_assert_eq!((index.bytes(), index.newest_model()), (0, None));
        }
    }
}

#[test]
fn an_hour_of_several_segments_answers_rightly_after_most_of_it_was_erased() {
    let (index, mut held) = (roomy(), Held::new());
    let mut noise = Noise(5);
    for post in 0..20_000 {
        let mut embedding = record(&format!("post {post}"), &noise.vector(19));
        embedding.model_version = MODELS[0].to_owned();
        apply_to_both(&index, &mut held, embedding);
    }
    let full = index.bytes();
    for post in (0..20_000).filter(|post| post % 10 != 3) {
        assert!(index.erase(&format!("post {post}")));
        held.remove(&(MODELS[0].to_owned(), format!("post {post}")));
    }
    assert!(index.bytes() < full / 4, "{} of {full} bytes for a tenth", index.bytes());
    for _ in 0..20 {
        let asked = noise.vector(19);
        let query = Query::new(MODELS[0], VectorKind::U, &asked, 50);
        compare(&held, &query, &index.search(&query).unwrap());
    }
    for post in 0..20_000 {
        assert_eq!(index.contains(&format!("post {post}"), MODELS[0]), post % 10 == 3);
    }
}
