//! Broker, store and worker of a run, started here and stopped with it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use jtav_testkit::{RealKafka, RealRedis, Worker, WorkerConfig, http_get};

/// Longest time until a worker has loaded and warmed its networks.
pub const READY: Duration = Duration::from_secs(120);
/// Longest wait for an answer of the worker's admin server.
const ADMIN_PATIENCE: Duration = Duration::from_secs(2);

/// The worker's program: `given`, or the one beside this program (one profile, one target folder).
pub fn worker_program(given: Option<PathBuf>) -> Result<PathBuf> {
    let program = match given {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("jtav"),
    };
    ensure!(
        program.is_file(),
        "there is no worker at {}: build it with `cargo build --release --workspace --bin jtav`, or name one with --worker",
        program.display()
    );
    Ok(program)
}

fn require(program: &str, purpose: &str, instead: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ensure!(
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file()),
        "`{program}` is missing ({purpose}): `make setup` installs it, or use one that runs already with {instead}"
    );
    Ok(())
}

/// A real Apache Kafka broker of its own.
pub fn start_kafka() -> Result<RealKafka> {
    require("java", "it runs Apache Kafka", "--brokers HOST:PORT")?;
    eprintln!("starting Apache Kafka ...");
    RealKafka::start()
}

/// A redis-server of its own on a unix socket, nothing on disk.
pub fn start_redis() -> Result<RealRedis> {
    require("redis-server", "the store", "--redis-url URL")?;
    RealRedis::start()
}

/// A worker with this configuration; returns when it says that it is ready. `program` as in [`worker_program`].
pub fn start_worker(program: Option<PathBuf>, config: &WorkerConfig) -> Result<Worker> {
    let mut worker = Worker::spawn_program(&worker_program(program)?, "the worker", config, &[])?;
    worker.wait_ready(READY)?;
    Ok(worker)
}

/// What a worker says of itself, a text of Prometheus.
pub fn metrics(admin: SocketAddr) -> Result<String> {
    let (status, exposition) = http_get(admin, "/metrics", ADMIN_PATIENCE)?;
    ensure!(status == 200, "/metrics: {status}");
    Ok(exposition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_worker_is_an_error_that_says_how_to_build_it() {
        let error = worker_program(Some("/nonexistent/jtav".into())).unwrap_err().to_string();
        assert!(error.contains("cargo build --release --workspace --bin jtav"), "{error}");
    }

    #[test]
    fn a_missing_program_is_an_error_with_both_ways_out() {
        let error = require("no-such-program-here", "the store", "--redis-url URL").unwrap_err().to_string();
        assert!(error.contains("make setup") && error.contains("--redis-url"), "{error}");
    }
}
