"""The stages of the pipeline on the networks of a checkpoint."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import workers
from compiled import OnnxEngine, OpenVinoEngine, TorchEngine, has_trunk, make, modules
from encoders import texts_of
from reader import MARK
from records import MODALITIES, Fused, Part, Post
from text import NgramBag, ReadText, TextFrontEnd
from workers import Workers

TOP_WORDS = 5
SQUEEZE = 4.0
MAX_PASS_TEXTS = 128
MAX_PADDED_PIECES, FULL_PIECES = 4_096, 256
MAX_PADDED_WORDS, FULL_WORDS = 3_200, 256

Engine = Callable[..., tuple[np.ndarray, ...]]


def default_folder() -> Path:
    """Where the converted networks are kept."""
    return Path(os.environ.get("RACE_NETWORKS", Path(__file__).resolve().parents[2] / ".cache" / "race" / "networks"))


def passes(lengths: list[int], has_room: Callable[[int, int, int], bool]) -> Iterable[list[int]]:
    """Texts of like length together, longest first: padding is work too."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    start = 0
    for at in range(1, len(order) + 1):
        if at == len(order) or not has_room(at - start, lengths[order[start]], lengths[order[at]]):
            yield order[start:at]
            start = at


def has_room_for_pieces(texts: int, longest: int, length: int) -> bool:
    is_full = texts * longest >= FULL_PIECES and length + longest // 8 < longest
    return texts < MAX_PASS_TEXTS and (texts + 1) * longest <= MAX_PADDED_PIECES and not is_full


def has_room_for_words(texts: int, longest: int, length: int) -> bool:
    is_full = texts * longest >= FULL_WORDS and length + longest // 6 < longest
    return texts < MAX_PASS_TEXTS and (texts + 1) * longest <= MAX_PADDED_WORDS and not is_full


def mean_per_word(pieces: np.ndarray, places: np.ndarray, words: int) -> np.ndarray:
    """`[pieces, width]`, without the two that enclose a text, to `[words, width]`; zeros for a word without a piece."""
    if len(places) == words and (places == np.arange(words)).all():
        return pieces
    first = np.flatnonzero(np.diff(places, prepend=-1))
    counts = np.diff(first, append=len(places))
    means = np.add.reduceat(pieces, first, axis=0) / counts[:, None]
    if len(first) == words:
        return means
    whole = np.zeros((words, pieces.shape[1]), np.float32)
    whole[places[first]] = means
    return whole


# Networks that say the same in bf16 (a cosine of .999 with f32, which jtav asks of its own, too). Pictures do not: the whole network
# loses .07 of a value.
IN_BF16 = ("trunk", "audio")


class TextNetwork:
    """From texts that are read to vectors, attention and what they are about."""

    def __init__(self, engines: dict[str, Engine], manifest: dict[str, Any], own: dict[str, np.ndarray], base: Path) -> None:
        from safetensors.numpy import load_file

        self._engines = engines
        self._width = manifest["dimensions"]["word_width"]
        self._bag = None
        if "text.bag.idf" in own:
            self._bag = NgramBag(own["text.bag.weight"], own["text.bag.idf"], float(own["text.bag.bias"][0]))
        self._table = None
        if "trunk" not in engines:
            self._table = load_file(str(base))["embeddings.word_embeddings.weight"].astype(np.float32)
        self._semantic = None
        if "text.semantic.matrix" in own:
            self._semantic = own["text.semantic.mean"].astype(np.float32), own["text.semantic.matrix"].astype(np.float32).T

    def encode(self, texts: list[ReadText]) -> list[tuple[Part, np.ndarray | None]]:
        pieces, sentences = self._pieces(texts)
        logits, per_word = np.zeros(len(texts), np.float32), None
        if self._bag:
            evidence = self._bag.evidence([text.reading for text in texts])
            logits, per_word = evidence.logits, evidence.per_word
        lengths = [len(text.reading.words) for text in texts]
        found: list[tuple[Part, np.ndarray | None]] = [None] * len(texts)  # type: ignore[list-item]
        semantic = self._reduce(sentences) if sentences is not None else None
        for together in passes(lengths, has_room_for_words):
            longest = lengths[together[0]]
            words = np.zeros((len(together), longest, self._width), np.float32)
            first, second = np.zeros((2, len(together), longest, 1), np.float32)
            for row, at in enumerate(together):
                of_first = texts[at].reading.protagonist
                words[row, : lengths[at]] = pieces[at]
                first[row, :of_first] = 1.0
                second[row, of_first : lengths[at]] = 1.0
            counted = np.stack([np.tanh(logits[together] / SQUEEZE), [texts[at].compound for at in together]], 1).astype(np.float32)
            vectors, attention, parts = self._engines["text"](words, first, second, np.array([lengths[at] for at in together]), counted)
            for row, at in enumerate(together):
                weights = attention[row, : lengths[at]]
                if per_word is not None:
                    weights = credit(weights, per_word[at], parts[row])
                found[at] = Part(vectors[row], top_words(texts[at], weights)), semantic[at] if semantic is not None else None
        return found

    def _pieces(self, texts: list[ReadText]) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
        """The vectors of the words of each text, protagonist first, and the mean of all its pieces."""
        parts = [(at, nth) for at, text in enumerate(texts) for nth in range(len(text.pieces))]
        rows = [texts[at].pieces[nth] for at, nth in parts]
        words = [
            texts[at].reading.protagonist if nth == 0 else len(texts[at].reading.words) - texts[at].reading.protagonist
            for at, nth in parts
        ]
        read: list[np.ndarray] = [None] * len(parts)  # type: ignore[list-item]
        sums: list[np.ndarray] = [None] * len(parts)  # type: ignore[list-item]
        if self._table is not None:
            for at, ((ids, places), count) in enumerate(zip(rows, words, strict=True)):
                read[at] = mean_per_word(self._table[ids[1:-1]], places, count)
        else:
            lengths = [len(ids) for ids, _ in rows]
            for together in passes(lengths, has_room_for_pieces):
                longest = lengths[together[0]]
                ids = np.zeros((len(together), longest), np.int64)
                there = np.zeros((len(together), longest), np.float32)
                for row, at in enumerate(together):
                    ids[row, : lengths[at]] = rows[at][0]
                    there[row, : lengths[at]] = 1.0
                fourth, last = self._engines["trunk"](ids, there)
                for row, at in enumerate(together):
                    length = lengths[at]
                    sums[at] = last[row, :length].sum(0)
                    both = np.concatenate([fourth[row, 1 : length - 1], last[row, 1 : length - 1]], 1)
                    read[at] = mean_per_word(both, rows[at][1], words[at])
        found: list[list[np.ndarray]] = [[] for _ in texts]
        of_text: list[list[int]] = [[] for _ in texts]
        for at, (text, _) in enumerate(parts):
            found[text].append(read[at])
            of_text[text].append(at)
        joined = [one[0] if len(one) == 1 else np.concatenate(one) for one in found]
        if self._table is not None:
            return joined, None
        total = [sum(len(rows[at][0]) for at in part) for part in of_text]
        return joined, [sum(sums[at] for at in part) / count for part, count in zip(of_text, total, strict=True)]

    def _reduce(self, sentences: list[np.ndarray]) -> list[np.ndarray | None] | None:
        if self._semantic is None:
            return None
        mean, matrix = self._semantic
        rows = (np.stack(sentences) - mean) @ matrix
        lengths = np.sqrt((rows * rows).sum(1))
        return [row / length if np.isfinite(length) and length > 1e-38 else None for row, length in zip(rows, lengths, strict=True)]


def credit(attention: np.ndarray, per_word: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Mixes where the BiGRU looked and what the n-grams say, each by the size of its logit."""
    total, (read, counted) = per_word.sum(), np.abs(parts)
    if total <= 1e-7 or read + counted <= 1e-7:
        return attention
    share = counted / (read + counted)
    return (1.0 - share) * attention + share * per_word / total


def top_words(text: ReadText, weights: np.ndarray) -> list[dict[str, Any]]:
    """Punctuation is read and never named."""
    words, kinds = text.reading.words, text.reading.kinds
    order = np.argsort(-weights, kind="stable").tolist()
    named = [at for at in order if kinds[at] != MARK][:TOP_WORDS]
    return [{"word": words[at], "position": at, "weight": float(weights[at])} for at in named]


class Judge:
    """From what the parts add to three probabilities (docs/networks.md, "A label with a middle")."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self._temperature = manifest["calibration"]["temperature"]
        self._prior = manifest["calibration"]["prior_log_odds"]
        self._middle = manifest["middle"]
        self._moods = manifest["moods"]

    def __call__(self, there: tuple[str, ...], u: np.ndarray, contributions: list[float], neutral: float, moods: list[float]) -> Fused:
        subset = "+".join(there)
        temperature = self._temperature.get(subset, 1.0)
        text, audio, image, interaction = (part / temperature for part in contributions)
        evidence = text + audio + image + interaction
        polarity = evidence + self._prior
        if "text" in there:
            middle = neutral / self._middle["temperature"] + log_cosh(audio / 2) + log_cosh(image / 2)
        else:
            middle = self._middle["media_only_neutral"] + log_cosh(polarity / 2) - log_cosh(evidence / 2)
        logits = (-polarity / 2, middle, polarity / 2)
        largest = max(logits)
        powers = [math.exp(logit - largest) for logit in logits]
        total = sum(powers)
        negative, neither, positive = (power / total for power in powers)
        named = sorted(zip(self._moods, moods, strict=True), key=lambda mood: -mood[1]) if "audio" in there else []
        return Fused(
            u, (negative, neither, positive), 1 / (1 + math.exp(-polarity)), positive - negative,
            self._middle["certain_from"].get(subset, 1.0), [{"tag": tag, "probability": share} for tag, share in named],
            {"text": text, "audio": audio, "image": image, "interaction": interaction},
        )  # fmt: skip


def log_cosh(x: float) -> float:
    size = abs(x)
    return size * size / 2 if size < 1e-4 else size + math.log1p(math.exp(-2 * size)) - math.log(2)


class ModelEncoders:
    """Networks in threads, as many as there are cores, with one thread of their own each."""

    batch_posts = 32

    def __init__(self, args: argparse.Namespace) -> None:
        from safetensors.numpy import load_file

        model, weights = Path(args.model), Path(args.weights)
        manifest = orjson.loads((model / "manifest.json").read_bytes())
        cores = len(os.sched_getaffinity(0))
        threads = max(1, cores // args.of_processes)
        self._workers = Workers(threads)
        self.text_streams = threads
        engines: dict[str, Engine]
        if args.engine == "torch":
            engines = {name: TorchEngine(module) for name, module in modules(model, weights).items()}
        else:
            make(default_folder(), model, weights)
            names = ["text", "fusion", "audio", "image"] + (["trunk"] if has_trunk(manifest) else [])
            folder = default_folder() / model.name
            if args.engine.startswith("openvino"):
                reduced = IN_BF16 if args.engine == "openvino_bf16" else ()
                engines = {name: OpenVinoEngine(folder / f"{name}.xml", threads, "bf16" if name in reduced else "f32") for name in names}
            else:
                engines = {name: OnnxEngine(folder / f"{name}.onnx") for name in names}
        own = load_file(str(model / "weights.safetensors"))
        self._engines = engines
        self._front_end = TextFrontEnd(weights)
        self._text = TextNetwork(engines, manifest, own, weights / "minilm-l6.safetensors")
        self._judge = Judge(manifest)
        middle = manifest["middle"]
        self.covered = set(middle["languages"]), middle["language_confidence"]
        self.model_version = f"peer-{manifest['profile']}@{args.engine}"
        from media import Media

        self._media = Media(self._workers, engines, manifest, own, threads)

    async def __aenter__(self) -> ModelEncoders:
        await self._media.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._media.stop()
        self._workers.stop()

    async def encode_texts(self, posts: list[Post]) -> None:
        await self._workers.run(workers.TEXT, self._encode_texts, posts)

    async def label_texts(self, posts: list[Post]) -> None:
        await self._workers.run(workers.TEXT, self._label_texts, posts)

    def _label_texts(self, posts: list[Post]) -> None:
        self._encode_texts(posts)
        usable = [post for post in posts if post.parts]
        if usable:
            self._fuse(usable)

    def _encode_texts(self, posts: list[Post]) -> None:
        read = self._front_end.read([texts_of(post.body) for post in posts])
        there = [(post, text) for post, text in zip(posts, read, strict=True) if text is not None]
        if not there:
            return
        encoded = self._text.encode([text for _, text in there])
        for (post, text), (part, semantic) in zip(there, encoded, strict=True):
            post.parts["text"], post.semantic = part, semantic
            post.language, post.is_truncated = text.language, text.is_truncated

    async def encode_medium(self, post: Post, modality: str) -> None:
        medium = post.body.get(modality)
        if not medium:
            return
        part = await self._media.encode(modality, medium)
        if isinstance(part, str):
            post.absent[modality] = part
        else:
            post.parts[modality] = part

    async def fuse(self, posts: list[Post]) -> None:
        await self._workers.run(workers.FUSE, self._fuse, posts)

    def _fuse(self, posts: list[Post]) -> None:
        vectors = np.zeros((len(posts), 3, 100), np.float32)
        present = np.zeros((len(posts), 3), np.float32)
        for row, post in enumerate(posts):
            for at, name in enumerate(MODALITIES):
                if name in post.parts:
                    vectors[row, at] = post.parts[name].vector
                    present[row, at] = 1.0
        u, contributions, neutral, moods = self._engines["fusion"](vectors, present)
        rows = zip(posts, u, contributions.tolist(), neutral.tolist(), moods.tolist(), strict=True)
        for post, of_post, parts, middle, of_moods in rows:
            there = tuple(name for name in MODALITIES if name in post.parts)
            post.fused = self._judge(there, of_post, parts, middle, of_moods)
