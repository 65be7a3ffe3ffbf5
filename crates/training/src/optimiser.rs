//! One step of an optimiser: gradients, clipping, weight decay, then the rule for each parameter.

use jtav_model::ModelError;
use jtav_model::parameters::Parameters;
use tch::Tensor;

use crate::adam::Adam;
use crate::rmsprop::RmsProp;
use crate::types::{Optimisation, UpdateRule};

pub(crate) struct Optimiser {
    rule: Rule,
    pub steps: i32,
    pub learning_rate: f64,
    weight_decay: f64,
    clip_norm: f64,
}

enum Rule {
    Adam(Adam),
    RmsProp(RmsProp),
}

impl Optimiser {
    pub fn new(parameters: &Parameters, optimisation: &Optimisation, rule: UpdateRule) -> Result<Self, ModelError> {
        let rule = match rule {
            UpdateRule::Adam { epsilon } => Rule::Adam(Adam::new(parameters, epsilon)?),
            UpdateRule::RmsProp { epsilon } => Rule::RmsProp(RmsProp::new(parameters, epsilon)?),
        };
        let &Optimisation { learning_rate, weight_decay, clip_norm, .. } = optimisation;
        Ok(Self { rule, steps: 0, learning_rate, weight_decay, clip_norm })
    }

    /// Goes one step down the gradients of `loss`, which are cleared afterwards.
    pub fn step(&mut self, parameters: &mut Parameters, loss: &Tensor) -> Result<(), ModelError> {
        loss.f_backward()?;
        let _guard = tch::no_grad_guard();
        let shrink = self.clip_factor(parameters)?;
        self.steps += 1;
        for name in &parameters.trainable {
            let Some(parameter) = parameters.tensors.get_mut(name) else { continue };
            let gradient = parameter.f_grad()?;
            if !gradient.defined() {
                continue;
            }
            let gradient = if shrink < 1.0 { gradient.f_mul_scalar(shrink)? } else { gradient };
            // Decoupled (Loshchilov and Hutter 2019): no rule's memory sees it.
            if self.weight_decay > 0.0 && decays(name, parameter) {
                let _ = parameter.f_mul_scalar_(1.0 - self.learning_rate * self.weight_decay)?;
            }
            match &mut self.rule {
                Rule::Adam(adam) => adam.update(name, parameter, &gradient, self.steps, self.learning_rate)?,
                Rule::RmsProp(rmsprop) => rmsprop.update(name, parameter, &gradient, self.learning_rate)?,
            }
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

    /// What the rule remembers, under names of its own, for a state file.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        match &self.rule {
            Rule::Adam(adam) => adam.state(),
            Rule::RmsProp(rmsprop) => rmsprop.state(),
        }
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
    use jtav_model::parameters::{Builder, Init, to_vec};
    use tch::{Device, Kind};

    /// One matrix `[[1, -2]]` and its optimiser with step size 0.1.
    fn start(rule: UpdateRule, weight_decay: f64) -> (Tensor, Parameters, Optimiser) {
        let builder = Builder::fresh(1, Device::Cpu);
        let mut weight = builder.scope("n").weight("weight", &[1, 2], Init::Constant(1.0)).unwrap();
        let parameters = builder.finish();
        tch::no_grad(|| weight.copy_(&Tensor::from_slice(&[1.0_f32, -2.0]).view([1, 2])));
        let optimisation = Optimisation { learning_rate: 0.1, weight_decay, clip_norm: 0.0, ..Optimisation::default() };
        let optimiser = Optimiser::new(&parameters, &optimisation, rule).unwrap();
        (weight, parameters, optimiser)
    }

    fn assert_weight(weight: &Tensor, expected: [f64; 2]) {
        for (found, expected) in to_vec(weight).unwrap().iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} for {expected}");
        }
    }

    /// Values of torch.optim.AdamW(lr=0.1, weight_decay=0.5) on loss = sum(w^3), two steps from w = [[1, -2]].
    #[test]
    fn two_steps_of_adam_equal_the_published_update_rule() {
        let (weight, mut parameters, mut adam) = start(UpdateRule::Adam { epsilon: 1e-8 }, 0.5);
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
        assert_weight(&weight, expected);
    }

    /// Keras: `a = 0.9 a + 0.1 g^2`, then `w = w - lr g / (sqrt(a) + epsilon)`; the same loss.
    #[test]
    fn two_steps_of_rmsprop_equal_keras_update_rule() {
        let epsilon = 0.01;
        let (weight, mut parameters, mut rmsprop) = start(UpdateRule::RmsProp { epsilon }, 0.0);
        let (mut expected, mut square) = ([1.0_f64, -2.0], [0.0_f64; 2]);
        for _ in 0..2 {
            let loss = weight.pow_tensor_scalar(3).sum(Kind::Float);
            rmsprop.step(&mut parameters, &loss).unwrap();
            for i in 0..2 {
                let gradient = 3.0 * expected[i] * expected[i];
                square[i] = 0.9 * square[i] + 0.1 * gradient * gradient;
                expected[i] -= 0.1 * gradient / (square[i].sqrt() + epsilon);
            }
        }
        assert_weight(&weight, expected);
    }
}
