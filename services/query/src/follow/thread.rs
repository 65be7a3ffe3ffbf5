//! One thread for each topic that is followed: polls for ever, begins anew where it stood after an error, and says how it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jtav_kafka::{ClientSettings, Followed, KafkaError, Record, TopicFollower};
use jtav_pipeline::now_ms;
use jtav_telemetry::{FollowedTopic, Metric};
use tokio::sync::watch;

/// Longest wait for a record; as long as readers wait for a batch of news.
const POLL: Duration = Duration::from_millis(20);
/// Longest wait for an answer of the broker.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Without a record for so long the broker is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(2);
/// What that question may take.
const PING_TIMEOUT: Duration = Duration::from_millis(1_500);
/// From a failure to the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// What follows one topic.
pub(crate) trait Following: Send {
    /// Where to begin; a partition that is not named is read from its beginning.
    fn starts(&mut self, client: &ClientSettings, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError>;
    /// A record, in the order of its partition.
    fn record(&mut self, record: Record);
    /// Nothing more is at hand for the moment: time to tell others.
    fn pause(&mut self);
}

/// The topic and who reads it.
pub(crate) struct Topic {
    pub(crate) client: ClientSettings,
    pub(crate) name: String,
    /// Which of them it is, for metrics.
    pub(crate) kind: FollowedTopic,
    /// Larger records are cut.
    pub(crate) max_record_bytes: u64,
}

/// How following a topic goes.
#[derive(Default)]
pub(crate) struct TopicHealth(Mutex<State>);

#[derive(Default)]
struct State {
    /// All that was there at the start has been read.
    has_caught_up: bool,
    problem: Option<String>,
    has_begun: bool,
}

impl TopicHealth {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it does not go on, if it does not.
    pub(crate) fn problem(&self) -> Option<String> {
        let state = self.lock();
        match &state.problem {
            None if !state.has_begun => Some("not read yet".to_owned()),
            problem => problem.clone(),
        }
    }

    pub(crate) fn has_caught_up(&self) -> bool {
        self.lock().has_caught_up
    }

    fn is_well(&self, has_caught_up: bool) {
        let mut state = self.lock();
        (state.problem, state.has_begun) = (None, true);
        state.has_caught_up |= has_caught_up;
    }

    /// Whether this is news: a topic that stays away is said once and not with every try.
    fn ails(&self, problem: String) -> bool {
        let mut state = self.lock();
        let is_news = state.problem.as_ref() != Some(&problem);
        state.problem = Some(problem);
        is_news
    }
}

/// Starts a thread that follows a topic until the server ends.
///
/// # Errors
/// No thread.
pub(crate) fn follow(
    topic: Topic,
    mut following: impl Following + 'static,
    health: Arc<TopicHealth>,
    stopping: watch::Receiver<bool>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(format!("follow-{}", topic.name).chars().take(15).collect()).spawn(move || {
        let mut stood: Option<BTreeMap<i32, i64>> = None;
        while !*stopping.borrow() {
            let failed = match run(&topic, &mut following, &health, &stopping, &mut stood) {
                Ok(()) => return,
                Err(error) => error,
            };
            if health.ails(failed.to_string()) {
                tracing::warn!(topic = topic.name, error = %failed, "a topic cannot be followed; trying again");
            }
            std::thread::sleep(PAUSE);
        }
    })
}

fn run(
    topic: &Topic,
    following: &mut impl Following,
    health: &TopicHealth,
    stopping: &watch::Receiver<bool>,
    stood: &mut Option<BTreeMap<i32, i64>>,
) -> Result<(), KafkaError> {
    let starts = match stood.clone() {
        Some(stood) => stood,
        None => following.starts(&topic.client, &topic.name)?,
    };
    let mut follower = TopicFollower::new(&topic.client, &topic.name, &starts, topic.max_record_bytes, ASK_TIMEOUT)?;
    let mut heard = Instant::now();
    let age = Metric::follow_age(topic.kind);
    age.set(0.0);
    health.is_well(follower.has_caught_up());
    while !*stopping.borrow() {
        let polled = follower.poll(POLL);
        *stood = Some(follower.positions().clone());
        match polled? {
            Followed::Record(record) => {
                let age_ms = record.timestamp_ms.map_or(0, |at| now_ms().saturating_sub(at).max(0));
                following.record(record);
                age.set(age_ms as f64 / 1_000.0);
                heard = Instant::now();
                if follower.has_caught_up() != health.has_caught_up() {
                    health.is_well(follower.has_caught_up());
                }
            }
            Followed::Nothing => {
                following.pause();
                age.set(0.0);
                if heard.elapsed() >= SILENCE {
                    match follower.is_reachable(PING_TIMEOUT) {
                        true => health.is_well(follower.has_caught_up()),
                        false if health.ails("the broker does not answer".to_owned()) => {
                            tracing::warn!(topic = topic.name, "the broker of a followed topic does not answer");
                        }
                        false => {}
                    }
                    heard = Instant::now();
                } else if health.problem().is_none() {
                    health.is_well(follower.has_caught_up());
                }
            }
        }
    }
    Ok(())
}
