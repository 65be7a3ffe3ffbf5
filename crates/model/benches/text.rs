//! Time of one thread for a text that is made ready (words, n-grams, pieces), by its shape:
//! `cargo bench --profile release -p jtav-model --bench text`. The worker reads 20,000 characters of a post; half a mebibyte is
//! what a record may hold. Needs the base weights (`scripts/setup-weights.sh`).

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jtav_model::text::WordPieces;
use jtav_model::{Base, Bases, TextFrontEnd};

const SHAPES: [(&str, &str); 14] = [
    ("no_blanks", "x"),
    ("cjk", "字"),
    ("accents", "éà"),
    ("emoji", "😀"),
    ("joined_emoji", "👨\u{200D}"),
    ("marks", "\u{345}\u{301}\u{316}\u{327}"),
    ("handles", "@"),
    ("hashtags", "#a1"),
    ("links", "http"),
    ("digits", "7"),
    ("one_word", "word "),
    ("punctuation", "!"),
    ("emoticons", ":-"),
    ("mixed", "Sooo #BestDayEver_2026 :-( @you 字😀é http://a.b don’t "),
];

fn text_of(shape: &str, chars: usize) -> String {
    std::iter::once('a').chain(shape.chars().cycle()).take(chars).collect()
}

fn shapes(c: &mut Criterion) {
    let pieces = WordPieces::open(&Bases::new(None, None), &Base::minilm_tokenizer()).expect("word pieces");
    let front_end = TextFrontEnd::with_pieces(pieces, true);
    for chars in [20_000, 160_000] {
        let mut group = c.benchmark_group(format!("{chars}_characters"));
        group.throughput(Throughput::Elements(chars as u64)).sample_size(10);
        for (name, shape) in SHAPES {
            let text = text_of(shape, chars);
            group.bench_with_input(BenchmarkId::from_parameter(name), &text, |b, text| {
                b.iter(|| front_end.input(black_box(&[("body", text)])));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, shapes);
criterion_main!(benches);
