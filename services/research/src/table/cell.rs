//! One cell of a table: a row, trained once with one seed on one fold. Finished cells are kept, so that a killed run
//! goes on with the next one and a second run only reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jtav_trainer::files::{f32_values, write_whole};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

/// What became of a training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Training {
    /// Trained values.
    pub parameters: usize,
    /// Training examples: posts, or files where files are learnt from.
    pub examples: usize,
    /// Passes over them; 0 for what is solved and not trained.
    pub epochs: usize,
    /// The pass whose weights were kept.
    pub best_epoch: usize,
    /// Wall seconds.
    pub seconds: f64,
    /// The inverse penalty that validation chose, where there is a logistic regression.
    pub c: Option<f64>,
}

/// What a cell says of every post of the pack, in its order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Cell {
    /// Hash of everything that it depends on.
    pub origin: String,
    pub training: Training,
    /// `None` where nothing that the row reads is there.
    pub logits: Vec<Option<f32>>,
    /// Of the fusions of three: the same with other modalities masked, by the name of the subset.
    pub subsets: BTreeMap<String, Vec<Option<f32>>>,
    /// Of the encoders: the vectors that are fused. In a file of its own.
    #[serde(skip)]
    pub vectors: Option<Vec<Option<Vec<f32>>>>,
}

/// The folder of the cells.
pub(super) struct Cells {
    folder: PathBuf,
}

impl Cells {
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn file(&self, key: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{key}.{extension}"))
    }

    /// The finished cell of this key, if nothing that it depends on has changed.
    pub fn get(&self, key: &str, origin: &str) -> Option<Cell> {
        let mut cell: Cell = serde_json::from_slice(&std::fs::read(self.file(key, "json")).ok()?).ok()?;
        if cell.origin != origin {
            return None;
        }
        if let Ok(bytes) = std::fs::read(self.file(key, "safetensors")) {
            cell.vectors = Some(unpack(&bytes, cell.logits.len())?);
        }
        Some(cell)
    }

    /// Keeps a cell. The JSON goes last: without it the vectors do not count.
    pub fn keep(&self, key: &str, cell: &Cell) -> anyhow::Result<()> {
        let path = self.file(key, "safetensors");
        match &cell.vectors {
            Some(vectors) => write_whole(&path, &pack(vectors)?)?,
            None => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            },
        }
        write_whole(&self.file(key, "json"), &serde_json::to_vec(cell)?)
    }
}

/// `present` u8 `[posts]` and `vectors` f32 `[present posts, width]`.
fn pack(vectors: &[Option<Vec<f32>>]) -> anyhow::Result<Vec<u8>> {
    let present: Vec<u8> = vectors.iter().map(|vector| u8::from(vector.is_some())).collect();
    let rows: Vec<&Vec<f32>> = vectors.iter().flatten().collect();
    let width = rows.first().map_or(0, |row| row.len());
    anyhow::ensure!(rows.iter().all(|row| row.len() == width), "vectors of different widths");
    let values: Vec<u8> = rows.iter().flat_map(|row| row.iter().flat_map(|value| value.to_le_bytes())).collect();
    let flags = TensorView::new(Dtype::U8, vec![present.len()], &present).context("packing vectors")?;
    let matrix = TensorView::new(Dtype::F32, vec![rows.len(), width], &values).context("packing vectors")?;
    serialize([("present", flags), ("vectors", matrix)], None).context("packing vectors")
}

fn unpack(bytes: &[u8], posts: usize) -> Option<Vec<Option<Vec<f32>>>> {
    let file = SafeTensors::deserialize(bytes).ok()?;
    let (flags, matrix) = (file.tensor("present").ok()?, file.tensor("vectors").ok()?);
    let [rows, width] = *matrix.shape() else { return None };
    let present = flags.data().iter().filter(|&&flag| flag == 1).count();
    if flags.shape() != [posts] || matrix.dtype() != Dtype::F32 || present != rows || width == 0 {
        return None;
    }
    let mut next = matrix.data().chunks_exact(4 * width).map(|row| f32_values(row).collect());
    Some(flags.data().iter().map(|&flag| if flag == 1 { next.next() } else { None }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_cell_comes_back_until_something_it_depends_on_changes() {
        let folder = tempfile::tempdir().unwrap();
        let cells = Cells::open(folder.path()).unwrap();
        let cell = Cell {
            origin: "a".to_owned(),
            logits: vec![Some(0.25), None, Some(-1.5)],
            vectors: Some(vec![Some(vec![1.0, 2.0]), None, Some(vec![3.0, 4.0])]),
            subsets: BTreeMap::from([("text".to_owned(), vec![None, None, Some(1.0)])]),
            ..Cell::default()
        };
        assert_eq!(cells.get("k", "a"), None);
        cells.keep("k", &cell).unwrap();
        assert_eq!(cells.get("k", "a"), Some(cell.clone()));
        assert_eq!(cells.get("k", "b"), None);

        let bare = Cell { vectors: None, ..cell };
        cells.keep("k", &bare).unwrap();
        assert_eq!(cells.get("k", "a"), Some(bare));
        std::fs::write(folder.path().join("k.safetensors"), b"half a file").unwrap();
        assert_eq!(cells.get("k", "a"), None);
    }
}
