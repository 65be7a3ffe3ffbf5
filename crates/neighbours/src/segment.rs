//! A few thousand posts of one hour by one model: what is locked at once.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::VectorKind;
use crate::matrix::{Matrix, make_room};
use crate::meta::Meta;
use crate::record::{Prepared, UnitVector};

/// Rows of a segment; half a millisecond's work of a search that holds the lock.
pub(crate) const MAX_ROWS: usize = 8_192;

/// A place in the table of posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) row: u16,
}

/// Posts of one hour. Only the writer changes what is behind the lock, for microseconds; searches read.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Its number among those of its model.
    pub(crate) number: u32,
    /// Hours since 1970.
    pub(crate) hour: i64,
    rows: RwLock<Rows>,
}

impl Segment {
    pub(crate) fn new(number: u32, hour: i64, rows: Rows) -> Self {
        Self { number, hour, rows: RwLock::new(rows) }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Rows> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Rows> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of each post but its vectors, in columns of the same length.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// All ids, one after the other.
    ids: Vec<u8>,
    /// Where each ends.
    id_ends: Vec<u32>,
    metas: Vec<Meta>,
    times_ms: Vec<i64>,
    labelled_at_ms: Vec<i64>,
    revisions: Vec<u64>,
    live: usize,
    kinds: [Option<Box<Matrix>>; VectorKind::COUNT],
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.id_ends.len()
    }

    pub(crate) fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= MAX_ROWS
    }

    /// Whether an eighth lies there for nothing.
    pub(crate) fn needs_compaction(&self) -> bool {
        const SMALLEST: usize = 32;
        (self.len() - self.live) * 8 > self.len() + SMALLEST
    }

    /// Adds a post to a segment that is not full. Gives its row.
    pub(crate) fn push(&mut self, post: &Prepared<'_>) -> u16 {
        let row = self.push_row(post.post_id.as_bytes(), post.meta, [post.time_ms, post.labelled_at_ms], post.revision);
        for (kind, vector) in &post.vectors {
            self.push_vector(*kind, row, vector);
        }
        row
    }

    fn push_row(&mut self, id: &[u8], meta: Meta, [time_ms, labelled_at_ms]: [i64; 2], revision: u64) -> u16 {
        let row = self.len() as u16;
        make_room(&mut self.ids, id.len());
        make_room(&mut self.id_ends, 1);
        make_room(&mut self.metas, 1);
        make_room(&mut self.times_ms, 1);
        make_room(&mut self.labelled_at_ms, 1);
        make_room(&mut self.revisions, 1);
        self.ids.extend_from_slice(id);
        // At most 8,192 ids of 1,024 bytes.
        self.id_ends.push(self.ids.len() as u32);
        self.metas.push(meta);
        self.times_ms.push(time_ms);
        self.labelled_at_ms.push(labelled_at_ms);
        self.revisions.push(revision);
        self.live += 1;
        row
    }

    fn push_vector(&mut self, kind: VectorKind, row: u16, vector: &UnitVector) {
        let matrix = self.kinds[kind.place()].get_or_insert_with(|| Box::new(Matrix::new(vector.components.len())));
        matrix.push(row, vector);
    }

    /// The post is gone; whoever searches passes over its row.
    pub(crate) fn bury(&mut self, row: u16) {
        let meta = &mut self.metas[usize::from(row)];
        if meta.is_dead() {
            return;
        }
        *meta = meta.dead();
        self.live -= 1;
        self.kinds.iter_mut().flatten().for_each(|matrix| matrix.bury(row));
    }

    /// The living rows alone, and which row each was before.
    pub(crate) fn compacted(&self) -> (Rows, Vec<u16>) {
        let (mut rows, mut before) = (Rows::default(), Vec::new());
        for row in (0..self.len() as u16).filter(|row| !self.meta(*row).is_dead()) {
            let times = [self.time_ms(row), self.labelled_at_ms(row)];
            let new = rows.push_row(self.id(row).as_bytes(), self.meta(row), times, self.revision(row));
            for kind in VectorKind::ALL {
                if let Some(vector) = self.vector(kind, row) {
                    rows.push_vector(kind, new, &vector);
                }
            }
            before.push(row);
        }
        (rows, before)
    }

    pub(crate) fn id(&self, row: u16) -> &str {
        let row = usize::from(row);
        let start = row.checked_sub(1).map_or(0, |before| self.id_ends[before] as usize);
        // Only whole ids are put in.
        std::str::from_utf8(&self.ids[start..self.id_ends[row] as usize]).unwrap_or_default()
    }

    pub(crate) fn meta(&self, row: u16) -> Meta {
        self.metas[usize::from(row)]
    }

    pub(crate) fn time_ms(&self, row: u16) -> i64 {
        self.times_ms[usize::from(row)]
    }

    pub(crate) fn labelled_at_ms(&self, row: u16) -> i64 {
        self.labelled_at_ms[usize::from(row)]
    }

    pub(crate) fn revision(&self, row: u16) -> u64 {
        self.revisions[usize::from(row)]
    }

    /// The newest time of a living or dead row.
    pub(crate) fn newest_time_ms(&self) -> Option<i64> {
        self.times_ms.iter().copied().max()
    }

    pub(crate) fn has_vector(&self, kind: VectorKind, row: u16) -> bool {
        self.matrix(kind).is_some_and(|matrix| matrix.has(row))
    }

    pub(crate) fn vector(&self, kind: VectorKind, row: u16) -> Option<UnitVector> {
        self.matrix(kind)?.of_row(row)
    }

    pub(crate) fn matrix(&self, kind: VectorKind) -> Option<&Matrix> {
        self.kinds[kind.place()].as_deref()
    }

    /// What the segment has reserved, with the handle on it.
    pub(crate) fn bytes(&self) -> usize {
        /// Counters of an `Arc`, and the places in the lists of segments.
        const HANDLES: usize = 64;
        let columns = self.ids.capacity()
            + self.id_ends.capacity() * size_of::<u32>()
            + self.metas.capacity() * size_of::<Meta>()
            + (self.times_ms.capacity() + self.labelled_at_ms.capacity()) * size_of::<i64>()
            + self.revisions.capacity() * size_of::<u64>();
        size_of::<Segment>()
            + HANDLES
            + columns
            + self.kinds.iter().flatten().map(|matrix| matrix.bytes()).sum::<usize>()
    }
}
