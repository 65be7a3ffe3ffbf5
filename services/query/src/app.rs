//! What the routes share.

use std::sync::Arc;

use jtav_feed_processor::Worker;
use jtav_settings::Settings;
use jtav_store::Store;
use jtav_telemetry::{FollowedTopic, Metric};
use tokio::sync::{Semaphore, watch};

use crate::catch_up::SentimentTopic;
use crate::content::ContentReader;
use crate::follow::{Counts, Recent, TopicHealth};
use crate::guard::Guard;
use crate::rate::Rate;
use crate::routes::models::ModelView;
use crate::routes::status::{IndexView, SongsView};
use crate::seats::Seats;
use crate::store_health::StoreHealth;

/// What the routes share. Cheap to share, never changed.
pub struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) store_health: Arc<StoreHealth>,
    pub(crate) content: ContentReader,
    pub(crate) recent: Arc<Recent>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) rate: Arc<Rate>,
    pub(crate) labels_health: Arc<TopicHealth>,
    pub(crate) sentiment: SentimentTopic,
    pub(crate) catch_ups: Arc<Semaphore>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) worker: Option<Worker>,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl App {
    /// Why the server is not ready, if it is not. Answered from memory.
    pub fn unready(&self) -> Option<String> {
        let store = self.store_health.problem().map(|problem| format!("store: {problem}"));
        store.or_else(|| self.labels_health.problem().map(|problem| format!("sentiment topic: {problem}")))
    }

    /// Whether the index holds what was there at the start; true where there is none.
    pub fn index_is_complete(&self) -> bool {
        true
    }

    pub(crate) fn index_view(&self) -> Option<IndexView> {
        None
    }

    pub(crate) fn songs_view(&self) -> Option<SongsView> {
        None
    }

    pub(crate) fn models(&self) -> Vec<ModelView> {
        Vec::new()
    }

    /// Gauges that are read when they are asked for.
    pub(crate) fn refresh_metrics(&self) {
        let following = |is_well: bool| if is_well { 1.0 } else { 0.0 };
        Metric::following_topic(FollowedTopic::Sentiment).set(following(self.labels_health.problem().is_none()));
    }
}
