//! What the trainers of the three encoders have in common.

use jtav_model::ModelError;
use jtav_model::layers::Linear;
use jtav_model::parameters::to_vec;

use crate::types::LinearHead;

pub(crate) fn linear_head(head: &Linear) -> Result<LinearHead, ModelError> {
    let bias = to_vec(&head.bias)?;
    Ok(LinearHead { weight: to_vec(&head.weight)?, bias: bias.first().copied().unwrap_or(0.0) })
}
