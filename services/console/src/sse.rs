//! Server-Sent Events (WHATWG HTML, 9.2.6), read piece by piece in bounded memory. Pure.

/// Bytes of a line, and of the data of an event, that are kept.
pub const MAX_BYTES: usize = 1 << 20;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its name; `message` where none is given.
    pub name: String,
    /// Its data, lines joined by line breaks.
    pub data: String,
    /// The id that stands: of this event, or the last one before it.
    pub id: Option<String>,
}

/// What comes out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SseItem {
    /// An event.
    Event(SseEvent),
    /// A sign of life without data. Its id moves on past what a filter held back.
    Alive {
        /// The id that stands.
        id: Option<String>,
    },
    /// An event had more than `MAX_BYTES` and was left out.
    TooLong,
}

/// Reads a stream.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    is_line_too_long: bool,
    /// The last byte was a carriage return: a line feed behind it belongs to it.
    after_return: bool,
    has_begun: bool,
    name: String,
    data: Option<String>,
    id: Option<String>,
    is_event_too_long: bool,
    has_comment: bool,
}

impl SseParser {
    /// Takes the next bytes, cut anywhere; gives what is complete with them. Time grows with the bytes alone.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<SseItem> {
        let mut items = Vec::new();
        let mut rest = bytes;
        while let Some((&first, after_first)) = rest.split_first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                rest = after_first;
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.keep(part);
            rest = after;
            if let Some((&terminator, behind)) = after.split_first() {
                self.after_return = terminator == b'\r';
                rest = behind;
                items.extend(self.end_line());
            }
        }
        items
    }

    fn keep(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > MAX_BYTES {
            self.is_line_too_long = true;
            self.line.clear();
        }
        if !self.is_line_too_long {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) -> Option<SseItem> {
        let line = std::mem::take(&mut self.line);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if std::mem::take(&mut self.is_line_too_long) {
            self.is_event_too_long = true;
            return None;
        }
        let line = if is_first { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line) } else { &line };
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value));
        None
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "" => self.has_comment = true,
            "event" => value.clone_into(&mut self.name),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()).filter(|id| !id.is_empty()),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) if data.len() + value.len() < MAX_BYTES => {
                    data.push('\n');
                    data.push_str(value);
                }
                Some(_) => self.is_event_too_long = true,
            },
            // `retry` is the reader's own business here; what is not known is passed over.
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<SseItem> {
        let (name, data) = (std::mem::take(&mut self.name), self.data.take());
        let has_comment = std::mem::take(&mut self.has_comment);
        if std::mem::take(&mut self.is_event_too_long) {
            return Some(SseItem::TooLong);
        }
        let id = self.id.clone();
        match data {
            Some(data) => {
                let name = if name.is_empty() { "message".to_owned() } else { name };
                Some(SseItem::Event(SseEvent { name, data, id }))
            }
            None if has_comment => Some(SseItem::Alive { id }),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Vec<SseItem> {
        SseParser::default().push(text)
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> SseItem {
        SseItem::Event(SseEvent { name: name.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) })
    }

    #[test]
    fn events_are_read_as_the_standard_has_them() {
        let text = "\u{feff}retry: 2000\n\nid: 0:1\nevent: label\ndata: {}\n\n: alive\nid: 0:2,1:7\n\ndata:a\rdata:  b\r\n\r\nevent: x\n\ndata\n\n";
        let expected = [
            event("label", "{}", Some("0:1")),
            SseItem::Alive { id: Some("0:2,1:7".to_owned()) },
            event("message", "a\n b", Some("0:2,1:7")),
            event("message", "", Some("0:2,1:7")),
        ];
        assert_eq!(read(text.as_bytes()), expected);
        assert_eq!(read(b"id: a\0b\ndata: 1\n\n"), [event("message", "1", None)], "an id with a zero is none");
        assert_eq!(read(b"data: half an event"), []);
        assert_eq!(read(b"data: \xff\n\n"), [event("message", "\u{fffd}", None)]);
    }

    #[test]
    fn an_event_without_end_is_left_out_in_bounded_memory_and_the_next_one_is_read() {
        let mut parser = SseParser::default();
        let mut items = parser.push(b"id: 0:1\ndata: ");
        for _ in 0..40 {
            items.extend(parser.push(&[b'x'; 100_000]));
            assert!(parser.line.capacity() <= 2 * MAX_BYTES, "{}", parser.line.capacity());
        }
        items.extend(parser.push(b"\n\nid: 0:2\ndata: 1\n\n"));
        assert_eq!(items, [SseItem::TooLong, event("message", "1", Some("0:2"))]);
        let line = format!("data: {}\n", "y".repeat(MAX_BYTES / 3));
        let many = format!("{}\ndata: 2\n\n", line.repeat(9));
        assert_eq!(read(many.as_bytes()), [SseItem::TooLong, event("message", "2", None)]);
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_same_comes_out(
            text in "([a-c:\0]|data: |id: |event: |: |\r|\n|\r\n|\n\n|\u{feff}|ä){0,60}",
            cuts in prop::collection::vec(1usize..9, 1..60),
        ) {
            let bytes = text.as_bytes();
            let mut parser = SseParser::default();
            let (mut items, mut at) = (Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(bytes.len());
                items.extend(parser.push(&bytes[at..end]));
                at = end;
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(items, read(bytes));
        }

        #[test]
        fn any_bytes_are_events_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}
