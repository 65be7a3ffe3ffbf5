//! A server that speaks nonsense, or stops in the middle of a word: every call ends within its time, none panics, and none
//! blames the post.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use jtav_store::{RedisOptions, RedisStore, Store, StoreError};
use support::{HOUR, label, runtime};

/// Answers whatever is said with the same bytes.
fn server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut asked = [0; 4096];
                while client.read(&mut asked).is_ok_and(|read| read > 0) && client.write_all(answer).is_ok() {}
            });
        }
    });
    address
}

fn judge<T: std::fmt::Debug>(call: &str, answer: Result<T, StoreError>) {
    let error = answer.expect_err(call);
    assert!(error.is_retryable() || error.is_systemic(), "{call} blames the post: {error:?}");
}

#[test]
fn nonsense_of_every_kind_ends_every_call_in_time_and_is_no_fault_of_a_post() {
    let answers: [&[u8]; 14] = [
        b"",
        b"+OK\r\n",
        b"+written",
        b":-7\r\n",
        b"$-1\r\n",
        b"$3\r\n\xff\xfe\xfd\r\n",
        b"*0\r\n",
        b"*2\r\n$1\r\nx\r\n*-1\r\n",
        b"*2000000000\r\n",
        b"$536870912\r\nxxxx",
        b"$99999999999999999999\r\n",
        b"-\r\n",
        b"-NONSENSE what\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    runtime().block_on(async {
        for answer in answers {
            let shown = answer.escape_ascii().to_string();
            let options = |replicas| RedisOptions {
                command_timeout: Duration::from_millis(300),
                connect_timeout: Duration::from_millis(300),
                erasure_replicas: replicas,
                erasure_wait: Duration::from_millis(50),
                ..RedisOptions::new(format!("redis://{}/0", server(answer)))
            };
            let (store, waiting) = (RedisStore::new(options(0)).unwrap(), RedisStore::new(options(1)).unwrap());
            let started = Instant::now();
            judge(&format!("apply {shown}"), store.apply(&label("p", "m", 1, 1)).await);
            judge(&format!("standing {shown}"), store.standing("p", "m").await);
            judge(&format!("server {shown}"), store.erasure_keeper().unwrap().server().await);
            judge(&format!("erase and wait {shown}"), waiting.erase("p", 1, HOUR).await);
            // What these say can be an answer; that they end is what counts.
            let _ = (store.erase("p", 1, HOUR).await, store.read("p", "m").await, store.is_erased("p").await);
            let _ = (store.ping().await, store.shared_cache().unwrap().get("k").await);
            assert!(started.elapsed() < Duration::from_secs(10), "{shown}: {:?}", started.elapsed());
        }
    });
}
