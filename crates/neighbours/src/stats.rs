use crate::VectorKind;
use crate::index::NeighbourIndex;
use crate::matrix::Sums;
use crate::model_set::ModelSet;

/// Hours that count as new.
const NEW_HOURS: i64 = 24;

/// What is at hand of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelStats {
    /// Name and weights.
    pub model: String,
    /// When its newest label was made, milliseconds since 1970.
    pub newest_ms: i64,
    /// From when on nothing of it is missing, milliseconds since 1970.
    pub reaches_back_to_ms: Option<i64>,
    /// Its posts.
    pub posts: u64,
    /// Its vectors; kinds of which it has none are left out.
    pub kinds: Vec<KindStats>,
}

/// The vectors of one kind by one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KindStats {
    /// Which.
    pub kind: VectorKind,
    /// How many.
    pub count: u64,
    /// Components of each.
    pub dimensions: usize,
    /// Mean of the Euclidean lengths.
    pub mean_norm: f64,
    /// Their standard deviation.
    pub std_norm: f64,
    /// 1 less the cosine between the mean of the unit vectors of the newest 24 hours (whole ones) and that of those before; `None`
    /// where one of the two has no vector, or a mean that points nowhere.
    pub drift: Option<f64>,
}

impl NeighbourIndex {
    /// What is at hand, newest model first. Takes from sums that are kept: its cost is that of the segments, not of the vectors.
    pub fn stats(&self) -> Vec<ModelStats> {
        let mut stats: Vec<ModelStats> = self
            .models()
            .iter()
            .map(|model| ModelStats { reaches_back_to_ms: self.reaches_back_to_ms(model), ..of_model(model) })
            .collect();
        stats.sort_by(|a, b| b.newest_ms.cmp(&a.newest_ms).then_with(|| a.model.cmp(&b.model)));
        stats
    }
}

fn of_model(model: &ModelSet) -> ModelStats {
    let new_from = model.newest_hour().unwrap_or(i64::MIN).saturating_sub(NEW_HOURS - 1);
    let mut sums: [(Sums, Sums); VectorKind::COUNT] = Default::default();
    for segment in model.segments(i64::MIN) {
        let rows = segment.read();
        for kind in VectorKind::ALL {
            let (old, new) = &mut sums[kind.place()];
            let sum = if segment.hour >= new_from { new } else { old };
            if let Some(matrix) = rows.matrix(kind) {
                sum.add(matrix.sums());
            }
        }
    }
    let kinds = VectorKind::ALL.into_iter().filter_map(|kind| of_kind(kind, &sums[kind.place()])).collect();
    ModelStats {
        reaches_back_to_ms: None,
        model: model.name.to_string(),
        newest_ms: model.newest_ms(),
        posts: model.posts.len() as u64,
        kinds,
    }
}

fn of_kind(kind: VectorKind, (old, new): &(Sums, Sums)) -> Option<KindStats> {
    let mut all = old.clone();
    all.add(new);
    if all.count == 0 {
        return None;
    }
    let mean_norm = all.norm / all.count as f64;
    let variance = all.norm_squared / all.count as f64 - mean_norm * mean_norm;
    Some(KindStats {
        kind,
        count: all.count,
        dimensions: all.unit.len(),
        mean_norm,
        std_norm: variance.max(0.0).sqrt(),
        drift: drift(old, new),
    })
}

fn drift(old: &Sums, new: &Sums) -> Option<f64> {
    // What adding and taking away leaves of nothing.
    const NOWHERE: f64 = 1e-9;
    let length = |sums: &Sums| sums.unit.iter().map(|value| value * value).sum::<f64>().sqrt();
    let (old_length, new_length) = (length(old), length(new));
    let points = |sums: &Sums, length: f64| sums.count > 0 && length > NOWHERE * sums.count as f64;
    if !points(old, old_length) || !points(new, new_length) {
        return None;
    }
    let dot: f64 = old.unit.iter().zip(&new.unit).map(|(a, b)| a * b).sum();
    Some(1.0 - (dot / (old_length * new_length)).clamp(-1.0, 1.0))
}
