#!/usr/bin/env bash
# Holds the readers' side against tools that are not ours: schemathesis, openapi-spec-validator, vacuum and a client that
# openapi-python-client makes from the document, on a server with a real Kafka and a real Redis behind it; and the programs in
# examples/ that need packages.
#
# The packages come from PyPI, each held against its SHA-256, into ${XDG_CACHE_HOME:-~/.cache}/jtav. Where they cannot be had the
# check is skipped and says so, in the file JTAV_SKIP_LOG too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
requirements=(scripts/check-api.requirements.txt examples/requirements.txt)
environment="${XDG_CACHE_HOME:-$HOME/.cache}/jtav/check-api"
readers="${CARGO_TARGET_DIR:-target}/release/jtav-readers"

fetch() {
  if [ -x "$environment/bin/python" ] && cat "${requirements[@]}" | cmp -s - "$environment/.complete"; then return 0; fi
  python3 -c 'import ensurepip, venv' 2> /dev/null || { echo "python3 has no venv; on Debian: apt-get install python3-venv" >&2; return 1; }
  echo "check-api: fetching schemathesis and others from PyPI into $environment" >&2
  rm -rf "$environment"
  python3 -m venv "$environment"
  "$environment/bin/python" -m pip install -q --disable-pip-version-check --no-compile --require-hashes --only-binary=:all: \
    "${requirements[@]/#/--requirement=}" || return 1
  cat "${requirements[@]}" > "$environment/.complete"
}

if ! fetch; then
  line="SKIPPED check-api: its packages cannot be had from PyPI"
  echo "$line" >&2
  if [ -n "${JTAV_SKIP_LOG:-}" ]; then echo "$line" >> "$JTAV_SKIP_LOG"; fi
  exit 0
fi
PYTHONDONTWRITEBYTECODE=1 exec "$environment/bin/python" scripts/check_api.py "$readers" "$@"
