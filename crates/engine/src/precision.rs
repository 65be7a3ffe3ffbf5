/// In which numbers a network multiplies; sums are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    F32,
    /// For processors that multiply it ([`jtav_simd::multiplies_bf16`]); elsewhere OpenVINO emulates it and is slow, and
    /// [`Dense`](crate::dense::Dense) stays with f32.
    Bf16,
}
