//! What a factorised form is held to: the same numbers and the same gradients as the equations with the matrix.

use tch::{Kind, Tensor};

/// `[rows, width]` of sines in double precision, a leaf.
pub(super) fn vectors(rows: i64, width: i64, phase: f64) -> Tensor {
    let values: Vec<f64> = (0..rows * width).map(|i| (i as f64 * 0.61 + phase).sin() * 1.7).collect();
    Tensor::from_slice(&values).view([rows, width]).set_requires_grad(true)
}

/// Values within 1e-14, and the gradients of every leaf under `upstream` within 1e-13.
pub(super) fn assert_same(factorised: &Tensor, dense: &Tensor, upstream: &Tensor, leaves: &[&Tensor]) {
    assert!(largest_difference(factorised, dense) < 1e-14);
    let gradients = |value: &Tensor| Tensor::run_backward(&[(value * upstream).sum(Kind::Double)], leaves, true, false);
    for (index, (ours, theirs)) in gradients(factorised).iter().zip(gradients(dense)).enumerate() {
        assert!(largest_difference(ours, &theirs) < 1e-13, "gradient of leaf {index}");
    }
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}
