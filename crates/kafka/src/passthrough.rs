//! Which librdkafka settings an operator may not pass through, and why.

use std::collections::BTreeMap;

/// A setting that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsafeSetting {
    /// librdkafka's name of it.
    pub key: String,
    /// What was asked for; masked where it is a secret.
    pub value: String,
    /// What would go wrong, or where the setting lives instead.
    pub reason: &'static str,
}

impl std::fmt::Display for UnsafeSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` = `{}` is refused: {}", self.key, self.value, self.reason)
    }
}

/// When a key is refused.
enum Refused {
    Always,
    Unless(&'static [&'static str]),
    When(&'static [&'static str]),
    Above(i64),
}

const COMMITS: &str = "offsets are committed from the ledger of settled posts; librdkafka's own commits pass posts that are still being worked on, which loses them in a crash";
const OWN_FIELD: &str = "it has a setting of its own; two places for one value contradict each other sooner or later";
const DRAIN: &str = "it has a setting of its own, because the time to drain before a rebalance is checked against it";
const VERIFY: &str = "without it anybody on the path can pose as the broker and read every post";
const IDEMPOTENCE: &str = "retries could then duplicate or reorder records, and readers rely on the order per post";
const CODE: &str = "it loads native code into the process";

const RULES: &[(&str, Refused, &str)] = &[
    ("enable.auto.commit", Refused::Always, COMMITS),
    ("auto.commit.enable", Refused::Always, COMMITS),
    ("auto.commit.interval.ms", Refused::Always, COMMITS),
    ("enable.auto.offset.store", Refused::Always, COMMITS),
    ("offset.store.method", Refused::Always, COMMITS),
    (
        "auto.offset.reset",
        Refused::Unless(&["earliest", "smallest", "beginning"]),
        "a group without a committed offset, or whose offset has expired, would skip posts in silence",
    ),
    ("bootstrap.servers", Refused::Always, OWN_FIELD),
    ("metadata.broker.list", Refused::Always, OWN_FIELD),
    ("client.id", Refused::Always, OWN_FIELD),
    ("group.id", Refused::Always, OWN_FIELD),
    ("group.instance.id", Refused::Always, OWN_FIELD),
    ("session.timeout.ms", Refused::Always, DRAIN),
    ("max.poll.interval.ms", Refused::Always, DRAIN),
    (
        "partition.assignment.strategy",
        Refused::Always,
        "it has a setting of its own; members of one group must agree, and an eager strategy stops every worker at each rebalance",
    ),
    (
        "group.protocol",
        Refused::Unless(&["classic"]),
        "with the new group protocol the broker decides on session time and assignment, on which the drain arithmetic relies",
    ),
    (
        "enable.partition.eof",
        Refused::Unless(&["false"]),
        "the end of a partition would be reported as an error of the consumer",
    ),
    ("isolation.level", Refused::Unless(&["read_committed"]), "posts of aborted transactions would be labelled"),
    (
        "allow.auto.create.topics",
        Refused::Unless(&["false"]),
        "a topic name with a typo would create a topic and wait on it for ever",
    ),
    ("check.crcs", Refused::Unless(&["true"]), "damaged records would be read as posts"),
    ("enable.idempotence", Refused::Unless(&["true"]), IDEMPOTENCE),
    (
        "acks",
        Refused::Unless(&["all", "-1"]),
        "a label counts as published once every replica in sync has it; fewer acknowledgements can lose it after the offset has passed",
    ),
    (
        "request.required.acks",
        Refused::Unless(&["all", "-1"]),
        "a label counts as published once every replica in sync has it; fewer acknowledgements can lose it after the offset has passed",
    ),
    ("max.in.flight.requests.per.connection", Refused::Above(5), IDEMPOTENCE),
    ("max.in.flight", Refused::Above(5), IDEMPOTENCE),
    ("retries", Refused::When(&["0"]), "every hiccup of a broker would fail a publication"),
    ("message.send.max.retries", Refused::When(&["0"]), "every hiccup of a broker would fail a publication"),
    ("delivery.timeout.ms", Refused::Always, OWN_FIELD),
    ("message.timeout.ms", Refused::Always, OWN_FIELD),
    (
        "partitioner",
        Refused::Unless(&["murmur2_random", "murmur2"]),
        "records of one post would land in other partitions than those of producers written in Java, and lose their order",
    ),
    (
        "transactional.id",
        Refused::Always,
        "the producer is idempotent and not transactional; a record would never become visible",
    ),
    ("enable.ssl.certificate.verification", Refused::When(&["false", "f", "0"]), VERIFY),
    ("ssl.endpoint.identification.algorithm", Refused::Unless(&["https"]), VERIFY),
    ("ssl.engine.location", Refused::Always, CODE),
    ("plugin.library.paths", Refused::Always, CODE),
    (
        "enable.sasl.oauthbearer.unsecure.jwt",
        Refused::Unless(&["false"]),
        "unsigned tokens prove nothing to the broker",
    ),
    ("test.mock.num.brokers", Refused::Always, "it replaces the brokers by ones in memory that lose everything"),
    ("log.queue", Refused::Always, "log lines are taken from that queue already"),
];

impl Refused {
    fn holds(&self, value: &str) -> bool {
        let is_one_of = |list: &[&str]| list.iter().any(|item| item.eq_ignore_ascii_case(value.trim()));
        match self {
            Refused::Always => true,
            Refused::Unless(allowed) => !is_one_of(allowed),
            Refused::When(refused) => is_one_of(refused),
            // What is no number is left to librdkafka, which names the key in its own refusal.
            Refused::Above(limit) => value.trim().parse::<i64>().is_ok_and(|value| value > *limit),
        }
    }
}

/// Checks settings that an operator wants passed through to librdkafka (TLS, SASL, tuning). Every refusal is reported,
/// not only the first. `topic.`-prefixed spellings are looked at like the plain ones.
pub fn check_passthrough(settings: &BTreeMap<String, String>) -> Result<(), Vec<UnsafeSetting>> {
    let refused: Vec<UnsafeSetting> = settings
        .iter()
        .filter_map(|(key, value)| {
            let name = key.trim().trim_start_matches("topic.").to_ascii_lowercase();
            let (_, _, reason) = RULES.iter().find(|(rule, when, _)| *rule == name && when.holds(value))?;
            Some(UnsafeSetting { key: key.clone(), value: shown(key, value), reason })
        })
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}

/// The value as it may be shown in logs and errors.
pub(crate) fn shown(key: &str, value: &str) -> String {
    const SECRET: &[&str] = &["password", "secret", "token", "ssl.key.pem", "sasl.jaas", "oauthbearer.config"];
    let key = key.to_ascii_lowercase();
    if SECRET.iter().any(|part| key.contains(part)) { "***".to_owned() } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn tls_sasl_and_tuning_pass() {
        let good = settings(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "jtav"),
            ("sasl.password", "p"),
            ("ssl.ca.location", "/etc/ssl/ca.pem"),
            ("ssl.endpoint.identification.algorithm", "https"),
            ("linger.ms", "20"),
            ("acks", "all"),
            ("isolation.level", "read_committed"),
        ]);
        assert_eq!(check_passthrough(&good), Ok(()));
    }

    #[test]
    fn every_unsafe_setting_is_refused_with_its_reason() {
        let bad = settings(&[
            ("enable.auto.commit", "true"),
            ("enable.auto.offset.store", "false"),
            ("group.id", "other"),
            ("enable.ssl.certificate.verification", "FALSE"),
            ("ssl.endpoint.identification.algorithm", "none"),
            ("enable.idempotence", "false"),
            ("acks", "1"),
            ("topic.request.required.acks", "0"),
            ("partition.assignment.strategy", "range"),
            ("auto.offset.reset", "latest"),
            ("max.in.flight", "6"),
            ("retries", "0"),
            ("plugin.library.paths", "x.so"),
            ("test.mock.num.brokers", "3"),
        ]);
        let refused = check_passthrough(&bad).unwrap_err();
        assert_eq!(refused.len(), bad.len());
        for setting in refused {
            assert!(setting.reason.len() > 20, "{setting}");
        }
    }

    #[test]
    fn spelling_and_case_do_not_get_around_the_list() {
        let bad = settings(&[(" Enable.Auto.Commit", "true"), ("ACKS", "1")]);
        assert_eq!(check_passthrough(&bad).unwrap_err().len(), 2);
    }

    #[test]
    fn secrets_are_never_shown() {
        assert_eq!(shown("sasl.password", "hunter2"), "***");
        assert_eq!(shown("ssl.key.password", "hunter2"), "***");
        assert_eq!(shown("sasl.oauthbearer.client.secret", "hunter2"), "***");
        assert_eq!(shown("linger.ms", "5"), "5");
    }
}
