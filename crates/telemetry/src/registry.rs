use std::sync::OnceLock;

use prometheus::{CounterVec, GaugeVec, HistogramVec, Opts, Registry, TextEncoder};

use crate::{Kind, Metric};

/// The metrics of one process.
pub struct Telemetry {
    registry: Registry,
    families: Vec<Family>,
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

/// The one set of metrics of this process.
pub fn global() -> &'static Telemetry {
    static GLOBAL: OnceLock<Telemetry> = OnceLock::new();
    GLOBAL.get_or_init(|| Telemetry::new().expect("Invariant: the catalogue registers (tested)"))
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
        Ok(Self { registry, families })
    }

    fn family(&self, metric: Metric) -> &Family {
        &self.families[metric as usize]
    }

    /// Adds 1 to a counter.
    pub fn inc(&self, metric: Metric, labels: &[&str]) {
        self.add(metric, labels, 1.0);
    }

    /// Adds to a counter, or moves a gauge; negative values are for gauges alone.
    pub fn add(&self, metric: Metric, labels: &[&str], value: f64) {
        match self.family(metric) {
            Family::Counter(family) => match family.get_metric_with_label_values(labels) {
                Ok(counter) if value >= 0.0 => counter.inc_by(value),
                _ => misuse(metric, labels),
            },
            Family::Gauge(family) => match family.get_metric_with_label_values(labels) {
                Ok(gauge) => gauge.add(value),
                Err(_) => misuse(metric, labels),
            },
            Family::Histogram(_) => misuse(metric, labels),
        }
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, labels: &[&str], value: f64) {
        match self.family(metric) {
            Family::Gauge(family) => match family.get_metric_with_label_values(labels) {
                Ok(gauge) => gauge.set(value),
                Err(_) => misuse(metric, labels),
            },
            _ => misuse(metric, labels),
        }
    }

    /// Removes one series, for example of a partition that is no longer owned.
    pub fn remove(&self, metric: Metric, labels: &[&str]) {
        // A series that was never written cannot be removed; that is no fault.
        let _ = match self.family(metric) {
            Family::Gauge(family) => family.remove_label_values(labels),
            Family::Counter(family) => family.remove_label_values(labels),
            Family::Histogram(family) => family.remove_label_values(labels),
        };
    }

    /// Adds an observation to a histogram.
    pub fn observe(&self, metric: Metric, labels: &[&str], value: f64) {
        match self.family(metric) {
            Family::Histogram(family) => match family.get_metric_with_label_values(labels) {
                Ok(histogram) => histogram.observe(value),
                Err(_) => misuse(metric, labels),
            },
            _ => misuse(metric, labels),
        }
    }

    /// Value of a counter or gauge series; 0 where it was never written.
    pub fn value(&self, metric: Metric, labels: &[&str]) -> f64 {
        match self.family(metric) {
            Family::Counter(family) => family.get_metric_with_label_values(labels).map_or(0.0, |c| c.get()),
            Family::Gauge(family) => family.get_metric_with_label_values(labels).map_or(0.0, |g| g.get()),
            Family::Histogram(_) => 0.0,
        }
    }

    /// Sum of a counter or gauge over all its series.
    pub fn total(&self, metric: Metric) -> f64 {
        use prometheus::core::Collector;
        let families = match self.family(metric) {
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

/// A wrong label count or kind is our bug; it must be seen in tests and must not stop a worker.
fn misuse(metric: Metric, labels: &[&str]) {
    debug_assert!(false, "Invariant: {} takes {:?}, not {labels:?}", metric.name(), metric.labels());
    tracing::error!(metric = metric.name(), "metric written with the wrong labels or kind");
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

    #[test]
    fn the_whole_catalogue_registers_and_renders() {
        let telemetry = Telemetry::new().unwrap();
        for metric in Metric::ALL {
            let labels: Vec<&str> = metric.labels().iter().map(|_| "x").collect();
            match metric.kind() {
                Kind::Counter => telemetry.inc(*metric, &labels),
                Kind::Gauge => telemetry.set(*metric, &labels, 1.0),
                Kind::Histogram(_) => telemetry.observe(*metric, &labels, 0.1),
            }
        }
        let text = telemetry.render().unwrap();
        for metric in Metric::ALL {
            assert!(text.contains(&format!("# TYPE {} ", metric.name())), "{} is missing", metric.name());
        }
        assert_eq!(telemetry.total(Metric::CacheHits), 1.0);
    }
}
