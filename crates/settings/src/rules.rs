//! Rules between values. All violations are reported at once, each with the values that break it.

use std::collections::BTreeMap;

use crate::{IndexBackend, MediaSource, Settings, StoreKind, Violation};

#[derive(Default)]
struct Rules {
    violations: Vec<Violation>,
}

impl Rules {
    fn require(&mut self, holds: bool, keys: &[&str], message: impl FnOnce() -> String) {
        if !holds {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            self.violations.push(Violation { keys, message: message(), origins: Vec::new() });
        }
    }

    fn at_most<T: PartialOrd + std::fmt::Display>(&mut self, key: &str, value: T, most: T) {
        self.require(value <= most, &[key], || format!("{key} is {value} and must be at most {most}"));
    }
}

impl Settings {
    /// Checks every rule between the values.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        let mut rules = Rules::default();
        self.positive(&mut rules);
        self.membership(&mut rules);
        self.deadlines(&mut rules);
        self.sizes(&mut rules);
        self.of_four_bytes(&mut rules);
        self.of_what_is_made_at_the_start(&mut rules);
        self.names(&mut rules);
        self.addresses(&mut rules);
        self.sources(&mut rules);
        self.store_rules(&mut rules);
        self.serving(&mut rules);
        if rules.violations.is_empty() { Ok(()) } else { Err(rules.violations) }
    }

    /// Bounds of zero would let nothing through, and a period of zero would spin. Not `NonZero` in the sections: serde's words
    /// for a 0 ("expected a nonzero u64") say less, they would come before the other rules are looked at, and every use would
    /// have to unwrap a number.
    fn positive(&self, rules: &mut Rules) {
        let Settings { ingest, router, media, model, cache, store, publish, admin, serve, index, shutdown, .. } = self;
        let at_least_one: [(&str, u64); 53] = [
            ("ingest.max_in_flight_posts", ingest.max_in_flight_posts as u64),
            ("ingest.max_in_flight_bytes", ingest.max_in_flight_bytes as u64),
            ("media.max_decoded", media.max_decoded as u64),
            ("ingest.max_in_flight_per_partition", ingest.max_in_flight_per_partition as u64),
            ("ingest.commit_interval_ms", ingest.commit_interval_ms),
            ("ingest.drain_timeout_ms", ingest.drain_timeout_ms),
            ("ingest.max_record_bytes", ingest.max_record_bytes as u64),
            ("ingest.session_timeout_ms", ingest.session_timeout_ms),
            ("ingest.max_poll_interval_ms", ingest.max_poll_interval_ms),
            ("router.post_deadline_ms", router.post_deadline_ms),
            ("router.parked_deadline_ms", router.parked_deadline_ms),
            ("router.trial_deadline_ms", router.trial_deadline_ms),
            ("router.attempts", router.attempts.into()),
            ("router.max_text_chars", router.max_text_chars as u64),
            ("media.max_image_bytes", media.max_image_bytes),
            ("media.max_audio_bytes", media.max_audio_bytes),
            ("media.max_pixels", media.max_pixels),
            ("media.max_decoded_audio_seconds", media.max_decoded_audio_seconds.into()),
            ("media.analysed_audio_seconds", media.analysed_audio_seconds.into()),
            ("media.connect_timeout_ms", media.connect_timeout_ms),
            ("media.total_timeout_ms", media.total_timeout_ms),
            ("media.attempts", media.attempts.into()),
            ("media.max_downloads", media.max_downloads as u64),
            ("media.per_host_concurrency", media.per_host_concurrency as u64),
            ("media.max_idle_connections", media.max_idle_connections as u64),
            ("media.circuit_max_open_ms", media.circuit_max_open_ms),
            ("media.decode_memory_bytes", media.decode_memory_bytes),
            ("media.decode_cpu_ms", media.decode_cpu_ms),
            ("media.decode_wall_ms", media.decode_wall_ms),
            ("model.text_max_batch_items", model.text_max_batch_items as u64),
            ("model.audio_max_batch_items", model.audio_max_batch_items as u64),
            ("model.image_max_batch_items", model.image_max_batch_items as u64),
            ("model.fusion_max_batch_items", model.fusion_max_batch_items as u64),
            ("cache.shared_ttl_seconds", cache.shared_ttl_seconds),
            ("cache.shared_max_items", cache.shared_max_items),
            ("store.ttl_seconds", store.ttl_seconds),
            ("store.command_timeout_ms", store.command_timeout_ms),
            ("store.erasure_wait_ms", store.erasure_wait_ms),
            ("publish.attempts", publish.attempts.into()),
            ("publish.base_delay_ms", publish.base_delay_ms),
            ("publish.deadline_ms", publish.deadline_ms),
            ("admin.hung_after_ms", admin.hung_after_ms),
            ("serve.max_connections", serve.max_connections as u64),
            ("serve.max_body_bytes", serve.max_body_bytes as u64),
            ("serve.request_timeout_ms", serve.request_timeout_ms),
            ("serve.requests_per_second", serve.requests_per_second.into()),
            ("serve.max_streams", serve.max_streams as u64),
            ("serve.max_streams_per_reader", serve.max_streams_per_reader as u64),
            ("serve.recent_events", serve.recent_events as u64),
            ("serve.max_label_posts", serve.max_label_posts as u64),
            ("serve.max_media", serve.max_media as u64),
            ("index.window_hours", index.window_hours),
            ("shutdown.shutdown_timeout_ms", shutdown.shutdown_timeout_ms),
        ];
        for (key, value) in at_least_one {
            rules.require(value > 0, &[key], || format!("{key} is 0 and must be at least 1"));
        }
    }

    fn membership(&self, rules: &mut Rules) {
        let ingest = &self.ingest;
        let (drain, session, poll) = (ingest.drain_timeout_ms, ingest.session_timeout_ms, ingest.max_poll_interval_ms);
        // Half: the group must hear from us again after the drain and before it loses patience.
        rules.require(
            drain.saturating_mul(2) < session.min(poll),
            &["ingest.drain_timeout_ms", "ingest.session_timeout_ms", "ingest.max_poll_interval_ms"],
            || {
                format!(
                    "ingest.drain_timeout_ms ({drain}) must be less than half of the smaller of \
                     ingest.session_timeout_ms ({session}) and ingest.max_poll_interval_ms ({poll})"
                )
            },
        );
        rules.require(session <= poll, &["ingest.session_timeout_ms", "ingest.max_poll_interval_ms"], || {
            format!(
                "ingest.session_timeout_ms ({session}) must not be more than ingest.max_poll_interval_ms ({poll}): \
                     librdkafka refuses to start"
            )
        });
        let percent = ingest.breaker_failed_percent;
        rules.require(percent <= 100, &["ingest.breaker_failed_percent"], || {
            format!("ingest.breaker_failed_percent is {percent} and must be at most 100 (0 switches the breaker off)")
        });
        let shutdown = self.shutdown.shutdown_timeout_ms;
        rules.require(shutdown >= drain, &["shutdown.shutdown_timeout_ms", "ingest.drain_timeout_ms"], || {
            format!(
                "shutdown.shutdown_timeout_ms ({shutdown}) must be at least ingest.drain_timeout_ms ({drain}): \
                     leaving the group drains every partition"
            )
        });
        let (posts, parked) = (ingest.max_in_flight_posts, ingest.max_parked_posts);
        let partition = ingest.max_in_flight_per_partition;
        rules.require(
            partition <= posts.saturating_add(parked),
            &["ingest.max_in_flight_per_partition", "ingest.max_in_flight_posts", "ingest.max_parked_posts"],
            || {
                format!(
                    "ingest.max_in_flight_per_partition ({partition}) must not be more than ingest.max_in_flight_posts \
                     ({posts}) and ingest.max_parked_posts ({parked}) together"
                )
            },
        );
        let media = ingest.max_media_posts;
        rules.require(media <= posts, &["ingest.max_media_posts", "ingest.max_in_flight_posts"], || {
            format!("ingest.max_media_posts ({media}) must not be more than ingest.max_in_flight_posts ({posts})")
        });
    }

    fn deadlines(&self, rules: &mut Rules) {
        let within = [
            ("media.decode_cpu_ms", self.media.decode_cpu_ms, "media.decode_wall_ms", self.media.decode_wall_ms),
            (
                "media.connect_timeout_ms",
                self.media.connect_timeout_ms,
                "media.total_timeout_ms",
                self.media.total_timeout_ms,
            ),
            (
                "media.total_timeout_ms",
                self.media.total_timeout_ms,
                "router.post_deadline_ms",
                self.router.post_deadline_ms,
            ),
            ("publish.deadline_ms", self.publish.deadline_ms, "router.post_deadline_ms", self.router.post_deadline_ms),
            ("publish.base_delay_ms", self.publish.base_delay_ms, "publish.deadline_ms", self.publish.deadline_ms),
            (
                "store.command_timeout_ms",
                self.store.command_timeout_ms,
                "publish.deadline_ms",
                self.publish.deadline_ms,
            ),
            (
                "router.trial_deadline_ms",
                self.router.trial_deadline_ms,
                "router.post_deadline_ms",
                self.router.post_deadline_ms,
            ),
            ("model.max_wait_ms", self.model.max_wait_ms, "router.post_deadline_ms", self.router.post_deadline_ms),
        ];
        for (inner_key, inner, outer_key, outer) in within {
            rules.require(inner < outer, &[inner_key, outer_key], || {
                format!("{inner_key} ({inner}) must be less than {outer_key} ({outer}), which it is a part of")
            });
        }
    }

    fn sizes(&self, rules: &mut Rules) {
        let media = &self.media;
        let (image, audio, budget) = (media.max_image_bytes, media.max_audio_bytes, media.byte_budget_bytes);
        // A post that cannot fit an empty budget would wait for ever.
        rules.require(
            image.saturating_add(audio) <= budget,
            &["media.byte_budget_bytes", "media.max_image_bytes", "media.max_audio_bytes"],
            || {
                format!(
                    "the largest admissible post does not fit: media.max_image_bytes ({image}) and \
                     media.max_audio_bytes ({audio}) together must not be more than media.byte_budget_bytes ({budget})"
                )
            },
        );
        let (analysed, decoded) = (media.analysed_audio_seconds, media.max_decoded_audio_seconds);
        rules.require(
            analysed <= decoded,
            &["media.analysed_audio_seconds", "media.max_decoded_audio_seconds"],
            || {
                format!(
                    "media.analysed_audio_seconds ({analysed}) must not be more than \
                     media.max_decoded_audio_seconds ({decoded})"
                )
            },
        );
        let (record, prefetch) = (self.ingest.max_record_bytes, self.ingest.prefetch_max_bytes);
        rules.require(record <= prefetch, &["ingest.max_record_bytes", "ingest.prefetch_max_bytes"], || {
            format!("ingest.max_record_bytes ({record}) must not be more than ingest.prefetch_max_bytes ({prefetch})")
        });
    }

    /// What takes these, and what must not be more than they are, has four bytes for them: said here, and not when the worker
    /// starts.
    fn of_four_bytes(&self, rules: &mut Rules) {
        let Settings { ingest, media, publish, .. } = self;
        for (key, value) in [
            ("ingest.max_poll_interval_ms", ingest.max_poll_interval_ms),
            ("media.byte_budget_bytes", media.byte_budget_bytes),
            ("publish.deadline_ms", publish.deadline_ms),
        ] {
            rules.at_most(key, value, u64::from(u32::MAX));
        }
    }

    /// Queues, places and processes that are made for these at the start: far beyond what any machine is given, and far below
    /// what would end the start without a word.
    fn of_what_is_made_at_the_start(&self, rules: &mut Rules) {
        for (key, value, most) in [
            ("ingest.max_in_flight_posts", self.ingest.max_in_flight_posts, 65_536),
            ("media.decode_workers", self.media.decode_workers, 1_024),
            ("media.max_downloads", self.media.max_downloads, 65_536),
        ] {
            rules.at_most(key, value, most);
        }
    }

    fn names(&self, rules: &mut Rules) {
        let mut owners: BTreeMap<String, (&str, &str)> = BTreeMap::new();
        for (key, topic) in self.kafka.topics() {
            rules.require(is_topic_name(topic), &[key], || {
                format!(
                    "{key} (`{topic}`) is no topic name: 1 to 249 letters, digits, `.`, `_` or `-`, and not `.` or `..`"
                )
            });
            // Kafka refuses two topics that differ only there, because their metrics would have one name.
            let Some((other_key, other)) = owners.insert(topic.replace('.', "_"), (key, topic)) else {
                continue;
            };
            rules.require(false, &[other_key, key], || {
                format!("{other_key} (`{other}`) and {key} (`{topic}`) must be different topics")
            });
        }
        for (key, value) in [("kafka.group_id", &self.kafka.group_id), ("kafka.client_id", &self.kafka.client_id)] {
            rules.require(!value.trim().is_empty(), &[key], || format!("{key} is empty"));
        }
        let agent = &self.media.user_agent;
        let sendable = !agent.is_empty() && agent.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        rules.require(sendable, &["media.user_agent"], || {
            format!("media.user_agent (`{}`) must be printable ASCII and not empty", agent.escape_debug())
        });
    }

    fn addresses(&self, rules: &mut Rules) {
        for broker in self.kafka.brokers.split(',').map(str::trim) {
            rules.require(is_host_and_port(broker), &["kafka.brokers"], || {
                format!("kafka.brokers: `{broker}` is not host:port with a port from 1 to 65535")
            });
        }
        for prefix in &self.media.nat64_prefixes {
            rules.require(is_nat64_prefix(prefix), &["media.nat64_prefixes"], || {
                format!(
                    "media.nat64_prefixes: `{prefix}` is no prefix: an IPv6 network of 32, 40, 48, 56, 64 or 96 bits, such as \
                     64:ff9b::/96"
                )
            });
        }
        for address in &self.media.allow {
            rules.require(address.port() != 0 && !address.ip().is_unspecified(), &["media.allow"], || {
                format!("media.allow: `{address}` is not one exact address: no port 0, no 0.0.0.0 or [::]")
            });
        }
    }

    fn sources(&self, rules: &mut Rules) {
        let media = &self.media;
        for (key, hosts) in [("media.allow_hosts", &media.allow_hosts), ("media.deny_hosts", &media.deny_hosts)] {
            for host in hosts {
                rules.require(is_host_rule(host), &[key], || {
                    format!("{key}: `{host}` is no host: give a name, `*.` and a name, or an address")
                });
            }
        }
        let redirects = media.max_redirects;
        rules.require(redirects <= 5, &["media.max_redirects"], || {
            format!("media.max_redirects is {redirects} and must be at most 5: a longer chain is a trap")
        });
        let has = |source| media.sources.contains(&source);
        let absolute = !media.file_roots.is_empty() && media.file_roots.iter().all(|root| root.is_absolute());
        rules.require(!has(MediaSource::File) || absolute, &["media.sources", "media.file_roots"], || {
            "media.sources has `file`, so media.file_roots must name folders, each by its whole path".to_owned()
        });
        let endpoint = media.s3_endpoint.as_deref().unwrap_or_default();
        let whole = ["{bucket}", "{key}"].iter().all(|place| endpoint.matches(place).count() == 1);
        let is_endpoint = endpoint.starts_with("https://") && whole;
        rules.require(!has(MediaSource::S3) || is_endpoint, &["media.sources", "media.s3_endpoint"], || {
            format!(
                "media.sources has `s3`, so media.s3_endpoint (`{endpoint}`) must be an https address with {{bucket}} and {{key}}"
            )
        });
    }

    /// Whoever can reach an address from another machine must show a key.
    fn serving(&self, rules: &mut Rules) {
        let serve = &self.serve;
        let is_open = serve.keys_file.is_some() || serve.listen.ip().is_loopback();
        rules.require(is_open, &["serve.listen", "serve.keys_file"], || {
            format!(
                "serve.listen ({}) can be reached from other machines, so serve.keys_file must name a file of keys: \
                 `jtav serve --new-key NAME` prints an entry for it",
                serve.listen
            )
        });
        let (certificate, key) = (serve.tls_certificate_file.is_some(), serve.tls_key_file.is_some());
        rules.require(certificate == key, &["serve.tls_certificate_file", "serve.tls_key_file"], || {
            "serve.tls_certificate_file and serve.tls_key_file belong together: give both or none".to_owned()
        });
        let largest = (serve.max_body_bytes as u64).max(self.media.max_image_bytes);
        rules.require(
            serve.max_bodies_bytes as u64 >= largest,
            &["serve.max_bodies_bytes", "serve.max_body_bytes", "media.max_image_bytes"],
            || {
                format!(
                    "serve.max_bodies_bytes ({}) is less than one body may have ({largest}: the larger of \
                     serve.max_body_bytes and media.max_image_bytes): none of that size could be sent",
                    serve.max_bodies_bytes
                )
            },
        );
        for origin in &serve.allow_origins {
            let has_scheme = origin.starts_with("https://") || origin.starts_with("http://");
            let is_origin = has_scheme && !origin.ends_with('/') && !origin.contains('*');
            rules.require(is_origin, &["serve.allow_origins"], || {
                format!("serve.allow_origins: `{origin}` is no origin such as https://moderation.example")
            });
        }
        let is_redis = self.index.backend == IndexBackend::Redis;
        rules.require(!is_redis || self.store.kind == StoreKind::Redis, &["index.backend", "store.kind"], || {
            "index.backend = \"redis\" needs store.kind = \"redis\": vectors lie beside the labels".to_owned()
        });
        rules.at_most("serve.recent_events", serve.recent_events, 1_000_000);
        rules.at_most("index.window_hours", self.index.window_hours, 24 * 366);
    }

    fn store_rules(&self, rules: &mut Rules) {
        let shares = self.cache.shared;
        rules.require(!shares || self.store.kind == StoreKind::Redis, &["cache.shared", "store.kind"], || {
            "cache.shared needs store.kind = \"redis\": an embedded store is nobody else's".to_owned()
        });
        let store = &self.store;
        let (ttl, erased) = (store.ttl_seconds, store.erased_ttl_seconds);
        rules.require(ttl < erased, &["store.ttl_seconds", "store.erased_ttl_seconds"], || {
            format!(
                "store.ttl_seconds ({ttl}) must be less than store.erased_ttl_seconds ({erased}): \
                 an erased post must stay blocked for longer than anything of it is kept"
            )
        });
        let (wait, command, deadline) = (store.erasure_wait_ms, store.command_timeout_ms, self.publish.deadline_ms);
        rules.require(
            store.erasure_replicas == 0 || wait.saturating_add(command) < deadline,
            &["store.erasure_wait_ms", "store.command_timeout_ms", "publish.deadline_ms"],
            || {
                format!(
                    "store.erasure_wait_ms ({wait}) and store.command_timeout_ms ({command}) together must be less than \
                     publish.deadline_ms ({deadline}), or an erasure has no second try"
                )
            },
        );
        rules.require(
            store.erasure_replicas == 0 || store.kind == StoreKind::Redis,
            &["store.erasure_replicas", "store.kind"],
            || "store.erasure_replicas needs store.kind = \"redis\": an embedded store has no replicas".to_owned(),
        );
        let url = store.url.expose();
        let known = ["redis://", "rediss://", "redis+unix://", "unix://"]
            .iter()
            .any(|scheme| url.strip_prefix(scheme).is_some_and(|place| !place.is_empty()));
        rules.require(store.kind == StoreKind::Embedded || known, &["store.url"], || {
            format!("store.url (`{}`) must begin with redis://, rediss://, redis+unix:// or unix://", store.url)
        });
    }
}

/// Whether it could be one; the fetch box reads it with a URL parser.
fn is_host_rule(text: &str) -> bool {
    if text.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "*/\\?#@:[]<>^|%".contains(c);
    !name.is_empty() && !name.ends_with('.') && !name.contains(forbidden)
}

/// Whether it could be one; the fetch box reads it (RFC 6052 2.2).
fn is_nat64_prefix(text: &str) -> bool {
    text.split_once('/').is_some_and(|(ip, bits)| {
        let bits = bits.parse::<u32>().ok().filter(|bits| matches!(bits, 32 | 40 | 48 | 56 | 64 | 96));
        let ip = ip.parse::<std::net::Ipv6Addr>();
        ip.is_ok_and(|ip| bits.is_some_and(|bits| u128::from(ip) << bits == 0))
    })
}

/// As the broker checks it (`org.apache.kafka.common.internals.Topic`).
fn is_topic_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}

fn is_host_and_port(broker: &str) -> bool {
    // librdkafka takes an optional protocol before each: `SSL://host:9093`.
    let place = broker.split_once("://").map_or(broker, |(_, place)| place);
    place.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests;
