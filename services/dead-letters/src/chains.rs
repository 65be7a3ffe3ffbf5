use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::letter::Letter;

/// More chains of replays than are kept in memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more than {max} replayed records in what is read; narrow it with --since")]
pub struct TooManyChains {
    /// How many are kept.
    pub max: usize,
}

/// Which letters belong to the same first record: the latest round of each, and what this run has replayed.
///
/// Letters that were never replayed take no memory until they are; a chain takes about 16 bytes. Origins are compared
/// by a hash of 64 bits: among a million of them two agree with a probability of 3 in 10^8, and then one letter is
/// left for the next run.
#[derive(Debug)]
pub struct Chains {
    rounds: HashMap<u64, u32>,
    replayed: HashSet<u64>,
    max: usize,
}

impl Chains {
    /// Keeps at most `max` chains.
    pub fn new(max: usize) -> Self {
        Self { rounds: HashMap::new(), replayed: HashSet::new(), max }
    }

    /// Takes note of a letter of the topic.
    pub fn note(&mut self, letter: &Letter) -> Result<(), TooManyChains> {
        if letter.facts.replay_count == 0 {
            return Ok(());
        }
        let round = self.rounds.entry(hash(letter)).or_default();
        *round = letter.facts.replay_count.max(*round);
        self.check(self.rounds.len())
    }

    /// Takes note that a letter was replayed in this run.
    pub fn replayed(&mut self, letter: &Letter) -> Result<(), TooManyChains> {
        self.replayed.insert(hash(letter));
        self.check(self.replayed.len())
    }

    /// Whether another letter of the same record stands for this one: one of a later round, or one that was replayed
    /// in this run (a worker that crashes may set the same record aside twice).
    pub fn is_superseded(&self, letter: &Letter) -> bool {
        let hash = hash(letter);
        self.replayed.contains(&hash)
            || self.rounds.get(&hash).is_some_and(|latest| *latest > letter.facts.replay_count)
    }

    fn check(&self, len: usize) -> Result<(), TooManyChains> {
        if len > self.max { Err(TooManyChains { max: self.max }) } else { Ok(()) }
    }
}

fn hash(letter: &Letter) -> u64 {
    let mut hasher = DefaultHasher::new();
    letter.origin.hash(&mut hasher);
    hasher.finish()
}
