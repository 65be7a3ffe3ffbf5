//! Stages that panic. In a program of its own: fail points are for the life of the process.

use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, settings};
use jtav_feed_processor::{Networks, parameters};
use jtav_pipeline::fail_point;
use jtav_query::judge::{Judge, JudgeError, Judged};
use jtav_telemetry::{Metric, global};
use serde_json::json;

mod common;

async fn ask(judge: &Judge, id: &str) -> Result<Judged, JudgeError> {
    let post = json!({ "id": id, "texts": [{ "role": "body", "text": "a fine day" }] }).to_string();
    tokio::time::timeout(PATIENCE, judge.label(post.into())).await.expect("no answer")
}

/// Inside posts are called after their number: a panic in the first one's task, one in the actor that has the third.
#[actix_rt::test]
async fn a_panic_costs_its_post_and_boxes_that_break_are_replaced() {
    assert_eq!(fail_point::arm("router:before_encode=panic#asked-0; router:handle=panic#asked-2"), Ok(2));
    let settings = settings(&[], |settings| settings.serve.max_label_posts = 1);
    let decoders = parameters::decoders(&settings, parameters::this_program(&settings)).unwrap();
    let networks = Networks::load(&settings, Arc::new(|message: &str| panic!("{message}"))).unwrap();
    let judge = Judge::start(&settings, networks, decoders).unwrap();

    let poisoned = ask(&judge, "panics twice").await;
    assert!(matches!(poisoned, Ok(Judged::NotLabelled { reason: "poison_pill", .. })), "{poisoned:?}");
    assert!(matches!(ask(&judge, "well").await, Ok(Judged::Labelled { .. })));

    let broken = ask(&judge, "ends its lane").await;
    assert!(matches!(broken, Err(JudgeError::Failed(_))), "{broken:?}");
    assert_eq!(judge.in_flight(), 0);
    let mut tries = 0;
    loop {
        match ask(&judge, "after it").await {
            Ok(Judged::Labelled { .. }) => break,
            Err(JudgeError::Failed(_)) if tries < 200 => tries += 1,
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(judge.in_flight(), 0);
    assert_eq!(global().value(&Metric::judge_restarts()), 1.0);
}
