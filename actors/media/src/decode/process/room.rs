//! What a worker keeps of the memory of earlier media.
//!
//! Fresh pages cost: with all of them given back at once, page faults and unmapping took two fifths of a worker's time. So
//! some stay for the next medium, and go where that one may come near the limit: what is accepted must not depend on
//! what came before.

use std::sync::OnceLock;

/// What a worker at rest may hold.
const KEPT_BYTES: usize = 8 << 20;

/// A picture of which so much is expected begins with nothing of earlier ones.
const ROOMY_BYTES: u64 = 48 << 20;

/// The same for the rate of sound: of the usual ones a minute takes less.
const ROOMY_RATE_HZ: u32 = 48_000;

/// Gives unused pages back to the kernel if they are more than so many bytes. Only the program knows its allocator.
pub type GiveBack = fn(usize);

static GIVE_BACK: OnceLock<GiveBack> = OnceLock::new();

/// For this process and what is forked from it.
pub(super) fn set(give_back: GiveBack) {
    let _ = GIVE_BACK.set(give_back);
}

/// Between two media.
pub(super) fn rest() {
    give_back(KEPT_BYTES);
}

/// Before a picture that takes so much; nothing where threads decode.
pub(crate) fn make_for_picture(bytes: u64) {
    if bytes > ROOMY_BYTES {
        give_back(0);
    }
}

/// Before sound of this rate.
pub(crate) fn make_for_sound(rate_hz: u32) {
    if rate_hz > ROOMY_RATE_HZ {
        give_back(0);
    }
}

fn give_back(kept: usize) {
    if let Some(give_back) = GIVE_BACK.get() {
        give_back(kept);
    }
}
