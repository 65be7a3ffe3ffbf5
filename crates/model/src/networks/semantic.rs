//! What a text is about, apart from what it feels: the sentence encoder's vector, reduced.

use jtav_engine::dense::Dense;
use tch::Tensor;

use crate::error::ModelError;
use crate::manifest::Dimensions;
use crate::parameters::{Scope, to_rows, to_vec};

/// Width of the sentence encoder's vector.
const WIDTH: i64 = 384;

/// Principal components of the sentence encoder's vectors (Hotelling 1933); fitted, not moved by gradients.
pub struct SemanticSpace {
    /// `[384]`.
    mean: Tensor,
    /// `[dimensions, 384]`.
    matrix: Tensor,
}

impl SemanticSpace {
    /// Tensors `mean` and `matrix` at `scope`; none in a profile without a sentence encoder.
    pub fn new(scope: &Scope, dimensions: &Dimensions) -> Result<Option<Self>, ModelError> {
        if dimensions.semantic == 0 {
            return Ok(None);
        }
        let mean = scope.buffer("mean", &[WIDTH], 0.0)?;
        Ok(Some(Self { mean, matrix: scope.buffer("matrix", &[dimensions.semantic, WIDTH], 0.0)? }))
    }

    /// The same over slices, for a CPU.
    pub(crate) fn on_slices(&self) -> Result<SemanticOnSlices, ModelError> {
        let matrix = Dense::new(&to_vec(&self.matrix)?, &[], WIDTH as usize);
        Ok(SemanticOnSlices { mean: to_vec(&self.mean)?, matrix })
    }

    /// `[384]` of each text to a vector of length 1, compared by the cosine; `None` for one without a direction.
    pub fn reduce(&self, sentences: &[&Tensor]) -> Result<Vec<Option<Vec<f32>>>, ModelError> {
        if sentences.is_empty() {
            return Ok(Vec::new());
        }
        let centred = Tensor::f_stack(sentences, 0)?.f_sub(&self.mean)?;
        let rows = to_rows(&centred.f_matmul(&self.matrix.f_transpose(0, 1)?)?)?;
        Ok(rows.into_iter().map(unit).collect())
    }
}

/// [`SemanticSpace`] over slices.
pub(crate) struct SemanticOnSlices {
    mean: Vec<f32>,
    matrix: Dense,
}

impl SemanticOnSlices {
    /// As [`SemanticSpace::reduce`], of one text.
    pub fn reduce(&self, sentence: &[f32]) -> Option<Vec<f32>> {
        let centred: Vec<f32> = sentence.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect();
        unit(self.matrix.apply(&centred))
    }
}

fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if !(length > f32::MIN_POSITIVE && length.is_finite()) {
        return None;
    }
    for value in &mut vector {
        *value /= length;
    }
    Some(vector)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::networks::formula::wave;
    use crate::parameters::Builder;

    fn space() -> SemanticSpace {
        SemanticSpace { mean: wave(&[WIDTH], 0.3), matrix: wave(&[7, WIDTH], 0.61) }
    }

    #[test]
    fn a_sentence_becomes_its_direction_from_the_mean_along_the_components() {
        let space = space();
        let sentences = [0.9, 1.7].map(|step| wave(&[WIDTH], step));
        let found = space.reduce(&sentences.iter().collect::<Vec<_>>()).unwrap();
        let mean = to_vec(&space.mean).unwrap();
        for (sentence, found) in sentences.iter().zip(found) {
            let found = found.unwrap();
            let centred: Vec<f32> = to_vec(sentence).unwrap().iter().zip(&mean).map(|(a, b)| a - b).collect();
            let dot = |row: &Vec<f32>| row.iter().zip(&centred).map(|(a, b)| a * b).sum::<f32>();
            let expected: Vec<f32> = to_rows(&space.matrix).unwrap().iter().map(dot).collect();
            let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            assert!((length(&found) - 1.0).abs() < 1e-5);
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b / length(&expected)).abs() < 1e-4, "{a} {b}");
            }
        }
    }

    #[test]
    fn the_mean_itself_has_no_direction_and_neither_has_what_is_not_finite() {
        let space = space();
        let endless = space.mean.shallow_clone() + f64::INFINITY;
        let other = wave(&[WIDTH], 0.9);
        let found = space.reduce(&[&space.mean, &other, &endless]).unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
        assert!(space.reduce(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_profile_without_a_sentence_encoder_has_none_and_its_tensors_are_not_moved_by_gradients() {
        let builder = Builder::fresh(1, Device::Cpu);
        assert!(SemanticSpace::new(&builder.scope("none"), &Dimensions::light()).unwrap().is_none());
        let space = SemanticSpace::new(&builder.scope("text.semantic"), &Dimensions::modern()).unwrap().unwrap();
        // Not fitted, it tells nothing.
        assert_eq!(space.reduce(&[&wave(&[WIDTH], 0.9)]).unwrap(), [None]);
        let parameters = builder.finish();
        assert_eq!(parameters.tensors.keys().collect::<Vec<_>>(), ["text.semantic.matrix", "text.semantic.mean"]);
        assert_eq!((parameters.tensors["text.semantic.matrix"].size(), parameters.count()), (vec![100, WIDTH], 0));
    }
}
