//! What the in-process cluster cannot show: it finds no offsets of a time.

mod support;

use std::time::Duration;

use jtav_dead_letters::{DeadLetterTopic, Selection, list};
use jtav_kafka::{OutboundRecord, Producer, ProducerSettings};
use jtav_pipeline::Stage;
use jtav_schemas::DeadLetterReason;
use jtav_testkit::{RealKafka, require_real};
use support::{DEAD, inbound, post, set_aside};

const HOUR_MS: i64 = 3_600_000;

#[tokio::test]
async fn since_starts_at_the_first_letter_that_is_as_young() {
    if !require_real("since_starts_at_the_first_letter_that_is_as_young") {
        return;
    }
    let kafka = RealKafka::start().unwrap();
    kafka.create_topics(&[(DEAD, 2)]).await.unwrap();
    let producer = Producer::new(&kafka.client(), &ProducerSettings::default()).unwrap();
    let now_ms = jtav_pipeline::now_ms();
    // The second partition holds nothing young.
    for (partition, hours_ago) in [(0, 5), (0, 3), (0, 2), (0, 1), (1, 5)] {
        let letter = set_aside(inbound(&post("p")), DeadLetterReason::InvalidPost, Stage::Ingest);
        let timestamp_ms = Some(now_ms - hours_ago * HOUR_MS);
        producer.send(OutboundRecord { partition: Some(partition), timestamp_ms, ..letter }).await.unwrap();
    }
    let topic = DeadLetterTopic { client: kafka.client(), name: DEAD.into(), patience: Duration::from_secs(20) };
    let starts = |since_ms| -> Vec<(i64, i64)> {
        topic.ranges(since_ms).unwrap().iter().map(|range| (range.start, range.end)).collect()
    };
    assert_eq!(starts(None), [(0, 4), (0, 1)]);
    assert_eq!(starts(Some(now_ms - 2 * HOUR_MS)), [(2, 4), (1, 1)], "the hour itself is meant");
    assert_eq!(starts(Some(now_ms + HOUR_MS)), [(4, 4), (1, 1)]);
    for (hours, letters) in [(9, 5), (4, 3), (0, 0)] {
        let selection = Selection { since_ms: Some(now_ms - hours * HOUR_MS), ..Selection::default() };
        let listing = list(&topic, &selection, false, &mut Vec::new()).unwrap();
        assert_eq!((listing.letters, listing.not_selected), (letters, 0), "{hours} hours");
    }
}
