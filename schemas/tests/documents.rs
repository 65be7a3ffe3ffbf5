//! The JSON Schema files beside this crate are those of its types, and a change to them is never one that breaks.

use std::path::PathBuf;

use jtav_schemas::document::documents;
use jtav_testkit::Schema;
use serde_json::{Value, json};

fn file_of(stem: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("{stem}.json"))
}

const HOW_TO: &str =
    "write the files anew with\n  JTAV_WRITE_SCHEMAS=1 cargo test --release -p jtav-schemas --test documents";

/// With `JTAV_WRITE_SCHEMAS=1` it writes the files, unless that would break readers or records that exist.
#[test]
fn the_schema_files_are_those_of_the_types() {
    let write = std::env::var("JTAV_WRITE_SCHEMAS").is_ok_and(|value| value == "1");
    for (stem, document) in documents() {
        let (path, text) = (file_of(stem), format!("{document:#}\n"));
        let kept = std::fs::read_to_string(&path).ok();
        if kept.as_deref() == Some(text.as_str()) {
            continue;
        }
        assert!(write, "{} is not what the types say; {HOW_TO}", path.display());
        if let Some(old) = kept.and_then(|kept| serde_json::from_str(&kept).ok()) {
            let mut broken = Vec::new();
            compare(stem, &old, &document, &mut broken);
            assert!(
                broken.is_empty(),
                "{stem} would break what is published already; give the record a new version, or, if no record of \
                 it was ever published, delete the file first:\n  {}",
                broken.join("\n  ")
            );
        }
        std::fs::write(&path, text).unwrap();
    }
}

/// Lists what records of the old schema, or readers of them, would not survive. New optional fields and new values of
/// an enumeration are allowed: readers must put up with both.
fn compare(path: &str, old: &Value, new: &Value, broken: &mut Vec<String>) {
    for key in ["type", "$ref", "additionalProperties"] {
        if old.get(key) != new.get(key) && (old.get(key).is_some() || key != "type") {
            broken.push(format!("{path}: `{key}` changes"));
        }
    }
    for key in ["minimum", "maximum", "minLength", "maxLength", "pattern"] {
        if new.get(key).is_some() && old.get(key) != new.get(key) {
            broken.push(format!("{path}: `{key}` becomes {}", new[key]));
        }
    }
    let (old_required, new_required) = (names(old, "required"), names(new, "required"));
    for name in new_required.iter().filter(|name| !old_required.contains(name)) {
        broken.push(format!("{path}.{name} becomes required; old records lack it"));
    }
    for name in old_required.iter().filter(|name| !new_required.contains(name)) {
        broken.push(format!("{path}.{name} becomes optional; readers count on it"));
    }
    let new_values = values(new);
    for value in values(old).iter().filter(|value| !new_values.contains(value)) {
        broken.push(format!("{path}: value {value} is gone"));
    }
    for group in ["properties", "$defs"] {
        for (name, old) in old.get(group).and_then(Value::as_object).into_iter().flatten() {
            match new.get(group).and_then(|group| group.get(name)) {
                Some(new) => compare(&format!("{path}.{name}"), old, new, broken),
                None => broken.push(format!("{path}.{name} is gone")),
            }
        }
    }
    if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
        compare(&format!("{path}[]"), old, new, broken);
    }
    let (old, new) = (old.get("anyOf").and_then(Value::as_array), new.get("anyOf").and_then(Value::as_array));
    for (old, new) in old.into_iter().flatten().zip(new.into_iter().flatten()) {
        compare(path, old, new, broken);
    }
}

fn names(schema: &Value, key: &str) -> Vec<String> {
    let names = schema.get(key).and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Values of an enumeration, whichever way it is written.
fn values(schema: &Value) -> Vec<Value> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten().cloned();
    let variants = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    listed
        .chain(variants.flat_map(|variant| variant.get("const").cloned().into_iter().chain(values(variant))))
        .collect()
}

#[test]
fn a_change_that_breaks_is_recognised_and_an_addition_is_not() {
    let old = json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": { "type": "string" },
            "count": { "type": "integer" },
            "label": { "oneOf": [{ "const": "a" }, { "const": "b" }] },
            "parts": { "type": "array", "items": { "$ref": "#/$defs/Part" } },
        },
        "$defs": { "Part": { "type": "object", "properties": { "url": { "type": "string" } } } },
    });
    let found = |change: fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        let mut broken = Vec::new();
        compare("r", &old, &new, &mut broken);
        broken
    };
    assert_eq!(found(|_| {}), Vec::<String>::new());
    assert_eq!(found(|s| s["properties"]["more"] = json!({ "type": "string" })), Vec::<String>::new());
    assert_eq!(
        found(|s| s["properties"]["label"]["oneOf"] = json!([{ "const": "a" }, { "const": "b" }, { "const": "c" }])),
        Vec::<String>::new()
    );
    assert_eq!(found(|s| s["required"] = json!(["id", "count"])).len(), 1);
    assert_eq!(found(|s| s["required"] = json!([])).len(), 1);
    assert_eq!(found(|s| s["properties"]["count"]["type"] = json!("string")).len(), 1);
    assert_eq!(found(|s| s["properties"]["id"]["maxLength"] = json!(3)).len(), 1);
    assert_eq!(found(|s| s["properties"]["label"]["oneOf"][0] = json!({ "const": "c" })).len(), 1);
    assert_eq!(found(|s| s["properties"]["parts"]["items"]["$ref"] = json!("#/$defs/Other")).len(), 1);
    assert_eq!(found(|s| s["$defs"]["Part"]["properties"] = json!({})).len(), 1);
    assert_eq!(found(|s| s["additionalProperties"] = json!(false)).len(), 1);
}

#[test]
fn every_document_is_a_json_schema_of_2020_12_with_its_title() {
    for (stem, document) in documents() {
        Schema::new(&document).unwrap_or_else(|error| panic!("{stem}: {error}"));
        assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema", "{stem}");
        assert_eq!(document["title"], stem);
    }
}

#[test]
fn the_document_of_the_redis_keys_names_every_key_and_field() {
    use jtav_schemas::redis_key::{
        ENCODINGS_KEY, RESTORED_KEY, encoding_key, erased_key, field, label_key, models_key, vectors_key,
        vectors_of_key,
    };
    let document = include_str!("../redis-keys.md");
    for key in [label_key("<post_id>", "<model_version>"), erased_key("<post_id>"), models_key("<post_id>")] {
        assert!(document.contains(&format!("`{key}`")), "{key}");
    }
    let encoding = encoding_key("<model_version>", jtav_schemas::Modality::Image, &[0; 32]);
    let encoding = encoding.replace("image", "<modality>").replace(&"0".repeat(64), "<content_hash>");
    for key in [encoding.as_str(), ENCODINGS_KEY, RESTORED_KEY] {
        assert!(document.contains(&format!("`{key}`")), "{key}");
    }
    let vectors = vectors_key("<model_version>", "<kind>", 7).replace('7', "<bucket_ms>");
    for key in [vectors, vectors_of_key("<post_id>")] {
        assert!(document.contains(&format!("`{key}`")), "{key}");
    }
    for name in [
        field::REVISION,
        field::SOURCE,
        field::LABEL,
        field::CERTAIN,
        field::PROBABILITY,
        field::P_NEGATIVE,
        field::P_NEUTRAL,
        field::P_POSITIVE,
        field::VALENCE,
        field::LANG,
        field::SENTIMENT,
        field::EVENT_ID,
        field::U,
        field::TEXT,
        field::AUDIO,
        field::IMAGE,
        field::SEMANTIC,
        field::LABELLED_AT_MS,
    ] {
        assert!(document.contains(&format!("| `{name}` |")), "{name}");
    }
}
