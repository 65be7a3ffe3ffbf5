use std::fmt::Write as _;

use serde_json::{Map, json};
use toml::{Table, Value};

use crate::Loaded;
use crate::defaults::PASSTHROUGH;

impl Loaded {
    /// The configuration in force as TOML, each value with its origin as a comment. Secrets are masked, so the text
    /// may be shown, and is not for loading.
    pub fn show_effective(&self) -> String {
        let mut text = String::new();
        for (section, keys) in self.masked() {
            let keys = keys.as_table().into_iter().flatten();
            let (tables, values): (Vec<_>, Vec<_>) = keys.partition(|(_, value)| value.is_table());
            _ = writeln!(text, "{}[{section}]", if text.is_empty() { "" } else { "\n" });
            for (key, value) in values {
                _ = writeln!(text, "{key} = {value}  # {}", self.origin_text(&format!("{section}.{key}")));
            }
            for (name, properties) in tables {
                _ = writeln!(text, "\n[{section}.{name}]");
                for (key, value) in properties.as_table().into_iter().flatten() {
                    let origin = self.origin_text(&format!("{section}.{name}.{key}"));
                    _ = writeln!(text, "{} = {value}  # {origin}", Value::from(key.as_str()));
                }
            }
        }
        text
    }

    /// The same as one line of JSON: dotted key to `value` and `origin`.
    pub fn show_effective_json(&self) -> String {
        let mut shown = Map::new();
        for (section, keys) in self.masked() {
            for (key, value) in keys.as_table().into_iter().flatten() {
                let key = format!("{section}.{key}");
                match value.as_table().filter(|_| key == PASSTHROUGH) {
                    Some(properties) => {
                        for (name, value) in properties {
                            self.add_json(&mut shown, format!("{key}.{name}"), value);
                        }
                    }
                    None => self.add_json(&mut shown, key, value),
                }
            }
        }
        serde_json::Value::Object(shown).to_string()
    }

    fn add_json(&self, shown: &mut Map<String, serde_json::Value>, key: String, value: &Value) {
        let origin = self.origin_text(&key);
        shown.insert(key, json!({ "value": value, "origin": origin }));
    }

    fn origin_text(&self, key: &str) -> String {
        self.origin(key).map_or_else(|| "program".to_owned(), ToString::to_string)
    }

    /// Serialising is what masks: there is no other way from the settings to text.
    fn masked(&self) -> Table {
        Table::try_from(&self.settings).expect("Invariant: settings are numbers, texts and lists of texts")
    }
}
