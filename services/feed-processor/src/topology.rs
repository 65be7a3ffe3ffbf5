//! The diagram as code: starts the boxes, downstream first, and connects them. The only place that knows two of them.

use std::sync::Arc;
use std::time::Duration;

use actix::Actor as _;
use actix_rt::Arbiter;
use anyhow::Context as _;
use jtav_audio_encoder::AudioStage;
use jtav_delivery::FairQueue;
use jtav_fusion::FusionStage;
use jtav_image_encoder::ImageStage;
use jtav_ingest::{IngestHandle, IngestParams, StageWatch};
use jtav_kafka::Producer;
use jtav_pipeline::{
    AudioEncoder, Ends, Fusion, ImageEncoder, MediaDecoder, MediaFetcher, Publisher, Stage, StageActor, Stages,
    TextEncoder,
};
use jtav_publisher::PublisherStage;
use jtav_router::{DecodedRoom, RouterActor, RouterLanes};
use jtav_text_encoder::TextStage;

use crate::intake::Intake;
use crate::networks::Networks;
use crate::output_limits::ask_limits;
use crate::parameters::{
    BoxesParams, PipelineParams, consumer_settings, fetcher, ingest_settings, producer_settings, publisher_params,
    router_params,
};
use crate::rereading::RereadingPublisher;
use crate::specimens::Specimens;
use crate::vitals::{Beats, BoxFailure, failed};

/// One running generation.
pub struct Pipeline {
    pub ingest: IngestHandle,
    pub boxes: Boxes,
    pub(crate) intake: Arc<Intake>,
    pub(crate) specimens: Arc<Specimens>,
    pub(crate) producer: Producer,
}

impl Pipeline {
    /// Starts every box, downstream first, so that no box ever speaks to one that is not there.
    ///
    /// # Errors
    /// A client that cannot be made, settings that contradict each other.
    pub fn start(params: &PipelineParams) -> anyhow::Result<Self> {
        let (boxes, producer) = start_boxes(params)?;
        let intake = Arc::new(Intake::new(boxes.lanes.clone()));
        let BoxesParams { flow, settings, .. } = &params.boxes;
        let patience = settings.router.trial_deadline();
        let specimens = Arc::new(Specimens::new(boxes.stages.clone(), flow.clone(), patience));
        let ingest = start_ingest(params, Arc::clone(&intake), Arc::clone(&specimens))?;
        Ok(Self { ingest, boxes, intake, specimens, producer })
    }
}

/// The boxes between ingest and publisher, with the arbiters they run on.
pub struct Boxes {
    /// Box 2, the way in.
    pub lanes: RouterLanes,
    /// Of the threads that run them: one for each lane, with the actors that its posts visit, one for downloads, and that of
    /// the system, where decoding is handed out (ADR 54).
    pub beats: Beats,
    /// Of the first lane, for what is asked beside the posts.
    pub(crate) stages: Stages,
    arbiters: Vec<Arbiter>,
    ends: Ends,
}

impl Boxes {
    /// Starts fusion, encoders, media and router before a publisher; `ends` is told of theirs. `fetch` replaces downloads,
    /// for local files.
    ///
    /// # Errors
    /// No thread, no HTTP client.
    pub fn start(
        params: &BoxesParams,
        publisher: Arc<dyn Publisher>,
        fetch: Option<Arc<dyn MediaFetcher>>,
        ends: Ends,
    ) -> anyhow::Result<Self> {
        let media_arbiter = Arbiter::new();
        let mut arbiters: Vec<Arbiter> = (0..params.settings.router.lane_count()).map(|_| Arbiter::new()).collect();
        let publisher = publisher_of_each(&arbiters, &publisher, &ends);
        let fusion = start_fusion(&arbiters, &params.networks, &ends);
        let encoders = start_encoders(&arbiters, &params.networks, &ends);
        let (fetch, decode) = start_media(params, fetch, &media_arbiter, &ends)?;
        let parts = encoders.into_iter().zip(fusion).zip(publisher);
        let stages = parts.map(|(((text_encoder, audio_encoder, image_encoder), fusion), publisher)| {
            let (fetch, decode) = (Arc::clone(&fetch), Arc::clone(&decode));
            Stages { fetch, decode, text_encoder, audio_encoder, image_encoder, fusion, publisher }
        });
        let stages: Vec<Stages> = stages.collect();
        let lanes = start_router(&arbiters, params, &stages, &ends)?;
        let beats = Beats::start(&arbiters, &media_arbiter);
        arbiters.push(media_arbiter);
        let stages = stages.into_iter().next().context("router.lanes must be at least 1")?;
        Ok(Self { lanes, beats, stages, arbiters, ends })
    }

    /// Resolves when an actor has ended, or the thread of one has not answered for `hung_after`. Cancellation safe.
    pub async fn failed(&self, hung_after: Duration) -> BoxFailure {
        failed(&self.ends, &self.beats, hung_after).await
    }

    /// Ends the arbiters; tasks that still run are dropped, which abandons their posts.
    pub fn stop(&self) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

pub(crate) fn start_boxes(params: &PipelineParams) -> anyhow::Result<(Boxes, Producer)> {
    let ends = Ends::default();
    let (mut publisher, producer) = start_publisher(params)?;
    if params.rereading.is_some() {
        let erased_ttl = params.boxes.settings.store.erased_ttl();
        publisher = Arc::new(RereadingPublisher::new(publisher, Arc::clone(&params.store), erased_ttl));
    }
    let boxes = Boxes::start(&params.boxes, publisher, None, ends)?;
    Ok((boxes, producer))
}

fn start_publisher(params: &PipelineParams) -> anyhow::Result<(Arc<dyn Publisher>, Producer)> {
    let settings = &params.boxes.settings;
    let producer = Producer::new(&params.client, &producer_settings(settings)?).context("Kafka producer")?;
    ask_limits(&producer, settings);
    let publisher = PublisherStage::new(publisher_params(params, &producer));
    Ok((Arc::new(publisher), producer))
}

/// One actor of a stage on the thread of each lane: what a post asks there costs neither a system call to ask nor one to
/// answer.
fn publisher_of_each(lanes: &[Arbiter], publisher: &Arc<dyn Publisher>, ends: &Ends) -> Vec<Arc<dyn Publisher>> {
    let one = |lane: &Arbiter| -> Arc<dyn Publisher> {
        Arc::new(StageActor::<dyn Publisher>::start_in(&lane.handle(), Arc::clone(publisher), ends))
    };
    lanes.iter().map(one).collect()
}

fn start_fusion(lanes: &[Arbiter], networks: &Networks, ends: &Ends) -> Vec<Arc<dyn Fusion>> {
    let one = |lane: &Arbiter| -> Arc<dyn Fusion> {
        let fusion = FusionStage::new(networks.fusion.clone());
        Arc::new(StageActor::<dyn Fusion>::start_in(&lane.handle(), Arc::new(fusion), ends))
    };
    lanes.iter().map(one).collect()
}

type Encoders = (Arc<dyn TextEncoder>, Arc<dyn AudioEncoder>, Arc<dyn ImageEncoder>);

fn start_encoders(lanes: &[Arbiter], networks: &Networks, ends: &Ends) -> Vec<Encoders> {
    let one = |lane: &Arbiter| -> Encoders {
        let text = TextStage::new(networks.preparer.clone(), networks.text.clone());
        let (audio, image) = (AudioStage::new(networks.audio.clone()), ImageStage::new(networks.image.clone()));
        let lane = lane.handle();
        (
            Arc::new(StageActor::<dyn TextEncoder>::start_in(&lane, Arc::new(text), ends)),
            Arc::new(StageActor::<dyn AudioEncoder>::start_in(&lane, Arc::new(audio), ends)),
            Arc::new(StageActor::<dyn ImageEncoder>::start_in(&lane, Arc::new(image), ends)),
        )
    };
    lanes.iter().map(one).collect()
}

type Media = (Arc<dyn MediaFetcher>, Arc<dyn MediaDecoder>);

fn start_media(
    params: &BoxesParams,
    fetch: Option<Arc<dyn MediaFetcher>>,
    arbiter: &Arbiter,
    ends: &Ends,
) -> anyhow::Result<Media> {
    let decode = StageActor::<dyn MediaDecoder>::start(Arc::new(params.decoders.clone()), ends);
    let fetch: Arc<dyn MediaFetcher> = match fetch {
        Some(fetch) => fetch,
        None => {
            let fetcher = Arc::new(fetcher(&params.settings)?);
            Arc::new(StageActor::<dyn MediaFetcher>::start_in(&arbiter.handle(), fetcher, ends))
        }
    };
    Ok((fetch, Arc::new(decode)))
}

fn start_router(
    arbiters: &[Arbiter],
    params: &BoxesParams,
    stages: &[Stages],
    ends: &Ends,
) -> anyhow::Result<RouterLanes> {
    let decoded = DecodedRoom::new(FairQueue::new(params.settings.media.max_decoded));
    let one = |(arbiter, stages): (&Arbiter, &Stages)| {
        let lane = RouterActor::new(router_params(params, stages.clone(), decoded.clone()));
        let lane = lane.watched(ends.lifeline(Stage::Router.as_str()));
        RouterActor::start_in_arbiter(&arbiter.handle(), move |_| lane)
    };
    RouterLanes::new(arbiters.iter().zip(stages).map(one).collect()).context("router.lanes must be at least 1")
}

fn start_ingest(
    params: &PipelineParams,
    intake: Arc<Intake>,
    specimens: Arc<Specimens>,
) -> anyhow::Result<IngestHandle> {
    let BoxesParams { settings, networks, flow, .. } = &params.boxes;
    let (networks, rereading) = (networks.clone(), params.rereading.as_ref());
    let handle = IngestHandle::start(IngestParams {
        client: params.client.clone(),
        consumer: consumer_settings(settings, rereading)?,
        settings: ingest_settings(settings, rereading),
        intake,
        permits: params.permits.clone(),
        conservation: Arc::clone(&params.conservation),
        stages: StageWatch {
            flow: flow.clone(),
            is_quiet: Arc::new(move || networks.is_idle()),
            try_out: Arc::new(move |stage| specimens.try_out(stage)),
        },
    })?;
    Ok(handle)
}
