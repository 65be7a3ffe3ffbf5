//! A product-quantised matrix (Jégou et al. 2011; `quantmatrix.cc`, `productquantizer.cc`).

use super::error::LanguageError;
use super::file::File;

/// Centroids of a part: a code is a byte.
const CENTROIDS: usize = 256;

/// Rows of `columns` numbers, each row cut into parts of `width` (the last may be narrower), each part one of 256
/// centroids; and, where norms were quantised by themselves, the row's length.
#[derive(Debug, Clone)]
pub(super) struct Quantised {
    columns: usize,
    width: usize,
    parts: usize,
    rows: usize,
    /// `rows` × `parts`
    codes: Vec<u8>,
    /// Part by part, 256 × the part's width.
    centroids: Vec<f32>,
    norms: Option<Norms>,
}

#[derive(Debug, Clone)]
struct Norms {
    /// One per row.
    codes: Vec<u8>,
    /// 256 lengths.
    centroids: Vec<f32>,
}

impl Quantised {
    /// Reads the flag that says that a matrix is quantised, and the matrix.
    pub(super) fn read(file: &mut File, columns: usize) -> Result<Self, LanguageError> {
        const WHAT: &str = "the input matrix";
        if !file.flag(WHAT)? {
            return Err(LanguageError::Unsupported("an input matrix that is not quantised"));
        }
        let has_norms = file.flag(WHAT)?;
        let rows = file.i64(WHAT)?;
        let rows = file.count(rows, 1, WHAT)?;
        let has_columns = usize::try_from(file.i64(WHAT)?) == Ok(columns);
        let codes = file.i32(WHAT)?;
        let codes = file.count(codes.into(), 1, WHAT)?;
        let codes = file.bytes(codes, WHAT)?.to_vec();
        let (width, parts, centroids) = read_centroids(file, columns)?;
        if !has_columns || rows.checked_mul(parts) != Some(codes.len()) {
            return Err(LanguageError::Damaged("the shape of the input matrix"));
        }
        let norms = if has_norms {
            let codes = file.bytes(rows, WHAT)?.to_vec();
            let (_, _, centroids) = read_centroids(file, 1)?;
            Some(Norms { codes, centroids })
        } else {
            None
        };
        Ok(Self { columns, width, parts, rows, codes, centroids, norms })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Adds a row below [`rows`](Self::rows) to a sum of [`columns`](Self::columns) numbers.
    pub(super) fn add_row(&self, row: u32, sum: &mut [f32]) {
        let row = row as usize;
        let norm = self.norms.as_ref().map_or(1.0, |norms| norms.centroids[usize::from(norms.codes[row])]);
        let codes = &self.codes[row * self.parts..][..self.parts];
        let mut first = 0;
        for (piece, &code) in sum.chunks_mut(self.width).zip(codes) {
            let centroid = &self.centroids[first + usize::from(code) * piece.len()..][..piece.len()];
            for (value, part) in piece.iter_mut().zip(centroid) {
                *value += norm * part;
            }
            first += CENTROIDS * self.width;
        }
    }
}

/// Width of a part, number of parts, centroids.
fn read_centroids(file: &mut File, columns: usize) -> Result<(usize, usize, Vec<f32>), LanguageError> {
    const WHAT: &str = "the centroids";
    let mut sizes = [0; 4];
    for size in &mut sizes {
        *size = usize::try_from(file.i32(WHAT)?).map_err(|_| LanguageError::Damaged(WHAT))?;
    }
    let [all, parts, width, last] = sizes;
    let is_sound = all == columns
        && (1..=columns).contains(&width)
        && parts == columns.div_ceil(width)
        && last == columns - (parts - 1) * width;
    if !is_sound {
        return Err(LanguageError::Damaged(WHAT));
    }
    Ok((width, parts, file.floats(CENTROIDS * columns, WHAT)?))
}
