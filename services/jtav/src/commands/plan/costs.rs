//! What a post was measured to cost, as `jtav-load-tests costs` writes it.

use serde::{Deserialize, Serialize};

/// Layout of the file.
const FORMAT: u32 = 1;
/// What was measured last, built in.
const MEASURED: &str = include_str!("../../../../../config/costs.json");

/// A file of costs that is not one.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// No JSON, or other fields than ours.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Of another version of the program.
    #[error("it has format {0}, this program reads format {ours}", ours = FORMAT)]
    Format(u32),
    /// A number that no measurement gives.
    #[error("`{name}` is {value}: expected {expected}")]
    Number {
        /// Of the field.
        name: String,
        /// What it holds.
        value: f64,
        /// What it may hold.
        expected: &'static str,
    },
}

/// How many of the posts have each part, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    pub text: f64,
    pub audio: f64,
    pub image: f64,
}

impl Shares {
    /// Media of a post, on average.
    pub fn media_per_post(self) -> f64 {
        self.audio + self.image
    }
}

/// A cost that each post has, and what each of its parts adds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    pub post: f64,
    pub text: f64,
    pub audio: f64,
    pub image: f64,
}

impl Parts {
    /// Of the average post of a feed.
    pub fn per_post(self, shares: Shares) -> f64 {
        self.post + self.text * shares.text + self.audio * shares.audio + self.image * shares.image
    }
}

/// Bytes of the average file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaBytes {
    pub audio: f64,
    pub image: f64,
}

/// A saturated worker, as it was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Name of the scenario.
    pub name: String,
    /// Outcomes a second.
    pub posts_per_second: f64,
    /// CPU seconds a second that the worker used.
    pub worker_cores: f64,
    /// The same that broker, store and generator left to it.
    pub free_cores: f64,
    /// What its posts made the networks do: none of the parts with stub networks.
    pub shares: Shares,
}

/// A worker with a GPU, as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    pub name: String,
    /// CPU cores beside it.
    pub cores: u32,
    /// Of one worker with one GPU.
    pub posts_per_second: f64,
    /// Of the posts that it labelled.
    pub shares: Shares,
    /// When.
    pub date: String,
    /// The page with the measurement.
    pub source: String,
    /// Whether it ran the networks that the other costs are of.
    pub has_the_same_networks: bool,
}

/// All costs, of one machine at one commit. CPU-ms are milliseconds of one core, a post's or a part's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    pub format: u32,
    /// UTC, RFC 3339.
    pub date: String,
    pub commit: String,
    pub processor: String,
    /// Of the machine, which a broker is taken to have as well.
    pub cores: u32,
    /// `post` is all but the networks; a medium is fetched, decoded, encoded and handed on.
    pub worker_cpu_ms: Parts,
    /// Of a medium whose encoding the worker still has.
    pub known_medium_cpu_ms: f64,
    /// Of a broker that keeps one copy.
    pub broker_cpu_ms: Parts,
    pub redis_cpu_ms: Parts,
    /// Of the record on the input topic; this and the next two are not compressed.
    pub input_bytes: Parts,
    /// On the sentiment topic.
    pub label_bytes: Parts,
    /// On the embeddings topic.
    pub embedding_bytes: Parts,
    /// Memory of Redis for a post that it holds.
    pub redis_bytes: Parts,
    pub media_bytes: MediaBytes,
    /// Scripts that a worker asks Redis to run.
    pub redis_requests_per_post: f64,
    /// Those, and the commands inside them.
    pub redis_commands_per_post: f64,
    /// Share of its cores that a saturated worker really uses.
    pub efficiency: f64,
    /// Saturated workers, to hold predictions against.
    pub checks: Vec<Check>,
    /// None where nobody measured one.
    pub gpu: Option<Gpu>,
}

impl Costs {
    /// Those that are built in.
    pub fn measured() -> Self {
        Self::parse(MEASURED).expect("Invariant: the embedded costs are costs")
    }

    /// # Errors
    /// Text that is no such file, or holds a number that cannot be, with its name.
    pub fn parse(text: &str) -> Result<Self, CostsError> {
        let costs: Self = serde_json::from_str(text)?;
        if costs.format != FORMAT {
            return Err(CostsError::Format(costs.format));
        }
        costs.check()?;
        Ok(costs)
    }

    fn check(&self) -> Result<(), CostsError> {
        let tables = [
            ("worker_cpu_ms", self.worker_cpu_ms),
            ("broker_cpu_ms", self.broker_cpu_ms),
            ("redis_cpu_ms", self.redis_cpu_ms),
            ("input_bytes", self.input_bytes),
            ("label_bytes", self.label_bytes),
            ("embedding_bytes", self.embedding_bytes),
            ("redis_bytes", self.redis_bytes),
        ];
        for (table, parts) in tables {
            positive(&format!("{table}.post"), parts.post)?;
            for (part, value) in [("text", parts.text), ("audio", parts.audio), ("image", parts.image)] {
                not_negative(&format!("{table}.{part}"), value)?;
            }
        }
        not_negative("known_medium_cpu_ms", self.known_medium_cpu_ms)?;
        not_negative("media_bytes.audio", self.media_bytes.audio)?;
        not_negative("media_bytes.image", self.media_bytes.image)?;
        not_negative("redis_requests_per_post", self.redis_requests_per_post)?;
        not_negative("redis_commands_per_post", self.redis_commands_per_post)?;
        positive("cores", f64::from(self.cores))?;
        positive("efficiency", self.efficiency)?;
        share("efficiency", self.efficiency)?;
        for check in &self.checks {
            positive("checks.posts_per_second", check.posts_per_second)?;
            positive("checks.worker_cores", check.worker_cores)?;
            positive("checks.free_cores", check.free_cores)?;
            all_shares("checks.shares", check.shares)?;
        }
        if let Some(gpu) = &self.gpu {
            positive("gpu.cores", f64::from(gpu.cores))?;
            positive("gpu.posts_per_second", gpu.posts_per_second)?;
            all_shares("gpu.shares", gpu.shares)?;
        }
        Ok(())
    }
}

fn all_shares(name: &str, shares: Shares) -> Result<(), CostsError> {
    for (part, value) in [("text", shares.text), ("audio", shares.audio), ("image", shares.image)] {
        share(&format!("{name}.{part}"), value)?;
    }
    Ok(())
}

fn positive(name: &str, value: f64) -> Result<(), CostsError> {
    number(name, value, value.is_finite() && value > 0.0, "a number above 0")
}

fn not_negative(name: &str, value: f64) -> Result<(), CostsError> {
    number(name, value, value.is_finite() && value >= 0.0, "0 or a number above it")
}

fn share(name: &str, value: f64) -> Result<(), CostsError> {
    number(name, value, (0.0..=1.0).contains(&value), "a number from 0 to 1")
}

fn number(name: &str, value: f64, can_be: bool, expected: &'static str) -> Result<(), CostsError> {
    if can_be { Ok(()) } else { Err(CostsError::Number { name: name.to_owned(), value, expected }) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(change: impl Fn(&mut Value)) -> String {
        let mut costs: Value = serde_json::from_str(MEASURED).unwrap();
        change(&mut costs);
        Costs::parse(&costs.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn the_costs_that_are_built_in_are_costs_and_have_what_they_are_held_against() {
        let names: Vec<String> = Costs::measured().checks.into_iter().map(|check| check.name).collect();
        assert_eq!(names, ["stub", "text", "mixed"]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_the_name_of_the_field() {
        assert_eq!(
            refused(|costs| costs["worker_cpu_ms"]["image"] = json!(-1.5)),
            "`worker_cpu_ms.image` is -1.5: expected 0 or a number above it"
        );
        assert_eq!(
            refused(|costs| costs["redis_bytes"]["post"] = json!(0)),
            "`redis_bytes.post` is 0: expected a number above 0"
        );
        assert_eq!(
            refused(|costs| costs["efficiency"] = json!(1.2)),
            "`efficiency` is 1.2: expected a number from 0 to 1"
        );
        assert_eq!(refused(|costs| costs["format"] = json!(2)), "it has format 2, this program reads format 1");
        assert!(refused(|costs| costs["colour"] = json!("red")).contains("unknown field `colour`"));
        assert!(refused(|costs| *costs = json!([])).contains("invalid"));
        let missing = refused(|costs| drop(costs.as_object_mut().unwrap().remove("redis_bytes")));
        assert!(missing.contains("missing field `redis_bytes`"), "{missing}");
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused_wherever_the_cut_is() {
        let text = MEASURED.trim_end();
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            assert!(Costs::parse(&text[..end]).is_err(), "{end}");
        }
    }
}
