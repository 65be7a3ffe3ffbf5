/// Which broker a fault needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// Apache Kafka.
    Real,
    /// librdkafka's own, whose errors can be chosen.
    InProcess,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal on $broker:ident,)*) => {
        /// One row of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Fault] = &[$(Fault::$name),*];

            /// Its name on the command line and in the table.
            pub const fn as_str(self) -> &'static str {
                match self { $(Fault::$name => $text,)* }
            }

            /// Which broker it needs.
            pub const fn broker(self) -> Broker {
                match self { $(Fault::$name => Broker::$broker,)* }
            }
        }
    };
}

faults! {
    /// SIGKILL at every fail point once, two workers at a time.
    Kills = "kills" on Real,
    /// Workers join and leave about once a second; incremental rebalances.
    ChurnCooperative = "churn-cooperative" on Real,
    /// The same with rebalances that stop every worker.
    ChurnEager = "churn-eager" on Real,
    /// Static members killed and restarted under their names.
    StaticMembers = "static-members" on Real,
    /// A worker frozen beyond its session: it wakes with posts in hand that are no longer its own.
    SessionExpiry = "session-expiry" on Real,
    /// A poll thread that hangs beyond the poll interval.
    PollBreach = "poll-breach" on Real,
    /// SIGTERM under full load, exit 0 within 20 s.
    Sigterm = "sigterm" on Real,
    /// Panics in the tasks of posts.
    Panics = "panics" on Real,
    /// Wall clocks an hour ahead, an hour behind, and stepping back.
    ClockSkew = "clock-skew" on Real,
    /// A fifth of the posts point at hosts that hang, lie or never end.
    MediaHosts = "media-hosts" on Real,
    /// Ten times the posts for 5 s.
    Burst = "burst" on Real,
    /// Broker stopped for 5 s.
    KafkaRestart = "kafka-restart" on Real,
    /// Broker killed, away for 5 s.
    KafkaKill = "kafka-kill" on Real,
    /// Broker that holds its connections and answers nothing for 8 s.
    KafkaHang = "kafka-hang" on Real,
    /// Store stopped for 3 s.
    RedisRestart = "redis-restart" on Real,
    /// Store killed, away for 3 s.
    RedisKill = "redis-kill" on Real,
    /// `READONLY` to every write for 5 s.
    RedisReadonly = "redis-readonly" on Real,
    /// `OOM` to every write for 5 s.
    RedisOom = "redis-oom" on Real,
    /// `LOADING` to everything for about 5 s.
    RedisLoading = "redis-loading" on Real,
    /// Store that holds its connections and answers nothing for 30 s.
    RedisHang = "redis-hang" on Real,
    /// Every answer 200 ms late for 5 s.
    RedisSlow = "redis-slow" on Real,
    /// Connections cut in mid-pipeline, again and again for 4 s.
    RedisReset = "redis-reset" on Real,
    /// Refused and timed out writes.
    ProduceErrors = "produce-errors" on InProcess,
    /// Refused and broken reads.
    FetchErrors = "fetch-errors" on InProcess,
    /// Refused commits.
    CommitErrors = "commit-errors" on InProcess,
    /// Joins, syncs and heartbeats refused.
    GroupErrors = "group-errors" on InProcess,
    /// Every answer 2 s late for 8 s.
    RoundTrip = "round-trip-2s" on InProcess,
    /// Leaders that move.
    LeaderMove = "leader-move" on InProcess,
    /// Coordinators that move.
    CoordinatorMove = "coordinator-move" on InProcess,
    /// One broker of three gone for 4 s.
    BrokerDown = "broker-down" on InProcess,
}

impl Fault {
    /// The fault of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.as_str() == name)
    }
}
