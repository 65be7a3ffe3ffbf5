use std::error::Error as _;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a call of the store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The server is away, loading, full, busy, or no longer the primary.
    #[error("the store is not available ({code}): {message}")]
    Unavailable {
        /// Bounded name, fit for a metric label.
        code: &'static str,
        message: String,
    },
    /// No answer in time. The write may have been carried out: repeating it is safe.
    #[error("the store did not answer within {timeout_ms} ms")]
    Timeout {
        /// The limit that passed.
        timeout_ms: u64,
    },
    /// The server will not serve us until somebody acts: credentials, permissions, TLS, a Cluster node, its version.
    #[error("the store refuses to serve ({code}): {message}")]
    Denied {
        /// Bounded name.
        code: &'static str,
        message: String,
    },
    /// A key of the post holds what this program did not write.
    #[error("a key of the post is not ours: {0}")]
    ForeignKey(String),
    /// What was asked for cannot be stored.
    #[error("{0}")]
    Invalid(String),
}

impl StoreError {
    /// [`code`](Self::code) of an erasure that the server has and too few of its replicas.
    pub const TOO_FEW_REPLICAS: &str = "too_few_replicas";

    /// May the same call go through later?
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. } | StoreError::Timeout { .. })
    }

    /// Would every other post fail as well, for good?
    pub fn is_systemic(&self) -> bool {
        matches!(self, StoreError::Denied { .. })
    }

    /// Bounded name, fit for a metric label.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Unavailable { code, .. } | StoreError::Denied { code, .. } => code,
            StoreError::Timeout { .. } => "timeout",
            StoreError::ForeignKey(_) => "foreign_key",
            StoreError::Invalid(_) => "invalid",
        }
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        let message = error.to_string();
        let unavailable = |code| StoreError::Unavailable { code, message: message.clone() };
        let denied = |code| StoreError::Denied { code, message: message.clone() };
        match error.kind() {
            ErrorKind::Io if is_tls_refusal(&error) => denied("tls"),
            ErrorKind::Io if error.is_timeout() => unavailable("io_timeout"),
            ErrorKind::Io => unavailable("connection"),
            // Half a reply, or one that no Redis gives: the connection is replaced, and the next one is read from its
            // beginning. No fault of a post: what its keys hold is read as bytes and judged by us.
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => unavailable("protocol"),
            ErrorKind::AuthenticationFailed => denied("auth"),
            ErrorKind::InvalidClientConfig | ErrorKind::Client | ErrorKind::RESP3NotSupported => denied("client"),
            _ => of_server_code(&server_code(&error), message),
        }
    }
}

/// The code that a reply starts with. Servers before Redis 7 hide what happened inside a script behind `ERR`.
fn server_code(error: &RedisError) -> String {
    // Of several commands that went together the first failure counts; the error as a whole has no code of its own.
    let failures = error.clone().into_server_errors().unwrap_or_default();
    let first = failures.first().map(|(_, failure)| failure);
    let code = first.map_or_else(|| error.code(), |failure| Some(failure.code())).unwrap_or_default();
    let detail = first.map_or_else(|| error.detail(), |failure| failure.details()).unwrap_or_default();
    // "Error running script (call to f_<sha>): @user_script:12: -OOM command not allowed ..."
    if code == "ERR" && detail.contains("running script") {
        let said = detail.rsplit(": ").find_map(|part| {
            let word = part.split_whitespace().next()?.trim_start_matches('-');
            let is_code = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
            is_code.then(|| word.to_owned())
        });
        return said.unwrap_or_else(|| code.to_owned());
    }
    // A connection that is set up while the server loads fails on SELECT, and the code moves into the text.
    if code == "ERR" && detail.contains("is loading the dataset") {
        return "LOADING".to_owned();
    }
    code.to_owned()
}

fn of_server_code(code: &str, message: String) -> StoreError {
    let unavailable = |code, message| StoreError::Unavailable { code, message };
    let denied = |code, message| StoreError::Denied { code, message };
    match code {
        "LOADING" => unavailable("loading", message),
        "READONLY" => unavailable("read_only", message),
        "OOM" => unavailable("out_of_memory", message),
        // The server stops taking writes when it cannot save or has too few replicas.
        "MISCONF" => unavailable("cannot_save", message),
        "NOREPLICAS" => unavailable("no_replicas", message),
        "MASTERDOWN" => unavailable("primary_down", message),
        "CLUSTERDOWN" | "TRYAGAIN" => unavailable("cluster_down", message),
        "BUSY" | "UNKILLABLE" => unavailable("busy", message),
        "NOSCRIPT" => unavailable("no_script", message),
        // "max number of clients reached"; the server then closes the connection.
        "ERR" if message.contains("max number of clients") => unavailable("too_many_clients", message),
        "WRONGTYPE" => StoreError::ForeignKey(message),
        "NOAUTH" | "WRONGPASS" => denied("auth", message),
        "NOPERM" => denied("no_permission", message),
        "MOVED" | "ASK" | "CROSSSLOT" => denied(
            "cluster",
            format!("{message} (give the address of one primary or of a proxy, not of a Cluster node)"),
        ),
        _ => denied("server", message),
    }
}

/// A certificate that is not accepted surfaces as invalid data on the socket.
fn is_tls_refusal(error: &RedisError) -> bool {
    // The client library hands its source out inside the `Arc` that it keeps it in.
    let io = error.source().and_then(|source| {
        let inner = source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>();
        inner.map_or_else(|| source.downcast_ref(), |inner| inner.downcast_ref::<std::io::Error>())
    });
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData)
}

/// True where the connection manager would keep a connection that can no longer serve: it replaces only those that
/// broke. After a failover the old server answers READONLY for ever; a set-up that failed on a password or on LOADING
/// is remembered and never tried again.
pub(crate) fn needs_new_connection(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io => is_tls_refusal(error),
        ErrorKind::AuthenticationFailed | ErrorKind::Client | ErrorKind::RESP3NotSupported => true,
        ErrorKind::UnexpectedReturnType => true,
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown) => {
            true
        }
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            error.to_string().contains("refused to switch database") || server_code(error) == "READONLY"
        }
        _ => matches!(error.code(), Some("NOAUTH" | "WRONGPASS")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> RedisError {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn replies_that_pass_by_themselves_are_retryable() {
        for (line, code) in [
            ("LOADING Redis is loading the dataset in memory", "loading"),
            ("READONLY You can't write against a read only replica.", "read_only"),
            ("OOM command not allowed when used memory > 'maxmemory'.", "out_of_memory"),
            ("MISCONF Redis is configured to save RDB snapshots", "cannot_save"),
            ("NOREPLICAS Not enough good replicas to write.", "no_replicas"),
            ("MASTERDOWN Link with MASTER is down", "primary_down"),
            ("CLUSTERDOWN The cluster is down", "cluster_down"),
            ("BUSY Redis is busy running a script.", "busy"),
            ("ERR max number of clients reached", "too_many_clients"),
            ("ERR Error running script (call to f_ab12): @user_script:33: -OOM command not allowed", "out_of_memory"),
            ("ERR Error running script (call to f_ab12): @user_script: 33: -READONLY You can't write", "read_only"),
        ] {
            let error = StoreError::from(reply(line));
            assert!(error.is_retryable() && !error.is_systemic(), "{line}: {error:?}");
            assert_eq!(error.code(), code, "{line}");
        }
    }

    #[test]
    fn refusals_that_need_a_person_are_systemic() {
        for (line, code) in [
            ("NOAUTH Authentication required.", "auth"),
            ("WRONGPASS invalid username-password pair", "auth"),
            ("NOPERM this user has no permissions to run the 'evalsha' command", "no_permission"),
            ("MOVED 3999 127.0.0.1:6381", "cluster"),
            ("ERR unknown command 'EVALSHA'", "server"),
        ] {
            let error = StoreError::from(reply(line));
            assert!(!error.is_retryable() && error.is_systemic(), "{line}: {error:?}");
            assert_eq!(error.code(), code, "{line}");
        }
    }

    #[test]
    fn a_key_of_another_type_is_a_fault_of_that_post_alone() {
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value script: 1a, on @user_script:7.",
            "ERR Error running script (call to f_ab12): @user_script:7: WRONGTYPE Operation against a key",
        ] {
            let error = StoreError::from(reply(line));
            assert!(!error.is_retryable() && !error.is_systemic(), "{line}: {error:?}");
            assert_eq!(error.code(), "foreign_key", "{line}");
        }
    }

    #[test]
    fn a_broken_connection_is_retryable_and_a_refused_certificate_is_not() {
        use std::io::{Error, ErrorKind};
        assert!(StoreError::from(RedisError::from(Error::from(ErrorKind::ConnectionReset))).is_retryable());
        assert!(StoreError::from(RedisError::from(Error::from(ErrorKind::TimedOut))).is_retryable());
        let refused = RedisError::from(Error::new(ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer"));
        assert!(needs_new_connection(&refused));
        assert!(StoreError::from(refused).is_systemic());
    }
}
