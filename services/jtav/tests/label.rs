//! `jtav label`, as a process, on input as people have it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// With networks that answer at once: what a line is worth is not the question here.
fn label(arguments: &[&str], input: &[u8]) -> (Output, Vec<Value>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_jtav"))
        .args(["label", "-", "--set", "model.stub=true"])
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let lines =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output, lines)
}

fn post(id: &str) -> String {
    format!(r#"{{"id":"{id}","texts":[{{"role":"body","text":"a fine day"}}]}}"#)
}

#[test]
fn a_line_that_is_no_text_costs_itself_alone() {
    let input = [post("a").as_bytes(), b"{\"id\":\"\xff\"}", post("c").as_bytes()].join(&b'\n');
    let (output, lines) = label(&[], &input);
    assert_eq!(output.status.code(), Some(65), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["post_id"], &lines[2]["post_id"]), (&Value::from("a"), &Value::from("c")));
    assert_eq!((&lines[1]["line"], &lines[1]["reason"]), (&Value::from(2), &Value::from("invalid_json")));
}

#[test]
fn a_byte_order_mark_blank_lines_and_windows_line_ends_count_and_do_no_harm() {
    let input = format!("\u{FEFF}{}\r\n\r\n   \r\n{{\r\n{}", post("a"), post("e"));
    let (_, lines) = label(&[], input.as_bytes());
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["post_id"], &lines[2]["post_id"]), (&Value::from("a"), &Value::from("e")));
    assert_eq!(lines[1]["line"], 4, "{}", lines[1]);
}

#[test]
fn a_line_without_end_is_refused_in_bounded_memory_and_the_next_one_is_labelled() {
    let mut input = vec![b'x'; 40 << 20];
    input.extend(format!("\n{}\n", post("b")).bytes());
    let (_, lines) = label(&[], &input);
    assert_eq!((&lines[0]["line"], &lines[0]["reason"]), (&Value::from(1), &Value::from("record_too_large")));
    assert!(lines[0]["error"].as_str().unwrap().contains("41943040 bytes"), "{}", lines[0]);
    assert_eq!(lines[1]["post_id"], "b");
}

#[test]
fn a_picture_inside_its_url_is_used_where_the_settings_allow_it() {
    let pixel = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==";
    let input = format!(r#"{{"id":"d","image":{{"url":"{pixel}"}}}}"#);
    let (_, lines) = label(&["--set", "media.sources=[\"data\"]"], input.as_bytes());
    assert_eq!(lines[0]["modalities"]["image"], "present", "{}", lines[0]);
    let (_, lines) = label(&[], input.as_bytes());
    assert_eq!(lines[0]["modalities"]["image"], "fetch_denied", "{}", lines[0]);
}

#[test]
fn the_caps_of_media_hold_for_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gif");
    std::fs::write(&path, vec![0; 2_000]).unwrap();
    let input = format!(r#"{{"id":"d","texts":[{{"text":"a day"}}],"image":{{"path":"{}"}}}}"#, path.display());
    let (_, lines) = label(&["--set", "media.max_image_bytes=1000"], input.as_bytes());
    assert_eq!(lines[0]["modalities"]["image"], "too_large", "{}", lines[0]);
}

#[test]
fn a_post_with_nothing_to_label_is_skipped_and_no_failure() {
    let (output, lines) = label(&[], br#"{"id":"m","texts":[{"role":"body","text":"@somebody"}]}"#);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines[0]["skipped"], "nothing_to_label");
}

#[test]
fn a_file_is_never_labelled_onto_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("posts.jsonl"), folder.path().join("same.jsonl"));
    std::fs::write(&file, post("a")).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for (input, stdin) in [(file.to_str().unwrap(), Stdio::null()), ("-", std::fs::File::open(&file).unwrap().into())] {
        let output = Command::new(env!("CARGO_BIN_EXE_jtav"))
            .args(["label", input, "--set", "model.stub=true", "--output"])
            .arg(&link)
            .stdin(stdin)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{input}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is the input itself"), "{input}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), post("a"), "{input}");
    }
    let (_, lines) = label(&["--output", "/dev/null"], post("a").as_bytes());
    assert!(lines.is_empty(), "a device may be written");
}
