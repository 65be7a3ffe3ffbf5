//! `jtav bench`: what the networks cost on this machine.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use jtav_feed_processor::{exit, networks};
use jtav_model::DeviceChoice;
use jtav_model::cost::{self, Clock, NetworkCost};
use serde_json::{Map, Value, json};

use crate::failure::coded;
use crate::output::{out, outln};
use crate::setup::{self, LogFormatArg, SettingsArgs};

/// Largest batch: what its items take in memory is bounded by it, a megabyte for ten seconds of sound.
const MAX_BATCH: u16 = 256;

/// `jtav bench …`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure every network by every engine that is installed: CPU milliseconds an item, on a GPU wall milliseconds, by batch
    Networks(NetworksArgs),
}

/// `jtav bench networks`.
#[derive(Debug, Args)]
#[command(
    after_help = "One thread, nothing beside it: run it on a machine that does nothing else. `text` is a text of 20 words, of which\n\
                  `text_trunk` and `text_attbigru` are parts; `audio` is ten seconds of sound from samples to vector, of which\n\
                  `audio_dcrnn` is a part; `image` a picture of 224 x 224; `fusion` a post with all three.\n\
                  `own` are loops of jtav's own. --json is one object: network -> engine -> batch -> milliseconds.\n\n\
                  On a CPU milliseconds are CPU time. On a GPU they are those of the clock on the wall, from the host's memory and\n\
                  back to it, and libtorch alone computes. A network cuts a batch that is too large for one pass: docs/gpu.md.\n\n\
                  Examples:\n  jtav bench networks\n  jtav bench networks --batch 1 --json | jq .image\n  \
                  jtav bench networks --device cuda:0 --batch 1,8,32,256"
)]
pub struct NetworksArgs {
    /// Checkpoint [default: model.path of the settings].
    #[arg(long, value_name = "DIR")]
    model: Option<std::path::PathBuf>,
    /// Items of a pass; more than one, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32], value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_BATCH)))]
    batch: Vec<u16>,
    /// `auto`, `cpu` or `cuda:0`; as model.device.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
    /// Settings: model.path, model.weights, model.device.
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(command: &BenchCommand, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "error");
    let BenchCommand::Networks(arguments) = command;
    let mut loader = setup::loader(&arguments.settings);
    if let Some(device) = &arguments.device {
        loader = loader.flag("--device", "model.device", device);
    }
    let mut settings = loader.load()?.settings;
    setup::with_model(&mut settings, arguments.model.as_deref());
    // What `auto` means here; and a GPU is seen only once its library is open.
    networks::fit_to_model(&mut settings);
    let checkpoint = networks::checkpoint(&settings.model).map_err(coded(exit::CONFIG))?;
    let batches: Vec<usize> = arguments.batch.iter().map(|&batch| usize::from(batch)).collect();
    let costs = match networks::placement(&settings.model).device {
        gpu @ DeviceChoice::Cuda(_) => cost::measure_on_gpu(&checkpoint, gpu, &batches),
        DeviceChoice::Cpu | DeviceChoice::Auto => cost::measure(&checkpoint, &batches),
    };
    let costs = costs.map_err(|error| coded(exit::CONFIG)(error.into()))?;
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
        let figure = (cost.ms * 1e4).round() / 1e4;
        engines[cost.engine.as_str()][cost.batch.to_string()] = json!(figure);
    }
    Value::Object(networks)
}

fn table(costs: &[NetworkCost], batches: &[usize]) -> String {
    let mut text = format!("{:<16}{:<15}", "network", "engine");
    for batch in batches {
        let _ = write!(text, "{:>10}", format!("batch {batch}"));
    }
    let is_of_gpu = costs.iter().any(|cost| cost.clock == Clock::Wall);
    text.push_str(if is_of_gpu { "   wall ms an item\n" } else { "   CPU ms an item\n" });
    let mut rows: Vec<(&str, &str)> = costs.iter().map(|cost| (cost.network, cost.engine.as_str())).collect();
    rows.sort_unstable();
    rows.dedup();
    for (network, engine) in rows {
        let _ = write!(text, "{network:<16}{engine:<15}");
        for batch in batches {
            let is_it =
                |cost: &&NetworkCost| cost.network == network && cost.engine.as_str() == engine && cost.batch == *batch;
            let _ = match costs.iter().find(is_it) {
                Some(cost) => write!(text, "{:>10.3}", cost.ms),
                None => write!(text, "{:>10}", "-"),
            };
        }
        text.push('\n');
    }
    if is_of_gpu {
        text.push_str("pictures and the text trunk are multiplied in bf16\n");
        return text;
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
        let cost = |network, engine, batch, ms| NetworkCost { network, engine, batch, ms, clock: Clock::Cpu };
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

    #[test]
    fn figures_of_a_gpu_are_said_to_be_of_the_wall() {
        let on_gpu = NetworkCost { clock: Clock::Wall, ..costs().remove(0) };
        assert!(table(&costs(), &[1]).contains("CPU ms an item"));
        let text = table(&[on_gpu], &[1]);
        assert!(text.contains("wall ms an item") && !text.contains("CPU"), "{text}");
    }
}
