"""What a forward pass of each network costs by itself, in PyTorch, TorchScript, ONNX Runtime and OpenVINO: CPU-ms an item.

    python bench_networks.py --model models/jtav-modern --weights third_party/weights [--seconds 1] [--json]

One thread, inputs of ordinary size (`compiled.example`), every engine held against PyTorch before it is timed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from compiled import OnnxEngine, OpenVinoEngine, TorchEngine, convert, example, modules, multiplies_bf16

BATCHES = (1, 8, 32)
TITLES = {"image": "picture (EfficientNet-Lite0)", "trunk": "text trunk (MiniLM)", "text": "attBiGRU", "audio": "DCRNN, a segment of 10 s",
          "fusion": "fusion"}  # fmt: skip
MOST_DIFFERENCE = 1e-2
LEAST_COSINE = 0.999


def timed(engine: Callable[..., Any], inputs: tuple[np.ndarray, ...], seconds: float) -> float:
    """CPU-ms of the process for one pass; the median of five stretches."""
    engine(*inputs)
    found = []
    for _ in range(5):
        begin, passes = time.process_time(), 0
        while time.process_time() - begin < seconds / 5 or passes == 0:
            engine(*inputs)
            passes += 1
        found.append((time.process_time() - begin) / passes)
    return 1e3 * sorted(found)[2]


def engines(module: Any, name: str, manifest: dict[str, Any], folder: Path) -> dict[str, Callable[[], Callable[..., Any]]]:
    convert(module, name, manifest, folder)

    return {
        "PyTorch": lambda: TorchEngine(module),
        "TorchScript": lambda: TorchEngine(module, example(name, 8, manifest)),
        "ONNX Runtime": lambda: OnnxEngine(folder / f"{name}.onnx"),
        "OpenVINO": lambda: OpenVinoEngine(folder / f"{name}.xml", 1),
        **({"OpenVINO, bf16": lambda: OpenVinoEngine(folder / f"{name}.xml", 1, "bf16")} if multiplies_bf16() else {}),
    }


def check(title: str, expected: tuple[np.ndarray, ...], found: tuple[np.ndarray, ...]) -> None:
    """Whether an engine says what PyTorch says; in bf16 by the cosine of each row of the first output, which jtav asks of its own."""
    if title.endswith("bf16"):
        a, b = (rows[0].reshape(len(rows[0]), -1).astype(np.float64) for rows in (expected, found))
        cosine = ((a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))).min()
        if not cosine >= LEAST_COSINE:
            raise ValueError(f"has a cosine of {cosine:.5f} with PyTorch")
        return
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True))
    if not difference <= MOST_DIFFERENCE:
        raise ValueError(f"differs from PyTorch by {difference:.3g}")


def bench(model: Path, weights: Path, seconds: float) -> list[dict[str, Any]]:
    """A line for each network, engine and batch; where an engine cannot take a network, a line that says so."""
    manifest = orjson.loads((model / "manifest.json").read_bytes())
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, module in modules(model, weights).items():
            reference = TorchEngine(module)
            for title, make in engines(module, name, manifest, Path(folder)).items():
                try:
                    engine = make()
                    expected, found = reference(*example(name, 8, manifest)), engine(*example(name, 8, manifest))
                    check(title, expected, found)
                except Exception as error:  # noqa: BLE001  (whatever it is, the table says it)
                    print(f"{name}, {title}: {error!r:.300}", file=sys.stderr)
                    continue
                for batch in BATCHES:
                    spent_ms = timed(engine, example(name, batch, manifest), seconds)
                    lines.append({"network": TITLES[name], "engine": title, "batch": batch, "cpu_ms_an_item": spent_ms / batch})
                    print(f"{TITLES[name]}, {title}, batch {batch}: {spent_ms / batch:.3f} CPU-ms an item", file=sys.stderr)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds for each line")
    parser.add_argument("--json", action="store_true", help="one line of JSON last")
    args = parser.parse_args()
    found = bench(args.model, args.weights, args.seconds)
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
