//! `picture.png`, `sound.wav`, `spectrogram.png` of a post: what the networks saw and heard, drawn anew. The bytes of strangers
//! are never passed on.

use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Path, Query};
use jtav_explain::{ExplainError, Lens, MAX_BLUR_PX, SpectrogramDrawer, picture_png, wav};
use jtav_schemas::{Decoded, Modality, Pcm, PostV1, RgbImage};
use jtav_signal::constants::SAMPLE_RATE_HZ;
use jtav_store::Source;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Answer;
use super::explanation::explain;
use super::posts::{PostView, find};
use crate::App;
use crate::content::{Content, ContentMissing};
use crate::media_room::MediumError;
use crate::problem::Problem;

/// Kernels of the transform are made once.
static DRAWER: LazyLock<SpectrogramDrawer> = LazyLock::new(SpectrogramDrawer::new);

/// What is drawn over a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlay {
    /// The cells or seconds that weighed.
    Attention,
    /// Nothing.
    None,
}

/// How a medium is shown.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MediaQuery {
    /// The model whose label is meant; without one, that which labelled the post last.
    #[serde(default)]
    pub model: Option<String>,
    /// `attention` or `none`.
    #[serde(default)]
    #[param(inline)]
    pub overlay: Option<Overlay>,
    /// `false` leaves axes and marks out: for a page that lays its own over it.
    #[serde(default)]
    pub axes: Option<bool>,
    /// Pixels of blur, 0 to 40.
    #[serde(default)]
    #[param(minimum = 0, maximum = 40)]
    pub blur: Option<f32>,
    /// Without colours.
    #[serde(default)]
    pub grey: bool,
}

impl MediaQuery {
    /// Looked at for sounds, too: what is wrong is said, whether it would have been used or not.
    fn blur_px(&self) -> Result<f32, Problem> {
        let blur_px = self.blur.unwrap_or(0.0);
        if !(0.0..=MAX_BLUR_PX).contains(&blur_px) {
            return Err(Problem::bad_request("blur", format!("blur is {blur_px}; give 0 to {MAX_BLUR_PX}")));
        }
        Ok(blur_px)
    }
}

/// The picture of a post as the network saw it: its centre square, 448 pixels wide.
#[utoipa::path(
    get, path = "/v1/posts/{id}/picture.png", tag = "posts", operation_id = "getPicture",
    params(("id" = String, Path, description = "Id of the post, percent-encoded"), MediaQuery),
    responses(
        (status = 200, description = "A PNG of ours", content_type = "image/png", body = Vec<u8>),
        (status = 404, description = "`unknown_or_lapsed`, `no_picture`, `past_retention`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`erased`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 502, description = "`medium_unavailable`, with `absent_reason`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn picture(app: Data<App>, id: Path<String>, query: Query<MediaQuery>) -> Answer {
    let blur_px = query.blur_px()?;
    let (view, post) = post_of(&app, &id, query.model.as_deref()).await?;
    let cells = match query.overlay {
        Some(Overlay::Attention) => explain(&view, None)?.cells,
        _ => Vec::new(),
    };
    let Decoded::Image(RgbImage { width, pixels, .. }) = medium(&app, &post, Modality::Image).await? else {
        return Err(missing(MediumError::None, Modality::Image));
    };
    let lens = Lens { blur_px, is_grey: query.grey };
    draw(&app, "image/png", move || picture_png(&pixels, width as usize, &cells, lens)).await
}

/// The clip of a post as the network heard it: 22,050 Hz, mono, 16 bits, at most `media.analysed_audio_seconds` of it.
#[utoipa::path(
    get, path = "/v1/posts/{id}/sound.wav", tag = "posts", operation_id = "getSound",
    params(("id" = String, Path, description = "Id of the post, percent-encoded"), MediaQuery),
    responses(
        (status = 200, description = "A WAV of ours", content_type = "audio/wav", body = Vec<u8>),
        (status = 404, description = "`unknown_or_lapsed`, `no_sound`, `past_retention`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`erased`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 502, description = "`medium_unavailable`, with `absent_reason`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn sound(app: Data<App>, id: Path<String>, query: Query<MediaQuery>) -> Answer {
    query.blur_px()?;
    let (_, post) = post_of(&app, &id, query.model.as_deref()).await?;
    let pcm = heard(&app, &post).await?;
    draw(&app, "audio/wav", move || wav(&pcm.samples, pcm.sample_rate_hz)).await
}

/// The clip of a post as the network reads it, over time and frequency.
#[utoipa::path(
    get, path = "/v1/posts/{id}/spectrogram.png", tag = "posts", operation_id = "getSpectrogram",
    params(("id" = String, Path, description = "Id of the post, percent-encoded"), MediaQuery),
    responses(
        (status = 200, description = "A PNG of ours", content_type = "image/png", body = Vec<u8>),
        (status = 404, description = "`unknown_or_lapsed`, `no_sound`, `past_retention`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 410, description = "`erased`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
        (status = 502, description = "`medium_unavailable`, with `absent_reason`", content_type = "application/problem+json", body = ref("#/components/schemas/Problem")),
    )
)]
pub async fn spectrogram(app: Data<App>, id: Path<String>, query: Query<MediaQuery>) -> Answer {
    query.blur_px()?;
    let (view, post) = post_of(&app, &id, query.model.as_deref()).await?;
    let seconds = match query.overlay {
        Some(Overlay::Attention) => explain(&view, None)?.seconds,
        _ => Vec::new(),
    };
    let (pcm, axes) = (heard(&app, &post).await?, query.axes.unwrap_or(true));
    draw(&app, "image/png", move || {
        // A GPU takes clips at their own rate.
        let samples = jtav_signal::resample(&pcm.samples, pcm.sample_rate_hz, SAMPLE_RATE_HZ)?;
        match axes {
            true => DRAWER.png(&samples, "", &seconds),
            false => DRAWER.strip(&samples),
        }
    })
    .await
}

async fn heard(app: &App, post: &Arc<PostV1>) -> Result<Pcm, Problem> {
    match medium(app, post, Modality::Audio).await? {
        Decoded::Audio(pcm) => Ok(pcm),
        Decoded::Image(_) => Err(missing(MediumError::None, Modality::Audio)),
    }
}

async fn post_of(app: &App, id: &str, model: Option<&str>) -> Result<(PostView, Arc<PostV1>), Problem> {
    let view = find(app, id, model).await?;
    let source = Source { partition: view.source.partition, offset: view.source.offset };
    let post = app.content.post(id, source).await.map_err(no_content)?;
    Ok((view, post))
}

fn no_content(content: Content) -> Problem {
    match content {
        Content::Unavailable { reason: ContentMissing::InputTopicUnreachable, detail } => {
            Problem::unavailable("input_topic_unreachable", detail, 2)
        }
        Content::Unavailable { reason: ContentMissing::Replaced, detail } => Problem::not_found("replaced", detail),
        Content::Unavailable { detail, .. } => Problem::not_found("past_retention", detail),
        Content::Available { .. } => Problem::internal("content that is there"),
    }
}

async fn medium(app: &App, post: &Arc<PostV1>, modality: Modality) -> Result<Decoded, Problem> {
    app.media.medium(post, modality).await.map_err(|error| missing(error, modality))
}

fn missing(error: MediumError, modality: Modality) -> Problem {
    match error {
        MediumError::Busy => Problem::too_many("busy", error.to_string(), 1),
        MediumError::None if modality == Modality::Image => Problem::not_found("no_picture", "the post has no picture"),
        MediumError::None => Problem::not_found("no_sound", "the post has no clip"),
        MediumError::Absent(reason) => {
            Problem::bad_gateway("medium_unavailable", error.to_string()).with("absent_reason", reason.as_str())
        }
        MediumError::Erased => Problem::erased(),
        MediumError::Failed(error) => Problem::unavailable("decoder_failed", error.to_string(), 2),
    }
}

/// Draws beside the threads that answer, as many at once as media may be on their way.
async fn draw<F>(app: &App, media_type: &'static str, draw: F) -> Answer
where
    F: FnOnce() -> Result<Vec<u8>, ExplainError> + Send + 'static,
{
    let turn = Arc::clone(&app.drawings).try_acquire_owned();
    let turn =
        turn.map_err(|_| Problem::too_many("busy", "as many pictures are drawn as serve.max_media allows", 1))?;
    let drawn = tokio::task::spawn_blocking(move || {
        let drawn = draw();
        drop(turn);
        drawn
    });
    let bytes = drawn.await.map_err(|error| Problem::internal(error.to_string()))?;
    let bytes = bytes.map_err(|error| Problem::unprocessable("cannot_be_drawn", error.to_string()))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, media_type)).body(bytes))
}
