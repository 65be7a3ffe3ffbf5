//! The readers' side over HTTP: what is answered, to whom, and what is told of what happens meanwhile.

#[path = "serve/rig.rs"]
mod rig;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use jtav_kafka::OutboundRecord;
use jtav_query::keys::{Scope, new_key};
use jtav_query::openapi;
use jtav_schemas::Label;
use jtav_store::{Source, Store as _};
use rig::{MODEL, Reading, Rig, SlowReader, post, sentiment, with_picture, write};
use serde_json::{Value, json};

/// One operation of the document, with a path that can be asked.
struct Operation {
    method: reqwest::Method,
    path: String,
    /// What the document says that a key must allow; none where it says that no key is needed.
    scope: Option<&'static str>,
}

/// Every operation of the document of a server whose readers need a key.
fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in openapi::document(true)["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.replace("{id}", "a"),
                scope: operation["security"][0]["key"][0].as_str(),
            });
        }
    }
    operations
}

async fn ask(rig: &Rig, method: &reqwest::Method, path: &str, key: Option<&str>) -> Result<(u16, Value)> {
    let mut request = rig.http.request(method.clone(), format!("{}{path}", rig.url));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    if method == reqwest::Method::POST {
        request = request.json(&json!({}));
    }
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    // A stream has no end.
    let body = if status == 200 { Value::Null } else { serde_json::from_slice(&answer.bytes().await?)? };
    Ok((status, body))
}

#[tokio::test]
async fn whatever_tells_of_a_post_is_refused_without_a_key_that_allows_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys.toml");
    let (reader, of_reader) = new_key("reader", &[Scope::Read]);
    let (scorer, of_scorer) = new_key("scorer", &[Scope::Score]);
    let (admin, of_admin) = new_key("admin", &[Scope::Admin]);
    let (late, of_late) = new_key("late", &[Scope::Read, Scope::Score, Scope::Admin]);
    std::fs::write(&file, format!("{of_reader}{of_scorer}{of_admin}{of_late}expires = \"2020-01-01\"\n"))?;
    let rig = Rig::start(|settings| settings.serve.keys_file = Some(file))?.ready().await?;
    let open = BTreeSet::from(["/healthz", "/readyz"]);
    let mut refused = 0;
    for Operation { method, path, scope } in operations() {
        let reason = async |key: Option<&str>| -> Result<(u16, String)> {
            let (status, body) = ask(&rig, &method, &path, key).await?;
            Ok((status, body["reason"].as_str().unwrap_or_default().to_owned()))
        };
        assert_eq!(scope.is_none(), open.contains(path.as_str()), "{method} {path}");
        if scope.is_none() {
            assert_eq!(reason(None).await?.0, 200, "{path}");
            continue;
        }
        assert_eq!(reason(None).await?, (401, "key_missing".to_owned()), "{method} {path}");
        assert_eq!(reason(Some("jtav_guess")).await?, (401, "key_unknown".to_owned()), "{method} {path}");
        assert_eq!(reason(Some(&late)).await?, (401, "key_expired".to_owned()), "{method} {path}");
        let mut allowed = Vec::new();
        for (name, key) in [("read", &reader), ("score", &scorer), ("admin", &admin)] {
            if reason(Some(key)).await? != (403, "scope".to_owned()) {
                allowed.push(name);
            }
        }
        assert_eq!(
            allowed,
            Vec::from_iter(scope),
            "{method} {path}: the keys it is open to, and what the document says"
        );
        refused += 1;
    }
    assert!(refused >= 12, "{refused} routes were asked");
    // Nobody without a key learns what there is.
    assert_eq!(ask(&rig, &reqwest::Method::GET, "/v1/nothing", None).await?.0, 401);
    Ok(())
}

#[tokio::test]
async fn every_route_of_the_document_is_served_and_no_other() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    for Operation { method, path, .. } in operations() {
        let (status, body) = ask(&rig, &method, &path, None).await?;
        assert_ne!(body["reason"], "no_such_route", "{method} {path}");
        assert_ne!(status, 405, "{method} {path}");
        let other = if method == reqwest::Method::GET { reqwest::Method::DELETE } else { reqwest::Method::PUT };
        let (status, body) = ask(&rig, &other, &path, None).await?;
        assert_eq!((status, &body["reason"]), (405, &json!("method_not_allowed")), "{other} {path}");
        let refused = rig.http.request(other, format!("{}{path}", rig.url)).send().await?;
        let allowed = refused.headers()["allow"].to_str()?;
        assert!(allowed.split(", ").any(|allowed| allowed == method.as_str()), "{path} says that it takes {allowed}");
        if allowed.contains("HEAD") {
            let got = rig.http.get(format!("{}{path}", rig.url)).send().await?;
            let head = rig.http.head(format!("{}{path}", rig.url)).send().await?;
            assert_eq!(head.status(), got.status(), "{path}");
            assert!(head.bytes().await?.is_empty(), "{path}: a head has no body");
        }
    }
    assert_eq!(rig.get("/v1/nothing").await?.1["reason"], "no_such_route");
    Ok(())
}

#[tokio::test]
async fn operators_see_a_server_from_its_start_and_take_it_for_no_worker() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    let metrics = rig.http.get(format!("{}/metrics", rig.url)).send().await?.text().await?;
    // Servers of other tests write the same ones, so only that they are there can be said.
    for series in [
        "jtav_query_ready",
        "jtav_query_following{topic=\"embeddings\"}",
        "jtav_query_follow_age_seconds{topic=\"sentiment\"}",
        "jtav_query_places_taken{room=\"label\"}",
        "jtav_query_places_taken{room=\"media\"}",
        // Alerts watch for their rise.
        "jtav_stream_ends_total{cause=\"unreadable\"}",
        "jtav_query_refused_total{cause=\"key_expired\"}",
        "jtav_query_judge_restarts_total",
    ] {
        let is_it = |line: &str| line.rsplit_once(' ').is_some_and(|(found, _)| found == series);
        assert!(metrics.lines().any(is_it), "{series} is missing in\n{metrics}");
    }
    let worker = metrics.lines().find(|line| line.starts_with("jtav_ready"));
    assert_eq!(worker, None, "the alert on workers that are not ready would wake somebody");
    Ok(())
}

#[tokio::test]
async fn a_start_probe_can_wait_for_the_index() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    let mut tries = 0;
    loop {
        let answer = rig.http.get(format!("{}/readyz?complete=true", rig.url)).send().await?;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await?;
        match status {
            200 => {
                assert_eq!(body["index_complete"], true);
                break;
            }
            _ => assert_eq!((status, &body["reason"]), (503, &json!("unready"))),
        }
        tries += 1;
        anyhow::ensure!(tries < 200, "{body}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&rig, &reqwest::Method::GET, "/readyz?complete=perhaps", None).await?.0, 400);
    Ok(())
}

#[tokio::test]
async fn a_page_of_somebody_else_whose_name_leads_here_is_refused() -> Result<()> {
    let rig = Rig::start(|settings| settings.serve.hosts = vec!["feed.example".to_owned()])?.ready().await?;
    let ask = async |host: &str| -> Result<u16> {
        let request = rig.http.get(format!("{}/v1/status", rig.url)).header("Host", host);
        Ok(request.send().await?.status().as_u16())
    };
    for (host, status) in [("evil.example", 421), ("feed.example", 200), ("FEED.example:80", 200), ("localhost:1", 200)]
    {
        assert_eq!(ask(host).await?, status, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn any_id_can_be_asked_for_percent_encoded() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    let ids = ["a/b", "what?", "a#b", "50%", "%2F", "a b", "ü/😀", "a+b", "posts:batch", "neighbours", "..a", "a%2Fb"];
    for id in ids {
        rig.publish(&post(id, "of many"), Label::Positive).await?;
        let path: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, view) = rig.get(&format!("/v1/posts/{path}?content=true")).await?;
        assert_eq!((status, &view["post_id"]), (200, &json!(id)));
        assert_eq!(view["sentiment"]["label"], "positive");
        assert_eq!(view["content"]["texts"][0]["text"], "of many", "{view}");
        assert_eq!(rig.get(&format!("/v1/posts/{path}/explanation")).await?.1["post_id"], id);
    }
    let (_, batch) = rig.post("/v1/posts:batch", &json!({ "ids": ids })).await?;
    let found: Vec<&str> =
        batch["posts"].as_array().unwrap().iter().filter_map(|item| item["post_id"].as_str()).collect();
    assert_eq!(found, ids);
    assert!(batch["posts"].as_array().unwrap().iter().all(|item| item["status"] == "found"));
    Ok(())
}

#[tokio::test]
async fn a_batch_answers_for_each_id_in_order_and_takes_no_more_than_it_says() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    rig.publish(&post("a", "one"), Label::Negative).await?;
    rig.store.erase("gone", 1, std::time::Duration::from_secs(60)).await?;
    let (_, batch) =
        rig.post("/v1/posts:batch", &json!({ "ids": ["never", "a", "gone", "", "a"], "content": true })).await?;
    let status: Vec<&str> =
        batch["posts"].as_array().unwrap().iter().filter_map(|item| item["status"].as_str()).collect();
    assert_eq!(status, ["unknown", "found", "erased", "invalid", "found"]);
    assert_eq!(batch["posts"][4]["post"]["content"]["texts"][0]["text"], "one");
    let ids = |count: usize| (0..count).map(|id| id.to_string()).collect::<Vec<_>>();
    assert_eq!(rig.post("/v1/posts:batch", &json!({ "ids": ids(500) })).await?.0, 200);
    assert_eq!(rig.post("/v1/posts:batch", &json!({ "ids": ids(501) })).await?.1["reason"], "too_many_ids");
    assert_eq!(rig.post("/v1/posts:batch", &json!({ "ids": ids(51), "content": true })).await?.0, 400);
    assert_eq!(rig.post("/v1/posts:batch", &json!({ "ids": ["x".repeat(2_000_000)] })).await?.0, 413);
    assert_eq!(rig.post("/v1/posts:batch", &json!({ "id": ["a"] })).await?.1["reason"], "invalid_body");
    Ok(())
}

#[tokio::test]
async fn content_is_read_where_the_label_came_from_and_from_nowhere_else() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    let first = post("a", "what was labelled");
    let source = rig.feed(&first).await?;
    rig.feed(&jtav_schemas::PostV1 { revision: 2, ..post("a", "an edit that has no label yet") }).await?;
    rig.store.apply(&write(&sentiment(&first, Label::Neutral), source)).await?;
    let content = async |id: &str| -> Result<Value> {
        Ok(rig.get(&format!("/v1/posts/{id}?content=true")).await?.1["content"].clone())
    };
    assert_eq!(content("a").await?["texts"][0]["text"], "what was labelled");
    for (id, offset, reason) in [("b", source.offset, "replaced"), ("c", 900, "past_retention")] {
        let labelled = sentiment(&post(id, ""), Label::Neutral);
        rig.store.apply(&write(&labelled, Source { partition: 0, offset })).await?;
        assert_eq!(content(id).await?["reason"], reason);
    }
    assert_eq!(rig.get("/v1/posts/a").await?.1["content"], Value::Null, "it was not asked for");
    Ok(())
}

#[tokio::test]
async fn an_erased_post_is_in_no_answer() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    rig.publish(&with_picture("a", "http://192.0.2.1/a.png"), Label::Positive).await?;
    assert_eq!(rig.get("/v1/posts/a").await?.0, 200);
    assert_eq!(rig.get(&format!("/v1/posts/a?model={MODEL}")).await?.0, 200);
    assert_eq!(rig.get("/v1/posts/a?model=other").await?.1["models"], json!([MODEL]));
    rig.store.erase("a", 2, std::time::Duration::from_secs(60)).await?;
    for path in ["", "/explanation", "/picture.png", "/sound.wav", "/spectrogram.png", "/neighbours"] {
        let (status, problem) = rig.get(&format!("/v1/posts/a{path}")).await?;
        assert_eq!((status, &problem["reason"]), (410, &json!("erased")), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn addresses_that_are_not_public_are_not_fetched_for_a_reader() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    rig.publish(&with_picture("a", "http://127.0.0.1:9/a.png"), Label::Positive).await?;
    let (status, problem) = rig.get("/v1/posts/a/picture.png").await?;
    assert_eq!((status, &problem["absent_reason"]), (502, &json!("fetch_denied")), "{problem}");
    rig.publish(&post("b", "no picture"), Label::Positive).await?;
    assert_eq!(rig.get("/v1/posts/b/picture.png").await?.1["reason"], "no_picture");
    assert_eq!(rig.get("/v1/posts/b/picture.png?blur=41").await?.1["reason"], "blur");
    Ok(())
}

fn offsets(told: &[rig::Told]) -> Vec<(i64, i64)> {
    told.iter().map(|told| (told.data["partition"].as_i64().unwrap(), told.data["offset"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_cut_without_loss_or_repeat_from_memory_and_from_the_topic() -> Result<()> {
    // Memory for eight events: what is further back is read from the topic.
    let rig = Rig::start(|settings| settings.serve.recent_events = 8)?.ready().await?;
    let mut reading = Reading::open(&rig, "", None).await?;
    for number in 0..6 {
        rig.tell(number % 2, &sentiment(&post(&format!("p{number}"), ""), Label::Positive)).await?;
    }
    let first = reading.take(6).await?;
    assert_eq!(first.iter().map(|told| told.event.as_str()).collect::<BTreeSet<_>>(), BTreeSet::from(["label"]));
    drop(reading);
    for number in 6..26 {
        rig.tell(number % 2, &sentiment(&post(&format!("p{number}"), ""), Label::Negative)).await?;
    }
    rig.send(&rig.settings.kafka.sentiment_topic, 1, "p3", None).await?;
    // So small a memory does not outlast what comes between two wake-ups of its readers.
    while rig.get("/v1/feed").await?.1["position"] != "0:13,1:14" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let all: BTreeSet<(i64, i64)> = (0..13).flat_map(|offset| [(0, offset), (1, offset)]).chain([(1, 13)]).collect();
    for cut in 0..6 {
        // The label of the post that is erased by then is told to nobody who had not seen it.
        let seen_before: BTreeSet<(i64, i64)> = offsets(&first[..=cut]).into_iter().collect();
        let expected: BTreeSet<(i64, i64)> =
            all.iter().copied().filter(|place| *place != (1, 1) || seen_before.contains(place)).collect();
        let mut resumed = Reading::open(&rig, "", Some(&first[cut].id)).await?;
        let rest = resumed.take(expected.len() - cut - 1).await?;
        let seen: Vec<(i64, i64)> = offsets(&first[..=cut]).into_iter().chain(offsets(&rest)).collect();
        assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), expected, "cut after {cut}");
        assert_eq!(seen.len(), expected.len(), "nothing twice");
        let erasure = rest.iter().find(|told| told.event == "erasure").context("the erasure")?;
        assert_eq!(erasure.data["post_id"], "p3");
    }
    let mut resumed = Reading::open(&rig, "", Some(&first[5].id)).await?;
    resumed.take(all.len() - 6).await?;
    let offset = rig.tell(0, &sentiment(&post("live", ""), Label::Neutral)).await?;
    assert_eq!(offsets(&resumed.take(1).await?), [(0, offset)], "and what comes from then on");
    Ok(())
}

#[tokio::test]
async fn a_reader_gets_what_its_filters_let_through_and_every_erasure() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    let mut all = Reading::open(&rig, "", None).await?;
    let mut bad = Reading::open(&rig, "?label=negative,neutral&modality=text", None).await?;
    let mut none = Reading::open(&rig, "?certain=true", None).await?;
    for (id, label) in [("a", Label::Positive), ("b", Label::Negative), ("c", Label::Neutral)] {
        rig.tell(0, &sentiment(&post(id, ""), label)).await?;
    }
    // Both have seen what is erased then.
    assert_eq!(offsets(&all.take(3).await?), [(0, 0), (0, 1), (0, 2)]);
    assert_eq!(offsets(&bad.take(2).await?), [(0, 1), (0, 2)]);
    rig.send(&rig.settings.kafka.sentiment_topic, 0, "b", None).await?;
    assert_eq!(offsets(&all.take(1).await?), [(0, 3)]);
    assert_eq!(offsets(&bad.take(1).await?), [(0, 3)]);
    let erased = none.take(1).await?;
    assert_eq!((erased[0].event.as_str(), erased[0].id.as_str()), ("erasure", "0:4,1:0"), "past what was held back");
    let (_, feed) = rig.get("/v1/feed?label=neutral&limit=10").await?;
    assert_eq!(feed["events"].as_array().unwrap().len(), 2, "a label and the erasure");
    assert_eq!(feed["position"], "0:4,1:0");
    for wrong in ["?label=good", "?lang=ENG", "?modality=video", "?mood=Q9", "?certain=maybe", "?recent=1001"] {
        assert_eq!(rig.get(&format!("/v1/stream{wrong}")).await?.0, 400, "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn a_position_of_a_topic_that_was_made_anew_is_told_as_a_gap() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    let mut reading = Reading::open(&rig, "", Some("0:500,1:0")).await?;
    let gap = reading.take(1).await?;
    assert_eq!((gap[0].event.as_str(), &gap[0].data["reason"]), ("gap", &json!("ahead_of_topic")));
    rig.tell(0, &sentiment(&post("a", ""), Label::Positive)).await?;
    assert_eq!(offsets(&reading.take(1).await?), [(0, 0)]);
    let refused = rig.http.get(format!("{}/v1/stream", rig.url)).header("Last-Event-ID", "soon").send().await?;
    assert_eq!(refused.status(), 400);
    Ok(())
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_dropped_and_told_where_to_go_on_while_others_read() -> Result<()> {
    const EVENTS: i64 = 60;
    let rig = Rig::start(|settings| settings.serve.recent_events = 5)?.ready().await?;
    let slow = SlowReader::open(&rig)?;
    let mut quick = Reading::open(&rig, "", None).await?;
    let wordy = |number: i64| {
        let mut sentiment = sentiment(&post(&format!("p{number}"), ""), Label::Positive);
        sentiment.attention.words =
            vec![jtav_schemas::WordWeight { word: "w".repeat(60_000), position: 0, weight: 1.0 }];
        sentiment
    };
    for number in 0..EVENTS {
        rig.tell(0, &wordy(number)).await?;
        quick.take(1).await?;
    }
    let told = slow.read_to_its_end()?;
    let (last, seen) = told.split_last().context("events")?;
    assert_eq!(
        offsets(seen),
        (0..seen.len() as i64).map(|offset| (0, offset)).collect::<Vec<_>>(),
        "in order until then"
    );
    assert_eq!((last.event.as_str(), &last.data["reason"]), ("dropped", &json!("too_slow")));
    assert_eq!(last.data["resume_from"], format!("0:{},1:0", seen.len()));
    let told = last;
    let mut again = Reading::open(&rig, "", told.data["resume_from"].as_str()).await?;
    let rest = again.take(EVENTS as usize - seen.len()).await?;
    assert_eq!(offsets(&rest).first(), Some(&(0, seen.len() as i64)));
    assert_eq!(offsets(&rest).last(), Some(&(0, EVENTS - 1)));
    Ok(())
}

#[tokio::test]
async fn one_reader_cannot_take_every_stream() -> Result<()> {
    let rig = Rig::start(|settings| settings.serve.max_streams_per_reader = 2)?.ready().await?;
    let first = Reading::open(&rig, "", None).await?;
    let _second = Reading::open(&rig, "", None).await?;
    let refused = rig.http.get(format!("{}/v1/stream", rig.url)).send().await?;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
    drop(first);
    for _ in 0..600 {
        if Reading::open(&rig, "", None).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    anyhow::bail!("the place of a reader that went is not free again")
}

#[tokio::test]
async fn a_post_is_labelled_for_whoever_asks_and_nothing_of_it_is_left() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    let asked = json!({ "id": "a", "texts": [{ "role": "body", "text": "what a lovely day" }] });
    let (status, answer) = rig.post("/v1/label", &asked).await?;
    assert_eq!((status, &answer["outcome"]), (200, &json!("labelled")), "{answer}");
    assert_eq!(answer["sentiment"]["post_id"], "a");
    assert_eq!(answer["explanation"]["parts"][0]["status"], "present");
    assert_eq!(rig.get("/v1/posts/a").await?.0, 404);
    let sent = jtav_kafka::read_all(
        &rig.cluster.client("t"),
        &rig.settings.kafka.sentiment_topic,
        std::time::Duration::from_secs(10),
    )?;
    assert!(sent.is_empty());
    // No worker runs in this process: what is asked for here is no post of the feed.
    let metrics = rig.http.get(format!("{}/metrics", rig.url)).send().await?.text().await?;
    assert_eq!(jtav_testkit::metric(&metrics, "jtav_posts_total", |a, b| a + b).unwrap_or_default(), 0.0);
    let (status, answer) = rig.post("/v1/label", &json!({ "id": "a", "texts": [] })).await?;
    assert_eq!((status, &answer["outcome"]), (200, &json!("skipped")), "{answer}");
    for (body, status, reason) in [
        (json!({ "id": "a", "deleted": true }), 422, "deletion"),
        (json!({ "texts": [] }), 400, "invalid_post"),
        (json!([1]), 400, "invalid_post"),
        (json!({ "id": "x".repeat(257), "texts": [] }), 400, "invalid_post"),
    ] {
        let (got, problem) = rig.post("/v1/label", &body).await?;
        assert_eq!((got, &problem["reason"]), (status, &json!(reason)), "{problem}");
    }
    let form = rig.http.post(format!("{}/v1/label", rig.url)).body(asked.to_string()).send().await?;
    assert_eq!(form.status(), 415, "a form of another page cannot ask");
    Ok(())
}

#[tokio::test]
async fn who_asks_while_all_places_are_taken_is_told_to_come_again_and_the_places_come_free() -> Result<()> {
    let rig = Rig::start(|settings| settings.serve.max_label_posts = 2)?.ready().await?;
    let ask = async |number: usize| -> Result<u16> {
        let asked = json!({ "id": number.to_string(), "texts": [{ "role": "body", "text": "a day ".repeat(3_000) }] });
        Ok(rig.post("/v1/label", &asked).await?.0)
    };
    let answers = futures::future::join_all((0..60).map(ask)).await.into_iter().collect::<Result<Vec<_>>>()?;
    assert!(answers.iter().all(|status| matches!(status, 200 | 429)), "{answers:?}");
    assert!(answers.contains(&200));
    assert_eq!(ask(99).await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_server_that_only_reads_labels_nothing() -> Result<()> {
    let rig = Rig::start_with(|_| {}, true)?.ready().await?;
    let (status, problem) = rig.post("/v1/label", &json!({ "id": "a", "texts": [] })).await?;
    assert_eq!((status, &problem["reason"]), (403, &json!("read_only")));
    assert_eq!(rig.post("/v1/posts:batch", &json!({ "ids": ["a"] })).await?.0, 200);
    assert_eq!(rig.get("/v1/status").await?.1["read_only"], true);
    Ok(())
}

#[tokio::test]
async fn more_requests_than_allowed_are_told_when_to_come_again() -> Result<()> {
    let rig = Rig::start(|settings| settings.serve.requests_per_second = 5)?.ready().await?;
    let mut refused = None;
    for _ in 0..200 {
        let answer = rig.http.get(format!("{}/v1/status", rig.url)).send().await?;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.context("200 requests at once pass")?;
    assert!(refused.headers()["retry-after"].to_str()?.parse::<u64>()? >= 1);
    assert_eq!(refused.json::<Value>().await?["reason"], "rate_limited");
    Ok(())
}

#[tokio::test]
async fn dead_letters_are_shown_with_their_reason_and_without_their_content() -> Result<()> {
    let rig = Rig::start(|_| {})?.ready().await?;
    let producer = jtav_kafka::Producer::new(&rig.cluster.client("t"), &jtav_kafka::ProducerSettings::default())?;
    let mut record = OutboundRecord::keyed(&rig.settings.kafka.dead_letters_topic, "a", "secret words");
    for (name, value) in [
        ("jtav-dl-reason", "invalid_json"),
        ("jtav-dl-stage", "ingest"),
        ("jtav-dl-message", "no JSON"),
        ("jtav-dl-source-topic", "posts"),
        ("jtav-dl-source-partition", "0"),
        ("jtav-dl-source-offset", "7"),
        ("jtav-dl-attempts", "1"),
        ("jtav-dl-replay-count", "0"),
        ("jtav-dl-failed-at-ms", "1000"),
        ("jtav-dl-pipeline-version", "1"),
    ] {
        record = record.header(name, value);
    }
    producer.send(record).await?;
    let (_, letters) = rig.get("/v1/dead-letters").await?;
    assert_eq!(letters["letters"][0]["reason"], "invalid_json", "{letters}");
    assert_eq!(letters["letters"][0]["post_id"], "a");
    assert!(!letters.to_string().contains("secret"));
    Ok(())
}

/// A certificate of one's own for this machine, and its key, in PEM files that a server can read again.
fn make_certificate(chain: &Path, key: &Path) -> Result<reqwest::Certificate> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        // One that may sign others is refused as a server's own.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(chain)
        .arg("-keyout")
        .arg(key)
        .output()
        .context("openssl")?;
    anyhow::ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    Ok(reqwest::Certificate::from_pem(&std::fs::read(chain)?)?)
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_used_without_a_restart_and_a_broken_one_is_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let first = make_certificate(&chain, &key)?;
    let rig = Rig::start(|settings| {
        settings.serve.tls_certificate_file = Some(chain.clone());
        settings.serve.tls_key_file = Some(key.clone());
    })?;
    // A connection of its own each time: one that is kept has seen its certificate.
    let ask = async |certificate: &reqwest::Certificate| -> Result<u16> {
        let client = reqwest::Client::builder().tls_certs_only([certificate.clone()]).build()?;
        Ok(client.get(format!("{}/healthz", rig.url)).send().await?.status().as_u16())
    };
    let is_trusted = async |certificate| -> Result<bool> { Ok(ask(certificate).await.is_ok()) };
    assert!(rig.url.starts_with("https://"));
    assert_eq!(ask(&first).await?, 200);
    std::fs::write(&chain, "no certificate")?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(is_trusted(&first).await?, "that from before stays");
    let second = make_certificate(&chain, &key)?;
    for _ in 0..100 {
        if is_trusted(&second).await? {
            assert!(!is_trusted(&first).await?);
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("the new certificate is not used")
}
