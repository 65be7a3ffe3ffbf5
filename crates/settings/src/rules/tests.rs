use crate::{IndexBackend, SecretUrl, Settings, StoreKind};

/// The messages after one change to the defaults.
fn broken(change: impl FnOnce(&mut Settings)) -> Vec<String> {
    let mut settings = Settings::default();
    change(&mut settings);
    settings.validate().err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Exactly one violation, and it shows all of these.
fn assert_only(messages: &[String], parts: &[&str]) {
    assert_eq!(messages.len(), 1, "{messages:?}");
    for part in parts {
        assert!(messages[0].contains(part), "`{}` lacks `{part}`", messages[0]);
    }
}

#[test]
fn what_does_not_fit_where_it_goes_is_refused_before_the_start() {
    let budget = broken(|settings| settings.media.byte_budget_bytes = 1 << 32);
    assert_only(&budget, &["media.byte_budget_bytes is 4294967296", "at most 4294967295"]);
    assert!(broken(|settings| settings.media.byte_budget_bytes = (1 << 32) - 1).is_empty());
    for posts in [65_537, usize::MAX] {
        let permits = broken(|settings| settings.ingest.max_in_flight_posts = posts);
        assert!(permits.iter().any(|message| message.contains("must be at most 65536")), "{permits:?}");
    }
    assert_only(&broken(|settings| settings.media.decode_workers = 1_025), &["media.decode_workers is 1025", "1024"]);
}

#[test]
fn the_drain_must_be_less_than_half_of_the_shorter_group_timeout() {
    let at_half = |settings: &mut Settings| {
        settings.ingest.session_timeout_ms = 20_000;
        settings.ingest.drain_timeout_ms = 10_000;
    };
    assert_only(&broken(at_half), &["(10000)", "(20000)", "(300000)", "less than half"]);
    assert!(
        broken(|settings| {
            at_half(settings);
            settings.ingest.drain_timeout_ms = 9_999;
        })
        .is_empty()
    );
    let by_poll = broken(|settings| {
        settings.ingest.session_timeout_ms = 12_000;
        settings.ingest.max_poll_interval_ms = 12_000;
        settings.ingest.drain_timeout_ms = 6_000;
    });
    assert_only(&by_poll, &["(6000)", "(12000)"]);
}

#[test]
fn the_session_must_not_outlast_the_poll_interval() {
    let messages = broken(|settings| settings.ingest.max_poll_interval_ms = 44_999);
    assert_only(&messages, &["(45000)", "(44999)", "librdkafka"]);
    assert!(broken(|settings| settings.ingest.max_poll_interval_ms = 45_000).is_empty());
}

#[test]
fn shutdown_must_leave_time_for_the_drain() {
    assert_only(&broken(|settings| settings.shutdown.shutdown_timeout_ms = 9_999), &["(9999)", "(10000)"]);
    assert!(broken(|settings| settings.shutdown.shutdown_timeout_ms = 10_000).is_empty());
}

#[test]
fn one_partition_may_not_hold_more_than_the_worker() {
    let with = |parked: usize| {
        broken(move |settings| {
            (settings.ingest.max_in_flight_posts, settings.ingest.max_parked_posts) = (64, parked);
        })
    };
    assert_only(&with(191), &["(256)", "(64)", "(191)"]);
    assert!(with(192).is_empty());
}

#[test]
fn no_more_posts_may_have_media_fetched_than_are_worked_on() {
    assert_only(&broken(|settings| settings.ingest.max_media_posts = 513), &["(513)", "(512)"]);
    assert!(broken(|settings| settings.ingest.max_media_posts = 512).is_empty());
    let mut ingest = Settings::default().ingest;
    for (posts, media) in [(512, 48), (64, 48), (4, 3), (2, 2), (1, 1)] {
        ingest.max_in_flight_posts = posts;
        assert_eq!(ingest.media_post_count(), media);
    }
}

#[test]
fn the_largest_admissible_post_must_fit_the_byte_budget() {
    let whole = Settings::default().media.max_image_bytes + Settings::default().media.max_audio_bytes;
    assert!(broken(|settings| settings.media.byte_budget_bytes = whole).is_empty());
    let messages = broken(|settings| settings.media.byte_budget_bytes = whole - 1);
    assert_only(&messages, &["(20971520)", "(31457280)", "(52428799)"]);
    let endless = broken(|settings| settings.media.max_image_bytes = u64::MAX);
    let names_both = |message: &String| message.contains("(18446744073709551615)") && message.contains("byte_budget");
    assert!(endless.iter().any(names_both), "{endless:?}");
}

#[test]
fn no_more_sound_is_analysed_than_decoded() {
    assert_only(&broken(|settings| settings.media.analysed_audio_seconds = 601), &["(601)", "(600)"]);
}

#[test]
fn the_largest_record_must_fit_the_prefetch() {
    assert_only(&broken(|settings| settings.ingest.prefetch_max_bytes = 524_287), &["(524288)", "(524287)"]);
}

#[test]
fn a_part_of_a_wait_must_be_shorter_than_the_whole() {
    assert_only(&broken(|settings| settings.media.connect_timeout_ms = 10_000), &["media.connect_timeout_ms (10000)"]);
    assert_only(&broken(|settings| settings.media.total_timeout_ms = 30_000), &["media.total_timeout_ms (30000)"]);
    assert_only(&broken(|settings| settings.publish.deadline_ms = 30_000), &["publish.deadline_ms (30000)"]);
    assert_only(&broken(|settings| settings.publish.base_delay_ms = 10_000), &["publish.base_delay_ms (10000)"]);
    assert_only(&broken(|settings| settings.store.command_timeout_ms = 10_000), &["store.command_timeout_ms (10000)"]);
    assert_only(&broken(|settings| settings.model.max_wait_ms = 30_000), &["model.max_wait_ms (30000)"]);
}

#[test]
fn zero_is_refused_where_it_would_let_nothing_through() {
    type Change = fn(&mut Settings);
    let changes: [(&str, Change); 15] = [
        ("ingest.max_record_bytes", |settings| settings.ingest.max_record_bytes = 0),
        ("ingest.commit_interval_ms", |settings| settings.ingest.commit_interval_ms = 0),
        ("router.attempts", |settings| settings.router.attempts = 0),
        ("router.max_text_chars", |settings| settings.router.max_text_chars = 0),
        ("media.max_pixels", |settings| settings.media.max_pixels = 0),
        ("media.attempts", |settings| settings.media.attempts = 0),
        ("router.parked_deadline_ms", |settings| settings.router.parked_deadline_ms = 0),
        ("media.max_downloads", |settings| settings.media.max_downloads = 0),
        ("media.per_host_concurrency", |settings| settings.media.per_host_concurrency = 0),
        ("media.analysed_audio_seconds", |settings| settings.media.analysed_audio_seconds = 0),
        ("model.text_max_batch_items", |settings| settings.model.text_max_batch_items = 0),
        ("model.image_max_batch_items", |settings| settings.model.image_max_batch_items = 0),
        ("store.ttl_seconds", |settings| settings.store.ttl_seconds = 0),
        ("publish.attempts", |settings| settings.publish.attempts = 0),
        ("ingest.max_in_flight_per_partition", |settings| settings.ingest.max_in_flight_per_partition = 0),
    ];
    for (key, change) in changes {
        assert_only(&broken(change), &[key, "at least 1"]);
    }
    let off = broken(|settings| {
        settings.cache.max_bytes = 0;
        settings.router.lanes = 0;
        settings.model.max_wait_ms = 0;
        settings.media.max_redirects = 0;
        settings.ingest.rewind_attempts = 0;
        settings.ingest.max_media_posts = 0;
        settings.admin.listen.set_port(0);
    });
    assert!(off.is_empty(), "0 has a meaning there: {off:?}");
}

#[test]
fn the_breaker_takes_up_to_a_hundred_per_cent_and_none() {
    assert_only(&broken(|settings| settings.ingest.breaker_failed_percent = 101), &["breaker_failed_percent", "101"]);
    assert!(broken(|settings| settings.ingest.breaker_failed_percent = 100).is_empty());
    assert!(broken(|settings| settings.ingest.breaker_failed_percent = 0).is_empty());
}

#[test]
fn topic_names_must_be_legal() {
    for name in ["", ".", "..", "posts here", "posts/eu", "søk", &"x".repeat(250)] {
        assert_only(&broken(|settings| settings.kafka.input_topic = name.to_owned()), &["kafka.input_topic"]);
    }
    assert!(broken(|settings| settings.kafka.input_topic = "x".repeat(249)).is_empty());
}

#[test]
fn topics_must_be_distinct() {
    let messages = broken(|settings| settings.kafka.dead_letters_topic = "posts".to_owned());
    assert_only(&messages, &["kafka.input_topic (`posts`)", "kafka.dead_letters_topic (`posts`)"]);
    let collide = broken(|settings| {
        settings.kafka.sentiment_topic = "out.put".to_owned();
        settings.kafka.embeddings_topic = "out_put".to_owned();
    });
    assert_only(&collide, &["out.put", "out_put"]);
}

#[test]
fn every_broker_must_be_a_host_and_a_port() {
    for brokers in ["", "broker", "broker:", ":9092", "broker:0", "broker:65536", "a:9092,,b:9092", "a:9092;b:x"] {
        let messages = broken(|settings| settings.kafka.brokers = brokers.to_owned());
        assert_only(&messages, &["kafka.brokers"]);
    }
    for brokers in ["a:9092", "a:9092, b:9093", "SSL://a:9093", "[::1]:9092"] {
        assert!(broken(|settings| settings.kafka.brokers = brokers.to_owned()).is_empty(), "{brokers}");
    }
}

#[test]
fn the_group_and_the_client_must_have_names() {
    assert_only(&broken(|settings| settings.kafka.group_id = " ".to_owned()), &["kafka.group_id"]);
    assert_only(&broken(|settings| settings.kafka.client_id = String::new()), &["kafka.client_id"]);
}

#[test]
fn an_allowed_media_address_must_be_exact() {
    for address in ["127.0.0.1:0", "0.0.0.0:80", "[::]:80"] {
        assert_only(&broken(|settings| settings.media.allow = vec![address.parse().unwrap()]), &[address]);
    }
    assert!(broken(|settings| settings.media.allow = vec!["127.0.0.1:8090".parse().unwrap()]).is_empty());
}

#[test]
fn the_user_agent_must_be_sendable() {
    for agent in ["", "jtav\r\nx: y", "jtäv"] {
        assert_only(&broken(|settings| settings.media.user_agent = agent.to_owned()), &["media.user_agent"]);
    }
}

#[test]
fn an_erased_post_must_stay_blocked_for_longer_than_labels_are_kept() {
    assert_only(&broken(|settings| settings.store.ttl_seconds = 3_456_000), &["(3456000)"]);
}

#[test]
fn an_erasure_that_waits_for_replicas_has_time_for_a_second_try_and_replicas_to_wait_for() {
    let waiting = |wait_ms| {
        broken(move |settings| {
            settings.store.erasure_replicas = 1;
            settings.store.erasure_wait_ms = wait_ms;
        })
    };
    assert!(waiting(7_999).is_empty());
    assert_only(&waiting(8_000), &["(8000)", "(2000)", "(10000)"]);
    assert!(broken(|settings| settings.store.erasure_wait_ms = 8_000).is_empty(), "nobody waits");
    let embedded = broken(|settings| {
        settings.store.erasure_replicas = 1;
        settings.store.kind = StoreKind::Embedded;
    });
    assert_only(&embedded, &["store.erasure_replicas", "embedded"]);
}

#[test]
fn the_store_address_must_be_one_and_its_password_is_not_shown() {
    let messages = broken(|settings| settings.store.url = SecretUrl::new("http://:canary@host"));
    assert_only(&messages, &["store.url", "http://***@host"]);
    assert!(!messages[0].contains("canary"));
    assert!(
        broken(|settings| {
            settings.store.url = SecretUrl::new("");
            settings.store.kind = StoreKind::Embedded;
        })
        .is_empty()
    );
}

#[test]
fn all_violations_are_reported_at_once() {
    let messages = broken(|settings| {
        settings.ingest.drain_timeout_ms = 30_000;
        settings.media.byte_budget_bytes = 1;
        settings.store.erased_ttl_seconds = 1;
    });
    // The drain breaks two: the group's patience and the time to shut down.
    assert_eq!(messages.len(), 4, "{messages:?}");
}

#[test]
fn a_list_of_hosts_holds_names_and_addresses() {
    let lists = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        broken(|settings| (settings.media.allow_hosts, settings.media.deny_hosts) = (names.clone(), names))
    };
    assert!(lists(&["example.org", "*.example.org", "bücher.example", "192.0.2.7", "2001:db8::7", "[::1]"]).is_empty());
    for bad in ["", "*", "*.", "a.*.org", "http://example.org", "example.org:80", "a/b", "a b", "example.org.", "u@h"] {
        assert_eq!(lists(&[bad]).len(), 2, "{bad}");
    }
}

#[test]
fn a_source_that_is_switched_on_says_how_far_it_reaches() {
    use crate::MediaSource;
    let with = |source, roots: &[&str], endpoint: Option<&str>| {
        broken(|settings| {
            settings.media.sources = vec![source];
            settings.media.file_roots = roots.iter().map(Into::into).collect();
            settings.media.s3_endpoint = endpoint.map(str::to_owned);
        })
    };
    assert!(with(MediaSource::Data, &[], None).is_empty());
    assert!(with(MediaSource::File, &["/srv/media"], None).is_empty());
    assert_only(&with(MediaSource::File, &[], None), &["media.file_roots"]);
    assert_only(&with(MediaSource::File, &["/srv/media", "media"], None), &["media.file_roots"]);
    assert!(with(MediaSource::S3, &[], Some("https://{bucket}.s3.example.org/{key}")).is_empty());
    for bad in [None, Some("https://s3.example.org/{key}"), Some("http://{bucket}.example.org/{key}")] {
        assert_only(&with(MediaSource::S3, &[], bad), &["media.s3_endpoint"]);
    }
}

#[test]
fn a_nat64_prefix_is_a_network_of_a_length_that_has_a_place_for_an_address() {
    let with = |prefix: &str| broken(|settings| settings.media.nat64_prefixes = vec![prefix.to_owned()]);
    for good in ["64:ff9b::/96", "2001:db8:64::/48", "2001:db8::/32"] {
        assert!(with(good).is_empty(), "{good}");
    }
    for bad in ["", "64:ff9b::", "64:ff9b::/95", "64:ff9b::1/96", "10.0.0.0/8", "2001:db8:64::/32"] {
        assert_only(&with(bad), &["media.nat64_prefixes"]);
    }
}

#[test]
fn five_redirects_are_the_most() {
    assert!(broken(|settings| settings.media.max_redirects = 0).is_empty());
    assert_only(&broken(|settings| settings.media.max_redirects = 6), &["is 6", "at most 5"]);
}

#[test]
fn an_embedded_store_shares_nothing() {
    let messages = broken(|settings| {
        settings.cache.shared = true;
        settings.store.kind = StoreKind::Embedded;
    });
    assert_only(&messages, &["cache.shared"]);
}

#[test]
fn an_address_that_others_can_reach_needs_keys_and_tls_needs_both_files() {
    let open = |settings: &mut Settings| settings.serve.listen = "0.0.0.0:9700".parse().unwrap();
    assert_only(&broken(open), &["serve.listen", "serve.keys_file", "--new-key"]);
    let with_keys = broken(|settings| {
        open(settings);
        settings.serve.keys_file = Some("keys.toml".into());
    });
    assert!(with_keys.is_empty(), "{with_keys:?}");
    assert!(broken(|settings| settings.serve.listen = "[::1]:1".parse().unwrap()).is_empty());
    let half = broken(|settings| settings.serve.tls_key_file = Some("key.pem".into()));
    assert_only(&half, &["serve.tls_certificate_file", "serve.tls_key_file"]);
}

#[test]
fn another_page_is_named_by_its_origin_and_vectors_lie_in_the_store_that_is_redis() {
    let of = |origin: &str| broken(|settings| settings.serve.allow_origins = vec![origin.to_owned()]);
    assert!(of("https://moderation.example").is_empty());
    for wrong in ["*", "moderation.example", "https://moderation.example/", "https://*.example"] {
        assert_only(&of(wrong), &["serve.allow_origins"]);
    }
    let embedded = broken(|settings| {
        settings.index.backend = IndexBackend::Redis;
        settings.store.kind = StoreKind::Embedded;
    });
    assert_only(&embedded, &["index.backend", "store.kind"]);
}

#[test]
fn a_server_has_room_for_the_largest_body_that_it_takes() {
    let small = broken(|settings| settings.serve.max_bodies_bytes = settings.media.max_image_bytes as usize - 1);
    assert_only(&small, &["serve.max_bodies_bytes", "serve.max_body_bytes", "media.max_image_bytes"]);
    let json = broken(|settings| settings.serve.max_body_bytes = settings.serve.max_bodies_bytes + 1);
    assert_only(&json, &["serve.max_bodies_bytes", "serve.max_body_bytes", "media.max_image_bytes"]);
}
