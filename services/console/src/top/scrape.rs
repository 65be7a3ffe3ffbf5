//! What a worker says of itself in Prometheus' text format 0.0.4, as far as it is ours. Pure, in bounded memory.

use std::collections::{BTreeMap, HashMap};

use crate::error::told;

/// Bytes of an answer.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// Samples of ours that are kept.
const MAX_SAMPLES: usize = 200_000;
/// Labels of a sample.
const MAX_LABELS: usize = 32;

/// Samples by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    samples: HashMap<String, Vec<Sample>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, wanted: &[(&str, &str)]) -> bool {
        wanted.iter().all(|(name, value)| self.label(name) == Some(*value))
    }
}

impl Scrape {
    /// Reads an answer.
    ///
    /// # Errors
    /// It is no such text, has nothing of ours in it, or too much.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut scrape = Self::default();
        let mut count = 0;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, sample) = sample(line).ok_or_else(|| {
                format!("line {} is no metric: {}", at + 1, told(&line.chars().take(60).collect::<String>()))
            })?;
            if name.starts_with("jtav_") {
                count += 1;
                if count > MAX_SAMPLES {
                    return Err(format!("more than {MAX_SAMPLES} samples"));
                }
                scrape.samples.entry(name.to_owned()).or_default().push(sample);
            }
        }
        if scrape.samples.is_empty() { Err("there is no metric of jtav".to_owned()) } else { Ok(scrape) }
    }

    fn of(&self, name: &str) -> &[Sample] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether there is a sample of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.samples.contains_key(name)
    }

    /// The sum of those whose labels are these; 0 without any.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name).iter().filter(|sample| sample.has(labels)).map(|sample| sample.value).sum()
    }

    /// The sums by the value of a label.
    pub(super) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.of(name) {
            if let Some(value) = sample.label(label) {
                *sums.entry(value.to_owned()).or_default() += sample.value;
            }
        }
        sums
    }

    /// The first value of a label.
    pub(super) fn label(&self, name: &str, label: &str) -> Option<&str> {
        self.of(name).iter().find_map(|sample| sample.label(label))
    }

    /// The counts up to each bound of a histogram, by rising bounds.
    pub(super) fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.of(&format!("{name}_bucket")).iter().filter(|sample| sample.has(labels)) {
            let Some(bound) = sample.label("le").and_then(number) else { continue };
            match buckets.iter_mut().find(|(at, _)| *at == bound) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        buckets
    }
}

/// `name{label="value",…} value [timestamp]`
fn sample(line: &str) -> Option<(&str, Sample)> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let mut parts = rest.split_whitespace();
    let value = number(parts.next()?)?;
    // A timestamp may follow.
    if parts.next().is_some_and(|time| time.parse::<i64>().is_err()) || parts.next().is_some() {
        return None;
    }
    Some((name, Sample { labels, value }))
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        if labels.len() == MAX_LABELS {
            return None;
        }
        labels.push((name.trim().to_owned(), value));
        rest = after;
    }
}

/// A value up to its quotation mark, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, c)) = letters.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "# HELP jtav_posts_total Settled posts.\n# TYPE jtav_posts_total counter\n\
        jtav_posts_total{outcome=\"published\",reason=\"\"} 60\njtav_posts_total{outcome=\"skipped\",reason=\"a\\\"b,}\\n\\\\\"} 4 1764405383000\n\
        jtav_ready 1\nprocess_open_fds 30\n\
        jtav_x_seconds_bucket{le=\"0.5\"} 1\njtav_x_seconds_bucket{le=\"+Inf\"} 3\n\
        jtav_x_seconds_sum 1.5e0\njtav_x_seconds_count 3\n";

    #[test]
    fn samples_are_read_with_their_labels() {
        let scrape = Scrape::read(TEXT).unwrap();
        assert_eq!(scrape.sum("jtav_posts_total", &[]), 64.0);
        assert_eq!(scrape.sum("jtav_posts_total", &[("outcome", "published")]), 60.0);
        assert_eq!(scrape.by("jtav_posts_total", "reason").keys().last().unwrap(), "a\"b,}\n\\");
        assert_eq!(scrape.label("jtav_posts_total", "outcome"), Some("published"));
        assert_eq!(scrape.buckets("jtav_x_seconds", &[]), [(0.5, 1.0), (f64::INFINITY, 3.0)]);
        assert!(scrape.has("jtav_ready") && !scrape.has("process_open_fds"));
    }

    #[test]
    fn what_is_no_metrics_says_which_line_is_not() {
        let said = Scrape::read("# a\n<html>\u{1b}[2J</html>\n").unwrap_err();
        assert_eq!(said, "line 2 is no metric: <html>\\u{1b}[2J</html>");
        for wrong in ["jtav_a", "jtav_a{", "jtav_a{b} 1", "jtav_a{b=\"c} 1", "jtav_a 1 2 3", "jtav_a x", "{} 1"] {
            assert!(Scrape::read(wrong).unwrap_err().starts_with("line 1 is no metric"), "{wrong}");
        }
        assert_eq!(Scrape::read("process_open_fds 30\n").unwrap_err(), "there is no metric of jtav");
        assert_eq!(Scrape::read(&"jtav_a 1\n".repeat(MAX_SAMPLES + 1)).unwrap_err(), "more than 200000 samples");
    }

    proptest! {
        #[test]
        fn any_text_is_metrics_or_an_error(text in "(jtav_a|[{}\"=,\\\\ \n0-9]|\\PC){0,60}") {
            let _ = Scrape::read(&text);
        }

        #[test]
        fn a_label_reads_back(value in any::<String>()) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // The format ends lines at a line feed alone, `lines` at a carriage return before one, too.
            prop_assume!(!escaped.contains('\n'));
            let scrape = Scrape::read(&format!("jtav_a{{b=\"{escaped}\"}} 1")).unwrap();
            prop_assert_eq!(scrape.label("jtav_a", "b"), Some(value.as_str()));
        }
    }
}
