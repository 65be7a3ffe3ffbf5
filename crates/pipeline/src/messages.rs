//! The actix messages between boxes, one per request, and the stage trait of every address that handles one.
//!
//! An address is a reply channel and no flow control (its capacity does not bound work); the permits bound the number
//! of messages that can exist. A mailbox that is closed means the actor has died: a retryable error, the supervisor
//! restarts the pipeline and the post comes again.

use std::sync::Arc;
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender, ToEnvelope};
use actix::{Actor, Addr, Handler, MailboxError, Message};
use futures::FutureExt as _;
use futures::future::{BoxFuture, pending};
use jtav_schemas::{AbsentReason, ErasureV1, TextPart};

use crate::{
    Admitted, AudioEncoder, DeadLetterRequest, Decoded, Encoded, EncodedText, EraseRequest, FetchRequest, FetchedMedia,
    FuseRequest, Fused, Fusion, ImageEncoder, MediaDecoder, MediaFetcher, Pcm, PublishOutcome, PublishRequest,
    Publisher, Receipt, Revalidated, RgbImage, RouterIntake, Stage, StageError, TextEncoder,
};

/// Longest time from a panic of an actor until its mailbox is closed.
const MAILBOX_CLOSES: Duration = Duration::from_millis(200);

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident($payload:ty) -> $result:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name(pub $payload);
            impl Message for $name { type Result = $result; }
        )*
    };
}

messages! {
    /// Ingest to router.
    RoutePost(Admitted) -> ();
    /// Router to media.
    FetchMedia(FetchRequest) -> Result<FetchedMedia, AbsentReason>;
    /// Router to media: still the same?
    RevalidateMedia((FetchRequest, Arc<Receipt>)) -> Result<Revalidated, AbsentReason>;
    /// Router to media.
    DecodeMedia(FetchedMedia) -> Result<Result<Decoded, AbsentReason>, StageError>;
    /// Router to text encoder.
    EncodeText(Vec<TextPart>) -> Result<Option<EncodedText>, StageError>;
    /// Router to audio encoder.
    EncodeAudio(Pcm) -> Result<Encoded, StageError>;
    /// Router to image encoder.
    EncodeImage(RgbImage) -> Result<Encoded, StageError>;
    /// Router to fusion.
    FusePost(FuseRequest) -> Result<Fused, StageError>;
    /// Router to publisher.
    PublishPost(PublishRequest) -> Result<PublishOutcome, StageError>;
    /// Router to publisher.
    ErasePost(EraseRequest) -> Result<ErasureV1, StageError>;
    /// Router to publisher.
    SetAside(DeadLetterRequest) -> Result<(), StageError>;
}

/// An answer that is worked on only as long as whoever asked waits for it: a post that gave up leaves no work behind.
/// actix's own futures run to their end.
pub struct WhileWanted<T>(BoxFuture<'static, T>);

impl<T> WhileWanted<T> {
    /// `work` must be cancellation safe.
    pub fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(work.boxed())
    }
}

impl<A, M, T> MessageResponse<A, M> for WhileWanted<T>
where
    A: Actor,
    M: Message<Result = T>,
    T: Send + 'static,
{
    fn handle(self, _: &mut A::Context, reply: Option<OneshotSender<T>>) {
        actix::spawn(async move {
            let Some(mut reply) = reply else { return drop(self.0.await) };
            tokio::select! {
                // Fails where nobody waits any more.
                answer = self.0 => drop(reply.send(answer)),
                () = reply.closed() => {}
            }
        });
    }
}

/// What a closed mailbox or a dropped reply means.
fn gone(stage: Stage) -> impl Fn(MailboxError) -> StageError {
    move |error| StageError::retryable(stage, "actor_gone", error)
}

fn flatten<T>(stage: Stage, reply: Result<Result<T, StageError>, MailboxError>) -> Result<T, StageError> {
    reply.map_err(gone(stage))?
}

impl<A> RouterIntake for Addr<A>
where
    A: Actor + Handler<RoutePost>,
    A::Context: ToEnvelope<A, RoutePost>,
{
    fn admit(&self, post: Admitted) {
        self.do_send(RoutePost(post));
    }
}

impl<A> MediaFetcher for Addr<A>
where
    A: Actor + Handler<FetchMedia> + Handler<RevalidateMedia>,
    A::Context: ToEnvelope<A, FetchMedia> + ToEnvelope<A, RevalidateMedia>,
{
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
        fetched(self.send(FetchMedia(request)), self.clone()).boxed()
    }

    fn revalidate(
        &self,
        request: FetchRequest,
        earlier: Arc<Receipt>,
    ) -> BoxFuture<'static, Result<Revalidated, AbsentReason>> {
        fetched(self.send(RevalidateMedia((request, earlier))), self.clone()).boxed()
    }
}

/// A panic in one download alone leaves the actor; one in the actor closes its mailbox a moment later. That says nothing
/// about the medium, and published without it the post would be degraded for good: it waits here until the supervisor
/// drops it, or its deadline passes.
async fn fetched<A: Actor, T>(
    reply: impl Future<Output = Result<Result<T, AbsentReason>, MailboxError>>,
    actor: Addr<A>,
) -> Result<T, AbsentReason> {
    if let Ok(fetched) = reply.await {
        return fetched;
    }
    actix::clock::sleep(MAILBOX_CLOSES).await;
    if actor.connected() { Err(AbsentReason::FetchFailed) } else { pending().await }
}

impl<A> MediaDecoder for Addr<A>
where
    A: Actor + Handler<DecodeMedia>,
    A::Context: ToEnvelope<A, DecodeMedia>,
{
    fn decode(&self, media: FetchedMedia) -> BoxFuture<'static, Result<Result<Decoded, AbsentReason>, StageError>> {
        self.send(DecodeMedia(media)).map(|reply| flatten(Stage::Decode, reply)).boxed()
    }
}

macro_rules! stage_for_addr {
    ($trait:ident :: $method:ident($payload:ty) -> $result:ty, $message:ident, $stage:expr) => {
        impl<A> $trait for Addr<A>
        where
            A: Actor + Handler<$message>,
            A::Context: ToEnvelope<A, $message>,
        {
            fn $method(&self, payload: $payload) -> BoxFuture<'static, Result<$result, StageError>> {
                self.send($message(payload)).map(|reply| flatten($stage, reply)).boxed()
            }
        }
    };
}

stage_for_addr!(TextEncoder::encode(Vec<TextPart>) -> Option<EncodedText>, EncodeText, Stage::TextEncoder);
stage_for_addr!(AudioEncoder::encode(Pcm) -> Encoded, EncodeAudio, Stage::AudioEncoder);
stage_for_addr!(ImageEncoder::encode(RgbImage) -> Encoded, EncodeImage, Stage::ImageEncoder);
stage_for_addr!(Fusion::fuse(FuseRequest) -> Fused, FusePost, Stage::Fusion);

impl<A> Publisher for Addr<A>
where
    A: Actor + Handler<PublishPost> + Handler<ErasePost> + Handler<SetAside>,
    A::Context: ToEnvelope<A, PublishPost> + ToEnvelope<A, ErasePost> + ToEnvelope<A, SetAside>,
{
    fn publish(&self, request: PublishRequest) -> BoxFuture<'static, Result<PublishOutcome, StageError>> {
        self.send(PublishPost(request)).map(|reply| flatten(Stage::Publisher, reply)).boxed()
    }

    fn erase(&self, request: EraseRequest) -> BoxFuture<'static, Result<ErasureV1, StageError>> {
        self.send(ErasePost(request)).map(|reply| flatten(Stage::Publisher, reply)).boxed()
    }

    fn dead_letter(&self, request: DeadLetterRequest) -> BoxFuture<'static, Result<(), StageError>> {
        self.send(SetAside(request)).map(|reply| flatten(Stage::Publisher, reply)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::Context;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts work that was begun and work that was dropped or done.
    #[derive(Clone, Default)]
    struct Slow {
        begun: Arc<AtomicUsize>,
        over: Arc<AtomicUsize>,
    }

    impl Actor for Slow {
        type Context = Context<Self>;
    }

    struct Over(Arc<AtomicUsize>);

    impl Drop for Over {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Handler<EncodeText> for Slow {
        type Result = WhileWanted<Result<Option<EncodedText>, StageError>>;

        fn handle(&mut self, EncodeText(texts): EncodeText, _: &mut Self::Context) -> Self::Result {
            let (begun, over) = (Arc::clone(&self.begun), Over(Arc::clone(&self.over)));
            WhileWanted::new(async move {
                begun.fetch_add(1, Ordering::SeqCst);
                let _over = over;
                if texts.is_empty() { Ok(None) } else { pending().await }
            })
        }
    }

    #[actix::test]
    async fn work_that_nobody_waits_for_any_more_is_dropped() {
        let slow = Slow::default();
        let address = slow.clone().start();
        assert!(matches!(TextEncoder::encode(&address, Vec::new()).await, Ok(None)));
        assert_eq!(slow.over.load(Ordering::SeqCst), 1);
        let endless = TextEncoder::encode(&address, vec![TextPart::default()]);
        let given_up = actix::clock::timeout(Duration::from_millis(20), endless).await;
        assert!(given_up.is_err());
        for _ in 0..1_000 {
            if slow.over.load(Ordering::SeqCst) == 2 {
                break;
            }
            actix::clock::sleep(Duration::from_millis(5)).await;
        }
        let counts = (slow.begun.load(Ordering::SeqCst), slow.over.load(Ordering::SeqCst));
        assert_eq!(counts, (2, 2), "begun and over");
    }
}
