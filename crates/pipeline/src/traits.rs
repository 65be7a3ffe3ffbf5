//! One trait per stage. Every future is `'static` and may be dropped at any point; dropping one gives up the caller's
//! interest and never an offset.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jtav_schemas::{
    AbsentReason, DeadLetterReason, EmbeddingV1, ErasureV1, ModalityStatus, PerModality, SentimentV1, TextPart,
};

use crate::stage_actor::{Lasts, stage};
use crate::{
    Admitted, Decoded, Encoded, EncodedText, FetchRequest, FetchedMedia, FuseRequest, Fused, InboundRecord, Pcm,
    Receipt, Revalidated, RgbImage, SourcePosition, Stage, StageError,
};

/// Takes posts that hold a permit; the number of permits bounds what it can be handed.
pub trait RouterIntake: Send + Sync {
    /// Hands one post over. If nobody is there to take it, it is dropped, which is an abandonment.
    fn admit(&self, post: Admitted);
}

/// Ingest to router.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RoutePost(pub Admitted);

impl<A> RouterIntake for Addr<A>
where
    A: Actor + Handler<RoutePost>,
    A::Context: ToEnvelope<A, RoutePost>,
{
    fn admit(&self, post: Admitted) {
        self.do_send(RoutePost(post));
    }
}

stage! {
    /// URL to bytes.
    trait MediaFetcher in Stage::Fetch, Lasts::ToItsEnd;

    /// Downloads one medium within its limits; every failure is a reason, never an error of the post.
    fn fetch(&self, request: FetchRequest) -> Result<FetchedMedia, AbsentReason>;

    provided:

    /// Asks whether a medium is still the one of `earlier`; a server that says so sends no bytes. Where that cannot be
    /// asked the medium is downloaded.
    fn revalidate(&self, request: FetchRequest, _earlier: Arc<Receipt>) -> Result<Revalidated, AbsentReason> {
        self.fetch(request).map(|fetched| fetched.map(Revalidated::Changed)).boxed()
    }
}

stage! {
    /// Bytes to sound or picture.
    trait MediaDecoder in Stage::Decode, Lasts::ToItsEnd;

    /// Decodes one medium. `Err(Ok(reason))`-like nesting is avoided: a system failure is a [`StageError`].
    fn decode(&self, media: FetchedMedia) -> Result<Result<Decoded, AbsentReason>, StageError>;
}

stage! {
    /// attBiGRU.
    trait TextEncoder in Stage::TextEncoder, Lasts::WhileWanted;

    /// Encodes the texts of a post; `None` where no token remains.
    fn encode(&self, texts: Vec<TextPart>) -> Result<Option<EncodedText>, StageError>;
}

stage! {
    /// CQT and DCRNN.
    trait AudioEncoder in Stage::AudioEncoder, Lasts::WhileWanted;

    /// Encodes a clip.
    fn encode(&self, pcm: Pcm) -> Result<Encoded, StageError>;
}

stage! {
    /// The image network.
    trait ImageEncoder in Stage::ImageEncoder, Lasts::WhileWanted;

    /// Encodes a picture.
    fn encode(&self, image: RgbImage) -> Result<Encoded, StageError>;
}

stage! {
    /// CMF-AP.
    trait Fusion in Stage::Fusion, Lasts::WhileWanted;

    /// Fuses what is there.
    fn fuse(&self, request: FuseRequest) -> Result<Fused, StageError>;
}

stage! {
    /// Store, output topics, dead-letter topic. Each call returns when the effect is durable, or not at all.
    trait Publisher in Stage::Publisher, Lasts::ToItsEnd;

    /// Publishes label and vectors.
    fn publish(&self, request: PublishRequest) -> Result<PublishOutcome, StageError>;
    /// Erases a post for every model.
    fn erase(&self, request: EraseRequest) -> Result<ErasureV1, StageError>;
    /// Sets a record aside; `Ok` means the broker has it.
    fn dead_letter(&self, request: DeadLetterRequest) -> Result<(), StageError>;
}

/// A finished post.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    pub sentiment: Arc<SentimentV1>,
    pub embedding: Arc<EmbeddingV1>,
    /// Position of the input record.
    pub source: SourcePosition,
    /// The input record, for a publisher that answers where it asked.
    pub record: Arc<InboundRecord>,
}

/// What publishing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishOutcome {
    /// Durable in the store and acknowledged on both topics (perhaps for the second time).
    Published,
    /// The store holds a newer revision: nothing was produced.
    Stale,
    /// The post is erased: nothing was produced.
    Erased,
}

/// A tombstone to carry out.
#[derive(Debug, Clone)]
pub struct EraseRequest {
    pub post_id: String,
    /// Revision of the tombstone.
    pub revision: u64,
    /// Position of the input record.
    pub source: SourcePosition,
}

/// A record to set aside.
#[derive(Debug, Clone)]
pub struct DeadLetterRequest {
    /// The record, untouched.
    pub record: Arc<InboundRecord>,
    pub reason: DeadLetterReason,
    /// Who gave up.
    pub stage: Stage,
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why each part was unusable.
    pub modalities: Option<PerModality<ModalityStatus>>,
}

/// Every stage that the router's pipeline function calls, in flow order.
#[derive(Clone)]
pub struct Stages {
    /// URL to bytes.
    pub fetch: Arc<dyn MediaFetcher>,
    /// Bytes to sound or picture.
    pub decode: Arc<dyn MediaDecoder>,
    /// attBiGRU.
    pub text_encoder: Arc<dyn TextEncoder>,
    /// CQT and DCRNN.
    pub audio_encoder: Arc<dyn AudioEncoder>,
    /// The image network.
    pub image_encoder: Arc<dyn ImageEncoder>,
    /// CMF-AP.
    pub fusion: Arc<dyn Fusion>,
    /// Store and topics.
    pub publisher: Arc<dyn Publisher>,
}

/// Observable state of an actor for `/describe`: name to value.
pub type Description = BTreeMap<String, serde_json::Value>;
