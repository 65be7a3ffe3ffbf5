//! `jtav run`: the worker.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use jtav_feed_processor::admin::Admin;
use jtav_feed_processor::networks::fit_to_model;
use jtav_feed_processor::parameters::client_settings;
use jtav_feed_processor::{Networks, Worker, WorkerExit, exit};
use jtav_pipeline::{NoObserver, fail_point};

use crate::ceilings;
use crate::failure::coded;
use crate::setup::{self, LogFormatArg, SettingsArgs};

/// `jtav run`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  jtav run --config config/production.toml --set kafka.brokers=broker:9092\n\n\
                        SIGTERM drains: intake stops, what is in flight is settled and committed. A second one exits at once.")]
pub struct RunArgs {
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
    /// `auto`, `cpu` or `cuda:0`; as model.device.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

pub fn run(arguments: &RunArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    let mut loader = setup::loader(&arguments.settings);
    if let Some(device) = &arguments.device {
        loader = loader.flag("--device", "model.device", device);
    }
    let loaded = loader.load()?;
    let mut settings = loaded.settings.clone();
    setup::logs(log_format, Some(&settings), &settings.log.filter);
    fit_to_model(&mut settings);
    let settings = Arc::new(settings);
    setup::check_passthrough(&settings)?;
    let armed = fail_point::arm_from_environment().map_err(anyhow::Error::from).map_err(coded(exit::CONFIG))?;
    if armed > 0 {
        tracing::error!(armed, variable = fail_point::VARIABLE, "fail points are armed: this worker breaks on purpose");
    }
    ceilings::say_memory(&settings.memory_ceiling());
    ceilings::say_descriptors(settings.descriptor_ceiling());
    setup::in_system(async move {
        let decoders = setup::decoders(&settings);
        let networks = Networks::load(&settings, setup::exit_on_device_fault()).map_err(coded(exit::CONFIG))?;
        let decoders = decoders().map_err(coded(exit::CONFIG))?;
        setup::vector_index(&settings).await?;
        let store = setup::store(&settings)?;
        let client = client_settings(&settings);
        let worker = Worker::new(Arc::clone(&settings), client, store, networks, decoders, Arc::new(NoObserver));
        let admin = Admin::start(worker.clone(), settings.admin.listen).map_err(coded(exit::CONFIG))?;
        tracing::info!(
            admin = %admin.address, brokers = settings.kafka.brokers, topic = settings.kafka.input_topic,
            group = settings.kafka.group_id, "worker started"
        );
        let end = worker.run(setup::shutdown_signal()).await.context("the worker could not start")?;
        admin.stop().await;
        Ok(match end {
            WorkerExit::Drained => exit::OK,
            WorkerExit::DrainTimedOut { left } => {
                tracing::warn!(left, "the drain deadline passed; these posts come again");
                exit::DRAIN_TIMED_OUT
            }
        })
    })
}
