//! Training and inference of a network for image2song on frozen vectors.

use std::collections::BTreeMap;

use jtav_model::ModelError;
use jtav_model::networks::{TowerWidths, TwoTower};
use jtav_model::parameters::{Builder, to_rows, to_vec};
use jtav_training::EpochReport;
use jtav_training::learner::{Learner, Pass, learner_methods};
use rand::RngExt;
use tch::{Device, Tensor};

use super::joint_scorer::JointScorer;
use super::pairs::{QueryVectors, SongVectors, TruePair};
use super::settings::{RetrievalInputs, RetrievalSettings, RetrievalWidths};
use super::tables::{QueryTable, SongTable};
use super::two_tower::{self, tower_widths};
use crate::zoo::Profile;

/// Pairs of one pass without gradients: few, because the tables of CMF-AP (width times k values each) should stay in the
/// processor's cache.
const PAIRS: usize = 64;

enum Network {
    Joint(JointScorer),
    TwoTower(TwoTower),
}

/// A network for image2song with its optimiser. Equal seeds give equal trainings as long as no other thread of the
/// process trains.
pub struct RetrievalTrainer {
    learner: Learner,
    network: Network,
    inputs: RetrievalInputs,
    widths: RetrievalWidths,
    device: Device,
}

impl RetrievalTrainer {
    /// The joint scorer: binary cross-entropy over each true pair and one of its query with another song, drawn anew in
    /// every epoch.
    pub fn joint(
        profile: Profile,
        inputs: RetrievalInputs,
        widths: RetrievalWidths,
        settings: RetrievalSettings,
        seed: u64,
    ) -> Result<Self, ModelError> {
        Self::new(inputs, widths, settings, seed, |builder| {
            let scope = builder.scope("joint");
            Ok(Network::Joint(JointScorer::new(&scope, profile, inputs, &widths, &settings)?))
        })
    }

    /// The two towers: InfoNCE with the other songs of the batch as negatives.
    pub fn two_tower(
        inputs: RetrievalInputs,
        widths: RetrievalWidths,
        settings: RetrievalSettings,
        seed: u64,
    ) -> Result<Self, ModelError> {
        Self::new(inputs, widths, settings, seed, |builder| {
            let towers = tower_widths(inputs, &widths, &settings);
            Ok(Network::TwoTower(TwoTower::new(&builder.scope("towers"), towers, settings.dropout)?))
        })
    }

    fn new(
        inputs: RetrievalInputs,
        widths: RetrievalWidths,
        settings: RetrievalSettings,
        seed: u64,
        build: impl FnOnce(&Builder) -> Result<Network, ModelError>,
    ) -> Result<Self, ModelError> {
        settings.check()?;
        widths.check(inputs)?;
        let device = settings.device.resolve()?;
        let builder = Builder::fresh(seed, device);
        let network = build(&builder)?;
        let learner = Learner::with_rule(builder.finish(), settings.optimisation, settings.rule, seed)?;
        Ok(Self { learner, network, inputs, widths, device })
    }

    /// One pass over the true pairs, shuffled by seed and epoch number. Needs two pairs and two songs.
    ///
    /// # Errors
    /// [`ModelError::Input`] for a vector that is missing, not finite or of another width, and for an index beyond the
    /// queries or songs; [`ModelError::Torch`] when the loss is no longer finite.
    pub fn epoch(
        &mut self,
        pairs: &[TruePair],
        queries: &[QueryVectors],
        songs: &[SongVectors],
    ) -> Result<EpochReport, ModelError> {
        if pairs.len() < 2 || songs.len() < 2 {
            return Err(ModelError::Input(format!(
                "an epoch over {} pairs and {} songs: both must be two or more",
                pairs.len(),
                songs.len()
            )));
        }
        if pairs.iter().any(|pair| pair.query >= queries.len() || pair.song >= songs.len()) {
            return Err(ModelError::Input("a pair names a query or a song that is not there".to_owned()));
        }
        let (query_table, song_table) = (self.query_table(queries)?, self.song_table(songs)?);
        let mut pass = self.learner.begin(pairs.len())?;
        for indices in std::mem::take(&mut pass.batches) {
            let batch: Vec<TruePair> = indices.iter().map(|&at| pairs[at]).collect();
            let loss = self.loss(&batch, songs.len(), &query_table, &song_table, &mut pass)?;
            self.learner.step(&mut pass, &loss, batch.len())?;
        }
        let report = self.learner.end(pass);
        if !report.loss.is_finite() {
            return Err(ModelError::Torch(format!("the retrieval network diverged: the loss is {}", report.loss)));
        }
        Ok(report)
    }

    fn loss(
        &self,
        batch: &[TruePair],
        songs: usize,
        query_table: &QueryTable,
        song_table: &SongTable,
        pass: &mut Pass,
    ) -> Result<Tensor, ModelError> {
        let queries = || batch.iter().map(|pair| pair.query);
        let true_songs = || batch.iter().map(|pair| pair.song);
        match &self.network {
            Network::Joint(network) => {
                let fakes: Vec<usize> = true_songs().map(|song| another(song, songs, pass)).collect();
                let at_queries = self.index(queries().chain(queries()))?;
                let at_songs = self.index(true_songs().chain(fakes))?;
                let logits = network.forward(&query_table.rows(&at_queries)?, &song_table.rows(&at_songs)?, true)?;
                let positive: Vec<bool> = (0..2 * batch.len()).map(|at| at < batch.len()).collect();
                self.learner.sentiment_loss(&logits, &positive)
            }
            Network::TwoTower(network) => {
                let (at_queries, at_songs) = (self.index(queries())?, self.index(true_songs())?);
                let scores =
                    two_tower::scores(network, &query_table.rows(&at_queries)?, &song_table.rows(&at_songs)?, true)?;
                let same: Vec<bool> = (0..batch.len() * batch.len())
                    .map(|cell| (cell / batch.len(), cell % batch.len()))
                    .map(|(row, column)| row != column && batch[row].song == batch[column].song)
                    .collect();
                let side = batch.len() as i64;
                two_tower::loss(&scores, &Tensor::f_from_slice(&same)?.f_view([side, side])?.f_to_device(self.device)?)
            }
        }
    }

    /// Scores of every song for every query, `[queries][songs]`, in evaluation mode: logits of the joint scorer, not
    /// their sigmoid, which is exactly 1 for all large ones; scaled cosines of the towers. A query's scores do not
    /// depend on the other queries.
    ///
    /// # Errors
    /// Those of [`epoch`](Self::epoch) for vectors.
    pub fn scores(&self, queries: &[QueryVectors], songs: &[SongVectors]) -> Result<Vec<Vec<f32>>, ModelError> {
        let _guard = tch::no_grad_guard();
        if queries.is_empty() || songs.is_empty() {
            return Ok(vec![Vec::new(); queries.len()]);
        }
        let (query_table, song_table) = (self.query_table(queries)?, self.song_table(songs)?);
        let network = match &self.network {
            Network::TwoTower(network) => {
                return to_rows(&two_tower::scores(network, &query_table, &song_table, false)?);
            }
            Network::Joint(network) => network,
        };
        let pairs: Vec<usize> = (0..queries.len() * songs.len()).collect();
        let mut flat = Vec::with_capacity(pairs.len());
        for chunk in pairs.chunks(PAIRS) {
            let at_queries = self.index(chunk.iter().map(|pair| pair / songs.len()))?;
            let at_songs = self.index(chunk.iter().map(|pair| pair % songs.len()))?;
            let (queries, songs) = (query_table.rows(&at_queries)?, song_table.rows(&at_songs)?);
            flat.extend(to_vec(&network.forward(&queries, &songs, false)?)?);
        }
        Ok(flat.chunks(songs.len()).map(<[f32]>::to_vec).collect())
    }

    /// The towers' tensors by name, on the CPU; empty for a joint scorer.
    ///
    /// # Errors
    /// A device fault.
    pub(super) fn towers(&self) -> Result<(Option<TowerWidths>, BTreeMap<String, Tensor>), ModelError> {
        let Network::TwoTower(network) = &self.network else { return Ok((None, BTreeMap::new())) };
        let tensors = self.learner.parameters.tensors.iter();
        let copies = tensors.map(|(name, tensor)| Ok((name.clone(), tensor.f_to_device(Device::Cpu)?)));
        Ok((Some(network.widths()), copies.collect::<Result<_, ModelError>>()?))
    }

    fn index(&self, rows: impl Iterator<Item = usize>) -> Result<Tensor, ModelError> {
        let rows: Vec<i64> = rows.map(|row| row as i64).collect();
        Ok(Tensor::f_from_slice(&rows)?.f_to_device(self.device)?)
    }

    fn query_table(&self, queries: &[QueryVectors]) -> Result<QueryTable, ModelError> {
        let images = queries.iter().map(|query| Some(query.image.as_slice()));
        let caption = self.widths.reads_captions(self.inputs).then(|| {
            let captions = || queries.iter().map(|query| query.caption.as_deref());
            let present: Vec<f32> = captions().map(|caption| f32::from(u8::from(caption.is_some()))).collect();
            let nothing = vec![0.0; self.widths.caption];
            let values = captions().map(|caption| Some(caption.unwrap_or(&nothing)));
            let present = Tensor::f_from_slice(&present)?.f_view([-1, 1])?.f_to_device(self.device)?;
            Ok::<_, ModelError>((self.matrix("caption", self.widths.caption, values)?, present))
        });
        Ok(QueryTable { image: self.matrix("image", self.widths.image, images)?, caption: caption.transpose()? })
    }

    fn song_table(&self, songs: &[SongVectors]) -> Result<SongTable, ModelError> {
        let lyrics = songs.iter().map(|song| song.lyrics.as_deref());
        let lyrics = self.inputs.lyrics().then(|| self.matrix("lyrics", self.widths.lyrics, lyrics));
        let audio = songs.iter().map(|song| song.audio.as_deref());
        let audio = self.inputs.audio().then(|| self.matrix("audio", self.widths.audio, audio));
        Ok(SongTable { lyrics: lyrics.transpose()?, audio: audio.transpose()? })
    }

    /// `[rows, width]` on the device.
    fn matrix<'a>(
        &self,
        name: &str,
        width: usize,
        rows: impl Iterator<Item = Option<&'a [f32]>>,
    ) -> Result<Tensor, ModelError> {
        let mut values: Vec<f32> = Vec::new();
        for (at, row) in rows.enumerate() {
            match row {
                Some(row) if row.len() == width && row.iter().all(|value| value.is_finite()) => values.extend(row),
                Some(row) => {
                    return Err(ModelError::Input(format!(
                        "the {name} vector of row {at} has {} values, expected {width} finite ones",
                        row.len()
                    )));
                }
                None => return Err(ModelError::Input(format!("row {at} has no {name} vector"))),
            }
        }
        Ok(Tensor::f_from_slice(&values)?.f_view([-1, width as i64])?.f_to_device(self.device)?)
    }

    learner_methods!();
}

/// A song other than `song`, all equally likely; there are at least two.
fn another(song: usize, songs: usize, pass: &mut Pass) -> usize {
    let drawn = pass.rng.random_range(0..songs - 1);
    if drawn >= song { drawn + 1 } else { drawn }
}

#[cfg(test)]
#[path = "trainer_tests.rs"]
mod tests;
