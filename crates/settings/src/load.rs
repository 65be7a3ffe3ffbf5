use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::Deserialize as _;
use toml::{Table, Value};

use crate::defaults::{self, KEYS, PASSTHROUGH};
use crate::layer::{self, Assignment, Given};
use crate::nearest::nearest;
use crate::{Origin, Problem, Settings, SettingsError};

/// Gathers the layers and reads them in the order of precedence, whatever the order of the calls: defaults, files,
/// environment, flags. Within a kind the later one wins.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    files: Vec<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    flags: Vec<(String, String)>,
}

impl Loader {
    /// The defaults alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a configuration file (TOML).
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// Adds variables; those that do not begin with `JTAV__` are passed over.
    pub fn environment<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Adds the variables of this process.
    pub fn process_environment(self) -> Self {
        self.environment(std::env::vars_os())
    }

    /// Adds a `--set key=value`.
    pub fn set(mut self, assignment: impl Into<String>) -> Self {
        self.flags.push(("--set".to_owned(), assignment.into()));
        self
    }

    /// Adds a flag of its own that sets `key`, for example `--device`.
    pub fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        self.flags.push((flag.to_owned(), format!("{key}={value}")));
        self
    }

    /// Reads all layers and checks the rules between the values.
    pub fn load(self) -> Result<Loaded, SettingsError> {
        self.parse()?.checked()
    }

    /// Reads all layers without the rules: for showing a configuration that breaks one.
    pub fn parse(self) -> Result<Loaded, SettingsError> {
        let mut problems = Vec::new();
        let mut layered = Vec::new();
        for path in &self.files {
            layered.extend(layer::of_file(path)?);
        }
        let (assignments, of_variables) = layer::of_environment(&self.variables);
        layered.extend(assignments);
        problems.extend(of_variables);
        for (flag, written) in &self.flags {
            match layer::of_flag(flag, written) {
                Ok(assignment) => layered.push(assignment),
                Err(problem) => problems.push(problem),
            }
        }
        let mut values = BTreeMap::new();
        for assignment in layered {
            match typed(&assignment) {
                Ok(value) => {
                    values.insert(assignment.key, (value, assignment.origin));
                }
                Err(problem) => problems.push(problem),
            }
        }
        assemble(values, problems)
    }
}

/// Settings with the origin of every value.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the value of a dotted key came from; `None` for a key that does not exist.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }

    /// Checks the rules between the values; violations name the origins.
    pub fn checked(self) -> Result<Self, SettingsError> {
        let Err(mut violations) = self.settings.validate() else {
            return Ok(self);
        };
        for violation in &mut violations {
            violation.origins = violation.keys.iter().filter_map(|key| self.origin(key).cloned()).collect();
        }
        Err(SettingsError::Rules(violations))
    }
}

/// Puts the checked values over the defaults.
fn assemble(values: BTreeMap<String, (Value, Origin)>, mut problems: Vec<Problem>) -> Result<Loaded, SettingsError> {
    let mut table = defaults::TABLE.clone();
    let mut origins: BTreeMap<String, Origin> = KEYS.keys().map(|key| (key.clone(), Origin::Default)).collect();
    for (key, (value, origin)) in &values {
        put(&mut table, key, value.clone());
        origins.insert(key.clone(), origin.clone());
    }
    match Settings::deserialize(table) {
        Ok(settings) if problems.is_empty() => Ok(Loaded { settings, origins }),
        Ok(_) => Err(SettingsError::Problems(problems)),
        Err(error) => {
            let before = problems.len();
            problems.extend(culprits(&values));
            if problems.len() == before {
                let key = "(all)".to_owned();
                problems.push(Problem::Value { key, origin: Origin::Default, message: error.message().to_owned() });
            }
            Err(SettingsError::Problems(problems))
        }
    }
}

/// serde names neither the key nor its origin, so each value is tried alone over the defaults, which are known good.
fn culprits(values: &BTreeMap<String, (Value, Origin)>) -> Vec<Problem> {
    let alone = |(key, (value, origin)): (&String, &(Value, Origin))| {
        let mut table = defaults::TABLE.clone();
        put(&mut table, key, value.clone());
        let message = Settings::deserialize(table).err()?.message().to_owned();
        Some(Problem::Value { key: key.clone(), origin: origin.clone(), message })
    };
    values.iter().filter_map(alone).collect()
}

fn put(table: &mut Table, key: &str, value: Value) {
    let property = key.strip_prefix(PASSTHROUGH).and_then(|rest| rest.strip_prefix('.'));
    let (path, name) = match property {
        Some(property) => (PASSTHROUGH, property),
        None => key.rsplit_once('.').unwrap_or(("", key)),
    };
    let mut place = table;
    for part in path.split('.') {
        let Some(inner) = place.get_mut(part).and_then(Value::as_table_mut) else {
            return;
        };
        place = inner;
    }
    place.insert(name.to_owned(), value);
}

/// The value as its key wants it, or what is wrong with key or type.
fn typed(assignment: &Assignment) -> Result<Value, Problem> {
    let Assignment { key, value, origin } = assignment;
    let problem = |message: String| Problem::Value { key: key.clone(), origin: origin.clone(), message };
    if key.strip_prefix(PASSTHROUGH).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1) {
        return match value {
            Given::Text(text) | Given::Toml(Value::String(text)) => Ok(Value::String(text.clone())),
            Given::Toml(scalar @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_))) => {
                Ok(Value::String(scalar.to_string()))
            }
            Given::Toml(other) => Err(problem(format!("expected a text or a number, found {}", type_name(other)))),
        };
    }
    if let Some(default) = KEYS.get(key) {
        return match value {
            Given::Text(text) => read_text(default, text).map_err(problem),
            Given::Toml(given) if given.same_type(default) => Ok(given.clone()),
            Given::Toml(given) => Err(problem(format!("expected {}, found {}", type_name(default), type_name(given)))),
        };
    }
    if layer::is_section(key) {
        return Err(problem("this is a section: set one of its keys".to_owned()));
    }
    let closest = nearest(key, KEYS.keys().map(String::as_str));
    let in_environment = matches!(origin, Origin::Environment(_));
    let written_as = |key: &str| if in_environment { layer::variable_of_key(key) } else { key.to_owned() };
    let written = match origin {
        Origin::Environment(variable) => variable.clone(),
        _ => key.clone(),
    };
    Err(Problem::UnknownKey { written, origin: origin.clone(), nearest: written_as(closest) })
}

/// Reads a text of the environment or of a flag as the type of the default. Lists are comma-separated, or TOML.
fn read_text(default: &Value, text: &str) -> Result<Value, String> {
    let expected = || format!("expected {}, found `{text}`", type_name(default));
    match default {
        Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Integer(_) => text.parse().map(Value::Integer).map_err(|_| expected()),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| expected()),
        Value::Array(_) if !text.starts_with('[') => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(Value::from).collect()))
        }
        _ => {
            let table: Table = toml::from_str(&format!("value = {text}")).map_err(|_| expected())?;
            table.get("value").filter(|value| value.same_type(default)).cloned().ok_or_else(expected)
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}
