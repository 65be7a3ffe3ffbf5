//! The posts of one model version.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::posts::Posts;
use crate::record::Prepared;
use crate::segment::{Place, Rows, Segment};
use crate::{IndexError, VectorKind};

pub(crate) const HOUR_MS: i64 = 3_600_000;

/// The segments of each hour since 1970.
type Hours = BTreeMap<i64, Vec<Arc<Segment>>>;

/// Everything of one model. Methods that change it are called by one thread at a time; it says by how many bytes it has changed.
#[derive(Debug)]
pub(crate) struct ModelSet {
    pub(crate) name: Arc<str>,
    pub(crate) posts: Posts,
    hours: RwLock<Hours>,
    newest_ms: AtomicI64,
    /// Vectors of each kind, and components of each of them.
    kinds: [(AtomicUsize, AtomicUsize); VectorKind::COUNT],
}

impl ModelSet {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            posts: Posts::new(),
            hours: RwLock::default(),
            newest_ms: AtomicI64::new(i64::MIN),
            kinds: Default::default(),
        }
    }

    /// When its newest label was made.
    pub(crate) fn newest_ms(&self) -> i64 {
        self.newest_ms.load(Ordering::Relaxed)
    }

    /// Components of the vectors of a kind; `None` where it has none.
    pub(crate) fn dimensions(&self, kind: VectorKind) -> Option<usize> {
        let (count, dimensions) = &self.kinds[kind.place()];
        (count.load(Ordering::Acquire) > 0).then(|| dimensions.load(Ordering::Acquire))
    }

    /// Whether a post's vectors are as long as those at hand.
    pub(crate) fn check(&self, post: &Prepared<'_>) -> Result<(), IndexError> {
        for (kind, vector) in &post.vectors {
            let (dimensions, held) = (vector.components.len(), self.dimensions(*kind));
            if let Some(expected) = held.filter(|held| *held != dimensions) {
                return Err(IndexError::Dimensions { kind: *kind, dimensions, expected });
            }
        }
        Ok(())
    }

    /// Adds a post that it does not have.
    pub(crate) fn insert(&self, post: &Prepared<'_>, hash: u64, hash_of: impl Fn(&str) -> u64) -> isize {
        let hour = post.time_ms.div_euclid(HOUR_MS);
        for (kind, vector) in &post.vectors {
            let (count, dimensions) = &self.kinds[kind.place()];
            dimensions.store(vector.components.len(), Ordering::Release);
            count.fetch_add(1, Ordering::Release);
        }
        let (segment, mut change) = self.segment_with_room(hour);
        let row = {
            let mut rows = segment.write();
            let before = rows.bytes();
            let row = rows.push(post);
            change += rows.bytes() as isize - before as isize;
            row
        };
        let before = self.posts.shard_bytes(hash);
        self.posts.insert(hash, Place { segment: segment.number, row }, hash_of);
        self.newest_ms.fetch_max(post.labelled_at_ms, Ordering::Relaxed);
        change + self.posts.shard_bytes(hash) as isize - before as isize
    }

    /// The first segment of an hour that is not full.
    fn segment_with_room(&self, hour: i64) -> (Arc<Segment>, isize) {
        let open = self
            .hours()
            .get(&hour)
            .and_then(|segments| segments.iter().find(|segment| !segment.read().is_full()).map(Arc::clone));
        if let Some(segment) = open {
            return (segment, 0);
        }
        let segment = self.posts.add_segment(|number| Segment::new(number, hour, Rows::default()));
        let bytes = segment.read().bytes();
        self.hours_mut().entry(hour).or_default().push(Arc::clone(&segment));
        (segment, bytes as isize)
    }

    /// Takes a post out.
    pub(crate) fn remove(&self, segment: &Arc<Segment>, row: u16, hash: u64, hash_of: impl Fn(&str) -> u64) -> isize {
        let (is_empty, needs_compaction) = {
            let mut rows = segment.write();
            self.uncount(&rows, row);
            rows.bury(row);
            (rows.live() == 0, rows.needs_compaction())
        };
        self.posts.remove(hash, Place { segment: segment.number, row });
        if is_empty {
            let bytes = segment.read().bytes() as isize;
            self.unlink(segment, None);
            -bytes
        } else if needs_compaction {
            self.compact(segment, hash_of)
        } else {
            0
        }
    }

    fn uncount(&self, rows: &Rows, row: u16) {
        for kind in VectorKind::ALL {
            if rows.has_vector(kind, row) {
                self.kinds[kind.place()].0.fetch_sub(1, Ordering::Release);
            }
        }
    }

    /// Puts a copy without the dead in the place of a segment. Nobody waits: searches go on with the old one.
    fn compact(&self, segment: &Arc<Segment>, hash_of: impl Fn(&str) -> u64) -> isize {
        let ((rows, before), old_bytes) = {
            let rows = segment.read();
            (rows.compacted(), rows.bytes())
        };
        let new = self.posts.add_segment(|number| Segment::new(number, segment.hour, rows));
        let rows = new.read();
        for (row, old) in before.into_iter().enumerate() {
            let (from, to) =
                (Place { segment: segment.number, row: old }, Place { segment: new.number, row: row as u16 });
            self.posts.move_to(hash_of(rows.id(row as u16)), from, to);
        }
        self.unlink(segment, Some(Arc::clone(&new)));
        rows.bytes() as isize - old_bytes as isize
    }

    /// Takes a segment out of its hour, or puts another in its place.
    fn unlink(&self, segment: &Arc<Segment>, new: Option<Arc<Segment>>) {
        let mut hours = self.hours_mut();
        if let Some(segments) = hours.get_mut(&segment.hour) {
            match (segments.iter().position(|held| Arc::ptr_eq(held, segment)), new) {
                (Some(place), Some(new)) => segments[place] = new,
                (Some(place), None) => drop(segments.remove(place)),
                (None, _) => {}
            }
            if segments.is_empty() {
                hours.remove(&segment.hour);
            }
        }
        drop(hours);
        self.posts.drop_segment(segment.number);
    }

    /// Drops a segment with all of its posts.
    pub(crate) fn drop_segment(&self, segment: &Arc<Segment>, hash_of: impl Fn(&str) -> u64) -> isize {
        // Out of every search first, then post after post out of the table.
        let mut hours = self.hours_mut();
        if let Some(segments) = hours.get_mut(&segment.hour) {
            segments.retain(|held| !Arc::ptr_eq(held, segment));
            if segments.is_empty() {
                hours.remove(&segment.hour);
            }
        }
        drop(hours);
        let rows = segment.read();
        for row in (0..rows.len() as u16).filter(|row| !rows.meta(*row).is_dead()) {
            self.uncount(&rows, row);
            self.posts.remove(hash_of(rows.id(row)), Place { segment: segment.number, row });
        }
        self.posts.drop_segment(segment.number);
        -(rows.bytes() as isize)
    }

    /// Hours and their segments, oldest first: a copy, so that nothing is locked while they are looked at.
    pub(crate) fn segments(&self, from_hour: i64) -> Vec<Arc<Segment>> {
        self.hours().range(from_hour..).flat_map(|(_, segments)| segments).map(Arc::clone).collect()
    }

    /// The segments of one hour.
    pub(crate) fn segments_of(&self, hour: i64) -> Vec<Arc<Segment>> {
        self.hours().get(&hour).cloned().unwrap_or_default()
    }

    pub(crate) fn oldest_hour(&self) -> Option<i64> {
        self.hours().keys().next().copied()
    }

    pub(crate) fn newest_hour(&self) -> Option<i64> {
        self.hours().keys().next_back().copied()
    }

    /// What the model takes without any post.
    pub(crate) fn own_bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.posts.bytes()
    }

    fn hours(&self) -> RwLockReadGuard<'_, Hours> {
        self.hours.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn hours_mut(&self) -> RwLockWriteGuard<'_, Hours> {
        self.hours.write().unwrap_or_else(PoisonError::into_inner)
    }
}
