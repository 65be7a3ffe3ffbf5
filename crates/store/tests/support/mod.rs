//! A redis-server of one test's own, on a unix socket, and the labels that tests write.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jtav_schemas::embedding::f16_le_bytes;
use jtav_schemas::{Label, PerModality, Probabilities};
use jtav_store::{LabelWrite, RedisOptions, RedisStore, Source, Store};
use rustix::process::{Pid, Signal, kill_process};

/// Stops with the value.
pub struct RealRedis {
    child: Child,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
}

impl RealRedis {
    /// Starts one; `None`, with the reason printed, where there is no redis-server. With `JTAV_REQUIRE_REAL=1` that
    /// is a failure.
    pub fn start(arguments: &[&str]) -> Option<RealRedis> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        match Self::spawn(&folder, &arguments) {
            Ok(child) => {
                let server = RealRedis { child, folder, arguments };
                server.wait();
                Some(server)
            }
            Err(error) => {
                let required = std::env::var("JTAV_REQUIRE_REAL").is_ok_and(|value| value == "1");
                assert!(!required, "JTAV_REQUIRE_REAL=1, but redis-server does not start: {error}");
                eprintln!("skipped: redis-server does not start ({error}); apt-get install redis-server");
                None
            }
        }
    }

    fn spawn(folder: &tempfile::TempDir, arguments: &[String]) -> std::io::Result<Child> {
        Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(folder.path().join("redis.sock"))
            .arg("--dir")
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }

    fn wait(&self) {
        let socket = self.folder.path().join("redis.sock");
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "redis-server opens no socket");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}/redis.sock", self.folder.path().display())
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn store(&self) -> RedisStore {
        RedisStore::new(RedisOptions::new(self.url())).expect("a valid URL")
    }

    /// A plain connection, to look at the keys and to misuse the server.
    pub async fn raw(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a valid URL");
        client.get_multiplexed_async_connection().await.expect("the server answers")
    }

    /// Stops the process without ending it: connections stay and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server is there");
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(self.folder.path().join("redis.sock"));
    }

    /// Starts again after [`kill`](Self::kill), empty.
    pub fn restart(&mut self) {
        self.child = Self::spawn(&self.folder, &self.arguments).expect("it started before");
        self.wait();
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        self.thaw();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub const HOUR: Duration = Duration::from_secs(3_600);

/// A label whose content follows from its identity, as it does for a redelivered post.
pub fn label(post_id: &str, model_version: &str, revision: u64, offset: i64) -> LabelWrite {
    let seed = (revision % 97) as f32 + (offset % 89) as f32 / 100.0 + 0.01;
    let vector = |scale: f32| Bytes::from(f16_le_bytes(&[seed * scale, -0.5]).expect("finite"));
    LabelWrite {
        post_id: post_id.to_owned(),
        revision,
        source: Source { partition: 3, offset },
        model_version: model_version.to_owned(),
        event_id: jtav_schemas::event_id(post_id, revision, model_version),
        label: [Label::Positive, Label::Negative, Label::Neutral, Label::Negative][(revision % 4) as usize],
        certain: offset % 2 == 0,
        probabilities: Probabilities { negative: 0.1 + 0.2, neutral: 0.1, positive: 0.6 },
        valence: -0.1 - 0.2,
        probability: 0.1 + 0.2,
        lang: (offset % 2 == 0).then(|| "en".to_owned()),
        sentiment_json: Bytes::from(format!("{{\"revision\":{revision},\"offset\":{offset}}}")),
        u: vector(1.0),
        // Not every label has every modality, so leftovers of an older one would be seen.
        modalities: PerModality {
            text: (offset % 2 == 0).then(|| vector(2.0)),
            audio: revision.is_multiple_of(3).then(|| vector(3.0)),
            image: None,
        },
        semantic: (offset % 2 == 0).then(|| vector(4.0)),
        labelled_at_ms: -1,
        ttl: HOUR,
    }
}

/// Answers once the store does, so that start-up time is no part of a test.
pub async fn ready(store: RedisStore) -> Arc<dyn Store> {
    store.ping().await.expect("the server answers");
    Arc::new(store)
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
