//! What a Redis server says of itself.

use crate::StoreError;

/// The part of `INFO` that decides whether an erasure is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    /// Replication id and run id. Another one means that a replica was promoted, that the server was restarted, or that
    /// the address leads elsewhere: in each case what was acknowledged last may be missing.
    pub identity: String,
    /// Whether it takes writes. A replica does not.
    pub is_primary: bool,
    /// Replicas that are connected.
    pub replicas: u32,
    /// `maxmemory-policy`, where the server tells it.
    pub eviction: Option<String>,
    /// Whether there is an append-only file, where the server tells it.
    pub append_only: Option<bool>,
}

impl ServerReport {
    /// Reads the answer to `INFO`.
    ///
    /// # Errors
    /// The answer names no replication id or no run id: it comes from something that is not a Redis server.
    pub fn parse(info: &str) -> Result<Self, StoreError> {
        let value = |name: &str| {
            let mut values = info.lines().filter_map(|line| line.trim_end().split_once(':'));
            values.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let identifier = |name: &str| {
            let known =
                value(name).filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()));
            known.ok_or_else(|| StoreError::Denied {
                code: "no_info",
                message: format!("INFO names no `{name}`: a failover would go unnoticed"),
            })
        };
        Ok(Self {
            identity: format!("{}/{}", identifier("master_replid")?, identifier("run_id")?),
            is_primary: value("role") != Some("slave"),
            replicas: value("connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0),
            eviction: value("maxmemory_policy").map(str::to_owned),
            append_only: value("aof_enabled").map(|on| on == "1"),
        })
    }

    /// What an operator should know before trusting an erasure to this server, a line each; `erasure_replicas` is what
    /// each erasure waits for.
    pub fn warnings(&self, erasure_replicas: u32) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(policy) = self.eviction.as_deref().filter(|policy| *policy != "noeviction") {
            lines.push(format!(
                "maxmemory-policy is {policy}: a full server may drop the marker of an erased post, and a replay then \
                 brings the post back; set it to noeviction"
            ));
        }
        if !self.is_primary {
            lines.push("the server is a replica and takes no writes".to_owned());
        } else if erasure_replicas == 0 && self.replicas > 0 {
            lines.push(format!(
                "{} replicas are connected and store.erasure_replicas is 0: a failover can lose an erasure that was \
                 acknowledged, until it is carried out again",
                self.replicas
            ));
        } else if erasure_replicas > self.replicas {
            lines.push(format!(
                "store.erasure_replicas is {erasure_replicas} and {} replicas are connected: no erasure can be \
                 acknowledged",
                self.replicas
            ));
        }
        if self.append_only == Some(false) {
            lines.push(
                "there is no append-only file: a restart forgets what was written since the last snapshot".to_owned(),
            );
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:aa11\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n\
                        # Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\
                        master_replid:bb22\r\nmaster_replid2:0000\r\n";

    fn lines(changed: &[(&str, &str)], erasure_replicas: u32) -> String {
        let info = changed.iter().fold(INFO.to_owned(), |info, (from, to)| info.replace(from, to));
        ServerReport::parse(&info).unwrap().warnings(erasure_replicas).join("\n")
    }

    #[test]
    fn a_server_that_was_promoted_or_restarted_is_another_one() {
        let report = ServerReport::parse(INFO).unwrap();
        assert_eq!(report.identity, "bb22/aa11");
        for change in ["master_replid:cc33", "run_id:cc33"] {
            let (name, _) = change.split_once(':').unwrap();
            let line = INFO.lines().find(|line| line.split(':').next() == Some(name)).unwrap();
            assert_ne!(ServerReport::parse(&INFO.replace(line, change)).unwrap().identity, report.identity);
        }
    }

    #[test]
    fn what_endangers_erasures_is_said_and_nothing_else() {
        assert_eq!(lines(&[], 0), "");
        assert!(lines(&[("noeviction", "allkeys-lru")], 0).contains("maxmemory-policy is allkeys-lru"));
        assert!(
            lines(&[("slaves:0", "slaves:2")], 0).contains("2 replicas are connected and store.erasure_replicas is 0")
        );
        assert_eq!(lines(&[("slaves:0", "slaves:2")], 2), "");
        assert!(lines(&[], 1).contains("no erasure can be acknowledged"));
        assert!(lines(&[("aof_enabled:1", "aof_enabled:0")], 0).contains("no append-only file"));
        assert!(lines(&[("role:master", "role:slave")], 1).contains("takes no writes"));
    }

    proptest! {
        #[test]
        fn an_answer_of_a_server_that_lies_is_refused_or_bounded(info in "[a-z_:\r\n0-9]{0,200}", id in ".{0,100}") {
            let info = format!("master_replid:{id}\r\n{info}\r\nrun_id:{id}\r\n");
            if let Ok(report) = ServerReport::parse(&info) {
                prop_assert!(report.identity.len() <= 129, "{}", report.identity);
            }
        }
    }
}
