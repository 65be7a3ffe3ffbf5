//! What several commands share: settings, logs, runtime, store, signals.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use jtav_feed_processor::{exit, parameters};
use jtav_kafka::check_passthrough as check_kafka_settings;
use jtav_media::DecodePool;
use jtav_settings::{IndexBackend, Loaded, Loader, Settings, StoreKind};
use jtav_store::{
    EmbeddedStore, IndexedStore, RedisOptions, RedisStore, RedisVectorIndex, Store, VectorIndex, VectorIndexSettings,
};
use jtav_telemetry::logging::{self, LogFormat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::coded;
use crate::output::{self, errln};

/// Libraries that warn about hostile input through the log; the reason codes say it already.
const QUIET: &str = "symphonia_core=error,symphonia_format_isomp4=error,symphonia_format_ogg=error,\
                     symphonia_bundle_mp3=error,symphonia_format_riff=error,symphonia_bundle_flac=error,\
                     actix_server=warn,actix_http=off";

/// Log formats.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormatArg {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Where settings come from.
#[derive(Debug, Clone, Args)]
pub struct SettingsArgs {
    /// Settings file (TOML); may be given several times, later ones win.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// One setting, stronger than file and environment: `--set kafka.brokers=broker:9092`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// A loader with the files, the environment and the flags, in the order in which they win.
pub fn loader(arguments: &SettingsArgs) -> Loader {
    let mut loader = Loader::new();
    for file in &arguments.config {
        loader = loader.file(file);
    }
    loader = loader.process_environment();
    for assignment in &arguments.set {
        loader = loader.set(assignment);
    }
    loader
}

/// Settings that hold, checked.
pub fn settings(arguments: &SettingsArgs) -> anyhow::Result<Loaded> {
    Ok(loader(arguments).load()?)
}

/// Refuses settings of librdkafka that would lose posts or weaken TLS.
///
/// # Errors
/// One line per setting, with the reason.
pub fn check_passthrough(settings: &Settings) -> anyhow::Result<()> {
    check_kafka_settings(&settings.kafka.librdkafka.to_map()).map_err(|refused| {
        let lines: Vec<String> = refused
            .iter()
            .map(|setting| format!("  kafka.librdkafka.{} = {}: {}", setting.key, setting.value, setting.reason))
            .collect();
        coded(exit::CONFIG)(anyhow::anyhow!("refused settings of librdkafka:\n{}", lines.join("\n")))
    })
}

/// Starts the logs.
pub fn logs(argument: Option<LogFormatArg>, settings: Option<&Settings>, level: &str) {
    let format = match argument {
        Some(LogFormatArg::Json) => LogFormat::Json,
        Some(LogFormatArg::Pretty) => LogFormat::Pretty,
        None => settings.and_then(|s| s.log.format.as_str().parse().ok()).unwrap_or_default(),
    };
    logging::init(format, &format!("{level},{QUIET}"));
}

/// Files and sockets that this process may have open, after raising what it may to what it can be given. Nothing of ours
/// asks `select(2)`, which is why the usual limit is low.
pub fn descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

/// Runs `work` in an actix system on this thread.
pub fn in_system<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    actix_rt::System::new().block_on(work)
}

/// Starts the decode workers beside what the caller does next; joined, gives them.
pub fn decoders(settings: &Settings) -> impl FnOnce() -> anyhow::Result<DecodePool> + use<> {
    let settings = settings.clone();
    let starting = std::thread::spawn(move || parameters::decoders(&settings, parameters::this_program(&settings)));
    move || starting.join().map_err(|_| anyhow!("the thread that starts decode workers panicked"))?
}

/// The store that the settings name, with the index of vectors beside it where they ask for one.
pub fn store(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    if settings.store.kind == StoreKind::Embedded {
        return Ok(Arc::new(EmbeddedStore::new()));
    }
    let store = redis_store(settings)?;
    Ok(match redis_index(settings, &store)? {
        Some(index) => Arc::new(IndexedStore::new(store, index)),
        None => Arc::new(store),
    })
}

/// The index of vectors in Redis, where the settings ask for one and the server can do it.
pub async fn vector_index(settings: &Settings) -> anyhow::Result<Option<Arc<dyn VectorIndex>>> {
    if settings.index.backend == IndexBackend::Memory || settings.store.kind == StoreKind::Embedded {
        return Ok(None);
    }
    let Some(index) = redis_index(settings, &redis_store(settings)?)? else { return Ok(None) };
    let able = index.check().await;
    able.context("index.backend = \"redis\"").map_err(coded(exit::CONFIG))?;
    Ok(Some(index))
}

fn redis_store(settings: &Settings) -> anyhow::Result<RedisStore> {
    let mut options = RedisOptions::new(settings.store.url.expose());
    options.command_timeout = settings.store.command_timeout();
    options.erasure_replicas = settings.store.erasure_replicas;
    options.erasure_wait = settings.store.erasure_wait();
    RedisStore::new(options).context("store.url").map_err(coded(exit::CONFIG))
}

fn redis_index(settings: &Settings, store: &RedisStore) -> anyhow::Result<Option<Arc<RedisVectorIndex>>> {
    if settings.index.backend == IndexBackend::Memory {
        return Ok(None);
    }
    let window = std::time::Duration::from_secs(settings.index.window_hours.saturating_mul(3_600));
    let layout = VectorIndexSettings { window, ..VectorIndexSettings::default() };
    let index = RedisVectorIndex::new(store.clone(), layout).context("index.window_hours");
    index.map(|index| Some(Arc::new(index))).map_err(coded(exit::CONFIG))
}

/// Replaces the checkpoint that the settings name.
pub fn with_model(settings: &mut Settings, model: Option<&Path>) {
    if let Some(model) = model {
        settings.model.path = model.to_owned();
    }
}

/// Resolves at the first SIGTERM or Ctrl-C; a second one ends the process at once, which is safe: a crash and a
/// shutdown share one recovery path.
pub async fn shutdown_signal() {
    end_signal().await;
    errln!("draining; a second signal exits at once");
    tokio::spawn(async {
        end_signal().await;
        output::leave(130);
    });
}

/// Resolves at the next SIGTERM or Ctrl-C.
pub async fn end_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        // Without a handler the default action ends the process, which is safe too.
        Err(_) => std::future::pending().await,
    }
}

/// A device that failed for good: exit with a code of its own; whoever runs us starts a fresh process.
pub fn exit_on_device_fault() -> Arc<dyn Fn(&str) + Send + Sync> {
    Arc::new(|message: &str| {
        errln!("error: the device failed for good: {message}\n  restart the process; posts in flight come again");
        output::leave(exit::DEVICE);
    })
}
