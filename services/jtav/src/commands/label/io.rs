//! Lines in, media from files, lines out.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_media::{Fetcher, accept};
use jtav_pipeline::{
    DeadLetterRequest, EraseRequest, FetchRequest, FetchedMedia, MediaFetcher, PostEvent, PublishOutcome,
    PublishRequest, Publisher, ReadRules, Rejection, StageError, now_ms, read_post,
};
use jtav_schemas::{AbsentReason, DeadLetterReason, EmbeddingV1, ErasureV1, Modality};
use tokio::sync::mpsc;

use crate::files::read_file;

/// Marks a media reference that is a path. Drawn anew by every process, so that no post can bring one along.
static FILE_MARK: LazyLock<String> = LazyLock::new(|| format!("file-path-{:032x}:", rand::random::<u128>()));
/// Bytes that are kept of a line: more than a topic of Kafka's defaults takes as a record, so that what is judged here is
/// what a worker would judge.
const KEPT_LINE_BYTES: usize = 2 << 20;
/// Lines that are read ahead.
const LINES_AHEAD: usize = 8;

/// A line of the input that is not blank.
pub struct Line {
    /// Its number in the file, from 1.
    pub number: i64,
    /// Without the line's end; of a line beyond every limit the first part.
    pub value: Vec<u8>,
    /// Bytes that it has.
    pub bytes: u64,
}

/// Reads lines in a thread of its own, a few ahead: a reader that waits for a terminal or a pipe holds up no label. The thread
/// ends with the input, with an error, or when nobody takes lines any more.
pub fn lines(input: Box<dyn Read + Send>) -> mpsc::Receiver<io::Result<Line>> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(1 << 16, input);
        for number in 1.. {
            match next_line(&mut input, number) {
                Ok(None) => return,
                Ok(Some(line)) if is_blank(&line.value) => {}
                Ok(Some(line)) => {
                    if sender.blocking_send(Ok(line)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // Without a receiver nobody wants to know.
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
        }
    });
    lines
}

/// Nothing but white space, a byte-order mark apart.
fn is_blank(value: &[u8]) -> bool {
    value.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(value).trim_ascii().is_empty()
}

fn next_line(input: &mut impl BufRead, number: i64) -> io::Result<Option<Line>> {
    let mut line = Line { number, value: Vec::new(), bytes: 0 };
    let mut is_begun = false;
    loop {
        let buffered = match input.fill_buf() {
            Ok(buffered) => buffered,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffered.is_empty() {
            return Ok(is_begun.then_some(line));
        }
        is_begun = true;
        let end = buffered.iter().position(|byte| *byte == b'\n');
        let part = &buffered[..end.unwrap_or(buffered.len())];
        let room = KEPT_LINE_BYTES.saturating_sub(line.value.len());
        line.value.extend_from_slice(&part[..part.len().min(room)]);
        line.bytes += part.len() as u64;
        let taken = end.map_or(buffered.len(), |end| end + 1);
        input.consume(taken);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Reads a line as the worker reads a record, but that a medium may have a `path` in place of its `url`, as in
/// `dataset-post.v1`; it is taken relative to `folder`.
///
/// # Errors
/// As [`read_post`].
pub fn read_line(line: &Line, folder: &Path, max_record_bytes: usize) -> Result<PostEvent, Rejection> {
    let url_of_path = |path: &str| mark(&folder.join(path));
    let rules = ReadRules { max_record_bytes, url_of_path: Some(&url_of_path) };
    read_post(&line.value, &rules).map_err(|rejection| match rejection.reason {
        DeadLetterReason::RecordTooLarge => {
            let message = format!("line of {} bytes; at most {max_record_bytes} are read", line.bytes);
            Rejection { message, ..rejection }
        }
        _ => rejection,
    })
}

fn mark(path: &Path) -> String {
    format!("{}{}", *FILE_MARK, path.display())
}

/// Takes media from files where the post names one, from the network otherwise, under the usual policy.
pub struct FilesOrNetwork {
    /// Downloads.
    pub network: Fetcher,
    /// Bytes of the largest image and of the largest audio file, as for downloads.
    pub max_image_bytes: u64,
    /// The same of sound.
    pub max_audio_bytes: u64,
}

impl MediaFetcher for FilesOrNetwork {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        let Some(path) = request.media.url.strip_prefix(FILE_MARK.as_str()).map(PathBuf::from) else {
            return MediaFetcher::fetch(&self.network, request);
        };
        let cap = if request.modality == Modality::Audio { self.max_audio_bytes } else { self.max_image_bytes };
        async move {
            let facts = tokio::fs::metadata(&path).await.map_err(|error| unreadable(&path, &error))?;
            if !facts.is_file() {
                return Err(AbsentReason::NotFound);
            }
            if facts.len() > cap {
                return Err(AbsentReason::TooLarge);
            }
            let bytes = read_file(&path, facts.len()).await.map_err(|error| unreadable(&path, &error))?;
            accept(request.modality, bytes.into(), None, &request.media).await
        }
        .boxed()
    }
}

fn unreadable(path: &Path, error: &io::Error) -> AbsentReason {
    tracing::warn!(path = %path.display(), %error, "media file cannot be read");
    match error.kind() {
        io::ErrorKind::NotFound => AbsentReason::NotFound,
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

    const MAX: usize = 1_000;

    fn line(text: &str) -> Line {
        Line { number: 1, value: text.as_bytes().to_vec(), bytes: text.len() as u64 }
    }

    fn image_url(image: &str) -> String {
        let text = format!(r#"{{"id":"a","image":{image},"labels":{{"sentiment":1}}}}"#);
        match read_line(&line(&text), Path::new("/data"), MAX) {
            Ok(PostEvent::Upsert(post)) => post.image.clone().unwrap().url,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_path_is_relative_to_the_folder_and_a_url_is_a_url_whatever_it_looks_like() {
        let marked = |path: &str| format!("{}{path}", *FILE_MARK);
        assert_eq!(image_url(r#"{"path":"m/i.jpg"}"#), marked("/data/m/i.jpg"));
        assert_eq!(image_url(r#"{"path":"/i.jpg"}"#), marked("/i.jpg"));
        for url in
            ["https://x.example/i.jpg", "data:image/png;base64,AA", "i.jpg", "/etc/passwd", "", "file-path:/etc/passwd"]
        {
            assert_eq!(image_url(&format!(r#"{{"url":"{url}"}}"#)), url);
        }
    }

    fn all(input: &[u8]) -> Vec<(i64, Vec<u8>, u64)> {
        let mut lines = lines(Box::new(io::Cursor::new(input.to_vec())));
        let mut read = Vec::new();
        while let Some(line) = lines.blocking_recv() {
            let line = line.unwrap();
            read.push((line.number, line.value, line.bytes));
        }
        read
    }

    #[test]
    fn numbers_are_those_of_the_file_whatever_stands_on_its_lines() {
        let read = all(b"\xEF\xBB\xBF\r\n{}\r\n\n \t\n\xFF\xFE\nlast");
        let expected = [(2, b"{}\r".to_vec(), 3), (5, b"\xFF\xFE".to_vec(), 2), (6, b"last".to_vec(), 4)];
        assert_eq!(read, expected);
        assert_eq!(all(b""), []);
    }

    #[test]
    fn of_a_line_beyond_every_limit_a_part_is_kept_and_the_next_one_is_whole() {
        let mut input = vec![b'x'; 3 * KEPT_LINE_BYTES];
        input.extend(b"\n{}");
        let read = all(&input);
        assert_eq!((read[0].1.len(), read[0].2), (KEPT_LINE_BYTES, 3 * KEPT_LINE_BYTES as u64));
        assert_eq!(read[1], (2, b"{}".to_vec(), 2));
        let long = Line { number: 1, value: vec![b'x'; MAX + 1], bytes: 7_777 };
        let rejection = read_line(&long, Path::new("."), MAX).unwrap_err();
        assert_eq!(rejection.reason, DeadLetterReason::RecordTooLarge);
        assert!(rejection.message.contains("7777"), "{}", rejection.message);
    }
}
