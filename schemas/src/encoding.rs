//! One encoder's output of one medium as workers share it through Redis; `schemas/redis-keys.md` states the layout.

use crate::AttentionSummary;

/// First byte of every value; another layout has another one and other keys.
pub const LAYOUT: u8 = 1;
/// Layout and number of components.
const HEAD_BYTES: usize = 5;

/// Packs a vector `[dimensions]`, exactly as it is, and what the encoder looked at.
pub fn pack(vector: &[f32], attention: &AttentionSummary) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + 4 * vector.len() + 256);
    bytes.push(LAYOUT);
    bytes.extend((vector.len() as u32).to_le_bytes());
    bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    // Numbers and lists of them: JSON can hold every one.
    serde_json::to_writer(&mut bytes, attention).expect("Invariant: an attention summary is JSON");
    bytes
}

/// Reads what [`pack`] wrote; `None` for everything else.
pub fn unpack(bytes: &[u8]) -> Option<(Vec<f32>, AttentionSummary)> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let (layout, dimensions) = head.split_first()?;
    let dimensions = u32::from_le_bytes(dimensions.try_into().ok()?) as usize;
    let (vector, attention) = rest.split_at_checked(dimensions.checked_mul(4)?)?;
    let attention = serde_json::from_slice(attention).ok()?;
    let (values, _) = vector.as_chunks::<4>();
    (*layout == LAYOUT).then(|| (values.iter().map(|value| f32::from_le_bytes(*value)).collect(), attention))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AudioSpan, ImageCell};

    proptest! {
        #[test]
        fn what_was_packed_comes_back_to_the_last_bit(
            vector in prop::collection::vec(any::<f32>().prop_filter("a number", |value| !value.is_nan()), 0..200),
            weights in prop::collection::vec(0.0_f32..1.0, 0..5),
        ) {
            let cell = |weight: &f32| ImageCell { row: 1, column: 2, weight: *weight };
            let span = |weight: &f32| AudioSpan { start_seconds: *weight, end_seconds: 1.5, weight: *weight };
            let attention = AttentionSummary {
                image_cells: weights.iter().map(cell).collect(),
                audio_spans: weights.iter().map(span).collect(),
                ..AttentionSummary::default()
            };
            let bytes = pack(&vector, &attention);
            prop_assert_eq!(unpack(&bytes), Some((vector, attention)));
            for length in 0..bytes.len() {
                prop_assert_eq!(unpack(&bytes[..length]), None, "cut off at {}", length);
            }
        }

        #[test]
        fn foreign_bytes_are_nothing_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assume!(bytes.first() != Some(&LAYOUT) || bytes.len() < 7);
            prop_assert_eq!(unpack(&bytes), None);
        }
    }
}
