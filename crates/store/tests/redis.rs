//! What only a real server can show: the keys as they lie there, faults, recovery.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::join_all;
use jtav_schemas::Modality;
use jtav_schemas::redis_key::{ENCODINGS_KEY, encoding_key, erased_key, field, label_key, models_key};
use jtav_store::{Applied, MAX_SHARED_BYTES, RedisOptions, RedisStore, Store, StoreError};
use support::{HOUR, RealRedis, label, ready, runtime};

fn impatient(url: String) -> RedisStore {
    RedisStore::new(RedisOptions { command_timeout: Duration::from_millis(300), ..RedisOptions::new(url) }).unwrap()
}

/// Repeats a write until it goes through, as a publisher does, for at most 10 s.
async fn until_written(store: &dyn Store, offset: i64) -> Duration {
    let started = Instant::now();
    loop {
        match store.apply(&label("recovery", "m", 1, offset)).await {
            Ok(Applied::Written | Applied::Same) => return started.elapsed(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn the_keys_are_the_documented_ones_and_every_one_lapses() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let mut redis = server.raw().await;
        store.apply(&label("p 1", "m@1", 3, 4)).await.unwrap();
        store.erase("p 2", 8, HOUR).await.unwrap();
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
        keys.sort();
        let mut documented = vec![label_key("p 1", "m@1"), models_key("p 1"), erased_key("p 2")];
        documented.sort();
        assert_eq!(keys, documented);
        for key in &keys {
            let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut redis).await.unwrap();
            assert!((3_590_000..=3_600_000).contains(&left), "{key}: {left} ms");
        }
        let hash: BTreeMap<String, Vec<u8>> =
            redis::cmd("HGETALL").arg(label_key("p 1", "m@1")).query_async(&mut redis).await.unwrap();
        let names: Vec<&str> = hash.keys().map(String::as_str).collect();
        let mut expected = vec![
            field::REVISION,
            field::SOURCE,
            field::LABEL,
            field::CERTAIN,
            field::PROBABILITY,
            field::P_NEGATIVE,
            field::P_NEUTRAL,
            field::P_POSITIVE,
            field::VALENCE,
            field::LANG,
            field::SENTIMENT,
            field::EVENT_ID,
            field::U,
            field::TEXT,
            field::AUDIO,
            field::SEMANTIC,
            field::LABELLED_AT_MS,
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(hash[field::REVISION], b"3");
        assert_eq!(hash[field::SOURCE], b"3:4");
        assert_eq!((&hash[field::LABEL][..], &hash[field::CERTAIN][..]), (&b"negative"[..], &b"1"[..]));
        assert_eq!((&hash[field::P_NEUTRAL][..], &hash[field::LANG][..]), (&b"0.1"[..], &b"en"[..]));
        assert_eq!(hash[field::U].len(), 4);
        let marker: String = redis::cmd("GET").arg(erased_key("p 2")).query_async(&mut redis).await.unwrap();
        assert_eq!(marker, "8");
        let models: Vec<String> = redis::cmd("SMEMBERS").arg(models_key("p 1")).query_async(&mut redis).await.unwrap();
        assert_eq!(models, ["m@1"]);
    });
}

#[test]
fn what_lapsed_is_gone_by_the_clock_of_the_server() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let mut write = label("p", "m", 1, 1);
        write.ttl = Duration::from_millis(20);
        store.apply(&write).await.unwrap();
        store.erase("q", 1, Duration::from_millis(20)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(store.read("p", "m").await, Ok(None));
        assert_eq!(store.is_erased("q").await, Ok(false));
    });
}

#[test]
fn all_keys_of_a_post_share_a_cluster_slot() {
    let Some(server) = RealRedis::start(&["--cluster-enabled", "yes"]) else { return };
    runtime().block_on(async {
        let mut redis = server.raw().await;
        for id in ["post-1", "a}b", "ä{x"] {
            let mut slots = Vec::new();
            for key in [label_key(id, "m"), erased_key(id), models_key(id)] {
                let slot: u16 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut redis).await.unwrap();
                slots.push(slot);
            }
            assert!(slots.iter().all(|slot| *slot == slots[0]), "{id}: {slots:?}");
        }
        let error = server.store().apply(&label("p", "m", 1, 1)).await.unwrap_err();
        assert!(error.is_retryable(), "a cluster that is not formed may come up: {error}");
    });
}

#[test]
fn scripts_that_the_server_forgot_are_loaded_again() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let mut redis = server.raw().await;
        for revision in 0..3 {
            assert_eq!(store.apply(&label("p", "m", revision, 1)).await, Ok(Applied::Written));
            redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
        }
        assert_eq!(store.erase("p", 1, HOUR).await, Ok(1));
    });
}

/// Calls that are made together travel together.
#[test]
fn of_many_calls_at_once_each_has_its_own_answer_whatever_the_server_forgot_or_refuses() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let mut redis = server.raw().await;
        redis::cmd("SET").arg(label_key("post-70", "m")).arg("x").exec_async(&mut redis).await.unwrap();
        for round in 0..3u64 {
            redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut redis).await.unwrap();
            let calls = (0..200).map(|post| {
                let (store, write) = (store.clone(), label(&format!("post-{post}"), "m", round * (post % 2), 1));
                async move {
                    let applied = store.apply(&write).await;
                    (applied, store.standing(&write.post_id, "m").await)
                }
            });
            for (post, (applied, standing)) in join_all(calls).await.into_iter().enumerate() {
                if post == 70 {
                    assert!(matches!(applied, Err(StoreError::ForeignKey(_))), "{applied:?}");
                    assert!(standing.is_err(), "{standing:?}");
                    continue;
                }
                let revision = round * (post as u64 % 2);
                let is_new = round == 0 || revision > 0;
                assert_eq!(applied, Ok(if is_new { Applied::Written } else { Applied::Same }), "{post}, {round}");
                assert_eq!(standing.unwrap().newest.map(|(newest, _)| newest), Some(revision), "{post}, {round}");
            }
        }
    });
}

#[test]
fn calls_that_a_runtime_left_behind_hold_up_none_of_the_next() {
    let Some(server) = RealRedis::start(&[]) else { return };
    let single = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = single();
    let store = first.block_on(async { ready(server.store()).await });
    // Asked, and the runtime ends before anything leaves.
    first.block_on(async { assert!(store.apply(&label("left", "m", 1, 1)).now_or_never().is_none()) });
    drop(first);
    single().block_on(async {
        let written = tokio::time::timeout(Duration::from_secs(20), until_written(store.as_ref(), 0));
        written.await.expect("a call of the next runtime never left");
        assert_eq!(store.standing("left", "m").await.unwrap().newest, None, "what was left behind was never sent");
    });
}

#[test]
fn a_server_that_goes_away_is_told_to_every_call_that_was_under_way() {
    let Some(mut server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(impatient(server.url())).await;
        until_written(store.as_ref(), 0).await;
        server.freeze();
        let calls = join_all((0..150u64).map(|post| store.apply(&label(&format!("gone-{post}"), "m", 1, 1))));
        let (answers, ()) = futures::join!(calls, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.kill();
        });
        for answer in answers {
            assert!(answer.as_ref().is_err_and(StoreError::is_retryable), "{answer:?}");
        }
        server.restart();
        until_written(store.as_ref(), 1).await;
    });
}

#[test]
fn a_killed_server_fails_retryably_and_is_found_again() {
    let Some(mut server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(impatient(server.url())).await;
        assert_eq!(store.apply(&label("recovery", "m", 1, 0)).await, Ok(Applied::Written));
        server.kill();
        for _ in 0..5 {
            let error = store.apply(&label("recovery", "m", 1, 1)).await.unwrap_err();
            assert!(error.is_retryable(), "{error:?}");
        }
        assert!(store.ping().await.unwrap_err().is_retryable());
        server.restart();
        let took = until_written(store.as_ref(), 2).await;
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}

#[test]
fn a_store_that_starts_before_its_server_finds_it() {
    let Some(mut server) = RealRedis::start(&[]) else { return };
    server.kill();
    runtime().block_on(async {
        let store = impatient(server.url());
        assert!(store.ping().await.unwrap_err().is_retryable());
        server.restart();
        until_written(&store, 0).await;
    });
}

#[test]
fn a_server_that_hangs_times_out_and_late_answers_do_no_harm() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(impatient(server.url())).await;
        until_written(store.as_ref(), 0).await;
        server.freeze();
        let started = Instant::now();
        let error = store.apply(&label("p", "m", 5, 5)).await.unwrap_err();
        assert!(
            error.is_retryable() && started.elapsed() < Duration::from_secs(15),
            "{error:?} {:?}",
            started.elapsed()
        );
        server.thaw();
        until_written(store.as_ref(), 1).await;
        // The write that timed out was carried out all the same; repeating it is a redelivery, not a fault.
        assert_eq!(store.apply(&label("p", "m", 5, 5)).await, Ok(Applied::Same));
        let answers =
            join_all((0..50).map(|revision| store.read("p", if revision % 2 == 0 { "m" } else { "x" }))).await;
        for (at, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap().is_some(), at % 2 == 0, "answers belong to their calls");
        }
    });
}

#[test]
fn a_full_server_refuses_labels_retryably_and_still_erases() {
    let Some(server) = RealRedis::start(&["--maxmemory-policy", "noeviction"]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let mut redis = server.raw().await;
        store.apply(&label("p", "m", 1, 1)).await.unwrap();
        redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").exec_async(&mut redis).await.unwrap();
        for post in ["p", "q"] {
            let error = store.apply(&label(post, "m", 2, 2)).await.unwrap_err();
            assert_eq!((error.is_retryable(), error.code()), (true, "out_of_memory"), "{error}");
        }
        assert_eq!(store.read("p", "m").await.unwrap().unwrap().revision, 1, "what was there is untouched");
        assert_eq!(store.erase("p", 3, HOUR).await, Ok(1));
        assert!(store.is_erased("p").await.unwrap());
    });
}

#[test]
fn a_demoted_server_fails_retryably_until_a_primary_answers() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let mut redis = server.raw().await;
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1").exec_async(&mut redis).await.unwrap();
        let error = store.apply(&label("p", "m", 1, 1)).await.unwrap_err();
        assert_eq!((error.is_retryable(), error.code()), (true, "read_only"), "{error}");
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut redis).await.unwrap();
        until_written(store.as_ref(), 0).await;
    });
}

#[test]
fn after_read_only_answers_a_new_connection_is_opened() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let mut redis = server.raw().await;
        let connections = |info: String| -> u32 {
            let line =
                info.lines().find_map(|line| line.strip_prefix("total_connections_received:").map(str::to_owned));
            line.unwrap().trim().parse().unwrap()
        };
        let before = connections(redis::cmd("INFO").arg("stats").query_async(&mut redis).await.unwrap());
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1").exec_async(&mut redis).await.unwrap();
        // Behind an address that moved to another server, only a new connection gets there.
        for _ in 0..10 {
            assert!(store.apply(&label("p", "m", 1, 1)).await.is_err());
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        let after = connections(redis::cmd("INFO").arg("stats").query_async(&mut redis).await.unwrap());
        assert!((before + 1..=before + 5).contains(&after), "{before} then {after}: some, and no storm");
    });
}

#[test]
fn a_wrong_password_is_systemic_and_a_mended_one_is_noticed() {
    let Some(server) = RealRedis::start(&["--requirepass", "right"]) else { return };
    runtime().block_on(async {
        let nobody = server.store();
        let error = nobody.ping().await.unwrap_err();
        assert!(error.is_systemic() && !error.is_retryable(), "{error:?}");
        let wrong = RedisStore::new(RedisOptions::new(format!("{}?pass=guessed", server.url()))).unwrap();
        let error = wrong.ping().await.unwrap_err();
        assert_eq!((error.is_systemic(), error.code()), (true, "auth"), "{error:?}");
        assert!(!format!("{wrong:?} {error} {error:?}").contains("guessed"), "no secret in what is shown");

        let right = RedisStore::new(RedisOptions::new(format!("{}?pass=right", server.url()))).unwrap();
        right.ping().await.unwrap();
        let mut redis = redis::Client::open(format!("{}?pass=right", server.url()))
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
        redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("guessed").exec_async(&mut redis).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(wrong.ping().await.is_err(), "the answer of the connection that was refused");
        wrong.ping().await.expect("a new connection is let in");
    });
}

#[test]
fn a_key_of_another_type_fails_that_post_alone_and_for_good() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let mut redis = server.raw().await;
        redis::cmd("SET").arg(label_key("p", "m")).arg("x").exec_async(&mut redis).await.unwrap();
        for error in [store.apply(&label("p", "m", 1, 1)).await.unwrap_err(), store.read("p", "m").await.unwrap_err()] {
            assert!(
                matches!(error, StoreError::ForeignKey(_)) && !error.is_retryable() && !error.is_systemic(),
                "{error:?}"
            );
        }
        assert_eq!(store.apply(&label("q", "m", 1, 1)).await, Ok(Applied::Written));
    });
}

#[test]
fn a_bad_url_says_so_and_shows_no_secret() {
    let _runtime = runtime();
    let _inside = _runtime.enter();
    for url in ["not a url", "http://user:secret@host/", "redis://user:secret@host/not-a-number"] {
        let Err(error) = RedisStore::new(RedisOptions::new(url)) else { panic!("{url} was taken") };
        assert!(!error.is_retryable() && !error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn tls_is_spoken_and_a_foreign_certificate_is_refused() {
    let Some(plain) = RealRedis::start(&[]) else { return };
    let folder = plain.folder();
    let make = |name: &str| {
        std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=CA:FALSE",
            ])
            .arg("-keyout")
            .arg(folder.join(format!("{name}.key")))
            .arg("-out")
            .arg(folder.join(format!("{name}.pem")))
            .output()
            .is_ok_and(|done| done.status.success())
    };
    if !(make("server") && make("other")) {
        eprintln!("skipped: no openssl to make certificates with");
        return;
    }
    // A port of our own: bound for a moment, then given to the server.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let path = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (path("server.pem"), path("server.key"));
    let Some(_server) = RealRedis::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        &certificate,
    ]) else {
        return;
    };
    let store = |ca: &str| {
        let options = RedisOptions {
            ca_pem: Some(std::fs::read(folder.join(ca)).unwrap()),
            ..RedisOptions::new(format!("rediss://localhost:{port}"))
        };
        RedisStore::new(options).unwrap()
    };
    runtime().block_on(async {
        let trusted = store("server.pem");
        trusted.ping().await.unwrap();
        assert_eq!(trusted.apply(&label("p", "m", 1, 1)).await, Ok(Applied::Written));
        let error = store("other.pem").ping().await.unwrap_err();
        assert!(error.is_systemic(), "{error:?}");
        let public = RedisStore::new(RedisOptions::new(format!("rediss://localhost:{port}"))).unwrap();
        assert!(public.ping().await.unwrap_err().is_systemic());
    });
}

#[test]
fn the_python_example_reads_what_was_written() {
    let Some(server) = RealRedis::start(&[]) else { return };
    let python = std::env::var("JTAV_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_redis = std::process::Command::new(&python).args(["-c", "import redis"]).output();
    if !has_redis.is_ok_and(|done| done.status.success()) {
        eprintln!("skipped: `{python}` has no redis package (pip install redis, or JTAV_PYTHON names one that has)");
        return;
    }
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let write = label("post 1", "m@1", 3, 4);
        store.apply(&write).await.unwrap();
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/examples/read_embedding.py");
        let run = |post: &str| {
            let done = std::process::Command::new(&python)
                .args([example, &format!("unix://{}/redis.sock", server.folder().display()), post, "m@1"])
                .output()
                .unwrap();
            (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
        };
        let (code, stdout, stderr) = run("post 1");
        assert_eq!(code, Some(0), "{stderr}");
        let read: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let stored = store.read("post 1", "m@1").await.unwrap().unwrap();
        let numbers = |name: &str| -> Vec<f32> {
            read[name].as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
        };
        assert_eq!(numbers("u"), stored.embedding().unwrap());
        assert_eq!(numbers("text"), stored.modality(jtav_schemas::Modality::Text).unwrap().unwrap());
        assert!(read["image"].is_null());
        assert_eq!((read["revision"].as_u64(), read["label"].as_str()), (Some(3), Some("negative")));
        assert_eq!(read["probability"].as_f64().unwrap() as f32, write.probability);
        assert_eq!(read["p_neutral"].as_f64().unwrap() as f32, write.probabilities.neutral);
        assert_eq!((read["certain"].as_bool(), read["lang"].as_str()), (Some(true), Some("en")));
        assert_eq!(numbers("semantic").len(), 2);
        store.erase("post 1", 3, HOUR).await.unwrap();
        assert_eq!(run("post 1").0, Some(1), "an erased post has no embedding");
    });
}

#[test]
fn shared_values_lapse_give_way_to_newer_ones_and_can_be_forgotten() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = ready(server.store()).await;
        let cache = store.shared_cache().expect("Redis has room for one");
        let key = |number: u8| encoding_key("m@1", Modality::Image, &[number; 32]);
        assert_eq!(cache.get(&key(1)).await.unwrap(), None);
        for number in 1..=5 {
            cache.put(&key(number), vec![number; 3], HOUR, 3).await.unwrap();
            // The order of what gives way is that of milliseconds.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut held = Vec::new();
        for number in 1..=5 {
            held.extend(cache.get(&key(number)).await.unwrap());
        }
        assert_eq!(held, [vec![3; 3], vec![4; 3], vec![5; 3]], "the oldest two gave way");
        let mut redis = server.raw().await;
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
        assert_eq!(keys.len(), 4, "three values and their set: {keys:?}");
        for key in &keys {
            let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut redis).await.unwrap();
            assert!((3_590_000..=3_600_000).contains(&left), "{key}: {left} ms");
        }
        cache.forget(vec![key(3), key(4), key(9)]).await.unwrap();
        assert_eq!(cache.get(&key(3)).await.unwrap(), None);
        let set: Vec<String> =
            redis::cmd("ZRANGE").arg(ENCODINGS_KEY).arg(0).arg(-1).query_async(&mut redis).await.unwrap();
        assert_eq!(set, [key(5)]);
        cache.forget(Vec::new()).await.unwrap();
        let large = cache.put(&key(6), vec![0; MAX_SHARED_BYTES + 1], HOUR, 3).await;
        assert!(matches!(large, Err(StoreError::Invalid(_))));
    });
}

#[test]
fn a_redis_that_is_full_or_away_takes_no_shared_value_and_says_so() {
    let Some(server) = RealRedis::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]) else { return };
    runtime().block_on(async {
        let store = impatient(server.url());
        let cache = store.shared_cache().unwrap();
        let key = encoding_key("m@1", Modality::Audio, &[1; 32]);
        let full = cache.put(&key, vec![1; 100], HOUR, 3).await.unwrap_err();
        assert!(full.is_retryable(), "{full}");
        drop(server);
        assert!(cache.get(&key).await.unwrap_err().is_retryable());
        assert!(cache.forget(vec![key]).await.is_err());
    });
}
