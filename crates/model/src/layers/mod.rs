//! The pieces that all networks are put together from. Every forward pass returns an error instead of panicking: a
//! device that fails mid-batch must reach the caller as a value.

mod attention;
mod gru;

pub use attention::AdditiveAttention;
pub(crate) use attention::Attention;
pub use gru::BiGru;

use jtav_engine::dense::Dense;
use jtav_engine::onnx::{Attribute, Graph, Value};
use tch::{Device, Kind, Tensor};

use crate::error::ModelError;
use crate::parameters::{Init, Scope, to_vec};

/// `y = x W' + b`.
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Tensor,
    /// `[outputs]`.
    pub bias: Tensor,
}

impl Linear {
    /// Weights by Glorot, a bias of zeros.
    pub fn new(scope: &Scope, inputs: i64, outputs: i64) -> Result<Self, ModelError> {
        Ok(Self {
            weight: scope.weight("weight", &[outputs, inputs], Init::Glorot)?,
            bias: scope.weight("bias", &[outputs], Init::Constant(0.0))?,
        })
    }

    /// The same layer with its parameters in another kind.
    pub(crate) fn prepared(&self, kind: Kind) -> Result<Self, ModelError> {
        Ok(Self { weight: self.weight.f_to_kind(kind)?, bias: self.bias.f_to_kind(kind)? })
    }

    /// The same layer over slices, for a CPU.
    pub(crate) fn on_slices(&self) -> Result<Dense, ModelError> {
        let (_, inputs) = self.weight.size2()?;
        Ok(Dense::new(&to_vec(&self.weight)?, &to_vec(&self.bias)?, inputs as usize))
    }

    /// `[..., inputs]` to `[..., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// Normalises the last dimension (Ba et al. 2016).
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    width: i64,
    epsilon: f64,
}

impl LayerNorm {
    pub fn new(scope: &Scope, width: i64, epsilon: f64) -> Result<Self, ModelError> {
        Ok(Self {
            weight: scope.weight("weight", &[width], Init::Constant(1.0))?,
            bias: scope.weight("bias", &[width], Init::Constant(0.0))?,
            width,
            epsilon,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(x.f_layer_norm([self.width], Some(&self.weight), Some(&self.bias), self.epsilon, true)?)
    }

    /// The same layer over the same storage.
    pub fn share(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone(), ..*self }
    }
}

/// Batch normalisation of `[batch, width]` or `[batch, width, height, width]`; parameters stay f32 under bf16 input.
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    epsilon: f64,
    /// Share of the newest batch in the running statistics.
    momentum: f64,
}

impl BatchNorm {
    /// With torch's constants, with which the torchvision weights were trained.
    pub fn new(scope: &Scope, width: i64) -> Result<Self, ModelError> {
        Self::with(scope, width, 1e-5, 0.1)
    }

    /// With Keras' momentum of 0.99, which counts the other way round, and this epsilon.
    pub fn keras(scope: &Scope, width: i64, epsilon: f64) -> Result<Self, ModelError> {
        Self::with(scope, width, epsilon, 0.01)
    }

    fn with(scope: &Scope, width: i64, epsilon: f64, momentum: f64) -> Result<Self, ModelError> {
        Ok(Self {
            weight: scope.weight("weight", &[width], Init::Constant(1.0))?,
            bias: scope.weight("bias", &[width], Init::Constant(0.0))?,
            running_mean: scope.buffer("running_mean", &[width], 0.0)?,
            running_var: scope.buffer("running_var", &[width], 1.0)?,
            epsilon,
            momentum,
        })
    }

    /// By the statistics of the batch under `train`, which then move the running ones; else by those.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        Ok(x.f_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            train,
            self.momentum,
            self.epsilon,
            true,
        )?)
    }

    /// The same for `[batch, time, width]`, every step of every row counting once.
    pub fn forward_steps(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let (batch, time, width) = x.size3()?;
        let flat = self.forward(&x.f_reshape([batch * time, width])?, train)?;
        Ok(flat.f_view([batch, time, width])?)
    }

    /// The same layer over the same storage.
    pub fn share(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            running_mean: self.running_mean.shallow_clone(),
            running_var: self.running_var.shallow_clone(),
            epsilon: self.epsilon,
            momentum: self.momentum,
        }
    }

    /// Scale and shift of the layer in evaluation mode, over slices.
    pub(crate) fn on_slices(&self) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let (scale, shift) = self.as_affine()?;
        Ok((to_vec(&scale)?, to_vec(&shift)?))
    }

    /// In evaluation mode the layer is `x * scale + shift`.
    pub(crate) fn as_affine(&self) -> Result<(Tensor, Tensor), ModelError> {
        let scale = self.weight.f_mul(&self.running_var.f_add_scalar(self.epsilon)?.f_rsqrt()?)?;
        let shift = self.bias.f_sub(&self.running_mean.f_mul(&scale)?)?;
        Ok((scale, shift))
    }
}

/// A two-dimensional convolution, without bias unless asked for; folding a batch normalisation into it gives it one.
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// `kernel` is height by width.
    pub fn new(
        scope: &Scope,
        channels: (i64, i64),
        kernel: (i64, i64),
        stride: i64,
        padding: i64,
    ) -> Result<Self, ModelError> {
        let shape = [channels.1, channels.0, kernel.0, kernel.1];
        Ok(Self { weight: scope.weight("weight", &shape, Init::HeNormal)?, bias: None, stride, padding })
    }

    /// The same with a trained bias, for networks without batch normalisation.
    pub fn with_bias(
        scope: &Scope,
        channels: (i64, i64),
        kernel: (i64, i64),
        stride: i64,
        padding: i64,
    ) -> Result<Self, ModelError> {
        let mut conv = Self::new(scope, channels, kernel, stride, padding)?;
        conv.bias = Some(scope.weight("bias", &[channels.1], Init::Constant(0.0))?);
        Ok(conv)
    }

    /// Computes in the kind of `x`: under bf16 the f32 weight is cast on the way, and gradients come back to it.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        if self.weight.kind() == x.kind() {
            return Ok(x.f_conv2d(&self.weight, self.bias.as_ref(), stride, padding, [1, 1], 1)?);
        }
        let weight = self.weight.f_to_kind(x.kind())?;
        let bias = self.bias.as_ref().map(|bias| bias.f_to_kind(x.kind())).transpose()?;
        Ok(x.f_conv2d(&weight, bias.as_ref(), stride, padding, [1, 1], 1)?)
    }

    /// Channels that come out.
    pub(crate) fn outputs(&self) -> i64 {
        self.weight.size().first().copied().unwrap_or(0)
    }

    /// Adds the convolution to a graph.
    pub(crate) fn write(&self, graph: &mut Graph, name: &str, x: &Value) -> Result<Value, ModelError> {
        let plan = ConvPlan { stride: self.stride, before: self.padding, after: self.padding, groups: 1 };
        plan.write(graph, name, x, &self.weight, self.bias.as_ref())
    }

    /// This convolution followed by `norm` in evaluation mode, as one convolution.
    pub fn fold(&self, norm: &BatchNorm) -> Result<Self, ModelError> {
        let (scale, shift) = norm.as_affine()?;
        let shift = match &self.bias {
            Some(bias) => bias.f_mul(&scale)?.f_add(&shift)?,
            None => shift,
        };
        let weight = self.weight.f_mul(&scale.f_view([-1, 1, 1, 1])?)?;
        Ok(Self { weight, bias: Some(shift), stride: self.stride, padding: self.padding })
    }

    /// The same convolution in another kind, weights laid out channels last.
    pub fn prepared(&self, kind: Kind) -> Result<Self, ModelError> {
        Ok(Self {
            weight: channels_last(&self.weight.f_to_kind(kind)?)?,
            bias: self.bias.as_ref().map(|bias| bias.f_to_kind(kind)).transpose()?,
            stride: self.stride,
            padding: self.padding,
        })
    }
}

/// How a convolution moves over its input, for a graph.
pub(crate) struct ConvPlan {
    pub stride: i64,
    /// Zeros at the left and at the top.
    pub before: i64,
    /// Zeros at the right and at the bottom.
    pub after: i64,
    pub groups: i64,
}

impl ConvPlan {
    pub fn write(
        &self,
        graph: &mut Graph,
        name: &str,
        x: &Value,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Value, ModelError> {
        let shape: Vec<usize> = weight.size().iter().map(|&side| side as usize).collect();
        let kernel = shape[2..].iter().map(|&side| side as i64).collect();
        let weight = graph.weights(&format!("{name}.weight"), &to_vec(weight)?, &shape);
        let attributes = vec![
            Attribute::Ints("kernel_shape", kernel),
            Attribute::Ints("strides", vec![self.stride; 2]),
            Attribute::Ints("pads", vec![self.before, self.before, self.after, self.after]),
            Attribute::Int("group", self.groups),
        ];
        Ok(match bias {
            Some(bias) => {
                let bias = graph.weights(&format!("{name}.bias"), &to_vec(bias)?, &[shape[0]]);
                graph.node("Conv", &[x, &weight, &bias], attributes)
            }
            None => graph.node("Conv", &[x, &weight], attributes),
        })
    }
}

/// The same `[N, C, H, W]` values with C innermost in memory; tch offers no memory-format argument.
pub(crate) fn channels_last(x: &Tensor) -> Result<Tensor, ModelError> {
    Ok(x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

/// Rows of `[batch, width]` scaled to length 1; a row of zeros stays one.
pub fn unit_rows(x: &Tensor) -> Result<Tensor, ModelError> {
    let length = x.f_square()?.f_sum_dim_intlist([-1_i64].as_slice(), true, None)?.f_clamp_min(1e-12)?.f_sqrt()?;
    Ok(x.f_div(&length)?)
}

/// `[batch, longest]`, true where a row has a value.
pub(crate) fn length_mask(lengths: &[i64], longest: i64, device: Device) -> Result<Tensor, ModelError> {
    let lengths = Tensor::f_from_slice(lengths)?.f_view([-1, 1])?;
    Ok(Tensor::f_arange(longest, (Kind::Int64, Device::Cpu))?.f_lt_tensor(&lengths)?.f_to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Builder;

    #[test]
    fn a_folded_convolution_equals_the_two_layers() {
        let builder = Builder::fresh(3, Device::Cpu);
        let scope = builder.scope("n");
        let conv = Conv2d::new(&scope.sub("conv"), (3, 5), (3, 3), 1, 1).unwrap();
        let norm = BatchNorm::new(&scope.sub("norm"), 5).unwrap();
        let _guard = tch::no_grad_guard();
        let x = Tensor::from_slice(&(0..3 * 36).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>()).view([1, 3, 6, 6]);
        for _ in 0..5 {
            let _ = norm.forward(&conv.forward(&x).unwrap(), true).unwrap();
        }
        let apart = norm.forward(&conv.forward(&x).unwrap(), false).unwrap();
        let folded = conv.fold(&norm).unwrap().forward(&x).unwrap();
        let difference = to_vec(&(apart - folded)).unwrap();
        assert!(difference.iter().all(|d| d.abs() < 1e-5), "{difference:?}");
    }

    #[test]
    fn the_mask_covers_exactly_the_lengths() {
        let mask = length_mask(&[2, 0, 3], 3, Device::Cpu).unwrap();
        assert_eq!(to_vec(&mask).unwrap(), [1., 1., 0., 0., 0., 0., 1., 1., 1.]);
    }
}
