use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use jtav_pipeline::{
    Admitted, CoveredLanguages, Description, FailPoint, Lifeline, Observer, RoutePost, StageFlow, Stages, fail_point,
};

use crate::cache::EncodingCache;
use crate::context::DecodedRoom;
use crate::parking::Parking;
use crate::task::{self, TaskContext};
use crate::turn;

/// How to make a lane.
#[derive(Clone)]
pub struct RouterParams {
    /// The boxes that a post visits.
    pub stages: Stages,
    /// Encodings that are known; shared by the lanes.
    pub cache: EncodingCache,
    /// Name and weights of the model.
    pub model_version: Arc<str>,
    /// Languages that the model was measured on; none where it states none.
    pub languages: Option<Arc<CoveredLanguages>>,
    /// Watches outcomes.
    pub observer: Arc<dyn Observer>,
    /// Counts what passes the stages.
    pub flow: StageFlow,
    /// A post that takes longer is abandoned and comes again.
    pub post_deadline: Duration,
    /// The same for one that is tried because it was too late before; what its media may take to come is added.
    pub trial_deadline: Duration,
    /// Media that take longer, from when their post's work begins, are absent with reason `timeout`.
    pub fetch_timeout: Duration,
    /// A post that waits longer for a place among those whose media are fetched is labelled without them.
    pub parked_patience: Duration,
    /// Attempts at a post before it is given up.
    pub attempts: u32,
    /// Characters that are read of all texts of a post together.
    pub max_text_chars: usize,
    /// Room for media that are decoded and not encoded yet; shared by the lanes.
    pub decoded: DecodedRoom,
}

/// One lane: owns the keys whose hash falls to it. Its mailbox holds at most the admitted posts (permits) and one
/// `Finished` each; the capacity of the mailbox itself bounds nothing.
pub struct RouterActor {
    context: Arc<TaskContext>,
    parking: Parking<Admitted>,
    /// Tells of the end of this very value.
    _lifeline: Option<Lifeline>,
}

impl RouterActor {
    /// Makes a lane.
    pub fn new(params: RouterParams) -> Self {
        let context = TaskContext {
            stages: params.stages,
            cache: params.cache,
            model_version: params.model_version,
            languages: params.languages,
            max_text_chars: params.max_text_chars,
            decoded: params.decoded,
            observer: params.observer,
            flow: params.flow,
            post_deadline: params.post_deadline,
            trial_deadline: params.trial_deadline,
            fetch_timeout: params.fetch_timeout,
            parked_patience: params.parked_patience,
            attempts: params.attempts.max(1),
        };
        Self { context: Arc::new(context), parking: Parking::default(), _lifeline: None }
    }

    /// Its end is told.
    pub fn watched(self, lifeline: Lifeline) -> Self {
        Self { _lifeline: Some(lifeline), ..self }
    }

    fn start_task(&self, key: Option<String>, post: Admitted, context: &mut Context<Self>) {
        let place = key.map(|key| Place { lane: context.address(), key });
        actix::spawn(task::run(post, Arc::clone(&self.context), place));
    }
}

/// A key's place in its lane. Given back however the task ends: after a panic too the post comes again, and behind a
/// place that nobody gives back it would wait for ever.
struct Place {
    lane: Addr<RouterActor>,
    key: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lane.do_send(Finished(std::mem::take(&mut self.key)));
    }
}

impl Actor for RouterActor {
    type Context = Context<Self>;
}

/// A post's task has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Finished(String);

/// Asks a lane for its state.
#[derive(Debug, Message)]
#[rtype(result = "Description")]
pub struct DescribeLane;

/// Asks a lane to end; its running posts are abandoned, so drain first.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopLane;

impl Handler<RoutePost> for RouterActor {
    type Result = ();

    fn handle(&mut self, RoutePost(mut post): RoutePost, context: &mut Self::Context) {
        let key = post.event.as_ref().ok().map(|event| event.post_id().to_owned());
        fail_point::hit(FailPoint::RouterHandle, key.as_deref().unwrap_or_default());
        let post = match &key {
            Some(key) => {
                if self.parking.is_active(key) {
                    post.permit.park(post.record.bytes());
                    turn::export(&post.permit);
                }
                self.parking.enter(key, post)
            }
            None => Some(post),
        };
        if let Some(post) = post {
            self.start_task(key, post, context);
        }
    }
}

impl Handler<Finished> for RouterActor {
    type Result = ();

    fn handle(&mut self, Finished(key): Finished, context: &mut Self::Context) {
        if let Some(next) = self.parking.leave(&key) {
            self.start_task(Some(key), next, context);
        }
    }
}

impl Handler<DescribeLane> for RouterActor {
    type Result = actix::MessageResult<DescribeLane>;

    fn handle(&mut self, _: DescribeLane, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(Description::from([
            ("active_posts".to_owned(), self.parking.active_keys().into()),
            ("parked_posts".to_owned(), self.parking.parked().into()),
        ]))
    }
}

impl Handler<StopLane> for RouterActor {
    type Result = ();

    fn handle(&mut self, _: StopLane, context: &mut Self::Context) {
        context.stop();
    }
}
