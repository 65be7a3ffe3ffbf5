//! From measured runs to costs of posts and of their parts; pure.

use anyhow::{Context as _, Result};

use super::file::{Check, Parts, Shares, rounded};
use super::used::Used;

/// CPU-ms of a post below which a clock of 10 ms sees nothing in a run of some seconds.
const LEAST_MS: f64 = 1e-4;

/// Of a record or a label, in runs whose posts have one part alone, and in the one with all posts.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub texts: f64,
    pub sounds: f64,
    pub images: f64,
    pub mixed: f64,
    /// Of the posts of `mixed`.
    pub shares: Shares,
}

/// Bytes of a post and of its parts. A post with one part alone has the bytes of the post and of the part; one with
/// several has those of the post once, which is how the two are told apart.
pub fn bytes(sizes: &Sizes) -> Parts {
    let Sizes { texts, sounds, images, mixed, shares } = *sizes;
    let parts_of_a_post = shares.text + shares.media_per_post();
    let summed = shares.text * texts + shares.audio * sounds + shares.image * images;
    let least = texts.min(sounds).min(images);
    // With one part for each post the runs cannot tell.
    let post = if parts_of_a_post > 1.0 { (summed - mixed) / (parts_of_a_post - 1.0) } else { 0.0 };
    let post = post.clamp(1.0, least.max(1.0));
    let part = |alone: f64| (alone - post).max(0.0);
    Parts { post, text: part(texts), audio: part(sounds), image: part(images) }.rounded()
}

/// CPU-ms of a worker: all but the networks by stub networks, and what each part adds to that.
pub fn worker_ms(stub: &Used, text: &Used, sounds: &Used, images: &Used) -> Parts {
    let post = stub.worker_ms().max(LEAST_MS);
    let part = |used: &Used| (used.worker_ms() - post).max(0.0);
    Parts { post, text: part(text), audio: part(sounds), image: part(images) }.rounded()
}

/// CPU-ms of a broker or a store: those of a post, by a run whose batches have many records, and what a medium adds, by a run of
/// texts and one of posts whose media are known, at one rate.
pub fn server_ms(of_post: f64, of_text: f64, of_known: f64, known: Shares) -> Parts {
    let medium = (of_known - of_text.max(LEAST_MS)).max(0.0) / known.media_per_post().max(LEAST_MS);
    Parts { post: of_post.max(LEAST_MS), text: 0.0, audio: medium, image: medium }.rounded()
}

/// CPU-ms of a worker for a medium whose encoding it still has.
pub fn known_medium_ms(known: &Used, shares: Shares, worker: &Parts) -> f64 {
    let rest = worker.post + worker.text * shares.text;
    rounded((known.worker_ms() - rest).max(0.0) / shares.media_per_post().max(LEAST_MS))
}

/// A saturated worker.
pub fn check(name: &'static str, full: &Used, cores: usize, shares: Shares) -> Check {
    Check {
        name,
        posts_per_second: rounded(full.posts_per_second()),
        worker_cores: rounded(full.worker_cores()),
        free_cores: rounded(full.free_cores(cores)),
        shares: shares.rounded(),
    }
}

/// The median of what saturated workers used of what was free.
///
/// # Errors
/// No check.
pub fn efficiency(checks: &[Check]) -> Result<f64> {
    let mut used: Vec<f64> = checks.iter().map(|check| (check.worker_cores / check.free_cores).min(1.0)).collect();
    used.sort_by(f64::total_cmp);
    used.get(used.len() / 2).copied().map(rounded).context("no worker was saturated")
}

#[cfg(test)]
mod tests {
    use super::super::used::Cpu;
    use super::*;

    const SHARES: Shares = Shares { text: 0.8, audio: 0.5, image: 0.7 };

    fn used(worker_ms: f64) -> Used {
        let cpu_seconds = Cpu { worker: worker_ms, ..Cpu::default() };
        Used { posts: 1_000.0, seconds: 10.0, cpu_seconds }
    }

    #[test]
    fn what_every_post_has_is_told_apart_from_what_its_parts_add() {
        let (post, text, audio, image) = (200.0, 100.0, 50.0, 80.0);
        let mixed = post + 0.8 * text + 0.5 * audio + 0.7 * image;
        let sizes = Sizes { texts: post + text, sounds: post + audio, images: post + image, mixed, shares: SHARES };
        assert_eq!(bytes(&sizes), Parts { post, text, audio, image });
    }

    #[test]
    fn runs_that_contradict_one_another_make_no_part_cost_less_than_nothing() {
        for mixed in [0.0, 1e6] {
            let parts = bytes(&Sizes { texts: 300.0, sounds: 250.0, images: 280.0, mixed, shares: SHARES });
            assert!(parts.post >= 1.0 && parts.text >= 0.0 && parts.audio >= 0.0 && parts.image >= 0.0, "{parts:?}");
        }
        let parts = worker_ms(&used(2.0), &used(1.0), &used(3.0), &used(1.5));
        assert_eq!(parts, Parts { post: 2.0, text: 0.0, audio: 1.0, image: 0.0 });
        assert_eq!(server_ms(0.5, 0.5, 0.4, SHARES), Parts { post: 0.5, text: 0.0, audio: 0.0, image: 0.0 });
    }

    #[test]
    fn a_known_medium_costs_what_is_left_of_its_post() {
        let worker = Parts { post: 0.2, text: 1.0, audio: 5.0, image: 6.0 };
        // 0.2 + 0.8 + 1.2 x 0.25.
        assert!((known_medium_ms(&used(1.3), SHARES, &worker) - 0.25).abs() < 1e-9);
        assert!((server_ms(0.1, 0.1, 0.34, SHARES).image - 0.2).abs() < 1e-9);
        let cheaper_in_batches = server_ms(0.02, 0.1, 0.34, SHARES);
        assert!((cheaper_in_batches.image - 0.2).abs() < 1e-9 && cheaper_in_batches.post == 0.02);
    }

    #[test]
    fn the_efficiency_is_the_one_in_the_middle_and_never_above_1() {
        let of = |worker_cores: f64| Check {
            name: "stub",
            posts_per_second: 1.0,
            worker_cores,
            free_cores: 1.0,
            shares: Shares::default(),
        };
        assert_eq!(efficiency(&[of(0.7), of(1.01), of(0.9)]).unwrap(), 0.9);
        assert_eq!(efficiency(&[of(1.2)]).unwrap(), 1.0);
        assert!(efficiency(&[]).is_err());
    }
}
