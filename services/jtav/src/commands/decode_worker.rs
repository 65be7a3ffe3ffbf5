//! `jtav decode-worker`: the process that decodes media for another `jtav`.

use std::io::ErrorKind;

use jtav_feed_processor::exit;

pub fn run() -> anyhow::Result<u8> {
    // Points of the processes that decode; they come over the environment of whoever started this one.
    jtav_pipeline::fail_point::arm_from_environment()?;
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let give_back = crate::allocator::give_back;
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let give_back = |_| {};
    match jtav_media::serve_decode_workers(give_back) {
        // Whoever started it has ended in the middle of a word, and nobody is left to tell.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(exit::OK),
        served => served.map(|()| exit::OK).map_err(Into::into),
    }
}
