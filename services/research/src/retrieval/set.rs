//! Queries and songs of a pack, divided by protocol.

use std::collections::{BTreeMap, HashSet};

use jtav_model::retrieval::{VectorScale, VectorScales};

use super::pairs::{QueryVectors, SongVectors, TruePair};
use super::ranks::distinct;
use super::rows::Protocol;
use super::settings::RetrievalWidths;

/// A picture that looks for its song.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Id of its post.
    pub id: String,
    /// Picture and caption.
    pub vectors: QueryVectors,
    /// Index of the true song in the same part.
    pub song: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Song {
    /// Identity; no two songs of a part have the same.
    pub id: String,
    /// What a picture may give away without knowing the song (video, polarity), for a reference row.
    pub group: String,
    /// Sound and lyrics.
    pub vectors: SongVectors,
}

/// What is trained on, or chosen by, or reported on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    /// All candidates of each query.
    pub songs: Vec<Song>,
    /// Queries, each with a true song.
    pub queries: Vec<Query>,
}

/// Why a pack gives no retrieval set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// A song stands twice.
    #[error("song `{0}` stands twice among the candidates")]
    Repeated(String),
    /// A query without its song.
    #[error("query `{0}` names a song that is not among the candidates")]
    NoSong(String),
    /// Training has seen what is reported on.
    #[error("song `{0}` is in two parts of the disjoint protocol")]
    Leak(String),
    /// A picture is on both sides with the same song.
    #[error("query `{0}` is in two parts")]
    Repeats(String),
    /// Nothing to train on or to report on.
    #[error("{protocol}, fold {fold}: {part} has {songs} songs and {queries} queries, at least two of each are needed")]
    TooSmall { protocol: &'static str, fold: usize, part: &'static str, songs: usize, queries: usize },
}

impl Part {
    pub fn pairs(&self) -> Vec<TruePair> {
        self.queries.iter().enumerate().map(|(query, of)| TruePair { query, song: of.song }).collect()
    }

    /// At most `most` queries, evenly spread.
    pub fn thinned(&self, most: usize) -> Self {
        let n = self.queries.len();
        let taken = most.min(n);
        let queries = (0..taken).map(|at| self.queries[at * n / taken].clone()).collect();
        Self { songs: self.songs.clone(), queries }
    }

    /// Vectors of the queries, in order.
    pub fn query_vectors(&self) -> Vec<QueryVectors> {
        self.queries.iter().map(|query| query.vectors.clone()).collect()
    }

    /// Vectors of the songs, in order.
    pub fn song_vectors(&self) -> Vec<SongVectors> {
        self.songs.iter().map(|song| song.vectors.clone()).collect()
    }

    /// For each query the number of candidates in its true song's group.
    pub fn group_sizes(&self) -> Vec<usize> {
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for song in &self.songs {
            *sizes.entry(&song.group).or_default() += 1;
        }
        self.queries.iter().map(|query| sizes[self.songs[query.song].group.as_str()]).collect()
    }

    fn check(&self) -> Result<(), SetError> {
        let kept = distinct(self.songs.iter().map(|song| song.id.as_str()));
        if let Some((_, song)) = self.songs.iter().enumerate().find(|(at, _)| !kept.contains(at)) {
            return Err(SetError::Repeated(song.id.clone()));
        }
        match self.queries.iter().find(|query| query.song >= self.songs.len()) {
            Some(query) => Err(SetError::NoSong(query.id.clone())),
            None => Ok(()),
        }
    }
}

/// One division of a pack, standardised by its training part.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// Weights are fitted here.
    pub train: Part,
    /// Epochs and step sizes are chosen here.
    pub validation: Part,
    /// Reported.
    pub test: Part,
    /// What standardised the three.
    pub scales: VectorScales,
}

impl Fold {
    /// Checks the parts against the protocol and brings every vector to mean 0 and deviation 1 over the training part
    /// (a constant value to 0).
    ///
    /// # Errors
    /// The first thing that would make figures of this fold meaningless.
    pub fn new(protocol: Protocol, number: usize, mut parts: [Part; 3]) -> Result<Self, SetError> {
        let mut queries = HashSet::new();
        for (part, name) in parts.iter().zip(["training", "validation", "test"]) {
            part.check()?;
            if part.songs.len() < 2 || part.queries.len() < 2 {
                return Err(SetError::TooSmall {
                    protocol: protocol.name(),
                    fold: number,
                    part: name,
                    songs: part.songs.len(),
                    queries: part.queries.len(),
                });
            }
            if let Some(query) = part.queries.iter().find(|query| !queries.insert(query.id.clone())) {
                return Err(SetError::Repeats(query.id.clone()));
            }
        }
        if protocol == Protocol::Disjoint {
            let mut seen = HashSet::new();
            if let Some(song) = parts.iter().flat_map(|part| &part.songs).find(|song| !seen.insert(song.id.clone())) {
                return Err(SetError::Leak(song.id.clone()));
            }
        }
        let scales = standardise(&mut parts);
        let [train, validation, test] = parts;
        Ok(Self { train, validation, test, scales })
    }
}

fn standardise(parts: &mut [Part; 3]) -> VectorScales {
    VectorScales {
        image: standardise_one(parts, |part| part.queries.iter_mut().map(|query| &mut query.vectors.image).collect()),
        caption: standardise_one(parts, |part| {
            part.queries.iter_mut().filter_map(|query| query.vectors.caption.as_mut()).collect()
        }),
        lyrics: standardise_one(parts, |part| {
            part.songs.iter_mut().filter_map(|song| song.vectors.lyrics.as_mut()).collect()
        }),
        audio: standardise_one(parts, |part| {
            part.songs.iter_mut().filter_map(|song| song.vectors.audio.as_mut()).collect()
        }),
    }
}

/// `pick` gives all vectors of one kind.
fn standardise_one(parts: &mut [Part; 3], pick: impl Fn(&mut Part) -> Vec<&mut Vec<f32>>) -> VectorScale {
    let train: Vec<&[f32]> = pick(&mut parts[0]).into_iter().map(|vector| vector.as_slice()).collect();
    let scale = VectorScale::of(&train);
    for part in parts {
        for vector in pick(part) {
            scale.apply(vector);
        }
    }
    scale
}

/// A pack as image2song reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrievalSet {
    /// Name of the pack.
    pub name: String,
    /// Digest of everything that the vectors were made of.
    pub data_sha256: String,
    /// Whether queries have captions; without any, rows that need them are left out.
    pub captions: bool,
    /// Which data stand in for which, and what the figures can and cannot show: a sentence each.
    pub notes: Vec<String>,
    /// What whoever reads a ranking of towers that were trained on it has to know; it is the first of `notes`, too.
    pub caveat: Option<String>,
    /// What [`Song::group`] is.
    pub group: String,
    /// Sizes of the vectors.
    pub widths: RetrievalWidths,
    pub folds: BTreeMap<Protocol, Vec<Fold>>,
}

#[cfg(test)]
pub(super) mod tests {
    use jtav_model::retrieval::LARGEST_DEVIATION;

    use super::*;

    /// Songs `first..first + songs` in two groups, two pictures each; a song and its pictures have one direction.
    pub fn part(first: usize, songs: usize, tag: &str) -> Part {
        let vector = |seed: usize, width: usize| -> Vec<f32> {
            (0..width).map(|at| ((seed * 31 + at * 17) as f32 * 0.73).sin() * 3.0 + 1.0).collect()
        };
        let song = |at: usize| Song {
            id: format!("song-{at}"),
            group: format!("group-{}", at % 2),
            vectors: SongVectors { audio: Some(vector(at, 5)), lyrics: Some(vector(at + 7, 6)) },
        };
        let query = |at: usize| Query {
            id: format!("{tag}-{at}"),
            vectors: QueryVectors { image: vector(first + at / 2, 8), caption: Some(vector(at, 4)) },
            song: at / 2,
        };
        Part { songs: (first..first + songs).map(song).collect(), queries: (0..2 * songs).map(query).collect() }
    }

    pub fn set() -> RetrievalSet {
        let disjoint = [part(0, 16, "a"), part(16, 8, "b"), part(24, 12, "c")];
        let shared = ["d", "e", "f"].map(|tag| part(0, 12, tag));
        RetrievalSet {
            name: "made-up".to_owned(),
            data_sha256: "00".to_owned(),
            captions: true,
            notes: vec!["Waves stand in for pictures and songs.".to_owned()],
            caveat: Some("Waves stand in for pictures and songs.".to_owned()),
            group: "parity".to_owned(),
            widths: RetrievalWidths { image: 8, caption: 4, lyrics: 6, audio: 5 },
            folds: BTreeMap::from([
                (Protocol::Disjoint, vec![Fold::new(Protocol::Disjoint, 0, disjoint).unwrap()]),
                (Protocol::Shared, vec![Fold::new(Protocol::Shared, 0, shared).unwrap()]),
            ]),
        }
    }

    #[test]
    fn a_song_on_both_sides_is_an_error_of_the_disjoint_protocol_alone() {
        let parts = || [part(0, 4, "a"), part(4, 4, "b"), part(3, 4, "c")];
        assert_eq!(Fold::new(Protocol::Disjoint, 0, parts()), Err(SetError::Leak("song-3".to_owned())));
        assert!(Fold::new(Protocol::Shared, 0, parts()).is_ok());
    }

    #[test]
    fn repeated_songs_repeated_queries_and_lost_songs_are_refused() {
        let mut twice = part(0, 4, "a");
        twice.songs[3].id = twice.songs[0].id.clone();
        let others = || (part(4, 4, "b"), part(8, 4, "c"));
        let fold =
            |first: Part, (second, third): (Part, Part)| Fold::new(Protocol::Disjoint, 0, [first, second, third]);
        assert_eq!(fold(twice, others()), Err(SetError::Repeated("song-0".to_owned())));
        let mut lost = part(0, 4, "a");
        lost.queries[1].song = 4;
        assert_eq!(fold(lost, others()), Err(SetError::NoSong("a-1".to_owned())));
        assert_eq!(fold(part(0, 4, "b"), others()), Err(SetError::Repeats("b-0".to_owned())));
        assert!(
            fold(part(0, 1, "a"), others()).unwrap_err().to_string().contains("training has 1 songs and 2 queries")
        );
    }

    #[test]
    fn vectors_are_standardised_by_the_training_part_alone() {
        let mut parts = [part(0, 16, "a"), part(16, 8, "b"), part(24, 12, "c")];
        for part in &mut parts {
            for query in &mut part.queries {
                query.vectors.image[2] = 4.0;
            }
        }
        parts[2].songs[0].vectors.audio = Some(vec![1e6; 5]);
        let fold = Fold::new(Protocol::Disjoint, 0, parts).unwrap();
        let column =
            |at: usize| -> Vec<f32> { fold.train.queries.iter().map(|query| query.vectors.image[at]).collect() };
        let n = column(0).len() as f32;
        assert!(column(0).iter().sum::<f32>().abs() / n < 1e-5);
        assert!((column(0).iter().map(|value| value * value).sum::<f32>() / n - 1.0).abs() < 1e-4);
        assert!(column(2).iter().all(|&value| value == 0.0), "a constant says nothing");
        assert_eq!(fold.test.songs[0].vectors.audio.as_deref(), Some([LARGEST_DEVIATION; 5].as_slice()));
    }

    #[test]
    fn groups_are_counted_among_the_candidates_of_the_part() {
        let part = part(0, 5, "a");
        assert_eq!(part.group_sizes(), [3, 3, 2, 2, 3, 3, 2, 2, 3, 3]);
        let thin = part.thinned(4);
        assert_eq!(
            thin.queries.iter().map(|query| query.id.as_str()).collect::<Vec<_>>(),
            ["a-0", "a-2", "a-5", "a-7"]
        );
        assert_eq!(thin.songs.len(), 5);
    }
}
