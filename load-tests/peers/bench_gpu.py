"""What a forward pass of each network costs on a GPU in PyTorch, eager and compiled, in f32 and in bf16: wall milliseconds an item.

    python bench_gpu.py --model models/jtav-modern --weights third_party/weights [--device cuda:0] [--batch 1,8,32,256] [--json]

A pass goes as far as one of `jtav bench networks --device cuda:0`: from arrays of the host to arrays of the host. What the text trunk makes stays on the card
on both sides, where the next network reads it. Every engine is held against PyTorch on the CPU at every batch before it is timed. `--device cpu` runs the same
without a card, compiled only where `--compile` asks for it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from compiled import TorchEngine, example, modules

BATCHES = "1,8,32,256"
EAGER = "eager"
# The second one replays a pass as one CUDA graph.
MODES = ("max-autotune-no-cudagraphs", "reduce-overhead")
# jtav multiplies these in bf16 on a GPU.
IN_BF16 = ("image", "trunk")
LEAST_COSINE = 0.999
# As jtav's: a text of 20 words of a piece each, with the two pieces that enclose it. `example` adds six pieces to its words.
WORDS = {"text": 20, "trunk": 16}
# A CUDA graph is recorded in the second pass and replayed from the third on.
WARM_UP_PASSES = 4
LEAST_PASSES = 5

Arrays = tuple[np.ndarray, ...]


def inputs_of(name: str, batch: int, manifest: dict[str, Any]) -> Arrays:
    """What jtav is measured with: as many words, bins and pixels."""
    return example(name, batch, manifest, WORDS[name]) if name in WORDS else example(name, batch, manifest)


def least_cosine(expected: Arrays, found: Arrays) -> float:
    """Of the outputs, each taken as one vector; NaN where a value is."""
    cosines = []
    for a, b in zip(expected, found, strict=True):
        x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        lengths = np.linalg.norm(x) * np.linalg.norm(y)
        cosines.append(float(np.array_equal(x, y)) if lengths == 0.0 else float(x @ y / lengths))
    return float(np.min(cosines))


@contextmanager
def engine(module: Any, device: str, precision: str, mode: str, stays: bool) -> Iterator[Callable[..., tuple[Any, ...]]]:
    """A pass of a module that is on the device. Its outputs come back to the host, or stay where they are; it returns when they are there."""
    import torch

    place = torch.device(device)
    if mode != EAGER:
        # Each batch is compiled for itself, and not as one more shape of the batch before.
        torch.compiler.reset()
        module = torch.compile(module, mode=mode, dynamic=False)

    def run(*inputs: np.ndarray) -> tuple[Any, ...]:
        if mode != EAGER:
            torch.compiler.cudagraph_mark_step_begin()
        outputs = tuple(module(*(torch.from_numpy(array).to(place) for array in inputs)))
        if not stays:
            outputs = tuple(output.cpu() for output in outputs)
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        return outputs

    # Entered once for all passes: until it is left, it keeps the weights that it has cast.
    casting = torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16")
    without_gradients = torch.inference_mode() if mode == EAGER else torch.no_grad()
    with without_gradients, casting:
        yield run


def timed(run: Callable[..., Any], inputs: Arrays, seconds: float) -> float:
    """Wall milliseconds of one pass: the median, as `jtav bench networks` tells it."""
    for _ in range(WARM_UP_PASSES):
        run(*inputs)
    passes: list[float] = []
    spent_s = 0.0
    while len(passes) < LEAST_PASSES or spent_s < seconds:
        begin = time.perf_counter()
        run(*inputs)
        passes.append(time.perf_counter() - begin)
        spent_s += passes[-1]
    return 1e3 * sorted(passes)[len(passes) // 2]


def measured(name: str, module: Any, args: argparse.Namespace, precision: str, mode: str, inputs: Arrays, expected: Arrays) -> dict[str, Any]:
    """One figure, of an engine that says what the CPU says."""
    batch = len(inputs[0])
    with engine(module, args.device, precision, mode, name == "trunk") as run:
        # Copied: a CUDA graph writes its next answer over this one.
        found = tuple(output.detach().float().cpu().numpy().copy() for output in run(*inputs))
        cosine = least_cosine(expected, found)
        # Written so that a NaN is not enough.
        if not cosine >= LEAST_COSINE:
            raise ValueError(f"cosine {cosine:.5f} with PyTorch on the CPU")
        ms_an_item = timed(run, inputs, args.seconds) / batch
    return {"network": name, "precision": precision, "mode": mode, "batch": batch, "ms_an_item": ms_an_item, "least_cosine": cosine}


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """A line for each network, precision, mode and batch; and what is left out, with the reason."""
    import torch

    # The fastest convolution is looked for in the first pass of a shape, as whoever serves fixed batches would have it.
    torch.backends.cudnn.benchmark = True
    manifest = orjson.loads((args.model / "manifest.json").read_bytes())
    lines: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for name, module in modules(args.model, args.weights).items():
        inputs = {batch: inputs_of(name, batch, manifest) for batch in args.batch}
        expected = {batch: TorchEngine(module)(*given) for batch, given in inputs.items()}
        module.to(args.device)
        for precision in ("f32", "bf16") if name in IN_BF16 else ("f32",):
            for mode in (EAGER, *MODES) if args.compile else (EAGER,):
                for batch in args.batch:
                    what = {"network": name, "precision": precision, "mode": mode, "batch": batch}
                    try:
                        line = measured(name, module, args, precision, mode, inputs[batch], expected[batch])
                    except Exception as error:  # noqa: BLE001  (whatever it is, the table says it)
                        left_out.append({**what, "reason": f"{error!r:.300}"})
                        print(f"{name}, {precision}, {mode}, batch {batch}: {error!r:.300}", file=sys.stderr)
                        continue
                    lines.append(line)
                    print(f"{name}, {precision}, {mode}, batch {batch}: {line['ms_an_item']:.4f} ms an item", file=sys.stderr)
        # The next network finds the card as this one did.
        module.to("cpu")
    is_on_gpu = args.device.startswith("cuda")
    about = {"device": torch.cuda.get_device_name(args.device) if is_on_gpu else "cpu", "torch": torch.__version__, "cuda": torch.version.cuda}
    return {"about": about, "lines": lines, "left_out": left_out}


def table(lines: list[dict[str, Any]]) -> list[str]:
    """Wall milliseconds an item, a row for each network and batch, a column for each way to run it; a dash where there is no figure."""
    ways = list(dict.fromkeys((line["mode"], line["precision"]) for line in lines))
    found = {(line["network"], line["batch"], (line["mode"], line["precision"])): line["ms_an_item"] for line in lines}
    text = ["| network | batch |" + "".join(f" {mode}, {precision} |" for mode, precision in ways), "|---|--:|" + "--:|" * len(ways)]
    for network, batch in dict.fromkeys((line["network"], line["batch"]) for line in lines):
        cells = [found.get((network, batch, way)) for way in ways]
        text.append(f"| {network} | {batch} |" + "".join(f" {cell:.4f} |" if cell is not None else " – |" for cell in cells))
    return text


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(word) for word in text.split(",")]  # noqa: E731
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--device", default="cuda:0", help="cuda:0, or cpu")
    parser.add_argument("--batch", type=numbers, default=numbers(BATCHES), help="items of a pass")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure, and five passes at least")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile as well; on a GPU unless it is refused")
    parser.add_argument("--json", action="store_true", help="one line of JSON last")
    args = parser.parse_args()
    if args.compile is None:
        args.compile = args.device.startswith("cuda")
    return args


def main() -> None:
    args = arguments()
    found = bench(args)
    print("\n".join(table(found["lines"])))
    if args.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
