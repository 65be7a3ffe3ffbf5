//! The rivals: what every text network has to beat. All read what the reader of posts gives.

use jtav_text::reading::Reader;
use jtav_text::vader::Vader;

use super::model::{LabelModel, TextParts, joined, three_way};
use super::rated::RatedText;
use super::sentences::Sentences;
use super::tfidf::TfIdf;
use super::votes::{DenseRows, Scaling, VoteRegression};

/// `C` of the regression on TF-IDF, and of that on standardised sentence vectors: chosen by grouped cross-validation on the
/// nine tenths.
const TF_IDF_C: f64 = 5.0;
const SENTENCES_C: f64 = 0.005;

/// TF-IDF and two logistic regressions on the raters' votes.
pub struct TfIdfModel {
    reader: Reader,
    features: TfIdf,
    regression: VoteRegression,
}

impl TfIdfModel {
    /// Fits on these texts. Nothing is drawn by chance, so there are no seeds.
    pub fn fit(texts: &[&RatedText]) -> Self {
        let reader = Reader::new();
        let plain: Vec<String> = texts.iter().map(|text| reader.read(&text.text).plain()).collect();
        let features = TfIdf::fit(&plain);
        let regression = VoteRegression::fit(&features.rows(&plain), texts, TF_IDF_C);
        Self { reader, features, regression }
    }
}

impl LabelModel for TfIdfModel {
    fn label(&self, posts: &[TextParts]) -> anyhow::Result<Vec<[f64; 3]>> {
        let plain: Vec<String> = posts.iter().map(|post| self.reader.read(&joined(post)).plain()).collect();
        let rows = self.features.rows(&plain);
        Ok((0..posts.len()).map(|row| self.regression.probabilities(&rows, row)).collect())
    }
}

/// VADER with its authors' borders of what is neutral, on the text as it was written or as the reader reads it (emoji and
/// emoticons as words, no capitals).
pub struct VaderModel {
    reader: Option<Reader>,
    vader: Vader,
}

/// From here on a compound score is no longer neutral.
const VADER_BORDER: f64 = 0.05;

impl VaderModel {
    pub fn new(reads: bool) -> Self {
        Self { reader: reads.then(Reader::new), vader: Vader::new() }
    }
}

impl LabelModel for VaderModel {
    /// VADER knows no probabilities: these have its score as their log odds, and its label as their largest.
    fn label(&self, posts: &[TextParts]) -> anyhow::Result<Vec<[f64; 3]>> {
        let score = |post: &TextParts| {
            let text = joined(post);
            let read = self.reader.map_or_else(|| text.clone(), |reader| reader.read(&text).plain());
            let compound = f64::from(self.vader.compound(&read));
            three_way(compound, VADER_BORDER / 2.0 - 1e-9)
        };
        Ok(posts.iter().map(score).collect())
    }
}

/// Means over words of two layers of all-MiniLM-L6-v2, and two logistic regressions on the raters' votes.
pub struct SentenceModel<'a> {
    sentences: &'a Sentences,
    scaling: Scaling,
    regression: VoteRegression,
}

impl<'a> SentenceModel<'a> {
    /// Fits on texts whose vectors are `vectors`.
    pub fn fit(sentences: &'a Sentences, texts: &[&RatedText], vectors: &[Vec<f32>]) -> Self {
        let scaling = Scaling::of(vectors);
        let regression = VoteRegression::fit(&scaling.apply(vectors), texts, SENTENCES_C);
        Self { sentences, scaling, regression }
    }
}

impl LabelModel for SentenceModel<'_> {
    fn label(&self, posts: &[TextParts]) -> anyhow::Result<Vec<[f64; 3]>> {
        let texts: Vec<String> = posts.iter().map(joined).collect();
        let vectors: Vec<Vec<f32>> = self.sentences.encode(&texts, || ())?.into_iter().map(|text| text.pools).collect();
        let rows: DenseRows = self.scaling.apply(&vectors);
        Ok((0..posts.len()).map(|row| self.regression.probabilities(&rows, row)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::model::Answer;
    use jtav_schemas::TextPart;

    fn post(text: &str) -> TextParts {
        vec![TextPart { role: "body".to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn vader_is_neutral_inside_its_borders_and_its_score_is_the_compound() {
        let posts = [post("a lovely day"), post("a table"), post("an awful day"), vec![]];
        let answers: Vec<Answer> = VaderModel::new(true).label(&posts).unwrap().into_iter().map(Answer::of).collect();
        assert_eq!(answers.iter().map(|answer| answer.label).collect::<Vec<_>>(), [2, 1, 0, 1]);
        let compound = f64::from(Vader::new().compound("a lovely day"));
        assert!((answers[0].score - compound).abs() < 1e-9);
    }

    #[test]
    fn tf_idf_learns_words_that_votes_go_with_and_the_parts_of_a_post_are_one_text() {
        let rated = |text: &str, mean: f64, votes: [u32; 3]| RatedText {
            id: String::new(),
            group: String::new(),
            text: text.to_owned(),
            mean,
            negative: votes[0],
            zero: votes[1],
            positive: votes[2],
        };
        let mut texts = Vec::new();
        for at in 0..12 {
            texts.push(rated(&format!("a splendid evening {at}"), 2.0, [0, 1, 19]));
            texts.push(rated(&format!("a dreadful evening {at}"), -2.0, [19, 1, 0]));
            texts.push(rated(&format!("the bus number {at}"), 0.0, [1, 18, 1]));
        }
        let model = TfIdfModel::fit(&texts.iter().collect::<Vec<_>>());
        let two = [post("splendid"), post("evening")].concat();
        let posts = [two, post("dreadful"), post("the bus")];
        let labels: Vec<usize> = model.label(&posts).unwrap().into_iter().map(|p| Answer::of(p).label).collect();
        assert_eq!(labels, [2, 0, 1]);
    }
}
