//! Which positions of an input are taken out: the most attended ones, and what they are compared with.

use rand::rngs::StdRng;
use rand::{RngExt, seq};

/// How the positions of an explanation lie to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One after the other: words, time steps.
    Line(usize),
    /// Row by row.
    Grid { rows: usize, columns: usize },
}

impl Shape {
    /// Positions in all.
    pub fn len(self) -> usize {
        match self {
            Self::Line(length) => length,
            Self::Grid { rows, columns } => rows * columns,
        }
    }

    /// Whether there is no position.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// How many of `length` positions are `share` of them: rounded, at least one.
pub fn how_many(share: f64, length: usize) -> usize {
    ((share * length as f64).round() as usize).clamp(1.min(length), length)
}

/// The positions of the `count` largest weights, ascending; equal weights go by position, first come first served.
pub fn top(weights: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    order.truncate(count);
    order.sort_unstable();
    order
}

/// `count` of `length` positions, every set equally likely, ascending.
pub fn random(length: usize, count: usize, rng: &mut StdRng) -> Vec<usize> {
    let mut places = seq::index::sample(rng, length, count.min(length)).into_vec();
    places.sort_unstable();
    places
}

/// The same pattern of positions somewhere else: moved by a random distance, what leaves on one side comes in on the
/// other. Never the place where it was, unless there is no other.
pub fn moved(places: &[usize], shape: Shape, rng: &mut StdRng) -> Vec<usize> {
    let length = shape.len();
    if length < 2 {
        return places.to_vec();
    }
    let distance = rng.random_range(1..length);
    let mut places: Vec<usize> = match shape {
        Shape::Line(_) => places.iter().map(|place| (place + distance) % length).collect(),
        Shape::Grid { rows, columns } => {
            let (down, right) = (distance / columns, distance % columns);
            let place = |place: &usize| (place / columns + down) % rows * columns + (place % columns + right) % columns;
            places.iter().map(place).collect()
        }
    };
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    #[test]
    fn a_fifth_is_rounded_and_never_nothing() {
        assert_eq!([0, 1, 2, 5, 7, 8, 27, 49].map(|length| how_many(0.2, length)), [0, 1, 1, 1, 1, 2, 5, 10]);
        assert_eq!(how_many(1.0, 3), 3);
    }

    #[test]
    fn the_largest_weights_are_taken_and_equal_ones_in_order() {
        assert_eq!(top(&[0.1, 0.4, 0.2, 0.3], 2), [1, 3]);
        assert_eq!(top(&[0.25; 4], 2), [0, 1]);
        assert_eq!(top(&[0.5, f32::NAN.abs()], 9).len(), 2);
    }

    proptest! {
        #[test]
        fn a_moved_pattern_has_its_size_and_its_distances(
            rows in 1_usize..8, columns in 1_usize..8, count in 1_usize..9, seed in 0_u64..500
        ) {
            let mut rng = StdRng::seed_from_u64(seed);
            for shape in [Shape::Line(rows * columns), Shape::Grid { rows, columns }] {
                let length = shape.len();
                let places = random(length, count, &mut rng);
                let elsewhere = moved(&places, shape, &mut rng);
                prop_assert_eq!(elsewhere.len(), places.len());
                prop_assert!(elsewhere.is_sorted() && elsewhere.iter().all(|&place| place < length));
                let mut distinct = elsewhere.clone();
                distinct.dedup();
                prop_assert_eq!(distinct.len(), elsewhere.len());
                if length > 1 && places.len() == 1 {
                    prop_assert_ne!(places, elsewhere);
                }
            }
        }
    }
}
