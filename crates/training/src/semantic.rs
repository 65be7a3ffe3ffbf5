//! The semantic vector's projection: what a text is about, in fewer values than the encoder gives.
//!
//! Principal components (Pearson 1901) of sentence vectors, in closed form: no label, seed or step size enters, so the matrix
//! knows topics as the frozen encoder does and nothing of sentiment.

use jtav_model::ModelError;
use tch::{Kind, Tensor};

/// An affine projection `matrix (vector - mean)`.
#[derive(Debug, Clone, PartialEq)]
pub struct SemanticProjection {
    /// Mean of the vectors it was fitted on, `[width]`.
    pub mean: Vec<f32>,
    /// `[dimensions, width]` row by row: the directions of most variance, that of the most first, each of length 1. The
    /// largest value of a row by size is positive.
    pub matrix: Vec<f32>,
}

impl SemanticProjection {
    /// The vector in the directions of the matrix, `[dimensions]`. What a vector lacks or has beyond `width` values counts as
    /// the mean and as nothing.
    pub fn project(&self, vector: &[f32]) -> Vec<f32> {
        let centred: Vec<f64> =
            vector.iter().zip(&self.mean).map(|(x, mean)| f64::from(*x) - f64::from(*mean)).collect();
        let along = |row: &[f32]| row.iter().zip(&centred).map(|(w, x)| f64::from(*w) * x).sum::<f64>() as f32;
        self.matrix.chunks(self.mean.len().max(1)).map(along).collect()
    }
}

/// The first `dimensions` principal components of `vectors` (384 values each from all-MiniLM-L6-v2).
///
/// # Errors
/// [`ModelError::Input`] for vectors of unequal width or with values that are not finite, and unless
/// `1 <= dimensions <= width` and there are more vectors than dimensions.
pub fn fit_semantic(vectors: &[Vec<f32>], dimensions: usize) -> Result<SemanticProjection, ModelError> {
    let width = vectors.first().map_or(0, Vec::len);
    check(vectors, width, dimensions)?;
    let _guard = tch::no_grad_guard();
    let flat: Vec<f32> = vectors.iter().flatten().copied().collect();
    let rows = Tensor::f_from_slice(&flat)?.f_view([vectors.len() as i64, width as i64])?.f_to_kind(Kind::Double)?;
    let mean = rows.f_mean_dim([0_i64].as_slice(), false, None)?;
    let centred = rows.f_sub(&mean)?;
    let covariance = centred.f_transpose(0, 1)?.f_matmul(&centred)?.f_div_scalar(vectors.len() as f64)?;
    // Ascending eigenvalues; a direction is a column.
    let (_, directions) = covariance.f_linalg_eigh("L")?;
    let first = directions.f_flip([1])?.f_narrow(1, 0, dimensions as i64)?.f_transpose(0, 1)?.f_contiguous()?;
    let mut matrix = Vec::<f64>::try_from(&first.f_reshape([-1_i64])?)?;
    for row in matrix.chunks_mut(width) {
        // An eigenvector has no sign of its own: without a rule it would change with the library.
        let largest = row.iter().copied().fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
        row.iter_mut().for_each(|value| *value *= largest.signum());
    }
    Ok(SemanticProjection {
        mean: Vec::<f64>::try_from(&mean)?.into_iter().map(|value| value as f32).collect(),
        matrix: matrix.into_iter().map(|value| value as f32).collect(),
    })
}

fn check(vectors: &[Vec<f32>], width: usize, dimensions: usize) -> Result<(), ModelError> {
    if !(1..=width).contains(&dimensions) || vectors.len() <= dimensions {
        let sizes = format!("{} vectors of {width} values", vectors.len());
        return Err(ModelError::Input(format!("{dimensions} principal components of {sizes}")));
    }
    match vectors.iter().position(|vector| vector.len() != width || vector.iter().any(|value| !value.is_finite())) {
        Some(at) => Err(ModelError::Input(format!("vector {at} has not {width} finite values"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points near a plane in four dimensions, by a fixed rule.
    fn vectors() -> Vec<Vec<f32>> {
        let wave = |at: u16, pace: f32| (f32::from(at) * pace).sin();
        (0..60)
            .map(|at| {
                let (a, b) = (3.0 * wave(at, 0.7), wave(at, 1.9));
                vec![a + 1.0, a - b, 0.05 * wave(at, 2.3), b - 2.0]
            })
            .collect()
    }

    /// numpy's singular value decomposition of the same vectors, made by `semantic.py` beside it.
    const REFERENCE: &str = include_str!("../tests/fixtures/semantic.json");

    #[test]
    fn the_directions_are_those_of_numpy() {
        let expected: serde_json::Value = serde_json::from_str(REFERENCE).unwrap();
        let numbers = |name: &str| -> Vec<f64> { serde_json::from_value(expected[name].clone()).unwrap() };
        let found = fit_semantic(&vectors(), 2).unwrap();
        for (found, expected) in [(&found.mean, numbers("mean")), (&found.matrix, numbers("matrix"))] {
            assert_eq!(found.len(), expected.len());
            assert!(
                found.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5),
                "{found:?} {expected:?}"
            );
        }
    }

    #[test]
    fn all_directions_together_keep_every_distance() {
        let vectors = vectors();
        let whole = fit_semantic(&vectors, 4).unwrap();
        let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        for pair in vectors.windows(2) {
            let projected = distance(&whole.project(&pair[0]), &whole.project(&pair[1]));
            assert!((projected - distance(&pair[0], &pair[1])).abs() < 1e-4);
        }
    }

    #[test]
    fn what_has_no_such_components_is_refused() {
        let vectors = vectors();
        for (vectors, dimensions) in [(&vectors[..], 0), (&vectors, 5), (&vectors[..3], 3), (&[], 1)] {
            assert!(matches!(fit_semantic(vectors, dimensions), Err(ModelError::Input(_))), "{dimensions}");
        }
        let uneven = [vec![1.0, 2.0], vec![1.0], vec![0.0, 1.0]];
        assert!(fit_semantic(&uneven, 1).unwrap_err().to_string().contains("vector 1"));
        assert!(fit_semantic(&[vec![1.0], vec![f32::NAN], vec![0.0]], 1).is_err());
    }
}
