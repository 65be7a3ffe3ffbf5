//! The shell of every stage that a post visits: a mailbox before a queue of device threads, or before a future.
//!
//! A stage is one trait, declared by [`stage!`]. The macro gives the trait to the address of the actor that holds an
//! implementation, so the router asks an actor and a test a plain struct, and another method costs its declaration and what
//! it does.
//!
//! An address is a reply channel and no flow control (its capacity does not bound work); the permits bound the number
//! of calls that can exist. A mailbox that is closed means the actor has died: a retryable error, the supervisor
//! restarts the pipeline and the post comes again.

use std::sync::Arc;
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Addr, Context, Handler, MailboxError, Message};
use actix_rt::ArbiterHandle;
use futures::FutureExt as _;
use futures::future::{BoxFuture, pending};
use jtav_schemas::AbsentReason;

use crate::{Ends, Lifeline, Stage, StageError};

/// Longest time from a panic of an actor until its mailbox is closed.
const MAILBOX_CLOSES: Duration = Duration::from_millis(200);

/// What becomes of work whose caller has given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// It is dropped: a post that gave up leaves none behind. It must be cancellation safe.
    WhileWanted,
    /// It goes on: what was begun with a server, a process or a broker is seen through.
    ToItsEnd,
}

/// What the shell has to know of a stage; `stage!` says it for the trait of each.
pub trait StageKind: Send + Sync + 'static {
    /// Which one: errors are attributed to it.
    const STAGE: Stage;
    /// What becomes of work that nobody waits for any more.
    const LASTS: Lasts;
}

/// One method of the stage, called on the actor's thread.
struct Call<S: ?Sized, T>(Box<Begin<S, T>>);

type Begin<S, T> = dyn FnOnce(&S) -> BoxFuture<'static, T> + Send;

impl<S: ?Sized, T: 'static> Message for Call<S, T> {
    type Result = T;
}

/// The actor around a stage. It holds no state of a post: each call is a task of its own, and they run side by side. A panic
/// in the method itself ends the actor, one in the future that it gave is that call's alone.
pub struct StageActor<S: StageKind + ?Sized> {
    stage: Arc<S>,
    /// Tells of the end of this very value.
    _lifeline: Lifeline,
}

impl<S: StageKind + ?Sized> StageActor<S> {
    /// Starts on this thread, inside an actix system; `ends` is told of its end.
    pub fn start(stage: Arc<S>, ends: &Ends) -> Addr<Self> {
        Actor::start(Self::new(stage, ends))
    }

    /// Starts on the thread of an arbiter.
    pub fn start_in(arbiter: &ArbiterHandle, stage: Arc<S>, ends: &Ends) -> Addr<Self> {
        let actor = Self::new(stage, ends);
        Self::start_in_arbiter(arbiter, move |_| actor)
    }

    fn new(stage: Arc<S>, ends: &Ends) -> Self {
        Self { stage, _lifeline: ends.lifeline(S::STAGE.as_str()) }
    }
}

impl<S: StageKind + ?Sized> Actor for StageActor<S> {
    type Context = Context<Self>;
}

impl<S: StageKind + ?Sized, T: Send + 'static> Handler<Call<S, T>> for StageActor<S> {
    type Result = Answer<T>;

    fn handle(&mut self, Call(begin): Call<S, T>, _: &mut Self::Context) -> Self::Result {
        Answer { work: begin(&self.stage), lasts: S::LASTS }
    }
}

/// An answer under way.
struct Answer<T> {
    work: BoxFuture<'static, T>,
    lasts: Lasts,
}

impl<A, M, T> MessageResponse<A, M> for Answer<T>
where
    A: Actor,
    M: Message<Result = T>,
    T: Send + 'static,
{
    fn handle(self, _: &mut A::Context, reply: Option<OneshotSender<T>>) {
        actix::spawn(async move {
            let Some(mut reply) = reply else { return drop(self.work.await) };
            if self.lasts == Lasts::ToItsEnd {
                let _ = reply.send(self.work.await);
                return;
            }
            tokio::select! {
                // Fails where nobody waits any more.
                answer = self.work => drop(reply.send(answer)),
                () = reply.closed() => {}
            }
        });
    }
}

/// What a stage answers.
pub(crate) trait Reply: Sized + Send + 'static {
    /// What a closed mailbox or a dropped reply means.
    fn of_nobody(
        stage: Stage,
        error: MailboxError,
        is_there: impl Fn() -> bool + Send + 'static,
    ) -> impl Future<Output = Self> + Send;
}

impl<T: Send + 'static> Reply for Result<T, StageError> {
    async fn of_nobody(stage: Stage, error: MailboxError, _: impl Fn() -> bool + Send + 'static) -> Self {
        Err(StageError::retryable(stage, "actor_gone", error))
    }
}

impl<T: Send + 'static> Reply for Result<T, AbsentReason> {
    /// A panic in one download alone leaves the actor; one in the actor closes its mailbox a moment later. That says nothing
    /// about the medium, and published without it the post would be degraded for good: it waits here until the supervisor
    /// drops it, or its deadline passes.
    async fn of_nobody(_: Stage, _: MailboxError, is_there: impl Fn() -> bool + Send + 'static) -> Self {
        actix::clock::sleep(MAILBOX_CLOSES).await;
        if is_there() { Err(AbsentReason::FetchFailed) } else { pending().await }
    }
}

/// Sends one call and waits for its answer.
pub(crate) fn ask<S: StageKind + ?Sized, T: Reply>(
    actor: &Addr<StageActor<S>>,
    begin: impl FnOnce(&S) -> BoxFuture<'static, T> + Send + 'static,
) -> BoxFuture<'static, T> {
    let (reply, actor) = (actor.send(Call(Box::new(begin))), actor.clone());
    async move {
        match reply.await {
            Ok(answer) => answer,
            Err(error) => T::of_nobody(S::STAGE, error, move || actor.connected()).await,
        }
    }
    .boxed()
}

/// Declares the trait of a stage, gives it to the address of the actor around an implementation, and says what the shell
/// has to know. Every future is `'static`; what is done before a method returns is done on the actor's thread. Methods that
/// an implementation may do without stand last, after `provided:`, with what they do then.
macro_rules! stage {
    (
        $(#[$doc:meta])*
        trait $name:ident in $stage:expr, $lasts:expr;
        $(
            $(#[$method_doc:meta])*
            fn $method:ident(&$this:ident $(, $argument:ident: $type:ty)+ $(,)?) -> $reply:ty;
        )+
        $(provided: $(
            $(#[$provided_doc:meta])*
            fn $provided:ident(&$self:ident $(, $given:ident: $given_type:ty)+ $(,)?) -> $provided_reply:ty $body:block
        )+)?
    ) => {
        $(#[$doc])*
        pub trait $name: Send + Sync {
            $(
                $(#[$method_doc])*
                fn $method(&$this $(, $argument: $type)+) -> BoxFuture<'static, $reply>;
            )+
            $($(
                $(#[$provided_doc])*
                fn $provided(&$self $(, $given: $given_type)+) -> BoxFuture<'static, $provided_reply> $body
            )+)?
        }

        impl $crate::stage_actor::StageKind for dyn $name {
            const STAGE: $crate::Stage = $stage;
            const LASTS: $crate::stage_actor::Lasts = $lasts;
        }

        impl $name for ::actix::Addr<$crate::stage_actor::StageActor<dyn $name>> {
            $(
                fn $method(&$this $(, $argument: $type)+) -> BoxFuture<'static, $reply> {
                    $crate::stage_actor::ask($this, move |stage| stage.$method($($argument),+))
                }
            )+
            $($(
                fn $provided(&$self $(, $given: $given_type)+) -> BoxFuture<'static, $provided_reply> {
                    $crate::stage_actor::ask($self, move |stage| stage.$provided($($given),+))
                }
            )+)?
        }
    };
}
pub(crate) use stage;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EncodedText, FetchRequest, FetchedMedia, MediaFetcher, TextEncoder};
    use jtav_schemas::{MediaRef, Modality, TextPart};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    /// Counts work that was begun and work that was dropped or done.
    #[derive(Clone, Default)]
    struct Slow {
        begun: Arc<AtomicUsize>,
        over: Arc<AtomicUsize>,
    }

    struct Over(Arc<AtomicUsize>);

    impl Drop for Over {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn text(text: &str) -> Vec<TextPart> {
        vec![TextPart { role: "body".to_owned(), text: text.to_owned() }]
    }

    impl TextEncoder for Slow {
        fn encode(&self, texts: Vec<TextPart>) -> BoxFuture<'static, Result<Option<EncodedText>, StageError>> {
            let word = texts.first().map(|part| part.text.clone()).unwrap_or_default();
            assert_ne!(word, "actor", "a panic in the actor");
            let (begun, over) = (Arc::clone(&self.begun), Over(Arc::clone(&self.over)));
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                let _over = over;
                assert_ne!(word, "call", "a panic in the call");
                if word.is_empty() { Ok(None) } else { pending().await }
            }
            .boxed()
        }
    }

    fn start(slow: &Slow, ends: &Ends) -> Addr<StageActor<dyn TextEncoder>> {
        StageActor::start(Arc::new(slow.clone()), ends)
    }

    #[actix::test]
    async fn work_that_nobody_waits_for_any_more_is_dropped() {
        let slow = Slow::default();
        let address = start(&slow, &Ends::default());
        assert!(matches!(address.encode(Vec::new()).await, Ok(None)));
        assert_eq!(slow.over.load(Ordering::SeqCst), 1);
        let endless = address.encode(text("endless"));
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

    #[actix::test]
    async fn a_panic_in_a_call_is_that_calls_and_one_in_the_actor_is_told() {
        let ends = Ends::default();
        let address = start(&Slow::default(), &ends);
        let error = address.encode(text("call")).await.unwrap_err();
        assert_eq!((error.code, error.is_retryable()), ("actor_gone", true));
        assert!(matches!(address.encode(Vec::new()).await, Ok(None)), "it is still there");
        assert_eq!(ends.first().now_or_never(), None);
        let error = address.encode(text("actor")).await.unwrap_err();
        assert_eq!((error.stage, error.code), (Stage::TextEncoder, "actor_gone"));
        let told = actix::clock::timeout(Duration::from_secs(10), ends.first()).await;
        assert_eq!(told, Ok("text_encoder"));
    }

    #[actix::test]
    async fn the_end_of_its_thread_is_told_too() {
        let (ends, arbiter) = (Ends::default(), actix_rt::Arbiter::new());
        let address = StageActor::<dyn TextEncoder>::start_in(&arbiter.handle(), Arc::new(Slow::default()), &ends);
        assert!(matches!(address.encode(Vec::new()).await, Ok(None)));
        arbiter.stop();
        let told = actix::clock::timeout(Duration::from_secs(10), ends.first()).await;
        assert_eq!(told, Ok("text_encoder"));
    }

    /// Downloads that panic, in the call or in the actor, and that say when they are through.
    struct Broken {
        done: Arc<AtomicUsize>,
    }

    impl MediaFetcher for Broken {
        fn fetch(&self, request: FetchRequest) -> BoxFuture<'static, Result<FetchedMedia, AbsentReason>> {
            assert_ne!(request.media.url, "actor", "a panic in the actor");
            let done = Arc::clone(&self.done);
            async move {
                assert_ne!(request.media.url, "call", "a panic in the call");
                actix::clock::sleep(Duration::from_millis(50)).await;
                done.fetch_add(1, Ordering::SeqCst);
                Err(AbsentReason::NotFound)
            }
            .boxed()
        }
    }

    fn request(url: &str) -> FetchRequest {
        let media = MediaRef { url: url.to_owned(), media_type: None, sha256: None, bytes: None };
        FetchRequest { modality: Modality::Image, media, deadline: Instant::now() + Duration::from_secs(5) }
    }

    #[actix::test]
    async fn a_download_that_is_begun_is_seen_through_and_an_actor_that_is_gone_says_nothing_of_the_medium() {
        let (ends, done) = (Ends::default(), Arc::new(AtomicUsize::new(0)));
        let address = StageActor::<dyn MediaFetcher>::start(Arc::new(Broken { done: Arc::clone(&done) }), &ends);
        let given_up = actix::clock::timeout(Duration::from_millis(5), address.fetch(request("slow"))).await;
        assert!(given_up.is_err());
        assert_eq!(address.fetch(request("call")).await.err(), Some(AbsentReason::FetchFailed));
        assert_eq!(done.load(Ordering::SeqCst), 1, "longer than the first one took");
        let gone = actix::clock::timeout(2 * MAILBOX_CLOSES, address.fetch(request("actor"))).await;
        assert!(gone.is_err(), "the post waits for the supervisor");
        assert_eq!(ends.first().now_or_never(), Some("fetch"));
    }
}
