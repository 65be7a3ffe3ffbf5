#!/usr/bin/env bash
# Builds every overlay under k8s/ and holds every resource against the schema of its kind, and the numbers in them against
# each other and against config/default.toml. The Python packages it needs go into .cache/, nothing into the system.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
requirements=scripts/check-manifests.requirements.txt
packages=.cache/check-manifests

if ! [ -f "$packages/.complete" ] || ! cmp -s "$requirements" "$packages/.complete"; then
  python3 -c 'import pip' 2> /dev/null || { echo "python3 with pip is needed; 'make setup' installs it" >&2; exit 1; }
  echo "check-manifests: fetching kubernetes-validate from PyPI into $packages" >&2
  rm -rf "$packages"
  mkdir -p "$packages"
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --require-hashes --only-binary=:all: \
    --target "$packages" -r "$requirements"
  cp "$requirements" "$packages/.complete"
fi
PYTHONPATH="$packages" PYTHONDONTWRITEBYTECODE=1 python3 scripts/check_manifests.py
