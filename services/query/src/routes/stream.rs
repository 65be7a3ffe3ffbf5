//! `GET /v1/stream`: labels and erasures as Server-Sent Events (WHATWG HTML, 9.2), from where a reader left.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures::stream::unfold;
use jtav_telemetry::{Metric, StreamEnd};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::Answer;
use crate::App;
use crate::catch_up::{CatchUp, Missed};
use crate::filter::{Filter, FilterQuery};
use crate::follow::{Cursor, Event, Resume};
use crate::guard::reader_of;
use crate::positions::Positions;
use crate::problem::Problem;
use crate::seats::Seat;

/// Without anything to tell, so often a sign of life with the position; a reader that went is noticed by the second.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A connection that takes nothing for so long is given up.
const STUCK: Duration = Duration::from_secs(30);
/// Pieces that wait for the connection.
const PIECES: usize = 4;
/// Events of one piece.
const EVENTS: usize = 64;
/// Events from before that a reader may ask for.
const MAX_RECENT: usize = 1_000;

/// Where a stream begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct StreamQuery {
    /// So many wanted events from before, at most 1000.
    #[param(minimum = 0, maximum = 1000)]
    pub recent: usize,
    /// The id of the last event that was seen, for clients that cannot set the header `Last-Event-ID`.
    #[param(example = "0:13,1:40", pattern = "^([0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*)?$")]
    pub last_event_id: Option<String>,
}

/// Labels and erasures as they are published.
#[utoipa::path(
    get, path = "/v1/stream", tag = "stream", operation_id = "stream",
    params(StreamQuery, FilterQuery, ("Last-Event-ID" = Option<String>, Header, pattern = "^([0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*)?$", description = "Where to go on: the id of the last event that was seen")),
    responses(
        (status = 200, description = "Events `label`, `erasure`, `gap`, `dropped`", content_type = "text/event-stream", body = String),
        (status = 429, description = "`too_many_streams`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn get(
    app: Data<App>,
    request: HttpRequest,
    query: Query<StreamQuery>,
    filter: Query<FilterQuery>,
) -> Answer {
    let filter = Filter::read(&filter).map_err(|what| Problem::bad_request("filter", what))?;
    if query.recent > MAX_RECENT {
        return Err(Problem::bad_request("recent", format!("recent is {}; at most {MAX_RECENT}", query.recent)));
    }
    // A browser that has seen no event sends the header empty.
    let said = |id: &&str| !id.trim().is_empty();
    let header = request.headers().get("last-event-id").map(HeaderValue::to_str).transpose();
    let unreadable = |_| Problem::bad_request("last_event_id", "the header Last-Event-ID is no text");
    let header = header.map_err(unreadable)?.filter(said);
    let last = header.or(query.last_event_id.as_deref().filter(said));
    let last = last.map(str::parse::<Positions>).transpose();
    let last = last.map_err(|error| Problem::bad_request("last_event_id", error.to_string()))?;
    if let Some(problem) = app.labels_health.problem() {
        return Err(Problem::unavailable("sentiment_topic_unreachable", problem, 2));
    }
    let seat = app.seats.take(reader_of(&request)).ok_or_else(|| {
        Problem::too_many(
            "too_many_streams",
            "as many streams are open as serve.max_streams or serve.max_streams_per_reader allow",
            5,
        )
    })?;
    let (pieces, taken) = mpsc::channel(PIECES);
    let recent = query.recent;
    actix_rt::spawn(async move {
        let reader = StreamReader { app, filter, pieces, seat };
        let end = reader.run(last, recent).await;
        Metric::stream_ends(end).inc();
    });
    let body = unfold(taken, async |mut taken: mpsc::Receiver<Bytes>| {
        let piece = taken.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), taken))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would hold events back.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(body))
}

/// Serves one stream until its reader goes, is too slow, or the server ends.
struct StreamReader {
    app: Data<App>,
    filter: Filter,
    pieces: mpsc::Sender<Bytes>,
    #[allow(dead_code, reason = "held for as long as the stream is")]
    seat: Seat,
}

impl StreamReader {
    async fn run(&self, last: Option<Positions>, recent: usize) -> StreamEnd {
        match self.serve(last, recent).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn serve(&self, last: Option<Positions>, recent: usize) -> Result<std::convert::Infallible, StreamEnd> {
        self.send("retry: 2000\n\n".to_owned()).await?;
        let mut cursor = match last {
            None => self.app.recent.live(&self.filter, recent),
            Some(last) => self.catch_up(last).await?,
        };
        let mut changes = self.app.recent.changes();
        let mut stopping = self.app.stopping.clone();
        loop {
            changes.mark_unchanged();
            let taken = self.app.recent.take(&mut cursor, &self.filter, EVENTS);
            if taken.is_lost {
                return Err(self.let_go("too_slow", &cursor.positions, StreamEnd::TooSlow).await);
            }
            if !taken.events.is_empty() {
                let mut piece = String::with_capacity(taken.events.len() * 2_048);
                for (event, after) in &taken.events {
                    write_event(&mut piece, event, after);
                }
                self.send(piece).await?;
            }
            if taken.has_more {
                continue;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = stopping.wait_for(|stopping| *stopping) => {
                    return Err(self.let_go("server_ends", &cursor.positions, StreamEnd::Shutdown).await);
                }
                () = self.pieces.closed() => return Err(StreamEnd::Gone),
                // The id moves on past what the filter holds back.
                () = tokio::time::sleep(HEARTBEAT) => self.send(format!(": alive\nid: {}\n\n", cursor.positions)).await?,
            }
        }
    }

    /// What came while the reader was away, from memory or from the topic, again and again until memory has the rest.
    async fn catch_up(&self, last: Positions) -> Result<Cursor, StreamEnd> {
        let mut at = self.not_ahead(last).await?;
        loop {
            let until = match self.app.recent.resume(&at) {
                Resume::Memory(cursor) => return Ok(cursor),
                Resume::Log { until } => until,
            };
            let Some(mut missed) = CatchUp::start(&self.app.catch_ups, &self.app.sentiment, &at, &until).await else {
                return Err(self.let_go("catch_up_unavailable", &at, StreamEnd::Unreadable).await);
            };
            while let Some(next) = missed.next().await {
                match next {
                    Missed::Record { partition, offset, event } => {
                        at.pass(partition, offset);
                        let is_wanted = |event: &Arc<Event>| {
                            event.is_wanted(&self.filter) && !self.app.recent.is_erased_after(event)
                        };
                        if let Some(event) = event.filter(is_wanted) {
                            let mut piece = String::new();
                            write_event(&mut piece, &event, &at);
                            self.send(piece).await?;
                        }
                    }
                    Missed::Gap { partition, from, to } => {
                        at.0.insert(partition, to);
                        self.gap("past_retention", partition, from, to, &at).await?;
                    }
                    Missed::Failed(error) => {
                        tracing::warn!(%error, "a reader's missed events cannot be read");
                        return Err(self.let_go("catch_up_unavailable", &at, StreamEnd::Unreadable).await);
                    }
                }
            }
            // Most often memory has the rest by now.
            at = until;
        }
    }

    /// A position beyond the topic is one of a topic that was made anew: it goes on at the end of this one.
    async fn not_ahead(&self, mut last: Positions) -> Result<Positions, StreamEnd> {
        let head = self.app.recent.head();
        let ahead: Vec<(i32, i64, i64)> = last
            .0
            .iter()
            .filter_map(|(partition, offset)| {
                let end = head.next(*partition);
                (*offset > end).then_some((*partition, *offset, end))
            })
            .collect();
        for (partition, from, to) in ahead {
            last.0.insert(partition, to);
            self.gap("ahead_of_topic", partition, from, to, &last).await?;
        }
        last.0.retain(|partition, _| head.0.contains_key(partition));
        Ok(last)
    }

    async fn gap(&self, reason: &str, partition: i32, from: i64, to: i64, at: &Positions) -> Result<(), StreamEnd> {
        let data = json!({ "reason": reason, "partition": partition, "from": from, "to": to });
        self.send(format!("id: {at}\nevent: gap\ndata: {data}\n\n")).await
    }

    /// Tells the reader why it is let go, and where to go on.
    async fn let_go(&self, reason: &str, at: &Positions, end: StreamEnd) -> StreamEnd {
        let data = json!({ "reason": reason, "resume_from": at.to_string() });
        let _ = self.send(format!("id: {at}\nevent: dropped\ndata: {data}\n\n")).await;
        end
    }

    async fn send(&self, piece: String) -> Result<(), StreamEnd> {
        match tokio::time::timeout(STUCK, self.pieces.send(Bytes::from(piece))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(StreamEnd::Gone),
            Err(_) => Err(StreamEnd::Stuck),
        }
    }
}

fn write_event(piece: &mut String, event: &Arc<Event>, after: &Positions) {
    use std::fmt::Write as _;
    // JSON is UTF-8, and has no line break where it stands in one line.
    let data = String::from_utf8_lossy(&event.data);
    let _ = write!(piece, "id: {after}\nevent: {}\ndata: {data}\n\n", event.name());
}
