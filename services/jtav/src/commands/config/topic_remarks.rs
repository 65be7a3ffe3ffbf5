//! What of the topics' settings would surprise an operator later. Pure.

use jtav_kafka::{KafkaError, PRODUCER_MAX_BYTES, TopicSettings};

/// Bytes of an answer that the consumer takes from a broker; librdkafka's default of `receive.message.max.bytes`.
const CONSUMER_MAX_BYTES: u64 = 100_000_000;
/// A label with its words, or the vectors of a post, may be so large.
const LABEL_BYTES: u64 = 262_144;

/// One sentence for each surprise; `topics` are key of the setting, name, and what the brokers said.
pub fn remarks(topics: &[(&str, &str, Result<TopicSettings, KafkaError>)]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (key, name, found) in topics {
        match found {
            Err(error) => remarks.push(format!(
                "what topic `{name}` takes is not known, it is taken for 1 MB: {error}; this user needs the right DescribeConfigs"
            )),
            Ok(found) if ["kafka.sentiment_topic", "kafka.embeddings_topic"].contains(key) => {
                if found.max_message_bytes < LABEL_BYTES {
                    remarks.push(format!(
                        "topic `{name}` takes {} bytes (max.message.bytes): what it refuses is dead-lettered as publish_rejected; \
                         give it {LABEL_BYTES} or more",
                        found.max_message_bytes
                    ));
                }
            }
            Ok(_) => {}
        }
    }
    let of = |wanted: &str| {
        let (_, name, found) = topics.iter().find(|(key, _, _)| *key == wanted)?;
        Some((*name, found.as_ref().ok()?))
    };
    let input = of("kafka.input_topic");
    if let Some((name, found)) = input.filter(|(_, found)| found.max_message_bytes > CONSUMER_MAX_BYTES) {
        remarks.push(format!(
            "topic `{name}` takes {} bytes (max.message.bytes): the consumer reads no more than {CONSUMER_MAX_BYTES} at once",
            found.max_message_bytes
        ));
    }
    let Some((name, dead)) = of("kafka.dead_letters_topic") else { return remarks };
    if let Some((from, input)) = input {
        let needed = input.max_message_bytes.min(PRODUCER_MAX_BYTES);
        if dead.max_message_bytes < needed {
            remarks.push(format!(
                "topic `{name}` takes {} bytes (max.message.bytes) and topic `{from}` {}: dead letters of larger records are \
                 truncated to their first bytes; give it {needed}, and 16 KiB for their headers",
                dead.max_message_bytes, input.max_message_bytes
            ));
        }
    }
    if dead.is_compacted {
        remarks.push(format!(
            "topic `{name}` is compacted: of the dead letters of one key all but the last vanish, and letters without a key are \
             refused, which stops their partition; set cleanup.policy=delete"
        ));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(
        input: u64,
        label: u64,
        dead: u64,
    ) -> Vec<(&'static str, &'static str, Result<TopicSettings, KafkaError>)> {
        let takes = |max_message_bytes| Ok(TopicSettings { max_message_bytes, is_compacted: false });
        vec![
            ("kafka.input_topic", "posts", takes(input)),
            ("kafka.sentiment_topic", "sentiment", takes(label)),
            ("kafka.dead_letters_topic", "dead", takes(dead)),
        ]
    }

    #[test]
    fn topics_as_the_brokers_make_them_are_no_surprise() {
        assert_eq!(remarks(&topics(1_048_588, 1_048_588, 1_048_588)), Vec::<String>::new());
    }

    #[test]
    fn each_limit_that_is_too_narrow_is_named_with_its_topic_and_what_to_give_it() {
        let found = remarks(&topics(10_000_000, 1_000, 20_000));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("`sentiment` takes 1000") && found[0].contains("262144"), "{found:?}");
        assert!(found[1].contains("`dead` takes 20000") && found[1].contains("give it 10000000"), "{found:?}");
        assert!(remarks(&topics(200_000_000, 1_048_588, 1 << 40))[0].contains("reads no more than 100000000"));
    }

    #[test]
    fn a_compacted_dead_letter_topic_and_a_topic_that_may_not_be_asked_are_told() {
        let mut topics = topics(1, 1 << 20, 1);
        topics[2].2 = Ok(TopicSettings { max_message_bytes: 1, is_compacted: true });
        topics[1].2 = Err(KafkaError::Timeout { operation: "describe", waited_ms: 5 });
        let found = remarks(&topics);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("DescribeConfigs") && found[1].contains("compacted"), "{found:?}");
    }
}
