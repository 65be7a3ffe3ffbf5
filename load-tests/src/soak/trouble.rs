//! Outages while posts are sent.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jtav_testkit::Worker;

use super::options::SoakPlan;
use super::outage::{Outage, OutageRecord, Victims};
use super::progress::Progress;
use super::sample::{Sampler, state};
use crate::collector::SharedBook;
use crate::local;

/// No outage begins in the last seconds of a soak.
const QUIET_END: Duration = Duration::from_secs(20);

/// What goes wrong while the posts are sent, and the progress line.
pub struct Trouble<'a> {
    /// Of the samples' clock.
    pub start: Instant,
    /// Of the soak.
    pub begin: Instant,
    /// Of the soak.
    pub length: Duration,
    /// How often, and what.
    pub plan: &'a SoakPlan,
    /// Whom it befalls.
    pub victims: &'a mut Victims,
    /// Follows a new worker.
    pub sampler: &'a Sampler,
    /// For the progress line.
    pub book: &'a SharedBook,
}

impl Trouble<'_> {
    /// Ends only with an error: the worker is gone, an outage could not be brought about.
    pub async fn run(&mut self, worker: &mut Worker, outages: &mut Vec<OutageRecord>) -> anyhow::Error {
        let mut progress = Progress::default();
        loop {
            if let Err(error) = self.step(worker, outages, &mut progress).await {
                return error;
            }
        }
    }

    async fn step(
        &mut self,
        worker: &mut Worker,
        outages: &mut Vec<OutageRecord>,
        progress: &mut Progress,
    ) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(500)).await;
        worker.check()?;
        if progress.is_due() {
            let left = self.length.saturating_sub(self.begin.elapsed()).as_secs();
            let (minutes, seconds) = (left / 60, left % 60);
            let outages = outages.len();
            progress.show(&format!(
                "soaking: {minutes}:{seconds:02} left, {outages} outages, {}",
                state(self.sampler, self.book)
            ));
        }
        let Some(every) = self.plan.outage_every else { return Ok(()) };
        let due = every * (outages.len() as u32 + 1);
        if self.begin.elapsed() < due || self.begin.elapsed() + QUIET_END > self.length {
            return Ok(());
        }
        let number = outages.len();
        let is_kill = self.plan.kill_every > 0 && number % self.plan.kill_every == self.plan.kill_every - 1;
        let outage = if is_kill { Outage::WorkerKilled } else { Outage::ROUND[number % Outage::ROUND.len()] };
        let at_seconds = self.start.elapsed().as_secs_f64();
        if is_kill {
            self.restart(worker).await?
        } else {
            self.victims.suffer(outage).await?
        }
        let over_at_seconds = self.start.elapsed().as_secs_f64();
        outages.push(OutageRecord { outage, at_seconds, over_at_seconds, recovered_after_seconds: None });
        Ok(())
    }

    async fn restart(&self, worker: &mut Worker) -> Result<()> {
        worker.restart()?;
        let deadline = Instant::now() + local::READY;
        while !worker.is_ready() {
            worker.check()?;
            ensure!(Instant::now() < deadline, "the worker is not ready again:\n{}", worker.log_tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.sampler.follow(worker.pid());
        Ok(())
    }
}
