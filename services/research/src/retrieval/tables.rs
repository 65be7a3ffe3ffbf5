//! Queries and songs as the networks of image2song read them: matrices on the device.

use jtav_model::ModelError;
use tch::Tensor;

/// Queries on the device.
pub(crate) struct QueryTable {
    /// `[queries, width]`.
    pub image: Tensor,
    /// `[queries, width]`, zeros where there is none, and `[queries, 1]`: 1 where there is one, else 0.
    pub caption: Option<(Tensor, Tensor)>,
}

impl QueryTable {
    /// The rows with these indices (`i64`).
    pub fn rows(&self, at: &Tensor) -> Result<Self, ModelError> {
        let caption = match &self.caption {
            Some((values, present)) => Some((values.f_index_select(0, at)?, present.f_index_select(0, at)?)),
            None => None,
        };
        Ok(Self { image: self.image.f_index_select(0, at)?, caption })
    }
}

/// Songs on the device; `None` for a part that the network does not read.
pub(crate) struct SongTable {
    /// `[songs, width]`.
    pub lyrics: Option<Tensor>,
    /// `[songs, width]`.
    pub audio: Option<Tensor>,
}

impl SongTable {
    /// The rows with these indices (`i64`).
    pub fn rows(&self, at: &Tensor) -> Result<Self, ModelError> {
        let rows = |part: &Option<Tensor>| part.as_ref().map(|part| part.f_index_select(0, at)).transpose();
        Ok(Self { lyrics: rows(&self.lyrics)?, audio: rows(&self.audio)? })
    }
}

/// The part of a table that a network reads.
pub(super) fn needed<'a, T>(part: &'a Option<T>, name: &str) -> Result<&'a T, ModelError> {
    part.as_ref().ok_or_else(|| ModelError::Input(format!("the network reads {name}, the table has none")))
}
