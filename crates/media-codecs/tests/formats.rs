//! The matrix of `docs/media-formats.md`: every row of its tables is decoded here and held against what the row says, so
//! the document cannot promise what is not so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jtav_media_codecs::{DecodeLimits, MediaFacts, decode, decode_with_facts, image_view};
use jtav_schemas::{AbsentReason, Decoded, Modality, RgbImage};

const DOCUMENT: &str = include_str!("../../../docs/media-formats.md");

/// Files of the folder that are no media to decode: attacks, which `decode.rs` has.
const HOSTILE: [&str; 4] = ["bomb.png", "rate0.wav", "rate4g.wav", "channels255.wav"];

fn path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A row of the document.
#[derive(Debug)]
struct Row {
    modality: Modality,
    file: &'static str,
    /// `None`: it decodes.
    refusal: Option<AbsentReason>,
    /// In the folder `expected`; empty where nothing is decoded, or nothing compared.
    reference: &'static str,
    /// How near the reference, in the words of the document.
    within: &'static str,
}

/// Rows of the tables below `## Pictures` and `## Sound`.
fn rows() -> Vec<Row> {
    let mut modality = None;
    let mut rows = Vec::new();
    for line in DOCUMENT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            modality = match heading {
                "Pictures" => Some(Modality::Image),
                "Sound" => Some(Modality::Audio),
                _ => None,
            };
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (Some(modality), [_, _, file, verdict, reference, within]) = (modality, cells.as_slice()) else { continue };
        let Some(file) = file.strip_prefix('`').and_then(|file| file.strip_suffix('`')) else { continue };
        let refusal = match *verdict {
            "ok" => None,
            code => Some(
                AbsentReason::ALL
                    .into_iter()
                    .find(|reason| reason.as_str() == code)
                    .unwrap_or_else(|| panic!("{file}: `{code}` is no verdict")),
            ),
        };
        rows.push(Row { modality, file, refusal, reference: reference.trim_matches('`'), within });
    }
    rows
}

/// The numbers in a text, in order.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|number| number.parse().ok()).collect()
}

/// Mean and largest difference to the picture that Pillow made, in 1/255.
fn picture_differs(view: &RgbImage, reference: &str) -> Result<(f64, f64), String> {
    let theirs = image::open(path("expected").join(reference)).map_err(|error| error.to_string())?.into_rgb8();
    if (view.width, view.height) != theirs.dimensions() {
        return Err(format!("{} x {}, Pillow has {:?}", view.width, view.height, theirs.dimensions()));
    }
    let differences = || view.pixels.iter().zip(theirs.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)));
    Ok((differences().sum::<f64>() / view.pixels.len() as f64, differences().fold(0.0, f64::max)))
}

/// Signal to difference in dB, and by how many samples ours is longer.
fn sound_differs(samples: &[f32], reference: &str, lead: usize) -> Result<(f64, i64), String> {
    let bytes = std::fs::read(path("expected").join(reference)).map_err(|error| error.to_string())?;
    let theirs: Vec<f64> =
        bytes.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect();
    let ours = samples.get(lead..).unwrap_or_default();
    let signal: f64 = theirs.iter().map(|x| x.powi(2)).sum();
    let error: f64 = theirs.iter().zip(ours).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum();
    Ok((10.0 * (signal / error.max(1e-30)).log10(), ours.len() as i64 - theirs.len() as i64))
}

fn facts_are_partial(facts: &MediaFacts) -> bool {
    matches!(facts, MediaFacts::Sound(sound) if sound.is_partial())
}

/// What of a row is not so.
fn wrong(row: &Row) -> Result<(), String> {
    let bytes = fixture(row.file);
    let limits = DecodeLimits::for_tests();
    let decoded = decode_with_facts(&bytes, row.modality, None, &limits);
    let (decoded, facts) = match (decoded, row.refusal) {
        (Err(reason), Some(expected)) if reason == expected => return Ok(()),
        (Err(reason), _) => return Err(format!("is refused as {reason}")),
        (Ok(_), Some(expected)) => return Err(format!("decodes, and should be {expected}")),
        (Ok(decoded), None) => decoded,
    };
    if facts_are_partial(&facts) {
        return Err(format!("counts as partial: {facts:?}"));
    }
    match (decoded, facts) {
        _ if row.reference.is_empty() => {}
        (Decoded::Image(_), MediaFacts::Picture(_)) => {
            let [most_mean, most] = numbers(row.within)[..] else { return Err("needs a mean and a largest".into()) };
            let view = image_view(&bytes, &limits, 64).map_err(|reason| reason.to_string())?;
            let (mean, largest) = picture_differs(&view, row.reference)?;
            println!("{:24} mean {mean:.3}, largest {largest}", row.file);
            if mean > most_mean || largest > most {
                return Err(format!("differs by {mean:.3} in the mean and {largest} at most"));
            }
        }
        (Decoded::Audio(pcm), MediaFacts::Sound(facts)) => {
            let (least, lead) = match numbers(row.within)[..] {
                [least] => (least, 0),
                [least, lead] => (least, lead as usize),
                _ => return Err("needs a ratio".into()),
            };
            let (ratio, surplus) = sound_differs(&pcm.samples, row.reference, lead)?;
            println!("{:24} {ratio:.1} dB, {surplus} samples more, {facts:?}", row.file);
            // Codecs fill their last frame, and not every container says how much of it is sound.
            if ratio < least || !(-2..=441).contains(&surplus) {
                return Err(format!("has {ratio:.1} dB and {surplus} samples more"));
            }
        }
        (_, facts) => return Err(format!("is something else: {facts:?}")),
    }
    Ok(())
}

#[test]
fn every_row_of_the_matrix_is_so() {
    let rows = rows();
    assert!(rows.len() >= 80, "{} rows were found in the document", rows.len());
    let wrong: Vec<String> =
        rows.iter().filter_map(|row| wrong(row).err().map(|what| format!("{} {what}", row.file))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_asked_for_as_the_other_kind_is_a_type_mismatch() {
    let mut wrong = Vec::new();
    for row in rows().iter().filter(|row| !matches!(row.refusal, Some(AbsentReason::DecodeError))) {
        let (other, declared) = match row.modality {
            Modality::Image => (Modality::Audio, "audio/mpeg"),
            _ => (Modality::Image, "image/jpeg"),
        };
        let verdict = decode(&fixture(row.file), other, Some(declared), &DecodeLimits::for_tests()).err();
        if verdict != Some(AbsentReason::TypeMismatch) {
            wrong.push(format!("{}: {verdict:?}", row.file));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Another format of the same kind decodes by its content, whatever its name says.
#[test]
fn the_declared_format_of_the_right_kind_changes_nothing() {
    for row in rows().iter().filter(|row| row.refusal.is_none()) {
        let declared = if row.modality == Modality::Image { "image/gif" } else { "audio/ogg" };
        assert!(
            decode(&fixture(row.file), row.modality, Some(declared), &DecodeLimits::for_tests()).is_ok(),
            "{}",
            row.file
        );
    }
}

#[test]
fn every_fixture_stands_in_the_matrix() {
    let in_document: BTreeSet<&str> = rows().iter().map(|row| row.file).collect();
    for entry in std::fs::read_dir(path("")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let medium = entry.file_type().unwrap().is_file() && !name.starts_with("make_");
        if medium && !HOSTILE.contains(&name.as_str()) {
            assert!(in_document.contains(name.as_str()), "{name} is in no row of docs/media-formats.md");
        }
    }
}

/// Sound that was cut short: what came out counts from one second on, and less is damage.
#[test]
fn a_clip_cut_short_counts_from_one_second_on() {
    let mut wrong = Vec::new();
    for name in ["long.mp3", "long.aac", "long.m4a", "long.flac", "long.ogg", "long.opus", "long.wav"] {
        let bytes = fixture(name);
        for percent in [10, 20, 30, 40, 60, 75, 90] {
            let cut = &bytes[..bytes.len() * percent / 100];
            let verdict = decode_with_facts(cut, Modality::Audio, None, &DecodeLimits::for_tests());
            match verdict {
                Ok((Decoded::Audio(pcm), MediaFacts::Sound(facts))) => {
                    println!("{name:10} {percent} %: {:.2} s", facts.decoded_seconds);
                    if !facts.is_partial() || facts.decoded_seconds < 1.0 || !(1.0..2.5).contains(&pcm.seconds()) {
                        wrong.push(format!("{name} cut to {percent} %: {facts:?}"));
                    }
                    if percent <= 30 {
                        wrong.push(format!("{name} cut to {percent} % is no clip: {facts:?}"));
                    }
                }
                Err(AbsentReason::DecodeError) if percent < 75 => println!("{name:10} {percent} %: no clip"),
                other => wrong.push(format!("{name} cut to {percent} %: {:?}", other.map(|(_, facts)| facts))),
            }
        }
        let whole = decode_with_facts(&bytes, Modality::Audio, None, &DecodeLimits::for_tests());
        let Ok((_, MediaFacts::Sound(facts))) = whole else { panic!("{name}") };
        assert!(!facts.is_partial(), "{name} is whole: {facts:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A clip that is whole may be as short as it likes, and so may one that a limit shortened.
#[test]
fn a_short_clip_is_no_clip_cut_short() {
    let ring = fixture("ring_44k_f32.wav");
    assert!(decode(&ring, Modality::Audio, None, &DecodeLimits::for_tests()).is_ok());
    let analysed_audio = std::time::Duration::from_millis(250);
    let limits = DecodeLimits { analysed_audio, ..DecodeLimits::for_tests() };
    assert!(decode(&fixture("long.flac"), Modality::Audio, None, &limits).is_ok());
}

/// What taggers and careless servers leave behind a file is not the end of the sound that is missing.
#[test]
fn junk_behind_a_short_clip_does_not_make_it_one_that_was_cut() {
    let tag = [b"TAG".as_slice(), &[b' '; 125]].concat();
    for name in ["mono_24k.mp3", "vbr.mp3", "ring_24.flac", "ring_8k_u8.wav", "mono.m4a", "mono.ogg", "stereo.opus"] {
        for junk in [tag.as_slice(), &[0; 700], b"<!-- -->"] {
            let file = [fixture(name).as_slice(), junk].concat();
            let verdict = decode(&file, Modality::Audio, None, &DecodeLimits::for_tests()).map(|_| ());
            assert_eq!(verdict, Ok(()), "{name} with {} bytes behind it", junk.len());
        }
    }
}

/// Of a picture at least half has to be there; of an animation, its first picture.
#[test]
fn a_picture_of_which_less_than_half_could_be_read_is_a_decode_error() {
    for row in rows().iter().filter(|row| row.modality == Modality::Image && row.refusal.is_none()) {
        let bytes = fixture(row.file);
        for cut in [0, 1, 8, bytes.len() / 50] {
            let verdict = decode(&bytes[..cut], Modality::Image, None, &DecodeLimits::for_tests()).map(|_| ());
            assert_eq!(verdict, Err(AbsentReason::DecodeError), "{} cut to {cut} of {}", row.file, bytes.len());
        }
    }
}
