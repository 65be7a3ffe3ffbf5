//! What the demo shows: a line per post, a summary, or one line of JSON.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use crate::output::{errln, outln};
use bytes::Bytes;
use jtav_dead_letters::one_line;
use jtav_delivery::Outcome;
use jtav_pipeline::PostReport;
use jtav_router::CacheStats;
use jtav_schemas::{AbsentReason, Label, Modality, ModalityStatus, PerModality, SentimentV1};
use serde_json::{Value, json};

use super::said;

/// Words underlined in a post.
const WORDS_SHOWN: usize = 3;
/// A mood is named from this probability on.
const MOOD_SHOWN_FROM: f32 = 0.35;
/// Characters shown of an id.
const ID_SHOWN_CHARS: usize = 60;
/// Characters shown of what is said about a record.
const MESSAGE_SHOWN_CHARS: usize = 200;

/// Counts of a run.
pub struct Tally {
    /// Records that were produced, by key; each must come to one outcome.
    expected: Vec<Bytes>,
    /// Records with an outcome, by their place in the input topic.
    settled: HashMap<(i32, i64), Option<Bytes>>,
    outcomes: BTreeMap<&'static str, u64>,
    degraded: u64,
    labels: BTreeMap<Label, u64>,
    certain: u64,
    latencies_ms: Vec<f64>,
    modalities: PerModality<BTreeMap<&'static str, u64>>,
}

impl Tally {
    /// Of a feed of records with these keys.
    pub fn new(expected: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            expected: expected.into_iter().collect(),
            settled: HashMap::new(),
            outcomes: BTreeMap::new(),
            degraded: 0,
            labels: BTreeMap::new(),
            certain: 0,
            latencies_ms: Vec::new(),
            modalities: PerModality::default(),
        }
    }

    /// Counts one outcome; an abandoned record comes again and counts then, and one that comes again after its outcome
    /// counts no more. True if the record had none before.
    pub fn add(&mut self, report: &PostReport) -> bool {
        let source = &report.record.source;
        let place = (source.partition, source.offset);
        if self.settled.contains_key(&place) {
            return false;
        }
        if report.outcome.is_settled() {
            self.settled.insert(place, report.record.key.clone());
        }
        *self.outcomes.entry(report.outcome.as_str()).or_default() += 1;
        if report.outcome == Outcome::Published {
            self.latencies_ms.push(report.latency.as_secs_f64() * 1000.0);
            if let Some(sentiment) = &report.sentiment {
                *self.labels.entry(sentiment.label).or_default() += 1;
                self.certain += u64::from(sentiment.certain);
            }
        }
        if let Some(modalities) = &report.modalities {
            for (modality, status) in modalities.iter() {
                *self.modalities.get_mut(modality).entry(status.as_str()).or_default() += 1;
            }
            if report.outcome == Outcome::Published && !broken_parts(modalities).is_empty() {
                self.degraded += 1;
            }
        }
        report.outcome.is_settled()
    }

    /// Records that were produced.
    pub fn records(&self) -> usize {
        self.expected.len()
    }

    /// Records with an outcome.
    pub fn settled(&self) -> usize {
        self.settled.len()
    }

    /// Keys of records without one, as a terminal may show them.
    pub fn missing(&self) -> Vec<String> {
        let mut settled: HashMap<&[u8], usize> = HashMap::new();
        for key in self.settled.values().flatten() {
            *settled.entry(key).or_default() += 1;
        }
        // A key may have several records, of which some have their outcome.
        let mut is_missing = |key: &&Bytes| match settled.get_mut(&key[..]) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        let missing = self.expected.iter().filter(|key| is_missing(key));
        missing.map(|key| one_line(&String::from_utf8_lossy(key), ID_SHOWN_CHARS)).collect()
    }

    fn count(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }

    fn labelled(&self, label: Label) -> u64 {
        self.labels.get(&label).copied().unwrap_or(0)
    }

    /// Share of the published labels that are certain, 0 to 1; 0 without any.
    fn certain_share(&self) -> f64 {
        let labels: u64 = self.labels.values().sum();
        if labels == 0 { 0.0 } else { (self.certain as f64 / labels as f64 * 1000.0).round() / 1000.0 }
    }

    /// Milliseconds from receipt to acknowledged label, at a quantile of the published posts.
    fn latency_ms(&self, quantile: f64) -> f64 {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let index = ((sorted.len() as f64 * quantile).ceil() as usize).saturating_sub(1);
        sorted.get(index).map_or(0.0, |ms| (ms * 10.0).round() / 10.0)
    }
}

/// Parts that the post carried and that could not be used.
fn broken_parts(modalities: &PerModality<ModalityStatus>) -> Vec<(Modality, AbsentReason)> {
    modalities
        .iter()
        .filter_map(|(modality, status)| match status {
            ModalityStatus::Absent(reason) if *reason != AbsentReason::Absent => Some((modality, *reason)),
            _ => None,
        })
        .collect()
}

/// Where it all goes.
pub struct View {
    json: bool,
    colour: bool,
}

impl View {
    /// JSON, or lines with colour on a terminal.
    pub fn new(json: bool, terminal: bool) -> Self {
        Self { json, colour: terminal && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A remark; stderr in JSON mode, so that stdout holds the one line.
    ///
    /// # Errors
    /// Nobody reads the output any more, or it cannot be written.
    pub fn say(&self, text: &str) -> io::Result<()> {
        if self.json {
            errln!("{text}");
            return Ok(());
        }
        outln!("{text}")
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// One line for one outcome.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub fn post(&mut self, report: &PostReport, tally: &Tally) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let id = report.post_id.clone().unwrap_or_else(|| {
            let key = report.record.key.as_deref().unwrap_or(b"(no key)");
            String::from_utf8_lossy(key).into_owned()
        });
        let id = one_line(&id, ID_SHOWN_CHARS);
        let place = format!("[{:>2}/{}]", tally.settled(), tally.records());
        let place = self.paint("2", &place);
        match (&report.outcome, &report.sentiment) {
            (Outcome::Published, Some(sentiment)) => {
                outln!("{place} {id:<22} {}", self.label_line(sentiment, said::longest_text(&report.record)))
            }
            (outcome, _) => {
                let what = format!("{} {}", outcome.as_str().replace('_', "-"), outcome.reason());
                let message = one_line(report.message.as_deref().unwrap_or(""), MESSAGE_SHOWN_CHARS);
                outln!("{place} {id:<22} {}  {message}", self.paint("35", what.trim_end()))
            }
        }
    }

    fn label_line(&self, sentiment: &SentimentV1, text: Option<String>) -> String {
        let colour = match sentiment.label {
            Label::Positive => "32",
            Label::Neutral => "36",
            Label::Negative => "31",
        };
        let label = self.paint(colour, &decision(sentiment));
        let words: Vec<&str> =
            sentiment.attention.words.iter().take(WORDS_SHOWN).map(|word| word.word.as_str()).collect();
        let text = match text {
            Some(text) => said::quoted(&text, &words, self.colour),
            None => " ".repeat(said::TEXT_COLUMN_CHARS + 2),
        };
        let mood = sentiment.moods.iter().find(|mood| mood.probability >= MOOD_SHOWN_FROM);
        let mood = mood.map_or_else(String::new, |mood| format!("{} {:.2}", mood.tag, mood.probability));
        let parts: Vec<String> = sentiment
            .modalities
            .iter()
            .map(|(modality, status)| match status {
                ModalityStatus::Present => format!("{modality} ✓"),
                ModalityStatus::Absent(AbsentReason::Absent) => self.paint("2", &format!("{modality} –")),
                ModalityStatus::Absent(reason) => self.paint("33", &format!("{modality} ✗ {reason}")),
            })
            .collect();
        format!("{label} {text} {mood:<7} {}", parts.join(" "))
    }

    /// The end of it all.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub fn summary(
        &self,
        tally: &Tally,
        wall: Duration,
        cache: CacheStats,
        gap: i64,
        in_flight: usize,
        model: &str,
    ) -> io::Result<()> {
        let json = summary_json(tally, wall, cache, gap, in_flight, model);
        if self.json {
            return outln!("{json}");
        }
        let posts = tally.records();
        outln!(
            "\n{posts} posts in {:.1} s, {:.1} a second on this machine",
            wall.as_secs_f64(),
            posts as f64 / wall.as_secs_f64()
        )?;
        outln!(
            "  received to published: p50 {} ms, p95 {} ms, p99 {} ms (the whole feed arrives at once, so this is mostly waiting)",
            tally.latency_ms(0.5),
            tally.latency_ms(0.95),
            tally.latency_ms(0.99)
        )?;
        for (modality, statuses) in tally.modalities.iter() {
            let of: Vec<String> = statuses.iter().map(|(status, count)| format!("{status} {count}")).collect();
            outln!("  {:<6} {}", modality.as_str(), of.join(", "))?;
        }
        let labels = Label::ALL.map(|label| format!("{label} {}", tally.labelled(label)));
        let certain = tally.certain_share() * 100.0;
        outln!("  {:<6} {}; certain {certain:.0} %", "labels", labels.join(", "))?;
        outln!("  media encoded {}, taken from the cache {}", cache.misses, cache.hits)?;
        outln!("  published with a broken part, and said so: {}", tally.degraded)?;
        let law = format!(
            "{posts} in = {} published + {} skipped + {} dead-lettered + {} erased + {in_flight} in flight; gap {gap}",
            tally.count("published"),
            tally.count("skipped"),
            tally.count("dead_lettered"),
            tally.count("erased"),
        );
        outln!("\n{}", self.paint(if gap == 0 { "1;32" } else { "1;31" }, &law))?;
        outln!("\nLabels are of a small demonstration model: see models/jtav-modern/MODEL_CARD.md.")?;
        outln!("Next: `jtav label posts.jsonl`, `jtav demo --serve`, `jtav run --help`")
    }
}

/// The label with its probability, and a question mark where it is not certain.
fn decision(sentiment: &SentimentV1) -> String {
    let doubt = if sentiment.certain { ' ' } else { '?' };
    format!("{:<8} {:.2}{doubt}", sentiment.label.as_str(), sentiment.confidence)
}

fn summary_json(tally: &Tally, wall: Duration, cache: CacheStats, gap: i64, in_flight: usize, model: &str) -> Value {
    let modality = |statuses: &BTreeMap<&'static str, u64>| {
        let absent: BTreeMap<_, _> = statuses.iter().filter(|(status, _)| **status != "present").collect();
        json!({ "present": statuses.get("present").copied().unwrap_or(0), "absent_by_reason": absent })
    };
    json!({
        "posts": tally.records(),
        "records": { "produced": tally.records(), "settled": tally.settled(), "without_outcome": tally.missing() },
        "published": tally.count("published"),
        "degraded": tally.degraded,
        "labels": {
            "negative": tally.labelled(Label::Negative),
            "neutral": tally.labelled(Label::Neutral),
            "positive": tally.labelled(Label::Positive),
        },
        "certain_share": tally.certain_share(),
        "dead_lettered": tally.count("dead_lettered"),
        "skipped": tally.count("skipped"),
        "erased": tally.count("erased"),
        "abandoned_and_retried": tally.count("abandoned"),
        "in_flight": in_flight,
        "conservation_gap": gap,
        "wall_seconds": (wall.as_secs_f64() * 1000.0).round() / 1000.0,
        "posts_per_second": (tally.records() as f64 / wall.as_secs_f64() * 100.0).round() / 100.0,
        "latency_ms": { "p50": tally.latency_ms(0.5), "p95": tally.latency_ms(0.95), "p99": tally.latency_ms(0.99) },
        "modalities": {
            "text": modality(&tally.modalities.text),
            "audio": modality(&tally.modalities.audio),
            "image": modality(&tally.modalities.image),
        },
        "cache": { "hits": cache.hits, "misses": cache.misses },
        "model_version": model,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jtav_pipeline::InboundRecord;
    use jtav_schemas::DeliveredFrom;

    use super::*;

    fn report(offset: i64, key: &str, outcome: Outcome) -> PostReport {
        let source = DeliveredFrom { topic: "posts".to_owned(), partition: 0, offset, timestamp_ms: None };
        let key = Some(Bytes::copy_from_slice(key.as_bytes()));
        PostReport {
            record: Arc::new(InboundRecord { source, key, ..InboundRecord::default() }),
            post_id: None,
            outcome,
            sentiment: None,
            modalities: None,
            message: None,
            latency: Duration::ZERO,
        }
    }

    #[test]
    fn a_record_that_settles_twice_is_one_and_one_that_never_does_is_named() {
        let mut tally = Tally::new(["a", "b", "b", "c\u{1b}[2J"].map(Bytes::from));
        assert!(tally.add(&report(0, "a", Outcome::Erased)));
        assert!(!tally.add(&report(0, "a", Outcome::Erased)), "it came again");
        assert!(!tally.add(&report(1, "b", Outcome::Abandoned)), "it will come again");
        assert!(tally.add(&report(1, "b", Outcome::Erased)));
        assert_eq!((tally.records(), tally.settled(), tally.count("erased")), (4, 2, 2));
        assert_eq!(tally.missing(), ["b", "c\\u{1b}[2J"]);
    }
}
