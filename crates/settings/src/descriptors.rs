//! How many files and sockets a process may have open: the sum of what the settings bound.

use crate::Settings;

/// Libraries, event loops and threads of the program, Kafka, Redis, the admin port with some who ask it; measured at 70 in a
/// worker with one broker, with room for more of them.
const PROGRAM: u64 = 160;
/// Media of one post that can be on their way at once.
const MEDIA_PER_POST: u64 = 2;
/// A connection that is being opened tries both families of addresses.
const SOCKETS_PER_DOWNLOAD: u64 = 2;
/// Names that are looked up at once, with a socket for each family.
const LOOKUPS: u64 = 64 * 2;
/// A lane: two for its event loop, one for its wake-up, one to the store.
const PER_LANE: u64 = 4;
/// A decode process: its socket, its last words, its handle, and the other ends while it is being forked.
const PER_DECODE_PROCESS: u64 = 6;

/// Clients of Kafka that read for readers at once: two followers, eight readers that catch up, four that look up posts, one for
/// dead letters.
const KAFKA_READERS: u64 = 15;
/// One of these: a socket and both ends of a wake-up for each broker of a small cluster, with room.
const PER_KAFKA_READER: u64 = 16;

impl Settings {
    /// Descriptors that a readers' server has open at most; with a worker in its process, those of the worker besides. Every
    /// reader is a connection, every stream too.
    pub fn serving_descriptor_ceiling(&self, with_worker: bool) -> u64 {
        let Settings { serve, media, .. } = self;
        let asked = (serve.max_label_posts as u64).saturating_mul(MEDIA_PER_POST);
        let asked = if serve.networks { asked } else { 0 };
        let downloads = asked.saturating_add(serve.max_media as u64).saturating_mul(SOCKETS_PER_DOWNLOAD);
        // What is looked at and what is labelled are fetched by two clients.
        let fetchers = if serve.networks { 2 } else { 1 };
        let idle = (media.max_idle_connections as u64).saturating_mul(fetchers);
        let decoders = (media.decode_worker_count() as u64).saturating_mul(PER_DECODE_PROCESS);
        let process = if with_worker { self.descriptor_ceiling() } else { PROGRAM.saturating_add(decoders) };
        [process, serve.max_connections as u64, downloads, idle, LOOKUPS * fetchers, KAFKA_READERS * PER_KAFKA_READER]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Descriptors that the worker has open at most.
    pub fn descriptor_ceiling(&self) -> u64 {
        let Settings { ingest, media, router, .. } = self;
        // A connection to the store, event loop and wake-up for each.
        let lanes = (router.lane_count() as u64).saturating_mul(PER_LANE);
        let downloads = (ingest.media_post_count() as u64).saturating_mul(MEDIA_PER_POST * SOCKETS_PER_DOWNLOAD);
        let decoders = (media.decode_worker_count() as u64).saturating_mul(PER_DECODE_PROCESS);
        [PROGRAM, lanes, downloads, media.max_idle_connections as u64, LOOKUPS, decoders]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use crate::Loader;

    fn ceiling(settings: &[&str]) -> u64 {
        let settings =
            settings.iter().fold(Loader::new().set("media.decode_workers=2"), |loader, set| loader.set(*set));
        settings.load().unwrap().settings.descriptor_ceiling()
    }

    #[test]
    fn every_bound_moves_the_ceiling_by_what_it_bounds() {
        let default = ceiling(&[]);
        assert_eq!(ceiling(&["media.max_idle_connections=164"]) - default, 100);
        assert_eq!(ceiling(&["ingest.max_media_posts=148"]) - default, 400);
        assert_eq!(ceiling(&["media.decode_workers=12"]) - default, 60);
    }

    #[test]
    fn every_bound_of_a_server_moves_its_ceiling_by_what_it_bounds() {
        let serving = |settings: &[&str], with_worker| {
            let settings =
                settings.iter().fold(Loader::new().set("media.decode_workers=2"), |loader, set| loader.set(*set));
            settings.load().unwrap().settings.serving_descriptor_ceiling(with_worker)
        };
        let default = serving(&[], false);
        assert!(default > 4_096, "every connection is one");
        assert_eq!(serving(&["serve.max_connections=4196"], false) - default, 100);
        assert_eq!(serving(&["serve.max_media=14"], false) - default, 20);
        assert_eq!(serving(&["serve.max_label_posts=14"], false) - default, 40);
        assert_eq!(serving(&["media.decode_workers=12"], false) - default, 60);
        // The worker's own: its posts on their way, its fetcher.
        assert_eq!(serving(&[], true) - default, ceiling(&[]) - 160 - 2 * 6);
        assert_eq!(default - serving(&["serve.networks=false"], false), 4 * 4 + 64 + 128);
    }

    #[test]
    fn the_defaults_fit_the_usual_limit() {
        assert!(ceiling(&["media.decode_workers=16"]) < 1_024);
    }
}
