#!/usr/bin/env bash
# Our decoding and signal processing beside Pillow, ffmpeg and librosa in one run (scripts/compare_media.py). The Python
# packages it needs go into .cache/, nothing into the system; ffmpeg must be there.
#   scripts/compare-media.sh [--rounds N] [--only TEXT] [--out docs/results/media-speed]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
requirements=scripts/compare-media.requirements.txt
packages=.cache/compare-media
program=${CARGO_TARGET_DIR:-target}/release/examples/media_speed

command -v ffmpeg > /dev/null || { echo "ffmpeg is needed: apt-get install ffmpeg" >&2; exit 1; }
[ -x "$program" ] || { echo "$program is missing; 'make compare-media' builds it" >&2; exit 1; }
if ! [ -f "$packages/.complete" ] || ! cmp -s "$requirements" "$packages/.complete"; then
  python3 -c 'import pip' 2> /dev/null || { echo "python3 with pip is needed; 'make setup' installs it" >&2; exit 1; }
  echo "compare-media: fetching Pillow and librosa from PyPI into $packages" >&2
  rm -rf "$packages"
  mkdir -p "$packages"
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --only-binary=:all: \
    --target "$packages" -r "$requirements"
  cp "$requirements" "$packages/.complete"
fi
PYTHONPATH="$packages" PYTHONDONTWRITEBYTECODE=1 python3 scripts/compare_media.py "$program" "$@"
