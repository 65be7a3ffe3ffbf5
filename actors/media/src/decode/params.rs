//! What decode workers are told.

use std::path::PathBuf;
use std::time::Duration;

use jtav_media_codecs::DecodeLimits;

/// Everything that the decode workers can be told.
#[derive(Debug, Clone)]
pub struct DecodeParams {
    pub limits: DecodeLimits,
    /// Workers; one picture or clip each.
    pub workers: usize,
    /// Media that may wait for a worker. The permits of the pipeline bound how many can come, two for each post.
    pub max_queued: usize,
    /// Where decoding happens.
    pub isolation: Isolation,
}

impl DecodeParams {
    pub fn for_tests() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { limits: DecodeLimits::for_tests(), workers: cores, max_queued: 1024, isolation: Isolation::Threads }
    }
}

/// Where decoding happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Isolation {
    /// In threads of this process. A decoder's panic is caught; its crash, or an allocation that fails, ends the process.
    Threads,
    /// In processes of their own, which cost one medium each when they end.
    Processes(ProcessParams),
}

/// How decode workers are started and what they may take.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessParams {
    /// A program that calls [`crate::serve_decode_workers`] when it is started with `arguments`.
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Memory that one medium may take, bytes: the file, the decoder and what it decodes to.
    pub max_memory_bytes: u64,
    /// CPU time that one medium may take.
    pub max_cpu: Duration,
    /// Wall time that one medium may take: ends a decoder that waits for ever. A busy machine makes it long.
    pub max_wall: Duration,
}

impl ProcessParams {
    /// With the program that runs now, which must serve as `jtav decode-worker` does.
    pub fn this_program(max_memory_bytes: u64, max_cpu: Duration, max_wall: Duration) -> Self {
        Self {
            // Also where the file was replaced by a new version meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec!["decode-worker".to_owned()],
            max_memory_bytes,
            max_cpu,
            max_wall,
        }
    }

    /// Of tests: a program that serves as `jtav decode-worker` does.
    pub fn for_tests(program: impl Into<PathBuf>) -> Self {
        let limits = Self::this_program(128 << 20, Duration::from_secs(2), Duration::from_secs(10));
        Self { program: program.into(), ..limits }
    }
}
