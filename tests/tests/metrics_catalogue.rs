//! Alerts, dashboards, runbooks and manifests speak of metrics that the program has, with labels that it gives them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jtav_telemetry::catalogue::{Kind, Metric};
use jtav_testkit::workspace_root;

/// Labels that Prometheus or the manifests add.
const ADDED_LABELS: [&str; 6] = ["le", "job", "instance", "pod", "namespace", "severity"];

/// Names of samples on `/metrics`, with their metric. A histogram has no sample of its own name.
fn samples() -> BTreeMap<String, Metric> {
    let mut samples = BTreeMap::new();
    for metric in Metric::ALL.iter().copied() {
        match metric.kind() {
            Kind::Counter | Kind::Gauge => {
                samples.insert(metric.name().to_owned(), metric);
            }
            Kind::Histogram(_) => {
                for suffix in ["_bucket", "_sum", "_count"] {
                    samples.insert(format!("{}{suffix}", metric.name()), metric);
                }
            }
        }
    }
    samples
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, extension, found)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// Every `jtav_…` of a text, with the labels matched in the braces behind it.
fn names(text: &str) -> Vec<(&str, Vec<&str>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for (at, _) in text.match_indices("jtav_") {
        if text[..at].ends_with(|c: char| is_word(c) || c == '-' || c == '/') {
            continue;
        }
        let rest = &text[at..];
        let (name, rest) = rest.split_at(rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()));
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let labels = matchers.split(',').filter_map(|matcher| {
            let (label, _) = matcher.split_once(['=', '!'])?;
            Some(label.trim())
        });
        names.push((name, labels.collect()));
    }
    names
}

#[test]
fn every_metric_that_is_spoken_of_exists() -> Result<()> {
    let root = workspace_root();
    let mut sources = Vec::new();
    files(&root.join("config/prometheus"), "yml", &mut sources)?;
    files(&root.join("config/grafana/dashboards"), "json", &mut sources)?;
    files(&root.join("k8s"), "yaml", &mut sources)?;
    files(&root.join("docs/runbooks"), "md", &mut sources)?;
    let samples = samples();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for path in sources {
        let text = std::fs::read_to_string(&path)?;
        for (name, labels) in names(&text) {
            checked += 1;
            // A runbook may speak of a histogram as a whole; a query cannot.
            let prose = path.extension().is_some_and(|extension| extension == "md");
            if prose && text.contains(&format!("{name}=debug")) {
                // What a log filter names.
                continue;
            }
            let whole = || Metric::ALL.iter().find(|metric| prose && metric.name() == name);
            let Some(metric) = samples.get(name).or_else(whole) else {
                wrong.push(format!("{}: there is no {name}", path.display()));
                continue;
            };
            for label in labels.iter().filter(|label| !ADDED_LABELS.contains(*label)) {
                if !metric.labels().contains(label) {
                    wrong.push(format!("{}: {name} has no label {label}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 100, "only {checked} names were found: is the search broken?");
    Ok(())
}

#[test]
fn names_and_labels_are_taken_out_of_a_query() {
    let query = r#"sum(rate(jtav_a_total{x!~"p|q", job="jtav"}[5m])) / jtav_b > 0 and my_jtav_c"#;
    assert_eq!(names(query), [("jtav_a_total", vec!["x", "job"]), ("jtav_b", vec![])]);
}

#[test]
fn the_page_of_all_metrics_is_the_one_that_the_catalogue_makes() -> Result<()> {
    let path = workspace_root().join("docs/metrics.md");
    let expected = jtav_telemetry::reference();
    if std::env::var_os("JTAV_WRITE_DOCS").is_some() {
        std::fs::write(&path, &expected)?;
    }
    let written = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    assert_eq!(written, expected, "run: JTAV_WRITE_DOCS=1 cargo test --release -p jtav-tests --test metrics_catalogue");
    Ok(())
}

/// `sum by (le, stage) (...)` and the matchers of a query name values, too: a value that cannot be is a dead alert.
#[test]
fn every_label_value_that_a_query_names_can_be() -> Result<()> {
    let root = workspace_root();
    let mut sources = Vec::new();
    files(&root.join("config/prometheus"), "yml", &mut sources)?;
    files(&root.join("config/grafana/dashboards"), "json", &mut sources)?;
    let samples = samples();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for path in sources {
        let text = std::fs::read_to_string(&path)?.replace("\\\"", "\"");
        for (name, label, value) in matchers(&text) {
            let Some(metric) = samples.get(name) else { continue };
            let Some(place) = metric.labels().iter().position(|known| *known == label) else { continue };
            let Some(known) = &metric.label_values()[place] else { continue };
            checked += 1;
            if !value.split('|').all(|value| known.contains(&value)) {
                wrong.push(format!("{}: {name}{{{label}=\"{value}\"}}, but it is one of {known:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 20, "only {checked} values were found: is the search broken?");
    Ok(())
}

/// Metric, label and value of every matcher of a text.
fn matchers(text: &str) -> Vec<(&str, &str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("jtav_") {
        let rest = &text[at..];
        let (name, rest) = rest.split_at(rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()));
        let Some((inside, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { continue };
        for matcher in inside.split(',') {
            let Some((label, value)) = matcher.split_once(['=', '!']) else { continue };
            let value = value.trim_start_matches(['=', '~']).trim().trim_matches('"');
            found.push((name, label.trim(), value));
        }
    }
    found
}

#[test]
fn values_are_taken_out_of_a_query() {
    let query = r#"sum(rate(jtav_a_total{x!~"p|q", job="jtav"}[5m])) / jtav_b"#;
    assert_eq!(matchers(query), [("jtav_a_total", "x", "p|q"), ("jtav_a_total", "job", "jtav")]);
}
