/// In which numbers a network multiplies; sums are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    F32,
    /// For processors that multiply it ([`multiplies_bf16`]); elsewhere OpenVINO emulates it and is slow, and [`Dense`](crate::dense::Dense)
    /// stays with f32.
    Bf16,
}

/// Whether this processor multiplies bf16 (AVX-512 BF16).
pub fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}
