use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Demand, FairQueue, Share, Shares};

/// How many posts may be inside, and in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostBounds {
    /// Posts that are worked on at once at most; at least 1. [`PostPermits::set_limit`] makes them fewer for a time.
    pub posts: usize,
    /// Bytes of the records of all posts inside, parked ones included; one that has more is let in where nobody else is.
    pub record_bytes: usize,
    /// Of these, posts whose media are being fetched: the rest is for posts that wait for nobody outside.
    pub media_posts: usize,
    /// Posts besides that are inside and only wait: for a place among those, or behind another record of theirs.
    pub parked_posts: usize,
    /// Bytes of the records of parked posts.
    pub parked_bytes: usize,
}

/// The bound on posts inside the system. Mailboxes are bounded by it (permits × messages a post), which their own
/// capacity does not do: every clone of an actix address adds a slot.
#[derive(Debug, Clone)]
pub struct PostPermits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: PostBounds,
    shares: Shares<Group>,
    /// Posts with a permit, parked ones included.
    inside: AtomicUsize,
    /// Bytes of their records.
    record_bytes: AtomicUsize,
    lot: Mutex<Lot>,
}

/// On whose account a post waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    /// Every post whose media are being fetched.
    Media,
    /// Those that name an account which nothing is known of.
    Strangers,
    One(Arc<str>),
}

/// On whose account media are fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaAccounts {
    /// One by one.
    pub names: Vec<Arc<str>>,
    /// Something of it has not proved itself: with all others of which that is true it is one more account, which never has
    /// the last quarter of the places.
    pub is_stranger: bool,
}

/// Where posts wait that hold nothing but their records.
#[derive(Debug, Default)]
struct Lot {
    posts: usize,
    bytes: usize,
}

/// Leave for one post to be inside; given back when dropped. It lives in the post's task and is released by settling,
/// never by a queue. A parked post keeps its leave to be inside, and gives its turn to another.
#[derive(Debug)]
pub struct PostPermit {
    inner: Arc<Inner>,
    /// One of the posts that are worked on.
    turn: Option<Share<Group>>,
    /// Bytes of its record.
    record_bytes: usize,
    /// Bytes in the lot.
    parked_bytes: Option<usize>,
}

/// A place among the posts whose media are being fetched; given back when dropped.
#[derive(Debug)]
pub struct MediaPlace {
    _share: Option<Share<Group>>,
}

impl PostPermits {
    /// `capacity` posts may be inside at once, at least 1, all of them with media if need be; none is parked.
    pub fn new(capacity: usize) -> Self {
        let posts = capacity.max(1);
        let record_bytes = usize::MAX;
        Self::with_bounds(PostBounds { posts, record_bytes, media_posts: posts, parked_posts: 0, parked_bytes: 0 })
    }

    /// Within `bounds`.
    pub fn with_bounds(bounds: PostBounds) -> Self {
        let bounds = PostBounds { posts: bounds.posts.max(1), media_posts: bounds.media_posts.max(1), ..bounds };
        let mut queue = FairQueue::new(bounds.posts);
        if bounds.media_posts < bounds.posts {
            // A download lasts for seconds: the last quarter is left for who comes next.
            queue = queue.keeping_room(bounds.media_posts - bounds.media_posts / 4);
        }
        let (shares, lot) = (Shares::new(queue), Mutex::default());
        let (inside, record_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Inner { bounds, shares, inside, record_bytes, lot }))
    }

    /// At most so many posts are worked on from now on, within the bound and at least as many as have media.
    pub fn set_limit(&self, posts: usize) {
        self.0.shares.resize(posts.clamp(self.0.bounds.media_posts.min(self.0.bounds.posts), self.0.bounds.posts));
    }

    /// A permit for a post with a record of so many bytes if one is free, without waiting: the poll thread, the only one that
    /// asks for any, may not block. Parked posts come first.
    pub fn try_acquire(&self, record_bytes: usize) -> Option<PostPermit> {
        let held = self.0.record_bytes.load(Ordering::SeqCst);
        if held > 0 && held.saturating_add(record_bytes) > self.0.bounds.record_bytes {
            return None;
        }
        let turn = self.0.shares.try_take(Demand::place_of(Vec::new()))?;
        Some(self.permit(turn, record_bytes))
    }

    /// A permit, waiting for one; the bytes of its record are not counted. Cancellation safe.
    pub async fn acquire(&self) -> PostPermit {
        let turn = self.0.shares.take(Demand::place_of(Vec::new())).await;
        self.permit(turn, 0)
    }

    fn permit(&self, turn: Share<Group>, record_bytes: usize) -> PostPermit {
        self.0.inside.fetch_add(1, Ordering::SeqCst);
        self.0.record_bytes.fetch_add(record_bytes, Ordering::SeqCst);
        PostPermit { inner: Arc::clone(&self.0), turn: Some(turn), record_bytes, parked_bytes: None }
    }

    /// Posts inside now, parked ones included.
    pub fn in_flight(&self) -> usize {
        self.0.inside.load(Ordering::SeqCst)
    }

    /// Posts that are inside and only wait.
    pub fn parked(&self) -> usize {
        self.0.lot().posts
    }

    /// The bound on posts that are worked on.
    pub fn capacity(&self) -> usize {
        self.0.bounds.posts
    }

    pub fn bounds(&self) -> PostBounds {
        self.0.bounds
    }
}

impl Inner {
    fn lot(&self) -> MutexGuard<'_, Lot> {
        // Nothing can panic while it is held.
        self.lot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PostPermit {
    /// Lets another post be worked on while this one, whose record has `record_bytes`, only waits; true if there was room
    /// in the lot. Where there is none it keeps its turn. [`Self::resume`] gets it a turn again.
    pub fn park(&mut self, record_bytes: usize) -> bool {
        if self.parked_bytes.is_some() {
            return true;
        }
        let bounds = self.inner.bounds;
        {
            let mut lot = self.inner.lot();
            if lot.posts >= bounds.parked_posts || lot.bytes.saturating_add(record_bytes) > bounds.parked_bytes {
                return false;
            }
            lot.posts += 1;
            lot.bytes += record_bytes;
        }
        self.parked_bytes = Some(record_bytes);
        self.turn = None;
        true
    }

    /// Waits for a turn if the post has none. Cancellation safe: it stays as it was.
    pub async fn resume(&mut self) {
        if self.turn.is_none() {
            let turn = self.inner.shares.take(Demand::place_of(Vec::new())).await;
            self.turn = Some(turn);
            self.leave_lot();
        }
    }

    /// Waits for a place among the posts whose media are being fetched, on account of `accounts`, parked if the lot has
    /// room, and for the post's turn. Turn and place come together: a post that holds one does not wait for the other,
    /// but where the lot is full; and there it waits only for a place, which those who have one give back without
    /// waiting for a turn. Cancellation safe: dropped, the post stays parked or keeps its turn.
    pub async fn begin_media(&mut self, accounts: MediaAccounts, record_bytes: usize) -> MediaPlace {
        let places = self.inner.bounds.media_posts;
        let mut shares: Vec<Group> = accounts.names.into_iter().map(Group::One).collect();
        let mut limits = vec![(Group::Media, places)];
        if accounts.is_stranger {
            shares.push(Group::Strangers);
            limits.push((Group::Strangers, (places - places / 4).max(1)));
        }
        if self.turn.is_some() {
            let demand = Demand { places: 0, shares: shares.clone(), limits: limits.clone() };
            if let Some(place) = self.inner.shares.try_take(demand.clone()) {
                return MediaPlace { _share: Some(place) };
            }
            if !self.park(record_bytes) {
                return MediaPlace { _share: Some(self.inner.shares.take(demand).await) };
            }
        }
        let turn = self.inner.shares.take(Demand { places: 1, shares, limits }).await;
        let place = MediaPlace { _share: turn.split() };
        self.turn = Some(turn);
        self.leave_lot();
        place
    }

    /// True while the post is inside and only waits.
    pub fn is_parked(&self) -> bool {
        self.parked_bytes.is_some()
    }

    /// Posts that are inside and only wait, this one or others.
    pub fn parked_posts(&self) -> usize {
        self.inner.lot().posts
    }

    fn leave_lot(&mut self) {
        if let Some(bytes) = self.parked_bytes.take() {
            let mut lot = self.inner.lot();
            lot.posts -= 1;
            lot.bytes -= bytes;
        }
    }
}

impl Drop for PostPermit {
    fn drop(&mut self) {
        self.leave_lot();
        self.inner.inside.fetch_sub(1, Ordering::SeqCst);
        self.inner.record_bytes.fetch_sub(self.record_bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[path = "permits_tests.rs"]
mod tests;
