//! The looks that a picture is learnt from: its centre, as it is served, and crops of it.

use jtav_model::networks::Pixels;
use jtav_model::{IMAGE_SIDE, ModelError};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tch::{Device, Tensor};

use crate::types::ImageExample;

/// Looks at each picture in training: its centre, the centre mirrored, and crops.
pub(super) const VIEWS: usize = 10;
/// Smallest share of the picture's area in a crop.
const LEAST_AREA: f64 = 0.45;
/// Largest logarithm of a crop's width over its height.
const LOG_ASPECT: f64 = 0.29;

/// `[VIEWS, 3, 224, 224]` in `[0, 1]`. The first is the middle 224 pixels, which serving sees; the crops depend on `seed`
/// and on nothing else.
pub(super) fn views(example: &ImageExample, seed: u64, device: Device) -> Result<Tensor, ModelError> {
    let ImageExample { pixels, side, .. } = example;
    if *side < IMAGE_SIDE || pixels.len() != side * side * 3 {
        return Err(ModelError::Input(format!(
            "{} bytes for a picture of side {side}, expected {IMAGE_SIDE} pixels a side or more",
            pixels.len()
        )));
    }
    let whole = Pixels::upload(&[pixels], *side, device)?;
    let margin = (side - IMAGE_SIDE) / 2;
    let centre = cut(&whole, &Crop { left: margin, top: margin, width: IMAGE_SIDE, height: IMAGE_SIDE })?;
    let mut views = vec![centre.f_flip([3])?, centre];
    views.reverse();
    let mut rng = StdRng::seed_from_u64(seed);
    while views.len() < VIEWS {
        let view = cut(&whole, &Crop::draw(*side, &mut rng))?;
        views.push(if rng.random_bool(0.5) { view.f_flip([3])? } else { view });
    }
    Ok(Tensor::f_cat(&views, 0)?)
}

/// Pixels from the left and from the top.
#[derive(Debug)]
struct Crop {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Crop {
    /// A rectangle within a square of `side`.
    fn draw(side: usize, rng: &mut StdRng) -> Self {
        let area = rng.random_range(LEAST_AREA..=1.0);
        let aspect = rng.random_range(-LOG_ASPECT..=LOG_ASPECT).exp();
        let length = |share: f64| ((side as f64 * share.sqrt()).round() as usize).clamp(1, side);
        let (width, height) = (length(area * aspect), length(area / aspect));
        let (left, top) = (rng.random_range(0..=side - width), rng.random_range(0..=side - height));
        Self { left, top, width, height }
    }
}

/// `[1, 3, 224, 224]` of `[1, 3, side, side]`.
fn cut(whole: &Tensor, crop: &Crop) -> Result<Tensor, ModelError> {
    let rows = whole.f_narrow(2, crop.top as i64, crop.height as i64)?;
    Pixels::resize(&rows.f_narrow(3, crop.left as i64, crop.width as i64)?, IMAGE_SIDE as i64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jtav_model::parameters::to_vec;
    use tch::Kind;

    use super::*;

    fn example(side: usize) -> ImageExample {
        let pixels: Vec<u8> = (0..side * side * 3).map(|at| (at * 7 % 251) as u8).collect();
        ImageExample { pixels: Arc::from(pixels), side, positive: true }
    }

    #[test]
    fn the_first_look_is_the_middle_and_the_second_its_mirror_image() {
        let example = example(256);
        let found = views(&example, 1, Device::Cpu).unwrap();
        assert_eq!(found.size(), [VIEWS as i64, 3, 224, 224]);
        let rows = example.pixels.chunks_exact(256 * 3).skip(16).take(224);
        let middle: Vec<u8> = rows.flat_map(|row| row[16 * 3..240 * 3].to_vec()).collect();
        let middle = Pixels::upload(&[&middle], 224, Device::Cpu).unwrap().squeeze_dim(0);
        assert!(found.get(0).equal(&middle));
        assert!(found.get(1).equal(&middle.flip([2])));
        let (least, most) = (found.min().double_value(&[]), found.max().double_value(&[]));
        assert!(least >= 0.0 && most <= 1.0 + 1e-6, "{least} {most}");
    }

    #[test]
    fn equal_seeds_give_equal_looks_and_others_do_not() {
        let example = example(256);
        let look = |seed| views(&example, seed, Device::Cpu).unwrap();
        assert!(look(4).equal(&look(4)));
        let apart = (look(4) - look(5)).abs().amax([1_i64, 2, 3].as_slice(), false).to_kind(Kind::Float);
        let apart = to_vec(&apart).unwrap();
        assert!(
            apart[..2].iter().all(|&apart| apart == 0.0) && apart[2..].iter().all(|&apart| apart > 0.01),
            "{apart:?}"
        );
    }

    #[test]
    fn a_crop_lies_within_its_picture_and_keeps_much_of_it() {
        let mut rng = StdRng::seed_from_u64(8);
        for side in [224, 256, 1000] {
            for _ in 0..500 {
                let crop = Crop::draw(side, &mut rng);
                assert!(crop.left + crop.width <= side && crop.top + crop.height <= side, "{crop:?}");
                let area = (crop.width * crop.height) as f64 / (side * side) as f64;
                let aspect = crop.width as f64 / crop.height as f64;
                assert!(area > 0.43 && (0.74..1.36).contains(&aspect), "{crop:?}");
            }
        }
    }

    #[test]
    fn a_picture_that_is_too_small_or_of_other_bytes_is_refused() {
        assert!(views(&example(224), 1, Device::Cpu).is_ok());
        for wrong in [example(223), ImageExample { side: 225, ..example(224) }, ImageExample { side: 0, ..example(0) }]
        {
            assert!(matches!(views(&wrong, 1, Device::Cpu), Err(ModelError::Input(_))));
        }
    }
}
