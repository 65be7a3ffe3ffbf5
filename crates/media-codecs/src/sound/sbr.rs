//! High-efficiency AAC that calls itself AAC-LC.
//!
//! HE-AAC is AAC-LC at half the rate with spectral band replication (SBR) on top, and two of its three ways of signalling
//! are made for old decoders, which play the lower half without a word (ISO 14496-3, 1.6.5). The decoder here is such an
//! old one: it refuses object type 5 and would take the other two for whole. A clip without its upper half is wrong, so
//! this finds them, and they are `unsupported`.

/// Packets that are looked at.
const PACKETS: usize = 24;
/// Object type of SBR.
const SBR: u32 = 5;
/// `syncExtensionType` that announces SBR behind an AAC-LC configuration.
const SYNC_EXTENSION: u32 = 0x2b7;

/// Is there spectral band replication in these packets of AAC-LC? Looks at the first ones.
pub(crate) fn is_in_packets<P: AsRef<[u8]>>(packets: impl Iterator<Item = P>) -> bool {
    let (mut seen, mut carrying) = (0, 0);
    for packet in packets.take(PACKETS) {
        seen += 1;
        carrying += usize::from(ends_in_sbr(packet.as_ref()));
    }
    // Every frame of HE-AAC carries it, the first ones of some encoders excepted; in the bits of other AAC it is seen by
    // chance in one frame of fifty.
    seen > 0 && carrying * 4 >= seen * 3 && carrying >= seen.min(3)
}

/// Does an AudioSpecificConfig of AAC-LC go on with the backward compatible announcement?
pub(crate) fn is_announced(config: &[u8]) -> bool {
    let mut bits = Bits { bytes: config, at: 0 };
    let mut read = || -> Option<bool> {
        let object_type = bits.object_type()?;
        bits.rate()?;
        bits.take(4)?;
        if object_type == SBR {
            return Some(true);
        }
        // GASpecificConfig: frame length, then a core coder with its delay, then the extension flag.
        bits.take(1)?;
        if bits.take(1)? == 1 {
            bits.take(14)?;
        }
        bits.take(1)?;
        Some(bits.take(11)? == SYNC_EXTENSION && bits.object_type()? == SBR && bits.take(1)? == 1)
    };
    read().unwrap_or(false)
}

/// Does a `raw_data_block` end in fill elements of which one holds SBR data (ISO 14496-3, 4.5.2.8)?
///
/// Where the coded channels end only a decoder knows. So this reads backwards: from the end of the block, over every
/// fill element that would end exactly there.
fn ends_in_sbr(block: &[u8]) -> bool {
    let bits = |at: usize, count: usize| Bits { bytes: block, at }.take(count);
    // The block ends in ID_END, three ones, and zeros up to the next byte.
    let Some(last) = block.iter().rposition(|byte| *byte != 0) else { return false };
    let end = last * 8 + 8 - block[last].trailing_zeros() as usize;
    let Some(end) = end.checked_sub(3).filter(|at| bits(*at, 3) == Some(7)) else { return false };
    let mut ends = vec![end];
    // Encoders write one fill element for SBR and at most one to pad.
    for _ in 0..2 {
        let mut starts = Vec::new();
        for &end in &ends {
            for count in 0..=269_usize {
                let header = if count < 15 { 7 } else { 15 };
                let Some(start) = end.checked_sub(header + 8 * count) else { break };
                let size = match count {
                    0..15 => bits(start, 7) == Some((6 << 4) | count as u32),
                    _ => bits(start, 15) == Some((6 << 12) | (15 << 8) | (count as u32 - 14)),
                };
                if !size {
                    continue;
                }
                // EXT_SBR_DATA and EXT_SBR_DATA_CRC.
                if count > 0 && matches!(bits(start + header, 4), Some(13 | 14)) {
                    return true;
                }
                starts.push(start);
            }
        }
        ends = starts;
    }
    false
}

/// Bits, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next `count` bits, at most 24.
    fn take(&mut self, count: usize) -> Option<u32> {
        let end = self.at + count;
        let mut value = 0;
        for at in self.at..end {
            let byte = *self.bytes.get(at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - at % 8)) & 1);
        }
        self.at = end;
        Some(value)
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            object_type => Some(object_type),
        }
    }

    fn rate(&mut self) -> Option<()> {
        if self.take(4)? == 15 {
            self.take(24)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC-LC, 22.05 kHz, stereo: alone, with the announcement, and with the announcement that there is none.
    #[test]
    fn the_announcement_behind_a_plain_configuration_is_read() {
        assert!(!is_announced(&[0x13, 0x90]));
        assert!(is_announced(&[0x13, 0x90, 0x56, 0xe5, 0xa0]));
        assert!(!is_announced(&[0x13, 0x90, 0x56, 0xe5, 0x20]));
        assert!(is_announced(&[0x2b, 0x92, 0x08, 0x00]), "object type 5");
        assert!(!is_announced(&[]) && !is_announced(&[0x13]));
    }

    /// Bits from a drawing: spaces are skipped.
    fn block(drawing: &str) -> Vec<u8> {
        let bits: Vec<u8> = drawing.bytes().filter(|c| *c != b' ').map(|c| c - b'0').collect();
        bits.chunks(8).map(|chunk| (0..8).fold(0, |byte, i| (byte << 1) | chunk.get(i).copied().unwrap_or(0))).collect()
    }

    #[test]
    fn a_fill_element_at_the_end_of_a_block_says_what_it_holds() {
        let channels = "000 0000 0101 1011 0";
        let sbr = "110 0010 1101 0001 0110 1001";
        let padding = "110 0001 0000 0000";
        for (fill, expected) in [
            (String::new(), false),
            (padding.to_owned(), false),
            (sbr.to_owned(), true),
            (format!("{sbr} {padding}"), true),
            // Sixteen bytes: the long form of the size.
            (format!("110 1111 00000010 1110 0001 {}", "01010101".repeat(15)), true),
        ] {
            assert_eq!(ends_in_sbr(&block(&format!("{channels} {fill} 111"))), expected, "{fill}");
        }
        assert!(!ends_in_sbr(&[]) && !ends_in_sbr(&[0, 0]) && !ends_in_sbr(&[1]));
    }
}
