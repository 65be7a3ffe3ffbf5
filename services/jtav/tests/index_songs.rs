//! `jtav index songs`, as a process: a folder of songs of which some cannot be read, with the bundled networks.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jtav_model::retrieval::{RetrievalCheckpoint, SongCatalogue};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn fixture(name: &str) -> PathBuf {
    repository("crates/media-codecs/tests/fixtures").join(name)
}

fn index(folder: &Path, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jtav"))
        .args(["index", "songs"])
        .arg(folder)
        .arg("--out")
        .arg(out)
        .args(["--set", "model.device=cpu"])
        .current_dir(repository(""))
        .output()
        .unwrap()
}

fn has_bases() -> bool {
    let there = repository("third_party/weights/minilm-l6.safetensors").exists();
    if !there {
        println!("skipped: the base weights are not set up");
    }
    there
}

#[test]
fn a_song_that_cannot_be_read_is_named_and_left_out_and_the_others_are_in_the_catalogue() {
    if !has_bases() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("album")).unwrap();
    std::fs::copy(fixture("tone.mp3"), at("album/one.mp3")).unwrap();
    std::fs::copy(fixture("pcm16.wav"), at("two.wav")).unwrap();
    std::fs::copy(fixture("photo.jpg"), at("picture.mp3")).unwrap();
    std::fs::write(at("empty\u{1b}[2J.ogg"), "").unwrap();
    std::fs::write(at("notes.txt"), "no song").unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("endless.wav")).unwrap();
    let out = at("out.songs");
    let output = index(folder.path(), &out);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{stderr}");
    assert!(stderr.contains("picture.mp3") && stderr.contains("left out") && !stderr.contains('\u{1b}'), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.starts_with("2 of 4 songs in "), "{stdout}");
    let towers = RetrievalCheckpoint::load(&repository("models/image2song")).unwrap();
    let catalogue = SongCatalogue::open(&out, &towers).unwrap();
    let songs: Vec<_> =
        catalogue.songs().iter().map(|song| (song.id.as_str(), song.title.as_deref(), song.has_lyrics)).collect();
    assert_eq!(songs, [("album/one.mp3", Some("one"), false), ("two.wav", Some("two"), false)]);
}

#[test]
fn a_sidecar_names_the_songs_and_gives_them_ids_titles_and_lyrics() {
    if !has_bases() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::copy(fixture("tone.mp3"), at("one.mp3")).unwrap();
    std::fs::copy(fixture("pcm16.wav"), at("two.wav")).unwrap();
    let line = r#"{"path":"one.mp3","id":"one","title":"Line\nfeed","lyrics":"what a lovely day at the sea"}"#;
    std::fs::write(at("songs.jsonl"), format!("{line}\n{{\"path\":\"gone.mp3\"}}\n")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("endless.wav")).unwrap();
    let out = at("out.songs");
    let output = index(folder.path(), &out);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("left out: gone.mp3"), "{stderr}");
    let towers = RetrievalCheckpoint::load(&repository("models/image2song")).unwrap();
    let catalogue = SongCatalogue::open(&out, &towers).unwrap();
    let [song] = catalogue.songs() else { panic!("{:?}", catalogue.songs()) };
    assert_eq!((song.id.as_str(), song.title.as_deref(), song.has_lyrics), ("one", Some("Line feed"), true));
}

#[test]
fn a_folder_without_a_song_that_can_be_read_ends_with_code_65_and_no_catalogue() {
    if !has_bases() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("silence.mp3"), "no sound at all").unwrap();
    let out = folder.path().join("out.songs");
    let output = index(folder.path(), &out);
    assert_eq!(output.status.code(), Some(65), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!out.exists());
}

#[test]
fn the_bundled_catalogue_is_of_the_bundled_towers() {
    let towers = RetrievalCheckpoint::load(&repository(jtav_model::retrieval::BUNDLED_RETRIEVAL)).unwrap();
    let songs = SongCatalogue::open(&repository(jtav_model::retrieval::BUNDLED_SONGS), &towers).unwrap();
    assert_eq!(songs.songs().len(), 48);
    let encoder = jtav_model::Checkpoint::load(&repository("models/jtav-modern")).unwrap();
    towers.check_encoder(&encoder.model_version()).unwrap();
}
