//! `jtav table`: the paper's tables.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jtav_model::zoo::Profile;

use crate::cli_table_retrieval::TableRetrievalArgs;

/// `jtav table`.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Every training is kept in the work folder: a run that was killed goes on where it stood, and a run with more\n\
                        seeds makes only those. Two runs with other seeds may share a work folder.\n\n\
                        Examples:\n  jtav table sentiment --data polarity-posts --out results\n  \
                        jtav table sentiment --data polarity-posts --rows attBiGRU,MFCC --seeds 1\n  \
                        jtav table sentiment --data mosi-tri --profile paper --json | jq '.rows[].auc'\n  \
                        jtav table congruence --data congruence.jsonl"
)]
pub enum TableCommand {
    /// The rows of the paper's Table 1 on a data pack: texts, sounds, pictures and their fusions.
    Sentiment(SentimentTableArgs),
    /// Whether fusions learn interaction: text and medium of equal or opposite polarity, where sums are at chance.
    Congruence(CongruenceTableArgs),
    /// image2song: pictures look for their songs, in seven forms and two protocols, with honest ranks.
    Retrieval(TableRetrievalArgs),
}

/// What all tables take.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// Seeds; figures are means over them.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,2,3")]
    pub seeds: Vec<u64>,
    /// Write the table here, as Markdown and as JSON.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The table as one line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Where finished trainings are kept.
    #[arg(long, value_name = "DIR", default_value = ".cache/table")]
    pub work: PathBuf,
    /// Where decoded features are kept.
    #[arg(long, value_name = "DIR", default_value = jtav_trainer::DEFAULT_CACHE_DIR)]
    pub cache: PathBuf,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// One short epoch of everything: proves the whole path in minutes, the figures mean nothing.
    #[arg(long)]
    pub quick: bool,
}

/// Which description of the networks.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ProfileArg {
    /// The paper's equations.
    Paper,
    /// The authors' published code.
    AuthorsCode,
}

impl From<ProfileArg> for Profile {
    fn from(profile: ProfileArg) -> Self {
        match profile {
            ProfileArg::Paper => Self::Paper,
            ProfileArg::AuthorsCode => Self::AuthorsCode,
        }
    }
}

/// `jtav table sentiment`.
#[derive(Debug, Args)]
pub struct SentimentTableArgs {
    /// Data pack: a folder, or a name below $JTAV_DATA_DIR. One with `features.safetensors` brings its own vectors.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Which description of the networks; they disagree in most details.
    #[arg(long, value_enum, default_value = "authors-code")]
    pub profile: ProfileArg,
    /// Rows to make (`attBiGRU`, `text.BiGRU`, …) in place of all; encoders that a fusion reads are made too.
    #[arg(long, value_name = "ROW,ROW,…", value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Rows that take long and are trained with the first seed alone.
    #[arg(long, value_name = "ROW,ROW,…", value_delimiter = ',', default_value = "F-VGG,F-ResNet")]
    pub once: Vec<String>,
    /// Word vectors: fastText `.bin` or `.vec`, or finalfusion `.fifu` [default: trained on the training texts].
    #[arg(long, value_name = "FILE")]
    pub word_vectors: Option<PathBuf>,
    /// Published weights of an image network, torchvision's names in safetensors, repeatable:
    /// `densenet-121=FILE:SHA256` (or `vgg-19`, `resnet-101`) [default: from scratch].
    #[arg(long, value_name = "NETWORK=FILE:SHA256")]
    pub image_weights: Vec<String>,
    /// What every table takes.
    #[command(flatten)]
    pub table: TableArgs,
}

/// `jtav table congruence`.
#[derive(Debug, Args)]
pub struct CongruenceTableArgs {
    /// File of pairs, or its name below $JTAV_DATA_DIR.
    #[arg(long, value_name = "FILE.jsonl", default_value = "congruence.jsonl")]
    pub data: PathBuf,
    /// Folder that media paths start from [default: `polarity-posts` beside the file].
    #[arg(long, value_name = "DIR")]
    pub media: Option<PathBuf>,
    /// Checkpoint whose encoders give the vectors.
    #[arg(long, value_name = "DIR", default_value = "models/jtav-modern")]
    pub checkpoint: PathBuf,
    /// A control: vectors that show the polarity plainly, in place of an encoder's.
    #[arg(long)]
    pub clear: bool,
    /// What every table takes.
    #[command(flatten)]
    pub table: TableArgs,
}
