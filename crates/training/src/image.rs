//! Training of the image network.

use jtav_model::device::multiplies_bf16;
use jtav_model::networks::{ImageForward, ImageModel, Pixels};
use jtav_model::parameters::{Builder, to_rows, to_vec};
use jtav_model::{Dimensions, IMAGE_SIDE, ModelError, Rgb224, check_resolution};
use rand::RngExt;
use rand::rngs::StdRng;
use tch::{Device, Kind, Tensor};

use crate::encoder::{Said, linear_head};
use crate::kept::Kept;
use crate::learner::{Learner, learner_methods};
use crate::types::{EpochReport, ImageConfig, ImageExample, LinearHead, check_share};

/// Pictures of a pass without gradients.
const PREDICT_BATCH: usize = 16;

/// DenseNet-121 and its head in training.
pub struct ImageTrainer {
    pub(crate) learner: Learner,
    network: ImageModel,
    config: ImageConfig,
    device: Device,
}

impl ImageTrainer {
    /// A fresh network, all layers trained.
    pub fn new(config: ImageConfig, seed: u64) -> Result<Self, ModelError> {
        check_share("dropout", config.dropout)?;
        check_share("jitter", config.jitter)?;
        if !(0.1..=1.0).contains(&config.min_crop) {
            return Err(ModelError::Configuration(format!("min_crop {} is not in 0.1..=1", config.min_crop)));
        }
        for (name, side) in
            [("train_resolution", config.train_resolution), ("serve_resolution", config.serve_resolution)]
        {
            check_resolution(side as i64).map_err(|reason| ModelError::Configuration(format!("{name} {reason}")))?;
        }
        let device = config.device.resolve()?;
        let builder = Builder::fresh(seed, device);
        // The image network's sizes do not depend on the vocabulary.
        let network = ImageModel::new(&builder.scope("image"), &Dimensions::modern(1), config.dropout)?;
        let learner = Learner::new(builder.finish(), config.optimisation, seed)?;
        Ok(Self { learner, network, config, device })
    }

    /// Takes the weights of an earlier checkpoint in place of fresh ones. On an error nothing has changed.
    pub fn keep_weights(&mut self, kept: &Kept) -> Result<(), ModelError> {
        if kept.image_resolution() != self.config.serve_resolution {
            return Err(ModelError::Configuration(format!(
                "the image network of {} looks at {} px; set serve_resolution to it, it is {}",
                kept.version(),
                kept.image_resolution(),
                self.config.serve_resolution
            )));
        }
        self.learner.load_weights(&kept.stored()?)
    }

    /// One pass over the examples, each cropped, mirrored and lit at random.
    pub fn epoch(&mut self, examples: &[ImageExample]) -> Result<EpochReport, ModelError> {
        if examples.len() == 1 {
            return Err(ModelError::Input("batch normalisation needs two pictures or more".to_owned()));
        }
        let kind = self.kind();
        let mut pass = self.learner.begin(examples.len())?;
        for indices in std::mem::take(&mut pass.batches) {
            let x = self.crops(indices.iter().map(|&i| &examples[i]), &mut pass.rng)?;
            let logits = self.network.forward(&x, true, Some(kind))?.logit;
            let positive: Vec<bool> = indices.iter().map(|&i| examples[i].positive).collect();
            let loss = self.learner.sentiment_loss(&logits, &positive)?;
            self.learner.step(&mut pass, &loss, indices.len())?;
        }
        Ok(self.learner.end(pass))
    }

    /// `[examples, 3, train_resolution, train_resolution]`, augmented and normalised.
    fn crops<'a>(
        &self,
        examples: impl Iterator<Item = &'a ImageExample>,
        rng: &mut StdRng,
    ) -> Result<Tensor, ModelError> {
        let crops = examples.map(|example| self.augmented(example, rng)).collect::<Result<Vec<_>, _>>()?;
        Pixels::normalise(&Tensor::f_cat(&crops, 0)?)
    }

    /// With augmentation but with the statistics of batch normalisation frozen, and without dropout; for joint training.
    pub(crate) fn say(&self, parts: &[&ImageExample], rng: &mut StdRng) -> Result<Said, ModelError> {
        let x = self.crops(parts.iter().copied(), rng)?;
        let ImageForward { vector, logit, .. } = self.network.forward(&x, false, Some(self.kind()))?;
        Ok(Said { vector, logit, beside: None })
    }

    fn kind(&self) -> Kind {
        if self.config.bf16 && multiplies_bf16(self.device) { Kind::BFloat16 } else { Kind::Float }
    }

    /// `[1, 3, train_resolution, train_resolution]` in `[0, 1]`.
    fn augmented(&self, example: &ImageExample, rng: &mut StdRng) -> Result<Tensor, ModelError> {
        let ImageExample { pixels, side, .. } = example;
        if *side < 32 || pixels.len() != side * side * 3 {
            return Err(ModelError::Input(format!("{} bytes for a picture of side {side}", pixels.len())));
        }
        let crop = ((*side as f64) * rng.random_range(self.config.min_crop..=1.0)).round() as usize;
        let (left, top) = (rng.random_range(0..=side - crop), rng.random_range(0..=side - crop));
        let mut cropped = Vec::with_capacity(crop * crop * 3);
        for row in top..top + crop {
            let from = (row * side + left) * 3;
            cropped.extend_from_slice(&pixels[from..from + crop * 3]);
        }
        let x = Pixels::upload(&[&cropped], crop, self.device)?;
        let mut x = Pixels::resize(&x, self.config.train_resolution as i64)?;
        if rng.random_bool(0.5) {
            x = x.f_flip([3])?;
        }
        if self.config.jitter > 0.0 {
            let contrast = 1.0 + rng.random_range(-self.config.jitter..=self.config.jitter);
            let brightness = rng.random_range(-self.config.jitter..=self.config.jitter) / 2.0;
            let grey = x.f_mean(Kind::Float)?;
            x = x.f_sub(&grey)?.f_mul_scalar(contrast)?.f_add(&grey)?.f_add_scalar(brightness)?.f_clamp(0.0, 1.0)?;
        }
        Ok(x)
    }

    /// Sentiment logits, in order.
    pub fn predict(&self, inputs: &[Rgb224]) -> Result<Vec<f32>, ModelError> {
        let mut logits = Vec::with_capacity(inputs.len());
        self.for_each_batch(inputs, |forward| {
            logits.extend(to_vec(&forward.logit)?);
            Ok(())
        })?;
        Ok(logits)
    }

    /// Image vectors, in order.
    pub fn encode(&self, inputs: &[Rgb224]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut vectors = Vec::with_capacity(inputs.len());
        self.for_each_batch(inputs, |forward| {
            vectors.extend(to_rows(&forward.vector)?);
            Ok(())
        })?;
        Ok(vectors)
    }

    /// At the resolution that serves, in the precision that trains.
    fn for_each_batch(
        &self,
        inputs: &[Rgb224],
        mut each: impl FnMut(ImageForward) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let _guard = tch::no_grad_guard();
        for chunk in inputs.chunks(PREDICT_BATCH) {
            let pictures: Vec<&[u8]> = chunk.iter().map(Rgb224::as_bytes).collect();
            let x = Pixels::upload(&pictures, IMAGE_SIDE, self.device)?;
            let x = Pixels::normalise(&Pixels::resize(&x, self.config.serve_resolution as i64)?)?;
            each(self.network.forward(&x, false, Some(self.kind()))?)?;
        }
        Ok(())
    }

    /// The last layer.
    pub fn head(&self) -> Result<LinearHead, ModelError> {
        linear_head(self.network.head())
    }

    /// Side in pixels at which the network looks at pictures when it serves.
    pub fn serve_resolution(&self) -> usize {
        self.config.serve_resolution
    }

    learner_methods!();
}
