//! What the tables share: their options, the command that is printed with them, the answer.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use jtav_feed_processor::exit;
use jtav_research::table::{SentimentOptions, SentimentTable, write_sentiment_table};

use crate::failure::coded;
use crate::output::{errln, out, outln};

/// What all tables take.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// Seeds; figures are means over them.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Write the table here, as Markdown and as JSON.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The table as one line of JSON, last on stdout.
    #[arg(long)]
    json: bool,
    /// Where finished trainings are kept.
    #[arg(long, value_name = "DIR", default_value = ".cache/table")]
    work: PathBuf,
    /// Where decoded features are kept.
    #[arg(long, value_name = "DIR", default_value = jtav_trainer::DEFAULT_CACHE_DIR)]
    cache: PathBuf,
    /// `auto`, `cpu` or `cuda:0`.
    #[arg(long, default_value = "auto")]
    device: String,
    /// One short epoch of everything: proves the whole path in minutes, the figures mean nothing.
    #[arg(long)]
    quick: bool,
}

/// The options that every table has.
pub fn options(arguments: &TableArgs, options: SentimentOptions) -> anyhow::Result<SentimentOptions> {
    Ok(SentimentOptions {
        seeds: arguments.seeds.clone(),
        device: arguments.device.parse().context("--device").map_err(coded(exit::USAGE))?,
        cache_dir: arguments.cache.clone(),
        work_dir: arguments.work.clone(),
        quick: arguments.quick,
        command: command_line(),
        ..options
    })
}

/// As it was typed, program and folders aside from their names: a table is published, a home folder is not.
pub fn command_line() -> String {
    std::iter::once("jtav".to_owned()).chain(std::env::args().skip(1).map(without_folder)).collect::<Vec<_>>().join(" ")
}

/// `/home/me/results` and `before=/home/me/results` lose the folder.
fn without_folder(word: String) -> String {
    let (name, value) = word.split_once('=').map_or(("", word.as_str()), |(name, value)| (name, value));
    match value.rsplit_once('/') {
        Some((_, file)) if value.starts_with('/') && name.is_empty() => file.to_owned(),
        Some((_, file)) if value.starts_with('/') => format!("{name}={file}"),
        _ => word,
    }
}

pub fn show(arguments: &TableArgs, tables: &[SentimentTable]) -> anyhow::Result<u8> {
    if let Some(folder) = &arguments.out {
        for table in tables {
            write_sentiment_table(table, folder)?;
        }
    }
    if arguments.json {
        match tables {
            [table] => outln!("{}", serde_json::to_string(table)?)?,
            tables => outln!("{}", serde_json::to_string(tables)?)?,
        }
        return Ok(exit::OK);
    }
    for table in tables {
        out!("{}", table.markdown())?;
    }
    match &arguments.out {
        Some(folder) => errln!("Markdown and JSON: {}", folder.display()),
        None => errln!("add --out DIR to keep it as Markdown and JSON"),
    }
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_command_names_no_folder_of_the_machine() {
        let found =
            ["/home/me/out", "before=/home/me/a.jsonl", "modern=models/a", "docs/results", "--seed=3", "--out=/a/b"];
        let shown = found.map(|word| without_folder(word.to_owned()));
        assert_eq!(shown, ["out", "before=a.jsonl", "modern=models/a", "docs/results", "--seed=3", "--out=b"]);
    }
}
