//! How long each box has been without progress, for operators and for whoever ends a process that hangs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use jtav_inference::FatalHook;
use jtav_telemetry::Metric;

use crate::parameters::BoxesParams;
use crate::vitals::Beats;

/// A poll thread that has not gone round for so long is stuck; it takes up to 2 s where Kafka does not answer.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// Time between two looks at how the boxes get on.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// How a box gets on.
pub(crate) struct BoxProgress {
    pub(crate) name: &'static str,
    /// Time without progress.
    pub(crate) age: Duration,
    /// As much is in order.
    may_take: Duration,
}

impl BoxProgress {
    pub(crate) fn is_hung(&self) -> bool {
        self.age > self.may_take
    }

    /// For a person.
    pub(crate) fn message(&self) -> String {
        format!("{} hangs: no progress for {} s", self.name, self.age.as_secs())
    }

    /// Nobody has mended it in the time that it takes to find out and to act.
    fn is_beyond_hope(&self) -> bool {
        self.age > 2 * self.may_take
    }
}

/// Of several threads of one name the slowest counts.
fn export(progress: &[BoxProgress]) {
    let mut ages: BTreeMap<&str, Duration> = BTreeMap::new();
    for BoxProgress { name, age, .. } in progress {
        let slowest = ages.entry(name).or_default();
        *slowest = (*slowest).max(*age);
    }
    for (name, age) in ages {
        Metric::box_progress_age(name).set(age.as_secs_f64());
    }
}

/// How each box gets on; `running` is the age of ingest's progress and the beats of the generation that runs.
pub(crate) fn progress(boxes: &BoxesParams, running: Option<(Duration, &Beats)>) -> Vec<BoxProgress> {
    let BoxesParams { settings, networks, decoders, .. } = boxes;
    let hung_after = settings.admin.hung_after();
    let of = |(name, age), may_take| BoxProgress { name, age, may_take };
    let mut progress: Vec<_> = networks.progress_ages().map(|age| of(age, hung_after)).into();
    // Two processes may be tried for one medium, each for so long.
    let may_decode = hung_after + 2 * settings.media.decode_wall();
    progress.push(of(("decode", decoders.progress_age()), may_decode));
    if let Some((ingest_age, beats)) = running {
        progress.push(of(("ingest", ingest_age), STUCK_AFTER));
        progress.extend(beats.ages().map(|age| of(age, hung_after)));
    }
    progress
}

/// Looks after the boxes from a thread of its own, until `look` gives nothing any more: the supervisor shares one with
/// actors, which may be the one that hangs. What no restart of boxes cures ends the process, if nobody else has ended it in
/// good time.
///
/// # Errors
/// No thread.
pub(crate) fn watch(
    look: impl Fn() -> Option<Vec<BoxProgress>> + Send + 'static,
    on_fatal: FatalHook,
) -> anyhow::Result<()> {
    let work = move || {
        while let Some(progress) = look() {
            export(&progress);
            if let Some(hung) = progress.iter().find(|progress| progress.is_beyond_hope()) {
                let message = hung.message();
                tracing::error!(message, "the process ends");
                on_fatal(&message);
                return;
            }
            std::thread::sleep(WATCH_EVERY);
        }
    };
    std::thread::Builder::new().name("jtav-watch".to_owned()).spawn(work).context("thread that watches the boxes")?;
    Ok(())
}
