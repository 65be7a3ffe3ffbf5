//! The vectors of one kind in one segment.

use half::f16;

use crate::record::UnitVector;

/// Adds room for `more` elements in steps of a sixteenth, so that what is reserved and not used stays small.
pub(crate) fn make_room<T>(list: &mut Vec<T>, more: usize) {
    const SMALLEST_STEP: usize = 16;
    if list.capacity() - list.len() < more {
        let step = (list.len() / 16).max(SMALLEST_STEP.min(list.len() + 1));
        list.reserve_exact(more.max(step));
    }
}

/// `[rows × dimensions]` and what is known of it.
#[derive(Debug)]
pub(crate) struct Matrix {
    dimensions: usize,
    /// Unit vectors, `[rows × dimensions]`.
    units: Vec<f16>,
    /// Lengths before, `[rows]`.
    norms: Vec<f32>,
    /// Which row of the segment each is of; ascending.
    rows: Vec<u16>,
    sums: Sums,
}

/// Sums over the vectors of living posts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) count: u64,
    pub(crate) norm: f64,
    pub(crate) norm_squared: f64,
    /// Of the unit vectors, `[dimensions]`; empty where there is none.
    pub(crate) unit: Vec<f64>,
}

impl Sums {
    pub(crate) fn add(&mut self, other: &Sums) {
        self.count += other.count;
        self.norm += other.norm;
        self.norm_squared += other.norm_squared;
        if self.unit.is_empty() {
            self.unit.clone_from(&other.unit);
        } else {
            self.unit.iter_mut().zip(&other.unit).for_each(|(sum, value)| *sum += value);
        }
    }
}

impl Matrix {
    pub(crate) fn new(dimensions: usize) -> Self {
        let sums = Sums { unit: vec![0.0; dimensions], ..Sums::default() };
        Self { dimensions, units: Vec::new(), norms: Vec::new(), rows: Vec::new(), sums }
    }

    /// `row` is above every row that is there.
    pub(crate) fn push(&mut self, row: u16, vector: &UnitVector) {
        make_room(&mut self.units, self.dimensions);
        make_room(&mut self.norms, 1);
        make_room(&mut self.rows, 1);
        self.units.extend_from_slice(&vector.components);
        self.norms.push(vector.norm);
        self.rows.push(row);
        self.count(&vector.components, vector.norm, 1.0);
    }

    /// The row's post is gone: it no longer counts, and stays where it is.
    pub(crate) fn bury(&mut self, row: u16) {
        let Some(place) = self.place_of(row) else { return };
        let components = self.units[place * self.dimensions..][..self.dimensions].to_vec();
        self.count(&components, self.norms[place], -1.0);
    }

    fn count(&mut self, components: &[f16], norm: f32, sign: f64) {
        let sums = &mut self.sums;
        sums.count = if sign > 0.0 { sums.count + 1 } else { sums.count.saturating_sub(1) };
        sums.norm += sign * f64::from(norm);
        sums.norm_squared += sign * f64::from(norm) * f64::from(norm);
        sums.unit.iter_mut().zip(components).for_each(|(sum, value)| *sum += sign * value.to_f64());
    }

    fn place_of(&self, row: u16) -> Option<usize> {
        self.rows.binary_search(&row).ok()
    }

    /// Components and length of a row's vector, if it has one.
    pub(crate) fn of_row(&self, row: u16) -> Option<UnitVector> {
        let place = self.place_of(row)?;
        let components = self.units[place * self.dimensions..][..self.dimensions].to_vec();
        Some(UnitVector { components, norm: self.norms[place] })
    }

    pub(crate) fn has(&self, row: u16) -> bool {
        self.place_of(row).is_some()
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// `[rows × dimensions]`.
    pub(crate) fn units(&self) -> &[f16] {
        &self.units
    }

    /// The segment's row of each vector.
    pub(crate) fn rows(&self) -> &[u16] {
        &self.rows
    }

    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// What it has reserved.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.units.capacity() * size_of::<f16>()
            + self.norms.capacity() * size_of::<f32>()
            + self.rows.capacity() * size_of::<u16>()
            + self.sums.unit.capacity() * size_of::<f64>()
    }
}
