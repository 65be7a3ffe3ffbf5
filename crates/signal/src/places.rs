//! Where each of the statistics of a clip stands in their vector.

use std::ops::Range;

/// Places of the cepstral coefficients' statistics.
pub const MFCC: Range<usize> = 0..60;
/// Places of the loudness' statistics.
pub const RMS: Range<usize> = 60..73;
/// Places of the pitch classes' statistics.
pub const CHROMA: Range<usize> = 73..97;
/// Places of the key's statistics.
pub const KEY: Range<usize> = 97..118;
/// Places of the octaves' statistics.
pub const OCTAVE: Range<usize> = 118..134;
/// Places of the register's statistics.
pub const REGISTER: Range<usize> = 134..143;
/// Places of the chords' statistics. They are the last, so that what speech is judged by is one piece too.
pub const CHORDS: Range<usize> = 143..173;
/// Values of the whole vector.
pub const STATISTICS: usize = CHORDS.end;
/// Values that come from the samples; the first ones.
pub const TIMBRE: usize = RMS.end;
/// Values that come from the constant-Q levels; those after them.
pub const HARMONY: usize = STATISTICS - TIMBRE;
