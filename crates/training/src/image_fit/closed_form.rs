//! The head of the image network from pooled features, without a step of gradient descent.

use std::collections::BTreeMap;

use jtav_model::ModelError;
use jtav_model::networks::ImageHead;
use jtav_model::parameters::{Builder, Stored};
use tch::{Device, Kind, Tensor};

use crate::dense::{DenseRows, logit};
use crate::folds::grouped_folds;

/// Inverse weight of the penalty in units of one picture's loss (scikit-learn's `C`); a look has its share of a picture.
pub(super) const C: f64 = 10.0;
/// A direction with less than this share of the largest variance is rounding.
const LEAST_VARIANCE: f64 = 1e-9;

/// Pooled features of length 1 with the label of each picture.
pub(super) struct Features {
    /// `[pictures, views, channels]`, the centre of each picture first.
    values: Vec<f32>,
    positive: Vec<bool>,
    views: usize,
    channels: usize,
}

impl Features {
    /// [`ModelError::Input`] unless there are pictures of both labels, and `values` for all of them.
    pub fn new(values: Vec<f32>, positive: Vec<bool>, views: usize, channels: usize) -> Result<Self, ModelError> {
        let features = Self { values, positive, views, channels };
        if features.values.len() != features.positive.len() * views * channels || views == 0 || channels == 0 {
            return Err(ModelError::Input(format!(
                "{} values for {} pictures, {views} looks at each, {channels} channels",
                features.values.len(),
                features.positive.len()
            )));
        }
        features.check_labels(&features.all())?;
        Ok(features)
    }

    fn all(&self) -> Vec<usize> {
        (0..self.positive.len()).collect()
    }

    fn check_labels(&self, pictures: &[usize]) -> Result<(), ModelError> {
        let positive = pictures.iter().filter(|&&picture| self.positive[picture]).count();
        if positive == 0 || positive == pictures.len() {
            let count = pictures.len();
            let message = format!("the image head needs pictures of both labels, {positive} of {count} are positive");
            return Err(ModelError::Input(message));
        }
        Ok(())
    }

    fn looks(&self, picture: usize) -> impl Iterator<Item = &[f32]> {
        let width = self.views * self.channels;
        self.values[picture * width..][..width].chunks_exact(self.channels)
    }

    /// Weights of the channels, the constant last: logistic regression on every look at these pictures.
    fn regression(&self, pictures: &[usize]) -> Result<Vec<f64>, ModelError> {
        self.check_labels(pictures)?;
        let rows = pictures.iter().flat_map(|&picture| self.looks(picture)).collect();
        let labels = pictures.iter().flat_map(|&picture| std::iter::repeat_n(self.positive[picture], self.views));
        Ok(DenseRows::new(rows, labels.collect(), self.channels, C / self.views as f64).solve())
    }

    /// The logit of each picture's centre, from a regression on the folds that its group is not in.
    pub fn out_of_fold(&self, groups: &[String], folds: usize, seed: u64) -> Result<Vec<f32>, ModelError> {
        if groups.len() != self.positive.len() {
            let (groups, pictures) = (groups.len(), self.positive.len());
            return Err(ModelError::Input(format!("{groups} groups for {pictures} pictures")));
        }
        let fold_of = grouped_folds(&self.positive, groups, folds, seed);
        let mut logits = vec![0.0; fold_of.len()];
        for fold in 0..folds {
            let (judged, others): (Vec<usize>, Vec<usize>) = self.all().iter().partition(|&&at| fold_of[at] == fold);
            if judged.is_empty() {
                continue;
            }
            let weights = self.regression(&others)?;
            for picture in judged {
                let centre = self.looks(picture).next().unwrap_or_default();
                logits[picture] = logit(centre, &weights) as f32;
            }
        }
        Ok(logits)
    }

    /// The head's tensors by their names below `image`: `dense.weight` `[vector, channels]`, `dense.bias`, `head.weight`
    /// `[1, vector]`, `head.bias`.
    ///
    /// The first value of the vector is the logit of logistic regression without its constant, which is the bias of the
    /// last layer; the others are principal components of what is left when the direction of its weights is taken out,
    /// the largest first, 0 beyond the rank of the features.
    pub fn head(&self, vector: i64) -> Result<BTreeMap<String, Tensor>, ModelError> {
        let mut weights = self.regression(&self.all())?;
        let constant = weights.pop().unwrap_or_default();
        let weights = Tensor::f_from_slice(&weights)?;
        let shape = [(self.positive.len() * self.views) as i64, self.channels as i64];
        let rows = Tensor::f_from_slice(&self.values)?.f_view(shape)?.f_to_kind(Kind::Double)?;
        let mean = rows.f_mean_dim([0_i64].as_slice(), true, Kind::Double)?;
        let components = components_beside(&rows.f_sub(&mean)?, &weights, vector - 1)?;
        // Components are 0 at the mean of the training pictures; the regression has its constant elsewhere.
        let shift = components.f_mv(&mean.f_squeeze_dim(0)?)?.f_neg()?;
        let nought = Tensor::f_zeros([1], (Kind::Double, Device::Cpu))?;
        let first = Tensor::f_ones([1], (Kind::Double, Device::Cpu))?.f_constant_pad_nd([0, vector - 1])?;
        let tensors = [
            ("dense.weight", Tensor::f_cat(&[weights.f_unsqueeze(0)?, components], 0)?),
            ("dense.bias", Tensor::f_cat(&[nought, shift], 0)?),
            ("head.weight", first.f_unsqueeze(0)?),
            ("head.bias", Tensor::f_from_slice(&[constant])?),
        ];
        let single = |(name, tensor): (&str, Tensor)| Ok((name.to_owned(), tensor.f_to_kind(Kind::Float)?));
        tensors.into_iter().map(single).collect()
    }
}

/// `[count, channels]`: principal components of `centred` `[rows, channels]` within the plane that `direction` stands
/// upright on. Each has length 1 and its largest value is positive; directions without variance are rows of zeros.
fn components_beside(centred: &Tensor, direction: &Tensor, count: i64) -> Result<Tensor, ModelError> {
    let (rows, channels) = centred.size2()?;
    if !(0..channels).contains(&count) {
        return Err(ModelError::Configuration(format!("{count} components beside a direction of {channels} channels")));
    }
    let length = direction.f_norm()?.f_clamp_min(f64::MIN_POSITIVE)?;
    let upright = direction.f_div(&length)?.f_unsqueeze(1)?;
    let rest = centred.f_sub(&centred.f_matmul(&upright)?.f_matmul(&upright.f_tr()?)?)?;
    let covariance = rest.f_tr()?.f_matmul(&rest)?.f_div_scalar(rows.max(1) as f64)?;
    // The direction itself comes last for certain, even where there is no other variance.
    let covariance = covariance.f_sub(&upright.f_matmul(&upright.f_tr()?)?)?;
    let (variances, vectors) = covariance.f_linalg_eigh("L")?;
    let largest = |tensor: &Tensor| tensor.f_narrow(-1, channels - count, count)?.f_flip([-1_i64]);
    let (variances, vectors) = (largest(&variances)?, largest(&vectors)?.f_tr()?);
    let most = variances.f_clamp_min(0.0)?.f_max()?;
    let is_real = variances.f_gt_tensor(&most.f_mul_scalar(LEAST_VARIANCE)?)?.f_to_kind(Kind::Double)?;
    let at = vectors.f_abs()?.f_argmax(1, true)?;
    let sign = vectors.f_gather(1, &at, false)?.f_sign()?;
    Ok(vectors.f_mul(&sign)?.f_mul(&is_real.f_unsqueeze(1)?)?)
}

/// Tensors of a head as the network reads them.
struct Named<'a>(&'a BTreeMap<String, Tensor>);

impl Stored for Named<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, ModelError> {
        let tensor = self.0.get(name).ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })?;
        match tensor.size() == shape {
            true => Ok(tensor.shallow_clone()),
            false => {
                Err(ModelError::Misshaped { name: name.to_owned(), expected: shape.to_vec(), found: tensor.size() })
            }
        }
    }
}

/// The head of these tensors.
pub(super) fn network(
    tensors: &BTreeMap<String, Tensor>,
    channels: i64,
    vector: i64,
    device: Device,
) -> Result<ImageHead, ModelError> {
    let named = Named(tensors);
    let builder = Builder::stored(&named, device);
    ImageHead::new(&builder.scope(""), channels, vector)
}

#[cfg(test)]
mod tests {
    use jtav_model::parameters::{to_rows, to_vec};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const CHANNELS: usize = 24;
    const VIEWS: usize = 3;

    /// `pictures` of noise whose label hangs together with the first channels; looks at one differ a little.
    fn features(pictures: usize) -> Features {
        let mut rng = StdRng::seed_from_u64(6);
        let mut values = Vec::new();
        for _ in 0..pictures {
            let own: Vec<f32> = (0..CHANNELS).map(|_| rng.random_range(0.0..2.0)).collect();
            for _ in 0..VIEWS {
                let row: Vec<f32> = own.iter().map(|value| value + rng.random_range(0.0..0.2)).collect();
                let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                values.extend(row.iter().map(|x| x / length));
            }
        }
        let positive = (0..pictures).map(|at| values[at * VIEWS * CHANNELS] > values[at * VIEWS * CHANNELS + 1]);
        let positive = positive.collect();
        Features::new(values, positive, VIEWS, CHANNELS).unwrap()
    }

    #[test]
    fn the_heads_logit_is_that_of_the_regression() {
        let features = features(40);
        let weights = features.regression(&features.all()).unwrap();
        let head = network(&features.head(10).unwrap(), CHANNELS as i64, 10, Device::Cpu).unwrap();
        let rows = Tensor::from_slice(&features.values).view([-1, CHANNELS as i64]);
        // The length of what comes in does not count.
        let (vectors, logits) = head.forward(&(rows * 3.0)).unwrap();
        let (vectors, logits) = (to_rows(&vectors).unwrap(), to_vec(&logits).unwrap());
        for ((row, vector), found) in features.values.chunks(CHANNELS).zip(vectors).zip(logits) {
            let expected = logit(row, &weights) as f32;
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            assert!((vector[0] + weights[CHANNELS] as f32 - expected).abs() < 1e-4);
        }
    }

    #[test]
    fn rows_after_the_first_have_length_1_and_stand_upright_on_it_and_on_each_other() {
        let rows = to_rows(&features(40).head(20).unwrap()["dense.weight"]).unwrap();
        let length = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (at, row) in rows.iter().enumerate().skip(1) {
            assert!((length(row) - 1.0).abs() < 1e-5, "row {at}");
            for (before, other) in rows.iter().enumerate().take(at) {
                let product: f32 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                assert!(product.abs() / length(other) < 1e-5, "rows {before} and {at}: {product}");
            }
        }
    }

    #[test]
    fn components_are_centred_and_the_largest_comes_first() {
        let features = features(40);
        let head = network(&features.head(20).unwrap(), CHANNELS as i64, 20, Device::Cpu).unwrap();
        let (vectors, _) = head.forward(&Tensor::from_slice(&features.values).view([-1, CHANNELS as i64])).unwrap();
        let components = vectors.narrow(1, 1, 19);
        let means = to_vec(&components.mean_dim([0_i64].as_slice(), false, Kind::Float)).unwrap();
        assert!(means.iter().all(|mean| mean.abs() < 1e-5), "{means:?}");
        let spread = to_vec(&components.std_dim([0_i64].as_slice(), false, false)).unwrap();
        assert!(spread.windows(2).all(|pair| pair[0] >= pair[1] - 1e-6), "{spread:?}");
        let products = components.tr().matmul(&components);
        let apart = (&products - products.diag(0).diag(0)).abs().max().double_value(&[]);
        assert!(apart < 1e-4 * products.max().double_value(&[]), "components hang together: {apart}");
    }

    #[test]
    fn beyond_the_rank_of_the_features_the_vector_is_0() {
        let few = Features { views: 1, ..features(4) };
        let few = Features { values: few.values.chunks(CHANNELS).step_by(VIEWS).flatten().copied().collect(), ..few };
        let few = Features { positive: vec![true, false, true, false], ..few };
        let rows = to_rows(&few.head(20).unwrap()["dense.weight"]).unwrap();
        // Four points and a direction taken out leave two directions, or three.
        let empty = rows.iter().filter(|row| row.iter().all(|&value| value == 0.0)).count();
        assert!((16..=17).contains(&empty), "{empty}");
        assert!(matches!(few.head(1 + CHANNELS as i64), Err(ModelError::Configuration(_))));
    }

    #[test]
    fn a_logit_out_of_fold_knows_nothing_of_its_own_group() {
        let mut features = features(60);
        let groups: Vec<String> = (0..60).map(|at| format!("{}", at / 3)).collect();
        let before = features.out_of_fold(&groups, 5, 2).unwrap();
        let fold_of = grouped_folds(&features.positive, &groups, 5, 2);
        // Pictures of fold 0 that hold something else entirely move the logits of the others alone.
        let width = VIEWS * CHANNELS;
        for at in (0..60).filter(|&at| fold_of[at] == 0) {
            features.values[at * width + CHANNELS..(at + 1) * width].fill(0.5);
        }
        let after = features.out_of_fold(&groups, 5, 2).unwrap();
        for at in 0..60 {
            assert_eq!(before[at] == after[at], fold_of[at] == 0, "picture {at}, fold {}", fold_of[at]);
        }
    }

    #[test]
    fn one_label_alone_is_refused_in_a_fold_too() {
        let positive = vec![true; 4];
        let alone = Features::new(vec![0.5; 4 * 2], positive, 1, 2).err().unwrap();
        assert!(matches!(alone, ModelError::Input(_)), "{alone}");
        let two = Features::new(vec![0.5; 4 * 2], vec![true, true, false, false], 1, 2).unwrap();
        let groups: Vec<String> = ["a", "a", "b", "b"].map(str::to_owned).to_vec();
        assert!(matches!(two.out_of_fold(&groups, 2, 1), Err(ModelError::Input(_))));
        assert!(matches!(two.out_of_fold(&groups[..3], 2, 1), Err(ModelError::Input(_))));
        assert!(matches!(Features::new(vec![0.5; 7], vec![true, false], 2, 2), Err(ModelError::Input(_))));
    }
}
