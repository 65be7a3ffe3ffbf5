//! One source, compiled for processors with AVX2 and FMA and for those without.

/// `a * b + c`, in one rounding where the processor has an instruction for it; without one a call of the mathematical library would
/// stand in, which is many times slower than two roundings.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Whether the wide form runs here.
pub(crate) fn is_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Two forms of a function whose body is generic over `FUSED`: the wide one where [`is_wide`] says so, else the plain one.
macro_rules! two_forms {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $gives:ty)? = $body:ident) => {
        $(#[$attribute])*
        $visibility fn $name($($argument: $kind),*) $(-> $gives)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($argument: $kind),*) $(-> $gives)? {
                    $body::<true>($($argument),*)
                }
                if $crate::simd::is_wide() {
                    // SAFETY: the processor has what the function was compiled for.
                    return unsafe { wide($($argument),*) };
                }
            }
            $body::<false>($($argument),*)
        }
    };
}
pub(crate) use two_forms;
