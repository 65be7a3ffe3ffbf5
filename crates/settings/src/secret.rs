//! Values that must not be printed. Formatting and serialising mask; only `expose` gives the value.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// An address that may carry a password. Host, port and database stay readable; user, password and secret query
/// parameters are masked in `Debug`, `Display` and `Serialize`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The address with its password. Hand it to the client and to nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn masked(&self) -> String {
        // Without a scheme it is no address, and may well be a password in the wrong place.
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return if self.0.is_empty() { String::new() } else { MASK.to_owned() };
        };
        // The last `@`: a password that should have been escaped may hold another one.
        let rest = match rest.rsplit_once('@') {
            Some((_, place)) => format!("{MASK}@{place}"),
            None => rest.to_owned(),
        };
        let Some((place, query)) = rest.split_once('?') else {
            return format!("{scheme}://{rest}");
        };
        let query: Vec<String> = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((name, _)) if !matches!(name, "db" | "protocol") => format!("{name}={MASK}"),
                _ => parameter.to_owned(),
            })
            .collect();
        format!("{scheme}://{place}?{}", query.join("&"))
    }
}

impl std::fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

impl JsonSchema for SecretUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// librdkafka properties by name. Values of properties that hold secrets are masked in `Debug` and `Serialize`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Passthrough(BTreeMap<String, String>);

impl Passthrough {
    /// The properties with their secrets, in the order of their names. Hand them to librdkafka and to nothing else.
    pub fn expose(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The properties with their secrets, as a map of its own.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.0.clone()
    }

    /// Names of the properties.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Adds or replaces a property.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    fn masked(&self) -> impl Iterator<Item = (&str, &str)> {
        self.expose().map(|(name, value)| (name, if is_secret_property(name) { MASK } else { value }))
    }
}

/// Does this librdkafka property hold a secret? By the words in its name, so that a property of a later version is
/// masked too; a path to a secret (`….location`, `….file`) is none.
pub fn is_secret_property(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if name.ends_with(".location") || name.ends_with(".file") || name.ends_with(".url") {
        return false;
    }
    ["password", "secret", "passphrase", "token", "key.pem", "ssl.key", "ssl_key", "oauthbearer.config", "jaas"]
        .iter()
        .any(|word| name.contains(word))
}

impl std::fmt::Debug for Passthrough {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.masked()).finish()
    }
}

impl Serialize for Passthrough {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.masked())
    }
}

impl JsonSchema for Passthrough {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Passthrough".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Numbers and booleans are accepted and passed on as text, which is how librdkafka takes them. Objects:
        // TOML reads an unquoted `sasl.password` as a table in a table.
        schemars::json_schema!({
            "type": "object",
            "additionalProperties": { "type": ["string", "integer", "number", "boolean", "object"] },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_never_printed() {
        for (url, shown) in [
            ("redis://:canary@host:6379/0", "redis://***@host:6379/0"),
            ("rediss://user:canary@host/1", "rediss://***@host/1"),
            ("redis://canary@host", "redis://***@host"),
            ("redis://u:can@ary/canary@host", "redis://***@host"),
            ("redis+unix:///run/redis.sock?db=1&pass=canary", "redis+unix:///run/redis.sock?db=1&pass=***"),
            ("canary", "***"),
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("", ""),
        ] {
            let secret = SecretUrl::new(url);
            assert_eq!(secret.to_string(), shown);
            assert_eq!(format!("{secret:?}"), format!("{shown:?}"));
            assert_eq!(serde_json::to_value(&secret).unwrap(), shown);
            assert_eq!(secret.expose(), url);
        }
    }

    #[test]
    fn secret_librdkafka_properties_are_masked_and_paths_are_not() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
        ] {
            assert!(is_secret_property(name), "{name}");
        }
        for name in ["sasl.username", "ssl.key.location", "ssl.ca.location", "security.protocol", "compression.type"] {
            assert!(!is_secret_property(name), "{name}");
        }
        let mut properties = Passthrough::default();
        properties.insert("sasl.password", "canary");
        properties.insert("sasl.username", "jtav");
        assert_eq!(format!("{properties:?}"), r#"{"sasl.password": "***", "sasl.username": "jtav"}"#);
        assert_eq!(
            serde_json::to_value(&properties).unwrap(),
            serde_json::json!({"sasl.password": "***", "sasl.username": "jtav"})
        );
    }
}
