//! Where each post of a model lies.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use crate::segment::{Place, Segment};

/// Tables of a model. A table that grows hashes its ids anew, 16,000 of a million: a millisecond, in which nobody looks into it.
const SHARDS: usize = 64;

/// Post id to place, in tables of 8 bytes a post: the id itself is read where it lies.
#[derive(Debug)]
pub(crate) struct Posts {
    shards: Vec<RwLock<HashTable<Place>>>,
    /// By number; a number that is free is used again.
    segments: RwLock<Vec<Option<Arc<Segment>>>>,
}

impl Posts {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), segments: RwLock::default() }
    }

    /// The segment and row of a post.
    pub(crate) fn find(&self, hash: u64, post_id: &str) -> Option<(Arc<Segment>, u16)> {
        let shard = read(self.shard(hash));
        let segments = read(&self.segments);
        let place = shard.find(hash, |place| is_at(&segments, *place, post_id))?;
        Some((Arc::clone(segment_at(&segments, *place)?), place.row))
    }

    /// Notes a post that is in no table, under a number that [`Self::add_segment`] gave. `hash_of` hashes an id as `hash` was made.
    pub(crate) fn insert(&self, hash: u64, place: Place, hash_of: impl Fn(&str) -> u64) {
        let mut shard = write(self.shard(hash));
        let segments = read(&self.segments);
        let of_place =
            |place: &Place| segment_at(&segments, *place).map_or(0, |segment| hash_of(segment.read().id(place.row)));
        shard.insert_unique(hash, place, of_place);
    }

    /// Forgets a post that lay at a place.
    pub(crate) fn remove(&self, hash: u64, place: Place) {
        if let Ok(entry) = write(self.shard(hash)).find_entry(hash, |held| *held == place) {
            entry.remove();
        }
    }

    /// A post lies elsewhere now.
    pub(crate) fn move_to(&self, hash: u64, from: Place, to: Place) {
        if let Some(held) = write(self.shard(hash)).find_mut(hash, |held| *held == from) {
            *held = to;
        }
    }

    /// Makes a segment of the next free number.
    pub(crate) fn add_segment(&self, make: impl FnOnce(u32) -> Segment) -> Arc<Segment> {
        let mut segments = write(&self.segments);
        let free = segments.iter().position(Option::is_none).unwrap_or(segments.len());
        let segment = Arc::new(make(free as u32));
        match segments.get_mut(free) {
            Some(place) => *place = Some(Arc::clone(&segment)),
            None => segments.push(Some(Arc::clone(&segment))),
        }
        segment
    }

    pub(crate) fn drop_segment(&self, number: u32) {
        let mut segments = write(&self.segments);
        if let Some(place) = segments.get_mut(number as usize) {
            *place = None;
        }
        while segments.last().is_some_and(Option::is_none) {
            segments.pop();
        }
    }

    /// Gives back what tables have grown by, where most of it is empty now. `hash_of` as for [`Self::insert`].
    pub(crate) fn shrink(&self, hash_of: impl Fn(&str) -> u64) {
        for shard in &self.shards {
            let mut shard = write(shard);
            let segments = read(&self.segments);
            if shard.capacity() > 4 * shard.len() {
                shard.shrink_to_fit(|place| {
                    segment_at(&segments, *place).map_or(0, |segment| hash_of(segment.read().id(place.row)))
                });
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// What the tables have reserved. One is asked for at a time, as a model with a million posts has 64.
    pub(crate) fn shard_bytes(&self, hash: u64) -> usize {
        read(self.shard(hash)).allocation_size()
    }

    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self.shards.iter().map(|shard| read(shard).allocation_size()).sum();
        tables + SHARDS * size_of::<RwLock<HashTable<Place>>>()
    }

    /// The tables look at the lowest and the highest bits of the hash.
    fn shard(&self, hash: u64) -> &RwLock<HashTable<Place>> {
        &self.shards[(hash >> 40) as usize % SHARDS]
    }
}

fn segment_at(segments: &[Option<Arc<Segment>>], place: Place) -> Option<&Arc<Segment>> {
    segments.get(place.segment as usize)?.as_ref()
}

fn is_at(segments: &[Option<Arc<Segment>>], place: Place, post_id: &str) -> bool {
    segment_at(segments, place).is_some_and(|segment| segment.read().id(place.row) == post_id)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
