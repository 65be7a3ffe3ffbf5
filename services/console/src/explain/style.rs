//! How titles, remarks and what matters less look.

use jtav_text::terminal::visible;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use crate::wrap::wrap;

pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// A remark, in lines of at most `width` columns.
pub(super) fn note(text: &str, width: usize) -> Vec<Line<'static>> {
    wrap("  ", &[(visible(text), DIM)], width)
}
