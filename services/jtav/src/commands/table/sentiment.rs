//! `jtav table sentiment`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jtav_feed_processor::exit;
use jtav_research::table::{BackboneWeights, SentimentOptions, sentiment_table};
use jtav_research::zoo::{Backbone, Profile};
use jtav_trainer::Terminal;

use super::common::{TableArgs, options, show};
use crate::failure::coded;

/// `jtav table sentiment`.
#[derive(Debug, Args)]
pub struct SentimentTableArgs {
    /// Data pack: a folder, or a name below $JTAV_DATA_DIR. One with `features.safetensors` brings its own vectors.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Which description of the networks; they disagree in most details.
    #[arg(long, value_enum, default_value = "authors-code")]
    profile: ProfileArg,
    /// Rows to make (`attBiGRU`, `text.BiGRU`, …) in place of all; encoders that a fusion reads are made too.
    #[arg(long, value_name = "ROW,ROW,…", value_delimiter = ',')]
    rows: Vec<String>,
    /// Rows that take long and are trained with the first seed alone.
    #[arg(long, value_name = "ROW,ROW,…", value_delimiter = ',', default_value = "F-VGG,F-ResNet")]
    once: Vec<String>,
    /// Word vectors: fastText `.bin` or `.vec`, or finalfusion `.fifu` [default: trained on the training texts].
    #[arg(long, value_name = "FILE")]
    word_vectors: Option<PathBuf>,
    /// Published weights of an image network, torchvision's names in safetensors, repeatable:
    /// `densenet-121=FILE:SHA256` (or `vgg-19`, `resnet-101`) [default: from scratch].
    #[arg(long, value_name = "NETWORK=FILE:SHA256")]
    image_weights: Vec<String>,
    /// What every table takes.
    #[command(flatten)]
    table: TableArgs,
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

pub fn run(arguments: &SentimentTableArgs) -> anyhow::Result<u8> {
    let weights = arguments.image_weights.iter().map(|text| image_weights(text)).collect::<anyhow::Result<_>>();
    let options = SentimentOptions {
        profile: arguments.profile.into(),
        once: arguments.once.clone(),
        only: arguments.rows.clone(),
        word_vectors: arguments.word_vectors.clone(),
        backbones: weights.context("--image-weights").map_err(coded(exit::USAGE))?,
        ..options(&arguments.table, SentimentOptions::new(&arguments.data))?
    };
    let table = sentiment_table(&options, &Terminal::new()).map_err(coded(exit::DATA))?;
    show(&arguments.table, &[table])
}

/// `densenet-121=FILE:SHA256`.
fn image_weights(text: &str) -> anyhow::Result<BackboneWeights> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
    let (name, (path, sha256)) = parts.with_context(|| format!("`{text}`: expected NETWORK=FILE:SHA256"))?;
    let all = [Backbone::Vgg19, Backbone::ResNet101, Backbone::DenseNet121];
    let backbone = all.into_iter().find(|backbone| backbone.name() == name);
    let backbone = backbone.with_context(|| format!("`{name}`: use vgg-19, resnet-101 or densenet-121"))?;
    Ok(BackboneWeights { backbone, path: path.into(), sha256: sha256.to_owned() })
}
