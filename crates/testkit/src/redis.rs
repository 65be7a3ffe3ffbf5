use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use jtav_store::{RedisOptions, RedisStore};

use crate::process::Process;

/// One redis-server of a test's own, on a unix socket, without persistence; killed when dropped.
#[derive(Debug)]
pub struct RealRedis {
    _process: Process,
    folder: tempfile::TempDir,
}

impl RealRedis {
    /// Starts it and blocks until it accepts connections.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jtav-redis-").tempdir()?;
        let socket = folder.path().join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no"]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(folder.path());
        let mut process = Process::spawn("redis-server", &mut command, folder.path().join("redis.log"))?;
        process.wait_until(Duration::from_secs(20), "serving", || UnixStream::connect(&socket).is_ok())?;
        Ok(Self { _process: process, folder })
    }

    /// `redis+unix://…` of one of its 16 databases.
    pub fn url(&self, database: u8) -> String {
        format!("redis+unix://{}/redis.sock?db={database}", self.folder.path().display())
    }

    /// A client of one of its databases. Must be called inside a tokio runtime.
    pub fn store(&self, database: u8) -> Result<RedisStore> {
        Ok(RedisStore::new(RedisOptions::new(self.url(database)))?)
    }
}
