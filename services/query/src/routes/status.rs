//! `GET /v1/status`: what the page's head shows.

use std::collections::BTreeMap;

use actix_web::web::Data;
use jtav_schemas::Label;
use jtav_telemetry::{Metric, global};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Answer, json};
use crate::App;

/// What has been labelled since the server started, and how the worker in the same process is, if there is one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// Version of the program.
    pub version: &'static str,
    /// Labels of each kind since the server began to look, those from memory's reach before included.
    pub counts: BTreeMap<&'static str, u64>,
    /// Of these, certain ones.
    pub certain: u64,
    /// Erasures.
    pub erasures: u64,
    /// Labels a second, over the last ten seconds.
    pub rate_per_second: f64,
    /// Whether this server refuses what costs networks.
    pub read_only: bool,
    /// Whether readers need a key.
    pub needs_key: bool,
    /// Whether a worker runs in the same process; without one `conservation` and `lag` are null.
    pub worker: bool,
    /// The law of conservation.
    pub conservation: Option<ConservationView>,
    /// Records that lie before the worker, by partition.
    pub lag: Option<BTreeMap<i32, i64>>,
    /// Why something does not answer, if it does not.
    pub problem: Option<String>,
    /// The index of neighbours; null where there is none.
    pub index: Option<IndexView>,
    /// The songs of image2song; null where there are none.
    pub songs: Option<SongsView>,
}

/// received = published + skipped + dead-lettered + erased + abandoned + in flight + gap.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConservationView {
    /// Records taken from the feed.
    pub received: u64,
    /// Labelled.
    pub published: u64,
    /// Nothing to do.
    pub skipped: u64,
    /// Set aside.
    pub dead_lettered: u64,
    /// Erased.
    pub erased: u64,
    /// Dropped; they come again.
    pub abandoned: u64,
    /// Inside.
    pub in_flight: u64,
    /// 0, or a post is lost or counted twice.
    pub gap: i64,
}

/// The index of neighbours.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IndexView {
    /// Whether it holds what was there when the server started.
    pub complete: bool,
    /// Posts in it, under the newest model.
    pub posts: u64,
    /// Bytes.
    pub bytes: u64,
    /// Oldest hour, milliseconds since 1970.
    pub reaches_back_to_ms: Option<i64>,
}

/// The songs of image2song.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SongsView {
    /// Songs that are ranked.
    pub count: usize,
    /// Whether the model was measured to be better than chance.
    pub above_chance: bool,
    /// What that means.
    pub note: Option<String>,
}

/// What has been labelled, and how things are.
#[utoipa::path(
    get, path = "/v1/status", tag = "operators", operation_id = "getStatus",
    responses((status = 200, description = "How things are", content_type = "application/json", body = ref("#/components/schemas/Status")))
)]
pub async fn get(app: Data<App>) -> Answer {
    let counts = Label::ALL.into_iter().map(|label| (label.as_str(), app.counts.of(label))).collect();
    let lag = app.worker.as_ref().and_then(jtav_feed_processor::Worker::running).map(|running| {
        let partitions = running.ingest.status.snapshot().partitions;
        partitions.into_iter().map(|partition| (partition.partition, partition.lag_records)).collect()
    });
    json(&Status {
        version: env!("CARGO_PKG_VERSION"),
        counts,
        certain: app.counts.certain(),
        erasures: app.counts.erasures(),
        rate_per_second: app.rate.per_second(),
        read_only: app.guard.is_read_only,
        needs_key: app.guard.needs_key(),
        worker: app.worker.is_some(),
        conservation: conservation(&app),
        lag,
        problem: app.unready(),
        index: index(&app),
        songs: songs(&app),
    })
}

fn songs(app: &App) -> Option<SongsView> {
    let songs = app.songs.as_ref()?;
    let note = Some(songs.note().to_owned()).filter(|note| !note.is_empty());
    Some(SongsView { count: songs.len(), above_chance: songs.above_chance(false), note })
}

fn index(app: &App) -> Option<IndexView> {
    let index = app.index.as_ref()?;
    let stats = index.stats();
    let newest = stats.first();
    Some(IndexView {
        complete: app.index_is_complete(),
        posts: newest.map_or(0, |model| model.posts),
        bytes: index.bytes() as u64,
        reaches_back_to_ms: newest.and_then(|model| model.reaches_back_to_ms),
    })
}

fn conservation(app: &App) -> Option<ConservationView> {
    let params = app.worker.as_ref()?.params();
    let in_flight = params.permits.in_flight();
    let outcomes = global().totals_by(Metric::Posts, "outcome");
    let of = |name: &str| outcomes.get(name).copied().unwrap_or_default() as u64;
    Some(ConservationView {
        received: params.conservation.received_count(),
        published: of("published"),
        skipped: of("skipped"),
        dead_lettered: of("dead_lettered"),
        erased: of("erased"),
        abandoned: of("abandoned"),
        in_flight: in_flight as u64,
        gap: params.conservation.gap(in_flight),
    })
}
