#!/usr/bin/env bash
# On an NVIDIA GPU: jtav's networks beside PyTorch's, eager and compiled, and `jtav label` end to end (docs/gpu.md, "Beside PyTorch").
#   scripts/bench-gpu.sh [--device cuda:0] [--batch 1,8,32,256] [--rounds 40] [--no-compile] [--out docs/results/gpu-bench]
#   scripts/bench-gpu.sh --find-gpu      only says whether there is one
# BENCH_PYTHON names the interpreter: 3.11 or 3.12 with venv and its header files, against which torch.compile builds. Needs pip, cc, the driver
# of docs/gpu.md, and room for torch with its CUDA in .cache/bench-gpu.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
peers=load-tests/peers
folder=.cache/bench-gpu
venv=$folder/venv
model=models/jtav-modern
weights=${JTAV_WEIGHTS_DIR:-third_party/weights}
jtav=${CARGO_TARGET_DIR:-target}/release/jtav

say() { echo "bench-gpu: $*" >&2; }
die() { say "$@"; exit 1; }

[[ "$(nvidia-smi -L 2> /dev/null || true)" == GPU* ]] \
  || die "nvidia-smi finds no NVIDIA GPU here. Run this on a machine with one and its driver (580 or later, docs/gpu.md); 'make bench' measures a CPU"
[ "${1:-}" != --find-gpu ] || exit 0

device=cuda:0 batch=1,8,32,256 rounds=40 out=docs/results/gpu-bench
of_pytorch=()
while [ $# -gt 0 ]; do
  case "$1" in
    --no-compile) of_pytorch+=(--no-compile); shift; continue ;;
    --device | --batch | --rounds | --out) [ $# -ge 2 ] || die "$1 needs a value" ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
  case "$1" in
    --device) device=$2 ;;
    --batch) batch=$2 ;;
    --rounds) rounds=$2 ;;
    --out) out=$2 ;;
  esac
  shift 2
done
[[ $device =~ ^cuda:[0-9]+$ ]] || die "--device is cuda: and a number, not $device"
[ -x "$jtav" ] || die "$jtav is missing; 'make bench-gpu' builds it"

python="${BENCH_PYTHON:-}"
for candidate in python3.12 python3.11 python3; do
  [ -n "$python" ] && break
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2> /dev/null; then python=$candidate; fi
done
[ -n "$python" ] || die "no Python of 3.11 or 3.12 with venv; set BENCH_PYTHON"

# torch with its CUDA, as the image for GPUs has it; the rest as the race has it.
mkdir -p "$folder"
cat scripts/cuda.requirements.txt > "$folder/requirements.txt"
awk '/^[a-z]/ { wanted = $1 ~ /^(numpy|orjson|safetensors)==/ } wanted' "$peers/requirements.txt" >> "$folder/requirements.txt"
if ! cmp -s "$folder/requirements.txt" "$venv/.complete"; then
  say "setting up $venv (torch with its CUDA through pip, 4 GB unpacked)"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
    -r "$folder/requirements.txt"
  cp "$folder/requirements.txt" "$venv/.complete"
fi
if [[ " ${of_pytorch[*]} " != *" --no-compile "* ]]; then
  "$venv/bin/python" -c 'import pathlib, sysconfig; raise SystemExit(not pathlib.Path(sysconfig.get_paths()["include"], "Python.h").exists())' \
    && command -v cc > /dev/null \
    || die "torch.compile needs a C compiler and Python's header files (apt-get install gcc python3-dev); --no-compile goes without"
fi

# Both halves of libtorch of one build, for jtav: docs/gpu.md.
packages="$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])')"
for_jtav=(env "LD_LIBRARY_PATH=$packages/torch/lib:$packages/nvidia/cu13/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "TCH_CUDA_LIB=$packages/torch/lib/libtorch_cuda.so")
export PYTHONDONTWRITEBYTECODE=1 TORCHINDUCTOR_CACHE_DIR="$PWD/$folder/inductor" JTAV_WEIGHTS_DIR="$weights"

say "jtav's networks on $device"
"${for_jtav[@]}" "$jtav" bench networks --model "$model" --device "$device" --batch "$batch" --json > "$folder/jtav.json"
say "jtav label, end to end"
"${for_jtav[@]}" "$venv/bin/python" "$peers/gpu_feed.py" --jtav "$jtav" --model "$model" --folder "$folder" --device "$device" --rounds "$rounds" --json > "$folder/feed.json"
say "PyTorch's networks on $device; compiling takes its time"
"$venv/bin/python" "$peers/bench_gpu.py" --model "$model" --weights "$weights" --device "$device" --batch "$batch" "${of_pytorch[@]}" --json > "$folder/pytorch.json"

card="$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader -i "${device#cuda:}" | head -n 1)"
commit="$(git rev-parse --short=12 HEAD 2> /dev/null || echo unknown)"
[ -z "$(git status --porcelain -uno 2> /dev/null)" ] || commit+=-dirty
"$venv/bin/python" "$peers/gpu_report.py" --jtav "$folder/jtav.json" --feed "$folder/feed.json" --pytorch "$folder/pytorch.json" --out "$out" \
  --card "$card" --commit "$commit"
say "written to $out.md and $out.json"
