//! Decoding against Pillow, libsndfile and FFmpeg, and against hostile bytes. The fixtures and what those decoders see
//! in them come from `fixtures/make_fixtures.py`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jtav_media_codecs::{
    DecodeLimits, MediaFacts, Panicked, SAMPLE_RATE_HZ, SoundEnd, SoundFacts, center_crop, decode, decode_guarded,
    decode_with_facts, image_view,
};
use jtav_schemas::{AbsentReason, Decoded, Modality, Pcm, RgbImage};

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn limits() -> DecodeLimits {
    DecodeLimits::for_tests()
}

fn as_image(bytes: &[u8]) -> Result<RgbImage, AbsentReason> {
    decode(bytes, Modality::Image, None, &limits()).map(|decoded| match decoded {
        Decoded::Image(image) => image,
        Decoded::Audio(_) => panic!("an image was asked for"),
    })
}

fn as_audio_within(bytes: &[u8], limits: &DecodeLimits) -> Result<Pcm, AbsentReason> {
    decode(bytes, Modality::Audio, None, limits).map(|decoded| match decoded {
        Decoded::Audio(pcm) => pcm,
        Decoded::Image(_) => panic!("audio was asked for"),
    })
}

fn as_audio(bytes: &[u8]) -> Result<Pcm, AbsentReason> {
    as_audio_within(bytes, &limits())
}

/// Mean and largest difference to the picture that Pillow made, in 1/255.
fn image_difference(ours: &RgbImage, expected: &str) -> (f64, u8) {
    let theirs = image::open(path("expected").join(expected)).unwrap().into_rgb8();
    assert_eq!((ours.width, ours.height), theirs.dimensions(), "{expected}");
    assert_eq!(ours.pixels.len(), theirs.as_raw().len(), "{expected}");
    let differences = || ours.pixels.iter().zip(theirs.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let mean = differences().map(f64::from).sum::<f64>() / ours.pixels.len() as f64;
    (mean, differences().max().unwrap_or(0))
}

#[test]
fn pictures_look_as_pillow_sees_them() {
    // Largest mean and largest single difference. Measured: lossless formats differ in at most every sixth value by 1
    // (rounding between the two passes of resizing), lossy ones by 0.39 in the mean and 3 at most (inverse transform
    // and chroma upsampling of the decoder).
    let lossless = (0.25, 1);
    let lossy = (0.5, 4);
    // Large enough to be reduced to one half, as Pillow does with `draft`: measured 0.41 and 3, as if decoded whole.
    let reduced = lossy;
    let cases = [
        ("rgb.png", lossless),
        ("rgba.png", lossless),
        ("grey_alpha.png", lossless),
        ("palette.png", lossless),
        ("bilevel.png", lossless),
        ("rgb16.png", lossless),
        ("grey16.png", lossless),
        ("pixel.png", (0.0, 0)),
        ("sliver.png", lossless),
        ("still.gif", lossless),
        ("animated.gif", lossless),
        ("lossless.webp", lossless),
        ("animated.webp", lossless),
        ("lossy.webp", lossy),
        ("alpha.webp", lossy),
        ("photo.jpg", reduced),
        ("progressive.jpg", reduced),
        ("grey.jpg", reduced),
        ("cmyk.jpg", lossy),
        ("exif1.jpg", lossy),
        ("exif2.jpg", lossy),
        ("exif3.jpg", lossy),
        ("exif4.jpg", lossy),
        ("exif5.jpg", lossy),
        ("exif6.jpg", lossy),
        ("exif7.jpg", lossy),
        ("exif8.jpg", lossy),
    ];
    let mut wrong = Vec::new();
    for (name, (most_mean, most)) in cases {
        let view = image_view(&fixture(name), &limits(), 64).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        let (mean, largest) = image_difference(&view, &format!("{name}.png"));
        println!("{name:18} mean {mean:.4} largest {largest}");
        if mean > most_mean || largest > most {
            wrong.push(format!("{name}: mean {mean:.4} (at most {most_mean}), largest {largest} (at most {most})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_served_view_is_the_central_224_of_a_shorter_side_of_256() {
    let bytes = fixture("photo.jpg");
    let served = as_image(&bytes).unwrap();
    assert_eq!((served.width, served.height, served.pixels.len()), (224, 224, 224 * 224 * 3));
    let (mean, largest) = image_difference(&served, "photo_224.png");
    println!("photo_224 mean {mean:.4} largest {largest}");
    assert!(mean <= 0.5 && largest <= 4, "{mean} {largest}");

    let view = image_view(&bytes, &limits(), 256).unwrap();
    assert_eq!((view.width, view.height), (341, 256));
    assert_eq!(center_crop(&view, 224).pixels, served.pixels);
    assert_eq!(center_crop(&view, 300).pixels, view.pixels, "nothing to crop from: unchanged");
}

fn expected_audio(name: &str) -> Vec<f32> {
    let bytes = std::fs::read(path("expected").join(name)).unwrap();
    bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect()
}

/// Signal to difference in dB, after dropping `lead` samples of ours.
fn snr_db(ours: &[f32], lead: usize, theirs: &[f32]) -> f64 {
    let signal: f64 = theirs.iter().map(|x| f64::from(*x).powi(2)).sum();
    let error: f64 = theirs.iter().zip(&ours[lead..]).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    10.0 * (signal / error.max(1e-30)).log10()
}

#[test]
fn clips_sound_as_libsndfile_and_ffmpeg_hear_them() {
    // File, reference, samples of AAC priming that stay in front (1024 at 44.1 kHz, of ADTS alone), extra samples allowed behind,
    // least signal-to-difference ratio. The references have 16 bits, which limits the ratio to about 78 dB.
    let cases = [
        ("pcm16.wav", "pcm16.wav", 0, 0, 120.0),
        ("pcm24.wav", "pcm24.wav", 0, 0, 74.0),
        ("float.wav", "float.wav", 0, 0, 74.0),
        ("pcm8.wav", "pcm8.wav", 0, 0, 74.0),
        ("tone.flac", "tone.flac", 0, 0, 74.0),
        ("tone.ogg", "tone.ogg", 0, 0, 74.0),
        ("tone.mp3", "tone.mp3", 0, 0, 74.0),
        ("tagged.mp3", "tone.mp3", 0, 0, 74.0),
        ("tone.m4a", "tone.m4a", 0, 0, 70.0),
        ("tone.aac", "tone.aac", 512, 0, 70.0),
    ];
    let mut wrong = Vec::new();
    for (name, reference, lead, tail, least) in cases {
        let pcm = as_audio(&fixture(name)).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!(pcm.sample_rate_hz, SAMPLE_RATE_HZ);
        let theirs = expected_audio(&format!("{reference}.i16"));
        let surplus = pcm.samples.len() as i64 - lead as i64 - theirs.len() as i64;
        println!("{name:12} samples {} of {} + {lead}", pcm.samples.len(), theirs.len());
        if surplus < 0 || surplus > tail {
            wrong.push(format!("{name}: {surplus} samples too many"));
            continue;
        }
        let snr = snr_db(&pcm.samples, lead, &theirs);
        println!("{name:12} {snr:.1} dB");
        if snr < least {
            wrong.push(format!("{name}: {snr:.1} dB, at least {least}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_clip_of_a_rate_that_is_left_keeps_it_and_resampled_it_is_what_it_would_have_been() {
    for (name, rate_hz) in [("pcm16.wav", 22_050), ("tone.flac", 44_100), ("tone.ogg", 44_100), ("tone.m4a", 44_100)] {
        let left = DecodeLimits { left_rates_hz: vec![rate_hz], ..limits() };
        let own = as_audio_within(&fixture(name), &left).unwrap();
        assert_eq!(own.sample_rate_hz, rate_hz, "{name}");
        let resampled = jtav_signal::resample(&own.samples, rate_hz, SAMPLE_RATE_HZ).unwrap();
        assert_eq!(as_audio(&fixture(name)).unwrap().samples[..], resampled[..], "{name}");
    }
    let others = DecodeLimits { left_rates_hz: vec![8_000], ..limits() };
    assert_eq!(as_audio_within(&fixture("tone.mp3"), &others).unwrap().sample_rate_hz, SAMPLE_RATE_HZ);
}

#[test]
fn recognised_formats_that_are_not_decoded_are_unsupported() {
    for name in ["he_aac.m4a", "alac.m4a"] {
        assert_eq!(as_audio(&fixture(name)).err(), Some(AbsentReason::Unsupported), "{name}");
    }
    let svg = b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"><script>x</script></svg>";
    assert_eq!(as_image(svg).err(), Some(AbsentReason::Unsupported));
    for brand in [b"avif", b"heic"] {
        let file = [b"\0\0\0\x18ftyp".as_slice(), brand, b"\0\0\0\0mif1miaf"].concat();
        assert_eq!(as_image(&file).err(), Some(AbsentReason::Unsupported));
        assert_eq!(as_audio(&file).err(), Some(AbsentReason::TypeMismatch));
    }
}

#[test]
fn content_of_the_other_kind_is_a_type_mismatch_whatever_is_declared() {
    for name in ["photo.jpg", "rgb.png", "lossy.webp", "still.gif"] {
        let verdict = decode(&fixture(name), Modality::Audio, Some("audio/mpeg"), &limits());
        assert_eq!(verdict.err(), Some(AbsentReason::TypeMismatch), "{name}");
    }
    for name in ["tone.mp3", "tagged.mp3", "tone.m4a", "tone.aac", "tone.ogg", "tone.flac", "pcm16.wav"] {
        let verdict = decode(&fixture(name), Modality::Image, Some("image/jpeg"), &limits());
        assert_eq!(verdict.err(), Some(AbsentReason::TypeMismatch), "{name}");
    }
    assert_eq!(as_image(b"<!doctype html><title>Sign in</title>").err(), Some(AbsentReason::TypeMismatch));
    // Another kind of picture than the declared one is still a picture.
    assert!(decode(&fixture("rgb.png"), Modality::Image, Some("image/jpeg"), &limits()).is_ok());
}

#[test]
fn garbage_and_emptiness_are_decode_errors() {
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [b"".as_slice(), b"x", b"not media at all", &[0; 4000], &noise] {
        assert_eq!(as_image(bytes).err(), Some(AbsentReason::DecodeError));
        assert_eq!(as_audio(bytes).err(), Some(AbsentReason::DecodeError));
    }
}

#[test]
fn stumps_of_pictures_are_decode_errors_at_every_length() {
    for name in ["photo.jpg", "exif6.jpg", "rgb.png", "palette.png", "lossless.webp", "lossy.webp", "still.gif"] {
        let bytes = fixture(name);
        for cut in (0..20).map(|i| i * bytes.len() / 60).chain([1, 4, 12, 33]) {
            let verdict = as_image(&bytes[..cut]);
            assert_eq!(verdict.map(|_| ()), Err(AbsentReason::DecodeError), "{name} cut to {cut} of {}", bytes.len());
        }
    }
}

#[test]
fn a_truncated_clip_gives_what_there_is_of_it() {
    for name in ["long.mp3", "long.flac", "long.wav", "long.aac"] {
        let bytes = fixture(name);
        let whole = as_audio(&bytes).unwrap();
        let most = as_audio(&bytes[..bytes.len() * 3 / 4]).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert!((0.4..0.9).contains(&(most.seconds() / whole.seconds())), "{name}: {} s", most.seconds());
        assert_eq!(as_audio(&bytes[..40.min(bytes.len())]).err(), Some(AbsentReason::DecodeError), "{name}");
    }
}

#[test]
fn a_clip_with_damaged_packets_still_sounds() {
    for name in ["tone.mp3", "tone.flac", "tone.aac", "tone.m4a"] {
        let mut bytes = fixture(name);
        let middle = bytes.len() / 2;
        for byte in &mut bytes[middle..middle + 300] {
            *byte = byte.wrapping_mul(31).wrapping_add(7);
        }
        let pcm = as_audio(&bytes).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert!(pcm.seconds() > 0.5, "{name}: {} s", pcm.seconds());
        assert!(pcm.samples.iter().all(|sample| sample.is_finite()), "{name}");
    }
}

#[test]
fn bombs_allocate_nothing_of_what_they_claim() {
    let bomb = fixture("bomb.png");
    assert_eq!(bomb.len(), 65, "16384 × 16384 in 65 bytes");
    let started = Instant::now();
    assert_eq!(as_image(&bomb).err(), Some(AbsentReason::TooLarge));
    // A clip that claims a day, in the 36 bits of STREAMINFO that count its samples, and has a second.
    let mut day = fixture("tone.flac");
    day[22..26].copy_from_slice(&(86_400 * 44_100_u32).to_be_bytes());
    assert_eq!(as_audio(&day).map(|pcm| pcm.seconds()), Ok(1.0));
    // Either would take minutes, and more memory than there is.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn pictures_over_a_limit_are_too_large() {
    let bytes = fixture("photo.jpg");
    // At the size at which it is stored.
    let view = |bytes: &[u8], limits: &DecodeLimits| image_view(bytes, limits, 256).map(|_| ());
    for tight in [
        DecodeLimits { max_pixels: 400 * 300 - 1, ..limits() },
        DecodeLimits { max_image_bytes: 400 * 300 * 3 - 1, ..limits() },
        DecodeLimits { max_picture_price: Duration::from_micros(10), ..limits() },
    ] {
        assert_eq!(view(&bytes, &tight), Err(AbsentReason::TooLarge));
    }
    let exact = DecodeLimits { max_pixels: 400 * 300, max_image_bytes: 400 * 300 * 3, ..limits() };
    assert_eq!(view(&bytes, &exact), Ok(()));
    // A progressive one holds its coefficients besides, of 25 × 19 units of six blocks of 64, with two bytes each.
    let working = |bytes: u64| DecodeLimits { max_image_working_bytes: bytes, ..limits() };
    let least = 400 * 300 * 3 + 25 * 19 * 6 * 128;
    assert_eq!(view(&bytes, &working(least - 1)), Ok(()));
    assert_eq!(view(&fixture("progressive.jpg"), &working(least - 1)), Err(AbsentReason::TooLarge));
    assert_eq!(view(&fixture("progressive.jpg"), &working(least)), Ok(()));
}

#[test]
fn impossible_rates_and_channel_counts_are_refused() {
    for name in ["rate0.wav", "rate4g.wav", "channels255.wav"] {
        let verdict = as_audio(&fixture(name)).map(|_| ());
        assert!(matches!(verdict, Err(AbsentReason::Unsupported | AbsentReason::DecodeError)), "{name}: {verdict:?}");
    }
}

#[test]
fn only_the_first_part_of_a_clip_is_analysed() {
    let short = DecodeLimits { analysed_audio: Duration::from_millis(250), ..limits() };
    for name in ["tone.mp3", "tone.flac", "pcm16.wav"] {
        let pcm = as_audio_within(&fixture(name), &short).unwrap();
        assert!((pcm.seconds() - 0.25).abs() < 1e-3, "{name}: {} s", pcm.seconds());
    }
    let strict = DecodeLimits { max_audio: Duration::from_millis(900), ..limits() };
    for name in ["tone.mp3", "tone.flac", "tone.ogg", "pcm16.wav", "tone.m4a"] {
        let pcm = as_audio_within(&fixture(name), &strict).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert!((pcm.seconds() - 0.9).abs() < 1e-3, "{name} is cut off, not refused: {} s", pcm.seconds());
    }
}

#[test]
fn a_clip_that_takes_too_much_cpu_is_too_large() {
    let impatient = DecodeLimits { max_audio_cpu: Duration::ZERO, ..limits() };
    assert_eq!(as_audio_within(&fixture("tone.mp3"), &impatient).err(), Some(AbsentReason::TooLarge));
}

#[test]
fn samples_that_are_no_numbers_are_a_decode_error() {
    let mut bytes = fixture("float.wav");
    let at = bytes.len() - 4000;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(as_audio(&bytes).err(), Some(AbsentReason::DecodeError));
}

#[test]
fn mutated_media_end_in_a_picture_a_clip_or_a_reason() {
    let names = [
        "photo.jpg",
        "progressive.jpg",
        "rgba.png",
        "palette.png",
        "lossy.webp",
        "animated.webp",
        "animated.gif",
        "tone.mp3",
        "tone.m4a",
        "tone.aac",
        "tone.flac",
        "tone.ogg",
        "pcm16.wav",
    ];
    let mut state = 20_261_123_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut fine, mut refused, mut panics) = (0, 0, 0);
    for name in names {
        let original = fixture(name);
        for _ in 0..25 {
            let mut bytes = original.clone();
            for _ in 0..=random(12) {
                // The head of a file is where sizes and counts are.
                let span = if random(2) == 0 { 256.min(bytes.len()) } else { bytes.len() };
                let at = random(span);
                bytes[at] = random(256) as u8;
            }
            let modality =
                if name.contains("tone") || name.contains("pcm") { Modality::Audio } else { Modality::Image };
            let verdict = decode_guarded(&bytes, modality, None, &limits(), &|| ()).unwrap_or_else(|Panicked| {
                panics += 1;
                Err(AbsentReason::DecodeError)
            });
            match verdict.map(|(decoded, _)| decoded) {
                Ok(Decoded::Image(image)) => assert_eq!(image.pixels.len(), 224 * 224 * 3),
                Ok(Decoded::Audio(pcm)) => assert!(pcm.samples.iter().all(|sample| sample.is_finite())),
                Err(reason) => {
                    assert_ne!(reason, AbsentReason::Absent);
                    refused += 1;
                    continue;
                }
            }
            fine += 1;
        }
    }
    println!("mutations: {fine} decoded, {refused} refused, {panics} panics caught");
    assert!(fine > 0 && refused > 0);
}

/// Every medium of the bundled feed, from phones, microphones and encoders that made no fixture here.
#[test]
fn every_medium_of_the_sample_feed_decodes() {
    let Some(folder) = std::env::var_os("JTAV_DATA_DIR").map(|data| PathBuf::from(data).join("sample-feed/media"))
    else {
        println!("skipped: JTAV_DATA_DIR is not set");
        return;
    };
    let started = Instant::now();
    let mut counts = [0; 2];
    for (count, (kind, modality)) in counts.iter_mut().zip([("image", Modality::Image), ("audio", Modality::Audio)]) {
        for entry in std::fs::read_dir(folder.join(kind)).unwrap() {
            let file = entry.unwrap().path();
            let decoded = decode(&std::fs::read(&file).unwrap(), modality, None, &limits());
            assert!(decoded.is_ok(), "{}: {}", file.display(), decoded.unwrap_err());
            *count += 1;
        }
    }
    println!("{} images, {} clips in {:?}", counts[0], counts[1], started.elapsed());
    assert!(counts.iter().all(|count| *count > 0));
}

fn facts(name: &str, modality: Modality) -> MediaFacts {
    let bytes = fixture(name);
    decode_with_facts(&bytes, modality, None, &limits()).unwrap_or_else(|reason| panic!("{name}: {reason}")).1
}

fn sound_facts(bytes: &[u8], limits: &DecodeLimits) -> SoundFacts {
    match decode_with_facts(bytes, Modality::Audio, None, limits) {
        Ok((_, MediaFacts::Sound(facts))) => facts,
        other => panic!("{other:?}"),
    }
}

/// What `file` and `ffprobe` say of the same files.
#[test]
fn the_facts_of_a_file_are_those_before_it_was_reduced() {
    for (name, container, codec) in [
        ("tone.mp3", "mp3", "mp3"),
        ("tone.flac", "flac", "flac"),
        ("tone.ogg", "ogg", "vorbis"),
        ("tone.m4a", "mp4", "aac"),
        ("tone.aac", "adts", "aac"),
        ("pcm16.wav", "wav", "pcm_s16le"),
        ("pcm24.wav", "wav", "pcm_s24le"),
        ("float.wav", "wav", "pcm_f32le"),
    ] {
        let MediaFacts::Sound(facts) = facts(name, Modality::Audio) else { panic!("{name} is sound") };
        assert_eq!((&*facts.container, &*facts.codec), (container, codec), "{name}");
        assert!(!facts.is_partial(), "{name}: {facts:?}");
    }
    let MediaFacts::Picture(turned) = facts("exif6.jpg", Modality::Image) else { panic!("a picture") };
    assert_eq!((&*turned.format, turned.orientation), ("jpeg", 6));
    let MediaFacts::Picture(photo) = facts("photo.jpg", Modality::Image) else { panic!("a picture") };
    assert_eq!((photo.resized_width, photo.resized_height), (341, 256));
    // round(117 / 2) and 32 / 2.
    assert_eq!((photo.crop_left, photo.crop_top, photo.crop_px), (58, 16, 224));
    // A quarter turn swaps the sides.
    let stored_wide = turned.width > turned.height;
    assert_eq!(turned.resized_width < turned.resized_height, stored_wide, "{turned:?}");
}

#[test]
fn a_clip_of_which_something_is_missing_is_partial_and_says_why() {
    let whole = fixture("tone.flac");
    let limited = DecodeLimits { analysed_audio: Duration::from_millis(200), ..limits() };
    let facts = sound_facts(&whole, &limited);
    assert_eq!((facts.end, facts.is_partial()), (SoundEnd::AnalysedLength, true));
    assert!((facts.decoded_seconds - 0.2).abs() < 1e-3, "{facts:?}");
    for name in ["long.flac", "long.wav", "long.mp3", "long.aac"] {
        let bytes = fixture(name);
        let facts = sound_facts(&bytes[..bytes.len() * 3 / 4], &limits());
        assert!(facts.is_partial(), "{name}: {facts:?}");
    }
}
