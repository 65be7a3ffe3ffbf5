//! The stream of labels, a line each, for as long as somebody wants it.

mod line;
mod patience;

use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use jtav_schemas::SentimentV1;
use jtav_text::terminal::visible_json;
use reqwest::Response;
use serde::Deserialize;
use url::form_urlencoded;

use self::line::{erasure_line, label_line, unreadable_line};
use self::patience::Patience;
use crate::error::{ConsoleError, told};
use crate::ink::{Ink, painted};
use crate::server::{SILENCE, Server};
use crate::sse::{SseEvent, SseItem, SseParser};

/// What is asked of the stream and how it is shown.
#[derive(Debug, Clone)]
pub struct TapOptions {
    /// Filters by the names that the API has for them: `label`, `certain`, `mood`, `modality`, `lang`.
    pub filters: Vec<(&'static str, String)>,
    /// So many wanted events from before.
    pub recent: usize,
    /// Where to begin, as the id of an event: `0:13,1:40`.
    pub from: Option<String>,
    /// End after so many labels.
    pub limit: Option<u64>,
    /// The data of events as they came, one a line.
    pub json: bool,
    /// How lines are written.
    pub ink: Ink,
    /// Columns of a line; none where nobody looks at columns.
    pub width: Option<usize>,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapEnd {
    /// As many labels as were asked for.
    Limit,
    /// It was told to.
    Stopped,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tapped {
    /// Why it ended.
    pub end: TapEnd,
    /// Where it goes on.
    pub position: Option<String>,
}

/// Follows the stream until `stop` resolves: writes events to `out` and remarks to `note`. It connects again by itself, from where it stood,
/// a bounded number of times in a row. Dropped, it closes the connection; nothing that was not written is passed by.
///
/// # Errors
/// The server is away from the beginning or for too long, it refuses, or `out` cannot be written.
pub async fn tap(
    server: &Server,
    options: &TapOptions,
    out: &mut dyn Write,
    note: &mut dyn FnMut(&str),
    stop: impl Future<Output = ()>,
) -> Result<Tapped, ConsoleError> {
    let mut reader =
        Reader { server, options, out, note, position: options.from.clone(), labels: 0, patience: Patience::default() };
    let mut stop = pin!(stop);
    loop {
        let stopped = |position| Tapped { end: TapEnd::Stopped, position };
        let interruption = tokio::select! {
            biased;
            () = &mut stop => return Ok(stopped(reader.position)),
            read = reader.connection() => match read? {
                Pause::Limit => return Ok(Tapped { end: TapEnd::Limit, position: reader.position }),
                Pause::Interrupted(interruption) => interruption,
            },
        };
        let wait = reader.wait(interruption)?;
        tokio::select! {
            biased;
            () = &mut stop => return Ok(stopped(reader.position)),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Why there is no more to read for now.
enum Pause {
    Limit,
    Interrupted(Interruption),
}

struct Interruption {
    error: ConsoleError,
    /// What the server asks to be waited.
    after: Option<Duration>,
}

struct Reader<'a> {
    server: &'a Server,
    options: &'a TapOptions,
    out: &'a mut dyn Write,
    note: &'a mut dyn FnMut(&str),
    position: Option<String>,
    labels: u64,
    patience: Patience,
}

#[derive(Deserialize)]
struct LabelData {
    sentiment: SentimentV1,
}

#[derive(Deserialize)]
struct ErasureData {
    post_id: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Notice {
    reason: String,
    partition: i32,
    from: i64,
    to: i64,
    resume_from: Option<String>,
}

impl Reader<'_> {
    /// One connection, until it ends.
    async fn connection(&mut self) -> Result<Pause, ConsoleError> {
        let mut response =
            match self.server.stream(&query(self.options, self.position.is_none()), self.position.as_deref()).await {
                Ok(response) => response,
                Err(error) => return self.refused(error),
            };
        let mut parser = SseParser::default();
        loop {
            let chunk = match self.chunk(&mut response).await {
                Ok(chunk) => chunk,
                Err(error) => return Ok(Pause::Interrupted(Interruption { error, after: None })),
            };
            for item in parser.push(&chunk) {
                self.patience.is_answered();
                if let Some(pause) = self.take(item)? {
                    return Ok(pause);
                }
            }
        }
    }

    /// A server that has never answered is most often another address; one that has may be on its way back.
    fn refused(&self, error: ConsoleError) -> Result<Pause, ConsoleError> {
        let is_back_soon = matches!(error, ConsoleError::Refused(_)) || self.patience.has_been_answered();
        if !(error.is_retryable() && is_back_soon) {
            return Err(error);
        }
        let after = match &error {
            ConsoleError::Refused(refusal) => refusal.retry_after_seconds.map(Duration::from_secs),
            _ => None,
        };
        Ok(Pause::Interrupted(Interruption { error, after }))
    }

    async fn chunk(&self, response: &mut Response) -> Result<Vec<u8>, ConsoleError> {
        let silent = || self.server.unreachable(format!("no sign of life for {} s", SILENCE.as_secs()));
        let chunk = tokio::time::timeout(SILENCE, response.chunk()).await.map_err(|_| silent())?;
        match chunk.map_err(|error| self.server.broken(&error))? {
            Some(chunk) => Ok(chunk.to_vec()),
            None => Err(self.server.unreachable("the stream ended".to_owned())),
        }
    }

    fn take(&mut self, item: SseItem) -> Result<Option<Pause>, ConsoleError> {
        match item {
            SseItem::TooLong => (self.note)("an event is longer than is read, and is left out"),
            SseItem::Alive { id } => self.position = id.or(self.position.take()),
            SseItem::Event(event) => {
                let pause = self.event(&event)?;
                // Only what was written is passed.
                self.position = event.id.or(self.position.take());
                return Ok(pause);
            }
        }
        Ok(None)
    }

    fn event(&mut self, event: &SseEvent) -> Result<Option<Pause>, ConsoleError> {
        match event.name.as_str() {
            "label" | "erasure" => {
                self.write(event)?;
                self.labels += u64::from(event.name == "label");
                Ok(self.options.limit.is_some_and(|limit| self.labels >= limit).then_some(Pause::Limit))
            }
            "gap" => {
                let Notice { reason, partition, from, to, .. } = notice(event);
                let missed = to.saturating_sub(from).max(0);
                (self.note)(&match reason.as_str() {
                    "ahead_of_topic" => {
                        format!("partition {partition} was made anew: it goes on at {to}, not at {from}")
                    }
                    reason => format!(
                        "{missed} records of partition {partition} are missed, {from} to {to}: {}",
                        told(&reason.replace('_', " "))
                    ),
                });
                Ok(None)
            }
            "dropped" => {
                let Notice { reason, resume_from, .. } = notice(event);
                if let Some(position) = resume_from {
                    self.position = Some(position);
                }
                let why = format!("the server ends this stream ({})", told(&reason));
                Ok(Some(Pause::Interrupted(Interruption { error: self.server.unreachable(why), after: None })))
            }
            // Of a later version.
            _ => Ok(None),
        }
    }

    fn write(&mut self, event: &SseEvent) -> Result<(), ConsoleError> {
        if self.options.json {
            writeln!(self.out, "{}", visible_json(&event.data))?;
        } else {
            let line = match event.name.as_str() {
                "label" => serde_json::from_str::<LabelData>(&event.data).map(|data| label_line(&data.sentiment)),
                _ => serde_json::from_str::<ErasureData>(&event.data).map(|data| erasure_line(&data.post_id)),
            };
            let line = line.unwrap_or_else(|_| unreadable_line(&event.name));
            let line =
                self.options.width.map_or_else(|| line.clone(), |width| crate::wrap::cut_line(line.clone(), width));
            self.out.write_all(painted(&[line], self.options.ink).as_bytes())?;
        }
        self.out.flush()?;
        Ok(())
    }

    /// How long to wait before the next try, which is said.
    fn wait(&mut self, Interruption { error, after }: Interruption) -> Result<Duration, ConsoleError> {
        let Some(wait) = self.patience.next(after) else {
            (self.note)(&format!("given up after {} tries in a row", patience::MAX_TRIES));
            return Err(error);
        };
        let why = match &error {
            ConsoleError::Unreachable { why, .. } => why.clone(),
            error => error.to_string(),
        };
        let from = self.position.as_deref().map_or_else(String::new, |position| format!(" from {}", told(position)));
        (self.note)(&format!("{why}; again in {:.1} s{from}", wait.as_secs_f64()));
        Ok(wait)
    }
}

fn notice(event: &SseEvent) -> Notice {
    serde_json::from_str(&event.data).unwrap_or_default()
}

/// What came before is asked for at the beginning alone.
fn query(options: &TapOptions, is_beginning: bool) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &options.filters {
        query.append_pair(name, value);
    }
    if is_beginning && options.recent > 0 {
        query.append_pair("recent", &options.recent.to_string());
    }
    format!("?{}", query.finish())
}

/// Whether `text` reads as the id of an event: `0:13,1:40`.
pub fn is_position(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.len() < 20 && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split(',')
        .all(|part| part.split_once(':').is_some_and(|(partition, offset)| is_number(partition) && is_number(offset)))
}

#[cfg(test)]
mod tests;
