//! The cells of a table and where finished ones are kept, so that a killed run goes on where it stood.

use std::path::{Path, PathBuf};

use anyhow::Context;
use jtav_trainer::dataset::sha256_hex;
use serde::{Deserialize, Serialize};

use super::ranks::Rank;
use super::rows::{Protocol, Row};
use super::set::RetrievalSet;

/// Raise it when a change of the code gives other numbers with the same settings.
const REVISION: u32 = 1;

/// One training, or one re-ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// How songs are divided.
    pub protocol: Protocol,
    /// What is trained.
    pub row: Row,
    /// Seed of the run.
    pub seed: u64,
    /// Which fold is the test.
    pub fold: usize,
}

impl Cell {
    /// All cells of a table, in the order in which they are run: a row after those that it is made of.
    pub fn all(set: &RetrievalSet, protocols: &[Protocol], seeds: u64) -> Vec<Self> {
        let mut cells = Vec::new();
        for &protocol in protocols {
            let folds = set.folds.get(&protocol).map_or(0, Vec::len);
            for row in rows(set) {
                for seed in 0..seeds {
                    cells.extend((0..folds).map(|fold| Self { protocol, row, seed, fold }));
                }
            }
        }
        cells
    }

    fn file(&self) -> String {
        format!("{}-{}-seed{}-fold{}.json", self.protocol.name(), self.row.slug(), self.seed, self.fold)
    }
}

/// The rows that the set has the data for.
pub fn rows(set: &RetrievalSet) -> impl Iterator<Item = Row> {
    let captions = set.captions;
    Row::ALL.into_iter().filter(move |row| captions || !row.needs_captions())
}

/// What is kept of a finished cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// Which one.
    pub cell: Cell,
    /// The rank of each test query's song, in order.
    pub ranks: Vec<Rank>,
    /// Mean reciprocal rank on validation, which chose step size and epoch; none for a re-ranking.
    pub validation_mrr: Option<f64>,
    /// The step size that was chosen.
    pub learning_rate: Option<f64>,
    /// The epoch whose weights were kept, from 1.
    pub epoch: Option<usize>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// `[queries][songs]`, where another row is made of them.
    pub scores: Option<Vec<Vec<f32>>>,
}

/// The folder of one table's cells.
#[derive(Debug, Clone)]
pub struct CellStore {
    folder: PathBuf,
}

impl CellStore {
    /// The folder below `work` that belongs to these settings and data, made where it is missing. Other settings or
    /// other data have another folder, so nothing stale is taken over.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn open(work: &Path, settings: &impl Serialize, data_sha256: &str) -> anyhow::Result<Self> {
        let key = serde_json::to_string(&(REVISION, settings, data_sha256))?;
        let folder = work.join(&sha256_hex(key.as_bytes())[..16]);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The finished cell; `None` when it is not there, or is not whole.
    pub fn read(&self, cell: &Cell) -> Option<CellResult> {
        let bytes = std::fs::read(self.folder.join(cell.file())).ok()?;
        serde_json::from_slice::<CellResult>(&bytes).ok().filter(|found| found.cell == *cell)
    }

    /// Keeps a cell: written beside and renamed, so that a kill leaves the whole file or none.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep(&self, result: &CellResult) -> anyhow::Result<()> {
        let path = self.folder.join(result.cell.file());
        let beside = path.with_extension(format!("tmp{}", std::process::id()));
        std::fs::write(&beside, serde_json::to_vec(result)?)
            .and_then(|()| std::fs::rename(&beside, &path))
            .with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::tests::set;
    use super::*;

    fn result(cell: Cell) -> CellResult {
        CellResult {
            cell,
            ranks: vec![Rank { rank: 2.5, tied: true, candidates: 12 }],
            validation_mrr: Some(0.25),
            learning_rate: Some(1e-3),
            epoch: Some(3),
            seconds: 1.5,
            scores: Some(vec![vec![0.1, -1.0e-30, 1.234_567_8]]),
        }
    }

    #[test]
    fn a_kept_cell_comes_back_bit_by_bit_and_half_a_file_does_not() {
        let work = tempfile::tempdir().unwrap();
        let store = CellStore::open(work.path(), &"settings", "data").unwrap();
        let cell = Cell { protocol: Protocol::Shared, row: Row::TwoTower, seed: 1, fold: 0 };
        assert_eq!(store.read(&cell), None);
        store.keep(&result(cell)).unwrap();
        assert_eq!(store.read(&cell), Some(result(cell)));
        let path = store.folder.join(cell.file());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(store.read(&cell), None);
    }

    #[test]
    fn other_settings_or_other_data_see_none_of_the_cells() {
        let work = tempfile::tempdir().unwrap();
        let cell = Cell { protocol: Protocol::Shared, row: Row::Jtav, seed: 0, fold: 0 };
        CellStore::open(work.path(), &"settings", "data").unwrap().keep(&result(cell)).unwrap();
        let found = |settings: &str, data: &str| CellStore::open(work.path(), &settings, data).unwrap().read(&cell);
        assert!(found("settings", "data").is_some());
        assert!(found("others", "data").is_none() && found("settings", "others").is_none());
    }

    #[test]
    fn a_set_without_captions_has_no_row_that_needs_them() {
        let mut set = set();
        assert_eq!(rows(&set).count(), 7);
        set.captions = false;
        assert!(rows(&set).all(|row| !row.needs_captions()));
        let cells = Cell::all(&set, &Protocol::ALL, 2);
        assert_eq!(cells.len(), 2 * 5 * 2);
        let of = |row| cells.iter().position(|cell: &Cell| cell.row == row).unwrap();
        assert!(of(Row::Jtav) < of(Row::TwoTowerReranked) && of(Row::TwoTower) < of(Row::TwoTowerReranked));
    }
}
