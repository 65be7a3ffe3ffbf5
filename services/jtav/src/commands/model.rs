//! `jtav model`: what a checkpoint is made of, and a folder that has all of it.

mod export;
mod figures;
mod folder;
mod pack;
mod show;

use clap::Subcommand;

use self::export::ExportArgs;
use self::pack::PackArgs;
use self::show::ShowArgs;
use crate::setup::{self, LogFormatArg};

/// `jtav model …`.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Say what a checkpoint is made of: version, base weights and where they are, sizes, languages, promises, figures
    Show(ShowArgs),
    /// Copy a checkpoint and its base weights, with their licences, into one folder that needs nothing else
    Pack(PackArgs),
    /// Write its networks as ONNX files, for engines of other people
    Export(ExportArgs),
}

pub fn run(command: &ModelCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    match command {
        ModelCommand::Show(arguments) => show::run(arguments),
        ModelCommand::Pack(arguments) => pack::run(arguments),
        ModelCommand::Export(arguments) => export::run(arguments),
    }
}
