use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Collector as _;
use prometheus::{CounterVec, GaugeVec, HistogramVec, Opts, Registry, TextEncoder};

use crate::series::{Counter, Gauge, Histogram, Series, SeriesKey};
use crate::{Kind, Metric};

/// The metrics of one process.
pub struct Telemetry {
    registry: Registry,
    families: Vec<Family>,
    /// Of this set among those of the process.
    number: u64,
    removals: AtomicU64,
}

/// A series that was found.
enum One {
    Counter(prometheus::Counter),
    Gauge(prometheus::Gauge),
    Histogram(prometheus::Histogram),
}

impl One {
    fn of(family: &Family, values: &[&str]) -> Self {
        match family {
            Family::Counter(family) => One::Counter(family.with_label_values(values)),
            Family::Gauge(family) => One::Gauge(family.with_label_values(values)),
            Family::Histogram(family) => One::Histogram(family.with_label_values(values)),
        }
    }
}

/// What a thread has written to.
#[derive(Default)]
struct Found {
    /// Number of the set, and how often one of its series was removed.
    of: (u64, u64),
    /// By numbers that are the program's own: nobody outside chooses them.
    series: foldhash::HashMap<SeriesKey, One>,
}

thread_local! {
    static FOUND: RefCell<Found> = RefCell::default();
}

enum Family {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

/// Why the metrics could not be rendered.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct TelemetryError(#[from] prometheus::Error);

impl TelemetryError {
    /// A second try renders the same registry.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl Telemetry {
    /// Registers the whole catalogue.
    pub fn new() -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let mut families = Vec::with_capacity(Metric::ALL.len());
        for metric in Metric::ALL {
            let family = Family::new(*metric)?;
            family.register(&registry)?;
            families.push(family);
        }
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Ok(Self { registry, families, number: NEXT.fetch_add(1, Ordering::Relaxed), removals: AtomicU64::new(0) })
    }

    fn family(&self, place: usize) -> &Family {
        &self.families[place]
    }

    /// Writes 0 to every series of [`Metric::FROM_ZERO`].
    pub fn start_from_zero(&self) {
        for metric in Metric::FROM_ZERO {
            for values in combinations(&metric.label_values()) {
                match self.family(*metric as usize) {
                    Family::Counter(family) => family.with_label_values(&values).inc_by(0.0),
                    Family::Gauge(family) => family.with_label_values(&values).set(0.0),
                    Family::Histogram(_) => {}
                }
            }
        }
    }

    /// Adds 1.
    pub fn inc(&self, series: &Series<Counter>) {
        self.add(series, 1.0);
    }

    /// Adds an amount; a negative one is our bug and counts nothing.
    pub fn add(&self, series: &Series<Counter>, amount: f64) {
        debug_assert!(amount >= 0.0, "Invariant: a counter only rises");
        self.counter(series, |counter| counter.inc_by(amount.max(0.0)));
    }

    /// Sets a gauge.
    pub fn set(&self, series: &Series<Gauge>, value: f64) {
        self.gauge(series, |gauge| gauge.set(value));
    }

    /// Moves a gauge.
    pub fn shift(&self, series: &Series<Gauge>, amount: f64) {
        self.gauge(series, |gauge| gauge.add(amount));
    }

    /// Adds an observation.
    pub fn observe(&self, series: &Series<Histogram>, value: f64) {
        self.with_one(series, |one| {
            if let One::Histogram(histogram) = one {
                histogram.observe(value);
            }
        });
    }

    /// Removes one series, for example of a partition that is no longer owned.
    pub fn remove<K>(&self, series: &Series<K>) {
        self.removals.fetch_add(1, Ordering::Release);
        // A series that was never written cannot be removed; that is no fault.
        let _ = series.with_values(|values| match self.family(series.place) {
            Family::Gauge(family) => family.remove_label_values(values),
            Family::Counter(family) => family.remove_label_values(values),
            Family::Histogram(family) => family.remove_label_values(values),
        });
    }

    /// What a counter or gauge came to, summed over all but one of its labels: by the values of that one.
    pub fn totals_by(&self, metric: Metric, label: &str) -> BTreeMap<String, f64> {
        let families = match self.family(metric as usize) {
            Family::Counter(family) => family.collect(),
            Family::Gauge(family) => family.collect(),
            Family::Histogram(_) => Vec::new(),
        };
        let mut totals = BTreeMap::new();
        for series in families.iter().flat_map(|family| family.get_metric()) {
            let Some(pair) = series.get_label().iter().find(|pair| pair.name() == label) else { continue };
            let value = series.get_counter().get_value() + series.get_gauge().get_value();
            *totals.entry(pair.value().to_owned()).or_insert(0.0) += value;
        }
        totals
    }

    /// Value of a counter or gauge; 0 where it was never written.
    pub fn value<K>(&self, series: &Series<K>) -> f64 {
        series.with_values(|values| match self.family(series.place) {
            Family::Counter(family) => family.with_label_values(values).get(),
            Family::Gauge(family) => family.with_label_values(values).get(),
            Family::Histogram(_) => 0.0,
        })
    }

    // Kind and number of labels hold by the types: both come from the one line of the catalogue.
    fn counter(&self, series: &Series<Counter>, then: impl FnOnce(&prometheus::Counter)) {
        self.with_one(series, |one| {
            if let One::Counter(counter) = one {
                then(counter);
            }
        });
    }

    fn gauge(&self, series: &Series<Gauge>, then: impl FnOnce(&prometheus::Gauge)) {
        self.with_one(series, |one| {
            if let One::Gauge(gauge) = one {
                then(gauge);
            }
        });
    }

    /// Finds the one series. A post writes to some thirty: each thread remembers those it has written to, which saves the lock
    /// of the family and hashing the labels.
    fn with_one<K>(&self, series: &Series<K>, then: impl FnOnce(&One)) {
        let find = || series.with_values(|values| One::of(self.family(series.place), values));
        let Some(key) = series.key() else { return then(&find()) };
        let removals = self.removals.load(Ordering::Acquire);
        let mut then = Some(then);
        // A thread that ends may have lost its memory before what it held is dropped and counted.
        let _ = FOUND.try_with(|found| {
            let (Ok(mut found), Some(then)) = (found.try_borrow_mut(), then.take()) else { return };
            // Of another set of metrics, or from before one was removed.
            if found.of != (self.number, removals) {
                *found = Found { of: (self.number, removals), series: foldhash::HashMap::default() };
            }
            then(found.series.entry(key).or_insert_with(find));
        });
        if let Some(then) = then {
            then(&find());
        }
    }

    /// Sum of a counter or gauge over all its series.
    pub fn total(&self, metric: Metric) -> f64 {
        use prometheus::core::Collector;
        let families = match self.family(metric as usize) {
            Family::Counter(family) => family.collect(),
            Family::Gauge(family) => family.collect(),
            Family::Histogram(family) => family.collect(),
        };
        families
            .iter()
            .flat_map(|family| family.get_metric())
            .map(|series| series.get_counter().get_value() + series.get_gauge().get_value())
            .sum()
    }

    /// The text that `/metrics` serves.
    pub fn render(&self) -> Result<String, TelemetryError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

/// One of each label, in every combination.
fn combinations(labels: &[Option<Vec<&'static str>>]) -> Vec<Vec<&'static str>> {
    let mut found = vec![Vec::new()];
    for known in labels.iter().map(|known| known.as_deref().unwrap_or_default()) {
        found =
            found.iter().flat_map(|before| known.iter().map(|value| [before.as_slice(), &[*value]].concat())).collect();
    }
    found
}

impl Family {
    fn new(metric: Metric) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(metric.name(), metric.help());
        Ok(match metric.kind() {
            Kind::Counter => Family::Counter(CounterVec::new(opts, metric.labels())?),
            Kind::Gauge => Family::Gauge(GaugeVec::new(opts, metric.labels())?),
            Kind::Histogram(buckets) => {
                let opts = prometheus::HistogramOpts::from(opts).buckets(buckets.to_vec());
                Family::Histogram(HistogramVec::new(opts, metric.labels())?)
            }
        })
    }

    fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        match self {
            Family::Counter(family) => registry.register(Box::new(family.clone())),
            Family::Gauge(family) => registry.register(Box::new(family.clone())),
            Family::Histogram(family) => registry.register(Box::new(family.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{CommitResult, Sink};
    use jtav_schemas::{Modality, Stage};

    #[test]
    fn a_series_that_was_removed_begins_anew_also_for_threads_that_wrote_to_it() {
        let (one, other) = (Telemetry::new().unwrap(), Telemetry::new().unwrap());
        one.add(&Metric::commits(CommitResult::Ok), 2.0);
        other.add(&Metric::commits(CommitResult::Ok), 5.0);
        one.remove(&Metric::commits(CommitResult::Ok));
        one.inc(&Metric::commits(CommitResult::Ok));
        let values = [&one, &other].map(|telemetry| telemetry.value(&Metric::commits(CommitResult::Ok)));
        assert_eq!(values, [1.0, 5.0]);
        assert!(one.render().unwrap().contains("jtav_ingest_commits_total{result=\"ok\"} 1"));
    }

    #[test]
    fn the_whole_catalogue_registers_and_what_is_written_is_rendered() {
        let telemetry = Telemetry::new().unwrap();
        telemetry.inc(&Metric::cache_hits(Modality::Audio));
        telemetry.add(&Metric::cache_hits(Modality::Image), 2.0);
        telemetry.set(&Metric::ready(), 1.0);
        telemetry.shift(&Metric::decode_queue(), -1.0);
        telemetry.observe(&Metric::stage_seconds(Stage::Fetch), 0.1);
        let text = telemetry.render().unwrap();
        for line in [
            "# TYPE jtav_cache_hits_total counter",
            "jtav_cache_hits_total{modality=\"audio\"} 1",
            "jtav_cache_hits_total{modality=\"image\"} 2",
            "jtav_ready 1",
            "jtav_decode_queue_items -1",
            "jtav_stage_duration_seconds_bucket{stage=\"fetch\",le=\"0.1\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert_eq!(telemetry.total(Metric::CacheHits), 3.0);
        telemetry.remove(&Metric::cache_hits(Modality::Image));
        assert_eq!(telemetry.total(Metric::CacheHits), 1.0);
    }

    #[test]
    fn what_stands_at_zero_from_the_start_is_there_in_every_combination_of_its_labels() {
        let telemetry = Telemetry::new().unwrap();
        telemetry.inc(&Metric::commits(CommitResult::NotOwner));
        telemetry.start_from_zero();
        assert_eq!(telemetry.value(&Metric::commits(CommitResult::NotOwner)), 1.0, "nothing is forgotten");
        let text = telemetry.render().unwrap();
        for line in [
            "jtav_ingest_commits_total{result=\"ok\"} 0",
            "jtav_publish_records_total{result=\"error\",sink=\"sentiment\"} 0",
            "jtav_delivery_abandoned_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert_eq!(Sink::DeadLetters.as_str(), "dead_letters");
    }
}
