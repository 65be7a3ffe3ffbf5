//! Which items of a list run through a network together.

/// Each item once, those of like length together, the longest first. `has_room` says of a pass, by the number of its items and
/// the length of its longest, whether one of that length (no longer) fits in; a pass has an item at least.
pub(crate) fn passes(lengths: &[usize], has_room: impl Fn(usize, usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&item| std::cmp::Reverse(lengths[item]));
    let mut passes: Vec<Vec<usize>> = Vec::new();
    for item in order {
        match passes.last_mut() {
            // The first one is the longest.
            Some(pass) if has_room(pass.len(), lengths[pass[0]], lengths[item]) => pass.push(item),
            _ => passes.push(vec![item]),
        }
    }
    passes
}
