//! CPU time of one thread for a text in the frozen trunk, by batch and precision, and for what comes before it:
//! `cargo bench --profile release -p jtav-model --bench trunk`. Needs the base weights (`scripts/setup-weights.sh`).

use std::hint::black_box;
use std::time::Duration;

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jtav_model::text::WordPieces;
use jtav_model::trunk::{Trunk, TrunkPrecision};
use jtav_model::{Base, Bases, DeviceChoice, device};
use rustix::time::{ClockId, clock_gettime};

/// 28 words of one piece each and the two that enclose them.
const WORDS: &str = "we waited two hours for a table and the soup was cold but the waiter was so kind that nobody minded and we \
                     came back the next week";

/// The thread's own time: a busy machine stretches the clock on the wall.
fn cpu_time<T>(b: &mut Bencher, mut routine: impl FnMut() -> T) {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    b.iter_custom(|iterations| {
        let started = now();
        for _ in 0..iterations {
            black_box(routine());
        }
        now() - started
    });
}

fn trunk(c: &mut Criterion) {
    device::single_threaded();
    let bases = Bases::new(None, None);
    let pieces = WordPieces::open(&bases, &Base::minilm_tokenizer()).expect("word pieces");
    let mut group = c.benchmark_group("open");
    group.sample_size(10);
    group.bench_function("read_and_hash_45_mb", |b| cpu_time(b, || bases.read(&Base::minilm()).expect("base weights")));
    for precision in [TrunkPrecision::Float, TrunkPrecision::BFloat16] {
        let open = || Trunk::open(&bases, DeviceChoice::Cpu, precision).expect("base weights");
        group.bench_function(format!("{precision:?}"), |b| cpu_time(b, open));
    }
    group.finish();
    for precision in [TrunkPrecision::Float, TrunkPrecision::BFloat16] {
        let trunk = Trunk::open(&bases, DeviceChoice::Cpu, precision).expect("base weights");
        let words: Vec<&str> = WORDS.split(' ').collect();
        let text = pieces.pieces(&words).expect("pieces");
        let short = pieces.pieces(&words[..12]).expect("pieces");
        assert_eq!(text.len(), 30);
        let mut group = c.benchmark_group(format!("{precision:?}"));
        group.sample_size(20);
        for batch in [1, 8, 32] {
            group.throughput(Throughput::Elements(batch));
            let mut texts = vec![&text; batch as usize];
            let equal = BenchmarkId::new("equal", batch);
            group.bench_function(equal, |b| cpu_time(b, || trunk.forward(&texts, &[4, 6])));
            texts.iter_mut().skip(1).step_by(2).for_each(|text| *text = &short);
            let padded = BenchmarkId::new("padded", batch);
            group.bench_function(padded, |b| cpu_time(b, || trunk.forward(&texts, &[4, 6])));
        }
        let longest: Vec<&str> = words.iter().copied().cycle().take(300).collect();
        let longest = pieces.pieces(&longest).expect("pieces");
        group.throughput(Throughput::Elements(1));
        group.bench_function("longest_text", |b| cpu_time(b, || trunk.forward(&[&longest], &[4, 6])));
        group.bench_function("pieces", |b| cpu_time(b, || pieces.pieces(black_box(&words))));
        // Split into 99 pieces, of which the last character makes one unknown piece.
        let worst = vec![format!("{}\u{1F600}", "zq".repeat(49)); 256];
        group.bench_function("pieces_of_the_worst_words", |b| cpu_time(b, || pieces.pieces(black_box(&worst))));
        group.finish();
    }
}

criterion_group!(benches, trunk);
criterion_main!(benches);
