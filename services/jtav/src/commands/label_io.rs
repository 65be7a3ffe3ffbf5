//! Lines in, media from files, lines out.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_media::{Fetcher, accept};
use jtav_pipeline::{
    DeadLetterRequest, EraseRequest, FetchRequest, FetchedMedia, MediaFetcher, PublishOutcome, PublishRequest,
    Publisher, StageError, now_ms,
};
use jtav_schemas::{AbsentReason, DatasetPostV1, DeadLetterReason, EmbeddingV1, ErasureV1, Modality, PostV1};
use serde_json::Value;

/// Marks a media reference that is a path; no address can begin with it.
const FILE_MARK: &str = "file-path:";

/// Why a line is no post.
pub struct BadLine {
    /// As a worker would put it.
    pub reason: DeadLetterReason,
    /// For a person.
    pub message: String,
}

/// Reads a line as `post.v1` or `dataset-post.v1`; paths are taken relative to `folder`.
pub fn parse_line(line: &str, folder: &Path) -> Result<PostV1, BadLine> {
    let value: Value = serde_json::from_str(line)
        .map_err(|error| BadLine { reason: DeadLetterReason::InvalidJson, message: error.to_string() })?;
    let invalid =
        |error: serde_json::Error| BadLine { reason: DeadLetterReason::InvalidPost, message: error.to_string() };
    let has_path =
        ["audio", "image"].iter().any(|part| value.get(part).is_some_and(|media| media.get("path").is_some()));
    let post = if has_path {
        let post: DatasetPostV1 = serde_json::from_value(value).map_err(invalid)?;
        post.to_post(|path| mark(&folder.join(path)))
    } else {
        let mut post: PostV1 = serde_json::from_value(value).map_err(invalid)?;
        for media in [&mut post.audio, &mut post.image].into_iter().flatten() {
            if !media.url.contains("://") {
                media.url = mark(&folder.join(&media.url));
            }
        }
        post
    };
    if post.id.is_empty() || post.id.len() > 256 {
        return Err(BadLine { reason: DeadLetterReason::InvalidPost, message: "id: 1 to 256 characters".to_owned() });
    }
    Ok(post)
}

fn mark(path: &Path) -> String {
    format!("{FILE_MARK}{}", path.display())
}

/// Takes media from files where the post names one, from the network otherwise, under the usual policy.
pub struct FilesOrNetwork {
    /// Downloads.
    pub network: Fetcher,
    /// Largest file, by modality as for downloads.
    pub max_bytes: fn(Modality) -> u64,
}

impl MediaFetcher for FilesOrNetwork {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        let Some(path) = request.media.url.strip_prefix(FILE_MARK).map(PathBuf::from) else {
            return MediaFetcher::fetch(&self.network, request);
        };
        let cap = (self.max_bytes)(request.modality);
        async move {
            let facts = tokio::fs::metadata(&path).await.map_err(|error| unreadable(&path, &error))?;
            if !facts.is_file() {
                return Err(AbsentReason::NotFound);
            }
            if facts.len() > cap {
                return Err(AbsentReason::TooLarge);
            }
            let bytes = tokio::fs::read(&path).await.map_err(|error| unreadable(&path, &error))?;
            accept(request.modality, bytes.into(), None, &request.media).await
        }
        .boxed()
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> AbsentReason {
    tracing::warn!(path = %path.display(), %error, "media file cannot be read");
    match error.kind() {
        std::io::ErrorKind::NotFound => AbsentReason::NotFound,
        _ => AbsentReason::FetchFailed,
    }
}

/// Keeps the embeddings for the output lines; everything else reaches the output through the observer.
#[derive(Clone, Default)]
pub struct KeepEmbeddings {
    by_line: Arc<Mutex<HashMap<i64, Arc<EmbeddingV1>>>>,
}

impl KeepEmbeddings {
    /// Takes the embedding of a line out.
    pub fn take(&self, line: i64) -> Option<Arc<EmbeddingV1>> {
        self.by_line.lock().ok()?.remove(&line)
    }
}

impl Publisher for KeepEmbeddings {
    fn publish(&self, request: PublishRequest) -> BoxFuture<'static, Result<PublishOutcome, StageError>> {
        if let Ok(mut by_line) = self.by_line.lock() {
            by_line.insert(request.source.offset, request.embedding);
        }
        async { Ok(PublishOutcome::Published) }.boxed()
    }

    fn erase(&self, request: EraseRequest) -> BoxFuture<'static, Result<ErasureV1, StageError>> {
        let EraseRequest { post_id, revision, .. } = request;
        async move { Ok(ErasureV1 { post_id, revision, erased_keys: 0, erased_at_ms: now_ms() }) }.boxed()
    }

    fn dead_letter(&self, _: DeadLetterRequest) -> BoxFuture<'static, Result<(), StageError>> {
        async { Ok(()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_post_and_a_post_are_both_read_and_paths_are_relative_to_the_folder() {
        let folder = Path::new("/data");
        let post = parse_line(r#"{"id":"a","image":{"path":"m/i.jpg"},"labels":{"sentiment":1}}"#, folder);
        assert_eq!(post.ok().and_then(|post| post.image).map(|m| m.url).as_deref(), Some("file-path:/data/m/i.jpg"));
        let post = parse_line(r#"{"id":"a","audio":{"url":"https://x.example/a.mp3"}}"#, folder);
        assert_eq!(post.ok().and_then(|post| post.audio).map(|m| m.url).as_deref(), Some("https://x.example/a.mp3"));
    }

    #[test]
    fn a_line_that_is_no_post_says_which_kind_of_wrong_it_is() {
        let reason = |line: &str| parse_line(line, Path::new(".")).err().map(|bad| bad.reason);
        assert_eq!(reason("{"), Some(DeadLetterReason::InvalidJson));
        assert_eq!(reason(r#"{"id":1}"#), Some(DeadLetterReason::InvalidPost));
        assert_eq!(reason(r#"{"id":""}"#), Some(DeadLetterReason::InvalidPost));
        assert_eq!(reason(r#"{"id":"a"}"#), None);
    }
}
