//! Time of one thread per picture or clip, of the fixtures and of a picture of two megapixels:
//! `cargo bench --profile release -p jtav-media-codecs`.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use image::codecs::jpeg::JpegEncoder;
use jtav_media_codecs::{DecodeLimits, decode, image_view};
use jtav_schemas::Modality;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(path).unwrap_or_default()
}

/// The photo of the fixtures, four by four: 1600 × 1200 pixels with the detail of a camera.
fn two_megapixels() -> Vec<u8> {
    let photo = image::load_from_memory(&fixture("photo.jpg")).map(image::DynamicImage::into_rgb8).unwrap_or_default();
    let (width, height) = photo.dimensions();
    let tiled = image::RgbImage::from_fn(4 * width, 4 * height, |x, y| *photo.get_pixel(x % width, y % height));
    let mut bytes = Vec::new();
    match JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&tiled) {
        Ok(()) => bytes,
        Err(error) => panic!("Invariant: a picture in memory can be encoded: {error}"),
    }
}

fn pictures(c: &mut Criterion) {
    let limits = DecodeLimits::for_tests();
    let large = two_megapixels();
    c.bench_function("jpeg_2_megapixels", |b| b.iter(|| decode(black_box(&large), Modality::Image, None, &limits)));
    // As large as it is stored: the way of small pictures and of rare kinds.
    c.bench_function("jpeg_2_megapixels_whole", |b| b.iter(|| image_view(black_box(&large), &limits, 1200)));
    for name in ["photo.jpg", "progressive.jpg", "rgb.png", "lossy.webp", "lossless.webp", "still.gif"] {
        let bytes = fixture(name);
        c.bench_function(name, |b| b.iter(|| decode(black_box(&bytes), Modality::Image, None, &limits)));
    }
}

fn clips(c: &mut Criterion) {
    let limits = DecodeLimits::for_tests();
    for name in ["tone.mp3", "tone.m4a", "tone.flac", "tone.ogg", "pcm16.wav"] {
        let bytes = fixture(name);
        c.bench_function(name, |b| b.iter(|| decode(black_box(&bytes), Modality::Audio, None, &limits)));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_secs(1));
    targets = pictures, clips
}
criterion_main!(benches);
