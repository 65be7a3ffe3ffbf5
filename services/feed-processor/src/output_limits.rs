use jtav_kafka::Producer;
use jtav_settings::Settings;

/// What the output topics take decides how much of a record a dead letter carries. Nothing waits for the answer: until it is
/// there, and where this user may not ask, the brokers' default counts, and a topic that takes less says so by refusing.
pub(crate) fn ask_limits(producer: &Producer, settings: &Settings) {
    let (producer, topics) = (producer.clone(), settings.kafka.topics());
    let outputs = topics.iter().filter(|(key, _)| *key != "kafka.input_topic").map(|(_, name)| (*name).to_owned());
    let outputs: Vec<String> = outputs.collect();
    actix::spawn(async move {
        if let Err(error) = producer.ask_limits(outputs).await {
            tracing::warn!(
                %error, "what the output topics take is not known (the right DescribeConfigs tells it); taken for 1 MB, the brokers' default"
            );
        }
    });
}
