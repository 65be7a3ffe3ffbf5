//! What the fusions of the zoo read.

use jtav_model::{FusionInput, Modality, ModelError};
use tch::{Device, Tensor};

use crate::zoo::architecture::Widths;

/// The vectors of a batch.
pub(crate) struct PartsBatch {
    /// One matrix `[batch, width]` per modality that is read, zeros where absent, in the usual order.
    pub parts: Vec<Tensor>,
    /// `[batch, 1]` each: 1 where present, else 0.
    pub present: Vec<Tensor>,
}

impl PartsBatch {
    /// [`ModelError::Input`] for a vector of another width or that is not finite, and for a post with none of the
    /// modalities that are read. Vectors of other modalities are not looked at.
    pub fn new(posts: &[&FusionInput], widths: &Widths, device: Device) -> Result<Self, ModelError> {
        if posts.iter().any(|post| widths.modalities().all(|(modality, _)| post.vector(modality).is_none())) {
            return Err(ModelError::Input(format!("a post without a vector of any of {}", widths.names())));
        }
        let mut batch = Self { parts: Vec::new(), present: Vec::new() };
        for (modality, width) in widths.modalities() {
            let (values, present) = column(posts, modality, width)?;
            let rows = posts.len() as i64;
            batch.parts.push(Tensor::f_from_slice(&values)?.f_view([rows, width as i64])?.f_to_device(device)?);
            batch.present.push(Tensor::f_from_slice(&present)?.f_view([rows, 1])?.f_to_device(device)?);
        }
        Ok(batch)
    }
}

fn column(posts: &[&FusionInput], modality: Modality, width: usize) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
    let (mut values, mut present) = (Vec::with_capacity(posts.len() * width), Vec::with_capacity(posts.len()));
    for post in posts {
        match post.vector(modality) {
            Some(vector) if vector.len() == width && vector.iter().all(|value| value.is_finite()) => {
                values.extend_from_slice(vector);
                present.push(1.0);
            }
            Some(vector) => {
                return Err(ModelError::Input(format!(
                    "a {} vector of {} values, expected {width} finite ones",
                    modality.name(),
                    vector.len()
                )));
            }
            None => {
                values.resize(values.len() + width, 0.0);
                present.push(0.0);
            }
        }
    }
    Ok((values, present))
}
