//! A server of one test's own over an in-process broker and an embedded store: what a worker would have written is written by
//! hand.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jtav_feed_processor::{Networks, parameters};
use jtav_kafka::{InProcessCluster, OutboundRecord, Producer, ProducerSettings};
use jtav_query::{ServeParams, Server};
use jtav_schemas::{Label, MediaRef, PostV1, SentimentV1, TextPart, Vector};
use jtav_settings::{Device, Settings, StoreKind};
use jtav_store::{EmbeddedStore, LabelWrite, Source, Store};
use jtav_testkit::{embedding_of, sentiment_of, write_of};
use tokio::sync::oneshot;

pub const MODEL: &str = "m@1";
const PARTITIONS: i32 = 2;

/// The server, and what it reads.
pub struct Rig {
    pub url: String,
    pub http: reqwest::Client,
    pub store: EmbeddedStore,
    pub settings: Arc<Settings>,
    pub cluster: InProcessCluster,
    producer: Producer,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Rig {
    /// Starts one; `change` may move what the settings say.
    pub fn start(change: impl FnOnce(&mut Settings)) -> Result<Self> {
        Self::start_with(change, false)
    }

    pub fn start_with(change: impl FnOnce(&mut Settings), is_read_only: bool) -> Result<Self> {
        let cluster = InProcessCluster::create(1)?;
        let mut settings = Settings::default();
        settings.kafka.brokers = cluster.bootstrap().to_owned();
        settings.store.kind = StoreKind::Embedded;
        settings.serve.listen.set_port(0);
        settings.serve.threads = 1;
        (settings.model.stub, settings.model.device) = (true, Device::Cpu);
        settings.media.decode_processes = false;
        settings.media.decode_workers = 1;
        change(&mut settings);
        for (_, topic) in settings.kafka.topics() {
            cluster.create_topic(topic, PARTITIONS)?;
        }
        let settings = Arc::new(settings);
        let store = EmbeddedStore::new();
        let client = cluster.client("serve");
        let producer = Producer::new(&client, &ProducerSettings::default())?;
        let (started, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let params = (Arc::clone(&settings), client, store.clone());
        let thread = std::thread::spawn(move || {
            let (settings, client, store) = params;
            let served = actix_rt::System::new().block_on(async {
                let server = Server::start(ServeParams {
                    networks: Some(Networks::load(&settings, Arc::new(|_| {}))?),
                    decoders: parameters::decoders(&settings, parameters::this_program(&settings))?,
                    settings,
                    client,
                    store: Arc::new(store),
                    vectors: None,
                    worker: None,
                    is_read_only,
                })?;
                let _ = started.send(Ok(server.url()));
                let _ = stopped.await;
                server.stop().await;
                anyhow::Ok(())
            });
            if let Err(error) = served {
                let _ = started.send(Err(error));
            }
        });
        let url = address.recv().context("the server's thread")??;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?;
        Ok(Self { url, http, store, settings, cluster, producer, stop: Some(stop), thread: Some(thread) })
    }

    /// Until the server has read the topics once.
    pub async fn ready(self) -> Result<Self> {
        for _ in 0..200 {
            if self.http.get(format!("{}/readyz", self.url)).send().await?.status() == 200 {
                return Ok(self);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the server does not become ready")
    }

    pub async fn send(&self, topic: &str, partition: i32, key: &str, value: Option<Vec<u8>>) -> Result<i64> {
        let record = match value {
            Some(value) => OutboundRecord::keyed(topic, key.to_owned(), value),
            None => OutboundRecord::tombstone(topic, key.to_owned()),
        };
        let sent = self.producer.send(OutboundRecord { partition: Some(partition), ..record }).await?;
        Ok(sent.offset)
    }

    /// The input record of a post.
    pub async fn feed(&self, post: &PostV1) -> Result<Source> {
        let offset = self.send(&self.settings.kafka.input_topic, 0, &post.id, Some(serde_json::to_vec(post)?)).await?;
        Ok(Source { partition: 0, offset })
    }

    /// What a worker leaves of a post: in the store and on the topic.
    pub async fn publish(&self, post: &PostV1, label: Label) -> Result<SentimentV1> {
        let source = self.feed(post).await?;
        let sentiment = sentiment(post, label);
        self.store.apply(&write(&sentiment, source)).await?;
        self.tell(0, &sentiment).await?;
        Ok(sentiment)
    }

    /// A label on the topic alone.
    pub async fn tell(&self, partition: i32, sentiment: &SentimentV1) -> Result<i64> {
        let value = serde_json::to_vec(sentiment)?;
        self.send(&self.settings.kafka.sentiment_topic, partition, &sentiment.post_id, Some(value)).await
    }

    pub async fn get(&self, path: &str) -> Result<(u16, serde_json::Value)> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Result<(u16, serde_json::Value)> {
        let answer = self.http.post(format!("{}{path}", self.url)).json(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn post(id: &str, text: &str) -> PostV1 {
    PostV1 {
        id: id.to_owned(),
        revision: 1,
        author_id: None,
        created_at: None,
        lang: None,
        texts: vec![TextPart { role: "body".to_owned(), text: text.to_owned() }],
        audio: None,
        image: None,
        deleted: false,
    }
}

pub fn with_picture(id: &str, url: &str) -> PostV1 {
    let image = MediaRef { url: url.to_owned(), media_type: None, sha256: None, bytes: None };
    PostV1 { image: Some(image), ..post(id, "a picture") }
}

pub fn sentiment(post: &PostV1, label: Label) -> SentimentV1 {
    sentiment_of(&post.id, post.revision, label, MODEL, 1_200)
}

pub fn write(sentiment: &SentimentV1, source: Source) -> LabelWrite {
    let fused = Vector::pack(&[1.0]).expect("a vector");
    write_of(sentiment, &embedding_of(sentiment, fused), source).expect("packed vectors")
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub id: String,
    pub event: String,
    pub data: serde_json::Value,
}

/// A stream that is read.
pub struct Reading {
    answer: reqwest::Response,
    text: String,
}

impl Reading {
    pub async fn open(rig: &Rig, query: &str, last: Option<&str>) -> Result<Self> {
        Self::at(&rig.http, &rig.url, query, last).await
    }

    pub async fn at(http: &reqwest::Client, url: &str, query: &str, last: Option<&str>) -> Result<Self> {
        let mut request = http.get(format!("{url}/v1/stream{query}")).timeout(Duration::from_secs(60));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        Ok(Self { answer: request.send().await?.error_for_status()?, text: String::new() })
    }

    /// The next event; none at the end of the stream. Signs of life are passed over.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let fields: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once(": ")).collect();
                if let (Some(event), Some(data)) = (fields.get("event"), fields.get("data")) {
                    let id = fields.get("id").copied().unwrap_or_default().to_owned();
                    return Ok(Some(Told { id, event: (*event).to_owned(), data: serde_json::from_str(data)? }));
                }
            }
            match tokio::time::timeout(Duration::from_secs(20), self.answer.chunk()).await?? {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk)?),
                None => return Ok(None),
            }
        }
    }

    pub async fn take(&mut self, count: usize) -> Result<Vec<Told>> {
        let mut told = Vec::new();
        while told.len() < count {
            let next = self.next().await?.with_context(|| format!("the stream ended after {told:?}"))?;
            told.push(next);
        }
        Ok(told)
    }
}

/// A reader of the stream whose side takes next to nothing until it is read.
pub struct SlowReader(std::net::TcpStream);

impl SlowReader {
    pub fn open(rig: &Rig) -> Result<Self> {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size};
        let address: std::net::SocketAddr = rig.url.trim_start_matches("http://").parse()?;
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        // Before the connection: the window that is offered comes from it.
        set_socket_recv_buffer_size(&socket, 4_096)?;
        connect(&socket, &address)?;
        let mut stream = std::net::TcpStream::from(socket);
        std::io::Write::write_all(&mut stream, b"GET /v1/stream HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        Ok(Self(stream))
    }

    pub fn read_to_its_end(mut self) -> Result<Vec<Told>> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut self.0, &mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (_, body) = text.split_once("\r\n\r\n").context("an answer")?;
        let mut told = Vec::new();
        for block in body.split("\n\n") {
            let fields: BTreeMap<&str, &str> = block.lines().filter_map(|line| line.split_once(": ")).collect();
            if let (Some(event), Some(data)) = (fields.get("event"), fields.get("data")) {
                let id = fields.get("id").copied().unwrap_or_default().to_owned();
                told.push(Told { id, event: (*event).to_owned(), data: serde_json::from_str(data)? });
            }
        }
        Ok(told)
    }
}
