//! `jtav inspect`, as a process, on files of the bundled feed: numbers against librosa and Pillow
//! (`services/trainer/tests/fixtures/make_inspect.py`), pictures that open, refusals that help.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::SafeTensors;
use serde_json::Value;

/// Of what the fixture keeps every eighth frame, row and column.
const EVERY: usize = 8;

fn media(name: &str) -> String {
    format!("{}/../feed-simulator/sample-feed/media/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn jtav(arguments: &[&str], stdin: &[u8]) -> Output {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut child = Command::new(env!("CARGO_BIN_EXE_jtav"))
        .arg("inspect")
        .args(arguments)
        .env("JTAV__MODEL__DEVICE", "cpu")
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn last_line(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

/// Shape and values of an `.npy` file of f32.
fn read_npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..data]).unwrap();
    assert!(header.contains("'descr': '<f4', 'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape = shape.split(',').filter_map(|side| side.trim().parse().ok()).collect();
    (shape, bytes[data..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn reference(name: &str) -> Vec<f32> {
    let file = SafeTensors::deserialize(include_bytes!("../../trainer/tests/fixtures/inspect.safetensors")).unwrap();
    let tensor = file.tensor(name).unwrap();
    tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// What `--save` writes of the FLAC clip at 22,050 Hz, every eighth frame.
fn saved(features: &str, folder: &Path, bins: usize) -> Vec<f32> {
    let path = folder.join(format!("{features}.npy"));
    let clip = media("audio/a-0879.flac");
    let output = jtav(&["audio", &clip, "--features", features, "--save", path.to_str().unwrap(), "--json"], b"");
    let facts = last_line(&output);
    let (shape, values) = read_npy(&path);
    // 234,171 samples, centred frames.
    assert_eq!(shape, [1 + 234_171 / 1024, bins]);
    assert_eq!((facts["frames"].as_u64(), facts["bins"].as_u64()), (Some(shape[0] as u64), Some(bins as u64)));
    values.chunks(bins).step_by(EVERY).flatten().copied().collect()
}

fn largest_difference(found: &[f32], expected: &[f32], counts: impl Fn(f32) -> bool) -> f32 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected).filter(|(_, expected)| counts(**expected));
    pairs.map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max)
}

fn median_difference(found: &[f32], expected: &[f32], counts: impl Fn(f32) -> bool) -> f32 {
    let pairs = found.iter().zip(expected).filter(|(_, expected)| counts(**expected));
    let mut differences: Vec<f32> = pairs.map(|(found, expected)| (found - expected).abs()).collect();
    differences.sort_by(f32::total_cmp);
    differences[differences.len() / 2]
}

/// Decibels back to amplitude, 1 at the peak of the clip.
fn amplitudes(decibels: &[f32]) -> Vec<f32> {
    decibels.iter().map(|db| 10_f32.powf(db / 20.0)).collect()
}

#[test]
fn saved_spectrograms_are_librosas_to_a_thousandth_of_the_peak() {
    let folder = tempfile::tempdir().unwrap();
    let cqt = saved("cqt", folder.path(), 96);
    let direct = reference("cqt_direct_db");
    let difference = largest_difference(&amplitudes(&cqt), &amplitudes(&direct), |_| true);
    println!(
        "cqt: {difference:.1e} of the peak, {:.3} dB above -60 dB",
        largest_difference(&cqt, &direct, |db| db > -60.0)
    );
    assert!(difference <= 1e-3, "{difference:e}");
    // librosa.cqt itself decimates and drops small kernel values (docs/networks.md, "Audio").
    let median = median_difference(&cqt, &reference("cqt_db"), |db| db > -60.0);
    println!("cqt against librosa.cqt: median {median:.3} dB");
    assert!(median <= 0.3, "{median} dB");

    let (mel, expected) = (saved("mel", folder.path(), 96), reference("mel_db"));
    let difference = largest_difference(&amplitudes(&mel), &amplitudes(&expected), |_| true);
    println!("mel: {difference:.1e} of the peak, {:.4} dB", largest_difference(&mel, &expected, |_| true));
    assert!(difference <= 1e-3, "{difference:e}");

    let (mfcc, expected) = (saved("mfcc", folder.path(), 20), reference("mfcc"));
    let peak = expected.iter().fold(0.0_f32, |peak, value| peak.max(value.abs()));
    let difference = largest_difference(&mfcc, &expected, |_| true) / peak;
    println!("mfcc: {difference:.1e} of the peak");
    assert!(difference <= 1e-3, "{difference:e}");
}

#[test]
fn a_clip_is_described_with_its_attention_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("clip.png");
    let clip = media("audio/a-0879.flac");
    let found = last_line(&jtav(&["audio", &clip, "--picture", picture.to_str().unwrap(), "--json"], b""));
    assert_eq!((found["container"].as_str(), found["codec"].as_str()), (Some("flac"), Some("flac")));
    assert_eq!((found["sample_rate_hz"].as_u64(), found["channels"].as_u64()), (Some(22_050), Some(1)));
    assert_eq!((found["partial"].as_bool(), found["end"].as_str()), (Some(false), Some("whole")));
    assert!((found["decoded_seconds"].as_f64().unwrap() - 234_171.0 / 22_050.0).abs() < 1e-9);
    let shares: Vec<f64> = found["attention_per_second"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    // The remainder behind ten seconds is too short to be a segment.
    assert_eq!(shares.len(), 10);
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{shares:?}");
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));

    let limited = jtav(&["audio", &clip, "--json", "--set", "media.analysed_audio_seconds=5"], b"");
    let limited = last_line(&limited);
    assert_eq!((limited["partial"].as_bool(), limited["end"].as_str()), (Some(true), Some("analysed_length")));
    assert_eq!(limited["frames"].as_u64(), Some(1 + 5 * 22_050 / 1024));
    let stereo = last_line(&jtav(&["audio", &media("audio/a-0166.m4a"), "--features", "mel", "--json"], b""));
    assert_eq!((stereo["container"].as_str(), stereo["codec"].as_str()), (Some("mp4"), Some("aac")));
    assert_eq!(stereo["attention_per_second"].as_array().map(Vec::len), Some(0), "no network reads mel");
}

#[test]
fn a_saved_picture_is_pillows_crop_normalised() {
    let folder = tempfile::tempdir().unwrap();
    let [npy, png] = ["i.npy", "i.png"].map(|name| folder.path().join(name));
    let file = media("image/i-0255.webp");
    let arguments = ["image", &file, "--save", npy.to_str().unwrap(), "--picture", png.to_str().unwrap(), "--json"];
    let found = last_line(&jtav(&arguments, b""));
    let (shape, values) = read_npy(&npy);
    assert_eq!(shape, [3, 224, 224]);
    let kept: Vec<f32> = values
        .chunks(224 * 224)
        .flat_map(|plane| plane.chunks(224).step_by(EVERY).flat_map(|row| row.iter().step_by(EVERY)))
        .copied()
        .collect();
    let difference = largest_difference(&kept, &reference("picture"), |_| true);
    println!("picture: largest difference {difference:.4}");
    // One step of 8 bits, by which two-pass resizing may round differently.
    assert!(difference <= 1.01 / 128.0, "{difference}");

    assert_eq!((found["format"].as_str(), found["orientation"].as_u64()), (Some("webp"), Some(1)));
    assert_eq!(found["width"].as_u64().unwrap().min(found["height"].as_u64().unwrap()), 320);
    assert_eq!(found["crop"]["side"].as_u64(), Some(224));
    let cells = found["cells"].as_array().unwrap();
    assert_eq!((cells.len(), cells[0].as_array().unwrap().len()), (7, 7));
    let total: f64 = cells.iter().flat_map(|row| row.as_array().unwrap()).filter_map(Value::as_f64).sum();
    assert!((total - 1.0).abs() < 1e-4, "{total}");
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn a_text_is_shown_word_by_word() {
    let found = last_line(&jtav(&["text", "-", "--json"], b"What a LOVELY day! http://x.example @you zxqqzv"));
    let words = found["words"].as_array().unwrap();
    let named: Vec<&str> = words.iter().filter_map(|word| word["word"].as_str()).collect();
    assert_eq!(named, ["what", "a", "lovely", "day", "!", "zxqqzv"]);
    let attention: f64 = words.iter().filter_map(|word| word["attention"].as_f64()).sum();
    assert!((attention - 1.0).abs() < 1e-4, "{attention}");
    assert_eq!((words[2]["is_shouted"].as_bool(), words[4]["is_mark"].as_bool()), (Some(true), Some(true)));
    assert_eq!(words[2]["pieces"], serde_json::json!(["lovely"]));
    assert!(words[5]["pieces"].as_array().unwrap().len() > 1, "{found}");
    assert_eq!(found["language"]["code"].as_str(), Some("en"));
    let probabilities: f64 = found["probabilities"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
    assert!((probabilities - 1.0).abs() < 1e-4 && found["s"].as_f64().unwrap() > 0.0, "{found}");

    let table = jtav(&["text", "-"], b"What a lovely day");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("4 words are read") && table.contains("lovely") && table.contains("language"), "{table}");

    let folder = tempfile::tempdir().unwrap();
    let [long, short] = ["long.txt", "short.txt"].map(|name| folder.path().join(name));
    std::fs::write(&long, "the longer of the two parts").unwrap();
    std::fs::write(&short, "so sad").unwrap();
    let found = last_line(&jtav(&["text", short.to_str().unwrap(), long.to_str().unwrap(), "--json"], b""));
    assert_eq!((found["words"].as_array().unwrap().len(), found["supporting"].as_array().unwrap().len()), (6, 2));
}

#[test]
fn what_the_worker_would_leave_out_ends_with_code_65_and_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let web_page = folder.path().join("page.mp3");
    std::fs::write(&web_page, "<!doctype html><html>not found</html>").unwrap();
    let picture: PathBuf = media("image/i-0255.webp").into();
    for (arguments, stdin, expected) in [
        (["audio", web_page.to_str().unwrap()], &b""[..], "type_mismatch: the bytes are not of this kind"),
        (["audio", picture.to_str().unwrap()], b"", "type_mismatch"),
        (["image", "-"], b"no picture", "decode_error: the bytes are damaged"),
        (["image", "no-such-file.jpg"], b"", "no-such-file.jpg"),
        (["text", "-"], b"http://x.example @you !!!", "no word is left"),
        (["text", "-"], b"\xff\xfe", "no UTF-8 text"),
    ] {
        let output = jtav(&arguments, stdin);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(65), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
