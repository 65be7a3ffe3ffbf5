//! `jtav run` and `jtav label` give the same verdict on every odd record.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jtav_kafka::{ClientSettings, InProcessCluster, OutboundRecord, Producer, ProducerSettings, read_all};
use jtav_schemas::DeadLetterHeaders;
use jtav_testkit::{Worker, WorkerConfig, jtav_binary, produce, workspace_root};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);
const TOPICS: [&str; 5] = ["posts", "sentiment", "embeddings", "dead-letters", "erasures"];
/// A picture of one pixel, as a GIF.
const PIXEL: &str = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==";

/// Records by the id that stands in each, or would; `@` stands for it.
#[allow(clippy::too_many_lines, reason = "a table: one line for each odd record")]
fn odd_records() -> Vec<(String, Vec<u8>)> {
    let text = r#""texts":[{"role":"body","text":"a fine day"}]"#;
    let image = |url: &str, more: &str| format!(r#"{{"id":"@",{text},"image":{{"url":"{url}"{more}}}}}"#);
    let mut records: Vec<(String, Vec<u8>)> = [
        format!(r#"{{"id":"@",{text}}}"#),
        format!(r#"{{"id":"@",{text},"id":"@"}}"#),
        format!(r#"{{"id":"@",{text},"texts":[]}}"#),
        format!(r#"{{"id":"@",{text},"unknown":1,"unknown":2}}"#),
        format!(r#"{{"id":"@",{text},"unknown":1e400}}"#),
        format!(r#"{{"id":"@",{text},"revision":1e400}}"#),
        format!(r#"{{"id":"@",{text},"revision":-1}}"#),
        format!(r#"{{"id":"@",{text},"revision":1.5}}"#),
        format!(r#"{{"id":"@",{text},"revision":"3"}}"#),
        format!(r#"{{"id":"@",{text},"revision":18446744073709551615}}"#),
        format!(r#"{{"id":"@",{text},"revision":18446744073709551616}}"#),
        format!(r#"{{"id":"@",{text},"revision":null,"author_id":null,"lang":null,"audio":null,"image":null}}"#),
        r#"{"id":"@","texts":null}"#.to_owned(),
        r#"{"id":"@","texts":[]}"#.to_owned(),
        r#"{"id":"@"}"#.to_owned(),
        r#"{"id":"@","texts":[{"role":"body","text":""}]}"#.to_owned(),
        r#"{"id":"@","texts":[{"role":"body","text":"@you https://example.org/ !!!"}]}"#.to_owned(),
        r#"{"id":"@","texts":[{"role":"body","text":"😀"}]}"#.to_owned(),
        r#"{"id":"@","texts":[{"role":"body","text":":-)"}]}"#.to_owned(),
        r#"{"id":"@","texts":[{"text":"no role"}]}"#.to_owned(),
        r#"{"id":"@","texts":[{"role":null,"text":null}]}"#.to_owned(),
        r#"{"id":"@","texts":[["body","a list"]]}"#.to_owned(),
        r#"{"id":"@","texts":["a text"]}"#.to_owned(),
        r#"{"id":"@","texts":{"role":"body","text":"no list"}}"#.to_owned(),
        r#"{"id":"@","texts":[{"role":"body","text":"half \ud83d"}]}"#.to_owned(),
        r#"{"id":"@","texts":[{"role":"body","text":"zero \u0000 zero"}]}"#.to_owned(),
        r#"{"id":"@","deleted":true}"#.to_owned(),
        r#"{"id":"@","deleted":true,"texts":null}"#.to_owned(),
        r#"{"id":"@","deleted":true,"texts":7,"revision":"x"}"#.to_owned(),
        r#"{"id":"@","deleted":"true"}"#.to_owned(),
        r#"{"id":"@","deleted":null,"texts":[{"role":"body","text":"stays"}]}"#.to_owned(),
        r#"["@",0,null,null,null,[]]"#.to_owned(),
        r#"{"id":["@"]}"#.to_owned(),
        r#"{"id":7}"#.to_owned(),
        r#"{"texts":[]}"#.to_owned(),
        r#""@""#.to_owned(),
        "null".to_owned(),
        "{".to_owned(),
        format!(r#"{{"id":"@",{text}}} and more"#),
        format!(r#"{{"id":"@",{text},}}"#),
        format!("\u{FEFF}{{\"id\":\"@\",{text}}}"),
        format!(r#"{{"id":"@",{text},"deep":{}{}}}"#, "[".repeat(200), "]".repeat(200)),
        format!(r#"{{"id":"@",{text},"pad":"{}"}}"#, "x".repeat(600_000)),
        image(PIXEL, ""),
        image(PIXEL, r#","bytes":30000000"#),
        image(PIXEL, r#","bytes":-1"#),
        image(PIXEL, r#","sha256":"00""#),
        image(PIXEL, r#","media_type":"audio/mpeg""#),
        image("data:image/gif;base64,***", ""),
        image("javascript:alert(1)", ""),
        image("ftp://example.org/a.jpg", ""),
        image("http://169.254.169.254/", ""),
        image("http://[", ""),
        image("/etc/passwd", ""),
        image("a/b.jpg", ""),
        image("", ""),
        format!(r#"{{"id":"@",{text},"image":["{PIXEL}"]}}"#),
        format!(r#"{{"id":"@",{text},"image":{{}}}}"#),
        format!(r#"{{"id":"@","audio":{{"url":"{PIXEL}"}}}}"#),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, record)| {
        let id = format!("odd-{number}");
        (id.clone(), record.replace('@', &id).into_bytes())
    })
    .collect();
    // Ids that are odd themselves, and bytes that are no text.
    for id in ["}a", "{a", "é", &"𝄞".repeat(256), &"𝄞".repeat(257), &"x".repeat(257), "a b/c?d"] {
        records.push((id.to_owned(), format!(r#"{{"id":"{id}",{text}}}"#).into_bytes()));
    }
    records.push(("odd-bytes".to_owned(), b"{\"id\":\"odd-bytes\",\"author_id\":\"\xff\"}".to_vec()));
    records
}

/// `published text=present …`, `dead_lettered REASON`, `skipped REASON` or `erased`.
type Verdicts = BTreeMap<String, String>;

fn published(label: &Value) -> String {
    format!("published {}", label["modalities"])
}

/// What the worker's topics say, in which skipped posts do not stand.
fn on_topics(client: &ClientSettings) -> Result<Verdicts> {
    let mut verdicts = Verdicts::new();
    let read = |topic: &str| read_all(client, topic, PATIENCE);
    let key = |key: &Option<bytes::Bytes>| String::from_utf8_lossy(key.as_deref().unwrap_or_default()).into_owned();
    for record in read("sentiment")? {
        if let Some(value) = &record.value {
            verdicts.insert(key(&record.key), published(&serde_json::from_slice(value)?));
        }
    }
    for record in read("erasures")? {
        verdicts.insert(key(&record.key), "erased".to_owned());
    }
    for record in read("dead-letters")? {
        let reason = record.headers.iter().find(|(name, _)| name == DeadLetterHeaders::REASON);
        let reason = reason.and_then(|(_, value)| value.as_deref()).context("a reason")?;
        verdicts.insert(key(&record.key), format!("dead_lettered {}", String::from_utf8_lossy(reason)));
    }
    Ok(verdicts)
}

async fn by_the_worker(records: &[(String, Vec<u8>)]) -> Result<Verdicts> {
    let cluster = InProcessCluster::create(1)?;
    for topic in TOPICS {
        cluster.create_topic(topic, 1)?;
    }
    let config = WorkerConfig::new(cluster.bootstrap())
        .set("store.kind", "embedded")
        .stub_networks()
        .set("media.sources", vec!["data"]);
    let mut worker = Worker::spawn("judge", &config)?;
    worker.wait_ready(PATIENCE)?;
    let client = cluster.client("judge-test");
    let producer = Producer::new(&client, &ProducerSettings::default())?;
    let feed = records.iter().map(|(id, value)| OutboundRecord::keyed("posts", id.clone(), value.clone())).collect();
    produce(&producer, feed, 0).await?;
    worker.wait_until("an outcome of every record", PATIENCE, |worker| {
        Ok(worker.metric("jtav_posts_total")?.is_some_and(|count| count as usize >= records.len()))
    })?;
    let skipped = |reason: &str| -> Result<f64> {
        let (_, exposition) = worker.get("/metrics")?;
        let line = exposition
            .lines()
            .find(|line| line.starts_with("jtav_posts_total{") && line.contains(&format!("reason=\"{reason}\"")));
        Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0))
    };
    let mut verdicts = on_topics(&client)?;
    let silent: Vec<&String> = records.iter().map(|(id, _)| id).filter(|id| !verdicts.contains_key(*id)).collect();
    ensure!(silent.len() as f64 == skipped("nothing_to_label")?, "no outcome and not skipped: {silent:?}");
    let silent: Vec<String> = silent.into_iter().cloned().collect();
    verdicts.extend(silent.into_iter().map(|id| (id, "skipped nothing_to_label".to_owned())));
    Ok(verdicts)
}

fn by_label(records: &[(String, Vec<u8>)]) -> Result<Verdicts> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("posts.jsonl");
    let mut file = std::fs::File::create(&input)?;
    for (_, record) in records {
        file.write_all(record)?;
        file.write_all(b"\n")?;
    }
    let output = Command::new(jtav_binary()?)
        .args(["label", "--set", "model.stub=true", "--set", "media.sources=[\"data\"]"])
        .arg(&input)
        .current_dir(workspace_root())
        .stdin(Stdio::null())
        .output()?;
    let lines = String::from_utf8(output.stdout)?;
    ensure!(lines.lines().count() == records.len(), "{lines}{}", String::from_utf8_lossy(&output.stderr));
    let verdict = |line: &str| -> Result<String> {
        let line: Value = serde_json::from_str(line)?;
        Ok(match (line["reason"].as_str(), line["skipped"].as_str(), &line["deleted"]) {
            (Some(reason), ..) => format!("dead_lettered {reason}"),
            (_, Some(reason), _) => format!("skipped {reason}"),
            (.., Value::Bool(true)) => "erased".to_owned(),
            _ => published(&line),
        })
    };
    records.iter().zip(lines.lines()).map(|((id, _), line)| Ok((id.clone(), verdict(line)?))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_and_label_judge_every_odd_record_alike() -> Result<()> {
    let records = odd_records();
    ensure!(records.len() >= 60, "{} records", records.len());
    let (of_run, of_label) = (by_the_worker(&records).await?, by_label(&records)?);
    let mut differing = Vec::new();
    for (id, record) in &records {
        let (run, label) = (of_run.get(id), of_label.get(id));
        if run != label {
            let record: String = String::from_utf8_lossy(record).chars().take(120).collect();
            differing.push(format!("{record}\n  run:   {run:?}\n  label: {label:?}"));
        }
    }
    ensure!(differing.is_empty(), "{}", differing.join("\n"));
    // Every kind of verdict occurs, so that the comparison compares something.
    for kind in ["published", "dead_lettered invalid_post", "dead_lettered invalid_json", "skipped", "erased"] {
        ensure!(of_run.values().any(|verdict| verdict.starts_with(kind)), "no {kind}");
    }
    Ok(())
}
