//! Addresses of a part of a medium: W3C Media Fragments URI 1.0, temporal (`#t=`) and spatial (`#xywh=percent:`).

use jtav_schemas::{AudioSpan, ImageCell};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Cells in a row of the grid over the centre square, and rows.
pub const CELLS_PER_ROW: u32 = 7;

/// All but the unreserved characters of RFC 3986.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.');

/// A post id as one segment of a path.
pub fn id_in_path(id: &str) -> String {
    utf8_percent_encode(id, &SEGMENT).to_string()
}

/// Whether a path can name `id`: clients resolve `.` and `..`, encoded or not, before they ask.
pub fn is_path_segment(id: &str) -> bool {
    !matches!(id, "" | "." | "..")
}

/// Address of a stretch of the sound of a post, relative to the server: `/v1/posts/ID/sound.wav#t=12,17`.
pub fn sound_fragment(post_id: &str, span: &AudioSpan) -> String {
    let (start, end) = ends(span);
    format!("/v1/posts/{}/sound.wav#t={},{}", id_in_path(post_id), seconds(start), seconds(end))
}

/// Address of a cell of the picture of a post: `/v1/posts/ID/picture.png#xywh=percent:14.29,28.57,14.29,14.29`. The picture is the
/// centre square, so the cells lie side by side in it.
pub fn picture_fragment(post_id: &str, cell: &ImageCell) -> String {
    let side = 100.0 / f64::from(CELLS_PER_ROW);
    let (left, top) = (f64::from(cell.column) * side, f64::from(cell.row) * side);
    let id = id_in_path(post_id);
    format!("/v1/posts/{id}/picture.png#xywh=percent:{left:.2},{top:.2},{side:.2},{side:.2}")
}

/// Start and end in seconds, finite, not negative, in order.
pub(crate) fn ends(span: &AudioSpan) -> (f32, f32) {
    let start = if span.start_seconds.is_finite() { span.start_seconds.max(0.0) } else { 0.0 };
    let end = if span.end_seconds.is_finite() { span.end_seconds.max(start) } else { start };
    (start, end)
}

/// At most two decimals, none that say nothing.
pub(crate) fn seconds(seconds: f32) -> String {
    let text = format!("{seconds:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_whatever_stands_in_it() {
        assert_eq!(id_in_path("p-1_a.b~"), "p-1_a.b~");
        assert_eq!(id_in_path("a/b?c#d%e f"), "a%2Fb%3Fc%23d%25e%20f");
        assert_eq!(id_in_path("é\n"), "%C3%A9%0A");
        assert!(is_path_segment("...") && !is_path_segment("..") && !is_path_segment("."));
    }

    #[test]
    fn fragments_are_those_of_the_recommendation() {
        let span = |start_seconds, end_seconds| AudioSpan { start_seconds, end_seconds, weight: 0.5 };
        assert_eq!(sound_fragment("a/b", &span(12.0, 17.0)), "/v1/posts/a%2Fb/sound.wav#t=12,17");
        assert_eq!(sound_fragment("a", &span(3.5, 5.25)), "/v1/posts/a/sound.wav#t=3.5,5.25");
        assert_eq!(sound_fragment("a", &span(f32::NAN, -2.0)), "/v1/posts/a/sound.wav#t=0,0");
        assert_eq!(sound_fragment("a", &span(100.0, 110.0)), "/v1/posts/a/sound.wav#t=100,110");
        let cell = ImageCell { row: 2, column: 1, weight: 0.5 };
        let expected = "/v1/posts/a/picture.png#xywh=percent:14.29,28.57,14.29,14.29";
        assert_eq!(picture_fragment("a", &cell), expected);
    }

    proptest::proptest! {
        #[test]
        fn no_id_leaves_its_segment(id in "\\PC{0,40}") {
            let encoded = id_in_path(&id);
            let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte);
            proptest::prop_assert!(encoded.bytes().all(is_kept), "{encoded}");
        }
    }
}
