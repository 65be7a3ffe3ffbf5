//! Predictions that others wrote down: a file of lines `{id, probabilities}` or `{id, probability, label}`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::common_sense::Label;
use super::model::Answer;
use super::rated::read_lines;

/// Answers by the id of their post.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GivenAnswers(HashMap<String, Answer>);

#[derive(Deserialize)]
struct Line {
    id: String,
    /// Of negative, neutral and positive.
    probabilities: Option<[f64; 3]>,
    /// Of positive, where there is no neutral.
    probability: Option<f64>,
    /// What was said, where it does not follow from the probabilities.
    label: Option<Label>,
}

impl GivenAnswers {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is not there; a line that is none, or that says neither probabilities nor probability.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut answers = HashMap::new();
        for line in read_lines::<Line>(path)? {
            let id = line.id.clone();
            let answer = line.answer().with_context(|| format!("{}, post `{id}`", path.display()))?;
            answers.insert(id, answer);
        }
        Ok(Self(answers))
    }

    /// The answers to these posts, in order; `None` where one is missing.
    pub fn answers<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Option<Vec<Answer>> {
        ids.map(|id| self.0.get(id).copied()).collect()
    }
}

impl Line {
    fn answer(self) -> anyhow::Result<Answer> {
        let probabilities = match (self.probabilities, self.probability) {
            (Some(probabilities), _) => probabilities,
            (None, Some(positive)) => [1.0 - positive, 0.0, positive],
            (None, None) => anyhow::bail!("neither `probabilities` nor `probability`"),
        };
        let are_shares = probabilities.iter().all(|share| (0.0..=1.0).contains(share));
        anyhow::ensure!(are_shares, "{probabilities:?} are no probabilities");
        let answer = Answer::of(probabilities);
        Ok(Answer { label: self.label.map_or(answer.label, |label| label as usize), ..answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<GivenAnswers> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("given.jsonl");
        std::fs::write(&path, text)?;
        GivenAnswers::read(&path)
    }

    #[test]
    fn a_label_that_is_given_counts_and_not_the_larger_probability() {
        let lines = "{\"id\": \"a\", \"probability\": 0.6, \"label\": \"negative\"}\n{\"id\": \"b\", \"probabilities\": [0.2, 0.5, 0.3]}\n";
        let given = read(lines).unwrap();
        let answers = given.answers(["b", "a"].into_iter()).unwrap();
        assert_eq!((answers[0].label, answers[1].label), (1, 0));
        assert!((answers[0].score - 1.5_f64.ln()).abs() < 1e-9 && answers[1].score > 0.0);
        assert_eq!(given.answers(["a", "c"].into_iter()), None);
    }

    #[test]
    fn what_is_no_probability_is_refused_with_its_post() {
        for line in [
            "{\"id\": \"a\"}",
            "{\"id\": \"a\", \"probability\": 1.5}",
            "{\"id\": \"a\", \"probabilities\": [0, 0, -1]}",
        ] {
            assert!(format!("{:#}", read(line).unwrap_err()).contains("`a`"), "{line}");
        }
        assert!(read("{\"id\": \"a\", \"probability\": 0.5, \"label\": \"good\"}").is_err());
    }
}
