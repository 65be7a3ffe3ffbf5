//! The seven modality subsets, scored as ADR 43 says: the other parts are masked, every post of the split is
//! scored, and a post of which nothing is left gets the training base rate. The label of three of the whole post goes
//! beside them.

use anyhow::Context;
use jtav_model::{FusionInput, Judgement, Language, Middle, ModalitySet};
use serde::Serialize;

use crate::bootstrap::{Intervals, intervals_of_items};
use crate::certainty::{UNDETERMINED, is_certain};
use crate::dataset::{MOODS, Split};
use crate::items::{Items, PostItems};
use crate::metrics::{Metrics, auc, calibration_quantile_of_parts};
use crate::three_way::{Row, ThreeWay, three_way_of_items};

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
    /// The label of three; none of a post of which nothing is left.
    pub judgement: Option<Judgement>,
}

/// One post, ready to be fused.
#[derive(Debug, Clone)]
pub struct EncodedPost {
    /// Vectors of its modalities, possibly none.
    pub input: FusionInput,
    /// The likeliest language of its texts; none without texts, or where nothing can be told.
    pub language: Option<Language>,
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
    /// 95 % bootstrap intervals over the texts, clips and pictures that the subset leaves of the posts.
    pub intervals: Intervals,
    /// The calibration error that 95 of 100 such splits stay below where the probabilities are exactly right.
    pub ece_quantile: Option<f64>,
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
    /// The label of the whole post against a truth that knows no neutral: who says neutral is wrong. Kinds are the
    /// modalities of the posts.
    pub three_way: ThreeWay,
}

/// What a split is scored by.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    pub split: Split,
    /// Score of a post of which nothing is left.
    pub base_rate: f64,
    /// What is promised of labels.
    pub middle: &'a Middle,
    /// What the posts share, in their order.
    pub items: &'a PostItems,
    /// Seed of the bootstrap.
    pub seed: u64,
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
/// Those of `fuse`; a split without a post; a probability that is none; items of another number of posts.
pub fn evaluate(
    setting: &Setting,
    posts: &[EncodedPost],
    mut fuse: impl FnMut(&[FusionInput]) -> anyhow::Result<Vec<Scored>>,
) -> anyhow::Result<Evaluation> {
    let Setting { split, base_rate, items, .. } = *setting;
    anyhow::ensure!(items.posts() == posts.len(), "the items of {} posts for {}", items.posts(), posts.len());
    let labels: Vec<bool> = posts.iter().map(|post| post.positive).collect();
    let mut subsets = Vec::new();
    for subset in ModalitySet::all_non_empty() {
        let masked: Vec<FusionInput> = posts.iter().map(|post| post.input.masked(subset)).collect();
        let present: Vec<usize> = (0..posts.len()).filter(|&at| !masked[at].modalities().is_empty()).collect();
        let inputs: Vec<FusionInput> = present.iter().map(|&at| masked[at].clone()).collect();
        let answers = if inputs.is_empty() { Vec::new() } else { fuse(&inputs)? };
        anyhow::ensure!(answers.len() == inputs.len(), "{} answers for {} posts", answers.len(), inputs.len());

        let nothing_left = Scored { probability: base_rate, positive: base_rate >= 0.5, mood: None, judgement: None };
        let mut scored = vec![nothing_left; posts.len()];
        for (&at, answer) in present.iter().zip(&answers) {
            scored[at] = *answer;
        }
        let items = items.of_subset(subset);
        let figures = figures(scored, &labels, &present, &items, setting.seed)
            .with_context(|| format!("scoring {split} by {subset}"))?;
        subsets.push((subset.to_string(), figures));
    }
    let name = ModalitySet::FULL.to_string();
    let full = subsets.iter().find(|(of, _)| *of == name).context("the full subset was not scored")?;
    let moods = mood_figures(&full.1.scored, posts);
    let three_way = three_way_figures(setting, &full.1.scored, posts)?;
    Ok(Evaluation { split, base_rate, subsets, moods, three_way })
}

fn figures(
    scored: Vec<Scored>,
    labels: &[bool],
    present: &[usize],
    items: &Items,
    seed: u64,
) -> anyhow::Result<SubsetFigures> {
    let scores: Vec<f64> = scored.iter().map(|post| post.probability).collect();
    let predictions: Vec<bool> = scored.iter().map(|post| post.positive).collect();
    let (present_scores, present_labels): (Vec<f64>, Vec<bool>) =
        present.iter().map(|&at| (scores[at], labels[at])).unzip();
    Ok(SubsetFigures {
        metrics: Metrics::of_predictions(&scores, labels, &predictions)?,
        intervals: intervals_of_items(&scores, labels, &predictions, items, BOOTSTRAP_RESAMPLES, seed),
        ece_quantile: calibration_quantile_of_parts(&scores, items, BOOTSTRAP_RESAMPLES, seed),
        auc_present: auc(&present_scores, &present_labels),
        n_present: present.len(),
        scored,
    })
}

/// The label of three of whole posts. One of which nothing can be read has no middle, and is never certain.
fn three_way_figures(setting: &Setting, scored: &[Scored], posts: &[EncodedPost]) -> anyhow::Result<ThreeWay> {
    let kinds: Vec<String> = posts.iter().map(|post| kind_of(&post.input)).collect();
    let rows: Vec<Row> = scored
        .iter()
        .zip(posts)
        .zip(&kinds)
        .map(|((scored, post), kind)| three_way_row(scored, post, kind, setting.middle))
        .collect();
    let items = setting.items.of_subset(ModalitySet::FULL);
    Ok(three_way_of_items(&rows, &items, BOOTSTRAP_RESAMPLES, setting.seed)?)
}

fn three_way_row<'a>(scored: &Scored, post: &'a EncodedPost, kind: &'a str, middle: &Middle) -> Row<'a> {
    let has_text = post.input.text.is_some();
    let said = scored.judgement.map(|judgement| judgement.probabilities.map(f64::from));
    let certain =
        scored.judgement.is_some_and(|judgement| is_certain(&judgement, has_text, post.language.as_ref(), middle));
    Row {
        probabilities: said.unwrap_or([1.0 - scored.probability, 0.0, scored.probability]),
        certain,
        truth: if post.positive { 2 } else { 0 },
        kind,
        language: language_of(post, middle),
        item: "",
    }
}

fn kind_of(input: &FusionInput) -> String {
    let modalities = input.modalities();
    if modalities.is_empty() { "nothing".to_owned() } else { modalities.to_string() }
}

/// As it was identified, for a pack states none; [`UNDETERMINED`] where that is not to be believed.
fn language_of<'a>(post: &'a EncodedPost, middle: &Middle) -> &'a str {
    match &post.language {
        _ if post.input.text.is_none() => jtav_model::NO_LANGUAGE,
        Some(language) if language.probability >= middle.language_confidence => &language.code,
        _ => UNDETERMINED,
    }
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
        EncodedPost { input, language: Some(Language { code: "en".to_owned(), probability: 0.9 }), positive, mood }
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
                judgement: Some(Judgement {
                    probabilities: [0.5 - probability as f32 / 2.0, 0.5 - probability as f32 / 2.0, probability as f32],
                    polarity: probability as f32,
                    valence: 0.0,
                    certain_from: 0.6,
                }),
            }
        };
        assert!(inputs.iter().all(|input| !input.modalities().is_empty()));
        Ok(inputs.iter().map(one).collect())
    }

    fn scored(
        split: Split,
        posts: &[EncodedPost],
        fuse: impl FnMut(&[FusionInput]) -> anyhow::Result<Vec<Scored>>,
    ) -> anyhow::Result<Evaluation> {
        let (middle, items) = (Middle::default(), PostItems::apart(posts.len()));
        evaluate(&Setting { split, base_rate: 0.7, middle: &middle, items: &items, seed: 1 }, posts, fuse)
    }

    #[test]
    fn a_masked_subset_scores_every_post_and_uses_the_base_rate_where_nothing_is_left() {
        let posts = [
            post(Some(0.9), Some(0.2), true, Some(1)),
            post(Some(0.1), None, false, None),
            post(None, Some(0.8), true, Some(1)),
            post(None, None, false, None),
        ];
        let evaluation = scored(Split::Validation, &posts, mean).unwrap();
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
    fn the_label_of_the_whole_post_is_one_of_three_and_neutral_is_never_right() {
        let mut posts = vec![
            post(Some(0.9), None, true, None),
            // The other two are equal at .4, so this is neutral: an error, whatever the truth.
            post(Some(0.2), None, true, None),
            post(None, None, false, None),
            // Sure, and in a language that nothing was measured on.
            post(Some(0.95), None, true, None),
            post(None, Some(0.8), true, None),
        ];
        posts[3].language = Some(Language { code: "pt".to_owned(), probability: 0.9 });
        posts[1].language = None;
        posts[4].language = None;
        let found = scored(Split::Test, &posts, mean).unwrap().three_way;
        assert_eq!((found.overall.n, found.overall.accuracy.value), (5, Some(0.6)));
        // The first and the last.
        let certain = found.overall.certain;
        assert_eq!((certain.coverage.value, certain.accuracy.value), (Some(0.4), Some(1.0)));
        assert_eq!(found.kinds.keys().collect::<Vec<_>>(), ["audio", "nothing", "text"]);
        assert_eq!(found.languages.keys().collect::<Vec<_>>(), ["en", "pt", "und", "zxx"]);
        assert_eq!(found.languages["pt"].certain.coverage.value, Some(0.0));
    }

    #[test]
    fn posts_that_share_their_media_move_together_in_the_subsets_that_see_them() {
        let posts: Vec<EncodedPost> = (0..60)
            .map(|at| post(Some((at % 7) as f32 / 7.0), Some((at % 11) as f32 / 11.0), at % 3 > 0, None))
            .collect();
        let names = |kind: &str, of: &dyn Fn(usize) -> usize| -> Vec<String> {
            (0..60).map(|at| format!("{kind}{:02}", of(at))).collect()
        };
        let (texts, clips) = (names("t", &|at| at), names("c", &|at| at % 6));
        let middle = Middle::default();
        let width = |items: &PostItems, subset: &str| {
            let setting = Setting { split: Split::Test, base_rate: 0.7, middle: &middle, items, seed: 1 };
            let evaluation = evaluate(&setting, &posts, mean).unwrap();
            let figures = evaluation.subset(subset).unwrap();
            (figures.intervals.brier.map(|i| i.high - i.low).unwrap(), figures.ece_quantile.unwrap())
        };
        let (shared, apart) = (PostItems::of_names([texts, clips, Vec::new()]), PostItems::apart(60));
        assert_eq!(width(&shared, "text"), width(&apart, "text"));
        let ((audio, chance), (audio_apart, chance_apart)) = (width(&shared, "audio"), width(&apart, "audio"));
        assert!(chance > 1.1 * chance_apart, "{chance} {chance_apart}");
        assert!(audio > 0.0 && audio != audio_apart);
        let (_, both) = width(&shared, "text+audio");
        assert!(both < width(&shared, "audio").1 * 1.2 && both > 0.0);
    }

    #[test]
    fn a_split_without_posts_or_music_says_so() {
        assert!(scored(Split::Test, &[], mean).unwrap_err().to_string().contains("test by text"));
        let posts = [post(Some(0.9), None, true, None), post(Some(0.2), None, false, None)];
        assert_eq!(scored(Split::Test, &posts, mean).unwrap().moods, None);
    }

    #[test]
    fn a_fusion_that_answers_for_other_posts_is_an_error() {
        let posts = [post(Some(0.9), None, true, None)];
        assert!(scored(Split::Test, &posts, |_| Ok(Vec::new())).is_err());
    }
}
