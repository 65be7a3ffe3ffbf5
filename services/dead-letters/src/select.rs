//! Which dead letters a command is about.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jtav_schemas::{DeadLetterReason, Stage};

use crate::letter::Letter;
use crate::time::parse_since;

/// Which dead letters; several values of one flag mean any of them, several flags mean all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Selection {
    /// Only these reasons, comma-separated.
    #[arg(long = "reason", value_name = "REASON,…", value_delimiter = ',', value_parser = reason())]
    pub reasons: Vec<DeadLetterReason>,
    /// Only what these stages set aside, comma-separated.
    #[arg(long = "stage", value_name = "STAGE,…", value_delimiter = ',', value_parser = PossibleValuesParser::new(Stage::ALL.map(Stage::as_str)))]
    pub stages: Vec<String>,
    /// Only what was set aside since: an age (90s, 30m, 2h, 7d) or RFC 3339 (2026-11-25T20:15:30Z).
    // Milliseconds since 1970.
    #[arg(long = "since", value_name = "TIME", value_parser = since)]
    pub since_ms: Option<i64>,
    /// Only this post; may be given several times.
    #[arg(long = "post", value_name = "ID")]
    pub posts: Vec<String>,
}

fn reason() -> impl TypedValueParser<Value = DeadLetterReason> {
    PossibleValuesParser::new(DeadLetterReason::ALL.map(DeadLetterReason::as_str)).try_map(|name| {
        let known = DeadLetterReason::ALL.into_iter().find(|reason| reason.as_str() == name);
        known.ok_or_else(|| format!("`{name}` is no reason"))
    })
}

fn since(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    parse_since(text, now.as_millis() as i64)
}

impl Selection {
    /// Whether the letter is meant.
    pub fn takes(&self, letter: &Letter) -> bool {
        let any_or = |empty: bool, found: bool| empty || found;
        any_or(self.reasons.is_empty(), self.reasons.contains(&letter.facts.reason))
            && any_or(self.stages.is_empty(), self.stages.contains(&letter.facts.stage))
            && self.since_ms.is_none_or(|since_ms| letter.time_ms() >= since_ms)
            // Last, because it reads the value.
            && any_or(self.posts.is_empty(), self.names(letter))
    }

    fn names(&self, letter: &Letter) -> bool {
        let meant = |id: &str| self.posts.iter().any(|post| post == id);
        letter.key_text().is_some_and(meant) || letter.id_in_value().is_some_and(|id| meant(&id))
    }
}
