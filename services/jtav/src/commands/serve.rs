//! `jtav serve`: labels, reasons, neighbours and the live stream over HTTP, and a page to look at them.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jtav_feed_processor::admin::Admin;
use jtav_feed_processor::networks::fit_to_model;
use jtav_feed_processor::parameters::client_settings;
use jtav_feed_processor::{Networks, Worker, WorkerExit, exit};
use jtav_media::DecodePool;
use jtav_pipeline::NoObserver;
use jtav_query::keys::{Scope, new_key};
use jtav_query::{ServeParams, Server};
use jtav_settings::Settings;
use jtav_store::Store;
use tokio::sync::oneshot;

use crate::ceilings;
use crate::failure::coded;
use crate::output::{Stdout, errln};
use crate::setup::{self, LogFormatArg, SettingsArgs};

/// `jtav serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  jtav serve --config config/production.toml --set serve.keys_file=keys.toml\n  \
                        jtav serve --worker                                one process for a small installation\n  \
                        jtav serve --new-key moderation --scope read >> keys.toml\n\n\
                        The API is described at /docs and /openapi.json, the page is at /. Without serve.keys_file it listens on\n\
                        loopback alone. docs/api.md has an example of every route.")]
pub struct ServeArgs {
    /// Run the worker in this process too.
    #[arg(long)]
    worker: bool,
    /// Print a new key once, on stderr, and its entry for serve.keys_file on stdout; nothing is served.
    #[arg(long, value_name = "NAME")]
    new_key: Option<String>,
    /// What the new key may do; may be given several times.
    #[arg(long, value_enum, default_values_t = [ScopeArg::Read], requires = "new_key")]
    scope: Vec<ScopeArg>,
    /// Settings.
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Scopes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScopeArg {
    /// Labels, explanations, neighbours, the stream.
    Read,
    /// Having something labelled.
    Score,
    /// Dead letters and metrics.
    Admin,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Scope::Read,
            ScopeArg::Score => Scope::Score,
            ScopeArg::Admin => Scope::Admin,
        }
    }
}

pub fn run(arguments: &ServeArgs, log_format: Option<LogFormatArg>) -> anyhow::Result<u8> {
    if let Some(name) = &arguments.new_key {
        return print_key(name, &arguments.scope);
    }
    let mut settings = setup::settings(&arguments.settings)?.settings;
    setup::logs(log_format, Some(&settings), &settings.log.filter);
    fit_to_model(&mut settings);
    let settings = Arc::new(settings);
    setup::check_passthrough(&settings)?;
    ceilings::say_memory(&settings.serving_memory_ceiling(arguments.worker));
    ceilings::say_descriptors(settings.serving_descriptor_ceiling(arguments.worker));
    setup::in_system(serve(settings, arguments.worker))
}

fn print_key(name: &str, scopes: &[ScopeArg]) -> anyhow::Result<u8> {
    let mut scopes: Vec<Scope> = scopes.iter().map(|scope| Scope::from(*scope)).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let (key, entry) = new_key(name, &scopes);
    errln!(
        "the key, shown this once; give it to whoever is called {name}:\n\n  {key}\n\nits entry for serve.keys_file:\n"
    );
    Stdout.write_all(entry.as_bytes())?;
    Stdout.flush()?;
    Ok(exit::OK)
}

async fn serve(settings: Arc<Settings>, with_worker: bool) -> anyhow::Result<u8> {
    let store = setup::store(&settings)?;
    let decoders = setup::decoders(&settings);
    let networks = if with_worker || settings.serve.networks {
        Some(Networks::load(&settings, setup::exit_on_device_fault()).map_err(coded(exit::CONFIG))?)
    } else {
        None
    };
    let decoders = decoders().map_err(coded(exit::CONFIG))?;
    let worker = match &networks {
        Some(networks) if with_worker => Some(start_worker(&settings, &store, networks.clone(), decoders.clone())?),
        _ => None,
    };
    let server = Server::start(ServeParams {
        settings: Arc::clone(&settings),
        client: client_settings(&settings),
        store,
        vectors: setup::vector_index(&settings).await?,
        worker: worker.as_ref().map(|running| running.worker.clone()),
        networks: networks.filter(|_| settings.serve.networks),
        decoders,
        is_read_only: false,
    })
    .map_err(coded(exit::CONFIG))?;
    tracing::info!(
        url = server.url(),
        page = format!("{}/", server.url()),
        docs = format!("{}/docs", server.url()),
        "serving"
    );
    let Some(mut running) = worker else {
        setup::shutdown_signal().await;
        server.stop().await;
        return Ok(exit::OK);
    };
    // A worker that ends by itself ends the process: whoever runs us starts it again.
    let ended = tokio::select! {
        () = setup::shutdown_signal() => None,
        ended = &mut running.task => Some(ended),
    };
    server.stop().await;
    let _ = running.stop.send(());
    let end = match ended {
        Some(ended) => ended,
        None => running.task.await,
    };
    let end = end.context("the worker's task")?.context("the worker could not start")?;
    running.admin.stop().await;
    Ok(if end == WorkerExit::Drained { exit::OK } else { exit::DRAIN_TIMED_OUT })
}

/// A worker in this process.
struct RunningWorker {
    worker: Worker,
    admin: Admin,
    stop: oneshot::Sender<()>,
    task: actix_rt::task::JoinHandle<anyhow::Result<WorkerExit>>,
}

fn start_worker(
    settings: &Arc<Settings>,
    store: &Arc<dyn Store>,
    networks: Networks,
    decoders: DecodePool,
) -> anyhow::Result<RunningWorker> {
    let client = client_settings(settings);
    let worker = Worker::new(Arc::clone(settings), client, Arc::clone(store), networks, decoders, Arc::new(NoObserver));
    let admin = Admin::start(worker.clone(), settings.admin.listen).map_err(coded(exit::CONFIG))?;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = worker.clone();
    let task = actix_rt::spawn(async move {
        running
            .run(async {
                let _ = stopped.await;
            })
            .await
    });
    Ok(RunningWorker { worker, admin, stop, task })
}
