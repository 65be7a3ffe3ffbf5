use std::path::PathBuf;

use crate::Origin;

/// Something wrong with one key of one layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No such key.
    #[error("unknown key `{written}` ({origin}); the nearest key is `{nearest}`")]
    UnknownKey {
        /// As it was written: a dotted key, or a variable's name.
        written: String,
        origin: Origin,
        /// The key that looks most like it, written the same way.
        nearest: String,
    },
    /// The value is not of the key's type.
    #[error("`{key}` ({origin}): {message}")]
    Value {
        /// Dotted key.
        key: String,
        origin: Origin,
        /// What was expected and what is there.
        message: String,
    },
    /// A variable is set both directly and through a file.
    #[error("`{variable}` and `{variable}_FILE` are both set: unset one")]
    SetTwice {
        /// Without the suffix.
        variable: String,
    },
    /// The file that a `…_FILE` variable names cannot be read.
    #[error("{variable} names `{}`, which cannot be read: {reason}", path.display())]
    ValueFile {
        /// With the suffix.
        variable: String,
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A `--set` without `=`.
    #[error("{flag} takes key=value, such as kafka.brokers=broker:9092; `{written}` has no `=`")]
    FlagForm {
        flag: String,
        /// What was given.
        written: String,
    },
}

/// A rule between values that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The keys it is about.
    pub keys: Vec<String>,
    /// The rule, with the values that break it. Secrets are masked.
    pub message: String,
    /// Where those keys got their values, in the same order; empty for settings that were not loaded.
    pub origins: Vec<Origin>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for (index, (key, origin)) in self.keys.iter().zip(&self.origins).enumerate() {
            f.write_str(if index == 0 { " (" } else { "; " })?;
            write!(f, "{key}: {origin}")?;
        }
        f.write_str(if self.origins.is_empty() { "" } else { ")" })
    }
}

/// Settings that cannot be used. Everything that is wrong is reported at once.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration `{}`: {source}", path.display())]
    ReadFile { path: PathBuf, source: std::io::Error },
    /// The configuration file is not TOML.
    #[error("`{}` is not TOML: line {line}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What was expected.
        message: String,
    },
    /// Keys or values that are wrong by themselves.
    #[error("{}", lines("the configuration has", "problem", .0))]
    Problems(Vec<Problem>),
    /// Values that do not fit together.
    #[error("{}", lines("the configuration breaks", "rule", .0))]
    Rules(Vec<Violation>),
}

fn lines<T: std::fmt::Display>(verb: &str, noun: &str, items: &[T]) -> String {
    let plural = if items.len() == 1 { "" } else { "s" };
    let mut text = format!("{verb} {} {noun}{plural}:", items.len());
    for item in items {
        text += &format!("\n  - {item}");
    }
    text
}

impl SettingsError {
    /// Exit code for a program that ends with it: 2 (usage) if only flags are wrong, else 78 (`EX_CONFIG` of
    /// sysexits.h).
    pub fn exit_code(&self) -> u8 {
        let by_flag = |problem: &Problem| match problem {
            Problem::UnknownKey { origin, .. } | Problem::Value { origin, .. } => matches!(origin, Origin::Flag(_)),
            Problem::FlagForm { .. } => true,
            Problem::SetTwice { .. } | Problem::ValueFile { .. } => false,
        };
        match self {
            SettingsError::Problems(problems) if problems.iter().all(by_flag) => 2,
            _ => 78,
        }
    }

    /// Never: somebody has to change something first.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
