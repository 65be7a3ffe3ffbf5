//! `POST /v1/retrieve/image2song`: a picture in, ranked clips out (the paper's second task, section 4.4).

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload, Query};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::label::problem;
use super::{Answer, json};
use crate::App;
use crate::problem::Problem;

/// Songs of one answer.
const MAX_K: usize = 100;

/// How many songs, and what stands under the picture.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub struct SongsQuery {
    /// How many, 1 to 100; 10 without it.
    #[param(minimum = 1, maximum = 100)]
    pub k: Option<usize>,
    /// The picture's caption, where it has one.
    pub caption: Option<String>,
}

/// A song in a ranking.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SongView {
    /// Identity in the catalogue.
    pub id: String,
    /// For people.
    pub title: Option<String>,
    /// Cosine of picture and song, -1 to 1: no probability.
    pub score: f32,
    /// From 1.
    pub rank: usize,
}

/// Songs for a picture.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SongsAnswer {
    /// The towers that ranked them.
    pub model: String,
    /// Whether these were measured to rank better than chance.
    pub above_chance: bool,
    /// What whoever reads a ranking has to know.
    pub note: Option<String>,
    /// Best first.
    pub songs: Vec<SongView>,
}

/// The songs of the catalogue that go with a picture. The picture is decoded in the sandbox, looked at, and not kept.
#[utoipa::path(
    post, path = "/v1/retrieve/image2song", tag = "vectors", operation_id = "image2song",
    params(SongsQuery),
    request_body(content(("image/png"), ("image/jpeg"), ("image/webp"), ("image/gif")), description = "The bytes of a picture"),
    responses(
        (status = 200, description = "Best first", content_type = "application/json", body = ref("#/components/schemas/SongsAnswer")),
        (status = 404, description = "`no_songs`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 413, description = "`too_large`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 415, description = "`media_type`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 422, description = "`picture`, with `absent_reason`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn image2song(app: Data<App>, request: HttpRequest, query: Query<SongsQuery>, payload: Payload) -> Answer {
    let k = query.k.unwrap_or(10);
    if !(1..=MAX_K).contains(&k) {
        return Err(Problem::bad_request("k", format!("k is {k}; give 1 to {MAX_K}")));
    }
    let named = request.headers().get(CONTENT_TYPE).and_then(|named| named.to_str().ok()).unwrap_or_default();
    if !named.starts_with("image/") {
        return Err(Problem::media_type(
            "send the bytes of a picture with `Content-Type: image/png`, or another picture's",
        ));
    }
    let Some(songs) = app.songs.clone() else {
        return Err(Problem::not_found(
            "no_songs",
            "this server has no songs; `jtav index songs DIR` makes a catalogue",
        ));
    };
    let Some(judge) = &app.judge else {
        return Err(Problem::unavailable("no_networks", "this server has no networks; set serve.networks = true", 60));
    };
    let body = app.bodies.picture(&request, payload).await?;
    let image = judge.encode_image(body.bytes.clone()).await.map_err(|error| problem(&error))?;
    let caption = match query.caption.clone().filter(|caption| !caption.trim().is_empty()) {
        Some(caption) => judge.encode_caption(caption).await.map_err(|error| problem(&error))?,
        None => None,
    };
    let has_caption = caption.is_some();
    let ranked = tokio::task::spawn_blocking(move || {
        let ranked = songs.rank(&image, caption.as_deref(), k);
        ranked.map(|ranked| (ranked, songs))
    });
    let ranked = ranked.await.map_err(|error| Problem::internal(error.to_string()))?;
    let (ranked, songs) = ranked.map_err(|error| Problem::internal(error.to_string()))?;
    let view = |song: jtav_model::retrieval::RankedSong| SongView {
        id: song.id,
        title: song.title,
        score: song.score,
        rank: song.rank,
    };
    json(&SongsAnswer {
        model: songs.model(),
        above_chance: songs.above_chance(has_caption),
        note: Some(songs.note().to_owned()).filter(|note| !note.is_empty()),
        songs: ranked.into_iter().map(view).collect(),
    })
}
