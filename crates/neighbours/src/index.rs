use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use jtav_schemas::EmbeddingV1;

use crate::kernel::Kernel;
use crate::model_set::{HOUR_MS, ModelSet};
use crate::record::Prepared;
use crate::{IndexError, VectorKind};

/// Models whose vectors are kept at once.
pub const MAX_MODELS: usize = 64;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexSettings {
    /// An hour that ended longer ago than this is dropped.
    pub window_ms: i64,
    /// What the index may take; the oldest hour is dropped for a post for which there is no room. Beyond it come for a moment what one
    /// column grows by, and a segment (8,192 posts at most) that is copied without its dead.
    pub max_bytes: usize,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Applied {
    /// The post was not there.
    Added,
    /// It took the place of an equal or older revision.
    Replaced,
    /// A newer revision is there; nothing was changed.
    Stale,
    /// The post is older than what is kept; an older revision of it, if one was there, is gone.
    TooOld,
}

/// The nearest neighbours among recent posts, exactly. The crate's documentation says how it is built.
///
/// Every method may be called from every thread. Writers ([`apply`](Self::apply), [`erase`](Self::erase), [`expire`](Self::expire))
/// wait for one another; what they have done is seen by every search that begins after they have returned.
#[derive(Debug)]
pub struct NeighbourIndex {
    settings: IndexSettings,
    pub(crate) kernel: Kernel,
    /// Ids are a stranger's choice: with a seed of our own he cannot make them meet in the table.
    seed: RandomState,
    models: RwLock<Vec<Arc<ModelSet>>>,
    bytes: AtomicUsize,
    /// Posts before this are not taken: their hour was dropped for want of room.
    floor_ms: AtomicI64,
    /// Something before this may be missing, because a part of an hour was dropped.
    whole_from_ms: AtomicI64,
    writing: Mutex<()>,
}

impl NeighbourIndex {
    /// An empty one.
    pub fn new(settings: IndexSettings) -> Self {
        Self {
            settings,
            kernel: Kernel::detect(),
            seed: RandomState::new(),
            models: RwLock::default(),
            bytes: AtomicUsize::new(0),
            floor_ms: AtomicI64::new(i64::MIN),
            whole_from_ms: AtomicI64::new(i64::MIN),
            writing: Mutex::default(),
        }
    }

    /// Takes a record of the embeddings topic. `now_ms` is milliseconds since 1970; a time of the record after it counts as `now_ms`.
    ///
    /// # Errors
    /// A record that is not as the schema says or has vectors of other lengths than its model's; nothing was changed then.
    pub fn apply(&self, record: &EmbeddingV1, now_ms: i64) -> Result<Applied, IndexError> {
        let post = Prepared::of(record, now_ms)?;
        let hash = self.hash(post.post_id);
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_hours_before(now_ms);
        let known = self.model(post.model);
        let held = known.as_ref().and_then(|model| model.posts.find(hash, post.post_id));
        if held.as_ref().is_some_and(|(segment, row)| segment.read().revision(*row) > post.revision) {
            return Ok(Applied::Stale);
        }
        let is_too_old =
            post.time_ms < self.floor_ms.load(Ordering::Relaxed) || hour_of(post.time_ms) < self.first_hour(now_ms);
        if let Some(model) = known.as_ref().filter(|_| !is_too_old) {
            model.check(&post)?;
        }
        let was_there = held.is_some();
        if let (Some(model), Some((segment, row))) = (&known, held) {
            self.changed(model.remove(&segment, row, hash, |id| self.hash(id)));
        }
        if is_too_old {
            self.drop_empty_models();
            return Ok(Applied::TooOld);
        }
        let model = known.map_or_else(|| self.add_model(post.model), Ok)?;
        self.changed(model.insert(&post, hash, |id| self.hash(id)));
        self.make_room();
        Ok(if was_there { Applied::Replaced } else { Applied::Added })
    }

    /// Takes a post out, under every model. Whether it was there under one.
    pub fn erase(&self, post_id: &str) -> bool {
        let hash = self.hash(post_id);
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut was_there = false;
        for model in self.models() {
            if let Some((segment, row)) = model.posts.find(hash, post_id) {
                self.changed(model.remove(&segment, row, hash, |id| self.hash(id)));
                was_there = true;
            }
        }
        if was_there {
            self.drop_empty_models();
        }
        was_there
    }

    /// Drops the hours that have left the window. [`apply`](Self::apply) does it too; this is for when nothing comes.
    pub fn expire(&self, now_ms: i64) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_hours_before(now_ms);
    }

    /// Whether a post is there under a model.
    pub fn contains(&self, post_id: &str, model: &str) -> bool {
        self.model(model).is_some_and(|model| model.posts.find(self.hash(post_id), post_id).is_some())
    }

    /// A vector of a post, `[dimensions]`, as long as it was within the rounding to f16; `None` where there is no such post or vector.
    pub fn vector_of(&self, post_id: &str, model: &str, kind: VectorKind) -> Option<Vec<f32>> {
        let (segment, row) = self.model(model)?.posts.find(self.hash(post_id), post_id)?;
        let rows = segment.read();
        // It may have been taken out since.
        if rows.meta(row).is_dead() {
            return None;
        }
        let vector = rows.vector(kind, row)?;
        Some(vector.components.iter().map(|component| component.to_f32() * vector.norm).collect())
    }

    /// The model that labelled last, of those at hand.
    pub fn newest_model(&self) -> Option<String> {
        self.models().into_iter().max_by_key(|model| model.newest_ms()).map(|model| model.name.to_string())
    }

    /// What the index has reserved, vectors, ids and tables.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn models(&self) -> Vec<Arc<ModelSet>> {
        self.lists().clone()
    }

    pub(crate) fn model(&self, name: &str) -> Option<Arc<ModelSet>> {
        self.lists().iter().find(|model| &*model.name == name).map(Arc::clone)
    }

    /// From when on nothing is missing that a model has: the beginning of its oldest hour, or later.
    pub(crate) fn reaches_back_to_ms(&self, model: &ModelSet) -> Option<i64> {
        let hour_ms = model.oldest_hour()?.saturating_mul(HOUR_MS);
        Some(hour_ms.max(self.whole_from_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn hash(&self, post_id: &str) -> u64 {
        self.seed.hash_one(post_id)
    }

    fn lists(&self) -> RwLockReadGuard<'_, Vec<Arc<ModelSet>>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_model(&self, name: &str) -> Result<Arc<ModelSet>, IndexError> {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if models.len() >= MAX_MODELS {
            return Err(IndexError::TooManyModels { max: MAX_MODELS });
        }
        let model = Arc::new(ModelSet::new(name));
        self.changed(model.own_bytes() as isize);
        models.push(Arc::clone(&model));
        Ok(model)
    }

    fn drop_empty_models(&self) {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        models.retain(|model| {
            let is_empty = model.oldest_hour().is_none();
            if is_empty {
                self.changed(-(model.own_bytes() as isize));
            }
            !is_empty
        });
    }

    fn first_hour(&self, now_ms: i64) -> i64 {
        hour_of(now_ms.saturating_sub(self.settings.window_ms))
    }

    fn drop_hours_before(&self, now_ms: i64) {
        let first = self.first_hour(now_ms);
        while let Some(hour) = self.oldest_hour().filter(|hour| *hour < first) {
            self.drop_hour(hour);
        }
    }

    fn oldest_hour(&self) -> Option<i64> {
        self.lists().iter().filter_map(|model| model.oldest_hour()).min()
    }

    fn drop_hour(&self, hour: i64) {
        for model in self.models() {
            let segments = model.segments_of(hour);
            for segment in &segments {
                self.changed(model.drop_segment(segment, |id| self.hash(id)));
            }
            if !segments.is_empty() {
                let before = model.posts.bytes();
                model.posts.shrink(|id| self.hash(id));
                self.changed(model.posts.bytes() as isize - before as isize);
            }
        }
        self.drop_empty_models();
    }

    /// Drops the oldest until what is there fits: whole hours, and of a single one whole segments.
    fn make_room(&self) {
        while self.bytes() > self.settings.max_bytes {
            let Some(oldest) = self.oldest_hour() else { return };
            let newest = self.lists().iter().filter_map(|model| model.newest_hour()).max();
            if newest > Some(oldest) {
                self.drop_hour(oldest);
                self.floor_ms.fetch_max((oldest + 1).saturating_mul(HOUR_MS), Ordering::Relaxed);
                continue;
            }
            let models = self.models();
            let largest = models.iter().max_by_key(|model| model.segments_of(oldest).len());
            let Some((model, segment)) =
                largest.and_then(|model| Some((model, model.segments_of(oldest).first()?.clone())))
            else {
                return;
            };
            if let Some(time_ms) = segment.read().newest_time_ms() {
                self.whole_from_ms.fetch_max(time_ms.saturating_add(1), Ordering::Relaxed);
            }
            self.changed(model.drop_segment(&segment, |id| self.hash(id)));
            self.drop_empty_models();
        }
    }

    fn changed(&self, bytes: isize) {
        // Only one thread writes at a time.
        self.bytes.store(self.bytes().saturating_add_signed(bytes), Ordering::Relaxed);
    }
}

fn hour_of(time_ms: i64) -> i64 {
    time_ms.div_euclid(HOUR_MS)
}
