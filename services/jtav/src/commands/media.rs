//! `jtav media check`: one medium after the other through the worker's own fetch and decode.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use jtav_dead_letters::one_line;
use jtav_feed_processor::exit;
use jtav_feed_processor::parameters::{decode_limits, fetcher, this_program};
use jtav_media::{Fetcher, OneByOne, accept};
use jtav_media_codecs::{MediaFacts, SoundEnd, SoundFacts};
use jtav_pipeline::{FetchRequest, FetchedMedia};
use jtav_schemas::{AbsentReason, MediaRef, Modality};
use jtav_settings::Settings;
use serde_json::{Value, json};

use crate::files::read_file;
use crate::output::{errln, outln};
use crate::setup::{self, LogFormatArg, SettingsArgs};

/// Characters shown of a path or a URL.
const NAME_SHOWN_CHARS: usize = 400;
/// Extensions and the media types that they claim.
const EXTENSIONS: [(&str, &str); 16] = [
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("avif", "image/avif"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("mp4", "audio/mp4"),
    ("aac", "audio/aac"),
    ("adts", "audio/aac"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
];

/// `jtav media …`.
#[derive(Debug, Subcommand)]
pub enum MediaCommand {
    /// Fetch and decode as the worker would, and say what came of each
    Check(MediaCheckArgs),
}

/// `jtav media check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Whether a file or URL counts as image or sound is told by its extension, else by --as, else by its content.\n\
                  Another format of the same kind decodes by its content (a PNG named .jpg); an image named .mp3 is a\n\
                  type_mismatch. Limits and the policy of addresses are those of the settings.\n\n\
                  Reasons: fetch_denied fetch_failed not_found timeout too_large type_mismatch unsupported decode_error\n\n\
                  Examples:\n  \
                  jtav media check photo.jpg song.mp3\n  \
                  jtav media check --json https://example.org/a.webp | jq .facts\n  \
                  jtav media check --set media.allow='[\"127.0.0.1:8000\"]' http://127.0.0.1:8000/a.jpg\n\n\
                  Exit status: 0 all are ok, 65 one or more were rejected."
)]
pub struct MediaCheckArgs {
    /// Files and http(s) URLs, checked in this order.
    #[arg(required = true, value_name = "PATH|URL")]
    items: Vec<String>,
    /// What an item without a telling extension is to be.
    #[arg(long = "as", value_enum, value_name = "KIND")]
    kind: Option<KindArg>,
    /// One JSON object a line: path, verdict, reason, facts, milliseconds, peak_memory_mb (of the process that decoded it).
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// What a medium is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// A picture.
    Image,
    /// A clip.
    Audio,
}

pub fn run(command: &MediaCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let MediaCommand::Check(arguments) = command;
    setup::logs(log_format, None, "error");
    let settings = setup::settings(&arguments.settings)?.settings;
    setup::in_system(check(settings, arguments))
}

async fn check(settings: Settings, arguments: &MediaCheckArgs) -> anyhow::Result<u8> {
    let checker = Checker {
        fetcher: fetcher(&settings)?,
        decoder: Arc::new(
            OneByOne::start(this_program(&settings), &decode_limits(&settings)).context("decode workers")?,
        ),
        patience: settings.media.total_timeout() * settings.media.attempts,
        max_bytes: [settings.media.max_image_bytes, settings.media.max_audio_bytes],
        kind: arguments.kind,
    };
    let mut all_ok = true;
    for item in &arguments.items {
        let started = Instant::now();
        let Checked { verdict, peak_memory_mb } = checker.check(item).await?;
        all_ok &= verdict.is_ok();
        let took = Measured { elapsed: started.elapsed(), peak_memory_mb };
        if arguments.json {
            outln!("{}", json_line(item, &verdict, took))?;
        } else {
            outln!("{}", text_line(item, &verdict, took))?;
        }
    }
    Ok(if all_ok { exit::OK } else { exit::DATA })
}

/// What became of a medium.
type Verdict = Result<Facts, AbsentReason>;

/// What there is to say about a medium that decodes.
struct Facts {
    size_bytes: usize,
    decoded: MediaFacts,
}

/// A verdict and what coming to it took; media that were not decoded took no memory.
struct Checked {
    verdict: Verdict,
    peak_memory_mb: Option<f64>,
}

#[derive(Clone, Copy)]
struct Measured {
    elapsed: Duration,
    peak_memory_mb: Option<f64>,
}

struct Checker {
    fetcher: Fetcher,
    decoder: Arc<OneByOne>,
    patience: Duration,
    /// Of an image, of a clip.
    max_bytes: [u64; 2],
    kind: Option<KindArg>,
}

impl Checker {
    async fn check(&self, item: &str) -> anyhow::Result<Checked> {
        let is_url = item.contains("://");
        let claimed = claimed_type(item, is_url);
        let stated = claimed.map(modality_of).or(self.kind.map(|kind| match kind {
            KindArg::Image => Modality::Image,
            KindArg::Audio => Modality::Audio,
        }));
        // Without any claim an image is tried first; what it is not becomes known from its bytes.
        let first = stated.unwrap_or(Modality::Image);
        let fetched = if is_url { self.download(item, first).await } else { self.read(item, first, claimed).await };
        let media = match fetched {
            Ok(media) => media,
            Err(reason) => return Ok(Checked { verdict: Err(reason), peak_memory_mb: Some(0.0) }),
        };
        let checked = self.decode(media.clone()).await?;
        if stated.is_none() && matches!(checked.verdict, Err(AbsentReason::TypeMismatch)) {
            return self.decode(FetchedMedia { modality: Modality::Audio, ..media }).await;
        }
        Ok(checked)
    }

    async fn download(&self, url: &str, modality: Modality) -> Result<FetchedMedia, AbsentReason> {
        let media = MediaRef { url: url.to_owned(), media_type: None, sha256: None, bytes: None };
        self.fetcher.fetch(FetchRequest { modality, media, deadline: Instant::now() + self.patience }).await
    }

    async fn read(&self, path: &str, modality: Modality, claimed: Option<&str>) -> Result<FetchedMedia, AbsentReason> {
        // The reason is the item's; the system's own words are for the person.
        let unreadable = |error: std::io::Error| {
            errln!("cannot read {}: {error}; give a readable file or an http(s) URL", one_line(path, NAME_SHOWN_CHARS));
            match error.kind() {
                std::io::ErrorKind::NotFound => AbsentReason::NotFound,
                _ => AbsentReason::FetchFailed,
            }
        };
        let cap = self.max_bytes[usize::from(modality == Modality::Audio)];
        let facts = std::fs::metadata(path).map_err(unreadable)?;
        if !facts.is_file() {
            // A device may never end, and a pipe never begin.
            return Err(unreadable(std::io::Error::new(std::io::ErrorKind::NotFound, "it is no regular file")));
        }
        if facts.len() > cap {
            return Err(AbsentReason::TooLarge);
        }
        let bytes = Bytes::from(read_file(Path::new(path), facts.len()).await.map_err(unreadable)?);
        let media = MediaRef { url: String::new(), media_type: claimed.map(str::to_owned), sha256: None, bytes: None };
        accept(modality, bytes, None, &media).await
    }

    async fn decode(&self, media: FetchedMedia) -> anyhow::Result<Checked> {
        let decoder = Arc::clone(&self.decoder);
        let work = move || {
            let (verdict, usage) = decoder.decode(&media)?;
            let verdict = verdict.map(|(_, facts)| Facts { size_bytes: media.bytes.len(), decoded: facts });
            let peak_memory_mb = usage.peak_memory_bytes.map(|bytes| (bytes as f64 / 1e5).round() / 10.0);
            Ok(Checked { verdict, peak_memory_mb })
        };
        tokio::task::spawn_blocking(work).await.context("the thread that decodes")?
    }
}

/// The media type that the extension claims.
fn claimed_type(item: &str, is_url: bool) -> Option<&'static str> {
    // A query or fragment is no part of the name.
    let name = if is_url { item.split(['?', '#']).next().unwrap_or(item) } else { item };
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|(_, media_type)| *media_type)
}

fn modality_of(media_type: &str) -> Modality {
    if media_type.starts_with("audio/") { Modality::Audio } else { Modality::Image }
}

/// Cut short by damage or by its end; the length that is analysed cuts every long clip and says nothing about the file.
fn is_cut_short(sound: &SoundFacts) -> bool {
    sound.skipped_packets > 0 || (sound.end != SoundEnd::AnalysedLength && sound.is_partial())
}

/// What was decoded. Of a clip that is longer than what is analysed, what the file says.
fn duration_s(sound: &SoundFacts) -> f64 {
    let stated = sound.stated_seconds.filter(|_| sound.end == SoundEnd::AnalysedLength);
    stated.map_or(sound.decoded_seconds, |stated| stated.max(sound.decoded_seconds))
}

fn facts_json(facts: &Facts) -> Value {
    match &facts.decoded {
        MediaFacts::Picture(picture) => json!({
            "type": picture.format,
            "size_bytes": facts.size_bytes,
            "width": picture.width,
            "height": picture.height,
            "orientation": picture.orientation,
            "partial": false,
        }),
        MediaFacts::Sound(sound) => json!({
            "type": sound.container,
            "codec": sound.codec,
            "size_bytes": facts.size_bytes,
            "duration_s": duration_s(sound),
            "channels": sound.channels,
            "rate_hz": sound.sample_rate_hz,
            "partial": is_cut_short(sound),
        }),
    }
}

fn json_line(item: &str, verdict: &Verdict, took: Measured) -> Value {
    json!({
        "path": item,
        "verdict": if verdict.is_ok() { "ok" } else { "rejected" },
        "reason": verdict.as_ref().err().map(|reason| reason.as_str()),
        "facts": verdict.as_ref().ok().map(facts_json),
        "milliseconds": (took.elapsed.as_secs_f64() * 1e4).round() / 10.0,
        "peak_memory_mb": took.peak_memory_mb,
    })
}

fn text_line(item: &str, verdict: &Verdict, took: Measured) -> String {
    let what = match verdict {
        Err(reason) => format!("rejected  {}", reason.as_str()),
        Ok(facts) => match &facts.decoded {
            MediaFacts::Picture(picture) => {
                let turned = if picture.orientation == 1 { "" } else { ", turned upright" };
                format!("ok        {} {} x {}{turned}", picture.format, picture.width, picture.height)
            }
            MediaFacts::Sound(sound) => {
                let cut = if is_cut_short(sound) { ", partial" } else { "" };
                format!(
                    "ok        {} ({}) {:.1} s, {} Hz, {} channels{cut}",
                    sound.container, sound.codec, sound.decoded_seconds, sound.sample_rate_hz, sound.channels
                )
            }
        },
    };
    let memory = took.peak_memory_mb.map_or(String::new(), |mb| format!(", {mb:.0} MB"));
    format!("{what}  {}  ({:.0} ms{memory})", one_line(item, NAME_SHOWN_CHARS), took.elapsed.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_claims_a_type_and_a_query_is_no_part_of_it() {
        assert_eq!(claimed_type("a/b.JPG", false), Some("image/jpeg"));
        assert_eq!(claimed_type("https://x.example/s.mp3?t=a.png#b", true), Some("audio/mpeg"));
        assert_eq!(claimed_type("no-extension", false), None);
        assert_eq!(claimed_type("notes.txt", false), None);
    }
}
