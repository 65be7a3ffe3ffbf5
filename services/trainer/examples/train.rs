//! Trains from the source tree: `cargo run --release -p jtav-trainer --example train -- DATA OUT [key=value ...]`.
//!
//! Keys: `profile=light`, `stages=text,audio`, `seed=20`, `work=DIR`, `cache=DIR`, `device=cpu`, `test=no`, `quick=yes`,
//! `resume=yes`, `rated=FILE`, `images=FILE` (DenseNet-121's weights), `note=TEXT` (for the model card, repeatable), and any
//! setting by name (`text.dropout=0.4`, `text.plan.epochs=8`). `stages` without `fusion` trains encoders alone.

use std::fmt::Write as _;

use anyhow::Context;
use jtav_trainer::{Stage, Terminal, TrainOptions, train, train_encoders};

fn main() -> anyhow::Result<()> {
    jtav_model::device::open_cuda_library();
    jtav_model::device::single_threaded();
    let mut arguments = std::env::args().skip(1);
    let (data, out) = arguments.next().zip(arguments.next()).context("usage: train DATA OUT [key=value ...]")?;
    let mut options = TrainOptions::new(&data, &out);
    options.command = format!("cargo run --release -p jtav-trainer --example train -- {data} {out}");
    for argument in arguments {
        // Folders differ from machine to machine, and notes stand in the card themselves.
        if !["work=", "cache=", "note=", "rated=", "images="].iter().any(|key| argument.starts_with(key)) {
            let _ = write!(options.command, " {argument}");
        }
        let (key, value) = argument.split_once('=').with_context(|| format!("`{argument}`: expected key=value"))?;
        set(&mut options, key, value).with_context(|| format!("`{argument}`"))?;
    }
    if options.stages.contains(&Stage::Fusion) {
        let report = train(&options, &Terminal::new())?;
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", serde_json::to_string(&train_encoders(&options, &Terminal::new())?)?);
    }
    Ok(())
}

fn set(options: &mut TrainOptions, key: &str, value: &str) -> anyhow::Result<()> {
    let yes = || match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => anyhow::bail!("expected yes or no"),
    };
    match key {
        "stages" => {
            let stages = value.split(',').map(|name| name.parse::<Stage>().map_err(anyhow::Error::msg));
            options.stages = stages.collect::<anyhow::Result<_>>()?;
        }
        "seed" => options.seed = value.parse()?,
        "work" => options.work_dir = value.into(),
        "cache" => options.cache_dir = value.into(),
        "device" => options.device = value.parse()?,
        "profile" => options.profile = value.parse().map_err(anyhow::Error::msg)?,
        "rated" => options.rated_texts = Some(value.into()),
        "images" => options.image_weights = Some(value.into()),
        "resume" => options.resume = yes()?,
        "test" => options.score_test = yes()?,
        "note" => options.notes.push(value.to_owned()),
        "quick" => options.quick = yes()?,
        _ => options.set(key, value)?,
    }
    Ok(())
}
