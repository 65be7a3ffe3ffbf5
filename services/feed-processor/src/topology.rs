//! The diagram as code: starts the boxes, downstream first, and connects them. The only place that knows two of them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::{Actor, Addr};
use actix_rt::Arbiter;
use anyhow::Context as _;
use jtav_audio_encoder::AudioEncoderActor;
use jtav_delivery::{PostBounds, PostPermits};
use jtav_fusion::FusionActor;
use jtav_image_encoder::ImageEncoderActor;
use jtav_ingest::{Drain, IngestExit, IngestHandle, IngestParams, IngestSettings, Pause, RESTART, Resume, StageWatch};
use jtav_kafka::{AssignmentStrategy, ClientSettings, ConsumerSettings, Producer, ProducerSettings};
use jtav_media::{
    AddressPolicy, DecodeActor, DecodeParams, DecodePool, FetchActor, FetchLimits, FetchParams, Fetcher, HostRules,
    Isolation, MediaSources, ProcessParams,
};
use jtav_media_codecs::DecodeLimits;
use jtav_pipeline::{
    Admitted, Heartbeat, MediaDecoder, MediaFetcher, Observer, Publisher, RetryPolicy, RouterIntake, StageFlow, Stages,
};
use jtav_publisher::{OutputTopics, PublisherActor, PublisherParams, Reach, WayOut};
use jtav_router::{EncodingCache, RouterActor, RouterLanes, RouterParams};
use jtav_settings::{AssignmentStrategy as Strategy, Media as MediaSettings, MediaSource, Settings};

use jtav_store::Store;
use jtav_telemetry::Conservation;
use jtav_text_encoder::TextEncoderActor;

use crate::networks::Networks;
use crate::rereading::{Rereading, RereadingPublisher};
use crate::specimens::Specimens;

/// Between two looks at whether every actor is there.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What stands for the actors that share the system's thread: text, audio and image encoder, fusion, decode, publisher.
pub const SHARED_THREAD: &str = "actors";
/// Longest wait for the producer's last acknowledgements.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What the boxes between ingest and publisher are made of.
#[derive(Clone)]
pub struct BoxesParams {
    pub settings: Arc<Settings>,
    /// Device threads.
    pub networks: Networks,
    /// Decode media.
    pub decoders: DecodePool,
    /// Encodings that are known.
    pub cache: EncodingCache,
    /// Watches outcomes.
    pub observer: Arc<dyn Observer>,
    /// Counts what passes the stages, over all generations.
    pub flow: StageFlow,
}

/// What a pipeline is made of; lives longer than any generation of it.
#[derive(Clone)]
pub struct PipelineParams {
    /// Of the boxes in the middle.
    pub boxes: BoxesParams,
    /// How to reach Kafka.
    pub client: ClientSettings,
    /// Where labels are kept.
    pub store: Arc<dyn Store>,
    /// Leave to be inside, over all generations.
    pub permits: PostPermits,
    /// Counts over all generations.
    pub conservation: Arc<Conservation>,
    /// Is told whether the dead-letter topic takes what it is given.
    pub way_out: Arc<WayOut>,
    /// A part of the topic to read again in place of the live feed.
    pub rereading: Option<Rereading>,
}

/// One running generation.
pub struct Pipeline {
    pub ingest: IngestHandle,
    pub boxes: Boxes,
    intake: Arc<Intake>,
    specimens: Arc<Specimens>,
    producer: Producer,
}

/// Where ingest hands posts over: the lanes of the generation that runs.
struct Intake(RwLock<RouterLanes>);

impl Intake {
    fn set(&self, lanes: RouterLanes) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = lanes;
    }
}

impl RouterIntake for Intake {
    fn admit(&self, post: Admitted) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).admit(post);
    }
}

impl Pipeline {
    /// Starts every box, downstream first, so that no box ever speaks to one that is not there.
    ///
    /// # Errors
    /// A client that cannot be made, settings that contradict each other.
    pub fn start(params: &PipelineParams) -> anyhow::Result<Self> {
        let (boxes, producer) = start_boxes(params)?;
        let intake = Arc::new(Intake(RwLock::new(boxes.lanes.clone())));
        let specimens = Arc::new(Specimens::new(boxes.stages.clone(), &params.boxes));
        let ingest = start_ingest(params, Arc::clone(&intake), Arc::clone(&specimens))?;
        Ok(Self { ingest, boxes, intake, specimens, producer })
    }

    /// Stops letting posts in and ends every box behind ingest; what is in flight is abandoned and comes again. Ingest
    /// stays a member of its group: no other worker is troubled, and no post waits for the group to come to rest.
    pub async fn stop_boxes(&self) {
        // Fails only where ingest has ended, which is seen by whoever waits for that.
        let _ = self.ingest.addr.send(Pause { cause: RESTART }).await;
        self.boxes.stop();
    }

    /// Every box behind ingest anew, and posts again.
    ///
    /// # Errors
    /// As [`Self::start`]; intake stays stopped.
    pub async fn restart_boxes(&mut self, params: &PipelineParams) -> anyhow::Result<()> {
        let (boxes, producer) = start_boxes(params)?;
        self.intake.set(boxes.lanes.clone());
        self.specimens.set(boxes.stages.clone());
        (self.boxes, self.producer) = (boxes, producer);
        let _ = self.ingest.addr.send(Resume { cause: RESTART }).await;
        Ok(())
    }

    /// Stops intake, settles what is in flight, flushes, commits, leaves the group.
    pub async fn drain(&self, timeout: Duration) -> IngestExit {
        let exit = self.ingest.addr.send(Drain { timeout }).await;
        let exit = exit.unwrap_or_else(|error| IngestExit::Failed(format!("ingest is gone: {error}")));
        let producer = self.producer.clone();
        // Flushing blocks; every record that mattered was awaited already.
        let flushed = tokio::task::spawn_blocking(move || producer.flush(FLUSH_TIMEOUT)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the producer still held records at the end; they belong to posts that come again");
        }
        exit
    }
}

/// The boxes between ingest and publisher, with the arbiters they run on.
pub struct Boxes {
    /// Box 2, the way in.
    pub lanes: RouterLanes,
    stages: Stages,
    arbiters: Vec<Arbiter>,
    watched: Vec<Watched>,
    /// Of the threads that run them; lanes and downloads have some of their own, the other actors share that of the system.
    pub beats: Beats,
}

/// Signs of life of the threads that run actors.
#[derive(Clone, Default)]
pub struct Beats {
    /// Of the lanes' threads. Posts live there: one that hangs keeps theirs, with permits and guards, for good.
    lanes: Vec<Heartbeat>,
    /// Of the thread of downloads, which new boxes do without.
    fetch: Heartbeat,
    /// Of the thread that runs everything else, the supervisor too.
    shared: Heartbeat,
}

impl Beats {
    fn start(lanes: &[Arbiter], fetch: &Arbiter) -> Self {
        let beats = Self { lanes: lanes.iter().map(|_| Heartbeat::default()).collect(), ..Self::default() };
        for (heartbeat, arbiter) in beats.lanes.iter().zip(lanes) {
            arbiter.spawn(heartbeat.beat());
        }
        fetch.spawn(beats.fetch.beat());
        actix_rt::spawn(beats.shared.beat());
        beats
    }

    /// Time since each thread last answered.
    pub fn ages(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let lanes = self.lanes.iter().map(|heartbeat| ("router", heartbeat.age()));
        lanes.chain([("fetch", self.fetch.age()), (SHARED_THREAD, self.shared.age())])
    }

    /// A thread that does not answer any more and that new boxes do without.
    fn hung(&self, after: Duration) -> Option<&'static str> {
        (self.fetch.age() > after).then_some("fetch")
    }
}

/// How the boxes of a generation fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxFailure {
    /// An actor has ended: a panic in it or the end of its thread closes its mailbox, and whoever asks it gets errors.
    Ended(&'static str),
    /// The thread of one does not answer any more.
    Hung(&'static str),
}

/// An actor that must not end.
struct Watched {
    name: &'static str,
    is_there: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Watched {
    fn new<A: Actor>(name: &'static str, addr: &Addr<A>) -> Self {
        let addr = addr.clone();
        Self { name, is_there: Box::new(move || addr.connected()) }
    }
}

impl Boxes {
    /// Starts fusion, encoders, media and router before a publisher. `fetch` replaces downloads, for local files.
    ///
    /// # Errors
    /// No thread, no HTTP client.
    pub fn start(
        params: &BoxesParams,
        publisher: Arc<dyn Publisher>,
        fetch: Option<Arc<dyn MediaFetcher>>,
    ) -> anyhow::Result<Self> {
        let mut watched = Vec::new();
        let media_arbiter = Arbiter::new();
        let fusion = start_fusion(&params.networks);
        let (text_encoder, audio_encoder, image_encoder) = start_encoders(&params.networks);
        watched.push(Watched::new("fusion", &fusion));
        watched.push(Watched::new("text_encoder", &text_encoder));
        watched.push(Watched::new("audio_encoder", &audio_encoder));
        watched.push(Watched::new("image_encoder", &image_encoder));
        let media = start_media(&params.settings, params.decoders.clone(), fetch, &media_arbiter, &mut watched)?;
        let stages = Stages {
            fetch: media.0,
            decode: media.1,
            text_encoder: Arc::new(text_encoder),
            audio_encoder: Arc::new(audio_encoder),
            image_encoder: Arc::new(image_encoder),
            fusion: Arc::new(fusion),
            publisher,
        };
        let (lanes, mut arbiters) = start_router(params, stages.clone())?;
        watched.extend(lanes.lanes().iter().map(|lane| Watched::new("router", lane)));
        let beats = Beats::start(&arbiters, &media_arbiter);
        arbiters.push(media_arbiter);
        Ok(Self { lanes, stages, arbiters, watched, beats })
    }

    fn watching<A: Actor>(mut self, name: &'static str, addr: &Addr<A>) -> Self {
        self.watched.push(Watched::new(name, addr));
        self
    }

    /// Resolves when an actor has ended, or the thread of one has not answered for `hung_after`. Cancellation safe.
    pub async fn failed(&self, hung_after: Duration) -> BoxFailure {
        loop {
            if let Some(gone) = self.watched.iter().find(|watched| !(watched.is_there)()) {
                return BoxFailure::Ended(gone.name);
            }
            if let Some(hung) = self.beats.hung(hung_after) {
                return BoxFailure::Hung(hung);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the arbiters; tasks that still run are dropped, which abandons their posts.
    pub fn stop(&self) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

fn start_boxes(params: &PipelineParams) -> anyhow::Result<(Boxes, Producer)> {
    let (publisher, producer) = start_publisher(params)?;
    let mut out: Arc<dyn Publisher> = Arc::new(publisher.clone());
    if params.rereading.is_some() {
        let erased_ttl = params.boxes.settings.store.erased_ttl();
        out = Arc::new(RereadingPublisher::new(out, Arc::clone(&params.store), erased_ttl));
    }
    let boxes = Boxes::start(&params.boxes, out, None)?.watching("publisher", &publisher);
    Ok((boxes, producer))
}

fn start_publisher(params: &PipelineParams) -> anyhow::Result<(Addr<PublisherActor>, Producer)> {
    let settings = &params.boxes.settings;
    let producer_settings =
        ProducerSettings { delivery_timeout_ms: settings.publish.deadline_ms as u32, ..ProducerSettings::default() };
    let producer = Producer::new(&params.client, &producer_settings).context("Kafka producer")?;
    ask_limits(&producer, settings);
    let publisher = PublisherActor::new(PublisherParams {
        store: Arc::clone(&params.store),
        sink: Arc::new(producer.clone()),
        topics: OutputTopics {
            sentiment: settings.kafka.sentiment_topic.clone(),
            embeddings: settings.kafka.embeddings_topic.clone(),
            dead_letters: settings.kafka.dead_letters_topic.clone(),
            erasures: settings.kafka.erasures_topic.clone(),
        },
        reach: match &params.rereading {
            Some(Rereading { publish: false, .. }) => Reach::Store,
            _ => Reach::Topics,
        },
        retry: RetryPolicy {
            max_attempts: settings.publish.attempts,
            base_delay: settings.publish.base_delay(),
            deadline: settings.publish.deadline(),
            ..RetryPolicy::default()
        },
        label_ttl: settings.store.ttl(),
        erased_ttl: settings.store.erased_ttl(),
        model_version: params.boxes.networks.model_version.to_string(),
        pipeline_version: env!("CARGO_PKG_VERSION").to_owned(),
        way_out: Arc::clone(&params.way_out),
    });
    Ok((publisher.start(), producer))
}

/// What the output topics take decides how much of a record a dead letter carries. Nothing waits for the answer: until it is
/// there, and where this user may not ask, the brokers' default counts, and a topic that takes less says so by refusing.
fn ask_limits(producer: &Producer, settings: &Settings) {
    let (producer, topics) = (producer.clone(), settings.kafka.topics());
    let outputs = topics.iter().filter(|(key, _)| *key != "kafka.input_topic").map(|(_, name)| (*name).to_owned());
    let outputs: Vec<String> = outputs.collect();
    actix::spawn(async move {
        if let Err(error) = producer.ask_limits(outputs).await {
            tracing::warn!(
                %error, "what the output topics take is not known (the right DescribeConfigs tells it); taken for 1 MB, the brokers' default"
            );
        }
    });
}

fn start_fusion(networks: &Networks) -> Addr<FusionActor> {
    FusionActor::new(networks.fusion.clone()).start()
}

fn start_encoders(networks: &Networks) -> (Addr<TextEncoderActor>, Addr<AudioEncoderActor>, Addr<ImageEncoderActor>) {
    (
        TextEncoderActor::new(networks.preparer.clone(), networks.text.clone()).start(),
        AudioEncoderActor::new(networks.audio.clone()).start(),
        ImageEncoderActor::new(networks.image.clone()).start(),
    )
}

type Media = (Arc<dyn MediaFetcher>, Arc<dyn MediaDecoder>);

fn start_media(
    settings: &Settings,
    decoders: DecodePool,
    fetch: Option<Arc<dyn MediaFetcher>>,
    arbiter: &Arbiter,
    watched: &mut Vec<Watched>,
) -> anyhow::Result<Media> {
    let decode = DecodeActor::new(decoders).start();
    watched.push(Watched::new("decode", &decode));
    let decode: Arc<dyn MediaDecoder> = Arc::new(decode);
    let fetch: Arc<dyn MediaFetcher> = match fetch {
        Some(fetch) => fetch,
        None => {
            let fetcher = fetcher(settings)?;
            let fetch = FetchActor::start_in_arbiter(&arbiter.handle(), move |_| FetchActor::new(fetcher));
            watched.push(Watched::new("fetch", &fetch));
            Arc::new(fetch)
        }
    };
    Ok((fetch, decode))
}

/// Downloads as the settings allow them.
///
/// # Errors
/// An HTTP client that cannot be made.
pub fn fetcher(settings: &Settings) -> anyhow::Result<Fetcher> {
    let media = &settings.media;
    let limits = FetchLimits {
        max_image_bytes: media.max_image_bytes as u32,
        max_audio_bytes: media.max_audio_bytes as u32,
        budget_bytes: media.byte_budget_bytes.min(u64::from(u32::MAX)) as u32,
        max_downloads: media.max_downloads,
        max_per_host: media.per_host_concurrency,
        max_idle_connections: media.max_idle_connections,
        max_redirects: media.max_redirects,
        max_attempts: media.attempts,
        connect_timeout: media.connect_timeout(),
        total_timeout: media.total_timeout(),
        host_failures: media.circuit_failures,
        host_rest: FetchLimits::default().host_rest.min(media.circuit_max_open()),
        max_host_rest: media.circuit_max_open(),
        ..FetchLimits::default()
    };
    let hosts = |names: &[String]| names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    let hosts = HostRules {
        allow: hosts(&media.allow_hosts).context("media.allow_hosts")?,
        deny: hosts(&media.deny_hosts).context("media.deny_hosts")?,
    };
    let nat64_prefixes = media.nat64_prefixes.iter().map(|prefix| prefix.parse()).collect::<Result<_, _>>();
    let nat64_prefixes = nat64_prefixes.context("media.nat64_prefixes")?;
    let params = FetchParams {
        policy: AddressPolicy { allow: media.allow.clone(), hosts, nat64_prefixes, ..AddressPolicy::default() },
        limits,
        user_agent: media.user_agent.clone(),
        sources: sources(media)?,
        ..FetchParams::default()
    };
    Fetcher::new(params).context("media downloads")
}

fn sources(media: &MediaSettings) -> anyhow::Result<MediaSources> {
    let has = |source| media.sources.contains(&source);
    let endpoint = media.s3_endpoint.as_deref().filter(|_| has(MediaSource::S3));
    Ok(MediaSources {
        data: has(MediaSource::Data),
        file_roots: if has(MediaSource::File) { media.file_roots.clone() } else { Vec::new() },
        s3: endpoint.map(str::parse).transpose().context("media.s3_endpoint")?,
    })
}

/// What the settings allow a decoder of the pipeline: where the networks run on a GPU, sound is resampled there.
fn pipeline_limits(settings: &Settings) -> DecodeLimits {
    let on_gpu = settings.model.runs_on_gpu();
    let left_rates_hz = if on_gpu { jtav_signal::DEVICE_RATES_HZ.to_vec() } else { Vec::new() };
    DecodeLimits { left_rates_hz, ..decode_limits(settings) }
}

/// What the settings allow a decoder.
pub fn decode_limits(settings: &Settings) -> DecodeLimits {
    let media = &settings.media;
    DecodeLimits {
        max_pixels: media.max_pixels,
        max_audio: Duration::from_secs(u64::from(media.max_decoded_audio_seconds)),
        analysed_audio: Duration::from_secs(u64::from(media.analysed_audio_seconds)),
        ..DecodeLimits::default()
    }
}

/// Decodes as the settings say, in processes of `program` or in threads. Blocks for some tenths of a second.
///
/// # Errors
/// No thread, no process.
pub fn decoders(settings: &Settings, program: ProcessParams) -> anyhow::Result<DecodePool> {
    let params = DecodeParams {
        limits: pipeline_limits(settings),
        workers: settings.media.decode_worker_count(),
        max_queued: settings.ingest.max_in_flight_posts * 2,
        isolation: match settings.media.decode_processes {
            true => Isolation::Processes(program),
            false => Isolation::Threads,
        },
    };
    DecodePool::start(&params).context("decode workers; media.decode_processes = false does without processes")
}

/// The program that runs now as decode worker, within the limits of the settings. It must be `jtav`.
pub fn this_program(settings: &Settings) -> ProcessParams {
    ProcessParams {
        max_memory_bytes: settings.media.decode_memory_bytes,
        max_cpu: settings.media.decode_cpu(),
        max_wall: settings.media.decode_wall(),
        ..ProcessParams::this_program()
    }
}

fn start_router(params: &BoxesParams, stages: Stages) -> anyhow::Result<(RouterLanes, Vec<Arbiter>)> {
    let settings = &params.settings;
    let router = RouterParams {
        stages,
        cache: params.cache.clone(),
        model_version: Arc::clone(&params.networks.model_version),
        observer: Arc::clone(&params.observer),
        flow: params.flow.clone(),
        post_deadline: settings.router.post_deadline(),
        trial_deadline: settings.router.trial_deadline(),
        fetch_timeout: settings.media.total_timeout(),
        parked_patience: settings.router.parked_deadline(),
        attempts: settings.router.attempts,
        max_text_chars: settings.router.max_text_chars,
    };
    let mut arbiters = Vec::new();
    let mut lanes = Vec::new();
    for _ in 0..settings.router.lane_count() {
        let arbiter = Arbiter::new();
        let router = router.clone();
        lanes.push(RouterActor::start_in_arbiter(&arbiter.handle(), move |_| RouterActor::new(router)));
        arbiters.push(arbiter);
    }
    let lanes = RouterLanes::new(lanes).context("router.lanes must be at least 1")?;
    Ok((lanes, arbiters))
}

fn start_ingest(
    params: &PipelineParams,
    intake: Arc<Intake>,
    specimens: Arc<Specimens>,
) -> anyhow::Result<IngestHandle> {
    let (kafka, ingest) = (&params.boxes.settings.kafka, &params.boxes.settings.ingest);
    let mut consumer = ConsumerSettings {
        topic: kafka.input_topic.clone(),
        group_id: kafka.group_id.clone(),
        instance_id: kafka.group_instance_id.clone(),
        assignment: match kafka.assignment_strategy {
            Strategy::CooperativeSticky => AssignmentStrategy::CooperativeSticky,
            Strategy::Range => AssignmentStrategy::Range,
            Strategy::RoundRobin => AssignmentStrategy::RoundRobin,
        },
        session_timeout_ms: ingest.session_timeout_ms as u32,
        heartbeat_interval_ms: (ingest.session_timeout_ms as u32 / 3).min(3_000),
        max_poll_interval_ms: ingest.max_poll_interval_ms as u32,
        queued_max_messages_kbytes: (ingest.prefetch_max_bytes / 1024).max(1) as u32,
        // What the memory ceiling counts for a record. Half of it is sure to the value, so all that is parsed is whole.
        max_kept_bytes: 2 * ingest.max_record_bytes as u64,
        ..ConsumerSettings::default()
    };
    let defaults = IngestSettings::default();
    let mut settings = IngestSettings {
        max_record_bytes: ingest.max_record_bytes,
        max_in_flight_per_partition: ingest.max_in_flight_per_partition,
        max_window_per_partition: defaults.max_window_per_partition.max(ingest.max_in_flight_per_partition),
        commit_interval_ms: ingest.commit_interval_ms,
        drain_timeout_ms: ingest.drain_timeout_ms,
        max_rewinds: ingest.rewind_attempts,
        max_deadlines: params.boxes.settings.router.max_deadlines,
        trial_deadline: params.boxes.settings.router.trial_deadline(),
        breaker_failed_percent: ingest.breaker_failed_percent,
        ..defaults
    };
    if let Some(rereading) = &params.rereading {
        consumer.group_id.clone_from(&rereading.group_id);
        consumer.instance_id = None;
        consumer.tell_end_of_partition = true;
        settings.min_admission_gap = rereading.min_gap();
        settings.stretch = Some(rereading.stretch.clone());
    }
    let handle = IngestHandle::start(IngestParams {
        client: params.client.clone(),
        consumer,
        settings,
        intake,
        permits: params.permits.clone(),
        conservation: Arc::clone(&params.conservation),
        stages: StageWatch {
            flow: params.boxes.flow.clone(),
            is_quiet: {
                let networks = params.boxes.networks.clone();
                Arc::new(move || networks.is_idle())
            },
            try_out: Arc::new(move |stage| specimens.try_out(stage)),
        },
    })?;
    Ok(handle)
}

/// Leave to be inside, as the settings say.
pub fn permits(settings: &Settings) -> PostPermits {
    let ingest = &settings.ingest;
    PostPermits::with_bounds(PostBounds {
        posts: ingest.max_in_flight_posts,
        media_posts: ingest.media_post_count(),
        parked_posts: ingest.max_parked_posts,
        parked_bytes: ingest.max_parked_bytes,
    })
}

/// The Kafka client that the settings describe.
pub fn client_settings(settings: &Settings) -> ClientSettings {
    let mut client = ClientSettings::new(&settings.kafka.brokers, &settings.kafka.client_id);
    client.librdkafka = settings.kafka.librdkafka.to_map().into_iter().collect::<BTreeMap<_, _>>();
    client
}
