//! A file of predictions: `{"scores": [0.91, 0.2], "labels": [1, 0], "threshold": 0.5}`.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where a prediction becomes positive unless the file says otherwise.
const DEFAULT_THRESHOLD: f64 = 0.5;

/// Predictions with their labels, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Probability of the positive class, 0 to 1, at least one.
    pub scores: Vec<f64>,
    /// The truth, as many as there are scores.
    pub labels: Vec<bool>,
    /// A score that is at least this is a positive prediction. Any number: one above 1 predicts no positive at all.
    pub threshold: f64,
}

/// Why a file of predictions was refused. Places in a list count from 0.
#[derive(Debug, thiserror::Error)]
pub enum PredictionsError {
    /// It is missing or unreadable.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// It is no JSON.
    #[error("{}: {source}{hint}", path.display())]
    Json {
        path: PathBuf,
        /// What the parser said, with line and column.
        source: serde_json::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// It is JSON, but not what can be scored.
    #[error("{}: {reason}", path.display())]
    Content {
        path: PathBuf,
        /// What is wrong, where, and what to do about it.
        reason: String,
    },
}

impl PredictionsError {
    /// Never: the same file is refused again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl Predictions {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, PredictionsError> {
        let bytes = std::fs::read(path).map_err(|source| PredictionsError::Io { path: path.to_owned(), source })?;
        let value = serde_json::from_slice(&bytes).map_err(|source| {
            let names_no_number = ["NaN", "Infinity"].iter().any(|name| contains(&bytes, name.as_bytes()));
            let hint = if names_no_number {
                "; NaN and Infinity are no JSON: leave such predictions out, or find out why the model made them"
            } else {
                "; expected {\"scores\": [0.91, 0.2], \"labels\": [1, 0], \"threshold\": 0.5}"
            };
            PredictionsError::Json { path: path.to_owned(), source, hint }
        })?;
        Self::from_json(&value).map_err(|reason| PredictionsError::Content { path: path.to_owned(), reason })
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let fields = value.as_object().ok_or("expected an object with `scores`, `labels` and `threshold`")?;
        if let Some(name) = fields.keys().find(|name| !["scores", "labels", "threshold"].contains(&name.as_str())) {
            return Err(format!("unknown field `{name}`; there are `scores`, `labels` and `threshold`"));
        }
        let list = |name: &str| match fields.get(name) {
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(format!("`{name}` is no list")),
            None => Err(format!("`{name}` is missing")),
        };
        let (scores, labels) = (list("scores")?, list("labels")?);
        if scores.len() != labels.len() {
            let (scores, labels) = (scores.len(), labels.len());
            return Err(format!("{scores} scores but {labels} labels; each score needs the label at its place"));
        }
        if scores.is_empty() {
            return Err("`scores` and `labels` are empty; there is nothing to score".to_owned());
        }
        let threshold = match fields.get("threshold") {
            None => DEFAULT_THRESHOLD,
            Some(value) => value.as_f64().ok_or_else(|| format!("`threshold` is {value}, expected a number"))?,
        };
        Ok(Self {
            scores: scores.iter().enumerate().map(score).collect::<Result<_, _>>()?,
            labels: labels.iter().enumerate().map(label).collect::<Result<_, _>>()?,
            threshold,
        })
    }
}

fn score((at, value): (usize, &Value)) -> Result<f64, String> {
    match value.as_f64() {
        Some(score) if (0.0..=1.0).contains(&score) => Ok(score),
        Some(score) => Err(format!(
            "scores[{at}] is {score}, outside [0, 1]; Brier score and calibration error are for probabilities: \
             put logits through a sigmoid, or rescale the scores"
        )),
        None => Err(format!("scores[{at}] is {value}, expected a number in [0, 1]")),
    }
}

fn label((at, value): (usize, &Value)) -> Result<bool, String> {
    match value {
        Value::Bool(label) => Ok(*label),
        _ if value.as_f64() == Some(0.0) => Ok(false),
        _ if value.as_f64() == Some(1.0) => Ok(true),
        _ => Err(format!("labels[{at}] is {value}, expected 0 (negative) or 1 (positive)")),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Predictions, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        Predictions::read(file.path()).map_err(|error| {
            let message = error.to_string();
            assert!(message.contains(&file.path().display().to_string()), "{message} names no file");
            message
        })
    }

    #[test]
    fn labels_may_be_numbers_or_truth_values_and_the_threshold_is_a_half_unless_named() {
        let found = read(r#"{"scores": [0, 0.25, 1], "labels": [0, true, 1.0]}"#).unwrap();
        assert_eq!(
            found,
            Predictions { scores: vec![0.0, 0.25, 1.0], labels: vec![false, true, true], threshold: 0.5 }
        );
        assert_eq!(read(r#"{"scores": [0.5], "labels": [1], "threshold": -3}"#).unwrap().threshold, -3.0);
    }

    #[test]
    fn whatever_cannot_be_scored_is_named_with_its_place() {
        for (content, expected) in [
            (r#"{"scores": [0.5, 0.1], "labels": [1]}"#, "2 scores but 1 labels"),
            (r#"{"scores": [], "labels": []}"#, "nothing to score"),
            (r#"{"scores": [0.5, 0.5], "labels": [1, 2]}"#, "labels[1] is 2, expected 0"),
            (r#"{"scores": [0.5], "labels": [0.5]}"#, "labels[0] is 0.5"),
            (r#"{"scores": [0.5], "labels": ["1"]}"#, "labels[0] is \"1\""),
            (r#"{"scores": [0.5, 1.5], "labels": [1, 0]}"#, "scores[1] is 1.5, outside [0, 1]; Brier score"),
            (r#"{"scores": [-0.1], "labels": [1]}"#, "scores[0] is -0.1, outside [0, 1]"),
            (r#"{"scores": [null], "labels": [1]}"#, "scores[0] is null"),
            (r#"{"scores": [0.5, NaN], "labels": [1, 0]}"#, "NaN and Infinity are no JSON"),
            (r#"{"scores": [0.5], "labels": [1], "threshold": "half"}"#, "`threshold` is \"half\""),
            (r#"{"scores": [0.5], "labels": [1], "treshold": 0.4}"#, "unknown field `treshold`"),
            (r#"{"scores": 0.5, "labels": [1]}"#, "`scores` is no list"),
            (r#"{"labels": [1]}"#, "`scores` is missing"),
            ("[0.5]", "expected an object"),
            ("scores", "line 1 column 1; expected {\"scores\""),
        ] {
            let message = read(content).unwrap_err();
            assert!(message.contains(expected), "{content}: {message}");
        }
        let missing = Predictions::read(Path::new("no-such-file.json")).unwrap_err();
        assert!(missing.to_string().starts_with("no-such-file.json: "), "{missing}");
    }
}
