//! `jtav table`: a thin shell over the trainer's tables.

mod common;
mod congruence;
mod labels;
pub(super) mod retrieval;
mod sentiment;

use clap::Subcommand;

use self::congruence::CongruenceTableArgs;
use self::labels::LabelTableArgs;
use self::retrieval::TableRetrievalArgs;
use self::sentiment::SentimentTableArgs;
use crate::setup::{self, LogFormatArg};

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
    /// What labels are worth: checkpoints beside TF-IDF, VADER and untuned sentence vectors, on three sets of posts.
    Labels(LabelTableArgs),
}

pub fn run(command: &TableCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    setup::logs(log_format, None, "warn");
    match command {
        TableCommand::Sentiment(arguments) => sentiment::run(arguments),
        TableCommand::Congruence(arguments) => congruence::run(arguments),
        TableCommand::Retrieval(arguments) => retrieval::run(arguments),
        TableCommand::Labels(arguments) => labels::run(arguments),
    }
}
