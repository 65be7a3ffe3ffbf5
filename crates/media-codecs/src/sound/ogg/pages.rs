//! Pages of Ogg (RFC 3533 6). One whose checksum is wrong is left out.

pub(super) const CAPTURE: &[u8; 4] = b"OggS";
const HEADER_BYTES: usize = 27;
/// Checksums may cover so many times the file: pages that claim each other's bytes would cover it hundreds of times.
pub(super) const CHECKED_PER_BYTE: usize = 3;

/// A page whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) continues: bool,
    pub(super) begins: bool,
    /// Of samples, behind the last packet that ends here; `None` if none ends.
    pub(super) position: Option<u64>,
    pub(super) serial: u32,
    table: &'a [u8],
    body: &'a [u8],
}

/// Walks over pages.
#[derive(Debug, Clone)]
pub(super) struct Pages<'a> {
    pub(super) bytes: &'a [u8],
    at: usize,
    pub(super) checked_bytes: usize,
    pub(super) is_cut: bool,
    /// Of a page before the last one whose checksum was wrong.
    pub(super) broken_serial: Option<u32>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, checked_bytes: 0, is_cut: false, broken_serial: None }
    }
}

impl<'a> Iterator for Pages<'a> {
    type Item = Page<'a>;

    fn next(&mut self) -> Option<Page<'a>> {
        loop {
            self.at += find(self.bytes.get(self.at..)?, CAPTURE)?;
            let rest = &self.bytes[self.at..];
            let Some((page, len)) = Page::read(rest) else {
                // The last one ends behind the file, unless it is none.
                self.is_cut = rest.len() < HEADER_BYTES || rest[4] == 0;
                self.at += CAPTURE.len();
                continue;
            };
            self.checked_bytes += len;
            self.is_cut = false;
            if crc32(&rest[..len]) == u32::from_le_bytes([rest[22], rest[23], rest[24], rest[25]]) {
                self.at += len;
                return Some(page);
            }
            self.broken_serial = Some(page.serial);
            let may_look_within = self.checked_bytes <= CHECKED_PER_BYTE * self.bytes.len();
            self.at += if may_look_within { CAPTURE.len() } else { len };
        }
    }
}

impl<'a> Page<'a> {
    /// The page that stands here, and its length; `None` if it is none or not all there.
    pub(super) fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let flags = header[5];
        if header[4] != 0 || flags > 7 {
            return None;
        }
        let table = bytes.get(HEADER_BYTES..HEADER_BYTES + usize::from(header[26]))?;
        let len: usize = table.iter().map(|size| usize::from(*size)).sum();
        let body_at = HEADER_BYTES + table.len();
        let body = bytes.get(body_at..body_at + len)?;
        let position = u64::from_le_bytes(*header[6..].first_chunk()?);
        let page = Self {
            continues: flags & 1 != 0,
            begins: flags & 2 != 0,
            position: (position != u64::MAX).then_some(position),
            serial: u32::from_le_bytes(*header[14..].first_chunk()?),
            table,
            body,
        };
        Some((page, body_at + len))
    }

    /// Parts of packets in order, and whether each is the end of its packet.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'a [u8], bool)> + use<'a> {
        let (table, body) = (self.table, self.body);
        let (mut entry, mut at) = (0, 0);
        std::iter::from_fn(move || {
            let start = at;
            while let Some(size) = table.get(entry) {
                entry += 1;
                at += usize::from(*size);
                if *size < 255 {
                    return Some((&body[start..at], true));
                }
            }
            (start < at).then(|| (&body[start..at], false))
        })
    }
}

fn find(bytes: &[u8], wanted: &[u8; 4]) -> Option<usize> {
    bytes.windows(4).position(|four| four == wanted)
}

/// RFC 3533 6, field 7: not reflected, from zero, over the page with a zero in its own place.
pub(super) fn crc32(page: &[u8]) -> u32 {
    page.iter().enumerate().fold(0, |crc, (at, byte)| {
        let byte = if (22..26).contains(&at) { 0 } else { *byte };
        (crc << 8) ^ CRC32[usize::from((crc >> 24) as u8 ^ byte)]
    })
}

static CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
