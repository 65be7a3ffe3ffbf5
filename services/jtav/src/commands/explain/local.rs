//! A post of a file, labelled here, or a label that was written before.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use jtav_console::{Shown, Texts};
use jtav_delivery::Outcome;
use jtav_explain::{Explanation, Lens, MAX_BLUR_PX, SpectrogramDrawer, picture_png};
use jtav_feed_processor::exit;
use jtav_feed_processor::networks::fit_to_model;
use jtav_pipeline::{PostEvent, PostReport};
use jtav_schemas::{AbsentReason, Decoded, MediaRef, Modality, Pcm, PostV1, SentimentV1};
use jtav_settings::Settings;
use jtav_signal::constants::SAMPLE_RATE_HZ;
use jtav_text::terminal::one_line;
use serde_json::Value;

use super::arguments::ExplainArgs;
use super::pictures::Drawn;
use crate::commands::label::bench::Bench;
use crate::commands::label::io::{KeepEmbeddings, Line, lines, read_line};
use crate::commands::label::{Input, open};
use crate::failure::coded;
use crate::output::errln;
use crate::setup::{self, LogFormatArg};

/// As the page veils a picture.
const BLUR_PX: f32 = 28.0;
/// Beyond the router's own deadlines.
const SPARE: Duration = Duration::from_secs(10);
/// Lines and bytes of a record that is written for people.
const MAX_LINES: usize = 1_000;
const MAX_BYTES: u64 = 1 << 20;
/// Characters of somebody else's message.
const MESSAGE_CHARS: usize = 300;

/// Explains a line of a file.
///
/// # Errors
/// There is no such line, or nothing that can be labelled on it.
pub fn explain(arguments: &ExplainArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<(Shown, Option<Drawn>)> {
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::with_model(&mut settings, arguments.model.as_deref());
    setup::logs(log_format, Some(&settings), "error");
    let Input { name, bytes, folder } = open(Path::new(&arguments.target))?;
    let mut lines = lines(bytes);
    let line = choose(&mut || lines.blocking_recv(), arguments.line)
        .with_context(|| name.clone())
        .map_err(coded(exit::DATA))?;
    let place = format!("{name}, line {}", line.number);
    if let Some(sentiment) = record(&line).with_context(|| place.clone()).map_err(coded(exit::DATA))? {
        if arguments.png.is_some() {
            let error = anyhow!(
                "{place} is a label, which holds no media; --png needs the post: its id and a running `jtav serve`, or a file of posts"
            );
            return Err(coded(exit::DATA)(error));
        }
        let why = "A label alone holds no text; the post's id asks a running `jtav serve` for it.";
        return Ok((Shown::of(&sentiment, Texts::Missing(why.to_owned())), None));
    }
    let post = match read_line(&line, &folder, settings.ingest.max_record_bytes) {
        Ok(PostEvent::Upsert(post)) => post,
        Ok(PostEvent::Tombstone { .. }) => {
            return Err(coded(exit::DATA)(anyhow!("{place} erases a post: there is nothing to explain")));
        }
        Err(rejection) => {
            let (reason, message) = (rejection.reason.as_str(), one_line(&rejection.message, MESSAGE_CHARS));
            return Err(coded(exit::DATA)(anyhow!("{place} is neither a post nor a label: {reason}: {message}")));
        }
    };
    fit_to_model(&mut settings);
    if std::io::stderr().is_terminal() {
        errln!("loading and warming the networks …");
    }
    let lens = arguments.png.as_ref().map(|_| Lens {
        blur_px: if arguments.sharp { 0.0 } else { BLUR_PX.min(MAX_BLUR_PX) },
        is_grey: !arguments.sharp,
    });
    setup::in_system(label(Arc::new(settings), post, line.number, &place, lens))
}

/// The line that is meant. Without a number the first, together with those that follow it where it alone is the beginning of a
/// JSON value: a record may be written for people.
fn choose(next: &mut dyn FnMut() -> Option<std::io::Result<Line>>, wanted: Option<i64>) -> anyhow::Result<Line> {
    let mut whole: Option<Line> = None;
    let (mut last, mut taken) = (0, 0);
    while let Some(line) = next() {
        let line = line.context("reading")?;
        last = line.number;
        match (wanted, &mut whole) {
            (Some(wanted), _) if line.number == wanted => return Ok(line),
            (Some(wanted), _) if line.number > wanted => anyhow::bail!("line {wanted} is blank"),
            (Some(_), _) => continue,
            (None, None) => whole = Some(line),
            (None, Some(whole)) => {
                whole.value.push(b'\n');
                whole.value.extend_from_slice(&line.value);
                whole.bytes += line.bytes + 1;
            }
        }
        taken += 1;
        if whole.as_ref().is_some_and(|whole| !is_begun(whole, taken)) {
            break;
        }
    }
    match (whole, wanted) {
        (Some(line), _) => Ok(line),
        (None, Some(wanted)) => anyhow::bail!("there is no line {wanted}; the last that is not blank is {last}"),
        (None, None) => anyhow::bail!("there is nothing on any line"),
    }
}

/// Whether it is the beginning of a JSON value, of a size that is read: it is read anew with each of its lines.
fn is_begun(line: &Line, lines: usize) -> bool {
    if lines >= MAX_LINES || line.bytes > MAX_BYTES {
        return false;
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(&line.value).is_err_and(|error| error.is_eof())
}

/// The label on a line: as `jtav label` writes it, or inside what `jtav serve` says of a post or in its stream. None where it is none.
fn record(line: &Line) -> anyhow::Result<Option<SentimentV1>> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(&line.value) else { return Ok(None) };
    let fields = match fields.remove("sentiment") {
        Some(Value::Object(inner)) => inner,
        _ if fields.contains_key("probabilities") => fields,
        _ => return Ok(None),
    };
    serde_json::from_value(Value::Object(fields)).map(Some).context("the label cannot be read as sentiment.v1")
}

/// Labels one post, and draws its media through `lens` where that is asked for.
async fn label(
    settings: Arc<Settings>,
    post: Arc<PostV1>,
    number: i64,
    place: &str,
    lens: Option<Lens>,
) -> anyhow::Result<(Shown, Option<Drawn>)> {
    let mut bench = Bench::start(&settings, Arc::new(KeepEmbeddings::default()))?;
    let deadline = settings.router.post_deadline() + settings.router.parked_deadline() + SPARE;
    bench.admit(number, Ok(PostEvent::Upsert(Arc::clone(&post)))).await;
    let report = tokio::time::timeout(deadline, bench.reports.recv()).await;
    let report =
        report.ok().flatten().with_context(|| format!("{place}: no outcome within {} s", deadline.as_secs()))?;
    let sentiment = sentiment(&report).with_context(|| place.to_owned()).map_err(coded(exit::DATA))?;
    let shown = Shown::of(&sentiment, Texts::Known(post.texts.clone()));
    let drawn = match lens {
        Some(lens) => Some(draw(&bench, &settings, &post, &shown.explanation, lens).await),
        None => None,
    };
    bench.stop();
    Ok((shown, drawn))
}

fn sentiment(report: &PostReport) -> anyhow::Result<Arc<SentimentV1>> {
    match (&report.outcome, &report.sentiment) {
        (Outcome::Published, Some(sentiment)) => Ok(Arc::clone(sentiment)),
        (Outcome::Skipped(reason), _) => Err(anyhow!("the post has no label: {}", reason.as_str().replace('_', " "))),
        (outcome, _) => {
            let reason = if outcome.reason().is_empty() { outcome.as_str() } else { outcome.reason() };
            let message = one_line(report.message.as_deref().unwrap_or("no message"), MESSAGE_CHARS);
            Err(anyhow!("the post cannot be labelled: {reason}: {message}"))
        }
    }
}

async fn draw(bench: &Bench, settings: &Settings, post: &PostV1, explanation: &Explanation, lens: Lens) -> Drawn {
    let is_there = |modality| explanation.part(modality).is_some_and(|part| part.status == "present");
    let medium = async |modality, media: &MediaRef| {
        let deadline = Instant::now() + settings.media.total_timeout();
        let decoded = bench.decoded(modality, media.clone(), deadline).await?;
        decoded.map_err(|reason: AbsentReason| anyhow!("the medium cannot be had again: {reason}"))
    };
    let mut drawn = Drawn::default();
    if let Some(image) = post.image.as_ref().filter(|_| is_there(Modality::Image)) {
        drawn.picture =
            Some(medium(Modality::Image, image).await.and_then(|decoded| picture(decoded, explanation, lens)));
    }
    if let Some(audio) = post.audio.as_ref().filter(|_| is_there(Modality::Audio)) {
        drawn.sound = Some(medium(Modality::Audio, audio).await.and_then(|decoded| sound(decoded, explanation)));
    }
    drawn
}

fn picture(decoded: Decoded, explanation: &Explanation, lens: Lens) -> anyhow::Result<Vec<u8>> {
    match decoded {
        Decoded::Image(image) => Ok(picture_png(&image.pixels, image.width as usize, &explanation.cells, lens)?),
        Decoded::Audio(_) => Err(anyhow!("the picture is a sound")),
    }
}

fn sound(decoded: Decoded, explanation: &Explanation) -> anyhow::Result<Vec<u8>> {
    static DRAWER: LazyLock<SpectrogramDrawer> = LazyLock::new(SpectrogramDrawer::new);
    let Decoded::Audio(Pcm { samples, sample_rate_hz }) = decoded else {
        return Err(anyhow!("the sound is a picture"));
    };
    // A GPU takes clips at their own rate.
    let samples = jtav_signal::resample(&samples, sample_rate_hz, SAMPLE_RATE_HZ)?;
    Ok(DRAWER.png(&samples, "", &explanation.seconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str, wanted: Option<i64>) -> Result<(i64, String), String> {
        let mut lines = lines(Box::new(std::io::Cursor::new(text.to_owned())));
        let line = choose(&mut || lines.blocking_recv(), wanted).map_err(|error| error.to_string())?;
        Ok((line.number, String::from_utf8(line.value).unwrap()))
    }

    #[test]
    fn the_first_line_is_meant_or_the_one_that_is_named() {
        let text = "\n{\"id\":1}\n\n{\"id\":2}\n";
        assert_eq!(chosen(text, None), Ok((2, "{\"id\":1}".to_owned())));
        assert_eq!(chosen(text, Some(4)), Ok((4, "{\"id\":2}".to_owned())));
        assert_eq!(chosen(text, Some(3)), Err("line 3 is blank".to_owned()));
        assert_eq!(chosen(text, Some(9)), Err("there is no line 9; the last that is not blank is 4".to_owned()));
        assert_eq!(chosen("\n \n", None), Err("there is nothing on any line".to_owned()));
    }

    #[test]
    fn a_record_that_is_written_for_people_is_one() {
        let text = "{\n  \"id\": 1,\n\n  \"b\": [\n  ]\n}\n{\"id\":2}\n";
        assert_eq!(chosen(text, None), Ok((1, "{\n  \"id\": 1,\n  \"b\": [\n  ]\n}".to_owned())));
        assert_eq!(chosen("no json\n{}", None), Ok((1, "no json".to_owned())));
        let begun = format!("[\n{}", "1,\n".repeat(5 * MAX_LINES));
        assert_eq!(chosen(&begun, None).unwrap().1.lines().count(), MAX_LINES, "it is not read to its end");
    }

    #[test]
    fn a_label_is_found_wherever_it_comes_from() {
        let line = |value: Value| Line { number: 1, bytes: 0, value: value.to_string().into_bytes() };
        let label: Value =
            serde_json::from_str(include_str!("../../../../../schemas/examples/sentiment.v1/valid-full.json")).unwrap();
        let of = |value: Value| record(&line(value)).map(|record| record.map(|record| record.post_id));
        let id = label["post_id"].as_str().map(str::to_owned);
        assert_eq!(of(label.clone()).unwrap(), id);
        assert_eq!(of(serde_json::json!({ "partition": 0, "offset": 3, "sentiment": label })).unwrap(), id);
        assert_eq!(of(serde_json::json!({ "id": "a", "texts": [] })).unwrap(), None);
        let mut broken = label;
        broken["probabilities"] = Value::from(3);
        assert!(of(broken).is_err());
    }
}
