use std::fmt::Write as _;

use crate::{Kind, Metric};

/// The reference of all metrics as Markdown, made from the catalogue.
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nMade from [the catalogue](../crates/telemetry/src/catalogue.rs); a test holds this page against it and \
         says how to make it anew. A counter marked *from 0* stands on `/metrics` from the start, in every combination of \
         its labels, so that an alert sees its first rise.\n\n| metric | kind | labels | what |\n|---|---|---|---|\n",
    );
    for metric in Metric::ALL {
        let kind = match metric.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let from_zero = if Metric::FROM_ZERO.contains(metric) { ", from 0" } else { "" };
        let labels = metric.labels().iter().zip(metric.label_values()).map(|(label, known)| match known {
            Some(known) => {
                let values = known.iter().map(|value| if value.is_empty() { "(empty)" } else { value });
                format!("`{label}`: {}", values.collect::<Vec<_>>().join(", "))
            }
            None => format!("`{label}`"),
        });
        let labels = labels.collect::<Vec<_>>().join("; ");
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{}` | {kind}{from_zero} | {labels} | {} |", metric.name(), metric.help());
    }
    page
}
