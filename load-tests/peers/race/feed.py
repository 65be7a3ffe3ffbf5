"""The sample feed as records, played in rounds under new ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLE_FEED = REPOSITORY / "services" / "feed-simulator" / "sample-feed"


def posts(with_media: bool, media_url: str) -> list[dict[str, Any]]:
    """Posts as `post.v1`, oldest first: as they are, or those that have a text, without their media."""
    lines = (SAMPLE_FEED / "posts.jsonl").read_text(encoding="utf-8").splitlines()
    found = sorted((json.loads(line) for line in lines), key=lambda post: post["created_at"])
    made = []
    for post in found:
        record = {name: post.get(name) for name in ("id", "author_id", "created_at", "lang")}
        record.update(revision=post.get("revision") or 0, texts=post["texts"], audio=None, image=None)
        if with_media:
            for modality in ("audio", "image"):
                if post[modality]:
                    medium = dict(post[modality])
                    record[modality] = {"url": f"{media_url}/{quote(medium.pop('path'))}", **medium}
        elif not any(part["text"].strip() for part in post["texts"]):
            continue
        made.append(record)
    return made


class Rounds:
    """Record number *n* of the feed played again and again; its number stands in its id."""

    def __init__(self, feed: list[dict[str, Any]]) -> None:
        marker = "\0id\0"
        self._ids = [post["id"] for post in feed]
        dumped = [json.dumps({**post, "id": marker}, ensure_ascii=False) for post in feed]
        self._parts = [text.split(json.dumps(marker)) for text in dumped]

    def record(self, number: int) -> tuple[str, bytes]:
        """Key and value."""
        at = number % len(self._ids)
        post_id = f"{self._ids[at]}~{number}"
        before, after = self._parts[at]
        return post_id, f'{before}"{post_id}"{after}'.encode()


def number_of(post_id: str) -> int:
    """The number of the record with this id."""
    return int(post_id.rpartition("~")[2])
