//! A file that stops being read when it has taken too much CPU time. The headers of PNG and GIF tell what their pixels cost;
//! what they cannot tell is how many tables and empty blocks lie between (20 MB of them take two seconds).

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::time::Duration;

use crate::clock::thread_cpu_time;

/// Bytes between two looks at the clock: 5 ms of the dearest ones.
const PIECE_BYTES: usize = 64 << 10;

/// Reads `bytes`; fails with [`io::ErrorKind::TimedOut`] once this thread has used `limit` since the beginning.
pub(super) struct Metered<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Up to here the clock allows.
    allowed: usize,
    end: Duration,
}

impl<'a> Metered<'a> {
    pub(super) fn new(bytes: &'a [u8], limit: Duration) -> Self {
        Self { bytes, at: 0, allowed: 0, end: thread_cpu_time().saturating_add(limit) }
    }
}

impl BufRead for Metered<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.allowed {
            if thread_cpu_time() > self.end {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.allowed = self.at.saturating_add(PIECE_BYTES).min(self.bytes.len());
        }
        Ok(self.bytes.get(self.at..self.allowed).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at = self.at.saturating_add(amount).min(self.bytes.len());
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let length = piece.len().min(target.len());
        target[..length].copy_from_slice(&piece[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl Seek for Metered<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut cursor = io::Cursor::new(self.bytes);
        cursor.set_position(self.at as u64);
        let at = cursor.seek(to)?;
        self.at = usize::try_from(at).unwrap_or(usize::MAX).min(self.bytes.len());
        self.allowed = self.at;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_is_until_its_time_is_spent() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let mut read = Vec::new();
        Metered::new(&bytes, Duration::MAX).read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        let mut spent = Metered::new(&bytes, Duration::ZERO);
        let error = std::iter::repeat_with(|| spent.read(&mut [0; 4096])).find_map(Result::err);
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
    }

    #[test]
    fn a_place_can_be_sought_as_in_a_cursor() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut file = Metered::new(&bytes, Duration::MAX);
        let mut byte = [0];
        for (to, expected) in [(SeekFrom::Start(7), 7), (SeekFrom::Current(2), 10), (SeekFrom::End(-1), 99)] {
            file.seek(to).unwrap();
            file.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [expected]);
        }
        assert!(file.seek(SeekFrom::Current(-1000)).is_err());
    }
}
