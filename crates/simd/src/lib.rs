//! One source, compiled for processors with AVX-512, with AVX2 and FMA, and for those without: loops over slices run in the widest form
//! that the processor has, asked for at run time, so that one program serves all of them.

/// `a * b + c`, in one rounding where the processor has an instruction for it; without one a call of the mathematical library would
/// stand in, which is many times slower than two roundings.
#[inline(always)]
pub fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// What runs here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// And FMA.
    Avx2,
    /// AVX-512 F, and the above.
    Avx512,
}

/// The widest form for this processor.
pub fn form() -> Form {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // To the compiler AVX-512 brings F16C along; a hypervisor may hide either.
        let is_widest = std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("f16c");
        return if is_widest { Form::Avx512 } else { Form::Avx2 };
    }
    Form::Plain
}

/// Whether this processor multiplies bf16 (AVX-512 BF16).
pub fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // And its bf16 AVX-512 BW.
        let has_bf16 =
            std::arch::is_x86_feature_detected!("avx512bf16") && std::arch::is_x86_feature_detected!("avx512bw");
        has_bf16 && form() == Form::Avx512
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// A function in all forms, from a body that is generic over `FUSED` and inlined always, as is all that it calls. The wide forms give
/// the same bits.
///
/// ```
/// #[inline(always)]
/// fn scaled_body<const FUSED: bool>(values: &mut [f32], by: f32) {
///     values.iter_mut().for_each(|value| *value *= by);
/// }
/// jtav_simd::forms! {
///     /// Multiplies every value.
///     pub fn scaled(values: &mut [f32], by: f32) = scaled_body
/// }
/// let mut values = [1.0, 2.0];
/// scaled(&mut values, 3.0);
/// assert_eq!(values, [3.0, 6.0]);
/// ```
#[macro_export]
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
                match $crate::form() {
                    // SAFETY: of both: the processor has what the function was compiled for.
                    $crate::Form::Avx512 => return unsafe { avx512($($argument),*) },
                    $crate::Form::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::Form::Plain => {}
                }
            }
            $body::<false>($($argument),*)
        }
    };
}

/// Sums side by side: the order of one sum is fixed, and the compiler could not use its vectors. Of long rows four registers of
/// them, since a product waits for the one before it.
const LANES: usize = 16;

#[inline(always)]
fn dot_body<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    const LONG: usize = 4 * LANES;
    let ((long_a, a), (long_b, b)) = (a.as_chunks::<LONG>(), b.as_chunks::<LONG>());
    let ((short_a, a), (short_b, b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut long = [0.0_f32; LONG];
    for (a, b) in long_a.iter().zip(long_b) {
        for lane in 0..LONG {
            long[lane] = multiply_add::<FUSED>(a[lane], b[lane], long[lane]);
        }
    }
    let mut sums: [f32; LANES] =
        std::array::from_fn(|lane| long[lane] + long[LANES + lane] + long[2 * LANES + lane] + long[3 * LANES + lane]);
    for (a, b) in short_a.iter().zip(short_b) {
        for lane in 0..LANES {
            sums[lane] = multiply_add::<FUSED>(a[lane], b[lane], sums[lane]);
        }
    }
    let rest: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

forms! {
    /// The sum of the products.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 = dot_body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_products_for_any_length_in_every_form() {
        let a: Vec<f32> = (0..150).map(|at| (at as f32 * 0.7).sin()).collect();
        let b: Vec<f32> = (0..150).map(|at| (at as f32 * 0.3).cos()).collect();
        for length in 0..=150 {
            let pairs = a[..length].iter().zip(&b[..length]);
            let expected: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            for found in [dot(&a[..length], &b[..length]), dot_body::<false>(&a[..length], &b[..length])] {
                assert!((f64::from(found) - expected).abs() < 1e-5, "{length}: {found} {expected}");
            }
        }
    }

    #[test]
    fn only_a_processor_with_the_widest_form_multiplies_bf16() {
        assert!(!multiplies_bf16() || form() == Form::Avx512);
    }
}
