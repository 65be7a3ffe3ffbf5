//! What a stage is tried out with while a post is judged that hangs in it: something that passes a stage that is well. Its
//! way through is counted like that of a post, and nothing else is done with what comes of it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_media_codecs::{SAMPLE_RATE_HZ, write_wav};
use jtav_pipeline::{FetchedMedia, Pcm, RgbImage, Stage, StageFlow, Stages};
use jtav_schemas::{Modality, TextPart};

/// Sides of a picture as the network takes it.
const PICTURE_SIDE_PIXELS: u32 = 224;

/// Specimens on their way. At most one for each stage is under way at a time.
pub(crate) struct Specimens {
    /// Of the generation that runs.
    stages: RwLock<Stages>,
    flow: StageFlow,
    patience: Duration,
    arbiter: ArbiterHandle,
    under_way: Arc<[AtomicBool; Stage::ALL.len()]>,
}

impl Specimens {
    /// Must be made inside an actix system; specimens run on its thread.
    pub(crate) fn new(stages: Stages, flow: StageFlow, patience: Duration) -> Self {
        Self {
            stages: RwLock::new(stages),
            flow,
            patience,
            arbiter: Arbiter::current(),
            under_way: Arc::new(std::array::from_fn(|_| AtomicBool::new(false))),
        }
    }

    /// The boxes are new.
    pub(crate) fn set(&self, stages: Stages) {
        *self.stages.write().unwrap_or_else(PoisonError::into_inner) = stages;
    }

    /// Sends a specimen through a stage; does not wait for it.
    pub(crate) fn try_out(&self, stage: Stage) {
        let stages = self.stages.read().unwrap_or_else(PoisonError::into_inner);
        let Some(work) = specimen(stage, &stages) else { return };
        if self.under_way[stage as usize].swap(true, Ordering::AcqRel) {
            return;
        }
        let (under_way, tracker, patience) = (Arc::clone(&self.under_way), self.flow.tracker(), self.patience);
        self.arbiter.spawn(async move {
            let visit = tracker.enter(stage);
            if tokio::time::timeout(patience, work).await == Ok(true) {
                visit.passed();
            }
            under_way[stage as usize].store(false, Ordering::Release);
        });
    }
}

/// The work of a stage on its specimen; true if it was done. Downloads have none: whose server would be asked?
fn specimen(stage: Stage, stages: &Stages) -> Option<BoxFuture<'static, bool>> {
    Some(match stage {
        Stage::Decode => done(stages.decode.decode(clip())),
        Stage::TextEncoder => {
            let text = TextPart { role: "body".to_owned(), text: "a quiet day by the sea".to_owned() };
            done(stages.text_encoder.encode(vec![text]))
        }
        Stage::AudioEncoder => {
            let samples = vec![0.0; SAMPLE_RATE_HZ as usize].into();
            done(stages.audio_encoder.encode(Pcm { samples, sample_rate_hz: SAMPLE_RATE_HZ }))
        }
        Stage::ImageEncoder => {
            let pixels = vec![128; (PICTURE_SIDE_PIXELS * PICTURE_SIDE_PIXELS * 3) as usize].into();
            let image = RgbImage { width: PICTURE_SIDE_PIXELS, height: PICTURE_SIDE_PIXELS, pixels };
            done(stages.image_encoder.encode(image))
        }
        Stage::Ingest | Stage::Router | Stage::Fetch | Stage::Fusion | Stage::Publisher => return None,
    })
}

fn done<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> BoxFuture<'static, bool> {
    work.map(|result| result.is_ok()).boxed()
}

/// A tenth of a second of silence as a WAV file of 16 bits.
fn clip() -> FetchedMedia {
    let samples = vec![0; SAMPLE_RATE_HZ as usize / 10];
    FetchedMedia {
        account: None,
        modality: Modality::Audio,
        bytes: Bytes::from(write_wav(&samples, SAMPLE_RATE_HZ)),
        content_hash: [0; 32],
        media_type: Some("audio/wav".to_owned()),
        reservation: None,
        receipt: None,
    }
}
