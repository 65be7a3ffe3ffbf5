//! How lines are written to what reads them: a terminal with colours, one without, or a pipe.

use std::fmt::Write as _;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;

/// What the reader of the output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Colours, and what [`Ink::Marks`] has.
    Colour,
    /// Bold and underlined letters, no colour (`NO_COLOR`).
    Marks,
    /// Letters alone: a pipe, a file, a terminal that is dumb.
    Plain,
}

impl Ink {
    /// For an output that `is_terminal`, with what the environment says of colours (<https://no-color.org>: set and not empty).
    pub fn of(is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> Self {
        if !is_terminal || term == Some("dumb") {
            return Self::Plain;
        }
        if no_color.is_some_and(|value| !value.is_empty()) { Self::Marks } else { Self::Colour }
    }

    /// `style` with what this ink can show of it.
    fn limit(self, style: Style) -> Style {
        match self {
            Self::Colour => style,
            Self::Marks => Style { fg: None, bg: None, ..style },
            Self::Plain => Style::new(),
        }
    }
}

/// Columns of the terminal that the process has; none where it has none.
pub fn window_columns() -> Option<usize> {
    ratatui::crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns))
}

/// Lines as they are written, each with its end. Escapes are those of the styles alone: whatever stands in the lines has to
/// have been made visible before.
pub fn painted(lines: &[Line<'_>], ink: Ink) -> String {
    let mut text = String::new();
    for line in lines {
        for span in &line.spans {
            let codes = codes(ink.limit(line.style.patch(span.style)));
            if codes.is_empty() {
                text.push_str(&span.content);
            } else {
                let _ = write!(text, "\x1b[{codes}m{}\x1b[0m", span.content);
            }
        }
        // What pads a column is nothing to the reader of a file.
        if ink == Ink::Plain {
            text.truncate(text.trim_end_matches(' ').len());
        }
        text.push('\n');
    }
    text
}

/// Select Graphic Rendition (ECMA-48, 8.3.117).
fn codes(style: Style) -> String {
    const MARKS: [(Modifier, u8); 4] =
        [(Modifier::BOLD, 1), (Modifier::DIM, 2), (Modifier::UNDERLINED, 4), (Modifier::REVERSED, 7)];
    let mut codes: Vec<String> =
        MARKS.iter().filter(|(mark, _)| style.add_modifier.contains(*mark)).map(|(_, code)| code.to_string()).collect();
    codes.extend(style.fg.and_then(|colour| code_of(colour, 30)));
    codes.extend(style.bg.and_then(|colour| code_of(colour, 40)));
    codes.join(";")
}

/// Of the colours that are used here: eight, and the table of 256.
fn code_of(colour: Color, base: u8) -> Option<String> {
    let plain = |offset: u8| Some((base + offset).to_string());
    match colour {
        Color::Black => plain(0),
        Color::Red => plain(1),
        Color::Green => plain(2),
        Color::Yellow => plain(3),
        Color::Blue => plain(4),
        Color::Magenta => plain(5),
        Color::Cyan => plain(6),
        Color::Indexed(index) => Some(format!("{};5;{index}", base + 8)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::style::Stylize as _;

    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them_and_marks_for_those_that_do_not() {
        assert_eq!(Ink::of(true, None, Some("xterm-256color")), Ink::Colour);
        assert_eq!(Ink::of(true, Some(""), None), Ink::Colour, "an empty NO_COLOR is none");
        assert_eq!(Ink::of(true, Some("1"), None), Ink::Marks);
        assert_eq!(Ink::of(true, None, Some("dumb")), Ink::Plain);
        assert_eq!(Ink::of(false, None, Some("xterm")), Ink::Plain);
    }

    #[test]
    fn a_pipe_is_sent_no_escape_and_no_colour_reaches_a_terminal_without() {
        let lines = [Line::from(vec!["a".red().bold(), " b".bg(Color::Indexed(226)), "  ".into()])];
        assert_eq!(painted(&lines, Ink::Colour), "\x1b[1;31ma\x1b[0m\x1b[48;5;226m b\x1b[0m  \n");
        assert_eq!(painted(&lines, Ink::Marks), "\x1b[1ma\x1b[0m b  \n");
        assert_eq!(painted(&lines, Ink::Plain), "a b\n");
    }
}
