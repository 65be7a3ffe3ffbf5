//! Whether vectors know what a text is about: sentences of reviews look for others about the same product (tests/semantic).

use std::path::Path;

use jtav_trainer::bootstrap::mean_interval;
use serde::Deserialize;

use super::figures::{Figure, RESAMPLES};
use super::rated::read_lines;
use super::tfidf::SparseRows;
use crate::table::Spread;

/// Neighbours that are looked at.
const NEAREST: usize = 10;

/// A sentence of the set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SemanticText {
    /// As in `rated-texts.jsonl`.
    pub id: String,
    pub product: String,
    pub text: String,
}

/// Reads `reviews.jsonl` in the folder.
///
/// # Errors
/// A file that is not there, a line that is none, a set of so few that ten neighbours are not there.
pub fn read_semantic(folder: &Path) -> anyhow::Result<Vec<SemanticText>> {
    let path = folder.join("reviews.jsonl");
    let texts: Vec<SemanticText> = read_lines(&path)?;
    anyhow::ensure!(texts.len() > NEAREST, "{}: {} texts, more than {NEAREST} are needed", path.display(), texts.len());
    Ok(texts)
}

/// Precision at 10: which share of the ten nearest other sentences is about the same product, mean over all sentences.
/// `similarity` of two places rises with nearness; of equals the earlier place is nearer.
pub fn precision_at_10(texts: &[SemanticText], similarity: impl Fn(usize, usize) -> f64, seed: u64) -> Option<Figure> {
    let precision = |query: usize| {
        let others = (0..texts.len()).filter(|&other| other != query);
        let mut ranked: Vec<(f64, usize)> = others.map(|other| (similarity(query, other), other)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let same = ranked.iter().take(NEAREST).filter(|(_, other)| texts[*other].product == texts[query].product);
        same.count() as f64 / NEAREST as f64
    };
    let precisions: Vec<f64> = (0..texts.len()).map(precision).collect();
    let value = Spread::of(&precisions)?;
    let interval = mean_interval(&precisions, RESAMPLES, seed);
    Some(Figure { value: Spread { std: None, ..value }, interval, n: texts.len() })
}

/// What drawing ten others by chance gives.
pub fn chance(texts: &[SemanticText]) -> f64 {
    let n = texts.len() as f64;
    let same = |text: &SemanticText| texts.iter().filter(|other| other.product == text.product).count() as f64 - 1.0;
    texts.iter().map(|text| same(text) / (n - 1.0)).sum::<f64>() / n
}

/// Cosines of all pairs of rows.
pub fn cosine(vectors: &[Vec<f32>]) -> impl Fn(usize, usize) -> f64 {
    let unit = |vector: &Vec<f32>| -> Vec<f32> {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        vector.iter().map(|x| x / length).collect()
    };
    let units: Vec<Vec<f32>> = vectors.iter().map(unit).collect();
    move |a, b| units[a].iter().zip(&units[b]).map(|(x, y)| f64::from(x * y)).sum()
}

/// Cosines of sparse rows.
pub fn sparse_cosine(rows: &SparseRows) -> impl Fn(usize, usize) -> f64 {
    let length = |row: usize| rows.row(row).iter().map(|(_, x)| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    move |a, b| {
        let (mut left, mut right, mut sum) = (rows.row(a), rows.row(b), 0.0);
        while let (Some((i, x)), Some((j, y))) = (left.first(), right.first()) {
            match i.cmp(j) {
                std::cmp::Ordering::Less => left = &left[1..],
                std::cmp::Ordering::Greater => right = &right[1..],
                std::cmp::Ordering::Equal => {
                    sum += f64::from(*x) * f64::from(*y);
                    (left, right) = (&left[1..], &right[1..]);
                }
            }
        }
        sum / (length(a) * length(b)).max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::tfidf::TfIdf;

    fn texts(products: &[&str]) -> Vec<SemanticText> {
        let text = |(at, product): (usize, &&str)| SemanticText {
            id: at.to_string(),
            product: (*product).to_owned(),
            text: format!("{product} {at}"),
        };
        products.iter().enumerate().map(text).collect()
    }

    #[test]
    fn neighbours_of_the_same_product_count_and_the_sentence_itself_does_not() {
        let texts = texts(&[["a"; 11], ["b"; 11]].concat());
        let apart: Vec<Vec<f32>> =
            (0..22).map(|at| vec![f32::from(at < 11), 0.1 * at as f32, 1.0 - f32::from(at < 11)]).collect();
        let found = precision_at_10(&texts, cosine(&apart), 1).map(|figure| (figure.value.mean, figure.n));
        assert!(found.is_some_and(|(mean, n)| mean > 0.9 && n == 22), "{found:?}");
        // All alike: the first ten places, whose products are all `a`.
        let alike = precision_at_10(&texts, |_, _| 0.0, 1).unwrap();
        assert!((alike.value.mean - 0.5).abs() < 1e-9, "{alike:?}");
        assert!((chance(&texts) - 10.0 / 21.0).abs() < 1e-12);
    }

    #[test]
    fn sparse_rows_have_the_cosine_of_their_dense_ones() {
        use crate::labels::votes::FeatureRows;
        let texts = ["the camera is good", "a good camera", "a phone", ""].map(str::to_owned);
        let rows = TfIdf::fit(&texts).rows(&texts);
        let dense: Vec<Vec<f32>> = (0..texts.len())
            .map(|row| {
                let mut dense = vec![0.0; rows.columns()];
                rows.add(row, 1.0, &mut dense);
                dense.into_iter().map(|x| x as f32).collect()
            })
            .collect();
        let (sparse, dense) = (sparse_cosine(&rows), cosine(&dense));
        for (a, b) in [(0, 0), (0, 1), (1, 2), (0, 3), (3, 3)] {
            assert!((sparse(a, b) - dense(a, b)).abs() < 1e-5, "{a} {b}");
        }
    }
}
