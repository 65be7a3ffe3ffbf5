//! `jtav media check`, as a process: one line for each item, in order, as the worker would decide.

use std::process::{Command, Output};

use serde_json::Value;

fn fixture(name: &str) -> String {
    format!("{}/../../crates/media-codecs/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn check(items: &[String]) -> (Output, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_jtav"))
        .args(["media", "check", "--json"])
        .args(items)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    let lines =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output, lines)
}

#[test]
fn every_item_gets_its_line_in_order_and_one_rejection_decides_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let photo = std::fs::read(fixture("photo.jpg")).unwrap();
    let wav = std::fs::read(fixture("pcm16.wav")).unwrap();
    let items = [
        fixture("photo.jpg"),
        fixture("exif6.jpg"),
        fixture("tone.mp3"),
        put("png-named.jpg", &std::fs::read(fixture("rgb.png")).unwrap()),
        put("photo-named.mp3", &photo),
        put("nothing-said", &wav),
        put("broken.jpg", &photo[..photo.len() / 3]),
        put("empty.wav", b""),
        fixture("alac.m4a"),
        "http://127.0.0.1/a.jpg".to_owned(),
        "no-such-file.jpg".to_owned(),
        "/dev/zero".to_owned(),
    ];
    let (output, lines) = check(&items);
    assert_eq!(output.status.code(), Some(65), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Vec<_> = lines.iter().map(|line| (line["verdict"].as_str().unwrap(), line["reason"].as_str())).collect();
    let expected = [
        ("ok", None),
        ("ok", None),
        ("ok", None),
        ("ok", None),
        ("rejected", Some("type_mismatch")),
        ("ok", None),
        ("rejected", Some("decode_error")),
        ("rejected", Some("decode_error")),
        ("rejected", Some("unsupported")),
        ("rejected", Some("fetch_denied")),
        ("rejected", Some("not_found")),
        ("rejected", Some("not_found")),
    ];
    assert_eq!(said, expected);
    for (item, line) in items.iter().zip(&lines) {
        assert_eq!(line["path"], **item);
        assert_eq!(line["facts"].is_null(), line["verdict"] != "ok");
        assert!(line["milliseconds"].is_number() && line["peak_memory_mb"].is_number());
    }
    assert_eq!(lines[1]["facts"]["orientation"], 6);
    assert_eq!(lines[3]["facts"]["type"], "png");
    assert_eq!(lines[2]["facts"]["partial"], false);
    assert!(lines[2]["facts"]["rate_hz"].as_u64().unwrap() >= 8_000);
}

#[test]
fn all_ok_is_exit_code_0_and_a_clip_that_breaks_off_is_partial() {
    // Three seconds of silence that its header calls ten.
    let (rate, seconds, stated) = (8_000u32, 3u32, 10u32);
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + stated * rate * 2).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(rate.to_le_bytes());
    wav.extend((rate * 2).to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((stated * rate * 2).to_le_bytes());
    wav.extend(vec![0; (seconds * rate * 2) as usize]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.wav");
    std::fs::write(&path, wav).unwrap();
    let (output, lines) = check(&[path.display().to_string(), fixture("tone.flac")]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines[0]["facts"]["partial"], true);
    assert!((lines[0]["facts"]["duration_s"].as_f64().unwrap() - 3.0).abs() < 0.1);
    assert_eq!(lines[1]["facts"]["partial"], false);
}
