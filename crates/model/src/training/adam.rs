//! Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019).
//!
//! tch's own optimiser can neither give its moments away nor take them back, so a restored training would start with
//! a jump; these eight lines of arithmetic can be saved.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::ModelError;
use crate::parameters::Parameters;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

pub(crate) struct Adam {
    /// First and second moment by parameter name.
    moments: BTreeMap<String, (Tensor, Tensor)>,
    pub steps: i32,
    pub learning_rate: f64,
    weight_decay: f64,
    clip_norm: f64,
}

impl Adam {
    pub fn new(
        parameters: &Parameters,
        learning_rate: f64,
        weight_decay: f64,
        clip_norm: f64,
    ) -> Result<Self, ModelError> {
        let mut moments = BTreeMap::new();
        for name in &parameters.trainable {
            if let Some(tensor) = parameters.tensors.get(name) {
                moments.insert(name.clone(), (tensor.f_zeros_like()?, tensor.f_zeros_like()?));
            }
        }
        Ok(Self { moments, steps: 0, learning_rate, weight_decay, clip_norm })
    }

    /// Goes one step down the gradients of `loss`, which are cleared afterwards.
    pub fn step(&mut self, parameters: &mut Parameters, loss: &Tensor) -> Result<(), ModelError> {
        loss.f_backward()?;
        let _guard = tch::no_grad_guard();
        let shrink = self.clip_factor(parameters)?;
        self.steps += 1;
        let (correct_1, correct_2) = (1.0 - BETA_1.powi(self.steps), 1.0 - BETA_2.powi(self.steps));
        for name in &parameters.trainable {
            let (Some(parameter), Some((first, second))) =
                (parameters.tensors.get_mut(name), self.moments.get_mut(name))
            else {
                continue;
            };
            let gradient = parameter.f_grad()?;
            if !gradient.defined() {
                continue;
            }
            let gradient = if shrink < 1.0 { gradient.f_mul_scalar(shrink)? } else { gradient };
            let _ = first.f_lerp_(&gradient, 1.0 - BETA_1)?;
            let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - BETA_2)?;
            let scale = second.f_sqrt()?.f_mul_scalar(1.0 / correct_2.sqrt())?.f_add_scalar(EPSILON)?;
            if decays(name, parameter) && self.weight_decay > 0.0 {
                let _ = parameter.f_mul_scalar_(1.0 - self.learning_rate * self.weight_decay)?;
            }
            let step = first.f_div(&scale)?.f_mul_scalar(-self.learning_rate / correct_1)?;
            let _ = parameter.f_add_(&step)?;
            parameter.zero_grad();
        }
        Ok(())
    }

    fn clip_factor(&self, parameters: &Parameters) -> Result<f64, ModelError> {
        if self.clip_norm <= 0.0 {
            return Ok(1.0);
        }
        let mut norms = Vec::new();
        for tensor in parameters.trainable.iter().filter_map(|name| parameters.tensors.get(name)) {
            let gradient = tensor.f_grad()?;
            if gradient.defined() {
                norms.push(gradient.f_norm()?);
            }
        }
        if norms.is_empty() {
            return Ok(1.0);
        }
        let norm = Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?;
        if !norm.is_finite() {
            return Err(ModelError::Torch("training diverged: a gradient is not finite".to_owned()));
        }
        Ok((self.clip_norm / (norm + 1e-6)).min(1.0))
    }

    /// The moments under names of their own, for a state file.
    pub fn state(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.moments.iter().flat_map(|(name, (first, second))| {
            [
                (format!("adam.first.{name}"), first.shallow_clone()),
                (format!("adam.second.{name}"), second.shallow_clone()),
            ]
        })
    }
}

/// Biases and norms have one dimension. A row of the embedding table is touched by few posts and would decay to
/// nothing between two of them.
fn decays(name: &str, parameter: &Tensor) -> bool {
    parameter.dim() >= 2 && !name.contains("embedding") && !name.ends_with("context")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Builder, Init, to_vec};
    use tch::{Device, Kind};

    /// Values of torch.optim.AdamW(lr=0.1, weight_decay=0.5) on loss = sum(w^3), two steps from w = [[1, -2]].
    #[test]
    fn two_steps_equal_the_published_update_rule() {
        let builder = Builder::fresh(1, Device::Cpu);
        let mut weight = builder.scope("n").weight("weight", &[1, 2], Init::Constant(1.0)).unwrap();
        let mut parameters = builder.finish();
        tch::no_grad(|| weight.copy_(&Tensor::from_slice(&[1.0_f32, -2.0]).view([1, 2])));
        let mut adam = Adam::new(&parameters, 0.1, 0.5, 0.0).unwrap();
        let mut expected = [1.0_f64, -2.0];
        let (mut first, mut second) = ([0.0_f64; 2], [0.0_f64; 2]);
        for step in 1..=2 {
            let loss = weight.pow_tensor_scalar(3).sum(Kind::Float);
            adam.step(&mut parameters, &loss).unwrap();
            for i in 0..2 {
                let gradient = 3.0 * expected[i] * expected[i];
                first[i] = 0.9 * first[i] + 0.1 * gradient;
                second[i] = 0.999 * second[i] + 0.001 * gradient * gradient;
                let (m, v) = (first[i] / (1.0 - 0.9_f64.powi(step)), second[i] / (1.0 - 0.999_f64.powi(step)));
                expected[i] -= 0.1 * 0.5 * expected[i];
                expected[i] -= 0.1 * m / (v.sqrt() + 1e-8);
            }
        }
        for (found, expected) in to_vec(&weight).unwrap().iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} for {expected}");
        }
    }
}
