//! `jtav table retrieval` on the command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jtav_model::zoo::Profile;
use jtav_trainer::retrieval::Protocol;

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
    pub data: PathBuf,
    /// Form of the joint scorer.
    #[arg(long, value_enum, default_value = "paper")]
    pub profile: RetrievalProfileArg,
    /// Width k of CMF-AP's attention, 1 to 4096 [default: 100 in `paper`, 300 in `authors-code`]. The time of the joint
    /// scorer grows with it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub attention: Option<u16>,
    /// Step sizes to try, comma-separated; the best on validation is kept.
    #[arg(long, value_delimiter = ',', default_value = "0.001,0.0003", value_name = "LIST", value_parser = step_size)]
    pub learning_rates: Vec<f64>,
    /// Runs, with seeds from 0.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// How songs are divided.
    #[arg(long, value_enum, default_value = "both")]
    pub protocol: ProtocolArg,
    /// Write retrieval.md and retrieval.json here.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Whose networks encode a pack of posts.
    #[arg(long, value_name = "DIR", default_value = "models/jtav-modern")]
    pub checkpoint: PathBuf,
    /// Where finished cells are kept [default: .cache/table-retrieval].
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Where decoded features are kept [default: .cache/features].
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// All figures as one line of JSON, last on stdout.
    #[arg(long)]
    pub json: bool,
    /// Two epochs per training: shows that everything works, the figures are worth nothing.
    #[arg(long)]
    pub quick: bool,
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
