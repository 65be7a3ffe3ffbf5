//! The JSON Schema of a configuration file, for editors and for checks outside the program.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::{Settings, defaults};

/// JSON Schema 2020-12 of a configuration file. A file is an overlay, so no key is required; each carries its default.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Settings>().to_value();
    schema["title"] = Value::from("config.v1");
    overlay(&mut schema, &toml::Value::Table(defaults::TABLE.clone()));
    schema
}

fn overlay(schema: &mut Value, default: &toml::Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("required");
    let Some(keys) = default.as_table() else {
        object.insert("default".to_owned(), serde_json::json!(default));
        return;
    };
    let properties = object.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        if let Some(default) = keys.get(name) {
            overlay(property, default);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::KEYS;

    fn properties(schema: &Value) -> impl Iterator<Item = (String, &Value)> {
        schema["properties"].as_object().unwrap().iter().flat_map(|(section, keys)| {
            let keys = keys["properties"].as_object().unwrap().iter();
            keys.map(move |(key, property)| (format!("{section}.{key}"), property))
        })
    }

    #[test]
    fn the_written_schema_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/config.v1.json");
        let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("JTAV_WRITE_SCHEMAS").is_some_and(|value| value == "1") {
            std::fs::write(path, &text).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert_eq!(written, text, "run the tests once with JTAV_WRITE_SCHEMAS=1 and look at the difference");
    }

    #[test]
    fn every_comment_states_the_default_that_the_file_has() {
        let schema = document();
        let mut seen = 0;
        for (key, property) in properties(&schema) {
            let comment = property["description"].as_str().unwrap_or_default().replace('\n', " ");
            let Some(default) = KEYS.get(&key) else {
                continue;
            };
            let stated = match default {
                toml::Value::String(text) if text.is_empty() => "Default: empty.".to_owned(),
                toml::Value::String(text) => format!("Default: `{text}`."),
                toml::Value::Array(items) if items.is_empty() => "Default: empty.".to_owned(),
                other => format!("Default: `{other}`."),
            };
            assert!(comment.ends_with(&stated), "{key}: `{comment}` does not end with `{stated}`");
            assert_eq!(property["default"], serde_json::json!(default), "{key}");
            seen += 1;
        }
        assert_eq!(seen, KEYS.len());
    }

    #[test]
    fn no_key_is_required_and_none_may_be_added() {
        let schema = document();
        assert!(!schema.to_string().contains("\"required\""));
        for section in schema["properties"].as_object().unwrap().values() {
            assert_eq!(section["additionalProperties"], false);
        }
    }
}
