"""From a post and what the networks say of it to the two records and the write to the store, as jtav's schemas have them."""

from __future__ import annotations

import time
from binascii import b2a_base64
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from blake3 import blake3

from store import label_write

LABELS = ("negative", "neutral", "positive")
# Of equal probabilities `neutral` wins, then `negative`.
LABEL_ORDER = (1, 0, 2)
NO_LANGUAGE = "zxx"
JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
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


def event_id(post_id: str, revision: int, model_version: bytes) -> str:
    """The id by which readers drop the second copy of a redelivery. Lengths go in, so that no two triples share one."""
    identity = post_id.encode()
    hasher = blake3(len(identity).to_bytes(8, "little") + identity)
    hasher.update(b"\x08\0\0\0\0\0\0\0" + revision.to_bytes(8, "little"))
    hasher.update(len(model_version).to_bytes(8, "little") + model_version)
    return hasher.hexdigest()[:32]


def pack(vector: np.ndarray) -> tuple[bytes, dict[str, Any]]:
    """Half precision for the store, and with length and base64 for the topic. Refuses what no reader could use."""
    half = vector.astype("<f2")
    length = float(np.sqrt(np.dot(vector, vector)))
    if not np.isfinite(half).all() or not np.any(half):
        raise ValueError("a vector is not finite, or has no length")
    raw = half.tobytes()
    encoded = b2a_base64(raw, newline=False).decode()
    return raw, {"dimensions": len(vector), "l2_norm": round(length, 6), "f16_le_base64": encoded}


def decide(
    fused: Fused, has_text: bool, language: tuple[str, float] | None, covered: tuple[set[str], float] | None
) -> tuple[int, float, str | None]:
    """Label, confidence, and why the label is not certain; the language is named before a low probability."""
    probabilities = fused.probabilities
    label = max(LABEL_ORDER, key=lambda at: probabilities[at])
    confidence = probabilities[label]
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


def make(
    post: Post, model_version: str, covered: tuple[set[str], float] | None
) -> tuple[bytes, bytes, str, tuple[Any, ...]]:
    """The sentiment record, the embedding record, their event id and the write to the store."""
    fused, body = post.fused, post.body
    assert fused is not None
    post_id, revision = body["id"], body.get("revision") or 0
    parts = post.parts
    identity = event_id(post_id, revision, model_version.encode())
    label_at, confidence, because = decide(fused, "text" in parts, post.language, covered)
    label, certain = LABELS[label_at], because is None
    negative, neutral, positive = (round(p, 7) for p in fused.probabilities)
    lang = post.language[0] if post.language and "text" in parts else None
    now_ms = time.time_ns() // 1_000_000
    statuses = {name: "present" if name in parts else post.absent.get(name, "absent") for name in MODALITIES}
    attention = {}
    for name, key in (("text", "words"), ("audio", "audio_spans"), ("image", "image_cells")):
        if name in parts and parts[name].attention:
            attention[key] = parts[name].attention
    sentiment: dict[str, Any] = {
        "event_id": identity,
        "post_id": post_id,
        "revision": revision,
        "label": label,
        "probabilities": {"negative": negative, "neutral": neutral, "positive": positive},
        "valence": round(fused.valence, 7),
        "probability": round(fused.polarity, 7),
        "confidence": round(confidence, 7),
        "threshold": fused.certain_from,
        "certain": certain,
    }
    if because:
        sentiment["uncertain_because"] = because
    if lang:
        sentiment["lang"] = lang
    # Moods are learned from music alone.
    sentiment["moods"] = fused.moods if "audio" in parts else []
    sentiment["modalities"] = statuses
    if post.is_truncated:
        sentiment["truncated"] = ["text"]
    sentiment["attention"] = attention
    if fused.contributions is not None:
        sentiment["contributions"] = fused.contributions
    sentiment["model_version"] = model_version
    sentiment["event_time_ms"] = post.timestamp_ms
    sentiment["received_at_ms"] = post.received_at_ms
    sentiment["labelled_at_ms"] = now_ms

    fused_raw, fused_packed = pack(fused.vector)
    packed = {name: pack(part.vector) for name, part in parts.items()}
    embedding: dict[str, Any] = {
        "event_id": identity,
        "post_id": post_id,
        "revision": revision,
        "fused": fused_packed,
        "modalities": {name: packed[name][1] if name in packed else None for name in MODALITIES},
    }
    sentiment_json = orjson.dumps(sentiment, option=JSON_OPTIONS)
    fields: list[Any] = [
        b"event_id", identity, b"label", label, b"certain", b"1" if certain else b"0",
        b"p_negative", negative, b"p_neutral", neutral, b"p_positive", positive,
        b"valence", sentiment["valence"], b"probability", sentiment["probability"],
        b"sentiment", sentiment_json, b"labelled_at_ms", now_ms, b"u", fused_raw,
    ]  # fmt: skip
    for name, (raw, _) in packed.items():
        fields += (name, raw)
    if post.semantic is not None:
        raw, embedding["semantic"] = pack(post.semantic)
        fields += (b"semantic", raw)
    if lang:
        fields += (b"lang", lang)
    embedding["label"] = label
    embedding["certain"] = certain
    if lang:
        embedding["lang"] = lang
    embedding["model_version"] = model_version
    embedding["event_time_ms"] = post.timestamp_ms
    embedding["labelled_at_ms"] = now_ms
    write = label_write(post_id, revision, post.partition, post.offset, model_version, tuple(fields))
    return sentiment_json, orjson.dumps(embedding, option=JSON_OPTIONS), identity, write
