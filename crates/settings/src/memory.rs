//! How much memory a process may take: the sum of what the settings bound. What a readers' server takes besides stands in
//! `memory_of_serving.rs`.

use crate::{CpuEngine, Settings};

/// Program, threads, clients, allocator; measured with stubs under load, rounded up.
const PROGRAM_BYTES: u64 = 200_000_000;
/// Libtorch, weights and the activations of full batches; measured on a CPU, rounded up. The sentence encoder is 190 MB of it:
/// 113 once it is loaded (its table of pieces in f16, the rest in bf16, the pieces themselves), the rest for texts of 256 pieces.
const NETWORKS_BYTES: u64 = 450_000_000;
/// OpenVINO: its libraries, its copies of the weights, and what it takes while they are made ready beside libtorch's. Measured at the
/// peak of a process with two image networks: 336 MB more than with libtorch alone, rounded up.
const OPENVINO_BYTES: u64 = 350_000_000;
/// Weights and activations of one image network more, measured with DenseNet-121. With EfficientNet-Lite0 it is 30 MB.
const IMAGE_STREAM_BYTES: u64 = 100_000_000;
/// Another text network beside the first, while it is made ready: measured with the profile `modern` at the peak of a process, 278 MB,
/// rounded up.
const TEXT_STREAM_BYTES: u64 = 300_000_000;
/// CUDA's libraries, its context and what it stages; measured with an H200 after one post, less the three above, rounded up.
const CUDA_BYTES: u64 = 1_000_000_000;
/// What a decoder in a thread may take for one picture, its coefficients and planes included (the decoder refuses more).
const DECODER_BYTES: u64 = 256 << 20;
/// The fork server of decode processes, with the pages that they share; measured at 92 MB, rounded up.
const FORK_SERVER_BYTES: u64 = 100_000_000;
/// What each of them has beside its limit: pages that it changed since the fork, 0.2 MB before its first medium; with room.
const DECODE_PROCESS_BYTES: u64 = 10_000_000;
/// Fork servers at once: one gives way to the next when media crash or it has served long.
const FORK_SERVERS: u64 = 2;
/// A connection with a download on it: what HTTP/2 lets a server send ahead, TLS and buffers.
pub(crate) const DOWNLOAD_BYTES: u64 = 1_200_000;
/// A connection that is kept: TLS and buffers.
pub(crate) const IDLE_CONNECTION_BYTES: u64 = 60_000;
/// A picture that waits for its network: 224 × 224 RGB with what resizing leaves, rounded up.
const PICTURE_BYTES: u64 = 250_000;
/// A text that waits for its network: 200 words of at most 40 characters, with pieces and n-grams, rounded up.
pub(crate) const PREPARED_TEXT_BYTES: u64 = 600_000;
/// The same of a text of 2,048 bytes, above which a text is long: its part of the above, whose 200 words have 8,200 bytes, rounded up.
const PREPARED_SHORT_TEXT_BYTES: u64 = 160_000;
/// Long texts that are made ready, or wait for their network, at once.
const LONG_TEXTS: u64 = 64;
/// Bytes of a second of decoded sound: 22,050 samples of four bytes.
const SOUND_BYTES_PER_SECOND: u64 = 22_050 * 4;
/// The same where a GPU resamples: of the rates that are left to it, 48,000 is the highest.
const SOUND_BYTES_PER_SECOND_FOR_GPU: u64 = 48_000 * 4;
/// Records that ran into their deadline and wait to be let in again; what does not fit is read again.
const HELD_RECORDS_BYTES: u64 = 8 << 20;
/// Partitions of one worker for which the prefetch is counted; each further one adds twice `ingest.prefetch_max_bytes`.
const PARTITIONS: u64 = 16;

/// The sum and its parts, bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryCeiling {
    /// What takes it and how much at most.
    pub parts: Vec<(&'static str, u64)>,
}

impl MemoryCeiling {
    /// Of what is there at all.
    pub(crate) fn of<const N: usize>(groups: [Vec<(&'static str, u64)>; N]) -> Self {
        Self { parts: groups.into_iter().flatten().filter(|part| part.1 > 0).collect() }
    }

    /// All parts together, bytes.
    pub fn total_bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.1))
    }
}

impl std::fmt::Display for MemoryCeiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: u64| bytes / 1_000_000;
        let parts: Vec<String> = self.parts.iter().map(|(name, bytes)| format!("{name} {}", mb(*bytes))).collect();
        write!(f, "at most {} MB ({})", mb(self.total_bytes()), parts.join(" + "))
    }
}

impl Settings {
    /// What the worker takes at most, however large the backlog, however slow store and media hosts: every post that is
    /// worked on has a permit, every parked one its bytes of the lot, every medium its bytes of the budget, every decoder its limit. Up to 16 partitions.
    pub fn memory_ceiling(&self) -> MemoryCeiling {
        MemoryCeiling::of([self.program_parts(true), self.worker_parts()])
    }

    /// What every process has; the networks where it loads them.
    pub(crate) fn program_parts(&self, has_networks: bool) -> Vec<(&'static str, u64)> {
        let Settings { media, model, .. } = self;
        let networks = NETWORKS_BYTES
            + IMAGE_STREAM_BYTES * model.image_stream_count() as u64
            + TEXT_STREAM_BYTES * (model.text_stream_count() as u64).saturating_sub(1);
        let has_openvino = !model.stub && !model.runs_on_gpu() && model.cpu_engine != CpuEngine::Libtorch;
        let workers = media.decode_worker_count() as u64;
        let decoders = match media.decode_processes {
            true => {
                FORK_SERVERS * FORK_SERVER_BYTES
                    + workers.saturating_mul(media.decode_memory_bytes.saturating_add(DECODE_PROCESS_BYTES))
            }
            false => DECODER_BYTES * workers,
        };
        vec![
            ("program", PROGRAM_BYTES),
            ("networks", if model.stub || !has_networks { 0 } else { networks }),
            ("OpenVINO", if has_openvino && has_networks { OPENVINO_BYTES } else { 0 }),
            ("CUDA", if model.runs_on_gpu() && has_networks { CUDA_BYTES } else { 0 }),
            ("decoders", decoders),
        ]
    }

    /// The media of one post, decoded.
    pub(crate) fn decoded_bytes_per_post(&self) -> u64 {
        let for_gpu = self.model.runs_on_gpu();
        let sound = if for_gpu { SOUND_BYTES_PER_SECOND_FOR_GPU } else { SOUND_BYTES_PER_SECOND };
        PICTURE_BYTES + sound * u64::from(self.media.analysed_audio_seconds)
    }

    /// What a worker has besides.
    pub(crate) fn worker_parts(&self) -> Vec<(&'static str, u64)> {
        let Settings { ingest, media, cache, store, .. } = self;
        let posts = ingest.max_in_flight_posts as u64;
        // Two media of a post can be on their way.
        let connections = (ingest.media_post_count() as u64)
            .saturating_mul(2 * DOWNLOAD_BYTES)
            .saturating_add((media.max_idle_connections as u64).saturating_mul(IDLE_CONNECTION_BYTES));
        let mut parts = vec![
            ("media.byte_budget_bytes", media.byte_budget_bytes),
            ("media connections", connections),
            ("decoded media", (media.max_decoded as u64).saturating_mul(self.decoded_bytes_per_post())),
            // As they came, and parsed.
            ("records of all posts", (ingest.max_in_flight_bytes as u64).saturating_mul(2)),
            ("texts of all posts", LONG_TEXTS * PREPARED_TEXT_BYTES + posts.saturating_mul(PREPARED_SHORT_TEXT_BYTES)),
            ("records of parked posts", (ingest.max_parked_bytes as u64).saturating_mul(2)),
            ("records to be tried again", HELD_RECORDS_BYTES),
            ("prefetch of 16 partitions", (ingest.prefetch_max_bytes as u64).saturating_mul(2 * PARTITIONS)),
            ("cache.max_bytes", cache.max_bytes),
        ];
        if store.kind == crate::StoreKind::Embedded {
            // Bounded by its number of labels; a few kilobytes each.
            parts.push(("embedded store", 500_000_000));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loader;

    fn ceiling(settings: &[&str]) -> u64 {
        let defaults = ["media.decode_workers=2", "model.image_streams=2", "model.text_streams=2"];
        let loader = defaults.iter().chain(settings).fold(Loader::new(), |loader, setting| loader.set(*setting));
        loader.load().unwrap().settings.memory_ceiling().total_bytes()
    }

    #[test]
    fn every_bound_moves_the_ceiling_by_what_it_bounds() {
        let default = ceiling(&[]);
        assert_eq!(ceiling(&["media.byte_budget_bytes=234217728"]) - default, 100_000_000);
        assert_eq!(ceiling(&["ingest.max_parked_bytes=43554432"]) - default, 20_000_000);
        assert_eq!(ceiling(&["cache.max_bytes=77108864"]) - default, 10_000_000);
        assert_eq!(ceiling(&["media.decode_workers=3"]) - default, (128 << 20) + DECODE_PROCESS_BYTES);
        assert_eq!(ceiling(&["media.max_idle_connections=164"]) - default, 100 * IDLE_CONNECTION_BYTES);
        let threads = |workers| ceiling(&["media.decode_processes=false", workers]);
        assert_eq!(threads("media.decode_workers=3") - threads("media.decode_workers=2"), DECODER_BYTES);
        let networks = NETWORKS_BYTES + 2 * IMAGE_STREAM_BYTES + TEXT_STREAM_BYTES;
        assert_eq!(default - ceiling(&["model.stub=true"]), networks + OPENVINO_BYTES);
        assert_eq!(default - ceiling(&["model.cpu_engine=libtorch"]), OPENVINO_BYTES);
        assert_eq!(ceiling(&["model.text_streams=3"]) - default, TEXT_STREAM_BYTES);
        assert_eq!(ceiling(&["ingest.max_in_flight_bytes=43554432"]) - default, 20_000_000);
        assert_eq!(ceiling(&["ingest.max_in_flight_posts=612"]) - default, 100 * PREPARED_SHORT_TEXT_BYTES);
        assert!(ceiling(&["media.max_decoded=128"]) > default + 64 * PICTURE_BYTES);
        let for_gpu = |media| ceiling(&["model.device=cuda:0", "media.analysed_audio_seconds=60", media]);
        assert!(for_gpu("media.max_decoded=64") > default + CUDA_BYTES - OPENVINO_BYTES);
        let post = for_gpu("media.max_decoded=65") - for_gpu("media.max_decoded=64");
        assert!(post > 60 * SOUND_BYTES_PER_SECOND_FOR_GPU, "{post}");
    }

    #[test]
    fn the_defaults_on_two_cores_fit_the_limit_of_the_manifests() {
        // 3Gi in k8s/base/deployment.yaml.
        assert!(ceiling(&[]) < 3 << 30, "{}", ceiling(&[]));
    }

    #[test]
    fn it_is_shown_with_its_parts() {
        let text = Loader::new().load().unwrap().settings.memory_ceiling().to_string();
        assert!(text.starts_with("at most ") && text.contains("media.byte_budget_bytes 134"), "{text}");
    }
}
