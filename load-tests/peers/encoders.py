"""What turns the parts of posts into vectors and a label: the networks of a checkpoint, or stand-ins."""

from __future__ import annotations

import argparse
from typing import Any, Protocol

import numpy as np

from records import Fused, Part, Post

MAX_TEXT_PARTS = 64


class Encoders(Protocol):
    """The stages between intake and publishing."""

    model_version: str
    covered: tuple[set[str], float] | None
    # Posts of text that go through the stages together, and batches of them that are encoded at once.
    batch_posts: int
    text_streams: int

    async def encode_texts(self, posts: list[Post]) -> None:
        """Gives each post with a word its text part."""

    async def encode_medium(self, post: Post, modality: str) -> None:
        """Fetches, decodes and encodes one medium, or notes why it is absent."""

    async def fuse(self, posts: list[Post]) -> None:
        """Gives each post its label."""

    async def label_texts(self, posts: list[Post]) -> None:
        """`encode_texts` and `fuse` of posts without media, in one go."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, *_: object) -> None: ...


def texts_of(body: dict[str, Any]) -> list[str]:
    """The texts of a post that are read."""
    return [part.get("text") or "" for part in (body.get("texts") or [])[:MAX_TEXT_PARTS]]


class StubEncoders:
    """The fixed answers of jtav's `model.stub`: 100 ones for a part, 600 for the fused vector, positive at 0.6.

    jtav's stand-in still finds the words of the text; this one only looks for a letter.
    """

    model_version = "stub"
    covered = None
    batch_posts = 256
    text_streams = 1_000

    def __init__(self) -> None:
        self._part = Part(np.ones(100, np.float32))
        self._fused = Fused(np.ones(600, np.float32), (0.2, 0.2, 0.6), 0.75, 0.4, 0.5)

    async def encode_texts(self, posts: list[Post]) -> None:
        for post in posts:
            if any(not text.isspace() and text for text in texts_of(post.body)):
                post.parts["text"] = self._part

    async def encode_medium(self, post: Post, modality: str) -> None:
        if post.body.get(modality):
            post.parts[modality] = self._part

    async def fuse(self, posts: list[Post]) -> None:
        for post in posts:
            post.fused = self._fused

    async def label_texts(self, posts: list[Post]) -> None:
        await self.encode_texts(posts)
        await self.fuse([post for post in posts if post.parts])

    async def __aenter__(self) -> StubEncoders:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


def load(args: argparse.Namespace) -> Encoders:
    """Those that the command line asks for; the networks are imported only where they are used."""
    if args.stub:
        return StubEncoders()
    from model import ModelEncoders

    return ModelEncoders(args)
