//! A file as the readers of symphonia are to see it: with another head or tail, and no longer than there is time for it.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::{MediaSource, MediaSourceStream};

use crate::clock::Clock;

/// Pieces one after the other.
pub(super) struct Spliced<'a> {
    pieces: [&'a [u8]; 2],
    head: Vec<u8>,
    at: u64,
    seekable: bool,
    clock: Clock,
}

impl<'a> Spliced<'a> {
    /// `head`, then `pieces`.
    pub(super) fn new(head: Vec<u8>, pieces: [&'a [u8]; 2], clock: Clock) -> Self {
        Self { pieces, head, at: 0, seekable: true, clock }
    }

    /// The same for a reader that may not look ahead.
    pub(super) fn once(self) -> Self {
        Self { seekable: false, ..self }
    }

    pub(super) fn into_stream(self) -> MediaSourceStream<'a> {
        MediaSourceStream::new(Box::new(self), Default::default())
    }

    fn len(&self) -> u64 {
        (self.head.len() + self.pieces.iter().map(|piece| piece.len()).sum::<usize>()) as u64
    }
}

impl Read for Spliced<'_> {
    /// Every byte that a reader sees comes through here, so this is where a search without end is ended.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.clock.is_over() {
            return Err(io::Error::other("a clip that takes too much CPU time"));
        }
        let mut at = usize::try_from(self.at).unwrap_or(usize::MAX);
        for piece in [self.head.as_slice(), self.pieces[0], self.pieces[1]] {
            if let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.at += count as u64;
                return Ok(count);
            }
            at -= piece.len();
        }
        Ok(0)
    }
}

impl Seek for Spliced<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        // Behind the end nothing is read; a place far behind it is a lie of some table.
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.min(self.len());
        Ok(self.at)
    }
}

impl MediaSource for Spliced<'_> {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.seekable.then(|| self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pieces_read_as_one_file_from_any_place() {
        let clock = Clock::start(Duration::from_secs(10));
        let mut file = Spliced::new(b"abc".to_vec(), [b"", b"defgh"], clock);
        for at in 0..=8_u64 {
            let mut rest = String::new();
            assert_eq!(file.seek(SeekFrom::Start(at)).unwrap(), at);
            file.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "abcdefgh"[at as usize..]);
        }
        assert_eq!(file.seek(SeekFrom::End(-2)).unwrap(), 6);
        assert_eq!(file.seek(SeekFrom::Start(u64::MAX)).unwrap(), 8, "a lie of some table");
        assert!(file.seek(SeekFrom::Current(-9)).is_err());
    }

    #[test]
    fn nothing_is_read_when_time_is_up() {
        let clock = Clock::start(Duration::ZERO);
        let mut x = 1_u64;
        while !clock.is_over() {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(Spliced::new(Vec::new(), [b"abc", b""], clock).read(&mut [0; 3]).is_err());
    }
}
