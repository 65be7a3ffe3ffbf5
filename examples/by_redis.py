#!/usr/bin/env python3
"""A post's label and fused vector from Redis alone, with no jtav between.

    python3 by_redis.py redis://localhost:6379/0 POST_ID        pip install --require-hashes -r requirements.txt

Prints one line of JSON. Exit status 1: no label is held (never labelled, or lapsed); 2: the post was erased.
The keys and fields stand in ../schemas/redis-keys.md; ../schemas/examples/read_embedding.py reads every one of them.
"""

import json
import struct
import sys

import redis

FIELDS = ("label", "certain", "revision", "labelled_at_ms", "u")


def main(url, post_id):
    # The braces are part of the key: all keys of a post lie on one node of a cluster.
    key, client = f"jtav:{{{post_id}}}", redis.Redis.from_url(url)
    models = sorted(client.smembers(f"{key}:models"))
    held = [(model, dict(zip(FIELDS, client.hmget(f"{key}:{model.decode()}", FIELDS)))) for model in models]
    # A model's label may have lapsed before its name did.
    held = [(model, stored) for model, stored in held if stored["u"] is not None]
    if not held:
        # Erasing deletes the labels and leaves a mark: asked last, so that one that happens meanwhile is told, too.
        erased = client.exists(f"{key}:erased")
        print("erased" if erased else "no label is held", file=sys.stderr)
        return 2 if erased else 1
    model, stored = max(held, key=lambda one: int(one[1]["labelled_at_ms"]))
    # IEEE 754 binary16, little-endian; with numpy: np.frombuffer(stored["u"], dtype="<f2").
    vector = struct.unpack(f"<{len(stored['u']) // 2}e", stored["u"])
    said = {"label": stored["label"].decode(), "certain": stored["certain"] == b"1", "revision": int(stored["revision"])}
    print(json.dumps({"post_id": post_id, "model_version": model.decode(), **said, "u": vector}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 3 else __doc__)
