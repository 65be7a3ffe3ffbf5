"""Media of posts: fetched with aiohttp, decoded in threads by Pillow, libsndfile and FFmpeg, encoded in batches.

What jtav does here and this side is spared: the check that an address is public before it is connected to, a circuit breaker and fair
shares between hosts, limits on what a decoder may take, and processes in which a decoder that breaks takes nobody with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Callable
from typing import Any

import aiohttp
import av
import numpy as np
import soundfile
import soxr
from PIL import Image

import sound
import workers
from batching import Batcher
from records import Part
from workers import Workers

MAX_BYTES = {"image": 20_971_520, "audio": 31_457_280}
TIMEOUT_S = 10.0
ATTEMPTS = 3
MAX_DOWNLOADS, PER_HOST = 96, 8
SHORTER_SIDE, SIDE = 256, 224
ANALYSED_SECONDS = 30
SECONDS_PER_STEP = 215 * 1_024 / 22_050 / 27
TOP_SPANS, TOP_CELLS = 3, 5
Image.MAX_IMAGE_PIXELS = 40_000_000
ORIENTATION = 0x0112
T = Image.Transpose
TURNS = {
    2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_270, 7: T.TRANSVERSE, 8: T.ROTATE_90,
}  # fmt: skip

Engine = Callable[..., tuple[np.ndarray, ...]]


class Absent(Exception):
    """A medium that cannot be used; its reason is one of the schema's."""


def picture(data: bytes) -> np.ndarray:
    """The central 224 x 224 pixels of the picture at a shorter side of 256, upright."""
    with Image.open(io.BytesIO(data)) as image:
        # libjpeg scales by 2, 4 or 8 while it decodes; twice the pixels that are needed are kept.
        image.draft("RGB", (2 * SHORTER_SIDE, 2 * SHORTER_SIDE))
        width, height = image.size
        size = (SHORTER_SIDE, SHORTER_SIDE * height // width) if width <= height else (SHORTER_SIDE * width // height, SHORTER_SIDE)
        colours = image if image.mode in ("RGB", "L") else image.convert("RGB")
        small = colours.resize(size, Image.Resampling.BILINEAR)
        # Turning the small picture costs nothing.
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
        if turn is not None:
            small = small.transpose(turn)
        left, top = round((small.width - SIDE) / 2), round((small.height - SIDE) / 2)
        return np.asarray(small.convert("RGB").crop((left, top, left + SIDE, top + SIDE)))


def clip(data: bytes) -> np.ndarray:
    """The first half minute, mono, at 22,050 Hz."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate_hz = file.samplerate
            samples = file.read(ANALYSED_SECONDS * rate_hz, dtype="float32", always_2d=True).mean(1)
    except soundfile.LibsndfileError:
        samples, rate_hz = _with_ffmpeg(data)
    if not len(samples):
        raise Absent("decode_error")
    return samples if rate_hz == sound.RATE_HZ else soxr.resample(samples, rate_hz, sound.RATE_HZ)


def _with_ffmpeg(data: bytes) -> tuple[np.ndarray, int]:
    """AAC, which libsndfile does not read."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        rate_hz, parts, count = stream.rate, [], 0
        for frame in container.decode(stream):
            values = frame.to_ndarray()
            if frame.format.is_planar:
                values = values.mean(0)
            else:
                values = values.reshape(-1, len(frame.layout.channels)).mean(1)
            parts.append(values.astype(np.float32))
            count += len(values)
            if count >= ANALYSED_SECONDS * rate_hz:
                break
    return np.concatenate(parts)[: ANALYSED_SECONDS * rate_hz], rate_hz


def listen(data: bytes) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Segments, their frames, and the statistics of the clip."""
    samples = clip(data)
    levels = sound.constant_q().levels(samples)
    return *sound.segments(levels), sound.statistics().of(samples, levels)


DECODE: dict[str, Callable[[bytes], Any]] = {"image": picture, "audio": listen}


class Media:
    """One for each process."""

    def __init__(
        self, pool: Workers, engines: dict[str, Engine], manifest: dict[str, Any], own: dict[str, np.ndarray], threads: int
    ) -> None:
        self._workers, self._engines = pool, engines
        self._verdict = sound.Verdict(own)
        # Kernels and filter banks are made before the first clip comes.
        sound.constant_q()
        sound.statistics()
        self._session: aiohttp.ClientSession | None = None
        self._batchers = {
            "image": Batcher(self._encode_images, 4, streams=threads),
            "audio": Batcher(self._encode_clips, 8, streams=threads),
        }

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=MAX_DOWNLOADS, limit_per_host=PER_HOST)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))

    async def stop(self) -> None:
        if self._session:
            await self._session.close()

    async def encode(self, modality: str, medium: dict[str, Any]) -> Part | str:
        """The part, or why it is absent."""
        try:
            data = await self._fetch(modality, medium)
            try:
                decoded = await self._workers.run(workers.DECODE, DECODE[modality], data)
            except (OSError, ValueError, av.error.FFmpegError, IndexError) as error:
                raise Absent("decode_error") from error
            slot: dict[str, Any] = {"in": decoded}
            await self._batchers[modality](slot)
            return slot["out"]
        except Absent as absent:
            return str(absent)

    async def _fetch(self, modality: str, medium: dict[str, Any]) -> bytes:
        assert self._session is not None
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._session.get(medium["url"]) as answer:
                    if answer.status == 404:
                        raise Absent("not_found")
                    if answer.status != 200:
                        raise aiohttp.ClientError(f"status {answer.status}")
                    if (answer.content_length or 0) > MAX_BYTES[modality]:
                        raise Absent("too_large")
                    data = await answer.read()
                break
            except (aiohttp.ClientError, asyncio.TimeoutError) as error:
                if attempt == ATTEMPTS:
                    raise Absent("timeout" if isinstance(error, asyncio.TimeoutError) else "fetch_failed") from error
                await asyncio.sleep(0.1 * 2**attempt)
        wanted = medium.get("sha256")
        if wanted and hashlib.sha256(data).hexdigest() != wanted:
            raise Absent("hash_mismatch")
        return data

    async def _encode_images(self, slots: list[dict[str, Any]]) -> None:
        await self._workers.run(workers.ENCODE, self._images, slots)

    def _images(self, slots: list[dict[str, Any]]) -> None:
        vectors, cells = self._engines["image"](np.stack([slot["in"] for slot in slots]))
        for slot, vector, weights in zip(slots, vectors, cells, strict=True):
            order = np.argsort(-weights, kind="stable")[:TOP_CELLS].tolist()
            attention = [{"row": at // 7, "column": at % 7, "weight": float(weights[at])} for at in order]
            slot["out"] = Part(vector, attention)

    async def _encode_clips(self, slots: list[dict[str, Any]]) -> None:
        await self._workers.run(workers.ENCODE, self._clips, slots)

    def _clips(self, slots: list[dict[str, Any]]) -> None:
        levels = np.concatenate([slot["in"][0] for slot in slots])
        frames = [count for slot in slots for count in slot["in"][1]]
        vectors, attention = self._engines["audio"](levels, np.array([sound.steps_of(count) for count in frames]))
        at = 0
        for slot in slots:
            _, own, statistics = slot["in"]
            shares = np.array(own, np.float32) / sum(own)
            mean = shares @ vectors[at : at + len(own)]
            looked = (attention[at : at + len(own)] * shares[:, None]).ravel()
            at += len(own)
            slot["out"] = Part(np.concatenate([self._verdict.of(statistics), mean]), top_spans(looked))


def top_spans(attention: np.ndarray) -> list[dict[str, Any]]:
    """The seconds that got most of the attention."""
    end = len(attention) * SECONDS_PER_STEP
    second = ((np.arange(len(attention)) + 0.5) * SECONDS_PER_STEP).astype(int)
    shares = np.bincount(second, attention, int(np.ceil(end)))
    order = np.argsort(-shares, kind="stable")[:TOP_SPANS].tolist()
    return [{"start_seconds": float(at), "end_seconds": min(at + 1.0, end), "weight": float(shares[at])} for at in order]
