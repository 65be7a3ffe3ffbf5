//! The worker's own router and boxes without a broker: posts go in with a number, outcomes come out with it.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use jtav_delivery::{AssignmentEpoch, DeliveryGuard, DeliveryTag, PostPermits};
use jtav_feed_processor::parameters::fetcher;
use jtav_feed_processor::{Boxes, BoxesParams, Networks, exit};
use jtav_media::DecodePool;
use jtav_pipeline::{
    Admitted, Ends, FetchRequest, InboundRecord, MediaFetcher, Observer, PostEvent, PostReport, Publisher, Rejection,
    RouterIntake as _, Run, StageFlow, now_ms,
};
use jtav_router::EncodingCache;
use jtav_schemas::{AbsentReason, Decoded, DeliveredFrom, MediaRef, Modality};
use jtav_settings::Settings;
use tokio::sync::mpsc;

use super::io::FilesOrNetwork;
use crate::failure::coded;
use crate::setup;

/// Boxes that run, and the way in.
pub struct Bench {
    boxes: Boxes,
    permits: PostPermits,
    /// Outcomes, in the order in which posts settle.
    pub reports: mpsc::UnboundedReceiver<PostReport>,
    files: Arc<FilesOrNetwork>,
    decoders: DecodePool,
}

/// Hands each outcome on.
struct Reports(mpsc::UnboundedSender<PostReport>);

impl Observer for Reports {
    fn settled(&self, report: PostReport) {
        // Bounded by the permits: a report is taken before the next post is let in far ahead of it.
        let _ = self.0.send(report);
    }
}

impl Bench {
    /// Loads the networks and starts the boxes; labels go to `publisher`.
    ///
    /// # Errors
    /// No such checkpoint, no decode workers.
    pub fn start(settings: &Arc<Settings>, publisher: Arc<dyn Publisher>) -> anyhow::Result<Self> {
        let decoders = setup::decoders(settings);
        let networks = Networks::load(settings, setup::exit_on_device_fault()).map_err(coded(exit::CONFIG))?;
        let decoders = decoders()?;
        let (sender, reports) = mpsc::unbounded_channel();
        let params = BoxesParams {
            settings: Arc::clone(settings),
            cache: EncodingCache::new(settings.cache.max_bytes, &networks.model_version),
            networks,
            decoders: decoders.clone(),
            observer: Arc::new(Reports(sender)),
            flow: StageFlow::default(),
        };
        let files = Arc::new(FilesOrNetwork {
            network: fetcher(settings)?,
            max_image_bytes: settings.media.max_image_bytes,
            max_audio_bytes: settings.media.max_audio_bytes,
        });
        let media: Arc<dyn MediaFetcher> = files.clone();
        let boxes = Boxes::start(&params, publisher, Some(media), Ends::default())?;
        let permits = PostPermits::new(settings.ingest.max_in_flight_posts);
        Ok(Self { boxes, permits, reports, files, decoders })
    }

    /// Lets a post in, once there is room for it. There is no broker to hold an offset, so settlements go nowhere.
    pub async fn admit(&self, number: i64, event: Result<PostEvent, Rejection>) {
        let permit = self.permits.acquire().await;
        let source = DeliveredFrom { topic: "jsonl".to_owned(), partition: 0, offset: number, timestamp_ms: None };
        let record = InboundRecord { source, key: None, value: None, headers: Vec::new(), cut: None };
        let (nowhere, _) = std::sync::mpsc::channel();
        let tag = DeliveryTag { partition: 0, offset: number, epoch: AssignmentEpoch(0) };
        self.boxes.lanes.admit(Admitted {
            record: Arc::new(record),
            event,
            run: Run::Ordinary,
            guard: DeliveryGuard::new(tag, Arc::new(nowhere)),
            permit,
            received_at: Instant::now(),
            received_at_ms: now_ms(),
        });
    }

    /// A medium as the encoders get it, by `deadline`; `Err` inside says why there is none.
    ///
    /// # Errors
    /// The decode workers failed.
    pub async fn decoded(
        &self,
        modality: Modality,
        media: MediaRef,
        deadline: Instant,
    ) -> anyhow::Result<Result<Decoded, AbsentReason>> {
        match self.files.fetch(FetchRequest { modality, media, deadline }).await {
            Ok(fetched) => self.decoders.decode(fetched).await.context("decoding"),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Ends the boxes.
    pub fn stop(self) {
        self.boxes.stop();
    }
}
