"""From a post and what the networks say of it to the two records and the write to the store, as jtav's schemas have them."""

from __future__ import annotations

import time
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from blake3 import blake3

from store import label_write

LABELS = ("negative", "neutral", "positive")
NO_LANGUAGE = "zxx"
ATTENTION_KEYS = {"text": "words", "audio": "audio_spans", "image": "image_cells"}
MODALITIES = ("text", "audio", "image")


@dataclass(slots=True)
class Part:
    """One modality of a post, encoded."""

    vector: np.ndarray
    attention: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Fused:
    """What the fusion says of a post."""

    vector: np.ndarray
    probabilities: tuple[float, float, float]
    polarity: float
    valence: float
    certain_from: float
    moods: list[dict[str, Any]] = field(default_factory=list)
    contributions: dict[str, float] | None = None


@dataclass(slots=True)
class Post:
    """A post inside: where it came from, what it has, what was found out."""

    partition: int
    offset: int
    timestamp_ms: int
    received_at_ms: int
    body: dict[str, Any]
    parts: dict[str, Part] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    semantic: np.ndarray | None = None
    language: tuple[str, float] | None = None
    is_truncated: bool = False
    fused: Fused | None = None


Packed = tuple[bytes, dict[str, Any]]
Covered = tuple[set[str], float]
# Sentiment record, embedding record, their event id, the write to the store.
Made = tuple[bytes, bytes, str, tuple[Any, ...]]


def identity_tail(revision: int, model_version: str) -> bytes:
    """What the event ids of all posts of one revision and model share. Lengths go in, so that no two triples share one."""
    version = model_version.encode()
    return b"\x08" + bytes(7) + revision.to_bytes(8, "little") + len(version).to_bytes(8, "little") + version


def event_id(post_id: str, tail: bytes) -> str:
    """The id by which readers drop the second copy of a redelivery."""
    identity = post_id.encode()
    return blake3(len(identity).to_bytes(8, "little") + identity + tail).hexdigest(16)


def pack_all(vectors: list[np.ndarray]) -> list[Packed]:
    """Half precision for the store, and with length and base64 for the topic; vectors of one length, in one go, since numpy's calls
    cost more than their work on a hundred numbers. Refuses what no reader could use."""
    if not vectors:
        return []
    whole = np.stack(vectors)
    half = whole.astype("<f2")
    if not (np.isfinite(half).all() and half.any(axis=1).all()):
        raise ValueError("a vector is not finite, or has no length")
    lengths = np.sqrt(np.einsum("ij,ij->i", whole, whole)).round(6).tolist()
    raw, (_, dimensions) = half.tobytes(), half.shape
    step = 2 * dimensions
    packed = []
    for at, length in enumerate(lengths):
        part = raw[at * step : (at + 1) * step]
        encoded = b2a_base64(part, newline=False).decode("ascii")
        packed.append((part, {"dimensions": dimensions, "l2_norm": length, "f16_le_base64": encoded}))
    return packed


def pack_some(vectors: Iterable[np.ndarray | None]) -> list[Packed | None]:
    """As `pack_all`, with gaps."""
    given = list(vectors)
    packed = iter(pack_all([vector for vector in given if vector is not None]))
    return [None if vector is None else next(packed) for vector in given]


def decide(
    fused: Fused, has_text: bool, language: tuple[str, float] | None, covered: Covered | None
) -> tuple[int, float, str | None]:
    """Label, confidence, and why the label is not certain; the language is named before a low probability. Of equal probabilities
    `neutral` wins, then `negative`."""
    negative, neutral, positive = fused.probabilities
    label, confidence = (1, neutral) if neutral >= negative else (0, negative)
    if positive > confidence:
        label, confidence = 2, positive
    if covered is not None and has_text:
        if language is None:
            return label, confidence, "language_unclear"
        code, probability = language
        if code != NO_LANGUAGE:
            if not probability >= covered[1]:
                return label, confidence, "language_unclear"
            if code not in covered[0]:
                return label, confidence, "language_not_covered"
    is_sure = fused.certain_from < 1.0 and confidence >= fused.certain_from
    return label, confidence, None if is_sure else "low_probability"


def make_all(posts: list[Post], model_version: str, covered: Covered | None) -> list[Made]:
    """The records of a batch of posts that are fused."""
    now_ms = time.time_ns() // 1_000_000
    of_fused = pack_all([post.fused.vector for post in posts])  # type: ignore[union-attr]
    of_parts = {
        name: pack_some(post.parts[name].vector if name in post.parts else None for post in posts) for name in MODALITIES
    }
    of_semantic = pack_some(post.semantic for post in posts)
    tails: dict[int, bytes] = {}
    made = []
    for at, post in enumerate(posts):
        revision = post.body.get("revision") or 0
        tail = tails.get(revision)
        if tail is None:
            tail = tails[revision] = identity_tail(revision, model_version)
        parts = {name: packed[at] for name, packed in of_parts.items()}
        made.append(_make(post, revision, tail, of_fused[at], parts, of_semantic[at], model_version, covered, now_ms))
    return made


def _make(
    post: Post,
    revision: int,
    tail: bytes,
    fused_packed: Packed,
    packed: dict[str, Packed | None],
    semantic: Packed | None,
    model_version: str,
    covered: Covered | None,
    now_ms: int,
) -> Made:
    fused, parts = post.fused, post.parts
    assert fused is not None
    post_id = post.body["id"]
    identity = event_id(post_id, tail)
    label_at, confidence, because = decide(fused, "text" in parts, post.language, covered)
    label, certain = LABELS[label_at], because is None
    probabilities = fused.probabilities
    lang = post.language[0] if post.language and "text" in parts else None
    sentiment: dict[str, Any] = {
        "event_id": identity,
        "post_id": post_id,
        "revision": revision,
        "label": label,
        "probabilities": {"negative": probabilities[0], "neutral": probabilities[1], "positive": probabilities[2]},
        "valence": fused.valence,
        "probability": fused.polarity,
        "confidence": confidence,
        "threshold": fused.certain_from,
        "certain": certain,
    }
    if because:
        sentiment["uncertain_because"] = because
    if lang:
        sentiment["lang"] = lang
    # Moods are learned from music alone.
    sentiment["moods"] = fused.moods if "audio" in parts else []
    sentiment["modalities"] = {name: "present" if name in parts else post.absent.get(name, "absent") for name in MODALITIES}
    if post.is_truncated:
        sentiment["truncated"] = ["text"]
    sentiment["attention"] = {ATTENTION_KEYS[name]: part.attention for name, part in parts.items() if part.attention}
    if fused.contributions is not None:
        sentiment["contributions"] = fused.contributions
    sentiment["model_version"] = model_version
    sentiment["event_time_ms"] = post.timestamp_ms
    sentiment["received_at_ms"] = post.received_at_ms
    sentiment["labelled_at_ms"] = now_ms
    sentiment_json = orjson.dumps(sentiment)

    embedding: dict[str, Any] = {
        "event_id": identity,
        "post_id": post_id,
        "revision": revision,
        "fused": fused_packed[1],
        "modalities": {name: one[1] if one else None for name, one in packed.items()},
        "label": label,
        "certain": certain,
        "model_version": model_version,
        "event_time_ms": post.timestamp_ms,
        "labelled_at_ms": now_ms,
    }
    fields: list[Any] = [
        b"event_id", identity, b"label", label, b"certain", b"1" if certain else b"0",
        b"p_negative", probabilities[0], b"p_neutral", probabilities[1], b"p_positive", probabilities[2],
        b"valence", fused.valence, b"probability", fused.polarity,
        b"sentiment", sentiment_json, b"labelled_at_ms", now_ms, b"u", fused_packed[0],
    ]  # fmt: skip
    for name, one in packed.items():
        if one:
            fields += (name, one[0])
    if semantic:
        embedding["semantic"] = semantic[1]
        fields += (b"semantic", semantic[0])
    if lang:
        embedding["lang"] = lang
        fields += (b"lang", lang)
    write = label_write(post_id, revision, post.partition, post.offset, model_version, fields)
    return sentiment_json, orjson.dumps(embedding), identity, write
