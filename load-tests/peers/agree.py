"""Whether the Python side says what jtav says of the sample feed: labels, and the cosine of each vector.

    python agree.py --jtav target/release/jtav --model models/jtav-modern --weights third_party/weights

Prints what differs, and JSON last; exit status 1 where a vector's cosine is below --leastor a label differs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import records
from model import ModelEncoders
from race import media_server
from race.feed import SAMPLE_FEED
from records import MODALITIES, Post


def of_jtav(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What `jtav label` says, by id."""
    command = [args.jtav, "label", str(SAMPLE_FEED / "posts.jsonl"), "--embeddings", "--model", str(args.model.resolve()), "--set", "model.device=cpu"]
    environment = {**os.environ, "JTAV_WEIGHTS_DIR": str(args.weights.resolve())}
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True).stdout
    return {line["post_id"]: line for line in map(json.loads, found.splitlines())}


async def of_peer(args: argparse.Namespace, feed: list[dict[str, Any]]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """The two records of each post."""
    args.of_processes = 1
    media_server.Connection.files = media_server.answers(SAMPLE_FEED)
    server = await asyncio.get_running_loop().create_server(media_server.Connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    encoders = ModelEncoders(args)
    made = []
    for at, post in enumerate(feed):
        local = {name: post[name] and {**post[name], "url": f"http://127.0.0.1:{port}/{post[name]['path']}"} for name in ("audio", "image")}
        made.append(Post(0, at, 0, 0, {**post, **local}))
    async with encoders:
        await encoders.encode_texts(made)
        for post in made:
            await encoders.encode_medium(post, "image")
            await encoders.encode_medium(post, "audio")
        await encoders.fuse(made)
    server.close()
    found = records.make_all(made, encoders.model_version, encoders.covered)
    both = [(json.loads(sentiment), json.loads(embedding)) for sentiment, embedding, _, _ in found]
    return {sentiment["post_id"]: (sentiment, embedding) for sentiment, embedding in both}


def unpacked(vector: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(vector["f16_le_base64"]), "<f2").astype(np.float64)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jtav", required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--engine", choices=("onnx", "openvino", "openvino_bf16", "torch"), default="onnx")
    parser.add_argument("--least", type=float, default=0.999)
    args = parser.parse_args()
    lines = (SAMPLE_FEED / "posts.jsonl").read_text(encoding="utf-8").splitlines()
    feed = [{name: post.get(name) for name in ("id", "texts", "audio", "image", "lang")} for post in map(json.loads, lines)]
    theirs = of_jtav(args)
    ours = asyncio.run(of_peer(args, feed))
    worst: dict[str, list[tuple[float, str]]] = {}
    labels = []
    for post_id, line in theirs.items():
        embedding = line["embedding"]
        own_sentiment, own_embedding = ours[post_id]
        pairs = [("fused", embedding["fused"], own_embedding["fused"]), ("semantic", embedding.get("semantic"), own_embedding.get("semantic"))]
        pairs += [(name, embedding["modalities"][name], own_embedding["modalities"][name]) for name in MODALITIES]
        for name, theirs_, ours_ in pairs:
            if (theirs_ is None) != (ours_ is None):
                labels.append(f"{post_id}: {name} is there on one side only")
            elif theirs_ is not None:
                worst.setdefault(name, []).append((cosine(unpacked(theirs_), unpacked(ours_)), post_id))
        for key in ("label", "certain", "lang"):
            if line.get(key) != own_sentiment.get(key):
                labels.append(f"{post_id}: {key} {line.get(key)} by jtav, {own_sentiment.get(key)} here")
    for difference in labels:
        print(difference)
    summary: dict[str, Any] = {"model": args.model.name, "posts": len(theirs), "differences": len(labels)}
    for name, found in worst.items():
        found.sort()
        below = [(round(value, 5), post_id) for value, post_id in found if value < args.least]
        summary[name] = {"vectors": len(found), "least_cosine": round(found[0][0], 6), "median_cosine": round(found[len(found) // 2][0], 6), "below": below}
    print(json.dumps(summary))
    sys.exit(bool(labels) or any(found[0][0] < args.least for found in worst.values()))


if __name__ == "__main__":
    main()
