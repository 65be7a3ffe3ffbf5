//! The image network's head, fitted on a backbone that was trained elsewhere and stays as it is.
//!
//! A few hundred pictures hold one direction in such features and no more: logistic regression on the mean over the cells
//! is better than every small network on the same cells. So the head is closed form: its first value is the logit of the
//! regression, the other 99 are principal components of what is left, for the fusion and for whoever looks for alike
//! pictures.

mod closed_form;
mod views;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jtav_model::checkpoint::StoredWeights;
use jtav_model::device::multiplies_bf16;
use jtav_model::networks::{Backbone, ImageHead, Pixels, densenet_of_torchvision};
use jtav_model::parameters::{to_rows, to_vec};
use jtav_model::{Base, Bases, DeviceChoice, Dimensions, IMAGE_SIDE, ImageBackbone, ModelError, Rgb224};
use tch::{Device, Kind, Tensor};

use crate::encoder::linear_head;
use crate::tensors::Tensors;
use crate::types::{ImageExample, LinearHead};
use closed_form::{C, Features, network};
use views::{VIEWS, views};

/// Pictures of a pass.
const PREDICT_BATCH: usize = 16;
/// Folds of the logits that a fit reports.
const FOLDS: usize = 5;

/// Where the weights of the backbone come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageBackboneSource {
    /// EfficientNet-Lite0 out of base weights; the checkpoint names the base and does not repeat it.
    EfficientNetLite0(Bases),
    /// DenseNet-121 out of a safetensors file with torchvision's names, which goes into the checkpoint.
    DenseNet121(PathBuf),
}

/// What a fit yields.
#[derive(Debug)]
pub struct ImageFit {
    /// Tensors as the checkpoint names them, f32 on the CPU: `image.dense`, `image.head`, and with DenseNet-121
    /// `image.features`.
    pub head: Tensors,
    /// The logit of each example, its constant included, from a head that was fitted without its group; what serving sees
    /// of the picture.
    pub out_of_fold: Vec<f32>,
    /// Looks at each picture.
    pub views: usize,
    /// Width of the pooled features.
    pub channels: usize,
    /// Inverse weight of the penalty in units of one picture's loss (scikit-learn's `C`).
    pub c: f64,
}

/// A frozen backbone and the head that is fitted on it.
pub struct ImageFitter {
    backbone: Backbone,
    /// Tensors of the backbone that the checkpoint must hold, by their names there.
    own: BTreeMap<String, Tensor>,
    device: Device,
    fitted: Option<Fitted>,
}

struct Fitted {
    features: Features,
    head: ImageHead,
}

impl ImageFitter {
    /// Reads the backbone. Convolutions run in bf16 where the hardware multiplies it natively, as when they serve.
    ///
    /// # Errors
    /// As [`Bases::read`] and [`densenet_of_torchvision`]; a device that is not there.
    pub fn new(backbone: ImageBackboneSource, device: DeviceChoice) -> Result<Self, ModelError> {
        let device = device.resolve()?;
        Self::build(&backbone, device, if multiplies_bf16(device) { Kind::BFloat16 } else { Kind::Float })
    }

    /// On DenseNet-121 with torchvision's weights.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_densenet(weights: &Path, device: DeviceChoice) -> Result<Self, ModelError> {
        Self::new(ImageBackboneSource::DenseNet121(weights.to_owned()), device)
    }

    fn build(source: &ImageBackboneSource, device: Device, kind: Kind) -> Result<Self, ModelError> {
        let _guard = tch::no_grad_guard();
        let (backbone, own) = match source {
            ImageBackboneSource::EfficientNetLite0(bases) => {
                let base = Base::efficientnet_lite0();
                let bytes = bases.read(&base)?;
                (Backbone::of_base(&StoredWeights::of_base(&base, &bytes)?, device)?, BTreeMap::new())
            }
            ImageBackboneSource::DenseNet121(path) => {
                let (network, parameters) = densenet_of_torchvision(path, device)?;
                let named = |(name, tensor): (String, Tensor)| Ok((format!("image.{name}"), on_cpu(&tensor)?));
                let own = parameters.tensors.into_iter().map(named).collect::<Result<_, ModelError>>()?;
                (Backbone::DenseNet(network), own)
            }
        };
        Ok(Self { backbone: backbone.for_serving(kind)?, own, device, fitted: None })
    }

    /// Fits the head, in place of an earlier one. The looks at a picture depend on `seed` and on its place among the
    /// examples; `groups` holds the group of each example, which no fold splits.
    ///
    /// # Errors
    /// [`ModelError::Input`] for examples of one label, a picture below 224 pixels a side, or another number of groups. The
    /// earlier head is gone then.
    pub fn fit(&mut self, examples: &[ImageExample], groups: &[String], seed: u64) -> Result<ImageFit, ModelError> {
        let _guard = tch::no_grad_guard();
        self.fitted = None;
        if groups.len() != examples.len() {
            return Err(ModelError::Input(format!("{} groups for {} pictures", groups.len(), examples.len())));
        }
        let kind = self.backbone.kind();
        let (channels, vector) = (kind.channels(), Dimensions::modern().vector);
        let mut values = Vec::with_capacity(examples.len() * VIEWS * channels as usize);
        for (place, example) in (0_u64..).zip(examples) {
            let pooled = self.pooled(&views(example, seed.wrapping_add(place), self.device)?)?;
            values.extend(to_vec(&ImageHead::direction(&pooled)?)?);
        }
        let positive = examples.iter().map(|example| example.positive).collect();
        let features = Features::new(values, positive, VIEWS, channels as usize)?;
        let tensors = features.head(vector)?;
        let head = network(&tensors, channels, vector, self.device)?;
        let out_of_fold = features.out_of_fold(groups, FOLDS, seed)?;
        let mut named: BTreeMap<String, Tensor> =
            tensors.into_iter().map(|(name, tensor)| (format!("image.{name}"), tensor)).collect();
        named.extend(self.own.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())));
        self.fitted = Some(Fitted { features, head });
        Ok(ImageFit { head: named.into(), out_of_fold, views: VIEWS, channels: channels as usize, c: C })
    }

    /// The logit of each example of the last [`fit`](Self::fit), its constant included, from a head that was fitted on the
    /// folds which its group is not in.
    ///
    /// # Errors
    /// [`ModelError::Input`] before a fit, for another number of groups, or where all but one fold hold one label alone.
    pub fn out_of_fold(&self, groups: &[String], folds: usize, seed: u64) -> Result<Vec<f32>, ModelError> {
        self.fitted()?.features.out_of_fold(groups, folds, seed)
    }

    /// Sentiment logits, in order.
    ///
    /// # Errors
    /// [`ModelError::Input`] before a fit.
    pub fn predict(&self, inputs: &[Rgb224]) -> Result<Vec<f32>, ModelError> {
        let mut logits = Vec::with_capacity(inputs.len());
        self.for_each_batch(inputs, |_, logit| {
            logits.extend(to_vec(logit)?);
            Ok(())
        })?;
        Ok(logits)
    }

    /// Image vectors of 100 values, in order.
    ///
    /// # Errors
    /// [`ModelError::Input`] before a fit.
    pub fn encode(&self, inputs: &[Rgb224]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut vectors = Vec::with_capacity(inputs.len());
        self.for_each_batch(inputs, |vector, _| {
            vectors.extend(to_rows(vector)?);
            Ok(())
        })?;
        Ok(vectors)
    }

    /// The last layer.
    ///
    /// # Errors
    /// [`ModelError::Input`] before a fit.
    pub fn head(&self) -> Result<LinearHead, ModelError> {
        linear_head(self.fitted()?.head.last())
    }

    /// Which backbone it is.
    pub fn backbone(&self) -> ImageBackbone {
        self.backbone.kind()
    }

    fn fitted(&self) -> Result<&Fitted, ModelError> {
        self.fitted.as_ref().ok_or_else(|| ModelError::Input("the image head has not been fitted".to_owned()))
    }

    fn for_each_batch(
        &self,
        inputs: &[Rgb224],
        mut each: impl FnMut(&Tensor, &Tensor) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let _guard = tch::no_grad_guard();
        let head = &self.fitted()?.head;
        for chunk in inputs.chunks(PREDICT_BATCH) {
            let pictures: Vec<&[u8]> = chunk.iter().map(Rgb224::as_bytes).collect();
            let (vector, logit) =
                head.forward(&self.pooled(&Pixels::upload(&pictures, IMAGE_SIDE, self.device)?)?)?;
            each(&vector, &logit)?;
        }
        Ok(())
    }

    /// `[batch, 3, 224, 224]` in `[0, 1]` to `[batch, channels]`.
    fn pooled(&self, pictures: &Tensor) -> Result<Tensor, ModelError> {
        let x = Pixels::normalise_by(pictures, &self.backbone.kind().normalisation())?;
        ImageHead::pool(&self.backbone.forward(&x, false, None)?)
    }
}

fn on_cpu(tensor: &Tensor) -> Result<Tensor, ModelError> {
    Ok(tensor.f_detach()?.f_to_device(Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jtav_model::networks::{DenseNet, DenseNetConfig};
    use jtav_model::parameters::Builder;

    use super::*;

    /// DenseNet-121 with drawn weights, as a file of torchvision's.
    fn drawn(folder: &Path) -> ImageFitter {
        let builder = Builder::fresh(3, Device::Cpu);
        DenseNet::new(&builder.scope(""), DenseNetConfig::DENSENET_121).unwrap();
        let tensors = builder.finish().tensors;
        let bytes = jtav_model::checkpoint::encode_weights(&tensors, jtav_model::checkpoint::Precision::Full, None);
        let path = folder.join("densenet121.safetensors");
        std::fs::write(&path, bytes.unwrap()).unwrap();
        ImageFitter::build(&ImageBackboneSource::DenseNet121(path), Device::Cpu, Kind::Float).unwrap()
    }

    /// Stripes, red where the label is positive.
    fn pixels(period: usize, red: bool) -> Vec<u8> {
        let places = (0..224 * 224).map(|at| (at % 224, at / 224));
        let stripe = |(x, y): (usize, usize)| if (x / period + y / 9).is_multiple_of(2) { 170 } else { 40 };
        places.flat_map(|place| [if red { 220 } else { 30 }, stripe(place), 90]).collect()
    }

    fn examples() -> (Vec<ImageExample>, Vec<String>) {
        let example = |at: usize| {
            let positive = at.is_multiple_of(2);
            ImageExample { pixels: Arc::from(pixels(3 + at, positive)), side: 224, positive }
        };
        (0..6).map(|at| (example(at), format!("theme {}", at / 2))).unzip()
    }

    #[test]
    fn a_fitted_head_tells_pictures_apart_and_its_tensors_hold_the_brought_backbone() {
        let folder = tempfile::tempdir().unwrap();
        let mut fitter = drawn(folder.path());
        let (examples, groups) = examples();
        let fit = fitter.fit(&examples, &groups, 1).unwrap();
        assert_eq!((fit.views, fit.channels, fit.out_of_fold.len()), (10, 1024, 6));
        assert_eq!(fit.head.get("image.dense.weight").unwrap().size(), [100, 1024]);
        for name in ["image.features.conv0.weight", "image.head.bias"] {
            assert!(fit.head.get(name).is_some(), "{name}");
        }
        let new = [true, false].map(|red| Rgb224::new(pixels(10, red)).unwrap());
        let (logits, vectors) = (fitter.predict(&new).unwrap(), fitter.encode(&new).unwrap());
        assert!(logits[0] > logits[1], "{logits:?}");
        let LinearHead { weight, bias } = fitter.head().unwrap();
        for (vector, logit) in vectors.iter().zip(&logits) {
            let sum: f32 = vector.iter().zip(&weight).map(|(x, w)| x * w).sum();
            assert!((sum + bias - logit).abs() < 1e-5 && (vector[0] + bias - logit).abs() < 1e-5);
        }
        let again = fitter.out_of_fold(&groups, 5, 1).unwrap();
        assert_eq!(again, fit.out_of_fold);
        // Themes hold both labels, so that red is known out of fold too.
        for (logit, example) in again.iter().zip(&examples) {
            assert_eq!(*logit > again.iter().sum::<f32>() / 6.0, example.positive, "{again:?}");
        }
    }

    #[test]
    fn what_was_not_fitted_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut fitter = drawn(folder.path());
        let (examples, groups) = examples();
        for wrong in [&groups[..5], &[]] {
            assert!(matches!(fitter.fit(&examples, wrong, 1), Err(ModelError::Input(_))));
        }
        assert!(matches!(fitter.fit(&[], &[], 1), Err(ModelError::Input(_))));
        let picture = Rgb224::new(pixels(4, true)).unwrap();
        for error in [fitter.predict(&[picture]).err(), fitter.head().err(), fitter.out_of_fold(&groups, 5, 1).err()] {
            assert!(error.unwrap().to_string().contains("not been fitted"));
        }
    }

    #[test]
    fn a_base_that_is_not_there_is_named() {
        let source = ImageBackboneSource::EfficientNetLite0(Bases::in_folders(Vec::new()));
        let error = ImageFitter::new(source, DeviceChoice::Cpu).err().unwrap();
        assert!(matches!(error, ModelError::BaseMissing { .. }), "{error}");
    }
}
