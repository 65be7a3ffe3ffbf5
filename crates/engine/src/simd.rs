//! One source, compiled for processors with AVX-512, with AVX2 and FMA, and for those without.

/// `a * b + c`, in one rounding where the processor has an instruction for it; without one a call of the mathematical library would
/// stand in, which is many times slower than two roundings.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// What runs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// And FMA.
    Avx2,
    /// AVX-512 F, and the above.
    Avx512 { multiplies_bf16: bool },
}

pub(crate) fn form() -> Form {
    #[cfg(target_arch = "x86_64")]
    {
        let is_avx2 = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        if is_avx2 && std::arch::is_x86_feature_detected!("avx512f") {
            return Form::Avx512 { multiplies_bf16: crate::precision::multiplies_bf16() };
        }
        if is_avx2 {
            return Form::Avx2;
        }
    }
    Form::Plain
}

/// Forms of a function whose body is generic over `FUSED`: the widest that runs here. The wide ones give the same bits.
macro_rules! forms {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $(-> $gives:ty)? = $body:ident) => {
        $(#[$attribute])*
        $visibility fn $name($($argument: $kind),*) $(-> $gives)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $kind),*) $(-> $gives)? {
                    $body::<true>($($argument),*)
                }
                #[target_feature(enable = "avx512f,avx2,fma")]
                fn avx512($($argument: $kind),*) $(-> $gives)? {
                    $body::<true>($($argument),*)
                }
                match $crate::simd::form() {
                    // SAFETY: of both: the processor has what the function was compiled for.
                    $crate::simd::Form::Avx512 { .. } => return unsafe { avx512($($argument),*) },
                    $crate::simd::Form::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::simd::Form::Plain => {}
                }
            }
            $body::<false>($($argument),*)
        }
    };
}
pub(crate) use forms;
