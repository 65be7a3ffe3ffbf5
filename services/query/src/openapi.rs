//! The OpenAPI 3.1 document: paths from the handlers, components from the records' own JSON Schemas, so that there is one
//! truth of each.

use std::sync::LazyLock;

use actix_web::http::Method;
use jtav_schemas::PostV1;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use jtav_explain::Explanation;

use crate::route::Asked;
use crate::routes::{
    explanation, feed, health, label, letters, media, models, neighbours, posts, songs, status, stream,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "jtav",
        description = "Labels of a live feed: ask for a post, see why, find what is like it, follow what is labelled.\n\nEvery answer that is an error is `application/problem+json` (RFC 9457) with `reason`, a code for programs. Keys go into `Authorization: Bearer KEY`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        posts::get, posts::batch, explanation::get, media::picture, media::sound, media::spectrogram, label::post, neighbours::get, neighbours::post, songs::image2song, stream::get, feed::get, status::get, models::get, letters::get, health::healthz,
        health::readyz, health::metrics,
    ),
    tags(
        (name = "posts", description = "Labels, and why"),
        (name = "vectors", description = "What is like what"),
        (name = "stream", description = "What is labelled now"),
        (name = "operators", description = "How things are"),
    ),
)]
struct Paths;

/// As RFC 9457 has it, with the code.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "it describes what `problem::Problem` writes")]
struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    r#type: Option<String>,
    /// The status in words.
    title: Option<String>,
    /// The status.
    status: u16,
    /// What happened, and what to do next.
    detail: Option<String>,
    /// A code for programs.
    reason: String,
    /// The id of the request, as in `X-Request-Id` and in the server's log.
    request_id: Option<String>,
}

/// A document with its text.
struct Written(Value, String);

static WITH_KEYS: LazyLock<Written> = LazyLock::new(|| write(true));
static WITHOUT_KEYS: LazyLock<Written> = LazyLock::new(|| write(false));

fn write(needs_key: bool) -> Written {
    let document = build(needs_key);
    let text = document.to_string();
    Written(document, text)
}

fn written(needs_key: bool) -> &'static Written {
    if needs_key { &WITH_KEYS } else { &WITHOUT_KEYS }
}

/// The document as it is served by a server whose readers need a key, or by one whose readers do not.
pub fn text(needs_key: bool) -> &'static str {
    &written(needs_key).1
}

/// The document.
pub fn document(needs_key: bool) -> &'static Value {
    &written(needs_key).0
}

fn build(needs_key: bool) -> Value {
    let mut document = serde_json::to_value(Paths::openapi()).unwrap_or_default();
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["components"]["schemas"] = schemas();
    document["components"]["securitySchemes"] = json!({ "key": { "type": "http", "scheme": "bearer" } });
    document["servers"] = json!([{ "url": "/", "description": "Whoever serves this document" }]);
    // Operations say more (`finish`); this stands for one that would be forgotten there.
    document["security"] = if needs_key { json!([{ "key": [] }]) } else { json!([]) };
    bound_integers(&mut document);
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                finish(operation, method, path, needs_key);
            }
        }
    }
    document
}

/// What is true of every operation, and is said once.
fn finish(operation: &mut Value, method: &str, path: &str, needs_key: bool) {
    let method = method.to_uppercase().parse().unwrap_or(Method::GET);
    // Of a bearer key the list names the roles that it must have (OpenAPI 3.1, "Security Requirement Object").
    operation["security"] = match Asked::of(&method, path).scope {
        Some(scope) if needs_key => json!([{ "key": [scope.as_str()] }]),
        _ => json!([]),
    };
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        if parameter["in"] == "path" && parameter["name"] == "id" {
            parameter["schema"] = json!({ "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[^}]" });
            parameter["example"] = json!("pp-000431");
        }
        // An address cannot say null: what is not there is left out.
        if let Some(kinds) = parameter["schema"]["type"].as_array() {
            let kind = kinds.iter().find(|kind| *kind != "null").cloned();
            parameter["schema"]["type"] = kind.unwrap_or_default();
        }
    }
    common_answers(operation);
    if let Some(body) = operation.get_mut("requestBody") {
        body["required"] = json!(true);
        say_what_bodies_are(body);
    }
    for (_, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        say_what_bodies_are(answer);
    }
}

/// Pictures and sounds are bytes, not lists of numbers, and a stream is events.
fn say_what_bodies_are(body: &mut Value) {
    for (media_type, content) in body.get_mut("content").and_then(Value::as_object_mut).into_iter().flatten() {
        if media_type.starts_with("image/") || media_type.starts_with("audio/") {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        }
        // Of each event: OpenAPI 3.1 has no word for a sequence of them.
        if media_type == "text/event-stream" {
            content["schema"] = json!({
                "type": "object",
                "description": "One event. `data` is JSON in one line: of a label `{partition, offset, sentiment}`, of an erasure \
                                `{partition, offset, post_id}`, of a gap `{reason, partition, from, to}`, when the reader is let go \
                                `{reason, resume_from}`",
                "properties": {
                    "id": { "type": "string", "description": "The next offset of every partition: where to go on" },
                    "event": { "type": "string", "enum": ["label", "erasure", "gap", "dropped"] },
                    "data": { "type": "string" },
                },
            });
        }
    }
}

/// `uint64` is a format of ours alone: what it means is said in numbers, too.
fn bound_integers(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        Value::Object(members) => {
            let bounds = match members.get("format").and_then(Value::as_str) {
                Some("uint64" | "uint") => Some((json!(0), json!(u64::MAX))),
                Some("uint32") => Some((json!(0), json!(u32::MAX))),
                Some("int64") => Some((json!(i64::MIN), json!(i64::MAX))),
                Some("int32") => Some((json!(i32::MIN), json!(i32::MAX))),
                _ => None,
            };
            if let Some((least, most)) = bounds {
                members.entry("minimum").or_insert(least);
                members.entry("maximum").or_insert(most);
            }
            members.values_mut().for_each(bound_integers);
        }
        _ => {}
    }
}

/// Answers that every route may give.
fn common_answers(operation: &mut Value) {
    let problem = |description: &str| {
        json!({
            "description": description,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        })
    };
    let common = [
        ("400", "What was asked cannot be read; `detail` says what is wrong with it"),
        ("401", "`key_missing`, `key_unknown`, `key_expired`"),
        ("403", "`scope`, `read_only`"),
        ("421", "`unknown_host`: asked under a name that is not the server's"),
        ("429", "`rate_limited` or busy; `Retry-After` says when to come again"),
        ("500", "`internal`, `foreign_key`: a fault of ours, which the server's log has under the same `request_id`"),
        ("503", "Store or broker do not answer; `Retry-After` says when to come again"),
    ];
    let of_bodies = [
        ("408", "`timeout`: the body did not come in time"),
        ("413", "`too_large`: above `serve.max_body_bytes`, or `media.max_image_bytes` of a picture"),
        ("415", "`media_type`: the header `Content-Type` names another one"),
    ];
    let of_bodies = of_bodies.into_iter().filter(|_| operation["requestBody"].is_object());
    let all: Vec<_> = common.into_iter().chain(of_bodies).collect();
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, description) in all {
        responses.entry(status).or_insert_with(|| problem(description));
    }
}

fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
        generator.subschema_for::<T>();
    }
    add::<Problem>(&mut generator);
    add::<posts::PostView>(&mut generator);
    add::<posts::BatchRequest>(&mut generator);
    add::<posts::BatchAnswer>(&mut generator);
    add::<Explanation>(&mut generator);
    add::<label::LabelAnswer>(&mut generator);
    add::<neighbours::Neighbours>(&mut generator);
    add::<neighbours::NeighboursRequest>(&mut generator);
    add::<songs::SongsAnswer>(&mut generator);
    add::<feed::Feed>(&mut generator);
    add::<status::Status>(&mut generator);
    add::<models::Models>(&mut generator);
    add::<letters::Letters>(&mut generator);
    add::<PostV1>(&mut generator);
    let mut definitions = generator.take_definitions(true);
    as_it_is_read(&mut definitions);
    Value::Object(definitions)
}

/// What a worker forgives a post is forgiven one that is sent here, too (`schemas/reading-posts.md`), and the document says so: a
/// field that may be missing may be null, and of a text both may be missing.
fn as_it_is_read(definitions: &mut Map<String, Value>) {
    const GIVEN_TEXT: &str = "GivenText";
    let mut text = definitions["TextPart"].clone();
    if let Some(members) = text.as_object_mut() {
        members.remove("required");
    }
    definitions.insert(GIVEN_TEXT.to_owned(), text);
    definitions["PostV1"]["properties"]["texts"]["items"] =
        json!({ "$ref": format!("#/components/schemas/{GIVEN_TEXT}") });
    for name in ["PostV1", "MediaRef", GIVEN_TEXT] {
        let required = definitions[name]["required"].as_array().cloned().unwrap_or_default();
        for (field, schema) in definitions[name]["properties"].as_object_mut().into_iter().flatten() {
            if let Some(kind) = schema["type"].as_str()
                && !required.iter().any(|required| required == field.as_str())
            {
                schema["type"] = json!([kind, "null"]);
            }
        }
    }
}
