//! How many files and sockets a worker may have open: the sum of what the settings bound.

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
/// A decode process: its socket, its last words, its handle, and the other ends while it is being forked.
const PER_DECODE_PROCESS: u64 = 6;

impl Settings {
    /// Descriptors that the worker has open at most.
    pub fn descriptor_ceiling(&self) -> u64 {
        let Settings { ingest, media, .. } = self;
        let downloads = (ingest.max_in_flight_posts as u64).saturating_mul(MEDIA_PER_POST * SOCKETS_PER_DOWNLOAD);
        let decoders = (media.decode_worker_count() as u64).saturating_mul(PER_DECODE_PROCESS);
        [PROGRAM, downloads, media.max_idle_connections as u64, LOOKUPS, decoders]
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
        assert_eq!(ceiling(&["ingest.max_in_flight_posts=164"]) - default, 400);
        assert_eq!(ceiling(&["media.decode_workers=12"]) - default, 60);
    }

    #[test]
    fn the_defaults_fit_the_usual_limit() {
        assert!(ceiling(&["media.decode_workers=16"]) < 1_024);
    }
}
