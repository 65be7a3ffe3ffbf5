//! The entropy-coded bits of a scan, and the Huffman codes in them (T.81 F.2.2).

use super::Fault;

use std::cell::OnceCell;

/// Codes up to this length are found in one look-up; longer ones are rare by construction.
const LOOKUP_BITS: u32 = 10;
const LOOKUP_LEN: usize = 1 << LOOKUP_BITS;

/// Bits by which two coefficients are found at once.
const PAIR_BITS: u32 = 11;
const PAIR_LEN: usize = 1 << PAIR_BITS;

/// By the next bits: what up to two codes with their values, and the end of the block behind them, do to it.
pub(super) type Pairs = [Pair; PAIR_LEN];

/// Reads bits, most significant first, up to the next marker. Beyond it zeros come out, and [`Self::check`] tells.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next byte that is not in `bits` yet.
    at: usize,
    /// Left-aligned.
    bits: u64,
    count: u32,
    /// Zero bits that were appended behind the last real one.
    appended: u32,
}

impl<'a> BitReader<'a> {
    /// Starts at byte `at` of the file.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, bits: 0, count: 0, appended: 0 }
    }

    /// Makes sure of 32 bits: a code of 16 and a value of 16.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count < 32 {
            self.refill_slowly();
        }
    }

    #[inline]
    fn refill_slowly(&mut self) {
        if let Some(chunk) = self.bytes.get(self.at..self.at + 4) {
            let word = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
            // Whether no byte is 0xff: the usual test for a zero byte, on the complement.
            let inverted = !word;
            if inverted.wrapping_sub(0x0101_0101) & !inverted & 0x8080_8080 == 0 {
                self.bits |= u64::from(word) << (32 - self.count);
                self.count += 32;
                self.at += 4;
                return;
            }
        }
        while self.count <= 56 {
            let byte = self.next_byte();
            self.bits |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// 0xff stands for itself where a zero follows it; else it begins a marker.
    fn next_byte(&mut self) -> u8 {
        match self.bytes.get(self.at..) {
            Some([0xff, 0, ..]) => {
                self.at += 2;
                0xff
            }
            Some([byte, ..]) if *byte != 0xff => {
                self.at += 1;
                *byte
            }
            _ => {
                self.appended += 8;
                0
            }
        }
    }

    #[inline(always)]
    fn peek(&self, count: u32) -> usize {
        (self.bits >> (64 - count)) as usize
    }

    #[inline(always)]
    fn consume(&mut self, count: u32) {
        self.bits <<= count;
        self.count -= count;
    }

    /// `count` bits as a number, 1 to 16 of them; after a [`Self::refill`].
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let value = self.peek(count) as u32;
        self.consume(count);
        value
    }

    /// The next bit; refills by itself.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> bool {
        self.refill();
        self.take(1) == 1
    }

    /// A value of `count` bits, 1 to 15, whose first bit is its sign (T.81 F.2.2.1, EXTEND).
    #[inline(always)]
    pub(super) fn signed(&mut self, count: u32) -> i32 {
        let value = self.take(count) as i32;
        if value < 1 << (count - 1) { value - (1 << count) + 1 } else { value }
    }

    /// One code; after a [`Self::refill`].
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &HuffmanTable) -> Result<u8, Fault> {
        let entry = table.symbols_by_prefix[self.peek(LOOKUP_BITS)];
        if entry != 0 {
            self.consume(u32::from(entry >> 8));
            return Ok(entry as u8);
        }
        self.long_symbol(table)
    }

    #[cold]
    fn long_symbol(&mut self, table: &HuffmanTable) -> Result<u8, Fault> {
        let code = self.peek(16) as u32;
        for length in LOOKUP_BITS + 1..=16 {
            if code < table.end_of_length[length as usize] {
                let place = (code >> (16 - length)) as i32 + table.place_of_length[length as usize];
                self.consume(length);
                return usize::try_from(place)
                    .ok()
                    .and_then(|place| table.symbols.get(place))
                    .copied()
                    .ok_or(Fault::Damaged);
            }
        }
        Err(Fault::Damaged)
    }

    /// What the next bits say if that ends within a block at whose coefficient `at` they begin. After a
    /// [`Self::refill`].
    #[inline(always)]
    pub(super) fn pair(&mut self, pairs: &Pairs, at: usize) -> Option<Pair> {
        let pair = pairs[self.peek(PAIR_BITS)];
        if at + pair.second_place() > 63 {
            return None;
        }
        self.consume(pair.0 & 15);
        Some(pair)
    }

    /// That nothing was read that is not in the file.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.appended > self.count { Err(Fault::Damaged) } else { Ok(()) }
    }

    /// Goes on behind the restart marker with this number, 0 to 7.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Fault> {
        let at = next_marker(self.bytes, self.at).ok_or(Fault::Damaged)?;
        if self.bytes[at] != 0xd0 + number {
            return Err(Fault::Damaged);
        }
        *self = Self::new(self.bytes, at + 1);
        Ok(())
    }

    /// Where the code of the marker stands that ends the scan.
    pub(super) fn end(&self) -> Result<usize, Fault> {
        next_marker(self.bytes, self.at).ok_or(Fault::Damaged)
    }
}

/// The place of the next marker's second byte at or behind `at`; stuffed and filling bytes are passed over.
pub(super) fn next_marker(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)? + 1;
        if !matches!(bytes.get(at)?, 0 | 0xff) {
            return Some(at);
        }
    }
}

/// A table of Huffman codes (T.81 C.2).
pub(super) struct HuffmanTable {
    /// By the next bits: length and symbol of the code they begin with; 0 where it is longer, or none.
    symbols_by_prefix: [u16; LOOKUP_LEN],
    symbols: Vec<u8>,
    /// For each length the first code, left-aligned to 16 bits, that is no longer of this length.
    end_of_length: [u32; 17],
    /// Added to a code of a length: its place in `symbols`.
    place_of_length: [i32; 17],
    /// Made when a sequential scan first asks.
    pairs: OnceCell<Box<Pairs>>,
}

/// One or two coefficients, packed so that the loop that places them has no branches a processor could guess wrong: a
/// second one that is not there is a zero behind the first, and the end of the block is a step beyond it. From the lowest
/// bit: 4 bits of length, 1 whether there is a second, 1 whether the block ends, 4 zeros before the first, 6 place of the
/// second, 8 and 8 values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair(u32);

impl Pair {
    fn new(length: u32, first: (u32, i8), second: Option<(u32, i8)>, ends: bool) -> Self {
        let (zeros, value) = first;
        let place = zeros + 1 + second.map_or(0, |(zeros, _)| zeros);
        let other = second.map_or(0, |(_, value)| value);
        let values = u32::from(value as u8) << 16 | u32::from(other as u8) << 24;
        Self(length | u32::from(second.is_some()) << 4 | u32::from(ends) << 5 | zeros << 6 | place << 10 | values)
    }

    /// Nothing but the end of the block: its second place is the first.
    fn end(length: u32) -> Self {
        Self(length | 1 << 5)
    }

    /// What takes the long way: its second place is outside every block.
    const LONG: Self = Self(63 << 10);

    #[inline(always)]
    fn second_place(self) -> usize {
        (self.0 >> 10 & 63) as usize
    }

    /// Places and values, counted from the coefficient that comes next.
    #[inline(always)]
    pub(super) fn coefficients(self) -> [(usize, i16); 2] {
        let value = |bits: u32| i16::from(bits as u8 as i8);
        [((self.0 >> 6 & 15) as usize, value(self.0 >> 16)), (self.second_place(), value(self.0 >> 24))]
    }

    /// How far to go; beyond any block where this one ends.
    #[inline(always)]
    pub(super) fn step(self) -> usize {
        self.second_place() + ((self.0 >> 4 & 1) + (self.0 >> 5 & 1) * 64) as usize
    }
}

impl HuffmanTable {
    /// From the number of codes of each length, 1 to 16, and their symbols in order.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, Fault> {
        let mut table = Self {
            symbols_by_prefix: [0; LOOKUP_LEN],
            symbols: symbols.to_vec(),
            end_of_length: [0; 17],
            place_of_length: [0; 17],
            pairs: OnceCell::new(),
        };
        let (mut code, mut place) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = u32::from(counts[length as usize - 1]);
            table.place_of_length[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                let symbol = *symbols.get(place).ok_or(Fault::Damaged)?;
                if code >= 1 << length {
                    return Err(Fault::Damaged);
                }
                if length <= LOOKUP_BITS {
                    table.fill(code, length, symbol);
                }
                code += 1;
                place += 1;
            }
            table.end_of_length[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    fn fill(&mut self, code: u32, length: u32, symbol: u8) {
        let free = LOOKUP_BITS - length;
        let start = (code << free) as usize;
        self.symbols_by_prefix[start..start + (1 << free)].fill((length << 8) as u16 | u16::from(symbol));
    }

    /// The table of pairs.
    pub(super) fn pairs(&self) -> &Pairs {
        self.pairs.get_or_init(|| {
            let mut pairs = Box::new([Pair::LONG; PAIR_LEN]);
            for (prefix, pair) in pairs.iter_mut().enumerate() {
                *pair = self.pair_of(prefix as u32);
            }
            pairs
        })
    }

    fn pair_of(&self, prefix: u32) -> Pair {
        match self.coefficient(prefix, PAIR_BITS) {
            Coefficient::End { length } => Pair::end(length),
            Coefficient::Long => Pair::LONG,
            Coefficient::Value { length, zeros, value } => {
                let rest = PAIR_BITS - length;
                match self.coefficient(prefix & ((1 << rest) - 1), rest) {
                    Coefficient::End { length: more } => Pair::new(length + more, (zeros, value), None, true),
                    Coefficient::Long => Pair::new(length, (zeros, value), None, false),
                    Coefficient::Value { length: more, zeros: between, value: other } => {
                        Pair::new(length + more, (zeros, value), Some((between, other)), false)
                    }
                }
            }
        }
    }

    /// What the first of `count` bits say, if they are enough to say it.
    fn coefficient(&self, bits: u32, count: u32) -> Coefficient {
        let prefix = if count > LOOKUP_BITS { bits >> (count - LOOKUP_BITS) } else { bits << (LOOKUP_BITS - count) };
        let entry = u32::from(self.symbols_by_prefix[prefix as usize]);
        let (code_length, zeros, value_bits) = (entry >> 8, entry >> 4 & 15, entry & 15);
        let length = code_length + value_bits;
        if entry == 0 || length > count {
            return Coefficient::Long;
        }
        if value_bits == 0 {
            // Sixteen zeros take the long way.
            return if zeros == 0 { Coefficient::End { length } } else { Coefficient::Long };
        }
        let raw = (bits >> (count - length)) as i32 & ((1 << value_bits) - 1);
        let value = if raw < 1 << (value_bits - 1) { raw - (1 << value_bits) + 1 } else { raw };
        match i8::try_from(value) {
            Ok(value) => Coefficient::Value { length, zeros, value },
            Err(_) => Coefficient::Long,
        }
    }
}

/// What some bits say.
enum Coefficient {
    Value { length: u32, zeros: u32, value: i8 },
    End { length: u32 },
    Long,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 0, 10, 110 and one of 11 bits.
    fn table() -> HuffmanTable {
        let mut counts = [0; 16];
        (counts[0], counts[1], counts[2], counts[10]) = (1, 1, 1, 1);
        HuffmanTable::new(&counts, &[0x01, 0x12, 0x00, 0x23]).unwrap()
    }

    #[test]
    fn short_and_long_codes_are_found() {
        // 0 | 10 | 110 | 11100000000, then ones.
        let bytes = [0b0101_1011, 0b1000_0000, 0b0011_1111, 0xfe];
        let mut bits = BitReader::new(&bytes, 0);
        let mut next = || {
            bits.refill();
            bits.symbol(&table())
        };
        assert_eq!([next(), next(), next(), next()], [Ok(0x01), Ok(0x12), Ok(0x00), Ok(0x23)]);
    }

    #[test]
    fn a_code_that_is_in_no_table_is_damage() {
        let mut bits = BitReader::new(&[0xfe, 0xfe, 0xfe, 0xfe], 0);
        bits.refill();
        assert_eq!(bits.symbol(&table()), Err(Fault::Damaged));
        // Three codes of one bit.
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(HuffmanTable::new(&counts, &[1, 2, 3]).is_err());
    }

    #[test]
    fn two_short_codes_come_with_their_values_and_the_end_of_the_block() {
        let table = table();
        let mut bits = BitReader::new(&[0b1001_0101, 0b1101_1100, 0, 0], 0);
        bits.refill();
        // 10 (one zero, two bits) 01 → −2; 0 (no zero, one bit) 1 → 1.
        let pair = bits.pair(table.pairs(), 1).unwrap();
        assert_eq!((pair.coefficients(), pair.step()), ([(1, -2), (2, 1)], 3));
        // 0 1 → 1; 110: the end. After the last coefficient of a block nothing of the next may be taken.
        assert_eq!(bits.pair(table.pairs(), 63), None);
        let pair = bits.pair(table.pairs(), 62).unwrap();
        assert_eq!((pair.coefficients(), pair.step()), ([(0, 1), (1, 0)], 65));
        // 11 bits of code: the long way, and nothing is taken.
        assert_eq!(bits.pair(table.pairs(), 1), None);
        assert_eq!(bits.symbol(&table), Ok(0x23));
        let mut bits = BitReader::new(&[0b1100_0000, 0, 0, 0], 0);
        bits.refill();
        assert_eq!(bits.pair(table.pairs(), 63).unwrap().step(), 64);
    }

    #[test]
    fn stuffed_bytes_are_undone_and_a_marker_ends_the_bits() {
        let mut bits = BitReader::new(&[0xff, 0, 0xab, 0xff, 0xd0, 0x77], 0);
        bits.refill();
        assert_eq!((bits.take(8), bits.take(8)), (0xff, 0xab));
        assert_eq!(bits.check(), Ok(()));
        bits.refill();
        bits.take(1);
        assert_eq!(bits.check(), Err(Fault::Damaged), "a bit that is not there");
        assert_eq!(bits.restart(0), Ok(()));
        bits.refill();
        assert_eq!(bits.take(8), 0x77);
        assert_eq!(BitReader::new(&[0xff, 0xd3], 0).restart(2), Err(Fault::Damaged));
    }
}
