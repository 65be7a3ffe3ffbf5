use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};

use jtav_schemas::Label;

use crate::index::NeighbourIndex;
use crate::kernel::Kernel;
use crate::matrix::Matrix;
use crate::meta::Wanted;
use crate::model_set::HOUR_MS;
use crate::record::unit_f32;
use crate::segment::Rows;
use crate::{IndexError, VectorKind};

/// Most neighbours that one question is answered with.
pub const MAX_K: usize = 1_000;

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Whose vectors; those of two models are never compared.
    pub model: &'a str,
    /// Which of them.
    pub kind: VectorKind,
    /// `[dimensions]`, of any length but 0.
    pub vector: &'a [f32],
    /// How many neighbours; at most [`MAX_K`] are given.
    pub k: usize,
    /// Only posts with this label.
    pub label: Option<Label>,
    /// Only certain ones, or only uncertain ones.
    pub certain: Option<bool>,
    /// Only posts made then or later, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Only posts in this language, ISO 639.
    pub lang: Option<&'a str>,
    /// All posts but this.
    pub exclude_post: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// The `k` nearest of all posts.
    pub fn new(model: &'a str, kind: VectorKind, vector: &'a [f32], k: usize) -> Self {
        Self { model, kind, vector, k, label: None, certain: None, since_ms: None, lang: None, exclude_post: None }
    }
}

/// A neighbour.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub post_id: String,
    /// Cosine of the angle between the two, -1 to 1.
    pub similarity: f32,
    pub label: Label,
    /// Whether the model promises its accuracy for the label.
    pub certain: bool,
    /// ISO 639.
    pub lang: Option<String>,
    /// When the post was made, milliseconds since 1970; never in the future of the time when it was taken in.
    pub event_time_ms: Option<i64>,
    /// When it was labelled, likewise.
    pub labelled_at_ms: i64,
    pub revision: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// Nearest first; of equally near ones that of the smaller id.
    pub hits: Vec<Hit>,
    /// Vectors that were compared: those that pass the filters.
    pub searched: u64,
    /// From when on nothing of the model is missing, milliseconds since 1970; `None` where nothing of it is there.
    pub reaches_back_to_ms: Option<i64>,
}

/// The nearest is the greatest.
#[derive(Debug, PartialEq)]
struct Near(Hit);

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_similarity = self.0.similarity.total_cmp(&other.0.similarity);
        by_similarity.then_with(|| other.0.post_id.cmp(&self.0.post_id)).then(self.0.revision.cmp(&other.0.revision))
    }
}

/// A row of the segment that is being looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    similarity: f32,
    row: u16,
}

impl Eq for Row {}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.similarity.total_cmp(&other.similarity).then(self.row.cmp(&other.row))
    }
}

/// The greatest `k` of what was offered.
struct Best<T> {
    k: usize,
    /// The least of them on top.
    heap: BinaryHeap<Reverse<T>>,
}

impl<T: Ord> Best<T> {
    fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    fn offer(&mut self, item: T) {
        if self.heap.len() < self.k {
            self.heap.push(Reverse(item));
        } else if let Some(mut least) = self.heap.peek_mut()
            && least.0 < item
        {
            *least = Reverse(item);
        }
    }

    /// What must be reached; `None` while everything is taken.
    fn least(&self) -> Option<&T> {
        self.heap.peek().filter(|_| self.heap.len() >= self.k).map(|least| &least.0)
    }
}

/// A question as a segment is asked.
struct Asked {
    kernel: Kernel,
    kind: VectorKind,
    /// Of length 1.
    vector: Vec<f32>,
    wanted: Wanted,
    since_ms: i64,
}

impl NeighbourIndex {
    /// The nearest neighbours by cosine. It looks at every vector of the model and kind that passes the filters: no approximation but
    /// the rounding to f16. A post that is written while the search runs is found as it was or as it is, or, where it moved to another
    /// hour, perhaps not; one that is erased meanwhile is in no answer.
    ///
    /// # Errors
    /// A vector that cannot be compared with those of the model.
    pub fn search(&self, query: &Query<'_>) -> Result<Found, IndexError> {
        let vector = unit_f32(query.kind, query.vector)?;
        let Some(model) = self.model(query.model) else { return Ok(Found::default()) };
        let expected = model.dimensions(query.kind);
        if let Some(expected) = expected.filter(|expected| *expected != vector.len()) {
            return Err(IndexError::Dimensions { kind: query.kind, dimensions: vector.len(), expected });
        }
        let mut found = Found { reaches_back_to_ms: self.reaches_back_to_ms(&model), ..Found::default() };
        let k = query.k.min(MAX_K);
        let Some(wanted) = Wanted::new(query.label, query.certain, query.lang).filter(|_| k > 0) else {
            return Ok(found);
        };
        let since_ms = query.since_ms.unwrap_or(i64::MIN);
        let asked = Asked { kernel: self.kernel, kind: query.kind, vector, wanted, since_ms };
        // One more, because the post that is left out may be among them.
        let mut best = Best::new(k + usize::from(query.exclude_post.is_some()));
        for segment in model.segments(since_ms.div_euclid(HOUR_MS)) {
            found.searched += asked.look_into(&segment.read(), &mut best);
        }
        let mut hits: Vec<Hit> = best.heap.into_sorted_vec().into_iter().map(|Reverse(Near(hit))| hit).collect();
        // A post may have moved while we looked, and then it was seen twice; or have gone.
        let mut seen = HashSet::new();
        hits.retain(|hit| {
            Some(hit.post_id.as_str()) != query.exclude_post
                && seen.insert(hit.post_id.clone())
                && model.posts.find(self.hash(&hit.post_id), &hit.post_id).is_some()
        });
        hits.truncate(k);
        found.hits = hits;
        Ok(found)
    }
}

impl Asked {
    /// Offers the nearest of a segment. Gives how many it compared.
    fn look_into(&self, rows: &Rows, best: &mut Best<Near>) -> u64 {
        let Some(matrix) = rows.matrix(self.kind).filter(|matrix| matrix.dimensions() == self.vector.len()) else {
            return 0;
        };
        let least = best.least().map_or(f32::NEG_INFINITY, |near| near.0.similarity);
        let mut here = Best::new(best.k);
        let compared = self.compare(rows, matrix, least, &mut here);
        for Reverse(row) in here.heap {
            best.offer(Near(hit(rows, row)));
        }
        compared
    }

    fn compare(&self, rows: &Rows, matrix: &Matrix, least: f32, here: &mut Best<Row>) -> u64 {
        /// Rows between two looks at the columns: their numbers and products stay in the nearest cache.
        const BATCH: usize = 256;
        let (mut compared, mut dots, mut picked) = (0, [0.0; BATCH], Vec::with_capacity(BATCH));
        let of = matrix.rows();
        for start in (0..of.len()).step_by(BATCH) {
            let places = start..(start + BATCH).min(of.len());
            picked.clear();
            picked.extend(places.filter(|place| self.passes(rows, of[*place])).map(|place| place as u16));
            self.kernel.dots(&self.vector, matrix.units(), &picked, &mut dots);
            compared += picked.len() as u64;
            for (place, dot) in picked.iter().zip(&dots) {
                let similarity = dot.clamp(-1.0, 1.0);
                if similarity >= least {
                    here.offer(Row { similarity, row: of[usize::from(*place)] });
                }
            }
        }
        compared
    }

    fn passes(&self, rows: &Rows, row: u16) -> bool {
        self.wanted.takes(rows.meta(row)) && rows.time_ms(row) >= self.since_ms
    }
}

fn hit(rows: &Rows, Row { similarity, row }: Row) -> Hit {
    let meta = rows.meta(row);
    Hit {
        post_id: rows.id(row).to_owned(),
        similarity,
        label: meta.label(),
        certain: meta.certain(),
        lang: meta.lang(),
        event_time_ms: meta.has_event_time().then(|| rows.time_ms(row)),
        labelled_at_ms: rows.labelled_at_ms(row),
        revision: rows.revision(row),
    }
}
