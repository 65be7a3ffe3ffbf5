//! The seven modality subsets, scored as ADR 43 says: the other parts are masked, every post of the split is
//! scored, and a post of which nothing is left gets the training base rate.

use anyhow::Context;
use jtav_model::{FusionInput, ModalitySet};
use serde::Serialize;

use crate::bootstrap::{Intervals, intervals};
use crate::dataset::{MOODS, Split};
use crate::metrics::{Metrics, auc};

/// Resamples behind every interval.
pub const BOOTSTRAP_RESAMPLES: usize = 1000;

/// What the fusion says of one post.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Calibrated probability of the positive class.
    pub probability: f64,
    /// Whether it reaches the threshold of the post's own modalities.
    pub positive: bool,
    /// Most probable mood, an index into [`MOODS`]; none without audio.
    pub mood: Option<usize>,
}

/// One post, ready to be fused.
#[derive(Debug, Clone)]
pub struct EncodedPost {
    /// Vectors of its modalities, possibly none.
    pub input: FusionInput,
    /// The truth.
    pub positive: bool,
    /// The truth about its music, where there is one.
    pub mood: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubsetFigures {
    /// Over every post of the split.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// 95 % bootstrap intervals over posts.
    pub intervals: Intervals,
    /// AUC over the posts that have at least one part of the subset.
    pub auc_present: Option<f64>,
    /// How many those are.
    pub n_present: usize,
    /// What was said of each post, in the order of the posts; not part of a report.
    #[serde(skip)]
    pub scored: Vec<Scored>,
}

/// How often the most probable mood is the right one, over posts with music.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MoodFigures {
    /// Share of right answers.
    pub accuracy: f64,
    /// Accuracy of always naming the most frequent mood of these posts.
    pub majority: f64,
    /// Posts with a mood.
    pub n: usize,
}

/// Figures of one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    pub split: Split,
    /// Score of a post of which nothing is left.
    pub base_rate: f64,
    /// By name (`text`, `audio`, …, `text+audio+image`), in the order of [`ModalitySet::all_non_empty`].
    pub subsets: Vec<(String, SubsetFigures)>,
    /// Moods, where the split has any.
    pub moods: Option<MoodFigures>,
}

impl Evaluation {
    /// Figures of the subset with this name.
    pub fn subset(&self, name: &str) -> Option<&SubsetFigures> {
        self.subsets.iter().find(|(of, _)| of == name).map(|(_, figures)| figures)
    }
}

/// Scores all seven subsets. `fuse` is called with posts that have at least one modality.
///
/// # Errors
/// Those of `fuse`; a split without a post; a probability that is none.
pub fn evaluate(
    split: Split,
    posts: &[EncodedPost],
    base_rate: f64,
    seed: u64,
    mut fuse: impl FnMut(&[FusionInput]) -> anyhow::Result<Vec<Scored>>,
) -> anyhow::Result<Evaluation> {
    let labels: Vec<bool> = posts.iter().map(|post| post.positive).collect();
    let mut subsets = Vec::new();
    let mut moods = None;
    for subset in ModalitySet::all_non_empty() {
        let masked: Vec<FusionInput> = posts.iter().map(|post| post.input.masked(subset)).collect();
        let present: Vec<usize> = (0..posts.len()).filter(|&at| !masked[at].modalities().is_empty()).collect();
        let inputs: Vec<FusionInput> = present.iter().map(|&at| masked[at].clone()).collect();
        let answers = if inputs.is_empty() { Vec::new() } else { fuse(&inputs)? };
        anyhow::ensure!(answers.len() == inputs.len(), "{} answers for {} posts", answers.len(), inputs.len());

        let nothing_left = Scored { probability: base_rate, positive: base_rate >= 0.5, mood: None };
        let mut scored = vec![nothing_left; posts.len()];
        for (&at, answer) in present.iter().zip(&answers) {
            scored[at] = *answer;
        }
        let figures =
            figures(scored, &labels, &present, seed).with_context(|| format!("scoring {split} by {subset}"))?;
        if subset == ModalitySet::FULL {
            moods = mood_figures(&figures.scored, posts);
        }
        subsets.push((subset.to_string(), figures));
    }
    Ok(Evaluation { split, base_rate, subsets, moods })
}

fn figures(scored: Vec<Scored>, labels: &[bool], present: &[usize], seed: u64) -> anyhow::Result<SubsetFigures> {
    let scores: Vec<f64> = scored.iter().map(|post| post.probability).collect();
    let predictions: Vec<bool> = scored.iter().map(|post| post.positive).collect();
    let (present_scores, present_labels): (Vec<f64>, Vec<bool>) =
        present.iter().map(|&at| (scores[at], labels[at])).unzip();
    Ok(SubsetFigures {
        metrics: Metrics::of_predictions(&scores, labels, &predictions)?,
        intervals: intervals(&scores, labels, &predictions, BOOTSTRAP_RESAMPLES, seed),
        auc_present: auc(&present_scores, &present_labels),
        n_present: present.len(),
        scored,
    })
}

fn mood_figures(scored: &[Scored], posts: &[EncodedPost]) -> Option<MoodFigures> {
    let mut counts = [0_usize; MOODS.len()];
    let mut right = 0;
    for (answer, post) in scored.iter().zip(posts) {
        if let Some(count) = post.mood.and_then(|mood| counts.get_mut(mood)) {
            *count += 1;
            right += usize::from(answer.mood == post.mood);
        }
    }
    let n: usize = counts.iter().sum();
    let majority = counts.into_iter().max().unwrap_or(0);
    (n > 0).then(|| MoodFigures { accuracy: right as f64 / n as f64, majority: majority as f64 / n as f64, n })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(text: Option<f32>, audio: Option<f32>, positive: bool, mood: Option<usize>) -> EncodedPost {
        let input = FusionInput { text: text.map(|v| vec![v]), audio: audio.map(|v| vec![v]), image: None };
        EncodedPost { input, positive, mood }
    }

    /// The probability is the mean of the single values; the mood follows the audio.
    fn mean(inputs: &[FusionInput]) -> anyhow::Result<Vec<Scored>> {
        let one = |input: &FusionInput| {
            let values: Vec<f32> = [&input.text, &input.audio].into_iter().flatten().map(|v| v[0]).collect();
            let probability = f64::from(values.iter().sum::<f32>() / values.len() as f32);
            Scored {
                probability,
                positive: probability >= 0.6,
                mood: input.audio.as_ref().map(|v| usize::from(v[0] > 0.5)),
            }
        };
        assert!(inputs.iter().all(|input| !input.modalities().is_empty()));
        Ok(inputs.iter().map(one).collect())
    }

    #[test]
    fn a_masked_subset_scores_every_post_and_uses_the_base_rate_where_nothing_is_left() {
        let posts = [
            post(Some(0.9), Some(0.2), true, Some(1)),
            post(Some(0.1), None, false, None),
            post(None, Some(0.8), true, Some(1)),
            post(None, None, false, None),
        ];
        let evaluation = evaluate(Split::Validation, &posts, 0.7, 1, mean).unwrap();
        assert_eq!(evaluation.subsets.len(), 7);

        let text = evaluation.subset("text").unwrap();
        // Scores .9 .1 .7 .7 against + - + -: the third and fourth tie.
        assert_eq!((text.metrics.n, text.n_present, text.metrics.auc), (4, 2, Some(0.875)));
        assert_eq!((text.auc_present, text.metrics.accuracy), (Some(1.0), 0.75));

        let image = evaluation.subset("image").unwrap();
        assert_eq!((image.n_present, image.auc_present, image.metrics.auc), (0, None, Some(0.5)));
        assert_eq!(image.metrics.accuracy, 0.5);

        let all = evaluation.subset("text+audio+image").unwrap();
        // Scores .55 .1 .8 .7.
        assert_eq!((all.n_present, all.metrics.auc), (3, Some(0.75)));
        assert_eq!(evaluation.moods, Some(MoodFigures { accuracy: 0.5, majority: 1.0, n: 2 }));
    }

    #[test]
    fn a_split_without_posts_or_music_says_so() {
        assert!(evaluate(Split::Test, &[], 0.5, 1, mean).unwrap_err().to_string().contains("test by text"));
        let posts = [post(Some(0.9), None, true, None), post(Some(0.2), None, false, None)];
        assert_eq!(evaluate(Split::Test, &posts, 0.5, 1, mean).unwrap().moods, None);
    }

    #[test]
    fn a_fusion_that_answers_for_other_posts_is_an_error() {
        let posts = [post(Some(0.9), None, true, None)];
        assert!(evaluate(Split::Test, &posts, 0.5, 1, |_| Ok(Vec::new())).is_err());
    }
}
