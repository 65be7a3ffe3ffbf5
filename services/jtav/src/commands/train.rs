//! `jtav train`: a thin shell over the trainer.

use anyhow::Context as _;
use jtav_feed_processor::exit;
use jtav_trainer::{Stage, Terminal, TrainOptions};

use crate::cli::{LogFormatArg, TrainArgs};
use crate::output::outln;
use crate::setup;

pub fn train(arguments: &TrainArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    setup::logs(log_format, None, "info");
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    let options = options(arguments)?;
    let makes_checkpoint = options.stages.contains(&Stage::Fusion);
    let json = if makes_checkpoint {
        serde_json::to_string(&jtav_trainer::train(&options, &Terminal::new())?)?
    } else {
        serde_json::to_string(&jtav_trainer::train_encoders(&options, &Terminal::new())?)?
    };
    if arguments.json {
        outln!("{json}")?;
    } else if makes_checkpoint {
        outln!("checkpoint and model card: {}", options.out.display())?;
    } else {
        outln!(
            "trained networks: {}; a run with --stages fusion makes a checkpoint of them",
            options.work_dir.display()
        )?;
    }
    Ok(exit::OK)
}

fn options(arguments: &TrainArgs) -> anyhow::Result<TrainOptions> {
    let mut options = TrainOptions::new(&arguments.data, &arguments.out);
    if !arguments.stages.is_empty() {
        let stages = arguments.stages.iter().map(|name| name.parse::<Stage>().map_err(anyhow::Error::msg));
        options.stages = stages.collect::<anyhow::Result<_>>()?;
    }
    if arguments.joint {
        options.stages.insert(Stage::Joint);
    }
    options.seed = arguments.seed.unwrap_or(options.seed);
    options.device = arguments.device.parse().map_err(anyhow::Error::msg).context("--device")?;
    options.cache_dir = arguments.cache.clone().unwrap_or(options.cache_dir);
    options.work_dir = arguments.work.clone().unwrap_or(options.work_dir);
    options.keep_media = arguments.keep_media.clone();
    options.notes = arguments.note.clone();
    options.quick = arguments.quick;
    options.resume = arguments.resume;
    options.score_test = !arguments.no_test;
    options.command = format!("jtav train --data {} --out {}", arguments.data.display(), arguments.out.display());
    if !arguments.stages.is_empty() {
        options.command.push_str(&format!(" --stages {}", arguments.stages.join(",")));
    }
    if arguments.joint {
        options.command.push_str(" --joint");
    }
    if let Some(seed) = arguments.seed {
        options.command.push_str(&format!(" --seed {seed}"));
    }
    if let Some(folder) = &arguments.keep_media {
        options.command.push_str(&format!(" --keep-media {}", folder.display()));
    }
    for assignment in &arguments.set {
        let (key, value) =
            assignment.split_once('=').with_context(|| format!("--set {assignment}: expected KEY=VALUE"))?;
        options.set(key, value)?;
        options.command.push_str(&format!(" --set {assignment}"));
    }
    Ok(options)
}
