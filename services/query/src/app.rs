//! What the routes share.

use std::sync::Arc;
use std::time::Instant;

use jtav_feed_processor::{StoreWatch, Worker};
use jtav_model::retrieval::SongRetriever;
use jtav_neighbours::{NeighbourIndex, VectorKind};
use jtav_pipeline::now_ms;
use jtav_settings::Settings;
use jtav_store::{Store, VectorIndex};
use jtav_telemetry::{FollowedTopic, Metric, QueryRoom, VectorName};
use tokio::sync::{Semaphore, watch};

use crate::bodies::Bodies;
use crate::catch_up::SentimentTopic;
use crate::content::ContentReader;
use crate::follow::{Counts, Recent, TopicHealth};
use crate::guard::Guard;
use crate::judge::Judge;
use crate::media_room::MediaRoom;
use crate::problem::Problem;
use crate::rate::Rate;
use crate::seats::Seats;

/// What the routes share. Cheap to share, never changed.
pub struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) store_watch: StoreWatch,
    pub(crate) bodies: Bodies,
    pub(crate) content: ContentReader,
    pub(crate) media: MediaRoom,
    pub(crate) drawings: Arc<Semaphore>,
    pub(crate) judge: Option<Judge>,
    pub(crate) songs: Option<Arc<SongRetriever>>,
    pub(crate) index: Option<Arc<NeighbourIndex>>,
    pub(crate) vectors: Option<Arc<dyn VectorIndex>>,
    pub(crate) vectors_health: Arc<TopicHealth>,
    pub(crate) searches: Arc<Semaphore>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) rate: Arc<Rate>,
    pub(crate) labels_health: Arc<TopicHealth>,
    pub(crate) sentiment: SentimentTopic,
    pub(crate) catch_ups: Arc<Semaphore>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) guard: Arc<Guard>,
    /// Of this server's own networks.
    pub(crate) model_version: Option<Arc<str>>,
    pub(crate) worker: Option<Worker>,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl App {
    /// Why the server is not ready, if it is not. Answered from memory.
    pub fn unready(&self) -> Option<String> {
        let store = self.store_watch.problem(Instant::now());
        let labels = || self.labels_health.problem().map(|problem| format!("sentiment topic: {problem}"));
        let vectors = || {
            let problem = self.index.as_ref().and_then(|_| self.vectors_health.problem());
            problem.map(|problem| format!("embeddings topic: {problem}"))
        };
        store.or_else(labels).or_else(vectors)
    }

    /// Whether the index holds what was there at the start; true where there is none.
    pub fn index_is_complete(&self) -> bool {
        self.index.is_none() || self.vectors_health.has_caught_up()
    }

    /// The index, once it can be asked.
    pub(crate) fn ready_index(&self) -> Result<Arc<NeighbourIndex>, Problem> {
        let index = self
            .index
            .as_ref()
            .ok_or_else(|| Problem::not_found("no_index", "this server has no index; set index.max_bytes above 0"))?;
        if !self.index_is_complete() {
            return Err(Problem::unavailable(
                "index_loading",
                "the index is being filled from the embeddings topic",
                2,
            ));
        }
        Ok(Arc::clone(index))
    }

    /// Gauges that are read when they are asked for.
    pub(crate) fn refresh_metrics(&self) {
        let following = |health: &TopicHealth| if health.problem().is_none() { 1.0 } else { 0.0 };
        Metric::query_ready().set(if self.unready().is_none() { 1.0 } else { 0.0 });
        Metric::query_places(QueryRoom::Media).set(self.media.in_flight() as f64);
        if let Some(judge) = &self.judge {
            Metric::query_places(QueryRoom::Label).set(judge.in_flight() as f64);
        }
        Metric::following_topic(FollowedTopic::Sentiment).set(following(&self.labels_health));
        let Some(index) = &self.index else { return };
        Metric::following_topic(FollowedTopic::Embeddings).set(following(&self.vectors_health));
        Metric::index_complete().set(if self.index_is_complete() { 1.0 } else { 0.0 });
        Metric::index_bytes().set(index.bytes() as f64);
        let stats = index.stats();
        for (kind, name) in VECTOR_NAMES {
            let of_kind = stats.iter().flat_map(|model| &model.kinds).filter(|stats| stats.kind == kind);
            Metric::index_vectors(name).set(of_kind.map(|stats| stats.count).sum::<u64>() as f64);
        }
        let reach = stats.first().and_then(|model| model.reaches_back_to_ms);
        let age_ms = reach.map_or(0, |since| now_ms().saturating_sub(since));
        Metric::index_reach().set(age_ms as f64 / 1_000.0);
    }
}

const VECTOR_NAMES: [(VectorKind, VectorName); VectorKind::ALL.len()] = [
    (VectorKind::Semantic, VectorName::Semantic),
    (VectorKind::U, VectorName::U),
    (VectorKind::Text, VectorName::Text),
    (VectorKind::Audio, VectorName::Audio),
    (VectorKind::Image, VectorName::Image),
];
