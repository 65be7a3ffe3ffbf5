//! `jtav model show`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use jtav_feed_processor::exit;
use jtav_model::{Base, Bases, Manifest, ModalitySet, ModelError};
use jtav_settings::existing_or_bundled;
use serde::Serialize;
use serde_json::{Value, json};

use super::figures::figures;
use super::folder::{Verified, WeightsArg, megabytes, short, shown};
use crate::output::{out, outln};
use crate::setup::{self, SettingsArgs};

/// `jtav model show`.
#[derive(Debug, Args)]
#[command(
    after_help = "Base weights are networks of other people that a checkpoint stands on; it names them by their SHA-256 and does\n\
                  not hold them. Their licences are explained in models/bases/NOTICE.md.\n\n\
                  Examples:\n  jtav model show\n  jtav model show my-checkpoint --json | jq .bases"
)]
pub struct ShowArgs {
    /// Folder of the checkpoint [default: model.path of the settings].
    folder: Option<PathBuf>,
    /// Base weights.
    #[command(flatten)]
    weights: WeightsArg,
    /// One line of JSON, with all figures.
    #[arg(long)]
    json: bool,
    /// Settings: model.path, model.weights.
    #[command(flatten)]
    settings: SettingsArgs,
}

/// A base and what was found of it.
#[derive(Debug, Serialize)]
struct FoundBase<'a> {
    role: &'a str,
    #[serde(flatten)]
    base: &'a Base,
    /// SPDX identifier; none where it is not known here.
    licence: Option<&'static str>,
    /// Where it is.
    path: Option<PathBuf>,
    bytes: Option<usize>,
    /// Why it cannot be used; none where it can.
    problem: Option<String>,
}

pub fn run(arguments: &ShowArgs) -> anyhow::Result<u8> {
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::with_model(&mut settings, arguments.folder.as_deref());
    let folder = existing_or_bundled(&settings.model.path)?;
    let weights = arguments.weights.weights.as_deref().or(settings.model.weights.as_deref());
    let found = Verified::read(&folder, weights)?;
    let roles = found.manifest.bases.iter();
    let bases: Vec<FoundBase> = roles.map(|(role, base)| look(role, base, &found.bases)).collect();
    if arguments.json {
        outln!("{}", json(&found, &bases, &folder.display().to_string()))?;
    } else {
        out!("{}", text(&found, &bases, &folder.display().to_string()))?;
    }
    Ok(exit::OK)
}

fn look<'a>(role: &'a str, base: &'a Base, bases: &Bases) -> FoundBase<'a> {
    let read = bases.read(base);
    FoundBase {
        role,
        base,
        licence: base.licence(),
        path: bases.find(base).ok(),
        bytes: read.as_ref().ok().map(Vec::len),
        problem: read.err().map(|error: ModelError| error.to_string()),
    }
}

fn json(found: &Verified, bases: &[FoundBase], folder: &str) -> Value {
    let manifest = &found.manifest;
    json!({
        "folder": folder,
        "version": found.version,
        "profile": manifest.profile,
        "format": manifest.format,
        "weights_bytes": found.weights.len(),
        "weights_sha256": manifest.files.values().next(),
        "image_backbone": manifest.image_backbone,
        "bases": bases,
        "dimensions": manifest.dimensions,
        "max_audio_seconds": manifest.max_audio_seconds,
        "labels": manifest.labels,
        "moods": manifest.moods,
        "middle": manifest.middle,
        "calibration": manifest.calibration,
        "metrics": manifest.metrics,
        "data": manifest.data,
        "seed": manifest.seed,
    })
}

/// For a person. Writing to a String cannot fail.
fn text(found: &Verified, bases: &[FoundBase], folder: &str) -> String {
    let manifest = &found.manifest;
    let mut text = format!("{}\n", found.version);
    let backbone = serde_json::to_value(manifest.image_backbone).ok();
    let backbone = backbone.as_ref().and_then(Value::as_str).unwrap_or_default();
    let size = megabytes(found.weights.len());
    let _ = writeln!(text, "folder      {folder}, format {}, {size} of weights", manifest.format);
    let _ = writeln!(text, "profile     {}, pictures by {backbone}", manifest.profile);
    for (place, base) in bases.iter().enumerate() {
        let title = if place == 0 { "bases" } else { "" };
        let licence = base.licence.unwrap_or("licence unknown, ask whoever made the checkpoint");
        let size = base.bytes.map_or_else(String::new, |bytes| format!(", {}", megabytes(bytes)));
        let (role, name, file) = (shown(base.role), shown(&base.base.name), &base.base.file);
        let _ = writeln!(
            text,
            "{title:<11} {role}: {name} ({licence}), `{file}`, sha256 {}{size}",
            short(&base.base.sha256)
        );
        let place = match (&base.problem, &base.path) {
            (Some(problem), _) => problem.clone(),
            (None, path) => path.as_ref().map_or_else(String::new, |path| path.display().to_string()),
        };
        let _ = writeln!(text, "{:<11} {}{place}", "", if base.problem.is_some() { "NOT USABLE: " } else { "in " });
    }
    let _ = writeln!(text, "dimensions  {}", dimensions(manifest));
    let _ = writeln!(text, "sound       at most {} s of a clip", manifest.max_audio_seconds);
    text.push_str(&promises(manifest));
    for (place, line) in figures(&manifest.metrics).iter().enumerate() {
        let _ = writeln!(text, "{:<11} {line}", if place == 0 { "figures" } else { "" });
    }
    text
}

fn dimensions(manifest: &Manifest) -> String {
    let sizes = serde_json::to_value(manifest.dimensions).unwrap_or_default();
    let sizes = sizes.as_object().into_iter().flatten();
    sizes.map(|(name, size)| format!("{name} {size}")).collect::<Vec<_>>().join(", ")
}

/// Languages, and from where on labels are certain.
fn promises(manifest: &Manifest) -> String {
    let middle = &manifest.middle;
    let languages = middle.languages.join(", ");
    let from: Vec<String> = ModalitySet::all_non_empty()
        .map(|subset| (subset, middle.certain_from_of(subset)))
        .map(|(subset, from)| if from < 1.0 { format!("{subset} {from:.3}") } else { format!("{subset} never") })
        .collect();
    format!(
        "languages   {languages}; an identification below {:.2} is not believed\ncertain     {:.0} % of certain labels are \
         right; certain from a confidence of: {}\n",
        middle.language_confidence,
        100.0 * middle.promised_accuracy,
        from.join(", ")
    )
}
