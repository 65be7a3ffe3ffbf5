//! The file of costs that `jtav plan` reads. Its fields are those of `services/jtav/src/commands/plan/costs.rs`, which
//! takes no others and misses none.

use serde::{Deserialize, Serialize};

/// Digits of a number in it behind the first one.
const DECIMALS: usize = 3;

/// How many of the posts have each part, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
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

    pub fn rounded(self) -> Self {
        Self { text: rounded(self.text), audio: rounded(self.audio), image: rounded(self.image) }
    }
}

/// A cost that each post has, and what each of its parts adds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Parts {
    pub post: f64,
    pub text: f64,
    pub audio: f64,
    pub image: f64,
}

impl Parts {
    pub fn rounded(self) -> Self {
        let Self { post, text, audio, image } = self;
        Self { post: rounded(post), text: rounded(text), audio: rounded(audio), image: rounded(image) }
    }
}

/// Bytes of the average file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MediaBytes {
    pub audio: f64,
    pub image: f64,
}

/// A saturated worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Name of the scenario.
    pub name: &'static str,
    /// Outcomes a second.
    pub posts_per_second: f64,
    /// CPU seconds a second that the worker used.
    pub worker_cores: f64,
    /// The same that broker, store and generator left to it.
    pub free_cores: f64,
    /// What its posts made the networks do: none of the parts with stub networks.
    pub shares: Shares,
}

/// A worker with a GPU; measured elsewhere and handed on from file to file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// All costs, of one machine at one commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostsFile {
    /// Version of this layout.
    pub format: u32,
    /// UTC, RFC 3339.
    pub date: String,
    pub commit: String,
    pub processor: String,
    /// Of the machine.
    pub cores: usize,
    /// `post` is all but the networks; a medium is fetched, decoded, encoded and handed on.
    pub worker_cpu_ms: Parts,
    /// Of a medium whose encoding the worker still has.
    pub known_medium_cpu_ms: f64,
    /// Without what the broker takes when nothing comes.
    pub broker_cpu_ms: Parts,
    /// Without what Redis takes when nothing comes.
    pub redis_cpu_ms: Parts,
    /// Key and value of the record on the input topic.
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
    /// Share of the free cores that saturated workers used: the median of the checks.
    pub efficiency: f64,
    pub checks: Vec<Check>,
    /// None where nobody measured one.
    pub gpu: Option<Gpu>,
}

/// A number with as many digits as a measurement has.
pub fn rounded(number: f64) -> f64 {
    // Through its text, so that it is written as short as it reads.
    format!("{number:.DECIMALS$e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jtav_testkit::workspace_root;
    use serde_json::Value;

    use super::*;

    fn file() -> CostsFile {
        let parts = Parts { post: 1.0, text: 1.0, audio: 1.0, image: 1.0 };
        let shares = Shares::default();
        CostsFile {
            format: 1,
            date: String::new(),
            commit: String::new(),
            processor: String::new(),
            cores: 2,
            worker_cpu_ms: parts,
            known_medium_cpu_ms: 1.0,
            broker_cpu_ms: parts,
            redis_cpu_ms: parts,
            input_bytes: parts,
            label_bytes: parts,
            embedding_bytes: parts,
            redis_bytes: parts,
            media_bytes: MediaBytes { audio: 1.0, image: 1.0 },
            redis_requests_per_post: 1.0,
            redis_commands_per_post: 1.0,
            efficiency: 1.0,
            checks: vec![Check { name: "stub", posts_per_second: 1.0, worker_cores: 1.0, free_cores: 1.0, shares }],
            gpu: Some(Gpu {
                name: String::new(),
                cores: 1,
                posts_per_second: 1.0,
                shares,
                date: String::new(),
                source: String::new(),
                has_the_same_networks: true,
            }),
        }
    }

    /// Paths of all fields; of a list those of its items.
    fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields_of) => {
                for (name, value) in fields_of {
                    fields(value, &format!("{path}.{name}"), found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| fields(item, path, found)),
            _ => _ = found.insert(path.to_owned()),
        }
    }

    #[test]
    fn what_is_written_has_the_fields_of_the_file_that_the_program_has_built_in() {
        let built_in = std::fs::read_to_string(workspace_root().join("config/costs.json")).unwrap();
        let (mut here, mut there) = (BTreeSet::new(), BTreeSet::new());
        fields(&serde_json::to_value(file()).unwrap(), "", &mut here);
        fields(&serde_json::from_str(&built_in).unwrap(), "", &mut there);
        assert_eq!(here, there);
    }

    #[test]
    fn numbers_are_written_with_four_digits() {
        let numbers = [0.0, 0.000_123_456, 1.0 / 3.0, 12.345_67, 982.294_6, 52_593.714];
        assert_eq!(numbers.map(rounded), [0.0, 0.000_123_5, 0.3333, 12.35, 982.3, 52_590.0]);
    }
}
