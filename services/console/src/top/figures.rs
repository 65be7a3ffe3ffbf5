//! From what a worker says of itself to what is shown of it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jtav_schemas::{Label, Modality, Stage};

use super::scrape::Scrape;

/// Of one worker, over a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// The window.
    pub window: Duration,
    pub is_ready: Option<bool>,
    pub version: Option<String>,
    pub model: Option<String>,
    pub device: Option<String>,
    /// Why no post is let in.
    pub paused: Vec<String>,
    pub generation: f64,
    pub restarts: f64,
    pub received: Counter,
    /// By outcome, with what has come to it.
    pub outcomes: Vec<(String, Counter)>,
    pub labels: Vec<(Label, f64)>,
    /// Share of the labels that are certain; none without any.
    pub certain_share: Option<f64>,
    pub in_flight: f64,
    pub parked: f64,
    pub gap: f64,
    /// From the record's time to the label, seconds: median and 99 of 100, over the window, else since the start.
    pub event_to_label: Option<(f64, f64)>,
    pub partitions: Vec<Partition>,
    pub stages: Vec<StageRow>,
    pub networks: Vec<Network>,
    pub cache: Cache,
    pub decode: Decode,
    pub media: Media,
    /// Writes that failed, by sink.
    pub write_errors: Vec<(String, Counter)>,
}

/// What has been counted, and how fast.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counter {
    pub all: f64,
    pub per_second: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    pub id: String,
    pub lag_records: f64,
    pub lag_seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StageRow {
    pub stage: Stage,
    /// That wait for it; none where it has no queue of its own.
    pub queue: Option<f64>,
    pub posts: Counter,
    /// Seconds of a post in the window: mean, 99 of 100; none where no post came by.
    pub now: Option<(f64, f64)>,
    /// Mean seconds since the start.
    pub mean: Option<f64>,
    pub errors: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    pub model: String,
    pub batches: Counter,
    /// Means over the window, else since the start.
    pub items_of_a_batch: Option<f64>,
    pub wait_seconds: Option<f64>,
    pub forward_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cache {
    pub hits: Counter,
    pub misses: Counter,
    pub bytes: f64,
    pub evictions: f64,
    /// URLs that were known.
    pub urls: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decode {
    pub queue: f64,
    /// Processes that ended with a medium in hand, by cause.
    pub ends: Vec<(String, f64)>,
    pub fork_servers: f64,
    pub replacement_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Media {
    pub fetched: Counter,
    pub bytes: Counter,
    pub open_circuits: f64,
    pub refusals: f64,
    pub inflight_bytes: f64,
}

impl Figures {
    /// Of the newest answer and one from `window` before; without an older one, rates are 0.
    pub fn of(old: Option<&Scrape>, new: &Scrape, window: Duration) -> Self {
        Window { old, new, seconds: window.as_secs_f64() }.figures(window)
    }

    /// Records that are behind, over all partitions.
    pub fn lag_records(&self) -> f64 {
        self.partitions.iter().map(|partition| partition.lag_records.max(0.0)).sum()
    }
}

struct Window<'a> {
    old: Option<&'a Scrape>,
    new: &'a Scrape,
    seconds: f64,
}

impl Window<'_> {
    fn figures(&self, window: Duration) -> Figures {
        let new = self.new;
        let gauge = |name| new.sum(name, &[]);
        let text = |name, label| new.label(name, label).map(str::to_owned);
        let paused = new.by("jtav_intake_paused", "cause");
        let labels: Vec<(Label, f64)> = Label::ALL
            .into_iter()
            .map(|label| (label, new.sum("jtav_labels_total", &[("label", label.as_str())])))
            .collect();
        let all_labels: f64 = labels.iter().map(|(_, count)| count).sum();
        let certain = new.sum("jtav_labels_total", &[("certainty", "certain")]);
        Figures {
            window,
            is_ready: new.has("jtav_ready").then(|| gauge("jtav_ready") > 0.0),
            version: text("jtav_build_info", "version"),
            model: text("jtav_model_info", "version"),
            device: text("jtav_model_info", "device"),
            paused: paused.into_iter().filter(|(_, is_on)| *is_on > 0.0).map(|(cause, _)| cause).collect(),
            generation: gauge("jtav_pipeline_generation"),
            restarts: gauge("jtav_pipeline_restarts_total"),
            received: self.counter("jtav_ingest_records_total", &[]),
            outcomes: self.counters("jtav_posts_total", "outcome"),
            certain_share: (all_labels > 0.0).then(|| certain / all_labels),
            labels,
            in_flight: gauge("jtav_delivery_in_flight_posts"),
            parked: gauge("jtav_delivery_parked_posts"),
            gap: gauge("jtav_conservation_gap"),
            event_to_label: self.quantiles("jtav_event_to_label_seconds", &[]),
            partitions: self.partitions(),
            stages: Stage::ALL.into_iter().map(|stage| self.stage(stage)).collect(),
            networks: ["text", "audio", "image", "fusion"]
                .into_iter()
                .filter_map(|model| self.network(model))
                .collect(),
            cache: Cache {
                hits: self.counter("jtav_cache_hits_total", &[]),
                misses: self.counter("jtav_cache_misses_total", &[]),
                bytes: gauge("jtav_cache_bytes"),
                evictions: gauge("jtav_cache_evictions_total"),
                urls: gauge("jtav_cache_urls_total"),
            },
            decode: self.decode(),
            media: Media {
                fetched: self.counter("jtav_media_fetches_total", &[]),
                bytes: self.counter("jtav_media_fetched_bytes_total", &[]),
                open_circuits: gauge("jtav_media_open_circuits"),
                refusals: gauge("jtav_media_circuit_refusals_total"),
                inflight_bytes: gauge("jtav_inflight_bytes"),
            },
            write_errors: self.write_errors(),
        }
    }

    /// How much a counter rose; one that fell began anew.
    fn rise(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let (Some(old), new) = (self.old, self.new.sum(name, labels)) else { return 0.0 };
        let old = old.sum(name, labels);
        if new < old { new } else { new - old }
    }

    fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Counter {
        let per_second = if self.seconds > 0.0 { self.rise(name, labels) / self.seconds } else { 0.0 };
        Counter { all: self.new.sum(name, labels), per_second }
    }

    fn counters(&self, name: &str, label: &str) -> Vec<(String, Counter)> {
        let values = self.new.by(name, label).into_keys();
        values.map(|value| (value.clone(), self.counter(name, &[(label, &value)]))).collect()
    }

    /// The mean of a histogram over the window; none where nothing was observed.
    fn mean_now(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let count = self.rise(&format!("{name}_count"), labels);
        (count > 0.0).then(|| self.rise(&format!("{name}_sum"), labels) / count)
    }

    fn mean_ever(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let count = self.new.sum(&format!("{name}_count"), labels);
        (count > 0.0).then(|| self.new.sum(&format!("{name}_sum"), labels) / count)
    }

    fn mean(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.mean_now(name, labels).or_else(|| self.mean_ever(name, labels))
    }

    fn buckets_now(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let new = self.new.buckets(name, labels);
        let old = self.old.map(|old| old.buckets(name, labels)).unwrap_or_default();
        let before = |bound: f64| old.iter().find(|(at, _)| *at == bound).map_or(0.0, |(_, count)| *count);
        let is_anew = new.iter().any(|(bound, count)| *count < before(*bound));
        new.iter().map(|(bound, count)| (*bound, if is_anew { *count } else { count - before(*bound) })).collect()
    }

    fn quantiles(&self, name: &str, labels: &[(&str, &str)]) -> Option<(f64, f64)> {
        let of = |buckets: &[(f64, f64)]| Some((quantile(buckets, 0.5)?, quantile(buckets, 0.99)?));
        let now = self.old.and_then(|_| of(&self.buckets_now(name, labels)));
        now.or_else(|| of(&self.new.buckets(name, labels)))
    }

    fn partitions(&self) -> Vec<Partition> {
        let seconds = self.new.by("jtav_event_lag_seconds", "partition");
        let records = self.new.by("jtav_consumer_lag_records", "partition");
        let partition = |(id, lag_records): (String, f64)| {
            let lag_seconds = seconds.get(&id).copied();
            Partition { id, lag_records, lag_seconds }
        };
        let mut partitions: Vec<Partition> = records.into_iter().map(partition).collect();
        // By number, not by letters.
        partitions.sort_by_key(|partition| partition.id.parse::<u64>().unwrap_or(u64::MAX));
        partitions
    }

    fn stage(&self, stage: Stage) -> StageRow {
        const NAME: &str = "jtav_stage_duration_seconds";
        let labels = [("stage", stage.as_str())];
        let now = self.mean_now(NAME, &labels).zip(quantile(&self.buckets_now(NAME, &labels), 0.99));
        let queue = match stage {
            Stage::Decode => Some(self.new.sum("jtav_decode_queue_items", &[])),
            stage => model_of(stage).map(|model| self.new.sum("jtav_encoder_queue_items", &[("model", model)])),
        };
        StageRow {
            stage,
            queue,
            posts: self.counter("jtav_stage_duration_seconds_count", &labels),
            now: now.filter(|_| self.old.is_some()),
            mean: self.mean_ever(NAME, &labels),
            errors: self.new.sum("jtav_stage_errors_total", &labels),
        }
    }

    fn network(&self, model: &str) -> Option<Network> {
        let labels = [("model", model)];
        let batches = self.counter("jtav_encoder_forward_seconds_count", &labels);
        (batches.all > 0.0).then(|| Network {
            model: model.to_owned(),
            batches,
            items_of_a_batch: self.mean("jtav_encoder_batch_items", &labels),
            wait_seconds: self.mean("jtav_encoder_queue_wait_seconds", &labels),
            forward_seconds: self.mean("jtav_encoder_forward_seconds", &labels),
        })
    }

    fn decode(&self) -> Decode {
        let ends = self.new.by("jtav_decode_worker_ends_total", "cause");
        Decode {
            queue: self.new.sum("jtav_decode_queue_items", &[]),
            ends: ends.into_iter().filter(|(_, count)| *count > 0.0).collect(),
            fork_servers: self.new.sum("jtav_decode_fork_server_starts_total", &[]),
            replacement_seconds: self.mean_ever("jtav_decode_worker_replacement_seconds", &[]),
        }
    }

    fn write_errors(&self) -> Vec<(String, Counter)> {
        let sinks: BTreeMap<String, f64> = self.new.by("jtav_publish_records_total", "sink");
        let errors = |sink: String| {
            let counter = self.counter("jtav_publish_records_total", &[("sink", &sink), ("result", "error")]);
            (counter.all > 0.0).then_some((sink, counter))
        };
        sinks.into_keys().filter_map(errors).collect()
    }
}

/// The name that a stage's network has in metrics.
fn model_of(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::TextEncoder => Some(Modality::Text.as_str()),
        Stage::AudioEncoder => Some(Modality::Audio.as_str()),
        Stage::ImageEncoder => Some(Modality::Image.as_str()),
        Stage::Fusion => Some("fusion"),
        _ => None,
    }
}

/// Where `share` of what was observed lies, evenly within a bucket, as Prometheus' `histogram_quantile` has it; the last finite bound of
/// what lies beyond. None where nothing was observed.
fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let all = buckets.last()?.1;
    if all.is_nan() || all <= 0.0 {
        return None;
    }
    let rank = share * all;
    let at = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (bound, count) = buckets[at];
    let (from, before) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    if bound.is_infinite() {
        return Some(from);
    }
    Some(if count > before { from + (bound - from) * (rank - before) / (count - before) } else { bound })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrape(text: &str) -> Scrape {
        Scrape::read(text).unwrap()
    }

    const STAGE: &str = "jtav_stage_duration_seconds";

    fn fetch(count: f64, sum: f64, below_one: f64) -> Scrape {
        scrape(&format!(
            "{STAGE}_bucket{{stage=\"fetch\",le=\"1\"}} {below_one}\n{STAGE}_bucket{{stage=\"fetch\",le=\"2\"}} {count}\n\
             {STAGE}_bucket{{stage=\"fetch\",le=\"+Inf\"}} {count}\n{STAGE}_count{{stage=\"fetch\"}} {count}\n{STAGE}_sum{{stage=\"fetch\"}} {sum}\n"
        ))
    }

    fn row(figures: &Figures, stage: Stage) -> &StageRow {
        figures.stages.iter().find(|row| row.stage == stage).unwrap()
    }

    #[test]
    fn a_stage_has_its_rate_and_its_time_over_the_window_and_its_mean_since_the_start() {
        let (old, new) = (fetch(10.0, 5.0, 10.0), fetch(30.0, 35.0, 10.0));
        let figures = Figures::of(Some(&old), &new, Duration::from_secs(4));
        let fetch = row(&figures, Stage::Fetch);
        assert_eq!((fetch.posts.all, fetch.posts.per_second), (30.0, 5.0));
        let (mean, p99) = fetch.now.unwrap();
        assert_eq!((mean, (p99 * 100.0).round()), (1.5, 199.0));
        assert_eq!(fetch.mean, Some(35.0 / 30.0));
        assert_eq!(figures.stages.iter().map(|row| row.stage).collect::<Vec<_>>(), Stage::ALL);
        let decode = row(&figures, Stage::Decode);
        assert_eq!((decode.now, decode.mean, decode.queue), (None, None, Some(0.0)));
    }

    #[test]
    fn a_worker_that_began_anew_is_counted_from_nothing_and_one_answer_alone_has_no_rates() {
        let (old, new) = (fetch(100.0, 5.0, 100.0), fetch(8.0, 4.0, 8.0));
        let figures = Figures::of(Some(&old), &new, Duration::from_secs(4));
        assert_eq!(row(&figures, Stage::Fetch).posts.per_second, 2.0);
        let figures = Figures::of(None, &new, Duration::ZERO);
        let fetch = row(&figures, Stage::Fetch);
        assert_eq!((fetch.posts.per_second, fetch.now, fetch.mean), (0.0, None, Some(0.5)));
    }

    #[test]
    fn partitions_stand_by_their_numbers_with_their_lags() {
        let new = scrape(
            "jtav_consumer_lag_records{partition=\"10\"} 3\njtav_consumer_lag_records{partition=\"9\"} 4\njtav_event_lag_seconds{partition=\"9\"} 1.5\n",
        );
        let figures = Figures::of(None, &new, Duration::ZERO);
        let partitions: Vec<_> =
            figures.partitions.iter().map(|p| (p.id.as_str(), p.lag_records, p.lag_seconds)).collect();
        assert_eq!(partitions, [("9", 4.0, Some(1.5)), ("10", 3.0, None)]);
        assert_eq!(figures.lag_records(), 7.0);
    }

    #[test]
    fn a_quantile_lies_where_prometheus_puts_it() {
        let buckets = [(1.0, 10.0), (2.0, 20.0), (f64::INFINITY, 40.0)];
        assert_eq!(
            [0.25, 0.375, 0.5, 0.99].map(|share| quantile(&buckets, share)),
            [Some(1.0), Some(1.5), Some(2.0), Some(2.0)]
        );
        assert_eq!((quantile(&[], 0.5), quantile(&[(1.0, 0.0)], 0.5)), (None, None));
    }

    proptest! {
        #[test]
        fn no_answer_is_too_odd_for_figures(values in prop::collection::vec(any::<f64>(), 12), seconds in 0u64..5) {
            let text = |values: &[f64]| {
                let names = ["jtav_ready", "jtav_conservation_gap", "jtav_consumer_lag_records{partition=\"x\"}",
                    "jtav_stage_duration_seconds_count{stage=\"fetch\"}", "jtav_stage_duration_seconds_sum{stage=\"fetch\"}",
                    "jtav_stage_duration_seconds_bucket{stage=\"fetch\",le=\"1\"}"];
                names.iter().zip(values).map(|(name, value)| format!("{name} {value:e}\n")).collect::<String>()
            };
            let (old, new) = (scrape(&text(&values[..6])), scrape(&text(&values[6..])));
            let _ = Figures::of(Some(&old), &new, Duration::from_secs(seconds));
        }
    }
}
