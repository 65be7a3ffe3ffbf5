//! How far a reader has come: the next offset of every partition, as text `0:13,1:40`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Partitions that a text may name.
const MAX_PARTITIONS: usize = 4_096;

/// The next offset of every partition. As text it is the id of an event: whoever names it gets what comes after, all of it
/// and once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(pub BTreeMap<i32, i64>);

impl Positions {
    /// The next offset of a partition; 0 of one that is not known, which is one that was added later.
    pub fn next(&self, partition: i32) -> i64 {
        self.0.get(&partition).copied().unwrap_or(0)
    }

    /// Has passed this record.
    pub fn pass(&mut self, partition: i32, offset: i64) {
        self.0.insert(partition, offset + 1);
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, offset)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{offset}")?;
        }
        Ok(())
    }
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no position such as 0:13,1:40 (partition:offset of every partition, as in the id of an event)")]
pub struct NoPosition(String);

impl NoPosition {
    /// The same text is none again.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl FromStr for Positions {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let wrong = || NoPosition(text.chars().take(60).collect());
        let mut positions = BTreeMap::new();
        for part in text.trim().split(',') {
            let (partition, offset) = part.trim().split_once(':').ok_or_else(wrong)?;
            let partition: i32 = partition.parse().map_err(|_| wrong())?;
            let offset: i64 = offset.parse().map_err(|_| wrong())?;
            let is_new = positions.insert(partition, offset).is_none();
            if partition < 0 || offset < 0 || offset == i64::MAX || !is_new || positions.len() > MAX_PARTITIONS {
                return Err(wrong());
            }
        }
        Ok(Self(positions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_reads_back(map in prop::collection::btree_map(0i32..500, 0i64..i64::MAX - 1, 1..20)) {
            let positions = Positions(map);
            prop_assert_eq!(positions.to_string().parse::<Positions>().unwrap(), positions);
        }

        #[test]
        fn any_text_is_a_position_or_an_error(text in ".{0,40}") {
            let _ = text.parse::<Positions>();
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "0", "0:", ":1", "-1:0", "0:-1", "0:1,0:2", "0:1,", "a:1", "0:9223372036854775807", "0:1;1:2"]
        {
            assert!(text.parse::<Positions>().is_err(), "{text}");
        }
    }
}
