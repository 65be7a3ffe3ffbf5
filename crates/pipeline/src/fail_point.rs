//! Named places at which a worker can be made to break, for fault injection on the very binary that ships. Why not the
//! crate `fail`: ADR 13.
//!
//! Off unless `JTAV_FAIL_POINTS` is set when the process starts; off, a point costs one atomic load. A set one is
//! written as `stage:moment=action`, then `@n` (at the n-th hit, the first by default) and `#tag` (only hits with that
//! tag, the post id where the place knows it), several separated by `;`:
//!
//! ```text
//! JTAV_FAIL_POINTS='publisher:after_store=kill@37; router:before_encode=panic#post-17'
//! ```
//!
//! Actions: `kill` (SIGKILL), `abort`, `panic`, `error` (where the place can give one), `hang(ms)`, and for the clock
//! `skew(ms)`. Everything but `skew` happens once, except with a tag: then at every hit from the n-th on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The variable that arms points.
pub const VARIABLE: &str = "JTAV_FAIL_POINTS";

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A place, in flow order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum FailPoint {
            $($(#[$doc])* $name,)*
        }

        impl FailPoint {
            /// Every place, in flow order.
            pub const ALL: &[FailPoint] = &[$(FailPoint::$name),*];

            /// `stage:moment`.
            pub const fn as_str(self) -> &'static str {
                match self { $(FailPoint::$name => $text,)* }
            }
        }
    };
}

points! {
    /// A record is taken from Kafka and not in the ledger.
    IngestAfterPoll = "ingest:after_poll",
    /// A record is in the ledger and not with the router.
    IngestBeforeAdmit = "ingest:before_admit",
    /// The router has a record.
    RouterHandle = "router:handle",
    /// A post's task has begun.
    RouterBeforeEncode = "router:before_encode",
    /// A medium is about to be asked for.
    FetchBefore = "fetch:before",
    /// A part of a medium's body is here.
    FetchMid = "fetch:mid_body",
    /// A medium is about to be decoded.
    DecodeBefore = "decode:before",
    /// A process that decodes has a medium: breaks that process and not the worker.
    DecodeWorkerDecode = "decode_worker:decode",
    /// A medium is decoded.
    DecodeAfter = "decode:after",
    /// The text encoder has a post.
    TextEncoderHandle = "text_encoder:handle",
    /// The audio encoder has a clip.
    AudioEncoderHandle = "audio_encoder:handle",
    /// The image encoder has a picture.
    ImageEncoderHandle = "image_encoder:handle",
    /// A device thread has a batch in hand.
    EncoderMidBatch = "encoder:mid_batch",
    /// Fusion has a post's vectors.
    FusionHandle = "fusion:handle",
    /// A label is made and nothing of it is written.
    PublisherBeforeStore = "publisher:before_store",
    /// The store has the label, no topic has.
    PublisherAfterStore = "publisher:after_store",
    /// One topic has the label and the other may.
    PublisherMidProduce = "publisher:mid_produce",
    /// Both topics have the label.
    PublisherAfterProduce = "publisher:after_produce",
    /// The store has erased a post, no topic knows.
    PublisherAfterErase = "publisher:after_erase",
    /// The dead-letter topic has a record.
    PublisherAfterDeadLetter = "publisher:after_dead_letter",
    /// A post is done and the ledger does not know.
    RouterBeforeSettle = "router:before_settle",
    /// A commit is about to be sent.
    IngestBeforeCommit = "ingest:before_commit",
    /// The broker has taken a commit.
    IngestAfterCommit = "ingest:after_commit",
    /// Partitions are being taken over.
    IngestDuringAssign = "ingest:during_assign",
    /// Partitions are being given up.
    IngestDuringRevoke = "ingest:during_revoke",
    /// A partition was sought back after an abandonment.
    IngestAfterRewind = "ingest:after_rewind",
    /// The worker is draining before its end.
    IngestDuringDrain = "ingest:during_drain",
    /// The poll thread goes round.
    IngestPoll = "ingest:poll",
    /// The wall clock is read.
    ClockNow = "clock:now",
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Kill,
    Abort,
    Panic,
    Error,
    Hang(Duration),
    SkewMs(i64),
}

/// One armed point.
#[derive(Debug)]
struct Armed {
    point: FailPoint,
    action: Action,
    /// The hit at which it acts, from 1.
    nth: u64,
    tag: Option<String>,
    hits: AtomicU64,
}

/// What is wrong with a description of points.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FailPointError {
    /// No place has that name.
    #[error("{VARIABLE}: there is no fail point `{0}`; there are {all}", all = names())]
    UnknownPoint(String),
    /// Not `stage:moment=action[@n][#tag]`.
    #[error("{VARIABLE}: `{0}` is not stage:moment=action with action kill, abort, panic, error, hang(ms) or skew(ms)")]
    Syntax(String),
    /// Armed before.
    #[error("{VARIABLE}: fail points can be armed once in a process")]
    Twice,
}

fn names() -> String {
    FailPoint::ALL.iter().map(|point| point.as_str()).collect::<Vec<_>>().join(", ")
}

static ARMED: OnceLock<Vec<Armed>> = OnceLock::new();

/// Arms the points that the environment names; gives how many there are.
///
/// # Errors
/// An unknown point or action: a fault that is not injected would prove nothing.
pub fn arm_from_environment() -> Result<usize, FailPointError> {
    match std::env::var(VARIABLE) {
        Ok(text) if !text.trim().is_empty() => arm(&text),
        _ => Ok(0),
    }
}

/// Arms points, for the life of the process.
///
/// # Errors
/// As [`arm_from_environment`].
pub fn arm(text: &str) -> Result<usize, FailPointError> {
    let points = text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(parse);
    let points = points.collect::<Result<Vec<_>, _>>()?;
    let count = points.len();
    ARMED.set(points).map_err(|_| FailPointError::Twice)?;
    Ok(count)
}

fn parse(text: &str) -> Result<Armed, FailPointError> {
    let syntax = || FailPointError::Syntax(text.to_owned());
    let (name, rest) = text.split_once('=').ok_or_else(syntax)?;
    let name = name.trim();
    let point = FailPoint::ALL.iter().copied().find(|point| point.as_str() == name);
    let point = point.ok_or_else(|| FailPointError::UnknownPoint(name.to_owned()))?;
    let (rest, tag) = rest.split_once('#').map_or((rest, None), |(rest, tag)| (rest, Some(tag.trim().to_owned())));
    let (action, nth) = match rest.split_once('@') {
        Some((action, nth)) => (action, nth.trim().parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(syntax)?),
        None => (rest, 1),
    };
    let action = parse_action(action.trim()).ok_or_else(syntax)?;
    if matches!(action, Action::SkewMs(_)) != (point == FailPoint::ClockNow) {
        return Err(syntax());
    }
    Ok(Armed { point, action, nth, tag, hits: AtomicU64::new(0) })
}

fn parse_action(text: &str) -> Option<Action> {
    let argument = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    Some(match text {
        "kill" => Action::Kill,
        "abort" => Action::Abort,
        "panic" => Action::Panic,
        "error" => Action::Error,
        _ => match (argument("hang"), argument("skew")) {
            (Some(ms), _) => Action::Hang(Duration::from_millis(ms.parse().ok()?)),
            (_, Some(ms)) => Action::SkewMs(ms.parse().ok()?),
            _ => return None,
        },
    })
}

impl Armed {
    fn takes(&self, point: FailPoint, tag: &str) -> bool {
        if self.point != point || self.tag.as_deref().is_some_and(|wanted| wanted != tag) {
            return false;
        }
        let hit = self.hits.fetch_add(1, Ordering::Relaxed) + 1;
        hit == self.nth || (hit > self.nth && self.tag.is_some())
    }
}

/// A place that is passed. May kill, abort, panic or block this thread; does nothing unless armed.
pub fn hit(point: FailPoint, tag: &str) {
    let _ = error(point, tag);
}

/// As [`hit`], at a place that can fail: gives the message of an injected error.
pub fn error(point: FailPoint, tag: &str) -> Option<String> {
    let armed = ARMED.get()?.iter().find(|armed| armed.takes(point, tag))?;
    act(point, armed.action)
}

fn act(point: FailPoint, action: Action) -> Option<String> {
    let name = point.as_str();
    tracing::warn!(point = name, ?action, "injected fault");
    match action {
        Action::Kill => kill(),
        Action::Abort => std::process::abort(),
        #[allow(clippy::panic, reason = "the panic was asked for")]
        Action::Panic => panic!("injected at {name}"),
        Action::Error => return Some(format!("injected at {name}")),
        Action::Hang(time) => std::thread::sleep(time),
        Action::SkewMs(_) => {}
    }
    None
}

/// As the kernel does it when memory runs out: no destructor, no flush, no goodbye to the group.
fn kill() {
    // SAFETY: no memory is handed over; a signal to this very process.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    // The signal may be delivered to another thread a moment later; this one must not go on meanwhile.
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Milliseconds by which the clock is set wrong at present.
pub(crate) fn clock_skew_ms() -> i64 {
    let Some(armed) = ARMED.get() else { return 0 };
    let skews = armed.iter().filter_map(|armed| match armed.action {
        Action::SkewMs(ms) => (armed.hits.fetch_add(1, Ordering::Relaxed) + 1 >= armed.nth).then_some(ms),
        _ => None,
    });
    skews.last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_names_point_action_hit_and_tag() {
        let armed = parse("publisher:after_store = kill@37 # post-1").unwrap();
        assert_eq!((armed.point, armed.action, armed.nth), (FailPoint::PublisherAfterStore, Action::Kill, 37));
        assert_eq!(armed.tag.as_deref(), Some("post-1"));
        assert_eq!(parse("ingest:poll=hang(50)").unwrap().action, Action::Hang(Duration::from_millis(50)));
        assert_eq!(parse("clock:now=skew(-3600000)@3").unwrap().action, Action::SkewMs(-3_600_000));
    }

    #[test]
    fn a_description_that_would_inject_nothing_is_refused() {
        assert!(matches!(parse("publisher:after_lunch=kill"), Err(FailPointError::UnknownPoint(_))));
        for text in [
            "publisher:after_store",
            "ingest:poll=explode",
            "ingest:poll=kill@0",
            "ingest:poll=skew(1)",
            "clock:now=kill",
            "ingest:poll=hang(x)",
        ] {
            assert!(matches!(parse(text), Err(FailPointError::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn an_untagged_point_acts_once_and_a_tagged_one_from_its_hit_on() {
        let once = parse("ingest:poll=panic@2").unwrap();
        let hits: Vec<bool> = (0..4).map(|_| once.takes(FailPoint::IngestPoll, "any")).collect();
        assert_eq!(hits, [false, true, false, false]);
        let tagged = parse("ingest:poll=panic#a").unwrap();
        let hits: Vec<bool> = ["b", "a", "b", "a"].map(|tag| tagged.takes(FailPoint::IngestPoll, tag)).to_vec();
        assert_eq!(hits, [false, true, false, true]);
    }

    #[test]
    fn no_two_points_share_a_name_and_each_says_its_stage() {
        let names: std::collections::BTreeSet<_> = FailPoint::ALL.iter().map(|point| point.as_str()).collect();
        assert_eq!(names.len(), FailPoint::ALL.len());
        assert!(
            names.iter().all(|name| name
                .split_once(':')
                .is_some_and(|(stage, moment)| !stage.is_empty() && !moment.is_empty()))
        );
    }
}
