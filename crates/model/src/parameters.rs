//! Where a network's tensors come from: drawn afresh for training, or read from a checkpoint.
//!
//! tch's own `VarStore` loads what it finds by name and leaves the rest random; here a missing or misshaped tensor
//! is an error that names it, a tensor nobody asked for can be listed, and fresh values depend on a seed alone and
//! not on libtorch's global generator.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;

/// First value of a trained tensor.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// The same value everywhere.
    Constant(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform in plus or minus this bound.
    Uniform(f32),
    /// Normal with variance 2 / fan-in (He et al. 2015).
    HeNormal,
    /// Uniform with variance 2 / (fan-in + fan-out) (Glorot and Bengio 2010).
    Glorot,
}

/// A source of stored tensors by full name, as f32 on the CPU.
pub trait Stored {
    /// The tensor, or an error that names it.
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError>;
}

/// All tensors of one network by full name.
pub struct Parameters {
    /// Every tensor, trained or not, in the order of names.
    pub tensors: BTreeMap<String, Tensor>,
    /// Names of those that an optimiser moves, in the order of construction.
    pub trainable: Vec<String>,
}

impl Parameters {
    /// Values of all trained tensors together.
    pub fn count(&self) -> usize {
        self.trainable.iter().filter_map(|name| self.tensors.get(name)).map(Tensor::numel).sum()
    }
}

/// Hands out tensors while a network is built.
pub struct Builder<'a> {
    /// `None` for fresh tensors, which `rng` draws.
    stored: Option<&'a dyn Stored>,
    rng: RefCell<StdRng>,
    parameters: RefCell<Parameters>,
    device: Device,
}

impl<'a> Builder<'a> {
    /// Fresh tensors with gradients; equal seeds give equal values.
    pub fn fresh(seed: u64, device: Device) -> Self {
        Self::new(None, seed, device)
    }

    /// Tensors of a checkpoint, without gradients.
    pub fn stored(stored: &'a dyn Stored, device: Device) -> Self {
        Self::new(Some(stored), 0, device)
    }

    fn new(stored: Option<&'a dyn Stored>, seed: u64, device: Device) -> Self {
        let parameters = Parameters { tensors: BTreeMap::new(), trainable: Vec::new() };
        let rng = RefCell::new(StdRng::seed_from_u64(seed));
        Self { stored, rng, parameters: RefCell::new(parameters), device }
    }

    /// The place of names that start with `prefix`; of all names where it is empty.
    pub fn scope(&self, prefix: &str) -> Scope<'_> {
        Scope { builder: self, prefix: prefix.to_owned() }
    }

    /// Ends the construction.
    pub fn finish(self) -> Parameters {
        self.parameters.into_inner()
    }

    fn make(&self, name: String, shape: &[i64], init: Init, trained: bool) -> Result<Tensor, ModelError> {
        let (tensor, with_gradient) = match self.stored {
            Some(stored) => (stored.tensor(&name, shape)?, false),
            None => {
                let values = draw(&mut self.rng.borrow_mut(), shape, init);
                (Tensor::f_from_slice(&values)?.f_view(shape)?, trained)
            }
        };
        let tensor = tensor.f_to_device(self.device)?.f_set_requires_grad(with_gradient)?;
        let mut parameters = self.parameters.borrow_mut();
        if trained {
            parameters.trainable.push(name.clone());
        }
        parameters.tensors.insert(name, tensor.shallow_clone());
        Ok(tensor)
    }
}

/// A prefix of names, as torchvision's state dictionaries have them: `features.denseblock1.denselayer2.norm1`.
pub struct Scope<'a> {
    builder: &'a Builder<'a>,
    prefix: String,
}

impl Scope<'_> {
    /// The scope one level down.
    pub fn sub(&self, name: &str) -> Scope<'_> {
        Scope { builder: self.builder, prefix: self.full(name) }
    }

    /// A tensor that the optimiser moves.
    pub fn weight(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, ModelError> {
        self.builder.make(self.full(name), shape, init, true)
    }

    /// A tensor that is saved but never moved: part of a trunk that was trained elsewhere.
    pub fn frozen(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, ModelError> {
        self.builder.make(self.full(name), shape, init, false)
    }

    /// A tensor that is saved but not moved by gradients (running statistics, fitted constants).
    pub fn buffer(&self, name: &str, shape: &[i64], value: f32) -> Result<Tensor, ModelError> {
        self.builder.make(self.full(name), shape, Init::Constant(value), false)
    }

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// Device of all tensors.
    pub fn device(&self) -> Device {
        self.builder.device
    }
}

fn draw(rng: &mut StdRng, shape: &[i64], init: Init) -> Vec<f32> {
    let count = shape.iter().product::<i64>() as usize;
    let receptive: i64 = shape.iter().skip(2).product();
    let fan_in = (shape.get(1).copied().unwrap_or(1) * receptive) as f32;
    let fan_out = (shape.first().copied().unwrap_or(1) * receptive) as f32;
    match init {
        Init::Constant(value) => vec![value; count],
        Init::Normal(deviation) => (0..count).map(|_| deviation * normal(rng)).collect(),
        Init::HeNormal => (0..count).map(|_| (2.0 / fan_in).sqrt() * normal(rng)).collect(),
        Init::Uniform(bound) => (0..count).map(|_| rng.random_range(-bound..=bound)).collect(),
        Init::Glorot => {
            let bound = (6.0 / (fan_in + fan_out)).sqrt();
            (0..count).map(|_| rng.random_range(-bound..=bound)).collect()
        }
    }
}

/// Box and Muller's transform; the first of its two values.
fn normal(rng: &mut StdRng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}

/// New values in place, so that every holder of the tensor sees them.
pub fn overwrite(tensor: &mut Tensor, values: &[f32]) -> Result<(), ModelError> {
    let _guard = tch::no_grad_guard();
    let shape = tensor.size();
    if values.len() != tensor.numel() {
        return Err(ModelError::Input(format!("{} values for shape {shape:?}", values.len())));
    }
    let values = Tensor::f_from_slice(values)?.f_view(shape.as_slice())?.f_to_kind(Kind::Float)?;
    Ok(tensor.f_copy_(&values)?)
}

/// The values of a tensor as f32, row-major.
pub fn to_vec(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?;
    Ok(Vec::<f32>::try_from(&flat)?)
}

/// The rows of a matrix as f32.
pub fn to_rows(tensor: &Tensor) -> Result<Vec<Vec<f32>>, ModelError> {
    let width = tensor.size().last().copied().unwrap_or(1).max(1) as usize;
    Ok(to_vec(tensor)?.chunks(width).map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_tensors_and_other_seeds_do_not() {
        let values = |seed| {
            let builder = Builder::fresh(seed, Device::Cpu);
            to_vec(&builder.scope("a").weight("w", &[4, 8], Init::HeNormal).unwrap()).unwrap()
        };
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }

    #[test]
    fn drawn_values_have_the_variance_asked_for() {
        let mut rng = StdRng::seed_from_u64(7);
        for (init, variance) in [
            (Init::HeNormal, 2.0 / 100.0),
            (Init::Glorot, 2.0 / 300.0),
            (Init::Normal(0.5), 0.25),
            (Init::Uniform(3.0), 3.0),
        ] {
            let values = draw(&mut rng, &[200, 100], init);
            let measured = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
            assert!((measured / variance - 1.0).abs() < 0.05, "{init:?}: {measured} for {variance}");
        }
    }

    #[test]
    fn buffers_are_kept_but_not_trained() {
        let builder = Builder::fresh(1, Device::Cpu);
        let scope = builder.scope("net");
        let weight = scope.sub("layer").weight("weight", &[2], Init::Constant(1.0)).unwrap();
        let buffer = scope.buffer("mean", &[2], 0.0).unwrap();
        assert!(weight.requires_grad() && !buffer.requires_grad());
        let parameters = builder.finish();
        assert_eq!(parameters.trainable, ["net.layer.weight"]);
        assert_eq!(parameters.tensors.keys().collect::<Vec<_>>(), ["net.layer.weight", "net.mean"]);
        assert_eq!(parameters.count(), 2);
    }
}
