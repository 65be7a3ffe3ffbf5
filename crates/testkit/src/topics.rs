/// Names of the topics that a worker reads and writes, and of the consumer group in which it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Consumer group.
    pub group: String,
    /// Posts.
    pub input: String,
    /// Labels.
    pub sentiment: String,
    /// Vectors.
    pub embeddings: String,
    /// What was set aside.
    pub dead_letters: String,
    /// What was erased.
    pub erasures: String,
}

impl Default for Topics {
    /// As in config/default.toml.
    fn default() -> Self {
        Self::named("jtav", str::to_owned)
    }
}

impl Topics {
    /// `name` for each of `posts`, `sentiment`, `embeddings`, `dead-letters` and `erasures`.
    pub fn named(group: impl Into<String>, name: impl Fn(&str) -> String) -> Self {
        Self {
            group: group.into(),
            input: name("posts"),
            sentiment: name("sentiment"),
            embeddings: name("embeddings"),
            dead_letters: name("dead-letters"),
            erasures: name("erasures"),
        }
    }

    /// `NAME-posts` and so on; the group is `NAME`.
    pub fn of(name: &str) -> Self {
        Self::named(name, |what| format!("{name}-{what}"))
    }

    /// What the worker writes.
    pub fn outputs(&self) -> [&str; 4] {
        [&self.sentiment, &self.embeddings, &self.dead_letters, &self.erasures]
    }

    /// All of them.
    pub fn all(&self) -> [&str; 5] {
        [&self.input, &self.sentiment, &self.embeddings, &self.dead_letters, &self.erasures]
    }
}
