//! What a trainer measured, in short. A manifest may hold any JSON there.

use serde_json::{Map, Value};

use super::folder::shown;

/// Figures that are worth a place in a line, in this order; one of them at least makes a line.
const NAMED: [&str; 9] = ["accuracy", "accuracy_3", "f1_macro", "macro_f1", "f1_weighted", "auc", "ece", "rps", "n"];
const MAX_LINES: usize = 16;
/// Objects within objects that are looked into.
const MAX_DEPTH: usize = 8;

/// A line for each place that has an accuracy, an area under the curve or an F1; at most [`MAX_LINES`].
pub fn figures(metrics: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    collect(metrics, &[], &mut lines);
    if lines.len() > MAX_LINES {
        lines.truncate(MAX_LINES);
        lines.push("… (all of them: --json)".to_owned());
    }
    lines
}

fn collect(value: &Value, path: &[&str], lines: &mut Vec<String>) {
    if path.len() > MAX_DEPTH || lines.len() > MAX_LINES {
        return;
    }
    match value {
        Value::Object(fields) => {
            lines.extend(line(fields, path));
            for (name, field) in fields {
                collect(field, &[path, &[name.as_str()]].concat(), lines);
            }
        }
        // Maps whose keys are no texts are written as lists of pairs.
        Value::Array(items) => {
            for item in items {
                if let Some([Value::String(name), of_name]) = item.as_array().map(Vec::as_slice) {
                    collect(of_name, &[path, &[name.as_str()]].concat(), lines);
                }
            }
        }
        _ => {}
    }
}

fn line(fields: &Map<String, Value>, path: &[&str]) -> Option<String> {
    let numbers: Vec<String> = NAMED
        .iter()
        .filter_map(|name| Some((*name, fields.get(*name)?.as_f64()?)))
        .map(|(name, number)| match number.fract() == 0.0 && number.abs() > 1.0 {
            true => format!("{name} {number:.0}"),
            false => format!("{name} {number:.3}"),
        })
        .collect();
    let is_a_measurement = NAMED[..6].iter().any(|name| fields.get(*name).is_some_and(Value::is_number));
    is_a_measurement.then(|| format!("{}: {}", shown(&path.join(" ")), numbers.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_with_a_measurement_has_its_line() {
        let metrics = json!({
            "validation": {
                "base_rate": 0.7,
                "subsets": [["text", { "auc": 0.93656, "accuracy": 0.86461, "n": 325, "brier": 0.09 }]],
            },
            "seconds": 12,
        });
        assert_eq!(figures(&metrics), ["validation subsets text: accuracy 0.865, auc 0.937, n 325"]);
        assert!(figures(&Value::Null).is_empty());
    }

    #[test]
    fn metrics_of_a_stranger_stay_short_and_reach_no_terminal_raw() {
        let many: Map<String, Value> =
            (0..1_000).map(|index| (format!("\u{1b}[2J{index}"), json!({ "accuracy": 0.5 }))).collect();
        let lines = figures(&Value::Object(many));
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:?}");
        let deep = (0..100).fold(json!({ "accuracy": 1.0 }), |inner, _| json!({ "a": inner }));
        assert!(figures(&deep).is_empty());
    }
}
