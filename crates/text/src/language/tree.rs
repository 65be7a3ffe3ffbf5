//! Hierarchical softmax (Morin and Bengio 2005): a Huffman tree over the labels, a logistic regression at each inner node
//! (`loss.cc`).

use super::error::LanguageError;
use super::file::File;

/// What fastText adds inside its logarithms. A path that is less likely than this is not looked at.
const SMALLEST: f64 = 1e-5;

/// Nodes below `leaves` are labels, the others have children; the last is the root.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    leaves: usize,
    /// Of each inner node, in order.
    children: Vec<[usize; 2]>,
    columns: usize,
    /// `leaves` × `columns`; the last row is not used.
    output: Vec<f32>,
}

impl Tree {
    /// Reads the output matrix and grows the tree from the labels' counts, of which there is at least one.
    pub(super) fn read(file: &mut File, columns: usize, counts: Vec<u64>) -> Result<Self, LanguageError> {
        const WHAT: &str = "the output matrix";
        if file.flag(WHAT)? {
            return Err(LanguageError::Unsupported("an output matrix that is quantised"));
        }
        let leaves = counts.len();
        let shape = (usize::try_from(file.i64(WHAT)?), usize::try_from(file.i64(WHAT)?));
        if shape != (Ok(leaves), Ok(columns)) {
            return Err(LanguageError::Damaged("the shape of the output matrix"));
        }
        let output = file.floats(leaves * columns, WHAT)?;
        Ok(Self { leaves, children: grown(counts)?, columns, output })
    }

    /// The likeliest leaf and its probability, 0 to 1, by depth-first search that leaves out what cannot win.
    pub(super) fn likeliest(&self, hidden: &[f32]) -> (usize, f32) {
        let logarithm = |probability: f64| (probability + SMALLEST).ln();
        let least = logarithm(0.0);
        let mut best = None;
        let mut open = vec![(self.leaves + self.children.len() - 1, 0.0)];
        while let Some((node, score)) = open.pop() {
            if score < best.map_or(least, |(_, score)| score) {
                continue;
            }
            let inner = node.checked_sub(self.leaves).and_then(|inner| Some((inner, self.children.get(inner)?)));
            let Some((inner, &[left, right])) = inner else {
                best = Some((node, score));
                continue;
            };
            let weights = &self.output[inner * self.columns..][..self.columns];
            let logit: f32 = weights.iter().zip(hidden).map(|(weight, value)| weight * value).sum();
            let is_right = f64::from(1.0 / (1.0 + (-logit).exp()));
            // The left one is looked at first.
            open.push((right, score + logarithm(is_right)));
            open.push((left, score + logarithm(1.0 - is_right)));
        }
        let (leaf, score) = best.unwrap_or((0, f64::NEG_INFINITY));
        let probability = score.exp();
        // A damaged file's large weights can make infinities, and of them what is no number.
        (leaf, if probability.is_nan() { 0.0 } else { probability.clamp(0.0, 1.0) as f32 })
    }
}

/// `HierarchicalSoftmaxLoss::buildTree`: of the leaves, which are in falling order of their counts, and of the nodes in
/// order of their making, the two smallest become a new node's children.
fn grown(mut counts: Vec<u64>) -> Result<Vec<[usize; 2]>, LanguageError> {
    let labels = counts.len();
    let (mut leaves, mut node) = (labels, labels);
    let mut children = Vec::with_capacity(labels);
    for _ in 1..labels {
        let mut pair = [0; 2];
        for child in &mut pair {
            let made = counts.get(node);
            *child = if leaves > 0 && made.is_none_or(|made| counts[leaves - 1] < *made) {
                leaves -= 1;
                leaves
            } else if made.is_some() {
                node += 1;
                node - 1
            } else {
                return Err(LanguageError::Damaged("the counts of the labels"));
            };
        }
        counts.push(counts[pair[0]].saturating_add(counts[pair[1]]));
        children.push(pair);
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_two_rarest_meet_first_and_of_equals_the_node_goes_left() {
        assert_eq!(grown(vec![5, 4, 3, 2, 1]).unwrap(), [[4, 3], [5, 2], [1, 0], [6, 7]]);
        assert_eq!(grown(vec![9]).unwrap(), [[0; 2]; 0]);
    }

    /// Every leaf's score, by walking all of the tree.
    fn scores(tree: &Tree, hidden: &[f32], node: usize, score: f64, into: &mut Vec<f64>) {
        let Some(inner) = node.checked_sub(tree.leaves) else {
            into[node] = score;
            return;
        };
        let logit: f32 = (0..tree.columns).map(|i| tree.output[inner * tree.columns + i] * hidden[i]).sum();
        let is_right = f64::from(1.0 / (1.0 + (-logit).exp()));
        let [left, right] = tree.children[inner];
        scores(tree, hidden, left, score + (1.0 - is_right + SMALLEST).ln(), into);
        scores(tree, hidden, right, score + (is_right + SMALLEST).ln(), into);
    }

    proptest! {
        #[test]
        fn the_search_finds_the_likeliest_of_all_leaves(
            mut counts in prop::collection::vec(0_u64..1_000, 1..40), seed in 1_u32..1_000, is_sorted in any::<bool>(),
        ) {
            if is_sorted {
                counts.sort_by_key(|count| std::cmp::Reverse(*count));
            }
            let leaves = counts.len();
            let output = (0..leaves * 2).map(|i| (i as f32 * seed as f32 * 0.37).sin() * 3.0).collect();
            let tree = Tree { leaves, children: grown(counts).unwrap(), columns: 2, output };
            let hidden = [0.7, -0.4];
            let mut all = vec![0.0; leaves];
            scores(&tree, &hidden, 2 * leaves - 2, 0.0, &mut all);
            let (leaf, probability) = tree.likeliest(&hidden);
            let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(all[leaf], most);
            prop_assert!((f64::from(probability) - most.exp().min(1.0)).abs() < 1e-6);
        }
    }
}
