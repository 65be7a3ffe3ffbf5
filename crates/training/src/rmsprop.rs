//! RMSprop as Keras has it (Tieleman and Hinton 2012): the rule of the authors' encoders.

use std::collections::BTreeMap;

use jtav_model::ModelError;
use jtav_model::parameters::Parameters;
use tch::Tensor;

/// Share of the past in the mean square.
const RHO: f64 = 0.9;

pub(crate) struct RmsProp {
    /// Mean square of the gradient by parameter name.
    squares: BTreeMap<String, Tensor>,
    epsilon: f64,
}

impl RmsProp {
    pub fn new(parameters: &Parameters, epsilon: f64) -> Result<Self, ModelError> {
        let mut squares = BTreeMap::new();
        for name in &parameters.trainable {
            if let Some(tensor) = parameters.tensors.get(name) {
                squares.insert(name.clone(), tensor.f_zeros_like()?);
            }
        }
        Ok(Self { squares, epsilon })
    }

    /// Moves one parameter.
    pub fn update(
        &mut self,
        name: &str,
        parameter: &mut Tensor,
        gradient: &Tensor,
        learning_rate: f64,
    ) -> Result<(), ModelError> {
        let Some(square) = self.squares.get_mut(name) else { return Ok(()) };
        let _ = square.f_lerp_(&gradient.f_square()?, 1.0 - RHO)?;
        // Keras adds epsilon to the root.
        let move_by = gradient.f_div(&square.f_sqrt()?.f_add_scalar(self.epsilon)?)?;
        let _ = parameter.f_add_(&move_by.f_mul_scalar(-learning_rate)?)?;
        Ok(())
    }

    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.squares.iter().map(|(name, square)| (format!("rmsprop.square.{name}"), square.shallow_clone())).collect()
    }
}
