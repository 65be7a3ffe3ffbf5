use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};

use crate::types::ttl_ms;
use crate::{Applied, Clock, Found, FoundLabel, LabelWrite, Standing, Store, StoreError, StoredLabel, SystemClock};

/// Redis's twin in memory, for the demo and for tests: the same answers, nothing kept after the process.
#[derive(Clone)]
pub struct EmbeddedStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    max_labels: usize,
}

/// When a key lapses; the number tells apart those that lapse together.
type Lapse = (u64, u64);

#[derive(Default)]
struct State {
    posts: HashMap<String, Post>,
    label_lapses: BTreeMap<Lapse, (String, String)>,
    marker_lapses: BTreeMap<Lapse, String>,
    next_number: u64,
    evicted: u64,
}

#[derive(Default)]
struct Post {
    labels: HashMap<String, (StoredLabel, Lapse)>,
    erased: Option<Lapse>,
}

impl Default for EmbeddedStore {
    fn default() -> Self {
        Self::new()
    }
}

impl EmbeddedStore {
    /// Unbounded, by the system's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// Unbounded, by `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { state: Arc::default(), clock, max_labels: usize::MAX }
    }

    /// Holds at most `max_labels` labels, at least 1; the ones next to lapse give way. Erasure markers do not count
    /// and never give way: a post must not come back because the store is full.
    pub fn bounded(mut self, max_labels: usize) -> Self {
        self.max_labels = max_labels.max(1);
        self
    }

    /// Labels held.
    pub fn len(&self) -> usize {
        self.lock().label_lapses.len()
    }

    /// True if no label is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Labels that gave way to the bound.
    pub fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    /// The state without what has lapsed.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.drop_lapsed(self.clock.now_ms());
        state
    }
}

impl State {
    fn lapse(&mut self, now_ms: u64, ttl: Duration) -> Lapse {
        self.next_number += 1;
        (now_ms.saturating_add(ttl_ms(ttl)), self.next_number)
    }

    fn drop_lapsed(&mut self, now_ms: u64) {
        while self.label_lapses.first_key_value().is_some_and(|((at, _), _)| *at <= now_ms) {
            self.drop_first_label();
        }
        while let Some(entry) = self.marker_lapses.first_entry().filter(|entry| entry.key().0 <= now_ms) {
            let post_id = entry.remove();
            if let Some(post) = self.posts.get_mut(&post_id) {
                post.erased = None;
            }
            self.drop_if_empty(&post_id);
        }
    }

    fn drop_first_label(&mut self) {
        if let Some((_, (post_id, model_version))) = self.label_lapses.pop_first() {
            if let Some(post) = self.posts.get_mut(&post_id) {
                post.labels.remove(&model_version);
            }
            self.drop_if_empty(&post_id);
        }
    }

    fn drop_if_empty(&mut self, post_id: &str) {
        if self.posts.get(post_id).is_some_and(|post| post.labels.is_empty() && post.erased.is_none()) {
            self.posts.remove(post_id);
        }
    }

    fn apply(&mut self, write: &LabelWrite, now_ms: u64) -> Applied {
        let lapse = self.lapse(now_ms, write.ttl);
        let post = self.posts.entry(write.post_id.clone()).or_default();
        if post.erased.is_some() {
            return Applied::Erased;
        }
        if let Some((held, old_lapse)) = post.labels.get(&write.model_version) {
            match (write.revision, write.source).cmp(&(held.revision, held.source)) {
                std::cmp::Ordering::Less => return Applied::Stale,
                std::cmp::Ordering::Equal => return Applied::Same,
                std::cmp::Ordering::Greater => self.label_lapses.remove(old_lapse),
            };
        }
        post.labels.insert(write.model_version.clone(), (write.into(), lapse));
        self.label_lapses.insert(lapse, (write.post_id.clone(), write.model_version.clone()));
        Applied::Written
    }

    fn find(&self, post_id: &str, model_version: Option<&str>) -> Found {
        let Some(post) = self.posts.get(post_id) else { return Found::Unknown { models: Vec::new() } };
        if post.erased.is_some() {
            return Found::Erased;
        }
        let models = post.labels.keys().cloned().collect();
        let found = match model_version {
            Some(model) => post.labels.get_key_value(model),
            None => post.labels.iter().max_by_key(|(_, (label, _))| label.labelled_at_ms),
        };
        let Some((model_version, (label, _))) = found else { return Found::Unknown { models } };
        Found::Label(Box::new(FoundLabel {
            model_version: model_version.clone(),
            revision: label.revision,
            source: label.source,
            sentiment_json: label.sentiment_json.clone(),
            models,
        }))
    }

    fn erase(&mut self, post_id: &str, ttl: Duration, now_ms: u64) -> u32 {
        let lapse = self.lapse(now_ms, ttl);
        let post = self.posts.entry(post_id.to_owned()).or_default();
        let labels = std::mem::take(&mut post.labels);
        if let Some(old_lapse) = post.erased.replace(lapse) {
            self.marker_lapses.remove(&old_lapse);
        }
        self.marker_lapses.insert(lapse, post_id.to_owned());
        for (_, lapse) in labels.values() {
            self.label_lapses.remove(lapse);
        }
        labels.len() as u32
    }
}

impl Store for EmbeddedStore {
    fn apply(&self, write: &LabelWrite) -> BoxFuture<'static, Result<Applied, StoreError>> {
        let applied = write.check().map(|()| {
            let mut state = self.lock();
            let applied = state.apply(write, self.clock.now_ms());
            while state.label_lapses.len() > self.max_labels {
                state.drop_first_label();
                state.evicted += 1;
            }
            applied
        });
        ready(applied).boxed()
    }

    fn erase(&self, post_id: &str, _revision: u64, ttl: Duration) -> BoxFuture<'static, Result<u32, StoreError>> {
        ready(Ok(self.lock().erase(post_id, ttl, self.clock.now_ms()))).boxed()
    }

    fn read(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Option<StoredLabel>, StoreError>> {
        let state = self.lock();
        let stored = state.posts.get(post_id).and_then(|post| post.labels.get(model_version));
        ready(Ok(stored.map(|(label, _)| label.clone()))).boxed()
    }

    fn look_up(
        &self,
        post_ids: &[String],
        model_version: Option<&str>,
    ) -> BoxFuture<'static, Result<Vec<Result<Found, StoreError>>, StoreError>> {
        let state = self.lock();
        ready(Ok(post_ids.iter().map(|post_id| Ok(state.find(post_id, model_version))).collect())).boxed()
    }

    fn standing(&self, post_id: &str, model_version: &str) -> BoxFuture<'static, Result<Standing, StoreError>> {
        let state = self.lock();
        let standing = state.posts.get(post_id).map_or_else(Standing::default, |post| Standing {
            erased: post.erased.is_some(),
            newest: post.labels.get(model_version).map(|(label, _)| (label.revision, label.source)),
        });
        ready(Ok(standing)).boxed()
    }

    fn is_erased(&self, post_id: &str) -> BoxFuture<'static, Result<bool, StoreError>> {
        ready(Ok(self.lock().posts.get(post_id).is_some_and(|post| post.erased.is_some()))).boxed()
    }

    fn ping(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use bytes::Bytes;
    use jtav_schemas::{Label, PerModality, Probabilities};

    fn write(post_id: &str, offset: i64) -> LabelWrite {
        LabelWrite {
            post_id: post_id.to_owned(),
            revision: 0,
            source: Source { partition: 0, offset },
            model_version: "m".to_owned(),
            event_id: String::new(),
            label: Label::Negative,
            certain: false,
            probabilities: Probabilities { negative: 0.9, neutral: 0.0, positive: 0.1 },
            valence: -0.8,
            probability: 0.1,
            lang: None,
            sentiment_json: Bytes::new(),
            u: Bytes::from_static(&[0, 60]),
            modalities: PerModality::default(),
            semantic: None,
            labelled_at_ms: 0,
            ttl: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_full_store_drops_the_label_next_to_lapse_and_never_a_marker() {
        let clock = Arc::new(crate::ManualClock::default());
        let store = EmbeddedStore::with_clock(clock.clone()).bounded(2);
        futures::executor::block_on(async {
            store.erase("gone", 0, Duration::from_secs(1)).await.unwrap();
            for (at, id) in ["a", "b", "a", "c"].iter().enumerate() {
                store.apply(&write(id, at as i64)).await.unwrap();
                clock.advance(Duration::from_millis(1));
            }
            assert_eq!((store.len(), store.evicted()), (2, 1));
            assert!(store.read("b", "m").await.unwrap().is_none(), "`a` was refreshed, so `b` gave way");
            assert!(store.is_erased("gone").await.unwrap());
        });
    }

    #[test]
    fn nothing_is_kept_of_posts_that_lapsed() {
        let clock = Arc::new(crate::ManualClock::default());
        let store = EmbeddedStore::with_clock(clock.clone());
        futures::executor::block_on(async {
            for id in 0..100 {
                store.apply(&write(&id.to_string(), 0)).await.unwrap();
                store.erase(&format!("x{id}"), 0, Duration::from_secs(60)).await.unwrap();
            }
            clock.advance(Duration::from_secs(60));
            assert!(store.is_empty());
            let state = store.lock();
            assert_eq!((state.posts.len(), state.label_lapses.len(), state.marker_lapses.len()), (0, 0, 0));
        });
    }
}
