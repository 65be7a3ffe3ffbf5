use jtav_schemas::DeadLetterReason;

use crate::Letter;

/// Which letters are meant; an empty list means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    pub reasons: Vec<DeadLetterReason>,
    pub stages: Vec<String>,
    pub posts: Vec<String>,
    /// Set aside then or later, milliseconds since 1970.
    pub since_ms: Option<i64>,
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
