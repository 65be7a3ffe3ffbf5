#!/usr/bin/env bash
# Idempotent: puts OpenVINO's CPU engine (libraries out of the PyPI wheel) under third_party/openvino/lib, for the networks that
# run faster on it than on libtorch (ADR 53). Nothing is compiled or linked against it: without it everything runs on libtorch.
# Kept in ${XDG_CACHE_HOME:-~/.cache}/jtav as well, so that a second checkout downloads nothing; on one file system the two share
# their disk space by hard links.
# Needs: python3 with pip, 160 MB free during set-up (93 MB after), network only through pip (a download of 59 MB).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
dest="${OPENVINO_DEST:-$root/third_party/openvino}"
OPENVINO=2026.4.1
OPENVINO_SHA=2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf
stamp="openvino=$OPENVINO_SHA layout=1"

if [ "$(cat "$dest/.stamp" 2>/dev/null)" = "$stamp" ]; then
  [ "${JTAV_SETUP_QUIET:-}" = 1 ] || echo "OpenVINO $OPENVINO already set up in $dest"
  exit 0
fi

[ "$(uname -sm)" = "Linux x86_64" ] || { echo "OpenVINO is set up for Linux x86_64 only; this is $(uname -sm)" >&2; exit 1; }

cache="${XDG_CACHE_HOME:-$HOME/.cache}/jtav"
kept="$cache/openvino-$OPENVINO-${OPENVINO_SHA:0:12}"
mkdir -p "$cache" "$(dirname "$dest")"
exec 9> "$cache/openvino.lock"                              # two checkouts set up at once: one downloads, the other waits
flock 9
trap 'rm -rf "$kept.tmp" "$dest.tmp"' EXIT
rm -rf "$kept.tmp" "$dest.tmp"

# The libraries were hashed when they came out of the hash-checked wheel; a cache that no longer agrees is not used.
kept_is_sound() {
  [ "$(cat "$kept/.stamp" 2>/dev/null)" = "$stamp" ] && (cd "$kept" && sha256sum --quiet --strict -c .libraries.sha256) >/dev/null 2>&1
}

if kept_is_sound; then
  echo "taking OpenVINO $OPENVINO from $kept"
else
  echo "downloading OpenVINO $OPENVINO through pip (59 MB) into $kept"
  mkdir -p "$kept.tmp/whl" "$kept.tmp/out"
  printf 'openvino==%s --hash=sha256:%s\n' "$OPENVINO" "$OPENVINO_SHA" > "$kept.tmp/req.txt"
  # cp311/x86_64 asked for explicitly: the hash then holds whatever Python runs this script.
  # OPENVINO_WHEEL_DIR may name a folder that already has the wheel (still hash-checked).
  python3 -m pip download -q --no-cache-dir --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 \
    ${OPENVINO_WHEEL_DIR:+--find-links "$OPENVINO_WHEEL_DIR"} -d "$kept.tmp/whl" -r "$kept.tmp/req.txt"
  # The C interface, the core, the plug-in for CPUs, the reader of ONNX and the scheduler that they share; other devices' plug-ins
  # and other formats' readers stay behind.
  python3 - "$kept.tmp/whl" "$kept.tmp/out" <<'P'
import glob, os, re, sys, zipfile
whl, out = sys.argv[1:]
keep = {"libopenvino_c.so", "libopenvino.so", "libopenvino_intel_cpu_plugin.so", "libopenvino_onnx_frontend.so", "libtbb.so"}
got = set()
for w in glob.glob(os.path.join(whl, "*.whl")):
    with zipfile.ZipFile(w) as z:
        for i in z.infolist():
            name = os.path.basename(i.filename)
            stem = re.sub(r"(\.so)[.0-9]*$", r"\1", name)
            if i.filename.startswith("openvino/libs/") and stem in keep:
                target = os.path.join(out, "lib", name)
                got.add(stem)
            elif ".dist-info/" in i.filename and "licen" in i.filename.lower() and name:
                target = os.path.join(out, "licences", name)
            else:
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as f:
                f.write(z.read(i))
assert got == keep, f"missing from the wheel: {keep - got}"
P
  out="$kept.tmp/out"
  if LD_LIBRARY_PATH='' ldd "$out"/lib/*.so* | grep 'not found' >&2; then echo "OpenVINO lacks the libraries above" >&2; exit 1; fi
  (cd "$out" && find lib -type f | LC_ALL=C sort | xargs sha256sum > .libraries.sha256)
  printf '%s\n' "$stamp" > "$out/.stamp"
  rm -rf "$kept"
  mv "$out" "$kept"
fi

# The stamp goes last, by the rename: a copy that was cut off is never taken for a whole one.
cp -al "$kept" "$dest.tmp" 2>/dev/null || { rm -rf "$dest.tmp"; cp -a "$kept" "$dest.tmp"; }
rm -rf "$dest"
mv "$dest.tmp" "$dest"
echo "OpenVINO $OPENVINO ready in $dest"
