#!/usr/bin/env bash
# Sets up the Python sides of the race (load-tests/peers) in .cache/race/venv and runs it; arguments go to run_race.py.
#   scripts/race.sh [--feeds stub,light] [--rounds 3] [--seconds 15] [--sides jtav,python,bytewax] [--out docs/results/race]
#   scripts/race.sh --growth [--parts workers,length,inside]   runs growth.py in its place
#   scripts/race.sh --setup-only
# RACE_PYTHON names the interpreter: 3.10 to 3.12, for which all packages have wheels. Needs pip, cc, and about 2.5 GB while it sets up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
peers=load-tests/peers
folder=.cache/race
venv=$folder/venv

python="${RACE_PYTHON:-}"
for candidate in python3.11 python3.12 python3.10 python3; do
  [ -n "$python" ] && break
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2> /dev/null; then python=$candidate; fi
done
[ -n "$python" ] || { echo "race: no Python of 3.10 to 3.12 with venv; set RACE_PYTHON" >&2; exit 1; }

if ! cmp -s "$peers/requirements.txt" "$venv/.complete"; then
  echo "race: setting up $venv (900 MB through pip)" >&2
  rm -rf "$venv"
  mkdir -p "$folder"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
    -r "$peers/requirements.txt"
  "$venv/bin/python" "$peers/cpu_torch.py"
  cp "$peers/requirements.txt" "$venv/.complete"
fi
export RACE_NETWORKS="$PWD/$folder/networks" PYTHONDONTWRITEBYTECODE=1
for model in jtav-light jtav-modern; do
  "$venv/bin/python" "$peers/compiled.py" "$RACE_NETWORKS" --model "models/$model" --weights "${JTAV_WEIGHTS_DIR:-third_party/weights}"
done
case "${1:-}" in
  --setup-only) ;;
  --growth) shift; exec "$venv/bin/python" "$peers/growth.py" "$@" ;;
  *) exec "$venv/bin/python" "$peers/run_race.py" "$@" ;;
esac
