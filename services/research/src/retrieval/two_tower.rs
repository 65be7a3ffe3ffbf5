//! How the two towers are trained (docs/networks.md, "Retrieval"); what they compute serves, too, and is in `jtav-model`.

use jtav_model::ModelError;
use jtav_model::networks::{TowerWidths, TwoTower};
use tch::{Kind, Tensor};

use super::settings::{RetrievalInputs, RetrievalSettings, RetrievalWidths};
use super::tables::{QueryTable, SongTable};

/// Sizes of towers that read these parts.
pub(crate) fn tower_widths(
    inputs: RetrievalInputs,
    widths: &RetrievalWidths,
    settings: &RetrievalSettings,
) -> TowerWidths {
    let read = |is_read: bool, width: usize| if is_read { width } else { 0 };
    TowerWidths {
        image: widths.image,
        caption: read(widths.reads_captions(inputs), widths.caption),
        lyrics: read(inputs.lyrics(), widths.lyrics),
        audio: read(inputs.audio(), widths.audio),
        hidden: settings.width,
        embedding: settings.embedding,
    }
}

/// `[queries, songs]`.
pub(crate) fn scores(
    towers: &TwoTower,
    queries: &QueryTable,
    songs: &SongTable,
    train: bool,
) -> Result<Tensor, ModelError> {
    let caption = queries.caption.as_ref().map(|(caption, present)| (caption, present));
    let queries = towers.queries(&queries.image, caption, train)?;
    towers.scores(&queries, &towers.songs(songs.lyrics.as_ref(), songs.audio.as_ref(), train)?)
}

/// InfoNCE in both directions over a batch of true pairs: row i of `scores` `[batch, batch]` should choose column i and
/// column i row i. `same_song` is true off the diagonal where both rows have one song: no negative.
pub(crate) fn loss(scores: &Tensor, same_song: &Tensor) -> Result<Tensor, ModelError> {
    let masked = scores.f_masked_fill(same_song, f64::NEG_INFINITY)?;
    let direction = |dimension: i64| -> Result<Tensor, ModelError> {
        let chosen = masked.f_log_softmax(dimension, Kind::Float)?.f_diagonal(0, 0, 1)?;
        Ok(chosen.f_mean(Kind::Float)?.f_neg()?)
    };
    Ok(direction(0)?.f_add(&direction(1)?)?.f_div_scalar(2.0)?)
}
