//! `jtav explain`, `jtav tap` and `jtav top`, as processes, beside `jtav demo --serve`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// As a program that SIGPIPE ends, in the words of a shell.
const READER_GONE: i32 = 141;

fn jtav(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jtav"));
    command.args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("JTAV_KEY");
    command
}

/// The sample feed, labelled, and its readers' side. It ends with the last test that holds it.
struct Demo {
    page: String,
    admin: String,
    child: Child,
    _folder: TempDir,
}

impl Demo {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Demo>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let demo = Arc::new(Self::start());
            *shared = Arc::downgrade(&demo);
            demo
        })
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log).unwrap();
        let child = jtav(&["demo", "--serve", "--page", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut demo = Self { page: String::new(), admin: String::new(), child, _folder: folder };
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap();
            let after = |what: &str| Some(text.split_once(what)?.1.split_once('\n')?.0.trim().to_owned());
            if let (Some(admin), Some(page)) = (after("/describe at "), after("until Ctrl-C: ")) {
                (demo.admin, demo.page) = (admin, page);
                return demo;
            }
            assert!(demo.child.try_wait().unwrap().is_none(), "the demo ended:\n{text}");
            assert!(started.elapsed() < Duration::from_secs(180), "the demo has no page after 180 s:\n{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        jtav(arguments).args(["--server", &self.page]).output().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn told(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    out.into_owned()
}

fn json_lines(output: &Output) -> Vec<Value> {
    told(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn failed(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_post_is_explained_as_its_page_tells_it() {
    let demo = Demo::shared();
    let json = json_lines(&demo.ask(&["explain", "pp-000431", "--json"])).remove(0);
    let text = told(&demo.ask(&["explain", "pp-000431"]));
    assert!(text.starts_with("Post pp-000431\n"), "{text}");
    let (label, word) = (json["label"].as_str().unwrap(), json["words"][0]["word"].as_str().unwrap());
    assert!(text.lines().nth(1).unwrap().contains(label), "{text}");
    assert!(text.contains(&format!("weighed most: {word} ")), "{text}");
    assert!(json["words"][0]["start"].is_u64() && text.contains('['), "the word has its place in the text: {text}");
    for sentence in json["sentences"].as_array().unwrap() {
        let begin: String = sentence.as_str().unwrap().chars().take(40).collect();
        assert!(text.contains(&begin), "`{begin}` is not in:\n{text}");
    }
    assert!(text.contains("Posts like this one, by ") && text.contains(" searched"), "{text}");
    assert!(!text.contains('\u{1b}'), "a pipe is sent no colours: {text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn picture_and_sound_are_drawn_with_where_the_reason_lies() {
    let demo = Demo::shared();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let veiled = path("veiled.png");
    told(&demo.ask(&["explain", "pp-000431", "--png", veiled.to_str().unwrap()]));
    let sharp = path("sharp.png");
    told(&demo.ask(&["explain", "pp-000431", "--sharp", "--png", sharp.to_str().unwrap()]));
    let [veiled, sharp, sound] =
        ["veiled.png", "sharp.png", "veiled-sound.png"].map(|name| std::fs::read(path(name)).unwrap());
    assert!([&veiled, &sharp, &sound].iter().all(|png| png.starts_with(b"\x89PNG")));
    assert!(
        sharp.len() > veiled.len(),
        "what is blurred and grey says less: {} and {} bytes",
        sharp.len(),
        veiled.len()
    );
}

#[test]
fn an_unknown_post_and_a_server_that_is_away_say_what_to_do_next() {
    let demo = Demo::shared();
    let (code, said) = failed(&demo.ask(&["explain", "no-such-post"]));
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("unknown_or_lapsed") && said.contains("`jtav tap --recent 20`"), "{said}");
    for command in [&["explain", "pp-000431"][..], &["tap"]] {
        let (code, said) = failed(&jtav(command).args(["--server", "http://127.0.0.1:1"]).output().unwrap());
        assert_eq!(code, Some(69), "{command:?}: {said}");
        assert!(said.contains("is `jtav serve` running there? --server URL"), "{command:?}: {said}");
    }
    let (code, said) = failed(&jtav(&["explain", "a", "--key-file", "no-such-file"]).output().unwrap());
    assert_eq!(code, Some(78), "{said}");
}

#[test]
fn the_stream_is_tapped_and_its_filters_hold() {
    let demo = Demo::shared();
    let last = json_lines(&demo.ask(&["tap", "--recent", "5", "--limit", "5", "--json"]));
    assert_eq!(last.len(), 5);
    assert!(last.iter().all(|event| event["sentiment"]["label"].is_string()), "{last:?}");
    let negative = json_lines(&demo.ask(&[
        "tap",
        "--recent",
        "3",
        "--limit",
        "3",
        "--json",
        "--label",
        "negative",
        "--modality",
        "text,image",
    ]));
    assert!(
        negative.len() == 3 && negative.iter().all(|event| event["sentiment"]["label"] == "negative"),
        "{negative:?}"
    );
    let lines = told(&demo.ask(&["tap", "--recent", "2", "--limit", "2"]));
    for (line, event) in lines.lines().zip(&last[3..]) {
        let (id, label) =
            (event["sentiment"]["post_id"].as_str().unwrap(), event["sentiment"]["label"].as_str().unwrap());
        assert!(line.contains(id) && line.contains(label), "{id} {label}: {line}");
    }
    let (code, said) = failed(&demo.ask(&["tap", "--from", "yesterday"]));
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn a_tap_that_is_stopped_says_how_to_go_on_and_goes_on_there() {
    let demo = Demo::shared();
    let mut child = jtav(&["tap", "--json", "--from", "0:0,1:0,2:0,3:0", "--server", &demo.page]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let before: Vec<String> = lines.by_ref().take(3).map(Result::unwrap).collect();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let before = before.into_iter().chain(lines.map(Result::unwrap)).count();
    let (code, said) = failed(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    let position = said.rsplit_once("--from ").unwrap().1.trim().to_owned();
    let all = json_lines(&demo.ask(&["tap", "--json", "--recent", "1000", "--limit", "64"])).len();
    assert_eq!(all, 64);
    if before < all {
        let left = (all - before).to_string();
        let rest = json_lines(&demo.ask(&["tap", "--json", "--from", &position, "--limit", &left]));
        assert_eq!(before + rest.len(), all);
    }
}

#[test]
fn a_tap_that_nobody_reads_ends_quietly_though_nothing_comes() {
    let demo = Demo::shared();
    for begin in [&["--recent", "1000"][..], &["--lang", "xx"]] {
        let mut child = jtav(&["tap", "--server", &demo.page]).args(begin).spawn().unwrap();
        drop(child.stdout.take());
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(20), "{begin:?}: it goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (code, said) = failed(&child.wait_with_output().unwrap());
        assert_eq!((code, said.as_str()), (Some(READER_GONE), ""), "{begin:?}");
    }
}

#[test]
fn one_frame_shows_every_stage_and_a_worker_that_is_away_hides_no_other() {
    let demo = Demo::shared();
    let text = told(&jtav(&["top", "--once", "--interval-ms", "200", &demo.admin, "127.0.0.1:1"]).output().unwrap());
    for stage in
        ["ingest", "router", "fetch", "decode", "text-encoder", "audio-encoder", "image-encoder", "fusion", "publisher"]
    {
        assert!(text.lines().any(|line| line.trim_start().starts_with(stage)), "{stage} is not in:\n{text}");
    }
    for said in
        ["127.0.0.1:1 ", "does not answer", "1 of 2 answer", "received 67 ", "gap 0", "breaker closed", "4 partitions"]
    {
        assert!(text.contains(said), "`{said}` is not in:\n{text}");
    }
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let (code, said) = failed(&jtav(&["top", "--once", "--interval-ms", "200", "127.0.0.1:1"]).output().unwrap());
    assert_eq!(code, Some(69), "{said}");
    let (code, said) = failed(&jtav(&["top", &demo.admin]).output().unwrap());
    assert!(code == Some(2) && said.contains("--once"), "{said}");
}

fn explain(arguments: &[&str], input: &str) -> Output {
    let mut child =
        jtav(&["explain", "--set", "model.stub=true"]).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_post_of_a_file_is_labelled_and_explained_and_so_is_a_label() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("posts.jsonl");
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/media-codecs/tests/fixtures/photo.jpg");
    let post = |id: &str, more: &str| {
        format!("{{\"id\":\"{id}\",\"texts\":[{{\"role\":\"body\",\"text\":\"a fine day\"}}]{more}}}\n")
    };
    let image = format!(",\"image\":{{\"path\":\"{picture}\"}}");
    std::fs::write(&file, [post("one", ""), post("two", &image)].concat()).unwrap();
    let path = file.to_str().unwrap();
    let text = told(&explain(&[path], ""));
    assert!(text.starts_with("Post one\n") && text.contains("fine"), "{text}");
    let png = folder.path().join("why.png");
    let text = told(&explain(&[path, "--line", "2", "--png", png.to_str().unwrap()], ""));
    assert!(text.starts_with("Post two\n") && text.contains("\nPicture\n"), "{text}");
    assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG"));

    let label = jtav(&["label", path, "--set", "model.stub=true"]).output().unwrap();
    let label = told(&label);
    let text = told(&explain(&["-", "--line", "2"], &label));
    assert!(text.starts_with("Post two\n") && text.contains("A label alone holds no text"), "{text}");
    let (code, said) = failed(&explain(&["-", "--png", "/nowhere.png"], &label));
    assert!(code == Some(65) && said.contains("--png needs the post"), "{said}");
    for (input, what) in [
        ("[1]", "neither a post nor a label"),
        ("", "nothing on any line"),
        ("{\"id\":\"a\",\"deleted\":true}", "erases a post"),
    ] {
        let (code, said) = failed(&explain(&["-"], input));
        assert!(code == Some(65) && said.contains(what), "{input}: {said}");
    }
}
