//! Pictures as strangers have them: cut short, damaged, with headers that lie, of rare kinds. What a browser shows is
//! used, small or large alike; a picture of which less than half could be read is none.

use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use jpeg_encoder::{ColorType, Encoder};
use jtav_media_codecs::{DecodeLimits, image_view};
use jtav_schemas::{AbsentReason, RgbImage};

/// Shorter side of the views.
const SIDE: u32 = 64;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn view(bytes: &[u8]) -> Result<RgbImage, AbsentReason> {
    image_view(bytes, &DecodeLimits::for_tests(), SIDE)
}

fn verdict(bytes: &[u8]) -> Result<(), AbsentReason> {
    view(bytes).map(|_| ())
}

/// Mean difference, in 1/255.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    a.pixels.iter().zip(b.pixels.iter()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.pixels.len() as f64
}

/// The photo of the fixtures, enlarged.
fn photo(times: u32) -> (Vec<u8>, u32, u32) {
    let photo = image::load_from_memory(&fixture("photo.jpg")).unwrap().into_rgb8();
    let (width, height) = photo.dimensions();
    let size = (width * times, height * times);
    let mut large = vec![0; (size.0 * size.1 * 3) as usize];
    let source = TypedImageRef::<U8x3>::from_buffer(width, height, photo.as_raw()).unwrap();
    let mut target = TypedImage::<U8x3>::from_buffer(size.0, size.1, &mut large).unwrap();
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
    Resizer::new().resize_typed(&source, &mut target, &options).unwrap();
    (large, size.0, size.1)
}

/// Decoded at the size at which it is stored, and to a half and an eighth of it.
const SIZES: [u32; 3] = [1, 2, 8];

fn jpeg(times: u32, set: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let (pixels, width, height) = photo(times);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 85);
    set(&mut encoder);
    encoder.encode(&pixels, width as u16, height as u16, ColorType::Rgb).unwrap();
    bytes
}

/// A row of blocks of the encoder's 4:2:0, in pixels of the photo, is a restart interval.
fn with_restarts(times: u32) -> Vec<u8> {
    jpeg(times, |encoder| {
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
        encoder.set_restart_interval((400 * times).div_ceil(16) as u16);
    })
}

/// Marker, and where the segment begins and ends, up to that of the first scan.
fn segments(jpeg: &[u8]) -> Vec<(u8, usize, usize)> {
    let mut found = Vec::new();
    let mut at = 2;
    loop {
        let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        found.push((jpeg[at + 1], at, end));
        if jpeg[at + 1] == 0xda {
            return found;
        }
        at = end;
    }
}

/// Of the coded data, up to the end marker.
fn coded(jpeg: &[u8]) -> std::ops::Range<usize> {
    segments(jpeg).last().unwrap().2..jpeg.len() - 2
}

/// `percent` of the coded data, with the end marker and without.
fn cut(jpeg: &[u8], percent: usize) -> [Vec<u8>; 2] {
    let coded = coded(jpeg);
    let cut = jpeg[..coded.start + coded.len() * percent / 100].to_vec();
    let ended = [cut.as_slice(), &[0xff, 0xd9]].concat();
    [cut, ended]
}

#[test]
fn the_same_part_of_a_jpeg_missing_is_the_same_verdict_whatever_the_size() {
    type Make = fn(u32) -> Vec<u8>;
    let kinds: [(&str, Make); 2] = [("one scan", |times| jpeg(times, |_| ())), ("restarts", with_restarts)];
    for (kind, encoded) in kinds {
        for times in SIZES {
            let whole = encoded(times);
            for (percent, expected) in
                [(5, Err(AbsentReason::DecodeError)), (35, Err(AbsentReason::DecodeError)), (65, Ok(())), (95, Ok(()))]
            {
                for (file, ended) in cut(&whole, percent).into_iter().zip([false, true]) {
                    assert_eq!(verdict(&file), expected, "{kind}, {times} times, {percent} % (ended: {ended})");
                }
            }
        }
    }
}

/// The first scans of a progressive one show all of it, if blurred.
#[test]
fn a_progressive_jpeg_counts_from_its_first_scans_on_whatever_the_size() {
    for times in SIZES {
        let whole = jpeg(times, |encoder| encoder.set_progressive(true));
        for file in cut(&whole, 50) {
            let difference = difference(&view(&file).unwrap(), &view(&whole).unwrap());
            assert!(difference < 8.0, "{times} times: {difference}");
        }
        for file in cut(&whole, 1) {
            assert_eq!(verdict(&file), Err(AbsentReason::DecodeError), "{times} times");
        }
    }
}

/// Found in the wild as two sizes of one picture.
#[test]
fn two_sizes_of_a_picture_without_its_last_third_have_one_verdict() {
    for name in ["missing_third.jpg", "missing_third_taller.jpg"] {
        let view = view(&fixture(name)).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        let last_row = &view.pixels[view.pixels.len() - 3 * view.width as usize..];
        assert!(last_row.iter().all(|value| value.abs_diff(128) <= 1), "{name} is blank at its end");
    }
}

#[test]
fn more_of_a_picture_never_makes_it_less() {
    let names = [
        "photo.jpg",
        "progressive.jpg",
        "grey.jpg",
        "restart.jpg",
        "cmyk.jpg",
        "rgb.png",
        "rgba16.png",
        "palette.png",
        "interlaced.png",
        "lossy.webp",
        "lossless.webp",
        "alpha.webp",
        "still.gif",
        "interlaced.gif",
    ];
    for name in names {
        let bytes = fixture(name);
        let mut was_a_picture = false;
        for cut in (0..bytes.len()).step_by(bytes.len() / 97 + 1).chain([bytes.len() - 1, bytes.len()]) {
            match verdict(&bytes[..cut]) {
                Ok(()) => was_a_picture = true,
                Err(reason) => {
                    assert_eq!(reason, AbsentReason::DecodeError, "{name} cut to {cut}");
                    assert!(!was_a_picture, "{name} cut to {cut} of {} is none any more", bytes.len());
                    assert!(cut < bytes.len() * 9 / 10, "{name} cut to {cut} of {} is none", bytes.len());
                }
            }
            let stump = cut < bytes.len() / 8 && !name.contains("progressive");
            assert!(!(stump && was_a_picture), "{name} cut to {cut} of {} is a picture", bytes.len());
        }
    }
}

#[test]
fn what_could_be_read_of_a_cut_file_is_as_it_was_and_the_rest_is_white() {
    for name in ["rgb.png", "rgba.png", "lossless.webp", "still.gif"] {
        let mut bytes = fixture(name);
        if name == "still.gif" {
            // Its rows are interlaced. Taken one after the other they are a picture as well.
            let frame = bytes.windows(5).position(|bytes| bytes == b"\x2c\0\0\0\0").unwrap();
            assert_eq!(bytes[frame + 9] & 0x40, 0x40);
            bytes[frame + 9] &= !0x40;
        }
        let (whole, cut) = (view(&bytes).unwrap(), view(&bytes[..bytes.len() * 8 / 10]).unwrap());
        let row = 3 * whole.width as usize;
        let upper = row * whole.height as usize / 3;
        assert_eq!(cut.pixels[..upper], whole.pixels[..upper], "{name}");
        assert!(cut.pixels[cut.pixels.len() - row..].iter().all(|value| *value == 255), "{name}");
    }
}

/// What cameras, editors and careless servers do to JPEGs.
fn oddities(jpeg: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let segments = segments(jpeg);
    let (_, second, _) = segments[1];
    let (_, scan, _) = *segments.last().unwrap();
    let put = |at: usize, bytes: &[u8]| [&jpeg[..at], bytes, &jpeg[at..]].concat();
    let no_tables =
        segments.iter().rev().filter(|segment| segment.0 == 0xc4).fold(jpeg.to_vec(), |mut file, segment| {
            file.drain(segment.1..segment.2);
            file
        });
    let no_head = [&jpeg[..2], &jpeg[segments[0].2..]].concat();
    vec![
        ("stray bytes between segments", put(second, b"\0\0\0\x34")),
        ("stray bytes before the scan", put(scan, &[0xaa; 9])),
        ("fill bytes", put(second, &[0xff; 40])),
        ("a segment longer than it says", put(second, b"\xff\xe5\0\x04AA and much more")),
        ("a segment with the length zero", put(second, b"\xff\xe5\0\0AAAA")),
        ("a comment with the length one", put(second, b"\xff\xfe\0\x01AAAA")),
        ("no tables of codes, as in MJPEG", no_tables),
        ("no JFIF header", no_head),
        ("no end marker", jpeg[..jpeg.len() - 2].to_vec()),
        ("garbage behind the end", [jpeg, &b"garbage\xff\xda\xff\xd8"[..]].concat()),
        ("another file behind the end", [jpeg, jpeg].concat()),
        ("another file instead of the end", [&jpeg[..jpeg.len() - 2], jpeg].concat()),
        ("a number of lines behind the scan", put(jpeg.len() - 2, b"\xff\xdc\0\x04\x01\x2c")),
        ("100,000 comments", put(second, &b"\xff\xfe\0\x02".repeat(100_000))),
        (
            "4,000 pieces of a profile",
            put(second, &[b"\xff\xe2\0\x20ICC_PROFILE\0\x01\xff".as_slice(), &[7; 16]].concat().repeat(4000)),
        ),
    ]
}

#[test]
fn a_jpeg_with_an_oddity_looks_as_without_it_small_and_large_alike() {
    let mut wrong = Vec::new();
    for times in SIZES {
        let kinds =
            [("one scan", jpeg(times, |_| ())), ("progressive", jpeg(times, |encoder| encoder.set_progressive(true)))];
        for (kind, whole) in kinds {
            let plain = view(&whole).unwrap();
            for (what, file) in oddities(&whole) {
                // A progressive file has tables of its own that no standard names.
                if kind == "progressive" && what.contains("MJPEG") {
                    continue;
                }
                match view(&file) {
                    Ok(view) if difference(&view, &plain) < 0.5 => {}
                    Ok(view) => {
                        wrong.push(format!("{what}, {kind}, {times}: differs by {}", difference(&view, &plain)))
                    }
                    Err(reason) => wrong.push(format!("{what}, {kind}, {times}: {reason}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Zeroed and wrong data show what could be read, as in Pillow and browsers.
#[test]
fn damage_within_the_coded_data_costs_a_part_of_the_picture_small_and_large_alike() {
    for times in SIZES {
        let whole = with_restarts(times);
        let plain = view(&whole).unwrap();
        let coded = coded(&whole);
        let middle = coded.start + coded.len() / 2;
        let restarts: Vec<usize> =
            coded.clone().filter(|at| whole[*at] == 0xff && (0xd0..=0xd7).contains(&whole[*at + 1])).collect();
        let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut file = whole.clone();
            edit(&mut file);
            file
        };
        let files = [
            ("zeros", edited(&|file| file[middle..middle + 40].fill(0))),
            ("a hole", edited(&|file| drop(file.drain(middle..middle + 40)))),
            ("flipped bits", edited(&|file| file[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0x55))),
            ("a wrong restart number", edited(&|file| file[restarts[3] + 1] = 0xd0 + (file[restarts[3] + 1] + 3) % 8)),
            ("a restart marker less", edited(&|file| drop(file.drain(restarts[3]..restarts[3] + 2)))),
            ("a marker that nobody knows", edited(&|file| file[middle..middle + 2].copy_from_slice(b"\xff\x12"))),
        ];
        for (what, file) in files {
            let view = view(&file).unwrap_or_else(|reason| panic!("{what}, {times} times: {reason}"));
            let difference = difference(&view, &plain);
            assert!(difference < 40.0, "{what}, {times} times: {difference}");
        }
    }
}

#[test]
fn kinds_of_jpeg_that_no_browser_shows_are_unsupported_and_no_damage() {
    for times in SIZES {
        let whole = jpeg(times, |_| ());
        let (_, frame, _) = *segments(&whole).iter().find(|segment| segment.0 == 0xc0).unwrap();
        let edited = |at: usize, byte: u8| {
            let mut file = whole.clone();
            file[at] = byte;
            file
        };
        let files = [
            ("lossless", edited(frame + 1, 0xc3)),
            ("hierarchical", edited(frame + 1, 0xc5)),
            ("lossless, arithmetic", edited(frame + 1, 0xcb)),
            ("12 bits", edited(frame + 4, 12)),
            ("two components", edited(frame + 9, 2)),
        ];
        for (what, file) in files {
            assert_eq!(verdict(&file), Err(AbsentReason::Unsupported), "{what}, {times} times");
        }
        for (what, file) in [("no height", edited(frame + 6, 0)), ("no sampling", edited(frame + 11, 0))] {
            let file = if what == "no height" { [&file[..frame + 5], &[0], &file[frame + 6..]].concat() } else { file };
            assert_eq!(verdict(&file), Err(AbsentReason::DecodeError), "{what}, {times} times");
        }
    }
}

/// A TIFF directory with an orientation of 6: a quarter turn.
fn exif(big_endian: bool, kind: u16) -> Vec<u8> {
    let two = |n: u16| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let four = |n: u32| if big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
    let value = if kind == 3 { [two(6), [0, 0]].concat() } else { four(6).to_vec() };
    let head = if big_endian { b"MM\0*" } else { b"II*\0" };
    [head.as_slice(), &four(8), &two(1), &two(0x112), &two(kind), &four(1), &value, &four(0)].concat()
}

fn png_chunk(kind: &[u8], body: &[u8]) -> Vec<u8> {
    let mut crc = !0_u32;
    for byte in kind.iter().chain(body) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    [&(body.len() as u32).to_be_bytes(), kind, body, &(!crc).to_be_bytes()].concat()
}

fn in_jpeg(exif: &[u8]) -> Vec<u8> {
    let whole = fixture("photo.jpg");
    let body = [b"Exif\0\0".as_slice(), exif].concat();
    [&whole[..2], b"\xff\xe1", &(body.len() as u16 + 2).to_be_bytes(), &body, &whole[2..]].concat()
}

fn in_png(exif: &[u8]) -> Vec<u8> {
    let whole = fixture("rgb.png");
    [&whole[..33], &png_chunk(b"eXIf", exif), &whole[33..]].concat()
}

fn in_webp(exif: &[u8]) -> Vec<u8> {
    let whole = fixture("lossy.webp");
    [&whole, b"EXIF".as_slice(), &(exif.len() as u32).to_le_bytes(), exif].concat()
}

#[test]
fn an_orientation_turns_a_picture_however_it_is_stored() {
    type Change = fn(&[u8]) -> Vec<u8>;
    let files: [(&str, Change, &str); 3] =
        [("JPEG", in_jpeg, "photo.jpg"), ("PNG", in_png, "rgb.png"), ("WebP", in_webp, "lossy.webp")];
    for (format, with, plain) in files {
        let plain = view(&fixture(plain)).unwrap();
        assert!(plain.width > plain.height);
        for big_endian in [false, true] {
            for kind in [3, 4] {
                let turned = view(&with(&exif(big_endian, kind))).unwrap();
                let sizes = ((turned.width, turned.height), (plain.height, plain.width));
                assert_eq!(sizes.0, sizes.1, "{format}, big endian {big_endian}, type {kind}");
            }
        }
        assert_eq!(view(&with(b"MM\0*nonsense")).unwrap().pixels, plain.pixels, "{format}");
    }
}

#[test]
fn a_png_with_an_oddity_looks_as_without_it() {
    let whole = fixture("rgb.png");
    let plain = view(&whole).unwrap();
    let put = |bytes: &[u8]| [&whole[..33], bytes, &whole[33..]].concat();
    let with_wrong_checksum = |kind: &[u8], body: &[u8]| {
        let mut chunk = png_chunk(kind, body);
        let last = chunk.len() - 1;
        chunk[last] ^= 1;
        chunk
    };
    let files = [
        ("a text with a wrong checksum", put(&with_wrong_checksum(b"tEXt", b"a\0b"))),
        ("a resolution with a wrong checksum", put(&with_wrong_checksum(b"pHYs", &[0; 9]))),
        ("a profile that is none", put(&png_chunk(b"iCCP", b"a\0\0none"))),
        ("a gamma cut short", put(&png_chunk(b"gAMA", b"\0"))),
        ("100,000 texts", put(&png_chunk(b"tEXt", b"a\0b").repeat(100_000))),
        ("100,000 unknown chunks", put(&png_chunk(b"abCd", b"").repeat(100_000))),
        ("no end chunk", whole[..whole.len() - 12].to_vec()),
        ("an end chunk with a wrong checksum", [&whole[..whole.len() - 1], b"x"].concat()),
        ("garbage behind the end", [whole.as_slice(), b"garbage"].concat()),
    ];
    for (what, file) in files {
        let view = view(&file).unwrap_or_else(|reason| panic!("{what}: {reason}"));
        assert_eq!(view.pixels, plain.pixels, "{what}");
    }
}

#[test]
fn a_webp_is_what_its_frame_is_whatever_its_container_says_of_sizes() {
    for name in ["lossy.webp", "lossless.webp", "alpha.webp", "animated.webp"] {
        let whole = fixture(name);
        let plain = view(&whole).unwrap();
        for size in [0, 100, whole.len() as u32 + 999, u32::MAX] {
            let mut file = whole.clone();
            file[4..8].copy_from_slice(&size.to_le_bytes());
            file.extend_from_slice(b"garbage");
            assert_eq!(view(&file).unwrap().pixels, plain.pixels, "{name} that says {size}");
        }
    }
}

#[test]
fn a_gif_is_as_large_as_its_screen_or_where_that_is_smaller_its_first_frame() {
    let whole = fixture("still.gif");
    let plain = view(&whole).unwrap();
    let screen = |width: u16, height: u16| {
        let mut file = whole.clone();
        file[6..8].copy_from_slice(&width.to_le_bytes());
        file[8..10].copy_from_slice(&height.to_le_bytes());
        file
    };
    for (width, height) in [(0, 0), (0, 10), (10, 10)] {
        assert_eq!(view(&screen(width, height)).unwrap().pixels, plain.pixels, "{width} × {height}");
    }
    let stored = (u16::from_le_bytes([whole[6], whole[7]]), u16::from_le_bytes([whole[8], whole[9]]));
    let wide = view(&screen(stored.0 * 3, stored.1)).unwrap();
    assert_eq!((wide.width, wide.height), (SIDE * u32::from(stored.0) * 3 / u32::from(stored.1), plain.height));
    assert!(wide.pixels[wide.pixels.len() - 3..].iter().all(|value| *value == 255), "the rest of the screen is blank");
    assert!(verdict(&fixture("zero_screen.gif")).is_ok());
    let frame = whole.windows(5).position(|bytes| bytes == b"\x2c\0\0\0\0").unwrap();
    let mut far = whole.clone();
    far[frame + 1..frame + 5].copy_from_slice(&[0xff; 4]);
    assert_eq!(verdict(&far), Err(AbsentReason::TooLarge), "a frame that makes the screen 4 gigapixels");
}
