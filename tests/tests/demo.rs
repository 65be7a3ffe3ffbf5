//! `jtav demo`: the whole system on this machine alone, against the in-process cluster and the embedded store.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jtav_testkit::{jtav_binary, workspace_root};
use serde_json::Value;

/// Runs it and gives its last line on stdout, which must be one JSON object.
fn demo(arguments: &[&str]) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| folder.path().join(name));
    let mut child = Command::new(jtav_binary()?)
        .arg("demo")
        .args(arguments)
        .current_dir(workspace_root())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&stdout)?)
        .stderr(std::fs::File::create(&stderr)?)
        .spawn()?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > Duration::from_secs(180) {
            child.kill()?;
            child.wait()?;
            bail!("the demo is not done after 180 s:\n{}", std::fs::read_to_string(&stderr)?);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let stderr = std::fs::read_to_string(&stderr)?;
    ensure!(status.success(), "the demo ended with {status}:\n{stderr}");
    let stdout = std::fs::read_to_string(&stdout)?;
    let last = stdout.lines().last().with_context(|| format!("nothing on stdout; stderr:\n{stderr}"))?;
    serde_json::from_str(last).with_context(|| format!("the last line is no JSON: {last}"))
}

fn count(summary: &Value, pointer: &str) -> u64 {
    summary.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no count at {pointer}: {summary:#}"))
}

fn number(summary: &Value, pointer: &str) -> f64 {
    summary.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer}: {summary:#}"))
}

#[test]
fn the_demo_accounts_for_every_post_of_its_feed() -> Result<()> {
    let summary = demo(&["--json"])?;
    let [posts, published, skipped, dead, erased] =
        ["/posts", "/published", "/skipped", "/dead_lettered", "/erased"].map(|pointer| count(&summary, pointer));
    // 64 posts and three records that go wrong.
    assert_eq!(posts, 67, "{summary:#}");
    assert_eq!(published + skipped + dead + erased, posts, "{summary:#}");
    assert_eq!(
        ["/records/produced", "/records/settled"].map(|pointer| count(&summary, pointer)),
        [67, 67],
        "{summary:#}"
    );
    assert_eq!(summary["records"]["without_outcome"], serde_json::json!([]), "{summary:#}");
    assert_eq!(summary["conservation_gap"].as_i64(), Some(0), "{summary:#}");
    assert_eq!(dead, 1, "the record that is not JSON and nothing else: {summary:#}");
    assert_eq!((skipped, erased), (0, 0), "{summary:#}");

    // A post without an image is `absent`; the broken and the forbidden one are degraded, and labelled all the same.
    let reason = |modality: &str, reason: &str| {
        summary.pointer(&format!("/modalities/{modality}/absent_by_reason/{reason}")).and_then(Value::as_u64)
    };
    assert_eq!(reason("image", "decode_error"), Some(1), "{summary:#}");
    assert_eq!(reason("image", "fetch_denied"), Some(1), "{summary:#}");
    assert_eq!(count(&summary, "/degraded"), 2, "{summary:#}");
    for modality in ["text", "audio", "image"] {
        let present = count(&summary, &format!("/modalities/{modality}/present"));
        let reasons = &summary["modalities"][modality]["absent_by_reason"];
        let absent: u64 = reasons.as_object().context("reasons")?.values().filter_map(Value::as_u64).sum();
        assert_eq!(present + absent, published, "{modality}: {summary:#}");
        assert!(present > 40, "{modality}: {summary:#}");
    }

    let percentiles = ["p50", "p95", "p99"].map(|name| number(&summary, &format!("/latency_ms/{name}")));
    assert!(percentiles[0] > 0.0 && percentiles.is_sorted(), "{summary:#}");
    assert!(number(&summary, "/wall_seconds") > 0.0 && number(&summary, "/posts_per_second") > 0.0, "{summary:#}");
    // The feed shows 32 images to 49 posts (ADR 6).
    assert!(count(&summary, "/cache/hits") > 0 && count(&summary, "/cache/misses") > 0, "{summary:#}");
    assert!(summary["model_version"].as_str().is_some_and(|version| version.starts_with("jtav-modern")), "{summary:#}");
    Ok(())
}
