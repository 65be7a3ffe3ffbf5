//! Scratch memory of a worker: what it keeps of the memory of earlier media.
//!
//! Fresh pages cost: with all of them given back at once, page faults and unmapping took two fifths of a worker's time. So
//! some stay for the next medium, and go where that one may come near the limit: what is accepted must not depend on
//! what came before.

/// What a worker at rest may hold.
const KEPT_BYTES: usize = 8 << 20;

/// Gives unused pages back to the kernel if they are more than so many bytes. Only the program knows its allocator.
pub type GiveBack = fn(usize);

/// The scratch memory of a worker.
#[derive(Clone, Copy)]
pub(super) struct Scratch(GiveBack);

impl Scratch {
    pub(super) fn new(give_back: GiveBack) -> Self {
        Self(give_back)
    }

    /// Between two media.
    pub(super) fn rest(self) {
        (self.0)(KEPT_BYTES);
    }

    /// Before a medium that may come near the limit: it begins with nothing of earlier ones.
    pub(super) fn clear(self) {
        (self.0)(0);
    }
}
