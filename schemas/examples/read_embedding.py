#!/usr/bin/env python3
"""Reads the label and the vectors of a post out of Redis, as a recommender would.

    pip install redis
    python read_embedding.py redis://localhost:6379/0 POST_ID MODEL_VERSION

Prints one line of JSON; exit status 1 where there is no label by that model (not yet, lapsed, or erased).
The keys and fields are stated in ../redis-keys.md.
"""

import json
import struct
import sys

import redis

VECTORS = ("u", "text", "audio", "image", "semantic")
NUMBERS = ("probability", "p_negative", "p_neutral", "p_positive", "valence")
FIELDS = ("revision", "label", "certain", "lang", "event_id", "labelled_at_ms", *NUMBERS, *VECTORS)


def vector(raw):
    """Half-precision little-endian bytes to floats; with numpy: np.frombuffer(raw, dtype="<f2")."""
    return None if raw is None else list(struct.unpack(f"<{len(raw) // 2}e", raw))


def read_embedding(client, post_id, model_version):
    """The label with its vectors, or None. Vectors of modalities that the post lacks are None."""
    # The braces are part of the key: they keep all keys of a post on one node of a Redis Cluster.
    values = client.hmget(f"jtav:{{{post_id}}}:{model_version}", FIELDS)
    stored = dict(zip(FIELDS, values))
    if stored["u"] is None:
        return None
    return {
        "revision": int(stored["revision"]),
        "label": stored["label"].decode(),
        "certain": stored["certain"] == b"1",
        **{name: float(stored[name]) for name in NUMBERS},
        # Absent without text, and from a model that identifies no language.
        "lang": stored["lang"] and stored["lang"].decode(),
        "event_id": stored["event_id"].decode(),
        "labelled_at_ms": int(stored["labelled_at_ms"]),
        **{name: vector(stored[name]) for name in VECTORS},
    }


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    url, post_id, model_version = sys.argv[1:]
    found = read_embedding(redis.Redis.from_url(url), post_id, model_version)
    if found is None:
        print(f"no label of {post_id!r} by {model_version!r}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
