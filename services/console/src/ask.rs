//! What a server knows of a post.

use jtav_explain::{Explanation, id_in_path, is_path_segment};
use jtav_schemas::{Label, Modality, SentimentV1, TextPart};
use serde::Deserialize;
use serde_json::json;

use crate::error::{ConsoleError, Refusal};
use crate::explain::{Near, Nearby, Shown, Texts};
use crate::server::Server;

/// Neighbours that are shown.
const NEIGHBOURS: usize = 5;
/// As the page veils a picture.
const VEIL: &str = "&blur=28&grey=true";

#[derive(Deserialize)]
struct PostAnswer {
    source: SourceAnswer,
    sentiment: SentimentV1,
    content: Option<ContentAnswer>,
}

#[derive(Deserialize)]
struct SourceAnswer {
    partition: i32,
    offset: i64,
}

#[derive(Deserialize)]
struct ContentAnswer {
    #[serde(default)]
    texts: Option<Vec<TextPart>>,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Deserialize)]
struct NeighboursAnswer {
    searched: u64,
    reaches_back_to_ms: Option<i64>,
    neighbours: Vec<NeighbourAnswer>,
}

#[derive(Deserialize)]
struct NeighbourAnswer {
    post_id: String,
    similarity: f32,
    label: Label,
    certain: bool,
}

#[derive(Deserialize)]
struct BatchAnswer {
    posts: Vec<BatchItem>,
}

#[derive(Deserialize)]
struct BatchItem {
    post_id: String,
    post: Option<BatchPost>,
}

#[derive(Deserialize)]
struct BatchPost {
    content: Option<ContentAnswer>,
}

/// What is asked of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The reasons alone.
    Reasons,
    /// And the posts that are like it.
    WithNeighbours,
}

/// A post with its reasons, from one record. Neighbours that cannot be had are no failure: it says why.
///
/// # Errors
/// The server is away, or knows no such post.
pub async fn shown(server: &Server, post_id: &str, asked: Asked) -> Result<Shown, ConsoleError> {
    let path = path_of(server, post_id)?;
    let answer: PostAnswer = server.json(&format!("{path}?content=true")).await.map_err(with_advice)?;
    let texts = match answer.content {
        Some(ContentAnswer { texts: Some(texts), .. }) => Texts::Known(texts),
        Some(ContentAnswer { detail: Some(detail), .. }) => Texts::Missing(detail),
        _ => Texts::Missing("The text is not kept with the label.".to_owned()),
    };
    let mut shown = Shown::of(&answer.sentiment, texts);
    shown.source = Some((answer.source.partition, answer.source.offset));
    if asked == Asked::WithNeighbours {
        shown.nearby = neighbours(server, &path, &shown.explanation).await;
    }
    Ok(shown)
}

fn path_of(server: &Server, post_id: &str) -> Result<String, ConsoleError> {
    if is_path_segment(post_id) {
        return Ok(format!("/v1/posts/{}", id_in_path(post_id)));
    }
    let detail = "an empty id, or one of dots alone, cannot be asked for by its address".to_owned();
    let (server, reason) = (server.address(), "no_address".to_owned());
    Err(ConsoleError::Refused(Box::new(Refusal { server, status: 400, reason, detail, ..Refusal::default() })))
}

/// An id that is not known is the commonest failure.
fn with_advice(error: ConsoleError) -> ConsoleError {
    match error {
        ConsoleError::Refused(mut refusal) if refusal.status == 404 => {
            refusal
                .detail
                .push_str("; `jtav tap --recent 20` lists the last ids, and --file takes a file of that name");
            ConsoleError::Refused(refusal)
        }
        error => error,
    }
}

async fn neighbours(server: &Server, path: &str, explanation: &Explanation) -> Nearby {
    let has_text = explanation.parts.iter().any(|part| part.modality == Modality::Text && part.status == "present");
    let (kind, by) = if has_text { ("semantic", "what the text is about") } else { ("u", "the whole post") };
    let answer = server.json::<NeighboursAnswer>(&format!("{path}/neighbours?by={kind}&k={NEIGHBOURS}")).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(ConsoleError::Refused(refusal)) if refusal.status == 409 => {
            return Nearby::Missing("The model made no such vector of this post.".to_owned());
        }
        Err(error) => return Nearby::Missing(error.to_string()),
    };
    let ids: Vec<&str> = answer.neighbours.iter().map(|near| near.post_id.as_str()).collect();
    let said = excerpts(server, &ids).await;
    let near = |answer: NeighbourAnswer| {
        let excerpt = said.iter().find(|(id, _)| *id == answer.post_id).map(|(_, text)| text.clone());
        let NeighbourAnswer { post_id, similarity, label, certain } = answer;
        Near { post_id, similarity, label, is_certain: certain, excerpt }
    };
    let posts = answer.neighbours.into_iter().map(near).collect();
    Nearby::Found { by, posts, searched: answer.searched, reaches_back_to_ms: answer.reaches_back_to_ms }
}

/// The longest text of each of these; of none whose text cannot be had.
async fn excerpts(server: &Server, ids: &[&str]) -> Vec<(String, String)> {
    if ids.is_empty() {
        return Vec::new();
    }
    let Ok(answer) = server.post::<BatchAnswer>("/v1/posts:batch", &json!({ "ids": ids, "content": true })).await
    else {
        return Vec::new();
    };
    let longest = |item: BatchItem| {
        let texts = item.post?.content?.texts?;
        let text = texts.into_iter().map(|part| part.text).max_by_key(String::len)?;
        Some((item.post_id, text))
    };
    answer.posts.into_iter().filter_map(longest).collect()
}

/// The media of a post as the server draws them, with where it looked; of each the PNG or why there is none.
#[derive(Debug)]
pub struct Pictures {
    /// The picture with its cells.
    pub picture: Option<Result<Vec<u8>, ConsoleError>>,
    /// The spectrogram with its seconds.
    pub sound: Option<Result<Vec<u8>, ConsoleError>>,
}

/// Has the media drawn that the post of `explanation` has; the picture is blurred and grey unless it is to be `sharp`.
pub async fn draw(server: &Server, explanation: &Explanation, sharp: bool) -> Pictures {
    let path = format!("/v1/posts/{}", id_in_path(&explanation.post_id));
    let is_there = |modality| explanation.part(modality).is_some_and(|part| part.status == "present");
    let veil = if sharp { "" } else { VEIL };
    let mut drawn = Pictures { picture: None, sound: None };
    if is_there(Modality::Image) {
        drawn.picture = Some(server.picture(&format!("{path}/picture.png?overlay=attention{veil}")).await);
    }
    if is_there(Modality::Audio) {
        drawn.sound = Some(server.picture(&format!("{path}/spectrogram.png?overlay=attention")).await);
    }
    drawn
}
