"""An open loop in a process of its own: posts go out when they are due.

python generator.py ORDER, where ORDER is JSON; prints the start, seconds since 1970, and writes how late it was at most.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from confluent_kafka import Producer  # noqa: E402

from race.feed import Rounds, posts  # noqa: E402


def main() -> None:
    order = json.loads(sys.argv[1])
    rounds = Rounds(posts(order["with_media"], order["media_url"]))
    producer = Producer({
        "bootstrap.servers": order["brokers"], "partitioner": "murmur2_random", "compression.type": "zstd",
        "linger.ms": 1, "queue.buffering.max.messages": 200_000,
    })  # fmt: skip
    producer.list_topics(order["topic"], 10)
    rate_per_s = order["rate_per_s"]
    start_s = time.time() + 0.3
    print(start_s, flush=True)
    late_s = 0.0
    for number in range(int(rate_per_s * order["seconds"])):
        due_s = start_s + number / rate_per_s
        ahead_s = due_s - time.time()
        if ahead_s > 0:
            producer.poll(0)
            while (ahead_s := due_s - time.time()) > 0:
                time.sleep(ahead_s)
        else:
            late_s = max(late_s, -ahead_s)
        key, value = rounds.record(number)
        producer.produce(order["topic"], value, key, timestamp=int(due_s * 1e3))
    producer.flush(30)
    Path(order["report"]).write_text(json.dumps({"late_ms": 1e3 * late_s}))


if __name__ == "__main__":
    main()
