use anyhow::{Result, anyhow};
use jsonschema::Validator;
use serde_json::Value;

/// A JSON Schema of draft 2020-12, as somebody who only has the document would apply it.
#[derive(Debug)]
pub struct Schema(Validator);

impl Schema {
    /// Refuses a document that is no schema itself.
    pub fn new(document: &Value) -> Result<Self> {
        jsonschema::draft202012::meta::validate(document).map_err(|error| anyhow!("no JSON Schema: {error}"))?;
        Ok(Self(jsonschema::draft202012::new(document)?))
    }

    /// The first thing in `instance` that breaks the schema, in words.
    pub fn check(&self, instance: &Value) -> Result<()> {
        self.0.validate(instance).map_err(|error| anyhow!("{error} at {}", error.instance_path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_that_is_no_schema_is_refused_and_a_wrong_value_is_named() {
        assert!(Schema::new(&json!({ "type": "nonsense" })).is_err());
        let schema = Schema::new(&json!({ "properties": { "count": { "type": "integer" } } })).unwrap();
        assert!(schema.check(&json!({ "count": 1 })).is_ok());
        assert!(schema.check(&json!({ "count": "x" })).unwrap_err().to_string().contains("/count"));
    }
}
