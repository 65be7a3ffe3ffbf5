//! The commands that train, measure and look into the networks.

use clap::Subcommand;

use super::evaluate::{self, EvaluateArgs};
use super::inspect::{self, InspectCommand};
use super::table::{self, TableCommand};
use super::train::{self, TrainArgs};
use crate::setup::LogFormatArg;

/// Those commands.
#[derive(Debug, Subcommand)]
pub enum ResearchCommand {
    /// Train the networks on a data pack and write a checkpoint with its model card.
    Train(TrainArgs),
    /// Score a checkpoint on a split of a data pack, in all seven combinations of modalities, or a file of predictions.
    Evaluate(EvaluateArgs),
    /// Make the paper's tables: train every row on a data pack and set it beside the paper's figures.
    #[command(subcommand)]
    Table(TableCommand),
    /// Show what an encoder sees of one file: decoded facts, features, attention.
    #[command(subcommand)]
    Inspect(InspectCommand),
}

pub fn run(command: &ResearchCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    match command {
        ResearchCommand::Train(arguments) => train::run(arguments, log_format),
        ResearchCommand::Evaluate(arguments) => evaluate::run(arguments, log_format),
        ResearchCommand::Table(command) => table::run(command, log_format),
        ResearchCommand::Inspect(command) => inspect::run(command, log_format),
    }
}
