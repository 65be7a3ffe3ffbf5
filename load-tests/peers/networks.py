"""jtav's networks in PyTorch, on the weights of its checkpoints (crates/model/src/networks). Only set-up and the table of networks use
this file; the pipeline runs what `compiled.py` makes of it, unless it is asked for PyTorch itself.

Shapes stand at each `forward`. Everything is f32 and in evaluation mode.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Weights = dict[str, Tensor]
WIDTH = 384
HEADS = 12
CELLS = 49


def read(path: Path) -> Weights:
    return {name: tensor.float() for name, tensor in load_file(str(path)).items()}


def below(weights: Weights, prefix: str) -> Weights:
    """Tensors whose names begin with `prefix.`, without it."""
    return {name.removeprefix(prefix + "."): tensor for name, tensor in weights.items() if name.startswith(prefix + ".")}


def linear(weights: Weights, prefix: str) -> nn.Linear:
    part = below(weights, prefix)
    outputs, inputs = part["weight"].shape
    layer = nn.Linear(inputs, outputs)
    layer.load_state_dict({name: part[name] for name in ("weight", "bias")})
    return layer


class MiniLm(nn.Module):
    """all-MiniLM-L6-v2: `[batch, longest]` rows of the table and 1 where there is a piece, to layers 4 and 6, `[batch, longest, 384]`."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        part = below(weights, "embeddings")
        self.words = nn.Embedding.from_pretrained(part["word_embeddings.weight"])
        places = part["position_embeddings.weight"] + part["token_type_embeddings.weight"][0]
        self.register_buffer("places", places)
        self.norm = self._norm(part, "LayerNorm")
        self.layers = nn.ModuleList()
        for at in range(6):
            layer = below(weights, f"encoder.layer.{at}")
            three = [below(layer, f"attention.self.{name}") for name in ("query", "key", "value")]
            together = {name: torch.cat([one[name] for one in three]) for name in ("weight", "bias")}
            self.layers.append(nn.ModuleDict({
                "projection": linear({f"p.{name}": tensor for name, tensor in together.items()}, "p"),
                "merge": linear(layer, "attention.output.dense"), "norm": self._norm(layer, "attention.output.LayerNorm"),
                "widen": linear(layer, "intermediate.dense"), "narrow": linear(layer, "output.dense"),
                "last_norm": self._norm(layer, "output.LayerNorm"),
            }))  # fmt: skip

    @staticmethod
    def _norm(weights: Weights, prefix: str) -> nn.LayerNorm:
        norm = nn.LayerNorm(WIDTH, eps=1e-12)
        norm.load_state_dict(below(weights, prefix))
        return norm

    def forward(self, ids: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        batch, longest = ids.shape
        x = self.norm(self.words(ids) + self.places[:longest])
        mask = ((1.0 - there) * -1e9)[:, None, None, :]
        fourth = x
        for at, layer in enumerate(self.layers):
            heads = layer["projection"](x).view(batch, longest, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], mask)
            attended = attended.transpose(1, 2).reshape(batch, longest, WIDTH)
            x = layer["norm"](layer["merge"](attended) + x)
            x = layer["last_norm"](layer["narrow"](F.gelu(layer["widen"](x))) + x)
            if at == 3:
                fourth = x
        return fourth, x


class BiGru(nn.Module):
    """Both directions over rows of different lengths without packing, which neither ONNX Runtime nor OpenVINO has: the second
    direction reads each row turned around, so that padding lies behind its end as well."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        gates, inputs = weights["weight_ih_l0"].shape
        self.hidden = gates // 3
        self.onward = nn.GRU(inputs, self.hidden, batch_first=True)
        self.backward_ = nn.GRU(inputs, self.hidden, batch_first=True)
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        self.onward.load_state_dict({name: weights[name] for name in names})
        self.backward_.load_state_dict({name: weights[f"{name}_reverse"] for name in names})

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`[batch, time, inputs]` and `[batch]` to states `[batch, time, 2 hidden]`, end states, and `[batch, time]` of 1 and 0."""
        steps = torch.arange(x.shape[1], device=x.device)[None, :]
        inside = steps < lengths[:, None]
        turned = torch.where(inside, lengths[:, None] - 1 - steps, steps)
        batch, time, inputs = x.shape
        rows = (turned + torch.arange(batch, device=x.device)[:, None] * time).flatten()
        onward = self.onward(x)[0]
        back = self.backward_(x.reshape(-1, inputs).index_select(0, rows).view(batch, time, inputs))[0]
        back = back.reshape(-1, self.hidden).index_select(0, rows).view(batch, time, self.hidden)
        there = inside.to(x.dtype)
        states = torch.cat([onward, back], 2) * there[:, :, None]
        last = (steps == lengths[:, None] - 1).to(x.dtype)[:, :, None]
        ends = torch.cat([(onward * last).sum(1), back[:, 0]], 1)
        return states, ends, there


class Attention(nn.Module):
    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.project = linear({f"p.{name}": weights[name] for name in ("weight", "bias")}, "p")
        self.register_buffer("context", weights["context"])

    def forward(self, states: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        scores = (torch.tanh(self.project(states)) @ self.context).squeeze(2)
        weights = torch.softmax(scores - (1.0 - there) * 1e9, 1)
        return weights, (weights[:, None, :] @ states).squeeze(1)


class AttBiGru(nn.Module):
    """Words `[batch, longest, width]`, 1 for those of the protagonist and of the supporting part `[batch, longest, 1]`, lengths
    `[batch]`, counted values `[batch, 2]`, to the vector `[batch, 100]`, attention `[batch, longest]`, what was read and what the bag
    adds `[batch, 2]`."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.gru = BiGru(below(weights, "gru"))
        self.attention = Attention(below(weights, "attention"))
        self.dense, self.head = linear(weights, "dense"), linear(weights, "head")
        self.register_buffer("counted", weights["counted"])

    def forward(self, words: Tensor, first: Tensor, second: Tensor, lengths: Tensor, counted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # A constant, which ONNX wants it to be.
        width = (self.gru.onward.input_size,)
        words = F.layer_norm(words, width)
        supporting = words * second
        mean = supporting.sum(1, keepdim=True) / second.sum(1, keepdim=True).clamp(min=1.0)
        sequence = F.layer_norm(words * (mean + 1.0), width) * first + supporting
        states, ends, there = self.gru(sequence, lengths)
        attention, pooled = self.attention(states, there)
        read = torch.tanh(self.dense(torch.cat([pooled, ends], 1)))
        said = self.head(read)[:, 0]
        return torch.cat([read, counted], 1), attention, torch.stack([said, (counted * self.counted)[:, 0]], 1)


def conv(weights: Weights, name: str, **options: int | tuple[int, int]) -> nn.Conv2d:
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    groups = int(options.get("groups", 1))  # type: ignore[arg-type]
    layer = nn.Conv2d(weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), bias=bias is not None, **options)  # type: ignore[arg-type]
    layer.load_state_dict({"weight": weight} | ({"bias": bias} if bias is not None else {}))
    return layer


def norm(weights: Weights, name: str) -> nn.BatchNorm2d:
    part = below(weights, name)
    layer = nn.BatchNorm2d(len(part["weight"]))
    layer.load_state_dict(part, strict=False)
    return layer


class DenseBlock(nn.Module):
    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for at in (1, 2):
            part = below(weights, f"denselayer{at}")
            self.layers.append(nn.Sequential(
                norm(part, "norm1"), nn.ReLU(), conv(part, "conv1"), norm(part, "norm2"), nn.ReLU(), conv(part, "conv2", padding=1),
            ))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Dcrnn(nn.Module):
    """Segments `[segments, 1, 215, 96]` in dB and their valid steps `[segments]` to vectors `[segments, 95]` and attention
    `[segments, 27]`."""

    def __init__(self, weights: Weights, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.convolve = nn.Sequential(
            conv(weights, "conv0", stride=2, padding=3), norm(weights, "norm0"), nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(4, 2),
            DenseBlock(below(weights, "denseblock1")), norm(weights, "transition1.norm"), nn.ReLU(), conv(weights, "transition1.conv"),
            nn.AvgPool2d(2, 2), DenseBlock(below(weights, "denseblock2")), norm(weights, "reduce.norm"), conv(weights, "reduce.conv"),
        )  # fmt: skip
        self.gru = BiGru(below(weights, "gru"))
        self.attention = Attention(below(weights, "attention"))
        self.dense = linear(weights, "dense")

    def forward(self, levels: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.convolve((levels - self.mean) / self.deviation).permute(0, 2, 3, 1)
        states, _, there = self.gru(maps.flatten(2), steps)
        attention, pooled = self.attention(states, there)
        return torch.relu(self.dense(pooled)), attention


# Kernel, stride of the first, expansion, how many (Tan and Le 2019, table 1).
STAGES = ((3, 1, 1, 1), (3, 2, 6, 2), (5, 2, 6, 2), (3, 2, 6, 3), (5, 1, 6, 3), (5, 2, 6, 4), (3, 1, 6, 1))


class SameConv(nn.Module):
    """A convolution with TensorFlow's SAME padding on even sides: the odd row and column lie right and bottom."""

    def __init__(self, weights: Weights, name: str, stride: int, groups: int, relu6: bool) -> None:
        super().__init__()
        self.relu6 = relu6
        around = weights[f"{name}.weight"].shape[2] - stride
        before, after = around // 2, around - around // 2
        padding = 0 if before != after else before
        self.pad = nn.ZeroPad2d((before, after, before, after)) if before != after else nn.Identity()
        self.conv = conv(weights, name, stride=stride, groups=groups, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.pad(x))
        return torch.clamp(y, 0.0, 6.0) if self.relu6 else y


class Residual(nn.Module):
    def __init__(self, weights: Weights, stride: int, expansion: int) -> None:
        super().__init__()
        inner = weights["depthwise.weight"].shape[0]
        self.expand = SameConv(weights, "expand", 1, 1, True) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(weights, "depthwise", stride, inner, True)
        self.project = SameConv(weights, "project", 1, 1, False)
        inputs = weights["expand.weight"].shape[1] if expansion > 1 else inner
        self.residual = stride == 1 and inputs == weights["project.weight"].shape[0]

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class ImageModel(nn.Module):
    """EfficientNet-Lite0 and the head: bytes `[batch, 224, 224, 3]` to vectors `[batch, 100]` and the share of each of 7 x 7 cells,
    `[batch, 49]`."""

    def __init__(self, base: Weights, head: Weights) -> None:
        super().__init__()
        blocks, at = [], 0
        for _, stride, expansion, count in STAGES:
            for nth in range(count):
                blocks.append(Residual(below(base, f"blocks.{at}"), stride if nth == 0 else 1, expansion))
                at += 1
        self.backbone = nn.Sequential(SameConv(base, "stem", 2, 1, True), *blocks, SameConv(base, "head", 1, 1, True))
        self.dense, self.last = linear(head, "dense"), linear(head, "head")
        self.register_buffer("evidence", self.last.weight.detach() @ self.dense.weight.detach())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        x = (pixels.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        features = self.backbone(x).flatten(2)
        pooled = features.mean(2)
        length = pooled.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)
        vector = self.dense(pooled / length)
        said = (self.evidence @ features).squeeze(1) / (length * CELLS)
        towards = torch.relu(said * torch.sign(self.last(vector))) + 1e-12
        return vector, towards / towards.sum(1, keepdim=True)


class CrossAttention(nn.Module):
    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.project, self.reduce = linear(weights, "project"), linear(weights, "reduce")
        self.register_buffer("context", weights["context"])

    def forward(self, m: Tensor, n: Tensor) -> Tensor:
        w = F.linear(m, self.project.weight)[:, None, :]
        scores = (torch.tanh(self.project.bias + n[:, :, None] * w) @ self.context).squeeze(2)
        gate = (torch.softmax(scores, 1) * n).sum(1, keepdim=True)
        return torch.tanh(F.linear(m, self.reduce.weight) * gate + self.reduce.bias)


class Fusion(nn.Module):
    """Vectors `[batch, 3, 100]`, zeros where absent, and `[batch, 3]` of 1 and 0, to `u` `[batch, 600]`, what each part and their
    interaction add `[batch, 4]`, the text's neutral logit `[batch]` and moods `[batch, 4]`."""

    PAIRS = (("text", 0, "audio", 1), ("text", 0, "image", 2), ("audio", 1, "image", 2))

    def __init__(self, weights: Weights, mood_head: nn.Linear, bound: Tensor) -> None:
        super().__init__()
        self.mood_head = mood_head
        self.pairs = nn.ModuleList()
        for first, _, second, _ in self.PAIRS:
            pair = below(weights, f"pairs.{first}_{second}")
            self.pairs.append(nn.ModuleList([CrossAttention(below(pair, "first")), CrossAttention(below(pair, "second"))]))
        part = below(weights, "norm")
        self.norm = nn.BatchNorm1d(600)
        self.norm.load_state_dict(part, strict=False)
        self.head = linear(weights, "head")
        for name, tensor in (("scale", weights["scale"]), ("absent", weights["absent"]),
                             # One product; OpenVINO 2026.4 sums rows of a product of tensors wrongly from a batch of two on.
                             ("additive_weight", torch.block_diag(*weights["additive.weight"]).T.contiguous()),
                             ("additive_bias", weights["additive.bias"]), ("trust", weights["trust"]), ("offset", weights["offset"]),
                             ("middle_weight", weights["middle.weight"]), ("middle_bias", weights["middle.bias"]), ("bound", bound)):  # fmt: skip
            self.register_buffer(name, tensor)

    def forward(self, vectors: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        there = present[:, :, None]
        length = vectors.square().sum(2, keepdim=True).sqrt().clamp(min=1e-6)
        filled = vectors / length * self.scale[None, :, None] * there + (1.0 - there) * self.absent
        attended = []
        for (_, first, _, second), pair in zip(self.PAIRS, self.pairs, strict=True):
            m, n = filled[:, first], filled[:, second]
            attended += [pair[0](m, n), pair[1](n, m)]
        u = torch.cat(attended, 1)
        alone = (vectors.flatten(1) @ self.additive_weight + self.additive_bias) * present
        parts = torch.cat([alone, self.head(self.norm(u))], 1)
        ratios = torch.minimum(torch.maximum(parts * self.trust + self.offset, -self.bound), self.bound)
        contributions = ratios * torch.cat([present, torch.ones_like(present[:, :1])], 1)
        neutral = vectors[:, 0] @ self.middle_weight + self.middle_bias
        return u, contributions, neutral, torch.softmax(self.mood_head(vectors[:, 1]), 1)
