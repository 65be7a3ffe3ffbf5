//! The damage that other tests do to valid files is what it says: the same every time, of every kind, and deep enough to
//! pass the checksums.

use std::collections::BTreeMap;
use std::path::Path;

use jtav_media_codecs::{DecodeLimits, decode};
use jtav_schemas::{AbsentReason, Decoded, Modality};

#[path = "common/mutate.rs"]
mod mutate;

use mutate::{KINDS, Mutated, mend, mutate};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name);
    std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const FILES: [&str; 9] = [
    "photo.jpg",
    "progressive.jpg",
    "rgba.png",
    "lossy.webp",
    "animated.gif",
    "tone.mp3",
    "tone.m4a",
    "tone.flac",
    "tone.ogg",
];

#[test]
fn the_same_seed_does_the_same_damage_and_another_seed_another() {
    let other = fixture("lossy.webp");
    for name in FILES {
        let original = fixture(name);
        let damaged: Vec<Mutated> = (0..64).map(|seed| mutate(seed, &original, &other)).collect();
        let again: Vec<Mutated> = (0..64).map(|seed| mutate(seed, &original, &other)).collect();
        assert!(damaged == again, "{name}");
        let mut different: Vec<&[u8]> = damaged.iter().map(|mutated| mutated.bytes.as_slice()).collect();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() >= 60, "{name}: {} of 64", different.len());
        let unchanged = damaged.iter().filter(|mutated| mutated.bytes == original).count();
        assert!(unchanged <= 3, "{name}: {unchanged} of 64 were left as they are");
    }
}

#[test]
fn every_kind_of_damage_is_done_and_none_of_it_panics() {
    let other = fixture("tone.ogg");
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for name in FILES {
        let original = fixture(name);
        for seed in 0..400 {
            *kinds.entry(mutate(seed, &original, &other).kind).or_default() += 1;
        }
        // Stumps are the hardest input for the walks through a container.
        for length in 0..64.min(original.len()) {
            for seed in 0..8 {
                mutate(seed, &original[..length], &[]);
            }
        }
    }
    assert_eq!(kinds.len(), KINDS.len(), "{kinds:?}");
    assert!(kinds.values().all(|count| *count > 200), "{kinds:?}");
}

/// The checksums of the encoders that made these files are the oracle: mending a whole file changes nothing.
#[test]
fn mending_a_valid_file_leaves_it_as_it_is() {
    for name in ["rgb.png", "palette.png", "tone.ogg", "opus.ogg", "tone.flac"] {
        let original = fixture(name);
        let mut mended = original.clone();
        assert!(mend(&mut mended), "{name}");
        assert!(mended == original, "{name}");
    }
    assert!(!mend(&mut fixture("photo.jpg")), "a JPEG has no checksum");
}

/// What mending is for: of pages that were damaged and mended more reach the decoder than of pages with a wrong CRC. (Of a
/// PNG the rows in front of a wrong one count.)
#[test]
fn a_mended_file_gets_past_the_checksums() {
    for name in ["tone.ogg", "opus.ogg"] {
        let original = fixture(name);
        // Seconds of sound: a page with a wrong checksum costs what is on it.
        let decodes = |bytes: &[u8]| match decode(bytes, Modality::Audio, None, &DecodeLimits::for_tests()) {
            Ok(Decoded::Audio(pcm)) => f64::from(pcm.samples.len() as u32) / f64::from(pcm.sample_rate_hz),
            _ => 0.0,
        };
        let (mut torn, mut whole) = (0.0, 0.0);
        for at in (0..60).map(|i| original.len() / 2 + 7 * i) {
            let mut bytes = original.clone();
            bytes[at] ^= 0x10;
            torn += decodes(&bytes);
            mend(&mut bytes);
            whole += decodes(&bytes);
        }
        println!("{name}: {torn:.1} of 60 with wrong checksums, {whole:.1} of 60 with mended ones");
        assert!(whole > torn, "{name}: {whole} mended, {torn} torn");
    }
}

#[test]
fn damaged_media_end_in_a_picture_a_clip_or_a_reason() {
    let (mut fine, mut refused) = (0, BTreeMap::<AbsentReason, usize>::new());
    for (index, name) in FILES.iter().enumerate() {
        let (original, other) = (fixture(name), fixture(FILES[(index + 1) % FILES.len()]));
        let modality = if index < 5 { Modality::Image } else { Modality::Audio };
        for seed in 0..40 {
            match decode(&mutate(seed, &original, &other).bytes, modality, None, &DecodeLimits::for_tests()) {
                Ok(_) => fine += 1,
                Err(reason) => *refused.entry(reason).or_default() += 1,
            }
        }
    }
    println!("{fine} decoded, refused: {refused:?}");
    let decoding =
        [AbsentReason::DecodeError, AbsentReason::TooLarge, AbsentReason::TypeMismatch, AbsentReason::Unsupported];
    assert!(refused.keys().all(|reason| decoding.contains(reason)), "{refused:?}");
    assert!(fine > 0 && refused.contains_key(&AbsentReason::DecodeError));
}
