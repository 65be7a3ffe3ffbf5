//! A question on one core: `cargo bench -p jtav-neighbours`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jtav_neighbours::{IndexSettings, NeighbourIndex, Query, VectorKind};
use jtav_schemas::{EmbeddingV1, Label, PerModality, Vector};

const DIMENSIONS: usize = 100;
const MODEL: &str = "bench@1";
const HOUR_MS: i64 = 3_600_000;
const NOW_MS: i64 = 500_000 * HOUR_MS;

struct Noise(u64);

impl Noise {
    fn vector(&mut self) -> Vec<f32> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 40) as f32 / 16_777_216.0 - 0.5
        };
        (0..DIMENSIONS).map(|_| next()).collect()
    }
}

fn record(post: i64, vector: &[f32]) -> Option<EmbeddingV1> {
    Some(EmbeddingV1 {
        event_id: String::new(),
        post_id: format!("post-{post:09}"),
        revision: 1,
        fused: Vector::pack(vector).ok()?,
        modalities: PerModality::default(),
        semantic: None,
        label: Label::ALL[post as usize % 3],
        certain: post % 2 == 0,
        lang: Some("en".to_owned()),
        model_version: MODEL.to_owned(),
        event_time_ms: Some(NOW_MS),
        labelled_at_ms: NOW_MS,
    })
}

/// Posts of a day.
fn filled(posts: i64, noise: &mut Noise) -> NeighbourIndex {
    let index = NeighbourIndex::new(IndexSettings { window_ms: 48 * HOUR_MS, max_bytes: 1 << 30 });
    for post in 0..posts {
        let event_time_ms = Some(NOW_MS - (posts - post) * 24 * HOUR_MS / posts);
        let record = record(post, &noise.vector()).map(|record| EmbeddingV1 { event_time_ms, ..record });
        if let Some(Err(error)) = record.map(|record| index.apply(&record, NOW_MS)) {
            eprintln!("{error}");
        }
    }
    index
}

fn search(c: &mut Criterion) {
    let mut noise = Noise(42);
    for posts in [100_000, 1_000_000] {
        let index = filled(posts, &mut noise);
        println!("{posts} posts: {:.1} bytes each", index.bytes() as f64 / posts as f64);
        let vector = noise.vector();
        let all = Query::new(MODEL, VectorKind::U, &vector, 10);
        let mut measure = |name: &str, query: Query<'_>| {
            c.bench_function(&format!("{name}_of_{posts}"), |b| b.iter(|| index.search(black_box(&query))));
        };
        measure("nearest_10", all);
        measure("nearest_100", Query { k: 100, ..all });
        measure("nearest_10_positive_and_certain", Query { label: Some(Label::Positive), certain: Some(true), ..all });
    }
    let index = filled(100_000, &mut noise);
    let mut place = 0;
    c.bench_function("apply_a_new_revision", |b| {
        let vector = noise.vector();
        b.iter(|| {
            place = (place + 7) % 100_000;
            record(place, &vector).map(|record| index.apply(black_box(&record), NOW_MS))
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_secs(1));
    targets = search
}
criterion_main!(benches);
