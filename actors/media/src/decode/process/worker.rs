//! The forked process that decodes.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use jtav_media_codecs::decode_guarded;
use jtav_pipeline::{FailPoint, fail_point};

use super::confine::{Limits, confine, end_after_cpu_time};
use super::orders::Setup;
use super::scratch::Scratch;
use super::wire::{Job, read_header, write_reply};

/// Decodes what comes over the socket until it is closed, then ends the process.
pub(super) fn work(mut socket: UnixStream, setup: &Setup, scratch: Scratch) -> ! {
    // A panic must not find its way into the fork server's code, of which this process is a copy.
    let result = catch_unwind(AssertUnwindSafe(|| {
        let life_cpu = Duration::from_millis(setup.max_cpu_ms).saturating_mul(setup.media_per_worker);
        confine(Limits { memory_bytes: setup.max_memory_bytes, life_cpu })?;
        while serve_one(&mut socket, setup, scratch)? {}
        Ok(())
    }));
    let result = result.unwrap_or_else(|_| Err(io::Error::other("a panic outside of a decoder")));
    if let Err(error) = &result {
        // Its last words: whoever started it reads them.
        eprintln!("{error}");
    }
    // SAFETY: always sound. The libraries' own clean-up is left out: it would ask for system calls that are gone.
    unsafe { libc::_exit(i32::from(result.is_err())) }
}

/// Whether there may be another.
fn serve_one(socket: &mut UnixStream, setup: &Setup, scratch: Scratch) -> io::Result<bool> {
    let Some(job) = read_header::<Job>(socket)? else { return Ok(false) };
    let mut bytes = vec![0; job.size_bytes as usize];
    socket.read_exact(&mut bytes)?;
    end_after_cpu_time(Duration::from_millis(setup.max_cpu_ms));
    fail_point::hit(FailPoint::DecodeWorkerDecode, job.modality.as_str());
    let outcome = decode_guarded(&bytes, job.modality, job.media_type.as_deref(), &setup.limits, &|| scratch.clear());
    end_after_cpu_time(Duration::ZERO);
    drop(bytes);
    write_reply(socket, outcome)?;
    scratch.rest();
    Ok(true)
}
