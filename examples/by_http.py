#!/usr/bin/env python3
"""A post's label, and the posts that are like it, over HTTP. Standard library alone.

    python3 by_http.py http://127.0.0.1:9700 POST_ID        JTAV_KEY=… where readers need a key

Prints one line of JSON. Exit status 1 where there is no label; what the server says of it (RFC 9457) goes to stderr.
"""

import json
import os
import sys
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen


def ask(url):
    key = os.environ.get("JTAV_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with urlopen(Request(url, headers=headers), timeout=20) as answer:
        return json.load(answer)


def main(base, post_id):
    # An id may hold any character: `/` too is encoded.
    post = f"{base}/v1/posts/{quote(post_id, safe='')}"
    try:
        found = ask(post)
        like_it = ask(f"{post}/neighbours?by=u&k=5")["neighbours"]
    except HTTPError as error:
        problem = json.load(error)
        # `reason` is for programs: `unknown_or_lapsed`, `erased` (410), `rate_limited` (429, with Retry-After), …
        print(json.dumps({name: problem.get(name) for name in ("status", "reason", "detail")}), file=sys.stderr)
        return 1
    except URLError as error:
        print(f"{base} does not answer: {error.reason}; is `jtav serve` running there?", file=sys.stderr)
        return 1
    label = {name: found["sentiment"][name] for name in ("label", "certain", "probabilities")}
    print(json.dumps({"post_id": post_id, **label, "by": "u", "like_it": [near["post_id"] for near in like_it]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 3 else __doc__)
