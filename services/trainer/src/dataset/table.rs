//! CSV with a header (RFC 4180: commas, double quotes, line feeds inside quotes).

use std::path::Path;

use super::error::DatasetError;
use super::post::{MOODS, Split};

/// A file of rows, its columns known by name.
pub(super) struct Table<'a> {
    path: &'a Path,
    columns: Vec<String>,
    /// With the line on which each begins.
    rows: Vec<(usize, csv::StringRecord)>,
}

impl<'a> Table<'a> {
    /// Reads a whole file. Every column must be one of `required` or `optional`, since a misspelt one would silently
    /// take a modality away.
    pub fn parse(path: &'a Path, bytes: &[u8], required: &[&str], optional: &[&str]) -> Result<Self, DatasetError> {
        let fail = |line, reason| DatasetError::Line { path: path.to_owned(), line, reason };
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let mut reader = csv::Reader::from_reader(bytes);
        let header = reader.headers().map_err(|error| fail(1, error.to_string()))?;
        let columns: Vec<String> = header.iter().map(|name| name.trim().to_lowercase()).collect();
        let known = || [required, optional].concat().join(", ");
        for (at, name) in columns.iter().enumerate() {
            if !required.contains(&name.as_str()) && !optional.contains(&name.as_str()) {
                return Err(fail(1, format!("column `{name}` is unknown; there may be {}", known())));
            }
            if columns[..at].contains(name) {
                return Err(fail(1, format!("column `{name}` stands twice")));
            }
        }
        if let Some(missing) = required.iter().find(|name| !columns.iter().any(|column| column == *name)) {
            return Err(fail(1, format!("column `{missing}` is missing; there may be {}", known())));
        }
        let (mut rows, mut lines) = (Vec::new(), Lines::new(bytes));
        for record in reader.records() {
            let record = record.map_err(|error| fail(lines.at(error.position()), error.to_string()))?;
            rows.push((lines.at(record.position()), record));
        }
        Ok(Self { path, columns, rows })
    }

    /// All rows, in file order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, record)| Row { table: self, line: *line, record })
    }
}

#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    table: &'a Table<'a>,
    line: usize,
    record: &'a csv::StringRecord,
}

impl<'a> Row<'a> {
    /// Line of the file on which it begins, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The trimmed value of a column; `None` for an empty one, and where there is no such column.
    pub fn get(&self, column: &str) -> Option<&'a str> {
        let at = self.table.columns.iter().position(|name| name == column)?;
        self.record.get(at).map(str::trim).filter(|value| !value.is_empty())
    }

    /// A value that must be there.
    pub fn require(&self, column: &str) -> Result<&'a str, DatasetError> {
        self.get(column).ok_or_else(|| self.fail(format!("`{column}` is empty")))
    }

    /// The split, where the row names one.
    pub fn split(&self) -> Result<Option<Split>, DatasetError> {
        let parse = |name| {
            Split::parse(name).ok_or_else(|| self.fail(format!("split `{name}`: use train, validation or test")))
        };
        self.get("split").map(parse).transpose()
    }

    /// The mood quadrant, where the row names one in this column.
    pub fn quadrant(&self, column: &str) -> Result<Option<usize>, DatasetError> {
        let parse = |mood: &str| {
            let at = MOODS.iter().position(|&name| name == mood);
            at.ok_or_else(|| self.fail(format!("{column} `{mood}`: use Q1 to Q4")))
        };
        self.get(column).map(parse).transpose()
    }

    /// An error on this line.
    pub fn fail(&self, reason: impl Into<String>) -> DatasetError {
        DatasetError::Line { path: self.table.path.to_owned(), line: self.line(), reason: reason.into() }
    }
}

/// Counts lines as records go by. The reader's own count is one short where lines end in CR LF, and at blank lines.
struct Lines<'a> {
    bytes: &'a [u8],
    counted: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, counted: 0, line: 1 }
    }

    /// Line of the record at `position`, from 1; positions ascend.
    fn at(&mut self, position: Option<&csv::Position>) -> usize {
        let from = position.map_or(0, |position| position.byte() as usize).min(self.bytes.len());
        let blank = self.bytes[from..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.counted.min(from + blank)..from + blank;
        self.line += self.bytes[passed].iter().filter(|&&byte| byte == b'\n').count();
        self.counted = self.counted.max(from + blank);
        self.line
    }
}

/// `positive` or `1`, `negative` or `0`.
pub(super) fn polarity(value: &str) -> Result<bool, String> {
    match value.to_lowercase().as_str() {
        "1" | "positive" => Ok(true),
        "0" | "negative" => Ok(false),
        _ => Err(format!("`{value}`: use positive or negative, 1 or 0")),
    }
}
