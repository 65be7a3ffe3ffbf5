use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bound on posts inside the system. Mailboxes are bounded by it (permits × messages a post), which their own
/// capacity does not do: every clone of an actix address adds a slot.
#[derive(Debug, Clone)]
pub struct PostPermits {
    semaphore: Arc<Semaphore>,
    capacity: usize,
}

/// Leave for one post to be inside; given back when dropped. It lives in the post's task and is released by settling,
/// never by a queue.
#[derive(Debug)]
pub struct PostPermit {
    _permit: OwnedSemaphorePermit,
}

impl PostPermits {
    /// `capacity` posts may be inside at once; at least 1.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { semaphore: Arc::new(Semaphore::new(capacity)), capacity }
    }

    /// A permit if one is free, without waiting: the poll thread may not block.
    pub fn try_acquire(&self) -> Option<PostPermit> {
        let permit = Arc::clone(&self.semaphore).try_acquire_owned().ok()?;
        Some(PostPermit { _permit: permit })
    }

    /// A permit, waiting for one. Cancellation safe.
    pub async fn acquire(&self) -> PostPermit {
        match Arc::clone(&self.semaphore).acquire_owned().await {
            Ok(permit) => PostPermit { _permit: permit },
            Err(_) => unreachable!("Invariant: the semaphore is never closed"),
        }
    }

    /// Posts inside now.
    pub fn in_flight(&self) -> usize {
        self.capacity - self.semaphore.available_permits()
    }

    /// The bound.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}
