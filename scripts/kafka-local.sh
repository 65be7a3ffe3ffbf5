#!/usr/bin/env bash
# A real Apache Kafka broker (KRaft, one node, loopback only) from its Maven artifacts, for tests and load tests.
#
#   kafka-local.sh fetch              put the jars into the user's cache, each held against kafka-jars.sha256
#   kafka-local.sh start  [options]   start in the background, wait until it serves, print HOST:PORT
#   kafka-local.sh run    [options]   become the broker: exec java in the foreground (the caller owns the process)
#   kafka-local.sh wait   [options]   wait until the instance serves, print HOST:PORT
#   kafka-local.sh stop   [options]   SIGTERM, controlled shutdown, data kept
#   kafka-local.sh kill   [options]   SIGKILL, as a crash would; data kept, `start` recovers it
#   kafka-local.sh wipe   [options]   SIGKILL and delete the instance's folder
#   kafka-local.sh status [options]   "up HOST:PORT" (exit 0) or "down" (exit 3)
#
# Options, each with its environment variable; the folder names the instance, so any number may run at once:
#   --dir DIR              JTAV_KAFKA_DIR              default: <cache>/kafka-default
#   --port N               JTAV_KAFKA_PORT             default: a free port, kept for the instance's life
#   --controller-port N    JTAV_KAFKA_CONTROLLER_PORT  the same
#   --heap MB              JTAV_KAFKA_HEAP_MB          default 384
# Needs Java 17 or newer; `fetch` needs mvn as well. The cache is ${XDG_CACHE_HOME:-~/.cache}/jtav.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
version=4.0.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/jtav"
libs="$cache/kafka-$version"
sums="$here/kafka-jars.sha256"
start_timeout_s="${JTAV_KAFKA_START_TIMEOUT_S:-120}"

die() { echo "kafka-local: $*" >&2; exit 1; }
usage() { sed -n '2,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

command="${1:-}"
[ $# -gt 0 ] && shift
dir="${JTAV_KAFKA_DIR:-$cache/kafka-default}"
port="${JTAV_KAFKA_PORT:-}"
controller_port="${JTAV_KAFKA_CONTROLLER_PORT:-}"
heap_mb="${JTAV_KAFKA_HEAP_MB:-384}"
while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case "$1" in
    --dir) dir="$2" ;;
    --port) port="$2" ;;
    --controller-port) controller_port="$2" ;;
    --heap) heap_mb="$2" ;;
    *) usage ;;
  esac
  shift 2
done

# The stamp is the hash of the list: a changed list is a changed set of jars.
jars_complete() { [ -f "$libs/.complete" ] && [ "$(cat "$libs/.complete")" = "$(sha256sum < "$sums")" ]; }

fetch() {
  [ "${JTAV_KAFKA_WRITE_SUMS:-}" = 1 ] && : >> "$sums"
  jars_complete && return 0
  mkdir -p "$cache"
  exec 9> "$cache/kafka-fetch.lock"
  flock 9
  jars_complete && return 0
  command -v mvn > /dev/null || die "mvn is missing; 'make setup' installs it"
  local work
  work="$(mktemp -d "$cache/kafka-fetch.XXXXXX")"
  # shellcheck disable=SC2064  # the folder's name as it is now
  trap "rm -rf '$work'" EXIT
  cat > "$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>jtav</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <!-- kafka logs through slf4j 1.7 and names no backend that reaches a file by itself -->
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.24.3</version></dependency>
  </dependencies>
</project>
POM
  echo "fetching Apache Kafka $version from the Maven repository into $libs" >&2
  mvn -B -q -Dstyle.color=never -f "$work/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$work/libs" >&2
  if [ "${JTAV_KAFKA_WRITE_SUMS:-}" = 1 ]; then       # a maintainer's step, when the version above changes
    (cd "$work/libs" && sha256sum -- *.jar | LC_ALL=C sort -k2) > "$sums"
  fi
  (cd "$work/libs" && sha256sum --quiet --strict -c "$sums") >&2 || die "a jar differs from $sums; nothing was kept"
  [ "$(find "$work/libs" -name '*.jar' | wc -l)" -eq "$(wc -l < "$sums")" ] || die "jars that $sums does not name; nothing was kept"
  sha256sum < "$sums" > "$work/libs/.complete"
  rm -rf "$libs"
  mv "$work/libs" "$libs"
  exec 9>&-
}

# A port that answers nobody. Another process may take it before the broker does; the start then fails and says so. Below
# the ports that Linux gives to outgoing connections (32768 on): one of those could have it already, or take it meanwhile.
free_port() {
  local p
  for _ in $(seq 1 50); do
    p=$((20000 + RANDOM % 12000))
    (exec 3<> "/dev/tcp/127.0.0.1/$p") 2> /dev/null || { echo "$p"; return 0; }
  done
  die "no free port found"
}

setting() { sed -n "s/^$1=//p" "$dir/instance" 2> /dev/null || true; }

# Writes the configuration once; later starts keep the ports, so that clients find the broker again.
configure() {
  local kept_port kept_controller_port
  kept_port="$(setting port)"
  kept_controller_port="$(setting controller_port)"
  port="${port:-${kept_port:-$(free_port)}}"
  controller_port="${controller_port:-${kept_controller_port:-$(free_port)}}"
  [ "$port" != "$controller_port" ] || die "broker and controller need two ports, both are $port"
  mkdir -p "$dir"
  dir="$(cd "$dir" && pwd)"
  printf 'port=%s\ncontroller_port=%s\n' "$port" "$controller_port" > "$dir/instance.new"
  mv "$dir/instance.new" "$dir/instance"
  cat > "$dir/server.properties" <<CFG
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
num.partitions=4
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# tests kill workers: the least of 6 s by default is how long each such partition would stand still
group.min.session.timeout.ms=1000
# a killed broker registers again only when its old session has ended (default 9 s)
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
log.retention.check.interval.ms=5000
log.cleaner.backoff.ms=2000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
CFG
  cat > "$dir/log4j2.properties" <<'LOG'
status = error
appender.c.type = Console
appender.c.name = C
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d %p %c{1} - %m%n
rootLogger.level = warn
rootLogger.appenderRef.c.ref = C
# its "Kafka Server started" is what `wait` looks for
logger.started.name = kafka.server.KafkaRaftServer
logger.started.level = info
# one line for each generation of a group: tests count rebalances by them
logger.groups.name = org.apache.kafka.coordinator.group.GroupMetadataManager
logger.groups.level = info
LOG
}

java_opts() { echo "-Djava.awt.headless=true -Djava.net.preferIPv4Stack=true -XX:TieredStopAtLevel=${JTAV_KAFKA_JIT_LEVEL:-4}"; }

format_storage() {
  [ -f "$dir/data/meta.properties" ] && return 0
  local cluster_id
  cluster_id="A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)"    # 22 base64url characters, never a leading '-'
  java -Xmx128m -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$dir/log4j2.properties" -cp "$libs/*" \
    kafka.tools.StorageTool format -t "$cluster_id" -c "$dir/server.properties" > "$dir/format.log" 2>&1 \
    || { cat "$dir/format.log" >&2; die "formatting $dir/data failed"; }
}

prepare() {
  command -v java > /dev/null || die "java is missing; 'make setup' installs it"
  fetch
  is_up && die "$dir is already running (pid $(cat "$dir/pid"))"
  configure
  format_storage
  : > "$dir/kafka.log"
}

become_broker() {
  # exec keeps this process id, so the file is right before java has even begun.
  echo "$BASHPID" > "$dir/pid"
  # shellcheck disable=SC2046  # a list of options
  exec java "-Xms${heap_mb}m" "-Xmx${heap_mb}m" -server -XX:+UseSerialGC $(java_opts) \
    -Dlog4j2.configurationFile="$dir/log4j2.properties" -Dkafka.logs.dir="$dir" \
    -cp "$libs/*" kafka.Kafka "$dir/server.properties" >> "$dir/kafka.log" 2>&1 < /dev/null
}

# Up means: the recorded process lives and is this instance (a process id may have been given to somebody else).
is_up() {
  local pid
  pid="$(cat "$dir/pid" 2> /dev/null)" || return 1
  [ -n "$pid" ] && { tr '\0' '\n' < "/proc/$pid/cmdline"; } 2> /dev/null | grep -qxF "$(cd "$dir" && pwd)/server.properties"
}

# A caller of `run` may come here before its broker has written its process id, and find the one of a broker that was
# killed before: a dead process counts only when it stays the recorded one for a while.
wait_ready() { # seconds that a dead process is given
  local deadline=$((SECONDS + start_timeout_s)) dead_since="" pid
  # The running process first: the log may still be that of the one before.
  until is_up && grep -q 'Kafka Server started' "$dir/kafka.log" 2> /dev/null; do
    pid="$(cat "$dir/pid" 2> /dev/null || true)"
    if [ -n "$pid" ] && ! kill -0 "$pid" 2> /dev/null; then
      dead_since="${dead_since:-$SECONDS}"
      if [ $((SECONDS - dead_since)) -ge "$1" ]; then
        tail -n 20 "$dir/kafka.log" >&2
        die "the broker died; its log is $dir/kafka.log"
      fi
    else
      dead_since=""
    fi
    if [ $SECONDS -ge $deadline ]; then
      tail -n 40 "$dir/kafka.log" >&2
      die "not serving after $start_timeout_s s; its log is $dir/kafka.log"
    fi
    sleep 0.1
  done
  echo "127.0.0.1:$(setting port)"
}

end_with() {
  is_up || { rm -f "$dir/pid"; return 0; }
  local pid
  pid="$(cat "$dir/pid")"
  kill "-$1" "$pid" 2> /dev/null || true
  for _ in $(seq 1 300); do
    # A killed child of a caller that has not reaped it yet is a zombie: dead for our purpose.
    if ! kill -0 "$pid" 2> /dev/null || grep -q '^State:.Z' "/proc/$pid/status" 2> /dev/null; then
      rm -f "$dir/pid"
      return 0
    fi
    sleep 0.1
  done
  die "process $pid is still there 30 s after SIG$1"
}

case "$command" in
  fetch) fetch ;;
  start)
    if ! is_up; then
      prepare
      rm -f "$dir/pid"
      (become_broker) &
      disown
    fi
    wait_ready 0
    ;;
  run) prepare; become_broker ;;
  wait) wait_ready 15 ;;
  stop) end_with TERM ;;
  kill) end_with KILL ;;
  wipe)
    end_with KILL
    # Only a folder this script made is deleted.
    [ ! -e "$dir" ] || [ -f "$dir/instance" ] || die "$dir is not an instance of this script"
    rm -rf "$dir"
    ;;
  status) if is_up; then echo "up 127.0.0.1:$(setting port)"; else echo down; exit 3; fi ;;
  *) usage ;;
esac
