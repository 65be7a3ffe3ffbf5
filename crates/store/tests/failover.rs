//! Erasures on a primary with a replica: what an acknowledgement is worth, and what is found on the server that follows.

mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use jtav_schemas::Modality;
use jtav_schemas::redis_key::{RESTORED_KEY, encoding_key, erased_key, field, label_key};
use jtav_store::{Applied, ErasureKeeper as _, MAX_SHARED_BYTES, RedisOptions, RedisStore, Store, StoreError};
use support::{HOUR, RealRedis, label, runtime};

const PATIENCE: Duration = Duration::from_secs(20);

/// A primary and its replica, which speak over loopback.
fn pair() -> Option<(RealRedis, RealRedis)> {
    // A port of our own: bound for a moment, then given to the server.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let primary = RealRedis::start(&["--port", &port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"])?;
    let replica = RealRedis::start(&["--replicaof", "127.0.0.1", &port])?;
    Some((primary, replica))
}

/// A store whose erasures wait 300 ms for so many replicas.
fn waiting_for(replicas: u32, server: &RealRedis) -> RedisStore {
    let wait = Duration::from_millis(300);
    let options = RedisOptions { erasure_replicas: replicas, erasure_wait: wait, ..RedisOptions::new(server.url()) };
    RedisStore::new(options).unwrap()
}

async fn until_followed(store: &RedisStore) {
    let started = Instant::now();
    while store.erase("followed", 0, HOUR).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "the replica does not follow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn an_erasure_is_acknowledged_once_the_replica_has_it_and_not_before() {
    let Some((primary, replica)) = pair() else { return };
    runtime().block_on(async {
        let store = waiting_for(1, &primary);
        until_followed(&store).await;
        store.apply(&label("p", "m", 1, 1)).await.unwrap();
        replica.freeze();
        let started = Instant::now();
        let (erasure, other) = futures::join!(store.erase("p", 2, HOUR), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            (store.apply(&label("other", "m", 1, 1)).await, started.elapsed())
        });
        let error = erasure.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (StoreError::TOO_FEW_REPLICAS, true), "{error}");
        assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
        assert_eq!(other.0, Ok(Applied::Written));
        assert!(other.1 < Duration::from_millis(300), "labels do not wait behind erasures: {:?}", other.1);
        replica.thaw();
        until_followed(&store).await;
        store.erase("p", 2, HOUR).await.unwrap();
        let mut copy = replica.raw().await;
        let there: bool = redis::cmd("EXISTS").arg(erased_key("p")).query_async(&mut copy).await.unwrap();
        assert!(there, "acknowledged, hence on the replica");
    });
}

#[test]
fn erasures_that_no_replica_takes_all_end_within_their_time() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = waiting_for(1, &server);
        let started = Instant::now();
        let posts: Vec<String> = (0..64).map(|number| format!("p{number}")).collect();
        let answers = join_all(posts.iter().map(|post| store.erase(post, 1, HOUR))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(StoreError::is_retryable)), "{answers:?}");
        // 2 s for a command and the wait itself; the rest is the machine's.
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        let mut redis = server.raw().await;
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut redis).await.unwrap();
        assert!(clients.lines().count() <= 10, "8 connections, this one and the one that labels take:\n{clients}");
    });
}

#[test]
fn a_restart_is_noticed_and_only_what_is_missing_is_restored() {
    let Some(mut server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = RedisStore::new(RedisOptions::new(server.url())).unwrap();
        let before = store.server().await.unwrap();
        assert_eq!(store.server().await.unwrap(), before, "asking changes nothing");
        assert_eq!(store.restored_on().await, Ok(None));
        store.mark_restored(&before.identity).await.unwrap();
        assert_eq!(store.restored_on().await, Ok(Some(before.identity.clone())));

        store.erase("standing", 1, HOUR).await.unwrap();
        server.kill();
        server.restart();
        let after = loop {
            // The connection that was open fails once.
            if let Ok(report) = store.server().await {
                break report;
            }
        };
        assert_ne!(after.identity, before.identity);
        assert_eq!(store.restored_on().await, Ok(None), "it was lost like the rest");

        assert_eq!(store.apply(&label("lost", "m", 9, 9)).await, Ok(Applied::Written));
        assert_eq!(store.restore_erasure("lost", 1, HOUR).await, Ok(Some(1)));
        assert_eq!(store.apply(&label("lost", "m", 10, 10)).await, Ok(Applied::Erased));
        assert_eq!(store.restore_erasure("lost", 1, HOUR * 24).await, Ok(None));
        let mut redis = server.raw().await;
        let left: i64 = redis::cmd("PTTL").arg(erased_key("lost")).query_async(&mut redis).await.unwrap();
        assert!(left <= HOUR.as_millis() as i64, "a marker that stands is not prolonged: {left} ms");
    });
}

#[test]
fn a_server_that_was_demoted_is_told_apart_and_asked_on_a_new_connection() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = waiting_for(1, &server);
        assert!(store.server().await.unwrap().is_primary);
        let mut redis = server.raw().await;
        redis::cmd("REPLICAOF").arg("127.0.0.1").arg("1").exec_async(&mut redis).await.unwrap();
        assert!(!store.server().await.unwrap().is_primary);
        let error = store.erase("p", 1, HOUR).await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("read_only", true), "{error}");
        redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut redis).await.unwrap();
        let report = store.server().await.unwrap();
        assert!(report.is_primary && report.warnings(0).iter().any(|line| line.contains("append-only")), "{report:?}");
    });
}

#[test]
fn values_far_larger_than_ours_are_refused_without_being_read() {
    let Some(server) = RealRedis::start(&[]) else { return };
    runtime().block_on(async {
        let store = RedisStore::new(RedisOptions::new(server.url())).unwrap();
        let mut redis = server.raw().await;
        let huge = vec![b'x'; 32 << 20];
        let encoding = encoding_key("m", Modality::Image, &[1; 32]);
        redis::cmd("SET").arg(&encoding).arg(&huge).exec_async(&mut redis).await.unwrap();
        redis::cmd("SET").arg(RESTORED_KEY).arg(&huge).exec_async(&mut redis).await.unwrap();
        store.apply(&label("p", "m", 1, 1)).await.unwrap();
        for name in [field::SENTIMENT, field::REVISION] {
            redis::cmd("HSET").arg(label_key("p", "m")).arg(name).arg(&huge).exec_async(&mut redis).await.unwrap();
        }
        let sent = |info: String| -> u64 {
            let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:").map(str::to_owned));
            line.unwrap().trim().parse().unwrap()
        };
        let before = sent(redis::cmd("INFO").arg("stats").query_async(&mut redis).await.unwrap());
        assert_eq!(store.shared_cache().unwrap().get(&encoding).await, Ok(None));
        assert!(matches!(store.read("p", "m").await, Err(StoreError::ForeignKey(_))));
        assert!(matches!(store.standing("p", "m").await, Err(StoreError::ForeignKey(_))));
        assert!(store.restored_on().await.unwrap().is_some_and(|identity| identity.len() <= 256));
        let after = sent(redis::cmd("INFO").arg("stats").query_async(&mut redis).await.unwrap());
        assert!(after - before < 2 * MAX_SHARED_BYTES as u64, "{} bytes came", after - before);
        store.erase("p", 2, HOUR).await.unwrap();
        assert_eq!(store.read("p", "m").await, Ok(None), "it can still be erased");
    });
}
