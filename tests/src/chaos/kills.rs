//! SIGKILL at every fail point: each of two slots works through its half of the points, a fresh process for each.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use jtav_pipeline::FailPoint;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;

use super::targets::{COMMIT_INTERVAL_MS, MAX_IN_FLIGHT, Targets, WORKERS};

/// A worker whose point is not reached by then is killed where it stands; that is a kill, too.
const UNREACHED: Duration = Duration::from_secs(40);

/// Points at which a worker is killed: all but the one that sets a clock wrong and the one in a decode process.
pub fn points() -> Vec<FailPoint> {
    let elsewhere = [FailPoint::ClockNow, FailPoint::DecodeWorkerDecode];
    FailPoint::ALL.iter().copied().filter(|point| !elsewhere.contains(point)).collect()
}

/// The moments between taking a record and committing it.
pub const TWELVE_POINTS: [FailPoint; 12] = [
    FailPoint::IngestAfterPoll,
    FailPoint::IngestBeforeAdmit,
    FailPoint::FetchMid,
    FailPoint::DecodeAfter,
    FailPoint::EncoderMidBatch,
    FailPoint::PublisherBeforeStore,
    FailPoint::PublisherAfterStore,
    FailPoint::PublisherMidProduce,
    FailPoint::PublisherAfterProduce,
    FailPoint::IngestBeforeCommit,
    FailPoint::IngestAfterCommit,
    FailPoint::IngestDuringDrain,
];

/// Repeated records that so many kills may leave: what was inside the worker, and what had settled since the last
/// commit, with room for one commit on its way.
pub fn duplicates_bound(kills: u64, posts_per_second: u32) -> u64 {
    let uncommitted = u64::from(posts_per_second) * COMMIT_INTERVAL_MS * 2 / 1_000;
    kills * (MAX_IN_FLIGHT + uncommitted)
}

/// How a point is armed: rare moments at their first hit, common ones somewhere in the stream.
fn armed(point: FailPoint, random: &mut StdRng) -> String {
    let last = match point {
        FailPoint::IngestDuringAssign | FailPoint::IngestDuringRevoke | FailPoint::IngestDuringDrain => 1,
        FailPoint::IngestAfterRewind => 1,
        FailPoint::PublisherAfterErase | FailPoint::PublisherAfterDeadLetter => 3,
        FailPoint::FetchBefore | FailPoint::FetchMid => 3,
        // The same picture and clip every time: the rest comes from the cache.
        FailPoint::DecodeBefore | FailPoint::DecodeAfter => 1,
        FailPoint::ImageEncoderHandle | FailPoint::AudioEncoderHandle => 1,
        FailPoint::IngestBeforeCommit | FailPoint::IngestAfterCommit => 10,
        FailPoint::IngestPoll => 400,
        _ => 60,
    };
    let hit = random.random_range(1..=last);
    let kill = format!("{}=kill@{hit}", point.as_str());
    // A seek back needs an abandoned post.
    if point == FailPoint::IngestAfterRewind {
        return format!("router:before_settle=panic@{};{kill}", random.random_range(1..=60));
    }
    kill
}

/// Kills at each of the points once.
pub async fn kill_at(targets: &mut Targets<'_>, points: &[FailPoint]) -> Result<()> {
    let mut random = StdRng::seed_from_u64(targets.seed);
    let mut left = points.to_vec();
    left.shuffle(&mut random);
    let mut left = VecDeque::from(left);
    let mut armed_at: Vec<Option<(FailPoint, Instant)>> = vec![None; WORKERS];
    // The first workers are unarmed and are killed like any others: at a moment that nothing chose.
    for slot in 0..WORKERS {
        targets.worker(slot)?.kill9()?;
        targets.kills += 1;
        respawn(targets, slot, &mut left, &mut armed_at, &mut random)?;
    }
    let mut last_guest = Instant::now();
    let mut told_to_drain = false;
    while armed_at.iter().any(Option::is_some) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for slot in 0..WORKERS {
            let Some((point, since)) = armed_at[slot] else { continue };
            let worker = targets.worker(slot)?;
            if let Some(status) = worker.ended()? {
                if status.signal() == Some(9) {
                    targets.kills += 1;
                } else if !(point == FailPoint::IngestDuringDrain && status.success()) {
                    let text =
                        format!("armed with {}, a worker ended with {status}:\n{}", point.as_str(), worker.log_tail());
                    targets.wrong(text);
                }
                targets.watch.healed();
                respawn(targets, slot, &mut left, &mut armed_at, &mut random)?;
            } else if point == FailPoint::IngestDuringDrain
                && !told_to_drain
                && since.elapsed() > Duration::from_secs(3)
            {
                // Once: a second signal exits at once, and a worker that is slow to drain would not reach the point.
                told_to_drain = true;
                worker.signal(Signal::TERM)?;
            } else if point == FailPoint::IngestDuringRevoke && last_guest.elapsed() > Duration::from_secs(6) {
                // A third member comes and goes, so that the group shares out anew; whom it takes from is the group's choice.
                last_guest = Instant::now();
                match targets.slots.get_mut(WORKERS).and_then(Option::take) {
                    Some(mut guest) => drop(guest.terminate(Duration::from_secs(30))?),
                    None => targets.start_worker(WORKERS, "")?,
                }
            }
            if armed_at[slot].is_some_and(|(_, since)| since.elapsed() > UNREACHED) {
                targets.wrong(format!("{} was not reached in {UNREACHED:?}", point.as_str()));
                targets.worker(slot)?.kill9()?;
            }
        }
    }
    targets.wait_ready()
}

/// A fresh process in the slot, armed with the next point; unarmed when there is none left.
fn respawn(
    targets: &mut Targets<'_>,
    slot: usize,
    left: &mut VecDeque<FailPoint>,
    armed_at: &mut [Option<(FailPoint, Instant)>],
    random: &mut StdRng,
) -> Result<()> {
    let next = left.pop_front();
    let fail_points = next.map_or_else(String::new, |point| armed(point, random));
    targets.start_worker(slot, &fail_points)?;
    armed_at[slot] = next.map(|point| (point, Instant::now()));
    if let Some(mut guest) = targets.slots.get_mut(WORKERS).and_then(Option::take) {
        guest.terminate(Duration::from_secs(30))?;
    }
    targets.slots.truncate(WORKERS);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_killed_at_twelve_points_and_more() {
        assert!(points().len() >= 12, "{}", points().len());
        let mut random = StdRng::seed_from_u64(1);
        for point in points() {
            let text = armed(point, &mut random);
            assert!(text.contains(&format!("{}=kill@", point.as_str())), "{text}");
        }
    }
}
