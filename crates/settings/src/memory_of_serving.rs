//! How much memory a readers' server may take: the sum of what the settings bound.

use crate::memory::{DOWNLOAD_BYTES, IDLE_CONNECTION_BYTES, MemoryCeiling, PREPARED_TEXT_BYTES};
use crate::{IndexBackend, Settings};

/// A label or an erasure in memory: 1.5 KB of record, rounded up.
const EVENT_BYTES: u64 = 2_000;
/// A stream whose reader is slow: four pieces of 64 KiB that wait, one that is being made and one that is being written.
const STREAM_BYTES: u64 = 6 * (64 << 10);
/// Decoded media that are kept for a minute, and encodings of what was labelled on request.
const KEPT_BYTES: u64 = (64 + 16) << 20;
/// What a client that reads a topic has ahead: 8 MiB, and as much again for the fetch under way.
const AHEAD_BYTES: u64 = 2 * (8 << 20);
/// Clients that read ahead at once: two followers, eight readers that catch up.
const READING_AHEAD: u64 = 10;

impl Settings {
    /// What a readers' server takes at most; with a worker in its process, the worker's besides. Of requests it counts those that
    /// have a place (`serve.max_label_posts`, `serve.max_media`), and the bodies of all.
    pub fn serving_memory_ceiling(&self, with_worker: bool) -> MemoryCeiling {
        let program = self.program_parts(with_worker || self.serve.networks);
        let worker = if with_worker { self.worker_parts() } else { Vec::new() };
        MemoryCeiling::of([program, worker, self.serving_parts()])
    }

    fn serving_parts(&self) -> Vec<(&'static str, u64)> {
        let Settings { serve, index, media, ingest, .. } = self;
        let looked_at = serve.max_media as u64;
        let labelled = if serve.networks { serve.max_label_posts as u64 } else { 0 };
        let fetchers = if serve.networks { 2 } else { 1 };
        let decoded = self.decoded_bytes_per_post();
        let post = decoded.saturating_add(2 * ingest.max_record_bytes as u64).saturating_add(PREPARED_TEXT_BYTES);
        let connections = labelled
            .saturating_mul(2)
            .saturating_add(looked_at)
            .saturating_mul(DOWNLOAD_BYTES)
            .saturating_add((media.max_idle_connections as u64).saturating_mul(fetchers * IDLE_CONNECTION_BYTES));
        vec![
            ("index.max_bytes", if index.backend == IndexBackend::Memory { index.max_bytes } else { 0 }),
            ("recent events", (serve.recent_events as u64).saturating_mul(EVENT_BYTES)),
            ("serve.max_bodies_bytes", serve.max_bodies_bytes as u64),
            ("streams", (serve.max_streams as u64).saturating_mul(STREAM_BYTES)),
            ("media for readers", media.byte_budget_bytes.saturating_mul(fetchers)),
            ("connections for readers", connections),
            ("posts for readers", labelled.saturating_mul(post).saturating_add(looked_at.saturating_mul(decoded))),
            ("kept for readers", KEPT_BYTES),
            ("topics read ahead", READING_AHEAD * AHEAD_BYTES),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loader;

    fn ceiling(settings: &[&str], with_worker: bool) -> u64 {
        let defaults = ["media.decode_workers=2", "model.image_streams=2", "model.text_streams=2"];
        let loader = defaults.iter().chain(settings).fold(Loader::new(), |loader, setting| loader.set(*setting));
        loader.load().unwrap().settings.serving_memory_ceiling(with_worker).total_bytes()
    }

    #[test]
    fn every_bound_of_a_server_moves_its_ceiling_by_what_it_bounds() {
        let default = ceiling(&[], false);
        assert_eq!(ceiling(&["index.max_bytes=636870912"], false) - default, 100_000_000);
        assert_eq!(default - ceiling(&["index.backend=redis"], false), 512 << 20);
        assert_eq!(ceiling(&["serve.max_streams=1124"], false) - default, 100 * STREAM_BYTES);
        assert_eq!(ceiling(&["serve.recent_events=20000"], false) - default, 10_000 * EVENT_BYTES);
        assert_eq!(ceiling(&["serve.max_bodies_bytes=234217728"], false) - default, 100_000_000);
        assert!(ceiling(&["serve.max_media=5"], false) > default + DOWNLOAD_BYTES);
        assert!(ceiling(&["serve.max_label_posts=5"], false) > default + 2 * DOWNLOAD_BYTES);
        assert!(default - ceiling(&["serve.networks=false"], false) > 500_000_000, "the networks are the most of it");
    }

    #[test]
    fn a_worker_in_the_same_process_adds_its_own_parts_and_no_second_program() {
        let both = ["media.decode_workers=2", "model.image_streams=2", "model.text_streams=2"];
        let settings = both.iter().fold(Loader::new(), |loader, setting| loader.set(*setting)).load().unwrap().settings;
        let worker = settings.worker_parts().iter().map(|part| part.1).sum::<u64>();
        assert_eq!(ceiling(&[], true) - ceiling(&[], false), worker);
        // A worker loads the networks whatever its readers may ask.
        let names = |with_worker| {
            let mut settings = settings.clone();
            settings.serve.networks = false;
            let ceiling = settings.serving_memory_ceiling(with_worker);
            ceiling.parts.iter().any(|part| part.0 == "networks")
        };
        assert_eq!((names(true), names(false)), (true, false));
    }

    #[test]
    fn the_defaults_on_two_cores_fit_the_limit_of_the_manifests() {
        // 4Gi in k8s/serve/base/deployment.yaml.
        assert!(ceiling(&[], false) < 4 << 30, "{}", ceiling(&[], false));
    }
}
