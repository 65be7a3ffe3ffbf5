//! What a running generation of the pipeline can be told: to do without its boxes, to have new ones, to drain.

use std::time::Duration;

use jtav_ingest::{Drain, IngestExit, Pause, Resume};
use jtav_telemetry::PauseCause;

use crate::parameters::PipelineParams;
use crate::topology::{Pipeline, start_boxes};

/// Longest wait for the producer's last acknowledgements.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

impl Pipeline {
    /// Stops letting posts in and ends every box behind ingest; what is in flight is abandoned and comes again. Ingest
    /// stays a member of its group: no other worker is troubled, and no post waits for the group to come to rest.
    pub async fn stop_boxes(&self) {
        // Fails only where ingest has ended, which is seen by whoever waits for that.
        let _ = self.ingest.addr.send(Pause { cause: PauseCause::Restart }).await;
        self.boxes.stop();
    }

    /// Every box behind ingest anew, and posts again.
    ///
    /// # Errors
    /// As [`Self::start`]; intake stays stopped.
    pub async fn restart_boxes(&mut self, params: &PipelineParams) -> anyhow::Result<()> {
        let (boxes, producer) = start_boxes(params)?;
        self.intake.set(boxes.lanes.clone());
        self.specimens.set(boxes.stages.clone());
        (self.boxes, self.producer) = (boxes, producer);
        let _ = self.ingest.addr.send(Resume { cause: PauseCause::Restart }).await;
        Ok(())
    }

    /// Stops intake, settles what is in flight, flushes, commits, leaves the group.
    pub async fn drain(&self, timeout: Duration) -> IngestExit {
        let exit = self.ingest.addr.send(Drain { timeout }).await;
        let exit = exit.unwrap_or_else(|error| IngestExit::Failed(format!("ingest is gone: {error}")));
        let producer = self.producer.clone();
        // Flushing blocks; every record that mattered was awaited already.
        let flushed = tokio::task::spawn_blocking(move || producer.flush(FLUSH_TIMEOUT)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the producer still held records at the end; they belong to posts that come again");
        }
        exit
    }
}
