//! The OpenAPI 3.1 document: paths from the handlers, components from the records' own JSON Schemas, so that there is one
//! truth of each.

use std::sync::LazyLock;

use jtav_schemas::PostV1;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};
use utoipa::OpenApi;

use jtav_explain::Explanation;

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

static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());

/// The document as it is served.
pub fn text() -> &'static str {
    &TEXT
}

/// The document.
pub fn document() -> &'static Value {
    &DOCUMENT
}

fn build() -> Value {
    let mut document = serde_json::to_value(Paths::openapi()).unwrap_or_default();
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["components"]["schemas"] = schemas();
    document["components"]["securitySchemes"] = json!({ "key": { "type": "http", "scheme": "bearer" } });
    document["security"] = json!([{ "key": [] }, {}]);
    common_answers(&mut document);
    document
}

/// Answers that every route may give.
fn common_answers(document: &mut Value) {
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
        ("429", "`rate_limited` or busy; `Retry-After` says when to come again"),
        ("503", "Store or broker do not answer; `Retry-After` says when to come again"),
    ];
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(|item| item.values_mut()) {
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        for (status, description) in common {
            responses.entry(status).or_insert_with(|| problem(description));
        }
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
    Value::Object(generator.take_definitions(true))
}
