#!/usr/bin/env python3
"""Keeps the newest label of every post in a SQLite file, by following the stream. Standard library alone.

    python3 follow_stream.py http://127.0.0.1:9700 labels.db            JTAV_KEY=… where readers need a key

Prints a line of JSON for each event. It can be ended and started again at any time: the position stands in the file, changed in
one transaction with what was told, so that nothing is missed and nothing counts twice.
"""

import argparse
import http.client
import json
import os
import sqlite3
import sys
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

# The server gives a sign of life every 5 s: a connection that is silent for longer is dead.
SILENCE_S = 15
MAX_FAILURES = 10
IDS_OF_A_BATCH = 500
SCHEMA = """
    CREATE TABLE IF NOT EXISTS labels (post_id TEXT PRIMARY KEY, revision TEXT, label TEXT, certain INTEGER);
    CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), position TEXT);
"""


def ask(url, body=None, **headers):
    key = os.environ.get("JTAV_KEY")
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    headers |= {"Content-Type": "application/json"} if body else {}
    return urlopen(Request(url, data=body and json.dumps(body).encode(), headers=headers), timeout=SILENCE_S)


def events(lines):
    """Server-Sent Events: position, name, data. A sign of life has a position alone; an event that was cut off is none."""
    position, name, data = None, None, []
    for line in lines:
        text = line.decode().rstrip("\r\n")
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            position = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not text and position is not None:
            yield position, name, json.loads("\n".join(data)) if data else None
            name, data = None, []


def follow(base, position):
    """Events for ever, over as many connections as it takes."""
    failures = 0
    while failures < MAX_FAILURES:
        wait_s = 2.0
        try:
            # The first time: what the server has in memory, at most, and from then on. `&label=negative` and the like filter;
            # erasures pass every filter.
            headers = {"Last-Event-ID": position} if position else {}
            with ask(f"{base}/v1/stream?recent=1000", **headers) as lines:
                for position, name, data in events(lines):
                    failures = 0
                    yield position, name, data
                    if name == "dropped":
                        # Too slow, or the server ends. It goes on from `resume_from`, which is the event's id too.
                        break
        except HTTPError as error:
            # Busy or not ready: it says when to come again. Anything else will be the same next time.
            if error.code not in (429, 503):
                raise
            wait_s = float(error.headers.get("Retry-After", wait_s))
        except (OSError, http.client.HTTPException) as error:
            print(f"the stream was cut: {error}", file=sys.stderr)
        failures += 1
        time.sleep(wait_s * failures)
    raise SystemExit(f"no answer {MAX_FAILURES} times")


def tell(base, db, name, data):
    if name == "label":
        label = data["sentiment"]
        # A redelivery has an equal revision, one out of order a lower one. Revisions go up to 2^64 - 1: too large for an
        # integer of SQLite, and padded they are ordered as text.
        db.execute(
            "INSERT INTO labels VALUES (?, ?, ?, ?) ON CONFLICT (post_id) DO UPDATE SET revision = excluded.revision,"
            " label = excluded.label, certain = excluded.certain WHERE excluded.revision >= labels.revision",
            (label["post_id"], f"{label['revision']:020}", label["label"], label["certain"]),
        )
    elif name == "erasure":
        db.execute("DELETE FROM labels WHERE post_id = ?", (data["post_id"],))
    elif name == "gap":
        # What was missed can no longer be read, erasures among it: what is held is asked for again.
        ids = [post_id for (post_id,) in db.execute("SELECT post_id FROM labels")]
        for first in range(0, len(ids), IDS_OF_A_BATCH):
            with ask(f"{base}/v1/posts:batch", body={"ids": ids[first : first + IDS_OF_A_BATCH]}) as answer:
                for item in json.load(answer)["posts"]:
                    if item["status"] == "found":
                        tell(base, db, "label", item["post"])
                    else:
                        tell(base, db, "erasure", item)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="where jtav serve answers, http://127.0.0.1:9700")
    parser.add_argument("file", help="SQLite file, made where there is none")
    parser.add_argument("--events", type=int, default=0, help="end after so many (0: never)")
    arguments = parser.parse_args()
    db = sqlite3.connect(arguments.file)
    db.executescript(SCHEMA)
    held = db.execute("SELECT position FROM position").fetchone()
    told = 0
    for position, name, data in follow(arguments.base, held and held[0]):
        # Both or neither.
        with db:
            tell(arguments.base, db, name, data)
            db.execute("INSERT OR REPLACE INTO position VALUES (1, ?)", (position,))
        if name:
            # Strangers wrote it: as JSON in ASCII no character of theirs reaches the terminal as it is.
            print(json.dumps({"event": name, "position": position, **data}), flush=True)
            told += 1
        if told == arguments.events > 0:
            return


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
