//! A plan, whole: what is needed, what is full first, and what predictions were held against; pure.

use serde::Serialize;

use super::capacity::{Deployment, Feed, Needs, needs, saturated_posts_per_second, worker_cpu_ms_per_post};
use super::costs::Costs;
use super::limits::{Limit, limits};

/// Where the costs come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    pub date: String,
    pub commit: String,
    pub processor: String,
    pub cores: u32,
}

/// A saturated worker: what the plan says of it, and what it did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    pub name: String,
    pub predicted_posts_per_second: f64,
    pub measured_posts_per_second: f64,
    /// That broker, store and generator left to it.
    pub free_cores: f64,
    pub used_cores: f64,
}

impl Checked {
    /// Predicted by measured.
    pub fn ratio(&self) -> f64 {
        self.predicted_posts_per_second / self.measured_posts_per_second
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub costs: Source,
    pub feed: Feed,
    pub deployment: Deployment,
    pub needs: Needs,
    /// In the order in which a growing feed meets them.
    pub bottlenecks: Vec<Limit>,
    pub checks: Vec<Checked>,
    /// What a reader has to know before believing it.
    pub remarks: Vec<String>,
}

impl Plan {
    pub fn new(costs: &Costs, feed: Feed, deployment: Deployment) -> Self {
        let needs = needs(costs, &feed, &deployment);
        Self {
            costs: Source {
                date: costs.date.clone(),
                commit: costs.commit.clone(),
                processor: costs.processor.clone(),
                cores: costs.cores,
            },
            bottlenecks: limits(costs, &feed, &deployment, &needs),
            checks: checks(costs),
            remarks: remarks(&deployment, &needs),
            feed,
            deployment,
            needs,
        }
    }
}

fn checks(costs: &Costs) -> Vec<Checked> {
    let checked = costs.checks.iter().map(|check| {
        let cpu_ms_per_post = worker_cpu_ms_per_post(costs, check.shares, 0.0);
        Checked {
            name: check.name.clone(),
            predicted_posts_per_second: saturated_posts_per_second(costs, check.free_cores, cpu_ms_per_post),
            measured_posts_per_second: check.posts_per_second,
            free_cores: check.free_cores,
            used_cores: check.worker_cores,
        }
    });
    checked.collect()
}

fn remarks(deployment: &Deployment, needs: &Needs) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(gpu) = &deployment.gpu {
        let networks = if gpu.has_the_same_networks { "the same networks" } else { "other networks" };
        remarks.push(format!(
            "with a GPU: {:.0} posts/s of one {} beside {} cores, measured {} with {networks}, without broker and store ({})",
            gpu.posts_per_second, gpu.name, gpu.cores, gpu.date, gpu.source
        ));
    }
    if needs.redis.servers > 1 {
        remarks.push(format!(
            "one Redis is not enough for what is asked: {} would hold it, and a worker speaks to one",
            needs.redis.servers
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::super::costs::Shares;
    use super::*;

    fn plan(has_gpu: bool) -> Plan {
        let costs = Costs::measured();
        let shares = Shares { text: 1.0, audio: 0.05, image: 0.3 };
        let deployment = Deployment { gpu: costs.gpu.clone().filter(|_| has_gpu), ..Deployment::of_defaults() };
        Plan::new(&costs, Feed { posts_per_second: 1_000.0, shares, known_media_share: 0.0 }, deployment)
    }

    #[test]
    fn no_recorded_run_was_promised_more_than_a_fifth_above_what_was_measured_nor_less_than_seven_tenths_of_it() {
        // Costs are of a worker that is planned with; one that is saturated has fuller batches.
        for check in plan(false).checks {
            assert!((0.7..=1.2).contains(&check.ratio()), "{check:?}");
        }
    }

    #[test]
    fn a_plan_with_a_gpu_says_where_its_rate_is_from() {
        let said = plan(true).remarks.join("\n");
        assert!(said.contains("H200") && said.contains("docs/results/gpu.md"), "{said}");
        assert!(!plan(false).remarks.join("\n").contains("H200"));
    }

    #[test]
    fn the_json_of_a_plan_has_no_number_that_is_none() {
        let json = serde_json::to_string(&plan(false)).unwrap();
        // What is not finite is written as null.
        assert_eq!(json.matches("null").count(), json.matches("\"gpu\":null").count(), "{json}");
    }
}
