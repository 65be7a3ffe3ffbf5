//! `jtav model export`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jtav_feed_processor::{exit, networks};
use jtav_model::export::Exported;
use serde_json::json;

use super::folder::{WeightsArg, megabytes};
use crate::failure::coded;
use crate::output::outln;
use crate::setup::{self, SettingsArgs};

/// A network that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NetworkArg {
    /// Pixels to the image vector: EfficientNet-Lite0 and the head.
    Picture,
    /// A segment's levels to what DCRNN's recurrent part reads.
    Sound,
    /// Word pieces to the sentence encoder's layers.
    Trunk,
}

impl NetworkArg {
    fn exported(self) -> Exported {
        match self {
            Self::Picture => Exported::Picture,
            Self::Sound => Exported::Sound,
            Self::Trunk => Exported::Trunk,
        }
    }
}

/// `jtav model export`.
#[derive(Debug, Args)]
#[command(
    after_help = "Inputs and outputs of each file, with shapes and units, stand in docs/networks.md. All numbers are f32; operator set 20.\n\n\
                  Example:\n  jtav model export --model models/jtav-modern --out onnx --network picture"
)]
pub struct ExportArgs {
    /// Folder of the checkpoint [default: model.path of the settings].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Folder to write NETWORK.onnx into; created, files of these names are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// One network, or more, separated by commas [default: all that the checkpoint has].
    #[arg(long, value_enum, value_delimiter = ',')]
    network: Vec<NetworkArg>,
    /// Base weights.
    #[command(flatten)]
    weights: WeightsArg,
    /// One line of JSON: out, version, files with bytes.
    #[arg(long)]
    json: bool,
    /// Settings: model.path, model.weights.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(arguments: &ExportArgs) -> anyhow::Result<u8> {
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::with_model(&mut settings, arguments.model.as_deref());
    if let Some(weights) = &arguments.weights.weights {
        settings.model.weights = Some(weights.clone());
    }
    let checkpoint = networks::checkpoint(&settings.model).map_err(coded(exit::CONFIG))?;
    let wanted: Vec<Exported> = match arguments.network.as_slice() {
        [] => Exported::ALL.into_iter().filter(|network| network.is_in(&checkpoint)).collect(),
        some => some.iter().map(|network| network.exported()).collect(),
    };
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let mut files = Vec::new();
    for network in wanted {
        let bytes = network.write(&checkpoint).map_err(|error| coded(exit::CONFIG)(error.into()))?;
        let file = format!("{}.onnx", network.as_str());
        std::fs::write(out.join(&file), &bytes).with_context(|| format!("writing {}", out.join(&file).display()))?;
        if !arguments.json {
            outln!("{}  {}", out.join(&file).display(), megabytes(bytes.len()))?;
        }
        files.push(json!({ "file": file, "bytes": bytes.len() }));
    }
    if arguments.json {
        outln!("{}", json!({ "out": out, "version": checkpoint.model_version(), "files": files }))?;
    }
    Ok(exit::OK)
}
