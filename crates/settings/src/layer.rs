//! One layer of configuration at a time: what it sets, under which key, and where exactly.
//!
//! Our own and not `figment` or `config`: those know the file of a value and not its line, which every message here names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::defaults::{KEYS, PASSTHROUGH};
use crate::{Origin, Problem, SettingsError};

/// Variables that begin like this are ours, and an unknown one is an error. `JTAV_HOME` and `JTAV_DATA_DIR`, which
/// are no settings, do not.
const VARIABLE_PREFIX: &str = "JTAV__";

/// One key that a layer sets.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub key: String,
    pub value: Given,
    pub origin: Origin,
}

/// A value as it was given.
#[derive(Debug)]
pub(crate) enum Given {
    /// From a file: it has a type.
    Toml(Value),
    /// From the environment or a flag: the key decides how it is read.
    Text(String),
}

/// The keys of a configuration file, in the order they stand there.
pub(crate) fn of_file(path: &Path) -> Result<Vec<Assignment>, SettingsError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| SettingsError::ReadFile { path: path.to_owned(), source })?;
    // Not the error's own text: it quotes the line, and a secret may stand there.
    let syntax = |error: toml::de::Error| SettingsError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_at(&text, span.start)),
        message: error.message().to_owned(),
    };
    let spans = DeTable::parse(&text).map_err(syntax)?;
    let mut lines = BTreeMap::new();
    number_lines(spans.get_ref(), "", &text, &mut lines);
    let table: Table = toml::from_str(&text).map_err(syntax)?;
    let mut leaves = Vec::new();
    flatten(table, "", &mut leaves);
    let located = |(key, value): (String, Value)| {
        let line = lines.get(&key).copied().unwrap_or(1);
        Assignment { key, value: Given::Toml(value), origin: Origin::File { path: path.to_owned(), line } }
    };
    Ok(leaves.into_iter().map(located).collect())
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn flatten(table: Table, prefix: &str, leaves: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = join(prefix, &name);
        match value {
            // Also below librdkafka, where TOML reads `sasl.password = …` as a table in a table.
            Value::Table(inner) if !KEYS.contains_key(&key) && (!inner.is_empty() || is_section(&key)) => {
                flatten(inner, &key, leaves);
            }
            value => leaves.push((key, value)),
        }
    }
}

fn number_lines(table: &DeTable<'_>, prefix: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (name, value) in table.iter() {
        let key = join(prefix, name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            number_lines(inner, &key, text, lines);
        }
        lines.insert(key, line_at(text, name.span().start));
    }
}

/// Line of a byte, from 1.
fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

/// Is this the name of a table and not of a value?
pub(crate) fn is_section(key: &str) -> bool {
    key == PASSTHROUGH || KEYS.keys().any(|known| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// The dotted key of a variable without its prefix. Under librdkafka `_` stands for the dots of the property: none of
/// librdkafka's text properties has an underscore.
fn key_of_variable(name: &str) -> String {
    let key = name.to_ascii_lowercase().replace("__", ".");
    match key.strip_prefix(PASSTHROUGH).and_then(|rest| rest.strip_prefix('.')) {
        Some(property) => format!("{PASSTHROUGH}.{}", property.replace('_', ".")),
        None => key,
    }
}

/// The variable that sets a key.
pub(crate) fn variable_of_key(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// The keys that the environment sets. Variables of others are passed over.
pub(crate) fn of_environment(variables: &[(OsString, OsString)]) -> (Vec<Assignment>, Vec<Problem>) {
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut problems = Vec::new();
    let mut seen = BTreeMap::new();
    for (variable, value) in variables {
        let Some(name) = variable.to_str().and_then(|variable| variable.strip_prefix(VARIABLE_PREFIX)) else {
            continue;
        };
        let variable = format!("{VARIABLE_PREFIX}{name}");
        let origin = Origin::Environment(variable.clone());
        let plain_key = key_of_variable(name);
        let in_file = name
            .strip_suffix("_FILE")
            .or_else(|| name.strip_suffix("_file"))
            .map(key_of_variable)
            .filter(|key| !KEYS.contains_key(&plain_key) && !is_section(key));
        let key = in_file.clone().unwrap_or(plain_key);
        let Some(text) = value.to_str() else {
            let message = "the value is not UTF-8".to_owned();
            problems.push(Problem::Value { key, origin, message });
            continue;
        };
        let text = match in_file.map(|_| PathBuf::from(text)) {
            None => text.to_owned(),
            Some(path) => match std::fs::read_to_string(&path) {
                // Editors and `echo` end a file with a newline that is not part of the secret.
                Ok(content) => content.trim_end_matches(['\r', '\n']).to_owned(),
                Err(error) => {
                    problems.push(Problem::ValueFile { variable, path, reason: error.to_string() });
                    continue;
                }
            },
        };
        if seen.insert(key.clone(), ()).is_some() {
            problems.push(Problem::SetTwice { variable: variable.trim_end_matches("_FILE").to_owned() });
            continue;
        }
        assignments.push(Assignment { key, value: Given::Text(text), origin });
    }
    (assignments, problems)
}

/// The key that a flag `key=value` sets.
pub(crate) fn of_flag(flag: &str, written: &str) -> Result<Assignment, Problem> {
    let (key, value) = written
        .split_once('=')
        .ok_or_else(|| Problem::FlagForm { flag: flag.to_owned(), written: written.to_owned() })?;
    let value = Given::Text(value.trim().to_owned());
    Ok(Assignment { key: key.trim().to_owned(), value, origin: Origin::Flag(flag.to_owned()) })
}
