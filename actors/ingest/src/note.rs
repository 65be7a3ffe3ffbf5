//! What stands beside every committed offset, so that whoever takes a partition over knows how its last owner ended.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::OnceLock;

/// First word of every note; another one would mean another meaning of the rest.
const VERSION: &str = "jtav1";

/// One process. A note of our own process tells that it did not end: only its session or its pipeline did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u64);

impl Owner {
    /// This process.
    pub(crate) fn this_process() -> Self {
        static THIS: OnceLock<u64> = OnceLock::new();
        // Keys of the standard library's hash maps are random numbers of the operating system.
        Self(*THIS.get_or_init(|| RandomState::new().build_hasher().finish()))
    }
}

/// The note of one partition. `until` is an offset: records below it may have been inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// The owner said goodbye. Also what anything unreadable counts as.
    Clean,
    /// Records are inside.
    Open { owner: Owner, until: i64 },
    /// Records up to `until` are to go in one by one; none of them is inside. `ends` is of the record at the position.
    Careful { until: i64, ends: u32 },
    /// The record at the position is inside by itself; if the process ends now, that is end number `ends`.
    Suspect { owner: Owner, until: i64, ends: u32 },
}

impl Note {
    /// Reads the text that was committed.
    pub(crate) fn read(text: &str) -> Self {
        Self::try_read(text).unwrap_or(Self::Clean)
    }

    fn try_read(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        if words.next()? != VERSION {
            return None;
        }
        let kind = words.next()?;
        let owner = |word: &str| u64::from_str_radix(word, 16).ok().map(Owner);
        let offset = |word: &str| word.parse::<i64>().ok().filter(|offset| *offset >= 0);
        Some(match kind {
            "open" => Self::Open { owner: owner(words.next()?)?, until: offset(words.next()?)? },
            "careful" => Self::Careful { until: offset(words.next()?)?, ends: words.next()?.parse().ok()? },
            "suspect" => Self::Suspect {
                owner: owner(words.next()?)?,
                until: offset(words.next()?)?,
                ends: words.next()?.parse().ok()?,
            },
            _ => Self::Clean,
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => write!(f, "{VERSION} clean"),
            Self::Open { owner, until } => write!(f, "{VERSION} open {:016x} {until}", owner.0),
            Self::Careful { until, ends } => write!(f, "{VERSION} careful {until} {ends}"),
            Self::Suspect { owner, until, ends } => write!(f, "{VERSION} suspect {:016x} {until} {ends}", owner.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn notes() -> impl Strategy<Value = Note> {
        let (owner, until) = (any::<u64>().prop_map(Owner), 0..i64::MAX);
        prop_oneof![
            Just(Note::Clean),
            (owner.clone(), until.clone()).prop_map(|(owner, until)| Note::Open { owner, until }),
            (until.clone(), any::<u32>()).prop_map(|(until, ends)| Note::Careful { until, ends }),
            (owner, until, any::<u32>()).prop_map(|(owner, until, ends)| Note::Suspect { owner, until, ends }),
        ]
    }

    proptest! {
        #[test]
        fn a_note_reads_as_it_was_written_and_is_short(note in notes()) {
            let text = note.to_string();
            prop_assert_eq!(Note::read(&text), note);
            prop_assert!(text.len() < 64, "{}", text);
        }

        #[test]
        fn whatever_else_stands_there_counts_as_clean(text in "(jtav1 )?(open|suspect|careful)?[ a-z0-9-]{0,20}") {
            // Total: it may happen to be a note, but it never panics.
            let _ = Note::read(&text);
        }
    }

    #[test]
    fn foreign_and_damaged_notes_count_as_clean() {
        for text in ["", "note", "jtav2 open 1 2", "jtav1 open 1", "jtav1 open x 2", "jtav1 careful -1 0", "jtav1 shut"]
        {
            assert_eq!(Note::read(text), Note::Clean, "{text}");
        }
    }
}
