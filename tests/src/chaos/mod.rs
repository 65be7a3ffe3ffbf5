//! Nothing is lost and nothing shows twice, under faults: workers that are really killed, a broker and a store that
//! really stop, and an oracle that knows what must come out.
//!
//! One *run* is one fault on topics, group and database of its own: workers start, a feed flows, the fault comes and
//! goes while a watch holds every committed position against the outcomes that are visible, the feed ends, and when
//! all of it is committed the oracle reads everything.

mod canary;
mod environment;
mod fault;
mod fault_injector;
mod feed;
mod kills;
mod plan;
mod report;
mod run;
mod targets;
mod watch;

pub use environment::Environment;
pub use fault::{Broker, Fault};
pub use plan::Plan;
pub use report::{Report, Row, RunResult};

use anyhow::Result;

/// Runs a plan; `tell` hears of every run before it begins and of its result after.
///
/// # Errors
/// An environment that does not start or does not come back: a harness that failed has proved nothing. What a run finds is no error
/// but stands in its result.
pub async fn run(plan: &Plan, mut tell: impl FnMut(&Fault, u64, Option<&RunResult>)) -> Result<Report> {
    let mut report = Report::default();
    let mut environment: Option<Environment> = None;
    for (number, (fault, seed)) in plan.runs.iter().enumerate() {
        tell(fault, *seed, None);
        let broker = fault.broker();
        // A broker of the same kind is used again; two kinds side by side would only take memory.
        let mut at_hand = match environment.take() {
            Some(at_hand) if at_hand.kind() == broker => at_hand,
            _ => Environment::start(broker).await?,
        };
        let result = run::run_one(&mut at_hand, *fault, *seed, number, plan).await?;
        tell(fault, *seed, Some(&result));
        report.add(*fault, result);
        environment = Some(at_hand);
    }
    Ok(report)
}
