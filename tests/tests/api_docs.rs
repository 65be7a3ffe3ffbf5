//! What the documentation of the readers' side says to type, typed: every command of docs/api.md and the programs in examples/
//! that need nothing but Python, against a server with a real Kafka and a real Redis behind it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jtav_testkit::{http_get, require_real, workspace_root};
use jtav_tests::readers::{ERASED_ID, Readers};
use serde_json::{Value, json};

/// As the page has it.
const ADDRESS: &str = "http://127.0.0.1:9700";

/// A row of the page's table.
struct Row {
    /// What it promises.
    to: String,
    command: String,
}

fn rows() -> Result<Vec<Row>> {
    let page = std::fs::read_to_string(workspace_root().join("docs/api.md"))?;
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let rows = cells.filter(|(to, _)| *to != "to").map(|(to, command)| {
        let command = command.strip_prefix('`').and_then(|command| command.strip_suffix('`'));
        let command = command.filter(|command| command.contains(ADDRESS));
        Ok(Row { to: to.to_owned(), command: command.with_context(|| format!("no command to {to}"))?.to_owned() })
    });
    rows.collect()
}

/// What a command got.
struct Got {
    status: u16,
    media_type: String,
    /// What was printed, or the file that was written.
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Result<Value> {
        ensure!(self.media_type == "application/json", "it is {}", self.media_type);
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Types a command in `folder`, where what earlier ones have written still is.
fn type_in(row: &Row, url: &str, folder: &Path) -> Result<Got> {
    let is_endless = row.command.contains("/v1/stream");
    let most_seconds = if is_endless { 2 } else { 30 };
    // The command as it stands, with curl made to say what it was answered.
    let script = format!("curl() {{ command curl -sS -D head -m {most_seconds} \"$@\"; }}\n{}", row.command);
    let script = script.replace(ADDRESS, url);
    let done = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).current_dir(folder).output()?;
    let is_cut_off = is_endless && done.status.code() == Some(28);
    ensure!(done.status.success() || is_cut_off, "{}: {}", done.status, String::from_utf8_lossy(&done.stderr));
    let head = std::fs::read_to_string(folder.join("head"))?;
    let status = head.lines().rfind(|line| line.starts_with("HTTP/")).and_then(|line| line.split(' ').nth(1));
    let mut named = head.lines().filter_map(|line| line.split_once(": "));
    let named = named.rfind(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let written = row.command.split_once("-o ").and_then(|(_, rest)| rest.split(' ').next());
    Ok(Got {
        status: status.context("a status")?.parse()?,
        media_type: named.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
        body: written.map_or(Ok(done.stdout), |file| std::fs::read(folder.join(file)))?,
    })
}

fn length(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// Whether a row got what it promises. A row that is new says here what it is for.
fn check(row: &Row, got: &Got) -> Result<bool> {
    let is_png = || got.media_type == "image/png" && got.body.starts_with(b"\x89PNG\r\n\x1a\n");
    let width = || got.body.get(16..20).map(|width| u32::from_be_bytes(width.try_into().unwrap_or_default()));
    let text = || String::from_utf8_lossy(&got.body).into_owned();
    Ok(match row.to.trim_end_matches(" ¹") {
        "see a post's label" => got.json()?["sentiment"]["label"].is_string(),
        "with its text, read from the input topic" => length(&got.json()?["content"]["texts"]) > 0,
        "many posts in one request to the store" => {
            let posts = got.json()?["posts"].take();
            length(&posts) == 2 && posts.as_array().is_some_and(|all| all.iter().all(|one| one["status"] == "found"))
        }
        "why" => length(&got.json()?["sentences"]) > 0,
        "the picture, blurred, with its cells" => is_png() && width() == Some(448),
        "the sound as the network heard it" => got.media_type == "audio/wav" && got.body.starts_with(b"RIFF"),
        "its spectrogram, with the seconds that mattered" => is_png(),
        "posts like it" => {
            let near = got.json()?["neighbours"].take();
            let near = near.as_array().context("neighbours")?;
            (1..=5).contains(&near.len()) && near.iter().all(|one| one["label"] == "positive")
        }
        "posts like a vector" => length(&got.json()?["neighbours"]) == 10,
        "posts like one of your own" => length(&got.json()?["neighbours"]) == 5,
        "a label for a post of your own" => got.json()?["sentiment"]["label"] == "positive",
        "songs for a picture" => length(&got.json()?["songs"]) == 5,
        "follow labels and erasures" => {
            let text = text();
            let labels: Vec<&str> = text.lines().filter(|line| line.contains(r#""label":""#)).collect();
            got.media_type.starts_with("text/event-stream")
                && !labels.is_empty()
                && labels.iter().all(|label| label.contains(r#""label":"negative""#))
        }
        "the last of them" => length(&got.json()?["events"]) == 5,
        "models and what their vectors are like" => {
            got.json()?["models"][0]["vectors"]["semantic"]["dimensions"] == json!(100)
        }
        "dead letters" => got.json()?["letters"][0]["reason"] == "invalid_json",
        "how things are" => got.json()?["conservation"]["gap"] == 0,
        other => bail!("this test does not know what `{other}` promises"),
    })
}

fn example(name: &str, arguments: &[&str]) -> Command {
    // One that waits for what does not come is ended, and fails.
    let mut command = Command::new("timeout");
    command
        .args(["60", "python3"])
        .arg(workspace_root().join("examples").join(name))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn lines(output: &Output) -> Result<Vec<Value>> {
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

/// Rows of a query to a file of SQLite.
fn query(file: &Path, sql: &str) -> Result<Value> {
    const READ: &str = "import json, sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db:\n    \
                        print(json.dumps(db.execute(sys.argv[2]).fetchall()))";
    let done = Command::new("python3").args(["-c", READ]).arg(file).arg(sql).output()?;
    lines(&done)?.into_iter().next().context("an answer")
}

#[tokio::test]
async fn what_the_documentation_says_to_type_does_what_it_says() -> Result<()> {
    if !require_real("what_the_documentation_says_to_type_does_what_it_says") {
        return Ok(());
    }
    let readers = Readers::start(false).await?;
    let (folder, rows) = (tempfile::tempdir()?, rows()?);
    ensure!(rows.len() >= 16, "{} commands were found", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let said = type_in(row, &readers.url, folder.path()).and_then(|got| {
            let kept = (200..300).contains(&got.status) && check(row, &got)?;
            Ok((!kept).then(|| format!("{}: {}", got.status, String::from_utf8_lossy(&got.body))))
        });
        match said {
            Ok(None) => {}
            Ok(Some(said)) => wrong.push(format!("{}: {said}", row.to)),
            Err(error) => wrong.push(format!("{}: {error:#}", row.to)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} commands:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    by_http_tells_labels_from_what_is_not_there(&readers)?;
    follow_stream_keeps_what_is_told_and_nothing_else(&readers, folder.path()).await
}

fn by_http_tells_labels_from_what_is_not_there(readers: &Readers) -> Result<()> {
    let said = lines(&example("by_http.py", &[&readers.url, "pp-000431"]).output()?)?;
    assert!(said[0]["label"].is_string() && length(&said[0]["like_it"]) == 5, "{said:?}");
    for (post_id, reason) in [("no/body", "unknown_or_lapsed"), (ERASED_ID, "erased")] {
        let done = example("by_http.py", &[&readers.url, post_id]).output()?;
        let problem: Value = serde_json::from_slice(&done.stderr)?;
        assert_eq!((done.status.code(), &problem["reason"]), (Some(1), &json!(reason)), "{post_id}");
    }
    Ok(())
}

async fn follow_stream_keeps_what_is_told_and_nothing_else(readers: &Readers, folder: &Path) -> Result<()> {
    const LABELS: &str = "SELECT post_id FROM labels ORDER BY post_id";
    let file = folder.join("labels.db");
    let path = file.display().to_string();
    let follow = |events: usize| example("follow_stream.py", &[&readers.url, &path, "--events", &events.to_string()]);
    let place = |event: &Value| (event["partition"].clone(), event["offset"].clone());
    // All of the feed and the erasure of one, in two sittings.
    let first = lines(&follow(20).output()?)?;
    let address = readers.url.trim_start_matches("http://").parse()?;
    let (_, feed) = http_get(address, "/v1/feed?limit=1000", Duration::from_secs(20))?;
    let second = lines(&follow(length(&serde_json::from_str::<Value>(&feed)?["events"]) - 20).output()?)?;
    let all: Vec<_> = first.iter().chain(&second).collect();
    for (index, event) in all.iter().enumerate() {
        assert!(!all[..index].iter().any(|before| place(before) == place(event)), "{event} came twice");
    }
    assert_eq!(all.iter().filter(|event| event["event"] == "erasure").count(), 1);
    let held = query(&file, LABELS)?;
    assert!(length(&held) >= 60 && !held.to_string().contains(ERASED_ID), "{held}");
    // A post that is erased meanwhile.
    readers.erase("pp-000017").await?;
    let erased = lines(&follow(1).output()?)?;
    assert_eq!((&erased[0]["event"], &erased[0]["post_id"]), (&json!("erasure"), &json!("pp-000017")));
    assert_eq!(length(&query(&file, LABELS)?), length(&held) - 1);
    // A position that the topic does not have: what is held is asked for again.
    query(&file, "UPDATE position SET position = '0:900000,1:0'")?;
    query(&file, "INSERT INTO labels VALUES ('nobody', '', 'positive', 1) RETURNING 1")?;
    query(&file, "UPDATE labels SET label = 'wrong' WHERE post_id = 'pp-000431'")?;
    let told = lines(&follow(1).output()?)?;
    assert_eq!(told[0]["event"], "gap");
    assert_eq!(length(&query(&file, LABELS)?), length(&held) - 1, "nobody is gone");
    assert_eq!(length(&query(&file, "SELECT 1 FROM labels WHERE label = 'wrong'")?), 0);
    Ok(())
}

/// A server of three answers; gives the heads of what it was asked.
fn serve_in_turn(listener: TcpListener, answers: [&'static str; 3]) -> JoinHandle<Result<Vec<String>>> {
    std::thread::spawn(move || {
        let mut heads = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept()?;
            let asked = BufReader::new(stream.try_clone()?).lines();
            let head: Vec<String> =
                asked.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).collect::<Result<_, _>>()?;
            heads.push(head.join("\n"));
            stream.write_all(answer.as_bytes())?;
        }
        Ok(heads)
    })
}

#[test]
fn follow_stream_goes_on_where_a_busy_and_ending_server_says() -> Result<()> {
    const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let dropped = "retry: 2000\n\nid: 0:7,1:3\nevent: dropped\ndata: {\"reason\":\"server_ends\",\"resume_from\":\"0:7,1:3\"}\n\n";
    // The last event has no end: it did not come.
    let erasures = ": alive\nid: 0:8,1:3\n\nid: 0:9,1:3\nevent: erasure\ndata: {\"partition\":0,\"offset\":8,\n\
                    data: \"post_id\":\"a\"}\n\nid: 0:10,1:3\nevent: erasure\ndata: {}";
    let answers: [&'static str; 3] = [
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        Box::leak(format!("{STREAM}{dropped}").into_boxed_str()),
        Box::leak(format!("{STREAM}{erasures}").into_boxed_str()),
    ];
    let server = serve_in_turn(listener, answers);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("labels.db");
    let path = file.display().to_string();
    let told = lines(&example("follow_stream.py", &[&url, &path, "--events", "2"]).stdin(Stdio::null()).output()?)?;
    assert_eq!(told.iter().map(|event| event["event"].clone()).collect::<Vec<_>>(), ["dropped", "erasure"]);
    assert_eq!(query(&file, "SELECT position FROM position")?, json!([["0:9,1:3"]]));
    let heads = server.join().map_err(|_| anyhow::anyhow!("the server's thread"))??;
    let goes_on = heads.iter().map(|head| head.to_lowercase().contains("last-event-id: 0:7,1:3")).collect::<Vec<_>>();
    assert_eq!(goes_on, [false, false, true]);
    Ok(())
}
