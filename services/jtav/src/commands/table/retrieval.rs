//! `jtav table retrieval`: a thin shell over the trainer's table.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jtav_feed_processor::exit;
use jtav_model::{Checkpoint, DeviceChoice};
use jtav_research::retrieval::{
    Protocol, RetrievalOptions, RetrievalSet, Vectors, is_mosi, read_mosi, retrieval_set, retrieval_table,
};
use jtav_research::zoo::Profile;
use jtav_settings::existing_or_bundled;
use jtav_trainer::features::Features;
use jtav_trainer::{DEFAULT_CACHE_DIR, DataPack, Terminal, resolve_data};

use crate::failure::coded;
use crate::files::write_file;
use crate::output::{out, outln};

/// Threads that decode media which are not in the cache.
const DECODE_THREADS: usize = 2;

/// `jtav table retrieval`.
#[derive(Debug, Args)]
#[command(
    after_help = "The pack is mosi-tri (real pairing, vectors only, no captions) or any pack of posts with pictures, clips and texts,\n\
                  whose vectors the networks of --checkpoint make. The table says which data stand in for which.\n\n\
                  Ties count half. Where more than 1 % of a row's queries are tied the row is void, and the command ends with\n\
                  code 1 after it has written everything. A killed run goes on with the same command: finished cells are\n\
                  kept under --work, by settings and data.\n\n\
                  Examples:\n  JTAV_DATA_DIR=/data jtav table retrieval --data mosi-tri --seeds 3 --out results\n  \
                  jtav table retrieval --data my-pack --protocol shared --json | jq '.sections[0].rows[] | {name, mrr: .mean.mrr}'"
)]
pub struct TableRetrievalArgs {
    /// Data pack: a folder, or a name below $JTAV_DATA_DIR.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Form of the joint scorer.
    #[arg(long, value_enum, default_value = "paper")]
    profile: RetrievalProfileArg,
    /// Width k of CMF-AP's attention, 1 to 4096 [default: 100 in `paper`, 300 in `authors-code`]. The time of the joint
    /// scorer grows with it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    attention: Option<u16>,
    /// Step sizes to try, comma-separated; the best on validation is kept.
    #[arg(long, value_delimiter = ',', default_value = "0.001,0.0003", value_name = "LIST", value_parser = step_size)]
    learning_rates: Vec<f64>,
    /// Runs, with seeds from 0.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// How songs are divided.
    #[arg(long, value_enum, default_value = "both")]
    protocol: ProtocolArg,
    /// Write retrieval.md and retrieval.json here.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Whose networks encode a pack of posts.
    #[arg(long, value_name = "DIR", default_value = "models/jtav-modern")]
    checkpoint: PathBuf,
    /// Where finished cells are kept [default: .cache/table-retrieval].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Where decoded features are kept [default: .cache/features].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// All figures as one line of JSON, last on stdout.
    #[arg(long)]
    json: bool,
    /// Two epochs per training: shows that everything works, the figures are worth nothing.
    #[arg(long)]
    quick: bool,
}

fn step_size(text: &str) -> Result<f64, String> {
    let size = text.parse::<f64>().ok().filter(|size| *size > 0.0 && *size <= 1.0);
    size.ok_or_else(|| "expected a number above 0, at most 1".to_owned())
}

/// Forms of the joint scorer.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RetrievalProfileArg {
    /// CMF-AP by the paper's equations, 100 units.
    Paper,
    /// The authors' code: 300 units, a last layer of 10.
    AuthorsCode,
}

impl From<RetrievalProfileArg> for Profile {
    fn from(profile: RetrievalProfileArg) -> Self {
        match profile {
            RetrievalProfileArg::Paper => Self::Paper,
            RetrievalProfileArg::AuthorsCode => Self::AuthorsCode,
        }
    }
}

/// Divisions of songs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ProtocolArg {
    /// Test songs are never seen in training.
    Disjoint,
    /// All songs on both sides, one picture of each held out.
    Shared,
    /// Both.
    Both,
}

impl ProtocolArg {
    /// As the trainer takes them.
    pub fn protocols(self) -> Vec<Protocol> {
        match self {
            Self::Disjoint => vec![Protocol::Disjoint],
            Self::Shared => vec![Protocol::Shared],
            Self::Both => Protocol::ALL.to_vec(),
        }
    }
}

pub fn run(arguments: &TableRetrievalArgs) -> anyhow::Result<u8> {
    let device: DeviceChoice = arguments.device.parse().context("--device").map_err(coded(exit::USAGE))?;
    let progress = Terminal::new();
    let root = resolve_data(&arguments.data).context("--data").map_err(coded(exit::DATA))?;
    let set = match is_mosi(&root) {
        true => read_mosi(&root).context("--data").map_err(coded(exit::DATA))?,
        false => {
            let cache = arguments.cache.clone().unwrap_or_else(|| DEFAULT_CACHE_DIR.into());
            encoded(&arguments.checkpoint, &root, &cache, device, &progress)?.set
        }
    };
    let options = options(arguments, device);
    let table = retrieval_table(&set, &options, arguments.quick, &progress)?;
    let markdown = table.markdown(&command(arguments));
    if let Some(folder) = &arguments.out {
        let json = serde_json::to_string_pretty(&table)? + "\n";
        write_file(&folder.join("retrieval.json"), json.as_bytes())?;
        write_file(&folder.join("retrieval.md"), markdown.as_bytes())?;
    }
    match arguments.json {
        true => outln!("{}", serde_json::to_string(&table)?)?,
        false => out!("{markdown}")?,
    }
    table.check_ties()?;
    Ok(exit::OK)
}

/// A pack of posts as vectors, and whose they are.
pub struct EncodedPack {
    pub set: RetrievalSet,
    pub model_version: String,
}

/// A pack of posts through the networks of a checkpoint.
pub fn encoded(
    checkpoint: &Path,
    root: &Path,
    cache: &Path,
    device: DeviceChoice,
    progress: &Terminal,
) -> anyhow::Result<EncodedPack> {
    let folder = existing_or_bundled(checkpoint).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    let checkpoint = Checkpoint::load(&folder)
        .with_context(|| format!("--checkpoint {}", folder.display()))
        .map_err(coded(exit::CONFIG))?;
    let pack = DataPack::read(root).context("--data").map_err(coded(exit::DATA))?;
    let features =
        Features::load(&pack.posts, checkpoint.manifest().max_audio_seconds, cache, DECODE_THREADS, progress)
            .map_err(coded(exit::DATA))?;
    for file in &features.unreadable {
        tracing::warn!(path = %file.path.display(), reason = %file.reason, "media file is left out");
    }
    let vectors = Vectors::encode(&checkpoint, &pack, &features, device, progress)?;
    let model_version = checkpoint.model_version();
    let set = retrieval_set(&pack, &vectors, &model_version).context("--data").map_err(coded(exit::DATA))?;
    Ok(EncodedPack { set, model_version })
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
