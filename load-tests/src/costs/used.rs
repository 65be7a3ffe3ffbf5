//! What posts took: from a look at all processes to a later one.

use std::time::Instant;

use anyhow::{Context as _, Result};
use jtav_testkit::RealRedis;

use crate::process::cpu_seconds;
use crate::run::Bench;

/// A look.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    at: Instant,
    cpu: Cpu,
}

/// CPU seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cpu {
    pub worker: f64,
    pub broker: f64,
    pub redis: f64,
    /// This process: generator, readers, media server.
    pub generator: f64,
}

/// What some posts took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// Those that got an outcome.
    pub posts: f64,
    pub seconds: f64,
    pub cpu_seconds: Cpu,
}

impl Moment {
    pub fn now(bench: &Bench) -> Result<Self> {
        let [worker, broker, redis] = bench.cpu_now()?;
        let own = "Invariant: worker, broker and store are of this run";
        let cpu = Cpu {
            worker: worker.context(own)?,
            broker: broker.context(own)?,
            redis: redis.context(own)?,
            generator: cpu_seconds(std::process::id())?,
        };
        Ok(Self { at: Instant::now(), cpu })
    }

    /// What was taken from here to `end`, by so many posts.
    pub fn until(self, end: Self, posts: usize) -> Used {
        let (from, to) = (self.cpu, end.cpu);
        Used {
            posts: posts as f64,
            seconds: end.at.duration_since(self.at).as_secs_f64(),
            cpu_seconds: Cpu {
                worker: to.worker - from.worker,
                broker: to.broker - from.broker,
                redis: to.redis - from.redis,
                generator: to.generator - from.generator,
            },
        }
    }
}

impl Used {
    pub fn posts_per_second(&self) -> f64 {
        self.posts / self.seconds
    }

    /// CPU-ms of the worker for a post.
    pub fn worker_ms(&self) -> f64 {
        self.cpu_seconds.worker * 1e3 / self.posts
    }

    /// CPU-ms of the broker for a post, without what it takes when nothing comes.
    pub fn broker_ms(&self, idle: &Self) -> f64 {
        self.beside_idle(idle, |cpu| cpu.broker)
    }

    /// The same of Redis.
    pub fn redis_ms(&self, idle: &Self) -> f64 {
        self.beside_idle(idle, |cpu| cpu.redis)
    }

    fn beside_idle(&self, idle: &Self, of: fn(&Cpu) -> f64) -> f64 {
        let idle_cores = of(&idle.cpu_seconds) / idle.seconds;
        (of(&self.cpu_seconds) - idle_cores * self.seconds).max(0.0) * 1e3 / self.posts
    }

    /// CPU seconds a second that the worker used.
    pub fn worker_cores(&self) -> f64 {
        self.cpu_seconds.worker / self.seconds
    }

    /// The same that the others of this run left to it, of so many cores.
    pub fn free_cores(&self, cores: usize) -> f64 {
        let Cpu { broker, redis, generator, .. } = self.cpu_seconds;
        let free = cores as f64 - (broker + redis + generator) / self.seconds;
        // Clocks of processes tick every 10 ms.
        free.max(self.worker_cores())
    }
}

/// What Redis counts and holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Store {
    pub used_bytes: f64,
    /// Scripts that clients had it run.
    pub requests: f64,
    /// Those, what else they asked, and the commands inside scripts.
    pub commands: f64,
}

impl Store {
    pub fn now(redis: &RealRedis) -> Result<Self> {
        let memory = redis.command(&["INFO", "memory"])?;
        let commands = redis.command(&["INFO", "commandstats"])?;
        Ok(Self {
            used_bytes: number(&memory, "used_memory:").context("INFO memory has no used_memory")?,
            requests: calls(&commands, |command| ["evalsha", "eval"].contains(&command)),
            commands: calls(&commands, |_| true),
        })
    }
}

/// The number behind a name at the beginning of a line.
fn number(info: &str, name: &str) -> Option<f64> {
    info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// How often commands were run, by `INFO commandstats`: `cmdstat_evalsha:calls=21,usec=175,...`.
fn calls(info: &str, counts: impl Fn(&str) -> bool) -> f64 {
    let of_line = |line: &str| {
        let (command, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        if counts(command) { stats.split(',').next()?.trim().parse::<f64>().ok() } else { None }
    };
    info.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let memory = "# Memory\r\nused_memory:1016640\r\nused_memory_human:992.81K\r\n";
        assert_eq!(number(memory, "used_memory:"), Some(1_016_640.0));
        let stats = "# Commandstats\r\ncmdstat_evalsha:calls=20,usec=175,usec_per_call=8.75,rejected_calls=0\r\n\
                     cmdstat_script|load:calls=1,usec=3\r\ncmdstat_eval:calls=2,usec=9\r\ncmdstat_hset:calls=10,usec=30\r\n";
        assert_eq!(calls(stats, |command| ["evalsha", "eval"].contains(&command)), 22.0);
        assert_eq!(calls(stats, |_| true), 33.0);
    }

    #[test]
    fn a_broker_that_is_never_quite_idle_does_not_charge_that_to_posts() {
        let used = |posts, seconds, broker| {
            let cpu_seconds = Cpu { worker: 1.0, broker, redis: 0.1, generator: 0.2 };
            Used { posts, seconds, cpu_seconds }
        };
        let (idle, busy) = (used(0.0, 5.0, 0.5), used(1_000.0, 10.0, 1.5));
        // A tenth of a core when nothing comes, so 1 s of the 1.5 s.
        assert!((busy.broker_ms(&idle) - 0.5).abs() < 1e-9, "{}", busy.broker_ms(&idle));
        assert_eq!(used(1_000.0, 10.0, 0.9).broker_ms(&idle), 0.0);
        assert!((busy.worker_ms() - 1.0).abs() < 1e-9 && (busy.worker_cores() - 0.1).abs() < 1e-9);
        assert!((busy.free_cores(2) - (2.0 - 0.18)).abs() < 1e-9, "{}", busy.free_cores(2));
    }
}
