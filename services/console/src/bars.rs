//! Shares and courses as letters.

/// Eighths of a column.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// Heights of a column.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar of `columns` columns of which `share`, 0 to 1, is filled, padded to its end.
pub(crate) fn bar(share: f32, columns: usize) -> String {
    let eighths = (unit(share) * columns as f32 * 8.0).round() as usize;
    let (whole, part) = (eighths / 8, eighths % 8);
    let mut bar = "█".repeat(whole);
    if whole < columns {
        bar.push(EIGHTHS[part]);
        bar.extend(std::iter::repeat_n(' ', columns - whole - 1));
    }
    bar
}

/// A bar from the middle of `2 × half + 1` columns to the left of what is below 0, to the right of what is above; `share` is -1 to 1.
pub(crate) fn pull(share: f32, half: usize) -> String {
    let filled = (unit(share.abs()) * half as f32).round() as usize;
    let (empty, full) = (" ".repeat(half - filled), "█".repeat(filled));
    let none = " ".repeat(half);
    if share < 0.0 { format!("{empty}{full}│{none}") } else { format!("{none}│{full}{empty}") }
}

/// One letter for a weight among weights whose largest is `most`: nothing, a third, two, all.
pub(crate) fn shade(weight: f32, most: f32) -> char {
    match strength(weight, most) {
        0 => '·',
        1 => '░',
        2 => '▒',
        3 => '▓',
        _ => '█',
    }
}

/// 1 to 4 of a weight among weights whose largest is `most`; 0 of none.
pub(crate) fn strength(weight: f32, most: f32) -> usize {
    if !(weight > 0.0 && most > 0.0) {
        return 0;
    }
    ((weight / most).min(1.0) * 4.0).ceil() as usize
}

/// The course of `values`, the last `columns` of them, each as high as it is among those shown.
pub(crate) fn course(values: &[f64], columns: usize) -> String {
    let shown = &values[values.len().saturating_sub(columns)..];
    let most = shown.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let height = |value: &f64| match value {
        value if !(value.is_finite() && *value > 0.0 && most > 0.0) => HEIGHTS[0],
        value => HEIGHTS[((value / most * 8.0).ceil() as usize).clamp(1, 8) - 1],
    };
    shown.iter().map(height).collect()
}

fn unit(share: f32) -> f32 {
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(0.53125, 4), "██▏ ");
        assert_eq!((bar(1.0, 2), bar(0.0, 2)), ("██".to_owned(), "  ".to_owned()));
        assert_eq!((pull(-0.5, 2), pull(1.0, 2)), (" █│  ".to_owned(), "  │██".to_owned()));
        assert_eq!(course(&[9.0, 0.0, 1.0, 8.0], 3), "▁▁█");
        let shades = [0.0, 0.1, 0.2, 0.3, 0.4].map(|weight| shade(weight, 0.4));
        assert_eq!(shades, ['·', '░', '▒', '▓', '█']);
    }

    proptest! {
        #[test]
        fn whatever_the_number_a_bar_has_its_columns(share in any::<f32>(), columns in 0usize..60, most in any::<f32>()) {
            prop_assert_eq!(bar(share, columns).chars().count(), columns);
            prop_assert_eq!(pull(share, columns).chars().count(), 2 * columns + 1);
            prop_assert!(strength(share, most) <= 4);
            prop_assert_eq!(course(&[f64::from(share); 70], columns).chars().count(), columns);
        }
    }
}
