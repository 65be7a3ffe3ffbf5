//! Commands whose reader goes away, whose disk is full, or that end while networks still work.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

/// As a program that SIGPIPE ends, in the words of a shell.
const READER_GONE: i32 = 141;

fn jtav(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jtav"));
    command.args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).stdin(Stdio::null());
    command
}

fn posts(count: usize) -> String {
    let post =
        |id| format!("{{\"id\":\"{id}\",\"texts\":[{{\"role\":\"body\",\"text\":\"a fine day by the sea\"}}]}}\n");
    (0..count).map(post).collect()
}

/// How it ends when nobody reads either of its outputs.
fn unread(command: &mut Command) -> ExitStatus {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    child.wait().unwrap()
}

#[test]
fn every_command_ends_quietly_when_nobody_reads_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("posts.jsonl");
    std::fs::write(&input, posts(2_000)).unwrap();
    let input = input.to_str().unwrap();
    let predictions = folder.path().join("predictions.json");
    std::fs::write(&predictions, r#"{"scores": [0.1, 0.9, 0.4, 0.6], "labels": [0, 1, 0, 1], "threshold": 0.5}"#)
        .unwrap();
    let predictions = predictions.to_str().unwrap();
    let words = folder.path().join("post.txt");
    std::fs::write(&words, "a fine day").unwrap();
    let words = words.to_str().unwrap();
    let photo = "crates/media-codecs/tests/fixtures/photo.jpg";
    let sound = "crates/media-codecs/tests/fixtures/tone.mp3";
    let commands: [&[&str]; 15] = [
        &["--help"],
        &["label", "--help"],
        &["completions", "bash"],
        &["config", "show", "--effective"],
        &["config", "check"],
        &["label", input, "--set", "model.stub=true"],
        &["media", "check", photo, photo, sound],
        &["media", "check", "--json", photo, "no-such-file"],
        &["inspect", "image", photo],
        &["inspect", "audio", sound],
        &["inspect", "text", words],
        &["plan", "--posts-per-second", "1000", "--image-share", "0.3", "--audio-share", "0.1"],
        &["evaluate", "--predictions", predictions],
        &["evaluate", "--predictions", predictions, "--json"],
        &["demo", "--json"],
    ];
    for arguments in commands {
        let status = unread(&mut jtav(arguments));
        let code = status.code();
        // The first three and short ones may have been done before anybody could see that the pipe is closed.
        assert!(code == Some(READER_GONE) || code == Some(0) || code == Some(65), "{arguments:?}: {status}");
        assert_ne!(code, Some(101), "{arguments:?} panicked");
    }
    let status = unread(&mut jtav(&["label", input, "--set", "model.stub=true"]));
    assert_eq!(status.code(), Some(READER_GONE), "there was much to write");
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("posts.jsonl");
    std::fs::write(&input, posts(200)).unwrap();
    let input = input.to_str().unwrap();
    for arguments in [&["config", "show", "--effective"][..], &["label", input, "--set", "model.stub=true"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = jtav(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("No space left on device"), "{arguments:?}: {said}");
    }
}

/// `JTAV_EARLY_ENDS` ends where it is set (300 when it was written), else a few: each with the real networks at work.
#[test]
fn a_command_that_ends_early_never_crashes_in_the_networks() {
    let ends: usize = std::env::var("JTAV_EARLY_ENDS").ok().and_then(|ends| ends.parse().ok()).unwrap_or(12);
    for end in 0..ends {
        let mut child =
            jtav(&["label", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || {
            // Fails where the command has ended, which is what is wanted.
            let _ = stdin.write_all(posts(500).as_bytes());
        });
        // From before the first label on to the middle of the work.
        let mut first = vec![0; 1 + 700 * (end % 10)];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        drop(child.stdout.take());
        let status = child.wait().unwrap();
        writing.join().unwrap();
        assert_eq!(status.signal(), None, "end {end}");
        assert_eq!(status.code(), Some(READER_GONE), "end {end}");
    }
}
