//! What the index takes, counted at the allocator. One test a file: others would be counted, too.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use jtav_schemas::{EmbeddingV1, Modality, Vector};
use support::{HOUR_MS, NOW_MS, Noise, record, roomy};

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_post_takes_its_vectors_its_id_and_48_bytes_and_15_percent_more() {
    // Posts, hours, and whether every kind is there.
    for (posts, hours, all_kinds) in
        [(200_000, 24, false), (100_000, 1, false), (57_400, 24, false), (48_000, 160, false), (20_000, 24, true)]
    {
        let mut noise = Noise(1);
        let before = LIVE_BYTES.load(Ordering::Relaxed);
        let (index, mut payload) = (roomy(), 0);
        for post in 0..posts {
            let mut embedding = record(&format!("post-{post:08}"), &noise.vector(100));
            payload += embedding.post_id.len() + 200;
            if all_kinds {
                embedding.semantic = Some(Vector::pack(&noise.vector(384)).unwrap());
                for modality in Modality::ALL {
                    *embedding.modalities.get_mut(modality) = Some(Vector::pack(&noise.vector(100)).unwrap());
                }
                payload += 768 + 3 * 200;
            }
            let event_time_ms = Some(NOW_MS - post as i64 % hours * HOUR_MS);
            index.apply(&EmbeddingV1 { event_time_ms, ..embedding }, NOW_MS).unwrap();
        }
        let taken = LIVE_BYTES.load(Ordering::Relaxed) - before;
        let allowed = (payload + 48 * posts) * 115 / 100;
        let each = |bytes: usize| bytes as f64 / posts as f64;
        println!("{posts} posts in {hours} hours: {:.1} bytes each, {:.1} allowed", each(taken), each(allowed));
        assert!(taken <= allowed, "{posts} posts in {hours} hours: {:.1} of {:.1} bytes", each(taken), each(allowed));
        let said = index.bytes();
        assert!(said.abs_diff(taken) * 100 < taken, "it says {said} and takes {taken}");
    }
}
