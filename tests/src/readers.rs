//! The readers' side with everything real behind it: Kafka, Redis, `jtav serve --worker` with its networks, the demo's feed
//! labelled, and one of its posts erased. What outsiders' tools and the examples of the documentation are held against.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jtav_feed_simulator::{FeedRecord, MediaServer, Pack, SAMPLE_FEED, demo_feed};
use jtav_kafka::{OutboundRecord, Producer, ProducerSettings};
use jtav_testkit::{
    RealKafka, RealRedis, Topics, Worker, WorkerConfig, is_through, jtav_binary, produce, workspace_root,
};

/// A post of the sample feed that was labelled and then erased.
pub const ERASED_ID: &str = "pp-000044";
const PARTITIONS: i32 = 2;
const PATIENCE: Duration = Duration::from_secs(30);
/// From the first record to the last label: pictures and sounds are decoded on what cores there are.
const LABELLED_WITHIN: Duration = Duration::from_secs(180);

/// It ends with its value.
pub struct Readers {
    /// Where the API answers.
    pub url: String,
    /// Of a key with every scope; none where the server asks for none.
    pub key: Option<String>,
    server: Worker,
    topics: Topics,
    producer: Producer,
    kafka: RealKafka,
    redis: RealRedis,
    _media: MediaServer,
    _folder: tempfile::TempDir,
}

impl Readers {
    /// Starts everything and blocks until the feed is labelled and its vectors can be searched.
    ///
    /// # Errors
    /// A part does not start, or the feed does not end; the message has the end of the program's log.
    pub async fn start(with_key: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jtav-readers-").tempdir()?;
        let (kafka, redis) = (RealKafka::start()?, RealRedis::start()?);
        let topics = Topics::default();
        kafka.create_topics(&topics.all().map(|name| (name, PARTITIONS))).await?;
        let pack = Pack::open(workspace_root().join(SAMPLE_FEED))?;
        let media = MediaServer::on_loopback(pack.folder())?;
        let mut config = WorkerConfig::new(kafka.brokers())
            .topics(&topics)
            .redis(&redis.url(0))
            .cpu()
            .media_hosts(&[media.address()])
            .set("ingest.commit_interval_ms", 200)
            .set("admin.listen", "127.0.0.1:0");
        let key = if with_key { Some(new_key(folder.path())?) } else { None };
        if let Some((_, file)) = &key {
            config = config.set("serve.keys_file", file.display().to_string());
        }
        let mut server = Worker::spawn_server_with_worker(&jtav_binary()?, "the server", &config)?;
        server.wait_ready(LABELLED_WITHIN)?;
        let url = format!("http://{}", server.admin());
        let key = key.map(|(key, _)| key);
        let producer = Producer::new(&kafka.client(), &ProducerSettings::default())?;
        let records = demo_feed(&pack, &media.base_url());
        let readers = Self { url, key, server, topics, producer, kafka, redis, _media: media, _folder: folder };
        readers.feed(records).await?;
        Ok(readers)
    }

    async fn feed(&self, records: Vec<FeedRecord>) -> Result<()> {
        let of = |record: FeedRecord| OutboundRecord {
            headers: record.headers,
            ..OutboundRecord::keyed(&self.topics.input, record.key, record.value)
        };
        produce(&self.producer, records.into_iter().map(of).collect(), 0).await?;
        self.erase(ERASED_ID).await?;
        self.until("its vectors can be searched", || {
            Ok(self.get("/v1/posts/pp-000431/neighbours?by=semantic")?.contains("similarity"))
        })
    }

    /// Has the author of a post delete it, and blocks until the worker has carried that out.
    pub async fn erase(&self, post_id: &str) -> Result<()> {
        self.producer.send(OutboundRecord::tombstone(&self.topics.input, post_id.to_owned())).await?;
        let client = self.kafka.client();
        self.until("the feed is labelled", || is_through(&client, &self.topics.group, &self.topics.input, PATIENCE))
    }

    fn until(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !holds()? {
            ensure!(started.elapsed() < LABELLED_WITHIN, "not in time: {what}\n{}", self.server.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The whole answer of a `GET`, head included.
    fn get(&self, path: &str) -> Result<String> {
        let address = self.server.admin();
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let key = self.key.as_ref().map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{key}\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// The brokers, `HOST:PORT`.
    pub fn brokers(&self) -> &str {
        self.kafka.brokers()
    }

    /// The store's socket.
    pub fn redis_socket(&self) -> PathBuf {
        self.redis.socket()
    }
}

/// A key with every scope, as an operator makes one, and the file that it stands in.
fn new_key(folder: &Path) -> Result<(String, PathBuf)> {
    let made = Command::new(jtav_binary()?)
        .args(["serve", "--new-key", "outsiders", "--scope", "read", "--scope", "score", "--scope", "admin"])
        .output()?;
    let said = String::from_utf8(made.stderr)?;
    ensure!(made.status.success(), "jtav serve --new-key: {said}");
    let key = said.lines().map(str::trim).find(|line| line.starts_with("jtav_")).context("a key")?;
    let file = folder.join("keys.toml");
    std::fs::write(&file, made.stdout)?;
    Ok((key.to_owned(), file))
}
