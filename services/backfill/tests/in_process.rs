//! The whole backfill against the in-process cluster and the store in memory, with stand-in networks.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use jtav_backfill::{Account, Backfill, End, Options, Phase, backfill, default_group};
use jtav_feed_processor::Networks;
use jtav_kafka::{InProcessCluster, OutboundRecord, Producer, ProducerSettings, group_positions, read_all};
use jtav_media::{DecodeParams, DecodePool};
use jtav_schemas::{Label, PerModality, Probabilities};
use jtav_settings::{Loader, Settings};
use jtav_store::{Applied, EmbeddedStore, LabelWrite, Source, Store};

const PATIENCE: Duration = Duration::from_secs(20);
const LIVE: &str = "live@1";
const NEXT: &str = "next@2";
const HOUR: Duration = Duration::from_secs(3_600);

struct Bench {
    settings: Arc<Settings>,
    networks: Networks,
    store: EmbeddedStore,
    // Last: clients must be gone before the cluster.
    cluster: InProcessCluster,
}

impl Bench {
    fn new() -> Self {
        let cluster = InProcessCluster::create(1).unwrap();
        cluster.create_topic("posts", 2).unwrap();
        for topic in ["sentiment", "embeddings", "dead-letters", "erasures"] {
            cluster.create_topic(topic, 1).unwrap();
        }
        let settings = Loader::new()
            .set(format!("kafka.brokers={}", cluster.bootstrap()))
            .set("model.stub=true")
            .set("store.kind=embedded")
            .set("ingest.commit_interval_ms=50")
            // The in-process cluster misses a member that has left only after this.
            .set("ingest.session_timeout_ms=2000")
            .set("ingest.drain_timeout_ms=900")
            .load()
            .unwrap()
            .settings;
        let networks = Networks::load(&settings, Arc::new(|message: &str| panic!("{message}"))).unwrap();
        let networks = Networks { model_version: NEXT.into(), ..networks };
        Self { settings: Arc::new(settings), networks, store: EmbeddedStore::new(), cluster }
    }

    /// One after the other, so that offsets rise in this order.
    async fn produce(&self, records: impl IntoIterator<Item = OutboundRecord>) {
        let settings = ProducerSettings { linger_ms: 0, ..ProducerSettings::default() };
        let producer = Producer::new(&self.cluster.client("producer"), &settings).unwrap();
        for record in records {
            producer.send(record).await.unwrap();
        }
    }

    async fn run(
        &self,
        change: impl FnOnce(&mut Options),
        stop: impl Future<Output = ()>,
        progress: impl FnMut(jtav_backfill::Progress),
    ) -> anyhow::Result<(Account, End)> {
        let mut options = Options {
            group_id: default_group(&self.settings, NEXT),
            from_ms: None,
            to_ms: None,
            posts_per_second: 1e6,
            publish: false,
            dry_run: false,
        };
        change(&mut options);
        let with = Backfill {
            settings: Arc::clone(&self.settings),
            client: self.cluster.client("backfill"),
            store: Arc::new(self.store.clone()),
            networks: self.networks.clone(),
            decoders: DecodePool::start(&DecodeParams::for_tests()).unwrap(),
            options,
        };
        tokio::time::timeout(PATIENCE * 4, backfill(&with, stop, progress)).await.expect("it does not end")
    }

    async fn complete(&self) -> Account {
        let (account, end) = self.run(|_| {}, pending(), |_| {}).await.unwrap();
        assert_eq!(end, End::Complete, "{account:?}");
        account
    }

    fn positions(&self, group: &str) -> BTreeMap<i32, i64> {
        group_positions(&self.cluster.client("look"), group, "posts", PATIENCE).unwrap()
    }

    fn produced(&self, topic: &str) -> usize {
        read_all(&self.cluster.client("look"), topic, PATIENCE).unwrap().len()
    }

    async fn revision(&self, id: &str, model: &str) -> Option<u64> {
        self.store.read(id, model).await.unwrap().map(|label| label.revision)
    }
}

fn post(id: &str, revision: u64) -> OutboundRecord {
    let value =
        format!(r#"{{"id":"{id}","revision":{revision},"texts":[{{"role":"body","text":"a fine day {id}"}}]}}"#);
    OutboundRecord::keyed("posts", id.to_owned(), value)
}

fn live_label(id: &str, revision: u64) -> LabelWrite {
    LabelWrite {
        post_id: id.to_owned(),
        revision,
        source: Source { partition: 0, offset: 0 },
        model_version: LIVE.to_owned(),
        event_id: jtav_schemas::event_id(id, revision, LIVE),
        label: Label::Negative,
        certain: false,
        probabilities: Probabilities { negative: 0.9, neutral: 0.0, positive: 0.1 },
        valence: -0.8,
        probability: 0.1,
        lang: None,
        sentiment_json: "{}".into(),
        u: vec![0, 60].into(),
        modalities: PerModality::default(),
        semantic: None,
        labelled_at_ms: 0,
        ttl: HOUR,
    }
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("p{number}")).collect()
}

#[test]
fn every_post_that_is_not_erased_gets_the_new_label_and_nothing_live_is_touched() {
    actix_rt::System::new().block_on(async {
        let bench = Bench::new();
        let ids = ids(40);
        let mut records: Vec<OutboundRecord> = ids.iter().map(|id| post(id, 0)).collect();
        // An edit, an old revision that comes late, what nobody can read, and two tombstones: of one the store knows, the
        // other lies behind its post and the live workers have not come so far.
        records.extend([post("p1", 2), post("p1", 1)]);
        records.push(OutboundRecord::keyed("posts", "p2", "not json"));
        records.push(OutboundRecord::keyed("posts", "empty", r#"{"id":"empty","texts":[]}"#));
        records.push(OutboundRecord::tombstone("posts", "p3"));
        records.push(OutboundRecord::keyed("posts", "p4", r#"{"id":"p4","revision":1,"deleted":true}"#));
        let total = records.len() as u64;
        bench.produce(records).await;
        for id in &ids {
            assert_eq!(bench.store.apply(&live_label(id, 0)).await, Ok(Applied::Written));
        }
        bench.store.erase("p3", 0, HOUR).await.unwrap();

        let account = bench.complete().await;
        let figures = (account.written, account.stale, account.erased, account.tombstones);
        assert_eq!(figures, (39, 1, 2, 2), "{account:?}");
        assert_eq!((&account.rejected_by_reason, account.nothing_to_label), (&[("invalid_json", 1)].into(), 1));
        assert_eq!((account.posts + account.tombstones, account.records, account.left), (total, total, 0));
        assert_eq!((account.tombstones_on_topic, account.erasures_made_good), (2, 1));
        for id in &ids {
            let is_erased = ["p3", "p4"].contains(&id.as_str());
            let expected = if id == "p1" { 2 } else { 0 };
            assert_eq!(bench.revision(id, NEXT).await, (!is_erased).then_some(expected), "{id}");
            let live = bench.store.read(id, LIVE).await.unwrap();
            assert_eq!(live, (!is_erased).then(|| (&live_label(id, 0)).into()), "{id}");
            assert_eq!(bench.store.is_erased(id).await, Ok(is_erased), "{id}");
        }
        for topic in ["sentiment", "embeddings", "dead-letters", "erasures"] {
            assert_eq!(bench.produced(topic), 0, "{topic}");
        }
        assert!(bench.positions(&bench.settings.kafka.group_id).is_empty(), "the live group");

        // A second call has nothing to do but what came since.
        let again = bench.complete().await;
        assert_eq!((again.posts, again.done_before), (0, total), "{again:?}");
        bench.produce([post("p1", 3), post("new", 0)]).await;
        let more = bench.complete().await;
        assert_eq!((more.written, more.done_before), (2, total), "{more:?}");
        assert_eq!(bench.revision("p1", NEXT).await, Some(3));
    });
}

#[test]
fn a_stop_in_the_middle_loses_nothing_and_the_next_call_goes_on() {
    actix_rt::System::new().block_on(async {
        let bench = Bench::new();
        let ids = ids(60);
        bench.produce(ids.iter().map(|id| post(id, 0))).await;
        let (told, stop) = tokio::sync::oneshot::channel();
        let mut told = Some(told);
        let progress = |progress: jtav_backfill::Progress| {
            if progress.phase == Phase::Posts
                && progress.done >= 5
                && let Some(told) = told.take()
            {
                told.send(()).unwrap();
            }
        };
        let stop = async { stop.await.unwrap() };
        let (first, end) = bench.run(|options| options.posts_per_second = 20.0, stop, progress).await.unwrap();
        assert_eq!(end, End::Stopped, "{first:?}");
        assert!(first.written >= 5 && first.left > 0, "{first:?}");
        assert_eq!(first.written + first.left, 60, "what is settled is committed: {first:?}");
        let second = bench.complete().await;
        assert_eq!((second.done_before, second.written), (first.written, first.left), "{second:?}");
        for id in &ids {
            assert_eq!(bench.revision(id, NEXT).await, Some(0), "{id}");
        }
    });
}

#[test]
fn a_dry_run_counts_the_same_and_leaves_no_trace() {
    actix_rt::System::new().block_on(async {
        let bench = Bench::new();
        let mut records: Vec<OutboundRecord> = ids(10).iter().map(|id| post(id, 0)).collect();
        records.push(OutboundRecord::keyed("posts", "p2", "not json"));
        records.push(OutboundRecord::tombstone("posts", "p3"));
        bench.produce(records).await;
        let (dry, end) = bench.run(|options| options.dry_run = true, pending(), |_| {}).await.unwrap();
        assert_eq!(end, End::Complete);
        assert!(bench.store.is_empty() && !bench.store.is_erased("p3").await.unwrap());
        assert!(bench.positions(&dry.group).is_empty());
        let wet = bench.complete().await;
        assert_eq!((wet.written, wet.erased, wet.erasures_made_good), (9, 1, 1), "{wet:?}");
        let same = Account { dry_run: false, left: wet.left, seconds: wet.seconds, ..dry };
        assert_eq!(same, wet);
    });
}

#[test]
fn labels_go_to_the_topics_only_when_asked_and_receipts_never() {
    actix_rt::System::new().block_on(async {
        let bench = Bench::new();
        bench.produce([post("a", 0), post("b", 0), OutboundRecord::tombstone("posts", "b")]).await;
        let (account, _) = bench.run(|options| options.publish = true, pending(), |_| {}).await.unwrap();
        assert_eq!((account.written, account.erased), (1, 1), "{account:?}");
        let labels = read_all(&bench.cluster.client("look"), "sentiment", PATIENCE).unwrap();
        let of_a = labels.iter().filter(|record| record.key.as_deref() == Some(b"a")).count();
        assert_eq!(of_a, 1);
        assert!(labels.iter().all(|record| record.key.as_deref() == Some(b"a") || record.value.is_none()));
        assert_eq!((bench.produced("erasures"), bench.produced("dead-letters")), (0, 0));
    });
}

#[test]
fn the_group_of_the_live_workers_is_refused() {
    actix_rt::System::new().block_on(async {
        let bench = Bench::new();
        let live = bench.settings.kafka.group_id.clone();
        let refused = bench.run(|options| options.group_id = live, pending(), |_| {}).await;
        assert!(refused.unwrap_err().to_string().contains("kafka.group_id"));
    });
}
