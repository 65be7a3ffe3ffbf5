//! Adam (Kingma and Ba 2015).
//!
//! tch's own optimiser can neither give its moments away nor take them back, so a restored training would start with
//! a jump; this arithmetic can be saved.

use std::collections::BTreeMap;

use jtav_model::ModelError;
use jtav_model::parameters::Parameters;
use tch::Tensor;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;

pub(crate) struct Adam {
    /// First and second moment by parameter name.
    moments: BTreeMap<String, (Tensor, Tensor)>,
    epsilon: f64,
}

impl Adam {
    pub fn new(parameters: &Parameters, epsilon: f64) -> Result<Self, ModelError> {
        let mut moments = BTreeMap::new();
        for name in &parameters.trainable {
            if let Some(tensor) = parameters.tensors.get(name) {
                moments.insert(name.clone(), (tensor.f_zeros_like()?, tensor.f_zeros_like()?));
            }
        }
        Ok(Self { moments, epsilon })
    }

    /// Moves one parameter; steps count from 1.
    pub fn update(
        &mut self,
        name: &str,
        parameter: &mut Tensor,
        gradient: &Tensor,
        step: i32,
        learning_rate: f64,
    ) -> Result<(), ModelError> {
        let Some((first, second)) = self.moments.get_mut(name) else { return Ok(()) };
        let (correct_1, correct_2) = (1.0 - BETA_1.powi(step), 1.0 - BETA_2.powi(step));
        let _ = first.f_lerp_(gradient, 1.0 - BETA_1)?;
        let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - BETA_2)?;
        let scale = second.f_sqrt()?.f_mul_scalar(1.0 / correct_2.sqrt())?.f_add_scalar(self.epsilon)?;
        let move_by = first.f_div(&scale)?.f_mul_scalar(-learning_rate / correct_1)?;
        let _ = parameter.f_add_(&move_by)?;
        Ok(())
    }

    /// The moments under names of their own, for a state file.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of = |(name, (first, second)): (&String, &(Tensor, Tensor))| {
            [
                (format!("adam.first.{name}"), first.shallow_clone()),
                (format!("adam.second.{name}"), second.shallow_clone()),
            ]
        };
        self.moments.iter().flat_map(of).collect()
    }
}
