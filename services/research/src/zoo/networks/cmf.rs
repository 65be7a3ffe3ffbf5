//! CMF-AP over two or three modalities of any width, in the paper's and the authors' form (docs/networks.md,
//! "Fusion").

use jtav_model::layers::{BatchNorm, Linear, unit_rows};
use jtav_model::networks::CrossAttention;
use jtav_model::parameters::{Init, Scope};
use jtav_model::{Modality, ModelError};
use tch::Tensor;

use super::forward::Forward;
use super::parts::PartsBatch;
use crate::zoo::architecture::{Profile, Widths};

/// Values of a rebuilt vector in the paper's form (its r).
const REDUCED: i64 = 100;

/// One direction in the authors' form: pools `n` by attending over the coordinates of `m`.
///
/// They score row i of `C = m n'` by `u' sigmoid(W C_i + b_i)`, with a bias per row, and return `C' a`. Row i is `m_i
/// n`, hence `W C_i = m_i (W n)` and `C' a = n (m' a)`: no matrix is needed, and the result is `n` times a scalar.
pub(crate) struct ScaledAttention {
    pub weight: Tensor,
    pub bias: Tensor,
    pub context: Tensor,
}

impl ScaledAttention {
    /// `positions` is the length of `m`, `width` that of `n`, `attention` that of `u`.
    pub fn new(scope: &Scope, positions: i64, width: i64, attention: i64) -> Result<Self, ModelError> {
        Ok(Self {
            weight: scope.weight("weight", &[attention, width], Init::HeNormal)?,
            bias: scope.weight("bias", &[positions, attention], Init::Constant(0.0))?,
            context: scope.weight("context", &[attention, 1], Init::Normal(0.1))?,
        })
    }

    /// `[batch, width]` of `m` `[batch, positions]` and `n` `[batch, width]`.
    pub fn forward(&self, m: &Tensor, n: &Tensor) -> Result<Tensor, ModelError> {
        let none: Option<&Tensor> = None;
        let w = n.f_linear(&self.weight, none)?.f_unsqueeze(1)?;
        let hidden = self.bias.f_addcmul(&m.f_unsqueeze(2)?, &w)?.f_sigmoid()?;
        let weights = hidden.f_matmul(&self.context)?.f_squeeze_dim(2)?.f_softmax(1, None)?;
        let gate = weights.f_mul(m)?.f_sum_dim_intlist([1_i64].as_slice(), true, None)?;
        Ok(n.f_mul(&gate)?)
    }
}

/// Both directions of one pair, and what stands for them when a side is absent.
struct Pair {
    /// Places of the two modalities among those that are read.
    sides: (usize, usize),
    form: PairForm,
    /// `[1, width of the pair]`.
    absent: Tensor,
}

enum PairForm {
    /// Rebuilds the first over the second, and the second over the first.
    Paper(CrossAttention, CrossAttention),
    /// Pools the second over the first, and the first over the second.
    Authors(ScaledAttention, ScaledAttention),
}

impl Pair {
    /// The two vectors that stand for the pair, each `[batch, width]`.
    fn forward(&self, parts: &[Tensor]) -> Result<[Tensor; 2], ModelError> {
        let (m, n) = (&parts[self.sides.0], &parts[self.sides.1]);
        Ok(match &self.form {
            PairForm::Paper(first, second) => [first.forward(m, n)?, second.forward(n, m)?],
            PairForm::Authors(second, first) => [first.forward(n, m)?, second.forward(m, n)?],
        })
    }
}

/// What happens to the vectors before the pairs see them.
enum Preparation {
    /// Length 1, times one learned factor per modality.
    Scaled(Tensor),
    /// Batch normalisation: the authors' fusions of two.
    Normalised(Vec<BatchNorm>),
    /// Length 1 except the image: the authors' fusion of three.
    UnitExcept(Vec<bool>),
}

/// CMF-AP with its logistic regression.
///
/// `paper`: unit vectors with a learned scale, batch normalisation and dropout of `u`. `authors-code`: batch
/// normalisation in front for two modalities, unit vectors (the image raw) for three; the pooled vectors of a pair
/// are scaled to length 1, normalised over the batch and dropped out for two modalities only. Their scaling divides by
/// the length of the whole batch, which lets posts change each other's label; here each row has its own length.
pub(crate) struct CmfAp {
    preparation: Preparation,
    pairs: Pairs,
    norm: Option<BatchNorm>,
    head: Linear,
    dropout: f64,
}

impl CmfAp {
    pub fn new(
        scope: &Scope,
        profile: Profile,
        widths: &Widths,
        attention: i64,
        dropout: f64,
    ) -> Result<Self, ModelError> {
        let parts: Vec<(Modality, i64)> = widths.modalities().map(|(m, width)| (m, width as i64)).collect();
        let of_two = parts.len() == 2;
        let unit_outputs = profile == Profile::AuthorsCode && of_two;
        let pairs = Pairs::new(scope, profile, &parts, attention, unit_outputs)?;
        let norm = match profile {
            Profile::Paper => Some(BatchNorm::new(&scope.sub("norm"), pairs.width)?),
            Profile::AuthorsCode if of_two => Some(BatchNorm::keras(&scope.sub("norm"), pairs.width, 1e-3)?),
            Profile::AuthorsCode => None,
        };
        Ok(Self {
            preparation: Preparation::new(scope, profile, &parts)?,
            norm,
            head: Linear::new(&scope.sub("head"), pairs.width, 1)?,
            pairs,
            dropout,
        })
    }

    pub fn forward(&self, batch: &PartsBatch, train: bool) -> Result<Forward, ModelError> {
        let parts = self.preparation.apply(&batch.parts, train)?;
        let u = self.pairs.forward(&parts, &batch.present)?;
        let read = match &self.norm {
            Some(norm) => norm.forward(&u, train)?.f_dropout(self.dropout, train)?,
            None => u.shallow_clone(),
        };
        let logits = self.head.forward(&read)?.f_squeeze_dim(1)?;
        Ok(Forward { features: u, logits })
    }
}

/// All pairs of two or three modalities.
pub(crate) struct Pairs {
    pairs: Vec<Pair>,
    unit_outputs: bool,
    /// Values of `u`.
    pub width: i64,
}

impl Pairs {
    /// `parts` are the modalities with the widths of their vectors; with `unit_outputs` each pooled vector is scaled to
    /// length 1.
    pub fn new(
        scope: &Scope,
        profile: Profile,
        parts: &[(Modality, i64)],
        attention: i64,
        unit_outputs: bool,
    ) -> Result<Self, ModelError> {
        let mut pairs = Vec::new();
        let mut width = 0;
        for first in 0..parts.len() {
            for second in first + 1..parts.len() {
                let (pair, added) = new_pair(scope, profile, parts, (first, second), attention)?;
                pairs.push(pair);
                width += added;
            }
        }
        Ok(Self { pairs, unit_outputs, width })
    }

    /// `u`, `[batch, width]`, of one matrix `[batch, values]` and one column of presence `[batch, 1]` per modality.
    pub fn forward(&self, parts: &[Tensor], present: &[Tensor]) -> Result<Tensor, ModelError> {
        let mut joined = Vec::with_capacity(self.pairs.len());
        for pair in &self.pairs {
            let [first, second] = pair.forward(parts)?;
            let attended = match self.unit_outputs {
                true => Tensor::f_cat(&[unit_rows(&first)?, unit_rows(&second)?], 1)?,
                false => Tensor::f_cat(&[first, second], 1)?,
            };
            let both = present[pair.sides.0].f_mul(&present[pair.sides.1])?;
            let missing = both.f_neg()?.f_add_scalar(1.0)?.f_mul(&pair.absent)?;
            joined.push(attended.f_mul(&both)?.f_add(&missing)?);
        }
        Ok(Tensor::f_cat(&joined, 1)?)
    }
}

/// The pair and the values it adds to `u`.
fn new_pair(
    scope: &Scope,
    profile: Profile,
    parts: &[(Modality, i64)],
    sides: (usize, usize),
    attention: i64,
) -> Result<(Pair, i64), ModelError> {
    let ((first, p), (second, q)) = (parts[sides.0], parts[sides.1]);
    let scope = scope.sub(&format!("pairs.{}_{}", first.name(), second.name()));
    let (one, other) = (scope.sub("first"), scope.sub("second"));
    let (form, width) = match profile {
        Profile::Paper => {
            let first = CrossAttention::new(&one, p, attention, REDUCED)?;
            (PairForm::Paper(first, CrossAttention::new(&other, q, attention, REDUCED)?), 2 * REDUCED)
        }
        Profile::AuthorsCode => {
            let second = ScaledAttention::new(&other, p, q, attention)?;
            (PairForm::Authors(second, ScaledAttention::new(&one, q, p, attention)?), p + q)
        }
    };
    let absent = scope.weight("absent", &[1, width], Init::Normal(0.1))?;
    Ok((Pair { sides, form, absent }, width))
}

impl Preparation {
    fn new(scope: &Scope, profile: Profile, parts: &[(Modality, i64)]) -> Result<Self, ModelError> {
        Ok(match profile {
            Profile::Paper => {
                // Entries of a unit vector have size 1 / sqrt(width); this brings those of 100 values back to 1.
                let scale = Init::Constant((REDUCED as f32).sqrt());
                Self::Scaled(scope.weight("scale", &[parts.len() as i64], scale)?)
            }
            Profile::AuthorsCode if parts.len() == 2 => {
                let norm = |(modality, width): &(Modality, i64)| {
                    BatchNorm::keras(&scope.sub(&format!("{}_norm", modality.name())), *width, 1e-3)
                };
                Self::Normalised(parts.iter().map(norm).collect::<Result<_, ModelError>>()?)
            }
            Profile::AuthorsCode => Self::UnitExcept(parts.iter().map(|(m, _)| *m == Modality::Image).collect()),
        })
    }

    fn apply(&self, parts: &[Tensor], train: bool) -> Result<Vec<Tensor>, ModelError> {
        let apply = |(at, part): (usize, &Tensor)| match self {
            Self::Scaled(scale) => Ok(unit_rows(part)?.f_mul(&scale.f_narrow(0, at as i64, 1)?)?),
            Self::Normalised(norms) => norms[at].forward(part, train),
            Self::UnitExcept(raw) if raw[at] => Ok(part.shallow_clone()),
            Self::UnitExcept(_) => unit_rows(part),
        };
        parts.iter().enumerate().map(apply).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::networks::dense_oracle::{assert_same, vectors};
    use jtav_model::parameters::Builder;
    use tch::{Device, Kind};

    /// The authors' code as written, with the matrix: scores from its rows, pooling along them.
    fn dense(layer: &ScaledAttention, m: &Tensor, n: &Tensor) -> Tensor {
        let c = m.unsqueeze(2).matmul(&n.unsqueeze(1));
        let hidden = (c.matmul(&layer.weight.transpose(0, 1)) + &layer.bias).sigmoid();
        let weights = hidden.matmul(&layer.context).squeeze_dim(2).softmax(1, Kind::Double);
        c.transpose(1, 2).matmul(&weights.unsqueeze(2)).squeeze_dim(2)
    }

    #[test]
    fn the_authors_factorised_form_equals_the_dense_one_in_values_and_gradients() {
        let builder = Builder::fresh(11, Device::Cpu);
        let layer = ScaledAttention::new(&builder.scope("c"), 9, 12, 7).unwrap();
        let double = |t: &Tensor| t.detach().to_kind(Kind::Double).set_requires_grad(true);
        // Away from the zeros that the biases start from.
        let bias = (double(&layer.bias) + vectors(9, 7, 0.5).detach()).detach().set_requires_grad(true);
        let layer = ScaledAttention { weight: double(&layer.weight), bias, context: double(&layer.context) };
        let (m, n) = (vectors(3, 9, 0.2), vectors(3, 12, 1.1));
        let upstream = vectors(3, 12, 2.0).detach();
        let leaves = [&m, &n, &layer.weight, &layer.bias, &layer.context];
        let (factorised, written) = (layer.forward(&m, &n).unwrap(), dense(&layer, &m, &n));
        assert_same(&factorised, &written, &upstream, &leaves);
    }
}
