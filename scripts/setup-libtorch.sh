#!/usr/bin/env bash
# Idempotent: puts a CPU-usable libtorch 2.11.0 (from the PyPI wheels) under third_party/pytorch.
# The unpacked copy is kept in ${XDG_CACHE_HOME:-~/.cache}/jtav as well, so that a second checkout downloads nothing;
# on one file system the two share their disk space by hard links.
# Needs: python3 with pip, about 1.1 GB free during set-up (500 MB after), network only through pip.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
dest="${LIBTORCH_DEST:-$root/third_party/pytorch}"
TORCH=2.11.0 CUDART=13.0.96 CUPTI=13.0.85
TORCH_SHA=7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
CUDART_SHA=7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
CUPTI_SHA=4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
stamp="torch=$TORCH_SHA cudart=$CUDART_SHA cupti=$CUPTI_SHA layout=1"

if [ "$(cat "$dest/.stamp" 2>/dev/null)" = "$stamp" ]; then
  [ "${JTAV_SETUP_QUIET:-}" = 1 ] || echo "libtorch $TORCH already set up in $dest"
  exit 0
fi

[ "$(uname -sm)" = "Linux x86_64" ] || { echo "libtorch is set up for Linux x86_64 only; this is $(uname -sm)" >&2; exit 1; }

cache="${XDG_CACHE_HOME:-$HOME/.cache}/jtav"
kept="$cache/libtorch-$TORCH-${TORCH_SHA:0:12}"
mkdir -p "$cache" "$(dirname "$dest")"
exec 9> "$cache/libtorch.lock"                              # two checkouts set up at once: one downloads, the other waits
flock 9
trap 'rm -rf "$kept.tmp" "$dest.tmp"' EXIT
rm -rf "$kept.tmp" "$dest.tmp"

# The libraries were hashed when they came out of the hash-checked wheels; a cache that no longer agrees is not used.
kept_is_sound() {
  [ "$(cat "$kept/.stamp" 2>/dev/null)" = "$stamp" ] && (cd "$kept" && sha256sum --quiet --strict -c .libraries.sha256) >/dev/null 2>&1
}

if kept_is_sound; then
  echo "taking libtorch $TORCH from $kept"
else
  echo "downloading libtorch $TORCH through pip (543 MB) into $kept"
  mkdir -p "$kept.tmp/whl" "$kept.tmp/out"
  cat > "$kept.tmp/req.txt" <<R
torch==$TORCH --hash=sha256:$TORCH_SHA
nvidia-cuda-runtime==$CUDART --hash=sha256:$CUDART_SHA
nvidia-cuda-cupti==$CUPTI --hash=sha256:$CUPTI_SHA
R
  # cp311/x86_64 asked for explicitly: the hash then holds whatever Python runs this script.
  # TORCH_WHEEL_DIR may name a folder that already has the wheels (still hash-checked).
  # No pip cache: it would keep half a gigabyte that is never read again.
  python3 -m pip download -q --no-cache-dir --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    ${TORCH_WHEEL_DIR:+--find-links "$TORCH_WHEEL_DIR"} -d "$kept.tmp/whl" -r "$kept.tmp/req.txt"
  python3 - "$kept.tmp/whl" "$kept.tmp/out" <<'P'
import glob, os, sys, zipfile
whl, out = sys.argv[1:]
keep = {"torch/lib/libc10.so", "torch/lib/libtorch_cpu.so", "torch/lib/libgomp.so.1",
        "nvidia/cu13/lib/libcudart.so.13", "nvidia/cu13/lib/libcupti.so.13"}
got = set()
for w in glob.glob(os.path.join(whl, "*.whl")):
    with zipfile.ZipFile(w) as z:
        for i in z.infolist():
            n = i.filename
            if n in keep or n.startswith("torch/include/") and not n.endswith("/") or \
               ".dist-info/" in n and "licen" in n.lower() and not n.endswith("/"):
                z.extract(i, out); got.add(n)
missing = keep - got
assert not missing, f"missing from the wheels: {missing}"
P
  out="$kept.tmp/out"
  ln -s libtorch_cpu.so "$out/torch/lib/libtorch.so"         # the wheel's libtorch.so needs libtorch_cuda.so
  printf '%s\n' "$TORCH" > "$out/torch/build-version"         # lets torch-sys check the version
  if ldd "$out/torch/lib/libtorch_cpu.so" | grep 'not found' >&2; then echo "libtorch lacks the libraries above" >&2; exit 1; fi
  (cd "$out" && find . -type f -path '*/lib/*' -name '*.so*' | LC_ALL=C sort | xargs sha256sum > .libraries.sha256)
  printf '%s\n' "$stamp" > "$out/.stamp"
  rm -rf "$kept"
  mv "$out" "$kept"
fi

# The stamp goes last, by the rename: a copy that was cut off is never taken for a whole one.
cp -al "$kept" "$dest.tmp" 2>/dev/null || { rm -rf "$dest.tmp"; cp -a "$kept" "$dest.tmp"; }
rm -rf "$dest"
mv "$dest.tmp" "$dest"
echo "libtorch $TORCH ready in $dest"
