//! `jtav bench`: what the networks cost on this machine.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use jtav_feed_processor::{exit, networks};
use jtav_model::cost::{self, NetworkCost};
use serde_json::{Map, Value, json};

use crate::failure::coded;
use crate::output::{out, outln};
use crate::setup::{self, LogFormatArg, SettingsArgs};

/// Largest batch: what a pass of pictures may take in memory is bounded by it.
const MAX_BATCH: u16 = 128;

/// `jtav bench …`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure every network by every engine that is installed: CPU milliseconds an item, by batch
    Networks(NetworksArgs),
}

/// `jtav bench networks`.
#[derive(Debug, Args)]
#[command(
    after_help = "One thread, nothing beside it: run it on a machine that does nothing else. `text` is a text of 20 words, of which\n\
                  `text_trunk` and `text_attbigru` are parts; `audio` is ten seconds of sound from samples to vector, of which\n\
                  `audio_dcrnn` is a part; `image` a picture of 224 x 224; `fusion` a post with all three.\n\
                  `own` are loops of jtav's own. --json is one object: network -> engine -> batch -> CPU milliseconds.\n\n\
                  Examples:\n  jtav bench networks\n  jtav bench networks --batch 1 --json | jq .image"
)]
pub struct NetworksArgs {
    /// Checkpoint [default: model.path of the settings].
    #[arg(long, value_name = "DIR")]
    model: Option<std::path::PathBuf>,
    /// Items of a pass; more than one, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32], value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_BATCH)))]
    batch: Vec<u16>,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
    /// Settings: model.path, model.weights.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(command: &BenchCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    let BenchCommand::Networks(arguments) = command;
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::with_model(&mut settings, arguments.model.as_deref());
    let checkpoint = networks::checkpoint(&settings.model).map_err(coded(exit::CONFIG))?;
    let batches: Vec<usize> = arguments.batch.iter().map(|&batch| usize::from(batch)).collect();
    let costs = cost::measure(&checkpoint, &batches).map_err(|error| coded(exit::CONFIG)(error.into()))?;
    match arguments.json {
        true => outln!("{}", json(&costs))?,
        false => out!("{}", table(&costs, &batches))?,
    }
    Ok(exit::OK)
}

fn json(costs: &[NetworkCost]) -> Value {
    let mut networks = Map::new();
    for cost in costs {
        let engines = networks.entry(cost.network).or_insert_with(|| json!({}));
        let figure = (cost.cpu_ms * 1e4).round() / 1e4;
        engines[cost.engine.as_str()][cost.batch.to_string()] = json!(figure);
    }
    Value::Object(networks)
}

fn table(costs: &[NetworkCost], batches: &[usize]) -> String {
    let mut text = format!("{:<16}{:<15}", "network", "engine");
    for batch in batches {
        let _ = write!(text, "{:>10}", format!("batch {batch}"));
    }
    text.push_str("   CPU ms an item\n");
    let mut rows: Vec<(&str, &str)> = costs.iter().map(|cost| (cost.network, cost.engine.as_str())).collect();
    rows.sort_unstable();
    rows.dedup();
    for (network, engine) in rows {
        let _ = write!(text, "{network:<16}{engine:<15}");
        for batch in batches {
            let is_it =
                |cost: &&NetworkCost| cost.network == network && cost.engine.as_str() == engine && cost.batch == *batch;
            let _ = match costs.iter().find(is_it) {
                Some(cost) => write!(text, "{:>10.3}", cost.cpu_ms),
                None => write!(text, "{:>10}", "-"),
            };
        }
        text.push('\n');
    }
    if cost::libtorch_is_bf16() {
        text.push_str("libtorch multiplies in bf16 on this processor\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use jtav_model::Engine;

    use super::*;

    fn costs() -> Vec<NetworkCost> {
        let cost = |network, engine, batch, cpu_ms| NetworkCost { network, engine, batch, cpu_ms };
        vec![
            cost("image", Engine::Libtorch, 1, 12.5),
            cost("image", Engine::Libtorch, 8, 11.25),
            cost("image", Engine::OpenVino, 1, 6.123_456),
            cost("fusion", Engine::Own, 1, 0.03),
        ]
    }

    #[test]
    fn the_figures_are_an_object_of_networks_of_engines_of_batches() {
        let expected = json!({
            "image": { "libtorch": { "1": 12.5, "8": 11.25 }, "openvino": { "1": 6.1235 } },
            "fusion": { "own": { "1": 0.03 } },
        });
        assert_eq!(json(&costs()), expected);
    }

    #[test]
    fn the_table_has_a_row_for_each_network_and_engine_and_a_dash_for_what_was_not_measured() {
        let text = table(&costs(), &[1, 8]);
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["fusion", "own", "0.030", "-"]);
        assert_eq!(rows[1], ["image", "libtorch", "12.500", "11.250"]);
        assert_eq!(rows[2], ["image", "openvino", "6.123", "-"]);
    }
}
