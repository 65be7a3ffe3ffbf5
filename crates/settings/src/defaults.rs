use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize as _;
use toml::{Table, Value};

use crate::Settings;

/// The defaults as they are written, with a comment for every key.
pub const DEFAULT_TOML: &str = include_str!("../../../config/default.toml");

/// Keys below this one are librdkafka's, with dots in their names, and not ours to know.
pub(crate) const PASSTHROUGH: &str = "kafka.librdkafka";

/// The embedded file as a table.
pub(crate) static TABLE: LazyLock<Table> =
    LazyLock::new(|| DEFAULT_TOML.parse().expect("Invariant: the embedded defaults are TOML"));

/// Every dotted key with its default, which also tells its type.
pub(crate) static KEYS: LazyLock<BTreeMap<String, &'static Value>> = LazyLock::new(|| {
    let keys_of = |(section, keys): (&String, &'static Value)| {
        let section = section.clone();
        keys.as_table().into_iter().flatten().map(move |(key, value)| (format!("{section}.{key}"), value))
    };
    TABLE.iter().flat_map(keys_of).filter(|(key, _)| key != PASSTHROUGH).collect()
});

impl Default for Settings {
    fn default() -> Self {
        Settings::deserialize(TABLE.clone()).expect("Invariant: the embedded defaults are settings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_every_rule() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn the_defaults_are_those_the_design_names() {
        let settings = Settings::default();
        assert_eq!(settings.ingest.max_in_flight_posts, 512);
        assert_eq!(settings.router.post_deadline().as_secs(), 30);
        assert_eq!(settings.shutdown.shutdown_timeout().as_secs(), 20);
        assert_eq!(settings.admin.listen.port(), 9600);
        assert_eq!(settings.kafka.input_topic, "posts");
        assert_eq!(settings.kafka.group_instance_id, None);
        assert!(settings.media.allow.is_empty());
        assert!(!settings.model.stub);
    }

    #[test]
    fn every_key_of_the_types_is_in_the_file_and_the_other_way_round() {
        let of_types = toml::Table::try_from(Settings::default()).unwrap();
        let keys = |table: &Table| -> Vec<String> {
            let sections = table
                .iter()
                .flat_map(|(section, keys)| keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}")));
            sections.collect()
        };
        assert_eq!(keys(&of_types), keys(&TABLE), "same keys, in the same order");
        assert!(KEYS.len() > 50);
    }

    #[test]
    fn every_key_of_the_file_has_a_comment_above_it() {
        let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
        let mut seen = 0;
        for (index, line) in lines.iter().enumerate() {
            if !line.starts_with('#') && line.contains(" = ") {
                assert!(lines[index - 1].starts_with("# "), "no comment above `{line}`");
                seen += 1;
            }
        }
        assert_eq!(seen, KEYS.len());
    }
}
