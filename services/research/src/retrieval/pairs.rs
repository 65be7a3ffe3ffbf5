//! The vectors of queries and songs, and which belong together.

#[derive(Debug, Clone, PartialEq)]
pub struct QueryVectors {
    /// Vector of the picture.
    pub image: Vec<f32>,
    /// Vector of its caption, where there is one.
    pub caption: Option<Vec<f32>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SongVectors {
    /// Vector of the clip; needed where sound is read.
    pub audio: Option<Vec<f32>>,
    /// Vector of the lyrics; needed where lyrics are read.
    pub lyrics: Option<Vec<f32>>,
}

/// A query and the song that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TruePair {
    /// Index into the queries.
    pub query: usize,
    /// Index into the songs, each of which stands there once.
    pub song: usize,
}
