//! `jtav table retrieval`: a thin shell over the trainer's table.

use std::path::Path;

use anyhow::Context as _;
use jtav_feed_processor::exit;
use jtav_model::{Checkpoint, DeviceChoice};
use jtav_settings::existing_or_bundled;
use jtav_trainer::features::Features;
use jtav_trainer::retrieval::{
    RetrievalOptions, RetrievalSet, Vectors, is_mosi, read_mosi, retrieval_set, retrieval_table,
};
use jtav_trainer::{DEFAULT_CACHE_DIR, DataPack, Terminal, resolve_data};

use crate::cli::LogFormatArg;
use crate::cli_table_retrieval::TableRetrievalArgs;
use crate::failure::coded;
use crate::output::{out, outln};
use crate::setup;

/// Threads that decode media which are not in the cache.
const DECODE_THREADS: usize = 2;

pub fn table_retrieval(arguments: &TableRetrievalArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "warn");
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    let device: DeviceChoice = arguments.device.parse().context("--device").map_err(coded(exit::USAGE))?;
    let progress = Terminal::new();
    let root = resolve_data(&arguments.data).context("--data").map_err(coded(exit::DATA))?;
    let set = match is_mosi(&root) {
        true => read_mosi(&root).context("--data").map_err(coded(exit::DATA))?,
        false => encoded(arguments, &root, device, &progress)?,
    };
    let options = options(arguments, device);
    let table = retrieval_table(&set, &options, arguments.quick, &progress)?;
    let markdown = table.markdown(&command(arguments));
    if let Some(folder) = &arguments.out {
        let json = serde_json::to_string_pretty(&table)? + "\n";
        write(&folder.join("retrieval.json"), json.as_bytes())?;
        write(&folder.join("retrieval.md"), markdown.as_bytes())?;
    }
    match arguments.json {
        true => outln!("{}", serde_json::to_string(&table)?)?,
        false => out!("{markdown}")?,
    }
    table.check_ties()?;
    Ok(exit::OK)
}

/// A pack of posts through the networks of the checkpoint.
fn encoded(
    arguments: &TableRetrievalArgs,
    root: &Path,
    device: DeviceChoice,
    progress: &Terminal,
) -> anyhow::Result<RetrievalSet> {
    let folder = existing_or_bundled(&arguments.checkpoint).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    let checkpoint = Checkpoint::load(&folder)
        .with_context(|| format!("--checkpoint {}", folder.display()))
        .map_err(coded(exit::CONFIG))?;
    let pack = DataPack::read(root).context("--data").map_err(coded(exit::DATA))?;
    let cache = arguments.cache.clone().unwrap_or_else(|| DEFAULT_CACHE_DIR.into());
    let features =
        Features::load(&pack.posts, checkpoint.manifest().max_audio_seconds, &cache, DECODE_THREADS, progress)
            .map_err(coded(exit::DATA))?;
    for file in &features.unreadable {
        tracing::warn!(path = %file.path.display(), reason = %file.reason, "media file is left out");
    }
    let vectors = Vectors::encode(&checkpoint, &pack, &features, device, progress)?;
    retrieval_set(&pack, &vectors, &checkpoint.model_version()).context("--data").map_err(coded(exit::DATA))
}

fn options(arguments: &TableRetrievalArgs, device: DeviceChoice) -> RetrievalOptions {
    let options = RetrievalOptions {
        attention: arguments.attention.map(usize::from),
        learning_rates: arguments.learning_rates.clone(),
        ..RetrievalOptions::new(arguments.profile.into())
    };
    let options = if arguments.quick { options.quick() } else { options };
    let work_dir = arguments.work.clone().unwrap_or_else(|| options.work_dir.clone());
    RetrievalOptions { seeds: arguments.seeds, protocols: arguments.protocol.protocols(), work_dir, device, ..options }
}

/// The command with all that changes a figure.
fn command(arguments: &TableRetrievalArgs) -> String {
    let name =
        |value: Option<clap::builder::PossibleValue>| value.map_or_else(String::new, |v| v.get_name().to_owned());
    let mut text = format!(
        "jtav table retrieval --data {} --profile {} --seeds {} --protocol {}",
        arguments.data.display(),
        name(clap::ValueEnum::to_possible_value(&arguments.profile)),
        arguments.seeds,
        name(clap::ValueEnum::to_possible_value(&arguments.protocol)),
    );
    if let Some(attention) = arguments.attention {
        text.push_str(&format!(" --attention {attention}"));
    }
    if arguments.learning_rates != RetrievalOptions::new(arguments.profile.into()).learning_rates {
        let sizes: Vec<String> = arguments.learning_rates.iter().map(f64::to_string).collect();
        text.push_str(&format!(" --learning-rates {}", sizes.join(",")));
    }
    if arguments.checkpoint != Path::new("models/jtav-modern") {
        text.push_str(&format!(" --checkpoint {}", arguments.checkpoint.display()));
    }
    if arguments.quick {
        text.push_str(" --quick");
    }
    text
}

/// Makes the folder too.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
