"""The networks as ONNX Runtime and OpenVINO run them, made once from PyTorch and kept in a folder; and PyTorch itself, to compare.

    python compiled.py FOLDER --model models/jtav-modern --weights third_party/weights
"""

from __future__ import annotations

import argparse
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import orjson

MODALITIES = ("text", "audio", "image", "interaction")
# bf16, where a processor has it, differs by about a hundredth.
MOST_DIFFERENCE = 5e-2
# Names of the inputs of each network, in order.
INPUTS = {
    "trunk": ("ids", "there"),
    "text": ("words", "first", "second", "lengths", "counted"),
    "audio": ("levels", "steps"),
    "image": ("pixels",),
    "fusion": ("vectors", "present"),
}


def has_trunk(manifest: dict[str, Any]) -> bool:
    return manifest["profile"] != "light"


def modules(model: Path, weights: Path) -> dict[str, Any]:
    """The networks of a checkpoint in PyTorch."""
    import torch

    import networks as n

    manifest = orjson.loads((model / "manifest.json").read_bytes())
    own = n.read(model / "weights.safetensors")
    standard = manifest["standardisation"]
    bound = manifest["calibration"]["bound"]
    made: dict[str, Any] = {
        "text": n.AttBiGru(n.below(own, "text")),
        "audio": n.Dcrnn(n.below(own, "audio"), torch.tensor(standard["mean"]), torch.tensor(standard["std"])),
        "image": n.ImageModel(n.read(weights / "efficientnet-lite0.safetensors"), n.below(own, "image")),
        "fusion": n.Fusion(
            n.below(own, "fusion"), n.linear(own, "audio.mood_head"), torch.tensor([bound[name] for name in MODALITIES])
        ),
    }
    if has_trunk(manifest):
        made["trunk"] = n.MiniLm(n.read(weights / "minilm-l6.safetensors"))
    return {name: module.eval() for name, module in made.items()}


def example(name: str, batch: int, manifest: dict[str, Any], words: int = 20) -> tuple[np.ndarray, ...]:
    """Inputs of ordinary size: a text of `words` words, a segment of ten seconds, a picture, a post of all parts."""
    random = np.random.default_rng(1)
    width = manifest["dimensions"]["word_width"]
    if name == "trunk":
        return random.integers(1_000, 30_000, (batch, words + 2)), np.ones((batch, words + 2), np.float32)
    if name == "text":
        first = np.ones((batch, words, 1), np.float32)
        values = random.standard_normal((batch, words, width)).astype(np.float32)
        return values, first, 1 - first, np.full(batch, words, np.int64), np.zeros((batch, 2), np.float32)
    if name == "audio":
        return random.uniform(-80, 0, (batch, 1, 215, 96)).astype(np.float32), np.full(batch, 27, np.int64)
    if name == "image":
        return (random.integers(0, 256, (batch, 224, 224, 3)).astype(np.uint8),)
    return random.standard_normal((batch, 3, 100)).astype(np.float32), np.ones((batch, 3), np.float32)


def multiplies_bf16() -> bool:
    """Whether the processor does."""
    return bool({"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()))


class TorchEngine:
    """PyTorch, eagerly or as a frozen TorchScript; one thread a call."""

    def __init__(self, module: Any, script_example: tuple[np.ndarray, ...] | None = None) -> None:
        import torch

        torch.set_num_threads(1)
        self._torch, self._module = torch, module
        if script_example is not None:
            with torch.inference_mode():
                traced = torch.jit.trace(module, tuple(map(torch.from_numpy, script_example)), check_trace=False)
                self._module = torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))

    def __call__(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        torch = self._torch
        with torch.inference_mode():
            return tuple(output.numpy() for output in self._module(*map(torch.from_numpy, inputs)))


class OpenVinoEngine:
    """A compiled model; each calling thread has a request of its own. In f32, or in bf16, which OpenVINO would choose by itself where
    the processor multiplies it."""

    def __init__(self, path: Path, threads: int, precision: str = "f32") -> None:
        import openvino

        core = openvino.Core()
        core.set_property({"ENABLE_MMAP": True})
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(threads), "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
        self._model = core.compile_model(str(path), "CPU", options)
        self._requests = threading.local()

    def __call__(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._model.create_infer_request()
        results = request.infer(list(inputs), share_inputs=True, share_outputs=False)
        return tuple(results.to_tuple())


class OnnxEngine:
    """ONNX Runtime; the calling thread computes, so that threads side by side share nothing but the weights."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Memory of a large batch goes back instead of being kept for each thread.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._names = [given.name for given in self._session.get_inputs()]

    def __call__(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(self._session.run(None, dict(zip(self._names, inputs, strict=True))))


def convert(module: Any, name: str, manifest: dict[str, Any], folder: Path) -> None:
    """Writes the network as `name.xml` for OpenVINO and as `name.onnx`, with free batch and length."""
    import openvino
    import torch

    given = tuple(map(torch.from_numpy, example(name, 3, manifest, 21)))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        openvino.save_model(openvino.convert_model(module, example_input=given), str(folder / f"{name}.xml"), compress_to_fp16=False)
        axes = {key: {0: "batch"} | ({1: "length"} if name in ("text", "trunk") and value.dim() > 1 and key != "counted" else {})
                for key, value in zip(INPUTS[name], given, strict=True)}  # fmt: skip
        path = str(folder / f"{name}.onnx")
        torch.onnx.export(module, given, path, input_names=list(INPUTS[name]), dynamic_axes=axes, opset_version=17, dynamo=False)
    # A converter that is wrong in silence has been met (networks.py, `Fusion`).
    inputs = example(name, 8, manifest)
    expected = TorchEngine(module)(*inputs)
    for engine in (OpenVinoEngine(folder / f"{name}.xml", 1), OnnxEngine(folder / f"{name}.onnx")):
        for ours, theirs in zip(expected, engine(*inputs), strict=True):
            difference = float(np.abs(ours - theirs).max())
            if not difference < MOST_DIFFERENCE:
                raise SystemExit(f"{name} differs from PyTorch by {difference:.3g} in {type(engine).__name__}")


def make(folder: Path, model: Path, weights: Path) -> None:
    """Converts what is missing; a checkpoint's networks have a folder of its name."""
    manifest = orjson.loads((model / "manifest.json").read_bytes())
    target = folder / model.name
    target.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in INPUTS if name != "trunk" or has_trunk(manifest)]
    if all((target / f"{name}{ending}").exists() for name in wanted for ending in (".xml", ".onnx")):
        return
    for name, module in modules(model, weights).items():
        convert(module, name, manifest, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    given = parser.parse_args()
    make(given.folder, given.model, given.weights)
