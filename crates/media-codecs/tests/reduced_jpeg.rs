//! JPEGs that are decoded to a fraction of their size, held against the same files decoded whole. The two differ where a
//! picture has more detail than the smaller one can hold: the wide filter lets some of it through, the fraction none. How
//! close they are to Pillow's fractions is held in `formats.rs`, what the encoder makes of them in the trainer's tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use jtav_media_codecs::{DecodeLimits, image_view};
use jtav_schemas::{AbsentReason, RgbImage};

/// Shorter side of the views: pictures of 256 pixels and more are reduced.
const SIDE: u32 = 64;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn view(jpeg: &[u8], side: u32) -> Result<RgbImage, AbsentReason> {
    image_view(jpeg, &DecodeLimits::for_tests(), side)
}

/// Decoded whole: the full size is asked for. Then resized as pictures of other formats are.
fn whole(jpeg: &[u8]) -> RgbImage {
    let full = view(jpeg, stored_shorter_side(jpeg)).unwrap();
    let (width, height) = (full.width, full.height);
    let shorter = width.min(height);
    let (small_width, small_height) = (width * SIDE / shorter, height * SIDE / shorter);
    let mut small = vec![0; (small_width * small_height * 3) as usize];
    let source = TypedImageRef::<U8x3>::from_buffer(width, height, &full.pixels).unwrap();
    let mut target = TypedImage::<U8x3>::from_buffer(small_width, small_height, &mut small).unwrap();
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
    Resizer::new().resize_typed(&source, &mut target, &options).unwrap();
    RgbImage { width: small_width, height: small_height, pixels: small.into() }
}

fn stored_shorter_side(jpeg: &[u8]) -> u32 {
    let frame = jpeg.windows(2).position(|pair| matches!(pair, [0xff, 0xc0..=0xc2])).unwrap();
    let at = |at: usize| u32::from(u16::from_be_bytes([jpeg[frame + at], jpeg[frame + at + 1]]));
    at(5).min(at(7))
}

/// Mean and largest difference, in 1/255.
fn difference(a: &RgbImage, b: &RgbImage) -> (f64, u8) {
    assert_eq!((a.width, a.height, a.pixels.len()), (b.width, b.height, b.pixels.len()));
    let differences = || a.pixels.iter().zip(b.pixels.iter()).map(|(a, b)| a.abs_diff(*b));
    (differences().map(f64::from).sum::<f64>() / a.pixels.len() as f64, differences().max().unwrap_or(0))
}

/// The photo of the fixtures, from its left upper corner on.
fn photo(width: u32, height: u32) -> Vec<u8> {
    let photo = image::load_from_memory(&fixture("photo.jpg")).unwrap().into_rgb8();
    image::imageops::crop_imm(&photo, 0, 0, width, height).to_image().into_raw()
}

fn jpeg(pixels: &[u8], (width, height): (u32, u32), set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 88);
    set(&mut encoder);
    let color = if pixels.len() as u32 == width * height { ColorType::Luma } else { ColorType::Rgb };
    encoder.encode(pixels, width as u16, height as u16, color).unwrap();
    bytes
}

#[test]
fn every_kind_of_sampling_scan_and_size_looks_as_it_does_decoded_whole() {
    let samplings = [
        SamplingFactor::F_1_1,
        SamplingFactor::F_2_1,
        SamplingFactor::F_1_2,
        SamplingFactor::F_2_2,
        SamplingFactor::F_4_1,
        SamplingFactor::F_4_2,
    ];
    let sizes = [(400, 300), (256, 256), (257, 258), (263, 299), (399, 272), (271, 300)];
    let (mut wrong, mut worst) = (Vec::new(), (0.0_f64, 0));
    for (at, sampling) in samplings.into_iter().enumerate() {
        for (size_at, size) in sizes.into_iter().enumerate() {
            let pixels = photo(size.0, size.1);
            for progressive in [false, true] {
                let restart = [0, 1, 7][(at + size_at) % 3];
                let bytes = jpeg(&pixels, size, |encoder| {
                    encoder.set_sampling_factor(sampling);
                    encoder.set_progressive(progressive);
                    encoder.set_optimized_huffman_tables(size_at.is_multiple_of(2));
                    if restart > 0 {
                        encoder.set_restart_interval(restart);
                    }
                });
                let (mean, largest) = difference(&view(&bytes, SIDE).unwrap(), &whole(&bytes));
                worst = (worst.0.max(mean), worst.1.max(largest));
                // At full size libjpeg repeats the colours of 4:1:1 where it interpolates those of other samplings.
                let most = if matches!(sampling, SamplingFactor::F_4_1) { (1.6, 80) } else { (1.2, 40) };
                if mean > most.0 || largest > most.1 {
                    wrong.push(format!("{sampling:?} {size:?} progressive {progressive}: {mean:.3} {largest}"));
                }
            }
        }
    }
    println!("mean {:.3} and largest difference {} at most", worst.0, worst.1);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Encoders write such files when they optimise their tables. Held against the same coefficients in one scan.
#[test]
fn a_sequential_file_with_a_scan_for_each_component_looks_like_one_with_one_scan() {
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2, SamplingFactor::F_1_2] {
        let encoded = |one_by_one: bool| {
            jpeg(&photo(399, 271), (399, 271), |encoder| {
                encoder.set_sampling_factor(sampling);
                encoder.set_optimized_huffman_tables(one_by_one);
            })
        };
        let scans = |bytes: &[u8]| bytes.windows(2).filter(|pair| *pair == [0xff, 0xda]).count();
        let (apart, together) = (encoded(true), encoded(false));
        assert_eq!((scans(&apart), scans(&together)), (3, 1), "{sampling:?}");
        // Whole, as small pictures are; and reduced.
        let (mean, largest) = difference(&view(&apart, 271).unwrap(), &view(&together, 271).unwrap());
        println!("{sampling:?}: mean {mean:.3} largest {largest}");
        assert!(mean < 1.0, "{sampling:?}: {mean} {largest}");
        assert_eq!(view(&apart, SIDE).unwrap().pixels, view(&together, SIDE).unwrap().pixels, "{sampling:?}");
    }
}

#[test]
fn grey_pictures_are_reduced_too() {
    let grey: Vec<u8> = photo(400, 300).chunks_exact(3).map(|pixel| pixel[1]).collect();
    for progressive in [false, true] {
        let bytes = jpeg(&grey, (400, 300), |encoder| encoder.set_progressive(progressive));
        let (mean, largest) = difference(&view(&bytes, SIDE).unwrap(), &whole(&bytes));
        println!("grey, progressive {progressive}: mean {mean:.3} largest {largest}");
        assert!(mean > 0.0 && mean <= 0.6 && largest <= 8, "{mean} {largest}");
    }
}

/// Photos that other encoders made: the bundled feed, 400 × 320 pixels.
#[test]
fn the_photos_of_the_feed_look_as_they_do_decoded_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/feed-simulator/sample-feed/media/image");
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let (mut count, mut worst) = (0, (0.0_f64, 0));
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "jpg")) {
        let bytes = std::fs::read(file).unwrap();
        let (mean, largest) = difference(&view(&bytes, SIDE).unwrap(), &whole(&bytes));
        worst = (worst.0.max(mean), worst.1.max(largest));
        count += 1;
    }
    println!("{count} photos: mean {:.3} and largest difference {} at most", worst.0, worst.1);
    assert!(count > 20 && worst.0 > 0.0, "{count}");
    assert!(worst.0 <= 2.0 && worst.1 <= 20, "{worst:?}");
}

#[test]
fn mutated_pictures_end_in_a_view_or_a_reason_and_never_in_a_panic() {
    // A decoder's panic is caught and comes as damage; the hook sees it all the same.
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));
    let mut state = 20_261_126_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut fine, mut refused) = (0, 0);
    for name in ["photo.jpg", "progressive.jpg", "grey.jpg", "exif6.jpg", "cmyk.jpg"] {
        let original = fixture(name);
        for _ in 0..400 {
            let mut bytes = original.clone();
            for _ in 0..=random(8) {
                let span = if random(2) == 0 { 700.min(bytes.len()) } else { bytes.len() };
                let at = random(span);
                bytes[at] = random(256) as u8;
            }
            match view(&bytes, SIDE) {
                Ok(view) => {
                    assert_eq!(view.pixels.len(), (view.width * view.height * 3) as usize);
                    fine += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    println!("{fine} decoded, {refused} refused");
    assert!(fine > 0 && refused > 0);
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}
