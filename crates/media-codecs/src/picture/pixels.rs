//! From pixels as formats store them to 8 bits over white.

/// How a pixel is stored, each channel and the opacity behind them in the same width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// 1 (grey) or 3 (RGB).
    pub(super) channels: usize,
    /// An opacity follows.
    pub(super) alpha: bool,
    /// 16 bits, most significant byte first.
    pub(super) deep: bool,
}

impl Layout {
    /// Of a pixel.
    pub(super) fn bytes(self) -> usize {
        (self.channels + usize::from(self.alpha)) * if self.deep { 2 } else { 1 }
    }
}

/// Reduces pixels in place to 8 bits and puts them over white. In place, because a picture at the limit fills half of
/// what a decoder may hold.
pub(super) fn flatten(layout: Layout, data: &mut Vec<u8>) {
    let Layout { channels, alpha, deep } = layout;
    if !alpha && !deep {
        return;
    }
    let stride = layout.bytes();
    let sample = if deep { 2 } else { 1 };
    let get = |data: &[u8], at: usize| match deep {
        true => ((u32::from(u16::from_be_bytes([data[at], data[at + 1]])) + 128) / 257) as u8,
        false => data[at],
    };
    let pixels = data.len() / stride;
    for pixel in 0..pixels {
        let source = pixel * stride;
        let opacity = if alpha { get(data, source + channels * sample) } else { u8::MAX };
        for channel in 0..channels {
            let value = get(data, source + channel * sample);
            data[pixel * channels + channel] = over_white(value, opacity);
        }
    }
    data.truncate(pixels * channels);
}

fn over_white(value: u8, opacity: u8) -> u8 {
    let (value, opacity) = (u32::from(value), u32::from(opacity));
    ((value * opacity + 255 * (255 - opacity) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_opacity_keeps_a_colour_and_none_is_white() {
        for value in 0..=255 {
            assert_eq!((over_white(value, 255), over_white(value, 0)), (value, 255));
        }
        assert_eq!(over_white(0, 128), 127);
    }

    #[test]
    fn deep_and_transparent_pixels_are_reduced_in_place() {
        let mut data: Vec<u8> = [0_u16, 65_535, 257 * 7, 65_535].iter().flat_map(|v| v.to_be_bytes()).collect();
        flatten(Layout { channels: 1, alpha: true, deep: true }, &mut data);
        assert_eq!(data, [0, 7]);
        let mut data = vec![10, 20, 30, 255, 1, 2, 3, 0];
        flatten(Layout { channels: 3, alpha: true, deep: false }, &mut data);
        assert_eq!(data, [10, 20, 30, 255, 255, 255]);
    }
}
