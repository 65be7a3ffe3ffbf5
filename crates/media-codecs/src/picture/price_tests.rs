//! Prices held against what decoding takes, with pictures as large as the limits let through.

use std::time::Duration;

use jtav_schemas::AbsentReason;

use crate::clock::thread_cpu_time;
use crate::format::PictureFormat;
use crate::limits::DecodeLimits;

/// A progressive grey JPEG of so many scans behind the first that refine everything and change nothing: a kilobyte makes
/// the decoder look at every coefficient of the picture a dozen times.
fn empty_scans(width: u16, height: u16, scans: usize) -> Vec<u8> {
    let segment =
        |marker: u8, body: &[u8]| [&[0xff, marker][..], &(body.len() as u16 + 2).to_be_bytes(), body].concat();
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    let blocks = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8);
    let table = |class: u8, symbol: u8| segment(0xc4, &[&[class, 1], &[0; 15][..], &[symbol]].concat());
    // One bit for each block: a difference in no bits, but for the first, so that the picture is not blank.
    let two = segment(0xc4, &[&[0, 1, 1], &[0; 14][..], &[0, 7]].concat());
    let mut first = vec![0; blocks / 8 + 2];
    first[..2].copy_from_slice(&[0b1011_1111, 0b1000_0000]);
    // A run of 2^14 blocks without a coefficient: one bit for the code, 14 for what it lacks.
    let refining = [segment(0xda, &[1, 1, 0, 1, 63, 0x10]), vec![0; (blocks / 16_384 + 1) * 15 / 8 + 2]].concat();
    [
        &[0xff, 0xd8][..],
        &segment(0xdb, &[&[0], &[16; 64][..]].concat()),
        &segment(0xc2, &[8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]),
        &two,
        &table(0x10, 0xe0),
        &segment(0xda, &[1, 1, 0, 0, 0, 0]),
        &first,
        &refining.repeat(scans),
        &[0xff, 0xd9],
    ]
    .concat()
}

fn png(width: u32, height: u32, color: png::ColorType, filter: png::Filter) -> Vec<u8> {
    let channels = if color == png::ColorType::Rgba { 4 } else { 3 };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(filter);
    let row: Vec<u8> = (0..width as usize * channels).map(|at| (at % 251) as u8).collect();
    encoder.write_header().unwrap().write_image_data(&row.repeat(height as usize)).unwrap();
    bytes
}

fn gif(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let palette: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &palette).unwrap();
    let pixels = usize::from(width) * usize::from(height);
    let buffer: Vec<u8> = (0..pixels).map(|at| (at * 7 % 13) as u8).collect();
    encoder.write_frame(&gif::Frame { width, height, buffer: buffer.into(), ..gif::Frame::default() }).unwrap();
    drop(encoder);
    bytes
}

/// 6000 × 6000 pixels of black, as libwebp writes them.
const WEBP: &[u8] = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0e\x00\x00\x00/o\xd7\xdb\x05\x07\x10\x11\xfd\x0fDD\xff\x03";

fn jpeg(width: u16, height: u16, scans: u8) -> Vec<u8> {
    let pixels: Vec<u8> = (0..u32::from(width) * u32::from(height))
        .flat_map(|at| {
            let (x, y) = (at % u32::from(width), at / u32::from(width));
            let noise = at.wrapping_mul(2_654_435_761) >> 29;
            [(x / 16 + noise) as u8, (y / 16 + noise) as u8, ((x + y) / 32) as u8]
        })
        .collect();
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 85);
    if scans > 1 {
        encoder.set_progressive_scans(scans);
    }
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// What became of it, and the CPU time that it took.
fn decode(bytes: &[u8], format: PictureFormat, limits: &DecodeLimits) -> (Result<(), AbsentReason>, Duration) {
    let before = thread_cpu_time();
    let verdict = super::decode(bytes, format, limits, limits.shorter_side_px, &|| ()).map(|_| ());
    (verdict, thread_cpu_time() - before)
}

/// The smallest limit that lets a picture through, to a tenth.
fn price(bytes: &[u8], format: PictureFormat) -> Duration {
    let passes = |max_picture_price: Duration| {
        let limits = DecodeLimits { max_picture_price, ..DecodeLimits::for_tests() };
        decode(bytes, format, &limits).0 != Err(AbsentReason::TooLarge)
    };
    let mut price = Duration::from_millis(1);
    while !passes(price) {
        price = price * 11 / 10;
        assert!(price < Duration::from_secs(60), "no price lets it through");
    }
    price
}

/// What became of it, and the least CPU time of three: what else goes on around can only add to it.
fn least(bytes: &[u8], format: PictureFormat) -> (Result<(), AbsentReason>, Duration) {
    let limits = DecodeLimits::for_tests();
    let (verdict, first) = decode(bytes, format, &limits);
    (verdict, (0..2).map(|_| decode(bytes, format, &limits).1).fold(first, Duration::min))
}

/// What a plain picture takes of its price on a machine at rest.
const OF_A_PLAIN_PRICE: f64 = 0.3;

/// How slow the machine is now, by a picture of a plain camera: with neighbours that use its caches, everything takes longer.
fn slowness(yardstick: &[u8]) -> f64 {
    let (_, took) = least(yardstick, PictureFormat::Jpeg);
    took.as_secs_f64() / price(yardstick, PictureFormat::Jpeg).as_secs_f64() / OF_A_PLAIN_PRICE
}

#[test]
fn a_small_file_whose_scans_would_take_seconds_is_too_large_in_milliseconds() {
    let bytes = empty_scans(8000, 5000, 98);
    assert!(bytes.len() < 130_000, "{}", bytes.len());
    let (verdict, took) = decode(&bytes, PictureFormat::Jpeg, &DecodeLimits::for_tests());
    println!("{} bytes refused in {took:?}", bytes.len());
    assert_eq!(verdict, Err(AbsentReason::TooLarge));
    assert!(took < Duration::from_millis(50), "{took:?}");
    // It is the scans: with few of them it is a picture.
    assert_eq!(decode(&empty_scans(8000, 5000, 8), PictureFormat::Jpeg, &DecodeLimits::for_tests()).0, Ok(()));
    assert_eq!(decode(&empty_scans(800, 500, 98), PictureFormat::Jpeg, &DecodeLimits::for_tests()).0, Ok(()));
    // And of a picture of a block two million of them.
    let (verdict, took) = decode(&empty_scans(8, 8, 1_500_000), PictureFormat::Jpeg, &DecodeLimits::for_tests());
    assert_eq!(verdict, Err(AbsentReason::TooLarge));
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_progressive_photo_of_24_megapixels_in_14_scans_is_a_picture() {
    let bytes = jpeg(6000, 4000, 14);
    let (verdict, took) = decode(&bytes, PictureFormat::Jpeg, &DecodeLimits::for_tests());
    println!("{} kB took {took:?}, priced at {:?}", bytes.len() / 1000, price(&bytes, PictureFormat::Jpeg));
    assert_eq!(verdict, Ok(()));
}

#[test]
fn the_dearest_pictures_that_pass_take_no_more_than_their_price() {
    let pictures = [
        ("JPEG, 40 megapixels, 20 scans that refine", PictureFormat::Jpeg, empty_scans(8000, 5000, 20)),
        ("JPEG, 24 megapixels, one scan", PictureFormat::Jpeg, jpeg(6000, 4000, 1)),
        ("JPEG, 24 megapixels, 10 scans", PictureFormat::Jpeg, jpeg(6000, 4000, 10)),
        ("JPEG, 39 megapixels at their size, one scan", PictureFormat::Jpeg, jpeg(38_400, 1020, 1)),
        ("PNG, 39 megapixels", PictureFormat::Png, png(7800, 5000, png::ColorType::Rgb, png::Filter::Paeth)),
        (
            "PNG, 31 megapixels with opacity",
            PictureFormat::Png,
            png(6200, 5000, png::ColorType::Rgba, png::Filter::Paeth),
        ),
        ("GIF, 40 megapixels", PictureFormat::Gif, gif(8000, 5000)),
        ("WebP, 36 megapixels, lossless", PictureFormat::WebP, WEBP.to_vec()),
    ];
    let yardstick = jpeg(6000, 4000, 1);
    let mut wrong = Vec::new();
    for (name, format, bytes) in pictures {
        let price = price(&bytes, format);
        let (verdict, took) = least(&bytes, format);
        let slowness = slowness(&yardstick);
        println!(
            "{name}: {} kB, {} ms, priced at {} ms, on a machine {slowness:.2} times as slow",
            bytes.len() / 1000,
            took.as_millis(),
            price.as_millis()
        );
        // The clock counts what neighbours on the core do to its caches, and half of what it says may be theirs.
        if verdict.is_err() || took > price.mul_f64(1.5 * slowness.clamp(1.0, 3.0)) {
            wrong.push(format!("{name}: {verdict:?}, {took:?}, priced at {price:?}, slowness {slowness:.2}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Blocks of a deflate stream that hold no byte, each with tables of codes of its own.
#[test]
fn a_png_of_empty_blocks_ends_when_its_time_is_spent() {
    let mut bits = String::new();
    let mut number =
        |value: u32, width: u32| (0..width).for_each(|bit| bits.push(if value >> bit & 1 == 1 { '1' } else { '0' }));
    // Not the last, with tables: 257 codes, 1 distance, 18 lengths of lengths, of which those for 1 and for runs of zeros exist.
    [(0, 1), (2, 2), (0, 5), (0, 5), (14, 4)].into_iter().for_each(|(value, width)| number(value, width));
    [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into_iter().for_each(|length| number(length, 3));
    // 255 zeros, then 255, the end of a block and the one distance with a bit each; and that end.
    [(1, 1), (127, 7), (1, 1), (106, 7), (0, 1), (0, 1), (0, 1), (1, 1)]
        .into_iter()
        .for_each(|(value, width)| number(value, width));
    let eight = bits.repeat(8).into_bytes();
    let block: Vec<u8> =
        eight.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum * 2 + (bit - b'0'))).collect();
    let data = [&[0x78, 0x9c][..], &block.repeat(12_000_000 / block.len())].concat();
    let whole = png(16, 16, png::ColorType::Rgb, png::Filter::NoFilter);
    // A chunk whose checksum is never reached.
    let file = [&whole[..33], &(data.len() as u32).to_be_bytes(), b"IDAT", &data].concat();
    let limits = DecodeLimits { max_picture_price: Duration::from_millis(100), ..DecodeLimits::for_tests() };
    let (verdict, took) = decode(&file, PictureFormat::Png, &limits);
    println!("{} kB ended after {took:?}", file.len() / 1000);
    assert_eq!(verdict, Err(AbsentReason::TooLarge));
    assert!((Duration::from_millis(100)..Duration::from_millis(200)).contains(&took), "{took:?}");
}
